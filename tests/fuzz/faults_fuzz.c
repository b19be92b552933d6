/* Any text as a file of faults: it is refused in one printable line that names the file, or what
 * was read keeps the bounds that runs rely on. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replay/faults_cuts.h"
#include "replay/faults_internal.h"
#include "replay/source_glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(int condition)
{
    if (!condition)
        abort();
}

static void check_time(const struct tape_timespec *time)
{
    check(time->base == TAPE_TIMESPEC_EPOCH || time->base == TAPE_TIMESPEC_START);
}

/* The next time is always later, and inside of the window. */
static void check_cuts(const struct tape_faults_rule *rule, int64_t start_ns)
{
    struct tape_faults_cuts cuts;
    uint16_t archive;
    uint32_t connection;
    int64_t from_ns =
                rule->has_from ? tape_timespec_resolve(&rule->from, start_ns, start_ns) : INT64_MIN,
            to_ns = rule->has_to ? tape_timespec_resolve(&rule->to, start_ns, start_ns) : INT64_MAX;
    check(tape_faults_cuts_begin(&cuts, rule, start_ns, from_ns, to_ns) == 0);
    tape_faults_cuts_restart(&cuts, start_ns);
    for (int i = 0; i < 5 && cuts.next_ns != INT64_MAX; i++) {
        int64_t ns = cuts.next_ns;
        check(ns >= start_ns && ns >= from_ns && ns < to_ns);
        check(tape_faults_cuts_see(&cuts, 3, 7) == 0 && tape_faults_cuts_see(&cuts, 3, 7) == 0);
        check(tape_faults_cuts_take(&cuts, ns, &archive, &connection) == 1);
        check(archive == 3 && connection == 7 && cuts.next_ns == ns);
        check(tape_faults_cuts_take(&cuts, ns, &archive, &connection) == 0 && cuts.next_ns > ns);
    }
    tape_faults_cuts_end(&cuts);
}

static void check_rule(const struct tape_faults_rule *rule)
{
    int cut = rule->kind == TAPE_FAULTS_RULE_CUT;
    check(rule->kind >= TAPE_FAULTS_RULE_DELAY && rule->kind <= TAPE_FAULTS_RULE_CUT);
    check(rule->probability >= 0 && rule->probability <= 1);
    check(0 <= rule->min_ns && rule->min_ns <= rule->max_ns &&
          rule->max_ns <= TAPE_FAULTS_DELAY_MAX_NS);
    check(rule->kind != TAPE_FAULTS_RULE_DELAY || rule->max_ns > 0);
    check(rule->kind != TAPE_FAULTS_RULE_REORDER ||
          (rule->by >= 1 && rule->by <= TAPE_FAULTS_BY_MAX));
    check(rule->at_count >= 0 && rule->at_count <= TAPE_FAULTS_CUT_TIMES_MAX);
    check(rule->every_ns == 0 || rule->every_ns >= TAPE_FAULTS_EVERY_MIN_NS);
    check(cut || (rule->every_ns == 0 && rule->at_count == 0 && rule->close_code == 0));
    check(rule->close_code == 0 || (rule->close_code >= 1000 && rule->close_code <= 4999));
    if (rule->has_from)
        check_time(&rule->from);
    if (rule->has_to)
        check_time(&rule->to);
    for (int i = 0; i < rule->at_count; i++)
        check_time(&rule->at[i]);
    if (rule->streams)
        tape_source_glob_match(rule->streams, "btcusdt@depth", 13);
    if (rule->every_ns != 0 || rule->at_count != 0) {
        check_cuts(rule, 0);
        check_cuts(rule, 1795600000000000000ll);
        check_cuts(rule, INT64_MAX - 5);
        check_cuts(rule, INT64_MIN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct tape_error error = {0, ""};
    struct tape_faults *faults = tape_faults_parse((const char *)data, bytes, "f", &error);
    if (!faults) {
        check(error.status == TAPE_USAGE && strncmp(error.text, "f: ", 3) == 0);
        for (const char *at = error.text; *at; at++)
            check((unsigned char)*at >= ' ');
        return 0;
    }
    check(faults->recorded || faults->rules_count > 0);
    check(faults->rules_count <= TAPE_FAULTS_RULES_MAX);
    check(tape_faults_needs_events(faults) == faults->recorded);
    tape_faults_needs_start(faults);
    for (int i = 0; i < faults->rules_count; i++)
        check_rule(&faults->rules[i]);
    tape_faults_free(faults);
    return 0;
}
