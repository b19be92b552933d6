/* What the keys do to what plays. */
#include <inttypes.h>
#include <string.h>

#include "replay/keys.h"
#include "replay/play_internal.h"
#include "replay/printable.h"
#include "replay/timespec.h"

#define PLAY_KEYS_STRIDE_NS 10000000000ll
#define PLAY_KEYS_SPEED_MIN 0.001
#define PLAY_KEYS_SPEED_MAX 1000000.0

static int command(struct tape_play *play, const struct tape_transport_command *command,
                   int64_t now_ns)
{
    struct tape_error error = {0};
    char text[1200];
    int status = tape_transport_command(play->transport, command, now_ns, &error);
    play->commands++;
    if (status < 0)
        fprintf(tape_play_notices(play), "tape-replay: %s\n",
                tape_printable_text(text, sizeof text, error.text, strlen(error.text)));
    return status;
}

static int command_kind(struct tape_play *play, int kind, int64_t now_ns)
{
    return command(play, &(struct tape_transport_command){.kind = kind}, now_ns);
}

static void set_speed(struct tape_play *play, double speed, int64_t now_ns)
{
    if (speed != 0 && speed < PLAY_KEYS_SPEED_MIN)
        speed = PLAY_KEYS_SPEED_MIN;
    if (speed > PLAY_KEYS_SPEED_MAX)
        speed = PLAY_KEYS_SPEED_MAX;
    command(play, &(struct tape_transport_command){.kind = TAPE_TRANSPORT_SPEED, .speed = speed},
            now_ns);
}

/* From where it stands, but not out of the archive. */
static void seek_by(struct tape_play *play, int64_t position_ns, int64_t by_ns, int64_t now_ns)
{
    struct tape_transport_command seek = {.kind = TAPE_TRANSPORT_SEEK};
    int64_t first_ns, last_ns;
    if (position_ns == INT64_MIN ||
        tape_transport_span(play->transport, &first_ns, &last_ns, NULL) < 0)
        return;
    if (__builtin_add_overflow(position_ns, by_ns, &seek.ns))
        seek.ns = by_ns < 0 ? INT64_MIN : INT64_MAX;
    if (seek.ns < first_ns)
        seek.ns = first_ns;
    if (seek.ns > last_ns)
        seek.ns = last_ns;
    command(play, &seek, now_ns);
}

static void step(struct tape_play *play, int phase, int kind, int64_t now_ns)
{
    if (phase == TAPE_TRANSPORT_PHASE_PLAYING &&
        command_kind(play, TAPE_TRANSPORT_PAUSE, now_ns) < 0)
        return;
    command_kind(play, kind, now_ns);
}

static void mark(struct tape_play *play, int64_t *mark_ns, const char *words, int64_t position_ns)
{
    char text[TAPE_TIMESPEC_TEXT_BYTES];
    if (position_ns == INT64_MIN)
        return;
    *mark_ns = position_ns;
    tape_timespec_format(text, position_ns);
    fprintf(tape_play_notices(play), "tape-replay: the loop %s at %s\n", words, text);
}

static void toggle_loop(struct tape_play *play, int looping, int64_t now_ns)
{
    struct tape_transport_command loop = {
        .kind = TAPE_TRANSPORT_LOOP,
        .ns = play->mark_from_ns,
        .end_ns = play->mark_to_ns,
    };
    int64_t last_ns;
    if (looping) {
        command_kind(play, TAPE_TRANSPORT_UNLOOP, now_ns);
        return;
    }
    if (loop.ns == 0 && tape_transport_span(play->transport, &loop.ns, &last_ns, NULL) < 0)
        return;
    command(play, &loop, now_ns);
}

static void obey(struct tape_play *play, int key, int64_t now_ns)
{
    struct tape_transport_state state;
    tape_transport_read_state(play->transport, now_ns, &state);
    switch (key) {
    case TAPE_KEYS_PAUSE:
        command_kind(play,
                     state.phase == TAPE_TRANSPORT_PHASE_PAUSED ? TAPE_TRANSPORT_RESUME
                                                                : TAPE_TRANSPORT_PAUSE,
                     now_ns);
        break;
    case TAPE_KEYS_STEP_FRAME:
        step(play, state.phase, TAPE_TRANSPORT_STEP_FRAME, now_ns);
        break;
    case TAPE_KEYS_STEP_TIME:
        step(play, state.phase, TAPE_TRANSPORT_STEP_TIME, now_ns);
        break;
    case TAPE_KEYS_FASTER:
        set_speed(play, state.speed * 2, now_ns);
        break;
    case TAPE_KEYS_SLOWER:
        set_speed(play, state.speed / 2, now_ns);
        break;
    case TAPE_KEYS_SPEED_ONE:
        set_speed(play, 1, now_ns);
        break;
    case TAPE_KEYS_SPEED_MAX:
        set_speed(play, 0, now_ns);
        break;
    case TAPE_KEYS_BACK:
        seek_by(play, state.position_ns, -PLAY_KEYS_STRIDE_NS, now_ns);
        break;
    case TAPE_KEYS_FORWARD:
        seek_by(play, state.position_ns, PLAY_KEYS_STRIDE_NS, now_ns);
        break;
    case TAPE_KEYS_LOOP_FROM:
        mark(play, &play->mark_from_ns, "begins", state.position_ns);
        break;
    case TAPE_KEYS_LOOP_TO:
        mark(play, &play->mark_to_ns, "ends", state.position_ns);
        break;
    case TAPE_KEYS_LOOP:
        toggle_loop(play, state.looping, now_ns);
        break;
    case TAPE_KEYS_QUIT:
        play->quit = 1;
        break;
    case TAPE_KEYS_HELP:
        tape_keys_print_help(tape_play_notices(play));
        break;
    }
}

/* One at a time: what it asks for happens before the next is looked at. */
void tape_play_heed_keys(struct tape_play *play, int64_t now_ns)
{
    int key = tape_keys_read();
    uint64_t passed_over = key == TAPE_KEYS_NONE ? tape_keys_take_passed_over() : 0;
    if (key != TAPE_KEYS_NONE)
        obey(play, key, now_ns);
    if (passed_over > 0)
        fprintf(tape_play_notices(play),
                "tape-replay: %" PRIu64 " keys are passed over: they came faster than they work\n",
                passed_over);
}
