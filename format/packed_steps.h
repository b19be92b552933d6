/* A template's program as steps: what is put for a row, one after the other. Private to rebuilding
 * packed text. */
#ifndef TAPE_FORMAT_PACKED_STEPS_H
#define TAPE_FORMAT_PACKED_STEPS_H

#include "format/packed_internal.h"
#include "format/packed_number.h"

enum tape_packed_step_kind {
    TAPE_PACKED_PUT_EIGHT,    /* fixed, at most eight digits */
    TAPE_PACKED_PUT_SCALED,   /* fixed, at most eight digits without the zeros all end in */
    TAPE_PACKED_PUT_LONG,     /* fixed without decimals, below 10^16 */
    TAPE_PACKED_PUT_SHORT,    /* fixed, 1 to 8 decimals, the integer part below 10^8 */
    TAPE_PACKED_PUT_SHORTEST, /* as short, but shortest */
    TAPE_PACKED_PUT_SHORTEST_POINT,
    TAPE_PACKED_PUT_NUMBER, /* any number of any format but each and times */
    TAPE_PACKED_PUT_EACH,
    TAPE_PACKED_PUT_TIME,
    TAPE_PACKED_PUT_ENTRY, /* of a dictionary */
    TAPE_PACKED_PUT_RAW,
    TAPE_PACKED_PUT_UUID,
    TAPE_PACKED_PUT_LIST,
    TAPE_PACKED_PUT_RUN,     /* eight or scaled: this and the next ones at once, literals and all */
    TAPE_PACKED_PUT_NOTHING, /* but what comes after */
};

struct tape_packed_sequence;
struct tape_packed_shuffle;

/* A slot's text, then a literal. In a run `after` is empty: the shuffles have the literals. */
struct tape_packed_step {
    uint8_t kind; /* enum tape_packed_step_kind */
    uint8_t form, decimals;
    uint8_t zeros;         /* scaled: how many `after` begins with that belong to the number */
    uint16_t run;          /* of how many steps, this one with them */
    const int64_t *values; /* by row or element */
    struct tape_packed_words after;
    union {
        const struct tape_packed_cut *cut;
        struct tape_packed_rule rule;
        struct tape_packed_high high;
        const int64_t *decimals; /* of each value */
        const struct tape_packed_words *entries;
        const uint8_t *bytes; /* raw: of the next value; uuid: of the first */
        struct tape_packed_sequence *list;
        const struct tape_packed_shuffle *shuffle; /* each step of a run has one */
    } of;
};

/*
 * A row, or an element of a list: a literal, then steps.
 * An element of a list that is not the first begins with "," and the literal; that is most often
 * put as a part of what comes after the last step (joined), and once too much after the last
 * element: cut bytes are taken back there.
 */
struct tape_packed_sequence {
    struct tape_packed_words first;
    struct tape_packed_step *steps;
    uint32_t step_count;
    uint32_t cut;  /* list, joined */
    uint32_t next; /* list: the element that comes next */
    uint8_t joined;
    uint8_t pairs; /* joined, and its steps are one run of two */
};

enum { TAPE_PACKED_LITERAL_UNCHECKED_BYTES = 64 };

/* tape_packed_plan(decoder, group, rows, slack): the steps of a template's rows. *slack: how many
 * bytes a row may put beyond the place where room is checked. 0, or TAPE_FAILED (memory). */
int tape_packed_plan(struct tape_packed_decoder *decoder, const struct tape_packed_group *group,
                     struct tape_packed_sequence *rows, size_t *slack);

#endif
