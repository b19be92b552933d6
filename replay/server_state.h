/* What the files of the server share: its state and its peers'. Private to server*.c, peer*.c. */
#ifndef TAPE_REPLAY_SERVER_STATE_H
#define TAPE_REPLAY_SERVER_STATE_H

#include "format/growing.h"
#include "format/ws.h"
#include "replay/server.h"
#include "replay/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TAPE_SERVER_SECOND_NS 1000000000ll

enum {
    TAPE_SERVER_LISTENERS_MAX = 2,
    TAPE_SERVER_REFUSED_MAX = 64, /* peers above the limit that are being told 503 */
    TAPE_PEER_MESSAGE_MAX_BYTES = 64 << 10,
    TAPE_PEER_INPUT_MAX_BYTES = 80 << 10, /* a head and its body; a frame is smaller */
    TAPE_PEER_CONTROL_BYTES = 1536,       /* ten pongs of full length and more */
    TAPE_PEER_FROM_BYTES = 64,
    TAPE_PEER_HEAD_S = 10, /* a TLS handshake and a request's head, or a later request */
    TAPE_PEER_IDLE_S = 30, /* between two requests */
    TAPE_PEER_CLOSE_BYTES = 256 << 10, /* of a queue, that leave yet when the peer closes */
    TAPE_PEER_CLOSE_S = 5, /* for the answer to a close frame, and for some more bytes to leave */
};

/* Shared frames; see server.h. */
struct tape_batch {
    int references;
    size_t room, used;
    uint8_t bytes[];
};

/* A part of a queue: bytes [start, end) of a batch. */
struct tape_peer_piece {
    struct tape_batch *batch;
    size_t start, end;
};

enum tape_peer_state {
    TAPE_PEER_IN_TLS,  /* its handshake */
    TAPE_PEER_IN_HTTP, /* requests */
    TAPE_PEER_OPEN,    /* accepted */
    TAPE_PEER_CLOSING, /* our close frame is queued or sent, the peer's is awaited */
    TAPE_PEER_ENDING,  /* what is queued is the last; nothing more is read */
    TAPE_PEER_LINGER,  /* our end is shut: what still comes is thrown away up to the peer's end */
    TAPE_PEER_DEAD,    /* to be freed at the next visit */
};

/*
 * Invariants: freed by the server between visits only, so that no callback ever pulls a peer away
 * from under its caller; a dead one is always on the work list; on the server's work list (in_work)
 * whenever there is something to read or to write that the socket is known to have or to take.
 * in[in_start, in_end) is unread: in TAPE_PEER_OPEN it begins at a frame's first byte. queued_bytes
 * is the sum of the pieces. At most one of these is partly sent: the first piece (mid_piece; also
 * while it begins with the answer to an upgrade), the control frames. Only the last piece may be
 * private, that is open to more bytes. sealed is what TLS made that the socket did not take;
 * nothing is sealed while there is some.
 */
struct tape_peer {
    struct tape_server *server;
    struct tape_peer *next_work;
    int index, fd;
    uint8_t state; /* enum tape_peer_state */
    uint8_t in_work, readable, writable, refused;
    uint8_t hung_up, at_end; /* the end is near: epoll saw it; it was read */
    uint8_t accepted, told;  /* closed() is owed, was called */
    uint8_t was_full;        /* drained() is owed */
    uint8_t in_request, answered, keep_alive, head_only, continued;
    uint8_t idle;         /* between two requests */
    uint8_t last_private; /* the last piece is */
    uint8_t mid_piece;
    uint8_t advanced; /* some of what is queued left since the deadline was set */
    int close_code;   /* what closed() will be told */
    struct tape_tls *tls;

    uint8_t *in;
    size_t in_start, in_end, in_room;
    size_t needed_bytes; /* of a request whose head is known */
    size_t looked_bytes; /* of one whose head is not */
    struct tape_ws_receiver receiver;
    uint8_t *message; /* of fragments; NULL between messages */
    size_t message_bytes;
    uint8_t message_opcode;

    struct tape_peer_piece *pieces; /* a ring: pieces_room is a power of two */
    unsigned pieces_first, pieces_count, pieces_room;
    size_t queued_bytes;
    uint8_t *sealed;
    size_t sealed_start, sealed_end;
    uint8_t control[TAPE_PEER_CONTROL_BYTES];
    uint16_t control_start, control_end;
    uint8_t pong[TAPE_WS_CONTROL_MAX_BYTES + 2]; /* the latest that found no room above */
    uint8_t pong_bytes;

    int64_t deadline_ns; /* of the state; 0: none */
    int64_t ping_next_ns, pong_by_ns;
    char ping[24]; /* payload of the one that is not answered yet */
    int64_t rate_ns;
    int rate_messages, rate_fragments;
    void *context;
    char accept[32]; /* Sec-WebSocket-Accept of the upgrade that is being asked about */
    char from[TAPE_PEER_FROM_BYTES];
};

/* Invariants: peers[i]->index == i; next_ns is never later than the earliest deadline of a peer. */
struct tape_server {
    struct tape_server_options options; /* with its defaults; the texts are not looked at again */
    int epoll, timer;                   /* timer: -1 unless the kernel has no epoll_pwait2 */
    int listeners[TAPE_SERVER_LISTENERS_MAX], listeners_count;
    int listening;           /* they are in the epoll set */
    int64_t listen_again_ns; /* when they shall be */
    char address[TAPE_PEER_FROM_BYTES];
    struct tape_tls_context *tls;
    struct tape_growing sealed; /* what TLS made in the current call */
    uint8_t *stage;             /* small pieces on their way to one record; discarded input */
    char *texts;                /* of the request that is being asked about */
    struct tape_peer **peers;
    int peers_count, peers_room, refused_count;
    struct tape_peer *work, **work_end;
    int64_t now_ns, next_ns;
    int handled;   /* callbacks since tape_server_poll() began */
    int finishing; /* takes no new peers */
};

enum { TAPE_SERVER_STAGE_BYTES = 64 << 10, TAPE_SERVER_TEXTS_BYTES = 20 << 10 };

/* ---- server.c ---- */

/* tape_server_visit_later(server, peer): puts it on the work list. */
void tape_server_visit_later(struct tape_server *server, struct tape_peer *peer);

/* ---- server_listen.c ---- */

/* tape_server_listen(server, error): on the options' address. 0 or a status. */
int tape_server_listen(struct tape_server *server, struct tape_error *error);

/* tape_server_take(server): the connections that wait, a visit's share of them. */
void tape_server_take(struct tape_server *server);

/* tape_server_stop_listening(server): closes the listeners. */
void tape_server_stop_listening(struct tape_server *server);

/* ---- peer.c ---- */

/* tape_peer_new(server, fd, from, refused): NULL without memory; fd is then closed. */
struct tape_peer *tape_peer_new(struct tape_server *server, int fd, const char *from, int refused);

/* tape_peer_free(peer): at once; closed() is not called. */
void tape_peer_free(struct tape_peer *peer);

/* tape_peer_visit(peer): reads, answers, writes, ends, as far as it goes; calls back. */
void tape_peer_visit(struct tape_peer *peer);

/* tape_peer_tell(peer): calls closed() or drained() where it is owed. */
void tape_peer_tell(struct tape_peer *peer);

/* tape_peer_tick(peer): does what its deadlines ask for. Returns the next one. */
int64_t tape_peer_tick(struct tape_peer *peer);

/* tape_peer_set_deadline(peer, seconds): from now; 0: none. */
void tape_peer_set_deadline(struct tape_peer *peer, int seconds);

/* tape_peer_meet_end(peer): its end was read. */
void tape_peer_meet_end(struct tape_peer *peer);

/* tape_peer_lose(peer): the connection is gone or worth nothing. */
void tape_peer_lose(struct tape_peer *peer);

/* tape_peer_begin_ending(peer, code): what is queued goes out yet; closed() is told ${code}. */
void tape_peer_begin_ending(struct tape_peer *peer, int code);

/* tape_peer_fail(peer, code, reason): a close frame for what the peer did, and the end. */
void tape_peer_fail(struct tape_peer *peer, int code, const char *reason);

/* tape_peer_queue_close(peer, code, reason): the frame behind what is queued; code 1005: an empty
 * one. */
void tape_peer_queue_close(struct tape_peer *peer, int code, const char *reason);

/* ---- peer_read.c ---- */

/* tape_peer_read(peer): reads what is there, up to a visit's share, and has it understood. */
void tape_peer_read(struct tape_peer *peer);

/* tape_peer_wants_more(peer): 1 when a visit would read what is there. */
int tape_peer_wants_more(const struct tape_peer *peer);

/* ---- peer_http.c ---- */

/* tape_peer_read_requests(peer): what was read, request by request, as long as the answers leave.
 */
void tape_peer_read_requests(struct tape_peer *peer);

/* tape_peer_respond_words(peer, status, words): one line of text, and the end of the connection. */
void tape_peer_respond_words(struct tape_peer *peer, int status, const char *words);

/* ---- peer_frames.c ---- */

void tape_peer_read_frames(struct tape_peer *peer);

/* tape_peer_plan_ping(peer): the next one, where clients are pinged. tape_peer_send_ping(): one
 * that must be answered. */
void tape_peer_plan_ping(struct tape_peer *peer);
void tape_peer_send_ping(struct tape_peer *peer);

/* ---- peer_queue.c ---- */

/* tape_peer_append(peer, bytes, count): to the queue, in any state. */
void tape_peer_append(struct tape_peer *peer, const void *bytes, size_t count);

/* tape_peer_append_control(peer, opcode, payload, bytes): a frame to go before the pieces. Returns
 * 0 when there is no room. */
int tape_peer_append_control(struct tape_peer *peer, int opcode, const void *payload, size_t bytes);

/* tape_peer_advance(peer, bytes): so many left, in the order of tape_peer_gather(). */
void tape_peer_advance(struct tape_peer *peer, size_t bytes);

/* tape_peer_gather(peer, parts, room): what is to leave next, in order, at most ${room} parts.
 * Returns how many. */
struct tape_peer_part {
    const uint8_t *bytes;
    size_t count;
};
int tape_peer_gather(const struct tape_peer *peer, struct tape_peer_part *parts, int room);

/* tape_peer_trim(peer, bytes): forgets what is queued beyond that, whole pieces that are not begun.
 */
void tape_peer_trim(struct tape_peer *peer, size_t bytes);

static inline int tape_peer_has_output(const struct tape_peer *peer)
{
    return peer->queued_bytes > 0 || peer->control_end > peer->control_start ||
           peer->sealed_end > peer->sealed_start;
}

/* ---- peer_send.c ---- */

/* tape_peer_send(peer): as much as the socket takes, up to a visit's share. */
void tape_peer_send(struct tape_peer *peer);

/* tape_peer_send_sealed(peer): what TLS made in server->sealed. */
void tape_peer_send_sealed(struct tape_peer *peer);

#ifdef __cplusplus
}
#endif
#endif
