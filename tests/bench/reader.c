/*
 * A strategy that decides nothing, through the public calls alone:
 *
 *   reader ARCHIVE plain|ticks PASSES [MESSAGES]
 *
 * reads the archive from begin to end (or so many messages of it) PASSES times, with the ticks
 * decoded or not. Prints one JSON object: the messages of a pass, a sum over what was read, which
 * has to be the same of hot and packed, and the CPU of each pass.
 */
#include "replay/source.h"
#include "tests/bench/report.h"

static void stop(const char *words)
{
    fprintf(stderr, "reader: %s\n", words);
    exit(1);
}

/* Returns how many there were. */
static uint64_t read_all(const char *path, int decodes, uint64_t limit, uint64_t *sum)
{
    struct tape_error error = {0};
    struct tape_message message;
    struct tape_tick tick;
    struct tape_source *source = tape_source_open(path, NULL, &error);
    uint64_t messages = 0;
    int got = 1;
    if (!source)
        stop(error.text);
    while (messages < limit && (got = tape_source_next(source, &message, &error)) == 1) {
        messages++;
        *sum += (uint64_t)message.recv_ns + message.payload.bytes;
        if (decodes && tape_source_tick(&message, &tick) == 1)
            *sum += (uint64_t)tick.price.value + (uint64_t)tick.bid.value + (uint64_t)tick.id;
    }
    if (got < 0)
        stop(error.text);
    tape_source_close(source);
    return messages;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        stop("ARCHIVE plain|ticks PASSES [MESSAGES]");
    int decodes = strcmp(argv[2], "ticks") == 0, passes = (int)strtol(argv[3], NULL, 10);
    uint64_t limit = argc > 4 ? strtoull(argv[4], NULL, 10) : UINT64_MAX, messages = 0, sum = 0;
    printf("{\"cpu_ns\":[");
    for (int pass = 0; pass < passes; pass++) {
        int64_t began = bench_now_ns(CLOCK_PROCESS_CPUTIME_ID);
        sum = 0;
        messages = read_all(argv[1], decodes, limit, &sum);
        printf("%s%lld", pass ? "," : "",
               (long long)(bench_now_ns(CLOCK_PROCESS_CPUTIME_ID) - began));
    }
    printf("],\"messages\":%llu,\"sum\":%llu}\n", (unsigned long long)messages,
           (unsigned long long)sum);
    return 0;
}
