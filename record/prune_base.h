/* What the index knew at the end of the deleted segments, as a pruning run carries it along: kept
 * in memory, too, while a full disk does not take its file. */
#ifndef TAPE_RECORD_PRUNE_BASE_H
#define TAPE_RECORD_PRUNE_BASE_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"

/*
 * Zero-initialise, set archive; tape_prune_base_clear() at the end. Invariants: index is what was
 * known at the end of what was deleted, NULL when it has to be read from its file; owed: its file
 * is of an earlier deletion. reserve is a file without a name that holds some of the disk for it,
 * plus one, or 0.
 */
struct tape_prune_base {
    struct tape_archive *archive;
    struct tape_index *index;
    int owed, reserve, wants_reserve;
};

/* tape_prune_base_take(base, error): reads it; an empty one where nothing was pruned before. 1 when
 * its file is of no use: what was pruned before is forgotten. 0 or a status. */
int tape_prune_base_take(struct tape_prune_base *base, struct tape_error *error);

/* tape_prune_base_ahead(base, until, ahead, error): *ahead is what will be known at the end of the
 * records before ${until}, the caller's to free. As tape_index_advance_base(). */
int tape_prune_base_ahead(const struct tape_prune_base *base, uint64_t until,
                          struct tape_index **ahead, struct tape_error *error);

/* tape_prune_base_save(base, ahead, error): durable beside the file that counts; on a full disk the
 * reserve is given up for it. 0 or a status. */
int tape_prune_base_save(struct tape_prune_base *base, struct tape_index *ahead,
                         struct tape_error *error);

/* tape_prune_base_move(base, ahead, saved, error): the segments are gone: ${ahead} is the base now,
 * and taken over. TAPE_FULL when it is owed to the disk. */
int tape_prune_base_move(struct tape_prune_base *base, struct tape_index *ahead, int saved,
                         struct tape_error *error);

/* tape_prune_base_pay(base): what is owed is saved, if the disk takes it now; the reserve is made.
 */
void tape_prune_base_pay(struct tape_prune_base *base);

void tape_prune_base_clear(struct tape_prune_base *base);

#endif
