#include "format/columns.h"

#include <stdlib.h>

#include "format/columns_internal.h"
#include "format/columns_text.h"
#include "format/crc32c.h"
#include "format/packed.h"
#include "format/packed_text.h"
#include "format/ws.h"

/* Invariant: batches point into decoder, rebuilt, plain and text, which all hold the same block.
 * Groups of the decoder's block that were taken are named by the mark. */
struct tape_columns {
    struct tape_packed_decoder decoder;
    struct tape_packed_text rebuilt;
    struct tape_block_reader *plain; /* of codecs that are not packed */
    struct tape_columns_text *text;
    struct tape_columns_shapes shapes;
    struct tape_columns_batches batches;
    uint32_t next;
    tape_block_wants *wants;
    void *context;
};

static const uint8_t taken_mark[1];

struct tape_columns *tape_columns_new(void)
{
    struct tape_columns *columns = calloc(1, sizeof *columns);
    if (columns == NULL)
        return NULL;
    int opened = tape_packed_decoder_open(&columns->decoder) == 0;
    columns->plain = tape_block_reader_new();
    columns->text = tape_columns_text_new();
    if (opened && columns->plain != NULL && columns->text != NULL)
        return columns;
    tape_columns_free(columns);
    return NULL;
}

void tape_columns_free(struct tape_columns *columns)
{
    if (columns == NULL)
        return;
    tape_packed_decoder_close(&columns->decoder);
    free(columns->rebuilt.buffer);
    tape_block_reader_free(columns->plain);
    tape_columns_text_free(columns->text);
    tape_columns_shapes_free(&columns->shapes);
    free(columns->batches.at);
    free(columns);
}

void tape_columns_select(struct tape_columns *columns, tape_block_wants *wants, void *context)
{
    columns->wants = wants;
    columns->context = context;
    tape_block_select(columns->plain, wants, context);
}

static int no_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "no memory for the columns of a block");
}

/* --- records that are given whole --- */

static int open_plain(struct tape_columns *columns, const struct tape_block_header *header,
                      const uint8_t *stored, struct tape_error *error)
{
    struct tape_record record;
    int status = tape_block_open(columns->plain, header, stored, error);
    while (status == 0 && tape_block_next(columns->plain, &record) == 1)
        status = tape_columns_text_push(columns->text, &record, error);
    return status;
}

/* --- packed blocks --- */

static int is_wanted(const struct tape_columns *columns, struct tape_packed_words stream)
{
    uint32_t length =
        stream.length < TAPE_PACKED_STREAM_MAX_BYTES ? stream.length : TAPE_PACKED_STREAM_MAX_BYTES;
    return columns->wants(columns->context, (const char *)stream.bytes, length) != 0;
}

/* 1: no row of the template is of a stream that is asked for. */
static int is_refused(const struct tape_columns *columns, const struct tape_packed_group *group)
{
    if (columns->wants == NULL)
        return 0;
    if (group->naming == TAPE_PACKED_NAMED)
        return !is_wanted(columns, group->stream);
    const struct tape_packed_place *names = &group->places[group->naming_place];
    for (uint32_t i = 0; i < names->entry_count; i++)
        if (is_wanted(columns, names->entries[i]))
            return 0;
    return 1;
}

/* What the heads of each group say; NULL: memory. */
static struct tape_columns_heads *read_heads(struct tape_packed_decoder *decoder)
{
    const struct tape_packed_block *block = &decoder->block;
    struct tape_columns_heads *heads =
        tape_packed_memory_take(&decoder->memory, block->group_count, sizeof *heads);
    if (heads == NULL)
        return NULL;
    for (uint32_t i = 0; i < block->group_count; i++)
        heads[i] = (struct tape_columns_heads){.good = 1};
    for (uint32_t i = 0; i < block->head_count; i++) {
        const struct tape_packed_head *head = &block->heads[i];
        struct tape_columns_heads *of = &heads[head->group];
        of->good &= head->kind == TAPE_RECORD_FRAME_IN &&
                    (head->flags & TAPE_RECORD_FLAGS_UNREADABLE) == 0 &&
                    head->form == (0x80 | TAPE_WS_TEXT);
        of->differ |= of->seen && (of->connection != head->connection || of->flags != head->flags);
        of->connection = head->connection;
        of->flags = head->flags;
        of->seen = 1;
    }
    return heads;
}

/* Takes what can be taken without its text; *left: how many groups cannot. */
static int take_groups(struct tape_columns *columns, uint32_t *left, struct tape_error *error)
{
    struct tape_packed_decoder *decoder = &columns->decoder;
    const struct tape_columns_heads *heads = read_heads(decoder);
    *left = 0;
    if (heads == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < decoder->block.group_count; i++) {
        struct tape_packed_group *group = &decoder->block.groups[i];
        int status = 0;
        if (group->coding == TAPE_PACKED_TEMPLATE && group->naming != TAPE_PACKED_UNNAMED &&
            heads[i].good)
            status = is_refused(columns, group)
                         ? 1
                         : tape_columns_take_group(&columns->shapes, decoder, group, &heads[i],
                                                   &columns->batches);
        if (status < 0)
            return no_memory(error);
        if (status == 1) {
            group->naming = TAPE_PACKED_NAMED;
            group->stream = (struct tape_packed_words){taken_mark, 0};
        } else {
            ++*left;
        }
    }
    return 0;
}

/* Of the groups that are left. */
static int wants_text(void *context, const char *stream, size_t bytes)
{
    const struct tape_columns *columns = context;
    if ((const uint8_t *)stream == taken_mark)
        return 0;
    return columns->wants == NULL || columns->wants(columns->context, stream, bytes);
}

static int push_rebuilt(struct tape_columns *columns, const struct tape_block_header *header,
                        struct tape_error *error)
{
    const struct tape_packed_block *block = &columns->decoder.block;
    int status = tape_packed_rebuild(&columns->rebuilt, &columns->decoder, header->raw_bytes,
                                     wants_text, columns, error);
    for (uint32_t i = 0; status == 0 && i < block->records; i++) {
        const struct tape_packed_body *body = &columns->rebuilt.bodies[i];
        const struct tape_packed_head *head = &block->heads[block->record_head[i]];
        if (body->data == NULL)
            continue;
        struct tape_record record = {
            .ordinal = header->first_ordinal + i,
            .recv_ns = block->recv_ns[i],
            .connection = head->connection,
            .bytes = body->bytes,
            .flags = head->flags,
            .kind = head->kind,
            .data = body->data,
        };
        status = tape_columns_text_push(columns->text, &record, error);
    }
    return status;
}

static int open_packed(struct tape_columns *columns, const struct tape_block_header *header,
                       const uint8_t *stored, struct tape_error *error)
{
    uint8_t head[TAPE_BLOCK_HEADER_BYTES];
    struct tape_block_header checked;
    uint32_t left;
    tape_block_header_put(head, header);
    int status = tape_block_header_get(head, &checked, error);
    if (status == 0 &&
        tape_crc32c_update(0, stored, header->stored_bytes) != header->payload_crc32c)
        status = tape_error_set(error, TAPE_CORRUPT, "checksum mismatch");
    if (status == 0)
        status = tape_packed_decode(&columns->decoder, header, stored, error);
    if (status == 0)
        status = take_groups(columns, &left, error);
    if (status == 0 && left > 0)
        status = push_rebuilt(columns, header, error);
    return status;
}

int tape_columns_open(struct tape_columns *columns, const struct tape_block_header *header,
                      const uint8_t *stored, struct tape_error *error)
{
    columns->batches.count = columns->next = 0;
    tape_columns_text_begin(columns->text, header);
    int status =
        header->codec == TAPE_BLOCK_CODEC_GROUPED || header->codec == TAPE_BLOCK_CODEC_TEMPLATE
            ? open_packed(columns, header, stored, error)
            : open_plain(columns, header, stored, error);
    if (status == 0 && tape_columns_text_end(columns->text, &columns->batches) < 0)
        status = no_memory(error);
    if (status < 0)
        columns->batches.count = 0;
    for (uint32_t i = 0; i < columns->batches.count; i++)
        columns->batches.at[i].first_ordinal = header->first_ordinal;
    return status;
}

const struct tape_columns_batch *tape_columns_next(struct tape_columns *columns)
{
    return columns->next < columns->batches.count ? &columns->batches.at[columns->next++] : NULL;
}
