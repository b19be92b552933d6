#include "format/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "format/summary_rows.h"
#include "tests/unit/ask_index.h"
#include "tests/unit/index_directory.h"
#include "tests/unit/make_story.h"

/* How many rows of the archive's index.db differ from what its segments say. */
static int differences(const char *where)
{
    struct tape_archive *archive = tape_archive_open(where, &error);
    assert_non_null(archive);
    struct tape_index *index = tape_index_open_read(archive, &error);
    if (!index)
        fail_msg("%s", error.text);
    struct tape_index *truth = tape_index_open_memory(archive, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    assert_non_null(truth);
    int64_t blocks = tape_index_catch_up(truth, archive, summariser, NULL, NULL, &error);
    if (blocks < 0)
        fail_msg("%s", error.text);
    told.count = 0;
    int found = tape_index_compare(index, truth, hear, NULL, &error);
    assert_int_equal(told.count, found > 100 ? 100 : found);
    tape_summariser_free(summariser);
    tape_index_close(truth);
    tape_index_close(index);
    tape_archive_close(archive);
    return found;
}

/* ---- live, caught up and rebuilt are one ---- */

static void test_rebuild_equals_live(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct story story = story_of_life(seed, 4000);
        char where[320];
        snprintf(where, sizeof where, "%s/%d", path, (int)seed);
        recorder_write(where, &story, seed, seed > 2);
        int found = differences(where);
        if (found)
            fail_msg("seed %d: %d rows differ: %s", (int)seed, found, told.first);
        story_free(&story);
    }
}

/* The same story in one go and in pieces with crashes, but with the same blocks, is one index. */
static void test_story_fills_every_table(void **state)
{
    (void)state;
    struct story story = story_of_life(3, 8000);
    recorder_write(archive_path, &story, 3, 1);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_read(archive, &error);
    static const char *const tables[] = {"meta",    "session", "connection",   "stream",
                                         "segment", "block",   "block_stream", "gap",
                                         "clock",   "delay",   "event",        "subscription"};
    static const char *const views[] = {"v_coverage",   "v_gap",     "v_latency",
                                        "v_connection", "v_storage", "v_subscription"};
    char sql[200];
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) > 1 FROM %s", tables[i]);
        assert_string_equal(ask_index(index, sql), "1");
    }
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        snprintf(sql, sizeof sql,
                 "SELECT count(*) > 1, min(typeof(ts)), max(typeof(ts)), min(day) > 20260101, "
                 "max(day) < 20280101 FROM %s",
                 views[i]);
        assert_string_equal(ask_index(index, sql), "1|real|real|1|1");
    }
    assert_string_equal(ask_index(index,
                                  "SELECT group_concat(kind) FROM (SELECT DISTINCT kind FROM gap "
                                  "ORDER BY kind)"),
                        "clock,disconnect,dropped,not_delivered,recorder,sequence,stall");
    /* the sums of every table agree */
    assert_string_equal(ask_index(index, "SELECT (SELECT sum(messages) FROM stream) = "
                                         "(SELECT sum(messages) FROM block_stream), "
                                         "(SELECT sum(messages) FROM block) = "
                                         "(SELECT sum(messages) FROM segment), "
                                         "(SELECT sum(bytes) FROM stream) = "
                                         "(SELECT sum(payload_bytes) FROM block), "
                                         "(SELECT sum(records) FROM block) = "
                                         "(SELECT value + 0 FROM meta WHERE key = 'next_ordinal'), "
                                         "(SELECT sum(messages) FROM v_coverage) = "
                                         "(SELECT sum(messages) FROM stream)"),
                        "1|1|1|1|1");
    tape_index_close(index);
    tape_archive_close(archive);
    story_free(&story);
}

static void test_catch_up_inside_a_fragmented_message(void **state)
{
    (void)state;
    struct story story = {.now_ns = made_ns};
    struct recorder recorder;
    story_start(&story, 1);
    story_open(&story, 1, "binance-usdm");
    story_frame(&story, 1, 0x01, "{\"stream\":\"x@tr", 15);
    for (int i = 0; i < 5; i++)
        story_frame(&story, 1, 0x89, "p", 1);
    story_frame(&story, 1, 0x80, "ade\",\"data\":{}}", 15);
    recorder_open(&recorder, archive_path);
    for (size_t i = 0; i < story.used; i++) {
        recorder_block(&recorder, &story.records[i], 1);
        const struct tape_summary *last = recorder.summaries[0];
        assert_int_equal(last->resume_ordinal < last->next_ordinal, i >= 2 && i < 8);
        recorder_apply(&recorder);
        recorder_crash(&recorder);
    }
    assert_string_equal(ask_index(recorder.index, "SELECT name, messages, bytes FROM stream"),
                        "x@trade|1|30");
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    story_free(&story);
}

static void test_lost_summary_is_refused(void **state)
{
    (void)state;
    struct story story = story_of_life(5, 100);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    recorder_block(&recorder, story.records, 10);
    recorder_block(&recorder, story.records + 10, 10);
    assert_int_equal(tape_index_begin(recorder.index, &error), 0);
    assert_int_equal(tape_index_begin(recorder.index, &error), TAPE_USAGE);
    assert_string_equal(error.text, "index.db: a transaction is open");
    assert_int_equal(tape_index_apply(recorder.index, recorder.summaries[1], &error), TAPE_USAGE);
    assert_string_equal(error.text, "index.db: records from 10 come where 0 is expected");
    /* it was rolled back, and the same summaries may be applied again */
    assert_int_equal(tape_index_commit(recorder.index, &error), TAPE_USAGE);
    assert_string_equal(error.text, "index.db: no transaction is open");
    assert_int_equal(tape_index_next_ordinal(recorder.index), 0);
    assert_int_equal(tape_index_begin(recorder.index, &error), 0);
    assert_int_equal(tape_index_apply(recorder.index, recorder.summaries[0], &error), 0);
    assert_int_equal(tape_index_next_ordinal(recorder.index), 10);
    tape_summary_free(recorder.summaries[0]);
    recorder.summaries[0] = recorder.summaries[1];
    recorder.waiting = 1;
    assert_int_equal(tape_index_commit(recorder.index, &error), 0);
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    story_free(&story);
}

/* Power cut: the index has what the segments have not. */
static void test_index_ahead_of_the_segments(void **state)
{
    (void)state;
    struct story story = story_of_life(6, 400);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    for (int i = 0; i < 4; i++)
        recorder_block(&recorder, story.records + 100 * i, 100);
    recorder_apply(&recorder);
    int fd = tape_segment_fd(recorder.segment);
    assert_int_equal(ftruncate(fd, (off_t)tape_segment_file_bytes(recorder.segment) - 20), 0);
    recorder_crash(&recorder);
    assert_int_equal(tape_index_next_ordinal(recorder.index), 300);
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    story_free(&story);
}

static void test_damage_becomes_a_gap(void **state)
{
    (void)state;
    struct story story = {.now_ns = made_ns};
    struct recorder recorder;
    uint64_t offset = 0;
    story_start(&story, 1);
    story_open(&story, 1, "binance-usdm");
    for (int i = 0; i < 40; i++) {
        story.now_ns += SECOND_NS;
        story_trade(&story, 1, "a", 100 + i);
    }
    recorder_open(&recorder, archive_path);
    for (size_t i = 0; i + 10 <= story.used; i += 10) {
        if (i == 20)
            offset = tape_segment_file_bytes(recorder.segment);
        recorder_block(&recorder, story.records + i, 10);
    }
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    /* the third block's payload is damaged: records 20 to 29, trades 118 to 127 */
    char name[400];
    snprintf(name, sizeof name, "%s/segments/%s", archive_path, recorder.entry.name);
    int fd = open(name, O_RDWR);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, (off_t)offset + 100), 4);
    close(fd);
    assert_int_not_equal(differences(archive_path), 0);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_memory(archive, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    assert_int_equal(tape_index_catch_up(index, archive, summariser, NULL, NULL, &error), 3);
    assert_string_equal(ask_index(index,
                                  "SELECT kind, from_ns, to_ns, from_id, to_id, missing, stream "
                                  "FROM v_gap"),
                        "damaged|1795600018000000000|1795600029000000000|20|30|10|-\n"
                        "sequence|1795600018000000000|1795600029000000000|117|128|10|a@trade");
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
    story_free(&story);
}

/* Where the damage was before the index was caught up, it is told once, however often that was. */
static void test_damage_is_told_once(void **state)
{
    (void)state;
    struct story story = story_of_life(8, 600);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    for (size_t i = 0; i < 3; i++)
        recorder_block(&recorder, story.records + i * 100, 100);
    recorder_apply(&recorder); /* so that catching up begins where the damage does */
    uint64_t end = tape_segment_file_bytes(recorder.segment);
    recorder_block(&recorder, story.records + 300, 100);
    recorder_block(&recorder, story.records + 400, 100);
    int fd = tape_segment_fd(recorder.segment);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, (off_t)end + 100), 4);
    recorder_crash(&recorder);
    assert_string_equal(
        ask_index(recorder.index, "SELECT count(*) FROM gap WHERE kind = 'damaged'"), "1");
    recorder_block(&recorder, story.records + 500, 50);
    recorder_apply(&recorder);
    recorder_crash(&recorder);
    recorder_block(&recorder, story.records + 550, 50);
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    story_free(&story);
}

/* Damage that cost no record, before the last record that is in the index: it was told then. */
static void test_damage_before_the_last_record(void **state)
{
    (void)state;
    struct story story = story_of_life(11, 100);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    recorder_block(&recorder, story.records, 40);
    uint64_t offset = tape_segment_file_bytes(recorder.segment);
    recorder_block(&recorder, story.records + 40, 20);
    recorder_apply(&recorder);
    recorder_seal(&recorder);
    /* the header of the last block; the footer has a copy */
    char name[400];
    snprintf(name, sizeof name, "%s/segments/%s", archive_path, recorder.entry.name);
    int fd = open(name, O_RDWR);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, (off_t)offset + 8), 4);
    close(fd);
    tape_index_close(recorder.index);
    char index_name[320];
    snprintf(index_name, sizeof index_name, "%s/index.db", archive_path);
    unlink(index_name);
    int rebuilt;
    recorder.index = tape_index_open(recorder.archive, &rebuilt, &error);
    for (int i = 0; i < 3; i++) {
        recorder_crash(&recorder);
        assert_string_equal(
            ask_index(recorder.index, "SELECT count(*) FROM gap WHERE kind = 'damaged'"), "1");
    }
    recorder_block(&recorder, story.records + 60, 40);
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    story_free(&story);
}

/* No space: what was committed stays, and the same summaries go in when there is some again. */
static void test_full_disk(void **state)
{
    (void)state;
    struct story story = story_of_life(10, 4000);
    struct recorder recorder;
    recorder_open(&recorder, archive_path);
    recorder_block(&recorder, story.records, 10);
    recorder_apply(&recorder);
    for (size_t i = 10; i + 30 <= story.used; i += 30)
        recorder_block(&recorder, story.records + i, 30);
    sqlite3 *db = tape_index_handle(recorder.index);
    sqlite3_exec(db, "PRAGMA max_page_count = 40", NULL, NULL, NULL);
    int status = tape_index_begin(recorder.index, &error);
    for (size_t i = 0; i < recorder.waiting && status == 0; i++)
        status = tape_index_apply(recorder.index, recorder.summaries[i], &error);
    assert_int_equal(status, TAPE_FULL);
    assert_non_null(strstr(error.text, "database or disk is full"));
    assert_int_equal(tape_index_next_ordinal(recorder.index), 10);
    sqlite3_exec(db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL);
    recorder_close(&recorder);
    assert_int_equal(differences(archive_path), 0);
    story_free(&story);
}

/* ---- bad files ---- */

/* Runs SQL on index.db as any program may. */
static void meddle(const char *sql)
{
    char name[320];
    sqlite3 *db;
    char *words = NULL;
    snprintf(name, sizeof name, "%s/index.db", archive_path);
    assert_int_equal(sqlite3_open(name, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
        fail_msg("%s: %s", sql, words);
    sqlite3_close(db);
}

/* Refused by readers with these words, and made anew by the recorder. */
static void assert_distrusted(const char *words)
{
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_read(archive, &error);
    int rebuilt = 0;
    assert_null(index);
    assert_int_equal(error.status, TAPE_CORRUPT);
    if (words)
        assert_string_equal(error.text, words);
    tape_archive_close(archive);
    archive = tape_archive_create(archive_path, &error);
    index = tape_index_open(archive, &rebuilt, &error);
    if (!index)
        fail_msg("%s", error.text);
    assert_int_equal(rebuilt, 1);
    assert_int_equal(tape_index_next_ordinal(index), 0);
    assert_int_equal(
        faccessat(tape_archive_directory_fd(archive), "index.db.bad", F_OK, AT_SYMLINK_NOFOLLOW),
        0);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    assert_int_not_equal(tape_index_catch_up(index, archive, summariser, NULL, NULL, &error), 0);
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
    assert_int_equal(differences(archive_path), 0);
}

static void write_small_archive(void)
{
    struct story story = story_of_life(9, 500);
    recorder_write(archive_path, &story, 9, 0);
    story_free(&story);
}

static void test_crafted_schema(void **state)
{
    static const char *const wrong[] = {
        "CREATE TRIGGER t AFTER INSERT ON event BEGIN DELETE FROM session; END",
        "CREATE VIEW v AS SELECT load_extension('x')",
        "CREATE TABLE other(a)",
        "ALTER TABLE gap ADD COLUMN more INTEGER",
        "DROP VIEW v_gap",
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "CREATE INDEX i ON gap(kind)",
        ("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'cause TEXT', "
         "'cause TEXT ') WHERE name = 'gap'"),
    };
    (void)state;
    write_small_archive();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        meddle(wrong[i]);
        assert_distrusted("index.db: its schema is not ours");
    }
    meddle("PRAGMA application_id = 7");
    assert_distrusted("index.db: it is some other program's database");
    meddle("PRAGMA user_version = 99");
    assert_distrusted("index.db: it is of another version");
    meddle("UPDATE meta SET value = '00' WHERE key = 'archive_id'");
    assert_distrusted("index.db: it belongs to another archive");
    /* statistics are nobody's harm */
    meddle("ANALYZE");
    assert_int_equal(differences(archive_path), 0);
}

/* What passes every check and is still not true: the recorder finds out, or verify does. */
static void test_crafted_rows(void **state)
{
    static const char *const wrong[] = {
        "UPDATE meta SET value = '77' WHERE key = 'next_ordinal'",
        "UPDATE meta SET value = '0' WHERE key IN ('next_ordinal', 'resume_ordinal')",
        "UPDATE meta SET value = 'x' WHERE key = 'last_ns'",
        "DELETE FROM meta WHERE key = 'next_ordinal'",
        "INSERT INTO meta VALUES('more', '1')",
        "UPDATE stream SET stream_id = stream_id + 1000",
        "UPDATE stream SET name = printf('%.*c', 300 + stream_id, 'x')",
        "UPDATE stream SET sequence_rule = 'made up'",
        "UPDATE subscription SET stream_id = 99999; UPDATE connection SET closed_ns = NULL",
        "UPDATE subscription SET status = 'x'; UPDATE connection SET closed_ns = NULL",
        "UPDATE connection SET connection_id = -connection_id, closed_ns = NULL",
        "UPDATE block SET crc32c = 0",
        "DELETE FROM block",
        "UPDATE session SET session_id = session_id + 5000000000",
        ("INSERT INTO gap SELECT 9223372036854775807, kind, stream_id, connection_id, day, "
         "from_ns, "
         "to_ns, from_id, to_id, missing, cause FROM gap LIMIT 1"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_small_archive();
        meddle(wrong[i]);
        struct tape_archive *archive = tape_archive_create(archive_path, &error);
        int rebuilt;
        struct tape_index *index = tape_index_open(archive, &rebuilt, &error);
        if (!index)
            fail_msg("%s: %s", wrong[i], error.text);
        struct tape_summariser *summariser = tape_summariser_new(&error);
        int64_t blocks = tape_index_catch_up(index, archive, summariser, NULL, NULL, &error);
        if (blocks <= 0)
            fail_msg("%s: %s", wrong[i], error.text);
        tape_summariser_free(summariser);
        tape_index_close(index);
        tape_archive_close(archive);
        if (differences(archive_path))
            fail_msg("%s: %s", wrong[i], told.first);
        remove_tree(archive_path);
    }
}

static void copy_file(int at, const char *from, const char *to, size_t bytes)
{
    struct made_file file = read_file_at(at, from);
    write_file_at(at, to, file.data, bytes < file.bytes ? bytes : file.bytes);
    free(file.data);
}

/* Reading is refused or gives something; the recorder always ends with the truth; nothing crashes.
 */
static void assert_survived(int at)
{
    int rebuilt;
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_read(archive, &error);
    if (!index)
        assert_true(error.status == TAPE_CORRUPT || error.status == TAPE_MISSING);
    tape_index_close(index);
    tape_archive_close(archive);
    archive = tape_archive_create(archive_path, &error);
    index = tape_index_open(archive, &rebuilt, &error);
    if (!index)
        fail_msg("%s", error.text);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    if (tape_index_catch_up(index, archive, summariser, NULL, NULL, &error) < 0)
        fail_msg("%s", error.text);
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
    unlinkat(at, "index.db-wal", 0);
    unlinkat(at, "index.db-shm", 0);
}

static void test_cut_and_flipped_files(void **state)
{
    (void)state;
    write_small_archive();
    int at = open(archive_path, O_RDONLY | O_DIRECTORY);
    unlinkat(at, "index.db-wal", 0);
    unlinkat(at, "index.db-shm", 0);
    struct made_file good = read_file_at(at, "index.db");
    copy_file(at, "index.db", "saved", good.bytes);
    for (size_t bytes = 0; bytes < good.bytes; bytes += good.bytes / 37) {
        copy_file(at, "saved", "index.db", bytes);
        assert_survived(at);
    }
    struct dice dice = {4};
    for (int i = 0; i < 150; i++) {
        uint8_t *bad = malloc(good.bytes);
        memcpy(bad, good.data, good.bytes);
        /* half of them in the first page: the header and the schema */
        size_t place = roll_below(&dice, i % 2 ? good.bytes : 4096);
        for (int n = 0; n < 4; n++)
            bad[(place + (size_t)n) % good.bytes] = (uint8_t)roll(&dice);
        write_file_at(at, "index.db", bad, good.bytes);
        free(bad);
        assert_survived(at);
    }
    free(good.data);
    close(at);
}

static void test_damaged_page(void **state)
{
    (void)state;
    write_small_archive();
    int at = open(archive_path, O_RDONLY | O_DIRECTORY);
    int fd = openat(at, "index.db", O_RDWR);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_read(archive, &error);
    long page = strtol(ask_index(index, "SELECT rootpage FROM sqlite_schema WHERE name = 'delay'"),
                       NULL, 10);
    assert_string_equal(ask_index(index, "PRAGMA query_only"), "1");
    assert_string_equal(ask_index(index, "PRAGMA trusted_schema"), "0");
    assert_string_equal(ask_index(index, "PRAGMA cell_size_check"), "1");
    tape_index_close(index);
    tape_archive_close(archive);
    assert_true(page > 1);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, (page - 1) * 4096), 4);
    close(fd);
    close(at);
    assert_distrusted("index.db: its pages are damaged");
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    write_small_archive();
    int at = open(archive_path, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"index.db", "index.db-wal", "index.db-shm"};
        unlinkat(at, names[i], 0);
        assert_int_equal(mkdirat(at, names[i], 0750), 0);
        assert_int_equal(mkdirat(at, "index.db/inside", 0750) == 0, i == 0);
        assert_distrusted("index.db: it is not a plain file");
        unlinkat(at, names[i], 0);
        assert_int_equal(symlinkat("elsewhere", at, names[i]), 0);
        assert_distrusted("index.db: it is not a plain file");
        assert_int_equal(faccessat(at, "elsewhere", F_OK, 0), -1);
    }
    unlinkat(at, "index.db", 0);
    write_file_at(at, "index.db", "this is no database, it is words", 32);
    assert_distrusted("index.db: open: file is not a database");
    close(at);
}

static void test_a_log_of_another_life(void **state)
{
    (void)state;
    write_small_archive();
    int at = open(archive_path, O_RDONLY | O_DIRECTORY);
    char junk[40000];
    memset(junk, 0x5a, sizeof junk);
    write_file_at(at, "index.db-wal", junk, sizeof junk);
    assert_int_equal(differences(archive_path), 0);
    close(at);
}

static void test_missing_index(void **state)
{
    (void)state;
    write_small_archive();
    int at = open(archive_path, O_RDONLY | O_DIRECTORY);
    unlinkat(at, "index.db", 0);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_null(tape_index_open_read(archive, &error));
    assert_int_equal(error.status, TAPE_MISSING);
    assert_string_equal(error.text, "index.db is not there");
    tape_archive_close(archive);
    close(at);
}

static void test_reader_cannot_write(void **state)
{
    (void)state;
    write_small_archive();
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_index *index = tape_index_open_read(archive, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    assert_int_equal(tape_index_begin(index, &error), TAPE_USAGE);
    assert_string_equal(error.text, "index.db: opened for reading only");
    assert_int_equal(tape_index_catch_up(index, archive, summariser, NULL, NULL, &error),
                     TAPE_USAGE);
    assert_string_equal(error.text, "index.db: it cannot be brought up to date now");
    sqlite3 *db = tape_index_handle(index);
    assert_int_not_equal(sqlite3_exec(db, "DELETE FROM event", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(db, "ATTACH ':memory:' AS m", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(db, "SELECT load_extension('x')", NULL, NULL, NULL),
                         SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(db, "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
}

static void test_compare_words(void **state)
{
    (void)state;
    struct story story = {.now_ns = made_ns};
    story_start(&story, 1);
    story_open(&story, 1, "binance-usdm");
    story_trade(&story, 1, "btcusdt", 12);
    recorder_write(archive_path, &story, 1, 0);
    assert_int_equal(differences(archive_path), 0);
    meddle("UPDATE stream SET messages = 13, symbol = 'x' || char(27)");
    assert_int_equal(differences(archive_path), 1);
    assert_string_equal(told.first,
                        "stream 1 (\"btcusdt@trade\"): symbol \"x\\x1b\" in the index, \"btcusdt\" "
                        "in the segments; messages 13 in the index, 1 in the segments");
    meddle("UPDATE stream SET messages = 1, symbol = 'btcusdt'; DELETE FROM session");
    assert_int_equal(differences(archive_path), 1);
    assert_string_equal(told.first, "session 1: in the segments, not in the index");
    meddle("INSERT INTO session(session_id, day, started_ns) VALUES(1, 2, 3), (2, 2, 3)");
    assert_int_equal(differences(archive_path), 2);
    meddle("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
           "INSERT INTO gap(gap_id, kind, day, from_ns) SELECT i + 100, 'x', 1, 1 FROM n");
    assert_int_equal(differences(archive_path), 502);
    assert_int_equal(told.count, 100);
    story_free(&story);
}

static void test_read_only_directory(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        print_message("skipped: root may write everywhere (tests/part/index_dump.py covers it)\n");
        return;
    }
    write_small_archive();
    chmod(archive_path, 0550);
    assert_int_equal(differences(archive_path), 0);
    chmod(archive_path, 0750);
}

int main(void)
{
#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, open_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(test_rebuild_equals_live),
        WITH_DIRECTORY(test_story_fills_every_table),
        WITH_DIRECTORY(test_catch_up_inside_a_fragmented_message),
        WITH_DIRECTORY(test_lost_summary_is_refused),
        WITH_DIRECTORY(test_index_ahead_of_the_segments),
        WITH_DIRECTORY(test_damage_becomes_a_gap),
        WITH_DIRECTORY(test_damage_is_told_once),
        WITH_DIRECTORY(test_damage_before_the_last_record),
        WITH_DIRECTORY(test_full_disk),
        WITH_DIRECTORY(test_damaged_page),
        WITH_DIRECTORY(test_crafted_schema),
        WITH_DIRECTORY(test_crafted_rows),
        WITH_DIRECTORY(test_cut_and_flipped_files),
        WITH_DIRECTORY(test_what_is_no_file),
        WITH_DIRECTORY(test_a_log_of_another_life),
        WITH_DIRECTORY(test_missing_index),
        WITH_DIRECTORY(test_reader_cannot_write),
        WITH_DIRECTORY(test_compare_words),
        WITH_DIRECTORY(test_read_only_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
