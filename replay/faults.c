#include "replay/faults.h"

#include <stdlib.h>
#include <string.h>

#include "format/event.h"
#include "replay/faults_cuts.h"
#include "replay/faults_draw.h"
#include "replay/faults_held.h"
#include "replay/faults_internal.h"
#include "replay/source_glob.h"

/* A stamp this much before the one before it is a clock that was set back: what was delayed by the
 * old clock leaves first. By event time, stamps are out of order on purpose. */
#define FAULTS_STEP_NS       1000000000ll
#define FAULTS_EVENT_STEP_NS 30000000000ll

enum { COPIES_MAX = TAPE_FAULTS_RULES_MAX + 1 }; /* each rule adds one at most */

/* A rule with its times. */
struct rule_run {
    int64_t from_ns, to_ns;
    struct tape_faults_cuts cuts;
};

/* What becomes of one message, or of a copy of it. */
struct copy {
    int64_t delay_ns;
    uint32_t waits;
    uint32_t delayed, reordered; /* how many rules did it */
    int dropped;
};

/*
 * Invariants: while has_ahead the source is not asked, so that ahead's text stays good until what
 * comes before it has left; next_cut_ns is the least of all rules', INT64_MAX until the times are
 * known; a message that was given is not looked at again: it is the consumer's until the next call.
 */
struct tape_faults_run {
    const struct tape_faults *faults;
    int wants_events, wants_stream;
    int64_t step_ns;
    struct rule_run *rules;
    int rules_begun; /* whose cuts are to be freed */
    int has_times;
    struct tape_faults_held *held;
    struct tape_faults_held_one *given; /* freed with the next call */
    struct tape_message ahead;
    int has_ahead, ended;
    int has_last; /* last_ns: the stamp of the message before ahead */
    int64_t last_ns;
    int cuts_armed;
    int64_t next_cut_ns;
    int has_cut; /* cut_message's connection ends after all that leaves with it */
    struct tape_message cut_message;
    uint16_t cut_code;
    int64_t now_ns; /* the virtual clock of what was given */
    struct tape_faults_totals totals;
};

static int out_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "out of memory");
}

/* ---- beginning and end ---- */

struct tape_faults_run *tape_faults_begin(const struct tape_faults *faults,
                                          const struct tape_source_options *wanted,
                                          struct tape_error *error)
{
    struct tape_faults_run *run = calloc(1, sizeof *run);
    if (run) {
        run->faults = faults;
        run->held = tape_faults_held_new();
        run->rules = calloc((size_t)faults->rules_count + 1, sizeof *run->rules);
    }
    if (!run || !run->held || !run->rules) {
        tape_faults_end(run);
        out_of_memory(error);
        return NULL;
    }
    run->wants_events = wanted && wanted->events;
    run->wants_stream = wanted && wanted->stream;
    run->step_ns =
        wanted && wanted->order == TAPE_SOURCE_ORDER_EVENT ? FAULTS_EVENT_STEP_NS : FAULTS_STEP_NS;
    tape_faults_restart(run);
    return run;
}

void tape_faults_end(struct tape_faults_run *run)
{
    if (!run)
        return;
    for (int i = 0; i < run->rules_begun; i++)
        tape_faults_cuts_end(&run->rules[i].cuts);
    free(run->rules);
    tape_faults_held_free_one(run->given);
    tape_faults_held_free(run->held);
    free(run);
}

void tape_faults_restart(struct tape_faults_run *run)
{
    tape_faults_held_clear(run->held);
    run->has_ahead = run->ended = run->has_last = run->has_cut = 0;
    run->cuts_armed = 0;
    run->next_cut_ns = INT64_MAX;
    run->now_ns = INT64_MIN;
}

void tape_faults_read_totals(const struct tape_faults_run *run, struct tape_faults_totals *totals)
{
    *totals = run->totals;
}

/* ---- the times of the rules ---- */

static int64_t resolved(int given, const struct tape_timespec *time, int64_t start_ns,
                        int64_t fallback)
{
    return given ? tape_timespec_resolve(time, start_ns, start_ns) : fallback;
}

static int begin_rules(struct tape_faults_run *run, int64_t start_ns)
{
    for (; run->rules_begun < run->faults->rules_count; run->rules_begun++) {
        const struct tape_faults_rule *rule = &run->faults->rules[run->rules_begun];
        struct rule_run *at = &run->rules[run->rules_begun];
        at->from_ns = resolved(rule->has_from, &rule->from, start_ns, INT64_MIN);
        at->to_ns = resolved(rule->has_to, &rule->to, start_ns, INT64_MAX);
        if (tape_faults_cuts_begin(&at->cuts, rule, start_ns, at->from_ns, at->to_ns) < 0)
            return 0;
    }
    return 1;
}

static void find_next_cut(struct tape_faults_run *run)
{
    run->next_cut_ns = INT64_MAX;
    for (int i = 0; i < run->faults->rules_count; i++)
        if (run->rules[i].cuts.next_ns < run->next_cut_ns)
            run->next_cut_ns = run->rules[i].cuts.next_ns;
}

/* With the first data message, which is what an archive's span begins with, and with the first one
 * after a seek. */
static int arm(struct tape_faults_run *run, int64_t ns)
{
    if (!run->has_times && !begin_rules(run, run->faults->has_start ? run->faults->start_ns : ns))
        return 0;
    run->has_times = run->cuts_armed = 1;
    for (int i = 0; i < run->faults->rules_count; i++)
        tape_faults_cuts_restart(&run->rules[i].cuts, ns);
    find_next_cut(run);
    return 1;
}

/* ---- giving ---- */

static void give(struct tape_faults_run *run, struct tape_faults_item *item,
                 const struct tape_message *message, int64_t at_ns, int64_t replay_ns)
{
    if (run->now_ns < replay_ns)
        run->now_ns = replay_ns;
    *item = (struct tape_faults_item){
        .message = *message, .action = TAPE_FAULTS_DELIVER, .at_ns = at_ns};
    item->message.replay_ns = run->now_ns;
}

static void give_held(struct tape_faults_run *run, struct tape_faults_item *item,
                      struct tape_faults_held_one *one, int64_t at_ns)
{
    run->given = one;
    give(run, item, &one->message, at_ns, at_ns);
}

static void give_cut(struct tape_faults_run *run, struct tape_faults_item *item,
                     const struct tape_message *message, uint16_t close_code)
{
    give(run, item, message, message->recv_ns, message->recv_ns);
    item->action = TAPE_FAULTS_CUT;
    item->connection = message->connection;
    item->close_code = close_code;
    run->totals.cuts++;
}

/* ---- what is due before the message ahead ---- */

/* The cuts whose time has come: the first rule's first. 1 with one, else 0. */
static int take_cut(struct tape_faults_run *run, int64_t until_ns, struct tape_faults_item *item)
{
    while (run->next_cut_ns <= until_ns) {
        int i = 0;
        while (run->rules[i].cuts.next_ns != run->next_cut_ns)
            i++;
        struct tape_message message = {.kind = TAPE_FEED_EVENT,
                                       .record_kind = TAPE_RECORD_CONNECTION_CLOSE,
                                       .recv_ns = run->next_cut_ns};
        if (tape_faults_cuts_take(&run->rules[i].cuts, until_ns, &message.archive,
                                  &message.connection)) {
            give_cut(run, item, &message, run->faults->rules[i].close_code);
            return 1;
        }
        find_next_cut(run);
    }
    return 0;
}

/* 1 with a held message or a cut that leaves before the message ahead (at the end: any), or 0. */
static int take_due(struct tape_faults_run *run, struct tape_faults_item *item)
{
    const struct tape_faults_held_one *first = tape_faults_held_first(run->held);
    int64_t until_ns = run->ended ? INT64_MIN : run->ahead.recv_ns, at_ns = 0;
    int64_t step_ns;
    int stepped = run->has_ahead && run->has_last &&
                  (__builtin_sub_overflow(run->last_ns, run->ahead.recv_ns, &step_ns)
                       ? run->last_ns > run->ahead.recv_ns
                       : step_ns > run->step_ns);
    int leaves = first && (run->ended || stepped || first->at_ns <= until_ns);
    if (leaves) {
        at_ns = stepped && first->at_ns > run->last_ns ? run->last_ns : first->at_ns;
        until_ns = at_ns;
    }
    if (take_cut(run, until_ns, item))
        return 1;
    if (!leaves)
        return 0;
    give_held(run, item, tape_faults_held_take(run->held), at_ns);
    return 1;
}

/* ---- the rules ---- */

static int concerns(const struct tape_faults_run *run, int index,
                    const struct tape_message *message)
{
    const char *streams = run->faults->rules[index].streams;
    return !streams ||
           tape_source_glob_match(streams, message->stream.data ? message->stream.data : "",
                                  message->stream.bytes);
}

static uint64_t draw(const struct tape_faults_run *run, const struct tape_message *message,
                     int rule, int copy, int lane)
{
    struct tape_faults_lot lot = {.ordinal = message->ordinal,
                                  .archive = message->archive,
                                  .rule = (uint16_t)rule,
                                  .copy = (uint16_t)copy,
                                  .lane = (uint16_t)lane};
    return tape_faults_draw(run->faults->seed, &lot);
}

/* What a rule that hits does to a copy; a duplicate goes behind the others. */
static void change(const struct tape_faults_rule *rule, struct copy *copies, int index, int *count,
                   uint64_t much)
{
    struct copy *copy = &copies[index];
    uint64_t span = (uint64_t)(rule->max_ns - rule->min_ns) + 1;
    int64_t later_ns = rule->min_ns + (int64_t)tape_faults_below(much, span);
    switch (rule->kind) {
    case TAPE_FAULTS_RULE_DELAY:
        copy->delay_ns += later_ns;
        copy->delayed++;
        break;
    case TAPE_FAULTS_RULE_DROP:
        copy->dropped = 1;
        break;
    case TAPE_FAULTS_RULE_DUPLICATE:
        copies[*count] = *copy;
        copies[(*count)++].delay_ns += later_ns;
        break;
    case TAPE_FAULTS_RULE_REORDER:
        copy->waits += 1 + (uint32_t)tape_faults_below(much, rule->by);
        copy->reordered++;
        break;
    }
}

/* The connection ends after the message and what leaves with it. */
static void cut_after(struct tape_faults_run *run, const struct tape_message *message,
                      uint16_t close_code)
{
    if (run->has_cut)
        return;
    run->has_cut = 1;
    run->cut_code = close_code;
    run->cut_message = (struct tape_message){.kind = TAPE_FEED_EVENT,
                                             .record_kind = TAPE_RECORD_CONNECTION_CLOSE,
                                             .ordinal = message->ordinal,
                                             .recv_ns = message->recv_ns,
                                             .archive = message->archive,
                                             .connection = message->connection};
}

/* A rule on the message and its copies. Only the message itself is doubled or cuts. */
static int apply(struct tape_faults_run *run, int index, const struct tape_message *message,
                 struct copy *copies, int *count)
{
    const struct tape_faults_rule *rule = &run->faults->rules[index];
    int timed = rule->kind == TAPE_FAULTS_RULE_CUT && (rule->every_ns != 0 || rule->at_count != 0);
    int only_first = rule->kind == TAPE_FAULTS_RULE_CUT || rule->kind == TAPE_FAULTS_RULE_DUPLICATE;
    int before = only_first ? 1 : *count;
    if (!concerns(run, index, message))
        return 0;
    if (timed)
        return copies[0].dropped ? 0
                                 : tape_faults_cuts_see(&run->rules[index].cuts, message->archive,
                                                        message->connection);
    if (message->recv_ns < run->rules[index].from_ns || message->recv_ns >= run->rules[index].to_ns)
        return 0;
    for (int i = 0; i < before; i++) {
        if (copies[i].dropped ||
            !tape_faults_hits(draw(run, message, index, i, 0), rule->probability))
            continue;
        if (rule->kind == TAPE_FAULTS_RULE_CUT)
            cut_after(run, message, rule->close_code);
        else
            change(rule, copies, i, count, draw(run, message, index, i, 1));
    }
    return 0;
}

/* Holds a copy back, or leaves it out. 1 when it is held. */
static int keep(struct tape_faults_run *run, const struct tape_message *message,
                const struct copy *copy, int is_first, struct tape_error *error)
{
    int got = tape_faults_held_keep(run->held, message, copy->waits, copy->delay_ns);
    if (got < 0)
        return out_of_memory(error);
    if (got == 0) {
        run->totals.skipped++;
        return 0;
    }
    run->totals.delayed += copy->delayed;
    run->totals.reordered += copy->reordered;
    run->totals.duplicated += !is_first;
    return 1;
}

static int is_held(const struct copy *copy)
{
    return !copy->dropped && (copy->waits != 0 || copy->delay_ns != 0);
}

/* 1 when the message itself leaves now, 0 when it does not. Copies that leave with it are put
 * first, then those that waited for it, and what it leaves behind last: it does not wait for
 * itself. */
static int settle(struct tape_faults_run *run, const struct tape_message *message,
                  const struct copy *copies, int count, struct tape_error *error)
{
    int leaves = !copies[0].dropped && !is_held(&copies[0]), got = 0;
    for (int i = 0; i < count; i++) {
        if (copies[i].dropped) {
            run->totals.dropped++;
            run->totals.duplicated += i > 0;
        } else if (i > 0 && !is_held(&copies[i])) {
            got = keep(run, message, &copies[i], 0, error);
        }
        if (got < 0)
            return got;
    }
    if (leaves) /* a delay that was drawn as 0 */
        run->totals.delayed += copies[0].delayed;
    tape_faults_held_pass(run->held, message);
    for (int i = 0; i < count; i++) {
        if (!is_held(&copies[i]))
            continue;
        got = keep(run, message, &copies[i], i == 0, error);
        if (got < 0)
            return got;
        leaves |= i == 0 && got == 0;
    }
    return leaves;
}

static int take_data(struct tape_faults_run *run, const struct tape_message *message,
                     struct tape_error *error)
{
    struct copy copies[COPIES_MAX];
    int count = 1;
    copies[0] = (struct copy){0};
    for (int i = 0; i < run->faults->rules_count; i++)
        if (apply(run, i, message, copies, &count) < 0)
            return out_of_memory(error);
    return settle(run, message, copies, count, error);
}

/* ---- recorded ends ---- */

/* Ends of our own making are no fault: the recorder was stopped, or had another connection before
 * the venue's day was over. Attempts that failed ended nothing. */
static void take_recorded_end(struct tape_faults_run *run, const struct tape_message *message)
{
    struct tape_event *event = tape_event_read(message->payload.data, message->payload.bytes);
    const char *cause = event ? tape_event_text(event, "cause") : NULL;
    int64_t code = event ? tape_event_number(event, "code", 0) : 0;
    if (!cause)
        cause = "";
    if (event && tape_event_number(event, "opened", 1) && strcmp(cause, "shutdown") != 0 &&
        strcmp(cause, "renewal") != 0) {
        run->has_cut = 1;
        run->cut_message = *message;
        run->cut_code =
            strcmp(cause, "peer_close") == 0 && code >= 1000 && code <= 4999 ? (uint16_t)code : 0;
    }
    tape_event_free(event);
}

static int is_wanted(const struct tape_faults_run *run, const struct tape_message *message)
{
    int answers = message->kind == TAPE_FEED_ACK || message->kind == TAPE_FEED_REFUSAL;
    return run->wants_events || message->kind == TAPE_FEED_STATE || (answers && !run->wants_stream);
}

/* ---- the next item ---- */

/* The next message of the source becomes the one ahead, or ended is set; 2 or a status else. */
static int look_ahead(struct tape_faults_run *run, struct tape_source *source,
                      struct tape_error *error)
{
    int got = tape_source_try(source, &run->ahead, error);
    if (got == 0) {
        run->ended = 1;
        tape_faults_held_end(run->held, run->has_last ? run->last_ns : 0);
    }
    if (got != 1)
        return got;
    run->has_ahead = 1;
    if (!run->cuts_armed && run->ahead.kind == TAPE_FEED_DATA && !arm(run, run->ahead.recv_ns))
        return out_of_memory(error);
    return 0;
}

/* The message ahead has its turn: 1 when it leaves. */
static int take_ahead(struct tape_faults_run *run, struct tape_faults_item *item,
                      struct tape_error *error)
{
    const struct tape_message *message = &run->ahead;
    int leaves;
    run->has_ahead = 0;
    if (message->kind != TAPE_FEED_STATE) {
        run->last_ns = message->recv_ns;
        run->has_last = 1;
    }
    if (message->kind == TAPE_FEED_DATA) {
        leaves = take_data(run, message, error);
    } else {
        leaves = is_wanted(run, message);
        if (run->faults->recorded && message->kind == TAPE_FEED_EVENT &&
            message->record_kind == TAPE_RECORD_CONNECTION_CLOSE)
            take_recorded_end(run, message);
    }
    if (leaves == 1)
        give(run, item, message, message->recv_ns, message->replay_ns);
    return leaves;
}

int tape_faults_next(struct tape_faults_run *run, struct tape_source *source,
                     struct tape_faults_item *item, struct tape_error *error)
{
    struct tape_faults_held_one *one;
    int got = 0;
    tape_faults_held_free_one(run->given);
    run->given = NULL;
    do {
        if ((one = tape_faults_held_next(run->held)) != NULL) {
            give_held(run, item, one, one->at_ns);
            return 1;
        }
        if (run->has_cut) {
            run->has_cut = 0;
            give_cut(run, item, &run->cut_message, run->cut_code);
            return 1;
        }
        if (!run->has_ahead && !run->ended && (got = look_ahead(run, source, error)) != 0)
            return got;
        if (take_due(run, item))
            return 1;
        if (run->has_ahead)
            got = take_ahead(run, item, error);
        else
            return 0;
    } while (got == 0);
    return got;
}
