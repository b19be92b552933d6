#include "replay/source_duplicates.h"

#include <stdlib.h>
#include <string.h>

#include "format/tick.h"
#include "replay/source_hash.h"
#include "replay/source_identity.h"
#include "replay/source_shares.h"

/*
 * What was given is remembered as arrivals, oldest first, each in a group: all that are the same to
 * the byte. By every way (an archive, or one of its connections) messages come in order; so the
 * last arrival of a group that a way had is all that must be known of it: its next copy belongs to
 * a later one. Whatever comes off the wire, a message costs a bounded number of steps: chains are
 * walked CHAIN_MAX far, a group knows WAYS_MAX ways; beyond that a message is given unchecked,
 * never taken for a duplicate.
 */
enum {
    CHAIN_MAX = 64,
    SAME_ID_MAX = 8, /* groups of one id that are looked at for other bytes */
    WAYS_MAX = 256,
    WAYS_HERE = 2,
    SKIP_MAX = 1024, /* arrivals from before a connection that are stepped over */
    BUCKETS_FIRST = 1024,
    ARRIVALS_FIRST = 1024,
};

const struct tape_source_duplicates_limits tape_source_duplicates_default = {
    .id_ns = 60000000000ll,
    .bytes_ns = 5000000000ll,
    .messages = 1 << 20,
    .bytes = 128 << 20,
};

/* The arrival that a way had last. */
struct way {
    uint64_t number; /* archive << 32 | connection */
    uint64_t last;
};

/* Two tables hold the groups: of all bytes, and of the id alone, for those that have one. */
enum { BY_BYTES, BY_ID, TABLES };

struct hook {
    struct group *next, **at; /* *at is the group */
};

/* Invariants: first to last are its arrivals that are remembered, at least one, linked by next;
 * ways [0, ways_used) are in here[] until there are more. */
struct group {
    struct hook hooks[TABLES];
    uint64_t hashes[TABLES];
    int64_t id;
    uint64_t first, last;
    struct way *ways;
    struct way here[WAYS_HERE];
    uint32_t ways_used, ways_room;
    uint32_t name_bytes, bytes;
    char text[]; /* the stream's name, then the payload */
};

struct arrival {
    struct group *group;
    uint64_t next;             /* of the same group; 0: none */
    uint64_t position;         /* in its stream; 0: before the counting began */
    int64_t given_ns, recv_ns; /* given_ns: the virtual clock, which never runs back */
    int stream;
    uint16_t archive;
};

/* Where a connection of an archive is new, what came before it cannot be meant by its copies. Of
 * those that are there from the beginning (or about) it is not known that they are new. */
struct connected {
    uint32_t connection; /* the newest: they are numbered over an archive's life */
    int64_t since_ns;    /* recv_ns of its first message, or INT64_MIN */
};

/*
 * Invariants: arrivals oldest to newest lie at their number & arrivals_mask, numbers begin with 1
 * and newest = oldest - 1 where there are none; every table has buckets_mask + 1 buckets, all
 * groups hang in the first, those with an id in the second as well; held is the memory of all
 * groups and arrivals that are remembered.
 */
struct tape_source_duplicates {
    struct tape_source_duplicates_limits limits;
    int by_connection;
    struct tape_source_shares *shares;
    int64_t begin_ns, now_ns; /* the virtual clock, at the first message and now */
    struct arrival *arrivals;
    uint64_t arrivals_mask, oldest, newest;
    struct group **tables[TABLES];
    uint64_t buckets_mask, groups, held;
    struct connected connected[TAPE_SOURCE_ARCHIVES_MAX];
};

static int out_of_memory(struct tape_error *error)
{
    return tape_error_set(error, TAPE_FAILED, "out of memory");
}

struct tape_source_duplicates *
tape_source_duplicates_new(int by_connection, const struct tape_source_duplicates_limits *limits,
                           struct tape_error *error)
{
    struct tape_source_duplicates *made = calloc(1, sizeof *made);
    if (made) {
        made->limits = *limits;
        made->by_connection = by_connection;
        made->now_ns = INT64_MIN;
        made->oldest = 1;
        made->arrivals_mask = ARRIVALS_FIRST - 1;
        made->buckets_mask = BUCKETS_FIRST - 1;
        made->shares = tape_source_shares_new();
        made->arrivals = calloc(ARRIVALS_FIRST, sizeof *made->arrivals);
        for (int i = 0; i < TABLES; i++)
            made->tables[i] = calloc(BUCKETS_FIRST, sizeof(struct group *));
    }
    if (made && made->shares && made->arrivals && made->tables[BY_BYTES] && made->tables[BY_ID])
        return made;
    tape_source_duplicates_free(made);
    out_of_memory(error);
    return NULL;
}

/* ---- groups ---- */

static size_t group_bytes(const struct group *group)
{
    return sizeof *group + group->name_bytes + group->bytes +
           (group->ways == group->here ? 0 : group->ways_room * sizeof *group->ways);
}

static void unhang(struct hook *hook)
{
    *hook->at = hook->next;
}

static inline int has_id(const struct group *group)
{
    return group->id != TAPE_TICK_NONE;
}

/* In front: the newest of equal hashes are found first. */
static void hang(struct tape_source_duplicates *duplicates, struct group *group, int table)
{
    struct group **at = &duplicates->tables[table][group->hashes[table] & duplicates->buckets_mask];
    struct hook *hook = &group->hooks[table];
    hook->next = *at;
    hook->at = at;
    if (*at)
        (*at)->hooks[table].at = &hook->next;
    *at = group;
}

static void take_off(struct group *group, int table)
{
    struct hook *hook = &group->hooks[table];
    unhang(hook);
    if (hook->next)
        hook->next->hooks[table].at = hook->at;
}

static void free_group(struct tape_source_duplicates *duplicates, struct group *group)
{
    take_off(group, BY_BYTES);
    if (has_id(group))
        take_off(group, BY_ID);
    duplicates->held -= group_bytes(group);
    duplicates->groups--;
    if (group->ways != group->here)
        free(group->ways);
    free(group);
}

/* Twice as many buckets; without memory the chains get longer, and no more is lost. */
static void widen(struct tape_source_duplicates *duplicates)
{
    uint64_t buckets = duplicates->buckets_mask + 1;
    struct group **wider[TABLES] = {calloc(2 * buckets, sizeof(struct group *)),
                                    calloc(2 * buckets, sizeof(struct group *))};
    if (!wider[BY_BYTES] || !wider[BY_ID]) {
        free(wider[BY_BYTES]);
        free(wider[BY_ID]);
        return;
    }
    duplicates->buckets_mask = 2 * buckets - 1;
    for (int table = 0; table < TABLES; table++) {
        struct group **old = duplicates->tables[table];
        duplicates->tables[table] = wider[table];
        for (uint64_t i = 0; i < buckets; i++)
            while (old[i]) {
                struct group *group = old[i];
                take_off(group, table);
                hang(duplicates, group, table);
            }
        free(old);
    }
}

/* What a message is told apart by. */
struct mark {
    struct tape_source_identity identity;
    uint64_t hashes[TABLES];
    uint64_t way;
    int64_t since_ns; /* of its connection */
};

static inline int same_name(const struct group *group, const struct tape_source_identity *identity)
{
    return group->name_bytes == identity->stream.bytes &&
           memcmp(group->text, identity->stream.data, group->name_bytes) == 0;
}

static inline int same_bytes(const struct group *group, const struct tape_source_identity *identity)
{
    return group->id == identity->id && group->bytes == identity->inner.bytes &&
           same_name(group, identity) &&
           memcmp(group->text + group->name_bytes, identity->inner.data, group->bytes) == 0;
}

/* The group of the message, or NULL; *gave_up = 1: too many others were in the way. */
static struct group *find_group(const struct tape_source_duplicates *duplicates,
                                const struct mark *mark, int *gave_up)
{
    uint64_t hash = mark->hashes[BY_BYTES];
    struct group *group = duplicates->tables[BY_BYTES][hash & duplicates->buckets_mask];
    for (int i = 0; group && i < CHAIN_MAX; i++, group = group->hooks[BY_BYTES].next)
        if (group->hashes[BY_BYTES] == hash && same_bytes(group, &mark->identity))
            return group;
    *gave_up = group != NULL;
    return NULL;
}

static struct group *new_group(struct tape_source_duplicates *duplicates, const struct mark *mark)
{
    const struct tape_source_identity *identity = &mark->identity;
    size_t name_bytes = identity->stream.bytes, bytes = identity->inner.bytes;
    struct group *group = malloc(sizeof *group + name_bytes + bytes);
    if (!group)
        return NULL;
    memset(group, 0, sizeof *group);
    group->id = identity->id;
    group->ways = group->here;
    group->ways_room = WAYS_HERE;
    group->name_bytes = (uint32_t)name_bytes;
    group->bytes = (uint32_t)bytes;
    if (name_bytes > 0)
        memcpy(group->text, identity->stream.data, name_bytes);
    if (bytes > 0)
        memcpy(group->text + name_bytes, identity->inner.data, bytes);
    for (int table = 0; table < TABLES; table++)
        group->hashes[table] = mark->hashes[table];
    hang(duplicates, group, BY_BYTES);
    if (has_id(group))
        hang(duplicates, group, BY_ID);
    duplicates->held += group_bytes(group);
    if (++duplicates->groups > duplicates->buckets_mask)
        widen(duplicates);
    return group;
}

/* ---- ways ---- */

static struct way *find_way(const struct group *group, uint64_t number)
{
    for (uint32_t i = 0; i < group->ways_used; i++)
        if (group->ways[i].number == number)
            return &group->ways[i];
    return NULL;
}

/* Notes that the way had the arrival. 1, 0 when the group knows too many ways, or TAPE_FAILED. */
static int note_way(struct tape_source_duplicates *duplicates, struct group *group, uint64_t number,
                    uint64_t arrival)
{
    struct way *way = find_way(group, number);
    if (!way) {
        if (group->ways_used == WAYS_MAX)
            return 0;
        if (group->ways_used == group->ways_room) {
            int outside = group->ways != group->here;
            uint32_t room = 2 * group->ways_room;
            struct way *ways = realloc(outside ? group->ways : NULL, room * sizeof *ways);
            if (!ways)
                return TAPE_FAILED;
            if (!outside)
                memcpy(ways, group->here, sizeof group->here);
            duplicates->held -= group_bytes(group);
            group->ways = ways;
            group->ways_room = room;
            duplicates->held += group_bytes(group);
        }
        way = &group->ways[group->ways_used++];
        way->number = number;
    }
    way->last = arrival;
    return 1;
}

/* Whether a way of the same archive had the arrival before. */
static int had_it(const struct group *group, int archive, uint64_t arrival)
{
    for (uint32_t i = 0; i < group->ways_used; i++)
        if (group->ways[i].number >> 32 == (uint64_t)archive && group->ways[i].last >= arrival)
            return 1;
    return 0;
}

/* ---- arrivals ---- */

static inline struct arrival *arrival_at(const struct tape_source_duplicates *duplicates,
                                         uint64_t number)
{
    return &duplicates->arrivals[number & duplicates->arrivals_mask];
}

static void forget_oldest(struct tape_source_duplicates *duplicates)
{
    struct arrival *arrival = arrival_at(duplicates, duplicates->oldest);
    struct group *group = arrival->group;
    if (group->last == duplicates->oldest)
        free_group(duplicates, group);
    else
        group->first = arrival->next;
    duplicates->held -= sizeof *arrival;
    duplicates->oldest++;
}

/* Stamps may be any number: what lies beyond 64 bits is as far as can be. */
static inline int64_t minus(int64_t ns, int64_t other_ns)
{
    int64_t difference;
    if (__builtin_sub_overflow(ns, other_ns, &difference))
        return ns < 0 ? INT64_MIN : INT64_MAX;
    return difference;
}

static inline uint64_t remembered(const struct tape_source_duplicates *duplicates)
{
    return duplicates->newest + 1 - duplicates->oldest;
}

/* What is too old goes; then, before its time and counted, what there is no room for. */
static void forget(struct tape_source_duplicates *duplicates)
{
    const struct tape_source_duplicates_limits *limits = &duplicates->limits;
    int64_t until_ns = minus(duplicates->now_ns, limits->id_ns);
    while (remembered(duplicates) > 0 &&
           arrival_at(duplicates, duplicates->oldest)->given_ns < until_ns)
        forget_oldest(duplicates);
    while (remembered(duplicates) > limits->messages ||
           (duplicates->held > limits->bytes && remembered(duplicates) > 0)) {
        const struct arrival *arrival = arrival_at(duplicates, duplicates->oldest);
        tape_source_shares_unmatched(duplicates->shares, arrival->stream, arrival->archive);
        forget_oldest(duplicates);
    }
}

static int widen_arrivals(struct tape_source_duplicates *duplicates)
{
    uint64_t room = 2 * (duplicates->arrivals_mask + 1);
    struct arrival *wider = calloc(room, sizeof *wider);
    if (!wider)
        return TAPE_FAILED;
    for (uint64_t i = duplicates->oldest; i <= duplicates->newest; i++)
        wider[i & (room - 1)] = *arrival_at(duplicates, i);
    free(duplicates->arrivals);
    duplicates->arrivals = wider;
    duplicates->arrivals_mask = room - 1;
    return 0;
}

/* The arrival that a message of this way is the copy of; 0: none. It came after the last one that
 * the way had, within the window; without an id, where there is a choice, not before the way's
 * connection was there. */
static uint64_t find_arrival(const struct tape_source_duplicates *duplicates,
                             const struct group *group, const struct mark *mark)
{
    const struct way *way = find_way(group, mark->way);
    uint64_t at = group->first, last = way ? way->last : 0;
    int64_t until_ns = minus(duplicates->now_ns, has_id(group) ? duplicates->limits.id_ns
                                                               : duplicates->limits.bytes_ns);
    if (last >= group->last)
        return 0;
    if (last >= duplicates->oldest)
        at = arrival_at(duplicates, last)->next;
    int64_t since_ns = has_id(group) ? INT64_MIN : mark->since_ns;
    for (int i = 0; i < SKIP_MAX && at != group->last; i++) {
        const struct arrival *arrival = arrival_at(duplicates, at);
        if (arrival->recv_ns >= since_ns && arrival->given_ns >= until_ns)
            break;
        at = arrival->next;
    }
    return arrival_at(duplicates, at)->given_ns >= until_ns ? at : 0;
}

/* ---- messages ---- */

static void read_mark(struct tape_source_duplicates *duplicates, struct mark *mark,
                      const struct tape_message *message)
{
    const struct tape_source_identity *identity = &mark->identity;
    tape_source_identity_read(&mark->identity, message);
    uint64_t hash = tape_source_hash(0, identity->stream.data, identity->stream.bytes);
    int by_id = identity->id != TAPE_TICK_NONE;
    mark->hashes[BY_ID] = tape_source_hash_fold(hash ^ (uint64_t)identity->id, 0x9e3779b97f4a7c15u);
    mark->hashes[BY_BYTES] = tape_source_hash(hash, identity->inner.data, identity->inner.bytes);
    mark->way = (uint64_t)message->archive << 32 |
                (duplicates->by_connection || by_id ? message->connection : UINT32_MAX);
    mark->since_ns = duplicates->connected[message->archive].since_ns;
}

/* Whether the id came from elsewhere with other bytes. */
static int differs(const struct tape_source_duplicates *duplicates, const struct mark *mark)
{
    uint64_t hash = mark->hashes[BY_ID];
    const struct group *group = duplicates->tables[BY_ID][hash & duplicates->buckets_mask];
    for (int i = 0; group && i < SAME_ID_MAX; i++, group = group->hooks[BY_ID].next)
        if (group->hashes[BY_ID] == hash && group->id == mark->identity.id &&
            same_name(group, &mark->identity) && !find_way(group, mark->way))
            return 1;
    return 0;
}

/* Remembers a message that is given; group: where equal ones are, or NULL. 1, 0 when it cannot be
 * remembered, or TAPE_FAILED. */
static int remember(struct tape_source_duplicates *duplicates, struct group *group,
                    const struct mark *mark, const struct arrival *given)
{
    uint64_t number = duplicates->newest + 1;
    if (remembered(duplicates) > duplicates->arrivals_mask && widen_arrivals(duplicates) < 0)
        return TAPE_FAILED;
    if (group) {
        int noted = note_way(duplicates, group, mark->way, number);
        if (noted != 1)
            return noted;
        arrival_at(duplicates, group->last)->next = number;
    } else {
        group = new_group(duplicates, mark);
        if (!group)
            return TAPE_FAILED;
        group->first = number;
        note_way(duplicates, group, mark->way, number); /* it has room for two */
    }
    group->last = number;
    struct arrival *arrival = arrival_at(duplicates, number);
    *arrival = *given;
    arrival->group = group;
    duplicates->newest = number;
    duplicates->held += sizeof *arrival;
    return 1;
}

static int give(struct tape_source_duplicates *duplicates, struct group *group,
                const struct mark *mark, const struct tape_message *message, int unchecked)
{
    struct arrival given = {
        .given_ns = duplicates->now_ns,
        .recv_ns = message->recv_ns,
        .archive = message->archive,
        .stream = tape_source_shares_stream(duplicates->shares, mark->identity.stream.data,
                                            mark->identity.stream.bytes),
    };
    if (given.stream < 0)
        return TAPE_FAILED;
    given.position = tape_source_shares_given(duplicates->shares, given.stream, given.archive);
    if (given.position == 0)
        return TAPE_FAILED;
    if (!group && mark->identity.id != TAPE_TICK_NONE && differs(duplicates, mark))
        tape_source_shares_differing(duplicates->shares, given.stream, given.archive);
    int kept = remember(duplicates, group, mark, &given);
    if (kept < 0)
        return kept;
    if (!kept || unchecked)
        tape_source_shares_unmatched(duplicates->shares, given.stream, given.archive);
    forget(duplicates);
    return 1;
}

/* 0, 1 when the group knows too many ways, or TAPE_FAILED. */
static int leave_out(struct tape_source_duplicates *duplicates, struct group *group,
                     const struct mark *mark, const struct tape_message *message, uint64_t number)
{
    const struct arrival *arrival = arrival_at(duplicates, number);
    int again = had_it(group, message->archive, number);
    int noted = note_way(duplicates, group, mark->way, number);
    if (noted != 1)
        return noted < 0 ? noted : 1;
    return tape_source_shares_late(duplicates->shares, arrival->stream, message->archive,
                                   arrival->position, again,
                                   minus(message->recv_ns, arrival->recv_ns));
}

static void note_connection(struct tape_source_duplicates *duplicates,
                            const struct tape_message *message)
{
    struct connected *connected = &duplicates->connected[message->archive];
    if (message->connection <= connected->connection || message->kind == TAPE_FEED_EVENT)
        return;
    int64_t age_ns = minus(duplicates->now_ns, duplicates->begin_ns);
    connected->connection = message->connection;
    connected->since_ns = age_ns > duplicates->limits.bytes_ns ? message->recv_ns : INT64_MIN;
}

int tape_source_duplicates_take(struct tape_source_duplicates *duplicates,
                                const struct tape_message *message, struct tape_error *error)
{
    struct mark mark;
    int gave_up = 0, status;
    if (message->recv_ns > duplicates->now_ns && message->kind != TAPE_FEED_EVENT) {
        if (duplicates->now_ns == INT64_MIN)
            duplicates->begin_ns = message->recv_ns;
        duplicates->now_ns = message->recv_ns;
    }
    note_connection(duplicates, message);
    if (message->kind != TAPE_FEED_DATA)
        return 1;
    read_mark(duplicates, &mark, message);
    struct group *group = find_group(duplicates, &mark, &gave_up);
    uint64_t number = group ? find_arrival(duplicates, group, &mark) : 0;
    status = number ? leave_out(duplicates, group, &mark, message, number) : 1;
    if (status == 1)
        status = give(duplicates, group, &mark, message, gave_up);
    return status < 0 ? out_of_memory(error) : status;
}

/* ---- the whole ---- */

void tape_source_duplicates_reset(struct tape_source_duplicates *duplicates)
{
    while (remembered(duplicates) > 0)
        forget_oldest(duplicates);
    duplicates->now_ns = INT64_MIN;
    memset(duplicates->connected, 0, sizeof duplicates->connected);
    tape_source_shares_reset(duplicates->shares);
}

void tape_source_duplicates_recount(struct tape_source_duplicates *duplicates)
{
    for (uint64_t i = duplicates->oldest; i <= duplicates->newest; i++)
        arrival_at(duplicates, i)->position = 0;
    tape_source_shares_recount(duplicates->shares);
}

void tape_source_duplicates_free(struct tape_source_duplicates *duplicates)
{
    if (!duplicates)
        return;
    while (remembered(duplicates) > 0)
        forget_oldest(duplicates);
    for (int i = 0; i < TABLES; i++)
        free(duplicates->tables[i]);
    free(duplicates->arrivals);
    tape_source_shares_free(duplicates->shares);
    free(duplicates);
}

uint64_t tape_source_duplicates_held(const struct tape_source_duplicates *duplicates)
{
    return duplicates->held;
}

int tape_source_duplicates_share(struct tape_source_duplicates *duplicates, int index,
                                 struct tape_source_share *share)
{
    return tape_source_shares_read(duplicates->shares, index, share);
}
