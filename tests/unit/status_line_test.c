#include "replay/status_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000000ll

static struct tape_transport_state some_state(void)
{
    struct tape_transport_state state = {
        .phase = TAPE_TRANSPORT_PHASE_PLAYING,
        .speed = 2.5,
        .position_ns = 1795600000123456789ll,
        .messages = 42,
    };
    return state;
}

static void expect_line(const struct tape_transport_state *state, int colours, const char *wanted)
{
    char text[400];
    assert_int_equal(tape_status_line_format(text, sizeof text, state, colours), strlen(wanted));
    assert_string_equal(text, wanted);
}

static void what_it_says(void **unused)
{
    struct tape_transport_state state = some_state();
    (void)unused;
    expect_line(&state, 0, "playing 2.5x  2026-11-25T09:46:40.1Z  42 messages");
    expect_line(&state, 1, "\033[32mplaying 2.5x\033[0m  2026-11-25T09:46:40.1Z  42 messages");
    state.phase = TAPE_TRANSPORT_PHASE_PAUSED;
    state.speed = 0;
    state.looping = 1;
    state.loops = 2;
    state.dropped_late = 7;
    tape_lateness_add(&state.lateness, 5);
    expect_line(&state, 1,
                "\033[33mpaused max\033[0m  2026-11-25T09:46:40.1Z  loop 3  42 messages"
                "  late 5 ns / 5 ns  dropped 7");
    state = (struct tape_transport_state){.position_ns = INT64_MIN, .speed = 1};
    expect_line(&state, 0, "waiting 1x  0 messages");
}

/* A file: a line of its own every ten seconds. */
static void where_there_is_no_terminal(void **unused)
{
    struct tape_transport_state state = some_state();
    struct tape_status_line line;
    char found[400] = "";
    FILE *file = tmpfile();
    (void)unused;
    tape_status_line_begin(&line, file, 1, 100 * SECOND);
    assert_int_equal(line.mode, TAPE_STATUS_LINE_REPEATED);
    tape_status_line_show(&line, &state, 109 * SECOND);
    assert_int_equal(ftell(file), 0);
    tape_status_line_show(&line, &state, 110 * SECOND);
    tape_status_line_show(&line, &state, 119 * SECOND);
    tape_status_line_hide(&line);
    rewind(file);
    assert_non_null(fgets(found, sizeof found, file));
    assert_string_equal(found, "tape-replay: playing 2.5x  2026-11-25T09:46:40.1Z  42 messages\n");
    assert_null(fgets(found, sizeof found, file));
    rewind(file);
    tape_status_line_begin(&line, file, 0, 0);
    assert_false(tape_status_line_is_due(&line, INT64_MAX));
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says),
        cmocka_unit_test(where_there_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
