/* The books of all depth streams as of a time: for a start in the middle of a recording, and for
 * whoever asks what a book was then. */
#ifndef TAPE_REPLAY_SOURCE_BOOKS_H
#define TAPE_REPLAY_SOURCE_BOOKS_H

#include <stdint.h>

#include "format/book.h"
#include "format/error.h"
#include "format/feed.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_source_books; /* opaque; one thread */

/*
 * tape_source_books_build(paths, count, stream, at_ns, error): the books as they were when the
 * first message with recv_ns >= at_ns came: all messages before it, in the order of
 * tape_source_next(), are in them. stream: as in tape_source_options, NULL for all; it selects
 * among the depth streams. Looks backwards in growing steps (10 min, 2 h, 26 h, all of it) until
 * each diff stream that it met is known; steps that have no snapshots by index.db are left out. A
 * stream of which nothing came in the last step that was read is not met. NULL on failure. Keeps
 * copies of paths and stream.
 *
 * A message without a wrapper is of the depth stream that its connection asked for, where that can
 * be but one; where the asking lies further back it is looked for. Of a capture nobody knows what
 * was asked for: a diff of spot is <symbol>@depth there, and one of futures, which may be a partial
 * book, is of no stream.
 *
 * A book is known only while its updates are known to be whole: its connection ended, its recorder
 * did, or a place of the recording is damaged: then it is not, until an update comes that follows
 * on (nothing was lost) or a new snapshot. Whoever asks often keeps one of these and advances it: a
 * backward search remembers what a search from the beginning has found to be never known.
 */
struct tape_source_books *tape_source_books_build(const char *const *paths, int count,
                                                  const char *stream, int64_t at_ns,
                                                  struct tape_error *error);

/* tape_source_books_build_live(path, stream, at_ns, error): the same of an archive that is being
 * recorded: also with what is in the recorder's ring only. */
struct tape_source_books *tape_source_books_build_live(const char *path, const char *stream,
                                                       int64_t at_ns, struct tape_error *error);
void tape_source_books_free(struct tape_source_books *books);

/* tape_source_books_advance(books, at_ns, error): the same as of another time: a later one reads on
 * from where they stand, an earlier one looks backwards anew. 0 or a status: then the books are
 * those of no time, and nothing is known. */
int tape_source_books_advance(struct tape_source_books *books, int64_t at_ns,
                              struct tape_error *error);

/* tape_source_books_count(books): how many depth streams were met. */
int tape_source_books_count(const struct tape_source_books *books);

/*
 * tape_source_books_message(books, index, message, error): 1 with the message of kind STATE of the
 * ${index}th of them (by name), borrowed until the next call; 0 past the last; negative: memory is
 * short. Its payload is {"state":true,"lastUpdateId":N,"E":ms,"T":ms,"bids":[..],"asks":[..]} or
 * {"state":true,"known":false,"cause":"..."}; stream is its name; archive and ordinal are of the
 * last message that is in it; recv_ns and replay_ns are the time asked for; frame is empty.
 */
int tape_source_books_message(struct tape_source_books *books, int index,
                              struct tape_message *message, struct tape_error *error);

/* tape_source_books_book(books, stream, cause): the book of the stream of that name, borrowed until
 * the books are advanced or freed. NULL when it cannot be known, with the reason in *cause (valid
 * as long); cause may be NULL. */
const struct tape_book *tape_source_books_book(const struct tape_source_books *books,
                                               const char *stream, const char **cause);

/* tape_source_books_symbol(books, symbol, cause): the same of the diff stream that is known best
 * among those of a symbol, upper or lower case: what the venue's REST would answer from. */
const struct tape_book *tape_source_books_symbol(const struct tape_source_books *books,
                                                 const char *symbol, const char **cause);

#ifdef __cplusplus
}
#endif
#endif
