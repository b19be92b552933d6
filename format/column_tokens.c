#include "format/column_tokens.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "format/bytes.h"
#include "format/token.h"

static uint64_t find_divisor(uint64_t left, uint64_t right)
{
    while (right != 0) {
        uint64_t rest = left % right;
        left = right;
        right = rest;
    }
    return left;
}

/* Division without dividing: of a multiple of the factor, the quotient is the number, shifted by
 * the factor's zeros, times the inverse of its odd part; of any other number that is above the
 * limit. */
struct divisor {
    uint64_t inverse, limit, low_mask;
    unsigned zeros;
};

static struct divisor prepare_divisor(uint64_t factor)
{
    struct divisor divisor = {.zeros = (unsigned)__builtin_ctzll(factor)};
    uint64_t odd = factor >> divisor.zeros, inverse = odd; /* right in three bits */
    for (int bits = 3; bits < 64; bits *= 2)
        inverse *= 2 - odd * inverse;
    divisor.inverse = inverse;
    divisor.limit = UINT64_MAX / odd;
    divisor.low_mask = (1ull << divisor.zeros) - 1;
    return divisor;
}

static inline int divides(const struct divisor *divisor, uint64_t size)
{
    return (size & divisor->low_mask) == 0 &&
           (size >> divisor->zeros) * divisor->inverse <= divisor->limit;
}

uint64_t tape_column_tokens_factor(const int64_t *residuals, uint32_t count, int *is_signed)
{
    uint64_t factor = 0;
    struct divisor divisor = {.low_mask = UINT64_MAX};
    int64_t any = 0;
    for (uint32_t i = 0; i < count && factor != 1; i++) {
        uint64_t size = residuals[i] < 0 ? 0 - (uint64_t)residuals[i] : (uint64_t)residuals[i];
        if (divides(&divisor, size)) /* as 0 is by all, by the first one too */
            continue;
        factor = find_divisor(factor, size);
        divisor = prepare_divisor(factor);
    }
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4)
        any |= (residuals[i] | residuals[i + 1]) | (residuals[i + 2] | residuals[i + 3]);
    for (; i < count; i++)
        any |= residuals[i];
    *is_signed = any < 0;
    return factor == 0 ? 1 : factor;
}

#define INLINE static inline __attribute__((always_inline))

/* From i on. Returns the residuals or-ed. */
INLINE uint64_t find_from(int64_t *restrict residuals, uint32_t i, uint32_t count, int is_signed,
                          uint8_t *restrict tokens)
{
    uint64_t any = 0;
    for (; i < count; i++) {
        uint64_t coded = (uint64_t)residuals[i];
        if (is_signed)
            coded = tape_bytes_zigzag(residuals[i]);
        any |= coded;
        residuals[i] = (int64_t)coded;
        tokens[i] = tape_token_of(coded);
    }
    return any;
}

static uint64_t find_plainly(int64_t *residuals, uint32_t count, int is_signed, uint8_t *tokens)
{
    return is_signed ? find_from(residuals, 0, count, 1, tokens)
                     : find_from(residuals, 0, count, 0, tokens);
}

#if defined(__x86_64__)
#define WITH_AVX2 __attribute__((target("avx2")))
#define HAS_AVX2  __builtin_cpu_supports("avx2")

/* Four at once, right for residuals below 2^32: a token's position of the highest bit and the two
 * bits below are what a floating-point number keeps in its exponent and the top of its mantissa.
 * Which number that is follows from its bits, without a conversion that these processors lack:
 * those of 2^52 + u are those of 2^52, plus u. */
INLINE WITH_AVX2 uint64_t find_fours(int64_t *restrict residuals, uint32_t count, int is_signed,
                                     uint8_t *restrict tokens)
{
    enum { MANTISSA = 52, FIRST = 4 * (1023 + 6) - TAPE_TOKEN_EXACT };
    const __m256i zero = _mm256_setzero_si256(), first = _mm256_set1_epi64x(FIRST);
    const __m256i exact = _mm256_set1_epi64x(TAPE_TOKEN_EXACT);
    const __m256d power = _mm256_set1_pd((double)(1ull << MANTISSA));
    /* the lowest byte of both numbers of each half */
    const __m256i lowest = _mm256_set1_epi64x((int64_t)0xffffffffffff0800);
    __m256i any = zero;
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m256i *at = (__m256i *)(void *)(residuals + i);
        __m256i coded = _mm256_loadu_si256(at);
        if (is_signed) {
            __m256i sign = _mm256_cmpgt_epi64(zero, coded);
            coded = _mm256_xor_si256(_mm256_add_epi64(coded, coded), sign);
            _mm256_storeu_si256(at, coded);
        }
        any = _mm256_or_si256(any, coded);
        __m256d whole = _mm256_castsi256_pd(_mm256_or_si256(coded, _mm256_castpd_si256(power)));
        __m256i bits = _mm256_castpd_si256(_mm256_sub_pd(whole, power));
        __m256i token = _mm256_sub_epi64(_mm256_srli_epi64(bits, MANTISSA - 2), first);
        token = _mm256_blendv_epi8(token, coded, _mm256_cmpgt_epi64(exact, coded));
        token = _mm256_shuffle_epi8(token, lowest);
        __m128i four =
            _mm_unpacklo_epi16(_mm256_castsi256_si128(token), _mm256_extracti128_si256(token, 1));
        tape_bytes_put_u32(tokens + i, (uint32_t)_mm_cvtsi128_si32(four));
    }
    __m128i half = _mm_or_si128(_mm256_castsi256_si128(any), _mm256_extracti128_si256(any, 1));
    uint64_t sum = (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(half, _mm_unpackhi_epi64(half, half)));
    return sum | find_from(residuals, i, count, is_signed, tokens);
}

static WITH_AVX2 uint64_t find_with_avx2(int64_t *residuals, uint32_t count, int is_signed,
                                         uint8_t *tokens)
{
    uint64_t any = is_signed ? find_fours(residuals, count, 1, tokens)
                             : find_fours(residuals, count, 0, tokens);
    if (any > UINT32_MAX) /* they are coded already */
        find_from(residuals, 0, count, 0, tokens);
    return any;
}
#else
#define HAS_AVX2       0
#define find_with_avx2 find_plainly
#endif

uint64_t tape_column_tokens_find(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed,
                                 uint8_t *tokens)
{
    if (factor > 1) {
        struct divisor divisor = prepare_divisor(factor);
        for (uint32_t i = 0; i < count; i++)
            residuals[i] = (int64_t)((uint64_t)(residuals[i] >> divisor.zeros) * divisor.inverse);
    }
    return (HAS_AVX2 ? find_with_avx2 : find_plainly)(residuals, count, is_signed, tokens);
}
