/* Messages held back: copied, ordered by when they leave, bounded. */
#ifndef TAPE_REPLAY_FAULTS_HELD_H
#define TAPE_REPLAY_FAULTS_HELD_H

#include <stdint.h>

#include "format/feed.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_faults_held; /* opaque; one thread */

/* One message held back. Its slices are its own; freed with tape_faults_held_free_one(). */
struct tape_faults_held_one {
    struct tape_message message;
    int64_t at_ns; /* when it leaves */
};

struct tape_faults_held *tape_faults_held_new(void);
void tape_faults_held_free(struct tape_faults_held *held);

/* tape_faults_held_clear(held): forgets all of it. */
void tape_faults_held_clear(struct tape_faults_held *held);

/*
 * tape_faults_held_keep(held, message, waits, delay_ns): copies it. It leaves once ${waits} later
 * messages of its stream have passed (at the stamp of the last of them; with 0 at its own), and
 * ${delay_ns} after that. Without a delay it leaves next: before anything that is given later. 1;
 * 0 when as much is held as may be; TAPE_FAILED without memory.
 */
int tape_faults_held_keep(struct tape_faults_held *held, const struct tape_message *message,
                          uint32_t waits, int64_t delay_ns);

/* tape_faults_held_pass(held, message): a message passed, whatever became of it: one that came
 * later for all that are held. */
void tape_faults_held_pass(struct tape_faults_held *held, const struct tape_message *message);

/* tape_faults_held_end(held, last_ns): nothing passes any more: what waits for messages has them as
 * of ${last_ns}. */
void tape_faults_held_end(struct tape_faults_held *held, int64_t last_ns);

/* tape_faults_held_next(held): one that leaves next, or NULL. tape_faults_held_first(held): the one
 * of those with a delay that leaves first (by at_ns, then as recorded), or NULL; it stays.
 * tape_faults_held_take(held): the same, taken out. */
struct tape_faults_held_one *tape_faults_held_next(struct tape_faults_held *held);
const struct tape_faults_held_one *tape_faults_held_first(const struct tape_faults_held *held);
struct tape_faults_held_one *tape_faults_held_take(struct tape_faults_held *held);
void tape_faults_held_free_one(struct tape_faults_held_one *one);

#ifdef __cplusplus
}
#endif
#endif
