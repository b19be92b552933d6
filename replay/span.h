/* From when to when an archive reaches, told by its segments' headers and footers. */
#ifndef TAPE_REPLAY_SPAN_H
#define TAPE_REPLAY_SPAN_H

#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_span_read(path, first_ns, last_ns, error): the smallest stamp of the first segment that has
 * records and the largest of the last one. 0 (both 0 in an empty archive) or a status. */
int tape_span_read(const char *path, int64_t *first_ns, int64_t *last_ns, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
