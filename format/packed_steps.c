#include "format/packed_steps.h"

#include <string.h>

#include "format/packed.h"
#include "format/packed_shuffle.h"

struct plan {
    struct tape_packed_decoder *decoder;
    const struct tape_packed_group *group;
    size_t slack;
    int failed;
};

static void *take(struct plan *plan, size_t count, size_t size)
{
    void *room = tape_packed_memory_take(&plan->decoder->memory, count, size);
    if (room == NULL)
        plan->failed = 1;
    return room;
}

/* --- literals --- */

/* Zeros, then the literal nodes from *at on, as one, with room for a literal more; *at: the node
 * after them. */
static struct tape_packed_words join(struct plan *plan, uint32_t zeros, uint32_t *at, uint32_t to,
                                     size_t more)
{
    const struct tape_packed_place *places = plan->group->places;
    size_t length = zeros;
    uint32_t from = *at;
    for (; *at < to && places[*at].node == TAPE_PACKED_LITERAL; (*at)++)
        length += places[*at].literal.length;
    uint8_t *bytes = take(plan, length + more + TAPE_PACKED_SLACK, 1);
    struct tape_packed_words words = {bytes, zeros};
    if (bytes == NULL)
        return words;
    memset(bytes, '0', zeros);
    for (uint32_t i = from; i < *at; i++) {
        memcpy(bytes + words.length, places[i].literal.bytes, places[i].literal.length);
        words.length += places[i].literal.length;
    }
    memset(bytes + length, 0, more + TAPE_PACKED_SLACK);
    return words;
}

/* What comes after a list's last step, followed by "," and what the next element begins with. */
static void append_joint(struct tape_packed_sequence *list, struct tape_packed_words *after)
{
    uint8_t *bytes = (uint8_t *)after->bytes; /* join() made it, with room for this */
    bytes[after->length] = ',';
    memcpy(bytes + after->length + 1, list->first.bytes, list->first.length);
    after->length += 1 + list->first.length;
    list->cut = 1 + list->first.length;
}

/* --- slots --- */

static int end_in_zeros(const int64_t *values, uint32_t count, unsigned zeros)
{
    const struct tape_packed_cut *cut = &tape_packed_cuts[zeros];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = (uint64_t)values[i];
        if (tape_packed_quotient(value, cut->reciprocal, cut->shift) * cut->power != value)
            return 0;
    }
    return 1;
}

/* How many zeros must not be put so that eight digits, one of them before the point, are enough;
 * -1: there is no such number. No value is negative. */
static int find_zeros(const struct tape_packed_place *place, const int64_t *values)
{
    const unsigned decimals = place->decimals, left = TAPE_PACKED_EIGHT - 1;
    unsigned zeros = decimals > left ? decimals - left : 0;
    while (zeros <= decimals &&
           1ull << place->bits > TAPE_PACKED_EIGHT_LIMIT * tape_packed_cuts[zeros].power)
        zeros++;
    if (zeros > decimals || (zeros > 0 && !end_in_zeros(values, place->outside->count, zeros)))
        return -1;
    return (int)zeros;
}

static uint8_t choose_fixed(const struct tape_packed_place *place, const int64_t *values,
                            struct tape_packed_step *step)
{
    const struct tape_packed_cut *cut = &tape_packed_cuts[place->decimals];
    int zeros = find_zeros(place, values);
    if (zeros >= 0) {
        step->zeros = (uint8_t)zeros;
        step->of.rule = tape_packed_rule_of(place->decimals, (unsigned)zeros);
        return zeros == 0 ? TAPE_PACKED_PUT_EIGHT : TAPE_PACKED_PUT_SCALED;
    }
    if (place->decimals == 0 && place->bits <= TAPE_PACKED_INTEGER_MAX_BITS) {
        step->of.high.base = TAPE_PACKED_NO_BASE;
        return TAPE_PACKED_PUT_LONG;
    }
    step->of.cut = cut;
    return place->decimals > 0 && place->bits <= cut->short_bits ? TAPE_PACKED_PUT_SHORT
                                                                 : TAPE_PACKED_PUT_NUMBER;
}

static uint8_t choose_number(const struct tape_packed_place *place, const int64_t *values,
                             struct tape_packed_step *step)
{
    switch (place->form) {
    case TAPE_PACKED_EACH:
        return TAPE_PACKED_PUT_EACH;
    case TAPE_PACKED_TIME:
    case TAPE_PACKED_TIME_SHORTEST:
        return TAPE_PACKED_PUT_TIME;
    }
    if (place->negative)
        return TAPE_PACKED_PUT_NUMBER;
    if (place->form == TAPE_PACKED_FIXED)
        return choose_fixed(place, values, step);
    step->of.cut = &tape_packed_cuts[place->decimals];
    if (place->bits > step->of.cut->short_bits || step->of.cut->short_bits == 0)
        return TAPE_PACKED_PUT_NUMBER;
    return place->form == TAPE_PACKED_SHORTEST ? TAPE_PACKED_PUT_SHORTEST
                                               : TAPE_PACKED_PUT_SHORTEST_POINT;
}

static void plan_number(struct plan *plan, const struct tape_packed_place *place,
                        struct tape_packed_step *step)
{
    const struct tape_column *columns = plan->group->columns + place->column;
    step->values = columns[0].values;
    step->kind = choose_number(place, step->values, step);
    if (step->kind == TAPE_PACKED_PUT_EACH) {
        step->of.decimals = columns[0].values;
        step->values = columns[1].values;
    }
}

static void plan_string(struct plan *plan, const struct tape_packed_place *place,
                        struct tape_packed_step *step)
{
    static const uint8_t kinds[] = {
        [TAPE_PACKED_DICTIONARY] = TAPE_PACKED_PUT_ENTRY,
        [TAPE_PACKED_RAW] = TAPE_PACKED_PUT_RAW,
        [TAPE_PACKED_UUID] = TAPE_PACKED_PUT_UUID,
    };
    step->kind = kinds[place->form];
    step->values = plan->group->columns[place->column].values;
    if (place->form == TAPE_PACKED_DICTIONARY)
        step->of.entries = place->entries;
    else
        step->of.bytes = place->bytes;
}

/* --- sequences --- */

static void plan_sequence(struct plan *plan, uint32_t from, uint32_t to, int is_list,
                          struct tape_packed_sequence *sequence);

static void plan_step(struct plan *plan, uint32_t at, struct tape_packed_step *step)
{
    const struct tape_packed_place *place = &plan->group->places[at];
    step->form = place->form;
    step->decimals = place->decimals;
    if (place->node == TAPE_PACKED_NUMBER) {
        plan_number(plan, place, step);
    } else if (place->node == TAPE_PACKED_STRING) {
        plan_string(plan, place, step);
    } else {
        step->kind = TAPE_PACKED_PUT_LIST;
        step->values = plan->group->columns[place->column].values;
        step->of.list = take(plan, 1, sizeof *step->of.list);
        if (step->of.list != NULL)
            plan_sequence(plan, at + 1, place->end, 1, step->of.list);
    }
}

/* Makes runs of the steps that a shuffle can put. */
static void find_runs(struct plan *plan, struct tape_packed_sequence *sequence)
{
    struct tape_packed_step *first = NULL;
    for (uint32_t i = 0; i < sequence->step_count; i++) {
        struct tape_packed_step *step = &sequence->steps[i];
        struct tape_packed_shuffle shuffle, *kept;
        if (!tape_packed_shuffle_of(step, &shuffle)) {
            first = NULL;
            continue;
        }
        kept = take(plan, 1, sizeof *kept);
        if (kept == NULL)
            return;
        *kept = shuffle;
        step->of.shuffle = kept;
        step->kind = TAPE_PACKED_PUT_RUN;
        step->after.length = 0;
        first = first == NULL ? step : first;
        first->run++;
    }
    sequence->pairs = sequence->joined && sequence->step_count == 2 && sequence->steps[0].run == 2;
}

/* Program nodes [from, to): a program's, or those of a list's element. */
static void plan_sequence(struct plan *plan, uint32_t from, uint32_t to, int is_list,
                          struct tape_packed_sequence *sequence)
{
    const struct tape_packed_place *places = plan->group->places;
    uint32_t slots = 0, at = from;
    for (uint32_t i = from; i < to; i = places[i].end)
        slots += places[i].node != TAPE_PACKED_LITERAL;
    memset(sequence, 0, sizeof *sequence);
    sequence->first = join(plan, 0, &at, to, 0);
    sequence->joined = is_list && sequence->first.length < TAPE_PACKED_LITERAL_UNCHECKED_BYTES / 4;
    sequence->steps = take(plan, slots + 1, sizeof *sequence->steps);
    if (plan->failed)
        return;
    size_t more = sequence->joined ? 1 + sequence->first.length : 0;
    struct tape_packed_step *step = sequence->steps;
    memset(step, 0, (slots + 1) * sizeof *step);
    step->kind = TAPE_PACKED_PUT_NOTHING; /* when there are no slots */
    do {
        if (at < to) {
            plan_step(plan, at, step);
            at = places[at].end;
        }
        step->after = join(plan, step->zeros, &at, to, more);
        step++;
    } while (at < to && !plan->failed);
    sequence->step_count = (uint32_t)(step - sequence->steps);
    plan->slack +=
        TAPE_PACKED_LITERAL_UNCHECKED_BYTES + 1 +
        sequence->step_count * (TAPE_PACKED_SLOT_MAX_BYTES + TAPE_PACKED_LITERAL_UNCHECKED_BYTES);
    if (plan->failed)
        return;
    if (sequence->joined)
        append_joint(sequence, &step[-1].after);
    if (tape_packed_shuffle_supported())
        find_runs(plan, sequence);
}

int tape_packed_plan(struct tape_packed_decoder *decoder, const struct tape_packed_group *group,
                     struct tape_packed_sequence *rows, size_t *slack)
{
    struct plan plan = {.decoder = decoder, .group = group};
    plan_sequence(&plan, 0, group->place_count, 0, rows);
    *slack = plan.slack;
    return plan.failed ? TAPE_FAILED : 0;
}
