#include "replay/source.h"
#include "replay/span.h"
#include "replay/timespec.h"

int tape_source_time(const char *const *paths, int count, const char *text, int64_t *ns,
                     struct tape_error *error)
{
    struct tape_timespec time;
    int64_t first_ns = 0, last_ns = 0;
    int status = tape_timespec_parse(text, &time, error);
    if (status == 0 && time.base != TAPE_TIMESPEC_EPOCH && count == 0)
        status =
            tape_error_set(error, TAPE_USAGE,
                           "\"%.100s\" counts from an end of an archive, and none is named", text);
    if (status == 0 && time.base != TAPE_TIMESPEC_EPOCH)
        status = tape_span_read_all(paths, count, &first_ns, &last_ns, error);
    if (status == 0)
        *ns = tape_timespec_resolve(&time, first_ns, last_ns);
    return status;
}
