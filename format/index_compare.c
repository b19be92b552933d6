#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/index_internal.h"

enum { TOLD_MAX = 100, WORDS_BYTES = 1024, VALUE_BYTES = 96 };

/* Each table with the query that puts its rows in order: the first column is the key. */
static const struct {
    const char *table, *sql;
} tables[] = {
    {"meta", "SELECT * FROM meta ORDER BY key"},
    {"session", "SELECT * FROM session ORDER BY session_id"},
    {"connection", "SELECT * FROM connection ORDER BY connection_id"},
    {"stream", "SELECT * FROM stream ORDER BY stream_id"},
    {"subscription", "SELECT * FROM subscription ORDER BY subscription_id"},
    {"segment", "SELECT * FROM segment ORDER BY segment_id"},
    {"block", "SELECT * FROM block ORDER BY block_id"},
    {"block_stream", "SELECT * FROM block_stream ORDER BY first_ordinal"},
    {"gap", "SELECT * FROM gap ORDER BY gap_id"},
    {"clock", "SELECT * FROM clock ORDER BY ordinal"},
    {"delay", "SELECT * FROM delay ORDER BY ordinal"},
    {"event", "SELECT * FROM event ORDER BY ordinal"},
    {"pruned", "SELECT * FROM pruned ORDER BY segment_id"},
};

/* One comparison. left is the index, right the segments. */
struct comparison {
    const char *table;
    sqlite3_stmt *left, *right;
    int left_code, right_code; /* of the last step: SQLITE_ROW while there is a row */
    int64_t differences;
    void (*each)(void *context, const char *words);
    void *context;
};

static void tell(struct comparison *comparison, const char *words)
{
    if (comparison->differences++ < TOLD_MAX && comparison->each)
        comparison->each(comparison->context, words);
}

/* A value as words: texts between quotes, shortened, without controls. */
static void value_words(sqlite3_stmt *statement, int column, char to[VALUE_BYTES])
{
    const char *text;
    size_t used;
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
        snprintf(to, VALUE_BYTES, "nothing");
        break;
    case SQLITE_INTEGER:
        snprintf(to, VALUE_BYTES, "%" PRId64, (int64_t)sqlite3_column_int64(statement, column));
        break;
    default:
        text = (const char *)sqlite3_column_text(statement, column);
        to[0] = '"';
        used = 1 + tape_summary_clean(to + 1, VALUE_BYTES - 3, text ? text : "",
                                      (size_t)sqlite3_column_bytes(statement, column));
        to[used++] = '"';
        to[used] = '\0';
    }
}

static void row_words(const struct comparison *comparison, sqlite3_stmt *statement,
                      char to[2 * VALUE_BYTES + 32])
{
    char key[VALUE_BYTES], name[VALUE_BYTES];
    value_words(statement, 0, key);
    if (strcmp(comparison->table, "stream") == 0) {
        value_words(statement, 2, name);
        snprintf(to, 2 * VALUE_BYTES + 32, "stream %s (%s)", key, name);
    } else {
        snprintf(to, 2 * VALUE_BYTES + 32, "%s %s", comparison->table, key);
    }
}

static void tell_lone_row(struct comparison *comparison, sqlite3_stmt *statement, const char *where)
{
    char row[2 * VALUE_BYTES + 32], words[WORDS_BYTES];
    row_words(comparison, statement, row);
    snprintf(words, sizeof words, "%s: %s", row, where);
    tell(comparison, words);
}

static int same_value(sqlite3_stmt *left, sqlite3_stmt *right, int column)
{
    int type = sqlite3_column_type(left, column);
    if (type != sqlite3_column_type(right, column))
        return 0;
    if (type == SQLITE_NULL)
        return 1;
    if (type == SQLITE_INTEGER)
        return sqlite3_column_int64(left, column) == sqlite3_column_int64(right, column);
    int bytes = sqlite3_column_bytes(left, column);
    const void *one = sqlite3_column_blob(left, column);
    const void *other = sqlite3_column_blob(right, column);
    return bytes == sqlite3_column_bytes(right, column) &&
           (bytes == 0 || (one && other && memcmp(one, other, (size_t)bytes) == 0));
}

static void compare_row(struct comparison *comparison)
{
    char row[2 * VALUE_BYTES + 32], words[WORDS_BYTES], left[VALUE_BYTES], right[VALUE_BYTES];
    size_t used = 0;
    int columns = sqlite3_column_count(comparison->left);
    for (int i = 0; i < columns; i++) {
        if (same_value(comparison->left, comparison->right, i))
            continue;
        if (used == 0) {
            row_words(comparison, comparison->left, row);
            used = (size_t)snprintf(words, sizeof words, "%s:", row);
        } else {
            used += (size_t)snprintf(words + used, sizeof words - used, ";");
        }
        value_words(comparison->left, i, left);
        value_words(comparison->right, i, right);
        used += (size_t)snprintf(words + used, sizeof words - used,
                                 " %s %s in the index, %s in the segments",
                                 sqlite3_column_name(comparison->left, i), left, right);
        if (used >= sizeof words)
            break;
    }
    if (used > 0)
        tell(comparison, words);
}

/* Less than 0 when the left row's key comes first; a side at its end comes last. */
static int order(const struct comparison *comparison)
{
    if (comparison->left_code != SQLITE_ROW || comparison->right_code != SQLITE_ROW)
        return (comparison->left_code != SQLITE_ROW) - (comparison->right_code != SQLITE_ROW);
    if (strcmp(comparison->table, "meta") == 0) {
        const char *a = (const char *)sqlite3_column_text(comparison->left, 0);
        const char *b = (const char *)sqlite3_column_text(comparison->right, 0);
        return strcmp(a ? a : "", b ? b : "");
    }
    int64_t a = sqlite3_column_int64(comparison->left, 0);
    int64_t b = sqlite3_column_int64(comparison->right, 0);
    return (a > b) - (a < b);
}

static void compare_rows(struct comparison *comparison)
{
    comparison->left_code = sqlite3_step(comparison->left);
    comparison->right_code = sqlite3_step(comparison->right);
    while (comparison->left_code == SQLITE_ROW || comparison->right_code == SQLITE_ROW) {
        int which = order(comparison);
        if (which < 0)
            tell_lone_row(comparison, comparison->left, "in the index, not in the segments");
        else if (which > 0)
            tell_lone_row(comparison, comparison->right, "in the segments, not in the index");
        else
            compare_row(comparison);
        if (which <= 0)
            comparison->left_code = sqlite3_step(comparison->left);
        if (which >= 0)
            comparison->right_code = sqlite3_step(comparison->right);
    }
}

int tape_index_compare(struct tape_index *index, struct tape_index *truth,
                       void (*each)(void *context, const char *words), void *context,
                       struct tape_error *error)
{
    struct comparison comparison = {.each = each, .context = context};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        int status = 0;
        comparison.table = tables[i].table;
        comparison.left = comparison.right = NULL;
        if (sqlite3_prepare_v2(index->db, tables[i].sql, -1, &comparison.left, NULL) != SQLITE_OK)
            status = tape_index_fail(index, error, tables[i].table);
        else if (sqlite3_prepare_v2(truth->db, tables[i].sql, -1, &comparison.right, NULL) !=
                 SQLITE_OK)
            status = tape_index_fail(truth, error, tables[i].table);
        else
            compare_rows(&comparison);
        if (status == 0 && comparison.left_code != SQLITE_DONE)
            status = tape_index_fail(index, error, tables[i].table);
        else if (status == 0 && comparison.right_code != SQLITE_DONE)
            status = tape_index_fail(truth, error, tables[i].table);
        sqlite3_finalize(comparison.left);
        sqlite3_finalize(comparison.right);
        if (status < 0)
            return status;
    }
    return comparison.differences > INT32_MAX ? INT32_MAX : (int)comparison.differences;
}
