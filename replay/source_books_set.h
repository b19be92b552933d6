/* Depth streams by name, each with its book and with whether the book can be trusted. Private to
 * the source files. */
#ifndef TAPE_REPLAY_SOURCE_BOOKS_SET_H
#define TAPE_REPLAY_SOURCE_BOOKS_SET_H

#include <stddef.h>
#include <stdint.h>

#include "format/book.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SOURCE_BOOKS_CARRIERS_MAX = 8 };

/* A connection of one of the archives. */
struct tape_source_books_carrier {
    int archive;
    uint32_t connection;
};

/*
 * One stream. Invariants: doubt is "" or why the book may lack updates although none was seen to be
 * missing: that it lost its last carrier; the next update that follows on takes the doubt away.
 * carriers: the open connections that brought its updates (the newest ones, when they are many).
 * brought: a bit for each archive that updates came from; guessed: for each whose snapshot without
 * a name it took.
 * first_known_ns: when it became known first in a reading from the beginning; INT64_MAX: never yet.
 */
struct tape_source_books_stream {
    char *name;
    struct tape_book *book;
    int met;     /* in this reading */
    int is_diff; /* else a partial depth stream */
    int broke;   /* it was known in this reading, and updates are missing since: what is before that
                    does not help */
    struct tape_source_books_carrier carriers[TAPE_SOURCE_BOOKS_CARRIERS_MAX];
    int carriers_count;
    uint64_t brought, guessed;
    int archive; /* of the last message that was applied */
    uint64_t ordinal;
    int64_t first_known_ns;
    char doubt[160];
};

/* Zero-initialise; tape_source_books_set_free() at the end. Invariant: by name, ascending. */
struct tape_source_books_set {
    struct tape_source_books_stream **streams;
    size_t count, room, last; /* last: the one that was found last */
};

void tape_source_books_set_free(struct tape_source_books_set *set);

/* tape_source_books_set_restart(set): before a new reading: nothing was met. */
void tape_source_books_set_restart(struct tape_source_books_set *set);

/* tape_source_books_set_find(set, name, bytes): or NULL. */
struct tape_source_books_stream *tape_source_books_set_find(struct tape_source_books_set *set,
                                                            const char *name, size_t bytes);

/* tape_source_books_set_add(set, name, bytes, is_diff): the same, made when it is not there; it was
 * met from now on. NULL: memory is short. */
struct tape_source_books_stream *tape_source_books_set_add(struct tape_source_books_set *set,
                                                           const char *name, size_t bytes,
                                                           int is_diff);

/* tape_source_books_set_carry(stream, archive, connection): an update came that way. */
void tape_source_books_set_carry(struct tape_source_books_stream *stream, int archive,
                                 uint32_t connection);

/* tape_source_books_set_lose(set, archive, connection, cause): a connection ended (0: all of the
 * archive's did, or may lack something): streams that nothing else carries are in doubt. */
void tape_source_books_set_lose(struct tape_source_books_set *set, int archive, uint32_t connection,
                                const char *cause);

/* tape_source_books_set_cause(stream): why its book is not known; "" when it is. */
const char *tape_source_books_set_cause(const struct tape_source_books_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
