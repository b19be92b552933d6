/* What the parts of a session share. */
#ifndef TAPE_REPLAY_SESSION_INTERNAL_H
#define TAPE_REPLAY_SESSION_INTERNAL_H

#include "replay/digest.h"
#include "replay/session.h"
#include "replay/session_views.h"
#include "replay/source_books.h"

enum { TAPE_SESSION_DIGEST_BYTES = 256 << 10, TAPE_SESSION_NOTES_MAX = 64 };

/* One client. Invariants: view is NULL unless it is seated; seated: it is in the session's list and
 * is given messages; one that was sent away is not, until its peer is gone. */
struct tape_session_member {
    struct tape_session *session;
    struct tape_peer *peer;
    struct tape_exchange_client client;
    struct tape_session_view *view;
    int seated, state;
    int missing;            /* streams told that it will never get */
    size_t seen_queued;     /* while it is full: what its queue held … */
    int64_t stuck_since_ns; /* … unchanged since then; 0: it is not full */
};

/* What was given since the session began, or since the receipt before. */
struct tape_session_totals {
    uint64_t messages; /* that at least one member was sent */
    uint64_t frames, bytes;
    uint64_t unnamed; /* of a stream that cannot be told */
    uint64_t clients, clients_most, cuts, sent_away;
};

/* Invariants: members are the seated ones; connected counts those whose peers are not gone yet.
 * begun: the transport was started; ended: it has nothing more, by itself or because reading
 * failed. blocked_since_ns: since when nothing is taken from the transport because a member is full
 * or none is there; 0: it is taken. The views hold nothing back outside of tape_session_run(). */
struct tape_session {
    struct tape_session_options options;
    char *name;
    struct tape_transport *transport;
    struct tape_session_views *views;
    struct tape_source_books *books; /* made when first asked for */
    struct tape_session_member **members;
    int members_count, members_room, connected;
    int64_t changed_ns; /* when somebody connected or subscribed last */
    int begun, ended, failed, told;
    int has_state; /* the transport gives the books */
    int stepping;  /* a step that nobody has seen anything of yet: its kind; -1: none */
    int64_t began_ns, ended_ns, blocked_since_ns;
    int damages_told;
    uint64_t notes[TAPE_SESSION_NOTES_MAX]; /* hashes of those told */
    int notes_count;
    int missing; /* streams told that clients will never get */
    struct tape_session_totals totals;
    struct tape_digest *digest;
    uint8_t *digest_bytes[2];
    size_t digest_used;
    int digest_turn;
};

/* tape_session_seat(member, error): takes its view anew, as its subscriptions are now. */
int tape_session_seat(struct tape_session_member *member, struct tape_error *error);

/* tape_session_send_away(member, code, reason): out of the list and closed; the member is freed
 * when its peer is gone, which may be now. */
void tape_session_send_away(struct tape_session_member *member, int code, const char *reason);

/* tape_session_prepare(session, state, error): a transport that waits, books with it or not. */
int tape_session_prepare(struct tape_session *session, int state, struct tape_error *error);

/* tape_session_tell(session, format, ...): a line among the notices. */
void tape_session_tell(const struct tape_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void tape_session_tell_damages(struct tape_session *session);

/* tape_session_give_books(member, from, error): the books of those of its streams that it asked for
 * from the ${from}th on, as of now. */
int tape_session_give_books(struct tape_session_member *member, size_t from,
                            struct tape_error *error);

int tape_session_begin_digest(struct tape_session *session, struct tape_error *error);
void tape_session_add_digest(struct tape_session *session, struct tape_slice bytes);
void tape_session_end_digest(struct tape_session *session, char text[TAPE_DIGEST_TEXT_BYTES]);
void tape_session_free_digest(struct tape_session *session);

#endif
