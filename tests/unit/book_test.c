#include "format/book.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/json.h"
#include "format/venue.h"
#include "tests/unit/guard.h"
#include "tests/unit/random_below.h"
#include "tests/unit/read_capture.h"

enum { FUTURES = TAPE_VENUE_SEQUENCE_PREVIOUS_LAST, SPOT = TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS };

static struct tape_error error;

/* ---- messages ---- */

static int apply_text(struct tape_book *book, const char *text)
{
    static struct guard guard;
    struct tape_tick tick;
    size_t bytes = strlen(text);
    if (!guard.base)
        guard = guard_open(1 << 24);
    const char *payload = (const char *)guard_put(&guard, text, bytes);
    assert_int_equal(tape_tick_decode(payload, bytes, &tick), 1);
    memset(&error, 0, sizeof error);
    return tape_book_apply(book, &tick, &error);
}

/* One level each; the quantity tells the update. */
static int diff(struct tape_book *book, int64_t previous, int64_t first, int64_t last)
{
    char text[400], pu[40] = "";
    if (previous >= 0)
        snprintf(pu, sizeof pu, "\"pu\":%" PRId64 ",", previous);
    snprintf(text, sizeof text,
             "{\"e\":\"depthUpdate\",\"E\":%" PRId64 ",\"s\":\"BTCUSDT\",\"U\":%" PRId64
             ",\"u\":%" PRId64 ",%s\"b\":[[\"10.5\",\"%" PRId64 "\"]],\"a\":[]}",
             1700000000000 + last, first, last, pu, last);
    return apply_text(book, text);
}

static int snapshot(struct tape_book *book, int64_t id)
{
    char text[200];
    snprintf(text, sizeof text,
             "{\"lastUpdateId\":%" PRId64 ",\"bids\":[[\"10.5\",\"%" PRId64
             ".0\"]],\"asks\":[[\"11.0\",\"3\"]]}",
             id, id);
    return apply_text(book, text);
}

static void expect_state(const struct tape_book *book, int wanted, const char *cause)
{
    if (tape_book_state(book) != wanted)
        fail_msg("%s, not %s: %s", tape_book_state_word(tape_book_state(book)),
                 tape_book_state_word(wanted), tape_book_cause(book));
    if (cause)
        assert_string_equal(tape_book_cause(book), cause);
    if (wanted != TAPE_BOOK_KNOWN) {
        assert_true(tape_book_last_id(book) == TAPE_TICK_NONE);
        assert_int_equal(tape_book_levels(book, 0), 0);
        assert_int_equal(tape_book_levels(book, 1), 0);
        assert_int_equal(tape_book_print(book, 0, NULL, 0), 0);
    }
}

static void expect_printed(const struct tape_book *book, size_t limit, const char *wanted)
{
    char text[4096];
    int64_t bytes = tape_book_print(book, limit, text, sizeof text - 1);
    assert_in_range(bytes, 1, sizeof text - 1);
    text[bytes] = '\0';
    assert_string_equal(text, wanted);
}

/* ---- joining ---- */

enum { UNKNOWN = TAPE_BOOK_UNKNOWN, WAITING, KNOWN, BROKEN };

/* A snapshot of 100, and one diff before or after it. */
static const struct joint {
    int rule;
    int64_t previous, first, last;
    int state;
    int64_t id;
} joints[] = {
    {FUTURES, 90, 91, 99, WAITING, 0},    /* all of it is older */
    {FUTURES, 90, 91, 100, KNOWN, 100},   /* u is the snapshot's */
    {FUTURES, 90, 91, 107, KNOWN, 107},   /* it lies within */
    {FUTURES, 95, 100, 107, KNOWN, 107},  /* U is the snapshot's */
    {FUTURES, 100, 105, 107, KNOWN, 107}, /* pu is */
    {FUTURES, 99, 101, 107, BROKEN, 0},   /* neither, by one */
    {FUTURES, 101, 102, 107, BROKEN, 0},  /* one is missing */
    {SPOT, -1, 91, 99, WAITING, 0},       {SPOT, -1, 91, 100, KNOWN, 100},
    {SPOT, -1, 91, 101, KNOWN, 101},      {SPOT, -1, 100, 100, KNOWN, 100},
    {SPOT, -1, 101, 104, KNOWN, 104}, /* U is the snapshot's + 1 */
    {SPOT, -1, 102, 104, BROKEN, 0},
};

static void try_joint(const struct joint *joint, int rule, int before)
{
    struct tape_book *book = tape_book_new(rule);
    expect_state(book, TAPE_BOOK_UNKNOWN, "no snapshot was recorded before this time");
    if (before) {
        assert_int_equal(diff(book, joint->previous, joint->first, joint->last), 0);
        expect_state(book, TAPE_BOOK_UNKNOWN, "no snapshot was recorded before this time");
    }
    assert_int_equal(snapshot(book, 100), 1);
    if (!before) {
        expect_state(book, TAPE_BOOK_WAITING,
                     "no update has come yet that follows on the snapshot of update 100");
        assert_int_equal(diff(book, joint->previous, joint->first, joint->last),
                         joint->state != WAITING);
    }
    expect_state(book, joint->state, joint->state == KNOWN ? "" : NULL);
    if (joint->state == KNOWN)
        assert_int_equal(tape_book_last_id(book), joint->id);
    tape_book_free(book);
}

static void test_a_snapshot_joins_diffs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof joints / sizeof *joints; i++)
        for (int before = 0; before < 2; before++) {
            try_joint(&joints[i], joints[i].rule, before);
            try_joint(&joints[i], TAPE_BOOK_BY_DIFF, before);
        }
}

static void test_what_joined_is_the_later_of_both(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(SPOT);
    struct tape_book_level level;
    snapshot(book, 100);
    diff(book, -1, 90, 100);
    /* The diff that ends at the snapshot is in it. */
    expect_printed(
        book, 0,
        "{\"lastUpdateId\":100,\"bids\":[[\"10.5\",\"100.0\"]],\"asks\":[[\"11.0\",\"3\"]]}");
    diff(book, -1, 101, 101);
    assert_int_equal(tape_book_level(book, 0, 0, &level), 1);
    assert_int_equal(level.quantity.value, 101);
    assert_int_equal(level.quantity.scale, 0);
    assert_int_equal(level.price.value, 105);
    assert_int_equal(level.price.scale, 1);
    assert_true(level.price.valid && level.quantity.valid);
    assert_int_equal(tape_book_level(book, 0, 1, &level), 0);
    assert_int_equal(tape_book_level(book, 2, 0, &level), 0);
    tape_book_free(book);
}

static void test_a_gap_empties_the_book(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(FUTURES);
    snapshot(book, 100);
    assert_int_equal(diff(book, 100, 103, 110), 1);
    assert_int_equal(diff(book, 110, 115, 120), 1);
    assert_int_equal(diff(book, 121, 125, 130), 1);
    expect_state(book, TAPE_BOOK_BROKEN,
                 "updates are missing between 120 and 125, which follows on 121");
    /* pu counts, not U: the other symbols' updates lie between. And overlapping is no following. */
    snapshot(book, 130);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(diff(book, 129, 130, 140), 1);
    expect_state(book, TAPE_BOOK_BROKEN,
                 "updates are missing between 130 and 130, which follows on 129");
    tape_book_free(book);

    book = tape_book_new(SPOT);
    snapshot(book, 100);
    assert_int_equal(diff(book, -1, 101, 110), 1);
    assert_int_equal(diff(book, -1, 108, 112), 1); /* overlaps: nothing is missing */
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(diff(book, -1, 114, 120), 1);
    expect_state(book, TAPE_BOOK_BROKEN, "updates are missing between 112 and 114");
    assert_int_equal(diff(book, -1, 121, 130), 0);
    /* What broke it, and what came since, was kept. */
    assert_int_equal(snapshot(book, 113), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 130);
    tape_book_free(book);
}

/* E of diff() is 1700000000000 + its last id, in ms. */
enum { PATIENCE_MS = 50 };

static struct tape_book *patient_book(int rule)
{
    struct tape_book *book = tape_book_new(rule);
    tape_book_wait_for(book, PATIENCE_MS * 1000000ll);
    snapshot(book, 100);
    return book;
}

static void test_a_gap_is_waited_for(void **state)
{
    (void)state;
    struct tape_book *book = patient_book(FUTURES);
    diff(book, 100, 103, 110);
    assert_int_equal(diff(book, 120, 125, 130), 1);
    expect_state(book, TAPE_BOOK_WAITING,
                 "updates are missing between 110 and 125, which follows on 120");
    assert_int_equal(diff(book, 140, 145, 150), 0); /* a second gap */
    assert_int_equal(diff(book, 130, 133, 140), 0);
    assert_int_equal(diff(book, 100, 103, 110), 0); /* the other's copies begin */
    expect_state(book, TAPE_BOOK_WAITING, NULL);
    assert_int_equal(diff(book, 110, 111, 120), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    expect_printed(book, 0,
                   "{\"lastUpdateId\":150,\"E\":1700000000150,\"bids\":[[\"10.5\",\"150\"]],"
                   "\"asks\":[[\"11.0\",\"3\"]]}");
    assert_int_equal(diff(book, 120, 125, 130), 0);
    /* One of two is filled. */
    diff(book, 160, 165, 170);
    diff(book, 180, 185, 190);
    assert_int_equal(diff(book, 150, 155, 160), 1);
    expect_state(book, TAPE_BOOK_WAITING,
                 "updates are missing between 170 and 185, which follows on 180");
    snapshot(book, 180); /* fills as well */
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 190);
    tape_book_free(book);

    /* The diff that a snapshot waits for may be late, too. */
    book = patient_book(SPOT);
    assert_int_equal(diff(book, -1, 103, 104), 0);
    expect_state(book, TAPE_BOOK_WAITING,
                 "no update has come yet that follows on the snapshot of update 100");
    assert_int_equal(diff(book, -1, 100, 102), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 104);
    tape_book_free(book);
}

static void test_a_gap_that_stays_breaks_the_book(void **state)
{
    (void)state;
    struct tape_book *book = patient_book(SPOT);
    diff(book, -1, 101, 101);
    diff(book, -1, 103, 103);
    diff(book, -1, 104, 103 + PATIENCE_MS);
    expect_state(book, TAPE_BOOK_WAITING, "updates are missing between 101 and 103");
    assert_int_equal(diff(book, -1, 104 + PATIENCE_MS, 104 + PATIENCE_MS), 1);
    expect_state(book, TAPE_BOOK_BROKEN, "updates are missing between 101 and 103");
    assert_int_equal(diff(book, -1, 102, 102), 0);
    /* What came in time for a snapshot is there still. */
    assert_int_equal(snapshot(book, 103), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 104 + PATIENCE_MS);
    /* An update that follows on an older one than the book's last will never fit. */
    tape_book_free(book);
    book = patient_book(FUTURES);
    diff(book, 100, 103, 110);
    assert_int_equal(diff(book, 109, 111, 120), 1);
    expect_state(book, TAPE_BOOK_BROKEN, NULL);
    tape_book_free(book);
    /* Without end, all at one time of the venue's. */
    book = patient_book(SPOT);
    tape_book_wait_for(book, INT64_MAX);
    diff(book, -1, 101, 101);
    int64_t id = 103;
    for (; id < 103 + 1024; id++) {
        diff(book, -1, id, id);
        expect_state(book, TAPE_BOOK_WAITING, NULL);
    }
    assert_int_equal(diff(book, -1, id, id), 1);
    expect_state(book, TAPE_BOOK_BROKEN, "updates are missing between 101 and 103");
    tape_book_free(book);
}

static void test_an_old_snapshot_is_told(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(SPOT);
    diff(book, -1, 200, 210);
    diff(book, -1, 211, 220);
    assert_int_equal(snapshot(book, 100), 1);
    expect_state(book, TAPE_BOOK_BROKEN,
                 "the snapshot of update 100 is too old: the first update after it begins at 200");
    assert_int_equal(snapshot(book, 205), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 220);
    /* Older than the book: passed over. */
    assert_int_equal(snapshot(book, 219), 0);
    assert_int_equal(tape_book_last_id(book), 220);
    /* As new: it stays known. Newer: it waits. */
    assert_int_equal(snapshot(book, 220), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(snapshot(book, 225), 1);
    expect_state(book, TAPE_BOOK_WAITING, NULL);
    assert_int_equal(diff(book, -1, 221, 224), 0);
    expect_state(book, TAPE_BOOK_WAITING, NULL);
    assert_int_equal(diff(book, -1, 225, 226), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    tape_book_free(book);
}

static void test_duplicates_are_passed_over(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(FUTURES);
    diff(book, 90, 95, 100);
    diff(book, 90, 95, 100);
    diff(book, 100, 101, 110);
    diff(book, 90, 95, 100);
    snapshot(book, 96);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 110);
    assert_int_equal(diff(book, 100, 101, 110), 0);
    assert_int_equal(diff(book, 90, 95, 100), 0);
    assert_int_equal(diff(book, 110, 111, 120), 1);
    assert_int_equal(diff(book, 110, 111, 120), 0);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    tape_book_free(book);
}

static void test_ids_that_run_back(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(SPOT);
    snapshot(book, 100);
    diff(book, -1, 101, 5000);
    /* E of diff() is its id: one second later by the clock, with a smaller id. */
    assert_int_equal(apply_text(book, "{\"e\":\"depthUpdate\",\"E\":1700000006000,\"s\":\"A\","
                                      "\"U\":1,\"u\":5,\"b\":[],\"a\":[]}"),
                     0);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(apply_text(book, "{\"e\":\"depthUpdate\",\"E\":1700000006001,\"s\":\"A\","
                                      "\"U\":1,\"u\":5,\"b\":[],\"a\":[]}"),
                     1);
    expect_state(book, TAPE_BOOK_BROKEN, "update ids ran back from 5000 to 5");
    assert_int_equal(snapshot(book, 3), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 5);
    tape_book_free(book);

    /* Without a clock: by how many there are. */
    static const char timeless[] = "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":1,\"u\":5,\"b\":[],"
                                   "\"a\":[]}";
    book = tape_book_new(SPOT);
    snapshot(book, 100);
    diff(book, -1, 101, 5000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(apply_text(book, timeless), 0);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(apply_text(book, timeless), 1);
    expect_state(book, TAPE_BOOK_BROKEN, "update ids ran back from 5000 to 5");
    tape_book_free(book);
}

static void test_diffs_are_kept_within_bounds(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(SPOT);
    for (int64_t id = 1; id <= 1100; id++)
        assert_int_equal(diff(book, -1, id, id), 0);
    snapshot(book, 75); /* 77 to 1100 are 1024 */
    expect_state(book, TAPE_BOOK_BROKEN,
                 "the snapshot of update 75 is too old: the first update after it begins at 77");
    snapshot(book, 76);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), 1100);

    /* By their bytes, too. */
    tape_book_reset(book, NULL);
    expect_state(book, TAPE_BOOK_UNKNOWN, "no snapshot was recorded before this time");
    char *text = malloc(500000);
    for (int id = 1; id <= 4; id++) {
        int bytes = snprintf(
            text, 200, "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":%d,\"u\":%d,\"a\":[],\"b\":[", id,
            id);
        for (int i = 0; i < 26000; i++)
            bytes += snprintf(text + bytes, 40, "%s[\"%d\",\"1.0\"]", i ? "," : "", 1000 + i);
        snprintf(text + bytes, 4, "]}");
        assert_int_equal(apply_text(book, text), 0);
    }
    snapshot(book, 1);
    expect_state(book, TAPE_BOOK_BROKEN,
                 "the snapshot of update 1 is too old: the first update after it begins at 3");
    snapshot(book, 2);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_levels(book, 0), 26001);
    free(text);
    tape_book_free(book);
}

static void test_reset(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(TAPE_BOOK_BY_DIFF);
    diff(book, 90, 95, 105);
    snapshot(book, 100);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    tape_book_reset(book, "its connection ended");
    expect_state(book, TAPE_BOOK_UNKNOWN, "its connection ended");
    diff(book, 90, 95, 105);
    tape_book_reset(book, NULL);
    snapshot(book, 100);
    expect_state(book, TAPE_BOOK_WAITING, NULL);   /* nothing is kept over it */
    assert_int_equal(diff(book, -1, 101, 102), 1); /* nor the rule */
    expect_state(book, TAPE_BOOK_KNOWN, "");
    tape_book_free(book);
    tape_book_free(NULL);
}

static int restore(struct tape_book *book, const char *text)
{
    struct tape_tick tick;
    tape_tick_decode(text, strlen(text), &tick);
    return tape_book_restore(book, &tick, &error);
}

static void test_restore(void **state)
{
    static const char known[] = "{\"state\":true,\"lastUpdateId\":100,\"E\":5,"
                                "\"bids\":[[\"1.0\",\"2\"]],\"asks\":[]}";
    (void)state;
    for (int rule = TAPE_BOOK_BY_DIFF; rule <= SPOT; rule++) {
        struct tape_book *book = tape_book_new(rule);
        diff(book, 195, 196, 210);
        snapshot(book, 200);
        diff(book, 210, 211, 220);
        assert_int_equal(restore(book, known), 1); /* back from 220 */
        expect_state(book, TAPE_BOOK_KNOWN, "");
        expect_printed(book, 0,
                       "{\"lastUpdateId\":100,\"E\":5,\"bids\":[[\"1.0\",\"2\"]],\"asks\":[]}");
        if (rule == FUTURES || rule == SPOT || rule == TAPE_BOOK_BY_DIFF) {
            assert_int_equal(diff(book, rule == SPOT ? -1 : 100, rule == SPOT ? 101 : 105, 110), 1);
            expect_state(book, TAPE_BOOK_KNOWN, "");
            assert_int_equal(restore(book, known), 1);
            assert_int_equal(diff(book, rule == SPOT ? -1 : 99, 103, 110), 1);
            expect_state(book, TAPE_BOOK_BROKEN, NULL);
        }
        assert_int_equal(restore(book, "{\"state\":true,\"known\":false,\"cause\":\"no snapshot "
                                       "was recorded before this time\"}"),
                         0);
        expect_state(book, TAPE_BOOK_UNKNOWN, "no snapshot was recorded before this time");
        assert_int_equal(restore(book, "{\"lastUpdateId\":1,\"bids\":[[\"x\",\"1\"]],\"asks\":[]}"),
                         TAPE_FAILED);
        expect_state(book, TAPE_BOOK_BROKEN, NULL);
        tape_book_free(book);
    }
}

/* ---- partial depth streams ---- */

static int partial(struct tape_book *book, int64_t id, const char *time, const char *bids)
{
    char text[300];
    snprintf(text, sizeof text,
             "{\"stream\":\"a@depth5\",\"data\":{\"lastUpdateId\":%" PRId64
             ",%s\"bids\":%s,\"asks\":[]}}",
             id, time, bids);
    return apply_text(book, text);
}

static void test_partial_depth_replaces_all(void **state)
{
    (void)state;
    struct tape_book *book = tape_book_new(TAPE_VENUE_SEQUENCE_NONE);
    assert_int_equal(diff(book, -1, 1, 2), 0);
    expect_state(book, TAPE_BOOK_UNKNOWN, "no snapshot was recorded before this time");
    assert_int_equal(partial(book, 10, "", "[[\"5\",\"1\"],[\"4\",\"1\"]]"), 1);
    expect_printed(book, 0,
                   "{\"lastUpdateId\":10,\"bids\":[[\"5\",\"1\"],[\"4\",\"1\"]],\"asks\":[]}");
    assert_int_equal(partial(book, 99, "", "[[\"6\",\"1\"]]"), 1);
    expect_printed(book, 0, "{\"lastUpdateId\":99,\"bids\":[[\"6\",\"1\"]],\"asks\":[]}");
    assert_int_equal(partial(book, 98, "", "[[\"7\",\"1\"]]"), 0);
    expect_printed(book, 0, "{\"lastUpdateId\":99,\"bids\":[[\"6\",\"1\"]],\"asks\":[]}");
    assert_int_equal(diff(book, -1, 100, 101), 0);
    assert_int_equal(tape_book_last_id(book), 99);
    /* Ids that count anew are believed, not told: each message is whole. */
    assert_int_equal(partial(book, 1000, "\"E\":5000,", "[]"), 1);
    assert_int_equal(partial(book, 3, "\"E\":6000,", "[]"), 0);
    assert_int_equal(partial(book, 3, "\"E\":6001,", "[[\"8\",\"1\"]]"), 1);
    expect_printed(book, 0, "{\"lastUpdateId\":3,\"E\":6001,\"bids\":[[\"8\",\"1\"]],\"asks\":[]}");
    tape_book_free(book);
}

/* ---- levels ---- */

static struct tape_book *known_book(const char *bids, const char *asks)
{
    static char text[8192];
    struct tape_book *book = tape_book_new(SPOT);
    snprintf(text, sizeof text, "{\"lastUpdateId\":1,\"bids\":%s,\"asks\":%s}", bids, asks);
    assert_int_equal(apply_text(book, text), 1);
    expect_state(book, TAPE_BOOK_WAITING, NULL);
    assert_int_equal(apply_text(book, "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":1,\"u\":1,\"b\":[],"
                                      "\"a\":[]}"),
                     1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    return book;
}

static int update(struct tape_book *book, int id, const char *bids, const char *asks)
{
    char text[8192];
    snprintf(text, sizeof text,
             "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":%d,\"u\":%d,\"b\":%s,\"a\":%s}", id, id,
             bids, asks);
    return apply_text(book, text);
}

static void test_zero_removes(void **state)
{
    static const char *const zeros[] = {
        "\"0\"",   "\"0.000\"", "0",        "0.0",    "\"0.00000000\"",
        "\"000\"", "\"-0\"",    "\"-0.0\"", "\"0.\"", "\"0.00000000000000000000000000\""};
    (void)state;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
        char level[100];
        struct tape_book *book = known_book("[[\"9.50\",\"1\"],[\"9\",\"0.00\"]]", "[]");
        assert_int_equal(tape_book_levels(book, 0), 1);
        snprintf(level, sizeof level, "[[\"9.5\",%s],[\"3\",%s]]", zeros[i], zeros[i]);
        assert_int_equal(update(book, 2, level, level), 1);
        assert_int_equal(tape_book_levels(book, 0), 0);
        assert_int_equal(tape_book_levels(book, 1), 0);
        tape_book_free(book);
    }
}

static void test_texts_are_kept_and_sides_sorted(void **state)
{
    (void)state;
    struct tape_book *book = known_book("[[\"0.9\",\"1.50\"],[\"10\",\"2\"],[\"-1\",\"3\"]]",
                                        "[[\"10.000\",\"7\"],[\"2.5\",\"1\"],[\"0.25\",\"4.0\"]]");
    expect_printed(book, 0,
                   "{\"lastUpdateId\":1,"
                   "\"bids\":[[\"10\",\"2\"],[\"0.9\",\"1.50\"],[\"-1\",\"3\"]],"
                   "\"asks\":[[\"0.25\",\"4.0\"],[\"2.5\",\"1\"],[\"10.000\",\"7\"]]}");
    assert_int_equal(tape_book_is_crossed(book), 1);
    /* Another spelling of a price is the same level, as it was written last; numbers without quotes
     * are texts, too; more elements of a level are passed over. */
    update(book, 2, "[[0.90000, 123456789012345678, []],[\"9.999\",\"1\"]]",
           "[[\"2.50\",\"0.0\"],[\"0.25\",\"0\"]]");
    expect_printed(book, 0,
                   "{\"lastUpdateId\":2,\"bids\":[[\"10\",\"2\"],[\"9.999\",\"1\"],"
                   "[\"0.90000\",\"123456789012345678\"],[\"-1\",\"3\"]],"
                   "\"asks\":[[\"10.000\",\"7\"]]}");
    assert_int_equal(tape_book_is_crossed(book), 1); /* equal is crossed */
    update(book, 3, "[[\"10.0\",\"0\"]]", "[]");
    assert_int_equal(tape_book_is_crossed(book), 0);
    expect_printed(
        book, 1, "{\"lastUpdateId\":3,\"bids\":[[\"9.999\",\"1\"]],\"asks\":[[\"10.000\",\"7\"]]}");
    update(book, 4, "[]", "[[\"10\",\"0\"]]");
    assert_int_equal(tape_book_is_crossed(book), 0); /* one side is empty */
    tape_book_free(book);
}

/* Levels are read sixteen bytes at a time where there are enough of them: so with others behind. */
static void expect_written(const char *level, const char *printed)
{
    static const char others[] =
        "[\"200000000\",\"1\"],[\"200000001\",\"1\"],[\"200000002\",\"1\"]";
    char asks[300], wanted[400];
    struct tape_book *book = known_book("[]", "[]");
    snprintf(asks, sizeof asks, "[%s,%s]", level, others);
    if (!printed) {
        assert_int_equal(update(book, 2, "[]", asks), TAPE_FAILED);
        expect_state(book, TAPE_BOOK_BROKEN, NULL);
    } else {
        assert_int_equal(update(book, 2, "[]", asks), 1);
        snprintf(wanted, sizeof wanted, "{\"lastUpdateId\":2,\"bids\":[],\"asks\":[%s%s%s]}",
                 printed, *printed ? "," : "", others);
        expect_printed(book, 0, wanted);
    }
    tape_book_free(book);
}

static void test_plain_levels(void **state)
{
    static const char *const wrong[] = {"1.2.3", "1.",  "01",   "00.5", ".5",  "1e5",      "",
                                        ".",     "1,5", "+1",   "0x1",  "1 ",  "1\\u0030", "1/",
                                        "1:",    "00",  "0.5.", "..",   "1..5"};
    static const char *const same[] = {
        "[\"1.5\",\"2\" ]",      "[\"1.5\", \"2\"]", "[ \"1.5\",\"2\"]", "[\"1.5\" ,\"2\"]",
        "[\"1.5\",\"2\",\"3\"]", "[1.5,\"2\"]",      "[\"1.5\",2]",      "[\"1.5\",\"2\",[\"]\"]]"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char level[80];
        snprintf(level, sizeof level, "[\"%s\",\"1\"]", wrong[i]);
        expect_written(level, NULL);
        if (strcmp(wrong[i], "00") != 0) { /* a zero in any spelling */
            snprintf(level, sizeof level, "[\"1\",\"%s\"]", wrong[i]);
            expect_written(level, NULL);
        }
    }
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect_written(same[i], "[\"1.5\",\"2\"]");
    expect_written("[\"1\",\"0.0\"]", "");
    expect_written("[\"1\",\"00\"]", "");
    expect_written("[\"1\",\"0.00000000000\"]", "");
}

/* Digits of every number before and behind the point, as value and as text. */
static void test_numbers_of_every_length(void **state)
{
    (void)state;
    for (int whole = 1; whole <= 9; whole++)
        for (int scale = 0; scale <= 8; scale++) {
            char price[40], quantity[40], asks[300];
            struct tape_book_level level;
            int64_t value = 0;
            int bytes = 0;
            for (int i = 0; i < whole + scale; i++) {
                if (i == whole)
                    price[bytes++] = '.';
                int digit = 1 + (i * 7 + whole) % 9;
                price[bytes++] = (char)('0' + digit);
                value = value * 10 + digit;
            }
            price[bytes] = '\0';
            snprintf(quantity, sizeof quantity, "%s", price);
            snprintf(asks, sizeof asks, "[[\"%s\",\"%s\"],[\"%s9\",\"0\"],[\"%s8\",\"0.0\"]]",
                     price, quantity, price, price);
            struct tape_book *book = known_book("[]", "[]");
            assert_int_equal(update(book, 2, "[]", asks), 1);
            assert_int_equal(tape_book_levels(book, 1), 1);
            assert_int_equal(tape_book_level(book, 1, 0, &level), 1);
            assert_true(level.price.value == value && level.price.scale == scale);
            assert_true(level.quantity.value == value && level.quantity.scale == scale);
            /* The key is the same however the price is read: at the list's end, and rescaled. */
            snprintf(asks, sizeof asks, "[[\"%s%s0\",\"0\"]]", price, scale ? "" : ".");
            assert_int_equal(update(book, 3, "[]", asks), 1);
            assert_int_equal(tape_book_levels(book, 1), 0);
            tape_book_free(book);
        }
}

/* Lists that end where memory does: nothing behind them is looked at. */
static void test_lists_at_the_end_of_memory(void **state)
{
    struct guard guard = guard_open(4096);
    (void)state;
    for (int digits = 1; digits <= 16; digits++)
        for (int levels = 1; levels <= 4; levels++) {
            char text[400] = "[";
            size_t bytes = 1;
            for (int i = 0; i < levels; i++)
                bytes += (size_t)snprintf(text + bytes, 80, "%s[\"%d\",\"%0*d.5\"]", i ? "," : "",
                                          1 + i, 1, digits % 9);
            for (int i = 1; i < digits; i++)
                text[bytes++] = ' ';
            text[bytes++] = ']';
            struct tape_tick tick = {.kind = TAPE_TICK_DEPTH_SNAPSHOT,
                                     .id = 5,
                                     .event_ns = TAPE_TICK_NONE,
                                     .transaction_ns = TAPE_TICK_NONE};
            tick.bids = (struct tape_slice){"[]", 2};
            tick.asks = (struct tape_slice){(const char *)guard_put(&guard, text, bytes), bytes};
            struct tape_book *book = tape_book_new(TAPE_VENUE_SEQUENCE_NONE);
            assert_int_equal(tape_book_apply(book, &tick, &error), 1);
            assert_int_equal(tape_book_levels(book, 1), levels);
            tape_book_free(book);
        }
    guard_close(&guard);
}

static void test_another_scale_for_many_levels(void **state)
{
    char asks[4000] = "[", text[100];
    size_t bytes = 1;
    (void)state;
    for (int i = 0; i < 100; i++)
        bytes += (size_t)snprintf(asks + bytes, 40, "%s[\"%d\",\"1\"]", i ? "," : "", 1000 + i);
    snprintf(asks + bytes, 2, "]");
    struct tape_book *book = known_book("[]", asks);
    update(book, 2, "[[\"999.5\",\"7\"]]", "[[\"1050.25\",\"5\"],[\"0.5\",\"0\"]]");
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "[[\"%d.0\",\"0.0\"]]", 1000 + i);
        assert_int_equal(update(book, 3 + i, "[]", text), 1);
        assert_int_equal(tape_book_levels(book, 1), 100 - i);
    }
    expect_printed(
        book, 0,
        "{\"lastUpdateId\":102,\"bids\":[[\"999.5\",\"7\"]],\"asks\":[[\"1050.25\",\"5\"]]}");
    assert_int_equal(tape_book_is_crossed(book), 0);
    update(book, 103, "[[\"1060\",\"7\"]]", "[]");
    assert_int_equal(tape_book_is_crossed(book), 1); /* the new best counts */
    update(book, 104, "[[\"1060\",\"0\"]]", "[]");
    assert_int_equal(tape_book_is_crossed(book), 0);
    tape_book_free(book);
}

static const struct hostile {
    const char *bids;
    int status;
    const char *cause;
} hostiles[] = {
    {"[[\"1e5\",\"1\"]]", TAPE_FAILED,
     "update 2 has the level \"1e5\", \"1\", which is not a price and a quantity of up to 18 "
     "digits"},
    {"[[\"1\",\"1e-5\"]]", TAPE_FAILED,
     "update 2 has the level \"1\", \"1e-5\", which is not a price and a quantity of up to 18 "
     "digits"},
    {"[[\"1\",\"-1\"]]", TAPE_FAILED,
     "update 2 has the level \"1\", \"-1\", which is not a price and a quantity of up to 18 "
     "digits"},
    {"[[\"1\",\"\"]]", TAPE_FAILED,
     "update 2 has the level \"1\", \"\", which is not a price and a quantity of up to 18 digits"},
    {"[[\"1\",\".\"]]", TAPE_FAILED,
     "update 2 has the level \"1\", \".\", which is not a price and a quantity of up to 18 digits"},
    {"[[\"007\",\"0\"]]", TAPE_FAILED,
     "update 2 has the level \"007\", \"0\", which is not a price and a quantity of up to 18 "
     "digits"},
    {"[[\"1\\u0000\\n\xc3\xa9\",\"1\"]]", TAPE_FAILED,
     "update 2 has the level \"1?u0000?n??\", \"1\", which is not a price and a quantity of up to "
     "18 "
     "digits"},
    {"[[\"1234567890123456789012345678901234567890\",\"1\"]]", TAPE_FAILED,
     "update 2 has the level \"12345678901234567890123456789012...\", \"1\", which is not a price "
     "and "
     "a quantity of up to 18 digits"},
    {"[[\"123456789012345678\",\"1\"]]", TAPE_LIMIT,
     "update 2 has the price \"123456789012345678\", too many digits beside the others"},
    {"[[\"0.12345678901234567\",\"1\"],[\"123\",\"1\"]]", TAPE_LIMIT,
     "update 2 has the price \"123\", too many digits beside the others"},
    {"[\"1\",\"1\"]", TAPE_FAILED,
     "update 2 has bids that are not a list of [\"price\",\"quantity\"]"},
    {"[[\"1\"]]", TAPE_FAILED, "update 2 has bids that are not a list of [\"price\",\"quantity\"]"},
    {"[[\"1\",\"1\"],null]", TAPE_FAILED,
     "update 2 has bids that are not a list of [\"price\",\"quantity\"]"},
    {"[[{},[]]]", TAPE_FAILED, "update 2 has bids that are not a list of [\"price\",\"quantity\"]"},
};

static void test_hostile_levels_break_the_book(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostiles / sizeof *hostiles; i++) {
        char wanted[400];
        struct tape_book *book = known_book("[[\"9.50\",\"1\"],[\"9.50000000\",\"1\"]]", "[]");
        if (hostiles[i].bids[3] == '0' && hostiles[i].bids[4] == '.') {
            tape_book_free(book);
            book = known_book("[]", "[]");
        }
        assert_int_equal(update(book, 2, hostiles[i].bids, "[]"), hostiles[i].status);
        expect_state(book, TAPE_BOOK_BROKEN, hostiles[i].cause);
        snprintf(wanted, sizeof wanted, "%s; the book is empty until the next snapshot",
                 hostiles[i].cause);
        assert_string_equal(error.text, wanted);
        assert_int_equal(error.status, hostiles[i].status);
        assert_int_equal(update(book, 3, "[[\"5\",\"5\"]]", "[]"), 0);
        snapshot(book, 2);
        expect_state(book, TAPE_BOOK_KNOWN, "");
        tape_book_free(book);
    }
}

static void test_asks_are_named(void **state)
{
    (void)state;
    struct tape_book *book = known_book("[]", "[]");
    assert_int_equal(update(book, 2, "[]", "[[]]"), TAPE_FAILED);
    expect_state(book, TAPE_BOOK_BROKEN,
                 "update 2 has asks that are not a list of [\"price\",\"quantity\"]");
    tape_book_free(book);
    static const char *const absent[] = {"\"b\":[]", "\"b\":[],\"a\":\"\"", "\"b\":[],\"a\":{}"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        char text[200];
        book = known_book("[]", "[]");
        snprintf(text, sizeof text, "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":2,\"u\":2,%s}",
                 absent[i]);
        assert_int_equal(apply_text(book, text), TAPE_FAILED);
        expect_state(book, TAPE_BOOK_BROKEN,
                     "update 2 has asks that are not a list of [\"price\",\"quantity\"]");
        tape_book_free(book);
    }
}

static void test_updates_without_numbers(void **state)
{
    static const char *const texts[] = {
        "{\"e\":\"depthUpdate\",\"s\":\"A\",\"u\":3,\"b\":[],\"a\":[]}",
        "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":3,\"b\":[],\"a\":[]}",
        "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":3,\"u\":2,\"pu\":1,\"b\":[],\"a\":[]}",
        "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":2,\"u\":99999999999999999999,\"pu\":1,\"b\":[],"
        "\"a\":[]}",
        "{\"e\":\"depthUpdate\",\"s\":\"A\",\"U\":2,\"u\":3,\"b\":[],\"a\":[]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct tape_book *book = tape_book_new(FUTURES);
        snapshot(book, 1);
        diff(book, 0, 1, 1);
        expect_state(book, TAPE_BOOK_KNOWN, "");
        assert_int_equal(apply_text(book, texts[i]), TAPE_FAILED);
        expect_state(book, TAPE_BOOK_BROKEN,
                     "an update after 1 does not tell which updates it holds");
        tape_book_free(book);
    }
    struct tape_book *book = tape_book_new(SPOT);
    assert_int_equal(apply_text(book, "{\"lastUpdateId\":1.5,\"bids\":[],\"asks\":[]}"),
                     TAPE_FAILED);
    expect_state(book, TAPE_BOOK_BROKEN, "a snapshot does not tell which update it is of");
    assert_int_equal(
        apply_text(book, "{\"e\":\"trade\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"s\":\"A\"}"), 0);
    tape_book_free(book);
}

static void test_levels_are_capped(void **state)
{
    (void)state;
    struct tape_book *book = known_book("[]", "[]");
    char *text = malloc(TAPE_BOOK_LEVELS_MAX * 20 + 200);
    int bytes = snprintf(text, 100, "{\"lastUpdateId\":2,\"asks\":[],\"bids\":[");
    for (int i = 0; i < TAPE_BOOK_LEVELS_MAX; i++)
        bytes += snprintf(text + bytes, 40, "%s[\"%d\",\"1\"]", i ? "," : "", 1 + i);
    snprintf(text + bytes, 4, "]}");
    assert_int_equal(apply_text(book, text), 1);
    assert_int_equal(update(book, 2, "[]", "[]"), 1);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_levels(book, 0), TAPE_BOOK_LEVELS_MAX);
    assert_int_equal(update(book, 3, "[[\"7\",\"5\"]]", "[[\"1\",\"1\"]]"), 1);
    assert_int_equal(update(book, 4, "[[\"0.5\",\"5\"]]", "[]"), TAPE_LIMIT);
    expect_state(book, TAPE_BOOK_BROKEN, "update 4 makes more than 131072 levels");
    free(text);
    tape_book_free(book);
}

static void test_print(void **state)
{
    static const char wanted[] = "{\"lastUpdateId\":7,\"E\":1700000000007,\"T\":1700000000001,"
                                 "\"bids\":[[\"1.0\",\"2\"]],\"asks\":[]}";
    char text[200];
    (void)state;
    struct tape_book *book = known_book("[]", "[]");
    assert_int_equal(apply_text(book,
                                "{\"e\":\"depthUpdate\",\"E\":1700000000007,\"T\":1700000000001,"
                                "\"s\":\"A\",\"U\":2,\"u\":7,\"b\":[[\"1.0\",\"2\"]],\"a\":[]}"),
                     1);
    expect_printed(book, 0, wanted);
    assert_int_equal(tape_book_print(book, 0, NULL, 0), sizeof wanted - 1);
    for (size_t room = 0; room < sizeof wanted - 1; room++) {
        memset(text, 'x', sizeof text);
        assert_int_equal(tape_book_print(book, 0, text, room), TAPE_LIMIT);
        assert_int_equal(text[room], 'x');
    }
    assert_int_equal(tape_book_print(book, 0, text, sizeof wanted - 1), sizeof wanted - 1);
    tape_book_free(book);
}

static void test_words_and_rules(void **state)
{
    static const struct {
        const char *venue, *stream, *wrong;
    } rules[] = {
        {"usdm", "btcusdt@depth@0ms", NULL},
        {NULL, "btcusdt@depth", NULL},
        {"spot", "btcusdt@depth20@100ms", NULL},
        {"usdm", "btcusdt@rpiDepth@500ms", NULL},
        {"usdm", "btcusdt@trade",
         "stream \"btcusdt@trade\" has no book: depth streams are called <symbol>@depth, "
         "<symbol>@depth20 ..."},
        {NULL, "btcusdt@depth7",
         "stream \"btcusdt@depth7\" has no book: depth streams are called <symbol>@depth, "
         "<symbol>@depth20 ..."},
        {NULL, "depth",
         "stream \"depth\" has no book: depth streams are called <symbol>@depth, <symbol>@depth20 "
         "..."},
        {"spot", "btcusdt@depth@17ms", "stream \"btcusdt@depth@17ms\" is none of spot's"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct tape_book *book = tape_book_for(rules[i].venue, rules[i].stream, &error);
        if (rules[i].wrong) {
            assert_null(book);
            assert_string_equal(error.text, rules[i].wrong);
            assert_int_equal(error.status, TAPE_USAGE);
        } else {
            assert_non_null(book);
        }
        tape_book_free(book);
    }
    assert_null(tape_book_for("nowhere", "btcusdt@depth", &error));
    assert_int_equal(error.status, TAPE_USAGE);
    struct tape_book *book = tape_book_for("spot", "btcusdt@depth5", &error);
    partial(book, 1, "", "[]");
    expect_state(book, TAPE_BOOK_KNOWN, "");
    tape_book_free(book);
    book = tape_book_for("spot", "btcusdt@depth@100ms", &error);
    snapshot(book, 1);
    diff(book, 1, 3, 4); /* by the futures' rule it would follow */
    expect_state(book, TAPE_BOOK_BROKEN, NULL);
    tape_book_free(book);
    book = tape_book_for("coinm", "btcusd_perp@depth", &error);
    snapshot(book, 1);
    diff(book, 1, 3, 4);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    tape_book_free(book);
    assert_string_equal(tape_book_state_word(TAPE_BOOK_WAITING), "waiting");
    assert_null(tape_book_state_word(4));
    assert_null(tape_book_state_word(-1));
}

/* ---- a venue of our own: drops, duplicates, late messages ---- */

enum { PRICES = 1200, EVENTS = 700, CHANGES_MAX = 40 };

/* Quantities by price, in hundredths; 0: no level. */
struct truth {
    int quantity[2][PRICES];
    int64_t last;
};

struct event {
    int64_t previous, first, last;
    char *text;
};

static struct venue_of_ours {
    int rule;
    struct truth now, at[EVENTS]; /* at[i]: after event i */
    struct event events[EVENTS];
} * ours;

static int write_levels(char *to, const int (*changes)[2], int count)
{
    int bytes = snprintf(to, 2, "[");
    for (int i = 0; i < count; i++)
        bytes += snprintf(to + bytes, 60, "%s[\"%d.%02d\",\"%d.%02d\"]", i ? "," : "",
                          changes[i][0] / 100, changes[i][0] % 100, changes[i][1] / 100,
                          changes[i][1] % 100);
    return bytes + snprintf(to + bytes, 2, "]");
}

static int change_side(int side, char *to)
{
    int changes[CHANGES_MAX][2], count = (int)random_below(CHANGES_MAX);
    for (int i = 0; i < count; i++) {
        /* mostly near the middle */
        int price = (int)random_below(random_below(3) ? 60 : PRICES / 2);
        price = side ? PRICES / 2 + price : PRICES / 2 - 1 - price;
        changes[i][0] = price;
        changes[i][1] = ours->now.quantity[side][price] =
            random_below(3) ? (int)random_below(50000) : 0;
    }
    return write_levels(to, (const int(*)[2])changes, count);
}

static void happen(int index)
{
    struct event *event = &ours->events[index];
    char bids[4096], asks[4096];
    event->previous = ours->now.last;
    event->first = event->previous + 1 + (ours->rule == FUTURES ? random_below(5) : 0);
    event->last = event->first + random_below(7);
    ours->now.last = event->last;
    change_side(0, bids);
    change_side(1, asks);
    event->text = malloc(9000);
    char pu[40] = "";
    if (ours->rule == FUTURES)
        snprintf(pu, sizeof pu, ",\"pu\":%" PRId64, event->previous);
    snprintf(event->text, 9000,
             "{\"e\":\"depthUpdate\",\"E\":%d,\"s\":\"X\",\"U\":%" PRId64 ",\"u\":%" PRId64
             "%s,\"b\":%s,\"a\":%s}",
             1700000 + index, event->first, event->last, pu, bids, asks);
    ours->at[index] = ours->now;
}

static void write_snapshot(char *to, const struct truth *truth)
{
    int bytes = snprintf(to, 60, "{\"lastUpdateId\":%" PRId64 ",\"bids\":", truth->last);
    for (int side = 0; side < 2; side++) {
        static int all[PRICES][2];
        int count = 0;
        for (int price = 0; price < PRICES; price++)
            if (truth->quantity[side][price]) {
                all[count][0] = price;
                all[count++][1] = truth->quantity[side][price];
            }
        bytes += write_levels(to + bytes, (const int(*)[2])all, count);
        bytes += snprintf(to + bytes, 12, side ? "}" : ",\"asks\":");
    }
}

static const struct truth *truth_at(int64_t id)
{
    for (int i = 0; i < EVENTS; i++)
        if (ours->events[i].text && ours->at[i].last == id)
            return &ours->at[i];
    return NULL;
}

static int is_written(const struct tape_decimal *number, int hundredths)
{
    char text[40];
    int bytes = snprintf(text, sizeof text, "%d.%02d", hundredths / 100, hundredths % 100);
    return number->value == hundredths && number->scale == 2 &&
           number->text.bytes == (size_t)bytes &&
           memcmp(number->text.data, text, (size_t)bytes) == 0;
}

/* The whole book, in order, with every text. */
static void expect_truth(const struct tape_book *book)
{
    const struct truth *truth = truth_at(tape_book_last_id(book));
    if (!truth)
        fail_msg("a book of %" PRId64, tape_book_last_id(book));
    for (int side = 0; side < 2; side++) {
        size_t index = 0;
        for (int i = 0; i < PRICES; i++) {
            int price = side ? i : PRICES - 1 - i, quantity = truth->quantity[side][price];
            struct tape_book_level level;
            if (quantity &&
                (!tape_book_level(book, side, index++, &level) ||
                 !is_written(&level.price, price) || !is_written(&level.quantity, quantity)))
                fail_msg("side %d, level %zu of %" PRId64 " is not %d, %d", side, index,
                         tape_book_last_id(book), price, quantity);
        }
        assert_int_equal(tape_book_levels(book, side), index);
    }
}

/* What the venue's procedure says, from the messages that arrived, in the simplest words. */
struct naive {
    int64_t heard[2 * EVENTS][3]; /* previous, first, last, since the last loss or from the start */
    int count;
    int64_t snapshot; /* -1: none */
};

static int naive_knows(const struct naive *naive, int64_t *id)
{
    int joined = 0;
    *id = naive->snapshot;
    for (int i = 0; naive->snapshot >= 0 && i < naive->count; i++) {
        int64_t previous = naive->heard[i][0], first = naive->heard[i][1],
                last = naive->heard[i][2];
        if (last < *id || (joined && last == *id))
            continue;
        if (!joined && last == *id)
            joined = 1;
        else if (ours->rule == SPOT ? first <= *id + 1
                                    : previous == *id || (!joined && first <= *id))
            joined = 1;
        else
            return 0;
        *id = last;
    }
    return joined;
}

/* One run through everything, with losses, echoes and snapshots. */
static void run_through(int loss, int echo)
{
    struct tape_book *book = tape_book_new(random_below(2) ? ours->rule : TAPE_BOOK_BY_DIFF);
    struct naive naive = {.snapshot = -1};
    static char text[200000];
    int known = 0, broken = 0, due = -1, taken = 0;
    for (int i = 0; i < EVENTS; i++) {
        int copies = 1 + (random_below(100) < (unsigned)echo);
        for (int copy = 0; copy < copies; copy++) {
            int at = copy && i > 3 ? i - 3 * (int)random_below(2) : i;
            const struct event *event = &ours->events[at];
            if (random_below(100) < (unsigned)loss)
                continue;
            assert_true(apply_text(book, event->text) >= 0);
            naive.heard[naive.count][0] = event->previous;
            naive.heard[naive.count][1] = event->first;
            naive.heard[naive.count++][2] = event->last;
        }
        /* A snapshot takes its time: it is of some events ago when it comes. */
        if (due < 0 && tape_book_state(book) != TAPE_BOOK_KNOWN) {
            due = i + (int)random_below(6);
            taken = i;
        }
        if (due == i) {
            const struct truth *truth = &ours->at[taken];
            write_snapshot(text, truth);
            apply_text(book, text);
            naive.snapshot = truth->last;
            due = -1;
        }
        int64_t id;
        int knows = naive_knows(&naive, &id);
        assert_int_equal(tape_book_state(book) == TAPE_BOOK_KNOWN, knows);
        if (knows) {
            assert_int_equal(tape_book_last_id(book), id);
            if (known++ % 3 == 0)
                expect_truth(book);
        } else if (tape_book_state(book) == TAPE_BOOK_BROKEN && naive.snapshot >= 0) {
            /* What was before the gap is of no use any more. */
            broken++;
            naive.snapshot = -1;
        }
    }
    assert_true(known > (loss ? EVENTS / 20 : EVENTS - 20));
    assert_true(loss == 0 || broken > 0);
    tape_book_free(book);
}

/* Two connections of which one lags, and each misses what the other has. */
static void run_both(int lag)
{
    struct tape_book *book = tape_book_new(ours->rule);
    static char text[200000];
    int known = 0, missed[EVENTS] = {0};
    tape_book_wait_for(book, INT64_MAX);
    write_snapshot(text, &ours->at[0]);
    apply_text(book, text);
    for (int i = 1; i < EVENTS + lag; i++) {
        int late = i - lag;
        if (i < EVENTS && !(missed[i] = random_below(4) == 0))
            apply_text(book, ours->events[i].text);
        if (late > 0 && late < EVENTS && (missed[late] || random_below(4)))
            apply_text(book, ours->events[late].text);
        assert_true(tape_book_state(book) == TAPE_BOOK_KNOWN ||
                    tape_book_state(book) == TAPE_BOOK_WAITING);
        if (tape_book_state(book) == TAPE_BOOK_KNOWN && known++ % 3 == 0)
            expect_truth(book);
    }
    assert_true(known > 0);
    expect_state(book, TAPE_BOOK_KNOWN, "");
    assert_int_equal(tape_book_last_id(book), ours->now.last);
    expect_truth(book);
    tape_book_free(book);
}

static void test_generated_streams(void **state)
{
    (void)state;
    for (int rule = FUTURES; rule <= SPOT; rule++) {
        ours = calloc(1, sizeof *ours);
        ours->rule = rule;
        ours->now.last = 1000;
        for (int i = 0; i < EVENTS; i++)
            happen(i);
        for (int run = 0; run < 3; run++) {
            run_through(0, 0);
            run_through(0, 20);
            run_through(4, 0);
            run_through(4, 20);
            run_both(1 + (int)random_below(300));
        }
        for (int i = 0; i < EVENTS; i++)
            free(ours->events[i].text);
        free(ours);
    }
}

/* ---- real captures ---- */

/* A sorted array is all there is to it. Prices and quantities in 10^-8. */
struct plain_side {
    struct plain_level {
        int64_t price, quantity;
    } * levels;
    size_t count;
};

static int64_t fixed(const char *text)
{
    int64_t value = 0;
    int places = -1;
    for (; *text; text++) {
        if (*text == '.') {
            places = 0;
        } else {
            value = value * 10 + (*text - '0');
            places += places >= 0;
        }
    }
    for (places = places < 0 ? 0 : places; places < 8; places++)
        value *= 10;
    return value;
}

static void put_plain(struct plain_side *side, int64_t price, int64_t quantity)
{
    size_t at = 0, end = side->count;
    while (at < end) {
        size_t middle = (at + end) / 2;
        if (side->levels[middle].price < price)
            at = middle + 1;
        else
            end = middle;
    }
    int there = at < side->count && side->levels[at].price == price;
    if (there && quantity) {
        side->levels[at].quantity = quantity;
    } else if (there) {
        side->count--;
        memmove(side->levels + at, side->levels + at + 1,
                (side->count - at) * sizeof *side->levels);
    } else if (quantity) {
        memmove(side->levels + at + 1, side->levels + at,
                (side->count++ - at) * sizeof *side->levels);
        side->levels[at] = (struct plain_level){price, quantity};
    }
}

static void put_array(struct plain_side *side, const cJSON *list)
{
    const cJSON *level;
    cJSON_ArrayForEach(level, list)
        put_plain(side, fixed(level->child->valuestring), fixed(level->child->next->valuestring));
}

static int64_t at_scale_8(const struct tape_decimal *number)
{
    int64_t value = number->value;
    for (int scale = number->scale; scale < 8; scale++)
        value *= 10;
    return value;
}

static void expect_plain(const struct tape_book *book, const struct plain_side sides[2])
{
    for (int side = 0; side < 2; side++) {
        assert_int_equal(tape_book_levels(book, side), sides[side].count);
        for (size_t i = 0; i < sides[side].count; i++) {
            struct tape_book_level level;
            const struct plain_level *wanted =
                &sides[side].levels[side ? i : sides[side].count - 1 - i];
            assert_int_equal(tape_book_level(book, side, i, &level), 1);
            assert_int_equal(at_scale_8(&level.price), wanted->price);
            assert_int_equal(at_scale_8(&level.quantity), wanted->quantity);
        }
    }
}

/* The diffs from the first that the snapshot does not hold on, through cJSON into plain arrays. */
static void follow_capture(const char *name, const char *venue, const char *stream)
{
    size_t bytes, messages = 0, checked = 0;
    char *plain = read_capture(name, &bytes);
    if (!plain) {
        print_message("no %s (TAPE_DATA): skipped\n", name);
        return;
    }
    struct plain_side sides[2] = {{malloc(1 << 20), 0}, {malloc(1 << 20), 0}};
    struct tape_book *book = tape_book_for(venue, stream, &error);
    cJSON *kept[100];
    int kept_count = 0, has_snapshot = 0;
    for (char *line = plain, *end; line < plain + bytes; line = end + 1) {
        end = memchr(line, '\n', (size_t)(plain + bytes - line));
        char *payload = (char *)memchr(line, ' ', (size_t)(end - line)) + 1;
        struct tape_tick tick;
        tape_tick_decode(payload, (size_t)(end - payload), &tick);
        if (tick.kind != TAPE_TICK_DEPTH && tick.kind != TAPE_TICK_DEPTH_SNAPSHOT)
            continue;
        assert_true(tape_book_apply(book, &tick, &error) >= 0);
        cJSON *json = cJSON_ParseWithLength(payload, (size_t)(end - payload));
        if (tick.kind == TAPE_TICK_DEPTH_SNAPSHOT) {
            has_snapshot = 1;
            put_array(&sides[0], cJSON_GetObjectItemCaseSensitive(json, "bids"));
            put_array(&sides[1], cJSON_GetObjectItemCaseSensitive(json, "asks"));
            double id = cJSON_GetObjectItemCaseSensitive(json, "lastUpdateId")->valuedouble;
            for (int i = 0; i < kept_count; i++) {
                const cJSON *data = cJSON_GetObjectItemCaseSensitive(kept[i], "data");
                double last = cJSON_GetObjectItemCaseSensitive(data, "u")->valuedouble;
                /* Futures: the one that ends at the snapshot is the first to be applied. */
                if (last > id || (last == id && tick.transaction_ns != TAPE_TICK_NONE)) {
                    put_array(&sides[0], cJSON_GetObjectItemCaseSensitive(data, "b"));
                    put_array(&sides[1], cJSON_GetObjectItemCaseSensitive(data, "a"));
                }
                cJSON_Delete(kept[i]);
            }
            cJSON_Delete(json);
            continue;
        }
        if (!has_snapshot) {
            assert_in_range(kept_count, 0, 99);
            kept[kept_count++] = json;
            continue;
        }
        const cJSON *data = cJSON_GetObjectItemCaseSensitive(json, "data");
        put_array(&sides[0], cJSON_GetObjectItemCaseSensitive(data, "b"));
        put_array(&sides[1], cJSON_GetObjectItemCaseSensitive(data, "a"));
        cJSON_Delete(json);
        expect_state(book, TAPE_BOOK_KNOWN, "");
        if (messages++ % 97 == 0) {
            expect_plain(book, sides);
            checked++;
        }
    }
    expect_plain(book, sides);
    assert_true(messages > 3000 && checked > 30);
    assert_int_equal(tape_book_is_crossed(book), 0);
    tape_book_free(book);
    free(sides[0].levels);
    free(sides[1].levels);
    free(plain);
}

static void test_real_captures(void **state)
{
    (void)state;
    follow_capture("hftbacktest/usdm_btcusdt_20240808.txt.zst", "usdm", "btcusdt@depth@0ms");
    follow_capture("hftbacktest/usdm_ethusdt_20240808.txt.zst", NULL, "ethusdt@depth@0ms");
    follow_capture("hftbacktest/cm_btcusd_perp_20240808.txt.zst", "coinm", "btcusd_perp@depth@0ms");
    follow_capture("hftbacktest/spot_btcusdt_20240808.txt.zst", "spot", "btcusdt@depth@100ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_snapshot_joins_diffs),
        cmocka_unit_test(test_what_joined_is_the_later_of_both),
        cmocka_unit_test(test_a_gap_empties_the_book),
        cmocka_unit_test(test_a_gap_is_waited_for),
        cmocka_unit_test(test_a_gap_that_stays_breaks_the_book),
        cmocka_unit_test(test_an_old_snapshot_is_told),
        cmocka_unit_test(test_duplicates_are_passed_over),
        cmocka_unit_test(test_ids_that_run_back),
        cmocka_unit_test(test_diffs_are_kept_within_bounds),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_partial_depth_replaces_all),
        cmocka_unit_test(test_zero_removes),
        cmocka_unit_test(test_texts_are_kept_and_sides_sorted),
        cmocka_unit_test(test_plain_levels),
        cmocka_unit_test(test_numbers_of_every_length),
        cmocka_unit_test(test_lists_at_the_end_of_memory),
        cmocka_unit_test(test_another_scale_for_many_levels),
        cmocka_unit_test(test_hostile_levels_break_the_book),
        cmocka_unit_test(test_asks_are_named),
        cmocka_unit_test(test_updates_without_numbers),
        cmocka_unit_test(test_levels_are_capped),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_words_and_rules),
        cmocka_unit_test(test_generated_streams),
        cmocka_unit_test(test_real_captures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
