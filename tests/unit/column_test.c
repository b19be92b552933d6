#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/column.h"
#include "format/column_predict.h"
#include "format/token.h"

/* A fixed generator: the same columns in every run. */
static uint64_t random_state = 88172645463325252ull;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Numbers of all sizes, small ones as often as large ones. */
static int64_t random_value(void)
{
    uint64_t bits = random_u64() % 65;
    uint64_t value = bits == 0 ? 0 : random_u64() >> (64 - bits);
    return random_u64() % 2 ? (int64_t)value : (int64_t)(0 - value);
}

enum { ROOM = 6000, COLUMNS = 12 };

struct columns {
    struct tape_column column[COLUMNS];
    uint32_t count;
};

static struct tape_column *add_column(struct columns *columns,
                                      const struct tape_column_scope *scope)
{
    struct tape_column *column = &columns->column[columns->count++];
    memset(column, 0, sizeof *column);
    column->scope = scope;
    column->values = calloc(ROOM + TAPE_COLUMN_SLACK, sizeof *column->values);
    column->tokens = calloc(ROOM + TAPE_COLUMN_SLACK, 1);
    return column;
}

static void free_columns(struct columns *columns)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        free(columns->column[i].values);
        free(columns->column[i].tokens);
    }
    columns->count = 0;
}

static unsigned shown_columns; /* of which tokens were compared */

/* Writes all columns, reads them into others and compares values and tokens. Returns the bytes. */
static size_t check_round_trip(struct columns *columns, int thorough)
{
    struct tape_column_writer *writer = tape_column_writer_new(thorough);
    struct tape_column_reader *reader = tape_column_reader_new();
    struct tape_column_output output = {0};
    struct tape_error error = {0};
    struct columns back = {0};
    for (uint32_t i = 0; i < columns->count; i++)
        tape_column_write(writer, &output, columns->column, i, &columns->column[i], NULL);
    assert_false(output.pool.failed || output.bits.failed);
    struct tape_column_input input = {
        .pool = output.pool.bytes,
        .pool_end = output.pool.bytes + output.pool.length,
        .bits = output.bits.bytes,
        .bits_end = output.bits.bytes + output.bits.length,
        .bits_readable = output.bits.bytes + output.bits.length,
    };
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct tape_column *from = &columns->column[i];
        struct tape_column *to = add_column(&back, from->scope);
        to->dictionary = from->dictionary;
        int status = tape_column_read(reader, &input, back.column, i, to, &error);
        assert_string_equal(status < 0 ? error.text : "", "");
        assert_memory_equal(to->values, from->values, from->scope->count * sizeof *to->values);
        if (to->is_shown)
            assert_memory_equal(to->tokens, from->tokens, from->scope->count);
        shown_columns += to->is_shown;
    }
    assert_ptr_equal(input.pool, input.pool_end);
    assert_ptr_equal(input.bits, input.bits_end);
    size_t bytes = output.pool.length + output.bits.length;
    free_columns(&back);
    free(output.pool.bytes);
    free(output.bits.bytes);
    tape_column_writer_free(writer);
    tape_column_reader_free(reader);
    return bytes;
}

static void tokens_cover_every_number(void **state)
{
    (void)state;
    uint8_t last = 0;
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (int step = 0; step < 200; step++) {
            uint64_t value = bits == 0 ? 0 : random_u64() >> (64 - bits);
            uint8_t token = tape_token_of(value);
            assert_true(token < TAPE_TOKENS);
            assert_true(value >= tape_token_base[token]);
            assert_true(value - tape_token_base[token] < 1ull << tape_token_extra[token]);
        }
    }
    for (unsigned token = 1; token < TAPE_TOKENS; token++) {
        uint64_t base = tape_token_base[token];
        assert_int_equal(tape_token_of(base), token);
        assert_int_equal(tape_token_of(base - 1), last);
        last = (uint8_t)token;
    }
    assert_int_equal(tape_token_of(UINT64_MAX), TAPE_TOKENS - 1);
}

static void any_numbers_come_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 100, 1000, 5000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (int thorough = 0; thorough < 2; thorough++) {
            struct tape_column_scope scope = {.count = counts[i]};
            struct columns columns = {0};
            for (int n = 0; n < 6; n++) {
                struct tape_column *column = add_column(&columns, &scope);
                for (uint32_t k = 0; k < counts[i]; k++)
                    column->values[k] = n == 0   ? random_value()
                                        : n == 1 ? (int64_t)(random_u64() % 3)
                                        : n == 2 ? (int64_t)(random_u64() % 100000) * 1000
                                        : n == 3 ? INT64_MIN + (int64_t)(random_u64() % 2)
                                        : n == 4 ? (random_u64() % 2 ? 0 : INT64_MIN)
                                                 : (int64_t)(random_u64() % 50) - 25;
            }
            check_round_trip(&columns, thorough);
            free_columns(&columns);
        }
    }
}

static void prediction_takes_what_is_known(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static int64_t recv_ns[COUNT];
    struct tape_column_scope scope = {.count = COUNT, .recv_ns = recv_ns};
    struct columns columns = {0};
    struct tape_column *event = add_column(&columns, &scope);
    struct tape_column *same = add_column(&columns, &scope);
    struct tape_column *key = add_column(&columns, &scope);
    struct tape_column *keyed = add_column(&columns, &scope);
    struct tape_column *sum = add_column(&columns, &scope);
    struct tape_column *after = add_column(&columns, &scope);
    key->dictionary = 40;
    int64_t now = 1723161253937085779, price[40];
    for (int i = 0; i < 40; i++)
        price[i] = (int64_t)(random_u64() % 100000000);
    for (uint32_t i = 0; i < COUNT; i++) {
        now += (int64_t)(random_u64() % 5000000);
        recv_ns[i] = now;
        event->values[i] = now / 1000000 + 1270;
        same->values[i] = event->values[i] - 1;
        key->values[i] = (int64_t)(random_u64() % 40);
        keyed->values[i] = price[key->values[i]];
        sum->values[i] = keyed->values[i] + 5 * (int64_t)i;
        after->values[i] = i == 0 ? 3 : sum->values[i - 1];
    }
    size_t bytes = check_round_trip(&columns, 0);
    /* All but the keys (5.3 bits each) and the forty prices follow from what was there before. */
    assert_true(bytes < COUNT * 6 / 8 + 40 * 5 + 700);
    free_columns(&columns);
}

/* Of columns that others see their sizes by: with small numbers and with large ones. */
static void contexts_are_seen(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct tape_column_scope scope = {.count = COUNT};
    for (int kind = 0; kind < 3; kind++) {
        struct columns columns = {0};
        struct tape_column *size = add_column(&columns, &scope);
        struct tape_column *number = add_column(&columns, &scope);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint64_t bits = random_u64() % 4;
            size->values[i] = (int64_t)(bits + (kind == 1 ? 1ull << 20 * bits : 0));
            number->values[i] = (int64_t)(random_u64() >> (50 - 12 * bits)) * (kind == 2 ? -7 : 7);
        }
        shown_columns = 0;
        check_round_trip(&columns, 1);
        assert_int_equal(shown_columns, 1);
        free_columns(&columns);
    }
}

static void lists_come_back(void **state)
{
    (void)state;
    enum { ROWS = 400 };
    static uint32_t owner[ROOM], inner_owner[ROOM];
    for (int round = 0; round < 40; round++) {
        struct tape_column_scope rows = {.count = ROWS};
        struct tape_column_scope list = {.parent = &rows, .owner = owner};
        struct tape_column_scope inner = {.parent = &list, .owner = inner_owner};
        struct columns columns = {0};
        struct tape_column *symbol = add_column(&columns, &rows);
        symbol->dictionary = 5;
        for (uint32_t row = 0; row < ROWS; row++) {
            symbol->values[row] = (int64_t)(random_u64() % 5);
            for (uint64_t n = random_u64() % 5; n > 0; n--)
                owner[list.count++] = row;
        }
        for (uint32_t element = 0; element < list.count; element++)
            for (uint64_t n = random_u64() % 4; n > 0; n--)
                inner_owner[inner.count++] = element;
        struct tape_column *price = add_column(&columns, &list);
        struct tape_column *quantity = add_column(&columns, &list);
        struct tape_column *deep = add_column(&columns, &inner);
        for (uint32_t i = 0; i < list.count; i++) {
            int first = i == 0 || owner[i] != owner[i - 1];
            price->values[i] = first ? 100000 * (symbol->values[owner[i]] + 1) + (int64_t)i
                                     : price->values[i - 1] + (int64_t)(random_u64() % 30);
            quantity->values[i] =
                random_u64() % 3 ? (int64_t)(random_u64() % (first ? 4 : 1000000)) : 0;
        }
        for (uint32_t i = 0; i < inner.count; i++)
            deep->values[i] =
                round % 2 ? random_value() : symbol->values[owner[inner_owner[i]]] * 1000003;
        check_round_trip(&columns, round % 3 == 0);
        free_columns(&columns);
    }
}

/* Whatever the predictor, values are what residuals were made from. */
static void predictors_are_undone(void **state)
{
    (void)state;
    enum { ROWS = 200 };
    static uint32_t owner[ROOM];
    static int64_t recv_ns[ROWS], residuals[ROOM];
    struct tape_column_keys keys = {0};
    const struct tape_column_scale scale = {.factor = 1};
    for (int round = 0; round < 200; round++) {
        struct tape_column_scope rows = {.count = ROWS, .recv_ns = recv_ns};
        struct tape_column_scope list = {.parent = &rows, .owner = owner};
        struct columns columns = {0};
        struct tape_column *key = add_column(&columns, &rows);
        key->dictionary = 7;
        for (uint32_t row = 0; row < ROWS; row++) {
            recv_ns[row] = random_value();
            key->values[row] = (int64_t)(random_u64() % 7);
            for (uint64_t n = random_u64() % 6; n > 0; n--)
                owner[list.count++] = row;
        }
        const struct tape_column_scope *scope = round % 2 ? &list : &rows;
        struct tape_column *field = add_column(&columns, scope);
        struct tape_column *column = add_column(&columns, scope);
        field->has_values = key->has_values = 1;
        for (uint32_t i = 0; i < scope->count; i++) {
            field->values[i] = random_value();
            column->values[i] = random_value();
        }
        for (int predictor = 0; predictor < 8; predictor++) {
            struct tape_column_prediction prediction = {
                .predictor = (uint8_t)predictor,
                .exponent = (uint8_t)(round % 10),
                .base = random_value(),
                .scope = scope,
                .field = predictor == TAPE_COLUMN_KEYED ? key : field,
            };
            if (!tape_column_allows(&prediction))
                continue;
            int status = tape_column_difference(&prediction, &keys, column->values, 0, scope->count,
                                                residuals);
            assert_int_equal(status, 0);
            assert_int_equal(tape_column_restore(&prediction, &scale, &keys, NULL, residuals), 0);
            assert_memory_equal(residuals, column->values, scope->count * sizeof *residuals);
        }
        free_columns(&columns);
    }
    tape_column_keys_free(&keys);
}

/* Times before 1970 count down, too. */
static void times_are_floored(void **state)
{
    (void)state;
    int64_t recv_ns[3] = {-1, -1000000, 1999999}, values[3] = {0, 0, 0};
    struct tape_column_scope rows = {.count = 3, .recv_ns = recv_ns};
    struct tape_column_prediction prediction = {
        .predictor = TAPE_COLUMN_TIME, .exponent = 6, .scope = &rows};
    const struct tape_column_scale scale = {.factor = 1};
    struct tape_column_keys keys = {0};
    assert_int_equal(tape_column_restore(&prediction, &scale, &keys, NULL, values), 0);
    assert_int_equal(values[0], -1);
    assert_int_equal(values[1], -1);
    assert_int_equal(values[2], 1);
}

/* A plan made for other columns is no use, but never a wrong column. */
static void stale_plans_do_no_harm(void **state)
{
    (void)state;
    struct tape_column_plan plans[4] = {0};
    struct tape_column_writer *writer = tape_column_writer_new(0);
    struct tape_column_reader *reader = tape_column_reader_new();
    struct tape_error error = {0};
    for (int round = 0; round < 200; round++) {
        struct tape_column_scope scope = {.count = 16 + (uint32_t)(random_u64() % 300)};
        struct tape_column_output output = {0};
        struct columns columns = {0}, back = {0};
        uint32_t most = 1 + (uint32_t)(random_u64() % 4);
        for (uint32_t n = 0; n < most; n++) {
            struct tape_column *column = add_column(&columns, &scope);
            int kind = (int)(random_u64() % 3);
            column->dictionary = random_u64() % 2 ? 50 : 0;
            for (uint32_t i = 0; i < scope.count; i++)
                column->values[i] = column->dictionary ? (int64_t)(random_u64() % 50)
                                    : kind == 0        ? (int64_t)i * 3
                                    : kind == 1        ? random_value()
                                                       : columns.column[0].values[i] + 2;
            tape_column_write(writer, &output, columns.column, n, column, &plans[n]);
        }
        struct tape_column_input input = {
            .pool = output.pool.bytes,
            .pool_end = output.pool.bytes + output.pool.length,
            .bits = output.bits.bytes,
            .bits_end = output.bits.bytes + output.bits.length,
            .bits_readable = output.bits.bytes + output.bits.length,
        };
        for (uint32_t n = 0; n < most; n++) {
            struct tape_column *to = add_column(&back, &scope);
            to->dictionary = columns.column[n].dictionary;
            assert_int_equal(tape_column_read(reader, &input, back.column, n, to, &error), 0);
            assert_memory_equal(to->values, columns.column[n].values,
                                scope.count * sizeof *to->values);
        }
        free_columns(&columns);
        free_columns(&back);
        free(output.pool.bytes);
        free(output.bits.bytes);
    }
    tape_column_writer_free(writer);
    tape_column_reader_free(reader);
}

/* What the reader makes of a pool and bits. The text of its refusal, "" for none. */
static const char *read_bytes(const uint8_t *pool, size_t pool_bytes, const uint8_t *bits,
                              size_t bits_bytes, uint32_t count)
{
    static struct tape_error error;
    struct tape_column_reader *reader = tape_column_reader_new();
    struct tape_column_scope scope = {.count = count};
    struct columns columns = {0};
    /* Of exactly their size, so that a look beyond is seen. */
    uint8_t *own_pool = malloc(pool_bytes + 1), *own_bits = malloc(bits_bytes + 1);
    memcpy(own_pool, pool, pool_bytes);
    if (bits_bytes > 0)
        memcpy(own_bits, bits, bits_bytes);
    struct tape_column_input input = {
        .pool = own_pool,
        .pool_end = own_pool + pool_bytes,
        .bits = own_bits,
        .bits_end = own_bits + bits_bytes,
        .bits_readable = own_bits + bits_bytes,
    };
    error = (struct tape_error){0};
    int status = tape_column_read(reader, &input, NULL, 0, add_column(&columns, &scope), &error);
    assert_true(status == 0 || status == TAPE_CORRUPT);
    free_columns(&columns);
    tape_column_reader_free(reader);
    free(own_pool);
    free(own_bits);
    return status == 0 ? "" : error.text;
}

/* Writes one column with a plan and reads it back; returns the bytes. */
static size_t write_planned(struct tape_column_writer *writer, struct tape_column *column,
                            struct tape_column_plan *plan)
{
    struct tape_column_reader *reader = tape_column_reader_new();
    struct tape_column_output output = {0};
    struct tape_error error = {0};
    struct columns back = {0};
    tape_column_write(writer, &output, NULL, 0, column, plan);
    struct tape_column_input input = {
        .pool = output.pool.bytes,
        .pool_end = output.pool.bytes + output.pool.length,
        .bits = output.bits.bytes,
        .bits_end = output.bits.bytes + output.bits.length,
        .bits_readable = output.bits.bytes + output.bits.length,
    };
    struct tape_column *to = add_column(&back, column->scope);
    assert_int_equal(tape_column_read(reader, &input, NULL, 0, to, &error), 0);
    assert_memory_equal(to->values, column->values, column->scope->count * sizeof *to->values);
    free_columns(&back);
    free(output.pool.bytes);
    free(output.bits.bytes);
    tape_column_reader_free(reader);
    return output.pool.length + output.bits.length;
}

/* What all residuals have in common, and whether one is negative, is taken from the blocks before;
 * where that no longer holds it is looked for anew. */
static void scales_that_change_are_found_again(void **state)
{
    (void)state;
    static const int64_t factors[] = {1000, 10, 1, 3, 6, 1 << 20, 7, 8, 1000003};
    enum { FACTORS = sizeof factors / sizeof *factors };
    struct tape_column_scope scope = {.count = 501};
    struct tape_column_writer *writer = tape_column_writer_new(0);
    struct tape_column_plan plan = {0};
    struct columns columns = {0};
    struct tape_column *column = add_column(&columns, &scope);
    int64_t factor = 1, before = 1;
    for (int block = 0; block < 400; block++) {
        struct tape_column_plan fresh = {0};
        if (block % 4 == 0) { /* so that it is the same twice */
            before = factor;
            factor = factors[random_u64() % FACTORS];
        }
        int64_t least = random_u64() % 3 ? 0 : -500;
        for (uint32_t i = 0; i < scope.count; i++)
            column->values[i] = ((int64_t)(random_u64() % 1000) + least) * factor;
        size_t planned = write_planned(writer, column, &plan);
        size_t best = write_planned(writer, column, &fresh);
        if (factor % before != 0) /* by a part of it is good enough */
            assert_true(planned <= best + best / 20);
    }
    free_columns(&columns);
    tape_column_writer_free(writer);
}

static void bad_columns_are_refused(void **state)
{
    (void)state;
#define CHECK(words, count, ...)                                                                   \
    do {                                                                                           \
        static const uint8_t pool[] = {__VA_ARGS__};                                               \
        assert_string_equal(read_bytes(pool, sizeof pool, NULL, 0, count), words);                 \
    } while (0)
    CHECK("", 2, 0, 1, 1, 5, 6);
    CHECK("a column's predictor is none", 2, 8, 1, 1, 5, 6);
    CHECK("a column's predictor is none", 2, 2, 0, 1, 1, 5, 6);    /* a field that is not there */
    CHECK("a column's predictor is none", 2, 5, 6, 1, 1, 0, 5, 6); /* no times here */
    CHECK("a column's predictor is none", 2, 6, 1, 1, 0, 5, 6);    /* no list here */
    CHECK("a column's coder is none", 2, 0, 3, 1, 5, 6);
    CHECK("a column's coder is none", 2, 0, 16, 1, 5, 6);
    CHECK("a column's factor is none", 2, 0, 1, 0, 5, 6);
    CHECK("a column's base is none", 2, 1, 0, 0x80);
    CHECK("a column's numbers end too early", 3, 0, 1, 1, 5, 6);
    CHECK("a column's table is none", 2, 0, 2, 1, 4, 0, 1, 16);          /* log below 5 */
    CHECK("a column's table is none", 2, 0, 2, 1, 12, 0, 1, 0x80, 0x20); /* log above 11 */
    CHECK("a column's table is none", 15, 0, 2, 1, 6, 0, 1, 64, 0);      /* 4 * 15 states at most */
    CHECK("a column's bits do not end where they should", 16, 0, 2, 1, 6, 0, 1, 64, 0);
    CHECK("a column's table is none", 2, 0, 2, 1, 5, 5, 1, 32);       /* no such context */
    CHECK("a column's table is none", 2, 0, 2, 1, 5, 2, 1, 32);       /* first, but no list */
    CHECK("a column's table is none", 2, 0, 2, 1, 5, 4, 0, 1, 32);    /* beside nothing */
    CHECK("a column's table is none", 2, 0, 2, 1, 5, 0, 1, 31);       /* does not add up */
    CHECK("a column's table is none", 2, 0, 2, 1, 5, 0, 0xe9, 1, 32); /* 233 tokens */
    CHECK("a column's bits reach beyond their area", 2, 0, 2, 1, 5, 0, 1, 32, 1);
    CHECK("a column's bits do not end where they should", 2, 0, 2, 1, 5, 0, 1, 32, 0);
#undef CHECK
    /* Two states of five bits after three bits and three of padding; the token is 0 for any state.
     */
    static const uint8_t pool[] = {0, 2, 1, 5, 0, 1, 32, 2}, zeros[] = {0, 2, 1, 5, 0, 0, 2};
    static const uint8_t good[] = {0x03, 0}, set[] = {0x0b, 0}, short_of[] = {0x02, 0};
    assert_string_equal(read_bytes(pool, sizeof pool, good, 2, 2), "");
    assert_string_equal(read_bytes(pool, sizeof pool, set, 2, 2),
                        "a column's bits do not end where they should");
    assert_string_equal(read_bytes(pool, sizeof pool, short_of, 2, 2),
                        "a column's bits do not end where they should");
    assert_string_equal(read_bytes(zeros, sizeof zeros, good, 2, 2),
                        "a column's bits do not end where they should");
}

/* Any damage to a real column's bytes is refused or gives other numbers, never a step outside. */
static void damaged_columns_stay_inside(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    struct tape_column_scope scope = {.count = COUNT};
    struct tape_column_writer *writer = tape_column_writer_new(0);
    struct columns columns = {0};
    struct tape_column_output output = {0};
    struct tape_column *column = add_column(&columns, &scope);
    for (uint32_t i = 0; i < COUNT; i++)
        column->values[i] = random_u64() % 20 ? (int64_t)(random_u64() % 9) : random_value();
    tape_column_write(writer, &output, NULL, 0, column, NULL);
    assert_true(output.bits.length > 100);
    for (int round = 0; round < 3000; round++) {
        int in_pool = (int)(random_u64() % 2);
        struct tape_growing *area = in_pool ? &output.pool : &output.bits;
        size_t at = random_u64() % area->length, cut = round % 3 == 0 ? at : area->length;
        uint8_t kept = area->bytes[at];
        area->bytes[at] = (uint8_t)random_u64();
        read_bytes(output.pool.bytes, in_pool ? cut : output.pool.length, output.bits.bytes,
                   in_pool ? output.bits.length : cut, COUNT);
        area->bytes[at] = kept;
    }
    free_columns(&columns);
    free(output.pool.bytes);
    free(output.bits.bytes);
    tape_column_writer_free(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_cover_every_number),
        cmocka_unit_test(any_numbers_come_back),
        cmocka_unit_test(prediction_takes_what_is_known),
        cmocka_unit_test(lists_come_back),
        cmocka_unit_test(predictors_are_undone),
        cmocka_unit_test(times_are_floored),
        cmocka_unit_test(stale_plans_do_no_harm),
        cmocka_unit_test(scales_that_change_are_found_again),
        cmocka_unit_test(bad_columns_are_refused),
        cmocka_unit_test(damaged_columns_stay_inside),
        cmocka_unit_test(contexts_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
