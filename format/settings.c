#include "format/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/distance.h"
#include "format/json.h"
#include "format/venue_pattern.h"

/* cJSON tells no places. It keeps the order, though: the members of a tree, each before its value's
 * own, are the keys of the text one after the other, and so a member's key is found by counting.
 * The count of each member that is checked is kept in valueint, which nothing else uses here. */

static int fault_at(const struct tape_settings *settings, size_t offset, struct tape_error *error,
                    const char *words)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < offset; i++) {
        column = settings->plain[i] == '\n' ? 1 : column + 1;
        line += settings->plain[i] == '\n';
    }
    return tape_error_set(error, TAPE_USAGE, "%s: line %d, column %d: %s", settings->source, line,
                          column, words);
}

int tape_settings_fault(const struct tape_settings *settings, const cJSON *member,
                        struct tape_error *error, const char *format, ...)
{
    char words[512];
    va_list list;
    va_start(list, format);
    vsnprintf(words, sizeof words, format, list);
    va_end(list);
    if (member == settings->root)
        return tape_error_set(error, TAPE_USAGE, "%s: %s", settings->source, words);
    return fault_at(settings, settings->keys[member->valueint], error, words);
}

/* A word of the file, fit to be shown. */
struct shown {
    char text[64];
};

static struct shown show(const char *word)
{
    struct shown shown;
    size_t at = 0;
    for (; word[at] && at < sizeof shown.text - 1; at++)
        shown.text[at] = word[at] >= ' ' && word[at] < 0x7f ? word[at] : '?';
    shown.text[at] = 0;
    return shown;
}

/* ---- comments and keys ---- */

/* Behind the string whose opening quote is at ${at}; the NUL when it does not end. */
static const char *skip_string(const char *at)
{
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

/* Behind the comment at ${at}, or NULL when it has no end. */
static char *skip_comment(char *at)
{
    if (at[1] == '/')
        return at + strcspn(at, "\n");
    char *end = strstr(at + 2, "*/");
    return end ? end + 2 : NULL;
}

/* Spaces for comments; returns the offset of one without an end, or -1. */
static long blank_comments(char *text)
{
    for (char *at = text; *at;) {
        if (*at == '"') {
            at += skip_string(at) - at;
        } else if (*at == '/' && (at[1] == '/' || at[1] == '*')) {
            char *end = skip_comment(at);
            if (!end)
                return at - text;
            for (; at < end; at++)
                if (*at != '\n')
                    *at = ' ';
        } else {
            at++;
        }
    }
    return -1;
}

/* The offsets of all keys, of text that cJSON has parsed. */
static int find_keys(struct tape_settings *settings)
{
    size_t room = 0;
    for (const char *at = settings->plain; *at;) {
        if (*at != '"') {
            at++;
            continue;
        }
        const char *key = at;
        at = skip_string(at);
        const char *colon = at;
        while (*colon && (unsigned char)*colon <= ' ')
            colon++;
        if (*colon != ':')
            continue;
        if (settings->keys_count == room) {
            room = room ? room * 2 : 64;
            size_t *grown = realloc(settings->keys, room * sizeof *grown);
            if (!grown)
                return 0;
            settings->keys = grown;
        }
        settings->keys[settings->keys_count++] = (size_t)(key - settings->plain);
    }
    return 1;
}

/* ---- the form ---- */

struct checker {
    const struct tape_settings *settings;
    size_t next_key;
    struct tape_error *error;
};

static int check_object(struct checker *checker, cJSON *object,
                        const struct tape_settings_member *members);

static int is_text(const cJSON *item)
{
    if (!cJSON_IsString(item) || !*item->valuestring)
        return 0;
    for (const char *at = item->valuestring; *at; at++)
        if (*at < ' ' || *at >= 0x7f)
            return 0;
    return 1;
}

static int is_name(const cJSON *item)
{
    if (!cJSON_IsString(item) || !*item->valuestring)
        return 0;
    for (const char *at = item->valuestring; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return 0;
    return 1;
}

static size_t count_members(const cJSON *item)
{
    size_t count = 0;
    const cJSON *child;
    cJSON_ArrayForEach(child, item) count += (child->string != NULL) + count_members(child);
    return count;
}

static int check_elements(struct checker *checker, cJSON *array, cJSON *member,
                          const struct tape_settings_member *expected)
{
    cJSON *element;
    if (!cJSON_IsArray(array) || !array->child)
        return 0;
    cJSON_ArrayForEach(element, array)
    {
        element->valueint = member->valueint;
        if (expected->form == TAPE_SETTINGS_FORM_TEXTS) {
            if (!is_text(element))
                return 0;
        } else if (!cJSON_IsObject(element)) {
            return 0;
        } else if (check_object(checker, element, expected->inner) < 0) {
            return -1;
        }
    }
    return 1;
}

/* 1 when the value is of its form, 0 when it is not, -1 when the error is told already. */
static int check_form(struct checker *checker, cJSON *item,
                      const struct tape_settings_member *expected)
{
    long long count;
    switch (expected->form) {
    case TAPE_SETTINGS_FORM_TEXT:
        return is_text(item);
    case TAPE_SETTINGS_FORM_COUNT:
        return cJSON_IsNumber(item) && tape_json_integer(item, &count) && count >= 1 &&
               count <= 1000000000;
    case TAPE_SETTINGS_FORM_OBJECT:
        return cJSON_IsObject(item) ? (check_object(checker, item, expected->inner) < 0 ? -1 : 1)
                                    : 0;
    case TAPE_SETTINGS_FORM_NAME:
        return is_name(item);
    case TAPE_SETTINGS_FORM_WHOLE:
        return tape_json_integer(item, &count) && count >= 0;
    case TAPE_SETTINGS_FORM_RATIO:
        return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 1;
    case TAPE_SETTINGS_FORM_FLAG:
        return cJSON_IsBool(item);
    case TAPE_SETTINGS_FORM_ANY:
        checker->next_key += count_members(item);
        return cJSON_IsObject(item);
    default:
        return check_elements(checker, item, item, expected);
    }
}

static const char *const form_words[] = {
    [TAPE_SETTINGS_FORM_TEXT] = "a string of printable ASCII",
    [TAPE_SETTINGS_FORM_TEXTS] = "a list of strings of printable ASCII, at least one",
    [TAPE_SETTINGS_FORM_COUNT] = "a whole number from 1 to 1000000000",
    [TAPE_SETTINGS_FORM_OBJECT] = "an object",
    [TAPE_SETTINGS_FORM_OBJECTS] = "a list of objects, at least one",
    [TAPE_SETTINGS_FORM_ANY] = "an object",
    [TAPE_SETTINGS_FORM_NAME] = "a string without control characters",
    [TAPE_SETTINGS_FORM_WHOLE] = "a whole number from 0 on (from 2^53 on as a string)",
    [TAPE_SETTINGS_FORM_RATIO] = "a number from 0 to 1",
    [TAPE_SETTINGS_FORM_FLAG] = "true or false",
};

static int unknown_key(const struct checker *checker, const cJSON *member,
                       const struct tape_settings_member *members)
{
    char known[400] = "";
    const char *best = NULL;
    int nearest = 0;
    for (; members->word; members++) {
        int rank = tape_distance_rank(member->string, members->word);
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", members->word);
        if (rank >= 0 && (!best || rank < nearest)) {
            best = members->word;
            nearest = rank;
        }
    }
    if (best)
        return tape_settings_fault(checker->settings, member, checker->error,
                                   "unknown key \"%s\" (did you mean \"%s\"?)",
                                   show(member->string).text, best);
    return tape_settings_fault(checker->settings, member, checker->error,
                               "unknown key \"%s\"; known: %s", show(member->string).text, known);
}

/* A ratio alone, where an object is asked for that must have one, and maybe more. */
static int refuse_ratio(const struct checker *checker, const cJSON *member,
                        const struct tape_settings_member *expected)
{
    const struct tape_settings_member *more = expected->inner + 1;
    while (more->word && !more->required)
        more++;
    return tape_settings_fault(checker->settings, member, checker->error,
                               "\"%s\" must be an object: {\"%s\": %g%s%s%s}", member->string,
                               expected->inner->word, member->valuedouble, more->word ? ", \"" : "",
                               more->word ? more->word : "", more->word ? "\": ..." : "");
}

static int refuse_form(const struct checker *checker, const cJSON *member,
                       const struct tape_settings_member *expected)
{
    if (expected->form == TAPE_SETTINGS_FORM_OBJECT && cJSON_IsNumber(member) &&
        expected->inner->form == TAPE_SETTINGS_FORM_RATIO && member->valuedouble >= 0 &&
        member->valuedouble <= 1)
        return refuse_ratio(checker, member, expected);
    return tape_settings_fault(checker->settings, member, checker->error, "\"%s\" must be %s",
                               member->string, form_words[expected->form]);
}

static int check_member(struct checker *checker, const cJSON *object, cJSON *member,
                        const struct tape_settings_member *members)
{
    const struct tape_settings_member *expected = members;
    member->valueint = (int)checker->next_key++;
    while (expected->word && strcmp(expected->word, member->string) != 0)
        expected++;
    if (!expected->word)
        return unknown_key(checker, member, members);
    if (cJSON_GetObjectItemCaseSensitive(object, member->string) != member)
        return tape_settings_fault(checker->settings, member, checker->error,
                                   "duplicate key \"%s\"", member->string);
    int good = check_form(checker, member, expected);
    if (good == 0)
        return refuse_form(checker, member, expected);
    return good < 0 ? TAPE_USAGE : 0;
}

static int check_object(struct checker *checker, cJSON *object,
                        const struct tape_settings_member *members)
{
    cJSON *member;
    cJSON_ArrayForEach(member, object)
    {
        int status = check_member(checker, object, member, members);
        if (status < 0)
            return status;
    }
    for (; members->word; members++)
        if (members->required && !cJSON_GetObjectItemCaseSensitive(object, members->word))
            return tape_settings_fault(checker->settings, object, checker->error,
                                       "\"%s\" is missing", members->word);
    return 0;
}

/* ---- the whole ---- */

static int parse(struct tape_settings *settings, const char *text, size_t bytes,
                 struct tape_error *error)
{
    if (bytes > TAPE_SETTINGS_MAX_BYTES)
        return tape_error_set(error, TAPE_USAGE, "%s: longer than %d bytes", settings->source,
                              TAPE_SETTINGS_MAX_BYTES);
    settings->plain = malloc(bytes + 1);
    if (!settings->plain)
        return tape_error_set(error, TAPE_FAILED, "%s: no memory", settings->source);
    memcpy(settings->plain, text, bytes);
    settings->plain[bytes] = 0;
    size_t length = strlen(settings->plain);
    if (length < bytes)
        return fault_at(settings, length, error, "a NUL byte");
    long open = blank_comments(settings->plain);
    if (open >= 0)
        return fault_at(settings, (size_t)open, error, "the comment has no end");
    if (tape_json_depth(settings->plain, bytes) > TAPE_SETTINGS_MAX_DEPTH)
        return tape_error_set(error, TAPE_USAGE, "%s: nested more than %d deep", settings->source,
                              TAPE_SETTINGS_MAX_DEPTH);
    const char *stop = settings->plain;
    settings->root = cJSON_ParseWithOpts(settings->plain, &stop, 1);
    if (!settings->root)
        return fault_at(settings, (size_t)(stop - settings->plain), error, "no JSON from here on");
    if (!cJSON_IsObject(settings->root))
        return tape_error_set(error, TAPE_USAGE, "%s: not a JSON object", settings->source);
    return find_keys(settings)
               ? 0
               : tape_error_set(error, TAPE_FAILED, "%s: no memory", settings->source);
}

int tape_settings_read(struct tape_settings *settings, const char *text, size_t bytes,
                       const char *source, const struct tape_settings_member *members,
                       struct tape_error *error)
{
    memset(settings, 0, sizeof *settings);
    settings->source = source;
    int status = parse(settings, text, bytes, error);
    if (status < 0)
        return status;
    struct checker checker = {settings, 0, error};
    return check_object(&checker, settings->root, members);
}

void tape_settings_free(struct tape_settings *settings)
{
    cJSON_Delete(settings->root);
    free(settings->plain);
    free(settings->keys);
}
