#include "format/pack.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "format/feed.h"
#include "format/pack_internal.h"
#include "format/ws.h"
#include "tests/unit/make_texts.h"

enum { BODY_ROOM = MADE_TEXT_ROOM + TAPE_WS_HEADER_MAX_BYTES, KEPT_MAX = 65536 };

static struct tape_pack *pack;
static struct tape_block_reader *reader;
static struct tape_error error;
static struct tape_block_header header;
static uint8_t *stored;
static struct made_text made;

/* What was appended since the last seal. Invariant: the bodies are the test's own. */
static struct tape_record kept[KEPT_MAX];
static uint32_t kept_count;
static uint64_t passed_over_ever;
static uint32_t passed_over_last;

static int open_both(void **state)
{
    (void)state;
    pack = tape_pack_new(TAPE_PACK_WARM);
    reader = tape_block_reader_new();
    return pack == NULL || reader == NULL;
}

static void forget(void)
{
    for (uint32_t i = 0; i < kept_count; i++)
        free((void *)(uintptr_t)kept[i].data);
    kept_count = 0;
}

static int free_both(void **state)
{
    (void)state;
    forget();
    tape_pack_free(pack);
    tape_block_reader_free(reader);
    return 0;
}

static void assert_same(const struct tape_record *got, const struct tape_record *want)
{
    assert_true(got->ordinal == want->ordinal);
    assert_true(got->recv_ns == want->recv_ns);
    assert_int_equal(got->connection, want->connection);
    assert_int_equal(got->flags, want->flags);
    assert_int_equal(got->kind, want->kind);
    assert_int_equal(got->bytes, want->bytes);
    if (want->bytes > 0)
        assert_memory_equal(got->data, want->data, want->bytes);
}

/* context: the one stream that is wanted, or NULL. */
static int wants_one(void *context, const char *stream, size_t stream_bytes)
{
    const struct tape_slice *wanted = context;
    return wanted != NULL && wanted->bytes == stream_bytes &&
           memcmp(wanted->data, stream, stream_bytes) == 0;
}

/* What a reader that wants one stream passes over are data messages of other streams, all of them.
 * Returns how many those are. */
static uint32_t count_passed_over(struct tape_slice *wanted)
{
    struct tape_feed *feed = tape_feed_new();
    struct tape_message message;
    struct tape_record got;
    uint32_t passed_over = 0;
    tape_block_select(reader, wants_one, wanted);
    assert_int_equal(tape_block_open(reader, &header, stored + 80, &error), 0);
    int more = tape_block_next(reader, &got);
    for (uint32_t i = 0; i < kept_count; i++) {
        int pushed = tape_feed_push(feed, &kept[i], &message, &error);
        if (more == 1 && got.ordinal == kept[i].ordinal) {
            assert_same(&got, &kept[i]);
            more = tape_block_next(reader, &got);
            continue;
        }
        passed_over++;
        assert_int_equal(pushed, 1);
        assert_int_equal(message.kind, TAPE_FEED_DATA);
        assert_true(message.first_ordinal == message.ordinal);
        assert_false(wants_one(wanted, message.stream.data, message.stream.bytes));
    }
    assert_int_equal(more, 0);
    tape_block_select(reader, NULL, NULL);
    tape_feed_free(feed);
    return passed_over;
}

/* For no stream, and for that of each of a few messages. */
static void assert_passed_over_are_data(void)
{
    struct tape_feed *feed = tape_feed_new();
    struct tape_message message;
    uint32_t all = count_passed_over(NULL), every = kept_count / 3 + 1;
    for (uint32_t i = 0; i < kept_count; i++) {
        if (tape_feed_push(feed, &kept[i], &message, &error) != 1 || i % every != every / 2 ||
            message.kind != TAPE_FEED_DATA)
            continue;
        char name[256];
        struct tape_slice wanted = {name, message.stream.bytes};
        if (wanted.bytes > sizeof name)
            continue;
        memcpy(name, message.stream.data, wanted.bytes);
        assert_true(count_passed_over(&wanted) <= all);
    }
    passed_over_ever += all;
    passed_over_last = all;
    tape_feed_free(feed);
}

static void seal_and_compare(void)
{
    struct tape_record got;
    if (kept_count == 0)
        return;
    assert_int_equal(tape_pack_records(pack), kept_count);
    assert_int_equal(tape_pack_seal(pack, &header, &stored, &error), 0);
    assert_int_equal(pack->refused, 0);
    assert_int_equal(tape_pack_records(pack), 0);
    assert_int_equal(header.records, kept_count);
    assert_int_equal(tape_block_open(reader, &header, stored + 80, &error), 0);
    for (uint32_t i = 0; i < kept_count; i++) {
        assert_int_equal(tape_block_next(reader, &got), 1);
        assert_same(&got, &kept[i]);
    }
    assert_int_equal(tape_block_next(reader, &got), 0);
    assert_passed_over_are_data();
    forget();
}

/* The body is copied; a full block is sealed and compared first. */
static void append(const struct tape_record *record)
{
    int status = kept_count == KEPT_MAX ? 0 : tape_pack_append(pack, record, &error);
    if (status == 0) {
        seal_and_compare();
        status = tape_pack_append(pack, record, &error);
    }
    assert_int_equal(status, 1);
    kept[kept_count] = *record;
    uint8_t *copy = malloc(record->bytes + 1);
    memcpy(copy, record->data, record->bytes);
    kept[kept_count++].data = copy;
}

/* A record around a text, or around anything else; now and then a strange one. Fragments, if there
 * are any, put all of their connection in doubt. */
static void append_text(struct dice *dice, uint64_t ordinal, int fragments, const char *text,
                        size_t bytes)
{
    static uint8_t body[BODY_ROOM];
    static int64_t now = 1723161253937085779;
    static const uint8_t mask[4] = {1, 2, 3, 4};
    uint64_t strange = roll_below(dice, 40);
    strange -= !fragments && strange >= 2 && strange <= 6 ? 2 : 0;
    int opcode = strange == 1 ? TAPE_WS_BINARY : strange == 5 ? TAPE_WS_CONTINUATION : TAPE_WS_TEXT;
    size_t used = tape_ws_build(body, opcode, strange != 6, bytes, strange == 4 ? mask : NULL);
    memcpy(body + used, text, bytes);
    used += bytes;
    if (strange == 2)
        used -= roll_below(dice, used);
    if (strange == 3)
        body[2 + roll_below(dice, used)] = (uint8_t)roll(dice);
    now += (int64_t)roll_below(dice, 1000000) - (strange == 7 ? 50000000 : 100);
    struct tape_record record = {
        .ordinal = ordinal,
        .recv_ns = strange == 8 ? (int64_t)roll(dice) : now,
        .connection = strange == 9 ? (uint32_t)roll(dice) : 1 + (uint32_t)roll_below(dice, 3),
        .flags = (uint16_t)(strange == 10   ? roll(dice)
                            : strange == 11 ? 4
                                            : 1),
        .kind = (uint8_t)(strange == 12 ? 1 + roll_below(dice, 255) : TAPE_RECORD_FRAME_IN),
        .bytes = (uint32_t)used,
        .data = body,
    };
    append(&record);
}

static void gives_back_what_was_appended(void **state)
{
    (void)state;
    uint64_t ordinal = 0;
    for (uint64_t round = 0; round < 60; round++) {
        struct dice dice = {round * 1000003 + 1};
        uint64_t shapes = 1 + roll_below(&dice, 30), first = roll_below(&dice, 1000);
        uint64_t records = round % 4 == 0 ? 1 + roll_below(&dice, 5) : roll_below(&dice, 3000);
        made.odd = round % 3 == 0 ? 0 : round % 3 == 1 ? 100 : 8;
        made.values = (struct dice){round + 1};
        /* It cuts what the fragments of the round before left open. */
        struct tape_record start = {.ordinal = ordinal++,
                                    .kind = TAPE_RECORD_SESSION_START,
                                    .bytes = 2,
                                    .data = (const uint8_t *)"{}"};
        append(&start);
        for (uint64_t i = 0; i < records; i++) {
            made_text(&made, first + roll_below(&dice, shapes));
            append_text(&dice, ordinal++, round % 4 == 3, made.text, made.bytes);
        }
        seal_and_compare();
    }
    assert_true(passed_over_ever > ordinal / 3);
}

static void tells_shapes_apart_that_have_one_stream(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"stream\":\"a@b\",\"data\":{\"p\":\"1.50\",\"l\":[]}}",
        "{\"stream\":\"a@b\",\"data\":{\"p\":\"1.5\",\"l\":[[\"1\",\"2\"]]}}",
        "{\"stream\":\"a@b\",\"data\":{\"p\":\"x\",\"l\":[[\"1\",\"2\"],[\"3\",\"4\"]]}}",
        "{\"stream\":\"a@b\",\"data\":{\"p\":-1e5,\"l\":[[\"1\",\"2\",\"r\"],[\"3\",\"4\"]]}}",
        "{\"e\":1,\"stream\":\"a@b\"}",
        "{\"stream\":5,\"stream\":\"a@b\"}",
        "{\"str\\u0065am\":\"c\",\"stream\":\"a@b\"}",
        "{\"result\":null,\"id\":7}",
        "{\"id\":7,\"result\":[]}",
        "[{\"stream\":\"a@b\"}]",
        "{\"stream\":\"a\\\"b\",\"x\":\"\\ud83d\\ude00\"}",
        " {\"stream\" : \"a@b\" , \"data\" : [ 1 , 2 ] } ",
    };
    struct dice dice = {7};
    uint64_t ordinal = 5;
    for (int i = 0; i < 2000; i++) {
        const char *text = texts[roll_below(&dice, sizeof texts / sizeof *texts)];
        append_text(&dice, ordinal++, 0, text, strlen(text));
    }
    seal_and_compare();
}

/* A stream whose lists have numbers of one layout, and then one other text in a list. */
static void append_pairs(uint64_t which, uint64_t *ordinal, const char *usual, const char *odd)
{
    enum { TEXTS = 20 };
    struct dice dice = {which};
    char text[512];
    for (int i = 0; i < TEXTS; i++) {
        const char *one = i == TEXTS - 1 && which % 2 ? odd : usual;
        const char *other = i == TEXTS - 1 && which % 2 == 0 ? odd : usual;
        int bytes = snprintf(text, sizeof text,
                             "{\"stream\":\"a@b\",\"l%llu\":[[\"%s\",\"%s\"],[\"%s\",\"%s\"],"
                             "[\"%s\",\"%s\"],[\"%s\",\"%s\"]]}",
                             (unsigned long long)which, usual, usual, usual, usual, one, other,
                             usual, usual);
        append_text(&dice, (*ordinal)++, 0, text, (size_t)bytes);
    }
}

static void takes_pairs_of_numbers_as_they_are_laid_out(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "61.50",
        "61.75",
        "01.50",
        "6x.50",
        "61x50",
        "61.5",
        "61.5.",
        "61.505",
        "6150",
        "6.150",
        "0.150",
        "0",
        "00.50",
        "00",
        "-61.5",
        "-0.5",
        ".6150",
        "61.",
        "61.5e1",
        "1.5e10",
        "999999",
        "999.99",
        "12345678",
        "",
        "61,50",
        "6 .50",
        "61:50",
        "123456789012.345",
        "1234567890123456.75",
        "123456789.12345678",
        "0.00000000",
        "0.12340000",
    };
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    uint64_t ordinal = 0;
    for (uint64_t i = 0; i < 2 * NUMBERS * NUMBERS; i++) {
        append_pairs(i, &ordinal, numbers[i / 2 % NUMBERS], numbers[i / 2 / NUMBERS]);
        if (i % 64 == 0)
            seal_and_compare();
    }
    seal_and_compare();
}

/* Fragments make what comes between them no message: it may not be passed over. ends: the body of
 * the record that says that there is nothing to come between any more. */
static void keep_inside(int kind, const char *ends)
{
    /* Long enough that codec 1 is not tried. */
    static const char text[] =
        "{\"stream\":\"a@b\",\"data\":{\"p\":1,\"of\":\"........................."
        "..................................................................."
        "..................................................................."
        "\"}}";
    uint8_t body[256];
    for (uint32_t i = 0; i < 600; i++) {
        int opens = i == 102;
        size_t used = tape_ws_build(body, TAPE_WS_TEXT, !opens, sizeof text - 1, NULL);
        memcpy(body + used, text, sizeof text - 1);
        struct tape_record record = {.ordinal = i,
                                     .recv_ns = i,
                                     .connection = 1 + i % 2,
                                     .kind = TAPE_RECORD_FRAME_IN,
                                     .flags = 1,
                                     .bytes = (uint32_t)(used + sizeof text - 1),
                                     .data = body};
        if (i == 350) /* tells nothing of what is open */
            record.kind = TAPE_RECORD_CONNECTION_OPEN;
        if (i == 340) /* no end either: reserved bits are set */
            body[0] = 0xc0;
        if (i == 450) {
            record.kind = (uint8_t)kind;
            record.data = (const uint8_t *)ends;
            record.bytes = (uint32_t)strlen(ends);
        }
        append(&record);
        if (i == 200) { /* of connection 1 none, of the other all */
            seal_and_compare();
            assert_int_equal(passed_over_last, 100);
        }
        if (i == 400) {
            seal_and_compare();
            assert_int_equal(passed_over_last, 100);
        }
        if (i == 500) {
            seal_and_compare();
            assert_int_equal(passed_over_last, 50);
        }
    }
    seal_and_compare();
    assert_int_equal(passed_over_last, 99);
}

static void keeps_what_stands_inside_a_fragmented_message(void **state)
{
    (void)state;
    keep_inside(TAPE_RECORD_CONNECTION_CLOSE, "{}");
}

static void keeps_what_stands_before_a_gap(void **state)
{
    (void)state;
    keep_inside(TAPE_RECORD_NOTE, "{\"kind\":\"gap\",\"frames\":\"1\"}");
}

static void is_the_same_every_time(void **state)
{
    (void)state;
    uint8_t *before[8];
    uint32_t bytes[8];
    for (int pass = 0; pass < 2; pass++) {
        struct tape_pack *fresh = tape_pack_new(TAPE_PACK_WARM);
        made.values = (struct dice){99};
        made.odd = 50;
        for (uint64_t i = 0; i < 8 * 500; i++) {
            made_text(&made, i % 17);
            struct tape_record record = {.ordinal = i,
                                         .recv_ns = (int64_t)i * 1000,
                                         .kind = TAPE_RECORD_NOTE,
                                         .bytes = (uint32_t)made.bytes,
                                         .data = (const uint8_t *)made.text};
            static uint8_t body[BODY_ROOM];
            size_t used = tape_ws_build(body, TAPE_WS_TEXT, 1, made.bytes, NULL);
            memcpy(body + used, made.text, made.bytes);
            record.kind = TAPE_RECORD_FRAME_IN;
            record.data = body;
            record.bytes += (uint32_t)used;
            assert_int_equal(tape_pack_append(fresh, &record, &error), 1);
            if (i % 500 != 499)
                continue;
            assert_int_equal(tape_pack_seal(fresh, &header, &stored, &error), 0);
            if (pass == 0) {
                before[i / 500] = malloc(header.stored_bytes);
                memcpy(before[i / 500], stored + 80, header.stored_bytes);
                bytes[i / 500] = header.stored_bytes;
            } else {
                assert_int_equal(header.stored_bytes, bytes[i / 500]);
                assert_memory_equal(stored + 80, before[i / 500], bytes[i / 500]);
                free(before[i / 500]);
            }
        }
        tape_pack_free(fresh);
    }
}

/* A venue's tick stream: an order of magnitude, not a figure. */
static void packs_ticks_small(void **state)
{
    (void)state;
    char text[256];
    struct dice dice = {3};
    uint64_t price = 6173763, id = 3735683259, payload = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        price += roll_below(&dice, 21) - 10;
        int bytes = snprintf(text, sizeof text,
                             "{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":%llu,"
                             "\"s\":\"BTCUSDT\",\"t\":%llu,\"p\":\"%llu.%02llu000000\",\"q\":\"0."
                             "%04llu0000\",\"m\":%s,\"M\":true}}",
                             1723161255343ull + i * 10, (unsigned long long)id++,
                             (unsigned long long)price / 100, (unsigned long long)price % 100,
                             (unsigned long long)roll_below(&dice, 10000),
                             roll_below(&dice, 2) ? "true" : "false");
        uint8_t body[300];
        size_t used = tape_ws_build(body, TAPE_WS_TEXT, 1, (uint64_t)bytes, NULL);
        memcpy(body + used, text, (size_t)bytes);
        struct tape_record record = {.ordinal = i,
                                     .recv_ns = made_ns + (int64_t)(i * 10000000),
                                     .connection = 1,
                                     .kind = TAPE_RECORD_FRAME_IN,
                                     .flags = 1,
                                     .bytes = (uint32_t)used + (uint32_t)bytes,
                                     .data = body};
        payload += (uint64_t)bytes;
        append(&record);
    }
    seal_and_compare();
    assert_int_equal(header.codec, TAPE_BLOCK_CODEC_TEMPLATE);
    assert_true(header.stored_bytes < payload / 30);
}

static void refuses_what_no_block_holds(void **state)
{
    (void)state;
    struct tape_record record = {.ordinal = 7, .kind = 1, .bytes = 1, .data = (const uint8_t *)"x"};
    assert_int_equal(tape_pack_seal(pack, &header, &stored, &error), TAPE_USAGE);
    assert_string_equal(error.text, "a block without records cannot be sealed");
    assert_int_equal(tape_pack_append(pack, &record, &error), 1);
    assert_int_equal(tape_pack_append(pack, &record, &error), TAPE_USAGE);
    assert_string_equal(error.text, "ordinal 7 follows 7 in a block");
    record.kind = 0;
    assert_int_equal(tape_pack_append(pack, &record, &error), TAPE_USAGE);
    assert_string_equal(error.text, "a record has no kind or no ordinal");
    record.bytes = TAPE_RECORD_MAX_BYTES + 1;
    assert_int_equal(tape_pack_append(pack, &record, &error), TAPE_LIMIT);
    assert_string_equal(error.text, "a record of 16781313 bytes is longer than 16781312");
    assert_null(tape_pack_new(2));
    assert_null(tape_pack_new(-1));
}

static void takes_the_longest_record_alone(void **state)
{
    (void)state;
    struct dice dice = {5};
    uint8_t *body = malloc(TAPE_RECORD_MAX_BYTES);
    for (uint32_t i = 0; i < TAPE_RECORD_MAX_BYTES; i++)
        body[i] = (uint8_t)roll(&dice);
    struct tape_record record = {
        .ordinal = 0, .kind = 200, .bytes = TAPE_RECORD_MAX_BYTES, .data = body};
    append(&record);
    record.ordinal = 1;
    record.bytes = 10;
    assert_int_equal(tape_pack_append(pack, &record, &error), 0);
    seal_and_compare();
    assert_int_equal(header.codec, TAPE_BLOCK_CODEC_STORED);
    append(&record);
    seal_and_compare();
    free(body);
}

/* --- captures --- */

static char *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    fseek(file, 0, SEEK_END);
    size_t packed_bytes = (size_t)ftell(file);
    char *packed = malloc(packed_bytes + 1);
    rewind(file);
    if (fread(packed, 1, packed_bytes, file) != packed_bytes)
        abort();
    fclose(file);
    size_t room = 32 << 20;
    char *text = malloc(room);
    *bytes = ZSTD_decompress(text, room, packed, packed_bytes);
    free(packed);
    if (ZSTD_isError(*bytes))
        abort();
    return text;
}

static uint64_t pack_capture(const char *path, uint64_t ordinal)
{
    static uint8_t body[8 << 20];
    size_t bytes;
    char *text = read_whole(path, &bytes), *at = text;
    while (at != NULL && at < text + bytes) {
        char *payload, *end = memchr(at, '\n', (size_t)(text + bytes - at));
        int64_t ns = strtoll(at, &payload, 10);
        size_t length = (size_t)((end == NULL ? text + bytes : end) - ++payload);
        size_t used = tape_ws_build(body, TAPE_WS_TEXT, 1, length, NULL);
        memcpy(body + used, payload, length);
        struct tape_record record = {.ordinal = ordinal++,
                                     .recv_ns = ns,
                                     .connection = 1,
                                     .kind = TAPE_RECORD_FRAME_IN,
                                     .flags = TAPE_RECORD_FLAG_IMPORTED,
                                     .bytes = (uint32_t)(used + length),
                                     .data = body};
        append(&record);
        at = payload + length + 1;
    }
    free(text);
    return ordinal;
}

static void gives_back_captures(void **state)
{
    (void)state;
    const char *folder = getenv("TAPE_DATA");
    static const char *const parts[] = {"hftbacktest", "cryptofeed"};
    char path[4096];
    uint64_t ordinal = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "%s/%s", folder == NULL ? "../shared/data" : folder, parts[i]);
        DIR *directory = opendir(path);
        size_t bytes = strlen(path);
        for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
            snprintf(path + bytes, sizeof path - bytes, "/%s", entry->d_name);
            if (strstr(entry->d_name, ".txt.zst") != NULL)
                ordinal = pack_capture(path, ordinal);
        }
        if (directory != NULL)
            closedir(directory);
    }
    seal_and_compare();
    if (ordinal == 0) {
        print_message("no captures (TAPE_DATA): made texts only\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_back_what_was_appended, open_both, free_both),
        cmocka_unit_test_setup_teardown(tells_shapes_apart_that_have_one_stream, open_both,
                                        free_both),
        cmocka_unit_test_setup_teardown(takes_pairs_of_numbers_as_they_are_laid_out, open_both,
                                        free_both),
        cmocka_unit_test_setup_teardown(keeps_what_stands_before_a_gap, open_both, free_both),
        cmocka_unit_test_setup_teardown(keeps_what_stands_inside_a_fragmented_message, open_both,
                                        free_both),
        cmocka_unit_test(is_the_same_every_time),
        cmocka_unit_test_setup_teardown(packs_ticks_small, open_both, free_both),
        cmocka_unit_test_setup_teardown(refuses_what_no_block_holds, open_both, free_both),
        cmocka_unit_test_setup_teardown(takes_the_longest_record_alone, open_both, free_both),
        cmocka_unit_test_setup_teardown(gives_back_captures, open_both, free_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
