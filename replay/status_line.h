/* One line about what plays, on standard error: redrawn on a terminal, now and then elsewhere. */
#ifndef TAPE_REPLAY_STATUS_LINE_H
#define TAPE_REPLAY_STATUS_LINE_H

#include <stdint.h>
#include <stdio.h>

#include "replay/transport.h"

#ifdef __cplusplus
extern "C" {
#endif

enum tape_status_line_mode {
    TAPE_STATUS_LINE_NEVER,
    TAPE_STATUS_LINE_REDRAWN,  /* a few times a second, in place */
    TAPE_STATUS_LINE_REPEATED, /* a line of its own every ten seconds */
};

enum { TAPE_STATUS_LINE_BYTES = 400 };

/* Invariant: shown = 1 while the line stands on the terminal, the cursor behind it; it is text. */
struct tape_status_line {
    int mode, colours, shown;
    int64_t due_ns;
    FILE *to;
    char text[TAPE_STATUS_LINE_BYTES];
};

/* tape_status_line_begin(line, to, allowed, now_ns): chooses by what to is. allowed 0: never.
 * NO_COLOR in the environment: without colours; TERM=dumb: not redrawn. */
void tape_status_line_begin(struct tape_status_line *line, FILE *to, int allowed, int64_t now_ns);

/* tape_status_line_is_due(line, now_ns): 1 when tape_status_line_show() would show something. */
int tape_status_line_is_due(const struct tape_status_line *line, int64_t now_ns);
void tape_status_line_show(struct tape_status_line *line, const struct tape_transport_state *state,
                           int64_t now_ns);

/* tape_status_line_hide(line): before anything else is written there; the next show is due at once.
 */
void tape_status_line_hide(struct tape_status_line *line);

/* tape_status_line_format(text, room, state, colours): the line itself. Returns its bytes. */
size_t tape_status_line_format(char *text, size_t room, const struct tape_transport_state *state,
                               int colours);

#ifdef __cplusplus
}
#endif
#endif
