#include "replay/session_views.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/ws.h"
#include "replay/server_state.h"

/* ---- peers without a socket ---- */

struct room {
    struct tape_server server;
    struct tape_peer peers[4];
    struct tape_exchange exchange;
    struct tape_session_views *views;
};

static void open_room(struct room *room)
{
    memset(room, 0, sizeof *room);
    room->server.options.queue_max_bytes = 1 << 30;
    room->server.work_end = &room->server.work;
    for (int i = 0; i < 4; i++) {
        room->peers[i].server = &room->server;
        room->peers[i].state = TAPE_PEER_OPEN;
    }
    room->views = tape_session_views_new();
    assert_non_null(room->views);
}

static void empty(struct tape_peer *peer)
{
    tape_peer_advance(peer, peer->queued_bytes);
}

static void close_room(struct room *room)
{
    for (int i = 0; i < 4; i++) {
        empty(&room->peers[i]);
        free(room->peers[i].pieces);
    }
    tape_session_views_free(room->views);
}

static struct tape_session_view *join(struct room *room, int peer, const char *path,
                                      const char *query, int state)
{
    struct tape_exchange_client client;
    struct tape_error error = {0};
    assert_int_equal(tape_exchange_open(&client, &room->exchange, path, query, &error), 0);
    struct tape_session_view *view =
        tape_session_views_join(room->views, &client, state, &room->peers[peer], &error);
    assert_non_null(view);
    tape_exchange_close(&client);
    return view;
}

static void leave(struct room *room, struct tape_session_view *view, int peer)
{
    tape_session_views_leave(room->views, view, &room->peers[peer]);
}

/* All that a peer was given, as one text; emptied. */
static size_t take(struct tape_peer *peer, uint8_t *to, size_t room)
{
    struct tape_peer_part parts[64];
    size_t used = 0;
    int count = tape_peer_gather(peer, parts, 64);
    for (int i = 0; i < count; i++) {
        assert_true(used + parts[i].count <= room);
        memcpy(to + used, parts[i].bytes, parts[i].count);
        used += parts[i].count;
    }
    empty(peer);
    return used;
}

/* ---- messages ---- */

/* Its frame is in one piece, or in two fragments with a byte between where ${split} is above 0. */
struct made {
    uint8_t frame[4096];
    struct tape_message message;
};

static void make(struct made *made, const char *stream, const char *payload, size_t split)
{
    size_t bytes = strlen(payload), at = 0;
    memset(made, 0, sizeof *made);
    if (split > 0) {
        at = tape_ws_build(made->frame, TAPE_WS_TEXT, 0, split, NULL);
        memcpy(made->frame + at, payload, split);
        at += split;
    }
    at += tape_ws_build(made->frame + at, split > 0 ? TAPE_WS_CONTINUATION : TAPE_WS_TEXT, 1,
                        bytes - split, NULL);
    memcpy(made->frame + at, payload + split, bytes - split);
    at += bytes - split;
    made->message.kind = TAPE_FEED_DATA;
    made->message.opcode = TAPE_WS_TEXT;
    made->message.connection = 7;
    made->message.archive = 2;
    made->message.payload = (struct tape_slice){payload, bytes};
    made->message.stream = (struct tape_slice){stream, strlen(stream)};
    made->message.frame = (struct tape_slice){(char *)made->frame, at};
}

static void put(struct room *room, const struct made *made, int status, uint64_t frames)
{
    struct tape_session_delivery delivery;
    struct tape_error error = {0};
    assert_int_equal(tape_session_views_put(room->views, &made->message, &delivery, &error),
                     status);
    assert_int_equal(delivery.frames, frames);
}

/* One text frame with that payload is all that the peer has. */
static void expect_text(struct room *room, int peer, const char *payload)
{
    uint8_t bytes[8192], wanted[8192];
    tape_session_views_flush(room->views);
    size_t count = take(&room->peers[peer], bytes, sizeof bytes);
    size_t header = tape_ws_build(wanted, TAPE_WS_TEXT, 1, strlen(payload), NULL);
    memcpy(wanted + header, payload, strlen(payload));
    bytes[count] = wanted[header + strlen(payload)] = '\0';
    assert_string_equal((char *)bytes + (count ? header : 0), payload);
    assert_int_equal(count, header + strlen(payload));
    assert_memory_equal(bytes, wanted, count);
}

static void expect_nothing(struct room *room, int peer)
{
    tape_session_views_flush(room->views);
    assert_int_equal(room->peers[peer].queued_bytes, 0);
}

static void expect_frame(struct room *room, int peer, const struct made *made)
{
    uint8_t bytes[8192];
    tape_session_views_flush(room->views);
    size_t count = take(&room->peers[peer], bytes, sizeof bytes);
    assert_int_equal(count, made->message.frame.bytes);
    assert_memory_equal(bytes, made->message.frame.data, count);
}

/* ---- tests ---- */

#define TRADE "{\"e\":\"trade\",\"E\":1,\"s\":\"BTCUSDT\",\"t\":5,\"p\":\"1.0\",\"q\":\"2\"}"

static void test_as_recorded(void **state)
{
    struct room room;
    struct made made;
    (void)state;
    open_room(&room);
    struct tape_session_view *a = join(&room, 0, "/stream", "streams=btcusdt@trade", 0);
    struct tape_session_view *b = join(&room, 1, "/stream", "streams=ethusdt@trade", 0);
    make(&made, "btcusdt@trade", "{\"stream\":\"btcusdt@trade\",\"data\":" TRADE "}", 0);
    put(&room, &made, 1, 1);
    expect_frame(&room, 0, &made);
    expect_nothing(&room, 1);
    make(&made, "btcusdt@trade", "{\"stream\":\"btcusdt@trade\",\"data\":" TRADE "}", 20);
    put(&room, &made, 1, 1);
    expect_frame(&room, 0, &made);
    make(&made, "btcusdt@depth", "{\"stream\":\"btcusdt@depth\",\"data\":{}}", 0);
    put(&room, &made, 1, 0);
    expect_nothing(&room, 0);
    leave(&room, a, 0);
    leave(&room, b, 1);
    close_room(&room);
}

static void test_wrapper_taken_off(void **state)
{
    static const struct {
        const char *payload, *data;
    } cases[] = {
        {"{\"stream\":\"btcusdt@trade\",\"data\":" TRADE "}", TRADE},
        {"{\"data\":" TRADE ",\"stream\":\"btcusdt@trade\"}", TRADE},
        {" {\"stream\" : \"btcusdt@trade\" , \"data\" :\t{\"a\": [1, 2] }\n}", "{\"a\": [1, 2] }"},
        {"{\"stream\":\"btcusdt@trade\",\"data\":{\"a\":1},\"x\":{\"b\":2}}", "{\"a\":1}"},
        {"{\"stream\":\"btcusdt@trade\",\"x\":{\"data\":1},\"data\":[{\"data\":2}]}",
         "[{\"data\":2}]"},
        {"{\"stream\":\"btcusdt@trade\",\"data\":\"\\u007d\\\"}\"}", "\"\\u007d\\\"}\""},
        {"{\"stream\":\"btcusdt@trade\",\"data\":{\"a\":\"}\",\"b\":{}}}",
         "{\"a\":\"}\",\"b\":{}}"},
        {"{\"stream\":\"btcusdt@trade\",\"data\":{},\"x\":{}}", "{}"},
        {"{\"stream\":\"btcusdt@trade\",\"data\":{}}", "{}"},
        {"{\"stream\":\"btcusdt@trade\",\"data\":{} }", "{}"},
        {"{\"stream\":\"btcusdt@trade\"}", "{\"stream\":\"btcusdt@trade\"}"},
        {"{\"stream\":\"btcusdt@trade\",\"data\":", "{\"stream\":\"btcusdt@trade\",\"data\":"},
    };
    struct room room;
    struct made made;
    (void)state;
    open_room(&room);
    struct tape_session_view *view = join(&room, 0, "/ws/btcusdt@trade", "", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(&made, "btcusdt@trade", cases[i].payload, 0);
        put(&room, &made, 1, 1);
        expect_text(&room, 0, cases[i].data);
    }
    make(&made, "btcusdt\\u0040trade", "{\"stream\":\"btcusdt\\u0040trade\",\"data\":1}", 9);
    put(&room, &made, 1, 1);
    expect_text(&room, 0, "1");
    leave(&room, view, 0);
    close_room(&room);
}

static void test_wrapper_put_around(void **state)
{
    struct room room;
    struct made made;
    (void)state;
    open_room(&room);
    struct tape_session_view *a = join(&room, 0, "/stream", "streams=btcusdt@trade", 0);
    struct tape_session_view *b = join(&room, 1, "/ws/btcusdt@trade", "", 0);
    make(&made, "", TRADE, 10);
    put(&room, &made, 1, 2);
    expect_frame(&room, 1, &made);
    expect_text(&room, 0, "{\"stream\":\"btcusdt@trade\",\"data\":" TRADE "}");
    make(&made, "", "{\"e\":\"depthUpdate\",\"s\":\"BTCUSDT\",\"U\":1,\"u\":2,\"b\":[],\"a\":[]}",
         0);
    put(&room, &made, 0, 0);
    make(&made, "", "\x01\x02", 0);
    put(&room, &made, 0, 0);
    leave(&room, a, 0);
    leave(&room, b, 1);
    close_room(&room);
}

static void test_state(void **state)
{
    struct room room;
    struct made made;
    (void)state;
    open_room(&room);
    struct tape_session_view *a = join(&room, 0, "/stream", "streams=btcusdt@depth", 0);
    struct tape_session_view *b = join(&room, 1, "/stream", "streams=btcusdt@depth", 1);
    struct tape_session_view *c = join(&room, 2, "/ws/btcusdt@depth", "", 1);
    assert_true(a != b);
    make(&made, "btcusdt@depth", "{\"state\":true}", 0);
    made.message.kind = TAPE_FEED_STATE;
    made.message.frame = (struct tape_slice){NULL, 0};
    made.message.opcode = 0;
    put(&room, &made, 1, 2);
    expect_nothing(&room, 0);
    expect_text(&room, 1, "{\"stream\":\"btcusdt@depth\",\"data\":{\"state\":true}}");
    expect_text(&room, 2, "{\"state\":true}");
    assert_int_equal(tape_session_views_origin(room.views, "btcusdt@depth", 13), 0);
    leave(&room, a, 0);
    leave(&room, b, 1);
    leave(&room, c, 2);
    close_room(&room);
}

/* Much is shared in a batch, little is copied; both come in order and whole. */
static void test_shared(void **state)
{
    enum { MANY = 3000 };
    struct room room;
    struct made made;
    static uint8_t got[2][4 << 20], wanted[4 << 20];
    size_t wanted_bytes = 0;
    (void)state;
    open_room(&room);
    struct tape_session_view *a = join(&room, 0, "/stream", "streams=a@trade/b@trade", 0);
    struct tape_session_view *b = join(&room, 1, "/stream", "streams=b@trade/a@trade", 0);
    assert_ptr_equal(a, b);
    for (int i = 0; i < MANY; i++) {
        char payload[512];
        snprintf(payload, sizeof payload,
                 "{\"stream\":\"%c@trade\",\"data\":{\"i\":%d,\"x\":\"%0*d\"}}", i % 3 ? 'a' : 'b',
                 i, i % 400, 0);
        make(&made, i % 3 ? "a@trade" : "b@trade", payload, 0);
        put(&room, &made, 1, 2);
        memcpy(wanted + wanted_bytes, made.frame, made.message.frame.bytes);
        wanted_bytes += made.message.frame.bytes;
    }
    tape_session_views_flush(room.views);
    assert_true(room.peers[0].pieces_count >= 2);
    assert_ptr_equal(room.peers[0].pieces[0].batch, room.peers[1].pieces[0].batch);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(take(&room.peers[i], got[i], sizeof got[i]), wanted_bytes);
        assert_memory_equal(got[i], wanted, wanted_bytes);
    }
    put(&room, &made, 1, 2);
    tape_session_views_flush(room.views);
    assert_true(room.peers[0].pieces[room.peers[0].pieces_first & 7].batch !=
                room.peers[1].pieces[room.peers[1].pieces_first & 7].batch);
    leave(&room, a, 0);
    leave(&room, b, 1);
    close_room(&room);
}

/* One that is larger than any batch. */
static void test_large(void **state)
{
    struct room room;
    size_t bytes = TAPE_SESSION_BATCH_BYTES + 1000;
    char *payload = malloc(bytes);
    uint8_t *got = malloc(bytes + 100);
    struct made small;
    struct tape_session_delivery delivery;
    struct tape_error error = {0};
    (void)state;
    open_room(&room);
    struct tape_session_view *view = join(&room, 0, "/stream", "streams=a@trade", 0);
    memset(payload, 'x', bytes);
    make(&small, "a@trade", "{\"stream\":\"a@trade\",\"data\":1}", 0);
    put(&room, &small, 1, 1);
    struct tape_message message = small.message;
    message.frame = (struct tape_slice){payload, bytes};
    assert_int_equal(tape_session_views_put(room.views, &message, &delivery, &error), 1);
    assert_int_equal(delivery.bytes, bytes);
    put(&room, &small, 1, 1);
    tape_session_views_flush(room.views);
    assert_int_equal(take(&room.peers[0], got, bytes + 100), bytes + 2 * small.message.frame.bytes);
    assert_memory_equal(got, small.frame, small.message.frame.bytes);
    assert_memory_equal(got + small.message.frame.bytes, payload, bytes);
    leave(&room, view, 0);
    close_room(&room);
    free(payload);
    free(got);
}

/* Who leaves is given nothing any more, though it be held back; the others are. */
static void test_leaving(void **state)
{
    struct room room;
    struct made made;
    (void)state;
    open_room(&room);
    struct tape_session_view *a = join(&room, 0, "/stream", "streams=a@trade", 0);
    struct tape_session_view *b = join(&room, 1, "/stream", "streams=a@trade", 0);
    struct tape_session_view *c = join(&room, 2, "/stream", "streams=a@trade/b@trade", 0);
    make(&made, "a@trade", "{\"stream\":\"a@trade\",\"data\":1}", 0);
    put(&room, &made, 1, 3);
    leave(&room, a, 0);
    leave(&room, c, 2);
    expect_nothing(&room, 0);
    expect_nothing(&room, 2);
    expect_frame(&room, 1, &made);
    make(&made, "b@trade", "{\"stream\":\"b@trade\",\"data\":1}", 0);
    put(&room, &made, 1, 0);
    leave(&room, b, 1);
    make(&made, "a@trade", "{\"stream\":\"a@trade\",\"data\":1}", 0);
    put(&room, &made, 1, 0);
    close_room(&room);
}

static void test_origin(void **state)
{
    struct room room;
    struct made made;
    (void)state;
    open_room(&room);
    struct tape_session_view *view = join(&room, 0, "/stream", "streams=a@trade", 0);
    assert_int_equal(tape_session_views_origin(room.views, "a@trade", 7), 0);
    assert_int_equal(tape_session_views_origin(room.views, "b@trade", 7), 0);
    make(&made, "a@trade", "{\"stream\":\"a@trade\",\"data\":1}", 0);
    put(&room, &made, 1, 1);
    assert_true(tape_session_views_origin(room.views, "a@trade", 7) == tape_session_origin(2, 7));
    assert_true(tape_session_origin(2, 7) != tape_session_origin(7, 2));
    leave(&room, view, 0);
    close_room(&room);
}

/* The table grows, and each is found. */
static void test_many_streams(void **state)
{
    struct room room;
    struct made made;
    char query[16 << 10] = "streams=", name[64], payload[128];
    (void)state;
    open_room(&room);
    for (int i = 0; i < 700; i++)
        snprintf(query + strlen(query), sizeof query - strlen(query), "%sstream%d@tr", i ? "/" : "",
                 i * 7919);
    struct tape_session_view *a = join(&room, 0, "/stream", query, 0);
    struct tape_session_view *b = join(&room, 1, "/stream", "streams=stream7919@tr", 0);
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof name, "stream%d@tr", i * 7919);
        snprintf(payload, sizeof payload, "{\"stream\":\"%s\",\"data\":%d}", name, i);
        make(&made, name, payload, 0);
        put(&room, &made, 1, i == 1 ? 2 : 1);
        expect_frame(&room, 0, &made);
    }
    leave(&room, a, 0);
    put(&room, &made, 1, 0);
    leave(&room, b, 1);
    close_room(&room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_recorded),
        cmocka_unit_test(test_wrapper_taken_off),
        cmocka_unit_test(test_wrapper_put_around),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_many_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
