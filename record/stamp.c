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
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps))
        return -1;
    return setsockopt(fd, IPPROTO_TCP, TCP_INQ, &on, sizeof on);
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

static ssize_t receive(struct tape_stamp *stamp, void *to, size_t bytes)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(struct scm_timestamping)) + CMSG_SPACE(sizeof(int)) + 64];
    } control;
    struct iovec part = {.iov_base = to, .iov_len = bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room};
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
    return got;
}

ssize_t tape_stamp_read(struct tape_stamp *stamp, void *to, size_t bytes)
{
    return receive(stamp, to, bytes);
}

ssize_t tape_stamp_read_adaptive(struct tape_stamp *stamp, void *to, size_t bytes)
{
    if (stamp->from == stamp->to) {
        if (stamp->queued <= bytes + TAPE_STAMP_BACKLOG_BYTES)
            return receive(stamp, to, bytes);
        ssize_t got = receive(stamp, stamp->ahead, TAPE_STAMP_AHEAD_BYTES);
        if (got <= 0)
            return got;
        stamp->from = 0;
        stamp->to = (uint32_t)got;
    }
    size_t part = stamp->to - stamp->from;
    if (part > bytes)
        part = bytes;
    memcpy(to, stamp->ahead + stamp->from, part);
    stamp->from += (uint32_t)part;
    return (ssize_t)part;
}
