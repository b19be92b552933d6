/* Numbers of at most eight digits and the literals after them, put with one shuffle each (SSSE3).
 * Where the processor has none, steps are put one by one as they are. Private to rebuilding packed
 * text. */
#ifndef TAPE_FORMAT_PACKED_SHUFFLE_H
#define TAPE_FORMAT_PACKED_SHUFFLE_H

#include "format/packed_steps.h"

/*
 * The source of a shuffle is eight digits, then suffix: a point and up to seven bytes of literal.
 * Numbers with n zeros before them, of eight digits, take orders[n], and lengths[n] is how long
 * what is put then is. A literal that does not fit there is put after it.
 */
struct tape_packed_shuffle {
    uint8_t suffix[16] __attribute__((aligned(16))); /* of the digits: '0' */
    uint8_t orders[8 * 16];                          /* of 16 bytes each */
    uint64_t lengths[8];
    uint8_t literal[16];
    uint64_t literal_length;
    struct tape_packed_rule rule;
    uint8_t scaled, apart; /* apart: literal is put after the shuffle */
};

/* tape_packed_shuffle_supported(): 1 when the processor can. */
int tape_packed_shuffle_supported(void);

/* tape_packed_shuffle_of(step, shuffle): 1, or 0 when the step puts no such number or the literal
 * after it has more than 16 bytes. */
int tape_packed_shuffle_of(const struct tape_packed_step *step,
                           struct tape_packed_shuffle *shuffle);

/* tape_packed_put_run(step, index, at): the steps from step on, step->run of them. Returns the end.
 */
uint8_t *tape_packed_put_run(const struct tape_packed_step *step, uint32_t index, uint8_t *at);

enum { TAPE_PACKED_PAIR_MAX_BYTES = 64 };

/* tape_packed_put_pairs(list, from, count, at): elements of a list with pairs = 1; there is room
 * for the longest. Returns the end. */
uint8_t *tape_packed_put_pairs(const struct tape_packed_sequence *list, uint32_t from,
                               uint64_t count, uint8_t *at);

#endif
