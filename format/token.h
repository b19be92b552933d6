/* A residual as a token and extra bits (FORMAT.md, "Tokens"): small numbers are tokens of their
 * own, larger ones share a token by their highest bits; the rest follows as plain bits. */
#ifndef TAPE_FORMAT_TOKEN_H
#define TAPE_FORMAT_TOKEN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_TOKEN_EXACT = 64, /* residuals below it are tokens themselves */
    TAPE_TOKEN_WIDE = 168, /* first token of residuals of 33 bits and more */
    TAPE_TOKENS = 232,
    TAPE_TOKEN_CLASSES = 8,
};

/* By the position of a residual's highest bit, in one word: from the lowest byte on where its
 * tokens begin, by how much to shift, and which bits then tell them apart. One rule for all sizes,
 * so that nothing has to be guessed by the processor. */
extern const uint32_t tape_token_rules[64];

/* How many of the residual's low bits follow a token; the smallest residual of a token; its class,
 * which is what contexts see of it (q of FORMAT.md), 0 to 7. Of numbers that are no token: 0. */
extern const uint8_t tape_token_extra[256];
extern const uint64_t tape_token_base[256];
extern const uint8_t tape_token_class[256];

/* tape_token_of(residual): its token. */
static inline uint8_t tape_token_of(uint64_t residual)
{
    uint64_t rule = tape_token_rules[63 - __builtin_clzll(residual | 1)];
    return (uint8_t)(rule + (residual >> (rule >> 8 & 63) & rule >> 16));
}

#ifdef __cplusplus
}
#endif
#endif
