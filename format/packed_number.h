/* Numbers and times of packed templates as text. The functions may write up to 16 bytes more than
 * the text they return the end of; inline because every cycle counts there. */
#ifndef TAPE_FORMAT_PACKED_NUMBER_H
#define TAPE_FORMAT_PACKED_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#include "format/bytes.h"
#include "format/packed.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_PACKED_SLOT_MAX_BYTES = 40, /* of a number, a time, a UUID */
    TAPE_PACKED_EIGHT = 8,
    TAPE_PACKED_EIGHT_LIMIT = 100000000,
    TAPE_PACKED_SHORT_DECIMALS_MAX = 8, /* of what tape_packed_put_short* takes */
    TAPE_PACKED_INTEGER_MAX_BITS = 53,  /* 2^53 < 10^16 */
};

/* How a number is cut before its decimals: value / power = (2 * value * reciprocal >> 64) >> shift
 * for every value below 2^62. */
struct tape_packed_cut {
    uint64_t power, reciprocal;
    uint64_t align; /* power * align = 10^8, where decimals <= 8 */
    uint8_t shift;
    uint8_t decimals;
    uint8_t short_bits; /* 2^short_bits <= 10^8 * power */
};
extern const struct tape_packed_cut tape_packed_cuts[19];

/* tape_packed_quotient(value, cut): value / cut->power. */
static inline uint64_t tape_packed_quotient(uint64_t value, uint64_t reciprocal, unsigned shift)
{
    return (uint64_t)((unsigned __int128)(2 * value) * reciprocal >> 64) >> shift;
}

/* Sixteen digits, 0 to 9 each, the first in the lowest byte of high. */
struct tape_packed_digits {
    uint64_t high, low;
};

#define TAPE_PACKED_ASCII 0x3030303030303030ull

/* tape_packed_eight(value): the eight digits of a number below 10^8. Each step halves its fields:
 * quotient and remainder stand side by side. */
static inline uint64_t tape_packed_eight(uint64_t value)
{
    uint64_t fours = value / 10000;
    fours |= (value - fours * 10000) << 32;
    uint64_t twos = (fours * 5243 >> 19) & 0x0000007f0000007f;
    twos |= (fours - twos * 100) << 16;
    uint64_t ones = (twos * 103 >> 10) & 0x000f000f000f000f;
    return ones | (twos - ones * 10) << 8;
}

/* tape_packed_sixteen(high, low): the digits of two numbers below 10^8. */
static inline struct tape_packed_digits tape_packed_sixteen(uint64_t high, uint64_t low)
{
#ifdef __SSE2__
    __m128i value = _mm_set_epi64x((int64_t)low, (int64_t)high);
    __m128i fours = _mm_srli_epi64(_mm_mul_epu32(value, _mm_set1_epi64x(0xd1b71759)), 45);
    __m128i rest = _mm_sub_epi32(value, _mm_mul_epu32(fours, _mm_set1_epi64x(10000)));
    fours = _mm_or_si128(fours, _mm_slli_epi64(rest, 32));
    __m128i twos = _mm_srli_epi16(_mm_mulhi_epu16(fours, _mm_set1_epi16(5243)), 3);
    rest = _mm_sub_epi16(fours, _mm_mullo_epi16(twos, _mm_set1_epi16(100)));
    twos = _mm_or_si128(twos, _mm_slli_epi32(rest, 16));
    __m128i ones = _mm_srli_epi16(_mm_mullo_epi16(twos, _mm_set1_epi16(103)), 10);
    rest = _mm_sub_epi16(twos, _mm_mullo_epi16(ones, _mm_set1_epi16(10)));
    ones = _mm_or_si128(ones, _mm_slli_epi16(rest, 8));
    struct tape_packed_digits digits = {
        (uint64_t)_mm_cvtsi128_si64(ones),
        (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(ones, ones))};
    return digits;
#else
    struct tape_packed_digits digits = {tape_packed_eight(high), tape_packed_eight(low)};
    return digits;
#endif
}

/* Eight digits without the zeros before them, at least one. */
static inline uint8_t *tape_packed_put_stripped(uint8_t *at, uint64_t digits)
{
    unsigned zeros = (unsigned)__builtin_ctzll(digits | 1ull << 56) & 56;
    tape_bytes_put_u64(at, (digits + TAPE_PACKED_ASCII) >> zeros);
    return at + 8 - zeros / 8;
}

/* tape_packed_put_integer(at, value): value < 10^16. */
static inline uint8_t *tape_packed_put_integer(uint8_t *at, uint64_t value)
{
    uint64_t high = value / 100000000;
    struct tape_packed_digits digits = tape_packed_sixteen(high, value - high * 100000000);
    if (high == 0)
        return tape_packed_put_stripped(at, digits.low);
    at = tape_packed_put_stripped(at, digits.high);
    tape_bytes_put_u64(at, digits.low + TAPE_PACKED_ASCII);
    return at + 8;
}

/* --- the common case: numbers that have at most eight digits, or do without the zeros that all
 * numbers of their column end in --- */

/* Made by tape_packed_rule_of(decimals, zeros) for numbers of so many decimals, the last ${zeros}
 * of which are 0 and not put; decimals - zeros <= 7. */
struct tape_packed_rule {
    uint64_t reciprocal; /* value / 10^zeros is below 10^8 */
    uint64_t units;      /* a bit in the digit before the point */
    uint8_t shift;
    uint8_t whole; /* digits before the point, zeros and all */
    uint8_t point; /* bits before the decimals */
    uint8_t more;  /* bytes from the point on */
};
struct tape_packed_rule tape_packed_rule_of(unsigned decimals, unsigned zeros);

/* The digits of 0 to 9999, 0 to 9 each, the first in the lowest byte. */
extern const uint32_t tape_packed_fours[10000];

static inline uint64_t tape_packed_eight_fast(uint64_t value)
{
    uint64_t high = value * 3518437209 >> 45; /* value / 10000 */
    return tape_packed_fours[high] | (uint64_t)tape_packed_fours[value - high * 10000] << 32;
}

/* tape_packed_put_parts(at, value, rule): a number below 10^8, fixed: its integer part, and behind
 * it the point and the decimals. Returns where the point is: rule->more bytes before the end. */
static inline uint8_t *tape_packed_put_parts(uint8_t *at, uint64_t value,
                                             const struct tape_packed_rule *rule)
{
    uint64_t digits = tape_packed_eight_fast(value), text = digits + TAPE_PACKED_ASCII;
    unsigned zeros = (unsigned)__builtin_ctzll(digits | rule->units) & 56;
    tape_bytes_put_u64(at, text >> zeros);
    at += rule->whole - zeros / 8;
    tape_bytes_put_u64(at, text >> rule->point << 8 | '.');
    return at;
}

/* tape_packed_put_eight(at, value, rule): the same; returns the end. */
static inline uint8_t *tape_packed_put_eight(uint8_t *at, uint64_t value,
                                             const struct tape_packed_rule *rule)
{
    return tape_packed_put_parts(at, value, rule) + rule->more;
}

/* tape_packed_unscale(value, rule): value / 10^zeros. */
static inline uint64_t tape_packed_unscale(uint64_t value, const struct tape_packed_rule *rule)
{
    return tape_packed_quotient(value, rule->reciprocal, rule->shift);
}

/* The digits above the fourth of the last number put, which are most often those of the next: ids
 * and times rise slowly. Invariant: text are those of base, a multiple of 10^4 other than 0; or
 * base is TAPE_PACKED_NO_BASE. */
struct tape_packed_high {
    uint64_t base;
    uint8_t text[16];
    uint32_t length;
};
#define TAPE_PACKED_NO_BASE (UINT64_MAX - 10000)

/* tape_packed_put_other_high(at, value, high): the same, for a number with others. */
uint8_t *tape_packed_put_other_high(uint8_t *at, uint64_t value, struct tape_packed_high *high);

/* tape_packed_put_long(at, value, high): as put_integer. */
static inline uint8_t *tape_packed_put_long(uint8_t *at, uint64_t value,
                                            struct tape_packed_high *high)
{
    uint64_t low = value - high->base;
    if (low >= 10000)
        return tape_packed_put_other_high(at, value, high);
    memcpy(at, high->text, sizeof high->text);
    tape_bytes_put_u32(at + high->length, tape_packed_fours[low] + (uint32_t)TAPE_PACKED_ASCII);
    return at + high->length + 4;
}

/* value = the integer part and eight decimals, as digits; 1 <= cut->decimals <= 8 and value is
 * below 2^short_bits. */
static inline struct tape_packed_digits tape_packed_cut_short(uint64_t value,
                                                              const struct tape_packed_cut *cut)
{
    uint64_t whole = tape_packed_quotient(value, cut->reciprocal, cut->shift);
    return tape_packed_sixteen(whole, (value - whole * cut->power) * cut->align);
}

/* tape_packed_put_short_fixed(at, value, cut): as format fixed. */
static inline uint8_t *tape_packed_put_short_fixed(uint8_t *at, uint64_t value,
                                                   const struct tape_packed_cut *cut)
{
    struct tape_packed_digits digits = tape_packed_cut_short(value, cut);
    at = tape_packed_put_stripped(at, digits.high);
    *at = '.';
    tape_bytes_put_u64(at + 1, digits.low + TAPE_PACKED_ASCII);
    return at + 1 + cut->decimals;
}

/* tape_packed_put_shortest(at, value, cut, least): as format shortest, but at least ${least}
 * decimals (0 or 1) stay. */
static inline uint8_t *tape_packed_put_shortest(uint8_t *at, uint64_t value,
                                                const struct tape_packed_cut *cut, unsigned least)
{
    struct tape_packed_digits digits = tape_packed_cut_short(value, cut);
    unsigned used = digits.low == 0 ? least : 8 - (unsigned)__builtin_clzll(digits.low) / 8;
    at = tape_packed_put_stripped(at, digits.high);
    *at = '.';
    tape_bytes_put_u64(at + 1, digits.low + TAPE_PACKED_ASCII);
    return at + (used > 0) + used;
}

/* tape_packed_put_number(at, form, value, decimals): any number, any format but the times; each as
 * fixed. */
uint8_t *tape_packed_put_number(uint8_t *at, int form, int64_t value, unsigned decimals);

/* tape_packed_put_each(at, value, decimals): format each: as put_number, fast where numbers are
 * short. */
extern const struct tape_packed_rule tape_packed_rules[TAPE_PACKED_SHORT_DECIMALS_MAX];
static inline uint8_t *tape_packed_put_each(uint8_t *at, int64_t value, uint64_t decimals)
{
    if ((uint64_t)value < TAPE_PACKED_EIGHT_LIMIT && decimals < TAPE_PACKED_SHORT_DECIMALS_MAX)
        return tape_packed_put_eight(at, (uint64_t)value, &tape_packed_rules[decimals]);
    const struct tape_packed_cut *cut = &tape_packed_cuts[decimals];
    if ((uint64_t)value < 1ull << cut->short_bits && cut->short_bits > 0)
        return tape_packed_put_short_fixed(at, (uint64_t)value, cut);
    return tape_packed_put_number(at, TAPE_PACKED_FIXED, value, (unsigned)decimals);
}

/* tape_packed_put_time(at, form, value, decimals): formats time and time_shortest. */
uint8_t *tape_packed_put_time(uint8_t *at, int form, int64_t value, unsigned decimals);

/* tape_packed_time_range(decimals, least, most): the values of the years 0000 to 9999, as far as 64
 * bits hold them. */
void tape_packed_time_range(unsigned decimals, int64_t *least, int64_t *most);

/* tape_packed_put_uuid(at, bytes): 16 bytes as text of 36. */
uint8_t *tape_packed_put_uuid(uint8_t *at, const uint8_t bytes[16]);

#ifdef __cplusplus
}
#endif
#endif
