/* tape-record: the command. The main thread waits for signals, watches, and shows progress. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "format/venue.h"
#include "record/clock.h"
#include "record/import.h"
#include "record/options.h"
#include "record/pack_archive.h"
#include "record/progress.h"
#include "record/prune_hand.h"
#include "record/receive.h"
#include "record/repair.h"
#include "record/snapshot.h"
#include "record/store.h"
#include "record/thread.h"
#include "record/watch.h"

enum { COMMAND_BYTES = 4096, PROFILE_MAX_BYTES = 1 << 20 };
#define TURN_NS 100000000ll
#define TRIAL_NS                                                                                   \
    60000000000ll /* a new archive of a run that tries no longer in vain is taken back */

/* What one run holds. */
struct run {
    struct tape_options options;
    char command[COMMAND_BYTES];
    struct tape_progress progress;
    struct tape_venue *venue;
    struct tape_watch *watch;
    struct tape_snapshot *snapshot; /* NULL: none are fetched */
    struct tape_store *store;
    struct tape_receive *receive;
    sigset_t signals;
    int64_t began_ns;
    char trouble[256];      /* the last connection failure that was told */
    char pack_trouble[256]; /* that was told */
    char prune_trouble[256];
    uint64_t pruned_segments;
    int disk_full_told, index_broken_told;
};

/* Words of a server, or of a file name, may stand in it: they must not command the terminal. */
static int fail(const struct tape_error *error)
{
    char text[TAPE_ERROR_TEXT_BYTES];
    tape_progress_printable(text, sizeof text, error->text);
    fprintf(stderr, "tape-record: %s\n", text);
    return tape_error_exit_code(error->status);
}

/* What was told on standard output counts only when it got there. */
static int close_output(int code)
{
    struct tape_error error = {0};
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    tape_error_errno(&error, errno ? errno : EIO, "standard output");
    fail(&error);
    return code ? code : 1;
}

/* A file of the archive must not get the number of a closed standard stream: what is meant for that
 * would be written into it. These give an error when used. */
static void fill_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static void say_info(void *context, const char *words)
{
    tape_progress_say(context, "info", words);
}

static void say_warning(void *context, const char *words)
{
    tape_progress_say(context, "warn", words);
}

static void say_output(void *context, const char *words)
{
    (void)context;
    printf("%s\n", words);
}

/* ---- signals ---- */

static void end_at_once(int signal_number)
{
    static const char words[] =
        "\ntape-record: stopped at once; the next start takes over what the ring holds\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
    _exit(1);
}

/* Opening a large archive may take long: until all of it runs a signal ends the process as always,
 * and the next start recovers. From here on only the main thread takes signals, where it waits for
 * them. */
static void take_signals(struct run *run)
{
    sigemptyset(&run->signals);
    sigaddset(&run->signals, SIGINT);
    sigaddset(&run->signals, SIGTERM);
    sigaddset(&run->signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &run->signals, NULL);
}

/* Once the end has begun a second SIGINT or SIGTERM cuts it short: recovery does the rest. */
static void allow_end_at_once(const struct run *run)
{
    struct sigaction action = {.sa_handler = end_at_once};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &run->signals, NULL);
}

/* 1 when a signal came within the time. */
static int wait_for_signal(const struct run *run, int64_t ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    return sigtimedwait(&run->signals, NULL, &time) > 0;
}

/* ---- shown ---- */

static int64_t disk_free_bytes(const char *path)
{
    struct statvfs state;
    return statvfs(path, &state) == 0 ? (int64_t)(state.f_bavail * state.f_frsize) : -1;
}

static void tell_store_trouble(struct run *run, const struct tape_store_state *state)
{
    char words[400];
    if (state->disk_full && !run->disk_full_told) {
        snprintf(words, sizeof words, "%s: the ring holds what comes until the disk takes it",
                 state->message);
        say_warning(&run->progress, words);
    } else if (!state->disk_full && run->disk_full_told) {
        snprintf(words, sizeof words, "the disk takes bytes again; %" PRIu64 " frames were lost",
                 state->discarded_frames);
        say_warning(&run->progress, words);
    }
    run->disk_full_told = state->disk_full;
    if (state->index_broken && !run->index_broken_told)
        say_warning(&run->progress, "index.db cannot be written: recording goes on, the next start "
                                    "brings it up to date");
    run->index_broken_told = state->index_broken;
    if (strcmp(state->pack_trouble, run->pack_trouble) != 0) {
        snprintf(run->pack_trouble, sizeof run->pack_trouble, "%s", state->pack_trouble);
        if (run->pack_trouble[0] != '\0')
            say_warning(&run->progress, run->pack_trouble);
    }
    if (state->pruned_segments != run->pruned_segments)
        say_info(&run->progress, state->pruned_last);
    run->pruned_segments = state->pruned_segments;
    if (strcmp(state->prune_trouble, run->prune_trouble) != 0) {
        snprintf(run->prune_trouble, sizeof run->prune_trouble, "%s", state->prune_trouble);
        if (run->prune_trouble[0] != '\0')
            say_warning(&run->progress, run->prune_trouble);
    }
}

static void tell_trouble(struct run *run, const struct tape_receive_state *state)
{
    if (strcmp(state->last_trouble, run->trouble) == 0)
        return;
    snprintf(run->trouble, sizeof run->trouble, "%s", state->last_trouble);
    if (run->trouble[0] != '\0')
        say_warning(&run->progress, run->trouble);
}

/* One turn of the main thread. */
static void look(struct run *run)
{
    struct tape_store_state store;
    struct tape_watch_state watch = {0};
    struct tape_receive_state receive = {0};
    struct tape_progress_figures figures = {.store = &store};
    figures.monotonic_ns = tape_clock_monotonic();
    figures.realtime_ns = tape_clock_realtime();
    if (run->watch) {
        tape_watch_tick(run->watch, run->store, figures.monotonic_ns, say_warning, &run->progress);
        tape_watch_read_state(run->watch, &watch);
    }
    if (run->receive) {
        tape_receive_read_state(run->receive, &receive);
        tell_trouble(run, &receive);
    }
    tape_store_read_state(run->store, &store);
    tell_store_trouble(run, &store);
    figures.streams_live = watch.live;
    figures.streams_asked = watch.asked;
    figures.connections_open = receive.connections_open;
    figures.connections_planned = receive.connections_planned;
    figures.redials = receive.redials;
    figures.disk_free_bytes = disk_free_bytes(run->options.archive);
    tape_progress_show(&run->progress, &figures);
}

static void tell_sum(struct run *run, const struct tape_store_state *state, const char *archive)
{
    char words[500];
    double seconds = (double)(tape_clock_monotonic() - run->began_ns) / 1e9;
    snprintf(words, sizeof words,
             "%" PRIu64 " messages (%" PRIu64 " bytes) in %.1f s, %" PRIu64 " bytes in %.300s",
             state->frames, state->frame_bytes, seconds, state->stored_bytes, archive);
    tape_progress_say(&run->progress, "info", words);
}

static void tell_taken_back(struct run *run)
{
    char words[500];
    snprintf(words, sizeof words,
             "no connection came about: %.300s, which this run had made, is removed",
             run->options.archive);
    tape_progress_say(&run->progress, "info", words);
}

/* ---- capture ---- */

static char *read_file(const char *path, size_t *bytes, struct tape_error *error)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(PROFILE_MAX_BYTES + 1);
    if (file == NULL || text == NULL) {
        tape_error_errno(error, errno, "%.700s: open", path);
    } else {
        *bytes = fread(text, 1, PROFILE_MAX_BYTES + 1, file);
        if (ferror(file))
            tape_error_errno(error, errno, "%.700s: read", path);
        else if (*bytes > PROFILE_MAX_BYTES)
            tape_error_set(error, TAPE_LIMIT, "%.700s: longer than 1 MiB", path);
    }
    if (file)
        fclose(file);
    if (error->status == 0)
        return text;
    free(text);
    return NULL;
}

static int load_venue(struct run *run, const char *fallback, struct tape_error *error)
{
    const struct tape_options *options = &run->options;
    if (options->profile) {
        size_t bytes = 0;
        char *text = read_file(options->profile, &bytes, error);
        if (text == NULL)
            return error->status;
        run->venue = tape_venue_parse(text, bytes, options->profile, error);
        free(text);
    } else if (options->venue || fallback) {
        run->venue = tape_venue_load(options->venue ? options->venue : fallback, error);
    } else {
        return 0;
    }
    return run->venue ? 0 : error->status;
}

/* Writer thread. */
static void watch_message(void *context, const struct tape_message *message)
{
    struct run *run = context;
    tape_watch_message(run->watch, message);
    if (run->snapshot)
        tape_snapshot_message(run->snapshot, message);
}

static struct tape_prune_limits limits_of(const struct tape_options *options)
{
    return (struct tape_prune_limits){options->keep_age_ns, options->keep_bytes,
                                      options->keep_free_bytes};
}

static void fill_store_options(struct run *run, struct tape_store_options *to)
{
    const struct tape_options *from = &run->options;
    to->ring_bytes = from->ring_bytes;
    to->sync = from->sync == TAPE_OPTIONS_SYNC_BLOCK  ? TAPE_STORE_SYNC_BLOCK
               : from->sync == TAPE_OPTIONS_SYNC_NONE ? TAPE_STORE_SYNC_NONE
                                                      : TAPE_STORE_SYNC_INTERVAL;
    to->sync_ns = from->sync > 0 ? from->sync : 0;
    to->seal_ns = from->segment_ns;
    to->seal_raw_bytes = (int64_t)from->segment_bytes;
    to->pack = !from->no_pack;
    to->prune = limits_of(from);
    to->command = run->command;
    to->say = say_info;
    to->say_context = &run->progress;
    if (run->watch) {
        to->trial_ns = TRIAL_NS;
        to->watch = watch_message;
        to->watch_context = run;
    }
}

static int open_store(struct run *run, struct tape_error *error)
{
    struct tape_store_options options = {0};
    fill_store_options(run, &options);
    run->store = tape_store_open(run->options.archive, &options, error);
    run->began_ns = tape_clock_monotonic();
    take_signals(run);
    return run->store ? 0 : error->status;
}

static int plan(struct run *run, struct tape_error *error)
{
    const struct tape_options *from = &run->options;
    struct tape_receive_options to = {
        .venue = run->venue,
        .url = from->url,
        .ca_file = from->ca_file,
        .streams = (const char *const *)from->streams,
        .streams_count = from->streams_count,
        .connections = (int)from->connections,
        .busy_poll = from->busy_poll,
        .handshake_ns = from->handshake_ns,
        .message_limit_bytes = from->message_limit_bytes,
        .stop_after_frames = from->frames,
    };
    run->receive = tape_receive_plan(&to, error);
    return run->receive ? 0 : error->status;
}

/* Snapshots come from the venue's own host where its feed does, else from where the user says. */
static int plan_snapshots(struct run *run, struct tape_error *error)
{
    const char *base = run->options.snapshots;
    if (base ? strcmp(base, "off") == 0 : run->options.url != NULL)
        return 0;
    run->snapshot = tape_snapshot_new(run->venue, base, run->options.ca_file, error);
    return run->snapshot ? 0 : error->status;
}

static int start(struct run *run, struct tape_error *error)
{
    int status = tape_receive_start(run->receive, run->store, error);
    if (status == 0 && run->snapshot)
        status = tape_snapshot_start(run->snapshot, run->store, error);
    if (status < 0)
        tape_receive_stop(run->receive);
    return status;
}

/* Until something ends it: the reason for the session's record. */
static const char *stay(struct run *run, struct tape_error *error)
{
    int64_t for_ns = run->options.for_ns;
    for (;;) {
        int64_t left = TURN_NS;
        struct tape_store_state state;
        if (for_ns > 0) {
            left = run->began_ns + for_ns - tape_clock_monotonic();
            if (left <= 0)
                return "duration";
        }
        if (wait_for_signal(run, left < TURN_NS ? left : TURN_NS))
            return "signal";
        look(run);
        if (tape_receive_done(run->receive, error))
            return error->status < 0 ? "error" : "frames";
        tape_store_read_state(run->store, &state);
        if (state.failed) {
            tape_error_set(error, TAPE_FAILED, "%s", state.message);
            return "error";
        }
    }
}

static int close_store(struct run *run, const char *reason, struct tape_error *error)
{
    struct tape_error closing = {0};
    struct tape_store_state state;
    int status = tape_store_end(run->store, reason, &state, &closing);
    run->store = NULL;
    tape_progress_end(&run->progress);
    if (status < 0 && error->status == 0)
        *error = closing;
    if (status == 0 && state.taken_back)
        tell_taken_back(run);
    else if (status == 0)
        tell_sum(run, &state, run->options.archive);
    return error->status < 0 ? fail(error) : 0;
}

static int capture(struct run *run, struct tape_error *error)
{
    if (load_venue(run, "usdm", error) < 0 || plan(run, error) < 0 ||
        plan_snapshots(run, error) < 0)
        return fail(error);
    run->watch = tape_watch_new(run->venue, run->options.deadline_ns);
    if (run->watch == NULL) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return fail(error);
    }
    if (open_store(run, error) < 0)
        return fail(error);
    if (start(run, error) < 0)
        return close_store(run, "error", error);
    const char *reason = stay(run, error);
    allow_end_at_once(run);
    tape_snapshot_stop(run->snapshot);
    tape_receive_stop(run->receive);
    look(run);
    return close_store(run, reason, error);
}

/* ---- import ---- */

struct import_thread {
    struct run *run;
    struct tape_import_options options;
    struct tape_import_report report;
    struct tape_error error;
    atomic_int stop;
    int ended; /* under lock */
    pthread_mutex_t lock;
};

static void *run_import(void *context)
{
    struct import_thread *thread = context;
    tape_import_run(&thread->options, thread->run->store, &thread->report, &thread->error);
    pthread_mutex_lock(&thread->lock);
    thread->ended = 1;
    pthread_mutex_unlock(&thread->lock);
    return NULL;
}

static int has_ended(struct import_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    int ended = thread->ended;
    pthread_mutex_unlock(&thread->lock);
    return ended;
}

static int import_into_store(struct run *run, struct import_thread *thread,
                             struct tape_error *error)
{
    pthread_t id;
    if (tape_thread_start(&id, "tape-import", run_import, thread, error) < 0)
        return close_store(run, "error", error);
    int stopped = 0;
    while (!has_ended(thread)) {
        if (!stopped && wait_for_signal(run, TURN_NS / 10)) {
            stopped = 1;
            atomic_store(&thread->stop, 1);
            allow_end_at_once(run);
        } else if (stopped) {
            usleep(10000);
        }
        look(run);
    }
    pthread_join(id, NULL);
    if (!stopped)
        allow_end_at_once(run);
    *error = thread->error;
    if (thread->report.again)
        say_warning(&run->progress, "lines of that time were imported before: these are appended; "
                                    "play --duplicates remove gives each once");
    return close_store(run, stopped ? "signal" : error->status < 0 ? "error" : "end", error);
}

static int import(struct run *run, struct tape_error *error)
{
    const char *file = run->options.import_file;
    struct import_thread thread = {.run = run, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct stat state = {0};
    if (strcmp(file, "-") != 0 &&
        (access(file, R_OK) < 0 || (stat(file, &state) == 0 && S_ISDIR(state.st_mode)))) {
        tape_error_errno(error, S_ISDIR(state.st_mode) ? EISDIR : errno, "%.700s: open", file);
        return fail(error);
    }
    if (load_venue(run, NULL, error) < 0 || open_store(run, error) < 0)
        return fail(error);
    thread.options.file = file;
    thread.options.venue = run->venue ? tape_venue_name(run->venue) : "";
    thread.options.stop = &thread.stop;
    return import_into_store(run, &thread, error);
}

/* ---- the command ---- */

static int repair(struct run *run, struct tape_error *error)
{
    int lost = 0;
    if (tape_repair_run(run->options.archive, say_output, NULL, &lost, error) < 0)
        return fail(error);
    return lost ? 3 : 0;
}

static atomic_int pack_stop;

/* The second signal ends it at once: the next start removes what it leaves. */
static void stop_packing(int signal_number)
{
    signal(signal_number, SIG_DFL);
    atomic_store(&pack_stop, 1);
}

static void tell_packed(const struct run *run, const struct tape_pack_report *report)
{
    double seconds = (double)(tape_clock_monotonic() - run->began_ns) / 1e9;
    double times =
        report->bytes_after > 0 ? (double)report->bytes_before / (double)report->bytes_after : 1;
    if (run->options.quiet)
        return;
    if (report->packed == 0 && report->left == 0 && !report->stopped)
        printf("nothing to pack: %u segments are packed\n", report->segments);
    else
        printf("%u segments packed, %" PRIu64 " records: %" PRIu64 " bytes became %" PRIu64
               " (%.2f to 1) in %.1f s%s\n",
               report->packed, report->records, report->bytes_before, report->bytes_after, times,
               seconds, report->stopped ? "; stopped before all were" : "");
    if (report->left > 0)
        printf("%u segments are damaged and stay as they are\n", report->left);
}

static int pack_archive(struct run *run, struct tape_error *error)
{
    struct tape_pack_report report;
    run->began_ns = tape_clock_monotonic();
    signal(SIGINT, stop_packing);
    signal(SIGTERM, stop_packing);
    int status = tape_pack_archive(run->options.archive, run->options.level, &pack_stop,
                                   &run->progress, &report, error);
    if (status == 0 || report.packed > 0)
        tell_packed(run, &report);
    if (status < 0)
        return fail(error);
    return report.left > 0 || report.lost ? 3 : 0;
}

static int prune(struct run *run, struct tape_error *error)
{
    const struct tape_options *options = &run->options;
    struct tape_prune_limits limits = limits_of(options);
    int status = (options->dry_run ? tape_prune_hand_try : tape_prune_hand_run)(
        options->archive, &limits, say_output, NULL, error);
    return status < 0 ? fail(error) : 0;
}

static void join_command(char command[COMMAND_BYTES], int argc, char **argv)
{
    size_t used = 0;
    command[0] = '\0';
    for (int i = 0; i < argc && used < COMMAND_BYTES - 1; i++) {
        int added = snprintf(command + used, COMMAND_BYTES - used, "%s%s", i ? " " : "", argv[i]);
        used += added > 0 ? (size_t)added : 0;
    }
}

static void free_run(struct run *run)
{
    tape_receive_free(run->receive);
    tape_snapshot_free(run->snapshot);
    tape_watch_free(run->watch);
    tape_venue_free(run->venue);
}

/* Memory that was freed stays ours: to give much of it back, and take it again, are long calls in
 * which some kernels let no other thread run. */
static void keep_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
}

int main(int argc, char **argv)
{
    static struct run run;
    struct tape_error error = {0};
    keep_memory();
    fill_standard_streams();
    join_command(run.command, argc, argv);
    if (tape_options_parse(&run.options, argc, argv, &error) < 0)
        return fail(&error);
    if (run.options.help || run.options.version) {
        if (run.options.help)
            tape_options_print_help(stdout);
        else
            printf("tape-record %s\n", TAPE_VERSION);
        return close_output(0);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like another */
    tape_progress_begin(&run.progress, run.options.log_format, run.options.quiet);
    int code = run.options.repair        ? repair(&run, &error)
               : run.options.pack        ? pack_archive(&run, &error)
               : run.options.prune       ? prune(&run, &error)
               : run.options.import_file ? import(&run, &error)
                                         : capture(&run, &error);
    free_run(&run);
    return close_output(code);
}
