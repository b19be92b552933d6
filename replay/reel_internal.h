/* What the two halves of a reel share: segments (reel.c) and the live end (reel_follow.c). */
#ifndef TAPE_REPLAY_REEL_INTERNAL_H
#define TAPE_REPLAY_REEL_INTERNAL_H

#include "format/archive.h"
#include "format/cursor.h"
#include "format/feed.h"
#include "format/ring.h"
#include "replay/reel.h"

/* What a step of reading came to, beside 1 (a record or message), 0 (the end) and a status. */
enum {
    TAPE_REEL_NOTHING = 2, /* following, and nothing is there now */
    TAPE_REEL_AGAIN = 3,   /* the ground has changed: ask again at once */
};

/* How much of a connection's past the feed parser was shown after a seek. A message whose first
 * fragment lies before that comes out of it as an orphan; then more of the past is read. */
enum tape_reel_past {
    TAPE_REEL_PAST_SECOND,
    TAPE_REEL_PAST_HOUR,
    TAPE_REEL_PAST_WHOLE,
};

/*
 * The live end. Invariants: ring is NULL or mapped read-only; live = 1 implies ring, and cursor is
 * at next_ordinal; drained = 1 says that the ring of this owner has nothing more to give and is not
 * entered again; met = 1 once a recorder was seen holding the archive.
 */
struct tape_reel_follow {
    struct tape_ring *ring;
    struct tape_ring_cursor cursor;
    int64_t ring_started_ns;         /* when the recorder that the ring belongs to began */
    struct tape_archive_owner owner; /* as read last */
    int live, met, drained, ended;
    int64_t owner_read_ns;  /* when, on CLOCK_MONOTONIC */
    int64_t stuck_since_ns; /* 0, or since when neither ring nor segments have the next record */
    uint64_t overruns;
    uint8_t *copy;
    size_t copy_bytes;
};

/*
 * Invariants: next_ordinal is one more than the last record pushed to the feed, or passed over by
 * the block filter or the selection; records [next_ordinal, lost_ordinal) were told lost; messages
 * of records below resume_ordinal were given before or are before what was sought, and are not
 * given (again). passes_streams = 1: blocks without a wanted stream are not read, the first of them
 * since the last seek began at passed_ordinal (UINT64_MAX: there was none).
 */
struct tape_reel {
    struct tape_archive *archive;
    struct tape_cursor *cursor;
    struct tape_feed *feed;
    struct tape_source_options options; /* options.stream is ours */
    int64_t read_from_ns; /* blocks that end before it are passed over; INT64_MIN: none are */
    int64_t seek_ns;      /* the next message given is the first at or after it; INT64_MIN: any */
    int64_t past_of_ns;   /* what the past is counted from */
    uint64_t next_ordinal, lost_ordinal, resume_ordinal;
    uint64_t waiting_ordinal; /* seeking: of the first event since the last frame before what is
                                 sought that may lie behind it; UINT64_MAX: there is none */
    int passes_streams;
    uint64_t passed_ordinal;
    int past; /* enum tape_reel_past */
    int last_record_kind;
    int stop; /* written by any thread or signal handler, atomically */
    struct tape_source_damage *damages;
    int damages_kept, damages_total;
    uint64_t damage_told_ordinal; /* damages that end at or before it were told */
    struct tape_reel_follow follow;
};

/* tape_reel_follow_at_end(reel, error): the segments have nothing more. AGAIN when they have
 * now, or when the ring was entered; NOTHING, 0 or a status. */
int tape_reel_follow_at_end(struct tape_reel *reel, struct tape_error *error);

/* tape_reel_follow_next(reel, record, error): while live: 1 with a record that is ours until
 * the next call, AGAIN when the ring was left, NOTHING, 0 or a status. */
int tape_reel_follow_next(struct tape_reel *reel, struct tape_record *record,
                          struct tape_error *error);

void tape_reel_follow_free(struct tape_reel *reel);

/* tape_reel_note_damage(reel, damage): keeps it for tape_reel_damage(). */
int tape_reel_note_damage(struct tape_reel *reel, const struct tape_cursor_damage *damage,
                          struct tape_error *error);

#endif
