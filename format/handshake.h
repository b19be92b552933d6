/* The opening handshake of RFC 6455 section 4 as bytes: no socket, no hash. */
#ifndef TAPE_FORMAT_HANDSHAKE_H
#define TAPE_FORMAT_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TAPE_HANDSHAKE_KEY_CHARS = 24,    /* base64 of 16 bytes */
    TAPE_HANDSHAKE_ACCEPT_CHARS = 28, /* base64 of a SHA-1 */
    TAPE_HANDSHAKE_HEAD_MAX_BYTES = 16 << 10,
    TAPE_HANDSHAKE_FIELDS_MAX = 64,
};
#define TAPE_HANDSHAKE_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* tape_handshake_request(to, room, host, target, key, error): writes the client's GET; no extension
 * and no subprotocol is offered. host is "name" or "name:port" as it must stand in the Host field.
 * Control characters, spaces and bytes above 0x7e in host or target are refused (TAPE_USAGE), also
 * a host with / ? # @ or a backslash, a target that does not begin with "/" or has a "#", and a key
 * that is not the base64 of 16 bytes. Returns the bytes written, without the terminating NUL that
 * room must also hold (else TAPE_LIMIT), or a status. */
int tape_handshake_request(char *to, size_t room, const char *host, const char *target,
                           const char *key, struct tape_error *error);

struct tape_handshake_response {
    int status_code;       /* 101, 403 …; 0 as long as it is not known */
    int64_t retry_after_s; /* delta-seconds of Retry-After, at most 2^31; 0 when absent; anything
                              else, such as an HTTP date, gives -1 and its text below */
    char retry_after_date[40];
    char location[512]; /* of a redirect, shortened and made printable; "" when absent */
    char reason[128];   /* the status line's phrase, made printable */
};

/*
 * tape_handshake_response(data, bytes, accept, response, error): reads the server's answer.
 * Returns the length of the head (status line to empty line) for a good 101; frames may follow it
 * in data. 0 when more bytes are needed: call again with the same start and more bytes.
 * TAPE_PROTOCOL with one clear text otherwise: not HTTP/1.1, a status other than 101 (once its head
 * is complete), no or more than one or a wrong Sec-WebSocket-Accept (exact compare with ${accept}),
 * Upgrade without the token websocket, Connection without the token upgrade (token lists in any
 * case, over one or more lines), any Sec-WebSocket-Extensions or Sec-WebSocket-Protocol, a
 * Content-Length other than 0 or any Transfer-Encoding (a 101 has no body: RFC 7230 3.3; a
 * Content-Length of 0, which must not be there either, is harmless and let pass), a field line
 * without a colon, folded, with a name that is no token, or with control characters, a bare CR or
 * LF. TAPE_LIMIT past TAPE_HANDSHAKE_HEAD_MAX_BYTES or _FIELDS_MAX. Faults are found as early as
 * the bytes allow, and in their order. response is written at each call with what is known so far.
 * What the server sent is made printable in all texts.
 */
int tape_handshake_response(const uint8_t *data, size_t bytes, const char *accept,
                            struct tape_handshake_response *response, struct tape_error *error);

#ifdef __cplusplus
}
#endif
#endif
