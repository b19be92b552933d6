/* The transport of a player: which message leaves when. Source, faults, pace and commands (pause,
 * step, seek, loop, speed) in one; whoever drives it brings the output. */
#ifndef TAPE_REPLAY_TRANSPORT_H
#define TAPE_REPLAY_TRANSPORT_H

#include <stdint.h>

#include "format/error.h"
#include "replay/faults.h"
#include "replay/lateness.h"
#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_TRANSPORT_COMMAND(name, word, meaning) */
#define TAPE_TRANSPORT_COMMAND_TABLE(X)                                                            \
    X(PAUSE, "pause", "nothing leaves until resume")                                               \
    X(RESUME, "resume", "on from where it stands")                                                 \
    X(SPEED, "speed", "from here on at that speed; 0 is max")                                      \
    X(STEP_FRAME, "step-frame", "paused: the next message")                                        \
    X(STEP_TIME, "step-time", "paused: all messages of the next stamp")                            \
    X(SEEK, "seek", "to a time; the state of the books first")                                     \
    X(LOOP, "loop", "from B back to A, again and again")                                           \
    X(UNLOOP, "unloop", "no longer")

enum tape_transport_command_kind {
#define TAPE_TRANSPORT_COMMAND_ENUM(name, word, meaning) TAPE_TRANSPORT_##name,
    TAPE_TRANSPORT_COMMAND_TABLE(TAPE_TRANSPORT_COMMAND_ENUM)
#undef TAPE_TRANSPORT_COMMAND_ENUM
};

struct tape_transport_command {
    int kind;
    double speed;       /* SPEED; 0: max */
    int64_t ns, end_ns; /* SEEK: ns; LOOP: [ns, end_ns) */
};

/* TAPE_TRANSPORT_PHASE(name, word) */
#define TAPE_TRANSPORT_PHASE_TABLE(X)                                                              \
    X(WAITING, "waiting") /* for its start: see started */                                         \
    X(PLAYING, "playing")                                                                          \
    X(PAUSED, "paused")                                                                            \
    X(ENDED, "ended")

enum tape_transport_phase {
#define TAPE_TRANSPORT_PHASE_ENUM(name, word) TAPE_TRANSPORT_PHASE_##name,
    TAPE_TRANSPORT_PHASE_TABLE(TAPE_TRANSPORT_PHASE_ENUM)
#undef TAPE_TRANSPORT_PHASE_ENUM
};

struct tape_transport_options {
    double speed;         /* 0: max */
    int paused;           /* 1: begins paused */
    int waits;            /* 1: begins WAITING, until tape_transport_start() */
    int loop;             /* 1: from to_ns (or the end) back to from_ns (or the begin) */
    int64_t drop_late_ns; /* 0: nothing is dropped; else what is later than that is, and time is
                             not stretched */
    int64_t max_late_ns;  /* 0: not asked for; else what is later than that is counted: see
                             tape_transport_check_late() */
    int (*wants)(void *context, const struct tape_message *message); /* NULL: all; what it does not
                             want is as if it were not in the archive */
    void *wants_context;
    const struct tape_faults *faults;  /* NULL: none; must outlive it */
    struct tape_source_options source; /* from_ns, to_ns … */
};

/* What leaves. */
struct tape_transport_item {
    struct tape_message message; /* action DELIVER: borrowed until the next call */
    int action;                  /* enum tape_faults_action */
    uint32_t connection;         /* CUT: the recorded one */
    uint16_t close_code;         /* CUT: as of tape_faults_item */
    int64_t due_ns;  /* CLOCK_MONOTONIC; TAPE_TRANSPORT_NO_DUE at speed max and when stepped */
    int64_t late_ns; /* how long after it was due it leaves, with what time is stretched by for its
                        sake (due_ns is without that); 0 where there is no due time */
};
#define TAPE_TRANSPORT_NO_DUE INT64_MIN

struct tape_transport; /* opaque; one thread */

/* tape_transport_open(paths, count, options, error): NULL on failure. The first message is due when
 * it is first asked for (or at the start, where it waits). */
struct tape_transport *tape_transport_open(const char *const *paths, int count,
                                           const struct tape_transport_options *options,
                                           struct tape_error *error);
void tape_transport_close(struct tape_transport *transport);

/* What is before, at and after the commands: a message is due when its stamp (recv_ns; of a STATE
 * replay_ns; where faults delay it, later) falls. Time runs between messages and through gaps.
 *   pause, resume: time stands still between the two. speed: from where time stands.
 *   seek: time stands at the time sought, and runs from there (of a paused one: with resume).
 *   loop: when time reaches B (or the last message), it is A again. What has a stamp outside [A, B)
 *   does not leave, however the recorder's clock wandered by less than a second. A seek out of the
 *   loop is refused. */

/*
 * tape_transport_next(transport, now_ns, item, until_ns, error): 1 with what leaves now: ask again
 * at once; 2: nothing leaves before *until_ns on CLOCK_MONOTONIC (INT64_MAX: before a command or
 * start; following: when to look again); 0 at the end (a seek or loop can still begin anew);
 * negative: reading failed. Never sleeps. Each message once, in order; with drop_late_ns late ones
 * are counted instead.
 */
int tape_transport_next(struct tape_transport *transport, int64_t now_ns,
                        struct tape_transport_item *item, int64_t *until_ns,
                        struct tape_error *error);

/* tape_transport_command(transport, command, now_ns, error): 0, TAPE_USAGE (a time outside of what
 * is played, a step while playing …), or reading failed. */
int tape_transport_command(struct tape_transport *transport,
                           const struct tape_transport_command *command, int64_t now_ns,
                           struct tape_error *error);

/* tape_transport_start(transport, now_ns): ends WAITING: the first message is due now. */
void tape_transport_start(struct tape_transport *transport, int64_t now_ns);

/* tape_transport_blocked(transport, ns): the consumer was waited for that long: time stretches. */
void tape_transport_blocked(struct tape_transport *transport, int64_t ns);

struct tape_transport_state {
    int phase;
    double speed;
    int64_t position_ns; /* of the recording, as time passes, never beyond the next message;
                            INT64_MIN: not known yet */
    int64_t replay_ns;   /* tape_source_now(): of the message that left last; INT64_MIN: none */
    uint64_t ordinal;    /* of that message */
    int64_t from_ns, to_ns, loop_from_ns, loop_to_ns; /* 0: open or none */
    uint64_t messages, dropped_late, state_messages, loops, seeks;
    uint64_t backlog, backlog_max; /* messages in a row that left more than 1 ms late */
    int64_t stretched_ns;
    uint64_t clock_steps;
    struct tape_lateness lateness;
    struct tape_faults_totals faults;
    int looping;
    uint64_t commands;
    uint64_t too_late; /* what was later than max_late_ns, and a wait for the consumer that was */
    int64_t too_late_ns, too_late_first_ns; /* the most; the recv_ns of the first */
    uint64_t too_late_ordinal;              /* of the first */
};
void tape_transport_read_state(struct tape_transport *transport, int64_t now_ns,
                               struct tape_transport_state *state);

/* tape_transport_span(transport, first_ns, last_ns, error): the stamps between which it can be
 * sought: of the archives, cut to from_ns and to_ns (the last one is then to_ns - 1). Read from the
 * index once; following: each time. Both 0 when there is no message. */
int tape_transport_span(struct tape_transport *transport, int64_t *first_ns, int64_t *last_ns,
                        struct tape_error *error);

/* tape_transport_check_late(transport, error): 0, or TAPE_FAILED when something was later than
 * max_late_ns, with how much, how many and which first. */
int tape_transport_check_late(const struct tape_transport *transport, struct tape_error *error);

const char *tape_transport_phase_word(int phase);
const char *tape_transport_command_word(int kind);

/* tape_transport_source(transport): for damages, shares and its state. */
struct tape_source *tape_transport_source(struct tape_transport *transport);

/* tape_transport_stop(transport): the next tape_transport_next() returns 0. Async-signal-safe. */
void tape_transport_stop(struct tape_transport *transport);

#ifdef __cplusplus
}
#endif
#endif
