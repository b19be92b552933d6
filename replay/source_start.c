#include "replay/source_start.h"

#include <stdlib.h>
#include <string.h>

#include "replay/source_books.h"
#include "replay/source_depth.h"

/* The first step of source_books is not longer: of a depth stream that has no message in it no book
 * is told. */
#define START_LOOK_BACK_NS 3600000000000ll

/* Invariants: paths and stream are ours; books is NULL until it was built once, and then of the
 * time it was last advanced to; index books of the start at at_ns were given. */
struct tape_source_start {
    char *paths[TAPE_SOURCE_ARCHIVES_MAX];
    char *stream;
    int count;
    int64_t from_ns, to_ns, at_ns;
    int due, ready, index, follows;
    struct tape_source_books *books;
};

struct tape_source_start *tape_source_start_new(const char *const *paths, int count,
                                                const struct tape_source_options *options,
                                                struct tape_error *error)
{
    struct tape_source_start *start = calloc(1, sizeof *start);
    int failed = !start;
    if (start) {
        start->from_ns = options->from_ns;
        start->to_ns = options->to_ns;
        start->at_ns = options->from_ns ? options->from_ns : INT64_MIN;
        start->due = options->from_ns != 0 || options->state > 0;
        start->follows = options->follow;
        start->stream = options->stream ? strdup(options->stream) : NULL;
        failed = options->stream && !start->stream;
        for (; !failed && start->count < count; start->count++)
            failed = !(start->paths[start->count] = strdup(paths[start->count]));
    }
    if (!failed)
        return start;
    tape_source_start_free(start);
    tape_error_set(error, TAPE_FAILED, "out of memory");
    return NULL;
}

void tape_source_start_free(struct tape_source_start *start)
{
    if (!start)
        return;
    tape_source_books_free(start->books);
    for (int i = 0; i < start->count; i++)
        free(start->paths[i]);
    free(start->stream);
    free(start);
}

void tape_source_start_seek(struct tape_source_start *start, int64_t ns)
{
    start->at_ns = start->from_ns != 0 && ns < start->from_ns ? start->from_ns : ns;
    start->due = start->to_ns == 0 || start->at_ns < start->to_ns;
    start->ready = 0;
}

int tape_source_start_is_due(const struct tape_source_start *start)
{
    return start->due;
}

/* A look at the footers spares archives without depth streams the reading of the blocks. */
static int may_have_books(const struct tape_source_start *start)
{
    int64_t from_ns;
    if (start->follows)
        return 1; /* the ring has no footer */
    if (__builtin_sub_overflow(start->at_ns, START_LOOK_BACK_NS, &from_ns))
        from_ns = INT64_MIN;
    for (int i = 0; i < start->count; i++)
        if (tape_source_depth_may_be(start->paths[i], start->stream, from_ns, start->at_ns))
            return 1;
    return 0;
}

/* Makes the books those of at_ns. */
static int make_ready(struct tape_source_start *start, struct tape_error *error)
{
    struct tape_error local;
    int status = 0;
    if (!error)
        error = &local;
    if (start->books)
        status = tape_source_books_advance(start->books, start->at_ns, error);
    else if (start->follows)
        start->books =
            tape_source_books_build_live(start->paths[0], start->stream, start->at_ns, error);
    else
        start->books = tape_source_books_build((const char *const *)start->paths, start->count,
                                               start->stream, start->at_ns, error);
    if (!start->books)
        status = error->status;
    start->ready = 1;
    start->index = 0;
    return status < 0 ? tape_error_wrap(error, "the books at the start") : 0;
}

int tape_source_start_next(struct tape_source_start *start, struct tape_message *message,
                           struct tape_error *error)
{
    int got = 0;
    if (!start->ready && !may_have_books(start)) {
        start->due = 0;
        return 0;
    }
    if (!start->ready)
        got = make_ready(start, error);
    if (got >= 0)
        got = tape_source_books_message(start->books, start->index++, message, error);
    if (got != 1)
        start->due = 0;
    return got;
}
