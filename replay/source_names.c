#include "replay/source_names.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/error.h"
#include "format/event.h"
#include "format/record.h"
#include "replay/source_glob.h"

struct tape_source_name {
    int archive;
    uint32_t connection;
    int partial;
    size_t bytes;
    char text[TAPE_SOURCE_NAMES_BYTES];
};

static int compare(const struct tape_source_name *entry, int archive, uint32_t connection,
                   struct tape_slice name)
{
    if (entry->archive != archive)
        return entry->archive < archive ? -1 : 1;
    if (entry->connection != connection)
        return entry->connection < connection ? -1 : 1;
    if (entry->bytes != name.bytes)
        return entry->bytes < name.bytes ? -1 : 1;
    return memcmp(entry->text, name.data, name.bytes);
}

/* Where the name is, or belongs: the first that is not below it. */
static size_t find_place(const struct tape_source_names *names, int archive, uint32_t connection,
                         struct tape_slice name)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(&names->entries[middle], archive, connection, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct tape_slice nothing = {"", 0};

/* The entries of a connection: from *first on. */
static size_t find_connection(const struct tape_source_names *names, int archive,
                              uint32_t connection, const struct tape_source_name **first)
{
    size_t from = find_place(names, archive, connection, nothing), to = from;
    *first = names->entries + from;
    while (to < names->count && names->entries[to].archive == archive &&
           names->entries[to].connection == connection)
        to++;
    return to - from;
}

/* ---- hearing ---- */

/* Names that are too long, and those of other streams, stand for nothing. */
static int add(struct tape_source_names *names, const struct tape_message *event,
               struct tape_slice name)
{
    if (name.bytes > TAPE_SOURCE_NAMES_BYTES ||
        !tape_source_glob_match("*@depth*,*@rpiDepth*", name.data, name.bytes))
        name = nothing;
    size_t at = find_place(names, event->archive, event->connection, name);
    if (names->count == TAPE_SOURCE_NAMES_MAX ||
        (at < names->count &&
         compare(&names->entries[at], event->archive, event->connection, name) == 0))
        return 0;
    if (names->count == names->room) {
        size_t room = names->room ? 2 * names->room : 16;
        struct tape_source_name *larger = realloc(names->entries, room * sizeof *larger);
        if (!larger)
            return TAPE_FAILED;
        names->entries = larger;
        names->room = room;
    }
    struct tape_source_name *entry = &names->entries[at];
    memmove(entry + 1, entry, (names->count++ - at) * sizeof *entry);
    entry->archive = event->archive;
    entry->connection = event->connection;
    entry->partial = tape_tick_is_partial_depth(name);
    entry->bytes = name.bytes;
    memcpy(entry->text, name.data, name.bytes);
    return 0;
}

/* GET /ws/<a>/<b> HTTP/1.1 */
static int hear_request(struct tape_source_names *names, const struct tape_message *event)
{
    static const char start[] = "/ws/";
    struct tape_slice line = event->payload;
    const char *newline = line.bytes ? memchr(line.data, '\r', line.bytes) : NULL;
    const char *end = line.data + (newline ? (size_t)(newline - line.data) : line.bytes);
    const char *at = memmem(line.data, (size_t)(end - line.data), start, sizeof start - 1);
    int status = add(names, event, nothing);
    if (!at)
        return status;
    for (at += sizeof start - 1; status == 0 && at < end && *at != ' ' && *at != '?';) {
        const char *from = at;
        while (at < end && !strchr("/ ?", *at))
            at++;
        status = add(names, event, (struct tape_slice){from, (size_t)(at - from)});
        at += at < end && *at == '/';
    }
    return status;
}

static int hear_asked(struct tape_source_names *names, const struct tape_message *event)
{
    struct tape_event *body = tape_event_read(event->payload.data, event->payload.bytes);
    const char *text;
    int status = add(names, event, nothing);
    for (int i = 0; body && status == 0 && (text = tape_event_text_at(body, "streams", i)); i++)
        status = add(names, event, (struct tape_slice){text, strlen(text)});
    tape_event_free(body);
    return status;
}

int tape_source_names_hear(struct tape_source_names *names, const struct tape_message *event)
{
    if (event->record_kind == TAPE_RECORD_HANDSHAKE_REQUEST)
        return hear_request(names, event);
    return event->record_kind == TAPE_RECORD_SUBSCRIPTION_ASKED ? hear_asked(names, event) : 0;
}

/* ---- telling ---- */

int tape_source_names_asked(const struct tape_source_names *names, int archive, uint32_t connection)
{
    const struct tape_source_name *first;
    return (int)find_connection(names, archive, connection, &first) - 1;
}

/* Spot's diffs have "e", its partial books have neither that nor a symbol; of futures both look
 * alike, and have "pu". */
static int can_be(const struct tape_source_name *entry, const struct tape_tick *tick)
{
    size_t symbol = tick->symbol.bytes;
    if (entry->bytes == 0 || (symbol > 0 && (symbol >= entry->bytes || entry->text[symbol] != '@' ||
                                             strncasecmp(entry->text, tick->symbol.data, symbol))))
        return 0;
    if (tick->kind == TAPE_TICK_DEPTH_SNAPSHOT)
        return entry->partial;
    return symbol > 0 && (!entry->partial || tick->previous_id != TAPE_TICK_NONE);
}

int tape_source_names_tell(const struct tape_source_names *names, int archive, uint32_t connection,
                           struct tape_tick *tick, struct tape_slice *name)
{
    const struct tape_source_name *found = NULL, *entry;
    if (tick->kind != TAPE_TICK_DEPTH && tick->kind != TAPE_TICK_DEPTH_SNAPSHOT)
        return 0;
    size_t count = find_connection(names, archive, connection, &entry);
    for (; count > 0; count--, entry++) {
        if (!can_be(entry, tick))
            continue;
        if (found)
            return 0;
        found = entry;
    }
    if (!found)
        return 0;
    if (found->partial && tick->kind == TAPE_TICK_DEPTH) {
        tick->kind = TAPE_TICK_DEPTH_SNAPSHOT;
        tick->id = tick->last_id;
    }
    *name = (struct tape_slice){found->text, found->bytes};
    return 1;
}

size_t tape_source_names_derive(const struct tape_tick *tick, char to[TAPE_SOURCE_NAMES_BYTES])
{
    static const char channel[] = "@depth";
    size_t bytes = tick->symbol.bytes;
    if (tick->kind != TAPE_TICK_DEPTH || tick->previous_id != TAPE_TICK_NONE || bytes == 0 ||
        bytes > TAPE_SOURCE_NAMES_BYTES - sizeof channel)
        return 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = tick->symbol.data[i];
        to[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    memcpy(to + bytes, channel, sizeof channel);
    return bytes + sizeof channel - 1;
}

void tape_source_names_clear(struct tape_source_names *names)
{
    free(names->entries);
    memset(names, 0, sizeof *names);
}
