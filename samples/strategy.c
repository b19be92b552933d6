/* Prints the trades of an archive, or of one that is being recorded now (second argument: live).
 * cc strategy.c $(pkg-config --cflags --libs tapedeck) && ./a.out ./tape live */
#include <inttypes.h>
#include <stdio.h>
#include <tape.h>

static void print_trade(const struct tape_message *message, const struct tape_tick *trade)
{
    printf("%" PRId64 " %.*s %.*s x %.*s\n", message->recv_ns, (int)trade->symbol.bytes,
           trade->symbol.data, (int)trade->price.text.bytes, trade->price.text.data,
           (int)trade->quantity.text.bytes, trade->quantity.text.data);
}

int main(int argc, char **argv)
{
    struct tape_source_options options = {.follow = argc > 2};
    struct tape_error error = {0};
    struct tape_message message;
    struct tape_tick tick;
    struct tape_source *source = tape_source_open(argc > 1 ? argv[1] : "tape", &options, &error);
    while (source && tape_source_next(source, &message, &error) == 1)
        if (tape_source_tick(&message, &tick) == 1 &&
            (tick.kind == TAPE_TICK_TRADE || tick.kind == TAPE_TICK_AGG_TRADE))
            print_trade(&message, &tick);
    if (error.status < 0)
        fprintf(stderr, "%s\n", error.text);
    tape_source_close(source);
    return error.status < 0;
}
