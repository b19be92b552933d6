/* Takes back an archive that a run made and that nothing came into. */
#ifndef TAPE_RECORD_DISCARD_H
#define TAPE_RECORD_DISCARD_H

#include "format/archive.h"
#include "format/error.h"

/* tape_discard_run(archive, error): deletes the archive's files and its directory; with the lock
 * held and all files closed. Killed at any moment what is left is an archive without records, or an
 * empty directory. A status when something stays; all does where there is a file that is not the
 * archive's. */
int tape_discard_run(struct tape_archive *archive, struct tape_error *error);

#endif
