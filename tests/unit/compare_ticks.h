/* Two readings of one payload, which stands at two places in memory. */
#ifndef TAPE_TESTS_UNIT_COMPARE_TICKS_H
#define TAPE_TESTS_UNIT_COMPARE_TICKS_H

#include "format/tick.h"

/* Invariant: a slice of ticks[i] lies in the payload at payloads[i]. */
struct tick_pair {
    const struct tape_tick *ticks[2];
    const char *payloads[2];
};

static inline int same_slices(const struct tick_pair *pair, struct tape_slice first,
                              struct tape_slice second)
{
    if (!first.data || !second.data)
        return first.data == second.data && first.bytes == 0 && second.bytes == 0;
    return first.data - pair->payloads[0] == second.data - pair->payloads[1] &&
           first.bytes == second.bytes;
}

static inline int same_decimals(const struct tick_pair *pair, const struct tape_decimal *first,
                                const struct tape_decimal *second)
{
    return same_slices(pair, first->text, second->text) && first->value == second->value &&
           first->scale == second->scale && first->valid == second->valid;
}

/* ticks_differ(pair): the name of a field that is not the same in both, or NULL. */
static inline const char *ticks_differ(const struct tick_pair *pair)
{
    const struct tape_tick *first = pair->ticks[0], *second = pair->ticks[1];
#define COMPARE_NUMBER(name)                                                                       \
    if (first->name != second->name)                                                               \
    return #name
#define COMPARE_SLICE(name)                                                                        \
    if (!same_slices(pair, first->name, second->name))                                             \
    return #name
#define COMPARE_DECIMAL(name)                                                                      \
    if (!same_decimals(pair, &first->name, &second->name))                                         \
    return #name
    COMPARE_NUMBER(kind);
    COMPARE_SLICE(stream);
    COMPARE_SLICE(symbol);
    COMPARE_SLICE(event);
    COMPARE_NUMBER(event_ns);
    COMPARE_NUMBER(transaction_ns);
    COMPARE_NUMBER(id);
    COMPARE_NUMBER(first_id);
    COMPARE_NUMBER(last_id);
    COMPARE_NUMBER(previous_id);
    COMPARE_NUMBER(buyer_is_maker);
    COMPARE_DECIMAL(price);
    COMPARE_DECIMAL(quantity);
    COMPARE_DECIMAL(bid);
    COMPARE_DECIMAL(bid_quantity);
    COMPARE_DECIMAL(ask);
    COMPARE_DECIMAL(ask_quantity);
    COMPARE_SLICE(bids);
    COMPARE_SLICE(asks);
#undef COMPARE_NUMBER
#undef COMPARE_SLICE
#undef COMPARE_DECIMAL
    return NULL;
}

#endif
