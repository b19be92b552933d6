#include "record/repair.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>

#include "format/archive.h"
#include "format/cursor.h"
#include "record/resume.h"

struct count {
    uint64_t records, damaged_places, lost_records;
    uint64_t first_ordinal; /* of what the segments hold or tell of; UINT64_MAX: of nothing */
};

/* Every block is read: damage in the middle shows nowhere else. */
static int read_all(struct tape_archive *archive, struct count *count,
                    void (*say)(void *context, const char *words), void *context,
                    struct tape_error *error)
{
    struct tape_record record;
    struct tape_cursor_damage damage;
    struct tape_cursor *cursor = tape_cursor_open(archive, error);
    int got = cursor ? 1 : error->status;
    while (got > 0) {
        got = tape_cursor_next(cursor, &record, &damage, error);
        count->records += got == 1;
        if (count->first_ordinal == UINT64_MAX && got > 0)
            count->first_ordinal = got == 1 ? record.ordinal : damage.from_ordinal;
        if (got == 2) {
            count->damaged_places++;
            count->lost_records += damage.to_ordinal - damage.from_ordinal;
            say(context, damage.text);
        }
    }
    tape_cursor_close(cursor);
    return got;
}

/* Of segments that are gone from the front only the index still knows: what was pruned it has
 * forgotten. */
static void count_gone(struct tape_index *index, struct count *count,
                       void (*say)(void *context, const char *words), void *context)
{
    char words[200];
    sqlite3_stmt *statement = NULL;
    uint64_t known = count->first_ordinal;
    if (sqlite3_prepare_v2(tape_index_handle(index),
                           "SELECT min(block_id) FROM block HAVING count(*) > 0", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        known = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    if (known >= count->first_ordinal)
        return;
    count->damaged_places++;
    snprintf(words, sizeof words,
             "records %" PRIu64 " to %" PRIu64
             " are lost: the index knows of them, no segment has them",
             known, count->first_ordinal - 1);
    say(context, words);
}

static int mend(struct tape_archive *archive, void (*say)(void *context, const char *words),
                void *context, int *lost, struct tape_error *error)
{
    char words[200];
    struct count count = {.first_ordinal = UINT64_MAX};
    struct tape_resume resume = {0};
    int status = tape_resume_run(&resume, archive, 1, say, context, error);
    if (status == 0)
        status = tape_archive_set_owner(archive, "", 0, error);
    if (status == 0)
        status = read_all(archive, &count, say, context, error);
    if (status == 0 && resume.index && count.records > 0)
        count_gone(resume.index, &count, say, context);
    const struct tape_recover_report *report = &resume.recovered;
    *lost = report->lost_records > 0 || report->torn_records || report->unreadable > 0 ||
            count.damaged_places > 0;
    tape_resume_clear(&resume);
    if (status < 0)
        return status;
    snprintf(words, sizeof words,
             "%" PRIu64 " records; %u segments sealed, %" PRIu64
             " records saved from the ring, %" PRIu64 " damaged places%s",
             count.records, report->sealed, report->ring_records, count.damaged_places,
             *lost ? "; records are lost" : "; nothing is lost");
    say(context, words);
    return 0;
}

int tape_repair_run(const char *path, void (*say)(void *context, const char *words), void *context,
                    int *lost, struct tape_error *error)
{
    *lost = 0;
    /* opening for reading first: a mistyped path must not become an archive */
    struct tape_archive *archive = tape_archive_open(path, error);
    if (archive == NULL)
        return error->status;
    tape_archive_close(archive);
    archive = tape_archive_create(path, error);
    if (archive == NULL)
        return error->status;
    int status = mend(archive, say, context, lost, error);
    tape_archive_close(archive);
    return status < 0 ? tape_error_wrap(error, "repair %.700s", path) : 0;
}
