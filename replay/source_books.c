#include "replay/source_books.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/event.h"
#include "format/growing.h"
#include "format/record.h"
#include "replay/source.h"
#include "replay/source_asked.h"
#include "replay/source_books_deferred.h"
#include "replay/source_books_set.h"
#include "replay/source_depth.h"
#include "replay/source_glob.h"
#include "replay/source_snapshots.h"

#define SECOND_NS 1000000000ll

/* How far back is looked, further each time. Where there is no depth stream in the first of them,
 * there is none. */
static const int64_t windows_ns[] = {600 * SECOND_NS, 2 * 3600 * SECOND_NS, 26 * 3600 * SECOND_NS,
                                     INT64_MAX};
enum { WINDOWS = sizeof windows_ns / sizeof *windows_ns };

#define CLOCK_SLACK_NS (60 * SECOND_NS)

/* A partial depth stream's message has up to twenty levels a side; a snapshot without a name that
 * has no more may be one. */
enum { PARTIAL_LEVELS_MAX = 20, BARE_NAME_BYTES = 128 };

/* What is known of an imported capture. Whole lines are all that it has, so that a snapshot in it
 * has no name: it is told by its symbol, or by there being only one. */
struct capture {
    char symbol[64];           /* of its depth streams; "" before the first */
    int mixed;                 /* of several symbols */
    struct tape_growing early; /* the newest snapshot before its first update; empty: none */
};

/*
 * Invariants: source is NULL (the books are those of no time), or gave everything before at_ns;
 * holds = 1: held came from it after that, and is not applied; deferred: events that came before
 * held and are stamped at_ns or later. last_ordinals: of what was read of
 * each archive. follows: what is only in the ring of a live recording counts, too. full_ns: up to
 * there one reading went from the beginning, so that the streams' first_known_ns count for it.
 * unheard: a message without a name may be of a depth stream that was asked for before this reading
 * began.
 */
struct tape_source_books {
    char **paths;
    int count;
    char *stream; /* as asked for, or NULL */
    struct tape_source *source;
    struct tape_message held;
    struct tape_source_books_deferred deferred;
    int holds, ended, whole, damages, follows, unheard;
    int64_t at_ns, last_ns, full_ns;
    int64_t last_ordinals[TAPE_SOURCE_ARCHIVES_MAX];
    struct capture captures[TAPE_SOURCE_ARCHIVES_MAX];
    struct tape_source_books_set set;
    struct tape_source_asked asked;
    struct tape_growing payload;
};

static int short_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "memory is short for the books of depth streams");
}

/* ---- messages ---- */

static void apply(struct tape_source_books *books, struct tape_source_books_stream *stream,
                  const struct tape_tick *tick, const struct tape_message *message)
{
    int was_known = tape_book_state(stream->book) == TAPE_BOOK_KNOWN;
    /* A message that cannot be applied breaks its book, and the book says why. */
    int changed = tape_book_apply(stream->book, tick, NULL) == 1;
    int known = tape_book_state(stream->book) == TAPE_BOOK_KNOWN;
    stream->broke = was_known ? !known : stream->broke && !known;
    stream->archive = message->archive;
    stream->ordinal = message->ordinal;
    if (changed && known && message->kind == TAPE_FEED_DATA)
        stream->doubt[0] = '\0';
    if (known && books->whole && message->recv_ns < stream->first_known_ns)
        stream->first_known_ns = message->recv_ns;
}

static struct tape_source_books_stream *add_stream(struct tape_source_books *books,
                                                   struct tape_slice name, int is_diff,
                                                   struct tape_error *error)
{
    struct tape_source_books_stream *stream =
        tape_source_books_set_add(&books->set, name.data, name.bytes, is_diff);
    if (!stream)
        short_of_memory(error);
    return stream;
}

static int has_many_levels(struct tape_slice list)
{
    struct tape_decimal price, quantity;
    int levels = 0;
    while (levels <= PARTIAL_LEVELS_MAX && tape_tick_next_level(&list, &price, &quantity) == 1)
        levels++;
    return levels > PARTIAL_LEVELS_MAX;
}

static size_t symbol_bytes(const char *name, size_t bytes)
{
    const char *at = memchr(name, '@', bytes);
    return at ? (size_t)(at - name) : bytes;
}

static int is_of_symbol(const struct tape_source_books_stream *stream, const char *symbol,
                        size_t bytes)
{
    return symbol_bytes(stream->name, strlen(stream->name)) == bytes &&
           strncasecmp(stream->name, symbol, bytes) == 0;
}

/* Notes the symbol of a line of a capture. When it is a second one, whatever was applied without a
 * name may have been the other's. */
static void note_symbol(struct tape_source_books *books, int archive, struct tape_slice name)
{
    struct capture *capture = &books->captures[archive];
    size_t bytes = symbol_bytes(name.data, name.bytes);
    if (capture->mixed)
        return;
    if (!capture->symbol[0] && bytes < sizeof capture->symbol) {
        memcpy(capture->symbol, name.data, bytes);
        capture->symbol[bytes] = '\0';
    }
    if (strlen(capture->symbol) == bytes && memcmp(capture->symbol, name.data, bytes) == 0)
        return;
    capture->mixed = 1;
    for (size_t i = 0; i < books->set.count; i++) {
        struct tape_source_books_stream *stream = books->set.streams[i];
        if (stream->guessed & UINT64_C(1) << archive)
            tape_book_reset(stream->book, "the capture's snapshots do not tell whose they are");
        stream->guessed &= ~(UINT64_C(1) << archive);
    }
}

static int starts_with(struct tape_slice text, const char *start)
{
    size_t bytes = strlen(start);
    return text.bytes > bytes && memcmp(text.data, start, bytes) == 0;
}

/* To the streams of its symbol that its capture brought: how many there are. */
static int give_snapshot(struct tape_source_books *books, const struct tape_message *message,
                         const struct tape_tick *tick)
{
    const struct capture *capture = &books->captures[message->archive];
    struct tape_slice symbol = tick->symbol;
    uint64_t archive = UINT64_C(1) << message->archive;
    int given = 0;
    if (!symbol.bytes && !capture->mixed)
        symbol = (struct tape_slice){capture->symbol, strlen(capture->symbol)};
    for (size_t i = 0; symbol.bytes && i < books->set.count; i++) {
        struct tape_source_books_stream *stream = books->set.streams[i];
        if (!stream->is_diff || !stream->met || !(stream->brought & archive) ||
            !is_of_symbol(stream, symbol.data, symbol.bytes))
            continue;
        if (!tick->symbol.bytes)
            stream->guessed |= archive;
        apply(books, stream, tick, message);
        given++;
    }
    return given;
}

/* A line {"lastUpdateId":...} of a capture. Where it is the first of all, its streams are yet to
 * come. */
static void take_bare_snapshot(struct tape_source_books *books, const struct tape_message *message)
{
    struct capture *capture = &books->captures[message->archive];
    struct tape_tick tick;
    if (!starts_with(message->payload, "{\"lastUpdateId\":") || !tape_source_tick(message, &tick) ||
        tick.kind != TAPE_TICK_DEPTH_SNAPSHOT ||
        (!has_many_levels(tick.bids) && !has_many_levels(tick.asks)))
        return;
    if (give_snapshot(books, message, &tick) > 0 || capture->symbol[0])
        return;
    capture->early.length = 0;
    tape_growing_put(&capture->early, message->payload.data, message->payload.bytes);
}

/* Before the first update of a stream. */
static void take_early_snapshot(struct tape_source_books *books, const struct tape_message *message)
{
    struct tape_growing *early = &books->captures[message->archive].early;
    struct tape_tick tick;
    if (early->length > 0 && tape_tick_decode((const char *)early->bytes, early->length, &tick))
        give_snapshot(books, message, &tick);
    early->length = 0;
}

static int is_depth(const struct tape_tick *tick)
{
    return tick->kind == TAPE_TICK_DEPTH || tick->kind == TAPE_TICK_DEPTH_SNAPSHOT;
}

static int take_update(struct tape_source_books *books, const struct tape_message *message,
                       const struct tape_tick *tick, struct tape_slice name,
                       struct tape_error *error)
{
    if (books->stream && !tape_source_glob_match(books->stream, name.data, name.bytes))
        return 0;
    struct tape_source_books_stream *stream =
        add_stream(books, name, tick->kind == TAPE_TICK_DEPTH, error);
    if (!stream)
        return TAPE_FAILED;
    tape_source_books_set_carry(stream, message->archive, message->connection);
    take_early_snapshot(books, message);
    apply(books, stream, tick, message);
    return 0;
}

/* A message of a connection without wrappers, which may be of a depth stream. */
static int take_unwrapped(struct tape_source_books *books, const struct tape_message *message,
                          struct tape_error *error)
{
    struct tape_tick tick;
    struct tape_slice name;
    int depths = tape_source_asked_depths(&books->asked, message);
    if (depths == 0 || !tape_source_tick(message, &tick) || !is_depth(&tick))
        return 0;
    books->unheard |= depths < 0;
    if (!tape_source_asked_like(&books->asked, message, &tick, &name))
        return 0;
    return take_update(books, message, &tick, name, error);
}

/* <symbol>@depth, whatever its speed. The bytes; 0 for what may be a partial book, as with futures.
 */
static size_t name_bare_diff(const struct tape_tick *tick, char to[BARE_NAME_BYTES])
{
    static const char channel[] = "@depth";
    size_t bytes = tick->symbol.bytes;
    if (tick->kind != TAPE_TICK_DEPTH || tick->previous_id != TAPE_TICK_NONE || bytes == 0 ||
        bytes > BARE_NAME_BYTES - sizeof channel)
        return 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = tick->symbol.data[i];
        to[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    memcpy(to + bytes, channel, sizeof channel);
    return bytes + sizeof channel - 1;
}

/* A line {"e":"depthUpdate",...} of a capture. */
static int take_bare_diff(struct tape_source_books *books, const struct tape_message *message,
                          struct tape_error *error)
{
    struct tape_tick tick;
    char text[BARE_NAME_BYTES];
    struct tape_slice name = {text, 0};
    if (!starts_with(message->payload, "{\"e\":\"depthUpdate\"") ||
        !tape_source_tick(message, &tick))
        return 0;
    name.bytes = name_bare_diff(&tick, text);
    if (name.bytes == 0)
        return 0;
    note_symbol(books, message->archive, name);
    return take_update(books, message, &tick, name, error);
}

static int take_data(struct tape_source_books *books, const struct tape_message *message,
                     struct tape_error *error)
{
    struct tape_tick tick;
    int imported = message->flags & TAPE_RECORD_FLAG_IMPORTED;
    if (!message->stream.bytes && !imported)
        return take_unwrapped(books, message, error);
    if (!message->stream.bytes) {
        take_bare_snapshot(books, message);
        return take_bare_diff(books, message, error);
    }
    if (!tape_source_depth_is_name(message->stream))
        return 0;
    if (imported)
        note_symbol(books, message->archive, message->stream);
    if (!tape_source_tick(message, &tick) || !is_depth(&tick))
        return 0;
    return take_update(books, message, &tick, message->stream, error);
}

/* ---- events ---- */

/* A line of JSON, then the HTTP body. */
static int take_snapshot(struct tape_source_books *books, const struct tape_message *message,
                         struct tape_error *error)
{
    struct tape_slice body = message->payload;
    const char *newline = body.bytes ? memchr(body.data, '\n', body.bytes) : NULL;
    struct tape_tick tick;
    int status = 0;
    if (!newline)
        return 0;
    struct tape_event *line = tape_event_read(body.data, (size_t)(newline - body.data));
    const char *text = line ? tape_event_text(line, "stream") : NULL;
    struct tape_slice name = {text, text ? strlen(text) : 0};
    body.bytes -= (size_t)(newline + 1 - body.data);
    body.data = newline + 1;
    if (tape_source_depth_is_name(name) && tape_event_number(line, "status", 0) == 200 &&
        (!books->stream || tape_source_glob_match(books->stream, name.data, name.bytes)) &&
        tape_tick_decode(body.data, body.bytes, &tick) && tick.kind == TAPE_TICK_DEPTH_SNAPSHOT) {
        struct tape_source_books_stream *stream = add_stream(books, name, 1, error);
        status = stream ? 0 : TAPE_FAILED;
        if (stream && stream->is_diff)
            apply(books, stream, &tick, message);
    }
    tape_event_free(line);
    return status;
}

static void take_note(struct tape_source_books *books, const struct tape_message *message)
{
    struct tape_event *note = tape_event_read(message->payload.data, message->payload.bytes);
    const char *kind = note ? tape_event_text(note, "kind") : NULL;
    if (kind && strcmp(kind, "gap") == 0)
        tape_source_books_set_lose(&books->set, message->archive, 0,
                                   "the recording has a gap, and no update has come since");
    tape_event_free(note);
}

static int take_event(struct tape_source_books *books, const struct tape_message *message,
                      struct tape_error *error)
{
    if (tape_source_asked_hear(&books->asked, message) < 0)
        return short_of_memory(error);
    switch (message->record_kind) {
    case TAPE_RECORD_SNAPSHOT:
        return take_snapshot(books, message, error);
    case TAPE_RECORD_NOTE:
        take_note(books, message);
        return 0;
    case TAPE_RECORD_CONNECTION_CLOSE:
        if (message->connection)
            tape_source_books_set_lose(&books->set, message->archive, message->connection,
                                       "its connection ended, and no update has come since");
        return 0;
    case TAPE_RECORD_SESSION_START:
    case TAPE_RECORD_SESSION_END:
        tape_source_books_set_lose(&books->set, message->archive, 0,
                                   "its recorder ended, and no update has come since");
        return 0;
    default:
        return 0;
    }
}

/* ---- reading ---- */

/* Places of the archive that could not be read since the last time. */
static void note_damages(struct tape_source_books *books)
{
    int damages = tape_source_damages(books->source);
    for (; books->damages < damages; books->damages++) {
        struct tape_source_damage damage;
        /* Of those that are too many to be kept nobody knows where they are: in all archives. */
        int told = tape_source_damage(books->source, books->damages, &damage);
        for (int i = told ? damage.archive : 0; i <= (told ? damage.archive : books->count - 1);
             i++)
            tape_source_books_set_lose(
                &books->set, i, 0,
                "a part of the recording is damaged, and no update has come since");
    }
}

/* 1 for events that change a book, or the trust in it, or tell whose updates come. */
static int is_of_books(const struct tape_message *event)
{
    int kind = event->record_kind;
    return kind == TAPE_RECORD_SNAPSHOT || kind == TAPE_RECORD_NOTE ||
           kind == TAPE_RECORD_CONNECTION_CLOSE || kind == TAPE_RECORD_SESSION_START ||
           kind == TAPE_RECORD_SESSION_END || kind == TAPE_RECORD_HANDSHAKE_REQUEST ||
           kind == TAPE_RECORD_SUBSCRIPTION_ASKED;
}

/* Events that were met: those before at_ns; all of them where a message came after them. */
static int take_deferred(struct tape_source_books *books, int64_t at_ns, struct tape_error *error)
{
    const struct tape_message *event;
    while ((event = tape_source_books_deferred_first(&books->deferred)) && event->recv_ns < at_ns) {
        int status = take_event(books, event, error);
        tape_source_books_deferred_drop(&books->deferred);
        if (status < 0)
            return status;
    }
    return 0;
}

/* A message before at_ns, or an event of any time. */
static int take(struct tape_source_books *books, const struct tape_message *message, int64_t at_ns,
                struct tape_error *error)
{
    int64_t *last = &books->last_ordinals[message->archive];
    int event = message->kind == TAPE_FEED_EVENT;
    if ((int64_t)message->ordinal <= *last)
        return 0; /* read again after the end */
    *last = (int64_t)message->ordinal;
    if (event && !is_of_books(message))
        return 0;
    if (event && (message->recv_ns >= at_ns || books->deferred.count > 0) &&
        tape_source_books_deferred_add(&books->deferred, message) < 0)
        return short_of_memory(error);
    if (event)
        return books->deferred.count > 0 ? 0 : take_event(books, message, error);
    int status = take_deferred(books, INT64_MAX, error);
    books->last_ns = message->recv_ns;
    if (status < 0 || message->kind != TAPE_FEED_DATA)
        return status;
    return take_data(books, message, error);
}

/* Everything before the first message that is not before at_ns. That is no event: an importer's are
 * of the day of the import, whatever that of the lines. 0 or a status. */
static int read_up_to(struct tape_source_books *books, int64_t at_ns, struct tape_error *error)
{
    int got = books->holds;
    if (!got)
        got = tape_source_try(books->source, &books->held, error);
    for (; got == 1; got = tape_source_try(books->source, &books->held, error)) {
        note_damages(books);
        books->holds = books->held.recv_ns >= at_ns && books->held.kind != TAPE_FEED_EVENT &&
                       (int64_t)books->held.ordinal > books->last_ordinals[books->held.archive];
        if (books->holds)
            break;
        int status = take(books, &books->held, at_ns, error);
        if (status < 0)
            return status;
    }
    if (got < 0)
        return got;
    if (got != 1)
        note_damages(books);
    books->ended = got != 1;
    books->at_ns = at_ns;
    return take_deferred(books, at_ns, error);
}

/* ---- looking backwards ---- */

static void forget_captures(struct tape_source_books *books)
{
    for (int i = 0; i < TAPE_SOURCE_ARCHIVES_MAX; i++)
        free(books->captures[i].early.bytes);
    memset(books->captures, 0, sizeof books->captures);
}

static void close_source(struct tape_source_books *books)
{
    tape_source_close(books->source);
    tape_source_books_deferred_clear(&books->deferred);
    books->source = NULL;
    books->holds = books->ended = 0;
}

/* Begins anew at from_ns; INT64_MIN: at the beginning. */
static int begin(struct tape_source_books *books, int64_t from_ns, struct tape_error *error)
{
    struct tape_source_options options = {
        .stream = "*@depth*,*@rpiDepth*,", /* and, behind the comma, what has no name */
        .follow = books->follows,
        .events = 1,
        .state = -1,
        .duplicates = 1, /* books pass over what comes twice */
    };
    close_source(books);
    tape_source_books_set_restart(&books->set);
    books->unheard = 0;
    for (int i = 0; i < TAPE_SOURCE_ARCHIVES_MAX; i++)
        books->last_ordinals[i] = -1;
    forget_captures(books);
    books->damages = 0;
    books->whole = from_ns == INT64_MIN;
    books->source =
        tape_source_open_all((const char *const *)books->paths, books->count, &options, error);
    if (!books->source)
        return error->status;
    return books->whole ? 0 : tape_source_seek(books->source, from_ns, error);
}

/* Whether a longer look backwards could tell whose messages without a name are. */
static int wants_names(const struct tape_source_books *books)
{
    return books->unheard && books->at_ns > books->full_ns;
}

/* … or could make more of the books known. */
static int wants_more(const struct tape_source_books *books)
{
    if (wants_names(books))
        return 1;
    for (size_t i = 0; i < books->set.count; i++) {
        const struct tape_source_books_stream *stream = books->set.streams[i];
        int hopeless = stream->broke ||
                       (books->at_ns <= books->full_ns && stream->first_known_ns > books->at_ns);
        if (stream->met && stream->is_diff && !hopeless &&
            tape_book_state(stream->book) != TAPE_BOOK_KNOWN)
            return 1;
    }
    return 0;
}

/* Where a look back by windows_ns[step] begins; INT64_MIN: at the beginning. */
static int64_t begin_of(int64_t at_ns, int step)
{
    int64_t from_ns;
    if (windows_ns[step] == INT64_MAX || __builtin_sub_overflow(at_ns, windows_ns[step], &from_ns))
        return INT64_MIN;
    return from_ns;
}

/* Whether snapshots may be met between one step and the one before it. */
static int may_find_more(const struct tape_source_books *books, int64_t at_ns, int step)
{
    int64_t from_ns = begin_of(at_ns, step), to_ns = begin_of(at_ns, step - 1) + CLOCK_SLACK_NS;
    if (wants_names(books))
        return 1;
    if (__builtin_sub_overflow(from_ns, CLOCK_SLACK_NS, &from_ns))
        from_ns = INT64_MIN;
    /* Those of captures are lines among the others. Clocks are set back and forth a little. */
    for (int i = 0; i < books->count; i++)
        if (books->captures[i].symbol[0] || books->captures[i].mixed ||
            tape_source_snapshots_may_be(books->paths[i], from_ns, to_ns))
            return 1;
    return 0;
}

static int look_back(struct tape_source_books *books, int64_t at_ns, struct tape_error *error)
{
    for (int i = 0; i < WINDOWS; i++) {
        if (i > 0 && !may_find_more(books, at_ns, i))
            continue;
        int status = begin(books, begin_of(at_ns, i), error);
        if (status == 0)
            status = read_up_to(books, at_ns, error);
        if (status < 0)
            return status;
        if (books->whole && at_ns > books->full_ns)
            books->full_ns = at_ns;
        if (books->whole || !wants_more(books))
            return 0;
    }
    return 0;
}

/* ---- from outside ---- */

int tape_source_books_advance(struct tape_source_books *books, int64_t at_ns,
                              struct tape_error *error)
{
    struct tape_error local;
    int status = 0;
    if (!error)
        error = &local;
    if (!books->source || at_ns < books->at_ns) {
        status = look_back(books, at_ns, error);
    } else {
        /* More may have been recorded since. */
        if (books->ended && at_ns > books->at_ns)
            status = tape_source_seek(books->source, books->last_ns, error);
        if (status == 0)
            status = read_up_to(books, at_ns, error);
        if (status == 0 && books->whole && at_ns > books->full_ns)
            books->full_ns = at_ns;
    }
    if (status < 0) {
        close_source(books);
        tape_source_books_set_restart(&books->set);
        tape_error_wrap(error, "the books of depth streams");
    }
    return status;
}

static int copy_arguments(struct tape_source_books *books, const char *const *paths, int count,
                          const char *stream)
{
    books->paths = calloc((size_t)count, sizeof *books->paths);
    for (int i = 0; books->paths && i < count; i++) {
        books->paths[i] = strdup(paths[i]);
        if (!books->paths[i])
            return 0;
        books->count++;
    }
    books->stream = stream ? strdup(stream) : NULL;
    return books->paths && (books->stream || !stream);
}

static struct tape_source_books *build(const char *const *paths, int count, const char *stream,
                                       int follows, int64_t at_ns, struct tape_error *error)
{
    if (count < 1 || count > TAPE_SOURCE_ARCHIVES_MAX) {
        tape_error_set(error, TAPE_USAGE, "books are of 1 to %d archives, not %d",
                       TAPE_SOURCE_ARCHIVES_MAX, count);
        return NULL;
    }
    struct tape_source_books *books = calloc(1, sizeof *books);
    if (!books || !copy_arguments(books, paths, count, stream)) {
        short_of_memory(error);
        tape_source_books_free(books);
        return NULL;
    }
    books->follows = follows;
    books->full_ns = INT64_MIN;
    if (tape_source_books_advance(books, at_ns, error) < 0) {
        tape_source_books_free(books);
        return NULL;
    }
    return books;
}

struct tape_source_books *tape_source_books_build(const char *const *paths, int count,
                                                  const char *stream, int64_t at_ns,
                                                  struct tape_error *error)
{
    return build(paths, count, stream, 0, at_ns, error);
}

struct tape_source_books *tape_source_books_build_live(const char *path, const char *stream,
                                                       int64_t at_ns, struct tape_error *error)
{
    return build(&path, 1, stream, 1, at_ns, error);
}

void tape_source_books_free(struct tape_source_books *books)
{
    if (!books)
        return;
    close_source(books);
    forget_captures(books);
    tape_source_books_set_free(&books->set);
    tape_source_asked_clear(&books->asked);
    for (int i = 0; i < books->count; i++)
        free(books->paths[i]);
    free(books->paths);
    free(books->stream);
    free(books->payload.bytes);
    free(books);
}

/* ---- what they are ---- */

int tape_source_books_count(const struct tape_source_books *books)
{
    int count = 0;
    for (size_t i = 0; i < books->set.count; i++)
        count += books->set.streams[i]->met;
    return count;
}

static const struct tape_source_books_stream *find_index(const struct tape_source_books *books,
                                                         int index)
{
    for (size_t i = 0; index >= 0 && i < books->set.count; i++)
        if (books->set.streams[i]->met && index-- == 0)
            return books->set.streams[i];
    return NULL;
}

/* {"state":true, and the rest of what REST would answer. */
static void put_known(struct tape_growing *payload, const struct tape_book *book)
{
    static const char head[] = "{\"state\":true,";
    int64_t bytes = tape_book_print(book, 0, NULL, 0);
    char *to = (char *)tape_growing_reserve(payload, sizeof head + (size_t)bytes);
    if (!to)
        return;
    /* The head stands in the place of the brace, which is put back under it. */
    tape_book_print(book, 0, to + sizeof head - 2, (size_t)bytes);
    memcpy(to, head, sizeof head - 1);
    payload->length += sizeof head - 2 + (size_t)bytes;
}

static void put_unknown(struct tape_growing *payload, const char *cause)
{
    char text[1024];
    struct tape_event_writer event;
    tape_event_begin(&event, text, sizeof text);
    tape_event_put_bool(&event, "state", 1);
    tape_event_put_bool(&event, "known", 0);
    tape_event_put_text(&event, "cause", cause);
    tape_growing_put(payload, text, tape_event_end(&event));
}

int tape_source_books_message(struct tape_source_books *books, int index,
                              struct tape_message *message, struct tape_error *error)
{
    const struct tape_source_books_stream *stream = find_index(books, index);
    if (!stream)
        return 0;
    const char *cause = tape_source_books_set_cause(stream);
    books->payload.length = 0;
    books->payload.failed = 0;
    if (*cause)
        put_unknown(&books->payload, cause);
    else
        put_known(&books->payload, stream->book);
    if (books->payload.failed)
        return short_of_memory(error);
    *message = (struct tape_message){
        .ordinal = stream->ordinal,
        .first_ordinal = stream->ordinal,
        .recv_ns = books->at_ns,
        .replay_ns = books->at_ns,
        .kind = TAPE_FEED_STATE,
        .archive = (uint16_t)stream->archive,
        .payload = {(const char *)books->payload.bytes, books->payload.length},
        .stream = {stream->name, strlen(stream->name)},
    };
    return 1;
}

/* The book and why it is not known. */
static const struct tape_book *tell(const struct tape_source_books_stream *stream,
                                    const char **cause)
{
    static const char not_met[] = "no such depth stream was recorded at that time";
    const char *why = stream ? tape_source_books_set_cause(stream) : not_met;
    if (cause)
        *cause = why;
    return stream && !*why ? stream->book : NULL;
}

const struct tape_book *tape_source_books_book(const struct tape_source_books *books,
                                               const char *stream, const char **cause)
{
    for (size_t i = 0; i < books->set.count; i++)
        if (books->set.streams[i]->met && strcmp(books->set.streams[i]->name, stream) == 0)
            return tell(books->set.streams[i], cause);
    return tell(NULL, cause);
}

const struct tape_book *tape_source_books_symbol(const struct tape_source_books *books,
                                                 const char *symbol, const char **cause)
{
    const struct tape_source_books_stream *best = NULL;
    for (size_t i = 0; i < books->set.count; i++) {
        const struct tape_source_books_stream *stream = books->set.streams[i];
        if (!stream->met || !stream->is_diff || !is_of_symbol(stream, symbol, strlen(symbol)) ||
            strncmp(stream->name + strlen(symbol), "@depth", 6) != 0)
            continue;
        int known = !*tape_source_books_set_cause(stream);
        if (!best || (known && (*tape_source_books_set_cause(best) ||
                                tape_book_last_id(stream->book) > tape_book_last_id(best->book))))
            best = stream;
    }
    return tell(best, cause);
}
