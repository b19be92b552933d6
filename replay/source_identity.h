/* What tells messages of one feed apart: the stream, the venue's sequence id, the bytes. */
#ifndef TAPE_REPLAY_SOURCE_IDENTITY_H
#define TAPE_REPLAY_SOURCE_IDENTITY_H

#include <stdint.h>

#include "format/feed.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SOURCE_IDENTITY_NAME_BYTES = 256 };

/*
 * stream: the combined wrapper's name. Without a wrapper: symbol in lower case, "@" and the word of
 * "e" (what the venue calls the stream, where it has but one speed: btcusdt@trade); "" where the
 * payload tells neither. inner: the payload without the wrapper. id: the venue's sequence id, or
 * TAPE_TICK_NONE: trade t, aggTrade a, bookTicker u, depth u, snapshot lastUpdateId.
 */
struct tape_source_identity {
    struct tape_slice stream; /* of the message, or of name */
    struct tape_slice inner;  /* of the message */
    int64_t id;
    char name[TAPE_SOURCE_IDENTITY_NAME_BYTES];
};

/* tape_source_identity_read(identity, message): of a message of kind DATA. */
void tape_source_identity_read(struct tape_source_identity *identity,
                               const struct tape_message *message);

#ifdef __cplusplus
}
#endif
#endif
