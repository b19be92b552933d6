#include "replay/status_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "replay/timespec.h"

#define STATUS_LINE_REDRAW_NS 250000000ll
#define STATUS_LINE_REPEAT_NS 10000000000ll
enum { STATUS_LINE_WIDTH = 80 };

#define STATUS_LINE_GREEN  "\033[32m"
#define STATUS_LINE_YELLOW "\033[33m"
#define STATUS_LINE_PLAIN  "\033[0m"
#define STATUS_LINE_CLEAR  "\r\033[K"

void tape_status_line_begin(struct tape_status_line *line, FILE *to, int allowed, int64_t now_ns)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    int terminal = isatty(fileno(to)), dumb = !term || strcmp(term, "dumb") == 0;
    *line = (struct tape_status_line){.to = to};
    if (!allowed || (terminal && dumb))
        return;
    line->mode = terminal ? TAPE_STATUS_LINE_REDRAWN : TAPE_STATUS_LINE_REPEATED;
    line->colours = terminal && (!no_color || no_color[0] == '\0');
    line->due_ns = now_ns + (terminal ? STATUS_LINE_REDRAW_NS : STATUS_LINE_REPEAT_NS);
}

int tape_status_line_is_due(const struct tape_status_line *line, int64_t now_ns)
{
    return line->mode != TAPE_STATUS_LINE_NEVER && now_ns >= line->due_ns;
}

static void append(char *text, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t room, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, room - used, format, arguments);
    va_end(arguments);
}

static void append_speed(char *text, size_t room, double speed)
{
    if (speed > 0)
        append(text, room, " %.4gx", speed);
    else
        append(text, room, " max");
}

size_t tape_status_line_format(char *text, size_t room, const struct tape_transport_state *state,
                               int colours)
{
    char position[TAPE_TIMESPEC_TEXT_BYTES] = "", p50[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    char p99[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    int plays = state->phase == TAPE_TRANSPORT_PHASE_PLAYING;
    text[0] = '\0';
    if (colours)
        append(text, room, "%s", plays ? STATUS_LINE_GREEN : STATUS_LINE_YELLOW);
    append(text, room, "%s", tape_transport_phase_word(state->phase));
    append_speed(text, room, state->speed);
    if (colours)
        append(text, room, "%s", STATUS_LINE_PLAIN);
    if (state->position_ns != INT64_MIN) {
        tape_timespec_format(position, state->position_ns);
        append(text, room, "  %.21sZ", position); /* tenths of a second */
    }
    if (state->looping)
        append(text, room, "  loop %" PRIu64, state->loops + 1);
    append(text, room, "  %" PRIu64 " messages", state->messages);
    if (state->lateness.count > 0) {
        tape_timespec_format_duration(p50, tape_lateness_quantile(&state->lateness, 0.5));
        tape_timespec_format_duration(p99, tape_lateness_quantile(&state->lateness, 0.99));
        append(text, room, "  late %s / %s", p50, p99);
    }
    if (state->dropped_late > 0)
        append(text, room, "  dropped %" PRIu64, state->dropped_late);
    return strlen(text);
}

/* Cuts the text to so many columns; a letter is one, an escape sequence none. */
static void cut_to(char *text, unsigned columns)
{
    unsigned used = 0;
    int escaped = 0;
    for (char *at = text; *at; at++) {
        if (*at == '\033')
            escaped = 1;
        else if (escaped)
            escaped = *at != 'm';
        else if (((unsigned char)*at & 0xc0) != 0x80 && ++used > columns) {
            *at = '\0';
            return;
        }
    }
}

static unsigned width_of(FILE *to)
{
    struct winsize size;
    if (ioctl(fileno(to), TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
        return STATUS_LINE_WIDTH;
    return size.ws_col;
}

void tape_status_line_show(struct tape_status_line *line, const struct tape_transport_state *state,
                           int64_t now_ns)
{
    char text[TAPE_STATUS_LINE_BYTES];
    if (!tape_status_line_is_due(line, now_ns))
        return;
    tape_status_line_format(text, sizeof text, state, line->colours);
    if (line->mode == TAPE_STATUS_LINE_REPEATED) {
        fprintf(line->to, "tape-replay: %s\n", text);
        line->due_ns = now_ns + STATUS_LINE_REPEAT_NS;
        return;
    }
    cut_to(text, width_of(line->to) - 1);
    line->due_ns = now_ns + STATUS_LINE_REDRAW_NS;
    if (line->shown && strcmp(text, line->text) == 0)
        return;
    memcpy(line->text, text, sizeof text);
    fprintf(line->to, STATUS_LINE_CLEAR "%s%s", text, line->colours ? STATUS_LINE_PLAIN : "");
    fflush(line->to);
    line->shown = 1;
}

void tape_status_line_hide(struct tape_status_line *line)
{
    if (!line->shown)
        return;
    fputs(STATUS_LINE_CLEAR, line->to);
    line->shown = 0;
    line->due_ns = INT64_MIN;
}
