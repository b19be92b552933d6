#include "replay/source_snapshots.h"

#include <sqlite3.h>
#include <stddef.h>

#include "format/archive.h"
#include "format/index.h"

/* Both numbers are of one statement, hence of one moment: how far the index goes, and how many
 * there are. */
static const char question[] =
    "SELECT (SELECT value FROM meta WHERE key = 'last_ns'), "
    "(SELECT count(*) FROM event WHERE kind = 'snapshot' AND ns >= ?1 AND ns <= ?2)";

static int ask(sqlite3 *base, int64_t from_ns, int64_t to_ns)
{
    sqlite3_stmt *row = NULL;
    int may_be = 1;
    if (sqlite3_prepare_v2(base, question, -1, &row, NULL) != SQLITE_OK)
        return 1;
    sqlite3_bind_int64(row, 1, from_ns);
    sqlite3_bind_int64(row, 2, to_ns);
    if (sqlite3_step(row) == SQLITE_ROW && sqlite3_column_type(row, 0) != SQLITE_NULL)
        may_be = sqlite3_column_int64(row, 0) < to_ns || sqlite3_column_int64(row, 1) > 0;
    sqlite3_finalize(row);
    return may_be;
}

int tape_source_snapshots_may_be(const char *path, int64_t from_ns, int64_t to_ns)
{
    struct tape_archive *archive = tape_archive_open(path, NULL);
    struct tape_index *index = archive ? tape_index_open_read(archive, NULL) : NULL;
    int may_be = index ? ask(tape_index_handle(index), from_ns, to_ns) : 1;
    tape_index_close(index);
    tape_archive_close(archive);
    return may_be;
}
