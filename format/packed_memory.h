/* Memory that is taken piece by piece and given back all at once. */
#ifndef TAPE_FORMAT_PACKED_MEMORY_H
#define TAPE_FORMAT_PACKED_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tape_packed_chunk;

/* Zero-initialise. Invariant: only the first chunk has room left; bytes = of all chunks. */
struct tape_packed_memory {
    struct tape_packed_chunk *first;
    size_t used, bytes;
};

/* tape_packed_memory_take(memory, count, size): room for count things of size bytes, aligned for
 * any of them, not initialised; NULL when memory is short. Never NULL for nothing. */
void *tape_packed_memory_take(struct tape_packed_memory *memory, size_t count, size_t size);

/* tape_packed_memory_clear(memory): takes all of it back; what was enough for the last use is kept
 * as one piece, unless it was unusually much. */
void tape_packed_memory_clear(struct tape_packed_memory *memory);

/* tape_packed_memory_free(memory): back to zero. */
void tape_packed_memory_free(struct tape_packed_memory *memory);

#ifdef __cplusplus
}
#endif
#endif
