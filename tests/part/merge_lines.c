/*
 * Reads several archives as one and prints what came:
 *
 *   merge_lines [key=number …] ARCHIVE…     keys: from, to, order, state, duplicates, events, seek
 *
 * "m ARCHIVE ORDINAL RECV REPLAY KIND STREAM PAYLOAD" a message (a stream without a name is "-");
 * at the end "d ARCHIVE FROM TO TEXT" a damage, "s ARCHIVE GIVEN LATE MISSED UNMATCHED DIFFERING
 * P50 P99 MAX STREAM" a share, "e COUNT" of those that were late in event order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/source.h"

static struct tape_source_options options;
static int64_t seek_ns;

/* 1 when the word is an option. */
static int take_option(const char *word)
{
    const char *value = strchr(word, '=');
    int64_t number = value ? strtoll(value + 1, NULL, 10) : 0;
    if (!value)
        return 0;
    size_t bytes = (size_t)(value - word);
#define NUMBER(name, to)                                                                           \
    if (bytes == sizeof name - 1 && memcmp(word, name, bytes) == 0)                                \
        to = (__typeof__(to))number;
    NUMBER("from", options.from_ns)
    NUMBER("to", options.to_ns)
    NUMBER("order", options.order)
    NUMBER("state", options.state)
    NUMBER("duplicates", options.duplicates)
    NUMBER("events", options.events)
    NUMBER("seek", seek_ns)
#undef NUMBER
    return 1;
}

static void print_message(const struct tape_message *message)
{
    const struct tape_slice *stream = &message->stream, *payload = &message->payload;
    printf("m %u %" PRIu64 " %" PRId64 " %" PRId64 " %s %.*s %.*s\n", message->archive,
           message->ordinal, message->recv_ns, message->replay_ns,
           tape_feed_kind_word(message->kind), stream->bytes ? (int)stream->bytes : 1,
           stream->bytes ? stream->data : "-", (int)payload->bytes, payload->data);
}

static void print_end(const struct tape_source *source)
{
    struct tape_source_damage damage;
    struct tape_source_share share;
    struct tape_source_state state;
    for (int i = 0; tape_source_damage(source, i, &damage); i++)
        printf("d %d %" PRIu64 " %" PRIu64 " %s\n", damage.archive, damage.from_ordinal,
               damage.to_ordinal, damage.text);
    for (int i = 0; tape_source_share(source, i, &share); i++)
        printf("s %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRId64
               " %" PRId64 " %" PRId64 " %s\n",
               share.archive, share.given, share.late, share.missed, share.unmatched,
               share.differing, share.late_p50_ns, share.late_p99_ns, share.late_max_ns,
               share.stream);
    tape_source_read_state(source, &state);
    printf("e %" PRIu64 "\n", state.event_late);
}

int main(int argc, char **argv)
{
    struct tape_error error = {0};
    struct tape_message message;
    int at = 1, got;
    options.state = -1;
    while (at < argc && take_option(argv[at]))
        at++;
    struct tape_source *source =
        tape_source_open_all((const char *const *)argv + at, argc - at, &options, &error);
    if (!source || (seek_ns != 0 && tape_source_seek(source, seek_ns, &error) < 0)) {
        fprintf(stderr, "merge_lines: %s\n", error.text);
        return 2;
    }
    while ((got = tape_source_next(source, &message, &error)) == 1)
        print_message(&message);
    if (got < 0)
        fprintf(stderr, "merge_lines: %s\n", error.text);
    print_end(source);
    tape_source_close(source);
    return got < 0;
}
