#include "replay/faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/archive.h"
#include "format/pack.h"
#include "format/ring.h"
#include "format/ws.h"
#include "replay/faults_internal.h"
#include "tests/unit/make_records.h"

#define MS     1000000ll
#define SECOND (1000 * MS)

static char directory[256], archive_path[300];

/* ---- archives ---- */

static struct maker {
    struct tape_archive *archive;
    struct tape_ring *ring; /* NULL, or what a follower reads */
    struct tape_block_builder *builder;
    struct tape_pack *pack; /* NULL, or what makes blocks in place of builder */
    struct tape_segment_writer *writer;
    uint64_t next_ordinal;
    char ring_path[320];
} maker;

static void begin_archive(int packed)
{
    struct tape_error error;
    char name[TAPE_ARCHIVE_NAME_BYTES];
    maker = (struct maker){.archive = tape_archive_create(archive_path, &error)};
    if (!maker.archive)
        fail_msg("%s", error.text);
    maker.builder = tape_block_builder_new();
    maker.pack = packed ? tape_pack_new(TAPE_PACK_WARM) : NULL;
    maker.writer = tape_archive_create_segment(maker.archive, 1, made_ns, name, &error);
    if (!maker.writer)
        fail_msg("%s", error.text);
}

/* A recorder that followers meet. */
static void begin_live_archive(void)
{
    begin_archive(0);
    snprintf(maker.ring_path, sizeof maker.ring_path, "%s/ring", directory);
    maker.ring =
        tape_ring_create(maker.ring_path, 1 << 20, tape_archive_id(maker.archive), 0, NULL);
    assert_non_null(maker.ring);
    assert_int_equal(tape_archive_set_owner(maker.archive, maker.ring_path, made_ns, NULL), 0);
}

static void flush_block(void)
{
    struct tape_block_header header;
    uint8_t *stored;
    assert_int_equal(maker.pack ? tape_pack_seal(maker.pack, &header, &stored, NULL)
                                : tape_block_seal(maker.builder, 1, 1, &header, &stored, NULL),
                     0);
    header.realtime_minus_monotonic_ns = 0;
    assert_int_equal(tape_segment_append(maker.writer, &header, stored, NULL, 0, 0, NULL), 0);
}

static int append(const struct tape_record *record)
{
    return maker.pack ? tape_pack_append(maker.pack, record, NULL)
                      : tape_block_append(maker.builder, record, NULL);
}

static void put(int kind, uint32_t connection, int64_t recv_ns, const void *body, size_t bytes)
{
    struct tape_record record = {
        .ordinal = maker.next_ordinal++,
        .recv_ns = recv_ns,
        .connection = connection,
        .bytes = (uint32_t)bytes,
        .kind = (uint8_t)kind,
        .data = body,
    };
    if (maker.ring) {
        uint8_t *room = tape_ring_reserve(maker.ring, bytes);
        assert_non_null(room);
        memcpy(room, body, bytes);
        tape_ring_publish(maker.ring, &record);
    }
    if (append(&record) == 1)
        return;
    flush_block();
    assert_int_equal(append(&record), 1);
}

static void put_frame(uint32_t connection, int64_t recv_ns, int opcode, int fin, const char *text,
                      size_t bytes)
{
    uint8_t *frame = malloc(bytes + TAPE_WS_HEADER_MAX_BYTES);
    size_t header = tape_ws_build(frame, opcode, fin, bytes, NULL);
    memcpy(frame + header, text, bytes);
    put(TAPE_RECORD_FRAME_IN, connection, recv_ns, frame, header + bytes);
    free(frame);
}

static void put_text(uint32_t connection, int64_t recv_ns, const char *text)
{
    put_frame(connection, recv_ns, TAPE_WS_TEXT, 1, text, strlen(text));
}

/* A message of a stream that is called by a name. */
static void put_named(uint32_t connection, int64_t recv_ns, const char *stream, const char *name)
{
    char text[200];
    snprintf(text, sizeof text, "{\"stream\":\"%s\",\"data\":{\"n\":\"%s\"}}", stream, name);
    put_text(connection, recv_ns, text);
}

static void put_event(int kind, uint32_t connection, int64_t recv_ns, const char *body)
{
    put(kind, connection, recv_ns, body, strlen(body));
}

static void end_archive(void)
{
    flush_block();
    assert_int_equal(tape_segment_seal(maker.writer, NULL), 0);
    tape_block_builder_free(maker.builder);
    tape_pack_free(maker.pack);
    if (maker.ring) {
        tape_ring_close(maker.ring);
        unlink(maker.ring_path);
        tape_ring_free(maker.ring);
    }
    tape_archive_close(maker.archive);
    maker = (struct maker){0};
}

/* Names and times: "a1 b2 a3": message a1 of stream a at 1 ms after made_ns, and so on, all of
 * connection 1 but those in capitals, which are of connection 2. */
static void make_archive(const char *words)
{
    begin_archive(0);
    for (const char *at = words; *at; at += strspn(at, " ")) {
        char name[40], stream[20];
        size_t bytes = strcspn(at, " "), letters = strcspn(at, "0123456789");
        snprintf(name, sizeof name, "%.*s", (int)bytes, at);
        snprintf(stream, sizeof stream, "%.*s", (int)letters, at);
        put_named(*at >= 'a' ? 1 : 2, made_ns + atoll(at + letters) * MS, stream, name);
        at += bytes;
    }
    end_archive();
}

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(archive_path, sizeof archive_path, "%s/archive", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(directory);
    return 0;
}

/* ---- what a run gives, as words ---- */

static struct play {
    struct tape_faults *faults;
    struct tape_faults_run *run;
    struct tape_source *source;
    struct tape_faults_totals totals;
} play;

static void begin_play(const char *rules, const struct tape_source_options *wanted)
{
    struct tape_error error = {0};
    struct tape_source_options asked = wanted ? *wanted : (struct tape_source_options){0};
    play.faults = tape_faults_parse(rules, strlen(rules), "f", &error);
    if (!play.faults)
        fail_msg("%s", error.text);
    tape_faults_resolve(play.faults, made_ns);
    asked.events |= tape_faults_needs_events(play.faults);
    play.run = tape_faults_begin(play.faults, wanted, &error);
    play.source = tape_source_open(archive_path, &asked, &error);
    if (!play.source)
        fail_msg("%s", error.text);
}

static void end_play(void)
{
    tape_faults_read_totals(play.run, &play.totals);
    tape_faults_end(play.run);
    tape_source_close(play.source);
    tape_faults_free(play.faults);
}

static int next_item(struct tape_faults_item *item)
{
    struct tape_error error = {0};
    int got = tape_faults_next(play.run, play.source, item, &error);
    if (got < 0)
        fail_msg("%s", error.text);
    return got;
}

/* "a1", "a1+5" where it leaves 5 ms after its stamp, "cut1/1001@7" with connection, code and ms;
 * messages without a name as their kind. */
static size_t put_item(char *to, size_t room, const struct tape_faults_item *item)
{
    const struct tape_message *message = &item->message;
    if (item->action == TAPE_FAULTS_CUT)
        return (size_t)snprintf(to, room, "cut%u/%u@%lld ", item->connection, item->close_code,
                                (long long)((item->at_ns - made_ns) / MS));
    const char *name = memmem(message->payload.data, message->payload.bytes, "\"n\":\"", 5);
    size_t used = name && message->kind == TAPE_FEED_DATA
                      ? (size_t)snprintf(to, room, "%.*s", (int)strcspn(name + 5, "\""), name + 5)
                      : (size_t)snprintf(to, room, "%s", tape_feed_kind_word(message->kind));
    if (item->at_ns != message->recv_ns)
        used += (size_t)snprintf(to + used, room - used, "%+lld",
                                 (long long)((item->at_ns - message->recv_ns) / MS));
    return used + (size_t)snprintf(to + used, room - used, " ");
}

static char given[100000];

static const char *rest_of_play(void)
{
    struct tape_faults_item item;
    size_t used = 0;
    given[0] = '\0';
    while (next_item(&item) == 1)
        used += put_item(given + used, sizeof given - used, &item);
    assert_int_equal(next_item(&item), 0);
    if (used > 0)
        given[used - 1] = '\0';
    return given;
}

static const char *played_as(const char *rules, const struct tape_source_options *wanted)
{
    begin_play(rules, wanted);
    rest_of_play();
    end_play();
    return given;
}

static const char *played(const char *rules)
{
    return played_as(rules, NULL);
}

#define RULES(inside) "{\"rules\":[" inside "]}"
#define EXPECT_TOTALS(...)                                                                         \
    do {                                                                                           \
        struct tape_faults_totals expected = {__VA_ARGS__};                                        \
        assert_memory_equal(&play.totals, &expected, sizeof expected);                             \
    } while (0)

/* ---- one kind at a time ---- */

static void without_rules_nothing_happens(void **state)
{
    (void)state;
    make_archive("a1 b1 a2 A3 a3");
    assert_string_equal(played("{\"recorded\":true}"), "a1 b1 a2 A3 a3");
    EXPECT_TOTALS(.cuts = 0);
}

static void dropped(void **state)
{
    (void)state;
    make_archive("a1 b2 a3 A4 b5");
    assert_string_equal(played(RULES("{\"streams\":\"a*\",\"drop\":{\"probability\":1}}")),
                        "b2 A4 b5");
    EXPECT_TOTALS(.dropped = 2);
    assert_string_equal(played(RULES("{\"drop\":{\"probability\":1}}")), "");
    assert_string_equal(played(RULES("{\"drop\":{\"probability\":0}}")), "a1 b2 a3 A4 b5");
    EXPECT_TOTALS(.dropped = 0);
}

static void delayed(void **state)
{
    (void)state;
    make_archive("a10 b11 b14 b15 b16 a20 b21");
    /* before the first later message at or after its time; at the end when its time comes */
    assert_string_equal(
        played(RULES(
            "{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"5ms\",\"max\":\"5ms\"}}")),
        "b11 b14 a10+5 b15 b16 b21 a20+5");
    EXPECT_TOTALS(.delayed = 2);
    assert_string_equal(
        played(RULES(
            "{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"4ms\",\"max\":\"4ms\"}}")),
        "b11 a10+4 b14 b15 b16 b21 a20+4");
    /* two rules add up */
    assert_string_equal(
        played(RULES(
            "{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"1ms\",\"max\":\"1ms\"}},"
            "{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"3ms\",\"max\":\"3ms\"}}")),
        "b11 a10+4 b14 b15 b16 b21 a20+4");
    EXPECT_TOTALS(.delayed = 4);
    /* all by the same: nothing changes but the times */
    assert_string_equal(
        played(RULES("{\"delay\":{\"probability\":1,\"min\":\"3ms\",\"max\":\"3ms\"}}")),
        "a10+3 b11+3 b14+3 b15+3 b16+3 a20+3 b21+3");
}

static void equal_times_keep_their_order(void **state)
{
    (void)state;
    make_archive("a1 b1 a1 c3 a4 c4");
    assert_string_equal(
        played(RULES(
            "{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"3ms\",\"max\":\"3ms\"}},"
            "{\"streams\":\"c\",\"delay\":{\"probability\":1,\"min\":\"4ms\",\"max\":\"4ms\"}}")),
        "b1 a1+3 a1+3 c3+4 a4+3 c4+4");
}

static void duplicated(void **state)
{
    (void)state;
    make_archive("a1 b1 a2 b5");
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"duplicate\":{\"probability\":1}}")),
                        "a1 a1 b1 a2 a2 b5");
    EXPECT_TOTALS(.duplicated = 2);
    assert_string_equal(
        played(RULES("{\"streams\":\"a\",\"duplicate\":{\"probability\":1,\"after\":\"2ms\"}}")),
        "a1 b1 a2 a1+2 a2+2 b5");
    /* copies are not doubled again */
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"duplicate\":{\"probability\":1}},"
                                     "{\"streams\":\"a\",\"duplicate\":{\"probability\":1}}")),
                        "a1 a1 a1 b1 a2 a2 a2 b5");
    EXPECT_TOTALS(.duplicated = 4);
    /* rules below see each copy: all are dropped, all are counted */
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"duplicate\":{\"probability\":1}},"
                                     "{\"streams\":\"a\",\"drop\":{\"probability\":1}}")),
                        "b1 b5");
    EXPECT_TOTALS(.duplicated = 2, .dropped = 4);
    /* rules above were there before it */
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"drop\":{\"probability\":1}},"
                                     "{\"streams\":\"a\",\"duplicate\":{\"probability\":1}}")),
                        "b1 b5");
    EXPECT_TOTALS(.dropped = 2);
    /* a copy of what is late already is late as well */
    assert_string_equal(
        played(RULES(
            "{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"1ms\",\"max\":\"1ms\"}},"
            "{\"streams\":\"a\",\"duplicate\":{\"probability\":1,\"after\":\"1ms\"}}")),
        "b1 a1+1 a1+2 a2+1 a2+2 b5");
}

static void reordered(void **state)
{
    (void)state;
    make_archive("a1 b2 b3 a4 b5 a6 a9");
    /* behind the next of its stream; nothing else moves; at the end what waits leaves at last */
    assert_string_equal(
        played(RULES("{\"to\":\"+4ms\",\"streams\":\"a\",\"reorder\":{\"probability\":1}}")),
        "b2 b3 a4 a1+3 b5 a6 a9");
    EXPECT_TOTALS(.reordered = 1);
    assert_string_equal(
        played(RULES("{\"from\":\"+6ms\",\"streams\":\"a\",\"reorder\":{\"probability\":1}}")),
        "a1 b2 b3 a4 b5 a6+3 a9");
    /* two rules add up: behind the second one after it */
    assert_string_equal(
        played(RULES("{\"to\":\"+4ms\",\"streams\":\"a\",\"reorder\":{\"probability\":1}},"
                     "{\"to\":\"+4ms\",\"streams\":\"a\",\"reorder\":{\"probability\":1}}")),
        "b2 b3 a4 b5 a6 a1+5 a9");
    EXPECT_TOTALS(.reordered = 2);
    /* and a delay counts from there */
    assert_string_equal(
        played(RULES("{\"to\":\"+4ms\",\"streams\":\"a\",\"reorder\":{\"probability\":1}},"
                     "{\"to\":\"+4ms\",\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":"
                     "\"1ms\",\"max\":\"1ms\"}}")),
        "b2 b3 a4 a1+4 b5 a6 a9");
    /* what is dropped passes all the same */
    assert_string_equal(
        played(RULES("{\"to\":\"+4ms\",\"streams\":\"a\",\"reorder\":{\"probability\":1}},"
                     "{\"from\":\"+4ms\",\"to\":\"+5ms\",\"drop\":{\"probability\":1}}")),
        "b2 b3 a1+3 b5 a6 a9");
}

static void windows_are_half_open(void **state)
{
    (void)state;
    make_archive("a1 a2 a3 a4");
    assert_string_equal(
        played(RULES("{\"from\":\"+2ms\",\"to\":\"+4ms\",\"drop\":{\"probability\":1}}")), "a1 a4");
    assert_string_equal(played(RULES("{\"from\":\"1795600000002000000\",\"to\":\"2026-11-25T09:46:"
                                     "40.003Z\",\"drop\":{\"probability\":1}}")),
                        "a1 a3 a4");
}

/* ---- cuts ---- */

static void cut_by_chance(void **state)
{
    (void)state;
    make_archive("a1 A2 a3 B4");
    assert_string_equal(
        played(RULES("{\"streams\":\"A,a\",\"cut\":{\"probability\":1,\"code\":1001}}")),
        "a1 cut1/1001@1 A2 cut2/1001@2 a3 cut1/1001@3 B4");
    EXPECT_TOTALS(.cuts = 3);
    /* after what leaves with the message, once, by the first rule; not with what was dropped */
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"drop\":{\"probability\":1}},"
                                     "{\"duplicate\":{\"probability\":1}},"
                                     "{\"cut\":{\"probability\":1}},"
                                     "{\"cut\":{\"probability\":1,\"code\":1001}}")),
                        "A2 A2 cut2/0@2 B4 B4 cut2/0@4");
    EXPECT_TOTALS(.dropped = 2, .duplicated = 2, .cuts = 2);
    /* a connection is cut when it is, however late its message */
    assert_string_equal(
        played(RULES("{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"4ms\",\"max\":"
                     "\"4ms\"}},{\"streams\":\"a\",\"cut\":{\"probability\":1}}")),
        "cut1/0@1 A2 cut1/0@3 B4 a1+4 a3+4");
}

static void cut_by_the_time(void **state)
{
    (void)state;
    make_archive("a1 A2 a3 a9 a10 A11 A40 a41");
    /* before the first message at or after its time, and only what gave something since the last */
    assert_string_equal(played(RULES("{\"cut\":{\"every\":\"10ms\"}}")),
                        "a1 A2 a3 a9 cut1/0@10 cut2/0@10 a10 A11 cut1/0@20 cut2/0@20 A40 a41");
    EXPECT_TOTALS(.cuts = 4);
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"cut\":{\"every\":\"10ms\"}}")),
                        "a1 A2 a3 a9 cut1/0@10 a10 A11 cut1/0@20 A40 a41");
    assert_string_equal(
        played(RULES("{\"cut\":{\"at\":[\"+9ms\",\"+2ms\",\"+100ms\",\"+41ms\"],\"code\":1012}}")),
        "a1 cut1/1012@2 A2 a3 cut1/1012@9 cut2/1012@9 a9 a10 A11 A40 cut1/1012@41 cut2/1012@41 "
        "a41");
    /* periods count from the window's begin; times outside of it are none */
    assert_string_equal(
        played(RULES("{\"from\":\"+2ms\",\"to\":\"+22ms\",\"cut\":{\"every\":\"10ms\"}}")),
        "a1 A2 a3 a9 a10 A11 cut1/0@12 cut2/0@12 A40 a41");
    assert_string_equal(
        played(RULES("{\"from\":\"+2ms\",\"to\":\"+12ms\",\"cut\":{\"every\":\"10ms\"}}")),
        "a1 A2 a3 a9 a10 A11 A40 a41");
    assert_string_equal(played(RULES("{\"from\":\"+3ms\",\"to\":\"+9ms\",\"cut\":{\"at\":[\"+2ms\","
                                     "\"+3ms\",\"+8ms\",\"+9ms\"]}}")),
                        "a1 A2 cut1/0@3 cut2/0@3 a3 cut1/0@8 a9 a10 A11 A40 a41");
    /* two rules of one time: the first one first; each has its own connections */
    assert_string_equal(
        played(RULES("{\"streams\":\"A\",\"cut\":{\"at\":[\"+3ms\"],\"code\":1001}},"
                     "{\"streams\":\"a\",\"cut\":{\"at\":[\"+3ms\"]}}")),
        "a1 A2 cut2/1001@3 cut1/0@3 a3 a9 a10 A11 A40 a41");
    /* what a rule above dropped gave nothing */
    assert_string_equal(played(RULES("{\"streams\":\"a\",\"drop\":{\"probability\":1}},"
                                     "{\"cut\":{\"at\":[\"+9ms\"]}}")),
                        "A2 cut2/0@9 A11 A40");
    /* before a delayed message of that time */
    assert_string_equal(
        played(RULES("{\"to\":\"+2ms\",\"delay\":{\"probability\":1,\"min\":\"4ms\",\"max\":"
                     "\"4ms\"}},{\"cut\":{\"at\":[\"+5ms\",\"+6ms\"]}}")),
        "A2 a3 cut1/0@5 cut2/0@5 a1+4 a9 a10 A11 A40 a41");
}

static const char *const ends[] = {
    "{\"opened\":true,\"cause\":\"peer_close\",\"by\":\"venue\",\"code\":1001}",
    "{\"opened\":true,\"cause\":\"reset\",\"by\":\"network\",\"code\":0,\"errno\":104}",
    "{\"opened\":true,\"cause\":\"peer_close\",\"by\":\"venue\",\"code\":1005}",
    "{\"opened\":true,\"cause\":\"protocol\",\"by\":\"us\",\"code\":1002}",
    "{\"opened\":true,\"cause\":\"peer_close\",\"by\":\"venue\",\"code\":99999}",
    "{\"opened\":true,\"cause\":\"shutdown\",\"by\":\"us\",\"code\":0}",
    "{\"opened\":true,\"cause\":\"renewal\",\"by\":\"us\",\"code\":0}",
    "{\"opened\":false,\"cause\":\"http\",\"by\":\"venue\",\"code\":503}",
    "no object",
};

static void make_ended_archive(void)
{
    begin_archive(0);
    put_event(TAPE_RECORD_CONNECTION_OPEN, 1, made_ns, "{}");
    put_text(1, made_ns, "{\"result\":null,\"id\":1}");
    for (int i = 0; i < (int)(sizeof ends / sizeof *ends); i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        put_named((uint32_t)i + 1, made_ns + i * MS, "a", name);
        put_event(TAPE_RECORD_CONNECTION_CLOSE, (uint32_t)i + 1, made_ns + i * MS, ends[i]);
    }
    end_archive();
}

static void recorded_ends(void **state)
{
    static const char cut[] = "a0 cut1/1001@0 a1 cut2/0@1 a2 cut3/1005@2 a3 cut4/0@3 a4 cut5/0@4 "
                              "a5 a6 a7 a8";
    char with_answer[200];
    (void)state;
    make_ended_archive();
    snprintf(with_answer, sizeof with_answer, "ack %s", cut);
    assert_string_equal(played("{\"recorded\":true}"), with_answer);
    EXPECT_TOTALS(.cuts = 5);
    /* a consumer of streams gets no answers for our sake */
    struct tape_source_options wanted = {.stream = "a"};
    assert_string_equal(played_as("{\"recorded\":true}", &wanted), cut);
    wanted = (struct tape_source_options){.events = 1};
    assert_string_equal(played_as("{\"recorded\":true}", &wanted),
                        "event ack a0 event cut1/1001@0 a1 event cut2/0@1 a2 event cut3/1005@2 a3 "
                        "event cut4/0@3 a4 event cut5/0@4 a5 event a6 event a7 event a8 event");
    /* without it events are no cuts */
    assert_string_equal(played_as(RULES("{\"drop\":{\"probability\":1}}"), &wanted),
                        "event ack event event event event event event event event event");
    EXPECT_TOTALS(.dropped = 9);
    assert_string_equal(
        played_as("{\"recorded\":true,\"rules\":[{\"drop\":{\"probability\":1}}]}", NULL),
        "ack cut1/1001@0 cut2/0@1 cut3/1005@2 cut4/0@3 cut5/0@4");
}

static void a_recorded_cut_tells_its_event(void **state)
{
    struct tape_faults_item item;
    (void)state;
    make_ended_archive();
    begin_play("{\"recorded\":true}", NULL);
    do
        assert_int_equal(next_item(&item), 1);
    while (item.action != TAPE_FAULTS_CUT);
    assert_int_equal(item.message.kind, TAPE_FEED_EVENT);
    assert_int_equal(item.message.record_kind, TAPE_RECORD_CONNECTION_CLOSE);
    assert_int_equal(item.message.ordinal, 3);
    assert_int_equal(item.message.payload.bytes, strlen(ends[0]));
    assert_memory_equal(item.message.payload.data, ends[0], strlen(ends[0]));
    end_play();
}

/* ---- what is never touched ---- */

static void only_data_is_touched(void **state)
{
    struct tape_source_options wanted = {.events = 1};
    (void)state;
    begin_archive(0);
    put_event(TAPE_RECORD_SESSION_START, 0, made_ns, "{}");
    put_text(1, made_ns + MS, "{\"result\":null,\"id\":1}");
    put_text(1, made_ns + MS, "{\"error\":{\"code\":2,\"msg\":\"m\"},\"id\":2}");
    put_named(1, made_ns + 2 * MS, "a", "a2");
    put_frame(1, made_ns + 3 * MS, TAPE_WS_PING, 1, "p", 1);
    put_frame(1, made_ns + 8 * MS, TAPE_WS_CONTINUATION, 1, "x", 1);
    put_event(TAPE_RECORD_SESSION_END, 0, made_ns + 9 * MS, "{}");
    end_archive();
    assert_string_equal(
        played_as(RULES("{\"delay\":{\"probability\":1,\"min\":\"5ms\",\"max\":\"5ms\"}},"
                        "{\"duplicate\":{\"probability\":1,\"after\":\"1s\"}}"),
                  &wanted),
        "event ack refusal ping a2+5 bad event a2+1005");
}

/* Without the streams of books the source makes none; with them, what it makes comes first. */
static void states_pass(void **state)
{
    struct tape_source_options wanted = {.from_ns = made_ns + 45 * MS};
    struct tape_message message;
    struct tape_faults_item item;
    int states = 0;
    (void)state;
    begin_archive(0);
    for (int i = 0; i < 10; i++) {
        char text[300];
        snprintf(text, sizeof text,
                 "{\"stream\":\"btcusdt@depth\",\"data\":{\"e\":\"depthUpdate\",\"E\":%d,\"T\":%d,"
                 "\"s\":\"BTCUSDT\",\"U\":%d,\"u\":%d,\"pu\":%d,\"b\":[[\"1\",\"1\"]],\"a\":[]}}",
                 i, i, i, i, i - 1);
        put_text(1, made_ns + i * 10 * MS, text);
    }
    end_archive();
    struct tape_source *source = tape_source_open(archive_path, &wanted, NULL);
    while (tape_source_next(source, &message, NULL) == 1)
        states += message.kind == TAPE_FEED_STATE;
    tape_source_close(source);
    assert_true(states > 0);
    begin_play(RULES("{\"drop\":{\"probability\":1}},{\"cut\":{\"at\":[\"+1ms\",\"+50ms\"]}}"),
               &wanted);
    for (int i = 0; i < states; i++) {
        assert_int_equal(next_item(&item), 1);
        assert_int_equal(item.message.kind, TAPE_FEED_STATE);
    }
    assert_int_equal(next_item(&item), 0);
    end_play();
    /* nor do times count from them */
    begin_play(RULES("{\"to\":\"+1ms\",\"drop\":{\"probability\":1}}"), &wanted);
    play.faults->has_start = 0;
    rest_of_play();
    end_play();
    assert_int_equal(play.totals.dropped, 1);
}

/* ---- clocks ---- */

/* What was delayed by the old clock leaves before a step back; jitter is none. */
static void a_clock_set_back(void **state)
{
    (void)state;
    make_archive("a5000 b5001 b4500 b3400 b3401 b3600");
    assert_string_equal(
        played(RULES("{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"100ms\",\"max\":"
                     "\"100ms\"}}")),
        "b5001 b4500 a5000-500 b3400 b3401 b3600");
    assert_string_equal(
        played(RULES("{\"to\":\"+4600ms\",\"streams\":\"b\",\"delay\":{\"probability\":1,\"min\":"
                     "\"100ms\",\"max\":\"100ms\"}}")),
        "a5000 b5001 b4500 b3400+100 b3401+100 b3600+100");
    struct tape_source_options wanted = {.order = TAPE_SOURCE_ORDER_EVENT};
    begin_play(RULES("{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"100ms\",\"max\":"
                     "\"100ms\"}}"),
               NULL);
    tape_faults_end(play.run);
    play.run = tape_faults_begin(play.faults, &wanted, NULL);
    assert_string_equal(rest_of_play(), "b5001 b4500 b3400 b3401 b3600 a5000+100");
    end_play();
}

static void replay_time_never_runs_back(void **state)
{
    struct tape_faults_item item;
    int64_t now_ns = INT64_MIN;
    static const int64_t replay_ms[] = {2, 3, 4, 4, 5, 7};
    (void)state;
    make_archive("a1 b2 b3 b4 b5 a6");
    begin_play(RULES("{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"3ms\",\"max\":"
                     "\"3ms\"}},{\"from\":\"+6ms\",\"drop\":{\"probability\":1}},"
                     "{\"cut\":{\"at\":[\"+7ms\"]}}"),
               NULL);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(next_item(&item), 1);
        assert_true(item.message.replay_ns >= now_ns);
        now_ns = item.message.replay_ns;
        assert_int_equal(now_ns, made_ns + replay_ms[i] * MS);
    }
    assert_int_equal(next_item(&item), 0);
    end_play();
}

/* Without the archive's start, times count from what comes first, also after a seek. */
static void times_without_a_start(void **state)
{
    struct tape_source_options options = {.from_ns = made_ns + 3 * MS};
    (void)state;
    make_archive("a1 a2 a3 a4 a5 a6");
    const char *rules = RULES("{\"from\":\"+1ms\",\"to\":\"+2ms\",\"drop\":{\"probability\":1}}");
    assert_string_equal(played_as(rules, &options), "a3 a4 a5 a6");
    begin_play(rules, &options);
    tape_faults_free(play.faults);
    tape_faults_end(play.run);
    play.faults = tape_faults_parse(rules, strlen(rules), "f", NULL);
    play.run = tape_faults_begin(play.faults, NULL, NULL);
    assert_string_equal(rest_of_play(), "a3 a5 a6");
    assert_int_equal(tape_source_seek(play.source, made_ns + 5 * MS, NULL), 0);
    tape_faults_restart(play.run);
    assert_string_equal(rest_of_play(), "a5 a6");
    end_play();
}

/* ---- bounds, following, seeking ---- */

static void what_is_too_much_leaves_in_time(void **state)
{
    enum { BYTES = 2 << 20, COUNT = 40 };
    char *text = malloc(BYTES);
    struct tape_faults_item item;
    uint64_t deliveries = 0, in_time = 0;
    (void)state;
    memset(text, 'x', BYTES);
    begin_archive(0);
    for (int i = 0; i < COUNT; i++) {
        put_frame(1, made_ns + i * MS, TAPE_WS_BINARY, 1, text, BYTES);
        flush_block();
    }
    put_named(1, made_ns + COUNT * MS, "a", "a");
    end_archive();
    free(text);
    begin_play(RULES("{\"duplicate\":{\"probability\":1,\"after\":\"10s\"}},"
                     "{\"delay\":{\"probability\":1,\"min\":\"1s\",\"max\":\"1s\"}}"),
               NULL);
    while (next_item(&item) == 1) {
        deliveries++;
        in_time += item.at_ns == item.message.recv_ns;
    }
    end_play();
    /* 31 fit: of 15 messages both, of the 16th itself; and the little one with its copy */
    assert_int_equal(play.totals.skipped, COUNT - 16 + COUNT - 15);
    assert_int_equal(play.totals.delayed, 31 + 2);
    assert_int_equal(play.totals.duplicated, 15 + 1);
    assert_int_equal(in_time, COUNT - 16);
    assert_int_equal(deliveries, COUNT + 1 + play.totals.duplicated);
}

static int next_soon(struct tape_faults_item *item)
{
    int got = 2;
    for (int i = 0; i < 10000 && got == 2; i++) {
        got = next_item(item);
        if (got == 2)
            usleep(1000);
    }
    return got;
}

/* Time is what messages say: a held one waits for the next, however long that takes. */
static void following(void **state)
{
    struct tape_source_options wanted = {.follow = 1};
    struct tape_faults_item item;
    char words[200];
    (void)state;
    begin_live_archive();
    put_named(1, made_ns + MS, "a", "a1");
    put_named(1, made_ns + MS, "b", "b1");
    begin_play(RULES("{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"5ms\",\"max\":"
                     "\"5ms\"}},{\"cut\":{\"at\":[\"+6ms\"]}}"),
               &wanted);
    assert_int_equal(next_soon(&item), 1);
    put_item(words, sizeof words, &item);
    assert_string_equal(words, "b1 ");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(next_item(&item), 2);
        usleep(1000);
    }
    put_named(1, made_ns + 9 * MS, "b", "b9");
    static const char *const rest[] = {"cut1/0@6 ", "a1+5 ", "b9 "};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(next_soon(&item), 1);
        put_item(words, sizeof words, &item);
        assert_string_equal(words, rest[i]);
    }
    assert_int_equal(next_item(&item), 2);
    put_named(1, made_ns + 10 * MS, "a", "a10");
    put_event(TAPE_RECORD_SESSION_END, 0, made_ns + 11 * MS, "{}");
    end_archive();
    assert_int_equal(next_soon(&item), 1);
    put_item(words, sizeof words, &item);
    assert_string_equal(words, "a10+5 ");
    assert_int_equal(next_soon(&item), 0);
    end_play();
}

static void a_seek_forgets(void **state)
{
    struct tape_faults_item item;
    (void)state;
    make_archive("a1 b2 b3 a4 b5 a6 b40");
    begin_play(RULES("{\"streams\":\"a\",\"delay\":{\"probability\":1,\"min\":\"9ms\",\"max\":"
                     "\"9ms\"}},{\"streams\":\"b\",\"reorder\":{\"probability\":1}},"
                     "{\"cut\":{\"every\":\"10ms\"}}"),
               NULL);
    static const char whole[] = "b2+1 b3+2 cut1/0@10 a1+9 a4+9 a6+9 b5+35 b40";
    assert_int_equal(next_item(&item), 1);
    assert_int_equal(tape_source_seek(play.source, made_ns + 4 * MS, NULL), 0);
    tape_faults_restart(play.run);
    assert_string_equal(rest_of_play(), "cut1/0@10 a4+9 a6+9 b5+35 b40");
    assert_int_equal(tape_source_seek(play.source, made_ns, NULL), 0);
    tape_faults_restart(play.run);
    assert_string_equal(rest_of_play(), whole);
    /* also of the message that waits for what leaves before it */
    assert_int_equal(tape_source_seek(play.source, made_ns, NULL), 0);
    tape_faults_restart(play.run);
    do
        assert_int_equal(next_item(&item), 1);
    while (item.action != TAPE_FAULTS_CUT);
    assert_int_equal(tape_source_seek(play.source, made_ns + 5 * MS, NULL), 0);
    tape_faults_restart(play.run);
    assert_string_equal(rest_of_play(), "cut1/0@10 a6+9 b5+35 b40");
    end_play();
}

/* ---- against a second way to say it ---- */

/*
 * The same rules, told message by message: each has a slot, its place in the recording. One that is
 * late leaves in a later slot: before the message of that slot when it was delayed, after it when
 * it waited for it. So all that leaves is sorted by slot, phase, time, message, copy.
 */
struct leaving {
    int slot, phase, index, copy;
    int64_t key_ns, at_ns;
};

enum { ORACLE_MESSAGES = 4000, ORACLE_RULES = 7 };

static struct oracle {
    struct {
        uint64_t ordinal;
        int64_t recv_ns;
        uint32_t connection;
        int stream;
    } messages[ORACLE_MESSAGES];
    struct leaving leaves[ORACLE_MESSAGES * 4];
    int count, leaves_count;
    uint64_t seed, dropped, duplicated;
} oracle;

static uint64_t scrambled(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t drawn(uint64_t ordinal, int rule, int copy, int lane)
{
    uint64_t x = scrambled(oracle.seed + 0x9e3779b97f4a7c15ull);
    x = scrambled(x ^ ordinal);
    return scrambled(x ^ ((uint64_t)rule * 4294967296 + (uint64_t)copy * 65536 + (uint64_t)lane));
}

static int hit(uint64_t ordinal, int rule, int copy, int per_mille)
{
    return (double)(drawn(ordinal, rule, copy, 0) / 2048) / 9007199254740992.0 < per_mille / 1000.0;
}

/* A number from 0 to limit - 1 by long multiplication. */
static uint64_t part_of(uint64_t x, uint64_t limit)
{
    uint64_t high = (x >> 32) * limit, low = (x & 0xffffffff) * limit;
    return (high + (low >> 32)) >> 32;
}

/* A rule, and below how a file says it. The seed gives the rules, too. */
static struct oracle_rule {
    const char *kind;
    unsigned streams; /* a bit each */
    int from_ms, to_ms, per_mille, by;
    int64_t min_ns, max_ns;
} oracle_rules[ORACLE_RULES];

static const char *make_rules(uint64_t seed)
{
    static const char *const kinds[] = {"delay", "drop", "duplicate", "reorder"};
    static char text[4000];
    struct dice dice = {seed * 1000003 + 17};
    size_t used =
        (size_t)snprintf(text, sizeof text, "{\"seed\":%llu,\"rules\":[", (unsigned long long)seed);
    for (int i = 0; i < ORACLE_RULES; i++) {
        struct oracle_rule *rule = &oracle_rules[i];
        *rule = (struct oracle_rule){.kind = kinds[i < 4 ? i : (int)roll_below(&dice, 4)],
                                     .streams = 1 + (unsigned)roll_below(&dice, 31),
                                     .from_ms = (int)roll_below(&dice, 2000),
                                     .per_mille = 20 + (int)roll_below(&dice, 200),
                                     .by = 1 + (int)roll_below(&dice, 5)};
        rule->to_ms = rule->from_ms + 1000 + (int)roll_below(&dice, 2000);
        rule->min_ns = (int64_t)roll_below(&dice, 3) * 700000;
        rule->max_ns = rule->min_ns + 1 + (int64_t)roll_below(&dice, 5 * MS);
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{\"from\":\"+%dms\",\"to\":\"+%dms\",\"streams\":\"none",
                                 i ? "," : "", rule->from_ms, rule->to_ms);
        for (int stream = 0; stream < 5; stream++)
            if (rule->streams >> stream & 1)
                used += (size_t)snprintf(text + used, sizeof text - used, ",s%d", stream);
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "\",\"%s\":{\"probability\":0.%03d", rule->kind, rule->per_mille);
        if (*rule->kind == 'd' && rule->kind[1] == 'e')
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     ",\"min\":\"%lldns\",\"max\":\"%lldns\"",
                                     (long long)rule->min_ns, (long long)rule->max_ns);
        if (*rule->kind == 'd' && rule->kind[1] == 'u')
            used += (size_t)snprintf(text + used, sizeof text - used, ",\"after\":\"%lldns\"",
                                     (long long)rule->min_ns);
        if (*rule->kind == 'r')
            used += (size_t)snprintf(text + used, sizeof text - used, ",\"by\":%d", rule->by);
        used += (size_t)snprintf(text + used, sizeof text - used, "}}");
    }
    snprintf(text + used, sizeof text - used, "]}");
    return text;
}

struct fate {
    int64_t delay_ns;
    int waits, dropped;
};

static int fates_of(int index, struct fate *fates)
{
    uint64_t n = oracle.messages[index].ordinal;
    int64_t since_ns = oracle.messages[index].recv_ns - made_ns;
    int count = 1;
    fates[0] = (struct fate){0};
    for (int number = 0; number < ORACLE_RULES; number++) {
        const struct oracle_rule *rule = &oracle_rules[number];
        int doubles = strcmp(rule->kind, "duplicate") == 0, was = count;
        if (!(rule->streams >> oracle.messages[index].stream & 1) ||
            since_ns < rule->from_ms * MS || since_ns >= rule->to_ms * MS)
            continue;
        for (int i = 0; i < (doubles ? 1 : was); i++) {
            if (fates[i].dropped || !hit(n, number, i, rule->per_mille))
                continue;
            uint64_t much = drawn(n, number, i, 1);
            if (doubles) {
                fates[count] = fates[i];
                fates[count++].delay_ns += rule->min_ns;
            } else if (strcmp(rule->kind, "delay") == 0) {
                fates[i].delay_ns +=
                    rule->min_ns +
                    (int64_t)part_of(much, (uint64_t)(rule->max_ns - rule->min_ns) + 1);
            } else if (strcmp(rule->kind, "drop") == 0) {
                fates[i].dropped = 1;
            } else {
                fates[i].waits += 1 + (int)part_of(much, (uint64_t)rule->by);
            }
        }
    }
    return count;
}

/* The slot of the message that ends the waiting, or count. */
static int slot_after(int index, int waits)
{
    int slot = index;
    while (waits > 0 && ++slot < oracle.count)
        waits -= oracle.messages[slot].stream == oracle.messages[index].stream;
    return waits > 0 ? oracle.count : slot;
}

static void place(int index, int copy, const struct fate *fate)
{
    struct leaving *leaves = &oracle.leaves[oracle.leaves_count++];
    int slot = slot_after(index, fate->waits);
    int64_t from_ns = oracle.messages[slot < oracle.count ? slot : oracle.count - 1].recv_ns;
    *leaves = (struct leaving){slot, copy > 0, index, copy, 0, from_ns};
    if (fate->waits > 0)
        leaves->phase = 2;
    if (slot < oracle.count && fate->delay_ns == 0)
        return;
    leaves->phase = -1;
    leaves->key_ns = leaves->at_ns = from_ns + fate->delay_ns;
    for (slot++; slot < oracle.count && oracle.messages[slot].recv_ns < leaves->key_ns; slot++)
        if (oracle.messages[slot].recv_ns < oracle.messages[slot - 1].recv_ns - SECOND) {
            leaves->at_ns = oracle.messages[slot - 1].recv_ns;
            break;
        }
    leaves->slot = slot < oracle.count ? slot : oracle.count;
}

static int compare_leaves(const void *one, const void *other)
{
    const struct leaving *a = one, *b = other;
    if (a->slot != b->slot)
        return a->slot - b->slot;
    if (a->phase != b->phase)
        return a->phase - b->phase;
    if (a->key_ns != b->key_ns)
        return a->key_ns < b->key_ns ? -1 : 1;
    return a->index != b->index ? a->index - b->index : a->copy - b->copy;
}

/* Five streams on three connections, stamps that jitter and one that is set back by five seconds.
 */
static void make_oracle_archive(int packed)
{
    struct dice dice = {77};
    int64_t ns = made_ns;
    begin_archive(packed);
    oracle.count = 0;
    for (int i = 0; i < ORACLE_MESSAGES; i++) {
        char stream[4], name[16];
        int number = (int)roll_below(&dice, 5);
        int64_t jitter_ns = (int64_t)roll_below(&dice, 400000) - 200000;
        ns += i == 2500 ? -5 * SECOND : (int64_t)roll_below(&dice, 2 * MS);
        snprintf(stream, sizeof stream, "s%d", number);
        snprintf(name, sizeof name, "%d", i);
        if (roll_below(&dice, 10) == 0)
            put_frame(1, ns, TAPE_WS_PING, 1, "p", 1);
        oracle.messages[i].ordinal = maker.next_ordinal;
        oracle.messages[i].recv_ns = ns + jitter_ns;
        oracle.messages[i].stream = number;
        put_named(1 + (uint32_t)number % 3, ns + jitter_ns, stream, name);
        oracle.count++;
    }
    end_archive();
}

static void ask_oracle(uint64_t seed)
{
    struct fate fates[8];
    oracle.seed = seed;
    oracle.leaves_count = 0;
    oracle.dropped = oracle.duplicated = 0;
    for (int i = 0; i < oracle.count; i++) {
        int count = fates_of(i, fates);
        oracle.duplicated += (uint64_t)count - 1;
        for (int copy = 0; copy < count; copy++) {
            oracle.dropped += (uint64_t)fates[copy].dropped;
            if (!fates[copy].dropped)
                place(i, copy, &fates[copy]);
        }
    }
    qsort(oracle.leaves, (size_t)oracle.leaves_count, sizeof *oracle.leaves, compare_leaves);
}

/* From the ${least}th message on what comes must be what the oracle says of those. */
static void expect_oracle(int least)
{
    struct tape_faults_item item;
    char name[16];
    int64_t replay_ns = INT64_MIN;
    for (int i = 0; i < oracle.leaves_count; i++) {
        const struct leaving *leaves = &oracle.leaves[i];
        if (leaves->index < least)
            continue;
        assert_int_equal(next_item(&item), 1);
        snprintf(name, sizeof name, "\"%d\"}}", leaves->index);
        size_t bytes = strlen(name);
        if (item.message.ordinal != oracle.messages[leaves->index].ordinal ||
            item.message.recv_ns != oracle.messages[leaves->index].recv_ns ||
            item.at_ns != leaves->at_ns)
            fail_msg("seed %llu, %d from %d: ordinal %llu at %lld, not %llu at %lld",
                     (unsigned long long)oracle.seed, i, least,
                     (unsigned long long)item.message.ordinal, (long long)item.at_ns,
                     (unsigned long long)oracle.messages[leaves->index].ordinal,
                     (long long)leaves->at_ns);
        assert_memory_equal(item.message.payload.data + item.message.payload.bytes - bytes, name,
                            bytes);
        assert_true(item.message.replay_ns >= replay_ns);
        replay_ns = item.message.replay_ns;
    }
    assert_int_equal(next_item(&item), 0);
}

static void a_second_way_says_the_same(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        make_oracle_archive(packed);
        for (uint64_t seed = 0; seed < 40; seed++) {
            begin_play(make_rules(seed), NULL);
            ask_oracle(seed);
            expect_oracle(0);
            end_play();
            assert_int_equal(play.totals.dropped, oracle.dropped);
            assert_int_equal(play.totals.duplicated, oracle.duplicated);
            assert_true(play.totals.delayed > 0 && play.totals.reordered > 0);
            assert_int_equal(play.totals.skipped, 0);
        }
        remove_tree(archive_path);
    }
}

/* Begun anywhere, each message has the same fate, and they leave in the same order. */
static void a_seek_gives_the_same(void **state)
{
    (void)state;
    make_oracle_archive(0);
    begin_play(make_rules(5), NULL);
    ask_oracle(5);
    for (int i = 1; i < 2400; i += 331) {
        int64_t ns = oracle.messages[i].recv_ns;
        int first = 0;
        while (oracle.messages[first].recv_ns < ns)
            first++;
        assert_int_equal(tape_source_seek(play.source, ns, NULL), 0);
        tape_faults_restart(play.run);
        expect_oracle(first);
    }
    end_play();
}

#define ON_ARCHIVE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ARCHIVE(without_rules_nothing_happens),
        ON_ARCHIVE(dropped),
        ON_ARCHIVE(delayed),
        ON_ARCHIVE(equal_times_keep_their_order),
        ON_ARCHIVE(duplicated),
        ON_ARCHIVE(reordered),
        ON_ARCHIVE(windows_are_half_open),
        ON_ARCHIVE(cut_by_chance),
        ON_ARCHIVE(cut_by_the_time),
        ON_ARCHIVE(recorded_ends),
        ON_ARCHIVE(a_recorded_cut_tells_its_event),
        ON_ARCHIVE(only_data_is_touched),
        ON_ARCHIVE(states_pass),
        ON_ARCHIVE(a_clock_set_back),
        ON_ARCHIVE(replay_time_never_runs_back),
        ON_ARCHIVE(times_without_a_start),
        ON_ARCHIVE(what_is_too_much_leaves_in_time),
        ON_ARCHIVE(following),
        ON_ARCHIVE(a_seek_forgets),
        ON_ARCHIVE(a_second_way_says_the_same),
        ON_ARCHIVE(a_seek_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
