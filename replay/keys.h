/* Keys of the terminal while something plays. */
#ifndef TAPE_REPLAY_KEYS_H
#define TAPE_REPLAY_KEYS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* TAPE_KEYS(name, key, meaning): the words stand in the help that ? gives, and in the manual. */
#define TAPE_KEYS_TABLE(X)                                                                         \
    X(PAUSE, "space", "pause, go on")                                                              \
    X(STEP_FRAME, ".", "one message (pauses)")                                                     \
    X(STEP_TIME, ">", "all messages of the next time stamp (pauses)")                              \
    X(FASTER, "+", "twice as fast")                                                                \
    X(SLOWER, "-", "half as fast")                                                                 \
    X(SPEED_ONE, "1", "speed 1")                                                                   \
    X(SPEED_MAX, "0", "as fast as it goes")                                                        \
    X(BACK, "left", "10 s back")                                                                   \
    X(FORWARD, "right", "10 s on")                                                                 \
    X(LOOP_FROM, "[", "the loop begins here")                                                      \
    X(LOOP_TO, "]", "the loop ends here")                                                          \
    X(LOOP, "l", "loop on, off")                                                                   \
    X(QUIT, "q", "quit")                                                                           \
    X(HELP, "?", "these keys")

enum tape_keys_key {
    TAPE_KEYS_NONE,
#define TAPE_KEYS_ENUM(name, key, meaning) TAPE_KEYS_##name,
    TAPE_KEYS_TABLE(TAPE_KEYS_ENUM)
#undef TAPE_KEYS_ENUM
};

/* Invariant: of an escape sequence that is not whole, ${escaped} bytes were taken. Zero-initialise.
 */
struct tape_keys_decoder {
    int escaped;
};

/* tape_keys_decode(decoder, byte): the key that this byte completes, or NONE. */
int tape_keys_decode(struct tape_keys_decoder *decoder, unsigned char byte);

/*
 * tape_keys_open(): takes the terminal's keys one by one and unseen, when standard input and
 * standard error are terminals, we are the foreground and nobody else has done so; 1 when they are
 * taken. It gives the terminal back on stop (and takes it again on continue), and before a signal
 * ends the process. One at a time in a process.
 */
int tape_keys_open(void);
void tape_keys_close(void);

enum { TAPE_KEYS_PENDING_MAX = 32 }; /* more at once is no typing: they are passed over */

/* tape_keys_read(): the next key that was pressed, or NONE; never waits. Does not touch a terminal
 * that another program has set up for itself meanwhile, as a pager at the end of our pipe. */
int tape_keys_read(void);

/* tape_keys_take_passed_over(): how many were passed over since it was asked last. */
uint64_t tape_keys_take_passed_over(void);

/* tape_keys_restore(): gives the terminal back; async-signal-safe. */
void tape_keys_restore(void);

void tape_keys_print_help(FILE *to);

#ifdef __cplusplus
}
#endif
#endif
