/* A store in a scratch directory, numbered frames into it, and everything back out, for the tests
 * of record/. */
#ifndef TAPE_TESTS_UNIT_MAKE_STORE_H
#define TAPE_TESTS_UNIT_MAKE_STORE_H

#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* cmocka wants the four above first */
#include <setjmp.h>

#include <cmocka.h>

#include "format/cursor.h"
#include "format/event.h"
#include "format/index.h"
#include "format/ws.h"
#include "record/clock.h"
#include "record/store.h"

static char scratch[128], archive_path[160];

static int remove_entry(const char *path, const struct stat *state, int kind, struct FTW *walk)
{
    (void)state;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int make_scratch(void **unused)
{
    (void)unused;
    const char *above = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/tapedeck-unit-XXXXXX", above ? above : "/tmp");
    if (mkdtemp(scratch) == NULL)
        return -1;
    snprintf(archive_path, sizeof archive_path, "%s/archive", scratch);
    return 0;
}

static int remove_scratch(void **unused)
{
    (void)unused;
    return nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct tape_store *open_with(struct tape_store_options options)
{
    struct tape_error error = {0};
    if (options.ring_bytes == 0)
        options.ring_bytes = 1 << 20;
    options.command = "test";
    struct tape_store *store = tape_store_open(archive_path, &options, &error);
    if (store == NULL)
        fail_msg("open: %s", error.text);
    return store;
}

static inline struct tape_store *open_plain(void)
{
    return open_with((struct tape_store_options){0});
}

static void close_well(struct tape_store *store)
{
    struct tape_error error = {0};
    if (tape_store_end(store, "end", NULL, &error) < 0)
        fail_msg("close: %s", error.text);
}

/* One frame whose payload is its number, padded to ${bytes}; 0 when there is no room. */
static int try_frame(struct tape_store *store, uint64_t number, size_t bytes)
{
    char payload[4096];
    uint8_t header[TAPE_WS_HEADER_MAX_BYTES];
    size_t used =
        (size_t)snprintf(payload, sizeof payload,
                         "{\"stream\":\"test@trade\",\"data\":{\"n\":%" PRIu64 "}}", number);
    /* letters that hardly compress, so that sizes mean something */
    uint64_t dice = number * 2 + 0x9e3779b97f4a7c15u;
    while (used < bytes && used < sizeof payload) {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        payload[used++] = (char)('0' + (dice & 63));
    }
    size_t header_bytes = tape_ws_build(header, TAPE_WS_TEXT, 1, used, NULL);
    uint8_t *room = tape_store_reserve(store, header_bytes + used);
    if (room == NULL)
        return 0;
    memcpy(room, header, header_bytes);
    memcpy(room + header_bytes, payload, used);
    struct tape_record record = {.recv_ns = tape_clock_realtime(),
                                 .connection = 1,
                                 .bytes = (uint32_t)(header_bytes + used),
                                 .kind = TAPE_RECORD_FRAME_IN};
    tape_store_publish(store, &record);
    return 1;
}

static inline void put_frames(struct tape_store *store, uint64_t from, uint64_t to, size_t bytes)
{
    for (uint64_t number = from; number < to; number++)
        while (!try_frame(store, number, bytes)) {
            tape_store_tick(store, tape_clock_realtime());
            usleep(1000);
        }
}

/* What the archive holds, read from its segments. */
struct found {
    uint64_t records, frames, damages;
    uint64_t kinds[32];
    uint64_t repeated_or_missing; /* frame numbers that are not 0, 1, 2 ... */
    uint64_t first_ordinal, next_ordinal, holes;
    char notes[4000]; /* the "kind" of every note and its frame number, " gap@12" */
    char last_damage[TAPE_ERROR_TEXT_BYTES];
    uint64_t gap_frames;
};

static void take_note(struct found *found, const struct tape_record *record)
{
    struct tape_event *event = tape_event_read((const char *)record->data, record->bytes);
    assert_non_null(event);
    size_t used = strlen(found->notes);
    const char *kind = tape_event_text(event, "kind");
    assert_non_null(kind);
    snprintf(found->notes + used, sizeof found->notes - used, " %s@%" PRIu64, kind, found->frames);
    if (strcmp(kind, "gap") == 0)
        found->gap_frames += (uint64_t)tape_event_number(event, "frames", 0);
    tape_event_free(event);
}

static void take_found(struct found *found, const struct tape_record *record)
{
    if (found->records == 0)
        found->first_ordinal = record->ordinal;
    else
        found->holes += record->ordinal != found->next_ordinal;
    found->next_ordinal = record->ordinal + 1;
    found->records++;
    found->kinds[record->kind < 32 ? record->kind : 0]++;
    if (record->kind == TAPE_RECORD_NOTE)
        take_note(found, record);
    if (record->kind != TAPE_RECORD_FRAME_IN)
        return;
    char text[200] = "";
    memcpy(text, record->data, record->bytes < 199 ? record->bytes : 199);
    const char *number = memmem(text, sizeof text, "\"n\":", 4);
    assert_non_null(number);
    found->repeated_or_missing += strtoull(number + 4, NULL, 10) != found->frames;
    found->frames++;
}

static inline struct found read_archive(void)
{
    struct found found = {0};
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_cursor_damage damage;
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_cursor *cursor = archive ? tape_cursor_open(archive, &error) : NULL;
    if (cursor == NULL)
        fail_msg("read: %s", error.text);
    int got;
    while ((got = tape_cursor_next(cursor, &record, &damage, &error)) > 0) {
        if (got == 1) {
            take_found(&found, &record);
        } else {
            found.damages++;
            snprintf(found.last_damage, sizeof found.last_damage, "%s", damage.text);
        }
    }
    assert_int_equal(got, 0);
    tape_cursor_close(cursor);
    tape_archive_close(archive);
    return found;
}

static void print_difference(void *context, const char *words)
{
    (void)context;
    print_message("index: %s\n", words);
}

/* index.db must be what folding the segments gives. */
static inline void check_index(void)
{
    struct tape_error error = {0};
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_non_null(archive);
    struct tape_index *index = tape_index_open_read(archive, &error);
    if (index == NULL)
        fail_msg("index: %s", error.text);
    struct tape_index *truth = tape_index_open_memory(archive, &error);
    struct tape_summariser *summariser = tape_summariser_new(&error);
    assert_true(tape_index_load_state(truth, summariser, &error) >= 0);
    assert_true(tape_index_catch_up(truth, archive, summariser, NULL, NULL, &error) >= 0);
    int differences = tape_index_compare(index, truth, print_difference, NULL, &error);
    tape_summariser_free(summariser);
    tape_index_close(truth);
    tape_index_close(index);
    tape_archive_close(archive);
    assert_int_equal(differences, 0);
}

/* Runs ${work} in a child that ends as kill -9 ends it: no thread is joined, nothing closed. */
static inline void die_after(void (*work)(struct tape_store *store),
                             struct tape_store_options options)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        work(open_with(options));
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

/* The files of the archive whose names end so, in order; how many. */
static inline int list_segments(const char *ending, char names[][TAPE_ARCHIVE_PATH_BYTES], int most)
{
    char command[600];
    int count = 0;
    snprintf(command, sizeof command, "find %s/segments -name '*%s' | sort", archive_path, ending);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while (count < most && fgets(names[count], TAPE_ARCHIVE_PATH_BYTES, pipe)) {
        names[count][strcspn(names[count], "\n")] = '\0';
        count++;
    }
    pclose(pipe);
    return count;
}

#endif
