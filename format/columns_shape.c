#include <stdlib.h>
#include <string.h>

#include "format/columns_internal.h"
#include "format/packed.h"
#include "format/venue.h"

enum { KEY_MAX_BYTES = 16 << 10 }; /* shapes are kept; a longer one is read as text */

static void free_shape(struct tape_columns_shape *shape)
{
    if (shape == NULL)
        return;
    for (int kind = 0; kind < TAPE_COLUMNS_KINDS; kind++)
        for (int partial = 0; partial < 2; partial++)
            tape_columns_map_free(shape->maps[kind][partial]);
    free(shape->key.bytes);
    free(shape);
}

void tape_columns_shapes_free(struct tape_columns_shapes *shapes)
{
    for (uint32_t i = 0; i < TAPE_COLUMNS_SHAPES; i++)
        free_shape(shapes->at[i]);
    free(shapes->key.bytes);
    free(shapes->contents.bytes);
    free(shapes->scratch.bytes);
}

/* --- keys --- */

static void put_place(struct tape_columns_shapes *shapes, const struct tape_packed_group *group,
                      const struct tape_packed_place *place)
{
    struct tape_growing *key = &shapes->key;
    int content = place->node == TAPE_PACKED_STRING ? tape_columns_content_of(group, place)
                                                    : TAPE_COLUMNS_TEXT;
    tape_growing_put_u8(&shapes->contents, (uint8_t)content);
    tape_growing_put_u8(key, place->node);
    tape_growing_put_u8(key, place->form);
    tape_growing_put_u8(key, place->decimals);
    tape_growing_put_u8(key, (uint8_t)content);
    if (place->node == TAPE_PACKED_LIST)
        tape_growing_put_varint(key, place->end);
    if (place->node != TAPE_PACKED_LITERAL)
        return;
    tape_growing_put_varint(key, place->literal.length);
    tape_growing_put(key, place->literal.bytes, place->literal.length);
}

/* 1: key and contents are the group's; 0: memory. A key that is too long is cut. */
static int make_key(struct tape_columns_shapes *shapes, const struct tape_packed_group *group)
{
    shapes->key.length = shapes->contents.length = 0;
    for (uint32_t i = 0; i < group->place_count && shapes->key.length <= KEY_MAX_BYTES; i++)
        put_place(shapes, group, &group->places[i]);
    return !shapes->key.failed && !shapes->contents.failed;
}

static uint64_t hash_key(const struct tape_growing *key)
{
    const uint64_t factor = 0x9e3779b97f4a7c15ull;
    uint64_t hash = key->length;
    size_t i = 0;
    for (; i + 8 <= key->length; i += 8) {
        hash = (hash ^ tape_bytes_get_u64(key->bytes + i)) * factor;
        hash ^= hash >> 32;
    }
    for (; i < key->length; i++)
        hash = (hash ^ key->bytes[i]) * factor;
    return hash ^ hash >> 32;
}

/* --- shapes --- */

static void begin_filling(struct tape_columns_filling *filling,
                          const struct tape_columns_shapes *shapes,
                          const struct tape_packed_group *group)
{
    *filling = (struct tape_columns_filling){
        .group = group,
        .contents = shapes->contents.bytes,
        .event_place = -1,
        .stream_place = -1,
        .false_place = -1,
    };
}

/* The place of a string that differs from row to row, or -1. */
static int32_t find_string(const struct tape_columns_probe *probe,
                           const struct tape_columns_filling *filling, struct tape_slice slice)
{
    return slice.data != NULL ? tape_columns_probe_find(probe, filling, slice) : -1;
}

/* What all rows of the shape have in common. */
static void look(struct tape_columns_shape *shape, const struct tape_columns_shapes *shapes,
                 const struct tape_packed_group *group)
{
    struct tape_columns_probe probe = {0};
    struct tape_columns_filling filling;
    struct tape_venue_answer answer;
    struct tape_tick tick;
    begin_filling(&filling, shapes, group);
    shape->good = shape->key.length <= KEY_MAX_BYTES && tape_columns_probe_fill(&probe, &filling) &&
                  tape_columns_probe_prove(&probe, &filling);
    if (shape->good) {
        const char *text = (const char *)probe.text.bytes;
        shape->good = tape_venue_classify(text, probe.text.length, &answer) == TAPE_VENUE_DATA;
        tape_tick_decode(text, probe.text.length, &tick);
        shape->event_place = find_string(&probe, &filling, tick.event);
        shape->stream_place = find_string(&probe, &filling, tick.stream);
    }
    free(probe.text.bytes);
    free(probe.slots);
}

static int same_key(const struct tape_columns_shape *shape, const struct tape_growing *key,
                    uint64_t hash)
{
    return shape->hash == hash && shape->key.length == key->length &&
           (key->length == 0 || memcmp(shape->key.bytes, key->bytes, key->length) == 0);
}

struct tape_columns_shape *tape_columns_shapes_find(struct tape_columns_shapes *shapes,
                                                    const struct tape_packed_group *group)
{
    if (!make_key(shapes, group))
        return NULL;
    uint64_t hash = hash_key(&shapes->key);
    struct tape_columns_shape **at = &shapes->at[hash % TAPE_COLUMNS_SHAPES];
    if (*at != NULL && same_key(*at, &shapes->key, hash))
        return *at;
    struct tape_columns_shape *shape = calloc(1, sizeof *shape);
    if (shape == NULL)
        return NULL;
    shape->hash = hash;
    tape_growing_put(&shape->key, shapes->key.bytes, shapes->key.length);
    if (shape->key.failed) {
        free_shape(shape);
        return NULL;
    }
    look(shape, shapes, group);
    free_shape(*at);
    *at = shape;
    return shape;
}

const struct tape_columns_map *
tape_columns_shapes_map(struct tape_columns_shapes *shapes, struct tape_columns_shape *shape,
                        const struct tape_packed_group *group, int kind, int partial,
                        struct tape_packed_words event, struct tape_packed_words stream)
{
    if (shape->known[kind][partial])
        return shape->maps[kind][partial];
    struct tape_columns_filling filling;
    begin_filling(&filling, shapes, group);
    if (kind != TAPE_TICK_OTHER) { /* else what the probe has is as good an example */
        filling.event_place = shape->event_place;
        filling.event = event;
    }
    if (partial) {
        filling.stream_place = shape->stream_place;
        filling.stream = stream;
    }
    shape->maps[kind][partial] = tape_columns_map_new(&filling);
    shape->known[kind][partial] = 1;
    return shape->maps[kind][partial];
}
