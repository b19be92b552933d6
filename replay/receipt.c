#include "replay/receipt.h"

#include <inttypes.h>

#include "replay/object.h"
#include "replay/status_word.h"
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

static void print_lateness(const struct tape_receipt *receipt, FILE *to)
{
    const struct tape_lateness *lateness = &receipt->totals.lateness;
    char p50[TAPE_TIMESPEC_DURATION_TEXT_BYTES], p99[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    char max[TAPE_TIMESPEC_DURATION_TEXT_BYTES], stretched[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    tape_timespec_format_duration(p50, tape_lateness_quantile(lateness, 0.5));
    tape_timespec_format_duration(p99, tape_lateness_quantile(lateness, 0.99));
    tape_timespec_format_duration(max, lateness->max_ns);
    tape_timespec_format_duration(stretched, receipt->stretched_ns);
    fprintf(to, "; late p50 %s, p99 %s, max %s", p50, p99, max);
    if (receipt->stretched_ns > 0)
        fprintf(to, "; time stretched by %s, longest backlog %" PRIu64 " messages", stretched,
                receipt->totals.backlog_max);
    if (receipt->clock_steps > 0)
        fprintf(to, "; %" PRIu64 " backward steps of the recorded clock", receipt->clock_steps);
}

void tape_receipt_print(const struct tape_receipt *receipt, const struct tape_source *source,
                        FILE *to)
{
    char wall[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    int damages = tape_source_damages(source);
    tape_timespec_format_duration(wall, receipt->wall_ns);
    fprintf(to, "played %" PRIu64 " messages, %" PRIu64 " bytes in %s", receipt->totals.messages,
            receipt->totals.bytes, wall);
    if (receipt->speed > 0 && receipt->totals.lateness.count > 0)
        print_lateness(receipt, to);
    if (receipt->overruns > 0)
        fprintf(to, "; overrun by the ring %" PRIu64 " times", receipt->overruns);
    if (damages > 0)
        fprintf(to, "; %d damaged places passed over", damages);
    if (receipt->end == TAPE_RECEIPT_SIGNAL || receipt->end == TAPE_RECEIPT_CONSUMER ||
        receipt->end == TAPE_RECEIPT_FAILURE)
        fprintf(to, "; ended early: %s", end_word(receipt->end));
    fputc('\n', to);
    if (receipt->digest[0])
        fprintf(to, "sha256 %s\n", receipt->digest);
    fflush(to);
}

static cJSON *damage_objects(const struct tape_source *source)
{
    cJSON *list = cJSON_CreateArray();
    struct tape_source_damage damage;
    for (int i = 0; tape_source_damage(source, i, &damage); i++) {
        cJSON *object = cJSON_CreateObject();
        tape_object_put_string(object, "verdict", tape_status_word(damage.verdict));
        tape_object_put_string(object, "text", damage.text);
        tape_object_put_ordinal(object, "from_ordinal", damage.from_ordinal);
        tape_object_put_ordinal(object, "to_ordinal", damage.to_ordinal);
        if (damage.from_ns != 0)
            tape_object_put_time(object, "from", damage.from_ns);
        if (damage.to_ns != 0)
            tape_object_put_time(object, "to", damage.to_ns);
        cJSON_AddItemToArray(list, object);
    }
    return list;
}

static void put_asked(cJSON *object, const struct tape_receipt *receipt)
{
    tape_object_put_string(object, "archive", receipt->archive);
    tape_object_put_string(object, "format", tape_output_format_word(receipt->format));
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
    if (receipt->speed == 0 || lateness->count == 0)
        return;
    cJSON *late = cJSON_AddObjectToObject(object, "lateness");
    tape_object_put_wide(late, "p50_ns", tape_lateness_quantile(lateness, 0.5));
    tape_object_put_wide(late, "p99_ns", tape_lateness_quantile(lateness, 0.99));
    tape_object_put_wide(late, "max_ns", lateness->max_ns);
    tape_object_put_wide(object, "drift_ns", receipt->stretched_ns + receipt->totals.last_late_ns);
    tape_object_put_wide(object, "stretched_ns", receipt->stretched_ns);
    tape_object_put_count(object, "backlog_max", receipt->totals.backlog_max);
    tape_object_put_count(object, "clock_steps", receipt->clock_steps);
}

int tape_receipt_print_json(const struct tape_receipt *receipt, const struct tape_source *source,
                            FILE *to)
{
    cJSON *object = cJSON_CreateObject();
    put_asked(object, receipt);
    cJSON_AddStringToObject(object, "end", end_word(receipt->end));
    put_emitted(object, receipt);
    put_pace(object, receipt);
    tape_object_put_count(object, "overruns", receipt->overruns);
    tape_object_put_count(object, "blocks_read", receipt->blocks_read);
    tape_object_put_count(object, "damages_total", (uint64_t)tape_source_damages(source));
    cJSON_AddItemToObject(object, "damages", damage_objects(source));
    return tape_object_print(object, to);
}
