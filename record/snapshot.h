/* Snapshots of order books, fetched beside the feed: a diff stream alone does not tell the book. */
#ifndef TAPE_RECORD_SNAPSHOT_H
#define TAPE_RECORD_SNAPSHOT_H

#include "format/error.h"
#include "format/feed.h"
#include "format/venue.h"
#include "record/store.h"

struct tape_snapshot; /* opaque */

/* tape_snapshot_new(venue, base, ca_file, error): base is "https://host[:port]" to ask instead of
 * the venue's own host (its path and query stay; "http://" for loopback), or NULL. The venue must
 * outlive it. NULL with TAPE_USAGE or TAPE_FAILED. */
struct tape_snapshot *tape_snapshot_new(const struct tape_venue *venue, const char *base,
                                        const char *ca_file, struct tape_error *error);

/* tape_snapshot_start(snapshot, store, error): starts the thread that asks and writes SNAPSHOT
 * records through tape_store_note, and a note of kind snapshot where it gave up. */
int tape_snapshot_start(struct tape_snapshot *snapshot, struct tape_store *store,
                        struct tape_error *error);

/* tape_snapshot_message(snapshot, message): a tape_store_watch (writer thread): learns which
 * streams were asked for and acknowledged; each with a snapshot is due one second after that, so
 * that its first updates are older than the snapshot. Never waits. */
void tape_snapshot_message(void *snapshot, const struct tape_message *message);

/* tape_snapshot_stop(snapshot): ends the thread within about 100 ms; before the store is closed. */
void tape_snapshot_stop(struct tape_snapshot *snapshot);
void tape_snapshot_free(struct tape_snapshot *snapshot);

#endif
