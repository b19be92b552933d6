#include "replay/options.h"

#include <stddef.h>
#include <string.h>

#include "format/distance.h"
#include "replay/output.h"
#include "replay/pace.h"

enum form { TEXT, FLAG, DURATION, SPEED, FORMAT, TIME };

struct option {
    const char *name, *verbs, *argument, *words;
    enum form form;
    size_t offset;
};

static const struct option table[] = {
#define OPTION(field, name, verbs, argument, form, words)                                          \
    {name, verbs, argument, words, form, offsetof(struct tape_options, field)},
    TAPE_OPTIONS_TABLE(OPTION)
#undef OPTION
};
enum { TABLE_LENGTH = sizeof table / sizeof table[0] };

static const struct verb {
    int verb;
    char letter;
    const char *word, *words;
} verbs[] = {
#define VERB(name, word, words) {TAPE_OPTIONS_##name, #name[0], word, words},
    TAPE_OPTIONS_VERB_TABLE(VERB)
#undef VERB
};
enum { VERBS_LENGTH = sizeof verbs / sizeof verbs[0], NAME_MAX_BYTES = 32 };

static int refuse_option(const char *name, struct tape_error *error)
{
    const char *nearest = NULL;
    int least = 3;
    for (size_t i = 0; i < TABLE_LENGTH; i++) {
        int steps = tape_distance_words(name, table[i].name);
        if (steps < least) {
            least = steps;
            nearest = table[i].name;
        }
    }
    if (nearest)
        return tape_error_set(error, TAPE_USAGE, "unknown option --%s (did you mean --%s?)", name,
                              nearest);
    return tape_error_set(error, TAPE_USAGE, "unknown option --%s", name);
}

static int refuse_verb(const char *word, struct tape_error *error)
{
#define VERB_NAME(name, text, words) " " text
    return tape_error_set(error, TAPE_USAGE, "\"%.100s\" is not a command; there are:%s", word,
                          TAPE_OPTIONS_VERB_TABLE(VERB_NAME));
#undef VERB_NAME
}

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < TABLE_LENGTH; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static int set_time(struct tape_options_time *time, const char *value, struct tape_error *error)
{
    time->given = 1;
    return tape_timespec_parse(value, &time->time, error);
}

static int set_value(struct tape_options *options, const struct option *option, const char *value,
                     struct tape_error *error)
{
    char *field = (char *)options + option->offset;
    int status = 0;
    switch (option->form) {
    case TEXT:
        if (*value == '\0')
            status = tape_error_set(error, TAPE_USAGE, "must not be empty");
        *(tape_options_TEXT *)(void *)field = value;
        break;
    case FLAG:
        *(tape_options_FLAG *)(void *)field = 1;
        break;
    case DURATION:
        status = tape_timespec_parse_duration(value, (int64_t *)(void *)field, error);
        break;
    case SPEED:
        status = tape_pace_parse_speed(value, (double *)(void *)field, error);
        break;
    case FORMAT:
        status = tape_output_parse_format(value, error);
        *(tape_options_FORMAT *)(void *)field = status > 0 ? status : 0;
        break;
    case TIME:
        status = set_time((struct tape_options_time *)(void *)field, value, error);
        break;
    }
    return status < 0 ? tape_error_wrap(error, "--%s", option->name) : 0;
}

/* Takes argv[*at], which begins with "--", and its value; *at is then at the last word taken. */
static int take_option(struct tape_options *options, int argc, char **argv, int *at, unsigned *seen,
                       struct tape_error *error)
{
    char name[NAME_MAX_BYTES + 1];
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    size_t bytes = equals ? (size_t)(equals - text) : strlen(text);
    const char *value = equals ? equals + 1 : NULL;
    if (bytes > NAME_MAX_BYTES)
        bytes = NAME_MAX_BYTES;
    memcpy(name, text, bytes);
    name[bytes] = '\0';
    const struct option *option = find_option(name);
    if (!option)
        return refuse_option(name, error);
    if (!option->argument && value)
        return tape_error_set(error, TAPE_USAGE, "--%s takes no value", name);
    if (option->argument && !value) {
        if (*at + 1 >= argc)
            return tape_error_set(error, TAPE_USAGE, "--%s needs a value: --%s %s", name, name,
                                  option->argument);
        value = argv[++*at];
    }
    unsigned bit = 1u << (option - table);
    if (*seen & bit)
        return tape_error_set(error, TAPE_USAGE, "--%s is given twice", name);
    *seen |= bit;
    return set_value(options, option, value, error);
}

static int take_word(struct tape_options *options, const char *word, struct tape_error *error)
{
    if (options->verb == TAPE_OPTIONS_NONE) {
        for (size_t i = 0; i < VERBS_LENGTH; i++)
            if (strcmp(verbs[i].word, word) == 0)
                options->verb = verbs[i].verb;
        return options->verb == TAPE_OPTIONS_NONE ? refuse_verb(word, error) : 0;
    }
    if (options->archive)
        return tape_error_set(error, TAPE_USAGE,
                              "one archive at a time: \"%.100s\" is one too many", word);
    options->archive = word;
    return 0;
}

static int check_together(const struct tape_options *options, unsigned seen,
                          struct tape_error *error)
{
    if (options->verb == TAPE_OPTIONS_NONE)
        return tape_error_set(error, TAPE_USAGE, "no command; see tape-replay --help");
    const struct verb *verb = &verbs[options->verb - 1];
    for (size_t i = 0; i < TABLE_LENGTH; i++)
        if ((seen & 1u << i) && !strchr(table[i].verbs, verb->letter))
            return tape_error_set(error, TAPE_USAGE, "%s has no option --%s", verb->word,
                                  table[i].name);
    if (!options->archive)
        return tape_error_set(error, TAPE_USAGE, "no archive; write: tape-replay %s ARCHIVE",
                              verb->word);
    if (options->all && options->format != TAPE_OUTPUT_NDJSON)
        return tape_error_set(error, TAPE_USAGE, "--all needs --format ndjson");
    return 0;
}

int tape_options_parse(struct tape_options *options, int argc, char **argv,
                       struct tape_error *error)
{
    unsigned seen = 0;
    int words_only = 0, status = 0;
    memset(options, 0, sizeof *options);
    options->speed = -1;
    for (int i = 1; i < argc && status == 0; i++) {
        if (words_only || argv[i][0] != '-' || argv[i][1] == '\0')
            status = take_word(options, argv[i], error);
        else if (strcmp(argv[i], "--") == 0)
            words_only = 1;
        else if (strcmp(argv[i], "-h") == 0)
            options->help = 1;
        else if (argv[i][1] != '-')
            status = tape_error_set(error, TAPE_USAGE, "unknown option %.100s", argv[i]);
        else
            status = take_option(options, argc, argv, &i, &seen, error);
        if (options->help || options->version)
            return 0;
    }
    return status < 0 ? status : check_together(options, seen, error);
}

static void print_usage(int verb, FILE *to)
{
    if (verb != TAPE_OPTIONS_NONE) {
        fprintf(to, "tape-replay %s: %s.\n\n", verbs[verb - 1].word, verbs[verb - 1].words);
        fprintf(to, "usage: tape-replay %s [options] ARCHIVE\n", verbs[verb - 1].word);
        return;
    }
    fputs("tape-replay: what an archive of tape-record holds, given back.\n\n"
          "usage: tape-replay COMMAND [options] ARCHIVE\n\n",
          to);
    for (size_t i = 0; i < VERBS_LENGTH; i++)
        fprintf(to, "  %-8s %s\n", verbs[i].word, verbs[i].words);
}

void tape_options_print_help(int verb, FILE *to)
{
    static const char *const examples[] = {
        [TAPE_OPTIONS_NONE] = "tape-replay play --speed max --stream 'bnbusdt@*' ./tape | head",
        [TAPE_OPTIONS_LS] = "tape-replay ls ./tape",
        [TAPE_OPTIONS_PLAY] = "tape-replay play --speed max --stream 'bnbusdt@*' ./tape | head",
        [TAPE_OPTIONS_VERIFY] = "tape-replay verify --reparse ./tape",
    };
    print_usage(verb, to);
    fprintf(to, "\nexample: %s\n\noptions:\n", examples[verb]);
    for (size_t i = 0; i < TABLE_LENGTH; i++) {
        char left[NAME_MAX_BYTES + 16];
        if (verb != TAPE_OPTIONS_NONE && !strchr(table[i].verbs, verbs[verb - 1].letter))
            continue;
        snprintf(left, sizeof left, "--%s%s%s", table[i].name, table[i].argument ? " " : "",
                 table[i].argument ? table[i].argument : "");
        fprintf(to, "  %-18s %s\n", left, table[i].words);
    }
    fputs("\nexit codes: 0 done, 1 failed, 2 wrong usage, 3 the archive is damaged\n", to);
}
