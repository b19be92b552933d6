/* A small archive from a line of words, for the tests of the player: each number is a message
 * received so many ms after made_ns, "|" ends a block, "/" a segment. Message n of it is
 * {"stream":"a@trade","data":n}, of every third (2, 5 ...) "b@trade". */
#ifndef TAPE_TESTS_UNIT_MAKE_TAPE_H
#define TAPE_TESTS_UNIT_MAKE_TAPE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cmocka wants the four above first */
#include <setjmp.h>

#include <cmocka.h>

#include "format/archive.h"
#include "format/block.h"
#include "format/segment.h"
#include "format/ws.h"
#include "tests/unit/make_records.h"

struct tape_maker {
    struct tape_archive *archive;
    struct tape_segment_writer *writer;
    struct tape_block_builder *builder;
    uint32_t sequence, in_block;
    uint64_t ordinal;
};

static inline void make_tape_begin_segment(struct tape_maker *maker)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_error error;
    maker->writer =
        tape_archive_create_segment(maker->archive, ++maker->sequence, made_ns, name, &error);
    if (!maker->writer)
        fail_msg("%s", error.text);
}

static inline void make_tape_end_block(struct tape_maker *maker)
{
    struct tape_block_header header;
    uint8_t *stored;
    struct tape_segment_stream_count counts[] = {{"a@trade", 7, maker->in_block, 30},
                                                 {"b@trade", 7, maker->in_block, 30}};
    if (maker->in_block == 0)
        return;
    assert_int_equal(tape_block_seal(maker->builder, 1, 1, &header, &stored, NULL), 0);
    header.realtime_minus_monotonic_ns = 0;
    assert_int_equal(tape_segment_append(maker->writer, &header, stored, counts, 2, 0, NULL), 0);
    maker->in_block = 0;
}

static inline void make_tape_message(struct tape_maker *maker, int64_t recv_ns)
{
    char text[64];
    uint8_t frame[80];
    int bytes = snprintf(text, sizeof text, "{\"stream\":\"%c@trade\",\"data\":%d}",
                         maker->ordinal % 3 == 2 ? 'b' : 'a', (int)maker->ordinal);
    size_t header = tape_ws_build(frame, TAPE_WS_TEXT, 1, (size_t)bytes, NULL);
    memcpy(frame + header, text, (size_t)bytes);
    struct tape_record record = {
        .ordinal = maker->ordinal++,
        .recv_ns = recv_ns,
        .connection = 1,
        .kind = TAPE_RECORD_FRAME_IN,
        .bytes = (uint32_t)(header + (size_t)bytes),
        .data = frame,
    };
    assert_int_equal(tape_block_append(maker->builder, &record, NULL), 1);
    maker->in_block++;
}

/* make_tape(path, words): a new archive there. */
static inline void make_tape(const char *path, const char *words)
{
    struct tape_error error;
    struct tape_maker maker = {.archive = tape_archive_create(path, &error)};
    if (!maker.archive)
        fail_msg("%s", error.text);
    maker.builder = tape_block_builder_new();
    make_tape_begin_segment(&maker);
    for (const char *at = words; *at;) {
        char *end = NULL;
        if (*at == '|' || *at == '/') {
            make_tape_end_block(&maker);
            if (*at == '/') {
                assert_int_equal(tape_segment_seal(maker.writer, NULL), 0);
                make_tape_begin_segment(&maker);
            }
        }
        if (strchr("|/ ", *at)) {
            at++;
            continue;
        }
        make_tape_message(&maker, made_ns + (int64_t)(strtod(at, &end) * 1e6));
        at = end;
    }
    make_tape_end_block(&maker);
    assert_int_equal(tape_segment_seal(maker.writer, NULL), 0);
    tape_block_builder_free(maker.builder);
    tape_archive_close(maker.archive);
}

#endif
