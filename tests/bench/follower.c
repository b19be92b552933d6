/*
 * A strategy on a live recording, that only looks at its watch:
 *
 *   follower ARCHIVE MESSAGES spin|sleep
 *
 * From a message's own stamp (the recorder's: when it was received) to where a strategy has it with
 * its tick decoded. Only messages that came through the ring count, after the first tenth of them.
 * Prints p50, p99 and the greatest, in us, as JSON.
 */
#include "replay/source.h"
#include "tests/bench/report.h"

static void stop(const char *words)
{
    fprintf(stderr, "follower: %s\n", words);
    exit(1);
}

/* Through all that was there before, to where the ring had nothing. */
static void catch_up(struct tape_source *source)
{
    struct tape_error error = {0};
    struct tape_source_state state = {0};
    struct tape_message message;
    int got;
    do {
        while ((got = tape_source_try(source, &message, &error)) == 1)
            ;
        if (got <= 0)
            stop(got < 0 ? error.text : "the recording has ended");
        tape_source_read_state(source, &state);
    } while (!state.live);
}

static uint64_t measure(struct tape_source *source, int64_t *late_ns, uint64_t wanted)
{
    struct tape_error error = {0};
    struct tape_message message;
    struct tape_tick tick;
    uint64_t count = 0;
    int got = 0;
    while (count < wanted && (got = tape_source_next(source, &message, &error)) == 1) {
        tape_source_tick(&message, &tick);
        if (message.kind == TAPE_FEED_DATA)
            late_ns[count++] = bench_now_ns(CLOCK_REALTIME) - message.recv_ns;
    }
    if (got < 0)
        stop(error.text);
    return count;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        stop("ARCHIVE MESSAGES spin|sleep");
    struct tape_source_options options = {.follow = 1, .spin = strcmp(argv[3], "spin") == 0};
    struct tape_error error = {0};
    uint64_t wanted = strtoull(argv[2], NULL, 10);
    int64_t *late_ns = calloc(wanted + 1, sizeof *late_ns);
    struct tape_source *source = tape_source_open(argv[1], &options, &error);
    if (!source || !late_ns)
        stop(error.text);
    catch_up(source);
    uint64_t count = measure(source, late_ns, wanted);
    tape_source_close(source);
    if (count == 0)
        stop("nothing came");
    qsort(late_ns, count, sizeof *late_ns, bench_compare);
    printf("{\"messages\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
           (unsigned long long)count, (double)late_ns[count / 2] / 1e3,
           (double)late_ns[count * 99 / 100] / 1e3, (double)late_ns[count - 1] / 1e3);
    free(late_ns);
    return 0;
}
