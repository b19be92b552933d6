/* Records that tell a recorder's life, and an archive that is written as a recorder writes it: for
 * the tests of summary and index. The same seed tells the same story in every run. */
#ifndef TAPE_TESTS_UNIT_MAKE_STORY_H
#define TAPE_TESTS_UNIT_MAKE_STORY_H

#include <stdarg.h>

#include "format/archive.h"
#include "format/index.h"
#include "format/summary.h"
#include "tests/unit/make_records.h"

#define SECOND_NS 1000000000ll

/* Invariant: records[i] has ordinal i + first; its data is its own. */
struct story {
    struct tape_record *records;
    size_t used, room;
    int64_t now_ns;
    uint64_t first;
};

static inline void story_add(struct story *story, int kind, uint32_t connection, int flags,
                             const void *data, size_t bytes)
{
    if (story->used == story->room) {
        story->room = story->room ? story->room * 2 : 256;
        story->records = realloc(story->records, story->room * sizeof *story->records);
    }
    uint8_t *copy = malloc(bytes + 1);
    if (!story->records || !copy)
        abort();
    if (bytes > 0)
        memcpy(copy, data, bytes);
    story->records[story->used] = (struct tape_record){
        .ordinal = story->first + story->used,
        .recv_ns = story->now_ns,
        .connection = connection,
        .bytes = (uint32_t)bytes,
        .flags = (uint16_t)flags,
        .kind = (uint8_t)kind,
        .data = copy,
    };
    story->used++;
}

/* A frame with the given first byte (FIN and opcode). */
static inline void story_frame(struct story *story, uint32_t connection, int first_byte,
                               const void *payload, size_t bytes)
{
    uint8_t *frame = malloc(bytes + 10);
    size_t head = 2;
    if (!frame)
        abort();
    frame[0] = (uint8_t)first_byte;
    if (bytes < 126) {
        frame[1] = (uint8_t)bytes;
    } else {
        frame[1] = 126;
        frame[2] = (uint8_t)(bytes >> 8);
        frame[3] = (uint8_t)bytes;
        head = 4;
    }
    if (bytes > 0)
        memcpy(frame + head, payload, bytes);
    story_add(story, TAPE_RECORD_FRAME_IN, connection, 1, frame, head + bytes);
    free(frame);
}

static inline void story_event(struct story *story, int kind, uint32_t connection,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));
static inline void story_event(struct story *story, int kind, uint32_t connection,
                               const char *format, ...)
{
    char body[8192];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    story_add(story, kind, connection, 0, body, (size_t)bytes);
}

static inline void story_text(struct story *story, uint32_t connection, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline void story_text(struct story *story, uint32_t connection, const char *format, ...)
{
    char payload[8192];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(payload, sizeof payload, format, arguments);
    va_end(arguments);
    story_frame(story, connection, 0x81, payload, (size_t)bytes);
}

static inline void story_free(struct story *story)
{
    for (size_t i = 0; i < story->used; i++)
        free((void *)(uintptr_t)story->records[i].data);
    free(story->records);
    *story = (struct story){0};
}

/* ---- the venue's messages; event time 5 ms before the receive time ---- */

static inline long long story_ms(const struct story *story)
{
    return (long long)(story->now_ns / 1000000 - 5);
}

static inline void story_trade(struct story *story, uint32_t connection, const char *symbol,
                               long long id)
{
    story_text(story, connection,
               "{\"stream\":\"%s@trade\",\"data\":{\"e\":\"trade\",\"E\":%lld,\"T\":%lld,"
               "\"s\":\"X\",\"t\":%lld,\"p\":\"7.50\",\"q\":\"2\",\"m\":true}}",
               symbol, story_ms(story), story_ms(story), id);
}

static inline void story_depth(struct story *story, uint32_t connection, const char *symbol,
                               long long first, long long last, long long previous)
{
    story_text(story, connection,
               "{\"stream\":\"%s@depth\",\"data\":{\"e\":\"depthUpdate\",\"E\":%lld,\"T\":%lld,"
               "\"s\":\"X\",\"U\":%lld,\"u\":%lld,\"pu\":%lld,\"b\":[[\"1\",\"2\"]],\"a\":[]}}",
               symbol, story_ms(story), story_ms(story), first, last, previous);
}

static inline void story_book(struct story *story, uint32_t connection, const char *symbol,
                              long long id)
{
    story_text(
        story, connection,
        "{\"stream\":\"%s@bookTicker\",\"data\":{\"e\":\"bookTicker\",\"u\":%lld,"
        "\"s\":\"X\",\"b\":\"1\",\"B\":\"2\",\"a\":\"3\",\"A\":\"4\",\"T\":%lld,\"E\":%lld}}",
        symbol, id, story_ms(story), story_ms(story));
}

static inline void story_start(struct story *story, int session)
{
    story_event(story, TAPE_RECORD_SESSION_START, 0,
                "{\"session\":%d,\"version\":\"0.1.0\",\"pid\":%d,\"host\":\"h\","
                "\"command\":\"tape-record x\",\"recovered_records\":\"0\",\"torn_bytes\":\"0\"}",
                session, 100 + session);
}

static inline void story_end(struct story *story, int session)
{
    story_event(story, TAPE_RECORD_SESSION_END, 0, "{\"session\":%d,\"reason\":\"signal\"}",
                session);
}

static inline void story_open(struct story *story, uint32_t connection, const char *venue)
{
    story_event(story, TAPE_RECORD_CONNECTION_OPEN, connection,
                "{\"session\":1,\"url\":\"wss://v.example/stream\",\"venue\":\"%s\","
                "\"peer\":\"192.0.2.1:443\",\"tls\":\"TLSv1.3\",\"cipher\":\"C\","
                "\"resolve_ns\":1,\"connect_ns\":2,\"tls_ns\":3,\"upgrade_ns\":4}",
                venue);
}

static inline void story_close(struct story *story, uint32_t connection, const char *cause)
{
    story_event(story, TAPE_RECORD_CONNECTION_CLOSE, connection,
                "{\"opened\":true,\"cause\":\"%s\",\"by\":\"network\",\"code\":1006,"
                "\"reason\":\"\",\"errno\":104,\"detail\":\"so it is\"}",
                cause);
}

/* ---- a long life, by chance ---- */

enum { LIFE_CONNECTIONS = 5, LIFE_SYMBOLS = 3 };

/* Invariant: a connection of number 0 is not there; started is the venue's fragment left open. */
struct life {
    struct dice dice;
    struct {
        uint32_t number;
        int started;
    } connections[LIFE_CONNECTIONS];
    long long trade[LIFE_SYMBOLS], depth[LIFE_SYMBOLS], book[LIFE_SYMBOLS];
    uint32_t last_connection;
    int session, running;
};

static inline uint32_t chance(struct life *life, uint32_t limit)
{
    return (uint32_t)roll_below(&life->dice, limit);
}

static inline void life_message(struct life *life, struct story *story, uint32_t connection)
{
    static const char *const symbols[LIFE_SYMBOLS] = {"btcusdt", "ethusdt", "bnb'\"usdt"};
    uint32_t s = chance(life, LIFE_SYMBOLS);
    switch (chance(life, 4)) {
    case 0:
        life->trade[s] += chance(life, 40) ? 1 : 3;
        story_trade(story, connection, symbols[s], life->trade[s] - (chance(life, 20) ? 0 : 1));
        break;
    case 1:
        story_depth(story, connection, symbols[s], life->depth[s] + 2, life->depth[s] + 6,
                    chance(life, 40) ? life->depth[s] : life->depth[s] - 1);
        life->depth[s] += 6;
        break;
    case 2:
        life->book[s] += chance(life, 9) + 1;
        story_book(story, connection, symbols[s], life->book[s]);
        break;
    default:
        story_text(story, connection, "{\"data\":{\"odd\":%u}}", chance(life, 1000));
    }
}

static inline void life_fragment(struct life *life, struct story *story, uint32_t at)
{
    static const char begin[] = "{\"stream\":\"whole@tra",
                      end[] = "de\",\"data\":{\"e\":\"trade\"}}";
    uint32_t number = life->connections[at].number;
    if (!life->connections[at].started)
        story_frame(story, number, 0x01, begin, sizeof begin - 1);
    else if (chance(life, 3) == 0)
        story_frame(story, number, 0x89, "ping", 4);
    else
        story_frame(story, number, 0x80, end, sizeof end - 1);
    life->connections[at].started =
        life->connections[at].started ? story->records[story->used - 1].data[0] != 0x80 : 1;
}

static inline void life_note(struct life *life, struct story *story, uint32_t connection)
{
    static const char *const kinds[] = {"gap",  "silence", "not_delivered", "stall",   "disk",
                                        "sync", "index",   "recovery",      "operator"};
    const char *kind = kinds[chance(life, 9)];
    static const char *const streams[] = {"btcusdt@trade", "ethusdt@depth", "nowhere@trade"};
    char ends[64] = "";
    if (chance(life, 2))
        snprintf(ends, sizeof ends, "\"to_ns\":\"%lld\",", (long long)story->now_ns);
    story_event(story, TAPE_RECORD_NOTE, chance(life, 2) ? connection : 0,
                "{\"kind\":\"%s\",\"stream\":\"%s\",%s\"connection\":%u,\"frames\":\"%u\","
                "\"from_ns\":\"%lld\",\"text\":\"a note\"}",
                kind, streams[chance(life, 3)], ends, connection, chance(life, 3),
                (long long)(story->now_ns - SECOND_NS));
}

static inline void life_connect(struct life *life, struct story *story, uint32_t at)
{
    static const char *const venues[] = {"binance-usdm", "binance-spot", "elsewhere"};
    uint32_t number = life->connections[at].number = ++life->last_connection;
    const char *ask = "GET / HTTP/1.1\r\n\r\n";
    life->connections[at].started = 0;
    story_add(story, TAPE_RECORD_HANDSHAKE_REQUEST, number, 0, ask, strlen(ask));
    if (chance(life, 6) == 0) {
        story_close(story, number, "refused");
        life->connections[at].number = 0;
        return;
    }
    story_open(story, number, venues[chance(life, 8) ? 0 : chance(life, 3)]);
    story_event(story, TAPE_RECORD_SUBSCRIPTION_ASKED, number,
                "{\"id\":1,\"streams\":[\"btcusdt@trade\",\"ethusdt@depth\",\"quiet@trade\"]}");
    if (chance(life, 4) == 0)
        story_event(story, TAPE_RECORD_SUBSCRIPTION_ACKED, number,
                    "{\"id\":1,\"ok\":false,\"error_code\":2,\"error\":\"no such stream\"}");
    else
        story_event(story, TAPE_RECORD_SUBSCRIPTION_ACKED, number, "{\"id\":1,\"ok\":true}");
}

static inline void life_session(struct life *life, struct story *story)
{
    if (life->running && chance(life, 2)) {
        for (int i = 0; i < LIFE_CONNECTIONS; i++)
            if (life->connections[i].number && chance(life, 4))
                story_close(story, life->connections[i].number, "shutdown");
        story_end(story, life->session);
    }
    memset(life->connections, 0, sizeof life->connections);
    story->now_ns += (int64_t)chance(life, 100) * SECOND_NS;
    story_start(story, ++life->session);
    life->running = 1;
}

static inline void life_sample(struct life *life, struct story *story)
{
    if (chance(life, 2))
        story_event(story, TAPE_RECORD_CLOCK, 0,
                    "{\"realtime_ns\":\"%lld\",\"monotonic_ns\":\"5\",\"state\":0,\"status\":%u,"
                    "\"offset_ns\":\"-3\",\"maxerror_ns\":\"9\",\"step_ns\":\"%d\"}",
                    (long long)story->now_ns, chance(life, 2) * 64,
                    chance(life, 3) ? 0 : 2000000000);
    else
        story_event(story, TAPE_RECORD_DELAY, 0,
                    "{\"from_ns\":\"1\",\"to_ns\":\"2\",\"counts\":[0,%u,7,1]}",
                    chance(life, 1000));
}

/* One step of a life: mostly messages. */
static inline void life_step(struct life *life, struct story *story)
{
    uint32_t at = chance(life, LIFE_CONNECTIONS), what = chance(life, 1000);
    story->now_ns += (int64_t)chance(life, 20000000) - 2000000;
    if (!life->running || what < 2) {
        life_session(life, story);
    } else if (what < 4) {
        story->now_ns += 9000 * SECOND_NS;
    } else if (what < 12) {
        life_sample(life, story);
    } else if (!life->connections[at].number) {
        life_connect(life, story, at);
    } else if (what < 20) {
        story_close(story, life->connections[at].number, "reset");
        life->connections[at].number = 0;
    } else if (what < 30) {
        life_note(life, story, life->connections[at].number);
    } else if (what < 60 || life->connections[at].started) {
        life_fragment(life, story, at);
    } else {
        life_message(life, story, life->connections[at].number);
    }
}

static inline struct story story_of_life(uint64_t seed, size_t records)
{
    struct story story = {.now_ns = made_ns};
    struct life life = {.dice = {seed * 2654435761u + 1}};
    while (story.used < records)
        life_step(&life, &story);
    return story;
}

/* ---- an archive that is being written ---- */

/* Invariants: summaries[0..waiting) are of blocks written and not applied; segment is NULL when the
 * last was closed. */
struct recorder {
    struct tape_archive *archive;
    struct tape_index *index;
    struct tape_summariser *summariser;
    struct tape_segment_writer *segment;
    struct tape_block_builder *builder;
    struct tape_archive_entry entry;
    struct tape_summary *summaries[256];
    size_t waiting;
    uint32_t sequence;
};

#define must(good)                                                                                 \
    do {                                                                                           \
        if (!(good)) {                                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #good, story_error.text);       \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct tape_error story_error;

static inline void recorder_apply(struct recorder *recorder)
{
    must(tape_index_begin(recorder->index, &story_error) == 0);
    for (size_t i = 0; i < recorder->waiting; i++) {
        must(tape_index_apply(recorder->index, recorder->summaries[i], &story_error) == 0);
        tape_summary_free(recorder->summaries[i]);
    }
    recorder->waiting = 0;
    must(tape_index_commit(recorder->index, &story_error) == 0);
}

static inline void recorder_set_segment(struct recorder *recorder)
{
    struct tape_segment_info info;
    struct tape_segment *segment =
        tape_archive_open_segment(recorder->archive, &recorder->entry, &story_error);
    must(segment);
    tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    must(tape_index_begin(recorder->index, &story_error) == 0);
    must(tape_index_set_segment(recorder->index, &recorder->entry, &info, &story_error) == 0);
    must(tape_index_commit(recorder->index, &story_error) == 0);
}

static inline void recorder_seal(struct recorder *recorder)
{
    if (!recorder->segment)
        return;
    must(tape_segment_seal(recorder->segment, &story_error) == 0);
    recorder->segment = NULL;
    recorder_set_segment(recorder);
}

static inline void recorder_block(struct recorder *recorder, const struct tape_record *records,
                                  size_t count)
{
    struct tape_block_header header;
    uint8_t *stored;
    size_t length;
    if (!recorder->segment) {
        recorder->entry =
            (struct tape_archive_entry){.sequence = ++recorder->sequence, .state = 'h'};
        recorder->segment =
            tape_archive_create_segment(recorder->archive, recorder->sequence, records[0].recv_ns,
                                        recorder->entry.name, &story_error);
        must(recorder->segment);
    }
    for (size_t i = 0; i < count; i++) {
        must(tape_block_append(recorder->builder, &records[i], &story_error) == 1);
        must(tape_summariser_add(recorder->summariser, &records[i], NULL, &story_error) == 0);
    }
    must(tape_block_seal(recorder->builder, TAPE_BLOCK_CODEC_INTERLEAVED, 1, &header, &stored,
                         &story_error) == 0);
    header.realtime_minus_monotonic_ns = 42;
    const struct tape_segment_stream_count *counts =
        tape_summariser_counts(recorder->summariser, &length);
    must(tape_segment_append(recorder->segment, &header, stored, counts, length, 0, &story_error) ==
         0);
    uint64_t offset =
        tape_segment_file_bytes(recorder->segment) - header.stored_bytes - TAPE_BLOCK_HEADER_BYTES;
    if (recorder->waiting == sizeof recorder->summaries / sizeof recorder->summaries[0])
        recorder_apply(recorder);
    recorder->summaries[recorder->waiting] =
        tape_summariser_take(recorder->summariser, &header, offset);
    must(recorder->summaries[recorder->waiting]);
    recorder->waiting++;
}

/* What was not applied is forgotten, as a kill forgets it; the segment is recovered, the index
 * opened anew, and it catches up. */
static inline void recorder_crash(struct recorder *recorder)
{
    int rebuilt;
    if (recorder->segment) {
        tape_segment_abandon(recorder->segment);
        recorder->segment = tape_archive_resume_segment(recorder->archive, &recorder->entry, NULL,
                                                        NULL, NULL, &story_error);
        must(recorder->segment);
        must(tape_segment_seal(recorder->segment, &story_error) == 0);
        recorder->segment = NULL;
    }
    for (size_t i = 0; i < recorder->waiting; i++)
        tape_summary_free(recorder->summaries[i]);
    recorder->waiting = 0;
    tape_index_close(recorder->index);
    tape_summariser_free(recorder->summariser);
    recorder->index = tape_index_open(recorder->archive, &rebuilt, &story_error);
    must(recorder->index && !rebuilt);
    recorder->summariser = tape_summariser_new(&story_error);
    must(tape_index_catch_up(recorder->index, recorder->archive, recorder->summariser, NULL, NULL,
                             &story_error) >= 0);
}

static inline void recorder_open(struct recorder *recorder, const char *path)
{
    int rebuilt;
    *recorder = (struct recorder){0};
    recorder->archive = tape_archive_create(path, &story_error);
    must(recorder->archive);
    recorder->index = tape_index_open(recorder->archive, &rebuilt, &story_error);
    must(recorder->index);
    recorder->summariser = tape_summariser_new(&story_error);
    recorder->builder = tape_block_builder_new();
    must(recorder->summariser && recorder->builder);
}

static inline void recorder_close(struct recorder *recorder)
{
    recorder_apply(recorder);
    recorder_seal(recorder);
    tape_index_close(recorder->index);
    tape_summariser_free(recorder->summariser);
    tape_block_builder_free(recorder->builder);
    tape_archive_close(recorder->archive);
    recorder->index = NULL;
}

/* recorder_write(path, story, seed, crashes): the story as an archive, in blocks, transactions and
 * segments of any size; with crashes between. */
static inline void recorder_write(const char *path, const struct story *story, uint64_t seed,
                                  int crashes)
{
    struct recorder recorder;
    struct dice dice = {seed + 7};
    recorder_open(&recorder, path);
    for (size_t at = 0; at < story->used;) {
        size_t count = 1 + (size_t)roll_below(&dice, 60);
        if (count > story->used - at)
            count = story->used - at;
        recorder_block(&recorder, story->records + at, count);
        at += count;
        uint64_t what = roll_below(&dice, 30);
        if (what < 8)
            recorder_apply(&recorder);
        else if (what == 9)
            recorder_seal(&recorder);
        else if (what == 10 && crashes)
            recorder_crash(&recorder);
    }
    recorder_close(&recorder);
}

#endif
