#include "format/feed_ends.h"

#include <string.h>

#include "format/event.h"
#include "format/record.h"

/* Frames that were not kept never had ordinals: that they are missing only the note tells. */
static int is_gap(const void *body, size_t bytes)
{
    struct tape_event *note = tape_event_read(body, bytes);
    const char *kind = note ? tape_event_text(note, "kind") : NULL;
    int gap = kind && strcmp(kind, "gap") == 0;
    tape_event_free(note);
    return gap;
}

int tape_feed_ends(int kind, uint32_t connection, const void *body, size_t bytes)
{
    switch (kind) {
    case TAPE_RECORD_CONNECTION_CLOSE:
        return TAPE_FEED_ENDS_CONNECTION;
    case TAPE_RECORD_SESSION_START:
        return TAPE_FEED_ENDS_ALL;
    case TAPE_RECORD_NOTE:
        if (!is_gap(body, bytes))
            return TAPE_FEED_ENDS_NONE;
        return connection == 0 ? TAPE_FEED_ENDS_ALL : TAPE_FEED_ENDS_CONNECTION;
    default:
        return TAPE_FEED_ENDS_NONE;
    }
}
