/* How late messages left, counted in buckets of 6 % width: quantiles without keeping every one. */
#ifndef TAPE_REPLAY_LATENESS_H
#define TAPE_REPLAY_LATENESS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_LATENESS_BUCKETS = 64 * 16 };

/* Zero-initialise. Invariants: count is the sum of buckets; max_ns is the largest value added. */
struct tape_lateness {
    uint64_t count;
    int64_t max_ns;
    uint64_t buckets[TAPE_LATENESS_BUCKETS];
};

/* tape_lateness_add(lateness, ns): a negative value counts as 0. */
void tape_lateness_add(struct tape_lateness *lateness, int64_t ns);

/* tape_lateness_quantile(lateness, share): the value below which ${share} (0 to 1) of them lie,
 * never above max_ns and at most 6 % too high; 0 when there are none. */
int64_t tape_lateness_quantile(const struct tape_lateness *lateness, double share);

#ifdef __cplusplus
}
#endif
#endif
