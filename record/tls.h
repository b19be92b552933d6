/* TLS of outgoing connections: the only file of the room that knows OpenSSL's TLS. */
#ifndef TAPE_RECORD_TLS_H
#define TAPE_RECORD_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "record/stamp.h"
#include "record/url.h"

struct tape_tls_context; /* opaque: what all connections share */
struct tape_tls;         /* opaque: one connection; one thread */

enum { TAPE_TLS_RECORD_BYTES = 16 << 10 }; /* the most that one read returns */

/* tape_tls_context_new(ca_file, error): TLS 1.2 or newer, peers verified against ${ca_file} alone,
 * or the system's authorities when it is NULL. NULL when the file cannot be used. */
struct tape_tls_context *tape_tls_context_new(const char *ca_file, struct tape_error *error);
void tape_tls_context_free(struct tape_tls_context *context);

/* tape_tls_new(context, url, stamp, error): a client for the host of ${url} over stamp->fd, which
 * is read through ${stamp} (adaptive) and stays the caller's. NULL on failure. */
struct tape_tls *tape_tls_new(struct tape_tls_context *context, const struct tape_url *url,
                              struct tape_stamp *stamp, struct tape_error *error);

/* tape_tls_free(tls): says close_notify first when the connection is still whole. */
void tape_tls_free(struct tape_tls *tls);

/* How a TLS connection ended, when a call below returned a negative number. */
enum tape_tls_end {
    TAPE_TLS_CLOSED = -1,      /* close_notify */
    TAPE_TLS_TRUNCATED = -2,   /* FIN without close_notify */
    TAPE_TLS_SYSTEM = -3,      /* errno */
    TAPE_TLS_BROKEN = -4,      /* the protocol: error tells */
    TAPE_TLS_CERTIFICATE = -5, /* the peer's certificate was refused: error tells */
};

/* tape_tls_handshake(tls, error): 1 when done, 0 to be called again when the socket is ready, or an
 * enum tape_tls_end with the words in error ("certificate: hostname mismatch", "tls: …"). */
int tape_tls_handshake(struct tape_tls *tls, struct tape_error *error);

/* tape_tls_read(tls, to, bytes, error): bytes read (of one TLS record), 0 for none now, or an end.
 * stamp->stamp_ns is then the stamp of the record's last byte. */
int64_t tape_tls_read(struct tape_tls *tls, void *to, size_t bytes, struct tape_error *error);

/* tape_tls_write(tls, from, bytes, error): ${bytes} when all were taken, 0 for none now: call again
 * with the same bytes at the same place. */
int64_t tape_tls_write(struct tape_tls *tls, const void *from, size_t bytes,
                       struct tape_error *error);

/* tape_tls_wants_write(tls): 1 when the call that returned 0 waits for room to send. */
int tape_tls_wants_write(const struct tape_tls *tls);

/* tape_tls_held(tls): 1 when decrypted bytes or bytes read ahead wait inside: no event of the
 * socket will tell of them. */
int tape_tls_held(const struct tape_tls *tls);

/* After the handshake. */
const char *tape_tls_version(const struct tape_tls *tls);
const char *tape_tls_cipher(const struct tape_tls *tls);
/* of the peer's certificate (DER) in hex; "" when there is none */
void tape_tls_fingerprint(const struct tape_tls *tls, char to[65]);

#endif
