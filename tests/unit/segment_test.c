#include "format/segment.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/crc32c.h"
#include "tests/unit/make_records.h"

enum { BLOCKS = 4, RECORDS = 8, ALL = BLOCKS * RECORDS };

static char path[256];
static int directory;
static struct tape_error error;
static struct tape_block_reader *reader;

static int open_directory(void **state)
{
    (void)state;
    directory = made_directory(path);
    reader = tape_block_reader_new();
    return directory < 0 || reader == NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    tape_block_reader_free(reader);
    close(directory);
    remove_tree(path);
    return 0;
}

static struct tape_segment_info info_of(const struct tape_segment *segment)
{
    struct tape_segment_info info;
    tape_segment_read_info(segment, &info);
    return info;
}

/* What reading all of a segment gave. */
struct harvest {
    int opened;           /* 0: tape_segment_open() refused */
    uint32_t good, wrong; /* records as made; records that are not */
    uint32_t bad_blocks;  /* found by reading */
    int header_damaged;
    int told; /* a refusal, a damage, a tail, a bad block or header, or not sealed */
    struct tape_segment_info info;
};

static void read_all_blocks(struct tape_segment *segment, struct harvest *harvest)
{
    struct tape_record record;
    uint64_t next = 0;
    for (uint32_t i = 0; i < harvest->info.blocks; i++) {
        if (tape_segment_read(segment, i, reader, &error) != 0) {
            harvest->bad_blocks++;
            continue;
        }
        harvest->header_damaged |= tape_segment_entry(segment, i)->header_damaged;
        while (tape_block_next(reader, &record) == 1) {
            if (record.ordinal >= next && record.ordinal < ALL && is_made_record(&record))
                harvest->good++;
            else
                harvest->wrong++;
            next = record.ordinal + 1;
        }
    }
}

static struct harvest read_segment(const char *name)
{
    struct harvest harvest = {0};
    struct tape_segment *segment = tape_segment_open(directory, name, made_id, &error);
    if (segment == NULL) {
        harvest.told = 1;
        return harvest;
    }
    harvest.opened = 1;
    harvest.info = info_of(segment);
    read_all_blocks(segment, &harvest);
    harvest.told = !harvest.info.sealed || harvest.info.tail != 0 || harvest.info.bad_blocks > 0 ||
                   harvest.bad_blocks > 0 || harvest.header_damaged;
    tape_segment_close(segment);
    return harvest;
}

static void gives_back_a_sealed_segment(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct harvest harvest = read_segment("a");
    assert_int_equal(harvest.good, ALL);
    assert_int_equal(harvest.wrong, 0);
    assert_int_equal(harvest.told, 0);
    const struct tape_segment_info *info = &harvest.info;
    assert_memory_equal(info->archive_id, made_id, 16);
    assert_int_equal(info->sequence, 7);
    assert_true(info->created_ns == made_ns);
    assert_int_equal(info->sealed, 1);
    assert_int_equal(info->blocks, BLOCKS);
    assert_int_equal(info->records, ALL);
    assert_int_equal(info->first_ordinal, 0);
    assert_int_equal(info->next_ordinal, ALL);
    char body[128];
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (uint64_t i = 0; i < ALL; i++) {
        int64_t ns = made_record(i, body).recv_ns;
        min = ns < min ? ns : min;
        max = ns > max ? ns : max;
    }
    assert_true(info->min_recv_ns == min && info->max_recv_ns == max);
}

static void completes_the_block_headers(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 100, 3, RECORDS, 1);
    struct tape_segment *segment = tape_segment_open(directory, "a", NULL, &error);
    uint64_t at = TAPE_SEGMENT_HEADER_BYTES;
    uint32_t previous = 0;
    for (uint32_t i = 0; i < 3; i++) {
        const struct tape_segment_entry *entry = tape_segment_entry(segment, i);
        assert_int_equal(entry->offset, at);
        assert_int_equal(entry->header.number, i);
        assert_int_equal(entry->header.segment, 7);
        assert_int_equal(entry->header.previous_stored_bytes, previous);
        assert_int_equal(entry->header.realtime_minus_monotonic_ns, 42);
        assert_true(entry->header.archive_tag == tape_bytes_get_u64(made_id));
        previous = entry->header.stored_bytes;
        at += TAPE_BLOCK_HEADER_BYTES + previous;
    }
    assert_null(tape_segment_entry(segment, 3));
    assert_int_equal(tape_segment_read(segment, 3, reader, &error), TAPE_USAGE);
    assert_int_equal(info_of(segment).end_offset, at);
    tape_segment_close(segment);
}

struct seen_counts {
    int calls;
    uint64_t messages, bytes;
    char names[64];
};

static void see_count(void *context, const struct tape_segment_stream_count *count)
{
    struct seen_counts *seen = context;
    seen->calls++;
    seen->messages += count->messages;
    seen->bytes += count->bytes;
    snprintf(seen->names + strlen(seen->names), sizeof seen->names - strlen(seen->names), "[%.*s]",
             (int)count->name_bytes, count->name);
}

static void counts_streams_in_the_footer(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    made_segment(directory, "b", 8, 0, BLOCKS, RECORDS, 0);
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct seen_counts seen = {0};
        assert_int_equal(tape_segment_counts(segment, i, see_count, &seen), 0);
        assert_string_equal(seen.names, "[abc@trade][]");
        assert_int_equal(seen.messages, RECORDS + 1);
        assert_int_equal(seen.bytes, 50 * RECORDS + 2);
    }
    assert_int_equal(tape_segment_counts(segment, BLOCKS, see_count, NULL), TAPE_MISSING);
    tape_segment_close(segment);
    segment = tape_segment_open(directory, "b", made_id, &error);
    assert_int_equal(tape_segment_counts(segment, 0, see_count, NULL), TAPE_MISSING);
    tape_segment_close(segment);
}

/* Seals one block of one record with the given counts. */
static void seal_with_counts(const char *name, const struct tape_segment_stream_count *counts,
                             size_t length)
{
    struct tape_block_header header;
    struct tape_block_builder *builder = tape_block_builder_new();
    char body[128];
    struct tape_record record = made_record(0, body);
    uint8_t *stored;
    struct tape_segment_writer *writer =
        tape_segment_create(directory, name, 1, made_id, made_ns, &error);
    assert_int_equal(tape_block_append(builder, &record, &error), 1);
    assert_int_equal(tape_block_seal(builder, 1, 1, &header, &stored, &error), 0);
    assert_int_equal(tape_segment_append(writer, &header, stored, counts, length, 0, &error), 0);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    tape_block_builder_free(builder);
}

static void cuts_long_names_and_sums_what_then_is_one(void **state)
{
    (void)state;
    static char names[3][300];
    memset(names, 'n', sizeof names);
    names[1][299] = 'x'; /* differs beyond 255 only */
    names[2][200] = 'x';
    const struct tape_segment_stream_count counts[] = {
        {names[0], 300, 1, 10}, {names[2], 300, 2, 20}, {names[1], 300, 4, 40}};
    seal_with_counts("a", counts, 3);
    struct seen_counts seen = {0};
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    assert_int_equal(tape_segment_counts(segment, 0, see_count, &seen), 0);
    assert_int_equal(seen.calls, 2);
    assert_int_equal(seen.messages, 7);
    assert_int_equal(seen.bytes, 70);
    tape_segment_close(segment);
}

static void leaves_uncounted_what_does_not_fit_a_footer(void **state)
{
    (void)state;
    enum { STREAMS = 90000, NAME = 250 };
    char *names = malloc((size_t)STREAMS * NAME);
    struct tape_segment_stream_count *counts = calloc(STREAMS, sizeof *counts);
    for (int i = 0; i < STREAMS; i++) {
        memset(names + (size_t)i * NAME, 'a', NAME);
        memcpy(names + (size_t)i * NAME, &i, sizeof i);
        counts[i] = (struct tape_segment_stream_count){names + (size_t)i * NAME, NAME, 1, 1};
    }
    seal_with_counts("a", counts, STREAMS);
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    assert_int_equal(info_of(segment).sealed, 1);
    assert_int_equal(tape_segment_counts(segment, 0, see_count, NULL), TAPE_MISSING);
    tape_segment_close(segment);
    free(names);
    free(counts);
}

static void an_empty_segment_is_whole(void **state)
{
    (void)state;
    made_segment(directory, "a", 1, 0, 0, 0, 1);
    made_segment(directory, "b", 2, 0, 0, 0, 0);
    assert_int_equal(read_segment("a").told, 0);
    struct harvest harvest = read_segment("b");
    assert_int_equal(harvest.opened, 1);
    assert_int_equal(harvest.info.sealed, 0);
    assert_int_equal(harvest.info.tail, 0);
    assert_int_equal(harvest.info.blocks, 0);
}

/* --- damage, exhaustively --- */

/* A sealed segment cut at any byte gives every whole block, never a wrong record. */
static void cut_at_every_byte(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a");
    struct tape_segment *whole = tape_segment_open(directory, "a", made_id, &error);
    write_file_at(directory, "cut", file.data, file.bytes);
    for (size_t cut = file.bytes; cut-- > 0;) {
        assert_int_equal(truncate_at(directory, "cut", cut), 0);
        struct harvest harvest = read_segment("cut");
        uint32_t blocks = 0;
        uint64_t at = TAPE_SEGMENT_HEADER_BYTES;
        const struct tape_segment_entry *entry;
        while ((entry = tape_segment_entry(whole, blocks)) != NULL &&
               entry->offset + TAPE_BLOCK_HEADER_BYTES + entry->header.stored_bytes <= cut)
            at = entry->offset + TAPE_BLOCK_HEADER_BYTES + entry->header.stored_bytes, blocks++;
        assert_int_equal(harvest.opened, cut >= TAPE_SEGMENT_HEADER_BYTES);
        if (!harvest.opened) {
            assert_int_equal(error.status, TAPE_TORN);
            continue;
        }
        assert_int_equal(harvest.wrong, 0);
        assert_int_equal(harvest.good, blocks * RECORDS);
        assert_int_equal(harvest.bad_blocks, 0);
        assert_int_equal(harvest.info.sealed, 0);
        assert_int_equal(harvest.info.bad_blocks, 0);
        assert_int_equal(harvest.info.end_offset, at);
        assert_int_equal(harvest.info.tail, cut == at ? 0 : TAPE_TORN);
    }
    tape_segment_close(whole);
    free(file.data);
}

/* Flips every bit of every byte. told: whether the file as it is would be told damaged. */
static void flip_every_bit(int seal)
{
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, seal);
    struct made_file file = read_file_at(directory, "a");
    int fd = openat(directory, "a", O_WRONLY);
    uint32_t most_lost = 0;
    for (size_t at = 0; at < file.bytes; at++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t flipped = file.data[at] ^ (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
            struct harvest harvest = read_segment("a");
            uint32_t lost = ALL - harvest.good;
            most_lost = lost > most_lost ? lost : most_lost;
            if (harvest.wrong > 0 || !harvest.opened || lost > RECORDS)
                fail_msg("byte %zu bit %d: opened %d, good %u, wrong %u", at, bit, harvest.opened,
                         harvest.good, harvest.wrong);
            /* An unsealed file is told anyway; the flip must show beside that. */
            if (seal ? !harvest.told
                     : !(harvest.info.tail != 0 || harvest.info.bad_blocks > 0 ||
                         harvest.bad_blocks > 0 || harvest.header_damaged))
                fail_msg("byte %zu bit %d: not seen", at, bit);
        }
        assert_int_equal(pwrite(fd, file.data + at, 1, (off_t)at), 1);
    }
    assert_int_equal(most_lost, RECORDS);
    close(fd);
    free(file.data);
}

static void flip_every_bit_of_a_sealed_segment(void **state)
{
    (void)state;
    flip_every_bit(1);
}

static void flip_every_bit_of_an_unsealed_segment(void **state)
{
    (void)state;
    flip_every_bit(0);
}

static void a_damaged_block_header_costs_nothing_when_sealed(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a");
    memset(file.data + TAPE_SEGMENT_HEADER_BYTES, 0xee, TAPE_BLOCK_HEADER_BYTES);
    write_file_at(directory, "a", file.data, file.bytes);
    struct harvest harvest = read_segment("a");
    assert_int_equal(harvest.good, ALL);
    assert_int_equal(harvest.header_damaged, 1);
    free(file.data);
}

static void a_damaged_file_header_costs_nothing(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a");
    memset(file.data, 0xee, TAPE_SEGMENT_HEADER_BYTES);
    write_file_at(directory, "a", file.data, file.bytes);
    struct harvest harvest = read_segment("a");
    assert_int_equal(harvest.good, ALL);
    assert_int_equal(harvest.info.sequence, 7);
    assert_int_equal(harvest.info.bad_blocks, 1);
    /* Without an archive id to hold the blocks against it is nobody's. */
    assert_null(tape_segment_open(directory, "a", NULL, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "it does not begin with TAPEDECK");
    free(file.data);
}

/* In a damaged block stand headers that are valid but none that may come next there. */
static void resynchronises_behind_a_damaged_place(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, 60, 0);
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    uint64_t second = tape_segment_entry(segment, 1)->offset;
    uint64_t third = tape_segment_entry(segment, 2)->offset;
    tape_segment_close(segment);
    struct made_file file = read_file_at(directory, "a");
    struct tape_block_header header;
    assert_int_equal(tape_block_header_get(file.data + third, &header, &error), 0);
    struct tape_block_header baits[] = {header, header, header, header};
    baits[0].archive_tag++;     /* of another archive */
    baits[1].segment++;         /* of another segment */
    baits[2].number = 0;        /* a number that was passed */
    baits[3].first_ordinal = 9; /* an ordinal that was passed */
    memset(file.data + second, 0x5a, third - second);
    for (int i = 0; i < 4; i++) {
        assert_true(third - second > (uint64_t)i * 90 + 90);
        tape_block_header_put(file.data + second + 5 + i * 90, &baits[i]);
    }
    write_file_at(directory, "a", file.data, file.bytes);
    segment = tape_segment_open(directory, "a", made_id, &error);
    struct tape_segment_info info = info_of(segment);
    uint64_t offset, bytes;
    assert_int_equal(info.blocks, BLOCKS - 1);
    assert_int_equal(info.bad_blocks, 1);
    assert_int_equal(info.tail, 0);
    assert_int_equal(tape_segment_damage(segment, 0, &offset, &bytes), 1);
    assert_int_equal(offset, second);
    assert_int_equal(bytes, third - second);
    assert_int_equal(tape_segment_damage(segment, 1, &offset, &bytes), 0);
    tape_segment_close(segment);
    free(file.data);
}

static void resynchronises_over_more_than_one_chunk(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 0);
    struct made_file file = read_file_at(directory, "a");
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    uint64_t second = tape_segment_entry(segment, 1)->offset;
    tape_segment_close(segment);
    /* The next header at every distance around the 64 KiB that are searched at once. */
    uint8_t *bytes = malloc(file.bytes + (70 << 10));
    for (size_t gap = (64 << 10) - 100; gap < (64 << 10) + 100; gap += 3) {
        memcpy(bytes, file.data, second);
        memset(bytes + second, 'T', gap);
        memcpy(bytes + second + gap, file.data + second, file.bytes - second);
        write_file_at(directory, "b", bytes, file.bytes + gap);
        struct harvest harvest = read_segment("b");
        assert_int_equal(harvest.good, ALL);
        assert_int_equal(harvest.info.bad_blocks, 1);
    }
    free(bytes);
    free(file.data);
}

/* A trailer with the right checksum whose fields are wrong is none: the blocks are found anyway. */
static void a_trailer_that_lies_is_passed_over(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a");
    uint8_t *trailer = file.data + file.bytes - TAPE_SEGMENT_TRAILER_BYTES, good[32];
    memcpy(good, trailer, sizeof good);
    static const struct {
        int offset, bytes;
        uint64_t value;
    } lies[] = {{24, 8, ALL + 1}, {12, 4, 81},           {12, 4, UINT32_MAX}, {16, 8, 0},
                {16, 8, 64},      {16, 8, UINT64_MAX},   {12, 4, 0},          {24, 8, UINT64_MAX},
                {16, 8, 1 << 20}, {16, 8, (uint64_t)-80}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        memcpy(trailer, good, sizeof good);
        memcpy(trailer + lies[i].offset, &lies[i].value, (size_t)lies[i].bytes);
        tape_bytes_put_u32(trailer + 8, tape_crc32c_update(0, trailer + 12, 20));
        write_file_at(directory, "a", file.data, file.bytes);
        struct harvest harvest = read_segment("a");
        assert_int_equal(harvest.good, ALL);
        assert_int_equal(harvest.info.sealed, 0);
        assert_int_equal(harvest.info.tail, TAPE_CORRUPT);
    }
    /* Bytes before a trailer that says where it would be without them. */
    uint8_t *longer = malloc(file.bytes + 7);
    memcpy(longer, file.data, file.bytes - 32);
    memset(longer + file.bytes - 32, 'x', 7);
    memcpy(longer + file.bytes - 25, good, 32);
    write_file_at(directory, "a", longer, file.bytes + 7);
    struct harvest harvest = read_segment("a");
    assert_int_equal(harvest.good, ALL);
    assert_int_equal(harvest.info.sealed, 0);
    assert_int_equal(harvest.info.tail, TAPE_CORRUPT);
    free(longer);
    free(file.data);
}

static void reserved_bytes_must_be_zero(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a");
    for (int at = 44; at < 64; at++) {
        file.data[at] = 1;
        tape_bytes_put_u32(file.data + 8, tape_crc32c_update(0, file.data + 12, 52));
        write_file_at(directory, "a", file.data, file.bytes);
        file.data[at] = 0;
        struct harvest harvest = read_segment("a");
        assert_int_equal(harvest.good, ALL);
        assert_int_equal(harvest.info.bad_blocks, 1);
        assert_null(tape_segment_open(directory, "a", NULL, &error));
        assert_string_equal(error.text, "reserved bytes of the header are set");
    }
    free(file.data);
}

/* --- the tail's verdict --- */

static int tail_of(const struct made_file *file, const void *tail, size_t bytes)
{
    uint8_t *all = malloc(file->bytes + bytes);
    memcpy(all, file->data, file->bytes);
    memcpy(all + file->bytes, tail, bytes);
    write_file_at(directory, "tail", all, file->bytes + bytes);
    free(all);
    struct harvest harvest = read_segment("tail");
    assert_int_equal(harvest.good, ALL);
    return harvest.info.tail;
}

static void tells_a_torn_tail_from_a_corrupt_one(void **state)
{
    (void)state;
    static const uint8_t zeros[5000];
    uint8_t garbage[300];
    memset(garbage, 0xab, sizeof garbage);
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 0);
    struct made_file file = read_file_at(directory, "a");
    assert_int_equal(tail_of(&file, "T", 1), TAPE_TORN);
    assert_int_equal(tail_of(&file, "TBK1abc", 7), TAPE_TORN);
    assert_int_equal(tail_of(&file, "TBX", 3), TAPE_CORRUPT);
    assert_int_equal(tail_of(&file, garbage, 10), TAPE_CORRUPT);
    assert_int_equal(tail_of(&file, garbage, sizeof garbage), TAPE_CORRUPT);
    assert_int_equal(tail_of(&file, zeros, 1), TAPE_TORN);
    assert_int_equal(tail_of(&file, zeros, sizeof zeros), TAPE_TORN);
    free(file.data);
    made_segment(directory, "b", 7, 0, BLOCKS, RECORDS, 1);
    file = read_file_at(directory, "b");
    assert_int_equal(tail_of(&file, garbage, 1), TAPE_CORRUPT);
    assert_int_equal(tail_of(&file, garbage, sizeof garbage), TAPE_CORRUPT);
    assert_int_equal(tail_of(&file, zeros, 40), TAPE_CORRUPT);
    free(file.data);
}

static void a_last_block_with_unwritten_sectors_is_torn(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, 2, 400, 0);
    struct made_file file = read_file_at(directory, "a");
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    uint64_t last = tape_segment_entry(segment, 1)->offset;
    tape_segment_close(segment);
    uint64_t sector = (last + 80 + 511) / 512 * 512;
    memset(file.data + sector, 0, 512);
    write_file_at(directory, "a", file.data, file.bytes);
    segment = tape_segment_open(directory, "a", made_id, &error);
    char want[128];
    snprintf(want, sizeof want, "block 1 at 0x%llx: parts of it were never written",
             (unsigned long long)last);
    assert_int_equal(tape_segment_read(segment, 1, reader, &error), TAPE_TORN);
    assert_string_equal(error.text, want);
    tape_segment_close(segment);
    file.data[sector + 9] = 1; /* something was written there */
    write_file_at(directory, "a", file.data, file.bytes);
    segment = tape_segment_open(directory, "a", made_id, &error);
    snprintf(want, sizeof want, "block 1 at 0x%llx: checksum mismatch", (unsigned long long)last);
    assert_int_equal(tape_segment_read(segment, 1, reader, &error), TAPE_CORRUPT);
    assert_string_equal(error.text, want);
    tape_segment_close(segment);
    free(file.data);
}

static void a_file_that_shrinks_is_an_error(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 0);
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    assert_int_equal(truncate_at(directory, "a", 500), 0);
    assert_int_equal(tape_segment_read(segment, 3, reader, &error), TAPE_TORN);
    assert_non_null(strstr(error.text, ": the file ends inside it"));
    assert_int_equal(tape_segment_refresh(segment, &error), TAPE_TORN);
    assert_non_null(strstr(error.text, "the file became shorter: 500 bytes, were "));
    tape_segment_close(segment);
}

/* --- files that are not ours --- */

static void refuses_foreign_files(void **state)
{
    (void)state;
    uint8_t other[16] = {1}, header[64];
    made_segment(directory, "a", 7, 0, 1, 1, 1);
    assert_null(tape_segment_open(directory, "a", other, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "it belongs to another archive");
    write_file_at(directory, "b",
                  "#!/bin/sh\necho this is not a tape at all, not even a short one\n", 64);
    assert_null(tape_segment_open(directory, "b", made_id, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "it does not begin with TAPEDECK");
    struct made_file file = read_file_at(directory, "a");
    memcpy(header, file.data, 64);
    header[12] = 2;
    tape_bytes_put_u32(header + 8, tape_crc32c_update(0, header + 12, 52));
    write_file_at(directory, "c", header, 64);
    assert_null(tape_segment_open(directory, "c", made_id, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "version 2 is not known");
    assert_int_equal(symlinkat("a", directory, "link"), 0);
    assert_null(tape_segment_open(directory, "link", made_id, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "it is a symbolic link");
    assert_int_equal(mkfifoat(directory, "fifo", 0600), 0);
    assert_null(tape_segment_open(directory, "fifo", made_id, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "not a plain file");
    write_file_at(directory, "d", "TAPEDE", 6);
    assert_null(tape_segment_open(directory, "d", made_id, &error));
    assert_int_equal(error.status, TAPE_TORN);
    assert_string_equal(error.text, "6 bytes are less than a header");
    assert_null(tape_segment_open(directory, "absent", made_id, &error));
    assert_int_equal(error.status, TAPE_FAILED);
    assert_string_equal(error.text, "open: No such file or directory");
    free(file.data);
}

/* --- writing --- */

static void creates_only_what_is_not_there(void **state)
{
    (void)state;
    struct stat stat;
    struct tape_segment_writer *writer =
        tape_segment_create(directory, "a", 7, made_id, made_ns, &error);
    assert_non_null(writer);
    assert_int_equal(fstat(tape_segment_fd(writer), &stat), 0);
    assert_int_equal(stat.st_mode & 0777 & ~0640, 0);
    assert_int_equal(stat.st_size, 64);
    assert_null(tape_segment_create(directory, "a", 7, made_id, made_ns, &error));
    assert_string_equal(error.text, "segment 000007: create a: File exists");
    tape_segment_abandon(writer);
}

static void reserves_space_and_gives_it_back(void **state)
{
    (void)state;
    struct stat stat;
    struct tape_segment_writer *writer =
        tape_segment_create(directory, "a", 7, made_id, made_ns, &error);
    append_block(writer, 0, RECORDS);
    assert_int_equal(fstat(tape_segment_fd(writer), &stat), 0);
    int reserves = stat.st_blocks * 512 >= TAPE_SEGMENT_RESERVE_BYTES;
    if (!reserves)
        print_message("this file system reserves nothing\n");
    assert_int_equal(stat.st_size, tape_segment_file_bytes(writer));
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    assert_int_equal(fstatat(directory, "a", &stat, 0), 0);
    assert_in_range(stat.st_blocks, 0, 64);
    writer = tape_segment_create(directory, "b", 8, made_id, made_ns, &error);
    append_block(writer, 0, RECORDS);
    tape_segment_abandon(writer);
    assert_int_equal(fstatat(directory, "b", &stat, 0), 0);
    assert_in_range(stat.st_blocks, 0, 64);
}

static void tells_what_it_wrote(void **state)
{
    (void)state;
    struct tape_segment_writer *writer =
        tape_segment_create(directory, "a", 7, made_id, made_ns, &error);
    append_block(writer, 10, RECORDS);
    append_block(writer, 10 + RECORDS + 5, RECORDS); /* a hole in the ordinals may be */
    assert_int_equal(tape_segment_blocks(writer), 2);
    assert_int_equal(tape_segment_next_ordinal(writer), 10 + 2 * RECORDS + 5);
    assert_in_range(tape_segment_raw_bytes(writer), 500, 5000);
    struct tape_block_header header = {.first_ordinal = 9, .stored_bytes = 1, .raw_bytes = 1};
    uint8_t stored[81];
    assert_int_equal(tape_segment_append(writer, &header, stored, NULL, 0, 0, &error), TAPE_USAGE);
    assert_string_equal(error.text, "segment 000007: ordinal 9 after 30");
    assert_int_equal(tape_segment_seal(writer, &error), 0);
}

/* A limit on the file's length stands for a disk that fails in the middle of a write. */
static void a_failed_write_is_cut_back(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct tape_block_header header;
        struct tape_block_builder *builder = tape_block_builder_new();
        struct tape_segment_writer *writer =
            tape_segment_create(directory, "a", 7, made_id, made_ns, &error);
        append_block(writer, 0, RECORDS);
        uint64_t end = tape_segment_file_bytes(writer);
        struct rlimit limit;
        getrlimit(RLIMIT_FSIZE, &limit);
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = end + 100;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        char body[128];
        uint8_t *stored;
        struct tape_record record = made_record(RECORDS, body);
        record.bytes = 127;
        if (tape_block_append(builder, &record, &error) != 1 ||
            tape_block_seal(builder, 0, 0, &header, &stored, &error) != 0)
            _exit(1);
        int status = tape_segment_append(writer, &header, stored, NULL, 0, 1, &error);
        struct stat stat;
        fstat(tape_segment_fd(writer), &stat);
        int good = status == TAPE_FAILED && (uint64_t)stat.st_size == end &&
                   tape_segment_blocks(writer) == 1 && tape_segment_next_ordinal(writer) == RECORDS;
        /* The disk is well again: the same block, and a footer that knows of no other. */
        limit.rlim_cur = before;
        setrlimit(RLIMIT_FSIZE, &limit);
        append_block(writer, RECORDS, RECORDS);
        good = good && tape_segment_seal(writer, &error) == 0;
        tape_block_builder_free(builder);
        _exit(good ? 0 : 2);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    struct harvest harvest = read_segment("a");
    assert_int_equal(harvest.good, 2 * RECORDS);
    assert_int_equal(harvest.told, 0);
    struct seen_counts seen = {0};
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    assert_int_equal(tape_segment_counts(segment, 1, see_count, &seen), 0);
    assert_string_equal(seen.names, "[abc@trade][]");
    tape_segment_close(segment);
}

/* 200 KiB that do not compress, as one block; what tape_segment_append() says. */
static int append_noise(struct tape_segment_writer *writer, uint64_t ordinal, int last_reserve)
{
    static uint8_t noise[200 << 10];
    struct tape_block_header header;
    struct dice dice = {ordinal + 1};
    uint8_t *stored;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)roll(&dice);
    struct tape_record record = {
        .ordinal = ordinal, .kind = 1, .bytes = sizeof noise, .data = noise};
    struct tape_block_builder *builder = tape_block_builder_new();
    int status = tape_block_append(builder, &record, &error) == 1
                     ? tape_block_seal(builder, 1, 1, &header, &stored, &error)
                     : -1;
    if (status == 0)
        status = tape_segment_append(writer, &header, stored, NULL, 0, last_reserve, &error);
    tape_block_builder_free(builder);
    return status;
}

/* A disk of 16 MiB of its own, where the system lets us have one. 0 when it does not. */
static int mount_small_disk(const char *at)
{
    return (unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", at, "tmpfs", 0, "size=16m") == 0;
}

enum { SKIPPED = 77 };

/* The child of the test below: its exit code says at which step it went wrong. */
static int fill_a_disk(void)
{
    struct tape_segment_info info;
    if (!mount_small_disk(path))
        return SKIPPED;
    int disk = open(path, O_RDONLY | O_DIRECTORY);
    struct tape_segment_writer *writer =
        tape_segment_create(disk, "a", 7, made_id, made_ns, &error);
    if (writer == NULL)
        return 1;
    uint64_t ordinal = 0;
    int status;
    while ((status = append_noise(writer, ordinal, 0)) == 0)
        ordinal++;
    uint64_t end = tape_segment_file_bytes(writer);
    /* Known before anything was written, and as often as one asks. */
    if (status != TAPE_FULL || strstr(error.text, ": No space left on device") == NULL ||
        append_noise(writer, ordinal, 0) != TAPE_FULL || tape_segment_file_bytes(writer) != end ||
        ordinal * (200 << 10) < 12 << 20)
        return 2;
    if (append_noise(writer, ordinal, 1) != 0) /* the word about the gap has its place */
        return 3;
    write_file_at(disk, "other", "x", 0);
    if (tape_segment_create(disk, "b", 8, made_id, made_ns, &error) != NULL ||
        error.status != TAPE_FULL || faccessat(disk, "b", F_OK, 0) == 0)
        return 4; /* a new segment without room for its reserve is not begun */
    if (tape_segment_seal(writer, &error) != 0)
        return 5;
    struct tape_segment *segment = tape_segment_open(disk, "a", made_id, &error);
    if (segment == NULL)
        return 6;
    tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    return info.sealed && info.blocks == ordinal + 1 ? 0 : 7;
}

static void a_full_disk_is_known_before_the_write(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0)
        _exit(fill_a_disk());
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        print_message("no small disk may be mounted here: skipped\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* --- growing --- */

static void sees_what_a_recorder_appends_and_seals(void **state)
{
    (void)state;
    struct tape_segment_writer *writer =
        tape_segment_create(directory, "a", 7, made_id, made_ns, &error);
    struct tape_segment *segment = tape_segment_open(directory, "a", made_id, &error);
    assert_int_equal(info_of(segment).blocks, 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(tape_segment_refresh(segment, &error), 0);
        append_block(writer, i * RECORDS, RECORDS);
        assert_int_equal(tape_segment_refresh(segment, &error), 1);
        assert_int_equal(info_of(segment).blocks, i + 1);
        assert_int_equal(tape_segment_read(segment, i, reader, &error), 0);
    }
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    assert_int_equal(tape_segment_refresh(segment, &error), 0);
    assert_int_equal(info_of(segment).sealed, 1);
    struct seen_counts seen = {0};
    assert_int_equal(tape_segment_counts(segment, 2, see_count, &seen), 0);
    assert_int_equal(seen.calls, 2);
    tape_segment_close(segment);
}

/* The writer's bytes arrive one by one; blocks show when they are whole. */
static void sees_only_whole_blocks(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, BLOCKS, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a");
    write_file_at(directory, "b", file.data, 64);
    struct tape_segment *segment = tape_segment_open(directory, "b", made_id, &error);
    int fd = openat(directory, "b", O_WRONLY | O_APPEND);
    uint32_t blocks = 0;
    for (size_t at = 64; at < file.bytes; at++) {
        assert_int_equal(write(fd, file.data + at, 1), 1);
        int more = tape_segment_refresh(segment, &error);
        assert_in_range(more, 0, 1);
        blocks += (uint32_t)more;
        assert_int_equal(info_of(segment).blocks, blocks);
        assert_int_equal(info_of(segment).bad_blocks, 0);
        if (more)
            assert_int_equal(tape_segment_read(segment, blocks - 1, reader, &error), 0);
    }
    assert_int_equal(blocks, BLOCKS);
    assert_int_equal(info_of(segment).sealed, 1);
    assert_int_equal(info_of(segment).tail, 0);
    close(fd);
    tape_segment_close(segment);
    free(file.data);
}

/* What a crash leaves of a footer is cut by the next recorder, who then writes blocks there. */
static void sees_blocks_in_the_place_of_a_torn_footer(void **state)
{
    (void)state;
    made_segment(directory, "a.hot", 7, 0, 2, RECORDS, 1);
    struct made_file file = read_file_at(directory, "a.hot");
    assert_int_equal(truncate_at(directory, "a.hot", file.bytes - 10), 0);
    struct tape_segment *segment = tape_segment_open(directory, "a.hot", made_id, &error);
    assert_int_equal(info_of(segment).tail, TAPE_TORN);
    struct tape_segment_writer *writer =
        tape_segment_resume(directory, "a.hot", made_id, NULL, NULL, NULL, &error);
    append_block(writer, 2 * RECORDS, RECORDS);
    assert_int_equal(tape_segment_refresh(segment, &error), 1);
    assert_int_equal(info_of(segment).blocks, 3);
    assert_int_equal(info_of(segment).tail, 0);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    assert_int_equal(tape_segment_refresh(segment, &error), 0);
    assert_int_equal(info_of(segment).sealed, 1);
    tape_segment_close(segment);
    free(file.data);
}

static void tells_that_its_last_block_was_written_over(void **state)
{
    (void)state;
    made_segment(directory, "a.hot", 7, 0, BLOCKS, RECORDS, 0);
    struct made_file file = read_file_at(directory, "a.hot");
    struct tape_segment *segment = tape_segment_open(directory, "a.hot", made_id, &error);
    file.data[file.bytes - 1] ^= 1;
    write_file_at(directory, "a.hot", file.data, file.bytes);
    struct tape_segment_writer *writer =
        tape_segment_resume(directory, "a.hot", made_id, NULL, NULL, NULL, &error);
    append_block(writer, (BLOCKS - 1) * RECORDS, 5 * RECORDS);
    append_block(writer, (BLOCKS + 4) * RECORDS, RECORDS);
    assert_true(tape_segment_file_bytes(writer) > file.bytes);
    assert_int_equal(tape_segment_refresh(segment, &error), TAPE_TORN);
    assert_string_equal(error.text, "its last block was written over");
    tape_segment_abandon(writer);
    tape_segment_close(segment);
    free(file.data);
}

/* A hole as long as a file may be is passed over, not read. */
static void a_hole_of_any_length_costs_no_time(void **state)
{
    (void)state;
    made_segment(directory, "a", 7, 0, 2, RECORDS, 0);
    if (truncate_at(directory, "a", 1ull << 42) != 0) {
        print_message("this file system has no files so long: skipped\n");
        skip();
    }
    struct harvest harvest = read_segment("a");
    assert_int_equal(harvest.good, 2 * RECORDS);
    assert_int_equal(harvest.info.tail, TAPE_TORN);
    int fd = openat(directory, "a", O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 1ll << 41), 1);
    close(fd);
    harvest = read_segment("a");
    assert_int_equal(harvest.good, 2 * RECORDS);
    assert_int_equal(harvest.info.tail, TAPE_CORRUPT);
}

/* --- resuming --- */

static int count_records(void *context, struct tape_block_reader *open,
                         const struct tape_segment_stream_count **counts, size_t *length,
                         struct tape_error *trouble)
{
    static struct tape_segment_stream_count count;
    struct tape_record record;
    (void)trouble;
    count = (struct tape_segment_stream_count){.name = "all", .name_bytes = 3};
    while (tape_block_next(open, &record) == 1) {
        count.messages++;
        count.bytes += record.bytes;
        ++*(uint64_t *)context;
    }
    *counts = &count;
    *length = 1;
    return 0;
}

static void resumes_and_seals_a_torn_segment(void **state)
{
    (void)state;
    made_segment(directory, "a.hot", 7, 0, 3, RECORDS, 0);
    struct made_file file = read_file_at(directory, "a.hot");
    for (size_t cut = file.bytes - 60; cut <= file.bytes; cut += 20) {
        uint64_t counted = 0, torn = 0;
        uint32_t whole = cut == file.bytes ? 3 : 2;
        write_file_at(directory, "b.hot", file.data, cut);
        unlinkat(directory, "b.torn", 0);
        struct tape_segment_writer *writer = tape_segment_resume(
            directory, "b.hot", made_id, count_records, &counted, &torn, &error);
        assert_non_null(writer);
        assert_int_equal(counted, whole * RECORDS);
        assert_int_equal(tape_segment_next_ordinal(writer), whole * RECORDS);
        append_block(writer, whole * RECORDS, RECORDS);
        assert_int_equal(tape_segment_seal(writer, &error), 0);
        struct harvest harvest = read_segment("b.hot");
        assert_int_equal(harvest.told, 0);
        assert_int_equal(harvest.good, (whole + 1) * RECORDS);
        assert_int_equal(torn > 0, cut < file.bytes);
        if (torn > 0) {
            struct made_file kept = read_file_at(directory, "b.torn");
            assert_int_equal(kept.bytes, torn);
            assert_memory_equal(kept.data, file.data + cut - torn, torn);
            free(kept.data);
        }
        struct seen_counts seen = {0};
        struct tape_segment *segment = tape_segment_open(directory, "b.hot", made_id, &error);
        assert_int_equal(tape_segment_counts(segment, 0, see_count, &seen), 0);
        assert_string_equal(seen.names, "[all]");
        assert_int_equal(seen.messages, RECORDS);
        tape_segment_close(segment);
    }
    free(file.data);
}

static void resuming_cuts_bad_blocks_at_the_end_and_keeps_those_before(void **state)
{
    (void)state;
    made_segment(directory, "a.hot", 7, 0, BLOCKS, RECORDS, 0);
    struct made_file file = read_file_at(directory, "a.hot");
    struct tape_segment *segment = tape_segment_open(directory, "a.hot", made_id, &error);
    uint64_t first = tape_segment_entry(segment, 0)->offset;
    uint64_t last = tape_segment_entry(segment, BLOCKS - 1)->offset;
    tape_segment_close(segment);
    file.data[first + 90] ^= 1;
    file.data[last + 90] ^= 1;
    write_file_at(directory, "a.hot", file.data, file.bytes);
    uint64_t counted = 0, torn = 0;
    struct tape_segment_writer *writer =
        tape_segment_resume(directory, "a.hot", made_id, count_records, &counted, &torn, &error);
    assert_non_null(writer);
    assert_int_equal(counted, (BLOCKS - 2) * RECORDS);
    assert_int_equal(torn, file.bytes - last);
    append_block(writer, (BLOCKS - 1) * RECORDS, RECORDS);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    struct harvest harvest = read_segment("a.hot");
    assert_int_equal(harvest.good, (BLOCKS - 1) * RECORDS);
    assert_int_equal(harvest.bad_blocks, 1);
    assert_int_equal(harvest.info.sealed, 1);
    segment = tape_segment_open(directory, "a.hot", made_id, &error);
    struct seen_counts seen = {0};
    assert_int_equal(tape_segment_counts(segment, 0, see_count, &seen), TAPE_MISSING);
    assert_int_equal(tape_segment_counts(segment, 1, see_count, &seen), 0);
    tape_segment_close(segment);
    assert_null(tape_segment_resume(directory, "a.hot", made_id, NULL, NULL, NULL, &error));
    assert_int_equal(error.status, TAPE_USAGE);
    assert_string_equal(error.text, "it is sealed");
    free(file.data);
}

static void a_damaged_place_stays_known_after_sealing(void **state)
{
    (void)state;
    made_segment(directory, "a.hot", 7, 0, BLOCKS, RECORDS, 0);
    struct made_file file = read_file_at(directory, "a.hot");
    file.data[70] ^= 1; /* the first block's header */
    write_file_at(directory, "a.hot", file.data, file.bytes);
    struct tape_segment_writer *writer =
        tape_segment_resume(directory, "a.hot", made_id, NULL, NULL, NULL, &error);
    assert_non_null(writer);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    struct harvest harvest = read_segment("a.hot");
    assert_int_equal(harvest.info.sealed, 1);
    assert_int_equal(harvest.info.bad_blocks, 1);
    assert_int_equal(harvest.good, (BLOCKS - 1) * RECORDS);
    free(file.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_back_a_sealed_segment),
        TEST(completes_the_block_headers),
        TEST(counts_streams_in_the_footer),
        TEST(cuts_long_names_and_sums_what_then_is_one),
        TEST(leaves_uncounted_what_does_not_fit_a_footer),
        TEST(an_empty_segment_is_whole),
        TEST(cut_at_every_byte),
        TEST(flip_every_bit_of_a_sealed_segment),
        TEST(flip_every_bit_of_an_unsealed_segment),
        TEST(a_damaged_block_header_costs_nothing_when_sealed),
        TEST(a_damaged_file_header_costs_nothing),
        TEST(resynchronises_behind_a_damaged_place),
        TEST(resynchronises_over_more_than_one_chunk),
        TEST(a_trailer_that_lies_is_passed_over),
        TEST(reserved_bytes_must_be_zero),
        TEST(tells_a_torn_tail_from_a_corrupt_one),
        TEST(a_last_block_with_unwritten_sectors_is_torn),
        TEST(a_file_that_shrinks_is_an_error),
        TEST(refuses_foreign_files),
        TEST(creates_only_what_is_not_there),
        TEST(reserves_space_and_gives_it_back),
        TEST(tells_what_it_wrote),
        TEST(a_failed_write_is_cut_back),
        TEST(a_full_disk_is_known_before_the_write),
        TEST(sees_what_a_recorder_appends_and_seals),
        TEST(sees_only_whole_blocks),
        TEST(sees_blocks_in_the_place_of_a_torn_footer),
        TEST(tells_that_its_last_block_was_written_over),
        TEST(a_hole_of_any_length_costs_no_time),
        TEST(resumes_and_seals_a_torn_segment),
        TEST(resuming_cuts_bad_blocks_at_the_end_and_keeps_those_before),
        TEST(a_damaged_place_stays_known_after_sealing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
