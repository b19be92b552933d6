/* What was given before a start in the middle: its copies are duplicates there, too. Private to the
 * source files. */
#ifndef TAPE_REPLAY_SOURCE_PAST_H
#define TAPE_REPLAY_SOURCE_PAST_H

#include <stdint.h>

#include "format/error.h"
#include "replay/source.h"
#include "replay/source_duplicates.h"
#include "replay/source_merge.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_source_past; /* opaque; one thread */

/* tape_source_past_new(paths, count, options, error): due when options begin in the middle. Keeps
 * copies. NULL when memory is short. */
struct tape_source_past *tape_source_past_new(const char *const *paths, int count,
                                              const struct tape_source_options *options,
                                              struct tape_error *error);
void tape_source_past_free(struct tape_source_past *past);

/* tape_source_past_seek(past, ns): due again, for a start at ns. */
void tape_source_past_seek(struct tape_source_past *past, int64_t ns);
int tape_source_past_is_due(const struct tape_source_past *past);

/* tape_source_past_show(past, duplicates, merge, error): shows to duplicates, which are new, what
 * came before the start and is not too old to be remembered there; by readers of its own, whose
 * damages nobody asked for. Ends early when merge was stopped. 0 or a status. */
int tape_source_past_show(struct tape_source_past *past, struct tape_source_duplicates *duplicates,
                          const struct tape_source_merge *merge, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
