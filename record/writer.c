#include "record/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
    COMPRESSION_LEVEL = 1,
    /* of the last reserve, the part that blocks may use before the end; the rest is for the last
     * block and the footer */
    RESERVE_FOR_BLOCKS_BYTES = TAPE_SEGMENT_LAST_RESERVE_BYTES / 2,
};
#define POLL_BUSY_NS 2000000ll /* sleep after a look at the ring that found something */
#define POLL_IDLE_NS 5000000ll /* … that found nothing */

/*
 * Invariants:
 * 1. Records before cursor are in blocks written or in builder; all not yet durable ones are still
 *    in the ring, too.
 * 2. summariser has seen exactly the records before cursor; its open summary is of those in
 * builder.
 * 3. segment is the newest of the archive; NULL only between a failed sync and the new segment.
 * 4. The block that could not be written stays sealed in builder until it is: nothing is appended
 *    meanwhile, so that the ring fills.
 */
struct tape_writer {
    struct tape_writer_options options;
    pthread_t thread;
    struct tape_ring_cursor cursor;
    struct tape_block_builder *builder;
    struct tape_segment_writer *segment;
    char name[TAPE_ARCHIVE_NAME_BYTES];
    uint32_t next_sequence;
    int64_t segment_began_ns, roll_retry_ns, block_began_ns; /* monotonic */
    uint64_t unsynced_raw_bytes, urgent_bytes;
    uint64_t reserve_used_bytes;
    int note_written;
    int summaries_failed;
    struct tape_error last_error;
    int result;
    atomic_int finish;
    atomic_int disk_full, failed;
    atomic_ullong records, stored_bytes;
    pthread_mutex_t message_lock;
    char message[256];
};

static int finishing(const struct tape_writer *writer)
{
    return atomic_load_explicit(&writer->finish, memory_order_acquire);
}

static void sleep_ns(int64_t ns)
{
    struct timespec pause = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&pause, NULL);
}

/* ---- trouble: told once, tried again until it is over ---- */

static void note(struct tape_writer *writer, const char *kind, const char *cause, const char *text)
{
    char body[TAPE_ERROR_TEXT_BYTES + 200];
    struct tape_event_writer event;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_text(&event, "kind", kind);
    tape_event_put_text(&event, "cause", cause);
    tape_event_put_text(&event, "text", text);
    size_t bytes = tape_event_end(&event);
    tape_store_note(writer->options.store, TAPE_RECORD_NOTE, 0, body, bytes);
}

static void enter_trouble(struct tape_writer *writer, const struct tape_error *error)
{
    int full = error->status == TAPE_FULL;
    writer->last_error = *error;
    atomic_store_explicit(&writer->disk_full, 1, memory_order_relaxed);
    pthread_mutex_lock(&writer->message_lock);
    snprintf(writer->message, sizeof writer->message, "%.255s", error->text);
    pthread_mutex_unlock(&writer->message_lock);
    if (!writer->note_written)
        note(writer, full ? "disk" : "sync", full ? "disk full" : "write failed", error->text);
    writer->note_written = 1;
}

static void leave_trouble(struct tape_writer *writer)
{
    if (!writer->note_written)
        return;
    writer->note_written = 0;
    writer->reserve_used_bytes = 0;
    atomic_store_explicit(&writer->disk_full, 0, memory_order_relaxed);
    pthread_mutex_lock(&writer->message_lock);
    writer->message[0] = '\0';
    pthread_mutex_unlock(&writer->message_lock);
    note(writer, "disk", "disk writable again", "");
}

static void wait_to_retry(const struct tape_writer *writer)
{
    int64_t until = tape_clock_monotonic() + TAPE_WRITER_RETRY_NS;
    while (!finishing(writer) && tape_clock_monotonic() < until)
        sleep_ns(20000000);
}

/* ---- segments ---- */

static int begin_segment(struct tape_writer *writer, struct tape_error *error)
{
    writer->segment = tape_archive_create_segment(writer->options.archive, writer->next_sequence,
                                                  tape_clock_realtime(), writer->name, error);
    if (writer->segment == NULL)
        return error->status;
    writer->next_sequence++;
    writer->segment_began_ns = tape_clock_monotonic();
    return 0;
}

static int push_seal_order(struct tape_writer *writer, struct tape_segment_writer *segment,
                           const char *name, uint32_t sequence)
{
    struct tape_sync_block *order = calloc(1, sizeof *order);
    if (order == NULL) {
        tape_segment_abandon(segment);
        return TAPE_FAILED;
    }
    order->segment = segment;
    order->header.segment = sequence;
    memcpy(order->name, name, sizeof order->name);
    tape_sync_push(writer->options.sync, order, 0);
    return 0;
}

/* The new segment is made before the old one is given up: where that fails the old one goes on. */
static int roll(struct tape_writer *writer, struct tape_error *error)
{
    struct tape_segment_writer *old = writer->segment;
    char old_name[TAPE_ARCHIVE_NAME_BYTES];
    memcpy(old_name, writer->name, sizeof old_name);
    int status = begin_segment(writer, error);
    if (status < 0) {
        writer->segment = old;
        memcpy(writer->name, old_name, sizeof old_name);
        writer->roll_retry_ns = tape_clock_monotonic() + TAPE_WRITER_RETRY_NS;
        return status;
    }
    push_seal_order(writer, old, old_name, writer->next_sequence - 2);
    return 0;
}

static int roll_is_due(const struct tape_writer *writer, const struct tape_block_header *header)
{
    const struct tape_segment_writer *segment = writer->segment;
    uint32_t blocks = tape_segment_blocks(segment);
    int64_t now = tape_clock_monotonic();
    if (blocks == 0 || now < writer->roll_retry_ns)
        return 0;
    return tape_segment_raw_bytes(segment) + header->raw_bytes >
               (uint64_t)writer->options.seal_raw_bytes ||
           blocks >= TAPE_SEGMENT_BLOCKS_MAX ||
           now - writer->segment_began_ns >= writer->options.seal_ns;
}

/* ---- blocks ---- */

/* One attempt. Where there is no space, the last reserve is used: some of it at once, so that the
 * note about the full disk gets there, the rest at the end. */
static int append_once(struct tape_writer *writer, struct tape_block_header *header,
                       uint8_t *stored, const struct tape_segment_stream_count *counts,
                       size_t counts_length, struct tape_error *error)
{
    if (roll_is_due(writer, header))
        roll(writer, error); /* where it fails the segment goes on beyond its size */
    int status =
        tape_segment_append(writer->segment, header, stored, counts, counts_length, 0, error);
    if (status == 0) {
        leave_trouble(writer);
        return 0;
    }
    if (status == TAPE_FULL) {
        enter_trouble(writer, error);
        if (!finishing(writer) &&
            writer->reserve_used_bytes + header->stored_bytes > RESERVE_FOR_BLOCKS_BYTES)
            return status;
        status =
            tape_segment_append(writer->segment, header, stored, counts, counts_length, 1, error);
        if (status == 0)
            writer->reserve_used_bytes += TAPE_BLOCK_HEADER_BYTES + header->stored_bytes;
        return status;
    }
    /* The file refuses bytes: another one may take them. */
    struct tape_error second = {0};
    enter_trouble(writer, error);
    if (roll(writer, &second) == 0)
        return tape_segment_append(writer->segment, header, stored, counts, counts_length, 0,
                                   error);
    return status;
}

static int rewrite_unsynced(struct tape_writer *writer);

/* Until it is written, or the end has come and there is no way. */
static int append_block(struct tape_writer *writer, struct tape_block_header *header,
                        uint8_t *stored, const struct tape_segment_stream_count *counts,
                        size_t counts_length)
{
    for (;;) {
        struct tape_error error = {0};
        int last_try = finishing(writer);
        int status = tape_sync_broken(writer->options.sync) ? rewrite_unsynced(writer) : 0;
        if (status == 0)
            status = append_once(writer, header, stored, counts, counts_length, &error);
        if (status == 0)
            return 0;
        if (error.status < 0)
            enter_trouble(writer, &error);
        if (last_try)
            return status;
        wait_to_retry(writer);
    }
}

static void push_block(struct tape_writer *writer, struct tape_sync_block *block)
{
    memcpy(block->name, writer->name, sizeof block->name);
    block->segment = writer->segment;
    writer->unsynced_raw_bytes += block->header.raw_bytes;
    int urgent = writer->unsynced_raw_bytes >= writer->urgent_bytes;
    if (urgent)
        writer->unsynced_raw_bytes = 0;
    tape_sync_push(writer->options.sync, block, urgent);
}

static uint64_t last_block_offset(const struct tape_writer *writer,
                                  const struct tape_block_header *header)
{
    return tape_segment_file_bytes(writer->segment) - TAPE_BLOCK_HEADER_BYTES -
           header->stored_bytes;
}

static struct tape_sync_block *copy_block(const uint8_t *stored,
                                          const struct tape_block_header *header,
                                          const struct tape_segment_stream_count *counts,
                                          size_t counts_length)
{
    struct tape_sync_block *block = calloc(1, sizeof *block);
    size_t names = 0;
    for (size_t i = 0; i < counts_length; i++)
        names += counts[i].name_bytes;
    if (block == NULL)
        return NULL;
    block->header = *header;
    block->stored = malloc(TAPE_BLOCK_HEADER_BYTES + header->stored_bytes);
    block->counts = malloc(counts_length * sizeof *counts + names + 1);
    if (block->stored == NULL || block->counts == NULL) {
        tape_sync_block_free(block);
        return NULL;
    }
    memcpy(block->stored, stored, TAPE_BLOCK_HEADER_BYTES + header->stored_bytes);
    char *name = (char *)(block->counts + counts_length);
    for (size_t i = 0; i < counts_length; i++) {
        block->counts[i] = counts[i];
        block->counts[i].name = memcpy(name, counts[i].name, counts[i].name_bytes);
        name += counts[i].name_bytes;
    }
    block->counts_length = counts_length;
    return block;
}

static int seal_block(struct tape_writer *writer)
{
    struct tape_error error = {0};
    struct tape_block_header header;
    uint8_t *stored;
    size_t counts_length = 0;
    uint32_t records = tape_block_records(writer->builder);
    if (records == 0)
        return 0;
    if (tape_block_seal(writer->builder, TAPE_BLOCK_CODEC_INTERLEAVED, COMPRESSION_LEVEL, &header,
                        &stored, &error) < 0) {
        enter_trouble(writer, &error);
        return error.status;
    }
    header.realtime_minus_monotonic_ns = tape_clock_offset();
    const struct tape_segment_stream_count *counts =
        writer->summaries_failed
            ? NULL
            : tape_summariser_counts(writer->options.summariser, &counts_length);
    struct tape_sync_block *block = copy_block(stored, &header, counts, counts_length);
    if (block == NULL) {
        tape_error_set(&error, TAPE_FAILED, "memory is short");
        enter_trouble(writer, &error);
        return error.status;
    }
    int status = append_block(writer, &header, stored, counts, counts_length);
    if (status < 0) {
        tape_sync_block_free(block);
        return status;
    }
    block->header = header;
    block->offset = last_block_offset(writer, &header);
    block->ring_position = writer->cursor.position;
    block->next_ordinal = header.first_ordinal + header.records;
    block->summary = tape_summariser_take(writer->options.summariser, &header, block->offset);
    if (writer->summaries_failed) {
        tape_summary_free(block->summary);
        block->summary = NULL;
    }
    atomic_fetch_add_explicit(&writer->records, records, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->stored_bytes, header.stored_bytes, memory_order_relaxed);
    push_block(writer, block);
    return 0;
}

/* ---- after a failed sync ---- */

/* What of a file may never have reached the disk must not be read later as if it had: the file is
 * cut back to its durable blocks; one without any is removed. Best effort: where that fails, too,
 * the new segment repeats the ordinals, and readers pass over repeated ones. */
static void cut_segment(const struct tape_writer *writer, const struct tape_sync_block *first)
{
    char path[16 + TAPE_ARCHIVE_NAME_BYTES];
    int directory = tape_archive_directory_fd(writer->options.archive);
    snprintf(path, sizeof path, "segments/%s", first->name);
    if (first->offset <= TAPE_SEGMENT_HEADER_BYTES) {
        unlinkat(directory, path, 0);
        return;
    }
    int fd = openat(directory, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    int cut = ftruncate(fd, (off_t)first->offset);
    (void)cut;
    close(fd);
}

/* Closes every segment that the blocks lie in; takes the orders to seal out from among them. */
static struct tape_sync_block *close_segments(struct tape_writer *writer,
                                              struct tape_sync_block *blocks)
{
    struct tape_sync_block *kept = NULL, **end = &kept;
    const struct tape_segment_writer *of_last = NULL;
    while (blocks != NULL) {
        struct tape_sync_block *block = blocks;
        blocks = block->next;
        block->next = NULL;
        if (block->stored != NULL) {
            of_last = block->segment;
            *end = block;
            end = &block->next;
            continue;
        }
        if (block->segment == of_last)
            tape_segment_abandon(block->segment);
        else
            tape_segment_seal(block->segment, NULL); /* all of it is durable */
        of_last = NULL;
        free(block);
    }
    if (writer->segment != NULL)
        tape_segment_abandon(writer->segment);
    writer->segment = NULL;
    return kept;
}

/* The blocks to write again; what there is of them on the disk is cut off. */
static struct tape_sync_block *take_unsynced(struct tape_writer *writer)
{
    struct tape_sync_block *blocks =
        close_segments(writer, tape_sync_take_back(writer->options.sync));
    const char *name = "";
    for (const struct tape_sync_block *at = blocks; at != NULL; at = at->next) {
        if (strcmp(at->name, name) != 0)
            cut_segment(writer, at);
        name = at->name;
    }
    return blocks;
}

static int begin_segment_after_failure(struct tape_writer *writer)
{
    for (;;) {
        struct tape_error error = {0};
        int last_try = finishing(writer);
        if (begin_segment(writer, &error) == 0)
            return 0;
        enter_trouble(writer, &error);
        if (last_try)
            return error.status;
        wait_to_retry(writer);
    }
}

static int rewrite_block(struct tape_writer *writer, struct tape_sync_block *block)
{
    int status;
    do {
        struct tape_error error = {0};
        status = append_once(writer, &block->header, block->stored, block->counts,
                             block->counts_length, &error);
        if (status == 0)
            break;
        enter_trouble(writer, &error);
        if (finishing(writer))
            return status;
        wait_to_retry(writer);
    } while (1);
    block->offset = last_block_offset(writer, &block->header);
    if (block->summary)
        tape_summary_move(block->summary, &block->header, block->offset);
    push_block(writer, block);
    return 0;
}

/* An fsync that failed once may report success the next time without having written anything: the
 * bytes go to a new file, from memory. */
static int rewrite_unsynced(struct tape_writer *writer)
{
    struct tape_sync_block *blocks = take_unsynced(writer);
    int status = begin_segment_after_failure(writer);
    while (blocks != NULL) {
        struct tape_sync_block *block = blocks;
        blocks = block->next;
        if (status == 0)
            status = rewrite_block(writer, block);
        if (status < 0)
            tape_sync_block_free(block);
    }
    return status;
}

/* ---- the thread ---- */

static void summarise(struct tape_writer *writer, const struct tape_record *record)
{
    struct tape_message message;
    int got = tape_summariser_add(writer->options.summariser, record, &message, NULL);
    if (got < 0)
        writer->summaries_failed = 1;
    else if (got == 1 && writer->options.watch)
        writer->options.watch(writer->options.watch_context, &message);
}

/* Once a record: nothing as large as an error is cleared here. */
static int take_record(struct tape_writer *writer, const struct tape_record *record)
{
    int status = tape_block_append(writer->builder, record, NULL);
    if (status == 0) {
        status = seal_block(writer);
        if (status < 0)
            return status;
        status = tape_block_append(writer->builder, record, NULL);
    }
    if (status < 0) {
        struct tape_error error = {0};
        tape_error_set(&error, status, "record %" PRIu64 " cannot be put into a block",
                       record->ordinal);
        enter_trouble(writer, &error);
        return status;
    }
    if (tape_block_records(writer->builder) == 1)
        writer->block_began_ns = tape_clock_monotonic();
    summarise(writer, record);
    return 0;
}

/* All records there are now. The number, or a status. */
static int64_t drain(struct tape_writer *writer)
{
    struct tape_record record;
    int64_t taken = 0;
    for (;;) {
        struct tape_ring_cursor next = writer->cursor;
        int got = tape_ring_next(writer->options.ring, &next, &record);
        if (got <= 0)
            return got < 0 ? got : taken;
        int status = take_record(writer, &record);
        if (status < 0)
            return status;
        writer->cursor = next;
        taken++;
        if (tape_block_raw_bytes(writer->builder) >= TAPE_BLOCK_SEAL_BYTES) {
            status = seal_block(writer);
            if (status < 0)
                return status;
        }
        /* a steady flood must not keep a slow stream's block open for ever, nor a broken sync wait
         */
        if ((taken & 1023) == 0 && tape_sync_broken(writer->options.sync))
            return taken;
    }
}

static int seal_if_due(struct tape_writer *writer)
{
    if (tape_block_records(writer->builder) > 0 &&
        tape_clock_monotonic() - writer->block_began_ns >= TAPE_BLOCK_SEAL_NS)
        return seal_block(writer);
    return 0;
}

/* The last block, the order to seal; again when the sync fails on the way. */
static int end_in_order(struct tape_writer *writer)
{
    int status = seal_block(writer);
    while (status == 0) {
        if (tape_sync_settle(writer->options.sync)) {
            push_seal_order(writer, writer->segment, writer->name, writer->next_sequence - 1);
            writer->segment = NULL;
            if (tape_sync_settle(writer->options.sync))
                return 0;
        }
        status = rewrite_unsynced(writer);
    }
    return status;
}

static void *run(void *context)
{
    struct tape_writer *writer = context;
    int64_t status = 0;
    for (;;) {
        int finish = finishing(writer); /* read before the ring: it is closed by then */
        status = drain(writer);
        if (status >= 0 && tape_sync_broken(writer->options.sync))
            status = rewrite_unsynced(writer) < 0 ? TAPE_FAILED : 1;
        if (status < 0 || (status == 0 && finish))
            break;
        int64_t taken = status;
        status = seal_if_due(writer);
        if (status < 0)
            break;
        if (!finish)
            sleep_ns(taken ? POLL_BUSY_NS : POLL_IDLE_NS);
    }
    if (status == 0)
        status = end_in_order(writer);
    writer->result = (int)status;
    if (status < 0) {
        if (writer->last_error.status == 0)
            tape_error_set(&writer->last_error, (int)status, "the ring is damaged");
        pthread_mutex_lock(&writer->message_lock);
        snprintf(writer->message, sizeof writer->message, "%.255s", writer->last_error.text);
        pthread_mutex_unlock(&writer->message_lock);
        atomic_store(&writer->failed, 1);
    }
    return NULL;
}

static void free_writer(struct tape_writer *writer)
{
    if (writer->segment)
        tape_segment_abandon(writer->segment);
    tape_block_builder_free(writer->builder);
    pthread_mutex_destroy(&writer->message_lock);
    free(writer);
}

struct tape_writer *tape_writer_start(const struct tape_writer_options *options,
                                      struct tape_error *error)
{
    struct tape_writer *writer = calloc(1, sizeof *writer);
    if (writer)
        writer->builder = tape_block_builder_new();
    if (writer == NULL || writer->builder == NULL) {
        free(writer);
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return NULL;
    }
    struct tape_ring_state ring;
    tape_ring_read_state(options->ring, &ring);
    writer->options = *options;
    writer->cursor = options->from;
    writer->next_sequence = options->sequence;
    writer->urgent_bytes = ring.bytes / 8;
    pthread_mutex_init(&writer->message_lock, NULL);
    if (begin_segment(writer, error) == 0 &&
        tape_thread_start(&writer->thread, "tape-writer", run, writer, error) == 0)
        return writer;
    free_writer(writer);
    return NULL;
}

void tape_writer_read_state(struct tape_writer *writer, struct tape_writer_state *state)
{
    state->records = atomic_load_explicit(&writer->records, memory_order_relaxed);
    state->stored_bytes = atomic_load_explicit(&writer->stored_bytes, memory_order_relaxed);
    state->disk_full = tape_writer_disk_full(writer);
    state->failed = atomic_load_explicit(&writer->failed, memory_order_relaxed);
    pthread_mutex_lock(&writer->message_lock);
    memcpy(state->message, writer->message, sizeof state->message);
    pthread_mutex_unlock(&writer->message_lock);
}

int tape_writer_disk_full(const struct tape_writer *writer)
{
    return atomic_load_explicit(&writer->disk_full, memory_order_relaxed);
}

int tape_writer_finish(struct tape_writer *writer, struct tape_writer_state *state,
                       struct tape_error *error)
{
    atomic_store_explicit(&writer->finish, 1, memory_order_release);
    pthread_join(writer->thread, NULL);
    int status = writer->result;
    if (status < 0)
        tape_error_set(error, writer->last_error.status, "%s", writer->last_error.text);
    if (state)
        tape_writer_read_state(writer, state);
    tape_sync_settle(writer->options.sync); /* it may be at work on the segment */
    free_writer(writer);
    return status;
}
