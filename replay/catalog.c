#include "replay/catalog.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/archive_current.h"
#include "format/summary.h"

/* The ordinal after the last record in the segments, 0 when there is none. Scans the archive. */
static uint64_t next_ordinal(struct tape_archive *archive, struct tape_error *error)
{
    for (int i = tape_archive_scan(archive, error) - 1; i >= 0; i--) {
        struct tape_segment_info info;
        struct tape_segment *segment;
        const struct tape_archive_entry *found = tape_archive_entry(archive, i);
        struct tape_archive_entry entry = {0};
        if (found)
            entry = *found;
        if (!found || tape_archive_open_current(archive, &entry, &segment, NULL) != 1)
            continue;
        tape_segment_read_info(segment, &info);
        tape_segment_close(segment);
        if (info.records > 0)
            return info.next_ordinal;
    }
    return 0;
}

/* 1 when a packed segment's row tells of a file that is no more: a crash came before the index was
 * told, or the recorder is just about to tell it. */
static int is_before_packing(struct tape_index *index, const struct tape_archive *archive)
{
    sqlite3_stmt *row = NULL;
    const struct tape_archive_entry *entry;
    char path[TAPE_ARCHIVE_NAME_BYTES + 16];
    int before = 0;
    if (sqlite3_prepare_v2(tape_index_handle(index),
                           "SELECT name, file_bytes FROM segment WHERE segment_id = ?1", -1, &row,
                           NULL) != SQLITE_OK)
        return 0;
    for (int i = 0; !before && (entry = tape_archive_entry(archive, i)) != NULL; i++) {
        struct stat found;
        snprintf(path, sizeof path, "segments/%s", entry->name);
        if (entry->state != 't' ||
            fstatat(tape_archive_directory_fd(archive), path, &found, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        sqlite3_bind_int64(row, 1, entry->sequence);
        if (sqlite3_step(row) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(row, 0);
            before = !name || strcmp(name, entry->name) != 0 ||
                     sqlite3_column_int64(row, 1) != found.st_size;
        }
        sqlite3_reset(row);
    }
    sqlite3_finalize(row);
    return before;
}

/* An index in memory of everything: from a copy of index.db where there is one. */
static struct tape_index *complete(struct tape_archive *archive, struct tape_index *file,
                                   struct tape_error *error)
{
    struct tape_summariser *summariser = NULL;
    struct tape_index *memory = tape_index_open_memory(archive, error);
    int status = memory ? 0 : TAPE_FAILED;
    if (status == 0 && file)
        status = tape_index_copy(memory, file, error);
    if (status == 0 && !(summariser = tape_summariser_new(error)))
        status = TAPE_FAILED;
    if (status == 0)
        status = tape_index_load_state(memory, summariser, error);
    if (status == 0 && tape_index_catch_up(memory, archive, summariser, NULL, NULL, error) < 0)
        status = TAPE_FAILED;
    tape_summariser_free(summariser);
    if (status == 0)
        return memory;
    tape_index_close(memory);
    return NULL;
}

int tape_catalog_open(struct tape_catalog *catalog, struct tape_archive *archive,
                      struct tape_error *error)
{
    struct tape_error local = {0};
    memset(catalog, 0, sizeof *catalog);
    struct tape_index *file = tape_index_open_read(archive, &local);
    if (!file && local.status != TAPE_MISSING)
        snprintf(catalog->why_not, sizeof catalog->why_not, "%s", local.text);
    catalog->from_file = file != NULL;
    if (file && tape_index_next_ordinal(file) >= next_ordinal(archive, NULL) &&
        !is_before_packing(file, archive)) {
        catalog->index = file;
        return 0;
    }
    catalog->index = complete(archive, file, error ? error : &local);
    tape_index_close(file);
    return catalog->index ? 0 : error ? error->status : local.status;
}

void tape_catalog_close(struct tape_catalog *catalog)
{
    tape_index_close(catalog->index);
    catalog->index = NULL;
}
