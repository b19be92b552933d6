#include <string.h>

#include "format/event.h"
#include "format/record.h"
#include "record/clock.h"
#include "record/connection_state.h"

enum { SMALL_BODY_BYTES = 8 << 10, ASKED_BODY_BYTES = TAPE_EVENT_MAX_BYTES };

static void write_body(struct tape_connection *c, int kind, const void *body, size_t bytes)
{
    tape_store_event(c->setup->store, kind, c->number, tape_clock_realtime(), body, bytes);
}

void tape_connection_write_request(struct tape_connection *c, const void *data, size_t bytes)
{
    write_body(c, TAPE_RECORD_HANDSHAKE_REQUEST, data, bytes);
}

void tape_connection_write_response(struct tape_connection *c, size_t bytes)
{
    if (bytes > TAPE_HANDSHAKE_HEAD_MAX_BYTES)
        bytes = TAPE_HANDSHAKE_HEAD_MAX_BYTES;
    if (bytes)
        tape_store_event(c->setup->store, TAPE_RECORD_HANDSHAKE_RESPONSE, c->number,
                         c->stamp.stamp_ns, c->in.data, bytes);
}

void tape_connection_write_frames_out(struct tape_connection *c, const uint8_t *data, size_t bytes)
{
    struct tape_ws_frame frame;
    size_t used = 0;
    while (used < bytes) {
        int header = tape_ws_header(data + used, bytes - used, &frame);
        size_t whole = header > 0 ? (size_t)header + (size_t)frame.payload_bytes : bytes - used;
        write_body(c, TAPE_RECORD_FRAME_OUT, data + used, whole);
        used += whole;
    }
}

void tape_connection_write_open(struct tape_connection *c)
{
    char body[SMALL_BODY_BYTES], url[TAPE_URL_TEXT_BYTES], fingerprint[65];
    struct tape_event_writer writer;
    tape_url_text(&c->link->url, url, sizeof url);
    tape_event_begin(&writer, body, sizeof body);
    tape_event_put_number(&writer, "session", c->setup->session);
    tape_event_put_text(&writer, "url", url);
    if (c->setup->venue)
        tape_event_put_text(&writer, "venue", tape_venue_name(c->setup->venue));
    tape_event_put_text(&writer, "peer", c->dial.peer);
    if (c->tls) {
        tape_tls_fingerprint(c->tls, fingerprint);
        tape_event_put_text(&writer, "tls", tape_tls_version(c->tls));
        tape_event_put_text(&writer, "cipher", tape_tls_cipher(c->tls));
        tape_event_put_text(&writer, "certificate_sha256", fingerprint);
    }
    tape_event_put_number(&writer, "resolve_ns", c->dial.resolve_ns);
    tape_event_put_number(&writer, "connect_ns", c->dial.connect_ns);
    tape_event_put_number(&writer, "tls_ns", c->tls_ns);
    tape_event_put_number(&writer, "upgrade_ns", c->upgrade_ns);
    write_body(c, TAPE_RECORD_CONNECTION_OPEN, body, tape_event_end(&writer));
}

void tape_connection_write_close(struct tape_connection *c)
{
    static const struct {
        const char *word, *by;
    } causes[] = {
#define CAUSE(name, word, by) {word, by},
        TAPE_CONNECTION_CAUSE_TABLE(CAUSE)
#undef CAUSE
    };
    char body[SMALL_BODY_BYTES];
    struct tape_event_writer writer;
    const struct tape_connection_end *end = &c->end;
    tape_event_begin(&writer, body, sizeof body);
    tape_event_put_bool(&writer, "opened", end->opened);
    tape_event_put_text(&writer, "cause", causes[end->cause].word);
    tape_event_put_text(&writer, "by", causes[end->cause].by);
    tape_event_put_number(&writer, "code", end->code);
    tape_event_put_text(&writer, "reason", end->reason);
    tape_event_put_number(&writer, "errno", end->errno_value);
    tape_event_put_text(&writer, "detail", end->error.text);
    write_body(c, TAPE_RECORD_CONNECTION_CLOSE, body, tape_event_end(&writer));
}

void tape_connection_write_asked(struct tape_connection *c, const char *const *streams, int count)
{
    static char body[ASKED_BODY_BYTES]; /* the receive thread's alone */
    struct tape_event_writer writer;
    tape_event_begin(&writer, body, sizeof body);
    tape_event_put_number(&writer, "id", c->request_id);
    tape_event_put_texts(&writer, "streams", streams, (size_t)count);
    write_body(c, TAPE_RECORD_SUBSCRIPTION_ASKED, body, tape_event_end(&writer));
}
