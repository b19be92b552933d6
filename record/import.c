#include "record/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "format/event.h"
#include "format/index.h"
#include "format/utf8.h"
#include "format/ws.h"
#include "record/clock.h"

enum {
    CHUNK_BYTES = 1 << 20,
    NUMBER_MAX_BYTES = 20,
    LINE_MAX_BYTES = TAPE_WS_MESSAGE_MAX_BYTES + NUMBER_MAX_BYTES + 1,
    WINDOW_LOG_MAX = 27, /* what zstd writes without --long=28 and above */
    LINES_BETWEEN_TICKS = 4096,
};

/*
 * Invariants:
 * 1. bytes[begin, end) is what was read and not yet cut into lines; room >= end.
 * 2. Nothing before begin is needed.
 * 3. zstd is not NULL exactly when the input is compressed; packed.pos <= packed.size.
 */
struct input {
    const char *name;
    struct tape_store *store;
    const atomic_int *stop;
    int fd, at_end, frame_open;
    char *bytes;
    size_t begin, end, room;
    ZSTD_DCtx *zstd;
    uint8_t *packed_bytes;
    ZSTD_inBuffer packed;
};

struct import {
    const struct tape_import_options *options;
    struct tape_store *store;
    struct tape_import_report *report;
    struct input input;
    uint32_t connection;
    int64_t last_ns;
};

/* ---- reading ---- */

static int stopped(const struct input *input)
{
    return input->stop && atomic_load_explicit(input->stop, memory_order_relaxed);
}

/* A pipe may stay silent for long: the store is looked after meanwhile, and an order to stop seen
 * (it counts as the end). */
static int read_some(struct input *input, void *to, size_t room, size_t *got,
                     struct tape_error *error)
{
    struct pollfd ready = {.fd = input->fd, .events = POLLIN};
    ssize_t count = 0;
    while (!stopped(input) && poll(&ready, 1, 100) == 0)
        tape_store_tick(input->store, tape_clock_realtime());
    do
        count = stopped(input) ? 0 : read(input->fd, to, room);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return tape_error_errno(error, errno, "%.700s: read", input->name);
    *got = (size_t)count;
    return 0;
}

/* Room behind end for a chunk: the bytes in use move to the front, the buffer doubles when a line
 * needs it. */
static int make_room(struct input *input, struct tape_error *error)
{
    if (input->begin > 0) {
        memmove(input->bytes, input->bytes + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->begin = 0;
    }
    if (input->room - input->end >= CHUNK_BYTES)
        return 0;
    char *larger = realloc(input->bytes, input->room * 2);
    if (larger == NULL)
        return tape_error_set(error, TAPE_FAILED, "memory is short");
    input->bytes = larger;
    input->room *= 2;
    return 0;
}

static int fill_plain(struct input *input, struct tape_error *error)
{
    size_t got;
    int status = read_some(input, input->bytes + input->end, input->room - input->end, &got, error);
    if (status < 0)
        return status;
    input->end += got;
    input->at_end = got == 0;
    return 0;
}

static int fill_zstd(struct input *input, struct tape_error *error)
{
    ZSTD_outBuffer out = {input->bytes + input->end, input->room - input->end, 0};
    while (out.pos == 0) {
        if (input->packed.pos == input->packed.size) {
            size_t got;
            int status = read_some(input, input->packed_bytes, CHUNK_BYTES, &got, error);
            if (status < 0)
                return status;
            if (got == 0) {
                input->at_end = 1;
                return input->frame_open
                           ? tape_error_set(error, TAPE_FAILED,
                                            "%.700s: the zstd data ends too early", input->name)
                           : 0;
            }
            input->packed.size = got;
            input->packed.pos = 0;
        }
        size_t left = ZSTD_decompressStream(input->zstd, &out, &input->packed);
        if (ZSTD_isError(left))
            return tape_error_set(error, TAPE_FAILED, "%.700s: damaged zstd data: %s", input->name,
                                  ZSTD_getErrorName(left));
        input->frame_open = left != 0;
    }
    input->end += out.pos;
    return 0;
}

static int fill(struct input *input, struct tape_error *error)
{
    int status = make_room(input, error);
    if (status < 0)
        return status;
    return input->zstd ? fill_zstd(input, error) : fill_plain(input, error);
}

static int begin_zstd(struct input *input, struct tape_error *error)
{
    input->zstd = ZSTD_createDCtx();
    if (input->zstd == NULL)
        return tape_error_set(error, TAPE_FAILED, "memory is short");
    ZSTD_DCtx_setParameter(input->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    memcpy(input->packed_bytes, input->bytes, input->end);
    input->packed.size = input->end;
    input->end = 0;
    input->at_end = 0;
    input->frame_open = 1;
    return 0;
}

/* The first bytes tell what it is. */
static int look_at_magic(struct input *input, struct tape_error *error)
{
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd}, gzip[] = {0x1f, 0x8b};
    while (input->end < sizeof zstd && !input->at_end) {
        size_t got;
        int status =
            read_some(input, input->bytes + input->end, CHUNK_BYTES - input->end, &got, error);
        if (status < 0)
            return status;
        input->end += got;
        input->at_end = got == 0;
    }
    if (input->end >= sizeof zstd && memcmp(input->bytes, zstd, sizeof zstd) == 0)
        return begin_zstd(input, error);
    if (input->end >= sizeof gzip && memcmp(input->bytes, gzip, sizeof gzip) == 0)
        return tape_error_set(error, TAPE_FAILED,
                              "%.300s is gzip: zcat %.300s | tape-record --import - ARCHIVE",
                              input->name, strcmp(input->name, "-") == 0 ? "FILE.gz" : input->name);
    return 0;
}

static int open_input(struct input *input, const char *file, struct tape_error *error)
{
    input->name = file;
    input->fd = -1;
    input->fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (input->fd < 0)
        return tape_error_errno(error, errno, "%.700s: open", file);
    input->room = 2 * CHUNK_BYTES;
    input->bytes = malloc(input->room);
    input->packed_bytes = malloc(CHUNK_BYTES);
    input->packed.src = input->packed_bytes;
    if (input->bytes == NULL || input->packed_bytes == NULL)
        return tape_error_set(error, TAPE_FAILED, "memory is short");
    return look_at_magic(input, error);
}

static void close_input(struct input *input)
{
    if (input->fd > STDIN_FILENO)
        close(input->fd);
    ZSTD_freeDCtx(input->zstd);
    free(input->packed_bytes);
    free(input->bytes);
}

/* The next line without its newline: 1, 0 at the end, or a status. */
static int next_line(struct input *input, const char **line, size_t *bytes,
                     struct tape_error *error)
{
    size_t searched = 0;
    for (;;) {
        const char *from = input->bytes + input->begin + searched;
        size_t left = input->end - input->begin - searched;
        const char *newline = left ? memchr(from, '\n', left) : NULL;
        if (newline || (input->at_end && input->begin < input->end)) {
            *line = input->bytes + input->begin;
            *bytes = newline ? (size_t)(newline - *line) : input->end - input->begin;
            input->begin += *bytes + (newline != NULL);
            return 1;
        }
        if (input->at_end)
            return 0;
        searched += left;
        if (searched > LINE_MAX_BYTES) { /* long enough to be refused: the rest is not needed */
            *line = input->bytes + input->begin;
            *bytes = searched;
            return 1;
        }
        int status = fill(input, error);
        if (status < 0)
            return status;
    }
}

/* ---- lines to frames ---- */

size_t tape_import_number(const char *text, size_t bytes, int64_t *value)
{
    int negative = bytes > 0 && text[0] == '-';
    size_t at = (size_t)negative;
    uint64_t sum = 0, limit = (uint64_t)INT64_MAX + (uint64_t)negative;
    if (at >= bytes || text[at] < '0' || text[at] > '9')
        return 0;
    if (text[at] == '0') {
        at++;
        if (negative || (at < bytes && text[at] >= '0' && text[at] <= '9'))
            return 0;
    }
    size_t cannot_overflow = at + 18 < bytes ? at + 18 : bytes;
    for (; at < cannot_overflow && text[at] >= '0' && text[at] <= '9'; at++)
        sum = sum * 10 + (uint64_t)(text[at] - '0');
    for (; at < bytes && text[at] >= '0' && text[at] <= '9'; at++) {
        uint64_t digit = (uint64_t)(text[at] - '0');
        if (sum > (limit - digit) / 10)
            return 0;
        sum = sum * 10 + digit;
    }
    *value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return at;
}

static int wrong_line(const struct import *import, const char *why, struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED,
                          "%.700s: line %" PRIu64 ": %s; the first %" PRIu64 " lines are imported",
                          import->input.name, import->report->lines + 1, why,
                          import->report->lines);
}

/* The ring empties as blocks become durable; an import can wait for that. */
static uint8_t *wait_for_room(const struct input *input, size_t bytes)
{
    struct tape_store *store = input->store;
    struct tape_store_state state;
    for (;;) {
        if (tape_store_has_room(store, bytes)) {
            uint8_t *room = tape_store_reserve(store, bytes);
            if (room)
                return room;
        }
        tape_store_tick(store, tape_clock_realtime());
        tape_store_read_state(store, &state);
        if (state.failed || stopped(input))
            return NULL;
        usleep(500);
    }
}

static int is_utf8(const char *text, size_t bytes)
{
    struct tape_utf8 state = {0};
    return tape_utf8_check(&state, (const uint8_t *)text, bytes) == bytes &&
           tape_utf8_complete(&state);
}

static int stopped_after(const struct import *import, struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED,
                          "%.700s: stopped; the first %" PRIu64 " lines are imported",
                          import->input.name, import->report->lines);
}

static int no_room(const struct import *import, struct tape_error *error)
{
    struct tape_store_state state;
    if (stopped(&import->input))
        return stopped_after(import, error);
    tape_store_read_state(import->store, &state);
    return tape_error_set(error, TAPE_FAILED, "%s", state.message);
}

static int import_payload(struct import *import, int64_t ns, const char *payload, size_t bytes,
                          struct tape_error *error)
{
    uint8_t header[TAPE_WS_HEADER_MAX_BYTES];
    int opcode = is_utf8(payload, bytes) ? TAPE_WS_TEXT : TAPE_WS_BINARY;
    size_t header_bytes = tape_ws_build(header, opcode, 1, bytes, NULL);
    uint8_t *room = wait_for_room(&import->input, header_bytes + bytes);
    if (room == NULL)
        return no_room(import, error);
    memcpy(room, header, header_bytes);
    memcpy(room + header_bytes, payload, bytes);
    struct tape_record record = {
        .recv_ns = ns,
        .connection = import->connection,
        .bytes = (uint32_t)(header_bytes + bytes),
        .flags = TAPE_RECORD_FLAG_IMPORTED,
        .kind = TAPE_RECORD_FRAME_IN,
    };
    tape_store_publish(import->store, &record);
    import->report->lines++;
    import->report->payload_bytes += bytes;
    import->last_ns = ns;
    return 0;
}

/* Told by the index, which the store has brought up to date; where it cannot be asked: 0. Its own
 * connection is not in it yet. */
static int was_imported(const struct import *import, int64_t ns)
{
    static const char sql[] = "SELECT 1 FROM connection WHERE substr(url, 1, 7) = 'import:'"
                              " AND messages > 0 AND ?1 BETWEEN first_ns AND last_ns";
    sqlite3_stmt *statement = NULL;
    struct tape_index *index = tape_index_open_beside(tape_store_archive(import->store), NULL);
    int found = 0;
    if (index == NULL)
        return 0;
    if (sqlite3_prepare_v2(tape_index_handle(index), sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_bind_int64(statement, 1, ns) == SQLITE_OK)
        found = sqlite3_step(statement) == SQLITE_ROW;
    sqlite3_finalize(statement);
    tape_index_close(index);
    return found;
}

static void open_connection(struct import *import, int64_t ns)
{
    char body[2048], url[1024];
    struct tape_event_writer event;
    struct tape_store_state state;
    import->connection = tape_store_new_connection(import->store);
    tape_store_read_state(import->store, &state);
    snprintf(url, sizeof url, "import:%s", import->input.name);
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_number(&event, "session", state.session);
    tape_event_put_text(&event, "url", url);
    tape_event_put_text(&event, "venue", import->options->venue);
    size_t bytes = tape_event_end(&event);
    tape_store_event(import->store, TAPE_RECORD_CONNECTION_OPEN, import->connection, ns, body,
                     bytes);
}

static void close_connection(struct import *import)
{
    char body[400];
    struct tape_event_writer event;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_bool(&event, "opened", 1);
    tape_event_put_text(&event, "cause", "shutdown");
    tape_event_put_text(&event, "by", "us");
    tape_event_put_number(&event, "code", 0);
    tape_event_put_number(&event, "errno", 0);
    size_t bytes = tape_event_end(&event);
    tape_store_event(import->store, TAPE_RECORD_CONNECTION_CLOSE, import->connection,
                     import->last_ns, body, bytes);
}

static int import_line(struct import *import, const char *line, size_t bytes,
                       struct tape_error *error)
{
    int64_t ns;
    size_t used = tape_import_number(line, bytes, &ns);
    if (used == 0)
        return wrong_line(import, "it does not begin with a time in ns", error);
    if (used == bytes || line[used] != ' ')
        return wrong_line(import, "no blank follows the time", error);
    if (bytes - used - 1 > TAPE_WS_MESSAGE_MAX_BYTES)
        return wrong_line(import, "its payload is longer than 16 MiB", error);
    if (bytes - used - 1 + TAPE_WS_HEADER_MAX_BYTES > tape_store_record_limit(import->store))
        return wrong_line(import, "it is longer than half of the ring (--ring)", error);
    if (import->connection == 0) {
        import->report->again = was_imported(import, ns);
        open_connection(import, ns);
    }
    return import_payload(import, ns, line + used + 1, bytes - used - 1, error);
}

static int import_lines(struct import *import, struct tape_error *error)
{
    const char *line;
    size_t bytes;
    unsigned since_tick = 0;
    for (;;) {
        int got = next_line(&import->input, &line, &bytes, error);
        if (stopped(&import->input))
            return stopped_after(import, error);
        if (got < 0)
            return tape_error_set(error, got, "%s; the first %" PRIu64 " lines are imported",
                                  error->text, import->report->lines);
        if (got == 0)
            return 0;
        int status = import_line(import, line, bytes, error);
        if (status < 0)
            return status;
        if (++since_tick == LINES_BETWEEN_TICKS) {
            since_tick = 0;
            tape_store_tick(import->store, tape_clock_realtime());
        }
    }
}

int tape_import_run(const struct tape_import_options *options, struct tape_store *store,
                    struct tape_import_report *report, struct tape_error *error)
{
    struct import import = {.options = options, .store = store, .report = report};
    import.input.store = store;
    import.input.stop = options->stop;
    memset(report, 0, sizeof *report);
    int status = open_input(&import.input, options->file, error);
    if (status == 0)
        status = import_lines(&import, error);
    if (import.connection != 0)
        close_connection(&import);
    close_input(&import.input);
    return status;
}
