/* When connections are cut by the time: which, and the next time. */
#ifndef TAPE_REPLAY_FAULTS_CUTS_H
#define TAPE_REPLAY_FAULTS_CUTS_H

#include <stdint.h>

#include "replay/faults_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The cuts of one rule in one run. Zero-initialise; opaque but for next_ns. Invariants: seen is in
 * order, each connection of an archive once; next_ns is INT64_MAX when no cut comes any more; a cut
 * is going on while given > 0. */
struct tape_faults_cuts {
    int64_t next_ns;
    int64_t base_ns, every_ns, to_ns;
    int64_t *at; /* sorted */
    int at_count;
    uint64_t *seen; /* connections that gave a message since the cut before */
    size_t seen_count, seen_room, given;
};

enum { TAPE_FAULTS_CUTS_SEEN_MAX = 4096 }; /* more are not cut */

/* tape_faults_cuts_begin(cuts, rule, start_ns, from_ns, to_ns): its times are those in [from, to).
 * 0, or TAPE_FAILED without memory. */
int tape_faults_cuts_begin(struct tape_faults_cuts *cuts, const struct tape_faults_rule *rule,
                           int64_t start_ns, int64_t from_ns, int64_t to_ns);
void tape_faults_cuts_end(struct tape_faults_cuts *cuts);

/* tape_faults_cuts_restart(cuts, now_ns): forgets the connections; the next time is the first after
 * ${now_ns}, before which there was nothing to cut. */
void tape_faults_cuts_restart(struct tape_faults_cuts *cuts, int64_t now_ns);

/* tape_faults_cuts_see(cuts, archive, connection): it gave a message. 0, or TAPE_FAILED. */
int tape_faults_cuts_see(struct tape_faults_cuts *cuts, uint16_t archive, uint32_t connection);

/* tape_faults_cuts_take(cuts, until_ns, archive, connection): for a next_ns of at most ${until_ns}:
 * 1 with a connection that is cut then, or 0 when there is none and next_ns is a later one. */
int tape_faults_cuts_take(struct tape_faults_cuts *cuts, int64_t until_ns, uint16_t *archive,
                          uint32_t *connection);

#ifdef __cplusplus
}
#endif
#endif
