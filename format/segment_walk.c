#include "format/segment_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 << 10 };

static const char block_magic[4] = {'T', 'B', 'K', '1'};

int64_t tape_segment_walk_read(int fd, void *to, size_t bytes, uint64_t offset,
                               struct tape_error *error)
{
    size_t got = 0;
    while (got < bytes) {
        ssize_t now = pread(fd, (uint8_t *)to + got, bytes - got, (off_t)(offset + got));
        if (now < 0 && errno == EINTR)
            continue;
        if (now < 0)
            return tape_error_errno(error, errno, "read at 0x%llx",
                                    (unsigned long long)offset + got);
        if (now == 0)
            break;
        got += (size_t)now;
    }
    return (int64_t)got;
}

/* Where the next written byte at or after offset is: a hole in the file, which may be as long as
 * somebody likes, is not read. UINT64_MAX when only a hole follows. */
static uint64_t skip_hole(int fd, uint64_t offset)
{
    off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO ? UINT64_MAX : offset;
    return (uint64_t)data;
}

int tape_segment_walk_zeros(int fd, uint64_t offset, uint64_t bytes)
{
    uint8_t chunk[4096];
    uint64_t end = offset + bytes;
    while ((offset = skip_hole(fd, offset)) < end) {
        bytes = end - offset;
        size_t part = bytes < sizeof chunk ? (size_t)bytes : sizeof chunk;
        if (tape_segment_walk_read(fd, chunk, part, offset, NULL) != (int64_t)part)
            return 0;
        for (size_t i = 0; i < part; i++)
            if (chunk[i] != 0)
                return 0;
        offset += part;
    }
    return 1;
}

void tape_segment_walk_clear(struct tape_segment_walk *walk)
{
    free(walk->entries);
    free(walk->damages);
    walk->entries = NULL;
    walk->damages = NULL;
    walk->entries_length = walk->entries_capacity = 0;
    walk->damages_length = walk->damages_capacity = 0;
}

static int add_entry(struct tape_segment_walk *walk, const struct tape_block_header *header,
                     struct tape_error *error)
{
    if (walk->entries_length == TAPE_SEGMENT_BLOCKS_MAX)
        return tape_error_set(error, TAPE_LIMIT, "more than %d blocks", TAPE_SEGMENT_BLOCKS_MAX);
    if (walk->entries_length == walk->entries_capacity) {
        uint32_t capacity = 2 * walk->entries_capacity + 64;
        struct tape_segment_entry *larger =
            realloc(walk->entries, capacity * sizeof *walk->entries);
        if (larger == NULL)
            return tape_error_set(error, TAPE_FAILED, "no memory for %u blocks", capacity);
        walk->entries = larger;
        walk->entries_capacity = capacity;
    }
    walk->entries[walk->entries_length++] =
        (struct tape_segment_entry){.offset = walk->at, .header = *header};
    walk->last_number = header->number;
    walk->next_ordinal = header->first_ordinal + header->records;
    walk->at += TAPE_BLOCK_HEADER_BYTES + (uint64_t)header->stored_bytes;
    return 0;
}

int tape_segment_walk_add_damage(struct tape_segment_walk *walk, uint64_t offset, uint64_t bytes,
                                 struct tape_error *error)
{
    if (walk->damages_length == walk->damages_capacity) {
        uint32_t capacity = 2 * walk->damages_capacity + 4;
        struct tape_segment_place *larger =
            realloc(walk->damages, capacity * sizeof *walk->damages);
        if (larger == NULL)
            return tape_error_set(error, TAPE_FAILED, "no memory for %u damages", capacity);
        walk->damages = larger;
        walk->damages_capacity = capacity;
    }
    walk->damages[walk->damages_length++] =
        (struct tape_segment_place){.offset = offset, .bytes = bytes};
    return 0;
}

/* 1 when the 80 bytes are a header that may come next in this segment. */
static int is_next_header(const struct tape_segment_walk *walk, const uint8_t *bytes,
                          struct tape_block_header *header)
{
    return tape_block_header_get(bytes, header, NULL) == 0 && header->segment == walk->sequence &&
           header->archive_tag == walk->archive_tag &&
           (int64_t)header->number > walk->last_number &&
           header->first_ordinal >= walk->next_ordinal;
}

/* 1 when they are a header of any segment with this tag. */
static int is_any_header(const struct tape_segment_walk *walk, const uint8_t *bytes,
                         struct tape_block_header *header)
{
    return tape_block_header_get(bytes, header, NULL) == 0 &&
           header->archive_tag == walk->archive_tag;
}

typedef int (*is_wanted)(const struct tape_segment_walk *walk, const uint8_t *bytes,
                         struct tape_block_header *header);

/* Looks from *from on for bytes that are wanted. 1 with *from where they are; 0 when there are
 * none, with *from where to look when the file has grown; or TAPE_FAILED. */
static int search(const struct tape_segment_walk *walk, is_wanted wanted, uint64_t *from,
                  struct tape_block_header *header, struct tape_error *error)
{
    uint8_t *chunk = malloc(CHUNK_BYTES);
    if (chunk == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory to search for blocks");
    int result = 0;
    while (result == 0) {
        uint64_t data = skip_hole(walk->fd, *from); /* no magic begins in a hole */
        if (data == UINT64_MAX)
            break;
        *from = data;
        int64_t got = tape_segment_walk_read(walk->fd, chunk, CHUNK_BYTES, *from, error);
        if (got < 0)
            result = (int)got;
        if (got < TAPE_BLOCK_HEADER_BYTES)
            break;
        /* Only where a whole header fits; the rest of the chunk is read again with what follows. */
        size_t starts = (size_t)got - TAPE_BLOCK_HEADER_BYTES + 1, at = 0;
        while (result == 0 && at < starts) {
            const uint8_t *hit = memmem(chunk + at, starts - at + sizeof block_magic - 1,
                                        block_magic, sizeof block_magic);
            at = hit == NULL ? starts : (size_t)(hit - chunk);
            if (hit != NULL && wanted(walk, hit, header))
                result = 1;
            else if (hit != NULL)
                at++;
        }
        *from += at;
    }
    free(chunk);
    return result;
}

int tape_segment_walk_find(int fd, uint64_t archive_tag, struct tape_block_header *header)
{
    struct tape_segment_walk walk = {.fd = fd, .archive_tag = archive_tag};
    uint64_t from = TAPE_SEGMENT_HEADER_BYTES;
    return search(&walk, is_any_header, &from, header, NULL);
}

/* What [at, file_bytes) is, at which no valid header stands and after which none follows. */
static int judge_tail(const struct tape_segment_walk *walk)
{
    uint8_t bytes[TAPE_BLOCK_HEADER_BYTES];
    uint64_t left = walk->file_bytes - walk->at;
    if (left < sizeof bytes) {
        int64_t got = tape_segment_walk_read(walk->fd, bytes, (size_t)left, walk->at, NULL);
        size_t of_magic = left < sizeof block_magic ? (size_t)left : sizeof block_magic;
        if (got == (int64_t)left && memcmp(bytes, block_magic, of_magic) == 0)
            return TAPE_TORN;
    }
    return tape_segment_walk_zeros(walk->fd, walk->at, left) ? TAPE_TORN : TAPE_CORRUPT;
}

/* One step: a block, a footer, a search, or the end. 1 to go on, 0 at the end, or a status. */
static int step(struct tape_segment_walk *walk, struct tape_error *error)
{
    uint8_t bytes[TAPE_BLOCK_HEADER_BYTES];
    struct tape_block_header header;
    walk->tail = 0;
    if (walk->at == walk->file_bytes)
        return 0;
    int64_t got = tape_segment_walk_read(walk->fd, bytes, sizeof bytes, walk->at, error);
    if (got < 0)
        return (int)got;
    if (got == sizeof bytes && is_next_header(walk, bytes, &header)) {
        uint64_t end = walk->at + TAPE_BLOCK_HEADER_BYTES + header.stored_bytes;
        if (header.codec == TAPE_BLOCK_CODEC_FOOTER) {
            walk->footer_offset = walk->at;
            walk->footer = header;
            return 0;
        }
        if (end > walk->file_bytes) {
            walk->tail = TAPE_TORN;
            return 0;
        }
        int status = add_entry(walk, &header, error);
        return status < 0 ? status : 1;
    }
    uint64_t found = walk->searched > walk->at ? walk->searched : walk->at + 1;
    int status =
        got < (int64_t)sizeof bytes ? 0 : search(walk, is_next_header, &found, &header, error);
    if (status < 0)
        return status;
    if (status == 0) {
        walk->searched = found;
        walk->tail = judge_tail(walk);
        return 0;
    }
    status = tape_segment_walk_add_damage(walk, walk->at, found - walk->at, error);
    walk->at = found;
    return status < 0 ? status : 1;
}

int tape_segment_walk_on(struct tape_segment_walk *walk, uint64_t file_bytes,
                         struct tape_error *error)
{
    walk->file_bytes = file_bytes;
    walk->footer_offset = 0; /* a footer that was incomplete may have been cut and written over */
    int status = 1;
    while (status == 1)
        status = step(walk, error);
    return status;
}
