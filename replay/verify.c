#include "replay/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/archive.h"
#include "format/archive_current.h"
#include "format/crc32c.h"
#include "format/summary.h"
#include "replay/findings.h"
#include "replay/left.h"
#include "replay/object.h"
#include "replay/pace.h"
#include "replay/timespec.h"
#include "replay/verify_index.h"

enum { LOCK_MAX_BYTES = 4096 };

/*
 * Invariants: every record below next_ordinal was read, told lost, or pruned (anchored = 0 until
 * the first block says where the archive begins). tail[0] != 0: the segment before ended in a tail
 * which is damage unless the next one begins at next_ordinal: then all of it was written again.
 */
struct verify {
    const struct tape_options *options;
    struct tape_archive *archive;
    struct tape_archive_owner owner;
    struct tape_findings findings;
    struct tape_verify_index *index;
    struct tape_block_reader *reader;
    struct tape_summariser *summariser; /* with --reparse */
    int anchored;
    uint64_t next_ordinal;
    uint32_t last_sequence;
    char tail[128];
    int tail_verdict;
    uint64_t segments, packed, blocks, records, file_bytes, raw_bytes;
    struct tape_error *error;
};

/* --- LOCK --- */

/* 1 when the text ends in a line "end <CRC of all before it>". */
static int is_whole_lock(const char *text, size_t bytes)
{
    char expected[16];
    for (size_t at = 0; at < bytes;) {
        const char *newline = memchr(text + at, '\n', bytes - at);
        size_t after = newline ? (size_t)(newline - text) + 1 : bytes;
        if (bytes - at >= 4 && memcmp(text + at, "end ", 4) == 0) {
            snprintf(expected, sizeof expected, "end %08x\n", tape_crc32c_update(0, text, at));
            return after - at == strlen(expected) && memcmp(text + at, expected, after - at) == 0;
        }
        at = after;
    }
    return 0;
}

static void check_lock(struct verify *verify)
{
    char text[LOCK_MAX_BYTES];
    /* A recorder that starts may be writing it just now. */
    for (int attempt = 0; attempt < 3; attempt++) {
        int fd = openat(tape_archive_directory_fd(verify->archive), "LOCK",
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) {
            tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                              "LOCK: %s; the next recording makes it anew", strerror(errno));
            return;
        }
        ssize_t bytes = read(fd, text, sizeof text);
        close(fd);
        if (bytes > 0 && is_whole_lock(text, (size_t)bytes))
            return;
        usleep(10000);
    }
    tape_findings_add(&verify->findings, TAPE_CORRUPT, "LOCK: its checksum is wrong");
}

/* --- blocks --- */

struct count_check {
    struct verify *verify;
    const struct tape_segment_stream_count *counted;
    size_t length, matched;
    uint32_t sequence, number;
};

static void compare_count(void *context, const struct tape_segment_stream_count *stated)
{
    struct count_check *check = context;
    const struct tape_segment_stream_count *found = NULL;
    for (size_t i = 0; i < check->length && !found; i++)
        if (check->counted[i].name_bytes == stated->name_bytes &&
            memcmp(check->counted[i].name, stated->name, stated->name_bytes) == 0)
            found = &check->counted[i];
    check->matched += found != NULL;
    if (found && found->messages == stated->messages && found->bytes == stated->bytes)
        return;
    tape_findings_add(&check->verify->findings, TAPE_CORRUPT,
                      "segment %06u: block %u: stream %.*s: %" PRIu64 " messages, %" PRIu64
                      " bytes in the footer, %" PRIu64 ", %" PRIu64 " in the block",
                      check->sequence, check->number, (int)stated->name_bytes, stated->name,
                      stated->messages, stated->bytes, found ? found->messages : 0,
                      found ? found->bytes : 0);
}

/* The footer's per-stream counts against those of the parser that has just read the block. */
static void check_counts(struct verify *verify, const struct tape_segment *segment, uint32_t index,
                         uint32_t sequence)
{
    const struct tape_segment_entry *entry = tape_segment_entry(segment, index);
    struct count_check check = {
        .verify = verify, .sequence = sequence, .number = entry->header.number};
    check.counted = tape_summariser_counts(verify->summariser, &check.length);
    if (tape_segment_counts(segment, index, compare_count, &check) == 0 &&
        check.matched != check.length)
        tape_findings_add(&verify->findings, TAPE_CORRUPT,
                          "segment %06u: block %u: %zu streams, of which the footer names %zu",
                          sequence, entry->header.number, check.length, check.matched);
}

/* Runs the parser over an open block. after_hole: it may have lost the start of a message. */
static int parse_block(struct verify *verify, const struct tape_segment *segment, uint32_t index,
                       uint32_t sequence, int after_hole)
{
    const struct tape_segment_entry *entry = tape_segment_entry(segment, index);
    struct tape_record record;
    while (tape_block_next(verify->reader, &record) == 1) {
        int status = tape_summariser_add(verify->summariser, &record, NULL, verify->error);
        if (status < 0)
            return status;
    }
    if (!after_hole)
        check_counts(verify, segment, index, sequence);
    tape_summary_free(tape_summariser_take(verify->summariser, &entry->header, entry->offset));
    return 0;
}

/* Notes which records should have come before the block. 1 when some are missing. */
static int check_ordinals(struct verify *verify, uint32_t sequence,
                          const struct tape_block_header *header)
{
    uint64_t expected = verify->next_ordinal;
    if (!verify->anchored || header->first_ordinal <= expected) {
        verify->anchored = 1;
        if (verify->tail[0])
            tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                              "%s; its records were written again, nothing is lost", verify->tail);
        verify->tail[0] = '\0';
        return 0;
    }
    if (verify->tail[0])
        tape_findings_add(&verify->findings, verify->tail_verdict, "%s", verify->tail);
    verify->tail[0] = '\0';
    if (sequence > verify->last_sequence + 1 && verify->last_sequence != 0)
        tape_findings_add(&verify->findings, TAPE_MISSING,
                          "segments %06u to %06u are missing: records %" PRIu64 " to %" PRIu64,
                          verify->last_sequence + 1, sequence - 1, expected,
                          header->first_ordinal - 1);
    else
        tape_findings_add(&verify->findings, TAPE_MISSING,
                          "segment %06u: block %u: records %" PRIu64 " to %" PRIu64
                          " are missing before it",
                          sequence, header->number, expected, header->first_ordinal - 1);
    return 1;
}

static int check_block(struct verify *verify, struct tape_segment *segment, uint32_t index,
                       uint32_t sequence, int growing)
{
    struct tape_error why = {0};
    const struct tape_segment_entry *entry = tape_segment_entry(segment, index);
    const struct tape_block_header *header = &entry->header;
    uint64_t end = header->first_ordinal + header->records;
    int again = verify->anchored && end <= verify->next_ordinal;
    int hole = check_ordinals(verify, sequence, header);
    if (end > verify->next_ordinal)
        verify->next_ordinal = end;
    verify->last_sequence = sequence;
    int status = tape_segment_read(segment, index, verify->reader, &why);
    if (status == TAPE_FAILED) {
        *verify->error = why;
        return tape_error_wrap(verify->error, "segment %06u", sequence);
    }
    if (status < 0 && !(growing && status == TAPE_TORN))
        tape_findings_add(&verify->findings, status, "segment %06u: %s", sequence, why.text);
    if (status < 0)
        return 0;
    if (entry->header_damaged)
        tape_findings_add(&verify->findings, TAPE_CORRUPT,
                          "segment %06u: block %u at 0x%" PRIx64 ": its header is damaged",
                          sequence, header->number, entry->offset);
    verify->blocks++;
    verify->records += header->records;
    verify->raw_bytes += header->raw_bytes;
    if (verify->summariser && !again) {
        status = parse_block(verify, segment, index, sequence, hole);
        if (status < 0)
            return status;
    }
    return tape_verify_index_block(verify->index, sequence, entry, verify->error);
}

/* --- segments --- */

static void tell_places(struct verify *verify, const struct tape_segment *segment,
                        uint32_t sequence)
{
    uint64_t offset, bytes;
    for (uint32_t i = 0; tape_segment_damage(segment, i, &offset, &bytes); i++) {
        if (offset == 0)
            tape_findings_add(&verify->findings, TAPE_CORRUPT,
                              "segment %06u: the file header is damaged", sequence);
        else
            tape_findings_add(&verify->findings, TAPE_CORRUPT,
                              "segment %06u: %" PRIu64 " bytes at 0x%" PRIx64 " are no block",
                              sequence, bytes, offset);
    }
}

/* What stands after the last block, of a segment that does not grow now. */
static void keep_tail(struct verify *verify, uint32_t sequence,
                      const struct tape_segment_info *info)
{
    uint64_t bytes = info->file_bytes - info->end_offset;
    if (info->tail == 0) {
        if (!info->sealed)
            tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                              "segment %06u: whole and not sealed; run tape-record --repair or "
                              "record again",
                              sequence);
        return;
    }
    verify->tail_verdict = info->tail;
    if (info->sealed)
        snprintf(verify->tail, sizeof verify->tail, "segment %06u: bytes follow the trailer",
                 sequence);
    else
        snprintf(verify->tail, sizeof verify->tail,
                 "segment %06u: %s tail of %" PRIu64 " bytes at 0x%" PRIx64, sequence,
                 info->tail == TAPE_TORN ? "torn" : "corrupt", bytes, info->end_offset);
}

static void flush_tail(struct verify *verify)
{
    if (verify->tail[0])
        tape_findings_add(&verify->findings, verify->tail_verdict, "%s", verify->tail);
    verify->tail[0] = '\0';
}

static int check_open_segment(struct verify *verify, struct tape_segment *segment,
                              const struct tape_archive_entry *entry, int growing)
{
    struct tape_segment_info info;
    tape_segment_read_info(segment, &info);
    verify->segments++;
    verify->packed += entry->state == 't';
    verify->file_bytes += info.file_bytes;
    tell_places(verify, segment, entry->sequence);
    int status = tape_verify_index_begin(verify->index, entry, &info, verify->error);
    for (uint32_t i = 0; status == 0 && i < info.blocks; i++)
        status = check_block(verify, segment, i, entry->sequence, growing);
    if (status == 0 && !growing) {
        flush_tail(verify);
        keep_tail(verify, entry->sequence, &info);
        status = tape_verify_index_segment(verify->index, entry, &info, verify->error);
    }
    return status;
}

/* entry then names the file that was checked. */
static int check_segment(struct verify *verify, struct tape_archive_entry *entry, int last)
{
    struct tape_error why = {0};
    struct tape_segment *segment;
    int growing = last && verify->owner.held;
    int got = tape_archive_open_current(verify->archive, entry, &segment, &why);
    if (got == 1) {
        got = check_open_segment(verify, segment, entry, growing);
        tape_segment_close(segment);
        return got;
    }
    if (got == 0) {
        /* Pruned: everything before it, too. */
        tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                          "segment %06u: deleted since the archive was listed", entry->sequence);
        verify->anchored = 0;
        return 0;
    }
    if (growing && got == TAPE_TORN)
        return 0; /* it is only being made */
    if (tape_error_exit_code(got) != 3) {
        *verify->error = why;
        return got;
    }
    tape_findings_add(&verify->findings, got, "%s", why.text);
    return 0;
}

/* Files beside those that count, as a crash while packing leaves them. */
static void tell_leftovers(struct verify *verify)
{
    const struct tape_archive_entry *entry;
    for (int i = 0; (entry = tape_archive_leftover(verify->archive, i)) != NULL; i++)
        if (!verify->owner.held)
            tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                              "segment %06u: %s is left of a packing that was cut short; "
                              "tape-record --repair or the next recording clears it away",
                              entry->sequence, strrchr(entry->name, '/') + 1);
}

static int check_segments(struct verify *verify)
{
    struct tape_archive_entry entry = {0};
    const struct tape_archive_entry *found;
    int status = tape_archive_scan(verify->archive, verify->error);
    if (status < 0)
        return status;
    int others = tape_archive_foreign_files(verify->archive);
    if (others > 0)
        tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                          "%d names under segments/ are no part of the archive", others);
    tell_leftovers(verify);
    while ((found = tape_archive_after(verify->archive, entry.sequence)) != NULL) {
        entry = *found;
        int last = tape_archive_after(verify->archive, entry.sequence) == NULL;
        status = check_segment(verify, &entry, last);
        if (status < 0)
            return status;
    }
    flush_tail(verify);
    return 0;
}

static void check_ring(struct verify *verify)
{
    uint64_t left = tape_left_in_ring(verify->archive, verify->next_ordinal);
    if (left > 0)
        tape_findings_add(&verify->findings, TAPE_FINDINGS_NOTE,
                          "the recorder died: %" PRIu64
                          " records are in its ring only; run tape-record --repair or record again",
                          left);
}

/* --- the whole --- */

static int check_all(struct verify *verify)
{
    check_lock(verify);
    verify->index = tape_verify_index_open(verify->archive, &verify->findings, verify->error);
    verify->reader = tape_block_reader_new();
    if (!verify->index || !verify->reader)
        return tape_error_set(verify->error, TAPE_FAILED, "out of memory");
    if (verify->options->reparse && !(verify->summariser = tape_summariser_new(verify->error)))
        return verify->error->status;
    int status = check_segments(verify);
    if (status == 0)
        status = tape_verify_index_finish(verify->index, verify->error);
    if (status == 0)
        check_ring(verify);
    if (status == 0 && verify->options->reparse)
        status = tape_verify_index_reparse(verify->index, verify->archive, verify->error);
    return status;
}

static void print_summary(struct verify *verify, FILE *to, int64_t took_ns)
{
    char took[TAPE_TIMESPEC_DURATION_TEXT_BYTES];
    double megabytes = (double)verify->file_bytes / 1e6;
    double seconds = took_ns > 0 ? (double)took_ns / 1e9 : 1e-9;
    tape_timespec_format_duration(took, took_ns);
    fprintf(to, "%" PRIu64 " segments", verify->segments);
    if (verify->packed > 0)
        fprintf(to, " (%" PRIu64 " packed)", verify->packed);
    fprintf(to,
            ", %" PRIu64 " blocks, %" PRIu64 " records; %.1f MB in %s "
            "(%.0f MB/s, %.2f M records/s)\n",
            verify->blocks, verify->records, megabytes, took, megabytes / seconds,
            (double)verify->records / 1e6 / seconds);
    if (verify->findings.damages == 0)
        fputs("no damage\n", to);
    else
        fprintf(to, "damaged: %" PRIu64 " findings\n", verify->findings.damages);
}

static int print_object(struct verify *verify, FILE *to, int64_t took_ns)
{
    cJSON *object = cJSON_CreateObject();
    tape_object_put_string(object, "archive", verify->options->archive);
    cJSON_AddBoolToObject(object, "damaged", verify->findings.damages > 0);
    cJSON_AddBoolToObject(object, "recording", verify->owner.held);
    tape_object_put_count(object, "segments", verify->segments);
    tape_object_put_count(object, "segments_packed", verify->packed);
    tape_object_put_count(object, "blocks", verify->blocks);
    tape_object_put_count(object, "records", verify->records);
    tape_object_put_ordinal(object, "next_ordinal", verify->next_ordinal);
    tape_object_put_count(object, "file_bytes", verify->file_bytes);
    tape_object_put_count(object, "raw_bytes", verify->raw_bytes);
    tape_object_put_wide(object, "wall_ns", took_ns);
    tape_object_put_count(object, "damages", verify->findings.damages);
    cJSON_AddItemToObject(object, "findings", verify->findings.array);
    verify->findings.array = NULL;
    return tape_object_print(object, to);
}

int tape_verify_run(const struct tape_options *options, FILE *to, struct tape_error *error)
{
    struct verify verify = {.options = options, .error = error, .findings = {.to = to}};
    int64_t began_ns = tape_pace_now();
    verify.archive = tape_archive_open(options->archive, error);
    if (!verify.archive)
        return error->status;
    tape_archive_read_owner(verify.archive, &verify.owner, NULL);
    if (options->json)
        verify.findings.array = cJSON_CreateArray();
    int status = check_all(&verify);
    int64_t took_ns = tape_pace_now() - began_ns;
    if (status == 0 && options->json && print_object(&verify, to, took_ns) < 0)
        status = tape_error_set(error, TAPE_FAILED, "standard output: cannot be written");
    else if (status == 0 && !options->json)
        print_summary(&verify, to, took_ns);
    cJSON_Delete(verify.findings.array);
    tape_summariser_free(verify.summariser);
    tape_block_reader_free(verify.reader);
    tape_verify_index_close(verify.index);
    tape_archive_close(verify.archive);
    if (status == 0 && verify.findings.damages > 0)
        return tape_error_set(error, verify.findings.first, "%s", "");
    return status;
}
