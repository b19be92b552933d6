#include "format/ws.h"

#include <string.h>

#include "format/ascii.h"

static uint64_t get_be(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | from[i];
    return value;
}

static void put_be(uint8_t *to, int bytes, uint64_t value)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

/* ---- headers ---- */

static inline int first_byte_fault(uint8_t byte)
{
    if (byte & 0x70)
        return TAPE_WS_FAULT_RESERVED_BITS;
    if ((byte & 0x07) > 2)
        return TAPE_WS_FAULT_RESERVED_OPCODE;
    if ((byte & 0x88) == 0x08)
        return TAPE_WS_FAULT_CONTROL_FRAGMENT;
    return TAPE_WS_FAULT_NONE;
}

/* The length of the header whose second byte is ${byte}. */
static inline unsigned header_length(uint8_t byte)
{
    unsigned form = byte & 0x7f, mask = byte & 0x80 ? 4 : 0;
    return mask + (form == 126 ? 4 : form == 127 ? 10 : 2);
}

/* The 16-bit and 64-bit forms: 1 and the length, 0 when bytes are missing, or -fault. A 64-bit
 * length is too short for its form as soon as its upper six bytes are seen to be zero. */
static int long_length(const uint8_t *data, size_t bytes, uint64_t *length)
{
    if ((data[1] & 0x7f) == 126) {
        if (bytes < 4)
            return 0;
        *length = get_be(data + 2, 2);
        return *length < 126 ? -TAPE_WS_FAULT_LENGTH_FORM : 1;
    }
    if (bytes > 2 && data[2] & 0x80)
        return -TAPE_WS_FAULT_LENGTH_TOP_BIT;
    if (bytes >= 8 && get_be(data + 2, 6) == 0)
        return -TAPE_WS_FAULT_LENGTH_FORM;
    if (bytes < 10)
        return 0;
    *length = get_be(data + 2, 8);
    return 1;
}

int tape_ws_header(const uint8_t *data, size_t bytes, struct tape_ws_frame *frame)
{
    if (bytes == 0)
        return 0;
    int fault = first_byte_fault(data[0]);
    if (fault)
        return -fault;
    if (bytes == 1)
        return 0;
    uint64_t length = data[1] & 0x7f;
    if (length > 125) {
        if (data[0] & 0x08)
            return -TAPE_WS_FAULT_CONTROL_LENGTH;
        int got = long_length(data, bytes, &length);
        if (got <= 0)
            return got;
    }
    unsigned header = header_length(data[1]);
    if (bytes < header)
        return 0;
    *frame = (struct tape_ws_frame){
        .payload_bytes = length,
        .header_bytes = (uint8_t)header,
        .opcode = data[0] & 0x0f,
        .fin = data[0] >> 7,
        .masked = data[1] >> 7,
    };
    if (frame->masked)
        memcpy(frame->mask, data + header - 4, 4);
    return (int)header;
}

/* ---- payloads ---- */

enum { UNMASK_BYTES = 1024 };

/* tape_utf8_check over payload[from, to) through the mask of a masked frame. Returns 1 when all of
 * it may stand. */
static int check_text(struct tape_utf8 *state, const struct tape_ws_frame *frame,
                      const uint8_t *payload, uint64_t from, uint64_t to)
{
    uint8_t clear[UNMASK_BYTES];
    if (!frame->masked)
        return tape_utf8_check(state, payload + from, to - from) == to - from;
    while (from < to) {
        size_t part = to - from < UNMASK_BYTES ? (size_t)(to - from) : UNMASK_BYTES;
        tape_ws_mask(clear, payload + from, part, frame->mask, from);
        if (tape_utf8_check(state, clear, part) != part)
            return 0;
        from += part;
    }
    return 1;
}

int tape_ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* The first `bytes` of a close frame's payload, of which more may come. At most 125 bytes, so that
 * looking again from the start at each arrival costs less than keeping a state would. */
static int close_fault(const struct tape_ws_frame *frame, const uint8_t *payload, size_t bytes)
{
    uint8_t clear[TAPE_WS_CONTROL_MAX_BYTES];
    struct tape_utf8 reason = {0};
    if (frame->payload_bytes == 1)
        return TAPE_WS_FAULT_CLOSE_LENGTH;
    if (bytes < 2)
        return TAPE_WS_FAULT_NONE;
    if (frame->masked)
        tape_ws_mask(clear, payload, bytes, frame->mask, 0);
    else
        memcpy(clear, payload, bytes);
    if (!tape_ws_close_code_valid((unsigned)get_be(clear, 2)))
        return TAPE_WS_FAULT_CLOSE_CODE;
    if (tape_utf8_check(&reason, clear + 2, bytes - 2) != bytes - 2)
        return TAPE_WS_FAULT_CLOSE_UTF8;
    if (bytes == frame->payload_bytes && !tape_utf8_complete(&reason))
        return TAPE_WS_FAULT_CLOSE_UTF8;
    return TAPE_WS_FAULT_NONE;
}

int tape_ws_close_parse(const uint8_t *payload, size_t bytes, uint16_t *code,
                        const uint8_t **reason, size_t *reason_bytes)
{
    struct tape_ws_frame frame = {.payload_bytes = bytes};
    if (bytes > TAPE_WS_CONTROL_MAX_BYTES)
        return -TAPE_WS_FAULT_CONTROL_LENGTH;
    int fault = close_fault(&frame, payload, bytes);
    if (fault)
        return -fault;
    *code = bytes ? (uint16_t)get_be(payload, 2) : 1005;
    *reason = bytes ? payload + 2 : payload;
    *reason_bytes = bytes ? bytes - 2 : 0;
    return 0;
}

/* ---- the receiver ---- */

/* What the bytes of a header may not be here and now, in the order of the bytes. */
static int context_fault(const struct tape_ws_receiver *receiver, const uint8_t *data, size_t bytes)
{
    int fault = first_byte_fault(data[0]);
    if (fault)
        return fault;
    unsigned opcode = data[0] & 0x0f;
    if (opcode == TAPE_WS_CONTINUATION && !receiver->in_message)
        return TAPE_WS_FAULT_CONTINUATION;
    if ((opcode == TAPE_WS_TEXT || opcode == TAPE_WS_BINARY) && receiver->in_message)
        return TAPE_WS_FAULT_INTERLEAVED;
    if (bytes > 1 && data[1] >> 7 != receiver->expect_masked)
        return TAPE_WS_FAULT_MASK;
    return TAPE_WS_FAULT_NONE;
}

static inline int is_control(const struct tape_ws_frame *frame)
{
    return frame->opcode & 0x08;
}

/* Reads and accepts the current frame's header: its length, 0 or -fault. */
static int accept_header(struct tape_ws_receiver *receiver, const uint8_t *data, size_t bytes)
{
    struct tape_ws_frame frame;
    if (bytes == 0)
        return 0;
    int fault = context_fault(receiver, data, bytes);
    if (fault)
        return -fault;
    int header = tape_ws_header(data, bytes, &frame);
    if (header == 0 && bytes > 1)
        receiver->frame.header_bytes = (uint8_t)header_length(data[1]);
    if (header <= 0)
        return header;
    if (!is_control(&frame)) {
        if (frame.opcode != TAPE_WS_CONTINUATION)
            receiver->message_bytes = 0;
        if (frame.payload_bytes > receiver->message_limit - receiver->message_bytes)
            return -TAPE_WS_FAULT_TOO_BIG;
        receiver->message_bytes += frame.payload_bytes;
    }
    receiver->frame = frame;
    receiver->checked_bytes = 0;
    receiver->header_seen = 1;
    return header;
}

/* The current frame's payload, of which `there` bytes have arrived. */
static int payload_fault(struct tape_ws_receiver *receiver, const uint8_t *payload, uint64_t there)
{
    const struct tape_ws_frame *frame = &receiver->frame;
    if (frame->opcode == TAPE_WS_CLOSE)
        return close_fault(frame, payload, (size_t)there);
    if (frame->opcode != TAPE_WS_TEXT &&
        !(frame->opcode == TAPE_WS_CONTINUATION && receiver->in_message == TAPE_WS_TEXT))
        return TAPE_WS_FAULT_NONE;
    struct tape_utf8 now = receiver->utf8;
    if (!check_text(&now, frame, payload, receiver->checked_bytes, there))
        return TAPE_WS_FAULT_UTF8;
    if (frame->fin && there == frame->payload_bytes && !tape_utf8_complete(&now))
        return TAPE_WS_FAULT_UTF8;
    receiver->utf8 = now;
    receiver->checked_bytes = there;
    return TAPE_WS_FAULT_NONE;
}

static void finish_frame(struct tape_ws_receiver *receiver)
{
    const struct tape_ws_frame *frame = &receiver->frame;
    if (frame->opcode == TAPE_WS_CLOSE)
        receiver->closed = 1;
    else if (!is_control(frame) && frame->fin)
        receiver->in_message = 0;
    else if (frame->opcode == TAPE_WS_TEXT || frame->opcode == TAPE_WS_BINARY)
        receiver->in_message = frame->opcode;
    receiver->header_seen = 0;
    receiver->frame.header_bytes = 0;
}

static int64_t receive_after_close(struct tape_ws_receiver *receiver, const uint8_t *data,
                                   size_t bytes, struct tape_ws_frame *frame)
{
    struct tape_ws_frame got;
    int header = receiver->closed == 2 ? -1 : tape_ws_header(data, bytes, &got);
    if (bytes == 0 || header == 0)
        return 0;
    if (header < 0 || got.payload_bytes > receiver->message_limit) {
        receiver->closed = 2;
        *frame = (struct tape_ws_frame){.payload_bytes = bytes};
        return (int64_t)bytes;
    }
    if (bytes - (size_t)header < got.payload_bytes)
        return 0;
    *frame = got;
    return header + (int64_t)got.payload_bytes;
}

/* Every case; what is not in a fast path ends here. */
static __attribute__((noinline)) int64_t receive_any(struct tape_ws_receiver *receiver,
                                                     const uint8_t *data, size_t bytes,
                                                     struct tape_ws_frame *frame)
{
    if (receiver->closed)
        return receive_after_close(receiver, data, bytes, frame);
    if (!receiver->header_seen) {
        int header = accept_header(receiver, data, bytes);
        if (header <= 0)
            return header;
    }
    uint64_t there = bytes - receiver->frame.header_bytes;
    if (bytes < receiver->frame.header_bytes || there < receiver->checked_bytes)
        return 0; /* fewer bytes than the last time: the caller took some away */
    if (there > receiver->frame.payload_bytes)
        there = receiver->frame.payload_bytes;
    int fault = payload_fault(receiver, data + receiver->frame.header_bytes, there);
    if (fault)
        return -fault;
    if (there < receiver->frame.payload_bytes)
        return 0;
    *frame = receiver->frame;
    finish_frame(receiver);
    return frame->header_bytes + (int64_t)frame->payload_bytes;
}

/*
 * Nearly every frame of a feed is a whole message of less than 64 KiB, ASCII or binary, that is all
 * there, unmasked, and read between messages. It touches no state: nothing has to be kept of it.
 * What is not this, faults included, is left to receive_any, which looks at it from the start.
 */
int64_t tape_ws_receive(struct tape_ws_receiver *receiver, const uint8_t *data, size_t bytes,
                        struct tape_ws_frame *frame)
{
    size_t payload, header = 2;
    if (receiver->in_message | receiver->closed | receiver->header_seen | receiver->expect_masked)
        return receive_any(receiver, data, bytes, frame);
    if (bytes < 4 || data[1] > 126)
        return receive_any(receiver, data, bytes, frame);
    unsigned opcode = data[0] ^ 0x80u; /* the final bit off; or above 127 when it was not set */
    if (opcode != TAPE_WS_TEXT && opcode != TAPE_WS_BINARY)
        return receive_any(receiver, data, bytes, frame);
    payload = data[1];
    if (payload == 126) {
        payload = (size_t)data[2] << 8 | data[3];
        header = 4;
    }
    if (payload > receiver->message_limit || payload > bytes - header ||
        (header == 4 && payload < 126))
        return receive_any(receiver, data, bytes, frame);
    if (opcode == TAPE_WS_TEXT && !tape_ascii_all(data + header, payload))
        return receive_any(receiver, data, bytes, frame);
    receiver->frame.header_bytes = 0;
    *frame = (struct tape_ws_frame){
        .payload_bytes = payload,
        .header_bytes = (uint8_t)header,
        .opcode = (uint8_t)opcode,
        .fin = 1,
    };
    return (int64_t)(header + payload);
}

uint64_t tape_ws_needed_bytes(const struct tape_ws_receiver *receiver)
{
    if (receiver->header_seen)
        return receiver->frame.header_bytes + receiver->frame.payload_bytes;
    return receiver->frame.header_bytes ? receiver->frame.header_bytes : 2;
}

/* ---- sending ---- */

size_t tape_ws_build(uint8_t *to, int opcode, int fin, uint64_t payload_bytes,
                     const uint8_t mask[4])
{
    uint8_t mask_bit = mask ? 0x80 : 0;
    size_t bytes = 2;
    to[0] = (uint8_t)((fin ? 0x80 : 0) | opcode);
    if (payload_bytes < 126) {
        to[1] = (uint8_t)(mask_bit | payload_bytes);
    } else if (payload_bytes <= 0xffff) {
        to[1] = mask_bit | 126;
        put_be(to + 2, 2, payload_bytes);
        bytes = 4;
    } else {
        to[1] = mask_bit | 127;
        put_be(to + 2, 8, payload_bytes);
        bytes = 10;
    }
    if (mask)
        memcpy(to + bytes, mask, 4);
    return mask ? bytes + 4 : bytes;
}

/* The mask turned so that byte 0 belongs to ${offset}, twice in a word: eight bytes a step leave
 * the phase as it is. */
void tape_ws_mask(uint8_t *to, const uint8_t *from, size_t bytes, const uint8_t mask[4],
                  uint64_t offset)
{
    uint8_t turned[8];
    uint64_t key, word[4];
    size_t at = 0;
    for (unsigned i = 0; i < 8; i++)
        turned[i] = mask[(offset + i) & 3];
    memcpy(&key, turned, 8);
    for (; bytes - at >= 32; at += 32) {
        memcpy(word, from + at, 32);
        for (int i = 0; i < 4; i++)
            word[i] ^= key;
        memcpy(to + at, word, 32);
    }
    for (; bytes - at >= 8; at += 8) {
        memcpy(word, from + at, 8);
        word[0] ^= key;
        memcpy(to + at, word, 8);
    }
    for (; at < bytes; at++)
        to[at] = from[at] ^ turned[at & 7];
}

/* ---- faults ---- */

const char *tape_ws_fault_words(int fault)
{
    switch (fault) {
#define FAULT_WORDS(name, code, words)                                                             \
    case TAPE_WS_FAULT_##name:                                                                     \
        return words;
        TAPE_WS_FAULT_TABLE(FAULT_WORDS)
#undef FAULT_WORDS
    }
    return "unknown fault";
}

uint16_t tape_ws_fault_code(int fault)
{
    switch (fault) {
#define FAULT_CODE(name, code, words)                                                              \
    case TAPE_WS_FAULT_##name:                                                                     \
        return code;
        TAPE_WS_FAULT_TABLE(FAULT_CODE)
#undef FAULT_CODE
    }
    return 1002;
}
