/*
 * The input up to the first NUL byte is a profile; what follows it is a stream's name for the
 * profile and for the compiled-in ones, and an answer.
 */
#include "format/venue.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check(int condition)
{
    if (!condition)
        abort();
}

/* What is routed can be asked for, and only that is put between quotes. */
static void check_name(const struct tape_venue *venue, const char *name, size_t bytes)
{
    static char request[4096];
    struct tape_error error;
    int route = tape_venue_route(venue, name, &error);
    check(route == TAPE_USAGE || (route >= 0 && route < tape_venue_routes(venue)));
    check(route >= 0 || strlen(error.text) > 10);
    int written = tape_venue_subscribe(venue, request, sizeof request, &name, 1, 1);
    check(written <= (int)sizeof request);
    check(route < 0 || written == TAPE_LIMIT || memmem(request, (size_t)written, name, bytes));
    int sequence = tape_venue_sequence(venue, name, bytes);
    check(sequence >= TAPE_VENUE_SEQUENCE_NONE && sequence <= TAPE_VENUE_SEQUENCE_FIRST_FOLLOWS);
    check(tape_venue_silence_hint(venue, name) != NULL);
}

static void check_profile(const char *text, size_t bytes, const char *name, size_t name_bytes)
{
    struct tape_error error = {0, ""};
    struct tape_venue_limits limits;
    struct tape_venue *venue = tape_venue_parse(text, bytes, "p", &error);
    if (!venue) {
        check(error.status == TAPE_USAGE && strncmp(error.text, "p: ", 3) == 0);
        for (const char *at = error.text; *at; at++)
            check(*at >= ' ');
        return;
    }
    check(tape_venue_routes(venue) >= 1);
    for (int i = 0; i < tape_venue_routes(venue); i++) {
        check(strncmp(tape_venue_route_url(venue, i), "ws", 2) == 0);
        check(tape_venue_route_path(venue, i)[0] == '/');
        check(tape_venue_route_name(venue, i)[0] != 0);
    }
    tape_venue_read_limits(venue, &limits);
    check(limits.streams_per_request >= 1 && limits.connection_life_ns > 0);
    check_name(venue, name, name_bytes);
    tape_venue_free(venue);
}

static void check_answer(const char *payload, size_t bytes)
{
    struct tape_venue_answer answer;
    int kind = tape_venue_classify(payload, bytes, &answer);
    check(kind >= TAPE_VENUE_DATA && kind <= TAPE_VENUE_ERROR);
    check(strlen(answer.error_text) < sizeof answer.error_text);
    for (const char *at = answer.error_text; *at; at++)
        check(*at >= ' ' && *at < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tape_venue *built_in[3];
    char *text = malloc(size + 1), *name = text + size;
    memcpy(text, data, size);
    text[size] = 0;
    size_t profile = strlen(text);
    if (profile < size)
        name = text + profile + 1;
    size_t name_bytes = strlen(name);
    check_profile(text, profile, name, name_bytes);
    check_answer(text, size);
    for (int i = 0; i < 3; i++) {
        if (!built_in[i])
            built_in[i] = tape_venue_load(tape_venue_names(i), NULL);
        check_name(built_in[i], name, name_bytes);
    }
    free(text);
    return 0;
}
