#include "record/discard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int remove_name(const struct tape_archive *archive, const char *name, int flags,
                       struct tape_error *error)
{
    if (unlinkat(tape_archive_directory_fd(archive), name, flags) == 0 || errno == ENOENT)
        return 0;
    return tape_error_errno(error, errno, "delete %s", name);
}

/* segments/YYYY/MM/DD and what is above it. */
static int remove_days(const struct tape_archive *archive, const struct tape_archive_entry *entry,
                       struct tape_error *error)
{
    static const size_t ends[] = {sizeof "YYYY/MM/DD" - 1, sizeof "YYYY/MM" - 1, sizeof "YYYY" - 1};
    char path[sizeof "segments/YYYY/MM/DD"] = "segments/";
    size_t before = strlen(path);
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof ends / sizeof *ends; i++) {
        memcpy(path + before, entry->name, ends[i]);
        path[before + ends[i]] = '\0';
        status = remove_name(archive, path, AT_REMOVEDIR, error);
    }
    return status;
}

static int remove_segments(struct tape_archive *archive, struct tape_error *error)
{
    int count = tape_archive_scan(archive, error), status = count < 0 ? count : 0;
    for (int i = 0; status == 0 && i < count; i++)
        status = tape_archive_remove_segment(archive, tape_archive_entry(archive, i), error);
    for (int i = 0; status == 0 && i < count; i++)
        status = remove_days(archive, tape_archive_entry(archive, i), error);
    return status;
}

int tape_discard_run(struct tape_archive *archive, struct tape_error *error)
{
    /* The index first: it is made anew from the segments, but never knows more than they do. LOCK
     * last: who finds it gone and makes another keeps the directory from going. */
    static const char *const index[] = {"index.db-wal", "index.db-shm", "index.db"};
    const char *path = tape_archive_path(archive);
    int alone = tape_archive_is_alone(archive, error), status = alone < 0 ? alone : 0;
    if (alone == 0)
        status = tape_error_set(error, TAPE_FOREIGN, "there are files of others in it");
    for (size_t i = 0; status == 0 && i < sizeof index / sizeof *index; i++)
        status = remove_name(archive, index[i], 0, error);
    if (status == 0)
        status = remove_segments(archive, error);
    if (status == 0)
        status = remove_name(archive, "segments", AT_REMOVEDIR, error);
    if (status == 0)
        status = remove_name(archive, "LOCK", 0, error);
    if (status == 0 && rmdir(path) < 0)
        status = tape_error_errno(error, errno, "delete the directory");
    return status < 0 ? tape_error_wrap(error, "take %.700s back", path) : 0;
}
