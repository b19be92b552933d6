#include "format/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_every_form(void **state)
{
    static const char *const texts[] = {"btcusdt@trade", "a\"b"};
    static const uint64_t numbers[] = {0, 7, UINT64_MAX};
    static const char expected[] =
        "{\"text\":\"x\",\"bytes\":\"a\\u0000b\",\"number\":-5,\"wide\":\"1780000000123456789\","
        "\"least\":\"-9223372036854775808\",\"yes\":true,\"no\":false,\"texts\":[\"btcusdt@trade\","
        "\"a\\\"b\"],\"numbers\":[0,7,18446744073709551615],\"none\":[],\"null\":[]}";
    char to[512];
    struct tape_event_writer writer;
    (void)state;
    tape_event_begin(&writer, to, sizeof to);
    tape_event_put_text(&writer, "text", "x");
    tape_event_put_text(&writer, "left out", NULL);
    tape_event_put_bytes(&writer, "bytes", "a\0b", 3);
    tape_event_put_number(&writer, "number", -5);
    tape_event_put_wide(&writer, "wide", INT64_C(1780000000123456789));
    tape_event_put_wide(&writer, "least", INT64_MIN);
    tape_event_put_bool(&writer, "yes", 5);
    tape_event_put_bool(&writer, "no", 0);
    tape_event_put_texts(&writer, "texts", texts, 2);
    tape_event_put_numbers(&writer, "numbers", numbers, 3);
    tape_event_put_texts(&writer, "none", texts, 0);
    tape_event_put_numbers(&writer, "null", NULL, 0);
    assert_int_equal(tape_event_end(&writer), strlen(expected));
    assert_string_equal(to, expected);
    assert_int_equal(writer.full, 0);
    struct tape_event *event = tape_event_read(to, strlen(to));
    assert_non_null(event);
    assert_string_equal(tape_event_text(event, "text"), "x");
    assert_true(tape_event_number(event, "number", 0) == -5);
    assert_true(tape_event_number(event, "wide", 0) == INT64_C(1780000000123456789));
    assert_true(tape_event_number(event, "least", 0) == INT64_MIN);
    assert_true(tape_event_number(event, "yes", 7) == 1);
    assert_true(tape_event_number(event, "no", 7) == 0);
    assert_string_equal(tape_event_text_at(event, "texts", 1), "a\"b");
    assert_null(tape_event_text_at(event, "texts", 2));
    assert_null(tape_event_text_at(event, "texts", -1));
    assert_null(tape_event_text_at(event, "none", 0));
    assert_null(tape_event_text_at(event, "numbers", 0));
    assert_true(tape_event_number_at(event, "numbers", 1, -1) == 7);
    assert_true(tape_event_number_at(event, "numbers", 2, -1) == -1); /* passes 2^53 */
    assert_true(tape_event_number_at(event, "numbers", 3, -1) == -1);
    tape_event_free(event);
}

static void test_strings(void **state)
{
    static const struct {
        const char *value, *json;
    } cases[] = {
        {"", "{\"k\":\"\"}"},
        {"\"\\/", "{\"k\":\"\\\"\\\\/\"}"},
        {"\x01\n\x1b\x7f", "{\"k\":\"\\u0001\\u000a\\u001b\\u007f\"}"},
        {"\xe5\xb8\x81\xf0\x9f\x98\x80\xc3\xa9",
         "{\"k\":\"\xe5\xb8\x81\xf0\x9f\x98\x80\xc3\xa9\"}"},
        {"a\xff"
         "b",
         "{\"k\":\"a\xef\xbf\xbd"
         "b\"}"},
        {"\xe5\xb8", "{\"k\":\"\xef\xbf\xbd\xef\xbf\xbd\"}"},
        {"\xed\xa0\x80", "{\"k\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}"},
        {"\xc0\x80", "{\"k\":\"\xef\xbf\xbd\xef\xbf\xbd\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char to[256];
        struct tape_event_writer writer;
        tape_event_begin(&writer, to, sizeof to);
        tape_event_put_text(&writer, "k", cases[i].value);
        tape_event_end(&writer);
        assert_string_equal(to, cases[i].json);
    }
}

/* Whatever the room is, what was written is one object, within it, and says when it is not all. */
static void test_every_room(void **state)
{
    static const char *const texts[] = {"one", "two", "three\x01"};
    static const uint64_t numbers[] = {1, 22, 333};
    size_t whole = 0;
    (void)state;
    for (size_t room = 64; room < 260; room++) {
        char *to = malloc(room);
        struct tape_event_writer writer;
        tape_event_begin(&writer, to, room);
        tape_event_put_text(&writer, "a", "some \xe5\xb8\x81 text with \x02 in it");
        tape_event_put_wide(&writer, "b", 1780000000123456789);
        tape_event_put_texts(&writer, "c", texts, 3);
        tape_event_put_numbers(&writer, "d", numbers, 3);
        tape_event_put_bool(&writer, "e", 1);
        tape_event_put_number(&writer, "f", 12);
        size_t bytes = tape_event_end(&writer);
        assert_true(bytes < room && to[bytes] == 0 && strlen(to) == bytes);
        struct tape_event *event = tape_event_read(to, bytes);
        if (!event)
            fail_msg("no object: %s", to);
        const char *first = tape_event_text(event, "a");
        int complete =
            first && strlen(first) == 26 && tape_event_number(event, "b", 0) != 0 &&
            tape_event_text_at(event, "c", 2) && tape_event_number_at(event, "d", 2, 0) == 333 &&
            tape_event_number(event, "e", 0) == 1 && tape_event_number(event, "f", 0) == 12;
        if (complete && whole == 0)
            whole = room;
        assert_int_equal(writer.full, !complete);
        assert_true(!whole || complete);
        const char *last = tape_event_text_at(event, "c", 2);
        assert_true(!last || strcmp(last, "three\x01") == 0);
        tape_event_free(event);
        free(to);
    }
    assert_true(whole > 120 && whole < 200);
}

static void test_cut_text(void **state)
{
    char to[64], value[200];
    struct tape_event_writer writer;
    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    tape_event_begin(&writer, to, sizeof to);
    tape_event_put_text(&writer, "key", value);
    assert_int_equal(writer.full, 1);
    tape_event_put_bool(&writer, "more", 1);
    assert_int_equal(tape_event_end(&writer), 63);
    struct tape_event *event = tape_event_read(to, 63);
    assert_int_equal(strlen(tape_event_text(event, "key")), 63 - strlen("{\"key\":\"\"}"));
    assert_true(tape_event_number(event, "more", -1) == -1);
    tape_event_free(event);
}

static void test_refused_bodies(void **state)
{
    static const char *const bodies[] = {
        "",           "[]",           "5",
        "{",          "{}}",          "{} x",
        "{\"a\":{}}", "{\"a\":[[]]}", "{\"a\":[{}]}",
        "{\"a\":1,}", "{\"a\" 1}",    "{\"a\":[1,]}",
        "null",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (tape_event_read(bodies[i], strlen(bodies[i])))
            fail_msg("read: %s", bodies[i]);
    assert_null(tape_event_read("{}\0", 3));
    char *big = malloc(TAPE_EVENT_MAX_BYTES + 1);
    memset(big, ' ', TAPE_EVENT_MAX_BYTES + 1);
    memcpy(big, "{}", 2);
    struct tape_event *event = tape_event_read(big, TAPE_EVENT_MAX_BYTES);
    assert_non_null(event);
    tape_event_free(event);
    assert_null(tape_event_read(big, TAPE_EVENT_MAX_BYTES + 1));
    memset(big, '[', TAPE_EVENT_MAX_BYTES);
    assert_null(tape_event_read(big, TAPE_EVENT_MAX_BYTES));
    free(big);
}

static void test_values_of_other_forms(void **state)
{
    static const char body[] =
        "{\"n\":1.5,\"big\":9007199254740992,\"most\":9007199254740991,\"t\":\"12x\",\"neg\":\"-"
        "3\","
        "\"empty\":\"\",\"minus\":\"-\",\"over\":\"9223372036854775808\",\"space\":\" 1\",\"nul\":"
        "null,\"list\":[1,\"a\",null],\"n\":2,\"huge\":1e300,\"plus\":\"+1\"}";
    (void)state;
    struct tape_event *event = tape_event_read(body, sizeof body - 1);
    assert_non_null(event);
    static const char *const none[] = {"n",     "big", "t",    "empty", "minus", "over",
                                       "space", "nul", "list", "huge",  "plus",  "absent"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        if (tape_event_number(event, none[i], 77) != 77)
            fail_msg("%s has a number", none[i]);
    assert_true(tape_event_number(event, "most", 0) == INT64_C(9007199254740991));
    assert_true(tape_event_number(event, "neg", 0) == -3);
    assert_null(tape_event_text(event, "nul"));
    assert_null(tape_event_text(event, "list"));
    assert_null(tape_event_text_at(event, "neg", 0));
    assert_string_equal(tape_event_text_at(event, "list", 1), "a");
    assert_true(tape_event_number_at(event, "list", 0, 5) == 1);
    assert_true(tape_event_number_at(event, "list", 2, 5) == 5);
    tape_event_free(event);
    tape_event_free(NULL);
    assert_null(tape_event_text(NULL, "a"));
    assert_true(tape_event_number(NULL, "a", 4) == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),     cmocka_unit_test(test_strings),
        cmocka_unit_test(test_every_room),     cmocka_unit_test(test_cut_text),
        cmocka_unit_test(test_refused_bodies), cmocka_unit_test(test_values_of_other_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
