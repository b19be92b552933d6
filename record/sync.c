#include "record/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/event.h"
#include "record/clock.h"
#include "record/thread.h"

enum {
    LOCKED_TRIES = 100, /* a tenth of TAPE_SYNC_INDEX_NS apart, before it is told */
    LAST_PATIENCE_MS = 5000,
};

/* A sealed or new segment whose row the index must get with the next transaction. */
struct segment_row {
    struct segment_row *next;
    uint32_t sequence;
    char name[TAPE_ARCHIVE_NAME_BYTES];
};

/*
 * Invariants:
 * 1. [first, last] are in ordinal order; all of them lie in the ring behind its durable tail.
 * 2. While busy is set the sync thread works on the blocks from first to some block before or at
 *    last without the lock; the writer thread only adds behind last then.
 * 3. broken: the sync thread does not touch the blocks. Only take_back clears it.
 * 4. The ring's durable tail moves only after fdatasync returned 0 for all blocks before it.
 * 5. summaries are of durable blocks, in order, and not in the index yet.
 */
struct tape_sync {
    struct tape_sync_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, settled;
    struct tape_sync_block *first, *last;
    int busy, urgent, finish;
    atomic_int broken;
    atomic_int index_broken, seal_failed;
    atomic_ullong durable_ordinal;
    /* the sync thread's own */
    struct tape_sync_block *summaries, *summaries_last;
    unsigned summaries_count;
    struct segment_row *rows;
    int64_t synced_ns, index_due_ns; /* monotonic */
    int index_told, index_locked;    /* locked: so many tries in a row */
};

void tape_sync_block_free(struct tape_sync_block *block)
{
    if (block == NULL)
        return;
    tape_summary_free(block->summary);
    free(block->counts);
    free(block->stored);
    free(block);
}

static void note(struct tape_sync *sync, const char *kind, const struct tape_error *error)
{
    char body[TAPE_ERROR_TEXT_BYTES + 200];
    struct tape_event_writer writer;
    tape_event_begin(&writer, body, sizeof body);
    tape_event_put_text(&writer, "kind", kind);
    tape_event_put_text(&writer, "cause", error->text);
    size_t bytes = tape_event_end(&writer);
    tape_store_note(sync->options.store, TAPE_RECORD_NOTE, 0, body, bytes);
}

/* ---- the index ---- */

static void forget_summaries(struct tape_sync *sync)
{
    while (sync->summaries != NULL) {
        struct tape_sync_block *block = sync->summaries;
        sync->summaries = block->next;
        tape_sync_block_free(block);
    }
    sync->summaries_last = NULL;
    sync->summaries_count = 0;
    while (sync->rows != NULL) {
        struct segment_row *row = sync->rows;
        sync->rows = row->next;
        free(row);
    }
}

static void give_index_up(struct tape_sync *sync)
{
    atomic_store_explicit(&sync->index_broken, 1, memory_order_relaxed);
    tape_packer_lose_index(sync->options.packer);
    forget_summaries(sync);
}

static void keep_summary(struct tape_sync *sync, struct tape_sync_block *block)
{
    free(block->stored);
    free(block->counts);
    block->stored = NULL;
    block->counts = NULL;
    block->next = NULL;
    int useless = block->summary == NULL || sync->options.index == NULL ||
                  atomic_load_explicit(&sync->index_broken, memory_order_relaxed);
    if (useless || sync->summaries_count >= TAPE_SYNC_SUMMARIES_MAX) {
        tape_sync_block_free(block);
        give_index_up(sync);
        return;
    }
    if (sync->summaries_last)
        sync->summaries_last->next = block;
    else
        sync->summaries = block;
    sync->summaries_last = block;
    sync->summaries_count++;
}

static void keep_row(struct tape_sync *sync, const char *name, uint32_t sequence)
{
    struct segment_row *row = sync->options.index ? malloc(sizeof *row) : NULL;
    if (row == NULL)
        return;
    memcpy(row->name, name, sizeof row->name);
    row->sequence = sequence;
    row->next = sync->rows;
    sync->rows = row;
}

/* 0 once the segment was packed (and its row tells so) or pruned (and has none). */
static int is_still_hot(const struct tape_sync *sync, const struct segment_row *row)
{
    char hot[TAPE_ARCHIVE_NAME_BYTES + 16], packed[TAPE_ARCHIVE_NAME_BYTES + 24];
    int directory = tape_archive_directory_fd(sync->options.archive);
    snprintf(hot, sizeof hot, "segments/%s", row->name);
    snprintf(packed, sizeof packed, "%.*s.tape", (int)(strrchr(hot, '.') - hot), hot);
    return faccessat(directory, packed, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
           (faccessat(directory, hot, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT);
}

static int set_segment(struct tape_sync *sync, const struct segment_row *row,
                       struct tape_error *error)
{
    struct tape_archive_entry entry = {.sequence = row->sequence, .state = 'h'};
    struct tape_segment_info info;
    if (!is_still_hot(sync, row))
        return 0;
    memcpy(entry.name, row->name, sizeof entry.name);
    struct tape_segment *segment = tape_archive_open_segment(sync->options.archive, &entry, NULL);
    if (segment)
        tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    return tape_index_set_segment(sync->options.index, &entry, segment ? &info : NULL, error);
}

static int fill_transaction(struct tape_sync *sync, struct tape_error *error)
{
    int status = 0;
    for (const struct tape_sync_block *at = sync->summaries; at && status >= 0; at = at->next)
        status = tape_index_apply(sync->options.index, at->summary, error);
    for (const struct segment_row *row = sync->rows; row && status >= 0; row = row->next)
        status = set_segment(sync, row, error);
    return status;
}

/* A transaction that fails is tried again with the next one, until too much waits; never a reason
 * to stop recording. Nor is another connection's transaction waited for: fdatasync is not held up
 * for the index. */
static void commit_index(struct tape_sync *sync)
{
    struct tape_error error = {0};
    int has_rows = sync->rows != NULL;
    sync->index_due_ns = tape_clock_monotonic() + TAPE_SYNC_INDEX_NS;
    if (sync->summaries == NULL && sync->rows == NULL)
        return;
    int status = tape_index_begin(sync->options.index, &error);
    if (status >= 0)
        status = fill_transaction(sync, &error);
    if (status >= 0)
        status = tape_index_commit(sync->options.index, &error);
    if (status >= 0) {
        forget_summaries(sync);
        sync->index_told = sync->index_locked = 0;
        if (has_rows)
            tape_packer_wake(sync->options.packer);
        return;
    }
    if (status == TAPE_LOCKED && ++sync->index_locked < LOCKED_TRIES) {
        sync->index_due_ns = tape_clock_monotonic() + TAPE_SYNC_INDEX_NS / 10;
        return;
    }
    sync->index_locked = 0;
    if (!sync->index_told) {
        sync->index_told = 1;
        tape_error_wrap(&error, "index.db");
        note(sync, "index", &error);
    }
}

/* ---- durability ---- */

static int sync_file(struct tape_sync *sync, const struct tape_sync_block *block,
                     struct tape_error *error)
{
    if (sync->options.mode == TAPE_STORE_SYNC_NONE)
        return 0;
    if (fdatasync(tape_segment_fd(block->segment)) == 0)
        return 0;
    return tape_error_errno(error, errno, "segment %s: fdatasync", block->name);
}

static void seal_segment(struct tape_sync *sync, struct tape_sync_block *order)
{
    struct tape_error error = {0};
    if (tape_segment_seal(order->segment, &error) < 0) {
        /* All blocks are durable: only the footer is missing, which recovery writes. */
        atomic_store_explicit(&sync->seal_failed, 1, memory_order_relaxed);
        tape_error_wrap(&error, "segment %s: seal", order->name);
        note(sync, "sync", &error);
    }
    keep_row(sync, order->name, order->header.segment);
    tape_packer_wake(sync->options.packer);
}

/* Takes the oldest block off the list. */
static struct tape_sync_block *drop_first(struct tape_sync *sync)
{
    pthread_mutex_lock(&sync->lock);
    struct tape_sync_block *block = sync->first;
    sync->first = block->next;
    if (sync->first == NULL)
        sync->last = NULL;
    pthread_mutex_unlock(&sync->lock);
    return block;
}

/* Makes the blocks of one segment durable, from the oldest up to ${until} at most; ${until} was
 * written before this is called. 0 when the sync failed. */
static int sync_run_of_blocks(struct tape_sync *sync, const struct tape_sync_block *until)
{
    struct tape_error error = {0};
    const struct tape_segment_writer *segment = sync->first->segment;
    if (sync_file(sync, sync->first, &error) < 0) {
        note(sync, "sync", &error);
        return 0;
    }
    int done = 0;
    while (!done && sync->first->segment == segment && sync->first->stored != NULL) {
        struct tape_sync_block *block = drop_first(sync);
        done = block == until;
        tape_ring_set_durable(sync->options.ring, block->ring_position, block->next_ordinal);
        atomic_store_explicit(&sync->durable_ordinal, block->next_ordinal, memory_order_relaxed);
        if (block->header.number == 0)
            keep_row(sync, block->name, block->header.segment);
        keep_summary(sync, block);
    }
    return !done ? 1 : 2;
}

/* Works off all that was pending when it was called. 0 when a sync failed. */
static int work_off(struct tape_sync *sync, const struct tape_sync_block *until)
{
    for (;;) {
        if (sync->first->stored == NULL) {
            struct tape_sync_block *order = sync->first;
            seal_segment(sync, order);
            drop_first(sync);
            int done = order == until;
            free(order);
            if (done)
                return 1;
            continue;
        }
        int result = sync_run_of_blocks(sync, until);
        if (result != 1)
            return result != 0;
    }
}

/* ---- the thread ---- */

/* A sync is due an interval after the one before: at once, where that one lies far back. */
static int64_t sync_due(const struct tape_sync *sync)
{
    if (sync->first == NULL || atomic_load(&sync->broken))
        return INT64_MAX;
    return sync->options.mode == TAPE_STORE_SYNC_INTERVAL
               ? sync->synced_ns + sync->options.interval_ns
               : 0;
}

static int64_t index_due(const struct tape_sync *sync)
{
    return sync->summaries || sync->rows ? sync->index_due_ns : INT64_MAX;
}

/* With the lock held: until something is due, or is asked for at once (1). */
static int wait_for_work(struct tape_sync *sync)
{
    while (!sync->urgent && !sync->finish) {
        int64_t due = sync_due(sync) < index_due(sync) ? sync_due(sync) : index_due(sync);
        if (due <= tape_clock_monotonic())
            return 0;
        struct timespec until = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        if (due == INT64_MAX)
            pthread_cond_wait(&sync->work, &sync->lock);
        else
            pthread_cond_timedwait(&sync->work, &sync->lock, &until);
    }
    sync->urgent = 0;
    return 1;
}

/* With the lock held but for the work itself. */
static void make_durable(struct tape_sync *sync)
{
    const struct tape_sync_block *until = sync->last;
    if (until == NULL || atomic_load(&sync->broken))
        return;
    sync->busy = 1;
    sync->synced_ns = tape_clock_monotonic();
    pthread_mutex_unlock(&sync->lock);
    int good = work_off(sync, until);
    pthread_mutex_lock(&sync->lock);
    sync->busy = 0;
    if (!good)
        atomic_store(&sync->broken, 1);
    pthread_cond_broadcast(&sync->settled);
}

static void *run(void *context)
{
    struct tape_sync *sync = context;
    int finish = 0;
    pthread_mutex_lock(&sync->lock);
    while (!finish) {
        int at_once = wait_for_work(sync);
        finish = sync->finish;
        if (at_once || sync_due(sync) <= tape_clock_monotonic())
            make_durable(sync);
        if (sync->options.index && (finish || index_due(sync) <= tape_clock_monotonic())) {
            pthread_mutex_unlock(&sync->lock);
            if (finish) /* the last one, and nothing waits for this thread any more */
                tape_index_set_patience(sync->options.index, LAST_PATIENCE_MS);
            commit_index(sync);
            pthread_mutex_lock(&sync->lock);
        }
    }
    pthread_mutex_unlock(&sync->lock);
    return NULL;
}

struct tape_sync *tape_sync_start(const struct tape_sync_options *options, struct tape_error *error)
{
    pthread_condattr_t monotonic;
    struct tape_sync *sync = calloc(1, sizeof *sync);
    if (sync == NULL) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return NULL;
    }
    sync->options = *options;
    sync->synced_ns = tape_clock_monotonic();
    if (options->index)
        tape_index_set_patience(options->index, 0);
    atomic_init(&sync->durable_ordinal, options->durable_ordinal);
    atomic_init(&sync->index_broken, options->index == NULL);
    pthread_mutex_init(&sync->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sync->work, &monotonic);
    pthread_cond_init(&sync->settled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (tape_thread_start(&sync->thread, "tape-sync", run, sync, error) == 0)
        return sync;
    free(sync);
    return NULL;
}

void tape_sync_push(struct tape_sync *sync, struct tape_sync_block *block, int urgent)
{
    block->next = NULL;
    pthread_mutex_lock(&sync->lock);
    if (sync->last)
        sync->last->next = block;
    else
        sync->first = block;
    sync->last = block;
    sync->urgent |= urgent;
    pthread_cond_signal(&sync->work);
    pthread_mutex_unlock(&sync->lock);
}

int tape_sync_broken(const struct tape_sync *sync)
{
    return atomic_load(&sync->broken);
}

struct tape_sync_block *tape_sync_take_back(struct tape_sync *sync)
{
    pthread_mutex_lock(&sync->lock);
    struct tape_sync_block *blocks = sync->first;
    sync->first = NULL;
    sync->last = NULL;
    atomic_store(&sync->broken, 0);
    pthread_mutex_unlock(&sync->lock);
    return blocks;
}

int tape_sync_settle(struct tape_sync *sync)
{
    pthread_mutex_lock(&sync->lock);
    while ((sync->first != NULL || sync->busy) && !atomic_load(&sync->broken)) {
        sync->urgent = 1;
        pthread_cond_signal(&sync->work);
        pthread_cond_wait(&sync->settled, &sync->lock);
    }
    int broken = atomic_load(&sync->broken);
    pthread_mutex_unlock(&sync->lock);
    return !broken;
}

void tape_sync_read_state(const struct tape_sync *sync, struct tape_sync_state *state)
{
    state->durable_ordinal = atomic_load_explicit(&sync->durable_ordinal, memory_order_relaxed);
    state->index_broken = atomic_load_explicit(&sync->index_broken, memory_order_relaxed);
    state->seal_failed = atomic_load_explicit(&sync->seal_failed, memory_order_relaxed);
}

void tape_sync_finish(struct tape_sync *sync)
{
    pthread_mutex_lock(&sync->lock);
    sync->finish = 1;
    pthread_cond_signal(&sync->work);
    pthread_mutex_unlock(&sync->lock);
    pthread_join(sync->thread, NULL);
    while (sync->first != NULL) {
        struct tape_sync_block *block = sync->first;
        sync->first = block->next;
        if (block->stored == NULL) /* an order to seal: the segment stays without a footer */
            tape_segment_abandon(block->segment);
        tape_sync_block_free(block);
    }
    give_index_up(sync);
    pthread_cond_destroy(&sync->work);
    pthread_cond_destroy(&sync->settled);
    pthread_mutex_destroy(&sync->lock);
    free(sync);
}
