#include "replay/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000000ll
#define RECV   1795334400000000000ll

static void speeds_are_read(void **state)
{
    static const struct {
        const char *text;
        double speed;
    } good[] = {{"1", 1},     {"0.1", 0.1}, {"100", 100},     {"10x", 10},     {"max", 0},
                {"2.5", 2.5}, {"1.", 1},    {"1000000", 1e6}, {"0.001", 0.001}};
    static const char *const bad[] = {"",    "0",       "x",      "-1",   "1e3", "inf",
                                      "nan", "0x10",    "+1",     "1xx",  "1 x", "maxi",
                                      ".",   "1000001", "0.0009", "1.2.3"};
    double speed;
    struct tape_error error;
    char expected[128];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(tape_pace_parse_speed(good[i].text, &speed, NULL), 0);
        assert_true(speed == good[i].speed);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (tape_pace_parse_speed(bad[i], &speed, &error) != TAPE_USAGE)
            fail_msg("%s", bad[i]);
        snprintf(expected, sizeof expected,
                 "\"%s\" is not a speed: write max or a number from 0.001 to 1000000", bad[i]);
        assert_string_equal(error.text, expected);
    }
}

static void deadlines_are_absolute(void **state)
{
    struct tape_pace pace;
    (void)state;
    tape_pace_begin(&pace, 1);
    assert_int_equal(tape_pace_due(&pace, RECV, 500), 500);
    /* However late the calls come, the deadlines do not move. */
    assert_int_equal(tape_pace_due(&pace, RECV + 10, 100000), 510);
    assert_int_equal(tape_pace_due(&pace, RECV + SECOND, 7), 500 + SECOND);
    assert_int_equal(tape_pace_due(&pace, RECV + SECOND, 7), 500 + SECOND);
    assert_int_equal(tape_pace_due(&pace, RECV + 8 * 3600 * SECOND, 7), 500 + 8 * 3600 * SECOND);
}

static void speed_scales_distances(void **state)
{
    struct tape_pace pace;
    (void)state;
    tape_pace_begin(&pace, 100);
    tape_pace_due(&pace, RECV, 0);
    assert_int_equal(tape_pace_due(&pace, RECV + SECOND, 0), SECOND / 100);
    tape_pace_begin(&pace, 0.1);
    tape_pace_due(&pace, RECV, 0);
    assert_int_equal(tape_pace_due(&pace, RECV + SECOND, 0), 10 * SECOND);
    /* A year at 3x loses no nanosecond. */
    tape_pace_begin(&pace, 3);
    tape_pace_due(&pace, RECV, 0);
    assert_int_equal(tape_pace_due(&pace, RECV + 3 * 365 * 86400 * SECOND + 3, 0),
                     365 * 86400 * SECOND + 1);
}

static void backward_stamps_are_due_at_once(void **state)
{
    struct tape_pace pace;
    (void)state;
    tape_pace_begin(&pace, 1);
    tape_pace_due(&pace, RECV, 0);
    assert_int_equal(tape_pace_due(&pace, RECV + 1000, 0), 1000);
    assert_int_equal(tape_pace_due(&pace, RECV + 400, 0), 1000);
    assert_int_equal(tape_pace_due(&pace, RECV - 400, 0), 1000);
    assert_int_equal(tape_pace_due(&pace, RECV + 2000, 0), 2000);
    assert_int_equal(pace.steps, 0);
}

/* After the recorder's clock was set back an hour, the hour is not played in one burst. */
static void a_clock_step_moves_the_anchor(void **state)
{
    struct tape_pace pace;
    (void)state;
    tape_pace_begin(&pace, 1);
    tape_pace_due(&pace, RECV, 0);
    assert_int_equal(tape_pace_due(&pace, RECV + 10 * SECOND, 0), 10 * SECOND);
    assert_int_equal(tape_pace_due(&pace, RECV + 10 * SECOND - 3600 * SECOND, 0), 10 * SECOND);
    assert_int_equal(tape_pace_due(&pace, RECV + 11 * SECOND - 3600 * SECOND, 0), 11 * SECOND);
    assert_int_equal(pace.steps, 1);
}

static void a_slow_consumer_stretches_time(void **state)
{
    struct tape_pace pace;
    (void)state;
    tape_pace_begin(&pace, 1);
    tape_pace_due(&pace, RECV, 0);
    int64_t due = tape_pace_due(&pace, RECV + 1000, 0);
    /* Late by our own doing: it is caught up. */
    assert_int_equal(tape_pace_settle(&pace, due, due + 300), due);
    assert_int_equal(pace.stretched_ns, 0);
    /* Late by the consumer's: what follows keeps its distance. */
    tape_pace_blocked(&pace, 50000);
    due = tape_pace_due(&pace, RECV + 2000, 0);
    assert_int_equal(due, 2000);
    assert_int_equal(tape_pace_settle(&pace, due, 2000 + 50300), 2000 + 50000);
    assert_int_equal(pace.stretched_ns, 50000);
    assert_int_equal(tape_pace_due(&pace, RECV + 1500, 0), 2000 + 50000);
    assert_int_equal(tape_pace_due(&pace, RECV + 3000, 0), 3000 + 50000);
    /* Blocked, yet in time: nothing to stretch, and it is not kept for later. */
    tape_pace_blocked(&pace, 400);
    assert_int_equal(tape_pace_settle(&pace, 53000, 53000 - 100), 53000);
    assert_int_equal(tape_pace_settle(&pace, 53000, 53000 + 100), 53000);
    assert_int_equal(pace.stretched_ns, 50000);
}

static void a_stopped_process_does_not_burst(void **state)
{
    struct tape_pace pace;
    (void)state;
    tape_pace_begin(&pace, 1);
    tape_pace_due(&pace, RECV, 0);
    int64_t due = tape_pace_due(&pace, RECV + 1000, 0);
    assert_int_equal(tape_pace_settle(&pace, due, due + 60 * SECOND), due + 60 * SECOND);
    assert_int_equal(tape_pace_due(&pace, RECV + 2000, 0), 2000 + 60 * SECOND);
}

static void wild_stamps_do_not_overflow(void **state)
{
    struct tape_pace pace;
    (void)state;
    for (int i = 0; i < 2; i++) {
        tape_pace_begin(&pace, i ? 0.001 : 1);
        tape_pace_due(&pace, INT64_MIN, 5);
        int64_t due = tape_pace_due(&pace, INT64_MAX, 5);
        assert_true(due > 200ll * 365 * 86400 * (SECOND / 4));
        assert_int_equal(tape_pace_due(&pace, INT64_MIN, 5), due);
        assert_true(tape_pace_due(&pace, INT64_MAX, 5) >= due);
    }
}

static void sleeping_reaches_its_time(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        int64_t until = tape_pace_now() + 200000;
        assert_true(tape_pace_sleep(until, i % 2 ? 60000 : 0) >= until);
    }
    int64_t past = tape_pace_now() - SECOND;
    assert_true(tape_pace_sleep(past, 0) > past);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speeds_are_read),
        cmocka_unit_test(deadlines_are_absolute),
        cmocka_unit_test(speed_scales_distances),
        cmocka_unit_test(backward_stamps_are_due_at_once),
        cmocka_unit_test(a_clock_step_moves_the_anchor),
        cmocka_unit_test(a_slow_consumer_stretches_time),
        cmocka_unit_test(a_stopped_process_does_not_burst),
        cmocka_unit_test(wild_stamps_do_not_overflow),
        cmocka_unit_test(sleeping_reaches_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
