#include "format/tick.h"

#include "format/decimal.h"
#include "format/scan.h"

/*
 * One walk over the payload notes where the values of the known keys stand; what they mean is
 * decided after it, when the kind is known, so that no order of the fields matters. Of a key that
 * comes twice the first counts, whatever its value is (cJSON's rule).
 *
 * A wrapper is an object in which "stream" or "data" comes before any "e"; all else in it is passed
 * over. Otherwise the object is itself the payload.
 */

/* Keys that are more than one letter, with the name of their place. One-letter keys have the place
 * that is their letter. */
#define LONG_KEY_TABLE(X)                                                                          \
    X(PU, "pu")                                                                                    \
    X(STREAM, "stream")                                                                            \
    X(DATA, "data")                                                                                \
    X(LAST_UPDATE_ID, "lastUpdateId")                                                              \
    X(BIDS, "bids")                                                                                \
    X(ASKS, "asks")                                                                                \
    X(SYMBOL, "symbol")

/* One-letter keys that matter. */
#define SHORT_KEY_TABLE(X)                                                                         \
    X('e', e)                                                                                      \
    X('E', E)                                                                                      \
    X('T', T)                                                                                      \
    X('s', s)                                                                                      \
    X('p', p)                                                                                      \
    X('q', q)                                                                                      \
    X('t', t)                                                                                      \
    X('a', a)                                                                                      \
    X('b', b)                                                                                      \
    X('A', A)                                                                                      \
    X('B', B)                                                                                      \
    X('u', u)                                                                                      \
    X('U', U)                                                                                      \
    X('f', f)                                                                                      \
    X('l', l)                                                                                      \
    X('L', L)                                                                                      \
    X('m', m)                                                                                      \
    X('o', o)                                                                                      \
    X('k', k)                                                                                      \
    X('c', c)                                                                                      \
    X('v', v)

enum place {
    NOWHERE, /* a key of no interest */
#define PLACE(letter, name) AT_##name,
    SHORT_KEY_TABLE(PLACE)
#undef PLACE
#define PLACE(name, word) AT_##name,
        LONG_KEY_TABLE(PLACE)
#undef PLACE
            PLACES,
    UNPLAIN = 255 /* no key of one plain letter */
};

#define BIT(place) ((uint64_t)1 << (place))

/* What a byte means as a whole key. Controls, the quote and the backslash are no plain letters;
 * bytes from 0x80 on are parts of letters, which is as good. */
static const uint8_t place_of_letter[256] = {[0 ... 0x1f] = UNPLAIN,
                                             ['"'] = UNPLAIN,
                                             ['\\'] = UNPLAIN,
#define PLACE(letter, name) [letter] = AT_##name,
                                             SHORT_KEY_TABLE(PLACE)
#undef PLACE
};

/* A value, its quotes or brackets included. */
struct value {
    const char *from, *to;
};

enum { DECODE, SCAN };
enum { TOP, INNER };

/* Invariants: of[place] is set when its bit is set in seen. wanted: the bits that end a scan, 0
 * while they are not known; it is set only when nothing that follows could change the kind. */
struct reader {
    const char *end;
    uint64_t seen, wanted;
    int wrapper, raw, has_data, done;
    struct tape_slice stream;
    struct value of[PLACES];
};

static inline int has(const struct reader *reader, int place)
{
    return (int)(reader->seen >> place & 1);
}

/* 1 when the value of place is there and starts with ${first}. */
static inline int starts(const struct reader *reader, int place, char first)
{
    return has(reader, place) && *reader->of[place].from == first;
}

static struct tape_slice unquoted(const struct value *value)
{
    struct tape_slice slice = {value->from + 1, (size_t)(value->to - value->from) - 2};
    return slice;
}

static struct tape_slice string_at(const struct reader *reader, int place)
{
    struct tape_slice none = {NULL, 0};
    return starts(reader, place, '"') ? unquoted(&reader->of[place]) : none;
}

/* ---- kinds ---- */

struct event_word {
    const char *word;
    uint8_t bytes, kind;
    uint64_t wanted; /* what a scan promises of this kind, beside e, E, T and s */
};

#define EVENT(word, kind, wanted)                                                                  \
    {                                                                                              \
        word, sizeof word - 1, TAPE_TICK_##kind, wanted                                            \
    }
static const struct event_word event_words[] = {
    EVENT("bookTicker", BOOK_TICKER, BIT(AT_u)),
    EVENT("depthUpdate", DEPTH, BIT(AT_u) | BIT(AT_U) | BIT(AT_PU)),
    EVENT("trade", TRADE, BIT(AT_t)),
    EVENT("aggTrade", AGG_TRADE, BIT(AT_a) | BIT(AT_f) | BIT(AT_l)),
    EVENT("markPriceUpdate", MARK_PRICE, 0),
    EVENT("forceOrder", FORCE_ORDER, BIT(AT_o)),
    EVENT("kline", KLINE, BIT(AT_k)),
    EVENT("24hrTicker", TICKER, 0),
    EVENT("24hrMiniTicker", TICKER, 0),
    EVENT("serverShutdown", SHUTDOWN, 0),
};

static const struct event_word *find_event(const char *text, size_t bytes)
{
    for (size_t i = 0; i < sizeof event_words / sizeof *event_words; i++)
        if (event_words[i].bytes == bytes && !memcmp(event_words[i].word, text, bytes))
            return &event_words[i];
    return NULL;
}

/* The entry of the value of "e", or NULL. */
static const struct event_word *event_word(const struct reader *reader)
{
    if (!starts(reader, AT_e, '"'))
        return NULL;
    struct tape_slice text = unquoted(&reader->of[AT_e]);
    const struct event_word *found = find_event(text.data, text.bytes);
    if (found || !text.bytes || !memchr(text.data, '\\', text.bytes))
        return found;
    char plain[32];
    size_t bytes = tape_scan_unescape(text.data, text.bytes, plain, sizeof plain);
    return bytes <= sizeof plain ? find_event(plain, bytes) : NULL;
}

/* 1 for "<symbol>@depth5", 10 or 20, with a speed or without: a snapshot in the diffs' layout. */
static int partial_depth(struct tape_slice stream)
{
    char plain[128];
    if (stream.bytes && memchr(stream.data, '\\', stream.bytes)) {
        stream.bytes = tape_scan_unescape(stream.data, stream.bytes, plain, sizeof plain);
        if (stream.bytes > sizeof plain)
            return 0;
        stream.data = plain;
    }
    const char *end = stream.data + stream.bytes;
    const char *at = stream.bytes ? memchr(stream.data, '@', stream.bytes) : NULL;
    if (!at || end - at < 7 || memcmp(at, "@depth", 6))
        return 0;
    const char *level = at + 6, *behind = tape_scan_digits(level, end);
    if (behind < end && *behind != '@')
        return 0;
    return (behind - level == 1 && *level == '5') ||
           (behind - level == 2 && (*level == '1' || *level == '2') && level[1] == '0');
}

static int is_number(const struct reader *reader, int place)
{
    return has(reader, place) &&
           (*reader->of[place].from == '-' || (unsigned char)(*reader->of[place].from - '0') <= 9);
}

static int is_decimal(const struct reader *reader, int place)
{
    return starts(reader, place, '"') || is_number(reader, place);
}

/* Spot's bookTicker and partial depth, and the REST snapshot, have no "e". */
static int kind_without_event(const struct reader *reader)
{
    if (is_number(reader, AT_u) && starts(reader, AT_s, '"') && is_decimal(reader, AT_b) &&
        is_decimal(reader, AT_B) && is_decimal(reader, AT_a) && is_decimal(reader, AT_A))
        return TAPE_TICK_BOOK_TICKER;
    if (is_number(reader, AT_LAST_UPDATE_ID) && starts(reader, AT_BIDS, '[') &&
        starts(reader, AT_ASKS, '['))
        return TAPE_TICK_DEPTH_SNAPSHOT;
    return TAPE_TICK_OTHER;
}

static int kind_of(const struct reader *reader)
{
    if (!has(reader, AT_e))
        return kind_without_event(reader);
    const struct event_word *event = event_word(reader);
    if (!event)
        return TAPE_TICK_OTHER;
    return event->kind == TAPE_TICK_DEPTH && partial_depth(reader->stream)
               ? TAPE_TICK_DEPTH_SNAPSHOT
               : event->kind;
}

/* ---- the walk ---- */

static int place_of_name(const char *name, size_t bytes)
{
    char plain[16];
    if (bytes && memchr(name, '\\', bytes)) {
        bytes = tape_scan_unescape(name, bytes, plain, sizeof plain);
        if (bytes > sizeof plain)
            return NOWHERE;
        name = plain;
    }
    if (bytes == 1)
        return place_of_letter[(unsigned char)*name] % UNPLAIN;
#define COMPARE(place, word)                                                                       \
    if (bytes == sizeof word - 1 && !memcmp(name, word, sizeof word - 1))                          \
        return AT_##place;
    LONG_KEY_TABLE(COMPARE)
#undef COMPARE
    return NOWHERE;
}

/* Any key, any spacing. */
static const char *read_long_key(const char *at, const char *end, int *place)
{
    if (at == end || *at != '"')
        return NULL;
    const char *close = tape_scan_string(at + 1, end);
    if (!close)
        return NULL;
    *place = place_of_name(at + 1, (size_t)(close - at) - 1);
    at = tape_scan_space(close + 1, end);
    return at < end && *at == ':' ? tape_scan_space(at + 1, end) : NULL;
}

/* The key at ${at}; returns where its value starts, or NULL. Keys of one and two letters with the
 * colon next to them, nearly all there are, cost a few instructions. */
static inline const char *read_key(const char *at, const char *end, int *place)
{
    if (end - at >= 6 && *at == '"') {
        int first = place_of_letter[(unsigned char)at[1]];
        if (at[2] == '"' && at[3] == ':' && first != UNPLAIN) {
            *place = first;
            return (unsigned char)at[4] > ' ' ? at + 4 : tape_scan_space(at + 4, end);
        }
        if (at[3] == '"' && at[4] == ':' && first != UNPLAIN &&
            place_of_letter[(unsigned char)at[2]] != UNPLAIN) {
            *place = at[1] == 'p' && at[2] == 'u' ? AT_PU : NOWHERE;
            return (unsigned char)at[5] > ' ' ? at + 5 : tape_scan_space(at + 5, end);
        }
    }
    return read_long_key(at, end, place);
}

/* Behind the number whose first digit is at ${at}; whole numbers of up to 15 digits, nearly all
 * there are, at once. */
static inline const char *read_number(const char *at, const char *end)
{
#ifdef TAPE_SCAN_SSE2
    if (end - at >= 16) {
        __m128i bias = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8('0'));
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(bias, _mm_set1_epi8(9)), bias);
        unsigned others = ~(unsigned)_mm_movemask_epi8(digit) & 0xffff;
        if (others) {
            const char *behind = at + __builtin_ctz(others);
            if (*behind != '.' && (*behind | 0x20) != 'e' && (*at != '0' || behind == at + 1))
                return behind;
        }
    }
#endif
    return tape_scan_number(at, end);
}

#ifdef TAPE_SCAN_SSE2
/* Steps over levels ["price","quantity"], and the commas between them, as long as each is within 32
 * bytes and without spaces or escapes. Returns where it stopped: at the list's closing bracket when
 * it is ${closed}, else where an element must start. */
static inline const char *read_plain_levels(const char *at, const char *end, int *closed)
{
    *closed = 0;
    while (end - at >= 35) {
        __m128i low = _mm_loadu_si128((const __m128i *)at);
        __m128i high = _mm_loadu_si128((const __m128i *)(at + 16));
        const __m128i quote = _mm_set1_epi8('"');
        uint32_t quotes = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(low, quote)) |
                          (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, quote)) << 16;
        uint32_t stops = tape_scan_stops(low) | tape_scan_stops(high) << 16;
        uint32_t third = quotes & (quotes - 1);
        int second = third ? __builtin_ctz(third) : 31;
        third &= third - 1;
        uint32_t fourth = third & (third - 1);
        if (at[0] != '[' || at[1] != '"' || !fourth)
            return at;
        int close = __builtin_ctz(fourth);
        if (((stops ^ quotes) & ((2u << close) - 1)) || at[second + 1] != ',' ||
            __builtin_ctz(third) != second + 2 || at[close + 1] != ']')
            return at;
        if (at[close + 2] == ']') {
            *closed = 1;
            return at + close + 2;
        }
        if (at[close + 2] != ',')
            return at;
        at += close + 3;
    }
    return at;
}
#endif

/* Behind the array at ${at}. */
static const char *read_list(const char *at, const char *end, unsigned outer)
{
    at = tape_scan_space(at + 1, end);
    if (at < end && *at == ']')
        return at + 1;
    for (;;) {
#ifdef TAPE_SCAN_SSE2
        int closed;
        at = read_plain_levels(at, end, &closed);
        if (closed)
            return at + 1;
        at = tape_scan_space(at, end);
#endif
        at = tape_scan_value(at, end, outer + 1);
        if (!at)
            return NULL;
        at = tape_scan_space(at, end);
        if (at == end || (*at != ',' && *at != ']'))
            return NULL;
        if (*at == ']')
            return at + 1;
        at = tape_scan_space(at + 1, end);
    }
}

/* Behind the value at ${at}, or NULL. */
static inline const char *read_value(const char *at, const char *end, unsigned outer)
{
    if (at == end)
        return NULL;
    if (*at == '"') {
        at = tape_scan_string(at + 1, end);
        return at ? at + 1 : NULL;
    }
    if ((unsigned char)(*at - '0') <= 9)
        return read_number(at, end);
    if (*at == '[')
        return read_list(at, end, outer);
    return tape_scan_value(at, end, outer);
}

static const char *walk_inner_scan(struct reader *reader, const char *at);
static const char *walk_inner_decode(struct reader *reader, const char *at);

/* A scan may end when the kind is certain and all it promises is there: after "e", and with the
 * stream's name known where a wrapper has one. */
static void set_wanted(struct reader *reader)
{
    const struct event_word *event = event_word(reader);
    if (!reader->raw && !reader->stream.data)
        return;
    reader->wanted = BIT(AT_e) | BIT(AT_E) | BIT(AT_T) | BIT(AT_s) | (event ? event->wanted : 0);
}

static inline void note(struct reader *reader, int place, const char *from, const char *to,
                        int mode)
{
    if (place == NOWHERE || has(reader, place))
        return;
    reader->of[place].from = from;
    reader->of[place].to = to;
    reader->seen |= BIT(place);
    if (mode == SCAN && place == AT_e)
        set_wanted(reader);
}

/* "stream" and "data" of a wrapper; returns the end of the value, or NULL. */
static const char *read_wrapper(struct reader *reader, int place, const char *at, int mode)
{
    int first = !has(reader, place);
    reader->wrapper = 1;
    if (place == AT_STREAM) {
        const char *to = read_value(at, reader->end, 1);
        if (to && first && *at == '"') {
            struct value value = {at, to};
            reader->stream = unquoted(&value);
        }
        reader->seen |= BIT(AT_STREAM);
        return to;
    }
    if (!first || at == reader->end || *at != '{') {
        reader->seen |= BIT(AT_DATA);
        return read_value(at, reader->end, 1);
    }
    /* What stands beside "data" is not of the payload, nor are its own "stream" and "data" ours. */
    const uint64_t ours = BIT(AT_STREAM) | BIT(AT_DATA);
    uint64_t outer = (reader->seen & ours) | BIT(AT_DATA);
    reader->has_data = 1;
    reader->seen = 0;
    at = mode == SCAN ? walk_inner_scan(reader, at + 1) : walk_inner_decode(reader, at + 1);
    reader->seen = (reader->seen & ~ours) | outer;
    return at;
}

/* The members of an object, from behind its opening bracket to behind its closing one. NULL: not
 * JSON. A scan may stop on the way with done set. */
static inline __attribute__((always_inline)) const char *walk(struct reader *reader, const char *at,
                                                              int level, int mode)
{
    const char *end = reader->end;
    at = tape_scan_space(at, end);
    if (at < end && *at == '}')
        return at + 1;
    for (;;) {
        int place;
        const char *from = read_key(at, end, &place);
        if (!from)
            return NULL;
        if (level == TOP && (place == AT_STREAM || place == AT_DATA) && !reader->raw) {
            at = read_wrapper(reader, place, from, mode);
            if (!at || reader->done)
                return at;
        } else {
            at = read_value(from, end, level == TOP ? 1 : 2);
            if (!at)
                return NULL;
            if (level == TOP && place == AT_e && !reader->wrapper)
                reader->raw = 1;
            if (level == INNER || !reader->wrapper)
                note(reader, place, from, at, mode);
        }
        if (at < end && (unsigned char)*at <= ' ')
            at = tape_scan_space(at, end);
        if (at == end || (*at != ',' && *at != '}'))
            return NULL;
        if (mode == SCAN && reader->wanted && !(reader->wanted & ~reader->seen)) {
            reader->done = 1;
            return at;
        }
        if (*at++ == '}')
            return at;
        if (at < end && (unsigned char)*at <= ' ')
            at = tape_scan_space(at, end);
    }
}

static const char *walk_inner_scan(struct reader *reader, const char *at)
{
    return walk(reader, at, INNER, SCAN);
}

static const char *walk_inner_decode(struct reader *reader, const char *at)
{
    return walk(reader, at, INNER, DECODE);
}

/* ---- from values to the tick ---- */

static int64_t integer_at(const struct reader *reader, int place)
{
    if (!is_number(reader, place))
        return TAPE_TICK_NONE;
    return tape_decimal_integer(reader->of[place].from, reader->of[place].to, reader->end);
}

/* Milliseconds, or microseconds (spot on request): the coarser unit that stays before the year 2262
 * is meant; no market was open in 1970. */
static int64_t time_at(const struct reader *reader, int place)
{
    int64_t value = integer_at(reader, place);
    if (value < 0)
        return TAPE_TICK_NONE;
    if (value <= INT64_MAX / 1000000)
        return value * 1000000;
    return value <= INT64_MAX / 1000 ? value * 1000 : TAPE_TICK_NONE;
}

static void decimal_at(const struct reader *reader, int place, struct tape_decimal *decimal)
{
    if (starts(reader, place, '"')) {
        tape_decimal_read(unquoted(&reader->of[place]), reader->end, decimal);
    } else if (is_number(reader, place)) {
        const struct value *value = &reader->of[place];
        struct tape_slice text = {value->from, (size_t)(value->to - value->from)};
        tape_decimal_read(text, reader->end, decimal);
    }
}

static struct tape_slice list_at(const struct reader *reader, int place)
{
    struct tape_slice list = {NULL, 0};
    if (starts(reader, place, '[')) {
        list.data = reader->of[place].from;
        list.bytes = (size_t)(reader->of[place].to - list.data);
    }
    return list;
}

static void clear(struct tape_tick *tick)
{
    memset(tick, 0, sizeof *tick);
    tick->event_ns = tick->transaction_ns = TAPE_TICK_NONE;
    tick->id = tick->first_id = tick->last_id = tick->previous_id = TAPE_TICK_NONE;
    tick->buyer_is_maker = -1;
}

static void fill_trade(const struct reader *reader, struct tape_tick *tick, int mode)
{
    int aggregate = tick->kind == TAPE_TICK_AGG_TRADE;
    tick->id = integer_at(reader, aggregate ? AT_a : AT_t);
    if (aggregate) {
        tick->first_id = integer_at(reader, AT_f);
        tick->last_id = integer_at(reader, AT_l);
    }
    if (mode == SCAN)
        return;
    decimal_at(reader, AT_p, &tick->price);
    decimal_at(reader, AT_q, &tick->quantity);
    if (starts(reader, AT_m, 't') || starts(reader, AT_m, 'f'))
        tick->buyer_is_maker = *reader->of[AT_m].from == 't';
}

static void fill_book_ticker(const struct reader *reader, struct tape_tick *tick, int mode)
{
    tick->id = integer_at(reader, AT_u);
    if (mode == SCAN)
        return;
    decimal_at(reader, AT_b, &tick->bid);
    decimal_at(reader, AT_B, &tick->bid_quantity);
    decimal_at(reader, AT_a, &tick->ask);
    decimal_at(reader, AT_A, &tick->ask_quantity);
}

static void fill_depth(const struct reader *reader, struct tape_tick *tick, int mode)
{
    int with_event = has(reader, AT_e);
    tick->first_id = integer_at(reader, AT_U);
    tick->last_id = integer_at(reader, AT_u);
    tick->previous_id = integer_at(reader, AT_PU);
    if (tick->kind == TAPE_TICK_DEPTH_SNAPSHOT)
        tick->id = with_event ? tick->last_id : integer_at(reader, AT_LAST_UPDATE_ID);
    if (!tick->symbol.data && !with_event)
        tick->symbol = string_at(reader, AT_SYMBOL);
    if (mode == SCAN)
        return;
    tick->bids = list_at(reader, with_event ? AT_b : AT_BIDS);
    tick->asks = list_at(reader, with_event ? AT_a : AT_ASKS);
}

/* The object inside forceOrder ("o") and kline ("k") is walked when it is known to be one. It has
 * been stepped over before, so that it is JSON. */
static void fill_nested(const struct reader *reader, struct tape_tick *tick, int mode)
{
    int order = tick->kind == TAPE_TICK_FORCE_ORDER;
    int place = order ? AT_o : AT_k;
    if (!starts(reader, place, '{'))
        return;
    struct reader nested;
    memset(&nested, 0, offsetof(struct reader, of));
    nested.end = reader->end;
    walk_inner_decode(&nested, reader->of[place].from + 1);
    if (!tick->symbol.data)
        tick->symbol = string_at(&nested, AT_s);
    if (order) {
        tick->transaction_ns = time_at(&nested, AT_T);
    } else {
        tick->first_id = integer_at(&nested, AT_f);
        tick->last_id = integer_at(&nested, AT_L);
    }
    if (mode == SCAN)
        return;
    decimal_at(&nested, order ? AT_p : AT_c, &tick->price);
    decimal_at(&nested, order ? AT_q : AT_v, &tick->quantity);
}

static void fill_kind(const struct reader *reader, struct tape_tick *tick, int mode)
{
    switch (tick->kind) {
    case TAPE_TICK_TRADE:
    case TAPE_TICK_AGG_TRADE:
        fill_trade(reader, tick, mode);
        break;
    case TAPE_TICK_BOOK_TICKER:
        fill_book_ticker(reader, tick, mode);
        break;
    case TAPE_TICK_DEPTH:
    case TAPE_TICK_DEPTH_SNAPSHOT:
        fill_depth(reader, tick, mode);
        break;
    case TAPE_TICK_MARK_PRICE:
        tick->transaction_ns = TAPE_TICK_NONE; /* its T is the next funding, in the future */
        if (mode == DECODE)
            decimal_at(reader, AT_p, &tick->price);
        break;
    case TAPE_TICK_FORCE_ORDER:
    case TAPE_TICK_KLINE:
        fill_nested(reader, tick, mode);
        break;
    default:
        break;
    }
}

static inline __attribute__((always_inline)) int read_payload(const char *payload, size_t bytes,
                                                              struct tape_tick *tick, int mode)
{
    struct reader reader;
    memset(&reader, 0, offsetof(struct reader, of));
    reader.end = payload + bytes;
    clear(tick);
    const char *at = bytes ? tape_scan_space(payload, reader.end) : payload;
    if (at == reader.end || *at != '{' || !(at = walk(&reader, at + 1, TOP, mode)))
        return 0;
    if (!reader.done && tape_scan_space(at, reader.end) != reader.end)
        return 0;
    tick->stream = reader.stream;
    if (reader.wrapper && !reader.has_data)
        return 0;
    tick->kind = kind_of(&reader);
    tick->symbol = string_at(&reader, AT_s);
    tick->event = string_at(&reader, AT_e);
    tick->event_ns = time_at(&reader, AT_E);
    tick->transaction_ns = time_at(&reader, AT_T);
    fill_kind(&reader, tick, mode);
    return tick->kind != TAPE_TICK_OTHER;
}

int tape_tick_decode(const char *payload, size_t bytes, struct tape_tick *tick)
{
    return read_payload(payload, bytes, tick, DECODE);
}

int tape_tick_scan(const char *payload, size_t bytes, struct tape_tick *tick)
{
    return read_payload(payload, bytes, tick, SCAN);
}

/* ---- decimals and price levels ---- */

int tape_tick_parse_decimal(struct tape_slice text, struct tape_decimal *decimal)
{
    return tape_decimal_read(text, text.data + text.bytes, decimal);
}

/* One number of a level, quoted or not; returns behind it, or NULL. */
static const char *read_level_number(const char *at, const char *end, struct tape_decimal *decimal)
{
    if (at == end)
        return NULL;
    const char *to = read_value(at, end, 2);
    if (!to)
        return NULL;
    struct tape_slice text = {at, (size_t)(to - at)};
    if (*at == '"') {
        text.data++;
        text.bytes -= 2;
    } else if (*at != '-' && (unsigned char)(*at - '0') > 9) {
        return NULL;
    }
    tape_decimal_read(text, end, decimal);
    return tape_scan_space(to, end);
}

/* ["p","q"] and whatever more there is before its bracket; returns behind it, or NULL. */
static const char *read_level(const char *at, const char *end, struct tape_decimal *price,
                              struct tape_decimal *quantity)
{
    if (at == end || *at != '[')
        return NULL;
    at = read_level_number(tape_scan_space(at + 1, end), end, price);
    if (!at || at == end || *at != ',')
        return NULL;
    at = read_level_number(tape_scan_space(at + 1, end), end, quantity);
    while (at && at < end && *at == ',') {
        at = tape_scan_value(tape_scan_space(at + 1, end), end, 2);
        at = at ? tape_scan_space(at, end) : NULL;
    }
    return at && at < end && *at == ']' ? at + 1 : NULL;
}

/* Between calls the slice starts at the list's '[' (nothing taken yet), or behind a level that was
 * taken: at a comma or at the list's ']'; at the end it is empty. */
int tape_tick_next_level(struct tape_slice *list, struct tape_decimal *price,
                         struct tape_decimal *quantity)
{
    if (list->bytes == 0)
        return 0;
    const char *end = list->data + list->bytes;
    const char *at = tape_scan_space(list->data, end);
    int opening = at < end && *at == '[';
    if (opening)
        at = tape_scan_space(at + 1, end);
    if (at < end && *at == ']') {
        if (tape_scan_space(at + 1, end) != end)
            return -1;
        list->data = end;
        list->bytes = 0;
        return 0;
    }
    if (!opening) {
        if (at == end || *at != ',')
            return -1;
        at = tape_scan_space(at + 1, end);
    }
    at = read_level(at, end, price, quantity);
    at = at ? tape_scan_space(at, end) : NULL;
    if (!at || at == end || (*at != ',' && *at != ']'))
        return -1;
    list->data = at;
    list->bytes = (size_t)(end - at);
    return 1;
}

const char *tape_tick_kind_word(int kind)
{
    static const char *const words[] = {
#define WORD(name, number, word, match) [number] = word,
        TAPE_TICK_KIND_TABLE(WORD)
#undef WORD
    };
    return kind >= 0 && kind < (int)(sizeof words / sizeof *words) ? words[kind] : NULL;
}
