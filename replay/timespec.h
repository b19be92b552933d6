/* Times and durations as people write them, and as Tapedeck prints them. Memory only. */
#ifndef TAPE_REPLAY_TIMESPEC_H
#define TAPE_REPLAY_TIMESPEC_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_TIMESPEC_TEXT_BYTES = 31, /* "2026-11-22T08:00:00.000000000Z" and NUL */
    TAPE_TIMESPEC_DURATION_TEXT_BYTES = 32,
};

/* What a time counts from. */
enum tape_timespec_base {
    TAPE_TIMESPEC_EPOCH, /* ns since 1970-01-01T00:00:00Z */
    TAPE_TIMESPEC_START, /* ns after the first message of the archive: "+10m" */
    TAPE_TIMESPEC_END,   /* ns before the last message of the archive: "-10m" */
};

struct tape_timespec {
    int base;
    int64_t ns;
};

/*
 * tape_timespec_parse(text, time, error): 0 or TAPE_USAGE. Accepted: RFC 3339 with up to nine
 * digits of fraction (seconds, the time of day and the zone may be left out: then 0 and UTC; a
 * second 60 is the next minute's 0), a plain number of ns, "@" and seconds, "now", "+90s" after the
 * start of the archive and "-90s" before its end. Plain numbers of fewer than 17 digits are
 * refused: they are a year, a date, seconds, milliseconds or microseconds that somebody took for
 * nanoseconds.
 */
int tape_timespec_parse(const char *text, struct tape_timespec *time, struct tape_error *error);

/* tape_timespec_parse_duration(text, ns, error): "90s", "1h30m", "1.5s", "250ms", "60us", "5ns",
 * "2d", "0"; 0 or TAPE_USAGE. Never negative. */
int tape_timespec_parse_duration(const char *text, int64_t *ns, struct tape_error *error);

/* tape_timespec_resolve(time, first_ns, last_ns): ns since the epoch for an archive of that span;
 * what does not fit is cut to the ends of the range. */
int64_t tape_timespec_resolve(const struct tape_timespec *time, int64_t first_ns, int64_t last_ns);

/* tape_timespec_format(to, ns): RFC 3339, nine digits, Z; returns its 30 bytes. */
size_t tape_timespec_format(char to[TAPE_TIMESPEC_TEXT_BYTES], int64_t ns);

/* tape_timespec_format_duration(to, ns): for people: "0 ns", "7.1 µs", "66.9 ms", "59.999 s",
 * "1 h 02 m 03 s", "3 d 04 h". Returns the bytes. */
size_t tape_timespec_format_duration(char to[TAPE_TIMESPEC_DURATION_TEXT_BYTES], int64_t ns);

#ifdef __cplusplus
}
#endif
#endif
