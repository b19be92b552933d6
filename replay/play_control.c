/* The endpoint of `play --control`. */
#include <string.h>

#include "replay/control.h"
#include "replay/control_http.h"
#include "replay/pace.h"
#include "replay/play_internal.h"

#define PLAY_CONTROL_SESSION "play"

static void answer_state(struct tape_play *play, struct tape_peer *peer, int as_list)
{
    cJSON *state = tape_control_state(PLAY_CONTROL_SESSION, play->transport, tape_pace_now());
    if (as_list) {
        cJSON *all = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(all, "sessions");
        cJSON_AddItemToArray(list, state);
        state = all;
    }
    tape_control_answer(peer, 200, state);
}

static void on_request(void *context, struct tape_peer *peer,
                       const struct tape_server_request *request)
{
    struct tape_play *play = context;
    struct tape_error error = {0};
    char session[TAPE_CONTROL_SESSION_BYTES];
    int http;
    int ask = tape_control_ask(request, tape_server_address(play->server), session, &http, &error);
    if (ask == TAPE_CONTROL_ELSE)
        return; /* 404 */
    if (ask >= 0 && session[0] != '\0' && strcmp(session, PLAY_CONTROL_SESSION) != 0) {
        http = 404;
        ask = tape_error_set(&error, TAPE_USAGE, "no such session: there is \"%s\"",
                             PLAY_CONTROL_SESSION);
    }
    if (ask == TAPE_CONTROL_DO) {
        ask = tape_control_run(play->transport, request->body.data, request->body.bytes,
                               tape_pace_now(), &error);
        play->commands++;
        http = tape_control_http_status(ask);
    }
    if (ask < 0)
        tape_control_answer(peer, http, tape_control_error(&error));
    else
        answer_state(play, peer, ask == TAPE_CONTROL_LIST);
}

static void on_message(void *context, struct tape_peer *peer, int opcode, const char *payload,
                       size_t bytes)
{
    (void)context, (void)peer, (void)opcode, (void)payload, (void)bytes;
}

static void on_closed(void *context, struct tape_peer *peer, int code)
{
    (void)context, (void)peer, (void)code;
}

static void on_drained(void *context, struct tape_peer *peer)
{
    (void)context, (void)peer;
}

int tape_play_listen(struct tape_play *play, struct tape_error *error)
{
    struct tape_server_options options = {
        .listen = play->options->control,
        .peers_max = 64,
        .handler = {play, on_request, on_message, on_closed, on_drained},
    };
    play->server = tape_server_open(&options, error);
    if (!play->server)
        return tape_error_wrap(error, "--control");
    if (!play->options->json)
        fprintf(play->notices, "tape-replay: control at http://%s/control\n",
                tape_server_address(play->server));
    return 0;
}
