/* What a recorder that died left in its ring and nowhere else. */
#ifndef TAPE_REPLAY_LEFT_H
#define TAPE_REPLAY_LEFT_H

#include <stdint.h>

#include "format/archive.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_left_in_ring(archive, next_ordinal): how many records from ${next_ordinal} on are in the
 * ring that LOCK names; 0 while a recorder holds the archive, or where there is no such ring. */
uint64_t tape_left_in_ring(const struct tape_archive *archive, uint64_t next_ordinal);

/* tape_left_of_archive(path): the same, behind all that its segments have; 0 where it cannot be
 * opened. */
uint64_t tape_left_of_archive(const char *path);

#ifdef __cplusplus
}
#endif
#endif
