#include "format/column_stream.h"

#include <string.h>

/* Shifts by a variable cost half with BMI2, and these loops do little else. */
#if defined(__x86_64__)
#define WITH_BMI2 __attribute__((target("bmi2")))
#define HAS_BMI2  __builtin_cpu_supports("bmi2")
#else
#define WITH_BMI2
#define HAS_BMI2 0
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t low_bits(uint64_t bits, unsigned count)
{
    return bits & ((1ull << count) - 1);
}

/* --- reading --- */

INLINE uint64_t peek(const uint8_t *at, uint64_t position)
{
    return tape_bytes_get_u64(at + (position >> 3)) >> (position & 7);
}

/* At least 57 bits from a position; zero beyond what may be looked at. */
static uint64_t peek_carefully(const struct tape_column_stream *stream, uint64_t position)
{
    uint8_t bytes[8] = {0};
    uint64_t from = position >> 3, available = (uint64_t)(stream->readable - stream->at);
    if (from < available)
        memcpy(bytes, stream->at + from, available - from < 8 ? available - from : 8);
    return tape_bytes_get_u64(bytes) >> (position & 7);
}

/* One token with its extra bits, and the lane's next state when more = 1, at any distance from the
 * end and however wide: up to 62 + 11 bits, hence several looks. Returns the position after it. */
static __attribute__((noinline)) uint64_t read_one(const struct tape_column_stream *stream,
                                                   uint64_t position, tape_tans_entry entry,
                                                   int more, uint32_t *state, int64_t *value)
{
    uint64_t residual = tape_token_base[tape_tans_token(entry)];
    unsigned extra = tape_tans_extra(entry), low = extra < 32 ? extra : 32;
    residual += low_bits(peek_carefully(stream, position), low);
    if (extra > low)
        residual += low_bits(peek_carefully(stream, position + low), extra - low) << low;
    position += extra;
    *value = (int64_t)residual;
    if (!more)
        return position;
    uint32_t bits = (uint32_t)peek_carefully(stream, position) & tape_tans_mask(entry);
    *state = tape_tans_base(entry) + bits;
    return position + tape_tans_bits(entry);
}

/* The context of value i, of which the token before is last. */
INLINE unsigned find_context(unsigned kind, const uint32_t *owner, const uint8_t *beside, size_t i,
                             uint8_t last)
{
    int first;
    unsigned class = tape_token_class[last];
    switch (kind) {
    case TAPE_COLUMN_CONTEXT_PREVIOUS:
        return class;
    case TAPE_COLUMN_CONTEXT_FIRST:
        return !(i == 0 || owner[i] != owner[i - 1]);
    case TAPE_COLUMN_CONTEXT_FIRST_PREVIOUS:
        first = i == 0 || owner[i] != owner[i - 1];
        return first ? 0 : 1 + (class < 6 ? class : 6);
    case TAPE_COLUMN_CONTEXT_BESIDE:
        return tape_token_class[beside[i]];
    default:
        return 0;
    }
}

enum { FOUR_MOST_BITS = TAPE_TANS_LANES * (62 + TAPE_TANS_LOG_MAX) + 64 };

/* The lanes in turn while all of them go on and every look stays inside, then one by one. Returns
 * the position after the last value. */
INLINE uint64_t read_lanes(const tape_tans_entry (*restrict entries)[TAPE_TANS_STATES_MAX],
                           unsigned kind, const struct tape_column_context_of *context,
                           const struct tape_column_stream *stream, uint64_t position,
                           uint32_t states[TAPE_TANS_LANES], uint32_t count,
                           int64_t *restrict values, uint8_t *restrict tokens, unsigned *seen)
{
    const uint8_t *at = stream->at, *beside = context->beside;
    const uint32_t *owner = context->owner;
    uint64_t readable = (uint64_t)(stream->readable - at) * 8;
    uint64_t a = states[0], b = states[1], c = states[2], d = states[3];
    uint8_t last = 0;
    unsigned met = 0;
    /* Nothing but pointers and lanes is kept in the loop: all of it must fit into registers. */
    int64_t *value = values, *end = values + count;
    uint8_t *token = tokens;
    for (; end - value >= 2 * TAPE_TANS_LANES && position + FOUR_MOST_BITS <= readable;
         value += TAPE_TANS_LANES, token += TAPE_TANS_LANES) {
#define LANE(lane, state)                                                                          \
    do {                                                                                           \
        size_t i = (size_t)(value - values) + (lane);                                              \
        unsigned which = find_context(kind, owner, beside, i, last);                               \
        tape_tans_entry entry = entries[which][state];                                             \
        met |= 1u << which;                                                                        \
        last = tape_tans_token(entry);                                                             \
        token[lane] = last;                                                                        \
        if (__builtin_expect(tape_tans_total(entry) > TAPE_TANS_LOOK_BITS, 0)) {                   \
            uint32_t next; /* the lane itself must not leave its register */                       \
            position = read_one(stream, position, entry, 1, &next, &value[lane]);                  \
            (state) = next;                                                                        \
        } else {                                                                                   \
            uint64_t bits = peek(at, position);                                                    \
            unsigned extra = tape_tans_extra(entry);                                               \
            position += tape_tans_total(entry);                                                    \
            (state) = tape_tans_base(entry) + (bits >> extra & tape_tans_mask(entry));             \
            value[lane] = (int64_t)(tape_token_base[last] + low_bits(bits, extra));                \
        }                                                                                          \
    } while (0)
        LANE(0, a);
        LANE(1, b);
        LANE(2, c);
        LANE(3, d);
#undef LANE
    }
    size_t i = (size_t)(value - values);
    states[0] = (uint32_t)a, states[1] = (uint32_t)b;
    states[2] = (uint32_t)c, states[3] = (uint32_t)d;
    for (; i < count && position <= readable; i++) {
        unsigned which = find_context(kind, owner, beside, i, last);
        uint32_t *state = &states[i % TAPE_TANS_LANES];
        tape_tans_entry entry = entries[which][*state];
        met |= 1u << which;
        tokens[i] = last = tape_tans_token(entry);
        position =
            read_one(stream, position, entry, i + TAPE_TANS_LANES < count, state, &values[i]);
    }
    *seen = met;
    return i < count ? UINT64_MAX : position;
}

/* One loop for each kind of context, so that none is asked for in it. */
INLINE uint64_t read_by_kind(const tape_tans_entry (*entries)[TAPE_TANS_STATES_MAX],
                             const struct tape_column_context_of *context,
                             const struct tape_column_stream *stream, uint64_t position,
                             uint32_t states[TAPE_TANS_LANES], uint32_t count, int64_t *values,
                             uint8_t *tokens, unsigned *seen)
{
#define CASE(name, number, contexts, lists)                                                        \
    case number:                                                                                   \
        return read_lanes(entries, number, context, stream, position, states, count, values,       \
                          tokens, seen);
    switch (context->kind) {
        TAPE_COLUMN_CONTEXT_TABLE(CASE)
    default:
        return UINT64_MAX;
    }
#undef CASE
}

WITH_BMI2 static uint64_t read_with_bmi2(const tape_tans_entry (*entries)[TAPE_TANS_STATES_MAX],
                                         const struct tape_column_context_of *context,
                                         const struct tape_column_stream *stream, uint64_t position,
                                         uint32_t states[TAPE_TANS_LANES], uint32_t count,
                                         int64_t *values, uint8_t *tokens, unsigned *seen)
{
    return read_by_kind(entries, context, stream, position, states, count, values, tokens, seen);
}

static uint64_t read_plainly(const tape_tans_entry (*entries)[TAPE_TANS_STATES_MAX],
                             const struct tape_column_context_of *context,
                             const struct tape_column_stream *stream, uint64_t position,
                             uint32_t states[TAPE_TANS_LANES], uint32_t count, int64_t *values,
                             uint8_t *tokens, unsigned *seen)
{
    return read_by_kind(entries, context, stream, position, states, count, values, tokens, seen);
}

int tape_column_stream_read(const tape_tans_entry entries[][TAPE_TANS_STATES_MAX], unsigned log,
                            const struct tape_column_context_of *context, unsigned used,
                            const struct tape_column_stream *stream, uint32_t count,
                            int64_t *values, uint8_t *tokens)
{
    uint32_t states[TAPE_TANS_LANES] = {0};
    unsigned padding = (unsigned)low_bits(peek_carefully(stream, 0), 3), seen = 0;
    uint64_t position = 3 + padding;
    if (low_bits(peek_carefully(stream, 3), padding) != 0)
        return 0;
    for (uint32_t lane = 0; lane < TAPE_TANS_LANES && lane < count; lane++) {
        states[lane] = (uint32_t)low_bits(peek_carefully(stream, position), log);
        position += log;
    }
    position = (HAS_BMI2 ? read_with_bmi2 : read_plainly)(entries, context, stream, position,
                                                          states, count, values, tokens, &seen);
    return position == stream->length && (seen & ~used) == 0;
}

/* --- writing --- */

/* Bits are put before those that are there: what is read first is written last. Invariants: the low
 * `count` bits of `pending` are the front of the stream and are not at `at` yet; count < 8; the
 * eight bytes before `at` may be written. */
struct backward {
    uint8_t *at;
    uint64_t pending;
    unsigned count;
};

enum { PUT_MOST = 56 };

/* At most PUT_MOST bits; those above count are zero. Whole bytes go out at once, without asking
 * whether there are any: of no bits none stays, whatever is stored. */
INLINE void put_before(struct backward *to, uint64_t bits, unsigned count)
{
    to->pending = to->pending << count | bits;
    to->count += count;
    tape_bytes_put_u64(to->at - 8, to->pending << ((64 - to->count) & 63));
    to->at -= to->count >> 3;
    to->count &= 7;
    to->pending = low_bits(to->pending, to->count);
}

INLINE void put_token(struct backward *to, const struct tape_tans_writer *table, uint8_t token,
                      uint64_t residual, int more, uint32_t *state)
{
    unsigned extra = tape_token_extra[token], bits = 0;
    uint64_t rest = low_bits(residual, extra), next = 0;
    if (more) {
        const struct tape_tans_rule *rule = &table->rules[token];
        bits = (*state + rule->bits) >> 16;
        next = low_bits(*state, bits);
        *state = table->states[(int32_t)(*state >> bits) + rule->find];
    } else {
        *state = table->first[token];
    }
    if (__builtin_expect(extra + bits <= PUT_MOST, 1)) {
        put_before(to, next << extra | rest, extra + bits);
    } else {
        put_before(to, next, bits);
        put_before(to, rest >> 32, extra - 32);
        put_before(to, rest & UINT32_MAX, 32);
    }
}

INLINE size_t write_lanes(const struct tape_tans_writer *tables, unsigned log,
                          const uint8_t *contexts, const int64_t *residuals, const uint8_t *tokens,
                          uint32_t count, uint8_t *end)
{
    struct backward to = {.at = end};
    uint32_t states[TAPE_TANS_LANES] = {0};
    uint32_t i = count;
#define TABLE(i) (contexts == NULL ? tables : &tables[contexts[i]])
    while (i > 0 && (i % TAPE_TANS_LANES != 0 || i + TAPE_TANS_LANES > count)) {
        i--;
        put_token(&to, TABLE(i), tokens[i], (uint64_t)residuals[i], i + TAPE_TANS_LANES < count,
                  &states[i % TAPE_TANS_LANES]);
    }
    uint32_t a = states[0], b = states[1], c = states[2], d = states[3];
    while (i > 0) {
        i -= TAPE_TANS_LANES;
        put_token(&to, TABLE(i + 3), tokens[i + 3], (uint64_t)residuals[i + 3], 1, &d);
        put_token(&to, TABLE(i + 2), tokens[i + 2], (uint64_t)residuals[i + 2], 1, &c);
        put_token(&to, TABLE(i + 1), tokens[i + 1], (uint64_t)residuals[i + 1], 1, &b);
        put_token(&to, TABLE(i), tokens[i], (uint64_t)residuals[i], 1, &a);
    }
#undef TABLE
    states[0] = a, states[1] = b, states[2] = c, states[3] = d;
    for (uint32_t lane = count < TAPE_TANS_LANES ? count : TAPE_TANS_LANES; lane-- > 0;)
        put_before(&to, low_bits(states[lane], log), log);
    unsigned padding = (8 - (to.count + 3) % 8) % 8;
    put_before(&to, 0, padding);
    put_before(&to, padding, 3);
    return (size_t)(end - to.at);
}

INLINE size_t write_by_kind(const struct tape_tans_writer *tables, unsigned log,
                            const uint8_t *contexts, const int64_t *residuals,
                            const uint8_t *tokens, uint32_t count, uint8_t *end)
{
    if (contexts == NULL)
        return write_lanes(tables, log, NULL, residuals, tokens, count, end);
    return write_lanes(tables, log, contexts, residuals, tokens, count, end);
}

WITH_BMI2 static size_t write_with_bmi2(const struct tape_tans_writer *tables, unsigned log,
                                        const uint8_t *contexts, const int64_t *residuals,
                                        const uint8_t *tokens, uint32_t count, uint8_t *end)
{
    return write_by_kind(tables, log, contexts, residuals, tokens, count, end);
}

static size_t write_plainly(const struct tape_tans_writer *tables, unsigned log,
                            const uint8_t *contexts, const int64_t *residuals,
                            const uint8_t *tokens, uint32_t count, uint8_t *end)
{
    return write_by_kind(tables, log, contexts, residuals, tokens, count, end);
}

size_t tape_column_stream_write(const struct tape_tans_writer *tables, unsigned log,
                                const uint8_t *contexts, const int64_t *residuals,
                                const uint8_t *tokens, uint32_t count, uint8_t *end)
{
    return (HAS_BMI2 ? write_with_bmi2 : write_plainly)(tables, log, contexts, residuals, tokens,
                                                        count, end);
}
