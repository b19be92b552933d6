/* Reading packed blocks: codecs 2 and 3 (FORMAT.md, "Packed blocks"). Memory only, no files. */
#ifndef TAPE_FORMAT_PACKED_H
#define TAPE_FORMAT_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"
#include "format/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Node of a template's program. */
enum tape_packed_node {
    TAPE_PACKED_END = 0,
    TAPE_PACKED_LITERAL = 1,
    TAPE_PACKED_NUMBER = 2,
    TAPE_PACKED_STRING = 3,
    TAPE_PACKED_LIST = 4,
};

/* How a number slot's text follows from its value. */
enum tape_packed_number {
    TAPE_PACKED_FIXED = 0,
    TAPE_PACKED_SHORTEST = 1,
    TAPE_PACKED_SHORTEST_POINT = 2,
    TAPE_PACKED_EACH = 3,
    TAPE_PACKED_TIME = 4,
    TAPE_PACKED_TIME_SHORTEST = 5,
};

enum tape_packed_string {
    TAPE_PACKED_DICTIONARY = 0,
    TAPE_PACKED_RAW = 1,
    TAPE_PACKED_UUID = 2,
};

enum tape_packed_coding { TAPE_PACKED_TEXT = 0, TAPE_PACKED_TEMPLATE = 1 };
enum tape_packed_naming {
    TAPE_PACKED_UNNAMED = 0, /* never passed over */
    TAPE_PACKED_NAMED = 1,
    TAPE_PACKED_NAMED_BY_COLUMN = 2,
};

enum {
    TAPE_PACKED_NODES_MAX = 4096,
    TAPE_PACKED_DEPTH_MAX = 4,
    TAPE_PACKED_DECIMALS_MAX = 18,
};

/* Reads the records of one packed block. Opaque; one thread; keeps its buffers. */
struct tape_packed;
struct tape_packed *tape_packed_new(void);
void tape_packed_free(struct tape_packed *packed);

/* tape_packed_open(packed, header, stored, wants, context, error): as tape_block_open for codecs 2
 * and 3, after header and payload CRC were checked. wants (may be NULL) as tape_block_select: rows
 * of refused streams are not rebuilt. 0, TAPE_CORRUPT or TAPE_FAILED (memory). */
int tape_packed_open(struct tape_packed *packed, const struct tape_block_header *header,
                     const uint8_t *stored, tape_block_wants *wants, void *context,
                     struct tape_error *error);

/* tape_packed_next(packed, record): 1 and the next record in ordinal order (ordinal set; borrowed
 * until the next open), 0 at the end. */
int tape_packed_next(struct tape_packed *packed, struct tape_record *record);

#ifdef __cplusplus
}
#endif
#endif
