/* The writer thread: ring to hot blocks, in segments; runs the parser for index and watchers. */
#ifndef TAPE_RECORD_WRITER_H
#define TAPE_RECORD_WRITER_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/ring.h"
#include "format/summary.h"
#include "record/store.h"
#include "record/sync.h"

#define TAPE_WRITER_RETRY_NS 1000000000ll /* between two attempts while the disk is full */

struct tape_writer_options {
    struct tape_archive *archive;
    struct tape_ring *ring;
    struct tape_ring_cursor from;
    struct tape_sync *sync;
    struct tape_store *store; /* for notes */
    struct tape_summariser *summariser;
    uint32_t sequence; /* of the first segment to make */
    int64_t seal_ns, seal_raw_bytes;
    tape_store_watch *watch;
    void *watch_context;
};

struct tape_writer; /* opaque */

/* tape_writer_start(options, error): makes the first segment (so that a directory that cannot be
 * written shows at once) and starts the thread. */
struct tape_writer *tape_writer_start(const struct tape_writer_options *options,
                                      struct tape_error *error);

/* Any thread. */
struct tape_writer_state {
    uint64_t records, stored_bytes; /* in blocks written */
    int disk_full; /* the disk takes nothing at present; tried again all the time */
    int failed;    /* the thread has ended: it cannot go on */
    char message[256];
};
void tape_writer_read_state(struct tape_writer *writer, struct tape_writer_state *state);

/* tape_writer_finish(writer, state, error): after tape_ring_close: drains the ring, seals, waits
 * until all is durable; joins, frees. state (may be NULL) is filled with how it ended. 0, or a
 * status when records stay in the ring. */
int tape_writer_finish(struct tape_writer *writer, struct tape_writer_state *state,
                       struct tape_error *error);

/* tape_writer_disk_full(writer): the one field, cheaply. */
int tape_writer_disk_full(const struct tape_writer *writer);

#endif
