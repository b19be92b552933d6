/* RFC 6455 frames, cut in place: no allocation, no copy, no callback. */
#ifndef TAPE_FORMAT_WS_H
#define TAPE_FORMAT_WS_H

#include <stddef.h>
#include <stdint.h>

#include "format/utf8.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_WS_HEADER_MAX_BYTES = 14,
    TAPE_WS_CONTROL_MAX_BYTES = 125,
    TAPE_WS_MESSAGE_MAX_BYTES = 16 << 20, /* the default limit */
};

enum tape_ws_opcode { /* RFC 6455 section 5.2 */
                      TAPE_WS_CONTINUATION = 0,
                      TAPE_WS_TEXT = 1,
                      TAPE_WS_BINARY = 2,
                      TAPE_WS_CLOSE = 8,
                      TAPE_WS_PING = 9,
                      TAPE_WS_PONG = 10,
};

/* Why a peer's bytes are refused: TAPE_WS_FAULT(name, close code to send, words). */
#define TAPE_WS_FAULT_TABLE(X)                                                                     \
    X(NONE, 1000, "no fault")                                                                      \
    X(RESERVED_BITS, 1002, "reserved bits are set")                                                \
    X(RESERVED_OPCODE, 1002, "reserved opcode")                                                    \
    X(MASK, 1002, "the frame is masked the wrong way for its direction")                           \
    X(LENGTH_FORM, 1002, "the length is not in its shortest form")                                 \
    X(LENGTH_TOP_BIT, 1002, "the length has its top bit set")                                      \
    X(CONTROL_LENGTH, 1002, "a control frame is longer than 125 bytes")                            \
    X(CONTROL_FRAGMENT, 1002, "a control frame is fragmented")                                     \
    X(CONTINUATION, 1002, "a continuation without a message to continue")                          \
    X(INTERLEAVED, 1002, "a new message inside a fragmented one")                                  \
    X(CLOSE_LENGTH, 1002, "a close payload of one byte")                                           \
    X(CLOSE_CODE, 1002, "a close code that may not be sent")                                       \
    X(CLOSE_UTF8, 1007, "the close reason is not UTF-8")                                           \
    X(UTF8, 1007, "a text message is not UTF-8")                                                   \
    X(TOO_BIG, 1009, "the message is longer than the limit")

enum tape_ws_fault {
#define TAPE_WS_FAULT_ENUM(name, code, words) TAPE_WS_FAULT_##name,
    TAPE_WS_FAULT_TABLE(TAPE_WS_FAULT_ENUM)
#undef TAPE_WS_FAULT_ENUM
};

struct tape_ws_frame {
    uint64_t payload_bytes;
    uint8_t header_bytes; /* 2 to 14 */
    uint8_t opcode;
    uint8_t fin;
    uint8_t rsv; /* 0 to 7 */
    uint8_t masked;
    uint8_t mask[4];
};

/*
 * tape_ws_header(data, bytes, frame): reads one frame header at data. Returns the header's length,
 * 0 when more bytes are needed, or -(enum tape_ws_fault) for what no frame may hold whatever came
 * before: RESERVED_BITS, RESERVED_OPCODE, LENGTH_FORM, LENGTH_TOP_BIT, CONTROL_LENGTH,
 * CONTROL_FRAGMENT. A fault is reported as soon as the bytes that show it are there. frame is
 * written only on success.
 */
int tape_ws_header(const uint8_t *data, size_t bytes, struct tape_ws_frame *frame);

/*
 * The receiving side of one connection. Invariants: between calls the current frame starts at the
 * caller's data; message_bytes <= message_limit; utf8 describes the open text message, the
 * current frame's first checked_bytes included, and is complete when none is open; after a fault
 * nothing has changed, so that the same bytes show the same fault again. Zero-initialise, then set
 * message_limit and expect_masked.
 */
struct tape_ws_receiver {
    uint64_t message_limit; /* bytes */
    uint8_t expect_masked;  /* 1 on a server, 0 on a client */
    uint8_t in_message;     /* opcode of the open fragmented message, 0 when none */
    uint8_t closed;         /* 1: a close frame was read: all that follows is ignored by protocol;
                               2: and what follows is not even frames */
    uint8_t header_seen;    /* the header of the current frame was accepted */
    uint64_t message_bytes; /* payload of the open message so far, the current frame's included */
    uint64_t checked_bytes; /* of the current frame's payload: already looked at for UTF-8 */
    struct tape_utf8 utf8;
    struct tape_ws_frame frame; /* header_seen: the current one; else only header_bytes counts:
                                   the current header's length as far as known, or 0 */
};

/*
 * tape_ws_receive(receiver, data, bytes, frame): data starts at a frame boundary and holds what has
 * arrived so far. Returns the length of the whole first frame when it is all there (frame describes
 * it; the payload is data + frame->header_bytes), 0 when more bytes are needed (call again with the
 * same start and more bytes; what was checked is not checked again), or -(enum tape_ws_fault).
 * Faults are found as early as the bytes allow: a length before its payload, UTF-8 byte by byte,
 * and in the order of the bytes, so that the way they were split never decides what is found.
 * A masked payload (on a server) is checked through its mask and left as it is. The limit counts
 * text and binary payload, all fragments together; control frames never count.
 *
 * Of the frame that returned, `closed` of before the call tells whether it came after a close frame
 * (RFC 6455 1.4: ignored). There the rules of masks, fragments, texts and close codes are no longer
 * looked at and no fault is reported: whole frames are returned as they parse; from the first bytes
 * on that are no frame, or one above the limit, everything there is returned as one frame with
 * header_bytes 0, opcode 0 and all of bytes as its payload.
 */
int64_t tape_ws_receive(struct tape_ws_receiver *receiver, const uint8_t *data, size_t bytes,
                        struct tape_ws_frame *frame);

/* tape_ws_needed_bytes(receiver): bytes from the frame's start that the current frame needs as far
 * as known (a lower bound; 2 when nothing is known). For sizing reads; never above limit + 14 (for
 * a control frame: 125 + 14). */
uint64_t tape_ws_needed_bytes(const struct tape_ws_receiver *receiver);

/* tape_ws_build(to, opcode, fin, payload_bytes, mask): writes a header, masked when mask is not
 * NULL; returns its length (2 to 14). to has room for TAPE_WS_HEADER_MAX_BYTES; payload_bytes is
 * below 2^63. The caller masks the payload (tape_ws_mask). */
size_t tape_ws_build(uint8_t *to, int opcode, int fin, uint64_t payload_bytes,
                     const uint8_t mask[4]);

/* tape_ws_mask(to, from, bytes, mask, offset): XORs with the mask from payload offset ${offset} on.
 * to == from is allowed, other overlaps are not. */
void tape_ws_mask(uint8_t *to, const uint8_t *from, size_t bytes, const uint8_t mask[4],
                  uint64_t offset);

/* tape_ws_close_parse(payload, bytes, code, reason, reason_bytes): 0 or -(enum tape_ws_fault). An
 * empty payload gives code 1005 and an empty reason. payload is unmasked; reason points into it.
 * RFC 6455 7.4 and the IANA registry: 1000-1003, 1007-1014, 3000-4999 may be sent. */
int tape_ws_close_parse(const uint8_t *payload, size_t bytes, uint16_t *code,
                        const uint8_t **reason, size_t *reason_bytes);

/* tape_ws_close_code_valid(code): 1 when ${code} may stand in a close frame. */
int tape_ws_close_code_valid(unsigned code);

/* tape_ws_fault_words(fault), tape_ws_fault_code(fault): the words and the close code of the table.
 */
const char *tape_ws_fault_words(int fault);
uint16_t tape_ws_fault_code(int fault);

#ifdef __cplusplus
}
#endif
#endif
