/* Packed payloads made by hand for the tests: the three areas grow apart and are put together. */
#ifndef TAPE_TESTS_UNIT_MAKE_PACKED_H
#define TAPE_TESTS_UNIT_MAKE_PACKED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/block.h"
#include "format/bytes.h"
#include "format/crc32c.h"
#include "format/growing.h"
#include "format/record.h"

/* Zero-initialise. */
struct made_packed {
    struct tape_growing pool, text, bits;
    struct tape_block_header header;
    struct tape_growing payload;
};

static inline void made_packed_free(struct made_packed *made)
{
    free(made->pool.bytes);
    free(made->text.bytes);
    free(made->bits.bytes);
    free(made->payload.bytes);
    memset(made, 0, sizeof *made);
}

/* A column of the simplest kind; unsigned varints where signs = 0. */
static inline void made_column(struct made_packed *made, const int64_t *values, uint32_t count,
                               int signs)
{
    if (count == 0)
        return;
    tape_growing_put_u8(&made->pool, 0);
    tape_growing_put_u8(&made->pool, signs ? 1 | 4 : 1);
    tape_growing_put_u8(&made->pool, 1);
    for (uint32_t i = 0; i < count; i++)
        tape_growing_put_varint(&made->pool,
                                signs ? tape_bytes_zigzag(values[i]) : (uint64_t)values[i]);
}

static inline size_t made_area(const struct tape_growing *area, int compress, uint8_t **stored)
{
    *stored = malloc(ZSTD_compressBound(area->length) + 1);
    if (compress) {
        size_t bytes =
            ZSTD_compress(*stored, ZSTD_compressBound(area->length), area->bytes, area->length, 1);
        if (bytes < area->length)
            return bytes;
    }
    if (area->length > 0)
        memcpy(*stored, area->bytes, area->length);
    return area->length;
}

/* made_packed_end(made, compress): payload and the fields of the header that follow from it. */
static inline void made_packed_end(struct made_packed *made, int compress)
{
    uint8_t *text, *pool;
    size_t text_stored = made_area(&made->text, compress, &text);
    size_t pool_stored = made_area(&made->pool, compress, &pool);
    made->payload.length = 0;
    tape_growing_put_varint(&made->payload, made->bits.length);
    tape_growing_put_varint(&made->payload, made->text.length);
    tape_growing_put_varint(&made->payload, text_stored);
    tape_growing_put_varint(&made->payload, made->pool.length);
    tape_growing_put_varint(&made->payload, pool_stored);
    tape_growing_put(&made->payload, made->bits.bytes, made->bits.length);
    tape_growing_put(&made->payload, text, text_stored);
    tape_growing_put(&made->payload, pool, pool_stored);
    free(text);
    free(pool);
    made->header.stored_bytes = (uint32_t)made->payload.length;
    made->header.payload_crc32c = tape_crc32c_update(0, made->payload.bytes, made->payload.length);
}

/* made_packed_count(made, records, count): the fields of the header that follow from the records.
 */
static inline void made_packed_count(struct made_packed *made, const struct tape_record *records,
                                     uint32_t count)
{
    uint8_t head[TAPE_RECORD_HEAD_MAX_BYTES];
    made->header.first_ordinal = records[0].ordinal;
    made->header.records = count;
    made->header.min_recv_ns = INT64_MAX;
    made->header.max_recv_ns = INT64_MIN;
    for (uint32_t i = 0; i < count; i++) {
        if (records[i].recv_ns < made->header.min_recv_ns)
            made->header.min_recv_ns = records[i].recv_ns;
        if (records[i].recv_ns > made->header.max_recv_ns)
            made->header.max_recv_ns = records[i].recv_ns;
    }
    int64_t before = made->header.min_recv_ns;
    made->header.raw_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        made->header.raw_bytes +=
            (uint32_t)tape_record_put_head(head, &records[i], before) + records[i].bytes;
        before = records[i].recv_ns;
    }
}

#endif
