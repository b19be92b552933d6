/* Finding the blocks of a segment that has no footer, past damage too (FORMAT.md, "Rules for
 * readers", 3 to 5). Used by segment.c alone. */
#ifndef TAPE_FORMAT_SEGMENT_WALK_H
#define TAPE_FORMAT_SEGMENT_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"
#include "format/segment.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_segment_place {
    uint64_t offset, bytes;
};

/*
 * Zero-initialise, then set fd, sequence, archive_tag and at = TAPE_SEGMENT_HEADER_BYTES.
 * Invariants:
 * - entries are in file order, checked, and all end at or before `at`;
 * - damages are in file order and overlap no entry;
 * - [at, searched) begins no valid header when searched > at;
 * - footer_offset != 0: a valid footer header stands at footer_offset == at.
 */
struct tape_segment_walk {
    int fd;
    uint32_t sequence;
    uint64_t archive_tag;
    uint64_t at, searched, file_bytes;
    uint64_t next_ordinal;
    int64_t last_number;
    int tail; /* 0, TAPE_TORN or TAPE_CORRUPT: what [at, file_bytes) is, footer not counted */
    uint64_t footer_offset;
    struct tape_block_header footer;
    struct tape_segment_entry *entries;
    uint32_t entries_length, entries_capacity;
    struct tape_segment_place *damages;
    uint32_t damages_length, damages_capacity;
};

/* tape_segment_walk_on(walk, file_bytes, error): goes on to the end of a file of ${file_bytes}. 0
 * or TAPE_FAILED, TAPE_LIMIT (too many blocks). */
int tape_segment_walk_on(struct tape_segment_walk *walk, uint64_t file_bytes,
                         struct tape_error *error);
void tape_segment_walk_clear(struct tape_segment_walk *walk);

/* tape_segment_walk_add_damage(walk, offset, bytes, error): for segment.c, which finds damage
 * between the blocks of a footer. */
int tape_segment_walk_add_damage(struct tape_segment_walk *walk, uint64_t offset, uint64_t bytes,
                                 struct tape_error *error);

/* tape_segment_walk_find(fd, archive_tag, header): the first valid block header anywhere in the
 * file that bears the tag. 1, 0 when there is none, or TAPE_FAILED. */
int tape_segment_walk_find(int fd, uint64_t archive_tag, struct tape_block_header *header);

/* tape_segment_walk_read(fd, to, bytes, offset, error): reads up to ${bytes}; fewer only at the end
 * of the file. The number or TAPE_FAILED. */
int64_t tape_segment_walk_read(int fd, void *to, size_t bytes, uint64_t offset,
                               struct tape_error *error);

/* tape_segment_walk_zeros(fd, offset, bytes): 1 when all these bytes of the file are zero. */
int tape_segment_walk_zeros(int fd, uint64_t offset, uint64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
