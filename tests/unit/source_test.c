#include "replay/source.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/archive.h"
#include "format/pack.h"
#include "format/ring.h"
#include "format/ws.h"
#include "replay/source_glob.h"
#include "tests/unit/make_records.h"

#define SECOND 1000000000ll

static char directory[256], archive_path[300];

/* ---- a recorder of our own, each step when the test says so ---- */

static struct recorder {
    struct tape_archive *archive;
    struct tape_ring *ring;
    struct tape_block_builder *builder;
    struct tape_pack *pack; /* NULL, or what makes blocks in place of builder */
    struct tape_segment_writer *writer;
    uint32_t sequence;
    uint64_t next_ordinal;
    char ring_path[320];
    int session;
} recorder;

static void begin_segment(void)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_error error;
    recorder.writer =
        tape_archive_create_segment(recorder.archive, ++recorder.sequence, made_ns, name, &error);
    if (!recorder.writer)
        fail_msg("%s", error.text);
}

static void recorder_begin(uint64_t ring_bytes)
{
    struct tape_error error;
    recorder.archive = tape_archive_create(archive_path, &error);
    if (!recorder.archive)
        fail_msg("%s", error.text);
    snprintf(recorder.ring_path, sizeof recorder.ring_path, "%s/ring-%d", directory,
             ++recorder.session);
    recorder.ring =
        tape_ring_create(recorder.ring_path, ring_bytes, tape_archive_id(recorder.archive),
                         recorder.next_ordinal, &error);
    if (!recorder.ring)
        fail_msg("%s", error.text);
    if (tape_archive_set_owner(recorder.archive, recorder.ring_path, made_ns + recorder.session,
                               &error) < 0)
        fail_msg("%s", error.text);
    recorder.builder = tape_block_builder_new();
    begin_segment();
}

static void recorder_put(int kind, uint32_t connection, int flags, int64_t recv_ns,
                         const void *body, size_t bytes)
{
    struct tape_record record = {
        .recv_ns = recv_ns,
        .connection = connection,
        .bytes = (uint32_t)bytes,
        .flags = (uint16_t)flags,
        .kind = (uint8_t)kind,
        .data = body,
    };
    uint8_t *room = tape_ring_reserve(recorder.ring, bytes);
    assert_non_null(room);
    memcpy(room, body, bytes);
    record.ordinal = tape_ring_publish(recorder.ring, &record);
    assert_int_equal(record.ordinal, recorder.next_ordinal);
    recorder.next_ordinal++;
    if (recorder.pack)
        assert_int_equal(tape_pack_append(recorder.pack, &record, NULL), 1);
    else
        assert_int_equal(tape_block_append(recorder.builder, &record, NULL), 1);
}

static void recorder_frame(int opcode, int fin, int64_t recv_ns, const char *text)
{
    uint8_t frame[4096];
    size_t header = tape_ws_build(frame, opcode, fin, strlen(text), NULL);
    memcpy(frame + header, text, strlen(text));
    recorder_put(TAPE_RECORD_FRAME_IN, 1, 0, recv_ns, frame, header + strlen(text));
}

static void recorder_text(int64_t recv_ns, const char *text)
{
    recorder_frame(TAPE_WS_TEXT, 1, recv_ns, text);
}

/* The block becomes a part of the segment, and durable. */
static void recorder_flush_counted(const struct tape_segment_stream_count *counts, size_t length)
{
    struct tape_block_header header;
    struct tape_ring_state state;
    uint8_t *stored;
    assert_int_equal(recorder.pack
                         ? tape_pack_seal(recorder.pack, &header, &stored, NULL)
                         : tape_block_seal(recorder.builder, 1, 1, &header, &stored, NULL),
                     0);
    header.realtime_minus_monotonic_ns = 0;
    assert_int_equal(tape_segment_append(recorder.writer, &header, stored, counts, length, 0, NULL),
                     0);
    tape_ring_read_state(recorder.ring, &state);
    tape_ring_set_durable(recorder.ring, state.head_position, state.head_ordinal);
}

static void recorder_flush(void)
{
    recorder_flush_counted(NULL, 0);
}

/* Its footer names one stream; "": none. */
static void recorder_flush_of(const char *stream)
{
    struct tape_segment_stream_count count = {stream, (uint32_t)strlen(stream), 1, 20};
    recorder_flush_counted(&count, stream[0] != '\0');
}

static void recorder_seal(void)
{
    assert_int_equal(tape_segment_seal(recorder.writer, NULL), 0);
    recorder.writer = NULL;
}

static void recorder_drop(void)
{
    tape_block_builder_free(recorder.builder);
    tape_pack_free(recorder.pack);
    recorder.pack = NULL;
    tape_ring_free(recorder.ring);
    tape_archive_close(recorder.archive);
    recorder.archive = NULL;
}

/* As kill -9: the lock is gone, the ring file stays, open and unsealed. */
static void recorder_die(void)
{
    tape_segment_abandon(recorder.writer);
    recorder_drop();
}

static void recorder_end(int64_t recv_ns)
{
    recorder_put(TAPE_RECORD_SESSION_END, 0, 0, recv_ns, "{\"reason\":\"end\"}", 16);
    recorder_flush();
    tape_ring_close(recorder.ring);
    recorder_seal();
    unlink(recorder.ring_path);
    recorder_drop();
}

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(archive_path, sizeof archive_path, "%s/archive", directory);
    memset(&recorder, 0, sizeof recorder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (recorder.archive)
        recorder_die();
    remove_tree(directory);
    return 0;
}

/* ---- what a source gives ---- */

static struct tape_source *open_source(const struct tape_source_options *options)
{
    struct tape_error error = {0};
    struct tape_source *source = tape_source_open(archive_path, options, &error);
    if (!source)
        fail_msg("%s", error.text);
    return source;
}

static void expect_next(struct tape_source *source, const char *payload)
{
    struct tape_message message;
    struct tape_error error = {0};
    int got = tape_source_next(source, &message, &error);
    if (got != 1)
        fail_msg("%d instead of \"%s\": %s", got, payload, error.text);
    if (message.payload.bytes != strlen(payload) ||
        memcmp(message.payload.data, payload, message.payload.bytes) != 0)
        fail_msg("\"%.*s\" instead of \"%s\"", (int)message.payload.bytes, message.payload.data,
                 payload);
}

static void expect_end(struct tape_source *source)
{
    struct tape_message message;
    struct tape_error error = {0};
    int got = tape_source_next(source, &message, &error);
    if (got != 0)
        fail_msg("%d instead of the end: %s", got, got < 0 ? error.text : message.payload.data);
}

static void expect_nothing_yet(struct tape_source *source)
{
    struct tape_message message;
    for (int i = 0; i < 3; i++)
        assert_int_equal(tape_source_try(source, &message, NULL), 2);
}

/* try() until it gives something, for the steps that wait for the owner to be asked again. */
static int try_on(struct tape_source *source, struct tape_message *message)
{
    struct tape_error error = {0};
    int got;
    for (int i = 0; i < 10000; i++) {
        got = tape_source_try(source, message, &error);
        if (got != 2)
            return got;
        usleep(1000);
    }
    fail_msg("nothing came");
    return 2;
}

/* ---- archives ---- */

static void flip_byte(const char *segment, off_t at)
{
    char path[512];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/segments/2026/11/25/%s", archive_path, segment);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static off_t offset_of_block(uint32_t block)
{
    struct tape_archive *archive = tape_archive_open(archive_path, NULL);
    assert_int_equal(tape_archive_scan(archive, NULL), 1);
    struct tape_segment *segment =
        tape_archive_open_segment(archive, tape_archive_entry(archive, 0), NULL);
    off_t offset = (off_t)tape_segment_entry(segment, block)->offset;
    tape_segment_close(segment);
    tape_archive_close(archive);
    return offset;
}

/* Four blocks in two segments, connection 1, a second apart. */
static void make_archive(void)
{
    recorder_begin(1 << 20);
    recorder_put(TAPE_RECORD_SESSION_START, 0, 0, made_ns, "{}", 2);
    recorder_text(made_ns, "{\"stream\":\"a@trade\",\"data\":0}");
    recorder_text(made_ns + SECOND, "{\"result\":null,\"id\":1}");
    recorder_flush();
    recorder_text(made_ns + 2 * SECOND, "{\"stream\":\"b@trade\",\"data\":2}");
    recorder_frame(TAPE_WS_PING, 1, made_ns + 2 * SECOND, "ping");
    recorder_text(made_ns + 3 * SECOND, "{\"stream\":\"a@depth\",\"data\":3}");
    recorder_flush();
    recorder_seal();
    begin_segment();
    recorder_text(made_ns + 4 * SECOND, "{\"stream\":\"a@trade\",\"data\":4}");
    recorder_flush();
    recorder_text(made_ns + 5 * SECOND, "{\"data\":5}");
    recorder_end(made_ns + 5 * SECOND);
}

static void everything_in_order(void **state)
{
    (void)state;
    make_archive();
    struct tape_source *source = open_source(NULL);
    expect_next(source, "{\"stream\":\"a@trade\",\"data\":0}");
    expect_next(source, "{\"result\":null,\"id\":1}");
    expect_next(source, "{\"stream\":\"b@trade\",\"data\":2}");
    expect_next(source, "{\"stream\":\"a@depth\",\"data\":3}");
    expect_next(source, "{\"stream\":\"a@trade\",\"data\":4}");
    expect_next(source, "{\"data\":5}");
    expect_end(source);
    expect_end(source);
    assert_int_equal(tape_source_damages(source), 0);
    tape_source_close(source);
}

static void events_too(void **state)
{
    struct tape_source_options options = {.events = 1};
    struct tape_message message;
    static const int kinds[] = {TAPE_FEED_EVENT, TAPE_FEED_DATA, TAPE_FEED_ACK,
                                TAPE_FEED_DATA,  TAPE_FEED_PING, TAPE_FEED_DATA,
                                TAPE_FEED_DATA,  TAPE_FEED_DATA, TAPE_FEED_EVENT};
    (void)state;
    make_archive();
    struct tape_source *source = open_source(&options);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_int_equal(tape_source_next(source, &message, NULL), 1);
        assert_int_equal(message.kind, kinds[i]);
        assert_int_equal(message.ordinal, i);
    }
    expect_end(source);
    tape_source_close(source);
}

static void streams_are_chosen(void **state)
{
    struct tape_source_options options = {.stream = "*@depth,b*"};
    (void)state;
    make_archive();
    struct tape_source *source = open_source(&options);
    expect_next(source, "{\"stream\":\"b@trade\",\"data\":2}");
    expect_next(source, "{\"stream\":\"a@depth\",\"data\":3}");
    expect_end(source);
    tape_source_close(source);
}

static uint64_t blocks_read(const struct tape_source *source)
{
    struct tape_source_state now;
    tape_source_read_state(source, &now);
    return now.blocks_read;
}

/* Blocks a, b, not counted, and c, each with one message of that stream. */
static void make_counted_archive(void)
{
    recorder_begin(1 << 20);
    recorder_text(made_ns, "{\"stream\":\"a\",\"data\":0}");
    recorder_flush_of("a");
    recorder_text(made_ns + SECOND, "{\"stream\":\"b\",\"data\":1}");
    recorder_flush_of("b");
    recorder_text(made_ns + 2 * SECOND, "{\"stream\":\"a\",\"data\":2}");
    recorder_flush();
    recorder_text(made_ns + 3 * SECOND, "{\"stream\":\"c\",\"data\":3}");
    recorder_flush_of("c");
    recorder_end(made_ns + 4 * SECOND);
}

static void blocks_without_the_stream_are_not_read(void **state)
{
    static const struct {
        const char *stream;
        int events;
        uint64_t blocks;
    } table[] = {{"a", 0, 3}, {"b", 0, 3}, {"[ac]", 0, 4}, {"x", 0, 2}, {"b", 1, 5}, {NULL, 0, 5}};
    struct tape_message message;
    struct tape_source_state now;
    (void)state;
    make_counted_archive();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tape_source_options options = {.stream = table[i].stream, .events = table[i].events};
        struct tape_source *source = open_source(&options);
        while (tape_source_next(source, &message, NULL) == 1)
            assert_true(
                !table[i].stream || message.kind == TAPE_FEED_EVENT ||
                tape_source_glob_match(table[i].stream, message.stream.data, message.stream.bytes));
        tape_source_read_state(source, &now);
        if (now.blocks_read != table[i].blocks)
            fail_msg("%s: %d blocks", table[i].stream, (int)now.blocks_read);
        assert_int_equal(now.next_ordinal, recorder.next_ordinal);
        tape_source_close(source);
    }
}

/* What nobody asks for may be damaged. */
static void damage_in_a_block_that_is_not_read(void **state)
{
    struct tape_source_options options = {.stream = "c"};
    (void)state;
    make_counted_archive();
    flip_byte("20261125T094640Z-000001.hot", 64 + 80 + 10);
    struct tape_source *source = open_source(&options);
    expect_next(source, "{\"stream\":\"c\",\"data\":3}");
    expect_end(source);
    assert_int_equal(tape_source_damages(source), 0);
    tape_source_close(source);
}

/* Footers count a message where it ends: that it began in a block passed over shows later, and all
 * of them are read from there on. */
static void a_message_that_began_in_a_block_passed_over(void **state)
{
    struct tape_source_options options = {.stream = "b"};
    char text[40];
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "{\"stream\":\"b\",\"data\":0}");
    recorder_flush_of("b");
    recorder_text(made_ns, "{\"stream\":\"a\",\"data\":1}");
    recorder_flush_of("a");
    recorder_frame(TAPE_WS_TEXT, 0, made_ns + 1, "{\"stream\":\"b\",");
    recorder_flush_of("");
    recorder_put(TAPE_RECORD_CLOCK, 0, 0, made_ns + 2, "{}", 2);
    recorder_flush_of("");
    recorder_frame(TAPE_WS_CONTINUATION, 1, made_ns + 3, "\"data\":2}");
    recorder_text(made_ns + 4, "{\"stream\":\"b\",\"data\":3}");
    recorder_flush_of("b");
    for (int i = 4; i < 7; i++) {
        snprintf(text, sizeof text, "{\"stream\":\"%c\",\"data\":%d}", i == 5 ? 'a' : 'b', i);
        recorder_text(made_ns + i, text);
        recorder_flush_of(i == 5 ? "a" : "b");
    }
    recorder_end(made_ns + SECOND);
    for (int seek = 0; seek < 2; seek++) {
        struct tape_source *source = open_source(&options);
        if (seek)
            assert_int_equal(tape_source_seek(source, made_ns, NULL), 0);
        expect_next(source, "{\"stream\":\"b\",\"data\":0}");
        assert_int_equal(blocks_read(source), 1);
        expect_next(source, "{\"stream\":\"b\",\"data\":2}");
        /* that one, then the three passed over, and it again */
        assert_int_equal(blocks_read(source), 6);
        expect_next(source, "{\"stream\":\"b\",\"data\":3}");
        expect_next(source, "{\"stream\":\"b\",\"data\":4}");
        expect_next(source, "{\"stream\":\"b\",\"data\":6}");
        expect_end(source);
        assert_int_equal(tape_source_damages(source), 0);
        tape_source_close(source);
    }
}

/* Of a packed block the others' messages are left out: that is no hole, and cuts no message. */
static void others_are_left_out_of_packed_blocks(void **state)
{
    struct tape_source_options options = {.stream = "a"};
    struct tape_source_state now;
    char text[64];
    (void)state;
    recorder_begin(1 << 20);
    recorder.pack = tape_pack_new(TAPE_PACK_WARM);
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof text, "{\"stream\":\"%s\",\"data\":{\"n\":%d}}",
                 i % 100 == 50 ? "a" : "b", i);
        if (i == 10)
            recorder_frame(TAPE_WS_TEXT, 0, made_ns + i, "{\"stream\":\"a\",");
        if (i == 150)
            recorder_frame(TAPE_WS_CONTINUATION, 0, made_ns + i, "\"data\":");
        if (i == 290)
            recorder_frame(TAPE_WS_CONTINUATION, 1, made_ns + i, "\"whole\"}");
        if (i == 200 || i == 295)
            recorder_flush();
        uint8_t frame[80];
        size_t header = tape_ws_build(frame, TAPE_WS_TEXT, 1, strlen(text), NULL);
        memcpy(frame + header, text, strlen(text));
        recorder_put(TAPE_RECORD_FRAME_IN, 2, 0, made_ns + i, frame, header + strlen(text));
    }
    recorder_end(made_ns + SECOND);
    struct tape_source *source = open_source(&options);
    expect_next(source, "{\"stream\":\"a\",\"data\":{\"n\":50}}");
    expect_next(source, "{\"stream\":\"a\",\"data\":{\"n\":150}}");
    expect_next(source, "{\"stream\":\"a\",\"data\":{\"n\":250}}");
    expect_next(source, "{\"stream\":\"a\",\"data\":\"whole\"}");
    expect_end(source);
    tape_source_read_state(source, &now);
    assert_int_equal(now.blocks_read, 3);
    assert_int_equal(now.next_ordinal, recorder.next_ordinal);
    assert_int_equal(tape_source_damages(source), 0);
    tape_source_close(source);
    /* nor is it one when a real one was told before */
    flip_byte("20261125T094640Z-000001.hot", offset_of_block(2) + 80 + 3);
    source = open_source(&options);
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(tape_source_seek(source, made_ns + 60, NULL), 0);
        expect_next(source, "{\"stream\":\"a\",\"data\":{\"n\":150}}");
        expect_next(source, "{\"stream\":\"a\",\"data\":{\"n\":250}}");
        expect_next(source, "{\"stream\":\"a\",\"data\":\"whole\"}");
        expect_end(source);
        assert_int_equal(tape_source_damages(source), 1);
    }
    tape_source_close(source);
}

/* A seek, and an end, read the blocks they need and no other, each once. */
static void a_window_reads_its_blocks(void **state)
{
    static const struct {
        int from, to, blocks;
    } table[] = {{0, 0, 40}, {0, 10, 10}, {20, 0, 21}, {20, 21, 2}, {20, 22, 3}, {60, 70, 0}};
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    for (int i = 0; i < 39; i++) {
        recorder_text(made_ns + i * SECOND, "text");
        recorder_flush();
        if (i == 18) {
            recorder_seal();
            begin_segment();
        }
    }
    recorder_end(made_ns + 39 * SECOND);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tape_source_options options = {0};
        if (table[i].from)
            options.from_ns = made_ns + table[i].from * SECOND;
        if (table[i].to)
            options.to_ns = made_ns + table[i].to * SECOND;
        struct tape_source *source = open_source(&options);
        while (tape_source_next(source, &message, NULL) == 1)
            ;
        /* a seek begins a second early */
        if (blocks_read(source) != (uint64_t)table[i].blocks)
            fail_msg("from %d to %d: %d blocks", table[i].from, table[i].to,
                     (int)blocks_read(source));
        tape_source_close(source);
    }
}

static void times_are_chosen(void **state)
{
    struct tape_source_options options = {.from_ns = made_ns + 2 * SECOND,
                                          .to_ns = made_ns + 4 * SECOND};
    (void)state;
    make_archive();
    struct tape_source *source = open_source(&options);
    expect_next(source, "{\"stream\":\"b@trade\",\"data\":2}");
    expect_next(source, "{\"stream\":\"a@depth\",\"data\":3}");
    expect_end(source);
    tape_source_close(source);
    options = (struct tape_source_options){.from_ns = made_ns + 6 * SECOND};
    source = open_source(&options);
    expect_end(source);
    tape_source_close(source);
    options = (struct tape_source_options){.to_ns = made_ns};
    source = open_source(&options);
    expect_end(source);
    tape_source_close(source);
}

static void seeking_goes_both_ways(void **state)
{
    (void)state;
    make_archive();
    struct tape_source *source = open_source(NULL);
    assert_int_equal(tape_source_seek(source, made_ns + 4 * SECOND, NULL), 0);
    expect_next(source, "{\"stream\":\"a@trade\",\"data\":4}");
    assert_int_equal(tape_source_seek(source, made_ns + 1, NULL), 0);
    expect_next(source, "{\"result\":null,\"id\":1}");
    expect_next(source, "{\"stream\":\"b@trade\",\"data\":2}");
    assert_int_equal(tape_source_seek(source, made_ns + 99 * SECOND, NULL), 0);
    expect_end(source);
    assert_int_equal(tape_source_seek(source, INT64_MIN, NULL), 0);
    expect_next(source, "{\"stream\":\"a@trade\",\"data\":0}");
    assert_int_equal(tape_source_seek(source, INT64_MAX, NULL), 0);
    expect_end(source);
    tape_source_close(source);
}

static void put_event(int64_t recv_ns, const char *body)
{
    recorder_put(TAPE_RECORD_NOTE, 0, 0, recv_ns, body, strlen(body));
}

/* With events only frames tell when what is sought has come: an import's events are hours newer. */
static void seeking_passes_over_an_imports_events(void **state)
{
    struct tape_source_options options = {.events = 1};
    (void)state;
    recorder_begin(1 << 20);
    for (int import = 0; import < 2; import++) {
        put_event(made_ns + 3600 * SECOND, "{\"begin\":1}");
        recorder_text(made_ns + (3 * import + 0) * SECOND, "zero");
        recorder_text(made_ns + (3 * import + 1) * SECOND, "one");
        recorder_flush();
        recorder_text(made_ns + (3 * import + 2) * SECOND, "two");
        put_event(made_ns + 3600 * SECOND, "{\"end\":1}");
        recorder_flush();
    }
    struct tape_source *source = open_source(&options);
    assert_int_equal(tape_source_seek(source, made_ns + 4 * SECOND, NULL), 0);
    expect_next(source, "one");
    expect_next(source, "two");
    expect_next(source, "{\"end\":1}");
    assert_int_equal(tape_source_seek(source, made_ns + 1 * SECOND, NULL), 0);
    expect_next(source, "one");
    assert_int_equal(tape_source_seek(source, made_ns + 3 * SECOND, NULL), 0);
    expect_next(source, "{\"end\":1}"); /* between the two, whatever it is stamped */
    expect_next(source, "{\"begin\":1}");
    expect_next(source, "zero");
    tape_source_close(source);
}

/* Those right before the first frame, or behind the last one, are not lost. */
static void seeking_finds_events_between_frames(void **state)
{
    struct tape_source_options options = {.events = 1};
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "zero");
    put_event(made_ns + 1 * SECOND, "{\"at\":1}");
    put_event(made_ns + 2 * SECOND, "{\"at\":2}");
    put_event(made_ns + 3 * SECOND, "{\"at\":3}");
    recorder_flush();
    recorder_text(made_ns + 4 * SECOND, "four");
    put_event(made_ns + 5 * SECOND, "{\"at\":5}");
    recorder_flush();
    struct tape_source *source = open_source(&options);
    assert_int_equal(tape_source_seek(source, made_ns + 2 * SECOND, NULL), 0);
    expect_next(source, "{\"at\":2}");
    expect_next(source, "{\"at\":3}");
    expect_next(source, "four");
    assert_int_equal(tape_source_seek(source, made_ns + 4 * SECOND + 1, NULL), 0);
    expect_next(source, "{\"at\":5}");
    expect_end(source);
    tape_source_close(source);
    options.follow = 1;
    source = open_source(&options);
    assert_int_equal(tape_source_seek(source, made_ns + 4 * SECOND + 1, NULL), 0);
    expect_next(source, "{\"at\":5}");
    expect_nothing_yet(source);
    assert_int_equal(tape_source_seek(source, made_ns + 6 * SECOND, NULL), 0);
    expect_nothing_yet(source);
    put_event(made_ns + 7 * SECOND, "{\"at\":7}"); /* live: it waits for no frame */
    expect_next(source, "{\"at\":7}");
    tape_source_close(source);
}

/* After a seek stamps may run back: what follows the first is given as it comes. */
static void seeking_keeps_the_order(void **state)
{
    struct tape_source_options options = {.from_ns = made_ns + 2 * SECOND};
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns + SECOND, "one");
    recorder_text(made_ns + 2 * SECOND, "two");
    recorder_text(made_ns + SECOND, "again one");
    recorder_text(made_ns + 3 * SECOND, "three");
    recorder_end(made_ns + 3 * SECOND);
    struct tape_source *source = open_source(NULL);
    assert_int_equal(tape_source_seek(source, made_ns + 2 * SECOND, NULL), 0);
    expect_next(source, "two");
    expect_next(source, "again one");
    expect_next(source, "three");
    expect_end(source);
    tape_source_close(source);
    source = open_source(&options); /* a range is a range */
    expect_next(source, "two");
    expect_next(source, "three");
    expect_end(source);
    tape_source_close(source);
}

/* A message whose fragments lie ${gap_ns} apart, in different blocks, sought at its end. */
static void expect_fragments_joined(int64_t gap_ns)
{
    set_up(NULL);
    recorder_begin(1 << 20);
    recorder_text(made_ns, "first");
    recorder_flush();
    recorder_frame(TAPE_WS_TEXT, 0, made_ns + 1, "begin ");
    recorder_flush();
    for (int64_t i = 1; i < 20; i++) {
        recorder_frame(TAPE_WS_CONTINUATION, 0, made_ns + 1 + i * gap_ns / 20, ".");
        recorder_flush();
    }
    recorder_frame(TAPE_WS_CONTINUATION, 1, made_ns + 1 + gap_ns, " end");
    recorder_text(made_ns + 2 + gap_ns, "last");
    recorder_end(made_ns + 2 + gap_ns);
    struct tape_source_options options = {.from_ns = made_ns + gap_ns};
    struct tape_source *source = open_source(&options);
    expect_next(source, "begin ................... end");
    expect_next(source, "last");
    expect_end(source);
    assert_int_equal(tape_source_seek(source, made_ns + 1 + gap_ns, NULL), 0);
    expect_next(source, "begin ................... end");
    expect_next(source, "last");
    expect_end(source);
    tape_source_close(source);
    remove_tree(directory);
}

static void fragments_are_joined_over_a_seek(void **state)
{
    (void)state;
    remove_tree(directory);
    expect_fragments_joined(1000);
    expect_fragments_joined(30 * SECOND);
    expect_fragments_joined(5 * 3600 * SECOND);
    set_up(NULL);
}

/* The clock was set back inside a message: the block with its middle lies before the time sought.
 */
static void fragments_are_joined_over_a_clock_step(void **state)
{
    struct tape_source_options options = {.from_ns = made_ns + 60 * SECOND};
    (void)state;
    recorder_begin(1 << 20);
    recorder_frame(TAPE_WS_TEXT, 0, made_ns + 60 * SECOND, "begin");
    recorder_flush();
    recorder_frame(TAPE_WS_CONTINUATION, 0, made_ns, " middle");
    recorder_flush();
    recorder_frame(TAPE_WS_CONTINUATION, 1, made_ns + 61 * SECOND, " end");
    recorder_end(made_ns + 61 * SECOND);
    struct tape_source *source = open_source(&options);
    expect_next(source, "begin middle end");
    expect_end(source);
    tape_source_close(source);
}

/* What was broken when it was recorded stays broken, and costs no second reading of the past. */
static void real_orphans_stay_bad(void **state)
{
    struct tape_source_options options = {.from_ns = made_ns + 3600 * SECOND, .events = 1};
    struct tape_message message;
    uint8_t frame[] = {0x80, 1, 'x'};
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "old");
    recorder_flush();
    recorder_put(TAPE_RECORD_FRAME_IN, 1, TAPE_RECORD_FLAG_BAD, made_ns + 3600 * SECOND, frame, 3);
    recorder_text(made_ns + 3601 * SECOND, "new");
    recorder_end(made_ns + 3601 * SECOND);
    struct tape_source *source = open_source(&options);
    assert_int_equal(tape_source_next(source, &message, NULL), 1);
    assert_int_equal(message.kind, TAPE_FEED_BAD);
    expect_next(source, "new");
    tape_source_close(source);
    /* And an orphan that nothing explains is told as bad once all of the past has been read. */
    recorder_begin(1 << 20);
    recorder_put(TAPE_RECORD_FRAME_IN, 1, 0, made_ns + 3602 * SECOND, frame, 3);
    recorder_text(made_ns + 3603 * SECOND, "newer");
    recorder_end(made_ns + 3603 * SECOND);
    options.from_ns = made_ns + 3602 * SECOND;
    source = open_source(&options);
    assert_int_equal(tape_source_next(source, &message, NULL), 1);
    assert_int_equal(message.kind, TAPE_FEED_BAD);
    expect_next(source, "newer");
    tape_source_close(source);
}

/* A message that its connection's end cut off is told as bad, once, where it belongs. */
static void a_message_that_was_cut_off(void **state)
{
    struct tape_source_options options = {.events = 1};
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    recorder_frame(TAPE_WS_TEXT, 0, made_ns, "half");
    recorder_put(TAPE_RECORD_CONNECTION_CLOSE, 1, 0, made_ns + SECOND, "{}", 2);
    recorder_text(made_ns + 2 * SECOND, "whole");
    recorder_end(made_ns + 2 * SECOND);
    struct tape_source *source = open_source(&options);
    assert_int_equal(tape_source_next(source, &message, NULL), 1);
    assert_int_equal(message.record_kind, TAPE_RECORD_CONNECTION_CLOSE);
    assert_int_equal(tape_source_next(source, &message, NULL), 1);
    assert_int_equal(message.kind, TAPE_FEED_BAD);
    assert_int_equal(message.payload.bytes, 4);
    assert_memory_equal(message.payload.data, "half", 4);
    expect_next(source, "whole");
    tape_source_close(source);
    source = open_source(NULL);
    expect_next(source, "whole");
    tape_source_close(source);
    options.from_ns = made_ns + SECOND;
    source = open_source(&options);
    assert_int_equal(tape_source_next(source, &message, NULL), 1);
    assert_int_equal(message.record_kind, TAPE_RECORD_CONNECTION_CLOSE);
    expect_next(source, "whole");
    tape_source_close(source);
}

static void damage_is_told_and_passed_over(void **state)
{
    struct tape_source_damage damage;
    (void)state;
    make_archive();
    /* in the payload of the first block: 64 + 80 bytes of headers before it */
    flip_byte("20261125T094640Z-000001.hot", 64 + 80 + 10);
    struct tape_source *source = open_source(NULL);
    expect_next(source, "{\"stream\":\"b@trade\",\"data\":2}");
    assert_int_equal(tape_source_damages(source), 1);
    assert_int_equal(tape_source_damage(source, 0, &damage), 1);
    assert_int_equal(damage.verdict, TAPE_CORRUPT);
    assert_string_equal(damage.text, "segment 000001: block 0 at 0x40: checksum mismatch");
    assert_int_equal(damage.from_ordinal, 0);
    assert_int_equal(damage.to_ordinal, 3);
    assert_int_equal(tape_source_damage(source, 1, &damage), 0);
    assert_int_equal(tape_source_damage(source, -1, &damage), 0);
    /* Going back over it tells nothing new. */
    assert_int_equal(tape_source_seek(source, made_ns, NULL), 0);
    expect_next(source, "{\"stream\":\"b@trade\",\"data\":2}");
    assert_int_equal(tape_source_damages(source), 1);
    expect_next(source, "{\"stream\":\"a@depth\",\"data\":3}");
    expect_next(source, "{\"stream\":\"a@trade\",\"data\":4}");
    expect_next(source, "{\"data\":5}");
    expect_end(source);
    assert_int_equal(tape_source_damages(source), 1);
    tape_source_close(source);
}

static void what_cannot_be_opened(void **state)
{
    struct tape_error error = {0};
    char text[400];
    (void)state;
    assert_null(tape_source_open(archive_path, NULL, &error));
    snprintf(text, sizeof text, "open %s: open the directory: No such file or directory",
             archive_path);
    assert_string_equal(error.text, text);
    assert_int_equal(tape_error_exit_code(error.status), 1);
    assert_null(tape_source_open(archive_path, NULL, NULL));
    tape_source_close(NULL);
}

/* ---- following ---- */

static const struct tape_source_options following = {.follow = 1};

static void from_segments_into_the_ring(void **state)
{
    struct tape_source_state now;
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "in a segment");
    recorder_flush();
    recorder_text(made_ns + 1, "in the ring");
    struct tape_source *source = open_source(&following);
    expect_next(source, "in a segment");
    expect_next(source, "in the ring");
    tape_source_read_state(source, &now);
    assert_int_equal(now.live, 1);
    assert_int_equal(now.recorder_alive, 1);
    assert_int_equal(now.next_ordinal, 2);
    expect_nothing_yet(source);
    recorder_text(made_ns + 2, "just now");
    recorder_flush();
    expect_next(source, "just now");
    expect_nothing_yet(source);
    recorder_text(made_ns + 3, "at the end");
    recorder_end(made_ns + 4);
    expect_next(source, "at the end");
    expect_end(source);
    expect_end(source);
    tape_source_close(source);
}

/* A recorder that has written nothing to a segment yet. */
/* What was left out at the end of a packed block is passed: the ring need not have it any more. */
static void from_a_packed_block_into_the_ring(void **state)
{
    const struct tape_source_options options = {.stream = "a", .follow = 1};
    struct tape_source_state now = {0};
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    recorder.pack = tape_pack_new(TAPE_PACK_WARM);
    recorder_text(made_ns, "{\"stream\":\"a\",\"data\":1}");
    for (int block = 0; block < 8; block++) {
        for (int i = 0; i < 4000; i++)
            recorder_text(made_ns + 1, "{\"stream\":\"b\",\"data\":1}");
        recorder_flush();
    }
    struct tape_source *source = open_source(&options);
    expect_next(source, "{\"stream\":\"a\",\"data\":1}");
    for (int i = 0; i < 100 && !now.live; i++) {
        assert_int_equal(tape_source_try(source, &message, NULL), 2);
        tape_source_read_state(source, &now);
    }
    assert_int_equal(now.live, 1);
    assert_int_equal(now.next_ordinal, recorder.next_ordinal);
    recorder_text(made_ns + 2, "{\"stream\":\"b\",\"data\":2}");
    recorder_text(made_ns + 2, "{\"stream\":\"a\",\"data\":2}");
    expect_next(source, "{\"stream\":\"a\",\"data\":2}");
    recorder_end(made_ns + 4);
    expect_end(source);
    assert_int_equal(tape_source_damages(source), 0);
    tape_source_close(source);
}

static void only_in_the_ring(void **state)
{
    (void)state;
    recorder_begin(1 << 20);
    struct tape_source *source = open_source(&following);
    expect_nothing_yet(source);
    recorder_text(made_ns, "first of all");
    expect_next(source, "first of all");
    recorder_end(made_ns);
    expect_end(source);
    tape_source_close(source);
}

/* The follower that reads nothing while the ring goes round several times misses nothing. */
static void an_overrun_goes_back_to_the_segments(void **state)
{
    struct tape_source_state now;
    char text[1024], expected[32];
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "0");
    struct tape_source *source = open_source(&following);
    expect_next(source, "0");
    memset(text, 'x', sizeof text);
    for (int i = 1; i < 8000; i++) {
        snprintf(text, 16, "%08d", i);
        text[8] = 'x';
        text[1000] = '\0';
        recorder_text(made_ns + i, text);
        if (i % 100 == 0)
            recorder_flush();
        if (i % 2000 == 0) {
            recorder_seal();
            begin_segment();
        }
    }
    for (int i = 1; i < 8000; i++) {
        struct tape_message message;
        assert_int_equal(try_on(source, &message), 1);
        snprintf(expected, sizeof expected, "%08d", i);
        assert_int_equal(message.ordinal, i);
        assert_memory_equal(message.payload.data, expected, 8);
    }
    expect_nothing_yet(source);
    tape_source_read_state(source, &now);
    assert_int_equal(now.overruns, 1);
    assert_int_equal(now.live, 1);
    recorder_end(made_ns + 8000);
    expect_end(source);
    tape_source_close(source);
}

/* kill -9, then a new recorder that saves what the ring held and goes on. */
static void the_next_recorder_is_waited_for(void **state)
{
    struct tape_source_state now;
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "stored");
    recorder_flush();
    struct tape_source *source = open_source(&following);
    expect_next(source, "stored");
    expect_nothing_yet(source);
    recorder_text(made_ns + 1, "in the ring when it died");
    recorder_die();
    expect_next(source, "in the ring when it died");
    for (int i = 0; i < 200; i++) {
        assert_int_equal(tape_source_try(source, &message, NULL), 2);
        usleep(1000);
    }
    tape_source_read_state(source, &now);
    assert_int_equal(now.recorder_alive, 0);
    assert_int_equal(now.live, 0);
    recorder.next_ordinal = 1; /* recovery: the ring's record goes to a segment */
    recorder_begin(1 << 20);
    recorder_text(made_ns + 1, "in the ring when it died");
    recorder_flush();
    recorder_text(made_ns + 2, "of the next");
    assert_int_equal(try_on(source, &message), 1);
    assert_memory_equal(message.payload.data, "of the next", 11);
    assert_int_equal(message.ordinal, 2);
    tape_source_read_state(source, &now);
    assert_int_equal(now.recorder_alive, 1);
    recorder_end(made_ns + 3);
    assert_int_equal(try_on(source, &message), 0);
    tape_source_close(source);
}

/* As above, so quickly that the follower never saw the lock free; pid and ring name may be the
 * same. */
static void a_quick_restart_is_noticed(void **state)
{
    struct tape_source_state now;
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "one");
    struct tape_source *source = open_source(&following);
    expect_next(source, "one");
    expect_nothing_yet(source);
    recorder_die();
    recorder.next_ordinal = 0;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "one");
    recorder_flush();
    recorder_text(made_ns + 1, "two");
    assert_int_equal(try_on(source, &message), 1);
    assert_memory_equal(message.payload.data, "two", 3);
    tape_source_read_state(source, &now);
    assert_int_equal(now.live, 1);
    recorder_end(made_ns + 2);
    assert_int_equal(try_on(source, &message), 0);
    tape_source_close(source);
}

/* The follower that still reads segments when the recorder dies finds the ring it left. */
static void a_left_ring_is_drained(void **state)
{
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "stored");
    recorder_flush();
    struct tape_source *source = open_source(&following);
    recorder_text(made_ns + 1, "left");
    recorder_die();
    expect_next(source, "stored");
    assert_int_equal(try_on(source, &message), 1);
    assert_memory_equal(message.payload.data, "left", 4);
    expect_nothing_yet(source);
    tape_source_close(source);
}

static void nobody_records(void **state)
{
    struct tape_message message;
    (void)state;
    make_archive();
    struct tape_source *source = open_source(&following);
    for (int i = 0; i < 6; i++)
        assert_int_equal(try_on(source, &message), 1);
    assert_int_equal(try_on(source, &message), 0);
    tape_source_close(source);
    /* The same where the last one died: its ring is read, and that is all. */
    recorder_begin(1 << 20);
    recorder_text(made_ns + 9, "left");
    recorder_die();
    source = open_source(&following);
    for (int i = 0; i < 7; i++)
        assert_int_equal(try_on(source, &message), 1);
    assert_memory_equal(message.payload.data, "left", 4);
    assert_int_equal(try_on(source, &message), 0);
    tape_source_close(source);
}

/* It need not have been there when the source was opened. */
static void a_recorder_that_comes_later_is_met(void **state)
{
    struct tape_message message;
    (void)state;
    make_archive();
    struct tape_source *source = open_source(&following);
    recorder_begin(1 << 20);
    recorder_text(made_ns + 9 * SECOND, "later");
    for (int i = 0; i < 7; i++)
        assert_int_equal(try_on(source, &message), 1);
    expect_nothing_yet(source);
    recorder_die();
    for (int i = 0; i < 150; i++) {
        assert_int_equal(tape_source_try(source, &message, NULL), 2);
        usleep(1000);
    }
    tape_source_close(source);
}

/* A closed ring is the end, though the recorder still seals and holds the lock. */
static void a_closed_ring_is_the_end(void **state)
{
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "last");
    struct tape_source *source = open_source(&following);
    expect_next(source, "last");
    tape_ring_close(recorder.ring);
    assert_int_equal(tape_source_try(source, &message, NULL), 0);
    tape_source_close(source);
}

/* Where the ring cannot be had (another account's, another machine's) the segments still serve. */
static void without_a_ring(void **state)
{
    struct tape_message message;
    (void)state;
    recorder_begin(1 << 20);
    unlink(recorder.ring_path);
    recorder_text(made_ns, "one");
    recorder_flush();
    struct tape_source *source = open_source(&following);
    assert_int_equal(try_on(source, &message), 1);
    expect_nothing_yet(source);
    recorder_text(made_ns + 1, "two");
    recorder_flush();
    assert_int_equal(try_on(source, &message), 1);
    assert_memory_equal(message.payload.data, "two", 3);
    recorder_seal();
    begin_segment();
    recorder_text(made_ns + 2, "three");
    recorder_flush();
    assert_int_equal(try_on(source, &message), 1);
    assert_memory_equal(message.payload.data, "three", 5);
    recorder_end(made_ns + 3);
    assert_int_equal(try_on(source, &message), 0);
    tape_source_close(source);
}

static void following_to_a_time(void **state)
{
    struct tape_source_options options = {.follow = 1, .to_ns = made_ns + SECOND};
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "inside");
    struct tape_source *source = open_source(&options);
    expect_next(source, "inside");
    recorder_text(made_ns + SECOND, "outside");
    expect_nothing_yet(source);
    recorder_text(made_ns + SECOND - 1, "late and inside");
    expect_next(source, "late and inside");
    recorder_text(made_ns + 2 * SECOND, "long after");
    expect_end(source);
    tape_source_close(source);
}

/* The events of an import are of its own day, the frames between them of another. */
static void following_an_import_to_a_time(void **state)
{
    struct tape_source_options options = {.follow = 1, .to_ns = made_ns + SECOND};
    (void)state;
    recorder_begin(1 << 20);
    recorder_put(TAPE_RECORD_NOTE, 0, 0, made_ns + 3600 * SECOND, "{}", 2);
    recorder_text(made_ns, "inside");
    recorder_text(made_ns + SECOND, "outside");
    recorder_end(made_ns + 3600 * SECOND);
    struct tape_source *source = open_source(&options);
    expect_next(source, "inside");
    expect_end(source);
    tape_source_close(source);
}

static void a_live_event_ends_a_silent_feed(void **state)
{
    struct tape_source_options options = {.follow = 1, .to_ns = made_ns + SECOND};
    (void)state;
    recorder_begin(1 << 20);
    recorder_text(made_ns, "inside");
    struct tape_source *source = open_source(&options);
    expect_next(source, "inside");
    recorder_put(TAPE_RECORD_CLOCK, 0, 0, made_ns + 2 * SECOND, "{}", 2);
    expect_end(source);
    tape_source_close(source);
}

static void *stop_soon(void *context)
{
    usleep(20000);
    tape_source_stop(context);
    return NULL;
}

static void stop_wakes_a_waiting_reader(void **state)
{
    pthread_t thread;
    (void)state;
    for (int spin = 0; spin < 2; spin++) {
        struct tape_source_options options = {.follow = 1, .spin = spin};
        if (spin == 0) {
            recorder_begin(1 << 20);
            recorder_text(made_ns, "one");
        }
        struct tape_source *source = open_source(&options);
        expect_next(source, "one");
        pthread_create(&thread, NULL, stop_soon, source);
        expect_end(source);
        pthread_join(thread, NULL);
        tape_source_close(source);
    }
}

/* A recorder at full speed in a second thread, followed: every number once, in order. */
enum { RACE_RECORDS = 200000 };

static void *record_fast(void *context)
{
    char text[32];
    (void)context;
    for (int i = 0; i < RACE_RECORDS; i++) {
        snprintf(text, sizeof text, "%d", i);
        recorder_text(made_ns + i, text);
        if (i % 1000 == 999)
            recorder_flush();
    }
    recorder_end(made_ns + RACE_RECORDS);
    return NULL;
}

static void a_race_with_the_recorder(void **state)
{
    struct tape_message message;
    pthread_t thread;
    char expected[32];
    int got, count = 0;
    (void)state;
    recorder_begin(1 << 20);
    struct tape_source *source = open_source(&following);
    pthread_create(&thread, NULL, record_fast, NULL);
    while ((got = tape_source_next(source, &message, NULL)) == 1) {
        snprintf(expected, sizeof expected, "%d", count);
        assert_int_equal(message.ordinal, count);
        assert_int_equal(message.payload.bytes, strlen(expected));
        assert_memory_equal(message.payload.data, expected, strlen(expected));
        count++;
    }
    pthread_join(thread, NULL);
    assert_int_equal(got, 0);
    assert_int_equal(count, RACE_RECORDS);
    assert_int_equal(tape_source_damages(source), 0);
    tape_source_close(source);
}

/* ---- names ---- */

static void globs(void **state)
{
    static const struct {
        const char *pattern, *name;
        int matches;
    } table[] = {
        {"btcusdt@trade", "btcusdt@trade", 1},
        {"btcusdt@trade", "btcusdt@trades", 0},
        {"btcusdt@trade", "btcusdt@trad", 0},
        {"*", "", 1},
        {"*", "anything", 1},
        {"", "", 1},
        {"", "a", 0},
        {"*@trade", "btcusdt@trade", 1},
        {"*@trade", "btcusdt@aggTrade", 0},
        {"btc*@*", "btcusdt@depth@100ms", 1},
        {"*a*b*c", "xxaxxbxxabc", 1},
        {"*a*b*c", "xxaxxbxxab", 0},
        {"?tc", "btc", 1},
        {"?tc", "tc", 0},
        {"[be]t[ch]", "eth", 1},
        {"[be]t[ch]", "xth", 0},
        {"[a-c]x", "bx", 1},
        {"[a-c]x", "dx", 0},
        {"[!a-c]x", "dx", 1},
        {"[!a-c]x", "ax", 0},
        {"[]]", "]", 1},
        {"[a-]", "-", 1},
        {"[abc", "[abc", 1},
        {"a,b", "b", 1},
        {"a,b", "a,b", 0},
        {"a,*@trade,c", "x@trade", 1},
        {"a,", "", 1},
        {"***x", "abcx", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (tape_source_glob_match(table[i].pattern, table[i].name, strlen(table[i].name)) !=
            table[i].matches)
            fail_msg("%s on %s", table[i].pattern, table[i].name);
    assert_int_equal(tape_source_glob_match("a*c", "a\0c", 3), 1);
    /* A pattern that makes a backtracking matcher take for ever. */
    char name[4096];
    memset(name, 'a', sizeof name);
    assert_int_equal(tape_source_glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*b", name, sizeof name), 0);
}

#define ON_ARCHIVE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ARCHIVE(everything_in_order),
        ON_ARCHIVE(events_too),
        ON_ARCHIVE(streams_are_chosen),
        ON_ARCHIVE(blocks_without_the_stream_are_not_read),
        ON_ARCHIVE(damage_in_a_block_that_is_not_read),
        ON_ARCHIVE(a_message_that_began_in_a_block_passed_over),
        ON_ARCHIVE(others_are_left_out_of_packed_blocks),
        ON_ARCHIVE(a_window_reads_its_blocks),
        ON_ARCHIVE(times_are_chosen),
        ON_ARCHIVE(seeking_goes_both_ways),
        ON_ARCHIVE(seeking_keeps_the_order),
        ON_ARCHIVE(seeking_passes_over_an_imports_events),
        ON_ARCHIVE(seeking_finds_events_between_frames),
        ON_ARCHIVE(fragments_are_joined_over_a_seek),
        ON_ARCHIVE(fragments_are_joined_over_a_clock_step),
        ON_ARCHIVE(real_orphans_stay_bad),
        ON_ARCHIVE(a_message_that_was_cut_off),
        ON_ARCHIVE(damage_is_told_and_passed_over),
        ON_ARCHIVE(what_cannot_be_opened),
        ON_ARCHIVE(from_segments_into_the_ring),
        ON_ARCHIVE(from_a_packed_block_into_the_ring),
        ON_ARCHIVE(only_in_the_ring),
        ON_ARCHIVE(an_overrun_goes_back_to_the_segments),
        ON_ARCHIVE(the_next_recorder_is_waited_for),
        ON_ARCHIVE(a_quick_restart_is_noticed),
        ON_ARCHIVE(a_left_ring_is_drained),
        ON_ARCHIVE(nobody_records),
        ON_ARCHIVE(a_recorder_that_comes_later_is_met),
        ON_ARCHIVE(a_closed_ring_is_the_end),
        ON_ARCHIVE(without_a_ring),
        ON_ARCHIVE(following_to_a_time),
        ON_ARCHIVE(following_an_import_to_a_time),
        ON_ARCHIVE(a_live_event_ends_a_silent_feed),
        ON_ARCHIVE(stop_wakes_a_waiting_reader),
        ON_ARCHIVE(a_race_with_the_recorder),
        cmocka_unit_test(globs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
