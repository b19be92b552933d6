#include "make_store.h"

#include <fcntl.h>
#include <sys/syscall.h>

/* This many deletions more, and the process is killed in the place of the next; below 0: never.
 * Stands in for libc's in all of the code. */
static int deletions_left = -1;

int unlinkat(int directory, const char *path, int flags)
{
    if (deletions_left == 0)
        _exit(9);
    deletions_left -= deletions_left > 0;
    return (int)syscall(SYS_unlinkat, directory, path, flags);
}

static const struct tape_store_options trying = {.trial_ns = 3600000000000ll};

static int end_of(struct tape_store *store)
{
    struct tape_store_state state;
    struct tape_error error = {0};
    assert_int_equal(tape_store_end(store, "end", &state, &error), 0);
    assert_int_equal(state.taken_back, access(archive_path, F_OK) < 0);
    return state.taken_back;
}

static void put_event(struct tape_store *store, int kind)
{
    tape_store_event(store, kind, tape_store_new_connection(store), tape_clock_realtime(), "{}", 2);
}

static void what_never_connected_is_taken_back(void **unused)
{
    (void)unused;
    struct tape_store *store = open_with(trying);
    put_event(store, TAPE_RECORD_CONNECTION_CLOSE);
    put_event(store, TAPE_RECORD_CONNECTION_CLOSE);
    assert_int_equal(end_of(store), 1);
    /* Nor is anything of it in the way of the next. */
    store = open_with(trying);
    put_frames(store, 0, 1, 0);
    assert_int_equal(end_of(store), 0);
    check_index();
}

static void what_has_more_stays(void **unused)
{
    static const int kinds[] = {TAPE_RECORD_HANDSHAKE_REQUEST, TAPE_RECORD_CONNECTION_OPEN,
                                TAPE_RECORD_NOTE, TAPE_RECORD_SUBSCRIPTION_ASKED};
    (void)unused;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct tape_store *store = open_with(trying);
        put_event(store, kinds[i]);
        assert_int_equal(end_of(store), 0);
        remove_scratch(NULL);
        assert_int_equal(mkdir(scratch, 0700), 0);
    }
}

static void what_was_there_before_stays(void **unused)
{
    (void)unused;
    assert_int_equal(mkdir(archive_path, 0700), 0);
    assert_int_equal(end_of(open_with(trying)), 0);
    assert_int_equal(end_of(open_with(trying)), 0);
    assert_int_equal(read_archive().kinds[TAPE_RECORD_SESSION_START], 2);
}

static void what_was_tried_for_longer_stays(void **unused)
{
    (void)unused;
    assert_int_equal(end_of(open_with((struct tape_store_options){.trial_ns = 1})), 0);
    remove_scratch(NULL);
    assert_int_equal(mkdir(scratch, 0700), 0);
    assert_int_equal(end_of(open_plain()), 0);
}

/* 1 when all was deleted, 0 when it was killed before. */
static int try_in_a_child(int deletions)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct tape_store *store = open_with(trying);
        deletions_left = deletions;
        tape_store_end(store, "end", NULL, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9));
    return WEXITSTATUS(status) == 0;
}

static void killed_at_each_deletion(void **unused)
{
    (void)unused;
    int deletions = 0;
    for (; !try_in_a_child(deletions); deletions++) {
        /* What is left can be recorded into. */
        struct tape_store *store = open_plain();
        put_frames(store, 0, 5, 0);
        close_well(store);
        struct found found = read_archive();
        assert_int_equal(found.frames, 5);
        assert_int_equal(found.repeated_or_missing + found.holes + found.damages, 0);
        check_index();
        remove_scratch(NULL);
        assert_int_equal(mkdir(scratch, 0700), 0);
    }
    assert_int_equal(access(archive_path, F_OK), -1);
    assert_true(deletions >= 8); /* index.db, a segment, its directories, LOCK */
}

static void a_strangers_file_stays(void **unused)
{
    (void)unused;
    char path[256];
    struct tape_store *store = open_with(trying);
    snprintf(path, sizeof path, "%s/notes.txt", archive_path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(end_of(store), 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(read_archive().kinds[TAPE_RECORD_SESSION_END], 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_scratch, remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_never_connected_is_taken_back),
        CASE(what_has_more_stays),
        CASE(what_was_there_before_stays),
        CASE(what_was_tried_for_longer_stays),
        CASE(killed_at_each_deletion),
        CASE(a_strangers_file_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
