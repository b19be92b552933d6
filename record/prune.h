/* Which segments an archive gives up: the oldest, one after the other, while a limit asks for it.
 */
#ifndef TAPE_RECORD_PRUNE_H
#define TAPE_RECORD_PRUNE_H

#include <stddef.h>
#include <stdint.h>

/* TAPE_PRUNE_RULE(name, word): what asked for a deletion. The words stand in notes. */
#define TAPE_PRUNE_RULE_TABLE(X)                                                                   \
    X(NONE, "none")                                                                                \
    X(AGE, "age")                                                                                  \
    X(BYTES, "bytes")                                                                              \
    X(FREE, "free")

enum tape_prune_rule {
#define TAPE_PRUNE_RULE_ENUM(name, word) TAPE_PRUNE_RULE_##name,
    TAPE_PRUNE_RULE_TABLE(TAPE_PRUNE_RULE_ENUM)
#undef TAPE_PRUNE_RULE_ENUM
};

/* 0: no such limit. */
struct tape_prune_limits {
    int64_t age_ns;      /* segments whose newest record is older go */
    uint64_t bytes;      /* the files of all segments together */
    uint64_t free_bytes; /* of the file system */
};

/* What the limits are held against. A segment's newest record counts, whatever its file says:
 * newest_ns is that of the newest segment that holds records. */
struct tape_prune_place {
    int64_t now_ns, newest_ns;
    uint64_t bytes, free_bytes;
};

struct tape_prune_segment {
    uint64_t records, bytes, disk_bytes;
    int64_t max_recv_ns;
};

enum { TAPE_PRUNE_WORDS_BYTES = 96 };
#define TAPE_PRUNE_CLOCK_SLACK_NS 60000000000ll /* a record may be newer than now by so much */

/* tape_prune_any(limits): 1 when there is a limit at all. */
int tape_prune_any(const struct tape_prune_limits *limits);

/* tape_prune_clock_is_behind(place): 1 when the clock is earlier than the newest record: one of the
 * two is wrong, and no age can be told. */
int tape_prune_clock_is_behind(const struct tape_prune_place *place);

/*
 * tape_prune_choose(limits, place, segments, count, rules): how many of the oldest ${count}
 * segments go, in order; rules[i] says which limit asked for the ith. Those that must stay whatever
 * the limits say are not among them. A stamp in the future is not old. A segment without records
 * goes with the next that goes.
 */
size_t tape_prune_choose(const struct tape_prune_limits *limits,
                         const struct tape_prune_place *place,
                         const struct tape_prune_segment *segments, size_t count, uint8_t *rules);

/*
 * A clock that jumps far ahead must not make everything old. Zero-initialise. Invariant: offset_ns
 * is realtime - monotonic as far as it is trusted; jumped_ns is the monotonic time at which it was
 * found to be ahead of that, 0 when it is not.
 */
struct tape_prune_clock {
    int begun;
    int64_t offset_ns, jumped_ns;
};
#define TAPE_PRUNE_JUMP_NS  3600000000000ll  /* what the clock may gain at once */
#define TAPE_PRUNE_TRUST_NS 86400000000000ll /* after so long a jump is believed */

/* tape_prune_clock_now(clock, realtime_ns, monotonic_ns): the time that ages are counted from. */
int64_t tape_prune_clock_now(struct tape_prune_clock *clock, int64_t realtime_ns,
                             int64_t monotonic_ns);

const char *tape_prune_rule_word(int rule);

/* tape_prune_limit_words(limits, rule, words): the limit as an option: "--keep-age=30d". */
const char *tape_prune_limit_words(const struct tape_prune_limits *limits, int rule,
                                   char words[TAPE_PRUNE_WORDS_BYTES]);

#endif
