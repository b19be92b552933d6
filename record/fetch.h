/* One HTTPS GET, on a thread that may wait: for what a venue gives beside its feed. */
#ifndef TAPE_RECORD_FETCH_H
#define TAPE_RECORD_FETCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "record/tls.h"
#include "record/url.h"

enum {
    TAPE_FETCH_HEAD_MAX_BYTES = 16 << 10,
    TAPE_FETCH_BODY_MAX_BYTES = 8 << 20,
};

/* How a connection ended; 0: it has not. */
enum {
    TAPE_FETCH_ENDED = 1,
    TAPE_FETCH_CUT = 2 /* without the goodbye that TLS demands, or reset */
};

/* body lies in the caller's answer buffer. */
struct tape_fetch_answer {
    int status_code;
    int64_t retry_after_s; /* 0 when absent or not a plain number */
    const uint8_t *body;
    size_t body_bytes;
};

/*
 * tape_fetch_parse(data, bytes, ended, answer, error): reads an HTTP/1.1 answer (RFC 9112) of which
 * ${bytes} have come; ended tells that no more will. A chunked body is joined in place, so that the
 * same data must not be parsed again once this returned 1. Returns 1 with the answer, 0 when more
 * is needed, TAPE_PROTOCOL for what is no such answer (both lengths given, two lengths, a bad
 * chunk, an end inside), TAPE_LIMIT past the limits above.
 */
int tape_fetch_parse(uint8_t *data, size_t bytes, int ended, struct tape_fetch_answer *answer,
                     struct tape_error *error);

/*
 * tape_fetch_get(tls, url, limit_ns, stop, buffer, answer, error): GETs url->target. One limit over
 * all of it; gives up within 100 ms once *stop is not 0. buffer has room for
 * TAPE_FETCH_HEAD_MAX_BYTES + TAPE_FETCH_BODY_MAX_BYTES. url->secure 0 speaks plain HTTP. No
 * redirect is followed: any status is an answer. 0, or a status with "connect HOST: …" or "HOST:
 * …".
 */
int tape_fetch_get(struct tape_tls_context *tls, const struct tape_url *url, int64_t limit_ns,
                   const atomic_int *stop, uint8_t *buffer, struct tape_fetch_answer *answer,
                   struct tape_error *error);

#endif
