#include "record/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICE = 10, SLICE_NS = 100000 };

/* As in linux/sched/types.h, which does not go together with sched.h everywhere. */
struct attributes {
    uint32_t bytes, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

int tape_thread_start(pthread_t *thread, const char *name, void *(*run)(void *context),
                      void *context, struct tape_error *error)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread has its maker's mask */
    int failure = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0)
        return tape_error_errno(error, failure, "cannot start the thread %s", name);
    pthread_setname_np(*thread, name);
    return 0;
}

void tape_thread_stand_back(void)
{
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
}

/* A thread with a short slice of its own displaces one with a longer slice as soon as it wakes up
 * (EEVDF, Linux 6.12); else it may wait for a tick, 4 ms where there are 250 a second, even for one
 * that stands back. Older kernels take no notice of the slice. */
void tape_thread_come_first(void)
{
    struct attributes attributes = {.bytes = sizeof attributes, .policy = SCHED_OTHER};
    if (sched_getscheduler(0) != SCHED_OTHER)
        return; /* somebody knows better */
    attributes.nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    attributes.runtime_ns = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}
