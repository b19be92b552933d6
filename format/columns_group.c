#include <stdlib.h>
#include <string.h>

#include "format/columns_internal.h"
#include "format/packed.h"

enum { CLASSES = TAPE_COLUMNS_KINDS * 2 };

/*
 * Rows of one class have one map: their "e" is of one kind (OTHER, too, where it is the same in all
 * rows) and, where it is that of depth updates, their stream is partial or not.
 * Invariants: events and partials have one value for each entry of their dictionary; NULL: no row
 * differs in it.
 */
struct sorting {
    struct tape_columns_shapes *shapes;
    struct tape_columns_shape *shape;
    struct tape_packed_decoder *decoder;
    const struct tape_packed_group *group;
    const struct tape_columns_heads *heads;
    struct tape_columns_batches *batches;
    const struct tape_packed_place *event, *stream;
    uint8_t *events, *partials;
    int depth; /* the kind of rows without events is that of depth updates */
};

struct tape_columns_batch *tape_columns_batches_add(struct tape_columns_batches *batches)
{
    if (batches->count == batches->room) {
        uint32_t room = batches->room * 2 + 16;
        struct tape_columns_batch *larger = realloc(batches->at, room * sizeof *larger);
        if (larger == NULL)
            return NULL;
        batches->at = larger;
        batches->room = room;
    }
    struct tape_columns_batch *batch = &batches->at[batches->count++];
    memset(batch, 0, sizeof *batch);
    return batch;
}

static void *take(struct sorting *sorting, size_t count, size_t size)
{
    return tape_packed_memory_take(&sorting->decoder->memory, count, size);
}

/* --- classes --- */

/* The dictionary of the rows at a place; *place NULL for place -1. 0: it is something else. */
static int find_dictionary(const struct sorting *sorting, int32_t at,
                           const struct tape_packed_place **place)
{
    *place = at < 0 ? NULL : &sorting->group->places[at];
    return at < 0 ||
           ((*place)->node == TAPE_PACKED_STRING && (*place)->form == TAPE_PACKED_DICTIONARY &&
            (*place)->outside == &sorting->group->rows);
}

/* The map of a class; its example are the first entries that belong to it. */
static const struct tape_columns_map *map_of(const struct sorting *sorting, int class)
{
    int kind = class / 2, partial = class % 2;
    struct tape_packed_words event = {0}, stream = {0};
    for (uint32_t i = 0; sorting->events != NULL && event.bytes == NULL; i++)
        if (sorting->events[i] == kind)
            event = sorting->event->entries[i];
    for (uint32_t i = 0; partial && stream.bytes == NULL; i++)
        if (sorting->partials[i])
            stream = sorting->stream->entries[i];
    return tape_columns_shapes_map(sorting->shapes, sorting->shape, sorting->group, kind, partial,
                                   event, stream);
}

static int sort_events(struct sorting *sorting)
{
    if (sorting->event == NULL) {
        const struct tape_columns_map *map = map_of(sorting, TAPE_TICK_OTHER * 2);
        sorting->depth = map != NULL && map->kind == TAPE_TICK_DEPTH;
        return 1;
    }
    sorting->events = take(sorting, sorting->event->entry_count, 1);
    if (sorting->events == NULL)
        return 0;
    for (uint32_t i = 0; i < sorting->event->entry_count; i++) {
        sorting->events[i] = (uint8_t)tape_columns_event_kind(sorting->event->entries[i]);
        sorting->depth |= sorting->events[i] == TAPE_TICK_DEPTH;
    }
    return 1;
}

static int sort_streams(struct sorting *sorting)
{
    struct tape_growing *scratch = &sorting->shapes->scratch;
    if (sorting->stream == NULL || !sorting->depth)
        return 1;
    sorting->partials = take(sorting, sorting->stream->entry_count, 1);
    if (sorting->partials == NULL)
        return 0;
    for (uint32_t i = 0; i < sorting->stream->entry_count; i++)
        sorting->partials[i] =
            (uint8_t)tape_columns_is_partial(sorting->stream->entries[i], scratch);
    return !scratch->failed;
}

static int class_of(const struct sorting *sorting, int64_t event, int64_t stream)
{
    int kind = sorting->events != NULL ? sorting->events[event] : TAPE_TICK_OTHER;
    int is_depth = sorting->events != NULL ? kind == TAPE_TICK_DEPTH : sorting->depth;
    return kind * 2 + (is_depth && sorting->partials != NULL && sorting->partials[stream]);
}

/* 1: all entries are of the class of the first. */
static int is_one_class(const struct sorting *sorting)
{
    for (uint32_t i = 1; sorting->events != NULL && i < sorting->event->entry_count; i++)
        if (sorting->events[i] != sorting->events[0])
            return 0;
    for (uint32_t i = 1; sorting->partials != NULL && i < sorting->stream->entry_count; i++)
        if (sorting->partials[i] != sorting->partials[0])
            return 0;
    return 1;
}

/* --- batches --- */

/* rows NULL: all. */
static int add_batch(struct sorting *sorting, int class, const uint32_t *rows, uint32_t count)
{
    const struct tape_columns_map *map = map_of(sorting, class);
    if (map == NULL)
        return 0;
    struct tape_columns_batch *batch = tape_columns_batches_add(sorting->batches);
    if (batch == NULL)
        return TAPE_FAILED;
    int status =
        tape_columns_fill_batch(batch, sorting->decoder, sorting->group, sorting->heads, map);
    if (status == 1 && rows != NULL)
        status = tape_columns_keep_rows(batch, &sorting->decoder->memory, rows, count);
    return status;
}

static int add_classes(struct sorting *sorting)
{
    const struct tape_packed_group *group = sorting->group;
    const int64_t *events = NULL, *streams = NULL;
    uint32_t count = group->rows.count, counts[CLASSES] = {0}, *next[CLASSES];
    uint32_t *rows = take(sorting, count, sizeof *rows);
    uint8_t *classes = take(sorting, count, 1);
    if (rows == NULL || classes == NULL)
        return TAPE_FAILED;
    if (sorting->events != NULL)
        events = group->columns[sorting->event->column].values;
    if (sorting->partials != NULL)
        streams = group->columns[sorting->stream->column].values;
    for (uint32_t i = 0; i < count; i++) {
        int class = class_of(sorting, events ? events[i] : 0, streams ? streams[i] : 0);
        classes[i] = (uint8_t) class;
        counts[class]++;
    }
    for (int class = 0; class < CLASSES; class ++) {
        next[class] = rows;
        rows += counts[class];
    }
    for (uint32_t i = 0; i < count; i++)
        *next[classes[i]]++ = i;
    int status = 1;
    for (int class = 0; class < CLASSES && status == 1; class ++)
        if (counts[class] > 0)
            status = add_batch(sorting, class, next[class] - counts[class], counts[class]);
    return status;
}

int tape_columns_take_group(struct tape_columns_shapes *shapes, struct tape_packed_decoder *decoder,
                            const struct tape_packed_group *group,
                            const struct tape_columns_heads *heads,
                            struct tape_columns_batches *batches)
{
    struct sorting sorting = {
        .shapes = shapes, .decoder = decoder, .group = group, .heads = heads, .batches = batches};
    uint32_t before = batches->count;
    sorting.shape = tape_columns_shapes_find(shapes, group);
    if (sorting.shape == NULL)
        return TAPE_FAILED;
    if (!sorting.shape->good ||
        !find_dictionary(&sorting, sorting.shape->event_place, &sorting.event) ||
        !find_dictionary(&sorting, sorting.shape->stream_place, &sorting.stream))
        return 0;
    if (!sort_events(&sorting) || !sort_streams(&sorting))
        return TAPE_FAILED;
    int status = is_one_class(&sorting) ? add_batch(&sorting, class_of(&sorting, 0, 0), NULL, 0)
                                        : add_classes(&sorting);
    if (status != 1)
        batches->count = before;
    return status;
}
