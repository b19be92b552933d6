/* What a dead recorder left: unsealed segments and a ring. Run with the archive's lock held. */
#ifndef TAPE_RECORD_RECOVER_H
#define TAPE_RECORD_RECOVER_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"

struct tape_recover_options {
    struct tape_archive *archive;
    /* the first ordinal and the first sequence that the index does not know: never used again */
    uint64_t known_ordinal;
    uint32_t known_sequence;
    int every_segment; /* look at all of them, not only at the newest */
    void (*say)(void *context,
                const char *words); /* what was found and done, a line each; or NULL */
    void *context;
};

struct tape_recover_report {
    uint32_t sealed;        /* segments that had no footer and now have one */
    uint32_t unreadable;    /* segments that were left as they are */
    uint64_t torn_bytes;    /* cut off and kept in NAME.torn */
    int torn_records;       /* they held more than a footer, and no ring had it */
    uint64_t ring_records;  /* that no segment had, now saved */
    uint64_t lost_records;  /* known to have been there, found nowhere */
    uint64_t next_ordinal;  /* of the next record */
    uint32_t next_sequence; /* of the next segment */
};

/*
 * tape_recover_run(options, report, error): seals every segment without a footer (its torn tail is
 * kept beside it), appends the ring's records that no segment has, writes a note that says so,
 * syncs all of it, and only then removes the ring. Killed at any moment, the next run does the
 * rest: ordinals decide what is there already. 0, or a status: nothing is lost then, and it can be
 * run again (TAPE_FULL: space is needed first).
 */
int tape_recover_run(const struct tape_recover_options *options, struct tape_recover_report *report,
                     struct tape_error *error);

#endif
