/* Clients as they come, speak and go. */
#include <stdlib.h>
#include <string.h>

#include "replay/control.h"
#include "replay/control_http.h"
#include "replay/pace.h"
#include "replay/printable.h"
#include "replay/serve_internal.h"

enum { KEY_BYTES = 64, REFUSALS_MAX = 20 };
#define REFUSALS_NS 60000000000ll /* in which so many are told at most */

static void tell_refusal(struct tape_serve *serve, int http, const char *words)
{
    char shown[1400];
    int64_t now_ns = tape_pace_now();
    if (serve->refusals == 0 || now_ns - serve->refusals_ns >= REFUSALS_NS) {
        serve->refusals = 0;
        serve->refusals_ns = now_ns;
    }
    if (serve->refusals == REFUSALS_MAX)
        return;
    serve->refusals++;
    fprintf(serve->notices, "tape-replay: a client is refused with %d: %s%s\n", http,
            tape_printable_text(shown, sizeof shown, words, strlen(words)),
            serve->refusals == REFUSALS_MAX ? " (more in this minute are not told)" : "");
    fflush(serve->notices);
}

static void refuse(struct tape_serve *serve, struct tape_peer *peer, int http,
                   const struct tape_error *error)
{
    tell_refusal(serve, http, error->text);
    tape_control_answer(peer, http, tape_control_error(error));
}

/* ---- which session ---- */

/* The shared session of that name, made with the wishes of its first client. */
static int wishes_of_own(const struct tape_exchange_wishes *wishes)
{
    return wishes->has_from || wishes->has_to || wishes->speed >= 0 || wishes->order >= 0;
}

static struct tape_session *make_session(struct tape_serve *serve, const char *name, int alone,
                                         const struct tape_exchange_wishes *wishes,
                                         struct tape_error *error)
{
    struct tape_session_options options = serve->main;
    struct tape_source_options *source = &options.transport.source;
    options.name = name;
    options.alone = alone;
    if (wishes->has_from || wishes->has_to) {
        source->from_ns = wishes->has_from ? 0 : source->from_ns;
        source->to_ns = wishes->has_to ? 0 : source->to_ns;
    }
    if (tape_serve_resolve(serve, wishes->has_from ? &wishes->from : NULL,
                           wishes->has_to ? &wishes->to : NULL, source, error) < 0)
        return NULL;
    if (wishes->speed >= 0)
        options.transport.speed = wishes->speed;
    if (wishes->order >= 0)
        source->order = wishes->order;
    if (wishes->clients > 0 || alone)
        options.clients = alone ? 1 : wishes->clients;
    return tape_serve_open_session(serve, &options, error);
}

static struct tape_session *choose_session(struct tape_serve *serve,
                                           const struct tape_exchange_wishes *wishes,
                                           struct tape_error *error)
{
    char name[TAPE_EXCHANGE_SESSION_MAX_BYTES + 1] = TAPE_SERVE_MAIN;
    int alone = !wishes->session[0] && wishes_of_own(wishes);
    if (strncmp(wishes->session, "private-", 8) == 0) {
        tape_error_set(error, TAPE_USAGE, "session names that begin with private- are taken");
        return NULL;
    }
    if (wishes->session[0])
        memcpy(name, wishes->session, sizeof name);
    else if (alone)
        snprintf(name, sizeof name, "private-%u", ++serve->privates);
    struct tape_session *session = tape_serve_find(serve, name);
    return session ? session : make_session(serve, name, alone, wishes, error);
}

/* ---- WebSocket clients ---- */

/* Pages from elsewhere may not look into what is recorded here; those of this machine may. */
static int may_watch(const struct tape_serve *serve, const struct tape_server_request *request,
                     struct tape_error *error)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *host = strstr(request->origin, "://");
    for (size_t i = 0; host && i < sizeof hosts / sizeof *hosts; i++) {
        size_t bytes = strlen(hosts[i]);
        if (strncmp(host + 3, hosts[i], bytes) == 0 &&
            (host[3 + bytes] == ':' || host[3 + bytes] == '\0'))
            return 1;
    }
    return !*request->origin ||
           tape_control_may_enter(request, tape_server_address(serve->server), error) == 0;
}

static int http_of(int status)
{
    return status == TAPE_USAGE ? 400 : status == TAPE_LIMIT ? 503 : 500;
}

/* What of the query does nothing: a slip of the pen would go unseen. */
static void note_query(struct tape_session *session, const char *query, int first)
{
    char key[KEY_BYTES], note[2 * KEY_BYTES + 80];
    int ours;
    while ((query = tape_exchange_next_key(query, key, sizeof key, &ours))) {
        int joins = strcmp(key, "session") == 0 || strcmp(key, "state") == 0;
        if (ours < 0)
            snprintf(note, sizeof note, "\"%s\" in a client's URL is not known and ignored", key);
        else if (ours > 0 && !first && !joins)
            snprintf(note, sizeof note,
                     "%s= in a client's URL is ignored: the session is there already", key);
        else
            continue;
        tape_session_note(session, note);
    }
}

static void enter(struct tape_serve *serve, struct tape_peer *peer,
                  struct tape_exchange_client *client, const struct tape_exchange_wishes *wishes,
                  const char *query)
{
    unsigned opened = serve->opened;
    struct tape_error error = {0};
    int64_t now_ns = tape_pace_now();
    struct tape_session *session = choose_session(serve, wishes, &error);
    struct tape_session_member *member =
        session ? tape_session_join(session, peer, client, wishes->state, now_ns, &error) : NULL;
    if (!member) {
        refuse(serve, peer, http_of(error.status), &error);
        return;
    }
    note_query(session, query, serve->opened != opened);
    tape_peer_accept(peer, member);
    tape_session_welcome(member, now_ns);
}

static void upgrade(struct tape_serve *serve, struct tape_peer *peer,
                    const struct tape_server_request *request)
{
    struct tape_exchange_client client;
    struct tape_exchange_wishes wishes;
    struct tape_error error = {0};
    int status =
        tape_exchange_open(&client, &serve->exchange, request->path, request->query, &error);
    if (status < 0)
        refuse(serve, peer, status == TAPE_USAGE ? (client.root ? 400 : 404) : 400, &error);
    else if (!may_watch(serve, request, &error))
        refuse(serve, peer, 403, &error);
    else if (tape_exchange_read_wishes(request->query, &wishes, &error) < 0)
        refuse(serve, peer, 400, &error);
    else
        enter(serve, peer, &client, &wishes, request->query);
    tape_exchange_close(&client);
}

/* ---- what the server calls ---- */

static void on_request(void *context, struct tape_peer *peer,
                       const struct tape_server_request *request)
{
    if (request->wants_websocket)
        upgrade(context, peer, request);
    else
        tape_serve_requests(context, peer, request);
}

static void on_message(void *context, struct tape_peer *peer, int opcode, const char *payload,
                       size_t bytes)
{
    (void)context, (void)opcode;
    tape_session_request(tape_peer_context(peer), payload, bytes, tape_pace_now());
}

static void on_closed(void *context, struct tape_peer *peer, int code)
{
    (void)context, (void)code;
    struct tape_session_member *member = tape_peer_context(peer);
    tape_session_leave(member, tape_pace_now());
}

/* That somebody has room again is found when the sessions are run next. */
static void on_drained(void *context, struct tape_peer *peer)
{
    (void)context, (void)peer;
}

struct tape_server_handler tape_serve_handler(struct tape_serve *serve)
{
    return (struct tape_server_handler){serve, on_request, on_message, on_closed, on_drained};
}
