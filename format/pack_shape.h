/* What a JSON text is made of: bytes that stay from message to message, and places for values.
 * Private to the packer. */
#ifndef TAPE_FORMAT_PACK_SHAPE_H
#define TAPE_FORMAT_PACK_SHAPE_H

#include <stddef.h>
#include <stdint.h>

#include "format/growing.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tape_pack_part {
    TAPE_PACK_LITERAL, /* brackets, keys, commas, quotes */
    TAPE_PACK_SCALAR,  /* a string's inside, or a word, that was the same so far */
    TAPE_PACK_NUMBER,
    TAPE_PACK_TIME,
    TAPE_PACK_STRING, /* a string's inside, a word or an odd number: any text */
    TAPE_PACK_LIST,   /* elements of one form; its nodes follow, up to end */
};

struct tape_pack_node {
    uint8_t kind;
    uint8_t quoted;       /* all but literals and lists: stands in quotes */
    uint32_t text, bytes; /* literal, scalar: where in the shape's text */
    uint32_t end; /* list: the node behind its last; its own + 1: only empty ones were seen */
};

/* Zero-initialise; tape_pack_shape_free() at the end. Invariants: a literal is never followed by a
 * literal; lists nest at most TAPE_PACKED_DEPTH_MAX deep; at most TAPE_PACKED_NODES_MAX / 2 nodes.
 */
struct tape_pack_shape {
    struct tape_pack_node *nodes;
    uint32_t count, room;
    struct tape_growing text;
    int32_t stream; /* the node of the scalar under the first key "stream" at the top; or -1 */
    uint8_t
        odd_stream; /* that key has no string, or some key is escaped: the name is not certain */
};

/* tape_pack_shape_read(shape, json, bytes): the shape of an object or array. 1, or 0 when it is not
 * strict JSON, has no shape within the limits, or memory is short. Bytes behind the text up to 16
 * are loaded. */
int tape_pack_shape_read(struct tape_pack_shape *shape, const uint8_t *json, size_t bytes);
void tape_pack_shape_free(struct tape_pack_shape *shape);

/* tape_pack_shape_family(shape): a hash that does not change with scalars and inside lists. */
uint64_t tape_pack_shape_family(const struct tape_pack_shape *shape);

/* tape_pack_shape_join(one, other, free_scalars, joint): the shape that takes what either takes: 1,
 * or 0 when there is none. Scalars that differ become strings: words always, quoted ones with
 * free_scalars = 1 only (0: then there is none). joint is made anew. */
int tape_pack_shape_join(const struct tape_pack_shape *one, const struct tape_pack_shape *other,
                         int free_scalars, struct tape_pack_shape *joint);

#ifdef __cplusplus
}
#endif
#endif
