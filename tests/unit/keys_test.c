#include "replay/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect_keys(const char *bytes, const int *keys, size_t count)
{
    struct tape_keys_decoder decoder = {0};
    size_t found = 0;
    for (const char *at = bytes; *at; at++) {
        int key = tape_keys_decode(&decoder, (unsigned char)*at);
        if (key == TAPE_KEYS_NONE)
            continue;
        if (found == count || key != keys[found])
            fail_msg("key %zu of \"%s\" is %d", found, bytes, key);
        found++;
    }
    assert_int_equal(found, count);
}

#define EXPECT(bytes, ...)                                                                         \
    do {                                                                                           \
        const int keys[] = {__VA_ARGS__};                                                          \
        expect_keys(bytes, keys, sizeof keys / sizeof *keys);                                      \
    } while (0)

static void each_key(void **state)
{
    (void)state;
    EXPECT(" .>+-10[]lq?", TAPE_KEYS_PAUSE, TAPE_KEYS_STEP_FRAME, TAPE_KEYS_STEP_TIME,
           TAPE_KEYS_FASTER, TAPE_KEYS_SLOWER, TAPE_KEYS_SPEED_ONE, TAPE_KEYS_SPEED_MAX,
           TAPE_KEYS_LOOP_FROM, TAPE_KEYS_LOOP_TO, TAPE_KEYS_LOOP, TAPE_KEYS_QUIT, TAPE_KEYS_HELP);
    EXPECT("\033[D\033[C", TAPE_KEYS_BACK, TAPE_KEYS_FORWARD);
    EXPECT("\033OD\033OC", TAPE_KEYS_BACK, TAPE_KEYS_FORWARD);
}

/* What a terminal sends for keys that we do not know presses none of ours. */
static void other_sequences_are_whole(void **state)
{
    (void)state;
    EXPECT("\033[A\033[B\033[1~\033[15~\033[H ", TAPE_KEYS_PAUSE);
    EXPECT("\033[1;5C", TAPE_KEYS_FORWARD);
    EXPECT("\033q.", TAPE_KEYS_STEP_FRAME);
    EXPECT("\033\033[C", TAPE_KEYS_FORWARD);
    EXPECT("xyz\x01\x7f\xff.", TAPE_KEYS_STEP_FRAME);
}

/* Where there is no terminal, as in a test, nothing is taken and nothing read. */
static void without_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(tape_keys_open(), 0);
    assert_int_equal(tape_keys_read(), TAPE_KEYS_NONE);
    tape_keys_restore();
    tape_keys_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key),
        cmocka_unit_test(other_sequences_are_whole),
        cmocka_unit_test(without_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
