#include "format/event.h"

#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/utf8.h"

/* ---- writing ----
 * Each member is written after a mark and taken back whole when not even its shortest form fits.
 * Two bytes of the room are never used before the end: the closing brace and the NUL. */

enum { CLOSING_BYTES = 2 };

static size_t left(const struct tape_event_writer *writer)
{
    return writer->room - CLOSING_BYTES - writer->used;
}

static int append(struct tape_event_writer *writer, const char *text, size_t bytes)
{
    if (bytes > left(writer)) {
        writer->full = 1;
        return 0;
    }
    memcpy(writer->to + writer->used, text, bytes);
    writer->used += bytes;
    return 1;
}

/* The JSON form of the character at text, and how many bytes of text it stands for. */
static size_t escape_one(const char *text, size_t bytes, char to[8], size_t *taken)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)*text;
    *taken = 1;
    if (c == '"' || c == '\\') {
        to[0] = '\\';
        to[1] = (char)c;
        return 2;
    }
    if (c < 0x20 || c == 0x7f) {
        memcpy(to, "\\u00", 4);
        to[4] = hex[c >> 4];
        to[5] = hex[c & 15];
        return 6;
    }
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    struct tape_utf8 state = {0, 0, 0};
    if (length <= bytes && tape_utf8_check(&state, (const uint8_t *)text, length) == length) {
        memcpy(to, text, length);
        *taken = length;
        return length;
    }
    memcpy(to, "\xef\xbf\xbd", 3); /* U+FFFD */
    return 3;
}

/* A string that is cut where the room for it and for ${after} more bytes ends. 0: no room even for
 * the quotes. */
static int append_string(struct tape_event_writer *writer, const char *text, size_t bytes,
                         size_t after)
{
    if (left(writer) < 2 + after) {
        writer->full = 1;
        return 0;
    }
    append(writer, "\"", 1);
    for (size_t at = 0, taken; at < bytes; at += taken) {
        char form[8];
        size_t length = escape_one(text + at, bytes - at, form, &taken);
        if (left(writer) < length + 1 + after) {
            writer->full = 1;
            break;
        }
        append(writer, form, length);
    }
    return append(writer, "\"", 1);
}

/* The comma, the key and the colon. 0 with nothing written when ${after} bytes would not follow. */
static int append_key(struct tape_event_writer *writer, const char *key, size_t after)
{
    size_t mark = writer->used;
    int full = writer->full;
    writer->full = 0;
    if ((mark == 1 || append(writer, ",", 1)) &&
        append_string(writer, key, strlen(key), 1 + after) && !writer->full &&
        append(writer, ":", 1)) {
        writer->full = full;
        return 1;
    }
    writer->used = mark;
    writer->full = 1;
    return 0;
}

void tape_event_begin(struct tape_event_writer *writer, char *to, size_t room)
{
    writer->to = to;
    writer->room = room;
    writer->used = 0;
    writer->full = 0;
    append(writer, "{", 1);
}

void tape_event_put_bytes(struct tape_event_writer *writer, const char *key, const char *value,
                          size_t bytes)
{
    if (append_key(writer, key, 2))
        append_string(writer, value, bytes, 0);
}

void tape_event_put_text(struct tape_event_writer *writer, const char *key, const char *value)
{
    if (value)
        tape_event_put_bytes(writer, key, value, strlen(value));
}

/* Decimal digits of value, written from the end of to; returns the first. */
static char *digits(char to[24], uint64_t value, size_t *bytes)
{
    char *at = to + 24;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    *bytes = (size_t)(to + 24 - at);
    return at;
}

static char *signed_digits(char to[24], int64_t value, size_t *bytes)
{
    char *at = digits(to, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, bytes);
    if (value < 0) {
        *--at = '-';
        ++*bytes;
    }
    return at;
}

/* A member whose value is whole or not there at all. */
static void put_whole(struct tape_event_writer *writer, const char *key, const char *value,
                      size_t bytes)
{
    if (append_key(writer, key, bytes))
        append(writer, value, bytes);
}

void tape_event_put_number(struct tape_event_writer *writer, const char *key, int64_t value)
{
    char to[24];
    size_t bytes;
    const char *text = signed_digits(to, value, &bytes);
    put_whole(writer, key, text, bytes);
}

void tape_event_put_wide(struct tape_event_writer *writer, const char *key, int64_t value)
{
    char to[24], quoted[26];
    size_t bytes;
    const char *text = signed_digits(to, value, &bytes);
    quoted[0] = '"';
    memcpy(quoted + 1, text, bytes);
    quoted[bytes + 1] = '"';
    put_whole(writer, key, quoted, bytes + 2);
}

void tape_event_put_bool(struct tape_event_writer *writer, const char *key, int value)
{
    put_whole(writer, key, value ? "true" : "false", value ? 4 : 5);
}

void tape_event_put_texts(struct tape_event_writer *writer, const char *key,
                          const char *const *values, size_t count)
{
    if (!append_key(writer, key, 2))
        return;
    append(writer, "[", 1);
    for (size_t i = 0; i < count; i++) {
        /* An element is whole or not there: half a stream's name would be another stream. */
        size_t mark = writer->used;
        int full = writer->full;
        writer->full = 0;
        if ((i > 0 && !append(writer, ",", 1)) ||
            !append_string(writer, values[i], strlen(values[i]), 1) || writer->full) {
            writer->used = mark;
            writer->full = 1;
            break;
        }
        writer->full = full;
    }
    append(writer, "]", 1);
}

void tape_event_put_numbers(struct tape_event_writer *writer, const char *key,
                            const uint64_t *values, size_t count)
{
    if (!append_key(writer, key, 2))
        return;
    append(writer, "[", 1);
    for (size_t i = 0; i < count; i++) {
        char to[24];
        size_t bytes;
        char *text = digits(to, values[i], &bytes);
        if (i > 0) {
            *--text = ','; /* the longest number leaves four bytes of to */
            bytes++;
        }
        if (left(writer) < bytes + 1) {
            writer->full = 1;
            break;
        }
        append(writer, text, bytes);
    }
    append(writer, "]", 1);
}

size_t tape_event_end(struct tape_event_writer *writer)
{
    writer->to[writer->used++] = '}';
    writer->to[writer->used] = 0;
    return writer->used;
}

/* ---- reading ----
 * Invariants: root is an object whose members are scalars or arrays of scalars; items holds the
 * elements of all arrays one after the other, and an array's own begin at its valueint and are
 * valuedouble in number, so that walking a long array by index is not quadratic. */

struct tape_event {
    cJSON *root;
    const cJSON **items;
};

/* Counts the elements of all arrays, which hold scalars only: the depth was checked. -1 when a
 * member is an object. */
static long count_items(const cJSON *root)
{
    long count = 0;
    const cJSON *member;
    cJSON_ArrayForEach(member, root)
    {
        if (cJSON_IsObject(member))
            return -1;
        if (cJSON_IsArray(member))
            count += cJSON_GetArraySize(member);
    }
    return count;
}

static void index_items(struct tape_event *event)
{
    int count = 0;
    cJSON *member;
    const cJSON *element;
    cJSON_ArrayForEach(member, event->root)
    {
        if (!cJSON_IsArray(member))
            continue;
        member->valueint = count;
        cJSON_ArrayForEach(element, member) event->items[count++] = element;
        member->valuedouble = count - member->valueint;
    }
}

struct tape_event *tape_event_read(const char *body, size_t bytes)
{
    cJSON *root = tape_json_parse(body, bytes, TAPE_EVENT_MAX_BYTES, 2);
    long count = cJSON_IsObject(root) ? count_items(root) : -1;
    struct tape_event *event = count < 0 ? NULL : malloc(sizeof *event);
    if (!event) {
        cJSON_Delete(root);
        return NULL;
    }
    event->root = root;
    event->items = malloc(((size_t)count + 1) * sizeof *event->items);
    if (!event->items) {
        cJSON_Delete(root);
        free(event);
        return NULL;
    }
    index_items(event);
    return event;
}

void tape_event_free(struct tape_event *event)
{
    if (!event)
        return;
    cJSON_Delete(event->root);
    free(event->items);
    free(event);
}

static const cJSON *find(const struct tape_event *event, const char *key)
{
    return event ? cJSON_GetObjectItemCaseSensitive(event->root, key) : NULL;
}

/* The element of the array, or NULL past its end. */
static const cJSON *find_at(const struct tape_event *event, const char *key, int index)
{
    const cJSON *array = find(event, key);
    if (!cJSON_IsArray(array) || index < 0 || index >= (int)array->valuedouble)
        return NULL;
    return event->items[array->valueint + index];
}

static int64_t number_of(const cJSON *item, int64_t fallback)
{
    long long value;
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item);
    return tape_json_integer(item, &value) ? value : fallback;
}

const char *tape_event_text(const struct tape_event *event, const char *key)
{
    return cJSON_GetStringValue(find(event, key));
}

int64_t tape_event_number(const struct tape_event *event, const char *key, int64_t fallback)
{
    return number_of(find(event, key), fallback);
}

const char *tape_event_text_at(const struct tape_event *event, const char *key, int index)
{
    return cJSON_GetStringValue(find_at(event, key, index));
}

int64_t tape_event_number_at(const struct tape_event *event, const char *key, int index,
                             int64_t fallback)
{
    return number_of(find_at(event, key, index), fallback);
}
