#include "record/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "format/distance.h"
#include "format/ring.h"
#include "format/segment.h"
#include "record/pack.h"

enum form { TEXT, FLAG, DURATION, SIZE, COUNT, SYNC, LEVEL, LOG };

struct option {
    const char *name, *argument, *words;
    enum form form;
    size_t offset;
};

static const struct option table[] = {
#define OPTION(field, name, argument, form, words)                                                 \
    {name, argument, words, form, offsetof(struct tape_options, field)},
    TAPE_OPTIONS_TABLE(OPTION)
#undef OPTION
};
enum { TABLE_LENGTH = sizeof table / sizeof table[0] };

struct unit {
    const char *name;
    uint64_t factor;
};

/* Longer names first where one begins with the other. */
static const struct unit duration_units[] = {
    {"ns", 1},           {"us", 1000},          {"ms", 1000000},        {"s", 1000000000},
    {"m", 60000000000u}, {"h", 3600000000000u}, {"d", 86400000000000u}, {NULL, 0}};
static const struct unit size_units[] = {
    {"KiB", 1u << 10},  {"MiB", 1u << 20},   {"GiB", 1u << 30},     {"kB", 1000}, {"MB", 1000000},
    {"GB", 1000000000}, {"TiB", 1ull << 40}, {"TB", 1000000000000}, {"B", 1},     {NULL, 0}};

static const char *read_digits(const char *text, uint64_t *value)
{
    const char *at = text;
    uint64_t sum = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (sum > (INT64_MAX - digit) / 10)
            return NULL;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return at == text ? NULL : at;
}

/* Adds one "<digits><unit>" to sum; where it ends, or NULL. */
static const char *read_amount(const char *text, const struct unit *units, uint64_t *sum)
{
    uint64_t value, amount;
    const char *at = read_digits(text, &value);
    if (at == NULL)
        return NULL;
    for (; units->name != NULL; units++) {
        size_t length = strlen(units->name);
        /* "m" must not take the first letter of "ms" */
        char next = strncmp(at, units->name, length) == 0 ? at[length] : 'x';
        if (next != '\0' && (next < '0' || next > '9'))
            continue;
        if (__builtin_mul_overflow(value, units->factor, &amount) ||
            __builtin_add_overflow(*sum, amount, sum) || *sum > INT64_MAX)
            return NULL;
        return at + length;
    }
    return NULL;
}

static int parse_duration(const char *text, int64_t *ns)
{
    uint64_t sum = 0;
    do {
        text = read_amount(text, duration_units, &sum);
    } while (text != NULL && *text != '\0');
    *ns = (int64_t)sum;
    return text != NULL;
}

static int parse_size(const char *text, uint64_t *bytes)
{
    *bytes = 0;
    const char *end = read_digits(text, bytes);
    if (end != NULL && *end == '\0')
        return 1;
    *bytes = 0;
    end = read_amount(text, size_units, bytes);
    return end != NULL && *end == '\0';
}

static int unknown_option(const char *name, struct tape_error *error)
{
    const struct option *closest = NULL;
    int least = 0;
    for (int i = 0; i < TABLE_LENGTH; i++) {
        int rank = tape_distance_rank(name, table[i].name);
        if (rank >= 0 && (!closest || rank < least)) {
            least = rank;
            closest = &table[i];
        }
    }
    if (closest == NULL)
        return tape_error_set(error, TAPE_USAGE, "unknown option --%s (tape-record --help)", name);
    return tape_error_set(error, TAPE_USAGE, "unknown option --%s (did you mean --%s?)", name,
                          closest->name);
}

static int parse_sync(const char *value, int64_t *sync)
{
    if (strcmp(value, "block") == 0)
        *sync = TAPE_OPTIONS_SYNC_BLOCK;
    else if (strcmp(value, "none") == 0)
        *sync = TAPE_OPTIONS_SYNC_NONE;
    else
        return parse_duration(value, sync) && *sync >= 1000000 && *sync <= 60000000000;
    return 1;
}

static int parse_log(const char *value, tape_options_LOG *form)
{
    static const char *const words[] = {"auto", "text", "logfmt"};
    for (int i = 0; i < 3; i++)
        if (strcmp(value, words[i]) == 0) {
            *form = (tape_options_LOG)i;
            return 1;
        }
    return 0;
}

static int wrong_value(const struct option *option, const char *value, const char *wanted,
                       struct tape_error *error)
{
    return tape_error_set(error, TAPE_USAGE, "--%s=%.100s: %s", option->name, value, wanted);
}

static int set_value(struct tape_options *options, const struct option *option, const char *value,
                     struct tape_error *error)
{
    void *field = (char *)options + option->offset;
    switch (option->form) {
    case TEXT:
        if (*value == '\0')
            return wrong_value(option, value, "must not be empty", error);
        *(const char **)field = value;
        return 0;
    case FLAG:
        *(int *)field = 1;
        return 0;
    case DURATION:
        if (!parse_duration(value, field) || *(int64_t *)field == 0)
            return wrong_value(option, value, "no duration such as 90s, 100ms or 1h30m", error);
        return 0;
    case SIZE:
        if (!parse_size(value, field) || *(uint64_t *)field == 0)
            return wrong_value(option, value, "no size such as 65536, 16MiB or 1GiB", error);
        return 0;
    case COUNT: {
        const char *end = read_digits(value, field);
        if (end == NULL || *end != '\0' || *(uint64_t *)field == 0)
            return wrong_value(option, value, "no whole number above 0", error);
        return 0;
    }
    case SYNC:
        if (!parse_sync(value, field))
            return wrong_value(option, value, "no duration in [1ms, 60s], block or none", error);
        return 0;
    case LEVEL:
        *(int *)field = tape_pack_level(value);
        if (*(int *)field < 0)
            return wrong_value(option, value, "not warm or cold", error);
        return 0;
    case LOG:
        if (!parse_log(value, field))
            return wrong_value(option, value, "not auto, text or logfmt", error);
        return 0;
    }
    return 0;
}

/* One option at argv[*at]; moves *at on when the value is the next word. */
static int parse_option(struct tape_options *options, char **argv, int argc, int *at,
                        unsigned char *seen, struct tape_error *error)
{
    char name[40];
    const char *word = argv[*at] + 2;
    const char *value = strchr(word, '=');
    size_t length = value ? (size_t)(value - word) : strlen(word);
    snprintf(name, sizeof name, "%.*s", (int)(length < 39 ? length : 39), word);
    int i = 0;
    while (i < TABLE_LENGTH && strcmp(table[i].name, name) != 0)
        i++;
    if (i == TABLE_LENGTH)
        return unknown_option(name, error);
    if (seen[i]++)
        return tape_error_set(error, TAPE_USAGE, "--%s is given twice", name);
    if (table[i].form == FLAG) {
        if (value != NULL)
            return tape_error_set(error, TAPE_USAGE, "--%s takes no value", name);
        return set_value(options, &table[i], "", error);
    }
    if (value != NULL)
        return set_value(options, &table[i], value + 1, error);
    if (*at + 1 >= argc)
        return tape_error_set(error, TAPE_USAGE, "--%s needs a value: --%s=%s", name, name,
                              table[i].argument);
    return set_value(options, &table[i], argv[++*at], error);
}

/* What the table's forms cannot say. */
static int check_ranges(const struct tape_options *options, struct tape_error *error)
{
    if (options->ring_bytes != 0 && (options->ring_bytes < TAPE_RING_MIN_BYTES ||
                                     options->ring_bytes > (uint64_t)TAPE_RING_MAX_BYTES))
        return tape_error_set(error, TAPE_USAGE, "--ring: must be in [1MiB, 4GiB]");
    if (options->message_limit_bytes > TAPE_RECORD_MAX_BYTES - 4096)
        return tape_error_set(error, TAPE_USAGE, "--message-limit: must be in [1B, 16MiB]");
    if (options->segment_bytes != 0 &&
        (options->segment_bytes < TAPE_BLOCK_SEAL_BYTES || options->segment_bytes > 64ull << 30))
        return tape_error_set(error, TAPE_USAGE, "--segment: must be in [256KiB, 64GiB]");
    if (options->segment_ns != 0 && options->segment_ns < 1000000000)
        return tape_error_set(error, TAPE_USAGE, "--segment-age: must be at least 1s");
    if (options->connections > 1000)
        return tape_error_set(error, TAPE_USAGE, "--connections: must be in [1, 1000]");
    return 0;
}

/* What is to be done other than capture, by the option's name, or NULL. *other: one more, or NULL.
 */
static const char *mode_of(const struct tape_options *options, const char **other)
{
    const struct {
        int is_set;
        const char *name;
    } modes[] = {
        {options->import_file != NULL, "import"},
        {options->repair, "repair"},
        {options->pack, "pack"},
        {options->prune, "prune"},
    };
    const char *mode = *other = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (modes[i].is_set && mode == NULL)
            mode = modes[i].name;
        else if (modes[i].is_set)
            *other = modes[i].name;
    }
    return mode;
}

/* Options that would have no effect are not passed over: who gives one means something by it. */
static int check_effect(const char *mode, const unsigned char *seen, struct tape_error *error)
{
    static const char only_capture[] =
        " url ca for frames busy-poll message-limit deadline handshake-timeout connections ";
    static const char only_store[] = " venue profile sync ring segment segment-age no-pack ";
    int is_store = mode == NULL || strcmp(mode, "import") == 0;
    for (int i = 0; i < TABLE_LENGTH; i++) {
        char word[40];
        snprintf(word, sizeof word, " %s ", table[i].name);
        if (!seen[i])
            continue;
        if ((mode != NULL && strstr(only_capture, word)) || (!is_store && strstr(only_store, word)))
            return tape_error_set(error, TAPE_USAGE, "--%s has no meaning with --%s", table[i].name,
                                  mode);
        if (strcmp(table[i].name, "level") == 0 && (mode == NULL || strcmp(mode, "pack") != 0))
            return tape_error_set(error, TAPE_USAGE, "--level has no meaning without --pack");
    }
    return 0;
}

/* Limits say what may go: with a capture while it runs, and with --prune at once. */
static int check_limits(const struct tape_options *options, const char *mode,
                        struct tape_error *error)
{
    int given = options->keep_age_ns || options->keep_bytes || options->keep_free_bytes;
    if (options->prune && !given)
        return tape_error_set(error, TAPE_USAGE,
                              "--prune needs a limit: --keep-age=TIME, --keep-bytes=SIZE or "
                              "--keep-free=SIZE");
    if (given && mode && !options->prune)
        return tape_error_set(error, TAPE_USAGE, "--%s has no meaning with --%s",
                              options->keep_age_ns  ? "keep-age"
                              : options->keep_bytes ? "keep-bytes"
                                                    : "keep-free",
                              mode);
    if (options->dry_run && !options->prune)
        return tape_error_set(error, TAPE_USAGE, "--dry-run has no meaning without --prune");
    return 0;
}

static int check_together(const struct tape_options *options, const unsigned char *seen,
                          struct tape_error *error)
{
    const char *other, *mode = mode_of(options, &other);
    if (other != NULL)
        return tape_error_set(error, TAPE_USAGE, "--%s and --%s exclude each other", mode, other);
    if (options->archive == NULL)
        return tape_error_set(error, TAPE_USAGE,
                              "an ARCHIVE directory must be named (tape-record --help)");
    if (options->archive[0] == '\0')
        return tape_error_set(error, TAPE_USAGE, "ARCHIVE is empty (tape-record --help)");
    if (mode != NULL && options->streams_count > 0)
        return tape_error_set(error, TAPE_USAGE, "--%s takes one ARCHIVE, and then \"%.100s\"?",
                              mode, options->streams[0]);
    if (check_effect(mode, seen, error) < 0 || check_limits(options, mode, error) < 0)
        return error->status;
    if (mode != NULL)
        return check_ranges(options, error);
    if (options->streams_count == 0 && options->url == NULL)
        return tape_error_set(error, TAPE_USAGE,
                              "no STREAM is named, such as btcusdt@aggTrade (tape-record --help)");
    if (options->venue && options->profile)
        return tape_error_set(error, TAPE_USAGE, "--venue and --profile exclude each other");
    return check_ranges(options, error);
}

int tape_options_parse(struct tape_options *options, int argc, char **argv,
                       struct tape_error *error)
{
    unsigned char seen[TABLE_LENGTH] = {0};
    int plain = 0, only_plain = 0;
    memset(options, 0, sizeof *options);
    for (int at = 1; at < argc; at++) {
        char *word = argv[at];
        if (!only_plain && strcmp(word, "--") == 0) {
            only_plain = 1;
        } else if (!only_plain && strcmp(word, "-h") == 0) {
            options->help = 1;
        } else if (!only_plain && word[0] == '-' && word[1] == '-') {
            int status = parse_option(options, argv, argc, &at, seen, error);
            if (status < 0)
                return status;
        } else if (!only_plain && word[0] == '-' && word[1] != '\0') {
            return tape_error_set(error, TAPE_USAGE, "unknown option %.20s (tape-record --help)",
                                  word);
        } else {
            argv[plain++] = word; /* never ahead of at: what was read is overwritten */
        }
    }
    if (options->help || options->version)
        return 0;
    options->archive = plain > 0 ? argv[0] : NULL;
    options->streams = argv + 1;
    options->streams_count = plain > 0 ? plain - 1 : 0;
    return check_together(options, seen, error);
}

void tape_options_print_help(FILE *to)
{
    fputs("usage: tape-record [options] ARCHIVE STREAM...\n"
          "       tape-record [options] --import FILE ARCHIVE\n"
          "       tape-record --repair | --pack | --prune [options] ARCHIVE\n\n"
          "Records an exchange's WebSocket feed into the directory ARCHIVE, exactly as it\n"
          "came, until it is stopped (Ctrl-C). For example:\n"
          "  tape-record ./tape btcusdt@aggTrade btcusdt@depth@100ms\n\n",
          to);
    for (int i = 0; i < TABLE_LENGTH; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", table[i].name, table[i].argument ? "=" : "",
                 table[i].argument ? table[i].argument : "");
        fprintf(to, "  %-26s%s\n", left, table[i].words);
    }
    fputs("\nExit: 0 done, 1 failed, 2 wrong usage, 3 the archive is damaged. man tape-record\n",
          to);
}
