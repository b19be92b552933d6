#include "record/stamp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SECOND_NS INT64_C(1000000000)

int tape_stamp_prepare(int fd)
{
    /* SO_TIMESTAMP(NS) stays off: together they make up a stamp at the time of the read when the
     * real one is missing. */
    int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE, on = 1;
    int asked = setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps);
    return setsockopt(fd, IPPROTO_TCP, TCP_INQ, &on, sizeof on) | asked;
}

void tape_stamp_begin(struct tape_stamp *stamp, int fd, uint8_t *ahead)
{
    *stamp = (struct tape_stamp){.fd = fd, .ahead = ahead};
}

static void read_controls(struct tape_stamp *stamp, struct msghdr *message)
{
    stamp->by_kernel = 0;
    stamp->queued = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) {
            struct timespec at; /* the first of three: the software stamp */
            memcpy(&at, CMSG_DATA(c), sizeof at);
            stamp->stamp_ns = at.tv_sec * SECOND_NS + at.tv_nsec;
            stamp->by_kernel = at.tv_sec != 0;
        } else if (c->cmsg_level == IPPROTO_TCP && c->cmsg_type == TCP_CM_INQ) {
            int queued;
            memcpy(&queued, CMSG_DATA(c), sizeof queued);
            stamp->queued = queued > 0 ? (uint32_t)queued : 0;
            stamp->drained = queued == 0;
        }
    }
}

/* One recvmsg over to and, behind it, the read-ahead buffer (which is empty). */
static ssize_t receive(struct tape_stamp *stamp, void *to, size_t bytes, size_t ahead_bytes)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(struct scm_timestamping)) + CMSG_SPACE(sizeof(int)) + 64];
    } control;
    struct iovec parts[2] = {{.iov_base = to, .iov_len = bytes},
                             {.iov_base = stamp->ahead, .iov_len = ahead_bytes}};
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = ahead_bytes ? 2 : 1, .msg_control = control.room};
    ssize_t got;
    if (stamp->drained) {
        stamp->drained = 0;
        errno = EAGAIN;
        return -1;
    }
    do {
        message.msg_controllen = sizeof control.room;
        got = recvmsg(stamp->fd, &message, 0);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        read_controls(stamp, &message);
        if (!stamp->by_kernel) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            stamp->stamp_ns = now.tv_sec * SECOND_NS + now.tv_nsec;
        }
    } else if (got == 0 && bytes > 0) {
        stamp->ended = 1;
    }
    if (got <= (ssize_t)bytes)
        return got;
    stamp->from = 0;
    stamp->to = (uint32_t)((size_t)got - bytes);
    return (ssize_t)bytes;
}

ssize_t tape_stamp_read(struct tape_stamp *stamp, void *to, size_t bytes)
{
    return receive(stamp, to, bytes, 0);
}

/* With a backlog of small records one system call is to fetch many of them; of large ones each has
 * its own, straight to where it belongs, and only the next header is read ahead. */
static size_t ahead_of(const struct tape_stamp *stamp, size_t bytes)
{
    if (stamp->queued <= bytes + TAPE_STAMP_BACKLOG_BYTES)
        return 0;
    return bytes < TAPE_STAMP_LARGE_BYTES ? TAPE_STAMP_AHEAD_BYTES : TAPE_STAMP_HEADER_BYTES;
}

ssize_t tape_stamp_read_adaptive(struct tape_stamp *stamp, void *to, size_t bytes)
{
    if (stamp->from == stamp->to)
        return receive(stamp, to, bytes, ahead_of(stamp, bytes));
    size_t part = stamp->to - stamp->from;
    if (part > bytes)
        part = bytes;
    memcpy(to, stamp->ahead + stamp->from, part);
    stamp->from += (uint32_t)part;
    return (ssize_t)part;
}
