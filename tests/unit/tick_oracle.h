/* What a tick must be, read with cJSON from the contract of format/tick.h: the other opinion that
 * the scanner is compared with. */
#ifndef TAPE_TESTS_UNIT_TICK_ORACLE_H
#define TAPE_TESTS_UNIT_TICK_ORACLE_H

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/tick.h"

/* Invariants: stream is NULL or a string; data is NULL or the object with the fields. */
struct tick_oracle {
    const cJSON *stream, *data;
    int kind;
};

static inline const cJSON *oracle_get(const cJSON *object, const char *key)
{
    return object ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

static inline int oracle_is_decimal(const cJSON *item)
{
    return cJSON_IsString(item) || cJSON_IsNumber(item);
}

/* "<symbol>@depth5", 10, 20, with a speed or without */
static inline int oracle_is_partial(const cJSON *stream)
{
    const char *at = cJSON_IsString(stream) ? strchr(stream->valuestring, '@') : NULL;
    static const char *const levels[] = {"@depth5", "@depth10", "@depth20"};
    for (size_t i = 0; at && i < 3; i++) {
        size_t bytes = strlen(levels[i]);
        if (strncmp(at, levels[i], bytes) == 0 && (at[bytes] == 0 || at[bytes] == '@'))
            return 1;
    }
    return 0;
}

static inline int oracle_kind(const cJSON *data, const cJSON *stream)
{
    static const struct {
        const char *word;
        int kind;
    } words[] = {{"trade", TAPE_TICK_TRADE},
                 {"aggTrade", TAPE_TICK_AGG_TRADE},
                 {"bookTicker", TAPE_TICK_BOOK_TICKER},
                 {"markPriceUpdate", TAPE_TICK_MARK_PRICE},
                 {"forceOrder", TAPE_TICK_FORCE_ORDER},
                 {"kline", TAPE_TICK_KLINE},
                 {"24hrTicker", TAPE_TICK_TICKER},
                 {"24hrMiniTicker", TAPE_TICK_TICKER},
                 {"serverShutdown", TAPE_TICK_SHUTDOWN}};
    const cJSON *event = oracle_get(data, "e");
    if (!event) {
        if (cJSON_IsNumber(oracle_get(data, "u")) && cJSON_IsString(oracle_get(data, "s")) &&
            oracle_is_decimal(oracle_get(data, "b")) && oracle_is_decimal(oracle_get(data, "B")) &&
            oracle_is_decimal(oracle_get(data, "a")) && oracle_is_decimal(oracle_get(data, "A")))
            return TAPE_TICK_BOOK_TICKER;
        return cJSON_IsNumber(oracle_get(data, "lastUpdateId")) &&
                       cJSON_IsArray(oracle_get(data, "bids")) &&
                       cJSON_IsArray(oracle_get(data, "asks"))
                   ? TAPE_TICK_DEPTH_SNAPSHOT
                   : TAPE_TICK_OTHER;
    }
    if (!cJSON_IsString(event))
        return TAPE_TICK_OTHER;
    if (strcmp(event->valuestring, "depthUpdate") == 0)
        return oracle_is_partial(stream) ? TAPE_TICK_DEPTH_SNAPSHOT : TAPE_TICK_DEPTH;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, event->valuestring) == 0)
            return words[i].kind;
    return TAPE_TICK_OTHER;
}

static inline struct tick_oracle oracle_read(const cJSON *root)
{
    struct tick_oracle oracle = {NULL, NULL, TAPE_TICK_OTHER};
    const cJSON *member, *data = root;
    if (!cJSON_IsObject(root))
        return oracle;
    cJSON_ArrayForEach(member, root)
    {
        if (strcmp(member->string, "e") == 0)
            break;
        if (strcmp(member->string, "stream") && strcmp(member->string, "data"))
            continue;
        data = oracle_get(root, "data");
        oracle.stream = oracle_get(root, "stream");
        break;
    }
    if (!cJSON_IsString(oracle.stream))
        oracle.stream = NULL;
    if (!cJSON_IsObject(data))
        return oracle;
    oracle.data = data;
    oracle.kind = oracle_kind(data, oracle.stream);
    return oracle;
}

/* The first thing that differs. lenient: integers may be written as 1.0 or 1e3, which cJSON cannot
 * tell from 1 and 1000 and the scanner must not take. */
struct oracle_difference {
    int lenient;
    char text[256];
};

#define ORACLE_DIFFERS(...) (snprintf(out->text, sizeof out->text, __VA_ARGS__), 1)

/* Text between quotes in a payload against the text it stands for. */
static inline int oracle_text(struct oracle_difference *out, const char *name,
                              struct tape_slice slice, const cJSON *item)
{
    if (!cJSON_IsString(item))
        return slice.data || slice.bytes ? ORACLE_DIFFERS("%s is there", name) : 0;
    if (!slice.data)
        return ORACLE_DIFFERS("%s is not there", name);
    char *quoted = malloc(slice.bytes + 3);
    snprintf(quoted, slice.bytes + 3, "\"%.*s\"", (int)slice.bytes, slice.data);
    cJSON *text = cJSON_Parse(quoted);
    int same = cJSON_IsString(text) && strcmp(text->valuestring, item->valuestring) == 0;
    cJSON_Delete(text);
    free(quoted);
    return same ? 0 : ORACLE_DIFFERS("%s is %.*s", name, (int)slice.bytes, slice.data);
}

/* cJSON's number is a double: equal as far as a double can tell. */
static inline int oracle_integer(struct oracle_difference *out, const char *name, int64_t value,
                                 const cJSON *item)
{
    if (!cJSON_IsNumber(item))
        return value != TAPE_TICK_NONE ? ORACLE_DIFFERS("%s is there", name) : 0;
    if (value == TAPE_TICK_NONE) { /* where a double is sure that it is a plain integer */
        double number = item->valuedouble;
        int sure =
            !out->lenient && number > -9e15 && number < 9e15 && (double)(int64_t)number == number;
        return sure ? ORACLE_DIFFERS("%s is not there", name) : 0;
    }
    return (double)value != item->valuedouble ? ORACLE_DIFFERS("%s is %lld", name, (long long)value)
                                              : 0;
}

static inline int oracle_time(struct oracle_difference *out, const char *name, int64_t ns,
                              const cJSON *item)
{
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 9.2e15)
        return ns != TAPE_TICK_NONE ? ORACLE_DIFFERS("%s is there", name) : 0;
    int64_t scale = item->valuedouble > 9223372036854.0 ? 1000 : 1000000;
    if (ns == TAPE_TICK_NONE)
        return !out->lenient && (double)(int64_t)item->valuedouble == item->valuedouble
                   ? ORACLE_DIFFERS("%s is not there", name)
                   : 0;
    return ns % scale != 0 || (double)(ns / scale) != item->valuedouble
               ? ORACLE_DIFFERS("%s is %lld", name, (long long)ns)
               : 0;
}

/* The decimal's text is the item's, and value and scale spell it again. */
static inline int oracle_decimal(struct oracle_difference *out, const char *name,
                                 const struct tape_decimal *decimal, const cJSON *item)
{
    struct tape_slice text = decimal->text;
    if (!oracle_is_decimal(item))
        return text.data ? ORACLE_DIFFERS("%s is there", name) : 0;
    if (cJSON_IsString(item)) {
        if (oracle_text(out, name, text, item))
            return 1;
    } else {
        char number[80];
        snprintf(number, sizeof number, "%.*s", (int)text.bytes, text.data ? text.data : "");
        if (strtod(number, NULL) != item->valuedouble)
            return ORACLE_DIFFERS("%s is %s", name, number);
    }
    if (!decimal->valid)
        return decimal->value || decimal->scale ? ORACLE_DIFFERS("%s has a value", name) : 0;
    char digits[32], spelt[40];
    int64_t value = decimal->value < 0 ? -decimal->value : decimal->value;
    int length = snprintf(digits, sizeof digits, "%0*lld", decimal->scale + 1, (long long)value);
    snprintf(spelt, sizeof spelt, "%s%.*s%s%s", decimal->value < 0 ? "-" : "",
             length - decimal->scale, digits, decimal->scale ? "." : "",
             digits + length - decimal->scale);
    return strlen(spelt) != text.bytes || memcmp(spelt, text.data, text.bytes) != 0
               ? ORACLE_DIFFERS("%s %.*s spells %s", name, (int)text.bytes, text.data, spelt)
               : 0;
}

/* The level's first two elements are numbers, quoted or not. */
static inline int oracle_is_level(const cJSON *level)
{
    return cJSON_IsArray(level) && cJSON_GetArraySize(level) >= 2 &&
           oracle_is_decimal(level->child) && oracle_is_decimal(level->child->next);
}

static inline int oracle_list(struct oracle_difference *out, const char *name,
                              struct tape_slice list, const cJSON *item)
{
    if (!cJSON_IsArray(item))
        return list.data ? ORACLE_DIFFERS("%s is there", name) : 0;
    if (!list.data || list.bytes < 2 || list.data[0] != '[' || list.data[list.bytes - 1] != ']')
        return ORACLE_DIFFERS("%s is no list", name);
    const cJSON *level;
    struct tape_decimal price, quantity;
    cJSON_ArrayForEach(level, item)
    {
        int got = tape_tick_next_level(&list, &price, &quantity);
        if (!oracle_is_level(level))
            return got != -1 ? ORACLE_DIFFERS("a level of %s", name) : 0;
        if (got != 1)
            return ORACLE_DIFFERS("%s gives %d", name, got);
        if (oracle_decimal(out, name, &price, level->child) ||
            oracle_decimal(out, name, &quantity, level->child->next))
            return 1;
    }
    return tape_tick_next_level(&list, &price, &quantity) != 0 ||
                   tape_tick_next_level(&list, &price, &quantity) != 0
               ? ORACLE_DIFFERS("%s goes on", name)
               : 0;
}

/* The fields that a scan promises, too. */
static inline int oracle_promised(struct oracle_difference *out, const struct tick_oracle *oracle,
                                  const struct tape_tick *tick)
{
    const cJSON *data = oracle->data;
    int kind = oracle->kind, agg = kind == TAPE_TICK_AGG_TRADE;
    int depth = kind == TAPE_TICK_DEPTH || kind == TAPE_TICK_DEPTH_SNAPSHOT;
    int snapshot = kind == TAPE_TICK_DEPTH_SNAPSHOT, with_event = oracle_get(data, "e") != NULL;
    const cJSON *kline = kind == TAPE_TICK_KLINE ? oracle_get(data, "k") : NULL;
    const cJSON *order = kind == TAPE_TICK_FORCE_ORDER ? oracle_get(data, "o") : NULL;
    const cJSON *nested = kline ? kline : order, *symbol = oracle_get(data, "s");
    if (!cJSON_IsObject(nested))
        nested = kline = order = NULL;
    if (!cJSON_IsString(symbol))
        symbol = snapshot && !with_event ? oracle_get(data, "symbol") : oracle_get(nested, "s");
    if (tick->kind != kind)
        return ORACLE_DIFFERS("kind is %d, not %d", tick->kind, kind);
    return oracle_text(out, "stream", tick->stream, oracle->stream) ||
           oracle_text(out, "event", tick->event, oracle_get(data, "e")) ||
           oracle_text(out, "symbol", tick->symbol, symbol) ||
           oracle_time(out, "event_ns", tick->event_ns, oracle_get(data, "E")) ||
           oracle_time(out, "transaction_ns", tick->transaction_ns,
                       kind == TAPE_TICK_MARK_PRICE ? NULL
                       : order                      ? oracle_get(order, "T")
                                                    : oracle_get(data, "T")) ||
           oracle_integer(out, "id", tick->id,
                          kind == TAPE_TICK_TRADE         ? oracle_get(data, "t")
                          : agg                           ? oracle_get(data, "a")
                          : kind == TAPE_TICK_BOOK_TICKER ? oracle_get(data, "u")
                          : !snapshot                     ? NULL
                          : with_event                    ? oracle_get(data, "u")
                                                          : oracle_get(data, "lastUpdateId")) ||
           oracle_integer(out, "first_id", tick->first_id,
                          agg     ? oracle_get(data, "f")
                          : depth ? oracle_get(data, "U")
                                  : oracle_get(kline, "f")) ||
           oracle_integer(out, "last_id", tick->last_id,
                          agg     ? oracle_get(data, "l")
                          : depth ? oracle_get(data, "u")
                                  : oracle_get(kline, "L")) ||
           oracle_integer(out, "previous_id", tick->previous_id,
                          depth ? oracle_get(data, "pu") : NULL);
}

static inline int oracle_rest(struct oracle_difference *out, const struct tick_oracle *oracle,
                              const struct tape_tick *tick)
{
    const cJSON *data = oracle->data;
    int kind = oracle->kind;
    int trade = kind == TAPE_TICK_TRADE || kind == TAPE_TICK_AGG_TRADE;
    int depth = kind == TAPE_TICK_DEPTH || kind == TAPE_TICK_DEPTH_SNAPSHOT;
    int with_event = oracle_get(data, "e") != NULL;
    const cJSON *book = kind == TAPE_TICK_BOOK_TICKER ? data : NULL;
    const cJSON *kline = kind == TAPE_TICK_KLINE ? oracle_get(data, "k") : NULL;
    const cJSON *order = kind == TAPE_TICK_FORCE_ORDER ? oracle_get(data, "o") : NULL;
    const cJSON *maker = trade ? oracle_get(data, "m") : NULL;
    const cJSON *priced = trade || kind == TAPE_TICK_MARK_PRICE ? data : order;
    int expected = cJSON_IsBool(maker) ? cJSON_IsTrue(maker) : -1;
    if (tick->buyer_is_maker != expected)
        return ORACLE_DIFFERS("buyer_is_maker is %d", tick->buyer_is_maker);
    return oracle_decimal(out, "price", &tick->price,
                          kline ? oracle_get(kline, "c") : oracle_get(priced, "p")) ||
           oracle_decimal(out, "quantity", &tick->quantity,
                          kline                          ? oracle_get(kline, "v")
                          : kind == TAPE_TICK_MARK_PRICE ? NULL
                                                         : oracle_get(priced, "q")) ||
           oracle_decimal(out, "bid", &tick->bid, oracle_get(book, "b")) ||
           oracle_decimal(out, "bid_quantity", &tick->bid_quantity, oracle_get(book, "B")) ||
           oracle_decimal(out, "ask", &tick->ask, oracle_get(book, "a")) ||
           oracle_decimal(out, "ask_quantity", &tick->ask_quantity, oracle_get(book, "A")) ||
           oracle_list(out, "bids", tick->bids,
                       depth ? oracle_get(data, with_event ? "b" : "bids") : NULL) ||
           oracle_list(out, "asks", tick->asks,
                       depth ? oracle_get(data, with_event ? "a" : "asks") : NULL);
}

/* oracle_compare(out, root, payload, bytes): 0 when decode and scan read the payload as cJSON did;
 * else 1 and the first difference. */
static inline int oracle_compare(struct oracle_difference *out, const cJSON *root,
                                 const char *payload, size_t bytes)
{
    struct tick_oracle oracle = oracle_read(root);
    struct tape_tick tick;
    int known = tape_tick_decode(payload, bytes, &tick);
    if (known != (oracle.kind != TAPE_TICK_OTHER))
        return ORACLE_DIFFERS("decode says %d of kind %d", known, oracle.kind);
    if (oracle_promised(out, &oracle, &tick) || oracle_rest(out, &oracle, &tick))
        return 1;
    if (tape_tick_scan(payload, bytes, &tick) != known)
        return ORACLE_DIFFERS("scan says %d", !known);
    return oracle_promised(out, &oracle, &tick);
}

#undef ORACLE_DIFFERS
#endif
