/* A template of the packer: a shape, its program, and the values of the rows that matched it in
 * this block. Private to the packer. */
#ifndef TAPE_FORMAT_PACK_TEMPLATE_H
#define TAPE_FORMAT_PACK_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "format/column.h"
#include "format/pack_number.h"
#include "format/pack_shape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a program does after its literal. */
enum tape_pack_do {
    TAPE_PACK_DO_END,
    TAPE_PACK_DO_NUMBER,
    TAPE_PACK_DO_TIME,
    TAPE_PACK_DO_STRING, /* up to the closing quote */
    TAPE_PACK_DO_WORD,   /* true, false, null or a number */
    TAPE_PACK_DO_LIST,   /* its elements' steps follow; jump: the step behind them */
    TAPE_PACK_DO_NEXT,   /* an element ends; jump: its first step */
};

/* A place for values. A string's value is where it stands in the block's bodies: offset << 32 |
 * length. A list's is how many elements it has. Invariants: count <= room; decimals only of numbers
 * and times; the values of a scope's slots are as many as its elements. */
struct tape_pack_slot {
    uint8_t kind, quoted;
    uint16_t scope;
    uint32_t node; /* in the shape */
    uint32_t count, room;
    int64_t *values;
    uint8_t *decimals;
    struct tape_column_plan plans[2];
};

struct tape_pack_step {
    uint64_t word, mask; /* the literal's first eight bytes */
    uint32_t bytes;      /* of the literal */
    uint8_t action;
    uint8_t pairs;  /* list: its elements are two numbers between three short literals */
    uint16_t scope; /* of list and next: the list's inside */
    struct tape_pack_slot *slot; /* list and next: that counts its elements */
    struct tape_pack_step *jump;
    const uint8_t *text;                   /* the literal */
    struct tape_pack_number_layout layout; /* number: of the last ones */
};

struct tape_pack_scope {
    uint16_t parent, list; /* list: the slot that counts its elements; scope 0 are the rows */
    uint32_t count;        /* of all rows but the one that is being matched */
    uint32_t running;      /* with that one */
};

struct tape_pack_template {
    struct tape_pack_template *next; /* of the same prefix */
    struct tape_pack_shape shape;
    uint8_t *literals;
    struct tape_pack_step *steps;
    struct tape_pack_slot *slots;
    struct tape_pack_scope *scopes;
    uint32_t *rows; /* the records of this block that are its rows */
    uint32_t step_count, slot_count, scope_count, row_count, row_room;
    uint64_t family;
    uint32_t prefix; /* hash of the first bytes */
    uint8_t tier;    /* how many those are: an index */
    uint8_t wild;    /* some of its strings at the top are free */
    uint8_t naming;  /* enum tape_packed_naming */
    uint8_t superseded;
    uint16_t stream_slot; /* where naming is by a column */
    uint64_t last_used;   /* number of the block */
    uint32_t group;       /* while a block is written: its number there */
};

/* tape_pack_template_new(shape, naming): takes the shape over, also when it fails: NULL when memory
 * is short or the program would have too many nodes. */
struct tape_pack_template *tape_pack_template_new(struct tape_pack_shape *shape, int naming);
void tape_pack_template_free(struct tape_pack_template *template_);

/* tape_pack_template_clear(template): forgets its rows. tape_pack_template_release(template): and
 * gives their memory back. */
void tape_pack_template_clear(struct tape_pack_template *template_);
void tape_pack_template_release(struct tape_pack_template *template_);

/* tape_pack_slot_grow(slot): room for more values; 0 when memory is short. */
int tape_pack_slot_grow(struct tape_pack_slot *slot);

/* tape_pack_template_match(template, text, end, bodies): whether the bytes from ${text} to ${end}
 * are a row of it; if so its values are added, with strings counted from ${bodies}.
 * TAPE_PACK_READ_AHEAD bytes behind end are readable, and a zero byte ends all. 1, or 0 with all as
 * before. */
int tape_pack_template_match(struct tape_pack_template *template_, const uint8_t *text,
                             const uint8_t *end, const uint8_t *bodies);

/* tape_pack_template_add_row(template, record): after a match; 0 when memory is short. */
int tape_pack_template_add_row(struct tape_pack_template *template_, uint32_t record);

#ifdef __cplusplus
}
#endif
#endif
