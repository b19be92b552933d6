/* index.db: derived from the segments by folding summaries, disposable (schema: format/index.sql).
 */
#ifndef TAPE_FORMAT_INDEX_H
#define TAPE_FORMAT_INDEX_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/summary.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_index; /* opaque; one thread at a time */

/* TAPE_INDEX_APPLICATION_ID "TPDK", and the schema's version, in the database's own header */
enum { TAPE_INDEX_APPLICATION_ID = 0x5450444b, TAPE_INDEX_VERSION = 2 };

/*
 * tape_index_open(archive, rebuilt, error): for the recorder. Opens or makes index.db (WAL,
 * persistent WAL file, STRICT schema), and if it is corrupt, foreign or of another version, moves
 * it aside as index.db.bad and starts an empty one (*rebuilt = 1 then).
 */
struct tape_index *tape_index_open(struct tape_archive *archive, int *rebuilt,
                                   struct tape_error *error);

/* tape_index_open_beside(archive, error): a second connection for writing to the index.db that
 * another of this process holds open: it is not made anew, not read whole, and never moved aside.
 */
struct tape_index *tape_index_open_beside(struct tape_archive *archive, struct tape_error *error);

/* tape_index_set_patience(index, milliseconds): how long to wait for another connection's
 * transaction (5000 at first) before begin fails with TAPE_LOCKED. */
void tape_index_set_patience(struct tape_index *index, int milliseconds);

/* tape_index_open_memory(archive, error): an empty one in memory: for readers of archives without
 * an index, and for verify. */
struct tape_index *tape_index_open_memory(struct tape_archive *archive, struct tape_error *error);

/* tape_index_open_read(archive, error): index.db read-only, hardened (query_only, trusted_schema
 * off, defensive, quick_check); TAPE_MISSING when there is none, TAPE_CORRUPT when it cannot be
 * trusted. */
struct tape_index *tape_index_open_read(struct tape_archive *archive, struct tape_error *error);
void tape_index_close(struct tape_index *index);

/* tape_index_copy(to, from, error): all of ${from} into ${to}, which is one in memory: for readers
 * that complete what index.db does not hold yet without writing to it. 0 or a status. */
int tape_index_copy(struct tape_index *to, struct tape_index *from, struct tape_error *error);

/* tape_index_next_ordinal(index): the first ordinal that is not in it yet. */
uint64_t tape_index_next_ordinal(struct tape_index *index);

/* tape_index_pruned_ordinal(index): records before it were pruned; 0 when none were. */
uint64_t tape_index_pruned_ordinal(struct tape_index *index);

/* The largest session and connection numbers so far, 0 when none. */
uint32_t tape_index_last_session(struct tape_index *index);
uint32_t tape_index_last_connection(struct tape_index *index);

/* tape_index_load_state(index, summariser, error): the state that spans blocks, from the tables. A
 * writer's index whose tables contradict themselves (or were folded with other sequence rules than
 * those compiled in) is emptied: next_ordinal is 0 then, and so is the state. */
int tape_index_load_state(struct tape_index *index, struct tape_summariser *summariser,
                          struct tape_error *error);

/* Begin a transaction; apply any number of summaries, in order and without leaving one out (that is
 * TAPE_USAGE); commit. A failure rolls back: next_ordinal is again what was committed last, and the
 * same summaries may be applied again. A commit inside a fragmented message is fine: the index
 * keeps where it began, and catching up reads from there. After TAPE_CORRUPT, closing moves the
 * file aside, so that the next opening begins anew. */
int tape_index_begin(struct tape_index *index, struct tape_error *error);
int tape_index_apply(struct tape_index *index, const struct tape_summary *summary,
                     struct tape_error *error);
/* tape_index_set_segment(index, entry, info, error): inserts or replaces what the segment's row
 * says of the file, in the open transaction: info as tape_segment_read_info gives it, best when it
 * was sealed; NULL when it cannot be read. The sums over its blocks come with the summaries. */
int tape_index_set_segment(struct tape_index *index, const struct tape_archive_entry *entry,
                           const struct tape_segment_info *info, struct tape_error *error);
int tape_index_commit(struct tape_index *index, struct tape_error *error);

/* tape_index_catch_up(index, archive, summariser, progress, context, error): loads the state into
 * ${summariser}, then folds every record with an ordinal >= next_ordinal from the segments, damage
 * as gap rows, in transactions of its own. All of a rebuild when the index is empty, and also when
 * its last block is not one of these segments (it was ahead of them when power was cut, or is
 * another's). The recorder goes on with the same summariser. progress may be NULL. Returns the
 * number of blocks added or a status. */
int64_t tape_index_catch_up(struct tape_index *index, struct tape_archive *archive,
                            struct tape_summariser *summariser,
                            void (*progress)(void *context, uint64_t records), void *context,
                            struct tape_error *error);

/* tape_index_compare(left, right, each, context, error): calls each() with one line of words for
 * every row that differs ("stream 3: messages 12 in the index, 13 in the segments"), at most 100
 * times. Returns the number of differences or a status. */
int tape_index_compare(struct tape_index *index, struct tape_index *truth,
                       void (*each)(void *context, const char *words), void *context,
                       struct tape_error *error);

/*
 * What was known at the end of the pruned records, without the rows that were about them alone: the
 * base that a fold of the segments that are left begins with, so that an index made anew equals the
 * one that saw them all. In memory; kept in pruned.db. The order that no crash can disturb: open,
 * advance, save, delete the segment (its note is durable), settle; then the index is pruned.
 *
 * tape_index_open_base(archive, pending, error): the one that fits the segments that are there.
 * NULL with TAPE_MISSING when there is none, with another status when it cannot be used. *pending
 * (may be NULL): 1 when it was saved and not settled, which comes before another one is saved.
 */
struct tape_index *tape_index_open_base(struct tape_archive *archive, int *pending,
                                        struct tape_error *error);

/* tape_index_find_pruned(archive): no record before it need be there: it was pruned, or is about to
 * be. 0 when there is none. */
uint64_t tape_index_find_pruned(struct tape_archive *archive);

/* tape_index_advance_base(base, archive, until, error): folds in the records before ${until}, which
 * begins a segment. 1; 0 when a message that began before it goes on behind it: base is of no
 * further use then, for the segment before must stay; or a status. An empty index in memory is the
 * base of an archive of which nothing was pruned. */
int tape_index_advance_base(struct tape_index *base, struct tape_archive *archive, uint64_t until,
                            struct tape_error *error);

/* tape_index_save_base(base, archive, error): durable, beside the one that counts so far.
 * tape_index_settle_base(archive, error): it is the only one now. */
int tape_index_save_base(struct tape_index *base, struct tape_archive *archive,
                         struct tape_error *error);
int tape_index_settle_base(struct tape_archive *archive, struct tape_error *error);

/* tape_index_prune(index, base, archive, error): the index forgets what ${base} has forgotten, in a
 * transaction of its own; ${archive} was scanned after the deletion. TAPE_USAGE when it has not
 * come so far. */
int tape_index_prune(struct tape_index *index, struct tape_index *base,
                     const struct tape_archive *archive, struct tape_error *error);

/* tape_index_handle(index): the database, for queries by ls and verify; the index's. */
struct sqlite3;
struct sqlite3 *tape_index_handle(struct tape_index *index);

#ifdef __cplusplus
}
#endif
#endif
