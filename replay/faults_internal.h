/* The rules of a file of faults, as they were read. Private to the faults. */
#ifndef TAPE_REPLAY_FAULTS_INTERNAL_H
#define TAPE_REPLAY_FAULTS_INTERNAL_H

#include <stdint.h>

#include "replay/faults.h"
#include "replay/timespec.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_FAULTS_BY_MAX = 64,        /* messages that a reordered one waits for */
    TAPE_FAULTS_CUT_TIMES_MAX = 256 /* in one rule */
};
#define TAPE_FAULTS_DELAY_MAX_NS (3600ll * 1000000000)
#define TAPE_FAULTS_EVERY_MIN_NS 1000000ll

/* TAPE_FAULTS_KIND(name, word) */
#define TAPE_FAULTS_KIND_TABLE(X)                                                                  \
    X(DELAY, "delay")                                                                              \
    X(DROP, "drop")                                                                                \
    X(DUPLICATE, "duplicate")                                                                      \
    X(REORDER, "reorder")                                                                          \
    X(CUT, "cut")

enum tape_faults_kind {
#define TAPE_FAULTS_KIND_ENUM(name, word) TAPE_FAULTS_RULE_##name,
    TAPE_FAULTS_KIND_TABLE(TAPE_FAULTS_KIND_ENUM)
#undef TAPE_FAULTS_KIND_ENUM
};

/* Invariants: 0 <= min_ns <= max_ns <= TAPE_FAULTS_DELAY_MAX_NS; times count from the epoch or the
 * start, never from the end; of a CUT one of probability, every_ns and at_count is not 0. */
struct tape_faults_rule {
    int kind;      /* enum tape_faults_kind */
    char *streams; /* globs; NULL: all */
    int has_from, has_to;
    struct tape_timespec from, to;
    double probability;
    int64_t min_ns, max_ns; /* DELAY; of a DUPLICATE both are how much later it leaves */
    uint32_t by;            /* REORDER: 1 to TAPE_FAULTS_BY_MAX */
    int64_t every_ns;       /* CUT; 0: not */
    struct tape_timespec *at;
    int at_count;
    uint16_t close_code;
};

struct tape_faults {
    int recorded; /* disconnects as they were recorded */
    uint64_t seed;
    struct tape_faults_rule *rules;
    int rules_count;
    int64_t start_ns;
    int has_start;
};

#ifdef __cplusplus
}
#endif
#endif
