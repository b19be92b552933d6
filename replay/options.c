#include "replay/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "format/distance.h"
#include "replay/output.h"
#include "replay/pace.h"

enum form { TEXT, FLAG, DURATION, SPEED, FORMAT, TIME, ORDER, DUPLICATES, AT_END, COUNT };

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
enum { VERBS_LENGTH = sizeof verbs / sizeof verbs[0], NAME_MAX_BYTES = 32, COUNT_MAX = 100000 };
_Static_assert(TABLE_LENGTH <= 64, "a bit for each option");

static int refuse_option(const char *name, struct tape_error *error)
{
    const char *nearest = NULL;
    int least = 0;
    for (size_t i = 0; i < TABLE_LENGTH; i++) {
        int rank = tape_distance_rank(name, table[i].name);
        if (rank >= 0 && (!nearest || rank < least)) {
            least = rank;
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

/* The number of the word in a list that ends with NULL, or TAPE_USAGE. */
static int set_word(int *field, const char *value, const char *const *words,
                    struct tape_error *error)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], value) == 0) {
            *field = i;
            return 0;
        }
    return tape_error_set(error, TAPE_USAGE, "\"%.40s\" is none of: %s, %s%s%s", value, words[0],
                          words[1], words[2] ? ", " : "", words[2] ? words[2] : "");
}

/* In the options 0 stands for one that was not given. */
static int set_duration(int64_t *ns, const char *value, struct tape_error *error)
{
    int status = tape_timespec_parse_duration(value, ns, error);
    return status == 0 && *ns == 0 ? tape_error_set(error, TAPE_USAGE, "must be above 0") : status;
}

static int set_count(int *count, const char *value, struct tape_error *error)
{
    char *end;
    long number = strtol(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number < 1 || number > COUNT_MAX)
        return tape_error_set(error, TAPE_USAGE, "\"%.40s\" is no number from 1 to %d", value,
                              COUNT_MAX);
    *count = (int)number;
    return 0;
}

static const char *const order_words[] = {
#define WORD(name, word, meaning) word,
    TAPE_SOURCE_ORDER_TABLE(WORD) NULL
#undef WORD
};
static const char *const at_end_words[] = {
#define WORD(name, word) word,
    TAPE_OPTIONS_AT_END_TABLE(WORD) NULL
#undef WORD
};
static const char *const duplicates_words[] = {"keep", "remove", NULL};

static int set_duplicates(int *field, const char *value, struct tape_error *error)
{
    int word = 0, status = set_word(&word, value, duplicates_words, error);
    *field = word == 0 ? 1 : -1;
    return status;
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
        status = set_duration((int64_t *)(void *)field, value, error);
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
    case ORDER:
        status = set_word((int *)(void *)field, value, order_words, error);
        break;
    case DUPLICATES:
        status = set_duplicates((int *)(void *)field, value, error);
        break;
    case AT_END:
        status = set_word((int *)(void *)field, value, at_end_words, error);
        break;
    case COUNT:
        status = set_count((int *)(void *)field, value, error);
        break;
    }
    return status < 0 ? tape_error_wrap(error, "--%s", option->name) : 0;
}

/* Takes argv[*at], which begins with "--", and its value; *at is then at the last word taken. */
static int take_option(struct tape_options *options, int argc, char **argv, int *at, uint64_t *seen,
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
    uint64_t bit = UINT64_C(1) << (option - table);
    if (*seen & bit)
        return tape_error_set(error, TAPE_USAGE, "--%s is given twice", name);
    *seen |= bit;
    return set_value(options, option, value, error);
}

static int take_verb(struct tape_options *options, const char *word, struct tape_error *error)
{
    for (size_t i = 0; i < VERBS_LENGTH; i++)
        if (strcmp(verbs[i].word, word) == 0)
            options->verb = verbs[i].verb;
    return options->verb == TAPE_OPTIONS_NONE ? refuse_verb(word, error) : 0;
}

/* "help" and "help COMMAND". */
static int take_help(struct tape_options *options, int argc, char **argv, struct tape_error *error)
{
    options->help = 1;
    return argc > 2 && argv[2][0] != '-' ? take_verb(options, argv[2], error) : 0;
}

static int take_word(struct tape_options *options, const char *word, struct tape_error *error)
{
    if (options->verb == TAPE_OPTIONS_NONE)
        return take_verb(options, word, error);
    int several = options->verb == TAPE_OPTIONS_PLAY || options->verb == TAPE_OPTIONS_SERVE;
    if (options->archive && !several)
        return tape_error_set(error, TAPE_USAGE,
                              "one archive at a time: \"%.100s\" is one too many", word);
    if (options->archives_count == TAPE_SOURCE_ARCHIVES_MAX)
        return tape_error_set(error, TAPE_USAGE, "more than %d archives", TAPE_SOURCE_ARCHIVES_MAX);
    if (!options->archive)
        options->archive = word;
    options->archives[options->archives_count++] = word;
    return 0;
}

static int check_together(const struct tape_options *options, uint64_t seen,
                          struct tape_error *error)
{
    if (options->verb == TAPE_OPTIONS_NONE)
        return tape_error_set(error, TAPE_USAGE, "no command; see tape-replay --help");
    const struct verb *verb = &verbs[options->verb - 1];
    for (size_t i = 0; i < TABLE_LENGTH; i++)
        if ((seen & UINT64_C(1) << i) && !strchr(table[i].verbs, verb->letter))
            return tape_error_set(error, TAPE_USAGE, "%s has no option --%s", verb->word,
                                  table[i].name);
    if (!options->archive)
        return tape_error_set(error, TAPE_USAGE, "no archive; write: tape-replay %s ARCHIVE",
                              verb->word);
    if (options->follow && options->archives_count > 1)
        return tape_error_set(error, TAPE_USAGE, "--follow goes with one archive");
    if (!options->cert != !options->key)
        return tape_error_set(error, TAPE_USAGE, "--cert and --key go together");
    if (options->all && options->format != TAPE_OUTPUT_NDJSON)
        return tape_error_set(error, TAPE_USAGE, "--all needs --format ndjson");
    return 0;
}

int tape_options_parse(struct tape_options *options, int argc, char **argv,
                       struct tape_error *error)
{
    uint64_t seen = 0;
    int words_only = 0, status = 0;
    memset(options, 0, sizeof *options);
    options->speed = -1;
    if (argc > 1 && strcmp(argv[1], "help") == 0)
        return take_help(options, argc, argv, error);
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

/* The words for the option in the help of one command. */
static const char *words_for(const struct option *option, int verb)
{
    if (strcmp(option->name, "json") != 0 || verb == TAPE_OPTIONS_NONE)
        return option->words;
    return verb == TAPE_OPTIONS_PLAY || verb == TAPE_OPTIONS_SERVE
               ? "the receipt on standard error as JSON"
               : "tell it as JSON";
}

static void print_usage(int verb, FILE *to)
{
    if (verb != TAPE_OPTIONS_NONE) {
        fprintf(to, "tape-replay %s: %s.\n\n", verbs[verb - 1].word, verbs[verb - 1].words);
        int several = verb == TAPE_OPTIONS_PLAY || verb == TAPE_OPTIONS_SERVE;
        fprintf(to, "usage: tape-replay %s [options] ARCHIVE%s\n", verbs[verb - 1].word,
                several ? "..." : "");
        return;
    }
    fputs("tape-replay: what an archive of tape-record holds, given back.\n\n"
          "usage: tape-replay COMMAND [options] ARCHIVE\n"
          "       tape-replay help COMMAND\n\n",
          to);
    for (size_t i = 0; i < VERBS_LENGTH; i++)
        fprintf(to, "  %-8s %s\n", verbs[i].word, verbs[i].words);
}

void tape_options_print_help(int verb, FILE *to)
{
    static const char *const examples[] = {
        [TAPE_OPTIONS_NONE] = "tape-replay play --speed max --stream 'bnbusdt@*' ./tape | head",
        [TAPE_OPTIONS_LS] = "tape-replay ls ./tape",
        [TAPE_OPTIONS_SERVE] = "tape-replay serve --speed 10 ./tape   # ws://127.0.0.1:9080",
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
        fprintf(to, "  %-18s %s\n", left, words_for(&table[i], verb));
    }
    fputs("\nexit codes: 0 done, 1 failed, 2 wrong usage, 3 the archive is damaged\n", to);
}
