/* Bodies of event records: flat JSON objects, written without allocation, read with care. */
#ifndef TAPE_FORMAT_EVENT_H
#define TAPE_FORMAT_EVENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_EVENT_MAX_BYTES = 64 << 10 };

/* Writes one object into the caller's room. Invariant: used <= room; full says that something did
 * not fit (what did fit is still one valid object: a value that does not fit is cut or left out).
 */
struct tape_event_writer {
    char *to;
    size_t room, used;
    int full;
};

/* tape_event_begin(writer, to, room): room >= 64. */
void tape_event_begin(struct tape_event_writer *writer, char *to, size_t room);
/* Strings are made valid JSON: controls escaped, bytes that are no UTF-8 become U+FFFD. */
void tape_event_put_text(struct tape_event_writer *writer, const char *key, const char *value);
void tape_event_put_bytes(struct tape_event_writer *writer, const char *key, const char *value,
                          size_t bytes);
void tape_event_put_number(struct tape_event_writer *writer, const char *key, int64_t value);
/* as a string of digits: for ns and other numbers that may pass 2^53 */
void tape_event_put_wide(struct tape_event_writer *writer, const char *key, int64_t value);
void tape_event_put_bool(struct tape_event_writer *writer, const char *key, int value);
/* an array of strings, or of numbers */
void tape_event_put_texts(struct tape_event_writer *writer, const char *key,
                          const char *const *values, size_t count);
void tape_event_put_numbers(struct tape_event_writer *writer, const char *key,
                            const uint64_t *values, size_t count);
/* tape_event_end(writer): closes the object; returns its bytes (a terminating NUL follows). */
size_t tape_event_end(struct tape_event_writer *writer);

/* A body that was read. Opaque. */
struct tape_event;

/* tape_event_read(body, bytes): NULL when it is no flat JSON object within the limits (size, depth
 * 2). */
struct tape_event *tape_event_read(const char *body, size_t bytes);
void tape_event_free(struct tape_event *event);
/* The value of key, or NULL / fallback when it is absent or of another form. Wide and plain numbers
 * both read as numbers. */
const char *tape_event_text(const struct tape_event *event, const char *key);
int64_t tape_event_number(const struct tape_event *event, const char *key, int64_t fallback);
/* The ${index}th string of an array, or NULL past its end. */
const char *tape_event_text_at(const struct tape_event *event, const char *key, int index);
/* The ${index}th number of an array, or fallback. Booleans read as 1 and 0 in both. */
int64_t tape_event_number_at(const struct tape_event *event, const char *key, int index,
                             int64_t fallback);

#ifdef __cplusplus
}
#endif
#endif
