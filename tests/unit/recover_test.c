#include "make_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "format/feed.h"
#include "format/ring.h"
#include "record/repair.h"

/* What --repair said, one line after the other. */
struct said {
    char text[8000];
};

static void take_words(void *context, const char *words)
{
    struct said *said = context;
    size_t used = strlen(said->text);
    snprintf(said->text + used, sizeof said->text - used, "%s\n", words);
}

static struct said repair(int expect_lost)
{
    struct said said = {""};
    struct tape_error error = {0};
    int lost = -1;
    if (tape_repair_run(archive_path, take_words, &said, &lost, &error) < 0)
        fail_msg("repair: %s", error.text);
    if (lost != expect_lost)
        fail_msg("lost %d:\n%s", lost, said.text);
    return said;
}

static void check_frames(uint64_t frames)
{
    struct found found = read_archive();
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    assert_int_equal(found.frames, frames);
}

/* All frames that die_after() writes are numbered on from here. */
static uint64_t first_frame;

static void write_and_wait(struct tape_store *store)
{
    struct tape_store_state state;
    put_frames(store, first_frame, first_frame + 500, 200);
    do {
        usleep(1000);
        tape_store_read_state(store, &state);
    } while (state.durable_records < state.records);
}

static void write_and_die(struct tape_store *store)
{
    put_frames(store, first_frame, first_frame + 500, 200);
}

static void write_durable_then_more(struct tape_store *store)
{
    write_and_wait(store);
    put_frames(store, first_frame + 500, first_frame + 600, 200);
}

/* Nothing is sealed or synced by itself in such a store: the ring holds all of it. */
static const struct tape_store_options lazy = {.ring_bytes = 4 << 20, .sync_ns = 60000000000};

static int setup(void **state)
{
    first_frame = 0;
    return make_scratch(state);
}

/* One fragment of a text message; first and last as RFC 6455 has them. */
static void put_fragment(struct tape_store *store, int first, int last, size_t bytes)
{
    uint8_t header[TAPE_WS_HEADER_MAX_BYTES], *room;
    size_t header_bytes =
        tape_ws_build(header, first ? TAPE_WS_TEXT : TAPE_WS_CONTINUATION, last, bytes, NULL);
    while ((room = tape_store_reserve(store, header_bytes + bytes)) == NULL)
        usleep(1000);
    memcpy(room, header, header_bytes);
    memset(room + header_bytes, 'x', bytes);
    struct tape_record record = {.recv_ns = tape_clock_realtime(),
                                 .connection = 1,
                                 .bytes = (uint32_t)(header_bytes + bytes),
                                 .kind = TAPE_RECORD_FRAME_IN};
    tape_store_publish(store, &record);
}

/* A message that lies in several segments, then one that is whole, all durable. */
static void write_over_segments(struct tape_store *store)
{
    struct tape_store_state state;
    for (int i = 0; i < 12; i++) {
        put_fragment(store, i == 0, i == 11, 4000);
        do {
            usleep(2000);
            tape_store_read_state(store, &state);
        } while (state.durable_records < state.records);
    }
    put_fragment(store, 1, 1, 100);
}

static void add_messages(void *context, const struct tape_segment_stream_count *count)
{
    *(uint64_t *)context += count->messages;
}

/* Every footer that counts a block counts what the parser finds in it; messages in all. */
static uint64_t check_counts(uint32_t *uncounted)
{
    struct tape_error error = {0};
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_block_reader *reader = tape_block_reader_new();
    struct tape_feed *feed = tape_feed_new();
    struct tape_record record;
    struct tape_message message;
    uint64_t all = 0;
    int segments = tape_archive_scan(archive, &error);
    for (int i = 0; i < segments; i++) {
        struct tape_segment *segment =
            tape_archive_open_segment(archive, tape_archive_entry(archive, i), &error);
        struct tape_segment_info info;
        tape_segment_read_info(segment, &info);
        for (uint32_t block = 0; block < info.blocks; block++) {
            uint64_t found = 0, told = 0;
            assert_int_equal(tape_segment_read(segment, block, reader, &error), 0);
            while (tape_block_next(reader, &record) == 1)
                if (tape_feed_push(feed, &record, &message, &error) == 1)
                    found += message.kind == TAPE_FEED_DATA;
            int status = tape_segment_counts(segment, block, add_messages, &told);
            if (status == 0)
                assert_int_equal(told, found);
            *uncounted += status == TAPE_MISSING;
            all += found;
        }
        tape_segment_close(segment);
    }
    tape_feed_free(feed);
    tape_block_reader_free(reader);
    tape_archive_close(archive);
    return all;
}

/* ---- kill -9 ---- */

static void message_over_segments(void **unused)
{
    (void)unused;
    uint32_t uncounted = 0;
    die_after(write_over_segments, (struct tape_store_options){.seal_raw_bytes = 16000});
    repair(0);
    assert_int_equal(check_counts(&uncounted), 2);
    assert_true(uncounted > 0);
    check_index();
}

static void ring_only(void **unused)
{
    (void)unused;
    die_after(write_and_die, lazy);
    struct tape_store *store = open_plain();
    struct tape_store_state state;
    tape_store_read_state(store, &state);
    assert_true(state.recovered_records >= 500);
    assert_int_equal(state.torn_bytes, 0);
    put_frames(store, 500, 510, 0);
    close_well(store);
    check_frames(510);
    struct found found = read_archive();
    assert_string_equal(found.notes, " recovery@500");
    assert_int_equal(found.kinds[TAPE_RECORD_SESSION_START], 2);
    check_index();
}

static void segments_only(void **unused)
{
    (void)unused;
    die_after(write_and_wait, (struct tape_store_options){0});
    struct said said = repair(0);
    assert_non_null(strstr(said.text, "segment 000001: it had no footer; sealed with "));
    assert_non_null(strstr(said.text, "; nothing is lost\n"));
    check_frames(500);
    check_index();
}

static void both(void **unused)
{
    (void)unused;
    for (int round = 0; round < 5; round++) {
        die_after(write_durable_then_more, (struct tape_store_options){0});
        first_frame += 600;
    }
    close_well(open_plain());
    check_frames(3000);
    check_index();
}

static void repair_twice_finds_nothing(void **unused)
{
    (void)unused;
    die_after(write_durable_then_more, (struct tape_store_options){0});
    struct said first = repair(0);
    assert_non_null(strstr(first.text, " records saved\n"));
    struct found before = read_archive();
    struct said second = repair(0);
    char expected[200];
    snprintf(expected, sizeof expected,
             "%" PRIu64 " records; 0 segments sealed, 0 records saved from the ring, 0 damaged "
             "places; nothing is lost\n",
             before.records);
    assert_string_equal(second.text, expected);
    assert_int_equal(read_archive().records, before.records);
    check_index();
}

/* The ring is removed last: whatever was already done is not done again. */
static void ring_that_is_already_saved(void **unused)
{
    (void)unused;
    char copy[800], command[2000];
    struct tape_error error = {0};
    struct tape_archive_owner owner;
    die_after(write_durable_then_more, (struct tape_store_options){0});
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    tape_archive_close(archive);
    snprintf(copy, sizeof copy, "%s/ring", scratch);
    snprintf(command, sizeof command, "cp %s %s", owner.ring_path, copy);
    assert_int_equal(system(command), 0);
    repair(0);
    struct found before = read_archive();
    snprintf(command, sizeof command, "cp %s %s", copy, owner.ring_path);
    assert_int_equal(system(command), 0);
    repair(0);
    assert_int_equal(access(owner.ring_path, F_OK), -1);
    assert_int_equal(read_archive().records, before.records);
    check_frames(600);
}

/* What cannot be believed is told, and its bytes are kept. */
static void damaged_ring_is_kept(void **unused)
{
    (void)unused;
    static const uint64_t impossible = UINT64_C(1) << 63;
    char kept[300];
    struct tape_error error = {0};
    struct tape_archive_owner owner;
    struct stat ring, copy;
    die_after(write_and_die, lazy);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    tape_archive_close(archive);
    int fd = open(owner.ring_path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &impossible, sizeof impossible, TAPE_RING_HEADER_BYTES),
                     sizeof impossible);
    assert_int_equal(fstat(fd, &ring), 0);
    close(fd);
    struct said said = repair(1);
    assert_non_null(strstr(said.text, ": damaged: kept as ring.damaged\n"));
    snprintf(kept, sizeof kept, "%s/ring.damaged", archive_path);
    assert_int_equal(stat(kept, &copy), 0);
    assert_int_equal(copy.st_size, ring.st_size);
    assert_int_equal(access(owner.ring_path, F_OK), -1);
    close_well(open_plain());
    check_index();
}

static void lock_text_lost(void **unused)
{
    (void)unused;
    char path[300];
    die_after(write_durable_then_more, (struct tape_store_options){0});
    snprintf(path, sizeof path, "%s/LOCK", archive_path);
    assert_int_equal(truncate(path, 0), 0);
    close_well(open_plain());
    check_frames(600);
    check_index();
}

/* ---- power cuts: no ring, and a file that ends anywhere ---- */

static void remove_ring(void)
{
    struct tape_error error = {0};
    struct tape_archive_owner owner;
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    tape_archive_close(archive);
    assert_int_equal(unlink(owner.ring_path), 0);
}

static void torn_at_many_lengths(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES], saved[300], command[800];
    struct stat state;
    die_after(write_and_wait, (struct tape_store_options){0});
    remove_ring();
    snprintf(saved, sizeof saved, "%s/saved", scratch);
    snprintf(command, sizeof command, "cp -r %s %s", archive_path, saved);
    assert_int_equal(system(command), 0);
    assert_int_equal(list_segments(".hot", names, 4), 1);
    assert_int_equal(stat(names[0], &state), 0);
    for (off_t length = 0; length <= state.st_size; length += length < 200 ? 13 : 7919) {
        snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s", archive_path, saved,
                 archive_path);
        assert_int_equal(system(command), 0);
        assert_int_equal(truncate(names[0], length), 0);
        uint64_t before = length >= TAPE_SEGMENT_HEADER_BYTES ? read_archive().frames : 0;
        struct tape_store *store = open_plain();
        put_frames(store, before, before + 10, 0);
        close_well(store);
        check_frames(before + 10);
        check_index();
    }
}

static void torn_tail_is_kept(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES];
    struct stat state, torn;
    die_after(write_and_wait, (struct tape_store_options){0});
    remove_ring();
    assert_int_equal(list_segments(".hot", names, 4), 1);
    assert_int_equal(stat(names[0], &state), 0);
    assert_int_equal(truncate(names[0], state.st_size - 10), 0);
    struct said said = repair(1);
    assert_non_null(strstr(said.text, " torn bytes cut off, kept in segments/"));
    assert_non_null(strstr(said.text, "; records are lost\n"));
    assert_int_equal(list_segments(".torn", names, 4), 1);
    assert_int_equal(stat(names[0], &torn), 0);
    assert_true(torn.st_size > 0 && torn.st_size < state.st_size);
    repair(0);
    check_index();
}

/* ---- what is gone ---- */

static void session_of(uint64_t from, uint64_t to)
{
    struct tape_store *store = open_plain();
    put_frames(store, from, to, 200);
    close_well(store);
}

static void ordinals_are_not_used_twice(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES];
    session_of(0, 100);
    session_of(100, 200);
    uint64_t next = read_archive().next_ordinal;
    assert_int_equal(list_segments(".hot", names, 4), 2);
    assert_int_equal(unlink(names[1]), 0);
    session_of(200, 210);
    struct found found = read_archive();
    assert_int_equal(found.frames, 110);
    assert_int_equal(found.holes, 1);
    assert_true(found.next_ordinal > next);
    assert_int_equal(found.damages, 1);
    assert_int_equal(list_segments("-000002.hot", names, 4), 0);
    check_index();
    repair(1);
    session_of(210, 220);
    check_index();
}

static void all_segments_deleted(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES];
    session_of(0, 100);
    uint64_t next = read_archive().next_ordinal;
    assert_int_equal(list_segments(".hot", names, 4), 1);
    assert_int_equal(unlink(names[0]), 0);
    struct tape_store_state state;
    struct tape_store *store = open_plain();
    tape_store_read_state(store, &state);
    assert_int_equal(state.session, 2);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.first_ordinal, next);
    check_index();
}

static void damage_in_the_middle_stays(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES];
    struct tape_store *store = open_with((struct tape_store_options){.ring_bytes = 4 << 20});
    put_frames(store, 0, 2000, 1000);
    close_well(store);
    assert_int_equal(list_segments(".hot", names, 4), 1);
    int fd = open(names[0], O_RDWR);
    assert_int_equal(pwrite(fd, "damage", 6, 300000), 6);
    close(fd);
    struct said first = repair(1);
    assert_non_null(strstr(first.text, "segment 000001: block "));
    assert_non_null(strstr(first.text, ", 1 damaged places; records are lost\n"));
    struct said second = repair(1);
    assert_string_equal(first.text, second.text);
    session_of(2000, 2010);
    struct found found = read_archive();
    assert_true(found.frames < 2010 && found.frames > 1000);
    assert_int_equal(found.damages, 1);
}

/* ".../…-000001.hot" becomes the name that the next segment would have. */
static void name_of_second(const char *first, char second[TAPE_ARCHIVE_PATH_BYTES])
{
    snprintf(second, TAPE_ARCHIVE_PATH_BYTES, "%.*s-000002.hot", (int)(strrchr(first, '-') - first),
             first);
}

static void file_shorter_than_a_header(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES], path[TAPE_ARCHIVE_PATH_BYTES];
    session_of(0, 100);
    assert_int_equal(list_segments(".hot", names, 4), 1);
    name_of_second(names[0], path);
    int fd = open(path, O_WRONLY | O_CREAT, 0640);
    assert_int_equal(write(fd, "TAPEDECK", 8), 8);
    close(fd);
    struct said said = repair(0);
    assert_non_null(
        strstr(said.text, "segment 000002: shorter than its header: kept as segments/"));
    session_of(100, 110);
    check_frames(110);
    assert_int_equal(list_segments("-000002.hot", names, 4), 0);
    assert_int_equal(list_segments("-000002.torn", names, 4), 1);
}

/* What the first recovery kept is still there after a second one of the same segment. */
static void torn_twice_keeps_both(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES];
    struct stat state, once, twice;
    die_after(write_and_wait, (struct tape_store_options){0});
    remove_ring();
    assert_int_equal(list_segments(".hot", names, 4), 1);
    assert_int_equal(stat(names[0], &state), 0);
    assert_int_equal(truncate(names[0], state.st_size - 10), 0);
    repair(1);
    assert_int_equal(truncate(names[0], 20), 0);
    assert_int_equal(list_segments(".torn", names, 4), 1);
    assert_int_equal(stat(names[0], &once), 0);
    assert_true(once.st_size > 20);
    repair(1);
    assert_int_equal(stat(names[0], &twice), 0);
    assert_int_equal(twice.st_size, once.st_size + 20);
    assert_int_equal(list_segments("-000001.hot", names, 4), 0);
}

static void foreign_segment_is_left_alone(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES], path[TAPE_ARCHIVE_PATH_BYTES], line[200] = "";
    session_of(0, 100);
    assert_int_equal(list_segments(".hot", names, 4), 1);
    name_of_second(names[0], path);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 20; i++)
        fputs("not one of ours\n", file);
    fclose(file);
    session_of(100, 110);
    file = fopen(path, "r");
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_string_equal(line, "not one of ours\n");
    assert_int_equal(read_archive().frames, 110);
}

/* ---- the index ---- */

static void index_deleted_or_garbage(void **unused)
{
    (void)unused;
    char command[500];
    session_of(0, 100);
    snprintf(command, sizeof command, "rm -f %s/index.db*", archive_path);
    assert_int_equal(system(command), 0);
    session_of(100, 200);
    check_index();
    snprintf(command, sizeof command, "rm -f %s/index.db*; echo garbage garbage > %s/index.db",
             archive_path, archive_path);
    assert_int_equal(system(command), 0);
    struct said said = repair(0);
    assert_non_null(strstr(said.text, "index.db: made anew from the segments\n"));
    check_index();
    session_of(200, 300);
    check_index();
    check_frames(300);
}

/* ---- hostile names ---- */

static void lock_names_a_file_of_the_user(void **unused)
{
    (void)unused;
    char precious[300];
    struct tape_error error = {0};
    session_of(0, 10);
    snprintf(precious, sizeof precious, "%s/precious", scratch);
    FILE *file = fopen(precious, "w");
    fputs("precious", file);
    fclose(file);
    struct tape_archive *archive = tape_archive_create(archive_path, &error);
    assert_int_equal(tape_archive_set_owner(archive, precious, 0, &error), 0);
    tape_archive_close(archive);
    session_of(10, 20);
    assert_int_equal(access(precious, F_OK), 0);
    check_frames(20);
}

static void repair_makes_no_archive(void **unused)
{
    (void)unused;
    struct said said = {""};
    struct tape_error error = {0};
    char expected[300];
    int lost;
    assert_true(tape_repair_run(archive_path, take_words, &said, &lost, &error) < 0);
    snprintf(expected, sizeof expected, "open %s: open the directory: No such file or directory",
             archive_path);
    assert_string_equal(error.text, expected);
    assert_int_equal(access(archive_path, F_OK), -1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(message_over_segments),
        CASE(ring_only),
        CASE(segments_only),
        CASE(both),
        CASE(repair_twice_finds_nothing),
        CASE(ring_that_is_already_saved),
        CASE(damaged_ring_is_kept),
        CASE(lock_text_lost),
        CASE(torn_at_many_lengths),
        CASE(torn_tail_is_kept),
        CASE(ordinals_are_not_used_twice),
        CASE(all_segments_deleted),
        CASE(damage_in_the_middle_stays),
        CASE(file_shorter_than_a_header),
        CASE(torn_twice_keeps_both),
        CASE(foreign_segment_is_left_alone),
        CASE(index_deleted_or_garbage),
        CASE(lock_names_a_file_of_the_user),
        CASE(repair_makes_no_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
