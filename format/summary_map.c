#include "format/summary_map.h"

static void place(struct tape_summary_map *map, uint64_t seed, uint64_t key, uint32_t stored)
{
    uint32_t at = (uint32_t)tape_summary_mix(key, seed) & (map->room - 1);
    while (map->values[at])
        at = (at + 1) & (map->room - 1);
    map->keys[at] = key;
    map->values[at] = stored;
}

static int grow(struct tape_summary_map *map, uint64_t seed)
{
    struct tape_summary_map old = *map;
    uint32_t room = old.room ? old.room * 2 : 16;
    map->keys = malloc(room * sizeof *map->keys);
    map->values = calloc(room, sizeof *map->values);
    if (!map->keys || !map->values) {
        free(map->keys);
        free(map->values);
        *map = old;
        return -1;
    }
    map->room = room;
    for (uint32_t i = 0; i < old.room; i++)
        if (old.values[i])
            place(map, seed, old.keys[i], old.values[i]);
    free(old.keys);
    free(old.values);
    return 0;
}

int tape_summary_map_put(struct tape_summary_map *map, uint64_t seed, uint64_t key, uint32_t value)
{
    if (map->used + 1 > map->room / 4 * 3 && grow(map, seed) < 0)
        return -1;
    place(map, seed, key, value + 1);
    map->used++;
    return 0;
}
