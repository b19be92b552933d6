#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "format/record.h"
#include "format/ws.h"
#include "record/clock.h"
#include "record/connection_state.h"

enum {
    /* a visit's share, so that one flood does not starve the others and the timers */
    READS_MAX = 256,
    READ_MAX_BYTES = 512 << 10,
    REQUEST_BYTES = 48 << 10,
    STREAMS_A_REQUEST = 200, /* where the venue sets no limit */
    REQUESTS_A_SECOND = 5,
};

/* ---- hearing ---- */

static int64_t read_plain(struct tape_connection *c, uint8_t *to, size_t room)
{
    ssize_t got = tape_stamp_read(&c->stamp, to,
                                  room > TAPE_STAMP_AHEAD_BYTES ? TAPE_STAMP_AHEAD_BYTES : room);
    if (got > 0)
        return got;
    if (got == 0)
        return TAPE_TLS_CLOSED;
    return errno == EAGAIN ? 0 : TAPE_TLS_SYSTEM;
}

int64_t tape_connection_read(struct tape_connection *c, struct tape_error *error)
{
    size_t room;
    uint8_t *to = tape_inbox_room(&c->in, &room);
    int64_t got = c->tls ? tape_tls_read(c->tls, to, room, error) : read_plain(c, to, room);
    if (got > 0) {
        tape_inbox_filled(&c->in, (size_t)got, c->stamp.stamp_ns, c->stamp.by_kernel,
                          tape_stamp_ahead_bytes(&c->stamp) > 0);
        c->heard_ns = c->now_ns;
    }
    return got;
}

/* The venue's close frame: answered with its own code. */
static void hear_close(struct tape_connection *c)
{
    const uint8_t *reason = NULL;
    size_t bytes = 0;
    uint16_t code = 0;
    char text[64];
    struct tape_error error;
    tape_ws_close_parse(c->in.payload, (size_t)c->in.frame.payload_bytes, &code, &reason, &bytes);
    if (c->end.cause) { /* the answer to ours */
        c->deadline_ns = c->now_ns;
        return;
    }
    memcpy(c->end.reason, reason, bytes);
    c->end.reason[bytes] = '\0';
    snprintf(text, sizeof text, "closed by the venue with code %u", code);
    tape_error_set(&error, TAPE_CLOSED, "%s%s%s", text, bytes ? ": " : "", c->end.reason);
    if (c->state == TAPE_CONNECTION_AT_OPEN)
        tape_outbox_frame(&c->out, TAPE_WS_CLOSE, c->in.payload, code == 1005 ? 0 : 2);
    tape_connection_begin_leaving(c, TAPE_CONNECTION_PEER_CLOSE, code, &error);
}

static void hear_control(struct tape_connection *c)
{
    if (c->in.frame.opcode == TAPE_WS_PING)
        tape_outbox_pong(&c->out, c->in.payload, (size_t)c->in.frame.payload_bytes);
    else if (c->in.frame.opcode == TAPE_WS_CLOSE)
        hear_close(c);
}

/* The bytes from the fault on are kept before anything else is done about it. 1 when they are. */
static int keep_bad(struct tape_connection *c)
{
    uint8_t payload[TAPE_WS_CONTROL_MAX_BYTES];
    struct tape_error error;
    c->stalled = tape_inbox_keep_rest(&c->in, TAPE_RECORD_FLAG_BAD) == TAPE_INBOX_STALLED;
    c->bad_owed = c->stalled;
    if (c->stalled)
        return 0;
    const char *words = tape_ws_fault_words(c->in.fault);
    unsigned code = tape_ws_fault_code(c->in.fault);
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    size_t bytes = strnlen(words, sizeof payload - 2);
    memcpy(payload + 2, words, bytes);
    tape_outbox_frame(&c->out, TAPE_WS_CLOSE, payload, bytes + 2);
    tape_error_set(&error, TAPE_PROTOCOL, "the venue broke the protocol: %s", words);
    c->deaf = 1;
    tape_connection_begin_leaving(
        c, c->in.fault == TAPE_WS_FAULT_TOO_BIG ? TAPE_CONNECTION_LIMIT : TAPE_CONNECTION_PROTOCOL,
        (int)code, &error);
    return 1;
}

/* Records what was read. 1 when the next read may come. */
static int record(struct tape_connection *c)
{
    if (c->bad_owed && !keep_bad(c))
        return 0;
    if (c->deaf) {
        c->in.start = c->in.end;
        return 1;
    }
    for (;;) {
        switch (tape_inbox_next(&c->in)) {
        case TAPE_INBOX_EMPTY:
            c->stalled = 0;
            return 1;
        case TAPE_INBOX_CONTROL:
            hear_control(c);
            break;
        case TAPE_INBOX_STALLED:
            c->stalled = 1;
            return 0;
        case TAPE_INBOX_FAULT:
            return keep_bad(c);
        }
    }
}

void tape_connection_talk(struct tape_connection *c)
{
    struct tape_error error = {0};
    int64_t got = 0, bytes = 0;
    for (int reads = 0; record(c); reads++, bytes += got) {
        if (tape_outbox_waits(&c->out))
            tape_connection_flush(c);
        if (reads == READS_MAX || bytes >= READ_MAX_BYTES) {
            c->more = 1;
            return;
        }
        got = tape_connection_read(c, &error);
        if (got <= 0)
            break;
        if (reads == 0 && c->stamp.by_kernel)
            tape_store_delay(c->setup->store, tape_clock_realtime() - c->stamp.stamp_ns);
    }
    if (got < 0)
        tape_connection_lose_by(c, (int)got, errno, &error);
    else
        tape_connection_flush(c);
}

int tape_connection_settle(struct tape_connection *c)
{
    while (!c->in.fault) {
        enum tape_inbox_result result = tape_inbox_next(&c->in);
        if (result == TAPE_INBOX_STALLED)
            return 0;
        if (result == TAPE_INBOX_EMPTY)
            break;
        if (result == TAPE_INBOX_CONTROL)
            hear_control(c);
    }
    int flag = c->in.fault ? TAPE_RECORD_FLAG_BAD : TAPE_RECORD_FLAG_PARTIAL;
    return tape_inbox_keep_rest(&c->in, flag) == TAPE_INBOX_EMPTY;
}

/* ---- speaking ---- */

static int64_t write_some(void *context, const void *from, size_t bytes)
{
    struct tape_connection *c = context;
    if (c->tls)
        return tape_tls_write(c->tls, from, bytes, NULL);
    ssize_t put = send(c->fd, from, bytes, MSG_NOSIGNAL);
    if (put >= 0)
        return put;
    return errno == EAGAIN || errno == EINTR ? 0 : TAPE_TLS_SYSTEM;
}

static void sent(void *context, const uint8_t *data, size_t bytes)
{
    struct tape_connection *c = context;
    if (c->state == TAPE_CONNECTION_AT_UPGRADE)
        tape_connection_write_request(c, data, bytes);
    else
        tape_connection_write_frames_out(c, data, bytes);
}

void tape_connection_flush(struct tape_connection *c)
{
    if (c->unsendable || c->fd < 0)
        return;
    int left = tape_outbox_flush(&c->out, write_some, sent, c);
    c->blocked = left == 1;
    if (left >= 0)
        return;
    /* What the venue sent before it went is still to be read, and reading meets the end, too. */
    c->unsendable = 1;
    c->write_errno = errno ? errno : EPIPE;
}

/* One request for as many streams as may be asked for at once, fewer when they do not fit. */
static void ask(struct tape_connection *c)
{
    static char text[REQUEST_BYTES]; /* the receive thread's alone */
    const struct tape_venue_limits *limits = &c->setup->limits;
    const char *const *streams = c->link->streams + c->asked;
    int left = c->link->streams_count - c->asked, bytes = TAPE_LIMIT;
    int count = limits->streams_per_request > 0 ? limits->streams_per_request : STREAMS_A_REQUEST;
    int64_t id = c->request_id + 1;
    if (count > left)
        count = left;
    for (;; count = count / 2) {
        bytes =
            tape_venue_subscribe(c->setup->venue, text, sizeof text, streams, (size_t)count, id);
        if (bytes > 0 || count <= 1)
            break;
    }
    if (bytes <= 0 || tape_outbox_frame(&c->out, TAPE_WS_TEXT, text, (size_t)bytes) != TAPE_OK)
        return; /* no room yet: the next tick tries again */
    c->request_id = id;
    c->asked += count;
    tape_connection_write_asked(c, streams, count);
    int rate = limits->messages_per_second > 0 ? limits->messages_per_second : REQUESTS_A_SECOND;
    /* Pings and pongs count, too: room is left for them. */
    c->next_asked_ns = c->now_ns + TAPE_CONNECTION_SECOND_NS / (rate > 2 ? rate - 2 : 1);
}

/* A peer is silent when it answers no ping either: that we heard nothing may be our own doing, when
 * the whole process was stopped for a while. */
static void watch_silence(struct tape_connection *c)
{
    int64_t limit = c->setup->silent_peer_ns, silent = c->now_ns - c->heard_ns;
    int64_t unanswered = c->pinged_ns > c->heard_ns ? c->now_ns - c->pinged_ns : 0;
    struct tape_error error;
    if (silent >= limit && unanswered >= limit / 4) {
        tape_error_set(&error, TAPE_CLOSED, "no byte for %lld s, no answer to pings",
                       (long long)(silent / TAPE_CONNECTION_SECOND_NS));
        tape_connection_lose(c, TAPE_CONNECTION_SILENT_PEER, 0, &error);
    } else if (silent >= limit / 3 && c->now_ns - c->pinged_ns >= limit / 3) {
        c->pinged_ns = c->now_ns;
        if (!c->blocked)
            tape_outbox_frame(&c->out, TAPE_WS_PING, "", 0);
    }
}

void tape_connection_talk_tick(struct tape_connection *c)
{
    if (c->stalled)
        c->heard_ns = c->now_ns; /* it is we who do not listen */
    if (c->asked < c->link->streams_count && c->now_ns >= c->next_asked_ns && !c->blocked)
        ask(c);
    watch_silence(c);
    if (c->state != TAPE_CONNECTION_AT_OPEN)
        return;
    tape_connection_flush(c);
    if (c->unsendable) {
        struct tape_error error;
        tape_error_errno(&error, c->write_errno, "send");
        tape_connection_begin_leaving(c, TAPE_CONNECTION_RESET, 0, &error);
        c->end.errno_value = c->write_errno;
    }
}
