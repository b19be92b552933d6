/* What a replay did, told at its end: as a line for people and as JSON. */
#ifndef TAPE_REPLAY_RECEIPT_H
#define TAPE_REPLAY_RECEIPT_H

#include <stdint.h>
#include <stdio.h>

#include "format/error.h"
#include "replay/digest.h"
#include "replay/output.h"
#include "replay/source.h"
#include "replay/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_RECEIPT_END(name, word, meaning): why it ended */
#define TAPE_RECEIPT_END_TABLE(X)                                                                  \
    X(ARCHIVE, "archive", "all that was asked for was emitted")                                    \
    X(RECORDER, "recorder", "following: the recorder ended in order")                              \
    X(SIGNAL, "signal", "SIGINT or SIGTERM, or the key q")                                         \
    X(CONSUMER, "consumer", "nobody reads the output any more")                                    \
    X(FAILURE, "failure", "reading or writing failed")

enum tape_receipt_end {
#define TAPE_RECEIPT_END_ENUM(name, word, meaning) TAPE_RECEIPT_##name,
    TAPE_RECEIPT_END_TABLE(TAPE_RECEIPT_END_ENUM)
#undef TAPE_RECEIPT_END_ENUM
};

struct tape_receipt {
    const char *const *archives;
    int archives_count;
    int format;             /* enum tape_output_format */
    int order;              /* enum tape_source_order */
    double speed;           /* asked for; 0: max */
    const char *stream;     /* or NULL */
    int64_t from_ns, to_ns; /* 0: open */
    int end;                /* enum tape_receipt_end */
    struct tape_output_totals totals;
    char digest[TAPE_DIGEST_TEXT_BYTES]; /* "" when it was not asked for */
    int64_t wall_ns, cpu_ns;
    struct tape_transport_state transport; /* as it ended */
    int apart; /* several archives, compared, that share no time: see tape_span_are_apart */
    uint64_t overruns;
    uint64_t blocks_read; /* and decompressed */
};

/* tape_receipt_print(receipt, source, to): a few lines for people. source tells damages and what
 * each archive gave. */
void tape_receipt_print(const struct tape_receipt *receipt, const struct tape_source *source,
                        FILE *to);

/* tape_receipt_print_json(receipt, source, to): one object on one line; -1 when it failed. */
int tape_receipt_print_json(const struct tape_receipt *receipt, const struct tape_source *source,
                            FILE *to);

#ifdef __cplusplus
}
#endif
#endif
