#include "format/column_cost.h"

/* log2 in 1/65536, within 0.01: the exponent, and a parabola through the mantissa's ends. */
static uint64_t log2_fixed(uint32_t value)
{
    unsigned top = 31 - (unsigned)__builtin_clz(value);
    uint64_t fraction = (((uint64_t)value << 16) >> top) - 65536;
    uint64_t bend = fraction * (65536 - fraction) >> 16;
    return ((uint64_t)top << 16) + fraction + (bend * 22713 >> 16);
}

void tape_column_histogram_sum(struct tape_column_histogram *histogram, uint32_t tokens)
{
    uint32_t total = 0, distinct = 0, last = 0;
    uint64_t extra_bits = 0;
    /* no branch: which tokens occur is not to be guessed */
    for (uint32_t token = 0; token < tokens; token++) {
        uint32_t count = histogram->counts[token];
        total += count;
        distinct += count > 0;
        last = count > 0 ? token + 1 : last;
        extra_bits += (uint64_t)count * tape_token_extra[token];
    }
    histogram->total = total;
    histogram->distinct = distinct;
    histogram->tokens = last;
    histogram->extra_bits = extra_bits;
}

uint64_t tape_column_cost_bits(const struct tape_column_histogram *histogram)
{
    uint64_t sum = 0;
    if (histogram->total == 0)
        return 0;
    for (unsigned token = 0; token < histogram->tokens; token++)
        if (histogram->counts[token] > 0)
            sum += histogram->counts[token] * log2_fixed(histogram->counts[token]);
    uint64_t most = histogram->total * log2_fixed(histogram->total);
    return ((most > sum ? most - sum : 0) >> 16) + histogram->extra_bits;
}
