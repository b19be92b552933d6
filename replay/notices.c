#include "replay/notices.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* What a pipe takes without waiting when poll(2) says that it takes anything. */
enum { PIECE_BYTES = 4096 };

/* Invariant: lost lines came after the last byte that was written; within: that one ended no line.
 */
struct notices {
    int fd, within;
    uint64_t lost;
};

static size_t put_piece(int fd, const char *bytes, size_t count)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    ssize_t put;
    if (poll(&ready, 1, 0) != 1 || !(ready.revents & POLLOUT))
        return 0;
    do
        put = write(fd, bytes, count < PIECE_BYTES ? count : PIECE_BYTES);
    while (put < 0 && errno == EINTR);
    return put > 0 ? (size_t)put : 0;
}

static int tell_lost(struct notices *notices)
{
    char words[100];
    int bytes = snprintf(words, sizeof words, "%stape-replay: %llu line%s lost: nobody read them\n",
                         notices->within ? "\n" : "", (unsigned long long)notices->lost,
                         notices->lost == 1 ? " is" : "s are");
    if (put_piece(notices->fd, words, (size_t)bytes) != (size_t)bytes)
        return 0;
    notices->lost = 0;
    notices->within = 0;
    return 1;
}

/* A line, or a part of a long one. */
static ssize_t put(void *context, const char *bytes, size_t count)
{
    struct notices *notices = context;
    size_t done = 0, piece = 1;
    if (notices->lost > 0 && !tell_lost(notices)) {
        notices->lost++;
        return (ssize_t)count;
    }
    while (done < count && piece > 0)
        done += piece = put_piece(notices->fd, bytes + done, count - done);
    if (done > 0)
        notices->within = bytes[done - 1] != '\n';
    notices->lost += done < count;
    return (ssize_t)count;
}

static int end(void *context)
{
    free(context);
    return 0;
}

FILE *tape_notices_open(FILE *to)
{
    static const cookie_io_functions_t calls = {.write = put, .close = end};
    struct notices *notices = malloc(sizeof *notices);
    FILE *file = notices ? fopencookie(notices, "w", calls) : NULL;
    if (!file) {
        free(notices);
        return NULL;
    }
    fflush(to);
    *notices = (struct notices){.fd = fileno(to)};
    setvbuf(file, NULL, _IOLBF, PIECE_BYTES);
    return file;
}
