#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "replay/server_state.h"

enum {
    VISIT_READS = 16, /* a visit's share, so that one peer's flood does not starve the others */
    IN_MIN_BYTES = 4 << 10,
};

/* Room for more behind what is unread: 0 when the peer's share of memory is full. */
static size_t make_room(struct tape_peer *peer)
{
    size_t held = peer->in_end - peer->in_start;
    if (peer->in_start > 0 && held > 0)
        memmove(peer->in, peer->in + peer->in_start, held);
    peer->in_start = 0;
    peer->in_end = held;
    if (peer->in_room - held < peer->in_room / 4 || peer->in_room == 0) {
        size_t room = peer->in_room ? peer->in_room * 2 : IN_MIN_BYTES;
        if (room > TAPE_PEER_INPUT_MAX_BYTES)
            room = TAPE_PEER_INPUT_MAX_BYTES;
        uint8_t *larger = room > peer->in_room ? realloc(peer->in, room) : NULL;
        if (larger) {
            peer->in = larger;
            peer->in_room = room;
        }
    }
    return peer->in_room - peer->in_end;
}

/* What a quiet peer holds is little. */
static void shrink(struct tape_peer *peer)
{
    if (peer->in_start != peer->in_end || peer->in_room <= IN_MIN_BYTES)
        return;
    free(peer->in);
    peer->in = NULL;
    peer->in_start = peer->in_end = peer->in_room = 0;
}

/* > 0: bytes; 0: nothing now, or the end (at_end). */
static size_t read_plain(struct tape_peer *peer, uint8_t *to, size_t room)
{
    ssize_t got;
    do
        got = recv(peer->fd, to, room, 0);
    while (got < 0 && errno == EINTR);
    if (got < (ssize_t)room) /* as epoll(7) has it: then it is drained, also of its end */
        peer->readable = got > 0 && peer->hung_up;
    if (got == 0)
        peer->at_end = 1;
    else if (got < 0 && errno != EAGAIN)
        tape_peer_lose(peer);
    return got > 0 ? (size_t)got : 0;
}

/* Why TLS ended, as far as the peer can be told. */
static void end_tls(struct tape_peer *peer, int end)
{
    static const char words[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                                "Content-Length: 51\r\nConnection: close\r\n\r\n"
                                "this port speaks TLS only: use https:// or wss://.\n";
    peer->readable = 0;
    tape_peer_send_sealed(peer); /* an alert */
    if (end == TAPE_TLS_CLOSED) {
        peer->at_end = 1;
        return;
    }
    if (end == TAPE_TLS_IS_HTTP && peer->state == TAPE_PEER_IN_TLS)
        send(peer->fd, words, sizeof words - 1, MSG_NOSIGNAL);
    tape_peer_lose(peer);
}

static size_t read_secure(struct tape_peer *peer, uint8_t *to, size_t room)
{
    int64_t got = tape_tls_read(peer->tls, to, room, &peer->server->sealed);
    if (got < 0) {
        end_tls(peer, (int)got);
        return 0;
    }
    tape_peer_send_sealed(peer);
    if (got == 0)
        peer->readable = !tape_tls_drained(peer->tls);
    return (size_t)got;
}

static void shake_hands(struct tape_peer *peer)
{
    int got = tape_tls_handshake(peer->tls, &peer->server->sealed);
    if (got < 0) {
        end_tls(peer, got);
        if (peer->at_end)
            tape_peer_lose(peer);
        return;
    }
    tape_peer_send_sealed(peer);
    if (got == 1 && peer->state == TAPE_PEER_IN_TLS)
        peer->state = TAPE_PEER_IN_HTTP;
    else
        peer->readable = !tape_tls_drained(peer->tls);
}

/* Thrown away, up to the peer's end. */
static void discard(struct tape_peer *peer)
{
    peer->in_start = peer->in_end = 0;
    for (int i = 0; i < VISIT_READS && peer->readable && !peer->at_end; i++)
        read_plain(peer, peer->server->stage, TAPE_SERVER_STAGE_BYTES);
    if (peer->at_end && peer->state == TAPE_PEER_LINGER)
        tape_peer_lose(peer);
}

static void understand(struct tape_peer *peer)
{
    if (peer->state == TAPE_PEER_IN_HTTP)
        tape_peer_read_requests(peer);
    if (peer->state == TAPE_PEER_OPEN || peer->state == TAPE_PEER_CLOSING)
        tape_peer_read_frames(peer);
}

int tape_peer_wants_more(const struct tape_peer *peer)
{
    switch (peer->state) {
    case TAPE_PEER_IN_HTTP: /* an answer that is not taken stops the questions */
        return !tape_peer_has_output(peer);
    case TAPE_PEER_OPEN:
        return peer->queued_bytes <= 2 * peer->server->options.queue_max_bytes;
    case TAPE_PEER_DEAD:
        return 0;
    default:
        return 1;
    }
}

void tape_peer_read(struct tape_peer *peer)
{
    if (peer->state == TAPE_PEER_IN_TLS && peer->readable)
        shake_hands(peer);
    if (peer->state == TAPE_PEER_LINGER || peer->state == TAPE_PEER_ENDING) {
        discard(peer);
        return;
    }
    understand(peer);
    if (peer->state == TAPE_PEER_DEAD)
        return;
    for (int i = 0; i < VISIT_READS; i++) {
        if (!peer->readable || peer->at_end || !tape_peer_wants_more(peer))
            break;
        size_t room = make_room(peer);
        if (room == 0) { /* memory is short: the parsers never ask for more than there may be */
            tape_peer_lose(peer);
            return;
        }
        uint8_t *to = peer->in + peer->in_end;
        size_t got = peer->tls ? read_secure(peer, to, room) : read_plain(peer, to, room);
        if (peer->state == TAPE_PEER_DEAD)
            return;
        if (got > 0 && peer->idle) {
            peer->idle = 0;
            tape_peer_set_deadline(peer, TAPE_PEER_HEAD_S);
        }
        peer->in_end += got;
        understand(peer);
        if (peer->state >= TAPE_PEER_ENDING)
            break;
    }
    shrink(peer);
    if (peer->at_end)
        tape_peer_meet_end(peer);
}
