#include "replay/source_identity.h"

#include <string.h>

#include "format/ws.h"

static int64_t id_of(const struct tape_tick *tick)
{
    if (tick->id != TAPE_TICK_NONE)
        return tick->id;
    return tick->kind == TAPE_TICK_DEPTH ? tick->last_id : TAPE_TICK_NONE;
}

/* Venues write wrappers in one way: the name's place tells that nothing is in front of it. Of any
 * other wrapper the whole payload is compared. */
static struct tape_slice inner_of(const struct tape_message *message)
{
    static const char before[] = "{\"stream\":\"", between[] = "\",\"data\":";
    enum { BEFORE_BYTES = sizeof before - 1, BETWEEN_BYTES = sizeof between - 1 };
    const char *from = message->stream.data + message->stream.bytes;
    const char *end = message->payload.data + message->payload.bytes;
    if (message->stream.data != message->payload.data + BEFORE_BYTES ||
        end - from < BETWEEN_BYTES + 1 || memcmp(from, between, BETWEEN_BYTES) != 0 ||
        end[-1] != '}')
        return message->payload;
    from += BETWEEN_BYTES;
    return (struct tape_slice){from, (size_t)(end - from) - 1};
}

static size_t put(char *to, size_t at, const char *from, size_t bytes)
{
    size_t room = TAPE_SOURCE_IDENTITY_NAME_BYTES - at;
    if (bytes > room)
        bytes = room;
    memcpy(to + at, from, bytes);
    return at + bytes;
}

/* A name that is cut is no danger: the bytes are compared as well. */
static struct tape_slice name_by_content(char *name, const struct tape_tick *tick)
{
    struct tape_slice event = tick->event;
    if (event.bytes == 0 && tick->kind != TAPE_TICK_OTHER) {
        event.data = tape_tick_kind_word(tick->kind);
        event.bytes = strlen(event.data);
    }
    if (event.bytes == 0 && tick->symbol.bytes == 0)
        return (struct tape_slice){"", 0};
    size_t bytes = tick->symbol.bytes ? put(name, 0, tick->symbol.data, tick->symbol.bytes) : 0;
    for (size_t i = 0; i < bytes; i++)
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] + ('a' - 'A'));
    bytes = put(name, bytes, "@", 1);
    bytes = event.bytes ? put(name, bytes, event.data, event.bytes) : bytes;
    return (struct tape_slice){name, bytes};
}

void tape_source_identity_read(struct tape_source_identity *identity,
                               const struct tape_message *message)
{
    struct tape_tick tick;
    identity->stream = message->stream;
    identity->inner = message->payload;
    identity->id = TAPE_TICK_NONE;
    if (message->opcode != TAPE_WS_TEXT)
        return;
    tape_tick_scan(message->payload.data, message->payload.bytes, &tick);
    identity->id = id_of(&tick);
    if (message->stream.bytes > 0)
        identity->inner = inner_of(message);
    else
        identity->stream = name_by_content(identity->name, &tick);
}
