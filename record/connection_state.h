/* The inside of a connection, for connection*.c alone. */
#ifndef TAPE_RECORD_CONNECTION_STATE_H
#define TAPE_RECORD_CONNECTION_STATE_H

#include "format/handshake.h"
#include "record/connection.h"
#include "record/dial.h"
#include "record/outbox.h"
#include "record/stamp.h"

enum tape_connection_state {
    TAPE_CONNECTION_AT_DIAL,
    TAPE_CONNECTION_AT_TLS,
    TAPE_CONNECTION_AT_UPGRADE,
    TAPE_CONNECTION_AT_OPEN,
    TAPE_CONNECTION_AT_LEAVING, /* until deadline_ns */
    TAPE_CONNECTION_AT_LOST,    /* the socket is closed; what was received waits for the ring */
    TAPE_CONNECTION_AT_GONE,
};

/*
 * Invariants: fd is open from AT_TLS to AT_LEAVING, tls then exists for a secure URL; end.cause is
 * set when the state is AT_LEAVING or later; deadline_ns bounds the whole of AT_DIAL to AT_UPGRADE,
 * then AT_LEAVING, and AT_LOST when we are stopping (else 0: data waits for ever); stalled: the
 * inbox has a frame for which the ring had no room, and the socket is not read; deaf: a fault was
 * found and recorded, what still comes is dropped; bad_owed: a fault was found and the bytes wait
 * for the ring.
 */
struct tape_connection {
    struct tape_connection_setup *setup;
    const struct tape_plan_link *link;
    uint32_t number;
    enum tape_connection_state state;
    struct tape_connection_end end;

    struct tape_dial dial;
    int fd;
    uint32_t events; /* that the epoll watches for */
    struct tape_stamp stamp;
    struct tape_tls *tls;
    struct tape_inbox in;
    struct tape_outbox out;
    uint8_t *buffers; /* of stamp and out */
    char accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1];

    uint8_t stalled, more, deaf, bad_owed, blocked /* the outbox waits for the socket */;
    uint8_t unsendable; /* with write_errno: nothing can be sent any more */
    int write_errno;

    int64_t now_ns; /* of the call under way */
    int64_t deadline_ns, began_ns, step_began_ns, opened_ns;
    int64_t tls_ns, upgrade_ns; /* how long the steps took */
    int64_t heard_ns, pinged_ns;
    int asked;             /* streams subscribed so far */
    int64_t request_id;    /* of the last request */
    int64_t next_asked_ns; /* the venue limits requests */
};

#define TAPE_CONNECTION_SECOND_NS INT64_C(1000000000)

/* connection_events.c */
void tape_connection_write_request(struct tape_connection *c, const void *data, size_t bytes);
void tape_connection_write_response(struct tape_connection *c, size_t bytes);
void tape_connection_write_frames_out(struct tape_connection *c, const uint8_t *data, size_t bytes);
void tape_connection_write_open(struct tape_connection *c);
void tape_connection_write_close(struct tape_connection *c);
void tape_connection_write_asked(struct tape_connection *c, const char *const *streams, int count);

/* connection_talk.c: an open connection */

/* Reads once into the inbox: bytes, 0 for none now, or an enum tape_tls_end. */
int64_t tape_connection_read(struct tape_connection *c, struct tape_error *error);
/* Hears and records all there is (up to a fair share) and answers. */
void tape_connection_talk(struct tape_connection *c);
/* Sends what waits. */
void tape_connection_flush(struct tape_connection *c);
/* Pings, subscriptions, silence. */
void tape_connection_talk_tick(struct tape_connection *c);
/* Records what is left; 1 when all is, 0 when the ring is full. */
int tape_connection_settle(struct tape_connection *c);

/* connection.c */

/* The end: fills end unless a cause is there already, closes, records. ${error} is the innermost
 * part of the chain. */
void tape_connection_lose(struct tape_connection *c, enum tape_connection_cause cause,
                          int errno_value, const struct tape_error *error);
/* The same for an end that a read or write met. */
void tape_connection_lose_by(struct tape_connection *c, int tls_end, int errno_value,
                             const struct tape_error *error);
/* Sets the cause and gives the other side a second; nothing when there is a cause already. */
void tape_connection_begin_leaving(struct tape_connection *c, enum tape_connection_cause cause,
                                   int code, const struct tape_error *error);

#endif
