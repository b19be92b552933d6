#include "format/index_repack.h"

#include <stdlib.h>
#include <string.h>

#include "format/cursor.h"
#include "format/index_internal.h"
#include "format/summary_state.h"

enum {
    ROWS_MAX_BYTES = 64 << 20
}; /* kept until the commit; where there are more the file is read */

/* What of a segment's row must be the same before and after. */
enum { FIRST_ORDINAL, NEXT_ORDINAL, RESUME_ORDINAL, SUMS = 8 };
static const char sums_query[] =
    "SELECT first_ordinal, next_ordinal, resume_ordinal, records, messages, payload_bytes, "
    "first_ns, last_ns, sealed FROM segment WHERE segment_id = ?1";

/*
 * Invariants: the summariser stands as the index's fold stood before record from, plus what was
 * added; records outside [from, to) were counted with another segment and are not added. rows are
 * those of the blocks told so far, unless too_many; with applying set they are in its open
 * transaction instead. counting = 0: nothing of these records is in the index, or can be counted.
 */
struct tape_index_repack {
    struct tape_summariser *summariser;
    struct tape_index *applying;
    struct tape_summary_rows rows;
    uint32_t sequence;
    int64_t sums[SUMS];
    uint64_t from, to;
    uint32_t added; /* since the last block */
    uint8_t in_index, too_many;
};

/* 1 with the sums of the segment's row, 0 when it has none, or a status. *sealed may be NULL. */
static int read_sums(struct tape_index *index, uint32_t sequence, int64_t sums[SUMS], int *sealed,
                     struct tape_error *error)
{
    sqlite3_stmt *statement = NULL;
    int found = 0;
    if (sqlite3_prepare_v2(index->db, sums_query, -1, &statement, NULL) != SQLITE_OK)
        return tape_index_fail(index, error, "segment");
    sqlite3_bind_int64(statement, 1, sequence);
    int code = sqlite3_step(statement);
    for (int i = 0; code == SQLITE_ROW && i < SUMS; i++) {
        int known = sqlite3_column_type(statement, i) != SQLITE_NULL;
        sums[i] = known ? sqlite3_column_int64(statement, i) : TAPE_SUMMARY_NONE;
        found = 1;
    }
    if (code == SQLITE_ROW && sealed)
        *sealed = sqlite3_column_int(statement, SUMS) == 1;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        found = tape_index_fail(index, error, "segment");
    sqlite3_finalize(statement);
    return found;
}

/* Messages that were unfinished before the segment's first record: from where they began. */
static int warm(struct tape_index_repack *repack, struct tape_archive *archive, uint64_t resume,
                struct tape_error *error)
{
    struct tape_record record;
    struct tape_cursor_damage damage;
    if (resume >= repack->from)
        return 0;
    struct tape_cursor *cursor = tape_cursor_open(archive, error);
    int got = cursor ? tape_cursor_seek_ordinal(cursor, resume, error) : TAPE_FAILED;
    if (got == 0)
        got = 1;
    while (got > 0) {
        got = tape_cursor_next(cursor, &record, &damage, error);
        if (got == 1 && record.ordinal >= repack->from)
            break;
        if (got == 1) {
            int status = tape_summariser_warm(repack->summariser, &record, error);
            got = status < 0 ? status : got;
        }
    }
    tape_cursor_close(cursor);
    return got < 0 ? got : 0;
}

/* The row of a segment whose file was written by a recorder in this process says that it is sealed
 * when no more rows about it are on their way: one that came later would tell the old name again.
 */
static int load(struct tape_index_repack *repack, struct tape_index *index,
                struct tape_archive *archive, const struct tape_segment_info *info,
                struct tape_error *error)
{
    int64_t *sums = repack->sums;
    int sealed = 0, packed_already = index->in_transaction;
    int status = index->in_transaction ? 0 : tape_index_load_place(index, error);
    if (status == 0)
        status = read_sums(index, repack->sequence, sums, &sealed, error);
    if (status < 0)
        return status;
    if (status == 0 || index->now.next_ordinal < info->next_ordinal || (!sealed && !packed_already))
        return tape_error_set(error, TAPE_MISSING, "%s: it does not hold all of segment %06u",
                              index->name, repack->sequence);
    repack->in_index = 1;
    if (sums[FIRST_ORDINAL] < 0 || sums[NEXT_ORDINAL] < sums[FIRST_ORDINAL] ||
        sums[RESUME_ORDINAL] < 0)
        return 0; /* none of its blocks counts */
    repack->from = (uint64_t)sums[FIRST_ORDINAL];
    repack->to = (uint64_t)sums[NEXT_ORDINAL];
    status = tape_index_load_before(index, repack->from, repack->summariser, error);
    return status < 0 ? status : warm(repack, archive, (uint64_t)sums[RESUME_ORDINAL], error);
}

struct tape_index_repack *tape_index_repack_new(struct tape_index *index,
                                                struct tape_archive *archive,
                                                const struct tape_segment_info *info,
                                                struct tape_error *error)
{
    struct tape_index_repack *repack = calloc(1, sizeof *repack);
    if (!repack) {
        tape_error_set(error, TAPE_FAILED, "no memory for a segment's rows");
        return NULL;
    }
    repack->sequence = info->sequence;
    repack->to = index ? 0 : UINT64_MAX;
    repack->summariser = tape_summariser_new(error);
    if (!repack->summariser || (index && load(repack, index, archive, info, error) < 0)) {
        tape_index_repack_free(repack);
        return NULL;
    }
    return repack;
}

void tape_index_repack_free(struct tape_index_repack *repack)
{
    if (!repack)
        return;
    tape_summariser_free(repack->summariser);
    free(repack->rows.bytes);
    free(repack);
}

int tape_index_repack_cuts(const struct tape_index_repack *repack, uint64_t ordinal)
{
    return ordinal == repack->from || ordinal == repack->to;
}

int tape_index_repack_add(struct tape_index_repack *repack, const struct tape_record *record,
                          struct tape_error *error)
{
    if (record->ordinal < repack->from || record->ordinal >= repack->to)
        return 0;
    repack->added++;
    int status = tape_summariser_add(repack->summariser, record, NULL, error);
    return status < 0 ? status : 0;
}

const struct tape_segment_stream_count *
tape_index_repack_counts(const struct tape_index_repack *repack, size_t *length)
{
    *length = 0;
    return repack->added ? tape_summariser_counts(repack->summariser, length) : NULL;
}

/* Only the rows that tell of the block itself: all else the index has already. */
static int keep_rows(struct tape_index_repack *repack, const struct tape_summary_rows *rows,
                     struct tape_error *error)
{
    struct tape_summary_value values[TAPE_SUMMARY_VALUES_MAX];
    struct tape_summary_rows *to = &repack->rows;
    size_t at = 0, from = 0;
    for (int row; (row = tape_summary_rows_next(rows, &at, values)) >= 0; from = at) {
        if (row != TAPE_SUMMARY_ROW_BLOCK && row != TAPE_SUMMARY_ROW_BLOCK_STREAM &&
            row != TAPE_SUMMARY_ROW_SEGMENT_SUMS)
            continue;
        if (to->room - to->used < at - from) {
            size_t room = 2 * to->room + (at - from) + 4096;
            uint8_t *grown = realloc(to->bytes, room);
            if (!grown)
                return tape_error_set(error, TAPE_FAILED, "no memory for a segment's rows");
            to->bytes = grown;
            to->room = room;
        }
        memcpy(to->bytes + to->used, rows->bytes + from, at - from);
        to->used += at - from;
    }
    return 0;
}

int tape_index_repack_block(struct tape_index_repack *repack,
                            const struct tape_block_header *header, uint64_t offset,
                            struct tape_error *error)
{
    int status = 0;
    if (!repack->added)
        return 0;
    repack->added = 0;
    struct tape_summary *summary = tape_summariser_take(repack->summariser, header, offset);
    if (!summary)
        return tape_error_set(error, TAPE_FAILED, "no memory for a block's summary");
    if (repack->in_index && !repack->too_many)
        status = keep_rows(repack, &summary->rows, error);
    tape_summary_free(summary);
    if (status == 0 && repack->applying) {
        status = tape_index_apply_rows(repack->applying, &repack->rows, error);
        repack->rows.used = 0;
    } else if (repack->rows.used > ROWS_MAX_BYTES) {
        free(repack->rows.bytes);
        repack->rows = (struct tape_summary_rows){0};
        repack->too_many = 1;
    }
    return status;
}

/* ---- into the index ---- */

static int run(struct tape_index *index, const char *sql, int64_t first, int64_t second,
               struct tape_error *error)
{
    sqlite3_stmt *statement = NULL;
    int status = 0;
    if (sqlite3_prepare_v2(index->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return tape_index_fail(index, error, "segment");
    sqlite3_bind_int64(statement, 1, first);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sqlite3_bind_int64(statement, 2, second);
    if (sqlite3_step(statement) != SQLITE_DONE)
        status = tape_index_fail(index, error, "segment");
    sqlite3_finalize(statement);
    return status;
}

/* Every block of the segment is named by a record in [from, to), and so is what it says of each
 * stream; no other segment's is. */
static int remove_rows(const struct tape_index_repack *repack, struct tape_index *index,
                       struct tape_error *error)
{
    static const char *const ranges[] = {
        "DELETE FROM block_stream WHERE first_ordinal >= ?1 AND first_ordinal < ?2",
        "DELETE FROM block WHERE block_id >= ?1 AND block_id < ?2",
    };
    int status = run(index,
                     "UPDATE segment SET day = NULL, blocks = 0, records = 0, messages = 0, "
                     "payload_bytes = 0, raw_bytes = 0, stored_bytes = 0, first_ordinal = NULL, "
                     "next_ordinal = NULL, resume_ordinal = NULL, first_ns = NULL, last_ns = NULL "
                     "WHERE segment_id = ?1",
                     repack->sequence, 0, error);
    for (int i = 0; status == 0 && i < 2; i++)
        status = run(index, ranges[i], (int64_t)repack->from, (int64_t)repack->to, error);
    return status;
}

static int check_sums(const struct tape_index_repack *repack, struct tape_index *index,
                      struct tape_error *error)
{
    int64_t sums[SUMS];
    int found = read_sums(index, repack->sequence, sums, NULL, error);
    if (found < 0)
        return found;
    if (found == 1 && memcmp(sums, repack->sums, sizeof sums) == 0)
        return 0;
    return tape_error_set(error, TAPE_CORRUPT,
                          "%s: it does not agree with the records of segment %06u", index->name,
                          repack->sequence);
}

static int end(struct tape_index *index, int status, struct tape_error *error)
{
    if (status == 0)
        return tape_index_commit(index, error);
    tape_index_rollback(index);
    return status;
}

int tape_index_repack_commit(struct tape_index_repack *repack, struct tape_index *index,
                             struct tape_archive *archive, const struct tape_archive_entry *entry,
                             const struct tape_segment_info *info, struct tape_error *error)
{
    if (!repack->in_index)
        return 0;
    if (repack->too_many)
        return tape_index_repack_file(index, archive, entry, error);
    int status = tape_index_begin(index, error);
    if (status < 0)
        return status;
    /* the place as the other connection left it: committing writes it again */
    status = tape_index_load_place(index, error);
    if (status == 0)
        status = check_sums(repack, index, error);
    if (status == 0 && repack->to > repack->from)
        status = remove_rows(repack, index, error);
    if (status == 0)
        status = tape_index_apply_rows(index, &repack->rows, error);
    if (status == 0)
        status = check_sums(repack, index, error);
    if (status == 0)
        status = tape_index_set_segment(index, entry, info, error);
    return end(index, status, error);
}

/* Block after block of the packed file. */
static int add_file(struct tape_index_repack *repack, struct tape_segment *segment,
                    struct tape_error *error)
{
    struct tape_segment_info info;
    struct tape_record record;
    struct tape_block_reader *reader = tape_block_reader_new();
    int status = reader ? 0 : tape_error_set(error, TAPE_FAILED, "no memory");
    tape_segment_read_info(segment, &info);
    for (uint32_t i = 0; status == 0 && i < info.blocks; i++) {
        status = tape_segment_read(segment, i, reader, error);
        const struct tape_segment_entry *block = tape_segment_entry(segment, i);
        while (status == 0 && tape_block_next(reader, &record) == 1)
            status = tape_index_repack_add(repack, &record, error);
        if (status == 0)
            status = tape_index_repack_block(repack, &block->header, block->offset, error);
    }
    tape_block_reader_free(reader);
    return status;
}

int tape_index_repack_file(struct tape_index *index, struct tape_archive *archive,
                           const struct tape_archive_entry *entry, struct tape_error *error)
{
    struct tape_segment_info info;
    struct tape_archive_entry file = *entry; /* the scans below may move it */
    struct tape_segment *segment = tape_archive_open_segment(archive, &file, error);
    if (!segment)
        return error ? error->status : TAPE_FAILED;
    tape_segment_read_info(segment, &info);
    int status = tape_index_begin(index, error);
    if (status == 0)
        status = tape_index_load_place(index, error);
    struct tape_index_repack *repack =
        status == 0 ? tape_index_repack_new(index, archive, &info, error) : NULL;
    if (repack) {
        repack->applying = index;
        status = repack->to > repack->from ? remove_rows(repack, index, error) : 0;
        if (status == 0)
            status = add_file(repack, segment, error);
        if (status == 0)
            status = check_sums(repack, index, error);
        if (status == 0)
            status = tape_index_set_segment(index, &file, &info, error);
    } else if (status == 0) {
        status = error ? error->status : TAPE_FAILED;
    }
    tape_index_repack_free(repack);
    tape_segment_close(segment);
    return index->in_transaction ? end(index, status, error) : status;
}
