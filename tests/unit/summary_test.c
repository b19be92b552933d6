#include "format/summary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "format/summary_state.h"
#include "tests/unit/ask_index.h"
#include "tests/unit/make_story.h"

static char path[256];
static struct tape_archive *archive;
static struct tape_index *reached; /* the index that told() filled last */
static struct tape_error error;

static int open_archive(void **state)
{
    char name[300];
    (void)state;
    close(made_directory(path));
    snprintf(name, sizeof name, "%s/a", path);
    archive = tape_archive_create(name, &error);
    reached = NULL;
    return archive == NULL;
}

static int close_archive(void **state)
{
    (void)state;
    tape_index_close(reached);
    tape_archive_close(archive);
    remove_tree(path);
    return 0;
}

/* ---- from a story to answers ---- */

static struct tape_summary *summarise(struct tape_summariser *summariser,
                                      const struct tape_record *records, size_t count)
{
    struct tape_block_header header = {.segment = 1, .number = 2, .codec = 1, .stored_bytes = 3};
    for (size_t i = 0; i < count; i++)
        if (tape_summariser_add(summariser, &records[i], NULL, &error) < 0)
            fail_msg("record %d: %s", (int)i, error.text);
    header.records = (uint32_t)count;
    struct tape_summary *summary = tape_summariser_take(summariser, &header, 64);
    assert_non_null(summary);
    return summary;
}

/* The summariser that knows what the tables hold, and no more: then it reads again what the index
 * says it must read again. */
static struct tape_summariser *reload(struct tape_index *index, const struct story *story)
{
    struct tape_summariser *summariser = tape_summariser_new(&error);
    if (tape_index_load_state(index, summariser, &error) < 0)
        fail_msg("%s", error.text);
    for (uint64_t i = summariser->open_since; i < summariser->next_ordinal; i++)
        assert_int_equal(tape_summariser_warm(summariser, &story->records[i], &error), 0);
    return summariser;
}

/* Folds the story into an index in memory, in blocks of ${step} records (0: one block), with a new
 * summariser after each block when reloads. */
static struct tape_index *fold(const struct story *story, size_t step, int reloads)
{
    struct tape_index *index = tape_index_open_memory(archive, &error);
    assert_non_null(index);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    for (size_t at = 0, count; at < story->used; at += count) {
        count = step && step < story->used - at ? step : story->used - at;
        struct tape_summary *summary = summarise(summariser, story->records + at, count);
        assert_int_equal(tape_index_begin(index, &error), 0);
        if (tape_index_apply(index, summary, &error) < 0)
            fail_msg("%s", error.text);
        assert_int_equal(tape_index_commit(index, &error), 0);
        tape_summary_free(summary);
        if (reloads) {
            tape_summariser_free(summariser);
            summariser = reload(index, story);
        }
    }
    tape_summariser_free(summariser);
    return index;
}

static void hear(void *context, const char *words)
{
    (void)context;
    print_message("%s\n", words);
}

/* Folds the story in both ways, which must give the same; frees it. */
static void tell(struct story *story, size_t step)
{
    tape_index_close(reached);
    reached = fold(story, step, 1);
    struct tape_index *straight = fold(story, step, 0);
    assert_int_equal(tape_index_compare(reached, straight, hear, NULL, &error), 0);
    tape_index_close(straight);
    story_free(story);
}

static const char *ask(const char *sql)
{
    return ask_index(reached, sql);
}

/* Times in the answers are seconds after the story's start. */
#define SINCE(column) "(" column " - 1795600000000000000) * 1e-9"
#define GAPS                                                                                       \
    "SELECT kind, stream, connection_id, " SINCE("from_ns") ", " SINCE(                            \
        "to_ns") ", from_id, to_id, "                                                              \
                 "missing, loss, cause FROM v_gap ORDER BY gap_id"

static struct story begin(void)
{
    struct story story = {.now_ns = made_ns};
    story_start(&story, 1);
    story_open(&story, 1, "binance-usdm");
    return story;
}

static void wait(struct story *story, int seconds)
{
    story->now_ns += seconds * SECOND_NS;
}

/* ---- counting ---- */

static void test_counts(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "b", 1);
    story_trade(&story, 1, "a", 1);
    wait(&story, 1);
    story_trade(&story, 1, "b", 2);
    story_text(&story, 1, "{\"no\":\"name\"}");
    story_text(&story, 1, "not JSON");
    story_frame(&story, 1, 0x82, "\x01\x02", 2);
    story_text(&story, 1, "{\"result\":null,\"id\":1}");
    story_text(&story, 1, "{\"error\":{\"code\":2,\"msg\":\"x\"},\"id\":1}");
    story_frame(&story, 1, 0x89, "ping", 4);
    story_frame(&story, 1, 0x83, "?", 1);
    tell(&story, 0);
    assert_string_equal(ask("SELECT stream_id, name, symbol, channel, messages, bytes FROM stream"),
                        "1|b@trade|b|trade|2|238\n2|a@trade|a|trade|1|119\n3||||3|23");
    assert_string_equal(
        ask("SELECT first_ordinal, stream_id, messages, " SINCE("first_ns") ", " SINCE(
            "last_ns") ", first_sequence, last_sequence, day "
                       "FROM block_stream"),
        "2|1|2|0.0|1.0|1|2|20261125\n3|2|1|0.0|0.0|1|1|20261125\n"
        "5|3|3|1.0|1.0|-|-|20261125");
    assert_string_equal(ask("SELECT block_id, segment_id, number, offset, records, messages, "
                            "payload_bytes FROM block"),
                        "0|1|2|64|12|6|380");
    assert_string_equal(ask("SELECT records, messages, bytes, " SINCE(
                            "first_message_ns") ", " SINCE("last_ns") " FROM connection"),
                        "11|6|380|0.0|1.0");
}

static void test_counts_of_the_open_summary(void **state)
{
    (void)state;
    struct story story = begin();
    size_t length;
    struct tape_summariser *summariser = tape_summariser_new(&error);
    story_trade(&story, 1, "b", 1);
    story_trade(&story, 1, "a", 1);
    wait(&story, 86400);
    story_trade(&story, 1, "b", 2);
    story_open(&story, 2, "binance-spot");
    story_trade(&story, 2, "b", 1);
    tape_summariser_counts(summariser, &length);
    assert_int_equal(length, 0);
    for (size_t i = 0; i < story.used; i++)
        assert_int_equal(tape_summariser_add(summariser, &story.records[i], NULL, &error), 0);
    const struct tape_segment_stream_count *counts = tape_summariser_counts(summariser, &length);
    /* two days and two venues of one name are one count; by name */
    assert_int_equal(length, 2);
    assert_string_equal(counts[0].name, "a@trade");
    assert_string_equal(counts[1].name, "b@trade");
    assert_int_equal(counts[0].name_bytes, 7);
    assert_int_equal(counts[0].messages, 1);
    assert_int_equal(counts[1].messages, 3);
    assert_int_equal(counts[1].bytes, 3 * counts[0].bytes);
    tape_summary_free(summarise(summariser, NULL, 0));
    tape_summariser_counts(summariser, &length);
    assert_int_equal(length, 0);
    tape_summariser_free(summariser);
    story_free(&story);
}

static void test_messages_are_lent(void **state)
{
    (void)state;
    struct story story = begin();
    struct tape_message message;
    struct tape_summariser *summariser = tape_summariser_new(&error);
    story_trade(&story, 1, "a", 1);
    story_frame(&story, 1, 0x01, "{}", 2);
    assert_int_equal(tape_summariser_add(summariser, &story.records[0], &message, &error), 1);
    assert_int_equal(message.kind, TAPE_FEED_EVENT);
    assert_int_equal(tape_summariser_add(summariser, &story.records[1], NULL, &error), 0);
    assert_int_equal(tape_summariser_add(summariser, &story.records[2], &message, &error), 1);
    assert_int_equal(message.kind, TAPE_FEED_DATA);
    assert_int_equal(message.stream.bytes, 7);
    assert_int_equal(tape_summariser_add(summariser, &story.records[3], &message, &error), 0);
    assert_int_equal(tape_summariser_add(summariser, &story.records[1], &message, &error),
                     TAPE_USAGE);
    assert_string_equal(error.text, "summary: record 1 comes where 4 is expected");
    tape_summariser_free(summariser);
    story_free(&story);
}

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void test_latency_quantiles(void **state)
{
    (void)state;
    struct dice dice = {99};
    for (int n = 1; n < 400; n = n * 3 / 2 + 1) {
        struct story story = begin();
        int64_t values[400], sum = 0;
        for (int i = 0; i < n; i++) {
            /* many equal ones, and a clock behind the venue's */
            values[i] = ((int64_t)roll_below(&dice, 50) - 10) * 1000000;
            sum += values[i];
            story_text(&story, 1, "{\"stream\":\"a@trade\",\"data\":{\"e\":\"trade\",\"E\":%lld}}",
                       (long long)((story.now_ns - values[i]) / 1000000));
            story_book(&story, 1, "other", i);
        }
        qsort(values, (size_t)n, sizeof values[0], by_value);
        tell(&story, 0);
        char want[200];
        snprintf(want, sizeof want, "%d|%lld|%lld|%lld|%lld|%lld", n, (long long)values[0],
                 (long long)sum, (long long)values[(n - 1) / 2],
                 (long long)values[(99 * n + 99) / 100 - 1], (long long)values[n - 1]);
        assert_string_equal(ask("SELECT lat_n, lat_min_ns, lat_sum_ns, lat_p50_ns, lat_p99_ns, "
                                "lat_max_ns FROM block_stream WHERE stream_id = 1"),
                            want);
        assert_string_equal(ask("SELECT max(min_ns), max(max_ns), sum(messages) FROM v_latency "
                                "WHERE stream = 'other@bookTicker'"),
                            n == 1 ? "5000000|5000000|1"
                                   : ask("SELECT 5000000, 5000000, max(lat_n) "
                                         "FROM block_stream"));
    }
}

static void test_times_that_cannot_be(void **state)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX};
    (void)state;
    struct story story = begin();
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        story.now_ns = times[i];
        story_text(&story, 1,
                   "{\"stream\":\"a@trade\",\"data\":{\"e\":\"trade\",\"E\":1,\"t\":1}}");
    }
    tell(&story, 0);
    assert_string_equal(ask("SELECT day, messages FROM block_stream ORDER BY day"),
                        "16770921|2\n19691231|1\n19700101|1\n22620411|1");
}

/* A block that spans midnight has a row for each day. */
static void test_days(void **state)
{
    (void)state;
    struct story story = begin();
    struct {
        int64_t ns;
        const char *day;
    } known[] = {{951782399, "20000228"},  {951782400, "20000229"},        {951868800, "20000301"},
                 {1709251199, "20240229"}, {4107542400, "21000301"},       {4107542399, "21000228"},
                 {-1, "19691231"},         {-62135596800 / 10, "17730205"}};
    story.now_ns = 1795651199 * SECOND_NS; /* 2026-11-25T23:59:59Z */
    story_trade(&story, 1, "a", 1);
    wait(&story, 1);
    story_trade(&story, 1, "a", 2);
    story.now_ns -= 1;
    story_trade(&story, 1, "a", 3);
    tell(&story, 0);
    assert_string_equal(ask("SELECT day, messages, first_ordinal FROM block_stream"),
                        "20261125|2|2\n20261126|1|3");
    assert_string_equal(ask("SELECT day, stream, messages FROM v_coverage ORDER BY day"),
                        "20261125|a@trade|2\n20261126|a@trade|1");
    struct tape_summariser *summariser = tape_summariser_new(&error);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(tape_summary_day(summariser, known[i].ns * SECOND_NS),
                         strtol(known[i].day, NULL, 10));
    tape_summariser_free(summariser);
}

/* ---- sequence rules ---- */

static void test_sequence_rules(void **state)
{
    enum { NONE, RISING, NEXT, PREVIOUS, FIRST };
    const int64_t no = TAPE_SUMMARY_NONE;
    const struct {
        int rule;
        int64_t before, first, last, previous;
        int follows;
        int64_t missing;
    } cases[] = {
        {NEXT, no, 5, 5, no, TAPE_SUMMARY_FOLLOWS, no},
        {NEXT, 5, 6, 6, no, TAPE_SUMMARY_FOLLOWS, 0},
        {NEXT, 5, 7, 7, no, TAPE_SUMMARY_BREAK, 1},
        {NEXT, 5, 105, 105, no, TAPE_SUMMARY_BREAK, 99},
        {NEXT, 5, 5, 5, no, TAPE_SUMMARY_DUPLICATE, no},
        {NEXT, 5, 1, 1, no, TAPE_SUMMARY_DUPLICATE, no},
        {NEXT, 5, no, no, no, TAPE_SUMMARY_UNNUMBERED, no},
        {NEXT, -INT64_MAX, INT64_MAX, INT64_MAX, no, TAPE_SUMMARY_BREAK, no},
        {NEXT, INT64_MAX, INT64_MAX, INT64_MAX, no, TAPE_SUMMARY_DUPLICATE, no},
        {RISING, 5, 900, 900, no, TAPE_SUMMARY_FOLLOWS, no},
        {RISING, 5, 5, 5, no, TAPE_SUMMARY_DUPLICATE, no},
        {NONE, 5, 900, 900, no, TAPE_SUMMARY_FOLLOWS, no},
        {NONE, 5, 1, 1, no, TAPE_SUMMARY_FOLLOWS, no},
        {PREVIOUS, 5, 700, 710, 5, TAPE_SUMMARY_FOLLOWS, 0},
        {PREVIOUS, 5, 6, 10, 4, TAPE_SUMMARY_BREAK, no},
        {PREVIOUS, 5, 6, 10, no, TAPE_SUMMARY_BREAK, no},
        {PREVIOUS, 5, 1, 5, 0, TAPE_SUMMARY_DUPLICATE, no},
        {FIRST, 5, 6, 10, no, TAPE_SUMMARY_FOLLOWS, 0},
        {FIRST, 5, 4, 10, no, TAPE_SUMMARY_FOLLOWS, 0},
        {FIRST, 5, 7, 10, no, TAPE_SUMMARY_BREAK, no},
        {FIRST, 5, 3, 5, no, TAPE_SUMMARY_DUPLICATE, no},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tape_summary_numbers numbers = {cases[i].first, cases[i].last, cases[i].previous};
        int64_t missing;
        int follows =
            tape_summary_numbers_follow(cases[i].rule, cases[i].before, &numbers, &missing);
        if (follows != cases[i].follows || missing != cases[i].missing)
            fail_msg("case %d: %d, %lld", (int)i, follows, (long long)missing);
    }
}

static void test_break_on_a_live_connection(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 10);
    wait(&story, 1);
    story_trade(&story, 1, "a", 11);
    wait(&story, 2);
    story_trade(&story, 1, "a", 15);
    story_trade(&story, 1, "a", 15);
    story_trade(&story, 1, "a", 12);
    story_trade(&story, 1, "a", 16);
    story_depth(&story, 1, "a", 90, 100, 80);
    story_depth(&story, 1, "a", 190, 200, 100);
    wait(&story, 1);
    story_depth(&story, 1, "a", 290, 300, 250);
    story_book(&story, 1, "a", 5);
    story_book(&story, 1, "a", 50);
    story_book(&story, 1, "a", 50);
    tell(&story, 1);
    assert_string_equal(ask(GAPS),
                        "sequence|a@trade|1|1.0|3.0|11|15|3|some|the numbers do not follow\n"
                        "sequence|a@depth|1|3.0|4.0|200|290|-|unknown|the numbers do not follow");
    assert_string_equal(
        ask("SELECT name, sequence_rule, loss_detectable, last_sequence, duplicates, "
            "breaks FROM stream"),
        "a@trade|next_id|1|16|2|1\na@depth|previous_last|1|300|0|1\n"
        "a@bookTicker|rising|0|50|1|0");
    assert_string_equal(ask("SELECT stream, gaps, lost_seconds, missing, loss FROM v_coverage"),
                        "a@trade|1|2.0|3|some\na@depth|1|1.0|-|some\n"
                        "a@bookTicker|0|0.0|-|undetectable");
}

/* ---- connections that end ---- */

static void test_disconnect(void **state)
{
    (void)state;
    for (size_t step = 0; step < 3; step++) {
        struct story story = begin();
        story_trade(&story, 1, "a", 10);
        story_trade(&story, 1, "a", 11);
        story_book(&story, 1, "a", 70);
        wait(&story, 5);
        story_close(&story, 1, "reset");
        wait(&story, 2);
        story_open(&story, 2, "binance-usdm");
        wait(&story, 3);
        story_trade(&story, 2, "a", 20);
        story_trade(&story, 2, "a", 21);
        wait(&story, 1);
        story_book(&story, 2, "a", 99);
        tell(&story, step);
        assert_string_equal(ask(GAPS),
                            "disconnect|a@trade|1|0.0|10.0|11|20|8|some|reset: so it is\n"
                            "disconnect|a@bookTicker|1|0.0|11.0|70|99|-|undetectable|"
                            "reset: so it is");
        assert_string_equal(ask("SELECT breaks, open_gap FROM stream"), "0|-\n0|-");
        assert_string_equal(
            ask("SELECT connection_id, state, seconds, cause, closed_by, close_code, "
                "detail FROM v_connection"),
            "1|closed|5.0|reset|network|1006|so it is\n2|open|-|-|-|-|-");
    }
}

static void test_disconnect_that_lost_nothing(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 10);
    story_depth(&story, 1, "a", 1, 5, 0);
    story_close(&story, 1, "renewal");
    wait(&story, 1);
    story_open(&story, 2, "binance-usdm");
    story_trade(&story, 2, "a", 11);
    story_depth(&story, 2, "a", 10, 15, 5);
    tell(&story, 1);
    assert_string_equal(ask("SELECT stream, missing, loss FROM v_gap"),
                        "a@trade|0|none\na@depth|0|none");
    assert_string_equal(ask("SELECT stream, missing, loss, gaps FROM v_coverage"),
                        "a@trade|0|none|1\na@depth|0|none|1");
}

/* Numbers that begin anew after a hole are taken as they come. */
static void test_numbers_that_begin_anew(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 1000);
    story_close(&story, 1, "reset");
    story_open(&story, 2, "binance-usdm");
    story_trade(&story, 2, "a", 1);
    story_trade(&story, 2, "a", 2);
    story_trade(&story, 2, "a", 4);
    tell(&story, 1);
    assert_string_equal(ask("SELECT kind, from_id, to_id, missing FROM gap"),
                        "disconnect|1000|1|-\nsequence|2|4|1");
}

/* Make before break: no gap, duplicates counted, one ahead of the other is no loss. */
static void test_side_by_side(void **state)
{
    (void)state;
    for (size_t step = 0; step < 2; step++) {
        struct story story = begin();
        story_trade(&story, 1, "a", 10);
        story_open(&story, 2, "binance-usdm");
        story_trade(&story, 2, "a", 12);
        story_trade(&story, 1, "a", 11);
        story_trade(&story, 1, "a", 12);
        story_trade(&story, 2, "a", 13);
        story_close(&story, 1, "renewal");
        story_trade(&story, 2, "a", 14);
        story_close(&story, 2, "reset");
        tell(&story, step);
        assert_string_equal(ask("SELECT kind, connection_id, to_ns FROM gap"), "disconnect|2|-");
        assert_string_equal(ask("SELECT duplicates, breaks, last_sequence, open_gap FROM stream"),
                            "2|0|14|1");
        assert_string_equal(ask("SELECT state, loss, seconds FROM v_gap"), "open|unknown|-");
    }
}

static void test_recorder_died(void **state)
{
    (void)state;
    for (size_t step = 0; step < 3; step++) {
        struct story story = begin();
        story_trade(&story, 1, "a", 10);
        wait(&story, 4);
        story_trade(&story, 1, "b", 10);
        wait(&story, 60);
        story_start(&story, 2);
        story_open(&story, 2, "binance-usdm");
        story_trade(&story, 2, "a", 12);
        wait(&story, 1);
        story_close(&story, 2, "shutdown");
        story_end(&story, 2);
        tell(&story, step);
        assert_string_equal(ask(GAPS),
                            "recorder|a@trade|1|0.0|64.0|10|12|1|some|recorder died\n"
                            "recorder|b@trade|1|4.0|-|-|-|-|unknown|recorder died\n"
                            "recorder|a@trade|2|64.0|-|-|-|-|unknown|shutdown: so it is");
        assert_string_equal(ask("SELECT session_id, " SINCE("started_ns") ", " SINCE(
                                "ended_ns") ", end_reason, version, host, pid FROM session"),
                            "1|0.0|4.0|died|0.1.0|h|101\n2|64.0|65.0|signal|0.1.0|h|102");
        assert_string_equal(ask("SELECT connection_id, session_id, " SINCE(
                                "closed_ns") ", cause, closed_by FROM connection"),
                            "1|1|4.0|recorder died|us\n2|2|65.0|shutdown|network");
    }
}

static void test_session_that_ends_with_open_connections(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 1);
    wait(&story, 2);
    story_end(&story, 1);
    tell(&story, 1);
    assert_string_equal(ask("SELECT kind, cause, to_ns FROM gap"), "recorder|recorder ended|-");
    assert_string_equal(ask("SELECT cause, " SINCE("closed_ns") " FROM connection"),
                        "recorder ended|2.0");
}

/* Session numbers come from the records, but never twice. */
static void test_session_numbers(void **state)
{
    (void)state;
    struct story story = {.now_ns = made_ns};
    story_start(&story, 7);
    story_start(&story, 7);
    story_start(&story, 3);
    story_event(&story, TAPE_RECORD_SESSION_START, 0, "no JSON at all");
    story_start(&story, 20);
    tell(&story, 1);
    assert_string_equal(ask("SELECT group_concat(session_id) FROM session"), "7,8,9,10,20");
    assert_int_equal(tape_index_last_session(reached), 20);
}

static void test_failed_attempt(void **state)
{
    (void)state;
    struct story story = begin();
    story_add(&story, TAPE_RECORD_HANDSHAKE_REQUEST, 2, 0, "GET", 3);
    story_event(&story, TAPE_RECORD_CONNECTION_CLOSE, 2,
                "{\"opened\":false,\"cause\":\"http\",\"by\":\"venue\",\"code\":429}");
    /* whatever comes for it after that is counted nowhere else */
    story_trade(&story, 2, "a", 1);
    tell(&story, 1);
    assert_string_equal(ask("SELECT connection_id, state, cause, close_code FROM v_connection"),
                        "1|open|-|-\n2|failed|http|429");
    assert_string_equal(ask("SELECT venue, name, messages FROM stream"), "|a@trade|1");
    assert_int_equal(tape_index_last_connection(reached), 2);
}

/* ---- subscriptions ---- */

static void test_subscriptions(void **state)
{
    (void)state;
    for (size_t step = 0; step < 2; step++) {
        struct story story = begin();
        story_event(&story, TAPE_RECORD_SUBSCRIPTION_ASKED, 1,
                    "{\"id\":1,\"streams\":[\"a@trade\",\"b@trade\",\"c@trade\"]}");
        story_event(&story, TAPE_RECORD_SUBSCRIPTION_ASKED, 1,
                    "{\"id\":2,\"streams\":[\"no@trade\"]}");
        story_event(&story, TAPE_RECORD_SUBSCRIPTION_ASKED, 1,
                    "{\"id\":3,\"streams\":[\"wait@trade\"]}");
        wait(&story, 1);
        story_event(&story, TAPE_RECORD_SUBSCRIPTION_ACKED, 1, "{\"id\":1,\"ok\":true}");
        story_event(&story, TAPE_RECORD_SUBSCRIPTION_ACKED, 1,
                    "{\"id\":2,\"ok\":false,\"error_code\":2,\"error\":\"unknown stream\"}");
        wait(&story, 1);
        story_trade(&story, 1, "a", 1);
        story_trade(&story, 1, "unasked", 1);
        wait(&story, 30);
        story_event(&story, TAPE_RECORD_NOTE, 0,
                    "{\"kind\":\"not_delivered\",\"stream\":\"b@trade\",\"connection\":1,"
                    "\"text\":\"acknowledged 31 s ago, nothing came\"}");
        tell(&story, step);
        assert_string_equal(ask("SELECT stream, status, " SINCE(
                                "asked_ns") ", acknowledged_seconds, first_seconds, "
                                            "error FROM v_subscription ORDER BY stream"),
                            "a@trade|live|0.0|1.0|2.0|-\n"
                            "b@trade|silent|0.0|1.0|-|acknowledged 31 s ago, nothing came\n"
                            "c@trade|acknowledged|0.0|1.0|-|-\n"
                            "no@trade|refused|0.0|1.0|-|unknown stream\n"
                            "unasked@trade|live|-|-|-|-\n"
                            "wait@trade|asked|0.0|-|-|-");
        assert_string_equal(ask(GAPS), "not_delivered|b@trade|1|0.0|-|-|-|-|unknown|"
                                       "acknowledged 31 s ago, nothing came");
    }
}

static void test_silent_stream_that_comes_after_all(void **state)
{
    (void)state;
    struct story story = begin();
    story_event(&story, TAPE_RECORD_SUBSCRIPTION_ASKED, 1, "{\"id\":1,\"streams\":[\"a@trade\"]}");
    wait(&story, 9);
    story_event(&story, TAPE_RECORD_NOTE, 1, "{\"kind\":\"not_delivered\",\"stream\":\"a@trade\"}");
    story_event(&story, TAPE_RECORD_NOTE, 1, "{\"kind\":\"not_delivered\",\"stream\":\"a@trade\"}");
    wait(&story, 1);
    story_trade(&story, 1, "a", 7);
    tell(&story, 1);
    assert_string_equal(ask("SELECT kind, " SINCE("from_ns") ", " SINCE("to_ns") ", to_id, missing "
                                                                                 "FROM gap"),
                        "not_delivered|0.0|10.0|7|-");
    assert_string_equal(ask("SELECT status, error FROM subscription"), "live|-");
}

/* As the watcher writes them: to_ns is when it looked. */
static void test_silence_lasts(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 1);
    wait(&story, 10);
    for (int i = 0; i < 2; i++)
        story_event(&story, TAPE_RECORD_NOTE, 1,
                    "{\"kind\":\"silence\",\"stream\":\"a@trade\",\"connection\":1,"
                    "\"from_ns\":\"1795600000000000000\",\"to_ns\":\"1795600010000000000\"}");
    wait(&story, 10);
    story_trade(&story, 1, "a", 2);
    /* this one was overtaken by a message */
    story_event(&story, TAPE_RECORD_NOTE, 1,
                "{\"kind\":\"silence\",\"stream\":\"a@trade\",\"connection\":1,"
                "\"from_ns\":\"1795600010000000000\",\"to_ns\":\"1795600019000000000\"}");
    tell(&story, 1);
    assert_string_equal(ask(GAPS), "stall|a@trade|1|0.0|20.0|1|2|0|none|silence\n"
                                   "stall|a@trade|1|10.0|19.0|-|-|-|unknown|silence");
    assert_string_equal(ask("SELECT gaps, lost_seconds, loss FROM v_coverage"), "0|0.0|none");
}

/* A second connection that is not served misses nothing that the first one brings. */
static void test_silent_beside_a_live_one(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 1);
    story_open(&story, 2, "binance-usdm");
    story_event(&story, TAPE_RECORD_SUBSCRIPTION_ASKED, 2, "{\"id\":1,\"streams\":[\"a@trade\"]}");
    story_event(&story, TAPE_RECORD_NOTE, 2, "{\"kind\":\"not_delivered\",\"stream\":\"a@trade\"}");
    tell(&story, 1);
    assert_string_equal(ask(GAPS), "");
    assert_string_equal(ask("SELECT connection_id, status FROM subscription"), "1|live\n2|silent");
}

/* ---- notes and samples ---- */

static void test_notes(void **state)
{
    (void)state;
    struct story story = begin();
    story_trade(&story, 1, "a", 1);
    wait(&story, 10);
    story_event(&story, TAPE_RECORD_NOTE, 0,
                "{\"kind\":\"disk\",\"from_ns\":\"1795600002000000000\","
                "\"to_ns\":\"1795600003000000000\",\"frames\":\"17\",\"text\":\"disk full\"}");
    story_event(&story, TAPE_RECORD_NOTE, 0, "{\"kind\":\"disk\",\"text\":\"space is back\"}");
    story_event(&story, TAPE_RECORD_NOTE, 0,
                "{\"kind\":\"stall\",\"from_ns\":\"1795600004000000000\","
                "\"to_ns\":\"1795600005000000000\"}");
    story_event(&story, TAPE_RECORD_NOTE, 1, "{\"kind\":\"gap\",\"cause\":\"unknown\"}");
    story_event(&story, TAPE_RECORD_NOTE, 1,
                "{\"kind\":\"silence\",\"stream\":\"a@trade\","
                "\"from_ns\":\"1795600000000000000\"}");
    story_event(&story, TAPE_RECORD_NOTE, 1, "{\"kind\":\"silence\",\"stream\":\"nobody@x\"}");
    story_event(&story, TAPE_RECORD_NOTE, 0, "{\"kind\":\"operator\",\"text\":\"hello\"}");
    story_event(&story, TAPE_RECORD_NOTE, 0, "{\"kind\":\"never heard of\"}");
    story_event(&story, TAPE_RECORD_NOTE, 0, "[]");
    wait(&story, 5);
    story_trade(&story, 1, "a", 4);
    tell(&story, 1);
    assert_string_equal(ask(GAPS), "dropped|-|-|2.0|3.0|-|-|17|some|disk full\n"
                                   "stall|-|-|4.0|5.0|-|-|0|none|stall\n"
                                   "recorder|-|1|10.0|10.0|-|-|-|unknown|unknown\n"
                                   "stall|a@trade|1|0.0|15.0|1|4|2|some|silence\n"
                                   "stall|-|1|10.0|10.0|-|-|-|unknown|silence");
    assert_string_equal(ask("SELECT level, kind, connection_id, stream_id FROM event "
                            "WHERE ordinal > 2"),
                        "error|disk|-|-\nerror|disk|-|-\nwarning|stall|-|-\nerror|gap|1|-\n"
                        "warning|silence|1|1\nwarning|silence|1|-\ninfo|operator|-|-\n"
                        "info|never heard of|-|-\ninfo|note|-|-");
}

static void test_clock_and_delay(void **state)
{
    (void)state;
    struct story story = begin();
    story_event(&story, TAPE_RECORD_CLOCK, 0,
                "{\"realtime_ns\":\"1795600001000000000\",\"monotonic_ns\":\"77\",\"state\":0,"
                "\"status\":8193,\"offset_ns\":\"-12\",\"maxerror_ns\":\"500000\","
                "\"esterror_ns\":\"3\",\"step_ns\":\"999\"}");
    story_event(&story, TAPE_RECORD_CLOCK, 0,
                "{\"realtime_ns\":\"1795600010000000000\",\"status\":64,"
                "\"step_ns\":\"-4000000000\"}");
    story_event(&story, TAPE_RECORD_DELAY, 0,
                "{\"from_ns\":\"5\",\"to_ns\":\"9\",\"counts\":[0,0,90,9,0,1]}");
    story_event(&story, TAPE_RECORD_DELAY, 0, "{\"counts\":[]}");
    story_event(&story, TAPE_RECORD_DELAY, 0, "{\"counts\":[1,2");
    tell(&story, 1);
    assert_string_equal(ask("SELECT " SINCE("ns") ", monotonic_ns, state, status, synchronised, "
                                                  "offset_ns, maxerror_ns, esterror_ns, step_ns "
                                                  "FROM clock"),
                        "1.0|77|0|8193|1|-12|500000|3|999\n10.0|-|-|64|0|-|-|-|-4000000000");
    assert_string_equal(ask(GAPS), "clock|-|-|14.0|10.0|-|-|0|none|the clock stepped back");
    assert_string_equal(ask("SELECT frames, p50_ns, p99_ns, max_ns, counts FROM delay"),
                        "100|8|16|64|[0,0,90,9,0,1]\n0|-|-|-|[]\n0|-|-|-|[]");
}

static void test_snapshot(void **state)
{
    (void)state;
    struct story story = begin();
    story_depth(&story, 1, "a", 1, 2, 0);
    static const char body[] = "{\"url\":\"https://v/depth\",\"status\":200,"
                               "\"stream\":\"a@depth\"}\n{\"lastUpdateId\":1}";
    story_add(&story, TAPE_RECORD_SNAPSHOT, 0, 0, body, sizeof body - 1);
    tell(&story, 1);
    assert_string_equal(ask("SELECT kind, stream_id, detail FROM event WHERE ordinal = 3"),
                        "snapshot|1|{\"url\":\"https://v/depth\",\"status\":200,"
                        "\"stream\":\"a@depth\"}");
}

/* ---- hostile input ---- */

static void test_hostile_names(void **state)
{
    (void)state;
    struct story story = begin();
    char name[4097], payload[5000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    story_text(&story, 1, "{\"stream\":\"%s\",\"data\":{}}", name);
    name[255] = '\0';
    story_text(&story, 1, "{\"stream\":\"%s\",\"data\":{}}", name);
    story_text(&story, 1, "{\"stream\":\"it's \\\"so\\\"; DROP TABLE stream; --\",\"data\":{}}");
    int bytes = snprintf(payload, sizeof payload, "{\"stream\":\"a?b\",\"data\":{}}");
    for (int i = 0; i < 2; i++) {
        payload[12] = (char)(i ? 0xc3 : 0x00);
        story_frame(&story, 1, 0x81, payload, (size_t)bytes);
    }
    story_text(&story, 1, "{\"stream\":\"\xc3\xa9\xc2\x9b\",\"data\":{}}");
    tell(&story, 1);
    assert_string_equal(ask("SELECT length(name), messages FROM stream WHERE name LIKE 'nn%'"),
                        "255|2");
    assert_string_equal(ask("SELECT name FROM stream WHERE name NOT LIKE 'nn%' ORDER BY stream_id"),
                        "it's \\\"so\\\"; DROP TABLE stream; --\n"
                        "\na\\xc3b\n\xc3\xa9\\xc2\\x9b");
    assert_string_equal(ask("SELECT sum(messages), count(*) FROM v_coverage"), "6|5");
}

/* Past the limit all new names count under the empty one, and nothing that a reader could go by. */
static void test_too_many_names(void **state)
{
    (void)state;
    struct story story = begin();
    struct tape_summariser *summariser = tape_summariser_new(&error);
    struct tape_record record = story.records[1];
    char frame[64];
    for (size_t i = 0; i < story.used; i++)
        tape_summariser_add(summariser, &story.records[i], NULL, &error);
    record.kind = TAPE_RECORD_FRAME_IN;
    record.data = (const uint8_t *)frame;
    for (int i = 0; i < TAPE_SUMMARY_STREAMS_MAX + 1000; i++) {
        record.ordinal++;
        record.bytes =
            (uint32_t)snprintf(frame, sizeof frame, "\x81\x20{\"stream\":\"%012d\",\"data\":1}", i);
        frame[1] = (char)(record.bytes - 2);
        assert_int_equal(tape_summariser_add(summariser, &record, NULL, &error), 0);
        if (i % 5000 == 0)
            tape_summary_free(summarise(summariser, NULL, 0));
    }
    assert_int_equal(summariser->streams_used, TAPE_SUMMARY_STREAMS_MAX);
    const struct tape_summary_stream *last = &summariser->streams[TAPE_SUMMARY_STREAMS_MAX - 1];
    assert_string_equal(last->name, "");
    assert_int_equal(last->messages, 1001);
    size_t length;
    assert_null(tape_summariser_counts(summariser, &length));
    tape_summary_free(summarise(summariser, NULL, 0));
    record.ordinal++;
    memset(frame + 2 + strlen("{\"stream\":\""), '0', 12);
    assert_int_equal(tape_summariser_add(summariser, &record, NULL, &error), 0);
    assert_non_null(tape_summariser_counts(summariser, &length));
    assert_int_equal(length, 1);
    tape_summariser_free(summariser);
    story_free(&story);
}

/* A name that is kept in other words is none that a reader could ask for. */
static void test_odd_name_is_not_counted(void **state)
{
    (void)state;
    static const char *const frames[] = {"\x81\x0e{\"stream\":\"a\"}",
                                         "\x81\x10{\"stream\":\"a\xc2\x9b\"}"};
    struct story story = begin();
    struct tape_summariser *summariser = tape_summariser_new(&error);
    struct tape_record record = story.records[1];
    size_t length;
    for (size_t i = 0; i < story.used; i++)
        tape_summariser_add(summariser, &story.records[i], NULL, &error);
    record.kind = TAPE_RECORD_FRAME_IN;
    for (int i = 0; i < 4; i++) {
        tape_summary_free(summarise(summariser, NULL, 0));
        record.ordinal++;
        record.data = (const uint8_t *)frames[i % 2];
        record.bytes = (uint32_t)strlen(frames[i % 2]);
        tape_summariser_add(summariser, &record, NULL, &error);
        assert_int_equal(tape_summariser_counts(summariser, &length) != NULL, i % 2 == 0);
        assert_int_equal(length, i % 2 == 0);
    }
    tape_summariser_free(summariser);
    story_free(&story);
}

static void test_many_connections(void **state)
{
    (void)state;
    struct story story = {.now_ns = made_ns};
    story_start(&story, 1);
    for (uint32_t i = 1; i <= TAPE_SUMMARY_CONNECTIONS_MAX + 50; i++)
        story_trade(&story, i * 3, "a", i);
    story_start(&story, 2);
    tell(&story, 1500);
    assert_string_equal(ask("SELECT count(*), count(closed_ns) FROM connection"), "4096|4096");
    assert_string_equal(ask("SELECT sum(messages) FROM stream"), "4146");
}

/* Bodies with bytes changed by chance: every one is applied, and nothing contradicts itself. */
static void test_garbled_events(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 40; seed++) {
        struct story story = story_of_life(seed, 400);
        struct dice dice = {seed * 31 + 1};
        for (size_t i = 0; i < story.used; i++) {
            struct tape_record *record = &story.records[i];
            if (roll_below(&dice, 3) == 0 && record->bytes > 0)
                ((uint8_t *)(uintptr_t)record->data)[roll_below(&dice, record->bytes)] =
                    (uint8_t)roll(&dice);
            if (roll_below(&dice, 20) == 0)
                record->kind = (uint8_t)(1 + roll_below(&dice, 16));
            if (roll_below(&dice, 30) == 0)
                record->connection = (uint32_t)roll_below(&dice, 9);
        }
        tell(&story, 1 + (size_t)roll_below(&dice, 30));
    }
}

/* A block that is written again, elsewhere: only its place changes. */
static void test_moved_block(void **state)
{
    (void)state;
    struct story story = begin();
    struct tape_block_header header = {.segment = 9, .number = 4};
    struct tape_summariser *summariser = tape_summariser_new(&error);
    story_trade(&story, 1, "a", 1);
    struct tape_summary *summary = summarise(summariser, story.records, story.used);
    tape_summary_move(summary, &header, 777);
    reached = tape_index_open_memory(archive, &error);
    assert_int_equal(tape_index_begin(reached, &error), 0);
    assert_int_equal(tape_index_apply(reached, summary, &error), 0);
    assert_int_equal(tape_index_commit(reached, &error), 0);
    assert_string_equal(ask("SELECT segment_id, number, offset, codec, records FROM block"),
                        "9|4|777|1|3");
    assert_string_equal(ask("SELECT segment_id, blocks, records, messages FROM segment"),
                        "9|1|3|1");
    tape_summary_free(summary);
    tape_summariser_free(summariser);
    story_free(&story);
}

static void test_rows(void **state)
{
    struct tape_summary_rows rows = {0};
    struct tape_summary_value values[TAPE_SUMMARY_VALUES_MAX];
    char room[8];
    size_t at = 0;
    (void)state;
    tape_summary_rows_begin(&rows, TAPE_SUMMARY_ROW_SESSION_END);
    tape_summary_rows_number(&rows, -7);
    tape_summary_rows_number(&rows, TAPE_SUMMARY_NONE);
    tape_summary_rows_text(&rows, "a\x1b\x7f");
    assert_int_equal(tape_summary_rows_next(&rows, &at, values), TAPE_SUMMARY_ROW_SESSION_END);
    assert_true(values[0].number == -7 && values[1].number == TAPE_SUMMARY_NONE);
    assert_int_equal(values[2].bytes, 9);
    assert_memory_equal(values[2].text, "a\\x1b\\x7f", 9);
    assert_int_equal(tape_summary_rows_next(&rows, &at, values), -1);
    free(rows.bytes);
    /* cut between characters, never inside one */
    assert_int_equal(tape_summary_clean(room, 8, "1234567\xc3\xa9", 9), 7);
    assert_int_equal(tape_summary_clean(room, 8, "12345\x01", 6), 5);
    assert_int_equal(tape_summary_clean(room, 8, "1234\xf0\x9f\x98\x80!", 9), 8);
}

int main(void)
{
#define WITH_ARCHIVE(test) cmocka_unit_test_setup_teardown(test, open_archive, close_archive)
    const struct CMUnitTest tests[] = {
        WITH_ARCHIVE(test_counts),
        cmocka_unit_test(test_counts_of_the_open_summary),
        cmocka_unit_test(test_messages_are_lent),
        WITH_ARCHIVE(test_latency_quantiles),
        WITH_ARCHIVE(test_times_that_cannot_be),
        WITH_ARCHIVE(test_days),
        cmocka_unit_test(test_sequence_rules),
        WITH_ARCHIVE(test_break_on_a_live_connection),
        WITH_ARCHIVE(test_disconnect),
        WITH_ARCHIVE(test_disconnect_that_lost_nothing),
        WITH_ARCHIVE(test_numbers_that_begin_anew),
        WITH_ARCHIVE(test_side_by_side),
        WITH_ARCHIVE(test_recorder_died),
        WITH_ARCHIVE(test_session_that_ends_with_open_connections),
        WITH_ARCHIVE(test_session_numbers),
        WITH_ARCHIVE(test_failed_attempt),
        WITH_ARCHIVE(test_subscriptions),
        WITH_ARCHIVE(test_silent_stream_that_comes_after_all),
        WITH_ARCHIVE(test_silence_lasts),
        WITH_ARCHIVE(test_silent_beside_a_live_one),
        WITH_ARCHIVE(test_notes),
        WITH_ARCHIVE(test_clock_and_delay),
        WITH_ARCHIVE(test_snapshot),
        WITH_ARCHIVE(test_hostile_names),
        cmocka_unit_test(test_too_many_names),
        cmocka_unit_test(test_odd_name_is_not_counted),
        WITH_ARCHIVE(test_many_connections),
        WITH_ARCHIVE(test_garbled_events),
        WITH_ARCHIVE(test_moved_block),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
