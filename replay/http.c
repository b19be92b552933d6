#include "replay/http.h"

#include <string.h>
#include <strings.h>

#include "format/utf8.h"

enum { MORE = 0, GOT = 1 }; /* or -fault */

struct walk {
    const char *data;
    size_t bytes, at;
    struct tape_http_head *head;
};

static int is_alphanumeric(char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* RFC 7230 section 3.2.6 */
static int is_token(char byte)
{
    return is_alphanumeric(byte) || (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static int is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct tape_slice trim(struct tape_slice text)
{
    for (; text.bytes > 0 && is_blank(text.data[0]); text.data++)
        text.bytes--;
    while (text.bytes > 0 && is_blank(text.data[text.bytes - 1]))
        text.bytes--;
    return text;
}

/* At what must be CR LF; goes behind it. */
static int read_line_end(struct walk *walk)
{
    if (walk->at == walk->bytes)
        return MORE;
    if (walk->data[walk->at] != '\r')
        return -TAPE_HTTP_FAULT_LINE_END;
    if (walk->at + 1 == walk->bytes)
        return MORE;
    if (walk->data[walk->at + 1] != '\n')
        return -TAPE_HTTP_FAULT_LINE_END;
    walk->at += 2;
    return GOT;
}

/* ---- request line ---- */

static int read_method(struct walk *walk)
{
    size_t start = walk->at;
    for (; walk->at < walk->bytes; walk->at++) {
        char byte = walk->data[walk->at];
        size_t bytes = walk->at - start;
        if (byte == ' ' && bytes > 0) {
            walk->head->method = (struct tape_slice){walk->data + start, bytes};
            walk->at++;
            return GOT;
        }
        if (byte == 0x16 && bytes == 0)
            return -TAPE_HTTP_FAULT_TLS;
        if (!is_token(byte) || bytes == TAPE_HTTP_METHOD_MAX_BYTES)
            return -TAPE_HTTP_FAULT_METHOD;
    }
    return MORE;
}

/* RFC 3986 has more to say about what may stand there; nothing here depends on it. */
static int host_is_sound(struct tape_slice host)
{
    for (size_t i = 0; i < host.bytes; i++)
        if (!is_alphanumeric(host.data[i]) && !memchr(".-_:[]", host.data[i], 6))
            return 0;
    return 1;
}

/* "http://host/path" is asked of proxies, but servers must understand it, too. Returns the bytes
 * before the path. */
static size_t authority_end(struct walk *walk, struct tape_slice target)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t at = strlen(schemes[i]), start = at;
        if (target.bytes < at || strncasecmp(target.data, schemes[i], at) != 0)
            continue;
        while (at < target.bytes && target.data[at] != '/' && target.data[at] != '?')
            at++;
        walk->head->host = (struct tape_slice){target.data + start, at - start};
        return at;
    }
    return 0;
}

static int take_target(struct walk *walk, struct tape_slice target)
{
    struct tape_http_head *head = walk->head;
    size_t start = authority_end(walk, target);
    int absolute = start > 0;
    if (absolute && (head->host.bytes == 0 || !host_is_sound(head->host)))
        return -TAPE_HTTP_FAULT_TARGET;
    struct tape_slice rest = {target.data + start, target.bytes - start};
    const char *mark = rest.bytes ? memchr(rest.data, '?', rest.bytes) : NULL;
    head->path = (struct tape_slice){rest.data, mark ? (size_t)(mark - rest.data) : rest.bytes};
    head->query = (struct tape_slice){"", 0};
    if (mark)
        head->query = (struct tape_slice){mark + 1, rest.bytes - head->path.bytes - 1};
    if (absolute && head->path.bytes == 0)
        head->path = (struct tape_slice){"/", 1};
    if (head->path.bytes > 0 && head->path.data[0] == '/')
        return GOT;
    return tape_http_is(target, "*") && tape_http_is(head->method, "OPTIONS")
               ? GOT
               : -TAPE_HTTP_FAULT_TARGET;
}

static int read_target(struct walk *walk)
{
    size_t start = walk->at;
    for (; walk->at < walk->bytes; walk->at++) {
        char byte = walk->data[walk->at];
        size_t bytes = walk->at - start;
        if (byte == ' ' && bytes > 0) {
            walk->at++;
            return take_target(walk, (struct tape_slice){walk->data + start, bytes});
        }
        if (byte <= ' ' || byte == 0x7f || byte == '#') /* above 0x7f, too: char is signed */
            return -TAPE_HTTP_FAULT_TARGET;
        if (bytes == TAPE_HTTP_TARGET_MAX_BYTES)
            return -TAPE_HTTP_FAULT_TARGET_LENGTH;
    }
    return MORE;
}

static int read_version(struct walk *walk)
{
    static const char form[] = "HTTP/0.0";
    const char *text = walk->data + walk->at;
    size_t left = walk->bytes - walk->at;
    for (size_t i = 0; i < left && i < sizeof form - 1; i++) {
        int good = form[i] == '0' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i];
        if (!good)
            return -TAPE_HTTP_FAULT_VERSION_FORM;
    }
    if (left < sizeof form - 1)
        return MORE;
    if (text[5] != '1' || text[7] > '1')
        return -TAPE_HTTP_FAULT_VERSION;
    walk->head->minor_version = text[7] - '0';
    walk->at += sizeof form - 1;
    return read_line_end(walk);
}

/* ---- fields ---- */

static int read_name(struct walk *walk, struct tape_slice *name)
{
    size_t start = walk->at;
    if (is_blank(walk->data[start]))
        return -TAPE_HTTP_FAULT_FOLDED;
    for (; walk->at < walk->bytes; walk->at++) {
        char byte = walk->data[walk->at];
        if (byte == ':' && walk->at > start) {
            *name = (struct tape_slice){walk->data + start, walk->at - start};
            walk->at++;
            return GOT;
        }
        if (!is_token(byte))
            return -TAPE_HTTP_FAULT_FIELD_NAME;
    }
    return MORE;
}

static int read_value(struct walk *walk, struct tape_slice *value)
{
    size_t start = walk->at;
    for (; walk->at < walk->bytes; walk->at++) {
        unsigned char byte = (unsigned char)walk->data[walk->at];
        if (byte == '\r' || byte == '\n')
            break;
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return -TAPE_HTTP_FAULT_CONTROL;
    }
    *value = trim((struct tape_slice){walk->data + start, walk->at - start});
    return read_line_end(walk);
}

/* Field lines up to and with the empty line. */
static int read_fields(struct walk *walk)
{
    struct tape_http_head *head = walk->head;
    while (walk->at < walk->bytes) {
        struct tape_http_field field;
        if (walk->data[walk->at] == '\r')
            return read_line_end(walk);
        if (walk->data[walk->at] == '\n')
            return -TAPE_HTTP_FAULT_LINE_END;
        if (head->fields_count == TAPE_HTTP_FIELDS_MAX)
            return -TAPE_HTTP_FAULT_FIELDS;
        int got = read_name(walk, &field.name);
        if (got == GOT)
            got = read_value(walk, &field.value);
        if (got != GOT)
            return got;
        head->fields[head->fields_count++] = field;
    }
    return MORE;
}

/* ---- what the fields say together ---- */

static int take_host(struct tape_http_head *head)
{
    int count = 0;
    struct tape_slice host = tape_http_find(head, "Host", &count);
    if (count > 1 || (count == 0 && head->minor_version == 1) || !host_is_sound(host))
        return -TAPE_HTTP_FAULT_HOST;
    if (head->host.data == NULL)
        head->host = host;
    return GOT;
}

static int take_body(struct tape_http_head *head)
{
    int count = 0;
    tape_http_find(head, "Transfer-Encoding", &count);
    if (count > 0)
        return -TAPE_HTTP_FAULT_TRANSFER_ENCODING;
    struct tape_slice length = tape_http_find(head, "Content-Length", &count);
    if (count == 0)
        return GOT;
    if (count > 1 || length.bytes == 0)
        return -TAPE_HTTP_FAULT_CONTENT_LENGTH;
    for (size_t i = 0; i < length.bytes; i++) {
        if (length.data[i] < '0' || length.data[i] > '9')
            return -TAPE_HTTP_FAULT_CONTENT_LENGTH;
        if (head->body_bytes <= TAPE_HTTP_BODY_MAX_BYTES)
            head->body_bytes = head->body_bytes * 10 + (size_t)(length.data[i] - '0');
    }
    return head->body_bytes > TAPE_HTTP_BODY_MAX_BYTES ? -TAPE_HTTP_FAULT_BODY_LENGTH : GOT;
}

static int take_fields(struct tape_http_head *head)
{
    int got = take_host(head), expects = 0;
    if (got == GOT)
        got = take_body(head);
    if (got != GOT)
        return got;
    struct tape_slice expect = tape_http_find(head, "Expect", &expects);
    if (expects && (expects > 1 || !tape_http_is(expect, "100-continue")))
        return -TAPE_HTTP_FAULT_EXPECT;
    head->expects_continue = expects && head->minor_version == 1 && head->body_bytes > 0;
    head->keep_alive =
        !tape_http_has_token(head, "Connection", "close") &&
        (head->minor_version == 1 || tape_http_has_token(head, "Connection", "keep-alive"));
    return GOT;
}

int tape_http_parse(const char *data, size_t bytes, struct tape_http_head *head)
{
    struct walk walk = {.data = data, .head = head};
    walk.bytes = bytes < TAPE_HTTP_HEAD_MAX_BYTES ? bytes : TAPE_HTTP_HEAD_MAX_BYTES;
    head->host = (struct tape_slice){NULL, 0};
    head->body_bytes = 0;
    head->fields_count = 0;
    int got = GOT;
    if (bytes > 0 && data[0] == '\r') /* RFC 7230 section 3.5 */
        got = read_line_end(&walk);
    if (got == GOT)
        got = read_method(&walk);
    if (got == GOT)
        got = read_target(&walk);
    if (got == GOT)
        got = read_version(&walk);
    if (got == GOT)
        got = read_fields(&walk);
    if (got == GOT)
        got = take_fields(head);
    if (got == MORE && bytes >= TAPE_HTTP_HEAD_MAX_BYTES)
        return -TAPE_HTTP_FAULT_HEAD_LENGTH;
    return got == GOT ? (int)walk.at : got;
}

/* ---- looking at a head ---- */

int tape_http_is(struct tape_slice text, const char *word)
{
    return text.bytes == strlen(word) && strncasecmp(text.data, word, text.bytes) == 0;
}

struct tape_slice tape_http_find(const struct tape_http_head *head, const char *name, int *count)
{
    struct tape_slice first = {NULL, 0};
    int found = 0;
    for (int i = 0; i < head->fields_count; i++) {
        if (!tape_http_is(head->fields[i].name, name))
            continue;
        if (found++ == 0)
            first = head->fields[i].value;
    }
    if (count)
        *count = found;
    return first;
}

static int list_has(struct tape_slice list, const char *token)
{
    while (list.bytes > 0) {
        const char *comma = memchr(list.data, ',', list.bytes);
        size_t bytes = comma ? (size_t)(comma - list.data) : list.bytes;
        if (tape_http_is(trim((struct tape_slice){list.data, bytes}), token))
            return 1;
        bytes += comma != NULL;
        list.data += bytes;
        list.bytes -= bytes;
    }
    return 0;
}

int tape_http_has_token(const struct tape_http_head *head, const char *name, const char *token)
{
    for (int i = 0; i < head->fields_count; i++)
        if (tape_http_is(head->fields[i].name, name) && list_has(head->fields[i].value, token))
            return 1;
    return 0;
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'f' ? (byte | 0x20) - 'a' + 10 : -1;
}

int tape_http_decode_path(struct tape_slice path, char *to, size_t room)
{
    struct tape_utf8 utf8 = {0};
    size_t used = 0;
    for (size_t at = 0; at < path.bytes; at++) {
        char byte = path.data[at];
        if (used + 1 >= room)
            return -TAPE_HTTP_FAULT_TARGET_LENGTH;
        if (byte == '%') {
            int high = path.bytes - at > 2 ? hex_digit(path.data[at + 1]) : -1;
            int low = high >= 0 ? hex_digit(path.data[at + 2]) : -1;
            if (low < 0 || (high == 0 && low == 0))
                return -TAPE_HTTP_FAULT_PATH;
            byte = (char)(high << 4 | low);
            at += 2;
        }
        to[used++] = byte;
    }
    to[used] = '\0';
    if (tape_utf8_check(&utf8, (const uint8_t *)to, used) != used || !tape_utf8_complete(&utf8))
        return -TAPE_HTTP_FAULT_PATH;
    return (int)used;
}

const char *tape_http_fault_words(int fault)
{
    switch (fault) {
#define FAULT_WORDS(name, status, words)                                                           \
    case TAPE_HTTP_FAULT_##name:                                                                   \
        return words;
        TAPE_HTTP_FAULT_TABLE(FAULT_WORDS)
#undef FAULT_WORDS
    }
    return "unknown fault";
}

int tape_http_fault_status(int fault)
{
    switch (fault) {
#define FAULT_STATUS(name, status, words)                                                          \
    case TAPE_HTTP_FAULT_##name:                                                                   \
        return status;
        TAPE_HTTP_FAULT_TABLE(FAULT_STATUS)
#undef FAULT_STATUS
    }
    return 400;
}
