/*
 * The input says what to write and into how much room: what is written is one object that reads
 * back as what was put in, but for what did not fit. The input itself is read as a body, too.
 */
#include "format/event.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int condition)
{
    if (!condition)
        abort();
}

/* The rest of the input. */
struct input {
    const uint8_t *at, *end;
};

static unsigned take(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

static int64_t take_number(struct input *input)
{
    uint64_t value = 0;
    for (unsigned bytes = take(input) % 9; bytes > 0; bytes--)
        value = value << 8 | take(input);
    return (int64_t)value;
}

static size_t take_text(struct input *input, char text[64])
{
    size_t bytes = take(input) % 64, there = (size_t)(input->end - input->at);
    bytes = bytes < there ? bytes : there;
    memcpy(text, input->at, bytes);
    input->at += bytes;
    return bytes;
}

/* What was put under one key. */
struct put {
    int form;
    int64_t number;
    char text[64];
    size_t bytes;
    char list[3][64];
};

enum { FORM_TEXT, FORM_NUMBER, FORM_WIDE, FORM_BOOL, FORM_TEXTS, FORM_NUMBERS, FORMS, PUTS = 12 };

static void put_one(struct tape_event_writer *writer, struct input *input, const char *key,
                    struct put *put)
{
    const char *texts[3] = {put->list[0], put->list[1], put->list[2]};
    memset(put, 0, sizeof *put);
    put->form = (int)(take(input) % FORMS);
    put->number = take_number(input);
    put->bytes = take_text(input, put->text);
    uint64_t numbers[2] = {(uint64_t)put->number, 7};
    for (size_t i = 0; i < put->bytes; i++)
        put->list[i % 3][i / 3] = (char)(put->text[i] > 0 ? put->text[i] : 'x');
    switch (put->form) {
    case FORM_TEXT:
        tape_event_put_bytes(writer, key, put->text, put->bytes);
        break;
    case FORM_NUMBER:
        tape_event_put_number(writer, key, put->number);
        break;
    case FORM_WIDE:
        tape_event_put_wide(writer, key, put->number);
        break;
    case FORM_BOOL:
        tape_event_put_bool(writer, key, put->number != 0);
        break;
    case FORM_TEXTS:
        tape_event_put_texts(writer, key, texts, 3);
        break;
    default:
        tape_event_put_numbers(writer, key, numbers, 2);
    }
}

static int is_plain(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text[i] <= 0)
            return 0;
    return 1;
}

static void check_one(const struct tape_event *event, const char *key, const struct put *put)
{
    const char *text = tape_event_text(event, key);
    const int64_t safe = INT64_C(1) << 53;
    switch (put->form) {
    case FORM_TEXT:
        check(text != NULL);
        if (is_plain(put->text, put->bytes))
            check(strlen(text) == put->bytes && !memcmp(text, put->text, put->bytes));
        break;
    case FORM_NUMBER:
        check(tape_event_number(event, key, -99) ==
              (put->number < safe && put->number > -safe ? put->number : -99));
        break;
    case FORM_WIDE:
        check(tape_event_number(event, key, ~put->number) == put->number);
        break;
    case FORM_BOOL:
        check(tape_event_number(event, key, 7) == (put->number != 0));
        break;
    case FORM_TEXTS:
        for (int i = 0; i < 3; i++)
            check(strcmp(tape_event_text_at(event, key, i), put->list[i]) == 0);
        check(!tape_event_text_at(event, key, 3));
        break;
    default:
        check(tape_event_number_at(event, key, 1, -1) == 7);
        check(tape_event_number_at(event, key, 2, -1) == -1);
    }
}

static void check_writing(struct input *input)
{
    struct put puts[PUTS];
    struct tape_event_writer writer;
    size_t room = 64 + take(input) * 8;
    int count = (int)(take(input) % (PUTS + 1));
    char *to = malloc(room);
    tape_event_begin(&writer, to, room);
    for (int i = 0; i < count; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        put_one(&writer, input, key, &puts[i]);
        check(writer.used <= writer.room);
    }
    size_t bytes = tape_event_end(&writer);
    check(bytes < room && to[bytes] == 0);
    struct tape_event *event = tape_event_read(to, bytes);
    check(event != NULL);
    for (int i = 0; i < count && !writer.full; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        check_one(event, key, &puts[i]);
    }
    tape_event_free(event);
    free(to);
}

static void check_reading(const uint8_t *data, size_t size)
{
    struct tape_event *event = tape_event_read((const char *)data, size);
    if (!event)
        return;
    check(size <= TAPE_EVENT_MAX_BYTES);
    tape_event_text(event, "a");
    tape_event_number(event, "a", 0);
    for (int i = 0; tape_event_text_at(event, "a", i); i++)
        check(i < TAPE_EVENT_MAX_BYTES);
    tape_event_number_at(event, "a", 1, 0);
    tape_event_free(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    check_reading(data, size);
    check_writing(&input);
    return 0;
}
