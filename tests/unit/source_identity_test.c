#include "replay/source_identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/ws.h"

static struct tape_source_identity read_text(const char *text, int opcode)
{
    static struct tape_source_identity identity;
    struct tape_message message = {
        .kind = TAPE_FEED_DATA,
        .opcode = (uint8_t)opcode,
        .payload = {text, strlen(text)},
        .stream = {"", 0},
    };
    /* as the parser names it */
    struct tape_tick tick;
    tape_tick_scan(text, strlen(text), &tick);
    if (tick.stream.data && opcode == TAPE_WS_TEXT)
        message.stream = tick.stream;
    tape_source_identity_read(&identity, &message);
    return identity;
}

/* inner NULL: all of the text. */
static const struct {
    const char *text, *stream;
    int64_t id;
    const char *inner;
} table[] = {
    {"{\"stream\":\"x@trade\",\"data\":{\"e\":\"trade\",\"s\":\"X\",\"t\":12}}", "x@trade", 12,
     "{\"e\":\"trade\",\"s\":\"X\",\"t\":12}"},
    {"{\"e\":\"trade\",\"s\":\"BTCusdT\",\"t\":12}", "btcusdt@trade", 12, NULL},
    {"{\"e\":\"aggTrade\",\"s\":\"X\",\"a\":5,\"t\":4}", "x@aggTrade", 5, NULL},
    {"{\"u\":400900217,\"s\":\"BNBUSDT\",\"b\":\"1\",\"B\":\"2\",\"a\":\"3\",\"A\":\"4\"}",
     "bnbusdt@bookTicker", 400900217, NULL},
    {"{\"e\":\"depthUpdate\",\"s\":\"X\",\"U\":157,\"u\":160,\"pu\":149,\"b\":[],\"a\":[]}",
     "x@depthUpdate", 160, NULL},
    {"{\"lastUpdateId\":9,\"bids\":[],\"asks\":[]}", "@depthSnapshot", 9, NULL},
    {"{\"e\":\"kline\",\"s\":\"X\",\"k\":{\"f\":1,\"L\":2}}", "x@kline", TAPE_TICK_NONE, NULL},
    {"{\"e\":\"mystery\",\"x\":1}", "@mystery", TAPE_TICK_NONE, NULL},
    {"{\"s\":\"ABC\",\"x\":1}", "abc@", TAPE_TICK_NONE, NULL},
    {"{\"x\":1}", "", TAPE_TICK_NONE, NULL},
    {"no JSON", "", TAPE_TICK_NONE, NULL},
    {"", "", TAPE_TICK_NONE, NULL},
    /* a trade without an id, ids beyond 64 bits and that are none */
    {"{\"e\":\"trade\",\"s\":\"X\"}", "x@trade", TAPE_TICK_NONE, NULL},
    {"{\"e\":\"trade\",\"s\":\"X\",\"t\":9223372036854775808}", "x@trade", TAPE_TICK_NONE, NULL},
    {"{\"e\":\"trade\",\"s\":\"X\",\"t\":\"12\"}", "x@trade", TAPE_TICK_NONE, NULL},
    /* wrappers that are not written as venues do are compared whole */
    {"{\"stream\":\"x\",\"data\":1}", "x", TAPE_TICK_NONE, "1"},
    {"{ \"stream\":\"x\",\"data\":1}", "x", TAPE_TICK_NONE, NULL},
    {"{\"k\":1,\"stream\":\"x\",\"data\":1}", "x", TAPE_TICK_NONE, NULL},
    {"{\"data\":1,\"stream\":\"x\"}", "x", TAPE_TICK_NONE, NULL},
    {"{\"stream\":\"x\",\"data\":1}  ", "x", TAPE_TICK_NONE, NULL},
    {"{\"stream\":\"x\",\"n\":1,\"data\":1}", "x", TAPE_TICK_NONE, NULL},
};

static void identities(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tape_source_identity found = read_text(table[i].text, TAPE_WS_TEXT);
        const char *inner = table[i].inner ? table[i].inner : table[i].text;
        if (strlen(table[i].stream) != found.stream.bytes ||
            memcmp(table[i].stream, found.stream.data, found.stream.bytes) != 0)
            fail_msg("%s: \"%.*s\"", table[i].text, (int)found.stream.bytes, found.stream.data);
        if (found.id != table[i].id)
            fail_msg("%s: %lld", table[i].text, (long long)found.id);
        if (strlen(inner) != found.inner.bytes ||
            memcmp(inner, found.inner.data, found.inner.bytes) != 0)
            fail_msg("%s: inside %.*s", table[i].text, (int)found.inner.bytes, found.inner.data);
    }
    struct tape_source_identity binary = read_text(table[1].text, TAPE_WS_BINARY);
    assert_int_equal(binary.stream.bytes, 0);
    assert_true(binary.id == TAPE_TICK_NONE);
}

static void long_names_are_cut(void **state)
{
    char text[1200], symbol[601];
    (void)state;
    memset(symbol, 'A', 600);
    symbol[600] = '\0';
    snprintf(text, sizeof text, "{\"e\":\"trade\",\"s\":\"%s\",\"t\":1}", symbol);
    struct tape_source_identity found = read_text(text, TAPE_WS_TEXT);
    assert_int_equal(found.stream.bytes, TAPE_SOURCE_IDENTITY_NAME_BYTES);
    assert_int_equal(found.stream.data[255], 'a');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities),
        cmocka_unit_test(long_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
