/* Messages as bytes on a file descriptor, in one of the formats; buffered, counted, digested. */
#ifndef TAPE_REPLAY_OUTPUT_H
#define TAPE_REPLAY_OUTPUT_H

#include <signal.h>
#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "replay/digest.h"
#include "replay/lateness.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_OUTPUT_FORMAT(name, word, meaning) */
#define TAPE_OUTPUT_FORMAT_TABLE(X)                                                                \
    X(RAW, "raw", "every text and binary message received, payload and newline")                   \
    X(NDJSON, "ndjson", "one JSON object a message, safe for any payload")                         \
    X(HFT, "hft", "data messages as hftbacktest reads them: receive ns, blank, payload, newline")

enum tape_output_format {
#define TAPE_OUTPUT_FORMAT_ENUM(name, word, meaning) TAPE_OUTPUT_##name,
    TAPE_OUTPUT_FORMAT_TABLE(TAPE_OUTPUT_FORMAT_ENUM)
#undef TAPE_OUTPUT_FORMAT_ENUM
};

/* tape_output_parse_format(word, error): a format, or TAPE_USAGE. */
int tape_output_parse_format(const char *word, struct tape_error *error);
const char *tape_output_format_word(int format);

enum { TAPE_OUTPUT_BUFFER_BYTES = 256 << 10 };
#define TAPE_OUTPUT_NO_DUE INT64_MIN

struct tape_output_options {
    int fd;
    int format;                        /* enum tape_output_format */
    int all;                           /* ndjson: every kind of message */
    int several;                       /* ndjson: of several archives: tell which */
    int digest;                        /* 1: SHA-256 of all bytes emitted */
    int printable;                     /* 1: for a terminal: nothing in a payload can act on it */
    const volatile sig_atomic_t *stop; /* an interrupted write gives up when it is set; or NULL */
    /* NULL; or called every few ms while a flush (not a put) waits for the consumer of a pipe;
     * not 0: the flush gives up */
    int (*idle)(void *context);
    void *idle_context;
};

/* What left through the descriptor; a message counts when its last byte did. The states of books
 * count as state_messages, and only there: they were never recorded. */
struct tape_output_totals {
    uint64_t messages, state_messages, bytes;
    uint64_t first_ordinal, last_ordinal; /* of the messages; 0 where there are none */
    int64_t first_recv_ns, last_recv_ns;
    int64_t last_late_ns; /* of the last message that had a due time */
    uint64_t backlog_max; /* most messages in a row that left more than 1 ms late */
    struct tape_lateness lateness;
};

struct tape_output; /* opaque; one thread */

struct tape_output *tape_output_open(const struct tape_output_options *options,
                                     struct tape_error *error);
void tape_output_free(struct tape_output *output); /* flushes nothing; the descriptor stays open */

/* tape_output_wants(output, message): 1 when the format has a place for it. */
int tape_output_wants(const struct tape_output *output, const struct tape_message *message);

/* tape_output_put(output, message, due_ns, error): appends the message; writes when the buffer is
 * full. due_ns: when it should leave on CLOCK_MONOTONIC, or TAPE_OUTPUT_NO_DUE. 0; TAPE_CLOSED when
 * nobody reads any more or stop was set during a write; TAPE_FAILED, TAPE_FULL. */
int tape_output_put(struct tape_output *output, const struct tape_message *message, int64_t due_ns,
                    struct tape_error *error);

/* tape_output_flush(output, error): writes what waits in the buffer. As put. */
int tape_output_flush(struct tape_output *output, struct tape_error *error);
int tape_output_waiting(const struct tape_output *output); /* 1: a flush would write */

/* tape_output_is_ripe(output): 1 when a flush is better than to go on until a put must write. */
int tape_output_is_ripe(const struct tape_output *output);

/* tape_output_take_blocked(output): ns since the last call that writes waited for a consumer that
 * had let the pipe fill up (measured for messages with a due time only). */
int64_t tape_output_take_blocked(struct tape_output *output);

/* tape_output_read_totals(output, totals, digest): digest may be NULL; "" when there is none. */
void tape_output_read_totals(struct tape_output *output, struct tape_output_totals *totals,
                             char digest[TAPE_DIGEST_TEXT_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
