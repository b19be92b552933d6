/* tape-record --pack: every closed segment of an archive, made smaller. */
#ifndef TAPE_RECORD_PACK_ARCHIVE_H
#define TAPE_RECORD_PACK_ARCHIVE_H

#include <stdatomic.h>
#include <stdint.h>

#include "format/error.h"
#include "record/progress.h"

struct tape_pack_report {
    uint32_t packed, left; /* left as they are: damaged */
    uint32_t segments;     /* of the archive */
    uint64_t records, bytes_before, bytes_after;
    int lost;    /* recovery found records missing for good */
    int stopped; /* stop was asked for before all was done */
};

/*
 * tape_pack_archive(path, level, stop, progress, report, error): takes the lock, does what --repair
 * does with a dead recorder's leftovers, then packs every closed segment that is not at ${level}
 * yet, one after the other. A damaged one is told and left as it is. Stops, between two blocks,
 * when *stop is set. Run again it goes on where it ended. 0 or a status; the report tells what was
 * done in either case.
 */
int tape_pack_archive(const char *path, int level, const atomic_int *stop,
                      struct tape_progress *progress, struct tape_pack_report *report,
                      struct tape_error *error);

#endif
