#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "replay/server_state.h"

enum {
    BACKLOG = 1024,
    TAKE_MAX = 16, /* a visit's share: a handshake may cost a millisecond of this thread */
};
#define SHORT_OF_FILES_NS (TAPE_SERVER_SECOND_NS / 10)

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t address_bytes(const union address *address)
{
    return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

static void put_address(const union address *address, char *to, size_t room)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof host);
        snprintf(to, room, "%s:%d", host, ntohs(address->v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof host);
        snprintf(to, room, "[%s]:%d", host, ntohs(address->v6.sin6_port));
    }
}

/* ---- addresses ---- */

static int refuse(const char *text, struct tape_error *error)
{
    return tape_error_set(
        error, TAPE_USAGE,
        "\"%.100s\" is no address to listen on: write 127.0.0.1:9080, [::1]:9080, "
        ":9080 or 0.0.0.0:9080; port 0 takes any free one",
        text);
}

/* "HOST:PORT" with a numeric host. Without one, and for localhost, both loopbacks are meant. */
static int parse(const char *text, union address *address, int *both, struct tape_error *error)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t bytes = colon ? (size_t)(colon - text) : 0, digits = colon ? strlen(colon + 1) : 0;
    if (!colon || bytes >= sizeof host || digits == 0 || digits > 5 ||
        strspn(colon + 1, "0123456789") != digits)
        return refuse(text, error);
    long port = strtol(colon + 1, NULL, 10);
    if (port > 65535)
        return refuse(text, error);
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    memset(address, 0, sizeof *address);
    *both = bytes == 0 || strcmp(host, "localhost") == 0;
    if (bytes > 2 && host[0] == '[' && host[bytes - 1] == ']') {
        host[bytes - 1] = '\0';
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host + 1, &address->v6.sin6_addr) == 1 ? 0 : refuse(text, error);
    }
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, *both ? "127.0.0.1" : host, &address->v4.sin_addr) == 1
               ? 0
               : refuse(text, error);
}

static const char *advice(int errno_value)
{
    switch (errno_value) {
    case EADDRINUSE:
        return "another program listens there already: choose another port, or 0 for any free one";
    case EADDRNOTAVAIL:
        return "this machine does not have that address";
    case EACCES:
        return "this user may not listen there: ports below 1024 are reserved";
    default:
        return strerror(errno_value);
    }
}

static int refuse_bind(const union address *address, int errno_value, struct tape_error *error)
{
    char text[TAPE_PEER_FROM_BYTES];
    put_address(address, text, sizeof text);
    return tape_error_set(error, TAPE_FAILED, "listen on %s: %s", text, advice(errno_value));
}

/* Adds a listener; address becomes the one that it has got. 0, or an errno. */
static int add_listener(struct tape_server *server, union address *address)
{
    static const int one = 1;
    socklen_t bytes = address_bytes(address);
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &address->any, bytes) == 0 && listen(fd, BACKLOG) == 0 &&
        getsockname(fd, &address->any, &bytes) == 0) {
        server->listeners[server->listeners_count++] = fd;
        return 0;
    }
    int errno_value = errno;
    close(fd);
    return errno_value;
}

/* Clients that dial "localhost" may try ::1 first, and some try nothing else. Without IPv6 there is
 * nobody who could. */
static int add_other_loopback(struct tape_server *server, const union address *first, int any_port,
                              struct tape_error *error)
{
    union address other = {.v6 = {.sin6_family = AF_INET6,
                                  .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                  .sin6_port = first->v4.sin_port}};
    int errno_value = add_listener(server, &other);
    return errno_value != EADDRINUSE || any_port ? 0 : refuse_bind(&other, errno_value, error);
}

static int watch(struct tape_server *server, struct tape_error *error)
{
    for (int i = 0; i < server->listeners_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server->listeners[i]};
        if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listeners[i], &event) != 0)
            return tape_error_errno(error, errno, "watch the listening socket");
    }
    server->listening = 1;
    return 0;
}

int tape_server_listen(struct tape_server *server, struct tape_error *error)
{
    union address address;
    int both = 0, status = parse(server->options.listen, &address, &both, error);
    if (status < 0)
        return status;
    int any_port = address.v4.sin_port == 0; /* at the same place in both kinds */
    int errno_value = add_listener(server, &address);
    if (errno_value)
        return refuse_bind(&address, errno_value, error);
    put_address(&address, server->address, sizeof server->address);
    if (both)
        status = add_other_loopback(server, &address, any_port, error);
    return status < 0 ? status : watch(server, error);
}

void tape_server_stop_listening(struct tape_server *server)
{
    while (server->listeners_count > 0)
        close(server->listeners[--server->listeners_count]);
    server->listening = 0;
    server->listen_again_ns = 0;
}

/* ---- connections ---- */

/* Without a file descriptor to spare the connections wait where they are, and the epoll set must
 * not tell of them again and again. */
static void pause_listening(struct tape_server *server)
{
    for (int i = 0; i < server->listeners_count; i++)
        epoll_ctl(server->epoll, EPOLL_CTL_DEL, server->listeners[i], NULL);
    server->listening = 0;
    server->listen_again_ns = server->now_ns + SHORT_OF_FILES_NS;
    if (server->listen_again_ns < server->next_ns)
        server->next_ns = server->listen_again_ns;
}

static void take(struct tape_server *server, int fd, const union address *address)
{
    char from[TAPE_PEER_FROM_BYTES];
    int peers = server->peers_count - server->refused_count;
    int refused = peers >= server->options.peers_max;
    put_address(address, from, sizeof from);
    if (refused && server->refused_count >= TAPE_SERVER_REFUSED_MAX) {
        close(fd);
        return;
    }
    struct tape_peer *peer = tape_peer_new(server, fd, from, refused);
    if (peer) {
        peer->readable = 1;
        tape_server_visit_later(server, peer);
    }
}

void tape_server_take(struct tape_server *server)
{
    if (!server->listening && server->listen_again_ns &&
        server->now_ns >= server->listen_again_ns) {
        server->listen_again_ns = 0;
        if (watch(server, NULL) != 0)
            pause_listening(server);
    }
    for (int i = 0; server->listening && i < server->listeners_count; i++) {
        for (int taken = 0; taken < TAKE_MAX; taken++) {
            union address address;
            socklen_t bytes = sizeof address;
            int fd =
                accept4(server->listeners[i], &address.any, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                take(server, fd, &address);
                continue;
            }
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                pause_listening(server);
                return;
            }
            if (errno == EAGAIN)
                break;
            /* anything else is that one connection's trouble */
        }
    }
}
