#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replay/reel_internal.h"

/* How often the lock is asked who records: two system calls, and a death is noticed that late. */
#define FOLLOW_OWNER_NS 50000000ll
/* What the ring says is durable and the segments do not have after this long is not coming. */
#define FOLLOW_STUCK_NS 5000000000ll

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static void drop_ring(struct tape_reel_follow *follow)
{
    tape_ring_free(follow->ring);
    follow->ring = NULL;
    follow->live = 0;
}

/* Asks who records, at most every FOLLOW_OWNER_NS. Another recorder's ring is another ring. Returns
 * 1 when it asked. */
static int read_owner(struct tape_reel *reel)
{
    struct tape_reel_follow *follow = &reel->follow;
    struct tape_archive_owner owner;
    int64_t now = now_ns();
    if (follow->owner_read_ns != 0 && now - follow->owner_read_ns < FOLLOW_OWNER_NS)
        return 0;
    follow->owner_read_ns = now;
    if (tape_archive_read_owner(reel->archive, &owner, NULL) < 0)
        return 0;
    if (owner.pid != follow->owner.pid || owner.started_ns != follow->owner.started_ns ||
        strcmp(owner.ring_path, follow->owner.ring_path) != 0) {
        if (!follow->live)
            drop_ring(follow);
        follow->drained = 0;
    }
    follow->owner = owner;
    follow->met |= owner.held;
    return 1;
}

/* The ring lost what should have come next and so have the segments: a hole, told as such. */
static int jump_hole(struct tape_reel *reel, uint64_t to_ordinal, struct tape_error *error)
{
    struct tape_cursor_damage damage = {
        .verdict = TAPE_MISSING,
        .from_ordinal = reel->next_ordinal,
        .to_ordinal = to_ordinal,
        .text = "the live end: records are durable by the ring, and not in the segments",
    };
    int status = tape_reel_note_damage(reel, &damage, error);
    reel->next_ordinal = to_ordinal;
    return status < 0 ? status : TAPE_REEL_AGAIN;
}

/* The ring has overwritten next_ordinal; the segments must have it, at once or very soon. */
static int wait_for_segments(struct tape_reel *reel, struct tape_error *error)
{
    struct tape_reel_follow *follow = &reel->follow;
    struct tape_ring_state state;
    int64_t now = now_ns();
    if (follow->stuck_since_ns == 0)
        follow->stuck_since_ns = now;
    if (now - follow->stuck_since_ns < FOLLOW_STUCK_NS)
        return TAPE_REEL_NOTHING;
    follow->stuck_since_ns = 0;
    tape_ring_read_state(follow->ring, &state);
    return state.durable_ordinal > reel->next_ordinal
               ? jump_hole(reel, state.durable_ordinal, error)
               : TAPE_REEL_NOTHING;
}

/* Tries to go on in the ring of the recorder that is (or was last) there. */
static int enter_ring(struct tape_reel *reel, struct tape_error *error)
{
    struct tape_reel_follow *follow = &reel->follow;
    if (!follow->ring) {
        if (follow->owner.ring_path[0] == '\0' || follow->drained)
            return TAPE_REEL_NOTHING;
        /* Not there yet, or no more: the owner is asked again in a moment. */
        follow->ring =
            tape_ring_attach(follow->owner.ring_path, tape_archive_id(reel->archive), NULL);
        if (!follow->ring)
            return TAPE_REEL_NOTHING;
        follow->ring_started_ns = follow->owner.started_ns;
    }
    int got = tape_ring_seek(follow->ring, reel->next_ordinal, &follow->cursor);
    if (got == TAPE_OVERRUN)
        return wait_for_segments(reel, error);
    if (got != 1)
        return TAPE_REEL_NOTHING;
    follow->stuck_since_ns = 0;
    follow->live = 1;
    return TAPE_REEL_AGAIN;
}

/* Nothing more in the segments and nobody holds the lock. The end, unless a recorder that was met
 * died without ending: then the next one is waited for. */
static int conclude(struct tape_reel *reel, struct tape_error *error)
{
    struct tape_reel_follow *follow = &reel->follow;
    /* The ring first: a later recorder may have died before anything of it came to a segment. */
    if (!follow->drained) {
        int got = enter_ring(reel, error);
        if (got != TAPE_REEL_NOTHING)
            return got;
    }
    int ended = reel->last_record_kind == TAPE_RECORD_SESSION_END;
    return ended || !follow->met ? 0 : TAPE_REEL_NOTHING;
}

int tape_reel_follow_at_end(struct tape_reel *reel, struct tape_error *error)
{
    /* The owner first: what it wrote before it gave the lock back is then seen by the refresh. */
    int asked = read_owner(reel);
    int more = tape_cursor_refresh(reel->cursor, error);
    if (more != 0)
        return more < 0 ? more : TAPE_REEL_AGAIN;
    if (reel->follow.owner.held)
        return enter_ring(reel, error);
    return asked ? conclude(reel, error) : TAPE_REEL_NOTHING;
}

/* Back to the segments, which are read from next_ordinal on. */
static int leave(struct tape_reel *reel, struct tape_error *error)
{
    reel->follow.live = 0;
    int status = tape_cursor_seek_ordinal(reel->cursor, reel->next_ordinal, error);
    return status < 0 ? status : TAPE_REEL_AGAIN;
}

/* The ring has nothing now: the end, a recorder that died, or just nothing yet. */
static int nothing_in_ring(struct tape_reel *reel, struct tape_error *error)
{
    struct tape_reel_follow *follow = &reel->follow;
    struct tape_ring_state state;
    tape_ring_read_state(follow->ring, &state);
    if (state.closed && state.head_ordinal == follow->cursor.ordinal)
        return 0;
    /* The pid alone does not tell: in a container every recorder may have the same. */
    if (!read_owner(reel) || (follow->owner.held && follow->owner.pid == state.pid &&
                              follow->owner.started_ns == follow->ring_started_ns))
        return TAPE_REEL_NOTHING;
    /* It may have published between the last look and its death. */
    tape_ring_read_state(follow->ring, &state);
    if (state.head_ordinal != follow->cursor.ordinal)
        return TAPE_REEL_AGAIN;
    drop_ring(follow);
    follow->drained = !follow->owner.held;
    return leave(reel, error);
}

static int overrun(struct tape_reel *reel, struct tape_error *error)
{
    reel->follow.overruns++;
    return leave(reel, error);
}

/* The copy is ours before it is known to be whole: the writer never waits for followers. */
static int copy_record(struct tape_reel *reel, const struct tape_ring_cursor *before,
                       struct tape_record *record, struct tape_error *error)
{
    struct tape_reel_follow *follow = &reel->follow;
    if (record->bytes > follow->copy_bytes) {
        uint8_t *more = realloc(follow->copy, record->bytes);
        if (!more)
            return tape_error_set(error, TAPE_FAILED, "out of memory");
        follow->copy = more;
        follow->copy_bytes = record->bytes;
    }
    if (record->bytes > 0)
        memcpy(follow->copy, record->data, record->bytes);
    if (!tape_ring_intact(follow->ring, before))
        return overrun(reel, error);
    record->data = follow->copy;
    return 1;
}

int tape_reel_follow_next(struct tape_reel *reel, struct tape_record *record,
                          struct tape_error *error)
{
    struct tape_reel_follow *follow = &reel->follow;
    struct tape_ring_cursor before = follow->cursor;
    int got = tape_ring_next(follow->ring, &follow->cursor, record);
    if (got == 0)
        return nothing_in_ring(reel, error);
    if (got < 0 || record->bytes > TAPE_RECORD_MAX_BYTES) {
        if (!tape_ring_intact(follow->ring, &before))
            return overrun(reel, error);
        /* The file itself is damaged; what it held will be in the segments. */
        drop_ring(follow);
        follow->drained = 1;
        return leave(reel, error);
    }
    return copy_record(reel, &before, record, error);
}

void tape_reel_follow_free(struct tape_reel *reel)
{
    tape_ring_free(reel->follow.ring);
    free(reel->follow.copy);
}
