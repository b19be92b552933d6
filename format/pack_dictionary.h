/* Distinct strings among many, numbered by falling frequency. Private to the packer. */
#ifndef TAPE_FORMAT_PACK_DICTIONARY_H
#define TAPE_FORMAT_PACK_DICTIONARY_H

#include <stdint.h>

#include "format/growing.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_pack_dictionary; /* scratch; one thread */
struct tape_pack_dictionary *tape_pack_dictionary_new(void);
void tape_pack_dictionary_free(struct tape_pack_dictionary *dictionary);

/* tape_pack_dictionary_make(dictionary, values, count, bodies, entries): each value is a place in
 * bodies, offset << 32 | length. 1 and the number of entries; 0 when the strings do not repeat
 * enough for a dictionary to pay; -1 when memory is short. */
int tape_pack_dictionary_make(struct tape_pack_dictionary *dictionary, const int64_t *values,
                              uint32_t count, const uint8_t *bodies, uint32_t *entries);

/* tape_pack_dictionary_put(dictionary, bodies, pool): the number of entries and their strings. */
void tape_pack_dictionary_put(const struct tape_pack_dictionary *dictionary, const uint8_t *bodies,
                              struct tape_growing *pool);

/* tape_pack_dictionary_index(dictionary, values, count): places become numbers of entries. */
void tape_pack_dictionary_index(const struct tape_pack_dictionary *dictionary, int64_t *values,
                                uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
