#include "replay/source.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replay/source_glob.h"
#include "replay/source_internal.h"

enum { SOURCE_DAMAGES_KEPT_MAX = 1000 }; /* of a hostile archive's; the rest are only counted */

/* While following, [from, to) ends at the first record this much after to: stamps of different
 * clocks interleave, and a late one may still belong inside. */
#define SOURCE_END_SLACK_NS 1000000000ll

static const int64_t past_ns[] = {
    [TAPE_SOURCE_PAST_SECOND] = 1000000000ll,
    [TAPE_SOURCE_PAST_HOUR] = 3600ll * 1000000000ll,
};

static int out_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "out of memory");
}

/* A name of this length may be the beginning of a longer one: footers cut them. */
enum { NAME_MAY_BE_CUT_BYTES = TAPE_SEGMENT_STREAM_NAME_MAX_BYTES - 3 };

static int wants_stream(void *context, const char *stream, size_t bytes)
{
    const struct tape_source *source = context;
    return bytes >= NAME_MAY_BE_CUT_BYTES ||
           tape_source_glob_match(source->options.stream, stream, bytes);
}

/* A block's counts, while a wanted stream is looked for in them. */
struct wanted {
    struct tape_source *source;
    int found;
};

static void look_for_wanted(void *context, const struct tape_segment_stream_count *count)
{
    struct wanted *wanted = context;
    if (!wanted->found)
        wanted->found = wants_stream(wanted->source, count->name, count->name_bytes);
}

/* By its time, and by the streams whose messages end in it. It may all the same hold the beginning
 * of one that ends in another block: see tape_feed_is_orphan(). While a message is open nothing is
 * passed over. */
static int wants_block(void *context, const struct tape_segment *segment, uint32_t block)
{
    struct tape_source *source = context;
    const struct tape_block_header *header = &tape_segment_entry(segment, block)->header;
    int64_t to_ns = source->options.to_ns;
    if (tape_feed_open_messages(source->feed) > 0)
        return 1;
    if (header->max_recv_ns < source->read_from_ns || (to_ns != 0 && header->min_recv_ns >= to_ns))
        return 0;
    struct wanted wanted = {.source = source};
    if (!source->passes_streams ||
        tape_segment_counts(segment, block, look_for_wanted, &wanted) < 0 || wanted.found)
        return 1;
    if (source->passed_ordinal == UINT64_MAX)
        source->passed_ordinal = header->first_ordinal;
    return 0;
}

static int new_feed(struct tape_source *source, struct tape_error *error)
{
    struct tape_feed *feed = tape_feed_new();
    if (!feed)
        return out_of_memory(error);
    tape_feed_free(source->feed);
    source->feed = feed;
    return 0;
}

/* Begins anew with an empty feed, which is shown what comes from the cursor. */
static int begin_anew(struct tape_source *source, uint64_t next_ordinal, struct tape_error *error)
{
    int status = new_feed(source, error);
    if (status < 0)
        return status;
    source->follow.live = 0;
    source->next_ordinal = next_ordinal;
    source->lost_ordinal = 0;
    source->passed_ordinal = UINT64_MAX;
    source->last_record_kind = 0;
    return 0;
}

/* Starts reading early enough before past_of_ns for the past that is wanted. */
static int read_from_past(struct tape_source *source, struct tape_error *error)
{
    int64_t from_ns = INT64_MIN;
    if (source->past != TAPE_SOURCE_PAST_WHOLE &&
        __builtin_sub_overflow(source->past_of_ns, past_ns[source->past], &from_ns))
        from_ns = INT64_MIN;
    int status = begin_anew(source, 0, error);
    if (status < 0)
        return status;
    source->read_from_ns = from_ns;
    if (from_ns == INT64_MIN)
        return tape_cursor_seek_ordinal(source->cursor, 0, error);
    return tape_cursor_seek_time(source->cursor, from_ns, error);
}

/* Reads again from the first block on that was passed over by its streams, and all of them from now
 * on: whatever came before it was read, and no message was open there. */
static int read_passed(struct tape_source *source, struct tape_error *error)
{
    uint64_t from = source->passed_ordinal;
    source->passes_streams = 0;
    int status = begin_anew(source, from, error);
    return status < 0 ? status : tape_cursor_seek_ordinal(source->cursor, from, error);
}

int tape_source_seek(struct tape_source *source, int64_t ns, struct tape_error *error)
{
    tape_cursor_refresh(source->cursor, NULL);
    source->past = TAPE_SOURCE_PAST_SECOND;
    source->past_of_ns = source->seek_ns = ns;
    source->resume_ordinal = 0;
    source->follow.ended = 0;
    return read_from_past(source, error);
}

/* Opens what path names; on failure the caller closes what is there. */
static int open_parts(struct tape_source *source, const char *path, struct tape_error *error)
{
    source->archive = tape_archive_open(path, error);
    if (!source->archive)
        return error ? error->status : TAPE_FAILED;
    source->cursor = tape_cursor_open(source->archive, error);
    if (!source->cursor)
        return error ? error->status : TAPE_FAILED;
    int status = begin_anew(source, 0, error);
    if (status < 0)
        return status;
    tape_cursor_set_block_filter(source->cursor, wants_block, source);
    /* Events, control frames and bad bytes may be anywhere, and a whole frame between the fragments
     * of a message is bad bytes only beside them. A follower must see how a session ends. */
    if (source->options.stream && !source->options.events) {
        tape_cursor_select(source->cursor, wants_stream, source);
        source->passes_streams = !source->options.follow;
    }
    source->read_from_ns = source->seek_ns = INT64_MIN;
    source->past = TAPE_SOURCE_PAST_WHOLE;
    if (source->options.from_ns == 0)
        return 0;
    source->past = TAPE_SOURCE_PAST_SECOND;
    source->past_of_ns = source->options.from_ns;
    return read_from_past(source, error);
}

struct tape_source *tape_source_open(const char *path, const struct tape_source_options *options,
                                     struct tape_error *error)
{
    struct tape_error local; /* the parts' status is needed even where the caller has no room */
    struct tape_source *source = calloc(1, sizeof *source);
    if (!error)
        error = &local;
    if (!source) {
        out_of_memory(error);
        return NULL;
    }
    if (options)
        source->options = *options;
    if (source->options.stream) {
        source->options.stream = strdup(source->options.stream);
        if (!source->options.stream) {
            out_of_memory(error);
            tape_source_close(source);
            return NULL;
        }
    }
    if (open_parts(source, path, error) < 0) {
        tape_source_close(source);
        return NULL;
    }
    tape_archive_read_owner(source->archive, &source->follow.owner, NULL);
    source->follow.met = source->follow.owner.held;
    return source;
}

void tape_source_close(struct tape_source *source)
{
    if (!source)
        return;
    tape_source_follow_free(source);
    tape_cursor_close(source->cursor);
    tape_archive_close(source->archive);
    tape_feed_free(source->feed);
    for (int i = 0; i < source->damages_kept; i++)
        free((char *)(uintptr_t)source->damages[i].text);
    free(source->damages);
    free((char *)(uintptr_t)source->options.stream);
    free(source);
}

static int keep_damage(struct tape_source *source, const struct tape_cursor_damage *damage)
{
    int room = source->damages_kept;
    if ((room & (room - 1)) == 0) {
        size_t wanted = room ? 2 * (size_t)room : 1;
        struct tape_source_damage *more =
            realloc(source->damages, wanted * sizeof *source->damages);
        if (!more)
            return 0;
        source->damages = more;
    }
    char *text = strdup(damage->text);
    if (!text)
        return 0;
    source->damages[source->damages_kept++] = (struct tape_source_damage){
        .verdict = damage->verdict,
        .from_ordinal = damage->from_ordinal,
        .to_ordinal = damage->to_ordinal,
        .from_ns = damage->from_ns,
        .to_ns = damage->to_ns,
        .text = text,
    };
    return 1;
}

int tape_source_note_damage(struct tape_source *source, const struct tape_cursor_damage *damage,
                            struct tape_error *error)
{
    /* What is read a second time for the sake of the past has been told. */
    if (source->next_ordinal < source->damage_told_ordinal ||
        source->next_ordinal < source->resume_ordinal)
        return 0;
    source->damage_told_ordinal =
        damage->to_ordinal > source->next_ordinal ? damage->to_ordinal : source->next_ordinal;
    source->damages_total++;
    if (source->damages_kept < SOURCE_DAMAGES_KEPT_MAX && !keep_damage(source, damage))
        return out_of_memory(error);
    return 0;
}

/* What the cursor left out before ordinal was there, and no part of an open message. */
static inline void pass_to(struct tape_source *source, uint64_t ordinal)
{
    uint64_t from = source->next_ordinal;
    if (ordinal <= from)
        return;
    tape_feed_pass(source->feed, from > source->lost_ordinal ? from : source->lost_ordinal,
                   ordinal);
    source->next_ordinal = ordinal;
}

/* The next record from the segments: 1, AGAIN after a damage, or what the end comes to. */
static int next_of_segments(struct tape_source *source, struct tape_record *record,
                            struct tape_error *error)
{
    struct tape_cursor_damage damage;
    int got = tape_cursor_next(source->cursor, record, &damage, error);
    /* The live end is entered after what was passed over, not after what was read last. */
    if (got != 1)
        pass_to(source, tape_cursor_passed_ordinal(source->cursor));
    if (got == 2) {
        source->lost_ordinal = damage.to_ordinal;
        int status = tape_source_note_damage(source, &damage, error);
        return status < 0 ? status : TAPE_SOURCE_AGAIN;
    }
    if (got == 0 && source->options.follow)
        return tape_source_follow_at_end(source, error);
    return got;
}

static int is_in_time(const struct tape_source *source, const struct tape_message *message)
{
    const struct tape_source_options *options = &source->options;
    return message->ordinal >= source->resume_ordinal && message->recv_ns >= source->seek_ns &&
           (options->from_ns == 0 || message->recv_ns >= options->from_ns) &&
           (options->to_ns == 0 || message->recv_ns < options->to_ns);
}

static int is_wanted(const struct tape_source *source, const struct tape_message *message)
{
    const struct tape_source_options *options = &source->options;
    int data = message->kind == TAPE_FEED_DATA;
    if (!is_in_time(source, message))
        return 0;
    if (!data && message->kind != TAPE_FEED_ACK && message->kind != TAPE_FEED_REFUSAL)
        return options->events;
    if (!options->stream)
        return 1;
    if (!data)
        return options->events;
    return tape_source_glob_match(options->stream, message->stream.data ? message->stream.data : "",
                                  message->stream.bytes);
}

/* 1 when records that the parser was not shown may hold the beginning of an orphan. */
static int has_more_past(const struct tape_source *source)
{
    return source->passed_ordinal != UINT64_MAX ||
           (source->past < TAPE_SOURCE_PAST_WHOLE && source->damages_total == 0);
}

static int read_further_past(struct tape_source *source, struct tape_error *error)
{
    source->past++;
    return read_from_past(source, error);
}

/* Parses one record: 1 with a message that is wanted, or AGAIN. */
static int take_record(struct tape_source *source, const struct tape_record *record,
                       struct tape_message *message, struct tape_error *error)
{
    if (record->ordinal < source->next_ordinal)
        return TAPE_SOURCE_AGAIN;
    pass_to(source, record->ordinal);
    source->next_ordinal++;
    source->last_record_kind = record->kind;
    int got = tape_feed_push(source->feed, record, message, error);
    if (got <= 0)
        return got < 0 ? got : TAPE_SOURCE_AGAIN;
    if (tape_feed_is_orphan(record, message) && is_in_time(source, message) &&
        has_more_past(source)) {
        if (source->resume_ordinal < message->ordinal)
            source->resume_ordinal = message->ordinal;
        int status = source->passed_ordinal != UINT64_MAX ? read_passed(source, error)
                                                          : read_further_past(source, error);
        return status < 0 ? status : TAPE_SOURCE_AGAIN;
    }
    if (!is_wanted(source, message))
        return TAPE_SOURCE_AGAIN;
    source->seek_ns = INT64_MIN;
    return 1;
}

static int is_past_end(const struct tape_source *source, const struct tape_record *record)
{
    int64_t end_ns;
    return source->options.follow && source->options.to_ns != 0 &&
           !__builtin_add_overflow(source->options.to_ns, SOURCE_END_SLACK_NS, &end_ns) &&
           record->recv_ns >= end_ns;
}

int tape_source_try(struct tape_source *source, struct tape_message *message,
                    struct tape_error *error)
{
    struct tape_record record;
    int got;
    do {
        if (__atomic_load_n(&source->stop, __ATOMIC_RELAXED) || source->follow.ended)
            return 0;
        /* What the record before cut off, told after it. */
        while (source->options.events && tape_feed_cut(source->feed, message))
            if (is_in_time(source, message))
                return 1;
        got = source->follow.live ? tape_source_follow_next(source, &record, error)
                                  : next_of_segments(source, &record, error);
        if (got == 1 && is_past_end(source, &record))
            got = 0;
        else if (got == 1)
            got = take_record(source, &record, message, error);
    } while (got == TAPE_SOURCE_AGAIN);
    if (got == 0)
        source->follow.ended = source->options.follow;
    return got;
}

int tape_source_next(struct tape_source *source, struct tape_message *message,
                     struct tape_error *error)
{
    long idle_ns = 200000;
    int got;
    while ((got = tape_source_try(source, message, error)) == TAPE_SOURCE_NOTHING) {
        if (source->options.spin && source->follow.live)
            continue;
        struct timespec idle = {.tv_nsec = idle_ns};
        nanosleep(&idle, NULL); /* a signal ends it early, and a stop is seen at once */
        if (idle_ns < 2000000)
            idle_ns += idle_ns / 4;
    }
    return got;
}

int tape_source_tick(const struct tape_message *message, struct tape_tick *tick)
{
    return tape_tick_decode(message->payload.data, message->payload.bytes, tick);
}

int tape_source_damages(const struct tape_source *source)
{
    return source->damages_total;
}

int tape_source_damage(const struct tape_source *source, int index,
                       struct tape_source_damage *damage)
{
    if (index < 0 || index >= source->damages_kept)
        return 0;
    *damage = source->damages[index];
    return 1;
}

void tape_source_read_state(const struct tape_source *source, struct tape_source_state *state)
{
    *state = (struct tape_source_state){
        .live = source->follow.live,
        .overruns = source->follow.overruns,
        .next_ordinal = source->next_ordinal,
        .recorder_alive = source->follow.owner.held,
        .blocks_read = tape_cursor_blocks_read(source->cursor),
    };
}

void tape_source_stop(struct tape_source *source)
{
    __atomic_store_n(&source->stop, 1, __ATOMIC_RELAXED);
}
