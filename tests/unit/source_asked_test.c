#include "replay/source_asked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/record.h"
#include "tests/unit/index_rows.h"

static void connect_to(struct tape_index *index, int connection, const char *url)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "INSERT INTO connection(connection_id, day, first_ns, first_ordinal, url, records, "
             "messages, bytes) VALUES(%d, 20261122, 0, 0, '%s', 0, 0, 0)",
             connection, url);
    run_sql(index, sql);
}

static void ask_for(struct tape_index *index, int connection, const char *name)
{
    char sql[512];
    add_stream(index, connection, name, (int)strlen(name));
    snprintf(sql, sizeof sql,
             "INSERT INTO subscription(connection_id, stream_id, day, status) "
             "VALUES(%d, last_insert_rowid(), 20261122, 'live')",
             connection);
    run_sql(index, sql);
}

static struct tape_message message_of(int from, uint32_t connection, const char *payload)
{
    return (struct tape_message){
        .archive = (uint16_t)from, .connection = connection, .payload = {payload, strlen(payload)}};
}

static void check_only(const struct tape_source_asked *asked, int from, uint32_t connection,
                       const char *want)
{
    struct tape_slice name = {NULL, 0};
    struct tape_message message = message_of(from, connection, "{}");
    assert_int_equal(tape_source_asked_only(asked, &message, &name), want != NULL);
    if (want) {
        assert_int_equal(name.bytes, strlen(want));
        assert_memory_equal(name.data, want, name.bytes);
    }
}

static void check_like(const struct tape_source_asked *asked, uint32_t connection,
                       const char *payload, const char *want)
{
    struct tape_slice name = {NULL, 0};
    struct tape_message message = message_of(0, connection, payload);
    struct tape_tick tick;
    assert_int_equal(tape_tick_scan(payload, strlen(payload), &tick), 1);
    assert_int_equal(tape_source_asked_like(asked, &message, &tick, &name), want != NULL);
    if (want) {
        assert_int_equal(name.bytes, strlen(want));
        assert_memory_equal(name.data, want, name.bytes);
    }
}

/* In the URL or by a request, once or twice; of two archives, each its own; not where there are
 * wrappers, and not what is no stream. */
static void one_stream_names_all(void **state)
{
    struct tape_source_asked asked = {0};
    struct tape_index *index = tape_index_open_memory(archive, &error);
    (void)state;
    connect_to(index, 1, "wss://h/ws/btcusdt@depth?x=1");
    connect_to(index, 2, "wss://h/public/ws");
    ask_for(index, 2, "ethusdt@depth5");
    connect_to(index, 3, "wss://h/ws/a@trade/b@trade");
    connect_to(index, 4, "wss://h/stream?streams=a@depth");
    ask_for(index, 4, "a@depth");
    connect_to(index, 5, "wss://h/ws/2");
    connect_to(index, 6, "wss://h/ws/c@depth");
    ask_for(index, 6, "c@depth");
    ask_for(index, 6, "");
    connect_to(index, 7, "wss://h/wss");
    ask_for(index, 7, "a@depth");
    connect_to(index, 8, "wss://h/ws");
    connect_to(index, 10, "wss://h/ws/a@depth/!bookTicker");
    connect_to(index, 11, "wss://h/ws/!bookTicker");
    connect_to(index, 12, "wss://ws/stream/a@depth");
    char url[TAPE_SOURCE_ASKED_NAME_BYTES + 40];
    snprintf(url, sizeof url, "wss://h/ws/%0*d@depth", TAPE_SOURCE_ASKED_NAME_BYTES, 1);
    connect_to(index, 13, url); /* longer than what is kept */
    ask_for(index, 13, "a@trade");
    tape_source_asked_read(&asked, 0, index);
    tape_index_close(index);
    index = tape_index_open_memory(archive, &error);
    connect_to(index, 1, "wss://h/ws/other@depth");
    tape_source_asked_read(&asked, 1, index);
    tape_index_close(index);
    check_only(&asked, 0, 1, "btcusdt@depth");
    check_only(&asked, 0, 2, "ethusdt@depth5");
    check_only(&asked, 0, 3, NULL);
    check_only(&asked, 0, 4, NULL);
    check_only(&asked, 0, 5, NULL);
    check_only(&asked, 0, 6, "c@depth");
    check_only(&asked, 0, 7, NULL);
    check_only(&asked, 0, 8, NULL);
    check_only(&asked, 0, 9, NULL);
    check_only(&asked, 0, 10, NULL);
    check_only(&asked, 0, 11, "!bookTicker");
    check_only(&asked, 0, 12, NULL);
    check_only(&asked, 0, 13, NULL);
    check_only(&asked, 1, 1, "other@depth");
    check_only(&asked, 2, 1, NULL);
    asked.unknown = 1;
    check_only(&asked, 0, 1, NULL);
    tape_source_asked_clear(&asked);
}

#define UPDATE(more)                                                                               \
    "{\"e\":\"depthUpdate\",\"E\":1,\"s\":\"BTCUSDT\",\"U\":1,\"u\":2," more "\"b\":[],\"a\":[]}"
static const char spot_diff[] = UPDATE(""), futures_depth[] = UPDATE("\"pu\":0,");
static const char spot_book[] = "{\"lastUpdateId\":9,\"bids\":[[\"1\",\"2\"]],\"asks\":[]}";

static void one_of_a_symbol_and_kind_is_told(void **state)
{
    static const char mark[] = "{\"e\":\"markPriceUpdate\",\"E\":1,\"s\":\"BTCUSDT\",\"p\":\"1\"}";
    static const char trade[] = "{\"e\":\"trade\",\"E\":1,\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"1\","
                                "\"q\":\"1\",\"T\":1,\"m\":true}";
    struct tape_source_asked asked = {0};
    struct tape_index *index = tape_index_open_memory(archive, &error);
    (void)state;
    connect_to(index, 1, "wss://h/ws/btcusdt@depth@100ms/btcusdt@markPrice@1s/btcusdt@trade");
    ask_for(index, 1, "ethusdt@depth");
    ask_for(index, 1, "btc@depth");
    connect_to(index, 2, "wss://h/ws/btcusdt@depth@100ms/btcusdt@depth20");
    connect_to(index, 4, "wss://h/ws/btcusdt@depth/btcusdt@rpiDepth@500ms");
    tape_source_asked_read(&asked, 0, index);
    tape_index_close(index);
    check_like(&asked, 1, spot_diff, "btcusdt@depth@100ms");
    check_like(&asked, 1, mark, "btcusdt@markPrice@1s");
    check_like(&asked, 1, trade, NULL);
    check_like(&asked, 1, spot_book, NULL);
    check_like(&asked, 2, spot_diff, "btcusdt@depth@100ms");
    check_like(&asked, 2, spot_book, "btcusdt@depth20");
    check_like(&asked, 2, futures_depth, NULL);
    check_like(&asked, 3, spot_diff, NULL);
    check_like(&asked, 4, futures_depth, NULL);
    tape_source_asked_clear(&asked);
}

static void hear(struct tape_source_asked *asked, int from, uint32_t connection, int kind,
                 const char *payload)
{
    struct tape_message event = message_of(from, connection, payload);
    event.record_kind = (uint8_t)kind;
    assert_int_equal(tape_source_asked_hear(asked, &event), 0);
}

static int depths_of(const struct tape_source_asked *asked, int from, uint32_t connection)
{
    struct tape_message message = message_of(from, connection, "{}");
    return tape_source_asked_depths(asked, &message);
}

/* Of two archives side by side, each name once; a request of another path asked for nothing yet. */
static void records_tell_the_same(void **state)
{
    struct tape_source_asked asked = {0};
    (void)state;
    hear(&asked, 1, 1, TAPE_RECORD_HANDSHAKE_REQUEST,
         "GET /ws/btcusdt@depth20/btcusdt@trade?x=/ws/a@b HTTP/1.1\r\nHost: h/ws/c@depth\r\n\r\n");
    hear(&asked, 0, 1, TAPE_RECORD_HANDSHAKE_REQUEST, "GET /stream HTTP/1.1\r\n\r\n");
    hear(&asked, 0, 1, TAPE_RECORD_FRAME_IN, "{\"streams\":[\"a@depth\"]}");
    assert_int_equal(depths_of(&asked, 0, 1), 0);
    hear(&asked, 0, 1, TAPE_RECORD_SUBSCRIPTION_ASKED,
         "{\"streams\":[\"a@depth\",\"a@depth\",\"a@rpiDepth\",\"a@trade\"]}");
    assert_int_equal(depths_of(&asked, 0, 1), 2);
    assert_int_equal(depths_of(&asked, 1, 1), 1);
    assert_int_equal(depths_of(&asked, 0, 2), -1);
    hear(&asked, 0, 2, TAPE_RECORD_SUBSCRIPTION_ASKED, "{\"streams\":[\"a@trade\"]}");
    assert_int_equal(depths_of(&asked, 0, 2), -1); /* what it asked for before is not known */
    check_only(&asked, 0, 2, NULL);
    hear(&asked, 0, 2, TAPE_RECORD_HANDSHAKE_REQUEST, "GET /ws HTTP/1.1\r\n\r\n");
    hear(&asked, 0, 2, TAPE_RECORD_SUBSCRIPTION_ASKED, "{\"streams\":[\"a@trade\"]}");
    assert_int_equal(depths_of(&asked, 0, 2), 0);
    check_only(&asked, 0, 2, "a@trade");
    check_only(&asked, 1, 1, NULL);
    tape_source_asked_clear(&asked);
}

/* A name may hold any byte. */
static void zero_in_a_name(void **state)
{
    static const char request[] =
        "GET /ws/a@\0bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb HTTP/1.1\r\n\r\n";
    struct tape_source_asked asked = {0};
    struct tape_message event = message_of(0, 1, "");
    (void)state;
    event.payload = (struct tape_slice){request, sizeof request - 1};
    event.record_kind = TAPE_RECORD_HANDSHAKE_REQUEST;
    assert_int_equal(tape_source_asked_hear(&asked, &event), 0);
    assert_int_equal(tape_source_asked_hear(&asked, &event), 0);
    assert_int_equal(asked.names, 1);
    tape_source_asked_clear(&asked);
}

/* What futures send as a partial book is one, though it looks like a diff. */
static void partial_book_becomes_a_snapshot(void **state)
{
    struct tape_source_asked asked = {0};
    struct tape_tick tick;
    struct tape_slice name;
    struct tape_message message = message_of(0, 1, futures_depth);
    (void)state;
    hear(&asked, 0, 1, TAPE_RECORD_HANDSHAKE_REQUEST, "GET /ws/btcusdt@depth5 HTTP/1.1\r\n\r\n");
    assert_int_equal(tape_tick_scan(futures_depth, strlen(futures_depth), &tick), 1);
    assert_int_equal(tape_source_asked_like(&asked, &message, &tick, &name), 1);
    assert_int_equal(tick.kind, TAPE_TICK_DEPTH_SNAPSHOT);
    assert_int_equal(tick.id, 2);
    tape_source_asked_clear(&asked);
}

/* A name that is not kept could be any: nothing is told of its connection, and of others is. */
static void what_is_not_kept_is_known_to_be(void **state)
{
    struct tape_source_asked asked = {0};
    char request[400];
    (void)state;
    for (int bytes = TAPE_SOURCE_ASKED_NAME_BYTES; bytes <= TAPE_SOURCE_ASKED_NAME_BYTES + 1;
         bytes++) {
        snprintf(request, sizeof request, "GET /ws/%0*d@depth/b@depth HTTP/1.1\r\n\r\n",
                 bytes - (int)strlen("@depth"), 1);
        hear(&asked, 0, (uint32_t)bytes, TAPE_RECORD_HANDSHAKE_REQUEST, request);
    }
    assert_int_equal(depths_of(&asked, 0, TAPE_SOURCE_ASKED_NAME_BYTES), 2);
    assert_int_equal(depths_of(&asked, 0, TAPE_SOURCE_ASKED_NAME_BYTES + 1), -1);
    check_only(&asked, 0, TAPE_SOURCE_ASKED_NAME_BYTES + 1, NULL);
    for (int i = (int)asked.names; i <= TAPE_SOURCE_ASKED_MAX; i++) {
        snprintf(request, sizeof request, "GET /ws/a%d@trade HTTP/1.1\r\n\r\n", i);
        hear(&asked, 0, (uint32_t)(1000 + i / 1000), TAPE_RECORD_HANDSHAKE_REQUEST, request);
    }
    assert_int_equal(asked.names, TAPE_SOURCE_ASKED_MAX);
    assert_int_equal(depths_of(&asked, 0, 1000 + TAPE_SOURCE_ASKED_MAX / 1000), -1);
    assert_int_equal(depths_of(&asked, 0, TAPE_SOURCE_ASKED_NAME_BYTES), 2);
    tape_source_asked_clear(&asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_stream_names_all, open_archive, remove_archive),
        cmocka_unit_test_setup_teardown(one_of_a_symbol_and_kind_is_told, open_archive,
                                        remove_archive),
        cmocka_unit_test(records_tell_the_same),
        cmocka_unit_test(zero_in_a_name),
        cmocka_unit_test(partial_book_becomes_a_snapshot),
        cmocka_unit_test(what_is_not_kept_is_known_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
