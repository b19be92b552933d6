/* Existing captures, lines "<ns> <payload>", made into an archive. */
#ifndef TAPE_RECORD_IMPORT_H
#define TAPE_RECORD_IMPORT_H

#include <stdatomic.h>
#include <stdint.h>

#include "format/error.h"
#include "record/store.h"

struct tape_import_options {
    const char *file;  /* "-": standard input */
    const char *venue; /* whose streams they are, for the connection's record; "" when not known */
    const atomic_int *stop; /* set from outside: end after the current line; may be NULL */
};

struct tape_import_report {
    uint64_t lines, payload_bytes;
    int again; /* the first line's time lies within an import that the archive held before */
};

/*
 * tape_import_run(options, store, report, error): on the receive thread of ${store}. Each line
 * becomes one frame record, stamped with its number and flagged as imported; zstd is known by its
 * first bytes. A payload is any bytes but newline (empty, NUL and CR included) up to 16 MiB; a last
 * line without a newline is taken as if it had one. The number is what prints as it stands there: a
 * signed 64-bit decimal, no sign but -, no leading zeros. A line that is not of this form ends the
 * import: what stood before it is in the archive, and the error names the line.
 */
int tape_import_run(const struct tape_import_options *options, struct tape_store *store,
                    struct tape_import_report *report, struct tape_error *error);

/* tape_import_number(text, bytes, value): the length of the number that ${text} starts with (as
 * above), or 0. */
size_t tape_import_number(const char *text, size_t bytes, int64_t *value);

#endif
