#include "format/venue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/distance.h"
#include "format/tick.h"
#include "format/venue_pattern.h"

static struct tape_venue *load(const char *name)
{
    struct tape_error error;
    struct tape_venue *venue = tape_venue_load(name, &error);
    assert_non_null(venue);
    return venue;
}

/* Text with its NUL, put to where there is room for it. */
static void place(char *to, const char *text)
{
    memcpy(to, text, strlen(text) + 1);
}

/* ---- patterns ---- */

struct pattern_case {
    const char *pattern, *name;
    int matches;
};

static void test_patterns(void **state)
{
    static const struct pattern_case cases[] = {
        {"*@trade", "btcusdt@trade", 1},
        {"*@trade", "@trade", 0},
        {"*@trade", "a@b@trade", 0},
        {"*@trade", "!b@trade", 0},
        {"*@trade", "btcusdt@trades", 0},
        {"*@trade", "btcusdt@aggTrade", 0},
        {"!bookTicker", "!bookTicker", 1},
        {"!bookTicker", "!bookTicke", 0},
        {"a*b*c", "axbxbxc", 1},
        {"a*b*c", "abc", 0},
        {"**", "", 1},
        {"**", "any@thing!", 1},
        {"a**", "a", 1},
        {"a**z", "a@b@z", 1},
        {"a**z", "a@b@y", 0},
        {"", "", 1},
        {"", "a", 0},
        {"*", "\xe5\xb8\x81usdt", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (tape_venue_match(cases[i].pattern, cases[i].name, strlen(cases[i].name)) !=
            cases[i].matches)
            fail_msg("\"%s\" against \"%s\"", cases[i].pattern, cases[i].name);
    char stars[TAPE_VENUE_NAME_MAX_BYTES + 1], name[TAPE_VENUE_NAME_MAX_BYTES + 2];
    memset(stars, '*', sizeof stars - 1);
    stars[sizeof stars - 1] = 0;
    memset(name, 'a', sizeof name);
    assert_int_equal(tape_venue_match(stars, name, TAPE_VENUE_NAME_MAX_BYTES), 1);
    assert_int_equal(tape_venue_match("**", name, TAPE_VENUE_NAME_MAX_BYTES + 1), 0);
}

static void test_braces(void **state)
{
    char *to[8];
    (void)state;
    assert_int_equal(tape_venue_expand("x{a,b}{,@1s}", to, 8), 4);
    assert_string_equal(to[0], "xa");
    assert_string_equal(to[1], "xa@1s");
    assert_string_equal(to[2], "xb");
    assert_string_equal(to[3], "xb@1s");
    for (int i = 0; i < 4; i++)
        free(to[i]);
    static const char *const wrong[] = {"{a", "a}", "{a{b}}", "{a,b}{a,b}{a,b}{a,b}", "}{"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(tape_venue_expand(wrong[i], to, 8), -1);
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(tape_distance_words("kitten", "sitting"), 3);
    assert_int_equal(tape_distance_words("", "abc"), 3);
    assert_int_equal(tape_distance_words("ABC", "abc"), 0);
    assert_int_equal(tape_distance_words("aggTrade", "aggtrades"), 1);
    assert_int_equal(tape_distance_words("fro", "for"), 1);
    assert_int_equal(tape_distance_words("abcd", "badc"), 2);
    char longer[TAPE_DISTANCE_MAX_BYTES + 2];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(tape_distance_words(longer, "a"), TAPE_DISTANCE_MAX_BYTES);
    assert_int_equal(tape_distance_words("a", longer), TAPE_DISTANCE_MAX_BYTES);
    assert_int_equal(tape_distance_words(longer + 1, "a"), TAPE_DISTANCE_MAX_BYTES - 1);
}

static void test_distance_rank(void **state)
{
    (void)state;
    assert_int_equal(tape_distance_rank("form", "format"), 0);
    assert_int_equal(tape_distance_rank("form", "from"), 1);
    assert_int_equal(tape_distance_rank("STEP", "step-frame"), 0);
    assert_int_equal(tape_distance_rank("step", "seek"), -1);
    assert_int_equal(tape_distance_rank("stop", "loop"), -1);
    assert_int_equal(tape_distance_rank("f", "from"), -1);
    assert_int_equal(tape_distance_rank("", "to"), -1);
    assert_int_equal(tape_distance_rank("pasue", "pause"), 1);
    assert_int_equal(tape_distance_rank("pases", "pause"), 2);
}

/* ---- names ---- */

static void test_names(void **state)
{
    (void)state;
    int count = 0;
    for (; tape_venue_names(count); count++) {
        struct tape_venue *venue = load(tape_venue_names(count));
        assert_string_equal(tape_venue_name(venue), tape_venue_names(count));
        for (int i = 0; i < tape_venue_routes(venue); i++) {
            const char *url = tape_venue_route_url(venue, i);
            assert_memory_equal(url, "wss://", 6);
            assert_string_equal(url + strlen(url) - strlen("/stream"), "/stream");
            assert_string_equal(strstr(url + 6, "/"), tape_venue_route_path(venue, i));
        }
        tape_venue_free(venue);
    }
    assert_int_equal(count, 3);
    assert_null(tape_venue_names(-1));
    assert_null(tape_venue_names(1000));
    static const char *const aliases[][2] = {
        {"usdm", "binance-usdm"}, {"spot", "binance-spot"}, {"coinm", "binance-coinm"}};
    for (size_t i = 0; i < 3; i++) {
        struct tape_venue *venue = load(aliases[i][0]);
        assert_string_equal(tape_venue_name(venue), aliases[i][1]);
        tape_venue_free(venue);
    }
}

static void test_unknown_names(void **state)
{
    struct tape_error error;
    (void)state;
    assert_null(tape_venue_load("binace-spot", &error));
    assert_int_equal(error.status, TAPE_USAGE);
    assert_string_equal(error.text,
                        "unknown venue \"binace-spot\" (did you mean \"binance-spot\"?); known: "
                        "coinm (binance-coinm), spot (binance-spot), usdm (binance-usdm)");
    assert_null(tape_venue_load("", &error));
    assert_string_equal(error.text, "unknown venue \"\"; known: coinm (binance-coinm), spot "
                                    "(binance-spot), usdm (binance-usdm)");
}

/* ---- routes ---- */

struct route_case {
    const char *venue, *stream, *route; /* the route's name, or the error */
};

static const struct route_case route_cases[] = {
    {"usdm", "bnbusdt@aggTrade", "market"},
    {"usdm", "btcusdt@depth", "public"},
    {"usdm", "btcusdt@depth@0ms", "public"},
    {"usdm", "btcusdt@depth20@100ms", "public"},
    {"usdm", "btcusdt@bookTicker", "public"},
    {"usdm", "!bookTicker", "public"},
    {"usdm", "btcusdt@trade", "public"},
    {"usdm", "btcusdt@rpiDepth@500ms", "public"},
    {"usdm", "btcusdt@markPrice@1s", "market"},
    {"usdm", "!markPrice@arr@1s", "market"},
    {"usdm", "btcusdt@kline_1M", "market"},
    {"usdm", "btcusdt_perpetual@continuousKline_1h", "market"},
    {"usdm", "btcusdt@forceOrder", "market"},
    {"usdm", "!forceOrder@arr", "market"},
    {"usdm", "!contractInfo", "market"},
    {"usdm", "tradingSession", "market"},
    {"usdm", "btcusdt_240927@aggTrade", "market"},
    {"usdm", "\xe5\xb8\x81\xe5\xae\x89usdt@aggTrade", "market"},
    {"spot", "bnbusdt@kline_1s", "stream"},
    {"spot", "bnbusdt@kline_1d@+08:00", "stream"},
    {"coinm", "btcusd_perp@depth@500ms", "stream"},
    {"coinm", "btcusd@indexPrice@1s", "stream"},
    {"usdm", "BNBUSDT@aggTrade",
     "stream \"BNBUSDT@aggTrade\" on binance-usdm: symbols are in lower case in stream names (did "
     "you mean \"bnbusdt@aggTrade\"?)"},
    {"usdm", "BNBUSDT@aggtrade",
     "stream \"BNBUSDT@aggtrade\" on binance-usdm: symbols are in lower case in stream names (did "
     "you mean \"bnbusdt@aggTrade\"?)"},
    {"usdm", "btcusdt@aggtrade",
     "stream \"btcusdt@aggtrade\" on binance-usdm: not a stream that is known, so that its route "
     "cannot be told (did you mean \"btcusdt@aggTrade\"?)"},
    {"usdm", "btcusdt@depth7",
     "stream \"btcusdt@depth7\" on binance-usdm: not a stream that is known, so that its route "
     "cannot be told (did you mean \"btcusdt@depth\"?)"},
    {"usdm", "btcusdt@kline_1w1",
     "stream \"btcusdt@kline_1w1\" on binance-usdm: not a stream that is known, so that its route "
     "cannot be told (did you mean \"btcusdt@kline_1w\"?)"},
    {"usdm", "!bookticker",
     "stream \"!bookticker\" on binance-usdm: not a stream that is known, so that its route cannot "
     "be told (did you mean \"!bookTicker\"?)"},
    {"usdm", "btcusdt@orders",
     "stream \"btcusdt@orders\" on binance-usdm: not a stream that is known, so that its route "
     "cannot be told"},
    {"usdm", "btcusdt",
     "stream \"btcusdt\" on binance-usdm: no channel is named (streams are <symbol>@<channel>)"},
    {"usdm", "", "stream \"\": it is empty"},
    {"usdm", "btc\"usdt@trade",
     "stream \"btc\"usdt@trade\": it holds a character that no stream's name has"},
    {"usdm", "btcusdt@trade\x1b[0m",
     "stream \"btcusdt@trade?[0m\": it holds a character that no stream's name has"},
    {"usdm", "btcusdt@trade/ethusdt@trade",
     "stream \"btcusdt@trade/ethusdt@trade\": it holds a character that no stream's name has"},
    {"usdm", "btc\\usdt@trade",
     "stream \"btc\\usdt@trade\": it holds a character that no stream's name has"},
    {"usdm", "\xff@trade", "stream \"?@trade\": it is not UTF-8"},
};

static void test_routes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof route_cases / sizeof *route_cases; i++) {
        const struct route_case *c = &route_cases[i];
        struct tape_error error = {0, ""};
        struct tape_venue *venue = load(c->venue);
        int route = tape_venue_route(venue, c->stream, &error);
        assert_string_equal(route < 0 ? error.text : tape_venue_route_name(venue, route), c->route);
        if (route < 0)
            assert_int_equal(route, TAPE_USAGE);
        tape_venue_free(venue);
    }
}

static void test_route_of_long_name(void **state)
{
    struct tape_venue *venue = load("usdm");
    char name[160];
    struct tape_error error;
    (void)state;
    memset(name, 'a', sizeof name);
    place(name + 122, "@trade");
    assert_int_equal(tape_venue_route(venue, name, &error), 0);
    place(name + 123, "@trade");
    memset(name, 'a', 123);
    assert_int_equal(tape_venue_route(venue, name, &error), TAPE_USAGE);
    assert_non_null(strstr(error.text, "it is longer than 128 bytes"));
    tape_venue_free(venue);
}

static void test_route_urls(void **state)
{
    struct tape_venue *usdm = load("usdm"), *spot = load("spot"), *coinm = load("coinm");
    (void)state;
    assert_int_equal(tape_venue_routes(usdm), 2);
    assert_string_equal(tape_venue_route_url(usdm, 0), "wss://fstream.binance.com/public/stream");
    assert_string_equal(tape_venue_route_url(usdm, 1), "wss://fstream.binance.com/market/stream");
    assert_string_equal(tape_venue_route_path(usdm, 1), "/market/stream");
    assert_string_equal(tape_venue_route_url(spot, 0), "wss://stream.binance.com:9443/stream");
    assert_string_equal(tape_venue_route_url(coinm, 0), "wss://dstream.binance.com/stream");
    assert_int_equal(tape_venue_unrouted(usdm), 0);
    assert_int_equal(tape_venue_unrouted(spot), -1);
    assert_int_equal(tape_venue_find_route(usdm, "btcusdt@aggTradeX", 16), 1);
    assert_int_equal(tape_venue_find_route(usdm, "btcusdt@aggTradeX", 17), -1);
    tape_venue_free(usdm);
    tape_venue_free(spot);
    tape_venue_free(coinm);
}

/* ---- requests, limits, rules ---- */

static void test_subscribe(void **state)
{
    struct tape_venue *venue = load("usdm");
    static const char *const streams[] = {"btcusdt@aggTrade", "btcusdt@depth"};
    static const char expected[] =
        "{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@aggTrade\",\"btcusdt@depth\"],\"id\":7}";
    char to[256];
    (void)state;
    int bytes = tape_venue_subscribe(venue, to, sizeof to, streams, 2, 7);
    assert_int_equal(bytes, (int)strlen(expected));
    assert_memory_equal(to, expected, (size_t)bytes);
    for (size_t room = 0; room < strlen(expected); room++)
        assert_int_equal(tape_venue_subscribe(venue, to, room, streams, 2, 7), TAPE_LIMIT);
    static const char *const broken[] = {"a\"],\"x\":[\""};
    assert_int_equal(tape_venue_subscribe(venue, to, sizeof to, broken, 1, 7), TAPE_USAGE);
    tape_venue_free(venue);
}

static void test_limits(void **state)
{
    static const struct {
        const char *venue;
        int streams, messages, ping_s, pong_s;
    } expected[] = {
        {"usdm", 1024, 10, 180, 600}, {"spot", 1024, 5, 20, 60}, {"coinm", 200, 10, 180, 600}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tape_venue *venue = load(expected[i].venue);
        struct tape_venue_limits limits;
        tape_venue_read_limits(venue, &limits);
        assert_int_equal(limits.streams_per_connection, expected[i].streams);
        assert_int_equal(limits.streams_per_request, 200);
        assert_int_equal(limits.messages_per_second, expected[i].messages);
        assert_true(limits.first_message_ns == 30 * INT64_C(1000000000));
        assert_true(limits.connection_life_ns == 86400 * INT64_C(1000000000));
        assert_true(limits.ping_ns == expected[i].ping_s * INT64_C(1000000000));
        assert_true(limits.pong_ns == expected[i].pong_s * INT64_C(1000000000));
        tape_venue_free(venue);
    }
}

static void test_sequences(void **state)
{
    static const struct {
        const char *venue, *stream;
        int rule;
    } cases[] = {
        {"usdm", "btcusdt@depth@0ms", TAPE_VENUE_SEQUENCE_PREVIOUS_LAST},
        {"usdm", "btcusdt@depth20@100ms", TAPE_VENUE_SEQUENCE_NONE},
        {"usdm", "btcusdt@aggTrade", TAPE_VENUE_SEQUENCE_NEXT_ID},
        {"usdm", "btcusdt@trade", TAPE_VENUE_SEQUENCE_NEXT_ID},
        {"usdm", "btcusdt@bookTicker", TAPE_VENUE_SEQUENCE_RISING},
        {"usdm", "!bookTicker", TAPE_VENUE_SEQUENCE_NONE},
        {"usdm", "btcusdt@markPrice", TAPE_VENUE_SEQUENCE_NONE},
        {"spot", "btcusdt@depth@100ms", TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS},
        {"spot", "btcusdt@depth5", TAPE_VENUE_SEQUENCE_NONE},
        {"coinm", "btcusd_perp@depth", TAPE_VENUE_SEQUENCE_PREVIOUS_LAST},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_venue *venue = load(cases[i].venue);
        assert_int_equal(tape_venue_sequence(venue, cases[i].stream, strlen(cases[i].stream)),
                         cases[i].rule);
        tape_venue_free(venue);
    }
    assert_int_equal(tape_venue_sequence(NULL, "btcusdt@trade", 13), TAPE_VENUE_SEQUENCE_NONE);
}

static void test_silence_hints(void **state)
{
    struct tape_venue *venue = load("usdm");
    (void)state;
    assert_string_equal(tape_venue_silence_hint(venue, "btcusdt@forceOrder"),
                        "sent only when a position is liquidated");
    assert_non_null(strstr(tape_venue_silence_hint(venue, "x@aggTrade"), "another route"));
    assert_string_equal(tape_venue_silence_hint(NULL, "x@aggTrade"),
                        "an acknowledgement does not prove that a stream exists");
    tape_venue_free(venue);
}

/* ---- answers ---- */

struct answer_case {
    const char *payload;
    int kind;
    int64_t id, code;
    const char *text;
};

#define NO_ID TAPE_TICK_NONE
static const struct answer_case answer_cases[] = {
    {"{\"result\":null,\"id\":1}", TAPE_VENUE_ACK, 1, 0, ""},
    {" { \"id\" : 2 , \"result\" : null } ", TAPE_VENUE_ACK, 2, 0, ""},
    {"{\"result\":[\"btcusdt@aggTrade\"],\"id\":3}", TAPE_VENUE_ACK, 3, 0, ""},
    {"{\"result\":null,\"id\":\"42\"}", TAPE_VENUE_ACK, 42, 0, ""},
    {"{\"result\":null,\"id\":\"abc\"}", TAPE_VENUE_ACK, NO_ID, 0, ""},
    {"{\"result\":null,\"id\":null}", TAPE_VENUE_ACK, NO_ID, 0, ""},
    {"{\"result\":null,\"id\":9007199254740993}", TAPE_VENUE_ACK, NO_ID, 0, ""},
    {"{\"result\":null,\"id\":90071992547409930}", TAPE_VENUE_ACK, NO_ID, 0, ""},
    {"{\"error\":{\"code\":2,\"msg\":\"Invalid request\"},\"id\":1}", TAPE_VENUE_ERROR, 1, 2,
     "Invalid request"},
    {"{\"id\":null,\"error\":{\"code\":3,\"msg\":\"Invalid JSON\"}}", TAPE_VENUE_ERROR, NO_ID, 3,
     "Invalid JSON"},
    {"{\"code\":2,\"msg\":\"a\\u001b[31mb\",\"id\":1}", TAPE_VENUE_ERROR, 1, 2, "a?[31mb"},
    {"{\"code\":-1121,\"msg\":\"Invalid symbol.\"}", TAPE_VENUE_ERROR, NO_ID, -1121,
     "Invalid symbol."},
    {"{\"result\":null}", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"{\"id\":1}", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"{\"result\":null,\"id\":1", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"{\"result\":null,\"id\":1}}", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"{\"e\":\"trade\",\"id\":1,\"result\":null}", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"{\"result\":[[[[[[[[1]]]]]]]],\"id\":1}", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"[]", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"{", TAPE_VENUE_DATA, NO_ID, 0, ""},
    {"pong", TAPE_VENUE_DATA, NO_ID, 0, ""},
};

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answer_cases / sizeof *answer_cases; i++) {
        const struct answer_case *c = &answer_cases[i];
        struct tape_venue_answer answer;
        if (tape_venue_classify(c->payload, strlen(c->payload), &answer) != c->kind ||
            answer.id != c->id || answer.error_code != c->code)
            fail_msg("%s: id %lld, code %lld", c->payload, (long long)answer.id,
                     (long long)answer.error_code);
        assert_string_equal(answer.error_text, c->text);
    }
}

static void test_answer_of_any_length(void **state)
{
    static char payload[80 << 10];
    struct tape_venue_answer answer;
    (void)state;
    int head = snprintf(payload, sizeof payload, "{\"code\":1,\"msg\":\"");
    memset(payload + head, 'x', 70 << 10);
    place(payload + head + 1000, "\"}");
    assert_int_equal(tape_venue_classify(payload, strlen(payload), &answer), TAPE_VENUE_ERROR);
    assert_int_equal(strlen(answer.error_text), sizeof answer.error_text - 1);
    memset(payload + head, 'x', 70 << 10);
    place(payload + head + (70 << 10), "\"}");
    assert_int_equal(tape_venue_classify(payload, strlen(payload), &answer), TAPE_VENUE_DATA);
}

/* ---- profiles ---- */

#define LIMITS                                                                                     \
    "\"limits\": {\"streams_per_connection\": 1, \"streams_per_request\": 1, "                     \
    "\"messages_per_second\": 1, \"first_message_seconds\": 1, \"connection_life_seconds\": 1}"
#define SUBSCRIBE "\"subscribe\": {\"op\": [\"{id}\", {\"a\": \"{streams}\"}]}"
#define ROUTES    "\"routes\": [{\"name\": \"r\", \"url\": \"ws://h\", \"streams\": [\"**\"]}]"

static void test_profile(void **state)
{
    static const char text[] =
        "{ // a venue\n \"name\": \"x\", /* \"name\": */ " ROUTES ",\n" SUBSCRIBE "," LIMITS "}\n";
    struct tape_error error;
    char to[64];
    static const char *const streams[] = {"s"};
    (void)state;
    struct tape_venue *venue = tape_venue_parse(text, sizeof text - 1, "x.json", &error);
    assert_non_null(venue);
    assert_string_equal(tape_venue_route_path(venue, 0), "/");
    int bytes = tape_venue_subscribe(venue, to, sizeof to, streams, 1, -5);
    assert_int_equal(bytes, 23);
    assert_memory_equal(to, "{\"op\":[-5,{\"a\":[\"s\"]}]}", 23);
    assert_int_equal(tape_venue_route(venue, "ANY@thing", &error), 0);
    struct tape_venue_limits limits;
    tape_venue_read_limits(venue, &limits);
    assert_true(limits.ping_ns == 180000000000 && limits.pong_ns == 600000000000);
    assert_int_equal(tape_venue_unrouted(venue), -1);
    tape_venue_free(venue);
}

struct profile_case {
    const char *text, *error;
};

#define KEYS                                                                                       \
    "name, aliases, symbols, routes, unrouted, subscribe, limits, sequences, silence, snapshots"

static const struct profile_case profile_cases[] = {
    {"", "p.json: line 1, column 1: no JSON from here on"},
    {"[]", "p.json: not a JSON object"},
    {"{}", "p.json: \"name\" is missing"},
    {"{\n  \"name\": \"x\",\n  \"rotues\": []}",
     "p.json: line 3, column 3: unknown key \"rotues\" (did you mean \"routes\"?)"},
    {"{\"color\": 1}", "p.json: line 1, column 2: unknown key \"color\"; known: " KEYS},
    {"{\"na\\u001bme\\n\": 1}", "p.json: line 1, column 2: unknown key \"na?me?\"; known: " KEYS},
    {"{\"name\": \"x\", // one\n/* two\n */ \"name\": \"y\"}",
     "p.json: line 3, column 5: duplicate key \"name\""},
    {"{\"name\": \"x\" \"routes\": 1}", "p.json: line 1, column 14: no JSON from here on"},
    {"{\"name\": \"x\"} 1", "p.json: line 1, column 15: no JSON from here on"},
    {"{\n/* \"name\": \"x\"}", "p.json: line 2, column 1: the comment has no end"},
    {"{\"name\": 5}", "p.json: line 1, column 2: \"name\" must be a string of printable ASCII"},
    {"{\"name\": \"x\", \"routes\": []}",
     "p.json: line 1, column 15: \"routes\" must be a list of objects, at least one"},
    {"{\"name\": \"x\", \"routes\": [{\"name\": \"r\", \"url\": \"u\"}]}",
     "p.json: line 1, column 15: \"streams\" is missing"},
    {"{\"name\": \"x\", \"routes\": [{\"name\": \"r\", \"url\": \"u\", \"streams\": [5]}]}",
     "p.json: line 1, column 52: \"streams\" must be a list of strings of printable ASCII, at "
     "least "
     "one"},
    {"{\"name\": \"x\", \"limits\": {\"streams_per_connection\": 1.5}}",
     "p.json: line 1, column 26: \"streams_per_connection\" must be a whole number from 1 to "
     "1000000000"},
    {"{\"name\": \"x\", \"routes\": [{\"name\": \"r\", \"url\": \"http://h\", \"streams\": "
     "[\"*\"]}], " SUBSCRIBE ", " LIMITS "}",
     "p.json: line 1, column 40: \"http://h\" is no URL of the form wss://host/path"},
    {"{\"name\": \"x\", \"routes\": [{\"name\": \"r\", \"url\": \"ws://h\", \"streams\": "
     "[\"{a\"]}], " SUBSCRIBE ", " LIMITS "}",
     "p.json: line 1, column 57: \"{a\" is no pattern: braces {a,b} must pair and not nest, a "
     "pattern have at most 128 bytes, a list stand for at most 256"},
    {"{\"name\": \"x\", \"subscribe\": {\"a\": \"{id}\"}, " ROUTES ", " LIMITS "}",
     "p.json: line 1, column 15: \"subscribe\" must hold the strings \"{streams}\" and \"{id}\", "
     "each once"},
    {"{\"name\": \"x\", \"subscribe\": [\"{id}\"], " ROUTES ", " LIMITS "}",
     "p.json: line 1, column 15: \"subscribe\" must be an object"},
    {"{\"name\": \"x\", \"subscribe\": {\"a\": \"{id}\", \"b\": \"{id}\", \"c\": "
     "\"{streams}\"}, " ROUTES ", " LIMITS "}",
     "p.json: line 1, column 15: \"subscribe\" must hold the strings \"{streams}\" and \"{id}\", "
     "each once"},
    {"{\"name\": \"x\", \"subscribe\": {\"a\": \"{id}\", \"b\": {\"c\": 1}}, \"limit\": 1}",
     "p.json: line 1, column 58: unknown key \"limit\" (did you mean \"limits\"?)"},
    {"{\"name\": \"x\", \"symbols\": \"upper\", " ROUTES ", " SUBSCRIBE ", " LIMITS "}",
     "p.json: line 1, column 15: \"symbols\" must be \"lower_case\" or \"any\""},
    {"{\"name\": \"x\", " ROUTES ", " SUBSCRIBE ", " LIMITS
     ",\n\"sequences\": [{\"streams\": [\"*\"], \"rule\": \"u\"}]}",
     "p.json: line 2, column 34: \"u\" is no sequence rule"},
    {"{\"name\": \"x\", \"unrouted\": \"s\", " ROUTES ", " SUBSCRIBE ", " LIMITS "}",
     "p.json: line 1, column 15: \"unrouted\": no route is called \"s\""},
    {"[[[[[[[[[]]]]]]]]]", "p.json: nested more than 8 deep"},
};

static void test_profile_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof profile_cases / sizeof *profile_cases; i++) {
        const struct profile_case *c = &profile_cases[i];
        struct tape_error error = {0, ""};
        assert_null(tape_venue_parse(c->text, strlen(c->text), "p.json", &error));
        assert_string_equal(error.text, c->error);
        assert_int_equal(error.status, TAPE_USAGE);
    }
    struct tape_error error;
    assert_null(tape_venue_parse("{\n\0}", 4, "p.json", &error));
    assert_string_equal(error.text, "p.json: line 2, column 1: a NUL byte");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_braces),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_distance_rank),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_route_of_long_name),
        cmocka_unit_test(test_route_urls),
        cmocka_unit_test(test_subscribe),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_sequences),
        cmocka_unit_test(test_silence_hints),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answer_of_any_length),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_profile_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
