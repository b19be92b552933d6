/* Any bytes as a command of a player, and as a host, an origin and a path that it comes by: what is
 * taken is whole, what is not is told in words. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replay/control.h"
#include "replay/control_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_request(const struct tape_control_request *request)
{
    struct tape_transport_command command;
    const char *word = tape_transport_command_word(request->kind);
    if (word[0] == '\0')
        abort();
    if (request->kind == TAPE_TRANSPORT_SPEED && request->speed != 0 &&
        !(request->speed >= 0.001 && request->speed <= 1000000))
        abort();
    if (request->kind == TAPE_TRANSPORT_SEEK && !request->has_to)
        abort();
    if (request->kind == TAPE_TRANSPORT_LOOP && !request->has_from)
        abort();
    tape_control_resolve(request, INT64_MIN, INT64_MAX, &command);
    if (command.kind != request->kind)
        abort();
}

/* The text is cut in three at its newlines: host, origin, path. */
static void check_ask(char *text)
{
    char none[] = "", *parts[3] = {text, none, none}, session[TAPE_CONTROL_SESSION_BYTES];
    struct tape_error error;
    int http;
    for (int i = 1; i < 3; i++) {
        char *end = strchr(parts[i - 1], '\n');
        if (!end)
            break;
        *end = '\0';
        parts[i] = end + 1;
    }
    struct tape_server_request request = {
        .method = "GET", .path = parts[2], .query = "", .host = parts[0], .origin = parts[1]};
    int ask = tape_control_ask(&request, "127.0.0.1:9080", session, &http, &error);
    if (ask < 0 && (error.text[0] == '\0' || http < 400 || http > 499))
        abort();
    if (ask > TAPE_CONTROL_ELSE && strncmp(parts[2], "/control", 8) != 0)
        abort();
    if (strlen(session) >= TAPE_CONTROL_SESSION_BYTES)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct tape_control_request request;
    struct tape_error error = {0};
    char *text = malloc(bytes + 1);
    if (!text)
        return 0;
    if (bytes > 0)
        memcpy(text, data, bytes);
    text[bytes] = '\0';
    int status = tape_control_parse(text, bytes, &request, &error);
    if (status == 0)
        check_request(&request);
    else if (status != TAPE_USAGE || error.text[0] == '\0')
        abort();
    check_ask(text);
    free(text);
    return 0;
}
