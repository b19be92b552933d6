#include "format/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/guard.h"
#include "tests/unit/random_below.h"
#include "tests/unit/utf8_table.h"
#include "tests/unit/ws_table.h"

enum { GUARD_BYTES = 4096, WIRE_BYTES = (16 << 20) + (1 << 20) };

static struct guard guard;
static uint8_t *wire, *masked_wire; /* WIRE_BYTES each */
static int open_all(void **state)
{
    (void)state;
    guard = guard_open(GUARD_BYTES);
    wire = malloc(WIRE_BYTES);
    masked_wire = malloc(WIRE_BYTES);
    return wire && masked_wire ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    guard_close(&guard);
    free(wire);
    free(masked_wire);
    return 0;
}

/* ---- wires ---- */

/* Reads the table's notation into ${to}; returns the bytes. */
static size_t read_wire(const char *text, uint8_t *to)
{
    size_t bytes = 0;
    while (*text) {
        if (*text == ' ') {
            text++;
        } else if (*text == '\'') {
            for (text++; *text != '\''; text++)
                to[bytes++] = (uint8_t)*text;
            text++;
        } else if (*text == '*') {
            size_t count = strtoul(text + 1, (char **)(uintptr_t)&text, 10);
            memset(to + bytes, to[bytes - 1], count - 1);
            bytes += count - 1;
        } else {
            char pair[3] = {text[0], text[1], 0};
            char *end;
            to[bytes++] = (uint8_t)strtoul(pair, &end, 16);
            assert_true(*end == '\0');
            text += 2;
        }
    }
    return bytes;
}

/* The same frames as a client sends them, each masked with a key of its own; byte by byte and with
 * no help from the code under test. */
static size_t mask_wire(const uint8_t *from, size_t bytes, uint8_t *to)
{
    size_t at = 0, used = 0;
    while (at + 1 < bytes) {
        size_t form = from[at + 1] & 0x7f, extra = form == 126 ? 2 : form == 127 ? 8 : 0;
        uint64_t length = extra ? 0 : form;
        uint8_t key[4];
        to[used++] = from[at++];
        to[used++] = from[at++] | 0x80;
        for (; extra > 0 && at < bytes; extra--) {
            length = length << 8 | from[at];
            to[used++] = from[at++];
        }
        for (int i = 0; i < 4; i++)
            to[used++] = key[i] = (uint8_t)random_below(256);
        for (uint64_t i = 0; i < length && at < bytes; i++)
            to[used++] = from[at++] ^ key[i % 4];
    }
    if (at < bytes)
        to[used++] = from[at];
    return used;
}

/* ---- running a receiver over a wire that arrives in parts ---- */

struct run {
    char frames[8192];
    size_t written;
    unsigned count;
    int fault;
    size_t arrived, start; /* when the fault was seen, or at the end; where the last frame began */
};

static void note_frame(struct run *run, const struct tape_ws_frame *frame)
{
    static const char letters[] = "cTB?????CPO";
    assert_true(frame->opcode <= 10);
    assert_int_equal(frame->rsv, 0);
    run->count++;
    if (run->written + 32 < sizeof run->frames)
        run->written +=
            (size_t)snprintf(run->frames + run->written, 32, "%s%c%s%llu", run->written ? " " : "",
                             letters[frame->opcode], frame->fin ? "" : "-",
                             (unsigned long long)frame->payload_bytes);
}

/* What is there of the current frame, at the end of the address space where that is cheap. */
static const uint8_t *arrival(const uint8_t *data, size_t bytes)
{
    return bytes <= GUARD_BYTES ? guard_put(&guard, data, bytes) : data;
}

static void run_wire(struct run *run, int server, const uint8_t *data, size_t bytes, size_t first,
                     size_t step)
{
    struct tape_ws_receiver receiver = {.message_limit = TAPE_WS_MESSAGE_MAX_BYTES,
                                        .expect_masked = (uint8_t)server};
    struct tape_ws_frame frame;
    *run = (struct run){.arrived = first < bytes ? first : bytes};
    for (;;) {
        const uint8_t *here = arrival(data + run->start, run->arrived - run->start);
        int64_t got = tape_ws_receive(&receiver, here, run->arrived - run->start, &frame);
        if (got < 0) {
            run->fault = (int)-got;
            assert_int_equal(tape_ws_receive(&receiver, here, run->arrived - run->start, &frame),
                             got);
            return;
        }
        if (got > 0) {
            assert_true((uint64_t)got <= run->arrived - run->start);
            assert_int_equal((uint64_t)got, frame.header_bytes + frame.payload_bytes);
            assert_int_equal(frame.masked, server);
            note_frame(run, &frame);
            run->start += (size_t)got;
            continue;
        }
        uint64_t needed = tape_ws_needed_bytes(&receiver);
        assert_true(needed > run->arrived - run->start || needed == 2);
        assert_true(needed <= TAPE_WS_MESSAGE_MAX_BYTES + TAPE_WS_HEADER_MAX_BYTES);
        if (run->arrived == bytes)
            return;
        run->arrived += step < bytes - run->arrived ? step : bytes - run->arrived;
    }
}

static void expect(const char *name, const struct run *run, const char *frames, int fault)
{
    if (run->fault != fault || strcmp(run->frames, frames) != 0)
        fail_msg("%s: \"%s\" and %s, not \"%s\" and %s", name, run->frames,
                 tape_ws_fault_words(run->fault), frames, tape_ws_fault_words(fault));
}

/* At once, byte by byte, in a few other steps, and in two parts at every offset (of long wires: at
 * those near the ends). */
static void expect_at_every_split(const char *name, int server, const uint8_t *data, size_t bytes,
                                  const char *frames, int fault, size_t at)
{
    struct run run;
    run_wire(&run, server, data, bytes, bytes, 1);
    expect(name, &run, frames, fault);
    if (!fault && run.start != bytes)
        fail_msg("%s: %zu of %zu bytes used", name, run.start, bytes);
    run_wire(&run, server, data, bytes, 0, 1);
    expect(name, &run, frames, fault);
    if (at && run.arrived != at)
        fail_msg("%s: the fault is seen at byte %zu, not %zu", name, run.arrived, at);
    static const size_t steps[] = {2, 3, 7, 997, 1300};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        run_wire(&run, server, data, bytes, steps[i], steps[i]);
        expect(name, &run, frames, fault);
    }
    for (size_t split = 0; split <= bytes; split++) {
        if (split > 300 && bytes - split > 300)
            split = bytes - 300;
        run_wire(&run, server, data, bytes, split, bytes);
        expect(name, &run, frames, fault);
    }
}

/* Received by a client as it is, and by a server in masked frames. */
static void expect_both_ways(const char *name, const uint8_t *data, size_t bytes,
                             const char *frames, int fault, size_t at)
{
    expect_at_every_split(name, 0, data, bytes, frames, fault, at);
    if (fault == TAPE_WS_FAULT_MASK)
        return;
    size_t masked = mask_wire(data, bytes, masked_wire);
    expect_at_every_split(name, 1, masked_wire, masked, frames, fault, 0);
}

static void the_table_is_met_both_ways_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_CASES; i++) {
        const struct ws_case *c = &ws_table[i];
        size_t bytes = read_wire(c->wire, wire);
        expect_both_ways(c->name, wire, bytes, c->frames, c->fault,
                         c->fault ? (c->at ? c->at : bytes) : 0);
    }
}

/* ---- headers ---- */

/* The rules for a first byte, from the text of section 5.2 and 5.5, one opcode at a time. */
static int first_byte_want(unsigned byte, int in_message)
{
    static const char known[16] = "ddd.....ccc.....";
    char kind = known[byte % 16];
    if (byte / 16 % 8)
        return TAPE_WS_FAULT_RESERVED_BITS;
    if (kind == '.')
        return TAPE_WS_FAULT_RESERVED_OPCODE;
    if (kind == 'c')
        return byte < 128 ? TAPE_WS_FAULT_CONTROL_FRAGMENT : TAPE_WS_FAULT_NONE;
    if (byte % 16 == 0)
        return in_message ? TAPE_WS_FAULT_NONE : TAPE_WS_FAULT_CONTINUATION;
    return in_message ? TAPE_WS_FAULT_INTERLEAVED : TAPE_WS_FAULT_NONE;
}

static void every_first_byte_in_every_state(void **state)
{
    (void)state;
    for (int in_message = 0; in_message < 2; in_message++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            for (size_t payload = 0; payload < 3; payload++) {
                uint8_t data[8] = {0x01, 0x01, 'a'}, *at = data + (in_message ? 3 : 0);
                struct run run;
                at[0] = (uint8_t)byte;
                at[1] = (uint8_t)payload;
                at[2] = 0x03;
                at[3] = 0xe8;
                int want = first_byte_want(byte, in_message);
                size_t before = (size_t)(at - data), bytes = before + 2 + payload;
                if (!want && byte == 0x88 && payload == 1)
                    want = TAPE_WS_FAULT_CLOSE_LENGTH;
                /* 03 e8 is the close code 1000, and a text that is cut */
                if (!want && (byte == 0x81 || byte == 0x80) && payload == 2)
                    want = TAPE_WS_FAULT_UTF8;
                run_wire(&run, 0, data, bytes, bytes, 1);
                if (run.fault != want)
                    fail_msg("first byte %02x, payload %zu, in message %d: %s", byte, payload,
                             in_message, tape_ws_fault_words(run.fault));
                run_wire(&run, 0, data, before + 1, before + 1, 1);
                assert_int_equal(run.fault, first_byte_want(byte, in_message));
            }
        }
    }
}

/* tape_ws_header at every prefix of every interesting header. */
static void headers_are_read_at_every_prefix(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {
        0, 1, 125, 126, 127, 255, 256, 65535, 65536, 0xffffffff, 0x100000000, INT64_MAX, 16 << 20};
    static const unsigned opcodes[] = {0, 1, 2, 8, 9, 10};
    static const uint8_t key[4] = {1, 2, 0xfe, 0};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths * 6 * 4; i++) {
        uint64_t length = lengths[i / 24];
        int opcode = (int)opcodes[i / 4 % 6], fin = i % 2, masked = i / 2 % 2;
        uint8_t data[TAPE_WS_HEADER_MAX_BYTES];
        size_t bytes = tape_ws_build(data, opcode, fin, length, masked ? key : NULL);
        size_t want = (length < 126 ? 2u : length < 65536 ? 4u : 10u) + (masked ? 4u : 0u);
        assert_int_equal(bytes, want);
        int good = opcode < 8 || (fin && length < 126);
        for (size_t part = 0; part <= bytes; part++) {
            struct tape_ws_frame frame = {.opcode = 77};
            int got = tape_ws_header(guard_put(&guard, data, part), part, &frame);
            if (part == bytes && good) {
                assert_int_equal(got, bytes);
                assert_int_equal(frame.header_bytes, bytes);
                assert_true(frame.payload_bytes == length);
                assert_int_equal(frame.opcode, opcode);
                assert_int_equal(frame.fin, fin);
                assert_int_equal(frame.rsv, 0);
                assert_int_equal(frame.masked, masked);
                if (masked)
                    assert_memory_equal(frame.mask, key, 4);
                continue;
            }
            int fault = good || part == 0 ? 0
                        : !fin            ? -TAPE_WS_FAULT_CONTROL_FRAGMENT
                        : part > 1        ? -TAPE_WS_FAULT_CONTROL_LENGTH
                                          : 0;
            assert_int_equal(got, fault);
            assert_int_equal(frame.opcode, 77);
        }
    }
}

/* Every 16-bit length, and 64-bit lengths with each single bit set. */
static void lengths_have_one_form(void **state)
{
    (void)state;
    struct tape_ws_frame frame;
    for (unsigned length = 0; length < 65536; length++) {
        uint8_t data[4] = {0x82, 126, (uint8_t)(length >> 8), (uint8_t)length};
        int got = tape_ws_header(data, 4, &frame);
        assert_int_equal(got, length < 126 ? -TAPE_WS_FAULT_LENGTH_FORM : 4);
        if (got > 0)
            assert_int_equal(frame.payload_bytes, length);
    }
    for (int bit = 0; bit < 64; bit++) {
        uint8_t data[10] = {0x82, 127};
        data[9 - bit / 8] = (uint8_t)(1 << bit % 8);
        int got = tape_ws_header(data, 10, &frame);
        assert_int_equal(got, bit < 16    ? -TAPE_WS_FAULT_LENGTH_FORM
                              : bit == 63 ? -TAPE_WS_FAULT_LENGTH_TOP_BIT
                                          : 10);
        if (got > 0)
            assert_true(frame.payload_bytes == (uint64_t)1 << bit);
    }
}

static void build_writes_the_examples_of_the_rfc(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    static const uint8_t masked[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                     0x7f, 0x9f, 0x4d, 0x51, 0x58};
    uint8_t to[TAPE_WS_HEADER_MAX_BYTES + 5];
    assert_int_equal(tape_ws_build(to, TAPE_WS_TEXT, 1, 5, NULL), 2);
    assert_memory_equal(to, "\x81\x05", 2);
    assert_int_equal(tape_ws_build(to, TAPE_WS_TEXT, 1, 5, key), 6);
    tape_ws_mask(to + 6, (const uint8_t *)"Hello", 5, key, 0);
    assert_memory_equal(to, masked, 11);
    assert_int_equal(tape_ws_build(to, TAPE_WS_TEXT, 0, 3, NULL), 2);
    assert_memory_equal(to, "\x01\x03", 2);
    assert_int_equal(tape_ws_build(to, TAPE_WS_CONTINUATION, 1, 2, NULL), 2);
    assert_memory_equal(to, "\x80\x02", 2);
    assert_int_equal(tape_ws_build(to, TAPE_WS_PONG, 1, 5, key), 6);
    assert_memory_equal(to, "\x8a\x85\x37\xfa\x21\x3d", 6);
    assert_int_equal(tape_ws_build(to, TAPE_WS_BINARY, 1, 256, NULL), 4);
    assert_memory_equal(to, "\x82\x7e\x01\x00", 4);
    assert_int_equal(tape_ws_build(to, TAPE_WS_BINARY, 1, 65536, NULL), 10);
    assert_memory_equal(to, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

/* ---- masking ---- */

static void mask_is_that_of_the_naive_loop(void **state)
{
    (void)state;
    uint8_t from[160], want[160], key[4];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)random_below(256);
    for (size_t bytes = 0; bytes <= 140; bytes++) {
        for (uint64_t offset = 0; offset < 9; offset++) {
            uint64_t from_offset = offset < 8 ? offset : UINT64_MAX - random_below(4);
            for (int i = 0; i < 4; i++)
                key[i] = (uint8_t)random_below(256);
            for (size_t i = 0; i < bytes; i++)
                want[i] = from[i] ^ key[(from_offset + i) % 4];
            uint8_t *to = guard_put(&guard, from, bytes);
            tape_ws_mask(to, to, bytes, key, from_offset);
            assert_memory_equal(to, want, bytes);
            for (size_t shift = 0; shift < 8; shift++) { /* source and target of any alignment */
                memset(to - shift, 0, bytes);
                tape_ws_mask(to - shift, from, bytes, key, from_offset);
                assert_memory_equal(to - shift, want, bytes);
            }
        }
    }
}

/* ---- texts ---- */

static size_t put_frame(uint8_t *to, int opcode, int fin, const void *payload, size_t bytes)
{
    size_t header = tape_ws_build(to, opcode, fin, bytes, NULL);
    if (bytes)
        memcpy(to + header, payload, bytes);
    return header + bytes;
}

/* The table of UTF-8 as a message whole and in two fragments with a ping between. */
static void texts_are_checked_over_all_fragments(void **state)
{
    (void)state;
    for (size_t i = 0; i < UTF8_CASES; i++) {
        const struct utf8_case *c = &utf8_table[i];
        size_t text = c->bytes ? c->bytes : strlen(c->text);
        for (size_t split = 0; split <= text; split++) {
            size_t bytes = put_frame(wire, TAPE_WS_TEXT, 0, c->text, split);
            bytes += put_frame(wire + bytes, TAPE_WS_PING, 1, "\xff", 1);
            bytes +=
                put_frame(wire + bytes, TAPE_WS_CONTINUATION, 1, c->text + split, text - split);
            char want[64] = "";
            if (c->fail < 0 || (size_t)c->fail >= split)
                snprintf(want, sizeof want, "T-%zu P1", split);
            if (c->fail == UTF8_OK)
                snprintf(want + strlen(want), 32, " c%zu", text - split);
            size_t at = c->fail < 0                ? bytes
                        : (size_t)c->fail >= split ? 7 + (size_t)c->fail + 1
                                                   : 2 + (size_t)c->fail + 1;
            expect_both_ways(c->what, wire, bytes, want,
                             c->fail == UTF8_OK ? TAPE_WS_FAULT_NONE : TAPE_WS_FAULT_UTF8,
                             c->fail == UTF8_OK ? 0 : at);
        }
        size_t whole = put_frame(wire, TAPE_WS_TEXT, 1, c->text, text);
        char want[64] = "";
        if (c->fail == UTF8_OK)
            snprintf(want, sizeof want, "T%zu", text);
        expect_both_ways(c->what, wire, whole, want,
                         c->fail == UTF8_OK ? TAPE_WS_FAULT_NONE : TAPE_WS_FAULT_UTF8,
                         c->fail == UTF8_OK ? 0
                         : c->fail < 0      ? whole
                                            : 2 + (size_t)c->fail + 1);
    }
}

/* ---- closing ---- */

static int close_code_want(unsigned code)
{
    static const struct {
        unsigned first, last;
    } good[] = {{1000, 1003}, {1007, 1014}, {3000, 3999}, {4000, 4999}};
    for (size_t i = 0; i < 4; i++)
        if (code >= good[i].first && code <= good[i].last)
            return 1;
    return 0;
}

static void every_close_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 65536; code++) {
        uint8_t data[4] = {0x88, 2, (uint8_t)(code >> 8), (uint8_t)code};
        uint16_t got = 0;
        const uint8_t *reason;
        size_t reason_bytes = 99;
        struct run run;
        int want = close_code_want(code);
        assert_int_equal(tape_ws_close_code_valid(code), want);
        run_wire(&run, 0, data, 4, 4, 1);
        assert_int_equal(run.fault, want ? 0 : TAPE_WS_FAULT_CLOSE_CODE);
        assert_int_equal(tape_ws_close_parse(data + 2, 2, &got, &reason, &reason_bytes),
                         want ? 0 : -TAPE_WS_FAULT_CLOSE_CODE);
        if (want) {
            assert_int_equal(got, code);
            assert_int_equal(reason_bytes, 0);
        }
    }
    assert_int_equal(tape_ws_close_code_valid(65536 + 1000), 0);
}

static void close_payloads_are_parsed(void **state)
{
    (void)state;
    uint8_t payload[200] = {0x03, 0xe9};
    uint16_t code = 0;
    const uint8_t *reason = NULL;
    size_t reason_bytes = 99;
    assert_int_equal(tape_ws_close_parse(NULL, 0, &code, &reason, &reason_bytes), 0);
    assert_int_equal(code, 1005);
    assert_int_equal(reason_bytes, 0);
    assert_int_equal(tape_ws_close_parse(payload, 1, &code, &reason, &reason_bytes),
                     -TAPE_WS_FAULT_CLOSE_LENGTH);
    assert_int_equal(tape_ws_close_parse(payload, 126, &code, &reason, &reason_bytes),
                     -TAPE_WS_FAULT_CONTROL_LENGTH);
    for (size_t i = 0; i < UTF8_CASES; i++) {
        const struct utf8_case *c = &utf8_table[i];
        size_t text = c->bytes ? c->bytes : strlen(c->text);
        memcpy(payload + 2, c->text, text);
        const uint8_t *data = guard_put(&guard, payload, text + 2);
        int want = c->fail == UTF8_OK ? 0 : -TAPE_WS_FAULT_CLOSE_UTF8;
        assert_int_equal(tape_ws_close_parse(data, text + 2, &code, &reason, &reason_bytes), want);
        if (want == 0) {
            assert_int_equal(code, 1001);
            assert_int_equal(reason_bytes, text);
            assert_ptr_equal(reason, data + 2);
        }
        size_t bytes = put_frame(wire, TAPE_WS_CLOSE, 1, payload, text + 2);
        char frames[32] = "";
        if (want == 0)
            snprintf(frames, sizeof frames, "C%zu", text + 2);
        expect_both_ways(c->what, wire, bytes, frames, -want,
                         want == 0     ? 0
                         : c->fail < 0 ? bytes
                                       : 4 + (size_t)c->fail + 1);
    }
}

/* What is no frame after a close is handed over as it comes, and never ends in a fault. */
static void bytes_after_a_close_are_never_a_fault(void **state)
{
    (void)state;
    static const char *const after[] = {
        "ff00010203", "8300", "827f7fffffffffffffff 010203", "897e00", "0900 81", "827e0001 61",
    };
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        uint8_t data[64];
        size_t bytes = read_wire(after[i], data);
        for (size_t split = 0; split <= bytes; split++) {
            struct tape_ws_receiver receiver = {.message_limit = 1000};
            struct tape_ws_frame frame;
            size_t used = 0;
            assert_int_equal(tape_ws_receive(&receiver, (const uint8_t *)"\x88\x00", 2, &frame), 2);
            assert_int_equal(receiver.closed, 1);
            for (size_t end = split;; end = bytes) {
                while (used < end) {
                    int64_t got = tape_ws_receive(
                        &receiver, guard_put(&guard, data + used, end - used), end - used, &frame);
                    assert_true(got >= 0);
                    if (got == 0)
                        break;
                    assert_int_equal(frame.header_bytes + frame.payload_bytes, got);
                    used += (size_t)got;
                }
                if (end == bytes)
                    break;
            }
            assert_int_equal(used, bytes);
            assert_int_equal(receiver.closed, 2);
            assert_int_equal(frame.header_bytes, 0);
            assert_int_equal(frame.opcode, 0);
            /* never again: what looks like a frame now is one by accident */
            assert_int_equal(tape_ws_receive(&receiver,
                                             (const uint8_t *)"\x81\x01"
                                                              "a!!",
                                             5, &frame),
                             5);
            assert_int_equal(frame.header_bytes, 0);
        }
    }
    struct tape_ws_receiver receiver = {.message_limit = 1000, .closed = 1};
    struct tape_ws_frame frame;
    assert_int_equal(tape_ws_receive(&receiver, (const uint8_t *)"\x81\x05zz", 4, &frame), 0);
    assert_int_equal(
        tape_ws_receive(&receiver, (const uint8_t *)"\x81\x05zz\xff\xff\xff", 7, &frame), 7);
    assert_int_equal(frame.header_bytes, 2);
    assert_int_equal(receiver.closed, 1);
}

/* ---- limits ---- */

static void the_limit_counts_all_fragments(void **state)
{
    (void)state;
    static const char *const good[] = {
        "810a 'x'*10 810a 'x'*10",
        "0105 'x'*5 8905 'p'*5 8005 'x'*5 810a 'x'*10",
        "0100 000a 'x'*10 0000 8000",
        "0209 'x'*9 0001 'x' 897d 'p'*125 8000",
    };
    static const struct {
        const char *wire;
        size_t at;
    } bad[] = {
        {"810b 'x'*11", 2},
        {"0105 'x'*5 8006 'x'*6", 9},
        {"010a 'x'*10 0001 'x'", 14},
        {"0105 'x'*5 897d 'p'*125 0005 'x'*5 8001 'x'", 7 + 127 + 7 + 2},
        {"827e007e 'x'*126", 4},
    };
    struct tape_ws_frame frame;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct tape_ws_receiver receiver = {.message_limit = 10};
        size_t bytes = read_wire(good[i], wire);
        for (size_t at = 0; at < bytes;) {
            int64_t got = tape_ws_receive(&receiver, wire + at, bytes - at, &frame);
            assert_true(got > 0);
            assert_true(receiver.message_bytes <= 10);
            at += (size_t)got;
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tape_ws_receiver receiver = {.message_limit = 10};
        size_t bytes = read_wire(bad[i].wire, wire), start = 0;
        for (size_t arrived = 0; arrived <= bytes; arrived++) {
            int64_t got = tape_ws_receive(&receiver, wire + start, arrived - start, &frame);
            assert_int_equal(got < 0 ? got : 0, arrived < bad[i].at ? 0 : -TAPE_WS_FAULT_TOO_BIG);
            assert_true(receiver.message_bytes <= 10);
            if (got < 0)
                break;
            start += (size_t)got;
        }
        assert_true(start < bad[i].at);
        receiver = (struct tape_ws_receiver){.message_limit = 10};
        int64_t got = 1;
        for (size_t at = 0; got > 0; at += (size_t)got) /* all of it there at once */
            got = tape_ws_receive(&receiver, wire + at, bytes - at, &frame);
        assert_int_equal(got, -TAPE_WS_FAULT_TOO_BIG);
    }
}

static void needed_bytes_grow_with_the_header(void **state)
{
    (void)state;
    static const uint8_t key[4] = {1, 2, 3, 4};
    static const uint64_t lengths[] = {0, 5, 126, 65536, 16 << 20};
    for (int masked = 0; masked < 2; masked++) {
        for (size_t i = 0; i < 5; i++) {
            struct tape_ws_receiver receiver = {.message_limit = TAPE_WS_MESSAGE_MAX_BYTES,
                                                .expect_masked = (uint8_t)masked};
            struct tape_ws_frame frame;
            uint8_t data[TAPE_WS_HEADER_MAX_BYTES + 5] = {0};
            size_t header = tape_ws_build(data, TAPE_WS_BINARY, 1, lengths[i], masked ? key : NULL);
            assert_int_equal(tape_ws_needed_bytes(&receiver), 2);
            for (size_t part = 0; part <= header; part++) {
                int64_t got = tape_ws_receive(&receiver, data, part, &frame);
                if (part == header && lengths[i] == 0) {
                    assert_int_equal(got, header);
                    assert_int_equal(tape_ws_needed_bytes(&receiver), 2);
                    break;
                }
                assert_int_equal(got, 0);
                assert_true(tape_ws_needed_bytes(&receiver) == (part < 2 ? 2
                                                                : part < header
                                                                    ? header
                                                                    : header + lengths[i]));
            }
            if (lengths[i] == 5) {
                assert_int_equal(tape_ws_receive(&receiver, data, header + 5, &frame), header + 5);
                assert_int_equal(tape_ws_needed_bytes(&receiver), 2);
            }
        }
    }
}

static void needed_bytes_start_again_after_any_frame(void **state)
{
    (void)state;
    struct tape_ws_receiver receiver = {.message_limit = 1000};
    struct tape_ws_frame frame;
    size_t bytes = read_wire("817e007e 'x'*126", wire);
    assert_int_equal(tape_ws_receive(&receiver, wire, 2, &frame), 0);
    assert_int_equal(tape_ws_needed_bytes(&receiver), 4);
    assert_int_equal(tape_ws_receive(&receiver, wire, bytes, &frame), bytes);
    assert_int_equal(tape_ws_needed_bytes(&receiver), 2);
}

/* A caller that comes back with less than before gets no further, and no byte is read twice. */
static void fewer_bytes_than_before_are_not_looked_at(void **state)
{
    (void)state;
    struct tape_ws_receiver receiver = {.message_limit = 1000};
    struct tape_ws_frame frame;
    uint8_t data[12] = {0x81, 10, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'};
    assert_int_equal(tape_ws_receive(&receiver, data, 8, &frame), 0);
    for (size_t bytes = 0; bytes < 8; bytes++)
        assert_int_equal(tape_ws_receive(&receiver, guard_put(&guard, data, bytes), bytes, &frame),
                         0);
    assert_int_equal(tape_ws_receive(&receiver, data, 12, &frame), 12);
}

/* ---- long messages ---- */

static void long_messages_whole_and_in_chops(void **state)
{
    (void)state;
    for (size_t bytes = 64 << 10; bytes <= 16 << 20; bytes *= 4) {
        for (int opcode = TAPE_WS_TEXT; opcode <= TAPE_WS_BINARY; opcode++) {
            size_t header = tape_ws_build(wire, opcode, 1, bytes, NULL);
            memset(wire + header, opcode == TAPE_WS_TEXT ? '*' : 0xfe, bytes);
            for (size_t step = 64; step <= 32 << 20; step *= step < 2048 ? 2 : 128) {
                struct run run;
                char want[32];
                if (step < 1024 && bytes > 1 << 20)
                    continue;
                snprintf(want, sizeof want, "%c%zu", opcode == TAPE_WS_TEXT ? 'T' : 'B', bytes);
                run_wire(&run, 0, wire, header + bytes, step, step);
                expect(want, &run, want, TAPE_WS_FAULT_NONE);
            }
        }
    }
}

static void long_messages_in_many_fragments(void **state)
{
    (void)state;
    static const struct {
        size_t message, fragment;
    } cases[] = {{4 << 20, 64},       {4 << 20, 256},     {4 << 20, 1 << 10}, {4 << 20, 4 << 10},
                 {4 << 20, 64 << 10}, {4 << 20, 4 << 20}, {64 << 10, 1300},   {16 << 20, 64 << 10}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        size_t left = cases[i / 2].message, bytes = 0, count = 0;
        int opcode = i % 2 ? TAPE_WS_TEXT : TAPE_WS_BINARY;
        while (left > 0) {
            size_t part = left < cases[i / 2].fragment ? left : cases[i / 2].fragment;
            left -= part;
            size_t header = tape_ws_build(wire + bytes, count ? 0 : opcode, left == 0, part, NULL);
            memset(wire + bytes + header, '*', part);
            bytes += header + part;
            count++;
        }
        struct run run;
        run_wire(&run, 0, wire, bytes, 4096, 4096);
        assert_int_equal(run.fault, 0);
        assert_int_equal(run.count, count);
        assert_int_equal(run.start, bytes);
        bytes += put_frame(wire + bytes, opcode, 0, "abc", 3); /* the next one counts from zero */
        run_wire(&run, 0, wire, bytes, bytes, 1);
        assert_int_equal(run.fault, 0);
        assert_int_equal(run.start, bytes);
    }
}

/* ---- round trip ---- */

static size_t random_payload(uint8_t *to, int text)
{
    static const char *const words[] = {"a", "{\"e\":1}", "\xc3\xa4", "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80"};
    size_t bytes = 0, want = random_below(8) ? random_below(400) : random_below(70000);
    while (bytes < want) {
        if (text) {
            const char *word = words[random_below(random_below(2) ? 2 : 5)];
            memcpy(to + bytes, word, strlen(word));
            bytes += strlen(word);
        } else {
            to[bytes++] = (uint8_t)random_below(256);
        }
    }
    return bytes;
}

struct sent {
    uint8_t opcode, fin;
    size_t at, bytes; /* the payload in the clear, in ${clear} */
};

enum { SENT_MAX = 256, CLEAR_BYTES = 2 << 20 };
static struct sent sent[SENT_MAX];
static uint8_t clear[CLEAR_BYTES];

static size_t send_frame(uint8_t *to, size_t *count, int opcode, int fin, size_t at, size_t bytes,
                         int masked)
{
    uint8_t key[4];
    for (int i = 0; i < 4; i++)
        key[i] = (uint8_t)random_below(256);
    size_t header = tape_ws_build(to, opcode, fin, bytes, masked ? key : NULL);
    if (masked)
        tape_ws_mask(to + header, clear + at, bytes, key, 0);
    else
        memcpy(to + header, clear + at, bytes);
    sent[(*count)++] = (struct sent){(uint8_t)opcode, (uint8_t)fin, at, bytes};
    return header + bytes;
}

/* A few random messages, some of them in fragments cut anywhere, with control frames between. */
static size_t send_random(uint8_t *to, size_t *count, int masked)
{
    size_t bytes = 0, used = 0;
    *count = 0;
    for (int message = 0; message < 5; message++) {
        int text = (int)random_below(2), first = 1;
        size_t left = random_payload(clear + used, text);
        do {
            size_t part = random_below(3) ? left : random_below((uint32_t)left + 1);
            left -= part;
            bytes += send_frame(to + bytes, count,
                                !first ? 0
                                : text ? 1
                                       : 2,
                                left == 0, used, part, masked);
            used += part;
            first = 0;
            if (random_below(4) == 0 && *count < SENT_MAX - 40)
                bytes += send_frame(to + bytes, count, 9 + (int)random_below(2), 1, 0,
                                    random_below(126) % (used + 1), masked);
        } while (left > 0 && *count < SENT_MAX - 20);
        if (left > 0) {
            bytes += send_frame(to + bytes, count, 0, 1, used, left, masked);
            used += left;
        }
    }
    return bytes;
}

static void what_is_built_is_received(void **state)
{
    (void)state;
    static uint8_t got_clear[CLEAR_BYTES];
    for (int round = 0; round < 400; round++) {
        int masked = round % 2;
        size_t count, start = 0, arrived = 0, index = 0;
        size_t bytes = send_random(wire, &count, masked);
        struct tape_ws_receiver receiver = {.message_limit = TAPE_WS_MESSAGE_MAX_BYTES,
                                            .expect_masked = (uint8_t)masked};
        while (start < bytes) {
            struct tape_ws_frame frame;
            int64_t got = tape_ws_receive(&receiver, wire + start, arrived - start, &frame);
            assert_true(got >= 0);
            if (got == 0) {
                assert_true(arrived < bytes);
                size_t step = 1 + random_below(random_below(2) ? 30 : 9000);
                arrived = bytes - arrived < step ? bytes : arrived + step;
                continue;
            }
            const struct sent *want = &sent[index++];
            assert_int_equal(frame.opcode, want->opcode);
            assert_int_equal(frame.fin, want->fin);
            assert_int_equal(frame.payload_bytes, want->bytes);
            const uint8_t *payload = wire + start + frame.header_bytes;
            if (frame.masked) { /* in two parts, as a reader of a stream would */
                size_t half = want->bytes ? random_below((uint32_t)want->bytes) : 0;
                tape_ws_mask(got_clear, payload, half, frame.mask, 0);
                tape_ws_mask(got_clear + half, payload + half, want->bytes - half, frame.mask,
                             half);
                payload = got_clear;
            }
            assert_memory_equal(payload, clear + want->at, want->bytes);
            start += (size_t)got;
        }
        assert_int_equal(index, count);
    }
}

/* ---- words ---- */

static void faults_have_words_and_codes(void **state)
{
    (void)state;
    assert_string_equal(tape_ws_fault_words(TAPE_WS_FAULT_MASK),
                        "the frame is masked the wrong way for its direction");
    assert_string_equal(tape_ws_fault_words(TAPE_WS_FAULT_TOO_BIG),
                        "the message is longer than the limit");
    assert_string_equal(tape_ws_fault_words(-1), "unknown fault");
    assert_int_equal(tape_ws_fault_code(TAPE_WS_FAULT_NONE), 1000);
    assert_int_equal(tape_ws_fault_code(TAPE_WS_FAULT_RESERVED_BITS), 1002);
    assert_int_equal(tape_ws_fault_code(TAPE_WS_FAULT_CLOSE_CODE), 1002);
    assert_int_equal(tape_ws_fault_code(TAPE_WS_FAULT_CLOSE_UTF8), 1007);
    assert_int_equal(tape_ws_fault_code(TAPE_WS_FAULT_UTF8), 1007);
    assert_int_equal(tape_ws_fault_code(TAPE_WS_FAULT_TOO_BIG), 1009);
    assert_int_equal(tape_ws_fault_code(1000), 1002);
}

static void a_server_refuses_unmasked_frames(void **state)
{
    (void)state;
    static const char *const frames[] = {"8105 'Hello'", "8900", "8800",
                                         "8200",         "0100", "827e0100"};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        size_t bytes = read_wire(frames[i], wire);
        expect_at_every_split(frames[i], 1, wire, bytes, "", TAPE_WS_FAULT_MASK, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_met_both_ways_at_every_split),
        cmocka_unit_test(every_first_byte_in_every_state),
        cmocka_unit_test(headers_are_read_at_every_prefix),
        cmocka_unit_test(lengths_have_one_form),
        cmocka_unit_test(build_writes_the_examples_of_the_rfc),
        cmocka_unit_test(mask_is_that_of_the_naive_loop),
        cmocka_unit_test(texts_are_checked_over_all_fragments),
        cmocka_unit_test(every_close_code),
        cmocka_unit_test(close_payloads_are_parsed),
        cmocka_unit_test(bytes_after_a_close_are_never_a_fault),
        cmocka_unit_test(the_limit_counts_all_fragments),
        cmocka_unit_test(needed_bytes_grow_with_the_header),
        cmocka_unit_test(needed_bytes_start_again_after_any_frame),
        cmocka_unit_test(fewer_bytes_than_before_are_not_looked_at),
        cmocka_unit_test(long_messages_whole_and_in_chops),
        cmocka_unit_test(long_messages_in_many_fragments),
        cmocka_unit_test(what_is_built_is_received),
        cmocka_unit_test(a_server_refuses_unmasked_frames),
        cmocka_unit_test(faults_have_words_and_codes),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
