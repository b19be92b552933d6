/* Tables of the entropy coder: tabled asymmetric numeral systems over tokens (FORMAT.md, "Entropy
 * coding"). A token of probability p costs log2(1/p) bits, also where that is less than one. */
#ifndef TAPE_FORMAT_TANS_H
#define TAPE_FORMAT_TANS_H

#include <stdint.h>

#include "format/token.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_TANS_LOG_MIN = 5,
    TAPE_TANS_LOG_MAX = 11,
    TAPE_TANS_STATES_MAX = 1 << TAPE_TANS_LOG_MAX,
    TAPE_TANS_LANES = 4, /* states that take turns, so that their lookups overlap */
};

/* One state of a reader's table, what it stands for and how the next is found, in one word: a
 * reader fetches it with one load. From the lowest bit on: 16 bits base; 16 bits mask of the
 * stream's bits that are added to it; 8 bits extra: the token's bits that stand before them; 8 bits
 * how many those of the mask are; 8 bits token; 8 bits total of both. */
typedef uint64_t tape_tans_entry;

enum { TAPE_TANS_LOOK_BITS = 57 }; /* that a load of 64 gives, wherever in a byte it begins */

static inline uint32_t tape_tans_base(tape_tans_entry entry)
{
    return (uint16_t)entry;
}
static inline uint32_t tape_tans_mask(tape_tans_entry entry)
{
    return (uint16_t)(entry >> 16);
}
static inline unsigned tape_tans_extra(tape_tans_entry entry)
{
    return (uint8_t)(entry >> 32);
}
static inline unsigned tape_tans_bits(tape_tans_entry entry)
{
    return (uint8_t)(entry >> 40);
}
static inline uint8_t tape_tans_token(tape_tans_entry entry)
{
    return (uint8_t)(entry >> 48);
}
static inline unsigned tape_tans_total(tape_tans_entry entry)
{
    return (unsigned)(entry >> 56);
}

/* What of entries does not depend on the token, by table size and by x, the number that a state is
 * of its token (counted from the token's count on). */
struct tape_tans_parts {
    tape_tans_entry of[TAPE_TANS_LOG_MAX + 1][2 * TAPE_TANS_STATES_MAX];
};
void tape_tans_build_parts(struct tape_tans_parts *parts);

/* tape_tans_build_entries(parts, entries, counts, tokens, log): counts[0 .. tokens) add up to
 * 1 << log; entries has room for as many. */
void tape_tans_build_entries(const struct tape_tans_parts *parts, tape_tans_entry *entries,
                             const uint16_t *counts, uint32_t tokens, unsigned log);

/* A writer's table. States are X = (1 << log) + the state's number. Of token t: the bits to put
 * out are (X + rule[t].bits) >> 16, and the next X is states[(X >> bits) + rule[t].find]. */
struct tape_tans_rule {
    uint32_t bits;
    int32_t find;
};
struct tape_tans_writer {
    struct tape_tans_rule rules[TAPE_TOKENS];
    uint16_t states[TAPE_TANS_STATES_MAX];
    uint16_t first[TAPE_TOKENS]; /* a state of the token, to begin with */
};

void tape_tans_build_writer(struct tape_tans_writer *writer, const uint16_t *counts,
                            uint32_t tokens, unsigned log);

/* tape_tans_normalise(histogram, tokens, total, log, counts): scales a histogram of ${total} > 0 to
 * counts that add up to 1 << log, at least 1 where the histogram is not 0. At most 1 << log tokens
 * may occur. */
void tape_tans_normalise(const uint32_t *histogram, uint32_t tokens, uint32_t total, unsigned log,
                         uint16_t *counts);

#ifdef __cplusplus
}
#endif
#endif
