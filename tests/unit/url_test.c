#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "record/url.h"

static void reads_what_it_may(void **state)
{
    static const struct {
        const char *text, *host, *target, *authority, *again;
        int secure, port, family, has_path, loopback;
    } rows[] = {
        {"wss://fstream.binance.com/market/stream", "fstream.binance.com", "/market/stream",
         "fstream.binance.com", "wss://fstream.binance.com/market/stream", 1, 443, 0, 1, 0},
        {"WSS://Stream.Binance.com:9443", "stream.binance.com", "/", "stream.binance.com:9443",
         "wss://stream.binance.com:9443/", 1, 9443, 0, 0, 0},
        {"ws://localhost", "localhost", "/", "localhost", "ws://localhost/", 0, 80, 0, 0, 1},
        {"ws://localhost:80/", "localhost", "/", "localhost", "ws://localhost/", 0, 80, 0, 1, 1},
        {"wss://127.0.0.1:443/a?b=c/d", "127.0.0.1", "/a?b=c/d", "127.0.0.1",
         "wss://127.0.0.1/a?b=c/d", 1, 443, AF_INET, 1, 1},
        {"ws://127.255.0.9:1", "127.255.0.9", "/", "127.255.0.9:1", "ws://127.255.0.9:1/", 0, 1,
         AF_INET, 0, 1},
        {"ws://128.0.0.1", "128.0.0.1", "/", "128.0.0.1", "ws://128.0.0.1/", 0, 80, AF_INET, 0, 0},
        {"ws://[::1]:65535/x", "::1", "/x", "[::1]:65535", "ws://[::1]:65535/x", 0, 65535, AF_INET6,
         1, 1},
        {"wss://[2001:DB8::1]", "2001:db8::1", "/", "[2001:db8::1]", "wss://[2001:db8::1]/", 1, 443,
         AF_INET6, 0, 0},
        {"wss://h?streams=a/b", "h", "/?streams=a/b", "h", "wss://h/?streams=a/b", 1, 443, 0, 1, 0},
        {"ws://localhost.evil.example", "localhost.evil.example", "/", "localhost.evil.example",
         "ws://localhost.evil.example/", 0, 80, 0, 0, 0},
        {"ws://127.1", "127.1", "/", "127.1", "ws://127.1/", 0, 80, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_url url;
        struct tape_error error = {0};
        char text[TAPE_URL_TEXT_BYTES];
        assert_int_equal(tape_url_parse(rows[i].text, &url, &error), TAPE_OK);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.target, rows[i].target);
        assert_int_equal(url.secure, rows[i].secure);
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(url.family, rows[i].family);
        assert_int_equal(url.has_path, rows[i].has_path);
        assert_int_equal(tape_url_is_loopback(&url), rows[i].loopback);
        tape_url_authority(&url, text, sizeof text);
        assert_string_equal(text, rows[i].authority);
        tape_url_text(&url, text, sizeof text);
        assert_string_equal(text, rows[i].again);
    }
}

static void refuses_the_rest(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "it must begin with wss:// or ws://"},
        {"http://a", "it must begin with wss:// or ws://"},
        {"wss:/a", "it must begin with wss:// or ws://"},
        {"wss://", "the host is missing"},
        {"wss:///x", "the host is missing"},
        {"wss://:443", "the host is missing"},
        {"wss://a:", "the port is not a number from 1 to 65535"},
        {"wss://a:0", "the port is not a number from 1 to 65535"},
        {"wss://a:65536", "the port is not a number from 1 to 65535"},
        {"wss://a:99999999999999999999", "the port is not a number from 1 to 65535"},
        {"wss://a:-1", "the port is not a number from 1 to 65535"},
        {"wss://a:8o", "the port is not a number from 1 to 65535"},
        {"wss://a:1:2", "the port is not a number from 1 to 65535"},
        {"wss://me:pw@a", "user names and passwords are not allowed"},
        {"wss://a@b/c", "user names and passwords are not allowed"},
        {"wss://a..b", "the host name has an empty label"},
        {"wss://a.", "the host name has an empty label"},
        {"wss://.a", "the host name has an empty label"},
        {"wss://a b", "the host name has a character that may not stand in one"},
        {"wss://a\r\nX: y", "the host name has a character that may not stand in one"},
        {"wss://\xc3\xa4", "the host name has a character that may not stand in one"},
        {"wss://[::1", "the bracket of the IPv6 address is not closed"},
        {"wss://[::1]x", "something other than a port follows the IPv6 address"},
        {"wss://[127.0.0.1]", "not an IPv6 address"},
        {"wss://[]", "the host is missing"},
        {"wss://[fe80::1%eth0]", "not an IPv6 address"},
        {"wss://a/b#c", "a fragment (#) may not stand in a WebSocket URL"},
        {"wss://a#c", "a fragment (#) may not stand in a WebSocket URL"},
        {"wss://a/b c", "a character of the path must be written as %XX"},
        {"wss://a/\r\nEvil: 1", "a character of the path must be written as %XX"},
        {"wss://a/\xe4", "a character of the path must be written as %XX"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_url url;
        struct tape_error error = {0};
        assert_int_equal(tape_url_parse(rows[i].text, &url, &error), TAPE_USAGE);
        assert_int_equal(error.status, TAPE_USAGE);
        assert_non_null(strstr(error.text, "\": "));
        assert_string_equal(strrchr(error.text, '"') + 3, rows[i].why);
        for (const char *c = error.text; *c; c++)
            assert_true(*c >= ' ' && *c <= '~');
    }
}

static void keeps_within_its_room(void **state)
{
    static char text[3 * TAPE_URL_TARGET_BYTES];
    struct tape_url url;
    struct tape_error error;
    (void)state;
    for (size_t bytes = TAPE_URL_TARGET_BYTES - 8; bytes < TAPE_URL_TARGET_BYTES + 8; bytes++) {
        size_t head = (size_t)snprintf(text, sizeof text, "wss://a");
        memset(text + head, '/', bytes);
        text[head + bytes] = '\0';
        int want = bytes <= TAPE_URL_TARGET_BYTES - 2 ? TAPE_OK : TAPE_USAGE;
        assert_int_equal(tape_url_parse(text, &url, &error), want);
    }
    for (size_t bytes = 250; bytes < 260; bytes++) {
        size_t head = (size_t)snprintf(text, sizeof text, "wss://");
        for (size_t i = 0; i < bytes; i++)
            text[head + i] = i % 50 == 20 ? '.' : 'a';
        text[head + bytes] = '\0';
        int want = bytes <= 253 ? TAPE_OK : TAPE_USAGE;
        assert_int_equal(tape_url_parse(text, &url, &error), want);
    }
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "wss://", 6);
    text[6 + 63] = '\0';
    assert_int_equal(tape_url_parse(text, &url, &error), TAPE_OK);
    text[6 + 63] = 'a';
    text[6 + 64] = '\0';
    assert_int_equal(tape_url_parse(text, &url, &error), TAPE_USAGE);
}

static void replaces_the_target(void **state)
{
    struct tape_url url;
    struct tape_error error;
    (void)state;
    assert_int_equal(tape_url_parse("wss://a:1/old", &url, &error), TAPE_OK);
    assert_int_equal(tape_url_set_target(&url, "/market/stream", &error), TAPE_OK);
    assert_string_equal(url.target, "/market/stream");
    assert_int_equal(tape_url_set_target(&url, "/a b", &error), TAPE_USAGE);
    assert_string_equal(error.text, "URL \"/a b\": a character of the path must be written as %XX");
    assert_string_equal(url.target, "/market/stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_may),
        cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(keeps_within_its_room),
        cmocka_unit_test(replaces_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
