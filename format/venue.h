/* Venues as data: profiles in JSON, compiled in from format/venues/ and read from files. */
#ifndef TAPE_FORMAT_VENUE_H
#define TAPE_FORMAT_VENUE_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a stream's numbers must follow each other. TAPE_VENUE_SEQUENCE(name, word, rule) */
#define TAPE_VENUE_SEQUENCE_TABLE(X)                                                               \
    X(NONE, "none", "nothing to go by: loss cannot be detected")                                   \
    X(RISING, "rising", "the id only rises: disorder shows, loss does not")                        \
    X(NEXT_ID, "next_id", "the id is the one before + 1")                                          \
    X(PREVIOUS_LAST, "previous_last", "previous_id is the last_id before (futures depth, pu)")     \
    X(FIRST_FOLLOWS, "first_follows", "first_id is the last_id before + 1 (spot depth, U)")

enum tape_venue_sequence {
#define TAPE_VENUE_SEQUENCE_ENUM(name, word, rule) TAPE_VENUE_SEQUENCE_##name,
    TAPE_VENUE_SEQUENCE_TABLE(TAPE_VENUE_SEQUENCE_ENUM)
#undef TAPE_VENUE_SEQUENCE_ENUM
};

struct tape_venue; /* opaque, read-only after load: any thread */

/* tape_venue_load(name, error): a compiled-in profile ("binance-usdm", "binance-spot",
 * "binance-coinm", or an alias: "usdm", "spot", "coinm"). NULL with TAPE_USAGE, the known names and
 * a suggestion. */
struct tape_venue *tape_venue_load(const char *name, struct tape_error *error);

/* tape_venue_parse(text, bytes, source, error): a profile from JSON with comments; ${source} names
 * it in errors: "profile.json: line 3, column 5: unknown key \"rotues\" (did you mean
 * \"routes\"?)". */
struct tape_venue *tape_venue_parse(const char *text, size_t bytes, const char *source,
                                    struct tape_error *error);
void tape_venue_free(struct tape_venue *venue);

const char *tape_venue_name(const struct tape_venue *venue);

/* tape_venue_names(index): the ${index}th compiled-in name, or NULL past the last. */
const char *tape_venue_names(int index);

/* tape_venue_route(venue, stream, error): the index of the route that serves ${stream}. TAPE_USAGE
 * when the name is not of the venue's form (with a suggestion, e.g. for upper case or a known
 * channel misspelt) or matches no route and so cannot be guessed. */
int tape_venue_route(const struct tape_venue *venue, const char *stream, struct tape_error *error);

/* tape_venue_find_route(venue, stream, bytes): the same without words, in little time: -1 when no
 * route is known to serve it. */
int tape_venue_find_route(const struct tape_venue *venue, const char *stream, size_t bytes);

/* tape_venue_unrouted(venue): the route whose streams a URL without any route is sent; -1: the
 * venue has no such URL, or no routes. */
int tape_venue_unrouted(const struct tape_venue *venue);
int tape_venue_routes(const struct tape_venue *venue);
/* "market", "public" … and "wss://fstream.binance.com/market/stream" */
const char *tape_venue_route_name(const struct tape_venue *venue, int route);
const char *tape_venue_route_url(const struct tape_venue *venue, int route);
/* the path part of the route's URL, for --url with another host */
const char *tape_venue_route_path(const struct tape_venue *venue, int route);

/* tape_venue_subscribe(venue, to, room, streams, count, id): writes the request text; bytes or
 * TAPE_LIMIT. */
int tape_venue_subscribe(const struct tape_venue *venue, char *to, size_t room,
                         const char *const *streams, size_t count, int64_t id);

/* Limits: streams a connection, streams a request, control messages a second, silence in ns until a
 * subscribed stream that never sent anything is named, life of a connection, how often the venue
 * pings and how long it waits for the pong, all in ns. */
struct tape_venue_limits {
    int streams_per_connection, streams_per_request, messages_per_second;
    int64_t first_message_ns, connection_life_ns;
    int64_t ping_ns, pong_ns; /* 3 and 10 minutes where the profile does not say */
};
void tape_venue_read_limits(const struct tape_venue *venue, struct tape_venue_limits *limits);

/* What a message on a connection is. */
enum tape_venue_message {
    TAPE_VENUE_DATA,  /* market data, or anything else */
    TAPE_VENUE_ACK,   /* {"result":null,"id":1} */
    TAPE_VENUE_ERROR, /* {"error":{"code":2,"msg":"…"},"id":1} and {"code":2,"msg":"…","id":1} */
};
struct tape_venue_answer {
    int64_t id; /* TAPE_TICK_NONE when it has none (id null) */
    int64_t error_code;
    char error_text[256]; /* printable */
};
/* tape_venue_classify(payload, bytes, answer): cheap for data (looks at the first bytes only).
 * Depth and size of the JSON are capped before it is parsed. */
int tape_venue_classify(const char *payload, size_t bytes, struct tape_venue_answer *answer);

/* tape_venue_sequence(venue, stream, bytes): the rule for a stream name; ${venue} may be NULL (NONE
 * for all). */
int tape_venue_sequence(const struct tape_venue *venue, const char *stream, size_t bytes);

/* tape_venue_silence_hint(venue, stream): words for "acknowledged but silent": the likely reason;
 * never NULL. venue may be NULL. */
const char *tape_venue_silence_hint(const struct tape_venue *venue, const char *stream);

/* tape_venue_snapshot(venue, stream, to, room): the URL (https) of the book's snapshot that goes
 * with ${stream}; its length, 0 when the stream has none, or TAPE_LIMIT. The symbol stands in it in
 * upper case, percent-encoded where it is not of letters and digits. */
int tape_venue_snapshot(const struct tape_venue *venue, const char *stream, char *to, size_t room);

#ifdef __cplusplus
}
#endif
#endif
