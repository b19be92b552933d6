/* Packing: one closed segment becomes a smaller file with the same records, and tape-record --pack
 * does it with all of an archive. The archive's lock is held by this process. */
#ifndef TAPE_RECORD_PACK_H
#define TAPE_RECORD_PACK_H

#include <stdatomic.h>
#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"
#include "format/pack.h"

struct tape_pack_options {
    struct tape_archive *archive; /* scanned only for messages that began before the segment */
    struct tape_archive_entry entry;
    int level;                /* enum tape_pack_level */
    struct tape_index *index; /* NULL: none is told */
    int index_may_lag;        /* another thread brings it up to date: TAPE_MISSING until it has */
    const atomic_int *stop;   /* asked between blocks; may be NULL */
    /* records read of this segment, what part of it they are, bytes written; may be NULL */
    void (*progress)(void *context, uint64_t records, double part, uint64_t bytes);
    void *context;
};

struct tape_pack_figures {
    uint64_t records, bytes_before, bytes_after;
};

/* A segment whose NAME.packing is whole, synced and checked, and not yet of the archive. */
struct tape_pack_task;

/*
 * tape_pack_write(options, task, error): writes NAME.packing from the segment and checks it. 1 with
 * *task; 0 when there is nothing to do: it is not sealed, packed to that level already, or stop was
 * asked for. A status leaves no file behind: TAPE_CORRUPT and the like when the segment is damaged
 * (it stays as it is); TAPE_FULL when space is short, for what capture needs is not touched;
 * TAPE_MISSING when the index lags behind. An index that cannot be used otherwise is not a reason
 * to fail: publish tells it.
 */
int tape_pack_write(const struct tape_pack_options *options, struct tape_pack_task **task,
                    struct tape_error *error);

/*
 * tape_pack_publish(task, archive, index, trouble, error): makes NAME.packing NAME.tape, tells the
 * index, and removes the file that it replaces. 0 or a status; killed anywhere in it, one of the
 * two files is whole and counts, and the next start does the rest. *trouble tells what the index
 * answered: it is not a reason to fail, the next start makes it good. Frees the task.
 */
int tape_pack_publish(struct tape_pack_task *task, struct tape_archive *archive,
                      struct tape_index *index, struct tape_error *trouble,
                      struct tape_error *error);

/* tape_pack_drop(task): removes NAME.packing and frees. */
void tape_pack_drop(struct tape_pack_task *task);

void tape_pack_read_figures(const struct tape_pack_task *task, struct tape_pack_figures *figures);

/* tape_pack_clean(archive, say, context): what a packing that was cut short left, as the archive's
 * last scan met it: NAME.packing goes; of a NAME.hot beside its NAME.tape the hot one goes once the
 * packed one was read and has each record that the hot one gives, else the packed one is kept as
 * NAME.bad; where it gives more than the hot one both stay. The archive must
 * be scanned anew afterwards. How many files were touched. say may be NULL. */
int tape_pack_clean(struct tape_archive *archive, void (*say)(void *context, const char *words),
                    void *context);

/* tape_pack_is_due(archive, entry, level, bytes): 1 when the segment is sealed and not at that
 * level yet, with the length of its file. */
int tape_pack_is_due(const struct tape_archive *archive, const struct tape_archive_entry *entry,
                     int level, uint64_t *bytes);

/* tape_pack_level(word): enum tape_pack_level, or -1. */
int tape_pack_level(const char *word);

#endif
