#include "format/columns_dictionary.h"

#include <stdlib.h>
#include <string.h>

static int same(struct tape_slice one, struct tape_slice other)
{
    return one.bytes == other.bytes && (one.data == NULL) == (other.data == NULL) &&
           (one.bytes == 0 || memcmp(one.data, other.data, one.bytes) == 0);
}

static uint32_t hash(struct tape_slice words)
{
    uint64_t hash = words.data == NULL ? 1 : 0xcbf29ce484222325;
    for (size_t i = 0; i < words.bytes; i++)
        hash = (hash ^ (uint8_t)words.data[i]) * 0x100000001b3;
    return (uint32_t)(hash ^ hash >> 32);
}

/* The place of the words, or the empty one where they belong. */
static uint32_t *find(const struct tape_columns_dictionary *dictionary, struct tape_slice words)
{
    uint32_t at = hash(words) & (dictionary->size - 1);
    while (dictionary->table[at] != 0 &&
           !same(dictionary->entries[dictionary->table[at] - 1], words))
        at = (at + 1) & (dictionary->size - 1);
    return &dictionary->table[at];
}

static int grow(struct tape_columns_dictionary *dictionary)
{
    uint32_t size = dictionary->size == 0 ? 64 : dictionary->size * 2, room = size / 2;
    uint32_t *table = calloc(size, sizeof *table);
    struct tape_slice *entries = realloc(dictionary->entries, room * sizeof *entries);
    if (entries != NULL)
        dictionary->entries = entries;
    if (table == NULL || entries == NULL) {
        free(table);
        return 0;
    }
    free(dictionary->table);
    dictionary->table = table;
    dictionary->size = size;
    dictionary->room = room;
    for (uint32_t i = 0; i < dictionary->count; i++)
        *find(dictionary, dictionary->entries[i]) = i + 1;
    return 1;
}

int64_t tape_columns_dictionary_number(struct tape_columns_dictionary *dictionary,
                                       struct tape_slice words)
{
    if (dictionary->count > 0 && same(dictionary->entries[dictionary->last], words))
        return dictionary->last;
    if (dictionary->count == dictionary->room && !grow(dictionary))
        return -1;
    uint32_t *place = find(dictionary, words);
    if (*place == 0) {
        dictionary->entries[dictionary->count] = words;
        *place = ++dictionary->count;
    }
    dictionary->last = *place - 1;
    return dictionary->last;
}

void tape_columns_dictionary_clear(struct tape_columns_dictionary *dictionary)
{
    if (dictionary->count > 0)
        memset(dictionary->table, 0, dictionary->size * sizeof *dictionary->table);
    dictionary->count = dictionary->last = 0;
}

void tape_columns_dictionary_free(struct tape_columns_dictionary *dictionary)
{
    free(dictionary->entries);
    free(dictionary->table);
}
