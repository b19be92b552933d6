/* The books of a session's depth streams as of where it stands. */
#include <stdlib.h>
#include <string.h>

#include "replay/pace.h"
#include "replay/session_internal.h"

/* The replay time of what left last; the source is ahead of that. INT64_MIN before anything did. */
static int64_t where(struct tape_session *session)
{
    struct tape_transport_state state;
    tape_transport_read_state(session->transport, tape_pace_now(), &state);
    return state.replay_ns;
}

static int bring_up(struct tape_session *session, struct tape_error *error)
{
    int64_t now_ns = where(session);
    if (now_ns == INT64_MIN)
        return tape_error_set(error, TAPE_MISSING, "the session has not begun");
    if (session->books)
        return tape_source_books_advance(session->books, now_ns + 1, error);
    session->books = tape_source_books_build(
        session->options.archives, session->options.archives_count, NULL, now_ns + 1, error);
    return session->books ? 0 : error->status;
}

int tape_session_depth(struct tape_session *session, const char *symbol, size_t limit,
                       struct tape_growing *answer, struct tape_error *error)
{
    const char *cause = "";
    int status = bring_up(session, error);
    if (status < 0)
        return status;
    const struct tape_book *book = tape_source_books_symbol(session->books, symbol, &cause);
    if (!book)
        return tape_error_set(error, TAPE_MISSING, "%s", cause);
    int64_t bytes = tape_book_print(book, limit, NULL, 0);
    uint8_t *to = bytes > 0 ? tape_growing_reserve(answer, (size_t)bytes + 1) : NULL;
    if (!to)
        return tape_error_set(error, TAPE_FAILED, "no memory for a book");
    bytes = tape_book_print(book, limit, (char *)to, (size_t)bytes + 1);
    if (bytes < 0)
        return tape_error_set(error, (int)bytes, "a book of that size cannot be told");
    answer->length += (size_t)bytes;
    return 0;
}

static int asked_for(const struct tape_session_member *member, size_t from, struct tape_slice name)
{
    for (size_t i = from; i < member->client.count; i++) {
        const struct tape_exchange_name *asked = &member->client.names[i];
        if (asked->sent && asked->bytes == name.bytes &&
            memcmp(asked->text, name.data, name.bytes) == 0)
            return 1;
    }
    return 0;
}

static void give(struct tape_session_member *member, const struct tape_message *message)
{
    struct tape_growing text = {0};
    if (!member->client.combined) {
        tape_peer_put_text(member->peer, message->payload.data, message->payload.bytes);
        return;
    }
    tape_growing_put(&text, "{\"stream\":\"", 11);
    tape_growing_put(&text, message->stream.data, message->stream.bytes);
    tape_growing_put(&text, "\",\"data\":", 9);
    tape_growing_put(&text, message->payload.data, message->payload.bytes);
    tape_growing_put_u8(&text, '}');
    if (!text.failed)
        tape_peer_put_text(member->peer, (const char *)text.bytes, text.length);
    free(text.bytes);
}

int tape_session_give_books(struct tape_session_member *member, size_t from,
                            struct tape_error *error)
{
    struct tape_message message;
    struct tape_session *session = member->session;
    if (where(session) == INT64_MIN)
        return 0; /* the transport will give them */
    int status = bring_up(session, error);
    for (int i = 0; status == 0 && i < tape_source_books_count(session->books); i++) {
        status = tape_source_books_message(session->books, i, &message, error);
        if (status == 1 && asked_for(member, from, message.stream))
            give(member, &message);
        status = status < 0 ? status : 0;
    }
    return status;
}
