#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "replay/server_state.h"

enum {
    PARTS_MAX = 32,
    VISIT_MAX_BYTES = 2 << 20,  /* a visit's share: then the next peer's turn */
    SEND_MAX_BYTES = 256 << 10, /* of one call */
    SEAL_MAX_BYTES = 64 << 10,  /* sealed before it is sent: whole records */
    /* What may wait sealed: a seal's, an alert and answers to the peer's key updates. */
    SEALED_MAX_BYTES = 4 * SEAL_MAX_BYTES,
};

/* Returns the bytes that the socket took. Fewer than given: it takes no more for now. */
static size_t send_some(struct tape_peer *peer, const void *bytes, size_t count)
{
    ssize_t sent;
    do
        sent = send(peer->fd, bytes, count, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
        tape_peer_lose(peer);
    if (sent < (ssize_t)count)
        peer->writable = 0;
    return sent > 0 ? (size_t)sent : 0;
}

static size_t send_parts(struct tape_peer *peer, const struct tape_peer_part *parts, int count,
                         size_t total)
{
    struct iovec vector[PARTS_MAX];
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = (size_t)count};
    ssize_t sent;
    for (int i = 0; i < count; i++)
        vector[i] = (struct iovec){(void *)(uintptr_t)parts[i].bytes, parts[i].count};
    do
        sent = sendmsg(peer->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
        tape_peer_lose(peer);
    if (sent < (ssize_t)total)
        peer->writable = 0;
    return sent > 0 ? (size_t)sent : 0;
}

/* Cuts the parts off at ${limit} bytes in all; returns how many that are. */
static size_t limit_parts(struct tape_peer_part *parts, int *count, size_t limit)
{
    size_t total = 0;
    for (int i = 0; i < *count; i++) {
        if (total + parts[i].count >= limit) {
            parts[i].count = limit - total;
            *count = i + 1;
            return limit;
        }
        total += parts[i].count;
    }
    return total;
}

static void send_plain(struct tape_peer *peer)
{
    struct tape_peer_part parts[PARTS_MAX];
    for (size_t done = 0; done < VISIT_MAX_BYTES && peer->writable;) {
        int count = tape_peer_gather(peer, parts, PARTS_MAX);
        if (count == 0)
            return;
        size_t total = limit_parts(parts, &count, SEND_MAX_BYTES);
        size_t sent = count == 1 ? send_some(peer, parts[0].bytes, total)
                                 : send_parts(peer, parts, count, total);
        tape_peer_advance(peer, sent);
        done += sent;
    }
}

/* ---- TLS ---- */

static void keep_sealed(struct tape_peer *peer, const uint8_t *bytes, size_t count)
{
    size_t held = peer->sealed_end - peer->sealed_start;
    uint8_t *joined = held + count > SEALED_MAX_BYTES ? NULL : malloc(held + count);
    if (joined == NULL) {
        tape_peer_lose(peer);
        return;
    }
    if (held > 0)
        memcpy(joined, peer->sealed + peer->sealed_start, held);
    memcpy(joined + held, bytes, count);
    free(peer->sealed);
    peer->sealed = joined;
    peer->sealed_start = 0;
    peer->sealed_end = held + count;
}

static void send_kept(struct tape_peer *peer)
{
    size_t held = peer->sealed_end - peer->sealed_start;
    if (held == 0 || !peer->writable)
        return;
    size_t sent = send_some(peer, peer->sealed + peer->sealed_start, held);
    peer->sealed_start += sent;
    if (sent == held) {
        free(peer->sealed);
        peer->sealed = NULL;
        peer->sealed_start = peer->sealed_end = 0;
    }
}

void tape_peer_send_sealed(struct tape_peer *peer)
{
    struct tape_growing *made = &peer->server->sealed;
    size_t count = made->length, sent = 0;
    made->length = 0;
    if (made->failed) {
        made->failed = 0;
        tape_peer_lose(peer);
        return;
    }
    if (count == 0 || peer->state == TAPE_PEER_DEAD)
        return;
    if (peer->sealed_end == peer->sealed_start && peer->writable)
        sent = send_some(peer, made->bytes, count);
    if (sent < count && peer->state != TAPE_PEER_DEAD)
        keep_sealed(peer, made->bytes + sent, count - sent);
}

/* Small parts fill one record together: what a record costs is not to be paid for each frame.
 * Returns the bytes that were sealed. */
static size_t seal_some(struct tape_peer *peer)
{
    struct tape_peer_part parts[PARTS_MAX];
    struct tape_server *server = peer->server;
    int count = tape_peer_gather(peer, parts, PARTS_MAX);
    const uint8_t *from = count ? parts[0].bytes : NULL;
    size_t total = 0;
    if (count == 0)
        return 0;
    if (count == 1 || parts[0].count >= TAPE_TLS_RECORD_BYTES) {
        total = parts[0].count > SEAL_MAX_BYTES ? SEAL_MAX_BYTES : parts[0].count;
        if (count > 1) /* the rest of a record is better filled from the next part */
            total -= total % TAPE_TLS_RECORD_BYTES;
    } else {
        total = limit_parts(parts, &count, TAPE_TLS_RECORD_BYTES);
        from = server->stage;
        size_t at = 0;
        for (int i = 0; i < count; at += parts[i++].count)
            memcpy(server->stage + at, parts[i].bytes, parts[i].count);
    }
    if (tape_tls_seal(peer->tls, from, total, &server->sealed) != 0) {
        tape_peer_lose(peer);
        return 0;
    }
    tape_peer_advance(peer, total);
    return total;
}

static void send_secure(struct tape_peer *peer)
{
    send_kept(peer);
    for (size_t done = 0; done < VISIT_MAX_BYTES && peer->writable;) {
        size_t sealed = 0, more = 1;
        while (sealed < SEAL_MAX_BYTES && more > 0)
            sealed += more = seal_some(peer);
        if (sealed == 0)
            return;
        tape_peer_send_sealed(peer);
        done += sealed;
    }
}

void tape_peer_send(struct tape_peer *peer)
{
    if (peer->state == TAPE_PEER_DEAD || peer->state == TAPE_PEER_LINGER || !peer->writable)
        return;
    if (peer->tls == NULL)
        send_plain(peer);
    else if (peer->state == TAPE_PEER_IN_TLS)
        send_kept(peer);
    else
        send_secure(peer);
}
