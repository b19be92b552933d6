#include "format/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* Four bits a step: 16 entries are small enough to be read, and this runs only on processors
 * without the instruction. */
static const uint32_t by_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t update_by_table(uint32_t state, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        state ^= from[i];
        state = by_nibble[state & 15] ^ (state >> 4);
        state = by_nibble[state & 15] ^ (state >> 4);
    }
    return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
update_by_instruction(uint32_t state, const uint8_t *from, size_t bytes)
{
    uint64_t wide = state;
    for (; bytes >= 8; bytes -= 8, from += 8) {
        uint64_t word;
        memcpy(&word, from, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    state = (uint32_t)wide;
    for (; bytes > 0; bytes--, from++)
        state = _mm_crc32_u8(state, *from);
    return state;
}
#endif

uint32_t tape_crc32c_update(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~update_by_instruction(~crc, data, bytes);
#endif
    return ~update_by_table(~crc, data, bytes);
}
