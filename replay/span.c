#include "replay/span.h"

#include <sqlite3.h>

#include "format/archive.h"
#include "replay/catalog.h"
#include "replay/source.h"

/* 1 and the ends, or 0 when there is no message. */
static int ask(struct tape_index *index, int64_t *first_ns, int64_t *last_ns)
{
    sqlite3_stmt *statement = NULL;
    int found = sqlite3_prepare_v2(tape_index_handle(index),
                                   "SELECT min(first_ns), max(last_ns) FROM block_stream", -1,
                                   &statement, NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW &&
                sqlite3_column_type(statement, 0) != SQLITE_NULL;
    if (found) {
        *first_ns = sqlite3_column_int64(statement, 0);
        *last_ns = sqlite3_column_int64(statement, 1);
    }
    sqlite3_finalize(statement);
    return found;
}

int tape_span_read(const char *path, int64_t *first_ns, int64_t *last_ns, struct tape_error *error)
{
    struct tape_catalog catalog;
    *first_ns = *last_ns = 0;
    struct tape_archive *archive = tape_archive_open(path, error);
    if (!archive)
        return error ? error->status : TAPE_FAILED;
    int status = tape_catalog_open(&catalog, archive, error);
    if (status == 0) {
        ask(catalog.index, first_ns, last_ns);
        tape_catalog_close(&catalog);
    }
    tape_archive_close(archive);
    return status;
}

int tape_span_read_all(const char *const *paths, int count, int64_t *first_ns, int64_t *last_ns,
                       struct tape_error *error)
{
    int found = 0;
    *first_ns = *last_ns = 0;
    for (int i = 0; i < count; i++) {
        int64_t its_first_ns, its_last_ns;
        int status = tape_span_read(paths[i], &its_first_ns, &its_last_ns, error);
        if (status < 0)
            return status;
        if (its_first_ns == 0 && its_last_ns == 0)
            continue;
        if (!found || its_first_ns < *first_ns)
            *first_ns = its_first_ns;
        if (!found || its_last_ns > *last_ns)
            *last_ns = its_last_ns;
        found = 1;
    }
    return 0;
}

int tape_span_are_apart(const char *const *paths, int count)
{
    int64_t first_ns[TAPE_SOURCE_ARCHIVES_MAX], last_ns[TAPE_SOURCE_ARCHIVES_MAX];
    int found = 0;
    for (int i = 0; i < count && i < TAPE_SOURCE_ARCHIVES_MAX; i++) {
        if (tape_span_read(paths[i], &first_ns[found], &last_ns[found], NULL) < 0)
            return 0;
        if (first_ns[found] == 0 && last_ns[found] == 0)
            continue;
        for (int other = 0; other < found; other++)
            if (first_ns[found] <= last_ns[other] && first_ns[other] <= last_ns[found])
                return 0;
        found++;
    }
    return found > 1;
}
