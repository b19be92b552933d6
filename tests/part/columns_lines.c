/* Lines "<ns> <payload>" from standard input as text frames in blocks: the columns of every block
 * against what the parser gives for each message. For tests/part/columns_data.py.
 *
 *     columns_lines hot|warm|cold          "MESSAGES messages, WITHOUT without text, LEVELS levels"
 *     columns_lines hot|warm|cold ROUNDS   and how fast, read as columns ROUNDS times
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "format/pack.h"
#include "format/ws.h"
#include "tests/unit/compare_columns.h"

/* What was sealed, for the rounds. */
struct blocks {
    struct tape_block_header *headers;
    uint8_t **stored;
    uint32_t count;
};

static struct compare compare;
static struct tape_error error;
static struct tape_pack *pack;
static struct tape_block_builder *builder;
static struct blocks blocks;

static int append(const struct tape_record *record)
{
    int got =
        pack ? tape_pack_append(pack, record, &error) : tape_block_append(builder, record, &error);
    if (got >= 0)
        return got;
    printf("append: %s\n", error.text);
    exit(1);
}

static void seal(int keep)
{
    struct tape_block_header header;
    uint8_t *stored;
    int status =
        pack ? tape_pack_seal(pack, &header, &stored, &error)
             : tape_block_seal(builder, TAPE_BLOCK_CODEC_INTERLEAVED, 1, &header, &stored, &error);
    stored += TAPE_BLOCK_HEADER_BYTES;
    if (status != 0 || !compare_block(&compare, &header, stored)) {
        printf("block of ordinal %" PRIu64 ": %s\n", header.first_ordinal,
               status != 0 ? error.text : compare.text);
        exit(1);
    }
    if (!keep)
        return;
    uint32_t i = blocks.count++;
    blocks.headers = realloc(blocks.headers, blocks.count * sizeof header);
    blocks.stored = realloc(blocks.stored, blocks.count * sizeof stored);
    blocks.headers[i] = header;
    blocks.stored[i] = malloc(header.stored_bytes);
    memcpy(blocks.stored[i], stored, header.stored_bytes);
}

static uint64_t read_lines(int keep)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    uint64_t ordinal = 0;
    while ((length = getline(&line, &room, stdin)) > 0) {
        char *payload = strchr(line, ' ');
        if (!payload++ || line[--length] != '\n')
            continue;
        size_t bytes = (size_t)(line + length - payload);
        uint8_t *body = malloc(bytes + TAPE_WS_HEADER_MAX_BYTES);
        size_t header = tape_ws_build(body, TAPE_WS_TEXT, 1, bytes, NULL);
        memcpy(body + header, payload, bytes);
        struct tape_record record = {
            .ordinal = ordinal++,
            .recv_ns = strtoll(line, NULL, 10),
            .connection = 1,
            .bytes = (uint32_t)(header + bytes),
            .flags = TAPE_RECORD_FLAG_IMPORTED,
            .kind = TAPE_RECORD_FRAME_IN,
            .data = body,
        };
        if (append(&record) == 0) {
            seal(keep);
            append(&record);
        }
        free(body);
    }
    free(line);
    if (ordinal > 0)
        seal(keep);
    return ordinal;
}

/* A value of every row of some columns, so that they are not only there. */
static uint64_t read_all(struct tape_columns *columns)
{
    uint64_t messages = 0;
    for (uint32_t i = 0; i < blocks.count; i++) {
        const struct tape_columns_batch *batch;
        if (tape_columns_open(columns, &blocks.headers[i], blocks.stored[i], &error) != 0) {
            printf("%s\n", error.text);
            exit(1);
        }
        while ((batch = tape_columns_next(columns)) != NULL)
            messages += batch->rows;
    }
    return messages;
}

static void measure(int rounds)
{
    struct tape_columns *columns = tape_columns_new();
    double best = 0;
    for (int i = 0; i < rounds; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        uint64_t messages = read_all(columns);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        double seconds =
            (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
        best = (double)messages / seconds > best ? (double)messages / seconds : best;
    }
    printf("%.2f M messages/s as columns, best of %d\n", best * 1e-6, rounds);
    tape_columns_free(columns);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "hot") == 0)
        builder = tape_block_builder_new();
    else
        pack = tape_pack_new(strcmp(argv[1], "cold") == 0 ? TAPE_PACK_COLD : TAPE_PACK_WARM);
    if ((!builder && !pack) || !compare_begin(&compare))
        return 1;
    uint64_t lines = read_lines(argc > 2);
    if (compare.messages != lines) {
        printf("%" PRIu64 " messages of %" PRIu64 " lines\n", compare.messages, lines);
        return 1;
    }
    printf("%" PRIu64 " messages, %" PRIu64 " without text, %" PRIu64 " levels\n", compare.messages,
           compare.without_text, compare.levels);
    if (argc > 2)
        measure((int)strtol(argv[2], NULL, 10));
    for (uint32_t i = 0; i < blocks.count; i++)
        free(blocks.stored[i]);
    free(blocks.stored);
    free(blocks.headers);
    compare_end(&compare);
    tape_pack_free(pack);
    tape_block_builder_free(builder);
    return 0;
}
