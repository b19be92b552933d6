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

/* tape_column_stream_read(entries, log, context, used, stream, count, values, tokens): count
 * residuals. used has a bit for each context that has a table of 1 << log entries. 1, or 0 when the
 * bits do not end where the stream does, or a context without a table is met. */
int tape_column_stream_read(const tape_tans_entry entries[][TAPE_TANS_STATES_MAX], unsigned log,
                            const struct tape_column_context_of *context, unsigned used,
                            const struct tape_column_stream *stream, uint32_t count,
                            int64_t *values, uint8_t *tokens);

/* tape_column_stream_write(tables, log, contexts, residuals, tokens, count, end): writes backwards
 * from end and returns the length; contexts holds that of each value, NULL when there is but one.
 * There is room for all extra bits, log bits for every value and 64 bytes. */
size_t tape_column_stream_write(const struct tape_tans_writer *tables, unsigned log,
                                const uint8_t *contexts, const int64_t *residuals,
                                const uint8_t *tokens, uint32_t count, uint8_t *end);

#endif
