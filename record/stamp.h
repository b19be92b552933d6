/* Reads of a socket with the kernel's receive stamp and the length of its queue. */
#ifndef TAPE_RECORD_STAMP_H
#define TAPE_RECORD_STAMP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    TAPE_STAMP_AHEAD_BYTES = 64 << 10,  /* one large read */
    TAPE_STAMP_BACKLOG_BYTES = 2 << 10, /* queued beyond what is asked: more is a backlog */
    TAPE_STAMP_LARGE_BYTES = 4 << 10,   /* asked for: it is worth a read of its own */
    TAPE_STAMP_HEADER_BYTES = 5,        /* of a TLS record */
};

/*
 * A socket that is read from one thread. Invariants: from <= to <= TAPE_STAMP_AHEAD_BYTES; the
 * bytes [from, to) came with the last recvmsg and so do stamp_ns and by_kernel; queued is what the
 * kernel held after it; drained is 1 only between that recvmsg and the next call.
 */
struct tape_stamp {
    int fd;
    int64_t stamp_ns; /* of the last byte the last recvmsg returned, ns since 1970 */
    uint32_t queued;
    uint8_t by_kernel; /* 0: the kernel gave no stamp, stamp_ns is a user clock's */
    uint8_t drained;   /* the queue is known empty: the next call needs no system call to say so */
    uint8_t ended;     /* the peer's FIN was read */
    uint32_t from, to;
    uint8_t *ahead; /* TAPE_STAMP_AHEAD_BYTES of the caller's, or NULL for tape_stamp_read alone */
};

/* tape_stamp_prepare(fd): asks for stamps and queue lengths; to be called before connect(), since
 * what was queued before comes without a stamp. 0, or -1 with errno: then a user clock stands in.
 */
int tape_stamp_prepare(int fd);

/* tape_stamp_begin(stamp, fd, ahead) */
void tape_stamp_begin(struct tape_stamp *stamp, int fd, uint8_t *ahead);

/* tape_stamp_read(stamp, to, bytes): as recv(): at most ${bytes}, 0 at the peer's FIN, -1 with
 * errno. */
ssize_t tape_stamp_read(struct tape_stamp *stamp, void *to, size_t bytes);

/* tape_stamp_read_adaptive(stamp, to, bytes): the same for a caller that asks for exactly what the
 * next TLS record needs: what is asked while the socket is drained, so that each record has a stamp
 * of its own, and through one large read ahead when there is a backlog. */
ssize_t tape_stamp_read_adaptive(struct tape_stamp *stamp, void *to, size_t bytes);

/* tape_stamp_ahead_bytes(stamp): what was read ahead and is not handed out yet: then stamp_ns may
 * be later than the bytes handed out last. */
static inline size_t tape_stamp_ahead_bytes(const struct tape_stamp *stamp)
{
    return stamp->to - stamp->from;
}

#endif
