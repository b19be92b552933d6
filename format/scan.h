/* Steps over JSON values, in place and never past the end; strict RFC 8259 (UTF-8 is not looked
 * at). Private to the tick decoder; everything is inline because every cycle counts there. */
#ifndef TAPE_FORMAT_SCAN_H
#define TAPE_FORMAT_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TAPE_SCAN_PORTABLE)
#include <emmintrin.h>
#define TAPE_SCAN_SSE2 1
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SCAN_DEPTH_MAX = 1000 }; /* as cJSON: what nests deeper is not JSON */

/* tape_scan_value(at, end, outer): the end of the JSON value that starts at ${at}, or NULL when
 * there is none before ${end}. No recursion; ${outer} brackets are open around it. */
const char *tape_scan_value(const char *at, const char *end, unsigned outer);

/* tape_scan_unescape(from, bytes, to, room): the text that a string's bytes stand for, for
 * comparing with ASCII: an escaped character that is none, or NUL, becomes a byte 0xff. Returns its
 * length, or room + 1 when it does not fit. */
size_t tape_scan_unescape(const char *from, size_t bytes, char *to, size_t room);

static inline const char *tape_scan_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

#ifdef TAPE_SCAN_SSE2
/* Bits of the bytes among these 16 that end the plain part of a string: quote, backslash, control.
 */
static inline unsigned tape_scan_stops(__m128i text)
{
    const __m128i controls = _mm_set1_epi8(0x1f);
    __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(text, _mm_set1_epi8('"')),
                                _mm_cmpeq_epi8(text, _mm_set1_epi8('\\')));
    stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(text, controls), text));
    return (unsigned)_mm_movemask_epi8(stop);
}
#endif

/* tape_scan_plain(at, end): the first quote, backslash or control byte, or end. */
static inline const char *tape_scan_plain(const char *at, const char *end)
{
#ifdef TAPE_SCAN_SSE2
    while (end - at >= 16) {
        unsigned stops = tape_scan_stops(_mm_loadu_si128((const __m128i *)at));
        if (stops)
            return at + __builtin_ctz(stops);
        at += 16;
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
        at++;
    return at;
}

/* tape_scan_escape(at, end): steps over the escape whose backslash is at ${at}, or NULL. */
static inline const char *tape_scan_escape(const char *at, const char *end)
{
    if (end - at < 2)
        return NULL;
    if (at[1] != 'u')
        return memchr("\"\\/bfnrt", at[1], 8) ? at + 2 : NULL;
    if (end - at < 6)
        return NULL;
    for (int i = 2; i < 6; i++) {
        char low = (char)(at[i] | 0x20);
        if (!(at[i] >= '0' && at[i] <= '9') && !(low >= 'a' && low <= 'f'))
            return NULL;
    }
    return at + 6;
}

/* tape_scan_string(at, end): ${at} is behind the opening quote; returns the closing quote or NULL.
 */
static inline const char *tape_scan_string(const char *at, const char *end)
{
    for (;;) {
        at = tape_scan_plain(at, end);
        if (at == end)
            return NULL;
        if (*at == '"')
            return at;
        if (*at != '\\' || !(at = tape_scan_escape(at, end)))
            return NULL;
    }
}

/* tape_scan_digits(at, end): behind the run of digits at ${at}. */
static inline const char *tape_scan_digits(const char *at, const char *end)
{
    while (at < end && (unsigned char)(*at - '0') <= 9)
        at++;
    return at;
}

/* tape_scan_number(at, end): behind the JSON number at ${at}, or NULL. */
static inline const char *tape_scan_number(const char *at, const char *end)
{
    at += at < end && *at == '-';
    const char *whole = at;
    at = tape_scan_digits(at, end);
    if (at == whole || (*whole == '0' && at - whole > 1))
        return NULL;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        at = tape_scan_digits(at, end);
        if (at == fraction)
            return NULL;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        const char *exponent = at;
        at = tape_scan_digits(at, end);
        if (at == exponent)
            return NULL;
    }
    return at;
}

/* tape_scan_word(at, end): behind true, false or null, or NULL. */
static inline const char *tape_scan_word(const char *at, const char *end)
{
    if (end - at >= 4 && (!memcmp(at, "true", 4) || !memcmp(at, "null", 4)))
        return at + 4;
    return end - at >= 5 && !memcmp(at, "false", 5) ? at + 5 : NULL;
}

/* tape_scan_scalar(at, end): behind the string, number or word at ${at} < ${end}, or NULL. */
static inline const char *tape_scan_scalar(const char *at, const char *end)
{
    if (*at == '"') {
        at = tape_scan_string(at + 1, end);
        return at ? at + 1 : NULL;
    }
    return *at == '-' || (*at >= '0' && *at <= '9') ? tape_scan_number(at, end)
                                                    : tape_scan_word(at, end);
}

#ifdef __cplusplus
}
#endif
#endif
