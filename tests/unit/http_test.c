#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replay/http.h"
#include "replay/http_answer.h"
#include "tests/unit/guard.h"

#define GET  "GET / HTTP/1.1\r\nHost: h\r\n"
#define POST "POST / HTTP/1.1\r\nHost: h\r\n"
#define OLD  "GET / HTTP/1.0\r\n"
#define END  "\r\n"

enum { TEXT_BYTES = 40 << 10 };

/* A verdict that depends on how the bytes were split would show here: every prefix must say "more",
 * up to the byte that decides, and the same from there on. */
static int parse_split(const char *data, size_t bytes, struct tape_http_head *head)
{
    static struct guard guard;
    if (!guard.base)
        guard = guard_open(64 << 10);
    int whole = tape_http_parse((char *)guard_put(&guard, data, bytes), bytes, head), decided = 0;
    for (size_t part = 0; part <= bytes; part++) {
        struct tape_http_head other;
        int got = tape_http_parse((char *)guard_put(&guard, data, part), part, &other);
        if (got != 0 || decided)
            assert_int_equal(got, whole);
        decided |= got != 0;
    }
    return tape_http_parse(data, bytes, head);
}

static void assert_slice(struct tape_slice found, const char *wanted)
{
    assert_int_equal(found.bytes, strlen(wanted));
    assert_memory_equal(found.data, wanted, found.bytes);
}

static void reads_what_it_may(void **state)
{
    static const struct {
        const char *text, *method, *path, *query, *host;
        int minor, keep_alive, fields;
        size_t body;
    } rows[] = {
        {GET END, "GET", "/", "", "h", 1, 1, 1, 0},
        {"\r\n" GET END, "GET", "/", "", "h", 1, 1, 1, 0},
        {"GET /ws/a@trade?from=+10m&x HTTP/1.1\r\nhost:127.0.0.1:9080\r\n\r\n", "GET",
         "/ws/a@trade", "from=+10m&x", "127.0.0.1:9080", 1, 1, 1, 0},
        {"GET /? HTTP/1.1\r\nHOST: [::1]:80 \t\r\n\r\n", "GET", "/", "", "[::1]:80", 1, 1, 1, 0},
        {"GET /a?b?c HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/a", "b?c", "", 1, 1, 1, 0},
        {"GET http://a.b:1/c?d HTTP/1.1\r\nHost: other\r\n\r\n", "GET", "/c", "d", "a.b:1", 1, 1, 1,
         0},
        {"GET WSS://a?d HTTP/1.1\r\nHost: other\r\n\r\n", "GET", "/", "d", "a", 1, 1, 1, 0},
        {"GET ws://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", "", "a", 1, 1, 1, 0},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "*", "", "h", 1, 1, 1, 0},
        {OLD END, "GET", "/", "", "", 0, 0, 0, 0},
        {OLD "Connection: keep-alive\r\n" END, "GET", "/", "", "", 0, 1, 1, 0},
        {OLD "Connection: keep-alive, close\r\n" END, "GET", "/", "", "", 0, 0, 1, 0},
        {GET "Connection: Upgrade\r\nConnection: x, CLOSE \r\n" END, "GET", "/", "", "h", 1, 0, 3,
         0},
        {GET "Connection: closed\r\n" END, "GET", "/", "", "h", 1, 1, 2, 0},
        {POST "Content-Length: 5\r\n" END "hello", "POST", "/", "", "h", 1, 1, 2, 5},
        {POST "Content-Length: 0005\r\n" END, "POST", "/", "", "h", 1, 1, 2, 5},
        {POST "content-length:65536\r\n" END, "POST", "/", "", "h", 1, 1, 2, 65536},
        {GET "X: \xc3\xa4 \t b\r\nEmpty:\r\n" END, "GET", "/", "", "h", 1, 1, 3, 0},
        {"M-SEARCH!#$%&'*+^_`|~ /x HTTP/1.1\r\nHost: h\r\n\r\n", "M-SEARCH!#$%&'*+^_`|~", "/x", "",
         "h", 1, 1, 1, 0},
        {"ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\nHost: h\r\n\r\n", "ABCDEFGHIJKLMNOPQRSTUVWX", "/",
         "", "h", 1, 1, 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_http_head head;
        size_t bytes = strlen(rows[i].text), body = strstr(rows[i].text, "hello") ? 5 : 0;
        assert_int_equal(parse_split(rows[i].text, bytes, &head), bytes - body);
        assert_slice(head.method, rows[i].method);
        assert_slice(head.path, rows[i].path);
        assert_slice(head.query, rows[i].query);
        assert_slice(head.host, rows[i].host);
        assert_int_equal(head.minor_version, rows[i].minor);
        assert_int_equal(head.keep_alive, rows[i].keep_alive);
        assert_int_equal(head.fields_count, rows[i].fields);
        assert_int_equal(head.body_bytes, rows[i].body);
        assert_int_equal(head.expects_continue, 0);
    }
}

/* NUL bytes cannot stand in these texts: '\1' in them is made one. */
static const struct {
    const char *text;
    int fault;
} refused[] = {
    {"\x16\x03\x01\x02", TAPE_HTTP_FAULT_TLS},
    {" GET / HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"\r\n\r\nGET / HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"\nGET / HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"\rGET / HTTP/1.1\r\n", TAPE_HTTP_FAULT_LINE_END},
    {"GE\1T / HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"G(T / HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"GET\t/ HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"GET\r\n", TAPE_HTTP_FAULT_METHOD},
    {"ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\n", TAPE_HTTP_FAULT_METHOD},
    {"GET  / HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET \t/ HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET /\1 HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET /\x7f HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET /\xc3\xa4 HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET /a#b HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET /\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET * HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"OPTIONS ** HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET a HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"CONNECT h:80 HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET ftp://h/ HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET http:///x HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET http://u@h/x HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET ?x HTTP/1.1\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET / HTTP/1.1 \r\n", TAPE_HTTP_FAULT_LINE_END},
    {"GET / HTTP/1.1\n", TAPE_HTTP_FAULT_LINE_END},
    {"GET / HTTP/1.1\rX", TAPE_HTTP_FAULT_LINE_END},
    {"GET / http/1.1\r\n", TAPE_HTTP_FAULT_VERSION_FORM},
    {"GET /  HTTP/1.1\r\n", TAPE_HTTP_FAULT_VERSION_FORM},
    {"GET / HTTP/11\r\n", TAPE_HTTP_FAULT_VERSION_FORM},
    {"GET / x HTTP/1.1\r\n", TAPE_HTTP_FAULT_VERSION_FORM},
    {"GET / HTTP/0.9\r\n", TAPE_HTTP_FAULT_VERSION},
    {"GET / HTTP/1.2\r\n", TAPE_HTTP_FAULT_VERSION},
    {"PRI * HTTP/2.0\r\n", TAPE_HTTP_FAULT_TARGET},
    {"GET / HTTP/2.0\r\n", TAPE_HTTP_FAULT_VERSION},
    {GET "\n", TAPE_HTTP_FAULT_LINE_END},
    {GET "\rX", TAPE_HTTP_FAULT_LINE_END},
    {GET "A: b\n" END, TAPE_HTTP_FAULT_LINE_END},
    {GET "A: b\rc\r\n" END, TAPE_HTTP_FAULT_LINE_END},
    {GET "A: b\1\r\n" END, TAPE_HTTP_FAULT_CONTROL},
    {GET "A: \x7f\r\n" END, TAPE_HTTP_FAULT_CONTROL},
    {GET "A: b\x0b\r\n" END, TAPE_HTTP_FAULT_CONTROL},
    {GET ": b\r\n" END, TAPE_HTTP_FAULT_FIELD_NAME},
    {GET "A : b\r\n" END, TAPE_HTTP_FAULT_FIELD_NAME},
    {GET "A\1: b\r\n" END, TAPE_HTTP_FAULT_FIELD_NAME},
    {GET "A\xc3: b\r\n" END, TAPE_HTTP_FAULT_FIELD_NAME},
    {GET "A b: c\r\n" END, TAPE_HTTP_FAULT_FIELD_NAME},
    {GET "A\r\n" END, TAPE_HTTP_FAULT_FIELD_NAME},
    {GET " folded\r\n" END, TAPE_HTTP_FAULT_FOLDED},
    {GET "\tfolded\r\n" END, TAPE_HTTP_FAULT_FOLDED},
    {"GET / HTTP/1.1\r\n A: b\r\n" END, TAPE_HTTP_FAULT_FOLDED},
    {"GET / HTTP/1.1\r\n" END, TAPE_HTTP_FAULT_HOST},
    {GET "Host: h\r\n" END, TAPE_HTTP_FAULT_HOST},
    {GET "host: other\r\n" END, TAPE_HTTP_FAULT_HOST},
    {OLD "Host: a\r\nHost: a\r\n" END, TAPE_HTTP_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n" END, TAPE_HTTP_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a@b\r\n" END, TAPE_HTTP_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a b\r\n" END, TAPE_HTTP_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n" END, TAPE_HTTP_FAULT_HOST},
    {POST "Content-Length: 5\r\nContent-Length: 5\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: 5, 5\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: 5\r\ncontent-length: 6\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length:\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: +5\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: -5\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: 0x5\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: 5 5\r\n" END, TAPE_HTTP_FAULT_CONTENT_LENGTH},
    {POST "Content-Length: 65537\r\n" END, TAPE_HTTP_FAULT_BODY_LENGTH},
    {POST "Content-Length: 18446744073709551621\r\n" END, TAPE_HTTP_FAULT_BODY_LENGTH},
    {POST "Content-Length: 99999999999999999999999999999999999999\r\n" END,
     TAPE_HTTP_FAULT_BODY_LENGTH},
    {POST "Transfer-Encoding: chunked\r\n" END, TAPE_HTTP_FAULT_TRANSFER_ENCODING},
    {POST "transfer-encoding: identity\r\n" END, TAPE_HTTP_FAULT_TRANSFER_ENCODING},
    {POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END,
     TAPE_HTTP_FAULT_TRANSFER_ENCODING},
    {POST "Transfer-Encoding:\r\n" END, TAPE_HTTP_FAULT_TRANSFER_ENCODING},
    {POST "Expect: gold\r\n" END, TAPE_HTTP_FAULT_EXPECT},
    {POST "Expect: 100-continue\r\nExpect: 100-continue\r\n" END, TAPE_HTTP_FAULT_EXPECT},
};

static void refuses_the_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct tape_http_head head;
        char text[512];
        size_t bytes = strlen(refused[i].text);
        memcpy(text, refused[i].text, bytes);
        for (size_t at = 0; at < bytes; at++)
            if (text[at] == '\1')
                text[at] = '\0';
        int got = parse_split(text, bytes, &head);
        if (got != -refused[i].fault)
            fail_msg("row %zu: found %d, not %d: %s", i, got, -refused[i].fault, refused[i].text);
    }
}

/* A fault is told as early as its bytes allow, not at the end of the head. */
static void tells_faults_early(void **state)
{
    struct tape_http_head head;
    (void)state;
    assert_int_equal(tape_http_parse("\x16", 1, &head), -TAPE_HTTP_FAULT_TLS);
    assert_int_equal(tape_http_parse("GET /#", 6, &head), -TAPE_HTTP_FAULT_TARGET);
    assert_int_equal(tape_http_parse("GET / HTTP/3", 12, &head), 0);
    assert_int_equal(tape_http_parse("GET / HTTP/3.0", 14, &head), -TAPE_HTTP_FAULT_VERSION);
    assert_int_equal(tape_http_parse(GET "\n", sizeof GET, &head), -TAPE_HTTP_FAULT_LINE_END);
    assert_int_equal(tape_http_parse(GET " ", sizeof GET, &head), -TAPE_HTTP_FAULT_FOLDED);
}

static void keeps_its_limits(void **state)
{
    static char text[TEXT_BYTES];
    struct tape_http_head head;
    (void)state;
    for (size_t target = 8191; target <= 8193; target++) { /* with its slash */
        size_t at = (size_t)snprintf(text, TEXT_BYTES, "GET /");
        memset(text + at, 'a', target - 1);
        at += target - 1;
        at += (size_t)snprintf(text + at, TEXT_BYTES - at, " HTTP/1.1\r\nHost: h\r\n\r\n");
        int wanted =
            target <= TAPE_HTTP_TARGET_MAX_BYTES ? (int)at : -TAPE_HTTP_FAULT_TARGET_LENGTH;
        assert_int_equal(tape_http_parse(text, at, &head), wanted);
    }
    for (int fields = 99; fields <= 101; fields++) {
        size_t at = (size_t)snprintf(text, TEXT_BYTES, GET);
        for (int i = 1; i < fields; i++)
            at += (size_t)snprintf(text + at, TEXT_BYTES - at, "A%d: b\r\n", i);
        at += (size_t)snprintf(text + at, TEXT_BYTES - at, END);
        int wanted = fields <= TAPE_HTTP_FIELDS_MAX ? (int)at : -TAPE_HTTP_FAULT_FIELDS;
        assert_int_equal(tape_http_parse(text, at, &head), wanted);
    }
    for (size_t whole = 16383; whole <= 16385; whole++) {
        size_t at = (size_t)snprintf(text, TEXT_BYTES, GET "A: ");
        memset(text + at, 'a', whole - 4 - at);
        memcpy(text + whole - 4, "\r\n\r\n", 4);
        int wanted = whole <= TAPE_HTTP_HEAD_MAX_BYTES ? (int)whole : -TAPE_HTTP_FAULT_HEAD_LENGTH;
        assert_int_equal(tape_http_parse(text, whole, &head), wanted);
        assert_int_equal(tape_http_parse(text, 16382, &head), 0);
    }
    memset(text, 'a', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\nHost: ", 22);
    assert_int_equal(tape_http_parse(text, sizeof text, &head), -TAPE_HTTP_FAULT_HEAD_LENGTH);
}

static void waits_for_bodies(void **state)
{
    struct tape_http_head head;
    const char body[] = POST "Content-Length: 5\r\nExpect: 100-Continue\r\n" END;
    const char none[] = POST "Expect: 100-continue\r\n" END;
    const char old[] = "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" END;
    (void)state;
    assert_int_equal(tape_http_parse(body, sizeof body - 1, &head), sizeof body - 1);
    assert_int_equal(head.expects_continue, 1);
    assert_int_equal(tape_http_parse(none, sizeof none - 1, &head), sizeof none - 1);
    assert_int_equal(head.expects_continue, 0);
    assert_int_equal(tape_http_parse(old, sizeof old - 1, &head), sizeof old - 1);
    assert_int_equal(head.expects_continue, 0);
}

static void finds_fields(void **state)
{
    struct tape_http_head head;
    const char text[] =
        GET "Upgrade: h2c, WebSocket\r\nOrigin: x\r\norigin: y\r\nList: a,,b ,\r\n" END;
    int count = -1;
    (void)state;
    assert_true(tape_http_parse(text, sizeof text - 1, &head) > 0);
    assert_slice(tape_http_find(&head, "ORIGIN", &count), "x");
    assert_int_equal(count, 2);
    assert_null(tape_http_find(&head, "Orig", &count).data);
    assert_int_equal(count, 0);
    assert_true(tape_http_has_token(&head, "upgrade", "websocket"));
    assert_false(tape_http_has_token(&head, "upgrade", "h2"));
    assert_false(tape_http_has_token(&head, "list", "c"));
    assert_true(tape_http_has_token(&head, "list", "b"));
    assert_true(tape_http_has_token(&head, "list", ""));
}

static void decodes_paths(void **state)
{
    static const struct {
        const char *path, *decoded;
    } rows[] = {
        {"/", "/"},
        {"/ws/btcusdt%40trade", "/ws/btcusdt@trade"},
        {"/%e5%B8%81%2f%25", "/\xe5\xb8\x81/%"},
        {"/a+b", "/a+b"},
        {"/%41%7E", "/A~"},
    };
    static const char *const bad[] = {"/%",    "/%4",   "/%4g", "/%g4",     "/%00",
                                      "/a%00", "/%ff",  "/%c3", "/%c3/%a4", "/%ed%a0%80",
                                      "/%%41", "/%u41", "/%-1", "/%c0%80",  "/% 1"};
    char to[64];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_slice path = {rows[i].path, strlen(rows[i].path)};
        assert_int_equal(tape_http_decode_path(path, to, sizeof to), strlen(rows[i].decoded));
        assert_string_equal(to, rows[i].decoded);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tape_slice path = {bad[i], strlen(bad[i])};
        assert_int_equal(tape_http_decode_path(path, to, sizeof to), -TAPE_HTTP_FAULT_PATH);
    }
    assert_int_equal(tape_http_decode_path((struct tape_slice){"/abc", 4}, to, 5), 4);
    assert_int_equal(tape_http_decode_path((struct tape_slice){"/abc", 4}, to, 4),
                     -TAPE_HTTP_FAULT_TARGET_LENGTH);
}

static void answers(void **state)
{
    char to[TAPE_HTTP_ANSWER_MAX_BYTES];
    struct tape_http_answer answer = {.status = 200,
                                      .content_type = "a/b",
                                      .body_bytes = 7,
                                      .keep_alive = 1,
                                      .unix_s = 784111777};
    (void)state;
    size_t bytes = tape_http_answer_head(to, &answer);
    assert_int_equal(bytes, strlen(to));
    assert_string_equal(to, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                            "Content-Type: a/b\r\nContent-Length: 7\r\nCache-Control: no-store\r\n"
                            "X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\n\r\n");
    answer = (struct tape_http_answer){.status = 426, .unix_s = 784111777};
    tape_http_answer_head(to, &answer);
    assert_non_null(strstr(to, "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
    assert_non_null(strstr(to, "\r\nConnection: Upgrade, close\r\n"));
    assert_null(strstr(to, "\r\nContent-Type"));
    answer.status = 204;
    tape_http_answer_head(to, &answer);
    assert_null(strstr(to, "Content-Length"));
    answer.status = 799;
    tape_http_answer_head(to, &answer);
    assert_memory_equal(to, "HTTP/1.1 799 Other\r\n", 20);
    assert_string_equal(tape_http_answer_phrase(404), "Not Found");
}

static void every_fault_has_its_words_and_status(void **state)
{
    (void)state;
#define ASSERT_FAULT(name, status, words)                                                          \
    assert_string_equal(tape_http_fault_words(TAPE_HTTP_FAULT_##name), words);                     \
    assert_int_equal(tape_http_fault_status(TAPE_HTTP_FAULT_##name), status);                      \
    assert_string_not_equal(tape_http_answer_phrase(status), "Other");
    TAPE_HTTP_FAULT_TABLE(ASSERT_FAULT)
#undef ASSERT_FAULT
    assert_string_equal(tape_http_fault_words(999), "unknown fault");
    assert_int_equal(tape_http_fault_status(999), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_may),
        cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(tells_faults_early),
        cmocka_unit_test(keeps_its_limits),
        cmocka_unit_test(waits_for_bodies),
        cmocka_unit_test(finds_fields),
        cmocka_unit_test(decodes_paths),
        cmocka_unit_test(answers),
        cmocka_unit_test(every_fault_has_its_words_and_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
