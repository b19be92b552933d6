#include "format/tans.h"

#include <string.h>

/* Spreads the tokens over the states so that each stands about evenly: the step is odd and larger
 * than half, so that every state is met once. */
static void spread(uint8_t *tokens_of, const uint16_t *counts, uint32_t tokens, unsigned log)
{
    uint32_t size = 1u << log, step = (size >> 1) + (size >> 3) + 3, at = 0;
    for (uint32_t token = 0; token < tokens; token++) {
        for (uint32_t i = counts[token]; i > 0; i--) {
            tokens_of[at] = (uint8_t)token;
            at = (at + step) & (size - 1);
        }
    }
}

void tape_tans_build_parts(struct tape_tans_parts *parts)
{
    for (unsigned log = TAPE_TANS_LOG_MIN; log <= TAPE_TANS_LOG_MAX; log++) {
        for (uint32_t x = 1; x < 2u << log; x++) {
            unsigned bits = log - (31 - (unsigned)__builtin_clz(x | 1));
            uint64_t base = ((uint64_t)x << bits) - (1ull << log), mask = (1ull << bits) - 1;
            parts->of[log][x] = base | mask << 16 | (uint64_t)bits << 40 | (uint64_t)bits << 56;
        }
    }
}

void tape_tans_build_entries(const struct tape_tans_parts *parts, tape_tans_entry *entries,
                             const uint16_t *counts, uint32_t tokens, unsigned log)
{
    uint8_t tokens_of[TAPE_TANS_STATES_MAX];
    const tape_tans_entry *next[TAPE_TOKENS];
    tape_tans_entry part[TAPE_TOKENS]; /* what depends on the token only */
    uint32_t size = 1u << log;
    spread(tokens_of, counts, tokens, log);
    for (uint32_t token = 0; token < tokens; token++) {
        uint64_t extra = tape_token_extra[token];
        part[token] = extra << 32 | (uint64_t)token << 48 | extra << 56;
        next[token] = parts->of[log] + counts[token];
    }
    for (uint32_t state = 0; state < size; state++) {
        uint8_t token = tokens_of[state];
        entries[state] = part[token] + *next[token]++;
    }
}

void tape_tans_build_writer(struct tape_tans_writer *writer, const uint16_t *counts,
                            uint32_t tokens, unsigned log)
{
    uint8_t tokens_of[TAPE_TANS_STATES_MAX];
    uint16_t next[TAPE_TOKENS];
    uint32_t size = 1u << log, sum = 0;
    spread(tokens_of, counts, tokens, log);
    for (uint32_t token = 0; token < tokens; token++) {
        uint32_t count = counts[token];
        next[token] = (uint16_t)sum;
        if (count > 0) {
            unsigned most = count == 1 ? log : log - (31 - (unsigned)__builtin_clz(count - 1));
            writer->rules[token].bits = (most << 16) - (count << most);
            writer->rules[token].find = (int32_t)sum - (int32_t)count;
        }
        sum += count;
    }
    for (uint32_t state = 0; state < size; state++)
        writer->states[next[tokens_of[state]]++] = (uint16_t)(size + state);
    sum = 0;
    for (uint32_t token = 0; token < tokens; token++) {
        if (counts[token] > 0)
            writer->first[token] = writer->states[sum];
        sum += counts[token];
    }
}

void tape_tans_normalise(const uint32_t *histogram, uint32_t tokens, uint32_t total, unsigned log,
                         uint16_t *counts)
{
    uint32_t size = 1u << log, given = 0, largest = 0;
    for (uint32_t token = 0; token < tokens; token++) {
        uint64_t share = ((uint64_t)histogram[token] << log) + total / 2;
        uint32_t count = histogram[token] == 0 ? 0 : (uint32_t)(share / total);
        if (histogram[token] > 0 && count == 0)
            count = 1;
        counts[token] = (uint16_t)count;
        given += count;
        if (histogram[token] > histogram[largest])
            largest = token;
    }
    if (given <= size) {
        counts[largest] = (uint16_t)(counts[largest] + (size - given));
        return;
    }
    /* Too many were rounded up: take back where it costs least, from the most frequent down. */
    uint32_t excess = given - size;
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
