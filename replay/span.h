/* From when to when an archive's messages reach, told by its index. */
#ifndef TAPE_REPLAY_SPAN_H
#define TAPE_REPLAY_SPAN_H

#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_span_read(path, first_ns, last_ns, error): the stamps of the first and the last message by
 * time: an import's are those of its lines, whenever it was made. 0 (both 0 when there is none) or
 * a status. */
int tape_span_read(const char *path, int64_t *first_ns, int64_t *last_ns, struct tape_error *error);

/* tape_span_read_all(paths, count, first_ns, last_ns, error): the same of several archives; those
 * without messages do not count. */
int tape_span_read_all(const char *const *paths, int count, int64_t *first_ns, int64_t *last_ns,
                       struct tape_error *error);

/* tape_span_are_apart(paths, count): 1 when at least two have messages and the times of no two
 * reach into each other. */
int tape_span_are_apart(const char *const *paths, int count);

#ifdef __cplusplus
}
#endif
#endif
