#include "format/pack.h"

#include <stdlib.h>

struct tape_pack {
    struct tape_block_builder *builder;
};

struct tape_pack *tape_pack_new(int level)
{
    (void)level;
    struct tape_pack *pack = calloc(1, sizeof *pack);
    if (pack == NULL)
        return NULL;
    pack->builder = tape_block_builder_new();
    if (pack->builder == NULL) {
        free(pack);
        return NULL;
    }
    return pack;
}

void tape_pack_free(struct tape_pack *pack)
{
    if (pack == NULL)
        return;
    tape_block_builder_free(pack->builder);
    free(pack);
}

int tape_pack_append(struct tape_pack *pack, const struct tape_record *record,
                     struct tape_error *error)
{
    return tape_block_append(pack->builder, record, error);
}

uint32_t tape_pack_records(const struct tape_pack *pack)
{
    return tape_block_records(pack->builder);
}

int tape_pack_seal(struct tape_pack *pack, struct tape_block_header *header, uint8_t **stored,
                   struct tape_error *error)
{
    return tape_block_seal(pack->builder, TAPE_BLOCK_CODEC_INTERLEAVED, 3, header, stored, error);
}
