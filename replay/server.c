#include "replay/server.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "replay/pace.h"
#include "replay/server_state.h"

enum {
    EVENTS_MAX = 64,
    PEERS_MAX = 1024,
    QUEUE_MAX_BYTES = 8 << 20,
    MESSAGES_PER_SECOND = 50,
    FILES_BESIDE = 128, /* archives, listeners, what the program has open */
    MAP_MIN_BYTES = 1 << 20,
    KEEP_FREE_BYTES = 32 << 20,
};
#define FAR_NS         (3600 * TAPE_SERVER_SECOND_NS)
#define FINISH_STEP_NS (TAPE_SERVER_SECOND_NS / 100)

/* ---- opening and closing ---- */

static void set_defaults(struct tape_server_options *options)
{
    if (options->peers_max <= 0)
        options->peers_max = PEERS_MAX;
    if (options->queue_max_bytes == 0)
        options->queue_max_bytes = QUEUE_MAX_BYTES;
    if (options->messages_per_second <= 0)
        options->messages_per_second = MESSAGES_PER_SECOND;
    if (options->pong_ns <= 0)
        options->pong_ns = options->ping_ns;
}

/* As many files as so many peers need, where the system allows it. */
static void raise_files(int peers)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)peers + TAPE_SERVER_REFUSED_MAX + FILES_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Queues fill and empty all the time: their pages are kept, as each that is given back costs a page
 * fault when it is wanted again, which was half of what sending cost. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, MAP_MIN_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEEP_FREE_BYTES);
}

static int prepare(struct tape_server *server, struct tape_error *error)
{
    const struct tape_server_options *options = &server->options;
    if (!options->certificate != !options->key)
        return tape_error_set(error, TAPE_USAGE,
                              "TLS wants a certificate file and a key file, not one of them");
    if (options->certificate &&
        !(server->tls = tape_tls_context_new(options->certificate, options->key, error)))
        return TAPE_FAILED;
    raise_files(options->peers_max);
    keep_memory();
    server->peers_room = options->peers_max + TAPE_SERVER_REFUSED_MAX;
    server->peers = calloc((size_t)server->peers_room, sizeof *server->peers);
    server->stage = malloc(TAPE_SERVER_STAGE_BYTES);
    server->texts = malloc(TAPE_SERVER_TEXTS_BYTES);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!server->peers || !server->stage || !server->texts || server->epoll < 0)
        return tape_error_errno(error, errno, "make a server");
    tape_pace_sharpen();
    return tape_server_listen(server, error);
}

struct tape_server *tape_server_open(const struct tape_server_options *options,
                                     struct tape_error *error)
{
    struct tape_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        tape_error_errno(error, errno, "make a server");
        return NULL;
    }
    server->options = *options;
    server->epoll = server->timer = -1;
    server->work_end = &server->work;
    server->next_ns = INT64_MAX;
    server->now_ns = tape_pace_now();
    set_defaults(&server->options);
    if (prepare(server, error) == 0)
        return server;
    tape_server_close(server);
    return NULL;
}

void tape_server_close(struct tape_server *server)
{
    if (server == NULL)
        return;
    tape_server_stop_listening(server);
    for (int i = 0; i < server->peers_count; i++) {
        tape_peer_lose(server->peers[i]);
        tape_peer_tell(server->peers[i]);
    }
    while (server->peers_count > 0)
        tape_peer_free(server->peers[server->peers_count - 1]);
    if (server->epoll >= 0)
        close(server->epoll);
    if (server->timer >= 0)
        close(server->timer);
    tape_tls_context_free(server->tls);
    free(server->sealed.bytes);
    free(server->peers);
    free(server->stage);
    free(server->texts);
    free(server);
}

const char *tape_server_address(const struct tape_server *server)
{
    return server->address;
}

/* ---- the work list ---- */

void tape_server_visit_later(struct tape_server *server, struct tape_peer *peer)
{
    if (peer->in_work)
        return;
    peer->in_work = 1;
    peer->next_work = NULL;
    *server->work_end = peer;
    server->work_end = &peer->next_work;
}

static struct tape_peer *take_work(struct tape_server *server)
{
    struct tape_peer *first = server->work;
    server->work = NULL;
    server->work_end = &server->work;
    return first;
}

/* Frees the dead, which are on the list, each after its closed(); again as long as that makes more
 * of them. */
static void bury(struct tape_server *server)
{
    for (int buried = 1; buried;) {
        struct tape_peer *next = NULL;
        buried = 0;
        for (struct tape_peer *peer = take_work(server); peer; peer = next) {
            next = peer->next_work;
            peer->in_work = 0;
            if (peer->state != TAPE_PEER_DEAD) {
                tape_server_visit_later(server, peer);
                continue;
            }
            tape_peer_tell(peer);
            tape_peer_free(peer);
            buried = 1;
        }
    }
}

/* One visit to each on the list: those that want another one must wait until all had theirs. */
static void visit_all(struct tape_server *server)
{
    struct tape_peer *next = NULL;
    for (struct tape_peer *peer = take_work(server); peer; peer = next) {
        next = peer->next_work;
        peer->in_work = 0;
        tape_peer_visit(peer);
    }
    bury(server);
}

static void tick(struct tape_server *server)
{
    if (server->now_ns < server->next_ns)
        return;
    server->next_ns = INT64_MAX;
    int64_t next_ns = server->listen_again_ns ? server->listen_again_ns : INT64_MAX;
    for (int i = 0; i < server->peers_count; i++) {
        int64_t peer_ns = tape_peer_tick(server->peers[i]);
        next_ns = peer_ns < next_ns ? peer_ns : next_ns;
    }
    if (next_ns < server->next_ns)
        server->next_ns = next_ns;
}

void tape_server_flush(struct tape_server *server)
{
    for (struct tape_peer *peer = server->work; peer; peer = peer->next_work)
        tape_peer_send(peer);
}

/* ---- the loop ---- */

static int wait_by_timer(struct tape_server *server, struct epoll_event *events, int64_t wait_ns)
{
    struct itimerspec when = {
        .it_value = {wait_ns / TAPE_SERVER_SECOND_NS, wait_ns % TAPE_SERVER_SECOND_NS}};
    if (server->timer < 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
        server->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (server->timer < 0 ||
            epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->timer, &event) != 0)
            return -1;
    }
    timerfd_settime(server->timer, 0, &when, NULL);
    return epoll_wait(server->epoll, events, EVENTS_MAX, wait_ns > 0 ? -1 : 0);
}

static int wait_for(struct tape_server *server, struct epoll_event *events, int64_t wait_ns)
{
    struct timespec wait = {wait_ns / TAPE_SERVER_SECOND_NS, wait_ns % TAPE_SERVER_SECOND_NS};
    if (server->timer >= 0)
        return wait_by_timer(server, events, wait_ns);
    int count = epoll_pwait2(server->epoll, events, EVENTS_MAX, &wait, NULL);
    return count < 0 && errno == ENOSYS ? wait_by_timer(server, events, wait_ns) : count;
}

static int is_listener(const struct tape_server *server, const void *pointer)
{
    for (int i = 0; i < TAPE_SERVER_LISTENERS_MAX; i++)
        if (pointer == &server->listeners[i])
            return 1;
    return 0;
}

static void note_event(struct tape_server *server, const struct epoll_event *event)
{
    struct tape_peer *peer = event->data.ptr;
    if (peer == NULL || is_listener(server, peer))
        return;
    peer->readable |= (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    peer->hung_up |= (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    peer->writable |= (event->events & EPOLLOUT) != 0;
    tape_server_visit_later(server, peer);
}

/* Waits for events. 1, 0 when a signal came, or a status. */
static int gather(struct tape_server *server, int64_t wait_ns, struct tape_error *error)
{
    struct epoll_event events[EVENTS_MAX];
    int count = wait_for(server, events, wait_ns), take = 0;
    server->now_ns = tape_pace_now();
    if (count < 0)
        return errno == EINTR ? 0 : tape_error_errno(error, errno, "wait for clients");
    for (int i = 0; i < count; i++) {
        note_event(server, &events[i]);
        take |= is_listener(server, events[i].data.ptr);
    }
    if (take || server->listen_again_ns)
        tape_server_take(server);
    return 1;
}

/* How long nothing has to be done. */
static int64_t idle_ns(const struct tape_server *server, int64_t until_ns)
{
    int64_t wake_ns = until_ns < server->next_ns ? until_ns : server->next_ns;
    if (server->handled || server->work || wake_ns <= server->now_ns)
        return 0;
    return wake_ns - server->now_ns < FAR_NS ? wake_ns - server->now_ns : FAR_NS;
}

/* 1 when something was handled or ${until_ns} has come, 0 when a signal came, or a status. */
static int poll_until(struct tape_server *server, int64_t until_ns, int64_t spin_ns,
                      struct tape_error *error)
{
    server->now_ns = tape_pace_now();
    server->handled = 0;
    for (int waited = 0;; waited = 1) {
        tick(server);
        visit_all(server);
        tape_server_flush(server);
        server->now_ns = tape_pace_now();
        if (waited && (server->handled || server->now_ns >= until_ns))
            return 1;
        int64_t wait_ns = idle_ns(server, until_ns > spin_ns ? until_ns - spin_ns : 0);
        if (waited && wait_ns == 0 && !server->work && server->next_ns > server->now_ns) {
            tape_pace_sleep(until_ns, spin_ns);
            return 1;
        }
        int got = gather(server, wait_ns, error);
        if (got <= 0)
            return got;
    }
}

int tape_server_poll(struct tape_server *server, int64_t until_ns, int64_t spin_ns,
                     struct tape_error *error)
{
    int got = poll_until(server, until_ns, spin_ns, error);
    return got < 0 ? got : 0;
}

void tape_server_finish(struct tape_server *server, int code, const char *reason, int64_t until_ns)
{
    server->finishing = 1;
    server->now_ns = tape_pace_now();
    tape_server_stop_listening(server);
    for (int i = 0; i < server->peers_count; i++) {
        struct tape_peer *peer = server->peers[i];
        if (peer->state == TAPE_PEER_IN_TLS)
            tape_peer_lose(peer);
        else
            tape_peer_close(peer, code, reason);
    }
    /* a peer whose closed() was called already goes without a word: none would wake this up */
    for (int64_t now_ns = tape_pace_now(); server->peers_count > 0 && now_ns < until_ns;
         now_ns = tape_pace_now()) {
        int64_t step_ns = until_ns - now_ns < FINISH_STEP_NS ? until_ns - now_ns : FINISH_STEP_NS;
        if (poll_until(server, now_ns + step_ns, 0, NULL) <= 0)
            return;
    }
}
