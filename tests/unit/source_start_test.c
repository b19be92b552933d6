#include "replay/source_start.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "replay/source.h"
#include "replay/source_depth.h"
#include "tests/unit/make_archives.h"

#define SECOND       1000000000ll
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define STREAM(name) "{\"stream\":\"" name "\",\"data\":"
#define PARTIAL(u, b)                                                                              \
    STREAM("y@depth5") "{\"lastUpdateId\":" #u ",\"bids\":[[\"" #b "\",\"1\"]],\"asks\":[]}}"

static char directory[256], archive_path[300], other_path[300];
static const char *paths[2] = {archive_path, other_path};

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(archive_path, sizeof archive_path, "%s/one", directory);
    snprintf(other_path, sizeof other_path, "%s/two", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(directory);
    return 0;
}

static const struct made_message books[] = {
    {10 * SECOND, PARTIAL(1, 100), 0, 0},
    {20 * SECOND, STREAM("x@trade") "{\"e\":\"trade\",\"s\":\"X\",\"t\":1}}", 0, 0},
    {30 * SECOND, PARTIAL(2, 200), 0, 0},
    {40 * SECOND, STREAM("x@trade") "{\"e\":\"trade\",\"s\":\"X\",\"t\":2}}", 0, 0},
    {50 * SECOND, PARTIAL(3, 300), 0, 0},
};

static struct tape_source *open_one(const struct tape_source_options *options)
{
    struct tape_error error;
    struct tape_source *source = tape_source_open(archive_path, options, &error);
    if (!source)
        fail_msg("%s", error.text);
    return source;
}

static struct tape_message next_of(struct tape_source *source)
{
    struct tape_message message;
    struct tape_error error = {0};
    int got = tape_source_next(source, &message, &error);
    if (got != 1)
        fail_msg("%d: %s", got, error.text);
    return message;
}

static void expect_book(struct tape_source *source, int64_t at_ns, int bid)
{
    struct tape_message message = next_of(source);
    char text[300], wanted[30];
    assert_int_equal(message.kind, TAPE_FEED_STATE);
    assert_true(message.replay_ns == at_ns && tape_source_now(source) == at_ns);
    assert_int_equal(message.frame.bytes, 0);
    assert_int_equal(message.stream.bytes, 8);
    assert_memory_equal(message.stream.data, "y@depth5", 8);
    snprintf(text, sizeof text, "%.*s", (int)message.payload.bytes, message.payload.data);
    snprintf(wanted, sizeof wanted, "[[\"%d\",\"1\"]]", bid);
    assert_non_null(strstr(text, "{\"state\":true,"));
    if (!strstr(text, wanted))
        fail_msg("%s in %s", wanted, text);
}

static void expect_live(struct tape_source *source, int64_t recv_ns)
{
    struct tape_message message = next_of(source);
    assert_int_equal(message.kind, TAPE_FEED_DATA);
    assert_true(message.recv_ns == recv_ns);
    assert_true(message.replay_ns == recv_ns);
}

static void books_come_first(void **state)
{
    struct tape_source_options options = {.from_ns = 35 * SECOND};
    (void)state;
    make_archive_of(archive_path, books, COUNT(books));
    struct tape_source *source = open_one(&options);
    expect_book(source, 35 * SECOND, 200);
    expect_live(source, 40 * SECOND);
    expect_live(source, 50 * SECOND);
    assert_int_equal(tape_source_next(source, &(struct tape_message){0}, NULL), 0);
    tape_source_close(source);
    for (int order = 0; order < 2; order++) {
        options = (struct tape_source_options){.order = order};
        source = open_one(&options);
        expect_live(source, 10 * SECOND); /* nothing before the beginning */
        tape_source_seek(source, 50 * SECOND, NULL);
        expect_book(source, 50 * SECOND, 200);
        expect_live(source, 50 * SECOND);
        tape_source_seek(source, 25 * SECOND, NULL);
        expect_book(source, 25 * SECOND, 100);
        expect_live(source, 30 * SECOND);
        tape_source_seek(source, 5 * SECOND, NULL);
        expect_live(source, 10 * SECOND);
        tape_source_close(source);
    }
}

static void never_when_not_wanted(void **state)
{
    struct tape_source_options options = {.from_ns = 35 * SECOND, .state = -1};
    (void)state;
    make_archive_of(archive_path, books, COUNT(books));
    struct tape_source *source = open_one(&options);
    expect_live(source, 40 * SECOND);
    tape_source_seek(source, 45 * SECOND, NULL);
    expect_live(source, 50 * SECOND);
    tape_source_close(source);
}

/* A seek before from_ns begins at from_ns, one behind to_ns has nothing to begin. */
static void within_the_range(void **state)
{
    struct tape_source_options options = {.from_ns = 25 * SECOND, .to_ns = 45 * SECOND};
    struct tape_message message;
    (void)state;
    make_archive_of(archive_path, books, COUNT(books));
    struct tape_source *source = open_one(&options);
    tape_source_seek(source, 12 * SECOND, NULL);
    expect_book(source, 25 * SECOND, 100);
    expect_live(source, 30 * SECOND);
    tape_source_seek(source, 45 * SECOND, NULL);
    assert_int_equal(tape_source_next(source, &message, NULL), 0);
    tape_source_seek(source, 35 * SECOND, NULL);
    tape_source_stop(source);
    assert_int_equal(tape_source_next(source, &message, NULL), 0);
    tape_source_close(source);
}

static void only_streams_that_are_wanted(void **state)
{
    struct tape_source_options options = {.from_ns = 35 * SECOND, .stream = "*@trade"};
    (void)state;
    make_archive_of(archive_path, books, COUNT(books));
    struct tape_source *source = open_one(&options);
    expect_live(source, 40 * SECOND);
    tape_source_close(source);
}

static void of_several_archives(void **state)
{
    struct tape_source_options options = {.from_ns = 35 * SECOND};
    struct tape_error error = {0};
    (void)state;
    make_archive_of(archive_path, books, COUNT(books));
    make_archive_of(other_path, books, COUNT(books));
    struct tape_source *source = tape_source_open_all(paths, 2, &options, &error);
    assert_non_null(source);
    expect_book(source, 35 * SECOND, 200);
    expect_live(source, 40 * SECOND);
    expect_live(source, 50 * SECOND);
    tape_source_close(source);
}

/* What footers say of depth streams. */
static void depth_by_footers(void **state)
{
    static const struct {
        const char *counted, *stream;
        int64_t from_ns, to_ns;
        int may_be;
    } table[] = {
        {"x@depth@100ms", NULL, 0, 99, 1},
        {"x@rpiDepth@500ms", NULL, 0, 99, 1},
        {"x@depth5", NULL, 10, 11, 1},
        {"x@depth5", NULL, 0, 10, 0},
        {"x@depth5", NULL, 13, 99, 0},
        {"x@depth5", "x*", 0, 99, 1},
        {"x@depth5", "*@trade", 0, 99, 0},
        {"x@trade", NULL, 0, 99, 0},
        {"", NULL, 0, 99, 1},
        {"", "x*", 0, 10, 0},
        {"depth", NULL, 0, 99, 0},
        {NULL, NULL, 0, 99, 1},
        {NULL, NULL, 0, 10, 0},
    };
    static const struct made_message a[] = {{10, "a", 0, 0}, {11, "b", 0, 0}, {12, "c", 0, 0}};
    char cut[256];
    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        make_archive_counted(archive_path, a, COUNT(a), 3, table[i].counted);
        int may_be = tape_source_depth_may_be(archive_path, table[i].stream, table[i].from_ns,
                                              table[i].to_ns);
        if (may_be != table[i].may_be)
            fail_msg("row %zu: %d", i, may_be);
        remove_tree(archive_path);
    }
    memset(cut, 'n', 255);
    cut[255] = '\0';
    make_archive_counted(archive_path, a, COUNT(a), 3, cut);
    assert_int_equal(tape_source_depth_may_be(archive_path, "*@trade", 0, 99), 1);
    assert_int_equal(tape_source_depth_may_be("/nowhere", NULL, 0, 99), 1);
    tape_archive_close(tape_archive_create(other_path, NULL));
    assert_int_equal(tape_source_depth_may_be(other_path, NULL, 0, 99), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(books_come_first),    TEST(never_when_not_wanted),
        TEST(within_the_range),    TEST(only_streams_that_are_wanted),
        TEST(of_several_archives), TEST(depth_by_footers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
