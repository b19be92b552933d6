#include "replay/session_asked.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/tick.h"

/* ---- what was asked for ---- */

static int by_place(const void *a, const void *b)
{
    const struct tape_session_asked_name *left = a, *right = b;
    if (left->archive != right->archive)
        return left->archive < right->archive ? -1 : 1;
    if (left->connection != right->connection)
        return left->connection < right->connection ? -1 : 1;
    return strcmp(left->name, right->name);
}

static int add(struct tape_session_asked *asked, uint16_t archive, uint32_t connection,
               const char *name, size_t bytes)
{
    if (bytes == 0)
        return 1;
    if (asked->count == TAPE_SESSION_ASKED_MAX)
        return 0;
    if (asked->count == asked->room) {
        size_t room = asked->room ? 2 * asked->room : 64;
        struct tape_session_asked_name *more = realloc(asked->names, room * sizeof *more);
        if (!more)
            return 0;
        asked->names = more;
        asked->room = room;
    }
    char *copy = strndup(name, bytes);
    if (!copy)
        return 0;
    asked->names[asked->count++] = (struct tape_session_asked_name){copy, connection, archive};
    return 1;
}

/* Of wss://host/ws/<a>/<b>?query; elsewhere the path is a version, say, and no stream. */
static int add_path(struct tape_session_asked *asked, uint16_t archive, uint32_t connection,
                    const char *url)
{
    static const char start[] = "/ws/";
    const char *at = url ? strstr(url, start) : NULL;
    if (!at)
        return 1;
    for (at += sizeof start - 1; *at && *at != '?';) {
        size_t bytes = strcspn(at, "/?");
        if (memchr(at, '@', bytes) && !add(asked, archive, connection, at, bytes))
            return 0;
        at += bytes + (at[bytes] == '/');
    }
    return 1;
}

static void sort(struct tape_session_asked *asked)
{
    size_t kept = 0;
    if (asked->count > 0)
        qsort(asked->names, asked->count, sizeof *asked->names, by_place);
    for (size_t i = 0; i < asked->count; i++)
        if (kept > 0 && by_place(&asked->names[kept - 1], &asked->names[i]) == 0)
            free(asked->names[i].name);
        else
            asked->names[kept++] = asked->names[i];
    asked->count = kept;
}

void tape_session_asked_add(struct tape_session_asked *asked, uint16_t archive,
                            struct tape_index *index)
{
    static const char question[] =
        "WITH raw AS (SELECT connection_id, url FROM connection "
        "WHERE url GLOB '*/ws' OR url GLOB '*/ws[/?]*') "
        "SELECT connection_id, url, NULL FROM raw UNION ALL "
        "SELECT connection_id, NULL, name FROM raw JOIN subscription USING (connection_id) "
        "JOIN stream USING (stream_id)";
    sqlite3_stmt *statement = NULL;
    int step = SQLITE_ERROR;
    if (sqlite3_prepare_v2(tape_index_handle(index), question, -1, &statement, NULL) == SQLITE_OK)
        while ((step = sqlite3_step(statement)) == SQLITE_ROW) {
            uint32_t connection = (uint32_t)sqlite3_column_int64(statement, 0);
            const char *name = (const char *)sqlite3_column_text(statement, 2);
            if (!add_path(asked, archive, connection,
                          (const char *)sqlite3_column_text(statement, 1)) ||
                !add(asked, archive, connection, name, name ? strlen(name) : 0))
                break;
        }
    sqlite3_finalize(statement);
    asked->unknown |= step != SQLITE_DONE;
    sort(asked);
}

void tape_session_asked_free(struct tape_session_asked *asked)
{
    for (size_t i = 0; i < asked->count; i++)
        free(asked->names[i].name);
    free(asked->names);
    *asked = (struct tape_session_asked){0};
}

/* ---- telling ---- */

/* 1 when names[at] is of the message's connection. */
static int is_of(const struct tape_session_asked *asked, size_t at,
                 const struct tape_message *message)
{
    return at < asked->count && asked->names[at].archive == message->archive &&
           asked->names[at].connection == message->connection;
}

/* Where the names of the message's connection start; count when it has none. */
static size_t find_first(const struct tape_session_asked *asked, const struct tape_message *message)
{
    char none[] = "";
    struct tape_session_asked_name key = {none, message->connection, message->archive};
    size_t low = 0, high = asked->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_place(&asked->names[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return !asked->unknown && is_of(asked, low, message) ? low : asked->count;
}

static struct tape_slice name_at(const struct tape_session_asked *asked, size_t at)
{
    return (struct tape_slice){asked->names[at].name, strlen(asked->names[at].name)};
}

int tape_session_asked_only(const struct tape_session_asked *asked,
                            const struct tape_message *message, struct tape_slice *name)
{
    size_t first = find_first(asked, message);
    if (first == asked->count || is_of(asked, first + 1, message))
        return 0;
    *name = name_at(asked, first);
    return 1;
}

static int is_like(const char *name, struct tape_slice symbol, const char *channel)
{
    return strncasecmp(name, symbol.data, symbol.bytes) == 0 &&
           strncmp(name + symbol.bytes, channel, strlen(channel)) == 0;
}

int tape_session_asked_like(const struct tape_session_asked *asked,
                            const struct tape_message *message, struct tape_slice *name)
{
    struct tape_tick tick;
    size_t at = find_first(asked, message), found = asked->count;
    if (at == asked->count ||
        tape_tick_scan(message->payload.data, message->payload.bytes, &tick) != 1 ||
        tick.symbol.bytes == 0 ||
        (tick.kind != TAPE_TICK_DEPTH && tick.kind != TAPE_TICK_MARK_PRICE))
        return 0;
    for (; is_of(asked, at, message); at++) {
        if (!is_like(asked->names[at].name, tick.symbol,
                     tick.kind == TAPE_TICK_DEPTH ? "@depth" : "@markPrice"))
            continue;
        if (found != asked->count)
            return 0;
        found = at;
    }
    if (found == asked->count)
        return 0;
    *name = name_at(asked, found);
    return 1;
}
