#include "format/handshake.h"

#include <stdio.h>
#include <string.h>

/* ---- the request ---- */

/* Offset of the first character that may not stand in a request line or field, or of the end. */
static size_t clean_length(const char *text, const char *refused)
{
    size_t at = 0;
    while (text[at] > ' ' && text[at] < 0x7f && !strchr(refused, text[at]))
        at++;
    return at;
}

static int key_valid(const char *key)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /* 16 bytes leave two bits for the last digit: A, Q, g or w. */
    return strlen(key) == TAPE_HANDSHAKE_KEY_CHARS && strspn(key, alphabet) == 22 &&
           strchr("AQgw", key[21]) && strcmp(key + 22, "==") == 0;
}

int tape_handshake_request(char *to, size_t room, const char *host, const char *target,
                           const char *key, struct tape_error *error)
{
    size_t clean = clean_length(host, "/?#@\\");
    if (host[0] == '\0')
        return tape_error_set(error, TAPE_USAGE, "the host is empty");
    if (host[clean])
        return tape_error_set(error, TAPE_USAGE,
                              "the host has a character that may not stand there: 0x%02x at %zu",
                              (unsigned char)host[clean], clean);
    clean = clean_length(target, "#");
    if (target[0] != '/')
        return tape_error_set(error, TAPE_USAGE, "the target does not begin with \"/\"");
    if (target[clean])
        return tape_error_set(error, TAPE_USAGE,
                              "the target has a character that may not stand there: 0x%02x at %zu",
                              (unsigned char)target[clean], clean);
    if (!key_valid(key))
        return tape_error_set(error, TAPE_USAGE, "the key is not the base64 of 16 bytes");
    int bytes = snprintf(to, room,
                         "GET %s HTTP/1.1\r\n"
                         "Host: %s\r\n"
                         "Upgrade: websocket\r\n"
                         "Connection: Upgrade\r\n"
                         "Sec-WebSocket-Key: %s\r\n"
                         "Sec-WebSocket-Version: 13\r\n"
                         "\r\n",
                         target, host, key);
    if (bytes < 0 || (size_t)bytes >= room)
        return tape_error_set(error, TAPE_LIMIT, "the request does not fit into %zu bytes", room);
    return bytes;
}

/* ---- the answer ---- */

/* A piece of the caller's bytes. */
struct slice {
    const uint8_t *data;
    size_t bytes;
};

/*
 * One walk over the answer. Invariants: at <= bytes <= TAPE_HANDSHAKE_HEAD_MAX_BYTES; all before
 * `at` is whole lines without a fault; fields counts the field lines begun.
 */
struct walk {
    const uint8_t *data;
    size_t bytes, at;
    unsigned fields;
    unsigned accepts;
    int upgrade, connection; /* the token was seen */
    const char *accept;
    struct tape_handshake_response *response;
    struct tape_error *error;
};

enum { MORE = 0, GOT = 1 }; /* or a status of struct tape_error */

static int refuse(struct walk *walk, const char *what)
{
    return tape_error_set(walk->error, TAPE_PROTOCOL, "%s", what);
}

static int refuse_field(struct walk *walk, const char *what)
{
    return tape_error_set(walk->error, TAPE_PROTOCOL, "field line %u of the answer %s",
                          walk->fields, what);
}

/* Copies as printable ASCII: other bytes become \xNN, what does not fit becomes "...". */
static void put_printable(char *to, size_t room, struct slice from)
{
    size_t used = 0, keep = 0; /* keep: how much may stay before "..." */
    for (size_t i = 0; i < from.bytes; i++) {
        char piece[5] = {(char)from.data[i]};
        if (from.data[i] < 0x20 || from.data[i] > 0x7e)
            snprintf(piece, sizeof piece, "\\x%02x", from.data[i]);
        size_t bytes = strlen(piece);
        if (used + bytes >= room) {
            memcpy(to + keep, "...", 4);
            return;
        }
        memcpy(to + used, piece, bytes);
        used += bytes;
        if (used + 4 <= room)
            keep = used;
    }
    to[used] = '\0';
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static int same_word(struct slice text, const char *word)
{
    if (text.bytes != strlen(word))
        return 0;
    for (size_t i = 0; i < text.bytes; i++)
        if (lower(text.data[i]) != lower((uint8_t)word[i]))
            return 0;
    return 1;
}

static int is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct slice trim(struct slice text)
{
    for (; text.bytes > 0 && is_blank(text.data[0]); text.data++)
        text.bytes--;
    while (text.bytes > 0 && is_blank(text.data[text.bytes - 1]))
        text.bytes--;
    return text;
}

/* 1 when ${word} is an element of a comma-separated list. */
static int list_has(struct slice list, const char *word)
{
    while (list.bytes > 0) {
        const uint8_t *comma = memchr(list.data, ',', list.bytes);
        size_t bytes = comma ? (size_t)(comma - list.data) : list.bytes;
        if (same_word(trim((struct slice){list.data, bytes}), word))
            return 1;
        bytes += comma != NULL;
        list.data += bytes;
        list.bytes -= bytes;
    }
    return 0;
}

/* A token character of RFC 7230 3.2.6. */
static int is_token(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (lower(byte) >= 'a' && lower(byte) <= 'z') ||
           memchr("!#$%&'*+-.^_`|~", byte, 15) != NULL;
}

/* What is wrong with ${byte} in a text of a line, or NULL. A CR is left to line_end. */
static const char *text_fault(uint8_t byte)
{
    if (byte == '\n')
        return "has a bare LF";
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
        return "has a control character";
    return NULL;
}

/* At a CR: GOT when the LF follows it, MORE, or -1 for a bare CR. */
static int line_end(const struct walk *walk, size_t at)
{
    if (at + 1 == walk->bytes)
        return MORE;
    return walk->data[at + 1] == '\n' ? GOT : -1;
}

/* ---- status line ---- */

static const char version[] = "HTTP/1.1 ";

static int refuse_version(struct walk *walk)
{
    char text[64];
    struct slice line = {walk->data, 0};
    if (walk->bytes > 1 && walk->data[0] == 0x15 && walk->data[1] == 0x03)
        return refuse(walk, "the server answered with a TLS alert: it wants TLS here");
    while (line.bytes < walk->bytes && line.bytes < 40 && line.data[line.bytes] != '\r' &&
           line.data[line.bytes] != '\n')
        line.bytes++;
    put_printable(text, sizeof text, line);
    return tape_error_set(walk->error, TAPE_PROTOCOL,
                          "the server did not answer in HTTP/1.1 but with \"%s\"", text);
}

/* The phrase from ${start} on, up to the end of the line. */
static int read_reason(struct walk *walk, size_t start)
{
    char what[64];
    size_t at = start;
    for (; at < walk->bytes && walk->data[at] != '\r'; at++) {
        const char *fault = text_fault(walk->data[at]);
        if (fault) {
            snprintf(what, sizeof what, "the status line of the answer %s", fault);
            return refuse(walk, what);
        }
    }
    if (at == walk->bytes)
        return MORE;
    int end = line_end(walk, at);
    if (end < 0)
        return refuse(walk, "the status line of the answer has a bare CR");
    if (end == MORE)
        return MORE;
    put_printable(walk->response->reason, sizeof walk->response->reason,
                  trim((struct slice){walk->data + start, at - start}));
    walk->at = at + 2;
    return GOT;
}

static int read_status_line(struct walk *walk)
{
    enum { CODE = sizeof version - 1, CODE_END = CODE + 3 };
    int code = 0;
    for (size_t at = 0; at < walk->bytes && at < CODE; at++)
        if (walk->data[at] != (uint8_t)version[at])
            return refuse_version(walk);
    for (size_t at = CODE; at < walk->bytes && at < CODE_END; at++) {
        if (walk->data[at] < (at == CODE ? '1' : '0') || walk->data[at] > '9')
            return refuse(walk, "the status code of the answer is not a number of three digits");
        code = code * 10 + walk->data[at] - '0';
    }
    if (walk->bytes <= CODE_END)
        return MORE;
    walk->response->status_code = code;
    if (walk->data[CODE_END] == '\r') /* "HTTP/1.1 101" and no phrase, not even its space */
        return read_reason(walk, CODE_END);
    if (walk->data[CODE_END] == '\n')
        return refuse(walk, "the status line of the answer has a bare LF");
    if (walk->data[CODE_END] != ' ')
        return refuse(walk, "the status code of the answer is not a number of three digits");
    return read_reason(walk, CODE_END + 1);
}

/* ---- field lines ---- */

static int take_accept(struct walk *walk, struct slice value)
{
    char text[64];
    if (walk->accepts++)
        return refuse(walk, "the answer has more than one Sec-WebSocket-Accept");
    if (value.bytes == strlen(walk->accept) && memcmp(value.data, walk->accept, value.bytes) == 0)
        return GOT;
    put_printable(text, sizeof text, value);
    return tape_error_set(walk->error, TAPE_PROTOCOL,
                          "the Sec-WebSocket-Accept of the answer is \"%s\", not \"%s\"", text,
                          walk->accept);
}

/* A field that must not be there, or not with this value. */
static int refuse_value(struct walk *walk, const char *name, struct slice value, const char *why)
{
    char text[64];
    put_printable(text, sizeof text, value);
    return tape_error_set(walk->error, TAPE_PROTOCOL, "the answer has %s: \"%s\", %s", name, text,
                          why);
}

static int take_switching(struct walk *walk, struct slice name, struct slice value)
{
    static const char unasked[] = "which was not asked for", body[] = "but a 101 has no body";
    if (same_word(name, "Sec-WebSocket-Accept"))
        return take_accept(walk, value);
    if (same_word(name, "Upgrade"))
        walk->upgrade |= list_has(value, "websocket");
    else if (same_word(name, "Connection"))
        walk->connection |= list_has(value, "upgrade");
    else if (same_word(name, "Sec-WebSocket-Extensions"))
        return refuse_value(walk, "Sec-WebSocket-Extensions", value, unasked);
    else if (same_word(name, "Sec-WebSocket-Protocol"))
        return refuse_value(walk, "Sec-WebSocket-Protocol", value, unasked);
    else if (same_word(name, "Transfer-Encoding"))
        return refuse_value(walk, "Transfer-Encoding", value, body);
    else if (same_word(name, "Content-Length") && !same_word(value, "0"))
        return refuse_value(walk, "Content-Length", value, body);
    return GOT;
}

static void take_retry_after(struct tape_handshake_response *response, struct slice value)
{
    int64_t seconds = 0;
    size_t digits = 0;
    for (; digits < value.bytes && value.data[digits] >= '0' && value.data[digits] <= '9'; digits++)
        if (seconds < (int64_t)1 << 31)
            seconds = seconds * 10 + value.data[digits] - '0';
    if (value.bytes == 0)
        return;
    response->retry_after_date[0] = '\0';
    response->retry_after_s = seconds < (int64_t)1 << 31 ? seconds : (int64_t)1 << 31;
    if (digits == value.bytes)
        return;
    response->retry_after_s = -1;
    put_printable(response->retry_after_date, sizeof response->retry_after_date, value);
}

static int take_field(struct walk *walk, struct slice name, struct slice value)
{
    struct tape_handshake_response *response = walk->response;
    if (response->status_code == 101)
        return take_switching(walk, name, value);
    if (same_word(name, "Retry-After"))
        take_retry_after(response, value);
    else if (same_word(name, "Location"))
        put_printable(response->location, sizeof response->location, value);
    return GOT;
}

/* The line's name, from walk->at to its colon. */
static int read_name(struct walk *walk, struct slice *name)
{
    size_t at = walk->at;
    if (is_blank(walk->data[at]))
        return refuse_field(walk, "is folded");
    for (; at < walk->bytes && walk->data[at] != ':'; at++) {
        if (walk->data[at] == '\r') {
            int end = line_end(walk, at);
            return end == MORE ? MORE
                               : refuse_field(walk, end < 0 ? "has a bare CR" : "has no colon");
        }
        const char *fault = text_fault(walk->data[at]);
        if (fault || !is_token(walk->data[at]))
            return refuse_field(walk, fault ? fault : "has a name that is no token");
    }
    if (at == walk->bytes)
        return MORE;
    if (at == walk->at)
        return refuse_field(walk, "has no name");
    *name = (struct slice){walk->data + walk->at, at - walk->at};
    return GOT;
}

/* One field line from walk->at on, which is not the empty line. */
static int read_field(struct walk *walk)
{
    struct slice name = {0};
    if (++walk->fields > TAPE_HANDSHAKE_FIELDS_MAX)
        return tape_error_set(walk->error, TAPE_LIMIT, "the answer has more than %d field lines",
                              TAPE_HANDSHAKE_FIELDS_MAX);
    int got = read_name(walk, &name);
    if (got != GOT)
        return got;
    size_t start = walk->at + name.bytes + 1, at = start;
    for (; at < walk->bytes && walk->data[at] != '\r'; at++) {
        const char *fault = text_fault(walk->data[at]);
        if (fault)
            return refuse_field(walk, fault);
    }
    if (at == walk->bytes)
        return MORE;
    int end = line_end(walk, at);
    if (end != GOT)
        return end == MORE ? MORE : refuse_field(walk, "has a bare CR");
    walk->at = at + 2;
    return take_field(walk, name, trim((struct slice){walk->data + start, at - start}));
}

/* Field lines and the empty line after them. */
static int read_fields(struct walk *walk)
{
    while (walk->at < walk->bytes) {
        if (walk->data[walk->at] == '\r') {
            int end = line_end(walk, walk->at);
            walk->fields += end < 0;
            if (end < 0)
                return refuse_field(walk, "has a bare CR");
            walk->at += end == GOT ? 2 : 0;
            return end;
        }
        int got = read_field(walk);
        if (got != GOT)
            return got;
    }
    return MORE;
}

/* ---- verdicts ---- */

/* HINT(first status, last status, what a user should know) */
#define HINT_TABLE(X)                                                                              \
    X(300, 399, "a redirect is not followed")                                                      \
    X(401, 401, "it wants credentials")                                                            \
    X(403, 403, "it refuses this client")                                                          \
    X(404, 404, "there is nothing at this path")                                                   \
    X(418, 418, "this address is banned for too many requests")                                    \
    X(426, 426, "it wants another protocol or version")                                            \
    X(429, 429, "too many requests")                                                               \
    X(451, 451, "it does not serve this place")                                                    \
    X(500, 599, "the server is in trouble")

static const char *hint(int status_code)
{
#define HINT(first, last, words)                                                                   \
    if (status_code >= first && status_code <= last)                                               \
        return words;
    HINT_TABLE(HINT)
#undef HINT
    return "101 was expected";
}

static int refuse_status(const struct walk *walk)
{
    const struct tape_handshake_response *response = walk->response;
    char where[sizeof response->location + 8] = "", wait[64] = "";
    if (response->location[0])
        snprintf(where, sizeof where, " (to %s)", response->location);
    if (response->retry_after_s > 0)
        snprintf(wait, sizeof wait, ", retry after %lld s", (long long)response->retry_after_s);
    else if (response->retry_after_s < 0)
        snprintf(wait, sizeof wait, ", retry after %s", response->retry_after_date);
    return tape_error_set(walk->error, TAPE_PROTOCOL, "the server answered %d%s%s%s: %s%s",
                          response->status_code, response->reason[0] ? " " : "", response->reason,
                          where, hint(response->status_code), wait);
}

static int judge(struct walk *walk)
{
    if (walk->response->status_code != 101)
        return refuse_status(walk);
    if (!walk->upgrade)
        return refuse(walk, "the answer has no Upgrade: websocket");
    if (!walk->connection)
        return refuse(walk, "the answer has no Connection: Upgrade");
    if (!walk->accepts)
        return refuse(walk, "the answer has no Sec-WebSocket-Accept");
    return (int)walk->at;
}

int tape_handshake_response(const uint8_t *data, size_t bytes, const char *accept,
                            struct tape_handshake_response *response, struct tape_error *error)
{
    struct walk walk = {
        .data = data,
        .bytes = bytes < TAPE_HANDSHAKE_HEAD_MAX_BYTES ? bytes : TAPE_HANDSHAKE_HEAD_MAX_BYTES,
        .accept = accept,
        .response = response,
        .error = error};
    memset(response, 0, sizeof *response);
    int got = read_status_line(&walk);
    if (got == GOT)
        got = read_fields(&walk);
    if (got == GOT)
        return judge(&walk);
    if (got == MORE && bytes >= TAPE_HANDSHAKE_HEAD_MAX_BYTES)
        got = tape_error_set(error, TAPE_LIMIT, "the head of the answer is longer than %d bytes",
                             TAPE_HANDSHAKE_HEAD_MAX_BYTES);
    if (got < 0 && walk.at > 0 && response->status_code != 101)
        tape_error_wrap(error, "the server answered %d %s", response->status_code,
                        response->reason);
    return got;
}
