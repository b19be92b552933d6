/* A toy strategy: buys when the average of the last 8 trades rises above that of the last 64, sells
 * when it falls below. The same program on a recording, on one that is being recorded, and on
 * several recordings of one feed:
 *
 *   cc moving_average.c $(pkg-config --cflags --libs tapedeck) -o moving_average
 *   ./moving_average ./tape              replay of an archive, as fast as it can be read
 *   ./moving_average ./tape ./tape2      two recorders of one feed: each trade once
 *   ./moving_average --follow ./tape     the same from the beginning, then live
 *
 * It prints its decisions: replay time, ordinal, stream, what, price. It asks no clock but that of
 * the messages, and calculates in whole numbers: the same frames give the same lines. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <tape.h>

enum { FAST = 8, SLOW = 64, STREAMS_MAX = 256, NAME_MAX_BYTES = 64 };

/* One stream's last trades. */
struct averages {
    char stream[NAME_MAX_BYTES];
    int64_t prices[SLOW]; /* in 1/10^8, a ring */
    int64_t fast_sum, slow_sum;
    uint64_t trades;
    int is_above; /* 1, -1, or 0 before there are 64 trades */
};

static struct averages all[STREAMS_MAX];
static int streams;
static struct tape_source *source;

static void stop(int signal_number)
{
    (void)signal_number;
    tape_source_stop(source); /* a waiting tape_source_next() returns 0 */
}

static struct averages *of_stream(struct tape_slice name)
{
    for (int i = 0; i < streams; i++)
        if (strlen(all[i].stream) == name.bytes &&
            memcmp(all[i].stream, name.data, name.bytes) == 0)
            return &all[i];
    if (streams == STREAMS_MAX || name.bytes == 0 || name.bytes >= NAME_MAX_BYTES)
        return NULL;
    memcpy(all[streams].stream, name.data, name.bytes);
    return &all[streams++];
}

/* A price in 1/10^8; 0 for what is none, or too large to add 64 of them. */
static int64_t fixed_point(const struct tape_decimal *decimal)
{
    int64_t value = decimal->value;
    if (!decimal->valid || decimal->scale > 8)
        return 0;
    for (int scale = decimal->scale; scale < 8; scale++) {
        if (value > INT64_MAX / 10)
            return 0;
        value *= 10;
    }
    return value > 0 && value < INT64_MAX / SLOW ? value : 0;
}

/* Returns what to do now: "BUY", "SELL" or NULL. */
static const char *on_trade(struct averages *averages, int64_t price)
{
    uint64_t n = averages->trades++;
    averages->fast_sum += price - (n >= FAST ? averages->prices[(n - FAST) % SLOW] : 0);
    averages->slow_sum += price - averages->prices[n % SLOW];
    averages->prices[n % SLOW] = price;
    if (averages->trades < SLOW)
        return NULL;
    int64_t apart = averages->fast_sum - averages->slow_sum / (SLOW / FAST);
    int is_above = apart > 0 ? 1 : apart < 0 ? -1 : averages->is_above;
    int has_crossed = averages->is_above != 0 && is_above != averages->is_above;
    averages->is_above = is_above;
    return !has_crossed ? NULL : is_above > 0 ? "BUY" : "SELL";
}

static void on_message(const struct tape_message *message)
{
    struct tape_tick tick;
    if (tape_source_tick(message, &tick) != 1 ||
        (tick.kind != TAPE_TICK_TRADE && tick.kind != TAPE_TICK_AGG_TRADE))
        return;
    struct averages *averages = of_stream(message->stream);
    int64_t price = fixed_point(&tick.price);
    const char *decision = averages && price ? on_trade(averages, price) : NULL;
    if (decision)
        printf("%" PRId64 " %" PRIu64 " %s %s %.*s\n", message->replay_ns, message->ordinal,
               averages->stream, decision, (int)tick.price.text.bytes, tick.price.text.data);
}

int main(int argc, char **argv)
{
    int follow = argc > 1 && strcmp(argv[1], "--follow") == 0, first = 1 + follow;
    if (argc <= first || argv[first][0] == '-') {
        fprintf(stderr, "usage: moving_average [--follow] ARCHIVE...\n");
        return 2;
    }
    struct tape_source_options options = {.stream = "*@trade,*@aggTrade", .follow = follow};
    struct tape_error error = {0};
    struct tape_message message;
    source =
        tape_source_open_all((const char *const *)argv + first, argc - first, &options, &error);
    int got = source ? 1 : error.status;
    if (source) {
        signal(SIGINT, stop);
        setvbuf(stdout, NULL, _IOLBF, 0); /* a decision is seen when it is made */
    }
    while (source && (got = tape_source_next(source, &message, &error)) == 1)
        on_message(&message);
    if (got < 0)
        fprintf(stderr, "moving_average: %s\n", error.text);
    int damages = source ? tape_source_damages(source) : 0;
    if (damages > 0)
        fprintf(stderr, "moving_average: %d damaged places were passed over\n", damages);
    signal(SIGINT, SIG_DFL);
    tape_source_close(source);
    return got < 0 ? tape_error_exit_code(got) : damages > 0 ? 3 : 0;
}
