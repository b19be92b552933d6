#include "replay/printable.h"

#include <string.h>

#include "format/utf8.h"

/* The length of the code point at from (1 to 4), or 0 when it is none. */
static size_t code_point_bytes(const unsigned char *from, size_t bytes)
{
    struct tape_utf8 state = {0};
    for (size_t i = 0; i < bytes && i < 4; i++) {
        if (tape_utf8_check(&state, from + i, 1) != 1)
            return 0;
        if (tape_utf8_complete(&state))
            return i + 1;
    }
    return 0;
}

/* C1 controls (U+0080 to U+009F) act on terminals; U+2028 to U+202E and U+2066 to U+2069 break or
 * turn lines around. */
static int is_plain(const unsigned char *at, size_t bytes)
{
    if (bytes == 1)
        return at[0] >= 0x20 && at[0] != 0x7f;
    if (bytes == 2)
        return !(at[0] == 0xc2 && at[1] < 0xa0);
    if (bytes == 3 && at[0] == 0xe2)
        return !(at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) &&
               !(at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9);
    return bytes > 0;
}

size_t tape_printable_put(char *to, size_t room, const char *from, size_t bytes, size_t *used)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = (const unsigned char *)from, *end = at + bytes;
    size_t put = 0;
    while (at < end && put + 4 <= room) {
        size_t length = code_point_bytes(at, (size_t)(end - at));
        if (length > 0 && is_plain(at, length)) {
            memcpy(to + put, at, length);
            put += length;
            at += length;
            continue;
        }
        to[put++] = '\\';
        to[put++] = 'x';
        to[put++] = digits[*at >> 4];
        to[put++] = digits[*at & 15];
        at++;
    }
    *used = (size_t)(at - (const unsigned char *)from);
    return put;
}

const char *tape_printable_text(char *to, size_t room, const char *from, size_t bytes)
{
    size_t used, put = tape_printable_put(to, room - 4, from, bytes, &used);
    if (used < bytes) {
        memcpy(to + put, "\xe2\x80\xa6", 3);
        put += 3;
    }
    to[put] = '\0';
    return to;
}
