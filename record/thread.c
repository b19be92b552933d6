#include "record/thread.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICE = 10 };

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
