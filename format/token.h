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

/* tape_token_of(residual): its token. */
static inline uint8_t tape_token_of(uint64_t residual)
{
    if (residual < TAPE_TOKEN_EXACT)
        return (uint8_t)residual;
    int top = 63 - __builtin_clzll(residual);
    if (top < 32)
        return (uint8_t)(TAPE_TOKEN_EXACT + 4 * (top - 6) + (int)(residual >> (top - 2) & 3));
    return (uint8_t)(TAPE_TOKEN_WIDE + 2 * (top - 32) + (int)(residual >> (top - 1) & 1));
}

/* tape_token_extra(token): how many of the residual's low bits follow it. */
static inline uint8_t tape_token_extra(uint8_t token)
{
    if (token < TAPE_TOKEN_EXACT)
        return 0;
    if (token < TAPE_TOKEN_WIDE)
        return (uint8_t)((token - TAPE_TOKEN_EXACT) / 4 + 4);
    return (uint8_t)((token - TAPE_TOKEN_WIDE) / 2 + 31);
}

/* tape_token_base(token): the smallest residual of the token. */
static inline uint64_t tape_token_base(uint8_t token)
{
    if (token < TAPE_TOKEN_EXACT)
        return token;
    if (token < TAPE_TOKEN_WIDE)
        return (uint64_t)(4 + (token & 3)) << tape_token_extra(token);
    return (uint64_t)(2 + (token & 1)) << tape_token_extra(token);
}

/* tape_token_class(token): q of FORMAT.md, what contexts see of a token; 0 to 7. */
static inline uint8_t tape_token_class(uint8_t token)
{
    if (token < 4)
        return token;
    if (token < 8)
        return 4;
    if (token < 16)
        return 5;
    return token < TAPE_TOKEN_EXACT ? 6 : 7;
}

#ifdef __cplusplus
}
#endif
#endif
