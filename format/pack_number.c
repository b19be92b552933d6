#include "format/pack_number.h"

#include <stddef.h>

enum { MANTISSA_DIGITS = 18, DECIMALS_MAX = 18 };

static int is_digit(uint8_t byte)
{
    return (uint8_t)(byte - '0') <= 9;
}

const uint8_t *tape_pack_number_read_slow(const uint8_t *from, struct tape_pack_number *number)
{
    const uint64_t limit = (uint64_t)tape_pack_number_tens[MANTISSA_DIGITS];
    int negative = *from == '-';
    const uint8_t *at = from + negative;
    uint64_t value = 0;
    uint32_t decimals = 0;
    number->value = number->decimals = 0;
    if (!is_digit(*at) || (at[0] == '0' && is_digit(at[1])))
        return NULL;
    for (; is_digit(*at) && value < limit; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    if (*at == '.' && value < limit) {
        for (at++; is_digit(*at) && value < limit && decimals <= DECIMALS_MAX; at++, decimals++)
            value = value * 10 + (uint64_t)(*at - '0');
        if (decimals == 0)
            return NULL;
    }
    if (is_digit(*at) || value >= limit || decimals > DECIMALS_MAX || (negative && value == 0))
        return NULL;
    number->value = negative ? -(int64_t)value : (int64_t)value;
    number->decimals = decimals;
    return at;
}

/* --- times --- */

/* The two digits at ${at}, or 100 and more. */
static unsigned two_digits(const uint8_t *at)
{
    unsigned tens = (uint8_t)(at[0] - '0'), ones = (uint8_t)(at[1] - '0');
    return tens > 9 || ones > 9 ? 100 : tens * 10 + ones;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0);
}

/* Days since 1970-01-01: years begin in March here, so that the leap day comes last. */
static int64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
    int64_t march_year = (int64_t)year - (month <= 2);
    int64_t era = (march_year >= 0 ? march_year : march_year - 399) / 400;
    int64_t of_era = march_year - era * 400;
    int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

const uint8_t *tape_pack_number_read_time(const uint8_t *from, struct tape_pack_number *number)
{
    enum { SECONDS_BYTES = 19, FRACTION_MAX = 9 };
    if (from[0] == 0 || from[1] == 0 || memchr(from, 0, SECONDS_BYTES + 1) != NULL)
        return NULL;
    if (from[4] != '-' || from[7] != '-' || from[10] != 'T' || from[13] != ':' || from[16] != ':')
        return NULL;
    unsigned century = two_digits(from), year = two_digits(from + 2);
    unsigned month = two_digits(from + 5), day = two_digits(from + 8);
    unsigned hour = two_digits(from + 11), minute = two_digits(from + 14);
    unsigned second = two_digits(from + 17);
    if (century > 99 || year > 99 || month < 1 || month > 12 || hour > 23 || minute > 59 ||
        second > 59)
        return NULL;
    year += century * 100;
    if (day < 1 || day > days_of_month(year, month))
        return NULL;
    int64_t value = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    uint32_t decimals = 0;
    const uint8_t *at = from + SECONDS_BYTES;
    int64_t fraction = 0;
    if (*at == '.') {
        for (at++; is_digit(*at) && decimals < FRACTION_MAX; at++, decimals++)
            fraction = fraction * 10 + (*at - '0');
        if (decimals == 0)
            return NULL;
    }
    if (*at != 'Z')
        return NULL;
    if (__builtin_mul_overflow(value, tape_pack_number_tens[decimals], &value) ||
        __builtin_add_overflow(value, fraction, &value))
        return NULL; /* year 9999 in ns does not fit */
    number->value = value;
    number->decimals = decimals;
    return at + 1;
}
