#include "format/column_tokens.h"

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
        if (size == 0 || divides(&divisor, size))
            continue;
        factor = find_divisor(factor, size);
        divisor = prepare_divisor(factor);
    }
    for (uint32_t i = 0; i < count; i++)
        any |= residuals[i];
    *is_signed = any < 0;
    return factor == 0 ? 1 : factor;
}

/* Counting leading zeros is slow without its own instruction, and this loop does little else. Every
 * processor with BMI2 has it. */
#if defined(__x86_64__)
#define WITH_LZCNT __attribute__((target("bmi2,lzcnt")))
#define HAS_LZCNT  __builtin_cpu_supports("bmi2")
#else
#define WITH_LZCNT
#define HAS_LZCNT 0
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t find(int64_t *restrict residuals, uint32_t count, const struct divisor *divisor,
                     int is_signed, uint8_t *restrict tokens)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t residual = residuals[i];
        if (divisor != NULL)
            residual = (int64_t)((uint64_t)(residual >> divisor->zeros) * divisor->inverse);
        uint64_t coded = is_signed ? tape_bytes_zigzag(residual) : (uint64_t)residual;
        any |= coded;
        residuals[i] = (int64_t)coded;
        tokens[i] = tape_token_of(coded);
    }
    return any;
}

INLINE uint64_t find_scaled(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed,
                            uint8_t *tokens)
{
    if (factor == 1)
        return is_signed ? find(residuals, count, NULL, 1, tokens)
                         : find(residuals, count, NULL, 0, tokens);
    struct divisor divisor = prepare_divisor(factor);
    return is_signed ? find(residuals, count, &divisor, 1, tokens)
                     : find(residuals, count, &divisor, 0, tokens);
}

WITH_LZCNT static uint64_t find_with_lzcnt(int64_t *residuals, uint32_t count, uint64_t factor,
                                           int is_signed, uint8_t *tokens)
{
    return find_scaled(residuals, count, factor, is_signed, tokens);
}

static uint64_t find_plainly(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed,
                             uint8_t *tokens)
{
    return find_scaled(residuals, count, factor, is_signed, tokens);
}

uint64_t tape_column_tokens_find(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed,
                                 uint8_t *tokens)
{
    return (HAS_LZCNT ? find_with_lzcnt : find_plainly)(residuals, count, factor, is_signed,
                                                        tokens);
}
