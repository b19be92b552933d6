#include "format/footer.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/bytes.h"
#include "format/crc32c.h"

enum {
    ENTRY_FIXED_BYTES = 8 + TAPE_BLOCK_HEADER_BYTES,
    LEVEL = 3,
    TABLE_MIN_SLOTS = 64, /* a power of two */
};

/* --- a byte string that grows --- */

struct bytes {
    uint8_t *data;
    size_t length, capacity;
};

/* Room for more bytes at the end; 0 or TAPE_FAILED. */
static int make_room(struct bytes *bytes, size_t more, struct tape_error *error)
{
    if (bytes->length + more <= bytes->capacity)
        return 0;
    size_t capacity = 2 * bytes->capacity + more + 256;
    uint8_t *larger = realloc(bytes->data, capacity);
    if (larger == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for a footer of %zu bytes", capacity);
    bytes->data = larger;
    bytes->capacity = capacity;
    return 0;
}

static void add_varint(struct bytes *bytes, uint64_t value)
{
    bytes->length += tape_bytes_put_varint(bytes->data + bytes->length, value);
}

/* --- writing --- */

struct stream {
    size_t name_at; /* in names: the bytes, after their length */
    uint32_t name_bytes;
    uint32_t next; /* in the hash chain: number + 1, or 0 */
    uint32_t seen; /* blocks at the time of the last count + 1: finds a name given twice */
    uint64_t messages, bytes;
};

/*
 * Invariants:
 * - entries is what the blocks part of the raw footer will be; names likewise;
 * - last_at is entries' length before the last block;
 * - table has table_slots (a power of two) heads of hash chains over streams.
 */
struct tape_footer_builder {
    struct bytes entries, names;
    size_t last_at, counts_bytes;
    uint32_t blocks;
    uint64_t records, last_records;
    struct stream *streams;
    uint32_t streams_length, streams_capacity;
    uint32_t *table;
    uint32_t table_slots;
    uint32_t *order; /* the streams of the block that is being added */
};

struct tape_footer_builder *tape_footer_builder_new(void)
{
    struct tape_footer_builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL)
        return NULL;
    builder->table_slots = TABLE_MIN_SLOTS;
    builder->table = calloc(TABLE_MIN_SLOTS, sizeof *builder->table);
    if (builder->table == NULL) {
        free(builder);
        return NULL;
    }
    return builder;
}

void tape_footer_builder_free(struct tape_footer_builder *builder)
{
    if (builder == NULL)
        return;
    free(builder->entries.data);
    free(builder->names.data);
    free(builder->streams);
    free(builder->table);
    free(builder->order);
    free(builder);
}

/* FNV-1a, 32 bits, folded. The names are a venue's; a bad spread costs time on one block only. */
static uint32_t hash(const char *name, uint32_t bytes)
{
    uint32_t sum = 2166136261u;
    for (uint32_t i = 0; i < bytes; i++)
        sum = (sum ^ (uint8_t)name[i]) * 16777619u;
    return sum ^ (sum >> 16);
}

static int grow_streams(struct tape_footer_builder *builder, struct tape_error *error)
{
    if (builder->streams_length < builder->streams_capacity)
        return 0;
    uint32_t capacity = 2 * builder->streams_capacity + 32;
    struct stream *streams = realloc(builder->streams, capacity * sizeof *streams);
    if (streams != NULL)
        builder->streams = streams;
    uint32_t *order = realloc(builder->order, capacity * sizeof *order);
    if (order != NULL)
        builder->order = order;
    uint32_t slots = builder->table_slots;
    while (slots < capacity)
        slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table);
    if (streams == NULL || order == NULL || table == NULL) {
        free(table);
        return tape_error_set(error, TAPE_FAILED, "no memory for %u streams", capacity);
    }
    for (uint32_t i = 0; i < builder->streams_length; i++) {
        const char *name = (const char *)builder->names.data + streams[i].name_at;
        uint32_t *head = &table[hash(name, streams[i].name_bytes) & (slots - 1)];
        streams[i].next = *head;
        *head = i + 1;
    }
    free(builder->table);
    builder->table = table;
    builder->table_slots = slots;
    builder->streams_capacity = capacity;
    return 0;
}

/* The stream's number, made when new; or a status: TAPE_LIMIT when no more may be made. */
static int64_t find_stream(struct tape_footer_builder *builder, const char *name, uint32_t bytes,
                           struct tape_error *error)
{
    if (bytes > TAPE_SEGMENT_STREAM_NAME_MAX_BYTES)
        bytes = TAPE_SEGMENT_STREAM_NAME_MAX_BYTES;
    uint32_t sum = hash(name, bytes);
    for (uint32_t i = builder->table[sum & (builder->table_slots - 1)]; i != 0;
         i = builder->streams[i - 1].next) {
        const struct stream *stream = &builder->streams[i - 1];
        if (stream->name_bytes == bytes &&
            memcmp(builder->names.data + stream->name_at, name, bytes) == 0)
            return i - 1;
    }
    if (builder->streams_length == TAPE_FOOTER_STREAMS_MAX ||
        builder->names.length + builder->counts_bytes + bytes + 2 > TAPE_FOOTER_COUNTS_MAX_BYTES)
        return TAPE_LIMIT;
    int status = make_room(&builder->names, TAPE_VARINT_MAX_BYTES + (size_t)bytes, error);
    if (status == 0)
        status = grow_streams(builder, error);
    if (status < 0)
        return status;
    add_varint(&builder->names, bytes);
    uint32_t *head = &builder->table[sum & (builder->table_slots - 1)];
    builder->streams[builder->streams_length] =
        (struct stream){.name_at = builder->names.length, .name_bytes = bytes, .next = *head};
    *head = ++builder->streams_length;
    if (bytes > 0)
        memcpy(builder->names.data + builder->names.length, name, bytes);
    builder->names.length += bytes;
    return builder->streams_length - 1;
}

/* Sums the counts by stream (a cut name may come twice) into streams and order. Returns how many
 * streams, or a status. */
static int64_t collect_counts(struct tape_footer_builder *builder,
                              const struct tape_segment_stream_count *counts, size_t length,
                              struct tape_error *error)
{
    uint32_t found = 0;
    for (size_t i = 0; i < length; i++) {
        int64_t number = find_stream(builder, counts[i].name, counts[i].name_bytes, error);
        if (number < 0)
            return number;
        struct stream *stream = &builder->streams[number];
        if (stream->seen != builder->blocks + 1) {
            stream->seen = builder->blocks + 1;
            stream->messages = stream->bytes = 0;
            builder->order[found++] = (uint32_t)number;
        }
        stream->messages += counts[i].messages;
        stream->bytes += counts[i].bytes;
    }
    return found;
}

/* Appends the counts of one block to entries, or "not counted". */
static int add_counts(struct tape_footer_builder *builder,
                      const struct tape_segment_stream_count *counts, size_t length,
                      struct tape_error *error)
{
    int64_t found = counts == NULL ? TAPE_LIMIT : collect_counts(builder, counts, length, error);
    size_t most = TAPE_VARINT_MAX_BYTES * (1 + 3 * (found < 0 ? 0 : (size_t)found));
    if (found >= 0 &&
        builder->names.length + builder->counts_bytes + most > TAPE_FOOTER_COUNTS_MAX_BYTES)
        found = TAPE_LIMIT;
    if (found < 0 && found != TAPE_LIMIT)
        return (int)found;
    int status = make_room(&builder->entries, most, error);
    if (status < 0)
        return status;
    size_t from = builder->entries.length;
    add_varint(&builder->entries, found < 0 ? 0 : (uint64_t)found + 1);
    for (int64_t i = 0; i < found; i++) {
        const struct stream *stream = &builder->streams[builder->order[i]];
        add_varint(&builder->entries, builder->order[i]);
        add_varint(&builder->entries, stream->messages);
        add_varint(&builder->entries, stream->bytes);
    }
    builder->counts_bytes += builder->entries.length - from;
    return 0;
}

/* The marks of a block that did not come to be would hide its streams from the next one. */
static void forget_seen(struct tape_footer_builder *builder)
{
    for (uint32_t i = 0; i < builder->streams_length; i++)
        builder->streams[i].seen = 0;
}

int tape_footer_add(struct tape_footer_builder *builder, uint64_t offset,
                    const uint8_t header[TAPE_BLOCK_HEADER_BYTES],
                    const struct tape_segment_stream_count *counts, size_t counts_length,
                    struct tape_error *error)
{
    struct tape_block_header fields;
    int status = tape_block_header_get(header, &fields, error);
    if (status == 0)
        status = make_room(&builder->entries, ENTRY_FIXED_BYTES, error);
    if (status < 0)
        return status;
    size_t from = builder->entries.length;
    tape_bytes_put_u64(builder->entries.data + from, offset);
    memcpy(builder->entries.data + from + 8, header, TAPE_BLOCK_HEADER_BYTES);
    builder->entries.length += ENTRY_FIXED_BYTES;
    status = add_counts(builder, counts, counts_length, error);
    if (status < 0) {
        builder->entries.length = from;
        forget_seen(builder);
        return status;
    }
    builder->last_at = from;
    builder->last_records = fields.records;
    builder->records += fields.records;
    builder->blocks++;
    return 0;
}

void tape_footer_drop_last(struct tape_footer_builder *builder)
{
    builder->counts_bytes -= builder->entries.length - builder->last_at - ENTRY_FIXED_BYTES;
    builder->entries.length = builder->last_at;
    builder->records -= builder->last_records;
    builder->blocks--;
    forget_seen(builder);
}

size_t tape_footer_raw_bytes(const struct tape_footer_builder *builder)
{
    return 2 * TAPE_VARINT_MAX_BYTES + builder->names.length + builder->entries.length;
}

uint64_t tape_footer_records(const struct tape_footer_builder *builder)
{
    return builder->records;
}

int tape_footer_encode(const struct tape_footer_builder *builder, struct tape_block_header *header,
                       uint8_t **bytes, size_t *bytes_length, struct tape_error *error)
{
    struct bytes raw = {0};
    int status = make_room(&raw, tape_footer_raw_bytes(builder), error);
    if (status < 0)
        return status;
    add_varint(&raw, builder->blocks);
    add_varint(&raw, builder->streams_length);
    if (builder->names.length > 0)
        memcpy(raw.data + raw.length, builder->names.data, builder->names.length);
    raw.length += builder->names.length;
    if (builder->entries.length > 0)
        memcpy(raw.data + raw.length, builder->entries.data, builder->entries.length);
    raw.length += builder->entries.length;

    size_t bound = ZSTD_compressBound(raw.length);
    uint8_t *block = malloc(TAPE_BLOCK_HEADER_BYTES + bound + TAPE_SEGMENT_TRAILER_BYTES);
    if (block == NULL) {
        free(raw.data);
        return tape_error_set(error, TAPE_FAILED, "no memory for a footer of %zu bytes", bound);
    }
    uint8_t *payload = block + TAPE_BLOCK_HEADER_BYTES;
    size_t stored = ZSTD_compress(payload, bound, raw.data, raw.length, LEVEL);
    size_t raw_bytes = raw.length;
    free(raw.data);
    if (ZSTD_isError(stored)) {
        free(block);
        return tape_error_set(error, TAPE_FAILED, "compressing a footer: %s",
                              ZSTD_getErrorName(stored));
    }
    header->codec = TAPE_BLOCK_CODEC_FOOTER;
    header->level = LEVEL;
    header->flags = 0;
    header->records = 0;
    header->min_recv_ns = header->max_recv_ns = 0;
    header->stored_bytes = (uint32_t)stored;
    header->raw_bytes = (uint32_t)raw_bytes;
    header->payload_crc32c = tape_crc32c_update(0, payload, stored);
    tape_block_header_put(block, header);
    *bytes = block;
    *bytes_length = TAPE_BLOCK_HEADER_BYTES + stored;
    return 0;
}

/* --- reading --- */

struct scan {
    const uint8_t *raw;
    size_t at, length;
};

static int take_varint(struct scan *scan, uint64_t limit, uint64_t *value)
{
    size_t used = tape_bytes_get_varint(scan->raw + scan->at, scan->length - scan->at, value);
    scan->at += used;
    return used > 0 && *value <= limit;
}

static int decode_names(struct tape_footer *footer, struct scan *scan)
{
    for (uint32_t i = 0; i < footer->streams; i++) {
        uint64_t bytes;
        footer->names_at[i] = (uint32_t)scan->at;
        if (!take_varint(scan, TAPE_SEGMENT_STREAM_NAME_MAX_BYTES, &bytes) ||
            bytes > scan->length - scan->at)
            return 0;
        scan->at += bytes;
    }
    return 1;
}

/* Passes over one block's counts. */
static int decode_counts(struct tape_footer *footer, uint32_t block, struct scan *scan)
{
    uint64_t counts, value;
    size_t from = scan->at;
    if (!take_varint(scan, (uint64_t)footer->streams + 1, &counts))
        return 0;
    footer->counts_at[block] = counts == 0 ? 0 : (uint32_t)from;
    for (uint64_t i = 1; i < counts; i++)
        if (footer->streams == 0 || !take_varint(scan, footer->streams - 1, &value) ||
            !take_varint(scan, UINT64_MAX, &value) || !take_varint(scan, UINT64_MAX, &value))
            return 0;
    return 1;
}

/* What is wrong with entry ${index} of the footer at ${end}, or NULL. */
static const char *find_fault(const struct tape_footer *footer, uint32_t index,
                              const struct tape_block_header *own, uint64_t end)
{
    const struct tape_segment_entry *entry = &footer->entries[index];
    const struct tape_segment_entry *before = index > 0 ? entry - 1 : NULL;
    uint64_t from = TAPE_SEGMENT_HEADER_BYTES, ordinal = 0;
    if (before != NULL) {
        from = before->offset + TAPE_BLOCK_HEADER_BYTES + before->header.stored_bytes;
        ordinal = before->header.first_ordinal + before->header.records;
    }
    if (entry->header.codec == TAPE_BLOCK_CODEC_FOOTER || entry->header.segment != own->segment ||
        entry->header.archive_tag != own->archive_tag)
        return "is not of this segment";
    if (entry->offset < from || entry->offset > end ||
        end - entry->offset < TAPE_BLOCK_HEADER_BYTES + (uint64_t)entry->header.stored_bytes)
        return "lies outside its place";
    if (entry->header.first_ordinal < ordinal ||
        (before != NULL && entry->header.number <= before->header.number))
        return "is out of order";
    return NULL;
}

static int decode_entries(struct tape_footer *footer, const struct tape_block_header *own,
                          uint64_t end, struct scan *scan, struct tape_error *error)
{
    for (uint32_t i = 0; i < footer->blocks; i++) {
        if (scan->length - scan->at < ENTRY_FIXED_BYTES)
            return tape_error_set(error, TAPE_CORRUPT, "it ends inside block %u", i);
        struct tape_segment_entry *entry = &footer->entries[i];
        entry->offset = tape_bytes_get_u64(scan->raw + scan->at);
        int status = tape_block_header_get(scan->raw + scan->at + 8, &entry->header, error);
        if (status < 0)
            return tape_error_wrap(error, "its block %u", i);
        scan->at += ENTRY_FIXED_BYTES;
        const char *fault = find_fault(footer, i, own, end);
        if (fault != NULL)
            return tape_error_set(error, TAPE_CORRUPT, "its block %u %s", i, fault);
        if (!decode_counts(footer, i, scan))
            return tape_error_set(error, TAPE_CORRUPT, "the counts of its block %u", i);
        footer->records += entry->header.records;
    }
    if (scan->at != scan->length)
        return tape_error_set(error, TAPE_CORRUPT, "bytes follow its last block");
    return 0;
}

static int decode_raw(struct tape_footer *footer, const struct tape_block_header *own, uint64_t end,
                      struct tape_error *error)
{
    struct scan scan = {.raw = footer->raw, .length = own->raw_bytes};
    uint64_t blocks, streams;
    uint64_t most = own->raw_bytes / ENTRY_FIXED_BYTES;
    if (most > TAPE_SEGMENT_BLOCKS_MAX)
        most = TAPE_SEGMENT_BLOCKS_MAX;
    if (!take_varint(&scan, most, &blocks) ||
        !take_varint(&scan, TAPE_FOOTER_STREAMS_MAX, &streams) || streams > own->raw_bytes)
        return tape_error_set(error, TAPE_CORRUPT, "its numbers of blocks and streams");
    footer->blocks = (uint32_t)blocks;
    footer->streams = (uint32_t)streams;
    footer->entries = calloc(blocks + 1, sizeof *footer->entries);
    footer->counts_at = calloc(blocks + 1, sizeof *footer->counts_at);
    footer->names_at = calloc(streams + 1, sizeof *footer->names_at);
    if (footer->entries == NULL || footer->counts_at == NULL || footer->names_at == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for %u blocks", footer->blocks);
    if (!decode_names(footer, &scan))
        return tape_error_set(error, TAPE_CORRUPT, "its stream names");
    return decode_entries(footer, own, end, &scan, error);
}

int tape_footer_decode(struct tape_footer *footer, const struct tape_block_header *header,
                       const uint8_t *payload, uint64_t offset, struct tape_error *error)
{
    memset(footer, 0, sizeof *footer);
    if (tape_crc32c_update(0, payload, header->stored_bytes) != header->payload_crc32c)
        return tape_error_set(error, TAPE_CORRUPT, "checksum mismatch");
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    footer->raw = malloc(header->raw_bytes);
    int status = 0;
    if (zstd == NULL || footer->raw == NULL)
        status = tape_error_set(error, TAPE_FAILED, "no memory for %u bytes", header->raw_bytes);
    if (status == 0)
        status = tape_block_inflate(zstd, header, payload, footer->raw, error);
    ZSTD_freeDCtx(zstd);
    if (status == 0)
        status = decode_raw(footer, header, offset, error);
    if (status < 0)
        tape_footer_clear(footer);
    return status;
}

void tape_footer_clear(struct tape_footer *footer)
{
    free(footer->raw);
    free(footer->entries);
    free(footer->counts_at);
    free(footer->names_at);
    memset(footer, 0, sizeof *footer);
}

/* Numbers that decode_counts() and decode_names() have checked. */
static uint64_t take_checked(const uint8_t **at)
{
    uint64_t value = 0;
    *at += tape_bytes_get_varint(*at, TAPE_VARINT_MAX_BYTES, &value);
    return value;
}

int tape_footer_counts(const struct tape_footer *footer, uint32_t block,
                       void (*each)(void *context, const struct tape_segment_stream_count *count),
                       void *context)
{
    if (block >= footer->blocks || footer->counts_at[block] == 0)
        return TAPE_MISSING;
    const uint8_t *at = footer->raw + footer->counts_at[block];
    uint64_t counts = take_checked(&at) - 1;
    for (uint64_t i = 0; i < counts; i++) {
        const uint8_t *name = footer->raw + footer->names_at[take_checked(&at)];
        struct tape_segment_stream_count count = {0};
        count.messages = take_checked(&at);
        count.bytes = take_checked(&at);
        count.name_bytes = (uint32_t)take_checked(&name);
        count.name = (const char *)name;
        each(context, &count);
    }
    return 0;
}
