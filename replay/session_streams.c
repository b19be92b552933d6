#include "replay/session_streams.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static int add(struct tape_session_streams *streams, const char *name)
{
    if (!name || !*name || streams->count == TAPE_SESSION_STREAMS_MAX)
        return 0;
    if (!streams->names &&
        !(streams->names = calloc(TAPE_SESSION_STREAMS_MAX, sizeof *streams->names)))
        return 0;
    if (!(streams->names[streams->count] = strdup(name)))
        return 0;
    streams->count++;
    return 1;
}

/* In small letters and capitals alike, those of one such group together. */
static int by_name(const void *a, const void *b)
{
    const char *left = *(char *const *)a, *right = *(char *const *)b;
    int order = strcasecmp(left, right);
    return order ? order : strcmp(left, right);
}

void tape_session_streams_add(struct tape_session_streams *streams, struct tape_index *index)
{
    sqlite3_stmt *statement = NULL;
    int step = SQLITE_ERROR;
    if (sqlite3_prepare_v2(tape_index_handle(index), "SELECT DISTINCT name FROM stream", -1,
                           &statement, NULL) == SQLITE_OK)
        while ((step = sqlite3_step(statement)) == SQLITE_ROW)
            if (!add(streams, (const char *)sqlite3_column_text(statement, 0)))
                break;
    sqlite3_finalize(statement);
    streams->unknown |= step != SQLITE_DONE;
    if (streams->count > 0)
        qsort(streams->names, streams->count, sizeof *streams->names, by_name);
}

void tape_session_streams_free(struct tape_session_streams *streams)
{
    for (size_t i = 0; i < streams->count; i++)
        free(streams->names[i]);
    free(streams->names);
    *streams = (struct tape_session_streams){0};
}

/* As strcasecmp() of the name that the archive has and the one of ${bytes}. */
static int compare(const char *have, const char *name, size_t bytes)
{
    int order = strncasecmp(have, name, bytes);
    return order ? order : have[bytes] != '\0';
}

static size_t find_first(const struct tape_session_streams *streams, const char *name, size_t bytes)
{
    size_t low = 0, high = streams->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(streams->names[middle], name, bytes) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int tape_session_streams_lack(const struct tape_session_streams *streams, const char *name,
                              size_t bytes, const char **near)
{
    *near = NULL;
    if (!streams->complete || streams->unknown)
        return 0;
    for (size_t i = find_first(streams, name, bytes); i < streams->count; i++) {
        const char *have = streams->names[i];
        if (compare(have, name, bytes) != 0)
            break;
        if (memcmp(have, name, bytes) == 0)
            return 0;
        *near = have;
    }
    return 1;
}
