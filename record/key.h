/* The random and hashed parts of a WebSocket: handshake key, its answer, masks. */
#ifndef TAPE_RECORD_KEY_H
#define TAPE_RECORD_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "format/error.h"
#include "format/handshake.h"

/* tape_key_make(key, error): a fresh Sec-WebSocket-Key. 0 or TAPE_FAILED when the system has no
 * randomness. */
int tape_key_make(char key[TAPE_HANDSHAKE_KEY_CHARS + 1], struct tape_error *error);

/* tape_key_accept(key, accept): the one Sec-WebSocket-Accept that answers it. */
void tape_key_accept(const char *key, char accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1]);

/* tape_key_random(to, bytes): unpredictable bytes, for masks and seeds. 0 or TAPE_FAILED. */
int tape_key_random(void *to, size_t bytes);

#endif
