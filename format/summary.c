#include "format/summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "format/summary_state.h"

#define DAY_NS (86400ll * 1000000000ll)

/* yyyymmdd of a day counted from 1970-01-01: the Gregorian calendar, in years that begin in March,
 * so that the leap day is a year's last. */
static int64_t civil(int64_t days)
{
    int64_t shifted = days + 719468; /* from 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    return (year + era * 400 + (month <= 2)) * 10000 + month * 100 + day;
}

int64_t tape_summary_day(struct tape_summariser *summariser, int64_t ns)
{
    if (summariser->day != 0 && ns >= summariser->day_first_ns && ns <= summariser->day_last_ns)
        return summariser->day;
    int64_t days = ns / DAY_NS - (ns % DAY_NS < 0), first, last;
    /* the first and the last day of all are cut short by the width of the number */
    if (__builtin_mul_overflow(days, DAY_NS, &first))
        first = INT64_MIN;
    if (__builtin_mul_overflow(days + 1, DAY_NS, &last))
        last = INT64_MAX;
    else
        last--;
    summariser->day_first_ns = first;
    summariser->day_last_ns = last;
    summariser->day = civil(days);
    return summariser->day;
}

int64_t tape_summary_gap_put(struct tape_summariser *summariser, const struct tape_summary_gap *gap)
{
    struct tape_summary_rows *rows = &summariser->rows;
    int64_t from_ns = gap->from_ns == TAPE_SUMMARY_NONE ? TAPE_SUMMARY_NONE + 1 : gap->from_ns;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_GAP);
    tape_summary_rows_number(rows, summariser->next_gap);
    tape_summary_rows_text(rows, gap->kind);
    tape_summary_rows_number(rows, gap->stream_id);
    tape_summary_rows_number(rows, gap->connection);
    tape_summary_rows_number(rows, tape_summary_day(summariser, from_ns));
    tape_summary_rows_number(rows, from_ns);
    tape_summary_rows_number(rows, gap->to_ns);
    tape_summary_rows_number(rows, gap->from_id);
    tape_summary_rows_number(rows, gap->to_id);
    tape_summary_rows_number(rows, gap->missing);
    tape_summary_rows_text(rows, gap->cause);
    return summariser->next_gap++;
}

/* Everything but the memory of the struct itself. */
static void clear(struct tape_summariser *summariser)
{
    tape_summary_connections_free(summariser);
    tape_summary_streams_free(summariser);
    tape_feed_free(summariser->feed);
    free(summariser->rows.bytes);
    uint64_t seed = summariser->seed;
    memset(summariser, 0, sizeof *summariser);
    summariser->seed = seed;
}

int tape_summariser_reset(struct tape_summariser *summariser, struct tape_error *error)
{
    clear(summariser);
    summariser->feed = tape_feed_new();
    summariser->venues = calloc(TAPE_SUMMARY_VENUES_MAX, sizeof *summariser->venues);
    if (!summariser->feed || !summariser->venues)
        return tape_error_errno(error, ENOMEM, "summariser");
    tape_summary_venue_find(summariser, "");
    summariser->next_gap = summariser->next_subscription = 1;
    return 0;
}

struct tape_summariser *tape_summariser_new(struct tape_error *error)
{
    struct tape_summariser *summariser = calloc(1, sizeof *summariser);
    if (!summariser) {
        tape_error_errno(error, ENOMEM, "summariser");
        return NULL;
    }
    /* without entropy it only is easier to choose names that collide */
    if (getrandom(&summariser->seed, sizeof summariser->seed, GRND_NONBLOCK) < 0)
        summariser->seed = (uint64_t)(uintptr_t)summariser;
    if (tape_summariser_reset(summariser, error) < 0) {
        tape_summariser_free(summariser);
        return NULL;
    }
    return summariser;
}

void tape_summariser_free(struct tape_summariser *summariser)
{
    if (!summariser)
        return;
    clear(summariser);
    free(summariser);
}

/* Runs the parser and keeps count of unfinished messages: over a hole it drops them all. */
static int push(struct tape_summariser *summariser, const struct tape_record *record,
                struct tape_message *message, struct tape_error *error)
{
    uint32_t before = tape_feed_open_messages(summariser->feed);
    int hole = record->ordinal != summariser->next_ordinal;
    int status = tape_feed_push(summariser->feed, record, message, error);
    if ((before == 0 || hole) && tape_feed_open_messages(summariser->feed) > 0)
        summariser->open_since = record->ordinal;
    return status;
}

int tape_summariser_warm(struct tape_summariser *summariser, const struct tape_record *record,
                         struct tape_error *error)
{
    struct tape_message message;
    uint64_t next = summariser->next_ordinal;
    summariser->next_ordinal = record->ordinal;
    int status = push(summariser, record, &message, error);
    summariser->next_ordinal = next;
    return status < 0 && status != TAPE_LIMIT ? status : 0;
}

void tape_summariser_forget_damage(struct tape_summariser *summariser)
{
    if (!summariser->damage.set)
        return;
    summariser->rows.used = summariser->damage.used;
    summariser->next_gap = summariser->damage.next_gap;
    summariser->damage.set = 0;
}

void tape_summariser_damage(struct tape_summariser *summariser,
                            const struct tape_cursor_damage *damage)
{
    struct tape_summary_gap gap = TAPE_SUMMARY_GAP_EMPTY;
    if (!summariser->damage.set) {
        summariser->damage.used = summariser->rows.used;
        summariser->damage.next_gap = summariser->next_gap;
        summariser->damage.set = 1;
    }
    gap.kind = "damaged";
    gap.cause = damage->text;
    gap.from_ns = damage->from_ns ? damage->from_ns : damage->to_ns;
    if (damage->to_ns)
        gap.to_ns = damage->to_ns;
    if (damage->to_ordinal > damage->from_ordinal) {
        gap.from_id = (int64_t)damage->from_ordinal;
        gap.to_id = (int64_t)damage->to_ordinal;
        gap.missing = gap.to_id - gap.from_id;
    }
    tape_summary_gap_put(summariser, &gap);
}

static void count_record(struct tape_summariser *summariser, const struct tape_record *record)
{
    if (summariser->records++ == 0) {
        summariser->first_record = record->ordinal;
        summariser->min_ns = summariser->max_ns = record->recv_ns;
    }
    if (record->recv_ns < summariser->min_ns)
        summariser->min_ns = record->recv_ns;
    if (record->recv_ns > summariser->max_ns)
        summariser->max_ns = record->recv_ns;
    summariser->damage.set = 0;
    summariser->next_ordinal = record->ordinal + 1;
}

static void count_message(struct tape_summariser *summariser,
                          struct tape_summary_connection *connection,
                          const struct tape_message *message)
{
    summariser->messages++;
    summariser->payload_bytes += message->payload.bytes;
    if (connection) {
        connection->messages++;
        connection->bytes += message->payload.bytes;
        if (connection->first_message_ns == TAPE_SUMMARY_NONE)
            connection->first_message_ns = message->recv_ns;
    }
    tape_summary_stream_message(summariser, connection, message);
}

static int no_memory(struct tape_error *error, uint64_t ordinal)
{
    return tape_error_errno(error, ENOMEM, "summary of record %llu", (unsigned long long)ordinal);
}

/* Over a hole all unfinished messages are dropped. */
static uint64_t resume_before(const struct tape_summariser *summariser,
                              const struct tape_record *record)
{
    int unfinished = record->ordinal == summariser->next_ordinal &&
                     tape_feed_open_messages(summariser->feed) > 0;
    return unfinished ? summariser->open_since : record->ordinal;
}

int tape_summariser_add(struct tape_summariser *summariser, const struct tape_record *record,
                        struct tape_message *message, struct tape_error *error)
{
    struct tape_message own;
    struct tape_message *got = message ? message : &own;
    struct tape_record moved;
    /* the one time that stands for "none" in the rows; only crafted bytes name it */
    if (record->recv_ns == TAPE_SUMMARY_NONE) {
        moved = *record;
        moved.recv_ns++;
        record = &moved;
    }
    if (record->ordinal < summariser->next_ordinal || record->ordinal > INT64_MAX)
        return tape_error_set(
            error, TAPE_USAGE, "summary: record %llu comes where %llu is expected",
            (unsigned long long)record->ordinal, (unsigned long long)summariser->next_ordinal);
    if (summariser->records == 0)
        summariser->resume_record = resume_before(summariser, record);
    int status = push(summariser, record, got, error);
    /* over the parser's limit there is no message; the record counts all the same */
    if (status < 0 && status != TAPE_LIMIT)
        return status;
    count_record(summariser, record);
    struct tape_summary_connection *connection =
        tape_summary_connection_find(summariser, record->connection, record->recv_ns);
    if (connection) {
        connection->records++;
        connection->last_ns = record->recv_ns;
        tape_summary_connection_touch(summariser, connection);
    }
    if (status > 0 && got->kind == TAPE_FEED_DATA)
        count_message(summariser, connection, got);
    else if (record->kind >= TAPE_RECORD_CONNECTION_OPEN)
        tape_summary_event_add(summariser, record, connection);
    summariser->last_ns = record->recv_ns;
    if (summariser->short_of_memory || summariser->rows.failed)
        return no_memory(error, record->ordinal);
    return message && status > 0;
}

static int by_name(const void *left, const void *right)
{
    const struct tape_segment_stream_count *a = left, *b = right;
    uint32_t bytes = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
    int order = memcmp(a->name, b->name, bytes);
    return order ? order : (a->name_bytes > b->name_bytes) - (a->name_bytes < b->name_bytes);
}

const struct tape_segment_stream_count *
tape_summariser_counts(const struct tape_summariser *summariser, size_t *length)
{
    struct tape_summariser *own = (struct tape_summariser *)summariser; /* only its scratch room */
    size_t used = 0;
    uint32_t room = own->slots_used ? own->slots_used : 1; /* none is a count, too */
    *length = 0;
    if (own->names_left_out)
        return NULL;
    if (own->counts_room < room) {
        void *grown = realloc(own->counts, room * sizeof *own->counts);
        if (!grown)
            return NULL;
        own->counts = grown;
        own->counts_room = room;
    }
    for (uint32_t i = 0; i < own->slots_used; i++) {
        const struct tape_summary_slot *slot = &own->slots[i];
        const struct tape_summary_stream *stream = &own->streams[slot->stream];
        own->counts[i] = (struct tape_segment_stream_count){stream->name, stream->name_bytes,
                                                            slot->messages, slot->bytes};
    }
    if (own->slots_used > 1)
        qsort(own->counts, own->slots_used, sizeof *own->counts, by_name);
    /* two days, or two venues, of one name are one count */
    for (uint32_t i = 0; i < own->slots_used; i++) {
        if (used > 0 && by_name(&own->counts[used - 1], &own->counts[i]) == 0) {
            own->counts[used - 1].messages += own->counts[i].messages;
            own->counts[used - 1].bytes += own->counts[i].bytes;
        } else {
            own->counts[used++] = own->counts[i];
        }
    }
    *length = used;
    return own->counts;
}

static void put_block(struct tape_summariser *summariser, const struct tape_block_header *header,
                      uint64_t offset)
{
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_BLOCK);
    tape_summary_rows_number(rows, (int64_t)summariser->first_record);
    tape_summary_rows_number(rows, header->segment);
    tape_summary_rows_number(rows, header->number);
    tape_summary_rows_number(rows, (int64_t)offset);
    tape_summary_rows_number(rows, header->codec);
    tape_summary_rows_number(rows, header->stored_bytes);
    tape_summary_rows_number(rows, header->raw_bytes);
    tape_summary_rows_number(rows, header->payload_crc32c);
    tape_summary_rows_number(rows, summariser->records);
    tape_summary_rows_number(rows, (int64_t)summariser->messages);
    tape_summary_rows_number(rows, (int64_t)summariser->payload_bytes);
    tape_summary_rows_number(rows, summariser->min_ns);
    tape_summary_rows_number(rows, summariser->max_ns);
    tape_summary_rows_number(rows, header->realtime_minus_monotonic_ns);
}

static void put_segment_sums(struct tape_summariser *summariser,
                             const struct tape_block_header *header)
{
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_SEGMENT_SUMS);
    tape_summary_rows_number(rows, header->segment);
    tape_summary_rows_number(rows, tape_summary_day(summariser, summariser->min_ns));
    tape_summary_rows_number(rows, summariser->records);
    tape_summary_rows_number(rows, (int64_t)summariser->messages);
    tape_summary_rows_number(rows, (int64_t)summariser->payload_bytes);
    tape_summary_rows_number(rows, header->raw_bytes);
    tape_summary_rows_number(rows, header->stored_bytes);
    tape_summary_rows_number(rows, (int64_t)summariser->first_record);
    tape_summary_rows_number(rows, (int64_t)summariser->next_ordinal);
    tape_summary_rows_number(rows, summariser->min_ns);
    tape_summary_rows_number(rows, summariser->max_ns);
    tape_summary_rows_number(rows, (int64_t)summariser->resume_record);
}

/* The open summary begins anew. */
static void begin_summary(struct tape_summariser *summariser)
{
    summariser->rows = (struct tape_summary_rows){0};
    summariser->damage.set = 0;
    summariser->base_ordinal = summariser->next_ordinal;
    summariser->records = 0;
    summariser->messages = summariser->payload_bytes = 0;
    summariser->names_left_out = 0;
}

struct tape_summary *tape_summariser_take(struct tape_summariser *summariser,
                                          const struct tape_block_header *header, uint64_t offset)
{
    struct tape_summary *summary = calloc(1, sizeof *summary);
    if (!summary)
        return NULL;
    if (summariser->records > 0) {
        put_block(summariser, header, offset);
        put_segment_sums(summariser, header);
    }
    tape_summary_streams_take(summariser, (int64_t)summariser->first_record);
    tape_summary_connections_take(summariser);
    if (summariser->short_of_memory || summariser->rows.failed) {
        free(summary);
        return NULL;
    }
    uint32_t open = tape_feed_open_messages(summariser->feed);
    *summary = (struct tape_summary){
        .rows = summariser->rows,
        .base_ordinal = summariser->base_ordinal,
        .next_ordinal = summariser->next_ordinal,
        .resume_ordinal = open ? summariser->open_since : summariser->next_ordinal,
        .last_ns = summariser->last_ns,
        .session = summariser->session,
        .last_connection = summariser->last_connection,
    };
    begin_summary(summariser);
    return summary;
}

void tape_summary_move(struct tape_summary *summary, const struct tape_block_header *header,
                       uint64_t offset)
{
    struct tape_summary_rows *rows = &summary->rows;
    tape_summary_rows_change(rows, TAPE_SUMMARY_ROW_BLOCK, 1, header->segment);
    tape_summary_rows_change(rows, TAPE_SUMMARY_ROW_BLOCK, 2, header->number);
    tape_summary_rows_change(rows, TAPE_SUMMARY_ROW_BLOCK, 3, (int64_t)offset);
    tape_summary_rows_change(rows, TAPE_SUMMARY_ROW_SEGMENT_SUMS, 0, header->segment);
}

void tape_summary_free(struct tape_summary *summary)
{
    if (!summary)
        return;
    free(summary->rows.bytes);
    free(summary);
}
