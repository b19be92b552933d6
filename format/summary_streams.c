#include <stdlib.h>
#include <string.h>

#include "format/summary_state.h"

#define DAY_NS         (86400ll * 1000000000ll)
#define LATENCY_MAX_NS (366 * DAY_NS) /* beyond it a clock is absent, and sums would overflow */

/* Room for one more in an array that doubles; 0, or -1 with short_of_memory set. */
static int make_room(struct tape_summariser *summariser, void *array, uint32_t *room, uint32_t used,
                     size_t bytes)
{
    if (used < *room)
        return 0;
    uint32_t more = *room ? *room * 2 : 64;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, more * bytes);
    if (!grown) {
        summariser->short_of_memory = 1;
        return -1;
    }
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return 0;
}

uint16_t tape_summary_venue_find(struct tape_summariser *summariser, const char *name)
{
    char cleaned[TAPE_SUMMARY_NAME_BYTES + 1];
    if (!name)
        return 0;
    cleaned[tape_summary_clean(cleaned, TAPE_SUMMARY_NAME_BYTES, name, strlen(name))] = '\0';
    for (uint32_t i = 0; i < summariser->venues_used; i++)
        if (strcmp(summariser->venues[i].name, cleaned) == 0)
            return (uint16_t)i;
    if (summariser->venues_used == TAPE_SUMMARY_VENUES_MAX)
        return 0;
    struct tape_summary_venue *venue = &summariser->venues[summariser->venues_used];
    memcpy(venue->name, cleaned, sizeof cleaned);
    venue->profile = tape_venue_load(cleaned, NULL);
    return (uint16_t)summariser->venues_used++;
}

static uint64_t hash_name(uint64_t seed, uint16_t venue, const char *name, size_t bytes)
{
    uint64_t sum = tape_summary_mix(bytes << 16 | venue, seed), word;
    for (; bytes >= 8; bytes -= 8, name += 8) {
        memcpy(&word, name, 8);
        sum = tape_summary_mix(sum ^ word, seed);
    }
    word = 0;
    memcpy(&word, name, bytes);
    return tape_summary_mix(sum ^ word, seed);
}

static inline int is_named(const struct tape_summary_stream *stream, uint16_t venue,
                           const char *name, size_t bytes)
{
    return stream->name_bytes == bytes && stream->venue == venue &&
           memcmp(stream->name, name, bytes) == 0;
}

static int64_t look_up(const struct tape_summariser *summariser, uint64_t hash, uint16_t venue,
                       const char *name, size_t bytes)
{
    if (summariser->stream_table_room == 0)
        return -1;
    uint32_t mask = summariser->stream_table_room - 1, at = (uint32_t)hash & mask;
    for (; summariser->stream_table[at]; at = (at + 1) & mask) {
        const struct tape_summary_stream *stream =
            &summariser->streams[summariser->stream_table[at] - 1];
        if (stream->hash == hash && is_named(stream, venue, name, bytes))
            return summariser->stream_table[at] - 1;
    }
    return -1;
}

static void enter(struct tape_summariser *summariser, uint64_t hash, uint32_t place)
{
    uint32_t mask = summariser->stream_table_room - 1, at = (uint32_t)hash & mask;
    while (summariser->stream_table[at])
        at = (at + 1) & mask;
    summariser->stream_table[at] = place + 1;
}

static int grow_table(struct tape_summariser *summariser)
{
    uint32_t room = summariser->stream_table_room ? summariser->stream_table_room * 2 : 128;
    uint32_t *table = calloc(room, sizeof *table);
    if (!table) {
        summariser->short_of_memory = 1;
        return -1;
    }
    free(summariser->stream_table);
    summariser->stream_table = table;
    summariser->stream_table_room = room;
    for (uint32_t i = 0; i < summariser->streams_used; i++)
        enter(summariser, summariser->streams[i].hash, i);
    return 0;
}

struct tape_summary_stream *tape_summary_stream_restore(struct tape_summariser *summariser,
                                                        uint16_t venue, const char *name,
                                                        size_t bytes)
{
    if (make_room(summariser, &summariser->streams, &summariser->streams_room,
                  summariser->streams_used, sizeof *summariser->streams) < 0 ||
        (summariser->streams_used >= summariser->stream_table_room / 2 &&
         grow_table(summariser) < 0))
        return NULL;
    struct tape_summary_stream *stream = &summariser->streams[summariser->streams_used];
    *stream = (struct tape_summary_stream){
        .name = malloc(bytes + 1),
        .name_bytes = (uint8_t)bytes,
        .venue = venue,
        .hash = hash_name(summariser->seed, venue, name, bytes),
        .first_ns = TAPE_SUMMARY_NONE,
        .last_ns = TAPE_SUMMARY_NONE,
        .last_sequence = TAPE_SUMMARY_NONE,
        .rule = (uint8_t)tape_venue_sequence(summariser->venues[venue].profile, name, bytes),
    };
    if (!stream->name) {
        summariser->short_of_memory = 1;
        return NULL;
    }
    memcpy(stream->name, name, bytes);
    stream->name[bytes] = '\0';
    enter(summariser, stream->hash, summariser->streams_used++);
    return stream;
}

static void put_stream(struct tape_summariser *summariser, const struct tape_summary_stream *stream)
{
    const char *at = memchr(stream->name, '@', stream->name_bytes);
    size_t symbol = at ? (size_t)(at - stream->name) : 0;
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_STREAM);
    tape_summary_rows_number(rows, summariser->streams_used);
    tape_summary_rows_text(rows, summariser->venues[stream->venue].name);
    tape_summary_rows_text(rows, stream->name);
    tape_summary_rows_bytes(rows, stream->name, symbol);
    tape_summary_rows_text(rows, at ? at + 1 : stream->name);
    tape_summary_rows_text(rows, tape_summary_rule_word(stream->rule));
    tape_summary_rows_number(rows, stream->rule > TAPE_VENUE_SEQUENCE_RISING);
}

static int64_t find_clean(struct tape_summariser *summariser, uint16_t venue, const char *name,
                          size_t bytes, int make)
{
    uint64_t hash = hash_name(summariser->seed, venue, name, bytes);
    int64_t place = look_up(summariser, hash, venue, name, bytes);
    if (place >= 0 || !make)
        return place;
    /* the last place is kept for the empty name, which all others then share */
    if (summariser->streams_used >= TAPE_SUMMARY_STREAMS_MAX - 1 && (bytes > 0 || venue > 0)) {
        summariser->names_left_out = 1;
        return find_clean(summariser, 0, "", 0, 1);
    }
    struct tape_summary_stream *stream =
        tape_summary_stream_restore(summariser, venue, name, bytes);
    if (!stream)
        return -1;
    put_stream(summariser, stream);
    return summariser->streams_used - 1;
}

int64_t tape_summary_stream_find(struct tape_summariser *summariser, uint16_t venue,
                                 const char *name, size_t bytes, int make)
{
    char cleaned[TAPE_SUMMARY_NAME_BYTES];
    if (bytes <= TAPE_SUMMARY_NAME_BYTES) {
        uint64_t hash = hash_name(summariser->seed, venue, name, bytes);
        int64_t place = look_up(summariser, hash, venue, name, bytes);
        if (place >= 0)
            return place;
    }
    size_t kept = tape_summary_clean(cleaned, sizeof cleaned, name, bytes);
    if (make && (kept > bytes || memcmp(cleaned, name, kept) != 0))
        summariser->names_left_out = 1;
    return find_clean(summariser, venue, cleaned, kept, make);
}

void tape_summary_stream_touch(struct tape_summariser *summariser, uint32_t place)
{
    struct tape_summary_stream *stream = &summariser->streams[place];
    if (stream->touched || make_room(summariser, &summariser->touched, &summariser->touched_room,
                                     summariser->touched_used, sizeof *summariser->touched) < 0)
        return;
    stream->touched = 1;
    summariser->touched[summariser->touched_used++] = place;
}

static struct tape_summary_slot *make_slot(struct tape_summariser *summariser, uint32_t place,
                                           const struct tape_message *message)
{
    if (make_room(summariser, &summariser->slots, &summariser->slots_room, summariser->slots_used,
                  sizeof *summariser->slots) < 0)
        return NULL;
    struct tape_summary_stream *stream = &summariser->streams[place];
    struct tape_summary_slot *slot = &summariser->slots[summariser->slots_used];
    tape_summary_day(summariser, message->recv_ns);
    *slot = (struct tape_summary_slot){
        .stream = place,
        .older = stream->slot,
        .first_ordinal = message->ordinal,
        .day_first_ns = summariser->day_first_ns,
        .day_last_ns = summariser->day_last_ns,
        .min_ns = message->recv_ns,
        .max_ns = message->recv_ns,
        .first_sequence = TAPE_SUMMARY_NONE,
        .last_sequence = TAPE_SUMMARY_NONE,
        .lat_min_ns = TAPE_SUMMARY_NONE,
        .lat_max_ns = TAPE_SUMMARY_NONE,
    };
    stream->slot = ++summariser->slots_used;
    tape_summary_stream_touch(summariser, place);
    return slot;
}

/* The stream's slot of the message's day: nearly always its newest. */
static struct tape_summary_slot *slot_of(struct tape_summariser *summariser, uint32_t place,
                                         const struct tape_message *message)
{
    for (uint32_t at = summariser->streams[place].slot; at; at = summariser->slots[at - 1].older) {
        struct tape_summary_slot *slot = &summariser->slots[at - 1];
        if (message->recv_ns >= slot->day_first_ns && message->recv_ns <= slot->day_last_ns)
            return slot;
    }
    return make_slot(summariser, place, message);
}

static void count_latency(struct tape_summariser *summariser, struct tape_summary_slot *slot,
                          int64_t recv_ns, int64_t event_ns)
{
    int64_t ns;
    if (event_ns == TAPE_TICK_NONE || __builtin_sub_overflow(recv_ns, event_ns, &ns) ||
        ns > LATENCY_MAX_NS || ns < -LATENCY_MAX_NS)
        return;
    if (make_room(summariser, &summariser->latencies, &summariser->latencies_room,
                  summariser->latencies_used, sizeof *summariser->latencies) < 0)
        return;
    summariser->latencies[summariser->latencies_used++] =
        (struct tape_summary_latency){.ns = ns, .slot = (uint32_t)(slot - summariser->slots)};
    if (slot->lat_n == 0 || ns < slot->lat_min_ns)
        slot->lat_min_ns = ns;
    if (slot->lat_n == 0 || ns > slot->lat_max_ns)
        slot->lat_max_ns = ns;
    if (__builtin_add_overflow(slot->lat_sum_ns, ns, &slot->lat_sum_ns))
        slot->lat_sum_ns = ns > 0 ? INT64_MAX : INT64_MIN + 1;
    slot->lat_n++;
}

/* The gap that the stream's last connection left ends here. What is missing is what the numbers on
 * both sides say; numbers that went back may be new ones or old ones sent again: nobody knows. */
static void end_gap(struct tape_summariser *summariser, struct tape_summary_stream *stream,
                    const struct tape_summary_numbers *numbers, int64_t recv_ns)
{
    int64_t missing, from = stream->last_sequence;
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_numbers_follow(stream->rule, from, numbers, &missing);
    if (from == TAPE_SUMMARY_NONE)
        missing = TAPE_SUMMARY_NONE;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_GAP_END);
    tape_summary_rows_number(rows, stream->open_gap);
    tape_summary_rows_number(rows, recv_ns);
    tape_summary_rows_number(rows, from);
    tape_summary_rows_number(rows, numbers->first);
    tape_summary_rows_number(rows, missing);
    stream->open_gap = 0;
    if (numbers->last != TAPE_TICK_NONE)
        stream->last_sequence = numbers->last;
}

static void put_break(struct tape_summariser *summariser, uint32_t place,
                      const struct tape_message *message,
                      const struct tape_summary_numbers *numbers, int64_t missing)
{
    struct tape_summary_stream *stream = &summariser->streams[place];
    struct tape_summary_gap gap = TAPE_SUMMARY_GAP_EMPTY;
    gap.kind = "sequence";
    gap.cause = "the numbers do not follow";
    gap.stream_id = (int64_t)place + 1;
    if (message->connection > 0)
        gap.connection = message->connection;
    gap.from_ns = stream->last_ns;
    gap.to_ns = message->recv_ns;
    gap.from_id = stream->last_sequence;
    gap.to_id = numbers->first;
    gap.missing = missing;
    stream->breaks++;
    tape_summary_gap_put(summariser, &gap);
}

/* ${fresh}: the connection's first message of this stream while another connection delivers it.
 * The two run side by side, and one may be ahead of the other: that is no hole. */
static void follow(struct tape_summariser *summariser, uint32_t place,
                   const struct tape_message *message, const struct tape_tick *tick, int fresh,
                   struct tape_summary_numbers *numbers)
{
    struct tape_summary_stream *stream = &summariser->streams[place];
    int64_t missing;
    tape_summary_numbers_read(stream->rule, tick, numbers);
    if (stream->open_gap) {
        end_gap(summariser, stream, numbers, message->recv_ns);
        return;
    }
    int how = tape_summary_numbers_follow(stream->rule, stream->last_sequence, numbers, &missing);
    if (how == TAPE_SUMMARY_UNNUMBERED)
        return;
    if (how == TAPE_SUMMARY_DUPLICATE) {
        stream->duplicates++;
        return;
    }
    if (how == TAPE_SUMMARY_BREAK && !fresh)
        put_break(summariser, place, message, numbers, missing);
    stream->last_sequence = numbers->last;
}

/* 1 when the connection delivers this stream for the first time and another one does already. */
static int begins(struct tape_summariser *summariser, uint32_t place,
                  struct tape_summary_connection *connection, const struct tape_message *message)
{
    struct tape_summary_stream *stream = &summariser->streams[place];
    stream->last_connection = connection->number;
    struct tape_summary_pair *pair =
        tape_summary_pair_find(summariser, connection, place, message->recv_ns, 1);
    if (!pair || pair->first_ns != TAPE_SUMMARY_NONE)
        return 0;
    pair->first_ns = message->recv_ns;
    pair->status = TAPE_SUMMARY_STATUS_LIVE;
    tape_summary_pair_put(summariser, connection, pair, NULL);
    return stream->deliverers++ > 0;
}

static inline int64_t stream_of(struct tape_summariser *summariser,
                                struct tape_summary_connection *connection,
                                const struct tape_message *message)
{
    const char *name = message->stream.bytes ? message->stream.data : "";
    size_t bytes = message->stream.bytes;
    if (!connection)
        return tape_summary_stream_find(summariser, 0, name, bytes, 1);
    if (connection->last_stream &&
        is_named(&summariser->streams[connection->last_stream - 1], connection->venue, name, bytes))
        return connection->last_stream - 1;
    int64_t place = tape_summary_stream_find(summariser, connection->venue, name, bytes, 1);
    connection->last_stream = (uint32_t)(place + 1);
    return place;
}

void tape_summary_stream_message(struct tape_summariser *summariser,
                                 struct tape_summary_connection *connection,
                                 const struct tape_message *message)
{
    struct tape_tick tick;
    struct tape_summary_numbers numbers;
    int fresh = 0;
    int64_t found = stream_of(summariser, connection, message);
    if (found < 0)
        return;
    uint32_t place = (uint32_t)found;
    tape_tick_scan(message->payload.data, message->payload.bytes, &tick);
    if (connection && summariser->streams[place].last_connection != connection->number)
        fresh = begins(summariser, place, connection, message);
    struct tape_summary_slot *slot = slot_of(summariser, place, message);
    if (!slot)
        return;
    follow(summariser, place, message, &tick, fresh, &numbers);
    struct tape_summary_stream *stream = &summariser->streams[place];
    if (numbers.last != TAPE_TICK_NONE) {
        if (slot->first_sequence == TAPE_SUMMARY_NONE)
            slot->first_sequence = numbers.first;
        slot->last_sequence = numbers.last;
    }
    slot->messages++;
    slot->bytes += message->payload.bytes;
    if (message->recv_ns < slot->min_ns)
        slot->min_ns = message->recv_ns;
    if (message->recv_ns > slot->max_ns)
        slot->max_ns = message->recv_ns;
    count_latency(summariser, slot, message->recv_ns, tick.event_ns);
    stream->messages++;
    stream->bytes += message->payload.bytes;
    if (stream->first_ns == TAPE_SUMMARY_NONE)
        stream->first_ns = message->recv_ns;
    stream->last_ns = message->recv_ns;
}

void tape_summary_streams_free(struct tape_summariser *summariser)
{
    for (uint32_t i = 0; i < summariser->streams_used; i++)
        free(summariser->streams[i].name);
    for (uint32_t i = 0; i < summariser->venues_used; i++)
        tape_venue_free(summariser->venues[i].profile);
    free(summariser->venues);
    free(summariser->streams);
    free(summariser->stream_table);
    free(summariser->touched);
    free(summariser->slots);
    free(summariser->latencies);
    free(summariser->counts);
}
