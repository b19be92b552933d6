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

struct tape_faults_totals {
    uint64_t delayed, dropped, duplicated, reordered, cuts;
};

/* What is injected; read-only after it was made: any thread. */
struct tape_faults;

/* tape_faults_load(word, error): "recorded", or the path of a file: JSON with comments; unknown and
 * duplicate keys are TAPE_USAGE with line, column and a suggestion. */
struct tape_faults *tape_faults_load(const char *word, struct tape_error *error);
struct tape_faults *tape_faults_parse(const char *text, size_t bytes, const char *name,
                                      struct tape_error *error);
void tape_faults_free(struct tape_faults *faults);

/* tape_faults_needs_events(faults): 1 when the source must give events (recorded disconnects). */
int tape_faults_needs_events(const struct tape_faults *faults);

/* One run of them over one source. */
struct tape_faults_run;

struct tape_faults_item {
    struct tape_message message; /* borrowed until the next call */
    int action;                  /* enum tape_faults_action */
    uint32_t connection;         /* CUT */
    uint16_t close_code;         /* CUT; 0: without a close frame */
    int64_t at_ns;               /* what it is paced by: recv_ns, later where it is delayed */
};

/* tape_faults_begin(faults, wants_events, error): wants_events: the consumer wants the events that
 * a source gives only for our sake. */
struct tape_faults_run *tape_faults_begin(const struct tape_faults *faults, int wants_events,
                                          struct tape_error *error);
void tape_faults_end(struct tape_faults_run *run);

/* tape_faults_next(run, source, item, error): takes from the source as much as it needs: 1 with
 * what comes next by at_ns; 2 and 0 as tape_source_try() (0 once nothing is held back any more). */
int tape_faults_next(struct tape_faults_run *run, struct tape_source *source,
                     struct tape_faults_item *item, struct tape_error *error);

/* tape_faults_restart(run): after a seek: forgets what is held back; the seed goes on from the
 * message sought, so that a seek gives the same again. */
void tape_faults_restart(struct tape_faults_run *run);
void tape_faults_read_totals(const struct tape_faults_run *run, struct tape_faults_totals *totals);

#ifdef __cplusplus
}
#endif
#endif
