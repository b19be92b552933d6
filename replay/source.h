/* One source for strategies: an archive, an archive still being recorded, or both in turn; or
 * several archives of the same feed as one. */
#ifndef TAPE_REPLAY_SOURCE_H
#define TAPE_REPLAY_SOURCE_H

#include <stdint.h>

#include "format/error.h"
#include "format/feed.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SOURCE_ARCHIVES_MAX = 64 };

struct tape_source; /* opaque; one thread */

/* TAPE_SOURCE_ORDER(name, word, meaning) */
#define TAPE_SOURCE_ORDER_TABLE(X)                                                                 \
    X(RECEIVED, "received", "as recorded; of several archives by receive time, archive, ordinal")  \
    X(EVENT, "event", "by the venue's event time: looks ahead, only for those who ask")

enum tape_source_order {
#define TAPE_SOURCE_ORDER_ENUM(name, word, meaning) TAPE_SOURCE_ORDER_##name,
    TAPE_SOURCE_ORDER_TABLE(TAPE_SOURCE_ORDER_ENUM)
#undef TAPE_SOURCE_ORDER_ENUM
};

/* Zero-initialise for "all of it, archive only". */
struct tape_source_options {
    int64_t from_ns, to_ns; /* recv_ns in [from, to); 0: open end */
    const char *stream; /* globs over stream names (* ? [..]) with commas between; NULL: all, and
                           messages without a name, too. Without events, the others' text in packed
                           blocks is not rebuilt, and blocks that hold none of them are not read
                           (following: they are) */
    int follow;         /* 1: at the end go on live; next() waits */
    int events; /* 1: also give event records, control frames, our own frames and bad bytes: else
                   only data, acknowledgements and refusals are given (with stream: only data) */
    int spin;   /* 1: while following, poll the ring without sleeping */
    int order;  /* enum tape_source_order */
    int state;  /* 0: after a start at from_ns or a seek each depth stream begins with its book as a
                   message of kind STATE (following: once the message is there that
                   they precede); 1: at the very beginning, too; -1: never */
    int duplicates; /* 0: of several archives each message once, the earliest arrival; 1: all of
                       them; -1: each once even of one archive (two connections side by side) */
};

struct tape_source_damage {
    int verdict; /* enum tape_status */
    uint64_t from_ordinal, to_ordinal;
    int64_t from_ns, to_ns;
    const char *text;
    int archive;
};

/* tape_source_open(path, options, error): NULL on failure. options may be NULL. Never writes. */
struct tape_source *tape_source_open(const char *path, const struct tape_source_options *options,
                                     struct tape_error *error);

/* tape_source_open_all(paths, count, options, error): several archives as one; paths are not kept.
 * Messages come by (recv_ns, archive, ordinal), but never out of one archive's own order; an event
 * no later than the message that follows it in its archive. Following works with one archive only,
 * and in the order of receipt. By event time, messages within 10 s of receipt (and 128 MiB) are put
 * in order; one without an event time stays behind the one before it. */
struct tape_source *tape_source_open_all(const char *const *paths, int count,
                                         const struct tape_source_options *options,
                                         struct tape_error *error);
void tape_source_close(struct tape_source *source);

/*
 * tape_source_next(source, message, error): 1 with the next message in order (borrowed until the
 * next call); 0 at the end (following: the recorder ended in order, or nothing recorded from the
 * start, or tape_source_stop was called; a recorder that dies is waited for: the next one goes on
 * where it ended). A damaged place is told once through tape_source_damage and passed over: the
 * message after it carries on. Negative: reading failed. Following: waits for the next message.
 */
int tape_source_next(struct tape_source *source, struct tape_message *message,
                     struct tape_error *error);

/* tape_source_try(source, message, error): as next but returns 2 at once when following and nothing
 * is there. */
int tape_source_try(struct tape_source *source, struct tape_message *message,
                    struct tape_error *error);

/* tape_source_seek(source, ns, error): the next message is the first with recv_ns >= ns in order
 * (after the state that goes before it); those after it follow whatever their stamps. from_ns,
 * to_ns and stream go on to hold. */
int tape_source_seek(struct tape_source *source, int64_t ns, struct tape_error *error);

/* tape_source_time(paths, count, text, ns, error): a time as the command line takes it, for
 * from_ns, to_ns and seek: RFC 3339, ns since 1970, "@" and seconds, "now", "+10m" after the first
 * message of these archives or "-10m" before their last. 0, TAPE_USAGE when it is none (or counts
 * from an end while count is 0), or a status of opening them. */
int tape_source_time(const char *const *paths, int count, const char *text, int64_t *ns,
                     struct tape_error *error);

/* tape_source_now(source): the virtual clock: replay_ns of the message given last; INT64_MIN before
 * the first. It never runs back but with a seek, and never ahead of what was given. Events do not
 * move it (an import's are years newer than its frames): theirs is the time as it stands, or their
 * own before the first frame. */
int64_t tape_source_now(const struct tape_source *source);

/* tape_source_tick(message, tick): decodes the message's payload; see tape_tick_decode. */
int tape_source_tick(const struct tape_message *message, struct tape_tick *tick);

/* tape_source_damages(source): how many damaged places were passed over. tape_source_damage(source,
 * index, damage): 1 with the ${index}th, or 0 (only the first thousand are kept). Its text is valid
 * until close. */
int tape_source_damages(const struct tape_source *source);
int tape_source_damage(const struct tape_source *source, int index,
                       struct tape_source_damage *damage);

/* Where the source stands: following the ring (1) or reading segments (0); how often the ring
 * overran it; whether the recorder died without ending (a follower then waits for the next). */
struct tape_source_state {
    int live;
    uint64_t overruns;
    uint64_t next_ordinal; /* every record below it was read, passed over or told lost; of one
                              archive */
    int recorder_alive;
    uint64_t blocks_read; /* of the segments: those that had to be decompressed */
    uint64_t event_late;  /* order event: came when a later event had been given */
};
void tape_source_read_state(const struct tape_source *source, struct tape_source_state *state);

/*
 * What came of one stream in one archive, where duplicates are removed. A message is a duplicate
 * when it has the stream, the sequence id (where the venue gives one) and, but for the wrapper, all
 * bytes of one that was given within the last 60 s of replay time (5 s where there is no id: there
 * the k-th of equal bytes in one archive is the k-th in the other), and did not come by the same
 * way: an archive, or with an id (and always with duplicates -1) a connection. Memory for that ends
 * at a million messages or 128 MiB: what came before is then forgotten earlier.
 */
struct tape_source_share {
    const char *stream; /* the wrapper's name, or symbol@event of messages without a wrapper, or "";
                           borrowed until the next call on the source; cut to 255 bytes; those after
                           the first 16,384 are counted as "(others)" */
    int archive;
    uint64_t given;     /* arrived here first */
    uint64_t late;      /* arrived elsewhere first, here later: removed */
    uint64_t missed;    /* given from elsewhere, never seen here between its own first and last */
    uint64_t unmatched; /* of those given: forgotten early, or not looked for, for want of memory: a
                           later copy of it would be given, too */
    uint64_t differing; /* of those given: the same id had come from elsewhere with other bytes */
    int64_t late_p50_ns, late_p99_ns, late_max_ns; /* of the late ones, behind the first arrival;
                                                      quantiles are at most 6 % too high */
};

/* tape_source_share(source, index, share): 1 with the ${index}th row (streams by name, then
 * archives), or 0 past the last. Of what was given since the start or the last seek: what had
 * arrived somewhere in the minute before is known there, its copies are late, and it is not
 * counted. */
int tape_source_share(const struct tape_source *source, int index, struct tape_source_share *share);

/* tape_source_stop(source): makes a waiting next() return 0. Async-signal-safe; any thread. */
void tape_source_stop(struct tape_source *source);

#ifdef __cplusplus
}
#endif
#endif
