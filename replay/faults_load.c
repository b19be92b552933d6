#include "replay/faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/distance.h"
#include "format/json.h"
#include "format/settings.h"
#include "replay/faults_internal.h"

/* ---- what a file may hold ---- */

static const struct tape_settings_member delay_members[] = {
    {"probability", TAPE_SETTINGS_FORM_RATIO, 1, NULL},
    {"min", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {"max", TAPE_SETTINGS_FORM_TEXT, 1, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member drop_members[] = {
    {"probability", TAPE_SETTINGS_FORM_RATIO, 1, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member duplicate_members[] = {
    {"probability", TAPE_SETTINGS_FORM_RATIO, 1, NULL},
    {"after", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member reorder_members[] = {
    {"probability", TAPE_SETTINGS_FORM_RATIO, 1, NULL},
    {"by", TAPE_SETTINGS_FORM_COUNT, 0, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member cut_members[] = {
    {"every", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {"at", TAPE_SETTINGS_FORM_TEXTS, 0, NULL},
    {"probability", TAPE_SETTINGS_FORM_RATIO, 0, NULL},
    {"code", TAPE_SETTINGS_FORM_WHOLE, 0, NULL},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member rule_members[] = {
    {"streams", TAPE_SETTINGS_FORM_NAME, 0, NULL},
    {"from", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {"to", TAPE_SETTINGS_FORM_TEXT, 0, NULL},
    {"delay", TAPE_SETTINGS_FORM_OBJECT, 0, delay_members},
    {"drop", TAPE_SETTINGS_FORM_OBJECT, 0, drop_members},
    {"duplicate", TAPE_SETTINGS_FORM_OBJECT, 0, duplicate_members},
    {"reorder", TAPE_SETTINGS_FORM_OBJECT, 0, reorder_members},
    {"cut", TAPE_SETTINGS_FORM_OBJECT, 0, cut_members},
    {NULL, 0, 0, NULL},
};
static const struct tape_settings_member file_members[] = {
    {"seed", TAPE_SETTINGS_FORM_WHOLE, 0, NULL},
    {"recorded", TAPE_SETTINGS_FORM_FLAG, 0, NULL},
    {"rules", TAPE_SETTINGS_FORM_OBJECTS, 0, rule_members},
    {NULL, 0, 0, NULL},
};

/* ---- values ---- */

struct loader {
    const struct tape_settings *json;
    struct tape_error *error;
};

static const cJSON *member_of(const cJSON *object, const char *word)
{
    return cJSON_GetObjectItemCaseSensitive(object, word);
}

/* The words of an inner error, behind the place of the key it is about. */
static int refuse_value(struct loader *loader, const cJSON *member, const struct tape_error *inner)
{
    return tape_settings_fault(loader->json, member, loader->error, "\"%s\": %s",
                               member->string ? member->string : "at", inner->text);
}

static int read_time(struct loader *loader, const cJSON *member, struct tape_timespec *time)
{
    struct tape_error inner;
    const char *text = member->valuestring;
    if (text[0] == '-' || strcmp(text, "now") == 0)
        return tape_settings_fault(loader->json, member, loader->error,
                                   "\"%.40s\": a time counts from the start of the archive, as "
                                   "+30s, or is absolute, as 2026-11-22T08:00Z",
                                   text);
    return tape_timespec_parse(text, time, &inner) < 0 ? refuse_value(loader, member, &inner) : 0;
}

/* A duration of ${least} to ${most}; where the member is absent it stays as it is. */
static int read_duration(struct loader *loader, const cJSON *member, int64_t least, int64_t most,
                         int64_t *ns)
{
    struct tape_error inner;
    char low[TAPE_TIMESPEC_DURATION_TEXT_BYTES], high[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    if (!member)
        return 0;
    if (tape_timespec_parse_duration(member->valuestring, ns, &inner) < 0)
        return refuse_value(loader, member, &inner);
    if (*ns >= least && *ns <= most)
        return 0;
    tape_timespec_format_duration(low, least);
    tape_timespec_format_duration(high, most);
    return tape_settings_fault(loader->json, member, loader->error, "\"%s\" must be from %s to %s",
                               member->string, low, high);
}

static double read_ratio(const cJSON *member)
{
    return member ? member->valuedouble : 0;
}

/* ---- kinds ---- */

static int read_delay(struct loader *loader, const cJSON *from, struct tape_faults_rule *rule)
{
    const cJSON *max = member_of(from, "max");
    int status =
        read_duration(loader, member_of(from, "min"), 0, TAPE_FAULTS_DELAY_MAX_NS, &rule->min_ns);
    if (status == 0)
        status = read_duration(loader, max, 1, TAPE_FAULTS_DELAY_MAX_NS, &rule->max_ns);
    if (status == 0 && rule->max_ns < rule->min_ns)
        status =
            tape_settings_fault(loader->json, max, loader->error, "\"max\" is less than \"min\"");
    return status;
}

static int read_duplicate(struct loader *loader, const cJSON *from, struct tape_faults_rule *rule)
{
    int status =
        read_duration(loader, member_of(from, "after"), 0, TAPE_FAULTS_DELAY_MAX_NS, &rule->min_ns);
    rule->max_ns = rule->min_ns;
    return status;
}

static int read_reorder(struct loader *loader, const cJSON *from, struct tape_faults_rule *rule)
{
    long long by = 1;
    const cJSON *member = member_of(from, "by");
    if (member && (!tape_json_integer(member, &by) || by > TAPE_FAULTS_BY_MAX))
        return tape_settings_fault(loader->json, member, loader->error,
                                   "\"by\" must be from 1 to %d messages", TAPE_FAULTS_BY_MAX);
    rule->by = (uint32_t)by;
    return 0;
}

/* Those that RFC 6455 lets an endpoint send; 0 and 1006 both say that none is sent. */
static int is_close_code(long long code)
{
    return code == 0 || (code >= 1000 && code <= 1014 && code != 1004 && code != 1005) ||
           (code >= 3000 && code <= 4999);
}

static int read_code(struct loader *loader, const cJSON *from, struct tape_faults_rule *rule)
{
    long long code = 0;
    const cJSON *member = member_of(from, "code");
    if (member && (!tape_json_integer(member, &code) || !is_close_code(code)))
        return tape_settings_fault(
            loader->json, member, loader->error,
            "\"code\" must be one that a server may send (1000 to 1003, 1007 to 1014, 3000 to "
            "4999), or 1006 for none");
    rule->close_code = code == 1006 ? 0 : (uint16_t)code;
    return 0;
}

static int read_cut_times(struct loader *loader, const cJSON *list, struct tape_faults_rule *rule)
{
    const cJSON *element;
    int count = cJSON_GetArraySize(list);
    if (count > TAPE_FAULTS_CUT_TIMES_MAX)
        return tape_settings_fault(loader->json, list, loader->error,
                                   "\"at\" has %d times: at most %d, or \"every\"", count,
                                   TAPE_FAULTS_CUT_TIMES_MAX);
    rule->at = calloc((size_t)count, sizeof *rule->at);
    if (!rule->at)
        return tape_error_set(loader->error, TAPE_FAILED, "out of memory");
    cJSON_ArrayForEach(element, list)
    {
        int status = read_time(loader, element, &rule->at[rule->at_count++]);
        if (status < 0)
            return status;
    }
    return 0;
}

static int read_cut(struct loader *loader, const cJSON *from, struct tape_faults_rule *rule)
{
    const cJSON *every = member_of(from, "every"), *at = member_of(from, "at"),
                *probability = member_of(from, "probability");
    if (!every + !at + !probability != 2)
        return tape_settings_fault(loader->json, from, loader->error,
                                   "\"cut\" must say one of \"every\", \"at\" and "
                                   "\"probability\"");
    int status = read_code(loader, from, rule);
    if (status == 0 && at)
        status = read_cut_times(loader, at, rule);
    return status < 0
               ? status
               : read_duration(loader, every, TAPE_FAULTS_EVERY_MIN_NS, INT64_MAX, &rule->every_ns);
}

static int read_kind(struct loader *loader, const cJSON *from, struct tape_faults_rule *rule)
{
    rule->probability = read_ratio(member_of(from, "probability"));
    switch (rule->kind) {
    case TAPE_FAULTS_RULE_DELAY:
        return read_delay(loader, from, rule);
    case TAPE_FAULTS_RULE_DUPLICATE:
        return read_duplicate(loader, from, rule);
    case TAPE_FAULTS_RULE_REORDER:
        return read_reorder(loader, from, rule);
    case TAPE_FAULTS_RULE_CUT:
        return read_cut(loader, from, rule);
    default:
        return 0;
    }
}

/* ---- rules ---- */

static const char *const kind_words[] = {
#define FAULTS_KIND_WORD(name, word) [TAPE_FAULTS_RULE_##name] = word,
    TAPE_FAULTS_KIND_TABLE(FAULTS_KIND_WORD)
#undef FAULTS_KIND_WORD
};
enum { KINDS = sizeof kind_words / sizeof *kind_words };

/* The one fault that a rule names; NULL and told where it is none or a second one. */
static const cJSON *find_kind(struct loader *loader, const cJSON *object, int number,
                              struct tape_faults_rule *rule)
{
    const cJSON *found = NULL, *member;
    cJSON_ArrayForEach(member, object)
    {
        for (int kind = 0; kind < KINDS; kind++) {
            if (strcmp(member->string, kind_words[kind]) != 0)
                continue;
            if (found) {
                tape_settings_fault(loader->json, member, loader->error,
                                    "rule %d says \"%s\" already: write \"%s\" as a rule of its "
                                    "own",
                                    number, found->string, member->string);
                return NULL;
            }
            found = member;
            rule->kind = kind;
        }
    }
    if (!found)
        tape_settings_fault(loader->json, object->child ? object->child : object, loader->error,
                            "rule %d says no fault: \"delay\", \"drop\", \"duplicate\", "
                            "\"reorder\" or \"cut\"",
                            number);
    return found;
}

static int read_window(struct loader *loader, const cJSON *object, struct tape_faults_rule *rule)
{
    const cJSON *from = member_of(object, "from"), *to = member_of(object, "to");
    int status = 0;
    rule->has_from = from != NULL;
    rule->has_to = to != NULL;
    if (from)
        status = read_time(loader, from, &rule->from);
    if (status == 0 && to)
        status = read_time(loader, to, &rule->to);
    if (status == 0 && from && to && rule->from.base == rule->to.base &&
        rule->to.ns <= rule->from.ns)
        status =
            tape_settings_fault(loader->json, to, loader->error, "\"to\" is not after \"from\"");
    return status;
}

static int read_rule(struct loader *loader, const cJSON *object, int number,
                     struct tape_faults_rule *rule)
{
    const cJSON *streams = member_of(object, "streams");
    const cJSON *kind = find_kind(loader, object, number, rule);
    if (!kind)
        return loader->error->status;
    if (streams && !(rule->streams = strdup(streams->valuestring)))
        return tape_error_set(loader->error, TAPE_FAILED, "out of memory");
    int status = read_window(loader, object, rule);
    return status < 0 ? status : read_kind(loader, kind, rule);
}

static int read_rules(struct loader *loader, const cJSON *list, struct tape_faults *faults)
{
    const cJSON *object;
    int count = cJSON_GetArraySize(list);
    if (count > TAPE_FAULTS_RULES_MAX)
        return tape_settings_fault(loader->json, list, loader->error,
                                   "%d rules: at most %d are taken", count, TAPE_FAULTS_RULES_MAX);
    faults->rules = calloc((size_t)count, sizeof *faults->rules);
    if (!faults->rules)
        return tape_error_set(loader->error, TAPE_FAILED, "out of memory");
    cJSON_ArrayForEach(object, list)
    {
        struct tape_faults_rule *rule = &faults->rules[faults->rules_count++];
        int status = read_rule(loader, object, faults->rules_count, rule);
        if (status < 0)
            return status;
    }
    return 0;
}

static int read_file_members(struct loader *loader, struct tape_faults *faults)
{
    const cJSON *root = loader->json->root, *seed = member_of(root, "seed"),
                *rules = member_of(root, "rules");
    long long number = 0;
    if (seed && !tape_json_integer(seed, &number))
        return tape_settings_fault(loader->json, seed, loader->error, "\"seed\": no number");
    faults->seed = (uint64_t)number;
    faults->recorded = cJSON_IsTrue(member_of(root, "recorded"));
    if (!rules && !faults->recorded)
        return tape_error_set(loader->error, TAPE_USAGE,
                              "%s: no fault: neither \"rules\" nor \"recorded\": true",
                              loader->json->source);
    return rules ? read_rules(loader, rules, faults) : 0;
}

struct tape_faults *tape_faults_parse(const char *text, size_t bytes, const char *name,
                                      struct tape_error *error)
{
    struct tape_error local; /* statuses are read from it even where the caller has no room */
    struct tape_settings json;
    struct loader loader = {&json, error ? error : &local};
    struct tape_faults *faults = calloc(1, sizeof *faults);
    if (!faults) {
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    int status = tape_settings_read(&json, text, bytes, name, file_members, loader.error);
    if (status == 0)
        status = read_file_members(&loader, faults);
    tape_settings_free(&json);
    if (status < 0) {
        tape_faults_free(faults);
        return NULL;
    }
    return faults;
}

/* ---- the whole ---- */

static struct tape_faults *recorded_ones(struct tape_error *error)
{
    struct tape_faults *faults = calloc(1, sizeof *faults);
    if (faults)
        faults->recorded = 1;
    else
        tape_error_set(error, TAPE_FAILED, "out of memory");
    return faults;
}

static void refuse_file(const char *path, int errno_value, struct tape_error *error)
{
    tape_error_set(error, TAPE_USAGE, "cannot read the file of faults \"%.200s\": %s%s", path,
                   strerror(errno_value),
                   tape_distance_words(path, "recorded") <= 2 ? " (did you mean \"recorded\"?)"
                                                              : "");
}

struct tape_faults *tape_faults_load(const char *word, struct tape_error *error)
{
    struct tape_faults *faults = NULL;
    if (strcmp(word, "recorded") == 0)
        return recorded_ones(error);
    FILE *file = fopen(word, "re");
    char *text = malloc(TAPE_SETTINGS_MAX_BYTES + 1);
    size_t bytes = file && text ? fread(text, 1, TAPE_SETTINGS_MAX_BYTES + 1, file) : 0;
    if (!file || (text && ferror(file)))
        refuse_file(word, errno, error);
    else if (!text)
        tape_error_set(error, TAPE_FAILED, "out of memory");
    else
        faults = tape_faults_parse(text, bytes, word, error);
    free(text);
    if (file)
        fclose(file);
    return faults;
}

void tape_faults_free(struct tape_faults *faults)
{
    if (!faults)
        return;
    for (int i = 0; i < faults->rules_count; i++) {
        free(faults->rules[i].streams);
        free(faults->rules[i].at);
    }
    free(faults->rules);
    free(faults);
}

int tape_faults_needs_events(const struct tape_faults *faults)
{
    return faults->recorded;
}

static int is_relative(const struct tape_timespec *time)
{
    return time->base == TAPE_TIMESPEC_START;
}

int tape_faults_needs_start(const struct tape_faults *faults)
{
    for (int i = 0; i < faults->rules_count; i++) {
        const struct tape_faults_rule *rule = &faults->rules[i];
        if ((rule->has_from && is_relative(&rule->from)) ||
            (rule->has_to && is_relative(&rule->to)) || (rule->every_ns != 0 && !rule->has_from))
            return 1;
        for (int j = 0; j < rule->at_count; j++)
            if (is_relative(&rule->at[j]))
                return 1;
    }
    return 0;
}

void tape_faults_resolve(struct tape_faults *faults, int64_t first_ns)
{
    faults->start_ns = first_ns;
    faults->has_start = first_ns != 0;
}
