#include "record/receive.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "record/backoff.h"
#include "record/clock.h"
#include "record/connection.h"
#include "record/key.h"
#include "record/plan.h"
#include "record/thread.h"

#define SECOND_NS   INT64_C(1000000000)
#define TICK_NS     (50 * INT64_C(1000000))
#define STEADY_NS   (10 * SECOND_NS) /* a connection that delivered for so long was a good one */
#define HANDOVER_NS (30 * SECOND_NS) /* a successor that delivers nothing takes over after this */

enum { EVENTS_MAX = 64, SPINS = 64 /* busy polls between two looks at the epoll */ };

/* Invariants: at most one of the three is dialled at a time; successor only beside an open current
 * that is old; retiring is leaving. dial_at_ns counts while current is NULL, renew_at_ns while
 * successor is. */
struct slot {
    const struct tape_plan_link *link;
    struct tape_connection *current, *successor, *retiring;
    struct tape_backoff backoff;
    int64_t dial_at_ns, renew_at_ns;
    uint64_t dials;
};

/* Invariants: all but state, failure and the flags belongs to the thread once it runs. */
struct tape_receive {
    struct tape_receive_options options; /* its pointers are not used after the plan */
    struct tape_plan plan;
    struct tape_connection_setup setup;
    struct slot *slots;
    struct tape_backoff_window window;
    int64_t not_before_ns; /* no dial before: a Retry-After */
    int64_t next_tick_ns;
    int ever_opened, stopping, wants_more, wants_room, spin;
    int wake_fd;

    pthread_t thread;
    int started;
    atomic_int stop_asked, done;
    pthread_mutex_t lock; /* of the two below */
    struct tape_receive_state state;
    struct tape_error failure;
};

/* ---- planning ---- */

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static void set_defaults(struct tape_receive *r)
{
    struct tape_receive_options *o = &r->options;
    o->handshake_ns = or_default(o->handshake_ns, 10 * SECOND_NS);
    o->silent_peer_ns = or_default(o->silent_peer_ns, 15 * SECOND_NS);
    o->backoff_min_ns = or_default(o->backoff_min_ns, SECOND_NS / 4);
    o->backoff_max_ns = or_default(o->backoff_max_ns, 60 * SECOND_NS);
    if (!o->message_limit_bytes)
        o->message_limit_bytes = TAPE_WS_MESSAGE_MAX_BYTES;
    r->setup.venue = o->venue;
    r->setup.handshake_ns = o->handshake_ns;
    r->setup.silent_peer_ns = o->silent_peer_ns;
    r->setup.message_limit = o->message_limit_bytes;
    r->setup.budget.left = o->stop_after_frames ? o->stop_after_frames : UINT64_MAX;
    if (o->venue)
        tape_venue_read_limits(o->venue, &r->setup.limits);
}

static int make_slots(struct tape_receive *r, struct tape_error *error)
{
    uint64_t seed = 0;
    r->slots = calloc((size_t)r->plan.links_count, sizeof *r->slots);
    if (!r->slots)
        return tape_error_errno(error, errno, "plan the connections");
    for (int i = 0; i < r->plan.links_count; i++) {
        struct slot *slot = &r->slots[i];
        if (tape_key_random(&seed, sizeof seed))
            return tape_error_set(error, TAPE_FAILED, "the system gives no random bytes");
        slot->link = &r->plan.links[i];
        tape_backoff_begin(&slot->backoff, r->options.backoff_min_ns, r->options.backoff_max_ns,
                           seed);
    }
    r->state.connections_planned = r->plan.links_count;
    return TAPE_OK;
}

struct tape_receive *tape_receive_plan(const struct tape_receive_options *options,
                                       struct tape_error *error)
{
    struct tape_receive *r = calloc(1, sizeof *r);
    if (!r) {
        tape_error_errno(error, errno, "plan the connections");
        return NULL;
    }
    r->options = *options;
    r->wake_fd = r->setup.epoll_fd = -1;
    pthread_mutex_init(&r->lock, NULL);
    set_defaults(r);
    if (tape_plan_make(&r->plan, &r->options, error) == TAPE_OK &&
        (r->setup.tls = tape_tls_context_new(options->ca_file, error)) &&
        make_slots(r, error) == TAPE_OK)
        return r;
    tape_receive_free(r);
    return NULL;
}

void tape_receive_free(struct tape_receive *r)
{
    if (!r)
        return;
    tape_resolve_free(r->setup.resolver);
    tape_tls_context_free(r->setup.tls);
    tape_plan_free(&r->plan);
    free(r->slots);
    if (r->setup.epoll_fd >= 0)
        close(r->setup.epoll_fd);
    if (r->wake_fd >= 0)
        close(r->wake_fd);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- connections ---- */

static void set_trouble(struct tape_receive *r, const struct tape_connection_end *end)
{
    pthread_mutex_lock(&r->lock);
    char *to = r->state.last_trouble;
    snprintf(to, sizeof r->state.last_trouble, "%.*s", (int)sizeof r->state.last_trouble - 1,
             end->error.text);
    for (; *to; to++) /* the venue's words, too, may stand in it: for a terminal */
        if (*to < ' ' || *to > '~')
            *to = '?';
    pthread_mutex_unlock(&r->lock);
}

static void fail(struct tape_receive *r, const struct tape_error *error)
{
    pthread_mutex_lock(&r->lock);
    r->failure = *error;
    pthread_mutex_unlock(&r->lock);
    r->stopping = 1;
}

static struct tape_connection *dial(struct tape_receive *r, struct slot *slot, int64_t now)
{
    struct tape_error error;
    struct tape_connection *c = tape_connection_new(&r->setup, slot->link, now, &error);
    if (!c) { /* no memory, no descriptors: tried again later */
        struct tape_connection_end end = {.error = error};
        set_trouble(r, &end);
        slot->dial_at_ns = now + tape_backoff_next(&slot->backoff);
        return NULL;
    }
    pthread_mutex_lock(&r->lock);
    r->state.redials += slot->dials++ > 0;
    pthread_mutex_unlock(&r->lock);
    tape_connection_ready(c, now);
    return c;
}

/* 1 when a dial may begin now, else *at_ns is put off. Load tests of this machine are nobody else's
 * affair. */
static int may_dial(struct tape_receive *r, const struct slot *slot, int64_t *at_ns, int64_t now)
{
    if (*at_ns < r->not_before_ns)
        *at_ns = r->not_before_ns;
    if (r->stopping || now < *at_ns)
        return 0;
    int64_t wait = tape_url_is_loopback(&slot->link->url) ? 0 : tape_backoff_admit(&r->window, now);
    *at_ns = now + wait;
    return wait == 0;
}

/* Takes leave of a connection that is gone; returns when its place may be dialled again. */
static int64_t bury(struct tape_receive *r, struct slot *slot, struct tape_connection *c,
                    int64_t now)
{
    const struct tape_connection_end *end = tape_connection_end(c);
    int64_t opened = tape_connection_opened_ns(c);
    if (opened && tape_connection_delivered(c) && now - opened >= STEADY_NS)
        tape_backoff_reset(&slot->backoff);
    int64_t wait = tape_backoff_next(&slot->backoff);
    if (end->retry_after_ns > 0) {
        wait = wait > end->retry_after_ns ? wait : end->retry_after_ns;
        /* It speaks to all of this address: what another one was told counts on. */
        if (r->not_before_ns < now + end->retry_after_ns)
            r->not_before_ns = now + end->retry_after_ns;
    }
    if (end->hopeless && !r->ever_opened && !r->stopping)
        fail(r, &end->error);
    else if (end->error.status && !r->failure.status) /* one line says why a start failed */
        set_trouble(r, end);
    tape_connection_free(c);
    return now + wait;
}

static int is_gone(const struct tape_connection *c)
{
    return c && tape_connection_phase(c) == TAPE_CONNECTION_GONE;
}

static int is_open(const struct tape_connection *c)
{
    return c && tape_connection_phase(c) == TAPE_CONNECTION_OPEN;
}

/* Before the venue cuts a connection at the end of its life another one takes its place: the old
 * one stays until the new one delivers. */
static void renew(struct tape_receive *r, struct slot *slot, int64_t now)
{
    int64_t life = r->setup.limits.connection_life_ns;
    int64_t margin = life / 24 + (int64_t)(slot->backoff.random % 64) * (life / 24 / 64);
    if (life <= 0 || !is_open(slot->current))
        return;
    if (!slot->successor) {
        if (!slot->retiring && now - tape_connection_opened_ns(slot->current) >= life - margin &&
            may_dial(r, slot, &slot->renew_at_ns, now))
            slot->successor = dial(r, slot, now);
        return;
    }
    if (!is_open(slot->successor) ||
        (!tape_connection_delivered(slot->successor) &&
         now - tape_connection_opened_ns(slot->successor) < HANDOVER_NS))
        return;
    slot->retiring = slot->current;
    slot->current = slot->successor;
    slot->successor = NULL;
    tape_connection_leave(slot->retiring, TAPE_CONNECTION_RENEWAL, now);
}

static void tick_slot(struct tape_receive *r, struct slot *slot, int64_t now)
{
    struct tape_connection **all[] = {&slot->current, &slot->successor, &slot->retiring};
    for (int i = 0; i < 3; i++) {
        if (!*all[i])
            continue;
        tape_connection_tick(*all[i], now);
        r->ever_opened |= tape_connection_opened_ns(*all[i]) != 0;
    }
    if (is_gone(slot->retiring)) {
        tape_connection_free(slot->retiring);
        slot->retiring = NULL;
    }
    if (is_gone(slot->successor)) {
        slot->renew_at_ns = bury(r, slot, slot->successor, now);
        slot->successor = NULL;
    }
    if (is_gone(slot->current)) {
        slot->dial_at_ns = bury(r, slot, slot->current, now);
        slot->current = slot->successor; /* perhaps it is further already */
        slot->successor = NULL;
    }
    if (!slot->current && may_dial(r, slot, &slot->dial_at_ns, now))
        slot->current = dial(r, slot, now);
    renew(r, slot, now);
}

/* ---- the loop ---- */

static void publish_state(struct tape_receive *r, int64_t now)
{
    int open = 0;
    int64_t next = 0;
    for (int i = 0; i < r->plan.links_count; i++) {
        const struct slot *slot = &r->slots[i];
        open += is_open(slot->current);
        if (!slot->current && (next == 0 || slot->dial_at_ns < next))
            next = slot->dial_at_ns;
    }
    pthread_mutex_lock(&r->lock);
    r->state.connections_open = open;
    r->state.next_dial_ns =
        next && !r->stopping ? tape_clock_realtime() + (next > now ? next - now : 0) : 0;
    pthread_mutex_unlock(&r->lock);
}

static void tick(struct tape_receive *r, int64_t now)
{
    r->next_tick_ns = now + TICK_NS;
    for (int i = 0; i < r->plan.links_count; i++)
        tick_slot(r, &r->slots[i], now);
    tape_store_tick(r->setup.store, tape_clock_realtime());
    publish_state(r, now);
}

static void visit(struct tape_receive *r, struct tape_connection *c, int64_t now)
{
    tape_connection_ready(c, now);
    enum tape_connection_want want = tape_connection_wants(c);
    r->wants_more |= want == TAPE_CONNECTION_MORE;
    r->wants_room |= want == TAPE_CONNECTION_ROOM;
}

/* Those that no event of a socket tells of: what they wait for is in here, or in the ring. */
static void visit_waiting(struct tape_receive *r, int everyone, int64_t now)
{
    for (int i = 0; i < r->plan.links_count; i++) {
        struct tape_connection *all[] = {r->slots[i].current, r->slots[i].successor,
                                         r->slots[i].retiring};
        for (int j = 0; j < 3; j++)
            if (all[j] && (tape_connection_wants(all[j]) || (everyone && is_open(all[j]))))
                visit(r, all[j], now);
    }
}

static int timeout_ms(const struct tape_receive *r, int64_t now)
{
    if (r->wants_more || r->spin)
        return 0;
    int64_t wait = (r->next_tick_ns - now + 999999) / 1000000;
    if (r->wants_room && wait > 1)
        return 1;
    return wait > 0 ? (int)wait : 0;
}

static void turn(struct tape_receive *r, int64_t now)
{
    struct epoll_event events[EVENTS_MAX];
    int waiting = r->wants_more || r->wants_room;
    uint64_t count;
    int wake = 0, got = 0;
    if (!r->spin || r->spin % SPINS == 0) {
        got = epoll_wait(r->setup.epoll_fd, events, EVENTS_MAX, timeout_ms(r, now));
        now = tape_clock_monotonic();
    }
    r->wants_more = r->wants_room = 0;
    for (int i = 0; i < got; i++) {
        if (events[i].data.ptr)
            visit(r, events[i].data.ptr, now);
        else
            wake = read(r->wake_fd, &count, sizeof count) > 0;
    }
    if (waiting || r->spin)
        visit_waiting(r, r->spin, now);
    if (wake || now >= r->next_tick_ns)
        tick(r, now);
}

static int count_connections(const struct tape_receive *r)
{
    int count = 0;
    for (int i = 0; i < r->plan.links_count; i++)
        count += !!r->slots[i].current + !!r->slots[i].successor + !!r->slots[i].retiring;
    return count;
}

static void leave_all(struct tape_receive *r, int64_t now)
{
    for (int i = 0; i < r->plan.links_count; i++) {
        struct tape_connection *all[] = {r->slots[i].current, r->slots[i].successor,
                                         r->slots[i].retiring};
        for (int j = 0; j < 3; j++)
            if (all[j])
                tape_connection_leave(all[j], TAPE_CONNECTION_SHUTDOWN, now);
    }
}

static void *run(void *context)
{
    struct tape_receive *r = context;
    if (!r->options.busy_poll)
        tape_thread_come_first();
    for (;;) {
        int64_t now = tape_clock_monotonic();
        r->stopping |=
            atomic_load_explicit(&r->stop_asked, memory_order_relaxed) || r->setup.budget.left == 0;
        if (r->stopping) { /* again and again: some are lost while they leave */
            leave_all(r, now);
            tick(r, now);
            if (!count_connections(r))
                break;
        }
        r->spin =
            r->options.busy_poll && !r->stopping && r->state.connections_open ? r->spin + 1 : 0;
        turn(r, now);
    }
    publish_state(r, tape_clock_monotonic());
    atomic_store(&r->done, 1);
    return NULL;
}

/* ---- other threads ---- */

/* A message as one frame must fit the ring. */
static void fit_limit(struct tape_receive *r)
{
    uint64_t most = tape_store_record_limit(r->setup.store) - TAPE_WS_HEADER_MAX_BYTES;
    if (r->setup.message_limit > most)
        r->setup.message_limit = most;
}

static int make_loop(struct tape_receive *r, struct tape_error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    r->setup.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->setup.epoll_fd < 0 || r->wake_fd < 0 ||
        epoll_ctl(r->setup.epoll_fd, EPOLL_CTL_ADD, r->wake_fd, &event))
        return tape_error_errno(error, errno, "start the receive thread");
    r->setup.resolver = tape_resolve_new(r->wake_fd, error);
    return r->setup.resolver ? TAPE_OK : TAPE_FAILED;
}

int tape_receive_start(struct tape_receive *r, struct tape_store *store, struct tape_error *error)
{
    struct tape_store_state state;
    tape_store_read_state(store, &state);
    r->setup.store = store;
    r->setup.session = state.session;
    fit_limit(r);
    int status = make_loop(r, error);
    if (status == 0)
        status = tape_thread_start(&r->thread, "tape-receive", run, r, error);
    r->started = status == 0;
    return status;
}

void tape_receive_stop(struct tape_receive *r)
{
    uint64_t one = 1;
    if (!r->started)
        return;
    atomic_store(&r->stop_asked, 1);
    while (write(r->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    pthread_join(r->thread, NULL);
    r->started = 0;
}

int tape_receive_done(struct tape_receive *r, struct tape_error *error)
{
    if (!atomic_load(&r->done))
        return 0;
    pthread_mutex_lock(&r->lock);
    if (error)
        *error = r->failure;
    pthread_mutex_unlock(&r->lock);
    return 1;
}

void tape_receive_read_state(struct tape_receive *r, struct tape_receive_state *state)
{
    pthread_mutex_lock(&r->lock);
    *state = r->state;
    pthread_mutex_unlock(&r->lock);
}
