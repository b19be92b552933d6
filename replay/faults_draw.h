/* Chance that is none: numbers that depend on a seed and on what they are drawn for. Documented in
 * FAULTS of tape-replay.1, so that anybody can tell what becomes of a message. */
#ifndef TAPE_REPLAY_FAULTS_DRAW_H
#define TAPE_REPLAY_FAULTS_DRAW_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a number is drawn for. */
struct tape_faults_lot {
    uint64_t ordinal;
    uint16_t archive, rule, copy; /* copy 0 is the message itself */
    uint16_t lane;                /* 0: whether; 1: how much */
};

/* tape_faults_draw(seed, lot): any of 2^64, the same on every machine. */
uint64_t tape_faults_draw(uint64_t seed, const struct tape_faults_lot *lot);

/* tape_faults_hits(drawn, probability): 1 in that share of all draws: at 0 in none, at 1 in all. */
int tape_faults_hits(uint64_t drawn, double probability);

/* tape_faults_below(drawn, limit): one of 0 to ${limit} - 1; 0 for a limit of 0. */
uint64_t tape_faults_below(uint64_t drawn, uint64_t limit);

#ifdef __cplusplus
}
#endif
#endif
