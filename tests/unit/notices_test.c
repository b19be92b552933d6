#include "replay/notices.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];
static FILE *to, *notices;

static int set_up(void **state)
{
    (void)state;
    if (pipe(ends) != 0 || fcntl(ends[1], F_SETPIPE_SZ, 8192) != 8192)
        return -1;
    to = fdopen(ends[1], "w");
    notices = tape_notices_open(to);
    return to && notices ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fclose(notices);
    fclose(to);
    close(ends[0]);
    return 0;
}

/* All that stands in the pipe. */
static const char *taken(void)
{
    static char text[32 << 10];
    size_t bytes = 0;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    for (ssize_t got; (got = read(ends[0], text + bytes, sizeof text - 1 - bytes)) > 0;)
        bytes += (size_t)got;
    text[bytes] = '\0';
    return text;
}

static void whole_lines(void **state)
{
    (void)state;
    fprintf(notices, "one %d", 1);
    assert_string_equal(taken(), "");
    fputs(" is a line\n", notices);
    assert_string_equal(taken(), "one 1 is a line\n");
}

/* Nobody reads: it does not wait, and tells so later. */
static void lost_lines(void **state)
{
    (void)state;
    char line[1001];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    for (int i = 0; i < 20; i++)
        fprintf(notices, "%s\n", line);
    const char *text = taken();
    size_t lines = strlen(text) / 1001;
    assert_int_equal(strlen(text) % 1001, 0);
    assert_in_range(lines, 2, 8);
    assert_string_equal(taken(), "");
    char wanted[100];
    fputs("next\n", notices);
    snprintf(wanted, sizeof wanted, "tape-replay: %zu lines are lost: nobody read them\nnext\n",
             20 - lines);
    assert_string_equal(taken(), wanted);
    fputs("last\n", notices);
    assert_string_equal(taken(), "last\n");
}

/* Of one that is longer than the pipe a part is left; what comes next begins a line. */
static void a_long_line(void **state)
{
    (void)state;
    static char line[20000];
    memset(line, 'x', sizeof line - 1);
    fprintf(notices, "%s\n", line);
    fflush(notices);
    assert_int_equal(strspn(taken(), "x"), 8192);
    fputs("next\n", notices);
    const char *text = taken();
    assert_true(text[0] == '\n' && strstr(text, " lost: nobody read them\nnext\n"));
}

static void nobody_there(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    for (int i = 0; i < 3; i++)
        fputs("a line\n", notices);
    assert_int_equal(ferror(notices), 0);
    ends[0] = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_long_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_there, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
