#include "format/decimal.h"

enum { DIGITS_MAX = 18 }; /* more may not fit an int64 */

int64_t tape_decimal_integer_slow(const char *from, const char *to)
{
    int negative = from < to && *from == '-';
    uint64_t value = 0;
    from += negative;
    if (from == to || to - from > 19)
        return TAPE_TICK_NONE;
    for (; from < to; from++) {
        unsigned digit = (unsigned char)(*from - '0');
        if (digit > 9)
            return TAPE_TICK_NONE;
        value = value * 10 + digit; /* 19 digits fit 64 bits */
    }
    if (value > INT64_MAX)
        return TAPE_TICK_NONE;
    return negative ? -(int64_t)value : (int64_t)value;
}

/* Long ones (spot has eight places): the sides of the point are integers. */
static int read_sides(const char *at, const char *point, const char *to, uint64_t *value)
{
    static const uint32_t power[9] = {1,      10,      100,      1000,     10000,
                                      100000, 1000000, 10000000, 100000000};
    int64_t whole = tape_decimal_integer(at, at, point);
    int64_t fraction = tape_decimal_integer(at, point + 1, to);
    if (whole < 0 || fraction < 0 || *at == '-' || point[1] == '-' || to - point - 1 > 8)
        return 0;
    *value = (uint64_t)whole * power[to - point - 1] + (uint64_t)fraction;
    return 1;
}

/* The digits of at..to without the point, if there is one; 0: something else is there. */
static int read_digits(const char *at, const char *point, const char *to, uint64_t *value)
{
    if (point && to - at >= 10 && read_sides(at, point, to, value))
        return 1;
    *value = 0;
    for (; at < to; at++) {
        unsigned digit = (unsigned char)(*at - '0');
        if (digit > 9 && at != point)
            return 0;
        if (at != point)
            *value = *value * 10 + digit; /* DIGITS_MAX of them fit */
    }
    return 1;
}

/* Invariant: value and scale spell the text again, byte for byte, so that "007", ".5", "5." and
 * "-0" are not valid though they look like numbers. */
int tape_decimal_read_slow(struct tape_decimal *decimal)
{
    decimal->valid = 0;
    if (decimal->text.bytes == 0)
        return 0;
    const char *at = decimal->text.data, *to = at + decimal->text.bytes;
    int negative = *at == '-';
    uint64_t value;
    at += negative;
    if (at == to || to - at > DIGITS_MAX + 1)
        return 0;
    const char *point = memchr(at, '.', (size_t)(to - at));
    const char *whole_end = point ? point : to;
    if (whole_end == at || (*at == '0' && whole_end - at > 1) || point == to - 1 ||
        to - at - (point != NULL) > DIGITS_MAX || !read_digits(at, point, to, &value) ||
        (negative && value == 0))
        return 0;
    decimal->value = negative ? -(int64_t)value : (int64_t)value;
    decimal->scale = (uint8_t)(point ? to - point - 1 : 0);
    decimal->valid = 1;
    return 1;
}
