/* Which predictor suits a column best, tried on samples of it. */
#ifndef TAPE_FORMAT_COLUMN_CHOOSE_H
#define TAPE_FORMAT_COLUMN_CHOOSE_H

#include <stdint.h>

#include "format/column.h"
#include "format/column_predict.h"

enum { TAPE_COLUMN_SAMPLE_MAX = 8192 }; /* residuals looked at */

/* tape_column_choose_predictor(before, before_count, column, keys, scratch, scratch_count, wide,
 * prediction, argument): sets *prediction (but its base) and *argument (column number or exponent)
 * to what costs least. scratch has room for scratch_count residuals, the size of the sample, 1 to
 * TAPE_COLUMN_SAMPLE_MAX; wide = 1 looks at more columns. */
void tape_column_choose_predictor(const struct tape_column *before, uint32_t before_count,
                                  const struct tape_column *column, struct tape_column_keys *keys,
                                  int64_t *scratch, uint32_t scratch_count, int wide,
                                  struct tape_column_prediction *prediction, uint32_t *argument);

/* tape_column_find_base(prediction, column): that makes the first residual 0. */
int64_t tape_column_find_base(const struct tape_column_prediction *prediction,
                              const struct tape_column *column, struct tape_column_keys *keys);

#endif
