#include "replay/session_asked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

static void check_only(const struct tape_session_asked *asked, int from, uint32_t connection,
                       const char *want)
{
    struct tape_slice name = {NULL, 0};
    struct tape_message message = message_of(from, connection, "{}");
    assert_int_equal(tape_session_asked_only(asked, &message, &name), want != NULL);
    if (want) {
        assert_int_equal(name.bytes, strlen(want));
        assert_memory_equal(name.data, want, name.bytes);
    }
}

static void check_like(const struct tape_session_asked *asked, uint32_t connection,
                       const char *payload, const char *want)
{
    struct tape_slice name = {NULL, 0};
    struct tape_message message = message_of(0, connection, payload);
    assert_int_equal(tape_session_asked_like(asked, &message, &name), want != NULL);
    if (want) {
        assert_int_equal(name.bytes, strlen(want));
        assert_memory_equal(name.data, want, name.bytes);
    }
}

/* In the URL or by a request, once or twice; of two archives, each its own; not where there are
 * wrappers, and not what is no stream. */
static void one_stream_names_all(void **state)
{
    struct tape_session_asked asked = {0};
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
    tape_session_asked_add(&asked, 0, index);
    tape_index_close(index);
    index = tape_index_open_memory(archive, &error);
    connect_to(index, 1, "wss://h/ws/other@depth");
    tape_session_asked_add(&asked, 1, index);
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
    check_only(&asked, 1, 1, "other@depth");
    check_only(&asked, 2, 1, NULL);
    asked.unknown = 1;
    check_only(&asked, 0, 1, NULL);
    tape_session_asked_free(&asked);
}

static void one_of_a_symbol_and_kind_is_told(void **state)
{
    static const char depth[] = "{\"e\":\"depthUpdate\",\"E\":1,\"s\":\"BTCUSDT\",\"U\":1,\"u\":2,"
                                "\"b\":[],\"a\":[]}";
    static const char mark[] = "{\"e\":\"markPriceUpdate\",\"E\":1,\"s\":\"BTCUSDT\",\"p\":\"1\"}";
    static const char trade[] = "{\"e\":\"trade\",\"E\":1,\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"1\","
                                "\"q\":\"1\",\"T\":1,\"m\":true}";
    struct tape_session_asked asked = {0};
    struct tape_index *index = tape_index_open_memory(archive, &error);
    (void)state;
    connect_to(index, 1, "wss://h/ws/btcusdt@depth@100ms/btcusdt@markPrice@1s/btcusdt@trade");
    ask_for(index, 1, "ethusdt@depth");
    ask_for(index, 1, "btc@depth");
    connect_to(index, 2, "wss://h/ws/btcusdt@depth@100ms/btcusdt@depth20");
    tape_session_asked_add(&asked, 0, index);
    tape_index_close(index);
    check_like(&asked, 1, depth, "btcusdt@depth@100ms");
    check_like(&asked, 1, mark, "btcusdt@markPrice@1s");
    check_like(&asked, 1, trade, NULL);
    check_like(&asked, 1, "{}", NULL);
    check_like(&asked, 1, "nonsense", NULL);
    check_like(&asked, 2, depth, NULL);
    check_like(&asked, 3, depth, NULL);
    tape_session_asked_free(&asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_stream_names_all, open_archive, remove_archive),
        cmocka_unit_test_setup_teardown(one_of_a_symbol_and_kind_is_told, open_archive,
                                        remove_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
