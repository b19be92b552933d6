/*
 * The ring: a shared-memory file with one writer and many readers. It hands records to the writer
 * thread, survives kill -9, and feeds followers (FORMAT.md, "The ring").
 */
#ifndef TAPE_FORMAT_RING_H
#define TAPE_FORMAT_RING_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_RING_DEFAULT_BYTES = 64 << 20,
    TAPE_RING_MIN_BYTES = 1 << 20,
    TAPE_RING_HEADER_BYTES = 4096, /* before the data in the file */
    TAPE_RING_SLOT_BYTES = 32,     /* before each record's bytes; slots are 8-byte aligned */
};
#define TAPE_RING_MAX_BYTES (1ll << 32)

/* Opaque. Positions are byte counts since the ring was made; they only grow. */
struct tape_ring;

/*
 * tape_ring_create(path, bytes, archive_id, first_ordinal, error): makes (O_EXCL, 0640),
 * pre-populates and maps a ring of ${bytes} of data (a power of two in [MIN, MAX]) whose first
 * record will have ${first_ordinal}. Space is allocated up front: no SIGBUS later. NULL on failure
 * (TAPE_FULL: no room; nothing is left behind).
 */
struct tape_ring *tape_ring_create(const char *path, uint64_t bytes, const uint8_t archive_id[16],
                                   uint64_t first_ordinal, struct tape_error *error);

/* tape_ring_attach(path, archive_id, error): maps an existing ring read-only, live or left by a
 * dead recorder. TAPE_FOREIGN when it is none, or another archive's; TAPE_MISSING when there is no
 * file. */
struct tape_ring *tape_ring_attach(const char *path, const uint8_t archive_id[16],
                                   struct tape_error *error);

/* tape_ring_free(ring): unmaps; the file stays. The caller unlinks it when all of it is durable.
 * Who may write to the file may also cut it, and then reading it ends the process: readers trust
 * their own user's recorder in this (files are 0640), in nothing else. */
void tape_ring_free(struct tape_ring *ring);

/* --- receive thread --- */

/* tape_ring_reserve(ring, bytes): room for a record of ${bytes} (<= TAPE_RECORD_MAX_BYTES and a
 * half of the ring), or NULL while the ring is full. The room is contiguous. Nothing is visible
 * until publish. */
uint8_t *tape_ring_reserve(struct tape_ring *ring, size_t bytes);

/* tape_ring_publish(ring, record): the record whose bytes the caller put at the last reserve()
 * (record->data is not read; record->bytes may be smaller than reserved). Sets and returns its
 * ordinal. After this returns, kill -9 cannot lose it. */
uint64_t tape_ring_publish(struct tape_ring *ring, const struct tape_record *record);

/* tape_ring_free_bytes(ring): room left, slot headers included. tape_ring_data_bytes(ring): all of
 * it. Any thread: they touch no slot. */
uint64_t tape_ring_free_bytes(const struct tape_ring *ring);
uint64_t tape_ring_data_bytes(const struct tape_ring *ring);

/* tape_ring_close(ring): no record follows; followers end at the last one. */
void tape_ring_close(struct tape_ring *ring);

/* --- writer and sync threads --- */

/* tape_ring_set_durable(ring, position, ordinal): all records before ${position} (whose next is
 * ${ordinal}) are on stable storage; their room may be used again. A pair that is not one of a
 * record or of the head, or lies before the tail, is ignored. */
void tape_ring_set_durable(struct tape_ring *ring, uint64_t position, uint64_t ordinal);

/* --- readers: the writer thread, recovery, followers --- */

struct tape_ring_cursor {
    uint64_t position;
    uint64_t ordinal; /* of the record at position */
};

/* tape_ring_seek(ring, ordinal, cursor): 1 with a cursor at ${ordinal}, which is in the ring or is
 * the next one to come; 0 when it lies after that; TAPE_OVERRUN when it is older than the durable
 * tail. Only the bytes from the durable tail on are promised to stay. */
int tape_ring_seek(struct tape_ring *ring, uint64_t ordinal, struct tape_ring_cursor *cursor);

/* tape_ring_next(ring, cursor, record): 1 with the record (record->data points into the ring) and
 * the cursor after it; 0 when none is there yet; TAPE_OVERRUN when its place was overwritten;
 * TAPE_CORRUPT when the slot cannot be (a damaged file). The writer thread and recovery may use the
 * data in place. A follower must copy it and then ask tape_ring_intact() with the cursor it had
 * before. Whatever the file says, data and bytes lie within the ring. */
int tape_ring_next(struct tape_ring *ring, struct tape_ring_cursor *cursor,
                   struct tape_record *record);

/* tape_ring_intact(ring, cursor): 1 when the bytes at ${cursor} had not been overwritten up to now.
 */
int tape_ring_intact(const struct tape_ring *ring, const struct tape_ring_cursor *cursor);

struct tape_ring_state {
    uint64_t bytes;
    uint64_t head_position, head_ordinal;       /* the next record to come */
    uint64_t durable_position, durable_ordinal; /* the first record not known durable */
    int64_t pid;
    int closed;
};

void tape_ring_read_state(const struct tape_ring *ring, struct tape_ring_state *state);

#ifdef __cplusplus
}
#endif
#endif
