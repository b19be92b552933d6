#include "format/packed.h"

#include <stdlib.h>

#include "format/bytes.h"
#include "format/packed_internal.h"
#include "format/packed_text.h"

/* Invariant: the records from next on have bodies in text, or were passed over; decoder holds the
 * same block, and all of it was checked. */
struct tape_packed {
    struct tape_packed_decoder decoder;
    struct tape_packed_text text;
    uint64_t first_ordinal;
    uint32_t next, records;
};

struct tape_packed *tape_packed_new(void)
{
    struct tape_packed *packed = calloc(1, sizeof *packed);
    if (packed == NULL)
        return NULL;
    if (tape_packed_decoder_open(&packed->decoder) < 0) {
        tape_packed_free(packed);
        return NULL;
    }
    return packed;
}

void tape_packed_free(struct tape_packed *packed)
{
    if (packed == NULL)
        return;
    tape_packed_decoder_close(&packed->decoder);
    free(packed->text.buffer);
    free(packed);
}

static unsigned count_varint(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits * 9 + 64) / 64; /* bits / 7, rounded up */
}

/* The length of the records in the form of codec 0. Only when none was passed over. */
static uint64_t add_up(const struct tape_packed *packed, int64_t recv_ns)
{
    const struct tape_packed_block *block = &packed->decoder.block;
    uint64_t sum = 0, before = (uint64_t)recv_ns;
    for (uint32_t i = 0; i < block->records; i++) {
        uint64_t now = (uint64_t)block->recv_ns[i];
        uint32_t bytes = packed->text.bodies[i].bytes;
        sum += block->heads[block->record_head[i]].stored_bytes +
               count_varint(tape_bytes_zigzag((int64_t)(now - before))) + count_varint(bytes) +
               bytes;
        before = now;
    }
    return sum;
}

int tape_packed_open(struct tape_packed *packed, const struct tape_block_header *header,
                     const uint8_t *stored, tape_block_wants *wants, void *context,
                     struct tape_error *error)
{
    packed->next = packed->records = 0;
    int status = tape_packed_decode(&packed->decoder, header, stored, error);
    if (status == 0)
        status = tape_packed_rebuild(&packed->text, &packed->decoder, header->raw_bytes, wants,
                                     context, error);
    if (status < 0)
        return status;
    uint64_t sum;
    if (packed->text.passed_over == 0 &&
        (sum = add_up(packed, header->min_recv_ns)) != header->raw_bytes)
        return tape_error_set(error, TAPE_CORRUPT, "the records are %llu bytes, not %u",
                              (unsigned long long)sum, header->raw_bytes);
    packed->records = header->records;
    packed->first_ordinal = header->first_ordinal;
    return 0;
}

int tape_packed_next(struct tape_packed *packed, struct tape_record *record)
{
    const struct tape_packed_block *block = &packed->decoder.block;
    for (; packed->next < packed->records; packed->next++) {
        uint32_t i = packed->next;
        const struct tape_packed_body *body = &packed->text.bodies[i];
        if (body->data == NULL)
            continue;
        const struct tape_packed_head *head = &block->heads[block->record_head[i]];
        record->ordinal = packed->first_ordinal + i;
        record->recv_ns = block->recv_ns[i];
        record->connection = head->connection;
        record->bytes = body->bytes;
        record->flags = head->flags;
        record->kind = head->kind;
        record->data = body->data;
        packed->next++;
        return 1;
    }
    return 0;
}
