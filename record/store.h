/* The archive as the recorder holds it: lock, recovery, ring, writer thread, sync thread, index. */
#ifndef TAPE_RECORD_STORE_H
#define TAPE_RECORD_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/feed.h"
#include "format/record.h"
#include "record/prune.h"

enum tape_store_sync {
    TAPE_STORE_SYNC_INTERVAL, /* fdatasync every sync_ns (the default, 100 ms) */
    TAPE_STORE_SYNC_BLOCK,    /* after every block */
    TAPE_STORE_SYNC_NONE,     /* never: a power cut may lose what the kernel had not written */
};

/* Called on the writer thread for every message, in order; must be quick and must not block. */
typedef void tape_store_watch(void *context, const struct tape_message *message);

struct tape_store_options {
    uint64_t ring_bytes;            /* 0: TAPE_RING_DEFAULT_BYTES */
    int sync;                       /* enum tape_store_sync */
    int64_t sync_ns;                /* 0: 100 ms */
    int64_t seal_ns;                /* a segment's greatest age, 0: one hour */
    int64_t seal_raw_bytes;         /* a segment's greatest raw size, 0: 256 MiB */
    int pack;                       /* closed segments are packed meanwhile */
    struct tape_prune_limits prune; /* the oldest segments are deleted meanwhile, if there is any */
    int64_t trial_ns;    /* an archive that this store made is taken back at the end when no
                            connection came about (events of attempts are all that is in it) and it
                            was open for less than that; 0: never */
    const char *command; /* for the session's record */
    tape_store_watch *watch;
    void *watch_context;
    void (*say)(void *context, const char *words); /* what recovery found and did; may be NULL */
    void *say_context;
};

struct tape_store; /* opaque */

/* tape_store_open(path, options, error): creates or opens the archive, takes the lock, recovers
 * what a dead recorder left (ring records included), brings the index up to date, writes
 * SESSION_START and starts the threads. NULL on failure; nothing is half made. */
struct tape_store *tape_store_open(const char *path, const struct tape_store_options *options,
                                   struct tape_error *error);

/* tape_store_end(store, reason, state, error): after the receive thread has stopped: writes
 * SESSION_END with ${reason} (FORMAT.md, "Events"), drains the ring, seals the segment, commits the
 * index, unlinks the ring, takes the archive back where it is in vain (trial_ns), gives the lock
 * back, frees. state (may be NULL) is filled with how it
 * ended. 0 or a status (all that could be kept is kept in either case). */
struct tape_store_state;
int tape_store_end(struct tape_store *store, const char *reason, struct tape_store_state *state,
                   struct tape_error *error);

/* --- receive thread only --- */

/* As tape_ring_reserve and tape_ring_publish; a NULL means the ring is full: stop reading, go on
 * with timers, and try again. */
uint8_t *tape_store_reserve(struct tape_store *store, size_t bytes);
uint64_t tape_store_publish(struct tape_store *store, const struct tape_record *record);

/* tape_store_record_limit(store): the longest record that the ring can ever take. Asked for more,
 * reserve gives NULL and must_discard 1: the frame is told by a gap note of its own. */
uint64_t tape_store_record_limit(const struct tape_store *store);

/* tape_store_has_room(store, bytes): 1 when reserve would give room for ${bytes} now. For a source
 * that can wait (an import): asking is no stall. */
int tape_store_has_room(const struct tape_store *store, size_t bytes);

/* tape_store_event(store, kind, connection, recv_ns, body, bytes): an event record. Events are
 * not dropped: while the ring is full they wait in a queue that tape_store_tick empties. Only what
 * this has no room for (16 MiB, or memory) is counted as lost, like a frame. */
void tape_store_event(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                      const void *body, size_t bytes);

/* tape_store_new_connection(store): the next connection number of the archive. */
uint32_t tape_store_new_connection(struct tape_store *store);

/* tape_store_delay(store, nanoseconds): counts one kernel-to-user delay. */
void tape_store_delay(struct tape_store *store, int64_t delay_ns);

/* tape_store_tick(store, now_ns): to be called at least every 100 ms: moves other threads' notes
 * into the ring, writes the delay histogram each second and a clock sample each minute or at a
 * step, and stall notes. */
void tape_store_tick(struct tape_store *store, int64_t now_ns);

/* tape_store_must_discard(store): asked after reserve gave NULL: 1 while the disk is full and the
 * ring as well: the receive thread then goes on reading and answering pings, and hands each frame
 * it cannot keep to tape_store_discard, which counts it for the gap note that is written when space
 * returns. */
int tape_store_must_discard(const struct tape_store *store);
void tape_store_discard(struct tape_store *store, uint32_t connection, int64_t recv_ns,
                        uint64_t bytes);

/* --- any thread --- */

/* tape_store_note(store, kind, connection, body, bytes): queues an event record for the receive
 * thread's next tick. tape_store_note_at() also says when it was, for what began earlier. */
void tape_store_note(struct tape_store *store, int kind, uint32_t connection, const void *body,
                     size_t bytes);
void tape_store_note_at(struct tape_store *store, int kind, uint32_t connection, int64_t recv_ns,
                        const void *body, size_t bytes);

/* tape_store_note_told(store, body, bytes): as tape_store_note, and tape_store_told_is_durable() is
 * 1 once it is on stable storage (as far as ${sync} makes it so). For one thread, one note at a
 * time. */
void tape_store_note_told(struct tape_store *store, const void *body, size_t bytes);
int tape_store_told_is_durable(const struct tape_store *store);

/* tape_store_lock_files(store), tape_store_unlock_files(store): around renaming and deleting files
 * of closed segments, which the packer and the pruner both do. */
void tape_store_lock_files(struct tape_store *store);
void tape_store_unlock_files(struct tape_store *store);

struct tape_store_state {
    uint64_t records, frames, frame_bytes;  /* published to the ring in this session */
    uint64_t written_records, stored_bytes; /* in blocks written in this session */
    uint64_t durable_records;               /* known to be on stable storage */
    uint64_t discarded_frames, discarded_bytes;
    uint64_t ring_used_bytes, ring_bytes;
    uint64_t recovered_records, torn_bytes; /* by the recovery at open */
    int64_t last_frame_ns;
    uint32_t session;
    int taken_back;                      /* at the end: the archive, see trial_ns */
    int disk_full, index_broken, failed; /* failed: the writer cannot go on; message tells */
    char message[256];
    uint32_t packed_segments;
    char pack_trouble[256]; /* "": none */
    uint64_t pruned_segments;
    char pruned_last[256], prune_trouble[256]; /* of the last one deleted; "": none */
};
void tape_store_read_state(const struct tape_store *store, struct tape_store_state *state);

struct tape_archive *tape_store_archive(struct tape_store *store);

#endif
