/* `play` before its first message and after its last. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "replay/keys.h"
#include "replay/pace.h"
#include "replay/play_internal.h"
#include "replay/span.h"

static int resolve_times(const struct tape_options *options, struct tape_source_options *asked,
                         struct tape_error *error)
{
    int64_t first_ns = 0, last_ns = 0;
    const struct tape_options_time *from = &options->from, *to = &options->to;
    if ((from->given && from->time.base != TAPE_TIMESPEC_EPOCH) ||
        (to->given && to->time.base != TAPE_TIMESPEC_EPOCH)) {
        int status = tape_span_read_all(options->archives, options->archives_count, &first_ns,
                                        &last_ns, error);
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

static int check_together(const struct tape_options *options, double speed,
                          struct tape_error *error)
{
    if (speed == 0 && options->max_late_ns > 0)
        return tape_error_set(error, TAPE_USAGE, "--max-late needs a pace: --speed max has none");
    if (speed == 0 && options->drop_late_ns > 0)
        return tape_error_set(error, TAPE_USAGE, "--drop-late needs a pace: --speed max has none");
    if (options->loop && options->follow)
        return tape_error_set(error, TAPE_USAGE,
                              "--loop does not go with --follow: what is recorded has no end");
    return 0;
}

static int open_receipt(struct tape_play *play, struct tape_error *error)
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

/* The faults' own times count from the archives' first message, wherever the replay begins. */
static int load_faults(struct tape_play *play, struct tape_error *error)
{
    const struct tape_options *options = play->options;
    int64_t first_ns, last_ns;
    if (!options->faults)
        return 0;
    play->faults = tape_faults_load(options->faults, error);
    if (!play->faults)
        return error->status;
    if (!tape_faults_needs_start(play->faults))
        return 0;
    int status =
        tape_span_read_all(options->archives, options->archives_count, &first_ns, &last_ns, error);
    if (status == 0)
        tape_faults_resolve(play->faults, first_ns);
    return status;
}

static int wants(void *context, const struct tape_message *message)
{
    return tape_output_wants(context, message);
}

static int open_output(struct tape_play *play, const volatile sig_atomic_t *stop,
                       struct tape_error *error)
{
    const struct tape_options *options = play->options;
    struct tape_output_options out = {
        .fd = STDOUT_FILENO,
        .format = options->format,
        .all = options->all,
        .several = options->archives_count > 1,
        .digest = !options->no_digest,
        .printable = isatty(STDOUT_FILENO),
        .stop = stop,
        .idle = play->has_keys || options->control ? tape_play_idle : NULL,
        .idle_context = play,
    };
    play->output = tape_output_open(&out, error);
    return play->output ? 0 : error->status;
}

static int open_transport(struct tape_play *play, const struct tape_source_options *asked,
                          double speed, struct tape_error *error)
{
    const struct tape_options *options = play->options;
    struct tape_transport_options how = {
        .speed = speed,
        .paused = options->paused,
        .loop = options->loop,
        .drop_late_ns = options->drop_late_ns,
        .max_late_ns = options->max_late_ns,
        /* Elsewhere all that a source gives has a place. */
        .wants = options->all || options->format == TAPE_OUTPUT_HFT ? wants : NULL,
        .wants_context = play->output,
        .faults = play->faults,
        .source = *asked,
    };
    play->transport = tape_transport_open(options->archives, options->archives_count, &how, error);
    return play->transport ? 0 : error->status;
}

int tape_play_open(struct tape_play *play, const volatile sig_atomic_t *stop,
                   struct tape_error *error)
{
    const struct tape_options *options = play->options;
    double speed = options->speed < 0 ? (options->follow ? 0 : 1) : options->speed;
    int shows_states = options->format == TAPE_OUTPUT_NDJSON || options->state;
    struct tape_source_options asked = {
        .stream = options->stream,
        .follow = options->follow,
        .events = options->all,
        .spin = options->spin_ns > 0,
        .order = options->order,
        .state = shows_states ? 0 : -1,
        .duplicates = options->duplicates,
    };
    int status;
    if ((status = check_together(options, speed, error)) < 0 ||
        (status = resolve_times(options, &asked, error)) < 0 ||
        (status = open_receipt(play, error)) < 0 || (status = load_faults(play, error)) < 0)
        return status;
    play->has_keys = tape_keys_open();
    if ((status = open_output(play, stop, error)) < 0 ||
        (status = open_transport(play, &asked, speed, error)) < 0)
        return status;
    play->spin_ns = options->spin_ns;
    play->receipt = (struct tape_receipt){
        .archives = options->archives,
        .archives_count = options->archives_count,
        .format = options->format,
        .order = options->order,
        .speed = speed,
        .stream = options->stream,
        .from_ns = asked.from_ns,
        .to_ns = asked.to_ns,
    };
    if (options->paused && !play->has_keys && !options->control)
        return tape_error_set(error, TAPE_USAGE,
                              "--paused could never go on: no terminal, and no --control");
    return options->control ? tape_play_listen(play, error) : 0;
}

void tape_play_close(struct tape_play *play)
{
    tape_status_line_hide(&play->line);
    tape_keys_close();
    tape_server_close(play->server);
    if (play->receipt_fd >= 0)
        close(play->receipt_fd);
    tape_output_free(play->output);
    tape_transport_close(play->transport);
    if (play->faults)
        tape_faults_free(play->faults);
}
