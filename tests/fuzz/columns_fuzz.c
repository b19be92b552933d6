/*
 * Bytes as choices: a message that the parser knows is cut into a template and rows (see
 * tests/unit/make_columns.h); then some bytes of the payload are changed. What opens as text must
 * be the same as columns, field by field; what does not must not be touched beyond its ends. u8
 * changes, choices
 */
#include <stdio.h>

#include "tests/unit/compare_columns.h"
#include "tests/unit/make_columns.h"

static volatile uint64_t sum;

/* Every value of columns whose texts nobody could open. */
static void touch(struct tape_columns *columns)
{
    const struct tape_columns_batch *batch;
    while ((batch = tape_columns_next(columns)) != NULL) {
        for (uint32_t row = 0; row < batch->rows; row++) {
            int64_t value;
            uint8_t scale;
            uint32_t begin, count;
            sum += (uint64_t)batch->recv_ns[row] + batch->records[row];
            for (int i = 0; i < TAPE_COLUMNS_INTEGERS; i++)
                sum += (uint64_t)tape_columns_integer(&batch->integers[i], row);
            for (int i = 0; i < TAPE_COLUMNS_DECIMALS; i++)
                sum += (unsigned)tape_columns_decimal(&batch->decimals[i], row, &value, &scale);
            for (int i = 0; i < TAPE_COLUMNS_WORDS; i++) {
                struct tape_slice word = tape_columns_word(&batch->words[i], row);
                sum += word.bytes > 0 ? (uint8_t)word.data[word.bytes - 1] : 0;
            }
            for (int i = 0; i < TAPE_COLUMNS_LEVELS; i++) {
                tape_columns_levels(&batch->levels[i], row, &begin, &count);
                for (; count > 0; count--, begin++) {
                    sum += (unsigned)tape_columns_decimal(&batch->levels[i].price, begin, &value,
                                                          &scale);
                    sum += (unsigned)tape_columns_decimal(&batch->levels[i].quantity, begin, &value,
                                                          &scale);
                }
            }
        }
    }
}

static int opens(struct compare *compare, struct made_packed *made, struct tape_error *error)
{
    struct tape_block_header *header = &made->header;
    unsigned long long bytes;
    header->payload_crc32c = tape_crc32c_update(0, made->payload.bytes, header->stored_bytes);
    int status = tape_block_open(compare->reader, header, made->payload.bytes, error);
    /* A change changes the length: with the right one there is more to see. */
    if (status == TAPE_CORRUPT && sscanf(error->text, "the records are %llu", &bytes) == 1 &&
        bytes < TAPE_BLOCK_RAW_MAX_BYTES) {
        header->raw_bytes = (uint32_t)bytes;
        status = tape_block_open(compare->reader, header, made->payload.bytes, error);
    }
    return status == 0;
}

static int look(struct compare *compare, struct made_packed *made)
{
    struct tape_error error;
    if (opens(compare, made, &error))
        return compare_block(compare, &made->header, made->payload.bytes);
    if (tape_columns_open(compare->columns, &made->header, made->payload.bytes, &error) == 0)
        touch(compare->columns);
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chooser chooser = {.bytes = data + 1, .left = size - 1};
    struct made_packed made = {0};
    /* For each input anew: a message that the last one left open would be cut by this one's rows,
     * which are believed to be whole messages. */
    struct compare compare = {0};
    if (size < 2)
        return 0;
    if (!compare_begin(&compare))
        abort();
    made_cut_block(&made, &chooser, 0);
    for (unsigned i = 0; i < data[0] % 4u; i++) {
        size_t at = (choose(&chooser, 256) << 8 | choose(&chooser, 256)) % made.payload.length;
        made.payload.bytes[at] = (uint8_t)choose(&chooser, 256);
    }
    if (!look(&compare, &made)) {
        fprintf(stderr, "%s\n", compare.text);
        abort();
    }
    made_packed_free(&made);
    compare_end(&compare);
    return 0;
}
