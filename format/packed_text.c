#include "format/packed_text.h"

#include <stdlib.h>
#include <string.h>

#include "format/packed.h"
#include "format/packed_shuffle.h"
#include "format/packed_steps.h"

enum {
    FRAME_HEADER_MAX_BYTES = 10,
    FRAME_HEADER_SHORT_BYTES = 4, /* up to 65,535 bytes of payload; left free before each row */
    OVERSHOOT = 64,               /* a long literal may end so far beyond the limit */
};

/*
 * Invariants:
 * - at a row's and at an element's start at <= limit, or overflow is set; what is put without a
 *   check until the next of these is at most the plan's slack;
 * - a long literal or string is put only when it ends at most OVERSHOOT beyond limit;
 * - so nothing is put beyond limit + OVERSHOOT + slack + what one store may write too much.
 */
struct rebuild {
    const uint8_t *limit;
    int overflow;
};

/* --- pieces --- */

static inline void copy16(uint8_t *to, const uint8_t *from)
{
    memcpy(to, from, 16);
}

static uint8_t *put_long(struct rebuild *rebuild, uint8_t *at, const uint8_t *bytes,
                         uint64_t length)
{
    if (at > rebuild->limit || length > (uint64_t)(rebuild->limit - at) + OVERSHOOT) {
        rebuild->overflow = 1;
        return at;
    }
    memcpy(at, bytes, length);
    return at + length;
}

/* TAPE_PACKED_SLACK bytes may be read after them. */
static inline uint8_t *put_words(struct rebuild *rebuild, uint8_t *at, const uint8_t *bytes,
                                 uint64_t length)
{
    copy16(at, bytes);
    if (length > 16) {
        copy16(at + 16, bytes + 16);
        copy16(at + 32, bytes + 32);
        copy16(at + 48, bytes + 48);
        if (length > TAPE_PACKED_LITERAL_UNCHECKED_BYTES)
            return put_long(rebuild, at, bytes, length);
    }
    return at + length;
}

/* --- steps --- */

static uint8_t *put_list(struct rebuild *rebuild, struct tape_packed_sequence *list, uint64_t count,
                         uint8_t *at);

static inline uint8_t *put_steps(struct rebuild *rebuild,
                                 const struct tape_packed_sequence *sequence, uint32_t index,
                                 uint8_t *at)
{
    struct tape_packed_step *step = sequence->steps, *end = step + sequence->step_count;
    for (; step < end; step++) {
        switch ((enum tape_packed_step_kind)step->kind) {
        case TAPE_PACKED_PUT_EIGHT:
            at = tape_packed_put_eight(at, (uint64_t)step->values[index], &step->of.rule);
            break;
        case TAPE_PACKED_PUT_SCALED:
            at = tape_packed_put_eight(
                at, tape_packed_unscale((uint64_t)step->values[index], &step->of.rule),
                &step->of.rule);
            break;
        case TAPE_PACKED_PUT_LONG:
            at = tape_packed_put_long(at, (uint64_t)step->values[index], &step->of.high);
            break;
        case TAPE_PACKED_PUT_SHORT:
            at = tape_packed_put_short_fixed(at, (uint64_t)step->values[index], step->of.cut);
            break;
        case TAPE_PACKED_PUT_SHORTEST:
            at = tape_packed_put_shortest(at, (uint64_t)step->values[index], step->of.cut, 0);
            break;
        case TAPE_PACKED_PUT_SHORTEST_POINT:
            at = tape_packed_put_shortest(at, (uint64_t)step->values[index], step->of.cut, 1);
            break;
        case TAPE_PACKED_PUT_NUMBER:
            at = tape_packed_put_number(at, step->form, step->values[index], step->decimals);
            break;
        case TAPE_PACKED_PUT_EACH:
            at = tape_packed_put_each(at, step->values[index], (uint64_t)step->of.decimals[index]);
            break;
        case TAPE_PACKED_PUT_TIME:
            at = tape_packed_put_time(at, step->form, step->values[index], step->decimals);
            break;
        case TAPE_PACKED_PUT_ENTRY: {
            struct tape_packed_words entry = step->of.entries[step->values[index]];
            at = put_words(rebuild, at, entry.bytes, entry.length);
            break;
        }
        case TAPE_PACKED_PUT_RAW:
            at = put_words(rebuild, at, step->of.bytes, (uint64_t)step->values[index]);
            step->of.bytes += step->values[index];
            break;
        case TAPE_PACKED_PUT_UUID:
            at = tape_packed_put_uuid(at, step->of.bytes + 16ull * index);
            break;
        case TAPE_PACKED_PUT_LIST:
            at = put_list(rebuild, step->of.list, (uint64_t)step->values[index], at);
            break;
        case TAPE_PACKED_PUT_RUN:
            at = tape_packed_put_run(step, index, at);
            step += step->run - 1;
            break;
        case TAPE_PACKED_PUT_NOTHING:
            break;
        default:
            __builtin_unreachable();
        }
        at = put_words(rebuild, at, step->after.bytes, step->after.length);
    }
    return at;
}

static uint8_t *put_elements(struct rebuild *rebuild, const struct tape_packed_sequence *list,
                             uint32_t from, uint64_t count, uint8_t *at)
{
    for (uint64_t i = 0; i < count; i++) {
        if (at > rebuild->limit) {
            rebuild->overflow = 1;
            return at;
        }
        if (i > 0 && !list->joined) {
            *at++ = ',';
            at = put_words(rebuild, at, list->first.bytes, list->first.length);
        }
        at = put_steps(rebuild, list, from + (uint32_t)i, at);
    }
    return at - list->cut;
}

static uint8_t *put_list(struct rebuild *rebuild, struct tape_packed_sequence *list, uint64_t count,
                         uint8_t *at)
{
    uint32_t from = list->next;
    if (count == 0)
        return at;
    list->next += (uint32_t)count;
    at = put_words(rebuild, at, list->first.bytes, list->first.length);
    if (list->pairs && at <= rebuild->limit &&
        count <= (uint64_t)(rebuild->limit - at) / TAPE_PACKED_PAIR_MAX_BYTES)
        return tape_packed_put_pairs(list, from, count, at) - list->cut;
    return put_elements(rebuild, list, from, count, at);
}

/* As put_steps for indexes [from, to), but nothing is put: lists and raw strings move on. */
static void skip_steps(const struct tape_packed_sequence *sequence, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < sequence->step_count; i++) {
        struct tape_packed_step *step = &sequence->steps[i];
        if (step->kind != TAPE_PACKED_PUT_RAW && step->kind != TAPE_PACKED_PUT_LIST)
            continue;
        uint64_t sum = 0;
        for (uint32_t index = from; index < to; index++)
            sum += (uint64_t)step->values[index];
        if (step->kind == TAPE_PACKED_PUT_RAW) {
            step->of.bytes += sum;
        } else {
            struct tape_packed_sequence *list = step->of.list;
            uint32_t next = list->next;
            list->next += (uint32_t)sum;
            skip_steps(list, next, list->next);
        }
    }
}

/* --- rows --- */

/* A text of 126 to 65,535 bytes, or less: there is room for the header before it. Returns where the
 * body begins. */
static inline uint8_t *put_short_header(uint8_t form, uint8_t *text, uint64_t bytes)
{
    if (bytes <= 125) {
        text[-2] = form;
        text[-1] = (uint8_t)bytes;
        return text - 2;
    }
    text[-4] = form;
    text[-3] = 126;
    text[-2] = (uint8_t)(bytes >> 8);
    text[-1] = (uint8_t)bytes;
    return text - 4;
}

/* A longer one is moved. FRAME_HEADER_MAX_BYTES after it are free. */
static uint8_t *put_long_header(uint8_t form, uint8_t *text, uint64_t bytes)
{
    uint8_t *body = text - FRAME_HEADER_SHORT_BYTES;
    memmove(body + FRAME_HEADER_MAX_BYTES, text, bytes);
    body[0] = form;
    body[1] = 127;
    for (unsigned i = 0; i < 8; i++)
        body[2 + i] = (uint8_t)(bytes >> 8 * (7 - i));
    return body;
}

/* The text from ${from} to ${end} becomes its record's body. Returns where the next may begin, or
 * NULL: it is too long. */
static inline uint8_t *end_row(struct tape_packed_text *text, const struct tape_packed_block *block,
                               uint32_t record, uint8_t *from, uint8_t *end)
{
    uint8_t form = block->heads[block->record_head[record]].form;
    uint64_t bytes = (uint64_t)(end - from);
    uint8_t *body = from;
    if (bytes <= UINT16_MAX) {
        if (form != 0)
            body = put_short_header(form, from, bytes);
    } else {
        if (form != 0) {
            body = put_long_header(form, from, bytes);
            end = body + FRAME_HEADER_MAX_BYTES + bytes;
        }
        if (end - body > TAPE_RECORD_MAX_BYTES)
            return NULL;
    }
    text->bodies[record] = (struct tape_packed_body){body, (uint32_t)(end - body)};
    return end;
}

/* 1: asked for. */
static int is_wanted(tape_block_wants *wants, void *context, struct tape_packed_words stream)
{
    if (wants == NULL)
        return 1;
    uint32_t length =
        stream.length < TAPE_PACKED_STREAM_MAX_BYTES ? stream.length : TAPE_PACKED_STREAM_MAX_BYTES;
    return wants(context, (const char *)stream.bytes, length) != 0;
}

/* Which entries of the dictionary that names a group's rows are wanted; NULL: memory. */
static uint8_t *ask_entries(struct tape_packed_decoder *decoder,
                            const struct tape_packed_group *group, tape_block_wants *wants,
                            void *context)
{
    const struct tape_packed_place *place = &group->places[group->naming_place];
    uint8_t *wanted = tape_packed_memory_take(&decoder->memory, place->entry_count, 1);
    for (uint32_t i = 0; wanted != NULL && i < place->entry_count; i++)
        wanted[i] = (uint8_t)is_wanted(wants, context, place->entries[i]);
    return wanted;
}

static int too_long(struct tape_error *error, uint32_t row)
{
    return tape_error_set(error, TAPE_CORRUPT, "row %u is longer than the records may be", row);
}

/* The rows of a template, from *at on. wanted: NULL, or by the value of names. */
static int put_rows(struct tape_packed_text *text, const struct tape_packed_block *block,
                    const struct tape_packed_group *group, struct tape_packed_sequence *rows,
                    const uint8_t *limit, const uint8_t *wanted, uint8_t **at,
                    struct tape_error *error)
{
    struct rebuild rebuild = {.limit = limit};
    uint8_t *next = *at;
    const int64_t *names = wanted == NULL ? NULL : group->columns[group->naming_column].values;
    for (uint32_t row = 0; row < group->rows.count; row++) {
        if (names != NULL && !wanted[names[row]]) {
            skip_steps(rows, row, row + 1);
            text->passed_over++;
            continue;
        }
        if (next > limit)
            return too_long(error, row);
        uint8_t *from = next + FRAME_HEADER_SHORT_BYTES;
        next = put_words(&rebuild, from, rows->first.bytes, rows->first.length);
        next = put_steps(&rebuild, rows, row, next);
        if (rebuild.overflow)
            return too_long(error, row);
        next = end_row(text, block, group->records[row], from, next);
        if (next == NULL)
            return too_long(error, row);
    }
    *at = next;
    return 0;
}

/* The rows of a text group: as they are where nothing stands before them. */
static int put_texts(struct tape_packed_text *text, const struct tape_packed_block *block,
                     const struct tape_packed_group *group, const uint8_t *limit, uint8_t **at,
                     struct tape_error *error)
{
    const uint8_t *bytes = group->text;
    for (uint32_t row = 0; row < group->rows.count; row++) {
        uint32_t record = group->records[row];
        uint64_t length = (uint64_t)group->lengths[row];
        if (block->heads[block->record_head[record]].form == 0) {
            if (length > TAPE_RECORD_MAX_BYTES)
                return too_long(error, row);
            text->bodies[record] = (struct tape_packed_body){bytes, (uint32_t)length};
        } else {
            if (*at > limit || length > (uint64_t)(limit - *at))
                return too_long(error, row);
            uint8_t *from = *at + FRAME_HEADER_SHORT_BYTES;
            memcpy(from, bytes, length);
            *at = end_row(text, block, record, from, from + length);
            if (*at == NULL)
                return too_long(error, row);
        }
        bytes += length;
    }
    return 0;
}

/* --- all groups --- */

static int grow(struct tape_packed_text *text, size_t bytes)
{
    if (text->capacity >= bytes)
        return 1;
    free(text->buffer);
    text->buffer = malloc(bytes);
    text->capacity = text->buffer == NULL ? 0 : bytes;
    return text->buffer != NULL;
}

/* The rows of all templates as steps, NULL for groups of text; *slack: of the longest. */
static struct tape_packed_sequence *plan_all(struct tape_packed_decoder *decoder, size_t *slack)
{
    const struct tape_packed_block *block = &decoder->block;
    struct tape_packed_sequence *plans =
        tape_packed_memory_take(&decoder->memory, block->group_count, sizeof *plans);
    *slack = 0;
    for (uint32_t i = 0; plans != NULL && i < block->group_count; i++) {
        size_t needed = 0;
        if (block->groups[i].coding == TAPE_PACKED_TEMPLATE &&
            tape_packed_plan(decoder, &block->groups[i], &plans[i], &needed) < 0)
            return NULL;
        *slack = needed > *slack ? needed : *slack;
    }
    return plans;
}

int tape_packed_rebuild(struct tape_packed_text *text, struct tape_packed_decoder *decoder,
                        uint32_t raw_bytes, tape_block_wants *wants, void *context,
                        struct tape_error *error)
{
    const struct tape_packed_block *block = &decoder->block;
    size_t slack;
    text->passed_over = 0;
    text->bodies = tape_packed_memory_take(&decoder->memory, block->records, sizeof *text->bodies);
    struct tape_packed_sequence *plans = plan_all(decoder, &slack);
    if (text->bodies == NULL || plans == NULL ||
        !grow(text, raw_bytes + slack + FRAME_HEADER_SHORT_BYTES + FRAME_HEADER_MAX_BYTES +
                        2 * OVERSHOOT))
        return tape_error_set(error, TAPE_FAILED, "no memory to rebuild a packed block");
    if (wants != NULL) /* otherwise each gets one */
        memset(text->bodies, 0, block->records * sizeof *text->bodies);
    uint8_t *at = text->buffer;
    const uint8_t *limit = text->buffer + raw_bytes;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < block->group_count; i++) {
        const struct tape_packed_group *group = &block->groups[i];
        const uint8_t *wanted = NULL;
        if (group->naming == TAPE_PACKED_NAMED && !is_wanted(wants, context, group->stream)) {
            text->passed_over += group->rows.count;
            continue;
        }
        if (group->naming == TAPE_PACKED_NAMED_BY_COLUMN && wants != NULL) {
            wanted = ask_entries(decoder, group, wants, context);
            if (wanted == NULL)
                return tape_error_set(error, TAPE_FAILED, "no memory to rebuild a packed block");
        }
        status = group->coding == TAPE_PACKED_TEXT
                     ? put_texts(text, block, group, limit, &at, error)
                     : put_rows(text, block, group, &plans[i], limit, wanted, &at, error);
        if (status < 0)
            tape_error_wrap(error, "group %u", i);
    }
    return status;
}
