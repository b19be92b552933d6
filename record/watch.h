/* Watches that every stream asked for is answered, delivers, and goes on delivering. */
#ifndef TAPE_RECORD_WATCH_H
#define TAPE_RECORD_WATCH_H

#include <stdint.h>

#include "format/feed.h"
#include "format/venue.h"
#include "record/store.h"

#define TAPE_WATCH_DEADLINE_NS 10000000000ll /* where neither the user nor the venue says one */
#define TAPE_WATCH_SILENCE_NS                                                                      \
    60000000000ll /* a stream that spoke is never called silent before … */
enum { TAPE_WATCH_SILENCE_FACTOR = 100 }; /* … and not before so many of its mean intervals */

struct tape_watch; /* opaque */

/* tape_watch_new(venue, deadline_ns): venue may be NULL; deadline 0: the venue's. NULL when memory
 * is short. The venue must outlive it. */
struct tape_watch *tape_watch_new(const struct tape_venue *venue, int64_t deadline_ns);
void tape_watch_free(struct tape_watch *watch);

/* tape_watch_message(watch, message): a tape_store_watch (writer thread): learns from subscription
 * records what was asked for, from answers what was promised, from data what came. */
void tape_watch_message(void *watch, const struct tape_message *message);

/*
 * tape_watch_tick(watch, store, monotonic_ns, say, context): main thread, about each 200 ms: writes
 * the SUBSCRIPTION_ACKED records of answers that came, and calls say() with one line for each
 * refusal and for each stream that missed its deadline or fell silent (beside a note of kind
 * not_delivered or silence). Each is told once per subscription.
 */
void tape_watch_tick(struct tape_watch *watch, struct tape_store *store, int64_t monotonic_ns,
                     void (*say)(void *context, const char *words), void *context);

struct tape_watch_state {
    uint32_t asked, acknowledged, live, refused; /* subscriptions on connections that are open */
};
void tape_watch_read_state(struct tape_watch *watch, struct tape_watch_state *state);

#endif
