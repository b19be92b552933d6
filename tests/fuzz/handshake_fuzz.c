/*
 * Any answer, however much of it has arrived, gives the verdict of the whole: nothing before the
 * byte that decides, the same status from there on, and printable words.
 */
#include "format/handshake.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/guard.h"

#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void check(int condition)
{
    if (!condition)
        abort();
}

static void check_printable(const char *text, size_t room)
{
    size_t bytes = strnlen(text, room);
    check(bytes < room);
    for (size_t i = 0; i < bytes; i++)
        check(text[i] >= ' ' && text[i] <= '~');
}

static int answer(const struct guard *guard, const uint8_t *data, size_t bytes)
{
    struct tape_handshake_response response;
    struct tape_error error = {0};
    memset(&response, 0xa5, sizeof response);
    int got =
        tape_handshake_response(guard_put(guard, data, bytes), bytes, ACCEPT, &response, &error);
    check_printable(response.location, sizeof response.location);
    check_printable(response.reason, sizeof response.reason);
    check_printable(response.retry_after_date, sizeof response.retry_after_date);
    check_printable(error.text, sizeof error.text);
    check(response.status_code >= 0 && response.status_code <= 999);
    check(response.retry_after_s >= -1 && response.retry_after_s <= (int64_t)1 << 31);
    if (got > 0) {
        check((size_t)got <= bytes && got <= TAPE_HANDSHAKE_HEAD_MAX_BYTES);
        check(memcmp(data + got - 4, "\r\n\r\n", 4) == 0);
        check(response.status_code == 101 && error.status == 0);
    } else if (got < 0) {
        check(got == TAPE_PROTOCOL || got == TAPE_LIMIT);
        check(error.status == got && error.text[0] != '\0');
    } else {
        check(bytes < TAPE_HANDSHAKE_HEAD_MAX_BYTES);
    }
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct guard guard;
    if (!guard.base)
        guard = guard_open(64 << 10);
    if (bytes > 40 << 10)
        return 0;
    int whole = answer(&guard, data, bytes);
    size_t step = bytes < 100 ? 1 : 1 + bytes / 32, decided = 0;
    for (size_t part = 0; part < bytes; part += step) {
        int got = answer(&guard, data, part);
        check(got == 0 || got == whole);
        check(!decided || got == whole);
        decided |= got != 0;
    }
    return 0;
}
