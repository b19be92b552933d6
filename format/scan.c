#include "format/scan.h"

/* The brackets that are open: one bit each, 1 for an object. Invariant: depth <= room <= the
 * maximum. */
struct nest {
    size_t depth, room;
    uint64_t objects[(TAPE_SCAN_DEPTH_MAX + 63) / 64];
};

static int push(struct nest *nest, int object)
{
    if (nest->depth == nest->room)
        return 0;
    uint64_t bit = (uint64_t)1 << (nest->depth % 64);
    uint64_t *word = &nest->objects[nest->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    nest->depth++;
    return 1;
}

static int in_object(const struct nest *nest)
{
    size_t top = nest->depth - 1;
    return (int)(nest->objects[top / 64] >> (top % 64) & 1);
}

/* The key and the colon of a member; returns where its value starts, or NULL. */
static const char *skip_key(const char *at, const char *end)
{
    if (at == end || *at != '"' || !(at = tape_scan_string(at + 1, end)))
        return NULL;
    at = tape_scan_space(at + 1, end);
    return at < end && *at == ':' ? tape_scan_space(at + 1, end) : NULL;
}

/* Opens the bracket at ${at}: returns where its first value starts, its closing bracket when it is
 * ${empty}, or NULL. */
static const char *open_bracket(struct nest *nest, const char *at, const char *end, int *empty)
{
    int object = *at == '{';
    if (!push(nest, object))
        return NULL;
    at = tape_scan_space(at + 1, end);
    *empty = at < end && *at == (object ? '}' : ']');
    return object && !*empty ? skip_key(at, end) : at;
}

/* Behind a value: closes brackets and steps over a comma; returns where the next value starts, with
 * depth 0 the end of the whole, or NULL. */
static const char *after_value(struct nest *nest, const char *at, const char *end)
{
    while (nest->depth > 0) {
        int object = in_object(nest);
        at = tape_scan_space(at, end);
        if (at == end)
            return NULL;
        if (*at == ',') {
            at = tape_scan_space(at + 1, end);
            return object ? skip_key(at, end) : at;
        }
        if (*at != (object ? '}' : ']'))
            return NULL;
        nest->depth--;
        at++;
    }
    return at;
}

const char *tape_scan_value(const char *at, const char *end, unsigned outer)
{
    struct nest nest;
    nest.depth = 0;
    nest.room = TAPE_SCAN_DEPTH_MAX - outer;
    do {
        if (at == end)
            return NULL;
        if (*at == '{' || *at == '[') {
            int empty;
            if (!(at = open_bracket(&nest, at, end, &empty)))
                return NULL;
            if (!empty)
                continue;
        } else if (!(at = tape_scan_scalar(at, end))) {
            return NULL;
        }
        if (!(at = after_value(&nest, at, end)))
            return NULL;
    } while (nest.depth > 0);
    return at;
}

/* The code unit of the four hexadecimal digits at ${at}. */
static unsigned hex4(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (unsigned)(at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    return value;
}

size_t tape_scan_unescape(const char *from, size_t bytes, char *to, size_t room)
{
    static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
    size_t length = 0;
    for (size_t at = 0; at < bytes; length++) {
        unsigned c = (unsigned char)from[at++];
        if (c == '\\') {
            const char *letter = strchr(letters, from[at]);
            c = letter ? (unsigned char)controls[letter - letters] : (unsigned char)from[at];
            if (from[at] == 'u') {
                unsigned unit = hex4(from + at + 1);
                c = unit < 0x80 ? unit : 0xff;
                at += 4;
            }
            at++;
        }
        if (length == room)
            return room + 1;
        to[length] = (char)(c ? c : 0xff);
    }
    return length;
}
