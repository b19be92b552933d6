#include "record/resume.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "record/clock.h"

#define TELL_EACH_NS 5000000000ll

static int64_t ask_number(struct tape_index *index, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t number = 0;
    if (sqlite3_prepare_v2(tape_index_handle(index), sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

/* The first sequence that the index has never heard of. */
static uint32_t known_sequence(struct tape_index *index)
{
    return (uint32_t)ask_number(index, "SELECT coalesce(max(segment_id), 0) + 1 FROM segment");
}

/* The first ordinal that the index has never heard of: what it says of itself counts only as far as
 * its blocks bear it out. */
static uint64_t known_ordinal(struct tape_index *index)
{
    uint64_t said = tape_index_next_ordinal(index);
    uint64_t shown =
        (uint64_t)ask_number(index, "SELECT coalesce(max(block_id + records), 0) FROM block");
    return said < shown ? said : shown;
}

static void take_numbers(struct tape_resume *resume, struct tape_index *index)
{
    uint32_t session = tape_index_last_session(index) + 1;
    uint32_t connection = tape_index_last_connection(index) + 1;
    if (session > resume->next_session)
        resume->next_session = session;
    if (connection > resume->next_connection)
        resume->next_connection = connection;
}

struct teller {
    void (*say)(void *context, const char *words);
    void *context;
    int64_t due_ns;
};

/* A large index that is made anew takes its time: what it is doing is told every few seconds. */
static void tell_progress(void *context, uint64_t records)
{
    struct teller *teller = context;
    char words[100];
    if (teller->say == NULL || tape_clock_monotonic() < teller->due_ns)
        return;
    teller->due_ns = tape_clock_monotonic() + TELL_EACH_NS;
    snprintf(words, sizeof words, "index.db: being brought up to date, %" PRIu64 " records so far",
             records);
    teller->say(teller->context, words);
}

/* Folds in what the index lacks; the summariser then stands at the end of the archive. */
static int catch_up(struct tape_resume *resume, struct tape_archive *archive,
                    struct tape_index *index, struct teller *teller, struct tape_error *error)
{
    tape_summariser_free(resume->summariser);
    resume->summariser = tape_summariser_new(error);
    if (resume->summariser == NULL)
        return error->status;
    int64_t blocks =
        tape_index_catch_up(index, archive, resume->summariser, tell_progress, teller, error);
    return blocks < 0 ? (int)blocks : 0;
}

/* Without a usable index.db the numbers and the summariser's state come from one in memory. */
static int use_memory(struct tape_resume *resume, struct tape_archive *archive,
                      struct teller *teller, struct tape_error *error)
{
    tape_index_close(resume->index);
    resume->index = NULL;
    struct tape_index *memory = tape_index_open_memory(archive, error);
    if (memory == NULL)
        return error->status;
    int status = catch_up(resume, archive, memory, teller, error);
    if (status == 0)
        take_numbers(resume, memory);
    tape_index_close(memory);
    return status;
}

int tape_resume_run(struct tape_resume *resume, struct tape_archive *archive, int every_segment,
                    void (*say)(void *context, const char *words), void *context,
                    struct tape_error *error)
{
    char words[TAPE_ERROR_TEXT_BYTES + 64];
    struct tape_error trouble = {0};
    struct teller teller = {say, context, tape_clock_monotonic() + TELL_EACH_NS};
    struct tape_recover_options options = {
        .archive = archive, .every_segment = every_segment, .say = say, .context = context};
    resume->next_session = resume->next_connection = 1;
    resume->index = tape_index_open(archive, &resume->index_rebuilt, &trouble);
    if (resume->index) {
        options.known_ordinal = known_ordinal(resume->index);
        options.known_sequence = known_sequence(resume->index);
        take_numbers(resume, resume->index);
    }
    int status = tape_recover_run(&options, &resume->recovered, error);
    if (status < 0)
        return tape_error_wrap(error, "recovery"), status;
    if (resume->index && resume->index_rebuilt && say)
        say(context, "index.db: made anew from the segments");
    if (resume->index && catch_up(resume, archive, resume->index, &teller, &trouble) == 0) {
        take_numbers(resume, resume->index);
        return 0;
    }
    snprintf(words, sizeof words, "index.db: %s: going on without it", trouble.text);
    if (say)
        say(context, words);
    return use_memory(resume, archive, &teller, error);
}

void tape_resume_clear(struct tape_resume *resume)
{
    tape_index_close(resume->index);
    tape_summariser_free(resume->summariser);
    resume->index = NULL;
    resume->summariser = NULL;
}
