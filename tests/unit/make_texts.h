/* Texts as venues send them, and worse, from a dice: a few shapes that come back with other values.
 */
#ifndef TAPE_TESTS_UNIT_MAKE_TEXTS_H
#define TAPE_TESTS_UNIT_MAKE_TEXTS_H

#include <stdio.h>
#include <string.h>

#include "tests/unit/make_records.h"

enum { MADE_TEXT_ROOM = 1 << 16, MADE_DEPTH_MAX = 6 };

/* Invariant: bytes < MADE_TEXT_ROOM; what does not fit is left out. */
struct made_text {
    char text[MADE_TEXT_ROOM];
    size_t bytes;
    struct dice values; /* what differs from text to text */
    int odd;            /* one value in so many is out of the ordinary; 0: none */
};

static inline void put_bytes(struct made_text *to, const char *from, size_t bytes)
{
    if (bytes < MADE_TEXT_ROOM - to->bytes) {
        memcpy(to->text + to->bytes, from, bytes);
        to->bytes += bytes;
    }
}

static inline void put_word(struct made_text *to, const char *word)
{
    put_bytes(to, word, strlen(word));
}

static inline void put_odd(struct made_text *to)
{
    static const char *const odd[] = {"1e5",
                                      "-0",
                                      "-0.00",
                                      "007",
                                      "1.50",
                                      "123456789012345678901234567890",
                                      "0.000000000000000001",
                                      "0.0000000000000000001",
                                      "999999999999999999",
                                      "1000000000000000000",
                                      "-999999999999999999.9",
                                      "1E+9",
                                      "\"1e-7\"",
                                      "\"\"",
                                      "\"\\u00e9\\\"\\\\ \xc3\xa9\"",
                                      "\"2024-02-30T00:00:00Z\"",
                                      "\"0000-01-01T00:00:00Z\"",
                                      "\"9999-12-31T23:59:59.999999999Z\"",
                                      "\"2024-02-29T23:59:60Z\"",
                                      "\"01cacfe9-8d1c-5ee4-995d-d79a43f955a6\"",
                                      "\"01CACFE9-8d1c-5ee4-995d-d79a43f955a6\"",
                                      "null",
                                      "[]",
                                      "[ ]",
                                      "{}",
                                      "[[],[1]]",
                                      "[1,2,3,4,5,6,7,8,9,10,11,12]",
                                      "{\"e\":1,\"e\":2}",
                                      ".5",
                                      "\".5\"",
                                      "\"-.5\"",
                                      "\"5.\"",
                                      "\"-\"",
                                      "\"00.5\"",
                                      "\"-0.0\"",
                                      "\"1234567890123456789\"",
                                      "5.",
                                      "\"tab\there\"",
                                      "tru"};
    put_word(to, odd[roll_below(&to->values, sizeof odd / sizeof *odd)]);
}

static inline void put_decimal(struct made_text *to, unsigned decimals, int shortest, int point)
{
    char digits[64];
    unsigned whole = 1 + (unsigned)roll_below(&to->values, 5);
    uint64_t limit = 1;
    for (unsigned i = 0; i < whole + decimals; i++)
        limit *= 10;
    uint64_t value = roll_below(&to->values, limit), unit = 1;
    for (unsigned i = 0; i < decimals; i++)
        unit *= 10;
    int bytes = snprintf(digits, sizeof digits, "%llu", (unsigned long long)(value / unit));
    if (decimals > 0)
        bytes += snprintf(digits + bytes, sizeof digits - (size_t)bytes, ".%0*llu", (int)decimals,
                          (unsigned long long)(value % unit));
    while (shortest && decimals > 0 && digits[bytes - 1] == '0' &&
           !(point && digits[bytes - 2] == '.'))
        bytes--;
    bytes -= digits[bytes - 1] == '.';
    put_bytes(to, digits, (size_t)bytes);
}

static inline void put_time(struct made_text *to, unsigned decimals, int shortest)
{
    char text[64];
    struct dice *dice = &to->values;
    int bytes = snprintf(text, sizeof text, "20%02u-%02u-%02uT%02u:%02u:%02u.%09u",
                         (unsigned)roll_below(dice, 100), 1 + (unsigned)roll_below(dice, 12),
                         1 + (unsigned)roll_below(dice, 28), (unsigned)roll_below(dice, 24),
                         (unsigned)roll_below(dice, 60), (unsigned)roll_below(dice, 60),
                         (unsigned)roll_below(dice, 1000) * 1000000);
    bytes -= 9 - (int)decimals;
    while (shortest && text[bytes - 1] == '0')
        bytes--;
    bytes -= text[bytes - 1] == '.';
    text[bytes++] = 'Z';
    put_bytes(to, text, (size_t)bytes);
}

static inline void put_uuid(struct made_text *to)
{
    char text[40];
    unsigned long long one = roll(&to->values), other = roll(&to->values);
    int bytes = snprintf(text, sizeof text, "%08llx-%04llx-%04llx-%04llx-%012llx", one >> 32,
                         one >> 16 & 0xffff, one & 0xffff, other >> 48, other & 0xffffffffffff);
    put_bytes(to, text, (size_t)bytes);
}

static inline void put_name(struct made_text *to, uint64_t most)
{
    char text[32];
    int bytes =
        snprintf(text, sizeof text, "SYM%llu-X", (unsigned long long)roll_below(&to->values, most));
    put_bytes(to, text, (size_t)bytes);
}

/* One scalar; the shape says which kind. */
static inline void put_scalar(struct made_text *to, struct dice *shape)
{
    uint64_t kind = roll_below(shape, 16);
    unsigned decimals = 1 + (unsigned)roll_below(shape, 8);
    if (to->odd > 0 && roll_below(&to->values, (uint64_t)to->odd) == 0) {
        put_odd(to);
        return;
    }
    int quoted = kind >= 5;
    if (quoted && kind != 14 && kind != 15)
        put_word(to, "\"");
    switch (kind) {
    case 0:
    case 5:
        put_decimal(to, 0, 0, 0);
        break;
    case 1:
    case 6:
        put_decimal(to, decimals, 0, 0);
        break;
    case 2:
    case 7:
        put_decimal(to, decimals, 1, 0);
        break;
    case 3:
    case 8:
        put_decimal(to, decimals, 1, 1);
        break;
    case 4:
    case 9:
        put_word(to, roll_below(&to->values, 2) ? "-7." : "-8.");
        put_decimal(to, 0, 0, 0);
        break;
    case 10:
        put_time(to, 3, decimals > 4);
        break;
    case 11:
        put_uuid(to);
        break;
    case 12:
        put_name(to, decimals > 4 ? 3 : 1000);
        break;
    case 13:
        put_word(to, roll_below(&to->values, 2) ? "a\\\"b\\u0041" : "\\\\");
        break;
    default:
        put_word(to, roll_below(&to->values, 2) ? "true" : kind == 14 ? "false" : "null");
        return;
    }
    if (quoted)
        put_word(to, "\"");
}

static inline void put_space(struct made_text *to, struct dice *shape)
{
    if (roll_below(shape, 8) == 0)
        put_word(to, " ");
}

static inline void put_value(struct made_text *to, struct dice *shape, int depth);

static inline void put_object(struct made_text *to, struct dice *shape, int depth)
{
    static const char *const keys[] = {"e", "E", "s", "p", "q", "data", "stream", "u", "id", "a b"};
    uint64_t members = roll_below(shape, 6);
    put_word(to, "{");
    put_space(to, shape);
    for (uint64_t i = 0; i < members; i++) {
        put_word(to, i > 0 ? ",\"" : "\"");
        put_word(to, keys[roll_below(shape, sizeof keys / sizeof *keys)]);
        put_word(to, "\":");
        put_space(to, shape);
        put_value(to, shape, depth + 1);
    }
    put_word(to, "}");
}

/* Elements of one form, mostly. */
static inline void put_array(struct made_text *to, struct dice *shape, int depth)
{
    uint64_t form = roll_below(shape, 4), elements = roll_below(&to->values, 7);
    struct dice element = *shape;
    put_word(to, "[");
    if (form == 0) { /* a tuple */
        elements = 1 + roll_below(shape, 4);
        for (uint64_t i = 0; i < elements; i++) {
            put_word(to, i > 0 ? "," : "");
            put_value(to, shape, depth + 1);
        }
    }
    for (uint64_t i = 0; form > 0 && i < elements; i++) {
        struct dice same = element;
        put_word(to, i > 0 ? "," : "");
        if (form == 3 && roll_below(&to->values, 9) == 0)
            put_word(to, "[\"1.5\",\"2\",\"r\"]");
        else
            put_value(to, &same, depth + 1);
    }
    put_word(to, "]");
}

static inline void put_value(struct made_text *to, struct dice *shape, int depth)
{
    uint64_t form = roll_below(shape, 8);
    if (depth < MADE_DEPTH_MAX && (form == 0 || (depth == 0 && form < 6)))
        put_object(to, shape, depth);
    else if (depth < MADE_DEPTH_MAX && (form < 3 || depth == 0))
        put_array(to, shape, depth);
    else
        put_scalar(to, shape);
}

/* made_text(to, shape): the next text of a shape. Half of them stand in a wrapper with a stream. */
static inline void made_text(struct made_text *to, uint64_t shape)
{
    struct dice dice = {shape * 0x9e3779b97f4a7c15ull + 77};
    char wrapper[64];
    roll(&dice);
    to->bytes = 0;
    if (shape % 2 == 1) {
        put_value(to, &dice, 0);
        return;
    }
    snprintf(wrapper, sizeof wrapper, "{\"stream\":\"sym%llu@s%llu\",\"data\":",
             (unsigned long long)roll_below(&to->values, shape % 3 == 0 ? 40 : 1),
             (unsigned long long)shape);
    put_word(to, wrapper);
    put_value(to, &dice, 0);
    put_word(to, "}");
}

#endif
