#include "format/column_choose.h"

#include <string.h>

#include "format/column_cost.h"

static uint64_t find_divisor(uint64_t left, uint64_t right)
{
    while (right != 0) {
        uint64_t rest = left % right;
        left = right;
        right = rest;
    }
    return left;
}

/* Division without dividing: of a multiple of the factor, the quotient is the number, shifted by
 * the factor's zeros, times the inverse of its odd part; of any other number that is above the
 * limit. */
struct divisor {
    uint64_t inverse, limit, low_mask;
    unsigned zeros;
};

static struct divisor prepare_divisor(uint64_t factor)
{
    struct divisor divisor = {.zeros = (unsigned)__builtin_ctzll(factor)};
    uint64_t odd = factor >> divisor.zeros, inverse = odd; /* right in three bits */
    for (int bits = 3; bits < 64; bits *= 2)
        inverse *= 2 - odd * inverse;
    divisor.inverse = inverse;
    divisor.limit = UINT64_MAX / odd;
    divisor.low_mask = (1ull << divisor.zeros) - 1;
    return divisor;
}

static inline int divides(const struct divisor *divisor, uint64_t size)
{
    return (size & divisor->low_mask) == 0 &&
           (size >> divisor->zeros) * divisor->inverse <= divisor->limit;
}

uint64_t tape_column_find_factor(const int64_t *residuals, uint32_t count, int *is_signed)
{
    uint64_t factor = 0;
    struct divisor divisor = {.low_mask = UINT64_MAX};
    int64_t any = 0;
    for (uint32_t i = 0; i < count && factor != 1; i++) {
        uint64_t size = residuals[i] < 0 ? 0 - (uint64_t)residuals[i] : (uint64_t)residuals[i];
        if (size == 0 || divides(&divisor, size))
            continue;
        factor = find_divisor(factor, size);
        divisor = prepare_divisor(factor);
    }
    for (uint32_t i = 0; i < count; i++)
        any |= residuals[i];
    *is_signed = any < 0;
    return factor == 0 || factor > INT64_MAX ? 1 : factor;
}

void tape_column_scale_down(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed)
{
    if (factor != 1) {
        struct divisor divisor = prepare_divisor(factor);
        for (uint32_t i = 0; i < count; i++)
            residuals[i] = (int64_t)((uint64_t)(residuals[i] >> divisor.zeros) * divisor.inverse);
    }
    if (is_signed)
        for (uint32_t i = 0; i < count; i++)
            residuals[i] = (int64_t)tape_bytes_zigzag(residuals[i]);
}

int64_t tape_column_find_base(const struct tape_column_prediction *prediction,
                              const struct tape_column *column, struct tape_column_keys *keys)
{
    struct tape_column_prediction from_zero = *prediction;
    int64_t first = 0;
    from_zero.base = 0;
    if (prediction->predictor == TAPE_COLUMN_NONE || prediction->predictor == TAPE_COLUMN_FIELD)
        return 0;
    return tape_column_difference(&from_zero, keys, column->values, 0, 1, &first) < 0 ? 0 : first;
}

/* A choice being made. */
struct trial {
    const struct tape_column *column;
    struct tape_column_keys *keys;
    int64_t *scratch;
    uint32_t scratch_count;
    uint64_t best_bits;
    struct tape_column_prediction best;
    uint32_t argument;
};

/* Fills scratch with residuals of up to four stretches spread over the column. */
static uint32_t sample(struct trial *trial, const struct tape_column_prediction *prediction)
{
    enum { STRETCHES = 4 };
    uint32_t count = trial->column->scope->count, room = trial->scratch_count;
    if (count <= room)
        return tape_column_difference(prediction, trial->keys, trial->column->values, 0, count,
                                      trial->scratch) < 0
                   ? 0
                   : count;
    uint32_t each = room / STRETCHES, step = (count - each) / (STRETCHES - 1), filled = 0;
    for (uint32_t stretch = 0; stretch < STRETCHES; stretch++) {
        if (tape_column_difference(prediction, trial->keys, trial->column->values, stretch * step,
                                   each, trial->scratch + filled) < 0)
            return 0;
        filled += each;
    }
    return filled;
}

/* The first residual of a sample is as large as the column's base may be: it tells nothing. */
static uint64_t measure(int64_t *residuals, uint32_t count)
{
    struct tape_column_histogram histogram = {0};
    int is_signed;
    uint64_t factor = tape_column_find_factor(residuals, count, &is_signed);
    tape_column_scale_down(residuals, count, factor, is_signed);
    for (uint32_t i = 0; i < count; i++)
        histogram.counts[tape_token_of((uint64_t)residuals[i])]++;
    tape_column_histogram_sum(&histogram);
    return tape_column_cost_bits(&histogram) + histogram.distinct * TAPE_COLUMN_COST_TOKEN_BITS;
}

static void attempt(struct trial *trial, uint8_t predictor, const struct tape_column *field,
                    uint32_t argument)
{
    struct tape_column_prediction prediction = {
        .predictor = predictor,
        .exponent = predictor == TAPE_COLUMN_TIME ? (uint8_t)argument : 0,
        .scope = trial->column->scope,
        .field = field,
    };
    if (!tape_column_allows(&prediction))
        return;
    prediction.base = tape_column_find_base(&prediction, trial->column, trial->keys);
    uint32_t count = sample(trial, &prediction);
    uint64_t bits = count == 0 ? UINT64_MAX : measure(trial->scratch, count);
    if (bits >= trial->best_bits)
        return;
    trial->best_bits = bits;
    trial->best = prediction;
    trial->argument = argument;
}

/* Times are told from other numbers by their size: within an eighth of the receive time. */
static void attempt_times(struct trial *trial)
{
    const struct tape_column_scope *scope = trial->column->scope;
    if (scope->recv_ns == NULL)
        return;
    int64_t recv = scope->recv_ns[0], value = trial->column->values[0];
    for (uint32_t exponent = 0; exponent <= TAPE_COLUMN_EXPONENT_MAX; exponent += 3) {
        if (value > recv - recv / 8 && value < recv + recv / 8)
            attempt(trial, TAPE_COLUMN_TIME, NULL, exponent);
        recv /= 1000;
    }
}

/* Neighbours of the same scope, the nearest first. */
static void attempt_fields(struct trial *trial, const struct tape_column *before,
                           uint32_t before_count, uint32_t most)
{
    for (uint32_t i = before_count; i-- > 0 && most > 0;) {
        const struct tape_column *field = &before[i];
        if (field->scope != trial->column->scope || !field->has_tokens || field->dictionary > 0)
            continue;
        attempt(trial, TAPE_COLUMN_FIELD, field, i);
        attempt(trial, TAPE_COLUMN_FIELD_DELTA, field, i);
        attempt(trial, TAPE_COLUMN_FIELD_PREVIOUS, field, i);
        most--;
    }
}

static void attempt_keys(struct trial *trial, const struct tape_column *before,
                         uint32_t before_count, uint32_t most)
{
    for (uint32_t i = before_count; i-- > 0 && most > 0;) {
        if (before[i].dictionary < 2)
            continue;
        attempt(trial, TAPE_COLUMN_KEYED, &before[i], i);
        most--;
    }
}

void tape_column_choose_predictor(const struct tape_column *before, uint32_t before_count,
                                  const struct tape_column *column, struct tape_column_keys *keys,
                                  int64_t *scratch, uint32_t scratch_count, int wide,
                                  struct tape_column_prediction *prediction, uint32_t *argument)
{
    struct trial trial = {
        .column = column,
        .keys = keys,
        .scratch = scratch,
        .scratch_count = scratch_count,
        .best_bits = UINT64_MAX,
        .best = {.scope = column->scope},
    };
    attempt(&trial, TAPE_COLUMN_NONE, NULL, 0);
    attempt(&trial, TAPE_COLUMN_DELTA, NULL, 0);
    attempt_keys(&trial, before, before_count, wide ? 8 : 3);
    if (column->dictionary == 0) {
        attempt(&trial, TAPE_COLUMN_LIST_DELTA, NULL, 0);
        attempt_times(&trial);
        attempt_fields(&trial, before, before_count, wide ? 8 : 3);
    }
    *prediction = trial.best;
    *argument = trial.argument;
}
