#include "replay/source_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "format/error.h"

static uint64_t add(uint64_t hash, uint64_t number)
{
    for (int shift = 0; shift < 64; shift += 8)
        hash = (hash ^ (number >> shift & 0xff)) * 0x100000001b3;
    return hash;
}

/* FNV-1a, by hand: struct tape_error is an int, then its text. */
static void test_fingerprint(void **state)
{
    (void)state;
    uint64_t wanted = 0xcbf29ce484222325;
    const uint64_t numbers[] = {4 + TAPE_ERROR_TEXT_BYTES, 0, 4, 4, TAPE_ERROR_TEXT_BYTES};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wanted = add(wanted, numbers[i]);
    assert_true(tape_source_layout("tape_error") == wanted);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(tape_source_layout("tape_message") != 0);
    assert_true(tape_source_layout("tape_message") != tape_source_layout("tape_tick"));
    assert_true(tape_source_layout("tape_messag") == 0);
    assert_true(tape_source_layout("") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
