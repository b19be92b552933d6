/* Which stream a message without a wrapper is of, where its content tells. */
#include <string.h>

#include "replay/exchange.h"

/* What follows the symbol; NULL: several streams look alike (depth and markPrice come at several
 * speeds, a futures depth20 looks as its diffs do). */
static const char *channel_of(const struct tape_tick *tick)
{
    switch (tick->kind) {
    case TAPE_TICK_TRADE:
        return "@trade";
    case TAPE_TICK_AGG_TRADE:
        return "@aggTrade";
    case TAPE_TICK_BOOK_TICKER:
        return "@bookTicker";
    case TAPE_TICK_FORCE_ORDER:
        return "@forceOrder";
    case TAPE_TICK_KLINE:
        return "@kline_";
    case TAPE_TICK_TICKER:
        return tick->event.bytes == strlen("24hrTicker") ? "@ticker" : "@miniTicker";
    }
    return NULL;
}

/* "1m" of a kline's "i":"1m". */
static struct tape_slice interval_of(struct tape_slice payload)
{
    static const char key[] = "\"i\":\"";
    struct tape_slice interval = {"", 0};
    const char *at = memmem(payload.data, payload.bytes, key, sizeof key - 1);
    const char *end = payload.data + payload.bytes;
    if (!at)
        return interval;
    at += sizeof key - 1;
    const char *quote = memchr(at, '"', (size_t)(end - at));
    if (quote && quote - at <= 4)
        interval = (struct tape_slice){at, (size_t)(quote - at)};
    return interval;
}

size_t tape_exchange_derive(const struct tape_tick *tick, struct tape_slice payload,
                            char to[TAPE_EXCHANGE_NAME_MAX_BYTES])
{
    struct tape_slice interval = {"", 0};
    size_t used = 0;
    const char *channel = channel_of(tick);
    if (!channel || tick->symbol.bytes == 0)
        return 0;
    if (tick->kind == TAPE_TICK_KLINE && (interval = interval_of(payload)).bytes == 0)
        return 0;
    size_t channel_bytes = strlen(channel);
    if (tick->symbol.bytes > TAPE_EXCHANGE_NAME_MAX_BYTES - channel_bytes - interval.bytes)
        return 0;
    for (; used < tick->symbol.bytes; used++) {
        char c = tick->symbol.data[used];
        to[used] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    memcpy(to + used, channel, channel_bytes);
    memcpy(to + used + channel_bytes, interval.data, interval.bytes);
    return used + channel_bytes + interval.bytes;
}
