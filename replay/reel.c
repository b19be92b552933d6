#include "replay/reel.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replay/reel_internal.h"
#include "replay/source_glob.h"

enum { REEL_DAMAGES_KEPT_MAX = 1000 }; /* of a hostile archive's; the rest are only counted */

/* While following, [from, to) ends at the first record this much after to: stamps of different
 * clocks interleave, and a late one may still belong inside. */
#define REEL_END_SLACK_NS 1000000000ll

static const int64_t past_ns[] = {
    [TAPE_REEL_PAST_SECOND] = 1000000000ll,
    [TAPE_REEL_PAST_HOUR] = 3600ll * 1000000000ll,
};

static int out_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "out of memory");
}

/* A name of this length may be the beginning of a longer one: footers cut them. */
enum { NAME_MAY_BE_CUT_BYTES = TAPE_SEGMENT_STREAM_NAME_MAX_BYTES - 3 };

static int wants_stream(void *context, const char *stream, size_t bytes)
{
    const struct tape_reel *reel = context;
    return bytes >= NAME_MAY_BE_CUT_BYTES ||
           tape_source_glob_match(reel->options.stream, stream, bytes);
}

/* A block's counts, while a wanted stream is looked for in them. */
struct wanted {
    struct tape_reel *reel;
    int found;
};

static void look_for_wanted(void *context, const struct tape_segment_stream_count *count)
{
    struct wanted *wanted = context;
    if (!wanted->found)
        wanted->found = wants_stream(wanted->reel, count->name, count->name_bytes);
}

/* By its time, and by the streams whose messages end in it. It may all the same hold the beginning
 * of one that ends in another block: see tape_feed_is_orphan(). While a message is open nothing is
 * passed over. */
static int wants_block(void *context, const struct tape_segment *segment, uint32_t block)
{
    struct tape_reel *reel = context;
    const struct tape_block_header *header = &tape_segment_entry(segment, block)->header;
    int64_t to_ns = reel->options.to_ns;
    if (tape_feed_open_messages(reel->feed) > 0)
        return 1;
    if (header->max_recv_ns < reel->read_from_ns || (to_ns != 0 && header->min_recv_ns >= to_ns))
        return 0;
    struct wanted wanted = {.reel = reel};
    if (!reel->passes_streams ||
        tape_segment_counts(segment, block, look_for_wanted, &wanted) < 0 || wanted.found)
        return 1;
    if (reel->passed_ordinal == UINT64_MAX)
        reel->passed_ordinal = header->first_ordinal;
    return 0;
}

static int new_feed(struct tape_reel *reel, struct tape_error *error)
{
    struct tape_feed *feed = tape_feed_new();
    if (!feed)
        return out_of_memory(error);
    tape_feed_free(reel->feed);
    reel->feed = feed;
    return 0;
}

/* Begins anew with an empty feed, which is shown what comes from the cursor. */
static int begin_anew(struct tape_reel *reel, uint64_t next_ordinal, struct tape_error *error)
{
    int status = new_feed(reel, error);
    if (status < 0)
        return status;
    reel->follow.live = 0;
    reel->next_ordinal = next_ordinal;
    reel->lost_ordinal = 0;
    reel->passed_ordinal = reel->waiting_ordinal = UINT64_MAX;
    reel->last_record_kind = 0;
    return 0;
}

/* Starts reading early enough before past_of_ns for the past that is wanted. */
static int read_from_past(struct tape_reel *reel, struct tape_error *error)
{
    int64_t from_ns = INT64_MIN;
    if (reel->past != TAPE_REEL_PAST_WHOLE &&
        __builtin_sub_overflow(reel->past_of_ns, past_ns[reel->past], &from_ns))
        from_ns = INT64_MIN;
    int status = begin_anew(reel, 0, error);
    if (status < 0)
        return status;
    reel->read_from_ns = from_ns;
    if (from_ns == INT64_MIN)
        return tape_cursor_seek_ordinal(reel->cursor, 0, error);
    return tape_cursor_seek_time(reel->cursor, from_ns, error);
}

/* Reads again from the first block on that was passed over by its streams, and all of them from now
 * on: whatever came before it was read, and no message was open there. */
static int read_passed(struct tape_reel *reel, struct tape_error *error)
{
    uint64_t from = reel->passed_ordinal;
    reel->passes_streams = 0;
    int status = begin_anew(reel, from, error);
    return status < 0 ? status : tape_cursor_seek_ordinal(reel->cursor, from, error);
}

int tape_reel_seek(struct tape_reel *reel, int64_t ns, struct tape_error *error)
{
    tape_cursor_refresh(reel->cursor, NULL);
    reel->past = TAPE_REEL_PAST_SECOND;
    reel->past_of_ns = reel->seek_ns = ns;
    reel->resume_ordinal = 0;
    reel->follow.ended = 0;
    return read_from_past(reel, error);
}

/* Opens what path names; on failure the caller closes what is there. */
static int open_parts(struct tape_reel *reel, const char *path, struct tape_error *error)
{
    reel->archive = tape_archive_open(path, error);
    if (!reel->archive)
        return error ? error->status : TAPE_FAILED;
    reel->cursor = tape_cursor_open(reel->archive, error);
    if (!reel->cursor)
        return tape_error_wrap(error, "%s", path);
    int status = begin_anew(reel, 0, error);
    if (status < 0)
        return status;
    tape_cursor_set_block_filter(reel->cursor, wants_block, reel);
    /* Events, control frames and bad bytes may be anywhere, and a whole frame between the fragments
     * of a message is bad bytes only beside them. A follower must see how a session ends. */
    if (reel->options.stream && !reel->options.events) {
        tape_cursor_select(reel->cursor, wants_stream, reel);
        reel->passes_streams = !reel->options.follow;
    }
    reel->read_from_ns = reel->seek_ns = INT64_MIN;
    reel->past = TAPE_REEL_PAST_WHOLE;
    if (reel->options.from_ns == 0)
        return 0;
    reel->past = TAPE_REEL_PAST_SECOND;
    reel->past_of_ns = reel->options.from_ns;
    return read_from_past(reel, error);
}

struct tape_reel *tape_reel_open(const char *path, const struct tape_source_options *options,
                                 struct tape_error *error)
{
    struct tape_error local; /* the parts' status is needed even where the caller has no room */
    struct tape_reel *reel = calloc(1, sizeof *reel);
    if (!error)
        error = &local;
    if (!reel) {
        out_of_memory(error);
        return NULL;
    }
    if (options)
        reel->options = *options;
    if (reel->options.stream) {
        reel->options.stream = strdup(reel->options.stream);
        if (!reel->options.stream) {
            out_of_memory(error);
            tape_reel_close(reel);
            return NULL;
        }
    }
    if (open_parts(reel, path, error) < 0) {
        tape_reel_close(reel);
        return NULL;
    }
    tape_archive_read_owner(reel->archive, &reel->follow.owner, NULL);
    reel->follow.met = reel->follow.owner.held;
    return reel;
}

void tape_reel_close(struct tape_reel *reel)
{
    if (!reel)
        return;
    tape_reel_follow_free(reel);
    tape_cursor_close(reel->cursor);
    tape_archive_close(reel->archive);
    tape_feed_free(reel->feed);
    for (int i = 0; i < reel->damages_kept; i++)
        free((char *)(uintptr_t)reel->damages[i].text);
    free(reel->damages);
    free((char *)(uintptr_t)reel->options.stream);
    free(reel);
}

static int keep_damage(struct tape_reel *reel, const struct tape_cursor_damage *damage)
{
    int room = reel->damages_kept;
    if ((room & (room - 1)) == 0) {
        size_t wanted = room ? 2 * (size_t)room : 1;
        struct tape_source_damage *more = realloc(reel->damages, wanted * sizeof *reel->damages);
        if (!more)
            return 0;
        reel->damages = more;
    }
    char *text = strdup(damage->text);
    if (!text)
        return 0;
    reel->damages[reel->damages_kept++] = (struct tape_source_damage){
        .verdict = damage->verdict,
        .from_ordinal = damage->from_ordinal,
        .to_ordinal = damage->to_ordinal,
        .from_ns = damage->from_ns,
        .to_ns = damage->to_ns,
        .text = text,
    };
    return 1;
}

int tape_reel_note_damage(struct tape_reel *reel, const struct tape_cursor_damage *damage,
                          struct tape_error *error)
{
    /* What is read a second time for the sake of the past has been told. */
    if (reel->next_ordinal < reel->damage_told_ordinal || reel->next_ordinal < reel->resume_ordinal)
        return 0;
    reel->damage_told_ordinal =
        damage->to_ordinal > reel->next_ordinal ? damage->to_ordinal : reel->next_ordinal;
    reel->damages_total++;
    if (reel->damages_kept < REEL_DAMAGES_KEPT_MAX && !keep_damage(reel, damage))
        return out_of_memory(error);
    return 0;
}

/* What the cursor left out before ordinal was there, and no part of an open message. */
static inline void pass_to(struct tape_reel *reel, uint64_t ordinal)
{
    uint64_t from = reel->next_ordinal;
    if (ordinal <= from)
        return;
    tape_feed_pass(reel->feed, from > reel->lost_ordinal ? from : reel->lost_ordinal, ordinal);
    reel->next_ordinal = ordinal;
}

/* The next record from the segments: 1, AGAIN after a damage, or what the end comes to. */
static int next_of_segments(struct tape_reel *reel, struct tape_record *record,
                            struct tape_error *error)
{
    struct tape_cursor_damage damage;
    int got = tape_cursor_next(reel->cursor, record, &damage, error);
    /* The live end is entered after what was passed over, not after what was read last. */
    if (got != 1)
        pass_to(reel, tape_cursor_passed_ordinal(reel->cursor));
    if (got == 2) {
        reel->lost_ordinal = damage.to_ordinal;
        int status = tape_reel_note_damage(reel, &damage, error);
        return status < 0 ? status : TAPE_REEL_AGAIN;
    }
    if (got == 0 && reel->options.follow)
        return tape_reel_follow_at_end(reel, error);
    return got;
}

static int is_in_time(const struct tape_reel *reel, const struct tape_message *message)
{
    const struct tape_source_options *options = &reel->options;
    return message->ordinal >= reel->resume_ordinal && message->recv_ns >= reel->seek_ns &&
           (options->from_ns == 0 || message->recv_ns >= options->from_ns) &&
           (options->to_ns == 0 || message->recv_ns < options->to_ns);
}

static int is_wanted(const struct tape_reel *reel, const struct tape_message *message)
{
    const struct tape_source_options *options = &reel->options;
    int data = message->kind == TAPE_FEED_DATA;
    if (!is_in_time(reel, message))
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
static int has_more_past(const struct tape_reel *reel)
{
    return reel->passed_ordinal != UINT64_MAX ||
           (reel->past < TAPE_REEL_PAST_WHOLE && reel->damages_total == 0);
}

static int read_further_past(struct tape_reel *reel, struct tape_error *error)
{
    reel->past++;
    return read_from_past(reel, error);
}

/* What is sought has been found, and events came right before it: they are first. */
static int go_back_to_events(struct tape_reel *reel, struct tape_error *error)
{
    if (reel->resume_ordinal < reel->waiting_ordinal)
        reel->resume_ordinal = reel->waiting_ordinal;
    reel->seek_ns = INT64_MIN;
    int status = read_from_past(reel, error);
    return status < 0 ? status : TAPE_REEL_AGAIN;
}

/* While something is sought: only frames tell the time. An import's events are of the day of the
 * import, so that an event waits for the frame after it; live ones need not. 1 when the message may
 * be given, AGAIN or a status. */
static int mind_sought(struct tape_reel *reel, const struct tape_message *message,
                       struct tape_error *error)
{
    int waits = message->kind == TAPE_FEED_EVENT && !reel->follow.live;
    if (reel->seek_ns == INT64_MIN || !reel->options.events)
        return 1;
    if (!waits && message->recv_ns < reel->seek_ns)
        reel->waiting_ordinal = UINT64_MAX;
    if (!is_in_time(reel, message))
        return 1;
    if (!waits)
        return reel->waiting_ordinal == UINT64_MAX ? 1 : go_back_to_events(reel, error);
    if (reel->waiting_ordinal == UINT64_MAX)
        reel->waiting_ordinal = message->ordinal;
    return TAPE_REEL_AGAIN;
}

/* Parses one record: 1 with a message that is wanted, or AGAIN. */
static int take_record(struct tape_reel *reel, const struct tape_record *record,
                       struct tape_message *message, struct tape_error *error)
{
    if (record->ordinal < reel->next_ordinal)
        return TAPE_REEL_AGAIN;
    pass_to(reel, record->ordinal);
    reel->next_ordinal++;
    reel->last_record_kind = record->kind;
    int got = tape_feed_push(reel->feed, record, message, error);
    if (got <= 0)
        return got < 0 ? got : TAPE_REEL_AGAIN;
    if (message->kind == TAPE_FEED_BAD && tape_feed_is_orphan(record, message) &&
        is_in_time(reel, message) && has_more_past(reel)) {
        uint64_t resume =
            reel->waiting_ordinal < message->ordinal ? reel->waiting_ordinal : message->ordinal;
        if (reel->resume_ordinal < resume)
            reel->resume_ordinal = resume;
        int status = reel->passed_ordinal != UINT64_MAX ? read_passed(reel, error)
                                                        : read_further_past(reel, error);
        return status < 0 ? status : TAPE_REEL_AGAIN;
    }
    got = mind_sought(reel, message, error);
    if (got != 1)
        return got;
    if (!is_wanted(reel, message))
        return TAPE_REEL_AGAIN;
    reel->seek_ns = INT64_MIN;
    return 1;
}

/* Events of the past do not end it: an import's are of the day of the import, whatever that of the
 * frames that follow them. Those that come live do, where frames fail to. */
static int is_past_end(const struct tape_reel *reel, const struct tape_record *record)
{
    int64_t end_ns;
    return reel->options.follow && reel->options.to_ns != 0 &&
           (record->kind == TAPE_RECORD_FRAME_IN || reel->follow.live) &&
           !__builtin_add_overflow(reel->options.to_ns, REEL_END_SLACK_NS, &end_ns) &&
           record->recv_ns >= end_ns;
}

int tape_reel_try(struct tape_reel *reel, struct tape_message *message, struct tape_error *error)
{
    struct tape_record record;
    int got;
    do {
        if (__atomic_load_n(&reel->stop, __ATOMIC_RELAXED) || reel->follow.ended)
            return 0;
        /* What the record before cut off, told after it. */
        while (reel->options.events && tape_feed_cut(reel->feed, message))
            if (is_in_time(reel, message))
                return 1;
        got = reel->follow.live ? tape_reel_follow_next(reel, &record, error)
                                : next_of_segments(reel, &record, error);
        if (got == 1 && is_past_end(reel, &record))
            got = 0;
        else if (got == 1)
            got = take_record(reel, &record, message, error);
        if ((got == 0 || got == TAPE_REEL_NOTHING) && reel->waiting_ordinal != UINT64_MAX)
            got = go_back_to_events(reel, error);
    } while (got == TAPE_REEL_AGAIN);
    if (got == 0)
        reel->follow.ended = reel->options.follow;
    return got;
}

static __attribute__((noinline)) int
wait_for_next(struct tape_reel *reel, struct tape_message *message, struct tape_error *error)
{
    long idle_ns = 200000;
    int got;
    do {
        if (!reel->options.spin || !reel->follow.live) {
            struct timespec idle = {.tv_nsec = idle_ns};
            nanosleep(&idle, NULL); /* a signal ends it early, and a stop is seen at once */
            if (idle_ns < 2000000)
                idle_ns += idle_ns / 4;
        }
        got = tape_reel_try(reel, message, error);
    } while (got == TAPE_REEL_NOTHING);
    return got;
}

int tape_reel_next(struct tape_reel *reel, struct tape_message *message, struct tape_error *error)
{
    int got = tape_reel_try(reel, message, error);
    return got == TAPE_REEL_NOTHING ? wait_for_next(reel, message, error) : got;
}

int tape_reel_damages(const struct tape_reel *reel)
{
    return reel->damages_total;
}

int tape_reel_damage(const struct tape_reel *reel, int index, struct tape_source_damage *damage)
{
    if (index < 0 || index >= reel->damages_kept)
        return 0;
    *damage = reel->damages[index];
    return 1;
}

void tape_reel_read_state(const struct tape_reel *reel, struct tape_source_state *state)
{
    *state = (struct tape_source_state){
        .live = reel->follow.live,
        .overruns = reel->follow.overruns,
        .next_ordinal = reel->next_ordinal,
        .recorder_alive = reel->follow.owner.held,
        .blocks_read = tape_cursor_blocks_read(reel->cursor),
    };
}

void tape_reel_stop(struct tape_reel *reel)
{
    __atomic_store_n(&reel->stop, 1, __ATOMIC_RELAXED);
}
