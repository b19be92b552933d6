/* `tape-replay verify`: every checksum and count of an archive. Reports, never repairs. */
#ifndef TAPE_REPLAY_VERIFY_H
#define TAPE_REPLAY_VERIFY_H

#include <stdio.h>

#include "format/error.h"
#include "replay/options.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_verify_run(options, to, error): prints findings and a summary, or one JSON object. 0: no
 * damage; TAPE_CORRUPT, TAPE_TORN, TAPE_MISSING or TAPE_FOREIGN without a text: damage was found
 * and told; another status with the chained text: the archive could not be read. */
int tape_verify_run(const struct tape_options *options, FILE *to, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
