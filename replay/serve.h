/* `tape-replay serve`: archives to WebSocket clients, on the venue's own paths. */
#ifndef TAPE_REPLAY_SERVE_H
#define TAPE_REPLAY_SERVE_H

#include <stdio.h>

#include "format/error.h"
#include "replay/options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_serve_run(options, notices, error): serves until SIGINT, SIGTERM or SIGHUP (unless that is
 * ignored), or as --at-end says; the address, what is worth knowing and the receipts go to notices,
 * as far as they are read. As tape_play_run(). */
int tape_serve_run(const struct tape_options *options, FILE *notices, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
