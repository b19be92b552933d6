#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/index_internal.h"
#include "format/summary_state.h"

/* Reads what the summariser remembers back from the tables. The file may be crafted: whatever does
 * not fit together is TAPE_CORRUPT, and the caller folds the segments anew. */

static int contradicts(struct tape_index *index, struct tape_error *error, const char *table)
{
    return tape_error_set(error, TAPE_CORRUPT, "%s: table %s contradicts itself", index->name,
                          table);
}

static int64_t column(sqlite3_stmt *statement, int at)
{
    return sqlite3_column_type(statement, at) == SQLITE_NULL ? TAPE_SUMMARY_NONE
                                                             : sqlite3_column_int64(statement, at);
}

/* Runs sql and gives each row to take() until it returns other than 0. ?1 is argument. */
static int each_row(struct tape_index *index, const char *sql, int64_t argument,
                    int (*take)(struct tape_index *, struct tape_summariser *, sqlite3_stmt *,
                                struct tape_error *),
                    struct tape_summariser *summariser, struct tape_error *error)
{
    sqlite3_stmt *statement = NULL;
    int status = 0, code;
    if (sqlite3_prepare_v2(index->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return tape_index_fail(index, error, "state");
    if (sqlite3_bind_parameter_count(statement) > 0)
        sqlite3_bind_int64(statement, 1, argument);
    while (status == 0 && (code = sqlite3_step(statement)) != SQLITE_DONE)
        status = code == SQLITE_ROW ? take(index, summariser, statement, error)
                                    : tape_index_fail(index, error, "state");
    sqlite3_finalize(statement);
    if (status == 0 && summariser && summariser->short_of_memory)
        return tape_error_set(error, TAPE_FAILED, "%s: no memory for its state", index->name);
    return status;
}

/* ---- meta ---- */

static int take_meta(struct tape_index *index, struct tape_summariser *summariser,
                     sqlite3_stmt *statement, struct tape_error *error)
{
    const char *key = (const char *)sqlite3_column_text(statement, 0);
    const char *value = (const char *)sqlite3_column_text(statement, 1);
    char *end;
    (void)summariser;
    if (!key || !value)
        return contradicts(index, error, "meta");
    if (strcmp(key, "archive_id") == 0 || strcmp(key, "format_version") == 0)
        return 0;
    long long number = strtoll(value, &end, 10);
    if (*end || end == value)
        return contradicts(index, error, "meta");
    if (strcmp(key, "next_ordinal") == 0 && number >= 0)
        index->now.next_ordinal = (uint64_t)number;
    else if (strcmp(key, "resume_ordinal") == 0 && number >= 0)
        index->now.resume_ordinal = (uint64_t)number;
    else if (strcmp(key, "pruned_ordinal") == 0 && number >= 0)
        index->now.pruned_ordinal = (uint64_t)number;
    else if (strcmp(key, "last_ns") == 0)
        index->now.last_ns = number;
    else
        return contradicts(index, error, "meta");
    return 0;
}

static int take_largest(struct tape_index *index, struct tape_summariser *summariser,
                        sqlite3_stmt *statement, struct tape_error *error)
{
    int64_t session = sqlite3_column_int64(statement, 0);
    int64_t connection = sqlite3_column_int64(statement, 1);
    (void)summariser;
    if (session < 0 || session > UINT32_MAX || connection < 0 || connection > UINT32_MAX)
        return contradicts(index, error, "session");
    index->now.session = (uint32_t)session;
    index->now.connection = (uint32_t)connection;
    return 0;
}

int tape_index_load_place(struct tape_index *index, struct tape_error *error)
{
    index->now = (struct tape_index_place){0};
    int status = each_row(index, "SELECT key, value FROM meta", 0, take_meta, NULL, error);
    if (status == 0)
        status = each_row(index,
                          "SELECT (SELECT max(session_id) FROM session), "
                          "(SELECT max(connection_id) FROM connection)",
                          0, take_largest, NULL, error);
    if (status == 0 && (index->now.resume_ordinal > index->now.next_ordinal ||
                        index->now.pruned_ordinal > index->now.next_ordinal))
        status = contradicts(index, error, "meta");
    index->committed = index->now;
    return status;
}

/* ---- streams ---- */

static int take_stream(struct tape_index *index, struct tape_summariser *summariser,
                       sqlite3_stmt *statement, struct tape_error *error)
{
    const char *venue = (const char *)sqlite3_column_text(statement, 1);
    const char *name = (const char *)sqlite3_column_text(statement, 2);
    const char *rule = (const char *)sqlite3_column_text(statement, 3);
    int bytes = sqlite3_column_bytes(statement, 2);
    if (!venue || !name || !rule || bytes > TAPE_SUMMARY_NAME_BYTES ||
        sqlite3_column_int64(statement, 0) != (int64_t)summariser->streams_used + 1 ||
        summariser->streams_used == TAPE_SUMMARY_STREAMS_MAX)
        return contradicts(index, error, "stream");
    struct tape_summary_stream *stream = tape_summary_stream_restore(
        summariser, tape_summary_venue_find(summariser, venue), name, (size_t)bytes);
    if (!stream)
        return tape_error_set(error, TAPE_FAILED, "%s: no memory for its state", index->name);
    /* folded with another profile of the venue than ours: not what we would have made of it */
    if (strcmp(rule, tape_summary_rule_word(stream->rule)) != 0)
        return tape_error_set(error, TAPE_CORRUPT, "%s: stream %s: its venue's rule was %s, now %s",
                              index->name, name, rule, tape_summary_rule_word(stream->rule));
    int64_t gap = column(statement, 11);
    stream->first_ns = column(statement, 4);
    stream->last_ns = column(statement, 5);
    stream->messages = (uint64_t)sqlite3_column_int64(statement, 6);
    stream->bytes = (uint64_t)sqlite3_column_int64(statement, 7);
    stream->last_sequence = column(statement, 8);
    stream->duplicates = (uint64_t)sqlite3_column_int64(statement, 9);
    stream->breaks = (uint64_t)sqlite3_column_int64(statement, 10);
    stream->open_gap = gap == TAPE_SUMMARY_NONE ? 0 : gap;
    return 0;
}

/* ---- connections ---- */

static int take_pair(struct tape_index *index, struct tape_summariser *summariser,
                     sqlite3_stmt *statement, struct tape_error *error)
{
    struct tape_summary_connection *connection = summariser->last;
    int64_t stream = sqlite3_column_int64(statement, 1);
    const char *status = (const char *)sqlite3_column_text(statement, 7);
    if (stream < 1 || stream > summariser->streams_used || !status)
        return contradicts(index, error, "subscription");
    if (tape_summary_pair_find(summariser, connection, (uint32_t)(stream - 1), 0, 0))
        return contradicts(index, error, "subscription");
    struct tape_summary_pair *pair =
        tape_summary_pair_find(summariser, connection, (uint32_t)(stream - 1), 0, 1);
    if (!pair)
        return 0;
    pair->subscription_id = sqlite3_column_int64(statement, 0);
    pair->day = sqlite3_column_int64(statement, 2);
    pair->request = column(statement, 3);
    pair->asked_ns = column(statement, 4);
    pair->acknowledged_ns = column(statement, 5);
    pair->first_ns = column(statement, 6);
    for (pair->status = 0; pair->status < TAPE_SUMMARY_STATUSES; pair->status++)
        if (strcmp(status, tape_summary_status_words[pair->status]) == 0)
            break;
    if (pair->status == TAPE_SUMMARY_STATUSES)
        return contradicts(index, error, "subscription");
    if (pair->first_ns != TAPE_SUMMARY_NONE)
        summariser->streams[pair->stream].deliverers++;
    if (pair->request != TAPE_SUMMARY_NONE && pair->acknowledged_ns == TAPE_SUMMARY_NONE)
        tape_summary_pair_ask(summariser, connection, pair);
    return 0;
}

/* The connection that the statement's first column numbers: 0 with *connection, NULL when memory is
 * short, or a status. */
static int restore(struct tape_index *index, struct tape_summariser *summariser,
                   sqlite3_stmt *statement, struct tape_summary_connection **connection,
                   struct tape_error *error)
{
    int64_t number = sqlite3_column_int64(statement, 0);
    if (number < 1 || number > UINT32_MAX ||
        summariser->connections == TAPE_SUMMARY_CONNECTIONS_MAX)
        return contradicts(index, error, "connection");
    *connection = tape_summary_connection_restore(summariser, (uint32_t)number);
    return 0;
}

static int take_open(struct tape_index *index, struct tape_summariser *summariser,
                     sqlite3_stmt *statement, struct tape_error *error)
{
    struct tape_summary_connection *connection;
    int status = restore(index, summariser, statement, &connection, error);
    if (status < 0 || !connection)
        return status;
    connection->venue =
        tape_summary_venue_find(summariser, (const char *)sqlite3_column_text(statement, 1));
    connection->first_message_ns = column(statement, 2);
    connection->last_ns = column(statement, 3);
    connection->records = (uint64_t)sqlite3_column_int64(statement, 4);
    connection->messages = (uint64_t)sqlite3_column_int64(statement, 5);
    connection->bytes = (uint64_t)sqlite3_column_int64(statement, 6);
    connection->opened = sqlite3_column_type(statement, 7) != SQLITE_NULL;
    summariser->last = connection;
    return each_row(index,
                    "SELECT subscription_id, stream_id, day, request, asked_ns, acknowledged_ns, "
                    "first_ns, status FROM subscription WHERE connection_id = ?1 "
                    "ORDER BY subscription_id",
                    connection->number, take_pair, summariser, error);
}

static int take_closed(struct tape_index *index, struct tape_summariser *summariser,
                       sqlite3_stmt *statement, struct tape_error *error)
{
    (void)index;
    (void)error;
    if (tape_summary_map_put(&summariser->closed, summariser->seed,
                             (uint64_t)sqlite3_column_int64(statement, 0), 0) < 0)
        summariser->short_of_memory = 1;
    return 0;
}

/* ---- the rest ---- */

static int take_counters(struct tape_index *index, struct tape_summariser *summariser,
                         sqlite3_stmt *statement, struct tape_error *error)
{
    int64_t gap = sqlite3_column_int64(statement, 0);
    int64_t subscription = sqlite3_column_int64(statement, 1);
    int64_t floor = sqlite3_column_int64(statement, 3);
    if (gap < 0 || gap >= INT64_MAX / 2)
        return contradicts(index, error, "gap");
    if (subscription < 0 || subscription >= INT64_MAX / 2)
        return contradicts(index, error, "subscription");
    if (floor < 0 || floor > UINT32_MAX)
        return contradicts(index, error, "connection");
    summariser->next_gap = gap + 1;
    summariser->next_subscription = subscription + 1;
    summariser->session_open = sqlite3_column_int(statement, 2) != 0;
    summariser->closed_floor = (uint32_t)floor;
    return 0;
}

static int take_events(struct tape_index *index, struct tape_summariser *summariser,
                       sqlite3_stmt *statement, struct tape_error *error)
{
    (void)index;
    (void)error;
    summariser->events = (uint32_t)sqlite3_column_int64(statement, 0);
    return 0;
}

static const struct {
    const char *sql;
    int (*take)(struct tape_index *, struct tape_summariser *, sqlite3_stmt *, struct tape_error *);
} steps[] = {
    {"SELECT stream_id, venue, name, sequence_rule, first_ns, last_ns, messages, bytes, "
     "last_sequence, duplicates, breaks, open_gap FROM stream ORDER BY stream_id",
     take_stream},
    {"SELECT connection_id, venue, first_message_ns, last_ns, records, messages, bytes, "
     "opened_ordinal FROM connection WHERE closed_ns IS NULL ORDER BY connection_id",
     take_open},
    {"SELECT connection_id FROM connection WHERE closed_ns IS NOT NULL AND "
     "coalesce(session_id, 0) = ?1",
     take_closed},
    /* after the connections: restoring pairs draws numbers */
    {"SELECT coalesce((SELECT max(gap_id) FROM gap), 0), "
     "coalesce((SELECT max(subscription_id) FROM subscription), 0), "
     "coalesce((SELECT ended_ns IS NULL FROM session WHERE session_id = ?1), 0), "
     "coalesce((SELECT max(connection_id) FROM connection "
     "WHERE coalesce(session_id, 0) < ?1), 0)",
     take_counters},
};

static int load(struct tape_index *index, struct tape_summariser *summariser,
                struct tape_error *error)
{
    int status = tape_summariser_reset(summariser, error);
    for (size_t i = 0; status == 0 && i < sizeof steps / sizeof steps[0]; i++)
        status =
            each_row(index, steps[i].sql, index->now.session, steps[i].take, summariser, error);
    if (status < 0)
        return status;
    summariser->events_run = index->now.next_ordinal / TAPE_SUMMARY_EVENTS_RECORDS;
    status = each_row(index, "SELECT count(*) FROM event WHERE ordinal >= ?1",
                      (int64_t)(summariser->events_run * TAPE_SUMMARY_EVENTS_RECORDS), take_events,
                      summariser, error);
    summariser->session = index->now.session;
    summariser->last_connection = index->now.connection;
    summariser->next_ordinal = summariser->base_ordinal = index->now.next_ordinal;
    summariser->open_since = index->now.resume_ordinal;
    summariser->last_ns = index->now.last_ns;
    summariser->last = NULL;
    return status;
}

int tape_index_load_state(struct tape_index *index, struct tape_summariser *summariser,
                          struct tape_error *error)
{
    int status = load(index, summariser, error);
    if (status != TAPE_CORRUPT || !index->writes || index->in_transaction)
        return status;
    index->corrupt = 0;
    status = tape_index_clear(index, error);
    return status < 0 ? status : load(index, summariser, error);
}

/* ---- before a segment ---- */

static int take_open_before(struct tape_index *index, struct tape_summariser *summariser,
                            sqlite3_stmt *statement, struct tape_error *error)
{
    struct tape_summary_connection *connection;
    int status = restore(index, summariser, statement, &connection, error);
    if (status < 0 || !connection)
        return status;
    connection->opened = sqlite3_column_int(statement, 2) != 0;
    if (connection->opened)
        connection->venue =
            tape_summary_venue_find(summariser, (const char *)sqlite3_column_text(statement, 1));
    return 0;
}

static int take_numbers_before(struct tape_index *index, struct tape_summariser *summariser,
                               sqlite3_stmt *statement, struct tape_error *error)
{
    int64_t floor = sqlite3_column_int64(statement, 0);
    int64_t last = sqlite3_column_int64(statement, 1);
    int64_t session = sqlite3_column_int64(statement, 2);
    if (floor < 0 || floor > last || last > UINT32_MAX || session < 0 || session > UINT32_MAX)
        return contradicts(index, error, "connection");
    summariser->closed_floor = (uint32_t)floor;
    summariser->last_connection = (uint32_t)last;
    summariser->session = (uint32_t)session;
    return 0;
}

#define SESSION_BEFORE                                                                             \
    "(SELECT coalesce(max(session_id), 0) FROM connection WHERE first_ordinal < ?1)"

/* A session that has begun and has no connection yet needs nothing: those of the session before it
 * ended, and are known as such. */
static const struct {
    const char *sql;
    int (*take)(struct tape_index *, struct tape_summariser *, sqlite3_stmt *, struct tape_error *);
} steps_before[] = {
    {"SELECT connection_id, venue, coalesce(opened_ordinal < ?1, 0) FROM connection "
     "WHERE first_ordinal < ?1 AND (closed_ordinal IS NULL OR closed_ordinal >= ?1) "
     "ORDER BY connection_id",
     take_open_before},
    {"SELECT connection_id FROM connection WHERE closed_ordinal < ?1 AND "
     "coalesce(session_id, 0) = " SESSION_BEFORE,
     take_closed},
    {"SELECT coalesce((SELECT max(connection_id) FROM connection WHERE first_ordinal < ?1 AND "
     "coalesce(session_id, 0) < " SESSION_BEFORE "), 0), "
     "coalesce((SELECT max(connection_id) FROM connection WHERE first_ordinal < ?1), "
     "0), " SESSION_BEFORE,
     take_numbers_before},
};

int tape_index_load_before(struct tape_index *index, uint64_t ordinal,
                           struct tape_summariser *summariser, struct tape_error *error)
{
    int status = tape_summariser_reset(summariser, error);
    if (status == 0)
        status = each_row(index, steps[0].sql, 0, take_stream, summariser, error);
    for (size_t i = 0; status == 0 && i < sizeof steps_before / sizeof steps_before[0]; i++)
        status = each_row(index, steps_before[i].sql, (int64_t)ordinal, steps_before[i].take,
                          summariser, error);
    summariser->next_ordinal = summariser->base_ordinal = ordinal;
    summariser->last = NULL;
    return status;
}
