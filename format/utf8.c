#include "format/utf8.h"

#include "format/ascii.h"

/* The lead bytes of RFC 3629's grammar: 1 and what must follow, or 0. */
static inline int lead(struct tape_utf8 *state, uint8_t byte)
{
    if (byte < 0xc2 || byte > 0xf4)
        return 0; /* a continuation, an overlong form of ASCII, above U+10FFFF */
    state->need = (uint8_t)(1 + (byte >= 0xe0) + (byte >= 0xf0));
    state->low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;  /* overlong */
    state->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf; /* surrogates, the end */
    return 1;
}

/* The first byte at or after ${at} that is not ASCII, or the end. In texts of other scripts runs
 * are short: one word is looked at before whole blocks are. */
static inline size_t skip_ascii(const uint8_t *data, size_t at, size_t bytes)
{
    while (bytes - at >= 8 && tape_ascii_all(data + at, 8)) {
        at += 8;
        while (bytes - at >= 64 && tape_ascii_all(data + at, 64))
            at += 64;
    }
    while (at < bytes && data[at] < 0x80)
        at++;
    return at;
}

size_t tape_utf8_check(struct tape_utf8 *state, const uint8_t *data, size_t bytes)
{
    if (state->need == 0 && tape_ascii_all(data, bytes))
        return bytes;
    struct tape_utf8 now = *state;
    size_t at = 0;
    while (at < bytes) {
        uint8_t byte = data[at];
        if (now.need > 0) {
            if (byte < now.low || byte > now.high)
                break;
            now.low = 0x80;
            now.high = 0xbf;
            now.need--;
            at++;
        } else if (byte >= 0x80) {
            if (!lead(&now, byte))
                break;
            at++;
        } else {
            at = skip_ascii(data, at, bytes);
        }
    }
    *state = now;
    return at;
}
