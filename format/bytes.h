/* Little-endian integers and variable-length integers in byte arrays (FORMAT.md, "Numbers"). */
#ifndef TAPE_FORMAT_BYTES_H
#define TAPE_FORMAT_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the archive is little endian; this build reads and writes it without swapping"
#endif

enum { TAPE_VARINT_MAX_BYTES = 10 };

#define TAPE_BYTES_ACCESS(type, name)                                                              \
    static inline type tape_bytes_get_##name(const uint8_t *from)                                  \
    {                                                                                              \
        type value;                                                                                \
        memcpy(&value, from, sizeof value);                                                        \
        return value;                                                                              \
    }                                                                                              \
    static inline void tape_bytes_put_##name(uint8_t *to, type value)                              \
    {                                                                                              \
        memcpy(to, &value, sizeof value);                                                          \
    }
TAPE_BYTES_ACCESS(uint16_t, u16)
TAPE_BYTES_ACCESS(uint32_t, u32)
TAPE_BYTES_ACCESS(uint64_t, u64)
TAPE_BYTES_ACCESS(int64_t, i64)
#undef TAPE_BYTES_ACCESS

/* tape_bytes_put_varint(to, value): LEB128, at most 10 bytes; returns the bytes written. */
static inline size_t tape_bytes_put_varint(uint8_t *to, uint64_t value)
{
    size_t used = 0;
    while (value >= 0x80) {
        to[used++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[used++] = (uint8_t)value;
    return used;
}

/* tape_bytes_get_varint(from, available, value): bytes used, or 0 when the bytes end inside the
 * number, the number does not fit 64 bits, or it is not in its shortest form. */
static inline size_t tape_bytes_get_varint(const uint8_t *from, size_t available, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t used = 0; used < available && used < TAPE_VARINT_MAX_BYTES; used++) {
        uint8_t byte = from[used];
        sum |= (uint64_t)(byte & 0x7f) << (7 * used);
        if (byte & 0x80)
            continue;
        if ((used > 0 && byte == 0) || (used == 9 && byte > 1))
            return 0;
        *value = sum;
        return used + 1;
    }
    return 0;
}

/* Signed numbers as varints: 0, -1, 1, -2 … become 0, 1, 2, 3 … */
static inline uint64_t tape_bytes_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int64_t tape_bytes_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

#ifdef __cplusplus
}
#endif
#endif
