#include "format/error.h"

#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void set_gives_status_and_text(void **state)
{
    (void)state;
    struct tape_error error = {0};
    assert_int_equal(tape_error_set(&error, TAPE_CORRUPT, "block %d of %s", 7, "x.tape"),
                     TAPE_CORRUPT);
    assert_int_equal(error.status, TAPE_CORRUPT);
    assert_string_equal(error.text, "block 7 of x.tape");
    tape_error_set(&error, TAPE_USAGE, "again");
    assert_int_equal(error.status, TAPE_USAGE);
    assert_string_equal(error.text, "again");
}

static void wrap_puts_the_outer_before(void **state)
{
    (void)state;
    struct tape_error error = {0};
    tape_error_set(&error, TAPE_TORN, "byte 80: header cut");
    assert_int_equal(tape_error_wrap(&error, "segment %d", 3), TAPE_TORN);
    assert_int_equal(tape_error_wrap(&error, "open archive ./tape"), TAPE_TORN);
    assert_string_equal(error.text, "open archive ./tape: segment 3: byte 80: header cut");
}

static void errno_gives_words(void **state)
{
    (void)state;
    struct tape_error error = {0};
    assert_int_equal(tape_error_errno(&error, ENOENT, "open %s", "a"), TAPE_FAILED);
    assert_string_equal(error.text, "open a: No such file or directory");
    assert_int_equal(tape_error_errno(&error, ENOSPC, "write a"), TAPE_FULL);
    assert_string_equal(error.text, "write a: No space left on device");
    assert_int_equal(tape_error_errno(&error, EDQUOT, "write a"), TAPE_FULL);
    assert_string_equal(error.text, "write a: Disk quota exceeded");
    assert_int_equal(tape_error_errno(&error, 99999, "write a"), TAPE_FAILED);
    assert_string_equal(error.text, "write a: error 99999");
    assert_int_equal(error.status, TAPE_FAILED);
}

static void null_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(tape_error_set(NULL, TAPE_LIMIT, "x"), TAPE_LIMIT);
    assert_int_equal(tape_error_errno(NULL, EIO, "x"), TAPE_FAILED);
    assert_int_equal(tape_error_errno(NULL, ENOSPC, "x"), TAPE_FULL);
    assert_int_equal(tape_error_wrap(NULL, "x"), TAPE_FAILED);
}

static void the_old_text_may_be_an_argument(void **state)
{
    (void)state;
    struct tape_error error = {0};
    tape_error_set(&error, TAPE_CLOSED, "the peer left");
    tape_error_set(&error, TAPE_CLOSED, "%s (%s)", error.text, error.text);
    assert_string_equal(error.text, "the peer left (the peer left)");
    tape_error_wrap(&error, "%s", error.text + 4);
    assert_string_equal(error.text, "peer left (the peer left): the peer left (the peer left)");
}

/* Whatever the lengths: terminated, and cut at the innermost end. */
static void long_chains_lose_their_innermost_end(void **state)
{
    (void)state;
    char part[2 * TAPE_ERROR_TEXT_BYTES], whole[5 * TAPE_ERROR_TEXT_BYTES];
    struct tape_error error;
    for (size_t outer = 0; outer < sizeof part; outer += 61) {
        for (size_t inner = 0; inner < sizeof part; inner += 67) {
            memset(part, 'i', sizeof part);
            part[inner] = '\0';
            tape_error_set(&error, TAPE_FAILED, "%s", part);
            assert_int_equal(strlen(error.text), inner < 1023 ? inner : 1023);
            memset(whole, 'o', outer);
            memcpy(whole + outer, ": ", 2);
            memcpy(whole + outer + 2, part, inner + 1);
            memset(part, 'o', sizeof part);
            part[outer] = '\0';
            assert_int_equal(tape_error_wrap(&error, "%s", part), TAPE_FAILED);
            whole[TAPE_ERROR_TEXT_BYTES - 1] = '\0';
            assert_string_equal(error.text, whole);
        }
    }
    memset(part, 'x', sizeof part);
    part[1021] = '\0';
    tape_error_errno(&error, ENOENT, "%s", part);
    assert_int_equal(strlen(error.text), 1023);
    assert_string_equal(error.text + 1021, ": ");
}

/* What is cut is cut between code points. */
static void a_cut_text_stays_utf8(void **state)
{
    (void)state;
    static const char *const points[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char part[TAPE_ERROR_TEXT_BYTES + 8];
    struct tape_error error;
    for (size_t i = 0; i < 3; i++) {
        size_t width = strlen(points[i]);
        for (size_t before = 1015; before < 1023; before++) {
            memset(part, 'a', before);
            memcpy(part + before, points[i], width + 1);
            size_t want = before + width <= 1023 ? before + width : before;
            tape_error_set(&error, TAPE_FAILED, "%s", part);
            assert_int_equal(strlen(error.text), want);
            tape_error_set(&error, TAPE_FAILED, "%s", part + 2);
            tape_error_wrap(&error, "%s", "");
            assert_int_equal(strlen(error.text), want);
        }
    }
}

static void exit_codes_are_those_of_the_table(void **state)
{
    (void)state;
    static const struct {
        int status, exit_code;
    } want[] = {
        {TAPE_OK, 0},       {TAPE_FAILED, 1},
        {TAPE_USAGE, 2},    {TAPE_CORRUPT, 3},
        {TAPE_TORN, 3},     {TAPE_MISSING, 3},
        {TAPE_FOREIGN, 3},  {TAPE_LOCKED, 1},
        {TAPE_OVERRUN, 1},  {TAPE_FULL, 1},
        {TAPE_PROTOCOL, 1}, {TAPE_LIMIT, 1},
        {TAPE_CLOSED, 1},   {1, 0},
        {12345, 0},         {-13, 1},
        {-1000, 1},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_int_equal(tape_error_exit_code(want[i].status), want[i].exit_code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_gives_status_and_text),
        cmocka_unit_test(wrap_puts_the_outer_before),
        cmocka_unit_test(errno_gives_words),
        cmocka_unit_test(null_is_allowed),
        cmocka_unit_test(the_old_text_may_be_an_argument),
        cmocka_unit_test(long_chains_lose_their_innermost_end),
        cmocka_unit_test(a_cut_text_stays_utf8),
        cmocka_unit_test(exit_codes_are_those_of_the_table),
    };
    setlocale(LC_ALL, "");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
