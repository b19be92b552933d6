#include "replay/source.h"

#include <stdlib.h>
#include <string.h>

#include "replay/reel.h"
#include "replay/source_ahead.h"
#include "replay/source_duplicates.h"
#include "replay/source_merge.h"
#include "replay/source_past.h"
#include "replay/source_start.h"

/*
 * Invariants: direct is the only reel where nothing stands between it and the caller: no duplicates
 * are removed, the order is that of receipt, and no books are due; else NULL. Any stage but merge
 * may be NULL.
 */
struct tape_source {
    struct tape_reel *direct;
    int64_t now_ns;
    struct tape_source_merge *merge;
    struct tape_source_duplicates *duplicates;
    struct tape_source_past *past; /* with duplicates */
    struct tape_source_ahead *ahead;
    struct tape_source_start *start; /* the books at a start in the middle */
    struct tape_message *first; /* NULL, or the one that came before the books that precede it */
    int follows;
    int ended; /* with ahead: nothing more comes from the stages before it */
};

/* ---- opening ---- */

static int check(int count, const struct tape_source_options *options, struct tape_error *error)
{
    if (count < 1)
        return tape_error_set(error, TAPE_USAGE, "no archive to read from");
    if (count > TAPE_SOURCE_ARCHIVES_MAX)
        return tape_error_set(error, TAPE_USAGE, "%d archives: %d can be read as one", count,
                              TAPE_SOURCE_ARCHIVES_MAX);
    if (!options || !options->follow)
        return 0;
    if (count > 1)
        return tape_error_set(error, TAPE_USAGE,
                              "%d archives: only one at a time can be followed live", count);
    if (options->order == TAPE_SOURCE_ORDER_EVENT)
        return tape_error_set(error, TAPE_USAGE,
                              "order by event time looks ahead: it cannot follow a live archive");
    return 0;
}

/* The one reel, when it may be asked directly. */
static void choose_direct(struct tape_source *source)
{
    int bare = !source->duplicates && !source->ahead &&
               (!source->start || !tape_source_start_is_due(source->start));
    source->direct = bare ? tape_source_merge_only(source->merge) : NULL;
}

static int open_stages(struct tape_source *source, const char *const *paths, int count,
                       const struct tape_source_options *options, struct tape_error *error)
{
    source->merge = tape_source_merge_open(paths, count, options, error);
    if (!source->merge)
        return 0;
    if (options->duplicates < 0 || (options->duplicates == 0 && count > 1)) {
        source->duplicates = tape_source_duplicates_new(options->duplicates < 0,
                                                        &tape_source_duplicates_default, error);
        source->past =
            source->duplicates ? tape_source_past_new(paths, count, options, error) : NULL;
        if (!source->past)
            return 0;
    }
    if (options->order == TAPE_SOURCE_ORDER_EVENT) {
        source->ahead = tape_source_ahead_new(&tape_source_ahead_default, error);
        if (!source->ahead)
            return 0;
    }
    if (options->state >= 0) {
        source->start = tape_source_start_new(paths, count, options, error);
        if (!source->start)
            return 0;
    }
    return 1;
}

struct tape_source *tape_source_open_all(const char *const *paths, int count,
                                         const struct tape_source_options *options,
                                         struct tape_error *error)
{
    static const struct tape_source_options all;
    if (check(count, options, error) < 0)
        return NULL;
    struct tape_source *source = calloc(1, sizeof *source);
    if (!source) {
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    source->now_ns = INT64_MIN;
    source->follows = options && options->follow;
    if (!open_stages(source, paths, count, options ? options : &all, error)) {
        tape_source_close(source);
        return NULL;
    }
    choose_direct(source);
    return source;
}

struct tape_source *tape_source_open(const char *path, const struct tape_source_options *options,
                                     struct tape_error *error)
{
    return tape_source_open_all(&path, 1, options, error);
}

void tape_source_close(struct tape_source *source)
{
    if (!source)
        return;
    tape_source_merge_close(source->merge);
    tape_source_duplicates_free(source->duplicates);
    tape_source_past_free(source->past);
    tape_source_ahead_free(source->ahead);
    tape_source_start_free(source->start);
    free(source);
}

/* ---- messages ---- */

/* Of the archives, without what is given before them. */
static int next_received(struct tape_source *source, int waits, struct tape_message **message,
                         struct tape_error *error)
{
    if (source->past && tape_source_past_is_due(source->past)) {
        int status = tape_source_past_show(source->past, source->duplicates, source->merge, error);
        if (status < 0)
            return status;
    }
    for (;;) {
        int got = tape_source_merge_next(source->merge, waits, message, error);
        if (got != 1 || !source->duplicates)
            return got;
        got = tape_source_duplicates_take(source->duplicates, *message, error);
        if (got != 0)
            return got;
    }
}

static int next_in_order(struct tape_source *source, int waits, struct tape_message **message,
                         struct tape_error *error)
{
    while (!source->ended && tape_source_ahead_wants(source->ahead)) {
        int got = next_received(source, waits, message, error);
        if (got == 0)
            source->ended = 1;
        else if (got != 1)
            return got;
        else if ((got = tape_source_ahead_put(source->ahead, *message, error)) < 0)
            return got;
    }
    return tape_source_merge_stopped(source->merge)
               ? 0
               : tape_source_ahead_take(source->ahead, message);
}

/* The books of a start, or 0 when all were given. Of a live recording the message that they precede
 * is waited for: only then everything before it is there to be put into them. */
static int next_of_start(struct tape_source *source, int waits, struct tape_message *to,
                         struct tape_error *error)
{
    int got = 1;
    if (source->follows && !source->first)
        got = next_received(source, waits, &source->first, error);
    if (got != 1) {
        source->first = NULL;
        return got;
    }
    if (tape_source_merge_stopped(source->merge))
        return 0;
    got = tape_source_start_next(source->start, to, error);
    if (got == 1)
        source->now_ns = to->replay_ns;
    return got;
}

static int next_staged(struct tape_source *source, int waits, struct tape_message *to,
                       struct tape_error *error)
{
    struct tape_message *message = NULL;
    int got;
    if (source->start && tape_source_start_is_due(source->start)) {
        got = next_of_start(source, waits, to, error);
        if (got != 0 || tape_source_start_is_due(source->start))
            return got;
        choose_direct(source);
    }
    if (source->first) {
        *to = *source->first;
        source->first = NULL;
        return 1;
    }
    got = source->ahead ? next_in_order(source, waits, &message, error)
                        : next_received(source, waits, &message, error);
    if (got == 1)
        *to = *message;
    return got;
}

/* Events are stamped when they are written, which an importer does years after its frames. */
static inline void set_clock(struct tape_source *source, struct tape_message *message)
{
    if (message->recv_ns > source->now_ns && message->kind != TAPE_FEED_EVENT)
        source->now_ns = message->recv_ns;
    message->replay_ns = source->now_ns != INT64_MIN ? source->now_ns : message->recv_ns;
}

int tape_source_next(struct tape_source *source, struct tape_message *message,
                     struct tape_error *error)
{
    int got = source->direct ? tape_reel_next(source->direct, message, error)
                             : next_staged(source, 1, message, error);
    if (got == 1)
        set_clock(source, message);
    return got;
}

int tape_source_try(struct tape_source *source, struct tape_message *message,
                    struct tape_error *error)
{
    int got = source->direct ? tape_reel_try(source->direct, message, error)
                             : next_staged(source, 0, message, error);
    if (got == 1)
        set_clock(source, message);
    return got;
}

int tape_source_seek(struct tape_source *source, int64_t ns, struct tape_error *error)
{
    source->now_ns = INT64_MIN;
    source->first = NULL;
    source->ended = 0;
    if (source->duplicates) {
        tape_source_duplicates_reset(source->duplicates);
        tape_source_past_seek(source->past, ns);
    }
    if (source->ahead)
        tape_source_ahead_reset(source->ahead);
    if (source->start)
        tape_source_start_seek(source->start, ns);
    choose_direct(source);
    return tape_source_merge_seek(source->merge, ns, error);
}

int64_t tape_source_now(const struct tape_source *source)
{
    return source->now_ns;
}

int tape_source_tick(const struct tape_message *message, struct tape_tick *tick)
{
    return tape_tick_decode(message->payload.data, message->payload.bytes, tick);
}

/* ---- what came of it ---- */

int tape_source_damages(const struct tape_source *source)
{
    return tape_source_merge_damages(source->merge);
}

int tape_source_damage(const struct tape_source *source, int index,
                       struct tape_source_damage *damage)
{
    return tape_source_merge_damage(source->merge, index, damage);
}

void tape_source_read_state(const struct tape_source *source, struct tape_source_state *state)
{
    tape_source_merge_read_state(source->merge, state);
    if (source->ahead)
        state->event_late = tape_source_ahead_late(source->ahead);
}

int tape_source_share(const struct tape_source *source, int index, struct tape_source_share *share)
{
    return source->duplicates ? tape_source_duplicates_share(source->duplicates, index, share) : 0;
}

void tape_source_stop(struct tape_source *source)
{
    tape_source_merge_stop(source->merge);
}
