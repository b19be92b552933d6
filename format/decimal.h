/* Digits to integers, many at a time. Private to the tick decoder. */
#ifndef TAPE_FORMAT_DECIMAL_H
#define TAPE_FORMAT_DECIMAL_H

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_decimal_read(text, end, decimal): as tape_tick_parse_decimal; bytes up to ${end} may be
 * loaded (never used), which is what makes it fast. end >= text.data + text.bytes. */
int tape_decimal_read(struct tape_slice text, const char *end, struct tape_decimal *decimal);

/* tape_decimal_integer(from, to, end): the plain integer from ${from} to ${to}, or TAPE_TICK_NONE.
 */
int64_t tape_decimal_integer(const char *from, const char *to, const char *end);

#ifdef __cplusplus
}
#endif
#endif
