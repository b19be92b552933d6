#include "format/tick_plain.h"

#include "format/decimal.h"
#include "format/scan.h"
#include "format/scan_levels.h"

#ifdef TAPE_SCAN_SSE2

/*
 * Each value is decoded where it is met, by its key's letter and its own first byte, so that no
 * place has to be noted and looked up again. Which fields came is noted instead: when they are not
 * those of one kind, or one comes twice, the general reader decides.
 */

#define INLINE static inline __attribute__((always_inline))

/* A letter may stand for several fields, told apart by what its value is. */
#define FIELD_TABLE(X)                                                                             \
    X(EVENT)                                                                                       \
    X(EVENT_TIME)                                                                                  \
    X(TRANSACTION_TIME)                                                                            \
    X(SYMBOL)                                                                                      \
    X(TRADE)                                                                                       \
    X(AGGREGATE)                                                                                   \
    X(FIRST_TRADE)                                                                                 \
    X(LAST_TRADE)                                                                                  \
    X(PRICE)                                                                                       \
    X(QUANTITY)                                                                                    \
    X(MAKER)                                                                                       \
    X(UPDATE)                                                                                      \
    X(FIRST_UPDATE)                                                                                \
    X(PREVIOUS_UPDATE)                                                                             \
    X(BID)                                                                                         \
    X(BID_QUANTITY)                                                                                \
    X(ASK)                                                                                         \
    X(ASK_QUANTITY)                                                                                \
    X(BIDS)                                                                                        \
    X(ASKS)

enum field_number {
#define NUMBER(name) NUMBER_##name,
    FIELD_TABLE(NUMBER)
#undef NUMBER
};

enum field {
#define FIELD(name) name = 1 << NUMBER_##name,
    FIELD_TABLE(FIELD)
#undef FIELD
        OF_ALL = EVENT | EVENT_TIME | TRANSACTION_TIME | SYMBOL,
    OF_TRADE = OF_ALL | TRADE | PRICE | QUANTITY | MAKER,
    OF_AGG_TRADE = OF_ALL | AGGREGATE | FIRST_TRADE | LAST_TRADE | PRICE | QUANTITY | MAKER,
    OF_QUOTE = UPDATE | SYMBOL | BID | BID_QUANTITY | ASK | ASK_QUANTITY,
    OF_BOOK_TICKER = OF_ALL | OF_QUOTE,
    OF_DEPTH = OF_ALL | UPDATE | FIRST_UPDATE | PREVIOUS_UPDATE | BIDS | ASKS,
};

/* Invariants: begin < at <= end; seen: the fields that came. */
struct text {
    const char *begin, *at, *end;
    uint32_t seen;
};

/* 0 for a field that came before: of those the first counts, whatever it is. */
INLINE int is_first(struct text *text, enum field field)
{
    uint32_t before = text->seen;
    text->seen |= field;
    return !(before & field);
}

/* ---- values: 1 and behind it, or 0 ---- */

INLINE __m128i load(const char *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

/*
 * Where a value ends is looked for among the 16 bytes from it on; near the end of the text among
 * the last 16, whose bits are shifted by those in front of it. Told apart by a branch, for where
 * the next member starts waits for all that is done here.
 */
INLINE int is_far(const char *from, const char *end)
{
    return __builtin_expect(end - from > 16, 1);
}

INLINE unsigned bits_before(const char *from, const char *end)
{
    return (unsigned)(16 - (end - from));
}

/* A string of up to 15 plain bytes. */
INLINE int read_string(struct text *text, struct tape_slice *string)
{
    const char *from = text->at + 1;
    unsigned stops = is_far(from, text->end)
                         ? tape_scan_stops(load(from))
                         : tape_scan_stops(load(text->end - 16)) >> bits_before(from, text->end);
    if (!stops)
        return 0;
    string->data = from;
    string->bytes = (size_t)__builtin_ctz(stops);
    text->at = from + string->bytes + 1;
    return text->at[-1] == '"';
}

INLINE unsigned find_others(__m128i text)
{
    __m128i digits = _mm_sub_epi8(text, _mm_set1_epi8('0'));
    return (unsigned)_mm_movemask_epi8(
        _mm_cmpeq_epi8(_mm_max_epu8(digits, _mm_set1_epi8(10)), digits));
}

INLINE unsigned find_points(__m128i text)
{
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('.')));
}

/* A whole number of up to 15 digits, or of 16 where more follows. */
INLINE int read_integer(struct text *text, int64_t *value)
{
    const char *from = text->at;
    unsigned others = is_far(from, text->end)
                          ? find_others(load(from)) | 1u << 16
                          : find_others(load(text->end - 16)) >> bits_before(from, text->end);
    if (!others)
        return 0;
    size_t count = (size_t)__builtin_ctz(others);
    text->at = from + count;
    if (count == 0 || (*from == '0' && count > 1) || text->at - text->begin < 16)
        return 0;
    __m128i digits = _mm_sub_epi8(load(text->at - 16), _mm_set1_epi8('0'));
    *value = (int64_t)tape_decimal_join16(_mm_and_si128(digits, tape_decimal_last(count)));
    return 1;
}

/* Milliseconds or microseconds: see time_at() of the general reader. */
INLINE int read_time(struct text *text, int64_t *ns)
{
    int64_t value;
    if (!read_integer(text, &value) || value > INT64_MAX / 1000)
        return 0;
    *ns = value * (value <= INT64_MAX / 1000000 ? 1000000 : 1000);
    return 1;
}

/* The last ${count} of the eight bytes before ${to}, as digits. */
INLINE __m128i last_digits(const char *to, unsigned count)
{
    __m128i text = _mm_loadl_epi64((const __m128i *)(to - 8));
    return _mm_and_si128(_mm_sub_epi8(text, _mm_set1_epi8('0')), tape_decimal_last_of_8(count));
}

/* The digits of a decimal of up to 15 bytes, its point at the bit of ${points}; 0: it is not valid,
 * or needs a longer look. Both sides of the point are joined at once. */
INLINE int join_decimal(struct tape_decimal *decimal, unsigned points)
{
    static const uint32_t power[9] = {1,      10,      100,      1000,     10000,
                                      100000, 1000000, 10000000, 100000000};
    const char *from = decimal->text.data;
    unsigned bytes = (unsigned)decimal->text.bytes, whole = bytes, scale = 0;
    if (points) {
        whole = (unsigned)__builtin_ctz(points);
        scale = bytes - whole - 1;
        if (scale - 1 > 7 || points & (points - 1))
            return 0;
    }
    if (whole - 1 > 7 || (*from == '0' && whole > 1))
        return 0;
    uint64_t sides = tape_decimal_join_eights(
        _mm_unpacklo_epi64(last_digits(from + whole, whole), last_digits(from + bytes, scale)));
    decimal->value = (int64_t)((sides & 0xffffffff) * power[scale] + (sides >> 32));
    decimal->scale = (uint8_t)scale;
    decimal->valid = 1;
    return 1;
}

/* A string of digits and points only. */
INLINE int read_decimal(struct text *text, struct tape_decimal *decimal)
{
    const char *from = text->at + 1;
    int far = is_far(from, text->end);
    __m128i digits = load(far ? from : text->end - 16);
    unsigned points = find_points(digits), others = find_others(digits) ^ points;
    if (!far) {
        points >>= bits_before(from, text->end);
        others >>= bits_before(from, text->end);
    }
    if (!others || from - text->begin < 8)
        return 0;
    unsigned bytes = (unsigned)__builtin_ctz(others);
    points &= (1u << bytes) - 1;
    text->at = from + bytes + 1;
    if (text->at[-1] != '"')
        return 0;
    decimal->text.data = from;
    decimal->text.bytes = bytes;
    if (!join_decimal(decimal, points))
        tape_decimal_read(decimal->text, text->end, decimal);
    return 1;
}

INLINE int read_boolean(struct text *text, int *value)
{
    if (text->end - text->at < 5)
        return 0;
    *value = memcmp(text->at, "true", 4) == 0;
    if (!*value && memcmp(text->at, "false", 5) != 0)
        return 0;
    text->at += *value ? 4 : 5;
    return 1;
}

/* Behind the list at ${at}, or NULL. */
static const char *pass_levels(const char *begin, const char *at, const char *end)
{
    return end - at >= 2 && at[1] == ']' ? at + 2 : tape_scan_levels(begin, at, end);
}

INLINE int read_levels(struct text *text, struct tape_slice *list)
{
    list->data = text->at;
    text->at = pass_levels(text->begin, text->at, text->end);
    list->bytes = (size_t)(text->at - list->data);
    return text->at != NULL;
}

/* A value that nobody asks for. */
INLINE int pass_value(struct text *text)
{
    struct tape_slice string;
    int64_t integer;
    int boolean;
    if (*text->at == '"')
        return read_string(text, &string);
    return (unsigned char)(*text->at - '0') <= 9 ? read_integer(text, &integer)
                                                 : read_boolean(text, &boolean);
}

/* ---- members ---- */

INLINE int read_event(struct text *text, struct tape_tick *tick)
{
    if (*text->at != '"' || !read_string(text, &tick->event))
        return 0;
#define COMPARE(word, number)                                                                      \
    if (tick->event.bytes == sizeof word - 1 &&                                                    \
        memcmp(tick->event.data, word, sizeof word - 1) == 0)                                      \
    return (tick->kind = TAPE_TICK_##number, 1)
    COMPARE("bookTicker", BOOK_TICKER);
    COMPARE("trade", TRADE);
    COMPARE("depthUpdate", DEPTH);
    COMPARE("aggTrade", AGG_TRADE);
#undef COMPARE
    return 0;
}

/* "b" and "a" are a decimal of a quote, or a list of levels; "a" is an aggregate trade's id, too.
 */
INLINE int read_side(struct text *text, struct tape_decimal *decimal, enum field of_decimal,
                     struct tape_slice *list, enum field of_list)
{
    if (*text->at == '"')
        return is_first(text, of_decimal) && read_decimal(text, decimal);
    return *text->at == '[' && is_first(text, of_list) && read_levels(text, list);
}

#define DECIMAL(field, to)                                                                         \
    (*text->at == '"' && is_first(text, field) && read_decimal(text, &tick->to))
#define INTEGER(field, to) (is_first(text, field) && read_integer(text, &tick->to))

/* 1 for a byte that stands for itself in a key. */
INLINE int is_plain(unsigned letter)
{
    return letter > ' ' && letter != '"' && letter != '\\';
}

/* The value of a key of one letter. */
INLINE int read_value(struct text *text, unsigned letter, struct tape_tick *tick)
{
    switch (letter) {
    case 'e':
        return is_first(text, EVENT) && read_event(text, tick);
    case 'E':
        return is_first(text, EVENT_TIME) && read_time(text, &tick->event_ns);
    case 'T':
        return is_first(text, TRANSACTION_TIME) && read_time(text, &tick->transaction_ns);
    case 's':
        return *text->at == '"' && is_first(text, SYMBOL) && read_string(text, &tick->symbol);
    case 'u':
        return INTEGER(UPDATE, id);
    case 'b':
        return read_side(text, &tick->bid, BID, &tick->bids, BIDS);
    case 'B':
        return DECIMAL(BID_QUANTITY, bid_quantity);
    case 'a':
        if ((unsigned char)(*text->at - '0') <= 9)
            return INTEGER(AGGREGATE, id);
        return read_side(text, &tick->ask, ASK, &tick->asks, ASKS);
    case 'A':
        return DECIMAL(ASK_QUANTITY, ask_quantity);
    case 't':
        return INTEGER(TRADE, id);
    case 'p':
        return DECIMAL(PRICE, price);
    case 'q':
        return DECIMAL(QUANTITY, quantity);
    case 'm':
        return is_first(text, MAKER) && read_boolean(text, &tick->buyer_is_maker);
    case 'U':
        return INTEGER(FIRST_UPDATE, first_id);
    case 'f':
        return INTEGER(FIRST_TRADE, first_id);
    case 'l':
        return INTEGER(LAST_TRADE, last_id);
    default:
        return is_plain(letter) && pass_value(text);
    }
}

/* The member at text->at; little endian: what stands first is lowest. */
INLINE int read_member(struct text *text, struct tape_tick *tick)
{
    uint64_t head = 0;
    if (text->end - text->at < 8)
        return 0;
    memcpy(&head, text->at, sizeof head);
    unsigned first = head >> 8 & 0xff, second = head >> 16 & 0xff;
    if ((head & 0xffff00ff) == 0x3a220022) { /* "?": */
        text->at += 4;
        return read_value(text, first, tick);
    }
    if ((head & 0xffff0000ff) != 0x3a22000022 || !is_plain(first) || !is_plain(second))
        return 0;
    text->at += 5;
    if (first == 'p' && second == 'u')
        return INTEGER(PREVIOUS_UPDATE, previous_id);
    return pass_value(text);
}

/* 1 when the fields are those of one kind. */
INLINE int settle_kind(uint32_t seen, struct tape_tick *tick)
{
    switch (tick->kind) {
    case TAPE_TICK_BOOK_TICKER:
        return !(seen & ~(uint32_t)OF_BOOK_TICKER);
    case TAPE_TICK_TRADE:
        return !(seen & ~(uint32_t)OF_TRADE);
    case TAPE_TICK_AGG_TRADE:
        return !(seen & ~(uint32_t)OF_AGG_TRADE);
    case TAPE_TICK_DEPTH:
        tick->last_id = tick->id;
        tick->id = TAPE_TICK_NONE;
        return !(seen & ~(uint32_t)OF_DEPTH);
    default: /* spot's has no "e" */
        tick->kind = TAPE_TICK_BOOK_TICKER;
        return (seen & ~(uint32_t)(EVENT_TIME | TRANSACTION_TIME)) == OF_QUOTE;
    }
}

const char *tape_tick_plain(const char *begin, const char *at, const char *end,
                            struct tape_tick *tick)
{
    struct text text = {begin, at, end, 0};
    if (end - begin < 16)
        return NULL;
    tape_tick_clear(tick);
    for (;; text.at++) {
        if (!read_member(&text, tick) || text.at == end)
            return NULL;
        if (*text.at != ',')
            return *text.at == '}' && settle_kind(text.seen, tick) ? text.at + 1 : NULL;
    }
}
#else
const char *tape_tick_plain(const char *begin, const char *at, const char *end,
                            struct tape_tick *tick)
{
    (void)begin;
    (void)at;
    (void)end;
    (void)tick;
    return NULL;
}
#endif
