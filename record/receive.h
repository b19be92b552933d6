/* The receive thread: one epoll loop for all connections. */
#ifndef TAPE_RECORD_RECEIVE_H
#define TAPE_RECORD_RECEIVE_H

#include <stdint.h>

#include "format/error.h"
#include "format/venue.h"
#include "record/store.h"

struct tape_receive_options {
    const struct tape_venue *venue;
    const char *url;     /* NULL: the venue's own; else scheme://host[:port][/path] for every
                            connection; with no path, the route's own path is used */
    const char *ca_file; /* NULL: the system's; else these authorities alone */
    const char *const *streams;
    int streams_count;    /* 0 is allowed with url: nothing is subscribed, everything is recorded */
    int connections;      /* copies of each planned connection, for load tests; 0: 1 */
    int busy_poll;        /* spin instead of sleeping */
    int64_t handshake_ns; /* deadline over resolve + connect + TLS + upgrade; 0: 10 s */
    int64_t silent_peer_ns; /* a peer that says nothing and answers no ping; 0: 15 s */
    int64_t backoff_min_ns, backoff_max_ns; /* 0: 0.25 s and 60 s */
    uint64_t message_limit_bytes;           /* 0: 16 MiB */
    uint64_t stop_after_frames; /* text and binary frames and fragments, answers to our requests
                                   included, of all connections together; 0: no limit */
};

struct tape_receive; /* opaque */

/* tape_receive_plan(options, error): checks everything that can be checked before the archive is
 * touched (stream names, routes, URL, CA file) and plans the connections. NULL with TAPE_USAGE or
 * TAPE_FAILED. */
struct tape_receive *tape_receive_plan(const struct tape_receive_options *options,
                                       struct tape_error *error);

/* tape_receive_start(receive, store, error): starts the thread. */
int tape_receive_start(struct tape_receive *receive, struct tape_store *store,
                       struct tape_error *error);

/* tape_receive_stop(receive): says goodbye (close frame, at most one second), writes the close
 * records, joins the thread. tape_receive_free(receive) after that. */
void tape_receive_stop(struct tape_receive *receive);
void tape_receive_free(struct tape_receive *receive);

/* tape_receive_done(receive): 1 when it stopped by itself: stop_after_frames, or, before any
 * connection of the session opened, a failure that no redial can mend, told in error: a name that
 * does not resolve, a certificate that is refused, HTTP 3xx, 400, 401, 403, 404, 410 and 451. */
int tape_receive_done(struct tape_receive *receive, struct tape_error *error);

/* Any thread. */
struct tape_receive_state {
    int connections_open, connections_planned;
    uint64_t redials;
    int64_t next_dial_ns;   /* since 1970, when a connection waits to be dialled, else 0 */
    char last_trouble[256]; /* the last connection failure, printable, "" when none */
};
void tape_receive_read_state(struct tape_receive *receive, struct tape_receive_state *state);

#endif
