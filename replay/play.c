#include "replay/play.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "format/archive.h"
#include "replay/left.h"
#include "replay/output.h"
#include "replay/pace.h"
#include "replay/printable.h"
#include "replay/receipt.h"
#include "replay/source.h"
#include "replay/span.h"
#include "replay/status_word.h"

/* A long wait is cut into pieces: between two of them a signal, or a consumer that went away, is
 * seen even where it came just before the sleep. */
#define PLAY_NAP_NS 200000000ll
/* A follower that waits for a recorder says so this often. */
#define PLAY_REMIND_NS 10000000000ll
/* … once it is clear that it did not just end in order. */
#define PLAY_DEAD_NS 500000000ll
/* What is late by more than this was due before the message was read: it goes with others in one
 * write. */
#define PLAY_ON_TIME_NS 200000ll

/* Set by the signal handler, which also wakes a waiting source. */
static volatile sig_atomic_t stopped;
static struct tape_source *stoppable;

struct play {
    const struct tape_options *options;
    FILE *notices;
    struct tape_source *source;
    struct tape_output *output;
    struct tape_pace pace;
    int64_t spin_ns;
    int damages_told;
    uint64_t overruns_told;
    int met;                               /* a recorder was seen alive */
    int64_t waiting_since_ns, reminded_ns; /* for a recorder that died; 0: not waiting; not told */
    struct tape_receipt receipt;
    int receipt_fd;
};

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
    if (stoppable)
        tape_source_stop(stoppable);
}

/* The second signal of a kind ends the process at once. */
static void take_signals(struct tape_source *source)
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&stop.sa_mask);
    stoppable = source;
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000ll +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000ll;
}

static void tell_damages(struct play *play)
{
    struct tape_source_damage damage;
    char text[1200];
    int total = tape_source_damages(play->source);
    for (; play->damages_told < total; play->damages_told++) {
        if (!tape_source_damage(play->source, play->damages_told, &damage))
            continue;
        tape_printable_text(text, sizeof text, damage.text, strlen(damage.text));
        fprintf(play->notices, "tape-replay: %s, passed over: %s", tape_status_word(damage.verdict),
                text);
        if (damage.to_ordinal > damage.from_ordinal)
            fprintf(play->notices, " (records %" PRIu64 " to %" PRIu64 " are lost)",
                    damage.from_ordinal, damage.to_ordinal - 1);
        fputc('\n', play->notices);
    }
}

/* What a follower should say as it goes. */
static void tell_state(struct play *play)
{
    struct tape_source_state state;
    tape_source_read_state(play->source, &state);
    if (state.overruns > play->overruns_told) {
        play->overruns_told = state.overruns;
        fputs("tape-replay: too slow for the ring: back to the segments, nothing is lost\n",
              play->notices);
    }
    if (state.recorder_alive) {
        if (play->reminded_ns != 0)
            fputs("tape-replay: recording goes on\n", play->notices);
        play->met = 1;
        play->waiting_since_ns = play->reminded_ns = 0;
        return;
    }
    int64_t now_ns = tape_pace_now();
    if (!play->met)
        return;
    if (play->waiting_since_ns == 0)
        play->waiting_since_ns = now_ns;
    if (play->reminded_ns == 0 && now_ns - play->waiting_since_ns >= PLAY_DEAD_NS) {
        play->reminded_ns = now_ns;
        fputs("tape-replay: the recorder died; waiting for the next one\n", play->notices);
    } else if (play->reminded_ns != 0 && now_ns - play->reminded_ns >= PLAY_REMIND_NS) {
        play->reminded_ns = now_ns;
        fprintf(play->notices, "tape-replay: still waiting for a recorder, %" PRId64 " s\n",
                (now_ns - play->waiting_since_ns) / 1000000000);
    }
}

/* 1 when the reader of a pipe or socket is gone, which a write would tell too late. */
static int consumer_gone(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

static int flush(struct play *play, struct tape_error *error)
{
    int status = tape_output_flush(play->output, error);
    tape_pace_blocked(&play->pace, tape_output_take_blocked(play->output));
    return status;
}

/* The next message; while there is none nothing is kept back in the buffer. */
static int next_message(struct play *play, struct tape_message *message, struct tape_error *error)
{
    int64_t idle_ns = 200000;
    for (;;) {
        int got = tape_source_try(play->source, message, error);
        if (tape_source_damages(play->source) > play->damages_told)
            tell_damages(play);
        if (got != 2)
            return got;
        int status = flush(play, error);
        if (status < 0)
            return status;
        tell_state(play);
        if (consumer_gone())
            return tape_error_set(error, TAPE_CLOSED, "standard output: nobody reads any more");
        if (play->spin_ns > 0)
            continue;
        tape_pace_sleep(tape_pace_now() + idle_ns, 0);
        if (idle_ns < 2000000)
            idle_ns += idle_ns / 4;
    }
}

/* Sleeps until the message is due; what waits in the buffer leaves before. Returns its due time, as
 * the anchor may have moved, or TAPE_OUTPUT_NO_DUE when stopped. */
static int64_t wait_due(struct play *play, int64_t recv_ns, struct tape_error *error)
{
    int64_t now_ns = tape_pace_now();
    int64_t due_ns = tape_pace_due(&play->pace, recv_ns, now_ns);
    if (due_ns > now_ns && tape_output_waiting(play->output)) {
        if (flush(play, error) < 0)
            return TAPE_OUTPUT_NO_DUE;
        now_ns = tape_pace_now();
    }
    due_ns = tape_pace_settle(&play->pace, due_ns, now_ns);
    while (now_ns < due_ns) {
        int64_t until_ns = due_ns - now_ns > PLAY_NAP_NS ? now_ns + PLAY_NAP_NS : due_ns;
        now_ns = tape_pace_sleep(until_ns, play->spin_ns);
        if (stopped) {
            tape_error_set(error, TAPE_CLOSED, "interrupted");
            return TAPE_OUTPUT_NO_DUE;
        }
        if (until_ns != due_ns && consumer_gone()) {
            tape_error_set(error, TAPE_CLOSED, "standard output: nobody reads any more");
            return TAPE_OUTPUT_NO_DUE;
        }
    }
    return due_ns;
}

static int emit_paced(struct play *play, const struct tape_message *message,
                      struct tape_error *error)
{
    int64_t due_ns = wait_due(play, message->recv_ns, error);
    if (due_ns == TAPE_OUTPUT_NO_DUE)
        return error->status;
    int status = tape_output_put(play->output, message, due_ns, error);
    tape_pace_blocked(&play->pace, tape_output_take_blocked(play->output));
    if (status == 0 && tape_pace_now() - due_ns < PLAY_ON_TIME_NS)
        status = flush(play, error);
    return status;
}

static int play_all(struct play *play, struct tape_error *error)
{
    struct tape_message message;
    int got, status = 0;
    while (!stopped && (got = next_message(play, &message, error)) != 0) {
        if (got < 0)
            return got;
        if (!tape_output_wants(play->output, &message))
            continue;
        status = play->pace.speed > 0
                     ? emit_paced(play, &message, error)
                     : tape_output_put(play->output, &message, TAPE_OUTPUT_NO_DUE, error);
        if (status < 0)
            return status;
    }
    return flush(play, error);
}

/* --- setting up --- */

static int resolve_times(const struct tape_options *options, struct tape_source_options *asked,
                         struct tape_error *error)
{
    int64_t first_ns = 0, last_ns = 0;
    const struct tape_options_time *from = &options->from, *to = &options->to;
    if ((from->given && from->time.base != TAPE_TIMESPEC_EPOCH) ||
        (to->given && to->time.base != TAPE_TIMESPEC_EPOCH)) {
        int status = tape_span_read(options->archive, &first_ns, &last_ns, error);
        if (status < 0)
            return status;
    }
    if (from->given)
        asked->from_ns = tape_timespec_resolve(&from->time, first_ns, last_ns);
    if (to->given)
        asked->to_ns = tape_timespec_resolve(&to->time, first_ns, last_ns);
    if (to->given && asked->to_ns == 0)
        asked->to_ns = -1; /* 0 is an open end; nothing was received in the last ns of 1969 */
    if (from->given && to->given && asked->from_ns >= asked->to_ns)
        return tape_error_set(error, TAPE_USAGE, "--from is not before --to: nothing lies between");
    return 0;
}

static int open_receipt(struct play *play, struct tape_error *error)
{
    const char *path = play->options->receipt;
    play->receipt_fd = -1;
    if (!path)
        return 0;
    play->receipt_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (play->receipt_fd < 0)
        return tape_error_errno(error, errno, "receipt %.700s", path);
    return 0;
}

static int open_play(struct play *play, struct tape_error *error)
{
    const struct tape_options *options = play->options;
    struct tape_source_options asked = {
        .stream = options->stream,
        .follow = options->follow,
        .events = options->all,
        .spin = options->spin_ns > 0,
    };
    struct tape_output_options out = {
        .fd = STDOUT_FILENO,
        .format = options->format,
        .all = options->all,
        .digest = !options->no_digest,
        .printable = isatty(STDOUT_FILENO),
        .stop = &stopped,
    };
    int status = resolve_times(options, &asked, error);
    if (status < 0 || (status = open_receipt(play, error)) < 0)
        return status;
    play->source = tape_source_open(options->archive, &asked, error);
    if (!play->source)
        return error->status;
    play->output = tape_output_open(&out, error);
    if (!play->output)
        return error->status;
    double speed = options->speed < 0 ? (options->follow ? 0 : 1) : options->speed;
    tape_pace_begin(&play->pace, speed);
    play->spin_ns = options->spin_ns;
    play->receipt = (struct tape_receipt){
        .archive = options->archive,
        .format = options->format,
        .speed = speed,
        .stream = options->stream,
        .from_ns = asked.from_ns,
        .to_ns = asked.to_ns,
    };
    return 0;
}

/* --- the end --- */

static int why_ended(const struct play *play, int status)
{
    if (stopped)
        return TAPE_RECEIPT_SIGNAL;
    if (status == TAPE_CLOSED)
        return TAPE_RECEIPT_CONSUMER;
    if (status < 0)
        return TAPE_RECEIPT_FAILURE;
    return play->options->follow ? TAPE_RECEIPT_RECORDER : TAPE_RECEIPT_ARCHIVE;
}

static int write_receipt(struct play *play, struct tape_error *error)
{
    if (play->receipt_fd < 0)
        return 0;
    FILE *to = fdopen(play->receipt_fd, "w");
    play->receipt_fd = -1;
    if (!to)
        return tape_error_errno(error, errno, "receipt %.700s", play->options->receipt);
    if (ftruncate(fileno(to), 0) < 0)
        errno = 0; /* a pipe or a device: nothing to cut */
    int bad = tape_receipt_print_json(&play->receipt, play->source, to) < 0;
    bad |= fclose(to) == EOF;
    return bad ? tape_error_errno(error, errno, "receipt %.700s", play->options->receipt) : 0;
}

/* An empty answer to a narrow question may be a slip of the pen. */
static void tell_nothing_matched(const struct play *play)
{
    const struct tape_options *options = play->options;
    int span = options->from.given || options->to.given;
    char stream[300];
    if (play->receipt.totals.messages > 0 || play->receipt.end > TAPE_RECEIPT_RECORDER ||
        options->json || (!span && !options->stream))
        return;
    fputs("tape-replay: no message", play->notices);
    if (options->stream)
        fprintf(
            play->notices, " of --stream %s",
            tape_printable_text(stream, sizeof stream, options->stream, strlen(options->stream)));
    fprintf(play->notices, "%s; tape-replay ls tells what there is\n",
            span ? " in the time asked for" : "");
}

/* The end of an archive that a recorder left by dying is not all there is. */
static void tell_left(const struct play *play, uint64_t next_ordinal)
{
    struct tape_archive *archive = tape_archive_open(play->options->archive, NULL);
    uint64_t left = archive ? tape_left_in_ring(archive, next_ordinal) : 0;
    if (left > 0)
        fprintf(play->notices,
                "tape-replay: the recorder died: %" PRIu64
                " records are in its ring only; run tape-record --repair or record again\n",
                left);
    tape_archive_close(archive);
}

/* Writes the receipts. An interrupted replay is a success: what was emitted is exact. */
static int finish(struct play *play, int status, int64_t began_ns, struct tape_error *error)
{
    struct tape_source_state state;
    struct tape_receipt *receipt = &play->receipt;
    struct tape_error late = {0};
    tape_source_read_state(play->source, &state);
    receipt->end = why_ended(play, status);
    tape_output_read_totals(play->output, &receipt->totals, receipt->digest);
    receipt->wall_ns = tape_pace_now() - began_ns;
    receipt->cpu_ns = cpu_ns();
    receipt->stretched_ns = play->pace.stretched_ns;
    receipt->clock_steps = play->pace.steps;
    receipt->overruns = state.overruns;
    receipt->blocks_read = state.blocks_read;
    if (receipt->end == TAPE_RECEIPT_ARCHIVE && !play->options->to.given)
        tell_left(play, state.next_ordinal);
    if (play->options->json)
        tape_receipt_print_json(receipt, play->source, play->notices);
    else
        tape_receipt_print(receipt, play->source, play->notices);
    tell_nothing_matched(play);
    if (receipt->end == TAPE_RECEIPT_SIGNAL || receipt->end == TAPE_RECEIPT_CONSUMER)
        status = 0;
    int written = write_receipt(play, &late);
    if (status >= 0 && written < 0) {
        *error = late;
        return written;
    }
    if (status >= 0 && tape_source_damages(play->source) > 0)
        return tape_error_set(error, TAPE_CORRUPT, "%s", "");
    return status;
}

static void close_play(struct play *play)
{
    stoppable = NULL;
    if (play->receipt_fd >= 0)
        close(play->receipt_fd);
    tape_output_free(play->output);
    tape_source_close(play->source);
}

int tape_play_run(const struct tape_options *options, FILE *notices, struct tape_error *error)
{
    struct play play = {.options = options, .notices = notices, .receipt_fd = -1};
    struct tape_source_state state;
    int64_t began_ns = tape_pace_now();
    int status = open_play(&play, error);
    if (status == 0) {
        take_signals(play.source);
        tape_pace_sharpen();
        tape_source_read_state(play.source, &state);
        if (options->follow && !state.recorder_alive)
            fputs("tape-replay: nothing records into this archive: it ends where it ends\n",
                  notices);
        status = finish(&play, play_all(&play, error), began_ns, error);
    }
    close_play(&play);
    return status;
}
