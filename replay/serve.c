#include "replay/serve.h"

int tape_serve_run(const struct tape_options *options, FILE *notices, struct tape_error *error)
{
    (void)options, (void)notices;
    return tape_error_set(error, TAPE_FAILED, "serve is not there yet");
}
