#include "record/prune.h"

#include <inttypes.h>
#include <stdio.h>

int tape_prune_any(const struct tape_prune_limits *limits)
{
    return limits->age_ns > 0 || limits->bytes > 0 || limits->free_bytes > 0;
}

int tape_prune_clock_is_behind(const struct tape_prune_place *place)
{
    int64_t edge;
    return !__builtin_add_overflow(place->now_ns, TAPE_PRUNE_CLOCK_SLACK_NS, &edge) &&
           place->newest_ns > edge;
}

/* Which limit asks for the oldest segment as things are. */
static int rule_of(const struct tape_prune_limits *limits, const struct tape_prune_place *place,
                   const struct tape_prune_segment *oldest)
{
    int64_t edge;
    if (limits->age_ns > 0 && oldest->records > 0 && !tape_prune_clock_is_behind(place) &&
        !__builtin_sub_overflow(place->now_ns, limits->age_ns, &edge) && oldest->max_recv_ns < edge)
        return TAPE_PRUNE_RULE_AGE;
    if (limits->bytes > 0 && place->bytes > limits->bytes)
        return TAPE_PRUNE_RULE_BYTES;
    if (limits->free_bytes > 0 && place->free_bytes < limits->free_bytes)
        return TAPE_PRUNE_RULE_FREE;
    return TAPE_PRUNE_RULE_NONE;
}

size_t tape_prune_choose(const struct tape_prune_limits *limits,
                         const struct tape_prune_place *place,
                         const struct tape_prune_segment *segments, size_t count, uint8_t *rules)
{
    struct tape_prune_place then = *place;
    size_t chosen = 0;
    for (size_t i = 0; i < count; i++) {
        int rule = rule_of(limits, &then, &segments[i]);
        if (rule == TAPE_PRUNE_RULE_NONE && segments[i].records > 0)
            break;
        then.bytes -= segments[i].bytes < then.bytes ? segments[i].bytes : then.bytes;
        then.free_bytes += segments[i].disk_bytes;
        rules[i] = (uint8_t)rule;
        if (rule == TAPE_PRUNE_RULE_NONE)
            continue;
        while (chosen < i)
            rules[chosen++] = (uint8_t)rule;
        chosen = i + 1;
    }
    return chosen;
}

int64_t tape_prune_clock_now(struct tape_prune_clock *clock, int64_t realtime_ns,
                             int64_t monotonic_ns)
{
    int64_t offset = realtime_ns - monotonic_ns;
    int ahead =
        clock->begun && offset > clock->offset_ns && offset - clock->offset_ns > TAPE_PRUNE_JUMP_NS;
    if (ahead && clock->jumped_ns == 0)
        clock->jumped_ns = monotonic_ns;
    if (!ahead || monotonic_ns - clock->jumped_ns >= TAPE_PRUNE_TRUST_NS) {
        clock->begun = 1;
        clock->offset_ns = offset;
        clock->jumped_ns = 0;
    }
    return clock->offset_ns + monotonic_ns;
}

const char *tape_prune_rule_word(int rule)
{
    static const char *const words[] = {
#define RULE_WORD(name, word) word,
        TAPE_PRUNE_RULE_TABLE(RULE_WORD)
#undef RULE_WORD
    };
    return words[rule];
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* The largest unit that the number is a multiple of. */
static void write_option(char words[TAPE_PRUNE_WORDS_BYTES], const char *option, uint64_t value,
                         const struct unit *units)
{
    while (units->factor > 1 && value % units->factor != 0)
        units++;
    snprintf(words, TAPE_PRUNE_WORDS_BYTES, "--%s=%" PRIu64 "%s", option, value / units->factor,
             units->name);
}

const char *tape_prune_limit_words(const struct tape_prune_limits *limits, int rule,
                                   char words[TAPE_PRUNE_WORDS_BYTES])
{
    static const struct unit times[] = {{"d", 86400000000000u}, {"h", 3600000000000u},
                                        {"m", 60000000000u},    {"s", 1000000000u},
                                        {"ms", 1000000u},       {"ns", 1}};
    static const struct unit sizes[] = {
        {"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"B", 1}};
    if (rule == TAPE_PRUNE_RULE_AGE)
        write_option(words, "keep-age", (uint64_t)limits->age_ns, times);
    else if (rule == TAPE_PRUNE_RULE_BYTES)
        write_option(words, "keep-bytes", limits->bytes, sizes);
    else if (rule == TAPE_PRUNE_RULE_FREE)
        write_option(words, "keep-free", limits->free_bytes, sizes);
    else
        snprintf(words, TAPE_PRUNE_WORDS_BYTES, "no limit");
    return words;
}
