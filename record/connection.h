/* One connection from dial to end: everything it does becomes records. */
#ifndef TAPE_RECORD_CONNECTION_H
#define TAPE_RECORD_CONNECTION_H

#include <stdint.h>

#include "format/error.h"
#include "format/venue.h"
#include "record/inbox.h"
#include "record/plan.h"
#include "record/resolve.h"
#include "record/store.h"
#include "record/tls.h"

/* What all connections of a recorder share. Times in ns. */
struct tape_connection_setup {
    struct tape_store *store;
    const struct tape_venue *venue; /* NULL when nothing is subscribed */
    struct tape_tls_context *tls;
    struct tape_resolver *resolver;
    int epoll_fd;
    uint32_t session;
    struct tape_venue_limits limits;
    int64_t handshake_ns, silent_peer_ns;
    uint64_t message_limit; /* bytes */
    struct tape_inbox_budget budget;
};

/* Why a connection ended and who ended it: TAPE_CONNECTION_CAUSE(name, word, by) */
#define TAPE_CONNECTION_CAUSE_TABLE(X)                                                             \
    X(NONE, "", "")                                                                                \
    X(PEER_CLOSE, "peer_close", "venue")                                                           \
    X(PEER_EOF, "peer_eof", "venue")                                                               \
    X(TLS_TRUNCATED, "tls_truncated", "network")                                                   \
    X(RESET, "reset", "network")                                                                   \
    X(TIMEOUT, "timeout", "network")                                                               \
    X(SILENT_PEER, "silent_peer", "us")                                                            \
    X(PROTOCOL, "protocol", "us")                                                                  \
    X(REFUSED, "refused", "venue")                                                                 \
    X(RESOLVE, "resolve", "network")                                                               \
    X(CONNECT, "connect", "network")                                                               \
    X(TLS, "tls", "us")                                                                            \
    X(CERTIFICATE, "certificate", "us")                                                            \
    X(HTTP, "http", "venue")                                                                       \
    X(SHUTDOWN, "shutdown", "us")                                                                  \
    X(RENEWAL, "renewal", "us")                                                                    \
    X(LIMIT, "limit", "us")

enum tape_connection_cause {
#define TAPE_CONNECTION_CAUSE_ENUM(name, word, by) TAPE_CONNECTION_##name,
    TAPE_CONNECTION_CAUSE_TABLE(TAPE_CONNECTION_CAUSE_ENUM)
#undef TAPE_CONNECTION_CAUSE_ENUM
};

struct tape_connection_end {
    enum tape_connection_cause cause;
    int opened;              /* it got as far as delivering */
    int hopeless;            /* no redial mends this, unless the other side changes */
    int code;                /* close code, HTTP status with HTTP, or 0 */
    int errno_value;         /* or 0 */
    int64_t retry_after_ns;  /* the server asked for so much patience, or 0 */
    char reason[124];        /* of the close frame */
    struct tape_error error; /* "connect wss://…: certificate: hostname mismatch" */
};

/* Opaque. All calls on one thread; times are monotonic ns. */
struct tape_connection;

/* tape_connection_new(setup, link, now_ns, error): begins to dial, under a new connection number.
 * setup and link must outlive it. NULL when memory is out. */
struct tape_connection *tape_connection_new(struct tape_connection_setup *setup,
                                            const struct tape_plan_link *link, int64_t now_ns,
                                            struct tape_error *error);
void tape_connection_free(struct tape_connection *connection);

/* tape_connection_ready(connection, now_ns): does all that can be done now. The epoll's events
 * carry the connection as data.ptr. */
void tape_connection_ready(struct tape_connection *connection, int64_t now_ns);

/* tape_connection_tick(connection, now_ns): timers; to be called each 50 ms or so. */
void tape_connection_tick(struct tape_connection *connection, int64_t now_ns);

/* tape_connection_leave(connection, cause, now_ns): a close frame (1000) and at most one second for
 * its answer; an attempt ends at once. Does nothing when it is leaving already. */
void tape_connection_leave(struct tape_connection *connection, enum tape_connection_cause cause,
                           int64_t now_ns);

enum tape_connection_phase {
    TAPE_CONNECTION_DIALLING, /* up to the good answer to the upgrade */
    TAPE_CONNECTION_OPEN,
    TAPE_CONNECTION_LEAVING, /* open still, for its last words */
    TAPE_CONNECTION_GONE,    /* all is recorded; to be freed */
};
enum tape_connection_phase tape_connection_phase(const struct tape_connection *connection);

/* What tape_connection_ready() left undone, to be called again for: at once, or in a millisecond
 * because the ring is full. */
enum tape_connection_want { TAPE_CONNECTION_NOTHING, TAPE_CONNECTION_MORE, TAPE_CONNECTION_ROOM };
enum tape_connection_want tape_connection_wants(const struct tape_connection *connection);

/* tape_connection_delivered(connection): data frames so far, the answers to our requests left out.
 */
uint64_t tape_connection_delivered(const struct tape_connection *connection);
/* tape_connection_opened_ns(connection): when it opened, monotonic, or 0. */
int64_t tape_connection_opened_ns(const struct tape_connection *connection);
/* Why it ended; valid once it is leaving or gone. */
const struct tape_connection_end *tape_connection_end(const struct tape_connection *connection);

#endif
