/* `tape-replay play`: an archive's messages on standard output at their pace. */
#ifndef TAPE_REPLAY_PLAY_H
#define TAPE_REPLAY_PLAY_H

#include <stdio.h>

#include "format/error.h"
#include "replay/options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_play_run(options, notices, error): plays to standard output; what is worth knowing on the
 * way, and the receipt, go to notices. 0; a status with the chained text; or TAPE_CORRUPT,
 * TAPE_TORN … without a text when damage was passed over and told. Takes SIGINT, SIGTERM and
 * SIGPIPE. */
int tape_play_run(const struct tape_options *options, FILE *notices, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
