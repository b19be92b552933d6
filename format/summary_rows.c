#include "format/summary_rows.h"

#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"

enum { VALUE_NULL = 0, VALUE_NUMBER = 1, VALUE_TEXT = 2 };

static const uint8_t values_of[TAPE_SUMMARY_ROWS] = {
#define ROW_VALUES(name, values, sql) values,
    TAPE_SUMMARY_ROW_TABLE(ROW_VALUES)
#undef ROW_VALUES
};

static uint8_t *reserve(struct tape_summary_rows *rows, size_t bytes)
{
    if (rows->failed)
        return NULL;
    if (rows->room - rows->used < bytes) {
        size_t room = rows->room ? rows->room * 2 : 4096;
        while (room - rows->used < bytes)
            room *= 2;
        uint8_t *grown = realloc(rows->bytes, room);
        if (!grown) {
            rows->failed = 1;
            return NULL;
        }
        rows->bytes = grown;
        rows->room = room;
    }
    return rows->bytes + rows->used;
}

void tape_summary_rows_begin(struct tape_summary_rows *rows, int row)
{
    uint8_t *to = reserve(rows, 1);
    if (!to)
        return;
    *to = (uint8_t)row;
    rows->used++;
}

void tape_summary_rows_number(struct tape_summary_rows *rows, int64_t value)
{
    uint8_t *to = reserve(rows, 1 + sizeof value);
    if (!to)
        return;
    if (value == TAPE_SUMMARY_NONE) {
        *to = VALUE_NULL;
        rows->used++;
        return;
    }
    *to = VALUE_NUMBER;
    memcpy(to + 1, &value, sizeof value);
    rows->used += 1 + sizeof value;
}

void tape_summary_rows_text(struct tape_summary_rows *rows, const char *text)
{
    if (text)
        tape_summary_rows_bytes(rows, text, strlen(text));
    else
        tape_summary_rows_number(rows, TAPE_SUMMARY_NONE);
}

/* The length of the character at text, or 0 when it is a control or no UTF-8. */
static size_t character(const uint8_t *text, size_t bytes)
{
    if (text[0] < 0x80)
        return text[0] >= 0x20 && text[0] != 0x7f;
    size_t want = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    struct tape_utf8 state = {0};
    if (want > bytes || tape_utf8_check(&state, text, want) != want || !tape_utf8_complete(&state))
        return 0;
    /* C1 controls move a terminal's cursor, too */
    return text[0] == 0xc2 && text[1] < 0xa0 ? 0 : want;
}

size_t tape_summary_clean(char *to, size_t room, const char *text, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = (const uint8_t *)text;
    size_t used = 0;
    for (size_t at = 0; at < bytes;) {
        size_t length = character(from + at, bytes - at);
        if (length > 0) {
            if (room - used < length)
                break;
            memcpy(to + used, from + at, length);
            used += length;
            at += length;
            continue;
        }
        if (room - used < 4)
            break;
        to[used++] = '\\';
        to[used++] = 'x';
        to[used++] = digits[from[at] >> 4];
        to[used++] = digits[from[at] & 15];
        at++;
    }
    return used;
}

void tape_summary_rows_bytes(struct tape_summary_rows *rows, const char *text, size_t bytes)
{
    if (bytes > TAPE_SUMMARY_DETAIL_BYTES)
        bytes = TAPE_SUMMARY_DETAIL_BYTES;
    size_t room = bytes * 4;
    uint8_t *to = reserve(rows, 1 + sizeof(uint32_t) + room);
    if (!to)
        return;
    uint32_t used = (uint32_t)tape_summary_clean(
        (char *)to + 1 + sizeof used,
        room < TAPE_SUMMARY_DETAIL_BYTES ? room : (size_t)TAPE_SUMMARY_DETAIL_BYTES, text, bytes);
    *to = VALUE_TEXT;
    memcpy(to + 1, &used, sizeof used);
    rows->used += 1 + sizeof used + used;
}

/* The value at *at, which moves behind it. */
static struct tape_summary_value read_value(const struct tape_summary_rows *rows, size_t *at)
{
    struct tape_summary_value value = {.number = TAPE_SUMMARY_NONE};
    uint8_t kind = rows->bytes[(*at)++];
    if (kind == VALUE_NUMBER) {
        memcpy(&value.number, rows->bytes + *at, sizeof value.number);
        *at += sizeof value.number;
    } else if (kind == VALUE_TEXT) {
        memcpy(&value.bytes, rows->bytes + *at, sizeof value.bytes);
        *at += sizeof value.bytes;
        value.text = (const char *)rows->bytes + *at;
        *at += value.bytes;
    }
    return value;
}

int tape_summary_rows_next(const struct tape_summary_rows *rows, size_t *at,
                           struct tape_summary_value values[TAPE_SUMMARY_VALUES_MAX])
{
    if (*at >= rows->used)
        return -1;
    int row = rows->bytes[(*at)++];
    for (int i = 0; i < values_of[row]; i++)
        values[i] = read_value(rows, at);
    return row;
}

void tape_summary_rows_change(struct tape_summary_rows *rows, int row, int value, int64_t number)
{
    for (size_t at = 0; at < rows->used;) {
        int here = rows->bytes[at++];
        for (int i = 0; i < values_of[here]; i++) {
            if (here == row && i == value && rows->bytes[at] == VALUE_NUMBER)
                memcpy(rows->bytes + at + 1, &number, sizeof number);
            read_value(rows, &at);
        }
    }
}
