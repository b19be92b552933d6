/* The same random numbers in every run (xorshift). */
#ifndef TAPE_TESTS_UNIT_RANDOM_BELOW_H
#define TAPE_TESTS_UNIT_RANDOM_BELOW_H

#include <stdint.h>

/* random_below(limit): 0 to limit - 1. */
static inline uint32_t random_below(uint32_t limit)
{
    static uint64_t seed = 88172645463325252;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % limit;
}

#endif
