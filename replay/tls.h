/* TLS at the server's end. The one file of the room that includes libssl. */
#ifndef TAPE_REPLAY_TLS_H
#define TAPE_REPLAY_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/growing.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tape_tls_context; /* certificate, key and policy: TLS 1.2 or 1.3, no tickets */
struct tape_tls;         /* one connection */

/* How a connection ended; 0 is "try again". */
enum tape_tls_end {
    TAPE_TLS_CLOSED = -1,   /* the peer said so, or just hung up */
    TAPE_TLS_BROKEN = -2,   /* no TLS, or no cipher in common, ... */
    TAPE_TLS_IS_HTTP = -3,  /* the peer speaks plain HTTP */
    TAPE_TLS_NO_MEMORY = -4 /* or the socket failed */
};

/* tape_tls_context_new(certificate, key, error): from PEM files; NULL when one cannot be read, or
 * they are not a pair, or the key wants a passphrase. */
struct tape_tls_context *tape_tls_context_new(const char *certificate, const char *key,
                                              struct tape_error *error);
void tape_tls_context_free(struct tape_tls_context *context);

/* tape_tls_new(context, fd): NULL without memory. fd stays the caller's. */
struct tape_tls *tape_tls_new(struct tape_tls_context *context, int fd);
void tape_tls_free(struct tape_tls *tls);

/*
 * All that is to be sent is appended to `out`, whatever the call: the caller sends it, in that
 * order. tape_tls_handshake(): 1 when it is done, 0 when more must be read, or an end.
 * tape_tls_read(): the bytes got, 0 when there are none now, or an end. Either reads at most
 * TAPE_TLS_VISIT_BYTES from the socket and then says 0: tape_tls_drained() tells which it was.
 */
enum { TAPE_TLS_VISIT_BYTES = 64 << 10, TAPE_TLS_RECORD_BYTES = 16 << 10 };
int tape_tls_handshake(struct tape_tls *tls, struct tape_growing *out);
int64_t tape_tls_read(struct tape_tls *tls, void *to, size_t bytes, struct tape_growing *out);

/* tape_tls_drained(tls): 1 when the last read met the socket's end of what is there. */
int tape_tls_drained(const struct tape_tls *tls);

/* tape_tls_seal(tls, from, bytes, out): as records of 16 KiB and one of what is left. 0, or an end.
 */
int tape_tls_seal(struct tape_tls *tls, const void *from, size_t bytes, struct tape_growing *out);

/* tape_tls_finish(tls, out): close_notify. */
void tape_tls_finish(struct tape_tls *tls, struct tape_growing *out);

#ifdef __cplusplus
}
#endif
#endif
