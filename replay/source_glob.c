#include "replay/source_glob.h"

#include <string.h>

/* The "]" that closes the set opened at from, or NULL. The first member may be "]" itself. */
static const char *set_end(const char *from, const char *end)
{
    const char *at = from + 1;
    if (at < end && *at == '!')
        at++;
    if (at < end && *at == ']')
        at++;
    for (; at < end; at++)
        if (*at == ']')
            return at;
    return NULL;
}

static int set_holds(const char *from, const char *close, unsigned char byte)
{
    const char *at = from + 1;
    int negated = *at == '!', found = 0;
    for (at += negated; at < close; at++) {
        unsigned char low = (unsigned char)*at, high = low;
        if (at + 2 < close && at[1] == '-') {
            high = (unsigned char)at[2];
            at += 2;
        }
        found |= low <= byte && byte <= high;
    }
    return found != negated;
}

/* Matches one pattern element that is no "*" against a byte; returns the pattern after it or NULL.
 */
static const char *match_one(const char *pattern, const char *end, unsigned char byte)
{
    const char *close;
    if (*pattern == '?')
        return pattern + 1;
    if (*pattern == '[' && (close = set_end(pattern, end)) != NULL)
        return set_holds(pattern, close, byte) ? close + 1 : NULL;
    return (unsigned char)*pattern == byte ? pattern + 1 : NULL;
}

/* Only the last star seen is ever tried again: what stood before it is matched as early as can be,
 * which leaves the most for the rest. */
static int match(const char *pattern, const char *end, const char *name, const char *name_end)
{
    const char *star = NULL, *retry = NULL;
    while (name < name_end) {
        const char *next = NULL;
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            retry = name;
            continue;
        }
        if (pattern < end)
            next = match_one(pattern, end, (unsigned char)*name);
        if (next) {
            pattern = next;
            name++;
        } else if (star) {
            pattern = star;
            name = ++retry;
        } else {
            return 0;
        }
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}

int tape_source_glob_match(const char *patterns, const char *name, size_t bytes)
{
    for (;;) {
        size_t length = strcspn(patterns, ",");
        if (match(patterns, patterns + length, name, name + bytes))
            return 1;
        if (patterns[length] == '\0')
            return 0;
        patterns += length + 1;
    }
}
