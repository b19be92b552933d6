#include "format/column_predict.h"

#include <stdlib.h>
#include <string.h>

#include "format/token.h"

unsigned tape_column_contexts(unsigned kind)
{
    static const uint8_t contexts[] = {
#define CONTEXTS(name, number, contexts, lists) [number] = contexts,
        TAPE_COLUMN_CONTEXT_TABLE(CONTEXTS)
#undef CONTEXTS
    };
    return kind < TAPE_COLUMN_CONTEXT_KINDS ? contexts[kind] : 0;
}

void tape_column_keys_free(struct tape_column_keys *keys)
{
    free(keys->last);
    free(keys->seen);
    memset(keys, 0, sizeof *keys);
}

/* Wrapping sums and differences: the format's arithmetic is modulo 2^64. */
static inline int64_t plus(int64_t left, int64_t right)
{
    return (int64_t)((uint64_t)left + (uint64_t)right);
}

static inline int64_t minus(int64_t left, int64_t right)
{
    return (int64_t)((uint64_t)left - (uint64_t)right);
}

static inline int64_t floor_divide(int64_t value, int64_t by)
{
    int64_t quotient = value / by;
    return quotient - (value % by < 0);
}

static inline int64_t time_in_units(int64_t ns, unsigned exponent)
{
    static const int64_t powers[TAPE_COLUMN_EXPONENT_MAX + 1] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};
    if (exponent == 6) /* the common one: a division by a constant is a multiplication */
        return floor_divide(ns, 1000000);
    return floor_divide(ns, powers[exponent]);
}

int tape_column_has_base(uint8_t predictor)
{
    static const uint8_t has_base[] = {
#define BASE(name, number, argument, base, word) [number] = base,
        TAPE_COLUMN_PREDICTOR_TABLE(BASE)
#undef BASE
    };
    return has_base[predictor];
}

static int is_same_or_outer(const struct tape_column_scope *outer,
                            const struct tape_column_scope *scope)
{
    for (; scope != NULL; scope = scope->parent)
        if (scope == outer)
            return 1;
    return 0;
}

int tape_column_allows(const struct tape_column_prediction *prediction)
{
    const struct tape_column *field = prediction->field;
    switch (prediction->predictor) {
    case TAPE_COLUMN_NONE:
    case TAPE_COLUMN_DELTA:
        return 1;
    case TAPE_COLUMN_FIELD:
    case TAPE_COLUMN_FIELD_DELTA:
    case TAPE_COLUMN_FIELD_PREVIOUS:
        return field != NULL && field->has_values && field->scope == prediction->scope;
    case TAPE_COLUMN_TIME:
        return prediction->scope->recv_ns != NULL &&
               prediction->exponent <= TAPE_COLUMN_EXPONENT_MAX;
    case TAPE_COLUMN_LIST_DELTA:
        return prediction->scope->owner != NULL;
    case TAPE_COLUMN_KEYED:
        return field != NULL && field->has_values && field->dictionary > 0 &&
               is_same_or_outer(field->scope, prediction->scope);
    default:
        return 0;
    }
}

/* --- keys --- */

static int prepare_keys(struct tape_column_keys *keys, uint32_t dictionary)
{
    if (dictionary > keys->capacity) {
        free(keys->last);
        free(keys->seen);
        keys->last = malloc(dictionary * sizeof *keys->last);
        keys->seen = malloc(dictionary);
        keys->capacity = keys->last != NULL && keys->seen != NULL ? dictionary : 0;
        if (keys->capacity == 0)
            return TAPE_FAILED;
    }
    memset(keys->seen, 0, dictionary);
    return 0;
}

/* The key of element i: of its own row, or of the outer one that it lies in. */
static inline uint64_t find_key(const struct tape_column_prediction *prediction, uint32_t i)
{
    for (const struct tape_column_scope *scope = prediction->scope;
         scope != prediction->field->scope; scope = scope->parent)
        i = scope->owner[i];
    return (uint64_t)prediction->field->values[i];
}

/* Where the elements that share element i's key for certain end: with its list, when the key is not
 * of its own scope. */
static inline uint32_t find_same_key(const struct tape_column_prediction *prediction, uint32_t i,
                                     uint32_t count)
{
    const uint32_t *owner = prediction->scope->owner;
    uint32_t end = i + 1;
    if (prediction->scope == prediction->field->scope)
        return end;
    while (end < count && owner[end] == owner[i])
        end++;
    return end;
}

/* --- from residuals to values --- */

/* How residuals stand. The loops below are made once for each, so that they do not ask. */
enum stand {
    AS_TOKENS, /* small: looked up */
    AS_PLAIN,
    AS_SIGNED,
    AS_SCALED,
    AS_SIGNED_SCALED,
};

struct residuals {
    const int64_t *coded;
    const uint8_t *tokens;
    const int64_t *of_token; /* the residual of each small token */
    uint64_t factor;
};

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t unscale(int64_t coded, uint64_t factor, int is_signed)
{
    uint64_t residual = (uint64_t)coded;
    if (is_signed)
        residual = (uint64_t)tape_bytes_unzigzag(residual);
    return (int64_t)(residual * factor);
}

INLINE int64_t residual_at(const struct residuals *from, enum stand stand, uint32_t i)
{
    if (stand == AS_TOKENS)
        return from->of_token[from->tokens[i]];
    return unscale(from->coded[i],
                   stand == AS_SCALED || stand == AS_SIGNED_SCALED ? from->factor : 1,
                   stand == AS_SIGNED || stand == AS_SIGNED_SCALED);
}

INLINE void restore_plain(const struct tape_column_prediction *prediction,
                          const struct residuals *from, enum stand stand, int64_t *values)
{
    uint32_t count = prediction->scope->count;
    int64_t carried = prediction->base;
    if (prediction->predictor == TAPE_COLUMN_NONE) {
        for (uint32_t i = 0; stand != AS_PLAIN && i < count; i++)
            values[i] = residual_at(from, stand, i);
    } else if (prediction->predictor == TAPE_COLUMN_DELTA) {
        for (uint32_t i = 0; i < count; i++)
            values[i] = carried = plus(carried, residual_at(from, stand, i));
    } else {
        const int64_t *recv_ns = prediction->scope->recv_ns;
        for (uint32_t i = 0; i < count; i++) {
            carried = plus(carried, residual_at(from, stand, i));
            values[i] = plus(carried, time_in_units(recv_ns[i], prediction->exponent));
        }
    }
}

INLINE void restore_field(const struct tape_column_prediction *prediction,
                          const struct residuals *from, enum stand stand, int64_t *values)
{
    const int64_t *field = prediction->field->values;
    uint32_t count = prediction->scope->count;
    int64_t carried = prediction->base;
    if (prediction->predictor == TAPE_COLUMN_FIELD) {
        for (uint32_t i = 0; i < count; i++)
            values[i] = plus(residual_at(from, stand, i), field[i]);
    } else if (prediction->predictor == TAPE_COLUMN_FIELD_DELTA) {
        for (uint32_t i = 0; i < count; i++) {
            carried = plus(carried, residual_at(from, stand, i));
            values[i] = plus(field[i], carried);
        }
    } else {
        for (uint32_t i = 0; i < count; i++) {
            values[i] = plus(residual_at(from, stand, i), carried);
            carried = field[i];
        }
    }
}

INLINE void restore_list(const struct tape_column_prediction *prediction,
                         const struct residuals *from, enum stand stand, int64_t *values)
{
    const uint32_t *owner = prediction->scope->owner;
    int64_t first = prediction->base, last = prediction->base;
    uint32_t list = UINT32_MAX;
    for (uint32_t i = 0; i < prediction->scope->count; i++) {
        int64_t residual = residual_at(from, stand, i);
        /* chosen, not jumped to: where lists end is not to be guessed */
        int64_t before = owner[i] != list ? first : last;
        last = plus(before, residual);
        first = owner[i] != list ? last : first;
        list = owner[i];
        values[i] = last;
    }
}

/* Elements of one list mostly have one key, that of the row they are in: while they do, the value
 * before is the key's last, and nothing is looked up. */
INLINE int restore_keyed(const struct tape_column_prediction *prediction,
                         const struct residuals *from, enum stand stand,
                         struct tape_column_keys *keys, int64_t *values)
{
    uint32_t dictionary = prediction->field->dictionary, count = prediction->scope->count;
    int64_t last = prediction->base;
    if (prepare_keys(keys, dictionary) < 0)
        return TAPE_FAILED;
    for (uint32_t i = 0; i < count;) {
        uint64_t key = find_key(prediction, i);
        uint32_t end = find_same_key(prediction, i, count);
        if (key >= dictionary)
            return TAPE_CORRUPT;
        last = keys->seen[key] ? keys->last[key] : last;
        for (; i < end; i++)
            values[i] = last = plus(last, residual_at(from, stand, i));
        keys->seen[key] = 1;
        keys->last[key] = last;
    }
    return 0;
}

INLINE int restore_standing(const struct tape_column_prediction *prediction,
                            const struct residuals *from, enum stand stand,
                            struct tape_column_keys *keys, int64_t *values)
{
    switch (prediction->predictor) {
    case TAPE_COLUMN_NONE:
    case TAPE_COLUMN_DELTA:
    case TAPE_COLUMN_TIME:
        restore_plain(prediction, from, stand, values);
        return 0;
    case TAPE_COLUMN_LIST_DELTA:
        restore_list(prediction, from, stand, values);
        return 0;
    case TAPE_COLUMN_KEYED:
        return restore_keyed(prediction, from, stand, keys, values);
    default:
        restore_field(prediction, from, stand, values);
        return 0;
    }
}

int tape_column_restore(const struct tape_column_prediction *prediction,
                        const struct tape_column_scale *scale, struct tape_column_keys *keys,
                        const uint8_t *tokens, int64_t *values)
{
    int64_t of_token[TAPE_TOKEN_EXACT];
    struct residuals from = {values, tokens, of_token, scale->factor};
    if (tokens != NULL) {
        for (int64_t token = 0; token < TAPE_TOKEN_EXACT; token++)
            of_token[token] = unscale(token, scale->factor, scale->is_signed);
        return restore_standing(prediction, &from, AS_TOKENS, keys, values);
    }
    if (scale->factor == 1)
        return scale->is_signed ? restore_standing(prediction, &from, AS_SIGNED, keys, values)
                                : restore_standing(prediction, &from, AS_PLAIN, keys, values);
    return scale->is_signed ? restore_standing(prediction, &from, AS_SIGNED_SCALED, keys, values)
                            : restore_standing(prediction, &from, AS_SCALED, keys, values);
}

/* --- from values to residuals --- */

/* The first element of the list that the element before i is in. */
static int64_t find_first_before(const struct tape_column_prediction *prediction,
                                 const int64_t *values, uint32_t i)
{
    if (i == 0)
        return prediction->base;
    uint32_t at = i - 1;
    while (!tape_column_is_first(prediction->scope, at))
        at--;
    return values[at];
}

static void difference_list(const struct tape_column_prediction *prediction, const int64_t *values,
                            uint32_t from, uint32_t count, int64_t *residuals)
{
    const uint32_t *owner = prediction->scope->owner;
    int64_t first = find_first_before(prediction, values, from);
    int64_t last = from == 0 ? first : values[from - 1];
    uint32_t list = from == 0 ? UINT32_MAX : owner[from - 1];
    for (uint32_t i = from; i < from + count; i++) {
        /* chosen, not jumped to: where lists end is not to be guessed */
        int64_t before = owner[i] != list ? first : last;
        last = values[i];
        first = owner[i] != list ? last : first;
        list = owner[i];
        residuals[i - from] = minus(last, before);
    }
}

static int difference_keyed(const struct tape_column_prediction *prediction,
                            struct tape_column_keys *keys, const int64_t *values, uint32_t from,
                            uint32_t count, int64_t *residuals)
{
    uint32_t dictionary = prediction->field->dictionary;
    int64_t last = from == 0 ? prediction->base : values[from - 1];
    if (prepare_keys(keys, dictionary) < 0)
        return TAPE_FAILED;
    for (uint32_t i = from; i < from + count; i++) {
        uint64_t key = find_key(prediction, i);
        if (key >= dictionary)
            return TAPE_CORRUPT;
        residuals[i - from] = minus(values[i], keys->seen[key] ? keys->last[key] : last);
        keys->seen[key] = 1;
        keys->last[key] = last = values[i];
    }
    return 0;
}

static int64_t find_carried(const struct tape_column_prediction *prediction, const int64_t *values,
                            uint32_t from)
{
    if (from == 0)
        return prediction->base;
    switch (prediction->predictor) {
    case TAPE_COLUMN_FIELD_DELTA:
        return minus(values[from - 1], prediction->field->values[from - 1]);
    case TAPE_COLUMN_FIELD_PREVIOUS:
        return prediction->field->values[from - 1];
    case TAPE_COLUMN_TIME:
        return minus(values[from - 1],
                     time_in_units(prediction->scope->recv_ns[from - 1], prediction->exponent));
    default:
        return values[from - 1];
    }
}

static void difference_field(const struct tape_column_prediction *prediction, const int64_t *values,
                             uint32_t from, uint32_t count, int64_t *residuals)
{
    const int64_t *field = prediction->field->values + from;
    int64_t carried = find_carried(prediction, values, from);
    values += from;
    for (uint32_t i = 0; i < count; i++) {
        if (prediction->predictor == TAPE_COLUMN_FIELD) {
            residuals[i] = minus(values[i], field[i]);
        } else if (prediction->predictor == TAPE_COLUMN_FIELD_DELTA) {
            int64_t now = minus(values[i], field[i]);
            residuals[i] = minus(now, carried);
            carried = now;
        } else {
            residuals[i] = minus(values[i], carried);
            carried = field[i];
        }
    }
}

int tape_column_difference(const struct tape_column_prediction *prediction,
                           struct tape_column_keys *keys, const int64_t *values, uint32_t from,
                           uint32_t count, int64_t *residuals)
{
    int64_t carried;
    switch (prediction->predictor) {
    case TAPE_COLUMN_NONE:
        memcpy(residuals, values + from, count * sizeof *residuals);
        return 0;
    case TAPE_COLUMN_DELTA:
        carried = find_carried(prediction, values, from);
        for (uint32_t i = 0; i < count; i++) {
            residuals[i] = minus(values[from + i], carried);
            carried = values[from + i];
        }
        return 0;
    case TAPE_COLUMN_TIME:
        carried = find_carried(prediction, values, from);
        for (uint32_t i = 0; i < count; i++) {
            int64_t now =
                minus(values[from + i],
                      time_in_units(prediction->scope->recv_ns[from + i], prediction->exponent));
            residuals[i] = minus(now, carried);
            carried = now;
        }
        return 0;
    case TAPE_COLUMN_LIST_DELTA:
        difference_list(prediction, values, from, count, residuals);
        return 0;
    case TAPE_COLUMN_KEYED:
        return difference_keyed(prediction, keys, values, from, count, residuals);
    default:
        difference_field(prediction, values, from, count, residuals);
        return 0;
    }
}
