#include "format/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/crc32c.h"
#include "tests/unit/make_records.h"

enum { DATA = TAPE_RING_MIN_BYTES, BODY_MAX = 700 };

static char directory_path[256], path[300];
static struct tape_error error;

static int open_directory(void **state)
{
    (void)state;
    close(made_directory(directory_path));
    snprintf(path, sizeof path, "%s/ring", directory_path);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    remove_tree(directory_path);
    return 0;
}

static struct tape_ring *new_ring(uint64_t first_ordinal)
{
    struct tape_ring *ring = tape_ring_create(path, DATA, made_id, first_ordinal, &error);
    assert_non_null(ring);
    return ring;
}

/* --- records whose every byte follows from their ordinal --- */

static uint32_t body_bytes(uint64_t ordinal)
{
    struct dice dice = {ordinal * 31 + 7};
    return (uint32_t)roll_below(&dice, BODY_MAX);
}

/* Followers read the ring's bytes while they may be overwritten, by design: they copy, then ask
 * whether the copy is good. The thread sanitizer must not look at either side of that. */
__attribute__((no_sanitize("thread"), noinline)) static void fill(uint8_t *to, uint64_t ordinal,
                                                                  uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        *(volatile uint8_t *)(to + i) = (uint8_t)(ordinal * 7 + i);
}

__attribute__((no_sanitize("thread"), noinline)) static void copy(uint8_t *to, const uint8_t *from,
                                                                  uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = *(const volatile uint8_t *)(from + i);
}

/* Appends the record that the next ordinal asks for; 0 when the ring is full. */
static int put(struct tape_ring *ring, uint64_t ordinal)
{
    struct tape_record record = {.recv_ns = made_ns + (int64_t)ordinal * 3,
                                 .connection = (uint32_t)ordinal % 5,
                                 .bytes = body_bytes(ordinal),
                                 .flags = (uint16_t)(ordinal % 64),
                                 .kind = (uint8_t)(1 + ordinal % 14)};
    uint8_t *to = tape_ring_reserve(ring, record.bytes);
    if (to == NULL)
        return 0;
    fill(to, ordinal, record.bytes);
    return tape_ring_publish(ring, &record) == ordinal;
}

/* 1 when the record is the one of its ordinal, its bytes at data. */
static int is_right(const struct tape_record *record, const uint8_t *data)
{
    uint64_t ordinal = record->ordinal;
    if (record->recv_ns != made_ns + (int64_t)ordinal * 3 || record->connection != ordinal % 5 ||
        record->flags != ordinal % 64 || record->kind != 1 + ordinal % 14 ||
        record->bytes != body_bytes(ordinal))
        return 0;
    for (uint32_t i = 0; i < record->bytes; i++)
        if (data[i] != (uint8_t)(ordinal * 7 + i))
            return 0;
    return 1;
}

/* --- making and attaching --- */

static void stands_as_specified(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(5);
    assert_int_equal(put(ring, 5), 1);
    assert_int_equal(put(ring, 6), 1);
    tape_ring_close(ring);
    int directory = open(directory_path, O_RDONLY | O_DIRECTORY);
    struct made_file file = read_file_at(directory, "ring");
    const uint8_t *slot = file.data + 4096;
    assert_int_equal(file.bytes, 4096 + DATA);
    assert_memory_equal(file.data, "TAPERING", 8);
    assert_int_equal(tape_bytes_get_u32(file.data + 8), tape_crc32c_update(0, file.data + 12, 52));
    assert_int_equal(tape_bytes_get_u32(file.data + 12), 1);
    assert_memory_equal(file.data + 16, made_id, 16);
    assert_int_equal(tape_bytes_get_u64(file.data + 32), DATA);
    assert_int_equal(tape_bytes_get_u64(file.data + 40), 5);
    assert_int_equal(tape_bytes_get_i64(file.data + 48), getpid());
    uint64_t second = 32 + (body_bytes(5) + 7) / 8 * 8;
    uint64_t head = second + 32 + (body_bytes(6) + 7) / 8 * 8;
    assert_int_equal(tape_bytes_get_u64(file.data + 64), head);
    assert_true(tape_bytes_get_u64(file.data + 72) >= head + 32);
    assert_int_equal(tape_bytes_get_u32(file.data + 80), 1);
    assert_int_equal(tape_bytes_get_u64(file.data + 128), 0);
    assert_int_equal(tape_bytes_get_u64(slot), 5);
    assert_true(tape_bytes_get_i64(slot + 8) == made_ns + 15);
    assert_int_equal(tape_bytes_get_u32(slot + 16), body_bytes(5));
    assert_int_equal(tape_bytes_get_u32(slot + 20), 0);
    assert_int_equal(tape_bytes_get_u16(slot + 24), 5);
    assert_int_equal(slot[26], 6);
    assert_memory_equal(slot + 27, "\0\0\0\0\0", 5);
    assert_int_equal(slot[32], 35);
    assert_int_equal(tape_bytes_get_u64(slot + second), 6);
    assert_int_equal(tape_bytes_get_u64(slot + head), 7);
    free(file.data);
    close(directory);
    tape_ring_free(ring);
}

static void refuses_sizes_and_takes_no_name_twice(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 1, DATA - 1, DATA + 1, DATA / 2, 3 * DATA, 1ull << 33};
    char want[500];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(tape_ring_create(path, bad[i], made_id, 0, &error));
        assert_int_equal(error.status, TAPE_USAGE);
        assert_int_equal(access(path, F_OK), -1);
    }
    tape_ring_free(new_ring(0));
    assert_null(tape_ring_create(path, DATA, made_id, 0, &error));
    snprintf(want, sizeof want, "ring %s: create: File exists", path);
    assert_string_equal(error.text, want);
    assert_int_equal(access(path, F_OK), 0);
}

static void leaves_nothing_where_there_is_no_room(void **state)
{
    (void)state;
    /* A limit on the file's length stands for a full /dev/shm. */
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {DATA, DATA};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        struct tape_ring *ring = tape_ring_create(path, DATA, made_id, 0, &error);
        _exit(ring != NULL || error.status >= 0 || access(path, F_OK) == 0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void refuses_what_is_no_ring_of_ours(void **state)
{
    (void)state;
    uint8_t other[16] = {9};
    char want[500], link[300];
    assert_null(tape_ring_attach(path, made_id, &error));
    assert_int_equal(error.status, TAPE_MISSING);
    snprintf(want, sizeof want, "ring %s: there is none", path);
    assert_string_equal(error.text, want);
    tape_ring_free(new_ring(0));
    assert_null(tape_ring_attach(path, other, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    snprintf(want, sizeof want, "ring %s: it belongs to another archive", path);
    assert_string_equal(error.text, want);
    snprintf(link, sizeof link, "%s/link", directory_path);
    assert_int_equal(symlink(path, link), 0);
    assert_null(tape_ring_attach(link, made_id, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_int_equal(truncate(path, 4096 + DATA - 1), 0);
    assert_null(tape_ring_attach(path, made_id, &error));
    snprintf(want, sizeof want, "ring %s: its length is not what its header says", path);
    assert_string_equal(error.text, want);
    assert_int_equal(truncate(path, 100), 0);
    assert_null(tape_ring_attach(path, made_id, &error));
    snprintf(want, sizeof want, "ring %s: it is no ring", path);
    assert_string_equal(error.text, want);
}

static void every_flipped_bit_of_the_fixed_header_is_seen(void **state)
{
    (void)state;
    tape_ring_free(new_ring(0));
    int fd = open(path, O_RDWR);
    for (int bit = 0; bit < 64 * 8; bit++) {
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, bit / 8), 1);
        uint8_t flipped = byte ^ (uint8_t)(1 << bit % 8);
        assert_int_equal(pwrite(fd, &flipped, 1, bit / 8), 1);
        assert_null(tape_ring_attach(path, made_id, &error));
        assert_int_equal(error.status, TAPE_FOREIGN);
        assert_int_equal(pwrite(fd, &byte, 1, bit / 8), 1);
    }
    close(fd);
}

/* --- one thread --- */

static void hands_over_many_times_its_size(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(100);
    struct tape_ring_cursor cursor;
    struct tape_record record;
    assert_int_equal(tape_ring_seek(ring, 100, &cursor), 1);
    uint64_t next = 100;
    for (uint64_t ordinal = 100; ordinal < 60100; ordinal++) {
        if (!put(ring, ordinal)) {
            while (tape_ring_next(ring, &cursor, &record) == 1) {
                assert_true(record.ordinal == next++);
                assert_true(is_right(&record, record.data));
            }
            assert_true(cursor.ordinal == ordinal);
            tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
            assert_int_equal(put(ring, ordinal), 1);
        }
    }
    while (tape_ring_next(ring, &cursor, &record) == 1) {
        assert_true(record.ordinal == next++);
        assert_true(is_right(&record, record.data));
    }
    assert_int_equal(next, 60100);
    struct tape_ring_state now;
    tape_ring_read_state(ring, &now);
    assert_true(now.head_position > 15ull * DATA);
    assert_int_equal(now.head_ordinal, 60100);
    assert_int_equal(now.bytes, DATA);
    assert_int_equal(now.pid, getpid());
    assert_int_equal(now.closed, 0);
    tape_ring_close(ring);
    tape_ring_read_state(ring, &now);
    assert_int_equal(now.closed, 1);
    tape_ring_free(ring);
}

static void drops_nothing_when_full(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    struct tape_ring_cursor cursor;
    struct tape_record record;
    uint64_t ordinal = 0;
    while (put(ring, ordinal))
        ordinal++;
    assert_true(tape_ring_free_bytes(ring) < 32 + BODY_MAX + 32);
    assert_null(tape_ring_reserve(ring, BODY_MAX));
    assert_null(tape_ring_reserve(ring, BODY_MAX));
    assert_int_equal(tape_ring_seek(ring, 0, &cursor), 1);
    for (uint64_t i = 0; i < ordinal; i++) {
        struct tape_ring_cursor before = cursor;
        assert_int_equal(tape_ring_next(ring, &cursor, &record), 1);
        assert_true(is_right(&record, record.data));
        assert_int_equal(tape_ring_intact(ring, &before), 1);
        if (i == 9)
            tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
    }
    assert_int_equal(tape_ring_next(ring, &cursor, &record), 0);
    assert_int_equal(put(ring, ordinal), 1); /* ten made room for one more */
    assert_int_equal(tape_ring_seek(ring, 10, &cursor), 1);
    assert_int_equal(tape_ring_next(ring, &cursor, &record), 1);
    assert_true(is_right(&record, record.data));
    tape_ring_free(ring);
}

static void holds_records_up_to_half(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    struct tape_record got, record = {.kind = 1, .bytes = DATA / 2};
    struct tape_ring_cursor cursor = {0};
    assert_null(tape_ring_reserve(ring, DATA / 2 + 1));
    for (int i = 0; i < 13; i++) { /* one fits at a time; they wrap at every place */
        uint8_t *to = tape_ring_reserve(ring, DATA / 2);
        assert_non_null(to);
        memset(to, i, DATA / 2);
        record.bytes = DATA / 2 - (uint32_t)i * 1000; /* less than was reserved */
        tape_ring_publish(ring, &record);
        assert_int_equal(tape_ring_next(ring, &cursor, &got), 1);
        assert_int_equal(got.bytes, record.bytes);
        assert_int_equal(got.data[0], i);
        assert_int_equal(got.data[got.bytes - 1], i);
        tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
    }
    tape_ring_free(ring);
}

static void nothing_shows_before_it_is_published(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    struct tape_ring *follower = tape_ring_attach(path, made_id, &error);
    struct tape_ring_cursor cursor;
    struct tape_record record;
    assert_int_equal(tape_ring_seek(follower, 0, &cursor), 1);
    fill(tape_ring_reserve(ring, 50), 0, 50);
    assert_int_equal(tape_ring_next(follower, &cursor, &record), 0);
    assert_int_equal(put(ring, 0), 1);
    assert_int_equal(tape_ring_next(follower, &cursor, &record), 1);
    assert_true(is_right(&record, record.data));
    tape_ring_free(follower);
    tape_ring_free(ring);
}

static void seeks_from_the_durable_tail_on(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(50);
    struct tape_ring_cursor cursor;
    struct tape_record record;
    assert_int_equal(tape_ring_seek(ring, 49, &cursor), TAPE_OVERRUN);
    assert_int_equal(tape_ring_seek(ring, 50, &cursor), 1);
    assert_int_equal(tape_ring_seek(ring, 51, &cursor), 0);
    for (uint64_t ordinal = 50; ordinal < 150; ordinal++)
        assert_int_equal(put(ring, ordinal), 1);
    assert_int_equal(tape_ring_seek(ring, 120, &cursor), 1);
    tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
    assert_int_equal(tape_ring_next(ring, &cursor, &record), 1);
    assert_int_equal(record.ordinal, 120);
    assert_int_equal(tape_ring_seek(ring, 119, &cursor), TAPE_OVERRUN);
    assert_int_equal(tape_ring_seek(ring, 150, &cursor), 1);
    assert_int_equal(tape_ring_next(ring, &cursor, &record), 0);
    assert_int_equal(tape_ring_seek(ring, 151, &cursor), 0);
    struct tape_ring_state now;
    tape_ring_read_state(ring, &now);
    assert_int_equal(now.durable_ordinal, 120);
    assert_int_equal(now.head_ordinal, 150);
    tape_ring_free(ring);
}

static void the_durable_tail_moves_only_to_records(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    struct tape_ring_cursor cursor;
    struct tape_ring_state now;
    for (uint64_t ordinal = 0; ordinal < 20; ordinal++)
        put(ring, ordinal);
    assert_int_equal(tape_ring_seek(ring, 10, &cursor), 1);
    tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
    tape_ring_set_durable(ring, 0, 0);                                /* back */
    tape_ring_set_durable(ring, cursor.position + 8, cursor.ordinal); /* inside a record */
    tape_ring_set_durable(ring, cursor.position + 1, cursor.ordinal); /* no place of a slot */
    tape_ring_set_durable(ring, cursor.position + 2 * DATA, cursor.ordinal); /* beyond the head */
    tape_ring_read_state(ring, &now);
    assert_int_equal(now.durable_ordinal, 10);
    assert_true(now.durable_position == cursor.position);
    tape_ring_free(ring);
}

static void a_follower_learns_that_it_was_overrun(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    struct tape_ring *follower = tape_ring_attach(path, made_id, &error);
    struct tape_ring_cursor cursor, writer = {0}, before;
    struct tape_record record;
    put(ring, 0);
    assert_int_equal(tape_ring_seek(follower, 0, &cursor), 1);
    before = cursor;
    assert_int_equal(tape_ring_next(follower, &cursor, &record), 1);
    assert_int_equal(tape_ring_intact(follower, &before), 1);
    uint64_t ordinal = 1;
    for (; ordinal < 5000; ordinal++) {
        while (!put(ring, ordinal)) {
            while (tape_ring_next(ring, &writer, &record) == 1)
                ;
            tape_ring_set_durable(ring, writer.position, writer.ordinal);
        }
        /* As long as it says intact the bytes are there. */
        struct tape_ring_cursor again = before;
        int status = tape_ring_next(follower, &again, &record);
        if (tape_ring_intact(follower, &before)) {
            assert_int_equal(status, 1);
            assert_true(is_right(&record, record.data));
        }
    }
    assert_int_equal(tape_ring_intact(follower, &before), 0);
    assert_int_equal(tape_ring_next(follower, &before, &record), TAPE_OVERRUN);
    tape_ring_free(follower);
    tape_ring_free(ring);
}

/* --- a dead ring --- */

/* Walks what a recovery would; returns how many records came, all of which must be right as long as
 * nothing is said to the contrary. */
static uint64_t walked; /* records that came, right or not */

static uint64_t walk(uint64_t from, int *end)
{
    struct tape_ring_state now;
    struct tape_ring_cursor cursor;
    struct tape_record record;
    struct tape_ring *ring = tape_ring_attach(path, made_id, &error);
    assert_non_null(ring);
    tape_ring_read_state(ring, &now);
    uint64_t found = 0;
    walked = 0;
    *end = tape_ring_seek(ring, from, &cursor);
    while (*end == 1 && (*end = tape_ring_next(ring, &cursor, &record)) == 1) {
        /* Whatever the file says, the bytes lie within the ring. */
        volatile uint8_t sum = 0;
        for (uint32_t i = 0; i < record.bytes; i++)
            sum = (uint8_t)(sum + record.data[i]);
        found += is_right(&record, record.data);
        walked++;
    }
    tape_ring_free(ring);
    return found;
}

static void a_damaged_ring_gives_no_impossible_record(void **state)
{
    (void)state;
    enum { RECORDS = 6 };
    struct tape_ring *ring = new_ring(0);
    for (uint64_t ordinal = 0; ordinal < RECORDS; ordinal++)
        put(ring, ordinal);
    struct tape_ring_state now;
    tape_ring_read_state(ring, &now);
    tape_ring_free(ring);
    int fd = open(path, O_RDWR), end;
    assert_int_equal(walk(0, &end), RECORDS);
    assert_int_equal(end, 0);
    for (uint64_t at = 64; at < 4096 + now.head_position + 32; at++) {
        if (at == 200)
            at = 4096; /* the header's zero bytes mean nothing */
        static const uint8_t masks[] = {1, 4, 8, 0x80, 0xff};
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        for (size_t i = 0; i < sizeof masks; i++) {
            uint8_t flipped = byte ^ masks[i];
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
            uint64_t found = walk(0, &end);
            assert_true(found <= RECORDS);
            assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        }
    }
    close(fd);
}

static void a_wrong_ordinal_or_length_ends_the_walk(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    for (uint64_t ordinal = 0; ordinal < 6; ordinal++)
        put(ring, ordinal);
    struct tape_ring_cursor cursor;
    assert_int_equal(tape_ring_seek(ring, 3, &cursor), 1);
    tape_ring_free(ring);
    static const struct {
        int offset; /* in slot 3 */
        uint8_t byte;
    } bad[] = {{0, 99}, {7, 1}, {17, 0x40}, {18, 0xff}, {19, 0x7f}, {26, 0}, {27, 1}, {31, 1}};
    int fd = open(path, O_RDWR), end;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        off_t at = (off_t)(4096 + cursor.position) + bad[i].offset;
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        assert_int_equal(pwrite(fd, &bad[i].byte, 1, at), 1);
        assert_int_equal(walk(0, &end), 3);
        assert_int_equal(walked, 3);
        assert_int_equal(end, TAPE_CORRUPT);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

static void a_length_beyond_half_the_ring_ends_the_walk(void **state)
{
    (void)state;
    uint8_t bytes[4];
    uint64_t ordinal = 0;
    struct tape_ring *ring = new_ring(0);
    while (put(ring, ordinal))
        ordinal++;
    tape_ring_free(ring);
    int fd = open(path, O_RDWR), end;
    tape_bytes_put_u32(bytes, DATA / 2 + 1); /* so much was published after it */
    assert_int_equal(pwrite(fd, bytes, 4, 4096 + 16), 4);
    assert_int_equal(walk(0, &end), 0);
    assert_int_equal(walked, 0);
    assert_int_equal(end, TAPE_CORRUPT);
    close(fd);
}

/* Appends until it is killed; tells after each record how many were published, and after each move
 * of the tail where it is. */
static void append_for_ever(volatile uint64_t *told)
{
    struct tape_ring *ring = tape_ring_create(path, DATA, made_id, 0, &error);
    struct tape_ring_cursor cursor = {0};
    struct tape_record record;
    if (ring == NULL)
        _exit(1);
    for (uint64_t ordinal = 0;;) {
        if (put(ring, ordinal)) {
            told[0] = ++ordinal;
            continue;
        }
        for (int i = 0; i < 1000; i++)
            tape_ring_next(ring, &cursor, &record);
        tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
        told[1] = cursor.ordinal;
    }
}

static void a_killed_recorder_leaves_every_published_record(void **state)
{
    (void)state;
    struct dice dice = {99};
    volatile uint64_t *told =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 20; i++) {
        told[0] = told[1] = 0;
        unlink(path);
        pid_t child = fork();
        if (child == 0)
            append_for_ever(told);
        while (told[0] == 0)
            usleep(100);
        usleep((useconds_t)roll_below(&dice, 20000));
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        struct tape_ring *ring = tape_ring_attach(path, made_id, &error);
        struct tape_ring_state now;
        assert_non_null(ring);
        tape_ring_read_state(ring, &now);
        tape_ring_free(ring);
        assert_int_equal(now.pid, child);
        assert_in_range(now.head_ordinal, told[0], told[0] + 1);
        assert_in_range(now.durable_ordinal, told[1], now.head_ordinal);
        int end;
        assert_int_equal(walk(now.durable_ordinal, &end), now.head_ordinal - now.durable_ordinal);
        assert_int_equal(end, 0);
    }
    munmap((void *)told, 4096);
}

/* --- threads --- */

enum { THREAD_RECORDS = 200000, FOLLOWERS = 2 };

struct follower {
    pthread_t thread;
    uint64_t seen, overruns, wrong;
};

/* A recorder's writer thread: takes what is there, then lets it go. */
static void *consume(void *context)
{
    struct tape_ring *ring = context;
    struct tape_ring_cursor cursor;
    struct tape_record record;
    uint64_t wrong = tape_ring_seek(ring, 0, &cursor) != 1;
    while (cursor.ordinal < THREAD_RECORDS) {
        int status = tape_ring_next(ring, &cursor, &record);
        if (status == 1)
            wrong += !is_right(&record, record.data);
        else if (status == 0)
            sched_yield();
        else
            break;
        if (cursor.ordinal % 64 == 0)
            tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
    }
    wrong += cursor.ordinal != THREAD_RECORDS;
    tape_ring_set_durable(ring, cursor.position, cursor.ordinal);
    return (void *)wrong;
}

/* Copies, asks, and only then believes. Where it was overrun it goes on from the tail. */
static void *follow(void *context)
{
    struct follower *follower = context;
    struct tape_ring *ring = tape_ring_attach(path, made_id, NULL);
    struct tape_ring_cursor cursor = {0}, before;
    struct tape_ring_state now;
    struct tape_record record;
    uint8_t body[BODY_MAX];
    for (;;) {
        before = cursor;
        int status = tape_ring_next(ring, &cursor, &record);
        if (status == 1) {
            uint32_t bytes = record.bytes < BODY_MAX ? record.bytes : BODY_MAX;
            copy(body, record.data, bytes);
            if (tape_ring_intact(ring, &before)) {
                follower->seen++;
                follower->wrong += !is_right(&record, body);
                continue;
            }
            status = TAPE_OVERRUN;
        }
        tape_ring_read_state(ring, &now);
        if (status == 0 && now.closed && cursor.ordinal == now.head_ordinal)
            break;
        if (status == 0)
            sched_yield();
        else if (status == TAPE_OVERRUN) {
            follower->overruns++;
            if (tape_ring_seek(ring, now.durable_ordinal, &cursor) != 1)
                cursor = (struct tape_ring_cursor){now.head_position, now.head_ordinal};
        } else {
            follower->wrong++;
            break;
        }
    }
    tape_ring_free(ring);
    return NULL;
}

static void threads_agree(void **state)
{
    (void)state;
    struct tape_ring *ring = new_ring(0);
    struct follower followers[FOLLOWERS] = {0};
    pthread_t consumer;
    void *wrong;
    assert_int_equal(pthread_create(&consumer, NULL, consume, ring), 0);
    for (int i = 0; i < FOLLOWERS; i++)
        assert_int_equal(pthread_create(&followers[i].thread, NULL, follow, &followers[i]), 0);
    for (uint64_t ordinal = 0; ordinal < THREAD_RECORDS;) {
        if (put(ring, ordinal))
            ordinal++;
        else
            sched_yield();
    }
    tape_ring_close(ring);
    pthread_join(consumer, &wrong);
    assert_null(wrong);
    for (int i = 0; i < FOLLOWERS; i++) {
        pthread_join(followers[i].thread, NULL);
        print_message("follower %d: %llu records, overrun %llu times\n", i,
                      (unsigned long long)followers[i].seen,
                      (unsigned long long)followers[i].overruns);
        assert_int_equal(followers[i].wrong, 0);
        assert_true(followers[i].seen + followers[i].overruns > 0);
    }
    tape_ring_free(ring);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stands_as_specified),
        TEST(refuses_sizes_and_takes_no_name_twice),
        TEST(leaves_nothing_where_there_is_no_room),
        TEST(refuses_what_is_no_ring_of_ours),
        TEST(every_flipped_bit_of_the_fixed_header_is_seen),
        TEST(hands_over_many_times_its_size),
        TEST(drops_nothing_when_full),
        TEST(holds_records_up_to_half),
        TEST(nothing_shows_before_it_is_published),
        TEST(seeks_from_the_durable_tail_on),
        TEST(the_durable_tail_moves_only_to_records),
        TEST(a_follower_learns_that_it_was_overrun),
        TEST(a_damaged_ring_gives_no_impossible_record),
        TEST(a_wrong_ordinal_or_length_ends_the_walk),
        TEST(a_length_beyond_half_the_ring_ends_the_walk),
        TEST(a_killed_recorder_leaves_every_published_record),
        TEST(threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
