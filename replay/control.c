#include "replay/control.h"

#include <string.h>

#include "format/distance.h"
#include "format/json.h"
#include "replay/object.h"
#include "replay/pace.h"

enum { CONTROL_DEPTH_MAX = 4 };

/* CONTROL_KEY(name, word): what a command may hold. */
#define CONTROL_KEY_TABLE(X) X(DO, "do") X(SPEED, "speed") X(FROM, "from") X(TO, "to")

enum control_key {
#define CONTROL_KEY_ENUM(name, word) KEY_##name,
    CONTROL_KEY_TABLE(CONTROL_KEY_ENUM)
#undef CONTROL_KEY_ENUM
        KEYS
};

static const char *const key_words[KEYS] = {
#define CONTROL_KEY_WORD(name, word) word,
    CONTROL_KEY_TABLE(CONTROL_KEY_WORD)
#undef CONTROL_KEY_WORD
};

static const char *const command_words[] = {
#define CONTROL_COMMAND_WORD(name, word, meaning) word,
    TAPE_TRANSPORT_COMMAND_TABLE(CONTROL_COMMAND_WORD)
#undef CONTROL_COMMAND_WORD
};
#define CONTROL_KEY_LISTED(name, word) " " word
static const char known_keys[] = CONTROL_KEY_TABLE(CONTROL_KEY_LISTED);
#undef CONTROL_KEY_LISTED
#define CONTROL_COMMAND_LISTED(name, word, meaning) " " word
static const char known_commands[] = TAPE_TRANSPORT_COMMAND_TABLE(CONTROL_COMMAND_LISTED);
#undef CONTROL_COMMAND_LISTED
enum { COMMANDS = sizeof command_words / sizeof *command_words };

/* Its number among the words, or -1 with *nearest the one that may be meant, or NULL. */
static int find_word(const char *word, const char *const *words, int count, const char **nearest)
{
    int least = 0;
    *nearest = NULL;
    for (int i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0)
            return i;
        int rank = tape_distance_rank(word, words[i]);
        if (rank >= 0 && (!*nearest || rank < least)) {
            least = rank;
            *nearest = words[i];
        }
    }
    return -1;
}

static int refuse_word(const char *what, const char *word, const char *nearest, const char *known,
                       struct tape_error *error)
{
    if (nearest)
        return tape_error_set(error, TAPE_USAGE, "unknown %s \"%.40s\" (did you mean \"%s\"?)",
                              what, word, nearest);
    return tape_error_set(error, TAPE_USAGE, "unknown %s \"%.40s\"; there are:%s", what, word,
                          known);
}

/* Each key once, and none that is unknown. */
static int collect(const cJSON *object, const cJSON *found[KEYS], struct tape_error *error)
{
    const cJSON *item;
    const char *nearest;
    for (int i = 0; i < KEYS; i++)
        found[i] = NULL;
    cJSON_ArrayForEach(item, object)
    {
        int key = find_word(item->string, key_words, KEYS, &nearest);
        if (key < 0)
            return refuse_word("key", item->string, nearest, known_keys, error);
        if (found[key])
            return tape_error_set(error, TAPE_USAGE, "\"%s\" is given twice", key_words[key]);
        found[key] = item;
    }
    return 0;
}

static int take_kind(const cJSON *item, int *kind, struct tape_error *error)
{
    const char *nearest;
    if (!item)
        return tape_error_set(error, TAPE_USAGE, "no \"do\": {\"do\":\"pause\"}");
    if (!cJSON_IsString(item))
        return tape_error_set(error, TAPE_USAGE, "\"do\" is not a string");
    *kind = find_word(item->valuestring, command_words, COMMANDS, &nearest);
    return *kind < 0 ? refuse_word("command", item->valuestring, nearest, known_commands, error)
                     : 0;
}

static int take_speed(const cJSON *item, double *speed, struct tape_error *error)
{
    char digits[64];
    const char *text = item->valuestring;
    if (cJSON_IsNumber(item)) {
        /* By the same rules as the text of it; no exponent comes out of this, and a number without
         * digits (an infinity) is refused as a word. */
        snprintf(digits, sizeof digits, "%.9f", item->valuedouble);
        text = digits;
    } else if (!cJSON_IsString(item)) {
        return tape_error_set(error, TAPE_USAGE, "\"speed\" is neither a number nor \"max\"");
    }
    return tape_pace_parse_speed(text, speed, error);
}

static int take_time(const cJSON *item, const char *key, int *has, struct tape_timespec *time,
                     struct tape_error *error)
{
    if (!item)
        return 0;
    *has = 1;
    if (!cJSON_IsString(item))
        return tape_error_set(error, TAPE_USAGE, "\"%s\" is not a string (nanoseconds too: \"%s\")",
                              key, "1795334400000000000");
    int status = tape_timespec_parse(item->valuestring, time, error);
    return status < 0 ? tape_error_wrap(error, "\"%s\"", key) : 0;
}

/* What goes with which command. */
static int check_keys(int kind, const cJSON *found[KEYS], struct tape_error *error)
{
    int may[KEYS] = {[KEY_DO] = 1}, must = KEY_DO;
    if (kind == TAPE_TRANSPORT_SPEED)
        may[must = KEY_SPEED] = 1;
    if (kind == TAPE_TRANSPORT_SEEK)
        may[must = KEY_TO] = 1;
    if (kind == TAPE_TRANSPORT_LOOP)
        may[must = KEY_FROM] = may[KEY_TO] = 1;
    for (int i = 0; i < KEYS; i++)
        if (found[i] && !may[i])
            return tape_error_set(error, TAPE_USAGE, "\"%s\" does not go with \"%s\"", key_words[i],
                                  command_words[kind]);
    if (!found[must])
        return tape_error_set(error, TAPE_USAGE, "\"%s\" needs \"%s\"", command_words[kind],
                              key_words[must]);
    return 0;
}

static int take_object(const cJSON *object, struct tape_control_request *request,
                       struct tape_error *error)
{
    const cJSON *found[KEYS];
    int status;
    if (!cJSON_IsObject(object))
        return tape_error_set(error, TAPE_USAGE, "a command is an object: {\"do\":\"pause\"}");
    if ((status = collect(object, found, error)) < 0 ||
        (status = take_kind(found[KEY_DO], &request->kind, error)) < 0 ||
        (status = check_keys(request->kind, found, error)) < 0)
        return status;
    if (found[KEY_SPEED])
        status = take_speed(found[KEY_SPEED], &request->speed, error);
    if (status == 0)
        status = take_time(found[KEY_FROM], "from", &request->has_from, &request->from, error);
    if (status == 0)
        status = take_time(found[KEY_TO], "to", &request->has_to, &request->to, error);
    return status;
}

int tape_control_parse(const char *text, size_t bytes, struct tape_control_request *request,
                       struct tape_error *error)
{
    struct tape_error local;
    *request = (struct tape_control_request){0};
    if (!error)
        error = &local;
    if (bytes > TAPE_CONTROL_MAX_BYTES)
        return tape_error_set(error, TAPE_USAGE, "a command is at most %d bytes",
                              TAPE_CONTROL_MAX_BYTES);
    cJSON *object = tape_json_parse(text, bytes, TAPE_CONTROL_MAX_BYTES, CONTROL_DEPTH_MAX);
    /* A string would end at an escaped NUL, and be taken for another. */
    if (!object || memmem(text, bytes, "\\u0000", 6)) {
        cJSON_Delete(object);
        return tape_error_set(error, TAPE_USAGE, "this is no JSON: {\"do\":\"pause\"}");
    }
    int status = take_object(object, request, error);
    cJSON_Delete(object);
    return status;
}

int tape_control_is_relative(const struct tape_control_request *request)
{
    return (request->has_from && request->from.base != TAPE_TIMESPEC_EPOCH) ||
           (request->has_to && request->to.base != TAPE_TIMESPEC_EPOCH);
}

void tape_control_resolve(const struct tape_control_request *request, int64_t first_ns,
                          int64_t last_ns, struct tape_transport_command *command)
{
    int64_t from_ns =
        request->has_from ? tape_timespec_resolve(&request->from, first_ns, last_ns) : 0;
    int64_t to_ns = request->has_to ? tape_timespec_resolve(&request->to, first_ns, last_ns) : 0;
    *command = (struct tape_transport_command){.kind = request->kind, .speed = request->speed};
    if (request->kind == TAPE_TRANSPORT_SEEK)
        command->ns = to_ns;
    if (request->kind == TAPE_TRANSPORT_LOOP) {
        command->ns = from_ns;
        command->end_ns = to_ns;
    }
}

int tape_control_carry_out(struct tape_transport *transport,
                           const struct tape_control_request *request, int64_t now_ns,
                           struct tape_error *error)
{
    struct tape_transport_command command;
    int64_t first_ns = 0, last_ns = 0;
    int status = 0;
    if (tape_control_is_relative(request))
        status = tape_transport_span(transport, &first_ns, &last_ns, error);
    if (status < 0)
        return status;
    tape_control_resolve(request, first_ns, last_ns, &command);
    return tape_transport_command(transport, &command, now_ns, error);
}

int tape_control_run(struct tape_transport *transport, const char *text, size_t bytes,
                     int64_t now_ns, struct tape_error *error)
{
    struct tape_control_request request;
    int status = tape_control_parse(text, bytes, &request, error);
    return status < 0 ? status : tape_control_carry_out(transport, &request, now_ns, error);
}

/* --- the state --- */

static void put_known_time(cJSON *object, const char *key, int64_t ns, int64_t unknown_ns)
{
    if (ns != unknown_ns)
        tape_object_put_time(object, key, ns);
}

static void put_loop(cJSON *object, const struct tape_transport_state *state)
{
    if (!state->looping)
        return;
    cJSON *loop = cJSON_AddObjectToObject(object, "loop");
    put_known_time(loop, "from", state->loop_from_ns, 0);
    put_known_time(loop, "to", state->loop_to_ns, 0);
}

static void put_counts(cJSON *object, const struct tape_transport_state *state)
{
    tape_object_put_count(object, "messages", state->messages);
    tape_object_put_count(object, "state_messages", state->state_messages);
    tape_object_put_count(object, "dropped_late", state->dropped_late);
    tape_object_put_count(object, "seeks", state->seeks);
    tape_object_put_count(object, "loops", state->loops);
    tape_object_put_count(object, "backlog", state->backlog);
    tape_object_put_count(object, "backlog_max", state->backlog_max);
    tape_object_put_wide(object, "stretched_ns", state->stretched_ns);
    tape_object_put_count(object, "clock_steps", state->clock_steps);
}

cJSON *tape_control_state(const char *session, struct tape_transport *transport, int64_t now_ns)
{
    struct tape_transport_state state;
    cJSON *object = cJSON_CreateObject();
    tape_transport_read_state(transport, now_ns, &state);
    tape_object_put_string(object, "session", session);
    cJSON_AddStringToObject(object, "phase", tape_transport_phase_word(state.phase));
    if (state.speed > 0)
        cJSON_AddNumberToObject(object, "speed", state.speed);
    else
        cJSON_AddStringToObject(object, "speed", "max");
    put_known_time(object, "position", state.position_ns, INT64_MIN);
    put_known_time(object, "replay", state.replay_ns, INT64_MIN);
    if (state.replay_ns != INT64_MIN)
        tape_object_put_ordinal(object, "ordinal", state.ordinal);
    put_known_time(object, "from", state.from_ns, 0);
    put_known_time(object, "to", state.to_ns, 0);
    put_loop(object, &state);
    put_counts(object, &state);
    tape_object_put_lateness(object, &state.lateness);
    return object;
}

cJSON *tape_control_error(const struct tape_error *error)
{
    cJSON *object = cJSON_CreateObject();
    tape_object_put_string(object, "error", error->text);
    return object;
}
