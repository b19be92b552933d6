#include "replay/receipt_source.h"

#include <inttypes.h>
#include <string.h>

#include "replay/object.h"
#include "replay/printable.h"
#include "replay/status_word.h"
#include "replay/timespec.h"

/* ---- damages ---- */

void tape_receipt_damage_line(char to[TAPE_RECEIPT_DAMAGE_BYTES],
                              const struct tape_source_damage *damage, const char *const *archives,
                              int count)
{
    char archive[512] = "", text[1200], lost[80] = "";
    if (count > 1 && damage->archive >= 0 && damage->archive < count) {
        const char *path = archives[damage->archive];
        tape_printable_text(archive, sizeof archive, path, strlen(path));
    }
    tape_printable_text(text, sizeof text, damage->text, strlen(damage->text));
    if (damage->to_ordinal > damage->from_ordinal)
        snprintf(lost, sizeof lost, " (records %" PRIu64 " to %" PRIu64 " are lost)",
                 damage->from_ordinal, damage->to_ordinal - 1);
    snprintf(to, TAPE_RECEIPT_DAMAGE_BYTES, "%s, passed over: %s%s%s%s",
             tape_status_word(damage->verdict), archive, archive[0] ? ": " : "", text, lost);
}

void tape_receipt_put_damages(cJSON *object, const struct tape_source *source)
{
    cJSON *list = cJSON_AddArrayToObject(object, "damages");
    struct tape_source_damage damage;
    for (int i = 0; tape_source_damage(source, i, &damage); i++) {
        cJSON *item = cJSON_CreateObject();
        tape_object_put_string(item, "verdict", tape_status_word(damage.verdict));
        tape_object_put_string(item, "text", damage.text);
        tape_object_put_count(item, "archive", (uint64_t)damage.archive);
        tape_object_put_ordinal(item, "from_ordinal", damage.from_ordinal);
        tape_object_put_ordinal(item, "to_ordinal", damage.to_ordinal);
        if (damage.from_ns != 0)
            tape_object_put_time(item, "from", damage.from_ns);
        if (damage.to_ns != 0)
            tape_object_put_time(item, "to", damage.to_ns);
        cJSON_AddItemToArray(list, item);
    }
}

/* ---- shares ---- */

/* The rows of one archive added up. */
static struct tape_source_share sum_of(const struct tape_source *source, int archive)
{
    struct tape_source_share sum = {.archive = archive}, share;
    for (int i = 0; tape_source_share(source, i, &share); i++) {
        if (share.archive != archive)
            continue;
        sum.given += share.given;
        sum.late += share.late;
        sum.missed += share.missed;
        sum.unmatched += share.unmatched;
        sum.differing += share.differing;
        if (share.late_max_ns > sum.late_max_ns)
            sum.late_max_ns = share.late_max_ns;
    }
    return sum;
}

void tape_receipt_print_shares(const struct tape_source *source, const char *const *archives,
                               int count, const char *prefix, FILE *to)
{
    char late[TAPE_TIMESPEC_DURATION_TEXT_BYTES], name[400];
    struct tape_source_share any;
    if (!tape_source_share(source, 0, &any))
        return;
    for (int i = 0; i < count; i++) {
        struct tape_source_share sum = sum_of(source, i);
        tape_timespec_format_duration(late, sum.late_max_ns);
        fprintf(to, "%s%s: %" PRIu64 " messages first, %" PRIu64 " later%s%s, %" PRIu64 " missed",
                prefix, tape_printable_text(name, sizeof name, archives[i], strlen(archives[i])),
                sum.given, sum.late, sum.late > 0 ? " by up to " : "", sum.late > 0 ? late : "",
                sum.missed);
        if (sum.differing > 0)
            fprintf(to, ", %" PRIu64 " with the number of another's and other bytes",
                    sum.differing);
        if (sum.unmatched > 0)
            fprintf(to, ", %" PRIu64 " not compared with all for want of memory", sum.unmatched);
        fputc('\n', to);
    }
}

void tape_receipt_put_shares(cJSON *object, const struct tape_source *source)
{
    struct tape_source_share share;
    cJSON *list = cJSON_CreateArray();
    uint64_t removed = 0;
    for (int i = 0; tape_source_share(source, i, &share); i++) {
        cJSON *row = cJSON_CreateObject();
        tape_object_put_string(row, "stream", share.stream);
        tape_object_put_count(row, "archive", (uint64_t)share.archive);
        tape_object_put_count(row, "given", share.given);
        tape_object_put_count(row, "late", share.late);
        tape_object_put_count(row, "missed", share.missed);
        tape_object_put_count(row, "unmatched", share.unmatched);
        tape_object_put_count(row, "differing", share.differing);
        if (share.late > 0) {
            tape_object_put_wide(row, "late_p50_ns", share.late_p50_ns);
            tape_object_put_wide(row, "late_p99_ns", share.late_p99_ns);
            tape_object_put_wide(row, "late_max_ns", share.late_max_ns);
        }
        removed += share.late;
        cJSON_AddItemToArray(list, row);
    }
    tape_object_put_count(object, "duplicates_removed", removed);
    cJSON_AddItemToObject(object, "shares", list);
}

/* ---- order ---- */

static uint64_t event_late_of(const struct tape_source *source)
{
    struct tape_source_state state;
    tape_source_read_state(source, &state);
    return state.event_late;
}

void tape_receipt_print_event_late(const struct tape_source *source, FILE *to)
{
    uint64_t count = event_late_of(source);
    if (count > 0)
        fprintf(to, "; %" PRIu64 " message%s behind a later event: too late to be put in order",
                count, count == 1 ? "" : "s");
}

void tape_receipt_put_event_late(cJSON *object, const struct tape_source *source)
{
    uint64_t count = event_late_of(source);
    if (count > 0)
        tape_object_put_count(object, "event_late", count);
}
