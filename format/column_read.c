#include <stdlib.h>
#include <string.h>

#include "format/column.h"
#include "format/column_predict.h"
#include "format/column_stream.h"
#include "format/tans.h"

struct tape_column_reader {
    tape_tans_entry entries[TAPE_COLUMN_CONTEXTS_MAX][TAPE_TANS_STATES_MAX];
    struct tape_tans_parts parts;
    struct tape_column_keys keys;
};

struct tape_column_reader *tape_column_reader_new(void)
{
    struct tape_column_reader *reader = calloc(1, sizeof *reader);
    if (reader != NULL)
        tape_tans_build_parts(&reader->parts);
    return reader;
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
    uint8_t is_shown;
    struct tape_column_scale scale;
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
    struct tape_column_prediction *prediction = &header->prediction;
    uint8_t coder;
    uint64_t base;
    if (!take_u8(input, &prediction->predictor) ||
        !read_argument(input, before, before_count, prediction) || !tape_column_allows(prediction))
        return fail(error, "a column's predictor is none");
    if (!take_u8(input, &coder) || coder >= TAPE_COLUMN_CODERS ||
        (coder & TAPE_COLUMN_CODER_KIND) > TAPE_COLUMN_CODER_TANS)
        return fail(error, "a column's coder is none");
    header->coder = coder & TAPE_COLUMN_CODER_KIND;
    header->scale.is_signed = (coder & TAPE_COLUMN_CODER_SIGNED) != 0;
    header->is_shown = (coder & TAPE_COLUMN_CODER_SHOWN) != 0;
    if (header->coder != TAPE_COLUMN_CODER_ZERO &&
        (!take_varint(input, &header->scale.factor) || header->scale.factor == 0))
        return fail(error, "a column's factor is none");
    if (tape_column_has_base(prediction->predictor)) {
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
        if (column->is_shown)
            column->tokens[i] = tape_token_of(residual);
    }
    return 1;
}

/* Counts of tokens that add up to 1 << log. */
static int read_counts(struct tape_column_input *input, unsigned log, uint64_t tokens,
                       uint16_t *counts)
{
    uint64_t count, sum = 0;
    for (uint64_t token = 0; token < tokens; token++) {
        if (input->pool < input->pool_end && *input->pool < 0x80) /* as nearly all are */
            count = *input->pool++;
        else if (!take_varint(input, &count))
            return 0;
        if (count > 1u << log)
            return 0;
        counts[token] = (uint16_t)count;
        sum += count;
    }
    return sum == 1u << log;
}

/* The tables of all contexts. *extra_most: the extra bits of the largest token. */
static int read_tables(struct tape_column_reader *reader, struct tape_column_input *input,
                       unsigned log, unsigned contexts, unsigned *extra_most)
{
    for (unsigned which = 0; which < contexts; which++) {
        tape_tans_entry *entries = reader->entries[which];
        uint16_t counts[TAPE_TOKENS];
        uint64_t tokens;
        if (!take_varint(input, &tokens) || tokens > TAPE_TOKENS)
            return 0;
        if (tokens == 0) {
            for (uint32_t state = 0; state < 1u << log; state++)
                entries[state] = TAPE_TANS_NO_ENTRY;
            continue;
        }
        if (!read_counts(input, log, tokens, counts))
            return 0;
        tape_tans_build_entries(&reader->parts, entries, counts, (uint32_t)tokens, log);
        unsigned extra = tape_token_extra[tokens - 1]; /* no smaller token has more */
        *extra_most = extra > *extra_most ? extra : *extra_most;
    }
    return 1;
}

static int read_context(struct tape_column_input *input, const struct tape_column *before,
                        uint32_t before_count, const struct tape_column *column,
                        struct tape_column_context_of *context)
{
    uint64_t beside;
    if (!take_u8(input, &context->kind) || tape_column_contexts(context->kind) == 0)
        return 0;
    int lists = context->kind == TAPE_COLUMN_CONTEXT_FIRST ||
                context->kind == TAPE_COLUMN_CONTEXT_FIRST_PREVIOUS;
    context->owner = column->scope->owner;
    if (lists && context->owner == NULL)
        return 0;
    if (context->kind != TAPE_COLUMN_CONTEXT_BESIDE)
        return 1;
    if (!take_varint(input, &beside) || beside >= before_count || !before[beside].is_shown ||
        before[beside].scope != column->scope)
        return 0;
    context->beside = before[beside].tokens;
    return 1;
}

/* *exact: the tokens are the residuals, and values are not set. */
static int read_tans(struct tape_column_reader *reader, struct tape_column_input *input,
                     const struct tape_column *before, uint32_t before_count,
                     struct tape_column *column, int *exact, struct tape_error *error)
{
    uint8_t log;
    unsigned extra_most = 0;
    uint64_t bytes;
    struct tape_column_context_of context = {0};
    if (!take_u8(input, &log) || !tape_tans_log_fits(log, column->scope->count) ||
        !read_context(input, before, before_count, column, &context) ||
        !read_tables(reader, input, log, tape_column_contexts(context.kind), &extra_most))
        return fail(error, "a column's table is none");
    if (!take_varint(input, &bytes) || bytes > (uint64_t)(input->bits_end - input->bits))
        return fail(error, "a column's bits reach beyond their area");
    struct tape_column_stream stream = {
        .at = input->bits, .readable = input->bits_readable, .length = bytes * 8};
    input->bits += bytes;
    if (!tape_column_stream_read(reader->entries, log, extra_most, &context, column->is_shown,
                                 &stream, column->scope->count, column->values, column->tokens))
        return fail(error, "a column's bits do not end where they should");
    *exact = extra_most == 0;
    return 0;
}

/* --- a column --- */

int tape_column_read(struct tape_column_reader *reader, struct tape_column_input *input,
                     const struct tape_column *before, uint32_t before_count,
                     struct tape_column *column, struct tape_error *error)
{
    struct header header = {.prediction.scope = column->scope, .scale.factor = 1};
    uint32_t count = column->scope->count;
    int status = 0;
    column->has_values = 1;
    if (count == 0)
        return 0;
    status = read_header(input, before, before_count, &header, error);
    if (status < 0)
        return status;
    column->is_shown = header.is_shown;
    int exact = 0;
    if (header.coder == TAPE_COLUMN_CODER_ZERO) {
        memset(column->tokens, 0, count);
        exact = 1;
    } else if (header.coder == TAPE_COLUMN_CODER_VARINT) {
        if (!read_varints(input, column))
            return fail(error, "a column's numbers end too early");
    } else {
        status = read_tans(reader, input, before, before_count, column, &exact, error);
    }
    if (status < 0)
        return status;
    status = tape_column_restore(&header.prediction, &header.scale, &reader->keys,
                                 exact ? column->tokens : NULL, column->values);
    if (status == TAPE_FAILED)
        return tape_error_set(error, TAPE_FAILED, "no memory for the keys of a column");
    if (status < 0)
        return fail(error, "a column's key is not in its dictionary");
    return 0;
}
