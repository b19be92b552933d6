#include "replay/faults.h"

#include <stdlib.h>

struct tape_faults_run {
    int wants_events;
};

struct tape_faults_run *tape_faults_begin(const struct tape_faults *faults,
                                          const struct tape_source_options *wanted,
                                          struct tape_error *error)
{
    (void)faults;
    struct tape_faults_run *run = calloc(1, sizeof *run);
    if (!run)
        tape_error_set(error, TAPE_FAILED, "out of memory");
    else
        run->wants_events = wanted && wanted->events;
    return run;
}

void tape_faults_end(struct tape_faults_run *run)
{
    free(run);
}

int tape_faults_next(struct tape_faults_run *run, struct tape_source *source,
                     struct tape_faults_item *item, struct tape_error *error)
{
    (void)run;
    *item = (struct tape_faults_item){.action = TAPE_FAULTS_DELIVER};
    int got = tape_source_try(source, &item->message, error);
    item->at_ns = item->message.recv_ns;
    return got;
}

void tape_faults_restart(struct tape_faults_run *run)
{
    (void)run;
}

void tape_faults_read_totals(const struct tape_faults_run *run, struct tape_faults_totals *totals)
{
    (void)run;
    *totals = (struct tape_faults_totals){0};
}
