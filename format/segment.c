#include "format/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/bytes.h"
#include "format/crc32c.h"
#include "format/footer.h"
#include "format/segment_bytes.h"
#include "format/segment_walk.h"

enum { SECTOR_BYTES = 512, ZEROS_MIN_BYTES = 32 };

/*
 * Invariants:
 * - sealed = 1: a valid footer and trailer were found, and footer holds what they say, or the walk
 *   met them after its blocks were already handed out; entries are then those of
 *   `from_footer ? footer : walk`;
 * - entries once handed out keep their index: refresh only appends;
 * - walk.damages lists the damaged places in both cases.
 */
struct tape_segment {
    struct tape_segment_identity identity;
    struct tape_segment_walk walk;
    struct tape_footer footer;
    int sealed, from_footer;
    int header_damaged; /* the file header; walk.damages[0] then says so */
    int tail;
    uint64_t end_offset;
    uint8_t *block; /* header and payload of the block that is being read */
    size_t block_capacity;
};

static struct tape_segment_entry *entries_of(const struct tape_segment *segment, uint32_t *length)
{
    *length = segment->from_footer ? segment->footer.blocks : segment->walk.entries_length;
    return segment->from_footer ? segment->footer.entries : segment->walk.entries;
}

/* --- opening --- */

/* Reads and decodes the footer block at offset, whose whole length is bytes. */
static int load_footer(struct tape_segment *segment, uint64_t offset, uint64_t bytes,
                       struct tape_footer *footer, struct tape_error *error)
{
    struct tape_block_header header;
    uint8_t *block = malloc(bytes);
    if (block == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for a footer of %llu bytes",
                              (unsigned long long)bytes);
    int64_t got = tape_segment_walk_read(segment->walk.fd, block, bytes, offset, error);
    int status = got < 0 ? (int)got : 0;
    if (status == 0 && got != (int64_t)bytes)
        status = tape_error_set(error, TAPE_TORN, "the file ends inside the footer");
    if (status == 0)
        status = tape_block_header_get(block, &header, error);
    if (status == 0 &&
        (header.codec != TAPE_BLOCK_CODEC_FOOTER || header.segment != segment->identity.sequence ||
         header.archive_tag != segment->walk.archive_tag ||
         header.stored_bytes != bytes - TAPE_BLOCK_HEADER_BYTES))
        status = tape_error_set(error, TAPE_CORRUPT, "the footer is not of this segment");
    if (status == 0)
        status =
            tape_footer_decode(footer, &header, block + TAPE_BLOCK_HEADER_BYTES, offset, error);
    free(block);
    return status;
}

/* Takes the footer at offset for the segment's own: its entries, and the places between them. */
static int adopt_footer(struct tape_segment *segment, uint64_t offset, struct tape_error *error)
{
    uint64_t at = TAPE_SEGMENT_HEADER_BYTES;
    segment->sealed = segment->from_footer = 1;
    segment->end_offset = offset;
    segment->tail = 0;
    segment->walk.damages_length = segment->header_damaged ? 1 : 0;
    for (uint32_t i = 0; i <= segment->footer.blocks; i++) {
        const struct tape_segment_entry *entry = &segment->footer.entries[i];
        uint64_t next = i < segment->footer.blocks ? entry->offset : offset;
        if (next > at) {
            int status = tape_segment_walk_add_damage(&segment->walk, at, next - at, error);
            if (status < 0)
                return status;
        }
        if (i < segment->footer.blocks)
            at = next + TAPE_BLOCK_HEADER_BYTES + entry->header.stored_bytes;
    }
    return 0;
}

/* The quick way: trailer, then footer. 1 when the segment is sealed, 0 when it must be walked. */
static int open_by_trailer(struct tape_segment *segment, uint64_t file_bytes,
                           struct tape_error *error)
{
    uint8_t bytes[TAPE_SEGMENT_TRAILER_BYTES];
    struct tape_segment_trailer trailer;
    if (file_bytes < TAPE_SEGMENT_HEADER_BYTES + sizeof bytes)
        return 0;
    int64_t got = tape_segment_walk_read(segment->walk.fd, bytes, sizeof bytes,
                                         file_bytes - sizeof bytes, error);
    if (got < 0)
        return (int)got;
    if (got != sizeof bytes || !tape_segment_trailer_get(bytes, &trailer))
        return 0;
    if (trailer.footer_offset < TAPE_SEGMENT_HEADER_BYTES ||
        trailer.footer_bytes <= TAPE_BLOCK_HEADER_BYTES ||
        trailer.footer_bytes > TAPE_BLOCK_HEADER_BYTES + TAPE_BLOCK_STORED_MAX_BYTES ||
        trailer.footer_offset > file_bytes ||
        trailer.footer_offset + trailer.footer_bytes + sizeof bytes != file_bytes)
        return 0;
    int status =
        load_footer(segment, trailer.footer_offset, trailer.footer_bytes, &segment->footer, error);
    if (status == 0 && segment->footer.records != trailer.records) {
        tape_footer_clear(&segment->footer);
        return 0;
    }
    if (status == TAPE_FAILED)
        return status;
    if (status < 0)
        return 0;
    status = adopt_footer(segment, trailer.footer_offset, error);
    return status < 0 ? status : 1;
}

/* 1 when a part of a sector, at least ZEROS_MIN_BYTES long, is all zero: such bytes were never
 * written, while rot changes some. */
static int has_unwritten_sector(const uint8_t *bytes, uint64_t offset, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t part = SECTOR_BYTES - (size_t)((offset + at) % SECTOR_BYTES);
        if (part > length - at)
            part = length - at;
        size_t zeros = 0;
        while (zeros < part && bytes[at + zeros] == 0)
            zeros++;
        if (zeros == part && part >= ZEROS_MIN_BYTES)
            return 1;
        at += part;
    }
    return 0;
}

/* Why the footer that the walk met could not be decoded: never written whole, or damaged. */
static int judge_footer(const struct tape_segment *segment)
{
    uint64_t offset = segment->walk.footer_offset + TAPE_BLOCK_HEADER_BYTES;
    size_t length = segment->walk.footer.stored_bytes;
    uint8_t *payload = malloc(length);
    int verdict = TAPE_CORRUPT;
    if (payload != NULL &&
        tape_segment_walk_read(segment->walk.fd, payload, length, offset, NULL) ==
            (int64_t)length &&
        has_unwritten_sector(payload, offset, length))
        verdict = TAPE_TORN;
    free(payload);
    return verdict;
}

/* What stands where the trailer must: the trailer (0), a torn one or something else. */
static int judge_trailer(const struct tape_segment *segment, const struct tape_footer *footer)
{
    uint8_t want[TAPE_SEGMENT_TRAILER_BYTES], have[TAPE_SEGMENT_TRAILER_BYTES];
    struct tape_segment_trailer trailer = {
        .footer_offset = segment->walk.footer_offset,
        .footer_bytes = TAPE_BLOCK_HEADER_BYTES + segment->walk.footer.stored_bytes,
        .records = footer->records,
    };
    uint64_t at = trailer.footer_offset + trailer.footer_bytes;
    tape_segment_trailer_put(want, &trailer);
    int64_t got = tape_segment_walk_read(segment->walk.fd, have, sizeof have, at, NULL);
    if (got < 0)
        return TAPE_CORRUPT;
    if (memcmp(have, want, (size_t)got) == 0)
        return got == sizeof have ? 0 : TAPE_TORN;
    return tape_segment_walk_zeros(segment->walk.fd, at, (uint64_t)got) ? TAPE_TORN : TAPE_CORRUPT;
}

/* The walk met a footer header: sealed after all (bytes follow the trailer, or the recorder has
 * just sealed it), or a tail. keep = 1: entries were handed out, the walk's stay in use. */
static int close_walk(struct tape_segment *segment, int keep, struct tape_error *error)
{
    uint64_t offset = segment->walk.footer_offset;
    uint64_t bytes = TAPE_BLOCK_HEADER_BYTES + (uint64_t)segment->walk.footer.stored_bytes;
    struct tape_footer footer;
    segment->tail = TAPE_TORN;
    if (offset + bytes > segment->walk.file_bytes)
        return 0;
    int status = load_footer(segment, offset, bytes, &footer, error);
    if (status == TAPE_FAILED)
        return status;
    if (status < 0) {
        segment->tail = judge_footer(segment);
        return 0;
    }
    segment->tail = judge_trailer(segment, &footer);
    if (segment->tail != 0) {
        tape_footer_clear(&footer);
        return 0;
    }
    segment->footer = footer;
    if (keep)
        segment->sealed = 1;
    else
        status = adopt_footer(segment, offset, error);
    if (offset + bytes + TAPE_SEGMENT_TRAILER_BYTES < segment->walk.file_bytes)
        segment->tail = TAPE_CORRUPT;
    return status;
}

static int walk(struct tape_segment *segment, uint64_t file_bytes, int keep,
                struct tape_error *error)
{
    int status = tape_segment_walk_on(&segment->walk, file_bytes, error);
    if (status < 0)
        return status;
    segment->end_offset = segment->walk.at;
    segment->tail = segment->walk.tail;
    return segment->walk.footer_offset != 0 ? close_walk(segment, keep, error) : 0;
}

static int read_file_bytes(const struct tape_segment *segment, uint64_t *file_bytes,
                           struct tape_error *error)
{
    struct stat stat;
    if (fstat(segment->walk.fd, &stat) < 0)
        return tape_error_errno(error, errno, "stat");
    if (!S_ISREG(stat.st_mode))
        return tape_error_set(error, TAPE_FOREIGN, "not a plain file");
    *file_bytes = (uint64_t)stat.st_size;
    return 0;
}

/* The file header is damaged. Its blocks say which segment it is, when they are of this archive.
 * status and error, what the header was found to be, stay when there is none. */
static int salvage_identity(struct tape_segment *segment, const uint8_t archive_id[16], int status,
                            struct tape_error *error)
{
    struct tape_block_header header;
    int found = tape_segment_walk_find(segment->walk.fd, tape_bytes_get_u64(archive_id), &header);
    if (found <= 0)
        return found < 0 ? found : status;
    memcpy(segment->identity.archive_id, archive_id, sizeof segment->identity.archive_id);
    segment->identity.sequence = header.segment;
    segment->identity.created_ns = 0;
    segment->header_damaged = 1;
    return tape_segment_walk_add_damage(&segment->walk, 0, TAPE_SEGMENT_HEADER_BYTES, error);
}

static int read_identity(struct tape_segment *segment, const uint8_t archive_id[16],
                         uint64_t file_bytes, struct tape_error *error)
{
    uint8_t bytes[TAPE_SEGMENT_HEADER_BYTES];
    int64_t got = tape_segment_walk_read(segment->walk.fd, bytes, sizeof bytes, 0, error);
    if (got < 0)
        return (int)got;
    int status = tape_segment_identity_get(bytes, (size_t)got, &segment->identity, error);
    if (status < 0 && got == sizeof bytes && archive_id != NULL)
        status = salvage_identity(segment, archive_id, status, error);
    if (status < 0)
        return status;
    if (archive_id != NULL && memcmp(segment->identity.archive_id, archive_id, 16) != 0)
        return tape_error_set(error, TAPE_FOREIGN, "it belongs to another archive");
    segment->walk.sequence = segment->identity.sequence;
    segment->walk.archive_tag = tape_bytes_get_u64(segment->identity.archive_id);
    segment->walk.file_bytes = file_bytes;
    return 0;
}

static int open_segment(struct tape_segment *segment, const uint8_t archive_id[16],
                        struct tape_error *error)
{
    uint64_t file_bytes = 0;
    int status = read_file_bytes(segment, &file_bytes, error);
    if (status == 0)
        status = read_identity(segment, archive_id, file_bytes, error);
    if (status == 0)
        status = open_by_trailer(segment, file_bytes, error);
    if (status == 0)
        status = walk(segment, file_bytes, 0, error);
    return status;
}

struct tape_segment *tape_segment_open(int directory_fd, const char *name,
                                       const uint8_t archive_id[16], struct tape_error *error)
{
    /* O_NONBLOCK: a FIFO of that name must not hold us up. */
    int fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ELOOP)
            tape_error_set(error, TAPE_FOREIGN, "it is a symbolic link");
        else
            tape_error_errno(error, errno, "open");
        return NULL;
    }
    struct tape_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL) {
        close(fd);
        tape_error_set(error, TAPE_FAILED, "no memory");
        return NULL;
    }
    segment->walk.fd = fd;
    segment->walk.at = TAPE_SEGMENT_HEADER_BYTES;
    segment->walk.last_number = -1;
    if (open_segment(segment, archive_id, error) < 0) {
        tape_segment_close(segment);
        return NULL;
    }
    return segment;
}

void tape_segment_close(struct tape_segment *segment)
{
    if (segment == NULL)
        return;
    close(segment->walk.fd);
    tape_segment_walk_clear(&segment->walk);
    tape_footer_clear(&segment->footer);
    free(segment->block);
    free(segment);
}

/* 1 when the last known block still stands where it did. A recovery may cut bad blocks and append
 * others, so that the length alone does not tell. */
static int last_block_stands(const struct tape_segment *segment)
{
    uint8_t want[TAPE_BLOCK_HEADER_BYTES], have[TAPE_BLOCK_HEADER_BYTES];
    if (segment->walk.entries_length == 0)
        return 1;
    const struct tape_segment_entry *last =
        &segment->walk.entries[segment->walk.entries_length - 1];
    tape_block_header_put(want, &last->header);
    return tape_segment_walk_read(segment->walk.fd, have, sizeof have, last->offset, NULL) ==
               sizeof have &&
           memcmp(want, have, sizeof want) == 0;
}

int tape_segment_refresh(struct tape_segment *segment, struct tape_error *error)
{
    uint64_t file_bytes;
    if (segment->sealed)
        return 0;
    int status = read_file_bytes(segment, &file_bytes, error);
    if (status < 0)
        return status;
    if (file_bytes < segment->walk.at)
        return tape_error_set(error, TAPE_TORN, "the file became shorter: %llu bytes, were %llu",
                              (unsigned long long)file_bytes, (unsigned long long)segment->walk.at);
    if (!last_block_stands(segment))
        return tape_error_set(error, TAPE_TORN, "its last block was written over");
    uint32_t before = segment->walk.entries_length;
    status = walk(segment, file_bytes, 1, error);
    if (status < 0)
        return status;
    return segment->walk.entries_length > before;
}

/* --- telling --- */

void tape_segment_read_info(const struct tape_segment *segment, struct tape_segment_info *info)
{
    uint32_t blocks;
    const struct tape_segment_entry *entries = entries_of(segment, &blocks);
    memset(info, 0, sizeof *info);
    memcpy(info->archive_id, segment->identity.archive_id, sizeof info->archive_id);
    info->sequence = segment->identity.sequence;
    info->created_ns = segment->identity.created_ns;
    info->sealed = segment->sealed;
    info->file_bytes = segment->walk.file_bytes;
    info->end_offset = segment->end_offset;
    info->bad_blocks = segment->walk.damages_length;
    info->tail = segment->tail;
    info->blocks = blocks;
    for (uint32_t i = 0; i < blocks; i++) {
        const struct tape_block_header *header = &entries[i].header;
        info->records += header->records;
        if (i == 0 || header->min_recv_ns < info->min_recv_ns)
            info->min_recv_ns = header->min_recv_ns;
        if (i == 0 || header->max_recv_ns > info->max_recv_ns)
            info->max_recv_ns = header->max_recv_ns;
    }
    if (blocks > 0) {
        const struct tape_block_header *last = &entries[blocks - 1].header;
        info->first_ordinal = entries[0].header.first_ordinal;
        info->next_ordinal = last->first_ordinal + last->records;
    }
}

const struct tape_segment_entry *tape_segment_entry(const struct tape_segment *segment,
                                                    uint32_t index)
{
    uint32_t blocks;
    const struct tape_segment_entry *entries = entries_of(segment, &blocks);
    return index < blocks ? &entries[index] : NULL;
}

int tape_segment_damage(const struct tape_segment *segment, uint32_t index, uint64_t *offset,
                        uint64_t *bytes)
{
    if (index >= segment->walk.damages_length)
        return 0;
    *offset = segment->walk.damages[index].offset;
    *bytes = segment->walk.damages[index].bytes;
    return 1;
}

int tape_segment_counts(const struct tape_segment *segment, uint32_t block,
                        void (*each)(void *context, const struct tape_segment_stream_count *count),
                        void *context)
{
    /* The walk's entries are the footer's unless a damage was passed over. */
    if (!segment->from_footer && segment->footer.blocks != segment->walk.entries_length)
        return TAPE_MISSING;
    return tape_footer_counts(&segment->footer, block, each, context);
}

/* --- reading a block --- */

static int read_block(struct tape_segment *segment, const struct tape_segment_entry *entry,
                      struct tape_error *error)
{
    size_t bytes = TAPE_BLOCK_HEADER_BYTES + (size_t)entry->header.stored_bytes;
    if (bytes > segment->block_capacity) {
        uint8_t *larger = realloc(segment->block, bytes);
        if (larger == NULL)
            return tape_error_set(error, TAPE_FAILED, "no memory for %zu bytes", bytes);
        segment->block = larger;
        segment->block_capacity = bytes;
    }
    int64_t got =
        tape_segment_walk_read(segment->walk.fd, segment->block, bytes, entry->offset, error);
    if (got < 0)
        return (int)got;
    if (got < (int64_t)bytes)
        return tape_error_set(error, TAPE_TORN, "the file ends inside it");
    return 0;
}

int tape_segment_read(struct tape_segment *segment, uint32_t index,
                      struct tape_block_reader *reader, struct tape_error *error)
{
    uint32_t blocks;
    struct tape_segment_entry *entries = entries_of(segment, &blocks);
    if (index >= blocks)
        return tape_error_set(error, TAPE_USAGE, "there is no block %u", index);
    struct tape_segment_entry *entry = &entries[index];
    int status = read_block(segment, entry, error);
    if (status == 0) {
        uint8_t header[TAPE_BLOCK_HEADER_BYTES];
        const uint8_t *payload = segment->block + sizeof header;
        tape_block_header_put(header, &entry->header);
        entry->header_damaged = memcmp(header, segment->block, sizeof header) != 0;
        status = tape_block_open(reader, &entry->header, payload, error);
        if (status == TAPE_CORRUPT && !segment->sealed && index == blocks - 1 &&
            has_unwritten_sector(payload, entry->offset + sizeof header,
                                 entry->header.stored_bytes))
            status = tape_error_set(error, TAPE_TORN, "parts of it were never written");
    }
    if (status < 0)
        tape_error_wrap(error, "block %u at 0x%llx", entry->header.number,
                        (unsigned long long)entry->offset);
    return status;
}
