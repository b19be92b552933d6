/* Which fragmented messages a record ends without being a frame. Private to those who follow them.
 */
#ifndef TAPE_FORMAT_FEED_ENDS_H
#define TAPE_FORMAT_FEED_ENDS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tape_feed_ends {
    TAPE_FEED_ENDS_NONE,
    TAPE_FEED_ENDS_CONNECTION, /* those of the record's connection */
    TAPE_FEED_ENDS_ALL,
};

/* tape_feed_ends(kind, connection, body, bytes): enum tape_feed_ends of a record. What they were
 * going to be will never be whole: their connection is gone, or frames were not kept. */
int tape_feed_ends(int kind, uint32_t connection, const void *body, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
