/* Packed blocks: many records re-blocked into the smallest form that gives them back byte for byte
 * (FORMAT.md, "Packed blocks"). Memory only, no files. */
#ifndef TAPE_FORMAT_PACK_H
#define TAPE_FORMAT_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "format/block.h"
#include "format/error.h"
#include "format/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_PACK_LEVEL(name, number, word, raw bytes of a block, zstd level) */
#define TAPE_PACK_LEVEL_TABLE(X)                                                                   \
    X(WARM, 0, "warm", 1 << 20, 1)                                                                 \
    X(COLD, 1, "cold", 16 << 20, 19)

enum tape_pack_level {
#define TAPE_PACK_LEVEL_ENUM(name, number, word, raw_bytes, zstd_level) TAPE_PACK_##name = number,
    TAPE_PACK_LEVEL_TABLE(TAPE_PACK_LEVEL_ENUM)
#undef TAPE_PACK_LEVEL_ENUM
};

struct tape_pack; /* opaque; one thread; keeps its buffers from block to block */

/* tape_pack_new(level): NULL when memory is short. level is an enum tape_pack_level. */
struct tape_pack *tape_pack_new(int level);
void tape_pack_free(struct tape_pack *pack);

/* tape_pack_append(pack, record, error): as tape_block_append: 1, 0 when the block is full (seal
 * first, then append again; an empty block takes any record), or a status. The body is copied. */
int tape_pack_append(struct tape_pack *pack, const struct tape_record *record,
                     struct tape_error *error);

/* tape_pack_records(pack): what waits in it. */
uint32_t tape_pack_records(const struct tape_pack *pack);

/*
 * tape_pack_seal(pack, header, stored, error): encodes what waits with each codec that may be the
 * smallest, decodes the result with tape_block_open and compares every record with what was
 * appended; bytes that do not give the records back are never returned (the next simpler codec is
 * taken). Fills header and *stored as tape_block_seal does; *stored is the pack's until the next
 * append or seal. 0 or a status.
 */
int tape_pack_seal(struct tape_pack *pack, struct tape_block_header *header, uint8_t **stored,
                   struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
