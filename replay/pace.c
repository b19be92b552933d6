#include "replay/pace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define PACE_SPEED_MIN 0.001
#define PACE_SPEED_MAX 1000000.0
/* Far enough for any archive, near enough that sums of two of them fit. */
#define PACE_FAR_NS (INT64_MAX / 4)

int tape_pace_parse_speed(const char *text, double *speed, struct tape_error *error)
{
    if (strcmp(text, "max") == 0) {
        *speed = 0;
        return 0;
    }
    size_t digits = strspn(text, "0123456789.");
    char *end = NULL;
    if (digits > 0 && digits < 32)
        *speed = strtod(text, &end);
    if (end && end == text + digits && (strcmp(end, "") == 0 || strcmp(end, "x") == 0) &&
        *speed >= PACE_SPEED_MIN && *speed <= PACE_SPEED_MAX)
        return 0;
    return tape_error_set(error, TAPE_USAGE,
                          "\"%.100s\" is not a speed: write max or a number from 0.001 to 1000000",
                          text);
}

void tape_pace_begin(struct tape_pace *pace, double speed)
{
    *pace = (struct tape_pace){.speed = speed};
}

static int64_t clamp(__int128 ns)
{
    return ns > PACE_FAR_NS ? PACE_FAR_NS : ns < -PACE_FAR_NS ? -PACE_FAR_NS : (int64_t)ns;
}

/* The distance from the anchor on the replay's clock. At 1 it is exact; elsewhere long double has
 * 64 bits of mantissa, so that centuries lose no nanosecond. */
static int64_t scaled(const struct tape_pace *pace, int64_t recv_ns)
{
    __int128 distance = (__int128)recv_ns - pace->anchor_recv_ns;
    if (pace->speed == 1)
        return clamp(distance);
    long double slowed = (long double)distance / (long double)pace->speed;
    if (slowed > (long double)PACE_FAR_NS || slowed < -(long double)PACE_FAR_NS)
        return slowed > 0 ? PACE_FAR_NS : -PACE_FAR_NS;
    return (int64_t)(slowed + (slowed < 0 ? -0.5l : 0.5l));
}

int64_t tape_pace_due(struct tape_pace *pace, int64_t recv_ns, int64_t now_ns)
{
    if (!pace->started) {
        pace->started = 1;
        pace->anchor_ns = pace->last_due_ns = now_ns;
        pace->anchor_recv_ns = pace->last_recv_ns = recv_ns;
        return now_ns;
    }
    int64_t step_ns = pace->step_ns > 0 ? pace->step_ns : TAPE_PACE_STEP_NS;
    if ((__int128)pace->last_recv_ns - recv_ns > step_ns) {
        pace->steps++;
        pace->anchor_ns = pace->last_due_ns;
        pace->anchor_recv_ns = recv_ns;
    }
    pace->last_recv_ns = recv_ns;
    pace->last_due_ns = tape_pace_at(pace, recv_ns);
    return pace->last_due_ns;
}

void tape_pace_anchor(struct tape_pace *pace, int64_t recv_ns, int64_t at_ns)
{
    pace->started = 1;
    pace->anchor_ns = pace->last_due_ns = at_ns;
    pace->anchor_recv_ns = pace->last_recv_ns = recv_ns;
    pace->blocked_ns = 0;
}

int64_t tape_pace_at(const struct tape_pace *pace, int64_t recv_ns)
{
    int64_t at_ns = clamp((__int128)pace->anchor_ns + scaled(pace, recv_ns));
    return at_ns < pace->last_due_ns ? pace->last_due_ns : at_ns;
}

int64_t tape_pace_position(const struct tape_pace *pace, int64_t now_ns)
{
    __int128 passed = (__int128)now_ns - pace->anchor_ns;
    if (pace->speed != 1) {
        long double scaled_ns = (long double)passed * (long double)pace->speed;
        if (scaled_ns > (long double)PACE_FAR_NS || scaled_ns < -(long double)PACE_FAR_NS)
            return scaled_ns > 0 ? INT64_MAX : INT64_MIN;
        passed = (__int128)scaled_ns;
    }
    passed += pace->anchor_recv_ns;
    return passed > INT64_MAX ? INT64_MAX : passed < INT64_MIN ? INT64_MIN : (int64_t)passed;
}

void tape_pace_blocked(struct tape_pace *pace, int64_t ns)
{
    pace->blocked_ns += ns;
}

int64_t tape_pace_settle(struct tape_pace *pace, int64_t due_ns, int64_t now_ns)
{
    int64_t late_ns = now_ns - due_ns, shift_ns = 0;
    if (late_ns > 0)
        shift_ns = late_ns > TAPE_PACE_STRETCH_NS ? late_ns
                   : late_ns < pace->blocked_ns   ? late_ns
                                                  : pace->blocked_ns;
    pace->blocked_ns = 0;
    pace->anchor_ns += shift_ns;
    pace->last_due_ns += shift_ns;
    pace->stretched_ns += shift_ns;
    return due_ns + shift_ns;
}

int64_t tape_pace_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

void tape_pace_sharpen(void)
{
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
}

int64_t tape_pace_sleep(int64_t until_ns, int64_t spin_ns)
{
    int64_t wake_ns = until_ns - spin_ns, now_ns = tape_pace_now();
    if (wake_ns > now_ns) {
        struct timespec wake = {.tv_sec = wake_ns / 1000000000, .tv_nsec = wake_ns % 1000000000};
        if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL) == EINTR)
            return tape_pace_now();
        now_ns = tape_pace_now();
    }
    while (now_ns < until_ns && until_ns - now_ns <= spin_ns)
        now_ns = tape_pace_now();
    return now_ns;
}
