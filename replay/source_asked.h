/* Which streams connections asked for: it tells what a message without a wrapper is of. Private to
 * the room. */
#ifndef TAPE_REPLAY_SOURCE_ASKED_H
#define TAPE_REPLAY_SOURCE_ASKED_H

#include <stddef.h>
#include <stdint.h>

#include "format/feed.h"
#include "format/index.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_SOURCE_ASKED_MAX = 1 << 17, /* names, of all connections */
    TAPE_SOURCE_ASKED_CONNECTIONS_MAX = 1 << 20,
    TAPE_SOURCE_ASKED_NAME_BYTES = 128,
};

struct tape_source_asked_entry;

/*
 * Zero-initialise; clear it at the end. Invariants: entries ascend by connection, archive and name,
 * each once; the first of a connection has no name, and knows how many the others are, how many of
 * them depth streams, and whether some were not heard or kept: nothing is told of such a connection
 * then. unknown: nothing is told at all. Nothing is forgotten: an archive counts its connections on
 * for all its life.
 */
struct tape_source_asked {
    struct tape_source_asked_entry *entries;
    size_t count, room, names;
    int unknown;
};

/* tape_source_asked_hear(asked, event): learns from handshakes (GET /ws/<a>/<b>) and from streams
 * that were asked for, whatever was answered; other messages are passed over. 0, or TAPE_FAILED:
 * memory is short. */
int tape_source_asked_hear(struct tape_source_asked *asked, const struct tape_message *event);

/* tape_source_asked_read(asked, archive, index): the same of all connections of one archive to
 * paths without wrappers (/ws). asked is unknown when the index cannot be read. */
void tape_source_asked_read(struct tape_source_asked *asked, uint16_t archive,
                            struct tape_index *index);

/* tape_source_asked_depths(asked, message): how many depth streams the message's connection asked
 * for; -1: it was not heard of, or not of all. */
int tape_source_asked_depths(const struct tape_source_asked *asked,
                             const struct tape_message *message);

/* tape_source_asked_only(asked, message, name): 1 when the message's connection asked for one
 * stream only: *name is borrowed until more is learnt, here and below. */
int tape_source_asked_only(const struct tape_source_asked *asked,
                           const struct tape_message *message, struct tape_slice *name);

/*
 * tape_source_asked_like(asked, message, tick, name): 1 when only one of the streams that the
 * message's connection asked for can be the one that the message is of, where the content does not
 * tell by itself (depth, markPrice). The tick, decoded from the message, becomes what it would be
 * with a wrapper: futures send partial books in the layout of diffs.
 */
int tape_source_asked_like(const struct tape_source_asked *asked,
                           const struct tape_message *message, struct tape_tick *tick,
                           struct tape_slice *name);

void tape_source_asked_clear(struct tape_source_asked *asked);

#ifdef __cplusplus
}
#endif
#endif
