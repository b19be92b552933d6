#include "record/prune_live.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/archive.h"
#include "format/index.h"
#include "record/clock.h"
#include "record/prune_run.h"
#include "record/store.h"
#include "record/thread.h"

enum { NOTE_BYTES = 2048 };

#define LOOK_NS   60000000000ll
#define GLANCE_NS 1000000000ll /* between two looks at whether a segment was begun */
#define NOTE_LATE_NS                                                                               \
    30000000000ll /* a note that is not durable by then is waited for next time                    \
                   */
#define NOTE_POLL_NS 20000000ll

/*
 * Invariants:
 * 1. lock guards state and nothing that takes time.
 * 2. run, clock, archive, last_sequence and waits are the thread's own.
 * 3. waiting is the note that was given to the store and is not known durable; "" when there is
 * none.
 */
struct tape_prune_live {
    struct tape_prune_live_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_int stop, abandon; /* abandon: nothing more becomes durable */
    int started;
    struct tape_prune_live_state state;
    struct tape_prune_run run;
    struct tape_prune_clock clock;
    struct tape_archive *archive;
    uint32_t last_sequence;
    char waiting[NOTE_BYTES];
};

/* ---- hooks ---- */

static int stopped(void *context)
{
    struct tape_prune_live *pruner = context;
    return atomic_load(&pruner->stop);
}

static void sleep_ns(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&time, NULL);
}

/* The note goes the way of every record: into the ring, a block, and onto the disk. One that was
 * given is waited for beyond the recording's end, for what it says is to be done. */
static int note(void *context, const char *body, size_t bytes, int more, struct tape_error *error)
{
    struct tape_prune_live *pruner = context;
    struct tape_store *store = pruner->options.store;
    int64_t late_ns = tape_clock_monotonic() + NOTE_LATE_NS;
    if (strcmp(pruner->waiting, body) != 0) {
        if (stopped(pruner))
            return tape_error_set(error, TAPE_FAILED, "the recording ends");
        if (more) {
            tape_store_note(store, TAPE_RECORD_NOTE, 0, body, bytes);
            return 0;
        }
        snprintf(pruner->waiting, sizeof pruner->waiting, "%s", body);
        tape_store_note_told(store, body, bytes);
    }
    while (!tape_store_told_is_durable(store)) {
        if (atomic_load(&pruner->abandon))
            return tape_error_set(error, TAPE_FAILED, "the recording has ended");
        if (tape_clock_monotonic() >= late_ns)
            return tape_error_set(error, TAPE_FAILED,
                                  "the note of what is to be deleted is not on the disk yet");
        sleep_ns(NOTE_POLL_NS);
    }
    pruner->waiting[0] = '\0';
    if (pruner->options.sync_itself && syncfs(tape_archive_directory_fd(pruner->archive)) < 0)
        return tape_error_errno(error, errno, "sync the note of what is to be deleted");
    return 0;
}

/* A connection of its own: the recorder's is the sync thread's, which does not wait for this. */
static struct tape_index *take_index(void *context)
{
    struct tape_prune_live *pruner = context;
    return pruner->options.has_index ? tape_index_open_beside(pruner->archive, NULL) : NULL;
}

static void give_index(void *context, struct tape_index *index)
{
    (void)context;
    tape_index_close(index);
}

static void say(void *context, const char *level, const char *words)
{
    struct tape_prune_live *pruner = context;
    int is_trouble = strcmp(level, "info") != 0;
    pthread_mutex_lock(&pruner->lock);
    snprintf(is_trouble ? pruner->state.trouble : pruner->state.last, sizeof pruner->state.last,
             "%.255s", words);
    pruner->state.segments = pruner->run.deleted_segments;
    pthread_mutex_unlock(&pruner->lock);
}

/* ---- the thread ---- */

static void prune(struct tape_prune_live *pruner)
{
    struct tape_error error = {0};
    int deleted = 1;
    while (deleted > 0 && !stopped(pruner))
        deleted = tape_prune_run_step(&pruner->run, &error);
    if (stopped(pruner))
        return;
    if (deleted == 0 && pruner->run.limits.age_ns > 0 &&
        tape_prune_clock_is_behind(&pruner->run.place)) {
        deleted = tape_error_set(&error, TAPE_FAILED,
                                 "--keep-age waits: the newest record is later than the clock");
    } else if (deleted == 0 && pruner->run.limits.age_ns > 0 && pruner->clock.jumped_ns > 0) {
        deleted =
            tape_error_set(&error, TAPE_FAILED,
                           "--keep-age counts for a day as if the clock had not jumped ahead");
    } else if (deleted < 0) {
        tape_error_wrap(&error, "pruning waits");
    }
    pthread_mutex_lock(&pruner->lock);
    snprintf(pruner->state.trouble, sizeof pruner->state.trouble, "%.255s",
             deleted < 0 ? error.text : "");
    pthread_mutex_unlock(&pruner->lock);
}

/* 1 when a segment was begun, and so another one sealed. */
static int has_rolled(struct tape_prune_live *pruner)
{
    int count = tape_archive_scan(pruner->archive, NULL);
    const struct tape_archive_entry *last = tape_archive_entry(pruner->archive, count - 1);
    uint32_t before = pruner->last_sequence;
    if (last != NULL)
        pruner->last_sequence = last->sequence;
    return pruner->last_sequence != before;
}

/* Until it is time to look again. */
static void wait(struct tape_prune_live *pruner)
{
    int64_t due_ns = tape_clock_monotonic() + LOOK_NS;
    while (!stopped(pruner) && tape_clock_monotonic() < due_ns) {
        int64_t until_ns = tape_clock_monotonic() + GLANCE_NS;
        struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
        pthread_mutex_lock(&pruner->lock);
        if (!stopped(pruner))
            pthread_cond_timedwait(&pruner->wake, &pruner->lock, &until);
        pthread_mutex_unlock(&pruner->lock);
        if (!stopped(pruner) && has_rolled(pruner))
            return;
    }
}

static void *run(void *context)
{
    struct tape_prune_live *pruner = context;
    tape_thread_stand_back();
    while (!stopped(pruner)) {
        prune(pruner);
        wait(pruner);
    }
    return NULL;
}

struct tape_prune_live *tape_prune_live_start(const struct tape_prune_live_options *options,
                                              struct tape_error *error)
{
    pthread_condattr_t monotonic;
    struct tape_prune_live *pruner = calloc(1, sizeof *pruner);
    if (pruner == NULL) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return NULL;
    }
    pruner->options = *options;
    pthread_mutex_init(&pruner->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pruner->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pruner->archive = tape_archive_open(options->path, error);
    pruner->run = (struct tape_prune_run){
        .archive = pruner->archive,
        .limits = options->limits,
        .hooks = {note, take_index, give_index, say, stopped, pruner},
        .files = options->store,
        .clock = &pruner->clock,
        .base = {.wants_reserve = 1},
    };
    if (pruner->archive != NULL &&
        tape_thread_start(&pruner->thread, "tape-pruner", run, pruner, error) == 0)
        pruner->started = 1;
    if (pruner->started)
        return pruner;
    tape_prune_live_finish(pruner);
    tape_prune_live_free(pruner);
    return NULL;
}

void tape_prune_live_stop(struct tape_prune_live *pruner)
{
    if (pruner == NULL)
        return;
    pthread_mutex_lock(&pruner->lock);
    atomic_store(&pruner->stop, 1);
    pthread_cond_signal(&pruner->wake);
    pthread_mutex_unlock(&pruner->lock);
}

void tape_prune_live_read_state(struct tape_prune_live *pruner, struct tape_prune_live_state *state)
{
    memset(state, 0, sizeof *state);
    if (pruner == NULL)
        return;
    pthread_mutex_lock(&pruner->lock);
    *state = pruner->state;
    pthread_mutex_unlock(&pruner->lock);
}

void tape_prune_live_finish(struct tape_prune_live *pruner)
{
    if (pruner == NULL)
        return;
    atomic_store(&pruner->abandon, 1);
    tape_prune_live_stop(pruner);
    if (pruner->started)
        pthread_join(pruner->thread, NULL);
}

void tape_prune_live_free(struct tape_prune_live *pruner)
{
    if (pruner == NULL)
        return;
    if (pruner->started)
        tape_prune_run_settle(&pruner->run);
    tape_prune_run_clear(&pruner->run);
    tape_archive_close(pruner->archive);
    pthread_cond_destroy(&pruner->wake);
    pthread_mutex_destroy(&pruner->lock);
    free(pruner);
}
