/* Whether a message was given before: what tape_source_share (replay/source.h) says of duplicates.
 */
#ifndef TAPE_REPLAY_SOURCE_DUPLICATES_H
#define TAPE_REPLAY_SOURCE_DUPLICATES_H

#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_source_duplicates; /* opaque; one thread */

/* For how long, on the virtual clock, and how much is remembered. */
struct tape_source_duplicates_limits {
    int64_t id_ns, bytes_ns; /* messages with an id; those told apart by their bytes alone */
    uint64_t messages, bytes;
};
extern const struct tape_source_duplicates_limits tape_source_duplicates_default;

/* tape_source_duplicates_new(by_connection, limits, error): by_connection = 1: two connections of
 * an archive are two ways, for messages without an id, too. NULL when memory is short. */
struct tape_source_duplicates *
tape_source_duplicates_new(int by_connection, const struct tape_source_duplicates_limits *limits,
                           struct tape_error *error);
void tape_source_duplicates_free(struct tape_source_duplicates *duplicates);

/* tape_source_duplicates_reset(duplicates): as new: after a seek. */
void tape_source_duplicates_reset(struct tape_source_duplicates *duplicates);

/* tape_source_duplicates_take(duplicates, message, error): the next message of the merge: 1 when it
 * is to be given, 0 when it is a duplicate; TAPE_FAILED when memory is short. Only kind DATA is
 * ever a duplicate. */
int tape_source_duplicates_take(struct tape_source_duplicates *duplicates,
                                const struct tape_message *message, struct tape_error *error);

/* tape_source_duplicates_recount(duplicates): what was taken so far is remembered, and no longer
 * counted. */
void tape_source_duplicates_recount(struct tape_source_duplicates *duplicates);

/* tape_source_duplicates_held(duplicates): bytes of memory that what is remembered takes. */
uint64_t tape_source_duplicates_held(const struct tape_source_duplicates *duplicates);

/* As tape_source_share(). */
int tape_source_duplicates_share(struct tape_source_duplicates *duplicates, int index,
                                 struct tape_source_share *share);

#ifdef __cplusplus
}
#endif
#endif
