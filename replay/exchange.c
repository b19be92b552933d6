#include "replay/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"

/* ---- names ---- */

/* What is put into the list of subscriptions must not need escapes there. */
static int can_be_name(const char *name, size_t bytes)
{
    struct tape_utf8 state = {0, 0, 0};
    if (bytes == 0 || bytes > TAPE_EXCHANGE_NAME_MAX_BYTES)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f || name[i] == '"' || name[i] == '\\')
            return 0;
    return tape_utf8_check(&state, (const uint8_t *)name, bytes) == bytes &&
           tape_utf8_complete(&state);
}

static size_t limit_of(const struct tape_exchange *exchange)
{
    struct tape_venue_limits limits;
    if (!exchange->venue)
        return TAPE_EXCHANGE_STREAMS_MAX;
    tape_venue_read_limits(exchange->venue, &limits);
    return limits.streams_per_connection < TAPE_EXCHANGE_STREAMS_MAX
               ? (size_t)limits.streams_per_connection
               : TAPE_EXCHANGE_STREAMS_MAX;
}

static size_t find(const struct tape_exchange_client *client, const char *name, size_t bytes)
{
    size_t i = 0;
    while (i < client->count &&
           (client->names[i].bytes != bytes || memcmp(client->names[i].text, name, bytes) != 0))
        i++;
    return i;
}

static int grow(struct tape_exchange_client *client, struct tape_error *error)
{
    if (client->count < client->room)
        return 0;
    size_t room = client->room ? 2 * client->room : 8;
    struct tape_exchange_name *names = realloc(client->names, room * sizeof *names);
    if (!names)
        return tape_error_set(error, TAPE_FAILED, "no memory for subscriptions");
    client->names = names;
    client->room = room;
    return 0;
}

int tape_exchange_add(struct tape_exchange_client *client, const char *name, size_t bytes,
                      struct tape_error *error)
{
    size_t limit = limit_of(client->exchange);
    if (!can_be_name(name, bytes) || find(client, name, bytes) < client->count)
        return 0;
    if (client->count >= limit)
        return tape_error_set(error, TAPE_LIMIT, "more than %zu streams on one connection", limit);
    int status = grow(client, error);
    if (status < 0)
        return status;
    char *text = malloc(bytes);
    if (!text)
        return tape_error_set(error, TAPE_FAILED, "no memory for subscriptions");
    memcpy(text, name, bytes);
    client->names[client->count++] = (struct tape_exchange_name){
        .text = text,
        .bytes = bytes,
        .sent = tape_exchange_routed(client->exchange, client->root, name, bytes),
    };
    return 1;
}

int tape_exchange_drop(struct tape_exchange_client *client, const char *name, size_t bytes)
{
    size_t at = find(client, name, bytes);
    if (at == client->count)
        return 0;
    free(client->names[at].text);
    memmove(client->names + at, client->names + at + 1,
            (client->count - at - 1) * sizeof *client->names);
    client->count--;
    return 1;
}

/* ---- routes ---- */

/* The part of a route's path before /stream or /ws: its bytes. */
static size_t root_bytes(const char *path)
{
    const char *last = strrchr(path, '/');
    return last && (strcmp(last, "/stream") == 0 || strcmp(last, "/ws") == 0)
               ? (size_t)(last - path)
               : strlen(path);
}

static int is_root_of(const struct tape_venue *venue, int route, const char *root)
{
    const char *path = tape_venue_route_path(venue, route);
    size_t bytes = root_bytes(path);
    return strlen(root) == bytes && memcmp(path, root, bytes) == 0;
}

int tape_exchange_routed(const struct tape_exchange *exchange, const char *root, const char *name,
                         size_t bytes)
{
    const struct tape_venue *venue = exchange->venue;
    int route = venue && !exchange->unrouted ? tape_venue_find_route(venue, name, bytes) : -1;
    if (route < 0 || is_root_of(venue, route, root))
        return 1;
    return *root == '\0' && route == tape_venue_unrouted(venue);
}

size_t tape_exchange_root(const struct tape_exchange *exchange, const char *name, size_t bytes,
                          const char **root)
{
    int route = exchange->venue ? tape_venue_find_route(exchange->venue, name, bytes) : -1;
    *root = route < 0 ? "" : tape_venue_route_path(exchange->venue, route);
    return root_bytes(*root);
}

/* The venue's own spelling of the root, or NULL where it has none such. */
static const char *known_root(const struct tape_exchange *exchange, const char *path, size_t bytes)
{
    static const char *const any[] = {"", "/public", "/market"};
    const struct tape_venue *venue = exchange->venue;
    for (size_t i = 0; i < sizeof any / sizeof *any; i++) {
        if (strlen(any[i]) != bytes || memcmp(any[i], path, bytes) != 0)
            continue;
        int known = !venue || exchange->unrouted || bytes == 0;
        for (int route = 0; !known && route < tape_venue_routes(venue); route++)
            known = is_root_of(venue, route, any[i]);
        if (known)
            return any[i];
    }
    for (int route = 0; venue && route < tape_venue_routes(venue); route++) {
        const char *own = tape_venue_route_path(venue, route);
        if (root_bytes(own) == bytes && bytes > 0 && memcmp(own, path, bytes) == 0)
            return own[bytes] == '\0' ? own : NULL;
    }
    return NULL;
}

/* ---- the URL ---- */

/* Adds the names of a list with slashes between. */
static int add_all(struct tape_exchange_client *client, const char *list, struct tape_error *error)
{
    while (*list) {
        size_t bytes = strcspn(list, "/");
        int status = tape_exchange_add(client, list, bytes, error);
        if (status < 0)
            return status;
        list += bytes + (list[bytes] == '/');
    }
    return 0;
}

static int add_from_query(struct tape_exchange_client *client, const char *query,
                          struct tape_error *error)
{
    size_t room = strlen(query) + 1;
    char *list = malloc(room);
    if (!list)
        return tape_error_set(error, TAPE_FAILED, "no memory for the query");
    int64_t bytes = tape_exchange_query(query, "streams", list, room);
    int status = bytes == TAPE_USAGE
                     ? tape_error_set(error, TAPE_USAGE, "streams= in the URL is badly encoded")
                 : bytes > 0 ? add_all(client, list, error)
                             : 0;
    free(list);
    return status;
}

/* Where "/ws" or "/stream" stands as a whole step of the path, or NULL. */
static const char *find_step(const char *path, const char *step)
{
    size_t bytes = strlen(step);
    for (const char *at = strstr(path, step); at; at = strstr(at + 1, step))
        if (at[bytes] == '\0' || at[bytes] == '/')
            return at;
    return NULL;
}

int tape_exchange_open(struct tape_exchange_client *client, const struct tape_exchange *exchange,
                       const char *path, const char *query, struct tape_error *error)
{
    const char *ws = find_step(path, "/ws"), *stream = find_step(path, "/stream");
    int combined = stream && (!ws || stream < ws);
    const char *step = combined ? stream : ws;
    const char *root = step ? known_root(exchange, path, (size_t)(step - path)) : NULL;
    *client = (struct tape_exchange_client){.exchange = exchange, .combined = combined};
    if (!root)
        return tape_error_set(error, TAPE_USAGE,
                              "no such path; streams are at /ws, /ws/<stream> and "
                              "/stream?streams=<stream>/<stream>");
    client->root = root;
    const char *rest = step + (combined ? strlen("/stream") : strlen("/ws"));
    if (combined && rest[0] && rest[1])
        return tape_error_set(error, TAPE_USAGE,
                              "no such path; streams stand behind /stream?streams=");
    return combined ? add_from_query(client, query, error) : add_all(client, rest, error);
}

void tape_exchange_close(struct tape_exchange_client *client)
{
    for (size_t i = 0; i < client->count; i++)
        free(client->names[i].text);
    free(client->names);
    client->names = NULL;
    client->count = client->room = 0;
}
