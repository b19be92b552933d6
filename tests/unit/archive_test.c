#include "format/archive.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/make_records.h"

static char above_path[256], path[300];
static int above;
static struct tape_error error;

static int open_directory(void **state)
{
    (void)state;
    above = made_directory(above_path);
    snprintf(path, sizeof path, "%s/tape", above_path);
    return above < 0;
}

static int remove_directory(void **state)
{
    (void)state;
    close(above);
    remove_tree(above_path);
    return 0;
}

/* The error's text, with "DIR" for the archive's path. */
static const char *told(void)
{
    static char text[sizeof error.text];
    const char *found = strstr(error.text, path);
    if (found == NULL)
        snprintf(text, sizeof text, "%s", error.text);
    else
        snprintf(text, sizeof text, "%.*sDIR%s", (int)(found - error.text), error.text,
                 found + strlen(path));
    return text;
}

static void shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static struct tape_archive *create(void)
{
    struct tape_archive *archive = tape_archive_create(path, &error);
    if (archive == NULL)
        fail_msg("%s", error.text);
    return archive;
}

/* A sealed segment of one block of 3 records. */
static void add_segment(struct tape_archive *archive, uint32_t sequence, int64_t created_ns)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_segment_writer *writer =
        tape_archive_create_segment(archive, sequence, created_ns, name, &error);
    if (writer == NULL)
        fail_msg("%s", error.text);
    append_block(writer, 3 * sequence, 3);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
}

/* --- directory and identity --- */

static void makes_an_archive_and_finds_it_again(void **state)
{
    (void)state;
    uint8_t id[16];
    struct stat stat;
    struct tape_archive *archive = create();
    memcpy(id, tape_archive_id(archive), 16);
    assert_string_equal(tape_archive_path(archive), path);
    assert_int_equal(fstat(tape_archive_directory_fd(archive), &stat), 0);
    assert_int_equal(stat.st_mode & 0777 & ~0750, 0);
    assert_int_equal(tape_archive_scan(archive, &error), 0);
    tape_archive_close(archive);
    archive = tape_archive_open(path, &error);
    assert_non_null(archive);
    assert_memory_equal(tape_archive_id(archive), id, 16);
    tape_archive_close(archive);
    archive = create();
    assert_memory_equal(tape_archive_id(archive), id, 16);
    tape_archive_close(archive);
}

static void two_archives_have_two_ids(void **state)
{
    (void)state;
    uint8_t id[16];
    struct tape_archive *archive = create();
    memcpy(id, tape_archive_id(archive), 16);
    tape_archive_close(archive);
    snprintf(path, sizeof path, "%s/other", above_path);
    archive = create();
    assert_memory_not_equal(tape_archive_id(archive), id, 16);
    tape_archive_close(archive);
}

static void refuses_directories_that_are_not_ours(void **state)
{
    (void)state;
    assert_null(tape_archive_open(path, &error));
    assert_int_equal(error.status, TAPE_FAILED);
    assert_string_equal(told(), "open DIR: open the directory: No such file or directory");
    shell("mkdir %s", path);
    assert_null(tape_archive_open(path, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(told(), "open DIR: it is not an archive");
    shell("touch %s/letter.txt", path);
    assert_null(tape_archive_create(path, &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(told(), "record into DIR: the directory is neither empty nor an archive");
    shell("ls -A %s | tr '\\n' ' ' | grep -qx 'letter.txt '", path); /* nothing was made */
    shell("rm -r %s; touch %s", path, path);
    assert_null(tape_archive_create(path, &error));
    assert_string_equal(told(), "record into DIR: open the directory: Not a directory");
    shell("rm %s", path);
    snprintf(path, sizeof path, "%s/absent/tape", above_path);
    assert_null(tape_archive_create(path, &error));
    assert_string_equal(told(), "record into DIR: make the directory: No such file or directory");
}

static void an_empty_directory_and_a_strangers_file_beside_lock_are_fine(void **state)
{
    (void)state;
    shell("mkdir %s", path);
    tape_archive_close(create());
    shell("touch %s/README.txt", path);
    tape_archive_close(create());
}

/* --- LOCK --- */

static void lock_stands_as_specified(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    assert_int_equal(
        tape_archive_set_owner(archive, "/dev/shm/ring-1", 1795600000000000000ll, &error), 0);
    struct made_file file = read_file_at(tape_archive_directory_fd(archive), "LOCK");
    char want[300], hex[33];
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", tape_archive_id(archive)[i]);
    snprintf(want, sizeof want,
             "tapedeck-archive 1 %s\npid=%ld\nstarted_ns=1795600000000000000\n"
             "ring=/dev/shm/ring-1\nend ",
             hex, (long)getpid());
    assert_memory_equal(file.data, want, strlen(want));
    assert_int_equal(file.bytes, strlen(want) + 9);
    free(file.data);
    struct tape_archive_owner owner;
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    assert_int_equal(owner.held, 1);
    assert_int_equal(owner.pid, getpid());
    assert_true(owner.started_ns == 1795600000000000000ll);
    assert_string_equal(owner.ring_path, "/dev/shm/ring-1");
    assert_int_equal(tape_archive_set_owner(archive, "a\nb", 1, &error), TAPE_USAGE);
    assert_int_equal(tape_archive_set_owner(archive, "", 1, &error), 0); /* shorter than before */
    assert_int_equal(tape_archive_read_owner(archive, &owner, &error), 0);
    assert_string_equal(owner.ring_path, "");
    file = read_file_at(tape_archive_directory_fd(archive), "LOCK");
    file.data[file.bytes] = 0;
    assert_null(strstr((char *)file.data, "dev")); /* nothing of the longer text before it */
    free(file.data);
    tape_archive_close(archive);
}

static void a_reader_sees_who_records_and_that_nobody_does(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    tape_archive_set_owner(archive, "/dev/shm/x", 7, &error);
    struct tape_archive *reader = tape_archive_open(path, &error);
    struct tape_archive_owner owner;
    assert_int_equal(tape_archive_read_owner(reader, &owner, &error), 0);
    assert_int_equal(owner.held, 1);
    tape_archive_close(archive);
    assert_int_equal(tape_archive_read_owner(reader, &owner, &error), 0);
    assert_int_equal(owner.held, 0);
    assert_int_equal(owner.pid, getpid());
    assert_string_equal(owner.ring_path, "/dev/shm/x"); /* to be recovered */
    /* A new recorder that has no ring yet still names it. */
    archive = create();
    assert_int_equal(tape_archive_read_owner(reader, &owner, &error), 0);
    assert_string_equal(owner.ring_path, "/dev/shm/x");
    assert_int_equal(tape_archive_set_owner(reader, "", 1, &error), TAPE_USAGE);
    tape_archive_close(archive);
    tape_archive_close(reader);
}

static void a_second_recorder_is_told_who_holds_it(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct tape_archive *archive = tape_archive_create(path, NULL);
        char ok = archive != NULL &&
                  tape_archive_set_owner(archive, "", 1795341600000000000ll, NULL) == 0;
        if (write(ready[1], &ok, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    char ok = 0;
    assert_int_equal(read(ready[0], &ok, 1), 1);
    assert_int_equal(ok, 1);
    char want[200];
    snprintf(want, sizeof want,
             "record into DIR: locked by process %ld (since 2026-11-22T10:00:00Z)", (long)child);
    assert_null(tape_archive_create(path, &error));
    assert_int_equal(error.status, TAPE_LOCKED);
    assert_string_equal(told(), want);
    struct tape_archive *reader = tape_archive_open(path, &error); /* reading is not recording */
    assert_non_null(reader);
    tape_archive_close(reader);
    shell("printf garbage > %s/LOCK", path);
    assert_null(tape_archive_create(path, &error));
    assert_string_equal(told(), "record into DIR: locked by another process");
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    tape_archive_close(create()); /* no stale lock */
    close(ready[0]);
    close(ready[1]);
}

static void each_kind_of_lock_keeps_others_out(void **state)
{
    (void)state;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char lock[320];
    tape_archive_close(create());
    snprintf(lock, sizeof lock, "%s/LOCK", path);
    int fd = open(lock, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_null(tape_archive_create(path, &error));
    assert_int_equal(error.status, TAPE_LOCKED);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), 0);
    assert_null(tape_archive_create(path, &error));
    assert_int_equal(error.status, TAPE_LOCKED);
    close(fd);
    tape_archive_close(create());
}

static void a_damaged_lock_costs_nothing(void **state)
{
    (void)state;
    uint8_t id[16];
    struct tape_archive *archive = create();
    memcpy(id, tape_archive_id(archive), 16);
    add_segment(archive, 1, made_ns);
    tape_archive_set_owner(archive, "/dev/shm/x", 7, &error);
    struct made_file file = read_file_at(tape_archive_directory_fd(archive), "LOCK");
    int directory = dup(tape_archive_directory_fd(archive));
    tape_archive_close(archive);
    for (size_t at = 0; at <= file.bytes; at++) {
        if (at < file.bytes)
            file.data[at] ^= 0x04;
        write_file_at(directory, "LOCK", file.data, at < file.bytes ? file.bytes : 0);
        archive = tape_archive_open(path, &error);
        assert_non_null(archive);
        assert_memory_equal(tape_archive_id(archive), id, 16);
        tape_archive_close(archive);
        if (at % 20 == 0) {
            archive = create();
            assert_memory_equal(tape_archive_id(archive), id, 16);
            tape_archive_close(archive);
        }
        if (at < file.bytes)
            file.data[at] ^= 0x04;
    }
    for (size_t cut = 0; cut < file.bytes; cut++) {
        write_file_at(directory, "LOCK", file.data, cut);
        archive = tape_archive_open(path, &error);
        assert_non_null(archive);
        assert_memory_equal(tape_archive_id(archive), id, 16);
        tape_archive_close(archive);
    }
    shell("rm %s/LOCK", path);
    archive = create();
    assert_memory_equal(tape_archive_id(archive), id, 16);
    tape_archive_close(archive);
    /* With the segment unreadable, too, no new identity is made up over it. */
    shell("rm %s/LOCK; for f in %s/segments/*/*/*/*.hot; do printf %%64d 1 > $f; done", path, path);
    assert_null(tape_archive_create(path, &error));
    assert_int_equal(error.status, TAPE_CORRUPT);
    assert_string_equal(told(),
                        "record into DIR: LOCK is damaged and no segment tells the archive's id");
    free(file.data);
    close(directory);
}

static void a_crash_while_starting_leaves_nothing_in_the_way(void **state)
{
    (void)state;
    shell("mkdir %s; : > %s/LOCK", path, path);
    tape_archive_close(create());
    shell("rm -r %s; mkdir -p %s/segments/2026/11/25; : > "
          "%s/segments/2026/11/25/20261125T094640Z-000001.hot; : > %s/LOCK",
          path, path, path, path);
    struct tape_archive *archive = create();
    assert_int_equal(tape_archive_scan(archive, &error), 1);
    assert_null(tape_archive_open_segment(archive, tape_archive_entry(archive, 0), &error));
    assert_int_equal(error.status, TAPE_TORN);
    assert_string_equal(error.text, "segment 000001: 0 bytes are less than a header");
    tape_archive_close(archive);
}

/* --- segments --- */

static void lists_segments_by_sequence(void **state)
{
    (void)state;
    static const int64_t day = 86400ll * 1000000000ll;
    struct tape_archive *archive = create();
    add_segment(archive, 3, made_ns - 100 * day); /* the clock was set back */
    add_segment(archive, 1, made_ns);
    add_segment(archive, 2, made_ns + day);
    add_segment(archive, 1234567, made_ns);
    assert_int_equal(tape_archive_scan(archive, &error), 4);
    static const char *const names[] = {
        "2026/11/25/20261125T094640Z-000001.hot", "2026/11/26/20261126T094640Z-000002.hot",
        "2026/08/17/20260817T094640Z-000003.hot", "2026/11/25/20261125T094640Z-1234567.hot"};
    for (int i = 0; i < 4; i++) {
        const struct tape_archive_entry *entry = tape_archive_entry(archive, i);
        assert_string_equal(entry->name, names[i]);
        assert_int_equal(entry->sequence, i == 3 ? 1234567 : i + 1);
        assert_int_equal(entry->state, 'h');
        struct tape_segment *segment = tape_archive_open_segment(archive, entry, &error);
        assert_non_null(segment);
        tape_segment_close(segment);
    }
    assert_null(tape_archive_entry(archive, 4));
    assert_null(tape_archive_entry(archive, -1));
    assert_int_equal(tape_archive_foreign_files(archive), 0);
    tape_archive_close(archive);
}

static void the_packed_one_of_two_counts(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    add_segment(archive, 1, made_ns);
    shell("cd %s/segments/2026/11/25; cp 20261125T094640Z-000001.hot 20261125T094640Z-000001.tape; "
          "cp 20261125T094640Z-000001.hot 20261125T094640Z-000001.torn",
          path);
    assert_int_equal(tape_archive_scan(archive, &error), 1);
    assert_int_equal(tape_archive_entry(archive, 0)->state, 't');
    assert_int_equal(tape_archive_foreign_files(archive), 0);
    shell("cd %s/segments/2026/11/25; cp 20261125T094640Z-000001.hot 20261125T094641Z-000001.tape",
          path);
    assert_int_equal(tape_archive_scan(archive, &error), 1);
    assert_string_equal(tape_archive_entry(archive, 0)->name,
                        "2026/11/25/20261125T094640Z-000001.tape");
    assert_int_equal(tape_archive_foreign_files(archive), 1);
    tape_archive_close(archive);
}

static void a_file_under_another_number_is_foreign(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    add_segment(archive, 1, made_ns);
    shell("cd %s/segments/2026/11/25; mv *-000001.hot 20261125T094640Z-000009.hot", path);
    assert_int_equal(tape_archive_scan(archive, &error), 1);
    assert_null(tape_archive_open_segment(archive, tape_archive_entry(archive, 0), &error));
    assert_int_equal(error.status, TAPE_FOREIGN);
    assert_string_equal(error.text, "segment 000009: its header says 000001");
    tape_archive_close(archive);
}

/* Names and things that must neither be listed nor opened. */
static const char *const strangers[] = {
    "mkdir -p 2026/11/25/20261125T094640Z-000002.hot",                          /* a directory */
    "ln -s /etc/passwd 2026/11/25/20261125T094640Z-000003.hot",                 /* a link out */
    "ln -s 20261125T094640Z-000001.hot 2026/11/25/20261125T094640Z-000004.hot", /* a link within */
    "mkfifo 2026/11/25/20261125T094640Z-000005.hot",
    "touch 2026/11/25/20261124T094640Z-000006.hot", /* of another day */
    "touch 2026/11/25/20261125T094640Z-7.hot",
    "touch 2026/11/25/20261125T094640Z-0000008.hot",
    "touch 2026/11/25/20261125T094640Z-000000.hot",
    "touch 2026/11/25/20261125T094640Z-99999999999.hot",
    "touch 2026/11/25/20261125T094640Z-4294967296.hot",
    "touch 2026/11/25/20261125T094640Z-000009.hot.swp",
    "touch 2026/11/25/20261125T094640Z-000009.HOT",
    "touch 2026/11/25/20261125T094640-000009.hot",
    "touch 2026/11/25/.hidden",
    "touch 2026/11/25/$(printf 'esc\\033[31m')",
    "touch 20261125T094640Z-000010.hot", /* at the top */
    "touch 2026/11/20261125T094640Z-000010.hot",
    "mkdir 2026/11/25a",
    "mkdir 2026/1",
    "mkdir 20260",
    "ln -s 2026 2027",
    "ln -s 11 2026/12",
    "ln -s 25 2026/11/26",
    "ln -s / 2026/11/27",
};

static void keeps_away_from_what_is_not_ours(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    add_segment(archive, 1, made_ns);
    int count = (int)(sizeof strangers / sizeof strangers[0]);
    for (int i = 0; i < count; i++) {
        shell("cd %s/segments && %s", path, strangers[i]);
        int found = tape_archive_scan(archive, &error);
        if (found != 1 || tape_archive_foreign_files(archive) != i + 1)
            fail_msg("%s: %d segments, %d foreign", strangers[i], found,
                     tape_archive_foreign_files(archive));
    }
    tape_archive_close(archive);
}

static void does_not_follow_links_below_the_directory(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    add_segment(archive, 1, made_ns);
    tape_archive_scan(archive, &error);
    struct tape_archive_entry entry = *tape_archive_entry(archive, 0);
    char name[TAPE_ARCHIVE_NAME_BYTES];
    shell("mv %s/segments %s/elsewhere; ln -s %s/elsewhere %s/segments", path, above_path,
          above_path, path);
    assert_int_equal(tape_archive_scan(archive, &error), 0);
    assert_int_equal(tape_archive_foreign_files(archive), 1);
    assert_null(tape_archive_open_segment(archive, &entry, &error));
    assert_null(tape_archive_create_segment(archive, 2, made_ns, name, &error));
    shell("test $(ls %s/elsewhere/2026/11/25 | wc -l) = 1", above_path);
    snprintf(entry.name, sizeof entry.name, "../../../../etc/passwd");
    assert_null(tape_archive_open_segment(archive, &entry, &error));
    assert_string_equal(error.text, "segment 000001: open its directory: Invalid argument");
    tape_archive_close(archive);
    shell("rm %s/LOCK; ln -s %s/victim %s/LOCK", path, above_path, path);
    assert_null(tape_archive_create(path, &error));
    shell("test ! -e %s/victim", above_path);
}

static void reading_needs_and_changes_nothing(void **state)
{
    (void)state;
    struct tape_archive *archive = create();
    char name[TAPE_ARCHIVE_NAME_BYTES];
    add_segment(archive, 1, made_ns);
    tape_archive_close(archive);
    shell("chmod -R a-w %s; ls -lR --time-style=full-iso %s > %s/before", path, path, above_path);
    archive = tape_archive_open(path, &error);
    assert_non_null(archive);
    assert_int_equal(tape_archive_scan(archive, &error), 1);
    struct tape_segment *segment =
        tape_archive_open_segment(archive, tape_archive_entry(archive, 0), &error);
    assert_non_null(segment);
    tape_segment_close(segment);
    assert_null(tape_archive_create_segment(archive, 2, made_ns, name, &error));
    assert_string_equal(error.text, "segment 000002: the archive is open for reading");
    tape_archive_close(archive);
    shell("ls -lR --time-style=full-iso %s | cmp - %s/before; chmod -R u+w %s", path, above_path,
          path);
}

static void resumes_a_dead_recorders_segment(void **state)
{
    (void)state;
    char name[TAPE_ARCHIVE_NAME_BYTES];
    struct tape_archive *archive = create();
    struct tape_segment_writer *writer =
        tape_archive_create_segment(archive, 1, made_ns, name, &error);
    append_block(writer, 0, 3);
    tape_segment_abandon(writer);
    shell("printf TBK1torn >> %s/segments/%s", path, name);
    tape_archive_scan(archive, &error);
    const struct tape_archive_entry *entry = tape_archive_entry(archive, 0);
    uint64_t torn = 0;
    writer = tape_archive_resume_segment(archive, entry, NULL, NULL, &torn, &error);
    assert_non_null(writer);
    assert_int_equal(torn, 8);
    append_block(writer, 3, 3);
    assert_int_equal(tape_segment_seal(writer, &error), 0);
    assert_null(tape_archive_resume_segment(archive, entry, NULL, NULL, &torn, &error));
    assert_string_equal(error.text, "segment 000001: it is sealed");
    shell("test \"$(cat %s/segments/2026/11/25/*.torn)\" = TBK1torn", path);
    tape_archive_close(archive);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(makes_an_archive_and_finds_it_again),
        TEST(two_archives_have_two_ids),
        TEST(refuses_directories_that_are_not_ours),
        TEST(an_empty_directory_and_a_strangers_file_beside_lock_are_fine),
        TEST(lock_stands_as_specified),
        TEST(a_reader_sees_who_records_and_that_nobody_does),
        TEST(a_second_recorder_is_told_who_holds_it),
        TEST(each_kind_of_lock_keeps_others_out),
        TEST(a_damaged_lock_costs_nothing),
        TEST(a_crash_while_starting_leaves_nothing_in_the_way),
        TEST(lists_segments_by_sequence),
        TEST(the_packed_one_of_two_counts),
        TEST(a_file_under_another_number_is_foreign),
        TEST(keeps_away_from_what_is_not_ours),
        TEST(does_not_follow_links_below_the_directory),
        TEST(reading_needs_and_changes_nothing),
        TEST(resumes_a_dead_recorders_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
