/* A message that outlives its reel's next step. */
#ifndef TAPE_REPLAY_SOURCE_COPY_H
#define TAPE_REPLAY_SOURCE_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "format/feed.h"

#ifdef __cplusplus
extern "C" {
#endif

/* message's slices point into bytes, which is ours; NULL: there is no copy. */
struct tape_source_copy {
    struct tape_message message;
    uint8_t *bytes;
    size_t length;
};

/* tape_source_copy_make(copy, message): 1, or 0 when memory is short. */
int tape_source_copy_make(struct tape_source_copy *copy, const struct tape_message *message);
void tape_source_copy_free(struct tape_source_copy *copy);

#ifdef __cplusplus
}
#endif
#endif
