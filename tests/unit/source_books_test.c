#include "replay/source_books.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/archive.h"
#include "format/ws.h"
#include "tests/unit/make_records.h"

#define SECOND 1000000000ll
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

enum { IMPORTED = TAPE_RECORD_FLAG_IMPORTED };

static char directory[256];
static struct tape_error error;

/* ---- archives: each step when the test says so ---- */

static struct recorder {
    char path[300], name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_archive *archive;
    struct tape_block_builder *builder;
    struct tape_segment_writer *writer;
    uint64_t next_ordinal;
    uint64_t flushed;
} recorders[2];
static struct recorder *now = recorders; /* the one that is written to */

static void begin(int index)
{
    now = &recorders[index];
    snprintf(now->path, sizeof now->path, "%s/archive-%d", directory, index);
    now->archive = tape_archive_create(now->path, &error);
    assert_non_null(now->archive);
    now->builder = tape_block_builder_new();
    now->writer = tape_archive_create_segment(now->archive, 1, made_ns, now->name, &error);
    assert_non_null(now->writer);
}

static void flush(void)
{
    struct tape_block_header header;
    uint8_t *stored;
    if (now->flushed == now->next_ordinal)
        return;
    assert_int_equal(tape_block_seal(now->builder, 1, 1, &header, &stored, NULL), 0);
    header.realtime_minus_monotonic_ns = 0;
    assert_int_equal(tape_segment_append(now->writer, &header, stored, NULL, 0, 0, NULL), 0);
    now->flushed = now->next_ordinal;
}

static void put(int kind, uint32_t connection, int flags, int64_t after, const void *body,
                size_t bytes)
{
    struct tape_record record = {
        .ordinal = now->next_ordinal++,
        .recv_ns = made_ns + after,
        .connection = connection,
        .bytes = (uint32_t)bytes,
        .flags = (uint16_t)flags,
        .kind = (uint8_t)kind,
        .data = body,
    };
    assert_int_equal(tape_block_append(now->builder, &record, NULL), 1);
}

static void event(int kind, uint32_t connection, int64_t after, const char *body)
{
    put(kind, connection, 0, after, body, strlen(body));
}

static void text(uint32_t connection, int flags, int64_t after, const char *payload)
{
    static uint8_t frame[65536];
    size_t bytes = strlen(payload), header = tape_ws_build(frame, TAPE_WS_TEXT, 1, bytes, NULL);
    memcpy(frame + header, payload, bytes);
    put(TAPE_RECORD_FRAME_IN, connection, flags, after, frame, header + bytes);
}

/* A diff of the stream that follows on ${last - 1}: its quantity is its number. */
static void diff_by(const char *stream, uint32_t connection, int flags, int64_t after, int last)
{
    char payload[300];
    snprintf(payload, sizeof payload,
             "{\"stream\":\"%s\",\"data\":{\"e\":\"depthUpdate\",\"E\":%d,\"s\":\"X\",\"U\":%d,"
             "\"u\":%d,\"pu\":%d,\"b\":[[\"1.5\",\"%d\"]],\"a\":[]}}",
             stream, 1000 + last, last, last, last - 1, last);
    text(connection, flags, after, payload);
}

static void diff(const char *stream, int64_t after, int last)
{
    diff_by(stream, 1, 0, after, last);
}

static void snapshot_as(const char *head, int64_t after, int id)
{
    char body[400];
    snprintf(body, sizeof body,
             "%s\n{\"lastUpdateId\":%d,\"bids\":[[\"1.5\",\"%d\"]],\"asks\":[[\"2\",\"9.0\"]]}",
             head, id, id);
    event(TAPE_RECORD_SNAPSHOT, 1, after, body);
}

static void snapshot(const char *stream, int64_t after, int id)
{
    char head[300];
    snprintf(head, sizeof head,
             "{\"url\":\"https://x/depth\",\"status\":200,\"asked_ns\":\"1\",\"stream\":\"%s\"}",
             stream);
    snapshot_as(head, after, id);
}

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    memset(recorders, 0, sizeof recorders);
    begin(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        if (recorders[i].writer)
            tape_segment_abandon(recorders[i].writer);
        tape_block_builder_free(recorders[i].builder);
        if (recorders[i].archive)
            tape_archive_close(recorders[i].archive);
    }
    remove_tree(directory);
    return 0;
}

/* ---- books ---- */

static struct tape_source_books *build_of(int count, const char *glob, int64_t after)
{
    const char *paths[] = {recorders[0].path, recorders[1].path};
    flush();
    memset(&error, 0, sizeof error);
    struct tape_source_books *books =
        tape_source_books_build(paths, count, glob, made_ns + after, &error);
    if (!books)
        fail_msg("%s", error.text);
    return books;
}

static struct tape_source_books *build(int64_t after)
{
    return build_of(1, NULL, after);
}

static void advance(struct tape_source_books *books, int64_t after)
{
    flush();
    if (tape_source_books_advance(books, made_ns + after, &error) != 0)
        fail_msg("%s", error.text);
}

/* The message of index: its stream and payload; and what else is in every one of them. */
static void expect_message(struct tape_source_books *books, int index, int64_t after,
                           const char *stream, const char *payload)
{
    struct tape_message message;
    assert_int_equal(tape_source_books_message(books, index, &message, &error), 1);
    if (message.stream.bytes != strlen(stream) ||
        memcmp(message.stream.data, stream, message.stream.bytes) != 0 ||
        message.payload.bytes != strlen(payload) ||
        memcmp(message.payload.data, payload, message.payload.bytes) != 0)
        fail_msg("%.*s: %.*s\ninstead of\n%s: %s", (int)message.stream.bytes, message.stream.data,
                 (int)message.payload.bytes, message.payload.data, stream, payload);
    assert_int_equal(message.kind, TAPE_FEED_STATE);
    assert_true(message.recv_ns == made_ns + after && message.replay_ns == made_ns + after);
    assert_int_equal(message.frame.bytes, 0);
    assert_int_equal(message.flags, 0);
}

static void expect_count(struct tape_source_books *books, int count)
{
    struct tape_message message;
    assert_int_equal(tape_source_books_count(books), count);
    assert_int_equal(tape_source_books_message(books, count, &message, &error), 0);
    assert_int_equal(tape_source_books_message(books, -1, &message, &error), 0);
}

/* The id of the stream's book, or 0 and the cause. */
static void expect_book(const struct tape_source_books *books, const char *stream, int64_t id,
                        const char *cause)
{
    const char *why;
    const struct tape_book *book = tape_source_books_book(books, stream, &why);
    assert_string_equal(why, cause);
    if (id)
        assert_non_null(book);
    else
        assert_null(book);
    if (id)
        assert_int_equal(tape_book_last_id(book), id);
    assert_ptr_equal(book, tape_source_books_book(books, stream, NULL));
}

static const char no_stream[] = "no such depth stream was recorded at that time";
static const char no_snapshot[] = "no snapshot was recorded before this time";
static const char ended[] = "its connection ended, and no update has come since";
static const char stopped[] = "its recorder ended, and no update has come since";

/* ---- tests ---- */

static void write_story(void)
{
    event(TAPE_RECORD_SESSION_START, 0, 0, "{}");
    diff("x@depth@0ms", 1 * SECOND, 99);
    diff("x@depth@0ms", 2 * SECOND, 100);
    text(1, 0, 2 * SECOND, "{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"t\":1}}");
    diff("x@depth@0ms", 3 * SECOND, 101);
    snapshot("x@depth@0ms", 4 * SECOND, 100);
    diff("x@depth@0ms", 5 * SECOND, 102);
    diff("x@depth@0ms", 5 * SECOND, 103);
    diff("x@depth@0ms", 6 * SECOND, 104);
    diff("x@depth@0ms", 8 * SECOND, 106);
    snapshot("x@depth@0ms", 9 * SECOND, 106);
    diff("x@depth@0ms", 10 * SECOND, 107);
}

/* What was before second s + ns. */
static const struct moment {
    int64_t after;
    int id;
    const char *cause;
} moments[] = {
    {1 * SECOND, 0, NULL},
    {1 * SECOND + 1, 0, no_snapshot},
    {4 * SECOND, 0, no_snapshot},
    {4 * SECOND + 1, 101, ""},
    {5 * SECOND, 101, ""},
    {5 * SECOND + 1, 103, ""},
    {8 * SECOND, 104, ""},
    {8 * SECOND + 1, 0, "updates are missing between 104 and 106, which follows on 105"},
    {9 * SECOND + 1, 106, ""},
    {10 * SECOND, 106, ""},
    {11 * SECOND, 107, ""},
};

static void expect_moment(const struct tape_source_books *books, const struct moment *moment)
{
    expect_book(books, "x@depth@0ms", moment->id, moment->cause ? moment->cause : no_stream);
}

static void test_books_as_of_a_time(void **state)
{
    (void)state;
    enum { MOMENTS = sizeof moments / sizeof *moments };
    write_story();
    struct tape_source_books *on = build(0);
    expect_count(on, 0);
    for (int i = 0; i < MOMENTS; i++) {
        struct tape_source_books *books = build(moments[i].after);
        expect_moment(books, &moments[i]);
        tape_source_books_free(books);
        advance(on, moments[i].after);
        expect_moment(on, &moments[i]);
        advance(on, moments[i].after);
        expect_moment(on, &moments[i]);
    }
    /* From any to any. */
    for (int i = 0; i < MOMENTS * MOMENTS; i++) {
        advance(on, moments[i * 7 % MOMENTS].after);
        expect_moment(on, &moments[i * 7 % MOMENTS]);
        advance(on, moments[i / MOMENTS].after);
        expect_moment(on, &moments[i / MOMENTS]);
    }
    tape_source_books_free(on);
    tape_source_books_free(NULL);
}

static void test_the_message(void **state)
{
    (void)state;
    write_story();
    diff("a@depth", 10 * SECOND, 5);
    text(1, 0, 10 * SECOND,
         "{\"stream\":\"x@depth5\",\"data\":{\"lastUpdateId\":7,\"bids\":[[\"1\",\"2\"]],"
         "\"asks\":[]}}");
    struct tape_source_books *books = build(11 * SECOND);
    struct tape_message message;
    expect_count(books, 3);
    expect_message(
        books, 0, 11 * SECOND, "a@depth",
        "{\"state\":true,\"known\":false,\"cause\":\"no snapshot was recorded before this time\"}");
    expect_message(books, 1, 11 * SECOND, "x@depth5",
                   "{\"state\":true,\"lastUpdateId\":7,\"bids\":[[\"1\",\"2\"]],\"asks\":[]}");
    expect_message(books, 2, 11 * SECOND, "x@depth@0ms",
                   "{\"state\":true,\"lastUpdateId\":107,\"E\":1107,\"bids\":[[\"1.5\",\"107\"]],"
                   "\"asks\":[[\"2\",\"9.0\"]]}");
    assert_int_equal(tape_source_books_message(books, 2, &message, &error), 1);
    assert_int_equal(message.ordinal, 11);
    assert_int_equal(message.archive, 0);
    tape_source_books_free(books);
}

static void test_looks_back_as_far_as_it_must(void **state)
{
    (void)state;
    diff("x@depth", 0, 9);
    snapshot("x@depth", 1, 9);
    diff("y@depth", 2, 8); /* never has one */
    diff("z@depth", 3, 50);
    int64_t hours = 30;
    for (int minute = 0, id = 10; minute < hours * 60; minute += 5, id++) {
        diff("x@depth", minute * MINUTE + 5, id);
        if (minute == 27 * 60)
            snapshot("w@depth", minute * MINUTE + 6, id - 1);
        diff("w@depth", minute * MINUTE + 7, id);
    }
    flush();
    struct tape_source_books *books = build(hours * HOUR);
    expect_book(books, "x@depth", 10 + hours * 12 - 1, "");
    expect_book(books, "w@depth", 10 + hours * 12 - 1, "");
    expect_book(books, "y@depth", 0, no_snapshot); /* met on the way */
    advance(books, hours * HOUR - MINUTE);
    expect_book(books, "w@depth", 10 + hours * 12 - 1, "");
    advance(books, 26 * HOUR);
    expect_book(books, "x@depth", 10 + 26 * 12 - 1, "");
    expect_book(books, "w@depth", 0, no_snapshot);
    tape_source_books_free(books);
    /* Of one that is known within ten minutes no more is read, so that the others are not met. */
    books = build_of(1, "w@*", 27 * HOUR + MINUTE);
    expect_book(books, "w@depth", 10 + 27 * 12, "");
    expect_count(books, 1);
    tape_source_books_free(books);
    books = build_of(1, "z@depth", 20 * MINUTE);
    expect_count(books, 0);
    tape_source_books_free(books);
}

static void test_ends_of_connections(void **state)
{
    (void)state;
    snapshot("x@depth", 1, 9);
    diff_by("x@depth", 1, 0, 2, 10);
    event(TAPE_RECORD_CONNECTION_CLOSE, 2, 3, "{}"); /* another one's */
    diff_by("x@depth", 3, 0, 4, 10);                 /* make before break */
    event(TAPE_RECORD_CONNECTION_CLOSE, 1, 5, "{}");
    diff_by("x@depth", 3, 0, 6, 11);
    event(TAPE_RECORD_CONNECTION_CLOSE, 3, 7, "{}");
    diff_by("x@depth", 4, 0, 8, 11); /* a duplicate proves nothing */
    diff_by("x@depth", 4, 0, 9, 12); /* nothing was missed */
    event(TAPE_RECORD_NOTE, 0, 10, "{\"kind\":\"silence\"}");
    event(TAPE_RECORD_NOTE, 0, 11, "{\"kind\":\"gap\",\"cause\":\"disk full\"}");
    diff_by("x@depth", 4, 0, 12, 13);
    event(TAPE_RECORD_SESSION_END, 0, 13, "{}");
    diff_by("x@depth", 5, 0, 14, 14);
    event(TAPE_RECORD_SESSION_START, 0, 15, "{}");
    diff_by("x@depth", 6, 0, 16, 16);
    const struct moment all[] = {
        {3, 10, ""},
        {4, 10, ""},
        {6, 10, ""},
        {7, 11, ""},
        {8, 0, ended},
        {9, 0, ended},
        {10, 12, ""},
        {11, 12, ""},
        {12, 0, "the recording has a gap, and no update has come since"},
        {13, 13, ""},
        {14, 0, stopped},
        {15, 14, ""},
        {16, 0, stopped},
        {17, 0, "updates are missing between 14 and 16, which follows on 15"},
    };
    struct tape_source_books *books = build(0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        advance(books, all[i].after);
        expect_book(books, "x@depth", all[i].id, all[i].cause);
    }
    advance(books, 8);
    expect_message(books, 0, 8, "x@depth",
                   "{\"state\":true,\"known\":false,"
                   "\"cause\":\"its connection ended, and no update has come since\"}");
    tape_source_books_free(books);
}

static void test_damaged_places(void **state)
{
    (void)state;
    char path[600];
    struct tape_source_books *books;
    snapshot("x@depth", 1, 9);
    diff("x@depth", 2, 10);
    flush();
    diff("x@trade", 3, 1);
    flush();
    diff("x@trade", 4, 1);
    flush();
    diff("x@depth", 5, 11);
    flush();
    assert_int_equal(tape_segment_seal(now->writer, NULL), 0);
    now->writer = NULL;
    struct tape_archive *archive = tape_archive_open(now->path, NULL);
    assert_int_equal(tape_archive_scan(archive, NULL), 1);
    struct tape_segment *segment =
        tape_archive_open_segment(archive, tape_archive_entry(archive, 0), NULL);
    long at = (long)tape_segment_entry(segment, 1)->offset + 90;
    tape_segment_close(segment);
    tape_archive_close(archive);
    snprintf(path, sizeof path, "%s/segments/%s", now->path, now->name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputs("damage", file);
    fclose(file);
    books = build(2);
    expect_book(books, "x@depth", 0,
                "no update has come yet that follows on the snapshot of update 9");
    for (int times = 0; times < 2; times++) {
        advance(books, 5 - times);
        expect_book(books, "x@depth", 0,
                    "a part of the recording is damaged, and no update has come since");
        advance(books, 6);
        expect_book(books, "x@depth", 11, "");
    }
    tape_source_books_free(books);
}

/* Levels of a whole snapshot: more than a partial depth stream's. */
static void nameless(int flags, int64_t after, int id, const char *symbol, int levels)
{
    char payload[2000];
    int bytes = snprintf(payload, sizeof payload, "{\"lastUpdateId\":%d,%s\"asks\":[],\"bids\":[",
                         id, symbol);
    for (int i = 0; i < levels; i++)
        bytes += snprintf(payload + bytes, 40, "%s[\"%d\",\"1\"]", i ? "," : "", i + 1);
    snprintf(payload + bytes, 4, "]}");
    text(1, flags, after, payload);
}

static void test_snapshots_of_captures(void **state)
{
    (void)state;
    diff_by("x@depth", 1, IMPORTED, 1, 10);
    nameless(0, 2, 9, "", 21);        /* not of a capture */
    nameless(IMPORTED, 3, 9, "", 20); /* may be partial depth */
    nameless(IMPORTED, 4, 9, "\"symbol\":\"Y\",", 21);
    nameless(IMPORTED, 5, 9, "", 21);
    diff_by("y@depth", 1, IMPORTED, 6, 10);
    nameless(IMPORTED, 7, 9, "", 21);
    nameless(IMPORTED, 8, 9, "\"symbol\":\"Y\",", 21);
    static const char mixed[] = "the capture's snapshots do not tell whose they are";
    const struct moment of_x[] = {
        {2, 0, no_snapshot}, {3, 0, no_snapshot}, {4, 0, no_snapshot}, {5, 0, no_snapshot},
        {6, 10, ""},         {7, 0, mixed},       {8, 0, mixed},       {9, 0, mixed},
    };
    struct tape_source_books *books = build(0), *of_y = build_of(1, "y@*", 9);
    for (size_t i = 0; i < sizeof of_x / sizeof *of_x; i++) {
        advance(books, of_x[i].after);
        expect_book(books, "x@depth", of_x[i].id, of_x[i].cause);
    }
    expect_book(books, "y@depth", 10, "");
    expect_book(of_y, "y@depth", 10, "");
    expect_count(of_y, 1);
    tape_source_books_free(books);
    tape_source_books_free(of_y);
    /* Of one that was selected the others count, too. */
    books = build_of(1, "x@*", 9);
    expect_book(books, "x@depth", 0, mixed);
    tape_source_books_free(books);
}

static void test_hostile_snapshots(void **state)
{
    static const char *const heads[] = {
        "",
        "{",
        "[]",
        "{\"status\":200}",
        "{\"status\":200,\"stream\":\"x@trade\"}",
        "{\"status\":429,\"stream\":\"x@depth\"}",
        "{\"stream\":\"x@depth\"}",
        "{\"status\":200,\"stream\":7}",
    };
    (void)state;
    diff("x@depth", 1, 10);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        snapshot_as(heads[i], 2, 9);
    event(TAPE_RECORD_SNAPSHOT, 1, 2, "{\"status\":200,\"stream\":\"x@depth\"}");
    event(TAPE_RECORD_SNAPSHOT, 1, 2, "{\"status\":200,\"stream\":\"x@depth\"}\n");
    event(TAPE_RECORD_SNAPSHOT, 1, 2, "{\"status\":200,\"stream\":\"x@depth\"}\n{\"bids\":[]}");
    event(TAPE_RECORD_SNAPSHOT, 1, 2, "\n");
    event(TAPE_RECORD_SNAPSHOT, 1, 2, "");
    event(TAPE_RECORD_NOTE, 1, 2, "\"");
    struct tape_source_books *books = build(3);
    expect_count(books, 1);
    expect_book(books, "x@depth", 0, no_snapshot);
    tape_source_books_free(books);
    /* A list that is none breaks the book, with the words for it. */
    event(TAPE_RECORD_SNAPSHOT, 1, 4,
          "{\"status\":200,\"stream\":\"x@depth\"}\n"
          "{\"lastUpdateId\":9,\"bids\":[[\"\\u0007\\\"\",\"1\"]],\"asks\":[]}");
    books = build(5);
    expect_message(books, 0, 5, "x@depth",
                   "{\"state\":true,\"known\":false,\"cause\":\"update 9 has the level "
                   "\\\"?u0007??\\\", \\\"1\\\", which is not a price and a quantity of up to 18 "
                   "digits\"}");
    tape_source_books_free(books);
}

static void test_symbols(void **state)
{
    const char *cause;
    (void)state;
    diff("btcusdt@depth@0ms", 1, 10);
    diff("btcusdt@depth@100ms", 1, 20);
    diff("btcusdt@rpiDepth@500ms", 1, 30);
    diff("btcusdtx@depth", 1, 40);
    text(1, 0, 1,
         "{\"stream\":\"btcusdt@depth5\",\"data\":{\"lastUpdateId\":50,\"bids\":[],\"asks\":[]}}");
    struct tape_source_books *books = build(2);
    expect_count(books, 5);
    assert_null(tape_source_books_symbol(books, "BTCUSDT", &cause));
    assert_string_equal(cause, no_snapshot);
    assert_null(tape_source_books_symbol(books, "BTC", &cause));
    assert_string_equal(cause, no_stream);
    assert_null(tape_source_books_symbol(books, "", &cause));
    snapshot("btcusdt@depth@100ms", 3, 20);
    snapshot("btcusdt@rpiDepth@500ms", 3, 30);
    advance(books, 4);
    const struct tape_book *book = tape_source_books_symbol(books, "BTCUSDT", &cause);
    assert_non_null(book);
    assert_int_equal(tape_book_last_id(book), 20);
    assert_string_equal(cause, "");
    /* The newer of two. */
    snapshot("btcusdt@depth@0ms", 5, 10);
    diff("btcusdt@depth@0ms", 5, 11);
    advance(books, 6);
    assert_int_equal(tape_book_last_id(tape_source_books_symbol(books, "btcusdt", NULL)), 20);
    for (int id = 12; id < 22; id++)
        diff("btcusdt@depth@0ms", 7, id);
    advance(books, 8);
    assert_int_equal(tape_book_last_id(tape_source_books_symbol(books, "btcusdt", NULL)), 21);
    tape_source_books_free(books);
}

static void test_more_is_recorded(void **state)
{
    (void)state;
    snapshot("x@depth", 1, 9);
    diff("x@depth", 2, 10);
    struct tape_source_books *books = build(10);
    expect_book(books, "x@depth", 10, "");
    diff("x@depth", 11, 11);
    diff("x@depth", 11, 12);
    advance(books, 12);
    expect_book(books, "x@depth", 12, "");
    diff("x@depth", 11, 13); /* at the stamp that was met last */
    diff("x@depth", 20, 14);
    advance(books, 20);
    expect_book(books, "x@depth", 13, "");
    advance(books, 21);
    expect_book(books, "x@depth", 14, "");
    /* In a segment of its own. */
    assert_int_equal(tape_segment_seal(now->writer, NULL), 0);
    now->writer = tape_archive_create_segment(now->archive, 2, made_ns, now->name, &error);
    assert_non_null(now->writer);
    diff("x@depth", 22, 15);
    advance(books, 23);
    expect_book(books, "x@depth", 15, "");
    tape_source_books_free(books);
}

static void test_events_out_of_their_time(void **state)
{
    (void)state;
    diff("x@depth", 1, 10);
    diff("x@depth", 2, 11);
    snapshot("x@depth", 100, 9); /* stamped later than what comes after it */
    diff("x@depth", 5, 12);
    struct tape_source_books *books = build(6);
    expect_book(books, "x@depth", 12, "");
    advance(books, 3);
    expect_book(books, "x@depth", 0, no_snapshot); /* nothing shows that it was before that */
    snapshot("x@depth", 100, 12);
    event(TAPE_RECORD_CONNECTION_CLOSE, 1, 6, "{}"); /* came after it, whatever its stamp */
    advance(books, 10);
    expect_book(books, "x@depth", 12, "");
    advance(books, 101);
    expect_book(books, "x@depth", 0, ended);
    tape_source_books_free(books);
}

static void test_nothing_is_left_of_another_reading(void **state)
{
    (void)state;
    diff("x@depth@0ms", 1, 10);
    diff("x@depth", 1, 20);
    snapshot("x@depth@0ms", 2, 9);
    event(TAPE_RECORD_CONNECTION_CLOSE, 1, 3, "{}");
    struct tape_source_books *books = build(4);
    expect_book(books, "x@depth@0ms", 0, ended);
    expect_book(books, "x@depth", 0, no_snapshot);
    expect_count(books, 2);
    advance(books, 3);
    expect_book(books, "x@depth@0ms", 10, "");
    tape_source_books_free(books);
}

static void test_several_archives(void **state)
{
    (void)state;
    /* Each misses what the other has; both together have all. */
    snapshot("x@depth", 1, 9);
    diff("x@depth", 2, 10);
    diff("x@depth", 3, 11);
    event(TAPE_RECORD_CONNECTION_CLOSE, 1, 4, "{}");
    diff("x@depth", 8, 15);
    flush();
    begin(1);
    diff("x@depth", 3, 11);
    diff("x@depth", 5, 12);
    diff("x@depth", 6, 13);
    diff("x@depth", 7, 14);
    event(TAPE_RECORD_CONNECTION_CLOSE, 1, 9, "{}");
    struct tape_source_books *books = build_of(2, NULL, 6);
    struct tape_message message;
    expect_book(books, "x@depth", 12, "");
    assert_int_equal(tape_source_books_message(books, 0, &message, &error), 1);
    assert_int_equal(message.archive, 1);
    assert_int_equal(message.ordinal, 1);
    advance(books, 10);
    expect_book(books, "x@depth", 15, "");
    advance(books, 5);
    expect_book(books, "x@depth", 11, ""); /* the other's connection is still there */
    tape_source_books_free(books);
}

/* Where a capture begins with its snapshot, that is of the stream that comes. */
static void test_a_capture_that_begins_with_its_snapshot(void **state)
{
    static const char mixed[] = "the capture's snapshots do not tell whose they are";
    (void)state;
    nameless(IMPORTED, 1, 5, "", 21);
    nameless(IMPORTED, 2, 9, "", 21);
    diff_by("x@depth", 1, IMPORTED, 3, 9);
    diff_by("x@depth", 1, IMPORTED, 4, 10);
    diff_by("y@depth", 1, IMPORTED, 5, 10);
    flush();
    begin(1);
    nameless(IMPORTED, 2, 9, "\"symbol\":\"Y\",", 21);
    diff_by("x@depth", 1, IMPORTED, 3, 10);
    struct tape_source_books *books = build_of(1, NULL, 3), *other;
    expect_count(books, 0);
    advance(books, 4);
    expect_book(books, "x@depth", 9, "");
    advance(books, 5);
    expect_book(books, "x@depth", 10, "");
    advance(books, 6);
    expect_book(books, "x@depth", 0, mixed);
    tape_source_books_free(books);
    const char *second = recorders[1].path;
    flush();
    other = tape_source_books_build(&second, 1, NULL, made_ns + 4, &error);
    assert_non_null(other);
    expect_book(other, "x@depth", 0, no_snapshot); /* it is another one's */
    tape_source_books_free(other);
}

/* A snapshot without a name is of the streams that its own archive has, whoever gave their last
 * update, and of no others. */
static void test_captures_side_by_side(void **state)
{
    static const char mixed[] = "the capture's snapshots do not tell whose they are";
    (void)state;
    diff_by("x@depth", 1, IMPORTED, 1, 10);
    nameless(IMPORTED, 3, 10, "", 21);
    diff_by("x@depth", 1, IMPORTED, 4, 11);
    diff_by("y@depth", 1, IMPORTED, 8, 10);
    flush();
    begin(1);
    diff_by("x@depth", 1, IMPORTED, 2, 10);
    diff_by("x@depth@100ms", 1, IMPORTED, 2, 10);
    diff_by("x@depth", 1, IMPORTED, 5, 11);
    diff_by("x@depth", 1, IMPORTED, 7, 12);
    struct tape_source_books *books = build_of(2, NULL, 6);
    expect_book(books, "x@depth", 11, "");
    expect_book(books, "x@depth@100ms", 0, no_snapshot);
    advance(books, 8);
    expect_book(books, "x@depth", 12, "");
    advance(books, 9);
    expect_book(books, "x@depth", 0, mixed);
    tape_source_books_free(books);
}

static void test_what_one_archive_has_late(void **state)
{
    (void)state;
    /* The first loses 12 and 13 when it connects anew, the second is late by 100 ns. */
    snapshot("x@depth", 1, 9);
    for (int id = 10; id < 30; id++) {
        if (id != 12 && id != 13)
            diff_by("x@depth", id < 12 ? 1 : 2, 0, 10 * id, id);
        if (id == 11)
            event(TAPE_RECORD_CONNECTION_CLOSE, 1, 10 * id + 5, "{}");
    }
    flush();
    begin(1);
    for (int id = 1; id < 18; id++)
        diff("x@depth", 10 * id + 100, id);
    struct tape_source_books *books = build_of(2, NULL, 130);
    expect_book(books, "x@depth", 11, "");
    advance(books, 141);
    static const char missing[] = "updates are missing between 11 and 14, which follows on 13";
    expect_book(books, "x@depth", 0, missing);
    advance(books, 221);
    expect_book(books, "x@depth", 0, "updates are missing between 12 and 14, which follows on 13");
    advance(books, 231);
    expect_book(books, "x@depth", 23, "");
    advance(books, 1000);
    expect_book(books, "x@depth", 29, "");
    tape_source_books_free(books);
    /* Neither has them all. */
    books = build_of(1, NULL, 1000);
    expect_book(books, "x@depth", 0, missing);
    tape_source_books_free(books);
}

/* As diff_by(), without a wrapper; of spot without "pu". */
static void bare_by(const char *symbol, uint32_t connection, int flags, int64_t after, int last,
                    int futures)
{
    char payload[300], pu[40] = "";
    if (futures)
        snprintf(pu, sizeof pu, "\"pu\":%d,", last - 1);
    snprintf(payload, sizeof payload,
             "{\"e\":\"depthUpdate\",\"E\":%d,\"s\":\"%s\",\"U\":%d,\"u\":%d,%s"
             "\"b\":[[\"1.5\",\"%d\"]],\"a\":[]}",
             1000 + last, symbol, last, last, pu, last);
    text(connection, flags, after, payload);
}

static void bare(const char *symbol, uint32_t connection, int64_t after, int last, int futures)
{
    bare_by(symbol, connection, 0, after, last, futures);
}

static void test_messages_without_a_wrapper(void **state)
{
    (void)state;
    event(TAPE_RECORD_HANDSHAKE_REQUEST, 1, 1, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n");
    event(TAPE_RECORD_SUBSCRIPTION_ASKED, 1, 1,
          "{\"id\":1,\"streams\":[\"x@depth@0ms\",\"x@trade\",\"y@depth20\",\"yy@depth\"]}");
    snapshot("x@depth@0ms", 2, 9);
    bare("X", 1, 3, 10, 1);
    bare("Y", 1, 4, 77, 1); /* a partial book in a diff's layout */
    bare("YY", 1, 5, 78, 1);
    bare("Z", 1, 6, 79, 1);
    text(1, 0, 7, "{\"e\":\"trade\",\"s\":\"X\",\"t\":1}");
    struct tape_source_books *books = build(8);
    expect_count(books, 3);
    expect_book(books, "x@depth@0ms", 10, "");
    expect_book(books, "y@depth20", 77, "");
    expect_book(books, "yy@depth", 0, no_snapshot);
    /* A connection that was asked for two streams of one symbol. */
    event(TAPE_RECORD_HANDSHAKE_REQUEST, 2, 10,
          "GET /ws/x@depth20/x@depth@0ms?a=/w@depth HTTP/1.1\r\nHost: x\r\n\r\n");
    bare("X", 2, 11, 11, 1);
    advance(books, 12);
    expect_count(books, 3);
    expect_book(books, "x@depth@0ms", 10, "");
    bare("X", 2, 13, 11, 0); /* of spot, where partial books have no "e" */
    text(2, 0, 14, "{\"lastUpdateId\":5,\"bids\":[[\"1\",\"2\"]],\"asks\":[]}");
    advance(books, 15);
    expect_count(books, 4);
    expect_book(books, "x@depth@0ms", 0, "an update after 10 does not tell which updates it holds");
    expect_book(books, "x@depth20", 5, "");
    /* Late, after its end. */
    event(TAPE_RECORD_CONNECTION_CLOSE, 2, 16, "{}");
    text(2, 0, 17, "{\"lastUpdateId\":6,\"bids\":[[\"1\",\"2\"]],\"asks\":[]}");
    advance(books, 18);
    expect_book(books, "x@depth20", 6, "");
    tape_source_books_free(books);
    books = build_of(1, "x*", 8);
    expect_count(books, 1);
    tape_source_books_free(books);
}

static void test_captures_without_a_wrapper(void **state)
{
    (void)state;
    bare_by("X", 0, IMPORTED, 1, 10, 0);
    nameless(IMPORTED, 2, 9, "", 21);
    bare_by("X", 0, IMPORTED, 3, 11, 0);
    struct tape_source_books *books = build(4);
    expect_count(books, 1);
    expect_book(books, "x@depth", 11, "");
    assert_non_null(tape_source_books_symbol(books, "X", NULL));
    /* Of futures it may be a partial book. */
    bare_by("Y", 0, IMPORTED, 5, 12, 1);
    advance(books, 6);
    expect_count(books, 1);
    expect_book(books, "x@depth", 11, "");
    tape_source_books_free(books);
}

static void test_asked_for_long_ago(void **state)
{
    (void)state;
    event(TAPE_RECORD_HANDSHAKE_REQUEST, 1, 0, "GET /ws/x@depth HTTP/1.1\r\n\r\n");
    bare("X", 2, 1, 500, 1); /* nobody knows of which */
    bare("X", 1, 1, 9, 1);
    flush();
    for (int64_t hour = 1; hour < 40; hour++) {
        if (hour == 30)
            snapshot("x@depth", hour * HOUR - 1, 8 + (int)hour);
        bare("X", 1, hour * HOUR, 9 + (int)hour, 1);
        flush();
    }
    struct tape_source_books *books = build(39 * HOUR + 1);
    expect_book(books, "x@depth", 48, "");
    advance(books, 35 * HOUR + 1);
    expect_book(books, "x@depth", 44, "");
    advance(books, 29 * HOUR + 1);
    expect_book(books, "x@depth", 0, no_snapshot);
    tape_source_books_free(books);
}

static void test_what_cannot_be_built(void **state)
{
    (void)state;
    const char *paths[] = {"/nowhere/at/all"};
    assert_null(tape_source_books_build(paths, 0, NULL, 1, &error));
    assert_string_equal(error.text, "books are of 1 to 64 archives, not 0");
    assert_int_equal(error.status, TAPE_USAGE);
    assert_null(tape_source_books_build(paths, 65, NULL, 1, &error));
    assert_null(tape_source_books_build(paths, 1, NULL, 1, &error));
    assert_true(error.status < 0);
    assert_memory_equal(error.text, "the books of depth streams: ", 28);
    assert_null(tape_source_books_build(paths, 1, NULL, 1, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_books_as_of_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_looks_back_as_far_as_it_must, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_of_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_snapshots_of_captures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_snapshots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_symbols, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_is_recorded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_out_of_their_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_left_of_another_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several_archives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_capture_that_begins_with_its_snapshot, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_captures_side_by_side, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_one_archive_has_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_messages_without_a_wrapper, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_captures_without_a_wrapper, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_asked_for_long_ago, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_built, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
