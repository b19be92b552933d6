/* The groups of a block: which records are written together, and the heads that tell them apart.
 * Private to the packer. */
#ifndef TAPE_FORMAT_PACK_GROUP_H
#define TAPE_FORMAT_PACK_GROUP_H

#include <stdint.h>

#include "format/growing.h"
#include "format/pack_slot.h"
#include "format/pack_template.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A record as it waits in the packer; its body is at bodies + offset. */
struct tape_pack_waiting {
    uint32_t offset, bytes, connection;
    uint16_t flags;
    uint8_t kind;
    uint8_t form;   /* first byte of a frame whose header follows from its length, or 0 */
    uint8_t header; /* bytes of that header; 0: the body is kept whole */
    uint32_t group;
};

/* Records written together: rows of a template, or texts. Invariant: rows rise. */
struct tape_pack_group {
    struct tape_pack_template *template_; /* or NULL */
    uint8_t naming;
    uint8_t as_text;           /* the template would not pay */
    uint32_t name, name_bytes; /* naming is NAMED: where in the bodies */
    uint32_t next;             /* of the same hash: 1 + index, or 0 */
    uint64_t likeness;         /* texts of one group begin alike */
    uint32_t *rows;            /* the template's, or its own */
    uint32_t row_count, row_room;
};

/* Zero-initialise; tape_pack_groups_free() at the end. */
struct tape_pack_groups {
    struct tape_pack_group *all;
    uint32_t count, room;
    uint32_t buckets[1024];
    struct tape_growing heads; /* scratch of tape_pack_groups_put_heads */
    int64_t *order;
    uint8_t *tokens;
    size_t order_room;
};

void tape_pack_groups_free(struct tape_pack_groups *groups);
void tape_pack_groups_clear(struct tape_pack_groups *groups);

/* tape_pack_groups_add_template(groups, template): its rows are a group; sets template->group.
 * 0 when memory is short. */
int tape_pack_groups_add_template(struct tape_pack_groups *groups,
                                  struct tape_pack_template *template_);

/* tape_pack_groups_add_text(groups, bodies, record, row, naming, name, name_bytes): the record's
 * bytes are kept as text, beside those that begin alike and have the same name. 0 when memory is
 * short. */
int tape_pack_groups_add_text(struct tape_pack_groups *groups, const uint8_t *bodies,
                              struct tape_pack_waiting *record, uint32_t row, int naming,
                              uint32_t name, uint32_t name_bytes);

/* tape_pack_groups_put_heads(groups, records, count, writer, plan, output): heads and the order
 * column. 0 when memory is short. */
int tape_pack_groups_put_heads(struct tape_pack_groups *groups,
                               const struct tape_pack_waiting *records, uint32_t count,
                               struct tape_column_writer *writer, struct tape_column_plan *plan,
                               struct tape_pack_output *output);

/* tape_pack_groups_put_text(groups, group, records, bodies, writer, output): a group as text. 0
 * when memory is short. */
int tape_pack_groups_put_text(struct tape_pack_groups *groups, const struct tape_pack_group *group,
                              const struct tape_pack_waiting *records, const uint8_t *bodies,
                              struct tape_column_writer *writer, struct tape_pack_output *output);

#ifdef __cplusplus
}
#endif
#endif
