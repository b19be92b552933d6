/* What predictors and contexts of columns see; for the reader and the writer of columns. */
#ifndef TAPE_FORMAT_COLUMN_PREDICT_H
#define TAPE_FORMAT_COLUMN_PREDICT_H

#include <stdint.h>

#include "format/column.h"

/* How residuals are coded: the low two bits of a column's coder byte. */
enum {
    TAPE_COLUMN_CODER_ZERO = 0,
    TAPE_COLUMN_CODER_VARINT = 1,
    TAPE_COLUMN_CODER_TANS = 2,
    TAPE_COLUMN_CODER_KIND = 3,   /* mask */
    TAPE_COLUMN_CODER_SIGNED = 4, /* flag: residuals are zigzag */
    TAPE_COLUMN_CODER_SHOWN = 8,  /* flag: tokens are contexts of later columns */
    TAPE_COLUMN_CODERS = 16,
};

/* TAPE_COLUMN_CONTEXT(name, number, contexts, inside lists only) */
#define TAPE_COLUMN_CONTEXT_TABLE(X)                                                               \
    X(ALONE, 0, 1, 0)                                                                              \
    X(PREVIOUS, 1, 8, 0)                                                                           \
    X(FIRST, 2, 2, 1)                                                                              \
    X(FIRST_PREVIOUS, 3, 8, 1)                                                                     \
    X(BESIDE, 4, 8, 0)

enum tape_column_context {
#define TAPE_COLUMN_CONTEXT_ENUM(name, number, contexts, lists) TAPE_COLUMN_CONTEXT_##name = number,
    TAPE_COLUMN_CONTEXT_TABLE(TAPE_COLUMN_CONTEXT_ENUM)
#undef TAPE_COLUMN_CONTEXT_ENUM
        TAPE_COLUMN_CONTEXT_KINDS
};

enum { TAPE_COLUMN_CONTEXTS_MAX = 8, TAPE_COLUMN_EXPONENT_MAX = 9 };

/* tape_column_contexts(kind): how many contexts the kind tells apart, 0 for an unknown kind. */
unsigned tape_column_contexts(unsigned kind);

/* tape_column_is_first(scope, i): whether element i begins its list. */
static inline int tape_column_is_first(const struct tape_column_scope *scope, uint32_t i)
{
    return i == 0 || scope->owner[i] != scope->owner[i - 1];
}

/* The last value of each key, for the keyed predictor. */
struct tape_column_keys {
    int64_t *last;
    uint8_t *seen;
    uint32_t capacity;
};
void tape_column_keys_free(struct tape_column_keys *keys);

/* A predictor with all it needs. scope is that of the column; field is column c or NULL. */
struct tape_column_prediction {
    uint8_t predictor;
    uint8_t exponent;
    int64_t base;
    const struct tape_column_scope *scope;
    const struct tape_column *field;
};

/* tape_column_has_base(predictor): whether the first prediction comes from a base in the header. */
int tape_column_has_base(uint8_t predictor);

/* tape_column_allows(prediction): whether scopes and columns fit the predictor. */
int tape_column_allows(const struct tape_column_prediction *prediction);

/* How residuals stand in a stream: as multiples of a factor, and zigzag or not. */
struct tape_column_scale {
    uint64_t factor;
    int is_signed;
};

/*
 * tape_column_restore(prediction, scale, keys, tokens, values): values[i] is the coded residual and
 * becomes the value; where tokens is not NULL, the residuals are these, and all below
 * TAPE_TOKEN_EXACT. tape_column_difference(prediction, keys, values, from, count, residuals): the
 * other way, of values[from .. from + count), not scaled. 0, TAPE_FAILED (memory for keys) or
 * TAPE_CORRUPT (a key that is no index of its dictionary).
 */
int tape_column_restore(const struct tape_column_prediction *prediction,
                        const struct tape_column_scale *scale, struct tape_column_keys *keys,
                        const uint8_t *tokens, int64_t *values);
int tape_column_difference(const struct tape_column_prediction *prediction,
                           struct tape_column_keys *keys, const int64_t *values, uint32_t from,
                           uint32_t count, int64_t *residuals);

#endif
