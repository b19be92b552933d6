/* What a session does and did, for people and as JSON. */
#include <inttypes.h>

#include "replay/control.h"
#include "replay/object.h"
#include "replay/receipt_source.h"
#include "replay/session_internal.h"
#include "replay/timespec.h"

static void put_totals(cJSON *object, const struct tape_session *session)
{
    const struct tape_session_totals *totals = &session->totals;
    tape_object_put_count(object, "clients", (uint64_t)session->connected);
    tape_object_put_count(object, "clients_most", totals->clients_most);
    tape_object_put_count(object, "sent_messages", totals->messages);
    tape_object_put_count(object, "sent_frames", totals->frames);
    tape_object_put_count(object, "sent_bytes", totals->bytes);
    tape_object_put_count(object, "unnamed", totals->unnamed);
    tape_object_put_count(object, "cuts", totals->cuts);
    tape_object_put_count(object, "sent_away", totals->sent_away);
}

/* Time stands still, though nobody paused it. */
static int waits_for_clients(const struct tape_session *session, int64_t now_ns)
{
    struct tape_transport_state state;
    tape_transport_read_state(session->transport, now_ns, &state);
    return session->members_count == 0 && !session->ended &&
           state.phase == TAPE_TRANSPORT_PHASE_PLAYING;
}

cJSON *tape_session_state(struct tape_session *session, int64_t now_ns)
{
    cJSON *object = tape_control_state(session->name, session->transport, now_ns);
    if (!object)
        return NULL;
    if (waits_for_clients(session, now_ns))
        cJSON_ReplaceItemInObject(object, "phase", cJSON_CreateString("waiting"));
    put_totals(object, session);
    tape_receipt_put_damages(object, tape_transport_source(session->transport));
    return object;
}

static const char *end_word(const struct tape_session *session)
{
    return session->failed ? "failure" : session->ended ? "archive" : "left";
}

/* Nobody there since the receipt before: nothing either. */
static int has_nothing_to_tell(const struct tape_session *session)
{
    return !session->begun || session->told || session->totals.clients == 0;
}

static int64_t wall_of(const struct tape_session *session, int64_t now_ns)
{
    return (session->ended ? session->ended_ns : now_ns) - session->began_ns;
}

cJSON *tape_session_take_receipt(struct tape_session *session, int64_t now_ns)
{
    char digest[TAPE_DIGEST_TEXT_BYTES];
    if (has_nothing_to_tell(session))
        return NULL;
    cJSON *object = tape_session_state(session, now_ns);
    session->told = 1;
    if (!object)
        return NULL;
    tape_object_put_string(object, "end", end_word(session));
    tape_object_put_wide(object, "wall_ns", wall_of(session, now_ns));
    tape_receipt_put_event_late(object, tape_transport_source(session->transport));
    tape_receipt_put_shares(object, tape_transport_source(session->transport));
    tape_session_end_digest(session, digest);
    if (digest[0])
        cJSON_AddStringToObject(object, "sha256", digest);
    return object;
}

static void tell_lateness(const struct tape_transport_state *state, FILE *to)
{
    char p50[TAPE_TIMESPEC_DURATION_TEXT_BYTES], p99[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    char max[TAPE_TIMESPEC_DURATION_TEXT_BYTES], stretched[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    if (state->speed <= 0 || state->lateness.count == 0)
        return;
    tape_timespec_format_duration(p50, tape_lateness_quantile(&state->lateness, 0.5));
    tape_timespec_format_duration(p99, tape_lateness_quantile(&state->lateness, 0.99));
    tape_timespec_format_duration(max, state->lateness.max_ns);
    tape_timespec_format_duration(stretched, state->stretched_ns);
    fprintf(to, "; late p50 %s, p99 %s, max %s", p50, p99, max);
    if (state->stretched_ns > 0)
        fprintf(to, "; time stretched by %s", stretched);
    if (state->dropped_late > 0)
        fprintf(to, "; %" PRIu64 " dropped as too late", state->dropped_late);
}

void tape_session_tell_receipt(struct tape_session *session, int64_t now_ns, FILE *to)
{
    struct tape_transport_state state;
    const struct tape_session_totals *totals = &session->totals;
    const struct tape_source *source = tape_transport_source(session->transport);
    char wall[TAPE_TIMESPEC_DURATION_TEXT_BYTES], digest[TAPE_DIGEST_TEXT_BYTES];
    if (has_nothing_to_tell(session))
        return;
    tape_transport_read_state(session->transport, now_ns, &state);
    tape_timespec_format_duration(wall, wall_of(session, now_ns));
    fprintf(to,
            "tape-replay: session %s: %" PRIu64 " messages in %" PRIu64 " frames, %" PRIu64
            " bytes, to %" PRIu64 " client%s in %s",
            session->name, totals->messages, totals->frames, totals->bytes, totals->clients_most,
            totals->clients_most == 1 ? "" : "s", wall);
    tell_lateness(&state, to);
    if (totals->cuts > 0)
        fprintf(to, "; %" PRIu64 " cut%s", totals->cuts, totals->cuts == 1 ? "" : "s");
    if (totals->sent_away > 0)
        fprintf(to, "; %" PRIu64 " sent away", totals->sent_away);
    if (tape_session_damages(session) > 0)
        fprintf(to, "; %d damaged place%s passed over", tape_session_damages(session),
                tape_session_damages(session) == 1 ? "" : "s");
    if (!session->ended)
        fputs("; ended early: nobody is there any more", to);
    tape_receipt_print_event_late(source, to);
    fputc('\n', to);
    tape_receipt_print_shares(source, session->options.archives, session->options.archives_count,
                              "tape-replay: ", to);
    tape_session_end_digest(session, digest);
    if (digest[0])
        fprintf(to, "sha256 %s\n", digest);
    fflush(to);
}
