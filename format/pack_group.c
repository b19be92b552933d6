#include "format/pack_group.h"

#include <stdlib.h>
#include <string.h>

#include "format/packed.h"

enum {
    BUCKETS = 1024,
    LIKENESS_BYTES = 16,
    TEXTS_MAX = 4096,    /* groups; what comes then goes where no reader may pass over it */
    KEPT_ROWS = 4096,    /* arrays of more are not kept from block to block */
    HEAD_BUCKETS = 4096, /* the most frequent heads are found at once, all others by a search */
};

/* What stands in a head. */
struct head {
    uint32_t connection, group;
    uint16_t flags;
    uint8_t kind, form;
    uint32_t count, number;
    uint32_t next; /* of the same hash: 1 + index, or 0 */
};

void tape_pack_groups_free(struct tape_pack_groups *groups)
{
    tape_pack_groups_clear(groups);
    for (uint32_t i = 0; i < groups->room; i++)
        free(groups->all[i].template_ == NULL ? groups->all[i].rows : NULL);
    free(groups->all);
    free(groups->heads.bytes);
    free(groups->order);
    free(groups->tokens);
    memset(groups, 0, sizeof *groups);
}

/* Row arrays of texts stay with their place. */
void tape_pack_groups_clear(struct tape_pack_groups *groups)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        struct tape_pack_group *group = &groups->all[i];
        uint32_t *rows = group->template_ == NULL ? group->rows : NULL;
        uint32_t room = group->template_ == NULL ? group->row_room : 0;
        if (room > KEPT_ROWS) {
            free(rows);
            rows = NULL;
            room = 0;
        }
        memset(group, 0, sizeof *group);
        group->rows = rows;
        group->row_room = room;
    }
    groups->count = 0;
    memset(groups->buckets, 0, sizeof groups->buckets);
}

static struct tape_pack_group *add_group(struct tape_pack_groups *groups)
{
    if (groups->count == groups->room) {
        uint32_t room = groups->room * 2 + 64;
        struct tape_pack_group *larger = realloc(groups->all, room * sizeof *larger);
        if (larger == NULL)
            return NULL;
        memset(larger + groups->room, 0, (room - groups->room) * sizeof *larger);
        groups->all = larger;
        groups->room = room;
    }
    return &groups->all[groups->count++];
}

int tape_pack_groups_add_template(struct tape_pack_groups *groups,
                                  struct tape_pack_template *template_)
{
    struct tape_pack_group *group = add_group(groups);
    if (group == NULL)
        return 0;
    free(group->rows);
    group->template_ = template_;
    group->naming = template_->naming;
    group->rows = template_->rows;
    group->row_count = template_->row_count;
    group->row_room = 0;
    template_->group = groups->count - 1;
    return 1;
}

/* --- texts --- */

/* The first bytes with all digits alike, and who sent them. */
static uint64_t likeness_of(const struct tape_pack_waiting *record, const uint8_t *bodies,
                            int naming)
{
    uint64_t hash = ((uint64_t)record->kind << 8 | record->form) * 0x9e3779b97f4a7c15;
    if (naming == TAPE_PACKED_UNNAMED && record->header == 0)
        return hash;
    const uint8_t *text = bodies + record->offset + record->header;
    uint32_t bytes = record->bytes - record->header;
    for (uint32_t i = 0; i < bytes && i < LIKENESS_BYTES; i++) {
        uint8_t byte = text[i] >= '0' && text[i] <= '9' ? '0' : text[i];
        hash = (hash ^ byte) * 0x100000001b3;
    }
    return hash;
}

static int add_row(struct tape_pack_group *group, uint32_t row)
{
    if (group->row_count == group->row_room) {
        uint32_t room = group->row_room * 2 + 16;
        uint32_t *larger = realloc(group->rows, room * sizeof *larger);
        if (larger == NULL)
            return 0;
        group->rows = larger;
        group->row_room = room;
    }
    group->rows[group->row_count++] = row;
    return 1;
}

int tape_pack_groups_add_text(struct tape_pack_groups *groups, const uint8_t *bodies,
                              struct tape_pack_waiting *record, uint32_t row, int naming,
                              uint32_t name, uint32_t name_bytes)
{
    uint64_t likeness = likeness_of(record, bodies, naming);
    if (groups->count >= TEXTS_MAX) {
        likeness = 0;
        naming = TAPE_PACKED_UNNAMED;
        name_bytes = 0;
    }
    uint32_t *bucket = &groups->buckets[(likeness >> 20) % BUCKETS];
    for (uint32_t at = *bucket; at != 0; at = groups->all[at - 1].next) {
        struct tape_pack_group *group = &groups->all[at - 1];
        if (group->likeness == likeness && group->naming == naming &&
            group->name_bytes == name_bytes &&
            memcmp(bodies + group->name, bodies + name, name_bytes) == 0) {
            record->group = at - 1;
            return add_row(group, row);
        }
    }
    struct tape_pack_group *group = add_group(groups);
    if (group == NULL)
        return 0;
    group->likeness = likeness;
    group->naming = (uint8_t)naming;
    group->name = name;
    group->name_bytes = name_bytes;
    group->next = *bucket;
    record->group = groups->count - 1;
    *bucket = groups->count;
    return add_row(group, row);
}

static void put_naming(const struct tape_pack_group *group, const uint8_t *bodies,
                       struct tape_growing *pool)
{
    const uint8_t *name = bodies + group->name;
    uint32_t bytes = group->name_bytes;
    int naming = group->naming;
    if (group->template_ != NULL) {
        const struct tape_pack_shape *shape = &group->template_->shape;
        if (naming == TAPE_PACKED_NAMED_BY_COLUMN)
            naming = TAPE_PACKED_UNNAMED; /* a text group cannot tell its rows apart */
        if (naming == TAPE_PACKED_NAMED && shape->stream >= 0) {
            name = shape->text.bytes + shape->nodes[shape->stream].text;
            bytes = shape->nodes[shape->stream].bytes;
        }
    }
    tape_growing_put_u8(pool, (uint8_t)naming);
    if (naming == TAPE_PACKED_NAMED) {
        tape_growing_put_varint(pool, bytes);
        tape_growing_put(pool, name, bytes);
    }
}

/* Room for a column of so many values. */
static int reserve(struct tape_pack_groups *groups, size_t count)
{
    size_t room = count + TAPE_COLUMN_SLACK;
    if (room <= groups->order_room)
        return 1;
    free(groups->order);
    free(groups->tokens);
    groups->order = malloc(room * sizeof *groups->order);
    groups->tokens = malloc(room);
    groups->order_room = groups->order == NULL || groups->tokens == NULL ? 0 : room;
    return groups->order_room > 0;
}

static void put_column(struct tape_pack_groups *groups, uint32_t count,
                       struct tape_column_writer *writer, struct tape_column_plan *plan,
                       struct tape_pack_output *output)
{
    struct tape_column_scope scope = {.count = count};
    struct tape_column column = {
        .scope = &scope, .values = groups->order, .tokens = groups->tokens, .has_values = 1};
    tape_column_write(writer, &output->columns, NULL, 0, &column, plan);
}

int tape_pack_groups_put_text(struct tape_pack_groups *groups, const struct tape_pack_group *group,
                              const struct tape_pack_waiting *records, const uint8_t *bodies,
                              struct tape_column_writer *writer, struct tape_pack_output *output)
{
    if (!reserve(groups, group->row_count))
        return 0;
    tape_growing_put_u8(&output->columns.pool, TAPE_PACKED_TEXT);
    put_naming(group, bodies, &output->columns.pool);
    for (uint32_t i = 0; i < group->row_count; i++) {
        const struct tape_pack_waiting *record = &records[group->rows[i]];
        uint32_t bytes = record->bytes - record->header;
        groups->order[i] = bytes;
        tape_growing_put(&output->text, bodies + record->offset + record->header, bytes);
    }
    put_column(groups, group->row_count, writer, NULL, output);
    return 1;
}

/* --- heads --- */

static struct head *find_head(struct tape_growing *heads, uint32_t *buckets,
                              const struct tape_pack_waiting *record)
{
    uint64_t hash = (((uint64_t)record->group << 32 | record->connection) * 0x9e3779b97f4a7c15) ^
                    (((uint64_t)record->flags << 16 | record->kind) * 0xff51afd7ed558ccd);
    uint32_t *bucket = &buckets[hash >> 52];
    struct head *all = (struct head *)heads->bytes;
    for (uint32_t at = *bucket; at != 0; at = all[at - 1].next) {
        struct head *head = &all[at - 1];
        if (head->group == record->group && head->connection == record->connection &&
            head->flags == record->flags && head->kind == record->kind &&
            head->form == record->form)
            return head;
    }
    struct head head = {.connection = record->connection,
                        .group = record->group,
                        .flags = record->flags,
                        .kind = record->kind,
                        .form = record->form,
                        .next = *bucket};
    head.number = (uint32_t)(heads->length / sizeof head);
    tape_growing_put(heads, &head, sizeof head);
    if (heads->failed)
        return NULL;
    *bucket = head.number + 1;
    return (struct head *)heads->bytes + head.number;
}

/* By falling frequency, then as they came first. */
static int compare(const void *one, const void *other)
{
    const struct head *a = one, *b = other;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static void put_head(const struct head *head, struct tape_growing *pool)
{
    tape_growing_put_u8(pool, head->kind);
    tape_growing_put_varint(pool, head->flags);
    tape_growing_put_varint(pool, head->connection);
    tape_growing_put_u8(pool, head->form);
    tape_growing_put_varint(pool, head->group);
}

int tape_pack_groups_put_heads(struct tape_pack_groups *groups,
                               const struct tape_pack_waiting *records, uint32_t count,
                               struct tape_column_writer *writer, struct tape_column_plan *plan,
                               struct tape_pack_output *output)
{
    uint32_t buckets[HEAD_BUCKETS] = {0};
    struct tape_growing *pool = &output->columns.pool;
    groups->heads.length = 0;
    if (!reserve(groups, count))
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        struct head *head = find_head(&groups->heads, buckets, &records[i]);
        if (head == NULL)
            return 0;
        head->count++;
        groups->order[i] = head->number;
    }
    struct head *all = (struct head *)groups->heads.bytes;
    uint32_t heads = (uint32_t)(groups->heads.length / sizeof *all);
    uint32_t *ranks = malloc(heads * sizeof *ranks);
    if (ranks == NULL)
        return 0;
    qsort(all, heads, sizeof *all, compare);
    tape_growing_put_varint(pool, heads);
    for (uint32_t i = 0; i < heads; i++) {
        ranks[all[i].number] = i;
        put_head(&all[i], pool);
    }
    for (uint32_t i = 0; i < count; i++)
        groups->order[i] = ranks[groups->order[i]];
    free(ranks);
    put_column(groups, count, writer, plan, output);
    return 1;
}
