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

/* A level whose numbers are valid: its texts, and what of them is asked for first. */
struct tape_book_level_text {
    struct tape_slice price, quantity;
    int64_t value; /* of the price, times 10^scale */
    int scale, is_zero;
};

#ifdef TAPE_SCAN_SSE2
enum {
    TAPE_BOOK_LEVEL_WINDOW = 32, /* a level is looked for in so many bytes */
    /* ... which stand behind a comma or bracket, and may end with the quote before "],". */
    TAPE_BOOK_LEVEL_LOADED = TAPE_BOOK_LEVEL_WINDOW + 3,
};

/* A window's bytes by what they are, the first in the lowest bit. */
struct tape_book_level_window {
    const char *text;
    uint32_t quotes, digits, points, zeros;
};

static inline uint32_t tape_book_level_mask(__m128i low, __m128i high)
{
    return (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
}

static inline uint32_t tape_book_level_equal(__m128i low, __m128i high, char c)
{
    const __m128i all = _mm_set1_epi8(c);
    return tape_book_level_mask(_mm_cmpeq_epi8(low, all), _mm_cmpeq_epi8(high, all));
}

static inline void tape_book_level_look(struct tape_book_level_window *window, const char *text)
{
    const __m128i zero = _mm_set1_epi8('0'), nine = _mm_set1_epi8(9);
    __m128i low = _mm_loadu_si128((const __m128i *)text);
    __m128i high = _mm_loadu_si128((const __m128i *)(text + 16));
    window->text = text;
    window->quotes = tape_book_level_equal(low, high, '"');
    window->points = tape_book_level_equal(low, high, '.');
    low = _mm_sub_epi8(low, zero);
    high = _mm_sub_epi8(high, zero);
    window->zeros = tape_book_level_equal(low, high, 0);
    window->digits = tape_book_level_mask(_mm_cmpeq_epi8(_mm_min_epu8(low, nine), low),
                                          _mm_cmpeq_epi8(_mm_min_epu8(high, nine), high));
}

/* A number from ${from} to ${to} in the window: how many digits stand before its point and behind
 * it. 0 when it is not of digits with at most one point between them, one to eight before it and up
 * to eight behind it; then the slow way tells. */
static inline __attribute__((always_inline)) int
tape_book_level_measure(const struct tape_book_level_window *window, unsigned from, unsigned to,
                        unsigned *whole, unsigned *scale)
{
    unsigned bytes = to - from;
    uint32_t all = ((uint32_t)1 << bytes) - 1;
    uint32_t digits = window->digits >> from & all, points = window->points >> from & all;
    *whole = (unsigned)__builtin_ctz(points | (uint32_t)1 << bytes);
    *scale = bytes - *whole - (points != 0);
    return (digits ^ points) == all && !(points & (points - 1)) && *whole - 1 < 8 && *scale <= 8 &&
           (points == 0 || *scale > 0) && (!(window->zeros >> from & 1) || *whole == 1);
}

/* The number of the ${digits} digits at text, at most 8 of them. */
static inline int64_t tape_book_level_number(const char *text, unsigned digits)
{
    /* Twice, because a shift by all 64 bits is none. */
    unsigned above = 4 * (8 - digits);
    return (int64_t)tape_decimal_join(tape_decimal_load(text) << above << above);
}

static inline __attribute__((always_inline)) int64_t
tape_book_level_value(const char *text, unsigned whole, unsigned scale)
{
    static const int64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    if (whole + scale > 8 || whole == 8)
        return tape_book_level_number(text, whole) * powers[scale] +
               tape_book_level_number(text + whole + (scale > 0), scale);
    /* The point is taken out. */
    uint64_t below = ((uint64_t)1 << 8 * whole) - 1;
    uint64_t word = (tape_decimal_load(text) & below) | (tape_decimal_load(text + 1) & ~below);
    return (int64_t)tape_decimal_join(word << 8 * (8 - whole - scale));
}

/* 1 with a level ["1.0","2"] as venues write it; 0: it is something else, or too near to the list's
 * end, and nothing was taken. The slice begins as between two calls of tape_tick_next_level(). */
static inline __attribute__((always_inline)) int
tape_book_level_plain(struct tape_slice *list, struct tape_book_level_text *level)
{
    const char *at = list->data;
    unsigned whole, scale, others_whole, others_scale;
    struct tape_book_level_window window;
    if (list->bytes < TAPE_BOOK_LEVEL_LOADED)
        return 0;
    tape_book_level_look(&window, at + 1);
    uint32_t second = window.quotes & (window.quotes - 1), third = second & (second - 1);
    uint32_t fourth = third & (third - 1);
    if (!fourth || (*at != ',' && *at != '['))
        return 0;
    unsigned middle = (unsigned)__builtin_ctz(second), close = (unsigned)__builtin_ctz(fourth);
    const char *behind = window.text + close;
    if (memcmp(window.text, "[\"", 2) != 0 || memcmp(window.text + middle, "\",\"", 3) != 0 ||
        behind[1] != ']' || (behind[2] != ',' && behind[2] != ']') ||
        !tape_book_level_measure(&window, middle + 3, close, &others_whole, &others_scale) ||
        !tape_book_level_measure(&window, 2, middle, &whole, &scale))
        return 0;
    uint32_t quantity = ((uint32_t)1 << close) - ((uint32_t)1 << (middle + 3));
    level->price = (struct tape_slice){window.text + 2, middle - 2};
    level->quantity = (struct tape_slice){window.text + middle + 3, close - middle - 3};
    level->value = tape_book_level_value(window.text + 2, whole, scale);
    level->scale = (int)scale;
    level->is_zero = ((window.zeros | window.points) & quantity) == quantity;
    list->data = behind + 2;
    list->bytes -= close + 3;
    return 1;
}
#else
static inline int tape_book_level_plain(struct tape_slice *list, struct tape_book_level_text *level)
{
    (void)list, (void)level;
    return 0;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
