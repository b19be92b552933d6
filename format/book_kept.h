/* Diffs that wait for a snapshot, or for what is missing: the newest of them, within bounds.
 * Private to the book files. */
#ifndef TAPE_FORMAT_BOOK_KEPT_H
#define TAPE_FORMAT_BOOK_KEPT_H

#include <stddef.h>
#include <stdint.h>

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_BOOK_KEPT_MAX = 1024, TAPE_BOOK_KEPT_BYTES_MAX = 1 << 20 };

/* Zero-initialise; tape_book_kept_clear() at the end. Invariants: count <= TAPE_BOOK_KEPT_MAX;
 * bytes is what the kept texts take, and above its bound only while one alone is kept. */
struct tape_book_kept {
    struct tape_tick *ticks[TAPE_BOOK_KEPT_MAX]; /* a ring; each with its texts behind it */
    size_t first, count, bytes;
};

/* tape_book_kept_add(kept, tick): a copy of a diff, without stream, event and symbol; the oldest
 * make room for it. How many did, or TAPE_FAILED: memory is short. */
int tape_book_kept_add(struct tape_book_kept *kept, const struct tape_tick *tick);

/* tape_book_kept_at(kept, index): as they came, the oldest is 0; NULL past the last.
 * tape_book_kept_drop() takes that one away. */
const struct tape_tick *tape_book_kept_at(const struct tape_book_kept *kept, size_t index);
void tape_book_kept_drop(struct tape_book_kept *kept, size_t index);
void tape_book_kept_clear(struct tape_book_kept *kept);

#ifdef __cplusplus
}
#endif
#endif
