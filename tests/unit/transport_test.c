/* The transport with a clock of our own: what leaves, and when to the nanosecond, is known. */
#include "replay/transport.h"

#include "tests/unit/make_tape.h"

#include <inttypes.h>

#define MS       1000000ll
#define SECOND   1000000000ll
#define MIDNIGHT 5000000000000ll /* of the test's clock */

static char directory[256], archive_path[300], other_path[300];

/* ---- a player ---- */

static struct tape_transport *transport;
static int64_t clock_ns;
static char trace[65536];
static int ended;

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(archive_path, sizeof archive_path, "%s/archive", directory);
    snprintf(other_path, sizeof other_path, "%s/other", directory);
    transport = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tape_transport_close(transport);
    remove_tree(directory);
    return 0;
}

static void open_with(struct tape_transport_options options)
{
    struct tape_error error;
    const char *paths[] = {archive_path};
    tape_transport_close(transport);
    transport = tape_transport_open(paths, 1, &options, &error);
    if (!transport)
        fail_msg("%s", error.text);
    clock_ns = MIDNIGHT;
    trace[0] = '\0';
    ended = 0;
}

static void open_tape(const char *words, double speed)
{
    make_tape(archive_path, words);
    open_with((struct tape_transport_options){.speed = speed});
}

static void note(const char *format, ...)
{
    size_t used = strlen(trace);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(trace + used, sizeof trace - used, format, arguments);
    va_end(arguments);
}

static int number_of(const struct tape_message *message)
{
    const char *data = strstr(message->payload.data, "\"data\":");
    return data ? (int)strtol(data + 7, NULL, 10) : -1;
}

/* "3@2000": message 3 left at 2000 ms, at its due time; "3@2000+5": 5 ms after it; "3@2000!":
 * without one. */
static void note_item(const struct tape_transport_item *item)
{
    note("%s%d@%.12g", trace[0] ? " " : "", number_of(&item->message),
         (double)(clock_ns - MIDNIGHT) / 1e6);
    if (item->due_ns == TAPE_TRANSPORT_NO_DUE)
        note("!");
    else if (item->late_ns > 0)
        note("+%.12g", (double)item->late_ns / 1e6);
}

/* Plays to the end, or to this time of the clock (ms after its midnight). */
static void play_to(double ms)
{
    int64_t end_ns = MIDNIGHT + (int64_t)(ms * 1e6), until_ns;
    struct tape_transport_item item;
    struct tape_error error;
    while (!ended) {
        int got = tape_transport_next(transport, clock_ns, &item, &until_ns, &error);
        if (got < 0)
            fail_msg("%s", error.text);
        if (got == 1)
            note_item(&item);
        ended = got == 0;
        if (got == 2 && until_ns > end_ns)
            break;
        if (got == 2 && until_ns > clock_ns)
            clock_ns = until_ns;
    }
    if (!ended)
        clock_ns = end_ns;
}

static void play_all(void)
{
    play_to(1e9);
    assert_true(ended);
}

static void expect(const char *wanted)
{
    if (strcmp(trace, wanted) != 0)
        fail_msg("\nfound  %s\nwanted %s", trace, wanted);
    trace[0] = '\0';
}

static int command(int kind, double number, double end, struct tape_error *error)
{
    struct tape_transport_command command = {.kind = kind};
    if (kind == TAPE_TRANSPORT_SPEED)
        command.speed = number;
    if (kind == TAPE_TRANSPORT_SEEK || kind == TAPE_TRANSPORT_LOOP)
        command.ns = made_ns + (int64_t)(number * 1e6);
    if (kind == TAPE_TRANSPORT_LOOP && end > 0)
        command.end_ns = made_ns + (int64_t)(end * 1e6);
    return tape_transport_command(transport, &command, clock_ns, error);
}

static void do_it(int kind, double number, double end)
{
    struct tape_error error;
    if (command(kind, number, end, &error) < 0)
        fail_msg("%s", error.text);
    ended = 0;
}

static void expect_refusal(int kind, double number, double end, const char *text)
{
    struct tape_error error;
    assert_int_equal(command(kind, number, end, &error), TAPE_USAGE);
    assert_string_equal(error.text, text);
}

static struct tape_transport_state state_now(void)
{
    struct tape_transport_state state;
    tape_transport_read_state(transport, clock_ns, &state);
    return state;
}

/* ms after the first stamp. */
static double position(void)
{
    return (double)(state_now().position_ns - made_ns) / 1e6;
}

#define expect_position(ms) assert_true(position() == (ms))

/* ---- pace ---- */

static void each_leaves_when_it_is_due(void **state)
{
    (void)state;
    open_tape("0 1000 1000 | 2000.5 / 2000.5 9000", 1);
    play_all();
    expect("0@0 1@1000 2@1000 3@2000.5 4@2000.5 5@9000");
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_ENDED);
    assert_int_equal(state_now().messages, 6);
    play_to(20000);
    expect("");
    open_with((struct tape_transport_options){.speed = 10});
    play_all();
    expect("0@0 1@100 2@100 3@200.05 4@200.05 5@900");
    open_with((struct tape_transport_options){.speed = 0.1});
    play_all();
    expect("0@0 1@10000 2@10000 3@20005 4@20005 5@90000");
    open_with((struct tape_transport_options){.speed = 0});
    play_all();
    expect("0@0! 1@0! 2@0! 3@0! 4@0! 5@0!");
}

/* Reading the first block may take a while: the first message is due when it can leave. */
static void the_first_is_not_late_by_its_reading(void **state)
{
    struct tape_transport_item item;
    int64_t until_ns;
    (void)state;
    open_tape("0 1000 2000", 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tape_transport_next(transport, clock_ns, &item, &until_ns, NULL), 2);
        assert_true(until_ns == clock_ns);
        clock_ns += 30 * MS;
        assert_int_equal(tape_transport_next(transport, clock_ns, &item, &until_ns, NULL), 1);
        assert_true(item.due_ns == clock_ns);
        do_it(TAPE_TRANSPORT_SEEK, 1000, 0);
    }
    assert_int_equal(state_now().lateness.max_ns, 0);
}

static void stamps_that_run_back_keep_their_order(void **state)
{
    (void)state;
    open_tape("1000 2000 1500 500 2500", 1);
    play_all();
    expect("0@0 1@1000 2@1000 3@1000 4@1500");
    assert_int_equal(state_now().clock_steps, 0); /* 1500 to 500 is not more than a second */
}

static void a_step_of_the_recorded_clock(void **state)
{
    (void)state;
    open_tape("3600000 3601000 1000 2000 | 3", 1);
    play_all();
    expect("0@0 1@1000 2@1000 3@2000 4@2000");
    assert_int_equal(state_now().clock_steps, 2);
}

static void late_messages_say_so(void **state)
{
    (void)state;
    open_tape("0 100 200 300 400", 1);
    play_to(50);
    expect("0@0");
    clock_ns += 175 * MS; /* 225: nobody asked */
    play_to(1000);
    /* Lateness of our own is caught up. */
    expect("1@225+125 2@225+25 3@300 4@400");
    assert_int_equal(state_now().stretched_ns, 0);
    assert_int_equal(state_now().backlog_max, 2);
    assert_int_equal(state_now().lateness.max_ns, 125 * MS);
    assert_int_equal(state_now().lateness.count, 5);
}

static void a_slow_consumer_stretches_time(void **state)
{
    (void)state;
    open_tape("0 100 200 300", 1);
    play_to(50);
    clock_ns += 175 * MS;
    tape_transport_blocked(transport, 175 * MS);
    play_to(1000);
    expect("0@0 1@225+125 2@325 3@425");
    assert_int_equal(state_now().stretched_ns, 125 * MS);
    assert_int_equal(state_now().lateness.max_ns, 0);
}

/* Whatever kept us for more than a second. */
static void a_stopped_process_does_not_burst(void **state)
{
    (void)state;
    open_tape("0 100 200 300", 1);
    play_to(50);
    clock_ns += 60 * SECOND;
    play_to(1e6);
    expect("0@0 1@60050+59950 2@60150 3@60250");
}

static void what_is_too_late_can_be_dropped(void **state)
{
    (void)state;
    make_tape(archive_path, "0 100 200 300 400");
    open_with((struct tape_transport_options){.speed = 1, .drop_late_ns = 50 * MS});
    play_to(50);
    clock_ns += 201 * MS; /* 251 */
    tape_transport_blocked(transport, 201 * MS);
    play_to(1000);
    expect("0@0 3@300 4@400");
    assert_int_equal(state_now().dropped_late, 2);
    assert_int_equal(state_now().messages, 3);
    assert_int_equal(state_now().stretched_ns, 0);
    /* Exactly as late as allowed stays. */
    open_with((struct tape_transport_options){.speed = 1, .drop_late_ns = 50 * MS});
    play_to(50);
    clock_ns += 100 * MS;
    tape_transport_blocked(transport, 100 * MS);
    play_to(1000);
    expect("0@0 1@150+50 2@200 3@300 4@400"); /* and nothing is stretched for it */
    assert_int_equal(state_now().dropped_late, 0);
}

static void what_is_too_late_can_be_counted(void **state)
{
    struct tape_error error;
    (void)state;
    make_tape(archive_path, "0 100 200 300 400");
    open_with((struct tape_transport_options){.speed = 1, .max_late_ns = 50 * MS});
    play_to(50);
    assert_int_equal(tape_transport_check_late(transport, &error), 0);
    clock_ns += 100 * MS; /* 150: exactly as late as allowed */
    play_to(150);
    assert_int_equal(tape_transport_check_late(transport, &error), 0);
    open_with((struct tape_transport_options){.speed = 1, .max_late_ns = 50 * MS});
    play_to(50);
    clock_ns += 301 * MS; /* 351 */
    tape_transport_blocked(transport, 0);
    play_to(1000);
    assert_int_equal(tape_transport_check_late(transport, &error), TAPE_FAILED);
    assert_string_equal(error.text,
                        "later than 50.0 ms: 3 messages, by up to 251.0 ms; the first was "
                        "1 of 2026-11-25T09:46:40.100000000Z");
    /* What time is stretched by for a consumer's sake is late all the same, and so is what waited
     * in a write. */
    open_with((struct tape_transport_options){.speed = 1, .max_late_ns = 50 * MS});
    play_to(350);
    tape_transport_blocked(transport, 51 * MS);
    play_to(1000);
    assert_int_equal(tape_transport_check_late(transport, &error), TAPE_FAILED);
    assert_string_equal(error.text,
                        "later than 50.0 ms: 1 message, by up to 51.0 ms; the first was "
                        "3 of 2026-11-25T09:46:40.300000000Z");
}

/* ---- pause and steps ---- */

static void a_pause_holds_time(void **state)
{
    (void)state;
    open_tape("0 1000 2000 3000", 1);
    play_to(400);
    expect_position(400);
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    play_to(100400);
    expect("0@0");
    expect_position(400);
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_PAUSED);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_to(100500);
    expect_position(500);
    play_all();
    expect("1@101000 2@102000 3@103000");
    expect_position(3000);
    assert_int_equal(state_now().stretched_ns, 0);
}

static void commands_twice_and_out_of_place(void **state)
{
    (void)state;
    open_tape("0 1000 2000", 1);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    expect_refusal(TAPE_TRANSPORT_STEP_FRAME, 0, 0, "a step needs a pause first");
    play_to(100);
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    play_to(300);
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    expect_position(100);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_all();
    expect("0@0 1@1200 2@2200");
    expect_refusal(TAPE_TRANSPORT_STEP_TIME, 0, 0, "it is at its end: no step leads further");
    expect_refusal(TAPE_TRANSPORT_RESUME, 0, 0, "it is at its end: seek or loop first");
    expect_refusal(TAPE_TRANSPORT_PAUSE, 0, 0, "it is at its end: nothing to pause");
    expect_refusal(99, 0, 0, "no such command");
    expect_refusal(TAPE_TRANSPORT_SPEED, -1, 0, "a speed is max or a number from 0.001 to 1000000");
    expect_refusal(TAPE_TRANSPORT_SPEED, 1e7, 0,
                   "a speed is max or a number from 0.001 to 1000000");
    assert_int_equal(state_now().commands, 5);
}

static void steps(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1000 1000 | 1000 / 2000 2000 7000");
    open_with((struct tape_transport_options){.speed = 1, .paused = 1});
    play_to(50);
    expect("");
    expect_position(0);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    play_to(60);
    expect("0@50!");
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    play_to(70);
    expect("1@60!");
    expect_position(1000);
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0); /* the rest of 1000 */
    play_to(80);
    expect("2@70! 3@70!");
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    play_to(90);
    expect("4@80! 5@80!");
    expect_position(2000);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_to(1090);
    expect_position(3000);
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    play_to(2000);
    expect("6@1090!");
    /* At the end it stays paused: there is still the way back. */
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_PAUSED);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    play_to(3000);
    expect("");
    assert_true(ended);
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_ENDED);
}

/* Asked for faster than they are taken. */
static void steps_add_up(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1000 1000 2000 3000 3000 4000 5000 6000");
    open_with((struct tape_transport_options){.speed = 1, .paused = 1});
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    play_to(1);
    expect("0@0! 1@0!");
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    play_to(2);
    expect("2@1! 3@1! 4@1! 5@1!");
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_TIME, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0); /* another kind: in its place */
    play_to(3);
    expect("6@2!");
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    play_to(4);
    expect("7@3!");
}

static void paused_at_its_end_it_can_go_back(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1000");
    open_with((struct tape_transport_options){.speed = 1, .paused = 1});
    for (int i = 0; i < 2; i++) {
        do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
        play_to(i);
    }
    play_to(10);
    assert_false(ended);
    do_it(TAPE_TRANSPORT_SEEK, 1000, 0);
    do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
    play_to(20);
    expect("0@0! 1@0! 1@10!");
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_all();
    expect("");
}

static void a_step_across_a_wait_for_the_beginning(void **state)
{
    (void)state;
    make_tape(archive_path, "500 1500");
    open_with((struct tape_transport_options){.speed = 1, .waits = 1});
    play_to(100);
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_WAITING);
    expect_position(500);
    expect_refusal(TAPE_TRANSPORT_STEP_FRAME, 0, 0, "a step needs a pause first");
    tape_transport_start(transport, clock_ns);
    tape_transport_start(transport, clock_ns + SECOND); /* once */
    play_all();
    expect("0@100 1@1100");
    /* Paused before it starts. */
    open_with((struct tape_transport_options){.speed = 1, .waits = 1});
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    play_to(100);
    tape_transport_start(transport, clock_ns);
    play_to(200);
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_PAUSED);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_all();
    expect("0@200 1@1200");
    /* Asked to start before anything was asked for. */
    open_with((struct tape_transport_options){.speed = 2, .waits = 1, .paused = 1});
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    clock_ns += 7 * MS;
    tape_transport_start(transport, clock_ns);
    play_all();
    expect("0@7 1@507");
}

/* ---- speed ---- */

static void speed_changes_do_not_jump(void **state)
{
    (void)state;
    open_tape("0 1000 2000 3000 4000 5000", 1);
    play_to(1500);
    do_it(TAPE_TRANSPORT_SPEED, 2, 0); /* half of the way to 2000 is left */
    expect_position(1500);
    play_to(1600);
    expect_position(1700);
    play_to(2000);
    do_it(TAPE_TRANSPORT_SPEED, 0.5, 0); /* stands at 2500 */
    play_to(3900);
    do_it(TAPE_TRANSPORT_SPEED, 0, 0); /* stands at 3450 */
    play_to(4000);
    assert_true(ended);
    expect("0@0 1@1000 2@1750 3@3000 4@3900! 5@3900!");
}

static void from_max_to_a_pace(void **state)
{
    struct tape_transport_item item;
    int64_t until_ns;
    (void)state;
    open_tape("0 1000 2000 3000", 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tape_transport_next(transport, clock_ns, &item, &until_ns, NULL), 1);
    expect_position(1000);
    do_it(TAPE_TRANSPORT_SPEED, 4, 0);
    play_all();
    expect("2@250 3@500");
    /* Before the first message. */
    open_with((struct tape_transport_options){.speed = 0});
    do_it(TAPE_TRANSPORT_SPEED, 4, 0);
    clock_ns += 3 * MS;
    play_all();
    expect("0@3 1@253 2@503 3@753");
}

/* What was late before the change stays late after it, and no more. */
static void a_speed_change_while_late(void **state)
{
    (void)state;
    open_tape("0 100 200 300 400", 1);
    play_to(50);
    clock_ns += 80 * MS; /* 130 */
    struct tape_transport_item item;
    int64_t until_ns;
    tape_transport_next(transport, clock_ns, &item, &until_ns, NULL);
    note_item(&item);
    clock_ns += 100 * MS; /* 230, and 2 was due at 200 */
    assert_int_equal(tape_transport_next(transport, clock_ns - 100 * MS, &item, &until_ns, NULL),
                     2);
    do_it(TAPE_TRANSPORT_SPEED, 0.5, 0);
    play_all();
    expect("0@0 1@130+30 2@230+30 3@400 4@600");
}

static void a_pause_while_late_forgives(void **state)
{
    struct tape_transport_item item;
    int64_t until_ns;
    (void)state;
    open_tape("0 100 200 300", 1);
    play_to(50);
    clock_ns += 80 * MS; /* 130, 1 was due at 100 and was not asked for */
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    expect_position(100);
    assert_int_equal(state_now().stretched_ns, 30 * MS);
    assert_int_equal(tape_transport_next(transport, clock_ns, &item, &until_ns, NULL), 2);
    assert_true(until_ns == INT64_MAX);
    play_to(1000);
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_all();
    expect("0@0 1@1000 2@1100 3@1200");
}

/* ---- seek ---- */

static void seeks(void **state)
{
    (void)state;
    open_tape("0 1000 | 2000 2000 / 9000 9500", 1);
    play_to(100);
    do_it(TAPE_TRANSPORT_SEEK, 2000, 0);
    expect_position(2000);
    play_to(200);
    expect("0@0 2@100 3@100");
    do_it(TAPE_TRANSPORT_SEEK, 5000, 0); /* into a gap: time runs through it */
    play_to(1200);
    expect_position(6000);
    do_it(TAPE_TRANSPORT_SEEK, 999.999, 0);
    play_to(1300);
    expect("1@1200.001");
    do_it(TAPE_TRANSPORT_SEEK, 9500, 0);
    play_all();
    expect("5@1300");
    do_it(TAPE_TRANSPORT_SEEK, 0, 0); /* after its end */
    assert_int_equal(state_now().phase, TAPE_TRANSPORT_PHASE_PLAYING);
    play_to(2300);
    expect("0@1300 1@2300");
    assert_int_equal(state_now().seeks, 5);
    expect_refusal(TAPE_TRANSPORT_SEEK, -0.000001, 0,
                   "2026-11-25T09:46:39.999999999Z is outside of what is played: "
                   "2026-11-25T09:46:40.000000000Z to 2026-11-25T09:46:49.500000000Z");
    expect_refusal(TAPE_TRANSPORT_SEEK, 9500.000001, 0,
                   "2026-11-25T09:46:49.500000001Z is outside of what is played: "
                   "2026-11-25T09:46:40.000000000Z to 2026-11-25T09:46:49.500000000Z");
}

static void seeks_keep_to_what_was_asked_for(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1000 2000 3000 4000");
    open_with((struct tape_transport_options){
        .speed = 1,
        .source = {.from_ns = made_ns + SECOND, .to_ns = made_ns + 3 * SECOND},
    });
    play_all();
    expect("1@0 2@1000");
    expect_refusal(TAPE_TRANSPORT_SEEK, 999, 0,
                   "2026-11-25T09:46:40.999000000Z is outside of what is played: "
                   "2026-11-25T09:46:41.000000000Z to 2026-11-25T09:46:42.999999999Z");
    expect_refusal(TAPE_TRANSPORT_SEEK, 3000, 0,
                   "2026-11-25T09:46:43.000000000Z is outside of what is played: "
                   "2026-11-25T09:46:41.000000000Z to 2026-11-25T09:46:42.999999999Z");
    do_it(TAPE_TRANSPORT_SEEK, 2000, 0);
    play_all();
    expect("2@1000");
}

static void a_seek_while_paused_and_at_full_speed(void **state)
{
    (void)state;
    open_tape("0 1000 2000 3000", 1);
    play_to(10);
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    do_it(TAPE_TRANSPORT_SEEK, 1500, 0);
    play_to(500);
    expect_position(1500);
    expect("0@0");
    do_it(TAPE_TRANSPORT_RESUME, 0, 0);
    play_to(1100);
    expect("2@1000");
    do_it(TAPE_TRANSPORT_SPEED, 0, 0);
    play_to(1200);
    do_it(TAPE_TRANSPORT_SEEK, 1000, 0);
    play_to(1300);
    expect("3@1100! 1@1100! 2@1100! 3@1100!");
}

/* First and last record of every block and segment, and between them. */
static void seeks_to_every_boundary(void **state)
{
    static const double ms[] = {0, 10, 20, 30, 40, 40, 50, 70, 90};
    enum { COUNT = sizeof ms / sizeof *ms };
    (void)state;
    open_tape("0 10 20 | 30 40 / 40 50 | 70 / 90", 0);
    for (double at = 0; at <= 90; at += 5) {
        char wanted[512] = "";
        do_it(TAPE_TRANSPORT_SEEK, at, 0);
        play_all();
        for (int i = 0; i < COUNT; i++)
            if (ms[i] >= at)
                snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s%d@0!",
                         wanted[0] ? " " : "", i);
        expect(wanted);
    }
}

static void nothing_to_seek_in(void **state)
{
    (void)state;
    open_tape("", 1);
    play_all();
    expect("");
    expect_refusal(TAPE_TRANSPORT_SEEK, 0, 0, "there is no message to seek to");
    assert_true(state_now().position_ns == INT64_MIN);
}

static void a_range_without_messages(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1000 | 2000 / 3000");
    open_with((struct tape_transport_options){
        .speed = 1,
        .source = {.from_ns = made_ns + 1200 * MS, .to_ns = made_ns + 1900 * MS},
    });
    play_all();
    expect("");
}

/* ---- loop ---- */

static void loops_have_exact_ends(void **state)
{
    (void)state;
    open_tape("0 1000 | 2000 2500 / 3000 4000", 1);
    play_to(500);
    do_it(TAPE_TRANSPORT_LOOP, 1000, 3000); /* stands before it: goes to A */
    play_to(6499);
    expect("0@0 1@500 2@1500 3@2000 1@2500 2@3500 3@4000 1@4500 2@5500 3@6000");
    assert_int_equal(state_now().loops, 2);
    play_to(6500);
    expect("1@6500");
    do_it(TAPE_TRANSPORT_UNLOOP, 0, 0);
    play_all();
    expect("2@7500 3@8000 4@8500 5@9500");
    assert_int_equal(state_now().loops, 3);
    assert_false(state_now().looping);
}

static void a_loop_is_entered_where_it_stands(void **state)
{
    (void)state;
    open_tape("0 1000 2000 3000", 1);
    play_to(1200);
    do_it(TAPE_TRANSPORT_LOOP, 1000, 2500);
    play_to(3600);
    expect("0@0 1@1000 2@2000 1@2500 2@3500");
    /* Another, while it is in one. */
    do_it(TAPE_TRANSPORT_LOOP, 2000, 2700);
    play_to(4600);
    expect("2@4200");
    do_it(TAPE_TRANSPORT_UNLOOP, 0, 0);
    play_all();
    expect("3@5200");
}

static void a_loop_over_all_of_it(void **state)
{
    (void)state;
    make_tape(archive_path, "500 1000 1500");
    open_with((struct tape_transport_options){.speed = 1, .loop = 1});
    play_to(2500);
    expect("0@0 1@500 2@1000 0@1000 1@1500 2@2000 0@2000 1@2500");
    assert_true(state_now().loop_from_ns == made_ns + 500 * MS);
    /* From the command line's ends. */
    open_with((struct tape_transport_options){
        .speed = 2,
        .loop = 1,
        .source = {.from_ns = made_ns + 800 * MS, .to_ns = made_ns + 1400 * MS},
    });
    play_to(700);
    expect("1@0 1@300 1@600");
}

static void many_loops_do_not_drift(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1 2 3");
    open_with((struct tape_transport_options){.speed = 1});
    do_it(TAPE_TRANSPORT_LOOP, 1, 3);
    for (int i = 0; i < 1000; i++) {
        play_to(2 * i + 1.5);
        char wanted[64];
        snprintf(wanted, sizeof wanted, "1@%d 2@%d", 2 * i, 2 * i + 1);
        expect(wanted);
    }
    assert_int_equal(state_now().messages, 2000);
}

/* Stamps that cross the ends: what is inside leaves, what is outside does not. */
static void a_loop_between_wandering_stamps(void **state)
{
    (void)state;
    open_tape("0 990 1010 995 1500 2003 1999 2001 | 1998 3500 3600", 1);
    play_to(1);
    do_it(TAPE_TRANSPORT_LOOP, 1000, 2000);
    play_to(2200);
    /* 2 (1010), 4 (1500), 6 (1999), 8 (1998); not 3 (995), 5 (2003), 7 (2001). */
    expect("0@0 2@11 4@501 6@1001 8@1001 2@1011 4@1501 6@2001 8@2001 2@2011");
}

static void a_loop_at_full_speed_and_in_steps(void **state)
{
    struct tape_transport_item item;
    int64_t until_ns;
    (void)state;
    open_tape("0 1000 2000 3000", 0);
    do_it(TAPE_TRANSPORT_LOOP, 1000, 2500);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(tape_transport_next(transport, clock_ns, &item, &until_ns, NULL), 1);
        note_item(&item);
    }
    expect("1@0! 2@0! 1@0! 2@0! 1@0!");
    do_it(TAPE_TRANSPORT_PAUSE, 0, 0);
    for (int i = 0; i < 3; i++) {
        do_it(TAPE_TRANSPORT_STEP_FRAME, 0, 0);
        play_to(i);
    }
    expect("2@0! 1@0! 2@1!");
}

static void refused_loops(void **state)
{
    (void)state;
    open_tape("0 1000 2000", 1);
    play_to(100);
    expect_refusal(TAPE_TRANSPORT_LOOP, 1000, 1000, "the loop's end is not after its beginning");
    expect_refusal(TAPE_TRANSPORT_LOOP, 2001, 3000,
                   "2026-11-25T09:46:42.001000000Z is outside of what is played: "
                   "2026-11-25T09:46:40.000000000Z to 2026-11-25T09:46:42.000000000Z");
    do_it(TAPE_TRANSPORT_LOOP, 0, 1500);
    expect_refusal(TAPE_TRANSPORT_SEEK, 1500, 0,
                   "2026-11-25T09:46:41.500000000Z is outside of the loop: unloop first");
    do_it(TAPE_TRANSPORT_SEEK, 1499, 0);
    play_to(200);
    expect("0@0 0@101");
}

/* A loop in which nothing lies comes to an end, instead of turning for ever. */
static void an_empty_loop_ends(void **state)
{
    (void)state;
    open_tape("0 1000 5000", 0);
    play_to(0);
    expect("0@0! 1@0! 2@0!");
    do_it(TAPE_TRANSPORT_LOOP, 1500, 2000);
    play_all();
    expect("");
    open_with((struct tape_transport_options){
        .speed = 1,
        .loop = 1,
        .source = {.from_ns = made_ns + 1200 * MS, .to_ns = made_ns + 1900 * MS},
    });
    play_all();
    expect("");
}

/* One message only, or all with one stamp: no flood. */
static void a_loop_of_one_moment(void **state)
{
    (void)state;
    make_tape(archive_path, "700 700");
    open_with((struct tape_transport_options){.speed = 1, .loop = 1});
    play_to(2.5);
    expect("0@0 1@0 0@1 1@1 0@2 1@2");
}

/* ---- what is played ---- */

static int wants_b(void *context, const struct tape_message *message)
{
    (void)context;
    return message->stream.bytes > 0 && message->stream.data[0] == 'b';
}

static void what_nobody_wants_is_not_there(void **state)
{
    (void)state;
    make_tape(archive_path, "0 1000 1500 2000 2000 2500");
    open_with((struct tape_transport_options){.speed = 1, .wants = wants_b});
    play_all();
    expect("2@0 5@1000");
    assert_int_equal(state_now().messages, 2);
}

static void the_virtual_clock_is_of_what_left(void **state)
{
    (void)state;
    open_tape("0 1000 500 2000", 1);
    assert_true(state_now().replay_ns == INT64_MIN);
    play_to(500);
    assert_true(state_now().replay_ns == made_ns);
    assert_int_equal(state_now().ordinal, 0);
    play_to(1500);
    assert_true(state_now().replay_ns == made_ns + SECOND);
    assert_int_equal(state_now().ordinal, 2);
}

static void a_stop_ends_it(void **state)
{
    (void)state;
    open_tape("0 1000", 1);
    play_to(100);
    tape_transport_stop(transport);
    play_all();
    expect("0@0");
}

static void what_cannot_be_opened(void **state)
{
    struct tape_transport_options options = {.speed = 1, .loop = 1, .source = {.follow = 1}};
    struct tape_error error;
    const char *paths[] = {archive_path};
    (void)state;
    assert_null(tape_transport_open(paths, 1, &options, &error));
    assert_string_equal(error.text, "what is being recorded has no end to loop at");
    options.loop = 0;
    assert_null(tape_transport_open(paths, 1, &options, &error));
    assert_non_null(strstr(error.text, archive_path));
}

static void words(void **state)
{
    (void)state;
    assert_string_equal(tape_transport_phase_word(TAPE_TRANSPORT_PHASE_PAUSED), "paused");
    assert_string_equal(tape_transport_command_word(TAPE_TRANSPORT_STEP_TIME), "step-time");
    assert_string_equal(tape_transport_phase_word(99), "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_leaves_when_it_is_due),
        TEST(the_first_is_not_late_by_its_reading),
        TEST(stamps_that_run_back_keep_their_order),
        TEST(a_step_of_the_recorded_clock),
        TEST(late_messages_say_so),
        TEST(a_slow_consumer_stretches_time),
        TEST(a_stopped_process_does_not_burst),
        TEST(what_is_too_late_can_be_dropped),
        TEST(what_is_too_late_can_be_counted),
        TEST(a_pause_holds_time),
        TEST(commands_twice_and_out_of_place),
        TEST(steps),
        TEST(steps_add_up),
        TEST(paused_at_its_end_it_can_go_back),
        TEST(a_step_across_a_wait_for_the_beginning),
        TEST(speed_changes_do_not_jump),
        TEST(from_max_to_a_pace),
        TEST(a_speed_change_while_late),
        TEST(a_pause_while_late_forgives),
        TEST(seeks),
        TEST(seeks_keep_to_what_was_asked_for),
        TEST(a_seek_while_paused_and_at_full_speed),
        TEST(seeks_to_every_boundary),
        TEST(nothing_to_seek_in),
        TEST(a_range_without_messages),
        TEST(loops_have_exact_ends),
        TEST(a_loop_is_entered_where_it_stands),
        TEST(a_loop_over_all_of_it),
        TEST(many_loops_do_not_drift),
        TEST(a_loop_between_wandering_stamps),
        TEST(a_loop_at_full_speed_and_in_steps),
        TEST(refused_loops),
        TEST(an_empty_loop_ends),
        TEST(a_loop_of_one_moment),
        TEST(what_nobody_wants_is_not_there),
        TEST(the_virtual_clock_is_of_what_left),
        TEST(a_stop_ends_it),
        TEST(what_cannot_be_opened),
        TEST(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
