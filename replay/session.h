/* A session of a server: one transport, and the clients that are given what leaves it, in time with
 * each other. */
#ifndef TAPE_REPLAY_SESSION_H
#define TAPE_REPLAY_SESSION_H

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>

#include "format/error.h"
#include "format/growing.h"
#include "replay/exchange.h"
#include "replay/server.h"
#include "replay/session_streams.h"
#include "replay/source_asked.h"
#include "replay/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is taken at a time before the network is looked at again. */
enum { TAPE_SESSION_SLICE_BYTES = 512 << 10, TAPE_SESSION_SLICE_MESSAGES = 4096 };
#define TAPE_SESSION_STUCK_NS                                                                      \
    30000000000ll /* a client that takes nothing for so long is closed                             \
                   */

struct tape_session; /* opaque; one thread */
struct tape_session_member;

struct tape_session_options {
    const char *name;            /* copied */
    const char *const *archives; /* kept by pointer, as is what the transport's options point to */
    int archives_count;
    struct tape_transport_options transport; /* waits, wants and the source's state are ours */
    int clients;       /* it begins when so many have subscribed to something … */
    int64_t gather_ns; /* … and for so long nobody else connected or subscribed */
    int at_end;        /* enum tape_options_at_end: HOLD: clients stay; else they are closed */
    int alone;         /* 1: of one connection, and over with it */
    int digest;        /* 1: SHA-256 of what was given, as it was recorded */
    FILE *notices;     /* what is worth knowing on the way */
    const struct tape_session_streams *streams; /* of the archives; NULL: not known */
    struct tape_source_asked *asked;            /* in them; NULL: not known. Following adds to it */
    struct tape_server *server;
};

struct tape_session *tape_session_open(const struct tape_session_options *options,
                                       struct tape_error *error);
void tape_session_close(struct tape_session *session); /* after all its members left */

const char *tape_session_name(const struct tape_session *session);
struct tape_transport *tape_session_transport(struct tape_session *session);

/* tape_session_join(session, peer, client, state, now_ns, error): takes the client over (it is
 * zero then; not on failure). state: with the books of its depth streams, made as of where the
 * session stands when the client asks for the stream, and after seeks. A session that has ended
 * begins anew with the first who joins when all others have left. NULL on failure. */
struct tape_session_member *tape_session_join(struct tape_session *session, struct tape_peer *peer,
                                              struct tape_exchange_client *client, int state,
                                              int64_t now_ns, struct tape_error *error);

/* tape_session_welcome(member, now_ns): once the peer was accepted. */
void tape_session_welcome(struct tape_session_member *member, int64_t now_ns);

/* tape_session_leave(member, now_ns): the peer is gone: frees the member. */
void tape_session_leave(struct tape_session_member *member, int64_t now_ns);
struct tape_session *tape_session_of(const struct tape_session_member *member);

/* tape_session_request(member, text, bytes, now_ns): answers a client's request, or closes the
 * client over it. */
void tape_session_request(struct tape_session_member *member, const char *text, size_t bytes,
                          int64_t now_ns);

/* tape_session_run(session, now_ns, until_ns, error): gives to its members what is due, a slice at
 * most; *until_ns becomes when there is more to do, where that is earlier. 0, or a status once:
 * reading failed, and the session is over. */
int tape_session_run(struct tape_session *session, int64_t now_ns, int64_t *until_ns,
                     struct tape_error *error);

/* tape_session_command(session, text, bytes, now_ns, error): as tape_control_run(); a step goes on
 * to the next message that any of its clients is sent. */
int tape_session_command(struct tape_session *session, const char *text, size_t bytes,
                         int64_t now_ns, struct tape_error *error);

/* tape_session_ended(session): all of it was given (or reading failed). tape_session_is_over():
 * that, and nobody is there any more. */
int tape_session_ended(const struct tape_session *session);
int tape_session_is_over(const struct tape_session *session);
int tape_session_has_begun(const struct tape_session *session);
int tape_session_members(const struct tape_session *session); /* connected ones */

/* tape_session_damages(session): places passed over since it was opened. */
int tape_session_damages(const struct tape_session *session);

/* tape_session_note(session, text): a line among the notices, once a session; 64 of them at most.
 */
void tape_session_note(struct tape_session *session, const char *text);

/* tape_session_depth(session, symbol, limit, answer, error): appends the book as the venue's REST
 * would have answered at the session's replay time. TAPE_MISSING when it cannot be known, with the
 * cause. */
int tape_session_depth(struct tape_session *session, const char *symbol, size_t limit,
                       struct tape_growing *answer, struct tape_error *error);

/* tape_session_state(session, now_ns): for /control; NULL when memory is short. */
cJSON *tape_session_state(struct tape_session *session, int64_t now_ns);

/* tape_session_take_receipt(session, now_ns): what it did, once it has ended or nobody will come
 * any more: the object to be deleted by the caller; NULL when it was taken already, or nothing
 * began. A seek or a loop behind the end goes on: the next receipt counts from there.
 * tape_session_tell_receipt(): the same as a line for people. Take the line first. */
cJSON *tape_session_take_receipt(struct tape_session *session, int64_t now_ns);
void tape_session_tell_receipt(struct tape_session *session, int64_t now_ns, FILE *to);

#ifdef __cplusplus
}
#endif
#endif
