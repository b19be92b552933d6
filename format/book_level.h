/* Price levels off a list, fast where they are written as venues do. Private to the book files;
 * inline because this is where updates spend their time. */
#ifndef TAPE_FORMAT_BOOK_LEVEL_H
#define TAPE_FORMAT_BOOK_LEVEL_H

#include "format/decimal.h"
#include "format/scan.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef TAPE_SCAN_SSE2
enum { TAPE_BOOK_LEVEL_WINDOW = 32 };

/* 1 with a level ["1.0","2"] of less than a window, of two valid decimals; 0: it is something else,
 * or too near to the list's end, and nothing was taken. The slice begins as between two calls of
 * tape_tick_next_level(). */
static inline int tape_book_level_plain(struct tape_slice *list, struct tape_decimal *price,
                                        struct tape_decimal *quantity)
{
    const char *at = list->data, *end = list->data + list->bytes;
    if (list->bytes < TAPE_BOOK_LEVEL_WINDOW + 4)
        return 0;
    const __m128i quote = _mm_set1_epi8('"');
    __m128i low = _mm_loadu_si128((const __m128i *)(at + 1));
    __m128i high = _mm_loadu_si128((const __m128i *)(at + 17));
    uint32_t first = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(low, quote)) |
                     (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, quote)) << 16;
    uint32_t second = first & (first - 1), third = second & (second - 1);
    uint32_t fourth = third & (third - 1);
    if (!fourth || (*at != ',' && *at != '['))
        return 0;
    const char *middle = at + 1 + __builtin_ctz(second), *close = at + 1 + __builtin_ctz(fourth);
    if (memcmp(at + 1, "[\"", 2) != 0 || memcmp(middle, "\",\"", 3) != 0 || close[1] != ']' ||
        (close[2] != ',' && close[2] != ']'))
        return 0;
    struct tape_slice price_text = {at + 3, (size_t)(middle - at) - 3};
    struct tape_slice quantity_text = {middle + 3, (size_t)(close - middle) - 3};
    if (!tape_decimal_read(price_text, end, price) ||
        !tape_decimal_read(quantity_text, end, quantity))
        return 0;
    list->data = close + 2;
    list->bytes = (size_t)(end - list->data);
    return 1;
}
#endif

/* tape_book_level_next(list, price, quantity): as tape_tick_next_level(). */
static inline int tape_book_level_next(struct tape_slice *list, struct tape_decimal *price,
                                       struct tape_decimal *quantity)
{
#ifdef TAPE_SCAN_SSE2
    if (tape_book_level_plain(list, price, quantity))
        return 1;
#endif
    return tape_tick_next_level(list, price, quantity);
}

#ifdef __cplusplus
}
#endif
#endif
