/* The bits of an entropy-coded column: four lanes of states that take turns (FORMAT.md, "Entropy
 * coding"). For the reader and the writer of columns. */
#ifndef TAPE_FORMAT_COLUMN_STREAM_H
#define TAPE_FORMAT_COLUMN_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "format/column.h"
#include "format/column_predict.h"
#include "format/tans.h"

/* What tells the contexts of a column's values apart. */
struct tape_column_context_of {
    uint8_t kind;          /* enum tape_column_context */
    const uint32_t *owner; /* of the column's scope, NULL at the rows */
    const uint8_t *beside; /* the other column's tokens, NULL where the kind needs none */
};

/* A stream to be read: bits [0, length) from at; what lies after them up to readable may be looked
 * at. */
struct tape_column_stream {
    const uint8_t *at, *readable;
    uint64_t length;
};

/* tape_column_stream_read(entries, log, extra_most, context, stream, count, values, tokens): count
 * residuals. entries are the tables of all contexts of the kind, 1 << log entries each; extra_most
 * is at least the extra bits of any token in them. Where it is 0 values are not set: the tokens are
 * the residuals. 1, or 0 when the bits do not end where the stream does, or a table that is not
 * there is met. */
int tape_column_stream_read(const tape_tans_entry entries[][TAPE_TANS_STATES_MAX], unsigned log,
                            unsigned extra_most, const struct tape_column_context_of *context,
                            int keeps, const struct tape_column_stream *stream, uint32_t count,
                            int64_t *values, uint8_t *tokens);

/* tape_column_stream_write(tables, log, extra_most, contexts, residuals, tokens, count, end):
 * writes backwards from end and returns the length; extra_most is at least the extra bits of any
 * token; contexts holds that of each value, NULL when there is but one. There is room for all extra
 * bits, log bits for every value and 64 bytes. */
size_t tape_column_stream_write(const struct tape_tans_writer *tables, unsigned log,
                                unsigned extra_most, const uint8_t *contexts,
                                const int64_t *residuals, const uint8_t *tokens, uint32_t count,
                                uint8_t *end);

#endif
