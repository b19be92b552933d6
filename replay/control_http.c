#include "replay/control_http.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONTROL_PATH "/control"

/* The host of "host:port", "[::1]:port", "host": without brackets and port; 0 when there is none or
 * it is too long. */
static int take_host(const char *text, char *host, size_t room)
{
    const char *end = NULL;
    size_t bytes;
    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end)
            return 0;
        bytes = (size_t)(end - text);
    } else {
        bytes = strcspn(text, ":");
    }
    if (bytes == 0 || bytes >= room)
        return 0;
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    return 1;
}

static int is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(host, "localhost") == 0)
        return 1;
    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

/* "http://host:port" of the very host that the request is sent to. */
static int is_own_origin(const struct tape_server_request *request)
{
    const char *after = strstr(request->origin, "://");
    return after && strcasecmp(after + 3, request->host) == 0;
}

int tape_control_is_local(const char *address)
{
    char host[256];
    return take_host(address, host, sizeof host) && is_loopback(host);
}

int tape_control_may_enter(const struct tape_server_request *request, const char *address,
                           struct tape_error *error)
{
    char host[256];
    if (request->origin[0] != '\0' && !is_own_origin(request))
        return tape_error_set(error, TAPE_USAGE, "a page of %.200s must not command this player",
                              request->origin);
    if (request->host[0] != '\0' && tape_control_is_local(address) &&
        !(take_host(request->host, host, sizeof host) && is_loopback(host)))
        return tape_error_set(error, TAPE_USAGE,
                              "sent to %.200s, but this player listens on loopback only",
                              request->host);
    return 0;
}

static int refuse(int *http, int code, struct tape_error *error, const char *words)
{
    *http = code;
    return tape_error_set(error, TAPE_USAGE, "%s", words);
}

int tape_control_ask(const struct tape_server_request *request, const char *address,
                     char session[TAPE_CONTROL_SESSION_BYTES], int *http, struct tape_error *error)
{
    const char *after = request->path + strlen(CONTROL_PATH);
    session[0] = '\0';
    *http = 200;
    if (strncmp(request->path, CONTROL_PATH, strlen(CONTROL_PATH)) != 0 ||
        (*after != '\0' && *after != '/'))
        return TAPE_CONTROL_ELSE;
    if (tape_control_may_enter(request, address, error) < 0) {
        *http = 403;
        return TAPE_USAGE;
    }
    int gets = strcmp(request->method, "GET") == 0, posts = strcmp(request->method, "POST") == 0;
    if (*after == '/')
        after++;
    if (!gets && !posts)
        return refuse(http, 405, error, "/control takes GET and POST");
    if (*after == '\0' && posts)
        return refuse(http, 405, error, "name the session: POST /control/<session>");
    if (strlen(after) >= TAPE_CONTROL_SESSION_BYTES || strchr(after, '/'))
        return refuse(http, 404, error, "no such session");
    memcpy(session, after, strlen(after) + 1);
    return posts ? TAPE_CONTROL_DO : *after ? TAPE_CONTROL_SHOW : TAPE_CONTROL_LIST;
}

int tape_control_http_status(int status)
{
    return status >= 0 ? 200 : status == TAPE_USAGE ? 400 : 500;
}

void tape_control_answer(struct tape_peer *peer, int http, cJSON *object)
{
    static const char short_of_memory[] = "{\"error\":\"out of memory\"}\n";
    char *text = object ? cJSON_PrintUnformatted(object) : NULL;
    size_t bytes = text ? strlen(text) : 0;
    char *line = text ? realloc(text, bytes + 2) : NULL;
    if (line) {
        memcpy(line + bytes, "\n", 2);
        tape_peer_respond(peer, http, "application/json", line, bytes + 1);
    } else {
        tape_peer_respond(peer, 500, "application/json", short_of_memory,
                          sizeof short_of_memory - 1);
    }
    free(line ? line : text);
    cJSON_Delete(object);
}
