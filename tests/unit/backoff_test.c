#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "record/backoff.h"

#define MS     INT64_C(1000000)
#define SECOND (1000 * MS)

static void stays_between_floor_and_ceiling(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct tape_backoff backoff;
        int64_t ceiling = 250 * MS;
        tape_backoff_begin(&backoff, 250 * MS, 60 * SECOND, seed);
        for (int i = 0; i < 100; i++) {
            int64_t wait = tape_backoff_next(&backoff);
            assert_true(wait >= 250 * MS / 4);
            assert_true(wait <= ceiling);
            ceiling = ceiling * 2 > 60 * SECOND ? 60 * SECOND : ceiling * 2;
        }
    }
}

/* Full jitter: the whole range is used, evenly, at each step. */
static void spreads_over_the_whole_range(void **state)
{
    int quarters[4] = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 8000; seed++) {
        struct tape_backoff backoff;
        tape_backoff_begin(&backoff, 250 * MS, 60 * SECOND, seed);
        for (int i = 0; i < 12; i++)
            tape_backoff_next(&backoff);
        quarters[tape_backoff_next(&backoff) / (15 * SECOND + 1)]++;
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(quarters[i], 1800, 2200);
}

static void is_polite_over_many_failures(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct tape_backoff backoff;
        int64_t sum = 0;
        tape_backoff_begin(&backoff, 250 * MS, 60 * SECOND, seed);
        for (int i = 0; i < 100; i++)
            sum += tape_backoff_next(&backoff);
        assert_true(sum / 100 >= SECOND);
    }
}

static void begins_anew_after_a_reset(void **state)
{
    struct tape_backoff backoff;
    (void)state;
    tape_backoff_begin(&backoff, SECOND, 60 * SECOND, 1);
    for (int i = 0; i < 200; i++)
        tape_backoff_next(&backoff);
    tape_backoff_reset(&backoff);
    assert_true(tape_backoff_next(&backoff) <= SECOND);
    assert_true(tape_backoff_next(&backoff) <= 2 * SECOND);
}

static void takes_odd_bounds(void **state)
{
    struct tape_backoff backoff;
    (void)state;
    tape_backoff_begin(&backoff, 1, 0, 7);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(tape_backoff_next(&backoff), 1);
    tape_backoff_begin(&backoff, 1, INT64_MAX, 7);
    for (int i = 0; i < 1000; i++)
        assert_true(tape_backoff_next(&backoff) >= 1);
}

static void honours_retry_after(void **state)
{
    const int64_t now = 1445412480 * SECOND; /* Wed, 21 Oct 2015 07:28:00 GMT */
    static const struct {
        int64_t seconds;
        const char *date;
        int64_t want_s;
    } rows[] = {
        {0, "", 0},
        {1, "", 1},
        {120, "", 120},
        {3600, "", 3600},
        {3601, "", 3600},
        {INT64_C(1) << 31, "", 3600},
        {-1, "Wed, 21 Oct 2015 07:28:00 GMT", 0},
        {-1, "Wed, 21 Oct 2015 07:29:30 GMT", 90},
        {-1, "Wed, 21 Oct 2015 07:27:00 GMT", 0},
        {-1, "Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {-1, "Thu, 21 Oct 2055 07:28:00 GMT", 3600},
        {-1, "soon", 60},
        {-1, "", 60},
        {-1, "Wed, 21 Oct 2015 07:29:30 GMT and more", 60},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(tape_backoff_retry_after(rows[i].seconds, rows[i].date, now),
                         rows[i].want_s * SECOND);
}

static void admits_so_many_in_any_five_minutes(void **state)
{
    static struct tape_backoff_window window;
    static int64_t admitted[2000];
    int64_t now = 5 * SECOND, wait;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        while ((wait = tape_backoff_admit(&window, now)) > 0)
            now += wait;
        admitted[i] = now;
        now += i % 7 * 100 * MS;
        if (i >= TAPE_BACKOFF_ATTEMPTS)
            assert_true(admitted[i] - admitted[i - TAPE_BACKOFF_ATTEMPTS] >=
                        TAPE_BACKOFF_WINDOW_NS);
    }
    /* none waits as long as there were fewer */
    memset(&window, 0, sizeof window);
    for (int i = 0; i < TAPE_BACKOFF_ATTEMPTS; i++)
        assert_int_equal(tape_backoff_admit(&window, 1), 0);
    assert_int_equal(tape_backoff_admit(&window, 1), TAPE_BACKOFF_WINDOW_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_between_floor_and_ceiling),
        cmocka_unit_test(spreads_over_the_whole_range),
        cmocka_unit_test(is_polite_over_many_failures),
        cmocka_unit_test(begins_anew_after_a_reset),
        cmocka_unit_test(takes_odd_bounds),
        cmocka_unit_test(honours_retry_after),
        cmocka_unit_test(admits_so_many_in_any_five_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
