#include "replay/source_layout.h"

#include <stddef.h>
#include <string.h>

#include "format/book.h"
#include "replay/source.h"

/* Every member of every public structure, in the order of its header. X(structure, member) */
#define LAYOUT_TABLE(X)                                                                            \
    X(tape_slice, data)                                                                            \
    X(tape_slice, bytes)                                                                           \
    X(tape_decimal, text)                                                                          \
    X(tape_decimal, value)                                                                         \
    X(tape_decimal, scale)                                                                         \
    X(tape_decimal, valid)                                                                         \
    X(tape_tick, kind)                                                                             \
    X(tape_tick, stream)                                                                           \
    X(tape_tick, symbol)                                                                           \
    X(tape_tick, event)                                                                            \
    X(tape_tick, event_ns)                                                                         \
    X(tape_tick, transaction_ns)                                                                   \
    X(tape_tick, id)                                                                               \
    X(tape_tick, first_id)                                                                         \
    X(tape_tick, last_id)                                                                          \
    X(tape_tick, previous_id)                                                                      \
    X(tape_tick, buyer_is_maker)                                                                   \
    X(tape_tick, price)                                                                            \
    X(tape_tick, quantity)                                                                         \
    X(tape_tick, bid)                                                                              \
    X(tape_tick, bid_quantity)                                                                     \
    X(tape_tick, ask)                                                                              \
    X(tape_tick, ask_quantity)                                                                     \
    X(tape_tick, bids)                                                                             \
    X(tape_tick, asks)                                                                             \
    X(tape_message, ordinal)                                                                       \
    X(tape_message, first_ordinal)                                                                 \
    X(tape_message, recv_ns)                                                                       \
    X(tape_message, connection)                                                                    \
    X(tape_message, flags)                                                                         \
    X(tape_message, kind)                                                                          \
    X(tape_message, record_kind)                                                                   \
    X(tape_message, opcode)                                                                        \
    X(tape_message, outgoing)                                                                      \
    X(tape_message, close_code)                                                                    \
    X(tape_message, archive)                                                                       \
    X(tape_message, replay_ns)                                                                     \
    X(tape_message, payload)                                                                       \
    X(tape_message, stream)                                                                        \
    X(tape_message, frame)                                                                         \
    X(tape_source_options, from_ns)                                                                \
    X(tape_source_options, to_ns)                                                                  \
    X(tape_source_options, stream)                                                                 \
    X(tape_source_options, follow)                                                                 \
    X(tape_source_options, events)                                                                 \
    X(tape_source_options, spin)                                                                   \
    X(tape_source_options, order)                                                                  \
    X(tape_source_options, state)                                                                  \
    X(tape_source_options, duplicates)                                                             \
    X(tape_source_damage, verdict)                                                                 \
    X(tape_source_damage, from_ordinal)                                                            \
    X(tape_source_damage, to_ordinal)                                                              \
    X(tape_source_damage, from_ns)                                                                 \
    X(tape_source_damage, to_ns)                                                                   \
    X(tape_source_damage, text)                                                                    \
    X(tape_source_damage, archive)                                                                 \
    X(tape_source_state, live)                                                                     \
    X(tape_source_state, overruns)                                                                 \
    X(tape_source_state, next_ordinal)                                                             \
    X(tape_source_state, recorder_alive)                                                           \
    X(tape_source_state, blocks_read)                                                              \
    X(tape_source_state, event_late)                                                               \
    X(tape_source_share, stream)                                                                   \
    X(tape_source_share, archive)                                                                  \
    X(tape_source_share, given)                                                                    \
    X(tape_source_share, late)                                                                     \
    X(tape_source_share, missed)                                                                   \
    X(tape_source_share, unmatched)                                                                \
    X(tape_source_share, differing)                                                                \
    X(tape_source_share, late_p50_ns)                                                              \
    X(tape_source_share, late_p99_ns)                                                              \
    X(tape_source_share, late_max_ns)                                                              \
    X(tape_book_level, price)                                                                      \
    X(tape_book_level, quantity)                                                                   \
    X(tape_error, status)                                                                          \
    X(tape_error, text)

struct member {
    const char *structure;
    size_t structure_bytes, offset, bytes;
};

static const struct member members[] = {
#define LAYOUT_MEMBER(structure, member)                                                           \
    {#structure, sizeof(struct structure), offsetof(struct structure, member),                     \
     sizeof(((struct structure *)0)->member)},
    LAYOUT_TABLE(LAYOUT_MEMBER)
#undef LAYOUT_MEMBER
};

static uint64_t add(uint64_t hash, uint64_t number)
{
    for (int shift = 0; shift < 64; shift += 8)
        hash = (hash ^ (number >> shift & 0xff)) * 0x100000001b3;
    return hash;
}

uint64_t tape_source_layout(const char *structure)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const struct member *member = &members[i];
        if (strcmp(member->structure, structure) != 0)
            continue;
        if (hash == 0)
            hash = add(0xcbf29ce484222325, member->structure_bytes);
        hash = add(add(hash, member->offset), member->bytes);
    }
    return hash;
}
