/* From a URL to a connected socket, without waiting. */
#ifndef TAPE_RECORD_DIAL_H
#define TAPE_RECORD_DIAL_H

#include <stdint.h>
#include <sys/socket.h>

#include "format/error.h"
#include "record/resolve.h"
#include "record/url.h"

enum {
    TAPE_DIAL_ADDRESSES_MAX = 8, /* of one name: more are not tried */
    TAPE_DIAL_PEER_BYTES = 64,
};
#define TAPE_DIAL_STAGGER_NS INT64_C(250000000) /* until the next address is tried beside */

/* What step a dial failed in. */
enum tape_dial_cause { TAPE_DIAL_RESOLVE, TAPE_DIAL_REFUSED, TAPE_DIAL_CONNECT, TAPE_DIAL_TIMEOUT };

/*
 * Addresses are tried in turn, the families by turns, the next one when the one before failed or
 * has not answered for TAPE_DIAL_STAGGER_NS; the first to connect wins. Invariants: fds[0..tried)
 * are the sockets of addresses[0..tried), -1 once they failed; all open ones are in the caller's
 * epoll with EPOLLOUT and the caller's pointer.
 */
struct tape_dial {
    const struct tape_url *url;
    int epoll_fd;
    void *owner;
    struct tape_lookup *lookup;
    struct sockaddr_storage addresses[TAPE_DIAL_ADDRESSES_MAX];
    int fds[TAPE_DIAL_ADDRESSES_MAX];
    int count, tried;
    int fd;                                          /* the winner */
    int64_t began_ns, connect_began_ns, last_try_ns; /* monotonic */
    int64_t resolve_ns, connect_ns;                  /* how long the steps took */
    int last_errno;
    enum tape_dial_cause cause; /* of the failure */
    struct tape_error trouble;  /* of the first address that failed */
    char peer[TAPE_DIAL_PEER_BYTES];
};

/* tape_dial_begin(dial, url, resolver, epoll_fd, owner, now_ns, error): 0 or a status. */
int tape_dial_begin(struct tape_dial *dial, const struct tape_url *url,
                    struct tape_resolver *resolver, int epoll_fd, void *owner, int64_t now_ns,
                    struct tape_error *error);

/* tape_dial_step(dial, now_ns, error): to be called on every event of the sockets and of the
 * resolver's wake_fd, and at least each TAPE_DIAL_STAGGER_NS. 0 while it goes on, 1 with dial->fd
 * connected to dial->peer (in the epoll, the caller's from now on), or a negative status with cause
 * and last_errno set. */
int tape_dial_step(struct tape_dial *dial, int64_t now_ns, struct tape_error *error);

/* tape_dial_is_resolving(dial): 1 until the addresses are known. */
int tape_dial_is_resolving(const struct tape_dial *dial);

/* tape_dial_end(dial): gives everything back but a socket that was handed out. */
void tape_dial_end(struct tape_dial *dial);

#endif
