/* Deleting the oldest segments of an archive, each after a durable note about it: what pruning by
 * hand and pruning while recording have in common. */
#ifndef TAPE_RECORD_PRUNE_RUN_H
#define TAPE_RECORD_PRUNE_RUN_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"
#include "record/prune.h"
#include "record/prune_base.h"

struct tape_store;

/* What differs between the two. All are called on the thread that calls step. */
struct tape_prune_hooks {
    /* makes a NOTE record with this body (a zero follows it) durable; with ${more} another one
     * comes at once, and this one may become so with that. 0 or a status: nothing is deleted then.
     */
    int (*note)(void *context, const char *body, size_t bytes, int more, struct tape_error *error);
    /* the index to ask and to prune; NULL: there is none now. done gives it back. */
    struct tape_index *(*take_index)(void *context);
    void (*give_index)(void *context, struct tape_index *index);
    void (*say)(void *context, const char *level, const char *words);
    int (*stop)(void *context); /* 1: no more deletions */
    void *context;
};

/*
 * Zero-initialise, set archive, limits and hooks; tape_prune_run_clear() at the end. Invariant:
 * all segments up to noted have a durable note.
 */
struct tape_prune_run {
    struct tape_archive *archive; /* this run's own handle; the lock is held by this process */
    struct tape_prune_limits limits;
    struct tape_prune_hooks hooks;
    struct tape_store *files;       /* NULL, or whose files lock is held around each deletion */
    struct tape_prune_clock *clock; /* NULL: the machine's clock is believed */
    struct tape_prune_place place;  /* as it was looked at last */
    struct tape_prune_base base;    /* its archive is set by the first step */
    int index_owed;                 /* it could not be pruned, which is tried again */
    uint32_t noted, told_cut;
    uint64_t deleted_segments, deleted_bytes, deleted_records;
};

/* One that goes, oldest first. */
struct tape_prune_candidate {
    struct tape_archive_entry entry;
    struct tape_segment_info info;
    uint64_t bytes;
    int64_t messages; /* -1: its footer does not say */
    uint8_t rule;
};

/* Zero-initialise; tape_prune_look_clear() frees. */
struct tape_prune_look {
    struct tape_prune_candidate *candidates;
    size_t count;
    struct tape_prune_place place;
};

/* tape_prune_run_look(run, limit, look, error): which go now, of the oldest ${limit}. Never one
 * that is not sealed, the newest that holds frames, or one after it; unreadable files that only
 * bear a segment's name stay. */
int tape_prune_run_look(struct tape_prune_run *run, size_t limit, struct tape_prune_look *look,
                        struct tape_error *error);
void tape_prune_look_clear(struct tape_prune_look *look);

/* tape_prune_run_step(run, error): deletes the oldest segment, or the oldest few where a message
 * goes over their ends, if a limit asks for it. How many were deleted (0: nothing is to be done),
 * or a status. */
int tape_prune_run_step(struct tape_prune_run *run, struct tape_error *error);

/* tape_prune_run_words(run, candidate, words, room): "segment 000003 (2026-11-22 10:00:00 to …):
 * 123 records, 4567 bytes: --keep-age=30d". */
void tape_prune_run_words(const struct tape_prune_run *run,
                          const struct tape_prune_candidate *candidate, char *words, size_t room);

/* tape_prune_run_settle(run): prunes the index of what was deleted when it could not be. */
void tape_prune_run_settle(struct tape_prune_run *run);

void tape_prune_run_clear(struct tape_prune_run *run);

#endif
