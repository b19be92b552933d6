#include "format/columns_text.h"

#include <stdlib.h>
#include <string.h>

#include "format/columns_dictionary.h"
#include "format/feed.h"

#define NOWHERE UINT64_MAX

/* Columns that grow row by row. Invariant: used = 0: all rows are absent so far, and the arrays may
 * be NULL; else they have room for all rows that there is room for. */
struct decimals {
    int64_t *values;
    uint8_t *scales, *states;
    uint8_t used;
};

struct levels {
    uint32_t *begins;
    int64_t *counts;
    uint8_t *states;
    uint8_t used;
    uint32_t count, room; /* of price and quantity, which are always used */
    struct decimals price, quantity;
};

struct integers {
    int64_t *values;
    uint8_t used;
};

/* The rows of one kind. Invariant: count <= room, the room of all arrays but the levels'. */
struct rows {
    uint32_t count, room;
    uint32_t *records, *connections;
    int64_t *recv_ns;
    uint16_t *flags;
    struct tape_slice *payloads;
    struct integers integers[TAPE_COLUMNS_INTEGERS];
    struct decimals decimals[TAPE_COLUMNS_DECIMALS];
    struct levels levels[TAPE_COLUMNS_LEVELS];
    int64_t *words[TAPE_COLUMNS_WORDS];
    struct tape_columns_dictionary dictionaries[TAPE_COLUMNS_WORDS];
};

/* Invariants: next: the ordinal after the last record that was pushed, or of the block's first;
 * end: after the last block, when it was read whole, or NOWHERE; block_end: after this one. memory
 * holds payloads that are in no record. */
struct tape_columns_text {
    struct tape_feed *feed;
    struct tape_packed_memory memory;
    uint64_t first_ordinal, next, end, block_end;
    struct rows kinds[TAPE_COLUMNS_KINDS];
};

struct tape_columns_text *tape_columns_text_new(void)
{
    struct tape_columns_text *text = calloc(1, sizeof *text);
    if (text == NULL)
        return NULL;
    text->feed = tape_feed_new();
    if (text->feed != NULL)
        return text;
    free(text);
    return NULL;
}

static void free_decimals(struct decimals *column)
{
    free(column->values);
    free(column->scales);
    free(column->states);
}

static void free_rows(struct rows *rows)
{
    free(rows->records);
    free(rows->connections);
    free(rows->recv_ns);
    free(rows->flags);
    free(rows->payloads);
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
        free(rows->integers[i].values);
    for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++)
        free_decimals(&rows->decimals[i]);
    for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++) {
        free(rows->levels[i].begins);
        free(rows->levels[i].counts);
        free(rows->levels[i].states);
        free_decimals(&rows->levels[i].price);
        free_decimals(&rows->levels[i].quantity);
    }
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++) {
        free(rows->words[i]);
        tape_columns_dictionary_free(&rows->dictionaries[i]);
    }
}

void tape_columns_text_free(struct tape_columns_text *text)
{
    if (text == NULL)
        return;
    for (int i = 0; i < TAPE_COLUMNS_KINDS; i++)
        free_rows(&text->kinds[i]);
    tape_feed_free(text->feed);
    tape_packed_memory_free(&text->memory);
    free(text);
}

/* --- room --- */

#define GROW(array, room)                                                                          \
    do {                                                                                           \
        void *larger = realloc(array, (room) * sizeof *(array));                                   \
        if (larger == NULL)                                                                        \
            return 0;                                                                              \
        (array) = larger;                                                                          \
    } while (0)

static int grow_decimals(struct decimals *column, size_t room)
{
    GROW(column->values, room);
    GROW(column->scales, room);
    GROW(column->states, room);
    return 1;
}

static int grow_levels(struct levels *column, size_t room)
{
    GROW(column->begins, room);
    GROW(column->counts, room);
    GROW(column->states, room);
    return 1;
}

/* Room for one row more. */
static int grow_rows(struct rows *rows)
{
    if (rows->count < rows->room)
        return 1;
    uint32_t room = rows->room * 2 + 64;
    GROW(rows->records, room);
    GROW(rows->connections, room);
    GROW(rows->recv_ns, room);
    GROW(rows->flags, room);
    GROW(rows->payloads, room);
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++)
        GROW(rows->words[i], room);
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
        if (rows->integers[i].values != NULL)
            GROW(rows->integers[i].values, room);
    for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++)
        if (rows->decimals[i].values != NULL && !grow_decimals(&rows->decimals[i], room))
            return 0;
    for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++)
        if (rows->levels[i].begins != NULL && !grow_levels(&rows->levels[i], room))
            return 0;
    rows->room = room;
    return 1;
}

/* --- a row --- */

static int put_integer(struct rows *rows, int which, int64_t value, int64_t absent)
{
    struct integers *column = &rows->integers[which];
    if (!column->used) {
        if (value == absent)
            return 1;
        if (column->values == NULL)
            GROW(column->values, rows->room);
        for (uint32_t i = 0; i < rows->count; i++)
            column->values[i] = absent;
        column->used = 1;
    }
    column->values[rows->count] = value;
    return 1;
}

static void set_decimal(struct decimals *column, uint32_t row, const struct tape_decimal *decimal)
{
    column->values[row] = decimal->value;
    column->scales[row] = decimal->scale;
    column->states[row] = decimal->text.data == NULL ? TAPE_COLUMNS_ABSENT
                          : decimal->valid           ? TAPE_COLUMNS_VALID
                                                     : TAPE_COLUMNS_ODD;
}

static int put_decimal(struct rows *rows, int which, const struct tape_decimal *decimal)
{
    struct decimals *column = &rows->decimals[which];
    if (!column->used) {
        if (decimal->text.data == NULL)
            return 1;
        if (column->values == NULL && !grow_decimals(column, rows->room))
            return 0;
        memset(column->values, 0, rows->count * sizeof *column->values);
        memset(column->scales, 0, rows->count);
        memset(column->states, TAPE_COLUMNS_ABSENT, rows->count);
        column->used = 1;
    }
    set_decimal(column, rows->count, decimal);
    return 1;
}

static int put_level(struct levels *column, const struct tape_decimal *price,
                     const struct tape_decimal *quantity)
{
    if (column->count == column->room) {
        uint32_t room = column->room * 2 + 64;
        if (!grow_decimals(&column->price, room) || !grow_decimals(&column->quantity, room))
            return 0;
        column->room = room;
    }
    set_decimal(&column->price, column->count, price);
    set_decimal(&column->quantity, column->count, quantity);
    column->count++;
    return 1;
}

static int put_levels(struct rows *rows, int which, struct tape_slice list)
{
    struct levels *column = &rows->levels[which];
    if (!column->used) {
        if (list.data == NULL)
            return 1;
        if (column->begins == NULL && !grow_levels(column, rows->room))
            return 0;
        memset(column->begins, 0, rows->count * sizeof *column->begins);
        memset(column->counts, 0, rows->count * sizeof *column->counts);
        memset(column->states, TAPE_COLUMNS_ABSENT, rows->count);
        column->used = 1;
    }
    struct tape_decimal price, quantity;
    uint32_t begin = column->count;
    int got = 0, absent = list.data == NULL;
    while (!absent && (got = tape_tick_next_level(&list, &price, &quantity)) == 1)
        if (!put_level(column, &price, &quantity))
            return 0;
    column->begins[rows->count] = begin;
    column->counts[rows->count] = column->count - begin;
    column->states[rows->count] = absent    ? TAPE_COLUMNS_ABSENT
                                  : got < 0 ? TAPE_COLUMNS_ODD
                                            : TAPE_COLUMNS_VALID;
    return 1;
}

static int put_words(struct rows *rows, int which, struct tape_slice words)
{
    int64_t number = tape_columns_dictionary_number(&rows->dictionaries[which], words);
    rows->words[which][rows->count] = number;
    return number >= 0;
}

/* 0: memory. */
static int put_row(struct rows *rows, uint32_t record, const struct tape_message *message,
                   struct tape_slice stream, const struct tape_tick *tick)
{
    if (!grow_rows(rows))
        return 0;
    uint32_t row = rows->count;
    rows->records[row] = record;
    rows->connections[row] = message->connection;
    rows->recv_ns[row] = message->recv_ns;
    rows->flags[row] = message->flags;
    rows->payloads[row] = message->payload;
#define INTEGER(name, member, absent)                                                              \
    if (!put_integer(rows, TAPE_COLUMNS_##name, tick->member, absent))                             \
        return 0;
    TAPE_COLUMNS_INTEGER_TABLE(INTEGER)
#undef INTEGER
#define DECIMAL(name, member)                                                                      \
    if (!put_decimal(rows, TAPE_COLUMNS_##name, &tick->member))                                    \
        return 0;
    TAPE_COLUMNS_DECIMAL_TABLE(DECIMAL)
#undef DECIMAL
#define LEVELS(name, member)                                                                       \
    if (!put_levels(rows, TAPE_COLUMNS_##name, tick->member))                                      \
        return 0;
    TAPE_COLUMNS_LEVELS_TABLE(LEVELS)
#undef LEVELS
    if (!put_words(rows, TAPE_COLUMNS_STREAM, stream) ||
        !put_words(rows, TAPE_COLUMNS_SYMBOL, tick->symbol) ||
        !put_words(rows, TAPE_COLUMNS_EVENT, tick->event))
        return 0;
    rows->count++;
    return 1;
}

/* --- records --- */

void tape_columns_text_begin(struct tape_columns_text *text, const struct tape_block_header *header)
{
    /* Nothing is passed over in the feed where this block does not follow: that is a hole. */
    if (text->end != header->first_ordinal)
        text->next = header->first_ordinal;
    text->first_ordinal = header->first_ordinal;
    text->block_end = header->first_ordinal + header->records;
    text->end = NOWHERE;
    tape_packed_memory_clear(&text->memory);
    for (int kind = 0; kind < TAPE_COLUMNS_KINDS; kind++) {
        struct rows *rows = &text->kinds[kind];
        rows->count = 0;
        for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
            rows->integers[i].used = 0;
        for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++)
            rows->decimals[i].used = 0;
        for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++)
            rows->levels[i].used = rows->levels[i].count = 0;
        for (int i = 0; i < TAPE_COLUMNS_WORDS; i++)
            tape_columns_dictionary_clear(&rows->dictionaries[i]);
    }
}

/* What the feed lent goes with the next push: it is copied. */
static int keep_payload(struct tape_columns_text *text, const struct tape_record *record,
                        struct tape_message *message)
{
    uintptr_t payload = (uintptr_t)message->payload.data, data = (uintptr_t)record->data;
    if (message->payload.bytes == 0 || (payload >= data && payload - data < record->bytes))
        return 1;
    char *copy = tape_packed_memory_take(&text->memory, message->payload.bytes, 1);
    if (copy == NULL)
        return 0;
    memcpy(copy, message->payload.data, message->payload.bytes);
    if (message->stream.bytes > 0)
        message->stream.data = copy + (message->stream.data - message->payload.data);
    message->payload.data = copy;
    return 1;
}

int tape_columns_text_push(struct tape_columns_text *text, const struct tape_record *record,
                           struct tape_error *error)
{
    struct tape_message message;
    struct tape_tick tick;
    tape_feed_pass(text->feed, text->next, record->ordinal);
    text->next = record->ordinal + 1;
    int status = tape_feed_push(text->feed, record, &message, error);
    if (status <= 0 || message.kind != TAPE_FEED_DATA)
        return status < 0 ? status : 0;
    if (keep_payload(text, record, &message)) {
        tape_tick_decode(message.payload.data, message.payload.bytes, &tick);
        if (put_row(&text->kinds[tick.kind], (uint32_t)(message.ordinal - text->first_ordinal),
                    &message, message.stream, &tick))
            return 0;
    }
    return tape_error_set(error, TAPE_FAILED, "no memory for the columns of a block");
}

/* --- batches --- */

static void give_decimals(const struct decimals *column, struct tape_columns_of_decimals *to)
{
    if (!column->used)
        return;
    to->values = column->values;
    to->scales = column->scales;
    to->states = column->states;
}

static void give_levels(struct levels *column, struct tape_columns_of_levels *to)
{
    if (!column->used)
        return;
    to->begins = column->begins;
    to->counts = column->counts;
    to->states = column->states;
    to->levels = column->count;
    column->price.used = column->quantity.used = column->count > 0;
    give_decimals(&column->price, &to->price);
    give_decimals(&column->quantity, &to->quantity);
}

static void give_rows(struct rows *rows, struct tape_columns_batch *batch)
{
    static const int64_t absent[] = {
#define ABSENT(name, member, absent) [TAPE_COLUMNS_##name] = absent,
        TAPE_COLUMNS_INTEGER_TABLE(ABSENT)
#undef ABSENT
    };
    batch->rows = rows->count;
    batch->records = rows->records;
    batch->recv_ns = rows->recv_ns;
    batch->connections = rows->connections;
    batch->flags = rows->flags;
    batch->payloads = rows->payloads;
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++) {
        batch->integers[i].values = rows->integers[i].used ? rows->integers[i].values : NULL;
        batch->integers[i].constant = absent[i];
    }
    for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++)
        give_decimals(&rows->decimals[i], &batch->decimals[i]);
    for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++)
        give_levels(&rows->levels[i], &batch->levels[i]);
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++) {
        batch->words[i].entries = rows->dictionaries[i].entries;
        batch->words[i].entry_count = rows->dictionaries[i].count;
        batch->words[i].indexes = rows->words[i];
    }
}

int tape_columns_text_end(struct tape_columns_text *text, struct tape_columns_batches *batches)
{
    for (int kind = 0; kind < TAPE_COLUMNS_KINDS; kind++) {
        if (text->kinds[kind].count == 0)
            continue;
        struct tape_columns_batch *batch = tape_columns_batches_add(batches);
        if (batch == NULL)
            return TAPE_FAILED;
        batch->kind = kind;
        give_rows(&text->kinds[kind], batch);
    }
    text->end = text->block_end;
    return 0;
}
