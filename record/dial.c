#include "record/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "record/clock.h"
#include "record/stamp.h"

/* A peer that went without a word is known after 5 + 3 * 3 s when nothing is to be sent, and after
 * USER_TIMEOUT when something is. */
enum { KEEP_IDLE_S = 5, KEEP_INTERVAL_S = 3, KEEP_PROBES = 3, USER_TIMEOUT_MS = 14000 };

enum { SPARE_DESCRIPTORS = 16 };

/* Best effort: where the system knows one of them not, pings find a dead peer and frames are marked
 * as stamped by a user clock. */
static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
        {IPPROTO_TCP, TCP_NODELAY, 1},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
    tape_stamp_prepare(fd);
}

static void name_peer(const struct sockaddr_storage *address, char *to, size_t room)
{
    char text[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        snprintf(to, room, "[%s]:%d", text, ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        snprintf(to, room, "%s:%d", text, ntohs(four->sin_port));
    }
}

static socklen_t address_bytes(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

static int is_loopback(const struct addrinfo *a)
{
    if (a->ai_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)(void *)a->ai_addr)->sin_addr.s_addr) >> 24 == 127;
}

/* The families by turns, in the resolver's order within each; a plain URL goes to loopback only,
 * whatever "localhost" may resolve to. */
static void choose_addresses(struct tape_dial *dial, const struct addrinfo *found)
{
    const struct addrinfo *at[2] = {found, found};
    int first = found->ai_family, turn = 0;
    while (dial->count < TAPE_DIAL_ADDRESSES_MAX && (at[0] || at[1])) {
        const struct addrinfo *a = at[turn];
        while (a && (turn == 0) != (a->ai_family == first))
            a = a->ai_next;
        at[turn] = a ? a->ai_next : NULL;
        turn = !turn;
        if (!a || (a->ai_family != AF_INET && a->ai_family != AF_INET6) ||
            a->ai_addrlen > sizeof dial->addresses[0])
            continue;
        if (dial->url->secure || is_loopback(a))
            memcpy(&dial->addresses[dial->count++], a->ai_addr, a->ai_addrlen);
    }
}

int tape_dial_begin(struct tape_dial *dial, const struct tape_url *url,
                    struct tape_resolver *resolver, int epoll_fd, void *owner, int64_t now_ns,
                    struct tape_error *error)
{
    *dial =
        (struct tape_dial){.url = url, .epoll_fd = epoll_fd, .owner = owner, .began_ns = now_ns};
    dial->cause = TAPE_DIAL_RESOLVE;
    dial->lookup = tape_resolve_ask(resolver, url->host, url->port);
    if (!dial->lookup)
        return tape_error_errno(error, errno, "resolve \"%s\"", url->host);
    return TAPE_OK;
}

int tape_dial_is_resolving(const struct tape_dial *dial)
{
    return dial->lookup != NULL;
}

/* 1 when the addresses are known, 0 while they are not, or a status. */
static int resolve(struct tape_dial *dial, struct tape_error *error)
{
    const struct addrinfo *found;
    int state = tape_resolve_answer(dial->lookup, &found);
    if (state == 0)
        return 0;
    if (state > 0 && found)
        choose_addresses(dial, found);
    tape_resolve_forget(dial->lookup);
    dial->lookup = NULL;
    dial->connect_began_ns = tape_clock_monotonic();
    dial->resolve_ns = dial->connect_began_ns - dial->began_ns;
    if (state < 0)
        return tape_error_set(error, TAPE_FAILED, "resolve \"%s\": %s", dial->url->host,
                              gai_strerror(state));
    if (dial->count == 0)
        return tape_error_set(error, TAPE_FAILED, "resolve \"%s\": no %saddress", dial->url->host,
                              dial->url->secure ? "" : "loopback ");
    return 1;
}

static void fail_address(struct tape_dial *dial, int index, int errno_value)
{
    char peer[TAPE_DIAL_PEER_BYTES];
    if (dial->fds[index] >= 0)
        close(dial->fds[index]);
    dial->fds[index] = -1;
    dial->last_errno = errno_value;
    name_peer(&dial->addresses[index], peer, sizeof peer);
    if (!dial->trouble.status)
        tape_error_errno(&dial->trouble, errno_value, "%s", peer);
}

/* As socket(), but the last descriptors are left for the archive's files. */
static int open_socket(int family)
{
    struct rlimit limit;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        (rlim_t)fd + SPARE_DESCRIPTORS >= limit.rlim_cur) {
        close(fd);
        errno = EMFILE;
        fd = -1;
    }
    return fd;
}

static void try_next(struct tape_dial *dial, int64_t now_ns)
{
    int index = dial->tried++;
    struct sockaddr_storage *address = &dial->addresses[index];
    int fd = open_socket(address->ss_family);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = dial->owner};
    dial->fds[index] = fd;
    dial->last_try_ns = now_ns;
    if (fd >= 0)
        set_options(fd);
    if (fd < 0 ||
        (connect(fd, (struct sockaddr *)address, address_bytes(address)) && errno != EINPROGRESS) ||
        epoll_ctl(dial->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        fail_address(dial, index, errno);
}

/* The index of a socket that has connected, or -1. */
static int connected(struct tape_dial *dial)
{
    for (int i = 0; i < dial->tried; i++) {
        struct pollfd state = {.fd = dial->fds[i], .events = POLLOUT};
        int failure = 0;
        socklen_t bytes = sizeof failure;
        if (state.fd < 0 || poll(&state, 1, 0) != 1)
            continue;
        if (getsockopt(state.fd, SOL_SOCKET, SO_ERROR, &failure, &bytes))
            failure = errno;
        if (failure == 0 && !(state.revents & (POLLERR | POLLHUP)))
            return i;
        fail_address(dial, i, failure ? failure : ECONNRESET);
    }
    return -1;
}

static int count_open(const struct tape_dial *dial)
{
    int open = 0;
    for (int i = 0; i < dial->tried; i++)
        open += dial->fds[i] >= 0;
    return open;
}

static int fail(struct tape_dial *dial, struct tape_error *error)
{
    dial->cause = dial->last_errno == ECONNREFUSED ? TAPE_DIAL_REFUSED
                  : dial->last_errno == ETIMEDOUT  ? TAPE_DIAL_TIMEOUT
                                                   : TAPE_DIAL_CONNECT;
    if (error)
        *error = dial->trouble;
    return TAPE_FAILED;
}

int tape_dial_step(struct tape_dial *dial, int64_t now_ns, struct tape_error *error)
{
    if (dial->lookup) {
        int resolved = resolve(dial, error);
        if (resolved <= 0)
            return resolved;
    }
    for (;;) {
        int winner = connected(dial);
        if (winner >= 0) {
            dial->fd = dial->fds[winner];
            dial->fds[winner] = -1;
            dial->connect_ns = tape_clock_monotonic() - dial->connect_began_ns;
            name_peer(&dial->addresses[winner], dial->peer, sizeof dial->peer);
            return 1;
        }
        int waiting = count_open(dial) && now_ns - dial->last_try_ns < TAPE_DIAL_STAGGER_NS;
        if (waiting || (count_open(dial) && dial->tried == dial->count))
            return 0;
        if (dial->tried == dial->count)
            return fail(dial, error);
        try_next(dial, now_ns);
    }
}

void tape_dial_end(struct tape_dial *dial)
{
    tape_resolve_forget(dial->lookup);
    dial->lookup = NULL;
    for (int i = 0; i < dial->tried; i++)
        if (dial->fds[i] >= 0)
            close(dial->fds[i]);
    dial->tried = dial->count = 0;
}
