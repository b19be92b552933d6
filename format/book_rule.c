#include <string.h>

#include "format/book.h"
#include "format/venue.h"

/* 1 when text is "", or "@" and more. */
static int is_end(const char *text)
{
    return text[0] == '\0' || text[0] == '@';
}

static int is_diff(const char *channel)
{
    return (strncmp(channel, "@depth", 6) == 0 && is_end(channel + 6)) ||
           (strncmp(channel, "@rpiDepth", 9) == 0 && is_end(channel + 9));
}

struct tape_book *tape_book_for(const char *venue, const char *stream, struct tape_error *error)
{
    const char *channel = strchr(stream, '@');
    int sequence = TAPE_BOOK_BY_DIFF;
    int partial = tape_tick_is_partial_depth((struct tape_slice){stream, strlen(stream)});
    if (!channel || (!partial && !is_diff(channel))) {
        tape_error_set(error, TAPE_USAGE,
                       "stream \"%.64s\" has no book: depth streams are called <symbol>@depth, "
                       "<symbol>@depth20 ...",
                       stream);
        return NULL;
    }
    if (partial) {
        sequence = TAPE_VENUE_SEQUENCE_NONE;
    } else if (venue) {
        struct tape_venue *profile = tape_venue_load(venue, error);
        if (!profile)
            return NULL;
        sequence = tape_venue_sequence(profile, stream, strlen(stream));
        tape_venue_free(profile);
        if (sequence == TAPE_VENUE_SEQUENCE_NONE) {
            tape_error_set(error, TAPE_USAGE, "stream \"%.64s\" is none of %.64s's", stream, venue);
            return NULL;
        }
    }
    struct tape_book *book = tape_book_new(sequence);
    if (!book)
        tape_error_set(error, TAPE_FAILED, "memory is short for the book of \"%.64s\"", stream);
    return book;
}
