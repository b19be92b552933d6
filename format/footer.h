/* A segment's footer: where its blocks are and what of each stream they hold (FORMAT.md, "Footer").
 * Memory only, no files. */
#ifndef TAPE_FORMAT_FOOTER_H
#define TAPE_FORMAT_FOOTER_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"
#include "format/segment.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_FOOTER_COUNTS_MAX_BYTES = 20 << 20, /* of names and counts, raw */
    TAPE_FOOTER_STREAMS_MAX = 1 << 20
};

/* --- writing --- */
struct tape_footer_builder;

struct tape_footer_builder *tape_footer_builder_new(void);
void tape_footer_builder_free(struct tape_footer_builder *builder);

/* tape_footer_add(builder, offset, header, counts, counts_length, error): one more block, whose
 * header as on disk is ${header}. Where counts is NULL or names and counts would exceed the limit
 * the block is entered as not counted. 0 or TAPE_FAILED (memory). */
int tape_footer_add(struct tape_footer_builder *builder, uint64_t offset,
                    const uint8_t header[TAPE_BLOCK_HEADER_BYTES],
                    const struct tape_segment_stream_count *counts, size_t counts_length,
                    struct tape_error *error);

/* tape_footer_drop_last(builder): forgets the block added last. */
void tape_footer_drop_last(struct tape_footer_builder *builder);

/* tape_footer_raw_bytes(builder): at least the raw length of the footer as it is now. */
size_t tape_footer_raw_bytes(const struct tape_footer_builder *builder);

/* tape_footer_records(builder): in all blocks entered. */
uint64_t tape_footer_records(const struct tape_footer_builder *builder);

/* tape_footer_encode(builder, header, bytes, bytes_length, error): header has segment, number,
 * first_ordinal, previous_stored_bytes and archive_tag set; the rest is filled in. *bytes receives
 * a malloc'd footer block (header and payload) with TAPE_SEGMENT_TRAILER_BYTES of room after it. */
int tape_footer_encode(const struct tape_footer_builder *builder, struct tape_block_header *header,
                       uint8_t **bytes, size_t *bytes_length, struct tape_error *error);

/* --- reading --- */

/* What a footer says. Zero-initialise. Invariants: entries are checked headers of this segment in
 * file order, not overlapping, all within [TAPE_SEGMENT_HEADER_BYTES, the footer's offset);
 * counts_at[i] is an offset in raw of block i's checked counts, or 0 when it was not counted. */
struct tape_footer {
    uint8_t *raw;
    uint32_t blocks, streams;
    uint64_t records;
    struct tape_segment_entry *entries;
    uint32_t *counts_at;
    uint32_t *names_at; /* of each name's length */
};

/* tape_footer_decode(footer, block, offset, error): block is the whole footer block (header and
 * payload) that stands at ${offset} of the file; header is what tape_block_header_get() made of it.
 * 0, TAPE_CORRUPT or TAPE_FAILED (memory); on failure the footer is empty. */
int tape_footer_decode(struct tape_footer *footer, const struct tape_block_header *header,
                       const uint8_t *payload, uint64_t offset, struct tape_error *error);
void tape_footer_clear(struct tape_footer *footer);

/* tape_footer_counts(footer, block, each, context): as tape_segment_counts(). */
int tape_footer_counts(const struct tape_footer *footer, uint32_t block,
                       void (*each)(void *context, const struct tape_segment_stream_count *count),
                       void *context);

#ifdef __cplusplus
}
#endif
#endif
