/* What a run of records means for the index: counted once, in record order, the same live and
 * rebuilt. */
#ifndef TAPE_FORMAT_SUMMARY_H
#define TAPE_FORMAT_SUMMARY_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"
#include "format/feed.h"
#include "format/record.h"
#include "format/segment.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A summariser reads records in ordinal order and gives, block by block, a summary: the per-stream
 * counts, the sequence breaks and the events with what the index needs of each. It holds the state
 * that spans blocks (the feed parser, per stream the last sequence numbers and times). Opaque; one
 * thread.
 */
struct tape_summariser;
struct tape_summary; /* of one block; owned by whoever took it; may pass to another thread */

/* tape_summariser_new(error): as at the beginning of an archive; tape_index_load_state (index.h)
 * brings it to where an index ends. NULL when memory is short. */
struct tape_summariser *tape_summariser_new(struct tape_error *error);
void tape_summariser_free(struct tape_summariser *summariser);

/* tape_summariser_add(summariser, record, message, error): adds one record to the open summary.
 * When message is not NULL and the record completed a message, it is filled as tape_feed_push would
 * (borrowed) and 1 is returned (for the watchers); else 0, or a status. */
int tape_summariser_add(struct tape_summariser *summariser, const struct tape_record *record,
                        struct tape_message *message, struct tape_error *error);

/* tape_summariser_take(summariser, header, offset): closes the open summary as that of the block
 * with ${header} at ${offset} of its segment. NULL when memory is short. */
struct tape_summary *tape_summariser_take(struct tape_summariser *summariser,
                                          const struct tape_block_header *header, uint64_t offset);

/* tape_summariser_counts(summariser, length): of the open summary, for tape_segment_append;
 * borrowed until the next add or take. NULL: not counted, for memory is short, there are more
 * streams than names are kept of, or a name is not kept as it came: a reader must not pass over a
 * block whose streams it is not told. */
const struct tape_segment_stream_count *
tape_summariser_counts(const struct tape_summariser *summariser, size_t *length);

/* tape_summary_move(summary, header, offset): the block was written again, to another place (after
 * a failed sync): the summary now tells that one. */
void tape_summary_move(struct tape_summary *summary, const struct tape_block_header *header,
                       uint64_t offset);
void tape_summary_free(struct tape_summary *summary);

#ifdef __cplusplus
}
#endif
#endif
