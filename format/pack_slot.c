#include "format/pack_slot.h"

#include <stdlib.h>
#include <string.h>

#include "format/pack_dictionary.h"
#include "format/pack_number.h"
#include "format/packed.h"

enum { UUID_TEXT_BYTES = 36, UUID_BYTES = 16 };

/* How one place is written. */
struct form {
    uint8_t format;   /* enum tape_packed_number or tape_packed_string */
    uint8_t decimals; /* of the formats that have one for all */
};

/* Scratch for one template. Invariants: columns, tokens, recv, owners and apart have room for what
 * make_room() counted; column_count <= 2 * slots. */
struct tape_pack_slots {
    struct tape_column *columns;
    struct tape_column_scope *scopes;
    struct form *forms;
    struct tape_pack_dictionary *dictionary;
    uint8_t *tokens;
    int64_t *recv;
    int64_t *apart;   /* the decimals of numbers that have them each */
    uint32_t *owners; /* of the elements of all lists */
    size_t column_room, scope_room, form_room, token_room, recv_room, apart_room, owner_room;
    size_t token_count, apart_count;
    uint32_t column_count;
    int64_t values;
    struct tape_growing literal;
};

struct tape_pack_slots *tape_pack_slots_new(void)
{
    struct tape_pack_slots *slots = calloc(1, sizeof *slots);
    if (slots == NULL)
        return NULL;
    slots->dictionary = tape_pack_dictionary_new();
    if (slots->dictionary == NULL) {
        free(slots);
        return NULL;
    }
    return slots;
}

void tape_pack_slots_free(struct tape_pack_slots *slots)
{
    if (slots == NULL)
        return;
    tape_pack_dictionary_free(slots->dictionary);
    free(slots->columns);
    free(slots->scopes);
    free(slots->forms);
    free(slots->tokens);
    free(slots->recv);
    free(slots->apart);
    free(slots->owners);
    free(slots->literal.bytes);
    free(slots);
}

static int reserve(void *pointer, size_t *room, size_t count, size_t size)
{
    void **array = pointer;
    if (count <= *room)
        return 1;
    void *larger = realloc(*array, (count + count / 4) * size);
    if (larger == NULL)
        return 0;
    *array = larger;
    *room = count + count / 4;
    return 1;
}

static int make_room(struct tape_pack_slots *slots, const struct tape_pack_template *template_)
{
    size_t tokens = 0, apart = 0, owners = 0;
    for (uint32_t i = 0; i < template_->slot_count; i++) {
        size_t count = (size_t)template_->slots[i].count + TAPE_COLUMN_SLACK;
        tokens += 2 * count;
        apart += template_->slots[i].kind == TAPE_PACK_NUMBER ? count : 0;
    }
    for (uint32_t i = 1; i < template_->scope_count; i++)
        owners += template_->scopes[i].count;
    slots->token_count = slots->apart_count = 0;
    slots->column_count = 0;
    slots->values = 0;
    return reserve(&slots->columns, &slots->column_room, 2 * (size_t)template_->slot_count + 1,
                   sizeof *slots->columns) &&
           reserve(&slots->forms, &slots->form_room, (size_t)template_->slot_count + 1,
                   sizeof *slots->forms) &&
           reserve(&slots->scopes, &slots->scope_room, template_->scope_count,
                   sizeof *slots->scopes) &&
           reserve(&slots->tokens, &slots->token_room, tokens + 1, 1) &&
           reserve(&slots->apart, &slots->apart_room, apart + 1, sizeof *slots->apart) &&
           reserve(&slots->owners, &slots->owner_room, owners + 1, sizeof *slots->owners) &&
           reserve(&slots->recv, &slots->recv_room, template_->row_count, sizeof *slots->recv);
}

static void fill_scopes(struct tape_pack_slots *slots, const struct tape_pack_template *template_,
                        const int64_t *recv_ns)
{
    for (uint32_t i = 0; i < template_->row_count; i++)
        slots->recv[i] = recv_ns[template_->rows[i]];
    slots->scopes[0] =
        (struct tape_column_scope){.count = template_->row_count, .recv_ns = slots->recv};
    uint32_t *owner = slots->owners;
    for (uint32_t i = 1; i < template_->scope_count; i++) {
        const struct tape_pack_scope *scope = &template_->scopes[i];
        const struct tape_pack_slot *counts = &template_->slots[scope->list];
        slots->scopes[i] = (struct tape_column_scope){
            .count = scope->count, .parent = &slots->scopes[scope->parent], .owner = owner};
        for (uint32_t j = 0; j < counts->count; j++)
            for (int64_t k = 0; k < counts->values[j]; k++)
                *owner++ = j;
    }
}

/* --- numbers --- */

/* Makes all values count in units of 10^-decimals: 0 when one does not fit. */
static int scale(struct tape_pack_slot *slot, uint32_t decimals, int64_t limit)
{
    for (uint32_t i = 0; i < slot->count; i++) {
        int64_t ten = tape_pack_number_tens[decimals - slot->decimals[i]], value = slot->values[i];
        if (value > limit / ten || value < -(limit / ten))
            return 0;
    }
    for (uint32_t i = 0; i < slot->count; i++)
        slot->values[i] *= tape_pack_number_tens[decimals - slot->decimals[i]];
    return 1;
}

static int choose_number(struct tape_pack_slot *slot, struct form *form)
{
    const uint8_t *decimals = slot->decimals;
    int is_time = slot->kind == TAPE_PACK_TIME;
    form->decimals = slot->count > 0 ? decimals[0] : 0;
    form->format = is_time ? TAPE_PACKED_TIME : TAPE_PACKED_FIXED;
    if (slot->count < 2 || memcmp(decimals, decimals + 1, slot->count - 1) == 0)
        return 1;
    uint8_t most = 0, least = 255;
    for (uint32_t i = 0; i < slot->count; i++) {
        most = decimals[i] > most ? decimals[i] : most;
        least = decimals[i] < least ? decimals[i] : least;
    }
    form->decimals = most;
    int shortest = 1, point = least > 0;
    for (uint32_t i = 0; i < slot->count && (shortest || point); i++) {
        int trailing = slot->values[i] % 10 == 0;
        shortest &= decimals[i] == 0 || !trailing;
        point &= decimals[i] == 1 || !trailing;
    }
    if (is_time) {
        form->format = TAPE_PACKED_TIME_SHORTEST;
        return shortest && scale(slot, most, INT64_MAX);
    }
    form->format = shortest ? TAPE_PACKED_SHORTEST : TAPE_PACKED_SHORTEST_POINT;
    if ((!shortest && !point) || !scale(slot, most, tape_pack_number_tens[18] - 1))
        form->format = TAPE_PACKED_EACH;
    return 1;
}

/* --- strings --- */

static int is_uuid(const uint8_t *text)
{
    for (unsigned i = 0; i < UUID_TEXT_BYTES; i++) {
        int hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        int hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (hyphen ? text[i] != '-' : !hex)
            return 0;
    }
    return 1;
}

static int all_uuids(const struct tape_pack_slot *slot, const uint8_t *bodies)
{
    for (uint32_t i = 0; i < slot->count; i++)
        if ((uint32_t)slot->values[i] != UUID_TEXT_BYTES ||
            !is_uuid(bodies + ((uint64_t)slot->values[i] >> 32)))
            return 0;
    return slot->count > 0;
}

/* --- program --- */

static void put_literal(struct tape_pack_slots *slots, struct tape_growing *pool)
{
    if (slots->literal.length == 0)
        return;
    tape_growing_put_u8(pool, TAPE_PACKED_LITERAL);
    tape_growing_put_varint(pool, slots->literal.length);
    tape_growing_put(pool, slots->literal.bytes, slots->literal.length);
    slots->literal.length = 0;
}

static void put_program(struct tape_pack_slots *slots, const struct tape_pack_shape *shape,
                        uint32_t from, uint32_t to, struct tape_growing *pool)
{
    for (uint32_t i = from; i < to; i++) {
        const struct tape_pack_node *node = &shape->nodes[i];
        switch (node->kind) {
        case TAPE_PACK_LITERAL:
        case TAPE_PACK_SCALAR:
            tape_growing_put(&slots->literal, shape->text.bytes + node->text, node->bytes);
            break;
        case TAPE_PACK_LIST:
            if (node->end > i + 1) {
                put_literal(slots, pool);
                tape_growing_put_u8(pool, TAPE_PACKED_LIST);
                put_program(slots, shape, i + 1, node->end, pool);
            }
            i = node->end - 1;
            break;
        default:
            put_literal(slots, pool);
            tape_growing_put_u8(pool, node->kind == TAPE_PACK_STRING ? TAPE_PACKED_STRING
                                                                     : TAPE_PACKED_NUMBER);
        }
    }
    put_literal(slots, pool);
    tape_growing_put_u8(pool, TAPE_PACKED_END);
}

/* --- columns --- */

struct place {
    struct tape_pack_slots *slots;
    struct tape_column_writer *writer;
    struct tape_pack_template *template_;
    struct tape_pack_slot *slot;
    const uint8_t *bodies;
    struct tape_pack_output *output;
};

/* A column of the slot's scope without its values; the next number. */
static struct tape_column *add_column(const struct place *place, int64_t *values)
{
    struct tape_pack_slots *slots = place->slots;
    struct tape_column *column = &slots->columns[slots->column_count++];
    memset(column, 0, sizeof *column);
    column->scope = &slots->scopes[place->slot->scope];
    column->values = values;
    column->tokens = slots->tokens + slots->token_count;
    column->has_values = 1;
    slots->token_count += (size_t)place->slot->count + TAPE_COLUMN_SLACK;
    slots->values += place->slot->count;
    return column;
}

static void write_column(const struct place *place, struct tape_column *column, int plan)
{
    tape_column_write(place->writer, &place->output->columns, place->slots->columns,
                      place->slots->column_count - 1, column, &place->slot->plans[plan]);
}

static void write_number(const struct place *place, const struct form *form)
{
    struct tape_growing *pool = &place->output->columns.pool;
    struct tape_pack_slots *slots = place->slots;
    tape_growing_put_u8(pool, form->format);
    if (form->format == TAPE_PACKED_EACH) {
        int64_t *decimals = slots->apart + slots->apart_count;
        slots->apart_count += (size_t)place->slot->count + TAPE_COLUMN_SLACK;
        for (uint32_t i = 0; i < place->slot->count; i++)
            decimals[i] = place->slot->decimals[i];
        write_column(place, add_column(place, decimals), 0);
    } else {
        tape_growing_put_u8(pool, form->decimals);
    }
    write_column(place, add_column(place, place->slot->values), 1);
}

static void put_uuids(const struct place *place)
{
    uint8_t uuid[UUID_BYTES];
    for (uint32_t i = 0; i < place->slot->count; i++) {
        const uint8_t *text = place->bodies + ((uint64_t)place->slot->values[i] >> 32);
        memset(uuid, 0, sizeof uuid);
        for (unsigned j = 0, nibble = 0; j < UUID_TEXT_BYTES; j++) {
            if (text[j] == '-')
                continue;
            unsigned digit = text[j] - (text[j] <= '9' ? '0' : 'a' - 10u);
            uuid[nibble / 2] = (uint8_t)(uuid[nibble / 2] << 4 | digit);
            nibble++;
        }
        tape_growing_put(&place->output->columns.bits, uuid, sizeof uuid);
    }
}

/* 0 when memory is short. */
static int write_string(const struct place *place, struct form *form)
{
    struct tape_growing *pool = &place->output->columns.pool;
    struct tape_pack_slot *slot = place->slot;
    uint32_t entries = 0;
    int found = tape_pack_dictionary_make(place->slots->dictionary, slot->values, slot->count,
                                          place->bodies, &entries);
    if (found < 0)
        return 0;
    int repeats = found > 0;
    form->format = !repeats && all_uuids(slot, place->bodies) ? TAPE_PACKED_UUID
                   : repeats                                  ? TAPE_PACKED_DICTIONARY
                                                              : TAPE_PACKED_RAW;
    tape_growing_put_u8(pool, form->format);
    struct tape_column *column = add_column(place, slot->values);
    if (form->format == TAPE_PACKED_UUID) {
        column->has_values = 0;
        put_uuids(place);
        return 1;
    }
    if (form->format == TAPE_PACKED_DICTIONARY) {
        tape_pack_dictionary_put(place->slots->dictionary, place->bodies, pool);
        tape_pack_dictionary_index(place->slots->dictionary, slot->values, slot->count);
        column->dictionary = entries;
    } else {
        for (uint32_t i = 0; i < slot->count; i++) {
            uint64_t text = (uint64_t)slot->values[i];
            tape_growing_put(&place->output->text, place->bodies + (text >> 32), (uint32_t)text);
            slot->values[i] = (int64_t)(uint32_t)text;
        }
    }
    write_column(place, column, 0);
    return 1;
}

/* A place that has no values says so in the least bytes: what it says is read all the same. */
static void write_nothing(const struct place *place)
{
    struct tape_growing *pool = &place->output->columns.pool;
    if (place->slot->kind == TAPE_PACK_STRING) {
        tape_growing_put_u8(pool, TAPE_PACKED_RAW);
    } else if (place->slot->kind != TAPE_PACK_LIST) {
        tape_growing_put_u8(pool, TAPE_PACKED_FIXED);
        tape_growing_put_u8(pool, 0);
    }
    write_column(place, add_column(place, place->slot->values), 0);
}

static int write_slots(struct place *place)
{
    struct tape_pack_template *template_ = place->template_;
    int good = 1;
    for (uint32_t i = 0; i < template_->slot_count && good; i++) {
        place->slot = &template_->slots[i];
        struct form *form = &place->slots->forms[i];
        if (place->slot->room == 0 && !tape_pack_slot_grow(place->slot))
            return 0;
        if (place->slot->count == 0)
            write_nothing(place);
        else if (place->slot->kind == TAPE_PACK_LIST)
            write_column(place, add_column(place, place->slot->values), 0);
        else if (place->slot->kind == TAPE_PACK_STRING)
            good = write_string(place, form);
        else
            write_number(place, form);
    }
    return good;
}

static int choose_numbers(struct tape_pack_slots *slots, struct tape_pack_template *template_)
{
    for (uint32_t i = 0; i < template_->slot_count; i++) {
        struct tape_pack_slot *slot = &template_->slots[i];
        if ((slot->kind == TAPE_PACK_NUMBER || slot->kind == TAPE_PACK_TIME) &&
            !choose_number(slot, &slots->forms[i]))
            return 0;
    }
    return 1;
}

/* The number of the column that names the rows' streams, or -1 when that place will not be a
 * dictionary. */
static int64_t find_stream_column(struct tape_pack_slots *slots,
                                  const struct tape_pack_template *template_, const uint8_t *bodies)
{
    const struct tape_pack_slot *named = &template_->slots[template_->stream_slot];
    uint32_t entries;
    int64_t column = 0;
    if (tape_pack_dictionary_make(slots->dictionary, named->values, named->count, bodies,
                                  &entries) <= 0)
        return -1;
    for (uint32_t i = 0; i < template_->stream_slot; i++) {
        int is_number = template_->slots[i].kind == TAPE_PACK_NUMBER;
        column += is_number && slots->forms[i].format == TAPE_PACKED_EACH ? 2 : 1;
    }
    return column;
}

static void put_naming(struct tape_pack_slots *slots, const struct tape_pack_template *template_,
                       const uint8_t *bodies, struct tape_growing *pool)
{
    const struct tape_pack_shape *shape = &template_->shape;
    int naming = template_->naming;
    int64_t column = 0;
    if (naming == TAPE_PACKED_NAMED_BY_COLUMN)
        column = find_stream_column(slots, template_, bodies);
    tape_growing_put_u8(pool, column < 0 ? TAPE_PACKED_UNNAMED : (uint8_t)naming);
    if (naming == TAPE_PACKED_NAMED_BY_COLUMN && column >= 0)
        tape_growing_put_varint(pool, (uint64_t)column);
    if (naming == TAPE_PACKED_NAMED) {
        const struct tape_pack_node *node = shape->stream < 0 ? NULL : &shape->nodes[shape->stream];
        tape_growing_put_varint(pool, node == NULL ? 0 : node->bytes);
        if (node != NULL)
            tape_growing_put(pool, shape->text.bytes + node->text, node->bytes);
    }
}

int64_t tape_pack_slots_write(struct tape_pack_slots *slots, struct tape_column_writer *writer,
                              struct tape_pack_template *template_, const int64_t *recv_ns,
                              const uint8_t *bodies, struct tape_pack_output *output)
{
    if (!make_room(slots, template_))
        return -1;
    fill_scopes(slots, template_, recv_ns);
    if (!choose_numbers(slots, template_))
        return -1;
    struct tape_growing *pool = &output->columns.pool;
    tape_growing_put_u8(pool, TAPE_PACKED_TEMPLATE);
    put_naming(slots, template_, bodies, pool);
    slots->literal.length = 0;
    put_program(slots, &template_->shape, 0, template_->shape.count, pool);
    struct place place = {slots, writer, template_, NULL, bodies, output};
    if (!write_slots(&place) || slots->literal.failed)
        return -1;
    return slots->values;
}
