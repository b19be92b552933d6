#include <string.h>

#include "format/columns_internal.h"
#include "format/packed.h"
#include "format/scan.h"

static int is_plain(const uint8_t *bytes, size_t length)
{
    const char *from = (const char *)bytes;
    return tape_scan_plain(from, from + length) == from + length;
}

static int content_of_entry(struct tape_packed_words entry)
{
    const char *from = (const char *)entry.bytes, *to = from + entry.length;
    if (!is_plain(entry.bytes, entry.length))
        return TAPE_COLUMNS_ODD_TEXT;
    if (entry.length == 0 || tape_scan_scalar(from, to) != to)
        return TAPE_COLUMNS_TEXT;
    return *from == 't' || *from == 'f' ? TAPE_COLUMNS_BOOL
           : *from == 'n'               ? TAPE_COLUMNS_NULL
                                        : TAPE_COLUMNS_NUMBER;
}

static int content_of_dictionary(const struct tape_packed_place *place)
{
    int content = content_of_entry(place->entries[0]);
    for (uint32_t i = 1; i < place->entry_count && content != TAPE_COLUMNS_ODD_TEXT; i++) {
        int other = content_of_entry(place->entries[i]);
        if (other != content)
            content = other == TAPE_COLUMNS_ODD_TEXT ? other : TAPE_COLUMNS_TEXT;
    }
    return content;
}

/* They lie one after the other: one look over all of them. */
static int content_of_raw(const struct tape_packed_group *group,
                          const struct tape_packed_place *place)
{
    const int64_t *lengths = group->columns[place->column].values;
    uint64_t length = 0;
    for (uint32_t i = 0; i < place->outside->count; i++)
        length += (uint64_t)lengths[i];
    return is_plain(place->bytes, length) ? TAPE_COLUMNS_TEXT : TAPE_COLUMNS_ODD_TEXT;
}

int tape_columns_content_of(const struct tape_packed_group *group,
                            const struct tape_packed_place *place)
{
    switch (place->form) {
    case TAPE_PACKED_DICTIONARY:
        return content_of_dictionary(place);
    case TAPE_PACKED_RAW:
        return place->outside->count == 0 ? TAPE_COLUMNS_TEXT : content_of_raw(group, place);
    default:
        return TAPE_COLUMNS_TEXT;
    }
}

int tape_columns_event_kind(struct tape_packed_words entry)
{
    static const char before[] = "{\"e\":\"", after[] = "\"}";
    enum { BEFORE = sizeof before - 1, AFTER = sizeof after - 1, WORD_MAX = 64 };
    char text[BEFORE + WORD_MAX + AFTER];
    struct tape_tick tick;
    if (entry.length == 0 || entry.length > WORD_MAX)
        return TAPE_TICK_OTHER; /* no word is so long */
    memcpy(text, before, BEFORE);
    memcpy(text + BEFORE, entry.bytes, entry.length);
    memcpy(text + BEFORE + entry.length, after, AFTER);
    tape_tick_decode(text, BEFORE + entry.length + AFTER, &tick);
    return tick.kind;
}

int tape_columns_is_partial(struct tape_packed_words entry, struct tape_growing *scratch)
{
    static const char before[] = "{\"stream\":\"", after[] = "\",\"data\":{\"e\":\"depthUpdate\"}}";
    struct tape_tick tick;
    scratch->length = 0;
    tape_growing_put(scratch, before, sizeof before - 1);
    tape_growing_put(scratch, entry.bytes, entry.length);
    tape_growing_put(scratch, after, sizeof after - 1);
    if (scratch->failed)
        return 0;
    tape_tick_decode((const char *)scratch->bytes, scratch->length, &tick);
    return tick.kind == TAPE_TICK_DEPTH_SNAPSHOT;
}
