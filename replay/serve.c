#include "replay/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay/control_http.h"
#include "replay/notices.h"
#include "replay/object.h"
#include "replay/pace.h"
#include "replay/printable.h"
#include "replay/serve_internal.h"
#include "replay/span.h"

#define NAP_NS    500000000ll  /* a signal that came just before a wait is seen by then */
#define FINISH_NS 2000000000ll /* for clients to take what is theirs */
#define GATHER_NS 250000000ll

/* Of each client: little enough that some hundred of them may lag, and twice what a session gives
 * at a time. */
enum { QUEUE_MAX_BYTES = 2 * TAPE_SESSION_SLICE_BYTES };

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static void take_signals(void)
{
    struct sigaction action = {.sa_handler = stop}, hangup;
    stopped = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, NULL, &hangup);
    if (hangup.sa_handler != SIG_IGN) /* as nohup(1) has it */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- sessions ---- */

struct tape_session *tape_serve_find(const struct tape_serve *serve, const char *name)
{
    for (int i = 0; i < serve->sessions_count; i++)
        if (strcmp(tape_session_name(serve->sessions[i]), name) == 0)
            return serve->sessions[i];
    return NULL;
}

static void keep_failure(struct tape_serve *serve, const struct tape_error *error)
{
    if (serve->failure.status == 0)
        serve->failure = *error;
}

static void write_receipt(struct tape_serve *serve, const char *line)
{
    struct tape_error error = {0};
    size_t bytes = strlen(line);
    if (serve->receipt_fd < 0 || write(serve->receipt_fd, line, bytes) == (ssize_t)bytes)
        return;
    tape_error_errno(&error, errno ? errno : EIO, "receipt %.700s", serve->options->receipt);
    keep_failure(serve, &error);
}

void tape_serve_tell(struct tape_serve *serve, struct tape_session *session)
{
    struct tape_error error = {0};
    int64_t now_ns = tape_pace_now();
    if (!serve->options->json)
        tape_session_tell_receipt(session, now_ns, serve->notices);
    cJSON *receipt = tape_session_take_receipt(session, now_ns);
    if (!receipt)
        return;
    char *text = cJSON_PrintUnformatted(receipt), *line = NULL;
    if (text && asprintf(&line, "%s\n", text) > 0) {
        if (serve->options->json)
            fputs(line, serve->notices);
        write_receipt(serve, line);
        free(line);
    }
    fflush(serve->notices);
    cJSON_free(text);
    cJSON_Delete(receipt);
    serve->damaged |= tape_session_damages(session) > 0;
    if (tape_transport_check_late(tape_session_transport(session), &error) < 0)
        keep_failure(serve, &error);
}

static void close_session(struct tape_serve *serve, int index)
{
    struct tape_session *session = serve->sessions[index];
    tape_serve_tell(serve, session);
    tape_session_close(session);
    serve->sessions_count--;
    memmove(serve->sessions + index, serve->sessions + index + 1,
            (size_t)(serve->sessions_count - index) * sizeof *serve->sessions);
}

/* Room for one more: a named one that nobody is in goes. */
static int make_room(struct tape_serve *serve, struct tape_error *error)
{
    for (int i = 1; serve->sessions_count == TAPE_SERVE_SESSIONS_MAX && i < serve->sessions_count;
         i++)
        if (tape_session_members(serve->sessions[i]) == 0)
            close_session(serve, i);
    return serve->sessions_count < TAPE_SERVE_SESSIONS_MAX
               ? 0
               : tape_error_set(error, TAPE_LIMIT, "there are %d sessions already: no more",
                                TAPE_SERVE_SESSIONS_MAX);
}

struct tape_session *tape_serve_open_session(struct tape_serve *serve,
                                             const struct tape_session_options *options,
                                             struct tape_error *error)
{
    if (make_room(serve, error) < 0)
        return NULL;
    struct tape_session *session = tape_session_open(options, error);
    if (session) {
        serve->sessions[serve->sessions_count++] = session;
        serve->opened++;
    }
    return session;
}

/* ---- setting up ---- */

static int open_receipt(struct tape_serve *serve, struct tape_error *error)
{
    const char *path = serve->options->receipt;
    if (!path)
        return 0;
    serve->receipt_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    return serve->receipt_fd < 0 ? tape_error_errno(error, errno, "receipt %.700s", path) : 0;
}

/* The times of injected faults count from the start of the recording. */
static int load_faults(struct tape_serve *serve, struct tape_error *error)
{
    struct tape_source_options ignored = {0};
    const struct tape_timespec start = {TAPE_TIMESPEC_START, 0};
    if (!serve->options->faults)
        return 0;
    serve->faults = tape_faults_load(serve->options->faults, error);
    if (!serve->faults)
        return error->status;
    if (!tape_faults_needs_start(serve->faults))
        return 0;
    int status = tape_serve_resolve(serve, &start, NULL, &ignored, error);
    if (status == 0)
        tape_faults_resolve(serve->faults, serve->first_ns);
    return status;
}

static int describe_main(struct tape_serve *serve, struct tape_error *error)
{
    const struct tape_options *options = serve->options;
    double unsaid = options->follow ? 0 : 1;
    serve->main = (struct tape_session_options){
        .name = TAPE_SERVE_MAIN,
        .archives = options->archives,
        .archives_count = options->archives_count,
        .transport = {.speed = options->speed < 0 ? unsaid : options->speed,
                      .paused = options->paused,
                      .loop = options->loop,
                      .drop_late_ns = options->drop_late_ns,
                      .max_late_ns = options->max_late_ns,
                      .faults = serve->faults,
                      .source = {.stream = options->stream,
                                 .follow = options->follow,
                                 .spin = options->spin_ns > 0,
                                 .order = options->order,
                                 .duplicates = options->duplicates}},
        .clients = options->clients,
        .gather_ns = options->gather_ns ? options->gather_ns : GATHER_NS,
        .at_end = options->at_end,
        .digest = options->digest,
        .notices = serve->notices,
        .streams = &serve->streams,
        .asked = &serve->asked,
        .server = serve->server,
    };
    return tape_serve_resolve(serve, options->from.given ? &options->from.time : NULL,
                              options->to.given ? &options->to.time : NULL,
                              &serve->main.transport.source, error);
}

static int open_server(struct tape_serve *serve, struct tape_error *error)
{
    const struct tape_options *options = serve->options;
    struct tape_venue_limits limits = {.ping_ns = 180000000000, .pong_ns = 600000000000};
    if (serve->venue)
        tape_venue_read_limits(serve->venue, &limits);
    struct tape_server_options asked = {
        .listen = options->listen ? options->listen : "127.0.0.1:9080",
        .certificate = options->cert,
        .key = options->key,
        .ping_ns = options->ping_ns ? options->ping_ns : limits.ping_ns,
        .pong_ns = limits.pong_ns,
        .queue_max_bytes = QUEUE_MAX_BYTES,
        .messages_per_second = limits.messages_per_second,
        .handler = tape_serve_handler(serve),
    };
    serve->server = tape_server_open(&asked, error);
    return serve->server ? 0 : error->status;
}

static int open_serve(struct tape_serve *serve, struct tape_error *error)
{
    int status = tape_serve_load_venue(serve, error);
    if (status < 0 || (status = load_faults(serve, error)) < 0 ||
        (status = describe_main(serve, error)) < 0 || (status = open_receipt(serve, error)) < 0 ||
        (status = open_server(serve, error)) < 0)
        return status;
    serve->main.server = serve->server;
    return tape_serve_open_session(serve, &serve->main, error) ? 0 : error->status;
}

static void tell_address(const struct tape_serve *serve)
{
    const struct tape_options *options = serve->options;
    char archives[300];
    tape_printable_text(archives, sizeof archives, options->archive, strlen(options->archive));
    fprintf(serve->notices, "tape-replay: serving %s", archives);
    if (options->archives_count > 1)
        fprintf(serve->notices, " and %d more", options->archives_count - 1);
    fprintf(serve->notices, " as %s at %s://%s\n",
            serve->venue ? tape_venue_name(serve->venue) : "no venue that is known",
            options->cert ? "wss" : "ws", tape_server_address(serve->server));
    if (!tape_control_is_local(tape_server_address(serve->server)))
        fputs("tape-replay: whoever reaches this address may watch and command\n", serve->notices);
    int compares = options->archives_count > 1 && options->duplicates <= 0 && !options->follow;
    if (compares && tape_span_are_apart(options->archives, options->archives_count))
        fputs("tape-replay: the archives share no time: nothing can be compared\n", serve->notices);
    fflush(serve->notices);
}

/* ---- the loop ---- */

/* Sessions that are over: their receipts, and the end of those that were of one connection. */
static void sweep(struct tape_serve *serve)
{
    for (int i = serve->sessions_count - 1; i >= 0; i--) {
        struct tape_session *session = serve->sessions[i];
        if (tape_session_ended(session))
            tape_serve_tell(serve, session);
        if (!tape_session_is_over(session))
            continue;
        serve->over |= tape_session_has_begun(session);
        if (i > 0 && strncmp(tape_session_name(session), "private-", 8) == 0)
            close_session(serve, i);
    }
}

static int run(struct tape_serve *serve, struct tape_error *error)
{
    const struct tape_options *options = serve->options;
    while (!stopped && !(serve->over && options->at_end == TAPE_OPTIONS_AT_END_EXIT)) {
        int64_t now_ns = tape_pace_now(), until_ns = now_ns + NAP_NS;
        for (int i = 0; i < serve->sessions_count; i++) {
            struct tape_error failed = {0};
            if (tape_session_run(serve->sessions[i], now_ns, &until_ns, &failed) < 0)
                keep_failure(serve, &failed);
        }
        int status = tape_server_poll(serve->server, until_ns, options->spin_ns, error);
        if (status < 0)
            return status;
        sweep(serve);
    }
    return 0;
}

static void close_serve(struct tape_serve *serve)
{
    if (serve->server && stopped)
        tape_server_finish(serve->server, 1001, "the server ends", tape_pace_now() + FINISH_NS);
    else if (serve->server)
        tape_server_finish(serve->server, 1000, "end of replay", tape_pace_now() + FINISH_NS);
    tape_server_close(serve->server);
    while (serve->sessions_count > 0)
        close_session(serve, serve->sessions_count - 1);
    if (serve->receipt_fd >= 0)
        close(serve->receipt_fd);
    tape_faults_free(serve->faults);
    tape_session_streams_free(&serve->streams);
    tape_source_asked_clear(&serve->asked);
    tape_venue_free(serve->venue);
}

int tape_serve_run(const struct tape_options *options, FILE *notices, struct tape_error *error)
{
    struct tape_serve serve = {
        .options = options, .notices = tape_notices_open(notices), .receipt_fd = -1};
    if (!serve.notices)
        return tape_error_set(error, TAPE_FAILED, "no memory for notices");
    int status = open_serve(&serve, error);
    if (status == 0) {
        take_signals();
        tape_pace_sharpen();
        tell_address(&serve);
        status = run(&serve, error);
    }
    close_serve(&serve);
    fclose(serve.notices);
    if (status == 0 && serve.failure.status < 0) {
        *error = serve.failure;
        status = serve.failure.status;
    }
    if (status == 0 && serve.damaged)
        return tape_error_set(error, TAPE_CORRUPT, "%s", "");
    return status;
}
