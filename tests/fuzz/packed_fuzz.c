/*
 * Any bytes as the areas of a packed block, put together with lengths and checksum that are right:
 *     u8 mode, u16 records, u24 raw bytes, u64 span of times, u16 bits bytes, u16 text bytes,
 *     bits, text, pool
 * Mode: 1: codec 2 instead of 3; 2: the areas compressed; 4: what follows the span is the payload
 * as it is. What opens must be whole records that add up, the same when streams are passed over,
 * and taken apart in bounded memory.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/block.h"
#include "format/bytes.h"
#include "format/crc32c.h"
#include "format/packed_internal.h"

enum {
    GROUPED = 1,
    COMPRESSED = 2,
    AS_IS = 4,
    FIELDS_BYTES = 14,
    LENGTHS_BYTES = 4,
    RAW_MAX = 1 << 18,
    RECORDS_MAX = 65535,
    MEMORY_PER_RAW_BYTE = 24,
    MEMORY_BESIDE = 32 << 20,
};

static struct tape_block_reader *reader;
static struct tape_packed_decoder decoder;
static struct tape_record records[RECORDS_MAX];

static uint8_t *put_area(uint8_t *at, const uint8_t *area, size_t bytes, int compress,
                         size_t *stored)
{
    *stored = bytes;
    if (compress && bytes > 0) {
        size_t shorter = ZSTD_compress(at, ZSTD_compressBound(bytes), area, bytes, 1);
        if (shorter < bytes) {
            *stored = shorter;
            return at + shorter;
        }
    }
    memcpy(at, area, bytes);
    return at + bytes;
}

/* The payload of areas; sets header->stored_bytes. */
static uint8_t *put_together(const uint8_t *data, size_t size, int mode,
                             struct tape_block_header *header)
{
    size_t bits = tape_bytes_get_u16(data), text = tape_bytes_get_u16(data + 2);
    data += LENGTHS_BYTES, size -= LENGTHS_BYTES;
    bits = bits < size ? bits : size;
    text = text < size - bits ? text : size - bits;
    size_t pool = size - bits - text, text_stored, pool_stored;
    uint8_t *parts =
        malloc(ZSTD_compressBound(bits) + ZSTD_compressBound(text) + ZSTD_compressBound(pool));
    memcpy(parts, data, bits);
    uint8_t *end = put_area(parts + bits, data + bits, text, mode & COMPRESSED, &text_stored);
    end = put_area(end, data + bits + text, pool, mode & COMPRESSED, &pool_stored);
    size_t lengths[] = {bits, text, text_stored, pool, pool_stored};
    uint8_t head[5 * TAPE_VARINT_MAX_BYTES], *at = head;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        at += tape_bytes_put_varint(at, lengths[i]);
    size_t head_bytes = (size_t)(at - head);
    header->stored_bytes = (uint32_t)(head_bytes + (size_t)(end - parts));
    uint8_t *payload = malloc(header->stored_bytes);
    memcpy(payload, head, head_bytes);
    memcpy(payload + head_bytes, parts, (size_t)(end - parts));
    free(parts);
    return payload;
}

/* Half of all names. */
static int wants(void *context, const char *stream, size_t bytes)
{
    (void)context;
    return tape_crc32c_update(0, (const uint8_t *)stream, bytes) & 1;
}

static void check_all(const struct tape_block_header *header)
{
    uint8_t head[TAPE_RECORD_HEAD_MAX_BYTES];
    uint64_t sum = 0;
    int64_t before = header->min_recv_ns;
    volatile uint8_t seen = 0;
    for (uint32_t i = 0; i < header->records; i++) {
        struct tape_record *record = &records[i];
        if (tape_block_next(reader, record) != 1 || record->ordinal != header->first_ordinal + i ||
            record->recv_ns < header->min_recv_ns || record->recv_ns > header->max_recv_ns ||
            record->bytes > TAPE_RECORD_MAX_BYTES)
            abort();
        sum += tape_record_put_head(head, record, before) + record->bytes;
        before = record->recv_ns;
        for (uint32_t j = 0; j < record->bytes; j++)
            seen = (uint8_t)(seen + record->data[j]);
    }
    if (sum != header->raw_bytes || tape_block_next(reader, &records[0]) != 0)
        abort();
}

/* The bodies as of all records, for the reader's own are gone with the next open. */
static void check_selected(const struct tape_block_header *header, const uint8_t *payload)
{
    struct tape_record got;
    struct tape_error error;
    uint8_t *bodies = malloc(header->raw_bytes), *at = bodies;
    for (uint32_t i = 0; i < header->records; i++) {
        memcpy(at, records[i].data, records[i].bytes);
        records[i].data = at;
        at += records[i].bytes;
    }
    tape_block_select(reader, wants, NULL);
    if (tape_block_open(reader, header, payload, &error) != 0)
        abort();
    uint64_t next = header->first_ordinal;
    while (tape_block_next(reader, &got) == 1) {
        if (got.ordinal < next || got.ordinal >= header->first_ordinal + header->records)
            abort();
        const struct tape_record *want = &records[got.ordinal - header->first_ordinal];
        if (got.bytes != want->bytes || memcmp(got.data, want->data, got.bytes) != 0)
            abort();
        next = got.ordinal + 1;
    }
    tape_block_select(reader, NULL, NULL);
    free(bodies);
}

static void check_memory(const struct tape_block_header *header, const uint8_t *payload)
{
    struct tape_error error;
    tape_packed_decode(&decoder, header, payload, &error);
    if (decoder.memory.bytes > (uint64_t)MEMORY_PER_RAW_BYTE * header->raw_bytes + MEMORY_BESIDE)
        abort();
    tape_packed_memory_free(&decoder.memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tape_error error;
    unsigned long long sum;
    if (reader == NULL) {
        reader = tape_block_reader_new();
        tape_packed_decoder_open(&decoder);
    }
    if (size < FIELDS_BYTES + LENGTHS_BYTES + 1)
        return 0;
    struct tape_block_header header = {
        .codec = data[0] & GROUPED ? TAPE_BLOCK_CODEC_GROUPED : TAPE_BLOCK_CODEC_TEMPLATE,
        .records = tape_bytes_get_u16(data + 1),
        .raw_bytes = (data[3] | (uint32_t)data[4] << 8 | (uint32_t)data[5] << 16) % RAW_MAX,
        .first_ordinal = 1000,
        .min_recv_ns = 1795600000000000000ll,
    };
    header.max_recv_ns = (int64_t)((uint64_t)header.min_recv_ns + tape_bytes_get_u64(data + 6));
    uint8_t *payload;
    if (data[0] & AS_IS) {
        header.stored_bytes = (uint32_t)(size - FIELDS_BYTES);
        payload = malloc(header.stored_bytes);
        memcpy(payload, data + FIELDS_BYTES, header.stored_bytes);
    } else {
        payload = put_together(data + FIELDS_BYTES, size - FIELDS_BYTES, data[0], &header);
    }
    header.payload_crc32c = tape_crc32c_update(0, payload, header.stored_bytes);
    int status = tape_block_open(reader, &header, payload, &error);
    /* A mutation changes the length: with the right one there is more to see. */
    if (status == TAPE_CORRUPT && sscanf(error.text, "the records are %llu", &sum) == 1 &&
        sum < RAW_MAX) {
        header.raw_bytes = (uint32_t)sum;
        status = tape_block_open(reader, &header, payload, &error);
    }
    if (status == 0) {
        check_all(&header);
        check_selected(&header, payload);
    }
    check_memory(&header, payload);
    free(payload);
    return 0;
}
