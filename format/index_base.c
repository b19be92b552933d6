#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/index_internal.h"
#include "format/summary.h"

/*
 * pruned.db is a SQLite file as serialised from memory: read whole and checked like index.db,
 * written whole under another name, synced, renamed. While a segment is being deleted there are
 * two: with the segment still there its first record comes before what pruned.db.next knows, and
 * pruned.db counts; without it pruned.db.next does.
 */
static const char settled_name[] = "pruned.db", pending_name[] = "pruned.db.next";

#define FILE_MAX_BYTES (256ll << 20)

/* Those whose rows are numbered, and of which the base keeps what may matter later. A row that is
 * over when the base is made goes, but for the last: numbers are never used again. */
static const struct {
    const char *table, *key, *drop;
} histories[] = {
    {"subscription", "subscription_id",
     "DELETE FROM subscription WHERE connection_id NOT IN "
     "(SELECT connection_id FROM connection WHERE closed_ns IS NULL) "
     "AND subscription_id < (SELECT max(subscription_id) FROM subscription)"},
    {"connection", "connection_id",
     "DELETE FROM connection WHERE closed_ns IS NOT NULL "
     "AND coalesce(session_id, 0) < (SELECT coalesce(max(session_id), 0) FROM session) "
     "AND connection_id < (SELECT max(connection_id) FROM connection WHERE coalesce(session_id, 0) "
     "< (SELECT coalesce(max(session_id), 0) FROM session))"},
    {"session", "session_id",
     "DELETE FROM session WHERE session_id < (SELECT max(session_id) FROM session)"},
    {"gap", "gap_id",
     "DELETE FROM gap WHERE to_ns IS NOT NULL AND gap_id < (SELECT max(gap_id) FROM gap)"},
};
enum { HISTORIES = sizeof histories / sizeof histories[0] };

/* Those whose rows are about single records, by ordinal. */
static const struct {
    const char *table, *key;
} record_tables[] = {
    {"block", "block_id"}, {"block_stream", "first_ordinal"},
    {"clock", "ordinal"},  {"delay", "ordinal"},
    {"event", "ordinal"},
};
enum { RECORD_TABLES = sizeof record_tables / sizeof record_tables[0] };

/* ---- SQL ---- */

/* Runs one statement with up to three numbers. */
static int run(struct tape_index *index, const char *sql, const int64_t *numbers, int count,
               struct tape_error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(index->db, sql, -1, &statement, NULL);
    for (int i = 0; code == SQLITE_OK && i < count; i++)
        code = sqlite3_bind_int64(statement, i + 1, numbers[i]);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    int status = code == SQLITE_DONE ? 0 : tape_index_fail(index, error, "prune");
    sqlite3_finalize(statement);
    return status;
}

static int drop_records(struct tape_index *index, uint64_t before, struct tape_error *error)
{
    char sql[96];
    int64_t number = (int64_t)before;
    int status = 0;
    for (int i = 0; status == 0 && i < RECORD_TABLES; i++) {
        snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s < ?1", record_tables[i].table,
                 record_tables[i].key);
        status = run(index, sql, &number, 1, error);
    }
    return status;
}

/* ---- the index forgets what the base has forgotten ---- */

/* Of the rows up to the base's last those that it has not. */
static int drop_between(struct tape_index *index, struct tape_index *base, int history,
                        struct tape_error *error)
{
    const char *table = histories[history].table, *key = histories[history].key;
    sqlite3_stmt *kept = NULL;
    char sql[96];
    int64_t ends[2] = {0, 0};
    int code, status = 0;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s ORDER BY %s", key, table, key);
    if (sqlite3_prepare_v2(base->db, sql, -1, &kept, NULL) != SQLITE_OK)
        return tape_index_fail(base, error, "prune");
    snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s > ?1 AND %s < ?2", table, key, key);
    while (status == 0 && (code = sqlite3_step(kept)) == SQLITE_ROW) {
        ends[1] = sqlite3_column_int64(kept, 0);
        if (ends[1] - ends[0] > 1)
            status = run(index, sql, ends, 2, error);
        ends[0] = ends[1];
    }
    if (status == 0 && code != SQLITE_DONE)
        status = tape_index_fail(base, error, "prune");
    sqlite3_finalize(kept);
    return status;
}

static int copy_pruned_sums(struct tape_index *index, struct tape_index *base,
                            struct tape_error *error)
{
    static const char update[] =
        "UPDATE stream SET pruned_messages = ?2, pruned_bytes = ?3 WHERE stream_id = ?1 "
        "AND (pruned_messages <> ?2 OR pruned_bytes <> ?3)";
    sqlite3_stmt *rows = NULL;
    int code, status = 0;
    if (sqlite3_prepare_v2(base->db, "SELECT stream_id, pruned_messages, pruned_bytes FROM stream",
                           -1, &rows, NULL) != SQLITE_OK)
        return tape_index_fail(base, error, "prune");
    while (status == 0 && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        int64_t values[3];
        for (int i = 0; i < 3; i++)
            values[i] = sqlite3_column_int64(rows, i);
        status = run(index, update, values, 3, error);
    }
    if (status == 0 && code != SQLITE_DONE)
        status = tape_index_fail(base, error, "prune");
    sqlite3_finalize(rows);
    return status;
}

/* Rows of segments that are not listed any more, and of which no record is left. */
static int drop_segments(struct tape_index *index, const struct tape_archive *archive,
                         uint64_t before, struct tape_error *error)
{
    static const char drop[] = "DELETE FROM segment WHERE segment_id > ?1 AND segment_id < ?2 "
                               "AND coalesce(next_ordinal, 0) <= ?3";
    const struct tape_archive_entry *entry;
    int64_t values[3] = {0, 0, (int64_t)before};
    int status = 0;
    for (int i = 0; status == 0 && (entry = tape_archive_entry(archive, i)) != NULL; i++) {
        values[1] = entry->sequence;
        if (values[1] - values[0] > 1)
            status = run(index, drop, values, 3, error);
        values[0] = entry->sequence;
    }
    return status;
}

int tape_index_prune(struct tape_index *index, struct tape_index *base,
                     const struct tape_archive *archive, struct tape_error *error)
{
    uint64_t before = base->now.pruned_ordinal;
    int status = tape_index_begin(index, error);
    /* another connection may have added to it since the last transaction of this one */
    if (status == 0)
        status = tape_index_load_place(index, error);
    if (status == 0 && before > index->now.next_ordinal)
        status =
            tape_error_set(error, TAPE_USAGE, "%s: it ends before what was pruned", index->name);
    if (status == 0)
        status = drop_records(index, before, error);
    for (int i = 0; status == 0 && i < HISTORIES; i++)
        status = drop_between(index, base, i, error);
    if (status == 0)
        status = drop_segments(index, archive, before, error);
    if (status == 0)
        status = copy_pruned_sums(index, base, error);
    index->now.pruned_ordinal = before;
    if (status == 0)
        status = tape_index_put_pruned(index, error);
    if (status == 0)
        return tape_index_commit(index, error);
    tape_index_rollback(index);
    return status;
}

/* ---- an index that begins with the base ---- */

static int copy_row(sqlite3_stmt *from, sqlite3_stmt *to)
{
    int code = SQLITE_OK;
    for (int i = 0; code == SQLITE_OK && i < sqlite3_column_count(from); i++)
        code = sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
    if (code == SQLITE_OK)
        code = sqlite3_step(to);
    sqlite3_reset(to);
    return code == SQLITE_DONE;
}

static int copy_table(struct tape_index *index, struct tape_index *base, const char *table,
                      struct tape_error *error)
{
    char sql[512];
    sqlite3_stmt *from = NULL, *to = NULL;
    int code = SQLITE_ERROR, good = 1;
    snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY 1", table);
    int status = sqlite3_prepare_v2(base->db, sql, -1, &from, NULL) == SQLITE_OK
                     ? 0
                     : tape_index_fail(base, error, "copy");
    size_t used = (size_t)snprintf(sql, sizeof sql, "INSERT INTO %s VALUES(?1", table);
    for (int i = 1; status == 0 && i < sqlite3_column_count(from); i++)
        used += (size_t)snprintf(sql + used, sizeof sql - used, ", ?%d", i + 1);
    snprintf(sql + used, sizeof sql - used, ")");
    if (status == 0 && sqlite3_prepare_v2(index->db, sql, -1, &to, NULL) != SQLITE_OK)
        status = tape_index_fail(index, error, "copy");
    while (status == 0 && good && (code = sqlite3_step(from)) == SQLITE_ROW)
        good = copy_row(from, to);
    if (status == 0 && !good)
        status = tape_index_fail(index, error, "copy");
    else if (status == 0 && code != SQLITE_DONE)
        status = tape_index_fail(base, error, "copy");
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    return status;
}

int tape_index_adopt(struct tape_index *index, struct tape_index *base, struct tape_error *error)
{
    int status = tape_index_begin(index, error);
    if (status < 0)
        return status;
    for (int i = 0; status == 0 && i < HISTORIES; i++)
        status = copy_table(index, base, histories[i].table, error);
    if (status == 0)
        status = copy_table(index, base, "stream", error);
    if (status == 0)
        status = copy_table(index, base, "pruned", error);
    index->now = base->now;
    if (status == 0)
        status = tape_index_put_pruned(index, error);
    if (status == 0)
        return tape_index_commit(index, error);
    tape_index_rollback(index);
    return status;
}

/* ---- the base goes on ---- */

/* What was told after the last record (damage) is in no block's summary yet. */
static int apply_rest(struct tape_index *base, struct tape_summariser *summariser,
                      struct tape_error *error)
{
    struct tape_block_header none = {0};
    struct tape_summary *summary = tape_summariser_take(summariser, &none, 0);
    if (!summary)
        return tape_error_set(error, TAPE_FAILED, "%s: no memory for a summary", base->name);
    int status = tape_index_begin(base, error);
    if (status == 0)
        status = tape_index_apply(base, summary, error);
    tape_summary_free(summary);
    return status;
}

static int forget(struct tape_index *base, uint64_t until, struct tape_error *error)
{
    int status = drop_records(base, until, error);
    for (int i = 0; status == 0 && i < HISTORIES; i++)
        status = run(base, histories[i].drop, NULL, 0, error);
    if (status == 0)
        status = run(base, "DELETE FROM segment", NULL, 0, error);
    if (status == 0)
        status = run(base, "UPDATE stream SET pruned_messages = messages, pruned_bytes = bytes",
                     NULL, 0, error);
    base->now.next_ordinal = base->now.resume_ordinal = base->now.pruned_ordinal = until;
    return status < 0 ? status : tape_index_put_pruned(base, error);
}

int tape_index_advance_base(struct tape_index *base, struct tape_archive *archive, uint64_t until,
                            struct tape_error *error)
{
    struct tape_summariser *summariser = tape_summariser_new(error);
    if (!summariser)
        return TAPE_FAILED;
    int status = tape_index_fold_until(base, archive, summariser, until, error);
    if (status == 0)
        status = apply_rest(base, summariser, error);
    tape_summariser_free(summariser);
    int whole = base->now.resume_ordinal == base->now.next_ordinal;
    if (status == 0 && whole)
        status = forget(base, until, error);
    if (status == 0)
        status = tape_index_commit(base, error);
    tape_index_rollback(base);
    return status < 0 ? status : whole;
}

/* ---- the files ---- */

/* The whole file, as SQLite wants it to own it. NULL with a status: TAPE_MISSING when there is
 * none. */
static void *read_file(const struct tape_archive *archive, const char *name, int64_t *bytes,
                       struct tape_error *error)
{
    struct stat found;
    void *data = NULL;
    int fd = openat(tape_archive_directory_fd(archive), name,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            tape_error_set(error, TAPE_MISSING, "%s is not there", name);
        else
            tape_error_errno(error, errno, "%s: open", name);
        return NULL;
    }
    *bytes = 0;
    if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode) || found.st_size <= 0 ||
        found.st_size > FILE_MAX_BYTES)
        tape_error_set(error, TAPE_CORRUPT, "%s: it is no plain file of up to 256 MiB", name);
    else if ((data = sqlite3_malloc64((sqlite3_uint64)found.st_size)) == NULL)
        tape_error_errno(error, ENOMEM, "%s", name);
    while (data && *bytes < found.st_size) {
        ssize_t got = pread(fd, (char *)data + *bytes, (size_t)(found.st_size - *bytes), *bytes);
        if (got <= 0) {
            tape_error_errno(error, got < 0 ? errno : EIO, "%s: read", name);
            sqlite3_free(data);
            data = NULL;
        } else {
            *bytes += got;
        }
    }
    close(fd);
    return data;
}

static struct tape_index *load(struct tape_archive *archive, const char *name,
                               struct tape_error *error)
{
    int64_t bytes;
    void *data = read_file(archive, name, &bytes, error);
    struct tape_index *base =
        data ? tape_index_open_bytes(archive, name, data, bytes, error) : NULL;
    if (!base)
        return NULL;
    if (base->now.pruned_ordinal > 0 && base->now.pruned_ordinal == base->now.next_ordinal &&
        base->now.pruned_ordinal == base->now.resume_ordinal)
        return base;
    tape_error_set(error, TAPE_CORRUPT, "%s: it tells nothing of pruned records", name);
    tape_index_close(base);
    return NULL;
}

/* The first record that is there, as the headers say. */
static int find_first_ordinal(struct tape_archive *archive, uint64_t *ordinal,
                              struct tape_error *error)
{
    int count = tape_archive_scan(archive, error);
    *ordinal = UINT64_MAX;
    for (int i = 0; i < count && *ordinal == UINT64_MAX; i++) {
        struct tape_segment_info info = {0};
        struct tape_segment *segment =
            tape_archive_open_segment(archive, tape_archive_entry(archive, i), NULL);
        if (!segment)
            continue;
        tape_segment_read_info(segment, &info);
        tape_segment_close(segment);
        if (info.blocks > 0)
            *ordinal = info.first_ordinal;
    }
    return count < 0 ? count : 0;
}

struct tape_index *tape_index_open_base(struct tape_archive *archive, int *pending,
                                        struct tape_error *error)
{
    struct tape_error trouble = {0};
    uint64_t first;
    if (pending)
        *pending = 0;
    struct tape_index *next = load(archive, pending_name, &trouble);
    struct tape_index *base = load(archive, settled_name, next ? NULL : error);
    if (!next && !base)
        return NULL;
    int status = find_first_ordinal(archive, &first, error);
    if (status == 0 && next && next->now.pruned_ordinal <= first) {
        tape_index_close(base);
        if (pending)
            *pending = 1;
        return next;
    }
    tape_index_close(next);
    if (status == 0 && base && base->now.pruned_ordinal <= first)
        return base;
    if (status == 0)
        tape_error_set(error, base ? TAPE_CORRUPT : TAPE_MISSING, "%s %s", settled_name,
                       base ? "knows of records that are there" : "is not there");
    tape_index_close(base);
    return NULL;
}

uint64_t tape_index_find_pruned(struct tape_archive *archive)
{
    /* in this order: what is settled between the two is met under its new name */
    static const char *const names[] = {pending_name, settled_name};
    uint64_t most = 0;
    for (int i = 0; i < 2; i++) {
        struct tape_index *base = load(archive, names[i], NULL);
        if (base && base->now.pruned_ordinal > most)
            most = base->now.pruned_ordinal;
        tape_index_close(base);
    }
    return most;
}

static int write_file(int directory, const void *data, int64_t bytes, struct tape_error *error)
{
    int64_t done = 0;
    int status = 0;
    if (unlinkat(directory, pending_name, 0) < 0 && errno != ENOENT)
        return tape_error_errno(error, errno, "%s: replace", pending_name);
    int fd =
        openat(directory, pending_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return tape_error_errno(error, errno, "%s: create", pending_name);
    while (status == 0 && done < bytes) {
        ssize_t put = write(fd, (const char *)data + done, (size_t)(bytes - done));
        if (put > 0)
            done += put;
        else if (put == 0 || errno != EINTR)
            status = tape_error_errno(error, put == 0 ? ENOSPC : errno, "%s: write", pending_name);
    }
    if (status == 0 && fsync(fd) < 0)
        status = tape_error_errno(error, errno, "%s: sync", pending_name);
    close(fd);
    if (status == 0 && fsync(directory) < 0)
        status = tape_error_errno(error, errno, "%s: sync its directory", pending_name);
    if (status < 0)
        unlinkat(directory, pending_name, 0); /* gives its space back */
    return status;
}

int tape_index_save_base(struct tape_index *base, struct tape_archive *archive,
                         struct tape_error *error)
{
    sqlite3_int64 bytes = 0;
    void *data = sqlite3_serialize(base->db, "main", &bytes, 0);
    if (!data)
        return tape_error_errno(error, ENOMEM, "%s", pending_name);
    int status = bytes > FILE_MAX_BYTES
                     ? tape_error_set(error, TAPE_LIMIT, "%s: longer than 256 MiB", pending_name)
                     : write_file(tape_archive_directory_fd(archive), data, bytes, error);
    sqlite3_free(data);
    return status;
}

int tape_index_settle_base(struct tape_archive *archive, struct tape_error *error)
{
    int directory = tape_archive_directory_fd(archive);
    if (renameat(directory, pending_name, directory, settled_name) < 0)
        return tape_error_errno(error, errno, "%s: rename to %s", pending_name, settled_name);
    if (fsync(directory) < 0)
        return tape_error_errno(error, errno, "%s: sync its directory", settled_name);
    return 0;
}
