/* An archive directory: its identity, its lock, its segments in order (FORMAT.md, "The directory").
 */
#ifndef TAPE_FORMAT_ARCHIVE_H
#define TAPE_FORMAT_ARCHIVE_H

#include <stdint.h>

#include "format/error.h"
#include "format/segment.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_archive; /* opaque; one thread */

enum { TAPE_ARCHIVE_NAME_BYTES = 64, TAPE_ARCHIVE_PATH_BYTES = 256 };

/* Who records, as the LOCK file tells. held = 1 when a process holds the lock now. */
struct tape_archive_owner {
    int held;
    int ours; /* held by this very handle */
    int64_t pid;
    int64_t started_ns;
    char ring_path[TAPE_ARCHIVE_PATH_BYTES]; /* "" when none is named */
};

/* tape_archive_create(path, error): makes the directory (0750; its parent must exist) with a random
 * archive id, or opens an existing archive for writing. An existing directory that is neither empty
 * nor an archive is TAPE_FOREIGN. Takes the lock (flock and OFD) or fails at once with TAPE_LOCKED,
 * naming the holder's pid. LOCK then names this process, and still the ring of the recorder before
 * (to be recovered) until tape_archive_set_owner(). */
struct tape_archive *tape_archive_create(const char *path, struct tape_error *error);

/* tape_archive_open(path, error): read-only; never writes anything, needs no write permission. */
struct tape_archive *tape_archive_open(const char *path, struct tape_error *error);
void tape_archive_close(struct tape_archive *archive); /* gives the lock back if it held it */

/* tape_archive_is_new(archive): 1 when tape_archive_create() made the directory. */
int tape_archive_is_new(const struct tape_archive *archive);

/* tape_archive_is_alone(archive, error): 1 when the directory has no file but an archive's, 0, or a
 * status. */
int tape_archive_is_alone(const struct tape_archive *archive, struct tape_error *error);

const uint8_t *tape_archive_id(const struct tape_archive *archive); /* 16 bytes */
const char *tape_archive_path(const struct tape_archive *archive);
int tape_archive_directory_fd(const struct tape_archive *archive);

/* tape_archive_set_owner(archive, ring_path, started_ns, error): writes pid and ring into LOCK. */
int tape_archive_set_owner(struct tape_archive *archive, const char *ring_path, int64_t started_ns,
                           struct tape_error *error);
int tape_archive_read_owner(const struct tape_archive *archive, struct tape_archive_owner *owner,
                            struct tape_error *error);

/* One segment as found by name. state: 'h' for .hot, 't' for .tape (packed). */
struct tape_archive_entry {
    char name[TAPE_ARCHIVE_NAME_BYTES]; /* "YYYY/MM/DD/YYYYMMDDTHHMMSSZ-000007.hot", under segments/
                                         */
    uint32_t sequence;
    char state;
};

/* tape_archive_scan(archive, error): lists the directory anew: entries in sequence order; where
 * .hot and .tape of one sequence both exist (a crash while packing) the .tape is listed. Names that
 * are not ours, symbolic links and anything that is not a plain file are left out and counted.
 * Returns the number of entries or a status. */
int tape_archive_scan(struct tape_archive *archive, struct tape_error *error);
const struct tape_archive_entry *tape_archive_entry(const struct tape_archive *archive, int index);
int tape_archive_foreign_files(const struct tape_archive *archive);

/* tape_archive_leftover(archive, index): what a packing that was cut short left, as the last scan
 * met it: state 'p': NAME.packing; 'h': NAME.hot beside the NAME.tape that is listed; 't': a
 * NAME.tape that cannot be opened beside the NAME.hot that is listed. NULL past the last. */
const struct tape_archive_entry *tape_archive_leftover(const struct tape_archive *archive,
                                                       int index);

/* tape_archive_open_day(archive, entry, name, error): the directory that the entry lies in, reached
 * without following symbolic links; *name (may be NULL) is the entry's name in it. The descriptor
 * is the caller's. A status on failure. */
int tape_archive_open_day(const struct tape_archive *archive,
                          const struct tape_archive_entry *entry, const char **name,
                          struct tape_error *error);

/* tape_archive_open_segment(archive, entry, error): opens and says where: "segment 000007: …". */
struct tape_segment *tape_archive_open_segment(const struct tape_archive *archive,
                                               const struct tape_archive_entry *entry,
                                               struct tape_error *error);

/* tape_archive_create_segment(archive, sequence, created_ns, name, error): makes the day's
 * directory and a new .hot; name receives its entry name. */
struct tape_segment_writer *tape_archive_create_segment(struct tape_archive *archive,
                                                        uint32_t sequence, int64_t created_ns,
                                                        char name[TAPE_ARCHIVE_NAME_BYTES],
                                                        struct tape_error *error);

/* tape_archive_resume_segment(archive, entry, count, context, torn_bytes, error): as
 * tape_segment_resume(), with "segment 000007: " before its errors. */
struct tape_segment_writer *tape_archive_resume_segment(struct tape_archive *archive,
                                                        const struct tape_archive_entry *entry,
                                                        tape_segment_count_block *count,
                                                        void *context, uint64_t *torn_bytes,
                                                        struct tape_error *error);

/* tape_archive_measure_segment(archive, entry, bytes, disk_bytes): the lengths of all files that go
 * with the segment (of any state, and NAME.torn), and what they take of the disk. Returns how many
 * there are. */
int tape_archive_measure_segment(const struct tape_archive *archive,
                                 const struct tape_archive_entry *entry, uint64_t *bytes,
                                 uint64_t *disk_bytes);

/* tape_archive_remove_segment(archive, entry, error): deletes these files and syncs the directory;
 * a day of which nothing is left goes, too, unless it is the newest entry's. With the lock held by
 * this process. Part of the files may be gone when it fails; as long as one of a segment's own is
 * there it can be read. */
int tape_archive_remove_segment(const struct tape_archive *archive,
                                const struct tape_archive_entry *entry, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
