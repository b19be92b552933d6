#include "format/footer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/crc32c.h"

/* The footer stands at 10,000; its segment is 7, the tag 5. */
static const struct tape_block_header own = {
    .segment = 7, .archive_tag = 5, .codec = TAPE_BLOCK_CODEC_FOOTER, .number = 9};
enum { END = 10000, TEXT_BYTES = 200 };

static struct tape_error error;
static uint8_t raw[1 << 20];
static size_t length;

static void begin(uint64_t blocks, uint64_t streams)
{
    length = tape_bytes_put_varint(raw, blocks);
    length += tape_bytes_put_varint(raw + length, streams);
}

static void put_number(uint64_t value)
{
    length += tape_bytes_put_varint(raw + length, value);
}

static void put_name(const char *name)
{
    put_number(strlen(name));
    memcpy(raw + length, name, strlen(name));
    length += strlen(name);
}

/* A block of 10 stored bytes and two records. */
static struct tape_block_header good_header(uint32_t number, uint64_t first_ordinal)
{
    struct tape_block_header header = {.stored_bytes = 10,
                                       .raw_bytes = 10,
                                       .records = 2,
                                       .first_ordinal = first_ordinal,
                                       .segment = 7,
                                       .number = number,
                                       .archive_tag = 5};
    return header;
}

static void put_entry(uint64_t offset, const struct tape_block_header *header)
{
    tape_bytes_put_u64(raw + length, offset);
    tape_block_header_put(raw + length + 8, header);
    length += 88;
}

static int decode_with(struct tape_footer *footer, uint64_t end)
{
    static uint8_t payload[ZSTD_COMPRESSBOUND(sizeof raw)];
    struct tape_block_header header = own;
    header.stored_bytes = (uint32_t)ZSTD_compress(payload, sizeof payload, raw, length, 1);
    header.raw_bytes = (uint32_t)length;
    header.payload_crc32c = tape_crc32c_update(0, payload, header.stored_bytes);
    return tape_footer_decode(footer, &header, payload, end, &error);
}

static void assert_refused(const char *text)
{
    struct tape_footer footer;
    assert_int_equal(decode_with(&footer, END), TAPE_CORRUPT);
    assert_string_equal(error.text, text);
    assert_null(footer.raw);
}

static void see(void *context, const struct tape_segment_stream_count *count)
{
    char *to = context;
    size_t used = strlen(to);
    snprintf(to + used, TEXT_BYTES - used, "%.*s %llu %llu,", (int)count->name_bytes, count->name,
             (unsigned long long)count->messages, (unsigned long long)count->bytes);
}

static void reads_what_the_specification_says(void **state)
{
    (void)state;
    struct tape_footer footer;
    struct tape_block_header first = good_header(0, 100), second = good_header(3, 200);
    begin(2, 2);
    put_name("a@trade");
    put_name("");
    put_entry(64, &first);
    put_number(3); /* two counts */
    put_number(1), put_number(5), put_number(500);
    put_number(0), put_number(1), put_number(UINT64_MAX);
    put_entry(END - 90, &second);
    put_number(0); /* not counted */
    assert_int_equal(decode_with(&footer, END), 0);
    assert_int_equal(footer.blocks, 2);
    assert_int_equal(footer.records, 4);
    assert_int_equal(footer.entries[1].offset, END - 90);
    char text[TEXT_BYTES] = "";
    assert_int_equal(tape_footer_counts(&footer, 0, see, text), 0);
    assert_string_equal(text, " 5 500,a@trade 1 18446744073709551615,");
    assert_int_equal(tape_footer_counts(&footer, 1, see, text), TAPE_MISSING);
    assert_int_equal(tape_footer_counts(&footer, 2, see, text), TAPE_MISSING);
    tape_footer_clear(&footer);
    begin(0, 0);
    assert_int_equal(decode_with(&footer, 64), 0);
    tape_footer_clear(&footer);
}

static void refuses_entries_that_lie(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        const char *text;
    } places[] = {{63, "its block 0 lies outside its place"},
                  {0, "its block 0 lies outside its place"},
                  {END - 89, "its block 0 lies outside its place"},
                  {END, "its block 0 lies outside its place"},
                  {UINT64_MAX - 20, "its block 0 lies outside its place"},
                  {UINT64_MAX, "its block 0 lies outside its place"}};
    struct tape_block_header header = good_header(0, 100), other;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        begin(1, 0);
        put_entry(places[i].offset, &header);
        put_number(0);
        assert_refused(places[i].text);
    }
    const struct {
        struct tape_block_header header;
        const char *text;
    } seconds[] = {
        {good_header(0, 102), "its block 1 is out of order"},
        {good_header(1, 101), "its block 1 is out of order"},
    };
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        begin(2, 0);
        put_entry(64, &header);
        put_number(0);
        put_entry(154, &seconds[i].header);
        put_number(0);
        assert_refused(seconds[i].text);
    }
    begin(2, 0);
    put_entry(64, &header);
    put_number(0);
    other = good_header(1, 102);
    put_entry(153, &other); /* overlaps by a byte */
    put_number(0);
    assert_refused("its block 1 lies outside its place");
}

static void refuses_entries_of_others(void **state)
{
    (void)state;
    struct tape_block_header headers[4];
    for (int i = 0; i < 4; i++)
        headers[i] = good_header(0, 100);
    headers[0].segment = 8;
    headers[1].archive_tag = 6;
    headers[2].codec = TAPE_BLOCK_CODEC_FOOTER;
    headers[2].records = 0;
    for (int i = 0; i < 3; i++) {
        begin(1, 0);
        put_entry(64, &headers[i]);
        put_number(0);
        assert_refused("its block 0 is not of this segment");
    }
    begin(1, 0);
    put_entry(64, &headers[3]);
    raw[length - 1] ^= 1;
    put_number(0);
    assert_refused("its block 0: header checksum mismatch");
}

static void refuses_counts_and_names_that_do_not_fit(void **state)
{
    (void)state;
    struct tape_block_header header = good_header(0, 100);
    begin(1, 1);
    put_name("a");
    put_entry(64, &header);
    put_number(2), put_number(1), put_number(1), put_number(1); /* there is no stream 1 */
    assert_refused("the counts of its block 0");
    begin(1, 1);
    put_name("a");
    put_entry(64, &header);
    put_number(3); /* more counts than streams */
    assert_refused("the counts of its block 0");
    begin(1, 0);
    put_entry(64, &header);
    put_number(2), put_number(0), put_number(1), put_number(1);
    assert_refused("the counts of its block 0");
    begin(0, 1);
    put_number(256);
    memset(raw + length, 'n', 256);
    length += 256;
    assert_refused("its stream names");
    begin(0, 1);
    put_number(2);
    raw[length++] = 'n';
    assert_refused("its stream names");
    begin(0, 1ull << 40);
    assert_refused("its numbers of blocks and streams");
    begin(1ull << 40, 0);
    assert_refused("its numbers of blocks and streams");
    begin(TAPE_SEGMENT_BLOCKS_MAX, 0);
    assert_refused("its numbers of blocks and streams"); /* the bytes cannot hold so many */
    begin(0, 0);
    raw[length++] = 0;
    assert_refused("bytes follow its last block");
    begin(1, 0);
    put_entry(64, &header);
    length--;
    assert_refused("it ends inside block 0");
}

static void checks_the_payload(void **state)
{
    (void)state;
    uint8_t payload[64] = {1, 2, 3};
    struct tape_footer footer;
    struct tape_block_header header = own;
    header.stored_bytes = 20;
    header.raw_bytes = 20;
    assert_int_equal(tape_footer_decode(&footer, &header, payload, END, &error), TAPE_CORRUPT);
    assert_string_equal(error.text, "checksum mismatch");
    header.payload_crc32c = tape_crc32c_update(0, payload, 20);
    assert_int_equal(tape_footer_decode(&footer, &header, payload, END, &error), TAPE_CORRUPT);
    assert_string_equal(error.text, "the payload is not a zstd frame as specified");
}

/* --- the builder --- */

static void add(struct tape_footer_builder *builder, uint32_t number,
                const struct tape_segment_stream_count *counts, size_t counts_length)
{
    uint8_t bytes[TAPE_BLOCK_HEADER_BYTES];
    struct tape_block_header header = good_header(number, 100 + 2ull * number);
    tape_block_header_put(bytes, &header);
    assert_int_equal(
        tape_footer_add(builder, 64 + 90ull * number, bytes, counts, counts_length, &error), 0);
}

static void gives_back_what_was_built(void **state)
{
    (void)state;
    enum { BLOCKS = 300 };
    struct tape_footer_builder *builder = tape_footer_builder_new();
    struct tape_footer footer;
    char names[BLOCKS][8];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        snprintf(names[i], sizeof names[i], "s%u", i);
        const struct tape_segment_stream_count counts[] = {
            {names[i], (uint32_t)strlen(names[i]), i, 1000 + i}, {"all", 3, 1, 2}};
        add(builder, i, counts, 2);
        /* One more that a failed write takes back, with a stream that came before. */
        if (i % 7 == 0) {
            add(builder, i + 1, counts, 1);
            tape_footer_drop_last(builder);
        }
    }
    assert_int_equal(tape_footer_records(builder), 2 * BLOCKS);
    struct tape_block_header header = own;
    uint8_t *bytes;
    size_t bytes_length;
    header.number = BLOCKS;
    assert_int_equal(tape_footer_encode(builder, &header, &bytes, &bytes_length, &error), 0);
    assert_true(header.raw_bytes <= tape_footer_raw_bytes(builder));
    assert_int_equal(tape_block_header_get(bytes, &header, &error), 0);
    assert_int_equal(bytes_length, TAPE_BLOCK_HEADER_BYTES + header.stored_bytes);
    assert_int_equal(
        tape_footer_decode(&footer, &header, bytes + TAPE_BLOCK_HEADER_BYTES, 1 << 20, &error), 0);
    assert_int_equal(footer.blocks, BLOCKS);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        char text[TEXT_BYTES] = "", want[TEXT_BYTES];
        snprintf(want, sizeof want, "s%u %u %u,all 1 2,", i, i, 1000 + i);
        assert_int_equal(tape_footer_counts(&footer, i, see, text), 0);
        assert_string_equal(text, want);
        assert_int_equal(footer.entries[i].offset, 64 + 90 * i);
    }
    tape_footer_clear(&footer);
    tape_footer_builder_free(builder);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_specification_says),
        cmocka_unit_test(refuses_entries_that_lie),
        cmocka_unit_test(refuses_entries_of_others),
        cmocka_unit_test(refuses_counts_and_names_that_do_not_fit),
        cmocka_unit_test(checks_the_payload),
        cmocka_unit_test(gives_back_what_was_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
