/* Faults on the way out: those that were recorded, or others from a seed, the same every time. */
#ifndef TAPE_REPLAY_FAULTS_H
#define TAPE_REPLAY_FAULTS_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_FAULTS_ACTION(name, word, meaning) */
#define TAPE_FAULTS_ACTION_TABLE(X)                                                                \
    X(DELIVER, "deliver", "a message leaves")                                                      \
    X(CUT, "cut", "a connection ends, with a close code or without")

enum tape_faults_action {
#define TAPE_FAULTS_ACTION_ENUM(name, word, meaning) TAPE_FAULTS_##name,
    TAPE_FAULTS_ACTION_TABLE(TAPE_FAULTS_ACTION_ENUM)
#undef TAPE_FAULTS_ACTION_ENUM
};

/* Copies count on their own: messages given = those of the source - dropped + duplicated. */
struct tape_faults_totals {
    uint64_t delayed, dropped, duplicated, reordered, cuts;
    uint64_t skipped; /* delayed, duplicated or reordered none: too much was held back already */
};

/* How much one run holds back at most. A message beyond it leaves as if it had not been meant. */
enum { TAPE_FAULTS_HELD_MAX = 1 << 18, TAPE_FAULTS_HELD_MAX_BYTES = 64 << 20 };

enum { TAPE_FAULTS_RULES_MAX = 256 };

/* What is injected; read-only once its times are resolved: any thread, any number of runs. */
struct tape_faults;

/* tape_faults_load(word, error): "recorded", or the path of a file: JSON with comments (see FAULTS
 * in tape-replay.1); what it must not hold is TAPE_USAGE with line, column and a suggestion.
 * tape_faults_parse(): the text of such a file; name is what errors call it. */
struct tape_faults *tape_faults_load(const char *word, struct tape_error *error);
struct tape_faults *tape_faults_parse(const char *text, size_t bytes, const char *name,
                                      struct tape_error *error);
void tape_faults_free(struct tape_faults *faults);

/* tape_faults_needs_events(faults): 1 when the source must give events (recorded disconnects). */
int tape_faults_needs_events(const struct tape_faults *faults);

/* tape_faults_needs_start(faults): 1 when some of its times count from the start of the archive, as
 * "+30s" does. tape_faults_resolve(faults, first_ns): that start: the stamp of the archive's first
 * data message (see replay/span.h). Once, before the first run; without it, or with 0 (there is
 * none yet), they count from the first message that a run sees: a start in the middle then gives
 * other faults.
 */
int tape_faults_needs_start(const struct tape_faults *faults);
void tape_faults_resolve(struct tape_faults *faults, int64_t first_ns);

/* One run of them over one source. */
struct tape_faults_run;

/*
 * DELIVER: a message, as the source gave it but for replay_ns: that of a message which was held
 * back is the time at which it leaves. recv_ns is always the recorded one.
 * CUT: message tells where: archive, connection, ordinal, recv_ns, replay_ns; of a recorded one it
 * is the event with its body, else kind EVENT without a payload. A cut concerns whoever is given
 * the messages of that connection of that archive.
 */
struct tape_faults_item {
    struct tape_message message; /* borrowed until the next call */
    int action;                  /* enum tape_faults_action */
    uint32_t connection;         /* CUT */
    uint16_t close_code;         /* CUT; 0: without a close frame; 1005: one without a code */
    int64_t at_ns;               /* what it is paced by: recv_ns, later where it is delayed */
};

/* tape_faults_begin(faults, wanted, error): wanted: what the consumer asked of the source (NULL:
 * nothing special): it gets no more than that, whatever is read for our sake. Of the options events
 * and stream count; the source itself is opened with events where tape_faults_needs_events(). */
struct tape_faults_run *tape_faults_begin(const struct tape_faults *faults,
                                          const struct tape_source_options *wanted,
                                          struct tape_error *error);
void tape_faults_end(struct tape_faults_run *run);

/*
 * tape_faults_next(run, source, item, error): takes from the source as much as it needs: 1 with
 * what comes next by at_ns; 2 and 0 as tape_source_try() (0 once nothing is held back any more).
 * What is held back leaves before the first message received at or after its time; only messages
 * move that time, never a clock: following, too.
 */
int tape_faults_next(struct tape_faults_run *run, struct tape_source *source,
                     struct tape_faults_item *item, struct tape_error *error);

/* tape_faults_restart(run): after a seek of the source: forgets what is held back. What becomes of
 * a message depends on the seed, the rules and the message alone, so a seek gives the same again.
 */
void tape_faults_restart(struct tape_faults_run *run);
void tape_faults_read_totals(const struct tape_faults_run *run, struct tape_faults_totals *totals);

#ifdef __cplusplus
}
#endif
#endif
