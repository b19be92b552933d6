#include "replay/source_past.h"

#include <stdlib.h>
#include <string.h>

/* How far behind the start an archive is looked for its first message there: stamps interleave. */
#define PAST_SLACK_NS 1000000000ll

/* Invariants: paths [0, count) and stream are ours; due = 1: what came before at_ns is to be shown.
 */
struct tape_source_past {
    char *paths[TAPE_SOURCE_ARCHIVES_MAX];
    char *stream;
    int count, follows, due;
    int64_t from_ns, at_ns;
};

struct tape_source_past *tape_source_past_new(const char *const *paths, int count,
                                              const struct tape_source_options *options,
                                              struct tape_error *error)
{
    struct tape_source_past *past = calloc(1, sizeof *past);
    int failed = !past;
    if (past) {
        past->from_ns = options->from_ns;
        past->follows = options->follow;
        past->stream = options->stream ? strdup(options->stream) : NULL;
        failed = options->stream && !past->stream;
        for (; !failed && past->count < count; past->count++)
            failed = !(past->paths[past->count] = strdup(paths[past->count]));
    }
    if (failed) {
        tape_source_past_free(past);
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    tape_source_past_seek(past, options->from_ns);
    return past;
}

void tape_source_past_free(struct tape_source_past *past)
{
    if (!past)
        return;
    for (int i = 0; i < past->count; i++)
        free(past->paths[i]);
    free(past->stream);
    free(past);
}

void tape_source_past_seek(struct tape_source_past *past, int64_t ns)
{
    past->at_ns = ns < past->from_ns ? past->from_ns : ns;
    past->due = past->at_ns > 0; /* nothing was recorded before 1970 */
}

int tape_source_past_is_due(const struct tape_source_past *past)
{
    return past->due;
}

/* In each archive the past ends where a reader who starts at at_ns begins. */
static int show(const struct tape_source_past *past, struct tape_source_duplicates *duplicates,
                struct tape_source_merge *readers, const struct tape_source_merge *merge,
                struct tape_error *error)
{
    char begun[TAPE_SOURCE_ARCHIVES_MAX] = {0};
    struct tape_message *message;
    int got = 1;
    while (got >= 0 && !tape_source_merge_stopped(merge) &&
           (got = tape_source_merge_next(readers, 0, &message, error)) == 1) {
        if (message->recv_ns >= past->at_ns)
            begun[message->archive] = 1;
        if (!begun[message->archive])
            got = tape_source_duplicates_take(duplicates, message, error);
    }
    return got;
}

int tape_source_past_show(struct tape_source_past *past, struct tape_source_duplicates *duplicates,
                          const struct tape_source_merge *merge, struct tape_error *error)
{
    int64_t from_ns = past->at_ns - tape_source_duplicates_default.id_ns;
    struct tape_source_options options = {
        .from_ns = from_ns > 0 ? from_ns : 0,
        .stream = past->stream,
        .follow = past->follows,
    };
    if (__builtin_add_overflow(past->at_ns, PAST_SLACK_NS, &options.to_ns))
        options.to_ns = past->at_ns;
    struct tape_source_merge *readers =
        tape_source_merge_open((const char *const *)past->paths, past->count, &options, error);
    if (!readers)
        return TAPE_FAILED;
    past->due = 0;
    int status = show(past, duplicates, readers, merge, error);
    tape_source_merge_close(readers);
    tape_source_duplicates_recount(duplicates);
    return status < 0 ? tape_error_wrap(error, "what came before the start") : 0;
}
