#include "replay/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/utf8.h"
#include "format/ws.h"
#include "replay/pace.h"
#include "replay/printable.h"
#include "replay/timespec.h"

enum { OUTPUT_MARKS = 8192 }; /* messages in one buffer at most: bounds what a flush delays */
#define OUTPUT_STATE_ORDINAL UINT64_MAX /* in a mark: the state of a book */
#define OUTPUT_LATE_NS       1000000ll
#define OUTPUT_SLOW_NS       100000ll
enum { OUTPUT_IDLE_MS = 20, OUTPUT_RIPE_BYTES = 192 << 10, OUTPUT_RIPE_MARKS = 6144 };

/* A message in the buffer: where its bytes end, and what the totals want to know of it. */
struct output_mark {
    size_t end;
    uint64_t ordinal;
    int64_t recv_ns, due_ns;
};

/*
 * Invariants: used <= TAPE_OUTPUT_BUFFER_BYTES; marks are in the order of their ends, all <= used;
 * bytes after the last mark belong to a message that is not complete yet. Two buffers take turns:
 * the digest may still read the one that was written last. While a put is under way, its message is
 * the source's, and nobody else is let in: may_idle is 0. second_text holds second_of's time.
 */
struct tape_output {
    struct tape_output_options options;
    int fd;       /* options.fd, or the same pipe opened for ourselves */
    int may_idle; /* in a flush that nobody's message waits for */
    struct tape_digest *digest;
    char *buffers[2];
    int turn;
    size_t used, marks_used;
    struct output_mark marks[OUTPUT_MARKS];
    struct tape_output_totals totals;
    uint64_t backlog;
    int64_t blocked_ns;
    int64_t second_of;
    char second_text[TAPE_TIMESPEC_TEXT_BYTES];
};

int tape_output_parse_format(const char *word, struct tape_error *error)
{
#define OUTPUT_FORMAT_PARSE(name, text, meaning)                                                   \
    if (strcmp(word, text) == 0)                                                                   \
        return TAPE_OUTPUT_##name;
    TAPE_OUTPUT_FORMAT_TABLE(OUTPUT_FORMAT_PARSE)
#undef OUTPUT_FORMAT_PARSE
#define OUTPUT_FORMAT_NAME(name, text, meaning) " " text
    return tape_error_set(error, TAPE_USAGE, "\"%.100s\" is not a format; there are:%s", word,
                          TAPE_OUTPUT_FORMAT_TABLE(OUTPUT_FORMAT_NAME));
#undef OUTPUT_FORMAT_NAME
}

const char *tape_output_format_word(int format)
{
#define OUTPUT_FORMAT_WORD(name, text, meaning)                                                    \
    if (format == TAPE_OUTPUT_##name)                                                              \
        return text;
    TAPE_OUTPUT_FORMAT_TABLE(OUTPUT_FORMAT_WORD)
#undef OUTPUT_FORMAT_WORD
    return "";
}

/* A pipe whose reader is slow must not keep us in write(2). O_NONBLOCK on the descriptor that we
 * were given would be everybody's who has it; opened anew it is ours alone. */
static int own_pipe(int fd)
{
    struct stat is;
    char path[40];
    if (fstat(fd, &is) < 0 || !S_ISFIFO(is.st_mode))
        return fd;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return own < 0 ? fd : own;
}

struct tape_output *tape_output_open(const struct tape_output_options *options,
                                     struct tape_error *error)
{
    struct tape_output *output = calloc(1, sizeof *output);
    if (output) {
        output->options = *options;
        output->fd = options->idle ? own_pipe(options->fd) : options->fd;
        output->second_of = INT64_MIN;
        output->buffers[0] = malloc(TAPE_OUTPUT_BUFFER_BYTES);
        output->buffers[1] = malloc(TAPE_OUTPUT_BUFFER_BYTES);
    }
    if (!output || !output->buffers[0] || !output->buffers[1]) {
        tape_output_free(output);
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    if (options->digest && !(output->digest = tape_digest_new(error))) {
        tape_output_free(output);
        return NULL;
    }
    return output;
}

void tape_output_free(struct tape_output *output)
{
    if (!output)
        return;
    tape_digest_free(output->digest);
    if (output->fd != output->options.fd)
        close(output->fd);
    free(output->buffers[0]);
    free(output->buffers[1]);
    free(output);
}

int tape_output_wants(const struct tape_output *output, const struct tape_message *message)
{
    int received = message->kind == TAPE_FEED_DATA || message->kind == TAPE_FEED_ACK ||
                   message->kind == TAPE_FEED_REFUSAL;
    if (message->kind == TAPE_FEED_STATE)
        return 1;
    if (output->options.format == TAPE_OUTPUT_NDJSON)
        return received || output->options.all;
    if (output->options.format == TAPE_OUTPUT_HFT)
        return message->kind == TAPE_FEED_DATA ||
               (received && (message->flags & TAPE_RECORD_FLAG_IMPORTED));
    return received;
}

static void count_mark(struct tape_output *output, const struct output_mark *mark, int64_t now_ns)
{
    struct tape_output_totals *totals = &output->totals;
    if (mark->ordinal == OUTPUT_STATE_ORDINAL) {
        totals->state_messages++;
    } else {
        if (totals->messages++ == 0) {
            totals->first_ordinal = mark->ordinal;
            totals->first_recv_ns = mark->recv_ns;
        }
        totals->last_ordinal = mark->ordinal;
        totals->last_recv_ns = mark->recv_ns;
    }
    if (mark->due_ns == TAPE_OUTPUT_NO_DUE)
        return;
    int64_t late_ns = now_ns > mark->due_ns ? now_ns - mark->due_ns : 0;
    totals->last_late_ns = late_ns;
    tape_lateness_add(&totals->lateness, late_ns);
    output->backlog = late_ns > OUTPUT_LATE_NS ? output->backlog + 1 : 0;
    if (output->backlog > totals->backlog_max)
        totals->backlog_max = output->backlog;
}

static int is_stopped(const struct tape_output *output)
{
    return output->options.stop && *output->options.stop;
}

/* The descriptor takes nothing now: 0 once it may, or TAPE_CLOSED when it is not to be waited for.
 */
static int wait_for_room(struct tape_output *output, struct tape_error *error)
{
    struct pollfd ready = {.fd = output->fd, .events = POLLOUT};
    while (poll(&ready, 1, OUTPUT_IDLE_MS) <= 0)
        if (is_stopped(output) || (output->may_idle && output->options.idle &&
                                   output->options.idle(output->options.idle_context) != 0))
            return tape_error_set(error, TAPE_CLOSED, "standard output: interrupted");
    return 0;
}

/* Writes all of the buffer as far as it can; *written tells how far, on failure too. */
static int write_all(struct tape_output *output, const char *data, size_t bytes, size_t *written,
                     struct tape_error *error)
{
    for (*written = 0; *written < bytes;) {
        ssize_t got = write(output->fd, data + *written, bytes - *written);
        if (got >= 0) {
            *written += (size_t)got;
            /* One that waited, and took a part before a signal came, does not say EINTR. */
            if (*written < bytes && output->fd == output->options.fd && is_stopped(output))
                return tape_error_set(error, TAPE_CLOSED, "standard output: interrupted");
        } else if (errno == EINTR) {
            if (is_stopped(output))
                return tape_error_set(error, TAPE_CLOSED, "standard output: interrupted");
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int status = wait_for_room(output, error);
            if (status < 0)
                return status;
        } else if (errno == EPIPE) {
            return tape_error_set(error, TAPE_CLOSED, "standard output: nobody reads any more");
        } else {
            return tape_error_errno(error, errno, "standard output");
        }
    }
    return 0;
}

/* Only a pipe that is full makes a write the consumer's doing; a write that took long because this
 * process did not run is not. */
static int has_room(const struct tape_output *output)
{
    struct pollfd ready = {.fd = output->fd, .events = POLLOUT};
    return poll(&ready, 1, 0) == 1;
}

static int flush(struct tape_output *output, struct tape_error *error)
{
    size_t written, mark = 0;
    int timed = output->marks_used > 0 && output->marks[0].due_ns != TAPE_OUTPUT_NO_DUE;
    if (output->used == 0)
        return 0;
    char *data = output->buffers[output->turn];
    int was_full = timed && !has_room(output);
    int64_t before_ns = timed ? tape_pace_now() : 0;
    int status = write_all(output, data, output->used, &written, error);
    if (timed) {
        int64_t took_ns = tape_pace_now() - before_ns;
        if (was_full || (took_ns > OUTPUT_SLOW_NS && !has_room(output)))
            output->blocked_ns += took_ns;
    }
    output->totals.bytes += written;
    if (output->digest && written > 0)
        tape_digest_update(output->digest, data, written);
    /* Late is what the consumer could not have read before: counted from before the write, whose
     * own length is the consumer's doing. */
    for (; mark < output->marks_used && output->marks[mark].end <= written; mark++)
        count_mark(output, &output->marks[mark], before_ns);
    output->used = output->marks_used = 0;
    output->turn = !output->turn;
    return status;
}

int tape_output_flush(struct tape_output *output, struct tape_error *error)
{
    output->may_idle = 1;
    int status = flush(output, error);
    output->may_idle = 0;
    return status;
}

int tape_output_is_ripe(const struct tape_output *output)
{
    return output->used >= OUTPUT_RIPE_BYTES || output->marks_used >= OUTPUT_RIPE_MARKS;
}

int tape_output_waiting(const struct tape_output *output)
{
    return output->used > 0;
}

int64_t tape_output_take_blocked(struct tape_output *output)
{
    int64_t ns = output->blocked_ns;
    output->blocked_ns = 0;
    return ns;
}

/* At least ${bytes} (no more than a buffer) of room at the returned place, or NULL. Complete
 * messages may leave now; a part of the current one, too. */
static char *room_for(struct tape_output *output, size_t bytes, struct tape_error *error)
{
    if (TAPE_OUTPUT_BUFFER_BYTES - output->used < bytes && flush(output, error) < 0)
        return NULL;
    return output->buffers[output->turn] + output->used;
}

static int put_bytes(struct tape_output *output, const char *data, size_t bytes,
                     struct tape_error *error)
{
    while (bytes > 0) {
        size_t piece = TAPE_OUTPUT_BUFFER_BYTES - output->used;
        if (piece == 0) {
            if (!room_for(output, TAPE_OUTPUT_BUFFER_BYTES, error))
                return TAPE_FAILED;
            continue;
        }
        if (piece > bytes)
            piece = bytes;
        memcpy(output->buffers[output->turn] + output->used, data, piece);
        output->used += piece;
        data += piece;
        bytes -= piece;
    }
    return 0;
}

static int put_string(struct tape_output *output, const char *text, struct tape_error *error)
{
    return put_bytes(output, text, strlen(text), error);
}

static int put_printable(struct tape_output *output, const struct tape_slice *payload,
                         struct tape_error *error)
{
    const char *at = payload->data;
    for (size_t left = payload->bytes, used; left > 0; at += used, left -= used) {
        char *to = room_for(output, 4096, error);
        if (!to)
            return TAPE_FAILED;
        output->used += tape_printable_put(to, 4096, at, left, &used);
    }
    return 0;
}

/* Decimal digits of value; returns their number. */
static size_t put_decimal(char *to, uint64_t value)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++)
        to[i] = digits[count - 1 - i];
    return count;
}

static size_t put_ns(char *to, int64_t ns)
{
    size_t sign = ns < 0;
    if (sign)
        *to = '-';
    return sign + put_decimal(to + sign, sign ? 0 - (uint64_t)ns : (uint64_t)ns);
}

static int put_payload_line(struct tape_output *output, const struct tape_message *message,
                            struct tape_error *error)
{
    const struct tape_slice *payload = &message->payload;
    if (output->options.printable) {
        if (put_printable(output, payload, error) < 0)
            return TAPE_FAILED;
    } else if (put_bytes(output, payload->data, payload->bytes, error) < 0) {
        return TAPE_FAILED;
    }
    return put_bytes(output, "\n", 1, error);
}

static int put_hft(struct tape_output *output, const struct tape_message *message,
                   struct tape_error *error)
{
    char *to = room_for(output, 32, error);
    if (!to)
        return TAPE_FAILED;
    int is_state = message->kind == TAPE_FEED_STATE;
    size_t bytes = put_ns(to, is_state ? message->replay_ns : message->recv_ns);
    to[bytes] = ' ';
    output->used += bytes + 1;
    return put_payload_line(output, message, error);
}

/* --- ndjson --- */

static int is_utf8(const struct tape_slice *payload)
{
    struct tape_utf8 state = {0};
    const uint8_t *data = (const uint8_t *)payload->data;
    return tape_utf8_check(&state, data, payload->bytes) == payload->bytes &&
           tape_utf8_complete(&state);
}

/* What JSON demands to be escaped: controls, quote, backslash; DEL as well, for terminals. */
static size_t escape_byte(char *to, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[] = "btn\0fr"; /* 8 to 13 */
    to[0] = '\\';
    if (byte == '"' || byte == '\\') {
        to[1] = (char)byte;
        return 2;
    }
    if (byte >= 8 && byte <= 13 && letters[byte - 8]) {
        to[1] = letters[byte - 8];
        return 2;
    }
    memcpy(to + 1, "u00", 3);
    to[4] = digits[byte >> 4];
    to[5] = digits[byte & 15];
    return 6;
}

static int put_escaped(struct tape_output *output, const char *data, size_t bytes,
                       struct tape_error *error)
{
    enum { PIECE = 4096 };
    while (bytes > 0) {
        size_t piece = bytes < PIECE ? bytes : PIECE, put = 0;
        char *to = room_for(output, 6 * PIECE, error);
        if (!to)
            return TAPE_FAILED;
        for (size_t i = 0; i < piece; i++) {
            unsigned char byte = (unsigned char)data[i];
            if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
                to[put++] = (char)byte;
            else
                put += escape_byte(to + put, byte);
        }
        output->used += put;
        data += piece;
        bytes -= piece;
    }
    return 0;
}

static int put_base64(struct tape_output *output, const struct tape_slice *payload,
                      struct tape_error *error)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)payload->data;
    for (size_t left = payload->bytes; left > 0;) {
        size_t take = left < 3 ? left : 3;
        uint32_t three =
            (uint32_t)at[0] << 16 | (take > 1 ? (uint32_t)at[1] << 8 : 0) | (take > 2 ? at[2] : 0);
        char *to = room_for(output, 4, error);
        if (!to)
            return TAPE_FAILED;
        to[0] = digits[three >> 18];
        to[1] = digits[three >> 12 & 63];
        to[2] = take > 1 ? digits[three >> 6 & 63] : '=';
        to[3] = take > 2 ? digits[three & 63] : '=';
        output->used += 4;
        at += take;
        left -= take;
    }
    return 0;
}

/* The seconds change far less often than the messages. */
static size_t put_time(struct tape_output *output, char *to, int64_t ns)
{
    int64_t rest = ns % 1000000000, second = ns / 1000000000;
    if (rest < 0) {
        rest += 1000000000;
        second--;
    }
    if (second != output->second_of) {
        tape_timespec_format(output->second_text, ns);
        output->second_of = second;
    }
    memcpy(to, output->second_text, TAPE_TIMESPEC_TEXT_BYTES - 1);
    for (int i = 28; i >= 20; i--, rest /= 10)
        to[i] = (char)('0' + rest % 10);
    return TAPE_TIMESPEC_TEXT_BYTES - 1;
}

static char *append(char *to, const char *text)
{
    size_t bytes = strlen(text);
    memcpy(to, text, bytes);
    return to + bytes;
}

/* {"recv":…,"recv_ns":…,"ordinal":…,"connection":…,"kind":…: all of bounded length. */
static int put_ndjson_head(struct tape_output *output, const struct tape_message *message,
                           struct tape_error *error)
{
    char *start = room_for(output, 512, error), *to = start;
    if (!to)
        return TAPE_FAILED;
    to = append(to, "{\"recv\":\"");
    to += put_time(output, to, message->recv_ns);
    to = append(to, "\",\"recv_ns\":\"");
    to += put_ns(to, message->recv_ns);
    to = append(to, "\",\"ordinal\":\"");
    to += put_decimal(to, message->ordinal);
    to = append(to, "\",\"connection\":");
    to += put_decimal(to, message->connection);
    if (output->options.several) {
        to = append(to, ",\"archive\":");
        to += put_decimal(to, message->archive);
    }
    to = append(to, ",\"kind\":\"");
    to = append(to, tape_feed_kind_word(message->kind));
    *to++ = '"';
    if (message->kind == TAPE_FEED_EVENT) {
        const char *word = tape_record_kind_word(message->record_kind);
        to = append(to, ",\"event\":\"");
        to = append(to, word ? word : "unknown");
        *to++ = '"';
    }
    if (message->kind == TAPE_FEED_CLOSE) {
        to = append(to, ",\"close_code\":");
        to += put_decimal(to, message->close_code);
    }
    if (message->kind == TAPE_FEED_STATE) {
        to = append(to, ",\"replay_ns\":\"");
        to += put_ns(to, message->replay_ns);
        *to++ = '"';
    }
    if (message->outgoing)
        to = append(to, ",\"outgoing\":true");
    if (message->opcode == TAPE_WS_BINARY && message->kind != TAPE_FEED_EVENT)
        to = append(to, ",\"binary\":true");
    output->used += (size_t)(to - start);
    return 0;
}

static int put_ndjson_flags(struct tape_output *output, unsigned flags, struct tape_error *error)
{
    const char *separator = "";
    char *start = room_for(output, 512, error), *to = start;
    if (!to)
        return TAPE_FAILED;
    to = append(to, ",\"flags\":[");
#define OUTPUT_FLAG(name, bit, word, meaning)                                                      \
    if (flags & bit) {                                                                             \
        to = append(to, separator);                                                                \
        to = append(to, "\"" word "\"");                                                           \
        separator = ",";                                                                           \
    }
    TAPE_RECORD_FLAG_TABLE(OUTPUT_FLAG)
#undef OUTPUT_FLAG
    *to++ = ']';
    output->used += (size_t)(to - start);
    return 0;
}

static int put_ndjson_text(struct tape_output *output, const char *key,
                           const struct tape_slice *text, struct tape_error *error)
{
    if (put_string(output, key, error) < 0 ||
        put_escaped(output, text->data, text->bytes, error) < 0)
        return TAPE_FAILED;
    return put_bytes(output, "\"", 1, error);
}

static int put_ndjson(struct tape_output *output, const struct tape_message *message,
                      struct tape_error *error)
{
    int status = put_ndjson_head(output, message, error);
    if (status == 0 && message->stream.bytes > 0 && is_utf8(&message->stream))
        status = put_ndjson_text(output, ",\"stream\":\"", &message->stream, error);
    if (status == 0)
        status = put_ndjson_flags(output, message->flags, error);
    if (status == 0 && is_utf8(&message->payload)) {
        status = put_ndjson_text(output, ",\"payload\":\"", &message->payload, error);
    } else if (status == 0) {
        status = put_string(output, ",\"payload_base64\":\"", error);
        if (status == 0)
            status = put_base64(output, &message->payload, error);
        if (status == 0)
            status = put_bytes(output, "\"", 1, error);
    }
    return status < 0 ? status : put_bytes(output, "}\n", 2, error);
}

/* The common case in one piece: everything fits the buffer. */
static int put_raw(struct tape_output *output, const struct tape_message *message,
                   struct tape_error *error)
{
    size_t bytes = message->payload.bytes;
    if (output->options.printable || bytes >= TAPE_OUTPUT_BUFFER_BYTES - output->used)
        return put_payload_line(output, message, error);
    char *to = output->buffers[output->turn] + output->used;
    if (bytes > 0)
        memcpy(to, message->payload.data, bytes);
    to[bytes] = '\n';
    output->used += bytes + 1;
    return 0;
}

int tape_output_put(struct tape_output *output, const struct tape_message *message, int64_t due_ns,
                    struct tape_error *error)
{
    struct tape_error local;
    int status;
    if (!error)
        error = &local;
    if (output->marks_used == OUTPUT_MARKS && (status = flush(output, error)) < 0)
        return status;
    if (output->options.format == TAPE_OUTPUT_NDJSON)
        status = put_ndjson(output, message, error);
    else if (output->options.format == TAPE_OUTPUT_HFT)
        status = put_hft(output, message, error);
    else
        status = put_raw(output, message, error);
    if (status < 0)
        return error->status;
    output->marks[output->marks_used++] = (struct output_mark){
        .end = output->used,
        .ordinal = message->kind == TAPE_FEED_STATE ? OUTPUT_STATE_ORDINAL : message->ordinal,
        .recv_ns = message->recv_ns,
        .due_ns = due_ns,
    };
    return 0;
}

void tape_output_read_totals(struct tape_output *output, struct tape_output_totals *totals,
                             char digest[TAPE_DIGEST_TEXT_BYTES])
{
    *totals = output->totals;
    if (!digest)
        return;
    digest[0] = '\0';
    if (output->digest)
        tape_digest_text(output->digest, digest);
}
