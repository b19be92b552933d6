#include "replay/source.h"

#include <stdlib.h>

#include "replay/reel.h"

/* Invariant: reel is open. */
struct tape_source {
    struct tape_reel *reel;
    int64_t now_ns;
};

struct tape_source *tape_source_open_all(const char *const *paths, int count,
                                         const struct tape_source_options *options,
                                         struct tape_error *error)
{
    if (count != 1) {
        tape_error_set(error, TAPE_USAGE, "one archive at a time");
        return NULL;
    }
    struct tape_source *source = calloc(1, sizeof *source);
    if (!source) {
        tape_error_set(error, TAPE_FAILED, "out of memory");
        return NULL;
    }
    source->now_ns = INT64_MIN;
    source->reel = tape_reel_open(paths[0], options, error);
    if (source->reel)
        return source;
    free(source);
    return NULL;
}

struct tape_source *tape_source_open(const char *path, const struct tape_source_options *options,
                                     struct tape_error *error)
{
    return tape_source_open_all(&path, 1, options, error);
}

void tape_source_close(struct tape_source *source)
{
    if (!source)
        return;
    tape_reel_close(source->reel);
    free(source);
}

static int give(struct tape_source *source, struct tape_message *message, int got)
{
    if (got != 1)
        return got;
    if (message->recv_ns > source->now_ns)
        source->now_ns = message->recv_ns;
    message->replay_ns = source->now_ns;
    return 1;
}

int tape_source_next(struct tape_source *source, struct tape_message *message,
                     struct tape_error *error)
{
    return give(source, message, tape_reel_next(source->reel, message, error));
}

int tape_source_try(struct tape_source *source, struct tape_message *message,
                    struct tape_error *error)
{
    return give(source, message, tape_reel_try(source->reel, message, error));
}

int tape_source_seek(struct tape_source *source, int64_t ns, struct tape_error *error)
{
    source->now_ns = INT64_MIN;
    return tape_reel_seek(source->reel, ns, error);
}

int64_t tape_source_now(const struct tape_source *source)
{
    return source->now_ns;
}

int tape_source_tick(const struct tape_message *message, struct tape_tick *tick)
{
    return tape_tick_decode(message->payload.data, message->payload.bytes, tick);
}

int tape_source_damages(const struct tape_source *source)
{
    return tape_reel_damages(source->reel);
}

int tape_source_damage(const struct tape_source *source, int index,
                       struct tape_source_damage *damage)
{
    return tape_reel_damage(source->reel, index, damage);
}

void tape_source_read_state(const struct tape_source *source, struct tape_source_state *state)
{
    tape_reel_read_state(source->reel, state);
}

int tape_source_share(const struct tape_source *source, int index, struct tape_source_share *share)
{
    (void)source, (void)index, (void)share;
    return 0;
}

void tape_source_stop(struct tape_source *source)
{
    tape_reel_stop(source->reel);
}
