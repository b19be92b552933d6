#include "format/token.h"

/* Six positions below 64 share the exact tokens; then four tokens a position, above 32 bits two. */
#define RULE(first, shift, mask)                                                                   \
    ((uint32_t)(first) | (uint32_t)(shift) << 8 | (uint32_t)(mask) << 16)
#define EXACT(top)         RULE(0, 0, TAPE_TOKEN_EXACT - 1)
#define FOUR(top)          RULE(TAPE_TOKEN_EXACT + 4 * ((top)-6), (top)-2, 3)
#define TWO(top)           RULE(TAPE_TOKEN_WIDE + 2 * ((top)-32), (top)-1, 1)

#define TWICE(each, top)   each(top), each((top) + 1)
#define FOURFOLD(X, top)   TWICE(X, top), TWICE(X, (top) + 2)
#define EIGHTFOLD(X, top)  FOURFOLD(X, top), FOURFOLD(X, (top) + 4)
#define SIXTEENFOLD(X, at) EIGHTFOLD(X, at), EIGHTFOLD(X, (at) + 8)

const uint32_t tape_token_rules[64] = {
    FOURFOLD(EXACT, 0),    TWICE(EXACT, 4),      TWICE(FOUR, 6),       EIGHTFOLD(FOUR, 8),
    SIXTEENFOLD(FOUR, 16), SIXTEENFOLD(TWO, 32), SIXTEENFOLD(TWO, 48),
};

#define EXTRA(t)                                                                                   \
    ((t) < TAPE_TOKEN_EXACT  ? 0                                                                   \
     : (t) < TAPE_TOKEN_WIDE ? ((t)-TAPE_TOKEN_EXACT) / 4 + 4                                      \
     : (t) < TAPE_TOKENS     ? ((t)-TAPE_TOKEN_WIDE) / 2 + 31                                      \
                             : 0)
#define BASE(t)                                                                                    \
    ((t) < TAPE_TOKEN_EXACT  ? (uint64_t)(t)                                                       \
     : (t) < TAPE_TOKEN_WIDE ? (uint64_t)(4 + ((t)&3)) << EXTRA(t)                                 \
     : (t) < TAPE_TOKENS     ? (uint64_t)(2 + ((t)&1)) << EXTRA(t)                                 \
                             : 0)
#define CLASS(t)                                                                                   \
    ((t) < 4                  ? (t)                                                                \
     : (t) < 8                ? 4                                                                  \
     : (t) < 16               ? 5                                                                  \
     : (t) < TAPE_TOKEN_EXACT ? 6                                                                  \
     : (t) < TAPE_TOKENS      ? 7                                                                  \
                              : 0)
#define ALL(X) SIXTY_FOUR(X, 0), SIXTY_FOUR(X, 64), SIXTY_FOUR(X, 128), SIXTY_FOUR(X, 192)
#define SIXTY_FOUR(X, at)                                                                          \
    SIXTEENFOLD(X, at), SIXTEENFOLD(X, (at) + 16), SIXTEENFOLD(X, (at) + 32),                      \
        SIXTEENFOLD(X, (at) + 48)

const uint8_t tape_token_extra[256] = {ALL(EXTRA)};
const uint64_t tape_token_base[256] = {ALL(BASE)};
const uint8_t tape_token_class[256] = {ALL(CLASS)};
