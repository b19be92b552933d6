#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "replay/http_answer.h"
#include "replay/upgrade.h"

#define START   "GET /ws HTTP/1.1\r\nHost: h\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECT "Connection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define END     "\r\n"

static int check(const char *text, struct tape_http_head *head)
{
    assert_int_equal(tape_http_parse(text, strlen(text), head), strlen(text));
    return tape_upgrade_check(head);
}

static void takes_good_ones(void **state)
{
    static const char *const rows[] = {
        START UPGRADE CONNECT VERSION KEY END,
        START KEY VERSION "connection: keep-alive, UPGRADE\r\nUPGRADE: h2c, WebSocket\r\n" END,
        START UPGRADE "Connection: x\r\n" CONNECT VERSION KEY END,
        START UPGRADE CONNECT VERSION KEY "Content-Length: 0\r\n" END,
        START UPGRADE CONNECT VERSION KEY "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                                          "Sec-WebSocket-Protocol: chat\r\n" END,
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_http_head head;
        char accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1];
        assert_int_equal(check(rows[i], &head), 1);
        tape_upgrade_accept(&head, accept);
        assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); /* RFC 6455 section 1.3 */
    }
}

static void tells_what_is_wrong(void **state)
{
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        {START END, 0},
        {START CONNECT VERSION KEY END, 0},
        {START "Upgrade: h2c\r\n" CONNECT VERSION KEY END, 0},
        {START "Upgrade: websockets\r\n" CONNECT VERSION KEY END, 0},
        {"POST /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE CONNECT VERSION KEY END,
         -TAPE_UPGRADE_FAULT_METHOD},
        {"get /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE CONNECT VERSION KEY END,
         -TAPE_UPGRADE_FAULT_METHOD},
        {"HEAD /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE CONNECT VERSION KEY END,
         -TAPE_UPGRADE_FAULT_METHOD},
        {"GET /ws HTTP/1.0\r\n" UPGRADE CONNECT VERSION KEY END, -TAPE_UPGRADE_FAULT_HTTP},
        {START UPGRADE VERSION KEY END, -TAPE_UPGRADE_FAULT_CONNECTION},
        {START UPGRADE "Connection: keep-alive\r\n" VERSION KEY END,
         -TAPE_UPGRADE_FAULT_CONNECTION},
        {START UPGRADE CONNECT VERSION KEY "Content-Length: 1\r\n" END, -TAPE_UPGRADE_FAULT_BODY},
        {START UPGRADE CONNECT KEY END, -TAPE_UPGRADE_FAULT_VERSION_COUNT},
        {START UPGRADE CONNECT VERSION VERSION KEY END, -TAPE_UPGRADE_FAULT_VERSION_COUNT},
        {START UPGRADE CONNECT "Sec-WebSocket-Version: 12\r\n" KEY END,
         -TAPE_UPGRADE_FAULT_VERSION},
        {START UPGRADE CONNECT "Sec-WebSocket-Version: 8, 13\r\n" KEY END,
         -TAPE_UPGRADE_FAULT_VERSION},
        {START UPGRADE CONNECT "Sec-WebSocket-Version: 013\r\n" END, -TAPE_UPGRADE_FAULT_VERSION},
        {START UPGRADE CONNECT VERSION END, -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION KEY KEY END, -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key:\r\n" END, -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n" END,
         -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n" END,
         -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n" END,
         -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhl-HNhbXBsZSBub25jZQ==\r\n" END,
         -TAPE_UPGRADE_FAULT_KEY},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n" END,
         -TAPE_UPGRADE_FAULT_KEY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_http_head head;
        int got = check(rows[i].text, &head);
        if (got != rows[i].result)
            fail_msg("row %zu: found %d, not %d", i, got, rows[i].result);
    }
}

static void every_fault_has_its_words_and_status(void **state)
{
    (void)state;
#define ASSERT_FAULT(name, status, words)                                                          \
    assert_string_equal(tape_upgrade_fault_words(TAPE_UPGRADE_FAULT_##name), words);               \
    assert_int_equal(tape_upgrade_fault_status(TAPE_UPGRADE_FAULT_##name), status);
    TAPE_UPGRADE_FAULT_TABLE(ASSERT_FAULT)
#undef ASSERT_FAULT
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_good_ones),
        cmocka_unit_test(tells_what_is_wrong),
        cmocka_unit_test(every_fault_has_its_words_and_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
