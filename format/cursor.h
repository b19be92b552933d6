/* All records of an archive's segments in order, damage passed over and told. Segments may be
 * packed, made cold and pruned by another process meanwhile: that makes no difference, but for the
 * places. */
#ifndef TAPE_FORMAT_CURSOR_H
#define TAPE_FORMAT_CURSOR_H

#include <stdint.h>

#include "format/archive.h"
#include "format/block.h"
#include "format/record.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_cursor;

/* A hole between what was read and what comes next: told before the next record, once. One from
 * which nothing is lost (a damaged copy of something) has from_ordinal == to_ordinal. While the
 * archive is being recorded a hole is told only when it is known what follows it. */
struct tape_cursor_damage {
    int verdict;                       /* TAPE_TORN, TAPE_CORRUPT, TAPE_MISSING, TAPE_FOREIGN */
    uint64_t from_ordinal, to_ordinal; /* records [from, to) are lost; equal when none or unknown */
    int64_t from_ns, to_ns;            /* of the neighbours; 0 where there is none */
    char text[TAPE_ERROR_TEXT_BYTES];  /* "segment 000007: block 12 at 0x3f00: checksum mismatch" */
};

/* tape_cursor_open(archive, error): at the first record. The archive must outlive it. */
struct tape_cursor *tape_cursor_open(struct tape_archive *archive, struct tape_error *error);
void tape_cursor_close(struct tape_cursor *cursor);

/* tape_cursor_seek_ordinal(cursor, ordinal, error): the next record is the first with an ordinal >=
 * ${ordinal}; damage before it is not told. Opens a few segments, however many there are.
 * tape_cursor_seek_time(cursor, ns, error): the next record is the first with recv_ns >= ns (time
 * may run backwards after it: callers filter what follows). Opens one segment after the other from
 * the first on: where there are many, ask an index for the ordinal. 0 or a status. */
int tape_cursor_seek_ordinal(struct tape_cursor *cursor, uint64_t ordinal,
                             struct tape_error *error);
int tape_cursor_seek_time(struct tape_cursor *cursor, int64_t ns, struct tape_error *error);

/* tape_cursor_next(cursor, record, damage, error): 1 with a record (borrowed until the next call);
 * 2 with a damage (call again to go on after it); 0 at the end for now (more may come in a live
 * archive: call tape_cursor_refresh); negative when reading itself failed. Ordinals only rise: a
 * record whose ordinal was already given (a block rewritten after a failed sync) is passed over.
 * Whatever is lost is told: where ordinals are left out without a damage between, the records are
 * there and were passed over, by a seek, the block filter or the selection. */
int tape_cursor_next(struct tape_cursor *cursor, struct tape_record *record,
                     struct tape_cursor_damage *damage, struct tape_error *error);

/* tape_cursor_refresh(cursor, error): looks for new blocks and segments. 1 when there are more,
 * else 0. */
int tape_cursor_refresh(struct tape_cursor *cursor, struct tape_error *error);

/* tape_cursor_set_block_filter(cursor, wants, context): before a block is read, wants() may say 0
 * to pass over it (for streams and times); damage in it is not found then. NULL takes all. */
void tape_cursor_set_block_filter(struct tape_cursor *cursor,
                                  int (*wants)(void *context, const struct tape_segment *segment,
                                               uint32_t block),
                                  void *context);

/* tape_cursor_select(cursor, wants, context): as tape_block_select() for the blocks read from now
 * on: packed ones may leave out data messages of streams that wants() refuses. NULL takes all. */
void tape_cursor_select(struct tape_cursor *cursor, tape_block_wants *wants, void *context);

/* tape_cursor_passed_ordinal(cursor): every record below it was given, passed over, or told lost
 * before one that was: whoever looks elsewhere for what comes next (the ring) asks for it. What was
 * told lost last does not count: it may be there. */
uint64_t tape_cursor_passed_ordinal(const struct tape_cursor *cursor);

/* tape_cursor_blocks_read(cursor): how many blocks were read and decoded since it was opened. */
uint64_t tape_cursor_blocks_read(const struct tape_cursor *cursor);

/* Where the last record came from: segment sequence, block number and offset. */
struct tape_cursor_place {
    uint32_t segment, block;
    uint64_t offset;
};
void tape_cursor_read_place(const struct tape_cursor *cursor, struct tape_cursor_place *place);

/* tape_cursor_read_header(cursor, header): of that block. The file that it was read from may be
 * under another name by now, or gone. */
void tape_cursor_read_header(const struct tape_cursor *cursor, struct tape_block_header *header);

#ifdef __cplusplus
}
#endif
#endif
