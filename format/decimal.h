/* Digits to integers, eight at a time. Private to the tick decoder; inline because every cycle
 * counts there. */
#ifndef TAPE_FORMAT_DECIMAL_H
#define TAPE_FORMAT_DECIMAL_H

#include <string.h>

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define TAPE_DECIMAL_EIGHT 1
#endif

/* tape_decimal_integer_slow(from, to), tape_decimal_read_slow(decimal): the same as those without
 * _slow, byte by byte. The latter expects text to be set and the rest 0. */
int64_t tape_decimal_integer_slow(const char *from, const char *to);
int tape_decimal_read_slow(struct tape_decimal *decimal);

#ifdef TAPE_DECIMAL_EIGHT
static inline uint64_t tape_decimal_load(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word ^ 0x3030303030303030; /* digits to 0..9, all else above */
}

/* 1 when all eight bytes are 0 to 9. */
static inline int tape_decimal_all_digits(uint64_t word)
{
    return (((word + 0x7676767676767676) | word) & 0x8080808080808080) == 0;
}

/* The number of eight digits, the first in the lowest byte. Neighbours are joined: to 4 of two
 * digits, 2 of four, one of eight. */
static inline uint64_t tape_decimal_join(uint64_t word)
{
    word = word * 2561 >> 8;
    word = (word & 0x00ff00ff00ff00ff) * 6553601 >> 16;
    return (word & 0x0000ffff0000ffff) * 42949672960001 >> 32;
}

static inline uint64_t tape_decimal_power(unsigned exponent)
{
    static const uint32_t power[9] = {1,      10,      100,      1000,     10000,
                                      100000, 1000000, 10000000, 100000000};
    return power[exponent];
}
#endif

/* tape_decimal_integer(from, to, end): the plain integer that stands from ${from} to ${to}, or
 * TAPE_TICK_NONE. Bytes up to ${end} may be loaded, never used: that is what makes it fast. */
static inline int64_t tape_decimal_integer(const char *from, const char *to, const char *end)
{
#ifdef TAPE_DECIMAL_EIGHT
    size_t count = (size_t)(to - from);
    if (count >= 8 && count <= 16) {
        /* the first eight, and the last eight without those that are of the first */
        uint64_t first = tape_decimal_load(from), last = tape_decimal_load(to - 8);
        unsigned half = 4 * (16 - (unsigned)count); /* twice: a shift by 64 has no meaning */
        if (tape_decimal_all_digits(first) && tape_decimal_all_digits(last))
            return (int64_t)(tape_decimal_join(first) * tape_decimal_power((unsigned)count - 8) +
                             tape_decimal_join(last >> half >> half << half << half));
    } else if (count > 0 && count < 8 && end - from >= 8) {
        uint64_t word = tape_decimal_load(from) << 8 * (8 - count);
        if (tape_decimal_all_digits(word))
            return (int64_t)tape_decimal_join(word);
    }
#endif
    (void)end;
    return tape_decimal_integer_slow(from, to);
}

#ifdef TAPE_DECIMAL_EIGHT
/* Up to eight digits with a point between two of them: the point is taken out, then it is an
 * integer. 0: not of that form. Nine bytes are loaded. */
static inline int tape_decimal_read_short(const char *text, unsigned bytes,
                                          struct tape_decimal *decimal)
{
    uint64_t word = tape_decimal_load(text), point = word ^ 0x1e1e1e1e1e1e1e1e; /* '.' ^ '0' */
    uint64_t zeros = (point - 0x0101010101010101) & ~point & 0x8080808080808080;
    if (!zeros)
        return 0;
    unsigned whole = (unsigned)__builtin_ctzll(zeros) / 8; /* the lowest is exact */
    if (whole == 0 || whole >= bytes - 1 || (*text == '0' && whole > 1))
        return 0;
    uint64_t below = ((uint64_t)1 << 8 * whole) - 1;
    word = (word & below) | (tape_decimal_load(text + 1) & ~below);
    word <<= 8 * (9 - bytes);
    if (!tape_decimal_all_digits(word))
        return 0;
    decimal->value = (int64_t)tape_decimal_join(word);
    decimal->scale = (uint8_t)(bytes - 1 - whole);
    return 1;
}
#endif

/* tape_decimal_read(text, end, decimal): as tape_tick_parse_decimal; bytes up to ${end} may be
 * loaded. end >= text.data + text.bytes. */
static inline int tape_decimal_read(struct tape_slice text, const char *end,
                                    struct tape_decimal *decimal)
{
    decimal->text = text;
    decimal->value = 0;
    decimal->scale = 0;
    decimal->valid = 1;
#ifdef TAPE_DECIMAL_EIGHT
    if (text.bytes >= 3 && text.bytes <= 9 && end - text.data >= 9 &&
        tape_decimal_read_short(text.data, (unsigned)text.bytes, decimal))
        return 1;
#endif
    (void)end;
    return tape_decimal_read_slow(decimal);
}

#ifdef __cplusplus
}
#endif
#endif
