/* What a check finds, one line or one JSON object each, and how it all ended. */
#ifndef TAPE_REPLAY_FINDINGS_H
#define TAPE_REPLAY_FINDINGS_H

#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdio.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What index.db says wrongly; beside the verdicts of enum tape_status. Exit code 3 as well. */
enum { TAPE_FINDINGS_INDEX = -100, TAPE_FINDINGS_NOTE = 0 };

/* Invariants: damages counts the findings that are no notes, first is the verdict of the first of
 * them (TAPE_OK while there is none). With array they are kept there, else printed at once. */
struct tape_findings {
    FILE *to;
    cJSON *array;
    uint64_t damages, notes;
    int first;
};

/* tape_findings_add(findings, verdict, format, ...): verdict is TAPE_TORN, TAPE_CORRUPT,
 * TAPE_MISSING, TAPE_FOREIGN, TAPE_FINDINGS_INDEX, or TAPE_FINDINGS_NOTE for what is worth knowing
 * and no damage. */
void tape_findings_add(struct tape_findings *findings, int verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
