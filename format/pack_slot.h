/* Writing a template group: the form of each place for values, dictionaries, the program, the
 * columns. Private to the packer. */
#ifndef TAPE_FORMAT_PACK_SLOT_H
#define TAPE_FORMAT_PACK_SLOT_H

#include <stdint.h>

#include "format/pack_template.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a block's payload grows. */
struct tape_pack_output {
    struct tape_column_output columns; /* pool and bits */
    struct tape_growing text;
};

struct tape_pack_slots; /* scratch; one thread */
struct tape_pack_slots *tape_pack_slots_new(void);
void tape_pack_slots_free(struct tape_pack_slots *slots);

/* tape_pack_slots_write(slots, writer, template, recv_ns, bodies, output): appends coding, naming,
 * program and columns of a template with rows; recv_ns is indexed by record. The values of the
 * template are changed on the way (but see tape_pack_text_of for its rows). Returns how many
 * values its columns have, or -1 when it cannot be expressed or memory is short: what was
 * appended is to be cut off then. */
int64_t tape_pack_slots_write(struct tape_pack_slots *slots, struct tape_column_writer *writer,
                              struct tape_pack_template *template_, const int64_t *recv_ns,
                              const uint8_t *bodies, struct tape_pack_output *output);

#ifdef __cplusplus
}
#endif
#endif
