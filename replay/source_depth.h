/* Which streams are depth streams, and whether an archive has any, without reading its blocks. */
#ifndef TAPE_REPLAY_SOURCE_DEPTH_H
#define TAPE_REPLAY_SOURCE_DEPTH_H

#include <stdint.h>

#include "format/feed.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_source_depth_is_name(name): 1 for "<symbol>@depth...", "<symbol>@rpiDepth...". */
int tape_source_depth_is_name(struct tape_slice name);

/* tape_source_depth_may_be(path, stream, from_ns, to_ns): 0 when the footers tell that no message
 * received in [from_ns, to_ns) is of a depth stream that ${stream} (as in tape_source_options)
 * selects; 1 when there is one, or they do not tell: messages without a name, a segment that is
 * being recorded, a block that was not counted, anything that could not be opened. */
int tape_source_depth_may_be(const char *path, const char *stream, int64_t from_ns, int64_t to_ns);

#ifdef __cplusplus
}
#endif
#endif
