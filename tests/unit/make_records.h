/* Records, blocks, segments and directories for the tests of format/, the same in every run. */
#ifndef TAPE_TESTS_UNIT_MAKE_RECORDS_H
#define TAPE_TESTS_UNIT_MAKE_RECORDS_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/block.h"
#include "format/segment.h"

static const uint8_t made_id[16] = {0xa1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x16};
static const int64_t made_ns = 1795600000000000000ll; /* 2026-11-25T09:46:40Z */

#define MADE_HEX                                                                                   \
    "a10203040506070809"                                                                           \
    "0a0b0c0d0e0f16"

/* xorshift64*: a seed gives one sequence on every machine. */
struct dice {
    uint64_t state;
};

static inline uint64_t roll(struct dice *dice)
{
    dice->state ^= dice->state >> 12;
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return dice->state * 2685821657736338717ull;
}

static inline uint64_t roll_below(struct dice *dice, uint64_t limit)
{
    return roll(dice) % limit;
}

/* made_body(ordinal, to, room): words that only that record has. Returns their length. */
static inline uint32_t made_body(uint64_t ordinal, char *to, size_t room)
{
    struct dice dice = {ordinal * 0x9e3779b97f4a7c15ull + 1};
    int length = snprintf(
        to, room, "{\"e\":\"trade\",\"t\":%llu,\"p\":\"%llu.%02llu\",\"q\":\"%llu\"}",
        (unsigned long long)ordinal, (unsigned long long)roll_below(&dice, 100000),
        (unsigned long long)roll_below(&dice, 100), (unsigned long long)roll_below(&dice, 1000));
    return (uint32_t)length;
}

/* made_record(ordinal, body): the record of that ordinal; body has room for 128. */
static inline struct tape_record made_record(uint64_t ordinal, char body[128])
{
    struct dice dice = {ordinal * 77 + 5};
    struct tape_record record = {
        .ordinal = ordinal,
        .recv_ns = made_ns + (int64_t)(ordinal * 1000) - (int64_t)roll_below(&dice, 3000),
        .connection = 1 + (uint32_t)(ordinal % 3),
        .flags = (uint16_t)(1 + (ordinal % 7 == 0 ? 2 : 0)),
        .kind = TAPE_RECORD_FRAME_IN,
        .bytes = made_body(ordinal, body, 128),
        .data = (const uint8_t *)body,
    };
    return record;
}

/* is_made_record(record): 1 when it is exactly the one that made_record() makes. */
static inline int is_made_record(const struct tape_record *record)
{
    char body[128];
    struct tape_record want = made_record(record->ordinal, body);
    return record->recv_ns == want.recv_ns && record->connection == want.connection &&
           record->flags == want.flags && record->kind == want.kind &&
           record->bytes == want.bytes && memcmp(record->data, want.data, want.bytes) == 0;
}

/* append_block(writer, first, records): a block of made records; aborts when that fails. */
static inline void append_block(struct tape_segment_writer *writer, uint64_t first,
                                uint32_t records)
{
    struct tape_error error;
    struct tape_block_header header;
    uint8_t *stored;
    char body[128];
    struct tape_block_builder *builder = tape_block_builder_new();
    for (uint64_t ordinal = first; ordinal < first + records; ordinal++) {
        struct tape_record record = made_record(ordinal, body);
        if (tape_block_append(builder, &record, &error) != 1)
            abort();
    }
    struct tape_segment_stream_count counts[] = {{"abc@trade", 9, records, 50ull * records},
                                                 {"", 0, 1, 2}};
    if (tape_block_seal(builder, TAPE_BLOCK_CODEC_INTERLEAVED, 1, &header, &stored, &error) != 0)
        abort();
    header.realtime_minus_monotonic_ns = 42;
    if (tape_segment_append(writer, &header, stored, counts, 2, 0, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        abort();
    }
    tape_block_builder_free(builder);
}

/* made_segment(directory_fd, name, sequence, first, blocks, records, seal): a whole segment file.
 */
static inline void made_segment(int directory_fd, const char *name, uint32_t sequence,
                                uint64_t first, uint32_t blocks, uint32_t records, int seal)
{
    struct tape_error error;
    struct tape_segment_writer *writer =
        tape_segment_create(directory_fd, name, sequence, made_id, made_ns, &error);
    if (writer == NULL)
        abort();
    for (uint32_t i = 0; i < blocks; i++)
        append_block(writer, first + (uint64_t)i * records, records);
    if (seal && tape_segment_seal(writer, &error) != 0)
        abort();
    if (!seal)
        tape_segment_abandon(writer);
}

/* --- files --- */

struct made_file {
    uint8_t *data;
    size_t bytes;
};

static inline struct made_file read_file_at(int directory_fd, const char *name)
{
    struct stat stat;
    struct made_file file = {0};
    int fd = openat(directory_fd, name, O_RDONLY);
    if (fd < 0 || fstat(fd, &stat) < 0)
        abort();
    file.bytes = (size_t)stat.st_size;
    file.data = malloc(file.bytes + 1);
    if (read(fd, file.data, file.bytes) != (ssize_t)file.bytes)
        abort();
    close(fd);
    return file;
}

static inline void write_file_at(int directory_fd, const char *name, const void *data, size_t bytes)
{
    int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
        abort();
    close(fd);
}

static inline int truncate_at(int directory_fd, const char *name, uint64_t bytes)
{
    int fd = openat(directory_fd, name, O_WRONLY);
    int result = ftruncate(fd, (off_t)bytes);
    close(fd);
    return result;
}

/* made_directory(path): a new directory under TMPDIR (default /tmp); its descriptor. */
static inline int made_directory(char path[256])
{
    const char *above = getenv("TMPDIR");
    snprintf(path, 256, "%s/tape-unit-XXXXXX", above == NULL ? "/tmp" : above);
    if (mkdtemp(path) == NULL)
        abort();
    return open(path, O_RDONLY | O_DIRECTORY);
}

static inline int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
