#include "replay/faults_held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replay/faults.h"
#include "tests/unit/make_records.h"

static struct tape_slice slice_of(const char *text)
{
    return (struct tape_slice){text, (uint32_t)strlen(text)};
}

/* A message that is told by its ordinal. */
static struct tape_message message_of(uint64_t ordinal, int64_t recv_ns, const char *stream)
{
    return (struct tape_message){.ordinal = ordinal,
                                 .recv_ns = recv_ns,
                                 .kind = TAPE_FEED_DATA,
                                 .payload = slice_of("payload"),
                                 .stream = slice_of(stream),
                                 .frame = slice_of("frame")};
}

static void keep(struct tape_faults_held *held, uint64_t ordinal, int64_t recv_ns,
                 const char *stream, uint32_t waits, int64_t delay_ns)
{
    struct tape_message message = message_of(ordinal, recv_ns, stream);
    assert_int_equal(tape_faults_held_keep(held, &message, waits, delay_ns), 1);
}

static void pass(struct tape_faults_held *held, int64_t recv_ns, const char *stream)
{
    struct tape_message message = message_of(999, recv_ns, stream);
    tape_faults_held_pass(held, &message);
}

static void expect(struct tape_faults_held_one *one, uint64_t ordinal, int64_t at_ns)
{
    assert_non_null(one);
    assert_int_equal(one->message.ordinal, ordinal);
    assert_int_equal(one->at_ns, at_ns);
    tape_faults_held_free_one(one);
}

/* Text that is gone once it was kept: what is given must be a copy. */
static void all_text_is_copied(void **state)
{
    static const char *const forms[] = {"in the frame", "beside the frame", "stream elsewhere",
                                        "no stream", "empty"};
    (void)state;
    for (int form = 0; form < 5; form++) {
        struct tape_faults_held *held = tape_faults_held_new();
        char *frame = strdup("hh{\"stream\":\"a@b\",\"data\":1}"),
             *payload = strdup("{\"stream\":\"a@b\",\"data\":1}"), *name = strdup("a@b");
        struct tape_message message = {.ordinal = 7, .connection = 3, .recv_ns = 5, .flags = 9};
        message.frame = slice_of(frame);
        message.payload = form == 0 ? slice_of(frame + 2) : slice_of(payload);
        message.stream = (struct tape_slice){message.payload.data + 11, 3};
        if (form == 2)
            message.stream = slice_of(name);
        if (form == 3)
            message.stream = (struct tape_slice){NULL, 0};
        if (form == 4)
            message.frame = message.payload = message.stream = (struct tape_slice){NULL, 0};
        assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 1);
        struct tape_slice was = message.payload;
        memset(frame, '!', strlen(frame));
        memset(payload, '!', strlen(payload));
        memset(name, '!', strlen(name));
        struct tape_faults_held_one *one = tape_faults_held_take(held);
        const struct tape_message *copy = &one->message;
        if (copy->ordinal != 7 || copy->connection != 3 || copy->recv_ns != 5 || copy->flags != 9)
            fail_msg("%s: other numbers", forms[form]);
        if (copy->payload.bytes != was.bytes || copy->stream.bytes != message.stream.bytes ||
            copy->frame.bytes != message.frame.bytes)
            fail_msg("%s: other lengths", forms[form]);
        if (form < 4 && (memcmp(copy->payload.data, "{\"stream\":\"a@b\",\"data\":1}", 25) != 0 ||
                         memcmp(copy->frame.data, "hh{\"stream\":\"a@b\",\"data\":1}", 27) != 0))
            fail_msg("%s: other text", forms[form]);
        if (form < 3 && memcmp(copy->stream.data, "a@b", 3) != 0)
            fail_msg("%s: another stream", forms[form]);
        tape_faults_held_free_one(one);
        tape_faults_held_free(held);
        free(frame);
        free(payload);
        free(name);
    }
}

static void the_earliest_leaves_first(void **state)
{
    struct dice dice = {11};
    int64_t at[500];
    (void)state;
    struct tape_faults_held *held = tape_faults_held_new();
    for (uint64_t i = 0; i < 500; i++) {
        int64_t delay_ns = 1 + (int64_t)roll_below(&dice, 40);
        at[i] = (int64_t)i / 10 + delay_ns;
        keep(held, i, (int64_t)i / 10, "s", 0, delay_ns);
    }
    for (int left = 500; left > 0; left--) {
        uint64_t least = 0;
        for (uint64_t i = 0; i < 500; i++)
            if (at[i] < at[least])
                least = i;
        assert_int_equal(tape_faults_held_first(held)->at_ns, at[least]);
        expect(tape_faults_held_take(held), least, at[least]);
        at[least] = INT64_MAX;
    }
    assert_null(tape_faults_held_first(held));
    assert_null(tape_faults_held_take(held));
    tape_faults_held_free(held);
}

static void those_that_wait_count_their_stream(void **state)
{
    (void)state;
    struct tape_faults_held *held = tape_faults_held_new();
    keep(held, 1, 10, "a", 2, 0);
    keep(held, 2, 10, "b", 1, 0);
    keep(held, 3, 10, "a", 1, 0);
    keep(held, 4, 10, "a", 1, 5);
    assert_null(tape_faults_held_next(held));
    pass(held, 20, "a");
    expect(tape_faults_held_next(held), 3, 20);
    assert_null(tape_faults_held_next(held));
    expect(tape_faults_held_take(held), 4, 25);
    pass(held, 30, "c");
    assert_null(tape_faults_held_next(held));
    pass(held, 30, "a");
    expect(tape_faults_held_next(held), 1, 30);
    pass(held, 40, "b");
    expect(tape_faults_held_next(held), 2, 40);
    pass(held, 50, "a");
    assert_null(tape_faults_held_next(held));
    tape_faults_held_free(held);
}

/* Messages without a name belong to their connection, and to their archive's. */
static void nameless_ones_count_their_connection(void **state)
{
    (void)state;
    struct tape_faults_held *held = tape_faults_held_new();
    struct tape_message message = message_of(1, 10, "");
    message.connection = 5;
    message.archive = 1;
    assert_int_equal(tape_faults_held_keep(held, &message, 1, 0), 1);
    message.connection = 6;
    tape_faults_held_pass(held, &message);
    assert_null(tape_faults_held_next(held));
    message.connection = 5;
    message.archive = 0;
    tape_faults_held_pass(held, &message);
    assert_null(tape_faults_held_next(held));
    message.archive = 1;
    tape_faults_held_pass(held, &message);
    expect(tape_faults_held_next(held), 1, 10);
    tape_faults_held_free(held);
}

static void the_end_ends_the_waiting(void **state)
{
    (void)state;
    struct tape_faults_held *held = tape_faults_held_new();
    keep(held, 1, 10, "b", 1, 0);
    keep(held, 2, 10, "a", 1, 0);
    keep(held, 3, 10, "a", 1, 7);
    keep(held, 4, 10, "a", 0, 95);
    keep(held, 5, INT64_MAX - 1, "a", 0, 5);
    tape_faults_held_end(held, 100);
    expect(tape_faults_held_take(held), 1, 100);
    expect(tape_faults_held_take(held), 2, 100);
    expect(tape_faults_held_take(held), 4, 105);
    expect(tape_faults_held_take(held), 3, 107);
    expect(tape_faults_held_take(held), 5, INT64_MAX);
    assert_null(tape_faults_held_take(held));
    tape_faults_held_free(held);
}

static void no_more_than_so_many(void **state)
{
    (void)state;
    struct tape_faults_held *held = tape_faults_held_new();
    struct tape_message message = message_of(1, 10, "a");
    for (int i = 0; i < TAPE_FAULTS_HELD_MAX; i++)
        if (tape_faults_held_keep(held, &message, i % 3 == 0, i % 2) != 1)
            fail_msg("%d", i);
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 0);
    tape_faults_held_free_one(tape_faults_held_take(held));
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 1);
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 0);
    tape_faults_held_free_one(tape_faults_held_next(held));
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 0), 1);
    assert_int_equal(tape_faults_held_keep(held, &message, 1, 0), 0);
    tape_faults_held_clear(held);
    assert_null(tape_faults_held_first(held));
    assert_null(tape_faults_held_next(held));
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 1);
    tape_faults_held_free(held);
}

static void no_more_than_so_many_bytes(void **state)
{
    static char text[4 << 20];
    (void)state;
    struct tape_faults_held *held = tape_faults_held_new();
    struct tape_message message = message_of(1, 10, "a");
    message.frame = message.payload = (struct tape_slice){text, sizeof text};
    for (int i = 0; i < 15; i++)
        assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 1);
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 0);
    for (int i = 0; i < 3; i++) {
        tape_faults_held_free_one(tape_faults_held_take(held));
        assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 1);
        assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 0);
    }
    message = message_of(1, 10, "a");
    assert_int_equal(tape_faults_held_keep(held, &message, 0, 1), 1);
    tape_faults_held_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_text_is_copied),
        cmocka_unit_test(the_earliest_leaves_first),
        cmocka_unit_test(those_that_wait_count_their_stream),
        cmocka_unit_test(nameless_ones_count_their_connection),
        cmocka_unit_test(the_end_ends_the_waiting),
        cmocka_unit_test(no_more_than_so_many),
        cmocka_unit_test(no_more_than_so_many_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
