#include "replay/receipt.h"

#include <inttypes.h>

#include "replay/object.h"
#include "replay/receipt_source.h"
#include "replay/timespec.h"

static const char *end_word(int end)
{
#define RECEIPT_END_WORD(name, word, meaning)                                                      \
    if (end == TAPE_RECEIPT_##name)                                                                \
        return word;
    TAPE_RECEIPT_END_TABLE(RECEIPT_END_WORD)
#undef RECEIPT_END_WORD
    return "";
}

static const char *order_word(int order)
{
#define RECEIPT_ORDER_WORD(name, word, meaning)                                                    \
    if (order == TAPE_SOURCE_ORDER_##name)                                                         \
        return word;
    TAPE_SOURCE_ORDER_TABLE(RECEIPT_ORDER_WORD)
#undef RECEIPT_ORDER_WORD
    return "";
}

static void append_count(FILE *to, uint64_t count, const char *one, const char *several)
{
    if (count > 0)
        fprintf(to, "; %" PRIu64 " %s", count, count == 1 ? one : several);
}

static void print_lateness(const struct tape_receipt *receipt, FILE *to)
{
    const struct tape_lateness *lateness = &receipt->totals.lateness;
    char p50[TAPE_TIMESPEC_DURATION_TEXT_BYTES], p99[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    char max[TAPE_TIMESPEC_DURATION_TEXT_BYTES], stretched[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    tape_timespec_format_duration(p50, tape_lateness_quantile(lateness, 0.5));
    tape_timespec_format_duration(p99, tape_lateness_quantile(lateness, 0.99));
    tape_timespec_format_duration(max, lateness->max_ns);
    tape_timespec_format_duration(stretched, receipt->transport.stretched_ns);
    fprintf(to, "; late p50 %s, p99 %s, max %s", p50, p99, max);
    if (receipt->transport.stretched_ns > 0)
        fprintf(to, "; time stretched by %s, longest backlog %" PRIu64 " messages", stretched,
                receipt->totals.backlog_max);
    if (receipt->transport.clock_steps > 0)
        fprintf(to, "; %" PRIu64 " backward steps of the recorded clock",
                receipt->transport.clock_steps);
}

static void print_transport(const struct tape_receipt *receipt, FILE *to)
{
    const struct tape_transport_state *state = &receipt->transport;
    const struct tape_faults_totals *faults = &state->faults;
    append_count(to, receipt->totals.state_messages, "state of a book", "states of books");
    append_count(to, state->dropped_late, "message dropped as too late",
                 "messages dropped as too late");
    append_count(to, state->seeks, "seek", "seeks");
    append_count(to, state->loops, "loop", "loops");
    if (faults->delayed | faults->dropped | faults->duplicated | faults->reordered | faults->cuts)
        fprintf(to,
                "; faults: %" PRIu64 " delayed, %" PRIu64 " dropped, %" PRIu64
                " duplicated, %" PRIu64 " reordered, %" PRIu64 " cut%s",
                faults->delayed, faults->dropped, faults->duplicated, faults->reordered,
                faults->cuts, faults->cuts == 1 ? "" : "s");
}

void tape_receipt_print(const struct tape_receipt *receipt, const struct tape_source *source,
                        FILE *to)
{
    char wall[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    int damages = tape_source_damages(source);
    tape_timespec_format_duration(wall, receipt->wall_ns);
    fprintf(to, "played %" PRIu64 " messages, %" PRIu64 " bytes in %s", receipt->totals.messages,
            receipt->totals.bytes, wall);
    if (receipt->totals.lateness.count > 0)
        print_lateness(receipt, to);
    print_transport(receipt, to);
    tape_receipt_print_event_late(source, to);
    if (receipt->overruns > 0)
        fprintf(to, "; overrun by the ring %" PRIu64 " times", receipt->overruns);
    if (damages > 0)
        fprintf(to, "; %d damaged place%s passed over", damages, damages == 1 ? "" : "s");
    if (receipt->end == TAPE_RECEIPT_SIGNAL || receipt->end == TAPE_RECEIPT_CONSUMER ||
        receipt->end == TAPE_RECEIPT_FAILURE)
        fprintf(to, "; ended early: %s", end_word(receipt->end));
    fputc('\n', to);
    tape_receipt_print_shares(source, receipt->archives, receipt->archives_count, "", to);
    if (receipt->digest[0])
        fprintf(to, "sha256 %s\n", receipt->digest);
    fflush(to);
}

static void put_asked(cJSON *object, const struct tape_receipt *receipt)
{
    cJSON *archives = cJSON_CreateArray();
    for (int i = 0; i < receipt->archives_count; i++) {
        cJSON *one = cJSON_CreateObject();
        tape_object_put_string(one, "path", receipt->archives[i]);
        cJSON_AddItemToArray(archives, cJSON_DetachItemFromObject(one, "path"));
        cJSON_Delete(one);
    }
    tape_object_put_string(object, "archive", receipt->archives[0]);
    cJSON_AddItemToObject(object, "archives", archives);
    tape_object_put_string(object, "format", tape_output_format_word(receipt->format));
    cJSON_AddStringToObject(object, "order", order_word(receipt->order));
    if (receipt->speed > 0)
        cJSON_AddNumberToObject(object, "speed", receipt->speed);
    else
        cJSON_AddStringToObject(object, "speed", "max");
    if (receipt->stream)
        tape_object_put_string(object, "stream", receipt->stream);
    if (receipt->from_ns != 0)
        tape_object_put_time(object, "from", receipt->from_ns);
    if (receipt->to_ns != 0)
        tape_object_put_time(object, "to", receipt->to_ns);
}

static void put_emitted(cJSON *object, const struct tape_receipt *receipt)
{
    const struct tape_output_totals *totals = &receipt->totals;
    tape_object_put_count(object, "messages", totals->messages);
    tape_object_put_count(object, "bytes", totals->bytes);
    tape_object_put_count(object, "state_messages", totals->state_messages);
    if (receipt->digest[0])
        cJSON_AddStringToObject(object, "sha256", receipt->digest);
    if (totals->messages > 0) {
        tape_object_put_ordinal(object, "first_ordinal", totals->first_ordinal);
        tape_object_put_ordinal(object, "last_ordinal", totals->last_ordinal);
        tape_object_put_time(object, "first", totals->first_recv_ns);
        tape_object_put_time(object, "last", totals->last_recv_ns);
    }
}

static void put_pace(cJSON *object, const struct tape_receipt *receipt)
{
    const struct tape_lateness *lateness = &receipt->totals.lateness;
    tape_object_put_wide(object, "wall_ns", receipt->wall_ns);
    tape_object_put_wide(object, "cpu_ns", receipt->cpu_ns);
    if (lateness->count == 0)
        return;
    tape_object_put_lateness(object, lateness);
    tape_object_put_wide(object, "drift_ns",
                         receipt->transport.stretched_ns + receipt->totals.last_late_ns);
    tape_object_put_wide(object, "stretched_ns", receipt->transport.stretched_ns);
    tape_object_put_count(object, "backlog_max", receipt->totals.backlog_max);
    tape_object_put_count(object, "clock_steps", receipt->transport.clock_steps);
}

static void put_transport(cJSON *object, const struct tape_receipt *receipt)
{
    const struct tape_transport_state *state = &receipt->transport;
    const struct tape_faults_totals *totals = &state->faults;
    tape_object_put_count(object, "dropped_late", state->dropped_late);
    tape_object_put_count(object, "too_late", state->too_late);
    tape_object_put_count(object, "commands", state->commands);
    tape_object_put_count(object, "seeks", state->seeks);
    tape_object_put_count(object, "loops", state->loops);
    cJSON *faults = cJSON_AddObjectToObject(object, "faults");
    tape_object_put_count(faults, "delayed", totals->delayed);
    tape_object_put_count(faults, "dropped", totals->dropped);
    tape_object_put_count(faults, "duplicated", totals->duplicated);
    tape_object_put_count(faults, "reordered", totals->reordered);
    tape_object_put_count(faults, "cuts", totals->cuts);
    tape_object_put_count(faults, "skipped", totals->skipped);
}

int tape_receipt_print_json(const struct tape_receipt *receipt, const struct tape_source *source,
                            FILE *to)
{
    cJSON *object = cJSON_CreateObject();
    put_asked(object, receipt);
    cJSON_AddStringToObject(object, "end", end_word(receipt->end));
    put_emitted(object, receipt);
    put_pace(object, receipt);
    put_transport(object, receipt);
    tape_receipt_put_event_late(object, source);
    tape_receipt_put_shares(object, source);
    if (receipt->apart)
        cJSON_AddTrueToObject(object, "archives_share_no_time");
    tape_object_put_count(object, "overruns", receipt->overruns);
    tape_object_put_count(object, "blocks_read", receipt->blocks_read);
    tape_object_put_count(object, "damages_total", (uint64_t)tape_source_damages(source));
    tape_receipt_put_damages(object, source);
    return tape_object_print(object, to);
}
