/* What the summariser remembers. Private to summary*.c and index_state.c. Everything here that
 * outlives a block is also in the index's tables, so that loading it from there gives the same
 * state. */
#ifndef TAPE_FORMAT_SUMMARY_STATE_H
#define TAPE_FORMAT_SUMMARY_STATE_H

#include <stdint.h>

#include "format/cursor.h"
#include "format/event.h"
#include "format/feed.h"
#include "format/segment.h"
#include "format/summary.h"
#include "format/summary_map.h"
#include "format/summary_rows.h"
#include "format/venue.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_SUMMARY_STREAMS_MAX = 65536, /* one more counts under the empty name */
    TAPE_SUMMARY_VENUES_MAX = 256,    /* one more counts under the empty name */
    TAPE_SUMMARY_NAME_BYTES = TAPE_SEGMENT_STREAM_NAME_MAX_BYTES,
    TAPE_SUMMARY_CONNECTIONS_MAX = 4096, /* open at one time; records of one more have no row */
    TAPE_SUMMARY_PAIRS_MAX = 1 << 18,    /* of open connections and their streams */
    TAPE_SUMMARY_ASKED_MAX = 8192,       /* unanswered streams that a connection remembers */
    TAPE_SUMMARY_CLOSED_MAX = 1 << 20,   /* closed connections of one session remembered */
    /* event rows among so many records, not in a block: packing cuts blocks otherwise */
    TAPE_SUMMARY_EVENTS_MAX = 1 << 16,
    TAPE_SUMMARY_EVENTS_RECORDS = 1 << 20,
    TAPE_SUMMARY_BUCKETS = 4096, /* of open connections, a power of two */
};

/* Venue 0 is the empty name: not known. */
struct tape_summary_venue {
    char name[TAPE_SUMMARY_NAME_BYTES + 1];
    struct tape_venue *profile; /* NULL: no compiled-in profile of that name */
};

/*
 * A stream's life. Invariants: stream_id is its place in the array + 1; last_sequence and the times
 * are TAPE_SUMMARY_NONE before the first; open_gap is 0 or the gap whose end the next message is;
 * deliverers counts the open connections with a message of it; slot is 0, or its newest slot in the
 * open summary + 1; last_connection is 0 or an open connection that has delivered it.
 */
struct tape_summary_stream {
    char *name;
    uint64_t hash;
    uint64_t messages, bytes, duplicates, breaks;
    int64_t first_ns, last_ns, last_sequence, open_gap;
    uint32_t last_connection, deliverers, slot;
    uint16_t venue;
    uint8_t name_bytes, rule, touched;
};

/* A stream's messages of one day in the open summary, [day_first_ns, day_last_ns]. */
struct tape_summary_slot {
    uint64_t messages, bytes, first_ordinal;
    int64_t day_first_ns, day_last_ns, min_ns, max_ns, first_sequence, last_sequence;
    int64_t lat_min_ns, lat_max_ns, lat_sum_ns;
    uint32_t stream, lat_n, older; /* older: the stream's slot before this + 1, or 0 */
};

struct tape_summary_latency {
    int64_t ns;
    uint32_t slot;
};

/* What became of one stream on one connection: a row of subscription. */
struct tape_summary_pair {
    int64_t subscription_id, request, asked_ns, acknowledged_ns, first_ns, day;
    uint32_t stream;
    uint8_t status; /* enum tape_summary_status */
};

/* TAPE_SUMMARY_STATUS(name, word) */
#define TAPE_SUMMARY_STATUS_TABLE(X)                                                               \
    X(ASKED, "asked")                                                                              \
    X(ACKNOWLEDGED, "acknowledged")                                                                \
    X(REFUSED, "refused")                                                                          \
    X(LIVE, "live")                                                                                \
    X(SILENT, "silent")

enum tape_summary_status {
#define TAPE_SUMMARY_STATUS_ENUM(name, word) TAPE_SUMMARY_STATUS_##name,
    TAPE_SUMMARY_STATUS_TABLE(TAPE_SUMMARY_STATUS_ENUM)
#undef TAPE_SUMMARY_STATUS_ENUM
        TAPE_SUMMARY_STATUSES
};
extern const char *const tape_summary_status_words[TAPE_SUMMARY_STATUSES];

/* An open connection (from its first record to its close). Invariants: pairs are in the order of
 * their ids; asked holds places in pairs, of those that wait for an answer. */
struct tape_summary_connection {
    struct tape_summary_connection *next;         /* in its bucket */
    struct tape_summary_connection *next_touched; /* in the list of those, when touched */
    struct tape_summary_pair *pairs;
    uint32_t *asked;
    struct tape_summary_map pair_of; /* stream to place in pairs */
    uint64_t records, messages, bytes;
    int64_t first_message_ns, last_ns;
    uint32_t number, pairs_used, pairs_room, asked_used, asked_room;
    uint32_t last_stream; /* + 1: of its last message; a first guess for the next */
    uint16_t venue;
    uint8_t touched, opened; /* opened: its connection_open was seen */
};

/*
 * Invariants: rows holds what the open summary says so far; next_ordinal is that of the record to
 * come, base_ordinal what it was when the open summary began; connections numbered closed_floor or
 * less, and those in closed, have ended; open_since is the ordinal since which the feed has never
 * been without an unfinished message, when it has one now. Of the block: records, messages,
 * payload_bytes, first_record, min/max recv ns, and resume_record, where reading must begin to meet
 * the start of every message that was unfinished at first_record. events is how many event rows
 * there are of the run of TAPE_SUMMARY_EVENTS_RECORDS that events_run numbers.
 */
struct tape_summariser {
    struct tape_feed *feed;
    struct tape_summary_rows rows;
    uint64_t seed; /* of the hashes, so that nobody can choose names that collide */
    uint64_t base_ordinal, next_ordinal, first_record, resume_record, open_since;
    uint64_t messages, payload_bytes, events_run;
    int64_t last_ns, min_ns, max_ns;
    int64_t next_gap, next_subscription;
    int64_t day_first_ns, day_last_ns, day; /* the last day asked for */
    uint32_t records, events;
    uint32_t session, last_connection, closed_floor;
    uint8_t session_open, short_of_memory;
    uint8_t names_left_out; /* the open summary has messages under another name than theirs */

    /* damage told since the last record: where the rows were before it */
    struct {
        size_t used;
        int64_t next_gap;
        uint8_t set;
    } damage;

    struct tape_summary_venue *venues;
    uint32_t venues_used;
    struct tape_summary_stream *streams;
    uint32_t streams_used, streams_room;
    uint32_t *stream_table; /* places + 1 by hash */
    uint32_t stream_table_room;
    uint32_t *touched; /* streams to be written, in order */
    uint32_t touched_used, touched_room;
    struct tape_summary_slot *slots;
    uint32_t slots_used, slots_room;
    struct tape_summary_latency *latencies;
    uint32_t latencies_used, latencies_room;
    struct tape_segment_stream_count *counts;
    uint32_t counts_room;

    struct tape_summary_connection *buckets[TAPE_SUMMARY_BUCKETS];
    struct tape_summary_connection *last;                /* found last */
    struct tape_summary_connection *touched_connections; /* records of theirs are in the block */
    uint32_t connections, pairs;
    struct tape_summary_map closed;
};

/* tape_summary_current(summariser): the ordinal of the record that is being added. */
static inline uint64_t tape_summary_current(const struct tape_summariser *summariser)
{
    return summariser->next_ordinal - 1;
}

/* --- summary_streams.c --- */

/* tape_summary_venue_find(summariser, name): its place; 0 (not known) for NULL or past the limit.
 */
uint16_t tape_summary_venue_find(struct tape_summariser *summariser, const char *name);

/* tape_summary_stream_find(summariser, venue, name, bytes, make): its place, or -1: not there (and
 * make is 0) or no memory (short_of_memory is set). A name as it came: cleaned and cut here. */
int64_t tape_summary_stream_find(struct tape_summariser *summariser, uint16_t venue,
                                 const char *name, size_t bytes, int make);

/* tape_summary_stream_restore(summariser, venue, name, bytes): as make, without a row. */
struct tape_summary_stream *tape_summary_stream_restore(struct tape_summariser *summariser,
                                                        uint16_t venue, const char *name,
                                                        size_t bytes);

/* tape_summary_stream_touch(summariser, place): its counts are written with this summary. */
void tape_summary_stream_touch(struct tape_summariser *summariser, uint32_t place);

/* tape_summary_stream_message(summariser, connection, message): counts one data message. */
void tape_summary_stream_message(struct tape_summariser *summariser,
                                 struct tape_summary_connection *connection,
                                 const struct tape_message *message);

void tape_summary_streams_free(struct tape_summariser *summariser);

/* --- summary_latency.c --- */

/* tape_summary_streams_take(summariser, block_id): rows of the slots, with the quantiles of their
 * latencies, and of the streams touched; empties both. */
void tape_summary_streams_take(struct tape_summariser *summariser, int64_t block_id);

/* --- summary_sequence.c --- */

/* tape_summary_rule_word(rule): of enum tape_venue_sequence. */
const char *tape_summary_rule_word(int rule);

/* What a message's numbers mean after those before it. */
enum tape_summary_follows {
    TAPE_SUMMARY_FOLLOWS,
    TAPE_SUMMARY_DUPLICATE,
    TAPE_SUMMARY_BREAK,
    TAPE_SUMMARY_UNNUMBERED,
};

/* The numbers a rule goes by. first and last are TAPE_SUMMARY_NONE when the message has none. */
struct tape_summary_numbers {
    int64_t first, last, previous;
};

void tape_summary_numbers_read(int rule, const struct tape_tick *tick,
                               struct tape_summary_numbers *numbers);

/* tape_summary_numbers_follow(rule, last, numbers, missing): ${missing} receives how many messages
 * are missing, TAPE_SUMMARY_NONE when the rule cannot say. */
int tape_summary_numbers_follow(int rule, int64_t last, const struct tape_summary_numbers *numbers,
                                int64_t *missing);

/* --- summary_connections.c --- */

/* tape_summary_connection_find(summariser, number, recv_ns): the open one; a number never seen
 * begins a new one. NULL for 0, for one that was closed, past the limit, or no memory. */
struct tape_summary_connection *tape_summary_connection_find(struct tape_summariser *summariser,
                                                             uint32_t number, int64_t recv_ns);
struct tape_summary_connection *tape_summary_connection_restore(struct tape_summariser *summariser,
                                                                uint32_t number);

/* tape_summary_pair_find(summariser, connection, stream, recv_ns, make): NULL when there is none,
 * or past the limit. */
struct tape_summary_pair *tape_summary_pair_find(struct tape_summariser *summariser,
                                                 struct tape_summary_connection *connection,
                                                 uint32_t stream, int64_t recv_ns, int make);
void tape_summary_pair_put(struct tape_summariser *summariser,
                           const struct tape_summary_connection *connection,
                           const struct tape_summary_pair *pair, const char *error);
/* tape_summary_pair_ask(connection, pair): it now waits for an answer. */
void tape_summary_pair_ask(struct tape_summariser *summariser,
                           struct tape_summary_connection *connection,
                           const struct tape_summary_pair *pair);

/* tape_summary_connection_touch(summariser, connection): its counts are written with this summary.
 */
static inline void tape_summary_connection_touch(struct tape_summariser *summariser,
                                                 struct tape_summary_connection *connection)
{
    if (connection->touched)
        return;
    connection->touched = 1;
    connection->next_touched = summariser->touched_connections;
    summariser->touched_connections = connection;
}

/* tape_summary_connection_end(summariser, connection, kind, cause): the gaps of its streams, its
 * counts; frees it. */
void tape_summary_connection_end(struct tape_summariser *summariser,
                                 struct tape_summary_connection *connection, const char *kind,
                                 const char *cause);

/* tape_summary_connections_end(summariser, at_ns, kind, cause): all that are open, by number. */
void tape_summary_connections_end(struct tape_summariser *summariser, int64_t at_ns,
                                  const char *kind, const char *cause);
void tape_summary_connections_take(struct tape_summariser *summariser);
void tape_summary_connections_free(struct tape_summariser *summariser);

/* --- summary_events.c --- */

/* tape_summary_event_add(summariser, record, connection): one record that is no frame. */
void tape_summary_event_add(struct tape_summariser *summariser, const struct tape_record *record,
                            struct tape_summary_connection *connection);

/* --- summary.c --- */

/* tape_summary_day(summariser, ns): yyyymmdd; day_first_ns and day_last_ns are set to its ends. */
int64_t tape_summary_day(struct tape_summariser *summariser, int64_t ns);

/* A gap as its row says it. */
struct tape_summary_gap {
    const char *kind, *cause;
    int64_t stream_id, connection, from_ns, to_ns, from_id, to_id, missing;
};
#define TAPE_SUMMARY_GAP_EMPTY                                                                     \
    {                                                                                              \
        .stream_id = TAPE_SUMMARY_NONE, .connection = TAPE_SUMMARY_NONE,                           \
        .to_ns = TAPE_SUMMARY_NONE, .from_id = TAPE_SUMMARY_NONE, .to_id = TAPE_SUMMARY_NONE,      \
        .missing = TAPE_SUMMARY_NONE                                                               \
    }

/* tape_summary_gap_put(summariser, gap): writes the row; returns its id. */
int64_t tape_summary_gap_put(struct tape_summariser *summariser,
                             const struct tape_summary_gap *gap);

/* tape_summariser_reset(summariser): as new; the state of an index may then be restored into it. */
int tape_summariser_reset(struct tape_summariser *summariser, struct tape_error *error);

/* tape_summariser_warm(summariser, record): a record before next_ordinal that is already counted:
 * only its unfinished message matters. */
int tape_summariser_warm(struct tape_summariser *summariser, const struct tape_record *record,
                         struct tape_error *error);

/* tape_summariser_damage(summariser, damage): what is missing before the next record.
 * tape_summariser_forget_damage(summariser): the record after it is counted already, and so is the
 * damage: what was told since the last record that was added is taken back. */
void tape_summariser_damage(struct tape_summariser *summariser,
                            const struct tape_cursor_damage *damage);
void tape_summariser_forget_damage(struct tape_summariser *summariser);

#ifdef __cplusplus
}
#endif
#endif
