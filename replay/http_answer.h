/* The head of an HTTP response. */
#ifndef TAPE_REPLAY_HTTP_ANSWER_H
#define TAPE_REPLAY_HTTP_ANSWER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_HTTP_ANSWER_MAX_BYTES = 1024 };

struct tape_http_answer {
    int status;
    const char *content_type; /* NULL without a body */
    size_t body_bytes;
    int keep_alive;
    long long unix_s; /* for Date */
};

/* tape_http_answer_head(to, answer): writes the whole head, with what a status asks for (Allow,
 * Retry-After, the version of 426); returns its length. A content type of more than 100 bytes is
 * cut. */
size_t tape_http_answer_head(char to[TAPE_HTTP_ANSWER_MAX_BYTES],
                             const struct tape_http_answer *answer);

/* tape_http_answer_phrase(status): "Not Found" … */
const char *tape_http_answer_phrase(int status);

#ifdef __cplusplus
}
#endif
#endif
