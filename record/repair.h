/* tape-record --repair: recovery without recording, and a look at every block. */
#ifndef TAPE_RECORD_REPAIR_H
#define TAPE_RECORD_REPAIR_H

#include "format/error.h"

/* tape_repair_run(path, say, context, lost, error): mends what can be mended in the archive at
 * ${path}, saying what was found and done, a line each. *lost: 1 when records are missing for good.
 * Run again it finds only the damage that stays. 0 or a status. */
int tape_repair_run(const char *path, void (*say)(void *context, const char *words), void *context,
                    int *lost, struct tape_error *error);

#endif
