#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/archive_current.h"
#include "format/cursor.h"
#include "format/index_internal.h"
#include "format/index_repack.h"
#include "format/summary_state.h"

enum {
    COMMIT_BLOCKS = 512,       /* in one transaction */
    PROGRESS_RECORDS = 262144, /* between two calls of progress() */
};

/*
 * One run. Invariants: place and header are of the block that the records of the open summary came
 * from, in_block = 1 when it has any; records from ${until} on, and damage behind them, are left
 * alone.
 */
struct catch_up {
    struct tape_index *index;
    struct tape_archive *archive;
    struct tape_summariser *summariser;
    struct tape_cursor *cursor;
    struct tape_cursor_place place;
    struct tape_block_header header;
    int in_block;
    int64_t blocks;
    uint64_t records, until;
    void (*progress)(void *context, uint64_t records);
    void *context;
};

static int begin_if_needed(struct catch_up *run, struct tape_error *error)
{
    return run->index->in_transaction ? 0 : tape_index_begin(run->index, error);
}

/* The open summary is that of a whole block: into the index with it. */
static int end_block(struct catch_up *run, struct tape_error *error)
{
    if (!run->in_block)
        return 0;
    struct tape_summary *summary =
        tape_summariser_take(run->summariser, &run->header, run->place.offset);
    if (!summary)
        return tape_error_set(error, TAPE_FAILED, "%s: no memory for a block's summary",
                              run->index->name);
    run->in_block = 0;
    int status = begin_if_needed(run, error);
    if (status == 0)
        status = tape_index_apply(run->index, summary, error);
    tape_summary_free(summary);
    if (status == 0 && ++run->blocks % COMMIT_BLOCKS == 0)
        status = tape_index_commit(run->index, error);
    return status;
}

static int add_record(struct catch_up *run, const struct tape_record *record,
                      struct tape_error *error)
{
    struct tape_cursor_place place;
    if (record->ordinal < run->summariser->next_ordinal) {
        tape_summariser_forget_damage(run->summariser);
        return record->ordinal < run->index->committed.resume_ordinal
                   ? 0
                   : tape_summariser_warm(run->summariser, record, error);
    }
    tape_cursor_read_place(run->cursor, &place);
    if (place.segment != run->place.segment || place.offset != run->place.offset) {
        int status = end_block(run, error);
        if (status < 0)
            return status;
        run->place = place;
        tape_cursor_read_header(run->cursor, &run->header);
        run->header.segment = place.segment;
    }
    run->in_block = 1;
    int status = tape_summariser_add(run->summariser, record, NULL, error);
    if (status >= 0 && run->progress && ++run->records % PROGRESS_RECORDS == 0)
        run->progress(run->context, run->records);
    return status < 0 ? status : 0;
}

static int add_all(struct catch_up *run, struct tape_error *error)
{
    struct tape_record record;
    struct tape_cursor_damage damage;
    for (;;) {
        int got = tape_cursor_next(run->cursor, &record, &damage, error);
        if ((got == 1 && record.ordinal >= run->until) ||
            (got == 2 && damage.from_ordinal >= run->until))
            got = 0;
        int status = got == 1 ? add_record(run, &record, error) : got < 0 ? got : 0;
        if (got == 2) {
            status = end_block(run, error);
            tape_summariser_damage(run->summariser, &damage);
        }
        if (status < 0)
            return status;
        if (got == 0)
            return end_block(run, error);
    }
}

/* Begins at the last record that is in the index, so that the cursor meets all damage between it
 * and the next; or earlier, at the start of a message that was unfinished there. */
static int seek(struct catch_up *run, struct tape_error *error)
{
    uint64_t next = run->index->now.next_ordinal, resume = run->index->now.resume_ordinal;
    if (next == 0)
        return 0;
    uint64_t from = next - 1 < resume ? next - 1 : resume;
    return tape_cursor_seek_ordinal(run->cursor, from, error);
}

/* ---- segments' rows ---- */

static int is_final(const struct catch_up *run, const struct tape_archive_entry *entry)
{
    sqlite3_stmt *statement = NULL;
    struct stat found;
    char path[TAPE_ARCHIVE_NAME_BYTES + 16];
    int final = 0;
    snprintf(path, sizeof path, "segments/%s", entry->name);
    if (fstatat(tape_archive_directory_fd(run->archive), path, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
        sqlite3_prepare_v2(
            run->index->db,
            "SELECT name, file_bytes FROM segment WHERE segment_id = ?1 AND sealed = 1", -1,
            &statement, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, entry->sequence);
        if (sqlite3_step(statement) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(statement, 0);
            final = name && strcmp(name, entry->name) == 0 &&
                    sqlite3_column_int64(statement, 1) == found.st_size;
        }
    }
    sqlite3_finalize(statement);
    return final;
}

/* 1 when the last of the segment's blocks in the index stands in the file; 0 when the records were
 * read from another file, before the segment was packed. */
static int holds_last_block(const struct catch_up *run, const struct tape_segment *segment)
{
    sqlite3_stmt *statement = NULL;
    struct tape_segment_info info;
    int holds = 1;
    tape_segment_read_info(segment, &info);
    if (sqlite3_prepare_v2(run->index->db,
                           "SELECT offset, crc32c FROM block WHERE segment_id = ?1 "
                           "ORDER BY block_id DESC LIMIT 1",
                           -1, &statement, NULL) != SQLITE_OK)
        return holds;
    sqlite3_bind_int64(statement, 1, info.sequence);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        holds = 0;
        for (uint32_t i = info.blocks; i-- > 0 && !holds;) {
            const struct tape_segment_entry *block = tape_segment_entry(segment, i);
            holds = block->offset == (uint64_t)sqlite3_column_int64(statement, 0) &&
                    block->header.payload_crc32c == sqlite3_column_int64(statement, 1);
        }
    }
    sqlite3_finalize(statement);
    return holds;
}

/* A segment that was packed while it was being read: its rows are made anew from what it is now. */
static int replace_rows(struct catch_up *run, const struct tape_archive_entry *entry,
                        struct tape_error *error)
{
    int status = run->index->in_transaction ? tape_index_commit(run->index, error) : 0;
    return status < 0 ? status : tape_index_repack_file(run->index, run->archive, entry, error);
}

/* Those that were sealed when their row was written change only by a recovery that cut off a
 * damaged end and sealed them again, and by packing: their size and name tell. */
static int set_segments(struct catch_up *run, struct tape_error *error)
{
    const struct tape_archive_entry *found = NULL;
    struct tape_archive_entry entry = {0};
    while ((found = tape_archive_after(run->archive, entry.sequence)) != NULL) {
        entry = *found;
        if (is_final(run, &entry))
            continue;
        struct tape_segment_info info;
        struct tape_segment *segment;
        if (tape_archive_open_current(run->archive, &entry, &segment, NULL) == 1)
            tape_segment_read_info(segment, &info);
        int packed = segment && entry.state == 't' && !holds_last_block(run, segment);
        int status = packed ? replace_rows(run, &entry, error) : begin_if_needed(run, error);
        if (status == 0 && !packed)
            status = tape_index_set_segment(run->index, &entry, segment ? &info : NULL, error);
        tape_segment_close(segment);
        if (status < 0)
            return status;
    }
    return 0;
}

/* ---- is the index one of these segments at all? ---- */

int tape_index_clear(struct tape_index *index, struct tape_error *error)
{
    static const char *const tables[] = {
        "meta",         "session", "connection", "stream", "subscription", "segment", "block",
        "block_stream", "gap",     "clock",      "delay",  "event",        "pruned"};
    char sql[64];
    int status = tape_index_begin(index, error);
    for (size_t i = 0; status == 0 && i < sizeof tables / sizeof tables[0]; i++) {
        snprintf(sql, sizeof sql, "DELETE FROM %s", tables[i]);
        if (sqlite3_exec(index->db, sql, NULL, NULL, NULL) != SQLITE_OK)
            status = tape_index_fail(index, error, "clear");
    }
    if (status == 0) {
        index->now = (struct tape_index_place){0};
        status = tape_index_put_identity(index, error);
    }
    if (status == 0)
        return tape_index_commit(index, error);
    tape_index_rollback(index);
    return status;
}

static int is_empty(struct tape_index *index)
{
    sqlite3_stmt *statement = NULL;
    int empty = 0;
    if (sqlite3_prepare_v2(
            index->db,
            "SELECT 1 FROM (SELECT 1 FROM session UNION ALL SELECT 1 FROM connection "
            "UNION ALL SELECT 1 FROM stream UNION ALL SELECT 1 FROM subscription "
            "UNION ALL SELECT 1 FROM block UNION ALL SELECT 1 FROM block_stream "
            "UNION ALL SELECT 1 FROM gap UNION ALL SELECT 1 FROM clock "
            "UNION ALL SELECT 1 FROM delay UNION ALL SELECT 1 FROM event "
            "UNION ALL SELECT 1 FROM pruned) LIMIT 1",
            -1, &statement, NULL) == SQLITE_OK)
        empty = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_finalize(statement);
    return empty;
}

/* 1 when the last block of the index stands in the segments as it says. After a power cut the index
 * may be ahead of them; and whoever copies files about may bring together what does not belong. */
static int is_of_these(struct tape_index *index, struct tape_archive *archive)
{
    sqlite3_stmt *statement = NULL;
    struct tape_segment *segment = NULL;
    int same = 0;
    if (index->now.next_ordinal == 0)
        return is_empty(index);
    if (sqlite3_prepare_v2(index->db,
                           "SELECT segment_id, offset, crc32c, block_id + records "
                           "FROM block ORDER BY block_id DESC LIMIT 1",
                           -1, &statement, NULL) != SQLITE_OK)
        return same;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        uint32_t sequence = (uint32_t)sqlite3_column_int64(statement, 0);
        const struct tape_archive_entry *found =
            sequence > 0 ? tape_archive_after(archive, sequence - 1) : NULL;
        struct tape_archive_entry entry = {0};
        struct tape_segment_info info = {0};
        if (found && found->sequence == sequence)
            entry = *found;
        if (entry.sequence != 0 && tape_archive_open_current(archive, &entry, &segment, NULL) == 1)
            tape_segment_read_info(segment, &info);
        for (uint32_t i = info.blocks; i-- > 0 && !same;) {
            const struct tape_segment_entry *block = tape_segment_entry(segment, i);
            same = block->offset == (uint64_t)sqlite3_column_int64(statement, 1) &&
                   block->header.payload_crc32c == sqlite3_column_int64(statement, 2) &&
                   block->header.first_ordinal + block->header.records == index->now.next_ordinal;
        }
    }
    tape_segment_close(segment);
    sqlite3_finalize(statement);
    return same;
}

/* 1 when some block of the segment is in the index. */
static int is_in_index(const struct catch_up *run, uint32_t sequence)
{
    sqlite3_stmt *statement = NULL;
    int in_index = 0;
    if (sqlite3_prepare_v2(run->index->db,
                           "SELECT 1 FROM segment WHERE segment_id = ?1 AND blocks > 0", -1,
                           &statement, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, sequence);
        in_index = sqlite3_step(statement) == SQLITE_ROW;
    }
    sqlite3_finalize(statement);
    return in_index;
}

/* Segments that were packed and the index not told, because a crash or a failure came between. 0,
 * or TAPE_CORRUPT when that cannot be made good: the index is then none of these records. */
static int take_packed(struct catch_up *run, struct tape_error *error)
{
    const struct tape_archive_entry *found;
    struct tape_archive_entry entry = {0};
    while ((found = tape_archive_after(run->archive, entry.sequence)) != NULL) {
        entry = *found;
        if (entry.state != 't' || is_final(run, &entry) || !is_in_index(run, entry.sequence))
            continue;
        struct tape_segment *segment = tape_archive_open_segment(run->archive, &entry, NULL);
        tape_segment_close(segment);
        if (segment == NULL)
            continue; /* what it held is in the index; set_segments() tells the rest */
        int status = tape_index_repack_file(run->index, run->archive, &entry, error);
        if (status < 0)
            return status == TAPE_MISSING ? TAPE_CORRUPT : status;
    }
    return 0;
}

/* Where segments were pruned since the index was written, it forgets their records, too; one that
 * begins anew begins with what was known of them. One that was pruned further than anybody knows of
 * (pruned.db was lost) begins anew: what it knows cannot be made again. */
static int follow_base(struct catch_up *run, struct tape_index *base, struct tape_error *error)
{
    struct tape_index *index = run->index;
    uint64_t pruned = base ? base->now.pruned_ordinal : 0;
    int status = 0;
    if (!is_of_these(index, run->archive) ||
        (pruned > index->now.pruned_ordinal && pruned > index->now.next_ordinal) ||
        pruned < index->now.pruned_ordinal)
        status = tape_index_clear(index, error);
    else if (pruned > index->now.pruned_ordinal)
        status = tape_index_prune(index, base, run->archive, error);
    if (status == 0)
        status = tape_index_load_state(index, run->summariser, error);
    if (status < 0 || !base || index->now.next_ordinal > 0)
        return status;
    status = tape_index_adopt(index, base, error);
    return status < 0 ? status : tape_index_load_state(index, run->summariser, error);
}

static int prepare(struct catch_up *run, struct tape_error *error)
{
    run->in_block = 0;
    if (run->until != UINT64_MAX)
        return tape_index_load_state(run->index, run->summariser, error);
    int status = take_packed(run, error);
    if (status == TAPE_CORRUPT) {
        run->index->corrupt = 0;
        status = tape_index_clear(run->index, error);
    }
    if (status < 0)
        return status;
    struct tape_index *base = tape_index_open_base(run->archive, NULL, NULL);
    status = follow_base(run, base, error);
    tape_index_close(base);
    return status;
}

static int fold(struct catch_up *run, struct tape_error *error)
{
    int status = prepare(run, error);
    if (status == 0)
        status = seek(run, error);
    if (status == 0)
        status = add_all(run, error);
    if (status == 0 && run->until == UINT64_MAX)
        status = set_segments(run, error);
    if (status == 0 && run->index->in_transaction)
        status = tape_index_commit(run->index, error);
    tape_index_rollback(run->index);
    return status;
}

int tape_index_fold_until(struct tape_index *index, struct tape_archive *archive,
                          struct tape_summariser *summariser, uint64_t until,
                          struct tape_error *error)
{
    struct catch_up run = {
        .index = index, .archive = archive, .summariser = summariser, .until = until};
    run.cursor = tape_cursor_open(archive, error);
    if (!run.cursor)
        return error ? error->status : TAPE_FAILED;
    int status = fold(&run, error);
    tape_cursor_close(run.cursor);
    return status;
}

int64_t tape_index_catch_up(struct tape_index *index, struct tape_archive *archive,
                            struct tape_summariser *summariser,
                            void (*progress)(void *context, uint64_t records), void *context,
                            struct tape_error *error)
{
    struct catch_up run = {.index = index,
                           .archive = archive,
                           .summariser = summariser,
                           .until = UINT64_MAX,
                           .progress = progress,
                           .context = context};
    if (!index->writes || index->in_transaction)
        return tape_error_set(error, TAPE_USAGE, "%s: it cannot be brought up to date now",
                              index->name);
    run.cursor = tape_cursor_open(archive, error);
    if (!run.cursor)
        return error ? error->status : TAPE_FAILED;
    int status = fold(&run, error);
    /* rows in it that were not made by us stood in the way: without them */
    if (status == TAPE_CORRUPT && index->corrupt) {
        index->corrupt = 0;
        status = tape_index_clear(index, error);
        if (status == 0)
            status = fold(&run, error);
    }
    tape_cursor_close(run.cursor);
    return status < 0 ? status : run.blocks;
}
