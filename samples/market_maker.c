/* A toy market maker: quotes at the best bid and ask of each book, one lot, never more than three
 * lots long or short, and leaves a side out while the other one weighs three times as much. A trade
 * at its price or through it counts as a fill. The same program on a recording, on one that is
 * being recorded, and on several recordings of one feed:
 *
 *   cc market_maker.c $(pkg-config --cflags --libs tapedeck) -o market_maker
 *   ./market_maker ./tape                        replay of an archive
 *   ./market_maker --from +10m ./tape            ... from the middle: the books come first
 *   ./market_maker --follow ./tape               the same from the beginning, then live
 *
 * It prints its decisions: replay time, ordinal, symbol, what. It asks no clock but that of the
 * messages, and calculates in whole numbers: the same frames give the same lines. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tape.h>

/* Of two recordings of one feed the second brings late what the first has missed. */
#define LATE_NS 10000000000ll
enum { MARKETS_MAX = 64, NAME_MAX_BYTES = 32, LOTS_MAX = 3, LEVELS = 5, LEAN = 3 };

struct market {
    char symbol[NAME_MAX_BYTES]; /* as in stream names: "btcusdt" */
    char depth[NAME_MAX_BYTES];  /* the depth stream that its book is made of: the first seen */
    struct tape_book *book;      /* NULL before it */
    int64_t bid, ask;            /* our quotes in 1/10^8; 0: none */
    int lots;
    int was_known; /* 1: its book was, at some time */
};

static struct market markets[MARKETS_MAX];
static int market_count;
static struct tape_source *source;

static void stop(int signal_number)
{
    (void)signal_number;
    tape_source_stop(source); /* a waiting tape_source_next() returns 0 */
}

static int is_named(const char *name, struct tape_slice text)
{
    return strlen(name) == text.bytes && memcmp(name, text.data, text.bytes) == 0;
}

/* The market of a stream: what stands before the '@'. NULL for a stream without a name. */
static struct market *market_of(struct tape_slice stream)
{
    struct tape_slice symbol = {stream.data, 0};
    while (symbol.bytes < stream.bytes && stream.data[symbol.bytes] != '@')
        symbol.bytes++;
    for (int i = 0; i < market_count; i++)
        if (is_named(markets[i].symbol, symbol))
            return &markets[i];
    if (market_count == MARKETS_MAX || symbol.bytes == 0 || symbol.bytes >= NAME_MAX_BYTES)
        return NULL;
    memcpy(markets[market_count].symbol, symbol.data, symbol.bytes);
    return &markets[market_count++];
}

/* 1 when the market's book is made of this stream. */
static int has_book(struct market *market, struct tape_slice stream)
{
    if (market->book || stream.bytes == 0 || stream.bytes >= NAME_MAX_BYTES)
        return market->book && is_named(market->depth, stream);
    memcpy(market->depth, stream.data, stream.bytes);
    market->book = tape_book_for(NULL, market->depth, NULL); /* the rule is found by the name */
    if (market->book)
        tape_book_wait_for(market->book, LATE_NS);
    return market->book != NULL;
}

/* In 1/10^8; 0 for what is no number, or too large to add some of them. */
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
    return value > 0 && value < INT64_MAX / 64 ? value : 0;
}

static void tell(const struct tape_message *message, const struct market *market, const char *what,
                 const char *more)
{
    printf("%" PRId64 " %" PRIu64 " %s %s %s\n", message->replay_ns, message->ordinal,
           market->symbol, what, more);
}

static void print_price(char *to, size_t room, int64_t price)
{
    if (price)
        snprintf(to, room, "%" PRId64 ".%08" PRId64, price / 100000000, price % 100000000);
    else
        snprintf(to, room, "-");
}

/* Both quotes, told when one of them has changed. */
static void quote(const struct tape_message *message, struct market *market, int64_t bid,
                  int64_t ask)
{
    char bid_text[32], ask_text[32], text[96];
    if (bid == market->bid && ask == market->ask)
        return;
    market->bid = bid;
    market->ask = ask;
    print_price(bid_text, sizeof bid_text, bid);
    print_price(ask_text, sizeof ask_text, ask);
    snprintf(text, sizeof text, "%s %s", bid_text, ask_text);
    tell(message, market, "QUOTE", text);
}

/* The quantity of the best levels of a side; *best is the price of the first. */
static int64_t weigh(const struct tape_book *book, int side, int64_t *best)
{
    struct tape_book_level level;
    int64_t sum = 0;
    *best = 0;
    for (size_t i = 0; i < LEVELS && tape_book_level(book, side, i, &level) == 1; i++) {
        sum += fixed_point(&level.quantity);
        if (i == 0)
            *best = fixed_point(&level.price);
    }
    return sum;
}

static void on_book(const struct tape_message *message, struct market *market)
{
    int64_t bid = 0, ask = 0;
    if (tape_book_state(market->book) != TAPE_BOOK_KNOWN) {
        if (market->bid || market->ask)
            tell(message, market, "BLIND", tape_book_cause(market->book));
        quote(message, market, 0, 0);
        return;
    }
    market->was_known = 1;
    int64_t bids = weigh(market->book, 0, &bid), asks = weigh(market->book, 1, &ask);
    if (market->lots >= LOTS_MAX || asks / LEAN > bids)
        bid = 0;
    if (market->lots <= -LOTS_MAX || bids / LEAN > asks)
        ask = 0;
    quote(message, market, bid, ask);
}

static void on_depth(const struct tape_message *message, struct market *market,
                     const struct tape_tick *tick)
{
    struct tape_error error;
    /* After a start in the middle: the book as it was then, or that nobody knows it. */
    int is_state = message->kind == TAPE_FEED_STATE;
    if ((is_state ? tape_book_restore : tape_book_apply)(market->book, tick, &error) < 0)
        fprintf(stderr, "market_maker: %s: %s\n", market->symbol, error.text);
    on_book(message, market);
}

static void on_trade(const struct tape_message *message, struct market *market, int64_t price)
{
    int is_bought = market->bid && price && price <= market->bid;
    int is_sold = market->ask && price >= market->ask;
    char text[32];
    if (!is_bought && !is_sold)
        return;
    market->lots += is_bought ? 1 : -1;
    snprintf(text, sizeof text, "%d", market->lots);
    tell(message, market, is_bought ? "BOUGHT" : "SOLD", text);
    on_book(message, market);
}

/* What the recorder fetched: {"url":...,"stream":"btcusdt@depth@100ms"}, a newline, REST's answer.
 */
static void on_snapshot(const struct tape_message *message)
{
    const char *text = message->payload.data;
    const char *body = text ? memchr(text, '\n', message->payload.bytes) : NULL;
    struct tape_tick tick;
    if (!body)
        return;
    size_t head = (size_t)(++body - text);
    if (tape_tick_decode(body, message->payload.bytes - head, &tick) != 1)
        return;
    for (int i = 0; i < market_count; i++) {
        char key[NAME_MAX_BYTES + 16];
        size_t bytes = (size_t)snprintf(key, sizeof key, "\"stream\":\"%s\"", markets[i].depth);
        for (size_t at = 0; markets[i].book && at + bytes <= head; at++)
            if (memcmp(text + at, key, bytes) == 0)
                on_depth(message, &markets[i], &tick);
    }
}

static void on_message(const struct tape_message *message)
{
    struct tape_tick tick;
    int is_state = message->kind == TAPE_FEED_STATE;
    if (message->kind == TAPE_FEED_EVENT && message->record_kind == TAPE_RECORD_SNAPSHOT)
        on_snapshot(message);
    if (!is_state && message->kind != TAPE_FEED_DATA)
        return;
    tape_source_tick(message, &tick);
    struct market *market = market_of(message->stream);
    if (!market && tick.kind == TAPE_TICK_DEPTH_SNAPSHOT && market_count == 1 && markets->book)
        on_depth(message, markets, &tick); /* REST's answer, in a capture of one symbol */
    if (!market)
        return;
    if (is_state || tick.kind == TAPE_TICK_DEPTH || tick.kind == TAPE_TICK_DEPTH_SNAPSHOT) {
        if (has_book(market, message->stream))
            on_depth(message, market, &tick);
    } else if (tick.kind == TAPE_TICK_TRADE || tick.kind == TAPE_TICK_AGG_TRADE) {
        on_trade(message, market, fixed_point(&tick.price));
    }
}

/* Why nothing was quoted, for whoever wonders. */
static void tell_unknown(void)
{
    if (market_count == 0)
        fprintf(stderr, "market_maker: no book was ever known: no stream with a symbol came\n");
    for (int i = 0; i < market_count; i++)
        if (!markets[i].was_known)
            fprintf(stderr, "market_maker: %s: no book was ever known: %s\n", markets[i].symbol,
                    markets[i].book ? tape_book_cause(markets[i].book) : "no depth stream came");
}

static int run(char **archives, int count, const struct tape_source_options *options)
{
    struct tape_error error = {0};
    struct tape_message message;
    int got;
    source = tape_source_open_all((const char *const *)archives, count, options, &error);
    if (!source) {
        fprintf(stderr, "market_maker: %s\n", error.text);
        return tape_error_exit_code(error.status);
    }
    signal(SIGINT, stop);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a decision is seen when it is made */
    while ((got = tape_source_next(source, &message, &error)) == 1)
        on_message(&message);
    if (got < 0)
        fprintf(stderr, "market_maker: %s\n", error.text);
    int damages = tape_source_damages(source);
    if (damages > 0)
        fprintf(stderr, "market_maker: %d damaged places were passed over\n", damages);
    signal(SIGINT, SIG_DFL);
    tape_source_close(source);
    if (got == 0)
        tell_unknown();
    for (int i = 0; i < market_count; i++)
        tape_book_free(markets[i].book);
    return got < 0 ? tape_error_exit_code(got) : damages > 0 ? 3 : 0;
}

int main(int argc, char **argv)
{
    struct tape_source_options options = {.events = 1}; /* events: the recorder's snapshots */
    struct tape_error error;
    const char *from = NULL;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--follow") == 0)
            options.follow = 1;
        else if (strcmp(argv[at], "--from") == 0 && at + 1 < argc)
            from = argv[++at];
        else
            break;
    }
    if (at >= argc || argv[at][0] == '-') {
        fprintf(stderr, "usage: market_maker [--follow] [--from TIME] ARCHIVE...\n");
        return 2;
    }
    if (from && tape_source_time((const char *const *)argv + at, argc - at, from, &options.from_ns,
                                 &error) < 0) {
        fprintf(stderr, "market_maker: --from: %s\n", error.text);
        return tape_error_exit_code(error.status);
    }
    return run(argv + at, argc - at, &options);
}
