/* Messages in any order to books of every rule. What is known is sorted, has no zeros, prints as
 * JSON, and is the same book again when that is applied. The input is lines of payloads; the first
 * byte says which rule, and whether gaps are waited for. */
#include "format/book.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "format/venue.h"

enum { PRINTED_MAX = 1 << 16 };

/* Both decimals at scale 18, where they are compared. */
static __int128 widened(const struct tape_decimal *number)
{
    __int128 value = number->value;
    for (int scale = number->scale; scale < 18; scale++)
        value *= 10;
    return value;
}

static void check_text(const struct tape_decimal *number)
{
    struct tape_decimal again;
    if (!number->valid || !tape_tick_parse_decimal(number->text, &again) ||
        again.value != number->value || again.scale != number->scale)
        abort();
}

static void check_side(const struct tape_book *book, int side)
{
    struct tape_book_level level, before;
    size_t levels = tape_book_levels(book, side);
    for (size_t i = 0; i < levels; i++, before = level) {
        if (!tape_book_level(book, side, i, &level))
            abort();
        check_text(&level.price);
        check_text(&level.quantity);
        if (level.quantity.value <= 0)
            abort();
        if (i > 0 && (side ? widened(&before.price) >= widened(&level.price)
                           : widened(&before.price) <= widened(&level.price)))
            abort();
    }
    if (tape_book_level(book, side, levels, &level))
        abort();
}

static void check_again(const char *text, size_t bytes)
{
    static char printed[PRINTED_MAX];
    struct tape_tick tick;
    struct tape_book *again = tape_book_new(TAPE_VENUE_SEQUENCE_NONE);
    cJSON *json = cJSON_ParseWithLength(text, bytes);
    if (!json || !again || !tape_tick_decode(text, bytes, &tick) ||
        tick.kind != TAPE_TICK_DEPTH_SNAPSHOT || tape_book_apply(again, &tick, NULL) != 1 ||
        tape_book_print(again, 0, printed, sizeof printed) != (int64_t)bytes ||
        memcmp(printed, text, bytes) != 0)
        abort();
    cJSON_Delete(json);
    tape_book_free(again);
}

static void check(const struct tape_book *book)
{
    static char text[PRINTED_MAX];
    int64_t bytes = tape_book_print(book, 0, NULL, 0);
    int known = tape_book_state(book) == TAPE_BOOK_KNOWN;
    if (known != (bytes > 0) || known != (tape_book_last_id(book) != TAPE_TICK_NONE) ||
        known == (*tape_book_cause(book) != '\0'))
        abort();
    for (const char *at = tape_book_cause(book); *at; at++)
        if (*at < ' ' || *at > '~')
            abort();
    check_side(book, 0);
    check_side(book, 1);
    if (bytes == 0 || bytes > PRINTED_MAX)
        return;
    if (tape_book_print(book, 0, text, (size_t)bytes) != bytes ||
        tape_book_print(book, 0, text, (size_t)bytes - 1) != TAPE_LIMIT ||
        tape_book_print(book, 0, text, (size_t)bytes) != bytes)
        abort();
    check_again(text, (size_t)bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int rules[] = {TAPE_BOOK_BY_DIFF, TAPE_VENUE_SEQUENCE_NONE,
                                TAPE_VENUE_SEQUENCE_PREVIOUS_LAST,
                                TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS};
    if (size == 0)
        return 0;
    struct tape_book *book = tape_book_new(rules[data[0] % 4]);
    tape_book_wait_for(book, data[0] / 4 % 2 ? 1000000000 : 0);
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t bytes = (size_t)((newline ? newline : end) - at);
        struct tape_tick tick;
        struct tape_error error;
        /* In a place of its own, so that a byte read behind it is seen. */
        char *payload = malloc(bytes ? bytes : 1);
        memcpy(payload, at, bytes);
        if (bytes == 0)
            tape_book_reset(book, NULL);
        else if (tape_tick_decode(payload, bytes, &tick))
            tape_book_apply(book, &tick, &error);
        free(payload);
        check(book);
        at += bytes + 1;
    }
    tape_book_free(book);
    return 0;
}
