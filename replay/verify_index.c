#include "replay/verify_index.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/crc32c.h"
#include "format/summary.h"

/*
 * Invariants: file is NULL when there is no index to compare; else it is inside a read transaction.
 * places holds (sequence << 32 | number) of the blocks seen, ascending; packed, ascending, the
 * sequences of the segments whose blocks the index does not know yet.
 */
struct tape_verify_index {
    struct tape_findings *findings;
    struct tape_index *file;
    sqlite3_stmt *block, *covering, *segment;
    struct tape_archive *archive;
    uint64_t next_ordinal;
    uint64_t blocks_behind;
    uint64_t *places;
    size_t places_used, places_room;
    uint32_t *packed;
    size_t packed_used;
};

static sqlite3 *handle(const struct tape_verify_index *check)
{
    return tape_index_handle(check->file);
}

static int sqlite_failed(const struct tape_verify_index *check, struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "index.db: %s", sqlite3_errmsg(handle(check)));
}

static int prepare(struct tape_verify_index *check, struct tape_archive *archive,
                   struct tape_error *error)
{
    static const char block[] =
        "SELECT segment_id, number, offset, codec, stored_bytes, raw_bytes, crc32c, records,"
        " first_ns, last_ns, realtime_minus_monotonic_ns FROM block WHERE block_id = ?1";
    static const char covering[] = "SELECT block_id, records FROM block WHERE block_id <= ?1"
                                   " ORDER BY block_id DESC LIMIT 1";
    static const char segment[] =
        "SELECT name, file_bytes, records, first_ordinal, next_ordinal FROM segment"
        " WHERE segment_id = ?1 AND sealed = 1";
    if (sqlite3_exec(handle(check), "BEGIN; SELECT count(*) FROM meta", NULL, NULL, NULL) !=
            SQLITE_OK ||
        sqlite3_prepare_v2(handle(check), block, -1, &check->block, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(handle(check), covering, -1, &check->covering, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(handle(check), segment, -1, &check->segment, NULL) != SQLITE_OK)
        return sqlite_failed(check, error);
    check->next_ordinal = tape_index_next_ordinal(check->file);
    check->archive = archive;
    return 0;
}

static void drop_file(struct tape_verify_index *check)
{
    sqlite3_finalize(check->block);
    sqlite3_finalize(check->covering);
    sqlite3_finalize(check->segment);
    check->block = check->covering = check->segment = NULL;
    tape_index_close(check->file);
    check->file = NULL;
}

struct tape_verify_index *tape_verify_index_open(struct tape_archive *archive,
                                                 struct tape_findings *findings,
                                                 struct tape_error *error)
{
    struct tape_error why = {0};
    struct tape_verify_index *check = calloc(1, sizeof *check);
    if (!check) {
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    check->findings = findings;
    check->file = tape_index_open_read(archive, &why);
    if (check->file && prepare(check, archive, &why) < 0)
        drop_file(check);
    if (!check->file && why.status == TAPE_MISSING)
        tape_findings_add(findings, TAPE_FINDINGS_NOTE,
                          "there is no index.db; the next recording makes it anew");
    else if (!check->file)
        tape_findings_add(findings, TAPE_FINDINGS_INDEX, "%s", why.text);
    return check;
}

void tape_verify_index_close(struct tape_verify_index *check)
{
    if (!check)
        return;
    drop_file(check);
    free(check->places);
    free(check->packed);
    free(check);
}

static int is_packed(const struct tape_verify_index *check, uint32_t sequence)
{
    return check->packed_used > 0 && check->packed[check->packed_used - 1] == sequence;
}

/* 1 when the row is of the same records in another file. */
static int is_of_another_file(sqlite3_stmt *row, const struct tape_archive_entry *entry,
                              const struct tape_segment_info *info)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);
    int same_file = name && strcmp(name, entry->name) == 0 &&
                    (uint64_t)sqlite3_column_int64(row, 1) == info->file_bytes;
    return !same_file && (uint64_t)sqlite3_column_int64(row, 2) == info->records &&
           (uint64_t)sqlite3_column_int64(row, 3) == info->first_ordinal &&
           (uint64_t)sqlite3_column_int64(row, 4) == info->next_ordinal;
}

int tape_verify_index_begin(struct tape_verify_index *check, const struct tape_archive_entry *entry,
                            const struct tape_segment_info *info, struct tape_error *error)
{
    if (!check->file || entry->state != 't' || !info->sealed || info->records == 0)
        return 0;
    sqlite3_bind_int64(check->segment, 1, entry->sequence);
    int code = sqlite3_step(check->segment);
    int packed = code == SQLITE_ROW && is_of_another_file(check->segment, entry, info);
    sqlite3_reset(check->segment);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return sqlite_failed(check, error);
    if (!packed)
        return 0;
    uint32_t *more = realloc(check->packed, (check->packed_used + 1) * sizeof *more);
    if (!more)
        return tape_error_set(error, TAPE_FAILED, "out of memory");
    check->packed = more;
    check->packed[check->packed_used++] = entry->sequence;
    tape_findings_add(check->findings, TAPE_FINDINGS_NOTE,
                      "segment %06u: packed, and the index not told yet; the recorder tells it",
                      entry->sequence);
    return 0;
}

int tape_verify_index_segment(struct tape_verify_index *check,
                              const struct tape_archive_entry *entry,
                              const struct tape_segment_info *info, struct tape_error *error)
{
    if (!check->file || is_packed(check, entry->sequence))
        return 0;
    sqlite3_bind_int64(check->segment, 1, entry->sequence);
    int code = sqlite3_step(check->segment);
    if (code == SQLITE_ROW) {
        uint64_t bytes = (uint64_t)sqlite3_column_int64(check->segment, 1);
        if (!info->sealed)
            tape_findings_add(check->findings, TAPE_TORN,
                              "segment %06u: sealed with %" PRIu64
                              " bytes by the index; its file of %" PRIu64 " bytes is not",
                              entry->sequence, bytes, info->file_bytes);
        else if (bytes != info->file_bytes)
            tape_findings_add(check->findings, TAPE_FINDINGS_INDEX,
                              "segment %06u: %" PRIu64 " bytes in the index, %" PRIu64
                              " in the file",
                              entry->sequence, bytes, info->file_bytes);
    }
    sqlite3_reset(check->segment);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : sqlite_failed(check, error);
}

static int note_place(struct tape_verify_index *check, uint64_t place, struct tape_error *error)
{
    if (check->places_used == check->places_room) {
        size_t room = check->places_room ? 2 * check->places_room : 1024;
        uint64_t *more = realloc(check->places, room * sizeof *more);
        if (!more)
            return tape_error_set(error, TAPE_FAILED, "out of memory");
        check->places = more;
        check->places_room = room;
    }
    check->places[check->places_used++] = place;
    return 0;
}

/* The smallest number stands for "none" in the index: a stamp that is it is kept as the next. */
static int64_t indexed_ns(int64_t ns)
{
    return ns == INT64_MIN ? INT64_MIN + 1 : ns;
}

/* The row's columns from segment_id on, as the file has them. */
static void compare_row(struct tape_verify_index *check, uint32_t sequence,
                        const struct tape_segment_entry *block)
{
    static const char *const names[] = {
        "segment", "number",  "offset",      "codec",      "stored bytes",    "raw bytes",
        "CRC",     "records", "first stamp", "last stamp", "clock difference"};
    const struct tape_block_header *header = &block->header;
    const int64_t values[] = {
        sequence,
        header->number,
        (int64_t)block->offset,
        header->codec,
        header->stored_bytes,
        header->raw_bytes,
        header->payload_crc32c,
        header->records,
        indexed_ns(header->min_recv_ns),
        indexed_ns(header->max_recv_ns),
        header->realtime_minus_monotonic_ns,
    };
    /* A block written again after a failed sync is in two files and once in the index. */
    if (sqlite3_column_int64(check->block, 0) != sequence)
        return;
    for (int i = 1; i < (int)(sizeof values / sizeof *values); i++)
        if (sqlite3_column_int64(check->block, i) != values[i])
            tape_findings_add(check->findings, TAPE_FINDINGS_INDEX,
                              "segment %06u: block %u: %s %lld in the index, %" PRId64
                              " in the file",
                              sequence, header->number, names[i],
                              (long long)sqlite3_column_int64(check->block, i), values[i]);
}

/* 1 when the block's first record is in some row: of a block that was cut differently. */
static int is_covered(struct tape_verify_index *check, const struct tape_block_header *header)
{
    sqlite3_bind_int64(check->covering, 1, (int64_t)header->first_ordinal);
    int covered =
        sqlite3_step(check->covering) == SQLITE_ROW &&
        sqlite3_column_int64(check->covering, 0) + sqlite3_column_int64(check->covering, 1) >
            (int64_t)header->first_ordinal;
    sqlite3_reset(check->covering);
    return covered;
}

int tape_verify_index_block(struct tape_verify_index *check, uint32_t sequence,
                            const struct tape_segment_entry *block, struct tape_error *error)
{
    const struct tape_block_header *header = &block->header;
    if (!check->file || is_packed(check, sequence))
        return 0;
    int status = note_place(check, (uint64_t)sequence << 32 | header->number, error);
    if (status < 0)
        return status;
    if (header->first_ordinal >= check->next_ordinal) {
        check->blocks_behind++;
        return 0;
    }
    sqlite3_bind_int64(check->block, 1, (int64_t)header->first_ordinal);
    int code = sqlite3_step(check->block);
    if (code == SQLITE_ROW)
        compare_row(check, sequence, block);
    sqlite3_reset(check->block);
    if (code == SQLITE_DONE && !is_covered(check, header))
        tape_findings_add(check->findings, TAPE_FINDINGS_INDEX,
                          "segment %06u: block %u (records %" PRIu64 " to %" PRIu64
                          ") is not in the index",
                          sequence, header->number, header->first_ordinal,
                          header->first_ordinal + header->records - 1);
    return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : sqlite_failed(check, error);
}

/* A run of blocks of one segment that are in the index alone; to < from: none. */
struct absent_run {
    uint64_t from, to; /* places */
    int64_t first_record, last_record;
};

static void tell_absent(struct tape_verify_index *check, struct absent_run *run)
{
    if (run->to >= run->from)
        tape_findings_add(check->findings, TAPE_MISSING,
                          "segment %06u: blocks %u to %u (records %" PRId64 " to %" PRId64
                          ") are in the index and not in the file",
                          (unsigned)(run->from >> 32), (unsigned)run->from, (unsigned)run->to,
                          run->first_record, run->last_record);
    *run = (struct absent_run){.from = 1};
}

int tape_verify_index_finish(struct tape_verify_index *check, struct tape_error *error)
{
    sqlite3_stmt *all;
    struct absent_run run = {.from = 1};
    size_t at = 0, packed = 0;
    int code;
    if (!check->file)
        return 0;
    /* asked now: segments may have been pruned while the others were read */
    uint64_t pruned = tape_index_find_pruned(check->archive);
    if (sqlite3_prepare_v2(handle(check),
                           "SELECT segment_id, number, block_id, records FROM block"
                           " ORDER BY segment_id, number",
                           -1, &all, NULL) != SQLITE_OK)
        return sqlite_failed(check, error);
    while ((code = sqlite3_step(all)) == SQLITE_ROW) {
        uint64_t place =
            (uint64_t)sqlite3_column_int64(all, 0) << 32 | (uint32_t)sqlite3_column_int64(all, 1);
        while (at < check->places_used && check->places[at] < place)
            at++;
        while (packed < check->packed_used && check->packed[packed] < place >> 32)
            packed++;
        if ((at < check->places_used && check->places[at] == place) ||
            (packed < check->packed_used && check->packed[packed] == place >> 32) ||
            (uint64_t)sqlite3_column_int64(all, 2) < pruned)
            continue;
        if (run.to < run.from || place != run.to + 1) {
            tell_absent(check, &run);
            run.from = place;
            run.first_record = sqlite3_column_int64(all, 2);
        }
        run.to = place;
        run.last_record = sqlite3_column_int64(all, 2) + sqlite3_column_int64(all, 3) - 1;
    }
    tell_absent(check, &run);
    sqlite3_finalize(all);
    if (check->blocks_behind > 0)
        tape_findings_add(check->findings, TAPE_FINDINGS_NOTE,
                          "the index ends before the last %" PRIu64
                          " blocks; the recorder adds them",
                          check->blocks_behind);
    return code == SQLITE_DONE ? 0 : sqlite_failed(check, error);
}

/* --- the parser again --- */

struct fold {
    struct tape_index *index;
    struct tape_summariser *summariser;
};

static void close_fold(struct fold *fold)
{
    tape_summariser_free(fold->summariser);
    tape_index_close(fold->index);
}

/* An index in memory, a copy of from where that is not NULL, ready to be caught up. */
static int open_fold(struct fold *fold, struct tape_archive *archive, struct tape_index *from,
                     struct tape_error *error)
{
    fold->index = tape_index_open_memory(archive, error);
    if (!fold->index)
        return error->status;
    int status = from ? tape_index_copy(fold->index, from, error) : 0;
    if (status < 0)
        return status;
    fold->summariser = tape_summariser_new(error);
    if (!fold->summariser)
        return error->status;
    return tape_index_load_state(fold->index, fold->summariser, error);
}

static int catch_up(struct fold *fold, struct tape_archive *archive, struct tape_error *error)
{
    int64_t blocks = tape_index_catch_up(fold->index, archive, fold->summariser, NULL, NULL, error);
    return blocks < 0 ? (int)blocks : 0;
}

static void tell_difference(void *context, const char *words)
{
    tape_findings_add(context, TAPE_FINDINGS_INDEX, "%s", words);
}

enum { ATTEMPTS = 20 };

/* Other segments, or one of them packed or made cold, give another sum. */
static uint32_t sum_of_files(struct tape_archive *archive)
{
    const struct tape_archive_entry *entry;
    uint32_t sum = (uint32_t)tape_archive_scan(archive, NULL);
    for (int i = 0; (entry = tape_archive_entry(archive, i)) != NULL; i++) {
        char path[TAPE_ARCHIVE_NAME_BYTES + 16];
        struct stat found = {0};
        snprintf(path, sizeof path, "segments/%s", entry->name);
        if (entry->state == 't')
            fstatat(tape_archive_directory_fd(archive), path, &found, AT_SYMLINK_NOFOLLOW);
        sum = tape_crc32c_update(sum, entry->name, strlen(entry->name));
        sum = tape_crc32c_update(sum, &found.st_size, sizeof found.st_size);
    }
    return sum;
}

/* 1 when both end, and begin, at the same record; else 0 when the one that is behind was caught up:
 * a recorder may add some, and prune others, between the two. */
static int is_level(struct fold *left, struct fold *right, struct tape_archive *archive,
                    struct tape_error *error)
{
    uint64_t l = tape_index_next_ordinal(left->index);
    uint64_t r = tape_index_next_ordinal(right->index);
    uint64_t l_from = tape_index_pruned_ordinal(left->index);
    uint64_t r_from = tape_index_pruned_ordinal(right->index);
    if (l == r && l_from == r_from)
        return 1;
    return catch_up(l < r || (l == r && l_from < r_from) ? left : right, archive, error);
}

/* What differs counts when no segment was packed between the look of one side and that of the
 * other. */
static int compare(struct tape_verify_index *check, struct fold *left, struct fold *right,
                   struct tape_archive *archive, struct tape_error *error)
{
    uint32_t files = 0;
    int again = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        int status = is_level(left, right, archive, error);
        if (status < 0)
            return status;
        if (status == 0)
            continue;
        int differences = tape_index_compare(left->index, right->index, NULL, NULL, error);
        if (differences <= 0)
            return differences;
        if (again && files == sum_of_files(archive)) {
            differences = tape_index_compare(left->index, right->index, tell_difference,
                                             check->findings, error);
            return differences < 0 ? differences : 0;
        }
        again = 1;
        files = sum_of_files(archive);
        status = catch_up(left, archive, error);
        if (status == 0)
            status = catch_up(right, archive, error);
        if (status < 0)
            return status;
    }
    tape_findings_add(check->findings, TAPE_FINDINGS_NOTE,
                      "the archive changes too fast to compare its whole index");
    return 0;
}

int tape_verify_index_reparse(struct tape_verify_index *check, struct tape_archive *archive,
                              struct tape_error *error)
{
    struct fold truth = {0}, copy = {0};
    int status = open_fold(&truth, archive, NULL, error);
    if (status == 0)
        status = catch_up(&truth, archive, error);
    if (status == 0 && check->file) {
        status = open_fold(&copy, archive, check->file, error);
        if (status == 0)
            status = catch_up(&copy, archive, error);
        if (status == 0)
            status = compare(check, &copy, &truth, archive, error);
    }
    close_fold(&copy);
    close_fold(&truth);
    return status;
}
