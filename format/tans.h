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

/* tape_tans_log_fits(log, count): whether a column of so many values may have tables of 2^log
 * states: or else a few bytes that stand for one value would ask for thousands of them. */
static inline int tape_tans_log_fits(unsigned log, uint32_t count)
{
    enum { STATES_A_VALUE = 4 };
    return log >= TAPE_TANS_LOG_MIN && log <= TAPE_TANS_LOG_MAX &&
           (log == TAPE_TANS_LOG_MIN || 1ull << log <= (uint64_t)STATES_A_VALUE * count);
}

/* One state of a reader's table, what it stands for and how the next is found, in one word: a
 * reader fetches it with one load. From the lowest bit on: 8 bits token; 8 bits extra: how many
 * bits of the stream belong to the token; 8 bits how many after them are added to base; 8 bits
 * total of both; 16 bits flags; 16 bits base of the next state. */
typedef uint64_t tape_tans_entry;

/* The entries of a table that is not there: no bits, state 0, and a flag. */
#define TAPE_TANS_NO_ENTRY (1ull << 32)

enum {
    TAPE_TANS_LOOK_BITS = 57, /* that a load of 64 gives, wherever in a byte it begins */
    TAPE_TANS_EXTRA_AT = 8,   /* fields of an entry */
    TAPE_TANS_BITS_AT = 16,
    TAPE_TANS_TOTAL_AT = 24,
    TAPE_TANS_BASE_AT = 48,
};

static inline uint8_t tape_tans_token(tape_tans_entry entry)
{
    return (uint8_t)entry;
}
static inline unsigned tape_tans_extra(tape_tans_entry entry)
{
    return (uint8_t)(entry >> TAPE_TANS_EXTRA_AT);
}
static inline unsigned tape_tans_bits(tape_tans_entry entry)
{
    return (uint8_t)(entry >> TAPE_TANS_BITS_AT);
}
static inline unsigned tape_tans_total(tape_tans_entry entry)
{
    return (uint8_t)(entry >> TAPE_TANS_TOTAL_AT);
}
static inline uint32_t tape_tans_base(tape_tans_entry entry)
{
    return (uint32_t)(entry >> TAPE_TANS_BASE_AT);
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
