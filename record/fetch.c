#include "record/fetch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "record/clock.h"
#include "record/dial.h"
#include "record/resolve.h"
#include "record/stamp.h"

enum {
    ROOM_BYTES = TAPE_FETCH_HEAD_MAX_BYTES + TAPE_FETCH_BODY_MAX_BYTES,
    REQUEST_BYTES = TAPE_URL_TEXT_BYTES + 256,
    LOOK_MS = 50, /* how often stop and deadline are looked at */
};

/* ---- the answer as bytes ---- */

static int broken(struct tape_error *error, const char *words)
{
    return tape_error_set(error, TAPE_PROTOCOL, "the answer is no HTTP/1.1: %s", words);
}

/* The value of the field ${name} in a head that ends in an empty line, its length in *bytes. The
 * number of such fields is returned. */
static int find_field(const char *head, size_t head_bytes, const char *name, const char **value,
                      size_t *bytes)
{
    size_t name_bytes = strlen(name);
    const char *at = head, *end = head + head_bytes - 2;
    int count = 0;
    while ((at = memmem(at, (size_t)(end - at), "\r\n", 2)) && at + 2 < end) {
        at += 2;
        if ((size_t)(end - at) <= name_bytes || strncasecmp(at, name, name_bytes) != 0 ||
            at[name_bytes] != ':')
            continue;
        const char *from = at + name_bytes + 1;
        const char *to = memmem(from, (size_t)(head + head_bytes - from), "\r\n", 2);
        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        *value = from;
        *bytes = (size_t)(to - from);
        count++;
    }
    return count;
}

/* Digits of the base alone, at most 15 of them; -1 for anything else. */
static int64_t read_number(const char *text, size_t bytes, int base)
{
    char copy[16];
    if (bytes == 0 || bytes >= sizeof copy)
        return -1;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
    return strspn(copy, digits) == bytes ? strtoll(copy, NULL, base) : -1;
}

/* Joins the chunks at data in place. 1 with the body's length, 0 for more, or a status. */
static int join_chunks(uint8_t *data, size_t bytes, int join, size_t *body,
                       struct tape_error *error)
{
    size_t at = 0, joined = 0;
    for (;;) {
        const uint8_t *line_end = memmem(data + at, bytes - at, "\r\n", 2);
        if (!line_end)
            return bytes - at > 1024 ? broken(error, "a chunk without a length") : 0;
        size_t line = (size_t)(line_end - (data + at));
        const uint8_t *extension = memchr(data + at, ';', line);
        size_t digits = extension ? (size_t)(extension - (data + at)) : line;
        int64_t length = read_number((const char *)data + at, digits, 16);
        if (length < 0)
            return broken(error, "a chunk's length is no number");
        if (joined + (uint64_t)length > TAPE_FETCH_BODY_MAX_BYTES)
            return tape_error_set(error, TAPE_LIMIT, "the body is longer than 8 MiB");
        at += line + 2;
        if (length == 0) {
            *body = joined;
            return 1; /* trailers, if any, say nothing that is needed */
        }
        if (bytes - at < (uint64_t)length + 2)
            return 0;
        if (memcmp(data + at + length, "\r\n", 2) != 0)
            return broken(error, "a chunk is longer than it says");
        if (join)
            memmove(data + joined, data + at, (size_t)length);
        joined += (size_t)length;
        at += (size_t)length + 2;
    }
}

static int parse_chunked(uint8_t *body, size_t there, int ended, struct tape_fetch_answer *answer,
                         struct tape_error *error)
{
    size_t bytes = 0;
    int status = join_chunks(body, there, 0, &bytes, error);
    if (status == 0 && ended)
        return broken(error, "the connection ended inside the body");
    if (status == 1) {
        status = join_chunks(body, there, 1, &bytes, error);
        answer->body_bytes = bytes;
    }
    return status;
}

static int parse_body(uint8_t *body, size_t there, int ended, const char *head, size_t head_bytes,
                      struct tape_fetch_answer *answer, struct tape_error *error)
{
    const char *length_text, *coding;
    size_t length_bytes, coding_bytes;
    int lengths = find_field(head, head_bytes, "Content-Length", &length_text, &length_bytes);
    int codings = find_field(head, head_bytes, "Transfer-Encoding", &coding, &coding_bytes);
    answer->body = body;
    if (lengths + codings > 1)
        return broken(error, "more than one length");
    if (codings == 1) {
        if (coding_bytes != 7 || strncasecmp(coding, "chunked", 7) != 0)
            return broken(error, "an unknown transfer coding");
        return parse_chunked(body, there, ended, answer, error);
    }
    if (lengths == 0) { /* until the connection ends */
        answer->body_bytes = there;
        if (there > TAPE_FETCH_BODY_MAX_BYTES)
            return tape_error_set(error, TAPE_LIMIT, "the body is longer than 8 MiB");
        return ended == TAPE_FETCH_CUT ? broken(error, "the connection was cut inside the body")
                                       : ended == TAPE_FETCH_ENDED;
    }
    int64_t length = read_number(length_text, length_bytes, 10);
    if (length < 0)
        return broken(error, "the length is no number");
    if (length > TAPE_FETCH_BODY_MAX_BYTES)
        return tape_error_set(error, TAPE_LIMIT, "the body is longer than 8 MiB");
    answer->body_bytes = (size_t)length;
    if (there < (uint64_t)length)
        return ended ? broken(error, "the connection ended inside the body") : 0;
    return 1;
}

int tape_fetch_parse(uint8_t *data, size_t bytes, int ended, struct tape_fetch_answer *answer,
                     struct tape_error *error)
{
    const char *head = (const char *)data, *value;
    size_t value_bytes;
    *answer = (struct tape_fetch_answer){0};
    if (memcmp(head, "HTTP/1.1 ", bytes < 9 ? bytes : 9) != 0)
        return broken(error, "the first line");
    const uint8_t *end = memmem(data, bytes, "\r\n\r\n", 4);
    size_t head_bytes = end ? (size_t)(end - data) + 4 : bytes;
    if (head_bytes > TAPE_FETCH_HEAD_MAX_BYTES)
        return tape_error_set(error, TAPE_LIMIT, "the head is longer than 16 KiB");
    if (!end)
        return ended ? broken(error, "the connection ended inside the head") : 0;
    int64_t code = read_number(head + 9, 3, 10);
    if (head_bytes < 16 || code < 200 || (head[12] != ' ' && head[12] != '\r'))
        return broken(error, "the status");
    answer->status_code = (int)code;
    if (find_field(head, head_bytes, "Retry-After", &value, &value_bytes) > 0) {
        int64_t seconds = read_number(value, value_bytes, 10);
        answer->retry_after_s = seconds > 0 ? seconds : 0;
    }
    return parse_body(data + head_bytes, bytes - head_bytes, ended, head, head_bytes, answer,
                      error);
}

/* ---- the connection ---- */

/* Invariants: fd is -1 until connected; tls is NULL for plain HTTP. */
struct fetch {
    const struct tape_url *url;
    const atomic_int *stop;
    int64_t until_ns; /* monotonic */
    int fd;
    struct tape_stamp stamp;
    struct tape_tls *tls;
    uint8_t *ahead;
};

static int is_over(const struct fetch *fetch, struct tape_error *error)
{
    if (atomic_load_explicit(fetch->stop, memory_order_relaxed))
        return tape_error_set(error, TAPE_CLOSED, "given up at the end of the recording");
    if (tape_clock_monotonic() >= fetch->until_ns)
        return tape_error_set(error, TAPE_FAILED, "no answer within the time");
    return 0;
}

static int dial(struct fetch *fetch, struct tape_error *error)
{
    struct tape_dial dialling;
    struct epoll_event event;
    uint64_t count;
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct tape_resolver *resolver = wake_fd < 0 ? NULL : tape_resolve_new(wake_fd, error);
    int status = TAPE_FAILED, begun = 0;
    if (!resolver || epoll_fd < 0) {
        tape_error_errno(error, errno, "start");
    } else {
        status = tape_dial_begin(&dialling, fetch->url, resolver, epoll_fd, NULL,
                                 tape_clock_monotonic(), error);
        begun = status == 0;
        while (status == 0 && (status = is_over(fetch, error)) == 0 &&
               (status = tape_dial_step(&dialling, tape_clock_monotonic(), error)) == 0) {
            epoll_wait(epoll_fd, &event, 1, LOOK_MS / 5);
            (void)!read(wake_fd, &count, sizeof count);
        }
    }
    if (status == 1)
        fetch->fd = dialling.fd;
    if (begun)
        tape_dial_end(&dialling);
    tape_resolve_free(resolver);
    if (epoll_fd >= 0)
        close(epoll_fd);
    if (wake_fd >= 0)
        close(wake_fd);
    return status == 1 ? 0 : status;
}

static int wait_ready(struct fetch *fetch, short events, struct tape_error *error)
{
    struct pollfd one = {.fd = fetch->fd, .events = events};
    if (!(fetch->tls && (events & POLLIN) && tape_tls_held(fetch->tls)))
        poll(&one, 1, LOOK_MS);
    return is_over(fetch, error);
}

static int begin_tls(struct fetch *fetch, struct tape_tls_context *context,
                     struct tape_error *error)
{
    fetch->ahead = malloc(TAPE_STAMP_AHEAD_BYTES);
    if (!fetch->ahead)
        return tape_error_errno(error, errno, "tls");
    tape_stamp_begin(&fetch->stamp, fetch->fd, fetch->ahead);
    fetch->tls = tape_tls_new(context, fetch->url, &fetch->stamp, error);
    if (!fetch->tls)
        return error->status;
    for (;;) {
        int done = tape_tls_handshake(fetch->tls, error);
        if (done == 1)
            return 0;
        if (done < 0)
            return TAPE_FAILED;
        int status = wait_ready(fetch, tape_tls_wants_write(fetch->tls) ? POLLOUT : POLLIN, error);
        if (status < 0)
            return status;
    }
}

static int send_request(struct fetch *fetch, struct tape_error *error)
{
    char authority[TAPE_URL_HOST_BYTES + 16], request[REQUEST_BYTES];
    tape_url_authority(fetch->url, authority, sizeof authority);
    int bytes = snprintf(request, sizeof request,
                         "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n"
                         "User-Agent: tapedeck/" TAPE_VERSION "\r\nConnection: close\r\n\r\n",
                         fetch->url->target, authority);
    for (int done = 0; done < bytes;) {
        int64_t put = fetch->tls
                          ? tape_tls_write(fetch->tls, request, (size_t)bytes, error)
                          : send(fetch->fd, request + done, (size_t)(bytes - done), MSG_NOSIGNAL);
        if (put < 0 && !(fetch->tls == NULL && errno == EAGAIN))
            return tape_error_set(error, TAPE_CLOSED, "the server closed");
        done += put > 0 ? (int)put : 0;
        int status = done < bytes ? wait_ready(fetch, POLLOUT, error) : 0;
        if (status < 0)
            return status;
    }
    return 0;
}

/* Bytes, 0 for none now, or how it ended, negated. */
static int64_t read_some(struct fetch *fetch, uint8_t *to, size_t room)
{
    if (fetch->tls) {
        int64_t got = tape_tls_read(fetch->tls, to, room, NULL);
        return got >= 0 ? got : got == TAPE_TLS_CLOSED ? -TAPE_FETCH_ENDED : -TAPE_FETCH_CUT;
    }
    ssize_t got = recv(fetch->fd, to, room, 0);
    if (got > 0)
        return got;
    return got == 0 ? -TAPE_FETCH_ENDED : errno == EAGAIN ? 0 : -TAPE_FETCH_CUT;
}

static int read_answer(struct fetch *fetch, uint8_t *buffer, struct tape_fetch_answer *answer,
                       struct tape_error *error)
{
    size_t used = 0;
    for (;;) {
        int64_t got = used < ROOM_BYTES ? read_some(fetch, buffer + used, ROOM_BYTES - used)
                                        : -TAPE_FETCH_CUT;
        used += got > 0 ? (size_t)got : 0;
        if (got != 0) {
            int status = tape_fetch_parse(buffer, used, got < 0 ? (int)-got : 0, answer, error);
            if (status != 0)
                return status < 0 ? status : 0;
            if (got < 0)
                return broken(error, "it ended too early");
        }
        int status = got == 0 ? wait_ready(fetch, POLLIN, error) : is_over(fetch, error);
        if (status < 0)
            return status;
    }
}

int tape_fetch_get(struct tape_tls_context *tls, const struct tape_url *url, int64_t limit_ns,
                   const atomic_int *stop, uint8_t *buffer, struct tape_fetch_answer *answer,
                   struct tape_error *error)
{
    struct fetch fetch = {
        .url = url, .stop = stop, .until_ns = tape_clock_monotonic() + limit_ns, .fd = -1};
    int status = dial(&fetch, error);
    if (status == 0 && url->secure)
        status = begin_tls(&fetch, tls, error);
    if (status < 0)
        tape_error_wrap(error, "connect %s:%d", url->host, url->port);
    if (status == 0) {
        status = send_request(&fetch, error);
        if (status == 0)
            status = read_answer(&fetch, buffer, answer, error);
        if (status < 0)
            tape_error_wrap(error, "%s:%d", url->host, url->port);
    }
    tape_tls_free(fetch.tls);
    free(fetch.ahead);
    if (fetch.fd >= 0)
        close(fetch.fd);
    return status;
}
