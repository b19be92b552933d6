/* A block's columns against what THE parser gives for the texts of its records. */
#ifndef TAPE_TESTS_UNIT_COMPARE_COLUMNS_H
#define TAPE_TESTS_UNIT_COMPARE_COLUMNS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/columns.h"
#include "format/feed.h"

/* Zero-initialise, then compare_begin(). Invariant: the block that columns holds is that of reader.
 * text: the first difference. */
struct compare {
    struct tape_columns *columns;
    struct tape_block_reader *reader;
    struct tape_feed *feed;
    struct tape_error error;
    uint8_t *seen; /* by record */
    const struct tape_columns_batch **batch_of;
    uint32_t *row_of, records;
    uint64_t messages, without_text; /* over all blocks; rows that needed no text */
    uint64_t levels, valid;          /* that were compared */
    char text[2048];
};

#define COMPARE_DIFFERS(...) (snprintf(compare->text, sizeof compare->text, __VA_ARGS__), 0)

static inline int compare_begin(struct compare *compare)
{
    compare->columns = tape_columns_new();
    compare->reader = tape_block_reader_new();
    compare->feed = tape_feed_new();
    return compare->columns && compare->reader && compare->feed;
}

static inline void compare_end(struct compare *compare)
{
    tape_columns_free(compare->columns);
    tape_block_reader_free(compare->reader);
    tape_feed_free(compare->feed);
    free(compare->seen);
    free(compare->batch_of);
    free(compare->row_of);
}

static inline int compare_words(struct compare *compare, const char *name,
                                const struct tape_columns_of_words *column, uint32_t row,
                                struct tape_slice want)
{
    if (column->indexes && (uint64_t)column->indexes[row] >= column->entry_count)
        return COMPARE_DIFFERS("%s: no entry %lld", name, (long long)column->indexes[row]);
    struct tape_slice got = tape_columns_word(column, row);
    if ((got.data == NULL) != (want.data == NULL) || got.bytes != want.bytes ||
        (got.bytes > 0 && memcmp(got.data, want.data, got.bytes) != 0))
        return COMPARE_DIFFERS("%s: '%.*s', not '%.*s'", name, (int)got.bytes,
                               got.data ? got.data : "", (int)want.bytes,
                               want.data ? want.data : "");
    return 1;
}

static inline int compare_integer(struct compare *compare, const char *name,
                                  const struct tape_columns_of_integers *column, uint32_t row,
                                  int64_t want)
{
    int64_t got = tape_columns_integer(column, row);
    return got == want
               ? 1
               : COMPARE_DIFFERS("%s: %lld, not %lld", name, (long long)got, (long long)want);
}

static inline int compare_decimal(struct compare *compare, const char *name,
                                  const struct tape_columns_of_decimals *column, uint32_t row,
                                  const struct tape_decimal *want)
{
    int64_t value;
    uint8_t scale;
    int state = tape_columns_decimal(column, row, &value, &scale);
    int want_state = want->text.data == NULL ? TAPE_COLUMNS_ABSENT
                     : want->valid           ? TAPE_COLUMNS_VALID
                                             : TAPE_COLUMNS_ODD;
    if (state != want_state || value != want->value || scale != want->scale)
        return COMPARE_DIFFERS("%s: state %d, %lld / 10^%d, not state %d, %lld / 10^%d ('%.*s')",
                               name, state, (long long)value, scale, want_state,
                               (long long)want->value, want->scale, (int)want->text.bytes,
                               want->text.data ? want->text.data : "");
    compare->valid += state == TAPE_COLUMNS_VALID;
    return 1;
}

static inline int compare_levels(struct compare *compare, const char *name,
                                 const struct tape_columns_of_levels *column, uint32_t row,
                                 struct tape_slice list)
{
    uint32_t begin, count, i = 0;
    struct tape_decimal price, quantity;
    int state = tape_columns_levels(column, row, &begin, &count), got = 0;
    if (count > column->levels || begin > column->levels - count)
        return COMPARE_DIFFERS("%s: levels %u to %u of %u", name, begin, begin + count,
                               column->levels);
    for (int there = list.data != NULL; there; i++) {
        got = tape_tick_next_level(&list, &price, &quantity);
        if (got != 1)
            break;
        if (i == count)
            return COMPARE_DIFFERS("%s: only %u levels", name, count);
        if (!compare_decimal(compare, name, &column->price, begin + i, &price) ||
            !compare_decimal(compare, name, &column->quantity, begin + i, &quantity))
            return 0;
        compare->levels++;
    }
    int want_state = list.data == NULL ? TAPE_COLUMNS_ABSENT
                     : got < 0         ? TAPE_COLUMNS_ODD
                                       : TAPE_COLUMNS_VALID;
    if (i != count || state != want_state)
        return COMPARE_DIFFERS("%s: %u levels, state %d, not %u, state %d", name, count, state, i,
                               want_state);
    return 1;
}

static inline int compare_head(struct compare *compare, const struct tape_columns_batch *batch,
                               uint32_t row, const struct tape_message *message)
{
    if (batch->recv_ns[row] != message->recv_ns)
        return COMPARE_DIFFERS("recv_ns: %lld, not %lld", (long long)batch->recv_ns[row],
                               (long long)message->recv_ns);
    uint32_t connection = batch->connections ? batch->connections[row] : batch->connection;
    uint16_t flags = batch->flags ? batch->flags[row] : batch->flag;
    if (connection != message->connection || flags != message->flags)
        return COMPARE_DIFFERS("connection %u, flags %u, not %u, %u", connection, flags,
                               message->connection, message->flags);
    if (batch->payloads &&
        (batch->payloads[row].bytes != message->payload.bytes ||
         (message->payload.bytes > 0 &&
          memcmp(batch->payloads[row].data, message->payload.data, message->payload.bytes) != 0)))
        return COMPARE_DIFFERS("payload: '%.*s'", (int)batch->payloads[row].bytes,
                               batch->payloads[row].data);
    compare->without_text += batch->payloads == NULL;
    return 1;
}

static inline int compare_row(struct compare *compare, const struct tape_columns_batch *batch,
                              uint32_t row, const struct tape_message *message)
{
    struct tape_tick tick;
    tape_tick_decode(message->payload.data, message->payload.bytes, &tick);
    if (batch->kind != tick.kind)
        return COMPARE_DIFFERS("kind %d, not %d", batch->kind, tick.kind);
    tick.stream = message->stream;
#define INTEGER(name, member, absent)                                                              \
    if (!compare_integer(compare, #member, &batch->integers[TAPE_COLUMNS_##name], row,             \
                         tick.member))                                                             \
        return 0;
#define DECIMAL(name, member)                                                                      \
    if (!compare_decimal(compare, #member, &batch->decimals[TAPE_COLUMNS_##name], row,             \
                         &tick.member))                                                            \
        return 0;
#define LEVELS(name, member)                                                                       \
    if (!compare_levels(compare, #member, &batch->levels[TAPE_COLUMNS_##name], row, tick.member))  \
        return 0;
#define WORDS(name, member)                                                                        \
    if (!compare_words(compare, #member, &batch->words[TAPE_COLUMNS_##name], row, tick.member))    \
        return 0;
    TAPE_COLUMNS_INTEGER_TABLE(INTEGER)
    TAPE_COLUMNS_DECIMAL_TABLE(DECIMAL)
    TAPE_COLUMNS_LEVELS_TABLE(LEVELS)
    TAPE_COLUMNS_WORDS_TABLE(WORDS)
#undef INTEGER
#undef DECIMAL
#undef LEVELS
#undef WORDS
    return compare_head(compare, batch, row, message);
}

/* Where each record's message stands; none twice, in order in each batch. */
static inline int compare_place_rows(struct compare *compare)
{
    const struct tape_columns_batch *batch;
    while ((batch = tape_columns_next(compare->columns)) != NULL) {
        for (uint32_t row = 0; row < batch->rows; row++) {
            uint32_t record = batch->records[row];
            if (record >= compare->records || compare->seen[record] ||
                (row > 0 && record <= batch->records[row - 1]))
                return COMPARE_DIFFERS("record %u twice, out of order, or none", record);
            compare->seen[record] = 1;
            compare->batch_of[record] = batch;
            compare->row_of[record] = row;
        }
    }
    return 1;
}

static inline int compare_messages(struct compare *compare, uint64_t first_ordinal)
{
    struct tape_record record;
    struct tape_message message;
    while (tape_block_next(compare->reader, &record) == 1) {
        if (tape_feed_push(compare->feed, &record, &message, &compare->error) != 1 ||
            message.kind != TAPE_FEED_DATA)
            continue;
        uint32_t at = (uint32_t)(message.ordinal - first_ordinal);
        if (!compare->seen[at])
            return COMPARE_DIFFERS("record %u is not there: '%.*s'", at, 300, message.payload.data);
        compare->seen[at] = 0;
        if (!compare_row(compare, compare->batch_of[at], compare->row_of[at], &message)) {
            size_t used = strlen(compare->text);
            snprintf(compare->text + used, sizeof compare->text - used, " in record %u: '%.*s'", at,
                     (int)message.payload.bytes, message.payload.data);
            return 0;
        }
        compare->messages++;
    }
    for (uint32_t i = 0; i < compare->records; i++)
        if (compare->seen[i])
            return COMPARE_DIFFERS("record %u is no message", i);
    return 1;
}

/* compare_block(compare, header, stored): 1: both cannot be read, or all is the same. 0: text tells
 * the difference. Blocks come in order. */
static inline int compare_block(struct compare *compare, const struct tape_block_header *header,
                                const uint8_t *stored)
{
    int by_text = tape_block_open(compare->reader, header, stored, &compare->error);
    int by_column = tape_columns_open(compare->columns, header, stored, &compare->error);
    if (by_text != 0)
        return 1; /* columns need not see that texts do not add up */
    if (by_column != 0)
        return COMPARE_DIFFERS("columns: %.1000s", compare->error.text);
    compare->records = header->records;
    compare->seen = realloc(compare->seen, header->records);
    compare->batch_of = realloc(compare->batch_of, header->records * sizeof *compare->batch_of);
    compare->row_of = realloc(compare->row_of, header->records * sizeof *compare->row_of);
    if (!compare->seen || !compare->batch_of || !compare->row_of)
        abort();
    memset(compare->seen, 0, header->records);
    return compare_place_rows(compare) && compare_messages(compare, header->first_ordinal);
}

#undef COMPARE_DIFFERS
#endif
