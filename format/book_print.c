#include <stdio.h>
#include <string.h>

#include "format/book.h"

/* Invariant: what fits is at to; used counts on past room, so that it tells the size. */
struct print {
    char *to;
    size_t room, used;
};

static void put(struct print *print, const char *text, size_t bytes)
{
    if (print->used <= print->room && bytes <= print->room - print->used)
        memcpy(print->to + print->used, text, bytes);
    print->used += bytes;
}

static void put_number(struct print *print, const char *before, int64_t number)
{
    char text[64];
    int bytes = snprintf(text, sizeof text, "%s%lld", before, (long long)number);
    put(print, text, (size_t)bytes);
}

static void put_side(struct print *print, const struct tape_book *book, int side, size_t limit)
{
    struct tape_book_level level;
    for (size_t i = 0; (limit == 0 || i < limit) && tape_book_level(book, side, i, &level); i++) {
        put(print, i ? ",[\"" : "[\"", i ? 3 : 2);
        put(print, level.price.text.data, level.price.text.bytes);
        put(print, "\",\"", 3);
        put(print, level.quantity.text.data, level.quantity.text.bytes);
        put(print, "\"]", 2);
    }
}

int64_t tape_book_print(const struct tape_book *book, size_t limit, char *to, size_t room)
{
    static const char bids[] = ",\"bids\":[", asks[] = "],\"asks\":[", end[] = "]}";
    struct print print = {to, to ? room : 0, 0};
    int64_t event_ms, transaction_ms;
    if (tape_book_state(book) != TAPE_BOOK_KNOWN)
        return 0;
    put_number(&print, "{\"lastUpdateId\":", tape_book_last_id(book));
    tape_book_read_times(book, &event_ms, &transaction_ms);
    if (event_ms != TAPE_TICK_NONE)
        put_number(&print, ",\"E\":", event_ms);
    if (transaction_ms != TAPE_TICK_NONE)
        put_number(&print, ",\"T\":", transaction_ms);
    put(&print, bids, sizeof bids - 1);
    put_side(&print, book, 0, limit);
    put(&print, asks, sizeof asks - 1);
    put_side(&print, book, 1, limit);
    put(&print, end, sizeof end - 1);
    return to && print.used > room ? TAPE_LIMIT : (int64_t)print.used;
}
