/* The index of an archive as of now: index.db, completed in memory with what it does not hold yet,
 * and with the blocks of packed segments that it was not told of. */
#ifndef TAPE_REPLAY_CATALOG_H
#define TAPE_REPLAY_CATALOG_H

#include "format/archive.h"
#include "format/error.h"
#include "format/index.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_catalog {
    struct tape_index *index;
    int from_file; /* 1: index.db was of use, 0: all of it was counted from the segments */
    char why_not[TAPE_ERROR_TEXT_BYTES]; /* why index.db was of no use; "" where there is none */
};

/* tape_catalog_open(catalog, archive, error): writes nothing to disk. 0 or a status. Close it
 * before the archive. */
int tape_catalog_open(struct tape_catalog *catalog, struct tape_archive *archive,
                      struct tape_error *error);
void tape_catalog_close(struct tape_catalog *catalog);

#ifdef __cplusplus
}
#endif
#endif
