/* The sync thread: makes written blocks durable, frees the ring behind them, keeps the index. */
#ifndef TAPE_RECORD_SYNC_H
#define TAPE_RECORD_SYNC_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"
#include "format/ring.h"
#include "format/segment.h"
#include "format/summary.h"
#include "record/packer.h"
#include "record/store.h"

enum { TAPE_SYNC_SUMMARIES_MAX = 4096 }; /* that wait for the index; more: it is given up */
#define TAPE_SYNC_INDEX_NS 1000000000ll  /* between two transactions */

/* A block that was written and is not known durable. Everything in it is its own: were the sync to
 * fail, the block is written again from here. */
struct tape_sync_block {
    struct tape_sync_block *next;
    struct tape_segment_writer *segment;
    char name[TAPE_ARCHIVE_NAME_BYTES]; /* of the segment */
    uint64_t offset;                    /* in the segment */
    uint64_t ring_position;             /* after its last record */
    uint64_t next_ordinal;
    struct tape_block_header header;
    uint8_t *stored;              /* TAPE_BLOCK_HEADER_BYTES of room and the payload; NULL: no block
                                     but the order to seal the segment */
    struct tape_summary *summary; /* NULL: memory was short, the index is given up */
    struct tape_segment_stream_count *counts;
    size_t counts_length;
};

void tape_sync_block_free(struct tape_sync_block *block);

struct tape_sync_options {
    struct tape_archive *archive; /* its const side only */
    struct tape_ring *ring;
    struct tape_index *index;   /* NULL: none. The sync thread's until finish. */
    struct tape_store *store;   /* for notes */
    struct tape_packer *packer; /* told of sealed segments; NULL: none */
    int mode;                   /* enum tape_store_sync */
    int64_t interval_ns;
    uint64_t durable_ordinal; /* at the start */
};

struct tape_sync; /* opaque */

struct tape_sync *tape_sync_start(const struct tape_sync_options *options,
                                  struct tape_error *error);

/* --- writer thread --- */

/* tape_sync_push(sync, block): takes the block over. With urgent set it is synced at once. */
void tape_sync_push(struct tape_sync *sync, struct tape_sync_block *block, int urgent);

/* tape_sync_broken(sync): 1 when a sync failed: nothing is made durable until take_back. */
int tape_sync_broken(const struct tape_sync *sync);

/* tape_sync_take_back(sync): after a failed sync: all blocks (and orders to seal) that are not
 * durable, oldest first; NULL when there are none. The sync thread does not touch them any more. */
struct tape_sync_block *tape_sync_take_back(struct tape_sync *sync);

/* tape_sync_settle(sync): waits until nothing is pending (1) or a sync failed (0). */
int tape_sync_settle(struct tape_sync *sync);

/* --- any thread --- */

struct tape_sync_state {
    uint64_t durable_ordinal;
    int index_broken;
    int seal_failed; /* a footer could not be written: the next recorder does it */
};
void tape_sync_read_state(const struct tape_sync *sync, struct tape_sync_state *state);

/* tape_sync_finish(sync): after the writer thread has ended: a last index transaction; joins,
 * frees. */
void tape_sync_finish(struct tape_sync *sync);

#endif
