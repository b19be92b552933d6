#include "format/tick.h"

#include "format/decimal.h"
#include "format/scan.h"
#include "format/scan_levels.h"
#include "format/tick_plain.h"

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

/* Invariants: of[place] is set when its bit is set in seen. open: the places that are still to be
 * noted; a scan ends when it is 0, which it cannot be before the kind is certain (nothing that
 * follows could change it), as it holds bits of no place until then. fast_end: in front of it there
 * are 8 bytes to load, and 16 in front of the end. */
struct reader {
    const char *begin, *end, *fast_end;
    uint64_t seen, open;
    int wrapper, raw, has_data, done, kind;
    struct tape_slice stream;
    struct value of[PLACES];
};

static inline void begin_reading(struct reader *reader, const char *begin, const char *end)
{
    memset(reader, 0, offsetof(struct reader, of));
    reader->begin = begin;
    reader->end = end;
    reader->fast_end = end - begin >= 16 ? end - 7 : begin;
    reader->open = ~BIT(NOWHERE);
}

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

/* EVENT(word of "e", kind) */
#define EVENT_TABLE(X)                                                                             \
    X("bookTicker", BOOK_TICKER)                                                                   \
    X("trade", TRADE)                                                                              \
    X("depthUpdate", DEPTH)                                                                        \
    X("aggTrade", AGG_TRADE)                                                                       \
    X("markPriceUpdate", MARK_PRICE)                                                               \
    X("forceOrder", FORCE_ORDER)                                                                   \
    X("kline", KLINE)                                                                              \
    X("24hrTicker", TICKER)                                                                        \
    X("24hrMiniTicker", TICKER)                                                                    \
    X("serverShutdown", SHUTDOWN)

/* The kind of the word, OTHER for one that is not known. */
static inline int find_event(const char *text, size_t bytes)
{
#define COMPARE(word, kind)                                                                        \
    if (bytes == sizeof word - 1 && !memcmp(text, word, sizeof word - 1))                          \
        return TAPE_TICK_##kind;
    EVENT_TABLE(COMPARE)
#undef COMPARE
    return TAPE_TICK_OTHER;
}

/* The kind that the value of "e" tells. */
static inline int event_kind(const struct reader *reader)
{
    if (!starts(reader, AT_e, '"'))
        return TAPE_TICK_OTHER;
    struct tape_slice text = unquoted(&reader->of[AT_e]);
    int kind = find_event(text.data, text.bytes);
    if (kind != TAPE_TICK_OTHER || !text.bytes || !memchr(text.data, '\\', text.bytes))
        return kind;
    char plain[32];
    size_t bytes = tape_scan_unescape(text.data, text.bytes, plain, sizeof plain);
    return bytes <= sizeof plain ? find_event(plain, bytes) : TAPE_TICK_OTHER;
}

int tape_tick_is_partial_depth(struct tape_slice stream)
{
    char plain[512];
    if (stream.bytes == 0)
        return 0;
    if (memchr(stream.data, '\\', stream.bytes)) {
        stream.bytes = tape_scan_unescape(stream.data, stream.bytes, plain, sizeof plain);
        if (stream.bytes > sizeof plain)
            return 0;
        stream.data = plain;
    }
    const char *end = stream.data + stream.bytes;
    const char *at = memchr(stream.data, '@', stream.bytes);
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

static inline int kind_of(const struct reader *reader, int mode)
{
    if (!has(reader, AT_e))
        return kind_without_event(reader);
    int kind = mode == SCAN ? reader->kind : event_kind(reader);
    return kind == TAPE_TICK_DEPTH && tape_tick_is_partial_depth(reader->stream)
               ? TAPE_TICK_DEPTH_SNAPSHOT
               : kind;
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

/* Behind the array at ${at}. */
static const char *read_list(const char *at, const char *end, unsigned outer)
{
    const char *to = tape_scan_levels(at, at, end);
    return to ? to : tape_scan_value(at, end, outer);
}

/* Behind the value at ${at}, or NULL. */
static const char *read_any_value(const char *at, const char *end, unsigned outer)
{
    if (at == end)
        return NULL;
    if (*at == '"') {
        at = tape_scan_string(at + 1, end);
        return at ? at + 1 : NULL;
    }
    if (*at == '[')
        return read_list(at, end, outer);
    return *at == '{' ? tape_scan_value(at, end, outer) : tape_scan_scalar(at, end);
}

/* A member of an object: what its key means, and its value. */
struct member {
    int place;
    const char *from, *to;
};

#ifdef TAPE_SCAN_SSE2
/* The stops, or the bytes that are no digits, among the 16 bytes at ${at} < ${end}. Near the end
 * the last 16 are looked at, those before ${at} and beyond the end are no bits. */
static inline unsigned stops_until(const char *at, const char *end)
{
    if (end - at >= 16)
        return tape_scan_stops(_mm_loadu_si128((const __m128i *)at));
    return tape_scan_stops(_mm_loadu_si128((const __m128i *)(end - 16))) >> (16 - (end - at));
}

static inline unsigned not_digits(__m128i text)
{
    __m128i bias = _mm_sub_epi8(text, _mm_set1_epi8('0'));
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(bias, _mm_set1_epi8(10)), bias));
}

static inline unsigned not_digits_until(const char *at, const char *end)
{
    if (end - at >= 16)
        return not_digits(_mm_loadu_si128((const __m128i *)at));
    return not_digits(_mm_loadu_si128((const __m128i *)(end - 16))) >> (16 - (end - at));
}

/* The members that nearly all are, in a few instructions each: a key of one or two plain letters,
 * the colon next to it, and next to that a string of up to 15 plain bytes or a whole number of up
 * to 15 digits. 0: it is another one; nothing is known of it. */
static inline __attribute__((always_inline)) int
read_plain_member(const struct reader *reader, const char *at, struct member *member)
{
    const char *end = reader->end;
    uint64_t head;
    if (at >= reader->fast_end)
        return 0;
    memcpy(&head, at, 8); /* little endian: what stands first is lowest */
    int letter = place_of_letter[head >> 8 & 0xff];
    if (letter == UNPLAIN)
        return 0;
    if ((head & 0xffff00ff) == 0x3a220022) { /* "?": */
        member->place = letter;
        at += 4;
    } else if ((head & 0xffff0000ff) == 0x3a22000022 && /* "??": */
               place_of_letter[head >> 16 & 0xff] != UNPLAIN) {
        member->place = (head >> 8 & 0xffff) == ('p' | 'u' << 8) ? AT_PU : NOWHERE;
        at += 5;
    } else {
        return 0;
    }
    member->from = at;
    if (*at == '"') {
        unsigned stops = stops_until(at + 1, end);
        if (!stops)
            return 0;
        member->to = at + 2 + (unsigned)__builtin_ctz(stops);
        return member->to[-1] == '"';
    }
    unsigned others = not_digits_until(at, end);
    if (!others)
        return 0;
    member->to = at + (unsigned)__builtin_ctz(others);
    return !(others & 1) && (*member->to == ',' || *member->to == '}') &&
           (*at != '0' || member->to == at + 1);
}
#else
static inline int read_plain_member(const struct reader *reader, const char *at,
                                    struct member *member)
{
    (void)reader;
    (void)at;
    (void)member;
    return 0;
}
#endif

static const char *walk_inner_scan(struct reader *reader, const char *at);
static const char *walk_inner_decode(struct reader *reader, const char *at);

/* A scan may end when the kind is certain and all it promises is there: after "e", and with the
 * stream's name known where a wrapper has one. */
static inline void close_for_scan(struct reader *reader)
{
    static const uint64_t of_kind[TAPE_TICK_SHUTDOWN + 1] = {
        [TAPE_TICK_TRADE] = BIT(AT_t),
        [TAPE_TICK_AGG_TRADE] = BIT(AT_a) | BIT(AT_f) | BIT(AT_l),
        [TAPE_TICK_BOOK_TICKER] = BIT(AT_u),
        [TAPE_TICK_DEPTH] = BIT(AT_u) | BIT(AT_U) | BIT(AT_PU),
        [TAPE_TICK_FORCE_ORDER] = BIT(AT_o),
        [TAPE_TICK_KLINE] = BIT(AT_k),
    };
    reader->kind = event_kind(reader);
    if (reader->raw || reader->stream.data)
        reader->open &= BIT(AT_E) | BIT(AT_T) | BIT(AT_s) | of_kind[reader->kind];
}

static inline void note(struct reader *reader, const struct member *member, int mode)
{
    uint64_t bit = BIT(member->place);
    if (!(reader->open & bit))
        return;
    reader->of[member->place].from = member->from;
    reader->of[member->place].to = member->to;
    reader->seen |= bit;
    reader->open ^= bit;
    if (mode == SCAN && member->place == AT_e)
        close_for_scan(reader);
}

static inline int is_wrapper_key(const struct reader *reader, int place)
{
    return (place == AT_STREAM || place == AT_DATA) && !reader->raw;
}

/* "stream" and "data" of a wrapper; returns the end of the value, or NULL. */
static const char *read_wrapper(struct reader *reader, int place, const char *at, int mode)
{
    int first = !has(reader, place);
    reader->wrapper = 1;
    if (place == AT_STREAM) {
        const char *to = read_any_value(at, reader->end, 1);
        if (to && first && *at == '"') {
            struct value value = {at, to};
            reader->stream = unquoted(&value);
        }
        reader->seen |= BIT(AT_STREAM);
        return to;
    }
    if (!first || at == reader->end || *at != '{') {
        reader->seen |= BIT(AT_DATA);
        return read_any_value(at, reader->end, 1);
    }
    /* What stands beside "data" is not of the payload, nor are its own "stream" and "data" ours. */
    const uint64_t ours = BIT(AT_STREAM) | BIT(AT_DATA);
    uint64_t outer = (reader->seen & ours) | BIT(AT_DATA);
    reader->has_data = 1;
    reader->seen = 0;
    reader->open = ~BIT(NOWHERE);
    at = mode == SCAN ? walk_inner_scan(reader, at + 1) : walk_inner_decode(reader, at + 1);
    reader->seen = (reader->seen & ~ours) | outer;
    return at;
}

/* Between members: 1 where the next one starts, 0 behind the closing bracket, -1 for anything else
 * than a comma or that. */
static inline int step(const char **position, const char *end)
{
    const char *at = *position;
    if (end - at >= 2 && at[0] == ',' && at[1] == '"') {
        *position = at + 1;
        return 1;
    }
    if (at < end && (unsigned char)*at <= ' ')
        at = tape_scan_space(at, end);
    if (at == end || (*at != ',' && *at != '}'))
        return -1;
    int more = *at++ == ',';
    if (more && at < end && (unsigned char)*at <= ' ')
        at = tape_scan_space(at, end);
    *position = at;
    return more;
}

/* The members of an object, from behind its opening bracket (resume: from behind a member) to
 * behind its closing one. NULL: not JSON. A scan may stop on the way with done set. */
static inline __attribute__((always_inline)) const char *walk(struct reader *reader, const char *at,
                                                              int level, int mode, int resume)
{
    const char *end = reader->end;
    int more = 1;
    if (resume) {
        more = step(&at, end);
    } else {
        at = tape_scan_space(at, end);
        if (at < end && *at == '}')
            return at + 1;
    }
    for (; more > 0; more = step(&at, end)) {
        struct member member;
        if (!read_plain_member(reader, at, &member)) {
            int place; /* its address is taken: member stays in registers */
            member.from = read_long_key(at, end, &place);
            if (!member.from)
                return NULL;
            member.place = place;
            if (level == TOP && is_wrapper_key(reader, member.place)) {
                at = read_wrapper(reader, member.place, member.from, mode);
                if (!at || reader->done)
                    return at;
                continue;
            }
            member.to = read_any_value(member.from, end, level == TOP ? 1 : 2);
            if (!member.to)
                return NULL;
        }
        at = member.to;
        if (level == TOP && member.place == AT_e && !reader->wrapper)
            reader->raw = 1;
        if (level == INNER || !reader->wrapper)
            note(reader, &member, mode);
        /* A comma or bracket must follow: a number may be cut by the payload's end. */
        if (mode == SCAN && reader->open == 0) {
            reader->done = step(&at, end) >= 0;
            return reader->done ? at : NULL;
        }
    }
    return more == 0 ? at : NULL;
}

static const char *walk_inner_scan(struct reader *reader, const char *at)
{
    return walk(reader, at, INNER, SCAN, 0);
}

static const char *walk_inner_decode(struct reader *reader, const char *at)
{
    return walk(reader, at, INNER, DECODE, 0);
}

/* ---- from values to the tick ---- */

static int64_t integer_at(const struct reader *reader, int place)
{
    if (!is_number(reader, place))
        return TAPE_TICK_NONE;
    return tape_decimal_integer(reader->begin, reader->of[place].from, reader->of[place].to);
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
    begin_reading(&nested, reader->begin, reader->end);
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

/* {"stream":"name","data":{ as Binance writes it: returns where the data's members start, or NULL
 * for anything else. */
static inline const char *pass_prefix(const char *payload, const char *end,
                                      struct tape_slice *stream)
{
    static const char before[] = "{\"stream\":\"", behind[] = "\",\"data\":{";
    enum { BEFORE = sizeof before - 1, BEHIND = sizeof behind - 1 };
    if (end - payload < BEFORE || memcmp(payload, before, BEFORE) != 0)
        return NULL;
    const char *name = payload + BEFORE, *close = tape_scan_plain(name, end);
    if (end - close < BEHIND || memcmp(close, behind, BEHIND) != 0)
        return NULL;
    stream->data = name;
    stream->bytes = (size_t)(close - name);
    return close + BEHIND;
}

static const char *walk_rest(struct reader *reader, const char *at, int mode)
{
    reader->seen |= BIT(AT_STREAM) | BIT(AT_DATA);
    if (reader->end - at == 1 && *at == '}')
        return reader->end;
    return walk(reader, at, TOP, mode, 1);
}

static inline __attribute__((always_inline)) const char *
walk_payload(struct reader *reader, const char *payload, size_t bytes, int mode)
{
    const char *at = pass_prefix(payload, payload + bytes, &reader->stream);
    if (at) {
        reader->wrapper = reader->has_data = 1;
        at = mode == SCAN ? walk_inner_scan(reader, at) : walk_inner_decode(reader, at);
        return at && !reader->done ? walk_rest(reader, at, mode) : at;
    }
    at = tape_scan_space(payload, reader->end);
    return at < reader->end && *at == '{' ? walk(reader, at + 1, TOP, mode, 0) : NULL;
}

static inline __attribute__((always_inline)) int read_payload(const char *payload, size_t bytes,
                                                              struct tape_tick *tick, int mode)
{
    struct reader reader;
    tape_tick_clear(tick);
    if (bytes == 0)
        return 0;
    begin_reading(&reader, payload, payload + bytes);
    const char *at = walk_payload(&reader, payload, bytes, mode);
    if (!at || (!reader.done && tape_scan_space(at, reader.end) != reader.end))
        return 0;
    tick->stream = reader.stream;
    if (reader.wrapper && !reader.has_data)
        return 0;
    tick->kind = kind_of(&reader, mode);
    tick->symbol = string_at(&reader, AT_s);
    tick->event = string_at(&reader, AT_e);
    tick->event_ns = time_at(&reader, AT_E);
    tick->transaction_ns = time_at(&reader, AT_T);
    fill_kind(&reader, tick, mode);
    return tick->kind != TAPE_TICK_OTHER;
}

/* 1 when the payload is of the plain form that nearly all have: read in one pass. */
static inline int decode_plain(const char *payload, size_t bytes, struct tape_tick *tick)
{
    struct tape_slice stream = {NULL, 0};
    if (bytes == 0 || *payload != '{')
        return 0;
    const char *end = payload + bytes, *from = pass_prefix(payload, end, &stream);
    int wraps = from != NULL;
    const char *at = tape_tick_plain(payload, wraps ? from : payload + 1, end, tick);
    if (!at || end - at != wraps || (wraps && *at != '}'))
        return 0;
    tick->stream = stream;
    if (tick->kind == TAPE_TICK_DEPTH && tape_tick_is_partial_depth(tick->stream)) {
        tick->kind = TAPE_TICK_DEPTH_SNAPSHOT;
        tick->id = tick->last_id;
    }
    return 1;
}

int tape_tick_decode(const char *payload, size_t bytes, struct tape_tick *tick)
{
    return decode_plain(payload, bytes, tick) || read_payload(payload, bytes, tick, DECODE);
}

int tape_tick_scan(const char *payload, size_t bytes, struct tape_tick *tick)
{
    return read_payload(payload, bytes, tick, SCAN);
}

/* ---- decimals and price levels ---- */

int tape_tick_parse_decimal(struct tape_slice text, struct tape_decimal *decimal)
{
    const char *end = text.bytes ? text.data + text.bytes : text.data;
    return tape_decimal_read(text, end, decimal);
}

/* One number of a level, quoted or not; returns behind it, or NULL. */
static const char *read_level_number(const char *at, const char *end, struct tape_decimal *decimal)
{
    if (at == end)
        return NULL;
    const char *to = read_any_value(at, end, 2);
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
