/* The names of the streams that archives hold, to tell a client what it will never get. */
#ifndef TAPE_REPLAY_SESSION_STREAMS_H
#define TAPE_REPLAY_SESSION_STREAMS_H

#include <stddef.h>

#include "format/index.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_SESSION_STREAMS_MAX = 16384 };

/* Zero-initialise. Invariant: names are sorted, whatever their case, and then by it. unknown: there
 * are more, or some that only content tells: nothing can be said of what is not among the names. */
struct tape_session_streams {
    char **names;
    size_t count;
    int complete, unknown;
};

/* tape_session_streams_add(streams, index): the names of one archive. complete is the caller's to
 * set, after the last. */
void tape_session_streams_add(struct tape_session_streams *streams, struct tape_index *index);
void tape_session_streams_free(struct tape_session_streams *streams);

/* tape_session_streams_lack(streams, name, bytes, near): 1 when no archive holds it; *near is then
 * a name that differs in case only, or NULL. 0 as well where that is not known. */
int tape_session_streams_lack(const struct tape_session_streams *streams, const char *name,
                              size_t bytes, const char **near);

#ifdef __cplusplus
}
#endif
#endif
