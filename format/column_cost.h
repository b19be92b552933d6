/* What tokens would cost: how writers of columns choose. Integers only, so that every machine
 * chooses alike. */
#ifndef TAPE_FORMAT_COLUMN_COST_H
#define TAPE_FORMAT_COLUMN_COST_H

#include <stdint.h>

#include "format/token.h"

/* How often each token occurs. All but counts follow from counts by tape_column_histogram_sum();
 * counts of tokens that cannot occur need not be set. */
struct tape_column_histogram {
    uint32_t counts[TAPE_TOKENS];
    uint32_t total;
    uint32_t distinct; /* tokens that occur */
    uint32_t tokens;   /* the largest that occurs + 1 */
    uint64_t extra_bits;
};

/* tape_column_histogram_sum(histogram, tokens): only the first ${tokens} may occur. */
void tape_column_histogram_sum(struct tape_column_histogram *histogram, uint32_t tokens);

/* tape_column_cost_bits(histogram): about how many bits the tokens and their extra bits take when
 * coded by their frequencies; the table not included. */
uint64_t tape_column_cost_bits(const struct tape_column_histogram *histogram);

enum { TAPE_COLUMN_COST_TOKEN_BITS = 6 }; /* that a token's count in a table takes, about */

#endif
