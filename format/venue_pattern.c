#include "format/venue_pattern.h"

#include <stdlib.h>
#include <string.h>

/* reach[i]: the pattern so far matches the name's first i bytes. One pass over it per pattern
 * letter, so that no pattern makes it slow. */
int tape_venue_match(const char *pattern, const char *name, size_t bytes)
{
    unsigned char reach[TAPE_VENUE_NAME_MAX_BYTES + 1] = {1};
    if (bytes > TAPE_VENUE_NAME_MAX_BYTES)
        return 0;
    for (; *pattern; pattern++) {
        int any = pattern[0] == '*' && pattern[1] == '*';
        unsigned char before = reach[0];
        reach[0] = reach[0] && any;
        for (size_t i = 1; i <= bytes; i++) {
            unsigned char c = (unsigned char)name[i - 1], here = reach[i];
            if (any)
                reach[i] = here || reach[i - 1];
            else if (*pattern == '*')
                reach[i] = c != '@' && c != '!' && (before || reach[i - 1]);
            else
                reach[i] = before && c == (unsigned char)*pattern;
            before = here;
        }
        pattern += any;
    }
    return reach[bytes];
}

/* ---- braces ---- */

/* The expansions so far; failed: there is no way on. */
struct expansion {
    char **to;
    int room, count, failed;
};

/* Patterns that wait for the rest of them: done bytes of text are plain, the rest is not looked at
 * yet. */
static void expand(struct expansion *out, const char *done, size_t done_bytes, const char *rest);

static void add(struct expansion *out, const char *text, size_t bytes)
{
    char *copy = out->count < out->room ? malloc(bytes + 1) : NULL;
    if (!copy) {
        out->failed = 1;
        return;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    out->to[out->count++] = copy;
}

static void expand(struct expansion *out, const char *done, size_t done_bytes, const char *rest)
{
    char text[TAPE_VENUE_NAME_MAX_BYTES + 1];
    size_t plain = strcspn(rest, "{}");
    if (out->failed || done_bytes + plain > TAPE_VENUE_NAME_MAX_BYTES || rest[plain] == '}') {
        out->failed = 1;
        return;
    }
    memcpy(text, done, done_bytes);
    memcpy(text + done_bytes, rest, plain);
    done_bytes += plain;
    rest += plain;
    if (!*rest) {
        add(out, text, done_bytes);
        return;
    }
    const char *close = rest + 1 + strcspn(rest + 1, "{}");
    if (*close != '}') { /* no end, or braces inside braces */
        out->failed = 1;
        return;
    }
    for (const char *word = rest + 1; word <= close && !out->failed;) {
        size_t bytes = strcspn(word, ",}");
        if (done_bytes + bytes > TAPE_VENUE_NAME_MAX_BYTES) {
            out->failed = 1;
            return;
        }
        memcpy(text + done_bytes, word, bytes);
        expand(out, text, done_bytes + bytes, close + 1);
        word += bytes + 1;
    }
}

int tape_venue_expand(const char *pattern, char **to, int room)
{
    struct expansion out = {to, room, 0, 0};
    if (strlen(pattern) > 4 * TAPE_VENUE_NAME_MAX_BYTES)
        return -1;
    expand(&out, "", 0, pattern);
    if (!out.failed)
        return out.count;
    while (out.count > 0)
        free(to[--out.count]);
    return -1;
}
