#include "replay/session_views.h"

#include <stdlib.h>
#include <string.h>

#include "format/scan.h"
#include "format/ws.h"

/* ---- what there is ---- */

enum { FIRST_BUCKETS = 64 };

/* A view of a stream: the name is the exchange's, own copy. Invariant: views are those whose set
 * holds the name, at least one. */
struct stream {
    struct stream *next; /* in its bucket */
    uint64_t hash;
    uint64_t origin; /* see tape_session_views_origin() */
    struct tape_session_view **views;
    size_t views_count, views_room;
    size_t bytes;
    char name[];
};

/* Invariants: streams are those of the names it is sent, sorted by address, so that equal sets are
 * equal arrays; at least one peer. What is held back stands in staged, or in batch once there is
 * one (staged_bytes is 0 then); dirty: anything is, and it is in the list of those. */
struct tape_session_view {
    struct stream **streams;
    size_t streams_count;
    int combined, state;
    struct tape_peer **peers;
    size_t peers_count, peers_room;
    uint8_t *staged;
    size_t staged_bytes;
    struct tape_batch *batch;
    int dirty;
    struct tape_session_view *next_dirty;
};

/* Invariants: buckets is a power of two, and not less than streams_count. */
struct tape_session_views {
    struct stream **buckets;
    size_t buckets_count, streams_count;
    struct tape_session_view **all;
    size_t all_count, all_room;
    struct tape_session_view *dirty;
    const struct tape_source_asked *asked; /* NULL: not known */
};

static uint64_t hash_of(const char *name, size_t bytes)
{
    uint64_t hash = 0x9e3779b97f4a7c15u ^ bytes, word;
    while (bytes > 8) {
        memcpy(&word, name, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
        name += 8;
        bytes -= 8;
    }
    word = 0;
    memcpy(&word, name, bytes);
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    return hash ^ hash >> 32;
}

struct tape_session_views *tape_session_views_new(void)
{
    struct tape_session_views *views = calloc(1, sizeof *views);
    if (views)
        views->buckets = calloc(FIRST_BUCKETS, sizeof *views->buckets);
    if (!views || !views->buckets) {
        free(views);
        return NULL;
    }
    views->buckets_count = FIRST_BUCKETS;
    return views;
}

void tape_session_views_name_by(struct tape_session_views *views,
                                const struct tape_source_asked *asked)
{
    views->asked = asked;
}

void tape_session_views_free(struct tape_session_views *views)
{
    if (!views)
        return;
    free(views->buckets);
    free(views->all);
    free(views);
}

/* ---- streams ---- */

static struct stream *find_stream(const struct tape_session_views *views, const char *name,
                                  size_t bytes)
{
    uint64_t hash = hash_of(name, bytes);
    struct stream *stream = views->buckets[hash & (views->buckets_count - 1)];
    while (stream && (stream->hash != hash || stream->bytes != bytes ||
                      memcmp(stream->name, name, bytes) != 0))
        stream = stream->next;
    return stream;
}

static void spread(struct tape_session_views *views)
{
    size_t count = 2 * views->buckets_count;
    struct stream **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return; /* longer chains, then */
    for (size_t i = 0; i < views->buckets_count; i++)
        for (struct stream *stream = views->buckets[i], *next; stream; stream = next) {
            struct stream **to = &buckets[stream->hash & (count - 1)];
            next = stream->next;
            stream->next = *to;
            *to = stream;
        }
    free(views->buckets);
    views->buckets = buckets;
    views->buckets_count = count;
}

static struct stream *make_stream(struct tape_session_views *views, const char *name, size_t bytes)
{
    struct stream *stream = find_stream(views, name, bytes);
    if (stream || !(stream = calloc(1, sizeof *stream + bytes)))
        return stream;
    stream->hash = hash_of(name, bytes);
    stream->bytes = bytes;
    memcpy(stream->name, name, bytes);
    if (views->streams_count >= views->buckets_count)
        spread(views);
    struct stream **bucket = &views->buckets[stream->hash & (views->buckets_count - 1)];
    stream->next = *bucket;
    *bucket = stream;
    views->streams_count++;
    return stream;
}

static void drop_stream(struct tape_session_views *views, struct stream *stream)
{
    struct stream **at = &views->buckets[stream->hash & (views->buckets_count - 1)];
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    views->streams_count--;
    free(stream->views);
    free(stream);
}

/* ---- lists of pointers ---- */

static int append(void *list, size_t *count, size_t *room, void *item)
{
    void **items;
    memcpy(&items, list, sizeof items);
    if (*count == *room) {
        size_t larger = *room ? 2 * *room : 4;
        void **moved = realloc(items, larger * sizeof *moved);
        if (!moved)
            return 0;
        *room = larger;
        items = moved;
        memcpy(list, &items, sizeof items);
    }
    items[(*count)++] = item;
    return 1;
}

static void take_out(void *items, size_t *count, const void *item)
{
    void **list = items;
    for (size_t i = 0; i < *count; i++)
        if (list[i] == item) {
            list[i] = list[--*count];
            return;
        }
}

/* ---- views ---- */

static void free_view(struct tape_session_views *views, struct tape_session_view *view)
{
    for (size_t i = 0; i < view->streams_count; i++) {
        struct stream *stream = view->streams[i];
        take_out(stream->views, &stream->views_count, view);
        if (stream->views_count == 0)
            drop_stream(views, stream);
    }
    take_out(views->all, &views->all_count, view);
    free(view->streams);
    free(view->peers);
    free(view->staged);
    free(view);
}

static int by_address(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t) * (struct stream *const *)a;
    uintptr_t right = (uintptr_t) * (struct stream *const *)b;
    return left < right ? -1 : left > right;
}

static int is_same(const struct tape_session_view *a, const struct tape_session_view *b)
{
    return a->combined == b->combined && a->state == b->state &&
           a->streams_count == b->streams_count &&
           memcmp(a->streams, b->streams, a->streams_count * sizeof *a->streams) == 0;
}

/* A view of its own for the client, with its streams told of it. */
static struct tape_session_view *make_view(struct tape_session_views *views,
                                           const struct tape_exchange_client *client, int state)
{
    struct tape_session_view *view = calloc(1, sizeof *view);
    if (!view)
        return NULL;
    view->combined = client->combined;
    view->state = state;
    view->streams = calloc(client->count + 1, sizeof *view->streams);
    int good = view->streams && append(&views->all, &views->all_count, &views->all_room, view);
    for (size_t i = 0; good && i < client->count; i++) {
        const struct tape_exchange_name *name = &client->names[i];
        struct stream *stream = name->sent ? make_stream(views, name->text, name->bytes) : NULL;
        if (!name->sent)
            continue;
        good = stream && append(&stream->views, &stream->views_count, &stream->views_room, view);
        if (good)
            view->streams[view->streams_count++] = stream;
        else if (stream && stream->views_count == 0)
            drop_stream(views, stream);
    }
    if (!good) {
        free_view(views, view);
        return NULL;
    }
    qsort(view->streams, view->streams_count, sizeof *view->streams, by_address);
    return view;
}

struct tape_session_view *tape_session_views_join(struct tape_session_views *views,
                                                  const struct tape_exchange_client *client,
                                                  int state, struct tape_peer *peer,
                                                  struct tape_error *error)
{
    struct tape_session_view *view = make_view(views, client, state);
    for (size_t i = 0; view && i < views->all_count; i++)
        if (views->all[i] != view && is_same(views->all[i], view)) {
            struct tape_session_view *same = views->all[i];
            free_view(views, view);
            view = same;
            break;
        }
    if (view && append(&view->peers, &view->peers_count, &view->peers_room, peer))
        return view;
    if (view && view->peers_count == 0)
        free_view(views, view);
    tape_error_set(error, TAPE_FAILED, "no memory for a client's subscriptions");
    return NULL;
}

void tape_session_views_leave(struct tape_session_views *views, struct tape_session_view *view,
                              struct tape_peer *peer)
{
    struct tape_session_view **at = &views->dirty;
    take_out(view->peers, &view->peers_count, peer);
    if (view->peers_count > 0)
        return;
    while (*at && *at != view)
        at = &(*at)->next_dirty;
    if (*at)
        *at = view->next_dirty;
    tape_batch_release(view->batch);
    free_view(views, view);
}

/* ---- giving ---- */

static void hand_over(struct tape_session_view *view)
{
    for (size_t i = 0; i < view->peers_count; i++)
        if (view->batch)
            tape_peer_put_batch(view->peers[i], view->batch);
        else if (view->staged_bytes > 0)
            tape_peer_put(view->peers[i], view->staged, view->staged_bytes);
    tape_batch_release(view->batch);
    view->batch = NULL;
    view->staged_bytes = 0;
}

void tape_session_views_flush(struct tape_session_views *views)
{
    for (struct tape_session_view *view = views->dirty; view; view = view->next_dirty) {
        hand_over(view);
        view->dirty = 0;
    }
    views->dirty = NULL;
}

/* What was staged goes first into a new batch with room for ${bytes} more. */
static int begin_batch(struct tape_session_view *view, size_t bytes)
{
    size_t room = view->staged_bytes + bytes;
    view->batch = tape_batch_new(room > TAPE_SESSION_BATCH_BYTES ? room : TAPE_SESSION_BATCH_BYTES);
    uint8_t *to = view->batch && view->staged_bytes > 0
                      ? tape_batch_reserve(view->batch, view->staged_bytes)
                      : NULL;
    if (!view->batch)
        return 0;
    if (to) {
        memcpy(to, view->staged, view->staged_bytes);
        tape_batch_commit(view->batch, view->staged_bytes);
    }
    view->staged_bytes = 0;
    return 1;
}

/* Room for ${bytes} behind what the view holds back; commit() says that they were written. */
static uint8_t *reserve(struct tape_session_view *view, size_t bytes)
{
    if (view->batch) {
        uint8_t *to = tape_batch_reserve(view->batch, bytes);
        if (to)
            return to;
        hand_over(view);
    }
    if (!view->staged && !(view->staged = malloc(TAPE_SESSION_STAGED_BYTES)))
        return NULL;
    if (bytes <= TAPE_SESSION_STAGED_BYTES - view->staged_bytes)
        return view->staged + view->staged_bytes;
    return begin_batch(view, bytes) ? tape_batch_reserve(view->batch, bytes) : NULL;
}

static void commit(struct tape_session_views *views, struct tape_session_view *view, size_t bytes)
{
    if (view->batch)
        tape_batch_commit(view->batch, bytes);
    else
        view->staged_bytes += bytes;
    if (!view->dirty) {
        view->dirty = 1;
        view->next_dirty = views->dirty;
        views->dirty = view;
    }
}

/* ---- forms ---- */

/* The value of "data" in a wrapper, byte for byte; the payload itself where there is none. */
static struct tape_slice find_data(struct tape_slice payload)
{
    const char *end = payload.data + payload.bytes;
    const char *at = tape_scan_space(payload.data, end);
    if (at == end || *at != '{')
        return payload;
    at = tape_scan_space(at + 1, end);
    while (at < end && *at == '"') {
        const char *key = at + 1, *quote = tape_scan_string(key, end);
        if (!quote)
            return payload;
        at = tape_scan_space(quote + 1, end);
        if (at == end || *at != ':')
            return payload;
        at = tape_scan_space(at + 1, end);
        const char *behind = at < end ? tape_scan_value(at, end, 1) : NULL;
        if (!behind)
            return payload;
        if (quote - key == 4 && memcmp(key, "data", 4) == 0)
            return (struct tape_slice){at, (size_t)(behind - at)};
        at = tape_scan_space(behind, end);
        if (at == end || *at != ',')
            return payload;
        at = tape_scan_space(at + 1, end);
    }
    return payload;
}

/* The usual form, {"stream":"<name>","data":{...}}, in little time: where the first closing brace
 * of all is the last but one byte, it is the one that ends the data. data is NULL when it is not
 * so. */
static struct tape_slice find_plain_data(struct tape_slice payload, struct tape_slice name)
{
    static const char before[] = "{\"stream\":\"", after[] = "\",\"data\":{";
    const struct tape_slice none = {NULL, 0};
    size_t head = sizeof before - 1 + name.bytes + sizeof after - 1;
    const char *data = payload.data + head - 1, *end = payload.data + payload.bytes;
    if (payload.bytes < head + 2 || end[-1] != '}' || end[-2] != '}' ||
        memcmp(payload.data, before, sizeof before - 1) != 0 ||
        memcmp(payload.data + sizeof before - 1 + name.bytes, after, sizeof after - 1) != 0 ||
        memcmp(payload.data + sizeof before - 1, name.data, name.bytes) != 0 ||
        memchr(data, '}', (size_t)(end - data)) != end - 2)
        return none;
    return (struct tape_slice){data, (size_t)(end - 1 - data)};
}

/* Two pieces around the middle, as one frame. */
struct form {
    struct tape_slice name; /* of the wrapper; bytes 0: without */
    struct tape_slice middle;
    int opcode;
};

static size_t wrapped_bytes(const struct form *form)
{
    static const size_t around = sizeof "{\"stream\":\"\",\"data\":}" - 1;
    return form->middle.bytes + (form->name.bytes ? form->name.bytes + around : 0);
}

static uint8_t *add(uint8_t *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return to + bytes;
}

static size_t write_form(uint8_t *to, const struct form *form)
{
    uint8_t *at = to + tape_ws_build(to, form->opcode, 1, wrapped_bytes(form), NULL);
    if (form->name.bytes) {
        at = add(at, "{\"stream\":\"", 11);
        at = add(at, form->name.data, form->name.bytes);
        at = add(at, "\",\"data\":", 9);
    }
    at = add(at, form->middle.data, form->middle.bytes);
    if (form->name.bytes)
        *at++ = '}';
    return (size_t)(at - to);
}

/* ---- a message ---- */

/* Of one message: the stream's name, and whether the recording has it in a wrapper. */
struct named {
    char made[TAPE_EXCHANGE_NAME_MAX_BYTES];
    struct tape_slice name;
    int wrapped;
};

static int find_name(const struct tape_session_views *views, const struct tape_message *message,
                     struct named *named)
{
    struct tape_tick tick;
    named->name = message->stream;
    named->wrapped = message->kind != TAPE_FEED_STATE && message->stream.bytes > 0;
    if (message->stream.bytes > 0 ||
        (views->asked && tape_source_asked_only(views->asked, message, &named->name)))
        return 1;
    if (tape_tick_scan(message->payload.data, message->payload.bytes, &tick) != 1)
        return 0;
    named->name.data = named->made;
    named->name.bytes = tape_exchange_derive(&tick, message->payload, named->made);
    return named->name.bytes > 0 ||
           (views->asked && tape_source_asked_like(views->asked, message, &tick, &named->name));
}

static struct stream *find_escaped(const struct tape_session_views *views, struct tape_slice name)
{
    char plain[TAPE_EXCHANGE_NAME_MAX_BYTES];
    if (!memchr(name.data, '\\', name.bytes))
        return NULL;
    size_t bytes = tape_scan_unescape(name.data, name.bytes, plain, sizeof plain);
    return bytes <= sizeof plain ? find_stream(views, plain, bytes) : NULL;
}

static int put_as_recorded(struct tape_session_views *views, struct tape_session_view *view,
                           struct tape_slice frame)
{
    uint8_t *to = reserve(view, frame.bytes);
    if (!to)
        return 0;
    memcpy(to, frame.data, frame.bytes);
    commit(views, view, frame.bytes);
    return 1;
}

/* Returns the bytes of the frame, 0 when memory is short. */
static size_t put_formed(struct tape_session_views *views, struct tape_session_view *view,
                         const struct form *form)
{
    uint8_t *to = reserve(view, TAPE_WS_HEADER_MAX_BYTES + wrapped_bytes(form));
    if (!to)
        return 0;
    size_t bytes = write_form(to, form);
    commit(views, view, bytes);
    return bytes;
}

int tape_session_views_put(struct tape_session_views *views, const struct tape_message *message,
                           struct tape_session_delivery *delivery, struct tape_error *error)
{
    struct named named;
    struct form form = {{NULL, 0}, {NULL, 0}, message->opcode ? message->opcode : TAPE_WS_TEXT};
    *delivery = (struct tape_session_delivery){0, 0};
    if (!find_name(views, message, &named))
        return 0;
    struct stream *stream = find_stream(views, named.name.data, named.name.bytes);
    if (!stream && !(stream = find_escaped(views, named.name)))
        return 1;
    int made = message->kind == TAPE_FEED_STATE;
    if (!made)
        stream->origin = tape_session_origin(message->archive, message->connection);
    for (size_t i = 0; i < stream->views_count; i++) {
        struct tape_session_view *view = stream->views[i];
        size_t bytes = message->frame.bytes;
        int wraps = view->combined && !named.wrapped;
        if ((made && !view->state) || (wraps && form.opcode != TAPE_WS_TEXT))
            continue;
        if (!made && view->combined == named.wrapped && bytes > 0) {
            bytes = put_as_recorded(views, view, message->frame) ? bytes : 0;
        } else {
            form.name = view->combined ? named.name : (struct tape_slice){NULL, 0};
            if (!form.middle.data && named.wrapped)
                form.middle = find_plain_data(message->payload, named.name);
            if (!form.middle.data)
                form.middle = named.wrapped ? find_data(message->payload) : message->payload;
            bytes = put_formed(views, view, &form);
        }
        if (bytes == 0)
            return tape_error_set(error, TAPE_FAILED, "no memory for messages to clients");
        delivery->frames += view->peers_count;
        delivery->bytes += view->peers_count * bytes;
    }
    return 1;
}

uint64_t tape_session_views_origin(const struct tape_session_views *views, const char *name,
                                   size_t bytes)
{
    const struct stream *stream = find_stream(views, name, bytes);
    return stream ? stream->origin : 0;
}
