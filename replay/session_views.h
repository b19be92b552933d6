/* Who gets which message of a session: members that subscribed to the same streams in the same form
 * share a view, so that a frame is written once for all of them. */
#ifndef TAPE_REPLAY_SESSION_VIEWS_H
#define TAPE_REPLAY_SESSION_VIEWS_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "replay/exchange.h"
#include "replay/server.h"
#include "replay/source_asked.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_session_views; /* opaque; one thread */
struct tape_session_view;

enum {
    TAPE_SESSION_STAGED_BYTES = 8 << 10, /* more than that is shared in batches, not copied */
    TAPE_SESSION_BATCH_BYTES = 256 << 10,
};

struct tape_session_views *tape_session_views_new(void);
void tape_session_views_free(struct tape_session_views *views); /* after all members left */

/* tape_session_views_name_by(views, asked): from now on messages without a wrapper are also named
 * by what their connections had asked for. asked must outlive views; NULL: by their content only.
 */
void tape_session_views_name_by(struct tape_session_views *views,
                                const struct tape_source_asked *asked);

/* tape_session_views_join(views, client, state, peer, error): the view of those who are sent what
 * ${client} has subscribed to, in its form; state: with the made messages of kind STATE. The peer
 * gets what is put from now on (and what is held back: flush before). NULL: memory.
 * tape_session_views_leave(): the peer is given nothing any more; it may be gone already. */
struct tape_session_view *tape_session_views_join(struct tape_session_views *views,
                                                  const struct tape_exchange_client *client,
                                                  int state, struct tape_peer *peer,
                                                  struct tape_error *error);
void tape_session_views_leave(struct tape_session_views *views, struct tape_session_view *view,
                              struct tape_peer *peer);

/* What one message came to. */
struct tape_session_delivery {
    uint64_t frames; /* how many members are sent it */
    uint64_t bytes;  /* … of wire, all of them together */
};

/* tape_session_views_put(views, message, delivery, error): appends the message for every view that
 * wants it: its frames as they were recorded where the form is the same, else one new frame with
 * the wrapper taken off or put around the very bytes of its data. A message of DATA without a
 * wrapper belongs to the stream that its connection had asked for, where it was one only, or that
 * its content tells (tape_exchange_derive), or both together; a binary one is never put into a
 * wrapper. 1; 0 when no stream can be told; TAPE_FAILED: memory. */
int tape_session_views_put(struct tape_session_views *views, const struct tape_message *message,
                           struct tape_session_delivery *delivery, struct tape_error *error);

/* tape_session_views_flush(views): gives to the peers' queues what was put. */
void tape_session_views_flush(struct tape_session_views *views);

/* tape_session_views_origin(views, name, bytes): which recorded connection the stream's last
 * message came from: archive and connection, as tape_session_origin() makes it; 0: none yet. */
uint64_t tape_session_views_origin(const struct tape_session_views *views, const char *name,
                                   size_t bytes);

static inline uint64_t tape_session_origin(uint16_t archive, uint32_t connection)
{
    return ((uint64_t)archive + 1) << 32 | connection;
}

#ifdef __cplusplus
}
#endif
#endif
