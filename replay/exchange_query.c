/* What stands behind the question mark of a URL. */
#include <stdlib.h>
#include <string.h>

#include "replay/exchange.h"
#include "replay/pace.h"
#include "replay/source.h"

enum { VALUE_BYTES = 128, CLIENTS_MAX = 1024 };

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int64_t decode(const char *from, size_t bytes, char *to, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes; i++) {
        int byte = (unsigned char)from[i];
        if (byte == '%') {
            if (bytes - i < 3 || hex_of(from[i + 1]) < 0 || hex_of(from[i + 2]) < 0)
                return TAPE_USAGE;
            byte = hex_of(from[i + 1]) * 16 + hex_of(from[i + 2]);
            i += 2;
        }
        if (byte == 0)
            return TAPE_USAGE;
        if (used + 1 >= room)
            return TAPE_LIMIT;
        to[used++] = (char)byte;
    }
    to[used] = '\0';
    return (int64_t)used;
}

int64_t tape_exchange_query(const char *query, const char *key, char *to, size_t room)
{
    size_t key_bytes = strlen(key);
    while (*query) {
        size_t bytes = strcspn(query, "&");
        if (bytes > key_bytes && query[key_bytes] == '=' && memcmp(query, key, key_bytes) == 0)
            return decode(query + key_bytes + 1, bytes - key_bytes - 1, to, room);
        query += bytes + (query[bytes] == '&');
    }
    return -1;
}

static int read_count(const char *text, int *count, struct tape_error *error)
{
    char *end = NULL;
    long value = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : 0;
    if (value < 1 || value > CLIENTS_MAX || *end)
        return tape_error_set(error, TAPE_USAGE, "\"%s\" is no number from 1 to %d", text,
                              CLIENTS_MAX);
    *count = (int)value;
    return 0;
}

/* A session's name stands in paths, in JSON and on terminals. Of dots alone it would be a step of
 * the path that clients take out before they send it. */
static int read_session(const char *text, char *to, struct tape_error *error)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t bytes = strlen(text);
    if (bytes == 0 || bytes > TAPE_EXCHANGE_SESSION_MAX_BYTES || strspn(text, good) != bytes ||
        strspn(text, ".") == bytes)
        return tape_error_set(error, TAPE_USAGE,
                              "names are of 1 to %d letters, digits, \"_\", \".\" and \"-\", "
                              "not of dots alone",
                              TAPE_EXCHANGE_SESSION_MAX_BYTES);
    memcpy(to, text, bytes + 1);
    return 0;
}

static int read_order(const char *text, int *order, struct tape_error *error)
{
    static const char *const words[] = {
#define WORD(name, word, meaning) [TAPE_SOURCE_ORDER_##name] = word,
        TAPE_SOURCE_ORDER_TABLE(WORD)
#undef WORD
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0) {
            *order = (int)i;
            return 0;
        }
    return tape_error_set(error, TAPE_USAGE, "\"%s\" is neither received nor event", text);
}

static int read_flag(const char *text, int *flag, struct tape_error *error)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return tape_error_set(error, TAPE_USAGE, "\"%s\" is neither 0 nor 1", text);
    *flag = text[0] == '1';
    return 0;
}

enum wish {
#define WISH(name, key) WISH_##name,
    TAPE_EXCHANGE_WISH_TABLE(WISH)
#undef WISH
};

static int read_wish(enum wish wish, const char *text, struct tape_exchange_wishes *wishes,
                     struct tape_error *error)
{
    switch (wish) {
    case WISH_FROM:
        wishes->has_from = 1;
        return tape_timespec_parse(text, &wishes->from, error);
    case WISH_TO:
        wishes->has_to = 1;
        return tape_timespec_parse(text, &wishes->to, error);
    case WISH_SPEED:
        return tape_pace_parse_speed(text, &wishes->speed, error);
    case WISH_SESSION:
        return read_session(text, wishes->session, error);
    case WISH_CLIENTS:
        return read_count(text, &wishes->clients, error);
    case WISH_STATE:
        return read_flag(text, &wishes->state, error);
    case WISH_ORDER:
        return read_order(text, &wishes->order, error);
    }
    return 0;
}

const char *tape_exchange_next_key(const char *query, char *to, size_t room, int *ours)
{
    static const char *const keys[] = {
#define KEY(name, key) key,
        TAPE_EXCHANGE_WISH_TABLE(KEY)
#undef KEY
    };
    while (*query == '&')
        query++;
    if (!*query)
        return NULL;
    size_t bytes = strcspn(query, "=&"), kept = bytes < room ? bytes : room - 1;
    memcpy(to, query, kept);
    to[kept] = '\0';
    *ours = strcmp(to, "streams") == 0 ? 0 : -1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(to, keys[i]) == 0)
            *ours = 1;
    return query + strcspn(query, "&");
}

int tape_exchange_read_wishes(const char *query, struct tape_exchange_wishes *wishes,
                              struct tape_error *error)
{
    static const char *const keys[] = {
#define KEY(name, key) key,
        TAPE_EXCHANGE_WISH_TABLE(KEY)
#undef KEY
    };
    *wishes = (struct tape_exchange_wishes){.speed = -1, .order = -1};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char value[VALUE_BYTES];
        int64_t bytes = tape_exchange_query(query, keys[i], value, sizeof value);
        if (bytes == -1)
            continue;
        int status = bytes == TAPE_LIMIT
                         ? tape_error_set(error, TAPE_USAGE, "the value is too long")
                     : bytes < 0 ? tape_error_set(error, TAPE_USAGE, "it is badly encoded")
                                 : read_wish((enum wish)i, value, wishes, error);
        if (status < 0)
            return tape_error_wrap(error, "%s= in the URL", keys[i]);
    }
    return 0;
}
