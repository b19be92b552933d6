#include <stdlib.h>
#include <string.h>

#include "replay/server_state.h"

enum {
    /* A private piece begins small, for the answers to a request; in a stream of puts each is twice
     * the one before. */
    PRIVATE_MIN_BYTES = 4 << 10,
    PRIVATE_MAX_BYTES = 64 << 10,
    /* A batch that holds less than this share of its room is copied: references to mostly empty
     * ones would hold far more memory than the queue is said to. */
    BATCH_SHARE = 4,
};

static struct tape_peer_piece *piece_at(const struct tape_peer *peer, unsigned index)
{
    return &peer->pieces[(peer->pieces_first + index) & (peer->pieces_room - 1)];
}

static struct tape_peer_piece *last_piece(const struct tape_peer *peer)
{
    return peer->pieces_count ? piece_at(peer, peer->pieces_count - 1) : NULL;
}

static int grow_pieces(struct tape_peer *peer)
{
    unsigned room = peer->pieces_room ? peer->pieces_room * 2 : 8;
    struct tape_peer_piece *larger = malloc(room * sizeof *larger);
    if (larger == NULL)
        return 0;
    for (unsigned i = 0; i < peer->pieces_count; i++)
        larger[i] = *piece_at(peer, i);
    free(peer->pieces);
    peer->pieces = larger;
    peer->pieces_room = room;
    peer->pieces_first = 0;
    return 1;
}

/* Takes over one reference, also when it fails. */
static int push_piece(struct tape_peer *peer, struct tape_batch *batch, size_t start, size_t end)
{
    if (peer->pieces_count == peer->pieces_room && !grow_pieces(peer)) {
        tape_batch_release(batch);
        return 0;
    }
    *piece_at(peer, peer->pieces_count++) = (struct tape_peer_piece){batch, start, end};
    peer->last_private = 0;
    return 1;
}

static void pop_piece(struct tape_peer *peer)
{
    tape_batch_release(piece_at(peer, 0)->batch);
    peer->pieces_first++;
    if (--peer->pieces_count == 0)
        peer->last_private = 0;
}

static void queued(struct tape_peer *peer, size_t bytes)
{
    peer->queued_bytes += bytes;
    peer->was_full |= peer->queued_bytes >= peer->server->options.queue_max_bytes;
    tape_server_visit_later(peer->server, peer);
}

/* ---- appending ---- */

static uint8_t *reserve(struct tape_peer *peer, size_t bytes)
{
    struct tape_peer_piece *last = last_piece(peer);
    size_t room = PRIVATE_MIN_BYTES;
    if (peer->last_private) {
        uint8_t *to = tape_batch_reserve(last->batch, bytes);
        if (to)
            return to;
        room =
            last->batch->room * 2 > PRIVATE_MAX_BYTES ? PRIVATE_MAX_BYTES : last->batch->room * 2;
    }
    struct tape_batch *batch = tape_batch_new(room > bytes ? room : bytes);
    if (batch == NULL || !push_piece(peer, batch, 0, 0)) {
        tape_peer_lose(peer);
        return NULL;
    }
    peer->last_private = 1;
    return batch->bytes;
}

static void commit(struct tape_peer *peer, size_t bytes)
{
    struct tape_peer_piece *last = last_piece(peer);
    tape_batch_commit(last->batch, bytes);
    last->end += bytes;
    queued(peer, bytes);
}

void tape_peer_append(struct tape_peer *peer, const void *bytes, size_t count)
{
    uint8_t *to = count && peer->state != TAPE_PEER_DEAD ? reserve(peer, count) : NULL;
    if (to == NULL)
        return;
    memcpy(to, bytes, count);
    commit(peer, count);
}

uint8_t *tape_peer_reserve(struct tape_peer *peer, size_t bytes)
{
    return peer->state == TAPE_PEER_OPEN ? reserve(peer, bytes) : NULL;
}

void tape_peer_commit(struct tape_peer *peer, size_t bytes)
{
    if (peer->state == TAPE_PEER_OPEN && peer->last_private)
        commit(peer, bytes);
}

void tape_peer_put(struct tape_peer *peer, const void *bytes, size_t count)
{
    if (peer->state == TAPE_PEER_OPEN)
        tape_peer_append(peer, bytes, count);
}

void tape_peer_put_text(struct tape_peer *peer, const char *payload, size_t bytes)
{
    uint8_t *to = tape_peer_reserve(peer, TAPE_WS_HEADER_MAX_BYTES + bytes);
    if (to == NULL)
        return;
    size_t header = tape_ws_build(to, TAPE_WS_TEXT, 1, bytes, NULL);
    if (bytes > 0)
        memcpy(to + header, payload, bytes);
    commit(peer, header + bytes);
}

void tape_peer_put_batch(struct tape_peer *peer, struct tape_batch *batch)
{
    if (peer->state != TAPE_PEER_OPEN || batch->used == 0)
        return;
    if (batch->used < batch->room / BATCH_SHARE) {
        tape_peer_append(peer, batch->bytes, batch->used);
        return;
    }
    batch->references++;
    if (push_piece(peer, batch, 0, batch->used))
        queued(peer, batch->used);
    else
        tape_peer_lose(peer);
}

size_t tape_peer_queued_bytes(const struct tape_peer *peer)
{
    return peer->queued_bytes;
}

int64_t tape_peer_room(const struct tape_peer *peer)
{
    return (int64_t)peer->server->options.queue_max_bytes - (int64_t)peer->queued_bytes;
}

/* ---- control frames ---- */

static void put_control(struct tape_peer *peer, const void *frame, size_t bytes)
{
    memcpy(peer->control + peer->control_end, frame, bytes);
    peer->control_end = (uint16_t)(peer->control_end + bytes);
    tape_server_visit_later(peer->server, peer);
}

int tape_peer_append_control(struct tape_peer *peer, int opcode, const void *payload, size_t bytes)
{
    uint8_t frame[TAPE_WS_HEADER_MAX_BYTES + TAPE_WS_CONTROL_MAX_BYTES];
    size_t header = tape_ws_build(frame, opcode, 1, bytes, NULL);
    if (bytes > 0)
        memcpy(frame + header, payload, bytes);
    if (peer->control_start == peer->control_end)
        peer->control_start = peer->control_end = 0;
    if (header + bytes > sizeof peer->control - peer->control_end) {
        /* RFC 6455 5.5.3: only the latest ping needs an answer */
        if (opcode == TAPE_WS_PONG) {
            memcpy(peer->pong, frame, header + bytes);
            peer->pong_bytes = (uint8_t)(header + bytes);
        }
        return 0;
    }
    put_control(peer, frame, header + bytes);
    return 1;
}

/* ---- leaving ---- */

static int add_part(struct tape_peer_part *parts, int count, const uint8_t *bytes, size_t length)
{
    if (length == 0)
        return count;
    parts[count] = (struct tape_peer_part){bytes, length};
    return count + 1;
}

int tape_peer_gather(const struct tape_peer *peer, struct tape_peer_part *parts, int room)
{
    int count = 0;
    unsigned index = 0;
    if (peer->mid_piece) {
        const struct tape_peer_piece *piece = piece_at(peer, index++);
        count =
            add_part(parts, count, piece->batch->bytes + piece->start, piece->end - piece->start);
    }
    if (count < room)
        count = add_part(parts, count, peer->control + peer->control_start,
                         (size_t)(peer->control_end - peer->control_start));
    for (; index < peer->pieces_count && count < room; index++) {
        const struct tape_peer_piece *piece = piece_at(peer, index);
        count =
            add_part(parts, count, piece->batch->bytes + piece->start, piece->end - piece->start);
    }
    return count;
}

/* Of the first piece; returns what is left of ${bytes}. */
static size_t advance_piece(struct tape_peer *peer, size_t bytes)
{
    struct tape_peer_piece *piece = piece_at(peer, 0);
    size_t part = piece->end - piece->start;
    if (part > bytes)
        part = bytes;
    piece->start += part;
    peer->queued_bytes -= part;
    peer->mid_piece = piece->start < piece->end;
    if (!peer->mid_piece)
        pop_piece(peer);
    return bytes - part;
}

static size_t advance_control(struct tape_peer *peer, size_t bytes)
{
    size_t part = (size_t)(peer->control_end - peer->control_start);
    if (part > bytes)
        part = bytes;
    peer->control_start = (uint16_t)(peer->control_start + part);
    if (peer->control_start == peer->control_end) {
        peer->control_start = peer->control_end = 0;
        if (peer->pong_bytes > 0)
            put_control(peer, peer->pong, peer->pong_bytes);
        peer->pong_bytes = 0;
    }
    return bytes - part;
}

void tape_peer_advance(struct tape_peer *peer, size_t bytes)
{
    peer->advanced |= bytes > 0;
    if (peer->mid_piece)
        bytes = advance_piece(peer, bytes);
    if (bytes > 0)
        bytes = advance_control(peer, bytes);
    while (bytes > 0)
        bytes = advance_piece(peer, bytes);
}

void tape_peer_trim(struct tape_peer *peer, size_t bytes)
{
    while (peer->queued_bytes > bytes && peer->pieces_count > (peer->mid_piece ? 1u : 0u)) {
        struct tape_peer_piece *last = last_piece(peer);
        peer->queued_bytes -= last->end - last->start;
        tape_batch_release(last->batch);
        peer->pieces_count--;
        peer->last_private = 0;
    }
}
