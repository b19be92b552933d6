#include "format/packed_number.h"

#include <string.h>

#include "format/packed.h"

/* {10^d, 2^(64 + s) / 10^d rounded up, 10^(8 - d), s + 1, d, floor(log2 10^(8 + d))} with s =
 * floor(log2 10^d); of 10^0 half of that, for 2^64 is one bit too many. */
const struct tape_packed_cut tape_packed_cuts[19] = {
    {1u, 0x8000000000000000, 100000000, 0, 0, 0},
    {10u, 0xcccccccccccccccd, 10000000, 4, 1, 29},
    {100u, 0xa3d70a3d70a3d70b, 1000000, 7, 2, 33},
    {1000u, 0x83126e978d4fdf3c, 100000, 10, 3, 36},
    {10000u, 0xd1b71758e219652c, 10000, 14, 4, 39},
    {100000u, 0xa7c5ac471b478424, 1000, 17, 5, 43},
    {1000000u, 0x8637bd05af6c69b6, 100, 20, 6, 46},
    {10000000u, 0xd6bf94d5e57a42bd, 10, 24, 7, 49},
    {100000000u, 0xabcc77118461cefd, 1, 27, 8, 53},
    {1000000000u, 0x89705f4136b4a598, 0, 30, 9, 0},
    {10000000000u, 0xdbe6fecebdedd5bf, 0, 34, 10, 0},
    {100000000000u, 0xafebff0bcb24aaff, 0, 37, 11, 0},
    {1000000000000u, 0x8cbccc096f5088cc, 0, 40, 12, 0},
    {10000000000000u, 0xe12e13424bb40e14, 0, 44, 13, 0},
    {100000000000000u, 0xb424dc35095cd810, 0, 47, 14, 0},
    {1000000000000000u, 0x901d7cf73ab0acda, 0, 50, 15, 0},
    {10000000000000000u, 0xe69594bec44de15c, 0, 54, 16, 0},
    {100000000000000000u, 0xb877aa3236a4b44a, 0, 57, 17, 0},
    {1000000000000000000u, 0x9392ee8e921d5d08, 0, 60, 18, 0},
};

#define FOUR(n) (n) / 1000 | (n) / 100 % 10 << 8 | (n) / 10 % 10 << 16 | (n) % 10 << 24
#define TEN(n)                                                                                     \
    FOUR(n), FOUR(n + 1), FOUR(n + 2), FOUR(n + 3), FOUR(n + 4), FOUR(n + 5), FOUR(n + 6),         \
        FOUR(n + 7), FOUR(n + 8), FOUR(n + 9)
#define HUNDRED(n)                                                                                 \
    TEN(n), TEN(n + 10), TEN(n + 20), TEN(n + 30), TEN(n + 40), TEN(n + 50), TEN(n + 60),          \
        TEN(n + 70), TEN(n + 80), TEN(n + 90)
#define THOUSAND(n)                                                                                \
    HUNDRED(n), HUNDRED(n + 100), HUNDRED(n + 200), HUNDRED(n + 300), HUNDRED(n + 400),            \
        HUNDRED(n + 500), HUNDRED(n + 600), HUNDRED(n + 700), HUNDRED(n + 800), HUNDRED(n + 900)
const uint32_t tape_packed_fours[10000] = {
    THOUSAND(0),    THOUSAND(1000), THOUSAND(2000), THOUSAND(3000), THOUSAND(4000),
    THOUSAND(5000), THOUSAND(6000), THOUSAND(7000), THOUSAND(8000), THOUSAND(9000)};
#undef THOUSAND
#undef HUNDRED
#undef TEN
#undef FOUR

struct tape_packed_rule tape_packed_rule_of(unsigned decimals, unsigned zeros)
{
    const struct tape_packed_cut *cut = &tape_packed_cuts[zeros];
    unsigned left = decimals - zeros;
    return (struct tape_packed_rule){
        .reciprocal = cut->reciprocal,
        .units = 1ull << 8 * (7 - left),
        .shift = cut->shift,
        .whole = (uint8_t)(8 - left),
        .point = (uint8_t)(left == 0 ? 56 : 8 * (8 - left)),
        .more = (uint8_t)(decimals == 0 ? 0 : 1 + left),
    };
}

/* tape_packed_rule_of(d, 0): nothing is cut off, so that there is no reciprocal. */
#define RULE(d)                                                                                    \
    {                                                                                              \
        .units = 1ull << 8 * (7 - (d)), .whole = 8 - (d), .point = (d) == 0 ? 56 : 8 * (8 - (d)),  \
        .more = (d) == 0 ? 0 : 1 + (d)                                                             \
    }
const struct tape_packed_rule tape_packed_rules[TAPE_PACKED_SHORT_DECIMALS_MAX] = {
    RULE(0), RULE(1), RULE(2), RULE(3), RULE(4), RULE(5), RULE(6), RULE(7)};
#undef RULE

uint8_t *tape_packed_put_other_high(uint8_t *at, uint64_t value, struct tape_packed_high *high)
{
    uint64_t above = value / 10000;
    high->base = above == 0 ? TAPE_PACKED_NO_BASE : above * 10000;
    if (above > 0)
        high->length = (uint32_t)(tape_packed_put_integer(high->text, above) - high->text);
    return tape_packed_put_integer(at, value);
}

static uint64_t power_of_ten(unsigned exponent)
{
    return tape_packed_cuts[exponent].power;
}

/* Any integer below 10^18. */
static uint8_t *put_whole(uint8_t *at, uint64_t value)
{
    const uint64_t sixteen = 10000000000000000;
    if (value < sixteen)
        return tape_packed_put_integer(at, value);
    at = tape_packed_put_integer(at, value / sixteen);
    value %= sixteen;
    struct tape_packed_digits digits = tape_packed_sixteen(value / 100000000, value % 100000000);
    tape_bytes_put_u64(at, digits.high + TAPE_PACKED_ASCII);
    tape_bytes_put_u64(at + 8, digits.low + TAPE_PACKED_ASCII);
    return at + 16;
}

/* The ${decimals} digits of part, zeros before it and all. */
static uint8_t *put_part(uint8_t *at, uint64_t part, unsigned decimals)
{
    while (decimals > 8) {
        decimals -= 8;
        uint64_t power = power_of_ten(decimals);
        tape_bytes_put_u64(at, tape_packed_eight(part / power) + TAPE_PACKED_ASCII);
        part %= power;
        at += 8;
    }
    uint64_t aligned = part * power_of_ten(8 - decimals);
    tape_bytes_put_u64(at, tape_packed_eight(aligned) + TAPE_PACKED_ASCII);
    return at + decimals;
}

/* A point and decimals; the zeros at the end are cut until ${least} are left, and the point when
 * none is. */
static uint8_t *put_fraction(uint8_t *at, uint64_t part, unsigned decimals, unsigned least)
{
    *at = '.';
    uint8_t *end = put_part(at + 1, part, decimals);
    while (end - at - 1 > least && end[-1] == '0')
        end--;
    return end == at + 1 ? at : end;
}

uint8_t *tape_packed_put_number(uint8_t *at, int form, int64_t value, unsigned decimals)
{
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    *at = '-';
    at += value < 0;
    at = put_whole(at, size / power_of_ten(decimals));
    if (decimals == 0)
        return at;
    unsigned least = form == TAPE_PACKED_SHORTEST         ? 0
                     : form == TAPE_PACKED_SHORTEST_POINT ? 1
                                                          : decimals;
    return put_fraction(at, size % power_of_ten(decimals), decimals, least);
}

/* --- times --- */

enum { DAY_S = 86400 };
static const int64_t least_s = -62167219200, most_s = 253402300799; /* years 0000, 9999 */

static int64_t divide_down(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

void tape_packed_time_range(unsigned decimals, int64_t *least, int64_t *most)
{
    int64_t power = (int64_t)power_of_ten(decimals);
    if (__builtin_mul_overflow(least_s, power, least))
        *least = INT64_MIN;
    if (__builtin_mul_overflow(most_s + 1, power, most))
        *most = INT64_MAX;
    else
        *most -= 1;
}

static uint8_t *put_two(uint8_t *at, unsigned value, char after)
{
    at[0] = (uint8_t)('0' + value / 10);
    at[1] = (uint8_t)('0' + value % 10);
    at[2] = (uint8_t)after;
    return at + 3;
}

/* YYYY-MM-DDT. Years are counted from March, so that the leap day is a year's last: 153 days are
 * five months from then on, 146097 are 400 years. */
static uint8_t *put_date(uint8_t *at, int64_t day)
{
    uint32_t days = (uint32_t)(day + 719468); /* since 0000-03-01; in range: not below -60 */
    uint32_t early = day < -719468;
    if (early)
        days += 146097;
    uint32_t era = days / 146097, of_era = days % 146097;
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153;
    uint32_t of_month = of_year - (153 * month + 2) / 5;
    year += 400 * era + (month >= 10) - 400 * early;
    at = put_two(at, year / 100, '0');
    at = put_two(at - 1, year % 100, '-');
    at = put_two(at, month + (month < 10 ? 3 : -9), '-');
    return put_two(at, of_month + 1, 'T');
}

uint8_t *tape_packed_put_time(uint8_t *at, int form, int64_t value, unsigned decimals)
{
    int64_t power = (int64_t)power_of_ten(decimals);
    int64_t seconds = divide_down(value, power), day = divide_down(seconds, DAY_S);
    uint32_t of_day = (uint32_t)(seconds - day * DAY_S);
    at = put_date(at, day);
    at = put_two(at, of_day / 3600, ':');
    at = put_two(at, of_day / 60 % 60, ':');
    at = put_two(at, of_day % 60, '.') - 1;
    if (decimals > 0)
        at = put_fraction(at, (uint64_t)value - (uint64_t)seconds * (uint64_t)power, decimals,
                          form == TAPE_PACKED_TIME ? decimals : 0);
    *at = 'Z';
    return at + 1;
}

/* --- UUIDs --- */

uint8_t *tape_packed_put_uuid(uint8_t *at, const uint8_t bytes[16])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = (uint8_t)digits[bytes[i] >> 4];
        *at++ = (uint8_t)digits[bytes[i] & 15];
    }
    return at;
}
