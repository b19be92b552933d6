/* A venue from its JSON. */
#include "format/venue_profile.h"

#include <stdlib.h>
#include <string.h>

#include "format/settings.h"
#include "format/venue_pattern.h"

static const struct tape_settings_member route_members[] = {
    {"name", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {"url", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {"streams", TAPE_SETTINGS_FORM_TEXTS, 1, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member limit_members[] = {
    {"streams_per_connection", TAPE_SETTINGS_FORM_COUNT, 1, NULL},
    {"streams_per_request", TAPE_SETTINGS_FORM_COUNT, 1, NULL},
    {"messages_per_second", TAPE_SETTINGS_FORM_COUNT, 1, NULL},
    {"first_message_seconds", TAPE_SETTINGS_FORM_COUNT, 1, NULL},
    {"connection_life_seconds", TAPE_SETTINGS_FORM_COUNT, 1, NULL},
    {"ping_seconds", TAPE_SETTINGS_FORM_COUNT, 0, NULL},
    {"pong_seconds", TAPE_SETTINGS_FORM_COUNT, 0, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member sequence_members[] = {
    {"streams", TAPE_SETTINGS_FORM_TEXTS, 1, NULL},
    {"rule", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member silence_members[] = {
    {"streams", TAPE_SETTINGS_FORM_TEXTS, 1, NULL},
    {"hint", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member snapshot_members[] = {
    {"streams", TAPE_SETTINGS_FORM_TEXTS, 1, NULL},
    {"url", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member profile_members[] = {
    {"name", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {"aliases", TAPE_SETTINGS_FORM_TEXTS, 0, NULL},
    {"symbols", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {"routes", TAPE_SETTINGS_FORM_OBJECTS, 1, route_members},
    {"unrouted", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {"subscribe", TAPE_SETTINGS_FORM_ANY, 1, NULL},
    {"limits", TAPE_SETTINGS_FORM_OBJECT, 1, limit_members},
    {"sequences", TAPE_SETTINGS_FORM_OBJECTS, 0, sequence_members},
    {"silence", TAPE_SETTINGS_FORM_OBJECTS, 0, silence_members},
    {"snapshots", TAPE_SETTINGS_FORM_OBJECTS, 0, snapshot_members},
    {NULL, 0, 0, NULL},
};

/* What the builders below share. */
struct builder {
    struct tape_venue *venue;
    const struct tape_settings *json;
    struct tape_error *error;
};

static const cJSON *member_of(const cJSON *object, const char *word)
{
    return cJSON_GetObjectItemCaseSensitive(object, word);
}

static const char *text_of(const cJSON *object, const char *word)
{
    return cJSON_GetStringValue(member_of(object, word));
}

static int count_of(const cJSON *object, const char *word)
{
    return (int)member_of(object, word)->valuedouble; /* the form was checked: 1 to 10^9 */
}

static int no_memory(const struct builder *builder)
{
    return tape_error_set(builder->error, TAPE_FAILED, "%s: no memory", builder->json->source);
}

/* ---- patterns ---- */

static int build_patterns(const struct builder *builder, const cJSON *object,
                          struct tape_venue_patterns *patterns)
{
    const cJSON *list = member_of(object, "streams"), *text;
    patterns->of = calloc(TAPE_VENUE_PATTERNS_MAX, sizeof *patterns->of);
    if (!patterns->of)
        return no_memory(builder);
    cJSON_ArrayForEach(text, list)
    {
        int count = tape_venue_expand(text->valuestring, patterns->of + patterns->count,
                                      TAPE_VENUE_PATTERNS_MAX - (int)patterns->count);
        if (count < 0)
            return tape_settings_fault(builder->json, list, builder->error,
                                       "\"%.140s\" is no pattern: braces {a,b} must pair and not "
                                       "nest, a pattern have at most %d bytes, a list stand for "
                                       "at most %d",
                                       text->valuestring, TAPE_VENUE_NAME_MAX_BYTES,
                                       TAPE_VENUE_PATTERNS_MAX);
        patterns->count += (size_t)count;
    }
    return 0;
}

static void free_patterns(struct tape_venue_patterns *patterns)
{
    for (size_t i = 0; i < patterns->count; i++)
        free(patterns->of[i]);
    free(patterns->of);
}

int tape_venue_matches(const struct tape_venue_patterns *patterns, const char *stream, size_t bytes)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (tape_venue_match(patterns->of[i], stream, bytes))
            return (int)i;
    return -1;
}

/* ---- routes ---- */

/* The path of a URL of the form ws[s]://host[:port][/path], or NULL. */
static const char *path_of(const char *url)
{
    size_t scheme = strncmp(url, "wss://", 6) == 0 ? 6 : strncmp(url, "ws://", 5) == 0 ? 5 : 0;
    if (!scheme || url[scheme] == '/' || !url[scheme] || strpbrk(url, " \"\\#"))
        return NULL;
    const char *path = strchr(url + scheme, '/');
    return path ? path : "/";
}

static int build_routes(const struct builder *builder)
{
    struct tape_venue *venue = builder->venue;
    const cJSON *list = member_of(venue->json, "routes"), *item;
    venue->routes = calloc((size_t)cJSON_GetArraySize(list), sizeof *venue->routes);
    if (!venue->routes)
        return no_memory(builder);
    cJSON_ArrayForEach(item, list)
    {
        struct tape_venue_route *route = &venue->routes[venue->routes_count++];
        route->name = text_of(item, "name");
        route->url = text_of(item, "url");
        route->path = path_of(route->url);
        if (!route->path)
            return tape_settings_fault(builder->json, member_of(item, "url"), builder->error,
                                       "\"%.200s\" is no URL of the form wss://host/path",
                                       route->url);
        int status = build_patterns(builder, item, &route->streams);
        if (status < 0)
            return status;
    }
    return 0;
}

/* ---- rules for streams ---- */

static int find_sequence(const char *word)
{
    static const char *const words[] = {
#define WORD(name, word, rule) [TAPE_VENUE_SEQUENCE_##name] = word,
        TAPE_VENUE_SEQUENCE_TABLE(WORD)
#undef WORD
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0)
            return (int)i;
    return -1;
}

static int build_rule(const struct builder *builder, const cJSON *item,
                      struct tape_venue_rule *rule)
{
    const char *word = text_of(item, "rule");
    rule->hint = text_of(item, "hint");
    rule->url = text_of(item, "url");
    if (rule->url && (strncmp(rule->url, "https://", 8) != 0 || !strstr(rule->url, "{SYMBOL}")))
        return tape_settings_fault(builder->json, member_of(item, "url"), builder->error,
                                   "\"%.200s\" is no URL of the form "
                                   "https://host/path?symbol={SYMBOL}",
                                   rule->url);
    if (word) {
        rule->sequence = find_sequence(word);
        if (rule->sequence < 0)
            return tape_settings_fault(builder->json, member_of(item, "rule"), builder->error,
                                       "\"%.64s\" is no sequence rule", word);
    }
    return build_patterns(builder, item, &rule->streams);
}

/* The list of rules that ${word} names, if there is one. */
static int build_rules(const struct builder *builder, const char *word,
                       struct tape_venue_rule **rules, int *count)
{
    const cJSON *list = member_of(builder->venue->json, word), *item;
    if (!list)
        return 0;
    *rules = calloc((size_t)cJSON_GetArraySize(list), sizeof **rules);
    if (!*rules)
        return no_memory(builder);
    cJSON_ArrayForEach(item, list)
    {
        int status = build_rule(builder, item, &(*rules)[(*count)++]);
        if (status < 0)
            return status;
    }
    return 0;
}

/* ---- the request ---- */

static const char streams_mark[] = "\"{streams}\"", id_mark[] = "\"{id}\"";

/* Where the mark stands in text, or NULL unless it stands there once. */
static char *find_once(char *text, const char *mark)
{
    char *at = strstr(text, mark);
    return at && !strstr(at + 1, mark) ? at : NULL;
}

static int build_subscribe(const struct builder *builder)
{
    struct tape_venue *venue = builder->venue;
    const cJSON *template = member_of(venue->json, "subscribe");
    venue->subscribe = cJSON_PrintUnformatted(template);
    if (!venue->subscribe)
        return no_memory(builder);
    char *text = venue->subscribe;
    char *streams = find_once(text, streams_mark), *id = find_once(text, id_mark);
    if (!streams || !id)
        return tape_settings_fault(builder->json, template, builder->error,
                                   "\"subscribe\" must hold the strings \"{streams}\" and "
                                   "\"{id}\", each once");
    venue->id_first = id < streams;
    char *first = venue->id_first ? id : streams, *second = venue->id_first ? streams : id;
    char *middle = first + strlen(venue->id_first ? id_mark : streams_mark);
    char *last = second + strlen(venue->id_first ? streams_mark : id_mark);
    venue->piece_bytes[0] = (size_t)(first - text);
    venue->piece_bytes[1] = (size_t)(second - middle);
    venue->piece_bytes[2] = strlen(last);
    memmove(first, middle, venue->piece_bytes[1]);
    memmove(first + venue->piece_bytes[1], last, venue->piece_bytes[2] + 1);
    return 0;
}

/* ---- the whole ---- */

static int build_symbols(const struct builder *builder)
{
    const char *word = text_of(builder->venue->json, "symbols");
    builder->venue->lower_case = word && strcmp(word, "lower_case") == 0;
    if (word && !builder->venue->lower_case && strcmp(word, "any") != 0)
        return tape_settings_fault(builder->json, member_of(builder->venue->json, "symbols"),
                                   builder->error, "\"symbols\" must be \"lower_case\" or \"any\"");
    return 0;
}

/* In ns; the fallback where it is left out. */
static int64_t seconds_of(const cJSON *limits, const char *word, int fallback)
{
    return (member_of(limits, word) ? count_of(limits, word) : fallback) * INT64_C(1000000000);
}

static void build_limits(struct tape_venue *venue)
{
    const cJSON *limits = member_of(venue->json, "limits");
    venue->limits.streams_per_connection = count_of(limits, "streams_per_connection");
    venue->limits.streams_per_request = count_of(limits, "streams_per_request");
    venue->limits.messages_per_second = count_of(limits, "messages_per_second");
    venue->limits.first_message_ns =
        count_of(limits, "first_message_seconds") * INT64_C(1000000000);
    venue->limits.connection_life_ns =
        count_of(limits, "connection_life_seconds") * INT64_C(1000000000);
    venue->limits.ping_ns = seconds_of(limits, "ping_seconds", 180);
    venue->limits.pong_ns = seconds_of(limits, "pong_seconds", 600);
}

/* The route that "unrouted" names. */
static int build_unrouted(const struct builder *builder)
{
    struct tape_venue *venue = builder->venue;
    const char *word = text_of(venue->json, "unrouted");
    venue->unrouted = -1;
    for (int i = 0; word && i < venue->routes_count; i++)
        if (strcmp(venue->routes[i].name, word) == 0)
            venue->unrouted = i;
    if (word && venue->unrouted < 0)
        return tape_settings_fault(builder->json, member_of(venue->json, "unrouted"),
                                   builder->error, "\"unrouted\": no route is called \"%.64s\"",
                                   word);
    return 0;
}

static int build(const struct builder *builder)
{
    struct tape_venue *venue = builder->venue;
    venue->name = text_of(venue->json, "name");
    venue->aliases = member_of(venue->json, "aliases");
    build_limits(venue);
    int status = build_symbols(builder);
    if (status == 0)
        status = build_routes(builder);
    if (status == 0)
        status = build_unrouted(builder);
    if (status == 0)
        status = build_subscribe(builder);
    if (status == 0)
        status = build_rules(builder, "sequences", &venue->sequences, &venue->sequences_count);
    if (status == 0)
        status = build_rules(builder, "silence", &venue->silence, &venue->silence_count);
    if (status == 0)
        status = build_rules(builder, "snapshots", &venue->snapshots, &venue->snapshots_count);
    return status;
}

struct tape_venue *tape_venue_parse(const char *text, size_t bytes, const char *source,
                                    struct tape_error *error)
{
    struct tape_settings json;
    struct tape_venue *venue = calloc(1, sizeof *venue);
    if (!venue) {
        tape_error_set(error, TAPE_FAILED, "%s: no memory", source);
        return NULL;
    }
    int status = tape_settings_read(&json, text, bytes, source, profile_members, error);
    if (status == 0) {
        struct builder builder = {venue, &json, error};
        venue->json = json.root;
        status = build(&builder);
        json.root = NULL;
    }
    tape_settings_free(&json);
    if (status == 0)
        return venue;
    tape_venue_free(venue);
    return NULL;
}

static void free_rules(struct tape_venue_rule *rules, int count)
{
    for (int i = 0; i < count; i++)
        free_patterns(&rules[i].streams);
    free(rules);
}

void tape_venue_free(struct tape_venue *venue)
{
    if (!venue)
        return;
    for (int i = 0; i < venue->routes_count; i++)
        free_patterns(&venue->routes[i].streams);
    free(venue->routes);
    free_rules(venue->sequences, venue->sequences_count);
    free_rules(venue->silence, venue->silence_count);
    free_rules(venue->snapshots, venue->snapshots_count);
    cJSON_free(venue->subscribe);
    cJSON_Delete(venue->json);
    free(venue);
}
