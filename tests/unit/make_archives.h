/* Whole archives from lists of messages, for the tests of what reads several. */
#ifndef TAPE_TESTS_UNIT_MAKE_ARCHIVES_H
#define TAPE_TESTS_UNIT_MAKE_ARCHIVES_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/archive.h"
#include "format/ws.h"
#include "tests/unit/make_records.h"

/* A message in one text frame; with event = 1 the body of a note. */
struct made_message {
    int64_t recv_ns;
    const char *text;
    uint32_t connection; /* 0: 1 */
    int event;
};

static inline void put_made(struct tape_block_builder *builder, uint64_t ordinal,
                            const struct made_message *message)
{
    static uint8_t frame[1 << 17];
    size_t bytes = strlen(message->text), header = 0;
    struct tape_record record = {
        .ordinal = ordinal,
        .recv_ns = message->recv_ns,
        .connection = message->connection ? message->connection : 1,
        .kind = TAPE_RECORD_NOTE,
        .data = frame,
    };
    if (bytes + 16 > sizeof frame)
        abort();
    if (!message->event) {
        record.kind = TAPE_RECORD_FRAME_IN;
        header = tape_ws_build(frame, TAPE_WS_TEXT, 1, bytes, NULL);
    } else {
        record.connection = message->connection;
    }
    memcpy(frame + header, message->text, bytes);
    record.bytes = (uint32_t)(header + bytes);
    if (tape_block_append(builder, &record, NULL) != 1)
        abort();
}

/* make_archive_of(path, messages, count, block): blocks of so many, sealed; their streams counted
 * under ${counted} (NULL: not counted). */
static inline void make_archive_counted(const char *path, const struct made_message *messages,
                                        size_t count, size_t block, const char *counted)
{
    struct tape_error error;
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_archive *archive = tape_archive_create(path, &error);
    struct tape_segment_writer *writer =
        archive ? tape_archive_create_segment(archive, 1, made_ns, name, &error) : NULL;
    struct tape_block_builder *builder = tape_block_builder_new();
    if (!writer || !builder) {
        fprintf(stderr, "%s\n", error.text);
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        struct tape_block_header header;
        uint8_t *stored;
        put_made(builder, i, &messages[i]);
        if ((i + 1) % block != 0 && i + 1 < count)
            continue;
        if (tape_block_seal(builder, 1, 1, &header, &stored, &error) != 0)
            abort();
        header.realtime_minus_monotonic_ns = 0;
        struct tape_segment_stream_count counts = {counted, 0, 1, 1};
        counts.name_bytes = counted ? (uint32_t)strlen(counted) : 0;
        if (tape_segment_append(writer, &header, stored, counted ? &counts : NULL, !!counted, 0,
                                &error) != 0)
            abort();
    }
    tape_block_builder_free(builder);
    if (tape_segment_seal(writer, &error) != 0)
        abort();
    tape_archive_close(archive);
}

static inline void make_archive_of(const char *path, const struct made_message *messages,
                                   size_t count)
{
    make_archive_counted(path, messages, count, 4, NULL);
}

/* Damages the first block of its only segment. */
static inline void damage_archive(const char *path)
{
    char file[600], command[600];
    snprintf(command, sizeof command, "find %s/segments -type f", path);
    FILE *pipe = popen(command, "r");
    if (!pipe || !fgets(file, sizeof file, pipe))
        abort();
    pclose(pipe);
    file[strcspn(file, "\n")] = '\0';
    int fd = open(file, O_RDWR);
    off_t at = TAPE_SEGMENT_HEADER_BYTES + TAPE_BLOCK_HEADER_BYTES + 5;
    uint8_t byte;
    if (fd < 0 || pread(fd, &byte, 1, at) != 1)
        abort();
    byte ^= 0x20;
    if (pwrite(fd, &byte, 1, at) != 1)
        abort();
    close(fd);
}

#endif
