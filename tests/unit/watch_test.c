#include "make_store.h"

#include "format/venue.h"
#include "record/watch.h"

#define SECOND 1000000000ll

/* What was said, a line each. */
static char said[4000];

struct rig {
    struct tape_venue *venue;
    struct tape_watch *watch;
    struct tape_store *store;
};

static void take_words(void *context, const char *words)
{
    struct rig *rig = context;
    struct tape_watch_state state;
    size_t used = strlen(said);
    tape_watch_read_state(rig->watch, &state); /* waits for ever where the lock is still held */
    snprintf(said + used, sizeof said - used, "%s\n", words);
}

static int setup(void **state)
{
    struct tape_error error = {0};
    struct rig *rig = calloc(1, sizeof *rig);
    said[0] = '\0';
    if (make_scratch(state) < 0)
        return -1;
    rig->venue = tape_venue_load("usdm", &error);
    rig->watch = tape_watch_new(rig->venue, 5 * SECOND);
    rig->store = open_plain();
    *state = rig;
    return rig->venue && rig->watch ? 0 : -1;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    if (rig->store)
        close_well(rig->store);
    tape_watch_free(rig->watch);
    tape_venue_free(rig->venue);
    free(rig);
    return remove_scratch(state);
}

static void event(struct rig *rig, int record_kind, uint32_t connection, const char *body)
{
    struct tape_message message = {.kind = TAPE_FEED_EVENT,
                                   .record_kind = (uint8_t)record_kind,
                                   .connection = connection,
                                   .payload = {body, strlen(body)}};
    tape_watch_message(rig->watch, &message);
}

static void ask(struct rig *rig, uint32_t connection, const char *body)
{
    event(rig, TAPE_RECORD_SUBSCRIPTION_ASKED, connection, body);
}

static void answer(struct rig *rig, uint32_t connection, const char *payload)
{
    struct tape_message message = {.kind =
                                       strstr(payload, "error") ? TAPE_FEED_REFUSAL : TAPE_FEED_ACK,
                                   .connection = connection,
                                   .recv_ns = 1234567,
                                   .payload = {payload, strlen(payload)}};
    tape_watch_message(rig->watch, &message);
}

static void data(struct rig *rig, uint32_t connection, const char *stream)
{
    struct tape_message message = {.kind = TAPE_FEED_DATA,
                                   .connection = connection,
                                   .payload = {"{}", 2},
                                   .stream = {stream, strlen(stream)}};
    tape_watch_message(rig->watch, &message);
}

static void tick(struct rig *rig, int64_t from_now_ns)
{
    tape_watch_tick(rig->watch, rig->store, tape_clock_monotonic() + from_now_ns, take_words, rig);
}

static struct tape_watch_state state_of(struct rig *rig)
{
    struct tape_watch_state state;
    tape_watch_read_state(rig->watch, &state);
    return state;
}

static void answers_and_data(void **unused)
{
    struct rig *rig = *unused;
    ask(rig, 1, "{\"id\":1,\"streams\":[\"a@trade\",\"b@trade\"]}");
    ask(rig, 2, "{\"id\":1,\"streams\":[\"a@trade\"]}");
    assert_int_equal(state_of(rig).asked, 3);
    assert_int_equal(state_of(rig).acknowledged, 0);
    answer(rig, 1, "{\"result\":null,\"id\":1}");
    assert_int_equal(state_of(rig).acknowledged, 2);
    data(rig, 1, "a@trade");
    data(rig, 1, "a@trade");
    data(rig, 2, "b@trade"); /* never asked for there */
    assert_int_equal(state_of(rig).live, 1);
    event(rig, TAPE_RECORD_CONNECTION_CLOSE, 1, "{}");
    assert_int_equal(state_of(rig).asked, 1);
    tick(rig, 0);
    assert_string_equal(said, "");
}

static void acknowledged_but_silent(void **unused)
{
    struct rig *rig = *unused;
    char expected[600];
    ask(rig, 1, "{\"id\":7,\"streams\":[\"btcusdt@aggTrade\",\"btcusdt@depth\"]}");
    answer(rig, 1, "{\"result\":null,\"id\":7}");
    data(rig, 1, "btcusdt@depth");
    tick(rig, 4 * SECOND);
    assert_string_equal(said, "");
    tick(rig, 6 * SECOND);
    tick(rig, 60 * SECOND); /* once */
    snprintf(expected, sizeof expected,
             "btcusdt@aggTrade: acknowledged 6.0 s ago, no message yet: %s\n",
             tape_venue_silence_hint(rig->venue, "btcusdt@aggTrade"));
    assert_string_equal(said, expected);
    close_well(rig->store);
    rig->store = NULL;
    struct found found = read_archive();
    assert_string_equal(found.notes, " not_delivered@0");
    assert_int_equal(found.kinds[TAPE_RECORD_SUBSCRIPTION_ACKED], 1);
}

static void no_answer_at_all(void **unused)
{
    struct rig *rig = *unused;
    ask(rig, 1, "{\"id\":1,\"streams\":[\"a@trade\"]}");
    tick(rig, 7 * SECOND);
    assert_string_equal(said, "a@trade: asked for 7.0 s ago, no message yet: the venue has not "
                              "answered the request\n");
}

static void refused(void **unused)
{
    struct rig *rig = *unused;
    ask(rig, 1, "{\"id\":1,\"streams\":[\"a@trade\",\"b@trade\"]}");
    ask(rig, 1, "{\"id\":2,\"streams\":[\"c@trade\"]}");
    answer(rig, 1, "{\"error\":{\"code\":2,\"msg\":\"Invalid request\"},\"id\":1}");
    answer(rig, 1, "{\"error\":{\"code\":2,\"msg\":\"again\"},\"id\":1}"); /* no second answer */
    answer(rig, 1, "{\"error\":{\"code\":3,\"msg\":\"nobody asked\"},\"id\":9}");
    tick(rig, 0);
    tick(rig, 4 * SECOND);
    assert_string_equal(said, "a@trade, b@trade: refused by the venue: error 2: Invalid request\n");
    assert_int_equal(state_of(rig).refused, 2);
    said[0] = '\0';
    tick(rig, 20 * SECOND);
    assert_string_equal(said, "c@trade: asked for 20.0 s ago, no message yet: the venue has not "
                              "answered the request\n");
    close_well(rig->store);
    rig->store = NULL;
    assert_int_equal(read_archive().kinds[TAPE_RECORD_SUBSCRIPTION_ACKED], 1);
}

static void answers_are_written_with_their_time(void **unused)
{
    struct rig *rig = *unused;
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_cursor_damage damage;
    ask(rig, 1, "{\"id\":1,\"streams\":[\"a@trade\"]}");
    answer(rig, 1, "{\"code\":2,\"msg\":\"an error\\u001b[31m\",\"id\":1}");
    tick(rig, 0);
    close_well(rig->store);
    rig->store = NULL;
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_cursor *cursor = tape_cursor_open(archive, &error);
    while (tape_cursor_next(cursor, &record, &damage, &error) == 1 &&
           record.kind != TAPE_RECORD_SUBSCRIPTION_ACKED)
        ;
    assert_int_equal(record.kind, TAPE_RECORD_SUBSCRIPTION_ACKED);
    assert_int_equal(record.recv_ns, 1234567);
    assert_int_equal(record.connection, 1);
    struct tape_event *body = tape_event_read((const char *)record.data, record.bytes);
    assert_int_equal(tape_event_number(body, "id", -1), 1);
    assert_int_equal(tape_event_number(body, "ok", -1), 0);
    assert_int_equal(tape_event_number(body, "error_code", -1), 2);
    tape_event_free(body);
    tape_cursor_close(cursor);
    tape_archive_close(archive);
    assert_null(strchr(said, '\033'));
}

static void silence_after_speech(void **unused)
{
    struct rig *rig = *unused;
    ask(rig, 1, "{\"id\":1,\"streams\":[\"a@trade\",\"rare@forceOrder\"]}");
    answer(rig, 1, "{\"result\":null,\"id\":1}");
    for (int i = 0; i <= 10; i++) { /* a message a second; the other one each ten */
        data(rig, 1, "a@trade");
        if (i % 10 == 0)
            data(rig, 1, "rare@forceOrder");
        tick(rig, i * SECOND);
    }
    tick(rig, 69 * SECOND);
    tick(rig, 100 * SECOND);
    assert_string_equal(said, "");
    tick(rig, 111 * SECOND);
    tick(rig, 300 * SECOND);
    assert_string_equal(said, "a@trade: silent for 101 s (before: a message each 0.909 s)\n");
    data(rig, 1, "a@trade");
    tick(rig, 301 * SECOND);
    said[0] = '\0';
    tick(rig, 5000 * SECOND);
    assert_non_null(strstr(said, "a@trade: silent for "));
}

static void many_streams(void **unused)
{
    struct rig *rig = *unused;
    char body[200], name[40];
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(body, sizeof body, "{\"id\":%u,\"streams\":[\"s%u@trade\"]}", i, i);
        ask(rig, i % 3 + 1, body);
    }
    for (uint32_t i = 0; i < 3000; i += 2) {
        snprintf(name, sizeof name, "s%u@trade", i);
        data(rig, i % 3 + 1, name);
    }
    assert_int_equal(state_of(rig).asked, 3000);
    assert_int_equal(state_of(rig).live, 1500);
    event(rig, TAPE_RECORD_CONNECTION_CLOSE, 2, "{}");
    assert_int_equal(state_of(rig).asked, 2000);
    for (uint32_t i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "s%u@trade", i);
        data(rig, i % 3 + 1, name);
    }
    assert_int_equal(state_of(rig).live, 2000);
}

static void odd_records(void **unused)
{
    struct rig *rig = *unused;
    ask(rig, 1, "not json");
    ask(rig, 1, "{}");
    ask(rig, 1, "{\"id\":null,\"streams\":[]}");
    ask(rig, 1, "{\"id\":1,\"streams\":[3,\"a@trade\"]}");
    answer(rig, 1, "{\"result\":null,\"id\":null}");
    answer(rig, 1, "");
    data(rig, 1, "");
    tick(rig, 0);
    assert_string_equal(said, "");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(answers_and_data),     CASE(acknowledged_but_silent),
        CASE(no_answer_at_all),     CASE(refused),
        CASE(silence_after_speech), CASE(answers_are_written_with_their_time),
        CASE(many_streams),         CASE(odd_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
