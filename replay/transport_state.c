/* Where a transport stands, and what may be said of it. */
#include <inttypes.h>

#include "replay/span.h"
#include "replay/timespec.h"
#include "replay/transport_internal.h"

int64_t tape_transport_position(const struct tape_transport *transport, int64_t now_ns)
{
    const struct tape_transport_state *state = &transport->state;
    int64_t loop_to_ns = state->looping ? state->loop_to_ns : 0, position_ns;
    if (transport->unanchored) {
        if (transport->anchor_ns != INT64_MIN)
            return transport->anchor_ns;
        return transport->holds      ? transport->held_ns
               : state->from_ns != 0 ? state->from_ns
                                     : transport->left_ns;
    }
    if (state->phase == TAPE_TRANSPORT_PHASE_PAUSED)
        return transport->frozen_ns;
    if (state->phase != TAPE_TRANSPORT_PHASE_PLAYING || transport->pace.speed == 0 ||
        !transport->pace.started)
        return transport->left_ns;
    position_ns = tape_pace_position(&transport->pace, now_ns);
    if (transport->holds && position_ns > transport->held_ns)
        position_ns = transport->held_ns;
    else if (!transport->holds && transport->left_ns != INT64_MIN &&
             position_ns > transport->left_ns)
        position_ns = transport->left_ns;
    return loop_to_ns != 0 && position_ns > loop_to_ns ? loop_to_ns : position_ns;
}

void tape_transport_read_state(struct tape_transport *transport, int64_t now_ns,
                               struct tape_transport_state *state)
{
    *state = transport->state;
    state->speed = transport->pace.speed;
    state->position_ns = tape_transport_position(transport, now_ns);
    state->stretched_ns = transport->pace.stretched_ns;
    state->clock_steps = transport->pace.steps;
    if (transport->run)
        tape_faults_read_totals(transport->run, &state->faults);
}

struct tape_source *tape_transport_source(struct tape_transport *transport)
{
    return transport->source;
}

static int read_span(struct tape_transport *transport, struct tape_error *error)
{
    int status = tape_span_read_all((const char *const *)transport->paths, transport->paths_count,
                                    &transport->span_first_ns, &transport->span_last_ns, error);
    transport->span_known = status == 0 && !transport->options.source.follow;
    return status;
}

int tape_transport_span(struct tape_transport *transport, int64_t *first_ns, int64_t *last_ns,
                        struct tape_error *error)
{
    const struct tape_source_options *source = &transport->options.source;
    struct tape_error local;
    *first_ns = *last_ns = 0;
    if (!transport->span_known) {
        int status = read_span(transport, error ? error : &local);
        if (status < 0)
            return status;
    }
    *first_ns = transport->span_first_ns;
    *last_ns = transport->span_last_ns;
    if (source->from_ns != 0 && source->from_ns > *first_ns)
        *first_ns = source->from_ns;
    if (source->to_ns != 0 && source->to_ns <= *last_ns)
        *last_ns = source->to_ns - 1;
    if (*first_ns > *last_ns)
        *first_ns = *last_ns = 0;
    return 0;
}

int tape_transport_check_late(const struct tape_transport *transport, struct tape_error *error)
{
    const struct tape_transport_state *state = &transport->state;
    char limit[TAPE_TIMESPEC_DURATION_TEXT_BYTES], most[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    char first[TAPE_TIMESPEC_TEXT_BYTES];
    if (state->too_late == 0)
        return 0;
    tape_timespec_format_duration(limit, transport->options.max_late_ns);
    tape_timespec_format_duration(most, state->too_late_ns);
    tape_timespec_format(first, state->too_late_first_ns);
    return tape_error_set(
        error, TAPE_FAILED,
        "later than %s: %" PRIu64 " message%s, by up to %s; the first was %" PRIu64 " of %s", limit,
        state->too_late, state->too_late == 1 ? "" : "s", most, state->too_late_ordinal, first);
}

const char *tape_transport_phase_word(int phase)
{
#define PHASE_WORD(name, word)                                                                     \
    if (phase == TAPE_TRANSPORT_PHASE_##name)                                                      \
        return word;
    TAPE_TRANSPORT_PHASE_TABLE(PHASE_WORD)
#undef PHASE_WORD
    return "";
}

const char *tape_transport_command_word(int kind)
{
#define COMMAND_WORD(name, word, meaning)                                                          \
    if (kind == TAPE_TRANSPORT_##name)                                                             \
        return word;
    TAPE_TRANSPORT_COMMAND_TABLE(COMMAND_WORD)
#undef COMMAND_WORD
    return "";
}
