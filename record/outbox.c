#include "record/outbox.h"

#include <string.h>

#include "format/error.h"
#include "record/key.h"

int tape_outbox_put(struct tape_outbox *outbox, const void *data, size_t bytes)
{
    if (bytes > TAPE_OUTBOX_BYTES - outbox->used)
        return TAPE_LIMIT;
    memcpy(outbox->data + outbox->used, data, bytes);
    outbox->used += bytes;
    return TAPE_OK;
}

static int append_frame(struct tape_outbox *outbox, int opcode, const void *payload, size_t bytes)
{
    uint8_t mask[4];
    if (bytes + TAPE_WS_HEADER_MAX_BYTES > TAPE_OUTBOX_BYTES - outbox->used)
        return TAPE_LIMIT;
    if (tape_key_random(mask, sizeof mask))
        return TAPE_FAILED;
    uint8_t *to = outbox->data + outbox->used;
    size_t header = tape_ws_build(to, opcode, 1, bytes, mask);
    tape_ws_mask(to + header, payload, bytes, mask, 0);
    outbox->used += header + bytes;
    return TAPE_OK;
}

/* Nothing may follow a close frame, so that the pong that is owed goes before it. */
static void settle_pong(struct tape_outbox *outbox)
{
    if (outbox->pong_owed &&
        append_frame(outbox, TAPE_WS_PONG, outbox->pong, outbox->pong_bytes) == TAPE_OK)
        outbox->pong_owed = 0;
}

int tape_outbox_frame(struct tape_outbox *outbox, int opcode, const void *payload, size_t bytes)
{
    if (outbox->shut)
        return TAPE_CLOSED;
    if (opcode == TAPE_WS_CLOSE)
        settle_pong(outbox);
    int status = append_frame(outbox, opcode, payload, bytes);
    outbox->shut = opcode == TAPE_WS_CLOSE && status == TAPE_OK;
    return status;
}

/* Room is kept for a close frame and for a request behind the pongs; and while a write waits for
 * the socket, the newest ping is the one to answer once it goes on. */
static int has_room_for_pong(const struct tape_outbox *outbox)
{
    return outbox->used < TAPE_OUTBOX_BYTES / 2 && !outbox->sending;
}

void tape_outbox_pong(struct tape_outbox *outbox, const void *payload, size_t bytes)
{
    if (outbox->shut)
        return;
    memcpy(outbox->pong, payload, bytes);
    outbox->pong_bytes = (uint8_t)bytes;
    outbox->pong_owed = 1;
    if (has_room_for_pong(outbox))
        settle_pong(outbox);
}

int tape_outbox_flush(struct tape_outbox *outbox, tape_outbox_write *write, tape_outbox_sent *sent,
                      void *context)
{
    for (;;) {
        if (has_room_for_pong(outbox) && !outbox->shut)
            settle_pong(outbox);
        if (!outbox->sending)
            outbox->sending = outbox->used;
        if (!outbox->sending)
            return 0;
        int64_t put = write(context, outbox->data + outbox->done, outbox->sending - outbox->done);
        if (put <= 0)
            return put < 0 ? (int)put : 1;
        outbox->done += (size_t)put;
        if (outbox->done < outbox->sending)
            continue;
        sent(context, outbox->data, outbox->sending);
        outbox->used -= outbox->sending;
        memmove(outbox->data, outbox->data + outbox->sending, outbox->used);
        outbox->sending = outbox->done = 0;
    }
}
