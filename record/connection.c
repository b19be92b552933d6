#include "record/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "record/backoff.h"
#include "record/clock.h"
#include "record/connection_state.h"
#include "record/key.h"

#define LEAVE_NS TAPE_CONNECTION_SECOND_NS

/* ---- the end ---- */

static void close_socket(struct tape_connection *c)
{
    tape_dial_end(&c->dial);
    tape_tls_free(c->tls);
    c->tls = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void set_end(struct tape_connection *c, enum tape_connection_cause cause, int code,
                    int errno_value, const struct tape_error *error)
{
    char url[TAPE_URL_TEXT_BYTES];
    if (c->end.cause)
        return;
    c->end.cause = cause;
    c->end.code = code;
    c->end.errno_value = errno_value;
    if (!error || !error->status)
        return;
    c->end.error = *error;
    tape_url_text(&c->link->url, url, sizeof url);
    tape_error_wrap(&c->end.error, c->end.opened ? "%.300s" : "connect %.300s", url);
}

/* All that was received goes before the close record. */
static void settle(struct tape_connection *c)
{
    c->stalled = c->in.data && !tape_connection_settle(c);
    if (c->stalled && c->deadline_ns && c->now_ns >= c->deadline_ns) {
        tape_inbox_give_up(&c->in);
        c->stalled = 0;
    }
    if (c->stalled)
        return;
    tape_connection_write_close(c);
    c->state = TAPE_CONNECTION_AT_GONE;
}

void tape_connection_lose(struct tape_connection *c, enum tape_connection_cause cause,
                          int errno_value, const struct tape_error *error)
{
    if (c->state == TAPE_CONNECTION_AT_UPGRADE) { /* what came is no frame */
        tape_connection_write_response(c, c->in.end);
        c->in.start = c->in.end;
    }
    set_end(c, cause, 0, errno_value, error);
    close_socket(c);
    c->state = TAPE_CONNECTION_AT_LOST;
    if (c->end.cause != TAPE_CONNECTION_SHUTDOWN)
        c->deadline_ns = 0;
    settle(c);
}

void tape_connection_lose_by(struct tape_connection *c, int tls_end, int errno_value,
                             const struct tape_error *error)
{
    struct tape_error words;
    if (c->write_errno && tls_end != TAPE_TLS_BROKEN) { /* the socket tells its error only once */
        tls_end = TAPE_TLS_SYSTEM;
        errno_value = c->write_errno;
    }
    switch (tls_end) {
    case TAPE_TLS_CLOSED:
        tape_error_set(&words, TAPE_CLOSED, "the venue closed without a close frame");
        tape_connection_lose(c, TAPE_CONNECTION_PEER_EOF, 0, &words);
        break;
    case TAPE_TLS_TRUNCATED:
        tape_error_set(&words, TAPE_CLOSED, "the stream ended without TLS close_notify");
        tape_connection_lose(c, TAPE_CONNECTION_TLS_TRUNCATED, 0, &words);
        break;
    case TAPE_TLS_SYSTEM:
        tape_error_errno(&words, errno_value, "receive");
        tape_connection_lose(
            c, errno_value == ETIMEDOUT ? TAPE_CONNECTION_TIMEOUT : TAPE_CONNECTION_RESET,
            errno_value, &words);
        break;
    default:
        tape_connection_lose(c, TAPE_CONNECTION_TLS, 0, error);
    }
}

void tape_connection_begin_leaving(struct tape_connection *c, enum tape_connection_cause cause,
                                   int code, const struct tape_error *error)
{
    if (c->end.cause)
        return;
    set_end(c, cause, code, 0, error);
    c->state = TAPE_CONNECTION_AT_LEAVING;
    c->deadline_ns = c->now_ns + LEAVE_NS;
}

/* ---- dial, TLS, upgrade ---- */

static void fail_dial(struct tape_connection *c, const struct tape_error *error)
{
    static const enum tape_connection_cause causes[] = {
        [TAPE_DIAL_RESOLVE] = TAPE_CONNECTION_RESOLVE,
        [TAPE_DIAL_REFUSED] = TAPE_CONNECTION_REFUSED,
        [TAPE_DIAL_CONNECT] = TAPE_CONNECTION_CONNECT,
        [TAPE_DIAL_TIMEOUT] = TAPE_CONNECTION_TIMEOUT,
    };
    c->end.hopeless = c->dial.cause == TAPE_DIAL_RESOLVE;
    tape_connection_lose(c, causes[c->dial.cause], c->dial.last_errno, error);
}

static void begin_upgrade(struct tape_connection *c)
{
    char key[TAPE_HANDSHAKE_KEY_CHARS + 1], authority[TAPE_URL_HOST_BYTES + 10];
    static char request[TAPE_URL_TARGET_BYTES + 1024]; /* the receive thread's alone */
    struct tape_error error;
    int bytes = tape_key_make(key, &error);
    if (!bytes) {
        tape_key_accept(key, c->accept);
        tape_url_authority(&c->link->url, authority, sizeof authority);
        bytes = tape_handshake_request(request, sizeof request, authority, c->link->url.target, key,
                                       &error);
    }
    c->step_began_ns = tape_clock_monotonic();
    c->state = TAPE_CONNECTION_AT_UPGRADE;
    if (bytes < 0)
        tape_connection_lose(c, TAPE_CONNECTION_PROTOCOL, 0, &error);
    else
        tape_outbox_put(&c->out, request, (size_t)bytes);
}

static void step_dial(struct tape_connection *c)
{
    struct tape_error error = {0};
    int connected = tape_dial_step(&c->dial, c->now_ns, &error);
    if (connected == 0)
        return;
    if (connected < 0) {
        fail_dial(c, &error);
        return;
    }
    c->fd = c->dial.fd;
    tape_dial_end(&c->dial);
    c->events = EPOLLOUT;
    c->step_began_ns = tape_clock_monotonic();
    tape_stamp_begin(&c->stamp, c->fd, c->buffers);
    c->in.plain = !c->link->url.secure;
    if (c->in.plain) {
        begin_upgrade(c);
        return;
    }
    c->state = TAPE_CONNECTION_AT_TLS;
    c->tls = tape_tls_new(c->setup->tls, &c->link->url, &c->stamp, &error);
    if (!c->tls)
        tape_connection_lose(c, TAPE_CONNECTION_TLS, 0, &error);
}

static void step_tls(struct tape_connection *c)
{
    struct tape_error error = {0};
    int done = tape_tls_handshake(c->tls, &error);
    int errno_value = done == TAPE_TLS_SYSTEM ? errno : 0;
    if (done == 1) {
        c->tls_ns = tape_clock_monotonic() - c->step_began_ns;
        begin_upgrade(c);
    } else if (done == TAPE_TLS_CERTIFICATE) {
        c->end.hopeless = 1;
        tape_connection_lose(c, TAPE_CONNECTION_CERTIFICATE, 0, &error);
    } else if (done < 0) {
        tape_connection_lose(c, errno_value ? TAPE_CONNECTION_RESET : TAPE_CONNECTION_TLS,
                             errno_value, &error);
    }
}

static int is_hopeless(int status)
{
    return (status >= 300 && status < 400) || status == 400 || status == 401 || status == 403 ||
           status == 404 || status == 410 || status == 451;
}

static void refuse_upgrade(struct tape_connection *c, const struct tape_handshake_response *answer,
                           struct tape_error *error)
{
    int is_http = answer->status_code != 0 && answer->status_code != 101;
    tape_error_wrap(error, "upgrade");
    if (!is_http) {
        tape_connection_lose(c, TAPE_CONNECTION_PROTOCOL, 0, error);
        return;
    }
    c->end.hopeless = is_hopeless(answer->status_code);
    c->end.retry_after_ns = tape_backoff_retry_after(
        answer->retry_after_s, answer->retry_after_date, tape_clock_realtime());
    set_end(c, TAPE_CONNECTION_HTTP, answer->status_code, 0, error);
    tape_connection_lose(c, TAPE_CONNECTION_HTTP, 0, error);
}

static void open_up(struct tape_connection *c, size_t head_bytes)
{
    tape_connection_write_response(c, head_bytes);
    c->upgrade_ns = tape_clock_monotonic() - c->step_began_ns;
    c->in.start = head_bytes;
    c->state = TAPE_CONNECTION_AT_OPEN;
    c->end.opened = 1;
    c->opened_ns = c->heard_ns = c->pinged_ns = c->now_ns;
    c->deadline_ns = 0;
    tape_connection_write_open(c);
    tape_connection_talk_tick(c);
}

/* The answer gathers in the inbox; frames may follow it there. */
static void step_upgrade(struct tape_connection *c)
{
    struct tape_handshake_response answer;
    struct tape_error error = {0};
    int64_t got;
    tape_connection_flush(c);
    while ((got = tape_connection_read(c, &error)) > 0) {
        int head = tape_handshake_response(c->in.data, c->in.end, c->accept, &answer, &error);
        if (head > 0)
            open_up(c, (size_t)head);
        else if (head < 0)
            refuse_upgrade(c, &answer, &error);
        if (head)
            return;
    }
    if (got < 0)
        tape_connection_lose_by(c, (int)got, errno, &error);
}

/* ---- the whole ---- */

/* While nothing is wanted a hang-up is told once, not for ever. */
static void watch(struct tape_connection *c)
{
    struct epoll_event event = {.data.ptr = c};
    if (c->fd < 0)
        return;
    event.events = c->stalled ? EPOLLET : EPOLLIN;
    if (c->blocked || (c->tls && tape_tls_wants_write(c->tls)))
        event.events |= EPOLLOUT;
    if (event.events == c->events)
        return;
    if (epoll_ctl(c->setup->epoll_fd, EPOLL_CTL_MOD, c->fd, &event) == 0)
        c->events = event.events;
}

struct tape_connection *tape_connection_new(struct tape_connection_setup *setup,
                                            const struct tape_plan_link *link, int64_t now_ns,
                                            struct tape_error *error)
{
    struct tape_connection *c = calloc(1, sizeof *c);
    uint8_t *buffers = c ? malloc(TAPE_STAMP_AHEAD_BYTES + TAPE_OUTBOX_BYTES) : NULL;
    if (!buffers) {
        tape_error_errno(error, errno, "make a connection");
        free(c);
        return NULL;
    }
    c->setup = setup;
    c->link = link;
    c->fd = -1;
    c->buffers = buffers;
    c->out.data = buffers + TAPE_STAMP_AHEAD_BYTES;
    c->number = tape_store_new_connection(setup->store);
    c->now_ns = c->began_ns = now_ns;
    c->deadline_ns = now_ns + setup->handshake_ns;
    if (tape_inbox_begin(&c->in, setup->store, &setup->budget, c->number, setup->message_limit,
                         error) ||
        tape_dial_begin(&c->dial, &link->url, setup->resolver, setup->epoll_fd, c, now_ns, error)) {
        tape_connection_free(c);
        return NULL;
    }
    return c;
}

void tape_connection_free(struct tape_connection *c)
{
    if (!c)
        return;
    close_socket(c);
    tape_inbox_end(&c->in);
    free(c->buffers);
    free(c);
}

void tape_connection_ready(struct tape_connection *c, int64_t now_ns)
{
    c->now_ns = now_ns;
    c->more = 0;
    if (c->state == TAPE_CONNECTION_AT_DIAL)
        step_dial(c);
    if (c->state == TAPE_CONNECTION_AT_TLS)
        step_tls(c);
    if (c->state == TAPE_CONNECTION_AT_UPGRADE)
        step_upgrade(c);
    if (c->state == TAPE_CONNECTION_AT_OPEN || c->state == TAPE_CONNECTION_AT_LEAVING)
        tape_connection_talk(c);
    else if (c->state == TAPE_CONNECTION_AT_LOST)
        settle(c);
    if (c->state == TAPE_CONNECTION_AT_LEAVING && c->now_ns >= c->deadline_ns)
        tape_connection_lose(c, c->end.cause, 0, NULL);
    watch(c);
}

static void give_up_dial(struct tape_connection *c)
{
    struct tape_error error;
    const char *step = c->state == TAPE_CONNECTION_AT_TLS       ? "the TLS handshake did not end"
                       : c->state == TAPE_CONNECTION_AT_UPGRADE ? "no whole answer to the upgrade"
                       : tape_dial_is_resolving(&c->dial)       ? "the name was not resolved"
                                                                : "no answer";
    tape_error_set(&error, TAPE_FAILED, "%s within %g s", step,
                   (double)c->setup->handshake_ns / 1e9);
    tape_connection_lose(c, TAPE_CONNECTION_TIMEOUT, ETIMEDOUT, &error);
}

void tape_connection_tick(struct tape_connection *c, int64_t now_ns)
{
    c->now_ns = now_ns;
    switch (c->state) {
    case TAPE_CONNECTION_AT_DIAL:
    case TAPE_CONNECTION_AT_TLS:
    case TAPE_CONNECTION_AT_UPGRADE:
        if (now_ns >= c->deadline_ns)
            give_up_dial(c);
        else
            tape_connection_ready(c, now_ns);
        return;
    case TAPE_CONNECTION_AT_OPEN:
        tape_connection_talk_tick(c);
        break;
    case TAPE_CONNECTION_AT_LEAVING:
        if (now_ns >= c->deadline_ns)
            tape_connection_lose(c, c->end.cause, 0, NULL);
        break;
    case TAPE_CONNECTION_AT_LOST:
        settle(c);
        return;
    case TAPE_CONNECTION_AT_GONE:
        return;
    }
    watch(c);
}

void tape_connection_leave(struct tape_connection *c, enum tape_connection_cause cause,
                           int64_t now_ns)
{
    static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};
    c->now_ns = now_ns;
    if (c->state < TAPE_CONNECTION_AT_OPEN) {
        tape_connection_lose(c, cause, 0, NULL);
    } else if (c->state == TAPE_CONNECTION_AT_OPEN) {
        tape_outbox_frame(&c->out, TAPE_WS_CLOSE, normal, sizeof normal);
        tape_connection_begin_leaving(c, cause, 1000, NULL);
        tape_connection_flush(c);
        watch(c);
    } else if (c->state == TAPE_CONNECTION_AT_LOST && !c->deadline_ns) {
        c->deadline_ns = now_ns + LEAVE_NS;
    }
}

enum tape_connection_phase tape_connection_phase(const struct tape_connection *c)
{
    if (c->state == TAPE_CONNECTION_AT_GONE)
        return TAPE_CONNECTION_GONE;
    if (c->state == TAPE_CONNECTION_AT_OPEN)
        return TAPE_CONNECTION_OPEN;
    return c->state < TAPE_CONNECTION_AT_OPEN ? TAPE_CONNECTION_DIALLING : TAPE_CONNECTION_LEAVING;
}

enum tape_connection_want tape_connection_wants(const struct tape_connection *c)
{
    if (c->state == TAPE_CONNECTION_AT_GONE)
        return TAPE_CONNECTION_NOTHING;
    return c->stalled ? TAPE_CONNECTION_ROOM
           : c->more  ? TAPE_CONNECTION_MORE
                      : TAPE_CONNECTION_NOTHING;
}

uint64_t tape_connection_delivered(const struct tape_connection *c)
{
    uint64_t answers = (uint64_t)c->request_id;
    return c->in.frames > answers ? c->in.frames - answers : 0;
}

int64_t tape_connection_opened_ns(const struct tape_connection *c)
{
    return c->opened_ns;
}

const struct tape_connection_end *tape_connection_end(const struct tape_connection *c)
{
    return &c->end;
}
