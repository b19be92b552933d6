/*
 * The codec on a pipe, for outside codecs to agree with:
 *   ws_cut cut client|server LIMIT   hex streams, one a line -> one JSON object a line
 *   ws_cut build                     lines "opcode fin mask|- payload", hex -> frames, hex
 *   ws_cut request HOST TARGET KEY   -> the request
 *   ws_cut answer ACCEPT             an answer -> one JSON object
 */
#include "format/handshake.h"
#include "format/ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; returns the bytes. */
static size_t from_hex(char *text)
{
    size_t bytes = 0;
    for (; digit(text[2 * bytes]) >= 0; bytes++)
        text[bytes] = (char)(digit(text[2 * bytes]) << 4 | digit(text[2 * bytes + 1]));
    return bytes;
}

static void put_hex(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        printf("%02x", data[i]);
}

static const char *fault_name(int fault)
{
#define NAME(name, code, words) #name,
    static const char *const names[] = {TAPE_WS_FAULT_TABLE(NAME)};
#undef NAME
    return names[fault];
}

/* Arrives in parts of 1, 2, 3 … bytes, so that each stream is split in many places. */
static void cut_stream(const char *side, uint64_t limit, uint8_t *data, size_t bytes)
{
    struct tape_ws_receiver receiver = {.message_limit = limit,
                                        .expect_masked = strcmp(side, "server") == 0};
    struct tape_ws_frame frame;
    size_t start = 0, arrived = 0, part = 1;
    int64_t got;
    const char *comma = "";
    printf("{\"frames\":[");
    while (start < bytes) {
        int after_close = receiver.closed;
        got = tape_ws_receive(&receiver, data + start, arrived - start, &frame);
        if (got < 0 || (got == 0 && arrived == bytes))
            break;
        if (got == 0) {
            arrived = bytes - arrived < part ? bytes : arrived + part;
            part++;
            continue;
        }
        uint8_t *payload = data + start + frame.header_bytes;
        if (frame.masked)
            tape_ws_mask(payload, payload, frame.payload_bytes, frame.mask, 0);
        start += (size_t)got;
        if (after_close)
            continue;
        printf("%s[%d,%d,\"", comma, frame.opcode, frame.fin);
        put_hex(payload, frame.payload_bytes);
        printf("\"]");
        comma = ",";
    }
    int fault = start < bytes && got < 0 ? (int)-got : 0;
    printf("],\"fault\":\"%s\",\"code\":%d,\"closed\":%d,\"rest\":%zu}\n", fault_name(fault),
           tape_ws_fault_code(fault), receiver.closed != 0, bytes - start);
}

static int cut(const char *side, uint64_t limit)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0)
        cut_stream(side, limit, (uint8_t *)line, from_hex(line));
    free(line);
    return 0;
}

static int build(void)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        uint8_t header[TAPE_WS_HEADER_MAX_BYTES];
        int opcode, fin, at = 0;
        char mask[9];
        if (sscanf(line, "%d %d %8s %n", &opcode, &fin, mask, &at) < 3)
            return 1;
        int masked = mask[0] != '-';
        if (masked)
            from_hex(mask);
        uint8_t *payload = (uint8_t *)line + at;
        size_t bytes = from_hex(line + at);
        size_t used = tape_ws_build(header, opcode, fin, bytes, masked ? (uint8_t *)mask : NULL);
        if (masked)
            tape_ws_mask(payload, payload, bytes, (uint8_t *)mask, 0);
        put_hex(header, used);
        put_hex(payload, bytes);
        putchar('\n');
    }
    free(line);
    return 0;
}

static int request(const char *host, const char *target, const char *key)
{
    char text[4096];
    struct tape_error error;
    int bytes = tape_handshake_request(text, sizeof text, host, target, key, &error);
    if (bytes < 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    return fwrite(text, 1, (size_t)bytes, stdout) != (size_t)bytes;
}

static int answer(const char *accept)
{
    uint8_t data[64 << 10];
    struct tape_handshake_response response;
    struct tape_error error = {0};
    int got = 0;
    size_t bytes = 0, room;
    do { /* whatever a pipe gives at a time */
        room = sizeof data - bytes < 7 ? sizeof data - bytes : 7;
        size_t part = fread(data + bytes, 1, room, stdin);
        bytes += part;
        got = tape_handshake_response(data, bytes, accept, &response, &error);
        if (part == 0)
            break;
    } while (got == 0);
    printf("{\"head\":%d,\"status\":%d,\"reason\":\"%s\",\"retry_after_s\":%lld,"
           "\"location\":\"%s\"}\n%s\n",
           got, response.status_code, response.reason, (long long)response.retry_after_s,
           response.location, error.text);
    return 0;
}

int main(int count, char **words)
{
    if (count == 4 && strcmp(words[1], "cut") == 0)
        return cut(words[2], strtoull(words[3], NULL, 10));
    if (count == 2 && strcmp(words[1], "build") == 0)
        return build();
    if (count == 5 && strcmp(words[1], "request") == 0)
        return request(words[2], words[3], words[4]);
    if (count == 3 && strcmp(words[1], "answer") == 0)
        return answer(words[2]);
    fprintf(stderr, "usage: ws_cut cut client|server LIMIT | build | request HOST TARGET KEY | "
                    "answer ACCEPT\n");
    return 2;
}
