/* What the parts of `tape-replay serve` share. */
#ifndef TAPE_REPLAY_SERVE_INTERNAL_H
#define TAPE_REPLAY_SERVE_INTERNAL_H

#include <stdio.h>

#include "replay/exchange.h"
#include "replay/faults.h"
#include "replay/options.h"
#include "replay/server.h"
#include "replay/session.h"

enum { TAPE_SERVE_SESSIONS_MAX = 64 };
#define TAPE_SERVE_MAIN "main"

/* Invariants: sessions are the open ones, the one called main first; each member of them is the
 * context of its accepted peer. first_ns and last_ns count once spanned is 1. */
struct tape_serve {
    const struct tape_options *options;
    FILE *notices;
    struct tape_venue *venue;
    struct tape_exchange exchange;
    struct tape_session_streams streams; /* of the archives */
    struct tape_source_asked asked;      /* in them */
    struct tape_faults *faults;
    struct tape_server *server;
    struct tape_session_options main; /* what the command line makes of a session */
    struct tape_session *sessions[TAPE_SERVE_SESSIONS_MAX];
    int sessions_count;
    unsigned opened;   /* sessions so far */
    unsigned privates; /* how many there were: their names */
    int spanned;
    int64_t first_ns, last_ns;
    int64_t refusals_ns; /* when the first of those was that are counted in … */
    int refusals;        /* … and told */
    int receipt_fd;
    int over;                  /* the first session has ended and its clients are gone */
    int damaged;               /* a session passed over damage */
    struct tape_error failure; /* what the process ends with; status 0: nothing */
};

/* tape_serve_load_venue(serve, error): the one asked for, or that of the recording; none where
 * neither is known. */
int tape_serve_load_venue(struct tape_serve *serve, struct tape_error *error);

/* tape_serve_resolve(serve, from, to, options, error): puts the times into the source's options;
 * TAPE_USAGE when nothing lies between them, or nothing of the archives does. Either may be NULL.
 */
int tape_serve_resolve(struct tape_serve *serve, const struct tape_timespec *from,
                       const struct tape_timespec *to, struct tape_source_options *options,
                       struct tape_error *error);

/* tape_serve_handler(serve): what the server calls. */
struct tape_server_handler tape_serve_handler(struct tape_serve *serve);

/* tape_serve_find(serve, name): the session of that name, or NULL. */
struct tape_session *tape_serve_find(const struct tape_serve *serve, const char *name);

/* tape_serve_open_session(serve, options, error): one more; one that is over makes room for it. */
struct tape_session *tape_serve_open_session(struct tape_serve *serve,
                                             const struct tape_session_options *options,
                                             struct tape_error *error);

/* tape_serve_tell(serve, session): its receipt, if there is one to tell. */
void tape_serve_tell(struct tape_serve *serve, struct tape_session *session);

/* tape_serve_requests(serve, peer, request): a request that is no WebSocket's. */
void tape_serve_requests(struct tape_serve *serve, struct tape_peer *peer,
                         const struct tape_server_request *request);

#endif
