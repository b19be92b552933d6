/* The sorted records of a block as bytes: areas, compressed and put together. */
#include <string.h>
#include <zstd.h>

#include "format/pack_internal.h"
#include "format/packed.h"

enum {
    POOL_SLACK_BYTES = 65536,
    DOUBTFUL = 6, /* columns that save less than this factor are compared with compressed text */
};

/* Appends bytes to stored as a zstd frame, or as they are where that saves nothing; what was
 * appended, or -1. */
static int64_t put_area(ZSTD_CCtx *zstd, const struct tape_growing *area, int level,
                        struct tape_growing *stored)
{
    if (area->length == 0)
        return 0;
    size_t bound = ZSTD_compressBound(area->length);
    uint8_t *to = tape_growing_reserve(stored, bound);
    if (to == NULL)
        return -1;
    size_t bytes = tape_block_deflate(zstd, level, to, bound, area->bytes, area->length);
    if (ZSTD_isError(bytes) || bytes >= area->length) {
        memcpy(to, area->bytes, area->length);
        bytes = area->length;
    }
    stored->length += bytes;
    return (int64_t)bytes;
}

/* --- groups --- */

struct lengths {
    size_t pool, bits, text;
};

static struct lengths lengths_of(const struct tape_pack_output *output)
{
    struct lengths lengths = {output->columns.pool.length, output->columns.bits.length,
                              output->text.length};
    return lengths;
}

static void cut(struct tape_pack_output *output, const struct lengths *lengths)
{
    output->columns.pool.length = lengths->pool;
    output->columns.bits.length = lengths->bits;
    output->text.length = lengths->text;
}

/* What the group's texts cost when they are compressed alone; 0: not known. */
static size_t weigh_text(struct tape_pack *pack, const struct tape_pack_group *group)
{
    struct tape_growing *scratch = &pack->scratch;
    scratch->length = 0;
    for (uint32_t i = 0; i < group->row_count; i++) {
        const struct tape_pack_waiting *record = &pack->records[group->rows[i]];
        tape_growing_put(scratch, pack->bodies.bytes + record->offset + record->header,
                         record->bytes - record->header);
    }
    size_t bytes = scratch->length, bound = ZSTD_compressBound(bytes);
    uint8_t *to = tape_growing_reserve(scratch, bound);
    if (to == NULL)
        return 0;
    size_t packed = tape_block_deflate(pack->zstd, 1, to, bound, scratch->bytes, bytes);
    return ZSTD_isError(packed) ? 0 : packed;
}

static size_t text_bytes(const struct tape_pack *pack, const struct tape_pack_group *group)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < group->row_count; i++)
        bytes += pack->records[group->rows[i]].bytes - pack->records[group->rows[i]].header;
    return bytes;
}

/* 1 when what the group's columns took since before is less than its text would take. */
static int pays(struct tape_pack *pack, const struct tape_pack_group *group,
                const struct lengths *before)
{
    const struct tape_pack_output *output = &pack->output;
    size_t cost = (output->columns.pool.length - before->pool) / 2 +
                  (output->columns.bits.length - before->bits) +
                  (output->text.length - before->text) / 3;
    size_t text = text_bytes(pack, group);
    if (cost * DOUBTFUL <= text)
        return 1;
    size_t packed = weigh_text(pack, group);
    return packed == 0 || cost < packed;
}

/* One group, as columns if that is possible and pays; *values: what may still be put into columns.
 * 1: a template, 0: text, -1: no memory. */
static int put_group(struct tape_pack *pack, struct tape_pack_group *group, int as_text,
                     int64_t *values)
{
    struct lengths before = lengths_of(&pack->output);
    if (!as_text && group->template_ != NULL) {
        int64_t taken = tape_pack_slots_write(pack->slots, pack->writer, group->template_,
                                              pack->recv_ns, pack->bodies.bytes, &pack->output);
        if (taken >= 0 && taken <= *values && pays(pack, group, &before)) {
            *values -= taken;
            return 1;
        }
        cut(&pack->output, &before);
    }
    return tape_pack_groups_put_text(&pack->groups, group, pack->records, pack->bodies.bytes,
                                     pack->writer, &pack->output)
               ? 0
               : -1;
}

static int put_recv(struct tape_pack *pack)
{
    struct tape_growing *scratch = &pack->scratch;
    size_t room = (size_t)pack->count + TAPE_COLUMN_SLACK;
    scratch->length = 0;
    uint8_t *to = tape_growing_reserve(scratch, room * (sizeof(int64_t) + 1));
    if (to == NULL)
        return 0;
    int64_t *values = (int64_t *)to;
    for (uint32_t i = 0; i < pack->count; i++)
        values[i] = (int64_t)((uint64_t)pack->recv_ns[i] - (uint64_t)pack->min_recv_ns);
    struct tape_column_scope scope = {.count = pack->count};
    struct tape_column column = {
        .scope = &scope, .values = values, .tokens = to + room * sizeof(int64_t), .has_values = 1};
    tape_column_write(pack->writer, &pack->output.columns, NULL, 0, &column, &pack->recv_plan);
    return 1;
}

/* --- the payload --- */

/* Areas that the lengths in front of them are not known of: they go behind the header's room, then
 * to their place. */
static int put_areas(struct tape_pack *pack)
{
    struct tape_pack_output *output = &pack->output;
    struct tape_growing *stored = &pack->stored, *areas = &pack->scratch;
    const struct tape_growing *bits = &output->columns.bits, *pool = &output->columns.pool;
    areas->length = stored->length = 0;
    tape_growing_put(areas, bits->bytes, bits->length);
    int64_t text = put_area(pack->zstd, &output->text, pack->rule->level, areas);
    int64_t packed = put_area(pack->zstd, pool, pack->rule->level, areas);
    if (text < 0 || packed < 0)
        return 0;
    uint8_t *to = tape_growing_reserve(stored, TAPE_BLOCK_HEADER_BYTES);
    if (to == NULL)
        return 0;
    memset(to, 0, TAPE_BLOCK_HEADER_BYTES);
    stored->length += TAPE_BLOCK_HEADER_BYTES;
    tape_growing_put_varint(stored, bits->length);
    tape_growing_put_varint(stored, output->text.length);
    tape_growing_put_varint(stored, (uint64_t)text);
    tape_growing_put_varint(stored, pool->length);
    tape_growing_put_varint(stored, (uint64_t)packed);
    tape_growing_put(stored, areas->bytes, areas->length);
    return !stored->failed && !areas->failed;
}

static void clear_output(struct tape_pack_output *output)
{
    output->columns.pool.length = output->columns.bits.length = output->text.length = 0;
    output->columns.pool.failed = output->columns.bits.failed = output->text.failed = 0;
}

int tape_pack_payload(struct tape_pack *pack, int as_text)
{
    struct tape_pack_output *output = &pack->output;
    struct tape_growing *pool = &output->columns.pool;
    int64_t values = (int64_t)pack->raw_bytes / 2;
    int templates = 0;
    clear_output(output);
    pack->scratch.failed = pack->stored.failed = 0;
    if (!tape_pack_groups_put_heads(&pack->groups, pack->records, pack->count, pack->writer,
                                    &pack->order_plan, output) ||
        !put_recv(pack))
        return -1;
    tape_growing_put_varint(pool, pack->groups.count);
    for (uint32_t i = 0; i < pack->groups.count; i++) {
        int coded = put_group(pack, &pack->groups.all[i], as_text, &values);
        if (coded < 0)
            return -1;
        templates += coded;
    }
    if (pool->failed || output->columns.bits.failed || output->text.failed ||
        output->text.length > pack->raw_bytes ||
        pool->length > 2 * pack->raw_bytes + POOL_SLACK_BYTES || !put_areas(pack))
        return -1;
    return templates > 0 ? TAPE_BLOCK_CODEC_TEMPLATE : TAPE_BLOCK_CODEC_GROUPED;
}
