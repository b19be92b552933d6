#include "format/column_stream.h"

#include <string.h>

/* Shifts and masks by a variable cost half with BMI2, and these loops do little else. */
#if defined(__x86_64__)
#include <immintrin.h>
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
    if (value != NULL)
        *value = (int64_t)residual;
    if (!more)
        return position;
    unsigned bits = tape_tans_bits(entry);
    *state = tape_tans_base(entry) + (uint32_t)low_bits(peek_carefully(stream, position), bits);
    return position + bits;
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

/* What a loop may rely on, so that it does not ask again and again. */
enum look {
    LOOK_EACH,  /* one token may need more bits than a look gives */
    LOOK_TWO,   /* two tokens never do */
    LOOK_EXACT, /* no token has extra bits: tokens are values, and a look is enough for all lanes */
};

/* extra_most: that a token has, beside at most log bits for the lane's next state. */
static enum look choose_look(unsigned log, unsigned extra_most)
{
    if (extra_most == 0)
        return LOOK_EXACT;
    return log + extra_most <= TAPE_TANS_LOOK_BITS / 2 ? LOOK_TWO : LOOK_EACH;
}

/* So many turns of all lanes can be taken without asking whether values or bits end: not the last
 * values, after which lanes stop, and no look beyond what is readable. */
static uint64_t count_turns(const struct tape_column_stream *stream, uint64_t position,
                            size_t count, unsigned most)
{
    enum { LOOK = 64 };
    uint64_t readable = (uint64_t)(stream->readable - stream->at) * 8;
    uint64_t turns = count / TAPE_TANS_LANES;
    if (turns < 2 || position + LOOK > readable)
        return 0;
    uint64_t safe = (readable - position - LOOK) / (TAPE_TANS_LANES * most);
    return turns - 1 < safe ? turns - 1 : safe;
}

/* The low ${count} bits, of which the low byte counts. */
typedef uint64_t mask_low(uint64_t bits, uint64_t count);

INLINE uint64_t mask_plainly(uint64_t bits, uint64_t count)
{
    return bits & ((1ull << (count & 63)) - 1);
}

#if defined(__x86_64__)
INLINE WITH_BMI2 uint64_t mask_with_bmi2(uint64_t bits, uint64_t count)
{
    return _bzhi_u64(bits, count);
}
#endif

/* A field of an entry at the lowest bits: rotated, which takes one instruction, not two. */
INLINE uint64_t turn_to(tape_tans_entry entry, unsigned at)
{
    return entry >> at | entry << (64 - at);
}

/* What is read: all that does not change from value to value. */
struct lanes {
    const tape_tans_entry (*entries)[TAPE_TANS_STATES_MAX];
    const struct tape_column_context_of *context;
    const struct tape_column_stream *stream;
    unsigned most; /* bits that a value and the next state may take */
    uint32_t count;
    int64_t *values;
    uint8_t *tokens;
};

/* The lanes in turn, then the last values one by one. Returns the position after the last value, or
 * UINT64_MAX. Nothing but pointers and lanes is kept in the inner loop: all of it must fit into
 * registers. */
INLINE uint64_t read_lanes(const struct lanes *lanes, unsigned kind, enum look look, int keeps,
                           mask_low *mask, uint64_t position, uint32_t states[TAPE_TANS_LANES])
{
    const struct tape_column_stream *stream = lanes->stream;
    const tape_tans_entry(*restrict entries)[TAPE_TANS_STATES_MAX] = lanes->entries;
    const uint8_t *at = stream->at, *beside = lanes->context->beside;
    const uint32_t *owner = lanes->context->owner;
    int64_t *restrict values = lanes->values;
    uint8_t *restrict tokens = lanes->tokens;
    uint64_t a = states[0], b = states[1], c = states[2], d = states[3];
    uint64_t readable = (uint64_t)(stream->readable - at) * 8, turns;
    tape_tans_entry met = 0;
    uint8_t last = 0;
    size_t i = 0, count = lanes->count;
    while ((turns = count_turns(stream, position, count - i, lanes->most)) > 0) {
        for (size_t end = i + turns * TAPE_TANS_LANES; i < end; i += TAPE_TANS_LANES) {
            uint64_t bits = 0;
            tape_tans_entry taken = 0; /* entries of a look added up: no total carries */
#define LANE(lane, state)                                                                          \
    do {                                                                                           \
        unsigned which = find_context(kind, owner, beside, i + (lane), last);                      \
        tape_tans_entry entry = entries[which][state];                                             \
        if (kind != TAPE_COLUMN_CONTEXT_ALONE)                                                     \
            met |= entry;                                                                          \
        last = tape_tans_token(entry);                                                             \
        if (keeps)                                                                                 \
            tokens[i + (lane)] = last;                                                             \
        if (look == LOOK_EACH &&                                                                   \
            __builtin_expect(tape_tans_total(entry) > TAPE_TANS_LOOK_BITS, 0)) {                   \
            uint32_t next; /* the lane itself must not leave its register */                       \
            position = read_one(stream, position, entry, 1, &next, &values[i + (lane)]);           \
            (state) = next;                                                                        \
            break;                                                                                 \
        }                                                                                          \
        if (look == LOOK_EACH || (look == LOOK_TWO && (lane) % 2 == 0) || (lane) == 0) {           \
            bits = peek(at, position);                                                             \
            taken = 0;                                                                             \
        }                                                                                          \
        taken += entry;                                                                            \
        if (look == LOOK_EACH || (look == LOOK_TWO && (lane) % 2 == 1) ||                          \
            (lane) == TAPE_TANS_LANES - 1)                                                         \
            position += tape_tans_total(taken);                                                    \
        if (look != LOOK_EXACT) {                                                                  \
            uint64_t extra = turn_to(entry, TAPE_TANS_EXTRA_AT);                                   \
            values[i + (lane)] = (int64_t)(tape_token_base[last] + mask(bits, extra));             \
            bits >>= extra & 63;                                                                   \
        }                                                                                          \
        uint64_t more = turn_to(entry, TAPE_TANS_BITS_AT);                                         \
        (state) = tape_tans_base(entry) + mask(bits, more);                                        \
        bits >>= more & 63;                                                                        \
    } while (0)
            LANE(0, a);
            LANE(1, b);
            LANE(2, c);
            LANE(3, d);
#undef LANE
        }
    }
    states[0] = (uint32_t)a, states[1] = (uint32_t)b;
    states[2] = (uint32_t)c, states[3] = (uint32_t)d;
    for (; i < count && position <= readable; i++) {
        unsigned which = find_context(kind, owner, beside, i, last);
        uint32_t *state = &states[i % TAPE_TANS_LANES];
        tape_tans_entry entry = entries[which][*state];
        met |= entry;
        tokens[i] = last = tape_tans_token(entry);
        position = read_one(stream, position, entry, i + TAPE_TANS_LANES < count, state,
                            look == LOOK_EXACT ? NULL : &values[i]);
    }
    return i < count || (met & TAPE_TANS_NO_ENTRY) ? UINT64_MAX : position;
}

/* One loop for each kind of context and of look, so that none is asked for in it. Tokens are kept
 * where that is asked for or they are the values; and with contexts, of which few columns have any:
 * that saves loops. */
INLINE uint64_t read_by_kind(const struct lanes *lanes, enum look look, int keeps, mask_low *mask,
                             uint64_t position, uint32_t states[TAPE_TANS_LANES])
{
    if (lanes->context->kind == TAPE_COLUMN_CONTEXT_ALONE && !keeps && look != LOOK_EXACT)
        return look == LOOK_TWO ? read_lanes(lanes, TAPE_COLUMN_CONTEXT_ALONE, LOOK_TWO, 0, mask,
                                             position, states)
                                : read_lanes(lanes, TAPE_COLUMN_CONTEXT_ALONE, LOOK_EACH, 0, mask,
                                             position, states);
    switch (lanes->context->kind) {
#define CASE(name, number, contexts, lists)                                                        \
    case number:                                                                                   \
        if (look == LOOK_EXACT)                                                                    \
            return read_lanes(lanes, number, LOOK_EXACT, 1, mask, position, states);               \
        if (look == LOOK_TWO)                                                                      \
            return read_lanes(lanes, number, LOOK_TWO, 1, mask, position, states);                 \
        return read_lanes(lanes, number, LOOK_EACH, 1, mask, position, states);
        TAPE_COLUMN_CONTEXT_TABLE(CASE)
#undef CASE
    default:
        return UINT64_MAX;
    }
}

#if defined(__x86_64__)
WITH_BMI2 static uint64_t read_with_bmi2(const struct lanes *lanes, enum look look, int keeps,
                                         uint64_t position, uint32_t states[TAPE_TANS_LANES])
{
    return read_by_kind(lanes, look, keeps, mask_with_bmi2, position, states);
}
#else
#define read_with_bmi2 read_plainly
#endif

static uint64_t read_plainly(const struct lanes *lanes, enum look look, int keeps,
                             uint64_t position, uint32_t states[TAPE_TANS_LANES])
{
    return read_by_kind(lanes, look, keeps, mask_plainly, position, states);
}

int tape_column_stream_read(const tape_tans_entry entries[][TAPE_TANS_STATES_MAX], unsigned log,
                            unsigned extra_most, const struct tape_column_context_of *context,
                            int keeps, const struct tape_column_stream *stream, uint32_t count,
                            int64_t *values, uint8_t *tokens)
{
    struct lanes lanes = {entries, context, stream, log + extra_most, count, values, tokens};
    enum look look = choose_look(log, extra_most);
    uint32_t states[TAPE_TANS_LANES] = {0};
    unsigned padding = (unsigned)low_bits(peek_carefully(stream, 0), 3);
    uint64_t position = 3 + padding;
    if (low_bits(peek_carefully(stream, 3), padding) != 0)
        return 0;
    for (uint32_t lane = 0; lane < TAPE_TANS_LANES && lane < count; lane++) {
        states[lane] = (uint32_t)low_bits(peek_carefully(stream, position), log);
        position += log;
    }
    position = (HAS_BMI2 ? read_with_bmi2 : read_plainly)(&lanes, look, keeps, position, states);
    return position == stream->length;
}

/* --- writing --- */

/* Bits are put before those that are there: what is read first is written last. Invariants: the low
 * `count` bits of `pending` are the front of the stream and are not at `at` yet, those above them
 * are anything; count < 8; the eight bytes before `at` may be written. */
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
}

/* The bits of one token; of its extra bits these are the low ones. */
struct piece {
    uint64_t extra, more;
    unsigned extra_bits, more_bits;
};

/* From the state after a token to that before it. */
INLINE struct piece take_step(const struct tape_tans_writer *table, uint8_t token,
                              uint64_t residual, mask_low *mask, uint64_t *state)
{
    const struct tape_tans_rule *rule = &table->rules[token];
    struct piece piece = {.extra_bits = tape_token_extra[token],
                          .more_bits = (uint32_t)(*state + rule->bits) >> 16};
    piece.extra = mask(residual, piece.extra_bits);
    piece.more = mask(*state, piece.more_bits);
    *state = table->states[(int64_t)(*state >> piece.more_bits) + rule->find];
    return piece;
}

INLINE void put_piece(struct backward *to, const struct piece *piece)
{
    if (__builtin_expect(piece->extra_bits + piece->more_bits <= PUT_MOST, 1)) {
        put_before(to, piece->more << piece->extra_bits | piece->extra,
                   piece->extra_bits + piece->more_bits);
    } else {
        put_before(to, piece->more, piece->more_bits);
        put_before(to, piece->extra >> 32, piece->extra_bits - 32);
        put_before(to, piece->extra & UINT32_MAX, 32);
    }
}

/* What is written: as struct lanes. */
struct source {
    const struct tape_tans_writer *tables;
    const uint8_t *contexts; /* NULL: there is one table */
    const int64_t *residuals;
    const uint8_t *tokens;
    uint32_t count;
};

/* From the last value to the first. Bits of several lanes are joined before they are put where they
 * are few enough for certain. */
INLINE void write_lanes(const struct source *from, int has_contexts, enum look look, mask_low *mask,
                        struct backward *stream, uint64_t states[TAPE_TANS_LANES])
{
    const struct tape_tans_writer *tables = from->tables;
    const uint8_t *contexts = from->contexts, *tokens = from->tokens;
    const int64_t *residuals = from->residuals;
    struct backward to = *stream; /* in registers */
    size_t i = from->count;
#define TABLE(i) (has_contexts ? &tables[contexts[i]] : tables)
    while (i > 0 && (i % TAPE_TANS_LANES != 0 || i + TAPE_TANS_LANES > from->count)) {
        uint64_t *state = &states[--i % TAPE_TANS_LANES];
        struct piece piece = take_step(TABLE(i), tokens[i], (uint64_t)residuals[i], mask, state);
        if (i + TAPE_TANS_LANES >= from->count) /* none comes after: any state of the token does */
            piece.more = piece.more_bits = 0;
        put_piece(&to, &piece);
    }
    uint64_t a = states[0], b = states[1], c = states[2], d = states[3];
    while (i > 0) {
        uint64_t joint = 0;
        unsigned joint_bits = 0;
        i -= TAPE_TANS_LANES;
#define LANE(lane, state)                                                                          \
    do {                                                                                           \
        struct piece piece =                                                                       \
            take_step(TABLE(i + (lane)), tokens[i + (lane)],                                       \
                      look == LOOK_EXACT ? 0 : (uint64_t)residuals[i + (lane)], mask, &(state));   \
        if (look == LOOK_EACH) {                                                                   \
            put_piece(&to, &piece);                                                                \
            break;                                                                                 \
        }                                                                                          \
        joint = joint << piece.more_bits | piece.more;                                             \
        joint_bits += piece.more_bits;                                                             \
        if (look == LOOK_TWO) {                                                                    \
            joint = joint << piece.extra_bits | piece.extra;                                       \
            joint_bits += piece.extra_bits;                                                        \
        }                                                                                          \
        if ((look == LOOK_TWO && (lane) % 2 == 0) || (lane) == 0) {                                \
            put_before(&to, joint, joint_bits);                                                    \
            joint = joint_bits = 0;                                                                \
        }                                                                                          \
    } while (0)
        LANE(3, d);
        LANE(2, c);
        LANE(1, b);
        LANE(0, a);
#undef LANE
    }
#undef TABLE
    states[0] = a, states[1] = b, states[2] = c, states[3] = d;
    *stream = to;
}

INLINE void write_by_kind(const struct source *from, enum look look, mask_low *mask,
                          struct backward *to, uint64_t states[TAPE_TANS_LANES])
{
    if (from->contexts != NULL)
        write_lanes(from, 1, LOOK_EACH, mask, to, states);
    else if (look == LOOK_EXACT)
        write_lanes(from, 0, LOOK_EXACT, mask, to, states);
    else if (look == LOOK_TWO)
        write_lanes(from, 0, LOOK_TWO, mask, to, states);
    else
        write_lanes(from, 0, LOOK_EACH, mask, to, states);
}

#if defined(__x86_64__)
WITH_BMI2 static void write_with_bmi2(const struct source *from, enum look look,
                                      struct backward *to, uint64_t states[TAPE_TANS_LANES])
{
    write_by_kind(from, look, mask_with_bmi2, to, states);
}
#else
#define write_with_bmi2 write_plainly
#endif

static void write_plainly(const struct source *from, enum look look, struct backward *to,
                          uint64_t states[TAPE_TANS_LANES])
{
    write_by_kind(from, look, mask_plainly, to, states);
}

size_t tape_column_stream_write(const struct tape_tans_writer *tables, unsigned log,
                                unsigned extra_most, const uint8_t *contexts,
                                const int64_t *residuals, const uint8_t *tokens, uint32_t count,
                                uint8_t *end)
{
    struct source from = {tables, contexts, residuals, tokens, count};
    struct backward to = {.at = end};
    uint64_t states[TAPE_TANS_LANES] = {1ull << log, 1ull << log, 1ull << log, 1ull << log};
    (HAS_BMI2 ? write_with_bmi2 : write_plainly)(&from, choose_look(log, extra_most), &to, states);
    for (uint32_t lane = count < TAPE_TANS_LANES ? count : TAPE_TANS_LANES; lane-- > 0;)
        put_before(&to, low_bits(states[lane], log), log);
    unsigned padding = (8 - (to.count + 3) % 8) % 8;
    put_before(&to, 0, padding);
    put_before(&to, padding, 3);
    return (size_t)(end - to.at);
}
