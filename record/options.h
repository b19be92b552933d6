/* The command line of tape-record: one table gives parsing, --help and the manual's option list. */
#ifndef TAPE_RECORD_OPTIONS_H
#define TAPE_RECORD_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include "format/error.h"

/* TAPE_OPTIONS(field, name, argument, form, words). The words stand in --help and in the manual. */
#define TAPE_OPTIONS_TABLE(X)                                                                      \
    X(venue, "venue", "NAME", TEXT, "usdm (binance-usdm, the default), spot or coinm")             \
    X(profile, "profile", "FILE", TEXT, "a venue profile of your own (JSON)")                      \
    X(url, "url", "URL", TEXT, "this server: wss://HOST[:PORT][/PATH], ws://...")                  \
    X(ca_file, "ca", "FILE", TEXT, "trust these certificates (PEM), not the system's")             \
    X(snapshots, "snapshots", "URL", TEXT, "order books from this host (https://HOST), or off")    \
    X(for_ns, "for", "TIME", DURATION, "stop after this time")                                     \
    X(frames, "frames", "N", COUNT, "stop after this many frames")                                 \
    X(sync, "sync", "WHEN", SYNC, "fdatasync: 100ms (default), 1s ..., block, none")               \
    X(ring_bytes, "ring", "SIZE", SIZE, "memory that outlives kill -9 (default 64MiB)")            \
    X(busy_poll, "busy-poll", NULL, FLAG, "spin, not sleep: least latency, costs one core")        \
    X(message_limit_bytes, "message-limit", "SIZE", SIZE, "longest message taken (default 16MiB)") \
    X(segment_bytes, "segment", "SIZE", SIZE, "a new file after so many bytes (default 256MiB)")   \
    X(segment_ns, "segment-age", "TIME", DURATION, "a new file after so long (default 1h)")        \
    X(deadline_ns, "deadline", "TIME", DURATION,                                                   \
      "name a stream that is answered but silent so long")                                         \
    X(handshake_ns, "handshake-timeout", "TIME", DURATION,                                         \
      "give a connection attempt up after (default 10s)")                                          \
    X(connections, "connections", "N", COUNT, "copies of each connection, for load tests")         \
    X(quiet, "quiet", NULL, FLAG, "no progress; warnings and errors only")                         \
    X(log_format, "log-format", "FORM", LOG, "auto (default), text or logfmt")                     \
    X(import_file, "import", "FILE", TEXT, "lines \"<ns> <payload>\", plain or .zst; - is stdin")  \
    X(no_pack, "no-pack", NULL, FLAG, "leave closed files as they were recorded")                  \
    X(repair, "repair", NULL, FLAG, "mend what a dead recorder left, tell, and end")               \
    X(pack, "pack", NULL, FLAG, "make all closed files smaller, tell, and end")                    \
    X(level, "level", "WORD", LEVEL, "with --pack: warm (default), or cold: smallest, slow")       \
    X(prune, "prune", NULL, FLAG, "delete the oldest files as the limits say, and end")            \
    X(keep_age_ns, "keep-age", "TIME", DURATION,                                                   \
      "prune what is older (with a capture: meanwhile)")                                           \
    X(keep_bytes, "keep-bytes", "SIZE", SIZE, "prune while the segments take more than this")      \
    X(keep_free_bytes, "keep-free", "SIZE", SIZE, "prune while less of the disk is free")          \
    X(dry_run, "dry-run", NULL, FLAG, "with --prune: tell what would go, and delete nothing")      \
    X(help, "help", NULL, FLAG, "this text")                                                       \
    X(version, "version", NULL, FLAG, "the version")

typedef const char *tape_options_TEXT;
typedef int tape_options_FLAG;
typedef int64_t tape_options_DURATION; /* ns; 0: not given */
typedef uint64_t tape_options_SIZE;    /* 0: not given */
typedef uint64_t tape_options_COUNT;   /* 0: not given */

/* ns > 0: every so often; 0: not given; the two words are negative */
enum { TAPE_OPTIONS_SYNC_BLOCK = -1, TAPE_OPTIONS_SYNC_NONE = -2 };
typedef int64_t tape_options_SYNC;

typedef int tape_options_LEVEL; /* enum tape_pack_level */

typedef enum {
    TAPE_OPTIONS_LOG_AUTO,
    TAPE_OPTIONS_LOG_TEXT,
    TAPE_OPTIONS_LOG_LOGFMT,
} tape_options_LOG;

/* Strings point into argv. */
struct tape_options {
#define TAPE_OPTIONS_FIELD(field, name, argument, form, words) tape_options_##form field;
    TAPE_OPTIONS_TABLE(TAPE_OPTIONS_FIELD)
#undef TAPE_OPTIONS_FIELD
    const char *archive;
    char *const *streams;
    int streams_count;
};

/* tape_options_parse(options, argc, argv, error): 0, or TAPE_USAGE with one line that says what to
 * mend. With help or version set nothing else is checked. argv is put in another order (options
 * first). */
int tape_options_parse(struct tape_options *options, int argc, char **argv,
                       struct tape_error *error);

/* tape_options_print_help(to): usage, an example that runs, and the table. */
void tape_options_print_help(FILE *to);

#endif
