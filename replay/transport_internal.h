/* What the halves of a transport share: what leaves when (transport.c), and commands
 * (transport_commands.c). */
#ifndef TAPE_REPLAY_TRANSPORT_INTERNAL_H
#define TAPE_REPLAY_TRANSPORT_INTERNAL_H

#include "replay/pace.h"
#include "replay/transport.h"

/* What a paused transport was asked to let go. */
enum tape_transport_step {
    TAPE_TRANSPORT_STEPS_NOT,
    TAPE_TRANSPORT_STEPS_FRAME,
    TAPE_TRANSPORT_STEPS_TIME,      /* the next message, whatever its stamp */
    TAPE_TRANSPORT_STEPS_SAME_TIME, /* … and those with the same stamp, step_ns */
};

/*
 * Invariants: phase is never WAITING again once it was left.
 * holds = 1: held is the message that leaves next and held_ns its stamp; its bytes are the
 * source's, which is not asked before it has left. due_known = 1: the pace was asked for it, due_ns
 * is when. exhausted = 1: the source has nothing after what has left; then holds = 0. unanchored =
 * 1: the pace begins anew with the next message: anchor_ns (INT64_MIN: that message's own stamp)
 * falls on the moment at which it is asked for. frozen_ns: where time stands while PAUSED (unless
 * unanchored), and where it stood at the last step. left_ns is the stamp of the message that left
 * last, INT64_MIN before. draining = 1: the loop's end has come: what still follows from before it
 * leaves, then it is A again, though the loop be left meanwhile.
 */
struct tape_transport {
    struct tape_source *source;
    struct tape_faults_run *run; /* or NULL */
    struct tape_transport_options options;
    char *paths[TAPE_SOURCE_ARCHIVES_MAX]; /* for the span */
    int paths_count;
    struct tape_pace pace;
    struct tape_transport_item held;
    int64_t held_ns, due_ns;
    int64_t anchor_ns, frozen_ns, left_ns;
    int64_t step_ns;
    int64_t idle_ns; /* following: how long until it looks again */
    int64_t span_first_ns, span_last_ns;
    int64_t pass_began_ns;  /* of the loop: when, on the pace's clock */
    uint64_t pass_messages; /* of the loop: those that left since A */
    int holds, due_known, exhausted, unanchored, draining, span_known, flat_out;
    int begins_paused;                 /* while WAITING */
    int step;                          /* enum tape_transport_step */
    uint64_t steps_more;               /* of the same kind, asked for meanwhile */
    int stop;                          /* written by any thread or signal handler, atomically */
    struct tape_transport_state state; /* the counts, and what does not change by itself */
};

/* tape_transport_rewind(transport, ns, error): the next message is the first at or after ns. */
int tape_transport_rewind(struct tape_transport *transport, int64_t ns, struct tape_error *error);

/* tape_transport_choose_way(transport): flat_out anew, after anything that may change it. */
void tape_transport_choose_way(struct tape_transport *transport);

/* tape_transport_position(transport, now_ns): see tape_transport_state. */
int64_t tape_transport_position(const struct tape_transport *transport, int64_t now_ns);

#endif
