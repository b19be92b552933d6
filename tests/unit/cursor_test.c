#include "format/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "format/pack.h"
#include "format/ws.h"
#include "tests/unit/make_records.h"

enum { RECORDS = 8, SEGMENT = 3 * RECORDS }; /* a segment has three blocks of eight */

static char above_path[256], path[300];
static int above;
static struct tape_error error;
static struct tape_archive *recorder; /* holds the lock */

static int open_archive(void **state)
{
    (void)state;
    above = made_directory(above_path);
    snprintf(path, sizeof path, "%s/tape", above_path);
    recorder = tape_archive_create(path, &error);
    return recorder == NULL;
}

static void let_go(void)
{
    tape_archive_close(recorder);
    recorder = NULL;
}

static int remove_archive(void **state)
{
    (void)state;
    let_go();
    close(above);
    remove_tree(above_path);
    return 0;
}

/* --- writing --- */

static struct tape_segment_writer *begin(uint32_t sequence)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_segment_writer *writer =
        tape_archive_create_segment(recorder, sequence, made_ns, name, &error);
    if (writer == NULL)
        fail_msg("%s", error.text);
    return writer;
}

static void add(uint32_t sequence, uint64_t first, uint32_t blocks, int seal)
{
    struct tape_segment_writer *writer = begin(sequence);
    for (uint32_t i = 0; i < blocks; i++)
        append_block(writer, first + (uint64_t)i * RECORDS, RECORDS);
    if (seal)
        assert_int_equal(tape_segment_seal(writer, &error), 0);
    else
        tape_segment_abandon(writer);
}

static int open_file(uint32_t sequence)
{
    char name[400];
    snprintf(name, sizeof name, "%s/segments/2026/11/25/20261125T094640Z-%06u.hot", path, sequence);
    int fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static struct made_file read_segment_file(uint32_t sequence)
{
    char name[400];
    snprintf(name, sizeof name, "tape/segments/2026/11/25/20261125T094640Z-%06u.hot", sequence);
    return read_file_at(above, name);
}

/* Inverts bytes [offset, offset + bytes) of a segment's file. */
static void damage_file(uint32_t sequence, uint64_t offset, uint64_t bytes)
{
    int fd = open_file(sequence);
    for (uint64_t at = offset; at < offset + bytes; at++) {
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        byte = (uint8_t)~byte;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    close(fd);
}

static uint64_t block_offset(uint32_t sequence, uint32_t block)
{
    tape_archive_scan(recorder, &error);
    for (int i = 0;; i++) {
        const struct tape_archive_entry *entry = tape_archive_entry(recorder, i);
        if (entry->sequence != sequence)
            continue;
        struct tape_segment *segment = tape_archive_open_segment(recorder, entry, &error);
        uint64_t offset = tape_segment_entry(segment, block)->offset;
        tape_segment_close(segment);
        return offset;
    }
}

/* --- reading --- */

struct reading {
    struct tape_archive *archive;
    struct tape_cursor *cursor;
    char story[4000]; /* "0-23" for records, "<verdict from-to text>" for damage, "." for an end */
    int64_t first, last;
};

static void start(struct reading *reading)
{
    memset(reading, 0, sizeof *reading);
    reading->first = -1;
    reading->archive = tape_archive_open(path, &error);
    assert_non_null(reading->archive);
    reading->cursor = tape_cursor_open(reading->archive, &error);
    assert_non_null(reading->cursor);
}

static void stop(struct reading *reading)
{
    tape_cursor_close(reading->cursor);
    tape_archive_close(reading->archive);
}

static void tell(struct reading *reading, const char *format, ...)
{
    size_t used = strlen(reading->story);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reading->story + used, sizeof reading->story - used, format, arguments);
    va_end(arguments);
}

static void tell_run(struct reading *reading)
{
    if (reading->first >= 0)
        tell(reading, "%lld-%lld ", (long long)reading->first, (long long)reading->last);
    reading->first = -1;
}

static void tell_damage(struct reading *reading, const struct tape_cursor_damage *damage)
{
    static const char *const words[] = {"corrupt", "torn", "missing", "foreign"};
    tell_run(reading);
    tell(reading, "<%s %llu-%llu %s> ", words[TAPE_CORRUPT - damage->verdict],
         (unsigned long long)damage->from_ordinal, (unsigned long long)damage->to_ordinal,
         damage->text);
}

/* Reads to the end for now and gives what came as one line. */
static const char *read_on(struct reading *reading)
{
    struct tape_record record;
    struct tape_cursor_damage damage;
    int status;
    reading->story[0] = 0;
    while ((status = tape_cursor_next(reading->cursor, &record, &damage, &error)) > 0) {
        if (status == 2) {
            tell_damage(reading, &damage);
            continue;
        }
        if (!is_made_record(&record))
            tell(reading, "WRONG ");
        if (reading->first >= 0 && record.ordinal != (uint64_t)reading->last + 1)
            tell_run(reading);
        if (reading->first < 0)
            reading->first = (int64_t)record.ordinal;
        reading->last = (int64_t)record.ordinal;
    }
    tell_run(reading);
    if (status < 0)
        tell(reading, "ERROR %s", error.text);
    tell(reading, ".");
    return reading->story;
}

/* The whole story of the archive as it is. */
static void assert_story(const char *want)
{
    struct reading reading;
    start(&reading);
    assert_string_equal(read_on(&reading), want);
    stop(&reading);
}

/* --- whole archives --- */

static void reads_segments_in_order(void **state)
{
    (void)state;
    assert_story(".");
    add(2, SEGMENT, 3, 1);
    add(1, 0, 3, 1);
    add(3, 2 * SEGMENT, 3, 0);
    let_go();
    assert_story("0-71 .");
}

static void a_pruned_beginning_is_no_hole(void **state)
{
    (void)state;
    add(5, 1000, 3, 1);
    add(6, 1000 + SEGMENT, 3, 1);
    let_go();
    assert_story("1000-1047 .");
}

static void tells_where_a_record_came_from(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    uint64_t offset = block_offset(2, 1);
    struct reading reading;
    struct tape_record record;
    struct tape_cursor_place place;
    start(&reading);
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, SEGMENT + RECORDS, &error), 0);
    assert_int_equal(tape_cursor_next(reading.cursor, &record, NULL, &error), 1);
    tape_cursor_read_place(reading.cursor, &place);
    assert_int_equal(place.segment, 2);
    assert_int_equal(place.block, 1);
    assert_int_equal(place.offset, offset);
    stop(&reading);
}

/* --- seeking --- */

static void seeks_to_any_ordinal(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        add(i + 1, 100 + i * SEGMENT, 3, 1);
    struct reading reading;
    struct tape_record record;
    start(&reading);
    for (uint64_t ordinal = 0; ordinal < 100 + 5 * SEGMENT; ordinal += 1 + ordinal % 3) {
        assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, ordinal, &error), 0);
        assert_int_equal(tape_cursor_next(reading.cursor, &record, NULL, &error), 1);
        assert_int_equal(record.ordinal, ordinal < 100 ? 100 : ordinal);
        assert_true(is_made_record(&record));
    }
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, 100 + 5 * SEGMENT, &error), 0);
    assert_int_equal(tape_cursor_next(reading.cursor, &record, NULL, &error), 0);
    stop(&reading);
}

static void seeks_to_any_time(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        add(i + 1, i * SEGMENT, 3, 1);
    struct reading reading;
    struct tape_record record;
    start(&reading);
    char body[128];
    for (int64_t ns = made_ns - 5000; ns < made_ns + 4 * SEGMENT * 1000; ns += 333) {
        uint64_t want = 0; /* the first record that is not before ns */
        while (want < 4 * SEGMENT && made_record(want, body).recv_ns < ns)
            want++;
        assert_int_equal(tape_cursor_seek_time(reading.cursor, ns, &error), 0);
        int status = tape_cursor_next(reading.cursor, &record, NULL, &error);
        assert_int_equal(status, want < 4 * SEGMENT);
        if (status == 1)
            assert_int_equal(record.ordinal, want);
    }
    assert_int_equal(tape_cursor_seek_time(reading.cursor, INT64_MIN, &error), 0);
    assert_string_equal(read_on(&reading), "0-95 .");
    stop(&reading);
}

static void a_seek_tells_only_what_lies_after_it(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    damage_file(1, block_offset(1, 0) + 90, 1);
    damage_file(2, block_offset(2, 1) + 90, 1);
    uint64_t at = block_offset(2, 1);
    let_go();
    char want[300];
    snprintf(want, sizeof want,
             "20-31 <corrupt 32-40 segment 000002: block 1 at 0x%llx: checksum mismatch> 40-47 .",
             (unsigned long long)at);
    struct reading reading;
    start(&reading);
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, 20, &error), 0);
    assert_string_equal(read_on(&reading), want);
    /* into the hole */
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, 35, &error), 0);
    snprintf(want, sizeof want,
             "<corrupt 35-40 segment 000002: block 1 at 0x%llx: checksum mismatch> 40-47 .",
             (unsigned long long)at);
    assert_string_equal(read_on(&reading), want);
    /* past a damaged place that shows when the segment is opened */
    damage_file(2, 0, 64);
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, 41, &error), 0);
    assert_string_equal(read_on(&reading), "41-47 .");
    stop(&reading);
}

/* --- holes --- */

static void a_bad_block_costs_itself(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 0);
    uint64_t at = block_offset(1, 1);
    damage_file(1, at + 90, 1);
    let_go();
    char want[200];
    snprintf(want, sizeof want,
             "0-7 <corrupt 8-16 segment 000001: block 1 at 0x%llx: checksum mismatch> 16-47 .",
             (unsigned long long)at);
    assert_story(want);
}

static void a_bad_header_costs_nothing_when_sealed_and_its_block_when_not(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 0);
    uint64_t sealed = block_offset(1, 1), at = block_offset(2, 1), next = block_offset(2, 2);
    damage_file(1, sealed + 9, 1);
    damage_file(2, at + 9, 1);
    char want[300];
    snprintf(want, sizeof want,
             "0-7 <corrupt 8-8 segment 000001: block 1 at 0x%llx: its header is damaged> 8-31 "
             "<corrupt 32-40 segment 000002: %llu bytes at 0x%llx are no block> 40-47 .",
             (unsigned long long)sealed, (unsigned long long)(next - at), (unsigned long long)at);
    let_go();
    assert_story(want);
}

static void a_bad_file_header_costs_nothing(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 0);
    damage_file(1, 0, 64);
    damage_file(2, 20, 1);
    let_go();
    assert_story("<corrupt 0-0 segment 000001: the file header is damaged> 0-23 "
                 "<corrupt 24-24 segment 000002: the file header is damaged> 24-47 .");
}

static void a_missing_segment_is_missed(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(3, 2 * SEGMENT, 3, 1);
    add(6, 5 * SEGMENT, 3, 1);
    add(9, 6 * SEGMENT, 3, 1); /* numbers without records were never missed */
    let_go();
    assert_story("0-23 <missing 24-48 segment 000002 is missing: records 24 to 47> 48-71 "
                 "<missing 72-120 segments 000004 to 000005 are missing: records 72 to 119> "
                 "120-167 .");
}

static void records_that_were_never_kept_are_missing(void **state)
{
    (void)state;
    struct tape_segment_writer *writer = begin(1);
    append_block(writer, 0, RECORDS);
    append_block(writer, 20, RECORDS);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    let_go();
    assert_story("0-7 <missing 8-20 segment 000001: block 1: records 8 to 19 before it are "
                 "missing> 20-27 .");
}

static void a_foreign_file_and_a_bad_one_are_told_once(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    add(3, 2 * SEGMENT, 3, 1);
    int fd = open_file(2);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
    assert_int_equal(ftruncate(fd, 100), 0);
    close(fd);
    let_go();
    assert_story("0-23 <foreign 24-48 segment 000002: it does not begin with TAPEDECK> 48-71 .");
}

static void a_torn_tail_is_told_at_the_end(void **state)
{
    (void)state;
    char want[200];
    uint8_t rot[90];
    memset(rot, 'r', sizeof rot);
    add(1, 0, 3, 0);
    int fd = open_file(1);
    off_t end = lseek(fd, 0, SEEK_END);
    assert_int_equal(pwrite(fd, "TBK1abc", 7, end), 7);
    let_go();
    snprintf(want, sizeof want,
             "0-23 <torn 24-24 segment 000001: torn tail of 7 bytes at 0x%llx> .",
             (unsigned long long)end);
    assert_story(want);
    assert_int_equal(pwrite(fd, rot, sizeof rot, end), sizeof rot);
    snprintf(want, sizeof want,
             "0-23 <corrupt 24-24 segment 000001: corrupt tail of 90 bytes at 0x%llx> .",
             (unsigned long long)end);
    assert_story(want);
    close(fd);
}

static void bytes_after_the_trailer_are_told(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    int fd = open_file(1);
    lseek(fd, 0, SEEK_END);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    let_go();
    assert_story("0-23 <corrupt 24-24 segment 000001: bytes follow the trailer> 24-47 .");
}

static void a_bad_last_block_is_told_at_the_end(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    damage_file(1, block_offset(1, 2) + 90, 1);
    uint64_t at = block_offset(1, 2);
    let_go();
    char want[200];
    snprintf(want, sizeof want,
             "0-15 <corrupt 16-24 segment 000001: block 2 at 0x%llx: checksum mismatch> .",
             (unsigned long long)at);
    assert_story(want);
}

/* After a failed sync the recorder writes everything from the durable tail on again. */
static void what_was_written_twice_comes_once(void **state)
{
    (void)state;
    add(1, 0, 3, 0);
    add(2, RECORDS, 3, 1);
    let_go();
    assert_story("0-31 .");
}

static void a_block_written_again_is_taken_from_there(void **state)
{
    (void)state;
    add(1, 0, 3, 0);
    add(2, RECORDS, 3, 1);
    damage_file(1, block_offset(1, 1) + 90, 1);
    uint64_t at = block_offset(1, 1);
    let_go();
    char want[200];
    snprintf(want, sizeof want,
             "0-7 <corrupt 8-8 segment 000001: block 1 at 0x%llx: checksum mismatch> 8-31 .",
             (unsigned long long)at);
    assert_story(want);
}

static int wants_even(void *context, const struct tape_segment *segment, uint32_t block)
{
    (void)segment;
    ++*(int *)context;
    return block % 2 == 0;
}

static void passes_over_what_is_not_wanted(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    let_go();
    int asked = 0;
    struct reading reading;
    start(&reading);
    tape_cursor_set_block_filter(reading.cursor, wants_even, &asked);
    assert_string_equal(read_on(&reading), "0-7 16-31 40-47 .");
    assert_int_equal(asked, 6);
    stop(&reading);
}

/* --- live archives --- */

static void follows_a_recorder(void **state)
{
    (void)state;
    struct reading reading;
    struct tape_segment_writer *writer = begin(1);
    start(&reading);
    assert_string_equal(read_on(&reading), ".");
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 0);
    append_block(writer, 0, RECORDS);
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 1);
    assert_string_equal(read_on(&reading), "0-7 .");
    append_block(writer, 8, RECORDS);
    assert_string_equal(read_on(&reading), "8-15 .");
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    assert_string_equal(read_on(&reading), ".");
    writer = begin(2);
    assert_string_equal(read_on(&reading), ".");
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 1);
    assert_string_equal(read_on(&reading), ".");
    append_block(writer, 16, RECORDS);
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 1);
    assert_string_equal(read_on(&reading), "16-23 .");
    append_block(writer, 24, RECORDS);
    tape_segment_abandon(writer);
    writer = begin(3);
    append_block(writer, 24, RECORDS);
    append_block(writer, 32, RECORDS);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    let_go();
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 1);
    assert_string_equal(read_on(&reading), "24-31 .");
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 1);
    assert_string_equal(read_on(&reading), "32-39 .");
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 0);
    stop(&reading);
}

/* A block that is being written is not damage while its recorder lives; once it is dead it is. */
static void an_incomplete_tail_is_damage_only_without_a_recorder(void **state)
{
    (void)state;
    add(1, 0, 3, 0);
    struct reading reading;
    start(&reading);
    int fd = open_file(1);
    uint64_t last = block_offset(1, 2);
    struct made_file whole = read_segment_file(1);
    assert_int_equal(ftruncate(fd, (off_t)last + 100), 0);
    assert_string_equal(read_on(&reading), "0-15 .");
    assert_string_equal(read_on(&reading), ".");
    /* The rest arrives: nothing was damaged. Then it is gone again, and so is the recorder. */
    struct reading other;
    start(&other);
    assert_string_equal(read_on(&other), "0-15 .");
    assert_int_equal(pwrite(fd, whole.data + last, whole.bytes - last, (off_t)last),
                     whole.bytes - last);
    assert_string_equal(read_on(&other), "16-23 .");
    stop(&other);
    assert_int_equal(ftruncate(fd, (off_t)last + 100), 0);
    let_go();
    char want[200];
    snprintf(want, sizeof want, "<torn 16-16 segment 000001: torn tail of 100 bytes at 0x%llx> .",
             (unsigned long long)last);
    assert_string_equal(read_on(&reading), want);
    assert_string_equal(read_on(&reading), ".");
    /* A new recorder cuts it, goes on, and the cursor with it. */
    recorder = tape_archive_create(path, &error);
    tape_archive_scan(recorder, &error);
    struct tape_segment_writer *writer = tape_archive_resume_segment(
        recorder, tape_archive_entry(recorder, 0), NULL, NULL, NULL, &error);
    append_block(writer, 16, RECORDS);
    assert_int_equal(tape_cursor_refresh(reading.cursor, &error), 1);
    assert_string_equal(read_on(&reading), "16-23 .");
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    free(whole.data);
    close(fd);
    stop(&reading);
}

/* A recovery may cut a block that a follower had counted on, and write it again. */
static void a_file_cut_shorter_is_opened_anew(void **state)
{
    (void)state;
    add(1, 0, 3, 0);
    struct reading reading;
    start(&reading);
    assert_string_equal(read_on(&reading), "0-23 .");
    damage_file(1, block_offset(1, 2) + 90, 1);
    tape_archive_scan(recorder, &error);
    struct tape_segment_writer *writer = tape_archive_resume_segment(
        recorder, tape_archive_entry(recorder, 0), NULL, NULL, NULL, &error);
    assert_int_equal(tape_segment_next_ordinal(writer), 16);
    assert_string_equal(read_on(&reading), ".");
    append_block(writer, 16, RECORDS);
    append_block(writer, 24, RECORDS);
    tape_cursor_refresh(reading.cursor, &error);
    assert_string_equal(read_on(&reading), "24-31 .");
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    stop(&reading);
}

static void a_segment_renamed_under_the_cursor_is_found_again(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    add(3, 2 * SEGMENT, 3, 1);
    struct reading reading;
    struct tape_record record;
    start(&reading);
    for (int i = 0; i < 10; i++)
        assert_int_equal(tape_cursor_next(reading.cursor, &record, NULL, &error), 1);
    for (uint32_t sequence = 1; sequence < 4; sequence++) {
        char hot[400], packed[400];
        snprintf(hot, sizeof hot, "%s/segments/2026/11/25/20261125T094640Z-%06u.hot", path,
                 sequence);
        snprintf(packed, sizeof packed, "%s/segments/2026/11/25/20261125T094640Z-%06u.tape", path,
                 sequence);
        assert_int_equal(rename(hot, packed), 0);
    }
    assert_string_equal(read_on(&reading), "10-71 .");
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, 5, &error), 0);
    assert_string_equal(read_on(&reading), "5-71 .");
    stop(&reading);
}

static void remove_file(uint32_t sequence)
{
    char name[400];
    snprintf(name, sizeof name, "%s/segments/2026/11/25/20261125T094640Z-%06u.hot", path, sequence);
    assert_int_equal(unlink(name), 0);
}

/* Held open it is read to its end; before the first record nothing is missing. */
static void a_segment_pruned_under_the_cursor_is_missing(void **state)
{
    (void)state;
    for (uint32_t sequence = 1; sequence < 6; sequence++)
        add(sequence, (sequence - 1) * SEGMENT, 3, 1);
    let_go();
    struct reading reading;
    struct tape_record record;
    start(&reading);
    remove_file(1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(tape_cursor_next(reading.cursor, &record, NULL, &error), 1);
    assert_int_equal(record.ordinal, SEGMENT + 9);
    remove_file(2);
    remove_file(3);
    assert_string_equal(read_on(&reading), "34-47 <missing 48-72 segment 000004: block 0: records "
                                           "48 to 71 before it are missing> 72-119 .");
    stop(&reading);
}

static int is_told(void *context, const char *stream, size_t bytes)
{
    (void)context;
    return bytes == 1 && stream[0] == 'a';
}

/* Puts a packed block of ${records} from first on: every fifth of stream a, the others of b, the
 * last a ping. */
static void append_packed(struct tape_segment_writer *writer, uint64_t first, uint32_t records)
{
    struct tape_block_header header;
    uint8_t *stored, frame[64];
    struct tape_pack *pack = tape_pack_new(TAPE_PACK_WARM);
    for (uint64_t i = 0; i < records; i++) {
        char text[48] = "";
        if (i < records - 1)
            snprintf(text, sizeof text, "{\"stream\":\"%c\",\"data\":%d}", i % 5 ? 'b' : 'a',
                     (int)i);
        size_t head =
            tape_ws_build(frame, text[0] ? TAPE_WS_TEXT : TAPE_WS_PING, 1, strlen(text), NULL);
        memcpy(frame + head, text, strlen(text));
        struct tape_record record = {.ordinal = first + i,
                                     .recv_ns = made_ns + (int64_t)(first + i),
                                     .connection = 1,
                                     .kind = TAPE_RECORD_FRAME_IN,
                                     .bytes = (uint32_t)(head + strlen(text)),
                                     .data = frame};
        assert_int_equal(tape_pack_append(pack, &record, &error), 1);
    }
    assert_int_equal(tape_pack_seal(pack, &header, &stored, &error), 0);
    assert_int_equal(tape_segment_append(writer, &header, stored, NULL, 0, 0, &error), 0);
    tape_pack_free(pack);
}

static void refused_streams_are_left_out(void **state)
{
    (void)state;
    struct tape_segment_writer *writer = begin(1);
    append_packed(writer, 0, 21);
    append_block(writer, 21, RECORDS);
    append_packed(writer, 29, 21);
    append_packed(writer, 50, 21);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    damage_file(1, block_offset(1, 3) + TAPE_BLOCK_HEADER_BYTES + 2, 1);
    let_go();
    struct reading reading;
    struct tape_record record;
    struct tape_cursor_damage damage;
    uint64_t got[40];
    int length = 0, status;
    start(&reading);
    tape_cursor_select(reading.cursor, is_told, NULL);
    while ((status = tape_cursor_next(reading.cursor, &record, &damage, &error)) == 1)
        got[length++] = record.ordinal;
    static const uint64_t want[] = {0,  5,  10, 15, 20, 21, 22, 23, 24,
                                    25, 26, 27, 28, 29, 34, 39, 44, 49};
    assert_int_equal(length, sizeof want / sizeof *want);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(status, 2);
    assert_int_equal(damage.from_ordinal, 50);
    assert_int_equal(damage.to_ordinal, 71);
    assert_int_equal(tape_cursor_passed_ordinal(reading.cursor), 50);
    assert_int_equal(tape_cursor_next(reading.cursor, &record, &damage, &error), 0);
    assert_int_equal(tape_cursor_passed_ordinal(reading.cursor), 50);
    assert_int_equal(tape_cursor_blocks_read(reading.cursor), 4);
    /* all again, from the middle of a block */
    tape_cursor_select(reading.cursor, NULL, NULL);
    assert_int_equal(tape_cursor_seek_ordinal(reading.cursor, 41, &error), 0);
    assert_int_equal(tape_cursor_next(reading.cursor, &record, &damage, &error), 1);
    assert_int_equal(record.ordinal, 41);
    assert_int_equal(tape_cursor_blocks_read(reading.cursor), 5);
    stop(&reading);
}

static void a_segment_being_made_is_waited_for(void **state)
{
    (void)state;
    add(1, 0, 3, 1);
    add(2, SEGMENT, 3, 1);
    int fd = open_file(2);
    struct made_file whole = read_segment_file(2);
    assert_int_equal(ftruncate(fd, 0), 0);
    struct reading reading;
    start(&reading);
    assert_string_equal(read_on(&reading), "0-23 .");
    assert_int_equal(pwrite(fd, whole.data, 30, 0), 30);
    assert_string_equal(read_on(&reading), ".");
    assert_int_equal(pwrite(fd, whole.data, whole.bytes, 0), whole.bytes);
    assert_string_equal(read_on(&reading), "24-47 .");
    stop(&reading);
    assert_int_equal(ftruncate(fd, 0), 0);
    let_go();
    assert_story("0-23 <torn 24-24 segment 000002: 0 bytes are less than a header> .");
    free(whole.data);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_archive, remove_archive)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_segments_in_order),
        TEST(a_pruned_beginning_is_no_hole),
        TEST(tells_where_a_record_came_from),
        TEST(seeks_to_any_ordinal),
        TEST(seeks_to_any_time),
        TEST(a_seek_tells_only_what_lies_after_it),
        TEST(a_bad_block_costs_itself),
        TEST(a_bad_header_costs_nothing_when_sealed_and_its_block_when_not),
        TEST(a_bad_file_header_costs_nothing),
        TEST(a_missing_segment_is_missed),
        TEST(records_that_were_never_kept_are_missing),
        TEST(a_foreign_file_and_a_bad_one_are_told_once),
        TEST(a_torn_tail_is_told_at_the_end),
        TEST(bytes_after_the_trailer_are_told),
        TEST(a_bad_last_block_is_told_at_the_end),
        TEST(what_was_written_twice_comes_once),
        TEST(a_block_written_again_is_taken_from_there),
        TEST(passes_over_what_is_not_wanted),
        TEST(follows_a_recorder),
        TEST(an_incomplete_tail_is_damage_only_without_a_recorder),
        TEST(a_file_cut_shorter_is_opened_anew),
        TEST(a_segment_renamed_under_the_cursor_is_found_again),
        TEST(a_segment_pruned_under_the_cursor_is_missing),
        TEST(refused_streams_are_left_out),
        TEST(a_segment_being_made_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
