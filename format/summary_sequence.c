#include "format/summary_state.h"

const char *tape_summary_rule_word(int rule)
{
    static const char *const words[] = {
#define RULE_WORD(name, word, meaning) word,
        TAPE_VENUE_SEQUENCE_TABLE(RULE_WORD)
#undef RULE_WORD
    };
    return words[rule];
}

void tape_summary_numbers_read(int rule, const struct tape_tick *tick,
                               struct tape_summary_numbers *numbers)
{
    int ranged = rule == TAPE_VENUE_SEQUENCE_PREVIOUS_LAST ||
                 rule == TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS ||
                 (rule == TAPE_VENUE_SEQUENCE_NONE && tick->id == TAPE_TICK_NONE);
    numbers->first = ranged ? tick->first_id : tick->id;
    numbers->last = ranged ? tick->last_id : tick->id;
    numbers->previous = tick->previous_id;
    if (numbers->first == TAPE_TICK_NONE)
        numbers->first = numbers->last;
}

/* The rule alone: does the message join what came before without a hole? ${missing} as far as it is
 * known then. A message that overlaps what came before (its first is not above, its last is) has
 * left nothing out. */
static int joins(int rule, int64_t last, const struct tape_summary_numbers *numbers,
                 int64_t *missing)
{
    int64_t step;
    if (rule == TAPE_VENUE_SEQUENCE_RISING || rule == TAPE_VENUE_SEQUENCE_NONE)
        return 1;
    if (rule == TAPE_VENUE_SEQUENCE_PREVIOUS_LAST)
        return numbers->previous == last;
    if (__builtin_sub_overflow(numbers->first, last, &step))
        return 0;
    if (step <= 1)
        return 1;
    if (rule == TAPE_VENUE_SEQUENCE_NEXT_ID)
        *missing = step - 1;
    return 0;
}

int tape_summary_numbers_follow(int rule, int64_t last, const struct tape_summary_numbers *numbers,
                                int64_t *missing)
{
    *missing = TAPE_SUMMARY_NONE;
    if (numbers->last == TAPE_TICK_NONE)
        return TAPE_SUMMARY_UNNUMBERED;
    if (last == TAPE_SUMMARY_NONE)
        return TAPE_SUMMARY_FOLLOWS;
    if (numbers->last <= last)
        return rule == TAPE_VENUE_SEQUENCE_NONE ? TAPE_SUMMARY_FOLLOWS : TAPE_SUMMARY_DUPLICATE;
    if (!joins(rule, last, numbers, missing))
        return TAPE_SUMMARY_BREAK;
    if (rule != TAPE_VENUE_SEQUENCE_RISING && rule != TAPE_VENUE_SEQUENCE_NONE)
        *missing = 0;
    return TAPE_SUMMARY_FOLLOWS;
}
