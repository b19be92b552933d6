/* One record: a frame or an event, as it stands in blocks and in the ring (FORMAT.md, "Records").
 */
#ifndef TAPE_FORMAT_RECORD_H
#define TAPE_FORMAT_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_RECORD_KIND(name, number, word, what the body is). Numbers are never reused. */
#define TAPE_RECORD_KIND_TABLE(X)                                                                  \
    X(FRAME_IN, 1, "frame_in", "a frame from the venue, header bytes as received")                 \
    X(FRAME_OUT, 2, "frame_out", "a frame we sent, masked as sent")                                \
    X(HANDSHAKE_REQUEST, 3, "handshake_request", "the HTTP request as sent")                       \
    X(HANDSHAKE_RESPONSE, 4, "handshake_response", "the HTTP response head as received")           \
    X(CONNECTION_OPEN, 5, "connection_open", "JSON: the connection delivers from here on")         \
    X(CONNECTION_CLOSE, 6, "connection_close", "JSON: a connection or an attempt ended")           \
    X(SUBSCRIPTION_ASKED, 7, "subscription_asked", "JSON: streams asked for")                      \
    X(SUBSCRIPTION_ACKED, 8, "subscription_acked", "JSON: the venue's answer")                     \
    X(CLOCK, 9, "clock", "JSON: a sample of the kernel clock's state")                             \
    X(SNAPSHOT, 10, "snapshot", "JSON line, newline, then an HTTP body")                           \
    X(NOTE, 11, "note", "JSON: a gap, silence, stall, disk trouble, or the operator's words")      \
    X(SESSION_START, 12, "session_start", "JSON: a recorder began")                                \
    X(SESSION_END, 13, "session_end", "JSON: a recorder ended in order")                           \
    X(DELAY, 14, "delay", "JSON: histogram of kernel-to-user delay")

enum tape_record_kind {
#define TAPE_RECORD_KIND_ENUM(name, number, word, body) TAPE_RECORD_##name = number,
    TAPE_RECORD_KIND_TABLE(TAPE_RECORD_KIND_ENUM)
#undef TAPE_RECORD_KIND_ENUM
};

/* TAPE_RECORD_FLAG(name, bit, word, meaning) */
#define TAPE_RECORD_FLAG_TABLE(X)                                                                  \
    X(KERNEL_STAMP, 1, "kernel_stamp", "recv_ns is the kernel's stamp, else a user clock's")       \
    X(SHARED_STAMP, 2, "shared_stamp", "the stamp is that of the frame before, too")               \
    X(IMPORTED, 4, "imported", "wrapped from a line of an existing capture")                       \
    X(BAD, 8, "bad", "the bytes break the protocol from some point on; kept as received")          \
    X(PARTIAL, 16, "partial", "the connection ended inside this frame")                            \
    X(AFTER_CLOSE, 32, "after_close", "received after the venue's close frame")

enum tape_record_flag {
#define TAPE_RECORD_FLAG_ENUM(name, bit, word, meaning) TAPE_RECORD_FLAG_##name = bit,
    TAPE_RECORD_FLAG_TABLE(TAPE_RECORD_FLAG_ENUM)
#undef TAPE_RECORD_FLAG_ENUM
};

enum {
    /* Of a record with any of these nobody reads messages. */
    TAPE_RECORD_FLAGS_UNREADABLE =
        TAPE_RECORD_FLAG_BAD | TAPE_RECORD_FLAG_PARTIAL | TAPE_RECORD_FLAG_AFTER_CLOSE,
    /* A frame of 16 MiB with its header, and room to spare; a limit on every reader's allocation.
     */
    TAPE_RECORD_MAX_BYTES = (16 << 20) + 4096,
};

/* data is borrowed: valid until the next call on whatever gave the record. */
struct tape_record {
    uint64_t
        ordinal;     /* position in the archive: first 0, no holes between records that were kept */
    int64_t recv_ns; /* ns since 1970-01-01T00:00:00Z */
    uint32_t connection; /* numbered from 1 in the archive; 0: belongs to none */
    uint32_t bytes;
    uint16_t flags; /* enum tape_record_flag */
    uint8_t kind;   /* enum tape_record_kind; readers pass over kinds they do not know */
    const uint8_t *data;
};

enum { TAPE_RECORD_HEAD_MAX_BYTES = 1 + 4 * 10 };

/* tape_record_put(to, record, previous_recv_ns): encodes into to, which has room for
 * TAPE_RECORD_HEAD_MAX_BYTES + record->bytes. Returns the bytes written. */
size_t tape_record_put(uint8_t *to, const struct tape_record *record, int64_t previous_recv_ns);

/* tape_record_put_head(to, record, previous_recv_ns): the same without the body; at most
 * TAPE_RECORD_HEAD_MAX_BYTES. */
size_t tape_record_put_head(uint8_t *to, const struct tape_record *record,
                            int64_t previous_recv_ns);

/* tape_record_get(from, available, previous_recv_ns, record): decodes one; record->ordinal is left
 * as it is. Returns the bytes used, or 0 when the bytes are no record (in a block that is
 * TAPE_CORRUPT). */
size_t tape_record_get(const uint8_t *from, size_t available, int64_t previous_recv_ns,
                       struct tape_record *record);

/* tape_record_kind_word(kind): the table's word, or NULL for an unknown kind. */
const char *tape_record_kind_word(int kind);

#ifdef __cplusplus
}
#endif
#endif
