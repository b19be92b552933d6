#include "replay/source_ahead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/ws.h"
#include "replay/source_copy.h"
#include "tests/unit/make_records.h"

enum { MESSAGES = 2000 };

static struct tape_source_ahead *ahead;

static int tear_down(void **state)
{
    (void)state;
    tape_source_ahead_free(ahead);
    ahead = NULL;
    return 0;
}

static void begin(int64_t ahead_ns, uint64_t bytes)
{
    struct tape_source_ahead_limits limits = {ahead_ns, bytes};
    tape_source_ahead_free(ahead);
    ahead = tape_source_ahead_new(&limits, NULL);
    assert_non_null(ahead);
}

/* event_ms 0: none. The bytes are gone after the call, as a reel's are. */
static void put(uint64_t ordinal, int64_t recv_ns, int64_t event_ms)
{
    char text[100];
    int length =
        event_ms ? snprintf(text, sizeof text, "{\"e\":\"trade\",\"E\":%lld}", (long long)event_ms)
                 : snprintf(text, sizeof text, "{\"n\":%d}", (int)ordinal);
    char *bytes = malloc((size_t)length);
    memcpy(bytes, text, (size_t)length);
    struct tape_message message = {
        .ordinal = ordinal,
        .recv_ns = recv_ns,
        .kind = TAPE_FEED_DATA,
        .opcode = TAPE_WS_TEXT,
        .payload = {bytes, (size_t)length},
        .frame = {bytes, (size_t)length},
        .stream = {"", 0},
    };
    assert_int_equal(tape_source_ahead_put(ahead, &message, NULL), 0);
    memset(bytes, 'z', (size_t)length);
    free(bytes);
}

static void expect_take(uint64_t ordinal)
{
    struct tape_message *message;
    assert_int_equal(tape_source_ahead_take(ahead, &message), 1);
    assert_int_equal(message->ordinal, ordinal);
    assert_int_equal(message->payload.data[0], '{');
    assert_true(message->frame.data == message->payload.data);
}

static void expect_nothing(void)
{
    struct tape_message *message;
    assert_int_equal(tape_source_ahead_take(ahead, &message), 0);
}

static void by_event_time(void **state)
{
    (void)state;
    begin(1000, 1 << 20);
    expect_nothing();
    assert_true(tape_source_ahead_wants(ahead));
    put(0, 10, 1700000000500);
    put(1, 20, 1700000000300);
    put(2, 30, 1700000000400);
    put(3, 40, 1700000000300); /* as the one before: stays behind it */
    put(4, 1010, 1700000000600);
    assert_true(tape_source_ahead_wants(ahead));
    put(5, 1011, 1700000000700);
    assert_false(tape_source_ahead_wants(ahead));
    expect_take(1);
    assert_false(tape_source_ahead_wants(ahead)); /* the oldest is still held */
    expect_take(3);
    expect_take(2);
    expect_take(0);
    assert_true(tape_source_ahead_wants(ahead));
    assert_int_equal(tape_source_ahead_late(ahead), 0);
    put(6, 1012, 1700000000499);
    put(7, 1013, 1700000000500);
    assert_int_equal(tape_source_ahead_late(ahead), 1);
    expect_take(6);
    expect_take(7);
    expect_take(4);
    expect_take(5);
    expect_nothing();
}

/* Without an event time a message stays behind the one it came after. */
static void keeps_its_place(void **state)
{
    (void)state;
    begin(1000, 1 << 20);
    put(0, 1, 0);
    put(1, 2, 1700000000900);
    put(2, 3, 0);
    put(3, 4, 0);
    put(4, 5, 1700000000100);
    put(5, 6, 0);
    expect_take(0);
    expect_take(4);
    expect_take(5);
    expect_take(1);
    expect_take(2);
    expect_take(3);
    expect_nothing();
}

static void memory_is_bounded(void **state)
{
    (void)state;
    begin(INT64_MAX, 5000);
    int taken = 0, put_so_far = 0;
    while (put_so_far < 1000) {
        if (tape_source_ahead_wants(ahead)) {
            put((uint64_t)put_so_far, put_so_far, 1700000000000 + put_so_far);
            put_so_far++;
        } else {
            expect_take((uint64_t)taken++);
        }
        assert_true(put_so_far - taken < 40);
    }
}

static void forgets(void **state)
{
    (void)state;
    begin(10, 1 << 20);
    put(0, 100, 1700000000900);
    put(1, 200, 1700000000100);
    expect_take(1);
    tape_source_ahead_reset(ahead);
    expect_nothing();
    assert_true(tape_source_ahead_wants(ahead));
    put(2, 5, 1700000000050);
    assert_int_equal(tape_source_ahead_late(ahead), 0);
    expect_take(2);
}

static void stamps_may_be_anything(void **state)
{
    static const int64_t stamps[] = {INT64_MIN, INT64_MAX, 0, INT64_MIN + 1};
    (void)state;
    begin(1000, 1 << 20);
    for (int i = 0; i < 4; i++)
        put((uint64_t)i, stamps[i], 1700000000000 + i);
    assert_false(tape_source_ahead_wants(ahead));
    for (int i = 0; i < 4; i++)
        expect_take((uint64_t)i);
}

struct made {
    int64_t key;
    uint64_t ordinal;
};

static int compare(const void *one, const void *other)
{
    const struct made *a = one, *b = other;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->ordinal < b->ordinal ? -1 : 1;
}

/* As a stable sort of all of it, when nothing is further out of place than the window. */
static void as_a_sort(void **state)
{
    static struct made made[MESSAGES];
    (void)state;
    for (uint64_t round = 1; round < 30; round++) {
        struct dice dice = {round};
        int64_t key = INT64_MIN;
        uint64_t next = 0, taken = 0;
        static uint64_t order[MESSAGES];
        begin(1000, 1 << 20);
        while (taken < MESSAGES) {
            if (next < MESSAGES && tape_source_ahead_wants(ahead)) {
                int64_t recv_ns = (int64_t)next * 10;
                int64_t event_ms = roll_below(&dice, 5)
                                       ? 1700000000000 + recv_ns - (int64_t)roll_below(&dice, 900)
                                       : 0;
                if (event_ms)
                    key = event_ms;
                made[next] = (struct made){key, next};
                put(next++, recv_ns, event_ms);
                continue;
            }
            struct tape_message *message;
            assert_int_equal(tape_source_ahead_take(ahead, &message), 1);
            order[taken++] = message->ordinal;
        }
        qsort(made, MESSAGES, sizeof *made, compare);
        for (int i = 0; i < MESSAGES; i++)
            assert_int_equal(order[i], made[i].ordinal);
        assert_int_equal(tape_source_ahead_late(ahead), 0);
    }
}

static void copies_stand_alone(void **state)
{
    char frame[] = "HHpayload", apart[] = "assembled", name[] = "name";
    struct tape_message message = {
        .ordinal = 7,
        .frame = {frame, 9},
        .payload = {frame + 2, 7},
        .stream = {frame + 4, 3},
    };
    struct tape_source_copy copy;
    (void)state;
    assert_int_equal(tape_source_copy_make(&copy, &message), 1);
    memset(frame, 'z', sizeof frame);
    assert_memory_equal(copy.message.frame.data, "HHpayload", 9);
    assert_memory_equal(copy.message.payload.data, "payload", 7);
    assert_memory_equal(copy.message.stream.data, "ylo", 3);
    assert_int_equal(copy.length, 9);
    tape_source_copy_free(&copy);
    message.payload = (struct tape_slice){apart, 9};
    message.stream = (struct tape_slice){name, 4};
    assert_int_equal(tape_source_copy_make(&copy, &message), 1);
    memset(apart, 'z', sizeof apart);
    memset(name, 'z', sizeof name);
    assert_memory_equal(copy.message.payload.data, "assembled", 9);
    assert_memory_equal(copy.message.stream.data, "name", 4);
    assert_int_equal(copy.length, 22);
    tape_source_copy_free(&copy);
    message = (struct tape_message){.stream = {name, 0}};
    assert_int_equal(tape_source_copy_make(&copy, &message), 1);
    assert_int_equal(copy.message.payload.bytes + copy.message.stream.bytes, 0);
    assert_true(copy.message.stream.data != name);
    tape_source_copy_free(&copy);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(by_event_time),          TEST(keeps_its_place),
        TEST(memory_is_bounded),      TEST(forgets),
        TEST(stamps_may_be_anything), TEST(as_a_sort),
        TEST(copies_stand_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
