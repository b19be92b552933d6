/*
 * The network side of serving: listening, TLS, HTTP requests, WebSocket peers; one epoll loop, one
 * thread. Knows nothing of archives or venues.
 *
 * All that comes from a peer is bounded before it is kept. A peer holds at most 80 KiB of unread
 * input, 64 KiB of a message in fragments, 256 KiB that TLS made and the socket did not take, its
 * queue (below), OpenSSL's own 50 KiB, and 3 KiB beside. What it owes and does not do in time ends
 * it: a TLS handshake and a request's head and body 10 s; the next request, or taking some of an
 * answer, 30 s; the answer to a close frame, or taking some of what is queued before it, 5 s.
 */
#ifndef TAPE_REPLAY_SERVER_H
#define TAPE_REPLAY_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_server; /* opaque; one thread */
struct tape_peer;   /* a client's connection; dead once closed() was called for it */

/* A request whose head was read and found well-formed; all text borrowed until the callback
 * returns.
 */
struct tape_server_request {
    const char *method;     /* "GET" … */
    const char *path;       /* percent-decoded, valid UTF-8, no NUL, begins with '/' */
    const char *query;      /* after the '?', still encoded; "" when none */
    const char *host;       /* "" when none */
    const char *origin;     /* "" when none */
    int wants_websocket;    /* 1: a valid upgrade; accept or refuse it. One that is wrong gets 400,
                             * 405 or 426 and never comes here */
    struct tape_slice body; /* POST/PUT: all of it (capped) */
    const char *from_address; /* "127.0.0.1:51234" */
};

/* Called from tape_server_poll(), _finish() and _close() only, never from within a call that was
 * made by a handler. Handlers may make any call here but those three. */
struct tape_server_handler {
    void *context;
    /* a plain HTTP request, or an upgrade: answer it before returning, with tape_peer_respond() or
     * tape_peer_accept(); one that was not answered gets 404. HEAD comes as a GET; OPTIONS is
     * answered by the server itself */
    void (*request)(void *context, struct tape_peer *peer,
                    const struct tape_server_request *request);
    /* a whole text (opcode 1) or binary (2) message of an accepted peer, unmasked, UTF-8 checked;
     * pings and closes are answered by the server itself */
    void (*message)(void *context, struct tape_peer *peer, int opcode, const char *payload,
                    size_t bytes);
    /* an accepted peer is gone or was closed; code as received or sent, 1006 without a close frame,
     * 1005 with one that has no code. Called once for each; the peer's last bytes may still be on
     * their way */
    void (*closed)(void *context, struct tape_peer *peer, int code);
    /* a queue that had no room is down to half of queue_max_bytes; may be NULL */
    void (*drained)(void *context, struct tape_peer *peer);
};

struct tape_server_options {
    const char *listen;      /* "127.0.0.1:9080", "[::1]:0", "0.0.0.0:9080"; ":9080" and
                              * "localhost:9080" are both loopbacks, 127.0.0.1 and ::1 */
    const char *certificate; /* PEM files: TLS on every connection; both NULL: without */
    const char *key;
    int64_t ping_ns; /* 0: none; a peer that does not answer one for pong_ns is closed: 1008 */
    int64_t pong_ns; /* 0: as ping_ns */
    int peers_max;   /* 0: 1024; one more gets 503, and from the 65th above on nothing */
    size_t queue_max_bytes;  /* 0: 8 MiB: tape_peer_room() counts against it */
    int messages_per_second; /* 0: 50: a peer that sends more, control frames too, is closed: 1008;
                              * twenty fragments count as one */
    struct tape_server_handler handler;
};

/* tape_server_open(options, error): listens. NULL: the address is none or taken, a file is no
 * certificate or key. Makes the thread's timer slack 1 ns, lets the process open as many files as
 * the peers need where the system allows it, and keep up to 32 MiB of memory that is free. */
struct tape_server *tape_server_open(const struct tape_server_options *options,
                                     struct tape_error *error);
void tape_server_close(struct tape_server *server); /* at once; see tape_server_finish() */

/* tape_server_address(server): where it listens, "127.0.0.1:34567", whatever port was asked for. */
const char *tape_server_address(const struct tape_server *server);

/* tape_server_poll(server, until_ns, spin_ns, error): handles what is there; waits for more until
 * ${until_ns} (CLOCK_MONOTONIC; one in the past: does not wait), spinning for the last ${spin_ns}.
 * Returns as soon as a handler was called; a signal ends it early, too. 0 or a status (the server
 * itself cannot go on: peers never cause it). */
int tape_server_poll(struct tape_server *server, int64_t until_ns, int64_t spin_ns,
                     struct tape_error *error);

/* tape_server_flush(server): writes what the queues hold as far as the sockets take it, at most
 * 2 MiB of each: what is due together leaves together. Called by tape_server_poll(), too. */
void tape_server_flush(struct tape_server *server);

/* tape_server_finish(server, code, reason, until_ns): closes every peer with a close frame once its
 * queue is empty, takes no new ones, and returns when all are gone, at ${until_ns}, or when a
 * signal comes. */
void tape_server_finish(struct tape_server *server, int code, const char *reason, int64_t until_ns);

/* ---- peers ---- */

/* tape_peer_accept(peer, context): answers the upgrade with 101. tape_peer_respond(): one HTTP
 * response, then the connection goes on or ends as HTTP/1.1 has it. */
void tape_peer_accept(struct tape_peer *peer, void *context);
void *tape_peer_context(const struct tape_peer *peer); /* as accepted with */
void tape_peer_respond(struct tape_peer *peer, int status, const char *content_type,
                       const char *body, size_t bytes);

/* What is put to a peer that was not accepted, or was closed, is dropped. Where memory is short the
 * peer is lost: closed() with 1006. */

/* tape_peer_room(peer): how many bytes its queue takes before it counts as full; may be negative:
 * what is put is always taken. Whoever asks before putting stays bounded. */
int64_t tape_peer_room(const struct tape_peer *peer);
size_t tape_peer_queued_bytes(const struct tape_peer *peer);

/* tape_peer_put(peer, bytes, count): appends wire bytes (whole frames) to its queue: one copy.
 * tape_peer_put_text(): one text frame made of the payload. tape_peer_reserve(peer, bytes): room of
 * that many bytes at the queue's end to write into, or NULL; tape_peer_commit() says how many were,
 * before anything else is asked of the peer. */
void tape_peer_put(struct tape_peer *peer, const void *bytes, size_t count);
void tape_peer_put_text(struct tape_peer *peer, const char *payload, size_t bytes);
uint8_t *tape_peer_reserve(struct tape_peer *peer, size_t bytes);
void tape_peer_commit(struct tape_peer *peer, size_t bytes);

/* Whole frames for several peers at once: written once, sent from one place. Counted references;
 * immutable once it was put. Batches of 64 KiB are sent fastest. tape_peer_put_batch() holds a
 * reference, or copies the bytes of one that is less than a quarter full: memory stays within four
 * times what the queues count. Between batches, not inside one, pings are answered. */
struct tape_batch;
struct tape_batch *tape_batch_new(size_t room);
void tape_batch_release(struct tape_batch *batch);
uint8_t *tape_batch_reserve(struct tape_batch *batch, size_t bytes); /* NULL: full, make another */
void tape_batch_commit(struct tape_batch *batch, size_t bytes);
size_t tape_batch_bytes(const struct tape_batch *batch);
void tape_peer_put_batch(struct tape_peer *peer, struct tape_batch *batch);

/* tape_peer_close(peer, code, reason): a close frame behind what is queued, then an orderly end;
 * closed() is called when the peer has answered, or has not in time. Code 1005: an empty close
 * frame. Code 0, or any that may not stand in a close frame: the TCP connection is cut at once,
 * without one. A reason of more than 123 bytes is cut between characters. */
void tape_peer_close(struct tape_peer *peer, int code, const char *reason);

#ifdef __cplusplus
}
#endif
#endif
