/* Whether bytes are all ASCII: inline, because the texts of feeds are nothing else and this is
 * where checking them spends its time. Private to the room. */
#ifndef TAPE_FORMAT_ASCII_H
#define TAPE_FORMAT_ASCII_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TAPE_ASCII_PORTABLE)
#include <emmintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

static inline uint64_t tape_ascii_load_8(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

/* Blocks are ORed together without a branch; the last block overlaps the one before it rather than
 * be walked byte by byte, and nothing outside data[0..bytes) is read. */
#if defined(__SSE2__) && !defined(TAPE_ASCII_PORTABLE)
enum { TAPE_ASCII_BLOCK_BYTES = 16 };

static inline __attribute__((always_inline)) __m128i tape_ascii_load_64(const uint8_t *data)
{
    const __m128i *block = (const __m128i *)data;
    __m128i a = _mm_or_si128(_mm_loadu_si128(block), _mm_loadu_si128(block + 1));
    __m128i b = _mm_or_si128(_mm_loadu_si128(block + 2), _mm_loadu_si128(block + 3));
    return _mm_or_si128(a, b);
}

static inline __attribute__((always_inline)) int tape_ascii_blocks(const uint8_t *data,
                                                                   size_t bytes)
{
    const uint8_t *end = data + bytes, *last = end - 16;
    __m128i seen = _mm_loadu_si128((const __m128i *)last);
    if (bytes >= 64) {
        last = end - 64;
        seen = tape_ascii_load_64(last);
        for (; data < last; data += 64)
            seen = _mm_or_si128(seen, tape_ascii_load_64(data));
    } else {
        for (; data < last; data += 16)
            seen = _mm_or_si128(seen, _mm_loadu_si128((const __m128i *)data));
    }
    return _mm_movemask_epi8(seen) == 0;
}
#else
enum { TAPE_ASCII_BLOCK_BYTES = 8 };

static inline __attribute__((always_inline)) int tape_ascii_blocks(const uint8_t *data,
                                                                   size_t bytes)
{
    const uint8_t *end = data + bytes;
    uint64_t seen = tape_ascii_load_8(end - 8);
    for (; end - data >= 32; data += 32)
        seen |= tape_ascii_load_8(data) | tape_ascii_load_8(data + 8) |
                tape_ascii_load_8(data + 16) | tape_ascii_load_8(data + 24);
    for (const uint8_t *last = end - 8; data < last; data += 8)
        seen |= tape_ascii_load_8(data);
    return (seen & 0x8080808080808080) == 0;
}
#endif

/* tape_ascii_all(data, bytes): 1 when data holds ASCII alone (also when it holds nothing). */
static inline __attribute__((always_inline)) int tape_ascii_all(const uint8_t *data, size_t bytes)
{
    uint8_t seen = 0;
    if (bytes >= TAPE_ASCII_BLOCK_BYTES)
        return tape_ascii_blocks(data, bytes);
    if (bytes >= 8)
        return ((tape_ascii_load_8(data) | tape_ascii_load_8(data + bytes - 8)) &
                0x8080808080808080) == 0;
    for (size_t i = 0; i < bytes; i++)
        seen |= data[i];
    return seen < 0x80;
}

#ifdef __cplusplus
}
#endif
#endif
