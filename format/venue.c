#include "format/venue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/distance.h"
#include "format/tick.h"
#include "format/utf8.h"
#include "format/venue_pattern.h"
#include "format/venue_profile.h"

/* ---- which venue ---- */

static int is_called(const struct tape_venue *venue, const char *name)
{
    const cJSON *alias;
    if (strcmp(venue->name, name) == 0)
        return 1;
    cJSON_ArrayForEach(alias, venue->aliases) if (strcmp(alias->valuestring, name) == 0) return 1;
    return 0;
}

const char *tape_venue_names(int index)
{
    for (int i = 0; i <= index; i++)
        if (!tape_venue_sources[i].name)
            return NULL;
    return index < 0 ? NULL : tape_venue_sources[index].name;
}

/* Words for the error: the known names, and of them and their aliases the nearest. */
struct known {
    char names[256];
    char nearest[64];
    int distance;
};

static void consider(struct known *known, const char *asked, const char *name)
{
    int distance = tape_distance_words(asked, name);
    if (tape_distance_close(name, distance) && (!*known->nearest || distance < known->distance)) {
        snprintf(known->nearest, sizeof known->nearest, "%s", name);
        known->distance = distance;
    }
}

static void know(struct known *known, const char *asked, const struct tape_venue *venue)
{
    size_t used = strlen(known->names);
    const cJSON *alias = venue->aliases ? venue->aliases->child : NULL;
    snprintf(known->names + used, sizeof known->names - used, "%s%s%s%s%s", used ? ", " : "",
             alias ? alias->valuestring : "", alias ? " (" : "", venue->name, alias ? ")" : "");
    consider(known, asked, venue->name);
    cJSON_ArrayForEach(alias, venue->aliases) consider(known, asked, alias->valuestring);
}

struct tape_venue *tape_venue_load(const char *name, struct tape_error *error)
{
    struct known known = {"", "", 0};
    for (const struct tape_venue_source *source = tape_venue_sources; source->name; source++) {
        struct tape_venue *venue =
            tape_venue_parse(source->text, source->bytes, source->name, error);
        if (!venue || is_called(venue, name))
            return venue;
        know(&known, name, venue);
        tape_venue_free(venue);
    }
    if (*known.nearest)
        tape_error_set(error, TAPE_USAGE,
                       "unknown venue \"%.64s\" (did you mean \"%s\"?); known: %s", name,
                       known.nearest, known.names);
    else
        tape_error_set(error, TAPE_USAGE, "unknown venue \"%.64s\"; known: %s", name, known.names);
    return NULL;
}

const char *tape_venue_name(const struct tape_venue *venue)
{
    return venue->name;
}

int tape_venue_routes(const struct tape_venue *venue)
{
    return venue->routes_count;
}

const char *tape_venue_route_name(const struct tape_venue *venue, int route)
{
    return venue->routes[route].name;
}

const char *tape_venue_route_url(const struct tape_venue *venue, int route)
{
    return venue->routes[route].url;
}

const char *tape_venue_route_path(const struct tape_venue *venue, int route)
{
    return venue->routes[route].path;
}

int tape_venue_unrouted(const struct tape_venue *venue)
{
    return venue->unrouted;
}

void tape_venue_read_limits(const struct tape_venue *venue, struct tape_venue_limits *limits)
{
    *limits = venue->limits;
}

/* ---- which route ---- */

int tape_venue_find_route(const struct tape_venue *venue, const char *stream, size_t bytes)
{
    for (int i = 0; i < venue->routes_count; i++)
        if (tape_venue_matches(&venue->routes[i].streams, stream, bytes) >= 0)
            return i;
    return -1;
}

static int is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* The bytes of the symbol, which stands before the first '@'; 0 when the name has none. */
static size_t symbol_bytes(const char *stream)
{
    return stream[0] == '!' || !strchr(stream, '@') ? 0 : strcspn(stream, "@");
}

/* A stream's name is put into JSON, into URLs and onto terminals: what could break any of them is
 * in no venue's names. Returns what is wrong, or NULL. */
static const char *form_fault(const char *stream)
{
    size_t bytes = strlen(stream);
    struct tape_utf8 state = {0, 0, 0};
    if (bytes == 0)
        return "it is empty";
    if (bytes > TAPE_VENUE_NAME_MAX_BYTES)
        return "it is longer than 128 bytes";
    for (const char *at = stream; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("\"\\/?&#%{}[]<>'`,;", *at))
            return "it holds a character that no stream's name has";
    if (tape_utf8_check(&state, (const uint8_t *)stream, bytes) != bytes ||
        !tape_utf8_complete(&state))
        return "it is not UTF-8";
    return NULL;
}

static void quote(char to[64], const char *stream)
{
    size_t at = 0;
    for (; stream[at] && at < 63; at++)
        to[at] = stream[at] >= ' ' && stream[at] < 0x7f ? stream[at] : '?';
    to[at] = 0;
}

/* The pattern with the stream's symbol, in lower case where the venue's are, for its first star.
 * 0: it has more than that one star, so that it is no name. */
static int suggest(const struct tape_venue *venue, const char *pattern, const char *stream,
                   char to[2 * TAPE_VENUE_NAME_MAX_BYTES + 1])
{
    const char *star = strchr(pattern, '*');
    size_t symbol = symbol_bytes(stream);
    if (!star) {
        strncpy(to, pattern, TAPE_VENUE_NAME_MAX_BYTES + 1);
        return 1;
    }
    if (symbol == 0 || strchr(star + 1, '*'))
        return 0;
    snprintf(to, 2 * TAPE_VENUE_NAME_MAX_BYTES + 1, "%.*s%.*s%s", (int)(star - pattern), pattern,
             (int)symbol, stream, star + 1);
    for (char *at = to + (star - pattern); venue->lower_case && *at && *at != '@'; at++)
        if (is_upper(*at))
            *at |= 0x20;
    return 1;
}

/* The name nearest to stream that has a route; 0 when none is near. */
static int find_nearest(const struct tape_venue *venue, const char *stream,
                        char to[2 * TAPE_VENUE_NAME_MAX_BYTES + 1])
{
    int nearest = -1;
    for (int i = 0; i < venue->routes_count; i++) {
        const struct tape_venue_patterns *patterns = &venue->routes[i].streams;
        for (size_t j = 0; j < patterns->count; j++) {
            char name[2 * TAPE_VENUE_NAME_MAX_BYTES + 1];
            if (!suggest(venue, patterns->of[j], stream, name))
                continue;
            int distance = tape_distance_words(stream, name);
            if (nearest < 0 || distance < nearest) {
                nearest = distance;
                memcpy(to, name, sizeof name);
            }
        }
    }
    return nearest >= 0 && tape_distance_close(stream + symbol_bytes(stream), nearest);
}

static int has_upper_symbol(const struct tape_venue *venue, const char *stream)
{
    for (size_t i = 0; venue->lower_case && i < symbol_bytes(stream); i++)
        if (is_upper(stream[i]))
            return 1;
    return 0;
}

int tape_venue_route(const struct tape_venue *venue, const char *stream, struct tape_error *error)
{
    char shown[64], meant[2 * TAPE_VENUE_NAME_MAX_BYTES + 1];
    const char *fault = form_fault(stream);
    quote(shown, stream);
    if (fault)
        return tape_error_set(error, TAPE_USAGE, "stream \"%s\": %s", shown, fault);
    int upper = has_upper_symbol(venue, stream);
    int route = upper ? -1 : tape_venue_find_route(venue, stream, strlen(stream));
    if (route >= 0)
        return route;
    const char *why = upper ? "symbols are in lower case in stream names"
                      : strpbrk(stream, "@!")
                          ? "not a stream that is known, so that its route cannot be told"
                          : "no channel is named (streams are <symbol>@<channel>)";
    if (find_nearest(venue, stream, meant))
        return tape_error_set(error, TAPE_USAGE, "stream \"%s\" on %s: %s (did you mean \"%s\"?)",
                              shown, venue->name, why, meant);
    return tape_error_set(error, TAPE_USAGE, "stream \"%s\" on %s: %s", shown, venue->name, why);
}

/* ---- asking ---- */

/* Invariant: used <= room, or full. */
struct request {
    char *to;
    size_t room, used;
    int full;
};

static void put(struct request *request, const char *text, size_t bytes)
{
    if (request->full || bytes > request->room - request->used) {
        request->full = 1;
        return;
    }
    memcpy(request->to + request->used, text, bytes);
    request->used += bytes;
}

static void put_streams(struct request *request, const char *const *streams, size_t count)
{
    put(request, "[", 1);
    for (size_t i = 0; i < count; i++) {
        put(request, i ? ",\"" : "\"", i ? 2 : 1);
        put(request, streams[i], strlen(streams[i]));
        put(request, "\"", 1);
    }
    put(request, "]", 1);
}

int tape_venue_subscribe(const struct tape_venue *venue, char *to, size_t room,
                         const char *const *streams, size_t count, int64_t id)
{
    struct request request = {to, room < INT32_MAX ? room : INT32_MAX, 0, 0};
    const char *piece = venue->subscribe;
    char digits[24];
    int digits_bytes = snprintf(digits, sizeof digits, "%lld", (long long)id);
    for (size_t i = 0; i < count; i++)
        if (form_fault(streams[i]))
            return TAPE_USAGE;
    for (int i = 0; i < 3; i++) {
        put(&request, piece, venue->piece_bytes[i]);
        piece += venue->piece_bytes[i];
        if (i == 2)
            break;
        if (i == !venue->id_first)
            put(&request, digits, (size_t)digits_bytes);
        else
            put_streams(&request, streams, count);
    }
    return request.full ? TAPE_LIMIT : (int)request.used;
}

/* ---- watching ---- */

static const struct tape_venue_rule *find_rule(const struct tape_venue_rule *rules, int count,
                                               const char *stream, size_t bytes)
{
    for (int i = 0; i < count; i++)
        if (tape_venue_matches(&rules[i].streams, stream, bytes) >= 0)
            return &rules[i];
    return NULL;
}

int tape_venue_sequence(const struct tape_venue *venue, const char *stream, size_t bytes)
{
    const struct tape_venue_rule *rule =
        venue ? find_rule(venue->sequences, venue->sequences_count, stream, bytes) : NULL;
    return rule ? rule->sequence : TAPE_VENUE_SEQUENCE_NONE;
}

const char *tape_venue_silence_hint(const struct tape_venue *venue, const char *stream)
{
    const struct tape_venue_rule *rule =
        venue ? find_rule(venue->silence, venue->silence_count, stream, strlen(stream)) : NULL;
    return rule ? rule->hint : "an acknowledgement does not prove that a stream exists";
}

/* ---- snapshots ---- */

static void put_symbol(struct request *request, const char *stream)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const char *at = stream; *at && *at != '@'; at++) {
        unsigned char byte = (unsigned char)*at;
        int letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        int plain = letter || (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
        char coded[3] = {'%', hex[byte >> 4], hex[byte & 15]};
        char upper = (char)(byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte);
        put(request, plain ? &upper : coded, plain ? 1 : 3);
    }
}

int tape_venue_snapshot(const struct tape_venue *venue, const char *stream, char *to, size_t room)
{
    static const char mark[] = "{SYMBOL}";
    const struct tape_venue_rule *rule =
        venue ? find_rule(venue->snapshots, venue->snapshots_count, stream, strlen(stream)) : NULL;
    if (!rule || !strchr(stream, '@') || room == 0)
        return 0;
    struct request request = {to, (room < INT32_MAX ? room : INT32_MAX) - 1, 0, 0};
    const char *at = strstr(rule->url, mark);
    put(&request, rule->url, (size_t)(at - rule->url));
    put_symbol(&request, stream);
    at += sizeof mark - 1;
    put(&request, at, strlen(at));
    if (request.full)
        return TAPE_LIMIT;
    to[request.used] = '\0';
    return (int)request.used;
}
