/* How a segment is stored: as recorded, packed, or packed to be kept for long. */
#ifndef TAPE_REPLAY_PACKING_H
#define TAPE_REPLAY_PACKING_H

#include "format/archive.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_PACKING(name, word, meaning) */
#define TAPE_PACKING_TABLE(X)                                                                      \
    X(HOT, "hot", "as recorded, small blocks")                                                     \
    X(WARM, "packed", "blocks of a megabyte")                                                      \
    X(COLD, "cold", "large blocks, compressed as far as can be")

enum tape_packing {
#define TAPE_PACKING_ENUM(name, word, meaning) TAPE_PACKING_##name,
    TAPE_PACKING_TABLE(TAPE_PACKING_ENUM)
#undef TAPE_PACKING_ENUM
};

const char *tape_packing_word(int packing);

/* tape_packing_read(archive, entry): by its name and its first block's header: a few system calls.
 * A packed segment whose first block cannot be read counts as WARM. */
int tape_packing_read(const struct tape_archive *archive, const struct tape_archive_entry *entry);

#ifdef __cplusplus
}
#endif
#endif
