#include "format/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/ws.h"
#include "tests/unit/guard.h"

enum { FIN = 0x80, ROOM = 1 << 16 };

/* Records of one test: numbered on, each frame built into its own room. */
struct rig {
    struct tape_feed *feed;
    struct tape_message message;
    struct tape_error error;
    uint64_t ordinal;
    uint8_t frame[ROOM];
};

static struct rig *open_rig(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->feed = tape_feed_new();
    assert_non_null(rig->feed);
    rig->ordinal = 100;
    return rig;
}

static void close_rig(struct rig *rig)
{
    tape_feed_free(rig->feed);
    free(rig);
}

static int push(struct rig *rig, int kind, uint32_t connection, unsigned flags, const void *data,
                size_t bytes)
{
    struct tape_record record = {.ordinal = rig->ordinal++,
                                 .recv_ns = (int64_t)(1000 + rig->ordinal),
                                 .connection = connection,
                                 .bytes = (uint32_t)bytes,
                                 .flags = (uint16_t)flags,
                                 .kind = (uint8_t)kind,
                                 .data = data};
    memset(&rig->message, 0xaa, sizeof rig->message);
    return tape_feed_push(rig->feed, &record, &rig->message, &rig->error);
}

/* A frame; first is FIN and the opcode. */
static int push_frame(struct rig *rig, uint32_t connection, int first, const void *payload,
                      size_t bytes)
{
    size_t head = tape_ws_build(rig->frame, first & 15, first & FIN, bytes, NULL);
    assert_true(head + bytes <= ROOM);
    memcpy(rig->frame + head, payload, bytes);
    return push(rig, TAPE_RECORD_FRAME_IN, connection, TAPE_RECORD_FLAG_KERNEL_STAMP, rig->frame,
                head + bytes);
}

static int push_text(struct rig *rig, uint32_t connection, int first, const char *text)
{
    return push_frame(rig, connection, first, text, strlen(text));
}

static int push_masked(struct rig *rig, uint32_t connection, int first, const char *text)
{
    static const uint8_t mask[4] = {1, 2, 3, 0xff};
    size_t bytes = strlen(text);
    size_t head = tape_ws_build(rig->frame, first & 15, first & FIN, bytes, mask);
    tape_ws_mask(rig->frame + head, (const uint8_t *)text, bytes, mask, 0);
    return push(rig, TAPE_RECORD_FRAME_OUT, connection, 0, rig->frame, head + bytes);
}

static void assert_slice(struct tape_slice slice, const char *text)
{
    assert_non_null(slice.data);
    assert_int_equal(slice.bytes, strlen(text));
    assert_memory_equal(slice.data, text, slice.bytes);
}

static void assert_message(const struct rig *rig, int kind, int opcode, const char *payload,
                           const char *stream)
{
    assert_string_equal(tape_feed_kind_word(rig->message.kind), tape_feed_kind_word(kind));
    assert_int_equal(rig->message.opcode, opcode);
    assert_slice(rig->message.payload, payload);
    assert_slice(rig->message.stream, stream);
}

/* ---- whole frames ---- */

static void test_single_frame(void **state)
{
    static const char text[] = "{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\"}}";
    struct rig *rig = open_rig();
    (void)state;
    assert_int_equal(push_text(rig, 7, FIN | TAPE_WS_TEXT, text), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, text, "btcusdt@trade");
    assert_ptr_equal(rig->message.payload.data, rig->frame + 2); /* lent, not copied */
    assert_ptr_equal(rig->message.frame.data, rig->frame);
    assert_int_equal(rig->message.frame.bytes, 2 + strlen(text));
    assert_true(rig->message.ordinal == 100 && rig->message.first_ordinal == 100);
    assert_true(rig->message.recv_ns == 1101);
    assert_int_equal(rig->message.connection, 7);
    assert_int_equal(rig->message.flags, TAPE_RECORD_FLAG_KERNEL_STAMP);
    assert_int_equal(rig->message.record_kind, TAPE_RECORD_FRAME_IN);
    assert_int_equal(rig->message.outgoing, 0);
    assert_int_equal(rig->message.close_code, 0);
    assert_int_equal(push_frame(rig, 7, FIN | TAPE_WS_BINARY, "\0{\"stream\":\"x\"}", 15), 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_DATA);
    assert_int_equal(rig->message.opcode, TAPE_WS_BINARY);
    assert_int_equal(rig->message.payload.bytes, 15);
    assert_slice(rig->message.stream, "");
    assert_int_equal(push_text(rig, 7, FIN | TAPE_WS_TEXT, ""), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "", "");
    close_rig(rig);
}

static void test_stream_names(void **state)
{
    static const struct {
        const char *payload, *stream;
    } cases[] = {
        {"{\"stream\":\"a@b\",\"data\":{}}", "a@b"},
        {"{ \"stream\" : \"a@b\" , \"data\" : {} }", "a@b"},
        {"{\"data\":{\"e\":\"trade\",\"stream\":\"no\"},\"stream\":\"a@b\"}", "a@b"},
        {"{\"stream\":\"a\\\"b\",\"data\":{}}", "a\\\"b"},
        {"{\"stream\":\"\",\"data\":{}}", ""},
        {"{\"stream\":\"a@b", ""},
        {"{\"stream\":5,\"data\":{}}", ""},
        {"{\"e\":\"trade\",\"stream\":\"a@b\"}", ""},
        {"{\"e\":\"trade\"}", ""},
        {"pong", ""},
        {"[]", ""},
    };
    struct rig *rig = open_rig();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_tick tick;
        assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_TEXT, cases[i].payload), 1);
        assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, cases[i].payload, cases[i].stream);
        tape_tick_decode(cases[i].payload, strlen(cases[i].payload), &tick);
        assert_int_equal(tick.stream.bytes, strlen(cases[i].stream));
    }
    close_rig(rig);
}

static void test_answers(void **state)
{
    static const char ack[] = "{\"result\":null,\"id\":1}";
    static const char refusal[] = "{\"error\":{\"code\":2,\"msg\":\"no\"},\"id\":1}";
    struct rig *rig = open_rig();
    (void)state;
    push_text(rig, 1, FIN | TAPE_WS_TEXT, ack);
    assert_message(rig, TAPE_FEED_ACK, TAPE_WS_TEXT, ack, "");
    push_text(rig, 1, FIN | TAPE_WS_TEXT, refusal);
    assert_message(rig, TAPE_FEED_REFUSAL, TAPE_WS_TEXT, refusal, "");
    push_text(rig, 1, FIN | TAPE_WS_BINARY, ack);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_BINARY, ack, "");
    push_masked(rig, 1, FIN | TAPE_WS_TEXT, ack);
    assert_message(rig, TAPE_FEED_SENT, TAPE_WS_TEXT, ack, "");
    close_rig(rig);
}

/* A line of a capture answers no request of ours, whatever it looks like. */
static void test_imported_answer(void **state)
{
    static const char frame[] = "\x81\x16{\"result\":null,\"id\":1}";
    struct rig *rig = open_rig();
    (void)state;
    assert_int_equal(
        push(rig, TAPE_RECORD_FRAME_IN, 1, TAPE_RECORD_FLAG_IMPORTED, frame, sizeof frame - 1), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, frame + 2, "");
    close_rig(rig);
}

static void test_sent(void **state)
{
    static const char text[] = "{\"method\":\"SUBSCRIBE\",\"params\":[\"a@b\"],\"id\":1}";
    struct rig *rig = open_rig();
    (void)state;
    assert_int_equal(push_masked(rig, 3, FIN | TAPE_WS_TEXT, text), 1);
    assert_message(rig, TAPE_FEED_SENT, TAPE_WS_TEXT, text, "");
    assert_int_equal(rig->message.outgoing, 1);
    assert_int_equal(push_masked(rig, 3, FIN | TAPE_WS_TEXT, ""), 1);
    assert_message(rig, TAPE_FEED_SENT, TAPE_WS_TEXT, "", "");
    assert_int_equal(push_masked(rig, 3, FIN | TAPE_WS_PONG, "p"), 1);
    assert_message(rig, TAPE_FEED_PONG, TAPE_WS_PONG, "p", "");
    assert_int_equal(push_masked(rig, 3, TAPE_WS_TEXT, "a"), 0);
    assert_int_equal(push_text(rig, 3, FIN | TAPE_WS_TEXT, "in"), 1); /* the other direction */
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "in", "");
    assert_int_equal(push_masked(rig, 3, FIN | TAPE_WS_CONTINUATION, "b"), 1);
    assert_message(rig, TAPE_FEED_SENT, TAPE_WS_TEXT, "ab", "");
    close_rig(rig);
}

static void test_control(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_PING, "now"), 1);
    assert_message(rig, TAPE_FEED_PING, TAPE_WS_PING, "now", "");
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_PONG, ""), 1);
    assert_message(rig, TAPE_FEED_PONG, TAPE_WS_PONG, "", "");
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CLOSE, "\x03\xf0too much"), 1);
    assert_message(rig, TAPE_FEED_CLOSE, TAPE_WS_CLOSE, "\x03\xf0too much", "");
    assert_int_equal(rig->message.close_code, 1008);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CLOSE, ""), 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_CLOSE);
    assert_int_equal(rig->message.close_code, 1005);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CLOSE, "x"), 1);
    assert_message(rig, TAPE_FEED_BAD, 0, "\x88\x01x", "");
    close_rig(rig);
}

static void test_events(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    for (int kind = 0; kind < 40; kind++) {
        if (kind == TAPE_RECORD_FRAME_IN || kind == TAPE_RECORD_FRAME_OUT)
            continue;
        int known = tape_record_kind_word(kind) != NULL;
        assert_int_equal(push(rig, kind, 9, 0, "{\"a\":1}", 7), known);
        if (!known)
            continue;
        assert_message(rig, TAPE_FEED_EVENT, 0, "{\"a\":1}", "");
        assert_int_equal(rig->message.record_kind, kind);
    }
    assert_int_equal(push(rig, TAPE_RECORD_NOTE, 0, 0, NULL, 0), 1);
    assert_int_equal(rig->message.payload.bytes, 0);
    close_rig(rig);
}

/* ---- fragments ---- */

static void test_fragments(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    assert_int_equal(push_text(rig, 1, TAPE_WS_TEXT, "{\"stream\":\"a"), 0);
    assert_int_equal(tape_feed_open_messages(rig->feed), 1);
    assert_int_equal(push_text(rig, 2, TAPE_WS_BINARY, "other"), 0);
    assert_int_equal(tape_feed_open_messages(rig->feed), 2);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_PING, "hi"), 1);
    assert_message(rig, TAPE_FEED_PING, TAPE_WS_PING, "hi", "");
    assert_int_equal(push_text(rig, 1, TAPE_WS_CONTINUATION, ""), 0);
    assert_int_equal(push_text(rig, 3, FIN | TAPE_WS_TEXT, "single"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "single", "");
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "@b\",\"data\":{}}"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "{\"stream\":\"a@b\",\"data\":{}}", "a@b");
    assert_int_equal(rig->message.frame.bytes, 2 + 12 + 2 + 2 + 14);
    assert_memory_equal(rig->message.frame.data,
                        "\x01\x0c{\"stream\":\"a\0\0\x80\x0e@b\",\"data\":{}}", 32);
    assert_true(rig->message.first_ordinal == 100 && rig->message.ordinal == 105);
    assert_int_equal(rig->message.connection, 1);
    assert_true(rig->message.recv_ns == 1106);
    assert_int_equal(push_text(rig, 2, FIN | TAPE_WS_CONTINUATION, "!"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_BINARY, "other!", "");
    assert_int_equal(tape_feed_open_messages(rig->feed), 0);
    assert_int_equal(push_text(rig, 1, TAPE_WS_TEXT, ""), 0);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, ""), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "", "");
    close_rig(rig);
}

static void test_flags_of_all_fragments(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    static const uint8_t first[] = {TAPE_WS_TEXT, 1, 'a'}, last[] = {FIN, 1, 'b'};
    push(rig, TAPE_RECORD_FRAME_IN, 1, TAPE_RECORD_FLAG_SHARED_STAMP, first, 3);
    assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, TAPE_RECORD_FLAG_KERNEL_STAMP, last, 3), 1);
    assert_int_equal(rig->message.flags,
                     TAPE_RECORD_FLAG_SHARED_STAMP | TAPE_RECORD_FLAG_KERNEL_STAMP);
    close_rig(rig);
}

static void test_misplaced_fragments(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "x"), 1);
    assert_message(rig, TAPE_FEED_BAD, 0, "\x80\x01x", "");
    assert_int_equal(push_text(rig, 1, TAPE_WS_CONTINUATION, "x"), 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    assert_int_equal(push_text(rig, 1, TAPE_WS_TEXT, "a"), 0);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_TEXT, "x"), 1);
    assert_message(rig, TAPE_FEED_BAD, 0, "\x81\x01x", "");
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "b"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "ab", "");
    close_rig(rig);
}

/* A frame that would take the shortest way is held to the same rules. */
static void test_misplaced_wrappers(void **state)
{
    static const char text[] = "{\"stream\":\"a@b\",\"data\":{}}";
    static uint8_t frame[64] = {FIN | TAPE_WS_TEXT, sizeof text - 1};
    static const unsigned flags[] = {TAPE_RECORD_FLAG_BAD, TAPE_RECORD_FLAG_PARTIAL,
                                     TAPE_RECORD_FLAG_AFTER_CLOSE};
    struct rig *rig = open_rig();
    (void)state;
    memcpy(frame + 2, text, sizeof text - 1);
    push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, sizeof text + 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, text, "a@b");
    for (size_t i = 0; i < 3; i++) {
        push(rig, TAPE_RECORD_FRAME_IN, 1, flags[i], frame, sizeof text + 1);
        assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    }
    push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, sizeof text);
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, sizeof text + 2);
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    push(rig, TAPE_RECORD_FRAME_OUT, 1, 0, frame, sizeof text + 1);
    assert_message(rig, TAPE_FEED_SENT, TAPE_WS_TEXT, text, "");
    push_text(rig, 1, TAPE_WS_TEXT, "a");
    push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, sizeof text + 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    close_rig(rig);
}

static void test_cut_by_close(void **state)
{
    struct rig *rig = open_rig();
    struct tape_message cut;
    (void)state;
    push_text(rig, 1, TAPE_WS_TEXT, "half");
    push_text(rig, 2, TAPE_WS_TEXT, "other");
    push_masked(rig, 1, TAPE_WS_TEXT, "ours");
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 0);
    assert_int_equal(push(rig, TAPE_RECORD_CONNECTION_CLOSE, 1, 0, "{}", 2), 1);
    assert_message(rig, TAPE_FEED_EVENT, 0, "{}", "");
    assert_int_equal(tape_feed_open_messages(rig->feed), 1);
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 1);
    assert_int_equal(cut.kind, TAPE_FEED_BAD);
    assert_slice(cut.payload, "half");
    assert_true(cut.first_ordinal == 100 && cut.ordinal == 100 && cut.connection == 1);
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 1);
    assert_slice(cut.payload, "ours");
    assert_int_equal(cut.outgoing, 1);
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 0);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "x"), 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    assert_int_equal(push(rig, TAPE_RECORD_SESSION_START, 0, 0, "{}", 2), 1);
    assert_int_equal(tape_feed_open_messages(rig->feed), 0);
    push_text(rig, 5, FIN | TAPE_WS_TEXT, "x"); /* what was not asked for is forgotten */
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 0);
    close_rig(rig);
}

static void test_cut_by_hole(void **state)
{
    struct rig *rig = open_rig();
    struct tape_message cut;
    (void)state;
    push_text(rig, 1, TAPE_WS_TEXT, "a");
    rig->ordinal++;
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "c"), 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 1);
    assert_slice(cut.payload, "a");
    rig->ordinal += 1000; /* while nothing is open holes are no matter */
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_TEXT, "x"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "x", "");
    close_rig(rig);
}

static int push_note(struct rig *rig, uint32_t connection, const char *body)
{
    return push(rig, TAPE_RECORD_NOTE, connection, 0, body, strlen(body));
}

/* Frames that were not kept have no ordinals: only a note tells of them. */
static void test_cut_by_gap(void **state)
{
    static const char gap[] = "{\"kind\":\"gap\",\"cause\":\"disk full\",\"frames\":\"2\"}";
    struct rig *rig = open_rig();
    struct tape_message cut;
    (void)state;
    push_text(rig, 1, TAPE_WS_TEXT, "a");
    push_text(rig, 2, TAPE_WS_TEXT, "b");
    push_note(rig, 0, "{\"kind\":\"stall\",\"cause\":\"gap\"}");
    push_note(rig, 0, "{\"kind\":\"gap\"");
    push_note(rig, 3, gap);
    assert_int_equal(tape_feed_open_messages(rig->feed), 2);
    assert_int_equal(push_note(rig, 2, gap), 1);
    assert_message(rig, TAPE_FEED_EVENT, 0, gap, "");
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 1);
    assert_slice(cut.payload, "b");
    push_note(rig, 0, gap);
    assert_int_equal(tape_feed_cut(rig->feed, &cut), 1);
    assert_slice(cut.payload, "a");
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_TEXT, "whole"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "whole", "");
    close_rig(rig);
}

static void pass(struct rig *rig, uint64_t from, uint64_t to)
{
    tape_feed_pass(rig->feed, from, to);
    rig->ordinal = to;
}

/* What is left out on purpose cuts nothing; a hole before or after it does. */
static void test_left_out_on_purpose(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    pass(rig, 0, 50);
    push_text(rig, 1, TAPE_WS_TEXT, "a");
    pass(rig, rig->ordinal, rig->ordinal + 7);
    assert_int_equal(push_text(rig, 1, TAPE_WS_CONTINUATION, "b"), 0);
    pass(rig, rig->ordinal, rig->ordinal);
    pass(rig, rig->ordinal, rig->ordinal + 1);
    pass(rig, rig->ordinal, rig->ordinal + 2);
    assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "c"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "abc", "");
    for (int before = 0; before < 2; before++) {
        push_text(rig, 1, TAPE_WS_TEXT, "a");
        rig->ordinal += (uint64_t)before;
        pass(rig, rig->ordinal, rig->ordinal + 7);
        rig->ordinal += !before;
        assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "c"), 1);
        assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    }
    close_rig(rig);
}

/* ---- bad bytes ---- */

static void test_flagged_records(void **state)
{
    static const uint8_t frame[] = {FIN | TAPE_WS_TEXT, 1, 'x'};
    static const unsigned flags[] = {TAPE_RECORD_FLAG_BAD, TAPE_RECORD_FLAG_PARTIAL,
                                     TAPE_RECORD_FLAG_AFTER_CLOSE};
    struct rig *rig = open_rig();
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, flags[i], frame, 3), 1);
        assert_message(rig, TAPE_FEED_BAD, 0, "\x81\x01x", "");
        assert_int_equal(rig->message.flags, flags[i]);
    }
    close_rig(rig);
}

static void test_broken_frames(void **state)
{
    static const struct {
        size_t bytes;
        uint8_t data[16];
    } cases[] = {
        {0, {0}},
        {1, {0x81}},
        {2, {0x81, 1}},
        {4, {0x81, 1, 'x', 'y'}},
        {3, {0xc1, 1, 'x'}},
        {3, {0x83, 1, 'x'}},
        {3, {0x09, 1, 'x'}},
        {5, {0x81, 126, 0, 1, 'x'}},
        {11, {0x81, 127, 0, 0, 0, 0, 0, 0, 0, 1, 'x'}},
        {11, {0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 1, 'x'}},
        {10, {0x81, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255}},
        {7, {0x81, 0x81, 1, 2, 3, 4, 'x'}}, /* masked by the venue */
    };
    struct guard guard = guard_open(64);
    struct rig *rig = open_rig();
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t *data = guard_put(&guard, cases[i].data, cases[i].bytes);
        assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, data, cases[i].bytes), 1);
        assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
        assert_int_equal(rig->message.payload.bytes, cases[i].bytes);
    }
    close_rig(rig);
    guard_close(&guard);
}

/* A header of any form in front of a wrapper: the message is given where tape_ws_header() finds a
 * whole frame of the venue's, and as its payload; else it is bad. */
static void test_headers_of_wrappers(void **state)
{
    static const uint8_t firsts[] = {0x81, 0x82, 0xc1, 0x89, 0x8a};
    struct guard guard = guard_open(512);
    struct rig *rig = open_rig();
    (void)state;
    for (unsigned i = 0; i < 5u * 3 * 2 * 300; i++) {
        size_t length = i % 300, header = 2, told = length;
        uint8_t frame[512] = {firsts[i / 300 % 5]};
        unsigned form = i / 1500 % 3, masked = i / 4500 * 0x80;
        frame[1] = (uint8_t)(masked | (form == 0 ? told & 0x7f : 125 + form));
        if (form > 0) {
            header = form == 1 ? 4 : 10;
            frame[header - 2] = (uint8_t)(told >> 8);
            frame[header - 1] = (uint8_t)told;
        }
        memset(frame + header, 'n', length);
        memcpy(frame + header, "{\"stream\":\"x\"", length < 14 ? length : 14);
        for (int more = -1; more <= 1; more++) {
            struct tape_ws_frame want;
            size_t bytes = header + length + (size_t)more;
            const uint8_t *data = guard_put(&guard, frame, bytes);
            int good = tape_ws_header(data, bytes, &want) == (int)header &&
                       want.payload_bytes == bytes - header && !want.masked;
            assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, data, bytes), 1);
            assert_int_equal(rig->message.kind == TAPE_FEED_BAD, !good);
            assert_ptr_equal(rig->message.payload.data, data + (good ? header : 0));
            assert_int_equal(rig->message.payload.bytes, bytes - (good ? header : 0));
            assert_ptr_equal(rig->message.frame.data, data);
            assert_int_equal(rig->message.frame.bytes, bytes);
        }
    }
    close_rig(rig);
    guard_close(&guard);
}

/* ---- limits ---- */

static void test_message_limit(void **state)
{
    enum { PIECE = 1 << 20 };
    struct rig *rig = open_rig();
    uint8_t *frame = calloc(1, PIECE + 14);
    (void)state;
    size_t head = tape_ws_build(frame, TAPE_WS_BINARY, 0, PIECE, NULL);
    assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, head + PIECE), 0);
    tape_ws_build(frame, TAPE_WS_CONTINUATION, 0, PIECE, NULL);
    for (int i = 1; i < 16; i++)
        assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, head + PIECE), 0);
    static const uint8_t end[] = {FIN, 0}, more[] = {0, 1, 'x'};
    assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, end, 2), 1);
    assert_int_equal(rig->message.kind, TAPE_FEED_DATA);
    assert_int_equal(rig->message.payload.bytes, 16 << 20);
    tape_ws_build(frame, TAPE_WS_TEXT, 0, PIECE, NULL);
    assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, head + PIECE), 0);
    tape_ws_build(frame, TAPE_WS_CONTINUATION, 0, PIECE, NULL);
    for (int i = 1; i < 16; i++)
        assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, head + PIECE), 0);
    assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, more, 3), 1); /* told once */
    assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
    assert_ptr_equal(rig->message.payload.data, more);
    assert_int_equal(rig->message.payload.bytes, 3);
    close_rig(rig);
    free(frame);
}

static void test_passed_over(void **state)
{
    enum { PIECE = 1 << 20 };
    struct rig *rig = open_rig();
    struct tape_message cut;
    uint8_t *frame = calloc(1, PIECE + 14);
    (void)state;
    for (int round = 0; round < 20; round++) { /* more than may be held at one time */
        size_t head = tape_ws_build(frame, TAPE_WS_TEXT, 0, PIECE, NULL);
        for (int i = 0; i < 17; i++) {
            int expected = i == 16;
            assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, head + PIECE), expected);
            tape_ws_build(frame, TAPE_WS_CONTINUATION, 0, PIECE, NULL);
        }
        assert_int_equal(rig->message.kind, TAPE_FEED_BAD);
        assert_int_equal(rig->message.payload.bytes, head + PIECE);
        assert_int_equal(push(rig, TAPE_RECORD_FRAME_IN, 1, 0, frame, head + PIECE), 0);
        assert_int_equal(tape_feed_open_messages(rig->feed), 1);
        if (round < 19)
            assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_CONTINUATION, "end"), 0);
        else
            assert_int_equal(push(rig, TAPE_RECORD_CONNECTION_CLOSE, 1, 0, "", 0), 1);
        assert_int_equal(tape_feed_cut(rig->feed, &cut), 0);
        assert_int_equal(tape_feed_open_messages(rig->feed), 0);
        assert_int_equal(push_text(rig, 1, FIN | TAPE_WS_TEXT, "next"), 1);
        assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "next", "");
    }
    close_rig(rig);
    free(frame);
}

static void test_connection_limit(void **state)
{
    struct rig *rig = open_rig();
    (void)state;
    for (uint32_t i = 1; i <= TAPE_FEED_CONNECTIONS_MAX; i++)
        assert_int_equal(push_text(rig, i * 7919, TAPE_WS_TEXT, "a"), 0);
    assert_int_equal(tape_feed_open_messages(rig->feed), TAPE_FEED_CONNECTIONS_MAX);
    assert_int_equal(push_text(rig, 5, TAPE_WS_TEXT, "a"), TAPE_LIMIT);
    assert_string_equal(rig->error.text,
                        "connection 5: more than 4096 messages are open at one time");
    assert_int_equal(push_text(rig, 7919, FIN | TAPE_WS_CONTINUATION, "b"), 1);
    assert_message(rig, TAPE_FEED_DATA, TAPE_WS_TEXT, "ab", "");
    assert_int_equal(push_text(rig, 5, TAPE_WS_TEXT, "a"), 0);
    for (uint32_t i = 2; i <= TAPE_FEED_CONNECTIONS_MAX; i++)
        assert_int_equal(push_text(rig, i * 7919, FIN | TAPE_WS_CONTINUATION, "b"), 1);
    assert_int_equal(tape_feed_open_messages(rig->feed), 1);
    close_rig(rig);
}

/* Fragmented messages of many connections hold no more than 256 MiB together. */
static void test_held_limit(void **state)
{
    enum { PIECE = 8 << 20 };
    struct rig *rig = open_rig();
    uint8_t *frame = calloc(1, PIECE + 14);
    (void)state;
    size_t head = tape_ws_build(frame, TAPE_WS_BINARY, 0, PIECE, NULL);
    int bad = 0;
    for (uint32_t i = 1; i <= 40; i++)
        bad += push(rig, TAPE_RECORD_FRAME_IN, i, 0, frame, head + PIECE) == 1;
    assert_true(bad == 40 - 32);
    close_rig(rig);
    free(frame);
}

static void test_kind_words(void **state)
{
    (void)state;
    assert_string_equal(tape_feed_kind_word(TAPE_FEED_DATA), "data");
    assert_string_equal(tape_feed_kind_word(TAPE_FEED_EVENT), "event");
    assert_null(tape_feed_kind_word(-1));
    assert_string_equal(tape_feed_kind_word(TAPE_FEED_STATE), "state");
    assert_null(tape_feed_kind_word(TAPE_FEED_STATE + 1));
    tape_feed_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_frame),
        cmocka_unit_test(test_stream_names),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_imported_answer),
        cmocka_unit_test(test_sent),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_flags_of_all_fragments),
        cmocka_unit_test(test_misplaced_fragments),
        cmocka_unit_test(test_misplaced_wrappers),
        cmocka_unit_test(test_cut_by_close),
        cmocka_unit_test(test_cut_by_gap),
        cmocka_unit_test(test_cut_by_hole),
        cmocka_unit_test(test_left_out_on_purpose),
        cmocka_unit_test(test_flagged_records),
        cmocka_unit_test(test_broken_frames),
        cmocka_unit_test(test_headers_of_wrappers),
        cmocka_unit_test(test_message_limit),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_held_limit),
        cmocka_unit_test(test_kind_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
