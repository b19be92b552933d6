/*
 * Any bytes as a segment file, or as the inside of a footer. Bits of the first byte: put the file
 * header right; put right every block header that can be found, and its payload's checksum; put the
 * trailer right; resume and seal it afterwards; take the bytes as the raw payload of a footer.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "format/bytes.h"
#include "format/crc32c.h"
#include "format/footer.h"
#include "format/segment.h"
#include "format/segment_bytes.h"

enum { FILE_HEADER = 1, BLOCKS = 2, TRAILER = 4, RESUME = 8, FOOTER = 16, SEQUENCE = 7 };

static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static char in_memory[] = "/dev/shm/tape-fuzz-XXXXXX", on_disk[] = "/tmp/tape-fuzz-XXXXXX";
static const char *path;
static int directory = -1;
static struct tape_block_reader *reader;

static void clean_up(void)
{
    unlinkat(directory, "s.hot", 0);
    unlinkat(directory, "s.torn", 0);
    rmdir(path);
}

static void set_up(void)
{
    if (directory >= 0)
        return;
    path = mkdtemp(in_memory); /* syncs cost nothing there */
    if (path == NULL)
        path = mkdtemp(on_disk);
    if (path == NULL)
        abort();
    directory = open(path, O_RDONLY | O_DIRECTORY);
    reader = tape_block_reader_new();
    atexit(clean_up);
}

/* --- putting right --- */

static void put_block_right(uint8_t *block, size_t left)
{
    uint64_t stored = tape_bytes_get_u32(block + 12);
    tape_bytes_put_u32(block + 60, SEQUENCE);
    memcpy(block + 72, id, 8);
    tape_bytes_put_u16(block + 70, 0);
    if (stored <= left - TAPE_BLOCK_HEADER_BYTES)
        tape_bytes_put_u32(block + 8,
                           tape_crc32c_update(0, block + TAPE_BLOCK_HEADER_BYTES, stored));
    tape_bytes_put_u32(block + 4, tape_crc32c_update(0, block + 8, TAPE_BLOCK_HEADER_BYTES - 8));
}

/* From the end to the front: a checksum over a payload must be the last word on it. */
static void put_right(uint8_t *bytes, size_t size, int how)
{
    if ((how & TRAILER) && size >= TAPE_SEGMENT_TRAILER_BYTES) {
        uint8_t *trailer = bytes + size - TAPE_SEGMENT_TRAILER_BYTES;
        memcpy(trailer, "TAPE_END", 8);
        tape_bytes_put_u32(trailer + 8, tape_crc32c_update(0, trailer + 12, 20));
    }
    if (how & BLOCKS)
        for (size_t at = size; at-- > 0;)
            if (size - at >= TAPE_BLOCK_HEADER_BYTES && memcmp(bytes + at, "TBK1", 4) == 0)
                put_block_right(bytes + at, size - at);
    if ((how & FILE_HEADER) && size >= TAPE_SEGMENT_HEADER_BYTES) {
        struct tape_segment_identity identity = {.sequence = SEQUENCE};
        memcpy(identity.archive_id, id, 16);
        tape_segment_identity_put(bytes, &identity);
    }
}

/* --- reading --- */

static void see_count(void *context, const struct tape_segment_stream_count *count)
{
    volatile char last = 0;
    (void)context;
    if (count->name_bytes > TAPE_SEGMENT_STREAM_NAME_MAX_BYTES)
        abort();
    for (uint32_t i = 0; i < count->name_bytes; i++)
        last = count->name[i];
    (void)last;
}

static void read_segment(struct tape_segment *segment, struct tape_segment_info *info)
{
    struct tape_error error;
    struct tape_record record;
    uint64_t ordinal = 0, at = 0, offset, bytes, records = 0;
    tape_segment_read_info(segment, info);
    if (info->end_offset > info->file_bytes || info->next_ordinal > 1ull << 63)
        abort();
    for (uint32_t i = 0; tape_segment_damage(segment, i, &offset, &bytes); i++) {
        if (offset < at || bytes == 0 || offset + bytes > info->file_bytes)
            abort();
        at = offset + bytes;
    }
    at = TAPE_SEGMENT_HEADER_BYTES;
    for (uint32_t i = 0; i < info->blocks; i++) {
        const struct tape_segment_entry *entry = tape_segment_entry(segment, i);
        if (entry->offset < at || entry->header.first_ordinal < ordinal)
            abort();
        at = entry->offset + TAPE_BLOCK_HEADER_BYTES + entry->header.stored_bytes;
        ordinal = entry->header.first_ordinal + entry->header.records;
        records += entry->header.records;
        if (at > info->end_offset)
            abort();
        if (tape_segment_read(segment, i, reader, &error) == 0)
            while (tape_block_next(reader, &record) == 1)
                ;
        tape_segment_counts(segment, i, see_count, NULL);
    }
    if (records != info->records)
        abort();
    tape_segment_refresh(segment, &error);
}

/* A segment that was resumed and sealed is whole. */
static void resume_and_seal(void)
{
    struct tape_error error;
    struct tape_segment_info info;
    struct tape_segment_writer *writer =
        tape_segment_resume(directory, "s.hot", id, NULL, NULL, NULL, &error);
    if (writer == NULL)
        return;
    if (tape_segment_seal(writer, &error) != 0)
        abort();
    struct tape_segment *segment = tape_segment_open(directory, "s.hot", id, &error);
    if (segment == NULL)
        abort();
    read_segment(segment, &info);
    if (!info.sealed || info.tail != 0)
        abort();
    tape_segment_close(segment);
}

static void try_file(uint8_t *bytes, size_t size, int how)
{
    struct tape_error error;
    struct tape_segment_info info;
    put_right(bytes, size, how);
    int fd = openat(directory, "s.hot", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
    struct tape_segment *segment = tape_segment_open(directory, "s.hot", id, &error);
    if (segment == NULL)
        return;
    read_segment(segment, &info);
    tape_segment_close(segment);
    if (how & RESUME)
        resume_and_seal();
    segment = tape_segment_open(directory, "s.hot", NULL, NULL);
    tape_segment_close(segment);
}

static void try_footer(const uint8_t *raw, size_t size)
{
    struct tape_error error;
    struct tape_footer footer;
    if (size == 0)
        return;
    uint8_t *copy = malloc(size), *payload = malloc(ZSTD_compressBound(size));
    memcpy(copy, raw, size);
    put_right(copy, size, BLOCKS);
    size_t stored = ZSTD_compress(payload, ZSTD_compressBound(size), copy, size, 1);
    struct tape_block_header header = {.stored_bytes = (uint32_t)stored,
                                       .raw_bytes = (uint32_t)size,
                                       .segment = SEQUENCE,
                                       .codec = TAPE_BLOCK_CODEC_FOOTER,
                                       .archive_tag = tape_bytes_get_u64(id)};
    header.payload_crc32c = tape_crc32c_update(0, payload, stored);
    if (tape_footer_decode(&footer, &header, payload, 1 << 30, &error) == 0) {
        for (uint32_t i = 0; i <= footer.blocks; i++)
            tape_footer_counts(&footer, i, see_count, NULL);
        tape_footer_clear(&footer);
    }
    free(copy);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    set_up();
    if (data[0] & FOOTER) {
        try_footer(data + 1, size - 1);
        return 0;
    }
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    try_file(bytes, size - 1, data[0]);
    free(bytes);
    return 0;
}
