#include "record/backoff.h"

#include <string.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

/* splitmix64: jitter needs no secrecy. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void tape_backoff_begin(struct tape_backoff *backoff, int64_t min_ns, int64_t max_ns, uint64_t seed)
{
    backoff->min_ns = min_ns;
    backoff->max_ns = max_ns < min_ns ? min_ns : max_ns;
    backoff->failures = 0;
    backoff->random = seed;
}

int64_t tape_backoff_next(struct tape_backoff *backoff)
{
    int64_t ceiling = backoff->min_ns;
    for (unsigned i = 0; i < backoff->failures && ceiling < backoff->max_ns; i++)
        ceiling = ceiling > backoff->max_ns / 2 ? backoff->max_ns : ceiling * 2;
    if (backoff->failures < 64)
        backoff->failures++;
    int64_t floor = backoff->min_ns / 4 ? backoff->min_ns / 4 : 1;
    int64_t wait = (int64_t)(draw(&backoff->random) % ((uint64_t)ceiling + 1));
    return wait < floor ? floor : wait;
}

void tape_backoff_reset(struct tape_backoff *backoff)
{
    backoff->failures = 0;
}

int64_t tape_backoff_retry_after(int64_t seconds, const char *date, int64_t now_ns)
{
    if (seconds == 0)
        return 0;
    if (seconds < 0) {
        struct tm tm = {0};
        const char *end = strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        seconds = end && *end == '\0' ? (int64_t)timegm(&tm) - now_ns / SECOND_NS : 60;
    }
    if (seconds < 0)
        return 0;
    if (seconds > TAPE_BACKOFF_RETRY_AFTER_S)
        seconds = TAPE_BACKOFF_RETRY_AFTER_S;
    return seconds * SECOND_NS;
}

int64_t tape_backoff_admit(struct tape_backoff_window *window, int64_t now_ns)
{
    int full = window->count == TAPE_BACKOFF_ATTEMPTS;
    int64_t free_ns = window->at_ns[window->next] + TAPE_BACKOFF_WINDOW_NS;
    if (full && free_ns > now_ns)
        return free_ns - now_ns;
    window->at_ns[window->next] = now_ns;
    window->next = (window->next + 1) % TAPE_BACKOFF_ATTEMPTS;
    window->count += !full;
    return 0;
}
