/*
 * Drives a store directly, for the tests that kill it.
 *
 *   store_feed feed ARCHIVE FIRST BURST PAUSE_US [sync]
 *       numbered frames until killed; after each burst the last published number goes to stdout
 *   store_feed read ARCHIVE
 *       "COUNT LAST", or why the numbers are not 0, 1 ...
 *   store_feed count ARCHIVE
 *       frames in the segments and, while it is recorded, in the ring
 *   store_feed flood ARCHIVE FILE TIMES
 *       lines "<ns> <payload>" flat out; prints the rate
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "format/cursor.h"
#include "format/ring.h"
#include "format/ws.h"
#include "record/clock.h"
#include "record/import.h"
#include "record/store.h"

static int fail(const struct tape_error *error)
{
    fprintf(stderr, "store_feed: %s\n", error->text);
    return 1;
}

static uint8_t *reserve(struct tape_store *store, size_t bytes)
{
    uint8_t *room;
    while ((room = tape_store_reserve(store, bytes)) == NULL) {
        tape_store_tick(store, tape_clock_realtime());
        usleep(200);
    }
    return room;
}

static void publish(struct tape_store *store, int64_t ns, const char *payload, size_t bytes)
{
    uint8_t header[TAPE_WS_HEADER_MAX_BYTES];
    size_t header_bytes = tape_ws_build(header, TAPE_WS_TEXT, 1, bytes, NULL);
    uint8_t *room = reserve(store, header_bytes + bytes);
    memcpy(room, header, header_bytes);
    memcpy(room + header_bytes, payload, bytes);
    struct tape_record record = {.recv_ns = ns,
                                 .connection = 1,
                                 .bytes = (uint32_t)(header_bytes + bytes),
                                 .kind = TAPE_RECORD_FRAME_IN};
    tape_store_publish(store, &record);
}

static int feed(int argc, char **argv)
{
    struct tape_error error = {0};
    struct tape_store_options options = {.ring_bytes = 8 << 20, .command = "store_feed"};
    uint64_t number = strtoull(argv[3], NULL, 10);
    long burst = strtol(argv[4], NULL, 10), pause = strtol(argv[5], NULL, 10);
    if (argc > 6)
        options.sync = TAPE_STORE_SYNC_BLOCK;
    struct tape_store *store = tape_store_open(argv[2], &options, &error);
    if (store == NULL)
        return fail(&error);
    for (;;) {
        for (long i = 0; i < burst; i++, number++) {
            char payload[120];
            int bytes = snprintf(payload, sizeof payload,
                                 "{\"stream\":\"test@trade\",\"data\":{\"e\":\"trade\",\"E\":1,"
                                 "\"t\":%" PRIu64 ",\"n\":%" PRIu64 "}}",
                                 number, number);
            publish(store, tape_clock_realtime(), payload, (size_t)bytes);
        }
        uint64_t last = number - 1;
        if (write(STDOUT_FILENO, &last, sizeof last) != sizeof last)
            return 1;
        tape_store_tick(store, tape_clock_realtime());
        if (pause > 0)
            usleep((useconds_t)pause);
    }
}

static int number_of(const struct tape_record *record, uint64_t *number)
{
    char text[200];
    size_t bytes = record->bytes < sizeof text - 1 ? record->bytes : sizeof text - 1;
    memcpy(text, record->data, bytes);
    text[bytes] = '\0';
    const char *found = memmem(text, bytes, "\"n\":", 4);
    if (found == NULL)
        return 0;
    *number = strtoull(found + 4, NULL, 10);
    return 1;
}

static int read_back(char **argv)
{
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_cursor_damage damage;
    uint64_t count = 0, number, ordinal = 0;
    struct tape_archive *archive = tape_archive_open(argv[2], &error);
    struct tape_cursor *cursor = archive ? tape_cursor_open(archive, &error) : NULL;
    if (cursor == NULL)
        return fail(&error);
    int got;
    while ((got = tape_cursor_next(cursor, &record, &damage, &error)) > 0) {
        if (got == 2) {
            printf("damage: %s\n", damage.text);
            return 1;
        }
        if (record.ordinal != ordinal++) {
            printf("record %" PRIu64 " where %" PRIu64 " should be\n", record.ordinal, ordinal - 1);
            return 1;
        }
        if (record.kind != TAPE_RECORD_FRAME_IN || !number_of(&record, &number))
            continue;
        if (number != count++) {
            printf("frame %" PRIu64 " where %" PRIu64 " should be\n", number, count - 1);
            return 1;
        }
    }
    tape_cursor_close(cursor);
    tape_archive_close(archive);
    if (got < 0)
        return fail(&error);
    printf("%" PRIu64 " %" PRId64 "\n", count, (int64_t)count - 1);
    return 0;
}

/* A live archive: what the segments lack the ring has, until it is gone. */
static int count_frames(char **argv)
{
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_cursor_damage damage;
    struct tape_archive_owner owner;
    struct tape_ring_state state = {0};
    uint64_t frames = 0, next = 0;
    struct tape_archive *archive = tape_archive_open(argv[2], &error);
    struct tape_cursor *cursor = archive ? tape_cursor_open(archive, &error) : NULL;
    if (cursor == NULL || tape_archive_read_owner(archive, &owner, &error) < 0)
        return fail(&error);
    struct tape_ring *ring = tape_ring_attach(owner.ring_path, tape_archive_id(archive), NULL);
    if (ring)
        tape_ring_read_state(ring, &state);
    while (tape_cursor_next(cursor, &record, &damage, &error) == 1) {
        frames += record.kind == TAPE_RECORD_FRAME_IN;
        next = record.ordinal + 1;
    }
    struct tape_ring_cursor at;
    if (ring &&
        tape_ring_seek(ring, next > state.durable_ordinal ? next : state.durable_ordinal, &at) == 1)
        while (tape_ring_next(ring, &at, &record) == 1)
            frames += record.kind == TAPE_RECORD_FRAME_IN;
    tape_ring_free(ring);
    tape_cursor_close(cursor);
    tape_archive_close(archive);
    printf("%" PRIu64 "\n", frames);
    return 0;
}

static char *read_whole(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return NULL;
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*bytes + 1);
    if (text && fread(text, 1, *bytes, file) != *bytes)
        *bytes = 0;
    fclose(file);
    return text;
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void flood_once(struct tape_store *store, const char *text, size_t bytes, uint64_t *frames)
{
    const char *end = text + bytes;
    while (text < end) {
        int64_t ns = 0;
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        if (newline == NULL)
            break;
        size_t used = tape_import_number(text, (size_t)(newline - text), &ns);
        publish(store, ns, text + used + 1, (size_t)(newline - text) - used - 1);
        text = newline + 1;
        if ((++*frames & 4095) == 0)
            tape_store_tick(store, tape_clock_realtime());
    }
}

static int flood(char **argv)
{
    struct tape_error error = {0};
    struct tape_store_options options = {.command = "store_feed"};
    struct tape_store_state state;
    size_t bytes = 0;
    uint64_t frames = 0;
    char *text = read_whole(argv[3], &bytes);
    struct tape_store *store = text ? tape_store_open(argv[2], &options, &error) : NULL;
    if (store == NULL)
        return fail(&error);
    double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (long times = strtol(argv[4], NULL, 10); times > 0; times--)
        flood_once(store, text, bytes, &frames);
    if (tape_store_end(store, "end", &state, &error) < 0)
        return fail(&error);
    wall = seconds_of(CLOCK_MONOTONIC) - wall;
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%" PRIu64 " frames, %.3f M/s wall, %.3f M/s of CPU, %.1f bytes each\n", frames,
           (double)frames / wall / 1e6, (double)frames / cpu / 1e6,
           (double)state.stored_bytes / (double)frames);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "feed") == 0)
        return feed(argc, argv);
    if (argc == 3 && strcmp(argv[1], "read") == 0)
        return read_back(argv);
    if (argc == 3 && strcmp(argv[1], "count") == 0)
        return count_frames(argv);
    if (argc == 5 && strcmp(argv[1], "flood") == 0)
        return flood(argv);
    fputs("usage: see the top of store_feed.c\n", stderr);
    return 2;
}
