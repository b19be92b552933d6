/*
 * Any bytes, however they are split, are cut into the same frames and end in the same fault. The
 * first four bytes of the input choose limit, direction and the sizes of the parts.
 */
#include "format/ws.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/guard.h"

enum { FRAMES_MAX = 512 };

struct outcome {
    struct tape_ws_frame frames[FRAMES_MAX];
    size_t count, used;
    int64_t fault;
    int closed;
};

static void check(int condition)
{
    if (!condition)
        abort();
}

/* xorshift: parts of 1 to 16 bytes, now and then longer ones. */
static size_t next_part(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return 1 + (*seed % 8 ? *seed / 8 % 16 : *seed / 8 % 4096);
}

static void check_frame(const struct tape_ws_receiver *receiver, const struct tape_ws_frame *frame,
                        int64_t got, size_t there)
{
    check((uint64_t)got == frame->header_bytes + frame->payload_bytes);
    check((uint64_t)got <= there);
    check(receiver->message_bytes <= receiver->message_limit);
    check(!receiver->header_seen);
    check(receiver->in_message <= 2);
}

/* seed 0: all at once. Bytes are given so that they end at the forbidden page. */
static void receive(struct outcome *outcome, const struct guard *guard, const uint8_t *data,
                    size_t bytes, uint64_t limit, int server, uint32_t seed)
{
    struct tape_ws_receiver receiver = {.message_limit = limit, .expect_masked = (uint8_t)server};
    size_t arrived = seed ? 0 : bytes;
    memset(outcome, 0, sizeof *outcome);
    for (;;) {
        struct tape_ws_frame frame;
        size_t there = arrived - outcome->used;
        int64_t got = tape_ws_receive(&receiver, guard_put(guard, data + outcome->used, there),
                                      there, &frame);
        check(receiver.message_bytes <= limit);
        if (got < 0) {
            check(!receiver.closed);
            outcome->fault = got;
            break;
        }
        if (got > 0 && receiver.closed == 2) { /* no frames any more: split as it comes */
            check((size_t)got == there);
            outcome->used = arrived;
            break;
        }
        if (got > 0) {
            check_frame(&receiver, &frame, got, there);
            outcome->used += (size_t)got;
            if (outcome->count < FRAMES_MAX)
                outcome->frames[outcome->count] = frame;
            outcome->count++;
            continue;
        }
        check(tape_ws_needed_bytes(&receiver) - 14 <= (limit < 125 ? 125 : limit) ||
              tape_ws_needed_bytes(&receiver) < 14);
        if (arrived == bytes)
            break;
        size_t part = next_part(&seed);
        arrived = bytes - arrived < part ? bytes : arrived + part;
    }
    outcome->closed = receiver.closed;
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    check(a->count == b->count);
    check(a->fault == b->fault);
    check(a->closed == b->closed);
    check(a->closed == 2 || a->used == b->used);
    for (size_t i = 0; i < a->count && i < FRAMES_MAX; i++) {
        check(a->frames[i].payload_bytes == b->frames[i].payload_bytes);
        check(a->frames[i].header_bytes == b->frames[i].header_bytes);
        check(a->frames[i].opcode == b->frames[i].opcode);
        check(a->frames[i].fin == b->frames[i].fin);
        check(a->frames[i].masked == b->frames[i].masked);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct guard guard;
    static struct outcome whole, parts, bytewise;
    static const uint64_t limits[] = {0, 1, 10, 125, 1000, 16 << 20, INT64_MAX, UINT64_MAX};
    if (!guard.base)
        guard = guard_open(64 << 10);
    if (bytes < 4 || bytes > 60 << 10)
        return 0;
    uint64_t limit = limits[data[0] & 7];
    int server = data[0] >> 3 & 1;
    uint32_t seed = 1 + (uint32_t)(data[1] | data[2] << 8 | data[3] << 16);
    data += 4;
    bytes -= 4;
    receive(&whole, &guard, data, bytes, limit, server, 0);
    receive(&parts, &guard, data, bytes, limit, server, seed);
    compare(&whole, &parts);
    if (bytes > 200)
        return 0;
    struct tape_ws_receiver receiver = {.message_limit = limit, .expect_masked = (uint8_t)server};
    size_t arrived = 0;
    memset(&bytewise, 0, sizeof bytewise);
    while (arrived <= bytes) {
        struct tape_ws_frame frame;
        int64_t got =
            tape_ws_receive(&receiver, data + bytewise.used, arrived - bytewise.used, &frame);
        if (got < 0)
            bytewise.fault = got;
        if (got < 0 || receiver.closed == 2)
            break;
        if (got == 0) {
            arrived++;
            continue;
        }
        if (bytewise.count < FRAMES_MAX)
            bytewise.frames[bytewise.count] = frame;
        bytewise.count++;
        bytewise.used += (size_t)got;
    }
    bytewise.closed = receiver.closed;
    compare(&whole, &bytewise);
    return 0;
}
