/* Patterns of stream names, and words that were nearly right. Private to the venue files. */
#ifndef TAPE_FORMAT_VENUE_PATTERN_H
#define TAPE_FORMAT_VENUE_PATTERN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_VENUE_NAME_MAX_BYTES = 128, /* of a stream's name, and of a pattern */
    TAPE_VENUE_PATTERNS_MAX = 256,   /* in one list, braces expanded */
};

/* tape_venue_match(pattern, name, bytes): 1 when the name is of the pattern's form. "**" stands for
 * anything, "*" for one byte or more that are neither '@' nor '!', all else for itself. The time is
 * bounded by the product of the lengths. */
int tape_venue_match(const char *pattern, const char *name, size_t bytes);

/* tape_venue_expand(pattern, to, room): the patterns that "a{b,c}d{,e}" stands for, each to be
 * freed, into to[0..room). Returns how many, -1 when the braces are wrong, one is too long, or the
 * room or memory does not suffice (to then holds none). */
int tape_venue_expand(const char *pattern, char **to, int room);

#ifdef __cplusplus
}
#endif
#endif
