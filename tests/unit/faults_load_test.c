#include "replay/faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "replay/faults_internal.h"
#include "tests/unit/make_records.h"

static struct tape_faults *parse(const char *text)
{
    struct tape_error error = {0};
    struct tape_faults *faults = tape_faults_parse(text, strlen(text), "f", &error);
    if (!faults)
        fail_msg("%s", error.text);
    return faults;
}

static void every_key_is_read(void **state)
{
    (void)state;
    struct tape_faults *faults =
        parse("{ // what is done\n"
              "\"seed\": 42, /* and what else */ \"recorded\": true, \"rules\": [\n"
              " {\"streams\": \"btc*,\xe5\xb8\x81*\", \"from\": \"+10s\", \"to\": "
              "\"2026-11-25T10:00Z\",\n"
              "  \"delay\": {\"probability\": 0.25, \"min\": \"1ms\", \"max\": \"1h\"}},\n"
              " {\"drop\": {\"probability\": 1}},\n"
              " {\"duplicate\": {\"probability\": 0, \"after\": \"5us\"}},\n"
              " {\"reorder\": {\"probability\": 1e-3, \"by\": 64}},\n"
              " {\"cut\": {\"every\": \"60s\", \"code\": 1001}},\n"
              " {\"cut\": {\"at\": [\"+30s\", \"@1795600000.5\"], \"code\": 1006}},\n"
              " {\"cut\": {\"probability\": 0.5, \"code\": 4999}}]}");
    const struct tape_faults_rule *rules = faults->rules;
    assert_int_equal(faults->seed, 42);
    assert_int_equal(faults->recorded, 1);
    assert_int_equal(faults->rules_count, 7);
    assert_int_equal(rules[0].kind, TAPE_FAULTS_RULE_DELAY);
    assert_string_equal(rules[0].streams, "btc*,\xe5\xb8\x81*");
    assert_true(rules[0].has_from && rules[0].has_to);
    assert_int_equal(rules[0].from.base, TAPE_TIMESPEC_START);
    assert_int_equal(rules[0].from.ns, 10000000000ll);
    assert_int_equal(rules[0].to.base, TAPE_TIMESPEC_EPOCH);
    assert_int_equal(rules[0].to.ns, 1795600800000000000ll);
    assert_true(rules[0].probability == 0.25);
    assert_int_equal(rules[0].min_ns, 1000000);
    assert_int_equal(rules[0].max_ns, 3600000000000ll);
    assert_int_equal(rules[1].kind, TAPE_FAULTS_RULE_DROP);
    assert_null(rules[1].streams);
    assert_false(rules[1].has_from || rules[1].has_to);
    assert_true(rules[1].probability == 1);
    assert_int_equal(rules[2].kind, TAPE_FAULTS_RULE_DUPLICATE);
    assert_int_equal(rules[2].min_ns, 5000);
    assert_int_equal(rules[2].max_ns, 5000);
    assert_int_equal(rules[3].kind, TAPE_FAULTS_RULE_REORDER);
    assert_int_equal(rules[3].by, 64);
    assert_int_equal(rules[4].kind, TAPE_FAULTS_RULE_CUT);
    assert_int_equal(rules[4].every_ns, 60000000000ll);
    assert_int_equal(rules[4].close_code, 1001);
    assert_int_equal(rules[5].at_count, 2);
    assert_int_equal(rules[5].at[0].base, TAPE_TIMESPEC_START);
    assert_int_equal(rules[5].at[1].ns, 1795600000500000000ll);
    assert_int_equal(rules[5].close_code, 0);
    assert_int_equal(rules[6].close_code, 4999);
    assert_true(rules[6].probability == 0.5);
    assert_int_equal(tape_faults_needs_events(faults), 1);
    tape_faults_free(faults);
}

static void what_is_left_out(void **state)
{
    (void)state;
    struct tape_faults *faults = parse("{\"rules\": [{\"reorder\": {\"probability\": 1}},"
                                       "{\"duplicate\": {\"probability\": 1}},"
                                       "{\"delay\": {\"probability\": 1, \"max\": \"1ns\"}},"
                                       "{\"cut\": {\"probability\": 1}}]}");
    assert_int_equal(faults->seed, 0);
    assert_int_equal(faults->rules[0].by, 1);
    assert_int_equal(faults->rules[1].max_ns, 0);
    assert_int_equal(faults->rules[2].min_ns, 0);
    assert_int_equal(faults->rules[3].close_code, 0);
    assert_int_equal(tape_faults_needs_events(faults), 0);
    tape_faults_free(faults);
    faults = parse("{\"recorded\": true, \"seed\": \"9223372036854775807\"}");
    assert_int_equal(faults->rules_count, 0);
    assert_int_equal(faults->seed, INT64_MAX);
    tape_faults_free(faults);
}

static void who_needs_the_start(void **state)
{
    static const struct {
        const char *text;
        int needs;
    } cases[] = {
        {"{\"recorded\": true}", 0},
        {"{\"rules\": [{\"drop\": {\"probability\": 1}}]}", 0},
        {"{\"rules\": [{\"from\": \"+1s\", \"drop\": {\"probability\": 1}}]}", 1},
        {"{\"rules\": [{\"to\": \"+1s\", \"drop\": {\"probability\": 1}}]}", 1},
        {"{\"rules\": [{\"from\": \"2026-11-25\", \"drop\": {\"probability\": 1}}]}", 0},
        {"{\"rules\": [{\"cut\": {\"every\": \"1m\"}}]}", 1},
        {"{\"rules\": [{\"from\": \"2026-11-25\", \"cut\": {\"every\": \"1m\"}}]}", 0},
        {"{\"rules\": [{\"cut\": {\"at\": [\"2026-11-25\"]}}]}", 0},
        {"{\"rules\": [{\"cut\": {\"at\": [\"2026-11-25\", \"+1s\"]}}]}", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_faults *faults = parse(cases[i].text);
        if (tape_faults_needs_start(faults) != cases[i].needs)
            fail_msg("%s", cases[i].text);
        tape_faults_free(faults);
    }
}

#define IN_RULE(inside) "{\"rules\": [{" inside "}]}"

static const struct {
    const char *text, *words;
} wrong[] = {
    {"", "f: line 1, column 1: no JSON from here on"},
    {"[]", "f: not a JSON object"},
    {"{\"rules\": [] /* x", "f: line 1, column 14: the comment has no end"},
    {"{\"rules\":\n [{\"drop\": }]}", "f: line 2, column 12: no JSON from here on"},
    {"{}", "f: no fault: neither \"rules\" nor \"recorded\": true"},
    {"{\"recorded\": false}", "f: no fault: neither \"rules\" nor \"recorded\": true"},
    {"{\"recorded\": 1}", "f: line 1, column 2: \"recorded\" must be true or false"},
    {"{\"sead\": 1}", "f: line 1, column 2: unknown key \"sead\" (did you mean \"seed\"?)"},
    {"{\"seed\": 1,\n \"seed\": 1}", "f: line 2, column 2: duplicate key \"seed\""},
    {"{\"seed\": -1}", "f: line 1, column 2: \"seed\" must be a whole number from 0 on (from 2^53 "
                       "on as a string)"},
    {"{\"seed\": 9007199254740992}",
     "f: line 1, column 2: \"seed\" must be a whole number from 0 on (from 2^53 on as a string)"},
    {"{\"seed\": \"9223372036854775808\"}",
     "f: line 1, column 2: \"seed\" must be a whole number from 0 on (from 2^53 on as a string)"},
    {"{\"rules\": []}", "f: line 1, column 2: \"rules\" must be a list of objects, at least one"},
    {"{\"rules\": [{}]}", "f: line 1, column 2: rule 1 says no fault: \"delay\", \"drop\", "
                          "\"duplicate\", \"reorder\" or \"cut\""},
    {"{\"rules\": [{\"drop\": {\"probability\": 1}},\n {\"streams\": \"a\"}]}",
     "f: line 2, column 3: rule 2 says no fault: \"delay\", \"drop\", \"duplicate\", \"reorder\" "
     "or \"cut\""},
    {IN_RULE("\"drop\": {\"probability\": 1},\n\"cut\": {\"probability\": 1}"),
     "f: line 2, column 1: rule 1 says \"drop\" already: write \"cut\" as a rule of its own"},
    {IN_RULE("\"stream\": \"a\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 13: unknown key \"stream\" (did you mean \"streams\"?)"},
    {IN_RULE("\"streams\": \"\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 13: \"streams\" must be a string without control characters"},
    {IN_RULE("\"streams\": \"a\\u0007\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 13: \"streams\" must be a string without control characters"},
    {IN_RULE("\"drop\": {}"), "f: line 1, column 13: \"probability\" is missing"},
    {IN_RULE("\"drop\": {\"probability\": 1.01}"),
     "f: line 1, column 22: \"probability\" must be a number from 0 to 1"},
    {IN_RULE("\"drop\": {\"probability\": -0.01}"),
     "f: line 1, column 22: \"probability\" must be a number from 0 to 1"},
    {IN_RULE("\"drop\": {\"probability\": \"1\"}"),
     "f: line 1, column 22: \"probability\" must be a number from 0 to 1"},
    {IN_RULE("\"drop\": {\"probability\": 1, \"after\": \"1s\"}"),
     "f: line 1, column 40: unknown key \"after\"; known: probability"},
    {IN_RULE("\"drop\": {\"prob\": 1}"),
     "f: line 1, column 22: unknown key \"prob\" (did you mean \"probability\"?)"},
    {IN_RULE("\"drop\": {\"chance\": 1}"),
     "f: line 1, column 22: unknown key \"chance\"; known: probability"},
    {IN_RULE("\"drop\": 0.1"),
     "f: line 1, column 13: \"drop\" must be an object: {\"probability\": 0.1}"},
    {IN_RULE("\"drop\": 10"), "f: line 1, column 13: \"drop\" must be an object"},
    {IN_RULE("\"delay\": 0.5"),
     "f: line 1, column 13: \"delay\" must be an object: {\"probability\": 0.5, \"max\": ...}"},
    {IN_RULE("\"cut\": 0.5"), "f: line 1, column 13: \"cut\" must be an object"},
    {IN_RULE("\"from\": \"-10s\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 13: \"-10s\": a time counts from the start of the archive, as +30s, or is "
     "absolute, as 2026-11-22T08:00Z"},
    {IN_RULE("\"to\": \"now\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 13: \"now\": a time counts from the start of the archive, as +30s, or is "
     "absolute, as 2026-11-22T08:00Z"},
    {IN_RULE("\"from\": \"soon\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 13: \"from\": \"soon\" is not a time: write 2026-11-22T08:00Z, ns since "
     "1970, @seconds, now, +10m after the start or -10m before the end"},
    {IN_RULE("\"from\": \"+10s\", \"to\": \"+10s\", \"drop\": {\"probability\": 1}"),
     "f: line 1, column 29: \"to\" is not after \"from\""},
    {IN_RULE("\"delay\": {\"probability\": 1}"), "f: line 1, column 13: \"max\" is missing"},
    {IN_RULE("\"delay\": {\"probability\": 1, \"max\": \"5\"}"),
     "f: line 1, column 41: \"max\": \"5\" is not a duration: write a number and a unit, as in "
     "90s, 1h30m, 250ms or 60us"},
    {IN_RULE("\"delay\": {\"probability\": 1, \"max\": \"0\"}"),
     "f: line 1, column 41: \"max\" must be from 1 ns to 1 h 00 m 00 s"},
    {IN_RULE("\"delay\": {\"probability\": 1, \"max\": \"3601s\"}"),
     "f: line 1, column 41: \"max\" must be from 1 ns to 1 h 00 m 00 s"},
    {IN_RULE("\"delay\": {\"probability\": 1, \"min\": \"2ms\", \"max\": \"1ms\"}"),
     "f: line 1, column 55: \"max\" is less than \"min\""},
    {IN_RULE("\"delay\": {\"probability\": 1, \"min\": \"2h\", \"max\": \"1ms\"}"),
     "f: line 1, column 41: \"min\" must be from 0 ns to 1 h 00 m 00 s"},
    {IN_RULE("\"duplicate\": {\"probability\": 1, \"after\": \"2h\"}"),
     "f: line 1, column 45: \"after\" must be from 0 ns to 1 h 00 m 00 s"},
    {IN_RULE("\"reorder\": {\"probability\": 1, \"by\": 0}"),
     "f: line 1, column 43: \"by\" must be a whole number from 1 to 1000000000"},
    {IN_RULE("\"reorder\": {\"probability\": 1, \"by\": 65}"),
     "f: line 1, column 43: \"by\" must be from 1 to 64 messages"},
    {IN_RULE("\"cut\": {}"), "f: line 1, column 13: \"cut\" must say one of \"every\", \"at\" and "
                             "\"probability\""},
    {IN_RULE("\"cut\": {\"every\": \"1s\", \"at\": [\"+1s\"]}"),
     "f: line 1, column 13: \"cut\" must say one of \"every\", \"at\" and \"probability\""},
    {IN_RULE("\"cut\": {\"every\": \"999us\"}"),
     "f: line 1, column 21: \"every\" must be from 1.0 ms to 106751 d 23 h"},
    {IN_RULE("\"cut\": {\"at\": []}"),
     "f: line 1, column 21: \"at\" must be a list of strings of printable ASCII, at least one"},
    {IN_RULE("\"cut\": {\"at\": [\"+1s\", \"later\"]}"),
     "f: line 1, column 21: \"at\": \"later\" is not a time: write 2026-11-22T08:00Z, ns since "
     "1970, @seconds, now, +10m after the start or -10m before the end"},
    {IN_RULE("\"cut\": {\"probability\": 1, \"code\": 999}"),
     "f: line 1, column 39: \"code\" must be one that a server may send (1000 to 1003, 1007 to "
     "1014, 3000 to 4999), or 1006 for none"},
    {IN_RULE("\"cut\": {\"probability\": 1, \"code\": 1005}"),
     "f: line 1, column 39: \"code\" must be one that a server may send (1000 to 1003, 1007 to "
     "1014, 3000 to 4999), or 1006 for none"},
    {IN_RULE("\"cut\": {\"probability\": 1, \"code\": 1015}"),
     "f: line 1, column 39: \"code\" must be one that a server may send (1000 to 1003, 1007 to "
     "1014, 3000 to 4999), or 1006 for none"},
    {IN_RULE("\"cut\": {\"probability\": 1, \"code\": 66536}"),
     "f: line 1, column 39: \"code\" must be one that a server may send (1000 to 1003, 1007 to "
     "1014, 3000 to 4999), or 1006 for none"},
};

static void what_is_wrong_is_told(void **state)
{
    int others = 0;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct tape_error error = {0};
        if (tape_faults_parse(wrong[i].text, strlen(wrong[i].text), "f", &error))
            fail_msg("taken: %s", wrong[i].text);
        if (strcmp(error.text, wrong[i].words) != 0 || error.status != TAPE_USAGE) {
            print_error("%s\n  %s\n  instead of\n  %s\n", wrong[i].text, error.text,
                        wrong[i].words);
            others++;
        }
        assert_null(tape_faults_parse(wrong[i].text, strlen(wrong[i].text), "f", NULL));
    }
    assert_int_equal(others, 0);
}

/* ${count} times ${part}, with commas between, in what stands around. */
static char *repeated(const char *before, const char *part, int count, const char *behind)
{
    size_t room = strlen(before) + strlen(behind) + (size_t)count * (strlen(part) + 1) + 1;
    char *text = malloc(room), *at = text;
    at += snprintf(at, room, "%s", before);
    for (int i = 0; i < count; i++)
        at += snprintf(at, room - (size_t)(at - text), "%s%s", i ? "," : "", part);
    snprintf(at, room - (size_t)(at - text), "%s", behind);
    return text;
}

static void counts_have_caps(void **state)
{
    static const char rule[] = "{\"drop\":{\"probability\":1}}";
    struct tape_error error;
    (void)state;
    char *text = repeated("{\"rules\":[", rule, TAPE_FAULTS_RULES_MAX, "]}");
    struct tape_faults *faults = parse(text);
    assert_int_equal(faults->rules_count, TAPE_FAULTS_RULES_MAX);
    tape_faults_free(faults);
    free(text);
    text = repeated("{\"rules\":[", rule, TAPE_FAULTS_RULES_MAX + 1, "]}");
    assert_null(tape_faults_parse(text, strlen(text), "f", &error));
    assert_string_equal(error.text, "f: line 1, column 2: 257 rules: at most 256 are taken");
    free(text);
    text =
        repeated("{\"rules\":[{\"cut\":{\"at\":[", "\"+1s\"", TAPE_FAULTS_CUT_TIMES_MAX, "]}}]}");
    tape_faults_free(parse(text));
    free(text);
    text = repeated("{\"rules\":[{\"cut\":{\"at\":[", "\"+1s\"", TAPE_FAULTS_CUT_TIMES_MAX + 1,
                    "]}}]}");
    assert_null(tape_faults_parse(text, strlen(text), "f", &error));
    assert_string_equal(error.text,
                        "f: line 1, column 19: \"at\" has 257 times: at most 256, or \"every\"");
    free(text);
    text = repeated("{\"rules\":[", rule, 40000, "]}");
    assert_null(tape_faults_parse(text, strlen(text), "f", &error));
    assert_string_equal(error.text, "f: longer than 262144 bytes");
    free(text);
}

static void files_are_read(void **state)
{
    char directory[256], path[300], words[700];
    struct tape_error error;
    (void)state;
    struct tape_faults *faults = tape_faults_load("recorded", &error);
    assert_non_null(faults);
    assert_true(faults->recorded && faults->rules_count == 0);
    tape_faults_free(faults);
    int fd = made_directory(directory);
    snprintf(path, sizeof path, "%s/f.json", directory);
    write_file_at(fd, "f.json", "{\"seed\": 5, \"recorded\": true}", 29);
    faults = tape_faults_load(path, &error);
    assert_non_null(faults);
    assert_int_equal(faults->seed, 5);
    tape_faults_free(faults);
    write_file_at(fd, "f.json", "{", 1);
    assert_null(tape_faults_load(path, &error));
    snprintf(words, sizeof words, "%s: line 1, column 2: no JSON from here on", path);
    assert_string_equal(error.text, words);
    assert_null(tape_faults_load("recorde", &error));
    assert_string_equal(error.text, "cannot read the file of faults \"recorde\": No such file or "
                                    "directory (did you mean \"recorded\"?)");
    assert_int_equal(error.status, TAPE_USAGE);
    assert_null(tape_faults_load(directory, &error));
    snprintf(words, sizeof words, "cannot read the file of faults \"%s\": Is a directory",
             directory);
    assert_string_equal(error.text, words);
    close(fd);
    remove_tree(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),   cmocka_unit_test(what_is_left_out),
        cmocka_unit_test(who_needs_the_start), cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(counts_have_caps),    cmocka_unit_test(files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
