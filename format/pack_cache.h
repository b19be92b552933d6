/* The templates that the packer knows, from block to block. Private to the packer. */
#ifndef TAPE_FORMAT_PACK_CACHE_H
#define TAPE_FORMAT_PACK_CACHE_H

#include <stdint.h>

#include "format/pack_template.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_PACK_CACHE_MAX = 512,
    TAPE_PACK_CACHE_BUCKETS = 1024,
};

/* Zero-initialise; tape_pack_cache_free() at the end. Invariants: all[0 .. count) are exactly the
 * templates that hang in buckets, but for superseded ones, which hang nowhere. What it holds
 * follows from the blocks alone. */
struct tape_pack_cache {
    struct tape_pack_template *all[TAPE_PACK_CACHE_MAX];
    struct tape_pack_template *buckets[TAPE_PACK_CACHE_BUCKETS];
    uint32_t count;
    uint64_t block;
    int changed; /* rows of this block match a superseded template */
    struct tape_pack_shape read, joint[2];
};

/* A text of a record: bodies is where string places are counted from. */
struct tape_pack_text {
    const uint8_t *from, *to, *bodies;
    uint16_t flags; /* of the record */
};

/* tape_pack_cache_find(cache, text): the template that the text matches, its values added; or
 * NULL. */
struct tape_pack_template *tape_pack_cache_find(struct tape_pack_cache *cache,
                                                const struct tape_pack_text *text);

/* tape_pack_cache_learn(cache, text): after find gave none: makes a template for it, or widens one,
 * and matches. NULL: the text has no template. */
struct tape_pack_template *tape_pack_cache_learn(struct tape_pack_cache *cache,
                                                 const struct tape_pack_text *text);

/* tape_pack_cache_settle(cache): when all texts of the block are matched: 1 when the templates have
 * changed so much that all should be cleared and matched again. */
int tape_pack_cache_settle(struct tape_pack_cache *cache);

/* tape_pack_cache_clear(cache): no rows. tape_pack_cache_end_block(cache): no rows, and what was of
 * no use is forgotten. */
void tape_pack_cache_clear(struct tape_pack_cache *cache);
void tape_pack_cache_end_block(struct tape_pack_cache *cache);
void tape_pack_cache_free(struct tape_pack_cache *cache);

#ifdef __cplusplus
}
#endif
#endif
