#include "format/column_choose.h"

#include <string.h>

#include "format/column_cost.h"
#include "format/column_tokens.h"

int64_t tape_column_find_base(const struct tape_column_prediction *prediction,
                              const struct tape_column *column, struct tape_column_keys *keys)
{
    struct tape_column_prediction from_zero = *prediction;
    int64_t first = 0;
    from_zero.base = 0;
    if (!tape_column_has_base(prediction->predictor))
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
    uint8_t tokens[TAPE_COLUMN_SAMPLE_MAX];
    int is_signed, is_right;
    uint64_t factor = tape_column_tokens_factor(residuals, count, &is_signed);
    uint64_t any = tape_column_tokens_find(residuals, count, factor, is_signed, tokens, &is_right);
    for (uint32_t i = 0; i < count; i++)
        histogram.counts[tokens[i]]++;
    tape_column_histogram_sum(&histogram, tape_token_of(any) + 1u);
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
        int64_t eighth = recv / 8;
        if (eighth > 0 && recv < INT64_MAX - eighth && value > recv - eighth &&
            value < recv + eighth)
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
        if (field->scope != trial->column->scope || !field->has_values || field->dictionary > 0)
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
