/* Commands of a player as JSON in, its state as JSON out: one form for play's endpoint and serve's.
 * Memory only; see control_http.h for the requests they come in. */
#ifndef TAPE_REPLAY_CONTROL_H
#define TAPE_REPLAY_CONTROL_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "replay/timespec.h"
#include "replay/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_CONTROL_MAX_BYTES = 4096 }; /* of a command */

/* A command as it was written: its times may count from the ends of the archive. */
struct tape_control_request {
    int kind;     /* enum tape_transport_command_kind */
    double speed; /* 0: max */
    int has_from, has_to;
    struct tape_timespec from, to;
};

/*
 * tape_control_parse(text, bytes, request, error): 0, or TAPE_USAGE with what to mend. Text is one
 * JSON object: {"do":"pause"} resume, step-frame, step-time, unloop; {"do":"speed","speed":2} or
 * "2", "10x", "max"; {"do":"seek","to":TIME}; {"do":"loop","from":TIME,"to":TIME} (without "to": to
 * the end). TIME is a string as on the command line. Keys that are unknown, given twice, or of
 * another command are errors.
 */
int tape_control_parse(const char *text, size_t bytes, struct tape_control_request *request,
                       struct tape_error *error);

/* tape_control_resolve(request, first_ns, last_ns, command): with the archive's ends, which only
 * times relative to them need: see tape_control_is_relative(). */
void tape_control_resolve(const struct tape_control_request *request, int64_t first_ns,
                          int64_t last_ns, struct tape_transport_command *command);
int tape_control_is_relative(const struct tape_control_request *request);

/* tape_control_carry_out(transport, request, now_ns, error): what was parsed. 0 or a status. */
int tape_control_carry_out(struct tape_transport *transport,
                           const struct tape_control_request *request, int64_t now_ns,
                           struct tape_error *error);

/* tape_control_run(transport, text, bytes, now_ns, error): parses the command and carries it out. 0
 * or a status. */
int tape_control_run(struct tape_transport *transport, const char *text, size_t bytes,
                     int64_t now_ns, struct tape_error *error);

/* tape_control_state(session, transport, now_ns): its state as a JSON object, for the caller to add
 * to and delete; NULL when memory is short. ns are strings beside RFC 3339 text; what is not known
 * is not there. */
cJSON *tape_control_state(const char *session, struct tape_transport *transport, int64_t now_ns);

/* tape_control_error(error): {"error":"..."}. */
cJSON *tape_control_error(const struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
