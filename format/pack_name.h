/* The stream of a record's message, as the feed will name it. Private to the packer. */
#ifndef TAPE_FORMAT_PACK_NAME_H
#define TAPE_FORMAT_PACK_NAME_H

#include <stddef.h>
#include <stdint.h>

#include "format/tick.h"

#ifdef __cplusplus
extern "C" {
#endif

/* tape_pack_name_text(flags, payload, bytes, stream): 1 and the stream (may be empty) of an
 * incoming text message whose record has these flags; 0 when it is, or may be, an answer to a
 * request of ours, or its name is longer than a footer takes. */
int tape_pack_name_text(unsigned flags, const uint8_t *payload, size_t bytes,
                        struct tape_slice *stream);

#ifdef __cplusplus
}
#endif
#endif
