#include "format/decimal.h"

#include <string.h>

#include "format/scan.h"

enum { DIGITS_MAX = 18 }; /* more may not fit an int64 */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define EIGHT_AT_ONCE 1

static const uint32_t power10[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* The number that the first ${count} <= 8 bytes at ${at} spell; 8 bytes are loaded. The digits are
 * shifted to the top, zeros take the places before them, then neighbours are joined: 8 of one
 * digit, 4 of two, 2 of four. */
static inline uint64_t digits8(const char *at, unsigned count)
{
    uint64_t word;
    memcpy(&word, at, 8);
    unsigned half = 4 * (8 - count); /* in two steps: a shift by 64 has no meaning */
    word = (word & 0x0f0f0f0f0f0f0f0f) << half << half;
    word = word * 2561 >> 8;
    word = (word & 0x00ff00ff00ff00ff) * 6553601 >> 16;
    return (word & 0x0000ffff0000ffff) * 42949672960001 >> 32;
}
#endif

static int64_t integer_by_byte(const char *at, const char *to)
{
    int negative = *at == '-';
    uint64_t value = 0;
    at += negative;
    if (at == to || to - at > 19)
        return TAPE_TICK_NONE;
    for (; at < to; at++) {
        unsigned digit = (unsigned char)(*at - '0');
        if (digit > 9)
            return TAPE_TICK_NONE;
        value = value * 10 + digit; /* 19 digits fit 64 bits */
    }
    if (value > INT64_MAX)
        return TAPE_TICK_NONE;
    return negative ? -(int64_t)value : (int64_t)value;
}

int64_t tape_decimal_integer(const char *from, const char *to, const char *end)
{
#ifdef EIGHT_AT_ONCE
    size_t count = (size_t)(to - from);
    if (count <= 16 && end - from >= 16 && *from != '-' && tape_scan_digits(from, to) == to &&
        count > 0) {
        if (count <= 8)
            return (int64_t)digits8(from, (unsigned)count);
        return (int64_t)(digits8(from, 8) * power10[count - 8] +
                         digits8(from + 8, (unsigned)count - 8));
    }
#endif
    (void)end;
    return from == to ? TAPE_TICK_NONE : integer_by_byte(from, to);
}

/* Invariant of both ways: value and scale spell the text again, byte for byte, so that "007", ".5",
 * "5." and "-0" are not valid though they look like numbers. */
static int decimal_by_byte(struct tape_slice text, struct tape_decimal *decimal)
{
    const char *at = text.data, *to = at + text.bytes;
    int negative = text.bytes > 0 && *at == '-';
    at += negative;
    const char *whole = at, *point = NULL;
    int64_t value = 0;
    if (to - at > DIGITS_MAX + 1)
        return 0;
    for (; at < to; at++) {
        unsigned digit = (unsigned char)(*at - '0');
        if (digit <= 9)
            value = value * 10 + digit; /* 19 digits fit */
        else if (*at == '.' && !point)
            point = at;
        else
            return 0;
    }
    const char *whole_end = point ? point : to;
    if (whole_end == whole || (*whole == '0' && whole_end - whole > 1) || point == to - 1 ||
        to - whole - (point != NULL) > DIGITS_MAX || (negative && value == 0))
        return 0;
    decimal->value = negative ? -value : value;
    decimal->scale = (uint8_t)(point ? to - point - 1 : 0);
    return 1;
}

#if defined(EIGHT_AT_ONCE) && defined(TAPE_SCAN_SSE2)
/* At most 16 bytes, at most 8 digits on either side of the point. 0: not of that form. */
static inline int decimal_at_once(const char *text, unsigned bytes, struct tape_decimal *decimal)
{
    __m128i bias = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)text), _mm_set1_epi8('0'));
    __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(bias, _mm_set1_epi8(9)), bias);
    unsigned others = ~(unsigned)_mm_movemask_epi8(digit) & ((1u << bytes) - 1);
    unsigned whole = others ? (unsigned)__builtin_ctz(others) : bytes;
    unsigned fraction = others ? bytes - whole - 1 : 0;
    if ((others & (others - 1)) || whole == 0 || whole > 8 || fraction > 8 ||
        (others && (text[whole] != '.' || fraction == 0)) || (*text == '0' && whole > 1))
        return 0;
    uint64_t value = digits8(text, whole);
    if (fraction > 0)
        value = value * power10[fraction] + digits8(text + whole + 1, fraction);
    decimal->value = (int64_t)value;
    decimal->scale = (uint8_t)fraction;
    return 1;
}

enum { LOADED_BYTES = 8 + 1 + 8 };
#endif

int tape_decimal_read(struct tape_slice text, const char *end, struct tape_decimal *decimal)
{
    decimal->text = text;
    decimal->value = 0;
    decimal->scale = 0;
    decimal->valid = 1;
#if defined(EIGHT_AT_ONCE) && defined(TAPE_SCAN_SSE2)
    if (text.bytes <= 16 && text.bytes > 0 && end - text.data >= LOADED_BYTES &&
        decimal_at_once(text.data, (unsigned)text.bytes, decimal))
        return 1;
#endif
    (void)end;
    decimal->valid = text.bytes > 0 && decimal_by_byte(text, decimal);
    return decimal->valid;
}
