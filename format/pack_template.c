#include "format/pack_template.h"

#include <stdlib.h>
#include <string.h>

#include "format/pack_number.h"
#include "format/packed.h"

/* Compiling a shape. Invariant: [literal, literals.length) is literal text that no step has yet. */
struct compiling {
    struct tape_pack_template *template_;
    struct tape_growing literals;
    size_t literal;
    int failed;
};

static struct tape_pack_step *add_step(struct compiling *compiling, int action)
{
    struct tape_pack_template *template_ = compiling->template_;
    struct tape_pack_step *step = &template_->steps[template_->step_count++];
    memset(step, 0, sizeof *step);
    step->action = (uint8_t)action;
    step->bytes = (uint32_t)(compiling->literals.length - compiling->literal);
    compiling->literal = compiling->literals.length;
    return step;
}

static struct tape_pack_slot *add_slot(struct compiling *compiling, uint32_t node, uint16_t scope)
{
    struct tape_pack_template *template_ = compiling->template_;
    struct tape_pack_slot *slot = &template_->slots[template_->slot_count++];
    slot->kind = template_->shape.nodes[node].kind;
    slot->quoted = template_->shape.nodes[node].quoted;
    slot->scope = scope;
    slot->node = node;
    return slot;
}

static int action_of(const struct tape_pack_node *node)
{
    switch (node->kind) {
    case TAPE_PACK_NUMBER:
        return TAPE_PACK_DO_NUMBER;
    case TAPE_PACK_TIME:
        return TAPE_PACK_DO_TIME;
    default:
        return node->quoted ? TAPE_PACK_DO_STRING : TAPE_PACK_DO_WORD;
    }
}

static void compile(struct compiling *compiling, uint32_t from, uint32_t to, uint16_t scope);

/* A list of which only empty ones were seen has no steps: its brackets are literals. */
static void compile_list(struct compiling *compiling, uint32_t node, uint16_t scope)
{
    struct tape_pack_template *template_ = compiling->template_;
    uint32_t end = template_->shape.nodes[node].end;
    if (end == node + 1)
        return;
    uint16_t inside = (uint16_t)template_->scope_count++;
    struct tape_pack_step *list = add_step(compiling, TAPE_PACK_DO_LIST);
    list->slot = add_slot(compiling, node, scope);
    list->scope = inside;
    template_->scopes[inside].parent = scope;
    template_->scopes[inside].list = (uint16_t)(list->slot - template_->slots);
    compile(compiling, node + 1, end, inside);
    struct tape_pack_step *next = add_step(compiling, TAPE_PACK_DO_NEXT);
    next->slot = list->slot;
    next->scope = inside;
    next->jump = list + 1;
    list->jump = next + 1;
    list->pairs = next - list == 3 && list[1].action == TAPE_PACK_DO_NUMBER &&
                  list[2].action == TAPE_PACK_DO_NUMBER && list[1].bytes <= 8 &&
                  list[2].bytes <= 8 && next->bytes <= 8;
}

static void compile(struct compiling *compiling, uint32_t from, uint32_t to, uint16_t scope)
{
    const struct tape_pack_shape *shape = &compiling->template_->shape;
    for (uint32_t i = from; i < to; i++) {
        const struct tape_pack_node *node = &shape->nodes[i];
        if (node->kind == TAPE_PACK_LITERAL || node->kind == TAPE_PACK_SCALAR) {
            if (node->bytes > 0)
                tape_growing_put(&compiling->literals, shape->text.bytes + node->text, node->bytes);
        } else if (node->kind == TAPE_PACK_LIST) {
            compile_list(compiling, i, scope);
            i = node->end - 1;
        } else {
            struct tape_pack_step *step = add_step(compiling, action_of(node));
            step->slot = add_slot(compiling, i, scope);
        }
    }
}

/* Only now are the literals where they stay. */
static void fill_words(struct tape_pack_template *template_)
{
    const uint8_t *at = template_->literals;
    for (uint32_t i = 0; i < template_->step_count; i++) {
        struct tape_pack_step *step = &template_->steps[i];
        unsigned bytes = step->bytes < 8 ? step->bytes : 8;
        step->text = at;
        at += step->bytes;
        memcpy(&step->word, step->text, 8);
        step->mask = bytes == 8 ? ~0ull : (1ull << 8 * bytes) - 1;
        step->word &= step->mask;
    }
}

static int has_free_string(const struct tape_pack_template *template_)
{
    for (uint32_t i = 0; i < template_->slot_count; i++)
        if (template_->slots[i].scope == 0 && template_->slots[i].kind == TAPE_PACK_STRING &&
            template_->slots[i].quoted)
            return 1;
    return 0;
}

static int make_room(struct tape_pack_template *template_)
{
    uint32_t nodes = template_->shape.count;
    template_->steps = malloc((2 * (size_t)nodes + 2) * sizeof *template_->steps);
    template_->slots = calloc(nodes + 1, sizeof *template_->slots);
    template_->scopes = calloc(nodes + 1, sizeof *template_->scopes);
    template_->scope_count = 1;
    return template_->steps != NULL && template_->slots != NULL && template_->scopes != NULL;
}

static void find_stream_slot(struct tape_pack_template *template_)
{
    for (uint32_t i = 0; i < template_->slot_count; i++)
        if (template_->shape.stream >= 0 &&
            template_->slots[i].node == (uint32_t)template_->shape.stream)
            template_->stream_slot = (uint16_t)i;
}

struct tape_pack_template *tape_pack_template_new(struct tape_pack_shape *shape, int naming)
{
    struct tape_pack_template *template_ = calloc(1, sizeof *template_);
    if (template_ == NULL) {
        tape_pack_shape_free(shape);
        return NULL;
    }
    template_->shape = *shape;
    memset(shape, 0, sizeof *shape);
    if (!make_room(template_)) {
        tape_pack_template_free(template_);
        return NULL;
    }
    struct compiling compiling = {.template_ = template_};
    compile(&compiling, 0, template_->shape.count, 0);
    add_step(&compiling, TAPE_PACK_DO_END);
    uint8_t slack[TAPE_PACK_READ_AHEAD] = {0};
    tape_growing_put(&compiling.literals, slack, sizeof slack);
    template_->literals = compiling.literals.bytes;
    if (compiling.literals.failed) {
        tape_pack_template_free(template_);
        return NULL;
    }
    fill_words(template_);
    find_stream_slot(template_);
    template_->wild = (uint8_t)has_free_string(template_);
    template_->naming = (uint8_t)naming;
    template_->family = tape_pack_shape_family(&template_->shape);
    return template_;
}

void tape_pack_template_free(struct tape_pack_template *template_)
{
    if (template_ == NULL)
        return;
    tape_pack_template_release(template_);
    tape_pack_shape_free(&template_->shape);
    free(template_->literals);
    free(template_->steps);
    free(template_->slots);
    free(template_->scopes);
    free(template_);
}

void tape_pack_template_clear(struct tape_pack_template *template_)
{
    for (uint32_t i = 0; i < template_->slot_count; i++)
        template_->slots[i].count = 0;
    for (uint32_t i = 0; i < template_->scope_count; i++)
        template_->scopes[i].count = template_->scopes[i].running = 0;
    template_->row_count = 0;
}

void tape_pack_template_release(struct tape_pack_template *template_)
{
    for (uint32_t i = 0; i < template_->slot_count; i++) {
        struct tape_pack_slot *slot = &template_->slots[i];
        free(slot->values);
        free(slot->decimals);
        slot->values = NULL;
        slot->decimals = NULL;
        slot->count = slot->room = 0;
    }
    free(template_->rows);
    template_->rows = NULL;
    template_->row_count = template_->row_room = 0;
}

int tape_pack_slot_grow(struct tape_pack_slot *slot)
{
    size_t room = (size_t)slot->room * 2 + 64;
    size_t slack = TAPE_COLUMN_SLACK;
    int64_t *values = realloc(slot->values, (room + slack) * sizeof *values);
    if (values != NULL)
        slot->values = values;
    uint8_t *decimals = realloc(slot->decimals, room + slack);
    if (decimals != NULL)
        slot->decimals = decimals;
    if (values == NULL || decimals == NULL)
        return 0;
    slot->room = (uint32_t)room;
    return 1;
}

int tape_pack_template_add_row(struct tape_pack_template *template_, uint32_t record)
{
    if (template_->row_count == template_->row_room) {
        uint32_t room = template_->row_room * 2 + 64;
        uint32_t *larger = realloc(template_->rows, room * sizeof *larger);
        if (larger == NULL)
            return 0;
        template_->rows = larger;
        template_->row_room = room;
    }
    template_->rows[template_->row_count++] = record;
    return 1;
}
