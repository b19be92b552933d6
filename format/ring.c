#include "format/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/bytes.h"
#include "format/crc32c.h"

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
/* The sanitizer does not know fences. What they order, followers' reads, races by design; what the
 * threads of one recorder share is ordered by head and durable alone. */
#pragma GCC diagnostic ignored "-Wtsan"
#endif

static const char magic[8] = {'T', 'A', 'P', 'E', 'R', 'I', 'N', 'G'};

enum { VERSION = 1, CRC_FROM = 12, CRC_TO = 64, ALIGNMENT = 8 };

/* The file's first page, as FORMAT.md has it. What follows `created_ns` is shared: only touched
 * through __atomic_* from here on. */
struct header {
    char magic[8];
    uint32_t crc32c;
    uint32_t version;
    uint8_t archive_id[16];
    uint64_t data_bytes;
    uint64_t first_ordinal;
    int64_t pid;
    int64_t created_ns;
    uint64_t head;    /* receive thread */
    uint64_t reserve; /* receive thread */
    uint32_t closed;  /* receive thread */
    uint32_t zero;
    uint64_t apart[5]; /* durable has another writer, and gets a cache line of its own */
    uint64_t durable;  /* sync thread */
};
_Static_assert(offsetof(struct header, head) == 64 && offsetof(struct header, durable) == 128,
               "FORMAT.md, The ring");

/* Four words, so that a follower that reads one while it is overwritten reads some value. */
struct slot {
    uint64_t ordinal;
    uint64_t recv_ns;
    uint64_t bytes_and_connection; /* bytes low, connection high */
    uint64_t flags_and_kind;       /* flags 0-15, kind 16-23, zero above */
};
_Static_assert(sizeof(struct slot) == TAPE_RING_SLOT_BYTES, "FORMAT.md, The ring");

/*
 * Invariants:
 * - map is header page, data, data again: data[position & mask] is contiguous for data_bytes;
 * - durable <= head <= reserve <= durable + data_bytes, and the slot at head is within reserve: its
 *   ordinal is that of the next record;
 * - head, reserve, next_ordinal and durable_seen (some past value of durable) belong to the receive
 *   thread; in an attached ring they mean nothing.
 */
struct tape_ring {
    struct header *header;
    uint8_t *data;
    uint64_t mask, data_bytes, record_max_bytes;
    uint64_t head, reserve, next_ordinal, durable_seen;
};

static struct slot *slot_at(const struct tape_ring *ring, uint64_t position)
{
    return (struct slot *)(void *)(ring->data + (position & ring->mask));
}

static uint64_t slot_bytes(uint64_t record_bytes)
{
    return TAPE_RING_SLOT_BYTES + ((record_bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1));
}

/* --- making and mapping --- */

/* Maps header and data, and the data once more behind itself. NULL with errno. */
static struct tape_ring *map_ring(int fd, uint64_t data_bytes, int protection, int flags)
{
    struct tape_ring *ring = calloc(1, sizeof *ring);
    size_t once = TAPE_RING_HEADER_BYTES + data_bytes, whole = once + data_bytes;
    if (ring == NULL)
        return NULL;
    uint8_t *map = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        free(ring);
        return NULL;
    }
    if (mmap(map, once, protection, MAP_SHARED | MAP_FIXED | flags, fd, 0) == MAP_FAILED ||
        mmap(map + once, data_bytes, protection, MAP_SHARED | MAP_FIXED | flags, fd,
             TAPE_RING_HEADER_BYTES) == MAP_FAILED) {
        int cause = errno;
        munmap(map, whole);
        free(ring);
        errno = cause;
        return NULL;
    }
    ring->header = (struct header *)(void *)map;
    ring->data = map + TAPE_RING_HEADER_BYTES;
    ring->data_bytes = data_bytes;
    ring->mask = data_bytes - 1;
    ring->record_max_bytes =
        data_bytes / 2 < TAPE_RECORD_MAX_BYTES ? data_bytes / 2 : TAPE_RECORD_MAX_BYTES;
    return ring;
}

void tape_ring_free(struct tape_ring *ring)
{
    if (ring == NULL)
        return;
    munmap(ring->header, TAPE_RING_HEADER_BYTES + 2 * ring->data_bytes);
    free(ring);
}

static int is_size(uint64_t bytes)
{
    return bytes >= TAPE_RING_MIN_BYTES && bytes <= TAPE_RING_MAX_BYTES &&
           (bytes & (bytes - 1)) == 0;
}

static uint32_t header_crc(const struct header *header)
{
    return tape_crc32c_update(0, (const uint8_t *)header + CRC_FROM, CRC_TO - CRC_FROM);
}

static void fill_header(struct tape_ring *ring, const uint8_t archive_id[16],
                        uint64_t first_ordinal)
{
    struct header *header = ring->header;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(header->magic, magic, sizeof magic);
    header->version = VERSION;
    memcpy(header->archive_id, archive_id, sizeof header->archive_id);
    header->data_bytes = ring->data_bytes;
    header->first_ordinal = first_ordinal;
    header->pid = getpid();
    header->created_ns = now.tv_sec * 1000000000ll + now.tv_nsec;
    header->reserve = TAPE_RING_SLOT_BYTES;
    slot_at(ring, 0)->ordinal = first_ordinal;
    /* Last: until the checksum is right nobody attaches. */
    __atomic_store_n(&header->crc32c, header_crc(header), __ATOMIC_RELEASE);
    ring->next_ordinal = first_ordinal;
}

struct tape_ring *tape_ring_create(const char *path, uint64_t bytes, const uint8_t archive_id[16],
                                   uint64_t first_ordinal, struct tape_error *error)
{
    if (!is_size(bytes) || sysconf(_SC_PAGESIZE) > TAPE_RING_HEADER_BYTES) {
        tape_error_set(error, TAPE_USAGE, "ring %s: %llu bytes are no power of two in [%d, %lld]",
                       path, (unsigned long long)bytes, TAPE_RING_MIN_BYTES, TAPE_RING_MAX_BYTES);
        return NULL;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0) {
        tape_error_errno(error, errno, "ring %s: create", path);
        return NULL;
    }
    struct tape_ring *ring = NULL;
    int failed = posix_fallocate(fd, 0, (off_t)(TAPE_RING_HEADER_BYTES + bytes));
    if (failed != 0)
        tape_error_errno(error, failed, "ring %s: allocate %llu bytes", path,
                         (unsigned long long)bytes);
    else if ((ring = map_ring(fd, bytes, PROT_READ | PROT_WRITE, MAP_POPULATE)) == NULL)
        tape_error_errno(error, errno, "ring %s: map", path);
    else
        fill_header(ring, archive_id, first_ordinal);
    close(fd);
    if (ring == NULL)
        unlink(path);
    return ring;
}

/* What is wrong with a ring file's header, or NULL. */
static const char *find_fault(const struct header *header, const uint8_t archive_id[16],
                              uint64_t file_bytes)
{
    if (memcmp(header->magic, magic, sizeof magic) != 0)
        return "it is no ring";
    if (header->crc32c != header_crc(header))
        return "header checksum mismatch";
    if (header->version != VERSION)
        return "its version is not known";
    if (memcmp(header->archive_id, archive_id, sizeof header->archive_id) != 0)
        return "it belongs to another archive";
    if (!is_size(header->data_bytes) || file_bytes != TAPE_RING_HEADER_BYTES + header->data_bytes)
        return "its length is not what its header says";
    return NULL;
}

struct tape_ring *tape_ring_attach(const char *path, const uint8_t archive_id[16],
                                   struct tape_error *error)
{
    struct stat stat;
    struct header header;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ENOENT)
            tape_error_set(error, TAPE_MISSING, "ring %s: there is none", path);
        else if (errno == ELOOP)
            tape_error_set(error, TAPE_FOREIGN, "ring %s: it is a symbolic link", path);
        else
            tape_error_errno(error, errno, "ring %s: open", path);
        return NULL;
    }
    struct tape_ring *ring = NULL;
    const char *fault = NULL;
    if (fstat(fd, &stat) < 0)
        tape_error_errno(error, errno, "ring %s: stat", path);
    else if (!S_ISREG(stat.st_mode) || stat.st_size < TAPE_RING_HEADER_BYTES ||
             pread(fd, &header, sizeof header, 0) != sizeof header)
        fault = "it is no ring";
    else if ((fault = find_fault(&header, archive_id, (uint64_t)stat.st_size)) == NULL &&
             (ring = map_ring(fd, header.data_bytes, PROT_READ, 0)) == NULL)
        tape_error_errno(error, errno, "ring %s: map", path);
    if (fault != NULL)
        tape_error_set(error, TAPE_FOREIGN, "ring %s: %s", path, fault);
    close(fd);
    return ring;
}

/* --- receive thread --- */

uint8_t *tape_ring_reserve(struct tape_ring *ring, size_t bytes)
{
    /* With the slot after it, whose ordinal publish() writes. */
    uint64_t end = ring->head + slot_bytes(bytes) + TAPE_RING_SLOT_BYTES;
    if (bytes > ring->record_max_bytes)
        return NULL;
    if (end - ring->durable_seen > ring->data_bytes) {
        ring->durable_seen = __atomic_load_n(&ring->header->durable, __ATOMIC_ACQUIRE);
        if (end - ring->durable_seen > ring->data_bytes)
            return NULL;
    }
    /* Followers see this before any byte changes: tape_ring_intact(). Never back: what was reserved
     * before and not published may have been written to. */
    if (end > ring->reserve) {
        ring->reserve = end;
        __atomic_store_n(&ring->header->reserve, end, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
    }
    return ring->data + (ring->head & ring->mask) + TAPE_RING_SLOT_BYTES;
}

uint64_t tape_ring_publish(struct tape_ring *ring, const struct tape_record *record)
{
    struct slot *slot = slot_at(ring, ring->head);
    uint64_t after = ring->head + slot_bytes(record->bytes);
    uint64_t ordinal = ring->next_ordinal++;
    __atomic_store_n(&slot->recv_ns, (uint64_t)record->recv_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->bytes_and_connection,
                     record->bytes | (uint64_t)record->connection << 32, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->flags_and_kind, record->flags | (uint64_t)record->kind << 16,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&slot_at(ring, after)->ordinal, ring->next_ordinal, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->header->head, after, __ATOMIC_RELEASE);
    ring->head = after;
    return ordinal;
}

uint64_t tape_ring_free_bytes(const struct tape_ring *ring)
{
    uint64_t durable = __atomic_load_n(&ring->header->durable, __ATOMIC_ACQUIRE);
    uint64_t head = __atomic_load_n(&ring->header->head, __ATOMIC_ACQUIRE);
    uint64_t used = head - durable + TAPE_RING_SLOT_BYTES;
    return used < ring->data_bytes ? ring->data_bytes - used : 0;
}

uint64_t tape_ring_data_bytes(const struct tape_ring *ring)
{
    return ring->data_bytes;
}

void tape_ring_close(struct tape_ring *ring)
{
    __atomic_store_n(&ring->header->closed, 1, __ATOMIC_RELEASE);
}

/* --- sync thread --- */

void tape_ring_set_durable(struct tape_ring *ring, uint64_t position, uint64_t ordinal)
{
    uint64_t durable = __atomic_load_n(&ring->header->durable, __ATOMIC_RELAXED);
    uint64_t head = __atomic_load_n(&ring->header->head, __ATOMIC_ACQUIRE);
    /* The tail only grows, up to head, and to a slot: anything else would free what is needed. */
    if (position <= durable || position > head || position % ALIGNMENT != 0 ||
        __atomic_load_n(&slot_at(ring, position)->ordinal, __ATOMIC_RELAXED) != ordinal)
        return;
    __atomic_store_n(&ring->header->durable, position, __ATOMIC_RELEASE);
}

/* --- readers --- */

/* A position and the ordinal of its slot that belong together. load is durable or head: the slot
 * there cannot be overwritten while the word stays what it is. */
static void read_pair(const struct tape_ring *ring, const uint64_t *word, uint64_t *position,
                      uint64_t *ordinal)
{
    uint64_t again = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    do {
        *position = again;
        *ordinal = __atomic_load_n(&slot_at(ring, *position & ~(uint64_t)(ALIGNMENT - 1))->ordinal,
                                   __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        again = __atomic_load_n(word, __ATOMIC_RELAXED);
    } while (again != *position);
}

int tape_ring_intact(const struct tape_ring *ring, const struct tape_ring_cursor *cursor)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t reserve = __atomic_load_n(&ring->header->reserve, __ATOMIC_RELAXED);
    return reserve <= cursor->position + ring->data_bytes;
}

/* 1 when the slot's words can be those of record ${ordinal}, which ends at or before head. */
static int take_slot(const struct tape_ring *ring, uint64_t position, uint64_t head,
                     uint64_t ordinal, struct tape_record *record)
{
    const struct slot *slot = slot_at(ring, position);
    uint64_t stated = __atomic_load_n(&slot->ordinal, __ATOMIC_RELAXED);
    uint64_t recv_ns = __atomic_load_n(&slot->recv_ns, __ATOMIC_RELAXED);
    uint64_t sizes = __atomic_load_n(&slot->bytes_and_connection, __ATOMIC_RELAXED);
    uint64_t kinds = __atomic_load_n(&slot->flags_and_kind, __ATOMIC_RELAXED);
    uint32_t bytes = (uint32_t)sizes;
    uint8_t kind = (uint8_t)(kinds >> 16);
    if (stated != ordinal || kinds >> 24 != 0 || kind == 0 || bytes > ring->record_max_bytes ||
        slot_bytes(bytes) > head - position)
        return 0;
    record->ordinal = ordinal;
    record->recv_ns = (int64_t)recv_ns;
    record->connection = (uint32_t)(sizes >> 32);
    record->bytes = bytes;
    record->flags = (uint16_t)kinds;
    record->kind = kind;
    record->data = (const uint8_t *)slot + TAPE_RING_SLOT_BYTES;
    return 1;
}

int tape_ring_next(struct tape_ring *ring, struct tape_ring_cursor *cursor,
                   struct tape_record *record)
{
    uint64_t head = __atomic_load_n(&ring->header->head, __ATOMIC_ACQUIRE);
    if (cursor->position == head)
        return 0;
    if (head - cursor->position > ring->data_bytes) /* overwritten, or a head that cannot be */
        return tape_ring_intact(ring, cursor) ? TAPE_CORRUPT : TAPE_OVERRUN;
    if (cursor->position % ALIGNMENT != 0 || head % ALIGNMENT != 0)
        return TAPE_CORRUPT;
    if (!take_slot(ring, cursor->position, head, cursor->ordinal, record))
        return tape_ring_intact(ring, cursor) ? TAPE_CORRUPT : TAPE_OVERRUN;
    cursor->position += slot_bytes(record->bytes);
    cursor->ordinal++;
    return 1;
}

int tape_ring_seek(struct tape_ring *ring, uint64_t ordinal, struct tape_ring_cursor *cursor)
{
    struct tape_record record;
    read_pair(ring, &ring->header->durable, &cursor->position, &cursor->ordinal);
    if (ordinal < cursor->ordinal)
        return TAPE_OVERRUN;
    while (cursor->ordinal < ordinal) {
        int status = tape_ring_next(ring, cursor, &record);
        if (status != 1)
            return status;
    }
    return tape_ring_intact(ring, cursor) ? 1 : TAPE_OVERRUN;
}

void tape_ring_read_state(const struct tape_ring *ring, struct tape_ring_state *state)
{
    memset(state, 0, sizeof *state);
    state->bytes = ring->data_bytes;
    state->pid = ring->header->pid;
    state->closed = __atomic_load_n(&ring->header->closed, __ATOMIC_ACQUIRE) == 1;
    read_pair(ring, &ring->header->durable, &state->durable_position, &state->durable_ordinal);
    read_pair(ring, &ring->header->head, &state->head_position, &state->head_ordinal);
}
