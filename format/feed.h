/* THE parser: record to frame to message. Recorder, player, index and verify all run this. */
#ifndef TAPE_FORMAT_FEED_H
#define TAPE_FORMAT_FEED_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/record.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_FEED_CONNECTIONS_MAX = 4096 }; /* open at one time; more is TAPE_LIMIT */

/* TAPE_FEED_KIND(name, word, meaning) */
#define TAPE_FEED_KIND_TABLE(X)                                                                    \
    X(DATA, "data", "a text or binary message from the venue")                                     \
    X(ACK, "ack", "the venue's answer to a request of ours, good")                                 \
    X(REFUSAL, "refusal", "the venue's answer to a request of ours, an error")                     \
    X(SENT, "sent", "a text or binary message of ours, unmasked")                                  \
    X(PING, "ping", "a ping, either way")                                                          \
    X(PONG, "pong", "a pong, either way")                                                          \
    X(CLOSE, "close", "a close frame, either way")                                                 \
    X(BAD, "bad", "bytes that break the protocol: payload is all of them")                         \
    X(EVENT, "event", "no frame: payload is the record's body, record_kind tells which")           \
    X(STATE, "state", "the book of a depth stream, made for a start in the middle: never recorded")

enum tape_feed_kind {
#define TAPE_FEED_KIND_ENUM(name, word, meaning) TAPE_FEED_##name,
    TAPE_FEED_KIND_TABLE(TAPE_FEED_KIND_ENUM)
#undef TAPE_FEED_KIND_ENUM
};

/* payload and frame are borrowed: from the record where the message is one unmasked frame, else
 * from the feed, until the next push. */
struct tape_message {
    uint64_t ordinal;       /* of the record that completed it */
    uint64_t first_ordinal; /* of its first frame */
    int64_t recv_ns;        /* of the record that completed it */
    uint32_t connection;
    uint16_t flags; /* of all its records, or-ed */
    uint8_t kind;   /* enum tape_feed_kind */
    uint8_t record_kind;
    uint8_t opcode; /* of the message: text, binary, close, ping, pong */
    uint8_t outgoing;
    uint16_t close_code;
    uint16_t archive;  /* which of a source's archives; 0 from the feed itself */
    int64_t replay_ns; /* the virtual clock when it was given: see tape_source_now(); recv_ns from
                          the feed itself */
    struct tape_slice payload;
    struct tape_slice stream; /* DATA: the wrapper's name, "" where there is none */
    struct tape_slice frame;  /* all of its frames as they were on the wire, headers and fragments
                                 too; events: the body */
};

struct tape_feed; /* opaque; one thread */

struct tape_feed *tape_feed_new(void);
void tape_feed_free(struct tape_feed *feed);

/* tape_feed_push(feed, record, message, error): 1 with a message, 0 when the record completes none
 * (a fragment, or a kind that is not known), or TAPE_LIMIT/TAPE_FAILED. Bad bytes are a message of
 * kind BAD, never an error: a record flagged bad, partial or after_close, one that is no whole
 * frame, a fragment out of place; of a message above 16 MiB the record that made it so (the rest of
 * it is passed over). The records of one connection come in order; several connections may be
 * mixed. Records come without holes in their ordinals (see tape_feed_pass), or an open message is
 * cut. */
int tape_feed_push(struct tape_feed *feed, const struct tape_record *record,
                   struct tape_message *message, struct tape_error *error);

/* tape_feed_pass(feed, from, to): before the push of a record: records [from, to) were whole data
 * messages that nobody asks for, and are left out. That is no hole, and cuts nothing. (A hole
 * before ${from} stays one.) */
void tape_feed_pass(struct tape_feed *feed, uint64_t from, uint64_t to);

/* tape_feed_cut(feed, message): after a push: 1 with a message of kind BAD that will never be
 * whole, because the record ended its connection (or began a session, told of frames that were not
 * kept, or came after a hole); its payload is what there was of it. 0 when there is no more. What
 * is not asked for by the next push is forgotten. */
int tape_feed_cut(struct tape_feed *feed, struct tape_message *message);

/* tape_feed_is_orphan(record, message): whether the message that the record gave is a continuation
 * whose beginning this feed did not see, while the recorder, who saw all of the connection, found
 * no fault with it. */
int tape_feed_is_orphan(const struct tape_record *record, const struct tape_message *message);

/* tape_feed_open_messages(feed): how many connections are inside a fragmented message now. */
uint32_t tape_feed_open_messages(const struct tape_feed *feed);

const char *tape_feed_kind_word(int kind);

#ifdef __cplusplus
}
#endif
#endif
