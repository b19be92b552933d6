#include "replay/keys.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum {
    ESCAPE = 0x1b,
    READ_MAX_BYTES = 4096, /* at one look: what a terminal holds */
};

/* What ends the process, or may, without passing tape_keys_close(). The player takes SIGINT and
 * SIGTERM for itself a little later, and calls tape_keys_restore(). */
static const int deadly[] = {SIGINT,  SIGTERM, SIGHUP, SIGQUIT, SIGABRT,
                             SIGSEGV, SIGBUS,  SIGFPE, SIGILL,  SIGALRM};
enum { DEADLY = sizeof deadly / sizeof *deadly };

/* Invariants: cooked is what the terminal was, raw what we made of it; both are valid while open.
 * is_raw: the terminal is as we want it, as far as we know. A process has one terminal, and signal
 * handlers must reach this. pending: keys that were read, the first one is next. */
static struct keys {
    struct termios cooked, raw;
    struct sigaction before[DEADLY], stop_before, continue_before;
    struct tape_keys_decoder decoder;
    int pending[TAPE_KEYS_PENDING_MAX], pending_count;
    uint64_t passed_over;
    volatile sig_atomic_t is_open, is_raw;
} keys;

int tape_keys_decode(struct tape_keys_decoder *decoder, unsigned char byte)
{
    static const struct {
        unsigned char byte;
        int key;
    } plain[] = {
        {' ', TAPE_KEYS_PAUSE},     {'.', TAPE_KEYS_STEP_FRAME}, {'>', TAPE_KEYS_STEP_TIME},
        {'+', TAPE_KEYS_FASTER},    {'=', TAPE_KEYS_FASTER},     {'-', TAPE_KEYS_SLOWER},
        {'1', TAPE_KEYS_SPEED_ONE}, {'0', TAPE_KEYS_SPEED_MAX},  {'[', TAPE_KEYS_LOOP_FROM},
        {']', TAPE_KEYS_LOOP_TO},   {'l', TAPE_KEYS_LOOP},       {'q', TAPE_KEYS_QUIT},
        {'?', TAPE_KEYS_HELP},      {'h', TAPE_KEYS_HELP},
    };
    if (byte == ESCAPE) {
        decoder->escaped = 1;
        return TAPE_KEYS_NONE;
    }
    if (decoder->escaped == 1) {
        decoder->escaped = byte == '[' || byte == 'O' ? 2 : 0;
        return TAPE_KEYS_NONE;
    }
    if (decoder->escaped == 2) {
        if (byte >= 0x40 && byte < 0x7f) /* the last byte of a sequence */
            decoder->escaped = 0;
        return byte == 'C' ? TAPE_KEYS_FORWARD : byte == 'D' ? TAPE_KEYS_BACK : TAPE_KEYS_NONE;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].byte == byte)
            return plain[i].key;
    return TAPE_KEYS_NONE;
}

static int is_foreground(void)
{
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void make_raw(void)
{
    if (is_foreground() && tcsetattr(STDIN_FILENO, TCSADRAIN, &keys.raw) == 0)
        keys.is_raw = 1;
}

void tape_keys_restore(void)
{
    int kept = errno;
    /* From the background it would stop us. */
    if (keys.is_raw && is_foreground())
        tcsetattr(STDIN_FILENO, TCSADRAIN, &keys.cooked);
    keys.is_raw = 0;
    errno = kept;
}

/* By default again, with the terminal given back. */
static void die_of(int number)
{
    tape_keys_restore();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_stop(int number);

static void take_stops(void)
{
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    sigemptyset(&stop.sa_mask);
    sigaction(SIGTSTP, &stop, NULL);
}

/* Stopped the way any process is, with the terminal as the shell expects it; goes on here. */
static void on_stop(int number)
{
    int kept = errno;
    sigset_t this_one;
    tape_keys_restore();
    signal(number, SIG_DFL);
    sigemptyset(&this_one);
    sigaddset(&this_one, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &this_one, NULL);
    take_stops();
    make_raw();
    errno = kept;
}

/* Brought to the front without having been stopped. */
static void on_continue(int number)
{
    int kept = errno;
    (void)number;
    make_raw();
    errno = kept;
}

static void take_signals(void)
{
    struct sigaction die = {.sa_handler = die_of}, go_on = {.sa_handler = on_continue};
    go_on.sa_flags = SA_RESTART;
    sigemptyset(&die.sa_mask);
    sigemptyset(&go_on.sa_mask);
    for (int i = 0; i < DEADLY; i++) {
        sigaction(deadly[i], NULL, &keys.before[i]);
        if (keys.before[i].sa_handler == SIG_DFL)
            sigaction(deadly[i], &die, NULL);
    }
    sigaction(SIGCONT, &go_on, &keys.continue_before);
    sigaction(SIGTSTP, NULL, &keys.stop_before);
    if (keys.stop_before.sa_handler == SIG_DFL)
        take_stops();
}

int tape_keys_open(void)
{
    if (keys.is_open || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) || !is_foreground() ||
        tcgetattr(STDIN_FILENO, &keys.cooked) < 0 || (keys.cooked.c_lflag & (tcflag_t)ICANON) == 0)
        return 0;
    keys.raw = keys.cooked;
    keys.raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.raw.c_cc[VMIN] = keys.raw.c_cc[VTIME] = 0;
    keys.decoder = (struct tape_keys_decoder){0};
    keys.pending_count = 0;
    keys.passed_over = 0;
    take_signals();
    keys.is_open = 1;
    make_raw();
    return 1;
}

void tape_keys_close(void)
{
    if (!keys.is_open)
        return;
    tape_keys_restore();
    keys.is_open = 0;
    for (int i = 0; i < DEADLY; i++)
        sigaction(deadly[i], &keys.before[i], NULL);
    sigaction(SIGTSTP, &keys.stop_before, NULL);
    sigaction(SIGCONT, &keys.continue_before, NULL);
}

/* Another program on this terminal has its own settings: its keys are not ours, and the settings it
 * will put back are its business. */
static int is_still_ours(void)
{
    struct termios now;
    if (!keys.is_raw || !is_foreground() || tcgetattr(STDIN_FILENO, &now) < 0)
        return 0;
    if (now.c_lflag == keys.raw.c_lflag && now.c_cc[VMIN] == 0)
        return 1;
    keys.is_raw = 0;
    return 0;
}

static void take(int key)
{
    if (keys.pending_count < TAPE_KEYS_PENDING_MAX)
        keys.pending[keys.pending_count++] = key;
    else
        keys.passed_over++;
}

/* What was typed behind the end of us is the shell's, and stays where it is. */
static int quits(void)
{
    return keys.pending_count > 0 && keys.pending[keys.pending_count - 1] == TAPE_KEYS_QUIT;
}

int tape_keys_read(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    unsigned char byte;
    if (!keys.is_open)
        return TAPE_KEYS_NONE;
    if (!quits() && poll(&input, 1, 0) == 1 && is_still_ours())
        for (int i = 0; i < READ_MAX_BYTES && !quits() && read(STDIN_FILENO, &byte, 1) == 1; i++) {
            int key = tape_keys_decode(&keys.decoder, byte);
            if (key != TAPE_KEYS_NONE)
                take(key);
        }
    if (keys.pending_count == 0)
        return TAPE_KEYS_NONE;
    int next = keys.pending[0];
    memmove(keys.pending, keys.pending + 1, (size_t)--keys.pending_count * sizeof *keys.pending);
    return next;
}

uint64_t tape_keys_take_passed_over(void)
{
    uint64_t passed_over = keys.passed_over;
    keys.passed_over = 0;
    return passed_over;
}

void tape_keys_print_help(FILE *to)
{
#define KEYS_LINE(name, key, meaning) fprintf(to, "  %-6s %s\n", key, meaning);
    TAPE_KEYS_TABLE(KEYS_LINE)
#undef KEYS_LINE
}
