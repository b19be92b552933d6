#include "record/clock.h"

#include <sys/timex.h>
#include <time.h>

#include "format/event.h"

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t tape_clock_realtime(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t tape_clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* Both clocks at one moment: of a few tries the one that was disturbed least. */
static void read_both(int64_t *realtime, int64_t *monotonic)
{
    int64_t least = INT64_MAX;
    for (int tries = 0; tries < 4 && least > 2000; tries++) {
        int64_t before = tape_clock_monotonic();
        int64_t wall = tape_clock_realtime();
        int64_t after = tape_clock_monotonic();
        if (after - before < least) {
            least = after - before;
            *realtime = wall;
            *monotonic = before + (after - before) / 2;
        }
    }
}

int64_t tape_clock_offset(void)
{
    int64_t realtime = 0, monotonic = 0;
    read_both(&realtime, &monotonic);
    return realtime - monotonic;
}

static size_t write_sample(char *body, int64_t realtime, int64_t monotonic, int64_t step)
{
    struct timex state = {.modes = 0};
    int quality = adjtimex(&state);
    int64_t unit = state.status & STA_NANO ? 1 : 1000;
    struct tape_event_writer writer;
    tape_event_begin(&writer, body, TAPE_CLOCK_BODY_BYTES);
    tape_event_put_wide(&writer, "realtime_ns", realtime);
    tape_event_put_wide(&writer, "monotonic_ns", monotonic);
    if (quality >= 0) {
        tape_event_put_number(&writer, "state", quality);
        tape_event_put_number(&writer, "status", state.status);
        tape_event_put_wide(&writer, "offset_ns", state.offset * unit);
        tape_event_put_wide(&writer, "maxerror_ns", state.maxerror * 1000);
        tape_event_put_wide(&writer, "esterror_ns", state.esterror * 1000);
    }
    tape_event_put_wide(&writer, "step_ns", step);
    return tape_event_end(&writer);
}

size_t tape_clock_look(struct tape_clock *clock, char *body, int64_t *realtime_ns)
{
    int64_t realtime = 0, monotonic = 0, step = 0;
    read_both(&realtime, &monotonic);
    int64_t offset = realtime - monotonic;
    if (clock->looked) {
        int64_t moved = offset - clock->offset_ns;
        int64_t allowed =
            TAPE_CLOCK_STEP_NS + ((monotonic - clock->monotonic_ns) >> TAPE_CLOCK_SLEW_SHIFT);
        if (moved > allowed || moved < -allowed)
            step = moved;
    }
    int due = !clock->looked || monotonic - clock->sampled_ns >= TAPE_CLOCK_SAMPLE_NS;
    clock->looked = 1;
    clock->offset_ns = offset;
    clock->monotonic_ns = monotonic;
    if (!due && step == 0)
        return 0;
    clock->sampled_ns = monotonic;
    *realtime_ns = realtime;
    return write_sample(body, realtime, monotonic, step);
}
