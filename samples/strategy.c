/* Prints the trades of an archive; with --follow it goes on with what is being recorded.
 * cc strategy.c $(pkg-config --cflags --libs tapedeck) -o strategy && ./strategy --follow ./tape */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <tape.h>

static void print_trade(const struct tape_message *message, const struct tape_tick *trade)
{
    printf("%" PRId64 " %.*s %.*s x %.*s\n", message->recv_ns, (int)trade->symbol.bytes,
           trade->symbol.data, (int)trade->price.text.bytes, trade->price.text.data,
           (int)trade->quantity.text.bytes, trade->quantity.text.data);
}

int main(int argc, char **argv)
{
    struct tape_source_options options = {.follow = argc > 1 && strcmp(argv[1], "--follow") == 0};
    struct tape_error error = {0};
    struct tape_message message;
    struct tape_tick tick;
    if (argc != 2 + options.follow || argv[argc - 1][0] == '-')
        return fprintf(stderr, "usage: strategy [--follow] ARCHIVE\n"), 2;
    struct tape_source *source = tape_source_open(argv[argc - 1], &options, &error);
    while (source && tape_source_next(source, &message, &error) == 1)
        if (tape_source_tick(&message, &tick) == 1 &&
            (tick.kind == TAPE_TICK_TRADE || tick.kind == TAPE_TICK_AGG_TRADE))
            print_trade(&message, &tick);
    tape_source_close(source);
    return error.status < 0 && fprintf(stderr, "%s\n", error.text) > 0;
}
