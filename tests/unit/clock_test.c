#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* cmocka wants the four above first */
#include <setjmp.h>

#include <cmocka.h>
#include <time.h>

#include "format/event.h"
#include "record/clock.h"

/* Stands in for libc's: a clock that is set by hand. */
static int64_t realtime = 1795600000000000000, monotonic = 5000000000;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int64_t ns = clock == CLOCK_REALTIME ? realtime : monotonic;
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}

static void pass(int64_t ns, int64_t step_ns)
{
    monotonic += ns;
    realtime += ns + step_ns;
}

/* The step that the look tells; INT64_MIN when it gives no sample. */
static int64_t look(struct tape_clock *clock)
{
    char body[TAPE_CLOCK_BODY_BYTES];
    int64_t at = 0;
    size_t bytes = tape_clock_look(clock, body, &at);
    if (bytes == 0)
        return INT64_MIN;
    assert_int_equal(at, realtime);
    struct tape_event *event = tape_event_read(body, bytes);
    assert_non_null(event);
    assert_int_equal(tape_event_number(event, "realtime_ns", 0), realtime);
    assert_int_equal(tape_event_number(event, "monotonic_ns", 0), monotonic);
    int64_t step = tape_event_number(event, "step_ns", -1);
    tape_event_free(event);
    return step;
}

static void samples_each_minute(void **unused)
{
    (void)unused;
    struct tape_clock clock = {0};
    int samples = 0;
    assert_int_equal(look(&clock), 0);
    for (int i = 0; i < 6000; i++) {
        pass(100000000, 0);
        int64_t step = look(&clock);
        samples += step != INT64_MIN;
        assert_true(step == INT64_MIN || step == 0);
    }
    assert_int_equal(samples, 10);
}

static void steps_are_told_at_once(void **unused)
{
    (void)unused;
    static const int64_t steps[] = {2000000, -2000000, 3600ll * 1000000000, -3600ll * 1000000000};
    struct tape_clock clock = {0};
    look(&clock);
    for (int i = 0; i < 4; i++) {
        pass(100000000, steps[i]);
        assert_int_equal(look(&clock), steps[i]);
        pass(100000000, 0);
        assert_int_equal(look(&clock), INT64_MIN);
    }
}

/* A clock that is slewed by 500 ppm has not stepped, however long nobody looked. */
static void slewing_is_no_step(void **unused)
{
    (void)unused;
    struct tape_clock clock = {0};
    look(&clock);
    for (int i = 0; i < 100; i++) {
        pass(100000000, 50000);
        assert_true(look(&clock) <= 0);
    }
    pass(50000000000, 25000000);
    assert_true(look(&clock) <= 0);
}

static void offset(void **unused)
{
    (void)unused;
    assert_int_equal(tape_clock_offset(), realtime - monotonic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_each_minute),
        cmocka_unit_test(steps_are_told_at_once),
        cmocka_unit_test(slewing_is_no_step),
        cmocka_unit_test(offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
