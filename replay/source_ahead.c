#include "replay/source_ahead.h"

#include <stdlib.h>
#include <string.h>

#include "format/tick.h"
#include "format/ws.h"
#include "replay/source_copy.h"

enum { HELD_FIRST = 256 };

const struct tape_source_ahead_limits tape_source_ahead_default = {
    .ahead_ns = 10000000000ll,
    .bytes = 128 << 20,
};

/* There is no copy any more once it was taken. */
struct held {
    struct tape_source_copy copy;
    int64_t event_ns, at_ns; /* at_ns: the latest receive time when it was put */
};

/*
 * Invariants: messages put lie at their number & mask, [oldest, next) of them; oldest was not taken
 * yet unless it equals next. heap [0, waiting) are the numbers of those not taken, a binary heap by
 * (event_ns, number), with as much room as held. bytes is the sum of theirs.
 */
struct tape_source_ahead {
    struct tape_source_ahead_limits limits;
    struct held *held;
    uint64_t *heap;
    uint64_t mask, oldest, next, waiting, bytes, late;
    int64_t now_ns, event_ns; /* the latest put; the event time of the one put last */
    int64_t taken_ns;         /* the latest event taken */
    struct tape_source_copy lent;
};

static int out_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "out of memory");
}

struct tape_source_ahead *tape_source_ahead_new(const struct tape_source_ahead_limits *limits,
                                                struct tape_error *error)
{
    struct tape_source_ahead *ahead = calloc(1, sizeof *ahead);
    if (ahead) {
        ahead->limits = *limits;
        ahead->mask = HELD_FIRST - 1;
        ahead->held = calloc(HELD_FIRST, sizeof *ahead->held);
        ahead->heap = calloc(HELD_FIRST, sizeof *ahead->heap);
        tape_source_ahead_reset(ahead);
    }
    if (ahead && ahead->held && ahead->heap)
        return ahead;
    tape_source_ahead_free(ahead);
    out_of_memory(error);
    return NULL;
}

static inline struct held *held_at(const struct tape_source_ahead *ahead, uint64_t number)
{
    return &ahead->held[number & ahead->mask];
}

void tape_source_ahead_reset(struct tape_source_ahead *ahead)
{
    for (; ahead->oldest < ahead->next; ahead->oldest++)
        tape_source_copy_free(&held_at(ahead, ahead->oldest)->copy);
    tape_source_copy_free(&ahead->lent);
    ahead->waiting = ahead->bytes = ahead->late = 0;
    ahead->now_ns = ahead->event_ns = ahead->taken_ns = INT64_MIN;
}

void tape_source_ahead_free(struct tape_source_ahead *ahead)
{
    if (!ahead)
        return;
    tape_source_ahead_reset(ahead);
    free(ahead->held);
    free(ahead->heap);
    free(ahead);
}

/* ---- the heap ---- */

static inline int comes_before(const struct tape_source_ahead *ahead, uint64_t one, uint64_t other)
{
    int64_t one_ns = held_at(ahead, one)->event_ns, other_ns = held_at(ahead, other)->event_ns;
    return one_ns < other_ns || (one_ns == other_ns && one < other);
}

static void push(struct tape_source_ahead *ahead, uint64_t number)
{
    uint64_t *heap = ahead->heap, at = ahead->waiting++;
    for (; at > 0 && comes_before(ahead, number, heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = number;
}

static uint64_t pop(struct tape_source_ahead *ahead)
{
    uint64_t *heap = ahead->heap, top = heap[0], moving = heap[--ahead->waiting], at = 0;
    for (;;) {
        uint64_t child = 2 * at + 1;
        if (child >= ahead->waiting)
            break;
        if (child + 1 < ahead->waiting && comes_before(ahead, heap[child + 1], heap[child]))
            child++;
        if (!comes_before(ahead, heap[child], moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
    return top;
}

/* ---- in and out ---- */

static int widen(struct tape_source_ahead *ahead)
{
    uint64_t room = 2 * (ahead->mask + 1);
    uint64_t *heap = realloc(ahead->heap, room * sizeof *heap);
    if (!heap)
        return 0;
    ahead->heap = heap;
    struct held *wider = calloc(room, sizeof *wider);
    if (!wider)
        return 0;
    for (uint64_t i = ahead->oldest; i < ahead->next; i++)
        wider[i & (room - 1)] = *held_at(ahead, i);
    free(ahead->held);
    ahead->held = wider;
    ahead->mask = room - 1;
    return 1;
}

static int64_t event_of(const struct tape_message *message)
{
    struct tape_tick tick;
    if (message->kind != TAPE_FEED_DATA || message->opcode != TAPE_WS_TEXT)
        return TAPE_TICK_NONE;
    tape_tick_scan(message->payload.data, message->payload.bytes, &tick);
    return tick.event_ns;
}

int tape_source_ahead_wants(const struct tape_source_ahead *ahead)
{
    int64_t ahead_ns;
    if (ahead->waiting == 0)
        return 1;
    if (__builtin_sub_overflow(ahead->now_ns, held_at(ahead, ahead->oldest)->at_ns, &ahead_ns))
        return 0;
    return ahead_ns <= ahead->limits.ahead_ns && ahead->bytes <= ahead->limits.bytes;
}

int tape_source_ahead_put(struct tape_source_ahead *ahead, const struct tape_message *message,
                          struct tape_error *error)
{
    tape_source_copy_free(&ahead->lent);
    if (ahead->next - ahead->oldest > ahead->mask && !widen(ahead))
        return out_of_memory(error);
    struct held *held = held_at(ahead, ahead->next);
    int64_t event_ns = event_of(message);
    if (!tape_source_copy_make(&held->copy, message))
        return out_of_memory(error);
    if (message->recv_ns > ahead->now_ns && message->kind != TAPE_FEED_EVENT)
        ahead->now_ns = message->recv_ns;
    if (event_ns != TAPE_TICK_NONE) {
        ahead->event_ns = event_ns;
        ahead->late += event_ns < ahead->taken_ns;
    }
    held->event_ns = ahead->event_ns;
    held->at_ns = ahead->now_ns;
    ahead->bytes += sizeof *held + held->copy.length;
    push(ahead, ahead->next++);
    return 0;
}

int tape_source_ahead_take(struct tape_source_ahead *ahead, struct tape_message **message)
{
    tape_source_copy_free(&ahead->lent);
    if (ahead->waiting == 0)
        return 0;
    struct held *held = held_at(ahead, pop(ahead));
    ahead->lent = held->copy;
    held->copy.bytes = NULL;
    ahead->bytes -= sizeof *held + ahead->lent.length;
    if (held->event_ns > ahead->taken_ns)
        ahead->taken_ns = held->event_ns;
    while (ahead->oldest < ahead->next && !held_at(ahead, ahead->oldest)->copy.bytes)
        ahead->oldest++;
    *message = &ahead->lent.message;
    return 1;
}

uint64_t tape_source_ahead_late(const struct tape_source_ahead *ahead)
{
    return ahead->late;
}
