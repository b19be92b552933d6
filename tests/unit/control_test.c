#include "replay/control.h"

#include "tests/unit/make_tape.h"

#include "replay/control_http.h"

#define SECOND 1000000000ll

static char directory[256], archive_path[300];

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(archive_path, sizeof archive_path, "%s/archive", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(directory);
    return 0;
}

static int parse(const char *text, struct tape_control_request *request, struct tape_error *error)
{
    return tape_control_parse(text, strlen(text), request, error);
}

static void commands_are_read(void **state)
{
    struct tape_control_request request;
    (void)state;
#define READS(name, word, meaning)                                                                 \
    if (TAPE_TRANSPORT_##name < TAPE_TRANSPORT_SEEK &&                                             \
        TAPE_TRANSPORT_##name != TAPE_TRANSPORT_SPEED) {                                           \
        assert_int_equal(parse("{\"do\":\"" word "\"}", &request, NULL), 0);                       \
        assert_int_equal(request.kind, TAPE_TRANSPORT_##name);                                     \
    }
    TAPE_TRANSPORT_COMMAND_TABLE(READS)
    assert_int_equal(parse(" {\"do\" : \"unloop\"}\r\n", &request, NULL), 0);
    assert_int_equal(request.kind, TAPE_TRANSPORT_UNLOOP);
}

static void speeds_are_read(void **state)
{
    static const struct {
        const char *text;
        double speed;
    } good[] = {{"2", 2},         {"0.1", 0.1}, {"\"10x\"", 10},  {"\"max\"", 0},
                {"1000000", 1e6}, {"1e3", 1e3}, {"0.001", 0.001}, {"\"0.5\"", 0.5}};
    struct tape_control_request request;
    char text[100];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, "{\"speed\":%s,\"do\":\"speed\"}", good[i].text);
        assert_int_equal(parse(text, &request, NULL), 0);
        assert_true(request.speed == good[i].speed);
    }
}

static void times_are_read(void **state)
{
    struct tape_control_request request;
    struct tape_transport_command command;
    (void)state;
    assert_int_equal(parse("{\"do\":\"seek\",\"to\":\"1795600000000000001\"}", &request, NULL), 0);
    assert_false(tape_control_is_relative(&request));
    tape_control_resolve(&request, 0, 0, &command);
    assert_int_equal(command.kind, TAPE_TRANSPORT_SEEK);
    assert_int_equal(command.ns, 1795600000000000001ll);
    assert_int_equal(command.end_ns, 0);
    assert_int_equal(parse("{\"do\":\"loop\",\"from\":\"+10s\",\"to\":\"-1s\"}", &request, NULL),
                     0);
    assert_true(tape_control_is_relative(&request));
    tape_control_resolve(&request, 100 * SECOND, 200 * SECOND, &command);
    assert_int_equal(command.kind, TAPE_TRANSPORT_LOOP);
    assert_int_equal(command.ns, 110 * SECOND);
    assert_int_equal(command.end_ns, 199 * SECOND);
    assert_int_equal(parse("{\"do\":\"loop\",\"from\":\"2026-11-25T09:46:40Z\"}", &request, NULL),
                     0);
    assert_false(tape_control_is_relative(&request));
    tape_control_resolve(&request, 0, 0, &command);
    assert_int_equal(command.ns, made_ns);
    assert_int_equal(command.end_ns, 0);
}

static void what_cannot_be_meant(void **state)
{
    static const char *const bad[][2] = {
        {"", "this is no JSON: {\"do\":\"pause\"}"},
        {"{\"do\":\"pause\"", "this is no JSON: {\"do\":\"pause\"}"},
        {"{\"do\":\"pause\"} x", "this is no JSON: {\"do\":\"pause\"}"},
        {"{\"do\":\"pause\\u0000\"}", "this is no JSON: {\"do\":\"pause\"}"},
        {"[[[[[[1]]]]]]", "this is no JSON: {\"do\":\"pause\"}"},
        {"[]", "a command is an object: {\"do\":\"pause\"}"},
        {"\"pause\"", "a command is an object: {\"do\":\"pause\"}"},
        {"{}", "no \"do\": {\"do\":\"pause\"}"},
        {"{\"do\":1}", "\"do\" is not a string"},
        {"{\"do\":\"puase\"}", "unknown command \"puase\" (did you mean \"pause\"?)"},
        {"{\"do\":\"explode\"}", "unknown command \"explode\"; there are: pause resume speed "
                                 "step-frame step-time seek loop unloop"},
        {"{\"do\":\"pause\",\"sped\":1}", "unknown key \"sped\" (did you mean \"speed\"?)"},
        {"{\"do\":\"pause\",\"colour\":1}", "unknown key \"colour\"; there are: do speed from to"},
        {"{\"do\":\"step\"}", "unknown command \"step\" (did you mean \"step-frame\"?)"},
        {"{\"do\":\"stop\"}", "unknown command \"stop\"; there are: pause resume speed step-frame "
                              "step-time seek loop unloop"},
        {"{\"do\":\"pause\",\"do\":\"resume\"}", "\"do\" is given twice"},
        {"{\"do\":\"pause\",\"speed\":1}", "\"speed\" does not go with \"pause\""},
        {"{\"do\":\"seek\",\"to\":\"+1s\",\"from\":\"+1s\"}", "\"from\" does not go with \"seek\""},
        {"{\"do\":\"speed\"}", "\"speed\" needs \"speed\""},
        {"{\"do\":\"seek\"}", "\"seek\" needs \"to\""},
        {"{\"do\":\"loop\",\"to\":\"+1s\"}", "\"loop\" needs \"from\""},
        {"{\"do\":\"speed\",\"speed\":true}", "\"speed\" is neither a number nor \"max\""},
        {"{\"do\":\"speed\",\"speed\":0}",
         "\"0.000000000\" is not a speed: write max or a number from 0.001 to 1000000"},
        {"{\"do\":\"speed\",\"speed\":-1}",
         "\"-1.000000000\" is not a speed: write max or a number from 0.001 to 1000000"},
        {"{\"do\":\"speed\",\"speed\":1e999}",
         "\"inf\" is not a speed: write max or a number from 0.001 to 1000000"},
        {"{\"do\":\"speed\",\"speed\":\"fast\"}",
         "\"fast\" is not a speed: write max or a number from 0.001 to 1000000"},
        {"{\"do\":\"seek\",\"to\":1795334400000000000}",
         "\"to\" is not a string (nanoseconds too: \"1795334400000000000\")"},
        {"{\"do\":\"seek\",\"to\":\"1795334400\"}",
         "\"to\": \"1795334400\" has 10 digits: a plain number is nanoseconds since 1970, which "
         "have 19; seconds are written @1795334400"},
    };
    struct tape_control_request request;
    struct tape_error error;
    char *long_one = malloc(TAPE_CONTROL_MAX_BYTES + 2);
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i][0], &request, &error) != TAPE_USAGE)
            fail_msg("%s was taken", bad[i][0]);
        assert_string_equal(error.text, bad[i][1]);
    }
    memset(long_one, ' ', TAPE_CONTROL_MAX_BYTES + 1);
    memcpy(long_one, "{\"do\":\"pause\"}", 14);
    assert_int_equal(tape_control_parse(long_one, TAPE_CONTROL_MAX_BYTES, &request, NULL), 0);
    assert_int_equal(tape_control_parse(long_one, TAPE_CONTROL_MAX_BYTES + 1, &request, &error),
                     TAPE_USAGE);
    assert_string_equal(error.text, "a command is at most 4096 bytes");
    free(long_one);
    assert_int_equal(tape_control_parse("{\"do\":\"pause\0\"}", 15, &request, NULL), TAPE_USAGE);
}

static const char *text_of(cJSON *object)
{
    static char text[8192];
    assert_true(cJSON_PrintPreallocated(object, text, sizeof text, 0));
    cJSON_Delete(object);
    return text;
}

static void a_command_is_carried_out(void **state)
{
    struct tape_error error;
    const char *paths[] = {archive_path};
    struct tape_transport_options options = {.speed = 1};
    struct tape_transport_item item;
    int64_t until_ns;
    (void)state;
    make_tape(archive_path, "0 1000 2000 3000");
    struct tape_transport *transport = tape_transport_open(paths, 1, &options, &error);
    assert_non_null(transport);
    assert_string_equal(
        text_of(tape_control_state("a\xff", transport, 5)),
        "{\"session\":\"a\xef\xbf\xbd\",\"phase\":\"playing\",\"speed\":1,\"messages\":0,"
        "\"state_messages\":0,\"dropped_late\":0,\"seeks\":0,\"loops\":0,\"backlog\":0,"
        "\"backlog_max\":0,\"stretched_ns\":\"0\",\"clock_steps\":0}");
    static const char seek[] = "{\"do\":\"seek\",\"to\":\"-1s\"}";
    assert_int_equal(tape_control_run(transport, seek, sizeof seek - 1, 5, &error), 0);
    assert_int_equal(tape_transport_next(transport, 5, &item, &until_ns, &error), 2);
    assert_int_equal(tape_transport_next(transport, 5, &item, &until_ns, &error), 1);
    static const char loop[] = "{\"do\":\"loop\",\"from\":\"+1s\",\"to\":\"1795600003000000000\"}";
    assert_int_equal(tape_control_run(transport, loop, sizeof loop - 1, 5, &error), 0);
    static const char speed[] = "{\"do\":\"speed\",\"speed\":\"max\"}";
    assert_int_equal(tape_control_run(transport, speed, sizeof speed - 1, 5, &error), 0);
    assert_string_equal(
        text_of(tape_control_state("main", transport, 5)),
        "{\"session\":\"main\",\"phase\":\"playing\",\"speed\":\"max\","
        "\"position\":\"2026-11-25T09:46:42.000000000Z\",\"position_ns\":\"1795600002000000000\","
        "\"replay\":\"2026-11-25T09:46:42.000000000Z\",\"replay_ns\":\"1795600002000000000\","
        "\"ordinal\":\"2\",\"loop\":{\"from\":\"2026-11-25T09:46:41.000000000Z\","
        "\"from_ns\":\"1795600001000000000\",\"to\":\"2026-11-25T09:46:43.000000000Z\","
        "\"to_ns\":\"1795600003000000000\"},\"messages\":1,\"state_messages\":0,"
        "\"dropped_late\":0,\"seeks\":1,\"loops\":0,\"backlog\":0,\"backlog_max\":0,"
        "\"stretched_ns\":\"0\",\"clock_steps\":0,\"lateness\":{\"p50_ns\":\"0\",\"p99_ns\":\"0\","
        "\"max_ns\":\"0\"}}");
    static const char bad[] = "{\"do\":\"step-time\"}";
    assert_int_equal(tape_control_run(transport, bad, sizeof bad - 1, 5, &error), TAPE_USAGE);
    assert_string_equal(text_of(tape_control_error(&error)),
                        "{\"error\":\"a step needs a pause first\"}");
    tape_transport_close(transport);
}

/* ---- requests ---- */

static int ask(const char *method, const char *path, const char *host, const char *origin,
               const char *address, char *session, int *http, struct tape_error *error)
{
    struct tape_server_request request = {
        .method = method, .path = path, .query = "", .host = host, .origin = origin};
    return tape_control_ask(&request, address, session, http, error);
}

static void what_a_request_asks_for(void **state)
{
    static const struct {
        const char *method, *path;
        int asks, http;
        const char *session, *words;
    } cases[] = {
        {"GET", "/control", TAPE_CONTROL_LIST, 200, "", ""},
        {"GET", "/control/", TAPE_CONTROL_LIST, 200, "", ""},
        {"GET", "/control/main", TAPE_CONTROL_SHOW, 200, "main", ""},
        {"POST", "/control/main", TAPE_CONTROL_DO, 200, "main", ""},
        {"GET", "/controls", TAPE_CONTROL_ELSE, 200, "", ""},
        {"GET", "/ws", TAPE_CONTROL_ELSE, 200, "", ""},
        {"GET", "/", TAPE_CONTROL_ELSE, 200, "", ""},
        {"PUT", "/control/main", TAPE_USAGE, 405, "", "/control takes GET and POST"},
        {"POST", "/control", TAPE_USAGE, 405, "", "name the session: POST /control/<session>"},
        {"GET", "/control/a/b", TAPE_USAGE, 404, "", "no such session"},
    };
    char session[TAPE_CONTROL_SESSION_BYTES], path[200] = "/control/";
    struct tape_error error = {0};
    int http;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        error.text[0] = '\0';
        assert_int_equal(ask(cases[i].method, cases[i].path, "localhost:1", "", "127.0.0.1:1",
                             session, &http, &error),
                         cases[i].asks);
        assert_int_equal(http, cases[i].http);
        assert_string_equal(session, cases[i].session);
        assert_string_equal(error.text, cases[i].words);
    }
    memset(path + 9, 'x', 64);
    assert_int_equal(ask("GET", path, "", "", "127.0.0.1:1", session, &http, &error),
                     TAPE_CONTROL_SHOW);
    assert_string_equal(session, path + 9);
    path[9 + 64] = 'x';
    assert_int_equal(ask("GET", path, "", "", "127.0.0.1:1", session, &http, &error), TAPE_USAGE);
    assert_int_equal(http, 404);
}

/* A browser carries requests of any page it shows to any address it can reach. */
static void who_may_not_command(void **state)
{
    static const struct {
        const char *host, *origin, *address;
        int may;
    } cases[] = {
        {"127.0.0.1:9080", "", "127.0.0.1:9080", 1},
        {"localhost:9080", "", "127.0.0.1:9080", 1},
        {"LOCALHOST", "", "127.0.0.1:9080", 1},
        {"[::1]:9080", "", "[::1]:9080", 1},
        {"127.8.9.1", "", "127.0.0.1:9080", 1},
        {"", "", "127.0.0.1:9080", 1},
        {"evil.example:9080", "", "127.0.0.1:9080", 0},
        {"127.0.0.1.evil.example", "", "127.0.0.1:9080", 0},
        {"localhost.evil.example", "", "[::1]:9080", 0},
        {"[::2]:9080", "", "[::1]:9080", 0},
        {"[::1", "", "[::1]:9080", 0},
        {":9080", "", "127.0.0.1:9080", 0},
        {"128.0.0.1:9080", "", "127.0.0.1:9080", 0},
        {"myhost:9080", "", "0.0.0.0:9080", 1},
        {"localhost:9080", "http://localhost:9080", "127.0.0.1:9080", 1},
        {"localhost:9080", "http://localhost:8000", "127.0.0.1:9080", 0},
        {"localhost:9080", "http://evil.example", "127.0.0.1:9080", 0},
        {"localhost:9080", "null", "127.0.0.1:9080", 0},
        {"myhost:9080", "https://evil.example", "0.0.0.0:9080", 0},
        {"evil.example:9080", "http://evil.example:9080", "127.0.0.1:9080", 0},
    };
    char session[TAPE_CONTROL_SESSION_BYTES];
    struct tape_error error;
    int http;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int got = ask("GET", "/control", cases[i].host, cases[i].origin, cases[i].address, session,
                      &http, &error);
        if (got != (cases[i].may ? TAPE_CONTROL_LIST : TAPE_USAGE))
            fail_msg("case %zu: %d", i, got);
        assert_int_equal(http, cases[i].may ? 200 : 403);
    }
    ask("GET", "/control", "localhost", "http://evil.example", "127.0.0.1:1", session, &http,
        &error);
    assert_string_equal(error.text, "a page of http://evil.example must not command this player");
    ask("GET", "/control", "evil.example", "", "127.0.0.1:1", session, &http, &error);
    assert_string_equal(error.text,
                        "sent to evil.example, but this player listens on loopback only");
}

static void statuses(void **state)
{
    (void)state;
    assert_int_equal(tape_control_http_status(0), 200);
    assert_int_equal(tape_control_http_status(TAPE_USAGE), 400);
    assert_int_equal(tape_control_http_status(TAPE_FAILED), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_read),
        cmocka_unit_test(speeds_are_read),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(what_cannot_be_meant),
        cmocka_unit_test_setup_teardown(a_command_is_carried_out, set_up, tear_down),
        cmocka_unit_test(what_a_request_asks_for),
        cmocka_unit_test(who_may_not_command),
        cmocka_unit_test(statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
