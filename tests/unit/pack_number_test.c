#include "format/pack_number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/random_below.h"

enum { TEXT_ROOM = 128 + TAPE_PACK_READ_AHEAD };

#ifdef TAPE_PACK_NUMBER_WIDE
/* Of the texts before: each is read where the one before was, then until its own layout is known.
 */
static struct tape_pack_number_layout layout;

static TAPE_PACK_NUMBER_TARGET const uint8_t *read_wide(const uint8_t *from,
                                                        struct tape_pack_number *number)
{
    return tape_pack_number_read_wide(from, &layout, number);
}
#endif

/* All ways of reading agree on the text; returns the bytes used, 0 for none. */
static size_t read_all_ways(const char *text, struct tape_pack_number *number)
{
    uint8_t room[TEXT_ROOM] = {0};
    memcpy(room, text, strlen(text));
    const uint8_t *to = tape_pack_number_read_slow(room, number);
    struct tape_pack_number other = {0, 0};
    assert_ptr_equal(tape_pack_number_read(room, &other), to);
    if (to != NULL) {
        assert_true(other.value == number->value);
        assert_int_equal(other.decimals, number->decimals);
    }
#ifdef TAPE_PACK_NUMBER_WIDE
    int times = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")
                    ? TAPE_PACK_NUMBER_TRUSTED + 2
                    : 0;
    for (int i = 0; i < times; i++) {
        assert_ptr_equal(read_wide(room, &other), to);
        if (to != NULL) {
            assert_true(other.value == number->value);
            assert_int_equal(other.decimals, number->decimals);
        }
    }
#endif
    return to == NULL ? 0 : (size_t)(to - room);
}

struct sample {
    const char *text;
    size_t used;
    int64_t value;
    uint32_t decimals;
};

static void takes_exactly_what_it_would_write(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"0,", 1, 0, 0},
        {"7\"", 1, 7, 0},
        {"-7]", 2, -7, 0},
        {"61737.63000000\"", 14, 6173763000000, 8},
        {"0.00000000\"", 10, 0, 8},
        {"1.50e7", 4, 150, 2},
        {"123456789012345678}", 18, 123456789012345678, 0},
        {"999999999999999999", 18, 999999999999999999, 0},
        {"-99999999.9999999999", 20, -999999999999999999, 10},
        {"0.000000000000000001", 20, 1, 18},
        {"1000000000000000000", 0, 0, 0},
        {"0.0000000000000000001", 0, 0, 0},
        {"-0", 0, 0, 0},
        {"-0.000", 0, 0, 0},
        {"007", 0, 0, 0},
        {"00.5", 0, 0, 0},
        {".5", 0, 0, 0},
        {"-.5", 0, 0, 0},
        {"5.", 0, 0, 0},
        {"-", 0, 0, 0},
        {"", 0, 0, 0},
        {"x", 0, 0, 0},
        {"--1", 0, 0, 0},
        {"+1", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct tape_pack_number number;
        assert_int_equal(read_all_ways(samples[i].text, &number), samples[i].used);
        if (samples[i].used > 0) {
            assert_true(number.value == samples[i].value);
            assert_int_equal(number.decimals, samples[i].decimals);
        }
    }
}

static void reads_random_texts_alike_in_all_ways(void **state)
{
    (void)state;
    static const char letters[] = "00123456789..-\"x";
    for (int round = 0; round < 300000; round++) {
        char text[40], again[64];
        struct tape_pack_number number;
        uint32_t bytes = random_below(28), odd = random_below(3);
        for (uint32_t i = 0; i < bytes; i++)
            text[i] = odd == 0 || random_below(12) == 0 ? letters[random_below(16)]
                                                        : (char)('0' + random_below(10));
        text[bytes] = 0;
        size_t used = read_all_ways(text, &number);
        if (used == 0)
            continue;
        uint64_t size = (uint64_t)(number.value < 0 ? -number.value : number.value);
        uint64_t unit = (uint64_t)tape_pack_number_tens[number.decimals];
        int written = snprintf(again, sizeof again, "%s%llu", number.value < 0 ? "-" : "",
                               (unsigned long long)(size / unit));
        if (number.decimals > 0)
            written += snprintf(again + written, sizeof again - (size_t)written, ".%0*llu",
                                (int)number.decimals, (unsigned long long)(size % unit));
        assert_int_equal(written, used);
        assert_memory_equal(again, text, used);
    }
}

static void reads_times(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {"1970-01-01T00:00:00Z\"", 20, 0, 0},
        {"2021-04-17T16:43:37.629977Z\"", 27, 1618677817629977, 6},
        {"2024-02-29T23:59:59.9Z", 22, 17092511999, 1},
        {"1969-12-31T23:59:59.999Z", 24, -1, 3},
        {"0000-01-01T00:00:00Z", 20, -62167219200, 0},
        {"9999-12-31T23:59:59Z", 20, 253402300799, 0},
        {"9999-12-31T23:59:59.999999999Z", 0, 0, 0},
        {"2023-02-29T00:00:00Z", 0, 0, 0},
        {"1900-02-29T00:00:00Z", 0, 0, 0},
        {"2000-02-29T00:00:00Z", 20, 951782400, 0},
        {"2024-13-01T00:00:00Z", 0, 0, 0},
        {"2024-00-01T00:00:00Z", 0, 0, 0},
        {"2024-01-00T00:00:00Z", 0, 0, 0},
        {"2024-01-01T24:00:00Z", 0, 0, 0},
        {"2024-01-01T00:00:60Z", 0, 0, 0},
        {"2024-01-01 00:00:00Z", 0, 0, 0},
        {"2024-01-01T00:00:00", 0, 0, 0},
        {"2024-01-01T00:00:00.Z", 0, 0, 0},
        {"2024-01-01T00:00:00.1234567890Z", 0, 0, 0},
        {"2024-01", 0, 0, 0},
        {"", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        uint8_t room[TEXT_ROOM] = {0};
        struct tape_pack_number number;
        memcpy(room, samples[i].text, strlen(samples[i].text));
        const uint8_t *to = tape_pack_number_read_time(room, &number);
        assert_int_equal(to == NULL ? 0 : to - room, samples[i].used);
        if (to != NULL) {
            assert_true(number.value == samples[i].value);
            assert_int_equal(number.decimals, samples[i].decimals);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_exactly_what_it_would_write),
        cmocka_unit_test(reads_random_texts_alike_in_all_ways),
        cmocka_unit_test(reads_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
