/*
 * The plainest replay of all, as a peer: sleep what lies between two stamps, then the next one.
 *
 *   relative LINES SPEED
 *
 * LINES: "<ns> <payload>" a line. Prints how late each was against its place in the whole, the
 * drift at the end, and the CPU, as JSON.
 */
#include "tests/bench/report.h"

int main(int argc, char **argv)
{
    FILE *lines = argc > 2 ? fopen(argv[1], "r") : NULL;
    double speed = argc > 2 ? strtod(argv[2], NULL) : 1;
    char *line = NULL;
    size_t room = 0, count = 0, space = 1 << 20;
    int64_t *late_ns = malloc(space * sizeof *late_ns), first = 0, last = 0;
    if (!lines || !late_ns) {
        fprintf(stderr, "relative: LINES SPEED\n");
        return 1;
    }
    int64_t began = bench_now_ns(CLOCK_MONOTONIC);
    while (count < space && getline(&line, &room, lines) > 0) {
        int64_t stamp = strtoll(line, NULL, 10);
        if (count == 0)
            first = last = stamp;
        int64_t gap = stamp > last ? (int64_t)((double)(stamp - last) / speed) : 0;
        struct timespec wait = {.tv_sec = gap / 1000000000, .tv_nsec = gap % 1000000000};
        if (gap > 0)
            nanosleep(&wait, NULL);
        last = stamp > last ? stamp : last;
        late_ns[count++] =
            bench_now_ns(CLOCK_MONOTONIC) - began - (int64_t)((double)(last - first) / speed);
    }
    int64_t wall = bench_now_ns(CLOCK_MONOTONIC) - began;
    int64_t drift = count ? late_ns[count - 1] : 0;
    qsort(late_ns, count, sizeof *late_ns, bench_compare);
    printf("{\"messages\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"drift_us\":%.1f,\"cpu\":%.4f}\n",
           count, count ? (double)late_ns[count / 2] / 1e3 : 0,
           count ? (double)late_ns[count * 99 / 100] / 1e3 : 0, (double)drift / 1e3,
           (double)bench_now_ns(CLOCK_PROCESS_CPUTIME_ID) / (double)(wall ? wall : 1));
    free(late_ns);
    free(line);
    fclose(lines);
    return 0;
}
