#include "replay/source_merge.h"

#include <stdlib.h>
#include <string.h>

/* Each reel keeps at most a thousand. */
enum { MERGE_DAMAGES_KEPT_MAX = 1000 * TAPE_SOURCE_ARCHIVES_MAX };

/* Which reel's damage the merge's ${index}th is; one that the reel did not keep keeps its number.
 */
struct place {
    int archive, index;
};

/*
 * Invariants: reels and paths [0, count) are open and ours. heads[a] is the next message of reel a,
 * borrowed from it, for those a that stand in heap [0, waiting), a binary heap by comes_before();
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

void tape_source_merge_close(struct tape_source_merge *merge)
{
    if (!merge)
        return;
    for (int i = 0; i < merge->count; i++) {
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
    int64_t one_ns = merge->heads[one].recv_ns, other_ns = merge->heads[other].recv_ns;
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

/* The next head of a reel: 1, 0 at its end, 2, or a status. */
static int fetch(struct tape_source_merge *merge, int archive, int waits, struct tape_error *error)
{
    struct tape_reel *reel = merge->reels[archive];
    struct tape_message *head = &merge->heads[archive];
    int got = waits ? tape_reel_next(reel, head, error) : tape_reel_try(reel, head, error);
    if (merge->damages_seen[archive] != tape_reel_damages(reel)) {
        int status = note_damages(merge, archive, error);
        if (status < 0)
            return status;
    }
    if (got < 0 && merge->count > 1)
        tape_error_wrap(error, "%s", merge->paths[archive]);
    head->archive = (uint16_t)archive;
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
        int status = tape_reel_seek(merge->reels[i], ns, error);
        if (status < 0)
            return merge->count > 1 ? tape_error_wrap(error, "%s", merge->paths[i]),
                   status           : status;
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
