#include "make_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "format/ring.h"

/* ---- a disk that fails: these stand in for libc's in all of the store's code ---- */

static atomic_int fdatasync_failures; /* so many of the next calls fail */
static atomic_int disk_is_full, disk_is_stuck;

int fdatasync(int fd)
{
    int left = atomic_load(&fdatasync_failures);
    while (atomic_load(&disk_is_stuck))
        usleep(1000);
    while (left > 0)
        if (atomic_compare_exchange_weak(&fdatasync_failures, &left, left - 1)) {
            errno = EIO;
            return -1;
        }
    return (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    if (atomic_load(&disk_is_full)) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

static atomic_llong shared_memory_bytes = INT64_MAX; /* room in /dev/shm */

int posix_fallocate(int fd, off_t offset, off_t length)
{
    char link[64], path[300] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0 && strncmp(path, "/dev/shm/", 9) == 0 &&
        length > atomic_load(&shared_memory_bytes))
        return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

static void wait_until_durable(struct tape_store *store)
{
    struct tape_store_state state;
    do {
        usleep(1000);
        tape_store_read_state(store, &state);
    } while (state.durable_records < state.records);
}

static uint64_t records_in_segments(void)
{
    struct tape_error error = {0};
    struct tape_segment_info info;
    uint64_t records = 0;
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    int count = tape_archive_scan(archive, &error);
    for (int i = 0; i < count; i++) {
        struct tape_segment *segment =
            tape_archive_open_segment(archive, tape_archive_entry(archive, i), &error);
        assert_non_null(segment);
        tape_segment_read_info(segment, &info);
        records += info.records;
        tape_segment_close(segment);
    }
    tape_archive_close(archive);
    return records;
}

/* ---- sessions ---- */

static void one_session(void **unused)
{
    (void)unused;
    struct tape_store_state state;
    struct tape_store *store = open_plain();
    put_frames(store, 0, 1000, 0);
    tape_store_read_state(store, &state);
    assert_int_equal(state.frames, 1000);
    assert_int_equal(state.session, 1);
    wait_until_durable(store);
    tape_store_read_state(store, &state);
    assert_int_equal(state.durable_records, state.records);
    assert_true(state.ring_used_bytes <= TAPE_RING_SLOT_BYTES); /* the next record's */
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, 1000);
    assert_int_equal(found.repeated_or_missing, 0);
    assert_int_equal(found.kinds[TAPE_RECORD_SESSION_START], 1);
    assert_int_equal(found.kinds[TAPE_RECORD_CLOCK], 1);
    assert_int_equal(found.kinds[TAPE_RECORD_SESSION_END], 1);
    assert_int_equal(found.first_ordinal, 0);
    assert_int_equal(found.holes, 0);
    assert_string_equal(found.notes, "");
    check_index();
}

static void sessions_follow_each_other(void **unused)
{
    (void)unused;
    for (uint32_t session = 1; session <= 3; session++) {
        struct tape_store_state state;
        struct tape_store *store = open_plain();
        tape_store_read_state(store, &state);
        assert_int_equal(state.session, session);
        uint32_t connection = tape_store_new_connection(store);
        assert_int_equal(connection, session);
        tape_store_event(store, TAPE_RECORD_CONNECTION_OPEN, connection, tape_clock_realtime(),
                         "{}", 2);
        put_frames(store, (session - 1) * 10, session * 10, 0);
        close_well(store);
        check_index();
    }
    struct found found = read_archive();
    assert_int_equal(found.frames, 30);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
}

static void nothing_is_left_behind(void **unused)
{
    (void)unused;
    char names[4][TAPE_ARCHIVE_PATH_BYTES];
    struct tape_archive_owner owner;
    struct tape_error error = {0};
    struct tape_store *store = open_plain();
    assert_int_equal(tape_archive_read_owner(tape_store_archive(store), &owner, &error), 0);
    assert_int_equal(owner.pid, getpid());
    assert_int_equal(access(owner.ring_path, F_OK), 0);
    char ring_path[TAPE_ARCHIVE_PATH_BYTES];
    snprintf(ring_path, sizeof ring_path, "%s", owner.ring_path);
    close_well(store);
    assert_int_equal(access(ring_path, F_OK), -1);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    assert_int_equal(owner.held, 0);
    assert_string_equal(owner.ring_path, "");
    tape_archive_close(archive);
    assert_int_equal(list_segments(".hot", names, 4), 1);
    assert_int_equal(list_segments(".torn", names, 4), 0);
}

static void second_recorder_is_told_who_records(void **unused)
{
    (void)unused;
    char expected[300];
    struct tape_error error = {0};
    struct tape_store_options options = {0};
    struct tape_store *store = open_plain();
    assert_null(tape_store_open(archive_path, &options, &error));
    assert_int_equal(error.status, TAPE_LOCKED);
    snprintf(expected, sizeof expected, "record into %s: locked by process %ld (since ",
             archive_path, (long)getpid());
    assert_memory_equal(error.text, expected, strlen(expected));
    close_well(store);
}

static void segments_roll(void **unused)
{
    (void)unused;
    char names[64][TAPE_ARCHIVE_PATH_BYTES];
    struct tape_store *store =
        open_with((struct tape_store_options){.seal_raw_bytes = 300000, .ring_bytes = 4 << 20});
    put_frames(store, 0, 3000, 1000);
    close_well(store);
    assert_true(list_segments(".hot", names, 64) > 5);
    struct found found = read_archive();
    assert_int_equal(found.frames, 3000);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    check_index();
}

static void sync_modes(void **unused)
{
    (void)unused;
    uint64_t number = 0;
    for (int mode = TAPE_STORE_SYNC_INTERVAL; mode <= TAPE_STORE_SYNC_NONE; mode++) {
        struct tape_store *store =
            open_with((struct tape_store_options){.sync = mode, .sync_ns = 5000000});
        put_frames(store, number, number + 500, 300);
        number += 500;
        wait_until_durable(store);
        close_well(store);
    }
    struct found found = read_archive();
    assert_int_equal(found.frames, 1500);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    check_index();
}

static void put_and_die(struct tape_store *store)
{
    put_frames(store, 0, 300, 200);
}

static void short_of_shared_memory(void **unused)
{
    (void)unused;
    struct tape_store_state state;
    struct tape_archive_owner owner;
    struct tape_error error = {0};
    char ring[200];
    atomic_store(&shared_memory_bytes, 20 << 20);
    struct tape_store *store = open_with((struct tape_store_options){.ring_bytes = 64 << 20});
    tape_store_read_state(store, &state);
    assert_int_equal(state.ring_bytes, 16 << 20);
    close_well(store);
    atomic_store(&shared_memory_bytes, 0);
    die_after(put_and_die, (struct tape_store_options){.ring_bytes = 16 << 20});
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    tape_archive_close(archive);
    snprintf(ring, sizeof ring, "%s/ring", archive_path);
    assert_string_equal(owner.ring_path, ring);
    assert_int_equal(access(ring, F_OK), 0);
    close_well(open_plain());
    assert_int_equal(access(ring, F_OK), -1);
    struct found found = read_archive();
    assert_int_equal(found.frames, 300);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    check_index();
}

/* LOCK is read by processes that run elsewhere. */
static void own_ring_is_named_from_the_root(void **unused)
{
    (void)unused;
    struct tape_archive_owner owner;
    struct tape_error error = {0};
    char before[TAPE_ARCHIVE_PATH_BYTES], ring[200];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(scratch), 0);
    atomic_store(&shared_memory_bytes, 0);
    struct tape_store_options options = {.ring_bytes = 1 << 20};
    struct tape_store *store = tape_store_open("archive", &options, &error);
    assert_int_equal(chdir(before), 0);
    assert_non_null(store);
    assert_int_equal(tape_archive_read_owner(tape_store_archive(store), &owner, &error), 0);
    snprintf(ring, sizeof ring, "%s/ring", archive_path);
    assert_string_equal(owner.ring_path, ring);
    close_well(store);
    assert_int_equal(access(ring, F_OK), -1);
}

/* ---- events ---- */

static void *release_late(void *unused)
{
    (void)unused;
    sleep(3);
    atomic_store(&disk_is_stuck, 0);
    return NULL;
}

/* A sync that takes long while the ring is full: the session has its end, and what waited before
 * it. */
static void slow_disk_at_the_end(void **unused)
{
    (void)unused;
    pthread_t thread;
    uint64_t number = 0;
    struct tape_store *store = open_plain();
    atomic_store(&disk_is_stuck, 1);
    for (int idle_ms = 0; idle_ms < 300; idle_ms++) {
        while (try_frame(store, number, 4000) || try_frame(store, number, 0))
            number++, idle_ms = 0;
        tape_store_tick(store, tape_clock_realtime());
        usleep(1000);
    }
    tape_store_event(store, TAPE_RECORD_NOTE, 0, tape_clock_realtime(), "{\"kind\":\"operator\"}",
                     19);
    assert_int_equal(pthread_create(&thread, NULL, release_late, NULL), 0);
    close_well(store);
    pthread_join(thread, NULL);
    struct found found = read_archive();
    assert_int_equal(found.frames, number);
    assert_int_equal(found.repeated_or_missing + found.holes, 0);
    assert_int_equal(found.kinds[TAPE_RECORD_SESSION_END], 1);
    assert_non_null(strstr(found.notes, " operator@"));
}

static void *write_notes(void *context)
{
    for (int i = 0; i < 50; i++)
        tape_store_note(context, TAPE_RECORD_NOTE, 0, "{\"kind\":\"operator\"}", 19);
    return NULL;
}

static void notes_of_other_threads(void **unused)
{
    (void)unused;
    pthread_t threads[3];
    struct tape_store *store = open_plain();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_notes, store), 0);
    put_frames(store, 0, 2000, 0);
    tape_store_tick(store, tape_clock_realtime());
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    close_well(store); /* takes what no tick has taken */
    assert_int_equal(read_archive().kinds[TAPE_RECORD_NOTE], 150);
}

static void delays_are_counted(void **unused)
{
    (void)unused;
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_store *store = open_plain();
    tape_store_delay(store, 0);
    tape_store_delay(store, 1023);
    tape_store_delay(store, 1024);
    tape_store_delay(store, 2047);
    tape_store_delay(store, INT64_MAX);
    close_well(store);
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    struct tape_cursor *cursor = tape_cursor_open(archive, &error);
    struct tape_cursor_damage damage;
    int found = 0;
    while (tape_cursor_next(cursor, &record, &damage, &error) == 1) {
        if (record.kind != TAPE_RECORD_DELAY)
            continue;
        struct tape_event *event = tape_event_read((const char *)record.data, record.bytes);
        assert_non_null(event);
        for (int i = 0; i < 48; i++)
            assert_int_equal(tape_event_number_at(event, "counts", i, -1),
                             i == 10                       ? 2
                             : i == 0 || i == 9 || i == 47 ? 1
                                                           : 0);
        assert_int_equal(tape_event_number_at(event, "counts", 48, -1), -1);
        tape_event_free(event);
        found++;
    }
    assert_int_equal(found, 1);
    tape_cursor_close(cursor);
    tape_archive_close(archive);
}

/* Events keep their place: what waits for room goes before the frame that found room. */
static void events_wait_in_order(void **unused)
{
    (void)unused;
    uint64_t number = 0;
    struct tape_store *store = open_plain();
    atomic_store(&disk_is_full, 1);
    while (try_frame(store, number, 4000) || number < 10) {
        number++;
        assert_true(number < 100000);
    }
    uint64_t full_at = number;
    tape_store_event(store, TAPE_RECORD_NOTE, 0, tape_clock_realtime(), "{\"kind\":\"operator\"}",
                     19);
    atomic_store(&disk_is_full, 0);
    put_frames(store, full_at, full_at + 10, 4000);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, full_at + 10);
    assert_int_equal(found.repeated_or_missing + found.holes, 0);
    char expected[40];
    snprintf(expected, sizeof expected, " operator@%" PRIu64, full_at);
    assert_non_null(strstr(found.notes, expected));
    assert_non_null(strstr(found.notes, " stall@"));
}

static void frame_longer_than_the_ring_takes(void **unused)
{
    (void)unused;
    struct tape_store_state state;
    struct tape_store *store = open_plain();
    put_frames(store, 0, 5, 0);
    assert_int_equal(tape_store_record_limit(store), 512 << 10);
    assert_null(tape_store_reserve(store, (512 << 10) + 1));
    assert_int_equal(tape_store_must_discard(store), 1);
    tape_store_discard(store, 1, 77, (512 << 10) + 1);
    put_frames(store, 5, 10, 0);
    assert_int_equal(tape_store_must_discard(store), 0);
    tape_store_read_state(store, &state);
    assert_int_equal(state.discarded_frames, 1);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, 10);
    assert_int_equal(found.gap_frames, 1);
    assert_string_equal(found.notes, " gap@5");
}

/* ---- a failing disk ---- */

static void failed_sync_is_written_again(void **unused)
{
    (void)unused;
    char names[8][TAPE_ARCHIVE_PATH_BYTES];
    struct tape_store *store = open_with((struct tape_store_options){.sync_ns = 20000000});
    put_frames(store, 0, 500, 200);
    wait_until_durable(store);
    atomic_store(&fdatasync_failures, 1);
    put_frames(store, 500, 1500, 200);
    wait_until_durable(store);
    assert_int_equal(atomic_load(&fdatasync_failures), 0);
    put_frames(store, 1500, 2000, 200);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, 2000);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    assert_non_null(strstr(found.notes, " sync@"));
    assert_int_equal(list_segments(".hot", names, 8), 2);
    /* what was not durable in the first segment was cut off: no record stands in both */
    assert_int_equal(records_in_segments(), found.records);
    check_index();
}

static void every_sync_fails_for_a_while(void **unused)
{
    (void)unused;
    struct tape_store *store = open_with((struct tape_store_options){.sync_ns = 5000000});
    atomic_store(&fdatasync_failures, 5);
    put_frames(store, 0, 3000, 500);
    wait_until_durable(store);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, 3000);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    check_index();
}

static void failed_sync_at_the_end(void **unused)
{
    (void)unused;
    struct tape_store *store = open_with((struct tape_store_options){.sync_ns = 60000000000});
    put_frames(store, 0, 100, 200);
    atomic_store(&fdatasync_failures, 2);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, 100);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
}

static uint64_t fill_until_discard(struct tape_store *store, uint64_t number)
{
    while (!tape_store_must_discard(store)) {
        if (try_frame(store, number, 4000))
            number++;
        else
            usleep(1000);
        tape_store_tick(store, tape_clock_realtime());
    }
    return number;
}

static void full_disk_leaves_a_gap_note(void **unused)
{
    (void)unused;
    struct tape_store_state state;
    struct tape_store *store = open_plain();
    put_frames(store, 0, 100, 4000);
    atomic_store(&disk_is_full, 1);
    uint64_t kept = fill_until_discard(store, 100);
    for (int i = 0; i < 37; i++)
        tape_store_discard(store, 1, tape_clock_realtime(), 1000);
    assert_null(tape_store_reserve(store, 10));
    tape_store_read_state(store, &state);
    assert_int_equal(state.disk_full, 1);
    assert_int_equal(state.discarded_frames, 37);
    assert_non_null(strstr(state.message, "No space left on device"));
    atomic_store(&disk_is_full, 0);
    put_frames(store, kept, kept + 100, 4000);
    tape_store_read_state(store, &state);
    assert_int_equal(state.disk_full, 0);
    close_well(store);
    struct found found = read_archive();
    assert_int_equal(found.frames, kept + 100);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    assert_int_equal(found.gap_frames, 37);
    char expected[40];
    snprintf(expected, sizeof expected, " gap@%" PRIu64, kept);
    assert_non_null(strstr(found.notes, expected));
    assert_non_null(strstr(found.notes, " disk@"));
    check_index();
}

static void full_disk_until_the_end(void **unused)
{
    (void)unused;
    struct tape_error error = {0};
    struct tape_archive_owner owner;
    char ending[400];
    struct tape_store *store = open_with((struct tape_store_options){.ring_bytes = 8 << 20});
    put_frames(store, 0, 100, 4000);
    atomic_store(&disk_is_full, 1);
    uint64_t kept = fill_until_discard(store, 100);
    assert_int_equal(tape_archive_read_owner(tape_store_archive(store), &owner, &error), 0);
    assert_int_equal(tape_store_end(store, "signal", NULL, &error), TAPE_FULL);
    snprintf(ending, sizeof ending,
             "what is not on the disk stays in %s for the next start: ", owner.ring_path);
    assert_memory_equal(error.text, ending, strlen(ending));
    assert_non_null(strstr(error.text, "No space left on device"));
    assert_int_equal(access(owner.ring_path, F_OK), 0);
    atomic_store(&disk_is_full, 0);
    close_well(open_plain());
    assert_int_equal(access(owner.ring_path, F_OK), -1);
    struct found found = read_archive();
    assert_int_equal(found.frames, kept);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    check_index();
}

static int reset_disk(void **state)
{
    atomic_store(&disk_is_full, 0);
    atomic_store(&disk_is_stuck, 0);
    atomic_store(&fdatasync_failures, 0);
    atomic_store(&shared_memory_bytes, INT64_MAX);
    return remove_scratch(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_scratch, reset_disk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_session),
        CASE(sessions_follow_each_other),
        CASE(nothing_is_left_behind),
        CASE(second_recorder_is_told_who_records),
        CASE(segments_roll),
        CASE(sync_modes),
        CASE(short_of_shared_memory),
        CASE(own_ring_is_named_from_the_root),
        CASE(notes_of_other_threads),
        CASE(delays_are_counted),
        CASE(events_wait_in_order),
        CASE(frame_longer_than_the_ring_takes),
        CASE(failed_sync_is_written_again),
        CASE(every_sync_fails_for_a_while),
        CASE(failed_sync_at_the_end),
        CASE(slow_disk_at_the_end),
        CASE(full_disk_leaves_a_gap_note),
        CASE(full_disk_until_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
