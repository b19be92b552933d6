#include "replay/source_books_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/venue.h"

/* What one archive or connection has missed comes with the other's lag. */
#define PATIENCE_NS 10000000000ll

static void free_stream(struct tape_source_books_stream *stream)
{
    if (!stream)
        return;
    tape_book_free(stream->book);
    free(stream->name);
    free(stream);
}

void tape_source_books_set_free(struct tape_source_books_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free_stream(set->streams[i]);
    free(set->streams);
    memset(set, 0, sizeof *set);
}

void tape_source_books_set_restart(struct tape_source_books_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct tape_source_books_stream *stream = set->streams[i];
        if (stream->met)
            tape_book_reset(stream->book, NULL);
        stream->met = stream->broke = stream->carriers_count = 0;
        stream->brought = stream->guessed = 0;
        stream->doubt[0] = '\0';
    }
}

static int compare(const struct tape_source_books_stream *stream, const char *name, size_t bytes)
{
    int order = strncmp(stream->name, name, bytes);
    return order ? order : stream->name[bytes] != '\0';
}

/* Where the name is, or belongs: the first that is not below it. */
static size_t find_place(const struct tape_source_books_set *set, const char *name, size_t bytes)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(set->streams[middle], name, bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct tape_source_books_stream *tape_source_books_set_find(struct tape_source_books_set *set,
                                                            const char *name, size_t bytes)
{
    if (set->last < set->count && compare(set->streams[set->last], name, bytes) == 0)
        return set->streams[set->last];
    size_t at = find_place(set, name, bytes);
    if (at == set->count || compare(set->streams[at], name, bytes) != 0)
        return NULL;
    set->last = at;
    return set->streams[at];
}

static struct tape_source_books_stream *make_stream(const char *name, size_t bytes, int is_diff)
{
    struct tape_source_books_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->name = strndup(name, bytes);
    stream->book = tape_book_new(is_diff ? TAPE_BOOK_BY_DIFF : TAPE_VENUE_SEQUENCE_NONE);
    stream->is_diff = is_diff;
    stream->first_known_ns = INT64_MAX;
    if (stream->name && stream->book) {
        tape_book_wait_for(stream->book, PATIENCE_NS);
        return stream;
    }
    free_stream(stream);
    return NULL;
}

struct tape_source_books_stream *tape_source_books_set_add(struct tape_source_books_set *set,
                                                           const char *name, size_t bytes,
                                                           int is_diff)
{
    struct tape_source_books_stream *stream = tape_source_books_set_find(set, name, bytes);
    if (stream) {
        stream->met = 1;
        return stream;
    }
    if (set->count == set->room) {
        size_t room = set->room ? 2 * set->room : 16;
        struct tape_source_books_stream **larger = realloc(set->streams, room * sizeof *larger);
        if (!larger)
            return NULL;
        set->streams = larger;
        set->room = room;
    }
    stream = make_stream(name, bytes, is_diff);
    if (!stream)
        return NULL;
    size_t at = find_place(set, name, bytes);
    memmove(set->streams + at + 1, set->streams + at, (set->count++ - at) * sizeof *set->streams);
    set->streams[at] = stream;
    stream->met = 1;
    return stream;
}

void tape_source_books_set_carry(struct tape_source_books_stream *stream, int archive,
                                 uint32_t connection)
{
    stream->brought |= UINT64_C(1) << archive;
    for (int i = 0; i < stream->carriers_count; i++)
        if (stream->carriers[i].connection == connection && stream->carriers[i].archive == archive)
            return;
    if (stream->carriers_count == TAPE_SOURCE_BOOKS_CARRIERS_MAX)
        memmove(stream->carriers, stream->carriers + 1,
                --stream->carriers_count * sizeof *stream->carriers);
    stream->carriers[stream->carriers_count++] =
        (struct tape_source_books_carrier){archive, connection};
}

static int lose_carriers(struct tape_source_books_stream *stream, int archive, uint32_t connection)
{
    int kept = 0, had = stream->carriers_count;
    for (int i = 0; i < had; i++) {
        struct tape_source_books_carrier carrier = stream->carriers[i];
        if (carrier.archive != archive || (connection && carrier.connection != connection))
            stream->carriers[kept++] = carrier;
    }
    stream->carriers_count = kept;
    return had - kept;
}

void tape_source_books_set_lose(struct tape_source_books_set *set, int archive, uint32_t connection,
                                const char *cause)
{
    for (size_t i = 0; i < set->count; i++) {
        struct tape_source_books_stream *stream = set->streams[i];
        if (lose_carriers(stream, archive, connection) > 0 && stream->carriers_count == 0)
            snprintf(stream->doubt, sizeof stream->doubt, "%s", cause);
    }
}

const char *tape_source_books_set_cause(const struct tape_source_books_stream *stream)
{
    return tape_book_state(stream->book) != TAPE_BOOK_KNOWN ? tape_book_cause(stream->book)
                                                            : stream->doubt;
}
