#include "record/packer.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "format/archive.h"
#include "format/event.h"
#include "format/index.h"
#include "record/clock.h"
#include "record/pack.h"
#include "record/thread.h"

/* linux/ioprio.h is not everywhere */
enum { IOPRIO_OF_PROCESS = 1, IOPRIO_IDLE = 3 << 13 };

#define INDEX_LAGS_NS     200000000ll /* the index gets a sealed segment within a second … */
#define INDEX_LAGS_MAX_NS 10000000000ll
#define NO_ROOM_NS        60000000000ll /* before a full disk is looked at again */
#define REST_AFTER_NS     1000000ll
#define REST_MAX_NS       100000000ll

/* For each ns of work so many of rest: where the kernel switches threads only between calls, every
 * call of the worker's delays what capture has to do on that core. */
enum { REST_FACTOR_MAX = 9 };

/*
 * Two threads: this one looks, waits and tells the index; a worker, one for each segment, reads and
 * compresses at idle priority. What is at idle priority may not get the processor for minutes; it
 * must not have SQLite's write lock then, for which the sync thread's transactions wait, and an
 * unprivileged thread that went idle may not come back. Hence the worker never writes to the index.
 *
 * Invariants:
 * 1. lock guards woken, state and nothing that takes time; it is never held while working.
 * 2. archive, index and refused are of whichever thread works: the worker runs only while this one
 *    waits for its end.
 * 3. refused holds the segments that are not tried again before the next start.
 * 4. rest_factor <= REST_FACTOR_MAX, and halves while more segments wait at each look.
 */
struct tape_packer {
    struct tape_packer_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int woken, started, joined;
    atomic_int stop, index_lost;
    struct tape_packer_state state;
    struct tape_archive *archive;
    struct tape_index *index;
    uint32_t *refused;
    size_t refused_length;
    int64_t index_lags_ns;
    int waiting; /* segments, at the look before */
    int rest_factor;
};

/* ---- telling ---- */

static void tell(struct tape_packer *packer, const struct tape_error *error)
{
    char body[TAPE_ERROR_TEXT_BYTES + 200];
    struct tape_event_writer event;
    pthread_mutex_lock(&packer->lock);
    int told = strncmp(packer->state.trouble, error->text, sizeof packer->state.trouble - 1) == 0;
    snprintf(packer->state.trouble, sizeof packer->state.trouble, "%.255s", error->text);
    pthread_mutex_unlock(&packer->lock);
    if (told)
        return;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_text(&event, "kind", "pack");
    tape_event_put_text(&event, "cause", error->text);
    size_t bytes = tape_event_end(&event);
    tape_store_note(packer->options.store, TAPE_RECORD_NOTE, 0, body, bytes);
}

static void tell_packed(struct tape_packer *packer, const struct tape_pack_figures *figures,
                        int in_order)
{
    pthread_mutex_lock(&packer->lock);
    packer->state.segments++;
    packer->state.bytes_before += figures->bytes_before;
    packer->state.bytes_after += figures->bytes_after;
    if (in_order)
        packer->state.trouble[0] = '\0';
    pthread_mutex_unlock(&packer->lock);
}

static void refuse(struct tape_packer *packer, uint32_t sequence)
{
    uint32_t *more =
        realloc(packer->refused, (packer->refused_length + 1) * sizeof *packer->refused);
    if (more == NULL)
        return;
    packer->refused = more;
    more[packer->refused_length++] = sequence;
}

static int is_refused(const struct tape_packer *packer, uint32_t sequence)
{
    for (size_t i = 0; i < packer->refused_length; i++)
        if (packer->refused[i] == sequence)
            return 1;
    return 0;
}

/* ---- one segment ---- */

struct work {
    struct tape_pack_options options;
    struct tape_pack_task *task;
    struct tape_error error;
    int result;
    int rest_factor;
    int64_t rested_at_ns; /* of the worker's processor time */
};

static int64_t thread_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * 1000000000ll + used.tv_nsec;
}

/* Between blocks. */
static void rest(void *context, uint64_t records, double part, uint64_t bytes)
{
    struct work *work = context;
    int64_t now_ns = thread_ns(), worked_ns = now_ns - work->rested_at_ns;
    (void)records, (void)part, (void)bytes;
    if (worked_ns < REST_AFTER_NS)
        return;
    int64_t rest_ns = worked_ns * work->rest_factor;
    work->rested_at_ns = now_ns;
    rest_ns = rest_ns < REST_MAX_NS ? rest_ns : REST_MAX_NS;
    nanosleep(&(struct timespec){.tv_nsec = rest_ns}, NULL);
}

static void become_idle(void)
{
    struct sched_param none = {0};
    if (sched_setscheduler(0, SCHED_IDLE, &none) < 0)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    syscall(SYS_ioprio_set, IOPRIO_OF_PROCESS, 0, IOPRIO_IDLE);
}

static void *run_worker(void *context)
{
    struct work *work = context;
    become_idle();
    work->rested_at_ns = thread_ns();
    work->result = tape_pack_write(&work->options, &work->task, &work->error);
    return NULL;
}

/* As tape_pack_write. */
static int write_idle(struct tape_packer *packer, const struct tape_archive_entry *entry,
                      struct tape_pack_task **task, struct tape_error *error)
{
    pthread_t worker;
    struct work work = {.options =
                            {
                                .archive = packer->archive,
                                .entry = *entry,
                                .level = TAPE_PACK_WARM,
                                .index = packer->index,
                                .index_may_lag = 1,
                                .stop = &packer->stop,
                                .progress = rest,
                                .context = &work,
                            },
                        .rest_factor = packer->rest_factor};
    int status = tape_thread_start(&worker, "tape-pack-idle", run_worker, &work, error);
    if (status < 0)
        return status;
    pthread_join(worker, NULL);
    *task = work.task;
    *error = work.error;
    return work.result;
}

/* 1 when the next one may follow, or the time after which to look again. */
static int64_t after_failure(struct tape_packer *packer, const struct tape_archive_entry *entry,
                             struct tape_error *error)
{
    if (error->status == TAPE_MISSING) {
        int64_t lags = packer->index_lags_ns;
        packer->index_lags_ns = 2 * lags < INDEX_LAGS_MAX_NS ? 2 * lags : INDEX_LAGS_MAX_NS;
        return lags;
    }
    if (error->status == TAPE_FULL) {
        tape_error_wrap(error, "packing waits for space");
        tell(packer, error);
        return NO_ROOM_NS;
    }
    refuse(packer, entry->sequence);
    tape_error_wrap(error, "not packed, left as it is");
    tell(packer, error);
    return 1;
}

static int64_t pack_one(struct tape_packer *packer, const struct tape_archive_entry *entry)
{
    struct tape_error error = {0}, trouble = {0};
    struct tape_pack_task *task = NULL;
    struct tape_pack_figures figures;
    int status = write_idle(packer, entry, &task, &error);
    if (status < 0)
        return after_failure(packer, entry, &error);
    packer->index_lags_ns = INDEX_LAGS_NS;
    if (status == 0)
        return 1;
    if (atomic_load(&packer->stop)) {
        tape_pack_drop(task);
        return 1;
    }
    tape_pack_read_figures(task, &figures);
    tape_store_lock_files(packer->options.store);
    status = tape_pack_publish(task, packer->archive, packer->index, &trouble, &error);
    tape_store_unlock_files(packer->options.store);
    if (status < 0)
        return after_failure(packer, entry, &error);
    if (trouble.status < 0) {
        tape_error_wrap(&trouble, "the next start makes it good");
        tell(packer, &trouble);
    }
    tell_packed(packer, &figures, trouble.status == 0);
    return 1;
}

/* ---- the thread ---- */

static int may_go_on(const struct tape_packer *packer)
{
    return !atomic_load(&packer->stop) &&
           !(packer->options.has_index && atomic_load(&packer->index_lost));
}

/* A connection of its own: the recorder's is the sync thread's, which must not wait for this. */
static int open_index(struct tape_packer *packer)
{
    struct tape_error error = {0};
    if (!packer->options.has_index || packer->index != NULL)
        return 1;
    packer->index = tape_index_open_beside(packer->archive, &error);
    if (packer->index != NULL)
        return 1;
    tape_error_wrap(&error, "packing waits for the next start");
    tell(packer, &error);
    atomic_store(&packer->index_lost, 1);
    return 0;
}

/* A copy of the segments that may be packed; the newest is being recorded. How many, or a status.
 */
static int list(struct tape_packer *packer, struct tape_archive_entry **entries,
                struct tape_error *error)
{
    int count = tape_archive_scan(packer->archive, error), used = 0;
    *entries = count > 1 ? calloc((size_t)count, sizeof **entries) : NULL;
    for (int i = 0; *entries != NULL && i < count - 1; i++) {
        const struct tape_archive_entry *entry = tape_archive_entry(packer->archive, i);
        if (entry->state == 'h' && !is_refused(packer, entry->sequence))
            (*entries)[used++] = *entry;
    }
    return count < 0 ? count : used;
}

/* Where capture closes segments faster than they are packed, there is less rest. */
static void keep_up(struct tape_packer *packer, int waiting)
{
    if (waiting > packer->waiting && packer->waiting > 0)
        packer->rest_factor /= 2;
    else
        packer->rest_factor = 2 * packer->rest_factor + 1;
    if (packer->rest_factor > REST_FACTOR_MAX)
        packer->rest_factor = REST_FACTOR_MAX;
    packer->waiting = waiting;
}

/* Packs what there is. The time after which to look again by itself; INT64_MAX: when it is woken.
 */
static int64_t look(struct tape_packer *packer)
{
    struct tape_error error = {0};
    struct tape_archive_entry *entries;
    int64_t again = 1;
    if (!may_go_on(packer) || !open_index(packer))
        return INT64_MAX;
    int count = list(packer, &entries, &error);
    if (count < 0)
        tell(packer, &error);
    keep_up(packer, count);
    for (int i = 0; i < count && again == 1 && may_go_on(packer); i++)
        again = pack_one(packer, &entries[i]);
    free(entries);
    return again == 1 ? INT64_MAX : again;
}

/* With the lock held: until it is woken, or the time has come. */
static void wait(struct tape_packer *packer, int64_t after_ns)
{
    int64_t due = after_ns == INT64_MAX ? INT64_MAX : tape_clock_monotonic() + after_ns;
    struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
    while (!packer->woken && !atomic_load(&packer->stop) && tape_clock_monotonic() < due) {
        if (due == INT64_MAX)
            pthread_cond_wait(&packer->wake, &packer->lock);
        else
            pthread_cond_timedwait(&packer->wake, &packer->lock, &until);
    }
    packer->woken = 0;
}

static void *run(void *context)
{
    struct tape_packer *packer = context;
    /* Not idle: it holds the index's lock now and then. But capture comes first on a shared core.
     */
    tape_thread_stand_back();
    pthread_mutex_lock(&packer->lock);
    while (!atomic_load(&packer->stop)) {
        pthread_mutex_unlock(&packer->lock);
        int64_t after_ns = look(packer);
        pthread_mutex_lock(&packer->lock);
        wait(packer, after_ns);
    }
    pthread_mutex_unlock(&packer->lock);
    return NULL;
}

struct tape_packer *tape_packer_start(const struct tape_packer_options *options,
                                      struct tape_error *error)
{
    pthread_condattr_t monotonic;
    struct tape_packer *packer = calloc(1, sizeof *packer);
    if (packer == NULL) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return NULL;
    }
    packer->options = *options;
    packer->index_lags_ns = INDEX_LAGS_NS;
    packer->rest_factor = REST_FACTOR_MAX;
    pthread_mutex_init(&packer->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&packer->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    packer->archive = tape_archive_open(options->path, error);
    if (packer->archive != NULL &&
        tape_thread_start(&packer->thread, "tape-packer", run, packer, error) == 0)
        packer->started = 1;
    if (packer->started)
        return packer;
    tape_packer_free(packer);
    return NULL;
}

void tape_packer_wake(struct tape_packer *packer)
{
    if (packer == NULL)
        return;
    pthread_mutex_lock(&packer->lock);
    packer->woken = 1;
    pthread_cond_signal(&packer->wake);
    pthread_mutex_unlock(&packer->lock);
}

void tape_packer_lose_index(struct tape_packer *packer)
{
    if (packer != NULL)
        atomic_store(&packer->index_lost, 1);
}

void tape_packer_stop(struct tape_packer *packer)
{
    if (packer == NULL)
        return;
    atomic_store(&packer->stop, 1);
    tape_packer_wake(packer);
}

void tape_packer_read_state(struct tape_packer *packer, struct tape_packer_state *state)
{
    memset(state, 0, sizeof *state);
    if (packer == NULL)
        return;
    pthread_mutex_lock(&packer->lock);
    *state = packer->state;
    pthread_mutex_unlock(&packer->lock);
}

void tape_packer_finish(struct tape_packer *packer)
{
    tape_packer_stop(packer);
    if (packer != NULL && packer->started && !packer->joined)
        packer->joined = pthread_join(packer->thread, NULL) == 0;
}

void tape_packer_free(struct tape_packer *packer)
{
    if (packer == NULL)
        return;
    tape_packer_finish(packer);
    tape_index_close(packer->index);
    tape_archive_close(packer->archive);
    free(packer->refused);
    pthread_cond_destroy(&packer->wake);
    pthread_mutex_destroy(&packer->lock);
    free(packer);
}
