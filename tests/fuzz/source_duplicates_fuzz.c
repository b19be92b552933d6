/*
 * Messages of several archives as the input says. Whatever comes in which order: of equal messages
 * at least as many are given as any one way had, so that none is lost; memory stays below its
 * limit; what is counted adds up.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/ws.h"
#include "replay/source_duplicates.h"
#include "replay/source_identity.h"

enum { KEYS_MAX = 1000, WAYS = 8, ROOM = 96 };

/* Equal messages: how many were given, and how many each way had. */
struct key {
    char inner[ROOM], name[ROOM];
    size_t bytes, name_bytes;
    int given, had[WAYS];
};

static struct key keys[KEYS_MAX];
static int keys_used;

static void expect(int truth)
{
    if (!truth)
        abort();
}

static struct key *find_key(const struct tape_source_identity *identity)
{
    struct key *key = keys;
    for (; key < keys + keys_used; key++)
        if (key->bytes == identity->inner.bytes && key->name_bytes == identity->stream.bytes &&
            memcmp(key->inner, identity->inner.data, key->bytes) == 0 &&
            memcmp(key->name, identity->stream.data, key->name_bytes) == 0)
            return key;
    expect(keys_used < KEYS_MAX);
    keys_used++;
    memset(key, 0, sizeof *key);
    key->bytes = identity->inner.bytes;
    key->name_bytes = identity->stream.bytes;
    memcpy(key->inner, identity->inner.data, key->bytes);
    memcpy(key->name, identity->stream.data, key->name_bytes);
    return key;
}

static const char *const texts[] = {
    "{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"s\":\"X\",\"t\":%,\"p\":\"#\"}}",
    "{\"e\":\"trade\",\"s\":\"X\",\"t\":%,\"p\":\"#\"}",
    "{\"u\":%,\"s\":\"X\",\"b\":\"#\",\"B\":\"1\",\"a\":\"1\",\"A\":\"1\"}",
    "{\"stream\":\"y\",\"data\":{\"n\":%#}}",
    "%#",
    "{\"stream\":\"\",\"data\":%}",
};

/* "%" becomes one digit, "#" another. */
static size_t make_text(char to[ROOM], uint8_t form, uint8_t digits)
{
    const char *from = texts[form % (sizeof texts / sizeof *texts)];
    size_t bytes = strlen(from);
    memcpy(to, from, bytes);
    for (size_t i = 0; i < bytes; i++)
        to[i] = to[i] == '%'   ? (char)('0' + digits % 8)
                : to[i] == '#' ? (char)('0' + (digits >> 3) % 4)
                               : to[i];
    return bytes;
}

static void check(const struct tape_message *message, int by_connection, int given)
{
    struct tape_source_identity identity;
    tape_source_identity_read(&identity, message);
    struct key *key = find_key(&identity);
    int by_archive = !by_connection && identity.id == TAPE_TICK_NONE;
    int way = message->archive * 2 + (by_archive ? 0 : (int)message->connection - 1);
    key->given += given;
    key->had[way]++;
    expect(key->given >= key->had[way]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct tape_source_duplicates_limits limits = {1000, 100, 64, 1 << 16};
    int by_connection = bytes > 0 && data[0] & 1;
    if (bytes > 0 && data[0] & 2)
        limits = tape_source_duplicates_default;
    struct tape_source_duplicates *duplicates =
        tape_source_duplicates_new(by_connection, &limits, NULL);
    int64_t now_ns = 0;
    uint64_t came = 0, given = 0, told = 0, late = 0;
    expect(duplicates != NULL);
    keys_used = 0;
    for (size_t at = 1; at + 4 <= bytes; at += 4) {
        char text[ROOM];
        now_ns += (int8_t)data[at + 3] * (data[at + 3] == 0x7f ? INT32_MAX : 4ll);
        struct tape_message message = {
            .kind = TAPE_FEED_DATA,
            .opcode = TAPE_WS_TEXT,
            .recv_ns = now_ns,
            .archive = data[at] & 3,
            .connection = 1 + (data[at] >> 2 & 1),
            .stream = {"", 0},
        };
        message.payload = (struct tape_slice){text, make_text(text, data[at + 1], data[at + 2])};
        struct tape_tick tick;
        tape_tick_scan(text, message.payload.bytes, &tick);
        if (tick.stream.data)
            message.stream = tick.stream;
        int got = tape_source_duplicates_take(duplicates, &message, NULL);
        expect(got == 0 || got == 1);
        check(&message, by_connection, got);
        came++;
        given += (uint64_t)got;
        expect(tape_source_duplicates_held(duplicates) <= limits.bytes);
    }
    struct tape_source_share share;
    for (int i = 0; tape_source_duplicates_share(duplicates, i, &share); i++) {
        told += share.given;
        late += share.late;
    }
    expect(told == given && late == came - given);
    tape_source_duplicates_free(duplicates);
    return 0;
}
