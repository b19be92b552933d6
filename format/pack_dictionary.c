#include "format/pack_dictionary.h"

#include <stdlib.h>
#include <string.h>

#include "format/column.h"

enum { FEW = 16 }; /* so many entries are always worth it */

struct entry {
    uint64_t place;
    uint32_t count, first; /* first: the order in which they came */
};

/* Invariants: buckets hold 1 + the number of an entry, 0 for none, and are more than twice as many
 * as the entries; of[i] is the entry of value i. */
struct tape_pack_dictionary {
    struct entry *entries;
    uint32_t *order; /* the entries by rank */
    uint32_t *buckets, *of;
    uint32_t count;
    size_t entry_room, bucket_room, of_room;
};

struct tape_pack_dictionary *tape_pack_dictionary_new(void)
{
    return calloc(1, sizeof(struct tape_pack_dictionary));
}

void tape_pack_dictionary_free(struct tape_pack_dictionary *dictionary)
{
    if (dictionary == NULL)
        return;
    free(dictionary->entries);
    free(dictionary->order);
    free(dictionary->buckets);
    free(dictionary->of);
    free(dictionary);
}

static int make_room(struct tape_pack_dictionary *dictionary, uint32_t count, uint32_t limit,
                     size_t buckets)
{
    if (count > dictionary->of_room) {
        free(dictionary->of);
        dictionary->of = malloc(count * sizeof *dictionary->of);
        dictionary->of_room = dictionary->of == NULL ? 0 : count;
    }
    if (limit > dictionary->entry_room) {
        free(dictionary->entries);
        free(dictionary->order);
        dictionary->entries = malloc(limit * sizeof *dictionary->entries);
        dictionary->order = malloc(limit * sizeof *dictionary->order);
        dictionary->entry_room = limit;
    }
    if (buckets > dictionary->bucket_room) {
        free(dictionary->buckets);
        dictionary->buckets = malloc(buckets * sizeof *dictionary->buckets);
        dictionary->bucket_room = buckets;
    }
    if (dictionary->of == NULL || dictionary->entries == NULL || dictionary->order == NULL ||
        dictionary->buckets == NULL) {
        dictionary->entry_room = dictionary->bucket_room = 0;
        return 0;
    }
    memset(dictionary->buckets, 0, buckets * sizeof *dictionary->buckets);
    return 1;
}

static inline uint64_t hash_text(const uint8_t *text, uint32_t bytes)
{
    uint64_t hash = bytes * 0x9e3779b97f4a7c15, word;
    uint32_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        memcpy(&word, text + i, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccd;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, text + i, bytes - i);
    hash = (hash ^ word) * 0xc4ceb9fe1a85ec53;
    return hash ^ hash >> 29;
}

/* By falling count, then as they came first. */
static int compare(const void *one, const void *other)
{
    const struct entry *a = one, *b = other;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static void rank(struct tape_pack_dictionary *dictionary)
{
    for (uint32_t i = 0; i < dictionary->count; i++)
        dictionary->entries[i].first = i;
    qsort(dictionary->entries, dictionary->count, sizeof *dictionary->entries, compare);
    for (uint32_t i = 0; i < dictionary->count; i++)
        dictionary->order[dictionary->entries[i].first] = i;
}

int tape_pack_dictionary_make(struct tape_pack_dictionary *dictionary, const int64_t *values,
                              uint32_t count, const uint8_t *bodies, uint32_t *entries)
{
    uint32_t limit = count / 2 > FEW ? count / 2 : FEW;
    limit = limit < TAPE_COLUMN_DICTIONARY_MAX ? limit : TAPE_COLUMN_DICTIONARY_MAX;
    size_t buckets = 64;
    while (buckets < 2 * (size_t)limit + 2)
        buckets *= 2;
    if (!make_room(dictionary, count, limit, buckets))
        return -1;
    dictionary->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place = (uint64_t)values[i];
        const uint8_t *text = bodies + (place >> 32);
        uint32_t bytes = (uint32_t)place;
        size_t at = hash_text(text, bytes) & (buckets - 1);
        uint32_t number;
        for (; (number = dictionary->buckets[at]) != 0; at = (at + 1) & (buckets - 1)) {
            uint64_t known = dictionary->entries[number - 1].place;
            if ((uint32_t)known == bytes && memcmp(bodies + (known >> 32), text, bytes) == 0)
                break;
        }
        if (number == 0) {
            if (dictionary->count == limit)
                return 0;
            dictionary->entries[dictionary->count++] = (struct entry){.place = place};
            dictionary->buckets[at] = number = dictionary->count;
        }
        dictionary->entries[number - 1].count++;
        dictionary->of[i] = number - 1;
    }
    rank(dictionary);
    *entries = dictionary->count;
    return 1;
}

void tape_pack_dictionary_put(const struct tape_pack_dictionary *dictionary, const uint8_t *bodies,
                              struct tape_growing *pool)
{
    tape_growing_put_varint(pool, dictionary->count);
    for (uint32_t i = 0; i < dictionary->count; i++) {
        uint64_t place = dictionary->entries[i].place;
        tape_growing_put_varint(pool, (uint32_t)place);
        tape_growing_put(pool, bodies + (place >> 32), (uint32_t)place);
    }
}

void tape_pack_dictionary_index(const struct tape_pack_dictionary *dictionary, int64_t *values,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = dictionary->order[dictionary->of[i]];
}
