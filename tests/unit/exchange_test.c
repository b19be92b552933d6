#include "replay/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replay/source.h"

static struct tape_exchange load(const char *name)
{
    struct tape_error error = {0};
    struct tape_exchange exchange = {name ? tape_venue_load(name, &error) : NULL, 0};
    assert_true(!name || exchange.venue);
    return exchange;
}

static void unload(struct tape_exchange *exchange)
{
    tape_venue_free((struct tape_venue *)(uintptr_t)exchange->venue);
}

/* The names of a client, a '-' before those that stay silent. */
static void tell_names(const struct tape_exchange_client *client, char *to, size_t room)
{
    size_t used = 0;
    to[0] = '\0';
    for (size_t i = 0; i < client->count; i++)
        used += (size_t)snprintf(to + used, room - used, "%s%s%.*s", i ? " " : "",
                                 client->names[i].sent ? "" : "-", (int)client->names[i].bytes,
                                 client->names[i].text);
}

/* ---- URLs ---- */

struct url_case {
    const char *venue, *path, *query;
    int combined; /* -1: refused */
    const char *names;
};

static const struct url_case url_cases[] = {
    {"usdm", "/ws", "", 0, ""},
    {"usdm", "/ws/", "", 0, ""},
    {"usdm", "/ws/btcusdt@trade", "", 0, "btcusdt@trade"},
    {"usdm", "/ws/btcusdt@trade/ethusdt@trade", "", 0, "btcusdt@trade ethusdt@trade"},
    {"usdm", "/ws/btcusdt@trade/btcusdt@trade", "", 0, "btcusdt@trade"},
    {"usdm", "/stream", "", 1, ""},
    {"usdm", "/stream/", "", 1, ""},
    {"usdm", "/stream", "streams=btcusdt@trade/ethusdt@depth@100ms", 1,
     "btcusdt@trade ethusdt@depth@100ms"},
    {"usdm", "/stream", "timeUnit=MICROSECOND&streams=a@trade%2Fb%40trade", 1, "a@trade b@trade"},
    {"usdm", "/stream", "streams=%zz", -1, ""},
    {"usdm", "/stream", "streams=a%00b", -1, ""},
    /* routes: since 2026-04-23 an unrouted URL is sent what is public */
    {"usdm", "/ws/btcusdt@aggTrade/btcusdt@trade", "", 0, "-btcusdt@aggTrade btcusdt@trade"},
    {"usdm", "/public/ws/btcusdt@aggTrade/btcusdt@trade", "", 0, "-btcusdt@aggTrade btcusdt@trade"},
    {"usdm", "/market/ws/btcusdt@aggTrade/btcusdt@trade", "", 0, "btcusdt@aggTrade -btcusdt@trade"},
    {"usdm", "/market/stream", "streams=a@kline_1m/a@depth/a@new", 1, "a@kline_1m -a@depth a@new"},
    {"usdm", "/private/ws", "", -1, ""},
    {"usdm", "/marketing/ws", "", -1, ""},
    {"usdm", "/", "", -1, ""},
    {"usdm", "/wss", "", -1, ""},
    {"usdm", "/streams", "streams=a@trade", -1, ""},
    {"usdm", "/stream/a@trade", "", -1, ""},
    {"spot", "/ws/btcusdt@aggTrade", "", 0, "btcusdt@aggTrade"},
    {"spot", "/public/ws/btcusdt@aggTrade", "", -1, ""},
    {"spot", "/stream", "streams=\xe5\xb8\x81@trade", 1, "\xe5\xb8\x81@trade"},
    {"spot", "/stream", "streams=\xe5\xb8@trade/a\"b/c\\d/e f/a@trade", 1, "a@trade"},
    {NULL, "/market/ws/a@aggTrade/a@trade", "", 0, "a@aggTrade a@trade"},
    {NULL, "/public/stream", "streams=x", 1, "x"},
};

static void test_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof url_cases / sizeof *url_cases; i++) {
        const struct url_case *c = &url_cases[i];
        struct tape_exchange exchange = load(c->venue);
        struct tape_exchange_client client;
        struct tape_error error = {0};
        char names[256];
        int status = tape_exchange_open(&client, &exchange, c->path, c->query, &error);
        print_message("%s?%s: %s\n", c->path, c->query, status < 0 ? error.text : "");
        assert_int_equal(status, c->combined < 0 ? TAPE_USAGE : 0);
        if (status == 0) {
            tell_names(&client, names, sizeof names);
            assert_string_equal(names, c->names);
            assert_int_equal(client.combined, c->combined);
        }
        tape_exchange_close(&client);
        unload(&exchange);
    }
}

static void test_url_errors(void **state)
{
    struct tape_exchange exchange = load("spot");
    struct tape_exchange_client client;
    struct tape_error error = {0};
    (void)state;
    tape_exchange_open(&client, &exchange, "/x", "", &error);
    assert_string_equal(error.text, "no such path; streams are at /ws, /ws/<stream> and "
                                    "/stream?streams=<stream>/<stream>");
    tape_exchange_close(&client);
    tape_exchange_open(&client, &exchange, "/stream", "streams=%2", &error);
    assert_string_equal(error.text, "streams= in the URL is badly encoded");
    tape_exchange_close(&client);
    unload(&exchange);
}

static void test_unrouted(void **state)
{
    struct tape_exchange exchange = load("usdm");
    struct tape_exchange_client client;
    struct tape_error error = {0};
    (void)state;
    exchange.unrouted = 1;
    assert_int_equal(tape_exchange_open(&client, &exchange, "/ws/a@aggTrade", "", &error), 0);
    assert_int_equal(client.names[0].sent, 1);
    tape_exchange_close(&client);
    unload(&exchange);
}

static void test_name_limits(void **state)
{
    struct tape_exchange exchange = load("coinm");
    struct tape_exchange_client client;
    struct tape_error error = {0};
    char name[160];
    (void)state;
    assert_int_equal(tape_exchange_open(&client, &exchange, "/ws", "", &error), 0);
    memset(name, 'a', sizeof name);
    assert_int_equal(tape_exchange_add(&client, name, 129, &error), 0);
    assert_int_equal(tape_exchange_add(&client, name, 128, &error), 1);
    assert_int_equal(tape_exchange_add(&client, "", 0, &error), 0);
    for (int i = 1; i < 200; i++) {
        int bytes = snprintf(name, sizeof name, "s%d@trade", i);
        assert_int_equal(tape_exchange_add(&client, name, (size_t)bytes, &error), 1);
    }
    assert_int_equal(tape_exchange_add(&client, "one@more", 8, &error), TAPE_LIMIT);
    assert_string_equal(error.text, "more than 200 streams on one connection");
    assert_int_equal(tape_exchange_drop(&client, "s7@trade", 8), 1);
    assert_int_equal(tape_exchange_drop(&client, "s7@trade", 8), 0);
    assert_int_equal(tape_exchange_add(&client, "one@more", 8, &error), 1);
    assert_int_equal(client.count, 200);
    assert_memory_equal(client.names[7].text, "s8@trade", 8);
    tape_exchange_close(&client);
    unload(&exchange);
}

/* ---- requests ---- */

struct request_case {
    const char *text, *answer;
    int changed;
};

/* One conversation: each request meets what those before it left. */
static const struct request_case requests[] = {
    {"{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@aggTrade\",\"btcusdt@depth\"],\"id\":1}",
     "{\"result\":null,\"id\":1}", 1},
    {"{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@depth\"],\"id\":2}",
     "{\"result\":null,\"id\":2}", 0},
    {"{\"id\":\"a-B_9\",\"method\":\"LIST_SUBSCRIPTIONS\"}",
     "{\"result\":[\"btcusdt@aggTrade\",\"btcusdt@depth\"],\"id\":\"a-B_9\"}", 0},
    {" { \"id\" : null , \"method\":\"UNSUBSCRIBE\",\"params\":[\"btcusdt@aggTrade\",\"x\"]}\n",
     "{\"result\":null,\"id\":null}", 1},
    {"{\"method\":\"UNSUBSCRIBE\",\"params\":[\"x\"]}", "{\"result\":null,\"id\":null}", 0},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":9223372036854775807}",
     "{\"result\":[\"btcusdt@depth\"],\"id\":9223372036854775807}", 0},
    {"{\"method\":\"SUBSCRIBE\",\"params\":[\"\\u5e01@trade\",\"no \\\"name\"],\"id\":-4}",
     "{\"result\":null,\"id\":-4}", 1},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":0}",
     "{\"result\":[\"btcusdt@depth\",\"\xe5\xb8\x81@trade\"],\"id\":0}", 0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"combined\"],\"id\":2}",
     "{\"result\":false,\"id\":2}", 0},
    {"{\"method\":\"SET_PROPERTY\",\"params\":[\"combined\",true],\"id\":5}",
     "{\"result\":null,\"id\":5}", 1},
    {"{\"method\":\"SET_PROPERTY\",\"params\":[\"combined\",true],\"id\":5}",
     "{\"result\":null,\"id\":5}", 0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"combined\"],\"id\":2}",
     "{\"result\":true,\"id\":2}", 0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"colour\"],\"id\":2}",
     "{\"error\":{\"code\":0,\"msg\":\"Unknown property\"},\"id\":2}", 0},
    {"{\"method\":\"SET_PROPERTY\",\"params\":[\"combined\",1],\"id\":5}",
     "{\"error\":{\"code\":1,\"msg\":\"Invalid value type: expected Boolean\"},\"id\":5}", 0},
    {"{\"method\":\"SET_PROPERTY\",\"params\":[\"combined\"],\"id\":5}",
     "{\"error\":{\"code\":1,\"msg\":\"Invalid value type: expected Boolean\"},\"id\":5}", 0},
    {"{\"method\":\"SET_PROPERTY\",\"params\":[true,true],\"id\":5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: property name must be a "
     "string\"},\"id\":5}",
     0},
    {"{\"method\":\"GET_PROPERTY\",\"id\":5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: property name must be a "
     "string\"},\"id\":5}",
     0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"combined\",1],\"id\":5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: too many parameters\"},\"id\":5}", 0},
    {"{\"method\":\"SET_PROPERTY\",\"params\":[\"combined\",true,1],\"id\":5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: too many parameters\"},\"id\":5}", 0},
    {"{\"method\":\"SUBSCRIBE\",\"params\":\"btcusdt@trade\",\"id\":5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: params must be a list of stream "
     "names\"},\"id\":5}",
     0},
    {"{\"method\":\"UNSUBSCRIBE\",\"params\":[\"a\",5],\"id\":5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: params must be a list of stream "
     "names\"},\"id\":5}",
     0},
    {"{\"method\":\"SUBSCRIBE\",\"params\":[\"a\"],\"id\":1.5}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"combined\"],\"id\":-1}",
     "{\"result\":true,\"id\":-1}", 0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"combined\"],\"id\":9223372036854775807}",
     "{\"result\":true,\"id\":9223372036854775807}", 0},
    {"{\"method\":\"GET_PROPERTY\",\"params\":[\"combined\"],\"id\":-9223372036854775808}",
     "{\"result\":true,\"id\":-9223372036854775808}", 0},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":9223372036854775808}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":-9223372036854775809}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":10000000000000000000}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"SUBSCRIBE\",\"params\":[\"a\"],\"id\":{\"x\":1}}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":\"1234567890123456789012345678901234567\"}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":\"a\\\"b\"}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: request ID must be an unsigned "
     "integer\"},\"id\":null}",
     0},
    {"{\"method\":\"subscribe\",\"params\":[\"a\"],\"id\":7}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: unknown variant `subscribe`, expected one "
     "of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line "
     "1 column 21\"},\"id\":7}",
     0},
    {"{\"method\":\"\\u0007\\\"\\\\\",\n\"id\":7}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: unknown variant `???`, expected one of "
     "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 2 "
     "column 8\"},\"id\":7}",
     0},
    {"{\"params\":[\"a\"],\"id\":7}",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: missing field `method` at line 1 column "
     "23\"},\"id\":7}",
     0},
    {"[]",
     "{\"error\":{\"code\":2,\"msg\":\"Invalid request: missing field `method` at line 1 column "
     "2\"},\"id\":null}",
     0},
    {"hello",
     "{\"error\":{\"code\":3,\"msg\":\"Invalid JSON: expected value at line 1 column "
     "1\"},\"id\":null}",
     0},
    {"\n  }",
     "{\"error\":{\"code\":3,\"msg\":\"Invalid JSON: expected value at line 2 column "
     "3\"},\"id\":null}",
     0},
    {"{\"id\":1",
     "{\"error\":{\"code\":3,\"msg\":\"Invalid JSON: expected value at line 1 column "
     "8\"},\"id\":null}",
     0},
    {"",
     "{\"error\":{\"code\":3,\"msg\":\"Invalid JSON: expected value at line 1 column "
     "1\"},\"id\":null}",
     0},
    {"[[[[[[[[[[]]]]]]]]]]",
     "{\"error\":{\"code\":3,\"msg\":\"Invalid JSON: expected value at line 1 column "
     "21\"},\"id\":null}",
     0},
};

static void test_requests(void **state)
{
    struct tape_exchange exchange = load("spot");
    struct tape_exchange_client client;
    struct tape_error error = {0};
    (void)state;
    assert_int_equal(tape_exchange_open(&client, &exchange, "/ws", "", &error), 0);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const struct request_case *c = &requests[i];
        struct tape_growing answer = {0};
        char *text = malloc(strlen(c->text) + 1); /* so that reading past its end shows */
        memcpy(text, c->text, strlen(c->text));
        int changed = tape_exchange_answer(&client, text, strlen(c->text), &answer, &error);
        tape_growing_put_u8(&answer, 0);
        print_message("%s\n", c->text);
        assert_string_equal((char *)answer.bytes, c->answer);
        assert_int_equal(changed, c->changed);
        free(answer.bytes);
        free(text);
    }
    tape_exchange_close(&client);
    unload(&exchange);
}

static void test_request_limits(void **state)
{
    struct tape_exchange exchange = load(NULL);
    struct tape_exchange_client client;
    struct tape_error error = {0};
    struct tape_growing text = {0}, answer = {0};
    (void)state;
    assert_int_equal(tape_exchange_open(&client, &exchange, "/ws", "", &error), 0);
    static const char head[] = "{\"method\":\"SUBSCRIBE\",\"params\":[\"x\"";
    tape_growing_put(&text, head, sizeof head - 1);
    for (int i = 0; i < 2000; i++) {
        char name[32];
        tape_growing_put(&text, name, (size_t)snprintf(name, sizeof name, ",\"s%d@trade\"", i));
    }
    tape_growing_put(&text, "]}", 2);
    assert_int_equal(
        tape_exchange_answer(&client, (char *)text.bytes, text.length, &answer, &error),
        TAPE_LIMIT);
    assert_string_equal(error.text, "more than 1024 streams on one connection");
    assert_int_equal(client.count, 1024);
    uint8_t *more = tape_growing_reserve(&text, 300 << 10);
    memset(more, ' ', 300 << 10);
    while (client.count > 0)
        tape_exchange_drop(&client, client.names[0].text, client.names[0].bytes);
    assert_int_equal(tape_exchange_answer(&client, (char *)text.bytes, 256 << 10, &answer, &error),
                     TAPE_LIMIT);
    assert_int_equal(client.count, 1024);
    assert_int_equal(
        tape_exchange_answer(&client, (char *)text.bytes, (256 << 10) + 1, &answer, &error),
        TAPE_LIMIT);
    assert_string_equal(error.text, "a request of more than 262144 bytes");
    free(text.bytes);
    free(answer.bytes);
    tape_exchange_close(&client);
}

/* ---- what is ours ---- */

static void test_wishes(void **state)
{
    struct tape_exchange_wishes wishes;
    struct tape_error error = {0};
    (void)state;
    assert_int_equal(tape_exchange_read_wishes("", &wishes, &error), 0);
    assert_true(!wishes.has_from && !wishes.has_to && wishes.speed < 0 && wishes.order < 0);
    assert_string_equal(wishes.session, "");
    assert_int_equal(tape_exchange_read_wishes("streams=a@trade&from=+10m&to=1795600000000000000"
                                               "&speed=max&session=a.B-9_&clients=2&state=1"
                                               "&order=event&listenKey=x",
                                               &wishes, &error),
                     0);
    assert_true(wishes.has_from && wishes.from.base == TAPE_TIMESPEC_START);
    assert_true(wishes.from.ns == 600000000000);
    assert_true(wishes.has_to && wishes.to.ns == 1795600000000000000);
    assert_true(wishes.speed == 0);
    assert_string_equal(wishes.session, "a.B-9_");
    assert_int_equal(wishes.clients, 2);
    assert_int_equal(wishes.state, 1);
    assert_int_equal(wishes.order, TAPE_SOURCE_ORDER_EVENT);
    assert_int_equal(tape_exchange_read_wishes("from=%2b90s", &wishes, &error), 0);
    assert_true(wishes.from.ns == 90000000000);
}

static void test_wish_errors(void **state)
{
    static const struct {
        const char *query, *error;
    } cases[] = {
        {"session=", "session= in the URL: names are of 1 to 64 letters, digits, \"_\", \".\" and "
                     "\"-\", not of dots alone"},
        {"session=..", "session= in the URL: names are of 1 to 64 letters, digits, \"_\", \".\" "
                       "and \"-\", not of dots alone"},
        {"session=a%2Fb", "session= in the URL: names are of 1 to 64 letters, digits, \"_\", "
                          "\".\" and \"-\", not of dots alone"},
        {"clients=0", "clients= in the URL: \"0\" is no number from 1 to 1024"},
        {"clients=1025", "clients= in the URL: \"1025\" is no number from 1 to 1024"},
        {"clients=2x", "clients= in the URL: \"2x\" is no number from 1 to 1024"},
        {"clients=", "clients= in the URL: \"\" is no number from 1 to 1024"},
        {"state=2", "state= in the URL: \"2\" is neither 0 nor 1"},
        {"order=up", "order= in the URL: \"up\" is neither received nor event"},
        {"from=%0", "from= in the URL: it is badly encoded"},
        {"from=1%00", "from= in the URL: it is badly encoded"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_exchange_wishes wishes;
        struct tape_error error = {0};
        assert_int_equal(tape_exchange_read_wishes(cases[i].query, &wishes, &error), TAPE_USAGE);
        assert_string_equal(error.text, cases[i].error);
    }
    char query[200] = "from=";
    struct tape_exchange_wishes wishes;
    struct tape_error error = {0};
    memset(query + 5, '1', 150);
    assert_int_equal(tape_exchange_read_wishes(query, &wishes, &error), TAPE_USAGE);
    assert_string_equal(error.text, "from= in the URL: the value is too long");
    assert_int_equal(tape_exchange_read_wishes("speed=fast", &wishes, &error), TAPE_USAGE);
    assert_int_equal(tape_exchange_read_wishes("to=yesterday", &wishes, &error), TAPE_USAGE);
}

static void test_query(void **state)
{
    char to[8];
    (void)state;
    assert_int_equal(tape_exchange_query("a=1&b=%41%2f", "b", to, sizeof to), 2);
    assert_string_equal(to, "A/");
    assert_int_equal(tape_exchange_query("aa=1", "a", to, sizeof to), -1);
    assert_int_equal(tape_exchange_query("a", "a", to, sizeof to), -1);
    assert_int_equal(tape_exchange_query("a=1234567", "a", to, sizeof to), 7);
    assert_int_equal(tape_exchange_query("a=12345678", "a", to, sizeof to), TAPE_LIMIT);
    assert_int_equal(tape_exchange_query("a=%4", "a", to, sizeof to), TAPE_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),     cmocka_unit_test(test_url_errors),
        cmocka_unit_test(test_unrouted), cmocka_unit_test(test_name_limits),
        cmocka_unit_test(test_requests), cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_wishes),   cmocka_unit_test(test_wish_errors),
        cmocka_unit_test(test_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
