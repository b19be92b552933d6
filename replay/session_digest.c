/* SHA-256 of the messages of a session as they were recorded: the same at any speed. */
#include <stdlib.h>
#include <string.h>

#include "replay/session_internal.h"

int tape_session_begin_digest(struct tape_session *session, struct tape_error *error)
{
    tape_session_free_digest(session);
    session->digest_used = 0;
    session->digest = tape_digest_new(error);
    if (!session->digest)
        return error->status;
    for (int i = 0; i < 2; i++)
        if (!(session->digest_bytes[i] = malloc(TAPE_SESSION_DIGEST_BYTES)))
            return tape_error_set(error, TAPE_FAILED, "no memory for a digest");
    return 0;
}

/* The digest may look at them as long as the other half is filled. */
static void hand_over(struct tape_session *session)
{
    tape_digest_update(session->digest, session->digest_bytes[session->digest_turn],
                       session->digest_used);
    session->digest_turn ^= 1;
    session->digest_used = 0;
}

void tape_session_add_digest(struct tape_session *session, struct tape_slice bytes)
{
    while (bytes.bytes > 0) {
        size_t room = TAPE_SESSION_DIGEST_BYTES - session->digest_used;
        size_t part = bytes.bytes < room ? bytes.bytes : room;
        memcpy(session->digest_bytes[session->digest_turn] + session->digest_used, bytes.data,
               part);
        session->digest_used += part;
        bytes.data += part;
        bytes.bytes -= part;
        if (session->digest_used == TAPE_SESSION_DIGEST_BYTES)
            hand_over(session);
    }
}

void tape_session_end_digest(struct tape_session *session, char text[TAPE_DIGEST_TEXT_BYTES])
{
    text[0] = '\0';
    if (!session->digest)
        return;
    hand_over(session);
    tape_digest_text(session->digest, text);
}

void tape_session_free_digest(struct tape_session *session)
{
    tape_digest_free(session->digest);
    session->digest = NULL;
    for (int i = 0; i < 2; i++) {
        free(session->digest_bytes[i]);
        session->digest_bytes[i] = NULL;
    }
}
