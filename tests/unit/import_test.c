#include "make_store.h"

#include <fcntl.h>
#include <zstd.h>

#include "format/utf8.h"
#include "record/import.h"

static char input_path[200];

static void write_input(const char *bytes, size_t length)
{
    snprintf(input_path, sizeof input_path, "%s/lines", scratch);
    FILE *file = fopen(input_path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

static int import_file(const char *path, struct tape_import_report *report,
                       struct tape_error *error)
{
    const struct tape_import_options options = {.file = path, .venue = ""};
    struct tape_store *store = open_with((struct tape_store_options){.ring_bytes = 64 << 20});
    memset(error, 0, sizeof *error);
    int status = tape_import_run(&options, store, report, error);
    close_well(store);
    return status;
}

/* The lines as they come back: from the frames' stamps and payloads. */
static char *lines_back(size_t *length)
{
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_cursor_damage damage;
    struct tape_ws_frame frame;
    char *text = NULL;
    FILE *to = open_memstream(&text, length);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_cursor *cursor = tape_cursor_open(archive, &error);
    while (tape_cursor_next(cursor, &record, &damage, &error) == 1) {
        if (record.kind != TAPE_RECORD_FRAME_IN)
            continue;
        assert_int_equal(record.flags, TAPE_RECORD_FLAG_IMPORTED);
        int header = tape_ws_header(record.data, record.bytes, &frame);
        assert_true(header > 0 && frame.fin && !frame.masked);
        assert_int_equal((uint64_t)header + frame.payload_bytes, record.bytes);
        struct tape_utf8 utf8 = {0};
        int is_text = tape_utf8_check(&utf8, record.data + header, frame.payload_bytes) ==
                          frame.payload_bytes &&
                      tape_utf8_complete(&utf8);
        assert_int_equal(frame.opcode, is_text ? TAPE_WS_TEXT : TAPE_WS_BINARY);
        fprintf(to, "%" PRId64 " ", record.recv_ns);
        fwrite(record.data + header, 1, frame.payload_bytes, to);
        fputc('\n', to);
    }
    tape_cursor_close(cursor);
    tape_archive_close(archive);
    fclose(to);
    return text;
}

static void check_back(const char *expected, size_t length)
{
    size_t found_length = 0;
    char *found = lines_back(&found_length);
    assert_int_equal(found_length, length);
    assert_memory_equal(found, expected, length);
    free(found);
}

static void check_round_trip(const char *bytes, size_t length, uint64_t lines)
{
    struct tape_import_report report;
    struct tape_error error;
    write_input(bytes, length);
    if (import_file(input_path, &report, &error) < 0)
        fail_msg("import: %s", error.text);
    assert_int_equal(report.lines, lines);
    check_back(bytes, length);
    check_index();
}

/* ---- numbers ---- */

static void numbers(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        size_t used;
        int64_t value;
    } table[] = {
        {"0 x", 1, 0},
        {"1 x", 1, 1},
        {"-1", 2, -1},
        {"1700000000000000000", 19, 1700000000000000000},
        {"9223372036854775807 ", 19, INT64_MAX},
        {"-9223372036854775808 ", 20, INT64_MIN},
        {"9223372036854775808", 0, 0},
        {"-9223372036854775809", 0, 0},
        {"99999999999999999999", 0, 0},
        {"18446744073709551616", 0, 0},
        {"00", 0, 0},
        {"01", 0, 0},
        {"-0", 0, 0},
        {"-01", 0, 0},
        {"-", 0, 0},
        {"+1", 0, 0},
        {" 1", 0, 0},
        {"", 0, 0},
        {"x", 0, 0},
        {"1.5", 1, 1},
        {"0x10", 1, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        int64_t value = 0;
        assert_int_equal(tape_import_number(table[i].text, strlen(table[i].text), &value),
                         table[i].used);
        if (table[i].used)
            assert_int_equal(value, table[i].value);
    }
    int64_t value;
    assert_int_equal(tape_import_number("123", 2, &value), 2); /* never past the bytes given */
    assert_int_equal(value, 12);
}

/* ---- lines ---- */

static void awkward_lines(void **unused)
{
    (void)unused;
    static const char lines[] = "5 {\"a\":1}\n"
                                "3 \n"
                                "0 x\r\n"
                                "-7  two blanks\n"
                                "9223372036854775807 \0nul\0\n"
                                "1 \xff\xfe not UTF-8\n"
                                "2 \xc3\xa4 UTF-8\n"
                                "2 \xc3\n"
                                "-9223372036854775808 {\"result\":null,\"id\":1}\n"
                                "1 \x81\x7f looks like a frame\n";
    check_round_trip(lines, sizeof lines - 1, 10);
}

static void last_line_without_newline(void **unused)
{
    (void)unused;
    struct tape_import_report report;
    struct tape_error error;
    write_input("1 a\n2 b", 7);
    assert_int_equal(import_file(input_path, &report, &error), 0);
    assert_int_equal(report.lines, 2);
    check_back("1 a\n2 b\n", 8);
}

static void empty_file(void **unused)
{
    (void)unused;
    check_round_trip("", 0, 0);
}

static void lengths_around_the_frame_forms(void **unused)
{
    (void)unused;
    static const size_t lengths[] = {0,         124,           125,           126,
                                     127,       65534,         65535,         65536,
                                     256 << 10, (1 << 20) - 2, (1 << 20) - 3, 3 << 20};
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        fprintf(to, "%zu ", i);
        for (size_t j = 0; j < lengths[i]; j++)
            fputc('a' + (int)(j % 23), to);
        fputc('\n', to);
    }
    fclose(to);
    check_round_trip(text, length, sizeof lengths / sizeof lengths[0]);
    free(text);
}

static char *long_line(size_t payload_bytes)
{
    char *text = malloc(payload_bytes + 3);
    memset(text, 'p', payload_bytes + 3);
    memcpy(text, "1 ", 2);
    text[payload_bytes + 2] = '\n';
    return text;
}

static void longest_line(void **unused)
{
    (void)unused;
    char *text = long_line(16 << 20);
    check_round_trip(text, (16 << 20) + 3, 1);
    free(text);
}

static void many_lines(void **unused)
{
    (void)unused;
    char *text = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&text, &length);
    for (int i = 0; i < 60000; i++)
        fprintf(to, "%d {\"stream\":\"s%d@trade\",\"data\":{\"t\":%d}}\n", i * 7919, i % 5, i);
    fclose(to);
    check_round_trip(text, length, 60000);
    free(text);
}

static void two_imports_into_one_archive(void **unused)
{
    (void)unused;
    struct tape_import_report report;
    struct tape_error error;
    write_input("1 a\n", 4);
    assert_int_equal(import_file(input_path, &report, &error), 0);
    write_input("0 b\n", 4);
    assert_int_equal(import_file(input_path, &report, &error), 0);
    check_back("1 a\n0 b\n", 8);
    check_index();
}

/* ---- errors: exact words, and all that was good is there ---- */

static void check_error(const char *bytes, size_t length, const char *words, const char *good)
{
    struct tape_import_report report;
    struct tape_error error;
    char expected[400];
    write_input(bytes, length);
    assert_int_equal(import_file(input_path, &report, &error), TAPE_FAILED);
    snprintf(expected, sizeof expected, "%s%s", input_path, words);
    assert_string_equal(error.text, expected);
    check_back(good, strlen(good));
    remove_scratch(NULL);
    make_scratch(NULL);
}

static void wrong_lines(void **unused)
{
    (void)unused;
    check_error("1 a\n2 b\nc\n4 d\n", 14,
                ": line 3: it does not begin with a time in ns; the first 2 lines are imported",
                "1 a\n2 b\n");
    check_error("01 a\n", 5,
                ": line 1: it does not begin with a time in ns; the first 0 lines are imported",
                "");
    check_error("1 a\n\n", 5,
                ": line 2: it does not begin with a time in ns; the first 1 lines are imported",
                "1 a\n");
    check_error("1 a\n1\n", 6,
                ": line 2: no blank follows the time; the first 1 lines are imported", "1 a\n");
    check_error("1\ta\n", 4, ": line 1: no blank follows the time; the first 0 lines are imported",
                "");
    check_error("1.5 a\n", 6, ": line 1: no blank follows the time; the first 0 lines are imported",
                "");
}

static void line_too_long(void **unused)
{
    (void)unused;
    char *text = long_line((16 << 20) + 1);
    check_error(text, (16 << 20) + 4,
                ": line 1: its payload is longer than 16 MiB; the first 0 lines are imported", "");
    free(text);
    text = long_line(40 << 20);
    check_error(text, (40 << 20) + 3,
                ": line 1: its payload is longer than 16 MiB; the first 0 lines are imported", "");
    free(text);
}

static void gzip_is_told_how(void **unused)
{
    (void)unused;
    struct tape_import_report report;
    struct tape_error error;
    char expected[500];
    write_input("\x1f\x8b\x08\x00 whatever", 13);
    assert_int_equal(import_file(input_path, &report, &error), TAPE_FAILED);
    snprintf(expected, sizeof expected, "%s is gzip: zcat %s | tape-record --import - ARCHIVE",
             input_path, input_path);
    assert_string_equal(error.text, expected);
}

static void missing_file(void **unused)
{
    (void)unused;
    struct tape_import_report report;
    struct tape_error error;
    assert_int_equal(import_file("/nowhere/at/all", &report, &error), TAPE_FAILED);
    assert_string_equal(error.text, "/nowhere/at/all: open: No such file or directory");
}

/* ---- zstd ---- */

static void compressed(void **unused)
{
    (void)unused;
    static const char first[] = "1 a\n2 b", second[] = "b\n3 c\n";
    char packed[400];
    size_t one = ZSTD_compress(packed, sizeof packed, first, sizeof first - 1, 3);
    size_t two = ZSTD_compress(packed + one, sizeof packed - one, second, sizeof second - 1, 3);
    struct tape_import_report report;
    struct tape_error error;
    /* two frames one after the other, a line over both */
    write_input(packed, one + two);
    assert_int_equal(import_file(input_path, &report, &error), 0);
    check_back("1 a\n2 bb\n3 c\n", 13);
}

static void compressed_and_cut(void **unused)
{
    (void)unused;
    char packed[400];
    static const char lines[] = "1 a\n2 b\n";
    size_t bytes = ZSTD_compress(packed, sizeof packed, lines, sizeof lines - 1, 3);
    struct tape_import_report report;
    struct tape_error error;
    char expected[400];
    for (size_t length = 4; length < bytes; length++) {
        write_input(packed, length);
        assert_int_equal(import_file(input_path, &report, &error), TAPE_FAILED);
        snprintf(expected, sizeof expected,
                 "%s: the zstd data ends too early; the first %" PRIu64 " lines are imported",
                 input_path, report.lines);
        assert_string_equal(error.text, expected);
    }
    packed[5] = (char)0xff;
    memset(packed + 6, 0xff, 8);
    write_input(packed, bytes);
    assert_int_equal(import_file(input_path, &report, &error), TAPE_FAILED);
    assert_non_null(strstr(error.text, ": damaged zstd data: "));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        CASE(awkward_lines),
        CASE(last_line_without_newline),
        CASE(empty_file),
        CASE(lengths_around_the_frame_forms),
        CASE(longest_line),
        CASE(many_lines),
        CASE(two_imports_into_one_archive),
        CASE(wrong_lines),
        CASE(line_too_long),
        CASE(gzip_is_told_how),
        CASE(missing_file),
        CASE(compressed),
        CASE(compressed_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
