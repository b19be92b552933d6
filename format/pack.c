#include "format/pack.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/crc32c.h"
#include "format/pack_internal.h"
#include "format/pack_number.h"

enum {
    SMALL_BYTES = 16 << 10, /* below it all codecs are tried: tables may cost more than they save */
};

/* Little is left of a warm block for zstd: its fastest level is within one byte in a hundred of the
 * others. */
static const struct tape_pack_level_rule rules[] = {
#define TAPE_PACK_LEVEL_RULE(name, number, word, raw_bytes, zstd_level)                            \
    [number] = {raw_bytes, zstd_level, zstd_level > 3},
    TAPE_PACK_LEVEL_TABLE(TAPE_PACK_LEVEL_RULE)
#undef TAPE_PACK_LEVEL_RULE
};

struct tape_pack *tape_pack_new(int level)
{
    if (level < 0 || (size_t)level >= sizeof rules / sizeof *rules)
        return NULL;
    struct tape_pack *pack = calloc(1, sizeof *pack);
    if (pack == NULL)
        return NULL;
    pack->rule = &rules[level];
    pack->zstd = ZSTD_createCCtx();
    pack->reader = tape_block_reader_new();
    pack->writer = tape_column_writer_new(pack->rule->thorough);
    pack->slots = tape_pack_slots_new();
    if (pack->zstd == NULL || pack->reader == NULL || pack->writer == NULL || pack->slots == NULL) {
        tape_pack_free(pack);
        return NULL;
    }
    return pack;
}

void tape_pack_free(struct tape_pack *pack)
{
    if (pack == NULL)
        return;
    ZSTD_freeCCtx(pack->zstd);
    tape_block_reader_free(pack->reader);
    tape_column_writer_free(pack->writer);
    tape_pack_slots_free(pack->slots);
    tape_pack_groups_free(&pack->groups);
    tape_pack_cache_free(&pack->cache);
    free(pack->records);
    free(pack->recv_ns);
    free(pack->bodies.bytes);
    free(pack->output.columns.pool.bytes);
    free(pack->output.columns.bits.bytes);
    free(pack->output.text.bytes);
    free(pack->stored.bytes);
    free(pack->scratch.bytes);
    free(pack);
}

/* --- collecting --- */

static int no_memory(const struct tape_pack *pack, struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "no memory to pack a block of %zu bytes",
                          pack->raw_bytes);
}

static void start_anew(struct tape_pack *pack)
{
    pack->sealed = 0;
    pack->count = 0;
    pack->raw_bytes = 0;
    pack->bodies.length = 0;
    pack->bodies.failed = 0;
}

static int make_record_room(struct tape_pack *pack)
{
    uint32_t room = pack->room * 2 + 1024;
    struct tape_pack_waiting *records = realloc(pack->records, room * sizeof *records);
    if (records != NULL)
        pack->records = records;
    int64_t *recv_ns = realloc(pack->recv_ns, room * sizeof *recv_ns);
    if (recv_ns != NULL)
        pack->recv_ns = recv_ns;
    if (records == NULL || recv_ns == NULL)
        return 0;
    pack->room = room;
    return 1;
}

static inline size_t varint_bytes(uint64_t value)
{
    return ((63 - (size_t)__builtin_clzll(value | 1)) * 9 + 73) / 64;
}

/* What tape_record_put() would write. */
static inline size_t raw_bytes_of(const struct tape_record *record, int64_t previous_recv_ns)
{
    uint64_t delta = (uint64_t)record->recv_ns - (uint64_t)previous_recv_ns;
    return 1 + varint_bytes(record->flags) + varint_bytes(tape_bytes_zigzag((int64_t)delta)) +
           varint_bytes(record->connection) + varint_bytes(record->bytes) + record->bytes;
}

int tape_pack_append(struct tape_pack *pack, const struct tape_record *record,
                     struct tape_error *error)
{
    if (pack->sealed)
        start_anew(pack);
    int status = tape_block_check_record(record, pack->first_ordinal, pack->count, error);
    if (status < 0)
        return status;
    size_t most = TAPE_RECORD_HEAD_MAX_BYTES + (size_t)record->bytes;
    if (pack->count > 0 && pack->raw_bytes + most > pack->rule->raw_bytes)
        return 0;
    size_t needed = (size_t)record->bytes + TAPE_PACK_READ_AHEAD;
    uint8_t *body = tape_growing_reserve(&pack->bodies, needed);
    if (body == NULL || (pack->count == pack->room && !make_record_room(pack))) {
        pack->bodies.failed = 0;
        return no_memory(pack, error);
    }
    if (pack->count == 0) {
        pack->first_ordinal = record->ordinal;
        pack->min_recv_ns = pack->max_recv_ns = pack->last_recv_ns = record->recv_ns;
    }
    pack->raw_bytes += raw_bytes_of(record, pack->last_recv_ns);
    pack->records[pack->count] = (struct tape_pack_waiting){.offset = (uint32_t)pack->bodies.length,
                                                            .bytes = record->bytes,
                                                            .connection = record->connection,
                                                            .flags = record->flags,
                                                            .kind = record->kind};
    pack->recv_ns[pack->count++] = record->recv_ns;
    if (record->bytes > 0)
        memcpy(body, record->data, record->bytes);
    pack->bodies.length += record->bytes;
    if (record->recv_ns < pack->min_recv_ns)
        pack->min_recv_ns = record->recv_ns;
    if (record->recv_ns > pack->max_recv_ns)
        pack->max_recv_ns = record->recv_ns;
    pack->last_recv_ns = record->recv_ns;
    return 1;
}

uint32_t tape_pack_records(const struct tape_pack *pack)
{
    return pack->sealed ? 0 : pack->count;
}

/* --- sealing --- */

static struct tape_record record_at(const struct tape_pack *pack, uint32_t i)
{
    const struct tape_pack_waiting *waiting = &pack->records[i];
    return (struct tape_record){.ordinal = pack->first_ordinal + i,
                                .recv_ns = pack->recv_ns[i],
                                .connection = waiting->connection,
                                .bytes = waiting->bytes,
                                .flags = waiting->flags,
                                .kind = waiting->kind,
                                .data = pack->bodies.bytes + waiting->offset};
}

/* The first record's stamp counts from the smallest, which only now is known. */
static void count_first_stamp(struct tape_pack *pack)
{
    struct tape_record first = record_at(pack, 0);
    pack->raw_bytes -= raw_bytes_of(&first, first.recv_ns);
    pack->raw_bytes += raw_bytes_of(&first, pack->min_recv_ns);
}

static void fill_header(const struct tape_pack *pack, int codec, struct tape_block_header *header)
{
    memset(header, 0, sizeof *header);
    header->codec = (uint8_t)codec;
    header->level = codec == TAPE_BLOCK_CODEC_STORED ? 0 : (uint8_t)pack->rule->level;
    header->raw_bytes = (uint32_t)pack->raw_bytes;
    header->stored_bytes = (uint32_t)(pack->stored.length - TAPE_BLOCK_HEADER_BYTES);
    header->records = pack->count;
    header->first_ordinal = pack->first_ordinal;
    header->min_recv_ns = pack->min_recv_ns;
    header->max_recv_ns = pack->max_recv_ns;
    header->payload_crc32c =
        tape_crc32c_update(0, pack->stored.bytes + TAPE_BLOCK_HEADER_BYTES, header->stored_bytes);
}

/* Field by field and byte by byte; of fields that differ one branch is enough. */
static inline int is_as_appended(const struct tape_pack *pack, uint32_t i,
                                 const struct tape_record *got)
{
    const struct tape_pack_waiting *want = &pack->records[i];
    uint64_t different = (got->ordinal ^ (pack->first_ordinal + i)) |
                         (uint64_t)(got->recv_ns ^ pack->recv_ns[i]) |
                         (got->connection ^ want->connection) | (got->bytes ^ want->bytes) |
                         (uint64_t)(got->flags ^ want->flags) | (uint64_t)(got->kind ^ want->kind);
    return different == 0 &&
           (want->bytes == 0 ||
            memcmp(got->data, pack->bodies.bytes + want->offset, want->bytes) == 0);
}

/* 1 when the stored bytes give back every record as it was appended. */
static int verify(struct tape_pack *pack, const struct tape_block_header *header)
{
    struct tape_error error;
    struct tape_record got;
    if (header->stored_bytes > TAPE_BLOCK_STORED_MAX_BYTES ||
        tape_block_open(pack->reader, header, pack->stored.bytes + TAPE_BLOCK_HEADER_BYTES,
                        &error) != 0)
        return 0;
    for (uint32_t i = 0; i < pack->count; i++)
        if (tape_block_next(pack->reader, &got) != 1 || !is_as_appended(pack, i, &got))
            return 0;
    return tape_block_next(pack->reader, &got) == 0;
}

/* Codec 1, or 0 where that is no longer: the codec, or -1. */
static int put_interleaved(struct tape_pack *pack)
{
    struct tape_growing *raw = &pack->scratch, *stored = &pack->stored;
    raw->length = stored->length = 0;
    raw->failed = stored->failed = 0;
    int64_t previous = pack->min_recv_ns;
    for (uint32_t i = 0; i < pack->count; i++) {
        struct tape_record record = record_at(pack, i);
        uint8_t *to = tape_growing_reserve(raw, TAPE_RECORD_HEAD_MAX_BYTES + (size_t)record.bytes);
        if (to == NULL)
            return -1;
        raw->length += tape_record_put(to, &record, previous);
        previous = record.recv_ns;
    }
    size_t bound = ZSTD_compressBound(raw->length);
    uint8_t *to = tape_growing_reserve(stored, TAPE_BLOCK_HEADER_BYTES + bound);
    if (to == NULL)
        return -1;
    size_t bytes = tape_block_deflate(pack->zstd, pack->rule->level, to + TAPE_BLOCK_HEADER_BYTES,
                                      bound, raw->bytes, raw->length);
    int saves = !ZSTD_isError(bytes) && bytes < raw->length;
    if (!saves) {
        memcpy(to + TAPE_BLOCK_HEADER_BYTES, raw->bytes, raw->length);
        bytes = raw->length;
    }
    stored->length = TAPE_BLOCK_HEADER_BYTES + bytes;
    return saves ? TAPE_BLOCK_CODEC_INTERLEAVED : TAPE_BLOCK_CODEC_STORED;
}

/* Packs with templates, then without, then not at all, until the bytes give the records back. */
static int put_verified(struct tape_pack *pack, struct tape_block_header *header)
{
    int sorted = tape_pack_sort(pack);
    for (int attempt = sorted ? 0 : 2; attempt < 3; attempt++) {
        int codec = attempt < 2 ? tape_pack_payload(pack, attempt) : put_interleaved(pack);
        if (codec < 0)
            continue;
        fill_header(pack, codec, header);
        if (attempt < 2 && header->stored_bytes > header->raw_bytes)
            continue;
        if (verify(pack, header))
            return 1;
        pack->refused++;
    }
    return 0;
}

/* For few records codec 1 may be smaller than what is in stored. */
static int try_interleaved(struct tape_pack *pack, struct tape_block_header *header)
{
    struct tape_growing packed = pack->stored;
    struct tape_block_header other;
    memset(&pack->stored, 0, sizeof pack->stored);
    int codec = put_interleaved(pack);
    if (codec >= 0)
        fill_header(pack, codec, &other);
    if (codec >= 0 && other.stored_bytes < header->stored_bytes && verify(pack, &other)) {
        *header = other;
        free(packed.bytes);
        return 1;
    }
    free(pack->stored.bytes);
    pack->stored = packed;
    return 0;
}

int tape_pack_seal(struct tape_pack *pack, struct tape_block_header *header, uint8_t **stored,
                   struct tape_error *error)
{
    if (tape_pack_records(pack) == 0)
        return tape_error_set(error, TAPE_USAGE, "a block without records cannot be sealed");
    memset(pack->bodies.bytes + pack->bodies.length, 0, TAPE_PACK_READ_AHEAD);
    count_first_stamp(pack);
    int good = put_verified(pack, header);
    tape_pack_cache_end_block(&pack->cache);
    if (!good)
        return no_memory(pack, error);
    if (pack->raw_bytes < SMALL_BYTES && header->codec >= TAPE_BLOCK_CODEC_GROUPED)
        try_interleaved(pack, header);
    pack->next_ordinal = pack->first_ordinal + pack->count;
    *stored = pack->stored.bytes;
    pack->sealed = 1;
    return 0;
}
