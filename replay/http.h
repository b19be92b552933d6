/* Heads of HTTP/1 requests, read in place: no socket, no allocation, no copy. */
#ifndef TAPE_REPLAY_HTTP_H
#define TAPE_REPLAY_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_HTTP_HEAD_MAX_BYTES = 16 << 10, /* request line to empty line */
    TAPE_HTTP_TARGET_MAX_BYTES = 8 << 10,
    TAPE_HTTP_BODY_MAX_BYTES = 64 << 10,
    TAPE_HTTP_FIELDS_MAX = 100,
    TAPE_HTTP_METHOD_MAX_BYTES = 24,
};

/* Why a head is refused: TAPE_HTTP_FAULT(name, status to answer, words). */
#define TAPE_HTTP_FAULT_TABLE(X)                                                                   \
    X(NONE, 200, "no fault")                                                                       \
    X(TLS, 400, "this port speaks plain HTTP, not TLS")                                            \
    X(METHOD, 400, "the method is no token")                                                       \
    X(TARGET, 400, "the target is no path")                                                        \
    X(TARGET_LENGTH, 414, "the target is too long")                                                \
    X(VERSION_FORM, 400, "the request line does not end in an HTTP version")                       \
    X(VERSION, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here")                                  \
    X(LINE_END, 400, "a line does not end in CR LF")                                               \
    X(CONTROL, 400, "a control character in a field")                                              \
    X(FIELD_NAME, 400, "the name of a field is no token")                                          \
    X(FOLDED, 400, "a folded field")                                                               \
    X(FIELDS, 431, "too many fields")                                                              \
    X(HEAD_LENGTH, 431, "the head is too long")                                                    \
    X(HOST, 400, "there must be one Host, and it must be one")                                     \
    X(CONTENT_LENGTH, 400, "there may be one Content-Length, and it must be a number")             \
    X(BODY_LENGTH, 413, "the body is too long")                                                    \
    X(TRANSFER_ENCODING, 501, "a Transfer-Encoding is not understood here")                        \
    X(EXPECT, 417, "only 100-continue may be expected")                                            \
    X(PATH, 400, "the path is not UTF-8 in percent-encoding")

enum tape_http_fault {
#define TAPE_HTTP_FAULT_ENUM(name, status, words) TAPE_HTTP_FAULT_##name,
    TAPE_HTTP_FAULT_TABLE(TAPE_HTTP_FAULT_ENUM)
#undef TAPE_HTTP_FAULT_ENUM
};

struct tape_http_field {
    struct tape_slice name, value; /* the value without blanks around it */
};

/* All slices point into the caller's bytes. */
struct tape_http_head {
    struct tape_slice method;
    struct tape_slice path;  /* percent-encoded, begins with '/'; "*" of OPTIONS */
    struct tape_slice query; /* after the '?' */
    struct tape_slice host;  /* the target's own, where it has one (RFC 7230 section 5.4) */
    int minor_version;       /* 0 or 1 */
    int keep_alive;
    int expects_continue; /* waits for "100 Continue" before it sends the body */
    size_t body_bytes;    /* 0 without a body */
    int fields_count;
    struct tape_http_field fields[TAPE_HTTP_FIELDS_MAX];
};

/*
 * tape_http_parse(data, bytes, head): returns the length of the whole head (one empty line may come
 * before it), 0 when more bytes are needed: call again with the same start and more bytes, or
 * -(enum tape_http_fault). Faults are found in the order of the bytes and as early as they allow,
 * those of what the fields say together at the head's end. head is good only when a length was
 * returned. Nothing in it is ambiguous about where the body ends: what could be is refused.
 */
int tape_http_parse(const char *data, size_t bytes, struct tape_http_head *head);

/* tape_http_find(head, name, count): the value of the first field of that name, in any case; empty
 * with data NULL when there is none. count: how many there are; may be NULL. */
struct tape_slice tape_http_find(const struct tape_http_head *head, const char *name, int *count);

/* tape_http_has_token(head, name, token): 1 when a list of that name, over one or more fields, has
 * the token, in any case. */
int tape_http_has_token(const struct tape_http_head *head, const char *name, const char *token);

/* tape_http_is(text, word): 1 when they are the same, in any case. */
int tape_http_is(struct tape_slice text, const char *word);

/* tape_http_decode_path(path, to, room): percent-decoded with a NUL behind it; its length, or
 * -(enum tape_http_fault): PATH when it is not UTF-8 or has a NUL, TARGET_LENGTH without room. */
int tape_http_decode_path(struct tape_slice path, char *to, size_t room);

const char *tape_http_fault_words(int fault);
int tape_http_fault_status(int fault);

#ifdef __cplusplus
}
#endif
#endif
