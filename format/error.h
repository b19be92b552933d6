/* What went wrong, as a chain of words, outermost first. */
#ifndef TAPE_FORMAT_ERROR_H
#define TAPE_FORMAT_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * TAPE_STATUS(name, number, exit code, meaning). Numbers are never reused. A function that can fail
 * returns one of these; 0 is "done" or "end", a positive number is "got one" or "bytes used".
 */
#define TAPE_STATUS_TABLE(X)                                                                       \
    X(OK, 0, 0, "done")                                                                            \
    X(FAILED, -1, 1, "an operation of the system failed")                                          \
    X(USAGE, -2, 2, "the caller asked for something that cannot be meant")                         \
    X(CORRUPT, -3, 3, "bytes in the middle of the archive are not what was written")               \
    X(TORN, -4, 3, "the end of a file is missing, as after a crash")                               \
    X(MISSING, -5, 3, "a segment that must be there is not")                                       \
    X(FOREIGN, -6, 3, "the file is not a part of this archive")                                    \
    X(LOCKED, -7, 1, "another process records into the archive")                                   \
    X(OVERRUN, -8, 1, "the reader was too slow for the ring")                                      \
    X(FULL, -9, 1, "no space left")                                                                \
    X(PROTOCOL, -10, 1, "the peer broke the protocol")                                             \
    X(LIMIT, -11, 1, "a limit was exceeded")                                                       \
    X(CLOSED, -12, 1, "the peer closed the connection")

enum tape_status {
#define TAPE_STATUS_ENUM(name, number, exit_code, meaning) TAPE_##name = number,
    TAPE_STATUS_TABLE(TAPE_STATUS_ENUM)
#undef TAPE_STATUS_ENUM
};

enum { TAPE_ERROR_TEXT_BYTES = 1024 };

/* text is always terminated; when it does not fit, its innermost end is cut. */
struct tape_error {
    int status;
    char text[TAPE_ERROR_TEXT_BYTES];
};

/* tape_error_set(error, status, format, ...): replaces the chain; returns ${status}. error may be
 * NULL. */
int tape_error_set(struct tape_error *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* tape_error_errno(error, errno_value, format, ...): as set with TAPE_FAILED (TAPE_FULL for ENOSPC
 * and EDQUOT), followed by ": " and the words for ${errno_value}. Returns the status. */
int tape_error_errno(struct tape_error *error, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* tape_error_wrap(error, format, ...): puts "<format>: " before the chain; returns its status, or
 * TAPE_FAILED when error is NULL (a caller that takes NULL keeps the status itself). The arguments
 * of all three may be parts of the old text. */
int tape_error_wrap(struct tape_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* tape_error_exit_code(status): the process exit code for ${status}: 0, 1, 2 or 3. */
int tape_error_exit_code(int status);

#ifdef __cplusplus
}
#endif
#endif
