/* Any text as a time, a duration, a speed and a stream pattern; what reads must print and read
 * again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replay/pace.h"
#include "replay/printable.h"
#include "replay/source_glob.h"
#include "replay/timespec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_again(int64_t ns)
{
    char text[TAPE_TIMESPEC_TEXT_BYTES];
    struct tape_timespec again;
    if (tape_timespec_format(text, ns) != TAPE_TIMESPEC_TEXT_BYTES - 1)
        abort();
    if (tape_timespec_parse(text, &again, NULL) != 0 || again.ns != ns)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct tape_timespec time;
    struct tape_error error;
    char shown[TAPE_TIMESPEC_DURATION_TEXT_BYTES], printable[64];
    int64_t ns;
    double speed;
    char *text = malloc(bytes + 1);
    if (!text)
        return 0;
    if (bytes > 0)
        memcpy(text, data, bytes);
    text[bytes] = '\0';
    if (tape_timespec_parse(text, &time, &error) == 0) {
        read_again(tape_timespec_resolve(&time, 5, INT64_MAX - 5));
        read_again(tape_timespec_resolve(&time, INT64_MIN, 5));
    } else if (error.status != TAPE_USAGE || error.text[0] != '"') {
        abort();
    }
    if (tape_timespec_parse_duration(text, &ns, NULL) == 0) {
        if (ns < 0 || tape_timespec_format_duration(shown, ns) != strlen(shown))
            abort();
    }
    if (tape_pace_parse_speed(text, &speed, NULL) == 0 &&
        !(speed == 0 || (speed >= 0.001 && speed <= 1e6)))
        abort();
    if (bytes >= sizeof ns) {
        memcpy(&ns, data, sizeof ns);
        read_again(ns);
        tape_timespec_format_duration(shown, ns);
        tape_source_glob_match(text, (const char *)data + sizeof ns, bytes - sizeof ns);
    }
    size_t used = 0, put = tape_printable_put(printable, sizeof printable, text, bytes, &used);
    if (used > bytes || put > sizeof printable || (bytes > 0 && used == 0))
        abort();
    free(text);
    return 0;
}
