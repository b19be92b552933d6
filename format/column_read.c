#include <stdlib.h>
#include <string.h>

#include "format/column.h"
#include "format/column_predict.h"
#include "format/tans.h"

struct tape_column_reader {
    tape_tans_entry entries[TAPE_COLUMN_CONTEXTS_MAX][TAPE_TANS_STATES_MAX];
    struct tape_column_keys keys;
};

struct tape_column_reader *tape_column_reader_new(void)
{
    return calloc(1, sizeof(struct tape_column_reader));
}

void tape_column_reader_free(struct tape_column_reader *reader)
{
    if (reader == NULL)
        return;
    tape_column_keys_free(&reader->keys);
    free(reader);
}

/* --- the pool --- */

static int take_u8(struct tape_column_input *input, uint8_t *value)
{
    if (input->pool == input->pool_end)
        return 0;
    *value = *input->pool++;
    return 1;
}

static int take_varint(struct tape_column_input *input, uint64_t *value)
{
    size_t used =
        tape_bytes_get_varint(input->pool, (size_t)(input->pool_end - input->pool), value);
    input->pool += used;
    return used > 0;
}

static int fail(struct tape_error *error, const char *words)
{
    return tape_error_set(error, TAPE_CORRUPT, "%s", words);
}

/* --- header --- */

struct header {
    struct tape_column_prediction prediction;
    uint8_t coder; /* kind */
    uint8_t is_signed;
    uint64_t factor;
};

static int read_argument(struct tape_column_input *input, const struct tape_column *before,
                         uint32_t before_count, struct tape_column_prediction *prediction)
{
    enum { NOTHING, COLUMN, EXPONENT };
    static const uint8_t arguments[] = {
#define ARGUMENT(name, number, argument, base, word) [number] = argument,
        TAPE_COLUMN_PREDICTOR_TABLE(ARGUMENT)
#undef ARGUMENT
    };
    uint64_t column;
    if (prediction->predictor >= sizeof arguments)
        return 0;
    switch (arguments[prediction->predictor]) {
    case COLUMN:
        if (!take_varint(input, &column) || column >= before_count)
            return 0;
        prediction->field = &before[column];
        return 1;
    case EXPONENT:
        return take_u8(input, &prediction->exponent);
    default:
        return 1;
    }
}

static int read_header(struct tape_column_input *input, const struct tape_column *before,
                       uint32_t before_count, struct header *header, struct tape_error *error)
{
    static const uint8_t has_base[] = {
#define BASE(name, number, argument, base, word) [number] = base,
        TAPE_COLUMN_PREDICTOR_TABLE(BASE)
#undef BASE
    };
    struct tape_column_prediction *prediction = &header->prediction;
    uint8_t coder;
    uint64_t base;
    if (!take_u8(input, &prediction->predictor) ||
        !read_argument(input, before, before_count, prediction) || !tape_column_allows(prediction))
        return fail(error, "a column's predictor is none");
    if (!take_u8(input, &coder) || coder > (TAPE_COLUMN_CODER_TANS | TAPE_COLUMN_CODER_SIGNED) ||
        (coder & TAPE_COLUMN_CODER_KIND) > TAPE_COLUMN_CODER_TANS)
        return fail(error, "a column's coder is none");
    header->coder = coder & TAPE_COLUMN_CODER_KIND;
    header->is_signed = (coder & TAPE_COLUMN_CODER_SIGNED) != 0;
    if (header->coder != TAPE_COLUMN_CODER_ZERO &&
        (!take_varint(input, &header->factor) || header->factor == 0))
        return fail(error, "a column's factor is none");
    if (has_base[prediction->predictor]) {
        if (!take_varint(input, &base))
            return fail(error, "a column's base is none");
        prediction->base = tape_bytes_unzigzag(base);
    }
    return 0;
}

/* --- residuals --- */

static int read_varints(struct tape_column_input *input, struct tape_column *column)
{
    uint64_t residual;
    for (uint32_t i = 0; i < column->scope->count; i++) {
        if (!take_varint(input, &residual))
            return 0;
        column->values[i] = (int64_t)residual;
        column->tokens[i] = tape_token_of(residual);
    }
    return 1;
}

/* A stream of bits: from at, bits [position, length). What lies after it up to readable may be
 * looked at but not used. */
struct stream {
    const uint8_t *at, *readable;
    uint64_t position, length;
};

/* 57 bits or more from a position; zero beyond what may be looked at. */
static uint64_t peek_carefully(const struct stream *stream, uint64_t position)
{
    uint8_t bytes[8] = {0};
    uint64_t from = position >> 3, available = (uint64_t)(stream->readable - stream->at);
    if (from < available)
        memcpy(bytes, stream->at + from, available - from < 8 ? available - from : 8);
    return tape_bytes_get_u64(bytes) >> (position & 7);
}

static inline uint64_t peek(const struct stream *stream, uint64_t position)
{
    return tape_bytes_get_u64(stream->at + (position >> 3)) >> (position & 7);
}

static inline uint64_t low_bits(uint64_t bits, unsigned count)
{
    return bits & ((1ull << count) - 1);
}

/* One token with its extra bits; the lane's next state when more = 1. Any distance between stream
 * position and end; at most 62 + 11 bits, hence several looks. */
static void read_one(tape_tans_entry entry, struct stream *stream, int more, uint32_t *state,
                     int64_t *value)
{
    uint64_t residual = tape_token_base[tape_tans_token(entry)];
    unsigned extra = tape_tans_extra(entry), low = extra < 32 ? extra : 32;
    residual += low_bits(peek_carefully(stream, stream->position), low);
    if (extra > low)
        residual += low_bits(peek_carefully(stream, stream->position + low), extra - low) << low;
    stream->position += extra;
    if (more) {
        *state = tape_tans_base(entry) +
                 ((uint32_t)peek_carefully(stream, stream->position) & tape_tans_mask(entry));
        stream->position += tape_tans_bits(entry);
    }
    *value = (int64_t)residual;
}

enum { FOUR_MOST_BITS = TAPE_TANS_LANES * TAPE_TANS_LOOK_BITS + 64 };

/* The four lanes in turn while all of them go on and every look stays inside. Stops before a token
 * that needs more than one look; returns how many were read, a multiple of four. */
static uint32_t read_fours(const tape_tans_entry *restrict entries, struct stream *stream,
                           uint32_t states[TAPE_TANS_LANES], uint32_t count,
                           int64_t *restrict values, uint8_t *restrict tokens)
{
    const uint8_t *at = stream->at;
    uint64_t readable = (uint64_t)(stream->readable - at) * 8, position = stream->position;
    uint32_t i = 0, a = states[0], b = states[1], c = states[2], d = states[3];
    for (; i + 2 * TAPE_TANS_LANES <= count && position + FOUR_MOST_BITS <= readable;
         i += TAPE_TANS_LANES) {
        tape_tans_entry e = entries[a], f = entries[b], g = entries[c], h = entries[d];
        if (__builtin_expect(tape_tans_is_wide(e | f | g | h), 0))
            break;
#define LANE(lane, entry, state)                                                                   \
    do {                                                                                           \
        uint64_t bits = tape_bytes_get_u64(at + (position >> 3)) >> (position & 7);                \
        unsigned extra = tape_tans_extra(entry);                                                   \
        position += tape_tans_total(entry);                                                        \
        (state) = tape_tans_base(entry) + ((uint32_t)(bits >> extra) & tape_tans_mask(entry));     \
        values[i + (lane)] =                                                                       \
            (int64_t)(tape_token_base[tape_tans_token(entry)] + low_bits(bits, extra));            \
        tokens[i + (lane)] = tape_tans_token(entry);                                               \
    } while (0)
        LANE(0, e, a);
        LANE(1, f, b);
        LANE(2, g, c);
        LANE(3, h, d);
#undef LANE
    }
    states[0] = a, states[1] = b, states[2] = c, states[3] = d;
    stream->position = position;
    return i;
}

struct context {
    uint8_t kind;
    const uint8_t *beside; /* the other column's tokens */
};

static inline unsigned find_context(const struct context *context, const struct tape_column *column,
                                    uint32_t i)
{
    unsigned class;
    switch (context->kind) {
    case TAPE_COLUMN_CONTEXT_PREVIOUS:
        return i == 0 ? 0 : tape_token_class[column->tokens[i - 1]];
    case TAPE_COLUMN_CONTEXT_FIRST:
        return !tape_column_is_first(column->scope, i);
    case TAPE_COLUMN_CONTEXT_FIRST_PREVIOUS:
        if (tape_column_is_first(column->scope, i))
            return 0;
        class = tape_token_class[column->tokens[i - 1]];
        return 1 + (class < 6 ? class : 6);
    case TAPE_COLUMN_CONTEXT_BESIDE:
        return tape_token_class[context->beside[i]];
    default:
        return 0;
    }
}

/* With contexts, or near the end, one at a time. used: contexts that have a table. */
static int read_rest(const struct tape_column_reader *reader, const struct context *context,
                     unsigned used, struct stream *stream, uint32_t states[TAPE_TANS_LANES],
                     uint32_t from, struct tape_column *column)
{
    uint32_t count = column->scope->count;
    uint64_t readable = (uint64_t)(stream->readable - stream->at) * 8;
    for (uint32_t i = from; i < count; i++) {
        unsigned which = find_context(context, column, i);
        if (!(used >> which & 1))
            return 0;
        uint32_t *state = &states[i % TAPE_TANS_LANES];
        tape_tans_entry entry = reader->entries[which][*state];
        int more = i + TAPE_TANS_LANES < count;
        column->tokens[i] = tape_tans_token(entry);
        if (more && !tape_tans_is_wide(entry) && stream->position + 64 <= readable) {
            uint64_t bits = peek(stream, stream->position);
            unsigned extra = tape_tans_extra(entry);
            column->values[i] =
                (int64_t)(tape_token_base[tape_tans_token(entry)] + low_bits(bits, extra));
            *state = tape_tans_base(entry) + ((uint32_t)(bits >> extra) & tape_tans_mask(entry));
            stream->position += tape_tans_total(entry);
        } else {
            read_one(entry, stream, more, state, &column->values[i]);
        }
        if (stream->position > stream->length)
            return 0;
    }
    return 1;
}

/* The tables of all contexts. *used: a bit for each that has one. */
static int read_tables(struct tape_column_reader *reader, struct tape_column_input *input,
                       unsigned log, unsigned contexts, unsigned *used)
{
    for (unsigned which = 0; which < contexts; which++) {
        uint16_t counts[TAPE_TOKENS];
        uint64_t tokens, count, sum = 0;
        if (!take_varint(input, &tokens) || tokens > TAPE_TOKENS)
            return 0;
        for (uint64_t token = 0; token < tokens; token++) {
            if (!take_varint(input, &count) || count > (1u << log))
                return 0;
            counts[token] = (uint16_t)count;
            sum += count;
        }
        if (tokens == 0)
            continue;
        if (sum != 1u << log)
            return 0;
        tape_tans_build_entries(reader->entries[which], counts, (uint32_t)tokens, log);
        *used |= 1u << which;
    }
    return 1;
}

static int begin_stream(struct tape_column_input *input, unsigned log, uint32_t count,
                        struct stream *stream, uint32_t states[TAPE_TANS_LANES])
{
    uint64_t bytes;
    if (!take_varint(input, &bytes) || bytes > (uint64_t)(input->bits_end - input->bits))
        return 0;
    stream->at = input->bits;
    stream->readable = input->bits_readable;
    stream->length = bytes * 8;
    input->bits += bytes;
    uint64_t padding = low_bits(peek_carefully(stream, 0), 3);
    if (low_bits(peek_carefully(stream, 3), (unsigned)padding) != 0)
        return 0;
    stream->position = 3 + padding;
    for (uint32_t lane = 0; lane < TAPE_TANS_LANES && lane < count; lane++) {
        states[lane] = (uint32_t)low_bits(peek_carefully(stream, stream->position), log);
        stream->position += log;
    }
    return stream->position <= stream->length;
}

static int read_context(struct tape_column_input *input, const struct tape_column *before,
                        uint32_t before_count, const struct tape_column *column,
                        struct context *context)
{
    uint64_t beside;
    if (!take_u8(input, &context->kind) || tape_column_contexts(context->kind) == 0)
        return 0;
    int lists = context->kind == TAPE_COLUMN_CONTEXT_FIRST ||
                context->kind == TAPE_COLUMN_CONTEXT_FIRST_PREVIOUS;
    if (lists && column->scope->owner == NULL)
        return 0;
    if (context->kind != TAPE_COLUMN_CONTEXT_BESIDE)
        return 1;
    if (!take_varint(input, &beside) || beside >= before_count || !before[beside].has_tokens ||
        before[beside].scope != column->scope)
        return 0;
    context->beside = before[beside].tokens;
    return 1;
}

static int read_tans(struct tape_column_reader *reader, struct tape_column_input *input,
                     const struct tape_column *before, uint32_t before_count,
                     struct tape_column *column, struct tape_error *error)
{
    uint8_t log;
    unsigned used = 0;
    struct context context = {0};
    struct stream stream;
    uint32_t states[TAPE_TANS_LANES] = {0}, done = 0;
    if (!take_u8(input, &log) || log < TAPE_TANS_LOG_MIN || log > TAPE_TANS_LOG_MAX ||
        !read_context(input, before, before_count, column, &context) ||
        !read_tables(reader, input, log, tape_column_contexts(context.kind), &used))
        return fail(error, "a column's table is none");
    if (!begin_stream(input, log, column->scope->count, &stream, states))
        return fail(error, "a column's bits begin beyond their end");
    if (context.kind == TAPE_COLUMN_CONTEXT_ALONE && used == 1)
        done = read_fours(reader->entries[0], &stream, states, column->scope->count, column->values,
                          column->tokens);
    if (!read_rest(reader, &context, used, &stream, states, done, column) ||
        stream.position != stream.length)
        return fail(error, "a column's bits do not end where they should");
    return 0;
}

/* --- a column --- */

/* From coded residuals to scaled, signed ones. */
static void scale(const struct header *header, uint32_t count, int64_t *values)
{
    uint64_t factor = header->factor;
    if (header->is_signed)
        for (uint32_t i = 0; i < count; i++)
            values[i] = tape_bytes_unzigzag((uint64_t)values[i]);
    if (factor != 1)
        for (uint32_t i = 0; i < count; i++)
            values[i] = (int64_t)((uint64_t)values[i] * factor);
}

int tape_column_read(struct tape_column_reader *reader, struct tape_column_input *input,
                     const struct tape_column *before, uint32_t before_count,
                     struct tape_column *column, struct tape_error *error)
{
    struct header header = {.prediction.scope = column->scope};
    uint32_t count = column->scope->count;
    int status = 0;
    column->has_tokens = 1;
    if (count == 0)
        return 0;
    status = read_header(input, before, before_count, &header, error);
    if (status < 0)
        return status;
    if (header.coder == TAPE_COLUMN_CODER_ZERO) {
        memset(column->values, 0, count * sizeof *column->values);
        memset(column->tokens, 0, count);
    } else if (header.coder == TAPE_COLUMN_CODER_VARINT) {
        if (!read_varints(input, column))
            return fail(error, "a column's numbers end too early");
    } else {
        status = read_tans(reader, input, before, before_count, column, error);
    }
    if (status < 0)
        return status;
    if (header.coder != TAPE_COLUMN_CODER_ZERO)
        scale(&header, count, column->values);
    status = tape_column_restore(&header.prediction, &reader->keys, column->values);
    if (status == TAPE_FAILED)
        return tape_error_set(error, TAPE_FAILED, "no memory for the keys of a column");
    if (status < 0)
        return fail(error, "a column's key is not in its dictionary");
    return 0;
}
