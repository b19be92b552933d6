#include "replay/source_books_deferred.h"

#include <stdlib.h>
#include <string.h>

#include "format/error.h"

struct tape_source_books_deferred_event {
    struct tape_source_books_deferred_event *next;
    struct tape_message message; /* its payload is what stands behind */
    char payload[];
};

int tape_source_books_deferred_add(struct tape_source_books_deferred *deferred,
                                   const struct tape_message *message)
{
    struct tape_source_books_deferred_event *event =
        deferred->count < TAPE_SOURCE_BOOKS_DEFERRED_MAX
            ? malloc(sizeof *event + message->payload.bytes)
            : NULL;
    if (!event)
        return TAPE_FAILED;
    event->next = NULL;
    event->message = *message;
    event->message.payload.data = event->payload;
    event->message.stream = event->message.frame = (struct tape_slice){NULL, 0};
    if (message->payload.bytes > 0)
        memcpy(event->payload, message->payload.data, message->payload.bytes);
    if (deferred->last)
        deferred->last->next = event;
    else
        deferred->first = event;
    deferred->last = event;
    deferred->count++;
    return 1;
}

const struct tape_message *
tape_source_books_deferred_first(const struct tape_source_books_deferred *deferred)
{
    return deferred->first ? &deferred->first->message : NULL;
}

void tape_source_books_deferred_drop(struct tape_source_books_deferred *deferred)
{
    struct tape_source_books_deferred_event *event = deferred->first;
    deferred->first = event->next;
    if (!deferred->first)
        deferred->last = NULL;
    deferred->count--;
    free(event);
}

void tape_source_books_deferred_clear(struct tape_source_books_deferred *deferred)
{
    while (deferred->first)
        tape_source_books_deferred_drop(deferred);
}
