#include "record/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "format/index_repack.h"

/* Read in small pieces: some kernels switch to another thread only when a call has ended. */
enum { NAME_BYTES = TAPE_ARCHIVE_NAME_BYTES, DIGEST_BYTES = 32, CHUNK_BYTES = 32 << 10 };

/* Packing gives space back, so it must go on where the disk is nearly full; but what it takes for
 * one segment meanwhile is never the last. Of a small disk less is left. */
#define ROOM_KEPT_BYTES (1ull << 30)
enum { ROOM_KEPT_PART = 20 };

/*
 * Invariants:
 * 1. day is the open directory of the segment; name, packing and tape are names in it.
 * 2. from is the file that is packed; it is not touched before publish has synced the new name.
 * 3. digest is over every byte that was handed to the writer as a block, in order; those blocks'
 *    bytes were decoded and compared with their records when they were sealed.
 * 4. writer is NULL before it is made and from sealing on; written: a file named packing is ours.
 */
struct tape_pack_task {
    struct tape_pack_options options;
    struct tape_archive_entry entry; /* of the new file */
    char name[NAME_BYTES], packing[NAME_BYTES], tape[NAME_BYTES];
    int day, written;
    struct tape_segment *from;
    struct tape_segment_info from_info, info;
    struct tape_segment_writer *writer;
    struct tape_pack *pack;
    struct tape_index_repack *rows;
    struct tape_error trouble; /* why the index is not told */
    EVP_MD_CTX *digest;
    uint64_t next_ordinal, records, records_in;
    int64_t clock_offset_ns; /* of the block that the last record came from */
};

static const struct {
    const char *word;
    int zstd_level;
} levels[] = {
#define LEVEL(name, number, word, raw_bytes, zstd_level) [number] = {word, zstd_level},
    TAPE_PACK_LEVEL_TABLE(LEVEL)
#undef LEVEL
};

int tape_pack_level(const char *word)
{
    for (int i = 0; i < (int)(sizeof levels / sizeof levels[0]); i++)
        if (strcmp(levels[i].word, word) == 0)
            return i;
    return -1;
}

static int no_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "memory is short");
}

static int is_stopped(const struct tape_pack_task *task)
{
    return task->options.stop && atomic_load_explicit(task->options.stop, memory_order_relaxed);
}

static void free_task(struct tape_pack_task *task)
{
    tape_segment_abandon(task->writer);
    if (task->written)
        unlinkat(task->day, task->packing, 0);
    tape_segment_close(task->from);
    tape_pack_free(task->pack);
    tape_index_repack_free(task->rows);
    EVP_MD_CTX_free(task->digest);
    if (task->day >= 0)
        close(task->day);
    free(task);
}

/* ---- is there anything to do, and may it be done? ---- */

/* A packed segment's level is that of its most compressed block; one of which nothing could be
 * compressed is as good as cold. */
static int has_level(const struct tape_segment *segment, const struct tape_segment_info *info,
                     int level)
{
    int most = 0;
    for (uint32_t i = 0; i < info->blocks; i++) {
        const struct tape_segment_entry *block = tape_segment_entry(segment, i);
        most = block->header.level > most ? block->header.level : most;
    }
    return most == 0 || most >= levels[level].zstd_level;
}

static int is_due(const struct tape_segment *segment, const struct tape_segment_info *info,
                  char state, int level)
{
    return info->sealed && (state == 'h' || !has_level(segment, info, level));
}

int tape_pack_is_due(const struct tape_archive *archive, const struct tape_archive_entry *entry,
                     int level, uint64_t *bytes)
{
    struct tape_segment_info info;
    struct tape_segment *segment = tape_archive_open_segment(archive, entry, NULL);
    if (segment == NULL)
        return 0;
    tape_segment_read_info(segment, &info);
    *bytes = info.file_bytes;
    int due = is_due(segment, &info, entry->state, level);
    tape_segment_close(segment);
    return due;
}

static int check_whole(const struct tape_segment_info *info, struct tape_error *error)
{
    if (info->bad_blocks == 0 && info->tail == 0)
        return 0;
    return tape_error_set(error, TAPE_CORRUPT, "%" PRIu64 " damaged places%s", info->bad_blocks,
                          info->tail ? ", bytes behind its end" : "");
}

/* 0, or TAPE_FULL when ${bytes} more would leave too little. */
static int check_room(const struct tape_pack_task *task, uint64_t bytes, struct tape_error *error)
{
    struct statvfs disk;
    if (fstatvfs(task->day, &disk) < 0)
        return tape_error_errno(error, errno, "how much space there is");
    uint64_t unit = disk.f_frsize, part = disk.f_blocks * unit / ROOM_KEPT_PART;
    uint64_t kept = part < ROOM_KEPT_BYTES ? part : ROOM_KEPT_BYTES, left = disk.f_bavail * unit;
    if (left >= bytes + kept)
        return 0;
    return tape_error_set(error, TAPE_FULL,
                          "%" PRIu64 " bytes are free: to write %" PRIu64 " and leave %" PRIu64
                          " they are too few",
                          left, bytes, kept);
}

/* ---- writing ---- */

static int write_block(struct tape_pack_task *task, struct tape_error *error)
{
    struct tape_block_header header;
    uint8_t *stored;
    size_t counts_length;
    if (tape_pack_records(task->pack) == 0)
        return 0;
    int status = tape_pack_seal(task->pack, &header, &stored, error);
    if (status < 0)
        return status;
    header.realtime_minus_monotonic_ns = task->clock_offset_ns;
    size_t bytes = TAPE_BLOCK_HEADER_BYTES + (size_t)header.stored_bytes;
    const struct tape_segment_stream_count *counts =
        tape_index_repack_counts(task->rows, &counts_length);
    status = check_room(task, bytes + TAPE_SEGMENT_RESERVE_BYTES, error);
    if (status == 0)
        status =
            tape_segment_append(task->writer, &header, stored, counts, counts_length, 0, error);
    if (status < 0)
        return status;
    if (EVP_DigestUpdate(task->digest, stored, bytes) != 1)
        return no_memory(error);
    /* Not all at the end: a journal that has to write much of this file first would hold up
     * capture's syncs. */
    off_t end = (off_t)tape_segment_file_bytes(task->writer);
    sync_file_range(tape_segment_fd(task->writer), end - (off_t)bytes, (off_t)bytes,
                    SYNC_FILE_RANGE_WRITE);
    return tape_index_repack_block(task->rows, &header, (uint64_t)end - bytes, error);
}

static int take_record(struct tape_pack_task *task, const struct tape_record *record,
                       struct tape_error *error)
{
    int status = 0, appended = 0;
    if (record->ordinal != task->next_ordinal ||
        tape_index_repack_cuts(task->rows, record->ordinal))
        status = write_block(task, error);
    for (int i = 0; status == 0 && appended == 0 && i < 2; i++) {
        appended = tape_pack_append(task->pack, record, error);
        status = appended < 0 ? appended : appended == 0 ? write_block(task, error) : 0;
    }
    if (status == 0 && appended != 1)
        status = tape_error_set(error, TAPE_FAILED, "record %" PRIu64 " does not fit a block",
                                record->ordinal);
    if (status < 0)
        return status;
    task->next_ordinal = record->ordinal + 1;
    task->records++;
    return tape_index_repack_add(task->rows, record, error);
}

/* 1, 0 when it was stopped, or a status. */
static int write_blocks(struct tape_pack_task *task, struct tape_block_reader *reader,
                        struct tape_error *error)
{
    struct tape_record record;
    for (uint32_t i = 0; i < task->from_info.blocks; i++) {
        if (is_stopped(task))
            return 0;
        int status = tape_segment_read(task->from, i, reader, error);
        const struct tape_segment_entry *block = tape_segment_entry(task->from, i);
        if (status == 0 && block->header_damaged)
            status = tape_error_set(error, TAPE_CORRUPT,
                                    "block %u at 0x%" PRIx64 ": its header is damaged",
                                    block->header.number, block->offset);
        while (status == 0 && tape_block_next(reader, &record) == 1) {
            status = take_record(task, &record, error);
            task->clock_offset_ns = block->header.realtime_minus_monotonic_ns;
        }
        if (status < 0)
            return status;
        if (task->options.progress)
            task->options.progress(task->options.context, task->records,
                                   (i + 1.0) / task->from_info.blocks,
                                   tape_segment_file_bytes(task->writer));
    }
    int status = write_block(task, error);
    return status < 0 ? status : 1;
}

/* ---- the written file is read again ---- */

/* What lies between the file header and the footer are the blocks and nothing else. */
static int digest_file(int fd, uint64_t end, EVP_MD_CTX *digest, struct tape_error *error)
{
    uint8_t *chunk = malloc(CHUNK_BYTES);
    int status = chunk ? 0 : no_memory(error);
    uint64_t at = TAPE_SEGMENT_HEADER_BYTES;
    while (status == 0 && at < end) {
        size_t part = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
        ssize_t got = pread(fd, chunk, part, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            status = tape_error_errno(error, got < 0 ? errno : EIO, "read it again");
        else if (EVP_DigestUpdate(digest, chunk, (size_t)got) != 1)
            status = no_memory(error);
        at += got > 0 ? (uint64_t)got : 0;
    }
    free(chunk);
    return status;
}

static int compare_bytes(struct tape_pack_task *task, struct tape_error *error)
{
    uint8_t written[DIGEST_BYTES], found[DIGEST_BYTES];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    int fd = openat(task->day, task->packing, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int status = fd < 0 ? tape_error_errno(error, errno, "open it again") : 0;
    if (status == 0 && (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1))
        status = no_memory(error);
    if (status == 0) {
        /* from the disk, not from memory: it is synced, so the kernel may forget it */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        status = digest_file(fd, task->info.end_offset, digest, error);
    }
    if (status == 0 && (EVP_DigestFinal_ex(task->digest, written, NULL) != 1 ||
                        EVP_DigestFinal_ex(digest, found, NULL) != 1))
        status = no_memory(error);
    if (status == 0 && memcmp(written, found, DIGEST_BYTES) != 0)
        status = tape_error_set(error, TAPE_FAILED, "what was read again is not what was written");
    if (fd >= 0)
        close(fd);
    EVP_MD_CTX_free(digest);
    return status;
}

/* The footer is what readers go by. */
static int compare_info(const struct tape_segment_info *from, const struct tape_segment_info *to,
                        struct tape_error *error)
{
    const char *words = NULL;
    if (!to->sealed)
        words = "read again it has no footer";
    else if (to->bad_blocks > 0 || to->tail)
        words = "read again it is damaged";
    else if (to->sequence != from->sequence || to->created_ns != from->created_ns ||
             to->records != from->records || to->first_ordinal != from->first_ordinal ||
             to->next_ordinal != from->next_ordinal || to->min_recv_ns != from->min_recv_ns ||
             to->max_recv_ns != from->max_recv_ns)
        words = "read again its footer tells other records";
    return words ? tape_error_set(error, TAPE_FAILED, "%s", words) : 0;
}

static int check_file(struct tape_pack_task *task, struct tape_error *error)
{
    struct tape_segment *segment =
        tape_segment_open(task->day, task->packing, tape_archive_id(task->options.archive), error);
    if (segment == NULL)
        return error->status;
    tape_segment_read_info(segment, &task->info);
    tape_segment_close(segment);
    int status = compare_info(&task->from_info, &task->info, error);
    return status < 0 ? status : compare_bytes(task, error);
}

/* ---- one segment ---- */

/* What the segment's records mean for the index, and for the footer. */
static int begin_rows(struct tape_pack_task *task, struct tape_error *error)
{
    const struct tape_pack_options *options = &task->options;
    const struct tape_segment_info *info = &task->from_info;
    task->rows = tape_index_repack_new(options->index, options->archive, info, &task->trouble);
    if (task->rows == NULL && options->index_may_lag && task->trouble.status == TAPE_MISSING) {
        *error = task->trouble;
        return TAPE_MISSING;
    }
    if (task->rows == NULL && options->index)
        task->rows = tape_index_repack_new(NULL, options->archive, info, error);
    return task->rows ? 0 : no_memory(error);
}

static int prepare(struct tape_pack_task *task, struct tape_error *error)
{
    const struct tape_pack_options *options = &task->options;
    int status = begin_rows(task, error);
    if (status < 0)
        return status;
    task->pack = tape_pack_new(options->level);
    task->digest = EVP_MD_CTX_new();
    if (!task->pack || !task->digest || EVP_DigestInit_ex(task->digest, EVP_sha256(), NULL) != 1)
        return no_memory(error);
    status = check_room(task, task->from_info.file_bytes + TAPE_SEGMENT_RESERVE_BYTES, error);
    if (status < 0)
        return status;
    /* a leftover of a crash; the lock says that nobody else writes it */
    unlinkat(task->day, task->packing, 0);
    task->writer =
        tape_segment_create(task->day, task->packing, task->from_info.sequence,
                            tape_archive_id(options->archive), task->from_info.created_ns, error);
    if (task->writer == NULL)
        return error->status;
    task->written = 1;
    task->next_ordinal = task->from_info.first_ordinal;
    return 0;
}

/* 1, 0 when it was stopped, or a status. */
static int fill(struct tape_pack_task *task, struct tape_error *error)
{
    int status = prepare(task, error);
    if (status < 0)
        return status;
    struct tape_block_reader *reader = tape_block_reader_new();
    status = reader ? write_blocks(task, reader, error) : no_memory(error);
    tape_block_reader_free(reader);
    if (status <= 0)
        return status;
    struct tape_segment_writer *writer = task->writer;
    task->writer = NULL;
    status = tape_segment_seal(writer, error);
    if (status == 0)
        status = check_file(task, error);
    return status < 0 ? status : 1;
}

/* Opens the segment. 1 when it is to be packed, 0 when not, or a status. */
static int open_from(struct tape_pack_task *task, struct tape_error *error)
{
    const char *name;
    task->day = tape_archive_open_day(task->options.archive, &task->entry, &name, error);
    if (task->day < 0)
        return task->day;
    int stem = (int)strcspn(name, ".");
    snprintf(task->name, sizeof task->name, "%s", name);
    snprintf(task->packing, sizeof task->packing, "%.*s.packing", stem, name);
    snprintf(task->tape, sizeof task->tape, "%.*s.tape", stem, name);
    task->from = tape_archive_open_segment(task->options.archive, &task->entry, error);
    if (task->from == NULL)
        return error->status;
    tape_segment_read_info(task->from, &task->from_info);
    if (!is_due(task->from, &task->from_info, task->entry.state, task->options.level))
        return 0;
    int status = check_whole(&task->from_info, error);
    return status < 0 ? tape_error_wrap(error, "segment %06u", task->entry.sequence) : 1;
}

int tape_pack_write(const struct tape_pack_options *options, struct tape_pack_task **to,
                    struct tape_error *error)
{
    struct tape_error own = {0};
    struct tape_pack_task *task = calloc(1, sizeof *task);
    if (task == NULL)
        return no_memory(error);
    task->options = *options;
    task->entry = options->entry;
    task->day = -1;
    int status = open_from(task, &own);
    if (status == 1) {
        status = fill(task, &own);
        if (status < 0)
            tape_error_wrap(&own, "segment %06u: pack", task->entry.sequence);
    }
    if (status == 1) {
        snprintf(task->entry.name, sizeof task->entry.name, "%.11s%.48s", options->entry.name,
                 task->tape);
        task->entry.state = 't';
        *to = task;
        return 1;
    }
    free_task(task);
    if (status < 0 && error)
        *error = own;
    return status;
}

void tape_pack_drop(struct tape_pack_task *task)
{
    if (task)
        free_task(task);
}

void tape_pack_read_figures(const struct tape_pack_task *task, struct tape_pack_figures *figures)
{
    *figures = (struct tape_pack_figures){
        .records = task->from_info.records,
        .bytes_before = task->from_info.file_bytes,
        .bytes_after = task->info.file_bytes,
    };
}

/* From here on the new file counts. A packed one is replaced by the renaming itself. */
static int take_the_name(struct tape_pack_task *task, struct tape_error *error)
{
    int hot = task->options.entry.state == 'h';
    if (faccessat(task->day, task->name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) /* pruned meanwhile */
        return tape_error_errno(error, errno, "segment %06u: %s", task->entry.sequence, task->name);
    if (renameat2(task->day, task->packing, task->day, task->tape, hot ? RENAME_NOREPLACE : 0) <
            0 &&
        (errno != EINVAL || renameat(task->day, task->packing, task->day, task->tape) < 0))
        return tape_error_errno(error, errno, "segment %06u: name it %s", task->entry.sequence,
                                task->tape);
    task->written = 0;
    if (fsync(task->day) < 0)
        return tape_error_errno(error, errno, "segment %06u: sync its directory",
                                task->entry.sequence);
    return 0;
}

int tape_pack_publish(struct tape_pack_task *task, struct tape_archive *archive,
                      struct tape_index *index, struct tape_error *trouble,
                      struct tape_error *error)
{
    int status = take_the_name(task, error);
    if (status == 0 && task->trouble.status < 0 && trouble)
        *trouble = task->trouble;
    else if (status == 0 && index)
        tape_index_repack_commit(task->rows, index, archive, &task->entry, &task->info, trouble);
    if (status == 0 && task->options.entry.state == 'h' &&
        (unlinkat(task->day, task->name, 0) < 0 || fsync(task->day) < 0))
        status = tape_error_errno(error, errno, "segment %06u: remove %s", task->entry.sequence,
                                  task->name);
    free_task(task);
    return status;
}
