/* JSON that people write, with comments: venue profiles, and other files of their kind; errors say
 * line and column. Not for users of the library: it shows cJSON's types. */
#ifndef TAPE_FORMAT_VENUE_JSON_H
#define TAPE_FORMAT_VENUE_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_VENUE_JSON_MAX_BYTES = 256 << 10, TAPE_VENUE_JSON_MAX_DEPTH = 8 };

enum tape_venue_form {
    TAPE_VENUE_FORM_TEXT,    /* a string of printable ASCII, not empty */
    TAPE_VENUE_FORM_TEXTS,   /* an array of such, not empty */
    TAPE_VENUE_FORM_COUNT,   /* a whole number from 1 to 10^9 */
    TAPE_VENUE_FORM_OBJECT,  /* an object with the members of inner */
    TAPE_VENUE_FORM_OBJECTS, /* an array of such, not empty */
    TAPE_VENUE_FORM_ANY,     /* an object that is not looked into */
    TAPE_VENUE_FORM_NAME,    /* a string without control characters, not empty */
    TAPE_VENUE_FORM_WHOLE,   /* a whole number from 0 to 2^53 - 1, or up to 2^63 - 1 as a string */
    TAPE_VENUE_FORM_RATIO,   /* a number from 0 to 1 */
    TAPE_VENUE_FORM_FLAG,    /* true or false */
};

/* What an object may hold. A word of NULL ends it. */
struct tape_venue_member {
    const char *word;
    int form; /* enum tape_venue_form */
    int required;
    const struct tape_venue_member *inner;
};

/* The text of a file. Invariants: plain is the text with spaces for comments, NUL-terminated,
 * newlines and offsets as in the original; keys are the offsets of all members' keys in the order
 * of the text. */
struct tape_venue_json {
    const char *source;
    char *plain;
    size_t *keys;
    size_t keys_count;
    cJSON *root;
};

/* tape_venue_json_read(json, text, bytes, source, members, error): the text as an object that holds
 * what members say, no key unknown or twice. 0 or TAPE_USAGE; freed with tape_venue_json_free
 * either way (root may be taken out before). */
int tape_venue_json_read(struct tape_venue_json *json, const char *text, size_t bytes,
                         const char *source, const struct tape_venue_member *members,
                         struct tape_error *error);
void tape_venue_json_free(struct tape_venue_json *json);

/* tape_venue_json_fault(json, member, error, format, ...): TAPE_USAGE with the words, behind the
 * place of the member's key. */
int tape_venue_json_fault(const struct tape_venue_json *json, const cJSON *member,
                          struct tape_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#ifdef __cplusplus
}
#endif
#endif
