#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/utf8.h"
#include "replay/server_state.h"

/* ---- birth and death ---- */

static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1}, /* a peer that is gone without a word */
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},
        {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* The slot in the server's table. */
static int enter(struct tape_peer *peer)
{
    struct tape_server *server = peer->server;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = peer};
    if (server->peers_count == server->peers_room)
        return 0;
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, peer->fd, &event) != 0)
        return 0;
    peer->index = server->peers_count;
    server->peers[server->peers_count++] = peer;
    server->refused_count += peer->refused;
    return 1;
}

struct tape_peer *tape_peer_new(struct tape_server *server, int fd, const char *from, int refused)
{
    struct tape_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        close(fd);
        return NULL;
    }
    peer->server = server;
    peer->fd = fd;
    peer->refused = (uint8_t)refused;
    peer->writable = 1;
    peer->state = server->tls ? TAPE_PEER_IN_TLS : TAPE_PEER_IN_HTTP;
    snprintf(peer->from, sizeof peer->from, "%s", from);
    set_options(fd);
    if (server->tls)
        peer->tls = tape_tls_new(server->tls, fd);
    if ((server->tls && peer->tls == NULL) || !enter(peer)) {
        tape_tls_free(peer->tls);
        close(fd);
        free(peer);
        return NULL;
    }
    tape_peer_set_deadline(peer, TAPE_PEER_HEAD_S);
    return peer;
}

void tape_peer_free(struct tape_peer *peer)
{
    struct tape_server *server = peer->server;
    struct tape_peer *last = server->peers[--server->peers_count];
    server->peers[peer->index] = last;
    last->index = peer->index;
    server->refused_count -= peer->refused;
    tape_peer_trim(peer, 0);
    peer->mid_piece = 0;
    tape_peer_trim(peer, 0);
    tape_tls_free(peer->tls);
    close(peer->fd);
    free(peer->in);
    free(peer->message);
    free(peer->pieces);
    free(peer->sealed);
    free(peer);
}

/* ---- ends ---- */

void tape_peer_set_deadline(struct tape_peer *peer, int seconds)
{
    struct tape_server *server = peer->server;
    peer->advanced = 0;
    peer->deadline_ns = seconds ? server->now_ns + seconds * TAPE_SERVER_SECOND_NS : 0;
    if (seconds && peer->deadline_ns < server->next_ns)
        server->next_ns = peer->deadline_ns;
}

void tape_peer_lose(struct tape_peer *peer)
{
    if (peer->state == TAPE_PEER_CLOSING && peer->queued_bytes > 0)
        peer->close_code = 1006; /* our close frame never left */
    peer->state = TAPE_PEER_DEAD;
    tape_server_visit_later(peer->server, peer);
}

void tape_peer_begin_ending(struct tape_peer *peer, int code)
{
    if (peer->state == TAPE_PEER_DEAD)
        return;
    peer->close_code = code;
    peer->state = TAPE_PEER_ENDING;
    peer->ping_next_ns = peer->pong_by_ns = 0;
    tape_peer_set_deadline(peer, TAPE_PEER_CLOSE_S);
    tape_server_visit_later(peer->server, peer);
}

void tape_peer_meet_end(struct tape_peer *peer)
{
    if (peer->state == TAPE_PEER_IN_HTTP) {
        /* the questions that wait are still answered */
        if (!tape_peer_has_output(peer) && !peer->in_work)
            tape_peer_begin_ending(peer, 0);
    } else if (peer->state != TAPE_PEER_ENDING) {
        tape_peer_lose(peer);
    }
}

/* Bytes of the reason that fit, cut between characters. */
static size_t reason_bytes(const char *reason)
{
    size_t bytes = strnlen(reason, TAPE_WS_CONTROL_MAX_BYTES - 1);
    if (bytes <= TAPE_WS_CONTROL_MAX_BYTES - 2)
        return bytes;
    bytes = TAPE_WS_CONTROL_MAX_BYTES - 2;
    while (bytes > 0 && ((uint8_t)reason[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

void tape_peer_queue_close(struct tape_peer *peer, int code, const char *reason)
{
    uint8_t frame[TAPE_WS_HEADER_MAX_BYTES + TAPE_WS_CONTROL_MAX_BYTES];
    size_t bytes = code == 1005 ? 0 : 2 + reason_bytes(reason);
    size_t header = tape_ws_build(frame, TAPE_WS_CLOSE, 1, bytes, NULL);
    if (bytes > 0) {
        frame[header] = (uint8_t)(code >> 8);
        frame[header + 1] = (uint8_t)code;
        memcpy(frame + header + 2, reason, bytes - 2);
    }
    /* Nothing may follow a close frame. Control frames that wait go out where a piece ends: that
     * must not be the piece which the close frame is in. */
    if (peer->mid_piece && peer->pieces_count == 1)
        peer->last_private = 0;
    peer->pong_bytes = 0;
    tape_peer_append(peer, frame, header + bytes);
}

void tape_peer_fail(struct tape_peer *peer, int code, const char *reason)
{
    if (peer->state == TAPE_PEER_OPEN) {
        tape_peer_trim(peer, TAPE_PEER_CLOSE_BYTES);
        tape_peer_queue_close(peer, code, reason);
    } else {
        code = peer->close_code;
    }
    tape_peer_begin_ending(peer, code);
}

void tape_peer_close(struct tape_peer *peer, int code, const char *reason)
{
    if (code != 1005 && !tape_ws_close_code_valid((unsigned)code)) {
        tape_peer_lose(peer);
        return;
    }
    if (peer->state == TAPE_PEER_IN_HTTP && !peer->in_request)
        tape_peer_begin_ending(peer, 0);
    if (peer->state != TAPE_PEER_OPEN)
        return;
    tape_peer_queue_close(peer, code, reason);
    if (peer->state != TAPE_PEER_OPEN)
        return; /* memory was short */
    peer->close_code = code;
    peer->state = TAPE_PEER_CLOSING;
    peer->ping_next_ns = peer->pong_by_ns = 0;
    tape_peer_set_deadline(peer, TAPE_PEER_CLOSE_S);
}

void *tape_peer_context(const struct tape_peer *peer)
{
    return peer->context;
}

/* Our end of the connection is shut; what the peer still sends is read away, or else it would be
 * answered with a reset that may overtake our last bytes. */
static void shut(struct tape_peer *peer)
{
    if (peer->tls) {
        tape_tls_finish(peer->tls, &peer->server->sealed);
        tape_peer_send_sealed(peer);
    }
    if (peer->state == TAPE_PEER_DEAD)
        return;
    peer->state = TAPE_PEER_LINGER;
    tape_peer_set_deadline(peer, TAPE_PEER_CLOSE_S);
    shutdown(peer->fd, SHUT_WR);
    tape_peer_read(peer);
}

/* ---- visits ---- */

void tape_peer_tell(struct tape_peer *peer)
{
    const struct tape_server_handler *handler = &peer->server->options.handler;
    int open = peer->state == TAPE_PEER_OPEN || peer->state == TAPE_PEER_CLOSING;
    if (!peer->accepted || peer->told)
        return;
    if (!open) {
        peer->told = 1;
        peer->server->handled++;
        handler->closed(handler->context, peer, peer->close_code);
    } else if (peer->state == TAPE_PEER_OPEN && peer->was_full &&
               peer->queued_bytes <= peer->server->options.queue_max_bytes / 2) {
        peer->was_full = 0;
        peer->server->handled++;
        if (handler->drained)
            handler->drained(handler->context, peer);
    }
}

void tape_peer_visit(struct tape_peer *peer)
{
    if (peer->state != TAPE_PEER_DEAD)
        tape_peer_read(peer);
    size_t before = peer->queued_bytes;
    tape_peer_send(peer);
    if (peer->state == TAPE_PEER_ENDING && !tape_peer_has_output(peer))
        shut(peer);
    tape_peer_tell(peer);
    int questions = peer->state == TAPE_PEER_IN_HTTP && !tape_peer_has_output(peer) &&
                    (peer->at_end || peer->in_start < peer->in_end);
    if (peer->state == TAPE_PEER_DEAD || (questions && before > 0) ||
        (peer->readable && tape_peer_wants_more(peer)) ||
        (peer->writable && tape_peer_has_output(peer)))
        tape_server_visit_later(peer->server, peer);
}

/* ---- deadlines ---- */

static void miss_deadline(struct tape_peer *peer)
{
    peer->deadline_ns = 0;
    int asking = peer->state == TAPE_PEER_IN_HTTP;
    if (peer->advanced && (!asking || tape_peer_has_output(peer))) { /* taken, however slowly */
        tape_peer_set_deadline(peer, asking ? TAPE_PEER_IDLE_S : TAPE_PEER_CLOSE_S);
        return;
    }
    if (asking && peer->in_start < peer->in_end && !tape_peer_has_output(peer))
        tape_peer_respond_words(peer, 408, "the request did not arrive in time");
    else
        tape_peer_lose(peer);
}

int64_t tape_peer_tick(struct tape_peer *peer)
{
    int64_t now_ns = peer->server->now_ns, next_ns = INT64_MAX;
    if (peer->deadline_ns && now_ns >= peer->deadline_ns)
        miss_deadline(peer);
    if (peer->pong_by_ns && now_ns >= peer->pong_by_ns)
        tape_peer_fail(peer, 1008, "no pong");
    if (peer->ping_next_ns && now_ns >= peer->ping_next_ns)
        tape_peer_send_ping(peer);
    const int64_t deadlines[] = {peer->deadline_ns, peer->pong_by_ns, peer->ping_next_ns};
    for (size_t i = 0; i < sizeof deadlines / sizeof deadlines[0]; i++)
        if (deadlines[i] && deadlines[i] < next_ns)
            next_ns = deadlines[i];
    return next_ns;
}
