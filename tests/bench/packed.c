/*
 * Packing and reading of packed blocks in memory, one thread:
 *
 *   packed pack warm|cold ARCHIVE PASSES     append, seal and verify every record of the archive
 *   packed grouped warm|cold ARCHIVE         the same records as grouped text only (codec 2)
 *   packed text ARCHIVE PASSES [STREAM]      open every block, hand out every record
 *   packed columns ARCHIVE PASSES [STREAM]   the same, every column of the messages
 *   packed touch ARCHIVE PASSES [STREAM]     as text, but every byte is read
 *
 * The first pass of text and columns reads every byte and value, and tells their sum; it is slower.
 * With STREAM the others' records are passed over where the block allows. Prints one JSON object:
 * what was there, and the CPU of the thread for each pass.
 */
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/archive.h"
#include "format/block.h"
#include "format/columns.h"
#include "format/pack.h"
#include "format/pack_internal.h"
#include "format/pack_number.h"
#include "tests/bench/report.h"

struct block {
    struct tape_block_header header;
    uint8_t *stored;
};

/* Invariant: the records' data lie in bodies, which does not move once they are loaded. */
struct archive {
    struct block *blocks;
    size_t block_count;
    struct tape_record *records;
    size_t record_count;
    uint8_t *bodies;
    uint64_t messages, file_bytes;
};

static void stop(const char *words)
{
    fprintf(stderr, "packed: %s\n", words);
    exit(1);
}

static void *make_room(void *old, size_t bytes)
{
    void *room = realloc(old, bytes + 1);
    if (room == NULL)
        stop("memory is short");
    return room;
}

/* The stored bytes as they lie in the file: tape_segment_read would open them at once. */
static void load_segment(struct archive *to, struct tape_archive *from,
                         const struct tape_archive_entry *entry)
{
    struct tape_error error = {0};
    struct tape_segment_info info;
    struct stat found;
    const char *name;
    int directory = tape_archive_open_day(from, entry, &name, &error);
    int fd = directory < 0 ? -1 : openat(directory, name, O_RDONLY | O_CLOEXEC);
    struct tape_segment *segment = tape_archive_open_segment(from, entry, &error);
    if (fd < 0 || segment == NULL || fstat(fd, &found) != 0)
        stop(error.text[0] ? error.text : "a segment cannot be opened");
    tape_segment_read_info(segment, &info);
    to->blocks = make_room(to->blocks, (to->block_count + info.blocks) * sizeof *to->blocks);
    for (uint32_t i = 0; i < info.blocks; i++) {
        const struct tape_segment_entry *at = tape_segment_entry(segment, i);
        struct block *block = &to->blocks[to->block_count++];
        block->header = at->header;
        block->stored = make_room(NULL, at->header.stored_bytes);
        if (pread(fd, block->stored, at->header.stored_bytes,
                  (off_t)at->offset + TAPE_BLOCK_HEADER_BYTES) != (ssize_t)at->header.stored_bytes)
            stop("a block cannot be read");
    }
    to->file_bytes += (uint64_t)found.st_size;
    tape_segment_close(segment);
    close(fd);
    close(directory);
}

static void open_block(struct tape_block_reader *reader, const struct block *block)
{
    struct tape_error error;
    if (tape_block_open(reader, &block->header, block->stored, &error) != 0)
        stop(error.text);
}

static void load(struct archive *to, const char *path)
{
    struct tape_error error = {0};
    struct tape_archive *from = tape_archive_open(path, &error);
    int count = from == NULL ? -1 : tape_archive_scan(from, &error);
    if (count < 0)
        stop(error.text);
    for (int i = 0; i < count; i++)
        load_segment(to, from, tape_archive_entry(from, i));
    tape_archive_close(from);
}

/* Every record with its body, to be packed again and again. */
static void load_records(struct archive *archive)
{
    struct tape_block_reader *reader = tape_block_reader_new();
    size_t count = 0, bytes = 0, used = 0;
    for (size_t i = 0; i < archive->block_count; i++) {
        count += archive->blocks[i].header.records;
        bytes += archive->blocks[i].header.raw_bytes;
    }
    archive->records = make_room(NULL, count * sizeof *archive->records);
    archive->bodies = make_room(NULL, bytes);
    for (size_t i = 0; i < archive->block_count; i++) {
        struct tape_record *record = &archive->records[archive->record_count];
        open_block(reader, &archive->blocks[i]);
        for (; tape_block_next(reader, record) == 1; record++, archive->record_count++) {
            if (record->bytes > 0)
                memcpy(archive->bodies + used, record->data, record->bytes);
            record->data = archive->bodies + used;
            used += record->bytes;
            archive->messages += record->kind == TAPE_RECORD_FRAME_IN;
        }
    }
    tape_block_reader_free(reader);
}

static void print_passes(const int64_t *passes, int count)
{
    printf("\"cpu_ns\":[");
    for (int i = 0; i < count; i++)
        printf("%s%lld", i ? "," : "", (long long)passes[i]);
    printf("]}\n");
}

/* ---- packing ---- */

struct sum {
    uint64_t stored_bytes, blocks, template_blocks;
};

static void add_block(struct sum *sum, size_t stored_bytes, int codec)
{
    sum->stored_bytes += TAPE_BLOCK_HEADER_BYTES + stored_bytes;
    sum->template_blocks += codec == TAPE_BLOCK_CODEC_TEMPLATE;
    sum->blocks++;
}

static void seal(struct tape_pack *pack, struct sum *sum)
{
    struct tape_block_header header;
    struct tape_error error;
    uint8_t *stored;
    if (tape_pack_seal(pack, &header, &stored, &error) != 0)
        stop(error.text);
    add_block(sum, header.stored_bytes, header.codec);
}

/* As tape_pack_seal does, but with the simpler codec only, and neither verified nor returned. */
static void seal_grouped(struct tape_pack *pack, struct sum *sum)
{
    memset(pack->bodies.bytes + pack->bodies.length, 0, TAPE_PACK_READ_AHEAD);
    int codec = tape_pack_sort(pack) ? tape_pack_payload(pack, 1) : -1;
    if (codec < 0)
        stop("a block cannot be grouped");
    add_block(sum, pack->stored.length - TAPE_BLOCK_HEADER_BYTES, codec);
    tape_pack_cache_end_block(&pack->cache);
    pack->next_ordinal = pack->first_ordinal + pack->count;
    pack->sealed = 1;
}

static void pack_once(const struct archive *archive, int level,
                      void (*end_block)(struct tape_pack *, struct sum *), struct sum *sum)
{
    struct tape_error error;
    struct tape_pack *pack = tape_pack_new(level);
    if (pack == NULL)
        stop("memory is short");
    memset(sum, 0, sizeof *sum);
    for (size_t i = 0; i < archive->record_count; i++) {
        int status = tape_pack_append(pack, &archive->records[i], &error);
        if (status == 0) {
            end_block(pack, sum);
            status = tape_pack_append(pack, &archive->records[i], &error);
        }
        if (status != 1)
            stop(error.text);
    }
    if (tape_pack_records(pack) > 0)
        end_block(pack, sum);
    tape_pack_free(pack);
}

static void run_pack(const char *path, int level, int passes, int grouped)
{
    struct archive archive = {0};
    struct sum sum;
    int64_t *cpu_ns = make_room(NULL, (size_t)passes * sizeof *cpu_ns);
    load(&archive, path);
    load_records(&archive);
    for (int i = 0; i < passes; i++) {
        int64_t began = bench_now_ns(CLOCK_THREAD_CPUTIME_ID);
        pack_once(&archive, level, grouped ? seal_grouped : seal, &sum);
        cpu_ns[i] = bench_now_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    }
    printf("{\"messages\":%llu,\"stored_bytes\":%llu,\"blocks\":%llu,\"template_blocks\":%llu,",
           (unsigned long long)archive.messages, (unsigned long long)sum.stored_bytes,
           (unsigned long long)sum.blocks, (unsigned long long)sum.template_blocks);
    print_passes(cpu_ns, passes);
}

/* ---- reading ---- */

static int is_wanted(void *context, const char *stream, size_t bytes)
{
    const char *wanted = context;
    return strlen(wanted) == bytes && memcmp(stream, wanted, bytes) == 0;
}

/* Of every byte, eight at once. */
static uint64_t sum_bytes(const uint8_t *data, size_t bytes)
{
    uint64_t sum = bytes, word = 0;
    for (; bytes >= sizeof word; data += sizeof word, bytes -= sizeof word) {
        memcpy(&word, data, sizeof word);
        sum += word;
    }
    word = 0;
    memcpy(&word, data, bytes);
    return sum + word;
}

struct seen {
    uint64_t records, messages, sum;
    uint64_t rest; /* of columns: what two archives with the same messages may differ in */
};

static void read_text(const struct archive *archive, struct tape_block_reader *reader,
                      struct seen *seen, int touch)
{
    struct tape_record record;
    memset(seen, 0, sizeof *seen);
    for (size_t i = 0; i < archive->block_count; i++) {
        open_block(reader, &archive->blocks[i]);
        while (tape_block_next(reader, &record) == 1) {
            seen->records++;
            seen->messages += record.kind == TAPE_RECORD_FRAME_IN;
            seen->sum += (uint64_t)record.recv_ns;
            if (touch)
                seen->sum += sum_bytes(record.data, record.bytes);
        }
    }
}

static uint64_t sum_integers(const int64_t *values, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += (uint64_t)values[i];
    return sum;
}

static uint64_t sum_decimals(const struct tape_columns_of_decimals *column, uint32_t count)
{
    uint64_t sum = column->values ? sum_integers(column->values, count) : (uint64_t)column->value;
    if (column->scales)
        sum += sum_bytes(column->scales, count);
    return column->states ? sum + sum_bytes(column->states, count) : sum;
}

/* What is told, and the rest: how decimals are scaled is the block's choice, as is which entry of a
 * dictionary a word is. */
static void read_batch(const struct tape_columns_batch *batch, struct seen *seen)
{
    seen->messages += batch->rows;
    seen->records += batch->payloads ? batch->rows : 0;
    seen->sum += sum_integers(batch->recv_ns, batch->rows);
    for (uint32_t i = 0; i < batch->rows; i++)
        seen->rest += batch->records[i] + (batch->connections ? batch->connections[i] : 0) +
                      (batch->flags ? batch->flags[i] : 0u);
    for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
        seen->sum += batch->integers[i].values
                         ? sum_integers(batch->integers[i].values, batch->rows)
                         : (uint64_t)batch->integers[i].constant * batch->rows;
    for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++)
        seen->rest += sum_decimals(&batch->decimals[i], batch->rows);
    for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++) {
        const struct tape_columns_of_levels *levels = &batch->levels[i];
        if (levels->begins == NULL)
            continue;
        seen->sum += sum_integers(levels->counts, batch->rows);
        for (uint32_t j = 0; j < batch->rows; j++)
            seen->rest += levels->begins[j];
        seen->rest += sum_decimals(&levels->price, levels->levels);
        seen->rest += sum_decimals(&levels->quantity, levels->levels);
    }
    for (int i = 0; i < TAPE_COLUMNS_WORDS; i++)
        if (batch->words[i].indexes)
            seen->rest += sum_integers(batch->words[i].indexes, batch->rows);
}

/* seen->records: of how many messages the text was rebuilt. */
static void read_columns(const struct archive *archive, struct tape_columns *columns,
                         struct seen *seen, int touch)
{
    struct tape_error error;
    memset(seen, 0, sizeof *seen);
    for (size_t i = 0; i < archive->block_count; i++) {
        const struct tape_columns_batch *batch;
        if (tape_columns_open(columns, &archive->blocks[i].header, archive->blocks[i].stored,
                              &error) != 0)
            stop(error.text);
        while ((batch = tape_columns_next(columns)) != NULL) {
            if (touch)
                read_batch(batch, seen);
            else
                seen->messages += batch->rows;
        }
    }
}

static void print_read(const struct archive *archive, const struct seen *seen,
                       const int64_t *cpu_ns, int passes)
{
    printf("{\"messages\":%llu,\"records\":%llu,\"sum\":\"%016llx\",\"rest\":\"%016llx\","
           "\"file_bytes\":%llu,",
           (unsigned long long)seen->messages, (unsigned long long)seen->records,
           (unsigned long long)seen->sum, (unsigned long long)seen->rest,
           (unsigned long long)archive->file_bytes);
    print_passes(cpu_ns, passes);
}

static void run_columns(const char *path, int passes, char *stream)
{
    struct archive archive = {0};
    struct seen seen = {0}, again;
    int64_t *cpu_ns = make_room(NULL, (size_t)passes * sizeof *cpu_ns);
    struct tape_columns *columns = tape_columns_new();
    load(&archive, path);
    if (stream != NULL)
        tape_columns_select(columns, is_wanted, stream);
    for (int i = 0; i < passes; i++) {
        int64_t began = bench_now_ns(CLOCK_THREAD_CPUTIME_ID);
        read_columns(&archive, columns, i == 0 ? &seen : &again, i == 0);
        cpu_ns[i] = bench_now_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    }
    print_read(&archive, &seen, cpu_ns, passes);
    tape_columns_free(columns);
}

static void run_text(const char *path, int passes, char *stream, int touch)
{
    struct archive archive = {0};
    struct seen seen = {0}, again;
    int64_t *cpu_ns = make_room(NULL, (size_t)passes * sizeof *cpu_ns);
    struct tape_block_reader *reader = tape_block_reader_new();
    load(&archive, path);
    if (stream != NULL)
        tape_block_select(reader, is_wanted, stream);
    for (int i = 0; i < passes; i++) {
        int64_t began = bench_now_ns(CLOCK_THREAD_CPUTIME_ID);
        read_text(&archive, reader, i == 0 ? &seen : &again, touch || i == 0);
        cpu_ns[i] = bench_now_ns(CLOCK_THREAD_CPUTIME_ID) - began;
    }
    print_read(&archive, &seen, cpu_ns, passes);
    tape_block_reader_free(reader);
}

int main(int argc, char **argv)
{
    const char *command = argc > 3 ? argv[1] : "";
    /* Memory that was freed stays, as in tape-record. */
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    int level = argc > 3 && strcmp(argv[2], "cold") == 0 ? TAPE_PACK_COLD : TAPE_PACK_WARM;
    if (strcmp(command, "pack") == 0 && argc == 5)
        run_pack(argv[3], level, (int)strtol(argv[4], NULL, 10), 0);
    else if (strcmp(command, "grouped") == 0 && argc == 4)
        run_pack(argv[3], level, 1, 1);
    else if (strcmp(command, "text") == 0 && (argc == 4 || argc == 5))
        run_text(argv[2], (int)strtol(argv[3], NULL, 10), argc == 5 ? argv[4] : NULL, 0);
    else if (strcmp(command, "touch") == 0 && (argc == 4 || argc == 5))
        run_text(argv[2], (int)strtol(argv[3], NULL, 10), argc == 5 ? argv[4] : NULL, 1);
    else if (strcmp(command, "columns") == 0 && (argc == 4 || argc == 5))
        run_columns(argv[2], (int)strtol(argv[3], NULL, 10), argc == 5 ? argv[4] : NULL);
    else
        return 2;
    return 0;
}
