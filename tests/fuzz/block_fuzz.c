/*
 * Any bytes as one block. The first byte says how: as they are; with magic, lengths and checksums
 * put right, so that what lies behind them is reached; as records that are stored or compressed
 * into a block whose header is right, which must then be given back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/block.h"
#include "format/bytes.h"
#include "format/crc32c.h"

enum { AS_IS, PUT_RIGHT, STORED, COMPRESSED, MODES, RAW_MAX = 1 << 20 };

static struct tape_block_reader *reader;

/* Every record that a good block gives lies in memory and comes in order. */
static uint32_t read_records(const struct tape_block_header *header)
{
    struct tape_record record;
    volatile uint8_t sum = 0;
    uint32_t records = 0;
    while (tape_block_next(reader, &record) == 1) {
        if (record.ordinal != header->first_ordinal + records++ ||
            record.recv_ns < header->min_recv_ns || record.recv_ns > header->max_recv_ns)
            abort();
        for (uint32_t i = 0; i < record.bytes; i++)
            sum = (uint8_t)(sum + record.data[i]);
    }
    return records;
}

static void try_block(const uint8_t *block, size_t size)
{
    struct tape_block_header header;
    struct tape_error error;
    uint8_t again[TAPE_BLOCK_HEADER_BYTES];
    if (size < sizeof again || tape_block_header_get(block, &header, &error) != 0)
        return;
    tape_block_header_put(again, &header);
    if (memcmp(again, block, sizeof again) != 0)
        abort();
    if (header.stored_bytes > size - sizeof again || header.raw_bytes > RAW_MAX)
        return;
    uint8_t *payload = malloc(header.stored_bytes);
    memcpy(payload, block + sizeof again, header.stored_bytes);
    if (tape_block_open(reader, &header, payload, &error) == 0 &&
        read_records(&header) != header.records)
        abort();
    free(payload);
}

static void put_right(uint8_t *block, size_t size)
{
    size_t payload = size - TAPE_BLOCK_HEADER_BYTES;
    memcpy(block, "TBK1", 4);
    tape_bytes_put_u32(block + 12, (uint32_t)payload);
    if (block[68] == TAPE_BLOCK_CODEC_STORED)
        tape_bytes_put_u32(block + 16, (uint32_t)payload);
    tape_bytes_put_u16(block + 70, 0);
    tape_bytes_put_u32(block + 8, tape_crc32c_update(0, block + TAPE_BLOCK_HEADER_BYTES, payload));
    tape_bytes_put_u32(block + 4, tape_crc32c_update(0, block + 8, TAPE_BLOCK_HEADER_BYTES - 8));
}

/* As many records as the bytes begin with, in a block. */
static void try_records(const uint8_t *raw, size_t size, int compressed)
{
    struct tape_block_header header = {.first_ordinal = 1000, .max_recv_ns = INT64_MIN};
    struct tape_record record = {0};
    struct tape_error error;
    size_t used = 0, taken;
    header.min_recv_ns = INT64_MAX;
    /* The first stamp counts from the smallest: found in two rounds, and not always. */
    for (int round = 0; round < 2; round++) {
        record.recv_ns = round == 0 ? 0 : header.min_recv_ns;
        header.records = 0;
        int64_t min = INT64_MAX, max = INT64_MIN;
        for (used = 0;
             (taken = tape_record_get(raw + used, size - used, record.recv_ns, &record)) > 0;
             used += taken) {
            header.records++;
            min = record.recv_ns < min ? record.recv_ns : min;
            max = record.recv_ns > max ? record.recv_ns : max;
        }
        if (round == 1 && min != header.min_recv_ns)
            return;
        header.min_recv_ns = min;
        header.max_recv_ns = max;
    }
    if (header.records == 0)
        return;
    uint8_t *payload = malloc(ZSTD_compressBound(used));
    header.raw_bytes = header.stored_bytes = (uint32_t)used;
    memcpy(payload, raw, used);
    if (compressed) {
        header.codec = TAPE_BLOCK_CODEC_INTERLEAVED;
        header.stored_bytes =
            (uint32_t)ZSTD_compress(payload, ZSTD_compressBound(used), raw, used, 1);
    }
    header.payload_crc32c = tape_crc32c_update(0, payload, header.stored_bytes);
    if (tape_block_open(reader, &header, payload, &error) != 0 ||
        read_records(&header) != header.records)
        abort();
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (reader == NULL)
        reader = tape_block_reader_new();
    if (size < 1)
        return 0;
    int mode = data[0] % MODES;
    data++, size--;
    if (mode == AS_IS) {
        try_block(data, size);
    } else if (mode == PUT_RIGHT && size > TAPE_BLOCK_HEADER_BYTES) {
        uint8_t *block = malloc(size);
        memcpy(block, data, size);
        put_right(block, size);
        try_block(block, size);
        free(block);
    } else if (mode == STORED || mode == COMPRESSED) {
        try_records(data, size, mode == COMPRESSED);
    }
    return 0;
}
