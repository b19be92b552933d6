/* The command line of tape-replay: one table gives parsing, --help and the manual's option list. */
#ifndef TAPE_REPLAY_OPTIONS_H
#define TAPE_REPLAY_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "format/error.h"
#include "replay/source.h"
#include "replay/timespec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_OPTIONS_VERB(name, word, words) */
#define TAPE_OPTIONS_VERB_TABLE(X)                                                                 \
    X(LS, "ls", "what an archive holds: streams, times, counts, gaps, sizes")                      \
    X(PLAY, "play", "its messages on standard output, at the pace they came")                      \
    X(SERVE, "serve", "its messages to WebSocket clients, as the venue sends them")                \
    X(VERIFY, "verify", "check every byte of it; reports, never repairs")

enum tape_options_verb {
    TAPE_OPTIONS_NONE,
#define TAPE_OPTIONS_VERB_ENUM(name, word, words) TAPE_OPTIONS_##name,
    TAPE_OPTIONS_VERB_TABLE(TAPE_OPTIONS_VERB_ENUM)
#undef TAPE_OPTIONS_VERB_ENUM
};

/* TAPE_OPTIONS(field, name, verbs, argument, form, words). verbs: L ls, P play, S serve, V
 * verify. The words
 * stand in --help and in the manual. */
#define TAPE_OPTIONS_TABLE(X)                                                                      \
    X(speed, "speed", "PS", "N", SPEED, "1 (default), 0.1, 100 ..., or max")                       \
    X(from, "from", "PS", "TIME", TIME, "from this time on: 2026-11-22T08:00Z, ns, +10m, -10m")    \
    X(to, "to", "PS", "TIME", TIME, "up to, and not including, this time")                         \
    X(stream, "stream", "PS", "GLOB", TEXT, "these streams only: btcusdt@*,*@trade")               \
    X(format, "format", "P", "FORM", FORMAT, "raw (default), ndjson or hft")                       \
    X(all, "all", "P", NULL, FLAG, "ndjson: control frames, our own frames and events, too")       \
    X(follow, "follow", "PS", NULL, FLAG, "at the end go on with what is being recorded")          \
    X(order, "order", "PS", "ORDER", ORDER, "received (default) or event: by the venue's time")    \
    X(state, "state", "P", NULL, FLAG, "raw, hft: begin with the books at --from, too")            \
    X(duplicates, "duplicates", "PS", "WHICH", DUPLICATES,                                         \
      "several archives: keep or remove what came twice")                                          \
    X(loop, "loop", "PS", NULL, FLAG, "from --to back to --from, again and again")                 \
    X(paused, "paused", "PS", NULL, FLAG, "begin paused")                                          \
    X(control, "control", "P", "ADDR", TEXT, "a JSON endpoint for pause, step, seek, speed ...")   \
    X(faults, "faults", "PS", "FILE", TEXT, "faults to inject, or: recorded")                      \
    X(max_late_ns, "max-late", "PS", "TIME", DURATION,                                             \
      "exit 1 when a message left later than this")                                                \
    X(drop_late_ns, "drop-late", "PS", "TIME", DURATION,                                           \
      "drop what is later than this; each is counted")                                             \
    X(spin_ns, "spin", "PS", "TIME", DURATION, "spin for the last of each wait, as 60us")          \
    X(receipt, "receipt", "PS", "FILE", TEXT, "write the receipt there as JSON")                   \
    X(no_digest, "no-digest", "P", NULL, FLAG, "leave SHA-256 out of the receipt")                 \
    X(listen, "listen", "S", "ADDR", TEXT, "where: 127.0.0.1:9080 (default), [::1]:0, ...")        \
    X(cert, "cert", "S", "FILE", TEXT, "wss: certificate chain, PEM")                              \
    X(key, "key", "S", "FILE", TEXT, "wss: its key, PEM")                                          \
    X(venue, "venue", "S", "NAME", TEXT,                                                           \
      "usdm (binance-usdm), spot or coinm (default: as recorded)")                                 \
    X(clients, "clients", "S", "N", COUNT, "begin when so many have subscribed (default 1)")       \
    X(gather_ns, "gather", "S", "TIME", DURATION, "... and nobody else did for this long (250ms)") \
    X(at_end, "at-end", "S", "WHAT", AT_END, "close (default), hold, or exit once all is sent")    \
    X(ping_ns, "ping", "S", "TIME", DURATION, "ping clients so often (default: as the venue)")     \
    X(unrouted, "unrouted", "S", NULL, FLAG, "send all streams on every path")                     \
    X(digest, "digest", "S", NULL, FLAG, "SHA-256 of what was sent, in the receipt")               \
    X(reparse, "reparse", "V", NULL, FLAG, "run the parser again and compare the whole index")     \
    X(json, "json", "LPSV", NULL, FLAG, "tell it as JSON (play, serve: the receipt, on stderr)")   \
    X(help, "help", "LPSV", NULL, FLAG, "this text")                                               \
    X(version, "version", "LPSV", NULL, FLAG, "the version")

/* What a server does at the end of what it plays. TAPE_OPTIONS_AT_END(name, word) */
#define TAPE_OPTIONS_AT_END_TABLE(X) X(CLOSE, "close") X(HOLD, "hold") X(EXIT, "exit")

enum tape_options_at_end {
#define TAPE_OPTIONS_AT_END_ENUM(name, word) TAPE_OPTIONS_AT_END_##name,
    TAPE_OPTIONS_AT_END_TABLE(TAPE_OPTIONS_AT_END_ENUM)
#undef TAPE_OPTIONS_AT_END_ENUM
};

/* A time that may be absent. */
struct tape_options_time {
    int given;
    struct tape_timespec time;
};

typedef const char *tape_options_TEXT;
typedef int tape_options_FLAG;
typedef int64_t tape_options_DURATION;
typedef double tape_options_SPEED;   /* 0: max; negative: not given */
typedef int tape_options_FORMAT;     /* enum tape_output_format */
typedef int tape_options_ORDER;      /* enum tape_source_order */
typedef int tape_options_DUPLICATES; /* as in tape_source_options */
typedef int tape_options_AT_END;     /* enum tape_options_at_end */
typedef int tape_options_COUNT;      /* 0: not given */
typedef struct tape_options_time tape_options_TIME;

/* Strings point into argv. */
struct tape_options {
    int verb; /* enum tape_options_verb */
#define TAPE_OPTIONS_FIELD(field, name, verbs, argument, form, words) tape_options_##form field;
    TAPE_OPTIONS_TABLE(TAPE_OPTIONS_FIELD)
#undef TAPE_OPTIONS_FIELD
    const char *archive; /* the first of archives */
    const char *archives[TAPE_SOURCE_ARCHIVES_MAX];
    int archives_count;
};

/* tape_options_parse(options, argc, argv, error): 0, or TAPE_USAGE with one line that says what to
 * mend. With help or version set nothing else is checked. */
int tape_options_parse(struct tape_options *options, int argc, char **argv,
                       struct tape_error *error);

/* tape_options_print_help(verb, to): purpose, usage, an example that runs, and the options of the
 * verb (of all with NONE). */
void tape_options_print_help(int verb, FILE *to);

#ifdef __cplusplus
}
#endif
#endif
