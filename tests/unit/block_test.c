#include "format/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/crc32c.h"
#include "tests/unit/guard.h"
#include "tests/unit/make_records.h"

static struct tape_block_builder *builder;
static struct tape_block_reader *reader;
static struct tape_error error;

static int open_both(void **state)
{
    (void)state;
    builder = tape_block_builder_new();
    reader = tape_block_reader_new();
    return builder == NULL || reader == NULL;
}

static int free_both(void **state)
{
    (void)state;
    tape_block_builder_free(builder);
    tape_block_reader_free(reader);
    return 0;
}

/* A block of made records [first, first + records). */
static uint8_t *seal_made(uint64_t first, uint32_t records, int codec,
                          struct tape_block_header *header)
{
    char body[128];
    uint8_t *stored;
    for (uint64_t ordinal = first; ordinal < first + records; ordinal++) {
        struct tape_record record = made_record(ordinal, body);
        assert_int_equal(tape_block_append(builder, &record, &error), 1);
    }
    assert_int_equal(tape_block_seal(builder, codec, 1, header, &stored, &error), 0);
    tape_block_header_put(stored, header);
    return stored;
}

static void assert_made(uint64_t first, uint32_t records)
{
    struct tape_record record;
    for (uint64_t ordinal = first; ordinal < first + records; ordinal++) {
        assert_int_equal(tape_block_next(reader, &record), 1);
        assert_true(record.ordinal == ordinal);
        assert_true(is_made_record(&record));
    }
    assert_int_equal(tape_block_next(reader, &record), 0);
}

static void gives_back_what_was_appended(void **state)
{
    (void)state;
    struct tape_block_header header, again;
    for (uint32_t records = 1; records < 2000; records = records * 2 + 1) {
        for (int codec = 0; codec < 2; codec++) {
            uint8_t *stored = seal_made(1000, records, codec, &header);
            assert_int_equal(header.records, records);
            assert_true(header.first_ordinal == 1000);
            assert_int_equal(tape_block_header_get(stored, &again, &error), 0);
            assert_int_equal(tape_block_open(reader, &again, stored + 80, &error), 0);
            assert_made(1000, records);
        }
    }
    assert_int_equal(header.codec, TAPE_BLOCK_CODEC_INTERLEAVED);
}

static void counts_from_the_smallest_stamp(void **state)
{
    (void)state;
    static const int64_t stamps[] = {50, 10, 90, INT64_MIN, INT64_MAX, 0};
    struct tape_block_header header;
    struct tape_record record = {.kind = 14};
    uint8_t *stored;
    for (size_t i = 0; i < 6; i++) {
        record.ordinal = i;
        record.recv_ns = stamps[i];
        assert_int_equal(tape_block_append(builder, &record, &error), 1);
    }
    assert_int_equal(tape_block_seal(builder, 1, 1, &header, &stored, &error), 0);
    assert_true(header.min_recv_ns == INT64_MIN && header.max_recv_ns == INT64_MAX);
    assert_int_equal(tape_block_open(reader, &header, stored + 80, &error), 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(tape_block_next(reader, &record), 1);
        assert_true(record.recv_ns == stamps[i]);
        assert_int_equal(record.bytes, 0);
    }
}

static void stores_what_does_not_compress(void **state)
{
    (void)state;
    struct dice dice = {7};
    uint8_t noise[5000];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)roll(&dice);
    struct tape_record record = {.kind = 1, .bytes = sizeof noise, .data = noise};
    struct tape_block_header header;
    uint8_t *stored;
    assert_int_equal(tape_block_append(builder, &record, &error), 1);
    assert_int_equal(tape_block_seal(builder, 1, 1, &header, &stored, &error), 0);
    assert_int_equal(header.codec, TAPE_BLOCK_CODEC_STORED);
    assert_int_equal(header.level, 0);
    assert_int_equal(header.stored_bytes, header.raw_bytes);
    tape_block_header_put(stored, &header); /* the room before the payload is there */
    assert_int_equal(tape_block_open(reader, &header, stored + 80, &error), 0);
    assert_int_equal(tape_block_next(reader, &record), 1);
    assert_memory_equal(record.data, noise, sizeof noise);
}

static void is_full_at_256_kib_and_takes_one_record_of_any_length(void **state)
{
    (void)state;
    uint8_t *body = calloc(1, TAPE_RECORD_MAX_BYTES);
    struct tape_record record = {.kind = 1, .bytes = 1000, .data = body};
    struct tape_block_header header;
    uint8_t *stored;
    int result;
    while ((result = tape_block_append(builder, &record, &error)) == 1)
        record.ordinal++;
    assert_int_equal(result, 0);
    assert_in_range(tape_block_raw_bytes(builder), TAPE_BLOCK_SEAL_BYTES - 1100,
                    TAPE_BLOCK_SEAL_BYTES);
    assert_int_equal(tape_block_records(builder), record.ordinal);
    assert_int_equal(tape_block_seal(builder, 1, 1, &header, &stored, &error), 0);
    assert_int_equal(tape_block_records(builder), 0);
    assert_int_equal(tape_block_raw_bytes(builder), 0);
    for (size_t i = 0; i < TAPE_RECORD_MAX_BYTES; i += 4096)
        body[i] = (uint8_t)(i >> 12);
    record.bytes = TAPE_RECORD_MAX_BYTES;
    assert_int_equal(tape_block_append(builder, &record, &error), 1);
    uint64_t ordinal = record.ordinal++;
    record.bytes = 0;
    assert_int_equal(tape_block_append(builder, &record, &error), 0);
    assert_int_equal(tape_block_seal(builder, 0, 0, &header, &stored, &error), 0);
    assert_int_equal(tape_block_open(reader, &header, stored + 80, &error), 0);
    assert_int_equal(tape_block_next(reader, &record), 1);
    assert_true(record.ordinal == ordinal);
    assert_int_equal(record.bytes, TAPE_RECORD_MAX_BYTES);
    assert_memory_equal(record.data, body, TAPE_RECORD_MAX_BYTES);
    free(body);
}

static void refuses_misuse(void **state)
{
    (void)state;
    struct tape_block_header header;
    struct tape_record record = {.ordinal = 5, .kind = 1};
    uint8_t *stored;
    assert_int_equal(tape_block_seal(builder, 1, 1, &header, &stored, &error), TAPE_USAGE);
    assert_string_equal(error.text, "a block without records cannot be sealed");
    assert_int_equal(tape_block_append(builder, &record, &error), 1);
    record.ordinal = 7;
    assert_int_equal(tape_block_append(builder, &record, &error), TAPE_USAGE);
    assert_string_equal(error.text, "ordinal 7 follows 5 in a block");
    record.ordinal = 6;
    record.kind = 0;
    assert_int_equal(tape_block_append(builder, &record, &error), TAPE_USAGE);
    record.kind = 1;
    record.bytes = TAPE_RECORD_MAX_BYTES + 1;
    assert_int_equal(tape_block_append(builder, &record, &error), TAPE_LIMIT);
    assert_string_equal(error.text, "a record of 16781313 bytes is longer than 16781312");
    assert_int_equal(tape_block_seal(builder, 4, 1, &header, &stored, &error), TAPE_USAGE);
    assert_string_equal(error.text, "codec 4 cannot be written");
}

static void stands_as_specified(void **state)
{
    (void)state;
    struct tape_block_header header = {
        .payload_crc32c = 0x04030201,
        .stored_bytes = 0x100,
        .raw_bytes = 0x200,
        .records = 3,
        .first_ordinal = 0x1122334455667788ull,
        .min_recv_ns = -2,
        .max_recv_ns = 5,
        .realtime_minus_monotonic_ns = -1,
        .previous_stored_bytes = 9,
        .segment = 7,
        .number = 2,
        .codec = 1,
        .level = 1,
        .archive_tag = 0x0807060504030201ull,
    };
    static const uint8_t want[72] = {
        1,    2,    3,    4,    0,    1,    0,    0,    0,    2,    0,    0,    3,    0,    0,
        0,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 5,    0,    0,    0,    0,    0,    0,    0,    0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 9,    0,    0,    0,    7,    0,    0,    0,    2,    0,    0,    0,
        1,    1,    0,    0,    1,    2,    3,    4,    5,    6,    7,    8};
    uint8_t bytes[80];
    tape_block_header_put(bytes, &header);
    assert_memory_equal(bytes, "TBK1", 4);
    assert_memory_equal(bytes + 8, want, sizeof want);
    assert_int_equal(tape_bytes_get_u32(bytes + 4), tape_crc32c_update(0, want, sizeof want));
}

static void every_flipped_bit_of_a_header_is_seen(void **state)
{
    (void)state;
    struct tape_block_header header, got;
    uint8_t *stored = seal_made(3, 4, 1, &header), bytes[80];
    for (int bit = 0; bit < 640; bit++) {
        memcpy(bytes, stored, 80);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(tape_block_header_get(bytes, &got, &error), TAPE_CORRUPT);
        assert_string_equal(error.text, bit < 32 ? "no block header" : "header checksum mismatch");
    }
}

static void every_flipped_bit_of_a_payload_is_seen(void **state)
{
    (void)state;
    struct tape_block_header header;
    uint8_t *stored = seal_made(3, 10, 1, &header) + 80;
    for (uint32_t bit = 0; bit < header.stored_bytes * 8; bit++) {
        stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(tape_block_open(reader, &header, stored, &error), TAPE_CORRUPT);
        assert_string_equal(error.text, "checksum mismatch");
        stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(tape_block_open(reader, &header, stored, &error), 0);
}

/* One field of a good header set to what may not be, its CRC right. */
static const struct {
    size_t offset, bytes;
    uint64_t value;
    const char *text;
} bad_fields[] = {
    {12, 4, 0, "stored length is out of bounds"},
    {12, 4, TAPE_BLOCK_STORED_MAX_BYTES + 1, "stored length is out of bounds"},
    {16, 4, 0, "raw length is out of bounds"},
    {16, 4, TAPE_BLOCK_RAW_MAX_BYTES + 1, "raw length is out of bounds"},
    {16, 4, UINT32_MAX, "raw length is out of bounds"},
    {20, 4, 0, "record count is out of bounds"},
    {20, 4, UINT32_MAX, "record count is out of bounds"},
    {24, 8, UINT64_MAX, "ordinal is out of bounds"},
    {24, 8, (1ull << 63) - 3, "ordinal is out of bounds"},
    {32, 8, INT64_MAX, "times are out of order"},
    {68, 1, 0, "stored and raw length of a stored block differ"},
    {68, 1, 4, "a footer counts records"},
    {70, 2, 1, "reserved flags are set"},
};

static void refuses_fields_out_of_bounds(void **state)
{
    (void)state;
    struct tape_block_header header, got;
    uint8_t *stored = seal_made(3, 4, 1, &header), bytes[80];
    for (size_t i = 0; i < sizeof bad_fields / sizeof bad_fields[0]; i++) {
        memcpy(bytes, stored, 80);
        memcpy(bytes + bad_fields[i].offset, &bad_fields[i].value, bad_fields[i].bytes);
        tape_bytes_put_u32(bytes + 4, tape_crc32c_update(0, bytes + 8, 72));
        assert_int_equal(tape_block_header_get(bytes, &got, &error), TAPE_CORRUPT);
        assert_string_equal(error.text, bad_fields[i].text);
    }
}

static void leaves_unknown_codecs_to_others(void **state)
{
    (void)state;
    struct tape_block_header header;
    uint8_t *stored = seal_made(3, 4, 1, &header);
    header.codec = 5;
    tape_block_header_put(stored, &header);
    assert_int_equal(tape_block_header_get(stored, &header, &error), 0);
    assert_int_equal(tape_block_open(reader, &header, stored + 80, &error), TAPE_FAILED);
    assert_string_equal(error.text, "codec 5 is not known to this version");
}

/* Opens a payload of our own making, its CRC right. */
static int open_payload(const uint8_t *payload, size_t bytes, uint32_t raw_bytes, uint32_t records)
{
    struct guard guard = guard_open(bytes + 1);
    struct tape_block_header header = {
        .payload_crc32c = tape_crc32c_update(0, payload, bytes),
        .stored_bytes = (uint32_t)bytes,
        .raw_bytes = raw_bytes,
        .records = records,
        .codec = 1,
    };
    int status = tape_block_open(reader, &header, guard_put(&guard, payload, bytes), &error);
    guard_close(&guard);
    return status;
}

static size_t compress(uint8_t *to, size_t room, size_t zeros, int window_log, int flags)
{
    uint8_t *raw = calloc(1, zeros);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, flags);
    if (window_log > 0)
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
    ZSTD_inBuffer in = {raw, zeros, 0};
    ZSTD_outBuffer out = {to, room, 0};
    /* Two steps, so that the frame keeps a window of its own. */
    size_t all = in.size;
    in.size = all / 2;
    if (window_log > 0)
        ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_continue);
    in.size = all;
    assert_int_equal(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(zstd);
    free(raw);
    return out.pos;
}

static void refuses_hostile_frames(void **state)
{
    (void)state;
    static uint8_t frame[64 << 10];
    size_t bytes = compress(frame, sizeof frame, 1 << 20, 0, 1);
    /* a bomb: the header says 100 bytes, the frame a mebibyte */
    assert_int_equal(open_payload(frame, bytes, 100, 1), TAPE_CORRUPT);
    assert_string_equal(error.text, "the zstd frame states another length");
    /* whole, but its records are none */
    assert_int_equal(open_payload(frame, bytes, 1 << 20, 1), TAPE_CORRUPT);
    assert_string_equal(error.text, "record 0 at byte 0 is none");
    assert_int_equal(open_payload(frame, bytes - 1, 1 << 20, 1), TAPE_CORRUPT);
    assert_string_equal(error.text, "the payload is not exactly one zstd frame");
    frame[bytes] = 0;
    assert_int_equal(open_payload(frame, bytes + 1, 1 << 20, 1), TAPE_CORRUPT);
    assert_string_equal(error.text, "the payload is not exactly one zstd frame");
    memcpy(frame + bytes, frame, bytes);
    assert_int_equal(open_payload(frame, 2 * bytes, 1 << 20, 1), TAPE_CORRUPT);
    assert_string_equal(error.text, "the payload is not exactly one zstd frame");
    bytes = compress(frame, sizeof frame, 1 << 20, 0, 0);
    frame[4] &= (uint8_t)~0x20;
    assert_int_equal(open_payload(frame, bytes, 1 << 20, 1), TAPE_CORRUPT);
    assert_string_equal(error.text, "the zstd frame states another length");
    for (size_t cut = 1; cut < 12; cut++)
        assert_int_equal(open_payload(frame, cut, 1 << 20, 1), TAPE_CORRUPT);
}

static void refuses_a_window_beyond_32_mib(void **state)
{
    (void)state;
    /* magic; descriptor: 4 bytes of content size, a window; window 2^(10+16); size 100; one RLE
     * block of 100 zeros, the last */
    uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x80, 16 << 3, 100, 0, 0, 0, 0x23, 0x03, 0, 0};
    assert_int_equal(open_payload(frame, sizeof frame, 100, 20), TAPE_CORRUPT);
    assert_string_equal(error.text, "the zstd frame asks for a window of 67108864 bytes");
    frame[5] = 15 << 3 | 1;
    assert_int_equal(open_payload(frame, sizeof frame, 100, 20), TAPE_CORRUPT);
    assert_string_equal(error.text, "the zstd frame asks for a window of 37748736 bytes");
    frame[5] = 15 << 3; /* exactly 32 MiB may be */
    assert_int_equal(open_payload(frame, sizeof frame, 100, 20), TAPE_CORRUPT);
    assert_string_equal(error.text, "record 0 at byte 0 is none");
    frame[4] = 0x81; /* a dictionary */
    assert_int_equal(open_payload(frame, sizeof frame, 100, 20), TAPE_CORRUPT);
    assert_string_equal(error.text, "the payload is not a zstd frame as specified");
    memcpy(frame, "\x50\x2a\x4d\x18", 4); /* a skippable frame */
    assert_int_equal(open_payload(frame, sizeof frame, 100, 20), TAPE_CORRUPT);
    assert_string_equal(error.text, "the payload is not a zstd frame as specified");
}

/* A stored block of raw bytes as they are. */
static int open_raw(const void *raw, uint32_t bytes, uint32_t records, int64_t min, int64_t max)
{
    struct tape_block_header header = {
        .payload_crc32c = tape_crc32c_update(0, raw, bytes),
        .stored_bytes = bytes,
        .raw_bytes = bytes,
        .records = records,
        .min_recv_ns = min,
        .max_recv_ns = max,
    };
    return tape_block_open(reader, &header, raw, &error);
}

static void refuses_wrong_counts_and_times(void **state)
{
    (void)state;
    static const uint8_t two[] = {1, 0, 0, 0, 0, 1, 0, 4, 0, 0, 9};
    assert_int_equal(open_raw(two, 10, 2, 5, 7), 0);
    assert_int_equal(open_raw(two, 11, 2, 5, 7), TAPE_CORRUPT);
    assert_string_equal(error.text, "1 bytes follow the last record");
    assert_int_equal(open_raw(two, 10, 1, 5, 5), TAPE_CORRUPT);
    assert_string_equal(error.text, "5 bytes follow the last record");
    assert_int_equal(open_raw(two, 9, 2, 5, 7), TAPE_CORRUPT);
    assert_string_equal(error.text, "record count is out of bounds");
    assert_int_equal(open_raw(two, 10, 2, 5, 8), TAPE_CORRUPT);
    assert_string_equal(error.text, "the records' times are not the header's");
    assert_int_equal(open_raw(two, 10, 2, 4, 7), TAPE_CORRUPT);
    static const uint8_t later[] = {1, 0, 2, 0, 0, 1, 0, 2, 0, 0}; /* none at the smallest stamp */
    assert_int_equal(open_raw(later, 10, 2, 5, 7), TAPE_CORRUPT);
    assert_string_equal(error.text, "the records' times are not the header's");
    struct tape_record record;
    assert_int_equal(tape_block_next(reader, &record), 0); /* nothing of a bad block */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, free_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_back_what_was_appended),
        TEST(counts_from_the_smallest_stamp),
        TEST(stores_what_does_not_compress),
        TEST(is_full_at_256_kib_and_takes_one_record_of_any_length),
        TEST(refuses_misuse),
        TEST(stands_as_specified),
        TEST(every_flipped_bit_of_a_header_is_seen),
        TEST(every_flipped_bit_of_a_payload_is_seen),
        TEST(refuses_fields_out_of_bounds),
        TEST(leaves_unknown_codecs_to_others),
        TEST(refuses_hostile_frames),
        TEST(refuses_a_window_beyond_32_mib),
        TEST(refuses_wrong_counts_and_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
