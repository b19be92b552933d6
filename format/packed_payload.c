/* The three areas of a packed payload. */
#include <string.h>

#include "format/bytes.h"
#include "format/packed_internal.h"

enum { BITS_BYTES, TEXT_RAW, TEXT_STORED, POOL_RAW, POOL_STORED, LENGTHS };

static int corrupt(struct tape_error *error, const char *words)
{
    return tape_error_set(error, TAPE_CORRUPT, "%s", words);
}

/* The five lengths; advances *at. NULL, or what is wrong. */
static const char *read_lengths(const struct tape_block_header *header, const uint8_t **at,
                                const uint8_t *end, uint64_t lengths[LENGTHS])
{
    for (int i = 0; i < LENGTHS; i++) {
        size_t used = tape_bytes_get_varint(*at, (size_t)(end - *at), &lengths[i]);
        if (used == 0)
            return "the payload ends inside its lengths";
        *at += used;
    }
    if (lengths[TEXT_RAW] > header->raw_bytes)
        return "the text is longer than the records";
    if (lengths[POOL_RAW] == 0 || lengths[POOL_RAW] > 2ull * header->raw_bytes + 65536)
        return "the pool's length is out of bounds";
    if (lengths[TEXT_STORED] > lengths[TEXT_RAW] || lengths[POOL_STORED] > lengths[POOL_RAW])
        return "an area is stored longer than it is";
    uint64_t left = (uint64_t)(end - *at);
    if (lengths[BITS_BYTES] > left || lengths[BITS_BYTES] + lengths[TEXT_STORED] > left ||
        lengths[BITS_BYTES] + lengths[TEXT_STORED] + lengths[POOL_STORED] != left)
        return "the areas do not fill the payload";
    return NULL;
}

/* An area with room to read beyond its end. */
static int inflate(struct tape_packed_decoder *decoder, const char *name, const uint8_t *stored,
                   uint64_t stored_bytes, uint64_t raw_bytes, const uint8_t **area,
                   struct tape_error *error)
{
    uint8_t *raw = tape_packed_memory_take(&decoder->memory, raw_bytes + TAPE_PACKED_SLACK, 1);
    if (raw == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for %llu bytes",
                              (unsigned long long)raw_bytes);
    memset(raw + raw_bytes, 0, TAPE_PACKED_SLACK);
    *area = raw;
    if (stored_bytes == raw_bytes) {
        memcpy(raw, stored, raw_bytes);
        return 0;
    }
    struct tape_block_header frame = {.stored_bytes = (uint32_t)stored_bytes,
                                      .raw_bytes = (uint32_t)raw_bytes};
    int status = tape_block_inflate(decoder->zstd, &frame, stored, raw, error);
    if (status < 0)
        tape_error_wrap(error, "%s", name);
    return status;
}

int tape_packed_split(struct tape_packed_decoder *decoder, const struct tape_block_header *header,
                      const uint8_t *stored, struct tape_error *error)
{
    struct tape_packed_input *input = &decoder->input;
    const uint8_t *at = stored, *end = stored + header->stored_bytes;
    uint64_t lengths[LENGTHS];
    const char *fault = read_lengths(header, &at, end, lengths);
    if (fault != NULL)
        return corrupt(error, fault);
    *input = (struct tape_packed_input){
        .values_left = header->raw_bytes / 2,
        .nodes_left = TAPE_PACKED_BLOCK_NODES_MAX,
        .raw_bytes = header->raw_bytes,
    };
    input->area.bits = at;
    input->area.bits_end = at + lengths[BITS_BYTES];
    input->area.bits_readable = end;
    at += lengths[BITS_BYTES];
    int status =
        inflate(decoder, "text", at, lengths[TEXT_STORED], lengths[TEXT_RAW], &input->text, error);
    if (status < 0)
        return status;
    input->text_end = input->text + lengths[TEXT_RAW];
    at += lengths[TEXT_STORED];
    status = inflate(decoder, "pool", at, lengths[POOL_STORED], lengths[POOL_RAW],
                     &input->area.pool, error);
    if (status < 0)
        return status;
    input->area.pool_end = input->area.pool + lengths[POOL_RAW];
    return 0;
}
