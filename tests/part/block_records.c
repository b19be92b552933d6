/* Reads blocks as a test made them, without a file around them: from standard input, one after the
 * other, each a header and its payload. For each block the records, a line each:
 *
 *     ordinal recv_ns kind flags connection body-in-hex
 *
 * and then "good", or only "corrupt: why". For tests/part/packed_strangers.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "format/block.h"

static void say_record(const struct tape_record *record)
{
    printf("%" PRIu64 " %" PRId64 " %d %d %" PRIu32 " ", record->ordinal, record->recv_ns,
           record->kind, record->flags, record->connection);
    for (uint32_t i = 0; i < record->bytes; i++)
        printf("%02x", record->data[i]);
    putchar('\n');
}

static void say_block(struct tape_block_reader *reader, const uint8_t *head)
{
    struct tape_error error;
    struct tape_block_header header;
    struct tape_record record;
    if (tape_block_header_get(head, &header, &error) != 0) {
        puts("a header that is none");
        exit(1);
    }
    uint8_t *stored = malloc(header.stored_bytes);
    if (stored == NULL || fread(stored, 1, header.stored_bytes, stdin) != header.stored_bytes)
        exit(1);
    int status = tape_block_open(reader, &header, stored, &error);
    free(stored);
    if (status != 0) {
        printf("%s: %s\n", status == TAPE_CORRUPT ? "corrupt" : "failed", error.text);
        return;
    }
    while (tape_block_next(reader, &record) == 1)
        say_record(&record);
    puts("good");
}

int main(void)
{
    uint8_t head[TAPE_BLOCK_HEADER_BYTES];
    struct tape_block_reader *reader = tape_block_reader_new();
    if (reader == NULL)
        return 1;
    while (fread(head, 1, sizeof head, stdin) == sizeof head)
        say_block(reader, head);
    tape_block_reader_free(reader);
    return 0;
}
