#include "format/block.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/bytes.h"
#include "format/crc32c.h"
#include "format/packed.h"

static const char magic[4] = {'T', 'B', 'K', '1'};

enum {
    RECORD_MIN_BYTES = 5, /* kind and four varints */
    WINDOW_MAX_BYTES = 32 << 20,
    CRC_FROM = 8, /* the header CRC covers the header from here on */
};

/* --- header --- */

void tape_block_header_put(uint8_t to[TAPE_BLOCK_HEADER_BYTES],
                           const struct tape_block_header *header)
{
    memcpy(to, magic, sizeof magic);
    tape_bytes_put_u32(to + 8, header->payload_crc32c);
    tape_bytes_put_u32(to + 12, header->stored_bytes);
    tape_bytes_put_u32(to + 16, header->raw_bytes);
    tape_bytes_put_u32(to + 20, header->records);
    tape_bytes_put_u64(to + 24, header->first_ordinal);
    tape_bytes_put_i64(to + 32, header->min_recv_ns);
    tape_bytes_put_i64(to + 40, header->max_recv_ns);
    tape_bytes_put_i64(to + 48, header->realtime_minus_monotonic_ns);
    tape_bytes_put_u32(to + 56, header->previous_stored_bytes);
    tape_bytes_put_u32(to + 60, header->segment);
    tape_bytes_put_u32(to + 64, header->number);
    to[68] = header->codec;
    to[69] = header->level;
    tape_bytes_put_u16(to + 70, header->flags);
    tape_bytes_put_u64(to + 72, header->archive_tag);
    tape_bytes_put_u32(to + 4,
                       tape_crc32c_update(0, to + CRC_FROM, TAPE_BLOCK_HEADER_BYTES - CRC_FROM));
}

static void get_fields(const uint8_t from[TAPE_BLOCK_HEADER_BYTES],
                       struct tape_block_header *header)
{
    header->payload_crc32c = tape_bytes_get_u32(from + 8);
    header->stored_bytes = tape_bytes_get_u32(from + 12);
    header->raw_bytes = tape_bytes_get_u32(from + 16);
    header->records = tape_bytes_get_u32(from + 20);
    header->first_ordinal = tape_bytes_get_u64(from + 24);
    header->min_recv_ns = tape_bytes_get_i64(from + 32);
    header->max_recv_ns = tape_bytes_get_i64(from + 40);
    header->realtime_minus_monotonic_ns = tape_bytes_get_i64(from + 48);
    header->previous_stored_bytes = tape_bytes_get_u32(from + 56);
    header->segment = tape_bytes_get_u32(from + 60);
    header->number = tape_bytes_get_u32(from + 64);
    header->codec = from[68];
    header->level = from[69];
    header->flags = tape_bytes_get_u16(from + 70);
    header->archive_tag = tape_bytes_get_u64(from + 72);
}

/* What no valid header says, or NULL. Everything a reader allocates or adds up hangs on this. */
static const char *find_fault(const struct tape_block_header *header)
{
    if (header->stored_bytes == 0 || header->stored_bytes > TAPE_BLOCK_STORED_MAX_BYTES)
        return "stored length is out of bounds";
    if (header->raw_bytes == 0 || header->raw_bytes > TAPE_BLOCK_RAW_MAX_BYTES)
        return "raw length is out of bounds";
    if (header->codec == TAPE_BLOCK_CODEC_STORED && header->stored_bytes != header->raw_bytes)
        return "stored and raw length of a stored block differ";
    if (header->flags != 0)
        return "reserved flags are set";
    if (header->first_ordinal > (1ull << 63) - header->records)
        return "ordinal is out of bounds";
    if (header->codec == TAPE_BLOCK_CODEC_FOOTER) {
        if (header->records != 0 || header->min_recv_ns != 0 || header->max_recv_ns != 0)
            return "a footer counts records";
        return NULL;
    }
    if (header->records == 0 || header->records > header->raw_bytes / RECORD_MIN_BYTES)
        return "record count is out of bounds";
    if (header->min_recv_ns > header->max_recv_ns)
        return "times are out of order";
    return NULL;
}

int tape_block_header_get(const uint8_t from[TAPE_BLOCK_HEADER_BYTES],
                          struct tape_block_header *header, struct tape_error *error)
{
    if (memcmp(from, magic, sizeof magic) != 0)
        return tape_error_set(error, TAPE_CORRUPT, "no block header");
    if (tape_bytes_get_u32(from + 4) !=
        tape_crc32c_update(0, from + CRC_FROM, TAPE_BLOCK_HEADER_BYTES - CRC_FROM))
        return tape_error_set(error, TAPE_CORRUPT, "header checksum mismatch");
    get_fields(from, header);
    const char *fault = find_fault(header);
    if (fault != NULL)
        return tape_error_set(error, TAPE_CORRUPT, "%s", fault);
    return 0;
}

/* --- building --- */

/*
 * Invariants:
 * - the first record's body starts at buffer + FIRST_BODY; its head is put right before it when the
 *   block is sealed, for only then is the smallest recv_ns known that it counts from;
 * - the records after the first follow it complete, up to end; FIRST_BODY <= end <= capacity;
 * - sealed = 1: the next append starts anew; records and times are kept for the getters until then.
 */
struct tape_block_builder {
    ZSTD_CCtx *zstd;
    uint8_t *buffer;
    size_t capacity, end;
    uint8_t *compressed; /* TAPE_BLOCK_HEADER_BYTES of room, then the frame */
    size_t compressed_capacity;
    struct tape_record first; /* data is not valid */
    int64_t last_recv_ns, min_recv_ns, max_recv_ns;
    uint32_t records;
    int sealed;
};

enum { FIRST_BODY = TAPE_BLOCK_HEADER_BYTES + TAPE_RECORD_HEAD_MAX_BYTES };

struct tape_block_builder *tape_block_builder_new(void)
{
    struct tape_block_builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL)
        return NULL;
    builder->zstd = ZSTD_createCCtx();
    builder->end = FIRST_BODY;
    if (builder->zstd == NULL) {
        free(builder);
        return NULL;
    }
    return builder;
}

void tape_block_builder_free(struct tape_block_builder *builder)
{
    if (builder == NULL)
        return;
    ZSTD_freeCCtx(builder->zstd);
    free(builder->buffer);
    free(builder->compressed);
    free(builder);
}

/* Grows *buffer to at least bytes; what it held stays. 0 or TAPE_FAILED. */
static int grow(uint8_t **buffer, size_t *capacity, size_t bytes, struct tape_error *error)
{
    if (bytes <= *capacity)
        return 0;
    uint8_t *larger = realloc(*buffer, bytes);
    if (larger == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for a block of %zu bytes", bytes);
    *buffer = larger;
    *capacity = bytes;
    return 0;
}

static void start_anew(struct tape_block_builder *builder)
{
    builder->sealed = 0;
    builder->records = 0;
    builder->end = FIRST_BODY;
}

static int append_first(struct tape_block_builder *builder, const struct tape_record *record,
                        struct tape_error *error)
{
    size_t usual = FIRST_BODY + TAPE_BLOCK_SEAL_BYTES;
    size_t needed = FIRST_BODY + (size_t)record->bytes;
    int status = grow(&builder->buffer, &builder->capacity, needed > usual ? needed : usual, error);
    if (status < 0)
        return status;
    if (record->bytes > 0)
        memcpy(builder->buffer + FIRST_BODY, record->data, record->bytes);
    builder->end = needed;
    builder->first = *record;
    builder->min_recv_ns = builder->max_recv_ns = record->recv_ns;
    return 1;
}

int tape_block_check_record(const struct tape_record *record, uint64_t first_ordinal,
                            uint32_t records, struct tape_error *error)
{
    if (record->bytes > TAPE_RECORD_MAX_BYTES)
        return tape_error_set(error, TAPE_LIMIT, "a record of %u bytes is longer than %d",
                              record->bytes, TAPE_RECORD_MAX_BYTES);
    if (record->kind == 0 || record->ordinal >= 1ull << 63)
        return tape_error_set(error, TAPE_USAGE, "a record has no kind or no ordinal");
    if (records > 0 && record->ordinal != first_ordinal + records)
        return tape_error_set(error, TAPE_USAGE, "ordinal %llu follows %llu in a block",
                              (unsigned long long)record->ordinal,
                              (unsigned long long)first_ordinal + records - 1);
    return 0;
}

int tape_block_append(struct tape_block_builder *builder, const struct tape_record *record,
                      struct tape_error *error)
{
    int status =
        tape_block_check_record(record, builder->first.ordinal, tape_block_records(builder), error);
    if (status < 0)
        return status;
    if (builder->sealed)
        start_anew(builder);
    if (builder->records == 0) {
        status = append_first(builder, record, error);
        if (status < 0)
            return status;
    } else {
        size_t most = TAPE_RECORD_HEAD_MAX_BYTES + (size_t)record->bytes;
        if (tape_block_raw_bytes(builder) + most > TAPE_BLOCK_SEAL_BYTES)
            return 0;
        builder->end +=
            tape_record_put(builder->buffer + builder->end, record, builder->last_recv_ns);
    }
    if (record->recv_ns < builder->min_recv_ns)
        builder->min_recv_ns = record->recv_ns;
    if (record->recv_ns > builder->max_recv_ns)
        builder->max_recv_ns = record->recv_ns;
    builder->last_recv_ns = record->recv_ns;
    builder->records++;
    return 1;
}

uint32_t tape_block_records(const struct tape_block_builder *builder)
{
    return builder->sealed ? 0 : builder->records;
}

size_t tape_block_raw_bytes(const struct tape_block_builder *builder)
{
    return tape_block_records(builder) == 0 ? 0 : builder->end - TAPE_BLOCK_HEADER_BYTES;
}

/* Puts the first record's head before its body; returns where the raw bytes begin. */
static uint8_t *complete_first(struct tape_block_builder *builder)
{
    uint8_t head[TAPE_RECORD_HEAD_MAX_BYTES];
    size_t bytes = tape_record_put_head(head, &builder->first, builder->min_recv_ns);
    uint8_t *raw = builder->buffer + FIRST_BODY - bytes;
    memcpy(raw, head, bytes);
    return raw;
}

/* At level 1, matches of at least seven bytes in a small table: on tick JSON that is a little
 * smaller and faster than zstd's own choice, which takes short runs of digits for matches. */
size_t tape_block_deflate(struct ZSTD_CCtx_s *zstd, int level, void *to, size_t capacity,
                          const void *from, size_t bytes)
{
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_minMatch, level == 1 ? 7 : 0);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_hashLog, level == 1 ? 12 : 0);
    return ZSTD_compress2(zstd, to, capacity, from, bytes);
}

/* Compresses raw into builder->compressed. The frame's length, 0 when that would not save a byte,
 * or a status. */
static int64_t compress(struct tape_block_builder *builder, const uint8_t *raw, size_t raw_bytes,
                        int level, struct tape_error *error)
{
    size_t bound = ZSTD_compressBound(raw_bytes);
    int status = grow(&builder->compressed, &builder->compressed_capacity,
                      TAPE_BLOCK_HEADER_BYTES + bound, error);
    if (status < 0)
        return status;
    size_t bytes = tape_block_deflate(
        builder->zstd, level, builder->compressed + TAPE_BLOCK_HEADER_BYTES, bound, raw, raw_bytes);
    if (ZSTD_isError(bytes))
        return tape_error_set(error, TAPE_FAILED, "compressing a block: %s",
                              ZSTD_getErrorName(bytes));
    return bytes < raw_bytes ? (int64_t)bytes : 0;
}

int tape_block_seal(struct tape_block_builder *builder, int codec, int level,
                    struct tape_block_header *header, uint8_t **stored, struct tape_error *error)
{
    if (tape_block_records(builder) == 0)
        return tape_error_set(error, TAPE_USAGE, "a block without records cannot be sealed");
    if (codec != TAPE_BLOCK_CODEC_STORED && codec != TAPE_BLOCK_CODEC_INTERLEAVED)
        return tape_error_set(error, TAPE_USAGE, "codec %d cannot be written", codec);
    uint8_t *raw = complete_first(builder);
    size_t raw_bytes = (size_t)(builder->buffer + builder->end - raw);
    int64_t compressed_bytes = 0;
    if (codec == TAPE_BLOCK_CODEC_INTERLEAVED) {
        compressed_bytes = compress(builder, raw, raw_bytes, level, error);
        if (compressed_bytes < 0)
            return (int)compressed_bytes;
    }
    memset(header, 0, sizeof *header);
    header->codec = compressed_bytes > 0 ? TAPE_BLOCK_CODEC_INTERLEAVED : TAPE_BLOCK_CODEC_STORED;
    header->level = compressed_bytes > 0 ? (uint8_t)level : 0;
    header->raw_bytes = (uint32_t)raw_bytes;
    header->stored_bytes = (uint32_t)(compressed_bytes > 0 ? (size_t)compressed_bytes : raw_bytes);
    header->records = builder->records;
    header->first_ordinal = builder->first.ordinal;
    header->min_recv_ns = builder->min_recv_ns;
    header->max_recv_ns = builder->max_recv_ns;
    *stored = compressed_bytes > 0 ? builder->compressed : raw - TAPE_BLOCK_HEADER_BYTES;
    header->payload_crc32c =
        tape_crc32c_update(0, *stored + TAPE_BLOCK_HEADER_BYTES, header->stored_bytes);
    builder->sealed = 1;
    return 0;
}

/* --- reading --- */

/* Invariants: [at, end) holds exactly `left` whole records, checked by tape_block_open(); or
 * is_packed = 1, and packed holds the open block. */
struct tape_block_reader {
    ZSTD_DCtx *zstd;
    uint8_t *raw;
    size_t capacity;
    const uint8_t *at, *end;
    uint32_t left;
    uint64_t ordinal;
    int64_t recv_ns;
    tape_block_wants *wants; /* NULL: all streams */
    void *wants_context;
    struct tape_packed *packed; /* NULL until there is a packed block */
    int is_packed;
};

struct tape_block_reader *tape_block_reader_new(void)
{
    struct tape_block_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return NULL;
    reader->zstd = ZSTD_createDCtx();
    if (reader->zstd == NULL) {
        free(reader);
        return NULL;
    }
    return reader;
}

void tape_block_reader_free(struct tape_block_reader *reader)
{
    if (reader == NULL)
        return;
    ZSTD_freeDCtx(reader->zstd);
    tape_packed_free(reader->packed);
    free(reader->raw);
    free(reader);
}

/* The window a zstd frame header asks for (RFC 8878, 3.1.1.1.2), or 0 when it is none that the
 * format allows. The caller has checked that the content size is known. */
static uint64_t find_window_bytes(const uint8_t *frame, size_t bytes)
{
    enum { DICTIONARY_ID = 0x03, RESERVED = 0x08, SINGLE_SEGMENT = 0x20 };
    if (bytes < 6 || tape_bytes_get_u32(frame) != ZSTD_MAGICNUMBER)
        return 0;
    if (frame[4] & (DICTIONARY_ID | RESERVED))
        return 0;
    if (frame[4] & SINGLE_SEGMENT)
        return 1; /* the content is the window */
    uint64_t base = 1ull << (10 + (frame[5] >> 3));
    return base + base / 8 * (frame[5] & 7);
}

int tape_block_inflate(struct ZSTD_DCtx_s *zstd, const struct tape_block_header *header,
                       const uint8_t *stored, uint8_t *raw, struct tape_error *error)
{
    size_t bytes = header->stored_bytes;
    uint64_t window = find_window_bytes(stored, bytes);
    if (window == 0)
        return tape_error_set(error, TAPE_CORRUPT, "the payload is not a zstd frame as specified");
    if (window > WINDOW_MAX_BYTES)
        return tape_error_set(error, TAPE_CORRUPT, "the zstd frame asks for a window of %llu bytes",
                              (unsigned long long)window);
    if (ZSTD_getFrameContentSize(stored, bytes) != header->raw_bytes)
        return tape_error_set(error, TAPE_CORRUPT, "the zstd frame states another length");
    if (ZSTD_findFrameCompressedSize(stored, bytes) != bytes)
        return tape_error_set(error, TAPE_CORRUPT, "the payload is not exactly one zstd frame");
    size_t got = ZSTD_decompressDCtx(zstd, raw, header->raw_bytes, stored, bytes);
    if (ZSTD_isError(got))
        return tape_error_set(error, TAPE_CORRUPT, "decompressing: %s", ZSTD_getErrorName(got));
    if (got != header->raw_bytes)
        return tape_error_set(error, TAPE_CORRUPT, "decompressed to another length");
    return 0;
}

/* Walks all records once: their bounds, their number, their times. */
static int check_records(const uint8_t *raw, const struct tape_block_header *header,
                         struct tape_error *error)
{
    const uint8_t *at = raw, *end = raw + header->raw_bytes;
    struct tape_record record = {.recv_ns = header->min_recv_ns};
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (uint32_t i = 0; i < header->records; i++) {
        size_t used = tape_record_get(at, (size_t)(end - at), record.recv_ns, &record);
        if (used == 0)
            return tape_error_set(error, TAPE_CORRUPT, "record %u at byte %zu is none", i,
                                  (size_t)(at - raw));
        at += used;
        min = record.recv_ns < min ? record.recv_ns : min;
        max = record.recv_ns > max ? record.recv_ns : max;
    }
    if (at != end)
        return tape_error_set(error, TAPE_CORRUPT, "%zu bytes follow the last record",
                              (size_t)(end - at));
    if (min != header->min_recv_ns || max != header->max_recv_ns)
        return tape_error_set(error, TAPE_CORRUPT, "the records' times are not the header's");
    return 0;
}

static int open_packed(struct tape_block_reader *reader, const struct tape_block_header *header,
                       const uint8_t *stored, struct tape_error *error)
{
    if (reader->packed == NULL)
        reader->packed = tape_packed_new();
    if (reader->packed == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory to read packed blocks");
    int status = tape_packed_open(reader->packed, header, stored, reader->wants,
                                  reader->wants_context, error);
    reader->is_packed = status == 0;
    return status;
}

int tape_block_open(struct tape_block_reader *reader, const struct tape_block_header *header,
                    const uint8_t *stored, struct tape_error *error)
{
    reader->left = 0;
    reader->is_packed = 0;
    const char *fault = find_fault(header);
    if (fault != NULL)
        return tape_error_set(error, TAPE_CORRUPT, "%s", fault);
    if (tape_crc32c_update(0, stored, header->stored_bytes) != header->payload_crc32c)
        return tape_error_set(error, TAPE_CORRUPT, "checksum mismatch");
    if (header->codec == TAPE_BLOCK_CODEC_GROUPED || header->codec == TAPE_BLOCK_CODEC_TEMPLATE)
        return open_packed(reader, header, stored, error);
    if (header->codec != TAPE_BLOCK_CODEC_STORED && header->codec != TAPE_BLOCK_CODEC_INTERLEAVED)
        return tape_error_set(error, TAPE_FAILED, "codec %u is not known to this version",
                              header->codec);
    int status = grow(&reader->raw, &reader->capacity, header->raw_bytes, error);
    if (status < 0)
        return status;
    if (header->codec == TAPE_BLOCK_CODEC_STORED)
        memcpy(reader->raw, stored, header->raw_bytes);
    else
        status = tape_block_inflate(reader->zstd, header, stored, reader->raw, error);
    if (status == 0)
        status = check_records(reader->raw, header, error);
    if (status < 0)
        return status;
    reader->at = reader->raw;
    reader->end = reader->raw + header->raw_bytes;
    reader->left = header->records;
    reader->ordinal = header->first_ordinal;
    reader->recv_ns = header->min_recv_ns;
    return 0;
}

int tape_block_next(struct tape_block_reader *reader, struct tape_record *record)
{
    if (reader->is_packed)
        return tape_packed_next(reader->packed, record);
    if (reader->left == 0)
        return 0;
    reader->at +=
        tape_record_get(reader->at, (size_t)(reader->end - reader->at), reader->recv_ns, record);
    reader->recv_ns = record->recv_ns;
    record->ordinal = reader->ordinal++;
    reader->left--;
    return 1;
}

void tape_block_select(struct tape_block_reader *reader, tape_block_wants *wants, void *context)
{
    reader->wants = wants;
    reader->wants_context = context;
}
