#include <stdlib.h>
#include <string.h>

#include "format/summary_state.h"

const char *const tape_summary_status_words[TAPE_SUMMARY_STATUSES] = {
#define STATUS_WORD(name, word) word,
    TAPE_SUMMARY_STATUS_TABLE(STATUS_WORD)
#undef STATUS_WORD
};

static struct tape_summary_connection **bucket_of(struct tape_summariser *summariser,
                                                  uint32_t number)
{
    return &summariser->buckets[number & (TAPE_SUMMARY_BUCKETS - 1)];
}

struct tape_summary_connection *tape_summary_connection_restore(struct tape_summariser *summariser,
                                                                uint32_t number)
{
    struct tape_summary_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        summariser->short_of_memory = 1;
        return NULL;
    }
    connection->number = number;
    connection->first_message_ns = connection->last_ns = TAPE_SUMMARY_NONE;
    connection->next = *bucket_of(summariser, number);
    *bucket_of(summariser, number) = connection;
    summariser->connections++;
    if (number > summariser->last_connection)
        summariser->last_connection = number;
    return connection;
}

static struct tape_summary_connection *begin(struct tape_summariser *summariser, uint32_t number,
                                             int64_t recv_ns)
{
    if (number <= summariser->closed_floor ||
        summariser->connections == TAPE_SUMMARY_CONNECTIONS_MAX ||
        tape_summary_map_get(&summariser->closed, summariser->seed, number) >= 0)
        return NULL;
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_CONNECTION);
    tape_summary_rows_number(rows, number);
    tape_summary_rows_number(rows, summariser->session ? summariser->session : TAPE_SUMMARY_NONE);
    tape_summary_rows_number(rows, tape_summary_day(summariser, recv_ns));
    tape_summary_rows_number(rows, recv_ns);
    tape_summary_rows_number(rows, (int64_t)tape_summary_current(summariser));
    return tape_summary_connection_restore(summariser, number);
}

struct tape_summary_connection *tape_summary_connection_find(struct tape_summariser *summariser,
                                                             uint32_t number, int64_t recv_ns)
{
    if (number == 0)
        return NULL;
    if (summariser->last && summariser->last->number == number)
        return summariser->last;
    struct tape_summary_connection *connection = *bucket_of(summariser, number);
    while (connection && connection->number != number)
        connection = connection->next;
    if (!connection)
        connection = begin(summariser, number, recv_ns);
    if (connection)
        summariser->last = connection;
    return connection;
}

struct tape_summary_pair *tape_summary_pair_find(struct tape_summariser *summariser,
                                                 struct tape_summary_connection *connection,
                                                 uint32_t stream, int64_t recv_ns, int make)
{
    int64_t place = tape_summary_map_get(&connection->pair_of, summariser->seed, stream);
    if (place >= 0)
        return &connection->pairs[place];
    if (!make || summariser->pairs == TAPE_SUMMARY_PAIRS_MAX)
        return NULL;
    if (connection->pairs_used == connection->pairs_room) {
        uint32_t room = connection->pairs_room ? connection->pairs_room * 2 : 8;
        void *grown = realloc(connection->pairs, room * sizeof *connection->pairs);
        if (!grown) {
            summariser->short_of_memory = 1;
            return NULL;
        }
        connection->pairs = grown;
        connection->pairs_room = room;
    }
    if (tape_summary_map_put(&connection->pair_of, summariser->seed, stream,
                             connection->pairs_used) < 0) {
        summariser->short_of_memory = 1;
        return NULL;
    }
    struct tape_summary_pair *pair = &connection->pairs[connection->pairs_used++];
    *pair = (struct tape_summary_pair){
        .subscription_id = summariser->next_subscription++,
        .stream = stream,
        .day = tape_summary_day(summariser, recv_ns),
        .request = TAPE_SUMMARY_NONE,
        .asked_ns = TAPE_SUMMARY_NONE,
        .acknowledged_ns = TAPE_SUMMARY_NONE,
        .first_ns = TAPE_SUMMARY_NONE,
    };
    summariser->pairs++;
    return pair;
}

void tape_summary_pair_put(struct tape_summariser *summariser,
                           const struct tape_summary_connection *connection,
                           const struct tape_summary_pair *pair, const char *error)
{
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_SUBSCRIPTION);
    tape_summary_rows_number(rows, pair->subscription_id);
    tape_summary_rows_number(rows, connection->number);
    tape_summary_rows_number(rows, (int64_t)pair->stream + 1);
    tape_summary_rows_number(rows, pair->day);
    tape_summary_rows_number(rows, pair->request);
    tape_summary_rows_number(rows, pair->asked_ns);
    tape_summary_rows_number(rows, pair->acknowledged_ns);
    tape_summary_rows_number(rows, pair->first_ns);
    tape_summary_rows_text(rows, tape_summary_status_words[pair->status]);
    tape_summary_rows_text(rows, error);
}

void tape_summary_pair_ask(struct tape_summariser *summariser,
                           struct tape_summary_connection *connection,
                           const struct tape_summary_pair *pair)
{
    if (connection->asked_used == TAPE_SUMMARY_ASKED_MAX)
        return;
    if (connection->asked_used == connection->asked_room) {
        uint32_t room = connection->asked_room ? connection->asked_room * 2 : 8;
        void *grown = realloc(connection->asked, room * sizeof *connection->asked);
        if (!grown) {
            summariser->short_of_memory = 1;
            return;
        }
        connection->asked = grown;
        connection->asked_room = room;
    }
    connection->asked[connection->asked_used++] = (uint32_t)(pair - connection->pairs);
}

static void open_gaps(struct tape_summariser *summariser,
                      const struct tape_summary_connection *connection, const char *kind,
                      const char *cause)
{
    for (uint32_t i = 0; i < connection->pairs_used; i++) {
        const struct tape_summary_pair *pair = &connection->pairs[i];
        struct tape_summary_stream *stream = &summariser->streams[pair->stream];
        if (pair->first_ns == TAPE_SUMMARY_NONE || --stream->deliverers > 0 || stream->open_gap)
            continue;
        struct tape_summary_gap gap = TAPE_SUMMARY_GAP_EMPTY;
        gap.kind = kind;
        gap.cause = cause;
        gap.stream_id = (int64_t)pair->stream + 1;
        gap.connection = connection->number;
        gap.from_ns = stream->last_ns;
        stream->open_gap = tape_summary_gap_put(summariser, &gap);
        tape_summary_stream_touch(summariser, pair->stream);
    }
}

static void put_counts(struct tape_summariser *summariser,
                       const struct tape_summary_connection *connection)
{
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_CONNECTION_COUNTS);
    tape_summary_rows_number(rows, connection->number);
    tape_summary_rows_number(rows, connection->first_message_ns);
    tape_summary_rows_number(rows, connection->last_ns);
    tape_summary_rows_number(rows, (int64_t)connection->records);
    tape_summary_rows_number(rows, (int64_t)connection->messages);
    tape_summary_rows_number(rows, (int64_t)connection->bytes);
}

static void forget_touched(struct tape_summariser *summariser,
                           const struct tape_summary_connection *connection)
{
    struct tape_summary_connection **at = &summariser->touched_connections;
    while (*at && *at != connection)
        at = &(*at)->next_touched;
    if (*at)
        *at = connection->next_touched;
}

static void release(struct tape_summary_connection *connection)
{
    free(connection->pairs);
    free(connection->asked);
    tape_summary_map_free(&connection->pair_of);
    free(connection);
}

void tape_summary_connection_end(struct tape_summariser *summariser,
                                 struct tape_summary_connection *connection, const char *kind,
                                 const char *cause)
{
    struct tape_summary_connection **at = bucket_of(summariser, connection->number);
    open_gaps(summariser, connection, kind, cause);
    put_counts(summariser, connection);
    while (*at != connection)
        at = &(*at)->next;
    *at = connection->next;
    forget_touched(summariser, connection);
    if (summariser->closed.used < TAPE_SUMMARY_CLOSED_MAX &&
        tape_summary_map_put(&summariser->closed, summariser->seed, connection->number, 0) < 0)
        summariser->short_of_memory = 1;
    if (summariser->last == connection)
        summariser->last = NULL;
    summariser->connections--;
    summariser->pairs -= connection->pairs_used;
    release(connection);
}

/* The open connection with the smallest number, or NULL. */
static struct tape_summary_connection *smallest(struct tape_summariser *summariser)
{
    struct tape_summary_connection *found = NULL;
    for (size_t i = 0; i < TAPE_SUMMARY_BUCKETS; i++)
        for (struct tape_summary_connection *c = summariser->buckets[i]; c; c = c->next)
            if (!found || c->number < found->number)
                found = c;
    return found;
}

void tape_summary_connections_end(struct tape_summariser *summariser, int64_t at_ns,
                                  const char *kind, const char *cause)
{
    struct tape_summary_rows *rows = &summariser->rows;
    while (summariser->connections > 0) {
        struct tape_summary_connection *connection = smallest(summariser);
        tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_CONNECTION_CLOSE);
        tape_summary_rows_number(rows, connection->number);
        tape_summary_rows_number(rows, (int64_t)tape_summary_current(summariser));
        tape_summary_rows_number(rows, at_ns);
        tape_summary_rows_text(rows, "us");
        tape_summary_rows_text(rows, cause);
        for (int i = 0; i < 4; i++)
            tape_summary_rows_number(rows, TAPE_SUMMARY_NONE);
        tape_summary_connection_end(summariser, connection, kind, cause);
    }
}

void tape_summary_connections_take(struct tape_summariser *summariser)
{
    struct tape_summary_connection *connection = summariser->touched_connections;
    for (; connection; connection = connection->next_touched) {
        put_counts(summariser, connection);
        connection->touched = 0;
    }
    summariser->touched_connections = NULL;
}

void tape_summary_connections_free(struct tape_summariser *summariser)
{
    for (size_t i = 0; i < TAPE_SUMMARY_BUCKETS; i++) {
        struct tape_summary_connection *connection = summariser->buckets[i];
        while (connection) {
            struct tape_summary_connection *next = connection->next;
            release(connection);
            connection = next;
        }
    }
    tape_summary_map_free(&summariser->closed);
}
