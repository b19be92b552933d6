/* From residuals to what is coded: scaled, unsigned, each with its token. For writers of columns.
 */
#ifndef TAPE_FORMAT_COLUMN_TOKENS_H
#define TAPE_FORMAT_COLUMN_TOKENS_H

#include <stdint.h>

/* tape_column_tokens_factor(residuals, count, is_signed): the greatest common divisor, at least 1;
 * *is_signed: whether one is negative. */
uint64_t tape_column_tokens_factor(const int64_t *residuals, uint32_t count, int *is_signed);

/* tape_column_tokens_find(residuals, count, factor, is_signed, tokens, is_right): divides by the
 * factor, makes zigzag numbers if signed, in place, and finds the tokens. Returns all residuals
 * or-ed. factor and is_signed may be guesses: *is_right = 0 when they are not what
 * tape_column_tokens_factor() would find or a multiple divides by (but 1, which is always right);
 * the residuals are lost then. */
uint64_t tape_column_tokens_find(int64_t *residuals, uint32_t count, uint64_t factor, int is_signed,
                                 uint8_t *tokens, int *is_right);

#endif
