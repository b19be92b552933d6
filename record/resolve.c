#include "record/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "record/thread.h"

/* Invariants: guarded by the resolver's lock but for host and port; holders counts those who asked
 * and, while it is in the queue or being answered, the worker; state and addresses are final once
 * state is not 0. */
struct tape_lookup {
    struct tape_resolver *resolver;
    struct tape_lookup *next; /* in the queue */
    unsigned holders;
    int state; /* 0 asked, 1 answered, negative: EAI_… */
    struct addrinfo *addresses;
    char host[256], port[8];
};

/* Invariants: current is what the worker asks for now; wake_fd is -1 once the owner has gone;
 * holders counts the owner, the worker and each lookup. */
struct tape_resolver {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct tape_lookup *first, **last, *current;
    unsigned holders;
    int wake_fd;
    int has_worker, closed;
};

static const struct addrinfo stream_hints = {
    .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};

struct tape_resolver *tape_resolve_new(int wake_fd, struct tape_error *error)
{
    struct tape_resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver) {
        tape_error_errno(error, errno, "make a resolver");
        return NULL;
    }
    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->work, NULL);
    resolver->last = &resolver->first;
    resolver->holders = 1;
    resolver->wake_fd = wake_fd;
    return resolver;
}

/* Called with the lock held, which it gives back. */
static void release_resolver(struct tape_resolver *resolver)
{
    int gone = --resolver->holders == 0;
    pthread_mutex_unlock(&resolver->lock);
    if (!gone)
        return;
    pthread_cond_destroy(&resolver->work);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

/* Called with the lock held, which it gives back. */
static void release_lookup(struct tape_lookup *lookup)
{
    struct tape_resolver *resolver = lookup->resolver;
    if (--lookup->holders) {
        pthread_mutex_unlock(&resolver->lock);
        return;
    }
    release_resolver(resolver);
    if (lookup->addresses)
        freeaddrinfo(lookup->addresses);
    free(lookup);
}

void tape_resolve_free(struct tape_resolver *resolver)
{
    if (!resolver)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->closed = 1;
    resolver->wake_fd = -1;
    pthread_cond_signal(&resolver->work);
    release_resolver(resolver);
}

/* The next question, or NULL when there will be none. Lock held. */
static struct tape_lookup *take(struct tape_resolver *resolver)
{
    while (!resolver->first && !resolver->closed)
        pthread_cond_wait(&resolver->work, &resolver->lock);
    struct tape_lookup *lookup = resolver->first;
    if (!lookup)
        return NULL;
    resolver->first = lookup->next;
    if (!resolver->first)
        resolver->last = &resolver->first;
    resolver->current = lookup;
    return lookup;
}

/* "localhost" is this machine even where no file or server says so (RFC 6761, section 6.3). */
static int find_addresses(const char *host, const char *port, struct addrinfo **addresses)
{
    int failure = getaddrinfo(host, port, &stream_hints, addresses);
    if (failure && strcasecmp(host, "localhost") == 0)
        failure = getaddrinfo(NULL, port, &stream_hints, addresses);
    return failure;
}

static void *work(void *context)
{
    struct tape_resolver *resolver = context;
    struct tape_lookup *lookup;
    pthread_mutex_lock(&resolver->lock);
    while ((lookup = take(resolver))) {
        struct addrinfo *addresses = NULL;
        int wanted = lookup->holders > 1 && !resolver->closed, failure = EAI_AGAIN;
        pthread_mutex_unlock(&resolver->lock);
        if (wanted)
            failure = find_addresses(lookup->host, lookup->port, &addresses);
        pthread_mutex_lock(&resolver->lock);
        lookup->addresses = addresses;
        lookup->state = failure ? failure : 1;
        resolver->current = NULL;
        uint64_t one = 1;
        if (resolver->wake_fd >= 0 && write(resolver->wake_fd, &one, sizeof one) < 0)
            resolver->wake_fd = -1; /* an eventfd of ours takes 8 bytes, always */
        release_lookup(lookup);
        pthread_mutex_lock(&resolver->lock);
    }
    release_resolver(resolver);
    return NULL;
}

/* Detached: nothing can end a getaddrinfo() that waits, and nobody shall wait for it. Lock held. 0
 * or an errno. */
static int start_worker(struct tape_resolver *resolver)
{
    pthread_t thread;
    if (resolver->has_worker)
        return 0;
    resolver->holders++;
    if (tape_thread_start(&thread, "tape-resolve", work, resolver, NULL) < 0) {
        resolver->holders--;
        return EAGAIN;
    }
    pthread_detach(thread);
    resolver->has_worker = 1;
    return 0;
}

static struct tape_lookup *same_question(struct tape_resolver *resolver, const char *host,
                                         const char *port)
{
    struct tape_lookup *lookup = resolver->current;
    if (lookup && !strcmp(lookup->host, host) && !strcmp(lookup->port, port))
        return lookup;
    for (lookup = resolver->first; lookup; lookup = lookup->next)
        if (!strcmp(lookup->host, host) && !strcmp(lookup->port, port))
            return lookup;
    return NULL;
}

/* Lock held. */
static void enqueue(struct tape_resolver *resolver, struct tape_lookup *lookup)
{
    lookup->holders++;
    *resolver->last = lookup;
    resolver->last = &lookup->next;
    pthread_cond_signal(&resolver->work);
}

static struct tape_lookup *new_lookup(struct tape_resolver *resolver, const char *host,
                                      const char *port)
{
    struct tape_lookup *lookup = calloc(1, sizeof *lookup);
    struct addrinfo numeric = stream_hints;
    if (!lookup)
        return NULL;
    lookup->resolver = resolver;
    snprintf(lookup->host, sizeof lookup->host, "%s", host);
    snprintf(lookup->port, sizeof lookup->port, "%s", port);
    numeric.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(host, port, &numeric, &lookup->addresses) == 0) {
        lookup->state = 1;
    } else {
        int failure = start_worker(resolver);
        if (failure) {
            free(lookup);
            errno = failure;
            return NULL;
        }
        enqueue(resolver, lookup);
    }
    resolver->holders++;
    return lookup;
}

struct tape_lookup *tape_resolve_ask(struct tape_resolver *resolver, const char *host, int port)
{
    char digits[8];
    snprintf(digits, sizeof digits, "%d", port);
    pthread_mutex_lock(&resolver->lock);
    struct tape_lookup *lookup = same_question(resolver, host, digits);
    if (!lookup)
        lookup = new_lookup(resolver, host, digits);
    if (lookup)
        lookup->holders++;
    pthread_mutex_unlock(&resolver->lock);
    return lookup;
}

int tape_resolve_answer(struct tape_lookup *lookup, const struct addrinfo **addresses)
{
    pthread_mutex_lock(&lookup->resolver->lock);
    int state = lookup->state;
    *addresses = lookup->addresses;
    pthread_mutex_unlock(&lookup->resolver->lock);
    return state;
}

void tape_resolve_forget(struct tape_lookup *lookup)
{
    if (!lookup)
        return;
    pthread_mutex_lock(&lookup->resolver->lock);
    release_lookup(lookup);
}
