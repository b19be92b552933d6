/* What the parts of `play` share: the loop (play.c), setting up (play_setup.c), what is told on the
 * way and at the end (play_tell.c), keys (play_keys.c) and the endpoint (play_control.c). */
#ifndef TAPE_REPLAY_PLAY_INTERNAL_H
#define TAPE_REPLAY_PLAY_INTERNAL_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>

#include "replay/options.h"
#include "replay/output.h"
#include "replay/receipt.h"
#include "replay/server.h"
#include "replay/status_line.h"
#include "replay/transport.h"

/*
 * Invariants: transport and output are open once tape_play_open() gave 0. commands counts what keys
 * and endpoint have changed: whoever waits asks the transport again when it has moved. damages_told
 * and overruns_told are those that the notices have.
 */
struct tape_play {
    const struct tape_options *options;
    FILE *notices;
    struct tape_transport *transport;
    struct tape_output *output;
    struct tape_faults *faults; /* or NULL */
    struct tape_server *server; /* or NULL: no endpoint */
    struct tape_status_line line;
    int64_t spin_ns;
    int has_keys, quit;
    int64_t attended_ns;
    uint64_t commands;
    int64_t mark_from_ns, mark_to_ns; /* the keys' A and B; 0: not set */
    int damages_told;
    uint64_t overruns_told;
    int met;                               /* a recorder was seen alive */
    int64_t waiting_since_ns, reminded_ns; /* for a recorder that died; 0: not waiting; not told */
    struct tape_receipt receipt;
    int receipt_fd;
};

/* tape_play_idle(play): what tape_output_options asks for: keys and endpoint are heeded though the
 * consumer does not read. */
int tape_play_idle(void *play);

/* tape_play_open(play, stop, error): source, faults, output, receipt file, keys, endpoint; 0 or a
 * status. stop interrupts writes. */
int tape_play_open(struct tape_play *play, const volatile sig_atomic_t *stop,
                   struct tape_error *error);
void tape_play_close(struct tape_play *play);

/* tape_play_notices(play): where notices go, with nothing of the status line in the way. */
FILE *tape_play_notices(struct tape_play *play);
void tape_play_tell_damages(struct tape_play *play);
void tape_play_tell_follow(struct tape_play *play); /* what a follower should say as it goes */
/* Beside the receipt: what a dead recorder left, and an answer without messages. */
void tape_play_tell_left(struct tape_play *play);
void tape_play_tell_apart(struct tape_play *play);
void tape_play_tell_nothing_matched(struct tape_play *play);

/* tape_play_heed_keys(play, now_ns): does what was pressed. */
void tape_play_heed_keys(struct tape_play *play, int64_t now_ns);

/* tape_play_listen(play, error): opens the endpoint of --control. */
int tape_play_listen(struct tape_play *play, struct tape_error *error);

#endif
