#include "replay/source_duplicates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/ws.h"
#include "replay/source_hash.h"
#include "tests/unit/make_records.h"

#define SECOND 1000000000ll

static struct tape_source_duplicates *duplicates;

static struct tape_message message_of(int archive, uint32_t connection, int64_t recv_ns,
                                      const char *text)
{
    static const char prefix[] = "{\"stream\":\"";
    struct tape_message message = {
        .recv_ns = recv_ns,
        .connection = connection,
        .kind = TAPE_FEED_DATA,
        .opcode = TAPE_WS_TEXT,
        .archive = (uint16_t)archive,
        .payload = {text, strlen(text)},
        .stream = {"", 0},
    };
    if (strncmp(text, prefix, sizeof prefix - 1) == 0) {
        message.stream.data = text + sizeof prefix - 1;
        message.stream.bytes = strcspn(message.stream.data, "\"");
    }
    return message;
}

static int take(int archive, uint32_t connection, int64_t recv_ns, const char *text)
{
    struct tape_message message = message_of(archive, connection, recv_ns, text);
    return tape_source_duplicates_take(duplicates, &message, NULL);
}

static void begin(int by_connection)
{
    tape_source_duplicates_free(duplicates);
    duplicates = tape_source_duplicates_new(by_connection, &tape_source_duplicates_default, NULL);
    assert_non_null(duplicates);
}

static int tear_down(void **state)
{
    (void)state;
    tape_source_duplicates_free(duplicates);
    duplicates = NULL;
    return 0;
}

static struct tape_source_share share_of(const char *stream, int archive)
{
    struct tape_source_share share;
    for (int i = 0; tape_source_duplicates_share(duplicates, i, &share); i++)
        if (strcmp(share.stream, stream) == 0 && share.archive == archive)
            return share;
    fail_msg("no row of %s, archive %d", stream, archive);
    return share;
}

static char *trade(int64_t id, int price)
{
    static char text[200];
    snprintf(
        text, sizeof text,
        "{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"s\":\"X\",\"t\":%lld,\"p\":\"%d\"}}",
        (long long)id, price);
    return text;
}

static void the_first_is_given(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(take(0, 1, 10, trade(1, 5)), 1);
    assert_int_equal(take(1, 1, 15, trade(1, 5)), 0);
    assert_int_equal(take(1, 1, 20, trade(2, 5)), 1);
    assert_int_equal(take(0, 1, 30, trade(2, 5)), 0);
    assert_int_equal(take(0, 1, 40, trade(3, 5)), 1);
    assert_int_equal(take(0, 1, 41, trade(4, 5)), 1);
    assert_int_equal(take(1, 1, 44, trade(4, 5)), 0);
    struct tape_source_share a = share_of("x@trade", 0), b = share_of("x@trade", 1);
    assert_int_equal(a.given, 3);
    assert_int_equal(a.late, 1);
    assert_int_equal(a.missed, 0);
    assert_true(a.late_p50_ns == 10 && a.late_p99_ns == 10 && a.late_max_ns == 10);
    assert_int_equal(b.given, 1);
    assert_int_equal(b.late, 2);
    assert_int_equal(b.missed, 1); /* 3 */
    assert_true(b.late_p50_ns == 5 && b.late_max_ns == 5);
    assert_int_equal(a.unmatched + b.unmatched + a.differing + b.differing, 0);
}

static void other_kinds_are_never_duplicates(void **state)
{
    static const int kinds[] = {TAPE_FEED_ACK, TAPE_FEED_REFUSAL, TAPE_FEED_EVENT, TAPE_FEED_PING,
                                TAPE_FEED_BAD};
    (void)state;
    begin(-1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int archive = 0; archive < 3; archive++) {
            struct tape_message message = message_of(archive, 1, 10, "{\"result\":null,\"id\":1}");
            message.kind = (uint8_t)kinds[i];
            assert_int_equal(tape_source_duplicates_take(duplicates, &message, NULL), 1);
        }
    struct tape_source_share share;
    assert_int_equal(tape_source_duplicates_share(duplicates, 0, &share), 0);
}

/* An id alone makes nothing a duplicate, and no id is needed for one. */
static void bytes_decide(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(take(0, 1, 10, trade(7, 5)), 1);
    assert_int_equal(take(1, 1, 11, trade(7, 6)), 1);
    assert_int_equal(share_of("x@trade", 1).differing, 1);
    assert_int_equal(share_of("x@trade", 0).differing, 0);
    assert_int_equal(take(0, 1, 12, trade(7, 6)), 0);
    assert_int_equal(take(1, 1, 13, trade(7, 5)), 0);
    /* one stream's message is not another's */
    assert_int_equal(take(0, 1, 20, "{\"stream\":\"a\",\"data\":{\"n\":1}}"), 1);
    assert_int_equal(take(1, 1, 21, "{\"stream\":\"b\",\"data\":{\"n\":1}}"), 1);
    assert_int_equal(take(1, 1, 22, "{\"stream\":\"a\",\"data\":{\"n\":1}}"), 0);
    /* a text and a binary message, an empty one */
    assert_int_equal(take(0, 1, 30, ""), 1);
    assert_int_equal(take(1, 1, 30, ""), 0);
}

static void the_wrapper_does_not_count(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(take(0, 1, 10, trade(1, 5)), 1);
    assert_int_equal(take(1, 1, 11, "{\"e\":\"trade\",\"s\":\"X\",\"t\":1,\"p\":\"5\"}"), 0);
    assert_int_equal(take(1, 1, 12, "{\"e\":\"trade\",\"s\":\"X\",\"t\":2,\"p\":\"5\"}"), 1);
    assert_int_equal(take(0, 1, 13, trade(2, 5)), 0);
    /* other wrappers are compared whole */
    assert_int_equal(take(0, 1, 20, "{\"stream\":\"x\",\"data\":{\"n\":1},\"k\":1}"), 1);
    assert_int_equal(take(1, 1, 21, "{\"stream\":\"x\",\"data\":{\"n\":1},\"k\":2}"), 1);
    assert_int_equal(take(1, 1, 22, "{\"stream\":\"x\",\"data\":{\"n\":1}}"), 1);
}

/* Without ids the k-th here is the k-th there. */
static void equal_bytes_are_counted(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(take(0, 1, 1, "tick"), 1);
    assert_int_equal(take(1, 1, 1, "tock"), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(0, 1, 10 + i, "same"), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(1, 1, 20 + i, "same"), 0);
    assert_int_equal(take(1, 1, 30, "same"), 1);
    assert_int_equal(take(1, 1, 31, "same"), 1);
    assert_int_equal(take(0, 1, 40, "same"), 0);
    assert_int_equal(take(0, 1, 41, "same"), 0);
    assert_int_equal(take(0, 1, 42, "same"), 1);
    assert_int_equal(share_of("", 0).given, 5);
    assert_int_equal(share_of("", 1).late, 3);
    assert_true(share_of("", 1).late_max_ns == 10);
}

/* One recorder died and another was restarted amid equal messages: what was sent before it was
 * there cannot be meant, so that none is lost when the first dies later. */
static void a_new_connection_is_not_given_the_past(void **state)
{
    (void)state;
    begin(0);
    for (int i = 0; i < 10; i++) /* archive 0 alone */
        assert_int_equal(take(0, 1, i * SECOND, "beat"), 1);
    assert_int_equal(take(1, 9, 9 * SECOND + 1, "hello"), 1);
    assert_int_equal(take(0, 1, 10 * SECOND, "beat"), 1);
    assert_int_equal(take(1, 9, 10 * SECOND + 5, "beat"), 0);
    assert_true(share_of("", 1).late_max_ns == 5);
    assert_int_equal(take(1, 9, 11 * SECOND + 5, "beat"), 1);
    assert_int_equal(take(1, 9, 12 * SECOND + 5, "beat"), 1);
    /* its very first message may be the late copy of one from before */
    assert_int_equal(take(0, 1, 20 * SECOND, "bell"), 1);
    assert_int_equal(take(1, 10, 20 * SECOND + 3, "bell"), 0);
}

static void by_connection(void **state)
{
    (void)state;
    begin(1);
    assert_int_equal(take(0, 1, 10, trade(1, 5)), 1);
    assert_int_equal(take(0, 1, 10, trade(1, 5)), 1); /* the venue said it twice */
    assert_int_equal(take(0, 2, 11, trade(1, 5)), 0);
    assert_int_equal(take(0, 2, 12, trade(1, 5)), 0);
    assert_int_equal(take(0, 2, 13, trade(1, 5)), 1);
    assert_int_equal(take(0, 1, 20, "plain"), 1);
    assert_int_equal(take(0, 2, 21, "plain"), 0);
    assert_int_equal(share_of("x@trade", 0).missed, 0);
    assert_int_equal(share_of("x@trade", 0).late, 2);
    begin(0);
    assert_int_equal(take(0, 1, 10, trade(1, 5)), 1);
    assert_int_equal(take(0, 2, 11, trade(1, 5)), 0); /* with an id */
    assert_int_equal(take(0, 1, 20, "plain"), 1);
    assert_int_equal(take(0, 2, 21, "plain"), 1); /* and without */
    assert_int_equal(take(1, 1, 30, trade(1, 5)), 0);
    assert_int_equal(take(1, 2, 31, trade(1, 5)), 0);
    assert_int_equal(share_of("x@trade", 1).missed, 0);
}

static void the_window_ends(void **state)
{
    int64_t id_ns = tape_source_duplicates_default.id_ns;
    int64_t bytes_ns = tape_source_duplicates_default.bytes_ns;
    (void)state;
    begin(0);
    assert_int_equal(take(0, 1, 0, trade(1, 5)), 1);
    assert_int_equal(take(0, 1, 0, "plain"), 1);
    assert_int_equal(take(0, 1, 0, "plainer"), 1);
    assert_int_equal(take(1, 1, bytes_ns, "plain"), 0);
    assert_int_equal(take(1, 1, bytes_ns + 1, "plainer"), 1);
    assert_int_equal(take(1, 1, id_ns, trade(1, 5)), 0);
    assert_int_equal(take(2, 1, id_ns + 1, trade(1, 5)), 1);
    uint64_t held = tape_source_duplicates_held(duplicates);
    for (int i = 0; i < 100; i++)
        assert_int_equal(take(2, 1, id_ns + 2, trade(1000 + i, 5)), 1);
    assert_true(tape_source_duplicates_held(duplicates) > 50 * held / 3);
    assert_int_equal(take(2, 1, 3 * id_ns, trade(9, 5)), 1); /* now nothing else is in it */
    assert_true(tape_source_duplicates_held(duplicates) <= held);
    /* the clock of the window never runs back with the stamps */
    assert_int_equal(take(0, 1, 5, trade(2, 5)), 1);
    assert_int_equal(take(1, 1, 2 * id_ns, trade(2, 5)), 0);
    assert_true(share_of("x@trade", 1).late_max_ns == 2 * id_ns - 5);
}

static void stamps_may_be_anything(void **state)
{
    static const int64_t stamps[] = {INT64_MAX, INT64_MIN, 0, INT64_MIN + 1, INT64_MAX - 1};
    (void)state;
    begin(0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(take(0, 1, stamps[i], trade(i, 5)), 1);
        assert_int_equal(take(1, 1, stamps[4 - i], trade(i, 5)), 0);
    }
    begin(1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(take(0, 1, stamps[4 - i], "a"), 1);
        assert_int_equal(take(0, 1, stamps[i], "b"), 1);
    }
}

/* Every message is distinct, or the id of all is the same, or wild: none may be lost. */
static void hostile_ids(void **state)
{
    static const int64_t ids[] = {0, -1, INT64_MAX, INT64_MIN + 1, 1ll << 62, 42};
    struct dice dice = {99};
    (void)state;
    begin(0);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(take(0, 1, i, trade(42, i)), 1);
        if (i % 3)
            assert_int_equal(take(1, 1, i + 2, trade(42, i)), 0);
    }
    assert_int_equal(share_of("x@trade", 0).given, 20000);
    assert_int_equal(share_of("x@trade", 0).differing, 0);
    begin(0);
    for (int i = 0; i < 5000; i++) {
        char wild[] = "{\"e\":\"trade\",\"s\":\"X\",\"t\":9223372036854775808,\"n\":00000}\0     ";
        snprintf(wild + sizeof wild - 13, 12, "%05d}", (10000 + i) % 99999);
        assert_int_equal(take(0, 1, i, trade(ids[roll_below(&dice, 6)], i)), 1);
        assert_int_equal(take(0, 1, i, wild), 1);
        assert_int_equal(take(1, 1, i, wild), 0);
    }
}

/* A million times the same bytes, each of which is a message: as fast as different ones. */
static void equal_bytes_without_end(void **state)
{
    (void)state;
    begin(0);
    for (int i = 0; i < 300000; i++) {
        assert_int_equal(take(0, 1, i, "x"), 1);
        assert_int_equal(take(0, 1, i, trade(1, 1)), 1);
    }
    for (int i = 0; i < 300000; i++) {
        assert_int_equal(take(1, 1, 400000, "x"), 0);
        assert_int_equal(take(1, 1, 400000, trade(1, 1)), 0);
    }
    assert_int_equal(take(1, 1, 400000, "x"), 1);
    assert_int_equal(share_of("x@trade", 1).missed, 0);
}

static void more_ways_than_are_known(void **state)
{
    (void)state;
    begin(1);
    assert_int_equal(take(0, 1, 1, "x"), 1);
    for (uint32_t way = 2; way <= 256; way++)
        assert_int_equal(take(0, way, 2, "x"), 0);
    for (uint32_t way = 257; way < 2000; way++)
        assert_int_equal(take(0, way, 3, "x"), 1);
    assert_int_equal(share_of("", 0).unmatched, 2000 - 257);
    assert_int_equal(take(0, 1, 4, "x"), 1);
}

static void memory_is_bounded(void **state)
{
    struct tape_source_duplicates_limits limits = tape_source_duplicates_default;
    char text[64];
    (void)state;
    limits.messages = 100;
    duplicates = tape_source_duplicates_new(0, &limits, NULL);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(take(0, 1, i, text), 1);
    }
    assert_int_equal(share_of("", 0).unmatched, 4900);
    assert_true(tape_source_duplicates_held(duplicates) < 100 * 400);
    assert_int_equal(take(1, 1, 5000, "4999"), 0);
    assert_int_equal(take(1, 1, 5000, "4901"), 0);
    assert_int_equal(take(1, 1, 5000, "4899"), 1);
    tape_source_duplicates_free(duplicates);
    limits.messages = 1 << 20;
    limits.bytes = 20000;
    duplicates = tape_source_duplicates_new(0, &limits, NULL);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(take(0, 1, i, trade(i, i)), 1);
        assert_true(tape_source_duplicates_held(duplicates) <= limits.bytes);
    }
    assert_int_equal(take(1, 1, 5000, trade(4999, 4999)), 0);
    char big[30001];
    memset(big, 'x', 30000);
    big[30000] = '\0';
    assert_int_equal(take(0, 1, 6000, big), 1); /* more than may be held: forgotten at once */
    assert_int_equal(take(1, 1, 6000, big), 1);
    assert_int_equal((int)tape_source_duplicates_held(duplicates), 0);
    assert_int_equal(take(0, 1, 6000, trade(1, 1)), 1);
    assert_int_equal(take(1, 1, 6000, trade(1, 1)), 0);
}

/* Who knows the hash makes as many bytes of one hash as he likes. */
static void make_colliding(char bytes[17], uint64_t begin, uint64_t number)
{
    uint64_t length = 16, first = 0xd1b54a32d192ed03u ^ begin ^ (length * 0x9e3779b97f4a7c15u);
    memcpy(bytes, &first, 8);
    memcpy(bytes + 8, &number, 8);
}

static int take_bytes(int archive, const char *stream, const char *bytes)
{
    static char nothing[16]; /* no literal: compilers look what is read of those */
    struct tape_message message = message_of(archive, 1, 10, nothing);
    message.opcode = TAPE_WS_BINARY;
    message.stream = (struct tape_slice){stream, strlen(stream)};
    message.payload = (struct tape_slice){bytes, 16};
    return tape_source_duplicates_take(duplicates, &message, NULL);
}

static void equal_hashes(void **state)
{
    char bytes[17] = "", name[17] = "", other[17] = "";
    (void)state;
    begin(0);
    uint64_t hash = tape_source_hash(0, "x", 1);
    for (uint64_t i = 0; i < 64; i++) {
        make_colliding(bytes, hash, i);
        assert_true(i == 0 ||
                    tape_source_hash(hash, bytes, 16) == tape_source_hash(hash, other, 16));
        memcpy(other, bytes, 16);
        assert_int_equal(take_bytes(0, "x", bytes), 1);
    }
    for (uint64_t i = 0; i < 64; i++) {
        make_colliding(bytes, hash, i);
        assert_int_equal(take_bytes(1, "x", bytes), 0);
    }
    assert_int_equal(share_of("x", 0).unmatched, 0);
    for (uint64_t i = 64; i < 3000; i++) { /* what is out of reach is given */
        make_colliding(bytes, hash, i);
        assert_int_equal(take_bytes(0, "x", bytes), 1);
    }
    make_colliding(bytes, hash, 0);
    assert_int_equal(take_bytes(2, "x", bytes), 1);
    assert_int_equal(share_of("x", 0).unmatched, 3000 - 65);
    assert_int_equal(share_of("x", 2).unmatched, 1);
    begin(0);
    make_colliding(name, 0, 0x4141414141414141);
    make_colliding(other, 0, 0x4242424242424242);
    assert_true(tape_source_hash(0, name, 16) == tape_source_hash(0, other, 16));
    assert_int_equal(take_bytes(0, name, "0123456789abcdef"), 1);
    assert_int_equal(take_bytes(1, other, "0123456789abcdef"), 1);
    assert_int_equal(take_bytes(1, name, "0123456789abcdef"), 0);
}

/* The first of equal ones are forgotten, the rest still count. */
static void forgotten_one_by_one(void **state)
{
    struct tape_source_duplicates_limits limits = tape_source_duplicates_default;
    char text[64];
    (void)state;
    limits.messages = 50;
    for (int kept = 0; kept <= 5; kept++) {
        tape_source_duplicates_free(duplicates);
        duplicates = tape_source_duplicates_new(0, &limits, NULL);
        for (int i = 0; i < 5; i++)
            assert_int_equal(take(0, 1, i, "same"), 1);
        for (int i = 0; i < 50 - kept; i++) {
            snprintf(text, sizeof text, "%d", i);
            assert_int_equal(take(0, 1, 10, text), 1);
        }
        for (int i = 0; i < kept; i++)
            assert_int_equal(take(1, 1, 20, "same"), 0);
        assert_int_equal(take(1, 1, 20, "same"), 1);
    }
}

/* As many copies as archives, in any order and with reset in between: each once. */
static void generated(void **state)
{
    (void)state;
    for (uint64_t round = 1; round < 40; round++) {
        struct dice dice = {round};
        uint64_t archives = 1 + roll_below(&dice, 6), given = 0, taken[6] = {0};
        begin((int)(round & 1));
        if (round % 5 == 0) {
            for (int i = 0; i < 50; i++)
                take(0, 1, i, trade(i, i));
            tape_source_duplicates_reset(duplicates);
        }
        /* every archive walks through 0, 1, 2 …, none more than 200 behind the first */
        for (int64_t at = 0; at < 20000; at++) {
            uint64_t archive = roll_below(&dice, archives);
            int wanted = taken[archive] == given;
            char text[300];
            uint64_t number = taken[archive]++;
            snprintf(text, sizeof text, number % 3 ? "%s" : "%s ",
                     trade((int64_t)(number % 7 ? number : 1), (int)(number / 2)));
            /* every other message without an id has an equal neighbour */
            if (number % 2)
                snprintf(text, sizeof text, "{\"m\":%d}", (int)(number / 4));
            int got = take((int)archive, 1, at, text);
            if (got != wanted)
                fail_msg("round %d, archive %d, message %d: %d", (int)round, (int)archive,
                         (int)number, got);
            given += (uint64_t)wanted;
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_first_is_given),
        TEST(other_kinds_are_never_duplicates),
        TEST(bytes_decide),
        TEST(the_wrapper_does_not_count),
        TEST(equal_bytes_are_counted),
        TEST(a_new_connection_is_not_given_the_past),
        TEST(by_connection),
        TEST(the_window_ends),
        TEST(stamps_may_be_anything),
        TEST(hostile_ids),
        TEST(equal_bytes_without_end),
        TEST(more_ways_than_are_known),
        TEST(memory_is_bounded),
        TEST(equal_hashes),
        TEST(forgotten_one_by_one),
        TEST(generated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
