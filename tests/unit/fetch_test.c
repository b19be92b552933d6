/* HTTP answers: good ones at every split, bad ones as soon as they show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "record/fetch.h"

/* Parses the first ${bytes} of text from a buffer of exactly that size. */
static int parse(const char *text, size_t bytes, int ended, struct tape_fetch_answer *answer,
                 char body[64], struct tape_error *error)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    memcpy(copy, text, bytes);
    *error = (struct tape_error){0};
    int status = tape_fetch_parse(copy, bytes, ended, answer, error);
    if (status == 1) {
        assert_true(answer->body_bytes < 64);
        memcpy(body, answer->body, answer->body_bytes);
        body[answer->body_bytes] = '\0';
    }
    free(copy);
    return status;
}

struct good {
    const char *text, *body;
    int status_code;
    int64_t retry_after_s;
    int until_end; /* the body ends with the connection */
};

static const struct good goods[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200, 0, 0},
    {"HTTP/1.1 200\r\ncontent-length:\t5 \r\n\r\nhello", "hello", 200, 0, 0},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", 204, 0, 0},
    {"HTTP/1.1 200 OK\r\n\r\nhello", "hello", 200, 0, 1},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n",
     "hello", 200, 0, 0},
    {"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}", "{}", 429, 7, 0},
    {"HTTP/1.1 418 Tea\r\nRetry-After: Sun\r\nContent-Length: 2\r\n\r\n{}", "{}", 418, 0, 0},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        const struct good *good = &goods[i];
        struct tape_fetch_answer answer;
        struct tape_error error;
        char body[64];
        size_t bytes = strlen(good->text);
        for (size_t part = 0; part < bytes; part++)
            assert_int_equal(parse(good->text, part, 0, &answer, body, &error), 0);
        assert_int_equal(
            parse(good->text, bytes, good->until_end ? TAPE_FETCH_ENDED : 0, &answer, body, &error),
            1);
        assert_string_equal(body, good->body);
        assert_int_equal(answer.status_code, good->status_code);
        assert_int_equal(answer.retry_after_s, good->retry_after_s);
    }
}

/* A good answer that ends early is never taken for a whole one. */
static void test_ended_early(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
        struct tape_fetch_answer answer;
        struct tape_error error;
        char body[64];
        const char *head_end = strstr(goods[i].text, "\r\n\r\n") + 4;
        for (size_t part = 0; part < strlen(goods[i].text); part++) {
            int whole = goods[i].until_end && goods[i].text + part >= head_end;
            assert_int_equal(
                parse(goods[i].text, part, TAPE_FETCH_ENDED, &answer, body, &error) == 1, whole);
            assert_int_equal(parse(goods[i].text, part, TAPE_FETCH_CUT, &answer, body, &error),
                             TAPE_PROTOCOL);
        }
    }
}

static void test_bad(void **state)
{
    static const struct {
        const char *text, *words;
        int status;
    } cases[] = {
        {"HTTP/1.0 200 OK\r\n\r\n", "the answer is no HTTP/1.1: the first line", TAPE_PROTOCOL},
        {"SSH", "the answer is no HTTP/1.1: the first line", TAPE_PROTOCOL},
        {"HTTP/1.1 2x0 OK\r\n\r\n", "the answer is no HTTP/1.1: the status", TAPE_PROTOCOL},
        {"HTTP/1.1 100 Continue\r\n\r\n", "the answer is no HTTP/1.1: the status", TAPE_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
         "the answer is no HTTP/1.1: more than one length", TAPE_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         "the answer is no HTTP/1.1: more than one length", TAPE_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
         "the answer is no HTTP/1.1: the length is no number", TAPE_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\n", "the body is longer than 8 MiB",
         TAPE_LIMIT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
         "the answer is no HTTP/1.1: an unknown transfer coding", TAPE_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
         "the answer is no HTTP/1.1: a chunk's length is no number", TAPE_PROTOCOL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
         "the body is longer than 8 MiB", TAPE_LIMIT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello",
         "the answer is no HTTP/1.1: a chunk is longer than it says", TAPE_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tape_fetch_answer answer;
        struct tape_error error;
        char body[64];
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), 0, &answer, body, &error),
                         cases[i].status);
        assert_string_equal(error.text, cases[i].words);
    }
}

static void test_long_head(void **state)
{
    size_t bytes = TAPE_FETCH_HEAD_MAX_BYTES + 1;
    uint8_t *head = malloc(bytes);
    struct tape_fetch_answer answer;
    struct tape_error error = {0};
    (void)state;
    memset(head, 'x', bytes);
    memcpy(head, "HTTP/1.1 200 OK\r\nA: ", 20);
    assert_int_equal(tape_fetch_parse(head, bytes - 1, 0, &answer, &error), 0);
    assert_int_equal(tape_fetch_parse(head, bytes, 0, &answer, &error), TAPE_LIMIT);
    assert_string_equal(error.text, "the head is longer than 16 KiB");
    free(head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_ended_early),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_long_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
