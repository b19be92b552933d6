/* The index's rows of one segment, made anew from its records alone: once it is packed its blocks
 * are cut otherwise, and nothing else of the index changes. */
#ifndef TAPE_FORMAT_INDEX_REPACK_H
#define TAPE_FORMAT_INDEX_REPACK_H

#include <stddef.h>
#include <stdint.h>

#include "format/archive.h"
#include "format/block.h"
#include "format/error.h"
#include "format/index.h"
#include "format/record.h"
#include "format/segment.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The rows per block and stream depend on more than the block's records: on which streams have
 * which numbers, which connections are open under which venue, and on messages that began before. A
 * repack takes that state from the index's tables as it was before the segment's first record, is
 * given the segment's records in order, and told where each new block ends. Opaque; one thread.
 */
struct tape_index_repack;

/*
 * tape_index_repack_new(index, archive, info, error): of the segment that ${info} describes (as it
 * was before packing). archive is scanned and, where a message began before the segment, read. With
 * a NULL index only the counts for the footer are made. NULL on failure; TAPE_MISSING when the
 * index does not hold all of the segment yet, and that it is sealed.
 */
struct tape_index_repack *tape_index_repack_new(struct tape_index *index,
                                                struct tape_archive *archive,
                                                const struct tape_segment_info *info,
                                                struct tape_error *error);
void tape_index_repack_free(struct tape_index_repack *repack);

/* tape_index_repack_cuts(repack, ordinal): 1 when a block must begin at ${ordinal}: the records
 * before it stand in another segment too (they were written again), and are not counted here. */
int tape_index_repack_cuts(const struct tape_index_repack *repack, uint64_t ordinal);

/* tape_index_repack_add(repack, record, error): the next record. 0 or a status. */
int tape_index_repack_add(struct tape_index_repack *repack, const struct tape_record *record,
                          struct tape_error *error);

/* tape_index_repack_counts(repack, length): of the records since the last block, for
 * tape_segment_append(); NULL: not counted. Borrowed until the next add or block. */
const struct tape_segment_stream_count *
tape_index_repack_counts(const struct tape_index_repack *repack, size_t *length);

/* tape_index_repack_block(repack, header, offset, error): the records since the last block are this
 * one. 0 or a status. */
int tape_index_repack_block(struct tape_index_repack *repack,
                            const struct tape_block_header *header, uint64_t offset,
                            struct tape_error *error);

/*
 * tape_index_repack_commit(repack, index, archive, entry, info, error): in one transaction the rows
 * of the segment's blocks become the new ones, and its own row tells the file ${entry} with
 * ${info}. A second connection to the database is welcome; the transaction only writes, what there
 * is to count was counted before. 0; TAPE_LOCKED when another connection writes for too long (it
 * can be tried again); TAPE_CORRUPT when the sums are not what they were: the index is then not of
 * these records. On failure nothing has changed.
 */
int tape_index_repack_commit(struct tape_index_repack *repack, struct tape_index *index,
                             struct tape_archive *archive, const struct tape_archive_entry *entry,
                             const struct tape_segment_info *info, struct tape_error *error);

/* tape_index_repack_file(index, archive, entry, error): the same from the packed file, for an index
 * that was not told: all in one transaction, reading included. As commit; TAPE_MISSING as new. */
int tape_index_repack_file(struct tape_index *index, struct tape_archive *archive,
                           const struct tape_archive_entry *entry, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
