#include "format/archive_current.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/make_records.h"

static char above_path[256], path[300], day[350];
static struct tape_error error;
static struct tape_archive *archive; /* holds the lock */

static int open_archive(void **state)
{
    (void)state;
    close(made_directory(above_path));
    snprintf(path, sizeof path, "%s/tape", above_path);
    snprintf(day, sizeof day, "%s/segments/2026/11/25", path);
    archive = tape_archive_create(path, &error);
    return archive == NULL;
}

static int remove_archive(void **state)
{
    (void)state;
    tape_archive_close(archive);
    remove_tree(above_path);
    return 0;
}

static void add(uint32_t sequence)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_segment_writer *writer =
        tape_archive_create_segment(archive, sequence, made_ns, name, &error);
    if (writer == NULL)
        fail_msg("%s", error.text);
    append_block(writer, sequence * 8, 8);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
}

static const char *file_name(uint32_t sequence, const char *state)
{
    static char names[2][450];
    static int turn;
    turn = !turn;
    snprintf(names[turn], sizeof names[turn], "%s/20261125T094640Z-%06u.%s", day, sequence, state);
    return names[turn];
}

static uint32_t after(uint32_t sequence)
{
    const struct tape_archive_entry *entry = tape_archive_after(archive, sequence);
    return entry == NULL ? 0 : entry->sequence;
}

static void steps_from_sequence_to_sequence(void **state)
{
    (void)state;
    assert_int_equal(tape_archive_scan(archive, &error), 0);
    assert_int_equal(after(0), 0);
    for (uint32_t i = 1; i <= 40; i++)
        add(3 * i);
    assert_int_equal(tape_archive_scan(archive, &error), 40);
    for (uint32_t sequence = 0; sequence < 120; sequence++)
        assert_int_equal(after(sequence), sequence / 3 * 3 + 3);
    assert_int_equal(after(120), 0);
    assert_int_equal(after(UINT32_MAX), 0);
}

/* Opens what was listed; the sequence of what it holds, 0 when it is gone, or a status. */
static int open_listed(uint32_t sequence, struct tape_archive_entry *entry)
{
    struct tape_segment *segment;
    struct tape_segment_info info;
    *entry = *tape_archive_after(archive, sequence - 1);
    int got = tape_archive_open_current(archive, entry, &segment, &error);
    if (got != 1) {
        assert_null(segment);
        return got;
    }
    tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    return (int)info.sequence;
}

static void finds_what_was_packed_since(void **state)
{
    struct tape_archive_entry entry;
    (void)state;
    for (uint32_t i = 1; i <= 3; i++)
        add(i);
    assert_int_equal(tape_archive_scan(archive, &error), 3);
    assert_int_equal(rename(file_name(2, "hot"), file_name(2, "tape")), 0);
    assert_int_equal(open_listed(2, &entry), 2);
    assert_string_equal(entry.name, "2026/11/25/20261125T094640Z-000002.tape");
    assert_int_equal(entry.state, 't');
    assert_int_equal(open_listed(1, &entry), 1);
    assert_int_equal(entry.state, 'h');
}

static void tells_what_was_deleted_since(void **state)
{
    struct tape_archive_entry entry;
    (void)state;
    for (uint32_t i = 1; i <= 3; i++)
        add(i);
    assert_int_equal(tape_archive_scan(archive, &error), 3);
    assert_int_equal(unlink(file_name(1, "hot")), 0);
    assert_int_equal(unlink(file_name(2, "hot")), 0);
    assert_int_equal(open_listed(2, &entry), 0);
    /* the list is a new one */
    assert_int_equal(after(0), 3);
    /* of a whole day */
    assert_int_equal(unlink(file_name(3, "hot")), 0);
    assert_int_equal(rmdir(day), 0);
    assert_int_equal(open_listed(3, &entry), 0);
    assert_int_equal(after(0), 0);
}

static void a_file_that_is_there_and_bad_is_not_looked_for(void **state)
{
    struct tape_archive_entry entry;
    (void)state;
    add(1);
    assert_int_equal(tape_archive_scan(archive, &error), 1);
    assert_int_equal(truncate(file_name(1, "hot"), 10), 0);
    assert_int_equal(open_listed(1, &entry), TAPE_TORN);
    assert_string_equal(error.text, "segment 000001: 10 bytes are less than a header");
    assert_int_equal(unlink(file_name(1, "hot")), 0);
    assert_int_equal(symlink("nowhere", file_name(1, "hot")), 0);
    assert_int_equal(open_listed(1, &entry), TAPE_FOREIGN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_archive, remove_archive)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(steps_from_sequence_to_sequence),
        TEST(finds_what_was_packed_since),
        TEST(tells_what_was_deleted_since),
        TEST(a_file_that_is_there_and_bad_is_not_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
