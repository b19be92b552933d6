#include "format/scan_levels.h"

#include "format/scan.h"

#ifdef TAPE_SCAN_SSE2
#include <immintrin.h>

/*
 * No branch depends on where a level ends: one bit a byte tells what stands there, and the form is
 * checked by shifting the bits of one window over each other. With as many quotes before it as tell
 * that it opens a string, each opening quote must follow a closing one at the distance of "," or
 * "],[": so nothing else can stand between strings.
 */

#define INLINE static inline __attribute__((always_inline))

enum { WINDOW_BYTES = 64 };

/* Bit i: what stands at byte i of a window. odd: what no plain string holds. */
struct window {
    uint64_t quote, comma, opening, closing, odd;
};

/* What the windows before tell: inside is all ones where a string is open, the rest are their last
 * bits, the last of them highest. */
struct before {
    uint64_t inside, ends, comma, opening, closing;
};

/* As though a level had ended right before the first. */
static const struct before a_level = {
    .ends = 1ull << 60, .closing = 1ull << 61, .comma = 1ull << 62, .opening = 1ull << 63};

INLINE uint64_t behind(uint64_t bits, uint64_t before, int distance)
{
    return bits << distance | before >> (WINDOW_BYTES - distance);
}

/* Bit i: whether an odd number of bits is set up to it. */
INLINE uint64_t count_plainly(uint64_t bits)
{
    for (int distance = 1; distance < WINDOW_BYTES; distance *= 2)
        bits ^= bits << distance;
    return bits;
}

/* odd_quotes is count_...(window->quote). Returns behind the list when it ends in this window, at
 * when it goes on, or NULL. */
INLINE const char *check_window(struct before *before, const struct window *window,
                                uint64_t odd_quotes, const char *at)
{
    uint64_t inside = odd_quotes ^ before->inside;
    uint64_t ends = window->quote & ~inside;
    uint64_t two_behind = behind(ends, before->ends, 2);
    uint64_t one_string_on = behind(window->comma, before->comma, 1) & two_behind;
    uint64_t one_level_on =
        behind(window->opening, before->opening, 1) & behind(window->comma, before->comma, 2) &
        behind(window->closing, before->closing, 3) & behind(ends, before->ends, 4);
    uint64_t wrong = (window->quote & inside & ~(one_string_on | one_level_on)) | window->odd;
    uint64_t last = two_behind & behind(window->closing, before->closing, 1) & window->closing;
    if (last)
        wrong &= last ^ (last - 1);
    if (wrong)
        return NULL;
    if (last)
        return at + __builtin_ctzll(last) + 1;
    before->inside = (uint64_t)((int64_t)inside >> 63);
    before->ends = ends;
    before->comma = window->comma;
    before->opening = window->opening;
    before->closing = window->closing;
    return at;
}

/* Of the window's bytes the first ${count} are others'. */
INLINE void drop_first(struct window *window, unsigned count)
{
    window->quote >>= count;
    window->comma >>= count;
    window->opening >>= count;
    window->closing >>= count;
    window->odd >>= count;
}

/* Walks the windows from at on, the last one pulled back to where the bytes end. */
#define WALK(look, count)                                                                          \
    struct before before = a_level;                                                                \
    struct window window;                                                                          \
    const char *to;                                                                                \
    for (; end - at >= WINDOW_BYTES; at += WINDOW_BYTES) {                                         \
        look(at, &window);                                                                         \
        to = check_window(&before, &window, count(window.quote), at);                              \
        if (to != at)                                                                              \
            return to;                                                                             \
    }                                                                                              \
    if (at == end)                                                                                 \
        return NULL;                                                                               \
    look(end - WINDOW_BYTES, &window);                                                             \
    drop_first(&window, (unsigned)(at - (end - WINDOW_BYTES)));                                    \
    to = check_window(&before, &window, count(window.quote), at);                                  \
    return to != at ? to : NULL

INLINE uint64_t find_byte(const __m128i *quarters, char byte)
{
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++) {
        __m128i found = _mm_cmpeq_epi8(quarters[i], _mm_set1_epi8(byte));
        bits |= (uint64_t)(unsigned)_mm_movemask_epi8(found) << 16 * i;
    }
    return bits;
}

INLINE void look_plainly(const char *at, struct window *window)
{
    __m128i quarters[4];
    for (int i = 0; i < 4; i++)
        quarters[i] = _mm_loadu_si128((const __m128i *)(at + 16 * i));
    window->quote = find_byte(quarters, '"');
    window->comma = find_byte(quarters, ',');
    window->opening = find_byte(quarters, '[');
    window->closing = find_byte(quarters, ']');
    window->odd = 0;
    for (int i = 0; i < 4; i++)
        window->odd |= (uint64_t)tape_scan_stops(quarters[i]) << 16 * i;
    window->odd ^= window->quote;
}

static const char *walk_plainly(const char *at, const char *end)
{
    WALK(look_plainly, count_plainly);
}

#if defined(__x86_64__)
#define WITH_AVX2 __attribute__((target("avx2,pclmul")))
#define HAS_AVX2  (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul"))

INLINE WITH_AVX2 uint64_t join_halves(__m256i first, __m256i second)
{
    return (uint32_t)_mm256_movemask_epi8(first) | (uint64_t)(uint32_t)_mm256_movemask_epi8(second)
                                                       << 32;
}

INLINE WITH_AVX2 uint64_t find_in_halves(__m256i first, __m256i second, char byte)
{
    __m256i wanted = _mm256_set1_epi8(byte);
    return join_halves(_mm256_cmpeq_epi8(first, wanted), _mm256_cmpeq_epi8(second, wanted));
}

INLINE WITH_AVX2 __m256i find_odd(__m256i text)
{
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text);
    return _mm256_or_si256(control, _mm256_cmpeq_epi8(text, _mm256_set1_epi8('\\')));
}

INLINE WITH_AVX2 void look_with_avx2(const char *at, struct window *window)
{
    __m256i first = _mm256_loadu_si256((const __m256i *)at);
    __m256i second = _mm256_loadu_si256((const __m256i *)(at + 32));
    window->quote = find_in_halves(first, second, '"');
    window->comma = find_in_halves(first, second, ',');
    window->opening = find_in_halves(first, second, '[');
    window->closing = find_in_halves(first, second, ']');
    window->odd = join_halves(find_odd(first), find_odd(second));
}

/* A product without carries by all ones. */
INLINE WITH_AVX2 uint64_t count_by_product(uint64_t bits)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)bits), _mm_set1_epi8((char)0xff), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

static WITH_AVX2 const char *walk_with_avx2(const char *at, const char *end)
{
    WALK(look_with_avx2, count_by_product);
}
#else
#define HAS_AVX2       0
#define walk_with_avx2 walk_plainly
#endif

const char *tape_scan_levels(const char *begin, const char *at, const char *end)
{
    if (end - at < 3 || end - begin < WINDOW_BYTES || memcmp(at, "[[\"", 3) != 0)
        return NULL;
    return HAS_AVX2 ? walk_with_avx2(at + 2, end) : walk_plainly(at + 2, end);
}
#else
const char *tape_scan_levels(const char *begin, const char *at, const char *end)
{
    (void)begin;
    (void)at;
    (void)end;
    return NULL;
}
#endif
