/* Names to addresses without making the loop wait. */
#ifndef TAPE_RECORD_RESOLVE_H
#define TAPE_RECORD_RESOLVE_H

#include <netdb.h>

#include "format/error.h"

struct tape_resolver; /* opaque: one thread asks; a worker of its own, made when first needed, waits
                         for the answers. It outlives a tape_resolve_free() that finds it waiting.
                       */
struct tape_lookup;   /* opaque: one question; shared by all who ask it at the same time */

/* tape_resolve_new(wake_fd, error): an eventfd that is written when an answer is there; the caller
 * closes it after tape_resolve_free(). */
struct tape_resolver *tape_resolve_new(int wake_fd, struct tape_error *error);
void tape_resolve_free(struct tape_resolver *resolver);

/* tape_resolve_ask(resolver, host, port): a question, to be given back with
 * tape_resolve_forget(). NULL with errno. Addresses are answered at once. */
struct tape_lookup *tape_resolve_ask(struct tape_resolver *resolver, const char *host, int port);

/* tape_resolve_answer(lookup, addresses): 1 with the addresses (borrowed until forgotten), 0 as
 * long as there is no answer, or a negative EAI_ error of getaddrinfo(). */
int tape_resolve_answer(struct tape_lookup *lookup, const struct addrinfo **addresses);

void tape_resolve_forget(struct tape_lookup *lookup);

#endif
