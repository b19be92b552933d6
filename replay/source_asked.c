#include "replay/source_asked.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/error.h"
#include "format/event.h"
#include "format/record.h"
#include "replay/source_depth.h"

/* names, depths and missing: of a connection's first entry. */
struct tape_source_asked_entry {
    char *name; /* NULL: the connection's first entry */
    uint32_t connection;
    uint16_t archive;
    uint8_t bytes;
    uint8_t is_depth, is_partial, missing;
    uint32_t names, depths;
};

struct key {
    uint32_t connection;
    uint16_t archive;
    struct tape_slice name;
};

static const struct tape_slice nothing = {"", 0};

/* The archive comes after the connection: archives heard of side by side then grow at the end. */
static int compare(const struct tape_source_asked_entry *entry, const struct key *key)
{
    if (entry->connection != key->connection)
        return entry->connection < key->connection ? -1 : 1;
    if (entry->archive != key->archive)
        return entry->archive < key->archive ? -1 : 1;
    if (entry->bytes != key->name.bytes)
        return entry->bytes < key->name.bytes ? -1 : 1;
    return entry->bytes ? memcmp(entry->name, key->name.data, entry->bytes) : 0;
}

/* Where the name is, or belongs: the first that is not below it. */
static size_t find_place(const struct tape_source_asked *asked, const struct key *key)
{
    size_t low = 0, high = asked->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&asked->entries[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int is_of(const struct tape_source_asked *asked, size_t at, const struct key *key)
{
    return at < asked->count && asked->entries[at].connection == key->connection &&
           asked->entries[at].archive == key->archive;
}

/* The first entry of the message's connection; NULL: nothing can be told of it. */
static const struct tape_source_asked_entry *find_first(const struct tape_source_asked *asked,
                                                        const struct tape_message *message)
{
    struct key key = {message->connection, message->archive, nothing};
    size_t first = find_place(asked, &key);
    if (asked->unknown || !is_of(asked, first, &key) || asked->entries[first].missing)
        return NULL;
    return &asked->entries[first];
}

/* ---- learning ---- */

/* Where it now is, or NULL: memory. */
static struct tape_source_asked_entry *insert(struct tape_source_asked *asked,
                                              const struct key *key, size_t at)
{
    char *name = NULL;
    if (asked->count == asked->room) {
        size_t room = asked->room ? 2 * asked->room : 16;
        struct tape_source_asked_entry *larger = realloc(asked->entries, room * sizeof *larger);
        if (!larger)
            return NULL;
        asked->entries = larger;
        asked->room = room;
    }
    if (key->name.bytes && !(name = malloc(key->name.bytes)))
        return NULL;
    if (name)
        memcpy(name, key->name.data, key->name.bytes);
    struct tape_source_asked_entry *entry = &asked->entries[at];
    memmove(entry + 1, entry, (asked->count++ - at) * sizeof *entry);
    *entry = (struct tape_source_asked_entry){
        .name = name,
        .connection = key->connection,
        .archive = key->archive,
        .bytes = (uint8_t)key->name.bytes,
        .is_depth = (uint8_t)tape_source_depth_is_name(key->name),
        .is_partial = (uint8_t)tape_tick_is_partial_depth(key->name),
    };
    return entry;
}

/* A connection is in the table before its names are. at_start: all that it asked for is still to
 * come; else, where it was not heard of, some may have been before. */
static int add_connection(struct tape_source_asked *asked, struct key key, int at_start)
{
    key.name = nothing;
    size_t at = find_place(asked, &key);
    int known = is_of(asked, at, &key);
    if (!known && asked->count - asked->names == TAPE_SOURCE_ASKED_CONNECTIONS_MAX)
        return 0;
    if (!known && !insert(asked, &key, at))
        return TAPE_FAILED;
    if (at_start || !known)
        asked->entries[at].missing = !at_start;
    return 0;
}

static int add_name(struct tape_source_asked *asked, const struct key *key)
{
    struct key first_key = {key->connection, key->archive, nothing};
    size_t first = find_place(asked, &first_key), at = find_place(asked, key);
    if (key->name.bytes == 0 || !is_of(asked, first, key))
        return 0;
    if (is_of(asked, at, key) && compare(&asked->entries[at], key) == 0)
        return 0;
    if (key->name.bytes > TAPE_SOURCE_ASKED_NAME_BYTES || asked->names == TAPE_SOURCE_ASKED_MAX) {
        asked->entries[first].missing = 1;
        return 0;
    }
    const struct tape_source_asked_entry *entry = insert(asked, key, at);
    if (!entry)
        return TAPE_FAILED;
    asked->names++;
    asked->entries[first].names++;
    asked->entries[first].depths += entry->is_depth;
    return 0;
}

/* What follows /ws/ in a path, each part that has a stream's form: elsewhere it is a version, say,
 * or a key. */
static int add_path(struct tape_source_asked *asked, struct key key, struct tape_slice path)
{
    static const char start[] = "/ws/";
    const char *end = path.data + path.bytes;
    const char *at = path.bytes ? memmem(path.data, path.bytes, start, sizeof start - 1) : NULL;
    int status = 0;
    if (!at)
        return 0;
    for (at += sizeof start - 1; status == 0 && at < end && *at != ' ' && *at != '?';) {
        const char *from = at;
        while (at < end && !memchr("/ ?", *at, 3))
            at++;
        key.name = (struct tape_slice){from, (size_t)(at - from)};
        if (*from == '!' || memchr(from, '@', key.name.bytes))
            status = add_name(asked, &key);
        at += at < end && *at == '/';
    }
    return status;
}

static int hear_names(struct tape_source_asked *asked, struct key key, struct tape_slice body)
{
    struct tape_event *event = tape_event_read(body.data, body.bytes);
    const char *text;
    int status = 0;
    for (int i = 0; event && status == 0 && (text = tape_event_text_at(event, "streams", i)); i++) {
        key.name = (struct tape_slice){text, strlen(text)};
        status = add_name(asked, &key);
    }
    tape_event_free(event);
    return status;
}

int tape_source_asked_hear(struct tape_source_asked *asked, const struct tape_message *event)
{
    struct key key = {event->connection, event->archive, nothing};
    struct tape_slice line = event->payload;
    int is_request = event->record_kind == TAPE_RECORD_HANDSHAKE_REQUEST;
    if (!is_request && event->record_kind != TAPE_RECORD_SUBSCRIPTION_ASKED)
        return 0;
    if (add_connection(asked, key, is_request) < 0)
        return TAPE_FAILED;
    if (!is_request)
        return hear_names(asked, key, line);
    const char *newline = line.bytes ? memchr(line.data, '\r', line.bytes) : NULL;
    line.bytes = newline ? (size_t)(newline - line.data) : line.bytes;
    return add_path(asked, key, line);
}

/* One row: a connection with its URL, or with a name that it asked for. */
static int take_row(struct tape_source_asked *asked, uint16_t archive, sqlite3_stmt *row)
{
    struct key key = {(uint32_t)sqlite3_column_int64(row, 0), archive, nothing};
    const char *url = (const char *)sqlite3_column_text(row, 1);
    const char *name = (const char *)sqlite3_column_text(row, 2);
    const char *host = url ? strstr(url, "://") : NULL;
    int status = add_connection(asked, key, url != NULL);
    if (status == 0 && host)
        status = add_path(asked, key, (struct tape_slice){host + 3, strlen(host + 3)});
    if (status == 0 && name) {
        key.name = (struct tape_slice){name, strlen(name)};
        status = add_name(asked, &key);
    }
    return status;
}

void tape_source_asked_read(struct tape_source_asked *asked, uint16_t archive,
                            struct tape_index *index)
{
    static const char question[] =
        "WITH raw AS (SELECT connection_id, url FROM connection "
        "WHERE url GLOB '*://*/ws' OR url GLOB '*://*/ws[/?]*') "
        "SELECT connection_id, url, NULL FROM raw UNION ALL "
        "SELECT connection_id, NULL, name FROM raw JOIN subscription USING (connection_id) "
        "JOIN stream USING (stream_id) ORDER BY 1, 3"; /* the URL has no name: it comes first */
    sqlite3_stmt *statement = NULL;
    int step = SQLITE_ERROR;
    if (sqlite3_prepare_v2(tape_index_handle(index), question, -1, &statement, NULL) == SQLITE_OK)
        while ((step = sqlite3_step(statement)) == SQLITE_ROW)
            if (take_row(asked, archive, statement) < 0)
                break;
    sqlite3_finalize(statement);
    asked->unknown |= step != SQLITE_DONE;
}

/* ---- telling ---- */

int tape_source_asked_depths(const struct tape_source_asked *asked,
                             const struct tape_message *message)
{
    const struct tape_source_asked_entry *first = find_first(asked, message);
    return first ? (int)first->depths : -1;
}

static struct tape_slice name_of(const struct tape_source_asked_entry *entry)
{
    return (struct tape_slice){entry->name, entry->bytes};
}

int tape_source_asked_only(const struct tape_source_asked *asked,
                           const struct tape_message *message, struct tape_slice *name)
{
    const struct tape_source_asked_entry *first = find_first(asked, message);
    if (!first || first->names != 1)
        return 0;
    *name = name_of(first + 1);
    return 1;
}

/* Spot's diffs have "e", its partial books have neither that nor a symbol; of futures both look
 * alike, and have "pu". */
static int can_be_depth(const struct tape_source_asked_entry *entry, const struct tape_tick *tick)
{
    if (!entry->is_depth)
        return 0;
    if (tick->kind == TAPE_TICK_DEPTH_SNAPSHOT)
        return entry->is_partial;
    return tick->symbol.bytes > 0 && (!entry->is_partial || tick->previous_id != TAPE_TICK_NONE);
}

static int can_be(const struct tape_source_asked_entry *entry, const struct tape_tick *tick)
{
    static const char mark[] = "@markPrice";
    size_t symbol = tick->symbol.bytes;
    if (symbol > 0 && (symbol >= entry->bytes || entry->name[symbol] != '@' ||
                       strncasecmp(entry->name, tick->symbol.data, symbol)))
        return 0;
    if (tick->kind == TAPE_TICK_MARK_PRICE)
        return symbol > 0 && entry->bytes - symbol >= sizeof mark - 1 &&
               memcmp(entry->name + symbol, mark, sizeof mark - 1) == 0;
    return can_be_depth(entry, tick);
}

int tape_source_asked_like(const struct tape_source_asked *asked,
                           const struct tape_message *message, struct tape_tick *tick,
                           struct tape_slice *name)
{
    const struct tape_source_asked_entry *found = NULL, *entry, *first;
    if (tick->kind != TAPE_TICK_DEPTH && tick->kind != TAPE_TICK_DEPTH_SNAPSHOT &&
        tick->kind != TAPE_TICK_MARK_PRICE)
        return 0;
    if (!(first = find_first(asked, message)))
        return 0;
    for (entry = first + 1; entry <= first + first->names; entry++) {
        if (!can_be(entry, tick))
            continue;
        if (found)
            return 0;
        found = entry;
    }
    if (!found)
        return 0;
    if (found->is_partial && tick->kind == TAPE_TICK_DEPTH) {
        tick->kind = TAPE_TICK_DEPTH_SNAPSHOT;
        tick->id = tick->last_id;
    }
    *name = name_of(found);
    return 1;
}

void tape_source_asked_clear(struct tape_source_asked *asked)
{
    for (size_t i = 0; i < asked->count; i++)
        free(asked->entries[i].name);
    free(asked->entries);
    *asked = (struct tape_source_asked){0};
}
