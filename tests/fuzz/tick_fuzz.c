/*
 * Any bytes: what scan and decode both promise is the same, slices lie inside the payload, nothing
 * is read past its end, what cJSON can read is read as cJSON does, and the plain form is read as
 * any other is.
 */
#include "format/tick.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/compare_ticks.h"
#include "tests/unit/guard.h"
#include "tests/unit/tick_oracle.h"

enum { PAYLOAD_MAX = 1 << 16 };

static void check(int condition)
{
    if (!condition)
        abort();
}

static void check_slice(struct tape_slice slice, const char *payload, size_t bytes)
{
    if (!slice.data) {
        check(slice.bytes == 0);
        return;
    }
    check(slice.data > payload && slice.data < payload + bytes);
    check(slice.bytes < (size_t)(payload + bytes - slice.data));
}

static void check_decimal(const struct tape_decimal *decimal, const char *payload, size_t bytes)
{
    check_slice(decimal->text, payload, bytes);
    check(decimal->valid || (decimal->value == 0 && decimal->scale == 0));
    check(decimal->scale < 18);
}

static void check_list(struct tape_slice list)
{
    struct tape_decimal price, quantity;
    int got;
    if (!list.data)
        return;
    const char *end = list.data + list.bytes;
    check(list.data[0] == '[' && end[-1] == ']');
    while ((got = tape_tick_next_level(&list, &price, &quantity)) == 1)
        check(list.bytes > 0 && list.data + list.bytes == end);
    check(got == -1 || list.bytes == 0);
}

static void check_tick(const struct tape_tick *tick, const char *payload, size_t bytes)
{
    check(tape_tick_kind_word(tick->kind) != NULL);
    check_slice(tick->stream, payload, bytes);
    check_slice(tick->symbol, payload, bytes);
    check_slice(tick->event, payload, bytes);
    check_decimal(&tick->price, payload, bytes);
    check_decimal(&tick->quantity, payload, bytes);
    check_decimal(&tick->bid, payload, bytes);
    check_decimal(&tick->bid_quantity, payload, bytes);
    check_decimal(&tick->ask, payload, bytes);
    check_decimal(&tick->ask_quantity, payload, bytes);
    check_slice(tick->bids, payload, bytes);
    check_slice(tick->asks, payload, bytes);
    check(tick->buyer_is_maker >= -1 && tick->buyer_is_maker <= 1);
    check_list(tick->bids);
    check_list(tick->asks);
}

static int same_slice(struct tape_slice a, struct tape_slice b)
{
    return a.data == b.data && a.bytes == b.bytes;
}

static void check_scan(const struct tape_tick *whole, int known, const char *payload, size_t bytes)
{
    struct tape_tick scanned;
    int got = tape_tick_scan(payload, bytes, &scanned);
    check_slice(scanned.stream, payload, bytes);
    check_slice(scanned.symbol, payload, bytes);
    check(!known || got);
    if (!known)
        return; /* perhaps broken behind the point where the scan stopped */
    check(scanned.kind == whole->kind && same_slice(scanned.stream, whole->stream));
    check(same_slice(scanned.symbol, whole->symbol) && same_slice(scanned.event, whole->event));
    check(scanned.event_ns == whole->event_ns && scanned.transaction_ns == whole->transaction_ns);
    check(scanned.id == whole->id && scanned.first_id == whole->first_id);
    check(scanned.last_id == whole->last_id && scanned.previous_id == whole->previous_id);
}

/* cJSON is laxer (white space, trailing bytes, controls in strings, odd numbers) and ends strings
 * at
 * "\u0000", so that only what both take is compared. */
static void check_against_cjson(int known, const char *payload, size_t bytes)
{
    struct oracle_difference difference = {1, ""};
    cJSON *root = cJSON_ParseWithLength(payload, bytes);
    struct tape_tick tick;
    tape_tick_decode(payload, bytes, &tick);
    if (root && (known || tick.event.data) && !memmem(payload, bytes, "\\u0000", 6) &&
        !memchr(payload, 0, bytes) && oracle_compare(&difference, root, payload, bytes)) {
        fprintf(stderr, "%s\n", difference.text);
        abort();
    }
    cJSON_Delete(root);
}

/* White space in front changes nothing but the way it is read. */
static void check_against_general(const struct tape_tick *tick, int known, const char *payload,
                                  size_t bytes)
{
    static char general[PAYLOAD_MAX + 1];
    struct tape_tick other;
    general[0] = ' ';
    memcpy(general + 1, payload, bytes);
    check(tape_tick_decode(general, bytes + 1, &other) == known);
    struct tick_pair pair = {{tick, &other}, {payload, general + 1}};
    check(ticks_differ(&pair) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guard guard;
    struct tape_tick tick;
    if (!guard.base)
        guard = guard_open(PAYLOAD_MAX);
    if (size > PAYLOAD_MAX)
        return 0;
    const char *payload = (const char *)guard_put(&guard, data, size);
    int known = tape_tick_decode(payload, size, &tick);
    check(known == (tick.kind != TAPE_TICK_OTHER));
    check_tick(&tick, payload, size);
    check_scan(&tick, known, payload, size);
    check_against_general(&tick, known, payload, size);
    check_against_cjson(known, payload, size);
    struct tape_slice list = {payload, size};
    struct tape_decimal price, quantity;
    while (tape_tick_next_level(&list, &price, &quantity) == 1)
        check_decimal(&price, payload, size);
    return 0;
}
