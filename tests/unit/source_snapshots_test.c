#include "replay/source_snapshots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/archive.h"
#include "format/index.h"
#include "tests/unit/make_records.h"

static char directory[256], path[300];

/* A record a second, of which the ones named are snapshots; folded into the index or not. */
static void make_archive(int records, int snapshot, int with_index)
{
    static const char body[] = "{\"status\":200,\"stream\":\"x@depth\"}\n{}";
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_error error;
    struct tape_block_header header;
    uint8_t *stored;
    struct tape_archive *archive = tape_archive_create(path, &error);
    struct tape_segment_writer *writer =
        tape_archive_create_segment(archive, 1, made_ns, name, &error);
    struct tape_block_builder *builder = tape_block_builder_new();
    for (int i = 0; i < records; i++) {
        struct tape_record record = {
            .ordinal = (uint64_t)i,
            .recv_ns = made_ns + i * 1000000000ll,
            .kind = i == snapshot ? TAPE_RECORD_SNAPSHOT : TAPE_RECORD_NOTE,
            .connection = 1,
            .bytes = i == snapshot ? sizeof body - 1 : 2,
            .data = (const uint8_t *)(i == snapshot ? body : "{}"),
        };
        assert_int_equal(tape_block_append(builder, &record, &error), 1);
    }
    assert_int_equal(tape_block_seal(builder, 1, 1, &header, &stored, &error), 0);
    header.realtime_minus_monotonic_ns = 0;
    assert_int_equal(tape_segment_append(writer, &header, stored, NULL, 0, 0, &error), 0);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    tape_block_builder_free(builder);
    if (with_index) {
        struct tape_summariser *summariser = tape_summariser_new(&error);
        struct tape_index *index = tape_index_open(archive, &(int){0}, &error);
        assert_non_null(index);
        assert_true(tape_index_catch_up(index, archive, summariser, NULL, NULL, &error) > 0);
        tape_index_close(index);
        tape_summariser_free(summariser);
    }
    tape_archive_close(archive);
}

static int set_up(void **state)
{
    (void)state;
    close(made_directory(directory));
    snprintf(path, sizeof path, "%s/archive", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(directory);
    return 0;
}

static int may_be(int from, int to)
{
    return tape_source_snapshots_may_be(path, made_ns + from * 1000000000ll,
                                        made_ns + to * 1000000000ll);
}

static void test_the_index_tells(void **state)
{
    (void)state;
    make_archive(10, 4, 1);
    assert_int_equal(may_be(0, 3), 0);
    assert_int_equal(may_be(0, 4), 1);
    assert_int_equal(may_be(4, 4), 1);
    assert_int_equal(may_be(4, 9), 1);
    assert_int_equal(may_be(5, 9), 0);
    assert_int_equal(may_be(5, 10), 1); /* it does not reach so far */
    assert_int_equal(tape_source_snapshots_may_be(path, INT64_MIN, made_ns), 0);
}

static void test_what_tells_nothing(void **state)
{
    (void)state;
    assert_int_equal(may_be(0, 3), 1);
    make_archive(10, 4, 0);
    assert_int_equal(may_be(0, 3), 1);
    char base[320];
    snprintf(base, sizeof base, "%s/index.db", path);
    FILE *file = fopen(base, "w");
    assert_non_null(file);
    fputs("no database", file);
    fclose(file);
    assert_int_equal(may_be(0, 3), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_index_tells, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_tells_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
