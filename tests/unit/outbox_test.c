#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/error.h"
#include "record/outbox.h"

/* A socket that takes what it is told to. */
struct wire {
    size_t room;        /* bytes it still takes */
    int all_or_nothing; /* as TLS */
    int broken;         /* no write ever succeeds */
    const void *again;  /* a write that took nothing: the next must be the same */
    size_t again_bytes;
    uint8_t got[1 << 20];
    size_t bytes, told; /* told: bytes that sent() was told of */
};

static struct wire wire;
static uint8_t memory[TAPE_OUTBOX_BYTES];

static int64_t take(void *context, const void *from, size_t bytes)
{
    struct wire *w = context;
    if (w->broken)
        return -3;
    if (w->again && w->all_or_nothing) {
        assert_ptr_equal(from, w->again);
        assert_int_equal(bytes, w->again_bytes);
    }
    size_t part = bytes < w->room ? bytes : w->room;
    if (w->all_or_nothing && part < bytes)
        part = 0;
    w->again = part ? NULL : from;
    w->again_bytes = bytes;
    assert_true(w->bytes + part <= sizeof w->got);
    memcpy(w->got + w->bytes, from, part);
    w->bytes += part;
    w->room -= part;
    return (int64_t)part;
}

static void told(void *context, const uint8_t *data, size_t bytes)
{
    struct wire *w = context;
    assert_memory_equal(w->got + w->told, data, bytes);
    w->told += bytes;
}

static int set_up(void **state)
{
    static struct tape_outbox outbox;
    memset(&wire, 0, sizeof wire);
    outbox = (struct tape_outbox){.data = memory};
    *state = &outbox;
    return 0;
}

/* The payload of the frame at wire.got + at, unmasked; moves at behind it. */
static int read_frame(size_t *at, char *payload)
{
    struct tape_ws_frame frame;
    int header = tape_ws_header(wire.got + *at, wire.bytes - *at, &frame);
    assert_true(header > 0);
    assert_true(frame.masked && frame.fin);
    assert_true(*at + (size_t)header + frame.payload_bytes <= wire.bytes);
    tape_ws_mask((uint8_t *)payload, wire.got + *at + header, frame.payload_bytes, frame.mask, 0);
    payload[frame.payload_bytes] = '\0';
    *at += (size_t)header + frame.payload_bytes;
    return frame.opcode;
}

static void frames_go_out_in_order(void **state)
{
    struct tape_outbox *outbox = *state;
    char payload[TAPE_OUTBOX_BYTES];
    size_t at = 0;
    wire.room = SIZE_MAX;
    assert_int_equal(tape_outbox_waits(outbox), 0);
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, "one", 3), TAPE_OK);
    tape_outbox_pong(outbox, "two", 3);
    tape_outbox_pong(outbox, "three", 5);
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_CLOSE, "\x03\xe8", 2), TAPE_OK);
    assert_int_equal(tape_outbox_waits(outbox), 1);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    assert_int_equal(tape_outbox_waits(outbox), 0);
    assert_int_equal(read_frame(&at, payload), TAPE_WS_TEXT);
    assert_string_equal(payload, "one");
    assert_int_equal(read_frame(&at, payload), TAPE_WS_PONG);
    assert_string_equal(payload, "two");
    assert_int_equal(read_frame(&at, payload), TAPE_WS_PONG);
    assert_string_equal(payload, "three");
    assert_int_equal(read_frame(&at, payload), TAPE_WS_CLOSE);
    assert_int_equal(at, wire.bytes);
    assert_int_equal(wire.told, wire.bytes);
}

static void nothing_follows_a_close(void **state)
{
    struct tape_outbox *outbox = *state;
    wire.room = SIZE_MAX;
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_CLOSE, "", 0), TAPE_OK);
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, "x", 1), TAPE_CLOSED);
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_CLOSE, "", 0), TAPE_CLOSED);
    tape_outbox_pong(outbox, "x", 1);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    assert_int_equal(wire.bytes, 6);
}

static void a_cut_write_is_repeated_as_it_was(void **state)
{
    struct tape_outbox *outbox = *state;
    char payload[TAPE_OUTBOX_BYTES], want[16];
    size_t at = 0;
    for (int tls = 0; tls < 2; tls++) {
        set_up(state);
        wire.all_or_nothing = tls;
        wire.room = 1;
        at = 0;
        assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, "first", 5), TAPE_OK);
        assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 1);
        assert_int_equal(wire.told, 0);
        for (int i = 0; i < 50; i++) {
            snprintf(want, sizeof want, "%d", i);
            assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, want, strlen(want)), TAPE_OK);
            assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 1);
            wire.room = tls ? 0 : 1;
        }
        wire.room = SIZE_MAX;
        assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
        assert_int_equal(read_frame(&at, payload), TAPE_WS_TEXT);
        assert_string_equal(payload, "first");
        for (int i = 0; i < 50; i++) {
            snprintf(want, sizeof want, "%d", i);
            assert_int_equal(read_frame(&at, payload), TAPE_WS_TEXT);
            assert_string_equal(payload, want);
        }
        assert_int_equal(at, wire.bytes);
        assert_int_equal(wire.told, wire.bytes);
    }
}

/* While a write waits, only the newest ping is owed an answer; a close frame lets it go first. */
static void the_newest_ping_is_answered(void **state)
{
    struct tape_outbox *outbox = *state;
    char payload[TAPE_OUTBOX_BYTES], number[16];
    size_t at = 0;
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, "first", 5), TAPE_OK);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 1);
    for (int i = 0; i < 1000000; i++) {
        int bytes = snprintf(number, sizeof number, "%d", i);
        tape_outbox_pong(outbox, number, (size_t)bytes);
    }
    assert_true(outbox->used < 100);
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_CLOSE, "", 0), TAPE_OK);
    wire.room = SIZE_MAX;
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    assert_int_equal(read_frame(&at, payload), TAPE_WS_TEXT);
    assert_int_equal(read_frame(&at, payload), TAPE_WS_PONG);
    assert_string_equal(payload, "999999");
    assert_int_equal(read_frame(&at, payload), TAPE_WS_CLOSE);
    assert_int_equal(at, wire.bytes);
}

static void an_owed_pong_goes_when_there_is_room(void **state)
{
    struct tape_outbox *outbox = *state;
    char payload[TAPE_OUTBOX_BYTES];
    size_t at = 0;
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, "first", 5), TAPE_OK);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 1);
    tape_outbox_pong(outbox, "old", 3);
    tape_outbox_pong(outbox, "new", 3);
    assert_int_equal(tape_outbox_waits(outbox), 1);
    wire.room = SIZE_MAX;
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    read_frame(&at, payload);
    assert_int_equal(read_frame(&at, payload), TAPE_WS_PONG);
    assert_string_equal(payload, "new");
    assert_int_equal(at, wire.bytes);
}

static void room_is_bounded(void **state)
{
    struct tape_outbox *outbox = *state;
    static char big[TAPE_OUTBOX_BYTES];
    int frames = 0;
    wire.room = SIZE_MAX;
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, big, sizeof big), TAPE_LIMIT);
    assert_int_equal(tape_outbox_put(outbox, big, sizeof big), TAPE_OK);
    assert_int_equal(tape_outbox_put(outbox, big, 1), TAPE_LIMIT);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    while (tape_outbox_frame(outbox, TAPE_WS_TEXT, big, 1000) == TAPE_OK)
        frames++;
    assert_in_range(frames, 128, 131);
    assert_true(outbox->used <= TAPE_OUTBOX_BYTES);
    for (int i = 0; i < 100000; i++)
        tape_outbox_pong(outbox, big, 125);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    assert_int_equal(wire.told, wire.bytes);
}

static void a_broken_socket_is_told(void **state)
{
    struct tape_outbox *outbox = *state;
    wire.broken = 1;
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), 0);
    assert_int_equal(tape_outbox_frame(outbox, TAPE_WS_TEXT, "x", 1), TAPE_OK);
    assert_int_equal(tape_outbox_flush(outbox, take, told, &wire), -3);
    assert_int_equal(wire.told, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(frames_go_out_in_order, set_up),
        cmocka_unit_test_setup(nothing_follows_a_close, set_up),
        cmocka_unit_test_setup(a_cut_write_is_repeated_as_it_was, set_up),
        cmocka_unit_test_setup(the_newest_ping_is_answered, set_up),
        cmocka_unit_test_setup(an_owed_pong_goes_when_there_is_room, set_up),
        cmocka_unit_test_setup(room_is_bounded, set_up),
        cmocka_unit_test_setup(a_broken_socket_is_told, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
