#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "replay/list.h"
#include "replay/options.h"
#include "replay/play.h"
#include "replay/printable.h"
#include "replay/serve.h"
#include "replay/verify.h"

#ifndef TAPE_VERSION
#define TAPE_VERSION "0"
#endif

/* One line, whatever names were given to us. */
static int fail(const struct tape_error *error)
{
    char text[2 * TAPE_ERROR_TEXT_BYTES];
    tape_printable_text(text, sizeof text, error->text, strlen(error->text));
    fprintf(stderr, "tape-replay: %s\n", text);
    return tape_error_exit_code(error->status);
}

/* Standard output is data: what could not be written must show in the exit code. */
static int close_output(int exit_code)
{
    struct tape_error error = {0};
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || exit_code == 1)
        return exit_code;
    tape_error_errno(&error, errno ? errno : EIO, "standard output");
    fail(&error);
    return exit_code ? exit_code : 1;
}

/* A file must not get the number of a closed standard stream: what is meant for that would be
 * written into it. These give an error when used. */
static void fill_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static int run(const struct tape_options *options, struct tape_error *error)
{
    switch (options->verb) {
    case TAPE_OPTIONS_LS:
        return tape_list_run(options, stdout, error);
    case TAPE_OPTIONS_PLAY:
        return tape_play_run(options, stderr, error);
    case TAPE_OPTIONS_SERVE:
        return tape_serve_run(options, stderr, error);
    case TAPE_OPTIONS_VERIFY:
        return tape_verify_run(options, stdout, error);
    }
    return TAPE_USAGE;
}

int main(int argc, char **argv)
{
    struct tape_options options;
    struct tape_error error = {0};
    fill_standard_streams();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like another */
    if (tape_options_parse(&options, argc, argv, &error) < 0)
        return fail(&error);
    if (options.version) {
        puts("tape-replay " TAPE_VERSION);
        return close_output(0);
    }
    if (options.help) {
        tape_options_print_help(options.verb, stdout);
        return close_output(0);
    }
    int status = run(&options, &error);
    if (status < 0 && error.text[0])
        fail(&error);
    return close_output(tape_error_exit_code(status));
}
