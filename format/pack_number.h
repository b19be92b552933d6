/* Texts of numbers and times to integers and back to nothing but them: only what the packed form
 * writes in exactly the same way is taken. Private to the packer; inline because every cycle counts
 * there. */
#ifndef TAPE_FORMAT_PACK_NUMBER_H
#define TAPE_FORMAT_PACK_NUMBER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && !defined(TAPE_PACK_NUMBER_PORTABLE)
#include <immintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_PACK_READ_AHEAD = 64 }; /* so many bytes behind a text are loaded, never used */

static const int64_t tape_pack_number_tens[19] = {1,
                                                  10,
                                                  100,
                                                  1000,
                                                  10000,
                                                  100000,
                                                  1000000,
                                                  10000000,
                                                  100000000,
                                                  1000000000,
                                                  10000000000,
                                                  100000000000,
                                                  1000000000000,
                                                  10000000000000,
                                                  100000000000000,
                                                  1000000000000000,
                                                  10000000000000000,
                                                  100000000000000000,
                                                  1000000000000000000};

struct tape_pack_number {
    int64_t value;
    uint32_t decimals;
};

/* tape_pack_number_read_slow(from, number): the same as without _slow, byte by byte. */
const uint8_t *tape_pack_number_read_slow(const uint8_t *from, struct tape_pack_number *number);

/* tape_pack_number_read_time(from, number): behind the "YYYY-MM-DDTHH:MM:SS[.f…]Z" at ${from}, or
 * NULL; the value counts units of 10^-decimals s. */
const uint8_t *tape_pack_number_read_time(const uint8_t *from, struct tape_pack_number *number);

static inline uint64_t tape_pack_number_load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word ^ 0x3030303030303030;
}

/* How many of the eight bytes, from the first on, are digits. A byte above 9 may carry into the
 * next, but what comes behind the first is not looked at. */
static inline unsigned tape_pack_number_digits(uint64_t word)
{
    uint64_t others = ((word + 0x7676767676767676) | word) & 0x8080808080808080;
    return others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
}

/* The number of the first count digits of word, 1 to 8. Neighbours are joined: to 4 of two digits,
 * 2 of four, one of eight. */
static inline uint64_t tape_pack_number_join(uint64_t word, unsigned count)
{
    word <<= 64 - 8 * count;
    word = word * 2561 >> 8;
    word = (word & 0x00ff00ff00ff00ff) * 6553601 >> 16;
    return (word & 0x0000ffff0000ffff) * 42949672960001 >> 32;
}

/* The number behind a '-'. Zeros are as frequent as not: their branch must not be everybody's. */
static inline const uint8_t *tape_pack_number_negate(const uint8_t *at,
                                                     struct tape_pack_number *number)
{
    if (number->value == 0)
        return NULL;
    number->value = -number->value;
    return at;
}

/* tape_pack_number_read(from, number): behind the canonical number at ${from}, or NULL: an optional
 * '-', no needless zero in front, at most 18 decimals, no exponent, no "-0", a mantissa below
 * 10^18. What follows it is not looked at. */
static inline const uint8_t *tape_pack_number_read(const uint8_t *from,
                                                   struct tape_pack_number *number)
{
    unsigned negative = *from == '-';
    const uint8_t *at = from + negative;
    uint64_t word = tape_pack_number_load(at);
    unsigned whole = tape_pack_number_digits(word), fraction = 0;
    if (whole == 0 || (*at == '0' && whole > 1))
        return NULL;
    uint64_t value = tape_pack_number_join(word, whole);
    at += whole;
    if (whole == 8) {
        word = tape_pack_number_load(at);
        unsigned more = tape_pack_number_digits(word);
        if (more == 8)
            return tape_pack_number_read_slow(from, number);
        if (more > 0)
            value =
                value * (uint64_t)tape_pack_number_tens[more] + tape_pack_number_join(word, more);
        whole += more;
        at += more;
    }
    if (*at == '.') {
        word = tape_pack_number_load(++at);
        fraction = tape_pack_number_digits(word);
        at += fraction;
        if (fraction == 0)
            return NULL;
        if (whole + fraction > 18 || (fraction == 8 && (uint8_t)(*at - '0') <= 9))
            return tape_pack_number_read_slow(from, number);
        value = value * (uint64_t)tape_pack_number_tens[fraction] +
                tape_pack_number_join(word, fraction);
    }
    number->value = (int64_t)value;
    number->decimals = fraction;
    return __builtin_expect(negative, 0) ? tape_pack_number_negate(at, number) : at;
}

/* How numbers of one place are laid out, so that the next may be looked for there: what stands
 * behind it is then found without waiting for it. Zero-initialise: no number is laid out so.
 * Invariant: all but the last three are of one number that was measured. */
struct tape_pack_number_layout {
    uint32_t looked_at, others; /* its bytes and the one behind it; which of them are no digits */
    uint8_t places[16];         /* where its digits go */
    uint8_t behind_whole;       /* the byte there */
    uint8_t not_first;          /* what it must not begin with */
    uint8_t whole, fraction, bytes;
    uint8_t last_whole, last_bytes; /* of the last number that was measured */
    uint8_t alike;                  /* how many in turn were as the last */
};

enum { TAPE_PACK_NUMBER_TRUSTED = 8 }; /* so many alike: the next is looked for there, too */

#if defined(__x86_64__) && !defined(TAPE_PACK_NUMBER_PORTABLE)
#define TAPE_PACK_NUMBER_WIDE   1
#define TAPE_PACK_NUMBER_TARGET __attribute__((target("avx2,bmi,bmi2")))

#define TAPE_PACK_NUMBER_INLINE static inline __attribute__((always_inline)) TAPE_PACK_NUMBER_TARGET

/* How a number's bytes fall: whole digits and, behind a point, a fraction. */
struct tape_pack_number_span {
    unsigned whole, fraction, bytes;
};

/* tape_pack_number_measure(at, others, span): others has a bit for each of the bytes from ${at} on
 * that is no digit. 0: not of a form that tape_pack_number_join_wide() takes. */
TAPE_PACK_NUMBER_INLINE int tape_pack_number_measure(const uint8_t *at, unsigned others,
                                                     struct tape_pack_number_span *span)
{
    unsigned whole = _tzcnt_u32(others);
    /* One branch that is never taken: a leading zero alone is as frequent as not. */
    unsigned limit = *at == '0' ? 1 : 15;
    if (__builtin_expect(whole - 1 >= limit, 0))
        return 0;
    span->whole = span->bytes = whole;
    span->fraction = 0;
    if (at[whole] == '.') {
        span->bytes = _tzcnt_u32(_blsr_u32(others));
        span->fraction = span->bytes - whole - 1;
        return (span->fraction > 0) & (span->bytes < 16);
    }
    return 1;
}

/* tape_pack_number_places(span): where the digits of sixteen bytes go: to their end, those before
 * the point one further. */
TAPE_PACK_NUMBER_INLINE __m128i tape_pack_number_places(const struct tape_pack_number_span *span)
{
    /* Loaded from 16 - n on: places 16 - n and above take the byte n before, all others none. */
    static const int8_t places[48] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                      -1, -1, -1, -1, 0,  1,  2,  3,  4,  5,  6,  7,
                                      8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                                      20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    /* Loaded from n on: -1 but for the last n places. */
    static const int8_t before[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                      -1, -1, -1, -1, -1, 0,  0,  0,  0,  0,  0,
                                      0,  0,  0,  0,  0,  0,  0,  0,  0,  0};
    const void *behind = places + span->whole + 1 + span->fraction;
    return _mm_add_epi8(_mm_loadu_si128((const __m128i *)behind),
                        _mm_loadu_si128((const __m128i *)(const void *)(before + span->fraction)));
}

/* tape_pack_number_join_wide(digits, places): the values of two numbers, whose bytes less '0' and
 * their places are the halves: in the first word of each half. */
TAPE_PACK_NUMBER_INLINE __m256i tape_pack_number_join_wide(__m256i digits, __m256i places)
{
    digits = _mm256_shuffle_epi8(digits, places);
    __m256i pairs = _mm256_maddubs_epi16(digits, _mm256_set1_epi16(1 << 8 | 10));
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(1 << 16 | 100));
    __m256i eights =
        _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), _mm256_set1_epi32(1 << 16 | 10000));
    __m256i high = _mm256_mul_epu32(eights, _mm256_set1_epi64x(100000000));
    return _mm256_add_epi64(high, _mm256_srli_epi64(eights, 32));
}

/* tape_pack_number_is_alike(at, others, layout): 1 when the number at ${at} is laid out so. */
TAPE_PACK_NUMBER_INLINE int tape_pack_number_is_alike(const uint8_t *at, unsigned others,
                                                      const struct tape_pack_number_layout *layout)
{
    return (others & layout->looked_at) == layout->others && *at != layout->not_first &&
           at[layout->whole] == layout->behind_whole;
}

/* tape_pack_number_keep(at, others, span, layout): of a number that was measured. */
TAPE_PACK_NUMBER_INLINE void tape_pack_number_keep(const uint8_t *at, unsigned others,
                                                   const struct tape_pack_number_span *span,
                                                   struct tape_pack_number_layout *layout)
{
    layout->looked_at = _bzhi_u32(UINT32_MAX, span->bytes + 1);
    layout->others = others & layout->looked_at;
    layout->behind_whole = at[span->whole];
    layout->not_first = span->whole > 1 ? '0' : 0;
    layout->whole = (uint8_t)span->whole;
    layout->fraction = (uint8_t)span->fraction;
    layout->bytes = (uint8_t)span->bytes;
    layout->alike = TAPE_PACK_NUMBER_TRUSTED;
    _mm_storeu_si128((__m128i *)(void *)layout->places, tape_pack_number_places(span));
}

TAPE_PACK_NUMBER_INLINE int64_t tape_pack_number_join_one(__m128i digits, __m128i places)
{
    __m256i value =
        tape_pack_number_join_wide(_mm256_castsi128_si256(digits), _mm256_castsi128_si256(places));
    return _mm_cvtsi128_si64(_mm256_castsi256_si128(value));
}

/* tape_pack_number_read_wide(from, layout, number): as tape_pack_number_read(), sixteen bytes at a
 * time; what is longer or negative goes the slow way. Only where the processor has AVX2 and BMI2.
 */
TAPE_PACK_NUMBER_INLINE const uint8_t *
tape_pack_number_read_wide(const uint8_t *from, struct tape_pack_number_layout *layout,
                           struct tape_pack_number *number)
{
    struct tape_pack_number_span span;
    __m128i text = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i digits = _mm_sub_epi8(text, _mm_set1_epi8('0'));
    unsigned others = (unsigned)_mm_movemask_epi8(_mm_adds_epu8(digits, _mm_set1_epi8(127 - 9)));
    if (layout->alike == TAPE_PACK_NUMBER_TRUSTED) {
        if (__builtin_expect(tape_pack_number_is_alike(from, others, layout), 1)) {
            const void *places = layout->places;
            number->value =
                tape_pack_number_join_one(digits, _mm_loadu_si128((const __m128i *)places));
            number->decimals = layout->fraction;
            return from + layout->bytes;
        }
        layout->alike = 0;
    }
    if (__builtin_expect(!tape_pack_number_measure(from, others, &span), 0)) {
        struct tape_pack_number slow; /* the number itself stays in registers */
        const uint8_t *to = tape_pack_number_read_slow(from, &slow);
        *number = slow;
        return to;
    }
    /* no branch: that of a place whose numbers change is not to be guessed */
    int is_alike = (span.whole == layout->last_whole) & (span.bytes == layout->last_bytes);
    layout->alike = (uint8_t)((layout->alike + 1) & -is_alike);
    layout->last_whole = (uint8_t)span.whole;
    layout->last_bytes = (uint8_t)span.bytes;
    if (__builtin_expect(layout->alike == TAPE_PACK_NUMBER_TRUSTED, 0))
        tape_pack_number_keep(from, others, &span, layout);
    number->value = tape_pack_number_join_one(digits, tape_pack_number_places(&span));
    number->decimals = span.fraction;
    return from + span.bytes;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
