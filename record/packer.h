/* The packer thread: makes closed segments smaller while the recorder records, out of its way. */
#ifndef TAPE_RECORD_PACKER_H
#define TAPE_RECORD_PACKER_H

#include <stdint.h>

#include "format/error.h"
#include "record/store.h"

struct tape_packer_options {
    const char *path;         /* of the archive, which this process has locked */
    int has_index;            /* index.db is kept: its rows of a packed segment are replaced */
    struct tape_store *store; /* for notes */
};

struct tape_packer; /* opaque */

/* tape_packer_start(options, error): looks for closed segments at once. NULL on failure. */
struct tape_packer *tape_packer_start(const struct tape_packer_options *options,
                                      struct tape_error *error);

/* --- any thread; none of them waits for work that is under way; NULL does nothing --- */

/* tape_packer_wake(packer): a segment was sealed, or the index has got its rows. */
void tape_packer_wake(struct tape_packer *packer);

/* tape_packer_lose_index(packer): index.db will not be brought up to date any more. Nothing is
 * packed from here on: the next start would have to make the index anew. */
void tape_packer_lose_index(struct tape_packer *packer);

/* tape_packer_stop(packer): what is being packed is given up at the next block. */
void tape_packer_stop(struct tape_packer *packer);

struct tape_packer_state {
    uint32_t segments; /* packed in this session */
    uint64_t bytes_before, bytes_after;
    char trouble[256]; /* "" when there is none */
};
void tape_packer_read_state(struct tape_packer *packer, struct tape_packer_state *state);

/* tape_packer_finish(packer): stops and waits until it has; wake and lose_index still do no harm.
 */
void tape_packer_finish(struct tape_packer *packer);
void tape_packer_free(struct tape_packer *packer);

#endif
