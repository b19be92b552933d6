#include <stdlib.h>
#include <string.h>

#include "format/column.h"
#include "format/column_choose.h"
#include "format/column_cost.h"
#include "format/column_predict.h"
#include "format/column_stream.h"
#include "format/column_tokens.h"
#include "format/tans.h"

enum {
    SAMPLE = 512,
    SAMPLE_THOROUGH = TAPE_COLUMN_SAMPLE_MAX,
    PLAN_AGE_MAX = 128, /* blocks that go by one choice */
    SCALE_AGE_MAX = 16, /* and by one scale */
    FEW = 16,           /* fewer residuals are not worth a table */
    MANY = 256,         /* more always are */
    TURNS = 4,          /* histograms that are counted into by turns */
    NEAR_MAX = 4,       /* how many columns back a context may look */
};

/* Invariant: residuals, contexts and bits have room for the largest column so far. */
struct tape_column_writer {
    int thorough;
    int64_t *residuals, *scratch;
    uint8_t *contexts;
    uint8_t *bits; /* a stream, written from its end */
    uint32_t capacity;
    size_t bits_capacity;
    struct tape_column_keys keys;
    uint32_t tokens; /* larger ones than these first do not occur in the column */
    struct tape_column_histogram histograms[TAPE_COLUMN_CONTEXTS_MAX];
    struct tape_tans_writer tables[TAPE_COLUMN_CONTEXTS_MAX];
};

struct tape_column_writer *tape_column_writer_new(int thorough)
{
    struct tape_column_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return NULL;
    writer->thorough = thorough;
    writer->scratch = malloc((thorough ? SAMPLE_THOROUGH : SAMPLE) * sizeof *writer->scratch);
    if (writer->scratch == NULL) {
        free(writer);
        return NULL;
    }
    return writer;
}

void tape_column_writer_free(struct tape_column_writer *writer)
{
    if (writer == NULL)
        return;
    free(writer->residuals);
    free(writer->scratch);
    free(writer->contexts);
    free(writer->bits);
    tape_column_keys_free(&writer->keys);
    free(writer);
}

static int make_room(struct tape_column_writer *writer, uint32_t count)
{
    if (count <= writer->capacity)
        return 1;
    free(writer->residuals);
    free(writer->contexts);
    writer->residuals = malloc(count * sizeof *writer->residuals);
    writer->contexts = malloc(count);
    writer->capacity = writer->residuals != NULL && writer->contexts != NULL ? count : 0;
    return writer->capacity > 0;
}

/* --- contexts --- */

/* The context of every element: what the reader will see. */
static void find_contexts(const struct tape_column *column, unsigned kind,
                          const struct tape_column *beside, uint8_t *contexts)
{
    uint8_t class = 0;
    for (uint32_t i = 0; i < column->scope->count; i++) {
        switch (kind) {
        case TAPE_COLUMN_CONTEXT_PREVIOUS:
            contexts[i] = i == 0 ? 0 : tape_token_class[column->tokens[i - 1]];
            break;
        case TAPE_COLUMN_CONTEXT_FIRST:
            contexts[i] = !tape_column_is_first(column->scope, i);
            break;
        case TAPE_COLUMN_CONTEXT_FIRST_PREVIOUS:
            class = i == 0 ? 0 : tape_token_class[column->tokens[i - 1]];
            contexts[i] = tape_column_is_first(column->scope, i) ? 0 : 1 + (class < 6 ? class : 6);
            break;
        case TAPE_COLUMN_CONTEXT_BESIDE:
            contexts[i] = tape_token_class[beside->tokens[i]];
            break;
        default:
            contexts[i] = 0;
        }
    }
}

/* Into several histograms in turn, so that equal tokens in a row do not wait for each other; then
 * all in the first. */
static void count_in_turn(struct tape_column_histogram *histograms, const uint8_t *tokens,
                          uint32_t count, uint32_t distinct)
{
    uint32_t *one = histograms[0].counts, *two = histograms[1].counts;
    uint32_t *three = histograms[2].counts, *four = histograms[3].counts;
    uint32_t i = 0;
    for (; i + TURNS <= count; i += TURNS) {
        one[tokens[i]]++;
        two[tokens[i + 1]]++;
        three[tokens[i + 2]]++;
        four[tokens[i + 3]]++;
    }
    for (; i < count; i++)
        one[tokens[i]]++;
    for (uint32_t token = 0; token < distinct; token++)
        one[token] += two[token] + three[token] + four[token];
}

/* The histograms of one kind of context, and the contexts where there are several. */
static void count_tokens(struct tape_column_writer *writer, const struct tape_column *column,
                         unsigned kind, const struct tape_column *beside)
{
    struct tape_column_histogram *histograms = writer->histograms;
    unsigned contexts = tape_column_contexts(kind), used = contexts < TURNS ? TURNS : contexts;
    uint32_t count = column->scope->count;
    for (unsigned which = 0; which < used; which++)
        memset(histograms[which].counts, 0, writer->tokens * sizeof histograms[which].counts[0]);
    if (contexts == 1) {
        count_in_turn(histograms, column->tokens, count, writer->tokens);
    } else {
        find_contexts(column, kind, beside, writer->contexts);
        for (uint32_t i = 0; i < count; i++)
            histograms[writer->contexts[i]].counts[column->tokens[i]]++;
    }
    for (unsigned which = 0; which < contexts; which++)
        tape_column_histogram_sum(&histograms[which], writer->tokens);
}

/* Bits that the column takes by these histograms, tables included. */
static uint64_t count_bits(const struct tape_column_writer *writer, unsigned kind)
{
    uint64_t bits = 0;
    for (unsigned which = 0; which < tape_column_contexts(kind); which++) {
        const struct tape_column_histogram *histogram = &writer->histograms[which];
        bits += tape_column_cost_bits(histogram) +
                histogram->distinct * TAPE_COLUMN_COST_TOKEN_BITS + 8;
    }
    return bits;
}

/* Contexts that look back keep lanes from overlapping: a reader pays for them, so that they must
 * bring something; less in a cold segment. */
static uint64_t with_reading(const struct tape_column_writer *writer, unsigned kind, uint64_t bits)
{
    if (kind == TAPE_COLUMN_CONTEXT_ALONE)
        return bits;
    return bits + bits / (writer->thorough ? 500 : 8);
}

static void choose_context(struct tape_column_writer *writer, const struct tape_column *before,
                           uint32_t before_count, const struct tape_column *column,
                           struct tape_column_plan *plan)
{
    uint64_t best = UINT64_MAX;
    for (unsigned kind = 0; kind < TAPE_COLUMN_CONTEXT_KINDS; kind++) {
        int lists = kind == TAPE_COLUMN_CONTEXT_FIRST || kind == TAPE_COLUMN_CONTEXT_FIRST_PREVIOUS;
        int beside = kind == TAPE_COLUMN_CONTEXT_BESIDE;
        if (lists && column->scope->owner == NULL)
            continue;
        for (uint32_t near = beside ? 1 : 0; near <= (beside ? NEAR_MAX : 0u); near++) {
            const struct tape_column *field = NULL;
            if (beside) {
                if (near > before_count)
                    break;
                field = &before[before_count - near];
                if (field->scope != column->scope || !field->has_values)
                    continue;
            }
            count_tokens(writer, column, kind, field);
            uint64_t bits = with_reading(writer, kind, count_bits(writer, kind));
            if (bits >= best)
                continue;
            best = bits;
            plan->context = (uint8_t)kind;
            plan->context_column_near = (uint8_t)near;
        }
    }
}

/* --- entropy coding --- */

/* Large enough that no state is coarser than the column's size deserves, small enough that its
 * table is soon built: below four states for each value (tape_tans_log_fits), or the least. */
static unsigned choose_log(const struct tape_column_writer *writer, uint32_t count,
                           unsigned contexts)
{
    unsigned log = 31 - (unsigned)__builtin_clz(count | 1);
    unsigned most = writer->thorough ? TAPE_TANS_LOG_MAX : TAPE_TANS_LOG_MAX - 1;
    unsigned less = writer->thorough ? 2 : 6;
    log = log > TAPE_TANS_LOG_MIN + less ? log - less : TAPE_TANS_LOG_MIN;
    log = log > most ? most : log;
    for (unsigned which = 0; which < contexts; which++)
        while (writer->histograms[which].distinct > 1u << (log - 1) && log < TAPE_TANS_LOG_MAX)
            log++;
    return log;
}

static void write_table(struct tape_column_writer *writer, struct tape_growing *pool,
                        unsigned which, unsigned log)
{
    const struct tape_column_histogram *histogram = &writer->histograms[which];
    uint16_t counts[TAPE_TOKENS];
    uint32_t tokens = histogram->tokens;
    tape_growing_put_varint(pool, tokens);
    if (tokens == 0)
        return;
    tape_tans_normalise(histogram->counts, tokens, histogram->total, log, counts);
    uint8_t *to = tape_growing_reserve(pool, tokens * 2); /* no count needs more */
    for (uint32_t token = 0; to != NULL && token < tokens; token++)
        to += tape_bytes_put_varint(to, counts[token]);
    if (to != NULL)
        pool->length = (size_t)(to - pool->bytes);
    tape_tans_build_writer(&writer->tables[which], counts, tokens, log);
}

/* Adds to a column that is written that its tokens are needed. */
static void show(struct tape_column_output *output, const struct tape_column *column)
{
    if (!output->pool.failed)
        output->pool.bytes[column->coder_at] |= TAPE_COLUMN_CODER_SHOWN;
}

/* The histograms and contexts of the chosen kind are in the writer. */
static void write_tans(struct tape_column_writer *writer, struct tape_column_output *output,
                       const struct tape_column *before, uint32_t before_count,
                       const struct tape_column *column, const struct tape_column_plan *plan)
{
    unsigned contexts = tape_column_contexts(plan->context);
    unsigned log = choose_log(writer, column->scope->count, contexts);
    uint64_t extra_bits = 0;
    unsigned extra_most = 0;
    tape_growing_put_u8(&output->pool, (uint8_t)log);
    tape_growing_put_u8(&output->pool, plan->context);
    if (plan->context == TAPE_COLUMN_CONTEXT_BESIDE) {
        uint32_t beside = before_count - plan->context_column_near;
        tape_growing_put_varint(&output->pool, beside);
        show(output, &before[beside]);
    }
    for (unsigned which = 0; which < contexts; which++) {
        const struct tape_column_histogram *histogram = &writer->histograms[which];
        unsigned extra = histogram->tokens == 0 ? 0 : tape_token_extra[histogram->tokens - 1];
        write_table(writer, &output->pool, which, log);
        extra_bits += histogram->extra_bits;
        extra_most = extra > extra_most ? extra : extra_most;
    }
    size_t most = (extra_bits + (uint64_t)column->scope->count * log) / 8 + 64; /* and eight */
    if (most > writer->bits_capacity) {
        free(writer->bits);
        writer->bits = malloc(most);
        writer->bits_capacity = writer->bits == NULL ? 0 : most;
    }
    if (writer->bits == NULL) {
        output->bits.failed = 1;
        return;
    }
    uint8_t *end = writer->bits + writer->bits_capacity;
    size_t bytes = tape_column_stream_write(
        writer->tables, log, extra_most, contexts == 1 ? NULL : writer->contexts, writer->residuals,
        column->tokens, column->scope->count, end);
    tape_growing_put_varint(&output->pool, bytes);
    tape_growing_put(&output->bits, end - bytes, bytes);
}

/* --- a column --- */

static uint64_t count_varint_bytes(const struct tape_column_writer *writer, unsigned contexts)
{
    uint64_t bytes = 0;
    for (unsigned which = 0; which < contexts; which++) {
        const struct tape_column_histogram *histogram = &writer->histograms[which];
        for (unsigned token = 0; token < histogram->tokens; token++)
            bytes += (uint64_t)histogram->counts[token] *
                     (1 + (63 - (unsigned)__builtin_clzll(tape_token_base[token] | 1)) / 7);
    }
    return bytes;
}

/* Few values may be smaller as varints: the pool's compressor takes something off them, too, but
 * tables are read faster. */
static int are_tables_better(const struct tape_column_writer *writer, uint32_t count,
                             unsigned context)
{
    if (count >= MANY)
        return 1;
    return count_bits(writer, context) / 8 + 8 <
           count_varint_bytes(writer, tape_column_contexts(context));
}

static void put_header(struct tape_column_output *output, struct tape_column *column,
                       const struct tape_column_prediction *prediction, uint32_t argument,
                       uint8_t coder, uint64_t factor)
{
    struct tape_growing *pool = &output->pool;
    tape_growing_put_u8(pool, prediction->predictor);
    if (prediction->field != NULL)
        tape_growing_put_varint(pool, argument);
    else if (prediction->predictor == TAPE_COLUMN_TIME)
        tape_growing_put_u8(pool, prediction->exponent);
    column->coder_at = pool->length;
    tape_growing_put_u8(pool, coder);
    if ((coder & TAPE_COLUMN_CODER_KIND) != TAPE_COLUMN_CODER_ZERO)
        tape_growing_put_varint(pool, factor);
    if (tape_column_has_base(prediction->predictor))
        tape_growing_put_varint(pool, tape_bytes_zigzag(prediction->base));
}

/* From the plan, if it is young and still fits. */
static int recall(const struct tape_column *before, uint32_t before_count,
                  const struct tape_column *column, const struct tape_column_plan *plan,
                  struct tape_column_prediction *prediction)
{
    if (!plan->known || plan->age >= PLAN_AGE_MAX)
        return 0;
    *prediction =
        (struct tape_column_prediction){.predictor = plan->predictor, .scope = column->scope};
    if (plan->predictor == TAPE_COLUMN_TIME)
        prediction->exponent = (uint8_t)plan->argument;
    else if (plan->predictor != TAPE_COLUMN_NONE && plan->predictor != TAPE_COLUMN_DELTA &&
             plan->predictor != TAPE_COLUMN_LIST_DELTA) {
        if (plan->argument >= before_count)
            return 0;
        prediction->field = &before[plan->argument];
    }
    if (plan->context == TAPE_COLUMN_CONTEXT_BESIDE) {
        if (plan->context_column_near > before_count)
            return 0;
        const struct tape_column *beside = &before[before_count - plan->context_column_near];
        if (beside->scope != column->scope || !beside->has_values)
            return 0;
    }
    return tape_column_allows(prediction);
}

/* tokens are set; picks varints or tables and writes the rest of the column. */
static void write_residuals(struct tape_column_writer *writer, struct tape_column_output *output,
                            const struct tape_column *before, uint32_t before_count,
                            struct tape_column *column, struct tape_column_plan *plan, int fresh,
                            const struct tape_column_prediction *prediction)
{
    uint32_t count = column->scope->count;
    uint64_t factor = plan->factor;
    uint8_t coder = plan->is_signed ? TAPE_COLUMN_CODER_SIGNED : 0;
    const struct tape_column *beside = NULL;
    if (count >= FEW) {
        if (fresh)
            choose_context(writer, before, before_count, column, plan);
        if (plan->context == TAPE_COLUMN_CONTEXT_BESIDE)
            beside = &before[before_count - plan->context_column_near];
        count_tokens(writer, column, plan->context, beside);
        if (are_tables_better(writer, count, plan->context)) {
            put_header(output, column, prediction, plan->argument, coder | TAPE_COLUMN_CODER_TANS,
                       factor);
            write_tans(writer, output, before, before_count, column, plan);
            return;
        }
    }
    put_header(output, column, prediction, plan->argument, coder | TAPE_COLUMN_CODER_VARINT,
               factor);
    for (uint32_t i = 0; i < count; i++)
        tape_growing_put_varint(&output->pool, (uint64_t)writer->residuals[i]);
}

/* Differences of all values; 0 when memory is short. */
static int find_residuals(struct tape_column_writer *writer, const struct tape_column *column,
                          const struct tape_column_prediction *prediction)
{
    return tape_column_difference(prediction, &writer->keys, column->values, 0,
                                  column->scope->count, writer->residuals) == 0;
}

/* By the scale of the block before, when that was the one before it, too; looked for otherwise.
 * Fills residuals and tokens; *any: all coded residuals or-ed. 0 when memory is short. */
static int find_tokens(struct tape_column_writer *writer, struct tape_column *column,
                       const struct tape_column_prediction *prediction,
                       struct tape_column_plan *plan, uint64_t *any)
{
    uint32_t count = column->scope->count;
    int is_right = 0, is_signed;
    if (!find_residuals(writer, column, prediction))
        return 0;
    if (plan->scale_age > 0 && plan->scale_age < SCALE_AGE_MAX) {
        *any = tape_column_tokens_find(writer->residuals, count, plan->factor, plan->is_signed,
                                       column->tokens, &is_right);
        plan->scale_age++;
        if (is_right)
            return 1;
        if (!find_residuals(writer, column, prediction))
            return 0;
    }
    uint64_t factor = tape_column_tokens_factor(writer->residuals, count, &is_signed);
    plan->scale_age = count >= MANY && factor == plan->factor && is_signed == plan->is_signed;
    plan->factor = factor;
    plan->is_signed = (uint8_t)is_signed;
    *any = tape_column_tokens_find(writer->residuals, count, factor, is_signed, column->tokens,
                                   &is_right);
    return 1;
}

void tape_column_write(struct tape_column_writer *writer, struct tape_column_output *output,
                       const struct tape_column *before, uint32_t before_count,
                       struct tape_column *column, struct tape_column_plan *plan)
{
    struct tape_column_plan own = {0};
    struct tape_column_prediction prediction;
    uint32_t count = column->scope->count;
    uint64_t any = 0;
    column->has_values = 1;
    if (count == 0)
        return;
    if (!make_room(writer, count)) {
        output->pool.failed = 1;
        return;
    }
    plan = plan == NULL ? &own : plan;
    int fresh = !recall(before, before_count, column, plan, &prediction);
    if (fresh) {
        memset(plan, 0, sizeof *plan);
        tape_column_choose_predictor(before, before_count, column, &writer->keys, writer->scratch,
                                     writer->thorough ? SAMPLE_THOROUGH : SAMPLE, writer->thorough,
                                     &prediction, &plan->argument);
        plan->known = count >= FEW;
        plan->predictor = prediction.predictor;
    }
    plan->age++;
    prediction.base = tape_column_find_base(&prediction, column, &writer->keys);
    if (!find_tokens(writer, column, &prediction, plan, &any)) {
        output->pool.failed = 1;
        return;
    }
    writer->tokens = tape_token_of(any) + 1u;
    if (any == 0) {
        put_header(output, column, &prediction, plan->argument, TAPE_COLUMN_CODER_ZERO,
                   plan->factor);
        return;
    }
    write_residuals(writer, output, before, before_count, column, plan, fresh, &prediction);
}
