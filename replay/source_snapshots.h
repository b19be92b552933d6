/* Whether an archive has snapshots of books in a time, without reading its blocks. */
#ifndef TAPE_REPLAY_SOURCE_SNAPSHOTS_H
#define TAPE_REPLAY_SOURCE_SNAPSHOTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_source_snapshots_may_be(path, from_ns, to_ns): 0 when index.db tells that no snapshot was
 * recorded in [from_ns, to_ns]; 1 when one was, or it does not tell: it is not there, cannot be
 * trusted, or does not reach so far. */
int tape_source_snapshots_may_be(const char *path, int64_t from_ns, int64_t to_ns);

#ifdef __cplusplus
}
#endif
#endif
