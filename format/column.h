/* A column: 64-bit integers as a prediction and an entropy-coded residual (FORMAT.md, "Columns").
 * Memory only. */
#ifndef TAPE_FORMAT_COLUMN_H
#define TAPE_FORMAT_COLUMN_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/growing.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_COLUMN_PREDICTOR(name, number, argument, has base, word) */
#define TAPE_COLUMN_PREDICTOR_TABLE(X)                                                             \
    X(NONE, 0, NOTHING, 0, "none")                                                                 \
    X(DELTA, 1, NOTHING, 1, "delta")                                                               \
    X(FIELD, 2, COLUMN, 0, "field")                                                                \
    X(FIELD_DELTA, 3, COLUMN, 1, "field_delta")                                                    \
    X(FIELD_PREVIOUS, 4, COLUMN, 1, "field_previous")                                              \
    X(TIME, 5, EXPONENT, 1, "time")                                                                \
    X(LIST_DELTA, 6, NOTHING, 1, "list_delta")                                                     \
    X(KEYED, 7, COLUMN, 1, "keyed")

enum tape_column_predictor {
#define TAPE_COLUMN_PREDICTOR_ENUM(name, number, argument, base, word) TAPE_COLUMN_##name = number,
    TAPE_COLUMN_PREDICTOR_TABLE(TAPE_COLUMN_PREDICTOR_ENUM)
#undef TAPE_COLUMN_PREDICTOR_ENUM
};

enum {
    TAPE_COLUMN_SLACK = 16, /* values and tokens have room for so many more than count */
    TAPE_COLUMN_DICTIONARY_MAX = 65536,
};

/* Where values stand: one a row, or one an element of the lists of all rows (or outer elements).
 * Lists are numbered through: owner[i] is the index, in the parent scope, of what element i's list
 * belongs to; it never falls. Element i is the first of its list when i == 0 or owner[i] differs
 * from owner[i - 1]. */
struct tape_column_scope {
    uint32_t count;
    const struct tape_column_scope *parent; /* NULL: the rows */
    const uint32_t *owner;                  /* NULL at the rows */
    const int64_t *recv_ns;                 /* of each row; NULL: no times to predict from */
};

struct tape_column {
    const struct tape_column_scope *scope;
    int64_t *values;     /* scope->count and TAPE_COLUMN_SLACK */
    uint8_t *tokens;     /* of the residuals; the same room; a reader's: only if shown */
    uint32_t dictionary; /* how many entries, when the values index a dictionary; else 0 */
    uint8_t has_values;  /* 0: a place without (uuid): nobody may refer to it */
    uint8_t is_shown;    /* reader: its tokens are contexts of other columns */
    size_t coder_at;     /* writer: where in the pool its coder is, to which that may be added */
};

/* --- reading --- */

/* What is left of a packed payload's areas. bits may be read (not used) up to bits_readable, which
 * is not before bits_end. */
struct tape_column_input {
    const uint8_t *pool, *pool_end;
    const uint8_t *bits, *bits_end, *bits_readable;
};

struct tape_column_reader; /* scratch tables; one thread */
struct tape_column_reader *tape_column_reader_new(void);
void tape_column_reader_free(struct tape_column_reader *reader);

/* tape_column_read(reader, input, before, before_count, column, error): reads the next column of
 * input into column->values, and column->tokens if it is shown; column->scope (and dictionary) are
 * set by the caller, before[0 .. before_count) are the template's columns with smaller numbers
 * (NULL, 0: only predictors 0 and 1). Dictionary indexes are NOT checked against the dictionary. 0
 * or TAPE_CORRUPT: whatever the bytes say nothing beyond the given room is touched. Memory is the
 * reader's own; time is linear in the count, and in the states of at most eight tables. */
int tape_column_read(struct tape_column_reader *reader, struct tape_column_input *input,
                     const struct tape_column *before, uint32_t before_count,
                     struct tape_column *column, struct tape_error *error);

/* --- writing --- */

struct tape_column_output {
    struct tape_growing pool, bits;
};

/* What was found good for a column of this kind; zero-initialise, keep from block to block. */
struct tape_column_plan {
    uint8_t known;
    uint8_t predictor, context;
    uint8_t context_column_near; /* context field: how many columns before */
    uint32_t argument;           /* column number or exponent */
    uint32_t age;                /* blocks since it was looked at */
    uint64_t factor;             /* of the residuals in the last block */
    uint8_t is_signed;           /* so were these */
    uint8_t scale_age;           /* blocks since these two were looked at and found as before */
};

struct tape_column_writer; /* scratch; one thread */

/* tape_column_writer_new(thorough): thorough = 1 tries more (cold segments). */
struct tape_column_writer *tape_column_writer_new(int thorough);
void tape_column_writer_free(struct tape_column_writer *writer);

/* tape_column_write(writer, output, before, before_count, column, plan): appends the column to
 * output in the smallest form found and fills column->tokens. plan may be NULL. Memory shortage
 * shows as output->pool.failed or bits.failed. */
void tape_column_write(struct tape_column_writer *writer, struct tape_column_output *output,
                       const struct tape_column *before, uint32_t before_count,
                       struct tape_column *column, struct tape_column_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
