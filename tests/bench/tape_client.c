/*
 * Our receive thread alone: the real connection code over a store that puts every frame into a real
 * ring and at once calls it durable. tape_client PORT CA MESSAGES [latency] [busy] [connections=N]
 * [stamps=FILE] (FILE holds the sender's clock after each send: --after)
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/ring.h"
#include "format/ws.h"
#include "record/receive.h"
#include "tests/bench/report.h"

struct tape_store {
    struct tape_ring *ring;
    struct bench_report report;
    uint8_t *room; /* of the record being put */
    const int64_t *after;
    uint64_t inside, stamped, shared;
    uint32_t connections;
    int done;
};

uint8_t *tape_store_reserve(struct tape_store *store, size_t bytes)
{
    store->room = tape_ring_reserve(store->ring, bytes);
    return store->room;
}

/* Is the kernel's stamp inside the sender's own send call? */
static void look_at_stamp(struct tape_store *store, const struct tape_record *record, int64_t sent)
{
    if (!(record->flags & TAPE_RECORD_FLAG_KERNEL_STAMP))
        return;
    store->stamped++;
    store->shared += (record->flags & TAPE_RECORD_FLAG_SHARED_STAMP) != 0;
    /* Not yet told: the receiver ran before the sender's clock call did, so the stamp lies inside.
     */
    int64_t after = __atomic_load_n(&store->after[store->report.messages], __ATOMIC_ACQUIRE);
    store->inside += record->recv_ns >= sent && (after == 0 || record->recv_ns <= after);
}

static void finish(struct tape_store *store)
{
    if (store->after)
        printf("{\"stamps\":%llu,\"inside_send\":%llu,\"shared\":%llu}\n",
               (unsigned long long)store->stamped, (unsigned long long)store->inside,
               (unsigned long long)store->shared);
    bench_report_end(&store->report);
    __atomic_store_n(&store->done, 1, __ATOMIC_RELEASE);
}

uint64_t tape_store_publish(struct tape_store *store, const struct tape_record *record)
{
    uint64_t ordinal = tape_ring_publish(store->ring, record);
    if (record->kind == TAPE_RECORD_FRAME_IN && (store->room[0] & 0x0f) == TAPE_WS_TEXT &&
        !store->done) {
        size_t head = store->room[1] < 126 ? 2 : store->room[1] == 126 ? 4 : 10;
        const char *payload = (const char *)store->room + head;
        if (store->after)
            look_at_stamp(store, record, bench_sent_ns(payload, record->bytes - head));
        if (bench_report_message(&store->report, payload, record->bytes - head))
            finish(store);
    }
    if ((ordinal & 1023) == 1023) {
        struct tape_ring_state state;
        tape_ring_read_state(store->ring, &state);
        tape_ring_set_durable(store->ring, state.head_position, state.head_ordinal);
    }
    return ordinal;
}

void tape_store_event(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                      const void *body, size_t bytes)
{
    (void)store, (void)connection, (void)recv_ns;
    if (kind == TAPE_RECORD_CONNECTION_CLOSE && !store->done)
        fprintf(stderr, "%.*s\n", (int)bytes, (const char *)body);
}

uint64_t tape_store_record_limit(const struct tape_store *store)
{
    (void)store;
    return TAPE_RECORD_MAX_BYTES;
}

int tape_store_has_room(const struct tape_store *store, size_t bytes)
{
    return tape_ring_free_bytes(store->ring) > bytes + TAPE_RING_SLOT_BYTES;
}

uint32_t tape_store_new_connection(struct tape_store *store)
{
    return ++store->connections;
}

void tape_store_delay(struct tape_store *store, int64_t delay_ns)
{
    (void)store, (void)delay_ns;
}

void tape_store_tick(struct tape_store *store, int64_t now_ns)
{
    (void)store, (void)now_ns;
}

int tape_store_must_discard(const struct tape_store *store)
{
    (void)store;
    return 0;
}

void tape_store_discard(struct tape_store *store, uint32_t connection, int64_t recv_ns,
                        uint64_t bytes)
{
    (void)store, (void)connection, (void)recv_ns, (void)bytes;
}

void tape_store_note(struct tape_store *store, int kind, uint32_t connection, const void *body,
                     size_t bytes)
{
    (void)store, (void)kind, (void)connection, (void)body, (void)bytes;
}

void tape_store_read_state(const struct tape_store *store, struct tape_store_state *state)
{
    (void)store;
    memset(state, 0, sizeof *state);
}

static const char *argument(int argc, char **argv, const char *name)
{
    for (int i = 4; i < argc; i++)
        if (!strncmp(argv[i], name, strlen(name)))
            return argv[i] + strlen(name);
    return NULL;
}

static void map_stamps(struct tape_store *store, const char *path)
{
    int fd = open(path, O_RDONLY);
    size_t bytes = store->report.wanted * sizeof(int64_t);
    void *map =
        fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        exit(1);
    store->after = map;
}

static struct tape_ring *make_ring(void)
{
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/tapedeck-bench-%d", (int)getpid());
    struct tape_error error;
    struct tape_ring *ring = tape_ring_create(path, 64 << 20, (const uint8_t[16]){1}, 0, &error);
    unlink(path);
    if (!ring)
        fprintf(stderr, "%s\n", error.text);
    return ring;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    static struct tape_store store;
    struct tape_error error;
    int busy = argument(argc, argv, "busy") != NULL;
    bench_report_begin(&store.report, busy ? "Tapedeck --busy-poll" : "Tapedeck",
                       strtoull(argv[3], NULL, 10), argument(argc, argv, "latency") != NULL);
    if (argument(argc, argv, "stamps="))
        map_stamps(&store, argument(argc, argv, "stamps="));
    const char *connections = argument(argc, argv, "connections=");
    char url[64];
    snprintf(url, sizeof url, "wss://localhost:%s/stream", argv[1]);
    struct tape_receive_options options = {
        .url = url,
        .ca_file = argv[2],
        .connections = connections ? (int)strtol(connections, NULL, 10) : 1,
        .busy_poll = busy,
    };
    struct tape_receive *receive = NULL;
    store.ring = make_ring();
    if (!store.ring || !(receive = tape_receive_plan(&options, &error)) ||
        tape_receive_start(receive, &store, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    while (!__atomic_load_n(&store.done, __ATOMIC_ACQUIRE)) {
        usleep(20000);
        if (tape_receive_done(receive, &error)) {
            fprintf(stderr, "%s\n", error.text);
            return 1;
        }
    }
    tape_receive_stop(receive);
    return 0;
}
