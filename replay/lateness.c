#include "replay/lateness.h"

/* Values below 16 have a bucket each; above, every power of two is cut into 16. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 16)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    return (power - 3) * 16 + (unsigned)((ns >> (power - 4)) & 15);
}

/* The largest value that falls into the bucket. */
static int64_t bucket_end(unsigned bucket)
{
    if (bucket < 16)
        return bucket;
    unsigned power = bucket / 16 + 3;
    uint64_t start = (16ull + bucket % 16) << (power - 4);
    return (int64_t)(start + ((1ull << (power - 4)) - 1));
}

void tape_lateness_add(struct tape_lateness *lateness, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    lateness->count++;
    lateness->buckets[bucket_of((uint64_t)ns)]++;
    if (ns > lateness->max_ns)
        lateness->max_ns = ns;
}

int64_t tape_lateness_quantile(const struct tape_lateness *lateness, double share)
{
    uint64_t below = 0, wanted = (uint64_t)(share * (double)lateness->count);
    if (lateness->count == 0)
        return 0;
    if (wanted >= lateness->count)
        wanted = lateness->count - 1;
    for (unsigned i = 0; i < TAPE_LATENESS_BUCKETS; i++) {
        below += lateness->buckets[i];
        if (below > wanted)
            return bucket_end(i) < lateness->max_ns ? bucket_end(i) : lateness->max_ns;
    }
    return lateness->max_ns;
}
