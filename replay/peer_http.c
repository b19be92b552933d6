#include <stdio.h>
#include <string.h>
#include <time.h>

#include "replay/http.h"
#include "replay/http_answer.h"
#include "replay/server_state.h"
#include "replay/upgrade.h"

enum {
    VISIT_REQUESTS = 16, /* of one peer, before it is the others' turn */
    EARLY_BYTES = 64,    /* what is no HTTP at all shows here, before any end of a line */
};

/* ---- answering ---- */

static void answer(struct tape_peer *peer, int status, const char *content_type, const void *body,
                   size_t bytes)
{
    char head[TAPE_HTTP_ANSWER_MAX_BYTES];
    const struct tape_http_answer fields = {
        .status = status,
        .content_type = content_type,
        .body_bytes = bytes,
        .keep_alive = peer->keep_alive,
        .unix_s = time(NULL),
    };
    peer->answered = 1;
    tape_peer_append(peer, head, tape_http_answer_head(head, &fields));
    if (!peer->head_only)
        tape_peer_append(peer, body, bytes);
    if (!peer->keep_alive)
        tape_peer_begin_ending(peer, 0);
}

static void answer_words(struct tape_peer *peer, int status, const char *words)
{
    char line[256];
    int bytes = snprintf(line, sizeof line, "%s\n", words);
    answer(peer, status, "text/plain; charset=utf-8", line, (size_t)bytes);
}

void tape_peer_respond_words(struct tape_peer *peer, int status, const char *words)
{
    peer->keep_alive = peer->head_only = 0;
    answer_words(peer, status, words);
}

void tape_peer_respond(struct tape_peer *peer, int status, const char *content_type,
                       const char *body, size_t bytes)
{
    if (peer->in_request && !peer->answered)
        answer(peer, status, content_type, body, bytes);
}

void tape_peer_accept(struct tape_peer *peer, void *context)
{
    char head[256];
    if (!peer->in_request || peer->answered || peer->accept[0] == '\0')
        return;
    int bytes = snprintf(head, sizeof head,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                         peer->accept);
    tape_peer_append(peer, head, (size_t)bytes);
    peer->answered = 1;
    if (peer->state != TAPE_PEER_IN_HTTP)
        return; /* memory was short */
    peer->state = TAPE_PEER_OPEN;
    peer->mid_piece = 1; /* no pong before it */
    peer->accepted = 1;
    peer->context = context;
    peer->close_code = 1006;
    peer->receiver =
        (struct tape_ws_receiver){.message_limit = TAPE_PEER_MESSAGE_MAX_BYTES, .expect_masked = 1};
    tape_peer_set_deadline(peer, 0);
    tape_peer_plan_ping(peer);
}

/* ---- asking ---- */

static void put_text(char *to, size_t room, struct tape_slice text)
{
    size_t bytes = text.bytes < room - 1 ? text.bytes : room - 1;
    if (bytes > 0)
        memcpy(to, text.data, bytes);
    to[bytes] = '\0';
}

/* Hands a request on. Its texts are copied so that they end in a NUL. */
static void ask(struct tape_peer *peer, const struct tape_http_head *head, int websocket,
                struct tape_slice body)
{
    enum { NAME_BYTES = 1024 };
    char *path = peer->server->texts, *query = path + TAPE_HTTP_TARGET_MAX_BYTES + 1;
    char *host = query + TAPE_HTTP_TARGET_MAX_BYTES + 1, *origin = host + NAME_BYTES;
    char method[TAPE_HTTP_METHOD_MAX_BYTES + 1];
    _Static_assert(2 * (TAPE_HTTP_TARGET_MAX_BYTES + 1 + NAME_BYTES) <= TAPE_SERVER_TEXTS_BYTES,
                   "there is room for all texts");
    const struct tape_server_handler *handler = &peer->server->options.handler;
    int fault = tape_http_decode_path(head->path, path, TAPE_HTTP_TARGET_MAX_BYTES + 1);
    if (fault < 0) {
        answer_words(peer, tape_http_fault_status(-fault), tape_http_fault_words(-fault));
        return;
    }
    put_text(method, sizeof method, head->method);
    put_text(query, TAPE_HTTP_TARGET_MAX_BYTES + 1, head->query);
    put_text(host, NAME_BYTES, head->host);
    put_text(origin, NAME_BYTES, tape_http_find(head, "Origin", NULL));
    const struct tape_server_request request = {
        .method = peer->head_only ? "GET" : method,
        .path = path,
        .query = query,
        .host = host,
        .origin = origin,
        .wants_websocket = websocket,
        .body = body,
        .from_address = peer->from,
    };
    peer->in_request = 1;
    peer->server->handled++;
    handler->request(handler->context, peer, &request);
    peer->in_request = 0;
}

/* The request is whole. */
static void take_request(struct tape_peer *peer, const struct tape_http_head *head,
                         struct tape_slice body)
{
    int websocket = tape_upgrade_check(head);
    peer->keep_alive = (uint8_t)head->keep_alive;
    peer->head_only = (uint8_t)tape_http_is(head->method, "HEAD");
    peer->answered = peer->continued = 0;
    peer->accept[0] = '\0';
    if (peer->refused || peer->server->finishing) {
        tape_peer_respond_words(peer, 503, peer->refused ? "too many connections" : "closing");
        return;
    }
    if (websocket < 0) {
        tape_peer_respond_words(peer, tape_upgrade_fault_status(-websocket),
                                tape_upgrade_fault_words(-websocket));
        return;
    }
    if (websocket)
        tape_upgrade_accept(head, peer->accept);
    if (tape_http_is(head->method, "OPTIONS"))
        answer(peer, 204, NULL, NULL, 0);
    else
        ask(peer, head, websocket, body);
    if (!peer->answered && peer->state == TAPE_PEER_IN_HTTP)
        answer_words(peer, 404, "nothing is there");
    if (peer->state == TAPE_PEER_IN_HTTP) {
        peer->idle = 1;
        tape_peer_set_deadline(peer, TAPE_PEER_IDLE_S);
    }
}

/* A head can only have become whole, or wrong, by the end of a line: a peer that sends byte by byte
 * is not read from the start each time. */
static int may_be_whole(struct tape_peer *peer)
{
    const uint8_t *data = peer->in + peer->in_start;
    size_t bytes = peer->in_end - peer->in_start, looked = peer->looked_bytes;
    peer->looked_bytes = bytes;
    if (bytes <= EARLY_BYTES || bytes >= TAPE_HTTP_HEAD_MAX_BYTES)
        return 1;
    return bytes > looked && memchr(data + looked, '\n', bytes - looked) != NULL;
}

/* 1 when a request was taken and the next may be looked at. */
static int read_request(struct tape_peer *peer)
{
    struct tape_http_head head;
    const char *data = (const char *)peer->in + peer->in_start;
    size_t bytes = peer->in_end - peer->in_start;
    if (bytes == 0 || bytes < peer->needed_bytes || (!peer->needed_bytes && !may_be_whole(peer)))
        return 0;
    int used = tape_http_parse(data, bytes, &head);
    if (used < 0) {
        tape_peer_respond_words(peer, tape_http_fault_status(-used), tape_http_fault_words(-used));
        return 0;
    }
    if (used == 0)
        return 0;
    peer->needed_bytes = (size_t)used + head.body_bytes;
    if (bytes < peer->needed_bytes) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (head.expects_continue && !peer->continued && bytes == (size_t)used)
            tape_peer_append(peer, go_on, sizeof go_on - 1);
        peer->continued = 1;
        return 0;
    }
    peer->in_start += peer->needed_bytes;
    peer->needed_bytes = peer->looked_bytes = 0;
    take_request(peer, &head, (struct tape_slice){data + used, head.body_bytes});
    return peer->state == TAPE_PEER_IN_HTTP;
}

void tape_peer_read_requests(struct tape_peer *peer)
{
    for (int i = 0; i < VISIT_REQUESTS; i++) {
        if (tape_peer_has_output(peer) || !read_request(peer))
            return;
        tape_peer_send(peer);
    }
    tape_server_visit_later(peer->server, peer);
}
