#include "format/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/unit/ask_index.h"
#include "tests/unit/make_story.h"

static char path[256], archive_path[300];
static int directory;
static struct tape_error error;

static int open_directory(void **state)
{
    (void)state;
    directory = made_directory(path);
    snprintf(archive_path, sizeof archive_path, "%s/a", path);
    return directory < 0;
}

static int remove_directory(void **state)
{
    (void)state;
    close(directory);
    remove_tree(path);
    return 0;
}

static struct {
    int count;
    char first[1024];
} told;

static void hear(void *context, const char *words)
{
    (void)context;
    if (told.count++ == 0)
        snprintf(told.first, sizeof told.first, "%s", words);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pruned_and_made_anew_are_one, open_directory,
                                        remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
