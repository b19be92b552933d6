/* The bodies of a packed block's records, rebuilt. Private to the readers of packed blocks. */
#ifndef TAPE_FORMAT_PACKED_TEXT_H
#define TAPE_FORMAT_PACKED_TEXT_H

#include "format/block.h"
#include "format/packed_internal.h"

struct tape_packed_body {
    const uint8_t *data; /* NULL: passed over */
    uint32_t bytes;
};

/* Zero-initialise; free(buffer) at the end. Invariant: what bodies point to is in the buffer or in
 * the decoded block. */
struct tape_packed_text {
    uint8_t *buffer;
    size_t capacity;
    struct tape_packed_body *bodies; /* one a record */
    uint32_t passed_over;
};

/* tape_packed_rebuild(text, decoder, raw_bytes, wants, context, error): the bodies of all records
 * of decoder->block (the decoder gives scratch memory) but of rows whose stream wants() refuses.
 * The room is raw_bytes and what one row of the longest program may need; TAPE_CORRUPT when that is
 * not enough. 0, or a status. */
int tape_packed_rebuild(struct tape_packed_text *text, struct tape_packed_decoder *decoder,
                        uint32_t raw_bytes, tape_block_wants *wants, void *context,
                        struct tape_error *error);

#endif
