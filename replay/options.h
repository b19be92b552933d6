/* The command line of tape-replay: one table gives parsing, --help and the manual's option list. */
#ifndef TAPE_REPLAY_OPTIONS_H
#define TAPE_REPLAY_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "format/error.h"
#include "replay/timespec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_OPTIONS_VERB(name, word, words) */
#define TAPE_OPTIONS_VERB_TABLE(X)                                                                 \
    X(LS, "ls", "what an archive holds: streams, times, counts, gaps, sizes")                      \
    X(PLAY, "play", "its messages on standard output, at the pace they came")                      \
    X(VERIFY, "verify", "check every byte of it; reports, never repairs")

enum tape_options_verb {
    TAPE_OPTIONS_NONE,
#define TAPE_OPTIONS_VERB_ENUM(name, word, words) TAPE_OPTIONS_##name,
    TAPE_OPTIONS_VERB_TABLE(TAPE_OPTIONS_VERB_ENUM)
#undef TAPE_OPTIONS_VERB_ENUM
};

/* TAPE_OPTIONS(field, name, verbs, argument, form, words). verbs: L ls, P play, V verify. The words
 * stand in --help and in the manual. */
#define TAPE_OPTIONS_TABLE(X)                                                                      \
    X(speed, "speed", "P", "N", SPEED, "1 (default), 0.1, 100 ..., or max")                        \
    X(from, "from", "P", "TIME", TIME, "from this time on: 2026-11-22T08:00Z, ns, +10m, -10m")     \
    X(to, "to", "P", "TIME", TIME, "up to, and not including, this time")                          \
    X(stream, "stream", "P", "GLOB", TEXT, "these streams only: btcusdt@*,*@trade")                \
    X(format, "format", "P", "FORM", FORMAT, "raw (default), ndjson or hft")                       \
    X(all, "all", "P", NULL, FLAG, "ndjson: control frames, our own frames and events, too")       \
    X(follow, "follow", "P", NULL, FLAG, "at the end go on with what is being recorded")           \
    X(spin_ns, "spin", "P", "TIME", DURATION, "spin for the last of each wait, as 60us")           \
    X(receipt, "receipt", "P", "FILE", TEXT, "write the receipt there as JSON")                    \
    X(no_digest, "no-digest", "P", NULL, FLAG, "leave SHA-256 out of the receipt")                 \
    X(reparse, "reparse", "V", NULL, FLAG, "run the parser again and compare the whole index")     \
    X(json, "json", "LPV", NULL, FLAG, "tell it as JSON (play: the receipt, on stderr)")           \
    X(help, "help", "LPV", NULL, FLAG, "this text")                                                \
    X(version, "version", "LPV", NULL, FLAG, "the version")

/* A time that may be absent. */
struct tape_options_time {
    int given;
    struct tape_timespec time;
};

typedef const char *tape_options_TEXT;
typedef int tape_options_FLAG;
typedef int64_t tape_options_DURATION;
typedef double tape_options_SPEED; /* 0: max; negative: not given */
typedef int tape_options_FORMAT;   /* enum tape_output_format */
typedef struct tape_options_time tape_options_TIME;

/* Strings point into argv. */
struct tape_options {
    int verb; /* enum tape_options_verb */
#define TAPE_OPTIONS_FIELD(field, name, verbs, argument, form, words) tape_options_##form field;
    TAPE_OPTIONS_TABLE(TAPE_OPTIONS_FIELD)
#undef TAPE_OPTIONS_FIELD
    const char *archive;
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
