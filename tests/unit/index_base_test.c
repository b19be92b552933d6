#include "format/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "tests/unit/ask_index.h"
#include "tests/unit/index_directory.h"
#include "tests/unit/make_story.h"

/* The index against one that is made anew from what is there. */
static void expect_truth(struct tape_index *index, const char *where, const char *when)
{
    struct tape_archive *archive = tape_archive_open(where, &error);
    struct tape_index *truth = tape_index_open_memory(archive, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    told.count = 0;
    if (tape_index_catch_up(truth, archive, summariser, NULL, NULL, &error) < 0)
        fail_msg("%s: %s", when, error.text);
    if (tape_index_compare(index, truth, hear, NULL, &error) != 0)
        fail_msg("%s: %d rows differ: %s", when, told.count, told.first);
    tape_summariser_free(summariser);
    tape_index_close(truth);
    tape_archive_close(archive);
}

static struct tape_index *base_of(struct tape_archive *archive)
{
    int pending;
    struct tape_index *base = tape_index_open_base(archive, &pending, &error);
    if (!base && error.status != TAPE_MISSING)
        fail_msg("%s", error.text);
    if (pending)
        assert_int_equal(tape_index_settle_base(archive, &error), 0);
    return base ? base : tape_index_open_memory(archive, &error);
}

static uint64_t begin_of(struct tape_archive *archive, int entry)
{
    struct tape_segment_info info = {0};
    struct tape_segment *segment =
        tape_archive_open_segment(archive, tape_archive_entry(archive, entry), &error);
    assert_non_null(segment);
    tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    return info.first_ordinal;
}

enum { UNSETTLED = 1, UNPRUNED = 2, NO_ENTRY = 4 };

/* The base at the first beginning of a segment over which no message goes, and which entry that is;
 * NULL when there is none. */
static struct tape_index *next_base(struct tape_archive *archive, int *entry)
{
    int count = tape_archive_scan(archive, &error);
    for (*entry = 1; *entry < count; (*entry)++) {
        uint64_t until = begin_of(archive, *entry);
        struct tape_index *base = base_of(archive);
        assert_non_null(base);
        int whole = tape_index_advance_base(base, archive, until, &error);
        if (whole < 0)
            fail_msg("%s", error.text);
        if (whole == 1) {
            assert_int_equal(tape_index_pruned_ordinal(base), until);
            return base;
        }
        tape_index_close(base);
    }
    return NULL;
}

/* Deletes the oldest segments as a recorder does, up to the crash that ${crash} names. How many. */
static int prune_some(struct recorder *recorder, int crash)
{
    int entries;
    struct tape_index *base = next_base(recorder->archive, &entries);
    if (!base)
        return 0;
    assert_int_equal(tape_index_save_base(base, recorder->archive, &error), 0);
    for (int i = 0; i < entries && !(crash & NO_ENTRY); i++)
        assert_int_equal(tape_archive_remove_segment(
                             recorder->archive, tape_archive_entry(recorder->archive, i), &error),
                         0);
    if (!(crash & (UNSETTLED | NO_ENTRY)))
        assert_int_equal(tape_index_settle_base(recorder->archive, &error), 0);
    tape_archive_scan(recorder->archive, &error);
    if (!(crash & (UNPRUNED | NO_ENTRY)) &&
        tape_index_prune(recorder->index, base, recorder->archive, &error) < 0)
        fail_msg("%s", error.text);
    tape_index_close(base);
    return crash & NO_ENTRY ? 0 : entries;
}

/* A life in segments, pruned while it goes on. Whatever a crash leaves, the index and one made anew
 * are one after the next start. */
static void live_and_prune(const char *where, uint64_t seed)
{
    struct story story = story_of_life(seed, 4000);
    struct dice dice = {seed + 70};
    struct recorder recorder;
    char when[64];
    int pruned = 0;
    recorder_open(&recorder, where);
    for (size_t at = 0; at < story.used;) {
        size_t count = 1 + (size_t)roll_below(&dice, 60);
        if (count > story.used - at)
            count = story.used - at;
        recorder_block(&recorder, story.records + at, count);
        at += count;
        uint64_t what = roll_below(&dice, 20);
        if (what < 8)
            recorder_apply(&recorder);
        if (what > 14)
            recorder_seal(&recorder);
        if (what != 19 || recorder.sequence < 4)
            continue;
        recorder_apply(&recorder);
        int crash = (int)roll_below(&dice, 3) == 0 ? (int)roll_below(&dice, 8) : 0;
        pruned += prune_some(&recorder, crash);
        if (crash)
            recorder_crash(&recorder);
        snprintf(when, sizeof when, "seed %d, record %d, crash %d", (int)seed, (int)at, crash);
        if (!recorder.segment)
            expect_truth(recorder.index, where, when);
    }
    recorder_apply(&recorder);
    recorder_seal(&recorder);
    expect_truth(recorder.index, where, "at the end");
    assert_string_equal(
        ask_index(recorder.index,
                  "SELECT sum(messages - pruned_messages) = (SELECT sum(messages) "
                  "FROM block_stream), sum(bytes - pruned_bytes) = (SELECT "
                  "sum(bytes) FROM block_stream), sum(pruned_bytes) > 0 FROM stream"),
        pruned ? "1|1|1" : "1|1|0");
    assert_true(pruned > 0);
    recorder_close(&recorder);
    story_free(&story);
}

static void test_pruned_and_made_anew_are_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        char where[320];
        snprintf(where, sizeof where, "%s/%d", path, (int)seed);
        live_and_prune(where, seed);
    }
}

/* ---- files that are not what they should be ---- */

/* A pruned archive, closed; how many ordinals were pruned. */
static uint64_t make_pruned(void)
{
    struct story story = story_of_life(3, 3000);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    for (size_t at = 0; at + 50 <= story.used; at += 50) {
        recorder_block(&recorder, story.records + at, 50);
        if (at % 250 == 0) {
            recorder_apply(&recorder);
            recorder_seal(&recorder);
        }
    }
    recorder_apply(&recorder);
    recorder_seal(&recorder);
    assert_true(prune_some(&recorder, 0) > 0);
    recorder_close(&recorder);
    story_free(&story);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    uint64_t pruned = tape_index_find_pruned(archive);
    assert_true(pruned > 0);
    tape_archive_close(archive);
    return pruned;
}

static void write_bytes(const char *name, const void *bytes, size_t length)
{
    char where[400];
    snprintf(where, sizeof where, "%s/%s", archive_path, name);
    FILE *file = fopen(where, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

static size_t read_bytes(const char *name, uint8_t **bytes)
{
    char where[400];
    snprintf(where, sizeof where, "%s/%s", archive_path, name);
    FILE *file = fopen(where, "rb");
    assert_non_null(file);
    *bytes = malloc(1 << 20);
    size_t length = fread(*bytes, 1, 1 << 20, file);
    fclose(file);
    return length;
}

/* With whatever stands in pruned.db an index can be made, and it agrees with itself. */
static void make_anew(const char *when)
{
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_memory(archive, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    if (tape_index_catch_up(index, archive, summariser, NULL, NULL, &error) < 0)
        fail_msg("%s: %s", when, error.text);
    expect_truth(index, archive_path, when);
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
}

static void test_damaged_bases(void **state)
{
    (void)state;
    uint64_t pruned = make_pruned();
    uint8_t *bytes;
    size_t length = read_bytes("pruned.db", &bytes);
    struct dice dice = {5};
    for (int i = 0; i < 40; i++) {
        uint8_t *copy = malloc(length);
        memcpy(copy, bytes, length);
        size_t kept = i % 4 == 0 ? (size_t)roll_below(&dice, length) : length;
        for (int flips = 0; i % 4 && flips < 1 << (i % 4 * 3); flips++)
            copy[roll_below(&dice, length)] ^= (uint8_t)(1 + roll_below(&dice, 255));
        write_bytes(i % 3 ? "pruned.db" : "pruned.db.next", copy, kept);
        make_anew("a damaged base");
        free(copy);
    }
    write_bytes("pruned.db", bytes, length);
    write_bytes("pruned.db.next", "", 0);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *base = tape_index_open_base(archive, NULL, &error);
    assert_non_null(base);
    assert_int_equal(tape_index_pruned_ordinal(base), pruned);
    tape_index_close(base);
    tape_archive_close(archive);
    free(bytes);
}

static int open_fails(const char *words)
{
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *base = tape_index_open_base(archive, NULL, &error);
    assert_null(base);
    if (!strstr(error.text, words))
        fail_msg("%s, not %s", error.text, words);
    tape_archive_close(archive);
    return error.status;
}

static void test_what_is_no_base(void **state)
{
    (void)state;
    char where[400], other[400];
    make_pruned();
    snprintf(where, sizeof where, "%s/pruned.db", archive_path);
    snprintf(other, sizeof other, "%s/index.db", archive_path);
    assert_int_equal(unlink(where), 0);
    assert_int_equal(open_fails("pruned.db is not there"), TAPE_MISSING);
    assert_int_equal(symlink(other, where), 0);
    assert_int_equal(open_fails("pruned.db: open: Too many levels"), TAPE_FAILED);
    unlink(where);
    assert_int_equal(mkdir(where, 0700), 0);
    assert_int_equal(open_fails("pruned.db: it is no plain file of up to 256 MiB"), TAPE_CORRUPT);
    rmdir(where);
    write_bytes("pruned.db", "CREATE TABLE x(y)", 17);
    open_fails("pruned.db: ");
    /* a whole index is none: it knows of records that are there, or of none that were pruned */
    uint8_t *bytes;
    size_t length = read_bytes("index.db", &bytes);
    bytes[18] = bytes[19] = 1; /* no log */
    write_bytes("pruned.db", bytes, length);
    free(bytes);
    open_fails("pruned.db: ");
    make_anew("an index in the base's place");
}

/* One that knows of records which are there (a segment was brought back) does not count. */
static void test_segment_brought_back(void **state)
{
    (void)state;
    struct story story = story_of_life(4, 2000);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    for (size_t at = 0; at < 2000; at += 100) {
        recorder_block(&recorder, story.records + at, 100);
        recorder_apply(&recorder);
        recorder_seal(&recorder);
    }
    struct tape_index *base = NULL;
    int entries;
    assert_non_null(base = next_base(recorder.archive, &entries));
    assert_int_equal(tape_index_save_base(base, recorder.archive, &error), 0);
    assert_int_equal(tape_index_settle_base(recorder.archive, &error), 0);
    tape_index_close(base);
    assert_int_equal(open_fails("pruned.db knows of records that are there"), TAPE_CORRUPT);
    expect_truth(recorder.index, archive_path, "with the segment");
    recorder_close(&recorder);
    story_free(&story);
}

/* Nobody knows any more what the index begins with: it begins anew, so that both say the same. */
static void test_lost_base(void **state)
{
    (void)state;
    char where[400];
    int rebuilt;
    make_pruned();
    snprintf(where, sizeof where, "%s/pruned.db", archive_path);
    assert_int_equal(unlink(where), 0);
    struct tape_archive *archive = tape_archive_create(archive_path, &error);
    assert_non_null(archive);
    struct tape_index *index = tape_index_open(archive, &rebuilt, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    assert_true(tape_index_pruned_ordinal(index) > 0);
    assert_true(tape_index_catch_up(index, archive, summariser, NULL, NULL, &error) > 0);
    assert_int_equal(tape_index_pruned_ordinal(index), 0);
    expect_truth(index, archive_path, "without pruned.db");
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
}

static void test_index_that_ends_before_the_base(void **state)
{
    (void)state;
    struct story story = story_of_life(5, 2000);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    for (size_t at = 0; at < 2000; at += 100) {
        recorder_block(&recorder, story.records + at, 100);
        if (at == 0)
            recorder_apply(&recorder);
        tape_segment_seal(recorder.segment, &error);
        recorder.segment = NULL;
    }
    int entries;
    struct tape_index *base = next_base(recorder.archive, &entries);
    assert_non_null(base);
    struct tape_index *empty = tape_index_open_memory(recorder.archive, &error);
    assert_int_equal(tape_index_prune(empty, base, recorder.archive, &error), TAPE_USAGE);
    assert_string_equal(error.text, "index in memory: it ends before what was pruned");
    tape_index_close(empty);
    tape_index_close(base);
    recorder_close(&recorder);
    story_free(&story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pruned_and_made_anew_are_one, open_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(test_damaged_bases, open_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_what_is_no_base, open_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_segment_brought_back, open_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(test_lost_base, open_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_index_that_ends_before_the_base, open_directory,
                                        remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
