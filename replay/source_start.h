/* What is given before the first message of a start in the middle: the books, as messages. */
#ifndef TAPE_REPLAY_SOURCE_START_H
#define TAPE_REPLAY_SOURCE_START_H

#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_source_start; /* opaque; one thread */

/* tape_source_start_new(paths, count, options, error): paths and options are not kept. NULL when
 * memory is short. Nothing is read before it is due and asked. */
struct tape_source_start *tape_source_start_new(const char *const *paths, int count,
                                                const struct tape_source_options *options,
                                                struct tape_error *error);
void tape_source_start_free(struct tape_source_start *start);

/* tape_source_start_seek(start, ns): the messages that come next are those from ns on. */
void tape_source_start_seek(struct tape_source_start *start, int64_t ns);

/* tape_source_start_is_due(start): 1 as long as tape_source_start_next() must be asked. */
int tape_source_start_is_due(const struct tape_source_start *start);

/* tape_source_start_next(start, message, error): 1 with the next book, borrowed until the next
 * call; 0 when there is no more: nothing is due then; or a status: then the books are not given,
 * and nothing is due either. */
int tape_source_start_next(struct tape_source_start *start, struct tape_message *message,
                           struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
