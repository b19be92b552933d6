/* What the packer's files share. Private to the packer. */
#ifndef TAPE_FORMAT_PACK_INTERNAL_H
#define TAPE_FORMAT_PACK_INTERNAL_H

#include <stdint.h>

#include "format/block.h"
#include "format/pack.h"
#include "format/pack_cache.h"
#include "format/pack_group.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ZSTD_CCtx_s;

enum { TAPE_PACK_DOUBTS_MAX = 256 };

/* A connection that sent fragments in this block, or is inside a message since an earlier one. */
struct tape_pack_doubt {
    uint32_t connection;
    int open; /* inside a message after what was looked at so far */
};

/*
 * Invariants:
 * - records[i] and recv_ns[i] of i < count wait, with ordinals first_ordinal + i; their bodies lie
 *   in bodies one after the other;
 * - raw_bytes is their length in the form of codec 0, but for the first one's stamp;
 * - while a block is written TAPE_PACK_READ_AHEAD zero bytes follow the bodies;
 * - sealed: the next append starts anew.
 */
struct tape_pack {
    const struct tape_pack_level_rule *rule;
    struct ZSTD_CCtx_s *zstd;
    struct tape_block_reader *reader;
    struct tape_column_writer *writer;
    struct tape_pack_slots *slots;
    struct tape_pack_waiting *records;
    int64_t *recv_ns;
    uint32_t count, room;
    struct tape_growing bodies;
    size_t raw_bytes;
    uint64_t first_ordinal;
    int64_t last_recv_ns, min_recv_ns, max_recv_ns;
    int sealed;
    struct tape_pack_cache cache;
    struct tape_pack_groups groups;
    struct tape_pack_doubt doubts[TAPE_PACK_DOUBTS_MAX];
    uint32_t doubt_count;
    int doubts_overran;    /* there are more: all connections are in doubt */
    uint64_t next_ordinal; /* behind the last block */
    uint32_t refused;      /* payloads that did not give the records back: a fault of ours */
    struct tape_column_plan order_plan, recv_plan;
    struct tape_pack_output output;
    struct tape_growing stored, scratch;
};

struct tape_pack_level_rule {
    size_t raw_bytes;
    int level;    /* zstd's, of both areas */
    int thorough; /* columns are tried in more ways */
};

/* tape_pack_sort(pack): every record gets a form and a group. 1, or 0 when memory is short. */
int tape_pack_sort(struct tape_pack *pack);

/* tape_pack_payload(pack, as_text): the payload of the sorted records behind
 * TAPE_BLOCK_HEADER_BYTES of room in pack->stored; as_text: no templates. The codec it has, or -1
 * when it cannot be expressed or memory is short. */
int tape_pack_payload(struct tape_pack *pack, int as_text);

#ifdef __cplusplus
}
#endif
#endif
