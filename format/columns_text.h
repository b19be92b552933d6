/* Records as columns, by way of their messages' text. Private to the columns. */
#ifndef TAPE_FORMAT_COLUMNS_TEXT_H
#define TAPE_FORMAT_COLUMNS_TEXT_H

#include "format/columns_internal.h"

struct tape_columns_text; /* one thread; keeps its buffers, and open messages */
struct tape_columns_text *tape_columns_text_new(void);
void tape_columns_text_free(struct tape_columns_text *text);

/* tape_columns_text_begin(text, header): forgets what was pushed. Fragments of the block before
 * stay when that was the one before this. */
void tape_columns_text_begin(struct tape_columns_text *text,
                             const struct tape_block_header *header);

/* tape_columns_text_push(text, record, error): the block's records in order; those between were
 * taken elsewhere. record->data stays until the next begin. 0 or a status. */
int tape_columns_text_push(struct tape_columns_text *text, const struct tape_record *record,
                           struct tape_error *error);

/* tape_columns_text_end(text, batches): adds what was pushed. 0 or TAPE_FAILED. The batches point
 * to what stays until the next begin. */
int tape_columns_text_end(struct tape_columns_text *text, struct tape_columns_batches *batches);

#endif
