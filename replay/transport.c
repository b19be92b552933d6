#include "replay/transport.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay/span.h"
#include "replay/timespec.h"
#include "replay/transport_internal.h"

/* What is this much past the loop's end may still be followed by what belongs inside: stamps of
 * several connections interleave. */
#define TRANSPORT_DRAIN_NS 1000000000ll
/* A loop in which no time passes must not flood the consumer. */
#define TRANSPORT_LOOP_MIN_NS 1000000ll
#define TRANSPORT_BACKLOG_NS  1000000ll
#define TRANSPORT_IDLE_MIN_NS 200000ll
#define TRANSPORT_IDLE_MAX_NS 2000000ll
/* By event time, messages are this much out of the order of their stamps on purpose. */
#define TRANSPORT_EVENT_STEP_NS 30000000000ll

/* What a part of tape_transport_next() answers, beside 1, 2, 0 and a status. */
enum { TRANSPORT_AGAIN = 3 };

/* --- opening --- */

static int keep_paths(struct tape_transport *transport, const char *const *paths, int count)
{
    for (; transport->paths_count < count; transport->paths_count++) {
        char *path = strdup(paths[transport->paths_count]);
        if (!path)
            return 0;
        transport->paths[transport->paths_count] = path;
    }
    return 1;
}

static int open_parts(struct tape_transport *transport, const char *const *paths, int count,
                      struct tape_error *error)
{
    const struct tape_transport_options *options = &transport->options;
    struct tape_source_options asked = options->source;
    if (count > TAPE_SOURCE_ARCHIVES_MAX)
        return tape_error_set(error, TAPE_USAGE, "more than %d archives", TAPE_SOURCE_ARCHIVES_MAX);
    if (!keep_paths(transport, paths, count))
        return tape_error_set(error, TAPE_FAILED, "out of memory");
    if (options->faults) {
        transport->run = tape_faults_begin(options->faults, &options->source, error);
        asked.events |= tape_faults_needs_events(options->faults);
        if (!transport->run)
            return error->status;
    }
    transport->source = tape_source_open_all(paths, count, &asked, error);
    return transport->source ? 0 : error->status;
}

static void begin(struct tape_transport *transport)
{
    const struct tape_transport_options *options = &transport->options;
    const struct tape_source_options *source = &options->source;
    tape_pace_begin(&transport->pace, options->speed);
    if (source->order == TAPE_SOURCE_ORDER_EVENT)
        transport->pace.step_ns = TRANSPORT_EVENT_STEP_NS;
    transport->unanchored = 1;
    transport->anchor_ns = transport->frozen_ns = transport->left_ns = INT64_MIN;
    transport->idle_ns = TRANSPORT_IDLE_MIN_NS;
    transport->begins_paused = options->paused;
    transport->state.phase = options->waits    ? TAPE_TRANSPORT_PHASE_WAITING
                             : options->paused ? TAPE_TRANSPORT_PHASE_PAUSED
                                               : TAPE_TRANSPORT_PHASE_PLAYING;
    transport->state.replay_ns = INT64_MIN;
    transport->state.from_ns = source->from_ns;
    transport->state.to_ns = source->to_ns;
    transport->state.looping = options->loop;
    if (options->loop) {
        transport->state.loop_from_ns = source->from_ns;
        transport->state.loop_to_ns = source->to_ns;
    }
    tape_transport_choose_way(transport);
}

struct tape_transport *tape_transport_open(const char *const *paths, int count,
                                           const struct tape_transport_options *options,
                                           struct tape_error *error)
{
    struct tape_error local;
    struct tape_transport *transport = calloc(1, sizeof *transport);
    if (!error)
        error = &local;
    if (!transport) {
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    transport->options = *options;
    if (options->loop && options->source.follow)
        tape_error_set(error, TAPE_USAGE, "what is being recorded has no end to loop at");
    else if (open_parts(transport, paths, count, error) == 0) {
        transport->options.source.stream = NULL; /* the caller's */
        begin(transport);
        return transport;
    }
    tape_transport_close(transport);
    return NULL;
}

void tape_transport_close(struct tape_transport *transport)
{
    if (!transport)
        return;
    if (transport->run)
        tape_faults_end(transport->run);
    tape_source_close(transport->source);
    for (int i = 0; i < transport->paths_count; i++)
        free(transport->paths[i]);
    free(transport);
}

/* --- the next message --- */

/* What a message as the source gave it is paced by. */
static inline int64_t stamp_of(const struct tape_message *message)
{
    return message->kind == TAPE_FEED_STATE ? message->replay_ns : message->recv_ns;
}

/* From the source or through the faults: 1 with a message that is wanted, 2, 0 or a status. */
static int pull(struct tape_transport *transport, struct tape_transport_item *item,
                int64_t *stamp_ns, struct tape_error *error)
{
    const struct tape_transport_options *options = &transport->options;
    struct tape_faults_item faulty;
    int got;
    do {
        if (!transport->run) {
            got = tape_source_try(transport->source, &item->message, error);
            item->action = TAPE_FAULTS_DELIVER;
            *stamp_ns = got == 1 ? stamp_of(&item->message) : 0;
        } else if ((got = tape_faults_next(transport->run, transport->source, &faulty, error)) ==
                   1) {
            item->message = faulty.message;
            item->action = faulty.action;
            item->connection = faulty.connection;
            item->close_code = faulty.close_code;
            *stamp_ns =
                faulty.message.kind == TAPE_FEED_STATE ? faulty.message.replay_ns : faulty.at_ns;
        }
        if (got != 1)
            return got;
    } while (item->action == TAPE_FAULTS_DELIVER && options->wants &&
             !options->wants(options->wants_context, &item->message));
    return 1;
}

/* 1 when a message is held or nothing is left; 2 when nothing is there now; or a status. */
static int hold(struct tape_transport *transport, struct tape_error *error)
{
    if (transport->holds || transport->exhausted)
        return 1;
    int got = pull(transport, &transport->held, &transport->held_ns, error);
    if (got < 0 || got == 2)
        return got;
    transport->holds = got;
    transport->exhausted = !got;
    transport->due_known = 0;
    transport->idle_ns = TRANSPORT_IDLE_MIN_NS;
    if (got && transport->state.looping && transport->state.loop_from_ns == 0)
        transport->state.loop_from_ns = transport->held_ns;
    return 1;
}

static int is_paced(const struct tape_transport *transport)
{
    return transport->pace.speed > 0 && transport->step == TAPE_TRANSPORT_STEPS_NOT;
}

int tape_transport_rewind(struct tape_transport *transport, int64_t ns, struct tape_error *error)
{
    transport->holds = transport->exhausted = transport->draining = 0;
    transport->pass_messages = 0;
    transport->frozen_ns = ns;
    if (transport->run)
        tape_faults_restart(transport->run);
    return tape_source_seek(transport->source, ns, error);
}

/* Back to A, once time has reached ${end_ns}: AGAIN, or 2 when it has not. */
static int turn_back(struct tape_transport *transport, int64_t end_ns, int64_t now_ns,
                     int64_t *until_ns, struct tape_error *error)
{
    int64_t at_ns = now_ns;
    if (transport->pace.started)
        at_ns = tape_pace_at(&transport->pace, end_ns);
    if (at_ns < transport->pass_began_ns + TRANSPORT_LOOP_MIN_NS)
        at_ns = transport->pass_began_ns + TRANSPORT_LOOP_MIN_NS;
    if (is_paced(transport) && at_ns > now_ns) {
        *until_ns = at_ns;
        return 2;
    }
    int64_t begin_ns = transport->state.loop_from_ns;
    int status = tape_transport_rewind(transport, begin_ns, error);
    if (status < 0)
        return status;
    transport->state.loops++;
    transport->unanchored = 0;
    transport->pass_began_ns = at_ns;
    if (transport->pace.speed > 0)
        tape_pace_anchor(&transport->pace, begin_ns, at_ns);
    return TRANSPORT_AGAIN;
}

/* Where the loop ends when no message is left: at B, but not after all that was recorded. */
static int turn_back_at_end(struct tape_transport *transport, int64_t now_ns, int64_t *until_ns,
                            struct tape_error *error)
{
    int64_t first_ns, last_ns, end_ns = transport->left_ns;
    int status = 0;
    if (transport->pass_messages == 0)
        return 0; /* nothing lies in it */
    if (transport->state.loop_to_ns != 0) {
        status = tape_transport_span(transport, &first_ns, &last_ns, error);
        if (last_ns > end_ns)
            end_ns = last_ns;
        if (transport->state.loop_to_ns < end_ns)
            end_ns = transport->state.loop_to_ns;
    }
    return status < 0 ? status : turn_back(transport, end_ns, now_ns, until_ns, error);
}

static void pass_over(struct tape_transport *transport)
{
    transport->holds = 0;
}

/* 1 when the held message lies in the loop; else AGAIN, 2, 0 or a status. */
static int mind_loop(struct tape_transport *transport, int64_t now_ns, int64_t *until_ns,
                     struct tape_error *error)
{
    const struct tape_transport_state *state = &transport->state;
    int64_t drain_ns;
    if (transport->exhausted)
        return turn_back_at_end(transport, now_ns, until_ns, error);
    if (transport->held_ns < state->loop_from_ns) {
        pass_over(transport);
        return TRANSPORT_AGAIN;
    }
    if (state->loop_to_ns == 0 || transport->held_ns < state->loop_to_ns)
        return 1;
    if (!transport->draining && is_paced(transport) && transport->pace.started) {
        *until_ns = tape_pace_at(&transport->pace, state->loop_to_ns);
        if (*until_ns > now_ns)
            return 2;
        /* What follows from before the end is due now, and not late. */
        tape_pace_due(&transport->pace, state->loop_to_ns, now_ns);
    }
    transport->draining = 1;
    if (!__builtin_add_overflow(state->loop_to_ns, TRANSPORT_DRAIN_NS, &drain_ns) &&
        transport->held_ns < drain_ns) {
        pass_over(transport);
        return TRANSPORT_AGAIN;
    }
    if (transport->pass_messages == 0)
        return 0;
    return turn_back(transport, state->loop_to_ns, now_ns, until_ns, error);
}

static void count_too_late(struct tape_transport *transport, int64_t late_ns,
                           const struct tape_message *message)
{
    struct tape_transport_state *state = &transport->state;
    if (transport->options.max_late_ns == 0 || late_ns <= transport->options.max_late_ns)
        return;
    if (state->too_late++ == 0) {
        state->too_late_first_ns = message ? message->recv_ns : transport->left_ns;
        state->too_late_ordinal = message ? message->ordinal : state->ordinal;
    }
    if (late_ns > state->too_late_ns)
        state->too_late_ns = late_ns;
}

static void count_late(struct tape_transport *transport, struct tape_transport_item *item,
                       int64_t now_ns)
{
    struct tape_transport_state *state = &transport->state;
    int64_t late_ns = now_ns - item->due_ns;
    count_too_late(transport, item->late_ns, &item->message);
    tape_lateness_add(&state->lateness, late_ns);
    state->backlog = late_ns > TRANSPORT_BACKLOG_NS ? state->backlog + 1 : 0;
    if (state->backlog > state->backlog_max)
        state->backlog_max = state->backlog;
}

/* The held message's time has come: 1; 2 when it has not; AGAIN when it was too late and is
 * dropped. */
static int release(struct tape_transport *transport, int64_t now_ns, int64_t *until_ns)
{
    struct tape_transport_item *held = &transport->held;
    held->due_ns = TAPE_TRANSPORT_NO_DUE;
    held->late_ns = 0;
    if (!is_paced(transport))
        return 1;
    if (!transport->due_known)
        transport->due_ns = tape_pace_due(&transport->pace, transport->held_ns, now_ns);
    transport->due_known = 1;
    if (transport->due_ns > now_ns) {
        *until_ns = transport->due_ns;
        return 2;
    }
    held->due_ns = transport->due_ns;
    held->late_ns = now_ns - transport->due_ns;
    int64_t limit_ns = transport->options.drop_late_ns;
    if (limit_ns > 0 && held->late_ns > limit_ns && held->action == TAPE_FAULTS_DELIVER &&
        held->message.kind != TAPE_FEED_STATE) {
        count_too_late(transport, held->late_ns, &held->message);
        transport->state.dropped_late++;
        transport->pass_messages++;
        pass_over(transport);
        return TRANSPORT_AGAIN;
    }
    if (limit_ns == 0)
        held->due_ns = tape_pace_settle(&transport->pace, transport->due_ns, now_ns);
    count_late(transport, held, now_ns);
    return 1;
}

static inline void count_left(struct tape_transport *transport,
                              const struct tape_transport_item *item, int64_t stamp_ns)
{
    struct tape_transport_state *state = &transport->state;
    transport->left_ns = stamp_ns;
    transport->unanchored = 0;
    transport->pass_messages++;
    if (item->action != TAPE_FAULTS_DELIVER)
        return;
    state->replay_ns = item->message.replay_ns;
    state->ordinal = item->message.ordinal;
    if (item->message.kind == TAPE_FEED_STATE)
        state->state_messages++;
    else
        state->messages++;
}

/* A step is done: the next one that was asked for, or none. */
static void end_step(struct tape_transport *transport, int kind)
{
    transport->step = transport->steps_more > 0 ? kind : TAPE_TRANSPORT_STEPS_NOT;
    if (transport->steps_more > 0)
        transport->steps_more--;
}

/* 1, or 2 when all messages of the stamp have left. */
static int mind_step(struct tape_transport *transport)
{
    if (transport->step != TAPE_TRANSPORT_STEPS_SAME_TIME ||
        (!transport->exhausted && transport->held_ns == transport->step_ns))
        return 1;
    end_step(transport, TAPE_TRANSPORT_STEPS_TIME);
    return transport->step == TAPE_TRANSPORT_STEPS_NOT ? 2 : 1;
}

static void count_step(struct tape_transport *transport)
{
    if (transport->step == TAPE_TRANSPORT_STEPS_NOT)
        return;
    transport->frozen_ns = transport->held_ns;
    transport->step_ns = transport->held_ns;
    if (transport->step == TAPE_TRANSPORT_STEPS_FRAME)
        end_step(transport, TAPE_TRANSPORT_STEPS_FRAME);
    else
        transport->step = TAPE_TRANSPORT_STEPS_SAME_TIME;
}

/* Following, and nothing is there: how long until it is looked at again. */
static int look_again(struct tape_transport *transport, int64_t now_ns, int64_t *until_ns)
{
    *until_ns = transport->options.source.spin ? now_ns : now_ns + transport->idle_ns;
    if (transport->idle_ns < TRANSPORT_IDLE_MAX_NS)
        transport->idle_ns += transport->idle_ns / 4;
    return 2;
}

/* The first message after a beginning or a seek falls on the moment at which it can leave, not on
 * the one before it was read. */
static int anchor_first(struct tape_transport *transport, int had, int64_t now_ns,
                        int64_t *until_ns)
{
    if (!transport->unanchored || !is_paced(transport) || transport->exhausted)
        return 1;
    if (!had) {
        *until_ns = now_ns;
        return 2;
    }
    int64_t stamp_ns =
        transport->anchor_ns == INT64_MIN ? transport->held_ns : transport->anchor_ns;
    tape_pace_anchor(&transport->pace, stamp_ns, now_ns);
    transport->pass_began_ns = now_ns;
    transport->unanchored = 0;
    return 1;
}

static int is_standing(const struct tape_transport *transport)
{
    int phase = transport->state.phase;
    return phase == TAPE_TRANSPORT_PHASE_WAITING ||
           (phase == TAPE_TRANSPORT_PHASE_PAUSED && transport->step == TAPE_TRANSPORT_STEPS_NOT);
}

/* All that may keep the message from leaving: 1 when nothing does, 2, 0, AGAIN or a status. */
static int prepare(struct tape_transport *transport, int64_t now_ns, int64_t *until_ns,
                   struct tape_error *error)
{
    int had = transport->holds;
    int got = hold(transport, error);
    *until_ns = INT64_MAX;
    if (got < 0 || is_standing(transport))
        return got < 0 ? got : 2;
    if (got == 2)
        return look_again(transport, now_ns, until_ns);
    got = anchor_first(transport, had, now_ns, until_ns);
    if (got == 1)
        got = mind_step(transport);
    if (got == 1 && (transport->state.looping || transport->draining))
        got = mind_loop(transport, now_ns, until_ns, error);
    else if (got == 1 && transport->exhausted)
        got = 0;
    return got == 1 ? release(transport, now_ns, until_ns) : got;
}

static int is_stopped(const struct tape_transport *transport)
{
    return __atomic_load_n(&transport->stop, __ATOMIC_RELAXED);
}

static int next_minded(struct tape_transport *transport, int64_t now_ns,
                       struct tape_transport_item *item, int64_t *until_ns,
                       struct tape_error *error)
{
    struct tape_transport_state *state = &transport->state;
    int got;
    if (is_stopped(transport) || state->phase == TAPE_TRANSPORT_PHASE_ENDED)
        return 0;
    do
        got = prepare(transport, now_ns, until_ns, error);
    while (got == TRANSPORT_AGAIN && !is_stopped(transport));
    if (got == 0)
        state->phase = TAPE_TRANSPORT_PHASE_ENDED;
    if (got != 1)
        return got == TRANSPORT_AGAIN ? 0 : got;
    *item = transport->held;
    transport->holds = 0;
    count_left(transport, item, transport->held_ns);
    count_step(transport);
    return 1;
}

/* What the source said other than 1 while flat out. */
static int look_up(struct tape_transport *transport, int got, int64_t now_ns, int64_t *until_ns)
{
    if (got == 2)
        return look_again(transport, now_ns, until_ns);
    if (got == 0) {
        transport->exhausted = 1;
        transport->flat_out = 0;
        transport->state.phase = TAPE_TRANSPORT_PHASE_ENDED;
    }
    return got;
}

void tape_transport_choose_way(struct tape_transport *transport)
{
    const struct tape_transport_state *state = &transport->state;
    transport->flat_out = transport->pace.speed == 0 &&
                          state->phase == TAPE_TRANSPORT_PHASE_PLAYING && !transport->holds &&
                          !transport->exhausted && !state->looping && !transport->draining &&
                          !transport->run;
}

/* Millions of messages a second take the short way: nothing to wait for and nothing to mind. */
int tape_transport_next(struct tape_transport *transport, int64_t now_ns,
                        struct tape_transport_item *item, int64_t *until_ns,
                        struct tape_error *error)
{
    const struct tape_transport_options *options = &transport->options;
    if (!transport->flat_out) {
        int got = next_minded(transport, now_ns, item, until_ns, error);
        tape_transport_choose_way(transport);
        return got;
    }
    do {
        int got = tape_source_try(transport->source, &item->message, error);
        if (got != 1)
            return look_up(transport, got, now_ns, until_ns);
    } while (options->wants && !options->wants(options->wants_context, &item->message));
    item->action = TAPE_FAULTS_DELIVER;
    item->due_ns = TAPE_TRANSPORT_NO_DUE;
    item->late_ns = 0;
    transport->idle_ns = TRANSPORT_IDLE_MIN_NS;
    count_left(transport, item, stamp_of(&item->message));
    return 1;
}

void tape_transport_blocked(struct tape_transport *transport, int64_t ns)
{
    tape_pace_blocked(&transport->pace, ns);
    if (transport->pace.speed > 0 && transport->left_ns != INT64_MIN)
        count_too_late(transport, ns, NULL);
}

void tape_transport_stop(struct tape_transport *transport)
{
    __atomic_store_n(&transport->stop, 1, __ATOMIC_RELAXED);
    tape_source_stop(transport->source);
}
