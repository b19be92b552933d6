#include <stdlib.h>

#include "replay/server_state.h"

struct tape_batch *tape_batch_new(size_t room)
{
    struct tape_batch *batch = malloc(sizeof *batch + room);
    if (batch)
        *batch = (struct tape_batch){.references = 1, .room = room};
    return batch;
}

void tape_batch_release(struct tape_batch *batch)
{
    if (batch && --batch->references == 0)
        free(batch);
}

uint8_t *tape_batch_reserve(struct tape_batch *batch, size_t bytes)
{
    return batch->room - batch->used < bytes ? NULL : batch->bytes + batch->used;
}

void tape_batch_commit(struct tape_batch *batch, size_t bytes)
{
    batch->used += bytes;
}

size_t tape_batch_bytes(const struct tape_batch *batch)
{
    return batch->used;
}
