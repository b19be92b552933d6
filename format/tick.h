/* Payload to tick: our own scanner, order-agnostic, numbers kept as text and scaled int64. */
#ifndef TAPE_FORMAT_TICK_H
#define TAPE_FORMAT_TICK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_TICK_KIND(name, number, word, Binance's "e" or what it is known by) */
#define TAPE_TICK_KIND_TABLE(X)                                                                    \
    X(OTHER, 0, "other", "JSON that is none of the below")                                         \
    X(TRADE, 1, "trade", "trade")                                                                  \
    X(AGG_TRADE, 2, "aggTrade", "aggTrade")                                                        \
    X(BOOK_TICKER, 3, "bookTicker", "bookTicker, or u,s,b,B,a,A without e")                        \
    X(DEPTH, 4, "depth", "depthUpdate of a diff stream")                                           \
    X(DEPTH_SNAPSHOT, 5, "depthSnapshot", "depth5/10/20 stream, or lastUpdateId,bids,asks")        \
    X(MARK_PRICE, 6, "markPrice", "markPriceUpdate")                                               \
    X(FORCE_ORDER, 7, "forceOrder", "forceOrder")                                                  \
    X(KLINE, 8, "kline", "kline")                                                                  \
    X(TICKER, 9, "ticker", "24hrTicker, 24hrMiniTicker")                                           \
    X(SHUTDOWN, 10, "serverShutdown", "serverShutdown")

enum tape_tick_kind {
#define TAPE_TICK_KIND_ENUM(name, number, word, match) TAPE_TICK_##name = number,
    TAPE_TICK_KIND_TABLE(TAPE_TICK_KIND_ENUM)
#undef TAPE_TICK_KIND_ENUM
};

/* Bytes inside the payload; bytes == 0 with data NULL: the field was not there. */
struct tape_slice {
    const char *data;
    size_t bytes;
};

/* value / 10^scale, exactly as written ("0.10" is 10, 2). valid = 0 when the text is not a plain
 * decimal of at most 18 digits ("1e5", "007", ".5", "-0.0"): then only text tells. Where it is
 * valid, value and scale spell the text again byte for byte. */
struct tape_decimal {
    struct tape_slice text; /* without quotes */
    int64_t value;
    uint8_t scale;
    uint8_t valid;
};

/* Numbers that were absent, or no plain integer that fits, are TAPE_TICK_NONE. */
#define TAPE_TICK_NONE INT64_MIN

struct tape_tick {
    int kind;                 /* enum tape_tick_kind */
    struct tape_slice stream; /* the combined wrapper's "stream", raw between its quotes */
    struct tape_slice symbol;
    struct tape_slice event;   /* the value of "e" */
    int64_t event_ns;          /* E (ms or µs, told apart by size) */
    int64_t transaction_ns;    /* T; not markPrice's, which is the next funding time */
    int64_t id;                /* trade t, aggTrade a, bookTicker u, snapshot lastUpdateId (or u) */
    int64_t first_id, last_id; /* aggTrade f, l; depth U, u; kline's f, L */
    int64_t previous_id;       /* depth pu */
    int buyer_is_maker;        /* m: 1, 0, or -1 when absent */
    struct tape_decimal price, quantity; /* p, q (trade, aggTrade, forceOrder, markPrice p), kline's
                                            close and volume */
    struct tape_decimal bid, bid_quantity, ask, ask_quantity; /* b, B, a, A of bookTicker */
    struct tape_slice bids, asks; /* depth: the text from '[' to ']' inclusive */
};

/* tape_tick_decode(payload, bytes, tick): 1 when the payload is JSON that it knows (fills all
 * fields), 0 when it is something else: well-formed but unknown (kind OTHER; stream, event, symbol
 * and the times filled where they are there) or not JSON at all (kind OTHER, everything empty).
 * Linear in bytes, allocates nothing, accepts any field order, white space and escapes; never reads
 * past bytes. JSON is RFC 8259, brackets at most 1000 deep; UTF-8 is not checked. Of a key that
 * comes twice the first counts (as with cJSON), whatever its value. An object is a wrapper when
 * "stream" or "data" comes in it before any "e". Slices are as they stand between the quotes,
 * escapes included. */
int tape_tick_decode(const char *payload, size_t bytes, struct tape_tick *tick);

/* tape_tick_scan(payload, bytes, tick): as decode but only kind, stream, event, symbol, event_ns,
 * transaction_ns and the ids are promised; stops as early as the rest cannot matter, so that of a
 * payload that is damaged behind that point it may say 1 where decode says 0. For counting. */
int tape_tick_scan(const char *payload, size_t bytes, struct tape_tick *tick);

/* One price level. tape_tick_next_level(list, price, quantity): takes the next ["p","q"] off the
 * front of ${list}; 1, 0 at the end, -1 when the list is not of that form. More elements in a level
 * are passed over. */
int tape_tick_next_level(struct tape_slice *list, struct tape_decimal *price,
                         struct tape_decimal *quantity);

/* tape_tick_parse_decimal(text, decimal): 1 when valid. */
int tape_tick_parse_decimal(struct tape_slice text, struct tape_decimal *decimal);

/* tape_tick_is_partial_depth(stream): 1 for "<symbol>@depth5", 10 or 20, with a speed or without:
 * each message is the whole book, on futures in the layout of a diff. */
int tape_tick_is_partial_depth(struct tape_slice stream);

const char *tape_tick_kind_word(int kind);

#ifdef __cplusplus
}
#endif
#endif
