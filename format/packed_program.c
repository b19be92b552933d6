/* A template's program: parsed into places. */
#include <string.h>

#include "format/packed.h"
#include "format/packed_internal.h"

/* Where the nodes are that come next. */
struct nesting {
    struct tape_column_scope *scope;
    uint32_t list; /* index of its place; not at the top */
};

/* Counts the nodes of a program without keeping them, so that there is room for exactly those. The
 * input is a copy. 0: it is none. */
static uint32_t count_nodes(struct tape_packed_input input)
{
    struct tape_packed_words literal;
    uint32_t nodes = 0, depth = 0;
    uint8_t node;
    while (tape_packed_take_u8(&input, &node)) {
        if (node == TAPE_PACKED_END) {
            if (depth == 0)
                return nodes;
            depth--;
            continue;
        }
        if (++nodes > TAPE_PACKED_NODES_MAX)
            break;
        if (node == TAPE_PACKED_LITERAL && !tape_packed_take_words(&input, UINT32_MAX, &literal))
            break;
        depth += node == TAPE_PACKED_LIST;
    }
    return nodes;
}

/* One node into a place; NULL, or what is wrong. */
static const char *read_node(struct tape_packed_input *input, uint8_t node, uint32_t depth,
                             struct tape_packed_place *place)
{
    place->node = node;
    switch (node) {
    case TAPE_PACKED_LITERAL:
        if (!tape_packed_take_words(input, UINT32_MAX, &place->literal))
            return "a literal is longer than the pool";
        return place->literal.length == 0 ? "a literal is empty" : NULL;
    case TAPE_PACKED_NUMBER:
    case TAPE_PACKED_STRING:
        return NULL;
    case TAPE_PACKED_LIST:
        return depth == TAPE_PACKED_DEPTH_MAX ? "lists are too deep" : NULL;
    default:
        return "a node is none";
    }
}

static const char *read_nodes(struct tape_packed_input *input, struct tape_packed_group *group,
                              uint32_t room)
{
    struct nesting nesting[TAPE_PACKED_DEPTH_MAX + 1] = {{.scope = &group->rows}};
    uint32_t depth = 0, at = 0;
    uint8_t node;
    for (;;) {
        if (!tape_packed_take_u8(input, &node))
            return "the program does not end";
        if (node == TAPE_PACKED_END) {
            group->place_count = at;
            if (depth == 0)
                return NULL;
            struct tape_packed_place *list = &group->places[nesting[depth].list];
            list->end = at;
            if (at == nesting[depth].list + 1)
                return "a list's element is empty";
            depth--;
            continue;
        }
        if (at == room)
            return "the program has too many nodes";
        struct tape_packed_place *place = &group->places[at];
        const char *fault = read_node(input, node, depth, place);
        if (fault != NULL)
            return fault;
        place->outside = nesting[depth].scope;
        place->end = at + 1;
        if (node == TAPE_PACKED_LIST)
            nesting[++depth] = (struct nesting){&place->inside, at};
        at++;
    }
}

int tape_packed_read_program(struct tape_packed_decoder *decoder, struct tape_packed_group *group,
                             struct tape_error *error)
{
    struct tape_packed_input *input = &decoder->input;
    uint32_t nodes = count_nodes(*input);
    if (nodes > TAPE_PACKED_NODES_MAX)
        return tape_error_set(error, TAPE_CORRUPT, "the program has too many nodes");
    if (nodes > input->nodes_left)
        return tape_error_set(error, TAPE_CORRUPT, "the block's programs have too many nodes");
    input->nodes_left -= nodes;
    group->places = tape_packed_memory_take(&decoder->memory, nodes, sizeof *group->places);
    if (group->places == NULL)
        return tape_error_set(error, TAPE_FAILED, "no memory for a program");
    memset(group->places, 0, nodes * sizeof *group->places);
    const char *fault = read_nodes(input, group, nodes);
    if (fault != NULL)
        return tape_error_set(error, TAPE_CORRUPT, "%s", fault);
    return 0;
}
