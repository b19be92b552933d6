#include "format/pack_shape.h"

#include <stdlib.h>
#include <string.h>

#include "format/pack_number.h"
#include "format/packed.h"
#include "format/scan.h"

enum {
    DEPTH_MAX = 32,
    NODES_MAX = TAPE_PACKED_NODES_MAX / 2,
    SCALARS_MIN = 9, /* so many scalars or more are a list, fewer are places of their own */
    UUID_BYTES = 36,
    WORK_FACTOR = 8, /* an array may be read as a list in vain, but not again and again */
};

/* Reading one text. Invariants: [pending, at) is literal text that no node has yet; lists and
 * arrays are read at most WORK_FACTOR times over all. */
struct reading {
    struct tape_pack_shape *shape;
    const char *at, *end, *pending;
    uint32_t depth, lists;
    size_t work, work_max;
    int failed;
};

void tape_pack_shape_free(struct tape_pack_shape *shape)
{
    free(shape->nodes);
    free(shape->text.bytes);
    memset(shape, 0, sizeof *shape);
}

/* --- nodes --- */

static struct tape_pack_node *add_node(struct tape_pack_shape *shape, int kind)
{
    if (shape->count == NODES_MAX)
        return NULL;
    if (shape->count == shape->room) {
        uint32_t room = shape->room * 2 + 32;
        struct tape_pack_node *larger = realloc(shape->nodes, room * sizeof *larger);
        if (larger == NULL)
            return NULL;
        shape->nodes = larger;
        shape->room = room;
    }
    struct tape_pack_node *node = &shape->nodes[shape->count++];
    memset(node, 0, sizeof *node);
    node->kind = (uint8_t)kind;
    return node;
}

static int add_text_node(struct tape_pack_shape *shape, int kind, const void *text, size_t bytes)
{
    struct tape_pack_node *node = add_node(shape, kind);
    if (node == NULL)
        return 0;
    node->text = (uint32_t)shape->text.length;
    node->bytes = (uint32_t)bytes;
    tape_growing_put(&shape->text, text, bytes);
    return !shape->text.failed;
}

static int same_text(const struct tape_pack_shape *one, const struct tape_pack_node *a,
                     const struct tape_pack_shape *other, const struct tape_pack_node *b)
{
    return a->bytes == b->bytes &&
           (a->bytes == 0 ||
            memcmp(one->text.bytes + a->text, other->text.bytes + b->text, a->bytes) == 0);
}

static int copy_nodes(const struct tape_pack_shape *from, uint32_t first, uint32_t end,
                      struct tape_pack_shape *to)
{
    uint32_t moved = to->count - first;
    for (uint32_t i = first; i < end; i++) {
        const struct tape_pack_node *node = &from->nodes[i];
        const void *text = node->bytes > 0 ? from->text.bytes + node->text : NULL;
        if (!add_text_node(to, node->kind, text, node->bytes))
            return 0;
        to->nodes[to->count - 1].quoted = node->quoted;
        to->nodes[to->count - 1].end = node->end + moved;
    }
    return 1;
}

/* --- reading --- */

static int fail(struct reading *reading)
{
    reading->failed = 1;
    return 0;
}

static int flush(struct reading *reading, const char *to)
{
    if (to > reading->pending && !add_text_node(reading->shape, TAPE_PACK_LITERAL, reading->pending,
                                                (size_t)(to - reading->pending)))
        return fail(reading);
    reading->pending = to;
    return 1;
}

/* A node for [from, to) after the literal before it. */
static int add_value(struct reading *reading, int kind, int quoted, const char *from,
                     const char *to)
{
    if (!flush(reading, from))
        return 0;
    size_t kept = kind == TAPE_PACK_SCALAR ? (size_t)(to - from) : 0;
    if (!add_text_node(reading->shape, kind, from, kept))
        return fail(reading);
    reading->shape->nodes[reading->shape->count - 1].quoted = (uint8_t)quoted;
    reading->pending = to;
    return 1;
}

static int is_uuid(const char *from, size_t bytes)
{
    if (bytes != UUID_BYTES)
        return 0;
    for (size_t i = 0; i < bytes; i++) {
        int hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        int hex = (from[i] >= '0' && from[i] <= '9') || (from[i] >= 'a' && from[i] <= 'f');
        if (hyphen ? from[i] != '-' : !hex)
            return 0;
    }
    return 1;
}

static int is_number(const char *from, const char *to)
{
    struct tape_pack_number number;
    return tape_pack_number_read((const uint8_t *)from, &number) == (const uint8_t *)to;
}

static int is_time(const char *from, const char *to)
{
    struct tape_pack_number number;
    return to - from >= 20 &&
           tape_pack_number_read_time((const uint8_t *)from, &number) == (const uint8_t *)to;
}

static int read_string(struct reading *reading, int named)
{
    const char *from = reading->at + 1;
    const char *to = tape_scan_string(from, reading->end);
    if (to == NULL)
        return fail(reading);
    int kind = reading->lists > 0 || is_uuid(from, (size_t)(to - from)) ? TAPE_PACK_STRING
                                                                        : TAPE_PACK_SCALAR;
    if (is_number(from, to))
        kind = TAPE_PACK_NUMBER;
    else if (is_time(from, to))
        kind = TAPE_PACK_TIME;
    if (named)
        kind = TAPE_PACK_SCALAR;
    reading->at = to + 1;
    return add_value(reading, kind, 1, from, to);
}

static int read_bare(struct reading *reading)
{
    const char *from = reading->at, *to = tape_scan_scalar(from, reading->end);
    if (to == NULL)
        return fail(reading);
    int word = *from == 't' || *from == 'f' || *from == 'n';
    int kind = word && reading->lists == 0 ? TAPE_PACK_SCALAR : TAPE_PACK_STRING;
    if (is_number(from, to))
        kind = TAPE_PACK_NUMBER;
    reading->at = to;
    return add_value(reading, kind, 0, from, to);
}

static int read_value(struct reading *reading, int named);

static int read_object(struct reading *reading)
{
    int top = reading->depth == 1;
    reading->at = tape_scan_space(reading->at + 1, reading->end);
    if (reading->at < reading->end && *reading->at == '}') {
        reading->at++;
        return 1;
    }
    for (;;) {
        const char *key = reading->at + 1;
        if (reading->at == reading->end || *reading->at != '"')
            return fail(reading);
        const char *close = tape_scan_string(key, reading->end);
        if (close == NULL)
            return fail(reading);
        struct tape_pack_shape *shape = reading->shape;
        shape->odd_stream |= top && memchr(key, '\\', (size_t)(close - key)) != NULL;
        int named = top && close - key == 6 && memcmp(key, "stream", 6) == 0;
        reading->at = tape_scan_space(close + 1, reading->end);
        if (reading->at == reading->end || *reading->at != ':')
            return fail(reading);
        reading->at = tape_scan_space(reading->at + 1, reading->end);
        named = named && shape->stream < 0;
        if (named && (reading->at == reading->end || *reading->at != '"'))
            shape->odd_stream = 1;
        if (!read_value(reading, named))
            return 0;
        if (named && !shape->odd_stream)
            shape->stream = (int32_t)shape->count - 1;
        reading->at = tape_scan_space(reading->at, reading->end);
        if (reading->at == reading->end)
            return fail(reading);
        if (*reading->at++ == '}')
            return 1;
        if (reading->at[-1] != ',')
            return fail(reading);
        reading->at = tape_scan_space(reading->at, reading->end);
    }
}

/* Behind the opening bracket: the elements in place. *scalars: how many there are when all are
 * scalars with nothing but commas between them, else 0. */
static int read_tuple(struct reading *reading, uint32_t *scalars)
{
    uint32_t elements = 0;
    int plain = *reading->at > ' ';
    for (;;) {
        reading->at = tape_scan_space(reading->at, reading->end);
        plain &= reading->at < reading->end && *reading->at != '{' && *reading->at != '[';
        if (!read_value(reading, 0))
            return 0;
        elements++;
        plain &= reading->at<reading->end && * reading->at> ' ';
        reading->at = tape_scan_space(reading->at, reading->end);
        if (reading->at == reading->end)
            return fail(reading);
        char mark = *reading->at++;
        if (mark == ']')
            break;
        if (mark != ',')
            return fail(reading);
        plain &= reading->at<reading->end && * reading->at> ' ';
    }
    *scalars = plain ? elements : 0;
    return 1;
}

static uint32_t join_nodes(const struct tape_pack_shape *one, uint32_t from, uint32_t to,
                           const struct tape_pack_shape *other, uint32_t other_from,
                           uint32_t other_to, int free_scalars, struct tape_pack_shape *joint);

/* Nodes [from, to) and [to, count) of the shape that is read become one run: 1, or 0 when they do
 * not fit each other. Their texts begin at text[0] and text[1]. */
static int merge_element(struct tape_pack_shape *shape, uint32_t from, uint32_t to,
                         const size_t text[2])
{
    uint32_t i;
    for (i = 0; from + i < to && to + i < shape->count; i++) {
        const struct tape_pack_node *a = &shape->nodes[from + i], *b = &shape->nodes[to + i];
        if (a->kind != b->kind || !same_text(shape, a, shape, b) ||
            (a->kind == TAPE_PACK_LIST && a->end - from != b->end - to))
            break;
    }
    if (from + i == to && to + i == shape->count) {
        shape->text.length = text[1];
        shape->count = to;
        return 1;
    }
    struct tape_pack_shape joint = {0};
    int fits = join_nodes(shape, from, to, shape, to, shape->count, 0, &joint) == joint.count &&
               joint.count > 0;
    if (fits) {
        shape->count = from;
        shape->text.length = text[0];
        fits = copy_nodes(&joint, 0, joint.count, shape);
    }
    tape_pack_shape_free(&joint);
    return fits;
}

/* Behind the opening bracket: elements of one form with nothing but commas between them. */
static int read_list(struct reading *reading)
{
    struct tape_pack_shape *shape = reading->shape;
    if (!flush(reading, reading->at) || add_node(shape, TAPE_PACK_LIST) == NULL)
        return fail(reading);
    uint32_t list = shape->count - 1;
    size_t text[2] = {shape->text.length, 0};
    int known = 0;
    reading->lists++;
    for (;;) {
        uint32_t from = shape->count;
        text[1] = shape->text.length;
        if (reading->at == reading->end || *reading->at <= ' ' || !read_value(reading, 0) ||
            !flush(reading, reading->at))
            return fail(reading);
        if (known && !merge_element(shape, list + 1, from, text))
            return fail(reading);
        known = 1;
        if (reading->at == reading->end)
            return fail(reading);
        char mark = *reading->at++;
        if (mark == ']')
            break;
        if (mark != ',')
            return fail(reading);
        reading->pending = reading->at;
    }
    reading->lists--;
    reading->pending = reading->at - 1;
    shape->nodes[list].end = shape->count;
    return 1;
}

/* Tries the array at ${from} as a list; where it is none all is as before. */
static int try_list(struct reading *reading, const char *from)
{
    struct reading before = *reading;
    uint32_t count = reading->shape->count;
    size_t text = reading->shape->text.length;
    reading->at = from;
    if (read_list(reading))
        return 1;
    size_t work = reading->work + (size_t)(reading->at - from);
    int32_t stream = reading->shape->stream;
    *reading = before;
    reading->work = work;
    reading->shape->stream = stream;
    reading->shape->count = count;
    reading->shape->text.length = text;
    return 0;
}

static int read_array(struct reading *reading)
{
    const char *from = reading->at + 1;
    struct tape_pack_shape *shape = reading->shape;
    int may_nest = reading->lists < TAPE_PACKED_DEPTH_MAX;
    reading->at = from;
    const char *first = tape_scan_space(from, reading->end);
    if (first == reading->end)
        return fail(reading);
    if (*first == ']') {
        reading->at = first + 1;
        if (first != from || !may_nest)
            return 1;
        if (!flush(reading, from) || add_node(shape, TAPE_PACK_LIST) == NULL)
            return fail(reading);
        shape->nodes[shape->count - 1].end = shape->count;
        return 1;
    }
    if (may_nest && (*from == '{' || *from == '[') && try_list(reading, from))
        return 1;
    uint32_t scalars = 0;
    uint32_t count = shape->count;
    size_t text = shape->text.length;
    const char *pending = reading->pending;
    if (!read_tuple(reading, &scalars))
        return 0;
    if (!may_nest || scalars < SCALARS_MIN)
        return 1;
    reading->work += (size_t)(reading->at - from);
    reading->pending = pending;
    shape->count = count;
    shape->text.length = text;
    if (try_list(reading, from))
        return 1;
    reading->at = from;
    return read_tuple(reading, &scalars);
}

static int read_value(struct reading *reading, int named)
{
    if (reading->failed || reading->at == reading->end)
        return fail(reading);
    if (reading->work > reading->work_max)
        return fail(reading);
    char mark = *reading->at;
    if (mark == '"')
        return read_string(reading, named);
    if (mark != '{' && mark != '[')
        return read_bare(reading);
    if (reading->depth == DEPTH_MAX)
        return fail(reading);
    reading->depth++;
    int good = mark == '{' ? read_object(reading) : read_array(reading);
    reading->depth--;
    return good;
}

int tape_pack_shape_read(struct tape_pack_shape *shape, const uint8_t *json, size_t bytes)
{
    struct reading reading = {.shape = shape,
                              .at = (const char *)json,
                              .pending = (const char *)json,
                              .work_max = WORK_FACTOR * bytes};
    reading.end = reading.at + bytes;
    shape->count = 0;
    shape->text.length = 0;
    shape->stream = -1;
    shape->odd_stream = 0;
    reading.at = tape_scan_space(reading.at, reading.end);
    if (reading.at == reading.end || (*reading.at != '{' && *reading.at != '['))
        return 0;
    if (!read_value(&reading, 0) || tape_scan_space(reading.at, reading.end) != reading.end)
        return 0;
    return flush(&reading, reading.end) && shape->count > 0;
}

/* --- families --- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ at[i]) * 0x100000001b3;
    return hash;
}

uint64_t tape_pack_shape_family(const struct tape_pack_shape *shape)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (uint32_t i = 0; i < shape->count; i++) {
        const struct tape_pack_node *node = &shape->nodes[i];
        uint8_t mark[2] = {node->kind, node->quoted};
        if (mark[0] == TAPE_PACK_STRING)
            mark[0] = TAPE_PACK_SCALAR;
        hash = mix(hash, mark, 2);
        if (node->kind == TAPE_PACK_LITERAL)
            hash = mix(hash, shape->text.bytes + node->text, node->bytes);
        if (node->kind == TAPE_PACK_LIST)
            i = node->end - 1;
    }
    return hash;
}

static int is_value(int kind)
{
    return kind != TAPE_PACK_LITERAL && kind != TAPE_PACK_LIST;
}

/* Two places for a value that differ in kind or text. */
static int join_values(const struct tape_pack_node *a, const struct tape_pack_node *b,
                       int free_scalars, struct tape_pack_shape *joint)
{
    if (a->quoted != b->quoted)
        return 0;
    int scalars = a->kind == TAPE_PACK_SCALAR && b->kind == TAPE_PACK_SCALAR;
    if (scalars && a->quoted && !free_scalars)
        return 0;
    if (!add_text_node(joint, TAPE_PACK_STRING, NULL, 0))
        return 0;
    joint->nodes[joint->count - 1].quoted = a->quoted;
    return 1;
}

/* Appends the join of [from, to) and [other_from, other_to) to joint. Returns joint's count, or
 * UINT32_MAX when they do not fit. */
static uint32_t join_nodes(const struct tape_pack_shape *one, uint32_t from, uint32_t to,
                           const struct tape_pack_shape *other, uint32_t other_from,
                           uint32_t other_to, int free_scalars, struct tape_pack_shape *joint)
{
    uint32_t i = from, j = other_from;
    while (i < to && j < other_to) {
        const struct tape_pack_node *a = &one->nodes[i], *b = &other->nodes[j];
        if (((int32_t)i == one->stream) != ((int32_t)j == other->stream))
            return UINT32_MAX;
        if ((int32_t)i == one->stream)
            joint->stream = (int32_t)joint->count;
        if (a->kind == TAPE_PACK_LIST && b->kind == TAPE_PACK_LIST) {
            uint32_t list = joint->count;
            if (add_node(joint, TAPE_PACK_LIST) == NULL)
                return UINT32_MAX;
            int known = a->end > i + 1, other_known = b->end > j + 1, good = 1;
            if (known && other_known)
                good = join_nodes(one, i + 1, a->end, other, j + 1, b->end, free_scalars, joint) !=
                       UINT32_MAX;
            else if (known)
                good = copy_nodes(one, i + 1, a->end, joint);
            else if (other_known)
                good = copy_nodes(other, j + 1, b->end, joint);
            if (!good)
                return UINT32_MAX;
            joint->nodes[list].end = joint->count;
            i = a->end;
            j = b->end;
            continue;
        }
        if (a->kind == b->kind && same_text(one, a, other, b) && a->quoted == b->quoted) {
            if (!copy_nodes(one, i, i + 1, joint))
                return UINT32_MAX;
        } else if (!is_value(a->kind) || !is_value(b->kind) ||
                   !join_values(a, b, free_scalars, joint)) {
            return UINT32_MAX;
        }
        i++;
        j++;
    }
    return i == to && j == other_to ? joint->count : UINT32_MAX;
}

int tape_pack_shape_join(const struct tape_pack_shape *one, const struct tape_pack_shape *other,
                         int free_scalars, struct tape_pack_shape *joint)
{
    joint->count = 0;
    joint->text.length = 0;
    joint->odd_stream = one->odd_stream | other->odd_stream;
    joint->stream = -1;
    if (join_nodes(one, 0, one->count, other, 0, other->count, free_scalars, joint) == UINT32_MAX)
        return 0;
    return !joint->text.failed;
}
