#include "replay/faults_held.h"

#include <stdlib.h>
#include <string.h>

#include "replay/faults.h"

enum { BUCKETS = 1024 }; /* of those that wait, by stream */

/* Invariants: one is first, so that a pointer to it is one to the node; delay_ns counts from the
 * stamp that ends the waiting; at_ns is known once waits is 0. */
struct node {
    struct tape_faults_held_one one;
    struct node *next;
    uint64_t number; /* in the order of tape_faults_held_keep(): as recorded */
    uint64_t stream; /* its hash */
    uint32_t waits;
    int64_t delay_ns;
    size_t bytes; /* of the node with its text */
    uint8_t text[];
};

struct list {
    struct node *first, **end;
};

/* Invariants: a node is in one of next, heap and waiting; lists are in the order of their numbers
 * within a stream; heap[0] leaves first, and no node before its parent (i - 1) / 2; bytes and count
 * are of all nodes; waiting_count is of those in waiting. */
struct tape_faults_held {
    struct list next;
    struct node **heap;
    size_t heap_count, heap_room;
    struct list waiting[BUCKETS];
    size_t waiting_count;
    uint64_t next_number;
    size_t count, bytes;
};

/* ---- lists and the heap ---- */

static void append(struct list *list, struct node *node)
{
    node->next = NULL;
    *list->end = node;
    list->end = &node->next;
}

static struct node *take_first(struct list *list)
{
    struct node *node = list->first;
    if (!node)
        return NULL;
    list->first = node->next;
    if (!list->first)
        list->end = &list->first;
    return node;
}

static int leaves_before(const struct node *one, const struct node *other)
{
    if (one->one.at_ns != other->one.at_ns)
        return one->one.at_ns < other->one.at_ns;
    return one->number < other->number;
}

/* The heap has room: see tape_faults_held_keep(). */
static void push(struct tape_faults_held *held, struct node *node)
{
    size_t at = held->heap_count++;
    while (at > 0 && leaves_before(node, held->heap[(at - 1) / 2])) {
        held->heap[at] = held->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    held->heap[at] = node;
}

static struct node *pop(struct tape_faults_held *held)
{
    struct node *first = held->heap[0], *last = held->heap[--held->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < held->heap_count) {
        if (child + 1 < held->heap_count && leaves_before(held->heap[child + 1], held->heap[child]))
            child++;
        if (!leaves_before(held->heap[child], last))
            break;
        held->heap[at] = held->heap[child];
        at = child;
    }
    held->heap[at] = last;
    return first;
}

/* What waits for nothing but its delay, which begins at from_ns. */
static void settle(struct tape_faults_held *held, struct node *node, int64_t from_ns)
{
    if (__builtin_add_overflow(from_ns, node->delay_ns, &node->one.at_ns))
        node->one.at_ns = INT64_MAX;
    if (node->delay_ns == 0)
        append(&held->next, node);
    else
        push(held, node);
}

/* ---- copies ---- */

/* By name; without one by connection. Equal hashes are taken for equal streams. */
static uint64_t hash_stream(const struct tape_message *message)
{
    uint64_t hash = 0xcbf29ce484222325u;
    if (message->stream.bytes == 0)
        return hash ^ ((uint64_t)message->archive << 32 | message->connection);
    for (size_t i = 0; i < message->stream.bytes; i++)
        hash = (hash ^ (uint8_t)message->stream.data[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

/* Where part lies in whole, or SIZE_MAX. */
static size_t offset_in(const struct tape_slice *part, const struct tape_slice *whole)
{
    uintptr_t at = (uintptr_t)part->data, from = (uintptr_t)whole->data;
    if (!part->data || at < from || at - from > whole->bytes ||
        whole->bytes - (at - from) < part->bytes)
        return SIZE_MAX;
    return at - from;
}

/* Puts slice to ${to}, or, where it lies in one that was put already, there. Returns what follows.
 */
static uint8_t *put_slice(uint8_t *to, struct tape_slice *slice, const struct tape_slice *original,
                          const struct tape_slice *put)
{
    size_t within = offset_in(slice, original);
    if (within != SIZE_MAX) {
        slice->data = put->data + within;
        return to;
    }
    if (slice->bytes > 0)
        memcpy(to, slice->data, slice->bytes);
    slice->data = (const char *)to;
    return to + slice->bytes;
}

static size_t text_bytes(const struct tape_message *message)
{
    size_t bytes = message->frame.bytes;
    if (offset_in(&message->payload, &message->frame) == SIZE_MAX)
        bytes += message->payload.bytes;
    if (offset_in(&message->stream, &message->payload) == SIZE_MAX)
        bytes += message->stream.bytes;
    return bytes;
}

static void copy_text(struct node *node, const struct tape_message *message)
{
    static const struct tape_slice nowhere;
    struct tape_message *copy = &node->one.message;
    *copy = *message;
    uint8_t *to = put_slice(node->text, &copy->frame, &nowhere, &nowhere);
    to = put_slice(to, &copy->payload, &message->frame, &copy->frame);
    put_slice(to, &copy->stream, &message->payload, &copy->payload);
}

/* ---- the whole ---- */

struct tape_faults_held *tape_faults_held_new(void)
{
    struct tape_faults_held *held = calloc(1, sizeof *held);
    if (!held)
        return NULL;
    held->next.end = &held->next.first;
    for (int i = 0; i < BUCKETS; i++)
        held->waiting[i].end = &held->waiting[i].first;
    return held;
}

static void free_list(struct list *list)
{
    struct node *node;
    while ((node = take_first(list)) != NULL)
        free(node);
}

void tape_faults_held_clear(struct tape_faults_held *held)
{
    free_list(&held->next);
    for (int i = 0; i < BUCKETS; i++)
        free_list(&held->waiting[i]);
    for (size_t i = 0; i < held->heap_count; i++)
        free(held->heap[i]);
    held->heap_count = held->waiting_count = held->count = held->bytes = 0;
}

void tape_faults_held_free(struct tape_faults_held *held)
{
    if (!held)
        return;
    tape_faults_held_clear(held);
    free(held->heap);
    free(held);
}

/* The heap has room for all that are held, so that later steps cannot fail. */
static int make_room(struct tape_faults_held *held)
{
    if (held->count < held->heap_room)
        return 1;
    size_t room = held->heap_room ? held->heap_room * 2 : 64;
    struct node **heap = realloc(held->heap, room * sizeof(struct node *));
    if (!heap)
        return 0;
    held->heap = heap;
    held->heap_room = room;
    return 1;
}

int tape_faults_held_keep(struct tape_faults_held *held, const struct tape_message *message,
                          uint32_t waits, int64_t delay_ns)
{
    size_t bytes = sizeof(struct node) + text_bytes(message);
    if (held->count >= TAPE_FAULTS_HELD_MAX || bytes > TAPE_FAULTS_HELD_MAX_BYTES - held->bytes)
        return 0;
    struct node *node = make_room(held) ? malloc(bytes) : NULL;
    if (!node)
        return TAPE_FAILED;
    *node = (struct node){.number = held->next_number++,
                          .stream = hash_stream(message),
                          .waits = waits,
                          .delay_ns = delay_ns,
                          .bytes = bytes};
    copy_text(node, message);
    held->count++;
    held->bytes += bytes;
    if (waits == 0) {
        settle(held, node, message->recv_ns);
    } else {
        append(&held->waiting[node->stream % BUCKETS], node);
        held->waiting_count++;
    }
    return 1;
}

void tape_faults_held_pass(struct tape_faults_held *held, const struct tape_message *message)
{
    if (held->waiting_count == 0)
        return;
    uint64_t stream = hash_stream(message);
    struct list *list = &held->waiting[stream % BUCKETS];
    for (struct node **at = &list->first; *at;) {
        struct node *node = *at;
        if (node->stream != stream || --node->waits > 0) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        if (!*at)
            list->end = at;
        held->waiting_count--;
        settle(held, node, message->recv_ns);
    }
}

void tape_faults_held_end(struct tape_faults_held *held, int64_t last_ns)
{
    for (int i = 0; i < BUCKETS; i++) {
        struct node *node;
        while ((node = take_first(&held->waiting[i])) != NULL) {
            if (__builtin_add_overflow(last_ns, node->delay_ns, &node->one.at_ns))
                node->one.at_ns = INT64_MAX;
            push(held, node); /* by number, which the buckets are not */
        }
    }
    held->waiting_count = 0;
}

static struct tape_faults_held_one *hand_out(struct tape_faults_held *held, struct node *node)
{
    held->count--;
    held->bytes -= node->bytes;
    return &node->one;
}

struct tape_faults_held_one *tape_faults_held_next(struct tape_faults_held *held)
{
    struct node *node = take_first(&held->next);
    return node ? hand_out(held, node) : NULL;
}

const struct tape_faults_held_one *tape_faults_held_first(const struct tape_faults_held *held)
{
    return held->heap_count > 0 ? &held->heap[0]->one : NULL;
}

struct tape_faults_held_one *tape_faults_held_take(struct tape_faults_held *held)
{
    return held->heap_count > 0 ? hand_out(held, pop(held)) : NULL;
}

void tape_faults_held_free_one(struct tape_faults_held_one *one)
{
    free(one);
}
