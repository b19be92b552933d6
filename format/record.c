#include "format/record.h"

#include <string.h>

#include "format/bytes.h"

size_t tape_record_put_head(uint8_t *to, const struct tape_record *record, int64_t previous_recv_ns)
{
    /* Modulo 2^64: any pair of stamps has a difference that leads back. */
    int64_t delta = (int64_t)((uint64_t)record->recv_ns - (uint64_t)previous_recv_ns);
    size_t used = 0;
    to[used++] = record->kind;
    used += tape_bytes_put_varint(to + used, record->flags);
    used += tape_bytes_put_varint(to + used, tape_bytes_zigzag(delta));
    used += tape_bytes_put_varint(to + used, record->connection);
    used += tape_bytes_put_varint(to + used, record->bytes);
    return used;
}

size_t tape_record_put(uint8_t *to, const struct tape_record *record, int64_t previous_recv_ns)
{
    size_t head = tape_record_put_head(to, record, previous_recv_ns);
    if (record->bytes > 0)
        memcpy(to + head, record->data, record->bytes);
    return head + record->bytes;
}

/* One bounded number; advances *from. 0 when it is none or above limit. */
static int take(const uint8_t **from, const uint8_t *end, uint64_t limit, uint64_t *value)
{
    if (*from < end && **from < 0x80) { /* nearly always */
        *value = *(*from)++;
        return *value <= limit;
    }
    size_t used = tape_bytes_get_varint(*from, (size_t)(end - *from), value);
    *from += used;
    return used > 0 && *value <= limit;
}

size_t tape_record_get(const uint8_t *from, size_t available, int64_t previous_recv_ns,
                       struct tape_record *record)
{
    const uint8_t *at = from, *end = from + available;
    uint64_t flags, delta, connection, bytes;
    if (available == 0 || *at == 0)
        return 0;
    uint8_t kind = *at++;
    if (!take(&at, end, UINT16_MAX, &flags) || !take(&at, end, UINT64_MAX, &delta) ||
        !take(&at, end, UINT32_MAX, &connection) ||
        !take(&at, end, TAPE_RECORD_MAX_BYTES, &bytes) || bytes > (uint64_t)(end - at))
        return 0;
    record->recv_ns = (int64_t)((uint64_t)previous_recv_ns + (uint64_t)tape_bytes_unzigzag(delta));
    record->connection = (uint32_t)connection;
    record->bytes = (uint32_t)bytes;
    record->flags = (uint16_t)flags;
    record->kind = kind;
    record->data = at;
    return (size_t)(at - from) + (size_t)bytes;
}

const char *tape_record_kind_word(int kind)
{
    switch (kind) {
#define TAPE_RECORD_KIND_CASE(name, number, word, body)                                            \
    case TAPE_RECORD_##name:                                                                       \
        return word;
        TAPE_RECORD_KIND_TABLE(TAPE_RECORD_KIND_CASE)
#undef TAPE_RECORD_KIND_CASE
    default:
        return NULL;
    }
}
