#include "replay/source_merge.h"

#include <stdlib.h>
#include <string.h>

#include "replay/source_copy.h"

enum {
    MERGE_DAMAGES_KEPT_MAX = 1000 * TAPE_SOURCE_ARCHIVES_MAX, /* each reel keeps a thousand */
    MERGE_EVENTS_MAX = 64,
};

/* Which reel's damage the merge's ${index}th is; one that the reel did not keep keeps its number.
 */
struct place {
    int archive, index;
};

/*
 * Events are stamped by another clock than messages: an importer's with the day of the import.
 * They must not hold up the messages behind them, so a run of them is read ahead, as copies, and
 * each comes no later than the message after it. Invariants: events [taken, count) are still to be
 * shown; then the message that ended the run, got as its reel said; it lies in message, borrowed
 * from the reel.
 */
struct run {
    int count, taken;
    int got;
    struct tape_message message;
    struct tape_source_copy events[MERGE_EVENTS_MAX];
    int64_t comes_ns[MERGE_EVENTS_MAX];
};

/*
 * Invariants: reels and paths [0, count) are open and ours. heads[a] is the next message of reel a,
 * borrowed from it (or from its run), for those a that stand in heap [0, waiting), a binary heap by
 * comes_before(): by comes_ns[a], which is its recv_ns (or, of an event, less). runs[a] is NULL as
 * long as reel a gave no event.
 * given = 1: the root was given, and its reel is asked for the next one before anything else.
 * Reels [primed, count) were not asked yet. damages [0, damages_kept) are those that were told
 * before the next head came, damages_seen[a] of them reel a's.
 */
struct tape_source_merge {
    int count, primed, waiting, given;
    int stop; /* written by any thread or signal handler, atomically */
    int heap[TAPE_SOURCE_ARCHIVES_MAX];
    struct tape_reel *reels[TAPE_SOURCE_ARCHIVES_MAX];
    char *paths[TAPE_SOURCE_ARCHIVES_MAX];
    int damages_seen[TAPE_SOURCE_ARCHIVES_MAX];
    struct place *damages;
    int damages_kept, damages_room;
    int64_t comes_ns[TAPE_SOURCE_ARCHIVES_MAX];
    struct run *runs[TAPE_SOURCE_ARCHIVES_MAX];
    struct tape_message heads[TAPE_SOURCE_ARCHIVES_MAX];
};

static int out_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "out of memory");
}

struct tape_source_merge *tape_source_merge_open(const char *const *paths, int count,
                                                 const struct tape_source_options *options,
                                                 struct tape_error *error)
{
    struct tape_source_merge *merge = calloc(1, sizeof *merge);
    if (!merge) {
        out_of_memory(error);
        return NULL;
    }
    for (; merge->count < count; merge->count++) {
        int i = merge->count;
        merge->paths[i] = strdup(paths[i]);
        if (!merge->paths[i])
            out_of_memory(error);
        else
            merge->reels[i] = tape_reel_open(paths[i], options, error);
        if (!merge->reels[i]) {
            free(merge->paths[i]);
            tape_source_merge_close(merge);
            return NULL;
        }
    }
    return merge;
}

static void forget_run(struct run *run)
{
    for (int i = 0; run && i < run->count; i++)
        tape_source_copy_free(&run->events[i]);
    if (run)
        run->count = run->taken = 0;
}

void tape_source_merge_close(struct tape_source_merge *merge)
{
    if (!merge)
        return;
    for (int i = 0; i < merge->count; i++) {
        forget_run(merge->runs[i]);
        free(merge->runs[i]);
        tape_reel_close(merge->reels[i]);
        free(merge->paths[i]);
    }
    free(merge->damages);
    free(merge);
}

struct tape_reel *tape_source_merge_only(struct tape_source_merge *merge)
{
    return merge->count == 1 ? merge->reels[0] : NULL;
}

/* ---- the heads ---- */

static inline int comes_before(const struct tape_source_merge *merge, int one, int other)
{
    int64_t one_ns = merge->comes_ns[one], other_ns = merge->comes_ns[other];
    return one_ns < other_ns || (one_ns == other_ns && one < other);
}

static void sift_down(struct tape_source_merge *merge)
{
    int *heap = merge->heap, moving = heap[0], at = 0;
    for (;;) {
        int child = 2 * at + 1;
        if (child >= merge->waiting)
            break;
        if (child + 1 < merge->waiting && comes_before(merge, heap[child + 1], heap[child]))
            child++;
        if (!comes_before(merge, heap[child], moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void sift_up(struct tape_source_merge *merge, int archive)
{
    int *heap = merge->heap, at = merge->waiting++;
    for (; at > 0 && comes_before(merge, archive, heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = archive;
}

/* Notes in which order the reels told of damages: the ${index}th must stay the ${index}th. */
static int note_damages(struct tape_source_merge *merge, int archive, struct tape_error *error)
{
    int told = tape_reel_damages(merge->reels[archive]);
    for (; merge->damages_seen[archive] < told; merge->damages_seen[archive]++) {
        if (merge->damages_kept == MERGE_DAMAGES_KEPT_MAX)
            continue;
        if (merge->damages_kept == merge->damages_room) {
            int room = merge->damages_room ? 2 * merge->damages_room : 16;
            struct place *more = realloc(merge->damages, (size_t)room * sizeof *more);
            if (!more)
                return out_of_memory(error);
            merge->damages = more;
            merge->damages_room = room;
        }
        merge->damages[merge->damages_kept++] =
            (struct place){archive, merge->damages_seen[archive]};
    }
    return 0;
}

/* What a reel gives next, and what it found damaged on the way. */
static int ask_reel(struct tape_source_merge *merge, int archive, int waits,
                    struct tape_message *message, struct tape_error *error)
{
    struct tape_reel *reel = merge->reels[archive];
    int got = waits ? tape_reel_next(reel, message, error) : tape_reel_try(reel, message, error);
    if (merge->damages_seen[archive] != tape_reel_damages(reel)) {
        int status = note_damages(merge, archive, error);
        if (status < 0)
            return status;
    }
    if (got < 0 && merge->count > 1)
        tape_error_wrap(error, "%s", merge->paths[archive]);
    message->archive = (uint16_t)archive;
    return got;
}

/* The head is an event: reads to the end of the run that begins with it. */
static int read_run(struct tape_source_merge *merge, int archive, int waits,
                    struct tape_error *error)
{
    struct run *run = merge->runs[archive];
    if (!run)
        run = merge->runs[archive] = calloc(1, sizeof *run);
    if (!run)
        return out_of_memory(error);
    forget_run(run);
    run->message = merge->heads[archive];
    do {
        if (!tape_source_copy_make(&run->events[run->count], &run->message))
            return out_of_memory(error);
        run->count++;
        run->got = ask_reel(merge, archive, waits, &run->message, error);
    } while (run->got == 1 && run->message.kind == TAPE_FEED_EVENT &&
             run->count < MERGE_EVENTS_MAX);
    int64_t until_ns = run->got == 1 ? run->message.recv_ns : INT64_MAX;
    for (int i = run->count - 1; i >= 0; i--) {
        if (run->events[i].message.recv_ns < until_ns)
            until_ns = run->events[i].message.recv_ns;
        run->comes_ns[i] = until_ns;
    }
    return 1;
}

static int take_event(struct tape_source_merge *merge, int archive)
{
    struct run *run = merge->runs[archive];
    merge->heads[archive] = run->events[run->taken].message;
    merge->comes_ns[archive] = run->comes_ns[run->taken++];
    return 1;
}

/* The next head of a reel: 1, 0 at its end, 2, or a status. */
static int fetch(struct tape_source_merge *merge, int archive, int waits, struct tape_error *error)
{
    struct tape_message *head = &merge->heads[archive];
    struct run *run = merge->runs[archive];
    int got;
    if (run && run->taken < run->count)
        return take_event(merge, archive);
    if (run && run->count > 0 && run->got >= 0) {
        *head = run->message;
        got = run->got;
    } else { /* what failed is tried once more */
        got = ask_reel(merge, archive, waits, head, error);
    }
    merge->comes_ns[archive] = head->recv_ns;
    if (got == 1 && head->kind == TAPE_FEED_EVENT && merge->count > 1) {
        got = read_run(merge, archive, waits, error);
        return got == 1 ? take_event(merge, archive) : got;
    }
    forget_run(run);
    return got;
}

/* 1 when every reel that has a message shows it; 2 or a status. What was done stays done: the next
 * call goes on with what is still to be asked. */
static int fill_heap(struct tape_source_merge *merge, int waits, struct tape_error *error)
{
    for (; merge->primed < merge->count; merge->primed++) {
        int got = fetch(merge, merge->primed, waits, error);
        if (got == 1)
            sift_up(merge, merge->primed);
        else if (got != 0)
            return got;
    }
    if (!merge->given)
        return 1;
    int got = fetch(merge, merge->heap[0], waits, error);
    if (got < 0 || got == 2)
        return got;
    if (got == 0)
        merge->heap[0] = merge->heap[--merge->waiting];
    merge->given = 0;
    if (merge->waiting > 1)
        sift_down(merge);
    return 1;
}

/* A reel that ended is asked again where it is the only one: a follower may have been stopped in
 * between, and a seek is not the only way on. */
static int next_of_one(struct tape_source_merge *merge, int waits, struct tape_message **message,
                       struct tape_error *error)
{
    *message = &merge->heads[0];
    return fetch(merge, 0, waits, error);
}

int tape_source_merge_next(struct tape_source_merge *merge, int waits,
                           struct tape_message **message, struct tape_error *error)
{
    if (merge->count == 1)
        return next_of_one(merge, waits, message, error);
    if (tape_source_merge_stopped(merge))
        return 0;
    int got = fill_heap(merge, waits, error);
    if (got != 1)
        return got;
    /* A reel that was stopped in the middle looks as one that ended. */
    if (merge->waiting == 0 || tape_source_merge_stopped(merge))
        return 0;
    merge->given = 1;
    *message = &merge->heads[merge->heap[0]];
    return 1;
}

int tape_source_merge_seek(struct tape_source_merge *merge, int64_t ns, struct tape_error *error)
{
    merge->primed = merge->waiting = merge->given = 0;
    for (int i = 0; i < merge->count; i++) {
        forget_run(merge->runs[i]);
        int status = tape_reel_seek(merge->reels[i], ns, error);
        if (status < 0 && merge->count > 1)
            tape_error_wrap(error, "%s", merge->paths[i]);
        if (status < 0)
            return status;
    }
    return 0;
}

/* ---- over all of them ---- */

int tape_source_merge_damages(const struct tape_source_merge *merge)
{
    int total = 0;
    for (int i = 0; i < merge->count; i++)
        total += tape_reel_damages(merge->reels[i]);
    return total;
}

int tape_source_merge_damage(const struct tape_source_merge *merge, int index,
                             struct tape_source_damage *damage)
{
    if (merge->count == 1)
        return tape_reel_damage(merge->reels[0], index, damage);
    if (index < 0 || index >= merge->damages_kept)
        return 0;
    const struct place *place = &merge->damages[index];
    if (!tape_reel_damage(merge->reels[place->archive], place->index, damage))
        return 0;
    damage->archive = place->archive;
    return 1;
}

void tape_source_merge_read_state(const struct tape_source_merge *merge,
                                  struct tape_source_state *state)
{
    tape_reel_read_state(merge->reels[0], state);
    if (merge->count > 1)
        state->next_ordinal = 0;
    for (int i = 1; i < merge->count; i++) {
        struct tape_source_state one;
        tape_reel_read_state(merge->reels[i], &one);
        state->live |= one.live;
        state->overruns += one.overruns;
        state->recorder_alive |= one.recorder_alive;
        state->blocks_read += one.blocks_read;
    }
}

void tape_source_merge_stop(struct tape_source_merge *merge)
{
    __atomic_store_n(&merge->stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < merge->count; i++)
        tape_reel_stop(merge->reels[i]);
}

int tape_source_merge_stopped(const struct tape_source_merge *merge)
{
    return __atomic_load_n(&merge->stop, __ATOMIC_RELAXED);
}
