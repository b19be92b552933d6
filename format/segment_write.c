#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/bytes.h"
#include "format/footer.h"
#include "format/segment.h"
#include "format/segment_bytes.h"

/*
 * Invariants:
 * - the file is [0, end): the header and whole blocks, each of them in footer;
 * - [end, allocated) is reserved on the disk, unless the file system cannot (no_reserve);
 * - broken = 1: the file could not be cut back to end; nothing more may be written.
 */
struct tape_segment_writer {
    int fd;
    int no_reserve, broken;
    uint32_t sequence;
    uint64_t archive_tag;
    uint64_t end, allocated;
    uint64_t raw_bytes;
    uint32_t blocks;      /* in the file */
    uint32_t next_number; /* differs from blocks only after a damage that a recovery kept */
    uint32_t previous_stored_bytes;
    uint64_t next_ordinal;
    struct tape_footer_builder *footer;
};

/* --- space --- */

/* Reserves [allocated, to) without changing the file's length. 0 or -errno. */
static int reserve_up_to(struct tape_segment_writer *writer, uint64_t to)
{
    if (to <= writer->allocated)
        return 0;
    int failed;
    do
        failed = fallocate(writer->fd, FALLOC_FL_KEEP_SIZE, (off_t)writer->allocated,
                           (off_t)(to - writer->allocated));
    while (failed != 0 && errno == EINTR);
    if (failed == 0) {
        writer->allocated = to;
        return 0;
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
        writer->no_reserve = 1;
        return 0;
    }
    return -errno;
}

/* Makes sure that bytes can be written at end and the last reserve be kept. */
static int ensure_room(struct tape_segment_writer *writer, uint64_t bytes, int last_reserve,
                       struct tape_error *error)
{
    /* The footer must fit, whatever comes: it grows with the blocks, and may compress badly. */
    uint64_t keep = TAPE_SEGMENT_LAST_RESERVE_BYTES + tape_footer_raw_bytes(writer->footer);
    uint64_t need = writer->end + bytes + (last_reserve ? 0 : keep);
    if (writer->no_reserve || need <= writer->allocated)
        return 0;
    int failed = reserve_up_to(writer, writer->end + bytes + keep + TAPE_SEGMENT_RESERVE_BYTES);
    if (failed == -ENOSPC || failed == -EDQUOT || failed == -EFBIG)
        failed = reserve_up_to(writer, need);
    if (failed != 0)
        return tape_error_errno(error, -failed, "segment %06u: reserve %llu bytes",
                                writer->sequence, (unsigned long long)(need - writer->end));
    return 0;
}

/* The file becomes [0, end) again. Truncating gives the reserve back, too. */
static void cut_back(struct tape_segment_writer *writer)
{
    if (ftruncate(writer->fd, (off_t)writer->end) < 0)
        writer->broken = 1;
    writer->allocated = writer->end;
}

static int write_at_end(struct tape_segment_writer *writer, const uint8_t *bytes, size_t length,
                        struct tape_error *error)
{
    size_t done = 0;
    while (done < length) {
        ssize_t now = pwrite(writer->fd, bytes + done, length - done, (off_t)(writer->end + done));
        if (now < 0 && errno == EINTR)
            continue;
        if (now <= 0) {
            int cause = now < 0 ? errno : ENOSPC;
            cut_back(writer);
            return tape_error_errno(error, cause, "segment %06u: write %zu bytes at 0x%llx",
                                    writer->sequence, length, (unsigned long long)writer->end);
        }
        done += (size_t)now;
    }
    writer->end += length;
    return 0;
}

/* --- making and ending --- */

static struct tape_segment_writer *new_writer(int fd, uint32_t sequence,
                                              const uint8_t archive_id[16])
{
    struct tape_segment_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return NULL;
    writer->footer = tape_footer_builder_new();
    if (writer->footer == NULL) {
        free(writer);
        return NULL;
    }
    writer->fd = fd;
    writer->sequence = sequence;
    writer->archive_tag = tape_bytes_get_u64(archive_id);
    return writer;
}

static int free_writer(struct tape_segment_writer *writer)
{
    int failed = close(writer->fd) < 0 ? errno : 0;
    tape_footer_builder_free(writer->footer);
    free(writer);
    return failed;
}

static int begin(struct tape_segment_writer *writer, int directory_fd,
                 const struct tape_segment_identity *identity, struct tape_error *error)
{
    uint8_t bytes[TAPE_SEGMENT_HEADER_BYTES];
    tape_segment_identity_put(bytes, identity);
    int status = ensure_room(writer, sizeof bytes, 0, error);
    if (status == 0)
        status = write_at_end(writer, bytes, sizeof bytes, error);
    if (status == 0 && fsync(directory_fd) < 0)
        status =
            tape_error_errno(error, errno, "segment %06u: sync its directory", identity->sequence);
    return status;
}

struct tape_segment_writer *tape_segment_create(int directory_fd, const char *name,
                                                uint32_t sequence, const uint8_t archive_id[16],
                                                int64_t created_ns, struct tape_error *error)
{
    struct tape_segment_identity identity = {.created_ns = created_ns, .sequence = sequence};
    memcpy(identity.archive_id, archive_id, sizeof identity.archive_id);
    int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0) {
        tape_error_errno(error, errno, "segment %06u: create %s", sequence, name);
        return NULL;
    }
    struct tape_segment_writer *writer = new_writer(fd, sequence, archive_id);
    if (writer == NULL) {
        tape_error_set(error, TAPE_FAILED, "segment %06u: no memory", sequence);
        close(fd);
    } else if (begin(writer, directory_fd, &identity, error) == 0) {
        return writer;
    } else {
        free_writer(writer);
    }
    unlinkat(directory_fd, name, 0);
    return NULL;
}

void tape_segment_abandon(struct tape_segment_writer *writer)
{
    if (writer == NULL)
        return;
    /* Gives the reserve back; the length stays. */
    if (!writer->no_reserve && ftruncate(writer->fd, (off_t)writer->end) < 0)
        writer->broken = 1;
    free_writer(writer);
}

/* Writes footer and trailer with one write, so that a crash leaves both or a torn tail. */
static int write_footer(struct tape_segment_writer *writer, struct tape_error *error)
{
    struct tape_block_header header = {
        .first_ordinal = writer->next_ordinal,
        .previous_stored_bytes = writer->previous_stored_bytes,
        .segment = writer->sequence,
        .number = writer->next_number,
        .archive_tag = writer->archive_tag,
    };
    uint8_t *bytes = NULL;
    size_t length = 0;
    int status = tape_footer_encode(writer->footer, &header, &bytes, &length, error);
    if (status < 0)
        return status;
    struct tape_segment_trailer trailer = {
        .footer_offset = writer->end,
        .footer_bytes = (uint32_t)length,
        .records = tape_footer_records(writer->footer),
    };
    tape_segment_trailer_put(bytes + length, &trailer);
    status = write_at_end(writer, bytes, length + TAPE_SEGMENT_TRAILER_BYTES, error);
    free(bytes);
    return status;
}

int tape_segment_seal(struct tape_segment_writer *writer, struct tape_error *error)
{
    uint32_t sequence = writer->sequence;
    int status = 0;
    if (writer->broken)
        status = tape_error_set(error, TAPE_FAILED,
                                "segment %06u: a failed write could not be cut off", sequence);
    if (status == 0)
        status = write_footer(writer, error);
    /* Same length: only the reserve beyond it goes. */
    if (status == 0 && !writer->no_reserve && ftruncate(writer->fd, (off_t)writer->end) < 0)
        status = tape_error_errno(error, errno, "segment %06u: give space back", sequence);
    if (status == 0 && fdatasync(writer->fd) < 0)
        status = tape_error_errno(error, errno, "segment %06u: sync", sequence);
    int failed = free_writer(writer);
    if (status == 0 && failed != 0)
        status = tape_error_errno(error, failed, "segment %06u: close", sequence);
    return status;
}

/* --- appending --- */

int tape_segment_append(struct tape_segment_writer *writer, struct tape_block_header *header,
                        uint8_t *stored, const struct tape_segment_stream_count *counts,
                        size_t counts_length, int last_reserve, struct tape_error *error)
{
    if (writer->broken)
        return tape_error_set(error, TAPE_FAILED,
                              "segment %06u: a failed write could not be cut off",
                              writer->sequence);
    if (writer->blocks == TAPE_SEGMENT_BLOCKS_MAX)
        return tape_error_set(error, TAPE_LIMIT, "segment %06u: it has %d blocks", writer->sequence,
                              TAPE_SEGMENT_BLOCKS_MAX);
    if (header->first_ordinal < writer->next_ordinal)
        return tape_error_set(error, TAPE_USAGE, "segment %06u: ordinal %llu after %llu",
                              writer->sequence, (unsigned long long)header->first_ordinal,
                              (unsigned long long)writer->next_ordinal - 1);
    size_t length = TAPE_BLOCK_HEADER_BYTES + (size_t)header->stored_bytes;
    int status = ensure_room(writer, length, last_reserve, error);
    if (status < 0)
        return status;
    header->previous_stored_bytes = writer->previous_stored_bytes;
    header->segment = writer->sequence;
    header->number = writer->next_number;
    header->archive_tag = writer->archive_tag;
    tape_block_header_put(stored, header);
    /* Into the footer first: a block must not be in the file and not in the footer. */
    status = tape_footer_add(writer->footer, writer->end, stored, counts, counts_length, error);
    if (status < 0)
        return tape_error_wrap(error, "segment %06u: block %u", writer->sequence, header->number);
    status = write_at_end(writer, stored, length, error);
    if (status < 0) {
        tape_footer_drop_last(writer->footer);
        return status;
    }
    writer->previous_stored_bytes = header->stored_bytes;
    writer->next_ordinal = header->first_ordinal + header->records;
    writer->raw_bytes += header->raw_bytes;
    writer->blocks++;
    writer->next_number++;
    return 0;
}

int tape_segment_fd(const struct tape_segment_writer *writer)
{
    return writer->fd;
}

uint64_t tape_segment_raw_bytes(const struct tape_segment_writer *writer)
{
    return writer->raw_bytes;
}

uint64_t tape_segment_file_bytes(const struct tape_segment_writer *writer)
{
    return writer->end;
}

uint32_t tape_segment_blocks(const struct tape_segment_writer *writer)
{
    return writer->blocks;
}

uint64_t tape_segment_next_ordinal(const struct tape_segment_writer *writer)
{
    return writer->next_ordinal;
}

/* --- resuming --- */

/* Where the good bytes end: bad blocks at the end are left out. Sets *blocks to how many stay. */
static int find_good_end(struct tape_segment *segment, struct tape_block_reader *reader,
                         uint32_t *blocks, uint64_t *end, struct tape_error *error)
{
    struct tape_segment_info info;
    tape_segment_read_info(segment, &info);
    *blocks = info.blocks;
    *end = TAPE_SEGMENT_HEADER_BYTES;
    for (; *blocks > 0; --*blocks) {
        const struct tape_segment_entry *last = tape_segment_entry(segment, *blocks - 1);
        int status = tape_segment_read(segment, *blocks - 1, reader, error);
        if (status == TAPE_FAILED)
            return status;
        if (status < 0)
            continue;
        *end = last->offset + TAPE_BLOCK_HEADER_BYTES + last->header.stored_bytes;
        break;
    }
    return 0;
}

/* Enters block ${index} into the footer, counted where it can be read. */
static int resume_block(struct tape_segment_writer *writer, struct tape_segment *segment,
                        uint32_t index, struct tape_block_reader *reader,
                        tape_segment_count_block *count, void *context, struct tape_error *error)
{
    uint8_t bytes[TAPE_BLOCK_HEADER_BYTES];
    const struct tape_segment_entry *entry = tape_segment_entry(segment, index);
    const struct tape_segment_stream_count *counts = NULL;
    size_t counts_length = 0;
    int status = 0;
    if (count != NULL) {
        status = tape_segment_read(segment, index, reader, error);
        if (status == 0)
            status = count(context, reader, &counts, &counts_length, error);
        else if (status != TAPE_FAILED)
            status = 0; /* a bad block: it stays, not counted */
    }
    if (status < 0)
        return status;
    tape_block_header_put(bytes, &entry->header);
    status = tape_footer_add(writer->footer, entry->offset, bytes, counts, counts_length, error);
    if (status < 0)
        return status;
    writer->previous_stored_bytes = entry->header.stored_bytes;
    writer->next_ordinal = entry->header.first_ordinal + entry->header.records;
    writer->next_number = entry->header.number + 1;
    writer->raw_bytes += entry->header.raw_bytes;
    writer->blocks++;
    return 0;
}

/* Copies [from, to) of fd to the end of copy; holes, which hold nothing, are left out. */
static int copy_bytes(int fd, int copy, uint64_t from, uint64_t to, struct tape_error *error)
{
    uint8_t chunk[16 << 10];
    while (from < to) {
        off_t data = lseek(fd, (off_t)from, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0;
        if (data > (off_t)from)
            from = (uint64_t)data;
        if (from >= to)
            return 0;
        size_t part = to - from < sizeof chunk ? (size_t)(to - from) : sizeof chunk;
        ssize_t got = pread(fd, chunk, part, (off_t)from);
        ssize_t put = got > 0 ? write(copy, chunk, (size_t)got) : got;
        if (put < 0 && errno != EINTR)
            return tape_error_errno(error, errno, "keep the bytes at 0x%llx",
                                    (unsigned long long)from);
        if (put == 0)
            return 0;
        from += put > 0 ? (uint64_t)put : 0;
    }
    return 0;
}

/* Puts [from, to) of fd into NAME.torn and syncs it. */
static int keep_torn(int directory_fd, const char *name, int fd, uint64_t from, uint64_t to,
                     struct tape_error *error)
{
    char torn[256];
    const char *dot = strrchr(name, '.');
    int stem = dot == NULL ? (int)strlen(name) : (int)(dot - name);
    snprintf(torn, sizeof torn, "%.*s.torn", stem, name);
    int copy =
        openat(directory_fd, torn, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (copy < 0)
        return tape_error_errno(error, errno, "create %s", torn);
    int status = copy_bytes(fd, copy, from, to, error);
    if (status == 0 && (fsync(copy) < 0 || fsync(directory_fd) < 0))
        status = tape_error_errno(error, errno, "sync %s", torn);
    close(copy);
    return status;
}

/* Enters the blocks, then keeps and cuts the tail: in this order a failure changes nothing. */
static int resume(struct tape_segment_writer *writer, int directory_fd, const char *name,
                  struct tape_segment *segment, tape_segment_count_block *count, void *context,
                  uint64_t *torn_bytes, struct tape_error *error)
{
    struct tape_segment_info info;
    uint32_t blocks = 0;
    struct tape_block_reader *reader = tape_block_reader_new();
    if (reader == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory");
    tape_segment_read_info(segment, &info);
    int status = find_good_end(segment, reader, &blocks, &writer->end, error);
    for (uint32_t i = 0; status == 0 && i < blocks; i++)
        status = resume_block(writer, segment, i, reader, count, context, error);
    tape_block_reader_free(reader);
    if (status < 0)
        return status;
    writer->allocated = writer->end;
    if (torn_bytes != NULL)
        *torn_bytes = info.file_bytes - writer->end;
    if (info.file_bytes == writer->end)
        return 0;
    status = keep_torn(directory_fd, name, writer->fd, writer->end, info.file_bytes, error);
    if (status == 0 && ftruncate(writer->fd, (off_t)writer->end) < 0)
        status = tape_error_errno(error, errno, "cut at 0x%llx", (unsigned long long)writer->end);
    return status;
}

struct tape_segment_writer *tape_segment_resume(int directory_fd, const char *name,
                                                const uint8_t archive_id[16],
                                                tape_segment_count_block *count, void *context,
                                                uint64_t *torn_bytes, struct tape_error *error)
{
    struct tape_segment_info info;
    struct tape_segment_writer *writer = NULL;
    struct tape_segment *segment = tape_segment_open(directory_fd, name, archive_id, error);
    if (segment == NULL)
        return NULL;
    tape_segment_read_info(segment, &info);
    int fd = -1;
    if (info.sealed)
        tape_error_set(error, TAPE_USAGE, "it is sealed");
    else if ((fd = openat(directory_fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC)) < 0)
        tape_error_errno(error, errno, "open for writing");
    else if ((writer = new_writer(fd, info.sequence, info.archive_id)) == NULL)
        tape_error_set(error, TAPE_FAILED, "no memory");
    if (writer == NULL && fd >= 0)
        close(fd);
    if (writer != NULL &&
        resume(writer, directory_fd, name, segment, count, context, torn_bytes, error) < 0) {
        free_writer(writer);
        writer = NULL;
    }
    tape_segment_close(segment);
    return writer;
}
