#include "replay/source_depth.h"

#include <string.h>

#include "format/archive.h"
#include "replay/source_glob.h"

/* Names this long may be the beginning of longer ones: footers cut them. */
enum { NAME_MAY_BE_CUT_BYTES = TAPE_SEGMENT_STREAM_NAME_MAX_BYTES - 3 };

int tape_source_depth_is_name(struct tape_slice name)
{
    const char *at = name.bytes ? memchr(name.data, '@', name.bytes) : NULL;
    size_t left = at ? (size_t)(name.data + name.bytes - at) : 0;
    return (left >= 6 && memcmp(at, "@depth", 6) == 0) ||
           (left >= 9 && memcmp(at, "@rpiDepth", 9) == 0);
}

struct look {
    const char *stream;
    int found;
};

static void look_at(void *context, const struct tape_segment_stream_count *count)
{
    struct look *look = context;
    if (look->found)
        return;
    /* Without a name, of any stream: whose it is only the connection tells. */
    if (count->name_bytes == 0 || count->name_bytes >= NAME_MAY_BE_CUT_BYTES) {
        look->found = 1;
        return;
    }
    if (!tape_source_depth_is_name((struct tape_slice){count->name, count->name_bytes}))
        return;
    look->found =
        !look->stream || tape_source_glob_match(look->stream, count->name, count->name_bytes);
}

static int look_into(const struct tape_segment *segment, struct look *look, int64_t from_ns,
                     int64_t to_ns)
{
    struct tape_segment_info info;
    tape_segment_read_info(segment, &info);
    if (info.blocks > 0 && !info.sealed && info.min_recv_ns < to_ns)
        return 1;
    for (uint32_t block = 0; block < info.blocks && !look->found; block++) {
        const struct tape_block_header *header = &tape_segment_entry(segment, block)->header;
        if (header->max_recv_ns < from_ns || header->min_recv_ns >= to_ns)
            continue;
        if (tape_segment_counts(segment, block, look_at, look) < 0)
            return 1;
    }
    return look->found;
}

int tape_source_depth_may_be(const char *path, const char *stream, int64_t from_ns, int64_t to_ns)
{
    struct look look = {.stream = stream};
    struct tape_archive *archive = tape_archive_open(path, NULL);
    int count = archive ? tape_archive_scan(archive, NULL) : -1, found = count < 0;
    for (int i = 0; i < count && !found; i++) {
        struct tape_segment *segment =
            tape_archive_open_segment(archive, tape_archive_entry(archive, i), NULL);
        found = !segment || look_into(segment, &look, from_ns, to_ns);
        tape_segment_close(segment);
    }
    tape_archive_close(archive);
    return found;
}
