/* Pause, resume, speed, steps, seek and loop. */
#include "replay/timespec.h"
#include "replay/transport_internal.h"

#define TRANSPORT_SPEED_MIN 0.001
#define TRANSPORT_SPEED_MAX 1000000.0

static int refuse(struct tape_error *error, const char *words)
{
    return tape_error_set(error, TAPE_USAGE, "%s", words);
}

/* Late, and the pace has told when it should have left. */
static int is_late(const struct tape_transport *transport, int64_t now_ns)
{
    return transport->holds && transport->due_known && transport->due_ns < now_ns;
}

/* Time goes on from where it stands, at ${now_ns}. */
static void anchor_here(struct tape_transport *transport, int64_t position_ns, int64_t now_ns)
{
    if (transport->pace.speed == 0 || transport->unanchored || position_ns == INT64_MIN)
        return;
    tape_pace_anchor(&transport->pace, position_ns, now_ns);
    transport->due_known = 0;
}

static int pause_here(struct tape_transport *transport, int64_t now_ns, struct tape_error *error)
{
    struct tape_transport_state *state = &transport->state;
    if (state->phase == TAPE_TRANSPORT_PHASE_WAITING)
        transport->begins_paused = 1;
    if (state->phase == TAPE_TRANSPORT_PHASE_ENDED)
        return refuse(error, "it is at its end: nothing to pause");
    if (state->phase != TAPE_TRANSPORT_PHASE_PLAYING)
        return 0;
    transport->frozen_ns = tape_transport_position(transport, now_ns);
    /* Time will run on from that message: what it was late by is not caught up. */
    if (transport->pace.speed > 0 && is_late(transport, now_ns))
        transport->pace.stretched_ns += now_ns - transport->due_ns;
    state->phase = TAPE_TRANSPORT_PHASE_PAUSED;
    return 0;
}

static int resume(struct tape_transport *transport, int64_t now_ns, struct tape_error *error)
{
    struct tape_transport_state *state = &transport->state;
    if (state->phase == TAPE_TRANSPORT_PHASE_WAITING)
        transport->begins_paused = 0;
    if (state->phase == TAPE_TRANSPORT_PHASE_ENDED)
        return refuse(error, "it is at its end: seek or loop first");
    if (state->phase != TAPE_TRANSPORT_PHASE_PAUSED)
        return 0;
    transport->step = TAPE_TRANSPORT_STEPS_NOT;
    transport->steps_more = 0;
    anchor_here(transport, transport->frozen_ns, now_ns);
    state->phase = TAPE_TRANSPORT_PHASE_PLAYING;
    return 0;
}

static int set_speed(struct tape_transport *transport, double speed, int64_t now_ns,
                     struct tape_error *error)
{
    if (speed != 0 && !(speed >= TRANSPORT_SPEED_MIN && speed <= TRANSPORT_SPEED_MAX))
        return refuse(error, "a speed is max or a number from 0.001 to 1000000");
    int64_t position_ns = tape_transport_position(transport, now_ns);
    int plays = transport->state.phase == TAPE_TRANSPORT_PHASE_PLAYING;
    /* What is late stays late: from its due time on all is at the new speed. */
    if (plays && transport->pace.speed > 0 && is_late(transport, now_ns)) {
        position_ns = transport->held_ns;
        now_ns = transport->due_ns;
    }
    transport->pace.speed = speed;
    if (plays)
        anchor_here(transport, position_ns, now_ns);
    return 0;
}

static int step(struct tape_transport *transport, int how, struct tape_error *error)
{
    int phase = transport->state.phase;
    if (phase == TAPE_TRANSPORT_PHASE_ENDED)
        return refuse(error, "it is at its end: no step leads further");
    if (phase != TAPE_TRANSPORT_PHASE_PAUSED)
        return refuse(error, "a step needs a pause first");
    int pending = transport->step == TAPE_TRANSPORT_STEPS_SAME_TIME ? TAPE_TRANSPORT_STEPS_TIME
                                                                    : transport->step;
    transport->steps_more = pending == how ? transport->steps_more + 1 : 0;
    if (pending != how)
        transport->step = how;
    return 0;
}

/* 0 when ns can be sought, or TAPE_USAGE that tells from when to when there is something. */
static int check_time(struct tape_transport *transport, int64_t ns, struct tape_error *error)
{
    int64_t first_ns, last_ns;
    char asked[TAPE_TIMESPEC_TEXT_BYTES], first[TAPE_TIMESPEC_TEXT_BYTES];
    char last[TAPE_TIMESPEC_TEXT_BYTES];
    int status = tape_transport_span(transport, &first_ns, &last_ns, error);
    if (status < 0 || (ns >= first_ns && ns <= last_ns && (first_ns != 0 || last_ns != 0)))
        return status;
    if (first_ns == 0 && last_ns == 0)
        return refuse(error, "there is no message to seek to");
    tape_timespec_format(asked, ns);
    tape_timespec_format(first, first_ns);
    tape_timespec_format(last, last_ns);
    return tape_error_set(error, TAPE_USAGE, "%s is outside of what is played: %s to %s", asked,
                          first, last);
}

static int go_to(struct tape_transport *transport, int64_t ns, struct tape_error *error)
{
    struct tape_transport_state *state = &transport->state;
    int status = tape_transport_rewind(transport, ns, error);
    transport->step = TAPE_TRANSPORT_STEPS_NOT;
    transport->steps_more = 0;
    transport->unanchored = 1;
    transport->anchor_ns = ns;
    transport->pass_messages = 1; /* the rest of a loop may be empty: the whole of it need not be */
    state->backlog = 0;
    if (state->phase == TAPE_TRANSPORT_PHASE_ENDED)
        state->phase = TAPE_TRANSPORT_PHASE_PLAYING;
    return status;
}

static int is_in_loop(const struct tape_transport_state *state, int64_t ns)
{
    return ns >= state->loop_from_ns && (state->loop_to_ns == 0 || ns < state->loop_to_ns);
}

static int seek(struct tape_transport *transport, int64_t ns, struct tape_error *error)
{
    struct tape_transport_state *state = &transport->state;
    char asked[TAPE_TIMESPEC_TEXT_BYTES];
    int status = check_time(transport, ns, error);
    if (status < 0)
        return status;
    if (state->looping && !is_in_loop(state, ns)) {
        tape_timespec_format(asked, ns);
        return tape_error_set(error, TAPE_USAGE, "%s is outside of the loop: unloop first", asked);
    }
    state->seeks++;
    return go_to(transport, ns, error);
}

static int loop(struct tape_transport *transport, int64_t from_ns, int64_t to_ns, int64_t now_ns,
                struct tape_error *error)
{
    struct tape_transport_state *state = &transport->state;
    if (to_ns != 0 && to_ns <= from_ns)
        return refuse(error, "the loop's end is not after its beginning");
    if (to_ns == 0 && transport->options.source.follow)
        return refuse(error, "what is being recorded has no end to loop at: say to");
    int status = check_time(transport, from_ns, error);
    if (status < 0)
        return status;
    int64_t position_ns = tape_transport_position(transport, now_ns);
    state->looping = 1;
    state->loop_from_ns = from_ns;
    state->loop_to_ns = to_ns;
    transport->draining = 0;
    transport->pass_messages = 1; /* what has left of it before is not known */
    if (state->phase != TAPE_TRANSPORT_PHASE_ENDED && is_in_loop(state, position_ns))
        return 0;
    return go_to(transport, from_ns, error);
}

static int unloop(struct tape_transport *transport)
{
    transport->state.looping = 0;
    if (!transport->draining)
        transport->state.loop_from_ns = transport->state.loop_to_ns = 0;
    return 0;
}

int tape_transport_command(struct tape_transport *transport,
                           const struct tape_transport_command *command, int64_t now_ns,
                           struct tape_error *error)
{
    struct tape_error local;
    int status = TAPE_USAGE;
    if (!error)
        error = &local;
    switch (command->kind) {
    case TAPE_TRANSPORT_PAUSE:
        status = pause_here(transport, now_ns, error);
        break;
    case TAPE_TRANSPORT_RESUME:
        status = resume(transport, now_ns, error);
        break;
    case TAPE_TRANSPORT_SPEED:
        status = set_speed(transport, command->speed, now_ns, error);
        break;
    case TAPE_TRANSPORT_STEP_FRAME:
        status = step(transport, TAPE_TRANSPORT_STEPS_FRAME, error);
        break;
    case TAPE_TRANSPORT_STEP_TIME:
        status = step(transport, TAPE_TRANSPORT_STEPS_TIME, error);
        break;
    case TAPE_TRANSPORT_SEEK:
        status = seek(transport, command->ns, error);
        break;
    case TAPE_TRANSPORT_LOOP:
        status = loop(transport, command->ns, command->end_ns, now_ns, error);
        break;
    case TAPE_TRANSPORT_UNLOOP:
        status = unloop(transport);
        break;
    default:
        refuse(error, "no such command");
    }
    if (status == 0)
        transport->state.commands++;
    tape_transport_choose_way(transport);
    return status;
}

void tape_transport_start(struct tape_transport *transport, int64_t now_ns)
{
    struct tape_transport_state *state = &transport->state;
    if (state->phase != TAPE_TRANSPORT_PHASE_WAITING)
        return;
    state->phase =
        transport->begins_paused ? TAPE_TRANSPORT_PHASE_PAUSED : TAPE_TRANSPORT_PHASE_PLAYING;
    tape_transport_choose_way(transport);
    if (state->phase == TAPE_TRANSPORT_PHASE_PAUSED || !transport->holds ||
        transport->pace.speed == 0)
        return;
    int64_t stamp_ns =
        transport->anchor_ns == INT64_MIN ? transport->held_ns : transport->anchor_ns;
    tape_pace_anchor(&transport->pace, stamp_ns, now_ns);
    transport->pass_began_ns = now_ns;
    transport->unanchored = 0;
}
