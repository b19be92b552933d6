/* What every client of the benchmark measures, the same way in each: messages, CPU of the reading
 * thread from the first message to the last, and send-to-handler latency from the stamp in the
 * payload. */
#ifndef TAPE_BENCH_REPORT_H
#define TAPE_BENCH_REPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BENCH_STAMP_DIGITS = 19 };
/* A stamped payload begins with this; the send time in ns follows. */
#define BENCH_STAMP_PREFIX "{\"stream\":\"bench@bookTicker\",\"data\":{\"sent\":\""

struct bench_report {
    const char *client;
    uint64_t messages, wanted, payload_bytes;
    int64_t first_cpu_ns, first_wall_ns;
    int64_t *late_ns; /* wanted entries, NULL where latency is not asked for */
};

static inline int64_t bench_now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline int bench_compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static inline void bench_report_begin(struct bench_report *report, const char *client,
                                      uint64_t wanted, int latency)
{
    memset(report, 0, sizeof *report);
    report->client = client;
    report->wanted = wanted;
    if (latency)
        report->late_ns = (int64_t *)calloc(wanted, sizeof *report->late_ns);
}

/* The send time that a stamped payload carries, 0 where it carries none. */
static inline int64_t bench_sent_ns(const char *payload, size_t bytes)
{
    size_t prefix = sizeof BENCH_STAMP_PREFIX - 1;
    if (bytes < prefix + BENCH_STAMP_DIGITS || memcmp(payload, BENCH_STAMP_PREFIX, prefix))
        return 0;
    int64_t sent = 0;
    for (int digit = 0; digit < BENCH_STAMP_DIGITS; digit++)
        sent = sent * 10 + (payload[prefix + digit] - '0');
    return sent;
}

/* Returns 1 when the last message wanted has been counted. */
static inline int bench_report_message(struct bench_report *report, const char *payload,
                                       size_t bytes)
{
    if (report->messages == 0) {
        report->first_cpu_ns = bench_now_ns(CLOCK_THREAD_CPUTIME_ID);
        report->first_wall_ns = bench_now_ns(CLOCK_MONOTONIC);
    }
    if (report->late_ns && report->messages < report->wanted) {
        int64_t sent = bench_sent_ns(payload, bytes);
        report->late_ns[report->messages] = sent ? bench_now_ns(CLOCK_REALTIME) - sent : 0;
    }
    report->payload_bytes += bytes;
    return ++report->messages >= report->wanted;
}

static inline void bench_report_end(struct bench_report *report)
{
    int64_t cpu = bench_now_ns(CLOCK_THREAD_CPUTIME_ID) - report->first_cpu_ns;
    int64_t wall = bench_now_ns(CLOCK_MONOTONIC) - report->first_wall_ns;
    double messages = (double)(report->messages ? report->messages : 1);
    printf("{\"client\":\"%s\",\"messages\":%llu,\"payload_bytes\":%llu,\"cpu_us\":%.4f,"
           "\"wall_us\":%.4f",
           report->client, (unsigned long long)report->messages,
           (unsigned long long)report->payload_bytes, (double)cpu / 1e3 / messages,
           (double)wall / 1e3 / messages);
    if (report->late_ns && report->messages) {
        uint64_t have = report->messages < report->wanted ? report->messages : report->wanted;
        qsort(report->late_ns, have, sizeof *report->late_ns, bench_compare);
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f", (double)report->late_ns[have / 2] / 1e3,
               (double)report->late_ns[have * 99 / 100] / 1e3);
    }
    printf("}\n");
    fflush(stdout);
}

#ifdef __cplusplus
}
#endif
#endif
