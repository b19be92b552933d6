/* Messages by the venue's event time: a bounded look ahead. */
#ifndef TAPE_REPLAY_SOURCE_AHEAD_H
#define TAPE_REPLAY_SOURCE_AHEAD_H

#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_source_ahead; /* opaque; one thread */

struct tape_source_ahead_limits {
    int64_t ahead_ns; /* of replay time, from the oldest message held to the newest */
    uint64_t bytes;   /* of messages held */
};
extern const struct tape_source_ahead_limits tape_source_ahead_default;

struct tape_source_ahead *tape_source_ahead_new(const struct tape_source_ahead_limits *limits,
                                                struct tape_error *error);
void tape_source_ahead_free(struct tape_source_ahead *ahead);

/* tape_source_ahead_reset(ahead): forgets what it holds: after a seek. */
void tape_source_ahead_reset(struct tape_source_ahead *ahead);

/* tape_source_ahead_wants(ahead): 1 when it should be shown more before something is taken. */
int tape_source_ahead_wants(const struct tape_source_ahead *ahead);

/* tape_source_ahead_put(ahead, message, error): the next one received; copied. 0 or TAPE_FAILED. */
int tape_source_ahead_put(struct tape_source_ahead *ahead, const struct tape_message *message,
                          struct tape_error *error);

/* tape_source_ahead_take(ahead, message): 1 with the first of those held by (event time, as put),
 * borrowed until the next put or take; 0: none. A message without an event time has that of the
 * message put before it. */
int tape_source_ahead_take(struct tape_source_ahead *ahead, struct tape_message **message);

/* tape_source_ahead_late(ahead): how many were put when a later event had been taken. */
uint64_t tape_source_ahead_late(const struct tape_source_ahead *ahead);

#ifdef __cplusplus
}
#endif
#endif
