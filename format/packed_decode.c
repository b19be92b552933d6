/* From a packed payload to heads, times and groups. */
#include <string.h>
#include <zstd.h>

#include "format/bytes.h"
#include "format/packed.h"
#include "format/packed_internal.h"

static int no_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "no memory to take a packed block apart");
}

/* --- heads --- */

static int read_head(struct tape_packed_input *input, struct tape_packed_head *head)
{
    uint64_t flags, connection, group;
    if (!tape_packed_take_u8(input, &head->kind) || head->kind == 0 ||
        !tape_packed_take(input, UINT16_MAX, &flags) ||
        !tape_packed_take(input, UINT32_MAX, &connection) ||
        !tape_packed_take_u8(input, &head->form) || !tape_packed_take(input, UINT32_MAX, &group))
        return 0;
    uint8_t varint[TAPE_VARINT_MAX_BYTES];
    head->flags = (uint16_t)flags;
    head->connection = (uint32_t)connection;
    head->group = (uint32_t)group;
    head->records = 0;
    head->stored_bytes = (uint8_t)(1 + tape_bytes_put_varint(varint, flags) +
                                   tape_bytes_put_varint(varint, connection));
    return 1;
}

static int read_heads(struct tape_packed_decoder *decoder, struct tape_error *error)
{
    struct tape_packed_block *block = &decoder->block;
    struct tape_packed_input *input = &decoder->input;
    uint64_t count;
    if (!tape_packed_take(input, block->records, &count) || count == 0 ||
        count > TAPE_PACKED_HEADS_MAX)
        return tape_error_set(error, TAPE_CORRUPT, "the number of heads is out of bounds");
    block->heads = tape_packed_memory_take(&decoder->memory, count, sizeof *block->heads);
    if (block->heads == NULL)
        return no_memory(error);
    block->head_count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++)
        if (!read_head(input, &block->heads[i]))
            return tape_error_set(error, TAPE_CORRUPT, "head %u is none", i);
    return 0;
}

/* --- columns of all records --- */

int tape_packed_read_column(struct tape_packed_decoder *decoder, const struct tape_column *before,
                            uint32_t before_count, struct tape_column *column,
                            struct tape_error *error)
{
    size_t room = (size_t)column->scope->count + TAPE_COLUMN_SLACK;
    column->values = tape_packed_memory_take(&decoder->memory, room, sizeof *column->values);
    column->tokens = tape_packed_memory_take(&decoder->memory, room, sizeof *column->tokens);
    if (column->values == NULL || column->tokens == NULL)
        return no_memory(error);
    return tape_column_read(decoder->columns, &decoder->input.area, before, before_count, column,
                            error);
}

static int read_order(struct tape_packed_decoder *decoder, struct tape_error *error)
{
    struct tape_packed_block *block = &decoder->block;
    struct tape_column_scope all = {.count = block->records};
    struct tape_column column = {.scope = &all};
    uint32_t *heads =
        tape_packed_memory_take(&decoder->memory, block->records, sizeof *block->record_head);
    if (heads == NULL)
        return no_memory(error);
    int status = tape_packed_read_column(decoder, NULL, 0, &column, error);
    if (status < 0) {
        tape_error_wrap(error, "order");
        return status;
    }
    for (uint32_t i = 0; i < block->records; i++) {
        if ((uint64_t)column.values[i] >= block->head_count)
            return tape_error_set(error, TAPE_CORRUPT, "order: record %u has no head", i);
        heads[i] = (uint32_t)column.values[i];
        block->heads[heads[i]].records++;
    }
    block->record_head = heads;
    return 0;
}

static int read_recv(struct tape_packed_decoder *decoder, const struct tape_block_header *header,
                     struct tape_error *error)
{
    struct tape_packed_block *block = &decoder->block;
    struct tape_column_scope all = {.count = block->records};
    struct tape_column column = {.scope = &all};
    int status = tape_packed_read_column(decoder, NULL, 0, &column, error);
    if (status < 0) {
        tape_error_wrap(error, "recv");
        return status;
    }
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < block->records; i++) {
        uint64_t after = (uint64_t)column.values[i];
        least = after < least ? after : least;
        most = after > most ? after : most;
        column.values[i] = (int64_t)((uint64_t)header->min_recv_ns + after);
    }
    if (least != 0 || most != (uint64_t)header->max_recv_ns - (uint64_t)header->min_recv_ns)
        return tape_error_set(error, TAPE_CORRUPT, "the records' times are not the header's");
    block->recv_ns = column.values;
    return 0;
}

/* --- groups --- */

/* Deals the records out: which are the rows of each group. */
static int deal(struct tape_packed_decoder *decoder, struct tape_error *error)
{
    struct tape_packed_block *block = &decoder->block;
    struct tape_packed_group *groups = block->groups;
    uint32_t **next =
        tape_packed_memory_take(&decoder->memory, block->group_count, sizeof(uint32_t *));
    uint32_t *records = tape_packed_memory_take(&decoder->memory, block->records, sizeof *records);
    if (next == NULL || records == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < block->head_count; i++)
        if (block->heads[i].group >= block->group_count)
            return tape_error_set(error, TAPE_CORRUPT, "head %u names a group that is not there",
                                  i);
    for (uint32_t i = 0; i < block->head_count; i++)
        groups[block->heads[i].group].rows.count += block->heads[i].records;
    for (uint32_t i = 0; i < block->group_count; i++) {
        if (groups[i].rows.count == 0)
            return tape_error_set(error, TAPE_CORRUPT, "group %u has no rows", i);
        groups[i].records = next[i] = records;
        records += groups[i].rows.count;
    }
    for (uint32_t i = 0; i < block->records; i++)
        *next[block->heads[block->record_head[i]].group]++ = i;
    return 0;
}

static const char *read_naming(struct tape_packed_input *input, struct tape_packed_group *group)
{
    uint64_t column = 0;
    if (!tape_packed_take_u8(input, &group->coding) || group->coding > TAPE_PACKED_TEMPLATE)
        return "its coding is none";
    if (!tape_packed_take_u8(input, &group->naming) ||
        group->naming > (group->coding == TAPE_PACKED_TEMPLATE ? TAPE_PACKED_NAMED_BY_COLUMN
                                                               : TAPE_PACKED_NAMED))
        return "its naming is none";
    if (group->naming == TAPE_PACKED_NAMED &&
        !tape_packed_take_words(input, TAPE_PACKED_STREAM_MAX_BYTES, &group->stream))
        return "its stream's name is too long";
    if (group->naming == TAPE_PACKED_NAMED_BY_COLUMN &&
        !tape_packed_take(input, UINT32_MAX, &column))
        return "its naming is none";
    group->naming_column = (uint32_t)column;
    return NULL;
}

static int read_text(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                     struct tape_error *error)
{
    struct tape_packed_input *input = &decoder->input;
    struct tape_column column = {.scope = &group->rows};
    int status = tape_packed_read_column(decoder, NULL, 0, &column, error);
    if (status < 0) {
        tape_error_wrap(error, "lengths");
        return status;
    }
    uint64_t left = (uint64_t)(input->text_end - input->text), sum = 0;
    for (uint32_t i = 0; i < group->rows.count; i++) {
        if ((uint64_t)column.values[i] > left - sum)
            return tape_error_set(error, TAPE_CORRUPT, "row %u is longer than the text", i);
        sum += (uint64_t)column.values[i];
    }
    group->lengths = column.values;
    group->text = input->text;
    input->text += sum;
    return 0;
}

/* Predictors of a template may look at the times of its rows. */
static int set_times(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                     struct tape_error *error)
{
    int64_t *times = tape_packed_memory_take(&decoder->memory, group->rows.count, sizeof *times);
    if (times == NULL)
        return no_memory(error);
    for (uint32_t i = 0; i < group->rows.count; i++)
        times[i] = decoder->block.recv_ns[group->records[i]];
    group->rows.recv_ns = times;
    return 0;
}

/* The dictionary that names the rows. */
static int find_naming_place(struct tape_packed_group *group, struct tape_error *error)
{
    for (uint32_t i = 0; i < group->place_count; i++) {
        const struct tape_packed_place *place = &group->places[i];
        if (place->node == TAPE_PACKED_STRING && place->form == TAPE_PACKED_DICTIONARY &&
            place->column == group->naming_column && place->outside == &group->rows) {
            group->naming_place = i;
            return 0;
        }
    }
    return tape_error_set(error, TAPE_CORRUPT, "column %u cannot name its streams",
                          group->naming_column);
}

static int read_template(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                         struct tape_error *error)
{
    int status = set_times(decoder, group, error);
    if (status == 0)
        status = tape_packed_read_program(decoder, group, error);
    if (status == 0)
        status = tape_packed_read_slots(decoder, group, error);
    if (status == 0 && group->naming == TAPE_PACKED_NAMED_BY_COLUMN)
        status = find_naming_place(group, error);
    return status;
}

static int read_group(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                      struct tape_error *error)
{
    const char *fault = read_naming(&decoder->input, group);
    if (fault != NULL)
        return tape_error_set(error, TAPE_CORRUPT, "%s", fault);
    return group->coding == TAPE_PACKED_TEXT ? read_text(decoder, group, error)
                                             : read_template(decoder, group, error);
}

static int read_groups(struct tape_packed_decoder *decoder, int codec, struct tape_error *error)
{
    struct tape_packed_block *block = &decoder->block;
    uint64_t count;
    int templates = 0;
    if (!tape_packed_take(&decoder->input, block->records, &count) || count == 0 ||
        count > TAPE_PACKED_GROUPS_MAX)
        return tape_error_set(error, TAPE_CORRUPT, "the number of groups is out of bounds");
    block->groups = tape_packed_memory_take(&decoder->memory, count, sizeof *block->groups);
    if (block->groups == NULL)
        return no_memory(error);
    memset(block->groups, 0, count * sizeof *block->groups);
    block->group_count = (uint32_t)count;
    int status = deal(decoder, error);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        status = read_group(decoder, &block->groups[i], error);
        if (status < 0)
            tape_error_wrap(error, "group %u", i);
        templates |= block->groups[i].coding == TAPE_PACKED_TEMPLATE;
    }
    if (status == 0 && templates != (codec == TAPE_BLOCK_CODEC_TEMPLATE))
        return tape_error_set(error, TAPE_CORRUPT, "codec %d does not fit its groups", codec);
    return status;
}

/* --- all of it --- */

static int check_ends(const struct tape_packed_input *input, struct tape_error *error)
{
    if (input->area.pool != input->area.pool_end)
        return tape_error_set(error, TAPE_CORRUPT, "%zu bytes of the pool are left",
                              (size_t)(input->area.pool_end - input->area.pool));
    if (input->area.bits != input->area.bits_end)
        return tape_error_set(error, TAPE_CORRUPT, "%zu bytes of the bits are left",
                              (size_t)(input->area.bits_end - input->area.bits));
    if (input->text != input->text_end)
        return tape_error_set(error, TAPE_CORRUPT, "%zu bytes of the text are left",
                              (size_t)(input->text_end - input->text));
    return 0;
}

int tape_packed_decode(struct tape_packed_decoder *decoder, const struct tape_block_header *header,
                       const uint8_t *stored, struct tape_error *error)
{
    tape_packed_memory_clear(&decoder->memory);
    decoder->block = (struct tape_packed_block){.records = header->records};
    int status = tape_packed_split(decoder, header, stored, error);
    if (status == 0)
        status = read_heads(decoder, error);
    if (status == 0)
        status = read_order(decoder, error);
    if (status == 0)
        status = read_recv(decoder, header, error);
    if (status == 0)
        status = read_groups(decoder, header->codec, error);
    if (status == 0)
        status = check_ends(&decoder->input, error);
    return status;
}

int tape_packed_decoder_open(struct tape_packed_decoder *decoder)
{
    *decoder = (struct tape_packed_decoder){0};
    decoder->zstd = ZSTD_createDCtx();
    decoder->columns = tape_column_reader_new();
    return decoder->zstd == NULL || decoder->columns == NULL ? TAPE_FAILED : 0;
}

void tape_packed_decoder_close(struct tape_packed_decoder *decoder)
{
    ZSTD_freeDCtx(decoder->zstd);
    tape_column_reader_free(decoder->columns);
    tape_packed_memory_free(&decoder->memory);
}
