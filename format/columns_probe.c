#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/columns_internal.h"
#include "format/packed.h"
#include "format/scan.h"

/* --- filling --- */

static void put_text(struct tape_growing *text, const char *words)
{
    tape_growing_put(text, words, strlen(words));
}

static void put_number(struct tape_growing *text, const struct tape_packed_place *place,
                       int64_t number)
{
    char digits[64];
    unsigned decimals = place->form == TAPE_PACKED_FIXED            ? place->decimals
                        : place->form == TAPE_PACKED_SHORTEST_POINT ? 1
                                                                    : 0;
    if (place->form == TAPE_PACKED_TIME || place->form == TAPE_PACKED_TIME_SHORTEST)
        put_text(text, "2026-11-22T00:00:00Z");
    else if (snprintf(digits, sizeof digits, "%" PRId64 "%s%0*d", number, decimals > 0 ? "." : "",
                      (int)decimals, 0) > 0)
        tape_growing_put(text, digits, strlen(digits) - (decimals == 0));
}

static void put_string(struct tape_growing *text, const struct tape_columns_filling *filling,
                       int32_t at)
{
    static const struct tape_packed_place whole = {.form = TAPE_PACKED_EACH};
    static const char *const words[] = {
        [TAPE_COLUMNS_ODD_TEXT] = "x",
        [TAPE_COLUMNS_TEXT] = "x",
        [TAPE_COLUMNS_BOOL] = "true",
        [TAPE_COLUMNS_NULL] = "null",
    };
    if (at == filling->event_place)
        tape_growing_put(text, filling->event.bytes, filling->event.length);
    else if (at == filling->stream_place)
        tape_growing_put(text, filling->stream.bytes, filling->stream.length);
    else if (filling->contents[at] == TAPE_COLUMNS_NUMBER)
        put_number(text, &whole, filling->first_number + at);
    else
        put_text(text, at == filling->false_place ? "false" : words[filling->contents[at]]);
}

/* Nodes [from, to): a row, or the one element of a list. */
static void fill(struct tape_columns_probe *probe, const struct tape_columns_filling *filling,
                 uint32_t from, uint32_t to)
{
    const struct tape_packed_place *places = filling->group->places;
    struct tape_growing *text = &probe->text;
    for (uint32_t i = from; i < to; i = places[i].end) {
        const struct tape_packed_place *place = &places[i];
        probe->slots[i].from = (uint32_t)text->length;
        if (place->node == TAPE_PACKED_LITERAL)
            tape_growing_put(text, place->literal.bytes, place->literal.length);
        else if (place->node == TAPE_PACKED_NUMBER)
            put_number(text, place, filling->first_number + i);
        else if (place->node == TAPE_PACKED_STRING)
            put_string(text, filling, (int32_t)i);
        else
            fill(probe, filling, i + 1, place->end);
        probe->slots[i].to = (uint32_t)text->length;
    }
}

int tape_columns_probe_fill(struct tape_columns_probe *probe,
                            const struct tape_columns_filling *filling)
{
    uint32_t count = filling->group->place_count;
    probe->text.length = 0;
    if (probe->slots == NULL)
        probe->slots = malloc((count + 1) * sizeof *probe->slots);
    if (probe->slots == NULL)
        return 0;
    fill(probe, filling, 0, count);
    tape_growing_put_u8(&probe->text, 0);
    if (probe->text.failed)
        return 0;
    probe->text.length--;
    return 1;
}

/* --- proving --- */

/* The next scalar from at on, its quotes included; behind the end when there is none. The text is
 * JSON, so that all else are brackets, commas, colons and space. */
static const char *next_scalar(const char *at, const char *end, const char **behind)
{
    while (at < end && strchr(" \n\r\t{}[],:", *at) != NULL)
        at++;
    *behind = at < end ? tape_scan_scalar(at, end) : end;
    return at;
}

static int is_key(const char *behind, const char *end)
{
    behind = tape_scan_space(behind, end);
    return behind < end && *behind == ':';
}

/* The scalar [from, behind) and the slot are the same. Without quotes that says enough: a slot of
 * texts or times would be no scalar there. */
static int is_whole(int content, const char *slot, const char *slot_end, const char *from,
                    const char *behind, const char *end)
{
    if (*from != '"')
        return from == slot && behind == slot_end;
    return from + 1 == slot && behind - 1 == slot_end && !is_key(behind, end) &&
           content != TAPE_COLUMNS_ODD_TEXT;
}

/* The brackets around the list at place i are literals beside it: also when it has other elements,
 * and when what is around it is repeated (that is a whole value, too, so they are of one scope). */
static int has_brackets(const struct tape_packed_group *group, uint32_t i, const char *slot,
                        const char *slot_end)
{
    const struct tape_packed_place *places = group->places;
    uint32_t next = places[i].end;
    return i > 0 && places[i - 1].node == TAPE_PACKED_LITERAL && slot[-1] == '[' &&
           next < group->place_count && places[next].node == TAPE_PACKED_LITERAL &&
           *slot_end == ']';
}

static int is_one_value(const char *text, const char *end)
{
    const char *at = tape_scan_space(text, end);
    at = at < end ? tape_scan_value(at, end, 0) : NULL;
    return at != NULL && tape_scan_space(at, end) == end;
}

int tape_columns_probe_prove(const struct tape_columns_probe *probe,
                             const struct tape_columns_filling *filling)
{
    const struct tape_packed_group *group = filling->group;
    const char *text = (const char *)probe->text.bytes, *end = text + probe->text.length;
    const char *behind, *from;
    if (!is_one_value(text, end))
        return 0;
    from = next_scalar(text, end, &behind);
    for (uint32_t i = 0; i < group->place_count; i++) {
        const struct tape_packed_place *place = &group->places[i];
        const char *slot = text + probe->slots[i].from, *slot_end = text + probe->slots[i].to;
        if (place->node == TAPE_PACKED_LITERAL)
            continue;
        while (from < end && behind <= slot)
            from = next_scalar(behind, end, &behind);
        if (from == end)
            return 0;
        if (place->node == TAPE_PACKED_LIST) {
            if (from < slot || !has_brackets(group, i, slot, slot_end) ||
                !is_one_value(slot, slot_end))
                return 0;
        } else if (!is_whole(filling->contents[i], slot, slot_end, from, behind, end)) {
            return 0;
        }
    }
    return 1;
}

/* --- finding --- */

int32_t tape_columns_probe_find(const struct tape_columns_probe *probe,
                                const struct tape_columns_filling *filling, struct tape_slice slice)
{
    size_t from = (size_t)(slice.data - (const char *)probe->text.bytes);
    for (uint32_t i = 0; i < filling->group->place_count; i++)
        if (filling->group->places[i].node != TAPE_PACKED_LITERAL && probe->slots[i].from == from &&
            probe->slots[i].to == from + slice.bytes)
            return (int32_t)i;
    return -1;
}
