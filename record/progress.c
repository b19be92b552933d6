#include "record/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "record/clock.h"

enum { LINE_BYTES = 1400 };

static int is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

void tape_progress_begin(struct tape_progress *progress, tape_options_LOG form, int quiet)
{
    const char *terminal = getenv("TERM");
    int is_terminal = isatty(STDERR_FILENO);
    int can_redraw = is_terminal && terminal != NULL && strcmp(terminal, "dumb") != 0;
    memset(progress, 0, sizeof *progress);
    progress->on_terminal = can_redraw && form != TAPE_OPTIONS_LOG_LOGFMT;
    progress->logfmt =
        form == TAPE_OPTIONS_LOG_LOGFMT || (form == TAPE_OPTIONS_LOG_AUTO && !is_terminal);
    progress->colour = can_redraw && !is_set("NO_COLOR");
    progress->quiet = quiet;
    progress->rate_since_ns = tape_clock_monotonic();
    progress->due_ns = progress->rate_since_ns +
                       (progress->on_terminal ? TAPE_PROGRESS_REDRAW_NS : TAPE_PROGRESS_LINE_NS);
}

/* "1.2 GB": at most 8 columns. */
static const char *human_bytes(char to[24], double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int unit = 0;
    while (bytes >= 999.5 && unit < 5) {
        bytes /= 1000;
        unit++;
    }
    snprintf(to, 24, bytes < 9.95 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return to;
}

static const char *human_age(char to[24], int64_t ns)
{
    if (ns < 1000000000)
        snprintf(to, 24, "%" PRId64 " ms", ns < 0 ? 0 : ns / 1000000);
    else if (ns < 120ll * 1000000000)
        snprintf(to, 24, "%.1f s", (double)ns / 1e9);
    else
        snprintf(to, 24, "%" PRId64 " min", ns / 60000000000);
    return to;
}

static void measure_rate(struct tape_progress *progress,
                         const struct tape_progress_figures *figures)
{
    double seconds = (double)(figures->monotonic_ns - progress->rate_since_ns) / 1e9;
    if (seconds < 0.15)
        return;
    double rate = (double)(figures->store->frames - progress->rate_frames) / seconds;
    /* a redrawn figure that jumps cannot be read */
    progress->rate = progress->on_terminal && progress->rate > 0
                         ? progress->rate + (rate - progress->rate) * 0.3
                         : rate;
    progress->rate_since_ns = figures->monotonic_ns;
    progress->rate_frames = figures->store->frames;
}

static int add_trouble(char *line, size_t room, const struct tape_progress_figures *figures)
{
    const struct tape_store_state *store = figures->store;
    int used = 0;
    if (figures->connections_open < figures->connections_planned)
        used += snprintf(line + used, room - (size_t)used, "  [%d of %d connections]",
                         figures->connections_open, figures->connections_planned);
    if (store->disk_full && (size_t)used < room)
        used += snprintf(line + used, room - (size_t)used, "  [disk takes nothing: %.80s]",
                         store->message);
    if (store->discarded_frames && (size_t)used < room)
        used += snprintf(line + used, room - (size_t)used, "  [%" PRIu64 " frames lost]",
                         store->discarded_frames);
    if (store->index_broken && (size_t)used < room)
        used += snprintf(line + used, room - (size_t)used, "  [no index]");
    if (store->ring_bytes && store->ring_used_bytes > store->ring_bytes / 4 && (size_t)used < room)
        used += snprintf(line + used, room - (size_t)used, "  [ring %d%%]",
                         (int)(store->ring_used_bytes * 100 / store->ring_bytes));
    return used;
}

static void write_text(char line[LINE_BYTES], const struct tape_progress *progress,
                       const struct tape_progress_figures *figures)
{
    const struct tape_store_state *store = figures->store;
    char in[24], out[24], age[24], disk[24];
    int used = snprintf(line, LINE_BYTES, "%.0f msg/s", progress->rate);
    if (figures->connections_planned > 0)
        used += snprintf(line + used, (size_t)(LINE_BYTES - used), "  %u of %u streams",
                         figures->streams_live, figures->streams_asked);
    used += snprintf(line + used, (size_t)(LINE_BYTES - used), "  %" PRIu64 " messages, %s as %s",
                     store->frames, human_bytes(in, (double)store->frame_bytes),
                     human_bytes(out, (double)store->stored_bytes));
    if (store->last_frame_ns && figures->connections_planned > 0)
        used += snprintf(line + used, (size_t)(LINE_BYTES - used), "  last %s ago",
                         human_age(age, figures->realtime_ns - store->last_frame_ns));
    if (figures->disk_free_bytes >= 0)
        used += snprintf(line + used, (size_t)(LINE_BYTES - used), "  disk %s free",
                         human_bytes(disk, (double)figures->disk_free_bytes));
    add_trouble(line + used, (size_t)(LINE_BYTES - used), figures);
}

static void write_time(char to[40])
{
    struct tm utc;
    int64_t now = tape_clock_realtime();
    time_t seconds = (time_t)(now / 1000000000);
    gmtime_r(&seconds, &utc);
    size_t used = strftime(to, 32, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(to + used, 40 - used, ".%03dZ", (int)(now / 1000000 % 1000));
}

static void write_logfmt(char line[LINE_BYTES], const struct tape_progress *progress,
                         const struct tape_progress_figures *figures)
{
    const struct tape_store_state *store = figures->store;
    char time[40];
    int64_t age_ms =
        store->last_frame_ns ? (figures->realtime_ns - store->last_frame_ns) / 1000000 : -1;
    write_time(time);
    snprintf(line, LINE_BYTES,
             "time=%s level=info msg=progress rate=%.1f streams_live=%u streams_asked=%u "
             "connections=%d redials=%" PRIu64 " frames=%" PRIu64 " bytes=%" PRIu64
             " stored_bytes=%" PRIu64 " durable_lag=%" PRIu64 " last_frame_age_ms=%" PRId64
             " ring_used_bytes=%" PRIu64 " lost_frames=%" PRIu64
             " disk_full=%d index_broken=%d disk_free_bytes=%" PRId64,
             time, progress->rate, figures->streams_live, figures->streams_asked,
             figures->connections_open, figures->redials, store->frames, store->frame_bytes,
             store->stored_bytes, store->records - store->durable_records, age_ms,
             store->ring_used_bytes, store->discarded_frames, store->disk_full, store->index_broken,
             figures->disk_free_bytes);
}

/* As wide as the terminal: a line that wraps cannot be redrawn. */
static void draw(struct tape_progress *progress, const char *line)
{
    struct winsize window = {0};
    int columns = 80;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        columns = window.ws_col;
    fprintf(stderr, "\r\033[K%.*s", columns - 1, line);
    fflush(stderr);
    progress->drawn = 1;
}

/* 1 when a line is due, which is then due again later. */
static int is_due(struct tape_progress *progress, int64_t monotonic_ns)
{
    if (progress->quiet || monotonic_ns < progress->due_ns)
        return 0;
    progress->due_ns =
        monotonic_ns + (progress->on_terminal ? TAPE_PROGRESS_REDRAW_NS : TAPE_PROGRESS_LINE_NS);
    return 1;
}

static void show(struct tape_progress *progress, const char *line)
{
    if (progress->on_terminal)
        draw(progress, line);
    else
        fprintf(stderr, "%s\n", line);
}

void tape_progress_show(struct tape_progress *progress, const struct tape_progress_figures *figures)
{
    char line[LINE_BYTES];
    if (!is_due(progress, figures->monotonic_ns))
        return;
    measure_rate(progress, figures);
    if (progress->logfmt)
        write_logfmt(line, progress, figures);
    else
        write_text(line, progress, figures);
    show(progress, line);
}

void tape_progress_show_packing(struct tape_progress *progress,
                                const struct tape_progress_packing *packing)
{
    char line[LINE_BYTES], in[24], out[24], left[24], time[40];
    int64_t now = tape_clock_monotonic();
    if (!is_due(progress, now))
        return;
    double seconds = (double)(now - packing->began_ns) / 1e9;
    double done = packing->of_bytes ? (double)packing->bytes / (double)packing->of_bytes : 1;
    double left_s = done > 0 ? seconds / done - seconds : 0;
    if (progress->logfmt) {
        write_time(time);
        snprintf(line, sizeof line,
                 "time=%s level=info msg=packing segments=%u of_segments=%u records=%" PRIu64
                 " rate=%.1f bytes=%" PRIu64 " of_bytes=%" PRIu64 " packed_bytes=%" PRIu64
                 " left_s=%.0f",
                 time, packing->segments, packing->of_segments, packing->records,
                 (double)packing->records / seconds, packing->bytes, packing->of_bytes,
                 packing->packed_bytes, left_s);
    } else {
        snprintf(
            line, sizeof line,
            "packing %.0f %%  %u of %u segments  %s as %s  %.2f M records/s  %s left", 100 * done,
            packing->segments, packing->of_segments, human_bytes(in, (double)packing->bytes),
            human_bytes(out, (double)packing->packed_bytes),
            (double)packing->records / 1e6 / seconds, human_age(left, (int64_t)(left_s * 1e9)));
    }
    show(progress, line);
}

/* Bytes of a control character, C1 ones in UTF-8 too, or of a mark that turns the direction of
 * text; 0 for others. */
static size_t control_bytes(const char *at)
{
    const unsigned char *byte = (const unsigned char *)at;
    if (byte[0] < 0x20 || byte[0] == 0x7f)
        return 1;
    if (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] <= 0x9f)
        return 2;
    if (byte[0] != 0xe2 || (byte[1] != 0x80 && byte[1] != 0x81))
        return 0;
    return (byte[1] == 0x80 && (byte[2] == 0x8e || byte[2] == 0x8f)) ||
                   (byte[1] == 0x80 && byte[2] >= 0xa8 && byte[2] <= 0xae) ||
                   (byte[1] == 0x81 && byte[2] >= 0xa6 && byte[2] <= 0xa9)
               ? 3
               : 0;
}

void tape_progress_printable(char *to, size_t room, const char *words)
{
    size_t used = 0, control;
    for (; *words != '\0' && used + 1 < room; words += control ? control : 1) {
        control = control_bytes(words);
        to[used++] = control ? '?' : *words;
    }
    to[used] = '\0';
}

static void print_quoted(const char *words)
{
    fputc('"', stderr);
    for (; *words != '\0'; words++) {
        if (*words == '"' || *words == '\\')
            fputc('\\', stderr);
        fputc(*words, stderr);
    }
    fputs("\"\n", stderr);
}

void tape_progress_say(struct tape_progress *progress, const char *level, const char *words)
{
    char safe[LINE_BYTES], time[40];
    int trouble = strcmp(level, "info") != 0;
    if (progress->quiet && !trouble)
        return;
    tape_progress_printable(safe, sizeof safe, words);
    tape_progress_end(progress);
    if (progress->logfmt) {
        write_time(time);
        fprintf(stderr, "time=%s level=%s msg=", time, level);
        print_quoted(safe);
    } else if (trouble && progress->colour) {
        fprintf(stderr, "\033[33mtape-record: %s\033[0m\n", safe);
    } else {
        fprintf(stderr, "tape-record: %s\n", safe);
    }
}

void tape_progress_end(struct tape_progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = 0;
    fflush(stderr);
}
