/* A block's data messages as columns: one value beside the other instead of one text after the
 * other. Of templates (codec 3) they are what was stored, without a text in between; of all else
 * the parser fills them. Memory only, no files. */
#ifndef TAPE_FORMAT_COLUMNS_H
#define TAPE_FORMAT_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The fields of struct tape_tick, by the kind of their column.
 * TAPE_COLUMNS_INTEGER(name, member, value where it is absent) */
#define TAPE_COLUMNS_INTEGER_TABLE(X)                                                              \
    X(EVENT_NS, event_ns, TAPE_TICK_NONE)                                                          \
    X(TRANSACTION_NS, transaction_ns, TAPE_TICK_NONE)                                              \
    X(ID, id, TAPE_TICK_NONE)                                                                      \
    X(FIRST_ID, first_id, TAPE_TICK_NONE)                                                          \
    X(LAST_ID, last_id, TAPE_TICK_NONE)                                                            \
    X(PREVIOUS_ID, previous_id, TAPE_TICK_NONE)                                                    \
    X(BUYER_IS_MAKER, buyer_is_maker, -1)

/* TAPE_COLUMNS_DECIMAL(name, member) */
#define TAPE_COLUMNS_DECIMAL_TABLE(X)                                                              \
    X(PRICE, price)                                                                                \
    X(QUANTITY, quantity)                                                                          \
    X(BID, bid)                                                                                    \
    X(BID_QUANTITY, bid_quantity)                                                                  \
    X(ASK, ask)                                                                                    \
    X(ASK_QUANTITY, ask_quantity)

/* TAPE_COLUMNS_LEVELS(name, member) */
#define TAPE_COLUMNS_LEVELS_TABLE(X)                                                               \
    X(BIDS, bids)                                                                                  \
    X(ASKS, asks)

/* TAPE_COLUMNS_WORDS(name, member). stream is that of struct tape_message: never absent, "" where
 * there is none. */
#define TAPE_COLUMNS_WORDS_TABLE(X)                                                                \
    X(STREAM, stream)                                                                              \
    X(SYMBOL, symbol)                                                                              \
    X(EVENT, event)

#define TAPE_COLUMNS_ENUM(name, ...) TAPE_COLUMNS_##name,
enum tape_columns_integer { TAPE_COLUMNS_INTEGER_TABLE(TAPE_COLUMNS_ENUM) TAPE_COLUMNS_INTEGERS };
enum tape_columns_decimal { TAPE_COLUMNS_DECIMAL_TABLE(TAPE_COLUMNS_ENUM) TAPE_COLUMNS_DECIMALS };
enum tape_columns_levels { TAPE_COLUMNS_LEVELS_TABLE(TAPE_COLUMNS_ENUM) TAPE_COLUMNS_LEVELS };
enum tape_columns_words { TAPE_COLUMNS_WORDS_TABLE(TAPE_COLUMNS_ENUM) TAPE_COLUMNS_WORDS };
#undef TAPE_COLUMNS_ENUM

/* Of one decimal, or of one list of levels. */
enum tape_columns_state {
    TAPE_COLUMNS_ABSENT,
    TAPE_COLUMNS_VALID, /* a list: all of its levels were taken */
    TAPE_COLUMNS_ODD,   /* only text tells: see struct tape_decimal; a list: not of that form, with
                           the levels before what is not (tape_tick_next_level: -1). Only in batches
                           with payloads */
};

/* How a decimal was written that has fewer decimals than the column's scale. */
enum tape_columns_zeros {
    TAPE_COLUMNS_ZEROS_STAY,  /* as written: the scale is exact */
    TAPE_COLUMNS_ZEROS_CUT,   /* without the zeros at the end of the fraction, and its point */
    TAPE_COLUMNS_ZEROS_POINT, /* the same, but one digit stays behind the point */
};

/* values NULL: all rows have the constant. */
struct tape_columns_of_integers {
    const int64_t *values;
    int64_t constant;
};

/* Row i is value / 10^scale. Each of values, scales and states may be NULL: all rows have the same.
 * Of rows that are not VALID value and scale are 0. */
struct tape_columns_of_decimals {
    const int64_t *values;
    const uint8_t *scales; /* with these zeros is STAY */
    const uint8_t *states;
    int64_t value;
    uint8_t scale, state, zeros;
};

/* The levels of row i are [begins[i], begins[i] + counts[i]) of price and quantity, levels in all;
 * begins NULL: no row has any. */
struct tape_columns_of_levels {
    const uint32_t *begins;
    const int64_t *counts;
    const uint8_t *states; /* NULL: all have the same */
    uint8_t state;
    uint32_t levels;
    struct tape_columns_of_decimals price, quantity;
};

/* Row i has entries[indexes[i]]; indexes NULL: all have the first. An entry with data NULL: absent.
 * Some entries may be of no row, and no two are equal but in templates of a foreign hand. */
struct tape_columns_of_words {
    const struct tape_slice *entries;
    uint32_t entry_count; /* at least 1 */
    const int64_t *indexes;
};

/*
 * Messages of one kind, in the order of their ordinals. Each column has a value for every row. The
 * messages of a block are in several batches; of one kind, too.
 */
struct tape_columns_batch {
    int kind; /* enum tape_tick_kind, as tape_tick_decode says */
    uint32_t rows;
    uint64_t first_ordinal;
    const uint32_t *records; /* ordinal - first_ordinal, of the record that completed the message */
    const int64_t *recv_ns;
    const uint32_t *connections; /* NULL: all have the constant */
    uint32_t connection;
    const uint16_t *flags; /* of all the message's records, or-ed; NULL: all have the constant */
    uint16_t flag;
    const struct tape_slice *payloads; /* NULL: no texts were rebuilt, nothing is ODD */
    struct tape_columns_of_integers integers[TAPE_COLUMNS_INTEGERS];
    struct tape_columns_of_decimals decimals[TAPE_COLUMNS_DECIMALS];
    struct tape_columns_of_levels levels[TAPE_COLUMNS_LEVELS];
    struct tape_columns_of_words words[TAPE_COLUMNS_WORDS];
};

struct tape_columns; /* opaque; one thread; keeps its buffers, and what it learnt of templates */

/* tape_columns_new(): NULL when memory is short. */
struct tape_columns *tape_columns_new(void);
void tape_columns_free(struct tape_columns *columns);

/* tape_columns_select(columns, wants, context): from the next open on, as tape_block_select:
 * batches may leave out rows of streams that wants() refuses; others of such streams may be given.
 * NULL: all. */
void tape_columns_select(struct tape_columns *columns, tape_block_wants *wants, void *context);

/*
 * tape_columns_open(columns, header, stored, error): as tape_block_open, for every codec; stored
 * must stay until the next open. The messages are those of kind DATA that tape_feed_push gives over
 * the block's records, each once: no answers, control frames or events. A message of fragments that
 * began in an earlier block is given when that block, and each between, was opened before this one;
 * without them it is none.
 *
 * What a block says of its template groups is believed (FORMAT.md, "Groups": naming), and whether
 * their texts add up to raw_bytes is not looked at: tape_block_open tells whether a block is good.
 */
int tape_columns_open(struct tape_columns *columns, const struct tape_block_header *header,
                      const uint8_t *stored, struct tape_error *error);

/* tape_columns_next(columns): the next batch of the block, NULL at the end. All batches are valid
 * until the next open. */
const struct tape_columns_batch *tape_columns_next(struct tape_columns *columns);

/* --- one row's values --- */

static inline int64_t tape_columns_integer(const struct tape_columns_of_integers *column,
                                           uint32_t row)
{
    return column->values ? column->values[row] : column->constant;
}

static inline struct tape_slice tape_columns_word(const struct tape_columns_of_words *column,
                                                  uint32_t row)
{
    return column->entries[column->indexes ? column->indexes[row] : 0];
}

/* tape_columns_decimal(column, row, value, scale): the state; value and scale exactly as
 * written, as in struct tape_decimal. */
static inline int tape_columns_decimal(const struct tape_columns_of_decimals *column, uint32_t row,
                                       int64_t *value, uint8_t *scale)
{
    *value = column->values ? column->values[row] : column->value;
    *scale = column->scales ? column->scales[row] : column->scale;
    if (column->zeros != TAPE_COLUMNS_ZEROS_STAY)
        for (; *scale > column->zeros - TAPE_COLUMNS_ZEROS_CUT && *value % 10 == 0; --*scale)
            *value /= 10;
    return column->states ? column->states[row] : column->state;
}

/* tape_columns_levels(column, row, begin, count): the state; where the row's levels are. */
static inline int tape_columns_levels(const struct tape_columns_of_levels *column, uint32_t row,
                                      uint32_t *begin, uint32_t *count)
{
    *begin = column->begins ? column->begins[row] : 0;
    *count = column->begins ? (uint32_t)column->counts[row] : 0;
    return column->states ? column->states[row] : column->state;
}

#ifdef __cplusplus
}
#endif
#endif
