#include "record/prune.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define DAY_NS  86400000000000ll
#define HOUR_NS 3600000000000ll
#define NOW_NS  (20000 * DAY_NS)

/* Ten segments of a day each, the last of which ended just now; 100 bytes and 4096 of the disk. */
static struct tape_prune_segment segments[10];
static struct tape_prune_place place;
static uint8_t rules[10];

static int fill(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        segments[i] = (struct tape_prune_segment){.records = 5,
                                                  .bytes = 100,
                                                  .disk_bytes = 4096,
                                                  .max_recv_ns = NOW_NS - (9 - i) * DAY_NS};
    place = (struct tape_prune_place){
        .now_ns = NOW_NS, .newest_ns = NOW_NS, .bytes = 1000, .free_bytes = 100000};
    memset(rules, 0xff, sizeof rules);
    return 0;
}

static size_t choose(struct tape_prune_limits limits)
{
    return tape_prune_choose(&limits, &place, segments, 10, rules);
}

static void test_no_limit_takes_nothing(void **state)
{
    (void)state;
    struct tape_prune_limits none = {0};
    assert_false(tape_prune_any(&none));
    assert_int_equal(choose(none), 0);
    assert_true(tape_prune_any(&(struct tape_prune_limits){.age_ns = 1}));
    assert_true(tape_prune_any(&(struct tape_prune_limits){.bytes = 1}));
    assert_true(tape_prune_any(&(struct tape_prune_limits){.free_bytes = 1}));
}

static void test_age_counts_from_the_newest_record(void **state)
{
    (void)state;
    /* exactly as old is not older */
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 9 * DAY_NS}), 0);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 9 * DAY_NS - 1}), 1);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 4 * DAY_NS}), 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(rules[i], TAPE_PRUNE_RULE_AGE);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 1}), 9);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = INT64_MAX}), 0);
    segments[0].max_recv_ns = INT64_MIN;
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 30 * DAY_NS}), 1);
    segments[0].max_recv_ns = 0;
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 30 * DAY_NS}), 1);
    place.now_ns = place.newest_ns = INT64_MIN + 5;
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS}), 0);
}

/* What comes after a segment that stays stays, however old it is: nothing goes from the middle. */
static void test_a_stamp_of_the_future_is_not_old(void **state)
{
    (void)state;
    segments[2].max_recv_ns = NOW_NS + 1000 * DAY_NS;
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS}), 2);
    segments[2].max_recv_ns = INT64_MAX;
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS}), 2);
    /* another limit takes it all the same */
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS, .bytes = 699}), 8);
    assert_int_equal(rules[1], TAPE_PRUNE_RULE_AGE);
    assert_int_equal(rules[2], TAPE_PRUNE_RULE_BYTES);
    assert_int_equal(rules[3], TAPE_PRUNE_RULE_AGE);
}

static void test_no_age_while_the_clock_is_behind(void **state)
{
    (void)state;
    place.newest_ns = NOW_NS + TAPE_PRUNE_CLOCK_SLACK_NS;
    assert_false(tape_prune_clock_is_behind(&place));
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS}), 8);
    place.newest_ns++;
    assert_true(tape_prune_clock_is_behind(&place));
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS}), 0);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = DAY_NS, .bytes = 900}), 1);
    place.now_ns = INT64_MAX - 5;
    place.newest_ns = INT64_MAX;
    assert_false(tape_prune_clock_is_behind(&place));
}

static void test_bytes_stop_as_soon_as_they_fit(void **state)
{
    (void)state;
    assert_int_equal(choose((struct tape_prune_limits){.bytes = 1000}), 0);
    assert_int_equal(choose((struct tape_prune_limits){.bytes = 999}), 1);
    assert_int_equal(choose((struct tape_prune_limits){.bytes = 900}), 1);
    assert_int_equal(choose((struct tape_prune_limits){.bytes = 301}), 7);
    assert_int_equal(choose((struct tape_prune_limits){.bytes = 1}), 10);
    assert_int_equal(rules[9], TAPE_PRUNE_RULE_BYTES);
    /* files that vanish meanwhile: sums must not wrap */
    place.bytes = 150;
    assert_int_equal(choose((struct tape_prune_limits){.bytes = 20}), 2);
}

static void test_free_disk_counts_what_the_files_take(void **state)
{
    (void)state;
    assert_int_equal(choose((struct tape_prune_limits){.free_bytes = 100000}), 0);
    assert_int_equal(choose((struct tape_prune_limits){.free_bytes = 100001}), 1);
    assert_int_equal(choose((struct tape_prune_limits){.free_bytes = 100000 + 3 * 4096}), 3);
    assert_int_equal(rules[2], TAPE_PRUNE_RULE_FREE);
    assert_int_equal(choose((struct tape_prune_limits){.free_bytes = UINT64_MAX}), 10);
}

static void test_segments_without_records_go_with_the_next(void **state)
{
    (void)state;
    segments[0].records = segments[1].records = segments[4].records = 0;
    segments[0].max_recv_ns = segments[1].max_recv_ns = segments[4].max_recv_ns = 0;
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 8 * DAY_NS}), 0);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 6 * DAY_NS}), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rules[i], TAPE_PRUNE_RULE_AGE);
    assert_int_equal(choose((struct tape_prune_limits){.age_ns = 5 * DAY_NS}), 4);
}

static void test_the_first_limit_that_asks_is_named(void **state)
{
    (void)state;
    struct tape_prune_limits all = {
        .age_ns = 7 * DAY_NS, .bytes = 700, .free_bytes = 100000 + 6 * 4096};
    assert_int_equal(choose(all), 6);
    static const uint8_t wanted[] = {TAPE_PRUNE_RULE_AGE,   TAPE_PRUNE_RULE_AGE,
                                     TAPE_PRUNE_RULE_BYTES, TAPE_PRUNE_RULE_FREE,
                                     TAPE_PRUNE_RULE_FREE,  TAPE_PRUNE_RULE_FREE};
    assert_memory_equal(rules, wanted, sizeof wanted);
    char words[TAPE_PRUNE_WORDS_BYTES];
    assert_string_equal(tape_prune_limit_words(&all, TAPE_PRUNE_RULE_AGE, words), "--keep-age=7d");
    assert_string_equal(tape_prune_limit_words(&all, TAPE_PRUNE_RULE_BYTES, words),
                        "--keep-bytes=700B");
    assert_string_equal(tape_prune_limit_words(&all, TAPE_PRUNE_RULE_FREE, words),
                        "--keep-free=124576B");
    all = (struct tape_prune_limits){90 * 60000000000ll, 3ull << 30, 5 << 20};
    assert_string_equal(tape_prune_limit_words(&all, TAPE_PRUNE_RULE_AGE, words), "--keep-age=90m");
    assert_string_equal(tape_prune_limit_words(&all, TAPE_PRUNE_RULE_BYTES, words),
                        "--keep-bytes=3GiB");
    assert_string_equal(tape_prune_limit_words(&all, TAPE_PRUNE_RULE_FREE, words),
                        "--keep-free=5MiB");
    assert_string_equal(tape_prune_rule_word(TAPE_PRUNE_RULE_FREE), "free");
}

/* A recorder that runs while somebody sets the clock. */
static void test_a_jump_ahead_is_not_believed_at_once(void **state)
{
    (void)state;
    struct tape_prune_clock clock = {0};
    int64_t real = NOW_NS, mono = 5 * HOUR_NS;
    assert_int_equal(tape_prune_clock_now(&clock, real, mono), real);
    /* slewing, and small steps */
    assert_int_equal(tape_prune_clock_now(&clock, real + 2 * HOUR_NS, mono + HOUR_NS + 1),
                     real + 2 * HOUR_NS);
    /* an hour and a half */
    struct tape_prune_clock stepped = clock;
    assert_int_equal(
        tape_prune_clock_now(&stepped, real + 2 * HOUR_NS + 90 * 60000000000ll, mono + HOUR_NS + 1),
        real + 2 * HOUR_NS);
    /* ten years ahead */
    int64_t far = real + 3650 * DAY_NS;
    assert_int_equal(tape_prune_clock_now(&clock, far + 3 * HOUR_NS, mono + 2 * HOUR_NS),
                     real + 3 * HOUR_NS - 1);
    assert_int_equal(clock.jumped_ns, mono + 2 * HOUR_NS);
    assert_int_equal(tape_prune_clock_now(&clock, far + 24 * HOUR_NS, mono + 25 * HOUR_NS),
                     real + 26 * HOUR_NS - 1);
    /* back again: all is as before */
    struct tape_prune_clock mended = clock;
    assert_int_equal(tape_prune_clock_now(&mended, real + 27 * HOUR_NS, mono + 26 * HOUR_NS),
                     real + 27 * HOUR_NS);
    assert_int_equal(mended.jumped_ns, 0);
    /* a day later it is believed */
    assert_int_equal(tape_prune_clock_now(&clock, far + 27 * HOUR_NS, mono + 26 * HOUR_NS),
                     far + 27 * HOUR_NS);
    /* a clock that goes back is believed: nothing becomes older by it */
    assert_int_equal(tape_prune_clock_now(&clock, 7, mono + 27 * HOUR_NS), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_limit_takes_nothing, fill),
        cmocka_unit_test_setup(test_age_counts_from_the_newest_record, fill),
        cmocka_unit_test_setup(test_a_stamp_of_the_future_is_not_old, fill),
        cmocka_unit_test_setup(test_no_age_while_the_clock_is_behind, fill),
        cmocka_unit_test_setup(test_bytes_stop_as_soon_as_they_fit, fill),
        cmocka_unit_test_setup(test_free_disk_counts_what_the_files_take, fill),
        cmocka_unit_test_setup(test_segments_without_records_go_with_the_next, fill),
        cmocka_unit_test_setup(test_the_first_limit_that_asks_is_named, fill),
        cmocka_unit_test_setup(test_a_jump_ahead_is_not_believed_at_once, fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
