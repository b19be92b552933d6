#include "replay/source_books.h"

#include <stdlib.h>

struct tape_source_books {
    int count;
};

struct tape_source_books *tape_source_books_build(const char *const *paths, int count,
                                                  const char *stream, int64_t at_ns,
                                                  struct tape_error *error)
{
    (void)paths, (void)count, (void)stream, (void)at_ns;
    struct tape_source_books *books = calloc(1, sizeof *books);
    if (!books)
        tape_error_set(error, TAPE_FAILED, "memory is short");
    return books;
}

void tape_source_books_free(struct tape_source_books *books)
{
    free(books);
}

int tape_source_books_advance(struct tape_source_books *books, int64_t at_ns,
                              struct tape_error *error)
{
    (void)books, (void)at_ns, (void)error;
    return 0;
}

int tape_source_books_count(const struct tape_source_books *books)
{
    return books->count;
}

int tape_source_books_message(struct tape_source_books *books, int index,
                              struct tape_message *message, struct tape_error *error)
{
    (void)books, (void)index, (void)message, (void)error;
    return 0;
}

const struct tape_book *tape_source_books_book(const struct tape_source_books *books,
                                               const char *stream, const char **cause)
{
    (void)books, (void)stream;
    if (cause)
        *cause = "books are not rebuilt yet";
    return NULL;
}

const struct tape_book *tape_source_books_symbol(const struct tape_source_books *books,
                                                 const char *symbol, const char **cause)
{
    return tape_source_books_book(books, symbol, cause);
}
