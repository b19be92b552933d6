/* The count of which archive had which messages of a stream first, late or never. */
#ifndef TAPE_REPLAY_SOURCE_SHARES_H
#define TAPE_REPLAY_SOURCE_SHARES_H

#include <stddef.h>
#include <stdint.h>

#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_SOURCE_SHARES_STREAMS_MAX = 16384, /* the rest are counted as "(others)" */
    TAPE_SOURCE_SHARES_NAME_MAX_BYTES = 255,
};

struct tape_source_shares; /* opaque; one thread */

struct tape_source_shares *tape_source_shares_new(void);
void tape_source_shares_free(struct tape_source_shares *shares);

/* tape_source_shares_reset(shares): forgets everything. */
void tape_source_shares_reset(struct tape_source_shares *shares);

/* tape_source_shares_recount(shares): counts from here on; streams keep their numbers. */
void tape_source_shares_recount(struct tape_source_shares *shares);

/* tape_source_shares_stream(shares, name, bytes): the number of a stream, for the calls below;
 * negative when memory is short. */
int tape_source_shares_stream(struct tape_source_shares *shares, const char *name, size_t bytes);

/* tape_source_shares_given(shares, stream, archive): a message of it was given. Its position in the
 * stream, from 1; 0 when memory is short. */
uint64_t tape_source_shares_given(struct tape_source_shares *shares, int stream, int archive);

/* tape_source_shares_late(shares, stream, archive, position, again, late_ns): it came once more;
 * again = 1: not for the first time in this archive; position 0: given before the counting began.
 * 0, or TAPE_FAILED (memory). */
int tape_source_shares_late(struct tape_source_shares *shares, int stream, int archive,
                            uint64_t position, int again, int64_t late_ns);

/* One more of those in the row of stream and archive, where something was given before. */
void tape_source_shares_unmatched(struct tape_source_shares *shares, int stream, int archive);
void tape_source_shares_differing(struct tape_source_shares *shares, int stream, int archive);

/* As tape_source_share(). */
int tape_source_shares_read(struct tape_source_shares *shares, int index,
                            struct tape_source_share *share);

#ifdef __cplusplus
}
#endif
#endif
