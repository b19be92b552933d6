/*
 * Any request, however much of its head has arrived, gets the verdict of the whole: nothing before
 * the byte that decides, the same from there on; every slice lies within the head, and a second
 * reading of what stands behind it begins where the body ends.
 */
#include "replay/upgrade.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/guard.h"

static void check(int condition)
{
    if (!condition)
        abort();
}

static void check_slice(const char *data, int head_bytes, struct tape_slice slice)
{
    if (slice.bytes == 0 || slice.bytes == 1) /* "" and "/" may be our own */
        return;
    check(slice.data >= data && slice.data + slice.bytes <= data + head_bytes);
}

static void check_head(const char *data, int bytes, const struct tape_http_head *head)
{
    char path[TAPE_HTTP_TARGET_MAX_BYTES + 1], accept[TAPE_HANDSHAKE_ACCEPT_CHARS + 1];
    check(memcmp(data + bytes - 4, "\r\n\r\n", 4) == 0 || bytes < 4);
    check_slice(data, bytes, head->method);
    check_slice(data, bytes, head->path);
    check_slice(data, bytes, head->query);
    check_slice(data, bytes, head->host);
    check(head->method.bytes > 0 && head->method.bytes <= TAPE_HTTP_METHOD_MAX_BYTES);
    check(head->body_bytes <= TAPE_HTTP_BODY_MAX_BYTES);
    check(head->fields_count <= TAPE_HTTP_FIELDS_MAX);
    for (int i = 0; i < head->fields_count; i++) {
        check_slice(data, bytes, head->fields[i].name);
        check_slice(data, bytes, head->fields[i].value);
        check(!tape_http_is(head->fields[i].name, "Transfer-Encoding"));
    }
    int decoded = tape_http_decode_path(head->path, path, sizeof path);
    check(decoded == -TAPE_HTTP_FAULT_PATH || (decoded > 0 && strlen(path) == (size_t)decoded));
    int upgrade = tape_upgrade_check(head);
    if (upgrade > 0)
        tape_upgrade_accept(head, accept);
    else
        check(tape_upgrade_fault_status(-upgrade) >= 101);
}

static int parse(const struct guard *guard, const uint8_t *data, size_t bytes)
{
    struct tape_http_head head;
    memset(&head, 0xa5, sizeof head);
    const char *text = (char *)guard_put(guard, data, bytes);
    int got = tape_http_parse(text, bytes, &head);
    if (got > 0) {
        check((size_t)got <= bytes && got <= TAPE_HTTP_HEAD_MAX_BYTES);
        check_head(text, got, &head);
    } else if (got < 0) {
        check(tape_http_fault_status(-got) >= 400);
    } else {
        check(bytes < TAPE_HTTP_HEAD_MAX_BYTES);
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
    int whole = parse(&guard, data, bytes);
    size_t step = bytes < 100 ? 1 : 1 + bytes / 32, decided = 0;
    for (size_t part = 0; part < bytes; part += step) {
        int got = parse(&guard, data, part);
        check(got == 0 || got == whole);
        check(!decided || got == whole);
        decided |= got != 0;
    }
    return 0;
}
