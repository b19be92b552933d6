#include "record/snapshot.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/event.h"
#include "record/clock.h"
#include "record/fetch.h"
#include "record/thread.h"
#include "record/url.h"

#define SECOND_NS      INT64_C(1000000000)
#define AFTER_ACK_NS   SECOND_NS        /* the first updates must be older than the snapshot */
#define BETWEEN_NS     SECOND_NS        /* venues weigh these requests */
#define LIMIT_NS       (10 * SECOND_NS) /* of one request */
#define RETRY_NS       (5 * SECOND_NS)
#define RETRY_AFTER_NS (600 * SECOND_NS) /* the most that a Retry-After is believed */

enum {
    STREAM_BYTES = 132,
    JOBS_MAX = 8192,
    TRIES = 3,
    LINE_BYTES = 1024 + TAPE_URL_TEXT_BYTES,
    BUFFER_BYTES = TAPE_FETCH_HEAD_MAX_BYTES + TAPE_FETCH_BODY_MAX_BYTES,
};

/* One stream that was asked for. Invariant: due_ns is 0 until the venue acknowledged request_id. */
struct job {
    struct job *next;
    uint32_t connection;
    int64_t request_id, due_ns; /* monotonic */
    int tries;
    char stream[STREAM_BYTES];
};

/* Invariants: jobs and jobs_count are under lock; base, venue and tls never change; buffer is the
 * thread's own. */
struct tape_snapshot {
    const struct tape_venue *venue;
    struct tape_url base;
    int has_base;
    struct tape_tls_context *tls;
    struct tape_store *store;
    uint8_t *buffer;
    pthread_t thread;
    int started;
    atomic_int stop;
    int64_t not_before_ns; /* the thread's own */
    pthread_mutex_t lock;
    struct job *jobs;
    unsigned jobs_count;
};

/* ---- URLs: ours know ws and wss, which differ from http and https in the word alone ---- */

static int parse_url(const char *text, struct tape_url *url, struct tape_error *error)
{
    char other[TAPE_URL_TEXT_BYTES];
    int secure = strncmp(text, "https://", 8) == 0;
    if (!secure && strncmp(text, "http://", 7) != 0)
        return tape_error_set(error, TAPE_USAGE,
                              "\"%.200s\" is no URL of the form https://HOST[:PORT]", text);
    int bytes = snprintf(other, sizeof other, "%s%s", secure ? "wss" : "ws", strchr(text, ':'));
    if (bytes < 0 || (size_t)bytes >= sizeof other)
        return tape_error_set(error, TAPE_USAGE, "the URL is too long");
    return tape_url_parse(other, url, error);
}

static int read_base(struct tape_snapshot *snapshot, const char *base, struct tape_error *error)
{
    if (parse_url(base, &snapshot->base, error) < 0)
        return tape_error_wrap(error, "--snapshots");
    if (snapshot->base.has_path)
        return tape_error_set(error, TAPE_USAGE,
                              "--snapshots %.200s: the path is the venue's: https://HOST[:PORT]",
                              base);
    if (!snapshot->base.secure && !tape_url_is_loopback(&snapshot->base))
        return tape_error_set(error, TAPE_USAGE,
                              "--snapshots %.200s: plain http is for this machine alone", base);
    snapshot->has_base = 1;
    return 0;
}

/* Where the stream's snapshot is. 1, or 0 when it has none. */
static int find_url(const struct tape_snapshot *snapshot, const char *stream, struct tape_url *url)
{
    char text[TAPE_URL_TEXT_BYTES];
    struct tape_url own;
    if (tape_venue_snapshot(snapshot->venue, stream, text, sizeof text) <= 0 ||
        parse_url(text, &own, NULL) < 0)
        return 0;
    *url = own;
    if (snapshot->has_base) {
        *url = snapshot->base;
        return tape_url_set_target(url, own.target, NULL) == 0;
    }
    return 1;
}

/* ---- the writer thread: what is to be asked ---- */

static void add_job(struct tape_snapshot *snapshot, uint32_t connection, int64_t id,
                    const char *stream)
{
    char text[TAPE_URL_TEXT_BYTES];
    if (strlen(stream) >= STREAM_BYTES || snapshot->jobs_count >= JOBS_MAX ||
        tape_venue_snapshot(snapshot->venue, stream, text, sizeof text) <= 0)
        return;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return;
    job->connection = connection;
    job->request_id = id;
    snprintf(job->stream, sizeof job->stream, "%s", stream);
    job->next = snapshot->jobs;
    snapshot->jobs = job;
    snapshot->jobs_count++;
}

static void hear_asked(struct tape_snapshot *snapshot, uint32_t connection,
                       const struct tape_event *event)
{
    const char *stream;
    for (int i = 0; (stream = tape_event_text_at(event, "streams", i)); i++)
        add_job(snapshot, connection, tape_event_number(event, "id", 0), stream);
}

static void hear_acked(struct tape_snapshot *snapshot, uint32_t connection,
                       const struct tape_event *event)
{
    int64_t id = tape_event_number(event, "id", -1), due = tape_clock_monotonic() + AFTER_ACK_NS;
    for (struct job *job = snapshot->jobs; job; job = job->next)
        if (job->connection == connection && job->request_id == id && job->due_ns == 0)
            job->due_ns = due;
}

/* With the lock held. */
static void drop_jobs(struct tape_snapshot *snapshot, uint32_t connection, int all)
{
    for (struct job **at = &snapshot->jobs; *at;) {
        struct job *job = *at;
        if (!all && job->connection != connection) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        snapshot->jobs_count--;
        free(job);
    }
}

void tape_snapshot_message(void *context, const struct tape_message *message)
{
    struct tape_snapshot *snapshot = context;
    int kind = message->record_kind;
    if (message->kind != TAPE_FEED_EVENT ||
        (kind != TAPE_RECORD_SUBSCRIPTION_ASKED && kind != TAPE_RECORD_SUBSCRIPTION_ACKED &&
         kind != TAPE_RECORD_CONNECTION_CLOSE))
        return;
    struct tape_event *event = tape_event_read(message->payload.data, message->payload.bytes);
    if (!event)
        return;
    pthread_mutex_lock(&snapshot->lock);
    if (kind == TAPE_RECORD_SUBSCRIPTION_ASKED)
        hear_asked(snapshot, message->connection, event);
    else if (kind == TAPE_RECORD_SUBSCRIPTION_ACKED)
        hear_acked(snapshot, message->connection, event);
    else
        drop_jobs(snapshot, message->connection, 0);
    pthread_mutex_unlock(&snapshot->lock);
    tape_event_free(event);
}

/* ---- the thread: asking ---- */

/* Takes out the job that is due first. NULL when none is. */
static struct job *take_due(struct tape_snapshot *snapshot, int64_t now)
{
    struct job **first = NULL;
    if (now < snapshot->not_before_ns)
        return NULL;
    pthread_mutex_lock(&snapshot->lock);
    for (struct job **at = &snapshot->jobs; *at; at = &(*at)->next)
        if ((*at)->due_ns && (*at)->due_ns <= now && (!first || (*at)->due_ns < (*first)->due_ns))
            first = at;
    struct job *job = first ? *first : NULL;
    if (job) {
        *first = job->next;
        snapshot->jobs_count--;
    }
    pthread_mutex_unlock(&snapshot->lock);
    return job;
}

static void put_back(struct tape_snapshot *snapshot, struct job *job, int64_t due_ns)
{
    job->due_ns = due_ns;
    pthread_mutex_lock(&snapshot->lock);
    job->next = snapshot->jobs;
    snapshot->jobs = job;
    snapshot->jobs_count++;
    pthread_mutex_unlock(&snapshot->lock);
}

static size_t write_line(char line[LINE_BYTES], const struct job *job, const struct tape_url *url,
                         int64_t asked_ns, int status_code)
{
    char authority[TAPE_URL_HOST_BYTES + 16], text[TAPE_URL_TEXT_BYTES];
    struct tape_event_writer event;
    tape_url_authority(url, authority, sizeof authority);
    snprintf(text, sizeof text, "%s://%s%s", url->secure ? "https" : "http", authority,
             url->target);
    tape_event_begin(&event, line, LINE_BYTES - 1);
    tape_event_put_text(&event, "url", text);
    tape_event_put_number(&event, "status", status_code);
    tape_event_put_wide(&event, "asked_ns", asked_ns);
    tape_event_put_text(&event, "stream", job->stream);
    size_t bytes = tape_event_end(&event);
    line[bytes] = '\n';
    return bytes + 1;
}

static void keep(struct tape_snapshot *snapshot, const struct job *job, const struct tape_url *url,
                 int64_t asked_ns, const struct tape_fetch_answer *answer, struct tape_error *error)
{
    char line[LINE_BYTES];
    size_t line_bytes = write_line(line, job, url, asked_ns, answer->status_code);
    size_t bytes = line_bytes + answer->body_bytes;
    uint8_t *record = malloc(bytes);
    if (bytes > tape_store_record_limit(snapshot->store)) {
        tape_error_set(error, TAPE_LIMIT, "the snapshot is longer than the ring's longest record");
    } else if (!record) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
    } else {
        memcpy(record, line, line_bytes);
        memcpy(record + line_bytes, answer->body, answer->body_bytes);
        tape_store_note(snapshot->store, TAPE_RECORD_SNAPSHOT, job->connection, record, bytes);
    }
    free(record);
}

static void give_up(struct tape_snapshot *snapshot, const struct job *job,
                    const struct tape_error *error)
{
    char body[TAPE_ERROR_TEXT_BYTES + 512];
    struct tape_event_writer event;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_text(&event, "kind", "snapshot");
    tape_event_put_text(&event, "stream", job->stream);
    tape_event_put_number(&event, "connection", job->connection);
    tape_event_put_text(&event, "cause", error->text);
    size_t bytes = tape_event_end(&event);
    tape_store_note(snapshot->store, TAPE_RECORD_NOTE, job->connection, body, bytes);
}

/* 1 when the stream has its snapshot, or will never. */
static int ask(struct tape_snapshot *snapshot, struct job *job, struct tape_error *error)
{
    struct tape_url url;
    struct tape_fetch_answer answer;
    int64_t asked_ns = tape_clock_realtime();
    if (!find_url(snapshot, job->stream, &url))
        return 1;
    int status = tape_fetch_get(snapshot->tls, &url, LIMIT_NS, &snapshot->stop, snapshot->buffer,
                                &answer, error);
    int64_t now = tape_clock_monotonic();
    snapshot->not_before_ns = now + BETWEEN_NS;
    if (status < 0)
        return 0;
    if (answer.status_code == 200) {
        keep(snapshot, job, &url, asked_ns, &answer, error);
        return error->status == 0;
    }
    tape_error_set(error, TAPE_FAILED, "%s:%d answered %d", url.host, url.port, answer.status_code);
    int64_t wait = answer.retry_after_s;
    if (wait > 0) /* it speaks to all of this address */
        snapshot->not_before_ns =
            now + (wait < RETRY_AFTER_NS / SECOND_NS ? wait * SECOND_NS : RETRY_AFTER_NS);
    return 0;
}

static void *run(void *context)
{
    struct tape_snapshot *snapshot = context;
    while (!atomic_load(&snapshot->stop)) {
        struct tape_error error = {0};
        struct job *job = take_due(snapshot, tape_clock_monotonic());
        if (!job) {
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
            continue;
        }
        int done = ask(snapshot, job, &error);
        if (!done && !atomic_load(&snapshot->stop) && ++job->tries < TRIES) {
            put_back(snapshot, job, tape_clock_monotonic() + RETRY_NS);
            continue;
        }
        if (!done && !atomic_load(&snapshot->stop))
            give_up(snapshot, job, &error);
        free(job);
    }
    return NULL;
}

/* ---- from outside ---- */

struct tape_snapshot *tape_snapshot_new(const struct tape_venue *venue, const char *base,
                                        const char *ca_file, struct tape_error *error)
{
    struct tape_snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) {
        tape_error_set(error, TAPE_FAILED, "memory is short");
        return NULL;
    }
    pthread_mutex_init(&snapshot->lock, NULL);
    snapshot->venue = venue;
    if ((!base || read_base(snapshot, base, error) == 0) &&
        (snapshot->tls = tape_tls_context_new(ca_file, error)))
        return snapshot;
    tape_snapshot_free(snapshot);
    return NULL;
}

int tape_snapshot_start(struct tape_snapshot *snapshot, struct tape_store *store,
                        struct tape_error *error)
{
    snapshot->store = store;
    snapshot->buffer = malloc(BUFFER_BYTES);
    if (!snapshot->buffer)
        return tape_error_set(error, TAPE_FAILED, "memory is short");
    int status = tape_thread_start(&snapshot->thread, "tape-snapshot", run, snapshot, error);
    snapshot->started = status == 0;
    return status;
}

void tape_snapshot_stop(struct tape_snapshot *snapshot)
{
    if (!snapshot || !snapshot->started)
        return;
    atomic_store(&snapshot->stop, 1);
    pthread_join(snapshot->thread, NULL);
    snapshot->started = 0;
}

void tape_snapshot_free(struct tape_snapshot *snapshot)
{
    if (!snapshot)
        return;
    drop_jobs(snapshot, 0, 1);
    tape_tls_context_free(snapshot->tls);
    pthread_mutex_destroy(&snapshot->lock);
    free(snapshot->buffer);
    free(snapshot);
}
