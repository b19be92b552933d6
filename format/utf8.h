/* UTF-8 (RFC 3629) checked as the bytes arrive, over any split. */
#ifndef TAPE_FORMAT_UTF8_H
#define TAPE_FORMAT_UTF8_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialised before the first byte. Invariants: need <= 3; low and high bound the next byte
 * when need > 0. */
struct tape_utf8 {
    uint8_t need, low, high;
};

/* tape_utf8_check(state, data, bytes): returns ${bytes} when all of them may stand in valid UTF-8,
 * else the offset of the first byte that may not (fail-fast: nothing that follows could repair it).
 */
size_t tape_utf8_check(struct tape_utf8 *state, const uint8_t *data, size_t bytes);

/* tape_utf8_complete(state): 1 when the text may end here. */
static inline int tape_utf8_complete(const struct tape_utf8 *state)
{
    return state->need == 0;
}

#ifdef __cplusplus
}
#endif
#endif
