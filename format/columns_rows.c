#include <string.h>

#include "format/columns_internal.h"
#include "format/packed.h"

/* Filling one batch. Invariant: failed is 1 when some take() gave NULL. */
struct filling {
    struct tape_columns_batch *batch;
    struct tape_packed_memory *memory;
    const struct tape_packed_group *group;
    const struct tape_columns_map *map;
    int failed;
};

static void *take(struct filling *filling, size_t count, size_t size)
{
    void *room = tape_packed_memory_take(filling->memory, count, size);
    filling->failed |= room == NULL;
    return room;
}

static const struct tape_packed_place *place_at(const struct filling *filling, int32_t place)
{
    return &filling->group->places[place];
}

static const int64_t *values_of(const struct filling *filling,
                                const struct tape_packed_place *place)
{
    return filling->group->columns[place->column].values;
}

/* --- integers --- */

/* Milliseconds, or microseconds: told apart as the parser does. */
static const int64_t *convert_times(struct filling *filling, const struct tape_packed_place *place)
{
    enum { SURELY_MILLISECONDS_BITS = 43 };
    const int64_t *values = values_of(filling, place);
    uint32_t rows = filling->group->rows.count;
    int64_t *times = take(filling, rows, sizeof *times);
    if (times == NULL)
        return NULL;
    if (!place->negative && place->bits <= SURELY_MILLISECONDS_BITS) {
        for (uint32_t i = 0; i < rows; i++)
            times[i] = values[i] * 1000000;
        return times;
    }
    for (uint32_t i = 0; i < rows; i++)
        times[i] = values[i] < 0                      ? TAPE_TICK_NONE
                   : values[i] <= INT64_MAX / 1000000 ? values[i] * 1000000
                   : values[i] <= INT64_MAX / 1000    ? values[i] * 1000
                                                      : TAPE_TICK_NONE;
    return times;
}

static const int64_t *convert_makers(struct filling *filling, const struct tape_packed_place *place)
{
    const int64_t *values = values_of(filling, place);
    uint32_t rows = filling->group->rows.count;
    int64_t *makers = take(filling, rows, sizeof *makers);
    for (uint32_t i = 0; makers != NULL && i < rows; i++)
        makers[i] = *place->entries[values[i]].bytes == 't';
    return makers;
}

static void fill_integers(struct filling *filling)
{
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++) {
        struct tape_columns_of_integers *column = &filling->batch->integers[i];
        column->constant = filling->map->integers[i].constant;
        if (filling->map->integers[i].place < 0)
            continue;
        const struct tape_packed_place *place = place_at(filling, filling->map->integers[i].place);
        if (i == TAPE_COLUMNS_EVENT_NS || i == TAPE_COLUMNS_TRANSACTION_NS)
            column->values = convert_times(filling, place);
        else if (i == TAPE_COLUMNS_BUYER_IS_MAKER)
            column->values = convert_makers(filling, place);
        else
            column->values = values_of(filling, place);
    }
}

/* --- decimals --- */

/* 0: one of them is so long that it is no plain decimal. */
static int fill_scales(struct filling *filling, const struct tape_packed_place *place,
                       struct tape_columns_of_decimals *column)
{
    const int64_t *decimals = values_of(filling, place);
    uint32_t count = place->outside->count;
    uint8_t *scales = take(filling, count, 1);
    int64_t most = 0;
    for (uint32_t i = 0; scales != NULL && i < count; i++) {
        scales[i] = (uint8_t)decimals[i];
        most = decimals[i] > most ? decimals[i] : most;
    }
    column->scales = scales;
    column->values = filling->group->columns[place->column + 1].values;
    return most < TAPE_PACKED_DECIMALS_MAX;
}

static int fill_number(struct filling *filling, int32_t at, struct tape_columns_of_decimals *column)
{
    const struct tape_packed_place *place = place_at(filling, at);
    column->state = TAPE_COLUMNS_VALID;
    if (place->form == TAPE_PACKED_EACH)
        return fill_scales(filling, place, column);
    column->values = values_of(filling, place);
    column->scale = place->decimals;
    column->zeros = place->form == TAPE_PACKED_SHORTEST         ? TAPE_COLUMNS_ZEROS_CUT
                    : place->form == TAPE_PACKED_SHORTEST_POINT ? TAPE_COLUMNS_ZEROS_POINT
                                                                : TAPE_COLUMNS_ZEROS_STAY;
    return 1;
}

static int fill_decimals(struct filling *filling)
{
    for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++) {
        struct tape_columns_of_decimals *column = &filling->batch->decimals[i];
        int32_t place = filling->map->decimals[i].place;
        if (place >= 0 && !fill_number(filling, place, column))
            return 0;
        if (place >= 0)
            continue;
        column->value = filling->map->decimals[i].value;
        column->scale = filling->map->decimals[i].scale;
        column->state = filling->map->decimals[i].state;
    }
    return 1;
}

/* --- levels --- */

static int fill_levels(struct filling *filling)
{
    for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++) {
        struct tape_columns_of_levels *column = &filling->batch->levels[i];
        column->state = filling->map->levels[i].state;
        if (filling->map->levels[i].list < 0)
            continue;
        const struct tape_packed_place *list = place_at(filling, filling->map->levels[i].list);
        uint32_t rows = filling->group->rows.count, begin = 0;
        uint32_t *begins = take(filling, rows, sizeof *begins);
        column->counts = values_of(filling, list);
        for (uint32_t row = 0; begins != NULL && row < rows; row++) {
            begins[row] = begin;
            begin += (uint32_t)column->counts[row];
        }
        column->begins = begins;
        column->levels = list->inside.count;
        if (!fill_number(filling, filling->map->levels[i].price, &column->price) ||
            !fill_number(filling, filling->map->levels[i].quantity, &column->quantity))
            return 0;
    }
    return 1;
}

/* --- words --- */

/* Maps may go before the batch does. */
static void fill_constant(struct filling *filling, struct tape_slice constant,
                          struct tape_columns_of_words *column)
{
    struct tape_slice *entry = take(filling, 1, sizeof *entry);
    char *bytes = take(filling, constant.bytes, 1);
    if (entry == NULL || bytes == NULL)
        return;
    if (constant.bytes > 0)
        memcpy(bytes, constant.data, constant.bytes);
    entry->data = constant.data != NULL ? bytes : NULL;
    entry->bytes = constant.bytes;
    column->entries = entry;
    column->entry_count = 1;
}

static void fill_words(struct filling *filling)
{
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++) {
        struct tape_columns_of_words *column = &filling->batch->words[i];
        if (filling->map->words[i].place < 0) {
            fill_constant(filling, filling->map->words[i].constant, column);
            continue;
        }
        const struct tape_packed_place *place = place_at(filling, filling->map->words[i].place);
        struct tape_slice *entries = take(filling, place->entry_count, sizeof *entries);
        for (uint32_t entry = 0; entries != NULL && entry < place->entry_count; entry++) {
            entries[entry].data = (const char *)place->entries[entry].bytes;
            entries[entry].bytes = place->entries[entry].length;
        }
        column->entries = entries;
        column->entry_count = place->entry_count;
        column->indexes = values_of(filling, place);
    }
}

/* --- all of it --- */

static void fill_heads(struct filling *filling, const struct tape_packed_block *block,
                       const struct tape_columns_heads *heads)
{
    struct tape_columns_batch *batch = filling->batch;
    batch->connection = heads->connection;
    batch->flag = heads->flags;
    if (!heads->differ)
        return;
    uint32_t *connections = take(filling, batch->rows, sizeof *connections);
    uint16_t *flags = take(filling, batch->rows, sizeof *flags);
    for (uint32_t row = 0; !filling->failed && row < batch->rows; row++) {
        const struct tape_packed_head *head =
            &block->heads[block->record_head[batch->records[row]]];
        connections[row] = head->connection;
        flags[row] = head->flags;
    }
    batch->connections = connections;
    batch->flags = flags;
}

int tape_columns_fill_batch(struct tape_columns_batch *batch, struct tape_packed_decoder *decoder,
                            const struct tape_packed_group *group,
                            const struct tape_columns_heads *heads,
                            const struct tape_columns_map *map)
{
    struct filling filling = {batch, &decoder->memory, group, map, 0};
    batch->kind = map->kind;
    batch->rows = group->rows.count;
    batch->records = group->records;
    batch->recv_ns = group->rows.recv_ns;
    fill_heads(&filling, &decoder->block, heads);
    fill_integers(&filling);
    fill_words(&filling);
    int good = fill_decimals(&filling) && fill_levels(&filling);
    return filling.failed ? TAPE_FAILED : good;
}

/* --- some rows --- */

/* What makes columns of fewer rows. Invariant: as of struct filling. */
struct keeping {
    struct tape_packed_memory *memory;
    const uint32_t *rows;
    uint32_t count;
    int failed;
};

/* The values of size bytes that stay; NULL for NULL. */
static void *keep(struct keeping *keeping, const void *from, size_t size)
{
    if (from == NULL)
        return NULL;
    uint8_t *to = tape_packed_memory_take(keeping->memory, keeping->count, size);
    keeping->failed |= to == NULL;
    for (uint32_t i = 0; to != NULL && i < keeping->count; i++)
        memcpy(to + i * size, (const uint8_t *)from + keeping->rows[i] * size, size);
    return to;
}

int tape_columns_keep_rows(struct tape_columns_batch *batch, struct tape_packed_memory *memory,
                           const uint32_t *rows, uint32_t count)
{
    struct keeping keeping = {memory, rows, count, 0};
    batch->rows = count;
#define KEEP(column) (column) = keep(&keeping, column, sizeof *(column))
    KEEP(batch->records);
    KEEP(batch->recv_ns);
    KEEP(batch->connections);
    KEEP(batch->flags);
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
        KEEP(batch->integers[i].values);
    for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++) {
        KEEP(batch->decimals[i].values);
        KEEP(batch->decimals[i].scales);
    }
    for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++) {
        KEEP(batch->levels[i].begins);
        KEEP(batch->levels[i].counts);
    }
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++)
        KEEP(batch->words[i].indexes);
#undef KEEP
    return keeping.failed ? TAPE_FAILED : 1;
}
