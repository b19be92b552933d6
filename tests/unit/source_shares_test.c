#include "replay/source_shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/make_records.h"

static struct tape_source_shares *shares;

static int set_up(void **state)
{
    (void)state;
    shares = tape_source_shares_new();
    return shares ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tape_source_shares_free(shares);
    return 0;
}

static int number_of(const char *name)
{
    return tape_source_shares_stream(shares, name, strlen(name));
}

static struct tape_source_share row_at(int index)
{
    struct tape_source_share share = {0};
    assert_int_equal(tape_source_shares_read(shares, index, &share), 1);
    return share;
}

static void in_order(void **state)
{
    static const char *const names[] = {"b", "", "a@x", "a", "b"};
    static const struct {
        const char *name;
        int archive;
    } wanted[] = {{"", 0}, {"a", 3}, {"a@x", 0}, {"b", 0}, {"b", 2}, {"b", 63}};
    struct tape_source_share share;
    (void)state;
    assert_int_equal(tape_source_shares_read(shares, 0, &share), 0);
    tape_source_shares_given(shares, number_of(names[0]), 63);
    tape_source_shares_given(shares, number_of(names[1]), 0);
    assert_string_equal(row_at(1).stream, "b"); /* read in between */
    tape_source_shares_given(shares, number_of(names[2]), 0);
    tape_source_shares_given(shares, number_of(names[3]), 3);
    tape_source_shares_given(shares, number_of(names[4]), 0);
    tape_source_shares_late(shares, number_of("b"), 2, 1, 0, 5);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(row_at(i).stream, wanted[i].name);
        assert_int_equal(row_at(i).archive, wanted[i].archive);
    }
    assert_int_equal(tape_source_shares_read(shares, 6, &share), 0);
    assert_int_equal(tape_source_shares_read(shares, -1, &share), 0);
    tape_source_shares_reset(shares);
    assert_int_equal(tape_source_shares_read(shares, 0, &share), 0);
    assert_int_equal(tape_source_shares_given(shares, number_of("b"), 1), 1);
    assert_int_equal(row_at(0).given, 1);
}

/* Against counting it the slow way. */
static void missed_is_what_lies_between(void **state)
{
    (void)state;
    for (uint64_t round = 1; round < 200; round++) {
        struct dice dice = {round};
        int seen[3][40] = {{0}}, stream = number_of("x");
        tape_source_shares_reset(shares);
        stream = number_of("x");
        for (int i = 0; i < 40; i++) {
            int first = (int)roll_below(&dice, 3);
            assert_int_equal(tape_source_shares_given(shares, stream, first), i + 1);
            seen[first][i] = 1;
            for (int k = 0; k < 3; k++)
                if (k != first && roll_below(&dice, 3) == 0) {
                    tape_source_shares_late(shares, stream, k, (uint64_t)i + 1, 0, 10);
                    seen[k][i] = 1;
                    if (roll_below(&dice, 4) == 0) /* and once more by another way */
                        tape_source_shares_late(shares, stream, k, (uint64_t)i + 1, 1, 10);
                }
        }
        struct tape_source_share share;
        for (int row = 0; tape_source_shares_read(shares, row, &share); row++) {
            int begin = -1, end = -1, missed = 0;
            for (int i = 0; i < 40; i++)
                if (seen[share.archive][i]) {
                    begin = begin < 0 ? i : begin;
                    end = i;
                }
            for (int i = begin; i >= 0 && i < end; i++)
                missed += !seen[share.archive][i];
            assert_int_equal(share.missed, missed);
        }
    }
}

static void lateness(void **state)
{
    (void)state;
    int stream = number_of("x");
    assert_int_equal(tape_source_shares_given(shares, stream, 0), 1);
    for (int i = 1; i <= 1000; i++)
        assert_int_equal(tape_source_shares_late(shares, stream, 1, 1, 1, 1000 * i), 0);
    tape_source_shares_late(shares, stream, 1, 1, 1, -5); /* by clocks that differ */
    struct tape_source_share share = row_at(1);
    assert_int_equal(share.late, 1001);
    assert_true(share.late_max_ns == 1000000);
    assert_in_range(share.late_p50_ns, 500000, 530000);
    assert_in_range(share.late_p99_ns, 990000, 1000000);
    tape_source_shares_unmatched(shares, stream, 1);
    tape_source_shares_differing(shares, stream, 0);
    assert_int_equal(row_at(1).unmatched, 1);
    assert_int_equal(row_at(0).differing, 1);
    assert_int_equal(row_at(0).unmatched + row_at(1).differing, 0);
}

static void streams_are_bounded(void **state)
{
    char name[300];
    (void)state;
    for (int i = 0; i < TAPE_SOURCE_SHARES_STREAMS_MAX + 3000; i++) {
        snprintf(name, sizeof name, "s%d", i);
        int number = number_of(name);
        assert_true(number >= 0 && number <= TAPE_SOURCE_SHARES_STREAMS_MAX);
        tape_source_shares_given(shares, number, i % 2);
    }
    assert_int_equal(number_of("s16383"), 16383);
    assert_int_equal(number_of("s20000"), TAPE_SOURCE_SHARES_STREAMS_MAX);
    assert_string_equal(row_at(0).stream, "(others)");
    assert_int_equal(row_at(0).given + row_at(1).given, 3000);
    tape_source_shares_reset(shares);
    memset(name, 'n', sizeof name);
    int number = tape_source_shares_stream(shares, name, sizeof name);
    name[280] = 'm'; /* behind what is looked at */
    assert_int_equal(tape_source_shares_stream(shares, name, sizeof name), number);
    tape_source_shares_given(shares, number, 0);
    assert_int_equal(strlen(row_at(0).stream), TAPE_SOURCE_SHARES_NAME_MAX_BYTES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(in_order),
        TEST(missed_is_what_lies_between),
        TEST(lateness),
        TEST(streams_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
