#include "replay/output.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <openssl/evp.h>

#include "replay/pace.h"

#define RECV 1795334400123456789ll

static struct tape_message make(const char *payload, size_t bytes)
{
    return (struct tape_message){
        .ordinal = 7,
        .recv_ns = RECV,
        .connection = 3,
        .flags = TAPE_RECORD_FLAG_KERNEL_STAMP,
        .kind = TAPE_FEED_DATA,
        .record_kind = TAPE_RECORD_FRAME_IN,
        .opcode = 1,
        .payload = {payload, bytes},
        .stream = {"", 0},
    };
}

static struct tape_message make_text(const char *payload)
{
    return make(payload, strlen(payload));
}

static struct tape_output *open_to(int fd, int format)
{
    struct tape_output_options options = {.fd = fd, .format = format, .digest = 1};
    return tape_output_open(&options, NULL);
}

/* What a file descriptor holds; freed by the caller. */
static char *slurp(int fd, size_t *bytes)
{
    *bytes = (size_t)lseek(fd, 0, SEEK_END);
    char *data = calloc(1, *bytes + 1);
    assert_int_equal(pread(fd, data, *bytes, 0), (ssize_t)*bytes);
    return data;
}

static void sha256(const char *data, size_t bytes, char text[65])
{
    unsigned char sum[32];
    assert_true(EVP_Digest(data, bytes, sum, NULL, EVP_sha256(), NULL));
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
}

/* Emits one message alone and returns the bytes as a string. */
static char *emitted(const struct tape_output_options *base, const struct tape_message *message)
{
    struct tape_output_options options = *base;
    size_t bytes;
    options.fd = memfd_create("output", 0);
    struct tape_output *output = tape_output_open(&options, NULL);
    assert_int_equal(tape_output_put(output, message, TAPE_OUTPUT_NO_DUE, NULL), 0);
    assert_int_equal(tape_output_flush(output, NULL), 0);
    char *data = slurp(options.fd, &bytes);
    tape_output_free(output);
    close(options.fd);
    return data;
}

static void expect_emitted(const struct tape_output_options *options,
                           const struct tape_message *message, const char *expected)
{
    char *found = emitted(options, message);
    assert_string_equal(found, expected);
    free(found);
}

static void raw_and_hft_are_lines(void **state)
{
    struct tape_message message = make_text("{\"e\":\"trade\"}");
    struct tape_output_options raw = {.format = TAPE_OUTPUT_RAW}, hft = {.format = TAPE_OUTPUT_HFT};
    (void)state;
    expect_emitted(&raw, &message, "{\"e\":\"trade\"}\n");
    expect_emitted(&hft, &message, "1795334400123456789 {\"e\":\"trade\"}\n");
    message = make_text("");
    message.recv_ns = -5;
    expect_emitted(&raw, &message, "\n");
    expect_emitted(&hft, &message, "-5 \n");
    message.recv_ns = INT64_MIN;
    expect_emitted(&hft, &message, "-9223372036854775808 \n");
}

static void ndjson_is_exact(void **state)
{
    struct tape_output_options ndjson = {.format = TAPE_OUTPUT_NDJSON};
    struct tape_message message = make_text("{\"e\":\"a\\b\"}\n\x01\x7f\xc3\xa9");
    (void)state;
    message.stream = (struct tape_slice){"btcusdt@trade", 13};
    expect_emitted(&ndjson, &message,
                   "{\"recv\":\"2026-11-22T08:00:00.123456789Z\",\"recv_ns\":"
                   "\"1795334400123456789\",\"ordinal\":\"7\",\"connection\":3,\"kind\":\"data\","
                   "\"stream\":\"btcusdt@trade\",\"flags\":[\"kernel_stamp\"],\"payload\":"
                   "\"{\\\"e\\\":\\\"a\\\\b\\\"}\\n\\u0001\\u007f\xc3\xa9\"}\n");
    message = make("\x00\xff\xfe", 3);
    message.opcode = 2;
    message.flags = 0;
    message.ordinal = UINT64_MAX;
    message.recv_ns = -1;
    expect_emitted(&ndjson, &message,
                   "{\"recv\":\"1969-12-31T23:59:59.999999999Z\",\"recv_ns\":\"-1\",\"ordinal\":"
                   "\"18446744073709551615\",\"connection\":3,\"kind\":\"data\",\"binary\":true,"
                   "\"flags\":[],\"payload_base64\":\"AP/+\"}\n");
    message = make_text("\x03\xe8"
                        "bye");
    message.kind = TAPE_FEED_CLOSE;
    message.opcode = 8;
    message.close_code = 1000;
    message.outgoing = 1;
    message.flags = TAPE_RECORD_FLAG_IMPORTED | TAPE_RECORD_FLAG_AFTER_CLOSE;
    expect_emitted(&ndjson, &message,
                   "{\"recv\":\"2026-11-22T08:00:00.123456789Z\",\"recv_ns\":"
                   "\"1795334400123456789\",\"ordinal\":\"7\",\"connection\":3,\"kind\":\"close\","
                   "\"close_code\":1000,\"outgoing\":true,\"flags\":[\"imported\",\"after_close\"],"
                   "\"payload_base64\":\"A+hieWU=\"}\n");
    message = make_text("{}");
    message.kind = TAPE_FEED_EVENT;
    message.record_kind = TAPE_RECORD_NOTE;
    message.opcode = 0;
    message.flags = 0;
    expect_emitted(&ndjson, &message,
                   "{\"recv\":\"2026-11-22T08:00:00.123456789Z\",\"recv_ns\":"
                   "\"1795334400123456789\",\"ordinal\":\"7\",\"connection\":3,\"kind\":\"event\","
                   "\"event\":\"note\",\"flags\":[],\"payload\":\"{}\"}\n");
}

/* Every byte, and every length of base64's tail, through cJSON back to what it was. */
static void ndjson_gives_any_payload_back(void **state)
{
    struct tape_output_options ndjson = {.format = TAPE_OUTPUT_NDJSON};
    (void)state;
    for (int byte = 1; byte < 128; byte++) {
        char payload[4] = {'a', (char)byte, 'b', 0};
        struct tape_message message = make_text(payload);
        char *line = emitted(&ndjson, &message);
        cJSON *object = cJSON_Parse(line);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(object, "payload")), payload);
        cJSON_Delete(object);
        free(line);
    }
    for (size_t bytes = 1; bytes < 40; bytes++) {
        unsigned char payload[40], back[64];
        for (size_t i = 0; i < bytes; i++)
            payload[i] = (unsigned char)(255 - i * 5);
        struct tape_message message = make((char *)payload, bytes);
        char *line = emitted(&ndjson, &message);
        cJSON *object = cJSON_Parse(line);
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, "payload_base64"));
        assert_non_null(text);
        int decoded = EVP_DecodeBlock(back, (const unsigned char *)text, (int)strlen(text));
        assert_true(decoded >= (int)bytes);
        assert_memory_equal(back, payload, bytes);
        cJSON_Delete(object);
        free(line);
    }
}

static void a_terminal_is_safe(void **state)
{
    struct tape_output_options raw = {.format = TAPE_OUTPUT_RAW, .printable = 1};
    struct tape_message message = make_text("a\x1b[31mb\r\n\xc3\xa9\xc2\x9b\xff\xe2\x80\xae");
    (void)state;
    expect_emitted(&raw, &message, "a\\x1b[31mb\\x0d\\x0a\xc3\xa9\\xc2\\x9b\\xff\\xe2\\x80\\xae\n");
}

static void formats_choose_messages(void **state)
{
    static const struct {
        int kind, flags, raw, ndjson, all, hft;
    } table[] = {
        {TAPE_FEED_DATA, 0, 1, 1, 1, 1},    {TAPE_FEED_ACK, 0, 1, 1, 1, 0},
        {TAPE_FEED_REFUSAL, 0, 1, 1, 1, 0}, {TAPE_FEED_ACK, TAPE_RECORD_FLAG_IMPORTED, 1, 1, 1, 1},
        {TAPE_FEED_SENT, 0, 0, 0, 1, 0},    {TAPE_FEED_PING, 0, 0, 0, 1, 0},
        {TAPE_FEED_PONG, 0, 0, 0, 1, 0},    {TAPE_FEED_CLOSE, 0, 0, 0, 1, 0},
        {TAPE_FEED_BAD, 0, 0, 0, 1, 0},     {TAPE_FEED_EVENT, 0, 0, 0, 1, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct tape_message message = make_text("x");
        message.kind = (uint8_t)table[i].kind;
        message.flags = (uint16_t)table[i].flags;
        const struct {
            int format, all, wanted;
        } cases[] = {{TAPE_OUTPUT_RAW, 0, table[i].raw},
                     {TAPE_OUTPUT_NDJSON, 0, table[i].ndjson},
                     {TAPE_OUTPUT_NDJSON, 1, table[i].all},
                     {TAPE_OUTPUT_HFT, 0, table[i].hft}};
        for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
            struct tape_output_options options = {
                .fd = -1, .format = cases[j].format, .all = cases[j].all};
            struct tape_output *output = tape_output_open(&options, NULL);
            assert_int_equal(tape_output_wants(output, &message), cases[j].wanted);
            tape_output_free(output);
        }
    }
}

/* Payloads of many sizes, some larger than both buffers: bytes, counts and digest are those of a
 * plain concatenation. */
static void all_bytes_come_out_once(void **state)
{
    int fd = memfd_create("output", 0);
    struct tape_output *output = open_to(fd, TAPE_OUTPUT_RAW);
    struct tape_output_totals totals;
    char digest[TAPE_DIGEST_TEXT_BYTES], expected_digest[65];
    size_t room = 4 << 20, used = 0, bytes;
    char *expected = malloc(room), *payload = malloc(1 << 20);
    (void)state;
    for (int i = 0; i < 700; i++) {
        size_t length = i == 300      ? 1 << 20
                        : i == 301    ? 0
                        : i == 302    ? TAPE_OUTPUT_BUFFER_BYTES
                        : i % 50 == 0 ? 60000u + (unsigned)i
                                      : (unsigned)(i * 7) % 900;
        for (size_t at = 0; at < length; at++)
            payload[at] = (char)(at * 31 + (size_t)i);
        struct tape_message message = make(payload, length);
        message.ordinal = 100 + (uint64_t)i;
        message.recv_ns = RECV + i;
        memcpy(expected + used, payload, length);
        expected[used + length] = '\n';
        used += length + 1;
        assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, NULL), 0);
    }
    assert_int_equal(tape_output_flush(output, NULL), 0);
    tape_output_read_totals(output, &totals, digest);
    char *found = slurp(fd, &bytes);
    assert_int_equal(bytes, used);
    assert_memory_equal(found, expected, used);
    sha256(expected, used, expected_digest);
    assert_string_equal(digest, expected_digest);
    assert_int_equal(totals.messages, 700);
    assert_int_equal(totals.bytes, used);
    assert_int_equal(totals.first_ordinal, 100);
    assert_int_equal(totals.last_ordinal, 799);
    assert_true(totals.first_recv_ns == RECV && totals.last_recv_ns == RECV + 699);
    tape_output_free(output);
    free(found);
    free(payload);
    free(expected);
    close(fd);
}

/* Payloads that leave exactly no room, one byte, two bytes … for their line end. */
static void the_buffer_is_filled_exactly(void **state)
{
    char *payload = calloc(1, TAPE_OUTPUT_BUFFER_BYTES + 8);
    size_t bytes;
    (void)state;
    for (int spare = -3; spare <= 3; spare++) {
        int fd = memfd_create("output", 0);
        struct tape_output *output = open_to(fd, TAPE_OUTPUT_RAW);
        struct tape_message small = make_text("0123456789");
        size_t length = (size_t)(TAPE_OUTPUT_BUFFER_BYTES - 11 - spare);
        struct tape_message large = make(payload, length);
        assert_int_equal(tape_output_put(output, &small, TAPE_OUTPUT_NO_DUE, NULL), 0);
        assert_int_equal(tape_output_put(output, &large, TAPE_OUTPUT_NO_DUE, NULL), 0);
        assert_int_equal(tape_output_put(output, &small, TAPE_OUTPUT_NO_DUE, NULL), 0);
        assert_int_equal(tape_output_flush(output, NULL), 0);
        char *found = slurp(fd, &bytes);
        assert_int_equal(bytes, length + 1 + 22);
        assert_memory_equal(found + bytes - 12, "\n0123456789\n", 12);
        tape_output_free(output);
        free(found);
        close(fd);
    }
    free(payload);
}

static void every_second_has_its_text(void **state)
{
    int fd = memfd_create("output", 0);
    struct tape_output *output = open_to(fd, TAPE_OUTPUT_NDJSON);
    size_t bytes;
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct tape_message message = make_text("");
        message.recv_ns = RECV + i / 2 * 1000000000ll + i % 2;
        assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, NULL), 0);
    }
    assert_int_equal(tape_output_flush(output, NULL), 0);
    char *found = slurp(fd, &bytes);
    assert_non_null(strstr(found, "2026-11-22T08:00:00.123456789Z"));
    assert_non_null(strstr(found, "2026-11-22T08:00:00.123456790Z"));
    assert_non_null(strstr(found, "2026-11-22T08:00:01.123456789Z"));
    assert_non_null(strstr(found, "2026-11-22T08:00:01.123456790Z"));
    tape_output_free(output);
    free(found);
    close(fd);
}

/* So many that the digest's own thread runs, and the marks fill up. */
static void many_small_messages(void **state)
{
    int fd = memfd_create("output", 0);
    struct tape_output *output = open_to(fd, TAPE_OUTPUT_HFT);
    struct tape_output_totals totals;
    char digest[TAPE_DIGEST_TEXT_BYTES], expected_digest[65];
    size_t bytes;
    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct tape_message message = make_text(i % 3 ? "{}" : "");
        message.recv_ns = RECV + i;
        assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, NULL), 0);
    }
    assert_int_equal(tape_output_flush(output, NULL), 0);
    tape_output_read_totals(output, &totals, digest);
    char *found = slurp(fd, &bytes);
    sha256(found, bytes, expected_digest);
    assert_string_equal(digest, expected_digest);
    assert_int_equal(totals.messages, 100000);
    tape_output_free(output);
    free(found);
    close(fd);
}

/* A consumer that reads a little and goes away: the totals are of what was handed over. */
static void a_consumer_that_leaves(void **state)
{
    int ends[2];
    struct tape_output_totals totals;
    struct tape_error error = {0};
    char digest[TAPE_DIGEST_TEXT_BYTES];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    struct tape_output *output = open_to(ends[1], TAPE_OUTPUT_RAW);
    struct tape_message message = make_text("0123456789");
    assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, &error), 0);
    assert_int_equal(tape_output_flush(output, &error), 0);
    close(ends[0]);
    assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, &error), 0);
    assert_int_equal(tape_output_flush(output, &error), TAPE_CLOSED);
    assert_string_equal(error.text, "standard output: nobody reads any more");
    tape_output_read_totals(output, &totals, digest);
    assert_int_equal(totals.messages, 1);
    assert_int_equal(totals.bytes, 11);
    assert_string_equal(digest, "c67c199595622dfbdc9e415c4a0ad6166eb49cbf74c6aac7bb3e958604d5ecb8");
    tape_output_free(output);
    close(ends[1]);
}

/* A pipe that takes a part of a buffer: only whole messages count. */
static void a_stop_in_the_middle_of_a_write(void **state)
{
    int ends[2];
    volatile sig_atomic_t stop = 1;
    struct tape_output_totals totals;
    struct tape_error error = {0};
    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    struct tape_output_options options = {.fd = ends[1], .stop = &stop};
    struct tape_output *output = tape_output_open(&options, NULL);
    char payload[3000];
    memset(payload, 'x', sizeof payload);
    struct tape_message message = make(payload, sizeof payload);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, &error), 0);
    close(ends[0]); /* the wait for room ends at once, and the next write finds nobody */
    assert_int_equal(tape_output_flush(output, &error), TAPE_CLOSED);
    tape_output_read_totals(output, &totals, NULL);
    assert_int_equal(totals.messages, totals.bytes / 3001);
    assert_true(totals.messages < 3);
    tape_output_free(output);
    close(ends[1]);
}

/* 1 when the thread sleeps in the kernel, as /proc tells. */
static int is_asleep(pid_t thread)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    FILE *file = fopen(path, "r");
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = '\0';
    return strrchr(text, ')')[2] == 'S';
}

struct stopper {
    pthread_t writer;
    pid_t writer_id;
    volatile sig_atomic_t stop, over;
};

static void do_nothing(int number)
{
    (void)number;
}

/* Signals come while the writer waits for a reader. */
static void *stop_the_writer(void *context)
{
    struct stopper *stopper = context;
    for (; !stopper->over; usleep(1000))
        if (is_asleep(stopper->writer_id)) {
            stopper->stop = 1;
            pthread_kill(stopper->writer, SIGUSR1);
        }
    return NULL;
}

/* The pipe took a part before: write(2) tells of that, not of the signal. */
static void a_stop_while_nobody_reads(void **state)
{
    int ends[2];
    pthread_t thread;
    struct sigaction action = {.sa_handler = do_nothing};
    struct stopper stopper = {.writer = pthread_self(), .writer_id = gettid()};
    struct tape_output_totals totals;
    struct tape_error error = {0};
    (void)state;
    sigaction(SIGUSR1, &action, NULL);
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    struct tape_output_options options = {.fd = ends[1], .stop = &stopper.stop};
    struct tape_output *output = tape_output_open(&options, NULL);
    char payload[3000];
    memset(payload, 'x', sizeof payload);
    struct tape_message message = make(payload, sizeof payload);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, &error), 0);
    assert_int_equal(pthread_create(&thread, NULL, stop_the_writer, &stopper), 0);
    alarm(60); /* one that goes on writing never returns */
    assert_int_equal(tape_output_flush(output, &error), TAPE_CLOSED);
    alarm(0);
    assert_string_equal(error.text, "standard output: interrupted");
    stopper.over = 1;
    pthread_join(thread, NULL);
    tape_output_read_totals(output, &totals, NULL);
    assert_int_equal(totals.bytes, 4096);
    assert_int_equal(totals.messages, 1);
    tape_output_free(output);
    close(ends[0]);
    close(ends[1]);
}

struct slow_reader {
    int fd;
    pid_t writer;
};

/* Reads nothing until the writer has been asleep in its write for a while. */
static void *read_slowly(void *context)
{
    struct slow_reader *reader = context;
    char piece[4096];
    for (int asleep = 0; asleep < 10; usleep(1000))
        asleep = is_asleep(reader->writer) ? asleep + 1 : 0;
    while (read(reader->fd, piece, sizeof piece) > 0)
        ;
    return NULL;
}

/* A full pipe is the consumer's doing and is counted as such; lateness is counted per message. */
static void a_slow_consumer_is_told(void **state)
{
    int ends[2];
    pthread_t reader;
    struct tape_output_totals totals;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    struct tape_output *output = open_to(ends[1], TAPE_OUTPUT_RAW);
    char payload[4095];
    memset(payload, 'x', sizeof payload);
    struct tape_message message = make(payload, sizeof payload);
    int64_t due = tape_pace_now() - 5000000;
    assert_int_equal(tape_output_put(output, &message, due, NULL), 0);
    assert_int_equal(tape_output_flush(output, NULL), 0);
    assert_int_equal(tape_output_take_blocked(output), 0);
    struct slow_reader slow = {.fd = ends[0], .writer = gettid()};
    pthread_create(&reader, NULL, read_slowly, &slow);
    assert_int_equal(tape_output_put(output, &message, due, NULL), 0);
    assert_int_equal(tape_output_flush(output, NULL), 0);
    assert_true(tape_output_take_blocked(output) > 5000000);
    assert_int_equal(tape_output_take_blocked(output), 0);
    tape_output_read_totals(output, &totals, NULL);
    assert_int_equal(totals.lateness.count, 2);
    assert_true(totals.lateness.max_ns >= 5000000);
    assert_int_equal(totals.backlog_max, 2);
    tape_output_free(output);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
}

static void a_full_disk_is_an_error(void **state)
{
    struct tape_error error = {0};
    int fd = open("/dev/full", O_WRONLY);
    struct tape_output *output = open_to(fd, TAPE_OUTPUT_RAW);
    struct tape_message message = make_text("x");
    (void)state;
    assert_int_equal(tape_output_put(output, &message, TAPE_OUTPUT_NO_DUE, &error), 0);
    assert_int_equal(tape_output_flush(output, &error), TAPE_FULL);
    assert_string_equal(error.text, "standard output: No space left on device");
    tape_output_free(output);
    close(fd);
}

static void formats_have_words(void **state)
{
    struct tape_error error;
    (void)state;
    assert_int_equal(tape_output_parse_format("raw", NULL), TAPE_OUTPUT_RAW);
    assert_int_equal(tape_output_parse_format("ndjson", NULL), TAPE_OUTPUT_NDJSON);
    assert_int_equal(tape_output_parse_format("hft", NULL), TAPE_OUTPUT_HFT);
    assert_int_equal(tape_output_parse_format("csv", &error), TAPE_USAGE);
    assert_string_equal(error.text, "\"csv\" is not a format; there are: raw ndjson hft");
    assert_string_equal(tape_output_format_word(TAPE_OUTPUT_HFT), "hft");
}

static void lateness_has_quantiles(void **state)
{
    struct tape_lateness *lateness = calloc(1, sizeof *lateness);
    (void)state;
    assert_int_equal(tape_lateness_quantile(lateness, 0.5), 0);
    for (int64_t i = 1; i <= 100000; i++)
        tape_lateness_add(lateness, i);
    for (int percent = 1; percent < 100; percent++) {
        int64_t found = tape_lateness_quantile(lateness, percent / 100.0);
        assert_in_range(found, percent * 1000, percent * 1000 * 107 / 100 + 1);
    }
    assert_int_equal(tape_lateness_quantile(lateness, 1), 100000);
    tape_lateness_add(lateness, INT64_MAX);
    tape_lateness_add(lateness, -3);
    assert_true(tape_lateness_quantile(lateness, 1) == INT64_MAX);
    assert_int_equal(tape_lateness_quantile(lateness, 0), 0);
    free(lateness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_and_hft_are_lines),
        cmocka_unit_test(ndjson_is_exact),
        cmocka_unit_test(ndjson_gives_any_payload_back),
        cmocka_unit_test(a_terminal_is_safe),
        cmocka_unit_test(formats_choose_messages),
        cmocka_unit_test(all_bytes_come_out_once),
        cmocka_unit_test(the_buffer_is_filled_exactly),
        cmocka_unit_test(every_second_has_its_text),
        cmocka_unit_test(many_small_messages),
        cmocka_unit_test(a_consumer_that_leaves),
        cmocka_unit_test(a_stop_in_the_middle_of_a_write),
        cmocka_unit_test(a_stop_while_nobody_reads),
        cmocka_unit_test(a_slow_consumer_is_told),
        cmocka_unit_test(a_full_disk_is_an_error),
        cmocka_unit_test(formats_have_words),
        cmocka_unit_test(lateness_has_quantiles),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
