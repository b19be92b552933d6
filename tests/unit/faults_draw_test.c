#include "replay/faults_draw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Numbers from a second program, after the words of the manual. */
static void draws_are_as_documented(void **state)
{
    static const struct {
        uint64_t seed;
        struct tape_faults_lot lot;
        uint64_t drawn;
    } cases[] = {
        {0x0u, {0x0u, 0, 0, 0, 0}, 0x33fe8bd4f9c57863u},
        {0x2au, {0x0u, 0, 0, 0, 0}, 0x6b9af54417d0bf75u},
        {0x2au, {0x1u, 0, 0, 0, 0}, 0xa8dbf978de2f83efu},
        {0x2au, {0x1u, 1, 0, 0, 0}, 0xd1e2d0b0f9a01949u},
        {0x2au, {0x1u, 0, 1, 0, 0}, 0x234da864878b2848u},
        {0x2au, {0x1u, 0, 0, 1, 0}, 0xe910b3dfdece2887u},
        {0x2au, {0x1u, 0, 0, 0, 1}, 0x7f9119ba10073fbeu},
        {0xffffffffffffffffu, {0x8000000000000000u, 63, 255, 256, 1}, 0x71c75597baa64c02u},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (tape_faults_draw(cases[i].seed, &cases[i].lot) != cases[i].drawn)
            fail_msg("case %zu: %llx", i,
                     (unsigned long long)tape_faults_draw(cases[i].seed, &cases[i].lot));
}

static void hits_have_ends(void **state)
{
    (void)state;
    assert_false(tape_faults_hits(0, 0));
    assert_true(tape_faults_hits(0, 1e-300));
    assert_true(tape_faults_hits(UINT64_MAX, 1));
    assert_false(tape_faults_hits(UINT64_MAX, 0x1.fffffffffffffp-1));
    assert_true(tape_faults_hits((1ull << 63) - 1, 0.5));
    assert_false(tape_faults_hits(1ull << 63, 0.5));
}

static void below_has_ends(void **state)
{
    (void)state;
    assert_int_equal(tape_faults_below(UINT64_MAX, 0), 0);
    assert_int_equal(tape_faults_below(UINT64_MAX, 1), 0);
    assert_int_equal(tape_faults_below(0, 3), 0);
    assert_int_equal(tape_faults_below(UINT64_MAX / 3, 3), 0);
    assert_int_equal(tape_faults_below(UINT64_MAX / 3 + 1, 3), 1);
    assert_int_equal(tape_faults_below(UINT64_MAX, 3), 2);
    assert_true(tape_faults_below(UINT64_MAX, UINT64_MAX) == UINT64_MAX - 1);
}

/* A share of 1 in 100 is that of ordinals in a row, of rules, and of both lanes. */
static void shares_are_met(void **state)
{
    (void)state;
    for (uint16_t rule = 0; rule < 8; rule++) {
        int hits = 0, again = 0;
        for (uint64_t ordinal = 0; ordinal < 100000; ordinal++) {
            struct tape_faults_lot lot = {.ordinal = ordinal, .rule = rule};
            int hit = tape_faults_hits(tape_faults_draw(7, &lot), 0.01);
            lot.lane = 1;
            hits += hit;
            again += hit && tape_faults_hits(tape_faults_draw(7, &lot), 0.5);
        }
        /* six standard deviations */
        assert_in_range(hits, 1000 - 189, 1000 + 189);
        assert_in_range(again, hits / 2 - 95, hits / 2 + 95);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_as_documented),
        cmocka_unit_test(hits_have_ends),
        cmocka_unit_test(below_has_ends),
        cmocka_unit_test(shares_are_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
