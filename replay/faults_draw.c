#include "replay/faults_draw.h"

/* The finaliser of splitmix64: a permutation whose every bit hangs on every bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t tape_faults_draw(uint64_t seed, const struct tape_faults_lot *lot)
{
    uint64_t which = (uint64_t)lot->archive << 48 | (uint64_t)lot->rule << 32 |
                     (uint64_t)lot->copy << 16 | lot->lane;
    return mix(mix(mix(seed + 0x9e3779b97f4a7c15u) ^ lot->ordinal) ^ which);
}

/* The upper 53 bits are a double without rounding, and so is their share of 2^53. */
int tape_faults_hits(uint64_t drawn, double probability)
{
    return (double)(drawn >> 11) * 0x1p-53 < probability;
}

uint64_t tape_faults_below(uint64_t drawn, uint64_t limit)
{
    return (uint64_t)((unsigned __int128)drawn * limit >> 64);
}
