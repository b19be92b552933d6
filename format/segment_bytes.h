/* A segment's file header and trailer as bytes (FORMAT.md, "Segment file header" and "Trailer").
 * Memory only. */
#ifndef TAPE_FORMAT_SEGMENT_BYTES_H
#define TAPE_FORMAT_SEGMENT_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/segment.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_segment_identity {
    uint8_t archive_id[16];
    int64_t created_ns;
    uint32_t sequence;
};

void tape_segment_identity_put(uint8_t to[TAPE_SEGMENT_HEADER_BYTES],
                               const struct tape_segment_identity *identity);

/* tape_segment_identity_get(from, available, identity, error): 0, TAPE_TORN when there are fewer
 * than TAPE_SEGMENT_HEADER_BYTES and what is there may be the beginning of a header, or
 * TAPE_FOREIGN. */
int tape_segment_identity_get(const uint8_t *from, size_t available,
                              struct tape_segment_identity *identity, struct tape_error *error);

struct tape_segment_trailer {
    uint64_t footer_offset;
    uint32_t footer_bytes; /* header and payload */
    uint64_t records;
};

void tape_segment_trailer_put(uint8_t to[TAPE_SEGMENT_TRAILER_BYTES],
                              const struct tape_segment_trailer *trailer);

/* tape_segment_trailer_get(from, trailer): 1, or 0 when it is none. */
int tape_segment_trailer_get(const uint8_t from[TAPE_SEGMENT_TRAILER_BYTES],
                             struct tape_segment_trailer *trailer);

#ifdef __cplusplus
}
#endif
#endif
