#include "replay/session.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "replay/control.h"
#include "replay/options.h"
#include "replay/printable.h"
#include "replay/receipt_source.h"
#include "replay/session_internal.h"

enum { MISSING_MAX = 8, MISSING_ALL_MAX = 1000 }; /* streams that are told, of a client, of all */

/* ---- a session ---- */

/* What can be sent; all else is as if it were not there. Events come only where the session follows
 * a recording: of the connections that were there before, the index tells. */
static int wants(void *context, const struct tape_message *message)
{
    const struct tape_session *session = context;
    struct tape_source_asked *asked = session->options.asked;
    if (asked && tape_source_asked_hear(asked, message) < 0)
        asked->unknown = 1;
    return !message->outgoing &&
           (message->kind == TAPE_FEED_DATA || message->kind == TAPE_FEED_STATE);
}

int tape_session_prepare(struct tape_session *session, int state, struct tape_error *error)
{
    struct tape_transport_options options = session->options.transport;
    options.waits = 1;
    options.wants = wants;
    options.wants_context = session;
    options.source.events = options.source.follow;
    options.source.state = state ? 0 : -1;
    struct tape_transport *transport = tape_transport_open(
        session->options.archives, session->options.archives_count, &options, error);
    if (!transport)
        return error->status;
    tape_transport_close(session->transport);
    session->transport = transport;
    session->has_state = state;
    session->damages_told = 0;
    return 0;
}

struct tape_session *tape_session_open(const struct tape_session_options *options,
                                       struct tape_error *error)
{
    struct tape_session *session = calloc(1, sizeof *session);
    if (session) {
        session->options = *options;
        session->name = strdup(options->name);
        session->views = tape_session_views_new();
        session->stepping = -1;
    }
    if (session && session->views)
        tape_session_views_name_by(session->views, options->asked);
    if (!session || !session->name || !session->views)
        tape_error_set(error, TAPE_FAILED, "no memory for a session");
    else if (tape_session_prepare(session, 0, error) == 0)
        return session;
    tape_session_close(session);
    return NULL;
}

void tape_session_close(struct tape_session *session)
{
    if (!session)
        return;
    tape_transport_close(session->transport);
    tape_session_views_free(session->views);
    tape_source_books_free(session->books);
    tape_session_free_digest(session);
    free(session->members);
    free(session->name);
    free(session);
}

/* As it was when it was opened. */
static int begin_anew(struct tape_session *session, struct tape_error *error)
{
    int status = tape_session_prepare(session, 0, error);
    if (status < 0)
        return status;
    tape_session_free_digest(session);
    session->begun = session->ended = session->failed = session->told = 0;
    session->blocked_since_ns = 0;
    session->stepping = -1;
    memset(&session->totals, 0, sizeof session->totals);
    return 0;
}

const char *tape_session_name(const struct tape_session *session)
{
    return session->name;
}

struct tape_transport *tape_session_transport(struct tape_session *session)
{
    return session->transport;
}

int tape_session_ended(const struct tape_session *session)
{
    return session->ended;
}

int tape_session_has_begun(const struct tape_session *session)
{
    return session->begun;
}

int tape_session_is_over(const struct tape_session *session)
{
    return session->connected == 0 && (session->ended || session->options.alone);
}

int tape_session_members(const struct tape_session *session)
{
    return session->connected;
}

int tape_session_damages(const struct tape_session *session)
{
    return tape_source_damages(tape_transport_source(session->transport));
}

/* ---- members ---- */

struct tape_session *tape_session_of(const struct tape_session_member *member)
{
    return member->session;
}

int tape_session_seat(struct tape_session_member *member, struct tape_error *error)
{
    struct tape_session *session = member->session;
    struct tape_session_view *view = tape_session_views_join(session->views, &member->client,
                                                             member->state, member->peer, error);
    if (!view)
        return error->status;
    if (member->view)
        tape_session_views_leave(session->views, member->view, member->peer);
    member->view = view;
    return 0;
}

static void unseat(struct tape_session_member *member)
{
    struct tape_session *session = member->session;
    if (!member->seated)
        return;
    member->seated = 0;
    if (member->view)
        tape_session_views_leave(session->views, member->view, member->peer);
    member->view = NULL;
    for (int i = 0; i < session->members_count; i++)
        if (session->members[i] == member) {
            session->members[i] = session->members[--session->members_count];
            break;
        }
}

void tape_session_send_away(struct tape_session_member *member, int code, const char *reason)
{
    unseat(member);
    tape_peer_close(member->peer, code, reason);
}

static int make_room(struct tape_session *session, struct tape_error *error)
{
    if (session->members_count < session->members_room)
        return 0;
    int room = session->members_room ? 2 * session->members_room : 4;
    struct tape_session_member **members =
        realloc(session->members, (size_t)room * sizeof *members);
    if (!members)
        return tape_error_set(error, TAPE_FAILED, "no memory for a client");
    session->members = members;
    session->members_room = room;
    return 0;
}

struct tape_session_member *tape_session_join(struct tape_session *session, struct tape_peer *peer,
                                              struct tape_exchange_client *client, int state,
                                              int64_t now_ns, struct tape_error *error)
{
    if (session->ended && session->connected == 0 && begin_anew(session, error) < 0)
        return NULL;
    struct tape_session_member *member = calloc(1, sizeof *member);
    if (!member) {
        tape_error_set(error, TAPE_FAILED, "no memory for a client");
        return NULL;
    }
    *member = (struct tape_session_member){
        .session = session, .peer = peer, .client = *client, .state = state};
    if (make_room(session, error) < 0 || tape_session_seat(member, error) < 0) {
        free(member);
        return NULL;
    }
    memset(client, 0, sizeof *client);
    member->seated = 1;
    session->members[session->members_count++] = member;
    session->connected++;
    session->changed_ns = now_ns;
    session->totals.clients++;
    if ((uint64_t)session->connected > session->totals.clients_most)
        session->totals.clients_most = (uint64_t)session->connected;
    return member;
}

/* Who comes where a session stands is told what it missed of the books. */
static void give_books(struct tape_session_member *member, size_t from)
{
    struct tape_error error = {0};
    if (member->state && member->session->begun && member->client.count > from &&
        tape_session_give_books(member, from, &error) < 0)
        tape_session_tell(member->session, "no books for a client: %s", error.text);
}

/* What a client asked for, from the ${from}th on, and will never get. */
static void note_missing(struct tape_session_member *member, size_t from)
{
    static const struct tape_session_streams none;
    const struct tape_exchange_client *client = &member->client;
    struct tape_session *session = member->session;
    const struct tape_session_streams *streams =
        session->options.streams ? session->options.streams : &none;
    for (size_t i = from;
         i < client->count && member->missing < MISSING_MAX && session->missing < MISSING_ALL_MAX;
         i++) {
        const struct tape_exchange_name *name = &client->names[i];
        int bytes = (int)name->bytes;
        const char *near, *root;
        if (tape_session_streams_lack(streams, name->text, name->bytes, &near)) {
            tape_session_tell(session, "client asked for \"%.*s\": not in this archive%s%.*s%s",
                              bytes, name->text, near ? " (did you mean " : "", bytes,
                              near ? near : "", near ? "?)" : "");
        } else if (!name->sent) {
            int known = (int)tape_exchange_root(client->exchange, name->text, name->bytes, &root);
            tape_session_tell(session,
                              "client asked for \"%.*s\": a stream of %.*s: nothing is sent on "
                              "%s/%s (--unrouted)",
                              bytes, name->text, known, root, client->root,
                              client->combined ? "stream" : "ws");
        } else {
            continue;
        }
        member->missing++;
        session->missing++;
    }
}

void tape_session_welcome(struct tape_session_member *member, int64_t now_ns)
{
    member->session->changed_ns = now_ns;
    note_missing(member, 0);
    give_books(member, 0);
}

void tape_session_leave(struct tape_session_member *member, int64_t now_ns)
{
    struct tape_session *session = member->session;
    unseat(member);
    session->connected--;
    session->changed_ns = now_ns;
    tape_exchange_close(&member->client);
    free(member);
}

void tape_session_request(struct tape_session_member *member, const char *text, size_t bytes,
                          int64_t now_ns)
{
    struct tape_growing answer = {0};
    struct tape_error error = {0};
    size_t before = member->client.count;
    if (!member->seated)
        return;
    int changed = tape_exchange_answer(&member->client, text, bytes, &answer, &error);
    if (changed > 0 && tape_session_seat(member, &error) < 0)
        changed = error.status;
    if (changed >= 0)
        tape_peer_put_text(member->peer, (const char *)answer.bytes, answer.length);
    free(answer.bytes);
    if (changed > 0) {
        member->session->changed_ns = now_ns;
        note_missing(member, before);
        give_books(member, before);
    } else if (changed < 0) {
        tape_session_tell(member->session, "a client is closed: %s", error.text);
        member->session->totals.sent_away++;
        tape_session_send_away(member, changed == TAPE_LIMIT ? 1008 : 1011, error.text);
    }
}

/* ---- words ---- */

void tape_session_tell(const struct tape_session *session, const char *format, ...)
{
    char text[1400], shown[2800];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tape_printable_text(shown, sizeof shown, text, strlen(text));
    fprintf(session->options.notices, "tape-replay: session %s: %s\n", session->name, shown);
    fflush(session->options.notices);
}

void tape_session_note(struct tape_session *session, const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *at = text; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    for (int i = 0; i < session->notes_count; i++)
        if (session->notes[i] == hash)
            return;
    if (session->notes_count == TAPE_SESSION_NOTES_MAX)
        return;
    session->notes[session->notes_count++] = hash;
    tape_session_tell(
        session, "%s%s", text,
        session->notes_count == TAPE_SESSION_NOTES_MAX ? " (more of this kind is not told)" : "");
}

void tape_session_tell_damages(struct tape_session *session)
{
    struct tape_source_damage damage;
    char line[TAPE_RECEIPT_DAMAGE_BYTES];
    struct tape_source *source = tape_transport_source(session->transport);
    int total = tape_source_damages(source);
    for (; session->damages_told < total; session->damages_told++) {
        if (!tape_source_damage(source, session->damages_told, &damage))
            continue;
        tape_receipt_damage_line(line, &damage, session->options.archives,
                                 session->options.archives_count);
        tape_session_tell(session, "%s", line);
    }
}
