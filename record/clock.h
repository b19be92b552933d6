/* The machine's clock, watched: how good it is, and when it steps. */
#ifndef TAPE_RECORD_CLOCK_H
#define TAPE_RECORD_CLOCK_H

#include <stddef.h>
#include <stdint.h>

enum { TAPE_CLOCK_BODY_BYTES = 512 };
#define TAPE_CLOCK_SAMPLE_NS  60000000000ll /* a sample each minute, or at a step */
#define TAPE_CLOCK_STEP_NS    1000000ll     /* more than this between two looks is a step … */
#define TAPE_CLOCK_SLEW_SHIFT 10 /* … beside 1/1024 of the time between them: slewing */

/* Zero-initialise. Invariant: offset_ns is realtime - monotonic at monotonic_ns, the last look;
 * sampled_ns is the monotonic time of the last sample given. */
struct tape_clock {
    int looked;
    int64_t offset_ns, monotonic_ns, sampled_ns;
};

/* tape_clock_look(clock, body, realtime_ns): reads the clocks; when a sample is due or the clock
 * has stepped, writes a CLOCK record's body into ${body} (TAPE_CLOCK_BODY_BYTES), its time into
 * ${realtime_ns}, and returns its length; else 0. */
size_t tape_clock_look(struct tape_clock *clock, char *body, int64_t *realtime_ns);

/* tape_clock_realtime(), tape_clock_monotonic(): ns. */
int64_t tape_clock_realtime(void);
int64_t tape_clock_monotonic(void);

/* tape_clock_offset(): realtime - monotonic now, taken together. */
int64_t tape_clock_offset(void);

#endif
