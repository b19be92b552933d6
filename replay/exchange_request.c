/* Requests of clients and the venue's answers to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/scan.h"
#include "replay/exchange.h"

enum { REQUEST_MAX_DEPTH = 8, ID_MAX_CHARS = 36, METHOD_MAX_CHARS = 64 };

/* Invariant: id is what stands behind "id" in the text, or "null". */
struct request {
    struct tape_exchange_client *client;
    const char *text;
    size_t bytes;
    const char *id;
    size_t id_bytes;
    const cJSON *params;
    struct tape_growing *answer;
    struct tape_error *error;
};

static void put(struct tape_growing *to, const char *text)
{
    tape_growing_put(to, text, strlen(text));
}

static void put_id(struct request *request)
{
    put(request->answer, ",\"id\":");
    tape_growing_put(request->answer, request->id, request->id_bytes);
    put(request->answer, "}");
}

static int answer_with(struct request *request, const char *result)
{
    put(request->answer, "{\"result\":");
    put(request->answer, result);
    put_id(request);
    return 0;
}

/* The words are ours and need no escapes, but for what of the client's stands in them. */
static int refuse(struct request *request, int code, const char *words)
{
    char head[48];
    snprintf(head, sizeof head, "{\"error\":{\"code\":%d,\"msg\":\"", code);
    put(request->answer, head);
    put(request->answer, words);
    put(request->answer, "\"}");
    put_id(request);
    return 0;
}

/* Line and column, from 1, of the byte at ${offset}. */
static void place_of(const struct request *request, size_t offset, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset && i < request->bytes; i++) {
        *column = request->text[i] == '\n' ? 1 : *column + 1;
        *line += request->text[i] == '\n';
    }
}

static int refuse_json(struct request *request)
{
    char words[96];
    size_t line, column;
    const char *end = request->text + request->bytes;
    const char *at = tape_scan_space(request->text, end);
    int begins = at < end && strchr("{[\"-0123456789tfn", *at) != NULL && *at;
    place_of(request, (size_t)(begins ? end - request->text : at - request->text), &line, &column);
    snprintf(words, sizeof words, "Invalid JSON: expected value at line %zu column %zu", line,
             column);
    return refuse(request, 3, words);
}

/* ---- the id ---- */

/* Of 64 bits with a sign, as the venue documents it, though its words of refusal say otherwise. */
static int is_integer(const char *text, size_t bytes)
{
    static const char limits[2][20] = {"9223372036854775807", "9223372036854775808"};
    size_t sign = text[0] == '-', digits = bytes - sign, most = sizeof limits[0] - 1;
    return digits > 0 && tape_scan_digits(text + sign, text + bytes) == text + bytes &&
           (digits < most || (digits == most && memcmp(text + sign, limits[sign], most) <= 0));
}

static int is_short_word(const char *text, size_t bytes)
{
    if (bytes < 2 || text[0] != '"' || bytes - 2 > ID_MAX_CHARS)
        return 0;
    for (size_t i = 1; i < bytes - 1; i++) {
        char low = (char)(text[i] | 0x20);
        int letter = low >= 'a' && low <= 'z';
        if (!letter && !(text[i] >= '0' && text[i] <= '9') && text[i] != '-' && text[i] != '_')
            return 0;
    }
    return 1;
}

/* Finds the object's "id" as it is written; the text was parsed, so that it is an object. 0 when it
 * is of no form that an id may have. */
static int find_id(struct request *request)
{
    const char *end = request->text + request->bytes;
    const char *at = tape_scan_space(tape_scan_space(request->text, end) + 1, end);
    while (at < end && *at == '"') {
        const char *key = at + 1, *quote = tape_scan_string(key, end);
        if (!quote)
            return 0;
        at = tape_scan_space(tape_scan_space(quote + 1, end) + 1, end);
        const char *behind = at < end ? tape_scan_value(at, end, 1) : NULL;
        if (!behind)
            return 0;
        if (quote - key == 2 && memcmp(key, "id", 2) == 0) {
            size_t bytes = (size_t)(behind - at);
            if (!is_integer(at, bytes) && !is_short_word(at, bytes) &&
                !(bytes == 4 && memcmp(at, "null", 4) == 0))
                return 0;
            request->id = at;
            request->id_bytes = bytes;
            return 1;
        }
        at = tape_scan_space(behind, end);
        if (at < end && *at == ',')
            at = tape_scan_space(at + 1, end);
    }
    return 1;
}

/* ---- what is asked for ---- */

/* 1 when params is a list of strings. */
static int has_names(const struct request *request)
{
    const cJSON *name;
    if (!cJSON_IsArray(request->params))
        return 0;
    cJSON_ArrayForEach(name, request->params) if (!cJSON_IsString(name)) return 0;
    return 1;
}

static int answer_subscribe(struct request *request)
{
    int changed = 0;
    const cJSON *name;
    if (!has_names(request))
        return refuse(request, 2, "Invalid request: params must be a list of stream names");
    cJSON_ArrayForEach(name, request->params)
    {
        int added = tape_exchange_add(request->client, name->valuestring, strlen(name->valuestring),
                                      request->error);
        if (added < 0)
            return added;
        changed |= added;
    }
    answer_with(request, "null");
    return changed;
}

static int answer_unsubscribe(struct request *request)
{
    int changed = 0;
    const cJSON *name;
    if (!has_names(request))
        return refuse(request, 2, "Invalid request: params must be a list of stream names");
    cJSON_ArrayForEach(name, request->params) changed |=
        tape_exchange_drop(request->client, name->valuestring, strlen(name->valuestring));
    answer_with(request, "null");
    return changed;
}

static int answer_list(struct request *request)
{
    const struct tape_exchange_client *client = request->client;
    put(request->answer, "{\"result\":[");
    for (size_t i = 0; i < client->count; i++) {
        put(request->answer, i ? ",\"" : "\"");
        tape_growing_put(request->answer, client->names[i].text, client->names[i].bytes);
        put(request->answer, "\"");
    }
    put(request->answer, "]");
    put_id(request);
    return 0;
}

/* The name of the property in params, which are ${count}: 1, or 0 when that was refused. */
static int read_property(struct request *request, int count)
{
    const cJSON *name = cJSON_GetArrayItem(request->params, 0);
    if (!cJSON_IsArray(request->params) || !cJSON_IsString(name)) {
        refuse(request, 2, "Invalid request: property name must be a string");
        return 0;
    }
    if (cJSON_GetArraySize(request->params) > count) {
        refuse(request, 2, "Invalid request: too many parameters");
        return 0;
    }
    if (strcmp(name->valuestring, "combined") != 0) {
        refuse(request, 0, "Unknown property");
        return 0;
    }
    return 1;
}

static int answer_set_property(struct request *request)
{
    if (!read_property(request, 2))
        return 0;
    const cJSON *value = cJSON_GetArrayItem(request->params, 1);
    if (!cJSON_IsBool(value))
        return refuse(request, 1, "Invalid value type: expected Boolean");
    int changed = request->client->combined != cJSON_IsTrue(value);
    request->client->combined = cJSON_IsTrue(value);
    answer_with(request, "null");
    return changed;
}

static int answer_get_property(struct request *request)
{
    if (read_property(request, 1))
        answer_with(request, request->client->combined ? "true" : "false");
    return 0;
}

/* METHOD(word, the function that answers it) */
#define METHOD_TABLE(X)                                                                            \
    X("SUBSCRIBE", answer_subscribe)                                                               \
    X("UNSUBSCRIBE", answer_unsubscribe)                                                           \
    X("LIST_SUBSCRIPTIONS", answer_list)                                                           \
    X("SET_PROPERTY", answer_set_property)                                                         \
    X("GET_PROPERTY", answer_get_property)

/* Where the method's word ends in the text: there the venue's parser gives up. */
static int refuse_method(struct request *request, const char *method)
{
    char shown[METHOD_MAX_CHARS + 1], words[512];
    size_t line, column, bytes = strlen(method), at = 0;
    const char *found = memmem(request->text, request->bytes, method, bytes);
    for (; at < METHOD_MAX_CHARS && method[at]; at++)
        shown[at] = (unsigned char)method[at] < ' ' || (unsigned char)method[at] > '~' ||
                            method[at] == '"' || method[at] == '\\'
                        ? '?'
                        : method[at];
    shown[at] = '\0';
    place_of(request, found ? (size_t)(found - request->text) + bytes : request->bytes, &line,
             &column);
    snprintf(words, sizeof words,
             "Invalid request: unknown variant `%s`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
             "`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line %zu column %zu",
             shown, line, column);
    return refuse(request, 2, words);
}

static int refuse_missing(struct request *request)
{
    char words[96];
    size_t line, column;
    place_of(request, request->bytes - 1, &line, &column);
    snprintf(words, sizeof words, "Invalid request: missing field `method` at line %zu column %zu",
             line, column);
    return refuse(request, 2, words);
}

static int answer_object(struct request *request, const cJSON *root)
{
    static const struct {
        const char *word;
        int (*answer)(struct request *request);
    } methods[] = {
#define METHOD(word, answer) {word, answer},
        METHOD_TABLE(METHOD)
#undef METHOD
    };
    const cJSON *method = cJSON_GetObjectItemCaseSensitive(root, "method");
    request->params = cJSON_GetObjectItemCaseSensitive(root, "params");
    if (!cJSON_IsObject(root))
        return refuse_missing(request);
    if (!find_id(request))
        return refuse(request, 2, "Invalid request: request ID must be an unsigned integer");
    if (!cJSON_IsString(method))
        return refuse_missing(request);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(method->valuestring, methods[i].word) == 0)
            return methods[i].answer(request);
    return refuse_method(request, method->valuestring);
}

int tape_exchange_answer(struct tape_exchange_client *client, const char *text, size_t bytes,
                         struct tape_growing *answer, struct tape_error *error)
{
    struct request request = {
        .client = client,
        .text = text,
        .bytes = bytes,
        .id = "null",
        .id_bytes = 4,
        .answer = answer,
        .error = error,
    };
    if (bytes > TAPE_EXCHANGE_REQUEST_MAX_BYTES)
        return tape_error_set(error, TAPE_LIMIT, "a request of more than %d bytes",
                              TAPE_EXCHANGE_REQUEST_MAX_BYTES);
    cJSON *root = tape_json_parse(text, bytes, TAPE_EXCHANGE_REQUEST_MAX_BYTES, REQUEST_MAX_DEPTH);
    int status = root ? answer_object(&request, root) : refuse_json(&request);
    cJSON_Delete(root);
    if (status >= 0 && answer->failed)
        return tape_error_set(error, TAPE_FAILED, "no memory for an answer");
    return status;
}
