/* A segment: one file of blocks with a footer and a trailer once sealed (FORMAT.md, "Segments"). */
#ifndef TAPE_FORMAT_SEGMENT_H
#define TAPE_FORMAT_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_SEGMENT_VERSION = 1,
    TAPE_SEGMENT_HEADER_BYTES = 64,
    TAPE_SEGMENT_TRAILER_BYTES = 32,
    TAPE_SEGMENT_BLOCKS_MAX = 131072,
    /* longer names are counted under their first 255 bytes */
    TAPE_SEGMENT_STREAM_NAME_MAX_BYTES = 255,
    TAPE_SEGMENT_RESERVE_BYTES = 8 << 20,      /* allocated ahead of the writes */
    TAPE_SEGMENT_LAST_RESERVE_BYTES = 2 << 20, /* of it, kept for the gap record and the footer */
};
#define TAPE_SEGMENT_SEAL_RAW_BYTES (256ll << 20)
#define TAPE_SEGMENT_SEAL_NS        (3600ll * 1000000000ll)

/* How many messages and payload bytes of one stream a block holds. The name is UTF-8 as in the
 * payload's "stream" field, "" for messages that name none. */
struct tape_segment_stream_count {
    const char *name;
    uint32_t name_bytes;
    uint64_t messages, bytes;
};

/* --- writing: the writer thread appends, the sync thread syncs; nothing else is shared --- */
struct tape_segment_writer;

/* tape_segment_create(directory_fd, name, sequence, archive_id, created_ns, error): O_EXCL, 0640,
 * under an open directory; writes the header, reserves space, fsyncs the directory. NULL on
 * failure. */
struct tape_segment_writer *tape_segment_create(int directory_fd, const char *name,
                                                uint32_t sequence, const uint8_t archive_id[16],
                                                int64_t created_ns, struct tape_error *error);

/*
 * tape_segment_append(writer, header, stored, counts, counts_length, error): completes the header
 * (previous_stored_bytes, segment, number), puts it before the payload and writes all with one
 * write() (continued when short). stored is what tape_block_seal() gave. Returns 0; TAPE_FULL when
 * the reserve could not be renewed (the block is NOT written; call again later; `last_reserve` = 1
 * may use the last reserve); TAPE_LIMIT when the segment has TAPE_SEGMENT_BLOCKS_MAX blocks (seal
 * it and begin another); TAPE_USAGE when the ordinals fall; TAPE_FAILED otherwise, after which the
 * file is cut back to its last whole block.
 */
int tape_segment_append(struct tape_segment_writer *writer, struct tape_block_header *header,
                        uint8_t *stored, const struct tape_segment_stream_count *counts,
                        size_t counts_length, int last_reserve, struct tape_error *error);

/*
 * tape_segment_resume(directory_fd, name, archive_id, count, context, torn_bytes, error): opens a
 * segment that is not sealed (a dead recorder's) for appending and sealing. Every block is read;
 * bad blocks at the end and the tail are cut off and kept in NAME.torn (".hot" replaced), a bad
 * block in the middle stays. count() is called for every good block with its records open in reader
 * and sets *counts and *counts_length (borrowed until its next call) or returns a status, which
 * ends it; NULL: the blocks are entered as not counted. *torn_bytes (may be NULL): how many bytes
 * were cut. NULL on failure: TAPE_USAGE when it is sealed, TAPE_TORN when it is shorter than its
 * header; nothing was changed then.
 */
typedef int tape_segment_count_block(void *context, struct tape_block_reader *reader,
                                     const struct tape_segment_stream_count **counts,
                                     size_t *counts_length, struct tape_error *error);
struct tape_segment_writer *tape_segment_resume(int directory_fd, const char *name,
                                                const uint8_t archive_id[16],
                                                tape_segment_count_block *count, void *context,
                                                uint64_t *torn_bytes, struct tape_error *error);

/* tape_segment_next_ordinal(writer): after the last record appended; 0 when there is none. */
uint64_t tape_segment_next_ordinal(const struct tape_segment_writer *writer);

/* tape_segment_fd(writer): for fdatasync by the sync thread. */
int tape_segment_fd(const struct tape_segment_writer *writer);
uint64_t tape_segment_raw_bytes(const struct tape_segment_writer *writer);
uint64_t tape_segment_file_bytes(const struct tape_segment_writer *writer);
uint32_t tape_segment_blocks(const struct tape_segment_writer *writer);

/* tape_segment_seal(writer, error): writes footer and trailer, gives unused reserve back,
 * fdatasyncs and closes; frees the writer in every case. */
int tape_segment_seal(struct tape_segment_writer *writer, struct tape_error *error);

/* tape_segment_abandon(writer): closes without a footer (after an fsync failure); recovery can read
 * it. */
void tape_segment_abandon(struct tape_segment_writer *writer);

/* --- reading: pread only, never mmap; any bytes are safe --- */
struct tape_segment;

struct tape_segment_info {
    uint8_t archive_id[16];
    uint32_t sequence;
    int64_t created_ns;
    int sealed; /* a valid trailer and footer were found */
    uint64_t file_bytes;
    uint64_t end_offset; /* after the last good block (the footer's offset when sealed) */
    uint64_t bad_blocks; /* damaged places that were passed over */
    int tail;            /* 0, or TAPE_TORN / TAPE_CORRUPT: what the bytes after end_offset are */
    uint32_t blocks;
    uint64_t records;
    uint64_t first_ordinal, next_ordinal;
    int64_t min_recv_ns, max_recv_ns;
};

/*
 * tape_segment_open(directory_fd, name, archive_id, error): NULL with TAPE_FOREIGN (magic, version
 * or archive_id differ; a NULL archive_id is not compared), TAPE_TORN (shorter than its header) or
 * TAPE_FAILED. A sealed file is read from its footer; any other, or one whose footer is bad, by
 * walking the block headers and, past a damaged place, by searching for the next magic that starts
 * a valid header of this segment. The walk checks headers only; tape_segment_read() checks
 * payloads.
 */
struct tape_segment *tape_segment_open(int directory_fd, const char *name,
                                       const uint8_t archive_id[16], struct tape_error *error);
void tape_segment_close(struct tape_segment *segment);
void tape_segment_read_info(const struct tape_segment *segment, struct tape_segment_info *info);

/* tape_segment_refresh(segment, error): looks for blocks appended since (a live archive). 1 when
 * there are more, 0 when not; TAPE_TORN when a recovery has cut off what was there (open it anew);
 * or a status. */
int tape_segment_refresh(struct tape_segment *segment, struct tape_error *error);

struct tape_segment_entry {
    uint64_t offset; /* of the block header in the file */
    struct tape_block_header header;
    /* set by tape_segment_read(): the header in the file is damaged, the block was read by the copy
     * of it that the footer (or an earlier walk) gave; nothing is lost, but it must be told */
    int header_damaged;
};

/* tape_segment_entry(segment, index): the ${index}th good block, 0 <= index < info.blocks. */
const struct tape_segment_entry *tape_segment_entry(const struct tape_segment *segment,
                                                    uint32_t index);

/* tape_segment_damage(segment, index, offset, bytes): the ${index}th damaged place; 1, or 0 past
 * the last. */
int tape_segment_damage(const struct tape_segment *segment, uint32_t index, uint64_t *offset,
                        uint64_t *bytes);

/* tape_segment_read(segment, index, reader, error): reads block ${index} and opens it in reader. 0,
 * or TAPE_CORRUPT with "block N at 0xOFFSET: …"; TAPE_TORN when it is the last block of a segment
 * that is not sealed and sectors of it were never written, or the file has become shorter; or
 * TAPE_FAILED. N is the block's number as its header says. */
int tape_segment_read(struct tape_segment *segment, uint32_t index,
                      struct tape_block_reader *reader, struct tape_error *error);

/* tape_segment_counts(segment, block, each, context): calls each() for the footer's per-stream
 * counts of a block. Returns 0, or TAPE_MISSING when the segment is not sealed or this block was
 * not counted (then only reading tells). */
int tape_segment_counts(const struct tape_segment *segment, uint32_t block,
                        void (*each)(void *context, const struct tape_segment_stream_count *count),
                        void *context);

#ifdef __cplusplus
}
#endif
#endif
