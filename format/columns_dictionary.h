/* Words numbered as they come. Private to the columns. */
#ifndef TAPE_FORMAT_COLUMNS_DICTIONARY_H
#define TAPE_FORMAT_COLUMNS_DICTIONARY_H

#include <stdint.h>

#include "format/tick.h"

/* Zero-initialise. Invariants: no two entries are equal; table has size places (a power of two, 0
 * at first), at most half of them used: 1 + the entry's number; last: that of the last word. */
struct tape_columns_dictionary {
    struct tape_slice *entries;
    uint32_t count, room, size, last;
    uint32_t *table;
};

/* tape_columns_dictionary_number(dictionary, words): the number of the words, which are borrowed;
 * -1: memory. Absent ones (data NULL) are not those of no bytes. */
int64_t tape_columns_dictionary_number(struct tape_columns_dictionary *dictionary,
                                       struct tape_slice words);

/* tape_columns_dictionary_clear(dictionary): forgets all words, keeps the room. */
void tape_columns_dictionary_clear(struct tape_columns_dictionary *dictionary);
void tape_columns_dictionary_free(struct tape_columns_dictionary *dictionary);

#endif
