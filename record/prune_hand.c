#include "record/prune_hand.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format/record.h"
#include "record/clock.h"
#include "record/prune_run.h"
#include "record/resume.h"

enum { COMPRESSION_LEVEL = 1 };

/*
 * Invariants: segment is the one that takes the notes, NULL before the first; its blocks are synced
 * and, where there is an index, in it.
 */
struct hand {
    struct tape_archive *archive;
    struct tape_resume resume;
    struct tape_segment_writer *segment;
    struct tape_archive_entry entry;
    struct tape_block_builder *builder;
    struct tape_prune_run run;
    void (*say)(void *context, const char *words);
    void *context;
};

/* ---- notes ---- */

static int open_segment(struct hand *hand, struct tape_error *error)
{
    if (hand->segment)
        return 0;
    hand->entry =
        (struct tape_archive_entry){.sequence = hand->resume.recovered.next_sequence, .state = 'h'};
    hand->segment = tape_archive_create_segment(hand->archive, hand->entry.sequence,
                                                tape_clock_realtime(), hand->entry.name, error);
    if (hand->segment)
        return 0;
    if (error->status == TAPE_FULL)
        tape_error_wrap(error, "no room for the note of what is deleted (some 4 MiB have to be "
                               "free; ARCHIVE/index.db may be deleted, it is made again)");
    return error->status;
}

/* A failed transaction is no reason to stop: the next start folds in what is missing. */
static void index_block(struct hand *hand, const struct tape_block_header *header)
{
    struct tape_error error = {0};
    uint64_t offset =
        tape_segment_file_bytes(hand->segment) - TAPE_BLOCK_HEADER_BYTES - header->stored_bytes;
    struct tape_summary *summary = tape_summariser_take(hand->resume.summariser, header, offset);
    struct tape_index *index = hand->resume.index;
    if (index && summary && tape_index_begin(index, &error) == 0 &&
        tape_index_apply(index, summary, &error) == 0)
        tape_index_commit(index, &error);
    tape_summary_free(summary);
}

static int append_block(struct hand *hand, struct tape_block_header *header,
                        struct tape_error *error)
{
    uint8_t *stored;
    size_t counts_length;
    int status = tape_block_seal(hand->builder, TAPE_BLOCK_CODEC_INTERLEAVED, COMPRESSION_LEVEL,
                                 header, &stored, error);
    if (status < 0)
        return status;
    header->realtime_minus_monotonic_ns = tape_clock_offset();
    const struct tape_segment_stream_count *counts =
        tape_summariser_counts(hand->resume.summariser, &counts_length);
    status = tape_segment_append(hand->segment, header, stored, counts, counts_length, 0, error);
    if (status == 0 && fdatasync(tape_segment_fd(hand->segment)) < 0)
        status = tape_error_errno(error, errno, "segment %06u: fdatasync", hand->entry.sequence);
    return status;
}

static int note(void *context, const char *body, size_t bytes, int more, struct tape_error *error)
{
    struct hand *hand = context;
    struct tape_block_header header;
    struct tape_record record = {
        .ordinal = hand->resume.recovered.next_ordinal,
        .recv_ns = tape_clock_realtime(),
        .bytes = (uint32_t)bytes,
        .kind = TAPE_RECORD_NOTE,
        .data = (const uint8_t *)body,
    };
    (void)more;
    int status = open_segment(hand, error);
    if (status == 0)
        status = tape_summariser_add(hand->resume.summariser, &record, NULL, error);
    if (status == 0 && tape_block_append(hand->builder, &record, error) != 1)
        status = error->status;
    if (status == 0)
        status = append_block(hand, &header, error);
    if (status < 0)
        return status;
    hand->resume.recovered.next_ordinal++;
    index_block(hand, &header);
    return 0;
}

static int seal_segment(struct hand *hand, struct tape_error *error)
{
    struct tape_error trouble = {0};
    struct tape_segment_info info;
    struct tape_index *index = hand->resume.index;
    if (!hand->segment)
        return 0;
    int status = tape_segment_seal(hand->segment, error);
    hand->segment = NULL;
    struct tape_segment *segment = tape_archive_open_segment(hand->archive, &hand->entry, NULL);
    if (segment)
        tape_segment_read_info(segment, &info);
    tape_segment_close(segment);
    if (index && segment && tape_index_begin(index, &trouble) == 0 &&
        tape_index_set_segment(index, &hand->entry, &info, &trouble) == 0)
        tape_index_commit(index, &trouble);
    return status;
}

/* ---- the other hooks ---- */

static struct tape_index *take_index(void *context)
{
    struct hand *hand = context;
    return hand->resume.index;
}

static void give_index(void *context, struct tape_index *index)
{
    (void)context;
    (void)index;
}

static void say(void *context, const char *level, const char *words)
{
    struct hand *hand = context;
    (void)level;
    hand->say(hand->context, words);
}

/* ---- the whole ---- */

static int check_clock(struct tape_prune_run *run, struct tape_error *error)
{
    struct tape_prune_look look = {0};
    if (run->limits.age_ns == 0)
        return 0;
    int status = tape_prune_run_look(run, 1, &look, error);
    if (status == 0 && tape_prune_clock_is_behind(&look.place))
        status = tape_error_set(error, TAPE_FAILED,
                                "--keep-age: the newest record is later than the clock: one of the "
                                "two is wrong, and no age can be told");
    tape_prune_look_clear(&look);
    return status;
}

static int prune(struct hand *hand, struct tape_error *error)
{
    char words[200];
    int deleted = check_clock(&hand->run, error);
    if (deleted == 0) {
        do
            deleted = tape_prune_run_step(&hand->run, error);
        while (deleted > 0);
    }
    struct tape_error sealing = {0};
    int sealed = seal_segment(hand, &sealing);
    if (sealed < 0 && deleted == 0)
        *error = sealing;
    snprintf(words, sizeof words,
             "%" PRIu64 " segments deleted: %" PRIu64 " records, %" PRIu64 " bytes",
             hand->run.deleted_segments, hand->run.deleted_records, hand->run.deleted_bytes);
    hand->say(hand->context, words);
    return deleted < 0 ? deleted : sealed;
}

static int prune_archive(struct hand *hand, struct tape_error *error)
{
    int status = tape_resume_run(&hand->resume, hand->archive, 0, hand->say, hand->context, error);
    hand->builder = tape_block_builder_new();
    if (status == 0 && hand->builder == NULL)
        status = tape_error_set(error, TAPE_FAILED, "memory is short");
    if (status == 0)
        status = prune(hand, error);
    if (status == 0)
        status = tape_archive_set_owner(hand->archive, "", 0, error);
    if (hand->segment)
        tape_segment_abandon(hand->segment);
    tape_prune_run_clear(&hand->run);
    tape_block_builder_free(hand->builder);
    tape_resume_clear(&hand->resume);
    return status;
}

int tape_prune_hand_run(const char *path, const struct tape_prune_limits *limits,
                        void (*say_words)(void *context, const char *words), void *context,
                        struct tape_error *error)
{
    struct hand hand = {.say = say_words, .context = context};
    /* opening for reading first: a mistyped path must not become an archive */
    struct tape_archive *archive = tape_archive_open(path, error);
    if (archive == NULL)
        return error->status;
    tape_archive_close(archive);
    hand.archive = tape_archive_create(path, error);
    if (hand.archive == NULL)
        return tape_error_wrap(error, "prune");
    hand.run = (struct tape_prune_run){
        .archive = hand.archive,
        .limits = *limits,
        .hooks = {note, take_index, give_index, say, NULL, &hand},
    };
    int status = prune_archive(&hand, error);
    tape_archive_close(hand.archive);
    return status < 0 ? tape_error_wrap(error, "prune %.700s", path) : 0;
}

static int list(struct tape_prune_run *run, void (*say_words)(void *context, const char *words),
                void *context, struct tape_error *error)
{
    char words[300];
    uint64_t bytes = 0, records = 0;
    struct tape_prune_look look = {0};
    int status = check_clock(run, error);
    if (status == 0)
        status = tape_prune_run_look(run, SIZE_MAX, &look, error);
    for (size_t i = 0; i < look.count; i++) {
        tape_prune_run_words(run, &look.candidates[i], words, sizeof words);
        say_words(context, words);
        bytes += look.candidates[i].bytes;
        records += look.candidates[i].info.records;
    }
    if (status == 0) {
        snprintf(words, sizeof words,
                 "%zu segments would be deleted: %" PRIu64 " records, %" PRIu64 " bytes",
                 look.count, records, bytes);
        say_words(context, words);
    }
    tape_prune_look_clear(&look);
    return status;
}

int tape_prune_hand_try(const char *path, const struct tape_prune_limits *limits,
                        void (*say_words)(void *context, const char *words), void *context,
                        struct tape_error *error)
{
    struct tape_prune_run run = {.archive = tape_archive_open(path, error), .limits = *limits};
    if (run.archive == NULL)
        return error->status;
    int status = list(&run, say_words, context, error);
    tape_archive_close(run.archive);
    return status < 0 ? tape_error_wrap(error, "prune %.700s", path) : 0;
}
