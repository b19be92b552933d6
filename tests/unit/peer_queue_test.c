/* The queue of a peer without a socket: what leaves, in which order, when it leaves in any parts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replay/server_state.h"
#include "tests/unit/random_below.h"

enum { QUEUE_BYTES = 1000000, ROOM = 64 };

static struct tape_server *new_server(void)
{
    struct tape_server *server = calloc(1, sizeof *server);
    server->options.queue_max_bytes = QUEUE_BYTES;
    server->work_end = &server->work;
    return server;
}

static struct tape_peer *new_peer(struct tape_server *server)
{
    struct tape_peer *peer = calloc(1, sizeof *peer);
    peer->server = server;
    peer->state = TAPE_PEER_OPEN;
    return peer;
}

static void drop(struct tape_peer *peer)
{
    tape_peer_trim(peer, 0);
    peer->mid_piece = 0;
    tape_peer_trim(peer, 0);
    assert_int_equal(peer->queued_bytes, 0);
    free(peer->pieces);
    free(peer->server);
    free(peer);
}

/* What leaves next, at most ${bytes}, is appended to ${to}. */
static size_t leave(struct tape_peer *peer, size_t bytes, uint8_t *to)
{
    struct tape_peer_part parts[ROOM];
    size_t used = 0;
    int count = tape_peer_gather(peer, parts, ROOM);
    for (int i = 0; i < count && used < bytes; i++) {
        size_t part = parts[i].count < bytes - used ? parts[i].count : bytes - used;
        assert_true(parts[i].count > 0);
        memcpy(to + used, parts[i].bytes, part);
        used += part;
    }
    tape_peer_advance(peer, used);
    return used;
}

static struct tape_batch *new_batch(size_t room, char fill, size_t bytes)
{
    struct tape_batch *batch = tape_batch_new(room);
    memset(tape_batch_reserve(batch, bytes), fill, bytes);
    tape_batch_commit(batch, bytes);
    return batch;
}

static void control_goes_between_pieces(void **state)
{
    struct tape_peer *peer = new_peer(new_server());
    struct tape_batch *batch = new_batch(8, 'a', 8);
    uint8_t out[256];
    (void)state;
    tape_peer_put_batch(peer, batch);
    tape_peer_put_batch(peer, batch);
    assert_int_equal(leave(peer, 3, out), 3);
    assert_int_equal(tape_peer_append_control(peer, TAPE_WS_PONG, "xy", 2), 1);
    assert_int_equal(leave(peer, 256, out), 5 + 4 + 8);
    assert_memory_equal(out, "aaaaa\x8a\x02xyaaaaaaaa", 17);
    /* one that has begun to leave comes first, whatever is put */
    tape_peer_append_control(peer, TAPE_WS_PONG, "pong", 4);
    assert_int_equal(leave(peer, 1, out), 1);
    tape_peer_put_batch(peer, batch);
    assert_int_equal(leave(peer, 256, out), 5 + 8);
    assert_memory_equal(out, "\x04pongaaaaaaaa", 13);
    assert_int_equal(batch->references, 1);
    tape_batch_release(batch);
    drop(peer);
}

static void nothing_follows_a_close_frame(void **state)
{
    uint8_t out[256];
    (void)state;
    for (size_t begun = 0; begun <= 3; begun++) {
        struct tape_peer *peer = new_peer(new_server());
        tape_peer_put(peer, "abcd", 4);
        assert_int_equal(leave(peer, begun, out), begun);
        tape_peer_append_control(peer, TAPE_WS_PONG, "p", 1);
        tape_peer_queue_close(peer, 1000, "why");
        size_t used = leave(peer, 256, out + begun);
        assert_int_equal(begun + used, 4 + 3 + 7);
        assert_memory_equal(out + 7, "\x88\x05\x03\xe8why", 7);
        assert_memory_equal(out,
                            begun ? "abcd\x8a\x01p"
                                  : "\x8a\x01p"
                                    "abcd",
                            7);
        drop(peer);
    }
}

static void only_the_latest_ping_needs_an_answer(void **state)
{
    struct tape_peer *peer = new_peer(new_server());
    static uint8_t out[4096];
    char payload[100];
    int taken = 0;
    (void)state;
    for (int i = 0; i < 1000; i++) {
        memset(payload, 'a' + i % 26, sizeof payload);
        snprintf(payload, sizeof payload, "%d", i);
        taken += tape_peer_append_control(peer, TAPE_WS_PONG, payload, sizeof payload);
    }
    assert_int_equal(taken, TAPE_PEER_CONTROL_BYTES / 102);
    assert_int_equal(leave(peer, sizeof out, out), (size_t)taken * 102);
    assert_int_equal(leave(peer, sizeof out, out), 102);
    assert_string_equal((char *)out + 2, "999");
    assert_int_equal(tape_peer_append_control(peer, TAPE_WS_PING, payload, sizeof payload), 1);
    for (int i = 0; i < 100; i++)
        tape_peer_append_control(peer, TAPE_WS_PING, payload, sizeof payload);
    while (tape_peer_has_output(peer))
        leave(peer, sizeof out, out);
    assert_int_equal(out[0], 0x89);
    drop(peer);
}

static void nearly_empty_batches_are_not_held(void **state)
{
    struct tape_peer *peer = new_peer(new_server());
    struct tape_batch *small = new_batch(4000, 'a', 999), *large = new_batch(4000, 'b', 1000);
    (void)state;
    tape_peer_put_batch(peer, small);
    assert_int_equal(small->references, 1);
    tape_peer_put_batch(peer, large);
    assert_int_equal(large->references, 2);
    assert_int_equal(tape_peer_queued_bytes(peer), 1999);
    assert_int_equal(tape_peer_room(peer), QUEUE_BYTES - 1999);
    drop(peer);
    assert_int_equal(large->references, 1);
    tape_batch_release(small);
    tape_batch_release(large);
}

static void what_is_begun_is_not_trimmed(void **state)
{
    struct tape_peer *peer = new_peer(new_server());
    struct tape_batch *batch = new_batch(10, 'a', 10);
    uint8_t out[64];
    (void)state;
    for (int i = 0; i < 5; i++)
        tape_peer_put_batch(peer, batch);
    leave(peer, 1, out);
    tape_peer_trim(peer, 25);
    assert_int_equal(tape_peer_queued_bytes(peer), 19);
    tape_peer_trim(peer, 0);
    assert_int_equal(tape_peer_queued_bytes(peer), 9);
    assert_int_equal(leave(peer, 64, out), 9);
    tape_batch_release(batch);
    drop(peer);
}

static void a_batch_takes_what_it_has_room_for(void **state)
{
    struct tape_batch *batch = tape_batch_new(10);
    (void)state;
    assert_null(tape_batch_reserve(batch, 11));
    assert_non_null(tape_batch_reserve(batch, 10));
    tape_batch_commit(batch, 6);
    assert_null(tape_batch_reserve(batch, 5));
    assert_ptr_equal(tape_batch_reserve(batch, 4), batch->bytes + 6);
    assert_int_equal(tape_batch_bytes(batch), 6);
    tape_batch_release(batch);
    tape_batch_release(NULL);
}

/* Numbered bytes, put in every way, leave once and in order, however the socket takes them. */
static void whatever_is_put_leaves_in_order(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct tape_peer *peer = new_peer(new_server());
        static uint8_t out[QUEUE_BYTES];
        size_t put = 0, got = 0;
        for (int step = 0; step < 200; step++) {
            size_t bytes = random_below(step % 7 ? 300 : 9000) + 1;
            uint8_t *to = NULL, frame[9300];
            for (size_t i = 0; i < bytes; i++)
                frame[i] = (uint8_t)((put + i) % 251);
            switch (random_below(3)) {
            case 0:
                tape_peer_put(peer, frame, bytes);
                break;
            case 1:
                to = tape_peer_reserve(peer, bytes + 10);
                memcpy(to, frame, bytes);
                tape_peer_commit(peer, bytes);
                break;
            default: {
                struct tape_batch *batch = tape_batch_new(bytes * (1 + random_below(6)));
                memcpy(tape_batch_reserve(batch, bytes), frame, bytes);
                tape_batch_commit(batch, bytes);
                tape_peer_put_batch(peer, batch);
                tape_batch_release(batch);
            }
            }
            put += bytes;
            size_t left = leave(peer, random_below(2 * bytes), out);
            for (size_t i = 0; i < left; i++, got++)
                assert_int_equal(out[i], got % 251);
            assert_int_equal(tape_peer_queued_bytes(peer), put - got);
        }
        drop(peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_goes_between_pieces),
        cmocka_unit_test(nothing_follows_a_close_frame),
        cmocka_unit_test(only_the_latest_ping_needs_an_answer),
        cmocka_unit_test(nearly_empty_batches_are_not_held),
        cmocka_unit_test(what_is_begun_is_not_trimmed),
        cmocka_unit_test(a_batch_takes_what_it_has_room_for),
        cmocka_unit_test(whatever_is_put_leaves_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
