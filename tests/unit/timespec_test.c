#include "replay/timespec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define DAY (86400 * 1000000000ll)

static int64_t epoch_ns(const char *text)
{
    struct tape_timespec time;
    struct tape_error error = {0};
    if (tape_timespec_parse(text, &time, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(time.base, TAPE_TIMESPEC_EPOCH);
    return time.ns;
}

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } table[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01", 0},
        {"1970-01-02T00:00Z", DAY},
        {"1969-12-31T23:59:59.999999999Z", -1},
        {"2026-11-22T08:00Z", 1795334400000000000ll},
        {"2026-11-22T08:00", 1795334400000000000ll},
        {"2026-11-22 08:00:00", 1795334400000000000ll},
        {"2026-11-22t08:00:00z", 1795334400000000000ll},
        {"2026-11-22T10:00:00+02:00", 1795334400000000000ll},
        {"2026-11-22T02:30:00-05:30", 1795334400000000000ll},
        {"2026-11-22T08:00:00.5Z", 1795334400500000000ll},
        {"2026-11-22T08:00:00.123456789Z", 1795334400123456789ll},
        {"2016-12-31T23:59:60Z", 1483228800000000000ll},
        {"2024-02-29T00:00Z", 1709164800000000000ll},
        {"2000-02-29", 951782400000000000ll},
        {"1795334400000000001", 1795334400000000001ll},
        {"10000000000000000", 10000000000000000ll},
        {"@0.000000042", 42},
        {"@1795334400", 1795334400000000000ll},
        {"@1795334400.000000007", 1795334400000000007ll},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (epoch_ns(table[i].text) != table[i].ns)
            fail_msg("%s: %lld", table[i].text, (long long)epoch_ns(table[i].text));
}

static void now_is_now(void **state)
{
    struct timespec before, after;
    (void)state;
    clock_gettime(CLOCK_REALTIME, &before);
    int64_t ns = epoch_ns("now");
    clock_gettime(CLOCK_REALTIME, &after);
    assert_true(ns >= before.tv_sec * 1000000000ll + before.tv_nsec);
    assert_true(ns <= after.tv_sec * 1000000000ll + after.tv_nsec);
}

static void nonsense_is_refused(void **state)
{
    static const char *const table[] = {
        "",
        "x",
        "T",
        "2026-11",
        "2026-13-01",
        "2026-00-01",
        "2026-11-31",
        "2023-02-29",
        "1900-02-29",
        "2026-11-22T",
        "2026-11-22T8:00Z",
        "2026-11-22T24:00Z",
        "2026-11-22T08:60Z",
        "2026-11-22T08:00:61Z",
        "2026-11-22T08:00:00.Z",
        "2026-11-22T08:00:00.1234567890Z",
        "2026-11-22T08:00Zx",
        "2026-11-22T08:00+2",
        "2026-11-22T08:00+24:00",
        "2026-11-22T08:00+02",
        "9999-12-31",
        "1600-01-01",
        "99999999999999999999",
        "-",
        "+",
        "-x",
        "+1",
        "-5",
        "@",
        "@x",
        "@1.",
        "@9999999999999",
        "12:00",
        " 2026-11-22",
        "0x10",
        "1e18",
    };
    struct tape_timespec time;
    struct tape_error error;
    char expected[512];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(tape_timespec_parse(table[i], &time, &error), TAPE_USAGE);
        snprintf(expected, sizeof expected,
                 "\"%s\" is not a time: write 2026-11-22T08:00Z, ns since 1970, @seconds, now, "
                 "+10m after the start or -10m before the end",
                 table[i]);
        assert_string_equal(error.text, expected);
    }
}

static void other_units_are_not_taken_for_ns(void **state)
{
    struct tape_timespec time;
    struct tape_error error;
    (void)state;
    static const char *const table[] = {
        "0", "42", "2026", "20261122", "1795334400", "1795334400123", "1795334400123456"};
    char expected[256];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(tape_timespec_parse(table[i], &time, &error), TAPE_USAGE);
        snprintf(expected, sizeof expected,
                 "\"%s\" has %zu digits: a plain number is nanoseconds since 1970, which have 19; "
                 "seconds are written @1795334400",
                 table[i], strlen(table[i]));
        assert_string_equal(error.text, expected);
    }
}

static void relative_times_resolve(void **state)
{
    struct tape_timespec time;
    (void)state;
    assert_int_equal(tape_timespec_parse("+1m", &time, NULL), 0);
    assert_int_equal(tape_timespec_resolve(&time, 5, 1000), 60000000005ll);
    assert_int_equal(tape_timespec_parse("-10ns", &time, NULL), 0);
    assert_int_equal(tape_timespec_resolve(&time, 5, 1000), 990);
    assert_int_equal(tape_timespec_parse("@1", &time, NULL), 0);
    assert_int_equal(tape_timespec_resolve(&time, 5, 1000), 1000000000);
    assert_int_equal(tape_timespec_parse("+100d", &time, NULL), 0);
    assert_true(tape_timespec_resolve(&time, INT64_MAX - 5, INT64_MAX) == INT64_MAX);
    assert_int_equal(tape_timespec_parse("-100d", &time, NULL), 0);
    assert_true(tape_timespec_resolve(&time, INT64_MIN, INT64_MIN + 5) == INT64_MIN);
}

static void durations_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ns; /* -1: refused */
    } table[] = {
        {"0", 0},
        {"0s", 0},
        {"90s", 90000000000ll},
        {"1h30m", 5400000000000ll},
        {"1d", DAY},
        {"1.5s", 1500000000},
        {"0.000000001s", 1},
        {"250ms", 250000000},
        {"60us", 60000},
        {"60\xc2\xb5s", 60000},
        {"5ns", 5},
        {"1m5s", 65000000000ll},
        {"1.5ns", 1},
        {"", -1},
        {"5", -1},
        {"s", -1},
        {"-5s", -1},
        {"5 s", -1},
        {"5x", -1},
        {"1..5s", -1},
        {"1.s", -1},
        {"106752d", -1},
        {"99999999999999999999ns", -1},
        {"106751d86400s", -1},
        {"5s ", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int64_t ns;
        struct tape_error error;
        int status = tape_timespec_parse_duration(table[i].text, &ns, &error);
        if (status != (table[i].ns < 0 ? TAPE_USAGE : 0) || (status == 0 && ns != table[i].ns))
            fail_msg("%s: %d, %lld", table[i].text, status, (long long)ns);
    }
    struct tape_error error;
    int64_t ns;
    assert_int_equal(tape_timespec_parse_duration("soon", &ns, &error), TAPE_USAGE);
    assert_string_equal(error.text, "\"soon\" is not a duration: write a number and a unit, as in "
                                    "90s, 1h30m, 250ms or 60us");
}

static void what_is_formatted_reads_back(void **state)
{
    static const int64_t table[] = {0,         1,         -1,        1795334400123456789ll,
                                    DAY - 1,   DAY,       -DAY,      951782400000000000ll,
                                    INT64_MAX, INT64_MIN, 1999999999};
    char text[TAPE_TIMESPEC_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(tape_timespec_format(text, table[i]), 30);
        assert_int_equal(strlen(text), 30);
        assert_true(epoch_ns(text) == table[i]);
    }
    tape_timespec_format(text, 1795334400123456789ll);
    assert_string_equal(text, "2026-11-22T08:00:00.123456789Z");
    tape_timespec_format(text, INT64_MIN);
    assert_string_equal(text, "1677-09-21T00:12:43.145224192Z");
}

/* Every day of eight centuries against the C library. */
static void dates_agree_with_libc(void **state)
{
    (void)state;
    for (int64_t day = -100000; day < 106000; day++) {
        char text[TAPE_TIMESPEC_TEXT_BYTES], expected[64];
        time_t seconds = day * 86400 + 3723;
        struct tm broken;
        tape_timespec_format(text, seconds * 1000000000ll + 5);
        strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.000000005Z",
                 gmtime_r(&seconds, &broken));
        assert_string_equal(text, expected);
        assert_true(epoch_ns(text) == seconds * 1000000000ll + 5);
    }
}

static void durations_are_shown(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } table[] = {
        {0, "0 ns"},
        {999, "999 ns"},
        {7100, "7.1 µs"},
        {66900000, "66.9 ms"},
        {59999000000ll, "59.999 s"},
        {61000000000ll, "1 m 01 s"},
        {3723000000000ll, "1 h 02 m 03 s"},
        {3 * DAY + 4 * 3600000000000ll, "3 d 04 h"},
        {-5000, "-5.0 µs"},
        {INT64_MIN, "-106751 d 23 h"},
    };
    char text[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(tape_timespec_format_duration(text, table[i].ns), strlen(table[i].text));
        assert_string_equal(text, table[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(now_is_now),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(other_units_are_not_taken_for_ns),
        cmocka_unit_test(relative_times_resolve),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(what_is_formatted_reads_back),
        cmocka_unit_test(dates_agree_with_libc),
        cmocka_unit_test(durations_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
