/* SHA-256 of what was emitted, in a second thread where there is much of it. */
#ifndef TAPE_REPLAY_DIGEST_H
#define TAPE_REPLAY_DIGEST_H

#include <stddef.h>

#include "format/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_DIGEST_TEXT_BYTES = 65 };

struct tape_digest; /* opaque; called from one thread */

struct tape_digest *tape_digest_new(struct tape_error *error);
void tape_digest_free(struct tape_digest *digest);

/* tape_digest_update(digest, data, bytes): may return before the bytes were looked at: they must
 * stay as they are until the next call on the digest returns. */
void tape_digest_update(struct tape_digest *digest, const void *data, size_t bytes);

/* tape_digest_text(digest, text): the digest of all bytes so far as lower-case hex; "" when
 * libcrypto failed. More bytes may follow. */
void tape_digest_text(struct tape_digest *digest, char text[TAPE_DIGEST_TEXT_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
