/*
 * The input is a list of records: kind, flags, connection, length and bytes. Whatever they hold,
 * the feed says something of each, keeps to its bounds, and what it lends can be read.
 */
#include "format/feed.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/guard.h"

enum { FRAME_MAX = 4096 };

static void check(int condition)
{
    if (!condition)
        abort();
}

static unsigned sum;

static void read_slice(struct tape_slice slice)
{
    check(slice.data || slice.bytes == 0);
    for (size_t i = 0; i < slice.bytes; i++)
        sum += (unsigned char)slice.data[i];
}

static void check_message(const struct tape_message *message, const struct tape_record *record)
{
    check(tape_feed_kind_word(message->kind) != NULL);
    check(message->ordinal <= record->ordinal && message->first_ordinal <= message->ordinal);
    read_slice(message->payload);
    read_slice(message->stream);
    check(message->kind == TAPE_FEED_CLOSE || message->close_code == 0);
    check(message->kind == TAPE_FEED_DATA || message->stream.bytes == 0);
    check(message->kind != TAPE_FEED_SENT || message->outgoing);
    check(message->kind != TAPE_FEED_DATA || !message->outgoing);
    check((message->kind == TAPE_FEED_EVENT) == (message->record_kind > 2));
}

/* A whole message tells the same when it comes alone to a feed that knows nothing. */
static void check_alone(const struct tape_message *message, const struct tape_record *record)
{
    struct tape_feed *feed = tape_feed_new();
    struct tape_message alone;
    struct tape_error error;
    if (message->first_ordinal == record->ordinal && message->kind != TAPE_FEED_BAD) {
        check(tape_feed_push(feed, record, &alone, &error) == 1);
        check(alone.kind == message->kind && alone.payload.bytes == message->payload.bytes);
        check(alone.stream.bytes == message->stream.bytes && alone.opcode == message->opcode);
    }
    tape_feed_free(feed);
}

/* One record off the input; 0 at its end. */
static int take_record(const uint8_t **at, const uint8_t *end, const struct guard *guard,
                       struct tape_record *record)
{
    if (end - *at < 5)
        return 0;
    const uint8_t *head = *at;
    size_t bytes = (size_t)(head[3] | head[4] << 8) % FRAME_MAX, there = (size_t)(end - head) - 5;
    record->kind = head[0] < 128 ? (uint8_t)(1 + head[0] % 2) : head[0] % 18;
    record->flags = head[1] < 200 ? head[1] & 3 : head[1];
    record->connection = head[2] % 6;
    record->bytes = (uint32_t)(bytes < there ? bytes : there);
    record->data = guard_put(guard, head + 5, record->bytes);
    record->ordinal += head[1] < 250 ? 1 : 2;
    record->recv_ns++;
    *at = head + 5 + record->bytes;
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guard guard;
    struct tape_record record = {0};
    if (!guard.base)
        guard = guard_open(FRAME_MAX);
    struct tape_feed *feed = tape_feed_new();
    check(feed != NULL);
    for (const uint8_t *at = data; take_record(&at, data + size, &guard, &record);) {
        struct tape_message message;
        struct tape_error error;
        int got = tape_feed_push(feed, &record, &message, &error);
        check(got == 0 || got == 1);
        if (got == 1) {
            check_message(&message, &record);
            check_alone(&message, &record);
        }
        while (tape_feed_cut(feed, &message)) {
            check(message.kind == TAPE_FEED_BAD);
            check_message(&message, &record);
        }
        check(tape_feed_open_messages(feed) <= 12);
    }
    tape_feed_free(feed);
    return 0;
}
