/* What one connection hears: from bytes to frame records, in place. */
#ifndef TAPE_RECORD_INBOX_H
#define TAPE_RECORD_INBOX_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/ws.h"
#include "record/store.h"

/* The data frames that may still be recorded, of all connections together; UINT64_MAX: no end. At 0
 * data frames are passed over unrecorded, control frames are not. */
struct tape_inbox_budget {
    uint64_t left;
};

enum tape_inbox_result {
    TAPE_INBOX_EMPTY,   /* no whole frame is left: read more */
    TAPE_INBOX_CONTROL, /* a control frame was recorded: inbox->frame, inbox->payload */
    TAPE_INBOX_STALLED, /* the ring is full: call again later, before any read */
    TAPE_INBOX_FAULT,   /* inbox->fault: tape_inbox_keep_rest() records what is there */
};

/*
 * Invariants: start <= end <= room; data[start..end) was received and is not recorded yet, and
 * starts with a frame; whole > 0: its first frame is whole, was accepted by receiver and waits for
 * room in the ring; data beyond touched is untouched (or given back) memory.
 */
struct tape_inbox {
    struct tape_store *store;
    struct tape_inbox_budget *budget;
    uint32_t connection;
    uint8_t plain; /* one read may end in any frame, not only in the last of a TLS record */
    uint8_t by_kernel /* the source of stamp_ns */, smeared; /* the read went past these bytes */
    uint8_t after_close;                                     /* of the waiting frame */
    int fault;
    uint8_t *data;
    size_t room, start, end, touched;
    int64_t whole;
    int64_t stamp_ns, last_stamp_ns;
    uint64_t frames; /* data frames recorded */
    struct tape_ws_receiver receiver;
    struct tape_ws_frame frame;
    const uint8_t *payload;
};

/* tape_inbox_begin(inbox, store, budget, connection, message_limit, error): maps the room for one
 * message of the greatest size, none of which costs memory until it is used. 0 or TAPE_FAILED. */
int tape_inbox_begin(struct tape_inbox *inbox, struct tape_store *store,
                     struct tape_inbox_budget *budget, uint32_t connection, uint64_t message_limit,
                     struct tape_error *error);
void tape_inbox_end(struct tape_inbox *inbox);

/* tape_inbox_room(inbox, room): where the next read goes: never less than 64 KiB. Moves what is
 * there to the front; not to be called while a frame waits or after a fault. */
uint8_t *tape_inbox_room(struct tape_inbox *inbox, size_t *room);

/* tape_inbox_filled(inbox, bytes, stamp_ns, by_kernel, smeared): so many bytes came in. */
static inline void tape_inbox_filled(struct tape_inbox *inbox, size_t bytes, int64_t stamp_ns,
                                     int by_kernel, int smeared)
{
    inbox->end += bytes;
    inbox->stamp_ns = stamp_ns;
    inbox->by_kernel = (uint8_t)by_kernel;
    inbox->smeared = (uint8_t)smeared;
}

/* tape_inbox_next(inbox): records frames up to one that must be acted upon. */
enum tape_inbox_result tape_inbox_next(struct tape_inbox *inbox);

/* tape_inbox_keep_rest(inbox, flag): records all that is left as one flagged piece
 * (TAPE_RECORD_FLAG_BAD or TAPE_RECORD_FLAG_PARTIAL). TAPE_INBOX_EMPTY when done, or
 * TAPE_INBOX_STALLED. */
enum tape_inbox_result tape_inbox_keep_rest(struct tape_inbox *inbox, int flag);

/* tape_inbox_give_up(inbox): what could not be recorded is counted as lost with the store. */
void tape_inbox_give_up(struct tape_inbox *inbox);

#endif
