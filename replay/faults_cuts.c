#include "replay/faults_cuts.h"

#include <stdlib.h>
#include <string.h>

static int compare_times(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

int tape_faults_cuts_begin(struct tape_faults_cuts *cuts, const struct tape_faults_rule *rule,
                           int64_t start_ns, int64_t from_ns, int64_t to_ns)
{
    *cuts = (struct tape_faults_cuts){
        .next_ns = INT64_MAX,
        .base_ns = rule->has_from ? from_ns : start_ns,
        .every_ns = rule->every_ns,
        .to_ns = to_ns,
    };
    if (rule->at_count == 0)
        return 0;
    cuts->at = calloc((size_t)rule->at_count, sizeof *cuts->at);
    if (!cuts->at)
        return TAPE_FAILED;
    for (int i = 0; i < rule->at_count; i++) {
        int64_t ns = tape_timespec_resolve(&rule->at[i], start_ns, start_ns);
        if (ns >= from_ns && ns < to_ns)
            cuts->at[cuts->at_count++] = ns;
    }
    qsort(cuts->at, (size_t)cuts->at_count, sizeof *cuts->at, compare_times);
    return 0;
}

void tape_faults_cuts_end(struct tape_faults_cuts *cuts)
{
    free(cuts->at);
    free(cuts->seen);
}

/* The first time after after_ns; INT64_MAX when there is none. */
static int64_t time_after(const struct tape_faults_cuts *cuts, int64_t after_ns)
{
    for (int i = 0; i < cuts->at_count; i++)
        if (cuts->at[i] > after_ns)
            return cuts->at[i];
    if (cuts->every_ns == 0)
        return INT64_MAX;
    __int128 since = (__int128)after_ns - cuts->base_ns;
    __int128 periods = since < 0 ? 1 : since / cuts->every_ns + 1;
    __int128 next = cuts->base_ns + periods * cuts->every_ns;
    return next < cuts->to_ns ? (int64_t)next : INT64_MAX;
}

void tape_faults_cuts_restart(struct tape_faults_cuts *cuts, int64_t now_ns)
{
    cuts->seen_count = cuts->given = 0;
    cuts->next_ns = time_after(cuts, now_ns);
}

int tape_faults_cuts_see(struct tape_faults_cuts *cuts, uint16_t archive, uint32_t connection)
{
    uint64_t key = (uint64_t)archive << 32 | connection;
    size_t low = 0, high = cuts->seen_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cuts->seen[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    if (cuts->next_ns == INT64_MAX || cuts->seen_count == TAPE_FAULTS_CUTS_SEEN_MAX ||
        (low < cuts->seen_count && cuts->seen[low] == key))
        return 0;
    if (cuts->seen_count == cuts->seen_room) {
        size_t room = cuts->seen_room ? cuts->seen_room * 2 : 16;
        uint64_t *seen = realloc(cuts->seen, room * sizeof *seen);
        if (!seen)
            return TAPE_FAILED;
        cuts->seen = seen;
        cuts->seen_room = room;
    }
    memmove(cuts->seen + low + 1, cuts->seen + low, (cuts->seen_count - low) * sizeof *cuts->seen);
    cuts->seen[low] = key;
    cuts->seen_count++;
    return 0;
}

int tape_faults_cuts_take(struct tape_faults_cuts *cuts, int64_t until_ns, uint16_t *archive,
                          uint32_t *connection)
{
    if (cuts->given < cuts->seen_count) {
        uint64_t key = cuts->seen[cuts->given++];
        *archive = (uint16_t)(key >> 32);
        *connection = (uint32_t)key;
        return 1;
    }
    /* Nobody gives a message before until_ns any more: the times up to it have nothing to cut. */
    cuts->seen_count = cuts->given = 0;
    cuts->next_ns = time_after(cuts, until_ns);
    return 0;
}
