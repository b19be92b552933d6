#include "format/packed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/packed_number.h"
#include "tests/unit/make_packed.h"
#include "tests/unit/make_records.h"

static struct tape_block_reader *reader;
static struct tape_error error;
static struct dice dice = {20261122};

static int open_reader(void **state)
{
    (void)state;
    reader = tape_block_reader_new();
    return reader == NULL;
}

static int free_reader(void **state)
{
    (void)state;
    tape_block_reader_free(reader);
    return 0;
}

/* Opens the payload in a place that ends where it ends. */
static int open_made(const struct made_packed *made)
{
    uint8_t *exact = malloc(made->payload.length);
    memcpy(exact, made->payload.bytes, made->payload.length);
    int status = tape_block_open(reader, &made->header, exact, &error);
    free(exact);
    return status;
}

static void assert_record(const struct tape_record *got, const struct tape_record *want)
{
    assert_true(got->ordinal == want->ordinal);
    assert_true(got->recv_ns == want->recv_ns);
    assert_int_equal(got->connection, want->connection);
    assert_int_equal(got->flags, want->flags);
    assert_int_equal(got->kind, want->kind);
    if (got->bytes != want->bytes || memcmp(got->data, want->data, want->bytes) != 0)
        fail_msg("record %llu is '%.*s', not '%.*s'", (unsigned long long)want->ordinal,
                 (int)got->bytes, (const char *)got->data, (int)want->bytes,
                 (const char *)want->data);
}

static void assert_records(const struct tape_record *want, uint32_t count)
{
    struct tape_record got;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(tape_block_next(reader, &got), 1);
        assert_record(&got, &want[i]);
    }
    assert_int_equal(tape_block_next(reader, &got), 0);
    assert_int_equal(tape_block_next(reader, &got), 0);
}

/* --- numbers: against snprintf --- */

static void plain_number(char to[64], int form, int64_t value, unsigned decimals)
{
    unsigned long long size = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    unsigned long long power = 1;
    for (unsigned i = 0; i < decimals; i++)
        power *= 10;
    int length = snprintf(to, 32, "%s%llu", value < 0 ? "-" : "", size / power);
    if (decimals == 0)
        return;
    length += snprintf(to + length, 32, ".%0*llu", (int)decimals, size % power);
    size_t least = form == TAPE_PACKED_SHORTEST ? 0 : form == TAPE_PACKED_SHORTEST_POINT ? 1 : 99;
    while (to[length - 1] == '0' && strlen(strchr(to, '.') + 1) > least)
        to[--length] = 0;
    if (to[length - 1] == '.')
        to[--length] = 0;
}

static void assert_text(const uint8_t *from, const uint8_t *to, const char *want)
{
    if ((size_t)(to - from) != strlen(want) || memcmp(from, want, (size_t)(to - from)) != 0)
        fail_msg("'%.*s', not '%s'", (int)(to - from), (const char *)from, want);
}

/* Without zeros that are the same in each number of a column, the rest has at most eight digits. */
static void check_eight(int64_t value, unsigned decimals)
{
    uint8_t text[96];
    char want[64];
    uint64_t power = 1;
    plain_number(want, TAPE_PACKED_FIXED, value, decimals);
    for (unsigned zeros = 0; zeros <= decimals; zeros++, power *= 10) {
        if (value < 0 || decimals - zeros > 7 || (uint64_t)value % power != 0 ||
            (uint64_t)value / power >= 100000000)
            continue;
        struct tape_packed_rule rule = tape_packed_rule_of(decimals, zeros);
        uint8_t *end =
            tape_packed_put_eight(text, tape_packed_unscale((uint64_t)value, &rule), &rule);
        memset(end, '0', zeros);
        assert_text(text, end + zeros, want);
        if (zeros == 0)
            assert_text(text, tape_packed_put_eight(text, (uint64_t)value, &rule), want);
    }
}

/* Numbers of one column, one after the other. */
static void check_long(int64_t value, struct tape_packed_high *high)
{
    uint8_t text[96];
    char want[64];
    plain_number(want, TAPE_PACKED_FIXED, value, 0);
    assert_text(text, tape_packed_put_long(text, (uint64_t)value, high), want);
}

static void check_number(int64_t value, unsigned decimals)
{
    uint8_t text[96];
    char want[64];
    const struct tape_packed_cut *cut = &tape_packed_cuts[decimals];
    for (int form = TAPE_PACKED_FIXED; form <= TAPE_PACKED_SHORTEST_POINT; form++) {
        if (form != TAPE_PACKED_FIXED && decimals == 0)
            continue;
        plain_number(want, form, value, decimals);
        assert_text(text, tape_packed_put_number(text, form, value, decimals), want);
        if (value < 0 || decimals < 1 || decimals > TAPE_PACKED_SHORT_DECIMALS_MAX ||
            value >= 1ll << cut->short_bits)
            continue;
        uint8_t *end = form == TAPE_PACKED_FIXED
                           ? tape_packed_put_short_fixed(text, (uint64_t)value, cut)
                           : tape_packed_put_shortest(text, (uint64_t)value, cut,
                                                      form == TAPE_PACKED_SHORTEST_POINT);
        assert_text(text, end, want);
    }
    check_eight(value, decimals);
    plain_number(want, TAPE_PACKED_FIXED, value, 0);
    static struct tape_packed_high high = {.base = TAPE_PACKED_NO_BASE};
    if (decimals == 0 && value >= 0 && value < 1ll << TAPE_PACKED_INTEGER_MAX_BITS) {
        assert_text(text, tape_packed_put_integer(text, (uint64_t)value), want);
        check_long(value, &high);
        check_long(value ^ 1, &high);
        check_long(value / 10000 * 10000 + 10000, &high);
    }
}

static int64_t power_of_ten(unsigned exponent)
{
    int64_t power = 1;
    while (exponent-- > 0)
        power *= 10;
    return power;
}

/* Any length up to 18 digits, often with zeros at the end. */
static int64_t random_number(unsigned digits)
{
    int64_t value = (int64_t)roll_below(&dice, (uint64_t)power_of_ten(digits));
    if (roll_below(&dice, 2) == 0 && digits > 0) {
        int64_t power = power_of_ten((unsigned)roll_below(&dice, digits));
        value = value / power * power;
    }
    return value;
}

static void numbers_read_as_printed(void **state)
{
    (void)state;
    for (unsigned decimals = 0; decimals <= 18; decimals++) {
        for (unsigned digits = 0; digits <= 18; digits++) {
            int64_t power = power_of_ten(digits);
            int64_t edges[] = {power - 1, power, power / 2, -power / 2, 1 - power, 0};
            for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
                if (edges[i] < power_of_ten(18))
                    check_number(edges[i], decimals);
            for (int i = 0; i < 200; i++) {
                int64_t value = random_number(digits);
                check_number(value, decimals);
                check_number(-value, decimals);
            }
        }
    }
}

static void eight_digits_are_the_same_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t high = roll_below(&dice, 100000000), low = roll_below(&dice, 100000000);
        struct tape_packed_digits digits = tape_packed_sixteen(high, low);
        assert_true(digits.high == tape_packed_eight(high));
        assert_true(digits.low == tape_packed_eight(low));
    }
}

/* --- times: against gmtime --- */

static void plain_time(char to[64], int form, int64_t value, unsigned decimals)
{
    int64_t power = power_of_ten(decimals);
    time_t seconds = value / power - (value % power < 0);
    struct tm tm;
    assert_non_null(gmtime_r(&seconds, &tm));
    int length = snprintf(to, 64, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                          tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (decimals > 0)
        length += snprintf(to + length, 24, ".%0*lld", (int)decimals,
                           (long long)((uint64_t)value - (uint64_t)seconds * (uint64_t)power));
    while (form == TAPE_PACKED_TIME_SHORTEST && to[length - 1] == '0' && strchr(to, '.') != NULL)
        to[--length] = 0;
    if (to[length - 1] == '.')
        length--;
    snprintf(to + length, 2, "Z");
}

static void check_time(int64_t value, unsigned decimals)
{
    uint8_t text[96];
    char want[64];
    for (int form = TAPE_PACKED_TIME; form <= TAPE_PACKED_TIME_SHORTEST; form++) {
        if (form == TAPE_PACKED_TIME_SHORTEST && decimals == 0)
            continue;
        plain_time(want, form, value, decimals);
        assert_text(text, tape_packed_put_time(text, form, value, decimals), want);
    }
}

static void times_read_as_the_calendar_says(void **state)
{
    (void)state;
    static const int years[] = {0,    1,    3,    4,    99,   100,  400,  1600, 1677, 1899, 1900,
                                1969, 1970, 1972, 1999, 2000, 2026, 2028, 2100, 2262, 4000, 9999};
    for (unsigned decimals = 0; decimals <= 9; decimals++) {
        int64_t least, most, power = power_of_ten(decimals);
        tape_packed_time_range(decimals, &least, &most);
        check_time(least, decimals);
        check_time(most, decimals);
        for (int i = 0; i < 2000; i++)
            check_time(
                (int64_t)((uint64_t)least + roll_below(&dice, (uint64_t)most - (uint64_t)least)),
                decimals);
        for (size_t i = 0; i < sizeof years / sizeof years[0]; i++) {
            for (int day = -1; day < 3; day++) { /* about the end of February */
                struct tm tm = {.tm_year = years[i] - 1900, .tm_mon = 1, .tm_mday = 28 + day};
                int64_t seconds = timegm(&tm);
                if (seconds > least / power && seconds < most / power) {
                    check_time(seconds * power, decimals);
                    check_time(seconds * power - 1, decimals);
                }
            }
        }
    }
    int64_t least, most;
    tape_packed_time_range(0, &least, &most);
    struct tm first = {.tm_year = -1900, .tm_mday = 1}, last = {.tm_year = 8100, .tm_mday = 1};
    assert_true(least == timegm(&first) && most == timegm(&last) - 1);
    tape_packed_time_range(8, &least, &most);
    assert_true(least == timegm(&first) * 100000000 && most == INT64_MAX);
    tape_packed_time_range(9, &least, &most);
    assert_true(least == INT64_MIN && most == INT64_MAX);
}

/* --- text groups --- */

static uint32_t plain_frame(uint8_t *to, uint8_t form, const uint8_t *text, uint32_t bytes)
{
    uint32_t at = 0;
    to[at++] = form;
    if (bytes < 126) {
        to[at++] = (uint8_t)bytes;
    } else if (bytes < 65536) {
        to[at++] = 126;
        to[at++] = (uint8_t)(bytes >> 8);
        to[at++] = (uint8_t)bytes;
    } else {
        to[at++] = 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            to[at++] = (uint8_t)((uint64_t)bytes >> shift);
    }
    if (bytes > 0)
        memcpy(to + at, text, bytes);
    return at + bytes;
}

enum { TEXT_RECORDS = 9 };

/* Events without header (head 0, group 1) and frames of two connections (heads 1 and 2, group 0).
 */
static void make_texts(struct made_packed *made, struct tape_record records[TEXT_RECORDS])
{
    static const uint32_t lengths[TEXT_RECORDS] = {0, 125, 126, 7, 65535, 65536, 300, 0, 1};
    int64_t order[TEXT_RECORDS], recv[TEXT_RECORDS], rows[2][TEXT_RECORDS];
    uint32_t counts[2] = {0};
    struct tape_growing texts[2] = {{0}, {0}};
    for (uint32_t i = 0; i < TEXT_RECORDS; i++) {
        uint32_t head = i % 3, group = head == 0;
        uint8_t *text = malloc(lengths[i] + 1), *body = malloc(lengths[i] + 16);
        for (uint32_t j = 0; j < lengths[i]; j++)
            text[j] = (uint8_t)roll(&dice);
        order[i] = head;
        recv[i] = i == 4 ? 0 : (int64_t)(1000 - i); /* the clock runs backwards */
        rows[group][counts[group]++] = lengths[i];
        tape_growing_put(&texts[group], text, lengths[i]);
        records[i] = (struct tape_record){
            .ordinal = 70 + i,
            .recv_ns = made_ns + recv[i],
            .connection = (uint32_t[]){0, 5, 4000000000u}[head],
            .flags = (uint16_t[]){0, 1, 65535}[head],
            .kind = head == 0 ? TAPE_RECORD_NOTE : TAPE_RECORD_FRAME_IN,
            .data = body,
        };
        records[i].bytes = plain_frame(body, 0x82, text, lengths[i]);
        if (head == 0) {
            memcpy(body, text, lengths[i]);
            records[i].bytes = lengths[i];
        }
        free(text);
    }
    static const uint8_t heads[] = {3, 11,   0,    0, 0,    1,    1,    1,    5,    0x82, 0,
                                    1, 0xff, 0xff, 3, 0x80, 0xd0, 0xac, 0xf3, 0x0e, 0x82, 0};
    tape_growing_put(&made->pool, heads, sizeof heads);
    made_column(made, order, TEXT_RECORDS, 0);
    made_column(made, recv, TEXT_RECORDS, 0);
    tape_growing_put_u8(&made->pool, 2);
    tape_growing_put(&made->pool, "\0\1\3abc", 6);
    made_column(made, rows[0], counts[0], 0);
    tape_growing_put(&made->pool, "\0\0", 2);
    made_column(made, rows[1], counts[1], 0);
    for (int i = 0; i < 2; i++) {
        tape_growing_put(&made->text, texts[i].bytes, texts[i].length);
        free(texts[i].bytes);
    }
    made->header.codec = TAPE_BLOCK_CODEC_GROUPED;
    made_packed_count(made, records, TEXT_RECORDS);
}

static void gives_back_groups_of_text(void **state)
{
    (void)state;
    for (int compress = 0; compress < 2; compress++) {
        struct made_packed made = {0};
        struct tape_record records[TEXT_RECORDS];
        make_texts(&made, records);
        made_packed_end(&made, compress);
        assert_int_equal(open_made(&made), 0);
        assert_records(records, TEXT_RECORDS);
        for (int i = 0; i < TEXT_RECORDS; i++)
            free((void *)records[i].data);
        made_packed_free(&made);
    }
}

/* --- templates: any program, against a rebuild of its own --- */

struct strings {
    struct tape_growing bytes, lengths; /* lengths: int64_t each */
};

struct node {
    uint8_t kind, form, decimals, digits, negative;
    struct node *inside;
    uint32_t inside_count;
    struct tape_growing literal;
    struct tape_growing values, decimals_each; /* int64_t each */
    struct strings strings;                    /* raw, uuid: bytes only */
    struct tape_growing entries[5];
};

static void put_i64(struct tape_growing *to, int64_t value)
{
    tape_growing_put(to, &value, sizeof value);
}

static void put_random(struct tape_growing *to, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        tape_growing_put_u8(to, (uint8_t)('a' + roll_below(&dice, 26)));
}

static uint32_t random_length(void)
{
    static const uint32_t most[] = {3, 9, 20, 70, 300};
    return (uint32_t)roll_below(&dice, most[roll_below(&dice, 5)] + 1);
}

static void make_nodes(struct node *nodes, uint32_t count, int depth);

/* As in a book update. */
static void make_pair(struct node *list)
{
    static const char *const literals[] = {"[\"", NULL, "\",\"", NULL, "\"]"};
    list->inside_count = 5;
    for (int i = 0; i < 5; i++) {
        struct node *node = &list->inside[i];
        node->kind = literals[i] == NULL ? TAPE_PACKED_NUMBER : TAPE_PACKED_LITERAL;
        node->decimals = (uint8_t)(1 + roll_below(&dice, 8));
        node->digits = (uint8_t)(1 + roll_below(&dice, 9));
        if (literals[i] != NULL)
            tape_growing_put(&node->literal, literals[i], strlen(literals[i]));
    }
}

static void make_node(struct node *node, int depth)
{
    memset(node, 0, sizeof *node);
    node->kind = (uint8_t)(1 + roll_below(&dice, depth < TAPE_PACKED_DEPTH_MAX ? 4 : 3));
    if (node->kind == TAPE_PACKED_LITERAL) {
        put_random(&node->literal, 1 + random_length());
    } else if (node->kind == TAPE_PACKED_NUMBER) {
        node->form = (uint8_t)roll_below(&dice, 6);
        node->decimals = (uint8_t)(1 + roll_below(&dice, node->form >= TAPE_PACKED_TIME ? 9 : 18));
        if (node->form == TAPE_PACKED_FIXED && roll_below(&dice, 3) == 0)
            node->decimals = 0;
        if (roll_below(&dice, 2) && node->form < TAPE_PACKED_EACH)
            node->decimals = (uint8_t)(node->decimals % 8 + (node->form != TAPE_PACKED_FIXED));
        node->digits = (uint8_t)roll_below(&dice, 19);
        node->negative = roll_below(&dice, 3) == 0;
    } else if (node->kind == TAPE_PACKED_STRING) {
        node->form = (uint8_t)roll_below(&dice, 3);
        for (int i = 0; i < 5; i++)
            put_random(&node->entries[i], random_length());
    } else {
        node->inside_count = 1 + (uint32_t)roll_below(&dice, 5);
        node->inside = calloc(5, sizeof *node->inside);
        if (roll_below(&dice, 2))
            make_pair(node);
        else
            make_nodes(node->inside, node->inside_count, depth + 1);
    }
}

static void make_nodes(struct node *nodes, uint32_t count, int depth)
{
    for (uint32_t i = 0; i < count; i++)
        make_node(&nodes[i], depth);
}

static void free_nodes(struct node *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = &nodes[i];
        free_nodes(node->inside, node->inside_count);
        free(node->inside);
        free(node->literal.bytes);
        free(node->values.bytes);
        free(node->decimals_each.bytes);
        free(node->strings.bytes.bytes);
        for (int j = 0; j < 5; j++)
            free(node->entries[j].bytes);
    }
}

/* A row's or an element's text, its values put into the columns. */
static void write_nodes(struct node *nodes, uint32_t count, struct tape_growing *text);

static void write_number(struct node *node, struct tape_growing *text)
{
    char words[64];
    unsigned decimals = node->decimals;
    int64_t value = random_number(node->digits);
    if (node->form >= TAPE_PACKED_TIME) {
        int64_t least, most;
        tape_packed_time_range(decimals, &least, &most);
        value = (int64_t)((uint64_t)least + roll_below(&dice, (uint64_t)most - (uint64_t)least));
        plain_time(words, node->form, value, decimals);
    } else {
        if (node->form == TAPE_PACKED_EACH) {
            decimals = (unsigned)roll_below(&dice, 19);
            put_i64(&node->decimals_each, decimals);
        }
        value = node->negative && roll_below(&dice, 2) ? -value : value;
        plain_number(words, node->form, value, decimals);
    }
    put_i64(&node->values, value);
    tape_growing_put(text, words, strlen(words));
}

static void write_string(struct node *node, struct tape_growing *text)
{
    if (node->form == TAPE_PACKED_DICTIONARY) {
        uint32_t entry = (uint32_t)roll_below(&dice, node->values.length < 40 ? 1 : 5);
        put_i64(&node->values, entry);
        tape_growing_put(text, node->entries[entry].bytes, node->entries[entry].length);
    } else if (node->form == TAPE_PACKED_RAW) {
        uint32_t length = random_length();
        size_t from = node->strings.bytes.length;
        put_random(&node->strings.bytes, length);
        put_i64(&node->values, length);
        if (length > 0)
            tape_growing_put(text, node->strings.bytes.bytes + from, length);
    } else {
        char hex[3];
        for (int i = 0; i < 16; i++) {
            uint8_t byte = (uint8_t)roll(&dice);
            tape_growing_put_u8(&node->strings.bytes, byte);
            snprintf(hex, sizeof hex, "%02x", byte);
            tape_growing_put(text, hex, 2);
            if (i == 3 || i == 5 || i == 7 || i == 9)
                tape_growing_put_u8(text, '-');
        }
        put_i64(&node->values, 0);
    }
}

static void write_nodes(struct node *nodes, uint32_t count, struct tape_growing *text)
{
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = &nodes[i];
        if (node->kind == TAPE_PACKED_LITERAL) {
            tape_growing_put(text, node->literal.bytes, node->literal.length);
        } else if (node->kind == TAPE_PACKED_NUMBER) {
            write_number(node, text);
        } else if (node->kind == TAPE_PACKED_STRING) {
            write_string(node, text);
        } else {
            uint32_t elements = (uint32_t)roll_below(&dice, 5);
            put_i64(&node->values, elements);
            for (uint32_t j = 0; j < elements; j++) {
                if (j > 0)
                    tape_growing_put_u8(text, ',');
                write_nodes(node->inside, node->inside_count, text);
            }
        }
    }
}

static void encode_program(const struct node *nodes, uint32_t count, struct made_packed *made)
{
    for (uint32_t i = 0; i < count; i++) {
        tape_growing_put_u8(&made->pool, nodes[i].kind);
        if (nodes[i].kind == TAPE_PACKED_LITERAL) {
            tape_growing_put_varint(&made->pool, nodes[i].literal.length);
            tape_growing_put(&made->pool, nodes[i].literal.bytes, nodes[i].literal.length);
        }
        encode_program(nodes[i].inside, nodes[i].inside_count, made);
        if (nodes[i].kind == TAPE_PACKED_LIST)
            tape_growing_put_u8(&made->pool, TAPE_PACKED_END);
    }
}

/* Returns the number of values. */
static uint32_t encode_i64(const struct tape_growing *values, int signs, struct made_packed *made)
{
    uint32_t count = (uint32_t)(values->length / sizeof(int64_t));
    made_column(made, (const int64_t *)(const void *)values->bytes, count, signs);
    return count;
}

static uint32_t encode_slots(const struct node *nodes, uint32_t count, struct made_packed *made)
{
    uint32_t values = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct node *node = &nodes[i];
        if (node->kind == TAPE_PACKED_LIST) {
            values += encode_i64(&node->values, 0, made);
            values += encode_slots(node->inside, node->inside_count, made);
        } else if (node->kind == TAPE_PACKED_NUMBER) {
            tape_growing_put_u8(&made->pool, node->form);
            if (node->form == TAPE_PACKED_EACH)
                values += encode_i64(&node->decimals_each, 0, made);
            else
                tape_growing_put_u8(&made->pool, node->decimals);
            values += encode_i64(&node->values, 1, made);
        } else if (node->kind == TAPE_PACKED_STRING) {
            tape_growing_put_u8(&made->pool, node->form);
            if (node->form == TAPE_PACKED_DICTIONARY) {
                uint32_t entries = node->values.length > 40 ? 5 : 1;
                tape_growing_put_varint(&made->pool, entries);
                for (uint32_t j = 0; j < entries; j++) {
                    tape_growing_put_varint(&made->pool, node->entries[j].length);
                    tape_growing_put(&made->pool, node->entries[j].bytes, node->entries[j].length);
                }
            }
            if (node->form == TAPE_PACKED_UUID)
                values += (uint32_t)(node->values.length / sizeof(int64_t));
            else
                values += encode_i64(&node->values, 0, made);
            tape_growing_put(node->form == TAPE_PACKED_UUID ? &made->bits : &made->text,
                             node->strings.bytes.bytes, node->strings.bytes.length);
        }
    }
    return values;
}

enum { TEMPLATE_ROWS_MAX = 40 };

static void try_template(uint32_t rows)
{
    struct made_packed made = {.header.codec = TAPE_BLOCK_CODEC_TEMPLATE};
    struct tape_record records[TEMPLATE_ROWS_MAX];
    struct tape_growing texts[TEMPLATE_ROWS_MAX];
    int64_t recv[TEMPLATE_ROWS_MAX];
    struct node nodes[12];
    uint32_t count = 1 + (uint32_t)roll_below(&dice, 11);
    uint8_t form = roll_below(&dice, 2) ? 0x81 : 0;
    make_nodes(nodes, count, 0);
    for (uint32_t i = 0; i < rows; i++) {
        memset(&texts[i], 0, sizeof texts[i]);
        write_nodes(nodes, count, &texts[i]);
        uint8_t *body = malloc(texts[i].length + 16);
        uint32_t bytes = (uint32_t)texts[i].length;
        if (form != 0)
            bytes = plain_frame(body, form, texts[i].bytes, bytes);
        else if (bytes > 0)
            memcpy(body, texts[i].bytes, bytes);
        recv[i] = i * 100;
        records[i] = (struct tape_record){.ordinal = 5 + i,
                                          .recv_ns = made_ns + recv[i],
                                          .connection = 2,
                                          .kind = TAPE_RECORD_FRAME_IN,
                                          .bytes = bytes,
                                          .data = body};
    }
    tape_growing_put(&made.pool, (uint8_t[]){1, 1, 0, 2, form, 0, 0, 0}, 8); /* heads, order */
    made_column(&made, recv, rows, 0);
    tape_growing_put(&made.pool, "\1\1\0", 3);
    encode_program(nodes, count, &made);
    tape_growing_put_u8(&made.pool, TAPE_PACKED_END);
    uint32_t values = encode_slots(nodes, count, &made);
    made_packed_count(&made, records, rows);
    made_packed_end(&made, roll_below(&dice, 2) == 0);
    int status = open_made(&made);
    if (values > made.header.raw_bytes / 2) {
        assert_int_equal(status, TAPE_CORRUPT);
        assert_non_null(strstr(error.text, "the block's columns have too many values"));
    } else {
        if (status != 0)
            fail_msg("%s", error.text);
        assert_records(records, rows);
    }
    for (uint32_t i = 0; i < rows; i++) {
        free(texts[i].bytes);
        free((void *)records[i].data);
    }
    free_nodes(nodes, count);
    made_packed_free(&made);
}

static void gives_back_any_template(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++)
        try_template(1 + (uint32_t)roll_below(&dice, TEMPLATE_ROWS_MAX));
}

/* --- passing over --- */

/* Three streams: "one" names a group of rows with a UUID each; a dictionary names the rows of the
 * second group, in which lists of strings must be passed over; the third may not be. */
enum { SELECT_RECORDS = 7 };

#define put_literal(growing, words) tape_growing_put(growing, words, sizeof words - 1)

static const char *const select_texts[SELECT_RECORDS] = {
    "first 00010203-0405-0607-0809-0a0b0c0d0e0f.", "<two|[a,,bc]>", "event",   "<three|[]>",
    "first ff010203-0405-0607-0809-0a0b0c0d0eff.", "<two|[def]>",   "<|[g,h]>"};

static void make_select(struct made_packed *made, struct tape_record records[SELECT_RECORDS])
{
    static const int64_t order[] = {1, 2, 0, 2, 1, 2, 2}, recv[] = {0, 1, 2, 3, 4, 5, 6};
    static const uint8_t uuids[32] = {0,   1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                      255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};
    for (uint32_t i = 0; i < SELECT_RECORDS; i++)
        records[i] = (struct tape_record){.ordinal = 100 + i,
                                          .recv_ns = made_ns + recv[i],
                                          .kind = TAPE_RECORD_FRAME_IN,
                                          .bytes = (uint32_t)strlen(select_texts[i]),
                                          .data = (const uint8_t *)select_texts[i]};
    struct tape_growing *pool = &made->pool;
    put_literal(pool, "\3\1\0\0\0\0\1\0\0\0\1\1\0\0\0\2");
    made_column(made, order, SELECT_RECORDS, 0);
    made_column(made, recv, SELECT_RECORDS, 0);
    tape_growing_put_u8(pool, 3);
    put_literal(pool, "\0\0");
    made_column(made, (int64_t[]){5}, 1, 0);
    put_literal(pool, "\1\1\3one\1\6first \3\1\1.\0\2");
    put_literal(pool, "\1\2\0\1\1<\3\1\2|[\4\3\0\1\2]>\0");
    put_literal(pool, "\0\3\0\3two\5three");
    made_column(made, (int64_t[]){1, 2, 1, 0}, 4, 0);
    made_column(made, (int64_t[]){3, 0, 1, 2}, 4, 0);
    tape_growing_put_u8(pool, 1);
    made_column(made, (int64_t[]){1, 0, 2, 3, 1, 1}, 6, 0);
    tape_growing_put(&made->text, "eventabcdefgh", 13);
    tape_growing_put(&made->bits, uuids, sizeof uuids);
    made->header.codec = TAPE_BLOCK_CODEC_TEMPLATE;
    made_packed_count(made, records, SELECT_RECORDS);
    made_packed_end(made, 0);
}

struct choice {
    const char *names; /* wanted, each followed by "," */
    char asked[64];
};

static int wants(void *context, const char *stream, size_t bytes)
{
    struct choice *choice = context;
    char name[32];
    snprintf(name, sizeof name, "%.*s,", (int)bytes, stream);
    strncat(choice->asked, name, sizeof choice->asked - strlen(choice->asked) - 1);
    const char *at = strstr(choice->names, name);
    return at != NULL && (at == choice->names || at[-1] == ',');
}

static void passes_over_what_is_not_wanted(void **state)
{
    (void)state;
    static const struct {
        const char *names, *records;
    } cases[] = {
        {",one,two,three,", "0123456"},
        {"one,", "024"},
        {"two,", "125"},
        {"three,", "23"},
        {",", "26"},
        {"none,", "2"},
        {"one,three,", "0234"},
        {"two,", "125"},
    };
    struct made_packed made = {0};
    struct tape_record records[SELECT_RECORDS], got;
    make_select(&made, records);
    assert_int_equal(open_made(&made), 0);
    assert_records(records, SELECT_RECORDS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct choice choice = {cases[i].names, ""};
        tape_block_select(reader, wants, &choice);
        assert_int_equal(open_made(&made), 0);
        for (const char *at = cases[i].records; *at != 0; at++) {
            assert_int_equal(tape_block_next(reader, &got), 1);
            assert_record(&got, &records[*at - '0']);
        }
        assert_int_equal(tape_block_next(reader, &got), 0);
        assert_string_equal(choice.asked, "one,,two,three,");
    }
    tape_block_select(reader, NULL, NULL);
    assert_int_equal(open_made(&made), 0);
    assert_records(records, SELECT_RECORDS);
    made_packed_free(&made);
}

/* --- damage: one part of a small block at a time is another --- */

enum part { HEADS, ORDER, RECV, COUNT, GROUP, PROGRAM, SLOTS, REST, TEXT, BITS, PARTS };

struct bytes {
    const char *bytes;
    size_t length;
};
#define B(words)                                                                                   \
    {                                                                                              \
        words, sizeof words - 1                                                                    \
    }

/* Two frames: "a1.5byz1,20p" and "a0.7bxqr". */
static const struct bytes parts[PARTS] = {
    [HEADS] = B("\1\1\1\3\x81\0"),
    [ORDER] = B("\0\0"),
    [RECV] = B("\0\1\1\0\5"),
    [COUNT] = B("\1"),
    [GROUP] = B("\1\1\1s"),
    [PROGRAM] = B("\1\1a\2\1\1b\3\4\2\0\3\0"),
    [SLOTS] = B("\0\1\0\1\1\17\7"       /* 1.5, 0.7 */
                "\0\2\1x\2yz\0\1\1\1\0" /* yz, x */
                "\0\1\1\2\0"            /* two elements, none */
                "\0\0\0\1\1\1\24"       /* 1, 20 */
                "\1\0\1\1\1\2"),        /* p, qr */
    [REST] = B(""),
    [TEXT] = B("pqr"),
    [BITS] = B(""),
};

enum { SMALL_RAW_BYTES = 34 };

static void make_small(struct made_packed *made, int part, struct bytes other)
{
    for (int i = 0; i < PARTS; i++) {
        struct bytes bytes = i == part ? other : parts[i];
        tape_growing_put(i == TEXT   ? &made->text
                         : i == BITS ? &made->bits
                                     : &made->pool,
                         bytes.bytes, bytes.length);
    }
    made->header = (struct tape_block_header){.codec = TAPE_BLOCK_CODEC_TEMPLATE,
                                              .records = 2,
                                              .raw_bytes = SMALL_RAW_BYTES,
                                              .min_recv_ns = 1000,
                                              .max_recv_ns = 1005};
    made_packed_end(made, 0);
}

static const struct tape_record small[2] = {
    {0, 1000, 3, 14, 1, 1,
     (const uint8_t *)"\x81\x0c"
                      "a1.5byz1,20p"},
    {1, 1005, 3, 10, 1, 1,
     (const uint8_t *)"\x81\x08"
                      "a0.7bxqr"},
};

#define LONG_STREAM                                                                                \
    "\1\1\x80\2................................................................................"   \
    "................................................................................"             \
    "................................................................................"             \
    "................................................................................"

static const struct {
    enum part part;
    struct bytes other;
    const char *text;
} damages[] = {
    {HEADS, B("\0"), "the number of heads is out of bounds"},
    {HEADS, B("\3\1\1\3\x81\0\1\1\3\x81\0\1\1\3\x81\0"), "the number of heads is out of bounds"},
    {HEADS, B("\1\0\1\3\x81\0"), "head 0 is none"},
    {HEADS, B("\1\1\x80\x80\4\3\x81\0"), "head 0 is none"},
    {HEADS, B("\1\1\1\x80\x80\x80\x80\x10\x81\0"), "head 0 is none"},
    {HEADS, B("\1\1\1\3\x81\1"), "head 0 names a group that is not there"},
    {ORDER, B("\0\1\1\0\1"), "order: record 1 has no head"},
    {ORDER, B("\0\5\1\0\1"), "order: record 1 has no head"},
    {RECV, B("\0\1\1\1\5"), "the records' times are not the header's"},
    {RECV, B("\0\1\1\0\4"), "the records' times are not the header's"},
    {RECV, B("\0\1\1\0\6"), "the records' times are not the header's"},
    {RECV, B("\0\5\1\0\1"), "the records' times are not the header's"},
    {COUNT, B("\0"), "the number of groups is out of bounds"},
    {COUNT, B("\2"), "group 1 has no rows"},
    {COUNT, B("\3"), "the number of groups is out of bounds"},
    {GROUP, B("\2\1\1s"), "group 0: its coding is none"},
    {GROUP, B("\1\3\1s"), "group 0: its naming is none"},
    {GROUP, B("\0\2\1"), "group 0: its naming is none"},
    {GROUP, B(LONG_STREAM), "group 0: its stream's name is too long"},
    {GROUP, B("\1\2\0"), "group 0: column 0 cannot name its streams"},
    {GROUP, B("\1\2\5"), "group 0: column 5 cannot name its streams"},
    {GROUP, B("\1\2\2"), "group 0: column 2 cannot name its streams"},
    {GROUP, B("\1\2\1\4\3\0\0\0\1\1\1\1\0\1\1x\0\0"), "group 0: column 1 cannot name its streams"},
    {GROUP, B("\1\2\0\3\0\1\0\0"), "group 0: column 0 cannot name its streams"},
    {GROUP, B("\0\1\1s\0\1\1\2\2"), "group 0: row 1 is longer than the text"},
    {PROGRAM, B("\5"), "group 0: a node is none"},
    {PROGRAM, B("\1\0\2\0"), "group 0: a literal is empty"},
    {PROGRAM, B("\1\xff\xff\3"), "group 0: a literal is longer than the pool"},
    {PROGRAM, B("\4\0\0"), "group 0: a list's element is empty"},
    {PROGRAM, B("\4\4\4\4\4\2\0\0\0\0\0\0"), "group 0: lists are too deep"},
    {SLOTS, B("\6"), "group 0: node 1: a number's format is none"},
    {SLOTS, B("\0\23"), "group 0: node 1: a number's decimals are out of bounds"},
    {SLOTS, B("\1\0"), "group 0: node 1: a number's decimals are out of bounds"},
    {SLOTS, B("\2\0"), "group 0: node 1: a number's decimals are out of bounds"},
    {SLOTS, B("\4\12"), "group 0: node 1: a number's decimals are out of bounds"},
    {SLOTS, B("\5\0"), "group 0: node 1: a number's decimals are out of bounds"},
    {SLOTS, B("\3\0\1\1\0\23"), "group 0: node 1: a number has too many decimals"},
    {SLOTS, B("\0\0\0\1\1\0\x80\x80\x90\xbb\xba\xd6\xad\xf0\15"),
     "group 0: node 1: a number is out of bounds"},
    {SLOTS, B("\0\0\0\5\1\0\xff\xff\x9f\xf6\xf4\xac\xdb\xe0\33"),
     "group 0: node 1: a number is out of bounds"},
    {SLOTS, B("\4\0\0\1\1\0\x80\x83\xd1\xff\xaf\7"), "group 0: node 1: a time is out of bounds"},
    {SLOTS, B("\4\0\0\5\1\0\x81\xf0\xa3\x97\xcf\3"), "group 0: node 1: a time is out of bounds"},
    {SLOTS, B("\0\1\0\1\1\17\7\3"), "group 0: node 3: a string's form is none"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\0"), "group 0: node 3: a dictionary's size is out of bounds"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\3\1a\1b\1c"),
     "group 0: node 3: a dictionary's size is out of bounds"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\x7f"), "group 0: node 3: a dictionary is longer than the pool"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\1x\2yz\0\1\1\1\2"),
     "group 0: node 3: a string is not in its dictionary"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\1x\2yz\0\5\1\1\0"),
     "group 0: node 3: a string is not in its dictionary"},
    {SLOTS, B("\0\1\0\1\1\17\7\2"), "group 0: node 3: a UUID is longer than the bits"},
    {SLOTS, B("\0\1\0\1\1\17\7\1\0\1\1\1\3"), "group 0: node 3: a string is longer than the text"},
    {SLOTS, B("\0\1\0\1\1\17\7\1\0\5\1\1\0"), "group 0: node 3: a string is longer than the text"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\1x\2yz\0\1\1\1\0\0\1\1\42\1"),
     "group 0: node 4: lists have more elements than the records bytes"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\1x\2yz\0\1\1\1\0\0\5\1\1\0"),
     "group 0: node 4: lists have more elements than the records bytes"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\1x\2yz\0\1\1\1\0\0\1\1\13\1"),
     "group 0: node 4: the block's columns have too many values"},
    {SLOTS, B("\0\1\0\1\1\17\7\0\2\1x\2yz\0\1\1\1\0\0\1\1\12\0\0\0\0\0\1\0\1\1\1\2"),
     "group 0: node 6: the block's columns have too many values"},
    {REST, B("z"), "1 bytes of the pool are left"},
    {BITS, B("zz"), "2 bytes of the bits are left"},
    {TEXT, B("pqrs"), "1 bytes of the text are left"},
    {TEXT, B("pq"), "group 0: node 6: a string is longer than the text"},
    {SLOTS, B("\0\0\0\1\1\17\7\0\2\1x\2yz\0\1\1\1\0\0\1\1\2\0\0\0\0\1\1\1\24\1\0\1\1\1\2"),
     "the records are 31 bytes, not 34"},
};

static void tells_what_is_damaged_and_where(void **state)
{
    (void)state;
    struct made_packed made = {0};
    make_small(&made, PARTS, parts[0]);
    assert_int_equal(open_made(&made), 0);
    assert_records(small, 2);
    made_packed_free(&made);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct tape_record record;
        make_small(&made, damages[i].part, damages[i].other);
        assert_int_equal(open_made(&made), TAPE_CORRUPT);
        assert_string_equal(error.text, damages[i].text);
        assert_int_equal(tape_block_next(reader, &record), 0);
        made_packed_free(&made);
    }
}

static void tells_what_is_wrong_with_the_areas(void **state)
{
    (void)state;
    static const struct {
        struct bytes payload;
        const char *text;
    } cases[] = {
        {B("\0\0\0\x81"), "the payload ends inside its lengths"},
        {B("\0\0\0\1\x80\0"), "the payload ends inside its lengths"},
        {B("\0\43\1\1\1xx"), "the text is longer than the records"},
        {B("\0\0\0\0\0"), "the pool's length is out of bounds"},
        {B("\0\0\0\xc5\x80\4\1x"), "the pool's length is out of bounds"},
        {B("\0\1\2\1\1xxx"), "an area is stored longer than it is"},
        {B("\0\0\0\1\2xx"), "an area is stored longer than it is"},
        {B("\1\0\0\1\1x"), "the areas do not fill the payload"},
        {B("\0\0\0\1\1xx"), "the areas do not fill the payload"},
        {B("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1\1\1\1x"), "the areas do not fill the payload"},
        {B("\0\2\1\1\1xx"), "text: the payload is not a zstd frame as specified"},
        {B("\0\0\0\x10\x0e"
           "0123456789abcd"),
         "pool: the payload is not a zstd frame as specified"},
        {B("\0\0\0\1\1\1"), "head 0 is none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made_packed made = {0};
        make_small(&made, PARTS, parts[0]);
        made.payload.length = 0;
        tape_growing_put(&made.payload, cases[i].payload.bytes, cases[i].payload.length);
        made.header.stored_bytes = (uint32_t)made.payload.length;
        made.header.payload_crc32c = tape_crc32c_update(0, made.payload.bytes, made.payload.length);
        assert_int_equal(open_made(&made), TAPE_CORRUPT);
        assert_string_equal(error.text, cases[i].text);
        made_packed_free(&made);
    }
}

static void demands_the_codec_of_its_groups(void **state)
{
    (void)state;
    struct made_packed made = {0};
    struct tape_record records[TEXT_RECORDS];
    make_small(&made, PARTS, parts[0]);
    made.header.codec = TAPE_BLOCK_CODEC_GROUPED;
    assert_int_equal(open_made(&made), TAPE_CORRUPT);
    assert_string_equal(error.text, "codec 2 does not fit its groups");
    made_packed_free(&made);
    make_texts(&made, records);
    made.header.codec = TAPE_BLOCK_CODEC_TEMPLATE;
    made_packed_end(&made, 1);
    assert_int_equal(open_made(&made), TAPE_CORRUPT);
    assert_string_equal(error.text, "codec 3 does not fit its groups");
    for (int i = 0; i < TEXT_RECORDS; i++)
        free((void *)records[i].data);
    made_packed_free(&made);
}

/* --- a few bytes that ask for a great many --- */

/* A block of one record and as many bytes as it says, with templates of so many nodes each. */
static void make_nodes_only(struct made_packed *made, uint32_t groups, uint32_t nodes, int end)
{
    tape_growing_put_varint(&made->pool, groups);
    for (uint32_t i = 0; i < groups; i++) {
        tape_growing_put(&made->pool, "\1\0\0\0", 4);
        tape_growing_put_varint(&made->pool, i);
    }
    int64_t *zeros = calloc(groups + nodes, sizeof *zeros);
    for (uint32_t i = 0; i < groups; i++)
        zeros[i] = i;
    made_column(made, zeros, groups, 0);
    memset(zeros, 0, groups * sizeof *zeros);
    made_column(made, zeros, groups, 0);
    tape_growing_put_varint(&made->pool, groups);
    for (uint32_t i = 0; i < groups; i++) {
        put_literal(&made->pool, "\1\0\4");
        for (uint32_t j = 1; j < nodes; j++)
            tape_growing_put_u8(&made->pool, TAPE_PACKED_STRING);
        if (end)
            put_literal(&made->pool, "\0\0");
        made_column(made, zeros, 1, 0);
        for (uint32_t j = 1; j < nodes; j++)
            tape_growing_put_u8(&made->pool, TAPE_PACKED_UUID);
    }
    free(zeros);
    made->header =
        (struct tape_block_header){.codec = TAPE_BLOCK_CODEC_TEMPLATE,
                                   .records = groups,
                                   .raw_bytes = 5 * groups + 100000}; /* a long pool is allowed */
    made_packed_end(made, 0);
}

static void limits_the_nodes_of_programs(void **state)
{
    (void)state;
    static const struct {
        uint32_t groups, nodes;
        int end;
        const char *text;
    } cases[] = {
        {1, 4096, 1, "the records are 5 bytes, not 100005"},
        {16, 4096, 1, "the records are 80 bytes, not 100080"},
        {17, 4096, 1, "group 16: the block's programs have too many nodes"},
        {1, 4097, 1, "group 0: the program has too many nodes"},
        {1, 3, 0, "group 0: the program does not end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made_packed made = {0};
        make_nodes_only(&made, cases[i].groups, cases[i].nodes, cases[i].end);
        int status = open_made(&made);
        assert_int_equal(status, TAPE_CORRUPT);
        assert_string_equal(error.text, cases[i].text);
        made_packed_free(&made);
    }
}

#define SIXTY        "............................................................"
#define SIXTY_FIVE   SIXTY SIXTY SIXTY SIXTY SIXTY
#define SIXTY_TWENTY SIXTY_FIVE SIXTY_FIVE SIXTY_FIVE SIXTY_FIVE

/* A list of 60-byte literals, of strings of a long dictionary entry, one in another: each stops
 * where the records end. */
static void stops_where_the_records_end(void **state)
{
    (void)state;
    static const struct {
        struct bytes program, slots;
        const char *text;
    } cases[] = {
        {B("\4\1\74" SIXTY "\0\0"), B("\0\1\1\42\0"),
         "group 0: row 0 is longer than the records may be"},
        {B("\4\1\74" SIXTY "\0\0"), B("\0\1\1\0\42"),
         "group 0: row 1 is longer than the records may be"},
        {B("\1\74" SIXTY "\4\1\74" SIXTY "\2\0\0"), B("\0\1\1\1\1\0\0\0\0"),
         "group 0: row 0 is longer than the records may be"},
        {B("\4\1\1x\4\1\1y\4\1\1z\0\0\0\0"), B("\0\1\1\3\3\0\0"),
         "the records are 24 bytes, not 34"},
        {B("\3\3\0"), B("\0\1\170" SIXTY SIXTY "\0\0\0\1\170" SIXTY SIXTY "\0\0"),
         "group 0: row 0 is longer than the records may be"},
        {B("\3\3\3\0"),
         B("\0\1\74" SIXTY "\0\0\0\1\74" SIXTY "\0\0\0\1\xb0\x09" SIXTY_TWENTY "\0\0"),
         "group 0: row 0 is longer than the records may be"},
        {B("\1\170" SIXTY SIXTY "\0"), B(""), "group 0: row 0 is longer than the records may be"},
        {B("\1\74" SIXTY "\0"), B(""), "group 0: row 1 is longer than the records may be"},
        {B("\1\24....................\0"), B(""), "the records are 54 bytes, not 34"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made_packed made = {0};
        for (int part = 0; part < PROGRAM; part++)
            tape_growing_put(&made.pool, parts[part].bytes, parts[part].length);
        tape_growing_put(&made.pool, cases[i].program.bytes, cases[i].program.length);
        tape_growing_put(&made.pool, cases[i].slots.bytes, cases[i].slots.length);
        made.header = (struct tape_block_header){.codec = TAPE_BLOCK_CODEC_TEMPLATE,
                                                 .records = 2,
                                                 .raw_bytes = SMALL_RAW_BYTES,
                                                 .min_recv_ns = 1000,
                                                 .max_recv_ns = 1005};
        made_packed_end(&made, 0);
        assert_int_equal(open_made(&made), TAPE_CORRUPT);
        assert_string_equal(error.text, cases[i].text);
        made_packed_free(&made);
    }
}

/* The same with so much that no slack would hold it: pairs as in a book update, frames of text. */
static void stops_before_its_room_does(void **state)
{
    (void)state;
    enum { RAW_BYTES = 20000, PAIRS = 4990, TEXTS = 4000 };
    struct made_packed made = {
        .header = {.codec = TAPE_BLOCK_CODEC_TEMPLATE, .records = 1, .raw_bytes = RAW_BYTES}};
    put_literal(&made.pool, "\1\1\1\3\x81\0\0\0\0\0\1\1\0\4\1\2[\"\2\1\3\",\"\2\1\2\"]\0\0");
    made_column(&made, (int64_t[]){PAIRS}, 1, 0);
    for (int i = 0; i < 2; i++) /* all are 12345.67 */
        put_literal(&made.pool, "\0\2\1\0\x8e\xda\x96\1");
    made_packed_end(&made, 0);
    assert_int_equal(open_made(&made), TAPE_CORRUPT);
    assert_string_equal(error.text, "group 0: row 0 is longer than the records may be");
    made_packed_free(&made);

    made.header = (struct tape_block_header){
        .codec = TAPE_BLOCK_CODEC_GROUPED, .records = TEXTS, .raw_bytes = RAW_BYTES};
    put_literal(&made.pool, "\1\1\1\3\x81\0\0\0\0\0\1\0\0\1\0\12"); /* five bytes each */
    for (int i = 0; i < RAW_BYTES; i++)
        tape_growing_put_u8(&made.text, 'x');
    made_packed_end(&made, 1);
    assert_int_equal(open_made(&made), TAPE_CORRUPT);
    assert_string_equal(error.text, "group 0: row 2222 is longer than the records may be");
    made_packed_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_read_as_printed),
        cmocka_unit_test(eight_digits_are_the_same_both_ways),
        cmocka_unit_test(times_read_as_the_calendar_says),
        cmocka_unit_test_setup_teardown(gives_back_groups_of_text, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(gives_back_any_template, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(passes_over_what_is_not_wanted, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(tells_what_is_damaged_and_where, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(tells_what_is_wrong_with_the_areas, open_reader,
                                        free_reader),
        cmocka_unit_test_setup_teardown(demands_the_codec_of_its_groups, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(limits_the_nodes_of_programs, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(stops_where_the_records_end, open_reader, free_reader),
        cmocka_unit_test_setup_teardown(stops_before_its_room_does, open_reader, free_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
