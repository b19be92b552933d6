/* What tokens would cost: how writers of columns choose. Integers only, so that every machine
 * chooses alike. */
#ifndef TAPE_FORMAT_COLUMN_COST_H
#define TAPE_FORMAT_COLUMN_COST_H

#include <stdint.h>

#include "format/token.h"

/* A histogram of tokens and the sum of their extra bits. */
struct tape_column_histogram {
    uint32_t counts[TAPE_TOKENS];
    uint32_t total;
    uint64_t extra_bits;
};

/* tape_column_cost_bits(histogram, distinct): about how many bits the tokens and their extra bits
 * take when coded by their frequencies; the table not included. *distinct: tokens that occur. */
uint64_t tape_column_cost_bits(const struct tape_column_histogram *histogram, uint32_t *distinct);

enum { TAPE_COLUMN_COST_TOKEN_BITS = 6 }; /* that a token's count in a table takes, about */

#endif
