/* What leaves the transport goes to the members. */
#include <stdlib.h>
#include <string.h>

#include "replay/control.h"
#include "replay/options.h"
#include "replay/pace.h"
#include "replay/session_internal.h"

#define CHECK_NS    1000000000ll /* how often the full ones are looked at */
#define FAREWELL_NS 5000000ll    /* … and those that still take the last of it */
enum { CLOCK_EVERY = 16 };       /* messages between looks at the clock */

/* ---- the start ---- */

static int subscribed(const struct tape_session *session)
{
    int count = 0;
    for (int i = 0; i < session->members_count; i++)
        count += session->members[i]->client.count > 0;
    return count;
}

static int asks_for_state(const struct tape_session *session)
{
    for (int i = 0; i < session->members_count; i++)
        if (session->members[i]->state)
            return 1;
    return 0;
}

static int begin(struct tape_session *session, int64_t now_ns, struct tape_error *error)
{
    int state = asks_for_state(session);
    if (state != session->has_state) {
        int status = tape_session_prepare(session, state, error);
        if (status < 0)
            return status;
    }
    if (session->options.digest && tape_session_begin_digest(session, error) < 0)
        return error->status;
    session->begun = 1;
    session->began_ns = now_ns;
    tape_transport_start(session->transport, now_ns);
    return 0;
}

/* 1 when it has begun; else *until_ns is when to look again. */
static int gather(struct tape_session *session, int64_t now_ns, int64_t *until_ns,
                  struct tape_error *error)
{
    if (session->begun)
        return 1;
    int needed = session->options.clients > 0 ? session->options.clients : 1;
    if (subscribed(session) < needed)
        return 0;
    int64_t at_ns = session->changed_ns + session->options.gather_ns;
    if (now_ns < at_ns) {
        *until_ns = at_ns < *until_ns ? at_ns : *until_ns;
        return 0;
    }
    int status = begin(session, now_ns, error);
    return status < 0 ? status : 1;
}

/* ---- members that are full ---- */

/* One that should take something, and whose queue does not move for long, is closed. */
static void look_at(struct tape_session_member *member, int should_move, int64_t now_ns)
{
    size_t queued = tape_peer_queued_bytes(member->peer);
    if (!should_move) {
        member->stuck_since_ns = 0;
    } else if (member->stuck_since_ns == 0 || queued != member->seen_queued) {
        member->stuck_since_ns = now_ns;
        member->seen_queued = queued;
    } else if (now_ns - member->stuck_since_ns >= TAPE_SESSION_STUCK_NS) {
        tape_session_tell(member->session,
                          "a client took nothing for 30 s and is closed; the others go on");
        member->session->totals.sent_away++;
        tape_session_send_away(member, 1008, "took nothing for 30 s");
    }
}

static int is_full(struct tape_session *session, int64_t now_ns)
{
    int full = 0;
    for (int i = session->members_count - 1; i >= 0; i--)
        look_at(session->members[i], tape_peer_room(session->members[i]->peer) <= 0, now_ns);
    for (int i = 0; i < session->members_count; i++)
        full |= tape_peer_room(session->members[i]->peer) <= 0;
    return full;
}

/* 1 when nothing may be taken now: somebody is full, or nobody is there. */
static int is_blocked(struct tape_session *session, int64_t now_ns, int64_t *until_ns)
{
    int full = is_full(session, now_ns);
    if (!full && session->members_count > 0) {
        if (session->blocked_since_ns != 0)
            tape_transport_blocked(session->transport, now_ns - session->blocked_since_ns);
        session->blocked_since_ns = 0;
        return 0;
    }
    if (session->blocked_since_ns == 0)
        session->blocked_since_ns = now_ns;
    if (full && now_ns + CHECK_NS < *until_ns)
        *until_ns = now_ns + CHECK_NS;
    return 1;
}

/* ---- what leaves ---- */

static int was_fed_by(const struct tape_session_member *member, uint64_t origin)
{
    for (size_t i = 0; i < member->client.count; i++) {
        const struct tape_exchange_name *name = &member->client.names[i];
        if (name->sent &&
            tape_session_views_origin(member->session->views, name->text, name->bytes) == origin)
            return 1;
    }
    return 0;
}

/* The members whose messages came from that connection lose theirs, with all that was before it. */
static void cut(struct tape_session *session, const struct tape_transport_item *item)
{
    uint64_t origin = tape_session_origin(item->message.archive, item->connection);
    int last = 0;
    tape_session_views_flush(session->views);
    tape_server_flush(session->options.server);
    for (int i = session->members_count - 1; i >= 0; i--) {
        if (i >= session->members_count || !was_fed_by(session->members[i], origin))
            continue;
        session->totals.cuts++;
        last = session->members_count == 1;
        tape_session_send_away(session->members[i], item->close_code, "");
    }
    if (last && !session->options.alone)
        tape_session_tell(session, "its last client was cut; waits for the next");
}

static int deliver(struct tape_session *session, const struct tape_message *message,
                   uint64_t *bytes, struct tape_error *error)
{
    struct tape_session_delivery delivery;
    int status = tape_session_views_put(session->views, message, &delivery, error);
    if (status < 0)
        return status;
    if (status == 0 && session->totals.unnamed++ == 0)
        tape_session_tell(session,
                          "messages without a wrapper, whose stream their content does not tell, "
                          "are not sent (the first is record %llu)",
                          (unsigned long long)message->ordinal);
    if (delivery.frames == 0)
        return 0;
    session->stepping = -1;
    session->totals.messages++;
    session->totals.frames += delivery.frames;
    session->totals.bytes += delivery.bytes;
    *bytes += delivery.bytes;
    if (session->digest && message->frame.bytes > 0)
        tape_session_add_digest(session, message->frame);
    return 0;
}

/* A step whose message nobody is sent is followed by another. */
static int step_on(struct tape_session *session, int64_t now_ns, struct tape_error *error)
{
    struct tape_transport_command command = {.kind = session->stepping};
    if (session->stepping < 0)
        return 0;
    int status = tape_transport_command(session->transport, &command, now_ns, error);
    if (status < 0)
        session->stepping = -1;
    return status == 0;
}

/* Takes what is due, a slice at most. 1: there may be more at once; 2: not before *next_ns; 0: the
 * end. */
static int take(struct tape_session *session, int64_t now_ns, int64_t *next_ns,
                struct tape_error *error)
{
    struct tape_transport_item item;
    uint64_t bytes = 0;
    for (int i = 0; i < TAPE_SESSION_SLICE_MESSAGES && bytes < TAPE_SESSION_SLICE_BYTES; i++) {
        if (i % CLOCK_EVERY == CLOCK_EVERY - 1)
            now_ns = tape_pace_now();
        int got = tape_transport_next(session->transport, now_ns, &item, next_ns, error);
        if (got == 2) {
            int64_t later_ns = tape_pace_now();
            if (*next_ns > later_ns && step_on(session, later_ns, NULL) <= 0)
                return 2;
            now_ns = later_ns;
            continue;
        }
        if (got <= 0)
            return got;
        int status = 0;
        if (item.action == TAPE_FAULTS_CUT)
            cut(session, &item);
        else
            status = deliver(session, &item.message, &bytes, error);
        if (status < 0)
            return status;
        if (session->members_count == 0)
            return 1;
    }
    return 1;
}

/* ---- the end ---- */

/* Each is closed once it has taken all that is its, however slowly. */
static void say_farewell(struct tape_session *session, int64_t now_ns, int64_t *until_ns)
{
    int failed = session->failed;
    if (!failed && session->options.at_end == TAPE_OPTIONS_AT_END_HOLD)
        return;
    if (session->members_count > 0)
        tape_server_flush(session->options.server);
    for (int i = session->members_count - 1; i >= 0; i--) {
        struct tape_session_member *member = session->members[i];
        if (tape_peer_queued_bytes(member->peer) > 0)
            look_at(member, 1, now_ns);
        else
            tape_session_send_away(member, failed ? 1011 : 1000,
                                   failed ? "reading the archive failed" : "end of replay");
    }
    if (session->members_count > 0 && now_ns + FAREWELL_NS < *until_ns)
        *until_ns = now_ns + FAREWELL_NS;
}

static void end(struct tape_session *session, int status, const struct tape_error *error)
{
    session->ended = 1;
    session->failed = status < 0;
    session->ended_ns = tape_pace_now();
    if (status < 0)
        tape_session_tell(session, "it ends here: %s", error->text);
}

int tape_session_run(struct tape_session *session, int64_t now_ns, int64_t *until_ns,
                     struct tape_error *error)
{
    int64_t next_ns = now_ns;
    if (session->ended) {
        say_farewell(session, now_ns, until_ns);
        return 0;
    }
    int status = gather(session, now_ns, until_ns, error);
    if (status == 1) {
        if (is_blocked(session, now_ns, until_ns))
            return 0;
        status = take(session, now_ns, &next_ns, error);
        tape_session_views_flush(session->views);
        tape_session_tell_damages(session);
        if (status == 1)
            next_ns = now_ns;
        if (status > 0) {
            *until_ns = next_ns < *until_ns ? next_ns : *until_ns;
            return 0;
        }
    } else if (status == 0) {
        return 0;
    }
    end(session, status, error);
    say_farewell(session, now_ns, until_ns);
    return status;
}

/* Behind an end whose receipt was told: the next one counts from here. */
static int go_on(struct tape_session *session, int64_t now_ns, struct tape_error *error)
{
    session->ended = 0;
    if (!session->told)
        return 0;
    session->told = 0;
    session->began_ns = now_ns;
    session->totals = (struct tape_session_totals){
        .clients = (uint64_t)session->connected,
        .clients_most = (uint64_t)session->connected,
    };
    return session->options.digest ? tape_session_begin_digest(session, error) : 0;
}

int tape_session_command(struct tape_session *session, const char *text, size_t bytes,
                         int64_t now_ns, struct tape_error *error)
{
    struct tape_control_request request;
    int status = tape_control_parse(text, bytes, &request, error);
    if (status == 0)
        status = tape_control_carry_out(session->transport, &request, now_ns, error);
    if (status < 0)
        return status;
    int kind = request.kind;
    int steps = kind == TAPE_TRANSPORT_STEP_FRAME || kind == TAPE_TRANSPORT_STEP_TIME;
    session->stepping = steps ? kind : -1;
    int moves = kind == TAPE_TRANSPORT_SEEK || kind == TAPE_TRANSPORT_LOOP;
    return session->ended && !session->failed && moves ? go_on(session, now_ns, error) : 0;
}
