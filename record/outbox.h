/* What one connection has to say: bounded, in order, retried as it was. */
#ifndef TAPE_RECORD_OUTBOX_H
#define TAPE_RECORD_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include "format/ws.h"

enum { TAPE_OUTBOX_BYTES = 128 << 10 };

/*
 * Invariants: data[0..used) waits to be sent in this order; sending <= used is the length of the
 * write under way, 0 when there is none: until it is done data[0..sending) neither moves nor
 * changes, as a TLS write that is to be repeated needs; done < sending of them are sent (a plain
 * socket takes parts); pong_owed: the newest ping found no room, its payload waits in pong and the
 * next newest replaces it.
 */
struct tape_outbox {
    uint8_t *data; /* TAPE_OUTBOX_BYTES */
    size_t used, sending, done;
    uint8_t pong[TAPE_WS_CONTROL_MAX_BYTES];
    uint8_t pong_bytes, pong_owed;
    uint8_t shut; /* a close frame is in: no frame may follow it */
};

/* tape_outbox_write: as send(): bytes taken, 0 when none can be now, negative when none ever will.
 * tape_outbox_sent: told of each stretch that has been sent whole. */
typedef int64_t tape_outbox_write(void *context, const void *from, size_t bytes);
typedef void tape_outbox_sent(void *context, const uint8_t *data, size_t bytes);

/* tape_outbox_put(outbox, data, bytes): bytes as they are (the HTTP request). 0 or TAPE_LIMIT when
 * there is no room. */
int tape_outbox_put(struct tape_outbox *outbox, const void *data, size_t bytes);

/* tape_outbox_frame(outbox, opcode, payload, bytes): one whole frame, masked with fresh random
 * bytes. 0, TAPE_LIMIT when there is no room, TAPE_CLOSED after a close frame, TAPE_FAILED without
 * randomness. */
int tape_outbox_frame(struct tape_outbox *outbox, int opcode, const void *payload, size_t bytes);

/* tape_outbox_pong(outbox, payload, bytes): the answer to a ping, now or as soon as there is room;
 * then only the newest is answered (RFC 6455 5.5.3). */
void tape_outbox_pong(struct tape_outbox *outbox, const void *payload, size_t bytes);

/* tape_outbox_waits(outbox): 1 when there is something to flush. */
static inline int tape_outbox_waits(const struct tape_outbox *outbox)
{
    return outbox->used || outbox->pong_owed;
}

/* tape_outbox_flush(outbox, write, sent, context): 0 when all is sent, 1 when some is left for
 * when the socket takes more, negative as ${write} said. */
int tape_outbox_flush(struct tape_outbox *outbox, tape_outbox_write *write, tape_outbox_sent *sent,
                      void *context);

#endif
