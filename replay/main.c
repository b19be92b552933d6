#include <stdio.h>

#include "replay/list.h"
#include "replay/options.h"
#include "replay/play.h"
#include "replay/verify.h"

#ifndef TAPE_VERSION
#define TAPE_VERSION "0"
#endif

/* Standard output is data: what could not be written must show in the exit code. */
static int close_output(int exit_code)
{
    if ((fflush(stdout) == EOF || ferror(stdout)) && exit_code == 0)
        return 1;
    return exit_code;
}

static int run(const struct tape_options *options, struct tape_error *error)
{
    switch (options->verb) {
    case TAPE_OPTIONS_LS:
        return tape_list_run(options, stdout, error);
    case TAPE_OPTIONS_PLAY:
        return tape_play_run(options, stderr, error);
    case TAPE_OPTIONS_VERIFY:
        return tape_verify_run(options, stdout, error);
    }
    return TAPE_USAGE;
}

int main(int argc, char **argv)
{
    struct tape_options options;
    struct tape_error error = {0};
    if (tape_options_parse(&options, argc, argv, &error) < 0) {
        fprintf(stderr, "tape-replay: %s\n", error.text);
        return tape_error_exit_code(error.status);
    }
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
        fprintf(stderr, "tape-replay: %s\n", error.text);
    return close_output(tape_error_exit_code(status));
}
