/* The book of one depth stream: rebuilt from snapshots and diffs by its venue's rules. */
#ifndef TAPE_FORMAT_BOOK_H
#define TAPE_FORMAT_BOOK_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_BOOK_STATE(name, word, meaning) */
#define TAPE_BOOK_STATE_TABLE(X)                                                                   \
    X(UNKNOWN, "unknown",                                                                          \
      "no snapshot was recorded before this time: diffs alone do not make a book")                 \
    X(WAITING, "waiting",                                                                          \
      "a snapshot or a book is there, and the diff that follows on it is not yet")                 \
    X(KNOWN, "known", "every update since the snapshot was applied, none is missing")              \
    X(BROKEN, "broken", "updates are missing: the book is empty until the next snapshot")

enum tape_book_state {
#define TAPE_BOOK_STATE_ENUM(name, word, meaning) TAPE_BOOK_##name,
    TAPE_BOOK_STATE_TABLE(TAPE_BOOK_STATE_ENUM)
#undef TAPE_BOOK_STATE_ENUM
};

enum { TAPE_BOOK_LEVELS_MAX = 1 << 17 }; /* on a side; more is TAPE_LIMIT and breaks the book */

struct tape_book_level {
    struct tape_decimal price,
        quantity; /* their texts are the book's, valid until the next apply */
};

struct tape_book; /* opaque; one thread */

/* tape_book_new(sequence): an empty book whose diffs follow each other by that rule: of enum
 * tape_venue_sequence in format/venue.h PREVIOUS_LAST (futures) or FIRST_FOLLOWS (spot); any other:
 * the book of a partial depth stream, each of whose messages is the whole book, and diffs are
 * passed over; TAPE_BOOK_BY_DIFF: the first diff tells which of the two it is. NULL when memory is
 * short. */
enum { TAPE_BOOK_BY_DIFF = -1 };
struct tape_book *tape_book_new(int sequence);

/* tape_book_for(venue, stream, error): the same, with the rule found from the names of the venue
 * ("binance-usdm", "spot" ...) and the stream ("btcusdt@depth@100ms"). venue may be NULL: the name
 * tells a partial depth stream, and the first diff the rest. NULL with TAPE_USAGE when the venue is
 * not known or the stream has no book. */
struct tape_book *tape_book_for(const char *venue, const char *stream, struct tape_error *error);
void tape_book_free(struct tape_book *book);

/* tape_book_wait_for(book, ns): what is missing may come late: a second connection or archive has
 * it. From now on a diff behind a gap does not break the book but is kept, and applied when the gap
 * is filled; the book is WAITING meanwhile, and BROKEN when ${ns} have gone by on the venue's
 * clock, or there is more than is kept. 0, as at first: BROKEN at once. */
void tape_book_wait_for(struct tape_book *book, int64_t ns);

/*
 * tape_book_apply(book, tick, error): a DEPTH diff, or a DEPTH_SNAPSHOT (REST's answer, or a
 * partial depth stream's message, which replaces all); other ticks are passed over. 1 when the book
 * or its state has changed, 0 when it was passed over (older than the book, as duplicates are, or
 * kept until a snapshot comes), TAPE_LIMIT or TAPE_FAILED: the message is broken, or memory is
 * short. A gap or a broken message empties the book: state BROKEN, and tape_book_cause() tells of
 * it.
 *
 * A snapshot of update S replaces the book, unless the book is newer, and waits for the diff that
 * follows on it. PREVIOUS_LAST: diffs with u < S are passed over, the first other one has U <= S <=
 * u or pu == S, and from there on pu is the u before. FIRST_FOLLOWS: diffs with u <= S are passed
 * over, of all others U is at most the u before (S) + 1. Diffs that come while the book is UNKNOWN
 * or BROKEN are kept (the newest 1024, 1 MiB of them) and applied when the snapshot comes. An id
 * that is older by more than a second of the venue's time, while the message is newer, is none of a
 * duplicate: BROKEN. Quantities of zero, in any spelling, remove their price; two spellings of a
 * price are one level. Crossed books are kept as they are.
 */
int tape_book_apply(struct tape_book *book, const struct tape_tick *tick, struct tape_error *error);

/* tape_book_restore(book, tick, error): the book is that of a message of kind STATE
 * (format/feed.h), decoded, whatever it was before: KNOWN at once, and the next diff must follow on
 * it. As tape_book_apply(); 0 when the message tells that it is not known (the book is as new
 * then). After a seek this is how a book goes back: apply() would take the state for an old
 * snapshot. */
int tape_book_restore(struct tape_book *book, const struct tape_tick *tick,
                      struct tape_error *error);

/* tape_book_reset(book): as new; after a gap in the recording, or a connection that ended. */
void tape_book_reset(struct tape_book *book, const char *cause);

int tape_book_state(const struct tape_book *book);         /* enum tape_book_state */
const char *tape_book_cause(const struct tape_book *book); /* why it is not KNOWN; "" else */
int64_t tape_book_last_id(const struct tape_book *book);   /* TAPE_TICK_NONE when not KNOWN */
const char *tape_book_state_word(int state);

/* tape_book_levels(book, side): how many; side 0 bids, 1 asks. tape_book_level(book, side, index,
 * level): 1 with the ${index}th from the best, or 0. Both count only while KNOWN (else 0). */
size_t tape_book_levels(const struct tape_book *book, int side);
int tape_book_level(const struct tape_book *book, int side, size_t index,
                    struct tape_book_level *level);

/* tape_book_is_crossed(book): 1 while the best bid is not below the best ask. */
int tape_book_is_crossed(const struct tape_book *book);

/* tape_book_read_times(book, event_ms, transaction_ms): E and T of the message that was applied
 * last, in ms; TAPE_TICK_NONE where it had none. */
void tape_book_read_times(const struct tape_book *book, int64_t *event_ms, int64_t *transaction_ms);

/* tape_book_print(book, limit, to, room): as the venue's REST answer: {"lastUpdateId":1,"E":..,
 * "T":..,"bids":[["p","q"],..],"asks":[..]} (E and T, in ms, where the last message had them), best
 * first, prices and quantities as text exactly as received, at most ${limit} levels a side (0:
 * all). Its bytes, 0 while it is not KNOWN, or TAPE_LIMIT when room is short; to may be NULL to ask
 * for the size. */
int64_t tape_book_print(const struct tape_book *book, size_t limit, char *to, size_t room);

#ifdef __cplusplus
}
#endif
#endif
