#include "make_store.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "format/pack.h"
#include "make_records.h"
#include "record/pack_archive.h"

/* ---- a disk that fails the packer alone: these stand in for libc's in all of the store's code
 * ---- */

static atomic_int sync_fails, space_is_short, fallocate_fails, stuck, is_stuck;
static atomic_int worker_class = -1, worker_ioprio = -1;

static atomic_int lying_write = -1; /* this write of the packer's is not what was asked for */
static atomic_int sync_thread_slept;

static int is_thread(const char *wanted)
{
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    return strcmp(name, wanted) == 0;
}

static int is_packing(void)
{
    return sched_getscheduler(0) == SCHED_IDLE; /* its name it may not have yet */
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    uint8_t *lie = NULL;
    if (is_packing() && atomic_fetch_sub(&lying_write, 1) == 0 && (lie = malloc(length)) != NULL) {
        memcpy(lie, bytes, length);
        lie[length / 2] ^= 4;
    }
    ssize_t written = syscall(SYS_pwrite64, fd, lie ? lie : bytes, length, offset);
    free(lie);
    return written;
}

/* How SQLite waits for another connection's lock. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
    if (is_thread("tape-sync"))
        atomic_store(&sync_thread_slept, 1);
    return (int)syscall(SYS_nanosleep, time, left);
}

int fdatasync(int fd)
{
    if (atomic_load(&sync_fails) && is_packing()) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
    if (atomic_load(&fallocate_fails) && is_packing()) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

/* The packer asks before each segment and each block. */
int fstatvfs(int fd, struct statvfs *disk)
{
    struct statfs found;
    if (fstatfs(fd, &found) < 0)
        return -1;
    memset(disk, 0, sizeof *disk);
    disk->f_frsize = (unsigned long)found.f_frsize;
    disk->f_blocks = found.f_blocks;
    disk->f_bavail = atomic_load(&space_is_short) ? 7 : found.f_bavail;
    if (!is_packing())
        return 0;
    atomic_store(&worker_class, sched_getscheduler(0));
    atomic_store(&worker_ioprio, (int)syscall(SYS_ioprio_get, 1, 0));
    while (atomic_load(&stuck)) {
        atomic_store(&is_stuck, 1);
        usleep(1000);
    }
    return 0;
}

static int reset(void **state)
{
    atomic_store(&sync_fails, 0);
    atomic_store(&space_is_short, 0);
    atomic_store(&fallocate_fails, 0);
    atomic_store(&stuck, 0);
    atomic_store(&is_stuck, 0);
    atomic_store(&lying_write, -1);
    atomic_store(&sync_thread_slept, 0);
    return remove_scratch(state);
}

/* ---- helpers ---- */

static struct tape_store *open_small(int pack)
{
    return open_with((struct tape_store_options){
        .pack = pack, .seal_raw_bytes = 256 << 10, .sync_ns = 20000000});
}

/* Until so many are packed; frames go on meanwhile, from *number on, so that segments are sealed.
 */
static void record_until_packed(struct tape_store *store, uint64_t *number, uint32_t segments)
{
    struct tape_store_state state;
    do {
        put_frames(store, *number, *number + 20, 1000);
        *number += 20;
        tape_store_tick(store, tape_clock_realtime());
        usleep(2000);
        tape_store_read_state(store, &state);
    } while (state.packed_segments < segments);
}

static void record_until_trouble(struct tape_store *store, uint64_t *number, char trouble[256])
{
    struct tape_store_state state;
    do {
        put_frames(store, *number, *number + 20, 1000);
        *number += 20;
        tape_store_tick(store, tape_clock_realtime());
        usleep(2000);
        tape_store_read_state(store, &state);
    } while (state.pack_trouble[0] == '\0');
    memcpy(trouble, state.pack_trouble, 256);
}

static int count_files(const char *ending)
{
    static char names[256][TAPE_ARCHIVE_PATH_BYTES];
    return list_segments(ending, names, 256);
}

/* The packer tries again at each seal: what it left is seen only where it has ended. The store is
 * opened anew, the trouble goes on. */
static struct tape_store *end_in_trouble(struct tape_store *store, uint64_t *number)
{
    char trouble[256];
    close_well(store);
    assert_int_equal(count_files(".tape") + count_files(".packing"), 0);
    store = open_small(1);
    record_until_trouble(store, number, trouble);
    return store;
}

static struct found check_all(uint64_t frames)
{
    struct found found = read_archive();
    assert_int_equal(found.frames, frames);
    assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
    assert_int_equal(count_files(".packing"), 0);
    check_index();
    return found;
}

/* ---- beside a recorder ---- */

static void packs_while_recording(void **unused)
{
    (void)unused;
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    record_until_packed(store, &number, 3);
    close_well(store);
    assert_true(count_files(".tape") >= 3);
    assert_int_equal(atomic_load(&worker_class), SCHED_IDLE);
    assert_int_equal(atomic_load(&worker_ioprio), 3 << 13); /* idle */
    struct found found = check_all(number);
    assert_null(strstr(found.notes, " pack@"));
}

static void packs_what_was_closed_before(void **unused)
{
    (void)unused;
    struct tape_store *store = open_small(0);
    struct tape_store_state state;
    put_frames(store, 0, 2000, 1000);
    close_well(store);
    int hot = count_files(".hot");
    assert_true(hot > 4);
    assert_int_equal(count_files(".tape"), 0);
    store = open_small(1);
    do {
        usleep(1000);
        tape_store_read_state(store, &state);
    } while (state.packed_segments < (uint32_t)hot);
    close_well(store);
    assert_int_equal(count_files(".tape"), hot);
    assert_int_equal(count_files(".hot"), 1);
    check_all(2000);
}

static void failed_sync_leaves_the_segment(void **unused)
{
    (void)unused;
    char trouble[256];
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    atomic_store(&sync_fails, 1);
    record_until_trouble(store, &number, trouble);
    assert_string_equal(trouble, "not packed, left as it is: segment 000001: pack: "
                                 "segment 000001: sync: Input/output error");
    atomic_store(&sync_fails, 0);
    record_until_packed(store, &number, 1);
    close_well(store);
    struct found found = check_all(number);
    assert_non_null(strstr(found.notes, " pack@"));
    char names[64][TAPE_ARCHIVE_PATH_BYTES];
    assert_true(list_segments(".hot", names, 64) >= 2);
    assert_non_null(strstr(names[0], "-000001.hot"));
    /* not tried again before the next start */
    store = open_small(1);
    record_until_packed(store, &number, 2);
    close_well(store);
    assert_true(list_segments(".hot", names, 64) >= 1);
    assert_null(strstr(names[0], "-000001.hot"));
}

/* The header, a block, the footer: each as something else than what was written. */
static void wrong_bytes_on_the_disk_are_met(void **unused)
{
    (void)unused;
    static const char *const words[] = {
        "read again it is damaged",
        "what was read again is not what was written",
        "read again it has no footer",
    };
    static const char before[] = "not packed, left as it is: segment 000001: pack: ";
    char trouble[256];
    uint64_t number = 0;
    for (int write = 0; write < 3; write++) {
        char names[64][TAPE_ARCHIVE_PATH_BYTES];
        atomic_store(&lying_write, write); /* it begins with what was closed before */
        struct tape_store *store = open_small(1);
        record_until_trouble(store, &number, trouble);
        assert_memory_equal(trouble, before, sizeof before - 1);
        assert_string_equal(trouble + sizeof before - 1, words[write]);
        close_well(store);
        assert_true(list_segments(".hot", names, 64) >= 1);
        assert_non_null(strstr(names[0], "-000001.hot"));
    }
    check_all(number);
}

static void waits_for_space(void **unused)
{
    (void)unused;
    char trouble[256];
    static const char begin[] = "packing waits for space: segment 000001: pack: ";
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    atomic_store(&space_is_short, 1);
    record_until_trouble(store, &number, trouble);
    assert_memory_equal(trouble, begin, sizeof begin - 1);
    assert_non_null(strstr(trouble, " bytes are free: to write "));
    assert_non_null(strstr(trouble, " they are too few"));
    store = end_in_trouble(store, &number);
    atomic_store(&space_is_short, 0);
    record_until_packed(store, &number, 2);
    close_well(store);
    check_all(number);
}

static void full_disk_leaves_nothing(void **unused)
{
    (void)unused;
    char trouble[256];
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    atomic_store(&fallocate_fails, 1);
    record_until_trouble(store, &number, trouble);
    assert_non_null(strstr(trouble,
                           "packing waits for space: segment 000001: pack: segment 000001: "
                           "reserve "));
    assert_non_null(strstr(trouble, "No space left on device"));
    store = end_in_trouble(store, &number);
    atomic_store(&fallocate_fails, 0);
    record_until_packed(store, &number, 2);
    close_well(store);
    check_all(number);
}

static int64_t ask_index(const char *sql)
{
    char path[200];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;
    snprintf(path, sizeof path, "%s/index.db", archive_path);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

/* Whatever the packer waits for, frames come in, become durable and are in the index. */
static void stuck_packer_holds_nobody_up(void **unused)
{
    (void)unused;
    struct tape_store_state state;
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    atomic_store(&stuck, 1);
    while (!atomic_load(&is_stuck)) {
        put_frames(store, number, number + 20, 1000);
        number += 20;
        usleep(1000);
    }
    put_frames(store, number, number + 4000, 1000); /* four times what the ring holds */
    number += 4000;
    tape_store_read_state(store, &state);
    uint64_t records = state.records;
    while (state.durable_records < records ||
           ask_index("SELECT value FROM meta WHERE key = 'next_ordinal'") < (int64_t)records) {
        usleep(5000);
        tape_store_read_state(store, &state);
    }
    assert_int_equal(state.packed_segments, 0);
    atomic_store(&stuck, 0);
    record_until_packed(store, &number, 2);
    close_well(store);
    check_all(number);
}

static void *release_later(void *unused)
{
    (void)unused;
    usleep(50000);
    atomic_store(&stuck, 0);
    return NULL;
}

static void stop_gives_up_what_is_packed(void **unused)
{
    (void)unused;
    pthread_t thread;
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    atomic_store(&stuck, 1);
    while (!atomic_load(&is_stuck)) {
        put_frames(store, number, number + 20, 1000);
        number += 20;
        usleep(1000);
    }
    assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
    close_well(store);
    pthread_join(thread, NULL);
    assert_int_equal(count_files(".tape"), 0);
    check_all(number);
}

/* Somebody else writes to index.db for long: neither durability nor the recording waits. */
static void locked_index_holds_nobody_up(void **unused)
{
    (void)unused;
    char path[200];
    sqlite3 *db = NULL;
    struct tape_store_state state;
    uint64_t number = 0;
    struct tape_store *store = open_small(1);
    record_until_packed(store, &number, 1);
    snprintf(path, sizeof path, "%s/index.db", archive_path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    int64_t indexed = ask_index("SELECT value FROM meta WHERE key = 'next_ordinal'");
    put_frames(store, number, number + 3000, 1000);
    number += 3000;
    do {
        usleep(1000);
        tape_store_read_state(store, &state);
    } while (state.durable_records < state.records);
    assert_int_equal(ask_index("SELECT value FROM meta WHERE key = 'next_ordinal'"), indexed);
    assert_int_equal(state.index_broken, 0);
    assert_int_equal(atomic_load(&sync_thread_slept), 0);
    uint32_t packed = state.packed_segments;
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    record_until_packed(store, &number, packed + 2);
    close_well(store);
    assert_string_equal(state.pack_trouble, "");
    check_all(number);
}

/* ---- by hand ---- */

static void write_by_hand(struct tape_archive *archive, uint32_t sequence,
                          const uint64_t blocks[][2], int length)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_error error = {0};
    struct tape_segment_writer *writer =
        tape_archive_create_segment(archive, sequence, made_ns, name, &error);
    if (writer == NULL)
        fail_msg("%s", error.text);
    for (int i = 0; i < length; i++)
        append_block(writer, blocks[i][0], (uint32_t)blocks[i][1]);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
}

static void pack_by_hand(int level, uint32_t segments)
{
    struct tape_error error = {0};
    struct tape_pack_report report;
    struct tape_progress progress;
    tape_progress_begin(&progress, TAPE_OPTIONS_LOG_TEXT, 1);
    if (tape_pack_archive(archive_path, level, NULL, &progress, &report, &error) < 0)
        fail_msg("pack: %s", error.text);
    assert_int_equal(report.packed, segments);
    assert_int_equal(report.left, 0);
}

/* Every record from 0 to next but those that are known to be missing, once, as it was made; and how
 * many blocks there are. */
static void check_made(uint64_t next, uint64_t missing, uint32_t blocks)
{
    struct tape_error error = {0};
    struct tape_record record;
    struct tape_cursor_damage damage;
    struct tape_segment_info info;
    uint64_t found = 0;
    uint32_t in_files = 0;
    struct tape_archive *archive = tape_archive_open(archive_path, &error);
    for (int i = tape_archive_scan(archive, &error) - 1; i >= 0; i--) {
        struct tape_segment *segment =
            tape_archive_open_segment(archive, tape_archive_entry(archive, i), &error);
        tape_segment_read_info(segment, &info);
        in_files += info.blocks;
        tape_segment_close(segment);
    }
    assert_int_equal(in_files, blocks);
    struct tape_cursor *cursor = tape_cursor_open(archive, &error);
    int got;
    while ((got = tape_cursor_next(cursor, &record, &damage, &error)) > 0)
        if (got == 1 && record.ordinal < next) {
            assert_true(is_made_record(&record));
            found++;
        }
    assert_int_equal(got, 0);
    assert_int_equal(found, next - missing);
    tape_cursor_close(cursor);
    tape_archive_close(archive);
}

/* Blocks that stand in two segments (they were written again after a failed sync, and could not be
 * cut off), a hole in the middle of a segment, an empty one: the index that packing leaves is the
 * one that a rebuild gives. */
static void repeated_and_missing_records(void **unused)
{
    (void)unused;
    struct tape_error error = {0};
    static const uint64_t first[][2] = {{0, 100}, {100, 100}, {200, 100}};
    static const uint64_t again[][2] = {{100, 100}, {200, 100}, {300, 100}, {400, 50}};
    static const uint64_t hole[][2] = {{450, 100}, {600, 100}, {700, 1}};
    struct tape_archive *archive = tape_archive_create(archive_path, &error);
    assert_non_null(archive);
    write_by_hand(archive, 1, first, 3);
    write_by_hand(archive, 2, again, 4);
    write_by_hand(archive, 3, hole, 3);
    write_by_hand(archive, 4, NULL, 0);
    tape_archive_close(archive);
    pack_by_hand(TAPE_PACK_WARM, 4);
    assert_int_equal(count_files(".tape"), 4);
    /* what was counted with segment 1 is a block of its own in segment 2; so is what follows a hole
     */
    check_made(701, 50, 1 + 2 + 2);
    check_index();
    assert_int_equal(ask_index("SELECT count(*) FROM block"), 1 + 1 + 2);
    assert_int_equal(ask_index("SELECT blocks FROM segment WHERE segment_id = 2"), 1);
    assert_int_equal(ask_index("SELECT block_id FROM block WHERE segment_id = 2"), 300);
    assert_int_equal(ask_index("SELECT records FROM block WHERE segment_id = 2"), 150);
    pack_by_hand(TAPE_PACK_WARM, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_scratch, reset)
    const struct CMUnitTest tests[] = {
        CASE(packs_while_recording),
        CASE(packs_what_was_closed_before),
        CASE(failed_sync_leaves_the_segment),
        CASE(wrong_bytes_on_the_disk_are_met),
        CASE(waits_for_space),
        CASE(full_disk_leaves_nothing),
        CASE(stuck_packer_holds_nobody_up),
        CASE(stop_gives_up_what_is_packed),
        CASE(locked_index_holds_nobody_up),
        CASE(repeated_and_missing_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
