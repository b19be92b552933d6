/* When a message is due: absolute deadlines against one anchor, never relative sleeps. */
#ifndef TAPE_REPLAY_PACE_H
#define TAPE_REPLAY_PACE_H

#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A stamp that runs back by more than this is a step of the recorder's clock: the anchor moves with
 * it, or else all that follows would be due at once until the stamps have caught up. */
#define TAPE_PACE_STEP_NS 1000000000ll
/* Later than this, whatever the cause (a stopped process), is not caught up in a burst. */
#define TAPE_PACE_STRETCH_NS 1000000000ll

/*
 * Invariants: once started, a message with stamp r is due at anchor_ns + (r - anchor_recv_ns) /
 * speed on CLOCK_MONOTONIC, but never before the message before it (last_due_ns); the anchor only
 * moves forward by stretching (counted in stretched_ns) and by clock steps (counted in steps).
 */
struct tape_pace {
    double speed; /* above 0 */
    int started;
    int64_t anchor_ns, anchor_recv_ns;
    int64_t last_recv_ns, last_due_ns;
    int64_t blocked_ns;   /* the consumer's share of the lateness, not yet settled */
    int64_t stretched_ns; /* by how much time was stretched so far */
    int64_t step_ns;      /* 0: TAPE_PACE_STEP_NS; more where stamps are not in order on purpose */
    uint64_t steps;
};

/* tape_pace_parse_speed(text, speed, error): "1", "0.1", "100", "10x"; "max" is 0. TAPE_USAGE for
 * anything else; from 0.001 to 1000000. */
int tape_pace_parse_speed(const char *text, double *speed, struct tape_error *error);

void tape_pace_begin(struct tape_pace *pace, double speed);

/* tape_pace_due(pace, recv_ns, now_ns): when the message with that stamp is due. The first one is
 * due now and is the anchor. Equal stamps are due together, smaller ones at once. */
int64_t tape_pace_due(struct tape_pace *pace, int64_t recv_ns, int64_t now_ns);

/* tape_pace_anchor(pace, recv_ns, at_ns): from now on that stamp falls on ${at_ns}, at the speed
 * that the pace has now (above 0): a change of speed, a seek, a resume. What was counted stays. */
void tape_pace_anchor(struct tape_pace *pace, int64_t recv_ns, int64_t at_ns);

/* tape_pace_at(pace, recv_ns): when that stamp falls, without taking it for a message; never before
 * the message that was due last. tape_pace_position(pace, now_ns): the stamp that falls on
 * ${now_ns}. Both once started. */
int64_t tape_pace_at(const struct tape_pace *pace, int64_t recv_ns);
int64_t tape_pace_position(const struct tape_pace *pace, int64_t now_ns);

/* tape_pace_blocked(pace, ns): a write waited that long for the consumer. */
void tape_pace_blocked(struct tape_pace *pace, int64_t ns);

/* tape_pace_settle(pace, due_ns, now_ns): if the message is late, takes the consumer's share of the
 * lateness (all of it above TAPE_PACE_STRETCH_NS) out by moving the anchor: time stretches, and
 * what follows keeps its distances. Returns the due time after that. */
int64_t tape_pace_settle(struct tape_pace *pace, int64_t due_ns, int64_t now_ns);

int64_t tape_pace_now(void); /* CLOCK_MONOTONIC */

/* tape_pace_sharpen(): asks the kernel to wake this thread within 1 ns of the time asked for. */
void tape_pace_sharpen(void);

/* tape_pace_sleep(until_ns, spin_ns): sleeps until ${spin_ns} before ${until_ns} and spins for the
 * rest; a signal ends the sleep early. Returns the time after it. */
int64_t tape_pace_sleep(int64_t until_ns, int64_t spin_ns);

#ifdef __cplusplus
}
#endif
#endif
