#include "format/tick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/compare_ticks.h"
#include "tests/unit/guard.h"
#include "tests/unit/random_below.h"
#include "tests/unit/read_capture.h"
#include "tests/unit/tick_oracle.h"

/* ---- one of each kind, in the layouts of 2026 ---- */

static const char trade_usdm[] =
    "{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1780000000123,\"T\":"
    "1780000000120,\"s\":\"BTCUSDT\",\"t\":6001002003,\"p\":\"101234.50\",\"q\":\"0.006\",\"X\":"
    "\"MARKET\",\"m\":false,\"st\":1}}";
static const char agg_trade_usdm[] =
    "{\"stream\":\"bnbusdt@aggTrade\",\"data\":{\"e\":\"aggTrade\",\"E\":1780000000123,\"a\":"
    "700800900,\"s\":\"BNBUSDT\",\"p\":\"612.340\",\"q\":\"1.25\",\"nq\":\"1.25\",\"f\":1001,\"l\":"
    "1003,\"T\":1780000000001,\"m\":true,\"st\":1}}";
static const char book_ticker_usdm[] =
    "{\"stream\":\"btcusdt@bookTicker\",\"data\":{\"e\":\"bookTicker\",\"u\":9012345678901,\"s\":"
    "\"BTCUSDT\",\"ps\":\"BTCUSDT\",\"b\":\"101234.50\",\"B\":\"2.507\",\"a\":\"101234.60\",\"A\":"
    "\"12.510\",\"T\":1780000000120,\"E\":1780000000121,\"st\":1}}";
static const char depth_usdm[] =
    "{\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1780000000200,"
    "\"T\":1780000000199,\"s\":\"BTCUSDT\",\"ps\":\"BTCUSDT\",\"U\":9012345670001,\"u\":"
    "9012345670042,\"pu\":9012345669990,\"b\":[[\"101234.50\",\"2.507\"],[\"101230.00\",\"0.000\"],"
    "[\"1000.00\",\"606.675\"]],\"a\":[[\"101234.60\",\"12.510\"]],\"st\":1}}";
static const char partial_depth_usdm[] =
    "{\"stream\":\"btcusdt@depth5@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1780000000200,"
    "\"T\":1780000000199,\"s\":\"BTCUSDT\",\"U\":9012345670001,\"u\":9012345670042,\"pu\":"
    "9012345669990,\"b\":[],\"a\":[[\"1\",\"2\"]]}}";
static const char book_ticker_spot[] =
    "{\"u\":50093239212,\"s\":\"BTCUSDT\",\"b\":\"61837.63000000\",\"B\":\"3.78826000\",\"a\":"
    "\"61837.64000000\",\"A\":\"1.54698000\"}";
static const char partial_depth_spot[] =
    "{\"stream\":\"btcusdt@depth5\",\"data\":{\"lastUpdateId\":160,\"bids\":[[\"0.0024\",\"10\"]],"
    "\"asks\":[[\"0.0026\",\"100\"]]}}";
static const char snapshot_coinm[] =
    "{\"lastUpdateId\":1007198635033,\"E\":1723161257835,\"T\":1723161257823,\"symbol\":"
    "\"BTCUSD_PERP\",\"pair\":\"BTCUSD\",\"bids\":[[\"61804.7\",\"35\"],[\"61802.0\",\"8\"]],"
    "\"asks\":[[\"61804.8\",\"1645\"]]}";
static const char depth_spot[] =
    "{\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1780000000200123,"
    "\"s\":\"BTCUSDT\",\"U\":157,\"u\":160,\"b\":[[\"61737.63000000\",\"0.00000000\"],"
    "[\"123456.10000000\",\"123456.10000000\"]],\"a\":[[\"61737.64000000\",\"10.00000000\"]]}}";
static const char mark_price[] =
    "{\"e\":\"markPriceUpdate\",\"E\":1780000000000,\"s\":\"BTCUSDT\",\"p\":\"101234.50000000\","
    "\"ap\":\"101233.00000000\",\"P\":\"101230.1\",\"i\":\"101232.9\",\"r\":\"-0.00010000\",\"T\":"
    "1780012800000,\"st\":1}";
static const char force_order[] =
    "{\"stream\":\"!forceOrder@arr\",\"data\":{\"e\":\"forceOrder\",\"E\":1780000000300,\"o\":{"
    "\"s\":\"BTCUSDT\",\"S\":\"SELL\",\"o\":\"LIMIT\",\"f\":\"IOC\",\"q\":\"0.014\",\"p\":"
    "\"9910\",\"ap\":\"9910.5\",\"X\":\"FILLED\",\"l\":\"0.014\",\"z\":\"0.014\",\"T\":"
    "1780000000299,\"ps\":\"BTCUSDT\",\"st\":1}}}";
static const char kline[] =
    "{\"stream\":\"btcusdt@kline_1m\",\"data\":{\"e\":\"kline\",\"E\":1780000000300,\"s\":"
    "\"BTCUSDT\",\"k\":{\"t\": 1780000000000, \"T\": 1780000059999, \"s\": \"BTCUSDT\", \"i\": "
    "\"1m\", \"f\": 100, \"L\": 200, \"o\": \"0.0010\", \"c\": \"0.0020\", \"h\": \"0.0025\", "
    "\"l\": \"0.0015\", \"v\": \"1000\", \"n\": 100, \"x\": false, \"q\": \"1.0000\", \"V\": "
    "\"500\", \"Q\": \"0.500\", \"B\": \"0\"}}}";
static const char ticker[] =
    "{\"e\":\"24hrTicker\",\"E\":1780000000300,\"s\":\"BTCUSDT\",\"p\":\"0.0015\",\"P\":\"250.00\","
    "\"w\":\"0.0018\",\"c\":\"0.0025\",\"Q\":\"10\",\"o\":\"0.0010\",\"h\":\"0.0025\",\"l\":"
    "\"0.0010\",\"v\":\"10000\",\"q\":\"18\",\"O\":0,\"C\":86400000,\"F\":0,\"L\":18150,\"n\":"
    "18151}";
static const char shutdown_notice[] =
    "{\"stream\":\"!serverShutdown\",\"data\":{\"e\":\"serverShutdown\",\"E\":1780000000300}}";
static const char contract_info[] =
    "{\"e\":\"contractInfo\",\"E\":1780000000300,\"s\":\"BTCUSDT\",\"ps\":\"BTCUSDT\",\"bks\":["
    "{\"bs\":1,\"bnf\":0},{\"bs\":2}],\"x\":null}";
static const char ack[] = "{\"result\":null,\"id\":1}";
static const char array[] =
    "{\"stream\":\"!ticker@arr\",\"data\":[{\"e\":\"24hrTicker\",\"E\":1}]}";
static const char empty[] = "{}";

static const char *const samples[] = {
    trade_usdm,
    agg_trade_usdm,
    book_ticker_usdm,
    depth_usdm,
    partial_depth_usdm,
    book_ticker_spot,
    partial_depth_spot,
    snapshot_coinm,
    depth_spot,
    mark_price,
    force_order,
    kline,
    ticker,
    shutdown_notice,
    contract_info,
    ack,
    array,
    empty,
};
enum { SAMPLES = sizeof samples / sizeof *samples };

static int decode(const char *payload, struct tape_tick *tick)
{
    return tape_tick_decode(payload, strlen(payload), tick);
}

static void assert_slice(struct tape_slice slice, const char *text)
{
    assert_int_equal(slice.bytes, strlen(text));
    assert_memory_equal(slice.data, text, slice.bytes);
}

static void assert_decimal(const struct tape_decimal *decimal, const char *text, int64_t value,
                           int scale)
{
    assert_slice(decimal->text, text);
    assert_int_equal(decimal->valid, 1);
    assert_true(decimal->value == value);
    assert_int_equal(decimal->scale, scale);
}

static void test_trade(void **state)
{
    struct tape_tick tick;
    (void)state;
    assert_int_equal(decode(trade_usdm, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_TRADE);
    assert_slice(tick.stream, "btcusdt@trade");
    assert_slice(tick.symbol, "BTCUSDT");
    assert_slice(tick.event, "trade");
    assert_true(tick.event_ns == INT64_C(1780000000123000000));
    assert_true(tick.transaction_ns == INT64_C(1780000000120000000));
    assert_true(tick.id == 6001002003);
    assert_int_equal(tick.buyer_is_maker, 0);
    assert_decimal(&tick.price, "101234.50", 10123450, 2);
    assert_decimal(&tick.quantity, "0.006", 6, 3);
    assert_true(tick.first_id == TAPE_TICK_NONE && tick.previous_id == TAPE_TICK_NONE);
    assert_null(tick.bid.text.data);
    assert_null(tick.bids.data);
    assert_int_equal(decode(agg_trade_usdm, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_AGG_TRADE);
    assert_true(tick.id == 700800900 && tick.first_id == 1001 && tick.last_id == 1003);
    assert_int_equal(tick.buyer_is_maker, 1);
}

static void test_book_ticker(void **state)
{
    struct tape_tick tick;
    (void)state;
    assert_int_equal(decode(book_ticker_usdm, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_BOOK_TICKER);
    assert_true(tick.id == 9012345678901);
    assert_decimal(&tick.bid, "101234.50", 10123450, 2);
    assert_decimal(&tick.bid_quantity, "2.507", 2507, 3);
    assert_decimal(&tick.ask, "101234.60", 10123460, 2);
    assert_decimal(&tick.ask_quantity, "12.510", 12510, 3);
    assert_int_equal(decode(book_ticker_spot, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_BOOK_TICKER);
    assert_null(tick.stream.data);
    assert_true(tick.event_ns == TAPE_TICK_NONE);
    assert_decimal(&tick.ask_quantity, "1.54698000", 154698000, 8);
}

static void test_depth(void **state)
{
    struct tape_tick tick;
    (void)state;
    assert_int_equal(decode(depth_usdm, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_DEPTH);
    assert_true(tick.first_id == 9012345670001 && tick.last_id == 9012345670042);
    assert_true(tick.previous_id == 9012345669990 && tick.id == TAPE_TICK_NONE);
    assert_slice(tick.bids,
                 "[[\"101234.50\",\"2.507\"],[\"101230.00\",\"0.000\"],[\"1000.00\",\"606.675\"]]");
    assert_slice(tick.asks, "[[\"101234.60\",\"12.510\"]]");
    assert_int_equal(decode(partial_depth_usdm, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_DEPTH_SNAPSHOT);
    assert_true(tick.id == 9012345670042);
    assert_slice(tick.bids, "[]");
    assert_int_equal(decode(partial_depth_spot, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_DEPTH_SNAPSHOT);
    assert_true(tick.id == 160);
    assert_int_equal(decode(snapshot_coinm, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_DEPTH_SNAPSHOT);
    assert_slice(tick.symbol, "BTCUSD_PERP");
    assert_slice(tick.asks, "[[\"61804.8\",\"1645\"]]");
    assert_int_equal(decode(depth_spot, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_DEPTH);
    assert_true(tick.event_ns == INT64_C(1780000000200123000)); /* microseconds */
}

static void test_other_kinds(void **state)
{
    struct tape_tick tick;
    (void)state;
    assert_int_equal(decode(mark_price, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_MARK_PRICE);
    assert_decimal(&tick.price, "101234.50000000", 10123450000000, 8);
    assert_true(tick.transaction_ns == TAPE_TICK_NONE);
    assert_int_equal(decode(force_order, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_FORCE_ORDER);
    assert_slice(tick.symbol, "BTCUSDT");
    assert_decimal(&tick.price, "9910", 9910, 0);
    assert_true(tick.transaction_ns == INT64_C(1780000000299000000));
    assert_int_equal(decode(kline, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_KLINE);
    assert_true(tick.first_id == 100 && tick.last_id == 200);
    assert_decimal(&tick.price, "0.0020", 20, 4);
    assert_int_equal(decode(ticker, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_TICKER);
    assert_int_equal(decode(shutdown_notice, &tick), 1);
    assert_int_equal(tick.kind, TAPE_TICK_SHUTDOWN);
    assert_int_equal(decode(contract_info, &tick), 0);
    assert_int_equal(tick.kind, TAPE_TICK_OTHER);
    assert_slice(tick.event, "contractInfo");
    assert_int_equal(decode(array, &tick), 0);
    assert_slice(tick.stream, "!ticker@arr");
    assert_null(tick.event.data);
    assert_int_equal(decode(ack, &tick), 0);
    assert_string_equal(tape_tick_kind_word(TAPE_TICK_DEPTH_SNAPSHOT), "depthSnapshot");
    assert_null(tape_tick_kind_word(99));
    assert_null(tape_tick_kind_word(-1));
}

/* ---- what the kind is told by ---- */

struct kind_case {
    const char *payload;
    int kind;
};

#define DEPTH_ON(stream) "{\"stream\":\"" stream "\",\"data\":{\"e\":\"depthUpdate\"}}"
static const struct kind_case kind_cases[] = {
    {DEPTH_ON("b@depth"), TAPE_TICK_DEPTH},
    {DEPTH_ON("b@depth@100ms"), TAPE_TICK_DEPTH},
    {DEPTH_ON("b@depth5"), TAPE_TICK_DEPTH_SNAPSHOT},
    {DEPTH_ON("b@depth10@500ms"), TAPE_TICK_DEPTH_SNAPSHOT},
    {DEPTH_ON("b@depth20@100ms"), TAPE_TICK_DEPTH_SNAPSHOT},
    {DEPTH_ON("b\\u0040d\\u0065pth20"), TAPE_TICK_DEPTH_SNAPSHOT},
    {DEPTH_ON("\\u5e01\\u5b89@depth20"), TAPE_TICK_DEPTH_SNAPSHOT},
    {DEPTH_ON("\xe5\xb8\x81@depth20"), TAPE_TICK_DEPTH_SNAPSHOT},
    {DEPTH_ON("b@depth50"), TAPE_TICK_DEPTH},
    {DEPTH_ON("b@depth200"), TAPE_TICK_DEPTH},
    {DEPTH_ON("b@depth5x"), TAPE_TICK_DEPTH},
    {DEPTH_ON("b@rpiDepth@500ms"), TAPE_TICK_DEPTH},
    {DEPTH_ON(""), TAPE_TICK_DEPTH},
    {"{\"data\":{\"e\":\"depthUpdate\"},\"stream\":\"b@depth5\"}", TAPE_TICK_DEPTH_SNAPSHOT},
    {"{\"e\":\"depthUpdate\",\"stream\":\"b@depth5\"}", TAPE_TICK_DEPTH},
    {"{\"e\":\"depthUpdate\",\"data\":{\"e\":\"trade\"}}", TAPE_TICK_DEPTH},
    {"{\"id\":1,\"data\":{\"e\":\"trade\"},\"e\":\"kline\"}", TAPE_TICK_TRADE},
    {"{\"data\":{\"stream\":\"x\",\"data\":1,\"e\":\"depthUpdate\"},\"stream\":\"b@depth5\"}",
     TAPE_TICK_DEPTH_SNAPSHOT},
    {"{\"data\":{\"e\":\"depthUpdate\",\"E\":1,\"T\":2,\"s\":\"A\",\"U\":3,\"u\":4,\"pu\":5},"
     "\"stream\":"
     "\"b@depth5\"}",
     TAPE_TICK_DEPTH_SNAPSHOT},
    {"{\"data\":5,\"data\":{\"e\":\"trade\"}}", TAPE_TICK_OTHER},
    {"{\"data\":{\"e\":\"trade\"},\"data\":{\"e\":\"kline\"}}", TAPE_TICK_TRADE},
    {"{\"e\":\"trade\",\"e\":\"kline\"}", TAPE_TICK_TRADE},
    {"{\"e\":5,\"e\":\"kline\"}", TAPE_TICK_OTHER},
    {"{\"e\":\"tr\\u0061de\"}", TAPE_TICK_TRADE},
    {"{\"\\u0065\":\"trade\"}", TAPE_TICK_TRADE},
    {"{\"e\":\"Trade\"}", TAPE_TICK_OTHER},
    {"{\"e\":\"\"}", TAPE_TICK_OTHER},
    {"{\"u\":1,\"s\":\"\",\"b\":1,\"B\":\"\",\"a\":1.5,\"A\":\"x\"}", TAPE_TICK_BOOK_TICKER},
    {"{\"u\":1,\"s\":\"\",\"b\":[],\"B\":\"\",\"a\":1.5,\"A\":\"x\"}", TAPE_TICK_OTHER},
    {"{\"u\":1,\"s\":\"\",\"b\":1,\"B\":\"\",\"a\":1.5}", TAPE_TICK_OTHER},
    {"{\"lastUpdateId\":1,\"bids\":[]}", TAPE_TICK_OTHER},
};

static void test_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kind_cases / sizeof *kind_cases; i++) {
        struct tape_tick tick;
        const char *payload = kind_cases[i].payload;
        if (decode(payload, &tick) != (kind_cases[i].kind != TAPE_TICK_OTHER) ||
            tick.kind != kind_cases[i].kind)
            fail_msg("%s: decoded as %d", payload, tick.kind);
        tape_tick_scan(payload, strlen(payload), &tick);
        if (tick.kind != kind_cases[i].kind)
            fail_msg("%s: scanned as %d", payload, tick.kind);
    }
}

/* ---- what JSON is ---- */

static const char *const good_json[] = {
    "{\"e\":\"trade\"}",
    " \t\r\n{ \"e\" \t:\n\"trade\" }\r\n ",
    "{\"e\":\"trade\",\"x\":{}}",
    "{\"e\":\"trade\",\"x\":[ ]}",
    "{\"e\":\"trade\",\"x\":{\"a\":[1,{\"b\":null},[[]]]}}",
    "{\"e\":\"trade\",\"x\":-0.5e+10,\"y\":0,\"z\":1E5,\"w\":-0}",
    "{\"e\":\"trade\",\"x\":true,\"y\":false,\"z\":null}",
    "{\"e\":\"trade\",\"x\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u12aF\"}",
    "{\"e\":\"trade\",\"\":1}",
    "{\"e\":\"trade\",\"\\\"\":1}",
    "{\"e\":\"trade\",\"x\":\"0123456789012345678901234567890123456789\\\\\"}",
    "{\"e\":\"trade\",\"x\":\"\x7f\xe5\xb8\x81\xff\"}",
    "{\"e\":\"trade\",\"b\":[ [\"1\",\"2\"] , [\"3\",\"4\"] ]}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"],5,\"x\",{}]}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"\\\"\"],[\"1234567890123456\",\"12345678901234567890\"]]}",
};

static const char *const bad_json[] = {
    "",
    " ",
    "{",
    "{}x",
    "[]",
    "5",
    "\"e\"",
    "pong",
    "{\"e\":\"trade\"",
    "{\"e\":\"trade\"}}",
    "{\"e\":\"trade\"},",
    "{\"e\":\"trade\",}",
    "{,\"e\":\"trade\"}",
    "{\"e\":\"trade\" \"x\":1}",
    "{\"e\" \"trade\"}",
    "{\"e\":}",
    "{\"e\"}",
    "{e:\"trade\"}",
    "{\"e\":\"trade\",\"x\":01}",
    "{\"e\":\"trade\",\"x\":-}",
    "{\"e\":\"trade\",\"x\":1.}",
    "{\"e\":\"trade\",\"x\":.5}",
    "{\"e\":\"trade\",\"x\":+1}",
    "{\"e\":\"trade\",\"x\":1e}",
    "{\"e\":\"trade\",\"x\":0x10}",
    "{\"e\":\"trade\",\"x\":1 2}",
    "{\"e\":\"trade\",\"x\":tru}",
    "{\"e\":\"trade\",\"x\":nul}",
    "{\"e\":\"trade\",\"x\":truee}",
    "{\"e\":\"trade\",\"x\":NaN}",
    "{\"e\":\"trade\",\"x\":\"\\x\"}",
    "{\"e\":\"trade\",\"x\":\"\\u12g4\"}",
    "{\"e\":\"trade\",\"x\":\"a\nb\"}",
    "{\"e\":\"trade\",\"x\":\"unterminated}",
    "{\"e\":\"trade\",\"x\":\"0123456789012345678901234567890123456789\\\"}",
    "{\"e\":\"trade\",\"x\":[1,]}",
    "{\"e\":\"trade\",\"x\":[,1]}",
    "{\"e\":\"trade\",\"x\":[1 2]}",
    "{\"e\":\"trade\",\"x\":[1}",
    "{\"e\":\"trade\",\"x\":{\"a\":}}",
    "{\"e\":\"trade\",\"x\":{\"a\":1,}}",
    "{\"e\":\"trade\",\"x\":{\"a\"}}",
    "{\"e\":\"trade\",\"x\":{1:1}}",
    "{\"e\":\"trade\",\"x\":{\"a\":1]}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"],]}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"],]                                              }",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"][\"1\",\"2\"]]}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"],[\"1\" \"2\"]]                                 }",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"],[\"1\",\"2\"}]                                 }",
    "{\"e\":\"trade\",\"b\":[[\"1\"x\"2\"]]}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"2\"x,[\"1\",\"2\"]]}",
    "{\"e\":\"trade\",\"b\":[x\"1\",\"2\"]]}",
    "{\"e\":\"trade\",\"b\":[\"\"1\",\"2\"]]}",
    "{\"e\":\"trade\",\"\x02\x02\":1}",
    "{\"e\":\"trade\",\"a\x02\":1}",
    "{\"e\":\"trade\",\"a\\\":1}",
    "{\"e\":\"trade\",\"\\\":1}",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"\n\"],[\"1\",\"2\"]]                                }",
    "{\"e\":\"trade\",\"b\":[[\"1\",\"\\\"],[\"1\",\"2\"]]                                }",
    "{\"\":\"trade\",\"b\x01\":1}",
    "{\"e\x01:\"trade\"}",
    "{\"\x01\":1}",
    "{\"stream\":\"x\",\"data\":{\"e\":\"trade\"}",
    "{\"stream\":\"x\",\"data\":{\"e\":\"trade\"}}}",
    "{\"stream\":\"x,\"data\":{\"e\":\"trade\"}}",
    "\xef\xbb\xbf{\"e\":\"trade\"}",
};

static void assert_empty(const struct tape_tick *tick)
{
    assert_int_equal(tick->kind, TAPE_TICK_OTHER);
    assert_true(!tick->stream.data && !tick->symbol.data && !tick->event.data);
    assert_true(tick->event_ns == TAPE_TICK_NONE && tick->transaction_ns == TAPE_TICK_NONE);
    assert_true(tick->id == TAPE_TICK_NONE && tick->last_id == TAPE_TICK_NONE);
    assert_true(!tick->price.text.data && !tick->bids.data && tick->buyer_is_maker == -1);
}

/* Much of the work near the end of a payload is done another way than in its middle: the same with
 * a long member behind it. */
static int decode_lengthened(const char *payload, struct tape_tick *tick)
{
    static const char more[] = ",\"y\":\"0123456789012345678901234567890123456789012345678901234567"
                               "890123456789012345678901234567890123456789\"}";
    char longer[1024];
    size_t bytes = strlen(payload);
    if (bytes == 0 || payload[bytes - 1] != '}')
        return -1;
    int length = snprintf(longer, sizeof longer, "%.*s%s", (int)bytes - 1, payload, more);
    assert_true(length > 0 && length < (int)sizeof longer);
    return tape_tick_decode(longer, (size_t)length, tick);
}

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_json / sizeof *good_json; i++) {
        struct tape_tick tick;
        if (!decode(good_json[i], &tick))
            fail_msg("not read: %s", good_json[i]);
        if (!decode_lengthened(good_json[i], &tick))
            fail_msg("not read when longer: %s", good_json[i]);
    }
    for (size_t i = 0; i < sizeof bad_json / sizeof *bad_json; i++) {
        struct tape_tick tick;
        if (decode(bad_json[i], &tick))
            fail_msg("read: %s", bad_json[i]);
        assert_empty(&tick);
        if (decode_lengthened(bad_json[i], &tick) == 1)
            fail_msg("read when longer: %s", bad_json[i]);
    }
    struct tape_tick tick;
    assert_int_equal(tape_tick_decode(NULL, 0, &tick), 0);
    assert_int_equal(tape_tick_decode("{\0}", 3, &tick), 0);
}

/* {"e":"trade","x":[[...]]} with brackets ${depth} deep in all. */
static void test_nesting(void **state)
{
    static char text[4096];
    (void)state;
    for (int depth = 900; depth <= 1003; depth++)
        for (int key = 0; key < 2; key++) {
            struct tape_tick tick;
            size_t inner = (size_t)depth - 1;
            int head = snprintf(text, sizeof text, "{\"e\":\"trade\",\"%s\":", key ? "b" : "x");
            memset(text + head, '[', inner);
            memset(text + head + inner, ']', inner);
            snprintf(text + head + 2 * inner, 2, "}");
            assert_int_equal(decode(text, &tick), depth <= 1000);
            assert_int_equal(decode(text, &tick), depth <= 1000);
        }
}

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"0", 0},
        {"7", 7},
        {"-7", -7},
        {"-0", 0},
        {"12345678", 12345678},
        {"123456789", 123456789},
        {"1234567890123456", 1234567890123456},
        {"12345678901234567", 12345678901234567},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775808", TAPE_TICK_NONE},
        {"-9223372036854775808", TAPE_TICK_NONE},
        {"9999999999999999999", TAPE_TICK_NONE},
        {"99999999999999999999", TAPE_TICK_NONE},
        {"1.0", TAPE_TICK_NONE},
        {"1e3", TAPE_TICK_NONE},
        {"\"5\"", TAPE_TICK_NONE},
        {"null", TAPE_TICK_NONE},
        {"[5]", TAPE_TICK_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char payload[128];
        struct tape_tick tick;
        snprintf(payload, sizeof payload, "{\"e\":\"trade\",\"t\":%s,\"x\":\"0123456789abcdef\"}",
                 cases[i].text);
        assert_int_equal(decode(payload, &tick), 1);
        if (tick.id != cases[i].value)
            fail_msg("%s is read as %lld", cases[i].text, (long long)tick.id);
        snprintf(payload, sizeof payload, "{\"e\":\"trade\",\"t\":%s}", cases[i].text);
        assert_int_equal(decode(payload, &tick), 1);
        assert_true(tick.id == cases[i].value);
    }
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"0", 0},
        {"1780000000123", INT64_C(1780000000123000000)},
        {"1780000000123456", INT64_C(1780000000123456000)},
        {"9223372036854", INT64_C(9223372036854000000)},
        {"9223372036855", INT64_C(9223372036855000)},
        {"9223372036854775", INT64_C(9223372036854775000)},
        {"9223372036854776", TAPE_TICK_NONE},
        {"-1", TAPE_TICK_NONE},
        {"1.5", TAPE_TICK_NONE},
        {"\"1780000000123\"", TAPE_TICK_NONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char payload[96];
        struct tape_tick tick;
        snprintf(payload, sizeof payload, "{\"e\":\"trade\",\"E\":%s}", cases[i].text);
        assert_int_equal(decode(payload, &tick), 1);
        if (tick.event_ns != cases[i].ns)
            fail_msg("%s is read as %lld", cases[i].text, (long long)tick.event_ns);
    }
}

/* ---- decimals and levels ---- */

static void test_decimals(void **state)
{
    static const struct {
        const char *text;
        int valid, scale;
        int64_t value;
    } cases[] = {
        {"0", 1, 0, 0},
        {"0.10", 1, 2, 10},
        {"61800.20", 1, 2, 6180020},
        {"61837.63000000", 1, 8, 6183763000000},
        {"12345678.12345678", 1, 8, 1234567812345678},
        {"123456789.12345678", 1, 8, INT64_C(12345678912345678)},
        {"1234567.123456789", 1, 9, INT64_C(1234567123456789)},
        {"123456789012345678", 1, 0, INT64_C(123456789012345678)},
        {"0.12345678901234567", 1, 17, INT64_C(12345678901234567)},
        {"999999999.999999999", 1, 9, INT64_C(999999999999999999)},
        {"-0.5", 1, 1, -5},
        {"-12", 1, 0, -12},
        {"1234567890123456789", 0, 0, 0},
        {"0.123456789012345678", 0, 0, 0},
        {"-0", 0, 0, 0},
        {"-0.00", 0, 0, 0},
        {"00", 0, 0, 0},
        {"01.5", 0, 0, 0},
        {".5", 0, 0, 0},
        {"5.", 0, 0, 0},
        {"-", 0, 0, 0},
        {"-.5", 0, 0, 0},
        {".", 0, 0, 0},
        {"", 0, 0, 0},
        {"1e5", 0, 0, 0},
        {"1.2.3", 0, 0, 0},
        {"1..2", 0, 0, 0},
        {"+1", 0, 0, 0},
        {" 1", 0, 0, 0},
        {"1 ", 0, 0, 0},
        {"1,5", 0, 0, 0},
        {"0x1", 0, 0, 0},
        {"NaN", 0, 0, 0},
        {"12345678901234567890123456789012345678901234567890", 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_slice text = {cases[i].text, strlen(cases[i].text)};
        struct tape_decimal decimal;
        char payload[256];
        struct tape_tick tick;
        assert_int_equal(tape_tick_parse_decimal(text, &decimal), cases[i].valid);
        snprintf(payload, sizeof payload,
                 "{\"e\":\"trade\",\"p\":\"%s\",\"x\":\"0123456789abcdef\"}", cases[i].text);
        assert_int_equal(decode(payload, &tick), 1);
        for (int way = 0; way < 2; way++) {
            const struct tape_decimal *got = way ? &tick.price : &decimal;
            if (got->valid != cases[i].valid || got->value != cases[i].value ||
                got->scale != cases[i].scale)
                fail_msg("\"%s\" is read as %lld, %d", cases[i].text, (long long)got->value,
                         got->scale);
            assert_slice(got->text, cases[i].text);
        }
    }
}

static void test_levels(void **state)
{
    static const char text[] = " [ [ \"1.5\" , 2 ] ,[\"3\",\"4\",[],\"x\"], [\"x\\\"\",1e5] ]";
    struct tape_slice list = {text, sizeof text - 1};
    struct tape_decimal price, quantity;
    (void)state;
    assert_int_equal(tape_tick_next_level(&list, &price, &quantity), 1);
    assert_decimal(&price, "1.5", 15, 1);
    assert_decimal(&quantity, "2", 2, 0);
    assert_int_equal(tape_tick_next_level(&list, &price, &quantity), 1);
    assert_decimal(&price, "3", 3, 0);
    assert_int_equal(tape_tick_next_level(&list, &price, &quantity), 1);
    assert_slice(price.text, "x\\\"");
    assert_int_equal(price.valid, 0);
    assert_slice(quantity.text, "1e5");
    assert_int_equal(tape_tick_next_level(&list, &price, &quantity), 0);
    assert_int_equal(tape_tick_next_level(&list, &price, &quantity), 0);
    static const char *const broken[] = {
        "x",        "[",        "[1]",      "[[]]",          "[[1]]",   "[[1,]]",     "[[1 2]]",
        "[[1,2]",   "[[1,2",    "[[1,2],",  "[[1,2]]]",      "[]x",     "[[1,true]]", "[[null,1]]",
        "[[1,2],]", "[[1,2,]]", "[[[],1]]", "[[1,2] [3,4]]", "[,[1,2]]"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        int got, taken = 0;
        list.data = broken[i];
        list.bytes = strlen(broken[i]);
        while ((got = tape_tick_next_level(&list, &price, &quantity)) == 1)
            assert_true(++taken < 3);
        if (got != -1)
            fail_msg("%s ends well", broken[i]);
    }
}

/* ---- against cJSON ---- */

/* 1 when both read the payload alike. */
static int compare(const char *payload, size_t bytes, struct oracle_difference *difference)
{
    cJSON *root = cJSON_ParseWithLength(payload, bytes);
    int differs = root ? oracle_compare(difference, root, payload, bytes) : 0;
    if (!root) {
        struct tape_tick tick;
        differs = tape_tick_decode(payload, bytes, &tick);
        snprintf(difference->text, sizeof difference->text, "cJSON cannot read it");
    }
    cJSON_Delete(root);
    return !differs;
}

static void test_samples_against_cjson(void **state)
{
    struct oracle_difference difference = {0, ""};
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++)
        if (!compare(samples[i], strlen(samples[i]), &difference))
            fail_msg("%s in %s", difference.text, samples[i]);
    for (size_t i = 0; i < sizeof kind_cases / sizeof *kind_cases; i++)
        if (!compare(kind_cases[i].payload, strlen(kind_cases[i].payload), &difference))
            fail_msg("%s in %s", difference.text, kind_cases[i].payload);
    for (size_t i = 0; i < sizeof good_json / sizeof *good_json; i++)
        if (!compare(good_json[i], strlen(good_json[i]), &difference))
            fail_msg("%s in %s", difference.text, good_json[i]);
}

/* Payloads with fields of random order, number, form and spacing. */
struct maker {
    uint32_t seed;
    size_t used;
    char text[8192];
};

static unsigned draw(struct maker *maker, unsigned below)
{
    maker->seed = maker->seed * 1664525 + 1013904223;
    return (maker->seed >> 8) % below;
}

static void add(struct maker *maker, const char *text)
{
    size_t bytes = strlen(text);
    assert_true(maker->used + bytes < sizeof maker->text);
    memcpy(maker->text + maker->used, text, bytes + 1);
    maker->used += bytes;
}

static void add_space(struct maker *maker)
{
    static const char *const spaces[] = {" ", "\n", "\t \r", "                      "};
    if (draw(maker, 12) == 0)
        add(maker, spaces[draw(maker, 4)]);
}

static void add_number(struct maker *maker)
{
    char text[64];
    static const char *const odd[] = {"0",
                                      "-1",
                                      "1.5",
                                      "-0.25",
                                      "15e-1",
                                      "1780000000123",
                                      "1780000000123456",
                                      "123456789012345678"};
    if (draw(maker, 3) == 0) {
        add(maker, odd[draw(maker, 8)]);
        return;
    }
    snprintf(text, sizeof text, "%u%04u", 1 + draw(maker, 100000), draw(maker, 10000));
    add(maker, text);
}

static void add_string(struct maker *maker)
{
    static const char *const words[] = {"trade",
                                        "aggTrade",
                                        "bookTicker",
                                        "depthUpdate",
                                        "kline",
                                        "forceOrder",
                                        "markPriceUpdate",
                                        "24hrTicker",
                                        "BTCUSDT",
                                        "b@depth",
                                        "b@depth20@100ms",
                                        "",
                                        "\\u0041\\\"\\n",
                                        "\xe5\xb8\x81\xe5\xae\x89",
                                        "0123456789012345678901234567"};
    char text[64];
    add(maker, "\"");
    if (draw(maker, 2)) {
        add(maker, words[draw(maker, 15)]);
    } else {
        snprintf(text, sizeof text, "%u.%0*u", draw(maker, 200000), 1 + (int)draw(maker, 9),
                 draw(maker, 10));
        add(maker, text);
    }
    add(maker, "\"");
}

static void add_object(struct maker *maker, int depth);

static void add_list(struct maker *maker, int depth)
{
    char text[96];
    unsigned count = draw(maker, 6);
    add(maker, "[");
    for (unsigned i = 0; i < count; i++) {
        add(maker, i ? "," : "");
        add_space(maker);
        if (draw(maker, 10) == 0 && depth < 4) {
            add_object(maker, depth + 1);
            continue;
        }
        snprintf(text, sizeof text, "[\"%u.%02u\",\"%u.%08u\"]", draw(maker, 99999999),
                 draw(maker, 100), draw(maker, 10000000), draw(maker, 100000000));
        add(maker, text);
        add_space(maker);
    }
    add(maker, "]");
}

static void add_value(struct maker *maker, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    switch (draw(maker, depth < 4 ? 8 : 5)) {
    case 0:
        add(maker, words[draw(maker, 3)]);
        break;
    case 1:
    case 2:
        add_number(maker);
        break;
    case 5:
        add_list(maker, depth);
        break;
    case 6:
        add_object(maker, depth + 1);
        break;
    default:
        add_string(maker);
    }
}

static void add_object(struct maker *maker, int depth)
{
    static const char *const keys[] = {"e",
                                       "E",
                                       "T",
                                       "s",
                                       "t",
                                       "p",
                                       "q",
                                       "a",
                                       "b",
                                       "A",
                                       "B",
                                       "u",
                                       "U",
                                       "pu",
                                       "f",
                                       "l",
                                       "m",
                                       "o",
                                       "k",
                                       "c",
                                       "v",
                                       "L",
                                       "X",
                                       "st",
                                       "ps",
                                       "nq",
                                       "stream",
                                       "data",
                                       "lastUpdateId",
                                       "bids",
                                       "asks",
                                       "symbol",
                                       "",
                                       "\\u0065",
                                       "xyz",
                                       "p\\u0075",
                                       "\\\""};
    unsigned count = draw(maker, depth ? 9 : 14);
    add(maker, "{");
    add_space(maker);
    for (unsigned i = 0; i < count && maker->used < 4096; i++) {
        add(maker, i ? ",\"" : "\"");
        add(maker, keys[draw(maker, sizeof keys / sizeof *keys)]);
        add(maker, "\"");
        add_space(maker);
        add(maker, ":");
        add_space(maker);
        add_value(maker, depth);
        add_space(maker);
    }
    add(maker, "}");
}

static void test_made_against_cjson(void **state)
{
    static struct maker maker;
    struct oracle_difference difference = {0, ""};
    int known = 0;
    (void)state;
    maker.seed = 20261122;
    for (int i = 0; i < 60000; i++) {
        struct tape_tick tick;
        maker.used = 0;
        if (i % 2) {
            static const char *const events[] = {"trade",          "aggTrade", "bookTicker",
                                                 "depthUpdate",    "kline",    "forceOrder",
                                                 "markPriceUpdate"};
            char head[96];
            snprintf(head, sizeof head, "{\"%s\":\"b@depth%s\",\"data\":{\"e\":\"%s\",\"%s\":",
                     i % 4 == 1 ? "stream" : "x", i % 3 ? "" : "5", events[draw(&maker, 7)],
                     i % 8 == 1 ? "k" : "o");
            add(&maker, head);
            add_object(&maker, 1);
            add(&maker, ",\"z\":0,");
            add_object(&maker, 0);
            memmove(strstr(maker.text, ",\"z\":0,{") + 7, strstr(maker.text, ",\"z\":0,{") + 8,
                    strlen(strstr(maker.text, ",\"z\":0,{") + 8) + 1);
            maker.used--;
            add(&maker, "}");
        } else {
            add_object(&maker, 0);
        }
        if (!compare(maker.text, maker.used, &difference))
            fail_msg("%s in %s", difference.text, maker.text);
        known += tape_tick_decode(maker.text, maker.used, &tick);
    }
    assert_true(known > 2000);
}

/* ---- the edge of the buffer ---- */

/* Every sample cut at every byte, its end at the forbidden page: only the whole is JSON, and what a
 * scan finds before its early end is what it finds in the whole. */
static void test_cut_at_every_byte(void **state)
{
    struct guard guard = guard_open(4096);
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t bytes = strlen(samples[i]);
        struct tape_tick whole, part;
        tape_tick_scan(samples[i], bytes, &whole);
        for (size_t cut = 0; cut < bytes; cut++) {
            const char *payload = (const char *)guard_put(&guard, samples[i], cut);
            assert_int_equal(tape_tick_decode(payload, cut, &part), 0);
            assert_empty(&part);
            if (!tape_tick_scan(payload, cut, &part))
                continue;
            if (part.kind != whole.kind || part.id != whole.id || part.event_ns != whole.event_ns ||
                part.first_id != whole.first_id || part.last_id != whole.last_id)
                fail_msg("scanned otherwise when cut: %.*s", (int)cut, payload);
        }
        struct oracle_difference difference = {0, ""};
        const char *payload = (const char *)guard_put(&guard, samples[i], bytes);
        assert_int_equal(compare(payload, bytes, &difference), 1);
    }
    guard_close(&guard);
}

static void test_levels_at_the_edge(void **state)
{
    static const char list[] = "[[\"61737.63000000\",\"0.00000000\"],[\"1\",\"2\"]]";
    struct guard guard = guard_open(4096);
    (void)state;
    for (size_t cut = 0; cut < sizeof list; cut++) {
        struct tape_slice slice = {(const char *)guard_put(&guard, list, cut), cut};
        struct tape_decimal price, quantity;
        int got, taken = 0;
        while ((got = tape_tick_next_level(&slice, &price, &quantity)) == 1)
            taken++;
        assert_int_equal(got, cut == 0 || cut == sizeof list - 1 ? 0 : -1);
        assert_true(taken <= 2);
    }
    guard_close(&guard);
}

/* ---- the plain form, read in one pass ---- */

/* White space in front makes it another form, for the general reader. */
static void compare_with_general(struct guard *guard, const char *text, size_t bytes)
{
    char general[4096] = " ";
    struct tape_tick first, second;
    memcpy(general + 1, text, bytes);
    const char *payload = (const char *)guard_put(guard, text, bytes);
    int known = tape_tick_decode(payload, bytes, &first);
    if (tape_tick_decode(general, bytes + 1, &second) != known)
        fail_msg("%d differs in %.*s", known, (int)bytes, text);
    struct tick_pair pair = {{&first, &second}, {payload, general + 1}};
    const char *differs = ticks_differ(&pair);
    if (differs)
        fail_msg("%s differs in %.*s", differs, (int)bytes, text);
}

/* Some bytes changed, moved, or a piece of one sample put into another. */
static size_t disturb(char text[2048], size_t bytes)
{
    static const char letters[] = "\"\"\"::,,{}[]0019.-eETsuUbBaApqtmflX\\ntruefalse \t\x1f\x80";
    for (unsigned i = random_below(4); i > 0; i--) {
        size_t at = random_below((uint32_t)bytes), length = random_below(40);
        const char *other = samples[random_below(SAMPLES)];
        size_t from = random_below((uint32_t)strlen(other));
        switch (random_below(4)) {
        case 0:
            if (length > strlen(other) - from)
                length = strlen(other) - from;
            memmove(text + at + length, text + at, bytes - at);
            memcpy(text + at, other + from, length);
            bytes += length;
            break;
        case 1:
            length = length < bytes - at ? length % 8 : 0;
            memmove(text + at, text + at + length, bytes - at - length);
            bytes -= length;
            break;
        default:
            text[at] = letters[random_below(sizeof letters - 1)];
        }
    }
    return bytes;
}

static void test_plain_as_general(void **state)
{
    struct guard guard = guard_open(4096);
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t bytes = strlen(samples[i]);
        compare_with_general(&guard, samples[i], bytes);
        for (int round = 0; round < 20000; round++) {
            char text[2048];
            memcpy(text, samples[i], bytes);
            compare_with_general(&guard, text, disturb(text, bytes));
        }
    }
    guard_close(&guard);
}

/* Numbers of every length and form, in the places where they are decoded at once. */
static void test_plain_numbers(void **state)
{
    static const char *const forms[] = {
        "{\"e\":\"trade\",\"E\":%s,\"t\":%s,\"p\":\"%s\",\"q\":\"%s\"}",
        "{\"stream\":\"a\",\"data\":{\"u\":%s,\"s\":\"%s\",\"b\":\"1\",\"B\":\"2\",\"a\":\"%s\","
        "\"A\":"
        "\"%s\"}}",
        "{\"e\":\"aggTrade\",\"a\":%s,\"T\":%s,\"m\":true,\"p\":\"%s\",\"l\":%s}",
        "{\"p\":\"%s\",\"t\":%s,\"q\":\"%s\",\"X\":%s,\"e\":\"trade\"}",
    };
    struct guard guard = guard_open(4096);
    (void)state;
    for (int round = 0; round < 200000; round++) {
        char numbers[4][32] = {""}, text[512];
        for (int i = 0; i < 4; i++) {
            unsigned length = random_below(round % 2 ? 24 : 10);
            for (unsigned k = 0; k < length; k++)
                numbers[i][k] = (char)('0' + random_below(k ? 10 : 3));
            if (length > 0 && random_below(3))
                numbers[i][random_below(length)] = random_below(9) ? '.' : '-';
        }
        int bytes = snprintf(text, sizeof text, forms[round / 2 % 4], numbers[0], numbers[1],
                             numbers[2], numbers[3]);
        compare_with_general(&guard, text, (size_t)bytes);
    }
    guard_close(&guard);
}

static void test_scan_stops_early(void **state)
{
    struct tape_tick tick;
    char payload[512];
    (void)state;
    snprintf(payload, sizeof payload, "%s", depth_usdm);
    char *lists = strstr(payload, "\"b\":");
    memset(lists, '?', strlen(lists));
    assert_int_equal(tape_tick_scan(payload, strlen(payload), &tick), 1);
    assert_true(tick.previous_id == 9012345669990);
    assert_int_equal(tape_tick_decode(payload, strlen(payload), &tick), 0);
}

/* ---- real messages ---- */

static const char *const captures[] = {
    "hftbacktest/usdm_btcusdt_20240808.txt.zst",
    "hftbacktest/usdm_ethusdt_20240808.txt.zst",
    "hftbacktest/cm_btcusd_perp_20240808.txt.zst",
    "hftbacktest/spot_btcusdt_20240808.txt.zst",
    "cryptofeed/BINANCE.ws.1.0.txt.zst",
    "cryptofeed/BINANCE_FUTURES.ws.1.0.txt.zst",
    "cryptofeed/BITGET.ws.1.0.txt.zst",
    "cryptofeed/BYBIT.ws.25.0.txt.zst",
    "cryptofeed/COINBASE.ws.28.0.txt.zst",
    "cryptofeed/DERIBIT.ws.1.0.txt.zst",
    "cryptofeed/HITBTC.ws.1.0.txt.zst",
    "cryptofeed/KRAKEN.ws.50.0.txt.zst",
    "cryptofeed/OKX.ws.1.0.txt.zst",
};

static void test_real_messages_against_cjson(void **state)
{
    size_t messages = 0, known = 0, read = 0;
    struct guard guard = guard_open(4096);
    (void)state;
    for (size_t i = 0; i < sizeof captures / sizeof *captures; i++) {
        size_t bytes;
        char *text = read_capture(captures[i], &bytes);
        if (!text) {
            print_message("skipped: no capture %s\n", captures[i]);
            continue;
        }
        read++;
        for (char *at = text, *end = text + bytes; at < end;) {
            char *newline = memchr(at, '\n', (size_t)(end - at));
            char *payload = memchr(at, ' ', (size_t)(end - at));
            assert_true(newline && payload && payload < newline);
            struct oracle_difference difference = {0, ""};
            struct tape_tick tick;
            size_t length = (size_t)(newline - ++payload);
            if (!compare(payload, length, &difference))
                fail_msg("%s in %.*s", difference.text, (int)length, payload);
            known += (size_t)tape_tick_decode(payload, length, &tick);
            if (length < 4000)
                compare_with_general(&guard, payload, length);
            messages++;
            at = newline + 1;
        }
        free(text);
    }
    guard_close(&guard);
    print_message("%zu real messages of %zu captures, %zu of known kinds\n", messages, read, known);
    if (read == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trade),
        cmocka_unit_test(test_book_ticker),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_samples_against_cjson),
        cmocka_unit_test(test_made_against_cjson),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_levels_at_the_edge),
        cmocka_unit_test(test_plain_as_general),
        cmocka_unit_test(test_plain_numbers),
        cmocka_unit_test(test_scan_stops_early),
        cmocka_unit_test(test_real_messages_against_cjson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
