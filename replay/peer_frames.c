#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replay/server_state.h"

/* Fragments count on their own: a message of 64 KiB may well be in a hundred. */
enum { FRAGMENTS_A_MESSAGE = 20 };

/* 1 as long as the peer keeps to what it may send in a second. */
static int keeps_rate(struct tape_peer *peer, int opcode)
{
    int limit = peer->server->options.messages_per_second;
    int64_t now_ns = peer->server->now_ns;
    if (now_ns - peer->rate_ns >= TAPE_SERVER_SECOND_NS) {
        peer->rate_ns = now_ns;
        peer->rate_messages = peer->rate_fragments = 0;
    }
    if (opcode == TAPE_WS_CONTINUATION)
        return ++peer->rate_fragments / FRAGMENTS_A_MESSAGE < limit;
    return ++peer->rate_messages <= limit;
}

static void hear_close(struct tape_peer *peer, const uint8_t *payload, size_t bytes)
{
    const uint8_t *reason;
    size_t reason_bytes;
    uint16_t code = 1005;
    tape_ws_close_parse(payload, bytes, &code, &reason, &reason_bytes);
    if (peer->state == TAPE_PEER_OPEN) {
        tape_peer_trim(peer, TAPE_PEER_CLOSE_BYTES);
        tape_peer_queue_close(peer, code, "");
    } else {
        code = (uint16_t)peer->close_code; /* the answer to ours */
    }
    tape_peer_begin_ending(peer, code);
}

static void hear_pong(struct tape_peer *peer, const uint8_t *payload, size_t bytes)
{
    if (peer->pong_by_ns == 0 || bytes != strlen(peer->ping) ||
        memcmp(payload, peer->ping, bytes) != 0)
        return;
    peer->pong_by_ns = 0;
    tape_peer_plan_ping(peer);
}

void tape_peer_plan_ping(struct tape_peer *peer)
{
    struct tape_server *server = peer->server;
    if (server->options.ping_ns <= 0)
        return;
    peer->ping_next_ns = server->now_ns + server->options.ping_ns;
    if (peer->ping_next_ns < server->next_ns)
        server->next_ns = peer->ping_next_ns;
}

void tape_peer_send_ping(struct tape_peer *peer)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(peer->ping, sizeof peer->ping, "%lld",
             (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    /* Without room the peer takes nothing: it will not answer this one either. */
    tape_peer_append_control(peer, TAPE_WS_PING, peer->ping, strlen(peer->ping));
    peer->pong_by_ns = peer->server->now_ns + peer->server->options.pong_ns;
    peer->ping_next_ns = 0;
}

/* ---- messages ---- */

static void give(struct tape_peer *peer, int opcode, const uint8_t *payload, size_t bytes)
{
    const struct tape_server_handler *handler = &peer->server->options.handler;
    peer->server->handled++;
    handler->message(handler->context, peer, opcode, (const char *)payload, bytes);
}

/* The receiver has seen to it that all fragments together are within the limit. */
static void join(struct tape_peer *peer, const struct tape_ws_frame *frame, const uint8_t *payload)
{
    size_t bytes = (size_t)frame->payload_bytes;
    if (frame->opcode != TAPE_WS_CONTINUATION) {
        peer->message_opcode = frame->opcode;
        peer->message_bytes = 0;
    }
    if (bytes > 0) {
        uint8_t *longer = realloc(peer->message, peer->message_bytes + bytes);
        if (longer == NULL) {
            tape_peer_lose(peer);
            return;
        }
        peer->message = longer;
        memcpy(peer->message + peer->message_bytes, payload, bytes);
        peer->message_bytes += bytes;
    }
    if (!frame->fin)
        return;
    give(peer, peer->message_opcode, peer->message ? peer->message : payload, peer->message_bytes);
    free(peer->message);
    peer->message = NULL;
    peer->message_bytes = 0;
}

static void hear(struct tape_peer *peer, const struct tape_ws_frame *frame, uint8_t *payload)
{
    size_t bytes = (size_t)frame->payload_bytes;
    tape_ws_mask(payload, payload, bytes, frame->mask, 0);
    if (frame->opcode == TAPE_WS_CLOSE)
        hear_close(peer, payload, bytes);
    else if (peer->state != TAPE_PEER_OPEN)
        return; /* after our close frame nothing else counts */
    else if (frame->opcode == TAPE_WS_PING)
        tape_peer_append_control(peer, TAPE_WS_PONG, payload, bytes);
    else if (frame->opcode == TAPE_WS_PONG)
        hear_pong(peer, payload, bytes);
    else if (frame->fin && frame->opcode != TAPE_WS_CONTINUATION)
        give(peer, frame->opcode, payload, bytes);
    else
        join(peer, frame, payload);
}

void tape_peer_read_frames(struct tape_peer *peer)
{
    while (peer->state == TAPE_PEER_OPEN || peer->state == TAPE_PEER_CLOSING) {
        struct tape_ws_frame frame;
        uint8_t *data = peer->in + peer->in_start;
        size_t bytes = peer->in_end - peer->in_start;
        if (bytes == 0)
            return;
        int64_t used = tape_ws_receive(&peer->receiver, data, bytes, &frame);
        if (used == 0)
            return;
        if (used < 0) {
            tape_peer_fail(peer, tape_ws_fault_code((int)-used), tape_ws_fault_words((int)-used));
            return;
        }
        peer->in_start += (size_t)used;
        if (!keeps_rate(peer, frame.opcode)) {
            tape_peer_fail(peer, 1008, "too many messages");
            return;
        }
        hear(peer, &frame, data + frame.header_bytes);
    }
}
