#include "format/book_kept.h"

#include <stdlib.h>
#include <string.h>

#include "format/error.h"

static size_t text_bytes(const struct tape_tick *tick)
{
    return tick->bids.bytes + tick->asks.bytes;
}

static struct tape_slice move_text(char **to, struct tape_slice text)
{
    struct tape_slice moved = {text.data ? *to : NULL, text.bytes};
    if (text.bytes > 0)
        memcpy(*to, text.data, text.bytes);
    *to += text.bytes;
    return moved;
}

static struct tape_tick **place(struct tape_book_kept *kept, size_t index)
{
    return &kept->ticks[(kept->first + index) % TAPE_BOOK_KEPT_MAX];
}

int tape_book_kept_add(struct tape_book_kept *kept, const struct tape_tick *tick)
{
    size_t bytes = text_bytes(tick);
    int dropped = 0;
    for (; kept->count == TAPE_BOOK_KEPT_MAX ||
           (kept->count > 0 && kept->bytes + bytes > TAPE_BOOK_KEPT_BYTES_MAX);
         dropped++)
        tape_book_kept_drop(kept, 0);
    struct tape_tick *copy = malloc(sizeof *copy + bytes);
    if (!copy)
        return TAPE_FAILED;
    char *text = (char *)(copy + 1);
    *copy = *tick;
    copy->stream = copy->symbol = copy->event = (struct tape_slice){NULL, 0};
    copy->bids = move_text(&text, tick->bids);
    copy->asks = move_text(&text, tick->asks);
    *place(kept, kept->count++) = copy;
    kept->bytes += bytes;
    return dropped;
}

const struct tape_tick *tape_book_kept_at(const struct tape_book_kept *kept, size_t index)
{
    return index < kept->count ? kept->ticks[(kept->first + index) % TAPE_BOOK_KEPT_MAX] : NULL;
}

void tape_book_kept_drop(struct tape_book_kept *kept, size_t index)
{
    struct tape_tick *tick = *place(kept, index);
    kept->bytes -= text_bytes(tick);
    for (; index > 0; index--)
        *place(kept, index) = *place(kept, index - 1);
    kept->first = (kept->first + 1) % TAPE_BOOK_KEPT_MAX;
    kept->count--;
    free(tick);
}

void tape_book_kept_clear(struct tape_book_kept *kept)
{
    while (kept->count > 0)
        tape_book_kept_drop(kept, 0);
}
