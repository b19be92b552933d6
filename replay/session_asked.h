/* Which stream a message without a wrapper is of, by what its connection had asked for. */
#ifndef TAPE_REPLAY_SESSION_ASKED_H
#define TAPE_REPLAY_SESSION_ASKED_H

#include <stddef.h>
#include <stdint.h>

#include "format/feed.h"
#include "format/index.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SESSION_ASKED_MAX = 1 << 17 };

struct tape_session_asked_name {
    char *name;
    uint32_t connection;
    uint16_t archive;
};

/* Zero-initialise. Invariant: names are sorted by archive, connection and name, each once. unknown:
 * some are missing, and nothing is told. */
struct tape_session_asked {
    struct tape_session_asked_name *names;
    size_t count, room;
    int unknown;
};

/* tape_session_asked_add(asked, archive, index): what the connections of one archive to a path
 * without wrappers (/ws) have asked for, in their URL (/ws/<a>/<b>) and by requests, whatever was
 * answered. */
void tape_session_asked_add(struct tape_session_asked *asked, uint16_t archive,
                            struct tape_index *index);
void tape_session_asked_free(struct tape_session_asked *asked);

/* tape_session_asked_only(asked, message, name): 1 when the message's connection has asked for one
 * stream only: *name is borrowed. */
int tape_session_asked_only(const struct tape_session_asked *asked,
                            const struct tape_message *message, struct tape_slice *name);

/* tape_session_asked_like(asked, message, name): 1 when one only of those that it has asked for is
 * of the message's symbol and kind, where these do not tell the stream (depth, markPrice). */
int tape_session_asked_like(const struct tape_session_asked *asked,
                            const struct tape_message *message, struct tape_slice *name);

#ifdef __cplusplus
}
#endif
#endif
