#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/summary_state.h"

enum {
    CAUSE_BYTES = 512,
    DELAY_BINS = 64,
    CLOCK_UNSYNCHRONISED = 0x40, /* STA_UNSYNC of adjtimex(2) */
};
#define CLOCK_STEP_MIN_NS 1000000 /* a smaller one is the clock being slewed */

/* One event record on its way into rows. stream_id is what it concerns, if it names one. */
struct event_view {
    struct tape_summariser *summariser;
    const struct tape_record *record;
    const struct tape_event *body;
    struct tape_summary_connection *connection;
    int64_t connection_id, stream_id;
    const char *level, *kind;
};

static int64_t number_of(const struct event_view *view, const char *key)
{
    return tape_event_number(view->body, key, TAPE_SUMMARY_NONE);
}

/* A time that has to be there: the record's where the body names none. */
static int64_t time_of(const struct event_view *view, const char *key)
{
    int64_t ns = number_of(view, key);
    return ns == TAPE_SUMMARY_NONE ? view->record->recv_ns : ns;
}

static void put_number(const struct event_view *view, const char *key)
{
    tape_summary_rows_number(&view->summariser->rows, number_of(view, key));
}

static void put_text(const struct event_view *view, const char *key)
{
    tape_summary_rows_text(&view->summariser->rows, tape_event_text(view->body, key));
}

static int is_word(const char *text, const char *word)
{
    return text && strcmp(text, word) == 0;
}

static void put_session_end(struct tape_summariser *summariser, int64_t ns, const char *reason)
{
    tape_summary_rows_begin(&summariser->rows, TAPE_SUMMARY_ROW_SESSION_END);
    tape_summary_rows_number(&summariser->rows, summariser->session);
    tape_summary_rows_number(&summariser->rows, ns);
    tape_summary_rows_text(&summariser->rows, reason);
    summariser->session_open = 0;
}

/* A new recorder: whatever the one before left open ended with its last record. */
static void start_session(struct event_view *view)
{
    struct tape_summariser *summariser = view->summariser;
    tape_summary_connections_end(summariser, summariser->last_ns, "recorder", "recorder died");
    if (summariser->session_open)
        put_session_end(summariser, summariser->last_ns, "died");
    tape_summary_map_free(&summariser->closed);
    summariser->closed_floor = summariser->last_connection;
    int64_t session = number_of(view, "session");
    if (session <= summariser->session || session > UINT32_MAX)
        session = (int64_t)summariser->session + (summariser->session < UINT32_MAX);
    summariser->session = (uint32_t)session;
    summariser->session_open = 1;
    tape_summary_rows_begin(&summariser->rows, TAPE_SUMMARY_ROW_SESSION_START);
    tape_summary_rows_number(&summariser->rows, session);
    tape_summary_rows_number(&summariser->rows,
                             tape_summary_day(summariser, view->record->recv_ns));
    tape_summary_rows_number(&summariser->rows, view->record->recv_ns);
    put_text(view, "version");
    put_text(view, "host");
    put_number(view, "pid");
    put_text(view, "command");
    put_number(view, "recovered_records");
    put_number(view, "torn_bytes");
}

static void end_session(struct event_view *view)
{
    struct tape_summariser *summariser = view->summariser;
    const char *reason = tape_event_text(view->body, "reason");
    tape_summary_connections_end(summariser, view->record->recv_ns, "recorder", "recorder ended");
    if (summariser->session_open)
        put_session_end(summariser, view->record->recv_ns, reason ? reason : "end");
}

static void open_connection(struct event_view *view)
{
    struct tape_summary_connection *connection = view->connection;
    const char *venue = tape_event_text(view->body, "venue");
    if (!connection || connection->opened) /* the first one counts */
        return;
    struct tape_summary_rows *rows = &view->summariser->rows;
    connection->opened = 1;
    connection->venue = tape_summary_venue_find(view->summariser, venue);
    connection->last_stream = 0;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_CONNECTION_OPEN);
    tape_summary_rows_number(rows, connection->number);
    tape_summary_rows_number(rows, view->record->recv_ns);
    tape_summary_rows_text(rows, view->summariser->venues[connection->venue].name);
    put_text(view, "url");
    put_text(view, "peer");
    put_text(view, "tls");
    put_text(view, "cipher");
    put_text(view, "certificate_sha256");
    put_number(view, "resolve_ns");
    put_number(view, "connect_ns");
    put_number(view, "tls_ns");
    put_number(view, "upgrade_ns");
    tape_summary_rows_number(rows, (int64_t)view->record->ordinal);
}

static void close_connection(struct event_view *view)
{
    const char *word = tape_event_text(view->body, "cause");
    const char *detail = tape_event_text(view->body, "detail");
    int asked_for = is_word(word, "shutdown") || is_word(word, "renewal");
    char cause[CAUSE_BYTES];
    view->level = asked_for ? "info" : "warning";
    if (!view->connection)
        return;
    snprintf(cause, sizeof cause, "%s%s%s", word ? word : "connection ended",
             detail && *detail ? ": " : "", detail ? detail : "");
    tape_summary_rows_begin(&view->summariser->rows, TAPE_SUMMARY_ROW_CONNECTION_CLOSE);
    tape_summary_rows_number(&view->summariser->rows, view->connection->number);
    tape_summary_rows_number(&view->summariser->rows, (int64_t)view->record->ordinal);
    tape_summary_rows_number(&view->summariser->rows, view->record->recv_ns);
    put_text(view, "by");
    put_text(view, "cause");
    put_number(view, "code");
    put_text(view, "reason");
    put_number(view, "errno");
    put_text(view, "detail");
    tape_summary_connection_end(view->summariser, view->connection,
                                is_word(word, "shutdown") ? "recorder" : "disconnect", cause);
    view->connection = NULL;
}

static void ask(struct event_view *view)
{
    struct tape_summariser *summariser = view->summariser;
    struct tape_summary_connection *connection = view->connection;
    const char *name;
    for (int i = 0; connection && (name = tape_event_text_at(view->body, "streams", i)); i++) {
        int64_t stream =
            tape_summary_stream_find(summariser, connection->venue, name, strlen(name), 1);
        struct tape_summary_pair *pair =
            stream < 0 ? NULL
                       : tape_summary_pair_find(summariser, connection, (uint32_t)stream,
                                                view->record->recv_ns, 1);
        if (!pair)
            return;
        int waits =
            pair->request != TAPE_SUMMARY_NONE && pair->acknowledged_ns == TAPE_SUMMARY_NONE;
        pair->request = tape_event_number(view->body, "id", 0);
        pair->asked_ns = view->record->recv_ns;
        pair->acknowledged_ns = TAPE_SUMMARY_NONE;
        if (pair->first_ns == TAPE_SUMMARY_NONE)
            pair->status = TAPE_SUMMARY_STATUS_ASKED;
        if (!waits)
            tape_summary_pair_ask(summariser, connection, pair);
        tape_summary_pair_put(summariser, connection, pair, NULL);
    }
}

static void answer(struct event_view *view)
{
    struct tape_summary_connection *connection = view->connection;
    int64_t request = tape_event_number(view->body, "id", 0);
    const char *error = tape_event_text(view->body, "error");
    int refused = number_of(view, "error_code") > 0 || (error && *error) ||
                  tape_event_number(view->body, "ok", 1) == 0;
    uint32_t kept = 0;
    if (refused)
        view->level = "error";
    if (!connection)
        return;
    for (uint32_t i = 0; i < connection->asked_used; i++) {
        struct tape_summary_pair *pair = &connection->pairs[connection->asked[i]];
        if (pair->request != request) {
            connection->asked[kept++] = connection->asked[i];
            continue;
        }
        pair->acknowledged_ns = view->record->recv_ns;
        if (pair->first_ns == TAPE_SUMMARY_NONE)
            pair->status = refused ? TAPE_SUMMARY_STATUS_REFUSED : TAPE_SUMMARY_STATUS_ACKNOWLEDGED;
        tape_summary_pair_put(view->summariser, connection, pair,
                              refused ? (error && *error ? error : "refused") : NULL);
    }
    connection->asked_used = kept;
}

static void sample_clock(struct event_view *view)
{
    struct tape_summariser *summariser = view->summariser;
    int64_t now = time_of(view, "realtime_ns");
    int64_t status = number_of(view, "status"), step = number_of(view, "step_ns");
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_CLOCK);
    tape_summary_rows_number(rows, (int64_t)view->record->ordinal);
    tape_summary_rows_number(rows, tape_summary_day(summariser, now));
    tape_summary_rows_number(rows, now);
    put_number(view, "monotonic_ns");
    put_number(view, "state");
    tape_summary_rows_number(rows, status);
    tape_summary_rows_number(
        rows, status == TAPE_SUMMARY_NONE ? status : (status & CLOCK_UNSYNCHRONISED) == 0);
    put_number(view, "offset_ns");
    put_number(view, "maxerror_ns");
    put_number(view, "esterror_ns");
    tape_summary_rows_number(rows, step);
    if (step == TAPE_SUMMARY_NONE)
        return;
    if (step > -CLOCK_STEP_MIN_NS && step < CLOCK_STEP_MIN_NS)
        return;
    struct tape_summary_gap gap = TAPE_SUMMARY_GAP_EMPTY;
    gap.kind = "clock";
    gap.cause = step > 0 ? "the clock stepped forward" : "the clock stepped back";
    if (__builtin_sub_overflow(now, step, &gap.from_ns))
        gap.from_ns = now;
    gap.to_ns = now;
    gap.missing = 0;
    tape_summary_gap_put(summariser, &gap);
}

/* The numbers of "counts":[…], which event.h does not read; returns how many. */
static int read_counts(const struct tape_record *record, uint64_t counts[DELAY_BINS],
                       const char **text, size_t *bytes)
{
    static const char key[] = "\"counts\":[";
    const char *body = (const char *)record->data, *end = body + record->bytes;
    const char *at = memmem(body, record->bytes, key, sizeof key - 1);
    int used = 0;
    if (!at)
        return 0;
    at += sizeof key - 1;
    *text = at - 1;
    while (at < end && *at >= '0' && *at <= '9' && used < DELAY_BINS) {
        uint64_t value = 0;
        for (; at < end && *at >= '0' && *at <= '9'; at++)
            value = value < UINT32_MAX ? value * 10 + (uint64_t)(*at - '0') : UINT32_MAX;
        counts[used++] = value;
        if (at < end && *at == ',')
            at++;
    }
    *bytes = at < end && *at == ']' ? (size_t)(at + 1 - *text) : 0;
    return *bytes ? used : 0;
}

/* The upper end of the bin that holds the ${wanted}th. */
static int64_t bin_end(const uint64_t counts[DELAY_BINS], int used, uint64_t wanted)
{
    uint64_t sum = 0;
    for (int i = 0; i < used; i++) {
        sum += counts[i];
        if (sum >= wanted)
            return i >= 62 ? INT64_MAX : (int64_t)1 << (i + 1);
    }
    return TAPE_SUMMARY_NONE;
}

static void sample_delay(struct event_view *view)
{
    uint64_t counts[DELAY_BINS], frames = 0;
    const char *text = NULL;
    size_t bytes = 0;
    int used = read_counts(view->record, counts, &text, &bytes);
    struct tape_summary_rows *rows = &view->summariser->rows;
    int64_t from = time_of(view, "from_ns");
    for (int i = 0; i < used; i++)
        frames += counts[i];
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_DELAY);
    tape_summary_rows_number(rows, (int64_t)view->record->ordinal);
    tape_summary_rows_number(rows, tape_summary_day(view->summariser, from));
    tape_summary_rows_number(rows, from);
    tape_summary_rows_number(rows, time_of(view, "to_ns"));
    tape_summary_rows_number(rows, (int64_t)frames);
    tape_summary_rows_number(rows,
                             frames ? bin_end(counts, used, (frames + 1) / 2) : TAPE_SUMMARY_NONE);
    tape_summary_rows_number(rows, frames ? bin_end(counts, used, frames - frames / 100)
                                          : TAPE_SUMMARY_NONE);
    tape_summary_rows_number(rows, frames ? bin_end(counts, used, frames) : TAPE_SUMMARY_NONE);
    if (used > 0)
        tape_summary_rows_bytes(rows, text, bytes);
    else
        tape_summary_rows_text(rows, "[]");
}

/* The stream that a body names, on its connection's venue or, failing that, the first of that name
 * that ever was. */
static int64_t named_stream(const struct event_view *view, const char *name)
{
    struct tape_summariser *summariser = view->summariser;
    int64_t found = -1;
    if (!name)
        return -1;
    if (view->connection)
        found =
            tape_summary_stream_find(summariser, view->connection->venue, name, strlen(name), 0);
    if (found >= 0)
        return found;
    for (uint32_t venue = 0; venue < summariser->venues_used; venue++) {
        int64_t place =
            tape_summary_stream_find(summariser, (uint16_t)venue, name, strlen(name), 0);
        if (place >= 0 && (found < 0 || place < found))
            found = place;
    }
    return found;
}

/* A hole that began and whose end is the stream's next message, unless it is in a hole already. */
static void open_stream_gap(struct event_view *view, int64_t place, struct tape_summary_gap *gap)
{
    struct tape_summariser *summariser = view->summariser;
    struct tape_summary_stream *stream = &summariser->streams[place];
    if (stream->open_gap)
        return;
    stream->open_gap = tape_summary_gap_put(summariser, gap);
    tape_summary_stream_touch(summariser, (uint32_t)place);
}

static void note_silent(struct event_view *view, int64_t place, struct tape_summary_gap *gap)
{
    struct tape_summary_pair *pair =
        view->connection ? tape_summary_pair_find(view->summariser, view->connection,
                                                  (uint32_t)place, view->record->recv_ns, 0)
                         : NULL;
    if (pair && pair->first_ns == TAPE_SUMMARY_NONE) {
        pair->status = TAPE_SUMMARY_STATUS_SILENT;
        tape_summary_pair_put(view->summariser, view->connection, pair, gap->cause);
    }
    if (number_of(view, "from_ns") == TAPE_SUMMARY_NONE && pair &&
        pair->asked_ns != TAPE_SUMMARY_NONE)
        gap->from_ns = pair->asked_ns;
}

/* TAPE_NOTE(word of the note, kind of the gap row, level): a note of another kind is an event only.
 */
#define NOTE_TABLE(X)                                                                              \
    X("gap", "recorder", "error")                                                                  \
    X("disk", "dropped", "error")                                                                  \
    X("stall", "stall", "warning")                                                                 \
    X("silence", "stall", "warning")                                                               \
    X("not_delivered", "not_delivered", "warning")                                                 \
    X("sync", NULL, "error")                                                                       \
    X("pack", NULL, "warning")                                                                     \
    X("index", NULL, "warning")

static const struct {
    const char *word, *gap, *level;
} notes[] = {
#define NOTE_ROW(word, gap, level) {word, gap, level},
    NOTE_TABLE(NOTE_ROW)
#undef NOTE_ROW
};

static void read_gap(const struct event_view *view, const char *kind, const char *word,
                     struct tape_summary_gap *gap)
{
    const char *text = tape_event_text(view->body, "text");
    const char *cause = tape_event_text(view->body, "cause");
    int64_t frames = number_of(view, "frames");
    gap->kind = is_word(word, "gap") && frames > 0 ? "dropped" : kind;
    gap->cause = text ? text : cause ? cause : word;
    gap->connection = view->connection_id;
    gap->stream_id = view->stream_id;
    gap->from_ns = time_of(view, "from_ns");
    gap->to_ns = number_of(view, "to_ns");
    if (strcmp(gap->kind, "dropped") == 0)
        gap->missing = frames;
    else if (is_word(word, "stall"))
        gap->missing = 0;
}

/* Silence and what was never delivered last until the stream's next message: the note's to_ns only
 * says when it was looked at, unless a message came between that and the note. */
static int lasts(const struct event_view *view, int64_t place, const char *word,
                 const struct tape_summary_gap *gap)
{
    if (place < 0)
        return 0;
    if (gap->to_ns == TAPE_SUMMARY_NONE)
        return 1;
    int64_t last_ns = view->summariser->streams[place].last_ns;
    return (is_word(word, "silence") || is_word(word, "not_delivered")) &&
           (last_ns == TAPE_SUMMARY_NONE || last_ns <= gap->to_ns);
}

static void note_gap(struct event_view *view, const char *kind, const char *word)
{
    struct tape_summary_gap gap = TAPE_SUMMARY_GAP_EMPTY;
    const char *name = tape_event_text(view->body, "stream");
    int64_t place = named_stream(view, name);
    if (place >= 0)
        view->stream_id = place + 1;
    read_gap(view, kind, word, &gap);
    if (is_word(word, "disk") && number_of(view, "frames") <= 0)
        return;
    if (is_word(word, "not_delivered") && place >= 0) {
        note_silent(view, place, &gap);
        if (view->summariser->streams[place].deliverers > 0)
            return; /* another connection has it: nothing is missing */
    }
    if (lasts(view, place, word, &gap)) {
        gap.to_ns = TAPE_SUMMARY_NONE;
        open_stream_gap(view, place, &gap);
        return;
    }
    if (gap.to_ns == TAPE_SUMMARY_NONE)
        gap.to_ns = view->record->recv_ns;
    tape_summary_gap_put(view->summariser, &gap);
}

/* A segment that is deleted after this record: the first note of several about it counts. */
static void note_pruned(struct event_view *view)
{
    struct tape_summary_rows *rows = &view->summariser->rows;
    int64_t segment = number_of(view, "segment");
    if (segment <= 0 || segment > UINT32_MAX)
        return;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_PRUNED);
    tape_summary_rows_number(rows, segment);
    tape_summary_rows_number(rows, (int64_t)view->record->ordinal);
    tape_summary_rows_number(rows, tape_summary_day(view->summariser, view->record->recv_ns));
    tape_summary_rows_number(rows, view->record->recv_ns);
    put_text(view, "name");
    put_number(view, "from_ordinal");
    put_number(view, "to_ordinal");
    put_number(view, "from_ns");
    put_number(view, "to_ns");
    put_number(view, "records");
    put_number(view, "frames");
    put_number(view, "bytes");
    put_text(view, "rule");
}

static void note(struct event_view *view)
{
    const char *word = tape_event_text(view->body, "kind");
    int64_t number = number_of(view, "connection");
    view->kind = word ? word : "note";
    if (!view->connection && number > 0 && number <= UINT32_MAX) {
        view->connection_id = number;
        if (number <= view->summariser->last_connection)
            view->connection = tape_summary_connection_find(view->summariser, (uint32_t)number,
                                                            view->record->recv_ns);
    }
    if (is_word(word, "pruned"))
        note_pruned(view);
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (!is_word(word, notes[i].word))
            continue;
        view->level = notes[i].level;
        if (notes[i].gap)
            note_gap(view, notes[i].gap, word);
    }
}

static void put_event(struct event_view *view, size_t bytes)
{
    struct tape_summariser *summariser = view->summariser;
    struct tape_summary_rows *rows = &summariser->rows;
    uint64_t events_run = view->record->ordinal / TAPE_SUMMARY_EVENTS_RECORDS;
    if (events_run != summariser->events_run)
        summariser->events = 0;
    summariser->events_run = events_run;
    if (summariser->events >= TAPE_SUMMARY_EVENTS_MAX)
        return;
    summariser->events++;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_EVENT);
    tape_summary_rows_number(rows, (int64_t)view->record->ordinal);
    tape_summary_rows_number(rows, tape_summary_day(summariser, view->record->recv_ns));
    tape_summary_rows_number(rows, view->record->recv_ns);
    tape_summary_rows_text(rows, view->level);
    tape_summary_rows_text(rows, view->kind);
    tape_summary_rows_number(rows, summariser->session ? summariser->session : TAPE_SUMMARY_NONE);
    tape_summary_rows_number(rows, view->connection_id);
    tape_summary_rows_number(rows, view->stream_id);
    tape_summary_rows_bytes(rows, (const char *)view->record->data, bytes);
}

/* Which function takes which kind; NULL: the event row is all. */
static void (*const takers[])(struct event_view *) = {
    [TAPE_RECORD_CONNECTION_OPEN] = open_connection,
    [TAPE_RECORD_CONNECTION_CLOSE] = close_connection,
    [TAPE_RECORD_SUBSCRIPTION_ASKED] = ask,
    [TAPE_RECORD_SUBSCRIPTION_ACKED] = answer,
    [TAPE_RECORD_CLOCK] = sample_clock,
    [TAPE_RECORD_SNAPSHOT] = NULL,
    [TAPE_RECORD_NOTE] = note,
    [TAPE_RECORD_SESSION_START] = start_session,
    [TAPE_RECORD_SESSION_END] = end_session,
    [TAPE_RECORD_DELAY] = sample_delay,
};

static void take_body(struct event_view *view, size_t bytes)
{
    int kind = view->record->kind;
    if (kind == TAPE_RECORD_SNAPSHOT) {
        int64_t place = named_stream(view, tape_event_text(view->body, "stream"));
        view->stream_id = place < 0 ? TAPE_SUMMARY_NONE : place + 1;
    }
    if (takers[kind])
        takers[kind](view);
    if (kind != TAPE_RECORD_CLOCK && kind != TAPE_RECORD_DELAY)
        put_event(view, bytes);
}

void tape_summary_event_add(struct tape_summariser *summariser, const struct tape_record *record,
                            struct tape_summary_connection *connection)
{
    if (record->kind < TAPE_RECORD_CONNECTION_OPEN || record->kind > TAPE_RECORD_DELAY)
        return;
    const void *line = record->kind == TAPE_RECORD_SNAPSHOT && record->bytes > 0
                           ? memchr(record->data, '\n', record->bytes)
                           : NULL;
    size_t bytes = line ? (size_t)((const uint8_t *)line - record->data) : record->bytes;
    /* A body that is no object still opens and ends sessions and connections. */
    struct tape_event *body = tape_event_read((const char *)record->data, bytes);
    struct tape_event *empty = body ? NULL : tape_event_read("{}", 2);
    struct event_view view = {
        .summariser = summariser,
        .record = record,
        .body = body ? body : empty,
        .connection = connection,
        .connection_id = record->connection ? (int64_t)record->connection : TAPE_SUMMARY_NONE,
        .stream_id = TAPE_SUMMARY_NONE,
        .level = "info",
        .kind = tape_record_kind_word(record->kind),
    };
    if (view.body)
        take_body(&view, bytes);
    else
        summariser->short_of_memory = 1;
    tape_event_free(body);
    tape_event_free(empty);
}
