#include "format/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"
#include "tests/unit/random_below.h"
#include "tests/unit/utf8_table.h"

/* The same source again as it is built where there is no SSE2. */
size_t portable_check(struct tape_utf8 *state, const uint8_t *data, size_t bytes);
#define TAPE_ASCII_PORTABLE
#define tape_utf8_check portable_check
#include "format/utf8.c"
#undef tape_utf8_check

static size_t (*const checks[])(struct tape_utf8 *, const uint8_t *, size_t) = {tape_utf8_check,
                                                                                portable_check};

static struct guard guard;
/* ---- a slow decoder of its own: every prefix of every code point, written down ---- */

enum { NOT = 0, PREFIX = 1, WHOLE = 2 };
static uint8_t one[1 << 8], two[1 << 16], *three;

static size_t encode(uint32_t point, uint8_t to[4])
{
    size_t bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t marks[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes - 1; i > 0; i--, point >>= 6)
        to[i] = (uint8_t)(0x80 | (point & 0x3f));
    to[0] = (uint8_t)(marks[bytes] | point);
    return bytes;
}

static int open_all(void **state)
{
    (void)state;
    uint8_t b[4];
    guard = guard_open(8192);
    three = calloc(1, 1 << 24);
    if (!three)
        return -1;
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        if (point >= 0xd800 && point <= 0xdfff)
            continue;
        size_t bytes = encode(point, b);
        one[b[0]] = bytes == 1 ? WHOLE : PREFIX;
        if (bytes >= 2)
            two[b[0] << 8 | b[1]] = bytes == 2 ? WHOLE : PREFIX;
        if (bytes >= 3)
            three[b[0] << 16 | b[1] << 8 | b[2]] = bytes == 3 ? WHOLE : PREFIX;
    }
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    guard_close(&guard);
    free(three);
    return 0;
}

static int naive_kind(const uint8_t *at, size_t bytes)
{
    switch (bytes) {
    case 1:
        return one[at[0]];
    case 2:
        return two[at[0] << 8 | at[1]];
    case 3:
        return three[at[0] << 16 | at[1] << 8 | at[2]];
    default:
        return at[3] >= 0x80 && at[3] <= 0xbf ? WHOLE : NOT;
    }
}

static size_t naive_check(const uint8_t *data, size_t bytes, int *complete)
{
    size_t start = 0;
    *complete = 1;
    for (size_t at = 0; at < bytes; at++) {
        int kind = naive_kind(data + start, at - start + 1);
        if (kind == NOT)
            return at;
        *complete = kind == WHOLE;
        if (kind == WHOLE)
            start = at + 1;
    }
    return bytes;
}

/* ---- comparing ---- */

/* Checks data in parts of ${step} bytes; the offset of the first bad byte, or ${bytes}. */
static size_t check_in_steps(size_t which, const uint8_t *data, size_t bytes, size_t step,
                             int *complete)
{
    struct tape_utf8 state = {0};
    for (size_t at = 0; at < bytes; at += step) {
        size_t part = bytes - at < step ? bytes - at : step;
        size_t good = checks[which](&state, data + at, part);
        if (good != part)
            return at + good;
    }
    *complete = tape_utf8_complete(&state);
    return bytes;
}

static void agree(const uint8_t *data, size_t bytes, size_t step)
{
    int want_complete, complete = 0;
    size_t want = naive_check(data, bytes, &want_complete);
    for (size_t which = 0; which < 2; which++) {
        size_t got = check_in_steps(which, data, bytes, step, &complete);
        if (got != want || (want == bytes && complete != want_complete))
            fail_msg("%02x %02x %02x %02x (%zu bytes, steps of %zu, way %zu): %zu, not %zu",
                     data[0], data[1], data[2], data[3], bytes, step, which, got, want);
    }
}

static void table_is_met_wherever_it_stands(void **state)
{
    (void)state;
    uint8_t text[256];
    for (size_t i = 0; i < UTF8_CASES; i++) {
        const struct utf8_case *c = &utf8_table[i];
        size_t bytes = c->bytes ? c->bytes : strlen(c->text);
        for (size_t before = 0; before < 140; before++) {
            memset(text, 'x', before);
            memcpy(text + before, c->text, bytes);
            const uint8_t *data = guard_put(&guard, text, before + bytes);
            size_t whole = before + bytes;
            size_t want = c->fail >= 0 ? before + (size_t)c->fail : whole;
            for (size_t which = 0; which < 2; which++) {
                for (size_t step = 1; step <= whole + 1; step += step < 20 ? 1 : whole / 3 + 1) {
                    int complete = -1;
                    assert_int_equal(check_in_steps(which, data, whole, step, &complete), want);
                    if (want == whole && whole > 0)
                        assert_int_equal(complete, c->fail == UTF8_OK);
                }
            }
        }
    }
}

static void every_two_bytes_agree(void **state)
{
    (void)state;
    uint8_t b[4] = {0};
    for (unsigned pair = 0; pair < 1 << 16; pair++) {
        b[0] = (uint8_t)(pair >> 8);
        b[1] = (uint8_t)pair;
        agree(b, 2, 1);
        agree(b, 2, 2);
    }
}

static void every_three_bytes_after_a_lead_agree(void **state)
{
    (void)state;
    uint8_t b[4] = {0};
    for (unsigned triple = 0xc0 << 16; triple < 1 << 24; triple++) {
        b[0] = (uint8_t)(triple >> 16);
        b[1] = (uint8_t)(triple >> 8);
        b[2] = (uint8_t)triple;
        agree(b, 3, 3);
    }
}

static void four_bytes_near_all_edges_agree(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                    0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xf4, 0xff};
    uint8_t b[4];
    for (unsigned pair = 0xe0 << 8; pair < 1 << 16; pair++) {
        for (size_t i = 0; i < sizeof edges * sizeof edges; i++) {
            b[0] = (uint8_t)(pair >> 8);
            b[1] = (uint8_t)pair;
            b[2] = edges[i / sizeof edges];
            b[3] = edges[i % sizeof edges];
            agree(b, 4, 4);
        }
    }
}

static void every_code_point_passes(void **state)
{
    (void)state;
    uint8_t b[4];
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        if (point >= 0xd800 && point <= 0xdfff)
            continue;
        size_t bytes = encode(point, b);
        struct tape_utf8 whole = {0}, parts = {0};
        assert_int_equal(tape_utf8_check(&whole, b, bytes), bytes);
        assert_true(tape_utf8_complete(&whole));
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(tape_utf8_check(&parts, b + i, 1), 1);
            assert_int_equal(tape_utf8_complete(&parts), i == bytes - 1);
        }
    }
}

static size_t random_text(uint8_t *to, size_t room)
{
    size_t bytes = 0, want = random_below((uint32_t)room - 4);
    uint32_t ascii = random_below(100);
    while (bytes < want) {
        uint32_t point = random_below(0x110000);
        if (random_below(100) < ascii)
            point &= 0x7f;
        else if (random_below(2))
            point &= 0x7ff;
        if (point < 0xd800 || point > 0xdfff)
            bytes += encode(point, to + bytes);
    }
    return bytes;
}

static void random_texts_agree_whole_and_broken(void **state)
{
    (void)state;
    uint8_t text[512] = {0};
    for (int round = 0; round < 20000; round++) {
        size_t bytes = random_text(text, sizeof text);
        if (bytes && random_below(2))
            text[random_below((uint32_t)bytes)] = (uint8_t)random_below(256);
        const uint8_t *data = guard_put(&guard, text, bytes);
        if (bytes < 4)
            continue;
        agree(data, bytes, bytes);
        agree(data, bytes, 1 + random_below(40));
    }
}

static void nothing_is_read_past_the_end(void **state)
{
    (void)state;
    uint8_t text[300];
    memset(text, 'a', sizeof text);
    for (size_t bytes = 0; bytes <= sizeof text; bytes++) {
        for (size_t which = 0; which < 2; which++) {
            struct tape_utf8 now = {0};
            uint8_t *data = guard_put(&guard, text, bytes);
            assert_int_equal(checks[which](&now, data, bytes), bytes);
            assert_int_equal(tape_ascii_all(data, bytes), 1);
            for (size_t at = 0; at < bytes; at++) { /* and no byte of it is passed over */
                data[at] = 0x80;
                assert_int_equal(checks[which](&now, data, bytes), at);
                assert_int_equal(tape_ascii_all(data, bytes), 0);
                data[at] = 'a';
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_met_wherever_it_stands),
        cmocka_unit_test(every_two_bytes_agree),
        cmocka_unit_test(every_three_bytes_after_a_lead_agree),
        cmocka_unit_test(four_bytes_near_all_edges_agree),
        cmocka_unit_test(every_code_point_passes),
        cmocka_unit_test(random_texts_agree_whole_and_broken),
        cmocka_unit_test(nothing_is_read_past_the_end),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
