/* The messages that nearly all are, read in one pass, and how a tick begins. Private to the tick
 * decoder. */
#ifndef TAPE_FORMAT_TICK_PLAIN_H
#define TAPE_FORMAT_TICK_PLAIN_H

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_tick_clear(tick): as before anything is known. Member by member, and each on its own: gcc
 * makes a memset of this size a "rep stos", which costs as much as decoding a quarter of a message,
 * and of a chain of assignments it reads back what it has just written. */
static inline __attribute__((always_inline)) void tape_tick_clear(struct tape_tick *tick)
{
    const struct tape_slice no_slice = {NULL, 0};
    const struct tape_decimal no_decimal = {{NULL, 0}, 0, 0, 0};
    tick->kind = TAPE_TICK_OTHER;
    tick->stream = no_slice;
    tick->symbol = no_slice;
    tick->event = no_slice;
    tick->event_ns = TAPE_TICK_NONE;
    tick->transaction_ns = TAPE_TICK_NONE;
    tick->id = TAPE_TICK_NONE;
    tick->first_id = TAPE_TICK_NONE;
    tick->last_id = TAPE_TICK_NONE;
    tick->previous_id = TAPE_TICK_NONE;
    tick->buyer_is_maker = -1;
    tick->price = no_decimal;
    tick->quantity = no_decimal;
    tick->bid = no_decimal;
    tick->bid_quantity = no_decimal;
    tick->ask = no_decimal;
    tick->ask_quantity = no_decimal;
    tick->bids = no_slice;
    tick->asks = no_slice;
}

/* tape_tick_plain(begin, at, end, tick): reads the members of the object whose first one starts at
 * ${at}, a byte behind ${begin} or more: a trade, aggTrade, bookTicker or depthUpdate without white
 * space, all its keys of one or two plain letters and its values short. Returns behind its closing
 * bracket and fills all of tick but the stream; NULL: it is another one, and tick is not to be
 * used. The kind is DEPTH for partial depth, too. Gives what tape_tick_decode() promises, and
 * nothing that it would not. */
const char *tape_tick_plain(const char *begin, const char *at, const char *end,
                            struct tape_tick *tick);

#ifdef __cplusplus
}
#endif
#endif
