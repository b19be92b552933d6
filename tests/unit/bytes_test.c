#include "format/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

static void writes_little_endian(void **state)
{
    (void)state;
    static const uint8_t want[] = {0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
    uint8_t to[9] = {0};
    tape_bytes_put_u64(to + 1, 0x0102030405060708ull);
    assert_memory_equal(to + 1, want, 8);
    assert_int_equal(tape_bytes_get_u64(to + 1), 0x0102030405060708ull);
    assert_int_equal(tape_bytes_get_u32(to + 1), 0x05060708);
    assert_int_equal(tape_bytes_get_u16(to + 1), 0x0708);
    tape_bytes_put_i64(to, -2);
    assert_int_equal(tape_bytes_get_i64(to), -2);
    assert_int_equal(to[0], 0xfe);
    assert_int_equal(to[7], 0xff);
}

static const struct {
    uint64_t value;
    size_t length;
    uint8_t bytes[10];
} varints[] = {
    {0, 1, {0}},
    {1, 1, {1}},
    {127, 1, {0x7f}},
    {128, 2, {0x80, 0x01}},
    {300, 2, {0xac, 0x02}},
    {16383, 2, {0xff, 0x7f}},
    {16384, 3, {0x80, 0x80, 0x01}},
    {0xffffffffu, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
    {1ull << 63, 10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}},
    {UINT64_MAX, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
};

static void reads_and_writes_varints(void **state)
{
    (void)state;
    struct guard guard = guard_open(64);
    for (size_t i = 0; i < sizeof varints / sizeof varints[0]; i++) {
        uint8_t to[TAPE_VARINT_MAX_BYTES];
        uint64_t value = 0;
        assert_int_equal(tape_bytes_put_varint(to, varints[i].value), varints[i].length);
        assert_memory_equal(to, varints[i].bytes, varints[i].length);
        for (size_t cut = 0; cut < varints[i].length; cut++)
            assert_int_equal(tape_bytes_get_varint(guard_put(&guard, to, cut), cut, &value), 0);
        assert_int_equal(tape_bytes_get_varint(guard_put(&guard, to, varints[i].length),
                                               varints[i].length, &value),
                         varints[i].length);
        assert_true(value == varints[i].value);
    }
    guard_close(&guard);
}

static void refuses_long_forms_and_overflow(void **state)
{
    (void)state;
    static const struct {
        size_t length;
        uint8_t bytes[11];
    } bad[] = {
        {2, {0x80, 0x00}},
        {3, {0xff, 0x80, 0x00}},
        {10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}},
        {10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
        {11, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x01}},
        {10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}},
    };
    uint64_t value;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tape_bytes_get_varint(bad[i].bytes, bad[i].length, &value), 0);
}

static void zigzags(void **state)
{
    (void)state;
    assert_int_equal(tape_bytes_zigzag(0), 0);
    assert_int_equal(tape_bytes_zigzag(-1), 1);
    assert_int_equal(tape_bytes_zigzag(1), 2);
    assert_int_equal(tape_bytes_zigzag(-2), 3);
    assert_true(tape_bytes_zigzag(INT64_MIN) == UINT64_MAX);
    assert_true(tape_bytes_unzigzag(UINT64_MAX) == INT64_MIN);
    assert_true(tape_bytes_unzigzag(tape_bytes_zigzag(INT64_MAX)) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_little_endian),
        cmocka_unit_test(reads_and_writes_varints),
        cmocka_unit_test(refuses_long_forms_and_overflow),
        cmocka_unit_test(zigzags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
