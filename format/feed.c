#include "format/feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/feed_ends.h"
#include "format/scan.h"
#include "format/venue.h"
#include "format/ws.h"

enum {
    BUCKETS = 1024,
    HELD_MAX_BYTES = 256 << 20,      /* of all open messages together, as payload … */
    HELD_WIRE_MAX_BYTES = 512 << 20, /* … and as frames */
    WIRE_MAX_BYTES = 4 * TAPE_WS_MESSAGE_MAX_BYTES, /* of one: fragments without bytes cost, too */
    FIRST_ROOM_BYTES = 4096,
};

/* Invariant: used <= room. */
struct bytes {
    uint8_t *data;
    size_t used, room;
};

/* A fragmented message. Invariants: payload.used <= TAPE_WS_MESSAGE_MAX_BYTES; wire holds the
 * frames that payload was taken from; given_up: it was told as BAD, holds no bytes and only waits
 * for its end. */
struct assembly {
    struct assembly *next;
    uint64_t first_ordinal, last_ordinal;
    int64_t recv_ns;
    struct bytes payload, wire;
    uint32_t connection;
    uint16_t flags;
    uint8_t outgoing, opcode, given_up;
};

/* Invariants: the buckets hold the open messages, at most one a connection and direction, open of
 * them with held bytes of room for payload and held_wire for frames; lent and cuts belong to the
 * push before and are freed by the next. While open is 0 the records need no order. */
struct tape_feed {
    uint32_t open;
    uint64_t last_ordinal;
    size_t held, held_wire;
    struct assembly *lent; /* the message that was given last */
    struct assembly *cuts; /* those that the last record cut */
    uint8_t *plain;        /* the payload of the last masked frame */
    size_t plain_room;
    struct assembly *buckets[BUCKETS];
};

struct tape_feed *tape_feed_new(void)
{
    return calloc(1, sizeof(struct tape_feed));
}

static void free_list(struct assembly *list)
{
    while (list) {
        struct assembly *next = list->next;
        free(list->payload.data);
        free(list->wire.data);
        free(list);
        list = next;
    }
}

void tape_feed_free(struct tape_feed *feed)
{
    if (!feed)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        free_list(feed->buckets[i]);
    free_list(feed->lent);
    free_list(feed->cuts);
    free(feed->plain);
    free(feed);
}

/* ---- the open messages ---- */

/* Where the connection's open message hangs, or the NULL at the end of its bucket. */
static struct assembly **find(struct tape_feed *feed, uint32_t connection, int outgoing)
{
    struct assembly **at = &feed->buckets[connection * 2654435761u >> 22];
    while (*at && ((*at)->connection != connection || (*at)->outgoing != outgoing))
        at = &(*at)->next;
    return at;
}

static struct assembly *unhang(struct tape_feed *feed, struct assembly **at)
{
    struct assembly *assembly = *at;
    *at = assembly->next;
    assembly->next = NULL;
    feed->open--;
    feed->held -= assembly->payload.room;
    feed->held_wire -= assembly->wire.room;
    return assembly;
}

/* Moves what the record cuts to the list of cuts; it tells of those that were not told before. */
static void cut(struct tape_feed *feed, struct assembly **at)
{
    struct assembly *assembly = unhang(feed, at);
    if (assembly->given_up) {
        free_list(assembly);
        return;
    }
    struct assembly **last = &feed->cuts;
    while (*last)
        last = &(*last)->next;
    *last = assembly;
}

static void cut_connection(struct tape_feed *feed, uint32_t connection)
{
    for (int outgoing = 0; outgoing < 2; outgoing++) {
        struct assembly **at = find(feed, connection, outgoing);
        if (*at)
            cut(feed, at);
    }
}

static void cut_all(struct tape_feed *feed)
{
    for (size_t i = 0; i < BUCKETS && feed->open > 0; i++)
        while (feed->buckets[i])
            cut(feed, &feed->buckets[i]);
}

static void cut_ended(struct tape_feed *feed, const struct tape_record *record)
{
    int ends = tape_feed_ends(record->kind, record->connection, record->data, record->bytes);
    if (ends == TAPE_FEED_ENDS_CONNECTION)
        cut_connection(feed, record->connection);
    else if (ends == TAPE_FEED_ENDS_ALL)
        cut_all(feed);
}

static int reserve(struct bytes *bytes, size_t wanted, size_t *held)
{
    if (wanted <= bytes->room)
        return 1;
    size_t room = bytes->room ? bytes->room : FIRST_ROOM_BYTES;
    while (room < wanted)
        room *= 2;
    uint8_t *grown = realloc(bytes->data, room);
    if (!grown)
        return 0;
    *held += room - bytes->room;
    bytes->data = grown;
    bytes->room = room;
    return 1;
}

static void give_up(struct tape_feed *feed, struct assembly *assembly)
{
    feed->held -= assembly->payload.room;
    feed->held_wire -= assembly->wire.room;
    free(assembly->payload.data);
    free(assembly->wire.data);
    assembly->payload = assembly->wire = (struct bytes){0};
    assembly->given_up = 1;
}

/* ---- messages ---- */

static const struct tape_slice no_stream = {"", 0};

static inline void fill(struct tape_message *message, const struct tape_record *record, int kind)
{
    const struct tape_slice body = {(const char *)record->data, record->bytes};
    message->ordinal = message->first_ordinal = record->ordinal;
    message->recv_ns = record->recv_ns;
    message->connection = record->connection;
    message->flags = record->flags;
    message->kind = (uint8_t)kind;
    message->record_kind = record->kind;
    message->opcode = 0;
    message->outgoing = record->kind == TAPE_RECORD_FRAME_OUT;
    message->close_code = 0;
    message->payload = body;
    message->stream = no_stream;
    message->frame = body;
    message->archive = 0;
    message->replay_ns = record->recv_ns;
}

/* The closing quote of a name that is not plain up to it, or NULL. */
static __attribute__((noinline)) const char *find_close(const char *at, const char *end)
{
    return at < end ? tape_scan_string(at, end) : NULL;
}

/* The name in a wrapper that begins with it, as nearly all messages do; 0: it does not. */
static inline int name_wrapper(struct tape_message *message)
{
    static const char prefix[] = "{\"stream\":\"";
    enum { PREFIX_BYTES = sizeof prefix - 1 };
    const char *payload = message->payload.data, *end = payload + message->payload.bytes;
    if (message->payload.bytes <= PREFIX_BYTES || memcmp(payload, prefix, PREFIX_BYTES) != 0)
        return 0;
    const char *name = payload + PREFIX_BYTES, *close = tape_scan_plain(name, end);
    if (close == end || *close != '"')
        close = find_close(close, end);
    if (close) {
        message->stream.data = name;
        message->stream.bytes = (size_t)(close - name);
    }
    return 1;
}

/* Incoming text: an answer, or data with the wrapper's name where there is one. */
static void name_text(struct tape_message *message)
{
    const char *payload = message->payload.data;
    size_t bytes = message->payload.bytes;
    if (name_wrapper(message))
        return;
    struct tape_venue_answer answer;
    /* A line of a capture answers no request of ours. */
    int kind = message->flags & TAPE_RECORD_FLAG_IMPORTED
                   ? TAPE_VENUE_DATA
                   : tape_venue_classify(payload, bytes, &answer);
    if (kind != TAPE_VENUE_DATA) {
        message->kind = kind == TAPE_VENUE_ACK ? TAPE_FEED_ACK : TAPE_FEED_REFUSAL;
        return;
    }
    struct tape_tick tick;
    tape_tick_scan(payload, bytes, &tick);
    if (tick.stream.data)
        message->stream = tick.stream;
}

static inline int finish(struct tape_message *message, int opcode)
{
    message->opcode = (uint8_t)opcode;
    message->kind = message->outgoing ? TAPE_FEED_SENT : TAPE_FEED_DATA;
    if (opcode == TAPE_WS_TEXT && !message->outgoing)
        name_text(message);
    return 1;
}

static int bad(struct tape_message *message, const struct tape_record *record)
{
    fill(message, record, TAPE_FEED_BAD);
    return 1;
}

/* The payload of a frame into to, without its mask. */
static void copy_payload(uint8_t *to, const uint8_t *from, const struct tape_ws_frame *frame)
{
    if (frame->masked)
        tape_ws_mask(to, from, frame->payload_bytes, frame->mask, 0);
    else
        memcpy(to, from, frame->payload_bytes);
}

/* Points the message at the frame's payload, unmasked where it is masked. */
static int lend_payload(struct tape_feed *feed, const struct tape_record *record,
                        const struct tape_ws_frame *frame, struct tape_message *message)
{
    const uint8_t *payload = record->data + frame->header_bytes;
    size_t bytes = frame->payload_bytes;
    if (frame->masked) {
        if (feed->plain_room < bytes || !feed->plain) {
            uint8_t *grown = realloc(feed->plain, bytes + FIRST_ROOM_BYTES);
            if (!grown)
                return 0;
            feed->plain = grown;
            feed->plain_room = bytes + FIRST_ROOM_BYTES;
        }
        if (bytes > 0)
            copy_payload(feed->plain, payload, frame);
        payload = feed->plain;
    }
    message->payload.data = (const char *)payload;
    message->payload.bytes = bytes;
    return 1;
}

static int no_memory(struct tape_error *error, const struct tape_record *record)
{
    return tape_error_errno(error, ENOMEM, "message on connection %u, record %llu",
                            record->connection, (unsigned long long)record->ordinal);
}

/* ---- frames ---- */

static int push_control(const struct tape_ws_frame *frame, struct tape_message *message,
                        const struct tape_record *record)
{
    message->opcode = frame->opcode;
    if (frame->opcode != TAPE_WS_CLOSE) {
        message->kind = frame->opcode == TAPE_WS_PING ? TAPE_FEED_PING : TAPE_FEED_PONG;
        return 1;
    }
    const uint8_t *reason;
    size_t reason_bytes;
    message->kind = TAPE_FEED_CLOSE;
    if (tape_ws_close_parse((const uint8_t *)message->payload.data, message->payload.bytes,
                            &message->close_code, &reason, &reason_bytes) < 0)
        return bad(message, record);
    return 1;
}

/* Opens a message with its first fragment. */
static int open_message(struct tape_feed *feed, struct assembly **at,
                        const struct tape_record *record, const struct tape_ws_frame *frame,
                        struct tape_error *error)
{
    if (feed->open == TAPE_FEED_CONNECTIONS_MAX)
        return tape_error_set(error, TAPE_LIMIT,
                              "connection %u: more than %d messages are open at one time",
                              record->connection, TAPE_FEED_CONNECTIONS_MAX);
    struct assembly *assembly = calloc(1, sizeof *assembly);
    if (!assembly)
        return no_memory(error, record);
    assembly->first_ordinal = record->ordinal;
    assembly->connection = record->connection;
    assembly->outgoing = record->kind == TAPE_RECORD_FRAME_OUT;
    assembly->opcode = frame->opcode;
    *at = assembly;
    feed->open++;
    return 0;
}

/* Adds the frame to its message: 1 when it was too long for it, 0, or a status. */
static int append(struct tape_feed *feed, struct assembly *assembly,
                  const struct tape_record *record, const struct tape_ws_frame *frame,
                  struct tape_error *error)
{
    struct bytes *payload = &assembly->payload, *wire = &assembly->wire;
    uint64_t bytes = payload->used + frame->payload_bytes;
    assembly->flags |= record->flags;
    assembly->last_ordinal = record->ordinal;
    assembly->recv_ns = record->recv_ns;
    if (assembly->given_up)
        return 0;
    uint64_t wire_bytes = wire->used + record->bytes;
    if (bytes > TAPE_WS_MESSAGE_MAX_BYTES || wire_bytes > WIRE_MAX_BYTES ||
        feed->held - payload->room + bytes > HELD_MAX_BYTES ||
        feed->held_wire - wire->room + wire_bytes > HELD_WIRE_MAX_BYTES) {
        give_up(feed, assembly);
        return 1;
    }
    if (!reserve(payload, bytes, &feed->held) || !reserve(wire, wire_bytes, &feed->held_wire))
        return no_memory(error, record);
    if (frame->payload_bytes > 0)
        copy_payload(payload->data + payload->used, record->data + frame->header_bytes, frame);
    payload->used = bytes;
    memcpy(wire->data + wire->used, record->data, record->bytes);
    wire->used = wire_bytes;
    return 0;
}

static void fill_assembled(struct tape_message *message, const struct assembly *assembly)
{
    message->ordinal = assembly->last_ordinal;
    message->first_ordinal = assembly->first_ordinal;
    message->recv_ns = assembly->recv_ns;
    message->connection = assembly->connection;
    message->flags = assembly->flags;
    message->record_kind = assembly->outgoing ? TAPE_RECORD_FRAME_OUT : TAPE_RECORD_FRAME_IN;
    message->outgoing = assembly->outgoing;
    message->opcode = assembly->opcode;
    message->close_code = 0;
    message->payload.data = assembly->payload.used ? (const char *)assembly->payload.data : "";
    message->payload.bytes = assembly->payload.used;
    message->stream = no_stream;
    message->frame.data = assembly->wire.used ? (const char *)assembly->wire.data : "";
    message->frame.bytes = assembly->wire.used;
    message->archive = 0;
    message->replay_ns = assembly->recv_ns;
}

static int push_fragment(struct tape_feed *feed, struct assembly **at,
                         const struct tape_record *record, const struct tape_ws_frame *frame,
                         struct tape_message *message, struct tape_error *error)
{
    int begins = frame->opcode != TAPE_WS_CONTINUATION;
    if (begins == (*at != NULL))
        return bad(message, record); /* nothing to continue, or one inside another */
    int status = begins ? open_message(feed, at, record, frame, error) : 0;
    if (status == 0)
        status = append(feed, *at, record, frame, error);
    if (status < 0)
        return status;
    if (frame->fin) {
        struct assembly *whole = unhang(feed, at);
        feed->lent = whole;
        if (!whole->given_up) {
            fill_assembled(message, whole);
            return finish(message, whole->opcode);
        }
    }
    return status ? bad(message, record) : 0;
}

static int push_frame(struct tape_feed *feed, const struct tape_record *record,
                      struct tape_message *message, struct tape_error *error)
{
    int incoming = record->kind == TAPE_RECORD_FRAME_IN;
    struct tape_ws_frame frame;
    if ((record->flags & TAPE_RECORD_FLAGS_UNREADABLE) ||
        tape_ws_header(record->data, record->bytes, &frame) <= 0 ||
        frame.payload_bytes != record->bytes - frame.header_bytes || (frame.masked && incoming))
        return bad(message, record);
    if (frame.opcode < TAPE_WS_CLOSE) {
        struct assembly **at = NULL;
        if (feed->open > 0 || !frame.fin || frame.opcode == TAPE_WS_CONTINUATION)
            at = find(feed, record->connection, !incoming);
        if (at && (*at || !frame.fin || frame.opcode == TAPE_WS_CONTINUATION))
            return push_fragment(feed, at, record, &frame, message, error);
        if (frame.payload_bytes > TAPE_WS_MESSAGE_MAX_BYTES)
            return bad(message, record);
    }
    fill(message, record, TAPE_FEED_DATA);
    if (!lend_payload(feed, record, &frame, message))
        return no_memory(error, record);
    return frame.opcode < TAPE_WS_CLOSE ? finish(message, frame.opcode)
                                        : push_control(&frame, message, record);
}

/* The header of a frame of text that is whole, unmasked and shorter than 64 KiB, with as many bytes
 * behind it as it tells; 0: the record is another one. */
static inline uint32_t plain_header(const struct tape_record *record)
{
    const uint8_t *data = record->data;
    if (record->bytes < 4 || data[0] != (0x80 | TAPE_WS_TEXT))
        return 0;
    if (data[1] == 126) {
        uint32_t payload = (uint32_t)data[2] << 8 | data[3];
        return payload > 125 && record->bytes - 4 == payload ? 4 : 0;
    }
    return data[1] < 126 && record->bytes - 2 == data[1] ? 2 : 0;
}

/* The way of nearly all records: such a frame that begins as a wrapper, nothing open and nothing to
 * free. 0: it is another one, and the message is not to be used. */
static inline int push_plain(const struct tape_feed *feed, const struct tape_record *record,
                             struct tape_message *message)
{
    if (record->kind != TAPE_RECORD_FRAME_IN || (record->flags & TAPE_RECORD_FLAGS_UNREADABLE) ||
        feed->open > 0 || feed->lent || feed->cuts)
        return 0;
    uint32_t header = plain_header(record);
    if (header == 0)
        return 0;
    fill(message, record, TAPE_FEED_DATA);
    message->opcode = TAPE_WS_TEXT;
    message->payload.data += header;
    message->payload.bytes -= header;
    return name_wrapper(message);
}

/* Between the fragments of a message every record counts: after a hole in the ordinals a fragment
 * may be missing, and what is open is cut rather than joined wrongly. */
static void release(struct tape_feed *feed, const struct tape_record *record)
{
    free_list(feed->lent);
    free_list(feed->cuts);
    feed->lent = feed->cuts = NULL;
    if (feed->open > 0 && record->ordinal != feed->last_ordinal + 1)
        cut_all(feed);
    feed->last_ordinal = record->ordinal;
}

static __attribute__((noinline)) int push_any(struct tape_feed *feed,
                                              const struct tape_record *record,
                                              struct tape_message *message,
                                              struct tape_error *error)
{
    release(feed, record);
    if (record->kind == TAPE_RECORD_FRAME_IN || record->kind == TAPE_RECORD_FRAME_OUT)
        return push_frame(feed, record, message, error);
    if (!tape_record_kind_word(record->kind))
        return 0;
    if (feed->open > 0)
        cut_ended(feed, record);
    fill(message, record, TAPE_FEED_EVENT);
    return 1;
}

int tape_feed_push(struct tape_feed *feed, const struct tape_record *record,
                   struct tape_message *message, struct tape_error *error)
{
    return push_plain(feed, record, message) ? 1 : push_any(feed, record, message, error);
}

void tape_feed_pass(struct tape_feed *feed, uint64_t from, uint64_t to)
{
    if (feed->open > 0 && from == feed->last_ordinal + 1 && to > from)
        feed->last_ordinal = to - 1;
}

int tape_feed_cut(struct tape_feed *feed, struct tape_message *message)
{
    struct assembly *first = feed->cuts;
    if (!first)
        return 0;
    fill_assembled(message, first);
    message->kind = TAPE_FEED_BAD;
    feed->cuts = first->next;
    first->next = feed->lent;
    feed->lent = first;
    return 1;
}

int tape_feed_is_orphan(const struct tape_record *record, const struct tape_message *message)
{
    return message->kind == TAPE_FEED_BAD && record->kind == TAPE_RECORD_FRAME_IN &&
           !(record->flags & TAPE_RECORD_FLAGS_UNREADABLE) && record->bytes > 0 &&
           (record->data[0] & 15) == TAPE_WS_CONTINUATION;
}

uint32_t tape_feed_open_messages(const struct tape_feed *feed)
{
    return feed->open;
}

const char *tape_feed_kind_word(int kind)
{
    static const char *const words[] = {
#define WORD(name, word, meaning) [TAPE_FEED_##name] = word,
        TAPE_FEED_KIND_TABLE(WORD)
#undef WORD
    };
    return kind >= 0 && kind < (int)(sizeof words / sizeof *words) ? words[kind] : NULL;
}
