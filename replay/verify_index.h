/* index.db against the files: a part of verify. */
#ifndef TAPE_REPLAY_VERIFY_INDEX_H
#define TAPE_REPLAY_VERIFY_INDEX_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"
#include "replay/findings.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_verify_index; /* opaque */

/* tape_verify_index_open(archive, findings, error): takes a snapshot of index.db, so that whatever
 * is in it must be in the files that are read after. Where there is none, or it cannot be trusted,
 * that is noted or found, and the calls below do nothing. NULL when memory is short. */
struct tape_verify_index *tape_verify_index_open(struct tape_archive *archive,
                                                 struct tape_findings *findings,
                                                 struct tape_error *error);
void tape_verify_index_close(struct tape_verify_index *check);

/* tape_verify_index_begin(check, entry, info, error): before the segment's blocks. One that was
 * packed after the snapshot (or just before a crash) is noted: its blocks are not the index's then.
 */
int tape_verify_index_begin(struct tape_verify_index *check, const struct tape_archive_entry *entry,
                            const struct tape_segment_info *info, struct tape_error *error);

/* tape_verify_index_segment(check, entry, info): compares a segment's row with its file. */
int tape_verify_index_segment(struct tape_verify_index *check,
                              const struct tape_archive_entry *entry,
                              const struct tape_segment_info *info, struct tape_error *error);

/* tape_verify_index_block(check, sequence, block, error): compares a block's row with its header;
 * segments and blocks come in order. */
int tape_verify_index_block(struct tape_verify_index *check, uint32_t sequence,
                            const struct tape_segment_entry *block, struct tape_error *error);

/* tape_verify_index_finish(check, error): tells what is in the index and was in no file. */
int tape_verify_index_finish(struct tape_verify_index *check, struct tape_error *error);

/* tape_verify_index_reparse(check, archive, error): folds all records anew and compares every row.
 * What is packed meanwhile is folded again. */
int tape_verify_index_reparse(struct tape_verify_index *check, struct tape_archive *archive,
                              struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
