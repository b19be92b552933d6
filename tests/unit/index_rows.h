/* A new archive in a directory of its own, and rows put into an index by hand, for the tests of
 * what asks an index. After cmocka.h. */
#ifndef TAPE_TESTS_UNIT_INDEX_ROWS_H
#define TAPE_TESTS_UNIT_INDEX_ROWS_H

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "format/archive.h"
#include "format/index.h"
#include "tests/unit/make_records.h"

static char directory[256];
static struct tape_archive *archive;
static struct tape_error error;

static int open_archive(void **state)
{
    char path[300];
    (void)state;
    close(made_directory(directory));
    snprintf(path, sizeof path, "%s/a", directory);
    archive = tape_archive_create(path, &error);
    return archive == NULL;
}

static int remove_archive(void **state)
{
    (void)state;
    tape_archive_close(archive);
    remove_tree(directory);
    return 0;
}

static void run_sql(struct tape_index *index, const char *sql)
{
    assert_int_equal(sqlite3_exec(tape_index_handle(index), sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Streams of one name are told apart by their venue. */
static void add_stream(struct tape_index *index, int venue, const char *name, int bytes)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "INSERT INTO stream(venue, name, symbol, channel, sequence_rule, loss_detectable, "
             "messages, bytes, duplicates, breaks) VALUES('%d', '%.*s', '', '', '', 0, 0, 0, 0, 0)",
             venue, bytes, name);
    run_sql(index, sql);
}

#endif
