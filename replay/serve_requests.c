/* Requests over HTTP: control, and the book as the venue's REST would tell it. */
#include <stdlib.h>
#include <string.h>

#include "replay/control.h"
#include "replay/control_http.h"
#include "replay/pace.h"
#include "replay/serve_internal.h"

enum { DEPTH_LIMIT = 500, DEPTH_LIMIT_MAX = 5000, SYMBOL_BYTES = 64 };

/* ---- control ---- */

static void answer_list(struct tape_serve *serve, struct tape_peer *peer)
{
    int64_t now_ns = tape_pace_now();
    cJSON *object = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(object, "sessions");
    for (int i = 0; i < serve->sessions_count; i++)
        cJSON_AddItemToArray(list, tape_session_state(serve->sessions[i], now_ns));
    tape_control_answer(peer, 200, object);
}

static void answer_control(struct tape_serve *serve, struct tape_peer *peer,
                           const struct tape_server_request *request, const char *name, int ask)
{
    struct tape_error error = {0};
    int status = 0;
    struct tape_session *session = tape_serve_find(serve, name);
    if (!session) {
        tape_error_set(&error, TAPE_USAGE, "there is no session \"%s\"", name);
        tape_control_answer(peer, 404, tape_control_error(&error));
        return;
    }
    if (ask == TAPE_CONTROL_DO)
        status = tape_session_command(session, request->body.data, request->body.bytes,
                                      tape_pace_now(), &error);
    tape_control_answer(peer, tape_control_http_status(status),
                        status < 0 ? tape_control_error(&error)
                                   : tape_session_state(session, tape_pace_now()));
}

/* ---- depth ---- */

static void refuse_depth(struct tape_peer *peer, int http, int code, const char *words)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "code", code);
    cJSON_AddStringToObject(object, "msg", words);
    tape_control_answer(peer, http, object);
}

/* The limit asked for; 0: it is none. */
static size_t read_limit(const char *query)
{
    char text[8], *end;
    int64_t bytes = tape_exchange_query(query, "limit", text, sizeof text);
    if (bytes == -1)
        return DEPTH_LIMIT;
    long limit = bytes > 0 && text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : 0;
    return limit >= 1 && limit <= DEPTH_LIMIT_MAX && !*end ? (size_t)limit : 0;
}

static void answer_depth(struct tape_serve *serve, struct tape_peer *peer, const char *query)
{
    char symbol[SYMBOL_BYTES], name[TAPE_EXCHANGE_SESSION_MAX_BYTES + 1] = TAPE_SERVE_MAIN;
    struct tape_growing answer = {0};
    struct tape_error error = {0};
    size_t limit = read_limit(query);
    if (tape_exchange_query(query, "symbol", symbol, sizeof symbol) <= 0) {
        refuse_depth(peer, 400, -1102,
                     "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.");
        return;
    }
    if (limit == 0) {
        refuse_depth(peer, 400, -1130, "Data sent for parameter 'limit' is not valid.");
        return;
    }
    int64_t named = tape_exchange_query(query, "session", name, sizeof name);
    struct tape_session *session = named == -1 || named > 0 ? tape_serve_find(serve, name) : NULL;
    int status = session ? tape_session_depth(session, symbol, limit, &answer, &error)
                         : tape_error_set(&error, TAPE_USAGE, "there is no such session");
    if (status == 0)
        tape_peer_respond(peer, 200, "application/json", (const char *)answer.bytes, answer.length);
    else
        refuse_depth(peer, session ? 503 : 404, -1000, error.text);
    free(answer.bytes);
}

/* ---- all of them ---- */

static int is_depth(const char *path)
{
    static const char *const paths[] = {"/fapi/v1/depth", "/dapi/v1/depth", "/api/v3/depth"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (strcmp(path, paths[i]) == 0)
            return 1;
    return 0;
}

void tape_serve_requests(struct tape_serve *serve, struct tape_peer *peer,
                         const struct tape_server_request *request)
{
    char session[TAPE_CONTROL_SESSION_BYTES];
    struct tape_error error = {0};
    int http = 400;
    const char *address = tape_server_address(serve->server);
    int ask = tape_control_ask(request, address, session, &http, &error);
    if (ask < 0) {
        tape_control_answer(peer, http, tape_control_error(&error));
    } else if (ask == TAPE_CONTROL_LIST) {
        answer_list(serve, peer);
    } else if (ask != TAPE_CONTROL_ELSE) {
        answer_control(serve, peer, request, session, ask);
    } else if (tape_control_may_enter(request, address, &error) < 0) {
        tape_control_answer(peer, 403, tape_control_error(&error));
    } else if (is_depth(request->path) && strcmp(request->method, "GET") == 0) {
        answer_depth(serve, peer, request->query);
    } else {
        tape_error_set(&error, TAPE_USAGE,
                       "nothing is here; streams are at /ws and /stream (WebSocket), commands at "
                       "/control");
        tape_control_answer(peer, 404, tape_control_error(&error));
    }
}
