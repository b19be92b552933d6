#include "format/pack_name.h"

#include <string.h>

#include "format/record.h"
#include "format/scan.h"
#include "format/venue.h"

enum { NAME_MAX_BYTES = 255 };

/* Every answer begins with one of these keys. */
static int may_be_answer(const char *at, const char *end)
{
    static const char *const keys[] = {"\"result\"", "\"id\"", "\"error\"", "\"code\"", "\"msg\""};
    at = tape_scan_space(at, end);
    if (at == end || *at != '{')
        return 0;
    at = tape_scan_space(at + 1, end);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t bytes = strlen(keys[i]);
        if ((size_t)(end - at) >= bytes && memcmp(at, keys[i], bytes) == 0)
            return 1;
    }
    return 0;
}

/* The name in a wrapper that begins with it; what follows is not looked at there. */
static int read_wrapper(const char *payload, size_t bytes, struct tape_slice *stream)
{
    static const char prefix[] = "{\"stream\":\"";
    enum { PREFIX_BYTES = sizeof prefix - 1 };
    if (bytes <= PREFIX_BYTES || memcmp(payload, prefix, PREFIX_BYTES) != 0)
        return 0;
    const char *name = payload + PREFIX_BYTES, *end = payload + bytes;
    const char *close = tape_scan_string(name, end);
    if (close != NULL) {
        stream->data = name;
        stream->bytes = (size_t)(close - name);
    }
    return 1;
}

int tape_pack_name_text(unsigned flags, const uint8_t *payload, size_t bytes,
                        struct tape_slice *stream)
{
    const char *text = (const char *)payload;
    struct tape_tick tick;
    stream->data = "";
    stream->bytes = 0;
    if (read_wrapper(text, bytes, stream))
        return stream->bytes <= NAME_MAX_BYTES;
    if (!(flags & TAPE_RECORD_FLAG_IMPORTED) && may_be_answer(text, text + bytes))
        return 0;
    tape_tick_scan(text, bytes, &tick);
    if (tick.stream.data != NULL)
        *stream = tick.stream;
    return stream->bytes <= NAME_MAX_BYTES;
}
