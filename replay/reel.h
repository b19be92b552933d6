/* The messages of one archive in order: recorded, still being recorded, or both in turn. What
 * tape_source (replay/source.h) is made of; its contracts hold here, for one archive. */
#ifndef TAPE_REPLAY_REEL_H
#define TAPE_REPLAY_REEL_H

#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_reel; /* opaque; one thread */

/* Of the options only from_ns, to_ns, stream, follow, events and spin count. */
struct tape_reel *tape_reel_open(const char *path, const struct tape_source_options *options,
                                 struct tape_error *error);
void tape_reel_close(struct tape_reel *reel);
int tape_reel_next(struct tape_reel *reel, struct tape_message *message, struct tape_error *error);
int tape_reel_try(struct tape_reel *reel, struct tape_message *message, struct tape_error *error);
int tape_reel_seek(struct tape_reel *reel, int64_t ns, struct tape_error *error);
int tape_reel_damages(const struct tape_reel *reel);
int tape_reel_damage(const struct tape_reel *reel, int index, struct tape_source_damage *damage);
void tape_reel_read_state(const struct tape_reel *reel, struct tape_source_state *state);
void tape_reel_stop(struct tape_reel *reel);

#ifdef __cplusplus
}
#endif
#endif
