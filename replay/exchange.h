/* The venue's side of a conversation: its paths, subscriptions, requests and answers, and what we
 * add to its URLs. Bytes in, bytes out: no socket, no archive. */
#ifndef TAPE_REPLAY_EXCHANGE_H
#define TAPE_REPLAY_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/growing.h"
#include "format/tick.h"
#include "format/venue.h"
#include "replay/timespec.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_EXCHANGE_NAME_MAX_BYTES =
        128,                          /* of a stream; longer ones are acknowledged and forgotten */
    TAPE_EXCHANGE_STREAMS_MAX = 1024, /* a connection, where no venue says less */
    TAPE_EXCHANGE_REQUEST_MAX_BYTES = 256 << 10,
    TAPE_EXCHANGE_SESSION_MAX_BYTES = 64,
};

/* The venue spoken for; read-only while there are clients. */
struct tape_exchange {
    const struct tape_venue *venue; /* NULL: none: each stream is sent on every path */
    int unrouted;                   /* 1: each stream is sent on every path all the same */
};

/* A stream that was subscribed to. */
struct tape_exchange_name {
    char *text;
    size_t bytes;
    int sent; /* 0: acknowledged, but of another route: silent, as on the venue */
};

/* One client's side. Invariants: names are all different, in the order they were asked for, count
 * of them at most the venue's streams_per_connection; each is UTF-8 without controls, quotes and
 * backslashes. */
struct tape_exchange_client {
    const struct tape_exchange *exchange;
    int combined;     /* messages stand in the wrapper {"stream":...,"data":...} */
    const char *root; /* the path's route part: "", "/public", "/market" … */
    struct tape_exchange_name *names;
    size_t count, room;
};

/* tape_exchange_open(client, exchange, path, query, error): what the URL says: /ws, /ws/<a>/<b>,
 * /stream?streams=a/b, below one of the venue's routes or none. path is decoded, query is not. 0,
 * TAPE_USAGE: no such path, TAPE_LIMIT: more streams than a connection may have. To be freed either
 * way. */
int tape_exchange_open(struct tape_exchange_client *client, const struct tape_exchange *exchange,
                       const char *path, const char *query, struct tape_error *error);
void tape_exchange_close(struct tape_exchange_client *client);

/*
 * tape_exchange_answer(client, text, bytes, answer, error): reads a request and appends the venue's
 * answer to ${answer}: acknowledgement, list, property or error, with the request's id as it was
 * written. 1 when the subscriptions or the property changed, else 0; TAPE_LIMIT: it asks for more
 * than a connection may have, or is too long: it is to be closed with 1008 and the error's words;
 * TAPE_FAILED: memory.
 */
int tape_exchange_answer(struct tape_exchange_client *client, const char *text, size_t bytes,
                         struct tape_growing *answer, struct tape_error *error);

/* For the two above: 1 when it is new, 0 when it was there or can be no stream's name, TAPE_LIMIT,
 * TAPE_FAILED. tape_exchange_drop(): 1 when it was there. */
int tape_exchange_add(struct tape_exchange_client *client, const char *name, size_t bytes,
                      struct tape_error *error);
int tape_exchange_drop(struct tape_exchange_client *client, const char *name, size_t bytes);

/* tape_exchange_routed(exchange, root, name, bytes): 1 when the venue sends that stream below that
 * root. A name that no route is known for is sent on all. */
int tape_exchange_routed(const struct tape_exchange *exchange, const char *root, const char *name,
                         size_t bytes);

/* tape_exchange_root(exchange, name, bytes, root): the path's route part that the venue sends that
 * stream below: its bytes; 0 where there is none. */
size_t tape_exchange_root(const struct tape_exchange *exchange, const char *name, size_t bytes,
                          const char **root);

/* tape_exchange_derive(tick, payload, to): the stream that a message without a wrapper is of, by
 * its symbol and kind; tick: of tape_tick_scan of its payload. The bytes of its name, 0 where
 * several streams look alike. */
size_t tape_exchange_derive(const struct tape_tick *tick, struct tape_slice payload,
                            char to[TAPE_EXCHANGE_NAME_MAX_BYTES]);

/* What of a URL is ours, not the venue's. TAPE_EXCHANGE_WISH(name, words) */
#define TAPE_EXCHANGE_WISH_TABLE(X)                                                                \
    X(FROM, "from")                                                                                \
    X(TO, "to")                                                                                    \
    X(SPEED, "speed")                                                                              \
    X(SESSION, "session")                                                                          \
    X(CLIENTS, "clients")                                                                          \
    X(STATE, "state")                                                                              \
    X(ORDER, "order")

struct tape_exchange_wishes {
    int has_from, has_to;
    struct tape_timespec from, to;
    double speed;                                      /* 0: max; negative: not said */
    char session[TAPE_EXCHANGE_SESSION_MAX_BYTES + 1]; /* "" when not said */
    int clients;                                       /* 0: not said */
    int state;                                         /* 1: state=1 */
    int order;                                         /* enum tape_source_order; -1: not said */
};

/* tape_exchange_read_wishes(query, wishes, error): 0, or TAPE_USAGE in one clear line. What is not
 * ours is passed over. */
int tape_exchange_read_wishes(const char *query, struct tape_exchange_wishes *wishes,
                              struct tape_error *error);

/* tape_exchange_next_key(query, to, room, ours): the next parameter's name as it is written, cut to
 * the room; *ours is 1 where it is one of ours, 0 where it is the venue's, -1 where it is nobody's.
 * What is behind it, or NULL when there is none. */
const char *tape_exchange_next_key(const char *query, char *to, size_t room, int *ours);

/* tape_exchange_query(query, key, to, room): the value of a parameter, percent-decoded, '+' kept as
 * it is: its length, -1 when it is not there, TAPE_LIMIT when it does not fit, TAPE_USAGE when it
 * is badly encoded or holds a NUL. */
int64_t tape_exchange_query(const char *query, const char *key, char *to, size_t room);

#ifdef __cplusplus
}
#endif
#endif
