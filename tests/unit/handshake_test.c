#include "format/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"

#define ACCEPT     "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* RFC 6455 1.3 */
#define KEY        "dGhlIHNhbXBsZSBub25jZQ=="
#define STATUS     "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPTED   "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define GOOD       STATUS UPGRADE CONNECTION ACCEPTED
#define END        "\r\n"

static struct guard guard;

static int open_guard(void **state)
{
    (void)state;
    guard = guard_open(64 << 10);
    return 0;
}

static int close_guard(void **state)
{
    (void)state;
    guard_close(&guard);
    return 0;
}

/* ---- the request ---- */

static void request_is_exact(void **state)
{
    (void)state;
    static const char want[] = "GET /market/stream?streams=bnbusdt@aggTrade HTTP/1.1\r\n"
                               "Host: fstream.test:8443\r\n"
                               "Upgrade: websocket\r\n"
                               "Connection: Upgrade\r\n"
                               "Sec-WebSocket-Key: " KEY "\r\n"
                               "Sec-WebSocket-Version: 13\r\n"
                               "\r\n";
    struct tape_error error = {0};
    for (size_t room = 0; room <= sizeof want + 3; room++) {
        char *to = (char *)guard_room(&guard, room);
        int got = tape_handshake_request(to, room, "fstream.test:8443",
                                         "/market/stream?streams=bnbusdt@aggTrade", KEY, &error);
        if (room < sizeof want) {
            assert_int_equal(got, TAPE_LIMIT);
            continue;
        }
        assert_int_equal(got, sizeof want - 1);
        assert_string_equal(to, want);
    }
    tape_handshake_request(NULL, 0, "a", "/", KEY, &error);
    assert_string_equal(error.text, "the request does not fit into 0 bytes");
}

static void request_refuses_what_could_split_it(void **state)
{
    (void)state;
    static const struct {
        const char *host, *target, *key, *text;
    } cases[] = {
        {"", "/", KEY, "the host is empty"},
        {"a\r\nX: y", "/", KEY, "the host has a character that may not stand there: 0x0d at 1"},
        {"a b", "/", KEY, "the host has a character that may not stand there: 0x20 at 1"},
        {"b\xc3\xbc", "/", KEY, "the host has a character that may not stand there: 0xc3 at 1"},
        {"a\x7f", "/", KEY, "the host has a character that may not stand there: 0x7f at 1"},
        {"a/b", "/", KEY, "the host has a character that may not stand there: 0x2f at 1"},
        {"u@a", "/", KEY, "the host has a character that may not stand there: 0x40 at 1"},
        {"a", "", KEY, "the target does not begin with \"/\""},
        {"a", "x", KEY, "the target does not begin with \"/\""},
        {"a", "/ HTTP/1.1", KEY, "the target has a character that may not stand there: 0x20 at 1"},
        {"a", "/x\n", KEY, "the target has a character that may not stand there: 0x0a at 2"},
        {"a", "/x#y", KEY, "the target has a character that may not stand there: 0x23 at 2"},
        {"a", "/\xe2\x82\xac", KEY,
         "the target has a character that may not stand there: 0xe2 at 1"},
        {"a", "/", "", "the key is not the base64 of 16 bytes"},
        {"a", "/", "dGhlIHNhbXBsZSBub25jZQ=", "the key is not the base64 of 16 bytes"},
        {"a", "/", "dGhlIHNhbXBsZSBub25jZR==", "the key is not the base64 of 16 bytes"},
        {"a", "/", "dGhlIHNhbXBsZSBub25j\r\n==", "the key is not the base64 of 16 bytes"},
    };
    char to[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_error error = {0};
        assert_int_equal(tape_handshake_request(to, sizeof to, cases[i].host, cases[i].target,
                                                cases[i].key, &error),
                         TAPE_USAGE);
        assert_string_equal(error.text, cases[i].text);
    }
}

/* ---- the answer ---- */

static struct tape_handshake_response response;
static struct tape_error error;

/* Gives the first ${bytes} of head, ending at the forbidden page. */
static int answer(const char *head, size_t bytes)
{
    memset(&response, 0x5a, sizeof response);
    memset(&error, 0, sizeof error);
    return tape_handshake_response(guard_put(&guard, head, bytes), bytes, ACCEPT, &response,
                                   &error);
}

static void good_answers_are_taken_at_every_split(void **state)
{
    (void)state;
    static const char *const heads[] = {
        GOOD END,
        "HTTP/1.1 101\r\n" UPGRADE CONNECTION ACCEPTED END,
        "HTTP/1.1 101 \r\n" UPGRADE CONNECTION ACCEPTED END,
        "HTTP/1.1 101 \xc3\x9c"
        "bergang\r\n" UPGRADE CONNECTION ACCEPTED END,
        STATUS "upgrade:WebSocket\r\nCONNECTION:keep-alive, upGRADE\r\n"
               "sec-websocket-accept:\t " ACCEPT " \t\r\nServer:\r\n" END,
        STATUS
        "Upgrade: h2c , websocket\r\nConnection: close\r\nConnection: ,, Upgrade ,\r\n" ACCEPTED
            END,
        STATUS ACCEPTED "Date: Sun, 22 Nov 2026 08:00:00 GMT\r\nX: a:b\tc \xff\r\n" CONNECTION
                        "Connection: keep-alive\r\nUpgrade: foo\r\n" UPGRADE "Upgrade: bar\r\n" END,
        GOOD "Content-Length: 0\r\nx!#$%&'*+-.^_`|~9: z\r\n" END,
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        size_t bytes = strlen(heads[i]);
        for (size_t part = 0; part < bytes; part++) {
            if (answer(heads[i], part) != 0)
                fail_msg("head %zu at %zu of %zu: %s", i, part, bytes, error.text);
        }
        assert_int_equal(answer(heads[i], bytes), bytes);
        assert_int_equal(response.status_code, 101);
        assert_int_equal(response.retry_after_s, 0);
        assert_string_equal(response.location, "");
        assert_string_equal(response.retry_after_date, "");
    }
    assert_int_equal(answer(GOOD END "\x81\x02hi", strlen(GOOD END) + 4), strlen(GOOD END));
    assert_int_equal(answer(GOOD END, strlen(GOOD END)), strlen(GOOD END));
    assert_string_equal(response.reason, "Switching Protocols");
}

/* at: the number of bytes that shows the fault; one less must not. */
struct refusal {
    const char *head;
    size_t at;
    const char *text;
};

#define LONG(s) s, sizeof(s) - 1
static const struct refusal refusals[] = {
    /* status line */
    {"HTTP/1.0 101 x\r\n" END, 8,
     "the server did not answer in HTTP/1.1 but with \"HTTP/1.0 101 x\""},
    {"HTTP/2 200\r\n" END, 6, "the server did not answer in HTTP/1.1 but with \"HTTP/2 200\""},
    {"http/1.1 101 x\r\n" END, 1,
     "the server did not answer in HTTP/1.1 but with \"http/1.1 101 x\""},
    {"SSH-2.0-\x1b[31mOpenSSH\r\n", 1,
     "the server did not answer in HTTP/1.1 but with \"SSH-2.0-\\x1b[31mOpenSSH\""},
    {"\r\n" GOOD END, 1, "the server did not answer in HTTP/1.1 but with \"\""},
    {"\x15\x03\x01\x02\x02\x28", 1, "the server answered with a TLS alert: it wants TLS here"},
    {"HTTP/1.1  101 x\r\n" END, 10,
     "the status code of the answer is not a number of three digits"},
    {"HTTP/1.1 1x1 x\r\n" END, 11, "the status code of the answer is not a number of three digits"},
    {"HTTP/1.1 001 x\r\n" END, 10, "the status code of the answer is not a number of three digits"},
    {"HTTP/1.1 1010 x\r\n" END, 13,
     "the status code of the answer is not a number of three digits"},
    {"HTTP/1.1 101\tx\r\n" END, 13,
     "the status code of the answer is not a number of three digits"},
    {"HTTP/1.1 101\n", 13, "the status line of the answer has a bare LF"},
    {"HTTP/1.1 101 x\n", 15, "the status line of the answer has a bare LF"},
    {"HTTP/1.1 101 x\ry", 16, "the status line of the answer has a bare CR"},
    {"HTTP/1.1 101 x\x01", 15, "the status line of the answer has a control character"},
    {"HTTP/1.1 101 x\x7f", 15, "the status line of the answer has a control character"},
    /* field lines */
    {STATUS " folded: x", sizeof STATUS, "field line 1 of the answer is folded"},
    {STATUS UPGRADE "\tx: y\r\n" END, sizeof STATUS UPGRADE,
     "field line 2 of the answer is folded"},
    {STATUS "Server\r\n" END, sizeof STATUS + 7, "field line 1 of the answer has no colon"},
    {STATUS ": x\r\n" END, sizeof STATUS, "field line 1 of the answer has no name"},
    {STATUS "Upgrade : websocket\r\n" END, sizeof STATUS + 7,
     "field line 1 of the answer has a name that is no token"},
    {STATUS "Upgr\xc3\xa4: websocket\r\n" END, sizeof STATUS + 4,
     "field line 1 of the answer has a name that is no token"},
    {STATUS "a(b): x\r\n" END, sizeof STATUS + 1,
     "field line 1 of the answer has a name that is no token"},
    {STATUS "a\x01: x\r\n" END, sizeof STATUS + 1,
     "field line 1 of the answer has a control character"},
    {STATUS "a\n", sizeof STATUS + 1, "field line 1 of the answer has a bare LF"},
    {STATUS "a\rb", sizeof STATUS + 2, "field line 1 of the answer has a bare CR"},
    {STATUS "a: b\x1b[2J\r\n" END, sizeof STATUS + 4,
     "field line 1 of the answer has a control character"},
    {STATUS "a: b\nc: d\r\n" END, sizeof STATUS + 4, "field line 1 of the answer has a bare LF"},
    {STATUS "a: b\rc\r\n" END, sizeof STATUS + 5, "field line 1 of the answer has a bare CR"},
    {STATUS "a: b\r\r\n" END, sizeof STATUS + 5, "field line 1 of the answer has a bare CR"},
    {GOOD "\rx", sizeof GOOD + 1, "field line 4 of the answer has a bare CR"},
    {GOOD "\n", sizeof GOOD, "field line 4 of the answer has a bare LF"},
    /* what a 101 must say */
    {STATUS CONNECTION ACCEPTED END, 0, "the answer has no Upgrade: websocket"},
    {STATUS "Upgrade: websockets\r\n" CONNECTION ACCEPTED END, 0,
     "the answer has no Upgrade: websocket"},
    {STATUS "Upgrade: web socket\r\n" CONNECTION ACCEPTED END, 0,
     "the answer has no Upgrade: websocket"},
    {STATUS "Upgrade:\r\n" CONNECTION ACCEPTED END, 0, "the answer has no Upgrade: websocket"},
    {STATUS UPGRADE ACCEPTED END, 0, "the answer has no Connection: Upgrade"},
    {STATUS UPGRADE "Connection: keep-alive\r\n" ACCEPTED END, 0,
     "the answer has no Connection: Upgrade"},
    {STATUS UPGRADE CONNECTION END, 0, "the answer has no Sec-WebSocket-Accept"},
    {STATUS END, 0, "the answer has no Upgrade: websocket"},
    {STATUS "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n" UPGRADE,
     sizeof STATUS "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n" - 1,
     "the Sec-WebSocket-Accept of the answer is \"s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\", not \"" ACCEPT
     "\""},
    {LONG(STATUS "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=\r\n"),
     "the Sec-WebSocket-Accept of the answer is \"S3PPLMBITXAQ9KYGZZHZRBK+XOO=\", not \"" ACCEPT
     "\""},
    {LONG(STATUS "Sec-WebSocket-Accept:\r\n"),
     "the Sec-WebSocket-Accept of the answer is \"\", not \"" ACCEPT "\""},
    {LONG(STATUS "Sec-WebSocket-Accept: " ACCEPT ", " ACCEPT "\r\n"),
     "the Sec-WebSocket-Accept of the answer is \"" ACCEPT ", " ACCEPT "\", not \"" ACCEPT "\""},
    {GOOD ACCEPTED END, sizeof GOOD ACCEPTED - 1,
     "the answer has more than one Sec-WebSocket-Accept"},
    {LONG(STATUS "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
     "the answer has Sec-WebSocket-Extensions: \"permessage-deflate\", which was not asked for"},
    {LONG(STATUS "sec-websocket-extensions:\r\n"),
     "the answer has Sec-WebSocket-Extensions: \"\", which was not asked for"},
    {LONG(STATUS "Sec-WebSocket-Protocol: chat\r\n"),
     "the answer has Sec-WebSocket-Protocol: \"chat\", which was not asked for"},
    {LONG(STATUS "Content-Length: 5\r\n"),
     "the answer has Content-Length: \"5\", but a 101 has no body"},
    {LONG(STATUS "Content-Length: 0, 0\r\n"),
     "the answer has Content-Length: \"0, 0\", but a 101 has no body"},
    {LONG(STATUS "Transfer-Encoding: chunked\r\n"),
     "the answer has Transfer-Encoding: \"chunked\", but a 101 has no body"},
    /* other statuses */
    {"HTTP/1.1 302 Found\r\nLocation: https://a.test/x\r\n" END, 0,
     "the server answered 302 Found (to https://a.test/x): a redirect is not followed"},
    {"HTTP/1.1 301 Moved\r\n" END, 0, "the server answered 301 Moved: a redirect is not followed"},
    {"HTTP/1.1 307\r\nlocation:/\x80\r\n" END, 0,
     "the server answered 307 (to /\\x80): a redirect is not followed"},
    {"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n" END "forbidden",
     sizeof "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n" END - 1,
     "the server answered 403 Forbidden: it refuses this client"},
    {"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\n" END, 0,
     "the server answered 429 Too Many Requests: too many requests, retry after 30 s"},
    {"HTTP/1.1 418 I'm a teapot\r\nRetry-After: 259200\r\n" END, 0,
     "the server answered 418 I'm a teapot: this address is banned for too many requests, retry "
     "after 259200 s"},
    {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: Sun, 22 Nov 2026 08:00:00 GMT\r\n" END, 0,
     "the server answered 503 Service Unavailable: the server is in trouble, retry after Sun, 22 "
     "Nov 2026 08:00:00 GMT"},
    {"HTTP/1.1 451 \r\n" END, 0, "the server answered 451: it does not serve this place"},
    {"HTTP/1.1 404 Not Found\r\n" END, 0,
     "the server answered 404 Not Found: there is nothing at this path"},
    {"HTTP/1.1 401 Unauthorized\r\n" END, 0,
     "the server answered 401 Unauthorized: it wants credentials"},
    {"HTTP/1.1 426 Upgrade Required\r\n" END, 0,
     "the server answered 426 Upgrade Required: it wants another protocol or version"},
    {"HTTP/1.1 200 OK\r\n" UPGRADE CONNECTION ACCEPTED END, 0,
     "the server answered 200 OK: 101 was expected"},
    {"HTTP/1.1 100 Continue\r\n" END GOOD END, sizeof "HTTP/1.1 100 Continue\r\n" END - 1,
     "the server answered 100 Continue: 101 was expected"},
    {"HTTP/1.1 403 Forbidden\r\n folded\r\n", sizeof "HTTP/1.1 403 Forbidden\r\n",
     "the server answered 403 Forbidden: field line 1 of the answer is folded"},
};

static void faults_show_at_the_first_byte_that_can(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        size_t bytes = strlen(r->head), at = r->at ? r->at : bytes;
        assert_true(at <= bytes);
        for (size_t part = 0; part <= bytes; part++) {
            int got = answer(r->head, part);
            if (got != (part < at ? 0 : TAPE_PROTOCOL))
                fail_msg("refusal %zu (%s) at %zu of %zu: %d %s", i, r->text, part, at, got,
                         error.text);
            if (got)
                assert_int_equal(error.status, TAPE_PROTOCOL);
        }
        assert_string_equal(error.text, r->text);
    }
}

static void other_statuses_fill_the_response(void **state)
{
    (void)state;
    static const struct {
        const char *head, *date;
        int64_t seconds;
    } cases[] = {
        {"Retry-After: 0\r\n", "", 0},
        {"Retry-After: 120\r\n", "", 120},
        {"retry-after:2147483648\r\n", "", 2147483648},
        {"Retry-After: 2147483649\r\n", "", 2147483648},
        {"Retry-After: 99999999999999999999999999\r\n", "", 2147483648},
        {"Retry-After: \r\n", "", 0},
        {"Retry-After: -5\r\n", "-5", -1},
        {"Retry-After: 5s\r\n", "5s", -1},
        {"Retry-After: 3\r\nRetry-After: 7\r\n", "", 7},
        {"Retry-After: soon\r\nRetry-After: 7\r\n", "", 7},
        {"Retry-After: Sunday, 22-Nov-26 08:00:00 GMT and no more\r\n",
         "Sunday, 22-Nov-26 08:00:00 GMT and n...", -1},
        {"Retry-After: Sun, 22 Nov 2026 08:00:00 GMT\r\n", "Sun, 22 Nov 2026 08:00:00 GMT", -1},
    };
    char text[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int bytes = snprintf(text, sizeof text, "HTTP/1.1 429 Wait\r\n%s\r\n", cases[i].head);
        assert_int_equal(answer(text, (size_t)bytes), TAPE_PROTOCOL);
        assert_int_equal(response.status_code, 429);
        assert_string_equal(response.reason, "Wait");
        assert_int_equal(response.retry_after_s, cases[i].seconds);
        assert_string_equal(response.retry_after_date, cases[i].date);
    }
}

/* What the server says is shortened and made printable, whatever its length. */
static void long_and_odd_words_are_cut(void **state)
{
    (void)state;
    char text[8192], odd[2048];
    for (size_t bytes = 0; bytes < sizeof odd; bytes++) {
        memset(odd, 'a', bytes);
        for (size_t i = 0; i < bytes; i += 1 + bytes % 3)
            odd[i] = (char)0xc3;
        odd[bytes] = '\0';
        int head = snprintf(text, sizeof text, "HTTP/1.1 302 %s\r\nLocation: %s\r\n\r\n",
                            bytes % 2 ? odd : "x", odd);
        assert_int_equal(answer(text, (size_t)head), TAPE_PROTOCOL);
        assert_true(strlen(response.location) < sizeof response.location);
        assert_true(strlen(response.reason) < sizeof response.reason);
        for (const char *at = error.text; *at; at++)
            assert_true(*at >= ' ' && *at <= '~');
        for (const char *at = response.location; *at; at++)
            assert_true(*at >= ' ' && *at <= '~');
        if (bytes > 600)
            assert_string_equal(response.location + strlen(response.location) - 3, "...");
    }
    for (size_t bytes = 1; bytes < 600; bytes++) { /* the edges of both fields, to the byte */
        memset(odd, 'b', bytes);
        odd[bytes] = '\0';
        snprintf(text, sizeof text, "HTTP/1.1 302 %s\r\nLocation: %s\r\n\r\n", odd, odd);
        answer(text, strlen(text));
        assert_int_equal(strlen(response.location), bytes < 512 ? bytes : 511);
        assert_int_equal(strlen(response.reason), bytes < 128 ? bytes : 127);
        assert_int_equal(response.reason[126], bytes < 127 ? 0 : bytes < 128 ? 'b' : '.');
    }
}

static void heads_have_limits(void **state)
{
    (void)state;
    static char head[2 * TAPE_HANDSHAKE_HEAD_MAX_BYTES];
    size_t fixed = strlen(GOOD "X: " END END);
    for (int more = -2; more <= 2; more++) { /* around the limit, to the byte */
        size_t fill = (size_t)(TAPE_HANDSHAKE_HEAD_MAX_BYTES + more) - fixed;
        size_t bytes = (size_t)snprintf(head, sizeof head, "%sX: ", GOOD);
        memset(head + bytes, 'y', fill);
        bytes += fill;
        bytes += (size_t)snprintf(head + bytes, sizeof head - bytes, "\r\n\r\n");
        assert_int_equal(answer(head, bytes), more <= 0 ? (int)bytes : TAPE_LIMIT);
        if (more > 0)
            assert_string_equal(error.text, "the head of the answer is longer than 16384 bytes");
    }
    memset(head, 'y', sizeof head);
    memcpy(head, STATUS "X: ", strlen(STATUS "X: "));
    assert_int_equal(answer(head, TAPE_HANDSHAKE_HEAD_MAX_BYTES - 1), 0);
    assert_int_equal(answer(head, TAPE_HANDSHAKE_HEAD_MAX_BYTES), TAPE_LIMIT);
    assert_int_equal(answer(head, sizeof head), TAPE_LIMIT);
    memcpy(head, "HTTP/1.1 403 No\r\nX-Padding-To-Here: ", 36);
    assert_int_equal(answer(head, sizeof head), TAPE_LIMIT);
    assert_string_equal(error.text,
                        "the server answered 403 No: the head of the answer is longer than "
                        "16384 bytes");
}

static void fields_have_a_limit(void **state)
{
    (void)state;
    char head[1024];
    for (int fields = 62; fields <= 66; fields++) {
        size_t bytes = (size_t)snprintf(head, sizeof head, "%s", GOOD);
        for (int i = 3; i < fields; i++)
            bytes += (size_t)snprintf(head + bytes, sizeof head - bytes, "x:\r\n");
        bytes += (size_t)snprintf(head + bytes, sizeof head - bytes, "\r\n");
        assert_int_equal(answer(head, bytes), fields <= 64 ? (int)bytes : TAPE_LIMIT);
        if (fields > 64) {
            assert_string_equal(error.text, "the answer has more than 64 field lines");
            size_t first = strlen(GOOD) + 61 * 4; /* where line 65 begins */
            assert_int_equal(answer(head, first), 0);
            assert_int_equal(answer(head, first + 1), TAPE_LIMIT);
        }
    }
}

static void no_error_struct_is_needed(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 403 No\r\nbad\r\n";
    assert_int_equal(
        tape_handshake_response((const uint8_t *)head, sizeof head - 1, ACCEPT, &response, NULL),
        TAPE_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_is_exact),
        cmocka_unit_test(request_refuses_what_could_split_it),
        cmocka_unit_test(good_answers_are_taken_at_every_split),
        cmocka_unit_test(faults_show_at_the_first_byte_that_can),
        cmocka_unit_test(other_statuses_fill_the_response),
        cmocka_unit_test(long_and_odd_words_are_cut),
        cmocka_unit_test(heads_have_limits),
        cmocka_unit_test(fields_have_a_limit),
        cmocka_unit_test(no_error_struct_is_needed),
    };
    return cmocka_run_group_tests(tests, open_guard, close_guard);
}
