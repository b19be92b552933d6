/*
 * A WebSocket client that throws away what it gets:
 *
 *   discard PORT PATH [CA]
 *
 * from localhost, over TLS where CA is given, until the server ends it. Counts whole frames, looks
 * at their headers only. Prints messages, bytes, and the time from the first to the last, as JSON.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/report.h"

enum { ROOM = 1 << 18 };

/* What of the stream of frames was seen: header bytes are gathered, payloads only counted. */
struct frames {
    unsigned char head[10];
    size_t have;
    uint64_t left, messages;
    int closed;
};

static void stop(const char *words)
{
    fprintf(stderr, "discard: %s\n", words);
    exit(1);
}

/* 1 when the header is whole; left is then what its payload has. */
static int head_is_whole(struct frames *frames)
{
    size_t wanted = frames->have < 2         ? 2
                    : frames->head[1] == 126 ? 4
                    : frames->head[1] == 127 ? 10
                                             : 2;
    if (frames->have < wanted)
        return 0;
    frames->left = wanted == 2 ? frames->head[1] : 0;
    for (size_t i = 2; i < wanted; i++)
        frames->left = frames->left << 8 | frames->head[i];
    frames->messages += (frames->head[0] & 0x0f) == 1 && (frames->head[0] & 0x80);
    frames->closed |= (frames->head[0] & 0x0f) == 8;
    frames->have = 0;
    return 1;
}

static void take(struct frames *frames, const unsigned char *bytes, size_t count)
{
    while (count > 0) {
        size_t passed = frames->left < count ? (size_t)frames->left : count;
        frames->left -= passed;
        bytes += passed;
        count -= passed;
        if (count > 0) {
            frames->head[frames->have++] = *bytes++;
            count--;
            head_is_whole(frames);
        }
    }
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        stop("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static SSL *begin_tls(int fd, const char *ca)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
        stop("no such CA");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    SSL_set_tlsext_host_name(tls, "localhost");
    SSL_set1_host(tls, "localhost");
    if (SSL_connect(tls) != 1)
        stop("TLS handshake");
    return tls;
}

static ssize_t take_some(SSL *tls, int fd, unsigned char *to, size_t room)
{
    return tls ? SSL_read(tls, to, (int)room) : read(fd, to, room);
}

/* Returns how many bytes behind the head were read with it; they are at the buffer's begin. */
static size_t upgrade(SSL *tls, int fd, int port, const char *path, unsigned char *buffer)
{
    char request[4096];
    int bytes = snprintf(request, sizeof request,
                         "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                         "Sec-WebSocket-Version: 13\r\n\r\n",
                         path, port);
    if (bytes >= (int)sizeof request)
        stop("the path is too long");
    if ((tls ? SSL_write(tls, request, bytes) : write(fd, request, (size_t)bytes)) != bytes)
        stop("request");
    size_t have = 0;
    for (;;) {
        ssize_t got = take_some(tls, fd, buffer + have, ROOM - have);
        if (got <= 0)
            stop("no answer");
        have += (size_t)got;
        unsigned char *end = memmem(buffer, have, "\r\n\r\n", 4);
        if (!end)
            continue;
        if (memcmp(buffer, "HTTP/1.1 101", 12) != 0)
            stop("refused");
        have -= (size_t)(end + 4 - buffer);
        memmove(buffer, end + 4, have);
        return have;
    }
}

int main(int argc, char **argv)
{
    static unsigned char buffer[ROOM];
    struct frames frames = {0};
    if (argc < 3)
        stop("PORT PATH [CA]");
    int port = (int)strtol(argv[1], NULL, 10), fd = dial(port);
    SSL *tls = argc > 3 ? begin_tls(fd, argv[3]) : NULL;
    ssize_t got = (ssize_t)upgrade(tls, fd, port, argv[2], buffer);
    int64_t first = 0, last = 0;
    uint64_t bytes = 0;
    do {
        if (got > 0 && first == 0)
            first = bench_now_ns(CLOCK_MONOTONIC);
        take(&frames, buffer, got > 0 ? (size_t)got : 0);
        bytes += got > 0 ? (uint64_t)got : 0;
        last = bench_now_ns(CLOCK_MONOTONIC);
    } while (!frames.closed && (got = take_some(tls, fd, buffer, ROOM)) > 0);
    printf("{\"messages\":%llu,\"bytes\":%llu,\"wall_ns\":%lld}\n",
           (unsigned long long)frames.messages, (unsigned long long)bytes,
           (long long)(last - first));
    return 0;
}
