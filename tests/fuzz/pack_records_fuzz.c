/*
 * Any records: what is packed gives them back, and its bytes are the packer's first choice. The
 * first byte says how the rest is read: as records of any kind, flags and body, or word by word as
 * texts that look like a venue's (small bytes stand for the words below).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "format/pack.h"
#include "format/pack_internal.h"
#include "format/ws.h"

enum { RECORDS_MAX = 4096, BYTES_MAX = 1 << 20, END_OF_TEXT = 0xff, END_OF_BLOCK = 0xfe };

static const char *const words[] = {
    "{\"stream\":\"",
    "\"",
    ",",
    ":",
    "{",
    "}",
    "[",
    "]",
    "\",\"data\":{",
    "a@b",
    "\"e\":",
    "\"p\":\"",
    "0",
    "1",
    "-",
    ".",
    "00",
    "12345678",
    "0.00000000",
    "1e5",
    "-0",
    "999999999999999999",
    "true",
    "false",
    "null",
    "[\"1.5\",\"2\"]",
    "[[\"1.50\",\"0.00\"],[\"3.1\",\"7\"]]",
    "{\"a\":1}",
    "[]",
    "\"2024-02-29T23:59:59.120Z\"",
    "\"01cacfe9-8d1c-5ee4-995d-d79a43f955a6\"",
    " ",
    "\\\"",
    "\\u00e9",
    "\"stream\":\"",
    "\"id\":1",
    "\"result\":",
    "\"s\":\"BTC\"",
    "\"s\":\"ETH\"",
    "}}",
    "]}",
};

static struct tape_pack *pack;
static struct tape_block_reader *reader;
static struct tape_record records[RECORDS_MAX];
static uint8_t bodies[BYTES_MAX];
static uint32_t count;
static size_t used;

static void seal(void)
{
    struct tape_block_header header;
    struct tape_error error;
    struct tape_record got;
    uint8_t *stored;
    if (count == 0)
        return;
    if (tape_pack_seal(pack, &header, &stored, &error) != 0 || pack->refused > 0)
        abort();
    if (tape_block_open(reader, &header, stored + TAPE_BLOCK_HEADER_BYTES, &error) != 0)
        abort();
    for (uint32_t i = 0; i < count; i++) {
        const struct tape_record *want = &records[i];
        if (tape_block_next(reader, &got) != 1 || got.ordinal != want->ordinal ||
            got.recv_ns != want->recv_ns || got.connection != want->connection ||
            got.flags != want->flags || got.kind != want->kind || got.bytes != want->bytes ||
            memcmp(got.data, want->data, got.bytes) != 0)
            abort();
    }
    if (tape_block_next(reader, &got) != 0)
        abort();
    count = 0;
    used = 0;
}

static void add(uint64_t ordinal, int kind, int flags, uint32_t connection, int64_t recv_ns,
                size_t bytes)
{
    struct tape_error error;
    struct tape_record *record = &records[count++];
    *record = (struct tape_record){.ordinal = ordinal,
                                   .recv_ns = recv_ns,
                                   .connection = connection,
                                   .bytes = (uint32_t)bytes,
                                   .flags = (uint16_t)flags,
                                   .kind = (uint8_t)kind,
                                   .data = bodies + used};
    if (tape_pack_append(pack, record, &error) != 1)
        abort();
    used += bytes;
}

/* kind, flags, connection, length; recv ns in all records of one input is what the bytes say. */
static void add_any(const uint8_t *data, size_t size)
{
    for (uint64_t ordinal = 0; size >= 16 && count < RECORDS_MAX; ordinal++) {
        size_t bytes = data[4] < size - 16 ? data[4] : size - 16;
        memcpy(bodies + used, data + 16, bytes);
        add(ordinal, data[0] ? data[0] : 1, data[1], data[2] | (uint32_t)data[3] << 24,
            tape_bytes_get_i64(data + 8), bytes);
        data += 16 + bytes;
        size -= 16 + bytes;
    }
}

static size_t put_text(const uint8_t **data, const uint8_t *end, uint8_t *to, size_t room)
{
    size_t bytes = 0;
    while (*data < end && **data < END_OF_BLOCK) {
        uint8_t byte = *(*data)++;
        char letter[2] = {(char)byte, 0};
        const char *word = byte < sizeof words / sizeof *words ? words[byte] : letter;
        size_t more = strlen(word);
        if (more > room - bytes)
            break;
        memcpy(to + bytes, word, more);
        bytes += more;
    }
    return bytes;
}

static void add_texts(const uint8_t *data, size_t size)
{
    static uint8_t text[65536];
    const uint8_t *end = data + size;
    uint64_t ordinal = 0;
    while (data < end && count < RECORDS_MAX) {
        size_t bytes = put_text(&data, end, text, sizeof text);
        uint8_t mark = data < end ? *data++ : END_OF_TEXT;
        if (bytes + TAPE_WS_HEADER_MAX_BYTES > BYTES_MAX - used)
            break;
        size_t header = tape_ws_build(bodies + used, TAPE_WS_TEXT, 1, bytes, NULL);
        memcpy(bodies + used + header, text, bytes);
        add(ordinal, TAPE_RECORD_FRAME_IN, 1, 1, (int64_t)(ordinal * 1000003), header + bytes);
        ordinal++;
        if (mark == END_OF_BLOCK)
            seal();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > BYTES_MAX / 4)
        return 0;
    if (reader == NULL)
        reader = tape_block_reader_new();
    pack = tape_pack_new(data[0] & 2 ? TAPE_PACK_COLD : TAPE_PACK_WARM);
    count = 0;
    used = 0;
    if (data[0] & 1)
        add_any(data + 1, size - 1);
    else
        add_texts(data + 1, size - 1);
    seal();
    tape_pack_free(pack);
    return 0;
}
