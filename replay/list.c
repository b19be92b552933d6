#include "replay/list.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "format/archive.h"
#include "format/archive_current.h"
#include "replay/catalog.h"
#include "replay/left.h"
#include "replay/object.h"
#include "replay/packing.h"
#include "replay/printable.h"
#include "replay/timespec.h"

enum {
    NAME_COLUMN = 23,
    SESSIONS_SHOWN = 10, /* the last ones; JSON has all */
    TEXT_ROOM = 1100,    /* a stream's name of 255 bytes, each as \xNN, and to spare */
};

/* One query on the catalog, stepped row by row. Columns that are NULL read as 0 and "". */
struct query {
    sqlite3_stmt *statement;
    struct tape_error *error;
};

struct list {
    const struct tape_options *options;
    FILE *to;
    struct tape_archive *archive;
    struct tape_archive_owner owner;
    struct tape_catalog catalog;
    int64_t as_of_ns;
    int files, packed, cold; /* cold ones are packed, too */
    uint64_t files_bytes, packed_bytes, left_in_ring;
    struct tape_error *error;
};

static int query_begin(struct query *query, struct list *list, const char *sql)
{
    sqlite3 *database = tape_index_handle(list->catalog.index);
    query->error = list->error;
    query->statement = NULL;
    if (sqlite3_prepare_v2(database, sql, -1, &query->statement, NULL) == SQLITE_OK)
        return 0;
    return tape_error_set(list->error, TAPE_FAILED, "index: %s", sqlite3_errmsg(database));
}

/* 1 with a row, 0 after the last (the query is over then), or a status. */
static int query_next(struct query *query)
{
    int code = sqlite3_step(query->statement), status = 0;
    if (code == SQLITE_ROW)
        return 1;
    if (code != SQLITE_DONE)
        status = tape_error_set(query->error, TAPE_FAILED, "index: %s",
                                sqlite3_errmsg(sqlite3_db_handle(query->statement)));
    sqlite3_finalize(query->statement);
    query->statement = NULL;
    return status;
}

static int64_t number(const struct query *query, int column)
{
    return sqlite3_column_int64(query->statement, column);
}

static int is_null(const struct query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

static const char *text(const struct query *query, int column)
{
    const unsigned char *found = sqlite3_column_text(query->statement, column);
    return found ? (const char *)found : "";
}

/* "2026-11-22 08:00:00", or "-" where there is no time. */
static const char *when(char to[TAPE_TIMESPEC_TEXT_BYTES], const struct query *query, int column)
{
    if (is_null(query, column))
        return "-";
    tape_timespec_format(to, number(query, column));
    to[10] = ' ';
    to[19] = '\0';
    return to;
}

/* "999", "12.3 kB", "1.2 GB". */
static const char *size(char to[16], uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < sizeof units / sizeof *units; unit++)
        value /= 1000;
    snprintf(to, 16, value < 99.95 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return to;
}

/* Everything that comes from an archive may act on a terminal. */
static const char *safe(char to[TEXT_ROOM], const char *from)
{
    return tape_printable_text(to, TEXT_ROOM, from, strlen(from));
}

static void put_null_or_time(cJSON *object, const char *key, const struct query *query, int column)
{
    char key_ns[64];
    if (!is_null(query, column)) {
        tape_object_put_time(object, key, number(query, column));
        return;
    }
    snprintf(key_ns, sizeof key_ns, "%s_ns", key);
    cJSON_AddNullToObject(object, key);
    cJSON_AddNullToObject(object, key_ns);
}

static void put_null_or_count(cJSON *object, const char *key, const struct query *query, int column)
{
    if (is_null(query, column))
        cJSON_AddNullToObject(object, key);
    else
        tape_object_put_count(object, key, (uint64_t)number(query, column));
}

/* --- sessions --- */

/* A session that was not seen to end is the one that goes on now, or it died. */
static const char session_sql[] =
    "SELECT session_id, started_ns, ended_ns, coalesce(end_reason,"
    " CASE WHEN ?1 AND session_id = (SELECT max(session_id) FROM session) THEN 'recording'"
    " ELSE 'died' END), version, host, pid, (SELECT count(*) FROM session AS later"
    " WHERE later.session_id > session.session_id) FROM session ORDER BY session_id";

static void print_session_row(struct list *list, const struct query *query)
{
    char started[TAPE_TIMESPEC_TEXT_BYTES], ended[TAPE_TIMESPEC_TEXT_BYTES], reason[TEXT_ROOM];
    int64_t later = number(query, 7);
    if (later == SESSIONS_SHOWN)
        fputs("   ...  earlier ones: --json\n", list->to);
    if (later < SESSIONS_SHOWN)
        fprintf(list->to, "  %4" PRId64 "  %-19s  %-19s  %s\n", number(query, 0),
                when(started, query, 1), when(ended, query, 2), safe(reason, text(query, 3)));
}

static void put_session(cJSON *array, const struct query *query)
{
    cJSON *object = cJSON_CreateObject();
    tape_object_put_count(object, "session", (uint64_t)number(query, 0));
    put_null_or_time(object, "started", query, 1);
    put_null_or_time(object, "ended", query, 2);
    tape_object_put_string(object, "end_reason", text(query, 3));
    tape_object_put_string(object, "version", text(query, 4));
    tape_object_put_string(object, "host", text(query, 5));
    put_null_or_count(object, "pid", query, 6);
    cJSON_AddItemToArray(array, object);
}

static int print_sessions(struct list *list, cJSON *array)
{
    struct query query;
    int got = query_begin(&query, list, session_sql);
    if (got < 0)
        return got;
    sqlite3_bind_int(query.statement, 1, list->owner.held);
    if (!array)
        fprintf(list->to, "\nsessions\n  %4s  %-19s  %-19s  %s\n", "no", "started (UTC)", "ended",
                "how");
    while ((got = query_next(&query)) == 1) {
        if (array)
            put_session(array, &query);
        else
            print_session_row(list, &query);
    }
    return got;
}

/* --- streams --- */

/* missing is NULL where nobody can say how much a gap took. Open gaps (nothing came since) are not
 * counted: after the recorder has ended every stream has one. */
static const char stream_sql[] =
    "SELECT s.venue, s.name, s.messages - s.pruned_messages, s.bytes - s.pruned_bytes,"
    " CASE WHEN s.pruned_messages = 0 THEN s.first_ns ELSE (SELECT min(b.first_ns)"
    " FROM block_stream AS b WHERE b.stream_id = s.stream_id) END,"
    " CASE WHEN s.messages > s.pruned_messages THEN s.last_ns END, coalesce(g.gaps, 0),"
    " CASE WHEN coalesce(g.unknown, 0) > 0 THEN NULL ELSE coalesce(g.missing, 0) END,"
    " s.loss_detectable, s.symbol, s.channel, s.duplicates"
    " FROM stream AS s LEFT JOIN (SELECT stream_id, count(*) AS gaps, sum(missing) AS missing,"
    " sum(missing IS NULL) AS unknown FROM gap WHERE stream_id IS NOT NULL AND to_ns IS NOT NULL"
    " GROUP BY stream_id) AS g"
    " ON g.stream_id = s.stream_id ORDER BY s.venue, s.name";

/* What is known about messages that are not there. */
static const char *loss(char to[32], const struct query *query)
{
    if (!number(query, 8))
        return "undetectable";
    if (is_null(query, 7))
        return "unknown";
    if (number(query, 7) == 0)
        return "none";
    snprintf(to, 32, "%" PRId64, number(query, 7));
    return to;
}

static void print_stream_row(struct list *list, const struct query *query)
{
    char name[TEXT_ROOM], first[TAPE_TIMESPEC_TEXT_BYTES], last[TAPE_TIMESPEC_TEXT_BYTES];
    char bytes[16], lost[32];
    const char *shown = text(query, 1)[0] ? safe(name, text(query, 1)) : "(no name)";
    /* A name that does not fit has a line of its own, whole, for copying. */
    if (strlen(shown) > NAME_COLUMN) {
        fprintf(list->to, " %s\n", shown);
        shown = "";
    }
    fprintf(list->to, " %-*s %9" PRId64 " %7s %-19s %-19s %4" PRId64 " %s\n", NAME_COLUMN, shown,
            number(query, 2), size(bytes, (uint64_t)number(query, 3)), when(first, query, 4),
            when(last, query, 5), number(query, 6), loss(lost, query));
}

static void put_stream(cJSON *array, const struct query *query)
{
    char lost[32];
    cJSON *object = cJSON_CreateObject();
    tape_object_put_string(object, "venue", text(query, 0));
    tape_object_put_string(object, "name", text(query, 1));
    tape_object_put_string(object, "symbol", text(query, 9));
    tape_object_put_string(object, "channel", text(query, 10));
    tape_object_put_count(object, "messages", (uint64_t)number(query, 2));
    tape_object_put_count(object, "bytes", (uint64_t)number(query, 3));
    put_null_or_time(object, "first", query, 4);
    put_null_or_time(object, "last", query, 5);
    tape_object_put_count(object, "gaps", (uint64_t)number(query, 6));
    if (!number(query, 8) || is_null(query, 7))
        cJSON_AddNullToObject(object, "missing");
    else
        tape_object_put_count(object, "missing", (uint64_t)number(query, 7));
    const char *word = loss(lost, query);
    cJSON_AddStringToObject(object, "loss", word == lost ? "some" : word);
    tape_object_put_count(object, "duplicates", (uint64_t)number(query, 11));
    cJSON_AddItemToArray(array, object);
}

static int print_streams(struct list *list, cJSON *array)
{
    char venue[TEXT_ROOM], shown[TEXT_ROOM] = "";
    struct query query;
    int rows = 0, got = query_begin(&query, list, stream_sql);
    if (got < 0)
        return got;
    if (!array)
        fprintf(list->to, "\n%-*s  %9s %7s %-19s %-19s %4s %s\n", NAME_COLUMN, "streams",
                "messages", "bytes", "first (UTC)", "last", "gaps", "missing");
    while ((got = query_next(&query)) == 1) {
        if (array) {
            put_stream(array, &query);
            continue;
        }
        safe(venue, text(&query, 0)[0] ? text(&query, 0) : "(no venue)");
        if (rows++ == 0 || strcmp(venue, shown) != 0)
            fprintf(list->to, "%s:\n", venue);
        memcpy(shown, venue, sizeof shown);
        print_stream_row(list, &query);
    }
    if (!array && rows == 0)
        fputs("  none yet\n", list->to);
    return got;
}

/* --- totals --- */

static int print_connections(struct list *list, cJSON *object)
{
    struct query query;
    int got = query_begin(&query, list,
                          "SELECT count(*), count(opened_ns),"
                          " sum(opened_ns IS NOT NULL AND closed_ns IS NULL) FROM connection");
    if (got < 0)
        return got;
    if ((got = query_next(&query)) != 1)
        return got;
    int64_t all = number(&query, 0), opened = number(&query, 1), open = number(&query, 2);
    if (object) {
        cJSON *child = cJSON_AddObjectToObject(object, "connections");
        tape_object_put_count(child, "total", (uint64_t)all);
        tape_object_put_count(child, "failed", (uint64_t)(all - opened));
        tape_object_put_count(child, "open", (uint64_t)open);
    } else {
        fprintf(list->to, "\nconnections  %" PRId64, all);
        if (all > opened)
            fprintf(list->to, ", %" PRId64 " of them failed attempts", all - opened);
        fputc('\n', list->to);
    }
    return query_next(&query);
}

static int print_gaps(struct list *list, cJSON *object)
{
    char kind[TEXT_ROOM];
    struct query query;
    int64_t closed = 0, open = 0;
    cJSON *kinds = object ? cJSON_AddObjectToObject(object, "gaps_by_kind") : NULL;
    int got = query_begin(&query, list,
                          "SELECT kind, count(to_ns), sum(to_ns IS NULL) FROM gap"
                          " GROUP BY kind ORDER BY kind");
    if (got < 0)
        return got;
    if (!object)
        fputs("gaps         ", list->to);
    while ((got = query_next(&query)) == 1) {
        int64_t count = number(&query, 1);
        if (kinds && count > 0)
            tape_object_put_count(kinds, text(&query, 0), (uint64_t)count);
        else if (count > 0)
            fprintf(list->to, "%s%" PRId64 " %s", closed ? ", " : "", count,
                    safe(kind, text(&query, 0)));
        closed += count;
        open += number(&query, 2);
    }
    if (object) {
        tape_object_put_count(object, "gaps", (uint64_t)closed);
        tape_object_put_count(object, "gaps_open", (uint64_t)open);
    } else {
        fputs(closed ? "" : "none", list->to);
        if (open > 0)
            fprintf(list->to, "; %" PRId64 " open: nothing came since", open);
        fputc('\n', list->to);
    }
    return got;
}

static double ratio_of(uint64_t raw_bytes, uint64_t stored_bytes)
{
    return stored_bytes ? (double)raw_bytes / (double)stored_bytes : 0;
}

static void put_ratio(cJSON *object, uint64_t raw_bytes, uint64_t stored_bytes)
{
    double thousandths = ratio_of(raw_bytes, stored_bytes) * 1000 + 0.5;
    cJSON_AddNumberToObject(object, "ratio", (double)(int64_t)thousandths / 1000);
}

/* The word for a segment that is listed now, or NULL. */
static const char *packing_word(const struct list *list, uint32_t sequence)
{
    const struct tape_archive_entry *entry =
        sequence > 0 ? tape_archive_after(list->archive, sequence - 1) : NULL;
    if (!entry || entry->sequence != sequence)
        return NULL;
    return tape_packing_word(tape_packing_read(list->archive, entry));
}

static int put_segments(struct list *list, cJSON *array)
{
    struct query query;
    int got = query_begin(&query, list,
                          "SELECT segment_id, name, sealed, blocks, records, messages,"
                          " payload_bytes, raw_bytes, stored_bytes, file_bytes, first_ns, last_ns,"
                          " damaged_places FROM segment ORDER BY segment_id");
    while (got == 0 && (got = query_next(&query)) == 1) {
        static const char *const counts[] = {"blocks",        "records",   "messages",
                                             "payload_bytes", "raw_bytes", "stored_bytes"};
        const char *packing = packing_word(list, (uint32_t)number(&query, 0));
        cJSON *object = cJSON_CreateObject();
        tape_object_put_count(object, "segment", (uint64_t)number(&query, 0));
        tape_object_put_string(object, "name", text(&query, 1));
        if (packing)
            cJSON_AddStringToObject(object, "packing", packing);
        else
            cJSON_AddNullToObject(object, "packing");
        cJSON_AddBoolToObject(object, "sealed", number(&query, 2) == 1);
        for (int i = 0; i < 6; i++)
            tape_object_put_count(object, counts[i], (uint64_t)number(&query, 3 + i));
        put_ratio(object, (uint64_t)number(&query, 7), (uint64_t)number(&query, 8));
        put_null_or_count(object, "file_bytes", &query, 9);
        put_null_or_time(object, "first", &query, 10);
        put_null_or_time(object, "last", &query, 11);
        tape_object_put_count(object, "damaged_places", (uint64_t)number(&query, 12));
        cJSON_AddItemToArray(array, object);
        got = 0;
    }
    return got;
}

static int print_storage(struct list *list, cJSON *object)
{
    char raw[16], stored[16], files[16];
    struct query query;
    int got = query_begin(&query, list,
                          "SELECT count(*), coalesce(sum(sealed), 0), coalesce(sum(records), 0),"
                          " coalesce(sum(raw_bytes), 0), coalesce(sum(stored_bytes), 0),"
                          " coalesce(sum(damaged_places), 0) FROM segment");
    if (got < 0)
        return got;
    if ((got = query_next(&query)) != 1)
        return got;
    uint64_t raw_bytes = (uint64_t)number(&query, 3), stored_bytes = (uint64_t)number(&query, 4);
    if (object) {
        tape_object_put_count(object, "segments_total", (uint64_t)number(&query, 0));
        tape_object_put_count(object, "segments_sealed", (uint64_t)number(&query, 1));
        tape_object_put_count(object, "records", (uint64_t)number(&query, 2));
        tape_object_put_count(object, "raw_bytes", raw_bytes);
        tape_object_put_count(object, "stored_bytes", stored_bytes);
        tape_object_put_count(object, "file_bytes", list->files_bytes);
        put_ratio(object, raw_bytes, stored_bytes);
        tape_object_put_count(object, "segments_packed", (uint64_t)list->packed);
        tape_object_put_count(object, "segments_cold", (uint64_t)list->cold);
        return query_next(&query);
    }
    fprintf(list->to, "segments     %d files, %s, %" PRId64 " sealed", list->files,
            size(files, list->files_bytes), number(&query, 1));
    if (list->packed > 0)
        fprintf(list->to, "; %d packed, %s", list->packed, size(files, list->packed_bytes));
    if (list->cold > 0)
        fprintf(list->to, " (%d of them cold)", list->cold);
    fprintf(list->to, "\nrecords      %" PRId64 " in %s, stored in %s: ratio %.2f\n",
            number(&query, 2), size(raw, raw_bytes), size(stored, stored_bytes),
            ratio_of(raw_bytes, stored_bytes));
    if (number(&query, 5) > 0)
        fprintf(list->to, "damaged      %" PRId64 " places; tape-replay verify tells which\n",
                number(&query, 5));
    return query_next(&query);
}

/* What is not there any more on purpose; a segment that stands all the same is not counted. */
static int print_pruned(struct list *list, cJSON *object)
{
    char bytes[16], last[TAPE_TIMESPEC_TEXT_BYTES];
    struct query query;
    int got =
        query_begin(&query, list,
                    "SELECT count(*), coalesce(sum(records), 0), coalesce(sum(file_bytes), 0),"
                    " max(ns) FROM pruned"
                    " WHERE segment_id NOT IN (SELECT segment_id FROM segment)");
    if (got < 0)
        return got;
    if ((got = query_next(&query)) != 1)
        return got;
    if (object) {
        cJSON *child = cJSON_AddObjectToObject(object, "pruned");
        tape_object_put_count(child, "segments", (uint64_t)number(&query, 0));
        tape_object_put_count(child, "records", (uint64_t)number(&query, 1));
        tape_object_put_count(child, "file_bytes", (uint64_t)number(&query, 2));
        put_null_or_time(child, "last", &query, 3);
    } else if (number(&query, 0) > 0) {
        fprintf(list->to, "pruned       %" PRId64 " files, %s, %" PRId64 " records; last %s\n",
                number(&query, 0), size(bytes, (uint64_t)number(&query, 2)), number(&query, 1),
                when(last, &query, 3));
    }
    return query_next(&query);
}

/* --- the whole --- */

static void put_hex(char to[33], const uint8_t id[16])
{
    for (int i = 0; i < 16; i++)
        snprintf(to + 2 * i, 3, "%02x", id[i]);
}

/* A file that has gone since it was listed was packed or pruned: all of them are looked at again.
 */
static int sum_files(struct list *list)
{
    enum { LOOKS_MAX = 4 };
    char name[TAPE_ARCHIVE_NAME_BYTES + 16];
    int gone = 1;
    for (int look = 0; gone && look < LOOKS_MAX; look++) {
        const struct tape_archive_entry *entry;
        list->files = tape_archive_scan(list->archive, list->error);
        list->files_bytes = list->packed_bytes = 0;
        list->packed = list->cold = gone = 0;
        for (int i = 0; (entry = tape_archive_entry(list->archive, i)) != NULL; i++) {
            struct stat found;
            snprintf(name, sizeof name, "segments/%s", entry->name);
            if (fstatat(tape_archive_directory_fd(list->archive), name, &found,
                        AT_SYMLINK_NOFOLLOW) < 0) {
                gone = 1;
                continue;
            }
            list->files_bytes += (uint64_t)found.st_size;
            if (entry->state != 't')
                continue;
            list->packed++;
            list->packed_bytes += (uint64_t)found.st_size;
            list->cold += tape_packing_read(list->archive, entry) == TAPE_PACKING_COLD;
        }
    }
    return list->files < 0 ? list->files : 0;
}

static int print_table(struct list *list)
{
    char id[33], path[TEXT_ROOM], time[TAPE_TIMESPEC_TEXT_BYTES];
    put_hex(id, tape_archive_id(list->archive));
    tape_timespec_format(time, list->as_of_ns);
    fprintf(list->to, "archive      %s\n", safe(path, list->options->archive));
    fprintf(list->to, "id           %s\nas of        %.19sZ\n", id, time);
    if (list->owner.held) {
        tape_timespec_format(time, list->owner.started_ns);
        fprintf(list->to, "recording    yes, by process %" PRId64 " since %.19sZ\n",
                list->owner.pid, time);
    } else {
        fputs("recording    no", list->to);
        if (list->left_in_ring > 0)
            fprintf(list->to,
                    "; it died: %" PRIu64 " records are in its ring only, not counted here",
                    list->left_in_ring);
        fputc('\n', list->to);
    }
    int status = print_connections(list, NULL);
    if (status == 0)
        status = print_gaps(list, NULL);
    if (status == 0)
        status = print_storage(list, NULL);
    if (status == 0)
        status = print_pruned(list, NULL);
    if (status == 0)
        status = print_sessions(list, NULL);
    if (status == 0)
        status = print_streams(list, NULL);
    return status;
}

static int print_object(struct list *list)
{
    char id[33];
    cJSON *object = cJSON_CreateObject();
    put_hex(id, tape_archive_id(list->archive));
    tape_object_put_string(object, "archive", list->options->archive);
    cJSON_AddStringToObject(object, "id", id);
    tape_object_put_time(object, "as_of", list->as_of_ns);
    cJSON_AddBoolToObject(object, "recording", list->owner.held);
    if (list->owner.held) {
        cJSON *recorder = cJSON_AddObjectToObject(object, "recorder");
        tape_object_put_count(recorder, "pid", (uint64_t)list->owner.pid);
        tape_object_put_time(recorder, "started", list->owner.started_ns);
    }
    tape_object_put_count(object, "left_in_ring", list->left_in_ring);
    cJSON_AddStringToObject(object, "index", list->catalog.from_file ? "index.db" : "segments");
    int status = print_sessions(list, cJSON_AddArrayToObject(object, "sessions"));
    if (status == 0)
        status = print_streams(list, cJSON_AddArrayToObject(object, "streams"));
    if (status == 0)
        status = print_connections(list, object);
    if (status == 0)
        status = print_gaps(list, object);
    if (status == 0)
        status = print_storage(list, object);
    if (status == 0)
        status = print_pruned(list, object);
    if (status == 0)
        status = put_segments(list, cJSON_AddArrayToObject(object, "segments"));
    if (status < 0) {
        cJSON_Delete(object);
        return status;
    }
    if (tape_object_print(object, list->to) < 0)
        return tape_error_set(list->error, TAPE_FAILED, "standard output: cannot be written");
    return 0;
}

static int list_archive(struct list *list)
{
    struct timespec now;
    tape_archive_read_owner(list->archive, &list->owner, NULL);
    int status = tape_catalog_open(&list->catalog, list->archive, list->error);
    if (status < 0)
        return status;
    clock_gettime(CLOCK_REALTIME, &now);
    list->as_of_ns = now.tv_sec * 1000000000ll + now.tv_nsec;
    if (list->catalog.why_not[0]) {
        char why[TEXT_ROOM];
        fprintf(stderr, "tape-replay: index.db is of no use, counted from the segments: %s\n",
                safe(why, list->catalog.why_not));
    }
    list->left_in_ring =
        tape_left_in_ring(list->archive, tape_index_next_ordinal(list->catalog.index));
    status = sum_files(list);
    if (status == 0)
        status = list->options->json ? print_object(list) : print_table(list);
    tape_catalog_close(&list->catalog);
    return status;
}

int tape_list_run(const struct tape_options *options, FILE *to, struct tape_error *error)
{
    struct list list = {.options = options, .to = to, .error = error};
    list.archive = tape_archive_open(options->archive, error);
    if (!list.archive)
        return error->status;
    int status = list_archive(&list);
    tape_archive_close(list.archive);
    return status;
}
