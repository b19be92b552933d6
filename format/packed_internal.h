/* A packed block taken apart, its text not yet rebuilt: what a reader of columns needs. Private to
 * the readers of packed blocks. */
#ifndef TAPE_FORMAT_PACKED_INTERNAL_H
#define TAPE_FORMAT_PACKED_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/column.h"
#include "format/error.h"
#include "format/packed_memory.h"

struct ZSTD_DCtx_s;

enum {
    TAPE_PACKED_BLOCK_NODES_MAX = 65536, /* of all programs of a block */
    TAPE_PACKED_HEADS_MAX = 65536,
    TAPE_PACKED_GROUPS_MAX = 65536,
    TAPE_PACKED_STREAM_MAX_BYTES = 255,
    TAPE_PACKED_SLACK = 64, /* bytes that may be read after any text, literal or string */
};

struct tape_packed_words {
    const uint8_t *bytes;
    uint32_t length;
};

/*
 * One node of a program, in the order in which they stand there (ends left out).
 * - a list's inside are the nodes from the next one to before `end`; of others end is the next;
 * - column: the number of its first column; the values of a number with format EACH are in the one
 *   after it;
 * - every value is checked: indexes are below the dictionary's size, counts and lengths add up,
 *   numbers are below 10^18, times between the years 0000 and 9999, decimals at most 18.
 */
struct tape_packed_place {
    uint8_t node;     /* enum tape_packed_node */
    uint8_t form;     /* enum tape_packed_number, enum tape_packed_string */
    uint8_t decimals; /* not with format EACH */
    uint8_t bits;     /* number: every |value| is below 2^bits */
    uint8_t negative; /* number: 1 when some value is */
    uint32_t end, column;
    struct tape_column_scope *outside; /* that it stands in */
    struct tape_column_scope inside;   /* list: its elements */
    struct tape_packed_words literal;
    const struct tape_packed_words *entries; /* dictionary */
    uint32_t entry_count;
    const uint8_t *bytes; /* raw: the strings, one after the other; uuid: 16 bytes each */
};

/* The rows of one shape. */
struct tape_packed_group {
    uint8_t coding, naming;          /* enum tape_packed_coding, tape_packed_naming */
    uint32_t naming_column;          /* by column: a dictionary of the rows' scope */
    uint32_t naming_place;           /* its place */
    struct tape_packed_words stream; /* named */
    struct tape_column_scope rows;   /* recv_ns only in templates */
    const uint32_t *records;         /* of each row: index in the block, rising */
    /* text */
    const int64_t *lengths;
    const uint8_t *text;
    /* template */
    struct tape_packed_place *places;
    uint32_t place_count;
    struct tape_column *columns;
    uint32_t column_count;
};

struct tape_packed_head {
    uint32_t connection, group;
    uint32_t records; /* that have it */
    uint16_t flags;
    uint8_t kind, form;
    uint8_t stored_bytes; /* of kind, flags and connection in the form of codec 0 */
};

/* Everything in it lives in memory, text, pool and the payload that it was read from. */
struct tape_packed_block {
    uint32_t records;
    const int64_t *recv_ns;      /* of each record */
    const uint32_t *record_head; /* of each record */
    struct tape_packed_head *heads;
    uint32_t head_count;
    struct tape_packed_group *groups;
    uint32_t group_count;
};

/* What is left to read, and what was counted. */
struct tape_packed_input {
    struct tape_column_input area;
    const uint8_t *text, *text_end;
    uint64_t values_left, nodes_left; /* of the block */
    uint32_t raw_bytes;
};

/* Takes blocks apart; keeps its buffers. */
struct tape_packed_decoder {
    struct ZSTD_DCtx_s *zstd;
    struct tape_column_reader *columns;
    struct tape_packed_memory memory;
    struct tape_packed_input input;
    struct tape_packed_block block;
};

/* tape_packed_decoder_open(decoder): 0, or TAPE_FAILED when memory is short (close it even then).
 */
int tape_packed_decoder_open(struct tape_packed_decoder *decoder);
void tape_packed_decoder_close(struct tape_packed_decoder *decoder);

/* tape_packed_decode(decoder, header, stored, error): fills decoder->block; it holds until the next
 * call and while stored does. Memory is at most about 20 times header->raw_bytes and 24 MiB,
 * whatever the bytes say. 0, TAPE_CORRUPT or TAPE_FAILED. */
int tape_packed_decode(struct tape_packed_decoder *decoder, const struct tape_block_header *header,
                       const uint8_t *stored, struct tape_error *error);

/* tape_packed_split(decoder, header, stored, error): sets decoder->input to the three areas of a
 * payload; text and pool are inflated and followed by TAPE_PACKED_SLACK readable bytes. */
int tape_packed_split(struct tape_packed_decoder *decoder, const struct tape_block_header *header,
                      const uint8_t *stored, struct tape_error *error);

/* tape_packed_read_program(decoder, group, error): the program; group->rows is set. */
int tape_packed_read_program(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                             struct tape_error *error);

/* tape_packed_read_slots(decoder, group, error): the columns of the program's places. */
int tape_packed_read_slots(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                           struct tape_error *error);

/* tape_packed_read_column(decoder, before, before_count, column, error): room for the values and
 * tokens of column, then tape_column_read. Not counted against values_left. */
int tape_packed_read_column(struct tape_packed_decoder *decoder, const struct tape_column *before,
                            uint32_t before_count, struct tape_column *column,
                            struct tape_error *error);

/* --- taking from the pool: 1, or 0 when it is not there or above the limit --- */

static inline int tape_packed_take_u8(struct tape_packed_input *input, uint8_t *value)
{
    if (input->area.pool == input->area.pool_end)
        return 0;
    *value = *input->area.pool++;
    return 1;
}

static inline int tape_packed_take(struct tape_packed_input *input, uint64_t limit, uint64_t *value)
{
    size_t used = tape_bytes_get_varint(input->area.pool,
                                        (size_t)(input->area.pool_end - input->area.pool), value);
    input->area.pool += used;
    return used > 0 && *value <= limit;
}

/* A length of at most limit and so many bytes. */
static inline int tape_packed_take_words(struct tape_packed_input *input, uint64_t limit,
                                         struct tape_packed_words *words)
{
    uint64_t length;
    if (!tape_packed_take(input, limit, &length) ||
        length > (uint64_t)(input->area.pool_end - input->area.pool))
        return 0;
    words->bytes = input->area.pool;
    words->length = (uint32_t)length;
    input->area.pool += length;
    return 1;
}

#endif
