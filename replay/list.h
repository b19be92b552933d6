/* `tape-replay ls`: what an archive holds. */
#ifndef TAPE_REPLAY_LIST_H
#define TAPE_REPLAY_LIST_H

#include <stdio.h>

#include "format/error.h"
#include "replay/options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_list_run(options, to, error): prints a table, or with options->json one object. 0 or a
 * status. Works with index.db, without it, and while the archive is being recorded. */
int tape_list_run(const struct tape_options *options, FILE *to, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
