#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* strerrordesc_np: the words of errno in English whatever the locale says */
#endif
#include "format/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* A text that was cut must not end in half a code point: it is printed and stored as UTF-8. */
static void trim_half_code_point(char *text, size_t bytes)
{
    size_t back = 0, want;
    while (back < 3 && back < bytes && ((unsigned char)text[bytes - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == bytes)
        return;
    unsigned char lead = (unsigned char)text[bytes - 1 - back];
    want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (back < want)
        text[bytes - 1 - back] = '\0';
}

/* Always through a buffer of its own, so that the arguments may be parts of the old text. */
static size_t format_text(char text[TAPE_ERROR_TEXT_BYTES], const char *format, va_list arguments)
{
    int bytes = vsnprintf(text, TAPE_ERROR_TEXT_BYTES, format, arguments);
    if (bytes < 0) {
        text[0] = '\0';
        return 0;
    }
    if (bytes < TAPE_ERROR_TEXT_BYTES)
        return (size_t)bytes;
    trim_half_code_point(text, TAPE_ERROR_TEXT_BYTES - 1);
    return strlen(text);
}

/* Appends to text[0..used), cutting what does not fit; returns the new length. */
static size_t append(char text[TAPE_ERROR_TEXT_BYTES], size_t used, const char *more)
{
    size_t room = TAPE_ERROR_TEXT_BYTES - 1 - used, bytes = strlen(more);
    int cut = bytes > room;
    if (cut)
        bytes = room;
    memcpy(text + used, more, bytes);
    text[used + bytes] = '\0';
    if (cut)
        trim_half_code_point(text, used + bytes);
    return strlen(text);
}

int tape_error_set(struct tape_error *error, int status, const char *format, ...)
{
    char text[TAPE_ERROR_TEXT_BYTES];
    va_list arguments;
    if (!error)
        return status;
    va_start(arguments, format);
    size_t bytes = format_text(text, format, arguments);
    va_end(arguments);
    memcpy(error->text, text, bytes + 1);
    error->status = status;
    return status;
}

int tape_error_errno(struct tape_error *error, int errno_value, const char *format, ...)
{
    int status = errno_value == ENOSPC || errno_value == EDQUOT ? TAPE_FULL : TAPE_FAILED;
    char text[TAPE_ERROR_TEXT_BYTES], number[32];
    va_list arguments;
    if (!error)
        return status;
    va_start(arguments, format);
    size_t bytes = format_text(text, format, arguments);
    va_end(arguments);
    const char *words = strerrordesc_np(errno_value);
    if (!words) {
        snprintf(number, sizeof number, "error %d", errno_value);
        words = number;
    }
    bytes = append(text, bytes, ": ");
    bytes = append(text, bytes, words);
    memcpy(error->text, text, bytes + 1);
    error->status = status;
    return status;
}

int tape_error_wrap(struct tape_error *error, const char *format, ...)
{
    char text[TAPE_ERROR_TEXT_BYTES];
    va_list arguments;
    if (!error)
        return TAPE_FAILED;
    va_start(arguments, format);
    size_t bytes = format_text(text, format, arguments);
    va_end(arguments);
    bytes = append(text, bytes, ": ");
    bytes = append(text, bytes, error->text);
    memcpy(error->text, text, bytes + 1);
    return error->status;
}

int tape_error_exit_code(int status)
{
    switch (status) {
#define EXIT_CODE(name, number, exit_code, meaning)                                                \
    case number:                                                                                   \
        return exit_code;
        TAPE_STATUS_TABLE(EXIT_CODE)
#undef EXIT_CODE
    }
    return status > 0 ? 0 : 1;
}
