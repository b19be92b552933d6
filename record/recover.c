#include "record/recover.h"

#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/event.h"
#include "format/ring.h"
#include "format/summary.h"
#include "record/clock.h"
#include "record/pack.h"

enum {
    COMPRESSION_LEVEL = 1,
    SEALED_TO_SEE =
        8, /* so many sealed ones in a row, newest first: older ones are taken as sealed */
};

/*
 * Invariants:
 * 1. Every record before next_ordinal is in a segment, or lost for good.
 * 2. output, where it is not NULL, is the newest segment; builder holds what follows its blocks;
 *    summariser has seen the records of both since output was opened.
 */
struct recovery {
    const struct tape_recover_options *options;
    struct tape_recover_report *report;
    struct tape_archive *archive;
    struct tape_segment_writer *output;
    struct tape_summariser *summariser;
    struct tape_block_builder *builder;
    int summary_open;
    int uncounted; /* the summariser failed: footers say "not counted" from here on */
    int orphans;   /* the open summary misses what began before the counting did */
    int output_is_new;
    uint32_t output_sequence;
    uint64_t next_ordinal;
    uint32_t next_sequence;
};

__attribute__((format(printf, 2, 3))) static void say(const struct recovery *recovery,
                                                      const char *format, ...)
{
    char words[TAPE_ERROR_TEXT_BYTES + 200];
    va_list arguments;
    if (recovery->options->say == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    recovery->options->say(recovery->options->context, words);
}

/* ---- counting ---- */

static int begin_counting(struct recovery *recovery, struct tape_error *error)
{
    tape_summariser_free(recovery->summariser);
    recovery->summariser = tape_summariser_new(error);
    recovery->summary_open = 0;
    recovery->uncounted = 0;
    return recovery->summariser ? 0 : TAPE_FAILED;
}

/* The open summary's counts are borrowed until here. */
static void drop_summary(struct recovery *recovery)
{
    struct tape_block_header none = {0};
    if (recovery->summary_open)
        tape_summary_free(tape_summariser_take(recovery->summariser, &none, 0));
    recovery->summary_open = 0;
    recovery->orphans = 0;
}

/* Counting begins with a segment, a fragmented message may have begun before it: the footer
 * must not say that there is none where it ends. */
static void count_record(struct recovery *recovery, const struct tape_record *record,
                         struct tape_error *error)
{
    struct tape_message message;
    if (recovery->uncounted)
        return;
    int status = tape_summariser_add(recovery->summariser, record, &message, error);
    if (status < 0)
        recovery->uncounted = 1;
    else if (status == 1 && tape_feed_is_orphan(record, &message))
        recovery->orphans = 1;
}

static const struct tape_segment_stream_count *counts_of(const struct recovery *recovery,
                                                         size_t *length)
{
    *length = 0;
    return recovery->uncounted || recovery->orphans
               ? NULL
               : tape_summariser_counts(recovery->summariser, length);
}

static int count_block(void *context, struct tape_block_reader *reader,
                       const struct tape_segment_stream_count **counts, size_t *counts_length,
                       struct tape_error *error)
{
    struct recovery *recovery = context;
    struct tape_record record;
    drop_summary(recovery);
    recovery->summary_open = 1;
    while (!recovery->uncounted && tape_block_next(reader, &record) == 1)
        count_record(recovery, &record, error);
    *counts = counts_of(recovery, counts_length);
    return 0;
}

/* ---- segments ---- */

static const char *path_of(const struct tape_archive_entry *entry, char path[], size_t room)
{
    snprintf(path, room, "segments/%s", entry->name);
    return path;
}

/* What an earlier recovery kept under that name stays: the file's few bytes go behind it. 1 when
 * they are safe. */
static int append_to_torn(int directory, const char *path, const char *torn)
{
    uint8_t bytes[TAPE_SEGMENT_HEADER_BYTES];
    int from = openat(directory, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    int to = openat(directory, torn, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    ssize_t got = from < 0 ? -1 : pread(from, bytes, sizeof bytes, 0);
    int safe = to >= 0 && got >= 0 && got < (ssize_t)sizeof bytes &&
               write(to, bytes, (size_t)got) == got && fsync(to) == 0;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return safe;
}

/* A file that ends inside its header holds nothing. */
static void move_aside(struct recovery *recovery, const struct tape_archive_entry *entry)
{
    char path[80], torn[96];
    struct stat state;
    int directory = tape_archive_directory_fd(recovery->archive);
    path_of(entry, path, sizeof path);
    snprintf(torn, sizeof torn, "%.*s.torn", (int)(strrchr(path, '.') - path), path);
    if (fstatat(directory, path, &state, AT_SYMLINK_NOFOLLOW) == 0)
        recovery->report->torn_bytes += (uint64_t)state.st_size;
    int moved = renameat2(directory, path, directory, torn, RENAME_NOREPLACE) == 0;
    if (!moved && append_to_torn(directory, path, torn))
        moved = unlinkat(directory, path, 0) == 0;
    if (!moved && faccessat(directory, torn, F_OK, AT_SYMLINK_NOFOLLOW) < 0) /* no such renaming */
        moved = renameat(directory, path, directory, torn) == 0;
    if (moved)
        say(recovery, "segment %06u: shorter than its header: kept as %s", entry->sequence, torn);
}

static void take_end(struct recovery *recovery, uint64_t next_ordinal)
{
    if (next_ordinal > recovery->next_ordinal)
        recovery->next_ordinal = next_ordinal;
}

/* What the segment holds is entered; 1 when it must be sealed, 0 when it is, or a status. */
static int look_at(struct recovery *recovery, const struct tape_archive_entry *entry,
                   struct tape_segment_info *info)
{
    struct tape_error error = {0};
    struct tape_segment *segment = tape_archive_open_segment(recovery->archive, entry, &error);
    if (segment == NULL) {
        if (error.status == TAPE_TORN) {
            move_aside(recovery, entry);
        } else {
            recovery->report->unreadable++;
            say(recovery, "%s: left as it is", error.text);
        }
        return error.status;
    }
    tape_segment_read_info(segment, info);
    tape_segment_close(segment);
    if (info->records > 0 && info->sealed)
        take_end(recovery, info->next_ordinal);
    return !info->sealed;
}

/* 1 when what follows the last good block begins as a footer does: nothing is lost with it. */
static int tail_is_footer(const struct recovery *recovery, const struct tape_archive_entry *entry,
                          uint64_t offset)
{
    char path[80];
    uint8_t bytes[TAPE_BLOCK_HEADER_BYTES];
    struct tape_block_header header;
    int fd = openat(tape_archive_directory_fd(recovery->archive), path_of(entry, path, sizeof path),
                    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, bytes, sizeof bytes, (off_t)offset);
    if (fd >= 0)
        close(fd);
    return got == sizeof bytes && tape_block_header_get(bytes, &header, NULL) == 0 &&
           header.codec == TAPE_BLOCK_CODEC_FOOTER;
}

/* Opens a segment without footer for appending; its tail goes to NAME.torn. */
static struct tape_segment_writer *reopen(struct recovery *recovery,
                                          const struct tape_archive_entry *entry,
                                          const struct tape_segment_info *info,
                                          struct tape_error *error)
{
    uint64_t torn = 0;
    int footer = tail_is_footer(recovery, entry, info->end_offset);
    if (begin_counting(recovery, error) < 0)
        return NULL;
    struct tape_segment_writer *writer =
        tape_archive_resume_segment(recovery->archive, entry, count_block, recovery, &torn, error);
    drop_summary(recovery);
    if (writer == NULL)
        return NULL;
    recovery->report->torn_bytes += torn;
    if (torn > 0 && !footer)
        recovery->report->torn_records = 1;
    if (tape_segment_blocks(writer) > 0)
        take_end(recovery, tape_segment_next_ordinal(writer));
    if (torn > 0)
        say(recovery, "segment %06u: %" PRIu64 " torn bytes cut off, kept in segments/%.*s.torn",
            entry->sequence, torn, (int)(strrchr(entry->name, '.') - entry->name), entry->name);
    return writer;
}

static int seal(struct recovery *recovery, struct tape_segment_writer *writer, uint32_t sequence,
                struct tape_error *error)
{
    uint32_t blocks = tape_segment_blocks(writer);
    int status = tape_segment_seal(writer, error);
    if (status < 0)
        return tape_error_wrap(error, "segment %06u", sequence), status;
    if (recovery->output_is_new)
        return 0;
    recovery->report->sealed++;
    say(recovery, "segment %06u: it had no footer; sealed with %u blocks", sequence, blocks);
    return 0;
}

static int reopen_and_seal(struct recovery *recovery, const struct tape_archive_entry *entry,
                           const struct tape_segment_info *info, int newest,
                           struct tape_error *error)
{
    int status;
    struct tape_segment_writer *writer = reopen(recovery, entry, info, error);
    if (writer == NULL) {
        status = error->status;
    } else if (newest) {
        recovery->output = writer;
        recovery->output_sequence = entry->sequence;
        return 0;
    } else {
        status = seal(recovery, writer, entry->sequence, error);
    }
    if (status >= 0 || status == TAPE_FULL)
        return status;
    /* a damage that stays: what was recorded before and after it is not made to wait */
    if (info->records > 0)
        take_end(recovery, info->next_ordinal);
    recovery->report->unreadable++;
    say(recovery, "%s: left as it is", error->text);
    return 0;
}

/* Newest first, until enough sealed ones in a row were seen. */
static int find_unsealed(struct recovery *recovery, int count, uint8_t *unsealed,
                         struct tape_segment_info *infos)
{
    int sealed = 0, oldest = count;
    for (int i = count - 1; i >= 0; i--) {
        if (!recovery->options->every_segment && sealed >= SEALED_TO_SEE)
            break;
        int state = look_at(recovery, tape_archive_entry(recovery->archive, i), &infos[i]);
        unsealed[i] = state == 1;
        sealed = state == 0 ? sealed + 1 : state == 1 ? 0 : sealed;
        oldest = i;
    }
    return oldest;
}

static int recover_segments(struct recovery *recovery, struct tape_error *error)
{
    int count = tape_archive_scan(recovery->archive, error);
    if (count <= 0)
        return count;
    uint8_t *unsealed = calloc((size_t)count, 1);
    struct tape_segment_info *infos = calloc((size_t)count, sizeof *infos);
    int status = unsealed && infos ? 0 : tape_error_set(error, TAPE_FAILED, "memory is short");
    const struct tape_archive_entry *last = tape_archive_entry(recovery->archive, count - 1);
    if (last->sequence >= recovery->next_sequence)
        recovery->next_sequence = last->sequence + 1;
    int last_is_hot = last->state == 'h'; /* a packed one never gets more records */
    int oldest = status == 0 ? find_unsealed(recovery, count, unsealed, infos) : count;
    for (int i = oldest; i < count && status >= 0; i++)
        if (unsealed[i])
            status = reopen_and_seal(recovery, tape_archive_entry(recovery->archive, i), &infos[i],
                                     i == count - 1 && last_is_hot, error);
    free(infos);
    free(unsealed);
    return status;
}

/* ---- what no segment has ---- */

static int open_output(struct recovery *recovery, struct tape_error *error)
{
    char name[TAPE_ARCHIVE_NAME_BYTES];
    if (recovery->output != NULL)
        return 0;
    if (begin_counting(recovery, error) < 0)
        return error->status;
    recovery->output = tape_archive_create_segment(recovery->archive, recovery->next_sequence,
                                                   tape_clock_realtime(), name, error);
    if (recovery->output == NULL)
        return error->status;
    recovery->output_sequence = recovery->next_sequence++;
    recovery->output_is_new = 1;
    return 0;
}

static int write_block(struct recovery *recovery, struct tape_error *error)
{
    struct tape_block_header header;
    uint8_t *stored;
    size_t counts_length = 0;
    if (tape_block_records(recovery->builder) == 0)
        return 0;
    int status = tape_block_seal(recovery->builder, TAPE_BLOCK_CODEC_INTERLEAVED, COMPRESSION_LEVEL,
                                 &header, &stored, error);
    if (status < 0)
        return status;
    header.realtime_minus_monotonic_ns = tape_clock_offset();
    const struct tape_segment_stream_count *counts = counts_of(recovery, &counts_length);
    status =
        tape_segment_append(recovery->output, &header, stored, counts, counts_length, 0, error);
    drop_summary(recovery);
    return status;
}

static int close_output(struct recovery *recovery, struct tape_error *error)
{
    if (recovery->output == NULL)
        return 0;
    int status = write_block(recovery, error);
    struct tape_segment_writer *output = recovery->output;
    recovery->output = NULL;
    if (status < 0) {
        tape_segment_abandon(output);
        return status;
    }
    return seal(recovery, output, recovery->output_sequence, error);
}

static int append_record(struct recovery *recovery, const struct tape_record *record,
                         struct tape_error *error)
{
    int status = open_output(recovery, error);
    if (status == 0 && tape_segment_raw_bytes(recovery->output) >= TAPE_SEGMENT_SEAL_RAW_BYTES) {
        status = close_output(recovery, error);
        if (status == 0)
            status = open_output(recovery, error);
    }
    int hole = record->ordinal != recovery->next_ordinal;
    if (status == 0 && (hole || tape_block_raw_bytes(recovery->builder) >= TAPE_BLOCK_SEAL_BYTES))
        status = write_block(recovery, error);
    int appended = status == 0 ? tape_block_append(recovery->builder, record, error) : status;
    if (appended == 0) {
        appended = write_block(recovery, error);
        if (appended == 0)
            appended = tape_block_append(recovery->builder, record, error);
    }
    if (appended < 0)
        return appended;
    recovery->summary_open = 1;
    recovery->next_ordinal = record->ordinal + 1;
    count_record(recovery, record, error);
    return 0;
}

/* Ordinals up to ${next} were given to records that are nowhere. */
static void tell_lost(struct recovery *recovery, uint64_t next, const char *who)
{
    if (next <= recovery->next_ordinal)
        return;
    uint64_t lost = next - recovery->next_ordinal;
    recovery->report->lost_records += lost;
    say(recovery,
        "%" PRIu64 " records from %" PRIu64 " on are lost: %s knows of them, no segment has them",
        lost, recovery->next_ordinal, who);
}

/* The bytes of a ring that cannot be read to its end stay in the archive, for whoever can make more
 * of them; those of an earlier one are not touched. */
static void keep_damaged_ring(struct recovery *recovery, const char *path)
{
    static const char name[] = "ring.damaged";
    static uint8_t part[64 << 10];
    int directory = tape_archive_directory_fd(recovery->archive);
    int from = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int to = from < 0 ? -1
                      : openat(directory, name,
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    ssize_t got = 0;
    int whole = to >= 0;
    while (whole && (got = read(from, part, sizeof part)) > 0)
        whole = write(to, part, (size_t)got) == got;
    if (whole && got == 0 && fsync(to) == 0)
        say(recovery, "ring %s: damaged: kept as %s", path, name);
    else if (to >= 0)
        unlinkat(directory, name, 0);
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
}

static int copy_ring(struct recovery *recovery, struct tape_ring *ring, const char *path,
                     struct tape_error *error)
{
    struct tape_ring_state state;
    struct tape_ring_cursor cursor;
    struct tape_record record;
    uint64_t saved = recovery->report->ring_records;
    int got = 0, status = 0;
    tape_ring_read_state(ring, &state);
    if (state.head_ordinal <= recovery->next_ordinal)
        return 0;
    if (state.head_ordinal >> 62 || state.durable_ordinal > state.head_ordinal ||
        state.head_ordinal - state.durable_ordinal >
            (state.head_position - state.durable_position) / TAPE_RING_SLOT_BYTES) {
        recovery->report->torn_records = 1; /* else no recorder could ever begin again */
        say(recovery, "ring %s: damaged: its ordinals cannot be", path);
        keep_damaged_ring(recovery, path);
        return 0;
    }
    uint64_t from = recovery->next_ordinal;
    if (from < state.durable_ordinal) {
        tell_lost(recovery, state.durable_ordinal, "the ring");
        from = state.durable_ordinal;
    }
    if (tape_ring_seek(ring, from, &cursor) != 1)
        return 0;
    while (status == 0 && (got = tape_ring_next(ring, &cursor, &record)) == 1) {
        status = append_record(recovery, &record, error);
        recovery->report->ring_records += status == 0;
    }
    if (status == 0 && got < 0) {
        tell_lost(recovery, state.head_ordinal, "the damaged ring");
        keep_damaged_ring(recovery, path);
    }
    say(recovery, "ring %s: %" PRIu64 " records saved", path,
        recovery->report->ring_records - saved);
    return status;
}

/* ---- rings ---- */

static const char shared_prefix[] = "/dev/shm/tapedeck-";

/* Another user's file of that name is not opened; nor is one that is in use: a copy of an archive
 * has its id, and a recorder may be at work on the original. */
static int is_left_over(const char *path)
{
    struct stat state;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return 0;
    int left_over = fstat(fd, &state) == 0 && S_ISREG(state.st_mode) && state.st_uid == geteuid() &&
                    flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return left_over;
}

/* Killed while the ring was being made: its checksum is written last, before any record. The name
 * must be one that we make, not one that LOCK merely tells. */
static int was_never_finished(const struct recovery *recovery, const char *path)
{
    static const uint8_t none[4];
    uint8_t header[12];
    char own[TAPE_ARCHIVE_PATH_BYTES + 8];
    snprintf(own, sizeof own, "%s/ring", tape_archive_path(recovery->archive));
    if (strncmp(path, shared_prefix, sizeof shared_prefix - 1) != 0 && strcmp(path, own) != 0)
        return 0;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, header, sizeof header, 0);
    if (fd >= 0)
        close(fd);
    return got >= 0 && (got < (ssize_t)sizeof header || memcmp(header + 8, none, 4) == 0);
}

static int save_ring(struct recovery *recovery, const char *path, struct tape_error *error)
{
    struct tape_error trouble = {0};
    if (!is_left_over(path))
        return 0;
    struct tape_ring *ring = tape_ring_attach(path, tape_archive_id(recovery->archive), &trouble);
    if (ring == NULL) {
        if (!was_never_finished(recovery, path))
            say(recovery, "%s: left as it is", trouble.text);
        return 0;
    }
    int status = copy_ring(recovery, ring, path, error);
    tape_ring_free(ring);
    return status;
}

struct paths {
    char own[TAPE_ARCHIVE_PATH_BYTES + 8];
    char named[TAPE_ARCHIVE_PATH_BYTES];
    glob_t shared;
};

/* The archive's own file, the one that LOCK names, and all of this archive in /dev/shm: a crash
 * between making a ring and naming it must not lose one. */
static void find_rings(const struct recovery *recovery, struct paths *paths)
{
    struct tape_archive_owner owner = {0};
    char pattern[80];
    size_t used = (size_t)snprintf(pattern, sizeof pattern, "%s", shared_prefix);
    const uint8_t *id = tape_archive_id(recovery->archive);
    for (int i = 0; i < 16; i++)
        used += (size_t)snprintf(pattern + used, sizeof pattern - used, "%02x", id[i]);
    snprintf(pattern + used, sizeof pattern - used, "-*");
    memset(paths, 0, sizeof *paths);
    if (glob(pattern, 0, NULL, &paths->shared) != 0)
        paths->shared.gl_pathc = 0;
    snprintf(paths->own, sizeof paths->own, "%s/ring", tape_archive_path(recovery->archive));
    if (tape_archive_read_owner(recovery->archive, &owner, NULL) == 0)
        snprintf(paths->named, sizeof paths->named, "%s", owner.ring_path);
}

static int each_ring(struct recovery *recovery, const struct paths *paths,
                     int (*act)(struct recovery *, const char *, struct tape_error *),
                     struct tape_error *error)
{
    int status = act(recovery, paths->own, error);
    if (status == 0 && paths->named[0] != '\0')
        status = act(recovery, paths->named, error);
    for (size_t i = 0; i < paths->shared.gl_pathc && status == 0; i++)
        status = act(recovery, paths->shared.gl_pathv[i], error);
    return status;
}

static int remove_ring(struct recovery *recovery, const char *path, struct tape_error *error)
{
    (void)error;
    if (!is_left_over(path))
        return 0;
    struct tape_ring *ring = tape_ring_attach(path, tape_archive_id(recovery->archive), NULL);
    if (ring != NULL || was_never_finished(recovery, path))
        unlink(path);
    tape_ring_free(ring);
    return 0;
}

/* ---- all of it ---- */

/* The note takes the first ordinal that nobody can have seen: from here on no crash can make a
 * later recorder give a lost ordinal again. */
static int write_note(struct recovery *recovery, struct tape_error *error)
{
    const struct tape_recover_report *report = recovery->report;
    char body[600], words[300];
    struct tape_event_writer event;
    snprintf(words, sizeof words,
             "%" PRIu64 " records saved from the ring, %" PRIu64 " bytes cut off, %" PRIu64
             " records lost",
             report->ring_records, report->torn_bytes, report->lost_records);
    tape_event_begin(&event, body, sizeof body);
    tape_event_put_text(&event, "kind", "recovery");
    tape_event_put_text(&event, "cause", "the recorder before did not end in order");
    tape_event_put_wide(&event, "frames", (int64_t)report->ring_records);
    tape_event_put_wide(&event, "bytes", (int64_t)report->torn_bytes);
    tape_event_put_text(&event, "text", words);
    size_t bytes = tape_event_end(&event);
    struct tape_record record = {
        .ordinal = recovery->next_ordinal,
        .recv_ns = tape_clock_realtime(),
        .bytes = (uint32_t)bytes,
        .kind = TAPE_RECORD_NOTE,
        .data = (const uint8_t *)body,
    };
    if (recovery->options->known_ordinal > record.ordinal)
        record.ordinal = recovery->options->known_ordinal;
    return append_record(recovery, &record, error);
}

static int recover_all(struct recovery *recovery, const struct paths *paths,
                       struct tape_error *error)
{
    struct tape_recover_report *report = recovery->report;
    uint64_t known = recovery->options->known_ordinal;
    int status = tape_archive_scan(recovery->archive, error);
    if (status >= 0) {
        tape_pack_clean(recovery->archive, recovery->options->say, recovery->options->context);
        status = recover_segments(recovery, error);
    }
    if (status >= 0)
        status = each_ring(recovery, paths, save_ring, error);
    if (status < 0)
        return status;
    tell_lost(recovery, known, "the index");
    if (recovery->output || report->sealed || report->torn_bytes || report->lost_records)
        status = write_note(recovery, error);
    if (status == 0)
        status = close_output(recovery, error);
    if (status == 0)
        status = each_ring(recovery, paths, remove_ring, error);
    if (report->ring_records > 0) /* they follow what was cut: nothing is missing between */
        report->torn_records = 0;
    report->next_ordinal = recovery->next_ordinal;
    report->next_sequence = recovery->next_sequence;
    return status;
}

int tape_recover_run(const struct tape_recover_options *options, struct tape_recover_report *report,
                     struct tape_error *error)
{
    struct paths paths;
    struct recovery recovery = {
        .options = options,
        .report = report,
        .archive = options->archive,
        .next_sequence = options->known_sequence ? options->known_sequence : 1,
        .builder = tape_block_builder_new(),
    };
    memset(report, 0, sizeof *report);
    if (recovery.builder == NULL)
        return tape_error_set(error, TAPE_FAILED, "memory is short");
    find_rings(&recovery, &paths);
    int status = recover_all(&recovery, &paths, error);
    if (recovery.output)
        tape_segment_abandon(recovery.output);
    tape_summariser_free(recovery.summariser);
    tape_block_builder_free(recovery.builder);
    if (paths.shared.gl_pathv)
        globfree(&paths.shared);
    return status;
}
