#include "format/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "tests/unit/guard.h"
#include "tests/unit/make_records.h"

static void encodes_the_example_of_the_specification(void **state)
{
    (void)state;
    static const uint8_t body[] = {0x81, 0x03, 0x61, 0x62, 0x63};
    static const uint8_t want[] = {0x01, 0x01, 0x03, 0xac, 0x02, 0x05,
                                   0x81, 0x03, 0x61, 0x62, 0x63};
    struct tape_record record = {.recv_ns = 998,
                                 .connection = 300,
                                 .bytes = 5,
                                 .flags = 1,
                                 .kind = TAPE_RECORD_FRAME_IN,
                                 .data = body};
    uint8_t to[TAPE_RECORD_HEAD_MAX_BYTES + 5];
    assert_int_equal(tape_record_put(to, &record, 1000), sizeof want);
    assert_memory_equal(to, want, sizeof want);
    assert_int_equal(tape_record_put_head(to, &record, 1000), 6);
}

static int64_t roll_time(struct dice *dice, int64_t previous)
{
    switch (roll_below(dice, 6)) {
    case 0:
        return INT64_MIN;
    case 1:
        return INT64_MAX;
    case 2:
        return (int64_t)roll(dice);
    default:
        return (int64_t)((uint64_t)previous + roll_below(dice, 2000) - 500);
    }
}

static struct tape_record roll_record(struct dice *dice, int64_t previous, const uint8_t *bodies)
{
    struct tape_record record = {.recv_ns = roll_time(dice, previous), .data = bodies};
    record.kind = (uint8_t)(1 + roll_below(dice, 255));
    record.flags = (uint16_t)(roll(dice) >> roll_below(dice, 64));
    record.connection = (uint32_t)(roll(dice) >> (32 + roll_below(dice, 32)));
    record.bytes = (uint32_t)roll_below(dice, roll_below(dice, 2) ? 300 : 4);
    return record;
}

static void gives_back_random_records(void **state)
{
    (void)state;
    struct guard guard = guard_open(1024);
    struct dice dice = {20261122};
    uint8_t bodies[300], to[TAPE_RECORD_HEAD_MAX_BYTES + 300];
    for (size_t i = 0; i < sizeof bodies; i++)
        bodies[i] = (uint8_t)roll(&dice);
    int64_t previous = 0;
    for (int i = 0; i < 20000; i++) {
        struct tape_record record = roll_record(&dice, previous, bodies), got = {0};
        size_t length = tape_record_put(to, &record, previous);
        assert_true(length <= TAPE_RECORD_HEAD_MAX_BYTES + record.bytes);
        const uint8_t *exact = guard_put(&guard, to, length);
        assert_int_equal(tape_record_get(exact, length, previous, &got), length);
        assert_true(got.recv_ns == record.recv_ns);
        assert_int_equal(got.connection, record.connection);
        assert_int_equal(got.flags, record.flags);
        assert_int_equal(got.kind, record.kind);
        assert_int_equal(got.bytes, record.bytes);
        assert_memory_equal(got.data, record.data, record.bytes);
        size_t cut = roll_below(&dice, length);
        assert_int_equal(tape_record_get(guard_put(&guard, to, cut), cut, previous, &got), 0);
        previous = record.recv_ns;
    }
    guard_close(&guard);
}

static void carries_the_longest_body(void **state)
{
    (void)state;
    uint8_t *body = calloc(1, TAPE_RECORD_MAX_BYTES);
    uint8_t *to = malloc(TAPE_RECORD_HEAD_MAX_BYTES + TAPE_RECORD_MAX_BYTES);
    struct tape_record got, record = {.kind = 1, .bytes = TAPE_RECORD_MAX_BYTES, .data = body};
    body[0] = 1;
    body[TAPE_RECORD_MAX_BYTES - 1] = 2;
    size_t length = tape_record_put(to, &record, 0);
    assert_int_equal(tape_record_get(to, length, 0, &got), length);
    assert_int_equal(got.bytes, TAPE_RECORD_MAX_BYTES);
    assert_memory_equal(got.data, body, TAPE_RECORD_MAX_BYTES);
    free(body);
    free(to);
}

/* kind, flags, delta, connection, bytes as numbers, then whether it is a record. */
static const struct {
    uint8_t kind;
    uint64_t flags, delta, connection, bytes;
    int good;
} limits[] = {
    {1, 65535, 0, 4294967295u, 0, 1},
    {255, 0, UINT64_MAX, 0, 0, 1},
    {0, 0, 0, 0, 0, 0},
    {1, 65536, 0, 0, 0, 0},
    {1, 0, 0, 4294967296ull, 0, 0},
    {1, 0, 0, 0, 1, 0}, /* no body follows */
    {1, 0, 0, 0, TAPE_RECORD_MAX_BYTES + 1, 0},
    {1, 0, 0, 0, UINT64_MAX, 0},
};

static void keeps_the_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint8_t bytes[64] = {limits[i].kind};
        struct tape_record record;
        size_t used = 1;
        used += tape_bytes_put_varint(bytes + used, limits[i].flags);
        used += tape_bytes_put_varint(bytes + used, limits[i].delta);
        used += tape_bytes_put_varint(bytes + used, limits[i].connection);
        used += tape_bytes_put_varint(bytes + used, limits[i].bytes);
        assert_int_equal(tape_record_get(bytes, used, 0, &record), limits[i].good ? used : 0);
    }
}

static void refuses_a_body_beyond_the_limit_though_it_is_there(void **state)
{
    (void)state;
    uint8_t *bytes = calloc(1, TAPE_RECORD_MAX_BYTES + 64);
    struct tape_record record;
    bytes[0] = 1;
    size_t used = 4;
    used += tape_bytes_put_varint(bytes + used, TAPE_RECORD_MAX_BYTES + 1);
    assert_int_equal(tape_record_get(bytes, TAPE_RECORD_MAX_BYTES + 64, 0, &record), 0);
    free(bytes);
}

/* One number of a head as the specification has it: 0, or the bytes that it took. */
static size_t take_plainly(const uint8_t *from, size_t available, uint64_t limit, uint64_t *value)
{
    size_t used = tape_bytes_get_varint(from, available, value);
    return used > 0 && *value <= limit ? used : 0;
}

static size_t get_plainly(const uint8_t *from, size_t available, struct tape_record *record)
{
    static const uint64_t limits_of[4] = {UINT16_MAX, UINT64_MAX, UINT32_MAX,
                                          TAPE_RECORD_MAX_BYTES};
    uint64_t numbers[4] = {0};
    size_t at = 1;
    if (available == 0 || from[0] == 0)
        return 0;
    for (int i = 0; i < 4; i++) {
        size_t used = take_plainly(from + at, available - at, limits_of[i], &numbers[i]);
        if (used == 0)
            return 0;
        at += used;
    }
    if (numbers[3] > available - at)
        return 0;
    *record = (struct tape_record){.recv_ns = tape_bytes_unzigzag(numbers[1]),
                                   .connection = (uint32_t)numbers[2],
                                   .bytes = (uint32_t)numbers[3],
                                   .flags = (uint16_t)numbers[0],
                                   .kind = from[0],
                                   .data = from + at};
    return at + numbers[3];
}

/* Bytes that are heads now and then: numbers of all lengths, some not in their shortest form. */
static size_t roll_head(struct dice *dice, uint8_t to[64])
{
    size_t used = 1;
    to[0] = (uint8_t)roll_below(dice, 4);
    for (int i = 0; i < 4; i++) {
        size_t length = roll_below(dice, 3) ? 1 + roll_below(dice, 2) : 1 + roll_below(dice, 10);
        for (size_t k = 1; k < length; k++)
            to[used++] = (uint8_t)(0x80 | roll(dice));
        to[used++] = roll_below(dice, 8) ? (uint8_t)(roll(dice) & 0x7f) : 0;
    }
    return used;
}

static void reads_any_head_as_specified(void **state)
{
    (void)state;
    struct guard guard = guard_open(1024);
    struct dice dice = {20261123};
    int good = 0;
    for (int i = 0; i < 300000; i++) {
        uint8_t bytes[512] = {0};
        struct tape_record got = {0}, want = {0};
        size_t head = roll_head(&dice, bytes);
        size_t length =
            roll_below(&dice, 2) ? head + roll_below(&dice, 400) : roll_below(&dice, head + 8);
        const uint8_t *from = guard_put(&guard, bytes, length);
        size_t used = get_plainly(from, length, &want);
        assert_int_equal(tape_record_get(from, length, 0, &got), used);
        good += used > 0;
        if (used > 0)
            assert_memory_equal(&got, &want, sizeof got);
    }
    assert_true(good > 10000);
    guard_close(&guard);
}

static void names_the_kinds(void **state)
{
    (void)state;
    assert_string_equal(tape_record_kind_word(TAPE_RECORD_FRAME_IN), "frame_in");
    assert_string_equal(tape_record_kind_word(TAPE_RECORD_DELAY), "delay");
    assert_null(tape_record_kind_word(0));
    assert_null(tape_record_kind_word(15));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_the_example_of_the_specification),
        cmocka_unit_test(gives_back_random_records),
        cmocka_unit_test(carries_the_longest_body),
        cmocka_unit_test(keeps_the_limits),
        cmocka_unit_test(refuses_a_body_beyond_the_limit_though_it_is_there),
        cmocka_unit_test(reads_any_head_as_specified),
        cmocka_unit_test(names_the_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
