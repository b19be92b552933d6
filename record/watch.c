#include "record/watch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/event.h"
#include "record/clock.h"

enum { ANSWER_TEXT_BYTES = 256, LINE_BYTES = 1024 };

/* One stream on one connection. */
struct subscription {
    char *name;
    size_t name_bytes;
    uint32_t connection;
    int64_t request;
    int64_t asked_ns, acknowledged_ns; /* monotonic; acknowledged 0: not yet */
    atomic_ullong messages;            /* the writer thread counts, the main thread looks */
    /* main thread */
    uint64_t messages_seen;
    int64_t first_seen_ns, last_seen_ns; /* monotonic, when a look found new messages */
    int refused, told, told_silent;
};

/* The venue's answer to a request, until tick has written it down. */
struct answer {
    struct answer *next;
    uint32_t connection;
    int64_t id, recv_ns, error_code;
    int good;
    char text[ANSWER_TEXT_BYTES];
};

/*
 * Invariants (lock held, but for the writer thread's own lookups):
 * 1. Only the writer thread adds and removes subscriptions, and only with the lock held: it may
 * read list and table without it, the main thread with it.
 * 2. table has a power of two of places, at most half of them used; a place holds an index into
 * list plus 1, or 0; linear probing.
 */
struct tape_watch {
    const struct tape_venue *venue;
    int64_t deadline_ns;
    pthread_mutex_t lock;
    struct subscription **list;
    size_t length, capacity;
    uint32_t *table;
    size_t table_size;
    struct answer *answers, **answers_end;
};

/* ---- the table (writer thread) ---- */

static uint64_t hash_of(uint32_t connection, const char *name, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u ^ connection;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static uint32_t *place_of(const struct tape_watch *watch, uint32_t connection, const char *name,
                          size_t bytes)
{
    size_t at = hash_of(connection, name, bytes) & (watch->table_size - 1);
    for (;; at = (at + 1) & (watch->table_size - 1)) {
        if (watch->table[at] == 0)
            return &watch->table[at];
        const struct subscription *subscription = watch->list[watch->table[at] - 1];
        if (subscription->connection == connection && subscription->name_bytes == bytes &&
            memcmp(subscription->name, name, bytes) == 0)
            return &watch->table[at];
    }
}

static struct subscription *find(const struct tape_watch *watch, uint32_t connection,
                                 const char *name, size_t bytes)
{
    if (watch->length == 0)
        return NULL;
    uint32_t place = *place_of(watch, connection, name, bytes);
    return place ? watch->list[place - 1] : NULL;
}

static void fill_table(struct tape_watch *watch)
{
    memset(watch->table, 0, watch->table_size * sizeof *watch->table);
    for (size_t i = 0; i < watch->length; i++) {
        const struct subscription *at = watch->list[i];
        *place_of(watch, at->connection, at->name, at->name_bytes) = (uint32_t)i + 1;
    }
}

static int grow(struct tape_watch *watch)
{
    size_t capacity = watch->capacity ? watch->capacity * 2 : 64;
    struct subscription **list = realloc(watch->list, capacity * sizeof *list);
    if (list == NULL)
        return 0;
    watch->list = list;
    uint32_t *table = realloc(watch->table, capacity * 2 * sizeof *table);
    if (table == NULL)
        return 0;
    watch->table = table;
    watch->table_size = capacity * 2;
    watch->capacity = capacity;
    fill_table(watch);
    return 1;
}

static void add(struct tape_watch *watch, uint32_t connection, const char *name, int64_t request)
{
    size_t bytes = strlen(name);
    struct subscription *subscription = find(watch, connection, name, bytes);
    if (subscription == NULL) {
        if (watch->length == watch->capacity && !grow(watch))
            return;
        subscription = calloc(1, sizeof *subscription);
        if (subscription == NULL || (subscription->name = strdup(name)) == NULL) {
            free(subscription);
            return;
        }
        subscription->name_bytes = bytes;
        subscription->connection = connection;
        uint32_t *place = place_of(watch, connection, name, bytes);
        watch->list[watch->length++] = subscription;
        *place = (uint32_t)watch->length;
    }
    subscription->request = request;
    subscription->asked_ns = tape_clock_monotonic();
    subscription->acknowledged_ns = 0;
    subscription->refused = subscription->told = 0;
}

static void free_subscription(struct subscription *subscription)
{
    free(subscription->name);
    free(subscription);
}

static void remove_connection(struct tape_watch *watch, uint32_t connection)
{
    size_t kept = 0;
    for (size_t i = 0; i < watch->length; i++) {
        if (watch->list[i]->connection == connection)
            free_subscription(watch->list[i]);
        else
            watch->list[kept++] = watch->list[i];
    }
    if (kept == watch->length)
        return;
    watch->length = kept;
    fill_table(watch);
}

/* ---- what comes by (writer thread) ---- */

static void take_asked(struct tape_watch *watch, const struct tape_message *message)
{
    const char *name;
    struct tape_event *event = tape_event_read(message->payload.data, message->payload.bytes);
    if (event == NULL)
        return;
    int64_t id = tape_event_number(event, "id", TAPE_TICK_NONE);
    for (int i = 0; (name = tape_event_text_at(event, "streams", i)) != NULL; i++)
        add(watch, message->connection, name, id);
    tape_event_free(event);
}

static void take_event(struct tape_watch *watch, const struct tape_message *message)
{
    pthread_mutex_lock(&watch->lock);
    if (message->record_kind == TAPE_RECORD_SUBSCRIPTION_ASKED)
        take_asked(watch, message);
    else if (message->record_kind == TAPE_RECORD_CONNECTION_CLOSE)
        remove_connection(watch, message->connection);
    pthread_mutex_unlock(&watch->lock);
}

/* Only the first answer to a request that was made counts: a venue cannot make us write more. */
static int mark_answered(struct tape_watch *watch, const struct answer *answer)
{
    int found = 0;
    for (size_t i = 0; i < watch->length; i++) {
        struct subscription *at = watch->list[i];
        if (at->connection != answer->connection || at->request != answer->id ||
            at->acknowledged_ns != 0)
            continue;
        at->acknowledged_ns = tape_clock_monotonic();
        at->refused = !answer->good;
        found = 1;
    }
    return found;
}

static void take_answer(struct tape_watch *watch, const struct tape_message *message)
{
    struct tape_venue_answer words;
    struct answer *answer = calloc(1, sizeof *answer);
    if (answer == NULL)
        return;
    int kind = tape_venue_classify(message->payload.data, message->payload.bytes, &words);
    answer->connection = message->connection;
    answer->recv_ns = message->recv_ns;
    answer->good = kind == TAPE_VENUE_ACK;
    answer->id = words.id;
    if (kind == TAPE_VENUE_ERROR) {
        answer->error_code = words.error_code;
        snprintf(answer->text, sizeof answer->text, "%s", words.error_text);
    }
    pthread_mutex_lock(&watch->lock);
    if (kind != TAPE_VENUE_DATA && mark_answered(watch, answer)) {
        *watch->answers_end = answer;
        watch->answers_end = &answer->next;
        answer = NULL;
    }
    pthread_mutex_unlock(&watch->lock);
    free(answer);
}

void tape_watch_message(void *context, const struct tape_message *message)
{
    struct tape_watch *watch = context;
    if (message->kind == TAPE_FEED_DATA) {
        struct subscription *subscription =
            find(watch, message->connection, message->stream.data, message->stream.bytes);
        if (subscription)
            atomic_fetch_add_explicit(&subscription->messages, 1, memory_order_relaxed);
    } else if (message->kind == TAPE_FEED_EVENT) {
        take_event(watch, message);
    } else if (message->kind == TAPE_FEED_ACK || message->kind == TAPE_FEED_REFUSAL) {
        take_answer(watch, message);
    }
}

/* ---- looking (main thread) ---- */

/* Words for the user. They are said when the lock has been given back: a terminal that was stopped
 * makes its writer wait, and the writer thread must not wait with it. */
struct line {
    struct line *next;
    char words[LINE_BYTES];
};

struct teller {
    struct tape_store *store;
    struct line *first, **end;
};

static void keep_line(struct teller *teller, const char *words)
{
    struct line *line = malloc(sizeof *line);
    if (line == NULL)
        return;
    snprintf(line->words, sizeof line->words, "%s", words);
    line->next = NULL;
    *teller->end = line;
    teller->end = &line->next;
}

static void say_lines(struct teller *teller, void (*say)(void *context, const char *words),
                      void *context)
{
    while (teller->first) {
        struct line *line = teller->first;
        teller->first = line->next;
        say(context, line->words);
        free(line);
    }
}

static void write_answer(const struct teller *teller, const struct answer *answer)
{
    char body[800];
    struct tape_event_writer event;
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_number(&event, "id", answer->id);
    tape_event_put_bool(&event, "ok", answer->good);
    if (!answer->good) {
        tape_event_put_number(&event, "error_code", answer->error_code);
        tape_event_put_text(&event, "error", answer->text);
    }
    size_t bytes = tape_event_end(&event);
    tape_store_note_at(teller->store, TAPE_RECORD_SUBSCRIPTION_ACKED, answer->connection,
                       answer->recv_ns, body, bytes);
}

/* The streams of a refused request by name, as far as a line has room. */
static void tell_refusal(const struct tape_watch *watch, const struct answer *answer,
                         struct teller *teller)
{
    char names[600] = "", line[LINE_BYTES];
    size_t used = 0, more = 0;
    for (size_t i = 0; i < watch->length; i++) {
        const struct subscription *at = watch->list[i];
        if (at->connection != answer->connection || at->request != answer->id)
            continue;
        if (used + at->name_bytes + 3 > sizeof names)
            more++;
        else
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                                     at->name);
    }
    if (more > 0)
        snprintf(line, sizeof line, "%s and %zu more: refused by the venue: error %" PRId64 ": %s",
                 names, more, answer->error_code, answer->text);
    else
        snprintf(line, sizeof line, "%s: refused by the venue: error %" PRId64 ": %s", names,
                 answer->error_code, answer->text);
    keep_line(teller, line);
}

static void write_note(const struct teller *teller, const struct subscription *subscription,
                       const char *kind, const char *cause, int64_t silent_ns)
{
    char body[LINE_BYTES];
    struct tape_event_writer event;
    int64_t now = tape_clock_realtime();
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_text(&event, "kind", kind);
    tape_event_put_text(&event, "stream", subscription->name);
    tape_event_put_number(&event, "connection", subscription->connection);
    tape_event_put_text(&event, "cause", cause);
    tape_event_put_wide(&event, "from_ns", now - silent_ns);
    tape_event_put_wide(&event, "to_ns", now);
    size_t bytes = tape_event_end(&event);
    tape_store_note(teller->store, TAPE_RECORD_NOTE, subscription->connection, body, bytes);
}

static void tell_not_delivered(const struct tape_watch *watch, struct subscription *subscription,
                               int64_t now, struct teller *teller)
{
    char line[LINE_BYTES];
    int acknowledged = subscription->acknowledged_ns != 0;
    int64_t since = acknowledged ? subscription->acknowledged_ns : subscription->asked_ns;
    const char *hint = acknowledged && watch->venue
                           ? tape_venue_silence_hint(watch->venue, subscription->name)
                           : NULL;
    const char *cause = acknowledged ? hint ? hint : "acknowledged, but nothing came"
                                     : "the venue has not answered the request";
    subscription->told = 1;
    write_note(teller, subscription, "not_delivered", cause, now - since);
    snprintf(line, sizeof line, "%s: %s %.1f s ago, no message yet: %s", subscription->name,
             acknowledged ? "acknowledged" : "asked for", (double)(now - since) / 1e9, cause);
    keep_line(teller, line);
}

static void tell_silence(struct subscription *subscription, int64_t now, double mean_ns,
                         struct teller *teller)
{
    char line[LINE_BYTES];
    int64_t silent = now - subscription->last_seen_ns;
    subscription->told_silent = 1;
    write_note(teller, subscription, "silence", "no message for far longer than usual", silent);
    snprintf(line, sizeof line, "%s: silent for %.0f s (before: a message each %.3g s)",
             subscription->name, (double)silent / 1e9, mean_ns / 1e9);
    keep_line(teller, line);
}

static void look_at(const struct tape_watch *watch, struct subscription *at, int64_t now,
                    struct teller *teller)
{
    uint64_t messages = atomic_load_explicit(&at->messages, memory_order_relaxed);
    if (at->refused)
        return;
    if (messages == 0) {
        int64_t since = at->acknowledged_ns ? at->acknowledged_ns : at->asked_ns;
        if (!at->told && now - since >= watch->deadline_ns)
            tell_not_delivered(watch, at, now, teller);
        return;
    }
    if (messages != at->messages_seen) {
        if (at->messages_seen == 0)
            at->first_seen_ns = now;
        at->messages_seen = messages;
        at->last_seen_ns = now;
        at->told_silent = 0;
        return;
    }
    /* The rate learned so far: what is rare may stay away longer. */
    double mean_ns = (double)(at->last_seen_ns - at->first_seen_ns) / (double)messages;
    if (!at->told_silent && messages > 1 && now - at->last_seen_ns >= TAPE_WATCH_SILENCE_NS &&
        (double)(now - at->last_seen_ns) >= mean_ns * TAPE_WATCH_SILENCE_FACTOR)
        tell_silence(at, now, mean_ns, teller);
}

void tape_watch_tick(struct tape_watch *watch, struct tape_store *store, int64_t monotonic_ns,
                     void (*say)(void *context, const char *words), void *context)
{
    struct teller teller = {.store = store, .end = &teller.first};
    pthread_mutex_lock(&watch->lock);
    struct answer *answers = watch->answers;
    watch->answers = NULL;
    watch->answers_end = &watch->answers;
    while (answers) {
        struct answer *answer = answers;
        answers = answer->next;
        write_answer(&teller, answer);
        if (!answer->good)
            tell_refusal(watch, answer, &teller);
        free(answer);
    }
    for (size_t i = 0; i < watch->length; i++)
        look_at(watch, watch->list[i], monotonic_ns, &teller);
    pthread_mutex_unlock(&watch->lock);
    say_lines(&teller, say, context);
}

void tape_watch_read_state(struct tape_watch *watch, struct tape_watch_state *state)
{
    memset(state, 0, sizeof *state);
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < watch->length; i++) {
        const struct subscription *at = watch->list[i];
        state->asked++;
        state->acknowledged += at->acknowledged_ns != 0 && !at->refused;
        state->refused += (uint32_t)at->refused;
        state->live += atomic_load_explicit(&at->messages, memory_order_relaxed) > 0;
    }
    pthread_mutex_unlock(&watch->lock);
}

/* ---- making ---- */

struct tape_watch *tape_watch_new(const struct tape_venue *venue, int64_t deadline_ns)
{
    struct tape_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    struct tape_venue_limits limits = {0};
    if (venue)
        tape_venue_read_limits(venue, &limits);
    watch->venue = venue;
    watch->deadline_ns = deadline_ns               ? deadline_ns
                         : limits.first_message_ns ? limits.first_message_ns
                                                   : TAPE_WATCH_DEADLINE_NS;
    watch->answers_end = &watch->answers;
    pthread_mutex_init(&watch->lock, NULL);
    return watch;
}

void tape_watch_free(struct tape_watch *watch)
{
    if (watch == NULL)
        return;
    for (size_t i = 0; i < watch->length; i++)
        free_subscription(watch->list[i]);
    while (watch->answers) {
        struct answer *answer = watch->answers;
        watch->answers = answer->next;
        free(answer);
    }
    free(watch->list);
    free(watch->table);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
