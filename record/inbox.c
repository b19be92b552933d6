#include "record/inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "format/record.h"

enum {
    READ_BYTES = 64 << 10,  /* room there always is for a read */
    KEEP_BYTES = 256 << 10, /* memory kept when a large frame has gone */
    PAGE_BYTES = 4096,
};

int tape_inbox_begin(struct tape_inbox *inbox, struct tape_store *store,
                     struct tape_inbox_budget *budget, uint32_t connection, uint64_t message_limit,
                     struct tape_error *error)
{
    *inbox = (struct tape_inbox){.store = store, .budget = budget, .connection = connection};
    inbox->receiver.message_limit = message_limit;
    inbox->room = (message_limit + TAPE_WS_HEADER_MAX_BYTES + READ_BYTES + PAGE_BYTES) &
                  ~(size_t)(PAGE_BYTES - 1);
    inbox->data = mmap(NULL, inbox->room, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (inbox->data != MAP_FAILED)
        return TAPE_OK;
    inbox->data = NULL;
    return tape_error_errno(error, errno, "room for messages of %llu bytes",
                            (unsigned long long)message_limit);
}

void tape_inbox_end(struct tape_inbox *inbox)
{
    if (inbox->data)
        munmap(inbox->data, inbox->room);
    inbox->data = NULL;
}

uint8_t *tape_inbox_room(struct tape_inbox *inbox, size_t *room)
{
    size_t there = inbox->end - inbox->start;
    if (inbox->end > inbox->touched)
        inbox->touched = inbox->end;
    if (inbox->start) { /* a frame has gone, so that what is left came with the last read */
        if (there)
            memmove(inbox->data, inbox->data + inbox->start, there);
        inbox->start = 0;
        inbox->end = there;
        if (inbox->touched > KEEP_BYTES) {
            madvise(inbox->data + KEEP_BYTES, inbox->room - KEEP_BYTES, MADV_DONTNEED);
            inbox->touched = KEEP_BYTES;
        }
    }
    *room = inbox->room - inbox->end;
    return inbox->data + inbox->end;
}

/* Puts data[start, start + bytes) into the ring. 0 when it is full. */
static inline int keep(struct tape_inbox *inbox, size_t bytes, unsigned flags)
{
    uint8_t *to = tape_store_reserve(inbox->store, bytes);
    if (__builtin_expect(!to, 0)) {
        if (!tape_store_must_discard(inbox->store))
            return 0;
        tape_store_discard(inbox->store, inbox->connection, inbox->stamp_ns, bytes);
        return 1;
    }
    flags |= inbox->by_kernel ? TAPE_RECORD_FLAG_KERNEL_STAMP : 0;
    if (inbox->stamp_ns == inbox->last_stamp_ns || inbox->smeared ||
        (inbox->plain && inbox->start + bytes < inbox->end))
        flags |= TAPE_RECORD_FLAG_SHARED_STAMP;
    struct tape_record record = {
        .recv_ns = inbox->stamp_ns,
        .connection = inbox->connection,
        .bytes = (uint32_t)bytes,
        .flags = (uint16_t)flags,
        .kind = TAPE_RECORD_FRAME_IN,
    };
    memcpy(to, inbox->data + inbox->start, bytes);
    tape_store_publish(inbox->store, &record);
    inbox->last_stamp_ns = inbox->stamp_ns;
    return 1;
}

/* Makes the first frame whole. */
static inline enum tape_inbox_result cut(struct tape_inbox *inbox)
{
    inbox->after_close = inbox->receiver.closed;
    int64_t whole = tape_ws_receive(&inbox->receiver, inbox->data + inbox->start,
                                    inbox->end - inbox->start, &inbox->frame);
    if (whole < 0) {
        inbox->fault = (int)-whole;
        return TAPE_INBOX_FAULT;
    }
    inbox->whole = whole;
    return TAPE_INBOX_EMPTY;
}

static inline int is_spent(const struct tape_inbox *inbox)
{
    return __builtin_expect(inbox->budget->left == 0, 0) && inbox->frame.opcode < TAPE_WS_CLOSE;
}

static unsigned late_flags(const struct tape_inbox *inbox)
{
    if (!inbox->after_close)
        return 0;
    return TAPE_RECORD_FLAG_AFTER_CLOSE | (inbox->frame.header_bytes ? 0 : TAPE_RECORD_FLAG_BAD);
}

enum tape_inbox_result tape_inbox_next(struct tape_inbox *inbox)
{
    for (;;) {
        if (!inbox->whole) {
            enum tape_inbox_result result = cut(inbox);
            if (result != TAPE_INBOX_EMPTY || !inbox->whole)
                return result;
        }
        if (!is_spent(inbox) && !keep(inbox, (size_t)inbox->whole, late_flags(inbox)))
            return TAPE_INBOX_STALLED;
        inbox->payload = inbox->data + inbox->start + inbox->frame.header_bytes;
        inbox->start += (size_t)inbox->whole;
        inbox->whole = 0;
        if (__builtin_expect(inbox->after_close, 0))
            continue;
        if (__builtin_expect(inbox->frame.opcode >= TAPE_WS_CLOSE, 0))
            return TAPE_INBOX_CONTROL;
        inbox->frames++;
        inbox->budget->left -= inbox->budget->left > 0;
    }
}

enum tape_inbox_result tape_inbox_keep_rest(struct tape_inbox *inbox, int flag)
{
    size_t most = (size_t)inbox->receiver.message_limit + TAPE_WS_HEADER_MAX_BYTES;
    if (most < READ_BYTES)
        most = READ_BYTES;
    unsigned flags = (unsigned)flag | (inbox->receiver.closed ? TAPE_RECORD_FLAG_AFTER_CLOSE : 0);
    while (inbox->start < inbox->end) {
        size_t bytes = inbox->end - inbox->start;
        if (bytes > most)
            bytes = most;
        if (inbox->budget->left && !keep(inbox, bytes, flags))
            return TAPE_INBOX_STALLED;
        inbox->start += bytes;
    }
    return TAPE_INBOX_EMPTY;
}

void tape_inbox_give_up(struct tape_inbox *inbox)
{
    if (inbox->start < inbox->end && inbox->budget->left)
        tape_store_discard(inbox->store, inbox->connection, inbox->stamp_ns,
                           inbox->end - inbox->start);
    inbox->start = inbox->end;
    inbox->whole = 0;
}
