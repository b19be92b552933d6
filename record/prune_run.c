#include "record/prune_run.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "format/event.h"
#include "format/record.h"
#include "record/clock.h"
#include "record/store.h"

enum { NOTE_BYTES = 1024, SECOND_BYTES = 24, LOOK_FIRST = 4 };

static void say(const struct tape_prune_run *run, const char *level, const char *words)
{
    if (run->hooks.say)
        run->hooks.say(run->hooks.context, level, words);
}

static int is_stopped(const struct tape_prune_run *run)
{
    return run->hooks.stop && run->hooks.stop(run->hooks.context);
}

/* ---- what is there ---- */

/* 1 when the segment holds a frame; -1 when it cannot be read. */
static int holds_frames(const struct tape_archive *archive, const struct tape_archive_entry *entry)
{
    struct tape_record record;
    struct tape_segment_info info;
    struct tape_segment *segment = tape_archive_open_segment(archive, entry, NULL);
    struct tape_block_reader *reader = segment ? tape_block_reader_new() : NULL;
    int found = reader ? 0 : -1;
    if (reader)
        tape_segment_read_info(segment, &info);
    for (uint32_t i = 0; reader && !found && i < info.blocks; i++) {
        if (tape_segment_read(segment, i, reader, NULL) < 0)
            continue;
        while (!found && tape_block_next(reader, &record) == 1)
            found = record.kind == TAPE_RECORD_FRAME_IN;
    }
    tape_block_reader_free(reader);
    tape_segment_close(segment);
    return found;
}

static int64_t newest_of(const struct tape_archive *archive, int from)
{
    for (int i = from; i >= 0; i--) {
        struct tape_segment_info info = {0};
        struct tape_segment *segment =
            tape_archive_open_segment(archive, tape_archive_entry(archive, i), NULL);
        if (segment)
            tape_segment_read_info(segment, &info);
        tape_segment_close(segment);
        if (info.blocks > 0)
            return info.max_recv_ns;
    }
    return INT64_MIN;
}

/* The entry of the newest segment that holds frames; where none does, of the newest that can be
 * read. Segments after it hold notes alone, or what has just begun. */
static int find_protected(const struct tape_archive *archive, int count)
{
    int newest = -1;
    for (int i = count - 1; i >= 0; i--) {
        int frames = holds_frames(archive, tape_archive_entry(archive, i));
        if (frames == 1)
            return i;
        if (frames == 0 && newest < 0)
            newest = i;
    }
    return newest;
}

static void add_messages(void *context, const struct tape_segment_stream_count *count)
{
    *(int64_t *)context += (int64_t)count->messages;
}

/* 1 when it may go, 0 when it is none of ours, or a status. */
static int examine(const struct tape_prune_run *run, const struct tape_archive_entry *entry,
                   struct tape_prune_candidate *candidate, struct tape_error *error)
{
    struct tape_error why = {0};
    struct tape_segment *segment = tape_archive_open_segment(run->archive, entry, &why);
    memset(candidate, 0, sizeof *candidate);
    candidate->entry = *entry;
    if (!segment && tape_error_exit_code(why.status) == 3)
        return 0;
    if (!segment) {
        *error = why;
        return why.status;
    }
    tape_segment_read_info(segment, &candidate->info);
    for (uint32_t i = 0; i < candidate->info.blocks && candidate->messages >= 0; i++)
        if (tape_segment_counts(segment, i, add_messages, &candidate->messages) < 0)
            candidate->messages = -1;
    tape_segment_close(segment);
    return 1;
}

static int measure(const struct tape_prune_run *run, int count, struct tape_prune_place *place,
                   struct tape_error *error)
{
    struct statvfs state;
    uint64_t bytes, disk_bytes;
    place->bytes = 0;
    for (int i = 0; i < count && run->limits.bytes > 0; i++) {
        tape_archive_measure_segment(run->archive, tape_archive_entry(run->archive, i), &bytes,
                                     &disk_bytes);
        place->bytes += bytes;
    }
    if (fstatvfs(tape_archive_directory_fd(run->archive), &state) < 0)
        return tape_error_errno(error, errno, "ask how much of the disk is free");
    place->free_bytes = (uint64_t)state.f_bavail * state.f_frsize;
    return 0;
}

/* Fills ${segments} and the look's candidates with the oldest that may go: how many, or a status.
 */
static int64_t examine_oldest(const struct tape_prune_run *run, int last, size_t limit,
                              struct tape_prune_look *look, struct tape_prune_segment *segments,
                              struct tape_error *error)
{
    size_t seen = 0;
    for (int i = 0; i < last && seen < limit; i++) {
        struct tape_prune_candidate *candidate = &look->candidates[seen];
        struct tape_prune_segment *segment = &segments[seen];
        int ours = examine(run, tape_archive_entry(run->archive, i), candidate, error);
        if (ours < 0)
            return ours;
        if (ours == 0)
            continue;
        if (!candidate->info.sealed)
            break;
        tape_archive_measure_segment(run->archive, &candidate->entry, &segment->bytes,
                                     &segment->disk_bytes);
        segment->records = candidate->info.records;
        segment->max_recv_ns = candidate->info.max_recv_ns;
        candidate->bytes = segment->bytes;
        seen++;
    }
    return (int64_t)seen;
}

int tape_prune_run_look(struct tape_prune_run *run, size_t limit, struct tape_prune_look *look,
                        struct tape_error *error)
{
    int count = tape_archive_scan(run->archive, error);
    if (count < 0)
        return count;
    int last = find_protected(run->archive, count);
    size_t room = last < 0 ? 0 : (size_t)last < limit ? (size_t)last : limit;
    look->place.now_ns = tape_clock_realtime();
    if (run->clock)
        look->place.now_ns =
            tape_prune_clock_now(run->clock, look->place.now_ns, tape_clock_monotonic());
    look->place.newest_ns = newest_of(run->archive, count - 1);
    look->candidates = calloc(room + 1, sizeof *look->candidates);
    struct tape_prune_segment *segments = calloc(room + 1, sizeof *segments);
    uint8_t *rules = calloc(room + 1, 1);
    int64_t seen = look->candidates && segments && rules
                       ? measure(run, count, &look->place, error)
                       : tape_error_set(error, TAPE_FAILED, "memory is short");
    if (seen == 0)
        seen = examine_oldest(run, last, room, look, segments, error);
    if (seen > 0)
        look->count = tape_prune_choose(&run->limits, &look->place, segments, (size_t)seen, rules);
    for (size_t i = 0; i < look->count; i++)
        look->candidates[i].rule = rules[i];
    run->place = look->place;
    free(segments);
    free(rules);
    return seen < 0 ? (int)seen : 0;
}

void tape_prune_look_clear(struct tape_prune_look *look)
{
    free(look->candidates);
    memset(look, 0, sizeof *look);
}

/* ---- words ---- */

static const char *second_of(int64_t ns, char text[SECOND_BYTES])
{
    struct tm utc;
    time_t seconds = (time_t)(ns / 1000000000 - (ns % 1000000000 < 0));
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(text, SECOND_BYTES, "%Y-%m-%d %H:%M:%S", &utc) == 0)
        snprintf(text, SECOND_BYTES, "?");
    return text;
}

void tape_prune_run_words(const struct tape_prune_run *run,
                          const struct tape_prune_candidate *candidate, char *words, size_t room)
{
    char from[SECOND_BYTES], to[SECOND_BYTES], limit[TAPE_PRUNE_WORDS_BYTES];
    const struct tape_segment_info *info = &candidate->info;
    tape_prune_limit_words(&run->limits, candidate->rule, limit);
    if (info->records == 0)
        snprintf(words, room, "segment %06u: no records, %" PRIu64 " bytes: %s",
                 candidate->entry.sequence, candidate->bytes, limit);
    else
        snprintf(words, room,
                 "segment %06u (%s to %s UTC): %" PRIu64 " records, %" PRIu64 " bytes: %s",
                 candidate->entry.sequence, second_of(info->min_recv_ns, from),
                 second_of(info->max_recv_ns, to), info->records, candidate->bytes, limit);
}

static size_t write_note(const struct tape_prune_run *run,
                         const struct tape_prune_candidate *candidate, char body[NOTE_BYTES])
{
    char limit[TAPE_PRUNE_WORDS_BYTES], text[300];
    struct tape_event_writer event;
    const struct tape_segment_info *info = &candidate->info;
    tape_prune_run_words(run, candidate, text, sizeof text);
    tape_event_begin(&event, body, NOTE_BYTES);
    tape_event_put_text(&event, "kind", "pruned");
    tape_event_put_text(&event, "cause",
                        tape_prune_limit_words(&run->limits, candidate->rule, limit));
    tape_event_put_text(&event, "rule", tape_prune_rule_word(candidate->rule));
    tape_event_put_number(&event, "segment", candidate->entry.sequence);
    tape_event_put_text(&event, "name", candidate->entry.name);
    if (info->records > 0) {
        tape_event_put_wide(&event, "from_ordinal", (int64_t)info->first_ordinal);
        tape_event_put_wide(&event, "to_ordinal", (int64_t)info->next_ordinal);
        tape_event_put_wide(&event, "from_ns", info->min_recv_ns);
        tape_event_put_wide(&event, "to_ns", info->max_recv_ns);
    }
    tape_event_put_wide(&event, "records", (int64_t)info->records);
    if (candidate->messages >= 0)
        tape_event_put_wide(&event, "frames", candidate->messages);
    tape_event_put_wide(&event, "bytes", (int64_t)candidate->bytes);
    tape_event_put_text(&event, "text", text);
    return tape_event_end(&event);
}

/* ---- deleting ---- */

static int64_t ask_number(struct tape_index *index, const char *sql,
                          const struct tape_prune_candidate *candidate, int64_t fallback)
{
    sqlite3_stmt *statement = NULL;
    int64_t number = fallback;
    if (sqlite3_prepare_v2(tape_index_handle(index), sql, -1, &statement, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, candidate->entry.sequence);
        if (sqlite3_bind_parameter_count(statement) > 1)
            sqlite3_bind_int64(statement, 2, (int64_t)candidate->info.next_ordinal);
        if (sqlite3_step(statement) == SQLITE_ROW)
            number = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return number;
}

/* 1 when a note says already that it goes: the run before was cut short behind it. Else its
 * messages are counted, where its footer does not. */
static int is_noted(struct tape_prune_run *run, struct tape_prune_candidate *candidate)
{
    if (candidate->entry.sequence <= run->noted)
        return 1;
    struct tape_index *index = run->hooks.take_index(run->hooks.context);
    if (index == NULL)
        return 0;
    int noted = ask_number(index, "SELECT 1 FROM pruned WHERE segment_id = ?1", candidate, 0) == 1;
    if (candidate->messages < 0)
        candidate->messages = ask_number(
            index, "SELECT messages FROM segment WHERE segment_id = ?1 AND next_ordinal = ?2",
            candidate, -1);
    run->hooks.give_index(run->hooks.context, index);
    return noted;
}

static int take_base(struct tape_prune_run *run, struct tape_error *error)
{
    struct tape_error why = {0};
    char words[TAPE_ERROR_TEXT_BYTES + 64];
    run->base.archive = run->archive;
    int status = tape_prune_base_take(&run->base, &why);
    if (status < 0) {
        *error = why;
    } else if (status == 1) {
        snprintf(words, sizeof words, "%s: what was pruned before is forgotten by the index",
                 why.text);
        say(run, "warn", words);
    }
    return status < 0 ? status : 0;
}

static int remove_files(struct tape_prune_run *run, const struct tape_prune_candidate *candidate,
                        struct tape_error *error)
{
    char words[300];
    if (run->files)
        tape_store_lock_files(run->files);
    int status = tape_archive_remove_segment(run->archive, &candidate->entry, error);
    if (run->files)
        tape_store_unlock_files(run->files);
    if (status < 0)
        return status;
    run->deleted_segments++;
    run->deleted_bytes += candidate->bytes;
    run->deleted_records += candidate->info.records;
    tape_prune_run_words(run, candidate, words, sizeof words);
    strncat(words, ": deleted", sizeof words - strlen(words) - 1);
    say(run, "info", words);
    return 0;
}

/* An index that cannot be pruned now is pruned with the next step, or when it is opened next. */
static void prune_index(struct tape_prune_run *run)
{
    struct tape_error error = {0};
    char words[TAPE_ERROR_TEXT_BYTES + 64];
    struct tape_index *index = run->hooks.take_index(run->hooks.context);
    int status = index ? tape_index_prune(index, run->base.index, run->archive, &error) : 0;
    if (index)
        run->hooks.give_index(run->hooks.context, index);
    if (status < 0 && !run->index_owed) {
        snprintf(words, sizeof words, "%s: it is pruned later", error.text);
        say(run, "warn", words);
    }
    run->index_owed = index == NULL || status < 0;
}

void tape_prune_run_settle(struct tape_prune_run *run)
{
    if (run->index_owed && tape_archive_scan(run->archive, NULL) >= 0)
        prune_index(run);
}

static int note_group(struct tape_prune_run *run, struct tape_prune_candidate *group, size_t count,
                      struct tape_error *error)
{
    char body[NOTE_BYTES];
    for (size_t i = 0; i < count; i++) {
        if (is_noted(run, &group[i]))
            continue;
        size_t bytes = write_note(run, &group[i], body);
        int status = run->hooks.note(run->hooks.context, body, bytes, i + 1 < count, error);
        if (status < 0)
            return status;
    }
    run->noted = group[count - 1].entry.sequence;
    return 0;
}

/*
 * Deletes candidates that follow each other. The order is what a crash finds: what the index will
 * not find in the segments any more is saved; the notes are durable; then the files go, oldest
 * first; then the saved base is the one that counts. On a full disk the base is saved when the
 * files have given their room back: a crash between costs what the index knew, never a record.
 * Takes ${ahead} over.
 */
static int delete_group(struct tape_prune_run *run, struct tape_prune_candidate *group,
                        size_t count, struct tape_index *ahead, struct tape_error *error)
{
    struct tape_error full = {0};
    int saved = tape_prune_base_save(&run->base, ahead, &full);
    int status = saved == TAPE_FULL ? 0 : saved;
    if (status < 0)
        *error = full;
    if (status == 0)
        status = note_group(run, group, count, error);
    for (size_t i = 0; status == 0 && i < count; i++)
        status = remove_files(run, &group[i], error);
    if (status < 0) {
        tape_index_close(ahead);
        return status;
    }
    status = tape_prune_base_move(&run->base, ahead, saved == 0, &full);
    if (status == TAPE_FULL)
        say(run, "warn", full.text);
    else if (status < 0)
        *error = full;
    if (tape_archive_scan(run->archive, error) < 0)
        return error->status;
    prune_index(run);
    return status == TAPE_FULL ? 0 : status;
}

/* The ordinal at which the archive begins once everything up to ${sequence} is gone. */
static int find_begin(const struct tape_prune_run *run, uint32_t sequence, uint64_t *ordinal,
                      struct tape_error *error)
{
    const struct tape_archive_entry *entry;
    for (int i = 0; (entry = tape_archive_entry(run->archive, i)) != NULL; i++) {
        struct tape_segment_info info = {0};
        if (entry->sequence <= sequence)
            continue;
        struct tape_segment *segment = tape_archive_open_segment(run->archive, entry, NULL);
        if (segment)
            tape_segment_read_info(segment, &info);
        tape_segment_close(segment);
        *ordinal = info.first_ordinal;
        if (info.blocks > 0)
            return 0;
    }
    return tape_error_set(error, TAPE_FAILED, "no segment with records follows segment %06u",
                          sequence);
}

/* What will be known when the candidate is gone; as tape_prune_base_ahead. */
static int look_ahead(struct tape_prune_run *run, const struct tape_prune_candidate *candidate,
                      struct tape_index **ahead, struct tape_error *error)
{
    uint64_t until = 0;
    int status = take_base(run, error);
    if (status == 0)
        status = find_begin(run, candidate->entry.sequence, &until, error);
    return status < 0 ? status : tape_prune_base_ahead(&run->base, until, ahead, error);
}

static void tell_cut(struct tape_prune_run *run, uint32_t sequence)
{
    char words[120];
    if (run->told_cut == sequence)
        return;
    run->told_cut = sequence;
    snprintf(words, sizeof words,
             "segment %06u stays: a message that begins in it ends in a later one", sequence);
    say(run, "info", words);
}

/* Deletes up to the first end over which no message goes. How many, or a status. */
static int delete_oldest(struct tape_prune_run *run, const struct tape_prune_look *look,
                         struct tape_error *error)
{
    for (size_t i = 0; i < look->count; i++) {
        if (is_stopped(run))
            return 0;
        struct tape_index *ahead;
        int whole = look_ahead(run, &look->candidates[i], &ahead, error);
        if (whole == 1) {
            int status = delete_group(run, look->candidates, i + 1, ahead, error);
            return status < 0 ? status : (int)i + 1;
        }
        if (whole < 0)
            return whole;
    }
    return 0;
}

int tape_prune_run_step(struct tape_prune_run *run, struct tape_error *error)
{
    size_t limit = LOOK_FIRST;
    int deleted, more;
    run->base.archive = run->archive;
    tape_prune_base_pay(&run->base);
    tape_prune_run_settle(run);
    do {
        struct tape_prune_look look = {0};
        deleted = tape_prune_run_look(run, limit, &look, error);
        if (deleted == 0)
            deleted = delete_oldest(run, &look, error);
        more = deleted == 0 && look.count == limit && !is_stopped(run);
        if (deleted == 0 && look.count > 0 && !more && !is_stopped(run))
            tell_cut(run, look.candidates[look.count - 1].entry.sequence);
        tape_prune_look_clear(&look);
        limit *= 2;
    } while (more);
    return deleted;
}

void tape_prune_run_clear(struct tape_prune_run *run)
{
    run->base.wants_reserve = 0;
    tape_prune_base_pay(&run->base);
    tape_prune_base_clear(&run->base);
}
