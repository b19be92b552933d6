/* Threads that leave all signals to the main thread. */
#ifndef TAPE_RECORD_THREAD_H
#define TAPE_RECORD_THREAD_H

#include <pthread.h>

#include "format/error.h"

/* tape_thread_start(thread, name, run, context, error): name (at most 15 characters) is what top
 * and gdb show. 0 or TAPE_FAILED. */
int tape_thread_start(pthread_t *thread, const char *name, void *(*run)(void *context),
                      void *context, struct tape_error *error);

/* tape_thread_stand_back(): the calling thread's work can wait: where a processor is shared,
 * capture comes first. */
void tape_thread_stand_back(void);

/* tape_thread_come_first(): the calling thread does little at a time, and that at once: where a
 * processor is shared, it does not wait for another's time slice to end. Needs no privilege. */
void tape_thread_come_first(void);

#endif
