#include "replay/session_streams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/index_rows.h"

/* An archive with these streams: names with spaces between. */
static void add(struct tape_session_streams *streams, const char *names)
{
    struct tape_index *index = tape_index_open_memory(archive, &error);
    assert_non_null(index);
    while (*names) {
        int bytes = (int)strcspn(names, " ");
        add_stream(index, 0, names, bytes);
        names += bytes + (names[bytes] == ' ');
    }
    tape_session_streams_add(streams, index);
    tape_index_close(index);
}

/* The name is no string: nothing behind its last byte may be looked at. */
static void check(const struct tape_session_streams *streams, const char *name, int lacks,
                  const char *near)
{
    const char *found = "not written";
    char *copy = malloc(strlen(name));
    memcpy(copy, name, strlen(name));
    print_message("%s\n", name);
    assert_int_equal(tape_session_streams_lack(streams, copy, strlen(name), &found), lacks);
    if (lacks && near)
        assert_string_equal(found, near);
    else if (lacks)
        assert_null(found);
    free(copy);
}

static void test_names(void **state)
{
    struct tape_session_streams streams = {.complete = 1};
    (void)state;
    check(&streams, "b@trade", 1, NULL);
    add(&streams, "c@trade b@trade B@TRADE _@x a@kline_1m a@kline_1M");
    add(&streams, "a@trade b@trade Z@trade");
    static const struct {
        const char *name, *near;
        int lacks;
    } cases[] = {
        {"a@trade", NULL, 0},
        {"b@trade", NULL, 0},
        {"B@TRADE", NULL, 0},
        {"c@trade", NULL, 0},
        {"Z@trade", NULL, 0},
        {"_@x", NULL, 0},
        {"a@kline_1m", NULL, 0},
        {"a@kline_1M", NULL, 0},
        {"z@trade", "Z@trade", 1},
        {"_@X", "_@x", 1},
        {"A@KLINE_1M", "a@kline_1m", 1},
        {"a@trad", NULL, 1},
        {"a@trades", NULL, 1},
        {"A@TRADE", "a@trade", 1},
        {"\xc3\xa4@trade", NULL, 1},
        {"0", NULL, 1},
        {"zz@trade", NULL, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&streams, cases[i].name, cases[i].lacks, cases[i].near);
    streams.complete = 0;
    check(&streams, "nobody", 0, NULL);
    tape_session_streams_free(&streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, open_archive, remove_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
