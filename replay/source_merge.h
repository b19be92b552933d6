/* Several archives as one: the heads of their reels by (recv_ns, archive), each reel in its own
 * order. */
#ifndef TAPE_REPLAY_SOURCE_MERGE_H
#define TAPE_REPLAY_SOURCE_MERGE_H

#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "replay/reel.h"
#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_source_merge; /* opaque; one thread */

/* tape_source_merge_open(paths, count, options, error): 1 to TAPE_SOURCE_ARCHIVES_MAX of them; NULL
 * on failure. */
struct tape_source_merge *tape_source_merge_open(const char *const *paths, int count,
                                                 const struct tape_source_options *options,
                                                 struct tape_error *error);
void tape_source_merge_close(struct tape_source_merge *merge);

/* tape_source_merge_only(merge): the reel where there is but one, which may then be asked directly;
 * else NULL. */
struct tape_reel *tape_source_merge_only(struct tape_source_merge *merge);

/* tape_source_merge_next(merge, waits, message, error): as tape_source_next(), or with waits = 0 as
 * tape_source_try(). *message is where its reel left it: no copy is made. */
int tape_source_merge_next(struct tape_source_merge *merge, int waits,
                           struct tape_message **message, struct tape_error *error);

/* As the functions of tape_source_ of these names, over all reels. */
int tape_source_merge_seek(struct tape_source_merge *merge, int64_t ns, struct tape_error *error);
int tape_source_merge_damages(const struct tape_source_merge *merge);
int tape_source_merge_damage(const struct tape_source_merge *merge, int index,
                             struct tape_source_damage *damage);
void tape_source_merge_read_state(const struct tape_source_merge *merge,
                                  struct tape_source_state *state);
void tape_source_merge_stop(struct tape_source_merge *merge);
int tape_source_merge_stopped(const struct tape_source_merge *merge);

#ifdef __cplusplus
}
#endif
#endif
