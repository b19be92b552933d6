/* The messages that nearly all are, read in one pass. Private to the tick decoder. */
#ifndef TAPE_FORMAT_TICK_PLAIN_H
#define TAPE_FORMAT_TICK_PLAIN_H

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

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
