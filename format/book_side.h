/* One side of a book: its price levels, sorted from the best. Private to the book files. */
#ifndef TAPE_FORMAT_BOOK_SIDE_H
#define TAPE_FORMAT_BOOK_SIDE_H

#include <stddef.h>
#include <stdint.h>

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_BOOK_NUMBER_BYTES = 20, /* a sign, a point and the 18 digits of a valid decimal */
    TAPE_BOOK_RUN_LEVELS = 64,
};

/* A level as it was written. Both texts are valid decimals. */
struct tape_book_entry {
    int64_t next_free;
    uint8_t price_bytes, quantity_bytes;
    char price_text[TAPE_BOOK_NUMBER_BYTES], quantity_text[TAPE_BOOK_NUMBER_BYTES];
};

/* Some neighbours. Entries are named by their place in the side's pool, so that little is moved
 * where one is put between two others. Invariants: 1 <= count, keys rise, those from count on are
 * INT64_MAX, which no price has. */
struct tape_book_run {
    int64_t keys[TAPE_BOOK_RUN_LEVELS];
    uint32_t entries[TAPE_BOOK_RUN_LEVELS];
    uint32_t count;
};

/*
 * Zero-initialise; tape_book_side_free() at the end. A key is a price that lower is better of.
 * Invariants: keys rise within runs and from run to run; firsts[i] == runs[i]->keys[0]; levels is
 * the sum of the runs' counts; an entry of the pool belongs to one level, or is in the list of free
 * ones (linked by next_free, ended by -1), or lies beyond pool_used. Two neighbouring runs are not
 * both nearly empty, so that memory goes with levels.
 */
struct tape_book_side {
    struct tape_book_run **runs;
    int64_t *firsts;
    size_t runs_count, runs_room, levels;
    size_t finger; /* the run that was met last: most updates are near the one before */
    struct tape_book_entry *pool;
    size_t pool_used, pool_room;
    int64_t free_first;
    struct tape_book_run *spare; /* or NULL */
};

void tape_book_side_free(struct tape_book_side *side);
void tape_book_side_clear(struct tape_book_side *side);

/* tape_book_side_put(side, key, price, quantity, end): a new level, or another quantity. Both texts
 * are valid decimals; bytes behind them up to ${end} may be loaded. 1 when it is a new one, 0, or
 * TAPE_FAILED: memory is short, nothing has changed. */
int tape_book_side_put(struct tape_book_side *side, int64_t key, struct tape_slice price,
                       struct tape_slice quantity, const char *end);

/* tape_book_side_remove(side, key): 1, or 0 when there is no such level. */
int tape_book_side_remove(struct tape_book_side *side, int64_t key);

/* tape_book_side_entry(side, index): the ${index}th from the best, or NULL past the last. */
const struct tape_book_entry *tape_book_side_entry(const struct tape_book_side *side, size_t index);

/* tape_book_side_rescale(side, factor): multiplies all keys. 1, or 0 when one of them would not fit
 * any more: then nothing has changed. */
int tape_book_side_rescale(struct tape_book_side *side, int64_t factor);

#ifdef __cplusplus
}
#endif
#endif
