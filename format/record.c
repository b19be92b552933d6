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
    size_t used = tape_bytes_get_varint(*from, (size_t)(end - *from), value);
    *from += used;
    return used > 0 && *value <= limit;
}

/* The same of a number of up to eight bytes where eight can be loaded, without a loop: the bytes of
 * seven bits are pushed together, pairs first. 0: it is longer, or none. */
static inline int take_fast(const uint8_t **from, uint64_t *value)
{
    uint64_t word = tape_bytes_get_u64(*from);
    uint64_t lasts = ~word & 0x8080808080808080;
    if (lasts == 0)
        return 0;
    unsigned bytes = ((unsigned)__builtin_ctzll(lasts) + 1) / 8;
    word &= (lasts ^ (lasts - 1)) & 0x7f7f7f7f7f7f7f7f;
    word = (word & 0x007f007f007f007f) | (word & 0x7f007f007f007f00) >> 1;
    word = (word & 0x00003fff00003fff) | (word & 0x3fff00003fff0000) >> 2;
    word = (word & 0x000000000fffffff) | (word & 0x0fffffff00000000) >> 4;
    *from += bytes;
    *value = word;
    return bytes == 1 || word >> 7 * (bytes - 1) != 0;
}

/* The same of one or two bytes, which the lengths of nearly all messages are. */
static inline int take_short(const uint8_t **from, uint64_t *value)
{
    uint64_t low = (*from)[0], high = (*from)[1];
    if (low < 0x80) {
        *value = low;
        *from += 1;
        return 1;
    }
    *value = (low & 0x7f) | high << 7;
    *from += 2;
    return high < 0x80 && high > 0;
}

/* What stands in a record's head, in its order. */
struct head {
    uint64_t flags, delta, connection, bytes;
};

/* Behind the head at ${from} the body is at ${at}. */
static inline size_t fill(struct tape_record *record, const struct head *head, const uint8_t *from,
                          const uint8_t *at, const uint8_t *end, int64_t previous_recv_ns)
{
    if (head->bytes > (uint64_t)(end - at))
        return 0;
    record->recv_ns =
        (int64_t)((uint64_t)previous_recv_ns + (uint64_t)tape_bytes_unzigzag(head->delta));
    record->connection = (uint32_t)head->connection;
    record->bytes = (uint32_t)head->bytes;
    record->flags = (uint16_t)head->flags;
    record->kind = *from;
    record->data = at;
    return (size_t)(at - from) + (size_t)head->bytes;
}

static __attribute__((noinline)) size_t get_any(const uint8_t *from, const uint8_t *end,
                                                int64_t previous_recv_ns,
                                                struct tape_record *record)
{
    const uint8_t *at = from + 1;
    struct head head;
    if (from == end || *from == 0 || !take(&at, end, UINT16_MAX, &head.flags) ||
        !take(&at, end, UINT64_MAX, &head.delta) || !take(&at, end, UINT32_MAX, &head.connection) ||
        !take(&at, end, TAPE_RECORD_MAX_BYTES, &head.bytes))
        return 0;
    return fill(record, &head, from, at, end, previous_recv_ns);
}

/* Nearly all have flags and connection of one byte, and a body below 16 KiB. */
size_t tape_record_get(const uint8_t *from, size_t available, int64_t previous_recv_ns,
                       struct tape_record *record)
{
    enum { FAST_BYTES = 1 + 1 + 8 + 1 + 2 };
    const uint8_t *at = from + 2, *end = from + available;
    struct head head;
    if (available < FAST_BYTES || from[0] == 0 || from[1] >= 0x80 || !take_fast(&at, &head.delta))
        return get_any(from, end, previous_recv_ns, record);
    head.flags = from[1];
    head.connection = *at++;
    if (head.connection >= 0x80 || !take_short(&at, &head.bytes))
        return get_any(from, end, previous_recv_ns, record);
    return fill(record, &head, from, at, end, previous_recv_ns);
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
