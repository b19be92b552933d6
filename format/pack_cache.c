#include "format/pack_cache.h"

#include <stdlib.h>
#include <string.h>

#include "format/pack_name.h"
#include "format/packed.h"
#include "format/record.h"

enum {
    TIERS = 3,
    FAMILY_MAX = 16, /* templates that differ in strings only, before they get one in common */
    OWN_ROWS = 256,  /* with fewer rows in a block such a template is not kept */
    IDLE_BLOCKS = 64,
    TRIES_MAX =
        128, /* of templates for one text, and of joins for one shape: what more would find */
    JOINS_MAX = 32, /* is not worth the time that a hostile venue could make it take */
    CROWDED = TAPE_PACK_CACHE_MAX - 128,
};

static const uint32_t tier_bytes[TIERS] = {24, 8, 1};

/* --- finding --- */

static inline uint32_t hash_prefix(const uint8_t *text, int tier)
{
    uint64_t words[3], hash;
    if (tier == 2)
        return (*text + 1u) * 2654435761u;
    memcpy(words, text, sizeof words);
    hash = words[0] * 0x9e3779b97f4a7c15;
    if (tier == 0)
        hash = ((hash ^ words[1]) * 0xff51afd7ed558ccd ^ words[2]) * 0xc4ceb9fe1a85ec53;
    return (uint32_t)(hash >> 32) + (uint32_t)tier;
}

static struct tape_pack_template **bucket_of(struct tape_pack_cache *cache, uint32_t prefix)
{
    return &cache->buckets[prefix % TAPE_PACK_CACHE_BUCKETS];
}

struct tape_pack_template *tape_pack_cache_find(struct tape_pack_cache *cache,
                                                const struct tape_pack_text *text)
{
    uint32_t tries = 0;
    for (int tier = 0; tier < TIERS; tier++) {
        if ((size_t)(text->to - text->from) < tier_bytes[tier])
            continue;
        uint32_t prefix = hash_prefix(text->from, tier);
        struct tape_pack_template **first = bucket_of(cache, prefix);
        for (struct tape_pack_template **at = first; *at != NULL && tries < TRIES_MAX;
             at = &(*at)->next) {
            struct tape_pack_template *found = *at;
            if (found->prefix != prefix)
                continue;
            tries++;
            if (!tape_pack_template_match(found, text->from, text->to, text->bodies))
                continue;
            if (at != first && !found->wild) {
                *at = found->next;
                found->next = *first;
                *first = found;
            }
            return found;
        }
    }
    return NULL;
}

static void hang(struct tape_pack_cache *cache, struct tape_pack_template *template_)
{
    uint32_t bytes = template_->steps[0].bytes;
    int tier = 0;
    while (tier < TIERS - 1 && bytes < tier_bytes[tier])
        tier++;
    template_->tier = (uint8_t)tier;
    template_->prefix = hash_prefix(template_->literals, tier);
    struct tape_pack_template **at = bucket_of(cache, template_->prefix);
    while (*at != NULL && template_->wild)
        at = &(*at)->next;
    template_->next = *at;
    *at = template_;
}

static void unhang(struct tape_pack_cache *cache, struct tape_pack_template *template_)
{
    struct tape_pack_template **at = bucket_of(cache, template_->prefix);
    while (*at != NULL && *at != template_)
        at = &(*at)->next;
    if (*at != NULL)
        *at = template_->next;
    template_->next = NULL;
}

static void supersede(struct tape_pack_cache *cache, struct tape_pack_template *template_)
{
    unhang(cache, template_);
    template_->superseded = 1;
    if (template_->row_count > 0)
        cache->changed = 1;
}

/* --- learning --- */

/* What the name of all rows is, given that of the text whose shape was read. */
static int find_naming(const struct tape_pack_shape *shape, const struct tape_pack_shape *read,
                       const struct tape_slice *stream)
{
    if (shape->odd_stream || (shape->stream < 0) != (read->stream < 0))
        return TAPE_PACKED_UNNAMED;
    if (shape->stream < 0)
        return stream->bytes == 0 ? TAPE_PACKED_NAMED : TAPE_PACKED_UNNAMED;
    const struct tape_pack_node *node = &read->nodes[read->stream];
    if (node->bytes != stream->bytes ||
        memcmp(read->text.bytes + node->text, stream->data, stream->bytes) != 0)
        return TAPE_PACKED_UNNAMED;
    return shape->nodes[shape->stream].kind == TAPE_PACK_SCALAR ? TAPE_PACKED_NAMED
                                                                : TAPE_PACKED_NAMED_BY_COLUMN;
}

static struct tape_pack_template *add(struct tape_pack_cache *cache, struct tape_pack_shape *shape,
                                      int naming)
{
    if (cache->count == TAPE_PACK_CACHE_MAX) {
        return NULL;
    }
    struct tape_pack_template *made = tape_pack_template_new(shape, naming);
    if (made == NULL)
        return NULL;
    cache->all[cache->count++] = made;
    hang(cache, made);
    return made;
}

static int same_shape(const struct tape_pack_shape *one, const struct tape_pack_shape *other)
{
    if (one->count != other->count)
        return 0;
    for (uint32_t i = 0; i < one->count; i++)
        if (one->nodes[i].kind != other->nodes[i].kind ||
            one->nodes[i].bytes != other->nodes[i].bytes)
            return 0;
    return 1;
}

/* A known template that fits when it is made wider, but for its strings; *stuck: one has that shape
 * already, and yet the text does not match. */
static struct tape_pack_template *find_wider(struct tape_pack_cache *cache, uint64_t family,
                                             int free_scalars, int *stuck)
{
    uint32_t joins = 0;
    for (uint32_t i = 0; i < cache->count; i++) {
        struct tape_pack_template *known = cache->all[i];
        if (known->family != family || known->superseded || (free_scalars && !known->wild))
            continue;
        if (joins++ == JOINS_MAX)
            return NULL;
        if (!tape_pack_shape_join(&known->shape, &cache->read, free_scalars, &cache->joint[0]))
            continue;
        if (!same_shape(&known->shape, &cache->joint[0]))
            return known;
        *stuck = 1;
        return NULL;
    }
    return NULL;
}

/* The join of the text and all templates of its family, when there are many; into joint[0]. */
static int join_family(struct tape_pack_cache *cache, uint64_t family)
{
    uint32_t members = 0;
    for (uint32_t i = 0; i < cache->count; i++)
        members += cache->all[i]->family == family && !cache->all[i]->superseded;
    if (members < FAMILY_MAX)
        return 0;
    const struct tape_pack_shape *from = &cache->read;
    int turn = 0;
    for (uint32_t i = 0; i < cache->count; i++) {
        const struct tape_pack_template *known = cache->all[i];
        if (known->family != family || known->superseded)
            continue;
        if (!tape_pack_shape_join(from, &known->shape, 1, &cache->joint[turn]))
            return 0;
        from = &cache->joint[turn];
        turn = !turn;
    }
    if (from != &cache->joint[0]) {
        struct tape_pack_shape other = cache->joint[0];
        cache->joint[0] = cache->joint[1];
        cache->joint[1] = other;
    }
    return 1;
}

static struct tape_pack_template *widen(struct tape_pack_cache *cache, uint64_t family,
                                        const struct tape_slice *stream)
{
    int stuck = 0;
    struct tape_pack_template *narrow = find_wider(cache, family, 0, &stuck);
    if (narrow == NULL && !stuck)
        narrow = find_wider(cache, family, 1, &stuck);
    if (stuck)
        return NULL;
    if (narrow == NULL && !join_family(cache, family))
        return add(cache, &cache->read, find_naming(&cache->read, &cache->read, stream));
    int naming = find_naming(&cache->joint[0], &cache->read, stream);
    if (narrow != NULL && narrow->naming == TAPE_PACKED_UNNAMED)
        naming = TAPE_PACKED_UNNAMED;
    struct tape_pack_template *wide = add(cache, &cache->joint[0], naming);
    if (wide != NULL && narrow != NULL)
        supersede(cache, narrow);
    return wide;
}

struct tape_pack_template *tape_pack_cache_learn(struct tape_pack_cache *cache,
                                                 const struct tape_pack_text *text)
{
    struct tape_slice stream;
    size_t bytes = (size_t)(text->to - text->from);
    if (cache->count == TAPE_PACK_CACHE_MAX ||
        !tape_pack_shape_read(&cache->read, text->from, bytes))
        return NULL;
    if (!tape_pack_name_text(text->flags & ~(unsigned)TAPE_RECORD_FLAG_IMPORTED, text->from, bytes,
                             &stream))
        return NULL;
    struct tape_pack_template *made = widen(cache, tape_pack_shape_family(&cache->read), &stream);
    if (made == NULL || !tape_pack_template_match(made, text->from, text->to, text->bodies))
        return NULL;
    return made;
}

/* --- blocks --- */

static int has_wild_relative(const struct tape_pack_cache *cache, uint64_t family)
{
    for (uint32_t i = 0; i < cache->count; i++)
        if (cache->all[i]->family == family && cache->all[i]->wild && !cache->all[i]->superseded)
            return 1;
    return 0;
}

int tape_pack_cache_settle(struct tape_pack_cache *cache)
{
    for (uint32_t i = 0; i < cache->count; i++) {
        struct tape_pack_template *known = cache->all[i];
        if (!known->wild && !known->superseded && known->row_count < OWN_ROWS &&
            has_wild_relative(cache, known->family))
            supersede(cache, known);
    }
    int changed = cache->changed;
    cache->changed = 0;
    return changed;
}

void tape_pack_cache_clear(struct tape_pack_cache *cache)
{
    for (uint32_t i = 0; i < cache->count; i++)
        tape_pack_template_clear(cache->all[i]);
}

void tape_pack_cache_end_block(struct tape_pack_cache *cache)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cache->count; i++) {
        struct tape_pack_template *known = cache->all[i];
        int fresh = known->last_used == 0;
        if (known->row_count > 0)
            known->last_used = cache->block + 1;
        uint64_t idle = cache->block + 1 - known->last_used;
        int useless = known->superseded || (fresh && known->row_count < 2) || idle > IDLE_BLOCKS ||
                      (idle > 0 && cache->count > CROWDED);
        if (!useless) {
            if (idle > 0)
                tape_pack_template_release(known);
            cache->all[kept++] = known;
            continue;
        }
        unhang(cache, known);
        tape_pack_template_free(known);
    }
    cache->count = kept;
    cache->block++;
    cache->changed = 0;
    tape_pack_cache_clear(cache);
}

void tape_pack_cache_free(struct tape_pack_cache *cache)
{
    for (uint32_t i = 0; i < cache->count; i++)
        tape_pack_template_free(cache->all[i]);
    tape_pack_shape_free(&cache->read);
    tape_pack_shape_free(&cache->joint[0]);
    tape_pack_shape_free(&cache->joint[1]);
    memset(cache, 0, sizeof *cache);
}
