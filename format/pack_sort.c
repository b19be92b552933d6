/* Every record of a block to its group: rows of templates, texts by stream, all else. */
#include <string.h>

#include "format/feed_ends.h"
#include "format/pack_internal.h"
#include "format/pack_name.h"
#include "format/pack_number.h"
#include "format/packed.h"
#include "format/ws.h"

enum {
    WHOLE_TEXT = 0x80 | TAPE_WS_TEXT,
    WHOLE_BINARY = 0x80 | TAPE_WS_BINARY,
    ROUNDS = 2, /* matching: again when templates became wider */
};

/* The bytes of a header that follows from first byte and length, or 0: the body is kept whole. A
 * mask bit is none of these lengths. */
static inline unsigned find_header(const uint8_t *body, uint32_t bytes)
{
    enum { SHORT = 126, MEDIUM = 65536 };
    if (bytes < 2)
        return 0;
    if (bytes - 2 < SHORT)
        return body[1] == bytes - 2 ? 2 : 0;
    if (bytes < SHORT + 4)
        return 0;
    if (bytes - 4 < MEDIUM)
        return body[1] == 126 && ((uint32_t)body[2] << 8 | body[3]) == bytes - 4 ? 4 : 0;
    if (bytes < MEDIUM + 10 || body[1] != 127)
        return 0;
    uint64_t length = 0;
    for (int i = 2; i < 10; i++)
        length = length << 8 | body[i];
    return length == bytes - 10 ? 10 : 0;
}

static int is_frame(const struct tape_pack_waiting *record)
{
    return record->kind == TAPE_RECORD_FRAME_IN || record->kind == TAPE_RECORD_FRAME_OUT;
}

/* --- fragments --- */

/* The place of a connection among those in doubt, or their number. */
static uint32_t find_doubt(const struct tape_pack *pack, uint32_t connection)
{
    uint32_t i = 0;
    while (i < pack->doubt_count && pack->doubts[i].connection != connection)
        i++;
    return i;
}

static int is_in_doubt(const struct tape_pack *pack, uint32_t connection)
{
    return pack->doubts_overran || find_doubt(pack, connection) < pack->doubt_count;
}

static void note_fragment(struct tape_pack *pack, uint32_t connection, int open)
{
    uint32_t i = find_doubt(pack, connection);
    if (i == TAPE_PACK_DOUBTS_MAX) {
        pack->doubts_overran = 1;
        return;
    }
    pack->doubt_count += i == pack->doubt_count;
    pack->doubts[i] = (struct tape_pack_doubt){.connection = connection, .open = open};
}

/* The records that end a connection's open message, or all, as the feed has it. */
static void note_event(struct tape_pack *pack, const struct tape_pack_waiting *record)
{
    if (pack->doubt_count == 0)
        return;
    int ends = tape_feed_ends(record->kind, record->connection, pack->bodies.bytes + record->offset,
                              record->bytes);
    for (uint32_t i = 0; i < pack->doubt_count; i++)
        if (ends == TAPE_FEED_ENDS_ALL ||
            (ends == TAPE_FEED_ENDS_CONNECTION && pack->doubts[i].connection == record->connection))
            pack->doubts[i].open = 0;
}

/* In doubt stay the connections that are inside a message at the end of the block before. */
static void forget_doubts(struct tape_pack *pack)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < pack->doubt_count; i++)
        if (pack->doubts[i].open && pack->first_ordinal == pack->next_ordinal)
            pack->doubts[kept++] = pack->doubts[i];
    pack->doubt_count = kept;
    pack->doubts_overran &= pack->first_ordinal == pack->next_ordinal;
}

/* A whole frame that comes inside a fragmented message is no message, so no reader may pass over
 * it: where a connection sends a fragment in this block, over none of its frames. */
static void find_forms(struct tape_pack *pack)
{
    enum { FIN = 0x80, CONTROL = 8, OPCODE = 15, LAST_FRAGMENT = FIN | TAPE_WS_CONTINUATION };
    forget_doubts(pack);
    for (uint32_t i = 0; i < pack->count; i++) {
        struct tape_pack_waiting *record = &pack->records[i];
        const uint8_t *body = pack->bodies.bytes + record->offset;
        record->header = 0;
        record->form = 0;
        if (!is_frame(record)) {
            note_event(pack, record);
            continue;
        }
        record->header = (uint8_t)find_header(body, record->bytes);
        if (record->header == 0)
            continue;
        if (record->kind == TAPE_RECORD_FRAME_IN &&
            !(record->flags & TAPE_RECORD_FLAGS_UNREADABLE) && !(body[0] & CONTROL) &&
            (!(body[0] & FIN) || (body[0] & OPCODE) == 0))
            note_fragment(pack, record->connection, body[0] != LAST_FRAGMENT);
        record->form = body[0];
        record->header = body[0] == 0 ? 0 : record->header;
    }
}

/* --- groups --- */

/* 1 when readers may pass over the record: it is a whole data message. */
static int is_data(const struct tape_pack *pack, const struct tape_pack_waiting *record)
{
    return record->kind == TAPE_RECORD_FRAME_IN &&
           !(record->flags & TAPE_RECORD_FLAGS_UNREADABLE) &&
           (record->form == WHOLE_TEXT || record->form == WHOLE_BINARY) &&
           record->bytes - record->header <= TAPE_WS_MESSAGE_MAX_BYTES &&
           !is_in_doubt(pack, record->connection);
}

static int sort_text(struct tape_pack *pack, uint32_t row, int data)
{
    struct tape_pack_waiting *record = &pack->records[row];
    const uint8_t *bodies = pack->bodies.bytes;
    struct tape_slice stream = {"", 0};
    if (data && record->form == WHOLE_TEXT)
        data = tape_pack_name_text(record->flags, bodies + record->offset + record->header,
                                   record->bytes - record->header, &stream);
    uint32_t name = stream.bytes > 0 ? (uint32_t)((const uint8_t *)stream.data - bodies) : 0;
    return tape_pack_groups_add_text(&pack->groups, bodies, record, row,
                                     data ? TAPE_PACKED_NAMED : TAPE_PACKED_UNNAMED, name,
                                     data ? (uint32_t)stream.bytes : 0);
}

static int match_all(struct tape_pack *pack)
{
    const uint8_t *bodies = pack->bodies.bytes;
    tape_pack_groups_clear(&pack->groups);
    tape_pack_cache_clear(&pack->cache);
    for (uint32_t i = 0; i < pack->count; i++) {
        struct tape_pack_waiting *record = &pack->records[i];
        struct tape_pack_template *found = NULL;
        int data = is_data(pack, record);
        if (data && record->form == WHOLE_TEXT && record->bytes > record->header) {
            const uint8_t *body = bodies + record->offset;
            struct tape_pack_text text = {body + record->header, body + record->bytes, bodies,
                                          record->flags};
            found = tape_pack_cache_find(&pack->cache, &text);
            if (found == NULL)
                found = tape_pack_cache_learn(&pack->cache, &text);
        }
        if (found == NULL ? !sort_text(pack, i, data) : !tape_pack_template_add_row(found, i))
            return 0;
    }
    return 1;
}

static int add_templates(struct tape_pack *pack)
{
    for (uint32_t i = 0; i < pack->cache.count; i++) {
        struct tape_pack_template *template_ = pack->cache.all[i];
        if (template_->row_count == 0)
            continue;
        if (!tape_pack_groups_add_template(&pack->groups, template_))
            return 0;
        for (uint32_t j = 0; j < template_->row_count; j++)
            pack->records[template_->rows[j]].group = template_->group;
    }
    return 1;
}

int tape_pack_sort(struct tape_pack *pack)
{
    find_forms(pack);
    for (int round = 0; round < ROUNDS; round++) {
        if (!match_all(pack))
            return 0;
        if (!tape_pack_cache_settle(&pack->cache))
            break;
    }
    return add_templates(pack);
}
