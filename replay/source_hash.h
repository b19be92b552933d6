/* A hash of bytes for tables whose chains are walked a bounded way only: fast, the same on every
 * machine, and no promise against those who make bytes to collide. */
#ifndef TAPE_REPLAY_SOURCE_HASH_H
#define TAPE_REPLAY_SOURCE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "format/bytes.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline uint64_t tape_source_hash_fold(uint64_t one, uint64_t other)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* tape_source_hash(begin, bytes, length): begin: what was hashed before, or any number. */
static inline uint64_t tape_source_hash(uint64_t begin, const char *bytes, size_t length)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u, other = 0xd1b54a32d192ed03u;
    const uint8_t *at = (const uint8_t *)bytes, *end = at + length;
    uint64_t hash = begin ^ (length * odd);
    for (; end - at >= 16; at += 16)
        hash = tape_source_hash_fold(tape_bytes_get_u64(at) ^ other ^ hash,
                                     tape_bytes_get_u64(at + 8) ^ odd);
    uint8_t rest[16] = {0};
    for (int i = 0; at < end; i++)
        rest[i] = *at++;
    return tape_source_hash_fold(tape_bytes_get_u64(rest) ^ other ^ hash,
                                 tape_bytes_get_u64(rest + 8) ^ odd);
}

#ifdef __cplusplus
}
#endif
#endif
