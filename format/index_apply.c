#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/index_internal.h"

static const char *const row_sql[TAPE_SUMMARY_ROWS] = {
#define ROW_SQL(name, values, sql) sql,
    TAPE_SUMMARY_ROW_TABLE(ROW_SQL)
#undef ROW_SQL
};

static const char *const row_words[TAPE_SUMMARY_ROWS] = {
#define ROW_WORD(name, values, sql) #name,
    TAPE_SUMMARY_ROW_TABLE(ROW_WORD)
#undef ROW_WORD
};

static const int row_values[TAPE_SUMMARY_ROWS] = {
#define ROW_VALUES(name, values, sql) values,
    TAPE_SUMMARY_ROW_TABLE(ROW_VALUES)
#undef ROW_VALUES
};

static const char *const statement_sql[TAPE_INDEX_STATEMENTS] = {
#define STATEMENT_SQL(name, sql) sql,
    TAPE_INDEX_STATEMENT_TABLE(STATEMENT_SQL)
#undef STATEMENT_SQL
};

static sqlite3_stmt *prepare(struct tape_index *index, sqlite3_stmt **kept, const char *sql)
{
    if (*kept) {
        sqlite3_reset(*kept);
        return *kept;
    }
    if (sqlite3_prepare_v3(index->db, sql, -1, SQLITE_PREPARE_PERSISTENT, kept, NULL) != SQLITE_OK)
        return NULL;
    return *kept;
}

struct sqlite3_stmt *tape_index_statement(struct tape_index *index, int which)
{
    return prepare(index, &index->statements[which], statement_sql[which]);
}

int tape_index_fail(struct tape_index *index, struct tape_error *error, const char *what)
{
    int code = sqlite3_extended_errcode(index->db), status = TAPE_FAILED;
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT: /* the state in it contradicts itself */
    case SQLITE_MISMATCH:
    case SQLITE_ERROR: /* no such table or column: our own SQL is fixed */
        status = TAPE_CORRUPT;
        index->corrupt = 1;
        break;
    case SQLITE_FULL:
        status = TAPE_FULL;
        break;
    case SQLITE_BUSY:
        status = TAPE_LOCKED;
        break;
    }
    return tape_error_set(error, status, "%s: %s: %s", index->name, what,
                          sqlite3_errmsg(index->db));
}

static int run(struct tape_index *index, int which, const char *what, struct tape_error *error)
{
    sqlite3_stmt *statement = tape_index_statement(index, which);
    int code = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    int status = code == SQLITE_DONE ? 0 : tape_index_fail(index, error, what);
    if (statement)
        sqlite3_reset(statement);
    return status;
}

void tape_index_rollback(struct tape_index *index)
{
    if (!index->in_transaction)
        return;
    /* SQLite may have rolled back by itself (full disk); then there is nothing left to undo */
    if (!sqlite3_get_autocommit(index->db))
        run(index, TAPE_INDEX_ROLLBACK, "rollback", NULL);
    index->now = index->committed;
    index->in_transaction = 0;
}

int tape_index_begin(struct tape_index *index, struct tape_error *error)
{
    if (!index->writes)
        return tape_error_set(error, TAPE_USAGE, "%s: opened for reading only", index->name);
    if (index->in_transaction)
        return tape_error_set(error, TAPE_USAGE, "%s: a transaction is open", index->name);
    int status = run(index, TAPE_INDEX_BEGIN, "begin", error);
    if (status == 0)
        index->in_transaction = 1;
    return status;
}

static int put_meta(struct tape_index *index, const char *key, const char *value,
                    struct tape_error *error)
{
    sqlite3_stmt *statement = tape_index_statement(index, TAPE_INDEX_PUT_META);
    if (!statement || sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(statement, 2, value, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_DONE)
        return tape_index_fail(index, error, "meta");
    sqlite3_reset(statement);
    return 0;
}

static int put_place(struct tape_index *index, struct tape_error *error)
{
    const struct {
        const char *key;
        int64_t value;
    } items[] = {
        {"next_ordinal", (int64_t)index->now.next_ordinal},
        {"resume_ordinal", (int64_t)index->now.resume_ordinal},
        {"last_ns", index->now.last_ns},
    };
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        char text[24];
        snprintf(text, sizeof text, "%" PRId64, items[i].value);
        int status = put_meta(index, items[i].key, text, error);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Not with every commit: another connection than the recorder's may have pruned meanwhile. */
int tape_index_put_pruned(struct tape_index *index, struct tape_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, index->now.pruned_ordinal);
    return put_meta(index, "pruned_ordinal", text, error);
}

int tape_index_put_identity(struct tape_index *index, struct tape_error *error)
{
    char id[33], version[12];
    const uint8_t *bytes = tape_archive_id(index->archive);
    for (int i = 0; i < 16; i++)
        snprintf(id + i * 2, 3, "%02x", bytes[i]);
    snprintf(version, sizeof version, "%d", TAPE_INDEX_VERSION);
    int status = put_meta(index, "archive_id", id, error);
    if (status == 0)
        status = put_meta(index, "format_version", version, error);
    if (status == 0)
        status = put_place(index, error);
    return status < 0 ? status : tape_index_put_pruned(index, error);
}

int tape_index_commit(struct tape_index *index, struct tape_error *error)
{
    if (!index->in_transaction)
        return tape_error_set(error, TAPE_USAGE, "%s: no transaction is open", index->name);
    int status = put_place(index, error);
    if (status == 0)
        status = run(index, TAPE_INDEX_COMMIT, "commit", error);
    if (status < 0) {
        tape_index_rollback(index);
        return status;
    }
    index->committed = index->now;
    index->in_transaction = 0;
    return 0;
}

static int apply_row(struct tape_index *index, int row, const struct tape_summary_value *values)
{
    sqlite3_stmt *statement = prepare(index, &index->rows[row], row_sql[row]);
    if (!statement)
        return -1;
    for (int i = 0; i < row_values[row]; i++) {
        int code;
        if (values[i].text)
            code = sqlite3_bind_text(statement, i + 1, values[i].text, (int)values[i].bytes,
                                     SQLITE_STATIC);
        else if (values[i].number == TAPE_SUMMARY_NONE)
            code = sqlite3_bind_null(statement, i + 1);
        else
            code = sqlite3_bind_int64(statement, i + 1, values[i].number);
        if (code != SQLITE_OK)
            return -1;
    }
    if (sqlite3_step(statement) != SQLITE_DONE)
        return -1;
    sqlite3_reset(statement);
    return 0;
}

int tape_index_apply_rows(struct tape_index *index, const struct tape_summary_rows *rows,
                          struct tape_error *error)
{
    struct tape_summary_value values[TAPE_SUMMARY_VALUES_MAX];
    size_t at = 0;
    int row;
    while ((row = tape_summary_rows_next(rows, &at, values)) >= 0) {
        if (apply_row(index, row, values) == 0)
            continue;
        int status = tape_index_fail(index, error, row_words[row]);
        if (index->rows[row])
            sqlite3_reset(index->rows[row]);
        return status;
    }
    return 0;
}

int tape_index_apply(struct tape_index *index, const struct tape_summary *summary,
                     struct tape_error *error)
{
    if (!index->in_transaction)
        return tape_error_set(error, TAPE_USAGE, "%s: no transaction is open", index->name);
    /* a summary that was lost on the way must not become a hole that nobody sees */
    int status =
        summary->base_ordinal == index->now.next_ordinal
            ? tape_index_apply_rows(index, &summary->rows, error)
            : tape_error_set(error, TAPE_USAGE, "%s: records from %llu come where %llu is expected",
                             index->name, (unsigned long long)summary->base_ordinal,
                             (unsigned long long)index->now.next_ordinal);
    if (status < 0) {
        tape_index_rollback(index);
        return status;
    }
    index->now.next_ordinal = summary->next_ordinal;
    index->now.resume_ordinal = summary->resume_ordinal;
    index->now.last_ns = summary->last_ns;
    index->now.session = summary->session;
    index->now.connection = summary->last_connection;
    return 0;
}

static void bind_info(sqlite3_stmt *statement, const struct tape_segment_info *info)
{
    for (int i = 4; i <= 7; i++)
        sqlite3_bind_null(statement, i);
    if (!info)
        return;
    sqlite3_bind_int(statement, 4, info->sealed != 0);
    sqlite3_bind_int64(statement, 5, info->created_ns);
    if (info->sealed)
        sqlite3_bind_int64(statement, 6, (int64_t)info->file_bytes);
    sqlite3_bind_int64(statement, 7, (int64_t)info->bad_blocks);
}

int tape_index_set_segment(struct tape_index *index, const struct tape_archive_entry *entry,
                           const struct tape_segment_info *info, struct tape_error *error)
{
    sqlite3_stmt *statement = tape_index_statement(index, TAPE_INDEX_SET_SEGMENT);
    char state[2] = {entry->state, '\0'};
    if (statement) {
        sqlite3_bind_int64(statement, 1, entry->sequence);
        sqlite3_bind_text(statement, 2, entry->name, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(statement, 3, state, 1, SQLITE_TRANSIENT);
        bind_info(statement, info);
    }
    if (!statement || sqlite3_step(statement) != SQLITE_DONE) {
        int status = tape_index_fail(index, error, "segment");
        if (statement)
            sqlite3_reset(statement);
        tape_index_rollback(index);
        return status;
    }
    sqlite3_reset(statement);
    return 0;
}
