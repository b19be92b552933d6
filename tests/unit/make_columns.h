/* Packed blocks whose templates are those of a foreign hand: messages that the parser knows, cut
 * into literals and slots where a dice, or a fuzzer's bytes, say. Most cuts are such as our packer
 * makes, some are not. */
#ifndef TAPE_TESTS_UNIT_MAKE_COLUMNS_H
#define TAPE_TESTS_UNIT_MAKE_COLUMNS_H

#include "format/packed.h"
#include "format/packed_number.h"
#include "format/ws.h"
#include "tests/unit/make_packed.h"
#include "tests/unit/make_records.h"

enum { CUT_NODES = 256, CUT_ROWS = 24, CUT_TEXT = 1 << 14, CUT_WORDS = 6 };

/* Numbers from a dice, or from bytes while there are some. */
struct chooser {
    struct dice dice;
    const uint8_t *bytes;
    size_t left;
};

static inline uint64_t choose(struct chooser *chooser, uint64_t below)
{
    if (chooser->left == 0)
        return chooser->bytes ? 0 : roll_below(&chooser->dice, below);
    chooser->left--;
    return *chooser->bytes++ % below;
}

/* One in so many. */
static inline int seldom(struct chooser *chooser, uint64_t many)
{
    return choose(chooser, many) == many - 1;
}

/* A node of a program with what was put so far. A list's inside follows it, up to end. */
struct cut_node {
    uint8_t node, form, decimals, negative, magnitude;
    uint32_t end, length;
    const char *literal;
    const char *words[CUT_WORDS]; /* a string's */
    uint32_t word_count;
    struct tape_growing values, scales, raw; /* int64 each; bytes */
};

struct cut {
    struct chooser *chooser;
    int unnamed; /* its group promises nothing */
    int tame;    /* only such cuts and words as our packer could make */
    struct cut_node nodes[CUT_NODES];
    uint32_t count;
    struct tape_growing text; /* of the row that is being put */
};

static const char *const cut_messages[] = {
    "{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1723161256000,\"T\":"
    "1723161256001,"
    "\"s\":\"BTCUSDT\",\"t\":5273,\"p\":\"61837.60\",\"q\":\"0.002\",\"X\":\"MARKET\",\"m\":true,"
    "\"M\":false}}",
    "{\"e\":\"aggTrade\",\"E\":1723161256000,\"s\":\"BTCUSDT\",\"a\":12,\"p\":\"0.5\",\"q\":\"7\","
    "\"f\":"
    "9,\"l\":10,\"T\":1723161255990,\"m\":false,\"stream\":\"late\"}",
    "{\"stream\":\"btcusdt@bookTicker\",\"data\":{\"u\":400900217,\"s\":\"BNBUSDT\",\"b\":\"25."
    "35190000\""
    ",\"B\":\"31.21\",\"a\":\"25.36\",\"A\":\"40.66\"}}",
    "{\"e\":\"bookTicker\",\"u\":17242169,\"s\":\"BTCUSD_PERP\",\"ps\":\"BTCUSD\",\"b\":\"9548.1\","
    "\"B\":"
    "\"52\",\"a\":9548.5,\"A\":11,\"T\":1591268628155,\"E\":1591268628166}",
    "{\"stream\":\"btcusdt@depth\",\"data\":{\"e\":\"depthUpdate\",\"E\":1723161256000,\"T\":"
    "1723161256001,\"s\":\"BTCUSDT\",\"U\":157,\"u\":160,\"pu\":149,\"b\":[[\"0.0024\",\"10\"],["
    "\"1.5\","
    "\"0\"]],\"a\":[]}}",
    "{\"data\":{\"lastUpdateId\":160,\"bids\":[[\"0.0024\",\"10\"]],\"asks\":[[\"0.0026\",\"100\",["
    "]]],"
    "\"symbol\":\"X\"},\"stream\":\"btcusdt@depth20\"}",
    "{\"lastUpdateId\":160, "
    "\"E\":1568014460893,\"T\":1568014460891,\"bids\":[[1.5,2]],\"asks\":[]}",
    "{\"stream\":\"btcusdt@markPrice\",\"data\":{\"e\":\"markPriceUpdate\",\"E\":1562305380000,"
    "\"s\":"
    "\"BTCUSDT\",\"p\":\"11794.15000000\",\"i\":\"11784.6\",\"r\":\"0.00038167\",\"T\":"
    "1562306400000}}",
    "{\"e\":\"forceOrder\",\"E\":1568014460893,\"o\":{\"s\":\"BTCUSDT\",\"S\":\"SELL\",\"q\":\"0."
    "014\","
    "\"p\":\"9910\",\"T\":1568014460893}}",
    "{\"e\":\"kline\",\"E\":1672515782136,\"s\":\"BNBBTC\",\"k\":{\"t\":1672515780000,\"s\":"
    "\"BNBBTC\","
    "\"f\":100,\"L\":200,\"o\":\"0.0010\",\"c\":\"0.0020\",\"v\":\"1000\",\"x\":false}}",
    "{\"stream\":\"!miniTicker@arr\",\"data\":[{\"e\":\"24hrMiniTicker\",\"E\":1672515782136}]}",
    "{\"e\":\"24hrTicker\",\"E\":1672515782136,\"s\":\"BNBBTC\",\"p\":\"0.0015\",\"P\":\"250.00\"}",
    "{\"e\":\"trade\",\"e\":\"aggTrade\",\"t\":1,\"t\":2,\"p\":null,\"p\":\"1.5\",\"m\":null,\"a\":"
    "3}",
    "{\"id\":1,\"result\":null}",
    "[{\"e\":\"trade\",\"t\":1,\"p\":\"1.5\"}]",
    "{\"topic\":\"x\",\"ts\":1672515782136,\"data\":[{\"p\":\"16578.50\",\"v\":\"0.001\"}],\"s\":"
    "\"A\"}",
};

/* Words of one sort, six each. */
enum { EVENTS, DEPTHS, STREAMS, BOOLS, NULLS, NUMBERS, SYMBOLS };
static const char *const cut_words[][CUT_WORDS] = {
    {"trade", "aggTrade", "depthUpdate", "bookTicker", "kline", "other"},
    {"depthUpdate", "depthUpdate", "depthUpdate", "x", "24hrTicker", "24hrMiniTicker"},
    {"a@depth", "a@depth5", "a@depth20@100ms", "a@trade", "a@depth5x", ""},
    {"true", "false", "true", "false", "true", "false"},
    {"null", "null", "null", "null", "null", "null"},
    {"1", "-2.50", "1e5", "0", "17", "-0"},
    {"BTCUSDT", "ETHUSDT", "A", "", "\xc3\xa9", "1INCH"},
    {"1.50", "x", "0.1", "007", ".5", "-0.0"},
    {"true", "null", "1", "\"a\"", "[]", "{}"},
    {"a\"", "\\", "\\u0041", "\n", "\\\"", "\",\"e\":\"trade"},
    {"e", "b", "s", "stream", "data", ":"},
};

/* --- programs --- */

static inline struct cut_node *add_cut(struct cut *cut, uint8_t node)
{
    if (cut->count == CUT_NODES)
        return NULL;
    struct cut_node *to = &cut->nodes[cut->count++];
    memset(to, 0, sizeof *to);
    to->node = node;
    to->end = cut->count;
    return to;
}

static inline void cut_literal(struct cut *cut, const char *from, size_t length)
{
    struct cut_node *to = length > 0 ? add_cut(cut, TAPE_PACKED_LITERAL) : NULL;
    if (to == NULL)
        return;
    to->literal = from;
    to->length = (uint32_t)length;
}

static inline struct cut_node *cut_number(struct cut *cut, int form)
{
    static const uint8_t least[] = {0, 1, 1, 0, 0, 1}, most[] = {18, 18, 18, 0, 9, 9};
    struct chooser *chooser = cut->chooser;
    struct cut_node *to = add_cut(cut, TAPE_PACKED_NUMBER);
    if (to == NULL)
        return NULL;
    to->form = (uint8_t)form;
    if (to->form != TAPE_PACKED_EACH)
        to->decimals =
            (uint8_t)(least[to->form] + choose(chooser, seldom(chooser, 8) ? most[to->form] : 3));
    to->negative = (uint8_t)seldom(chooser, 8);
    to->magnitude = (uint8_t)choose(chooser, 19);
    return to;
}

static inline int any_form(struct cut *cut)
{
    return choose(cut->chooser, 2) ? TAPE_PACKED_FIXED
                                   : (int)choose(cut->chooser, cut->tame ? 4 : 6);
}

/* The words that fit where those from ${from} on stood. */
static inline uint64_t fitting_words(struct chooser *chooser, const char *from, size_t length)
{
    if (memchr(from, '@', length))
        return STREAMS;
    for (int i = 0; i < CUT_WORDS; i++)
        if (strlen(cut_words[EVENTS][i]) == length && !memcmp(cut_words[EVENTS][i], from, length))
            return choose(chooser, 2) ? EVENTS : DEPTHS;
    return *from == 't' || *from == 'f' ? BOOLS : *from == 'n' ? NULLS : SYMBOLS;
}

static inline struct cut_node *cut_string(struct cut *cut, const char *from, size_t length)
{
    struct chooser *chooser = cut->chooser;
    struct cut_node *to = add_cut(cut, TAPE_PACKED_STRING);
    if (to == NULL)
        return NULL;
    to->form =
        !cut->tame && seldom(chooser, 6) ? (uint8_t)choose(chooser, 3) : TAPE_PACKED_DICTIONARY;
    to->literal = from;
    to->length = (uint32_t)length;
    /* Without words: what stood there. */
    if (choose(chooser, 3) == 0)
        return to;
    uint64_t sort = cut->tame ? fitting_words(chooser, from, length)
                              : choose(chooser, sizeof cut_words / sizeof *cut_words);
    to->word_count = 1 + (uint32_t)choose(chooser, CUT_WORDS);
    memcpy(to->words, cut_words[sort], sizeof to->words);
    return to;
}

/* A slot for the scalar [from, from + length). */
static inline void cut_scalar(struct cut *cut, const char *from, size_t length)
{
    int is_number = length > 0 && ((*from >= '0' && *from <= '9') || *from == '-');
    uint64_t way = choose(cut->chooser, 16);
    if (way < 6)
        cut_literal(cut, from, length);
    else if (is_number ? way < 15 : way == 15 && !cut->tame)
        cut_number(cut, any_form(cut));
    else
        cut_string(cut, from, length);
}

static inline void cut_all(struct cut *cut, const char *at, const char *end, int depth);

/* Levels, or other elements, as a list. at is behind the bracket; returns where it closes. */
static inline const char *cut_list(struct cut *cut, const char *at, int depth)
{
    const char *end = at, *element = at;
    for (int open = 1; open > 0; end++)
        open += (*end == '[' || *end == '{') - (*end == ']' || *end == '}');
    end--;
    for (int open = 0; element < end && (open > 0 || *element != ','); element++)
        open += (*element == '[' || *element == '{') - (*element == ']' || *element == '}');
    uint32_t list = cut->count;
    if (element == at || depth == TAPE_PACKED_DEPTH_MAX || choose(cut->chooser, 4) == 0 ||
        add_cut(cut, TAPE_PACKED_LIST) == NULL) {
        cut_all(cut, at, end, depth);
        return end;
    }
    cut_all(cut, at, element, depth + 1);
    if (cut->count == list + 1)
        cut->count--;
    else
        cut->nodes[list].end = cut->count;
    return end;
}

static inline const char *scalar_end(const char *at, const char *end)
{
    if (*at == '"')
        for (at++; at < end && *at != '"'; at++)
            ;
    else
        for (; at < end && strchr(",]}", *at) == NULL; at++)
            ;
    return at;
}

/* [at, end): literals, and slots where scalars are. */
static inline void cut_all(struct cut *cut, const char *at, const char *end, int depth)
{
    const char *pending = at;
    while (at < end) {
        if (!cut->tame && seldom(cut->chooser, 200)) { /* anywhere */
            cut_literal(cut, pending, (size_t)(at - pending));
            pending = at;
            if (choose(cut->chooser, 2))
                cut_string(cut, at, 1);
            else
                cut_number(cut, any_form(cut));
            if (choose(cut->chooser, 2))
                pending = at + 1;
        }
        if (strchr("{}]:, ", *at) != NULL) {
            at++;
            continue;
        }
        if (*at == '[') {
            at++;
            cut_literal(cut, pending, (size_t)(at - pending));
            pending = at = cut_list(cut, at, depth);
            continue;
        }
        const char *close = scalar_end(at, end);
        int quoted = *at == '"';
        if ((quoted && close < end && close[1] == ':' &&
             (cut->tame || !seldom(cut->chooser, 100))) ||
            at < pending) {
            at = close + quoted;
            continue;
        }
        cut_literal(cut, pending, (size_t)(at + quoted - pending));
        cut_scalar(cut, at + quoted, (size_t)(close - at) - (size_t)quoted);
        pending = close;
        at = close + quoted;
    }
    cut_literal(cut, pending, (size_t)(end > pending ? end - pending : 0));
}

/* --- rows --- */

static inline void put_value(struct tape_growing *to, int64_t value)
{
    tape_growing_put(to, &value, sizeof value);
}

static inline void put_cut_number(struct cut *cut, struct cut_node *node)
{
    uint8_t text[96], *end = text;
    struct chooser *chooser = cut->chooser;
    unsigned decimals = node->decimals;
    int64_t value, limit = 1, least, most;
    for (unsigned i = 0; i < node->magnitude; i++)
        limit *= 10;
    limit = limit > 999999999999999999 ? 999999999999999999 : limit;
    value = (int64_t)((choose(chooser, 256) << 56 | choose(chooser, 256) << 24 |
                       choose(chooser, 256) << 8) %
                      (uint64_t)limit);
    value = seldom(chooser, 8) ? 0 : seldom(chooser, 8) ? limit : value;
    value = node->negative && choose(chooser, 2) ? -value : value;
    if (node->form == TAPE_PACKED_TIME || node->form == TAPE_PACKED_TIME_SHORTEST) {
        tape_packed_time_range(decimals, &least, &most);
        value = value < least || value > most ? 0 : value;
        end = tape_packed_put_time(text, node->form, value, decimals);
    } else if (node->form == TAPE_PACKED_EACH) {
        decimals = (unsigned)choose(chooser, !cut->tame && seldom(chooser, 8) ? 19 : 4);
        put_value(&node->scales, decimals);
        end = tape_packed_put_number(text, TAPE_PACKED_FIXED, value, decimals);
    } else {
        end = tape_packed_put_number(text, node->form, value, decimals);
    }
    put_value(&node->values, value);
    tape_growing_put(&cut->text, text, (size_t)(end - text));
}

static inline void put_cut_string(struct cut *cut, struct cut_node *node)
{
    const char *word = node->literal;
    size_t length = node->length;
    uint64_t which = 0;
    if (node->form == TAPE_PACKED_UUID) {
        uint8_t bytes[16], text[64];
        for (int i = 0; i < 16; i++)
            bytes[i] = (uint8_t)choose(cut->chooser, 256);
        uint8_t *end = tape_packed_put_uuid(text, bytes);
        tape_growing_put(&node->raw, bytes, sizeof bytes);
        tape_growing_put(&cut->text, text, (size_t)(end - text));
        return;
    }
    if (node->word_count > 0) {
        which = choose(cut->chooser, node->word_count);
        word = node->words[which];
        length = strlen(word);
    }
    if (node->form == TAPE_PACKED_RAW)
        tape_growing_put(&node->raw, word, length);
    put_value(&node->values, node->form == TAPE_PACKED_RAW ? (int64_t)length : (int64_t)which);
    tape_growing_put(&cut->text, word, length);
}

static inline void put_cut(struct cut *cut, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i = cut->nodes[i].end) {
        struct cut_node *node = &cut->nodes[i];
        if (node->node == TAPE_PACKED_LITERAL)
            tape_growing_put(&cut->text, node->literal, node->length);
        else if (node->node == TAPE_PACKED_NUMBER)
            put_cut_number(cut, node);
        else if (node->node == TAPE_PACKED_STRING)
            put_cut_string(cut, node);
        if (node->node != TAPE_PACKED_LIST)
            continue;
        uint64_t count = choose(cut->chooser, 4);
        put_value(&node->values, (int64_t)count);
        for (uint64_t element = 0; element < count; element++) {
            if (element > 0)
                tape_growing_put_u8(&cut->text, ',');
            put_cut(cut, i + 1, node->end);
        }
    }
}

/* --- bytes --- */

static inline void encode_cut(const struct cut *cut, uint32_t from, uint32_t to,
                              struct made_packed *made)
{
    for (uint32_t i = from; i < to; i = cut->nodes[i].end) {
        const struct cut_node *node = &cut->nodes[i];
        tape_growing_put_u8(&made->pool, node->node);
        if (node->node == TAPE_PACKED_LITERAL) {
            tape_growing_put_varint(&made->pool, node->length);
            tape_growing_put(&made->pool, node->literal, node->length);
        } else if (node->node == TAPE_PACKED_LIST) {
            encode_cut(cut, i + 1, node->end, made);
        }
    }
    tape_growing_put_u8(&made->pool, TAPE_PACKED_END);
}

static inline void encode_cut_values(const struct tape_growing *values, struct made_packed *made)
{
    if (values->length > 0)
        made_column(made, (const int64_t *)(const void *)values->bytes,
                    (uint32_t)(values->length / sizeof(int64_t)), 1);
}

static inline void encode_cut_string(const struct cut_node *node, struct made_packed *made)
{
    tape_growing_put_u8(&made->pool, node->form);
    if (node->form == TAPE_PACKED_DICTIONARY) {
        /* Not more entries than values: what no row has goes. */
        uint32_t most = (uint32_t)(node->values.length / sizeof(int64_t)), used = 1;
        const int64_t *values = (const int64_t *)(const void *)node->values.bytes;
        for (uint32_t i = 0; i < most; i++)
            used = values[i] >= used ? (uint32_t)values[i] + 1 : used;
        tape_growing_put_varint(&made->pool, used);
        for (uint32_t i = 0; i < used; i++) {
            const char *word = node->word_count > 0 ? node->words[i] : node->literal;
            size_t length = node->word_count > 0 ? strlen(word) : node->length;
            tape_growing_put_varint(&made->pool, length);
            tape_growing_put(&made->pool, word, length);
        }
    }
    encode_cut_values(&node->values, made);
    if (node->raw.length > 0)
        tape_growing_put(node->form == TAPE_PACKED_UUID ? &made->bits : &made->text,
                         node->raw.bytes, node->raw.length);
}

static inline void encode_cut_columns(const struct cut *cut, struct made_packed *made)
{
    for (uint32_t i = 0; i < cut->count; i++) {
        const struct cut_node *node = &cut->nodes[i];
        if (node->node == TAPE_PACKED_LIST) {
            encode_cut_values(&node->values, made);
        } else if (node->node == TAPE_PACKED_STRING) {
            encode_cut_string(node, made);
        } else if (node->node == TAPE_PACKED_NUMBER) {
            tape_growing_put_u8(&made->pool, node->form);
            if (node->form != TAPE_PACKED_EACH)
                tape_growing_put_u8(&made->pool, node->decimals);
            else
                encode_cut_values(&node->scales, made);
            encode_cut_values(&node->values, made);
        }
    }
}

static inline void free_cut(struct cut *cut)
{
    for (uint32_t i = 0; i < cut->count; i++) {
        free(cut->nodes[i].values.bytes);
        free(cut->nodes[i].scales.bytes);
        free(cut->nodes[i].raw.bytes);
    }
    free(cut->text.bytes);
}

/* A program written down: %i a whole number, %f one with 2 decimals, %r shortest, %z shortest with
 * a point, %e each, %t a time, %v %p %b %0 %1 %w words (as cut_words), %u a UUID, %( and %) around
 * a list's element. */
static inline void cut_written(struct cut *cut, const char *text)
{
    uint32_t lists[TAPE_PACKED_DEPTH_MAX], depth = 0;
    while (*text) {
        static const char numbers[] = "frzet", words[] = "vpb01w";
        size_t plain = strcspn(text, "%");
        cut_literal(cut, text, plain);
        text += plain;
        if (*text == 0)
            break;
        const char *number = strchr(numbers, text[1]), *word = strchr(words, text[1]);
        if (text[1] == '(') {
            lists[depth++] = cut->count;
            add_cut(cut, TAPE_PACKED_LIST);
        } else if (text[1] == ')') {
            cut->nodes[lists[--depth]].end = cut->count;
        } else if (word) {
            struct cut_node *node = add_cut(cut, TAPE_PACKED_STRING);
            node->word_count = CUT_WORDS;
            memcpy(node->words, cut_words[1 + (word - words)], sizeof node->words);
        } else if (text[1] == 'u') {
            add_cut(cut, TAPE_PACKED_STRING)->form = TAPE_PACKED_UUID;
        } else {
            cut_number(cut, number ? (int)(number - numbers) : TAPE_PACKED_FIXED)->decimals =
                number ? 2 : 0;
        }
        text += 2;
    }
}

/* A head of group 0. */
static inline void put_cut_head(struct made_packed *made, const struct tape_record *record,
                                uint8_t form)
{
    tape_growing_put_u8(&made->pool, record->kind);
    tape_growing_put_varint(&made->pool, record->flags);
    tape_growing_put_varint(&made->pool, record->connection);
    tape_growing_put_u8(&made->pool, form);
    tape_growing_put_u8(&made->pool, 0);
}

/* made_block_of(made, cut, first_ordinal): one group of the program's rows, up to CUT_ROWS, and two
 * heads. */
static inline void made_block_of(struct made_packed *made, struct cut *cut, uint64_t first_ordinal)
{
    struct chooser *chooser = cut->chooser;
    struct tape_record heads[2] = {
        {.kind = TAPE_RECORD_FRAME_IN, .connection = 7, .flags = TAPE_RECORD_FLAG_KERNEL_STAMP}};
    struct tape_record records[CUT_ROWS] = {{0}};
    int64_t order[CUT_ROWS], recv[CUT_ROWS];
    uint8_t forms[2] = {0x80 | TAPE_WS_TEXT, 0x80 | TAPE_WS_TEXT};
    uint32_t rows = 1 + (uint32_t)choose(chooser, CUT_ROWS);
    heads[1] = heads[0];
    heads[1].connection += (uint32_t)choose(chooser, 2);
    heads[1].flags |= choose(chooser, 2) ? TAPE_RECORD_FLAG_SHARED_STAMP : 0;
    if (!cut->tame && seldom(chooser, 8)) { /* what no named template may hold */
        heads[1].flags |= choose(chooser, 2) ? TAPE_RECORD_FLAG_BAD : 0;
        heads[1].kind = choose(chooser, 2) ? TAPE_RECORD_FRAME_OUT : heads[0].kind;
        forms[1] = (uint8_t)(0x80 | choose(chooser, 12));
    }
    for (uint32_t i = 0; i < rows; i++) {
        cut->text.length = 0;
        put_cut(cut, 0, cut->count);
        uint8_t header[TAPE_WS_HEADER_MAX_BYTES];
        size_t bytes = cut->text.length;
        order[i] = (int64_t)choose(chooser, 2);
        recv[i] = i * 1000;
        records[i] = heads[order[i]];
        records[i].ordinal = first_ordinal + i;
        records[i].recv_ns = made_ns + recv[i];
        records[i].bytes = (uint32_t)(tape_ws_build(header, TAPE_WS_TEXT, 1, bytes, NULL) + bytes);
    }
    made->header = (struct tape_block_header){.codec = TAPE_BLOCK_CODEC_TEMPLATE};
    made_packed_count(made, records, rows);
    tape_growing_put_u8(&made->pool, 2);
    put_cut_head(made, &heads[0], forms[0]);
    put_cut_head(made, &heads[1], forms[1]);
    made_column(made, order, rows, 0);
    made_column(made, recv, rows, 0);
    /* One group, a template; of the empty stream. */
    if (cut->unnamed)
        tape_growing_put(&made->pool, "\x01\x01\0", 3);
    else
        tape_growing_put(&made->pool, "\x01\x01\x01\0", 4);
    encode_cut(cut, 0, cut->count, made);
    encode_cut_columns(cut, made);
    made_packed_end(made, 0);
}

/* made_cut_block(made, chooser, first_ordinal): rows of some message. Not every block is good: the
 * texts may be too short for their values. */
static inline void made_cut_block(struct made_packed *made, struct chooser *chooser,
                                  uint64_t first_ordinal)
{
    struct cut cut = {.chooser = chooser};
    cut.tame = (int)choose(chooser, 2);
    const char *message = cut_messages[choose(chooser, sizeof cut_messages / sizeof *cut_messages)];
    cut_all(&cut, message, message + strlen(message), 0);
    made_block_of(made, &cut, first_ordinal);
    free_cut(&cut);
}

#endif
