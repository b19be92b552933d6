#include "format/archive_current.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* A segment is packed once, made cold once and pruned once: each may take its name away. */
enum { ATTEMPTS_MAX = 8 };

const struct tape_archive_entry *tape_archive_after(const struct tape_archive *archive,
                                                    uint32_t sequence)
{
    const struct tape_archive_entry *entry;
    /* entries are in order of sequence: past low, never past high */
    int low = -1, high = 1;
    while ((entry = tape_archive_entry(archive, high)) != NULL && entry->sequence <= sequence) {
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        entry = tape_archive_entry(archive, middle);
        if (entry != NULL && entry->sequence <= sequence)
            low = middle;
        else
            high = middle;
    }
    return tape_archive_entry(archive, high);
}

static int has_gone(const struct tape_archive *archive, const struct tape_archive_entry *entry)
{
    char path[TAPE_ARCHIVE_NAME_BYTES + 16];
    struct stat found;
    snprintf(path, sizeof path, "segments/%s", entry->name);
    return fstatat(tape_archive_directory_fd(archive), path, &found, AT_SYMLINK_NOFOLLOW) < 0 &&
           errno == ENOENT;
}

int tape_archive_open_current(struct tape_archive *archive, struct tape_archive_entry *entry,
                              struct tape_segment **segment, struct tape_error *error)
{
    struct tape_error local;
    if (error == NULL)
        error = &local;
    for (int attempt = 1;; attempt++) {
        *segment = tape_archive_open_segment(archive, entry, error);
        if (*segment != NULL)
            return 1;
        if (attempt == ATTEMPTS_MAX || !has_gone(archive, entry))
            return error->status;
        int length = tape_archive_scan(archive, error);
        if (length < 0)
            return length;
        const struct tape_archive_entry *now = tape_archive_after(archive, entry->sequence - 1);
        if (now == NULL || now->sequence != entry->sequence)
            return 0;
        *entry = *now;
    }
}
