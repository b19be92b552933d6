/* Of which venue and from when to when. */
#include <sqlite3.h>
#include <string.h>

#include "format/archive.h"
#include "replay/catalog.h"
#include "replay/serve_internal.h"
#include "replay/span.h"

/* ---- the venue ---- */

/* The venue of the archive's last connection that names one. */
static void ask_venue(struct tape_index *index, char *to, size_t room)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(tape_index_handle(index),
                           "SELECT venue FROM connection WHERE venue IS NOT NULL AND venue <> '' "
                           "ORDER BY connection_id DESC LIMIT 1",
                           -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        snprintf(to, room, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
}

static int read_index(struct tape_serve *serve, int number, char *to, size_t room,
                      struct tape_error *error)
{
    const char *path = serve->options->archives[number];
    struct tape_catalog catalog;
    struct tape_archive *archive = tape_archive_open(path, error);
    if (!archive)
        return error->status;
    int status = tape_catalog_open(&catalog, archive, error);
    if (status == 0) {
        if (!serve->venue && !*to)
            ask_venue(catalog.index, to, room);
        tape_session_streams_add(&serve->streams, catalog.index);
        tape_source_asked_read(&serve->asked, (uint16_t)number, catalog.index);
        tape_catalog_close(&catalog);
    }
    tape_archive_close(archive);
    return status;
}

int tape_serve_load_venue(struct tape_serve *serve, struct tape_error *error)
{
    char name[64] = "";
    const struct tape_options *options = serve->options;
    if (options->venue) {
        serve->venue = tape_venue_load(options->venue, error);
        if (!serve->venue)
            return error->status;
    }
    for (int i = 0; i < options->archives_count; i++) {
        int status = read_index(serve, i, name, sizeof name, error);
        if (status < 0 && !serve->venue && !*name)
            return status;
        serve->streams.unknown |= status < 0;
    }
    serve->streams.complete = !options->follow;
    if (*name)
        serve->venue = tape_venue_load(name, NULL);
    serve->exchange = (struct tape_exchange){serve->venue, options->unrouted};
    if (!serve->venue)
        fputs("tape-replay: the recording does not say of which venue it is: every path is sent "
              "every stream (--venue NAME)\n",
              serve->notices);
    return 0;
}

/* ---- the range ---- */

static int read_span(struct tape_serve *serve, struct tape_error *error)
{
    if (serve->spanned && !serve->options->follow)
        return 0;
    int status = tape_span_read_all(serve->options->archives, serve->options->archives_count,
                                    &serve->first_ns, &serve->last_ns, error);
    if (status < 0)
        return status;
    serve->spanned = 1;
    return 0;
}

static int check_outside(const struct tape_serve *serve, const struct tape_source_options *options,
                         struct tape_error *error)
{
    char text[TAPE_TIMESPEC_TEXT_BYTES];
    if (serve->last_ns == 0)
        return 0;
    if (options->from_ns > serve->last_ns && !serve->options->follow) {
        tape_timespec_format(text, serve->last_ns);
        return tape_error_set(error, TAPE_USAGE, "from is after the last message, %s", text);
    }
    if (options->to_ns != 0 && options->to_ns <= serve->first_ns) {
        tape_timespec_format(text, serve->first_ns);
        return tape_error_set(error, TAPE_USAGE, "to is not after the first message, %s", text);
    }
    return 0;
}

int tape_serve_resolve(struct tape_serve *serve, const struct tape_timespec *from,
                       const struct tape_timespec *to, struct tape_source_options *options,
                       struct tape_error *error)
{
    if (!from && !to)
        return 0;
    int status = read_span(serve, error);
    if (status < 0)
        return status;
    if (from)
        options->from_ns = tape_timespec_resolve(from, serve->first_ns, serve->last_ns);
    if (to)
        options->to_ns = tape_timespec_resolve(to, serve->first_ns, serve->last_ns);
    if (to && options->to_ns == 0)
        options->to_ns = -1; /* 0 is an open end */
    if (from && options->to_ns != 0 && options->from_ns >= options->to_ns)
        return tape_error_set(error, TAPE_USAGE, "from is not before to: nothing lies between");
    return check_outside(serve, options, error);
}
