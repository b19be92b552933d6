#include "format/packed_memory.h"

#include <stdlib.h>

enum {
    ALIGNMENT = 16,
    CHUNK_MIN_BYTES = 1 << 18,
    KEPT_MAX_BYTES = 64 << 20, /* a block that needs more is not the usual one */
};

struct tape_packed_chunk {
    struct tape_packed_chunk *next;
    size_t bytes;
    _Alignas(ALIGNMENT) uint8_t room[];
};

static int add_chunk(struct tape_packed_memory *memory, size_t bytes)
{
    if (bytes < CHUNK_MIN_BYTES)
        bytes = CHUNK_MIN_BYTES;
    struct tape_packed_chunk *chunk = malloc(sizeof *chunk + bytes);
    if (chunk == NULL)
        return 0;
    chunk->next = memory->first;
    chunk->bytes = bytes;
    memory->first = chunk;
    memory->bytes += bytes;
    memory->used = 0;
    return 1;
}

void *tape_packed_memory_take(struct tape_packed_memory *memory, size_t count, size_t size)
{
    if (count > (SIZE_MAX / 2) / size)
        return NULL;
    size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (memory->first == NULL || memory->first->bytes - memory->used < bytes)
        if (!add_chunk(memory, bytes))
            return NULL;
    void *room = memory->first->room + memory->used;
    memory->used += bytes;
    return room;
}

void tape_packed_memory_clear(struct tape_packed_memory *memory)
{
    memory->used = 0;
    size_t bytes = memory->bytes;
    if (memory->first == NULL || (memory->first->next == NULL && bytes <= KEPT_MAX_BYTES))
        return;
    tape_packed_memory_free(memory);
    if (bytes <= KEPT_MAX_BYTES)
        add_chunk(memory, bytes); /* without it the next take tries again */
}

void tape_packed_memory_free(struct tape_packed_memory *memory)
{
    while (memory->first != NULL) {
        struct tape_packed_chunk *next = memory->first->next;
        free(memory->first);
        memory->first = next;
    }
    memory->used = memory->bytes = 0;
}
