#include "replay/source_merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replay/source.h"
#include "tests/unit/make_archives.h"

#define SECOND       1000000000ll
#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { ARCHIVES_MAX = 5 };

static char directory[256], paths_room[ARCHIVES_MAX][300];
static const char *paths[TAPE_SOURCE_ARCHIVES_MAX + 1];

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    for (int i = 0; i < ARCHIVES_MAX; i++) {
        snprintf(paths_room[i], sizeof paths_room[i], "%s/%c", directory, 'a' + i);
        paths[i] = paths_room[i];
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(directory);
    return 0;
}

static struct tape_source *open_them(int count, const struct tape_source_options *options)
{
    struct tape_error error = {0};
    struct tape_source *source = tape_source_open_all(paths, count, options, &error);
    if (!source)
        fail_msg("%s", error.text);
    return source;
}

/* "text/archive text/archive …", as given; its clock must never run back. */
static const char *all_of(struct tape_source *source)
{
    static char words[1 << 20];
    struct tape_message message;
    struct tape_error error = {0};
    size_t used = 0;
    int got;
    int64_t now_ns = INT64_MIN;
    words[0] = '\0';
    while ((got = tape_source_next(source, &message, &error)) == 1) {
        used += (size_t)snprintf(words + used, sizeof words - used, "%s%.*s/%d", used ? " " : "",
                                 (int)message.payload.bytes, message.payload.data, message.archive);
        assert_true(message.replay_ns >= now_ns);
        assert_true(message.kind == TAPE_FEED_EVENT || message.replay_ns >= message.recv_ns);
        if (message.kind != TAPE_FEED_EVENT)
            now_ns = message.replay_ns;
        assert_true(tape_source_now(source) == now_ns);
    }
    if (got < 0)
        fail_msg("%s", error.text);
    return words;
}

static void expect_all(int count, const struct tape_source_options *options, const char *words)
{
    struct tape_source *source = open_them(count, options);
    assert_string_equal(all_of(source), words);
    tape_source_close(source);
}

static const struct tape_source_options keep_all = {.duplicates = 1};

static void by_receive_time_then_archive(void **state)
{
    static const struct made_message a[] = {{10, "a", 0, 0}, {20, "b", 0, 0}, {20, "c", 0, 0}};
    static const struct made_message b[] = {{5, "d", 0, 0}, {20, "e", 0, 0}, {30, "f", 0, 0}};
    static const struct made_message c[] = {{20, "g", 0, 0}};
    (void)state;
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], b, COUNT(b));
    make_archive_of(paths[2], c, COUNT(c));
    expect_all(3, &keep_all, "d/1 a/0 b/0 c/0 e/1 g/2 f/1");
}

static void never_out_of_an_archives_own_order(void **state)
{
    static const struct made_message a[] = {
        {10, "a", 0, 0}, {40, "b", 0, 0}, {20, "c", 0, 0}, {50, "d", 0, 0}};
    static const struct made_message b[] = {{15, "e", 0, 0}, {30, "f", 0, 0}, {45, "g", 0, 0}};
    struct tape_message message;
    (void)state;
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], b, COUNT(b));
    expect_all(2, &keep_all, "a/0 e/1 f/1 b/0 c/0 g/1 d/0");
    struct tape_source *source = open_them(2, &keep_all);
    for (int i = 0; i < 5; i++)
        assert_int_equal(tape_source_next(source, &message, NULL), 1);
    assert_true(message.recv_ns == 20 && message.replay_ns == 40); /* "c" */
    tape_source_close(source);
}

static void an_empty_archive(void **state)
{
    static const struct made_message a[] = {{10, "a", 0, 0}};
    (void)state;
    tape_archive_close(tape_archive_create(paths[0], NULL));
    make_archive_of(paths[1], a, COUNT(a));
    tape_archive_close(tape_archive_create(paths[2], NULL));
    expect_all(3, NULL, "a/1");
}

static void an_events_stamp_holds_up_nothing(void **state)
{
    static const struct tape_source_options with_events = {.duplicates = 1, .events = 1};
    static const struct made_message a[] = {{900, "start", 0, 1},
                                            {910, "open", 0, 1},
                                            {10, "a", 0, 0},
                                            {30, "b", 0, 0},
                                            {920, "end", 0, 1}};
    static const struct made_message b[] = {
        {800, "start", 0, 1}, {20, "c", 0, 0}, {25, "note", 0, 1}, {40, "d", 0, 0}};
    (void)state;
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], b, COUNT(b));
    expect_all(2, &with_events, "start/0 open/0 a/0 start/1 c/1 note/1 b/0 d/1 end/0");
}

/* More events in a row than are read ahead at a time. */
static void many_events(void **state)
{
    static const struct tape_source_options with_events = {.duplicates = 1, .events = 1};
    struct made_message a[202] = {{10, "a", 0, 0}};
    static const struct made_message b[] = {{15, "b", 0, 0}, {400, "c", 0, 0}};
    struct tape_message message;
    (void)state;
    for (int i = 1; i <= 200; i++)
        a[i] = (struct made_message){20 + i, "e", 0, 1};
    a[201] = (struct made_message){300, "d", 0, 0};
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], b, COUNT(b));
    struct tape_source *source = open_them(2, &with_events);
    const char *order = "ab";
    for (int i = 0; i < 204; i++) {
        assert_int_equal(tape_source_next(source, &message, NULL), 1);
        char wanted = i < 2 ? order[i] : i < 202 ? 'e' : i == 202 ? 'd' : 'c';
        assert_int_equal(message.payload.data[0], wanted);
    }
    assert_int_equal(tape_source_next(source, &message, NULL), 0);
    tape_source_close(source);
}

static void a_hole_is_told_with_its_archive(void **state)
{
    struct made_message a[12], b[12];
    char texts[12][40];
    struct tape_source_damage damage;
    struct tape_source_share share;
    (void)state;
    for (int i = 0; i < 12; i++) {
        snprintf(texts[i], sizeof texts[i], "{\"s\":\"X\",\"e\":\"trade\",\"t\":%d}", i);
        a[i] = (struct made_message){100 * i, texts[i], 0, 0};
        b[i] = (struct made_message){100 * i + 7, texts[i], 0, 0};
    }
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], b, COUNT(b));
    damage_archive(paths[1]);
    struct tape_source *source = open_them(2, NULL);
    char wanted[1000] = "";
    for (int i = 0; i < 12; i++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s%s/0", i ? " " : "",
                 texts[i]);
    assert_string_equal(all_of(source), wanted);
    assert_int_equal(tape_source_damages(source), 1);
    assert_int_equal(tape_source_damage(source, 0, &damage), 1);
    assert_int_equal(damage.archive, 1);
    assert_int_equal(damage.verdict, TAPE_CORRUPT);
    assert_int_equal(damage.to_ordinal, 4);
    assert_int_equal(tape_source_damage(source, 1, &damage), 0);
    assert_int_equal(tape_source_damage(source, -1, &damage), 0);
    assert_int_equal(tape_source_share(source, 1, &share), 1);
    assert_string_equal(share.stream, "x@trade");
    assert_int_equal(share.archive, 1);
    assert_int_equal(share.late, 8);
    assert_int_equal(share.missed, 0); /* before its own first */
    tape_source_close(source);
    paths[2] = paths[0]; /* its hole filled from the other whichever comes first */
    paths[0] = paths[1];
    paths[1] = paths[2];
    source = open_them(2, NULL);
    size_t bytes = strlen(all_of(source));
    assert_int_equal(bytes, strlen(wanted));
    assert_int_equal(tape_source_damage(source, 0, &damage), 1);
    assert_int_equal(damage.archive, 0);
    tape_source_close(source);
}

static void seeks_over_all(void **state)
{
    static const struct made_message a[] = {{10, "a", 0, 0}, {30, "b", 0, 0}, {50, "c", 0, 0}};
    static const struct made_message b[] = {
        {20, "d", 0, 0}, {30, "b", 0, 0}, {40, "e", 0, 0}, {60, "f", 0, 0}};
    struct tape_source_share share;
    (void)state;
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], b, COUNT(b));
    struct tape_source *source = open_them(2, NULL);
    assert_string_equal(all_of(source), "a/0 d/1 b/0 e/1 c/0 f/1");
    for (int64_t ns = 0; ns < 70; ns += 5) {
        assert_int_equal(tape_source_seek(source, ns, NULL), 0);
        assert_true(tape_source_now(source) == INT64_MIN);
        char wanted[100] = "";
        static const char *words[] = {"a/0 ", "d/1 ", "b/0 ", "e/1 ", "c/0 ", "f/1 "};
        static const int stamps[] = {10, 20, 30, 40, 50, 60};
        for (int i = 0; i < 6; i++)
            if (stamps[i] >= ns)
                snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s", words[i]);
        if (wanted[0])
            wanted[strlen(wanted) - 1] = '\0';
        assert_string_equal(all_of(source), wanted);
    }
    tape_source_seek(source, 25, NULL);
    all_of(source);
    assert_int_equal(tape_source_share(source, 0, &share), 1);
    assert_int_equal(share.given, 2); /* since the seek: b and c */
    assert_int_equal(tape_source_share(source, 1, &share), 1);
    assert_int_equal(share.given, 2);
    assert_int_equal(share.late, 1);
    tape_source_close(source);
    struct tape_source_options range = {.from_ns = 20, .to_ns = 50};
    expect_all(2, &range, "d/1 b/0 e/1");
}

static void stops_at_once(void **state)
{
    static const struct made_message a[] = {{10, "a", 0, 0}, {30, "b", 0, 0}};
    struct tape_message message;
    (void)state;
    make_archive_of(paths[0], a, COUNT(a));
    make_archive_of(paths[1], a, COUNT(a));
    for (int order = 0; order < 2; order++) {
        struct tape_source_options options = {.order = order};
        struct tape_source *source = open_them(2, &options);
        assert_int_equal(tape_source_next(source, &message, NULL), 1);
        tape_source_stop(source);
        assert_int_equal(tape_source_next(source, &message, NULL), 0);
        assert_int_equal(tape_source_try(source, &message, NULL), 0);
        tape_source_close(source);
    }
}

static void sums_its_state(void **state)
{
    static const struct made_message a[] = {{10, "a", 0, 0}, {30, "b", 0, 0}};
    struct tape_source_state now;
    (void)state;
    for (int i = 0; i < 3; i++)
        make_archive_of(paths[i], a, COUNT(a));
    struct tape_source *source = open_them(3, NULL);
    all_of(source);
    tape_source_read_state(source, &now);
    assert_int_equal(now.blocks_read, 3);
    assert_int_equal(now.next_ordinal, 0);
    assert_false(now.live || now.recorder_alive);
    tape_source_close(source);
}

static void refusals(void **state)
{
    static const struct made_message a[] = {{10, "a", 0, 0}};
    static const struct {
        int count;
        struct tape_source_options options;
        const char *words;
    } table[] = {
        {0, {0}, "no archive to read from"},
        {-1, {0}, "no archive to read from"},
        {65, {0}, "65 archives: 64 can be read as one"},
        {2, {.follow = 1}, "2 archives: only one at a time can be followed live"},
        {1,
         {.follow = 1, .order = TAPE_SOURCE_ORDER_EVENT},
         "order by event time looks ahead: it cannot follow a live archive"},
    };
    struct tape_error error;
    (void)state;
    make_archive_of(paths[0], a, COUNT(a));
    for (int i = 1; i <= TAPE_SOURCE_ARCHIVES_MAX; i++)
        paths[i] = paths[0];
    for (size_t i = 0; i < COUNT(table); i++) {
        assert_null(tape_source_open_all(paths, table[i].count, &table[i].options, &error));
        assert_string_equal(error.text, table[i].words);
        assert_int_equal(error.status, TAPE_USAGE);
    }
    expect_all(64, NULL, "a/0");
    paths[1] = "/nowhere";
    assert_null(tape_source_open_all(paths, 2, NULL, &error));
    assert_null(tape_source_open_all(paths, 2, NULL, NULL));
    assert_non_null(strstr(error.text, "/nowhere"));
}

/* ---- one list, scattered ---- */

enum { SCATTERED = 300 };

/* Random subsets of one list over k archives, each late by a delay of its own, with and without
 * ids, wrapped or not: the union comes back once, each message at its earliest arrival. */
static void scattered_lists_come_back_once(void **state)
{
    static char texts[SCATTERED][100];
    static int64_t first_ns[SCATTERED];
    static struct made_message lists[ARCHIVES_MAX][SCATTERED];
    (void)state;
    for (uint64_t round = 0; round < 60; round++) {
        struct dice dice = {round * 7919 + 1};
        size_t counts[ARCHIVES_MAX] = {0};
        int archives = 2 + (int)roll_below(&dice, ARCHIVES_MAX - 1);
        for (int i = 0; i < SCATTERED; i++) {
            static const char *const forms[] = {
                "{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"s\":\"X\",\"t\":%d}}",
                "{\"e\":\"aggTrade\",\"s\":\"X\",\"a\":%d}", "{\"n\":%d}", "%d"};
            snprintf(texts[i], sizeof texts[i], forms[roll_below(&dice, COUNT(forms))], i);
            first_ns[i] = INT64_MAX;
            int64_t sent_ns = 10000 * (i + 1);
            int sure = (int)roll_below(&dice, (uint64_t)archives);
            for (int k = 0; k < archives; k++) {
                if (k != sure && roll_below(&dice, 3) == 0)
                    continue;
                int64_t recv_ns = sent_ns + (int64_t)roll_below(&dice, 9000);
                lists[k][counts[k]++] = (struct made_message){recv_ns, texts[i], 0, 0};
                if (recv_ns < first_ns[i])
                    first_ns[i] = recv_ns;
            }
        }
        for (int k = 0; k < archives; k++)
            make_archive_counted(paths[k], lists[k], counts[k], 1 + roll_below(&dice, 50), NULL);
        struct tape_source *source = open_them(archives, NULL);
        struct tape_message message;
        for (int i = 0; i < SCATTERED; i++) {
            assert_int_equal(tape_source_next(source, &message, NULL), 1);
            assert_int_equal(message.payload.bytes, strlen(texts[i]));
            assert_memory_equal(message.payload.data, texts[i], message.payload.bytes);
            assert_true(message.recv_ns == first_ns[i]);
        }
        assert_int_equal(tape_source_next(source, &message, NULL), 0);
        tape_source_close(source);
        for (int k = 0; k < archives; k++)
            remove_tree(paths[k]);
    }
}

static int number_of(const struct tape_message *message)
{
    struct tape_tick tick;
    tape_source_tick(message, &tick);
    return (int)tick.id;
}

/* One archive's clock is set back, and forward again: what it and others had comes once, in the
 * order of each. */
static void clocks_that_are_set(void **state)
{
    static char texts[SCATTERED][60];
    static struct made_message lists[2][SCATTERED];
    (void)state;
    for (int64_t step_ns = -30 * SECOND; step_ns <= 30 * SECOND; step_ns += 10 * SECOND) {
        for (int i = 0; i < SCATTERED; i++) {
            int64_t sent_ns = 1000 * SECOND + i * SECOND / 10;
            snprintf(texts[i], sizeof texts[i], "{\"e\":\"trade\",\"s\":\"X\",\"t\":%d}", i);
            lists[0][i] = (struct made_message){sent_ns, texts[i], 0, 0};
            lists[1][i] = (struct made_message){sent_ns + 500 + (i >= 100 && i < 200 ? step_ns : 0),
                                                texts[i], 0, 0};
        }
        make_archive_of(paths[0], lists[0], SCATTERED);
        make_archive_of(paths[1], lists[1], SCATTERED);
        struct tape_source *source = open_them(2, NULL);
        struct tape_message message;
        int seen[SCATTERED] = {0}, last[2] = {-1, -1};
        while (tape_source_next(source, &message, NULL) == 1) {
            int number = number_of(&message);
            assert_int_equal(seen[number]++, 0);
            assert_true(number > last[message.archive]);
            last[message.archive] = number;
        }
        for (int i = 0; i < SCATTERED; i++)
            assert_int_equal(seen[i], 1);
        tape_source_close(source);
        remove_tree(paths[0]);
        remove_tree(paths[1]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(by_receive_time_then_archive),
        TEST(never_out_of_an_archives_own_order),
        TEST(an_empty_archive),
        TEST(an_events_stamp_holds_up_nothing),
        TEST(many_events),
        TEST(a_hole_is_told_with_its_archive),
        TEST(seeks_over_all),
        TEST(stops_at_once),
        TEST(sums_its_state),
        TEST(refusals),
        TEST(scattered_lists_come_back_once),
        TEST(clocks_that_are_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
