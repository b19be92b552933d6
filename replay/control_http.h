/* /control: the requests in which commands come and states are asked for. */
#ifndef TAPE_REPLAY_CONTROL_HTTP_H
#define TAPE_REPLAY_CONTROL_HTTP_H

#include <cjson/cJSON.h>

#include "format/error.h"
#include "replay/server.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_CONTROL_SESSION_BYTES = 65 }; /* of a session's name and NUL */

enum tape_control_ask {
    TAPE_CONTROL_ELSE, /* it is not below /control */
    TAPE_CONTROL_LIST, /* GET /control */
    TAPE_CONTROL_SHOW, /* GET /control/<session> */
    TAPE_CONTROL_DO,   /* POST /control/<session> */
};

/*
 * tape_control_ask(request, address, session, error): what the request asks for, session is "" for
 * all of them; or, below /control, TAPE_USAGE for what cannot be meant, with *http the status to
 * answer with: 403 when a browser's page of another site sends it (Origin) or, at a listener of
 * loopback (its address as of tape_server_address()), it is sent for another host than loopback
 * (DNS rebinding), 404, 405.
 */
int tape_control_ask(const struct tape_server_request *request, const char *address,
                     char session[TAPE_CONTROL_SESSION_BYTES], int *http, struct tape_error *error);

/* tape_control_may_enter(request, address, error): the first half of it, for other paths: 0, or
 * TAPE_USAGE: answer 403. */
int tape_control_may_enter(const struct tape_server_request *request, const char *address,
                           struct tape_error *error);

/* tape_control_is_local(address): 1 when nobody but this machine reaches it. */
int tape_control_is_local(const char *address);

/* tape_control_http_status(status): the HTTP status for what a command came to: 200, 400 for
 * TAPE_USAGE, 500. */
int tape_control_http_status(int status);

/* tape_control_answer(peer, http, object): one response, JSON and a newline; deletes the object. */
void tape_control_answer(struct tape_peer *peer, int http, cJSON *object);

#ifdef __cplusplus
}
#endif
#endif
