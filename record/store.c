#include "record/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "format/event.h"
#include "format/index.h"
#include "format/ring.h"
#include "format/summary.h"
#include "record/clock.h"
#include "record/discard.h"
#include "record/packer.h"
#include "record/prune_live.h"
#include "record/resume.h"
#include "record/sync.h"
#include "record/writer.h"

enum {
    RING_SMALLEST_SHARED_BYTES = 8 << 20, /* below that a file in the archive is the better ring */
    WAITING_MAX_BYTES = 16 << 20,         /* of events that wait for room in the ring */
    DELAY_BUCKETS = 48,
};
#define LOOK_AT_CLOCK_NS  100000000ll
#define DELAY_NOTE_NS     1000000000ll
#define STALL_NOTE_NS     1000000ll /* shorter ones are not worth a row */
#define FULL_DISK_WAIT_NS 2000000000ll

/* An event on its way into the ring. */
struct waiting {
    struct waiting *next;
    int64_t recv_ns;
    uint32_t connection, bytes;
    int kind, tell;
    uint8_t data[];
};

struct queue {
    struct waiting *first, *last;
    uint64_t bytes;
};

/*
 * Invariants:
 * 1. Every record gets into the ring in the order in which the receive thread made it: while events
 *    wait (or a gap note is owed) no frame passes them.
 * 2. discarding: frames are lost from the first discard to the moment when the disk takes bytes
 *    again; the note about them is the first record after it.
 * 3. The ring's file exists from open until all of it is durable; LOCK names it.
 * 4. Fields of the receive thread are touched by open and close only while it is not running.
 */
struct tape_store {
    struct tape_archive *archive;
    struct tape_ring *ring;
    char ring_path[TAPE_ARCHIVE_PATH_BYTES];
    int ring_fd; /* holds the flock that tells a copy's recovery that the ring is in use */
    struct tape_resume resume;
    struct tape_sync *sync;
    struct tape_writer *writer;
    struct tape_packer *packer;     /* NULL: nothing is packed */
    struct tape_prune_live *pruner; /* NULL: nothing is pruned */
    pthread_mutex_t files_lock;
    uint32_t session;
    uint64_t first_ordinal, record_limit;
    int64_t trial_ns, opened_ns;
    /* receive thread */
    int has_more; /* than attempts to connect */
    struct queue waiting;
    uint32_t next_connection;
    int stalled, discarding, too_long;
    int64_t stall_began_ns;
    uint64_t gap_frames, gap_bytes;
    int64_t gap_from_ns, gap_to_ns;
    struct tape_clock clock;
    int64_t clock_due_ns, delay_due_ns, delay_from_ns;
    uint64_t delays[DELAY_BUCKETS];
    int delays_counted;
    /* any thread */
    pthread_mutex_t notes_lock;
    struct queue notes;
    atomic_int notes_there;
    atomic_ullong told; /* the ordinal of the last note that was to be told; UINT64_MAX: none yet */
    atomic_ullong records, frames, frame_bytes, discarded_frames, discarded_bytes;
    atomic_llong last_frame_ns;
};

/* ---- queues ---- */

/* 0 when memory is short. */
static int queue_add(struct queue *queue, int kind, uint32_t connection, int64_t recv_ns,
                     const void *body, size_t bytes, int tell)
{
    struct waiting *event = malloc(sizeof *event + bytes);
    if (event == NULL)
        return 0;
    *event = (struct waiting){.recv_ns = recv_ns,
                              .connection = connection,
                              .bytes = (uint32_t)bytes,
                              .kind = kind,
                              .tell = tell};
    if (bytes > 0)
        memcpy(event->data, body, bytes);
    if (queue->last)
        queue->last->next = event;
    else
        queue->first = event;
    queue->last = event;
    queue->bytes += sizeof *event + bytes;
    return 1;
}

static void queue_drop_first(struct queue *queue)
{
    struct waiting *event = queue->first;
    queue->first = event->next;
    if (queue->first == NULL)
        queue->last = NULL;
    queue->bytes -= sizeof *event + event->bytes;
    free(event);
}

static void queue_clear(struct queue *queue)
{
    while (queue->first)
        queue_drop_first(queue);
}

/* ---- into the ring (receive thread) ---- */

/* One thread writes these: no locked instruction is needed. */
static void add(atomic_ullong *sum, uint64_t more)
{
    uint64_t now = atomic_load_explicit(sum, memory_order_relaxed);
    atomic_store_explicit(sum, now + more, memory_order_relaxed);
}

/* What a run writes that never had a connection. */
static int is_of_attempts(int kind)
{
    return kind == TAPE_RECORD_SESSION_START || kind == TAPE_RECORD_SESSION_END ||
           kind == TAPE_RECORD_CLOCK || kind == TAPE_RECORD_CONNECTION_CLOSE;
}

static void count_record(struct tape_store *store, const struct tape_record *record)
{
    add(&store->records, 1);
    if (record->kind != TAPE_RECORD_FRAME_IN) {
        store->has_more |= !is_of_attempts(record->kind);
        return;
    }
    add(&store->frames, 1);
    add(&store->frame_bytes, record->bytes);
    atomic_store_explicit(&store->last_frame_ns, record->recv_ns, memory_order_relaxed);
}

static int put_told(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                    const void *body, size_t bytes, int tell)
{
    uint8_t *room = tape_ring_reserve(store->ring, bytes);
    if (room == NULL)
        return 0;
    if (bytes > 0)
        memcpy(room, body, bytes);
    struct tape_record record = {.recv_ns = recv_ns,
                                 .connection = connection,
                                 .bytes = (uint32_t)bytes,
                                 .kind = (uint8_t)kind};
    uint64_t ordinal = tape_ring_publish(store->ring, &record);
    if (tell)
        atomic_store(&store->told, ordinal);
    count_record(store, &record);
    return 1;
}

static int put_event(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                     const void *body, size_t bytes)
{
    return put_told(store, kind, connection, recv_ns, body, bytes, 0);
}

enum { GAP_NOTE_BYTES = 400 };

static size_t write_gap_note(char body[GAP_NOTE_BYTES], const char *cause, int64_t from_ns,
                             int64_t to_ns, uint64_t frames, uint64_t lost_bytes)
{
    struct tape_event_writer event;
    tape_event_begin(&event, body, GAP_NOTE_BYTES);
    tape_event_put_text(&event, "kind", "gap");
    tape_event_put_text(&event, "cause", cause);
    tape_event_put_wide(&event, "from_ns", from_ns);
    tape_event_put_wide(&event, "to_ns", to_ns);
    tape_event_put_wide(&event, "frames", (int64_t)frames);
    tape_event_put_wide(&event, "bytes", (int64_t)lost_bytes);
    return tape_event_end(&event);
}

static int put_gap_note(struct tape_store *store)
{
    char body[GAP_NOTE_BYTES];
    size_t bytes = write_gap_note(body, "disk full", store->gap_from_ns, store->gap_to_ns,
                                  store->gap_frames, store->gap_bytes);
    if (!put_event(store, TAPE_RECORD_NOTE, 0, store->gap_to_ns, body, bytes))
        return 0;
    store->gap_frames = 0;
    store->gap_bytes = 0;
    store->discarding = 0;
    return 1;
}

/* What must come before the next frame. 1 when nothing is left of it. */
static int put_waiting(struct tape_store *store)
{
    if (store->discarding && (tape_writer_disk_full(store->writer) || !put_gap_note(store)))
        return 0;
    while (store->waiting.first) {
        const struct waiting *event = store->waiting.first;
        if (!put_told(store, event->kind, event->connection, event->recv_ns, event->data,
                      event->bytes, event->tell))
            return 0;
        queue_drop_first(&store->waiting);
    }
    return 1;
}

static void note_stall(struct tape_store *store)
{
    char body[300];
    struct tape_event_writer event;
    int64_t now = tape_clock_realtime();
    store->stalled = 0;
    if (now - store->stall_began_ns < STALL_NOTE_NS)
        return;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_text(&event, "kind", "stall");
    tape_event_put_text(&event, "cause", "the ring was full: reading waited for the disk");
    tape_event_put_wide(&event, "from_ns", store->stall_began_ns);
    tape_event_put_wide(&event, "to_ns", now);
    size_t bytes = tape_event_end(&event);
    queue_add(&store->waiting, TAPE_RECORD_NOTE, 0, now, body, bytes, 0);
}

uint8_t *tape_store_reserve(struct tape_store *store, size_t bytes)
{
    uint8_t *room = NULL;
    store->too_long = bytes > store->record_limit;
    if (store->too_long)
        return NULL;
    if ((store->waiting.first == NULL && !store->discarding) || put_waiting(store))
        room = tape_ring_reserve(store->ring, bytes);
    if (room == NULL && !store->stalled) {
        store->stalled = 1;
        store->stall_began_ns = tape_clock_realtime();
    } else if (room != NULL && store->stalled) {
        note_stall(store);
    }
    return room;
}

uint64_t tape_store_publish(struct tape_store *store, const struct tape_record *record)
{
    count_record(store, record);
    return tape_ring_publish(store->ring, record);
}

uint64_t tape_store_record_limit(const struct tape_store *store)
{
    return store->record_limit;
}

int tape_store_has_room(const struct tape_store *store, size_t bytes)
{
    return store->waiting.first == NULL && !store->discarding &&
           tape_ring_free_bytes(store->ring) >= bytes + 4ull * TAPE_RING_SLOT_BYTES;
}

static void take_event(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                       const void *body, size_t bytes, int tell)
{
    if (bytes <= store->record_limit && put_waiting(store) &&
        put_told(store, kind, connection, recv_ns, body, bytes, tell))
        return;
    if (bytes > store->record_limit || store->waiting.bytes + bytes > WAITING_MAX_BYTES ||
        !queue_add(&store->waiting, kind, connection, recv_ns, body, bytes, tell))
        tape_store_discard(store, connection, recv_ns, bytes);
}

void tape_store_event(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                      const void *body, size_t bytes)
{
    take_event(store, kind, connection, recv_ns, body, bytes, 0);
}

uint32_t tape_store_new_connection(struct tape_store *store)
{
    return store->next_connection++;
}

/* ---- a full disk ---- */

int tape_store_must_discard(const struct tape_store *store)
{
    return store->too_long || store->discarding ||
           (store->stalled && tape_writer_disk_full(store->writer));
}

void tape_store_discard(struct tape_store *store, uint32_t connection, int64_t recv_ns,
                        uint64_t bytes)
{
    add(&store->discarded_frames, 1);
    add(&store->discarded_bytes, bytes);
    if (store->too_long) {
        char body[GAP_NOTE_BYTES];
        size_t used = write_gap_note(body, "a frame longer than half of the ring", recv_ns, recv_ns,
                                     1, bytes);
        store->too_long = 0;
        tape_store_event(store, TAPE_RECORD_NOTE, connection, recv_ns, body, used);
        return;
    }
    if (!store->discarding) {
        store->discarding = 1;
        store->gap_from_ns = recv_ns;
    }
    store->gap_to_ns = recv_ns;
    store->gap_frames++;
    store->gap_bytes += bytes;
}

/* ---- delays, clock, notes of other threads ---- */

void tape_store_delay(struct tape_store *store, int64_t delay_ns)
{
    int bucket = delay_ns < 1 ? 0 : 63 - __builtin_clzll((unsigned long long)delay_ns);
    store->delays[bucket < DELAY_BUCKETS ? bucket : DELAY_BUCKETS - 1]++;
    store->delays_counted = 1;
}

static void write_delays(struct tape_store *store, int64_t now_ns)
{
    char body[2048];
    struct tape_event_writer event;
    size_t used = DELAY_BUCKETS;
    while (used > 0 && store->delays[used - 1] == 0)
        used--;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_wide(&event, "from_ns", store->delay_from_ns);
    tape_event_put_wide(&event, "to_ns", now_ns);
    tape_event_put_numbers(&event, "counts", store->delays, used);
    size_t bytes = tape_event_end(&event);
    tape_store_event(store, TAPE_RECORD_DELAY, 0, now_ns, body, bytes);
    memset(store->delays, 0, sizeof store->delays);
    store->delays_counted = 0;
}

static void take_notes(struct tape_store *store)
{
    if (!atomic_load_explicit(&store->notes_there, memory_order_acquire))
        return;
    pthread_mutex_lock(&store->notes_lock);
    struct queue notes = store->notes;
    memset(&store->notes, 0, sizeof store->notes);
    atomic_store_explicit(&store->notes_there, 0, memory_order_relaxed);
    pthread_mutex_unlock(&store->notes_lock);
    while (notes.first) {
        const struct waiting *event = notes.first;
        take_event(store, event->kind, event->connection, event->recv_ns, event->data, event->bytes,
                   event->tell);
        queue_drop_first(&notes);
    }
}

static void look_at_clock(struct tape_store *store)
{
    char body[TAPE_CLOCK_BODY_BYTES];
    int64_t realtime;
    size_t bytes = tape_clock_look(&store->clock, body, &realtime);
    if (bytes > 0)
        tape_store_event(store, TAPE_RECORD_CLOCK, 0, realtime, body, bytes);
}

void tape_store_tick(struct tape_store *store, int64_t now_ns)
{
    int64_t monotonic = tape_clock_monotonic();
    put_waiting(store);
    take_notes(store);
    if (monotonic >= store->clock_due_ns) {
        store->clock_due_ns = monotonic + LOOK_AT_CLOCK_NS;
        look_at_clock(store);
    }
    if (monotonic >= store->delay_due_ns) {
        if (store->delays_counted)
            write_delays(store, now_ns);
        store->delay_due_ns = monotonic + DELAY_NOTE_NS;
        store->delay_from_ns = now_ns;
    }
}

static void queue_note(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                       const void *body, size_t bytes, int tell)
{
    pthread_mutex_lock(&store->notes_lock);
    if (store->notes.bytes + bytes <= WAITING_MAX_BYTES)
        queue_add(&store->notes, kind, connection, recv_ns, body, bytes, tell);
    atomic_store_explicit(&store->notes_there, 1, memory_order_release);
    pthread_mutex_unlock(&store->notes_lock);
}

void tape_store_note_at(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                        const void *body, size_t bytes)
{
    queue_note(store, kind, connection, recv_ns, body, bytes, 0);
}

void tape_store_note_told(struct tape_store *store, const void *body, size_t bytes)
{
    atomic_store(&store->told, UINT64_MAX);
    queue_note(store, TAPE_RECORD_NOTE, 0, tape_clock_realtime(), body, bytes, 1);
}

int tape_store_told_is_durable(const struct tape_store *store)
{
    struct tape_sync_state state;
    uint64_t told = atomic_load(&store->told);
    tape_sync_read_state(store->sync, &state);
    return told != UINT64_MAX && state.durable_ordinal > told;
}

void tape_store_lock_files(struct tape_store *store)
{
    pthread_mutex_lock(&store->files_lock);
}

void tape_store_unlock_files(struct tape_store *store)
{
    pthread_mutex_unlock(&store->files_lock);
}

void tape_store_note(struct tape_store *store, int kind, uint32_t connection, const void *body,
                     size_t bytes)
{
    tape_store_note_at(store, kind, connection, tape_clock_realtime(), body, bytes);
}

/* ---- opening ---- */

static uint64_t round_up_to_power(uint64_t bytes)
{
    uint64_t power = TAPE_RING_MIN_BYTES;
    while (power < bytes && power < (uint64_t)TAPE_RING_MAX_BYTES)
        power <<= 1;
    return power;
}

/* LOCK names it to processes that run elsewhere: from the root on. */
static int name_own_ring(struct tape_store *store, struct tape_error *error)
{
    const char *path = tape_archive_path(store->archive);
    char *whole = realpath(path, NULL);
    size_t room = sizeof store->ring_path;
    int bytes = snprintf(store->ring_path, room, "%s/ring", whole ? whole : path);
    free(whole);
    if (bytes >= 0 && (size_t)bytes < room)
        return 0;
    return tape_error_set(error, TAPE_LIMIT,
                          "/dev/shm has no room for a ring, and the archive's path is too long for "
                          "one in there");
}

/* Shared memory, smaller by halves where it is short; then a file in the archive. */
static int make_ring(struct tape_store *store, uint64_t wanted, struct tape_error *error)
{
    const uint8_t *id = tape_archive_id(store->archive);
    uint64_t bytes = round_up_to_power(wanted ? wanted : TAPE_RING_DEFAULT_BYTES);
    uint64_t least = bytes < RING_SMALLEST_SHARED_BYTES ? bytes : RING_SMALLEST_SHARED_BYTES;
    char hex[33];
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", id[i]);
    for (int in_archive = 0; in_archive < 2 && store->ring == NULL; in_archive++) {
        if (in_archive && name_own_ring(store, error) < 0)
            return error->status;
        if (!in_archive)
            snprintf(store->ring_path, sizeof store->ring_path, "/dev/shm/tapedeck-%s-%ld", hex,
                     (long)getpid());
        for (uint64_t size = bytes; store->ring == NULL && size >= least; size >>= 1)
            store->ring = tape_ring_create(store->ring_path, size, id, store->first_ordinal, error);
    }
    if (store->ring == NULL)
        return error->status;
    struct tape_ring_state state;
    tape_ring_read_state(store->ring, &state);
    store->record_limit =
        state.bytes / 2 < TAPE_RECORD_MAX_BYTES ? state.bytes / 2 : TAPE_RECORD_MAX_BYTES;
    store->ring_fd = open(store->ring_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (store->ring_fd >= 0)
        flock(store->ring_fd, LOCK_EX | LOCK_NB);
    return tape_archive_set_owner(store->archive, store->ring_path, tape_clock_realtime(), error);
}

static void start_session(struct tape_store *store, const char *command)
{
    char body[8192], host[256] = "";
    struct tape_event_writer event;
    gethostname(host, sizeof host - 1);
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_number(&event, "session", store->session);
    tape_event_put_text(&event, "version", TAPE_VERSION);
    tape_event_put_number(&event, "pid", getpid());
    tape_event_put_text(&event, "host", host);
    tape_event_put_text(&event, "command", command ? command : "");
    tape_event_put_wide(&event, "recovered_records", (int64_t)store->resume.recovered.ring_records);
    tape_event_put_wide(&event, "torn_bytes", (int64_t)store->resume.recovered.torn_bytes);
    size_t bytes = tape_event_end(&event);
    int64_t now = tape_clock_realtime();
    put_event(store, TAPE_RECORD_SESSION_START, 0, now, body, bytes);
    tape_store_tick(store, now);
}

/* One that cannot be started is told; segments stay as they were recorded then. */
static void start_packer(struct tape_store *store, const struct tape_store_options *options)
{
    struct tape_error error = {0};
    struct tape_packer_options packer = {
        .path = tape_archive_path(store->archive),
        .has_index = store->resume.index != NULL,
        .store = store,
    };
    if (!options->pack)
        return;
    store->packer = tape_packer_start(&packer, &error);
    if (store->packer == NULL && options->say) {
        tape_error_wrap(&error, "nothing is packed");
        options->say(options->say_context, error.text);
    }
}

/* One that cannot be started is told; the archive grows then. */
static void start_pruner(struct tape_store *store, const struct tape_store_options *options)
{
    struct tape_error error = {0};
    struct tape_prune_live_options pruner = {
        .path = tape_archive_path(store->archive),
        .limits = options->prune,
        .has_index = store->resume.index != NULL,
        .sync_itself = options->sync == TAPE_STORE_SYNC_NONE,
        .store = store,
    };
    if (!tape_prune_any(&options->prune))
        return;
    store->pruner = tape_prune_live_start(&pruner, &error);
    if (store->pruner == NULL && options->say) {
        tape_error_wrap(&error, "nothing is pruned");
        options->say(options->say_context, error.text);
    }
}

static int start_threads(struct tape_store *store, const struct tape_store_options *options,
                         struct tape_error *error)
{
    start_packer(store, options);
    struct tape_sync_options sync = {
        .archive = store->archive,
        .ring = store->ring,
        .index = store->resume.index,
        .store = store,
        .packer = store->packer,
        .mode = options->sync,
        .interval_ns = options->sync_ns ? options->sync_ns : 100000000,
        .durable_ordinal = store->first_ordinal,
    };
    struct tape_writer_options writer = {
        .archive = store->archive,
        .ring = store->ring,
        .store = store,
        .summariser = store->resume.summariser,
        .sequence = store->resume.recovered.next_sequence,
        .seal_ns = options->seal_ns ? options->seal_ns : TAPE_SEGMENT_SEAL_NS,
        .seal_raw_bytes =
            options->seal_raw_bytes ? options->seal_raw_bytes : TAPE_SEGMENT_SEAL_RAW_BYTES,
        .watch = options->watch,
        .watch_context = options->watch_context,
        .from = {.position = 0, .ordinal = store->first_ordinal},
    };
    store->sync = tape_sync_start(&sync, error);
    if (store->sync == NULL)
        return error->status;
    writer.sync = store->sync;
    store->writer = tape_writer_start(&writer, error);
    if (store->writer)
        start_pruner(store, options);
    return store->writer ? 0 : error->status;
}

/* 1 when the archive came to nothing: it goes as it came. */
static int is_in_vain(const struct tape_store *store)
{
    return tape_archive_is_new(store->archive) && !store->has_more && !store->waiting.first &&
           !store->discarding && atomic_load(&store->frames) == 0 &&
           atomic_load(&store->discarded_frames) == 0 &&
           tape_clock_monotonic() - store->opened_ns < store->trial_ns;
}

/* Returns 1 when it has taken the archive back. */
static int free_store(struct tape_store *store, int takes_back)
{
    /* so that the last index transaction finds no other */
    tape_packer_finish(store->packer);
    tape_prune_live_finish(store->pruner);
    if (store->sync)
        tape_sync_finish(store->sync);
    tape_prune_live_free(store->pruner);
    tape_packer_free(store->packer);
    tape_resume_clear(&store->resume);
    tape_ring_free(store->ring);
    if (store->ring_fd >= 0)
        close(store->ring_fd);
    int taken_back = takes_back && tape_discard_run(store->archive, NULL) == 0;
    tape_archive_close(store->archive);
    queue_clear(&store->waiting);
    queue_clear(&store->notes);
    pthread_mutex_destroy(&store->notes_lock);
    pthread_mutex_destroy(&store->files_lock);
    free(store);
    return taken_back;
}

static int open_store(struct tape_store *store, const char *path,
                      const struct tape_store_options *options, struct tape_error *error)
{
    store->archive = tape_archive_create(path, error);
    if (store->archive == NULL)
        return error->status;
    int status = tape_resume_run(&store->resume, store->archive, 0, options->say,
                                 options->say_context, error);
    store->session = store->resume.next_session;
    store->next_connection = store->resume.next_connection;
    store->first_ordinal = store->resume.recovered.next_ordinal;
    if (status == 0)
        status = make_ring(store, options->ring_bytes, error);
    if (status == 0)
        status = start_threads(store, options, error);
    if (status == 0)
        start_session(store, options->command);
    else if (store->ring)
        unlink(store->ring_path);
    return status < 0 ? tape_error_wrap(error, "record into %.700s", path) : 0;
}

struct tape_store *tape_store_open(const char *path, const struct tape_store_options *options,
                                   struct tape_error *error)
{
    struct tape_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return NULL;
    }
    store->ring_fd = -1;
    store->trial_ns = options->trial_ns;
    store->opened_ns = tape_clock_monotonic();
    pthread_mutex_init(&store->notes_lock, NULL);
    pthread_mutex_init(&store->files_lock, NULL);
    atomic_init(&store->told, UINT64_MAX);
    if (open_store(store, path, options, error) == 0)
        return store;
    free_store(store, 0);
    return NULL;
}

/* ---- state ---- */

static void fill_state(const struct tape_store *store, const struct tape_writer_state *writer,
                       struct tape_store_state *state)
{
    struct tape_sync_state sync;
    memset(state, 0, sizeof *state);
    tape_sync_read_state(store->sync, &sync);
    state->records = atomic_load_explicit(&store->records, memory_order_relaxed);
    state->frames = atomic_load_explicit(&store->frames, memory_order_relaxed);
    state->frame_bytes = atomic_load_explicit(&store->frame_bytes, memory_order_relaxed);
    state->last_frame_ns = atomic_load_explicit(&store->last_frame_ns, memory_order_relaxed);
    state->discarded_frames = atomic_load_explicit(&store->discarded_frames, memory_order_relaxed);
    state->discarded_bytes = atomic_load_explicit(&store->discarded_bytes, memory_order_relaxed);
    state->written_records = writer->records;
    state->stored_bytes = writer->stored_bytes;
    state->durable_records = sync.durable_ordinal - store->first_ordinal;
    state->ring_bytes = tape_ring_data_bytes(store->ring);
    state->ring_used_bytes = state->ring_bytes - tape_ring_free_bytes(store->ring);
    state->recovered_records = store->resume.recovered.ring_records;
    state->torn_bytes = store->resume.recovered.torn_bytes;
    state->session = store->session;
    state->disk_full = writer->disk_full;
    state->failed = writer->failed;
    state->index_broken = sync.index_broken;
    memcpy(state->message, writer->message, sizeof state->message);
    struct tape_packer_state packer;
    tape_packer_read_state(store->packer, &packer);
    state->packed_segments = packer.segments;
    memcpy(state->pack_trouble, packer.trouble, sizeof state->pack_trouble);
    struct tape_prune_live_state pruner;
    tape_prune_live_read_state(store->pruner, &pruner);
    state->pruned_segments = pruner.segments;
    memcpy(state->pruned_last, pruner.last, sizeof state->pruned_last);
    memcpy(state->prune_trouble, pruner.trouble, sizeof state->prune_trouble);
}

void tape_store_read_state(const struct tape_store *store, struct tape_store_state *state)
{
    struct tape_writer_state writer;
    tape_writer_read_state(store->writer, &writer);
    fill_state(store, &writer, state);
}

/* ---- closing ---- */

/* A slow disk makes room in the end, and the ring is drained after this however long it takes; one
 * that takes nothing is given until give_up_ns. */
static int may_find_room(const struct tape_store *store, int64_t give_up_ns)
{
    struct tape_writer_state writer;
    tape_writer_read_state(store->writer, &writer);
    return (!writer.disk_full && !writer.failed) || tape_clock_monotonic() < give_up_ns;
}

/* Events that still find no room are told by their absence: the session then has no end. */
static void end_session(struct tape_store *store, const char *reason)
{
    char body[300];
    struct tape_event_writer event;
    int64_t give_up_ns = tape_clock_monotonic() + FULL_DISK_WAIT_NS;
    take_notes(store);
    while (!put_waiting(store) && may_find_room(store, give_up_ns))
        usleep(5000);
    if (store->delays_counted)
        write_delays(store, tape_clock_realtime());
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_number(&event, "session", store->session);
    tape_event_put_text(&event, "reason", reason);
    size_t bytes = tape_event_end(&event);
    while (!put_waiting(store) ||
           !put_event(store, TAPE_RECORD_SESSION_END, 0, tape_clock_realtime(), body, bytes)) {
        if (!may_find_room(store, give_up_ns))
            break;
        usleep(5000);
    }
}

int tape_store_end(struct tape_store *store, const char *reason, struct tape_store_state *state,
                   struct tape_error *error)
{
    struct tape_writer_state writer;
    tape_packer_stop(store->packer);
    tape_prune_live_stop(store->pruner);
    end_session(store, reason);
    tape_ring_close(store->ring);
    int status = tape_writer_finish(store->writer, &writer, error);
    if (state)
        fill_state(store, &writer, state);
    if (status == 0) {
        unlink(store->ring_path);
        tape_archive_set_owner(store->archive, "", tape_clock_realtime(), NULL);
    } else {
        tape_error_wrap(error, "what is not on the disk stays in %s for the next start",
                        store->ring_path);
    }
    int taken_back = free_store(store, status == 0 && is_in_vain(store));
    if (state)
        state->taken_back = taken_back;
    return status;
}

struct tape_archive *tape_store_archive(struct tape_store *store)
{
    return store->archive;
}
