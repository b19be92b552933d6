#include "replay/play.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "replay/keys.h"
#include "replay/pace.h"
#include "replay/play_internal.h"

/* A long wait is cut into pieces: between two of them a signal, or a consumer that went away, is
 * seen even where it came just before the sleep. Keys want an answer sooner. */
#define PLAY_NAP_NS      200000000ll
#define PLAY_KEYS_NAP_NS 20000000ll
/* While there is nothing to wait for, keys, endpoint and status line are looked at this often. */
#define PLAY_ATTEND_NS 5000000ll
/* … but not just before a message is due. */
#define PLAY_LEISURE_NS 500000ll
enum { PLAY_FLAT_OUT_TURN = 64 }; /* messages between two looks at the clock */
/* What is late by more than this was due before the message was read: it goes with others in one
 * write. */
#define PLAY_ON_TIME_NS 200000ll

/* Set by the signal handler, which also stops a source in the middle of reading. */
static volatile sig_atomic_t stopped;
static struct tape_transport *stoppable;

/* The second signal ends the process at once. */
static void on_signal(int number)
{
    if (stopped) {
        tape_keys_restore();
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    stopped = 1;
    if (stoppable)
        tape_transport_stop(stoppable);
}

static void take_signals(struct tape_transport *transport)
{
    struct sigaction stop = {.sa_handler = on_signal};
    sigemptyset(&stop.sa_mask);
    stoppable = transport;
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

/* 1 when the reader of a pipe or socket is gone, which a write would tell too late. */
static int consumer_gone(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

static int is_ended(const struct tape_play *play)
{
    return stopped || play->quit;
}

static int flush(struct tape_play *play, struct tape_error *error)
{
    int status = tape_output_flush(play->output, error);
    tape_transport_blocked(play->transport, tape_output_take_blocked(play->output));
    return status;
}

static void show_line(struct tape_play *play, int64_t now_ns)
{
    struct tape_transport_state state;
    if (!tape_status_line_is_due(&play->line, now_ns))
        return;
    tape_transport_read_state(play->transport, now_ns, &state);
    tape_status_line_show(&play->line, &state, now_ns);
}

/* Whoever wants something of us or should be told something: between two messages. */
static int attend(struct tape_play *play, int64_t now_ns, struct tape_error *error)
{
    int status = 0;
    play->attended_ns = now_ns;
    if (play->has_keys)
        tape_play_heed_keys(play, now_ns);
    if (play->server)
        status = tape_server_poll(play->server, now_ns, 0, error);
    tape_play_tell_damages(play);
    show_line(play, now_ns);
    if (status == 0 && consumer_gone())
        status = tape_error_set(error, TAPE_CLOSED, "standard output: nobody reads any more");
    return status;
}

int tape_play_idle(void *context)
{
    struct tape_play *play = context;
    struct tape_error error;
    return attend(play, tape_pace_now(), &error) < 0 || is_ended(play);
}

static int attend_again(struct tape_play *play, int64_t now_ns, struct tape_error *error)
{
    return now_ns - play->attended_ns >= PLAY_ATTEND_NS ? attend(play, now_ns, error) : 0;
}

/* Sleeps, or lets the endpoint wait. */
static int nap(struct tape_play *play, int64_t until_ns, int64_t spin_ns, struct tape_error *error)
{
    if (play->server)
        return tape_server_poll(play->server, until_ns, spin_ns, error);
    tape_pace_sleep(until_ns, spin_ns);
    return 0;
}

/* Until then, or a command, or a signal; what waits in the buffer leaves before. */
static int wait_until(struct tape_play *play, int64_t until_ns, struct tape_error *error)
{
    int64_t longest_ns = play->has_keys || play->line.mode == TAPE_STATUS_LINE_REDRAWN
                             ? PLAY_KEYS_NAP_NS
                             : PLAY_NAP_NS;
    uint64_t commands = play->commands;
    int status = flush(play, error);
    int64_t now_ns = tape_pace_now();
    if (play->options->follow)
        tape_play_tell_follow(play);
    if (status == 0 && (until_ns - now_ns > PLAY_LEISURE_NS || play->options->follow))
        status = attend_again(play, now_ns, error);
    for (now_ns = tape_pace_now();
         status == 0 && now_ns < until_ns && !is_ended(play) && play->commands == commands;
         now_ns = tape_pace_now()) {
        int piece = until_ns - now_ns > longest_ns;
        status =
            nap(play, piece ? now_ns + longest_ns : until_ns, piece ? 0 : play->spin_ns, error);
        if (status == 0 && piece)
            status = attend(play, tape_pace_now(), error);
    }
    return status;
}

static int put(struct tape_play *play, const struct tape_transport_item *item,
               struct tape_error *error)
{
    /* An injected cut has no place in any format; a recorded one is the event that tells of it. */
    if (item->action == TAPE_FAULTS_CUT &&
        (item->message.payload.bytes == 0 || !tape_output_wants(play->output, &item->message)))
        return 0;
    int status = tape_output_put(play->output, &item->message, item->due_ns, error);
    if (item->due_ns == TAPE_TRANSPORT_NO_DUE)
        return status;
    tape_transport_blocked(play->transport, tape_output_take_blocked(play->output));
    if (status == 0 && tape_pace_now() - item->due_ns < PLAY_ON_TIME_NS)
        status = flush(play, error);
    return status;
}

static int play_all(struct tape_play *play, struct tape_error *error)
{
    struct tape_transport_item item;
    int64_t now_ns = tape_pace_now(), until_ns;
    int status = 0, turn = 0;
    while (!is_ended(play)) {
        int got = tape_transport_next(play->transport, now_ns, &item, &until_ns, error);
        if (got == 1)
            status = put(play, &item, error);
        else if (got == 2)
            status = wait_until(play, until_ns, error);
        if (got <= 0 || status < 0) {
            tape_play_tell_damages(play);
            return got < 0 ? got : status < 0 ? status : flush(play, error);
        }
        if (got == 1 && item.due_ns == TAPE_TRANSPORT_NO_DUE && ++turn < PLAY_FLAT_OUT_TURN)
            continue;
        turn = 0;
        if (tape_output_is_ripe(play->output) && (status = flush(play, error)) < 0)
            return status;
        now_ns = tape_pace_now();
        if (got == 1 && (status = attend_again(play, now_ns, error)) < 0)
            return status;
    }
    return flush(play, error);
}

/* --- the end --- */

static int why_ended(const struct tape_play *play, int status)
{
    if (stopped || play->quit)
        return TAPE_RECEIPT_SIGNAL;
    if (status == TAPE_CLOSED)
        return TAPE_RECEIPT_CONSUMER;
    if (status < 0)
        return TAPE_RECEIPT_FAILURE;
    return play->options->follow ? TAPE_RECEIPT_RECORDER : TAPE_RECEIPT_ARCHIVE;
}

static int write_receipt(struct tape_play *play, struct tape_error *error)
{
    if (play->receipt_fd < 0)
        return 0;
    FILE *to = fdopen(play->receipt_fd, "w");
    play->receipt_fd = -1;
    if (!to)
        return tape_error_errno(error, errno, "receipt %.700s", play->options->receipt);
    if (ftruncate(fileno(to), 0) < 0)
        errno = 0; /* a pipe or a device: nothing to cut */
    int bad =
        tape_receipt_print_json(&play->receipt, tape_transport_source(play->transport), to) < 0;
    bad |= fclose(to) == EOF;
    return bad ? tape_error_errno(error, errno, "receipt %.700s", play->options->receipt) : 0;
}

static void fill_receipt(struct tape_play *play, int status, int64_t began_ns)
{
    struct tape_source_state state;
    struct tape_receipt *receipt = &play->receipt;
    int64_t now_ns = tape_pace_now();
    tape_source_read_state(tape_transport_source(play->transport), &state);
    receipt->end = why_ended(play, status);
    tape_output_read_totals(play->output, &receipt->totals, receipt->digest);
    tape_transport_read_state(play->transport, now_ns, &receipt->transport);
    receipt->wall_ns = now_ns - began_ns;
    receipt->cpu_ns = cpu_ns();
    receipt->overruns = state.overruns;
    receipt->blocks_read = state.blocks_read;
}

/* Writes the receipts. An interrupted replay is a success: what was emitted is exact. */
static int finish(struct tape_play *play, int status, int64_t began_ns, struct tape_error *error)
{
    struct tape_source *source = tape_transport_source(play->transport);
    struct tape_error late = {0};
    FILE *to = tape_play_notices(play);
    fill_receipt(play, status, began_ns);
    tape_play_tell_left(play);
    tape_play_tell_apart(play);
    if (play->options->json)
        tape_receipt_print_json(&play->receipt, source, to);
    else
        tape_receipt_print(&play->receipt, source, to);
    tape_play_tell_nothing_matched(play);
    if (play->receipt.end == TAPE_RECEIPT_SIGNAL || play->receipt.end == TAPE_RECEIPT_CONSUMER)
        status = 0;
    int written = write_receipt(play, &late);
    if (status >= 0 && written < 0) {
        *error = late;
        return written;
    }
    if (status >= 0 && tape_source_damages(source) > 0)
        return tape_error_set(error, TAPE_CORRUPT, "%s", "");
    if (status >= 0 && tape_transport_check_late(play->transport, error) < 0)
        return tape_error_wrap(error, "--max-late");
    return status;
}

int tape_play_run(const struct tape_options *options, FILE *notices, struct tape_error *error)
{
    struct tape_play play = {.options = options, .notices = notices, .receipt_fd = -1};
    struct tape_source_state state;
    int64_t began_ns = tape_pace_now();
    int status = tape_play_open(&play, &stopped, error);
    if (status == 0) {
        take_signals(play.transport);
        tape_pace_sharpen();
        tape_status_line_begin(&play.line, notices,
                               !options->json && !options->follow && !isatty(STDOUT_FILENO),
                               began_ns);
        tape_source_read_state(tape_transport_source(play.transport), &state);
        if (options->follow && !state.recorder_alive)
            fputs("tape-replay: nothing records into this archive: it ends where it ends\n",
                  notices);
        status = finish(&play, play_all(&play, error), began_ns, error);
    }
    stoppable = NULL;
    tape_play_close(&play);
    return status;
}
