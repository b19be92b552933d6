#include "format/columns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/pack.h"
#include "tests/unit/compare_columns.h"
#include "tests/unit/make_columns.h"

enum { FOREIGN_BLOCKS = 40000, WRITTEN_BLOCKS = 60, STORY_RECORDS = 60000 };

static struct compare compare;
static struct tape_error error;

static int begin(void **state)
{
    (void)state;
    memset(&compare, 0, sizeof compare);
    return !compare_begin(&compare);
}

static int end(void **state)
{
    (void)state;
    compare_end(&compare);
    return 0;
}

/* --- templates of a foreign hand --- */

static void reads_any_template_as_the_parser_does(void **state)
{
    (void)state;
    struct chooser chooser = {.dice = {20261122}};
    uint64_t ordinal = 0;
    for (int i = 0; i < FOREIGN_BLOCKS; i++) {
        struct made_packed made = {0};
        made_cut_block(&made, &chooser, ordinal);
        if (!compare_block(&compare, &made.header, made.payload.bytes))
            fail_msg("block %d: %s", i, compare.text);
        ordinal += made.header.records;
        made_packed_free(&made);
    }
    /* Nearly all blocks are good, half of them tame. */
    assert_true(compare.messages > ordinal / 10 * 8);
    assert_true(compare.without_text > ordinal / 4);
    assert_true(compare.valid > ordinal / 2);
    assert_true(compare.levels > ordinal / 20);
}

/* Programs, and whether their rows need no text. */
static const struct {
    const char *program;
    int without;
} written[] = {
    {"{\"e\":\"trade\",\"E\":%i,\"T\":%i,\"t\":%i,\"p\":\"%f\",\"q\":\"%r\",\"m\":%b,\"M\":%b}", 1},
    {"{\"stream\":\"%p\",\"data\":{\"e\":\"depthUpdate\",\"s\":\"%w\",\"u\":%i,\"b\":[%([\"%f\",\"%"
     "z\"]%)"
     "],\"a\":[%([%f,%e]%)]}}",
     1},
    {"{\"stream\":\"%p\",\"data\":{\"e\":\"%v\",\"s\":\"%w\",\"u\":%i,\"p\":\"%f\",\"q\":%r,\"a\":["
     "],\"b\":["
     "%([\"%f\",\"%f\",[%(%i%)]]%)]}}",
     1},
    {"{\"e\":\"bookTicker\",\"b\":\"%z\",\"B\":%r,\"a\":%f,\"A\":null,\"u\":null,\"id\":\"%u\"}",
     1},
    {"{\"e\":\"aggTrade\",\"a\":12,\"p\":\"0.10\",\"f\":-5,\"l\":%f,\"T\":\"%t\",\"x\":[%([%(%i%)]%"
     ")]}",
     1},
    {"{\"e\":\"aggTrade\",\"a\":%0,\"p\":%0,\"q\":\"%0\",\"m\":%0,\"x\":%1,\"pad\":\"0123456789\"}",
     0},
    {"{\"u\":%1,\"s\":\"A\",\"b\":\"1\",\"B\":\"1\",\"a\":\"1\",\"A\":\"%i\",\"y\":\"0123456789\"}",
     0},
    {"{\"no\":\"message that is known\",\"time\":%i,\"list\":[%({\"a\":%i,\"b\":\"%w\"}%)]}", 1},
    /* an integer that is written with decimals in some rows */
    {"{\"e\":\"trade\",\"t\":%r,\"p\":\"1\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"t\":%e,\"p\":\"1\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"t\":%z,\"p\":\"1\",\"y\":\"0123456789\"}", 1},
    /* slots that are parts of something */
    {"{\"e\":\"trade\",\"p\":\"%i0\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"p\":\"1%i\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"t\":1%i,\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"t\":%i.5,\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"s\":\"%w@\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"s\":\"%w%w\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"%w\":1,\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"%i\" : 1,\"y\":\"0123456789\"}", 0},
    /* lists that are not all of an array, or elements that are not one value */
    {"{\"e\":\"depthUpdate\",\"b\":[%([\"%i\",\"%i\"]%),[\"1\",\"2\"]],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[[\"1\",\"2\"],%([\"%i\",\"%i\"]%)],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[%([\"%i\"%),\"2\"]],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[%([\"%i\",\"%i\"],[\"3\",\"4\"]%)],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[%([\"%i\",\"1\"]],\"a\":[[\"1\",\"2\"]%)],\"y\":"
     "\"0123456789\"}",
     0},
    {"{\"e\":\"trade\",\"x\":[%(1],\"t\":5,\"z\":[%i%)],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"x\":[%([%(%i%)%)]],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"x\":[%(%(%i%)%)],\"t\":%i,\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"x\":%([%i]%),\"t\":%i,\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",%(\"t\":%i%),\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"x\":\"[%(%i%)]\",\"t\":%i,\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[%([\"%w\",\"%i\"]%)],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[%([\"%i\"]%)],\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"depthUpdate\",\"b\":[[\"1\",\"2\"]],\"u\":%i,\"y\":\"0123456789\"}", 0},
    /* an answer, whatever its group says */
    {"{\"id\":%i,\"result\":null,\"y\":\"0123456789\"}", -1},
    {"%i {\"e\":\"trade\",\"y\":\"0123456789\"}", 0},
    {"{\"e\":\"trade\",\"t\":%i,\"y\":\"0123456789\"", 0},
};

/* Some blocks of the program; *messages: what they hold. Returns how many needed no text. */
static uint64_t try_program(struct chooser *chooser, const char *program, int unnamed,
                            uint64_t *messages)
{
    static uint64_t ordinal;
    uint64_t before = compare.messages, without = compare.without_text;
    for (int block = 0; block < WRITTEN_BLOCKS; block++) {
        struct made_packed made = {0};
        struct cut cut = {.chooser = chooser, .tame = 1, .unnamed = unnamed};
        cut_written(&cut, program);
        made_block_of(&made, &cut, ordinal);
        if (!compare_block(&compare, &made.header, made.payload.bytes))
            fail_msg("%s: %s", program, compare.text);
        ordinal += made.header.records;
        made_packed_free(&made);
        free_cut(&cut);
    }
    *messages = compare.messages - before;
    return compare.without_text - without;
}

static void knows_which_templates_need_no_text(void **state)
{
    (void)state;
    struct chooser chooser = {.dice = {1}};
    uint64_t messages;
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        const char *program = written[i].program;
        uint64_t without = try_program(&chooser, program, 0, &messages);
        if (written[i].without < 0
                ? messages > 0
                : messages == 0 || without != (written[i].without ? messages : 0))
            fail_msg("%s: %llu of %llu without text", program, (unsigned long long)without,
                     (unsigned long long)messages);
    }
    assert_int_equal(try_program(&chooser, written[0].program, 1, &messages), 0);
    assert_true(messages > 0);
}

/* --- blocks of our own --- */

/* Ticks, fragments of long messages between them, control frames, answers, events and worse. */
static uint32_t make_story_body(struct dice *dice, struct tape_record *record, char body[512])
{
    static const char *const ticks[] = {
        "{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":17231612%05u,\"t\":%u,\"p\":"
        "\"%u.10\","
        "\"m\":true}}",
        "{\"stream\":\"btcusdt@depth\",\"data\":{\"e\":\"depthUpdate\",\"E\":17231612%05u,\"u\":%u,"
        "\"b\":[[\"%u."
        "5\",\"0.1\"]],\"a\":[]}}",
        "{\"stream\":\"btcusdt@depth5\",\"data\":{\"e\":\"depthUpdate\",\"E\":17231612%05u,\"u\":%"
        "u,\"b\":[[\"%u."
        "5\",\"0.1\"]],\"a\":[]}}",
        "{\"stream\":\"late\",\"data\":{\"e\":\"trade\",\"E\":%u,\"t\":%u,\"p\":\"1e%u\"}}",
        "{\"id\":%u,\"result\":null,\"a\":[%u,%u]}",
    };
    unsigned number = (unsigned)roll_below(dice, 100000);
    uint64_t way = roll_below(dice, 40);
    char text[480];
    int length = snprintf(text, sizeof text, ticks[way % 13 < 5 ? way % 13 : way % 3], number,
                          number * 3, number % 977);
    int opcode = TAPE_WS_TEXT, fin = 1;
    record->connection = 1 + (uint32_t)roll_below(dice, 3);
    if (record->connection == 3) { /* always in fragments, the first and last tell nothing */
        static unsigned open;
        opcode = open ? TAPE_WS_CONTINUATION : TAPE_WS_TEXT;
        length = snprintf(text, sizeof text,
                          open ? "\"x\":%u}}" : "{\"stream\":\"cut\",\"data\":{\"y\":%u,", number);
        if (open && way % 2)
            length = snprintf(text, sizeof text, "\"z\":%u,", number);
        fin = open && way % 2 == 0;
        open = !fin;
    } else if (way == 39) {
        opcode = TAPE_WS_PING;
        length = 5;
    } else if (way == 38) {
        record->flags |= TAPE_RECORD_FLAG_BAD;
    } else if (way == 37) {
        opcode = TAPE_WS_BINARY;
    }
    size_t header = tape_ws_build((uint8_t *)body, opcode, fin, (uint64_t)length, NULL);
    memcpy(body + header, text, (size_t)length);
    return (uint32_t)(header + (size_t)length);
}

struct story {
    struct dice dice;
    struct tape_pack *pack;
    struct tape_block_builder *builder;
    uint64_t ordinal;
};

/* Some records as the next block, packed or as recorded; lost: nobody gets to see it. damaged:
 * neither reader can open it. */
static void tell_block(struct story *story, uint32_t records, int packed, int lost, int damaged)
{
    struct tape_block_header header;
    uint8_t *stored;
    for (uint32_t i = 0; i < records; i++) {
        char body[512];
        struct tape_record record = {.ordinal = story->ordinal++,
                                     .recv_ns = made_ns + (int64_t)story->ordinal * 1000,
                                     .kind = TAPE_RECORD_FRAME_IN,
                                     .data = (const uint8_t *)body};
        record.bytes = make_story_body(&story->dice, &record, body);
        if (roll_below(&story->dice, 300) == 0) {
            record.kind = TAPE_RECORD_CONNECTION_CLOSE;
            record.bytes = 2;
        }
        assert_int_equal(packed ? tape_pack_append(story->pack, &record, &error)
                                : tape_block_append(story->builder, &record, &error),
                         1);
    }
    assert_int_equal(packed ? tape_pack_seal(story->pack, &header, &stored, &error)
                            : tape_block_seal(story->builder, TAPE_BLOCK_CODEC_INTERLEAVED, 1,
                                              &header, &stored, &error),
                     0);
    stored += TAPE_BLOCK_HEADER_BYTES;
    header.payload_crc32c ^= (uint32_t)damaged;
    if (!lost && !compare_block(&compare, &header, stored))
        fail_msg("block of ordinal %llu: %s", (unsigned long long)header.first_ordinal,
                 compare.text);
}

static void gives_what_the_feed_gives_from_block_to_block(void **state)
{
    (void)state;
    struct story story = {.dice = {7}};
    uint32_t bad = 0;
    story.pack = tape_pack_new(TAPE_PACK_WARM);
    story.builder = tape_block_builder_new();
    while (story.ordinal < STORY_RECORDS) {
        uint32_t records = 1 + (uint32_t)roll_below(&story.dice, 400);
        int lost = roll_below(&story.dice, 16) == 0, damaged = roll_below(&story.dice, 16) == 0;
        tell_block(&story, records, (int)roll_below(&story.dice, 2), lost, damaged);
        bad += lost || damaged ? records : 0;
    }
    assert_true(compare.messages > (story.ordinal - bad) / 2);
    assert_true(compare.without_text > story.ordinal / 10);
    tape_pack_free(story.pack);
    tape_block_builder_free(story.builder);
}

/* --- asking for some streams --- */

static int wants_trades(void *context, const char *stream, size_t bytes)
{
    (void)context;
    return bytes == 13 && memcmp(stream, "btcusdt@trade", 13) == 0;
}

static void passes_over_what_is_not_asked_for(void **state)
{
    (void)state;
    struct story story = {.dice = {9}, .pack = tape_pack_new(TAPE_PACK_WARM)};
    struct tape_block_header header;
    const struct tape_columns_batch *batch;
    uint8_t *stored;
    uint32_t trades = 0, others = 0, wanted = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        char body[512];
        struct tape_record record = {.ordinal = i,
                                     .recv_ns = made_ns,
                                     .kind = TAPE_RECORD_FRAME_IN,
                                     .data = (const uint8_t *)body};
        record.bytes = make_story_body(&story.dice, &record, body);
        wanted += record.connection < 3 && record.flags == 0 && body[0] == (char)0x81 &&
                  memmem(body, record.bytes, "btcusdt@trade", 13) != NULL;
        assert_int_equal(tape_pack_append(story.pack, &record, &error), 1);
    }
    assert_int_equal(tape_pack_seal(story.pack, &header, &stored, &error), 0);
    tape_columns_select(compare.columns, wants_trades, NULL);
    assert_int_equal(
        tape_columns_open(compare.columns, &header, stored + TAPE_BLOCK_HEADER_BYTES, &error), 0);
    while ((batch = tape_columns_next(compare.columns)) != NULL) {
        for (uint32_t row = 0; row < batch->rows; row++) {
            struct tape_slice stream = tape_columns_word(&batch->words[TAPE_COLUMNS_STREAM], row);
            *(wants_trades(NULL, stream.data, stream.bytes) ? &trades : &others) += 1;
        }
    }
    assert_int_equal(trades, wanted);
    assert_true(others < 1000); /* what is in no named group */
    tape_columns_select(compare.columns, NULL, NULL);
    tape_pack_free(story.pack);
}

/* --- bytes that are no block --- */

static void tells_what_is_damaged(void **state)
{
    (void)state;
    struct chooser chooser = {.dice = {3}};
    struct made_packed made = {0};
    made_cut_block(&made, &chooser, 5);
    struct tape_block_header header = made.header;
    header.payload_crc32c ^= 1;
    assert_int_equal(tape_columns_open(compare.columns, &header, made.payload.bytes, &error),
                     TAPE_CORRUPT);
    assert_string_equal(error.text, "checksum mismatch");
    assert_null(tape_columns_next(compare.columns));
    header = made.header;
    header.codec = 9;
    assert_int_equal(tape_columns_open(compare.columns, &header, made.payload.bytes, &error),
                     TAPE_FAILED);
    assert_string_equal(error.text, "codec 9 is not known to this version");
    header = made.header;
    header.records = header.raw_bytes;
    assert_int_equal(tape_columns_open(compare.columns, &header, made.payload.bytes, &error),
                     TAPE_CORRUPT);
    assert_null(tape_columns_next(compare.columns));
    assert_int_equal(tape_columns_open(compare.columns, &made.header, made.payload.bytes, &error),
                     0);
    assert_non_null(tape_columns_next(compare.columns));
    made_packed_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_any_template_as_the_parser_does, begin, end),
        cmocka_unit_test_setup_teardown(knows_which_templates_need_no_text, begin, end),
        cmocka_unit_test_setup_teardown(gives_what_the_feed_gives_from_block_to_block, begin, end),
        cmocka_unit_test_setup_teardown(passes_over_what_is_not_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(tells_what_is_damaged, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
