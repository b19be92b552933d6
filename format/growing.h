/* A byte array that grows as it is written. A failed allocation is remembered, so that a writer may
 * check once at the end. */
#ifndef TAPE_FORMAT_GROWING_H
#define TAPE_FORMAT_GROWING_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialise; free(bytes) at the end. Invariant: length <= capacity unless failed. */
struct tape_growing {
    uint8_t *bytes;
    size_t length, capacity;
    int failed; /* memory was short; what was put since is lost */
};

/* tape_growing_reserve(growing, more): room for that many after length, or NULL. */
static inline uint8_t *tape_growing_reserve(struct tape_growing *growing, size_t more)
{
    if (growing->failed)
        return NULL;
    if (growing->capacity - growing->length < more) {
        size_t capacity = growing->capacity * 2 + more;
        uint8_t *larger = (uint8_t *)realloc(growing->bytes, capacity);
        if (larger == NULL) {
            growing->failed = 1;
            return NULL;
        }
        growing->bytes = larger;
        growing->capacity = capacity;
    }
    return growing->bytes + growing->length;
}

static inline void tape_growing_put(struct tape_growing *growing, const void *bytes, size_t length)
{
    uint8_t *to = length == 0 ? NULL : tape_growing_reserve(growing, length);
    if (to == NULL)
        return;
    memcpy(to, bytes, length);
    growing->length += length;
}

static inline void tape_growing_put_u8(struct tape_growing *growing, uint8_t value)
{
    uint8_t *to = tape_growing_reserve(growing, 1);
    if (to == NULL)
        return;
    *to = value;
    growing->length++;
}

static inline void tape_growing_put_varint(struct tape_growing *growing, uint64_t value)
{
    uint8_t *to = tape_growing_reserve(growing, TAPE_VARINT_MAX_BYTES);
    if (to == NULL)
        return;
    growing->length += tape_bytes_put_varint(to, value);
}

#ifdef __cplusplus
}
#endif
#endif
