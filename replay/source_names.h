/* Which depth stream a message without a wrapper is of: what its connection asked for. Private to
 * the source files. */
#ifndef TAPE_REPLAY_SOURCE_NAMES_H
#define TAPE_REPLAY_SOURCE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "format/feed.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SOURCE_NAMES_MAX = 1 << 16, TAPE_SOURCE_NAMES_BYTES = 128 };

struct tape_source_name;

/* Zero-initialise; clear it at the end. Invariants: each name of a connection once, ascending; each
 * connection that was heard of has an entry without a name, too. Nothing is forgotten: an archive
 * counts its connections on for all its life. */
struct tape_source_names {
    struct tape_source_name *entries;
    size_t count, room;
};

/* tape_source_names_hear(names, event): learns from handshakes (GET /ws/<stream>) and from streams
 * that were asked for; other events are passed over. 0, or TAPE_FAILED: memory is short. More than
 * is kept is as if it was not heard of. */
int tape_source_names_hear(struct tape_source_names *names, const struct tape_message *event);

/* tape_source_names_asked(names, archive, connection): how many depth streams that connection asked
 * for; -1: it was not heard of. */
int tape_source_names_asked(const struct tape_source_names *names, int archive,
                            uint32_t connection);

/*
 * tape_source_names_tell(names, archive, connection, tick, name): the depth stream that a message
 * of that connection is of, when only one of those that it asked for can be: 1 with its name,
 * borrowed until the next event; 0 when several can, or none. The tick, decoded from a message
 * without a wrapper, becomes what it would be with one: futures send partial books in the layout of
 * diffs.
 */
int tape_source_names_tell(const struct tape_source_names *names, int archive, uint32_t connection,
                           struct tape_tick *tick, struct tape_slice *name);

/* tape_source_names_derive(tick, to): the name of a diff that nothing but its content tells:
 * <symbol>@depth, whatever its speed. Its bytes; 0 for what may be a partial book, as with futures.
 */
size_t tape_source_names_derive(const struct tape_tick *tick, char to[TAPE_SOURCE_NAMES_BYTES]);

void tape_source_names_clear(struct tape_source_names *names);

#ifdef __cplusplus
}
#endif
#endif
