/* The pruner thread: deletes the oldest segments while the recorder records, out of its way. */
#ifndef TAPE_RECORD_PRUNE_LIVE_H
#define TAPE_RECORD_PRUNE_LIVE_H

#include <stdint.h>

#include "format/error.h"
#include "record/prune.h"

struct tape_store;

struct tape_prune_live_options {
    const char *path; /* of the archive, which this process has locked */
    struct tape_prune_limits limits;
    int has_index;            /* index.db is kept */
    int sync_itself;          /* what the store calls durable is not: sync before each deletion */
    struct tape_store *store; /* for notes */
};

struct tape_prune_live; /* opaque */

/* tape_prune_live_start(options, error): looks at once, then every minute and when it is woken.
 * NULL on failure. */
struct tape_prune_live *tape_prune_live_start(const struct tape_prune_live_options *options,
                                              struct tape_error *error);

/* --- any thread; none of them waits for work that is under way; NULL does nothing --- */

/* tape_prune_live_stop(pruner): nothing is deleted from here on but what has its note. */
void tape_prune_live_stop(struct tape_prune_live *pruner);

struct tape_prune_live_state {
    uint64_t segments; /* deleted in this session */
    char last[256];    /* the last of them in words */
    char trouble[256]; /* "" when there is none */
};
void tape_prune_live_read_state(struct tape_prune_live *pruner,
                                struct tape_prune_live_state *state);

/* tape_prune_live_finish(pruner): once nothing more becomes durable, and before the store's sync
 * thread ends: stops, and waits until it has. */
void tape_prune_live_finish(struct tape_prune_live *pruner);

/* tape_prune_live_free(pruner): after that thread has ended, for only then does the index hold
 * all that was recorded: prunes it of what it still owes. */
void tape_prune_live_free(struct tape_prune_live *pruner);

#endif
