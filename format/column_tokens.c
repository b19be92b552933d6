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

/* What became of residuals. coded: all of them or-ed; rest: what division left over, anywhere. */
struct found {
    uint64_t coded, rest;
    int64_t sign; /* negative when one of them is */
};

/* From i on. divisor: NULL where the factor is 1. Multiplied by the inverse of the factor's odd
 * part and shifted by its zeros a multiple becomes the quotient; modulo 2^64 so does any other
 * number that leaves no rest, but that is large. */
INLINE void find_from(int64_t *restrict residuals, uint32_t i, uint32_t count,
                      const struct divisor *divisor, int is_signed, uint8_t *restrict tokens,
                      struct found *found)
{
    for (; i < count; i++) {
        int64_t quotient = residuals[i];
        if (divisor != NULL) {
            uint64_t product = (uint64_t)quotient * divisor->inverse;
            found->rest |= product & divisor->low_mask;
            quotient = (int64_t)product >> divisor->zeros;
        }
        uint64_t coded = is_signed ? tape_bytes_zigzag(quotient) : (uint64_t)quotient;
        found->coded |= coded;
        found->sign |= quotient;
        residuals[i] = (int64_t)coded;
        tokens[i] = tape_token_of(coded);
    }
}

typedef void find_tokens(int64_t *residuals, uint32_t count, const struct divisor *divisor,
                         int is_signed, uint8_t *tokens, struct found *found);

static void find_plainly(int64_t *residuals, uint32_t count, const struct divisor *divisor,
                         int is_signed, uint8_t *tokens, struct found *found)
{
    find_from(residuals, 0, count, divisor, is_signed, tokens, found);
}

#if defined(__x86_64__)
#define WITH_AVX2 __attribute__((target("avx2")))
#define HAS_AVX2  __builtin_cpu_supports("avx2")

/* The low 64 bits of four products. */
INLINE WITH_AVX2 __m256i multiply(__m256i one, __m256i other)
{
    __m256i low = _mm256_mul_epu32(one, other);
    __m256i crossed = _mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(one, 32), other),
                                       _mm256_mul_epu32(one, _mm256_srli_epi64(other, 32)));
    return _mm256_add_epi64(low, _mm256_slli_epi64(crossed, 32));
}

INLINE WITH_AVX2 uint64_t join(__m256i any)
{
    __m128i half = _mm_or_si128(_mm256_castsi256_si128(any), _mm256_extracti128_si256(any, 1));
    return (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(half, _mm_unpackhi_epi64(half, half)));
}

/* The tokens of four numbers below 2^32, in four bytes: a token's position of the highest bit and
 * the two bits below are what a floating-point number keeps in its exponent and the top of its
 * mantissa. Which number that is follows from its bits, without a conversion that these processors
 * lack: those of 2^52 + u are those of 2^52, plus u. */
INLINE WITH_AVX2 uint32_t find_four(__m256i coded)
{
    enum { MANTISSA = 52, FIRST = 4 * (1023 + 6) - TAPE_TOKEN_EXACT };
    const __m256d power = _mm256_set1_pd((double)(1ull << MANTISSA));
    /* the lowest byte of both numbers of each half */
    const __m256i lowest = _mm256_set1_epi64x((int64_t)0xffffffffffff0800);
    __m256d whole = _mm256_castsi256_pd(_mm256_or_si256(coded, _mm256_castpd_si256(power)));
    __m256i bits = _mm256_castpd_si256(_mm256_sub_pd(whole, power));
    __m256i token =
        _mm256_sub_epi64(_mm256_srli_epi64(bits, MANTISSA - 2), _mm256_set1_epi64x(FIRST));
    __m256i is_exact = _mm256_cmpgt_epi64(_mm256_set1_epi64x(TAPE_TOKEN_EXACT), coded);
    token = _mm256_shuffle_epi8(_mm256_blendv_epi8(token, coded, is_exact), lowest);
    __m128i four =
        _mm_unpacklo_epi16(_mm256_castsi256_si128(token), _mm256_extracti128_si256(token, 1));
    return (uint32_t)_mm_cvtsi128_si32(four);
}

INLINE WITH_AVX2 void find_fours(int64_t *restrict residuals, uint32_t count,
                                 const struct divisor *divisor, int is_signed,
                                 uint8_t *restrict tokens, struct found *found)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i top = _mm256_set1_epi64x(INT64_MIN);
    const __m128i zeros = _mm_cvtsi64_si128(divisor == NULL ? 0 : divisor->zeros);
    __m256i any = zero, rest = zero, sign = zero, inverse = zero;
    uint32_t i = 0;
    if (divisor != NULL)
        inverse = _mm256_set1_epi64x((int64_t)divisor->inverse);
    for (; i + 4 <= count; i += 4) {
        __m256i *at = (__m256i *)(void *)(residuals + i);
        __m256i coded = _mm256_loadu_si256(at);
        if (divisor != NULL) { /* there is no signed shift: the top is turned over, and back */
            coded = multiply(coded, inverse);
            rest = _mm256_or_si256(rest, coded);
            coded = _mm256_sub_epi64(_mm256_srl_epi64(_mm256_xor_si256(coded, top), zeros),
                                     _mm256_srl_epi64(top, zeros));
        }
        if (is_signed) {
            __m256i is_negative = _mm256_cmpgt_epi64(zero, coded);
            sign = _mm256_or_si256(sign, is_negative);
            coded = _mm256_xor_si256(_mm256_add_epi64(coded, coded), is_negative);
        }
        if (is_signed || divisor != NULL)
            _mm256_storeu_si256(at, coded);
        any = _mm256_or_si256(any, coded);
        tape_bytes_put_u32(tokens + i, find_four(coded));
    }
    found->coded = join(any);
    found->sign = (int64_t)(is_signed ? join(sign) : found->coded);
    found->rest = divisor == NULL ? 0 : join(rest) & divisor->low_mask;
    find_from(residuals, i, count, divisor, is_signed, tokens, found);
}

static WITH_AVX2 void find_with_avx2(int64_t *residuals, uint32_t count,
                                     const struct divisor *divisor, int is_signed, uint8_t *tokens,
                                     struct found *found)
{
    struct found wide = {0};
    if (divisor == NULL && is_signed)
        find_fours(residuals, count, NULL, 1, tokens, found);
    else if (divisor == NULL)
        find_fours(residuals, count, NULL, 0, tokens, found);
    else if (is_signed)
        find_fours(residuals, count, divisor, 1, tokens, found);
    else
        find_fours(residuals, count, divisor, 0, tokens, found);
    if (found->coded > UINT32_MAX) /* they are coded already */
        find_from(residuals, 0, count, NULL, 0, tokens, &wide);
}
#else
#define HAS_AVX2       0
#define find_with_avx2 find_plainly
#endif

uint64_t tape_column_tokens_find(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed,
                                 uint8_t *tokens, int *is_right)
{
    struct divisor divisor = prepare_divisor(factor);
    struct found found = {0};
    find_tokens *find = HAS_AVX2 ? find_with_avx2 : find_plainly;
    find(residuals, count, factor == 1 ? NULL : &divisor, is_signed, tokens, &found);
    /* Quotients are at most 2^63 / factor, or they are none; coded they may be twice as large. */
    uint64_t most = factor == 1 ? UINT64_MAX : UINT64_MAX / factor + 1;
    *is_right = found.rest == 0 && (found.sign < 0) == is_signed && found.coded / 2 <= most;
    return found.coded;
}
