/* JSON that people write, with comments: venue profiles, and other files of their kind; errors say
 * line and column. Not for users of the library: it shows cJSON's types. */
#ifndef TAPE_FORMAT_SETTINGS_H
#define TAPE_FORMAT_SETTINGS_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SETTINGS_MAX_BYTES = 256 << 10, TAPE_SETTINGS_MAX_DEPTH = 8 };

enum tape_settings_form {
    TAPE_SETTINGS_FORM_TEXT,    /* a string of printable ASCII, not empty */
    TAPE_SETTINGS_FORM_TEXTS,   /* an array of such, not empty */
    TAPE_SETTINGS_FORM_COUNT,   /* a whole number from 1 to 10^9 */
    TAPE_SETTINGS_FORM_OBJECT,  /* an object with the members of inner */
    TAPE_SETTINGS_FORM_OBJECTS, /* an array of such, not empty */
    TAPE_SETTINGS_FORM_ANY,     /* an object that is not looked into */
    TAPE_SETTINGS_FORM_NAME,    /* a string without control characters, not empty */
    TAPE_SETTINGS_FORM_WHOLE, /* a whole number from 0 to 2^53 - 1, or up to 2^63 - 1 as a string */
    TAPE_SETTINGS_FORM_RATIO, /* a number from 0 to 1 */
    TAPE_SETTINGS_FORM_FLAG,  /* true or false */
};

/* What an object may hold. A word of NULL ends it. */
struct tape_settings_member {
    const char *word;
    int form; /* enum tape_settings_form */
    int required;
    const struct tape_settings_member *inner;
};

/* The text of a file. Invariants: plain is the text with spaces for comments, NUL-terminated,
 * newlines and offsets as in the original; keys are the offsets of all members' keys in the order
 * of the text. */
struct tape_settings {
    const char *source;
    char *plain;
    size_t *keys;
    size_t keys_count;
    cJSON *root;
};

/* tape_settings_read(settings, text, bytes, source, members, error): the text as an object that
 * holds what members say, no key unknown or twice. 0 or TAPE_USAGE; freed with tape_settings_free
 * either way (root may be taken out before). */
int tape_settings_read(struct tape_settings *settings, const char *text, size_t bytes,
                       const char *source, const struct tape_settings_member *members,
                       struct tape_error *error);
void tape_settings_free(struct tape_settings *settings);

/* tape_settings_fault(settings, member, error, format, ...): TAPE_USAGE with the words, behind the
 * place of the member's key. */
int tape_settings_fault(const struct tape_settings *settings, const cJSON *member,
                        struct tape_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#ifdef __cplusplus
}
#endif
#endif
