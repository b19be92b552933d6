/* Segments that another process packs or deletes while they are being read. */
#ifndef TAPE_FORMAT_ARCHIVE_CURRENT_H
#define TAPE_FORMAT_ARCHIVE_CURRENT_H

#include <stdint.h>

#include "format/archive.h"
#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_archive_after(archive, sequence): the listed entry with the lowest sequence above
 * ${sequence}, or NULL. Whoever walks through an archive goes by this: a scan between two steps may
 * move entries to other places of the list. */
const struct tape_archive_entry *tape_archive_after(const struct tape_archive *archive,
                                                    uint32_t sequence);

/* tape_archive_open_current(archive, entry, segment, error): as tape_archive_open_segment, but
 * where the file has gone since it was listed (packed under another name, or pruned) the archive is
 * scanned anew and what stands there now is opened; ${entry}, which is the caller's own copy, then
 * says which. 1 with *segment; 0 when the segment is not there any more; or a status. */
int tape_archive_open_current(struct tape_archive *archive, struct tape_archive_entry *entry,
                              struct tape_segment **segment, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
