#include "format/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/index_internal.h"

enum {
    PATH_BYTES = TAPE_ARCHIVE_PATH_BYTES + 4096,
    BUSY_MS = 5000,
    VALUE_MAX_BYTES = 1 << 20,
    SQL_MAX_BYTES = 1 << 20,
    WAL_KEPT_BYTES = 1 << 20,
    BAD_NAMES = 9,
};
#define CHECK_MAX_BYTES (256ll << 20) /* a larger file is not read whole at each opening */

static const char *const suffixes[] = {"-wal", "-shm", ""};

/* The file's path as SQLite wants it. "file:…" would be taken for a URI, hence the "./". */
static int path_of(const struct tape_archive *archive, char path[PATH_BYTES])
{
    const char *directory = tape_archive_path(archive);
    int bytes =
        snprintf(path, PATH_BYTES, "%s%s/index.db", directory[0] == '/' ? "" : "./", directory);
    return bytes < PATH_BYTES ? 0 : -1;
}

/* 1 when all of index.db, -wal and -shm are plain files or absent; 0 when one is anything else:
 * SQLite would follow a link and write where it leads. *bytes receives the length of index.db. */
static int are_plain(const struct tape_archive *archive, int64_t *bytes)
{
    int directory = tape_archive_directory_fd(archive);
    *bytes = -1;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[32];
        struct stat found;
        snprintf(name, sizeof name, "index.db%s", suffixes[i]);
        if (fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (!S_ISREG(found.st_mode))
            return 0;
        if (suffixes[i][0] == '\0')
            *bytes = found.st_size;
    }
    return 1;
}

static int execute(struct tape_index *index, const char *sql, const char *what,
                   struct tape_error *error)
{
    if (sqlite3_exec(index->db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return tape_index_fail(index, error, what);
}

/* Nothing in the file may run code or reach other files: SQLite's own advice for files of unknown
 * origin (its "Defense Against The Dark Arts"). */
static int harden(struct tape_index *index, struct tape_error *error)
{
    static const struct {
        int what, value;
    } switches[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},       {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},  {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0}, {SQLITE_DBCONFIG_DQS_DDL, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0},
    };
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
        if (sqlite3_db_config(index->db, switches[i].what, switches[i].value, NULL) != SQLITE_OK)
            return tape_index_fail(index, error, "configuration");
    sqlite3_extended_result_codes(index->db, 1);
    sqlite3_limit(index->db, SQLITE_LIMIT_LENGTH, VALUE_MAX_BYTES);
    sqlite3_limit(index->db, SQLITE_LIMIT_SQL_LENGTH, SQL_MAX_BYTES);
    sqlite3_limit(index->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(index->db, SQLITE_LIMIT_WORKER_THREADS, 0);
    sqlite3_busy_timeout(index->db, BUSY_MS);
    return execute(index,
                   "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;",
                   "configuration", error);
}

static int open_handle(struct tape_index *index, const char *path, int flags,
                       struct tape_error *error)
{
    int code = sqlite3_open_v2(path, &index->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (!index->db)
        return tape_error_errno(error, ENOMEM, "%s", index->name);
    if (code != SQLITE_OK)
        return tape_index_fail(index, error, "open");
    return harden(index, error);
}

static void close_handle(struct tape_index *index)
{
    for (int i = 0; i < TAPE_SUMMARY_ROWS; i++)
        sqlite3_finalize(index->rows[i]);
    for (int i = 0; i < TAPE_INDEX_STATEMENTS; i++)
        sqlite3_finalize(index->statements[i]);
    memset(index->rows, 0, sizeof index->rows);
    memset(index->statements, 0, sizeof index->statements);
    sqlite3_close(index->db);
    index->db = NULL;
}

/* The first column of the first row as a number, or fallback. */
static int64_t ask_number(struct tape_index *index, const char *sql, int64_t fallback)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = fallback;
    if (sqlite3_prepare_v2(index->db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static int create_schema(struct tape_index *index, struct tape_error *error)
{
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             TAPE_INDEX_APPLICATION_ID, TAPE_INDEX_VERSION);
    int status = tape_index_begin(index, error);
    if (status == 0)
        status = execute(index, sql, "create", error);
    if (status == 0)
        status = execute(index, tape_index_schema, "create", error);
    if (status == 0)
        status = tape_index_put_identity(index, error);
    if (status == 0)
        return tape_index_commit(index, error);
    tape_index_rollback(index);
    return status;
}

/* ---- is it ours, and whole? ---- */

static int distrust(struct tape_index *index, struct tape_error *error, const char *words)
{
    index->corrupt = 1;
    return tape_error_set(error, TAPE_CORRUPT, "%s: %s", index->name, words);
}

static const char schema_query[] =
    "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema "
    "WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name";

/* 1 when both statements give the same rows of four texts. */
static int same_rows(sqlite3_stmt *left, sqlite3_stmt *right)
{
    for (;;) {
        int a = sqlite3_step(left), b = sqlite3_step(right);
        if (a != SQLITE_ROW || b != SQLITE_ROW)
            return a == SQLITE_DONE && b == SQLITE_DONE;
        for (int i = 0; i < 4; i++) {
            const char *one = (const char *)sqlite3_column_text(left, i);
            const char *other = (const char *)sqlite3_column_text(right, i);
            if (!one || !other || strcmp(one, other) != 0)
                return 0;
        }
    }
}

/* The schema is compared with a fresh one, word by word: no trigger, no foreign view, no virtual
 * table, no other column order can be in a file that passes. */
static int check_schema(struct tape_index *index, struct tape_error *error)
{
    sqlite3 *fresh = NULL;
    sqlite3_stmt *left = NULL, *right = NULL;
    int same = 0;
    if (sqlite3_open_v2(":memory:", &fresh, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) ==
            SQLITE_OK &&
        sqlite3_exec(fresh, tape_index_schema, NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(fresh, schema_query, -1, &left, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(index->db, schema_query, -1, &right, NULL) == SQLITE_OK)
        same = same_rows(left, right);
    sqlite3_finalize(left);
    sqlite3_finalize(right);
    sqlite3_close(fresh);
    return same ? 0 : distrust(index, error, "its schema is not ours");
}

static int check_pages(struct tape_index *index, int64_t bytes, struct tape_error *error)
{
    sqlite3_stmt *statement = NULL;
    int good = 0;
    if (bytes > CHECK_MAX_BYTES)
        return 0;
    if (sqlite3_prepare_v2(index->db, "PRAGMA quick_check(1)", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        const char *words = (const char *)sqlite3_column_text(statement, 0);
        good = words && strcmp(words, "ok") == 0;
    }
    sqlite3_finalize(statement);
    return good ? 0 : distrust(index, error, "its pages are damaged");
}

static int check_identity(struct tape_index *index, struct tape_error *error)
{
    char id[33];
    const uint8_t *bytes = tape_archive_id(index->archive);
    sqlite3_stmt *statement = tape_index_statement(index, TAPE_INDEX_GET_META);
    int same = 0;
    for (int i = 0; i < 16; i++)
        snprintf(id + i * 2, 3, "%02x", bytes[i]);
    if (!statement)
        return tape_index_fail(index, error, "meta");
    sqlite3_bind_text(statement, 1, "archive_id", -1, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        const char *value = (const char *)sqlite3_column_text(statement, 0);
        same = value && strcmp(value, id) == 0;
    }
    sqlite3_reset(statement);
    return same ? 0 : distrust(index, error, "it belongs to another archive");
}

static int check_file(struct tape_index *index, int64_t bytes, struct tape_error *error)
{
    /* asks for the first page: an error here is SQLite's own word on the file */
    int status = execute(index, "SELECT count(*) FROM sqlite_schema", "open", error);
    if (status < 0)
        return status;
    if (ask_number(index, "PRAGMA application_id", 0) != TAPE_INDEX_APPLICATION_ID)
        return distrust(index, error, "it is some other program's database");
    if (ask_number(index, "PRAGMA user_version", 0) != TAPE_INDEX_VERSION)
        return distrust(index, error, "it is of another version");
    status = check_schema(index, error);
    if (status == 0)
        status = check_pages(index, bytes, error);
    if (status == 0)
        status = check_identity(index, error);
    if (status == 0)
        status = tape_index_load_place(index, error);
    return status;
}

/* ---- the recorder's ---- */

/* The log first: were index.db moved and the log left by a crash, SQLite would apply the old log to
 * the new file. */
static int move_aside(const struct tape_archive *archive, struct tape_error *error)
{
    int directory = tape_archive_directory_fd(archive);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char from[32], to[48];
        int done = -1;
        snprintf(from, sizeof from, "index.db%s", suffixes[i]);
        /* a directory that is in the way of the first name may not be in that of the others */
        for (int n = 1; n <= BAD_NAMES && done < 0; n++) {
            if (n == 1)
                snprintf(to, sizeof to, "index.db.bad%s", suffixes[i]);
            else
                snprintf(to, sizeof to, "index.db.bad%d%s", n, suffixes[i]);
            done = renameat(directory, from, directory, to);
            if (done < 0 && errno == ENOENT)
                done = 0;
            if (done < 0 && errno != ENOTDIR && errno != EISDIR && errno != ENOTEMPTY &&
                errno != EEXIST)
                break;
        }
        if (done < 0)
            return tape_error_errno(error, errno, "%s cannot be moved to %s", from, to);
    }
    return 0;
}

/* Only what was found to be ours, or is empty, is turned into our way of writing. */
static int set_journal(struct tape_index *index, struct tape_error *error)
{
    char sql[128];
    int keep = 1;
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
             "PRAGMA journal_size_limit = %d;",
             WAL_KEPT_BYTES);
    sqlite3_file_control(index->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    return execute(index, sql, "open", error);
}

static int open_for_writing(struct tape_index *index, struct tape_error *error)
{
    char path[PATH_BYTES];
    int64_t bytes;
    if (path_of(index->archive, path) < 0)
        return tape_error_set(error, TAPE_USAGE, "%s: its path is too long", index->name);
    if (!are_plain(index->archive, &bytes))
        return distrust(index, error, "it is not a plain file");
    int status = open_handle(index, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
    if (status < 0)
        return status;
    /* an empty file is what a crash while making it leaves */
    if (ask_number(index, "SELECT count(*) FROM sqlite_schema", -1) == 0 &&
        ask_number(index, "PRAGMA application_id", -1) == 0) {
        status = set_journal(index, error);
        return status < 0 ? status : create_schema(index, error);
    }
    status = check_file(index, bytes, error);
    return status < 0 ? status : set_journal(index, error);
}

static struct tape_index *allocate(struct tape_archive *archive, struct tape_error *error)
{
    struct tape_index *index = calloc(1, sizeof *index);
    if (!index) {
        tape_error_errno(error, ENOMEM, "index.db");
        return NULL;
    }
    index->archive = archive;
    index->name = "index.db";
    return index;
}

struct tape_index *tape_index_open(struct tape_archive *archive, int *rebuilt,
                                   struct tape_error *error)
{
    struct tape_index *index = allocate(archive, error);
    if (rebuilt)
        *rebuilt = 0;
    if (!index)
        return NULL;
    index->writes = index->in_file = 1;
    int status = open_for_writing(index, error);
    if (status == TAPE_CORRUPT) {
        close_handle(index);
        index->corrupt = 0;
        index->now = index->committed = (struct tape_index_place){0};
        status = move_aside(archive, error);
        if (status == 0)
            status = open_for_writing(index, error);
        if (status == 0 && rebuilt)
            *rebuilt = 1;
    }
    if (status < 0) {
        index->corrupt = 0;
        tape_index_close(index);
        return NULL;
    }
    return index;
}

struct tape_index *tape_index_open_beside(struct tape_archive *archive, struct tape_error *error)
{
    char path[PATH_BYTES];
    int64_t bytes;
    struct tape_index *index = allocate(archive, error);
    if (!index)
        return NULL;
    index->writes = 1;
    int status = path_of(archive, path) < 0
                     ? tape_error_set(error, TAPE_USAGE, "%s: its path is too long", index->name)
                 : !are_plain(archive, &bytes)
                     ? distrust(index, error, "it is not a plain file")
                     : open_handle(index, path, SQLITE_OPEN_READWRITE, error);
    if (status == 0)
        status = check_file(index, CHECK_MAX_BYTES + 1, error);
    if (status == 0)
        status = set_journal(index, error);
    if (status < 0) {
        tape_index_close(index);
        return NULL;
    }
    return index;
}

void tape_index_set_patience(struct tape_index *index, int milliseconds)
{
    sqlite3_busy_timeout(index->db, milliseconds);
}

void tape_index_close(struct tape_index *index)
{
    if (!index)
        return;
    if (index->db) {
        tape_index_rollback(index);
        close_handle(index);
    }
    /* what SQLite itself called corrupt while it was written begins anew at the next opening */
    if (index->corrupt && index->writes && index->in_file)
        move_aside(index->archive, NULL);
    free(index);
}

/* ---- readers' ---- */

struct tape_index *tape_index_open_memory(struct tape_archive *archive, struct tape_error *error)
{
    struct tape_index *index = allocate(archive, error);
    if (!index)
        return NULL;
    index->writes = 1;
    index->name = "index in memory";
    int status = open_handle(index, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
    if (status == 0)
        status = create_schema(index, error);
    if (status < 0) {
        tape_index_close(index);
        return NULL;
    }
    return index;
}

struct tape_index *tape_index_open_bytes(struct tape_archive *archive, const char *name, void *data,
                                         int64_t bytes, struct tape_error *error)
{
    struct tape_index *index = allocate(archive, error);
    int status = index ? 0 : TAPE_FAILED, given = 0;
    if (status == 0) {
        index->writes = 1;
        index->name = name;
        status = open_handle(index, ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error);
    }
    if (status == 0) {
        given = 1; /* whether it succeeds or not, SQLite frees them */
        if (sqlite3_deserialize(index->db, "main", data, bytes, bytes,
                                SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE) !=
            SQLITE_OK)
            status = tape_index_fail(index, error, "open");
    }
    if (status == 0)
        status = check_file(index, bytes, error);
    if (!given)
        sqlite3_free(data);
    if (status == 0)
        return index;
    tape_index_close(index);
    return NULL;
}

/* A path as part of a URI. */
static int escape_path(const char *path, char *to, size_t room)
{
    size_t used = (size_t)snprintf(to, room, "file:");
    for (; *path; path++) {
        if (used + 32 > room)
            return -1;
        if (strchr("%?#", *path))
            used += (size_t)snprintf(to + used, room - used, "%%%02x", (unsigned char)*path);
        else
            to[used++] = *path;
    }
    snprintf(to + used, room - used, "?immutable=1");
    return 0;
}

/* 1 when index.db holds everything by itself: its log is absent or empty and nobody writes. */
static int stands_alone(const struct tape_archive *archive)
{
    struct stat found;
    struct tape_archive_owner owner;
    int absent = fstatat(tape_archive_directory_fd(archive), "index.db-wal", &found,
                         AT_SYMLINK_NOFOLLOW) < 0;
    if (!absent && found.st_size > 0)
        return 0;
    return tape_archive_read_owner(archive, &owner, NULL) < 0 || !owner.held;
}

static int open_for_reading(struct tape_index *index, int64_t bytes, struct tape_error *error)
{
    char path[PATH_BYTES], uri[3 * PATH_BYTES];
    if (path_of(index->archive, path) < 0)
        return tape_error_set(error, TAPE_USAGE, "%s: its path is too long", index->name);
    int status = open_handle(index, path, SQLITE_OPEN_READONLY, error);
    if (status == 0)
        status = check_file(index, bytes, error);
    /* Without -wal and -shm beside it SQLite wants to make them, which a reader may not. */
    if (status == TAPE_FAILED && stands_alone(index->archive) &&
        escape_path(path, uri, sizeof uri) == 0) {
        close_handle(index);
        status = open_handle(index, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, error);
        if (status == 0)
            status = check_file(index, bytes, error);
    }
    return status == 0 ? execute(index, "PRAGMA query_only = ON", "open", error) : status;
}

struct tape_index *tape_index_open_read(struct tape_archive *archive, struct tape_error *error)
{
    int64_t bytes;
    struct tape_index *index = allocate(archive, error);
    if (!index)
        return NULL;
    index->in_file = 1;
    int status = !are_plain(archive, &bytes) ? distrust(index, error, "it is not a plain file")
                 : bytes < 0 ? tape_error_set(error, TAPE_MISSING, "%s is not there", index->name)
                             : open_for_reading(index, bytes, error);
    if (status < 0) {
        tape_index_close(index);
        return NULL;
    }
    return index;
}

uint64_t tape_index_next_ordinal(struct tape_index *index)
{
    return index->now.next_ordinal;
}

uint64_t tape_index_pruned_ordinal(struct tape_index *index)
{
    return index->now.pruned_ordinal;
}

uint32_t tape_index_last_session(struct tape_index *index)
{
    return index->now.session;
}

uint32_t tape_index_last_connection(struct tape_index *index)
{
    return index->now.connection;
}

struct sqlite3 *tape_index_handle(struct tape_index *index)
{
    return index->db;
}
