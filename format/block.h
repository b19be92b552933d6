/* A block: some records, compressed and checked as one (FORMAT.md, "Blocks"). Memory only, no
 * files. */
#ifndef TAPE_FORMAT_BLOCK_H
#define TAPE_FORMAT_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_BLOCK_HEADER_BYTES = 80,
    TAPE_BLOCK_RAW_MAX_BYTES = 32 << 20,    /* caps every reader's allocation */
    TAPE_BLOCK_STORED_MAX_BYTES = 33 << 20, /* zstd's bound on the above, rounded up */
    TAPE_BLOCK_SEAL_BYTES = 256 << 10,      /* a hot block is sealed at this raw size … */
};
#define TAPE_BLOCK_SEAL_NS 100000000ll /* … or this age */

/* TAPE_BLOCK_CODEC(name, number, meaning) */
#define TAPE_BLOCK_CODEC_TABLE(X)                                                                  \
    X(STORED, 0, "records one after the other, not compressed")                                    \
    X(INTERLEAVED, 1, "records one after the other, one zstd frame")                               \
    X(GROUPED, 2, "packed: records by group, all bodies as text")                                  \
    X(TEMPLATE, 3, "packed: records by group, bodies of some as columns")                          \
    X(FOOTER, 4, "the segment's footer, one zstd frame; holds no records")

enum tape_block_codec {
#define TAPE_BLOCK_CODEC_ENUM(name, number, meaning) TAPE_BLOCK_CODEC_##name = number,
    TAPE_BLOCK_CODEC_TABLE(TAPE_BLOCK_CODEC_ENUM)
#undef TAPE_BLOCK_CODEC_ENUM
};

/* Field for field the 80 bytes on disk, less magic and CRCs; order and offsets in FORMAT.md. */
struct tape_block_header {
    uint32_t payload_crc32c; /* over the stored bytes */
    uint32_t stored_bytes;   /* that follow the header */
    uint32_t raw_bytes;      /* after decompression */
    uint32_t records;
    uint64_t first_ordinal;
    int64_t min_recv_ns, max_recv_ns;    /* over all records; 0 in a footer */
    int64_t realtime_minus_monotonic_ns; /* when the block was sealed */
    uint32_t
        previous_stored_bytes; /* stored_bytes of the block before in this file, 0 in the first */
    uint32_t segment;          /* sequence of the segment the block was written to */
    uint32_t number;           /* of the block in the segment, from 0 */
    uint8_t codec, level;
    uint16_t flags;       /* 0 */
    uint64_t archive_tag; /* the first 8 bytes of the archive id */
};

/* tape_block_header_put(to, header): writes 80 bytes with magic and header CRC. */
void tape_block_header_put(uint8_t to[TAPE_BLOCK_HEADER_BYTES],
                           const struct tape_block_header *header);

/* tape_block_header_get(from, header, error): 0, or TAPE_CORRUPT when magic, header CRC, a limit,
 * or a field that must be zero is not as specified. Every bound is checked before the caller
 * allocates. */
int tape_block_header_get(const uint8_t from[TAPE_BLOCK_HEADER_BYTES],
                          struct tape_block_header *header, struct tape_error *error);

/* Collects records and seals them. Opaque; one thread. */
struct tape_block_builder;

/* tape_block_builder_new(): NULL when memory is short. */
struct tape_block_builder *tape_block_builder_new(void);
void tape_block_builder_free(struct tape_block_builder *builder);

/* tape_block_append(builder, record): ordinals must rise by one within a block; the first sets
 * first_ordinal. Returns 1, 0 when the block is full (seal first, then append again; an empty block
 * takes any record up to TAPE_RECORD_MAX_BYTES), or a status. */
int tape_block_append(struct tape_block_builder *builder, const struct tape_record *record,
                      struct tape_error *error);

/* tape_block_check_record(record, first_ordinal, records, error): 0 when the record may follow
 * ${records} others that begin at first_ordinal in a block, or TAPE_LIMIT or TAPE_USAGE. For
 * whatever collects records. */
int tape_block_check_record(const struct tape_record *record, uint64_t first_ordinal,
                            uint32_t records, struct tape_error *error);

/* tape_block_records(builder), tape_block_raw_bytes(builder): what waits in it. */
uint32_t tape_block_records(const struct tape_block_builder *builder);
size_t tape_block_raw_bytes(const struct tape_block_builder *builder);

/*
 * tape_block_seal(builder, codec, level, header, stored, error): fills header except
 * previous_stored_bytes, segment, number, archive_tag (tape_segment_append sets these) and
 * realtime_minus_monotonic_ns (the caller's), and points *stored at
 * TAPE_BLOCK_HEADER_BYTES of room followed by header->stored_bytes bytes: put the header there and
 * write all of it with one call. The bytes are the builder's until the next append, which starts a
 * new block. Returns 0 or a status. Codec 0 is used when codec 1 would not be smaller.
 */
int tape_block_seal(struct tape_block_builder *builder, int codec, int level,
                    struct tape_block_header *header, uint8_t **stored, struct tape_error *error);

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

/* tape_block_deflate(zstd, level, to, capacity, from, bytes): one zstd frame as tape_block_inflate
 * takes it, the same for all codecs. What ZSTD_compress2() returns. */
size_t tape_block_deflate(struct ZSTD_CCtx_s *zstd, int level, void *to, size_t capacity,
                          const void *from, size_t bytes);

/* tape_block_inflate(zstd, header, stored, raw, error): decompresses a payload whose header and CRC
 * were checked into raw, which has room for header->raw_bytes. 0 or TAPE_CORRUPT: whatever the
 * bytes say, nothing is allocated and nothing is written beyond raw. */
int tape_block_inflate(struct ZSTD_DCtx_s *zstd, const struct tape_block_header *header,
                       const uint8_t *stored, uint8_t *raw, struct tape_error *error);

/* Reads the records of one block. Opaque; one thread; keeps its buffers from block to block. */
struct tape_block_reader;
struct tape_block_reader *tape_block_reader_new(void);
void tape_block_reader_free(struct tape_block_reader *reader);

/* tape_block_open(reader, header, stored, error): checks the payload CRC, decompresses and checks
 * every record's bounds, the counts and min and max (so next cannot fail). stored may be freed
 * after it returns. 0, or TAPE_CORRUPT, or TAPE_FAILED (memory; a codec this reader does not know,
 * which header_get lets pass). No window, size or count in the bytes can make it allocate more than
 * TAPE_BLOCK_RAW_MAX_BYTES, for packed codecs a small multiple of header->raw_bytes. */
int tape_block_open(struct tape_block_reader *reader, const struct tape_block_header *header,
                    const uint8_t *stored, struct tape_error *error);

/* tape_block_next(reader, record): 1 and a record (borrowed until the next open), or 0 at the end.
 */
int tape_block_next(struct tape_block_reader *reader, struct tape_record *record);

/* tape_block_select(reader, wants, context): from the next open on, next may pass over data
 * messages of a stream that wants() refuses, where the codec has them apart: their text is not
 * rebuilt then. Which records are passed over is the codec's choice (interleaved blocks give all);
 * of those given the ordinals tell. Names are those of tape_segment_stream_count; wants() may be
 * asked for one again, but is never asked for records that are no whole data message. NULL: all. */
typedef int tape_block_wants(void *context, const char *stream, size_t stream_bytes);
void tape_block_select(struct tape_block_reader *reader, tape_block_wants *wants, void *context);

#ifdef __cplusplus
}
#endif
#endif
