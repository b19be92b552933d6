/* The columns of a template, read and checked. */
#include <string.h>

#include "format/packed.h"
#include "format/packed_internal.h"
#include "format/packed_number.h"

/* What is being read. */
struct slots {
    struct tape_packed_decoder *decoder;
    struct tape_packed_input *input;
    struct tape_packed_group *group;
    struct tape_error *error;
};

static int corrupt(struct slots *slots, const char *words)
{
    return tape_error_set(slots->error, TAPE_CORRUPT, "%s", words);
}

/* Counts the values of a column before there is room for them. */
static int count_values(struct slots *slots, uint32_t count)
{
    if (count > slots->input->values_left)
        return corrupt(slots, "the block's columns have too many values");
    slots->input->values_left -= count;
    return 0;
}

/* The next column of the template. */
static int read_column(struct slots *slots, struct tape_packed_place *place, uint32_t dictionary,
                       const int64_t **values)
{
    struct tape_packed_group *group = slots->group;
    struct tape_column *column = &group->columns[group->column_count];
    *column = (struct tape_column){.scope = place->outside, .dictionary = dictionary};
    int status = count_values(slots, place->outside->count);
    if (status == 0)
        status = tape_packed_read_column(slots->decoder, group->columns, group->column_count,
                                         column, slots->error);
    group->column_count++;
    *values = column->values;
    return status;
}

/* --- numbers --- */

/* The bits that all values fit in, and whether some are negative, which is rare. */
static void measure(const int64_t *values, uint32_t count, struct tape_packed_place *place)
{
    const int64_t *at = values, *end = values + count;
    int64_t any = 0, sizes = 0;
    for (; end - at >= 8; at += 8)
        any |= (at[0] | at[1] | at[2] | at[3]) | (at[4] | at[5] | at[6] | at[7]);
    for (; at < end; at++)
        any |= *at;
    if (any < 0)
        for (at = values; at < end; at++)
            sizes |= *at ^ *at >> 63;
    else
        sizes = any;
    /* -2^k has the size of 2^k - 1. */
    place->negative = any < 0;
    place->bits = (uint8_t)((sizes == 0 ? 0 : 64 - __builtin_clzll((uint64_t)sizes)) + (any < 0));
}

static int check_numbers(struct slots *slots, const int64_t *values, uint32_t count)
{
    const int64_t limit = 1000000000000000000;
    for (uint32_t i = 0; i < count; i++)
        if (values[i] <= -limit || values[i] >= limit)
            return corrupt(slots, "a number is out of bounds");
    return 0;
}

static int check_times(struct slots *slots, const int64_t *values, uint32_t count,
                       unsigned decimals)
{
    int64_t least, most;
    tape_packed_time_range(decimals, &least, &most);
    for (uint32_t i = 0; i < count; i++)
        if (values[i] < least || values[i] > most)
            return corrupt(slots, "a time is out of bounds");
    return 0;
}

static int read_each(struct slots *slots, struct tape_packed_place *place)
{
    const int64_t *decimals;
    int status = read_column(slots, place, 0, &decimals);
    for (uint32_t i = 0; status == 0 && i < place->outside->count; i++)
        if ((uint64_t)decimals[i] > TAPE_PACKED_DECIMALS_MAX)
            return corrupt(slots, "a number has too many decimals");
    return status;
}

static int read_number(struct slots *slots, struct tape_packed_place *place)
{
    static const struct {
        uint8_t least, most;
    } decimals[] = {
        [TAPE_PACKED_FIXED] = {0, 18},
        [TAPE_PACKED_SHORTEST] = {1, 18},
        [TAPE_PACKED_SHORTEST_POINT] = {1, 18},
        [TAPE_PACKED_EACH] = {0, 0},
        [TAPE_PACKED_TIME] = {0, 9},
        [TAPE_PACKED_TIME_SHORTEST] = {1, 9},
    };
    int status = 0;
    const int64_t *values;
    if (!tape_packed_take_u8(slots->input, &place->form) || place->form > TAPE_PACKED_TIME_SHORTEST)
        return corrupt(slots, "a number's format is none");
    if (place->form == TAPE_PACKED_EACH)
        status = read_each(slots, place);
    else if (!tape_packed_take_u8(slots->input, &place->decimals) ||
             place->decimals < decimals[place->form].least ||
             place->decimals > decimals[place->form].most)
        return corrupt(slots, "a number's decimals are out of bounds");
    if (status == 0)
        status = read_column(slots, place, 0, &values);
    if (status < 0)
        return status;
    uint32_t count = place->outside->count;
    if (place->form == TAPE_PACKED_TIME || place->form == TAPE_PACKED_TIME_SHORTEST)
        return check_times(slots, values, count, place->decimals);
    measure(values, count, place);
    return place->bits > 59 ? check_numbers(slots, values, count) : 0;
}

/* --- strings --- */

static int read_dictionary(struct slots *slots, struct tape_packed_place *place)
{
    uint64_t count;
    const int64_t *values;
    /* Not more than values: that caps the room for them. */
    if (!tape_packed_take(slots->input, TAPE_COLUMN_DICTIONARY_MAX, &count) || count == 0 ||
        (count > 1 && count > place->outside->count))
        return corrupt(slots, "a dictionary's size is out of bounds");
    struct tape_packed_words *entries =
        tape_packed_memory_take(&slots->decoder->memory, count, sizeof *entries);
    if (entries == NULL)
        return tape_error_set(slots->error, TAPE_FAILED, "no memory for a dictionary");
    place->entries = entries;
    place->entry_count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++)
        if (!tape_packed_take_words(slots->input, UINT32_MAX, &entries[i]))
            return corrupt(slots, "a dictionary is longer than the pool");
    int status = read_column(slots, place, (uint32_t)count, &values);
    uint64_t most = 0;
    for (uint32_t i = 0; status == 0 && i < place->outside->count; i++)
        most = (uint64_t)values[i] > most ? (uint64_t)values[i] : most;
    return status == 0 && most >= count ? corrupt(slots, "a string is not in its dictionary")
                                        : status;
}

static int read_raw(struct slots *slots, struct tape_packed_place *place)
{
    const int64_t *lengths;
    int status = read_column(slots, place, 0, &lengths);
    if (status < 0)
        return status;
    uint64_t left = (uint64_t)(slots->input->text_end - slots->input->text), sum = 0;
    for (uint32_t i = 0; i < place->outside->count; i++) {
        if ((uint64_t)lengths[i] > left - sum)
            return corrupt(slots, "a string is longer than the text");
        sum += (uint64_t)lengths[i];
    }
    place->bytes = slots->input->text;
    slots->input->text += sum;
    return 0;
}

static int read_uuids(struct slots *slots, struct tape_packed_place *place)
{
    struct tape_packed_group *group = slots->group;
    struct tape_column_input *area = &slots->input->area;
    group->columns[group->column_count++] = (struct tape_column){.scope = place->outside};
    int status = count_values(slots, place->outside->count);
    if (status < 0)
        return status;
    if (place->outside->count > (uint64_t)(area->bits_end - area->bits) / 16)
        return corrupt(slots, "a UUID is longer than the bits");
    place->bytes = area->bits;
    area->bits += 16ull * place->outside->count;
    return 0;
}

static int read_string(struct slots *slots, struct tape_packed_place *place)
{
    if (!tape_packed_take_u8(slots->input, &place->form))
        return corrupt(slots, "a string's form is none");
    switch (place->form) {
    case TAPE_PACKED_DICTIONARY:
        return read_dictionary(slots, place);
    case TAPE_PACKED_RAW:
        return read_raw(slots, place);
    case TAPE_PACKED_UUID:
        return read_uuids(slots, place);
    default:
        return corrupt(slots, "a string's form is none");
    }
}

/* --- lists --- */

/* Whether some node in the list has a column: then every element has a value in it, and their
 * number is as bounded as that of values. */
static int has_columns(const struct tape_packed_place *list, const struct tape_packed_place *places)
{
    for (uint32_t i = (uint32_t)(list - places) + 1; i < list->end; i++)
        if (places[i].node != TAPE_PACKED_LITERAL)
            return 1;
    return 0;
}

static int set_owners(struct slots *slots, struct tape_packed_place *place, const int64_t *counts)
{
    enum { AT_ONCE = 8 }; /* lists are short: so many are set without looking whether it is less */
    uint32_t *owner = tape_packed_memory_take(&slots->decoder->memory,
                                              (size_t)place->inside.count + AT_ONCE, sizeof *owner);
    if (owner == NULL)
        return tape_error_set(slots->error, TAPE_FAILED, "no memory for a list");
    place->inside.owner = owner;
    for (uint32_t i = 0; i < place->outside->count; i++) {
        const uint32_t *end = owner + counts[i];
        for (uint32_t *to = owner; to < end; to += AT_ONCE)
            for (int j = 0; j < AT_ONCE; j++)
                to[j] = i;
        owner += counts[i];
    }
    return 0;
}

static int read_list(struct slots *slots, struct tape_packed_place *place)
{
    const int64_t *counts;
    int status = read_column(slots, place, 0, &counts);
    if (status < 0)
        return status;
    /* An element has a value, or a byte of text. */
    uint64_t left = slots->input->raw_bytes, sum = 0;
    for (uint32_t i = 0; i < place->outside->count; i++) {
        if ((uint64_t)counts[i] > left - sum)
            return corrupt(slots, "lists have more elements than the records bytes");
        sum += (uint64_t)counts[i];
    }
    place->inside.parent = place->outside;
    place->inside.count = (uint32_t)sum;
    if (!has_columns(place, slots->group->places))
        return 0;
    if (sum > slots->input->values_left)
        return corrupt(slots, "the block's columns have too many values");
    return set_owners(slots, place, counts);
}

/* --- all of them --- */

static int read_place(struct slots *slots, struct tape_packed_place *place)
{
    place->column = slots->group->column_count;
    switch (place->node) {
    case TAPE_PACKED_NUMBER:
        return read_number(slots, place);
    case TAPE_PACKED_STRING:
        return read_string(slots, place);
    case TAPE_PACKED_LIST:
        return read_list(slots, place);
    default:
        return 0;
    }
}

int tape_packed_read_slots(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                           struct tape_error *error)
{
    struct slots slots = {decoder, &decoder->input, group, error};
    group->columns = tape_packed_memory_take(&decoder->memory, 2 * (size_t)group->place_count,
                                             sizeof *group->columns);
    if (group->columns == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for columns");
    for (uint32_t i = 0; i < group->place_count; i++) {
        int status = read_place(&slots, &group->places[i]);
        if (status < 0) {
            tape_error_wrap(error, "node %u", i);
            return status;
        }
    }
    return 0;
}
