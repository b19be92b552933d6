/* tape-record --prune: deletes the oldest segments of an archive that nobody records into. */
#ifndef TAPE_RECORD_PRUNE_HAND_H
#define TAPE_RECORD_PRUNE_HAND_H

#include "format/error.h"
#include "record/prune.h"

/* tape_prune_hand_run(path, limits, say, context, error): deletes until the limits hold, saying
 * what goes, a line each. The notes about it become a segment of their own. 0 or a status; what was
 * deleted until then is noted. */
int tape_prune_hand_run(const char *path, const struct tape_prune_limits *limits,
                        void (*say)(void *context, const char *words), void *context,
                        struct tape_error *error);

/* tape_prune_hand_try(path, limits, say, context, error): says what would go. Writes nothing, and
 * needs no lock. */
int tape_prune_hand_try(const char *path, const struct tape_prune_limits *limits,
                        void (*say)(void *context, const char *words), void *context,
                        struct tape_error *error);

#endif
