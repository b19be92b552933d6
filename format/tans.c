#include "format/tans.h"

#include <string.h>

/* Odd and larger than half: every state is met once, and each token's stand about evenly. */
static uint32_t step_of(uint32_t size)
{
    return (size >> 1) + (size >> 3) + 3;
}

void tape_tans_build_parts(struct tape_tans_parts *parts)
{
    for (unsigned log = TAPE_TANS_LOG_MIN; log <= TAPE_TANS_LOG_MAX; log++) {
        for (uint32_t x = 1; x < 2u << log; x++) {
            unsigned bits = log - (31 - (unsigned)__builtin_clz(x | 1));
            uint64_t base = ((uint64_t)x << bits) - (1ull << log);
            parts->of[log][x] = base << TAPE_TANS_BASE_AT | (uint64_t)bits << TAPE_TANS_TOTAL_AT |
                                (uint64_t)bits << TAPE_TANS_BITS_AT;
        }
    }
}

/* The tokens by rank: each as often as it counts, so that those of state s are at s times the
 * step's inverse. Eight at once and without asking for those that do not occur: how often a token
 * counts is not to be guessed. */
static void rank(uint8_t *ranks, const uint16_t *counts, uint32_t tokens)
{
    for (uint32_t token = 0; token < tokens; token++) {
        uint64_t eight = token * 0x0101010101010101ull;
        uint32_t count = counts[token];
        memcpy(ranks, &eight, sizeof eight);
        for (uint32_t i = sizeof eight; i < count; i += sizeof eight)
            memcpy(ranks + i, &eight, sizeof eight);
        ranks += count;
    }
}

/* The number that times the step is 1, modulo a power of two: each turn doubles the right bits. */
static uint32_t invert(uint32_t step)
{
    uint32_t inverse = step; /* right in three bits, as of every odd number */
    for (int bits = 3; bits < TAPE_TANS_LOG_MAX; bits *= 2)
        inverse *= 2 - step * inverse;
    return inverse;
}

void tape_tans_build_entries(const struct tape_tans_parts *parts, tape_tans_entry *entries,
                             const uint16_t *counts, uint32_t tokens, unsigned log)
{
    uint8_t ranks[TAPE_TANS_STATES_MAX + sizeof(uint64_t)];
    const tape_tans_entry *next[TAPE_TOKENS];
    tape_tans_entry part[TAPE_TOKENS]; /* what depends on the token only */
    uint32_t size = 1u << log, turn = invert(step_of(size)), at = 0;
    rank(ranks, counts, tokens);
    for (uint32_t token = 0; token < tokens; token++) {
        uint64_t extra = tape_token_extra[token];
        part[token] = token | extra << TAPE_TANS_EXTRA_AT | extra << TAPE_TANS_TOTAL_AT;
        next[token] = parts->of[log] + counts[token];
    }
    for (uint32_t state = 0; state < size; state++) {
        uint8_t token = ranks[at];
        entries[state] = part[token] + *next[token]++;
        at = (at + turn) & (size - 1);
    }
}

void tape_tans_build_writer(struct tape_tans_writer *writer, const uint16_t *counts,
                            uint32_t tokens, unsigned log)
{
    uint8_t ranks[TAPE_TANS_STATES_MAX + sizeof(uint64_t)];
    uint16_t next[TAPE_TOKENS];
    uint32_t size = 1u << log, turn = invert(step_of(size)), sum = 0, at = 0;
    rank(ranks, counts, tokens);
    for (uint32_t token = 0; token < tokens; token++) {
        uint32_t count = counts[token];
        next[token] = (uint16_t)sum;
        /* of 1 as of 2, and of 0, which is never asked for, anything */
        unsigned most = log - (31 - (unsigned)__builtin_clz((count - (count > 0)) | 1));
        writer->rules[token].bits = (most << 16) - (count << most);
        writer->rules[token].find = (int32_t)sum - (int32_t)count;
        sum += count;
    }
    for (uint32_t state = 0; state < size; state++) {
        writer->states[next[ranks[at]]++] = (uint16_t)(size + state);
        at = (at + turn) & (size - 1);
    }
}

/* Takes from the most frequent down, where it costs least, until the counts add up. */
static void take_back(uint16_t *counts, uint32_t tokens, uint32_t excess)
{
    while (excess > 0) {
        uint32_t top = 0;
        for (uint32_t token = 1; token < tokens; token++)
            if (counts[token] > counts[top])
                top = token;
        uint32_t take = counts[top] / 8 + 1;
        take = take > excess ? excess : take;
        take = take >= counts[top] ? counts[top] - 1u : take;
        counts[top] = (uint16_t)(counts[top] - take);
        excess -= take;
    }
}

void tape_tans_normalise(const uint32_t *histogram, uint32_t tokens, uint32_t total, unsigned log,
                         uint16_t *counts)
{
    enum { POINT = 40 };
    uint32_t size = 1u << log, given = 0, largest = 0, rare = 0, rare_sum = 0;
    /* Tokens that deserve less than one state get one; the others, there is one at least, share
     * what is left. */
    uint32_t one = (total + size - 1) >> log;
    for (uint32_t token = 0; token < tokens; token++) {
        int is_rare = histogram[token] < one;
        rare += is_rare & (histogram[token] > 0);
        rare_sum += is_rare ? histogram[token] : 0;
    }
    uint64_t half = 1ull << (POINT - 1); /* of one */
    uint64_t share = ((uint64_t)(size - rare) << POINT) / (total - rare_sum);
    for (uint32_t token = 0; token < tokens; token++) {
        uint32_t count = (uint32_t)((histogram[token] * share + half) >> POINT);
        count = histogram[token] < one || count == 0 ? histogram[token] > 0 : count;
        counts[token] = (uint16_t)count;
        given += count;
        largest = histogram[token] > histogram[largest] ? token : largest;
    }
    if (given <= size)
        counts[largest] = (uint16_t)(counts[largest] + (size - given));
    else
        take_back(counts, tokens, given - size);
}
