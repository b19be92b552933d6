/* From the slots of a template to the fields of a tick. Private to the columns. */
#ifndef TAPE_FORMAT_COLUMNS_INTERNAL_H
#define TAPE_FORMAT_COLUMNS_INTERNAL_H

#include "format/columns.h"
#include "format/growing.h"
#include "format/packed_internal.h"

/* --- columns_content.c: what all strings of a slot have in common --- */

/* Strings of one content can stand for each other in JSON. All but ODD can stand between quotes,
 * from BOOL on also without them. */
enum tape_columns_content {
    TAPE_COLUMNS_ODD_TEXT, /* some have quotes, backslashes or controls */
    TAPE_COLUMNS_TEXT,
    TAPE_COLUMNS_BOOL,   /* all are true or false */
    TAPE_COLUMNS_NULL,   /* all are null */
    TAPE_COLUMNS_NUMBER, /* all are JSON numbers */
};

/* tape_columns_content_of(group, place): of a string slot. */
int tape_columns_content_of(const struct tape_packed_group *group,
                            const struct tape_packed_place *place);

/* tape_columns_event_kind(entry): the kind that a message without a stream has whose "e" this is.
 * tape_columns_is_partial(entry, scratch): 1 when it is the name of a stream whose depth updates
 * are snapshots; scratch->failed when memory is short. Both ask the parser. */
int tape_columns_event_kind(struct tape_packed_words entry);
int tape_columns_is_partial(struct tape_packed_words entry, struct tape_growing *scratch);

/* --- columns_probe.c: a row made up, of which is known where each slot stands --- */

/* What is put into the slots: the number slot of place i gets first_number + i, a string slot a
 * text of its content, lists one element. */
struct tape_columns_filling {
    const struct tape_packed_group *group;
    const uint8_t *contents; /* by place */
    int64_t first_number;
    int32_t event_place, stream_place; /* -1: none; else they get these */
    struct tape_packed_words event, stream;
    int32_t false_place; /* -1, or a BOOL that gets "false" rather than "true" */
};

/* Zero-initialise; free(text.bytes) and free(slots) at the end. */
struct tape_columns_probe {
    struct tape_growing text;
    struct tape_columns_range {
        uint32_t from, to;
    } * slots; /* by place; lists: all elements */
};

/* tape_columns_probe_fill(probe, filling): 1, or 0 when memory is short. */
int tape_columns_probe_fill(struct tape_columns_probe *probe,
                            const struct tape_columns_filling *filling);

/* tape_columns_probe_prove(probe, filling): 1 when every row of the template is JSON that differs
 * from the probe only in scalars, each for one of its kind, and in how many elements lists have: no
 * slot is a part of a key, of a number or of a longer string, and a list is all of an array. */
int tape_columns_probe_prove(const struct tape_columns_probe *probe,
                             const struct tape_columns_filling *filling);

/* tape_columns_probe_find(probe, filling, slice): the place that the slice of the text is, or -1.
 */
int32_t tape_columns_probe_find(const struct tape_columns_probe *probe,
                                const struct tape_columns_filling *filling,
                                struct tape_slice slice);

/* --- columns_map.c: which slot is which field --- */

/* place -1: the constant. Of the other places it holds that the column can be given as it is, but
 * for what tape_columns_fill_batch still checks of each block. */
struct tape_columns_map {
    int kind;
    struct {
        int32_t place;
        int64_t constant;
    } integers[TAPE_COLUMNS_INTEGERS];
    struct {
        int32_t place;
        int64_t value;
        uint8_t scale, state;
    } decimals[TAPE_COLUMNS_DECIMALS];
    struct {
        int32_t list, price, quantity; /* -1: no row has levels */
        uint8_t state;
    } levels[TAPE_COLUMNS_LEVELS];
    struct {
        int32_t place;
        struct tape_slice constant; /* points into text */
    } words[TAPE_COLUMNS_WORDS];
    char *text;
};

/* tape_columns_map_new(filling): the map of the rows that are filled so (but for the numbers);
 * NULL: some field cannot be given without its text, or memory is short. */
struct tape_columns_map *tape_columns_map_new(struct tape_columns_filling *filling);
void tape_columns_map_free(struct tape_columns_map *map);

/* --- columns_shape.c: what is known of templates, kept from block to block --- */

enum { TAPE_COLUMNS_SHAPES = 256, TAPE_COLUMNS_KINDS = TAPE_TICK_SHUTDOWN + 1 };

/* Rows of one program and contents. Invariant: maps[kind of "e"][stream is partial] is what all
 * such rows have, NULL with known = 1 when that has none. */
struct tape_columns_shape {
    uint64_t hash;
    struct tape_growing key;
    uint8_t good; /* proven to be JSON of one structure, a message and no answer */
    int32_t event_place, stream_place; /* -1: the same in all rows, or not there */
    uint8_t known[TAPE_COLUMNS_KINDS][2];
    struct tape_columns_map *maps[TAPE_COLUMNS_KINDS][2];
};

/* Zero-initialise. Each shape has one place, by its hash; a newcomer takes it over. */
struct tape_columns_shapes {
    struct tape_columns_shape *at[TAPE_COLUMNS_SHAPES];
    struct tape_growing key, contents, scratch;
};

void tape_columns_shapes_free(struct tape_columns_shapes *shapes);

/* tape_columns_shapes_find(shapes, group): its shape, and shapes->contents are those of its places;
 * NULL when memory is short. Valid until the next find. */
struct tape_columns_shape *tape_columns_shapes_find(struct tape_columns_shapes *shapes,
                                                    const struct tape_packed_group *group);

/* tape_columns_shapes_map(shapes, shape, group, kind, partial, event, stream): the map of the rows
 * with an "e" of that kind and a stream that is partial or not; event and stream are examples. */
const struct tape_columns_map *
tape_columns_shapes_map(struct tape_columns_shapes *shapes, struct tape_columns_shape *shape,
                        const struct tape_packed_group *group, int kind, int partial,
                        struct tape_packed_words event, struct tape_packed_words stream);

/* --- columns_rows.c: rows of a group in one batch --- */

/* The heads that name a group. */
struct tape_columns_heads {
    uint8_t seen, differ; /* differ: in connection or flags */
    uint8_t good;         /* all are of whole, good text frames from the venue */
    uint16_t flags;
    uint32_t connection;
};

/* tape_columns_fill_batch(batch, decoder, group, heads, map): all rows of the group. 1; 0: a column
 * cannot be given without its text; TAPE_FAILED (memory). What it points to lives in
 * decoder->memory. */
int tape_columns_fill_batch(struct tape_columns_batch *batch, struct tape_packed_decoder *decoder,
                            const struct tape_packed_group *group,
                            const struct tape_columns_heads *heads,
                            const struct tape_columns_map *map);

/* tape_columns_keep_rows(batch, memory, rows, count): of the batch only these rows stay. 1 or
 * TAPE_FAILED. */
int tape_columns_keep_rows(struct tape_columns_batch *batch, struct tape_packed_memory *memory,
                           const uint32_t *rows, uint32_t count);

/* --- columns_group.c: a template group as batches --- */

/* Zero-initialise; free(at) at the end. */
struct tape_columns_batches {
    struct tape_columns_batch *at;
    uint32_t count, room;
};

/* tape_columns_batches_add(batches): a zeroed one, or NULL. Others move. */
struct tape_columns_batch *tape_columns_batches_add(struct tape_columns_batches *batches);

/* tape_columns_take_group(shapes, decoder, group, heads, batches): 1: all rows of the group were
 * added to batches; 0: none, they must be read as text; TAPE_FAILED (memory). */
int tape_columns_take_group(struct tape_columns_shapes *shapes, struct tape_packed_decoder *decoder,
                            const struct tape_packed_group *group,
                            const struct tape_columns_heads *heads,
                            struct tape_columns_batches *batches);

#endif
