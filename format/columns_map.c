#include <stdlib.h>
#include <string.h>

#include "format/columns_internal.h"
#include "format/packed.h"

/*
 * Two rows are made up that differ in all numbers, and decoded. What has the same value in both is
 * the same in all rows (the probe was proven to be like them); what differs is the slot whose
 * number it is. Of decimals and words the parser says where they stand.
 */
enum {
    FIRST_NUMBER = 1000000000,
    SECOND_NUMBER = 2000000000,
    FLIPS_MAX = 16,
    CONSTANTS_MAX_BYTES = 1024, /* maps are kept */
};

/* one and other: the two rows. Invariant: one's slices point into the probe. */
struct mapping {
    struct tape_columns_filling *filling;
    struct tape_columns_probe probe;
    struct tape_tick one, other;
    struct tape_columns_map *map;
};

static int decode(struct mapping *mapping, int64_t first_number, struct tape_tick *tick)
{
    mapping->filling->first_number = first_number;
    if (!tape_columns_probe_fill(&mapping->probe, mapping->filling))
        return 0;
    tape_tick_decode((const char *)mapping->probe.text.bytes, mapping->probe.text.length, tick);
    return 1;
}

/* A member of a tick by the name of its column. */
static int64_t integer_of(const struct tape_tick *tick, int which)
{
    switch (which) {
#define INTEGER(name, member, absent)                                                              \
    case TAPE_COLUMNS_##name:                                                                      \
        return tick->member;
        TAPE_COLUMNS_INTEGER_TABLE(INTEGER)
#undef INTEGER
    default:
        return 0;
    }
}

static const struct tape_packed_place *place_at(const struct mapping *mapping, int32_t place)
{
    return &mapping->filling->group->places[place];
}

static int stands_in_rows(const struct mapping *mapping, int32_t place)
{
    return place_at(mapping, place)->outside == &mapping->filling->group->rows;
}

/* --- integers --- */

static int is_time(int which)
{
    return which == TAPE_COLUMNS_EVENT_NS || which == TAPE_COLUMNS_TRANSACTION_NS;
}

/* Only a number without decimals is an integer in every row, or in none. */
static int map_integer(struct mapping *mapping, int which)
{
    int64_t one = integer_of(&mapping->one, which), other = integer_of(&mapping->other, which);
    mapping->map->integers[which].constant = one;
    mapping->map->integers[which].place = -1;
    if (one == other)
        return 1;
    int64_t unit = is_time(which) ? 1000000 : 1;
    int64_t place = one / unit - FIRST_NUMBER;
    if (place < 0 || place >= mapping->filling->group->place_count || one % unit != 0 ||
        other != (SECOND_NUMBER + place) * unit)
        return 0;
    const struct tape_packed_place *number = place_at(mapping, (int32_t)place);
    if (number->node != TAPE_PACKED_NUMBER || number->form != TAPE_PACKED_FIXED ||
        number->decimals != 0 || !stands_in_rows(mapping, (int32_t)place))
        return 0;
    mapping->map->integers[which].place = (int32_t)place;
    return 1;
}

/* Which slot says who the maker is: the one that turns it. */
static int map_maker(struct mapping *mapping)
{
    struct tape_columns_filling *filling = mapping->filling;
    struct tape_columns_probe probe = {0};
    int maker = mapping->one.buyer_is_maker, flips = 0, good = 1;
    mapping->map->integers[TAPE_COLUMNS_BUYER_IS_MAKER].place = -1;
    mapping->map->integers[TAPE_COLUMNS_BUYER_IS_MAKER].constant = maker;
    for (uint32_t i = 0; good && maker >= 0 && i < filling->group->place_count; i++) {
        const struct tape_packed_place *place = &filling->group->places[i];
        struct tape_tick tick;
        if (place->node != TAPE_PACKED_STRING || filling->contents[i] != TAPE_COLUMNS_BOOL)
            continue;
        filling->false_place = (int32_t)i;
        good = flips++ < FLIPS_MAX && tape_columns_probe_fill(&probe, filling);
        if (good) {
            tape_tick_decode((const char *)probe.text.bytes, probe.text.length, &tick);
            if (tick.buyer_is_maker != maker) {
                mapping->map->integers[TAPE_COLUMNS_BUYER_IS_MAKER].place = (int32_t)i;
                good = place->form == TAPE_PACKED_DICTIONARY && stands_in_rows(mapping, (int32_t)i);
                break;
            }
        }
    }
    filling->false_place = -1;
    free(probe.text.bytes);
    free(probe.slots);
    return good;
}

static int map_integers(struct mapping *mapping)
{
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
        if (i != TAPE_COLUMNS_BUYER_IS_MAKER && !map_integer(mapping, i))
            return 0;
    return map_maker(mapping);
}

/* --- decimals --- */

/* Its text is a plain decimal of at most 18 digits whatever its value is: 18 decimals and the digit
 * before them are too many. */
static int is_always_plain(const struct tape_packed_place *place)
{
    return place->node == TAPE_PACKED_NUMBER && place->form <= TAPE_PACKED_EACH &&
           (place->form == TAPE_PACKED_EACH || place->decimals < TAPE_PACKED_DECIMALS_MAX);
}

static int map_decimal(struct mapping *mapping, int which, const struct tape_decimal *decimal)
{
    struct tape_columns_map *map = mapping->map;
    map->decimals[which].place = -1;
    if (decimal->text.data == NULL)
        return 1;
    int32_t place = tape_columns_probe_find(&mapping->probe, mapping->filling, decimal->text);
    if (place >= 0) {
        map->decimals[which].place = place;
        return is_always_plain(place_at(mapping, place)) && stands_in_rows(mapping, place);
    }
    map->decimals[which].state = TAPE_COLUMNS_VALID;
    map->decimals[which].value = decimal->value;
    map->decimals[which].scale = decimal->scale;
    return decimal->valid;
}

static int map_decimals(struct mapping *mapping)
{
#define DECIMAL(name, member)                                                                      \
    if (!map_decimal(mapping, TAPE_COLUMNS_##name, &mapping->one.member))                          \
        return 0;
    TAPE_COLUMNS_DECIMAL_TABLE(DECIMAL)
#undef DECIMAL
    return 1;
}

/* --- levels --- */

static int32_t find_level_number(const struct mapping *mapping, int32_t list,
                                 struct tape_slice text)
{
    int32_t place = tape_columns_probe_find(&mapping->probe, mapping->filling, text);
    return place >= 0 && is_always_plain(place_at(mapping, place)) &&
                   place_at(mapping, place)->outside == &place_at(mapping, list)->inside
               ? place
               : -1;
}

/* A list is one that a template has as such, or always empty. */
static int map_levels_of(struct mapping *mapping, int which, struct tape_slice list)
{
    struct tape_columns_map *map = mapping->map;
    struct tape_decimal price, quantity;
    map->levels[which].list = -1;
    if (list.data == NULL)
        return 1;
    map->levels[which].state = TAPE_COLUMNS_VALID;
    struct tape_slice inside = {list.data + 1, list.bytes - 2};
    struct tape_slice rest = list;
    int got = tape_tick_next_level(&rest, &price, &quantity);
    if (got <= 0)
        return got == 0;
    int32_t place = tape_columns_probe_find(&mapping->probe, mapping->filling, inside);
    if (place < 0 || place_at(mapping, place)->node != TAPE_PACKED_LIST ||
        !stands_in_rows(mapping, place) || tape_tick_next_level(&rest, &price, &quantity) != 0)
        return 0;
    map->levels[which].list = place;
    map->levels[which].price = find_level_number(mapping, place, price.text);
    map->levels[which].quantity = find_level_number(mapping, place, quantity.text);
    return map->levels[which].price >= 0 && map->levels[which].quantity >= 0;
}

static int map_levels(struct mapping *mapping)
{
#define LEVELS(name, member)                                                                       \
    if (!map_levels_of(mapping, TAPE_COLUMNS_##name, mapping->one.member))                         \
        return 0;
    TAPE_COLUMNS_LEVELS_TABLE(LEVELS)
#undef LEVELS
    return 1;
}

/* --- words --- */

static int map_words_of(struct mapping *mapping, int which, struct tape_slice words)
{
    struct tape_columns_map *map = mapping->map;
    map->words[which].place = -1;
    map->words[which].constant = words;
    if (words.data == NULL)
        return 1;
    int32_t place = tape_columns_probe_find(&mapping->probe, mapping->filling, words);
    if (place < 0)
        return 1;
    map->words[which].place = place;
    return place_at(mapping, place)->node == TAPE_PACKED_STRING &&
           place_at(mapping, place)->form == TAPE_PACKED_DICTIONARY &&
           stands_in_rows(mapping, place);
}

static int map_words(struct mapping *mapping)
{
#define WORDS(name, member)                                                                        \
    if (!map_words_of(mapping, TAPE_COLUMNS_##name, mapping->one.member))                          \
        return 0;
    TAPE_COLUMNS_WORDS_TABLE(WORDS)
#undef WORDS
    struct tape_slice none = {"", 0};
    if (mapping->map->words[TAPE_COLUMNS_STREAM].constant.data == NULL)
        mapping->map->words[TAPE_COLUMNS_STREAM].constant = none;
    return 1;
}

/* The constants, out of the probe. */
static int keep_words(struct tape_columns_map *map)
{
    size_t bytes = 1;
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++)
        bytes += map->words[i].constant.bytes;
    map->text = bytes <= CONSTANTS_MAX_BYTES ? malloc(bytes) : NULL;
    char *to = map->text;
    for (int i = 0; to != NULL && i < TAPE_COLUMNS_WORDS; i++) {
        struct tape_slice *constant = &map->words[i].constant;
        if (constant->data == NULL)
            continue;
        memcpy(to, constant->data, constant->bytes);
        constant->data = to;
        to += constant->bytes;
    }
    return to != NULL;
}

/* --- all of it --- */

static int map_all(struct mapping *mapping)
{
    /* The first row comes last: its text stays. */
    if (!decode(mapping, SECOND_NUMBER, &mapping->other) ||
        !decode(mapping, FIRST_NUMBER, &mapping->one) || mapping->one.kind != mapping->other.kind)
        return 0;
    mapping->map->kind = mapping->one.kind;
    return map_integers(mapping) && map_decimals(mapping) && map_levels(mapping) &&
           map_words(mapping) && keep_words(mapping->map);
}

struct tape_columns_map *tape_columns_map_new(struct tape_columns_filling *filling)
{
    struct mapping mapping = {.filling = filling};
    mapping.map = calloc(1, sizeof *mapping.map);
    int good = mapping.map != NULL && map_all(&mapping);
    free(mapping.probe.slots);
    free(mapping.probe.text.bytes);
    if (good)
        return mapping.map;
    tape_columns_map_free(mapping.map);
    return NULL;
}

void tape_columns_map_free(struct tape_columns_map *map)
{
    if (map == NULL)
        return;
    free(map->text);
    free(map);
}
