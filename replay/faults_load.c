#include "replay/faults.h"

struct tape_faults *tape_faults_load(const char *word, struct tape_error *error)
{
    tape_error_set(error, TAPE_USAGE, "--faults=%.100s: not built yet", word);
    return NULL;
}

struct tape_faults *tape_faults_parse(const char *text, size_t bytes, const char *name,
                                      struct tape_error *error)
{
    (void)text;
    (void)bytes;
    return tape_faults_load(name, error);
}

void tape_faults_free(struct tape_faults *faults)
{
    (void)faults;
}

int tape_faults_needs_events(const struct tape_faults *faults)
{
    (void)faults;
    return 0;
}

int tape_faults_needs_start(const struct tape_faults *faults)
{
    (void)faults;
    return 0;
}

void tape_faults_resolve(struct tape_faults *faults, int64_t first_ns)
{
    (void)faults;
    (void)first_ns;
}
