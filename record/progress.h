/* What the user sees while it records: one redrawn line on a terminal, a line each 10 s elsewhere.
 */
#ifndef TAPE_RECORD_PROGRESS_H
#define TAPE_RECORD_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "record/options.h"
#include "record/store.h"

#define TAPE_PROGRESS_LINE_NS   10000000000ll /* between two lines off the terminal */
#define TAPE_PROGRESS_REDRAW_NS 200000000ll   /* between two drawings on it */

struct tape_progress {
    int on_terminal, logfmt, quiet, colour;
    int drawn; /* a line stands on the terminal and must be wiped before other words */
    int64_t due_ns, rate_since_ns;
    uint64_t rate_frames;
    double rate;
};

struct tape_progress_figures {
    const struct tape_store_state *store;
    uint32_t streams_live, streams_asked;
    int connections_open, connections_planned; /* planned 0: there are none, as in an import */
    uint64_t redials;
    int64_t disk_free_bytes; /* -1: not known */
    int64_t monotonic_ns, realtime_ns;
};

/* tape_progress_begin(progress, form, quiet): looks at stderr, NO_COLOR and TERM. */
void tape_progress_begin(struct tape_progress *progress, tape_options_LOG form, int quiet);

/* tape_progress_show(progress, figures): draws or prints when it is time to. */
void tape_progress_show(struct tape_progress *progress,
                        const struct tape_progress_figures *figures);

/* What is being packed. */
struct tape_progress_packing {
    uint32_t segments, of_segments; /* the one at work is not counted */
    uint64_t records;
    uint64_t bytes, of_bytes; /* of the files before: done, and all of them */
    uint64_t packed_bytes;    /* those that are done became these */
    int64_t began_ns;         /* monotonic */
};

/* tape_progress_show_packing(progress, packing): draws or prints when it is time to. */
void tape_progress_show_packing(struct tape_progress *progress,
                                const struct tape_progress_packing *packing);

/* tape_progress_say(progress, level, words): one line at once; level "info" (not when quiet),
 * "warn" or "error". Bytes that could command a terminal are replaced. */
void tape_progress_say(struct tape_progress *progress, const char *level, const char *words);

/* tape_progress_printable(to, room, words): the words with a question mark for each control
 * character (C0, DEL, C1) and each mark that turns the direction of text; cut to the room. */
void tape_progress_printable(char *to, size_t room, const char *words);

/* tape_progress_end(progress): wipes the line. */
void tape_progress_end(struct tape_progress *progress);

#endif
