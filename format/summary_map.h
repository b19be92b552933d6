/* Numbers to numbers, open addressing, no removal. Private to summary*.c. */
#ifndef TAPE_FORMAT_SUMMARY_MAP_H
#define TAPE_FORMAT_SUMMARY_MAP_H

#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialised when empty. Invariants: room is 0 or a power of two; used <= room * 3 / 4; a
 * slot is empty when its value is 0 (values are stored + 1). */
struct tape_summary_map {
    uint64_t *keys;
    uint32_t *values;
    uint32_t room, used;
};

static inline uint64_t tape_summary_mix(uint64_t value, uint64_t seed)
{
    unsigned __int128 product = (unsigned __int128)(value ^ seed) * 0x9e3779b97f4a7c15u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* tape_summary_map_get(map, seed, key): the value, or -1. */
static inline int64_t tape_summary_map_get(const struct tape_summary_map *map, uint64_t seed,
                                           uint64_t key)
{
    if (map->room == 0)
        return -1;
    uint32_t at = (uint32_t)tape_summary_mix(key, seed) & (map->room - 1);
    for (; map->values[at]; at = (at + 1) & (map->room - 1))
        if (map->keys[at] == key)
            return (int64_t)map->values[at] - 1;
    return -1;
}

/* tape_summary_map_put(map, seed, key, value): key is not in it yet; value < 2^32 - 1. 0, or -1
 * when memory is short. */
int tape_summary_map_put(struct tape_summary_map *map, uint64_t seed, uint64_t key, uint32_t value);

static inline void tape_summary_map_free(struct tape_summary_map *map)
{
    free(map->keys);
    free(map->values);
    *map = (struct tape_summary_map){0};
}

#ifdef __cplusplus
}
#endif
#endif
