/* Any bytes as one record: bounds are kept, and what is taken has exactly one encoding. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "format/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tape_record record;
    if (size < 8)
        return 0;
    int64_t previous = tape_bytes_get_i64(data);
    /* A copy of its own, so that the sanitizer sees the first byte too many. */
    size_t available = size - 8;
    uint8_t *bytes = malloc(available + 1);
    memmove(bytes, data + 8, available);
    bytes = realloc(bytes, available > 0 ? available : 1);
    size_t used = tape_record_get(bytes, available, previous, &record);
    if (used > available)
        abort();
    if (used > 0) {
        uint8_t *again = malloc(TAPE_RECORD_HEAD_MAX_BYTES + (size_t)record.bytes);
        if (record.kind == 0 || record.data + record.bytes != bytes + used ||
            tape_record_put(again, &record, previous) != used || memcmp(again, bytes, used) != 0)
            abort();
        free(again);
    }
    free(bytes);
    return 0;
}
