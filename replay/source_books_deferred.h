/* Events that were met before the time that they are stamped with, in their order. Private to the
 * source files. */
#ifndef TAPE_REPLAY_SOURCE_BOOKS_DEFERRED_H
#define TAPE_REPLAY_SOURCE_BOOKS_DEFERRED_H

#include "format/feed.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SOURCE_BOOKS_DEFERRED_MAX = 4096 };

struct tape_source_books_deferred_event;

/* Zero-initialise; clear it at the end. */
struct tape_source_books_deferred {
    struct tape_source_books_deferred_event *first, *last;
    int count;
};

/* tape_source_books_deferred_add(deferred, message): keeps a copy. 1, or TAPE_FAILED: memory is
 * short, or there are too many. */
int tape_source_books_deferred_add(struct tape_source_books_deferred *deferred,
                                   const struct tape_message *message);

/* tape_source_books_deferred_first(deferred): the one that was met first, or NULL;
 * tape_source_books_deferred_drop() takes it away. */
const struct tape_message *
tape_source_books_deferred_first(const struct tape_source_books_deferred *deferred);
void tape_source_books_deferred_drop(struct tape_source_books_deferred *deferred);
void tape_source_books_deferred_clear(struct tape_source_books_deferred *deferred);

#ifdef __cplusplus
}
#endif
#endif
