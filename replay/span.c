#include "replay/span.h"

#include "format/archive.h"

/* 1 and the segment's stamps; 0 when it cannot be read or is empty: the others tell, then. */
static int read_stamps(const struct tape_archive *archive, int index, int64_t *min_ns,
                       int64_t *max_ns)
{
    struct tape_segment_info info;
    struct tape_segment *segment =
        tape_archive_open_segment(archive, tape_archive_entry(archive, index), NULL);
    if (!segment)
        return 0;
    tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    *min_ns = info.min_recv_ns;
    *max_ns = info.max_recv_ns;
    return info.records > 0;
}

int tape_span_read(const char *path, int64_t *first_ns, int64_t *last_ns, struct tape_error *error)
{
    int64_t other;
    *first_ns = *last_ns = 0;
    struct tape_archive *archive = tape_archive_open(path, error);
    if (!archive)
        return error ? error->status : TAPE_FAILED;
    int count = tape_archive_scan(archive, error);
    for (int i = 0; i < count; i++)
        if (read_stamps(archive, i, first_ns, &other))
            break;
    for (int i = count - 1; i >= 0; i--)
        if (read_stamps(archive, i, &other, last_ns))
            break;
    tape_archive_close(archive);
    return count < 0 ? count : 0;
}
