/* Digits to integers, eight at a time. Private to the tick decoder; inline because every cycle
 * counts there. */
#ifndef TAPE_FORMAT_DECIMAL_H
#define TAPE_FORMAT_DECIMAL_H

#include <string.h>

#include "format/scan.h"
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
#endif

#ifdef TAPE_SCAN_SSE2
/* Sixteen bytes of zeros, then sixteen of ones. */
static inline const int8_t *tape_decimal_ones(void)
{
    static const int8_t ones[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    return ones;
}

/* Sixteen bytes, or eight, of which the last ${count} are all ones. */
static inline __m128i tape_decimal_last(size_t count)
{
    return _mm_loadu_si128((const __m128i *)(tape_decimal_ones() + count));
}

static inline __m128i tape_decimal_last_of_8(size_t count)
{
    return _mm_loadl_epi64((const __m128i *)(tape_decimal_ones() + 8 + count));
}

/* The numbers of the first and the last eight of sixteen digits, 0 to 9 each, as the low and the
 * high half: neighbours are joined to 8 of two digits, 4 of four, 2 of eight. */
static inline __attribute__((always_inline)) uint64_t tape_decimal_join_eights(__m128i digits)
{
    __m128i tens = _mm_and_si128(digits, _mm_set1_epi16(0xff));
    __m128i pairs =
        _mm_add_epi16(_mm_mullo_epi16(tens, _mm_set1_epi16(10)), _mm_srli_epi16(digits, 8));
    __m128i fours = _mm_madd_epi16(pairs, _mm_set1_epi32(1 << 16 | 100));
    __m128i eights = _mm_madd_epi16(_mm_packs_epi32(fours, fours), _mm_set1_epi32(1 << 16 | 10000));
    return (uint64_t)_mm_cvtsi128_si64(eights);
}

/* The number of sixteen digits, the first in the lowest byte. */
static inline __attribute__((always_inline)) uint64_t tape_decimal_join16(__m128i digits)
{
    uint64_t both = tape_decimal_join_eights(digits);
    return (both & 0xffffffff) * 100000000 + (both >> 32);
}
#endif

/* tape_decimal_integer(begin, from, to): the plain integer that stands from ${from} to ${to}, or
 * TAPE_TICK_NONE. Bytes from ${begin} on may be loaded, never used: that is what makes it fast. */
static inline int64_t tape_decimal_integer(const char *begin, const char *from, const char *to)
{
#ifdef TAPE_SCAN_SSE2
    size_t count = (size_t)(to - from);
    if (count > 0 && count <= 16 && to - begin >= 16) {
        __m128i text = _mm_loadu_si128((const __m128i *)(to - 16));
        __m128i digits =
            _mm_and_si128(_mm_sub_epi8(text, _mm_set1_epi8('0')), tape_decimal_last(count));
        __m128i others = _mm_cmpeq_epi8(_mm_max_epu8(digits, _mm_set1_epi8(10)), digits);
        if (_mm_movemask_epi8(others) == 0)
            return (int64_t)tape_decimal_join16(digits);
    }
#endif
    (void)begin;
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
