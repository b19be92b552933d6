/* How long to wait before the next dial. */
#ifndef TAPE_RECORD_BACKOFF_H
#define TAPE_RECORD_BACKOFF_H

#include <stdint.h>

enum {
    TAPE_BACKOFF_ATTEMPTS = 250,         /* dials of one process in any five minutes */
    TAPE_BACKOFF_RETRY_AFTER_S = 60 * 60 /* the longest Retry-After that is believed */
};
#define TAPE_BACKOFF_WINDOW_NS (300 * INT64_C(1000000000))

/* Full jitter: uniform between 0 and min(max, min * 2^failures), but never below a quarter of min.
 */
struct tape_backoff {
    int64_t min_ns, max_ns;
    unsigned failures; /* since the last reset */
    uint64_t random;   /* the generator's state */
};

/* tape_backoff_begin(backoff, min_ns, max_ns, seed): 0 < min_ns; a smaller max_ns counts as min_ns.
 */
void tape_backoff_begin(struct tape_backoff *backoff, int64_t min_ns, int64_t max_ns,
                        uint64_t seed);

/* tape_backoff_next(backoff): the wait after one more failure. */
int64_t tape_backoff_next(struct tape_backoff *backoff);

/* tape_backoff_reset(backoff): the connection has delivered. */
void tape_backoff_reset(struct tape_backoff *backoff);

/* tape_backoff_retry_after(seconds, date, now_ns): the wait that an HTTP Retry-After asks for, 0
 * when none: ${seconds}, or when that is -1 the time until ${date} (RFC 9110 5.6.7, the preferred
 * form) from ${now_ns} since 1970. At most TAPE_BACKOFF_RETRY_AFTER_S; a date that cannot be read
 * counts as a minute. */
int64_t tape_backoff_retry_after(int64_t seconds, const char *date, int64_t now_ns);

/* The last dials of all connections together. Zero-initialise. */
struct tape_backoff_window {
    int64_t at_ns[TAPE_BACKOFF_ATTEMPTS];
    unsigned count, next;
};

/* tape_backoff_admit(window, now_ns): 0 and counts a dial at ${now_ns}, or how long it must wait.
 */
int64_t tape_backoff_admit(struct tape_backoff_window *window, int64_t now_ns);

#endif
