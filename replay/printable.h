/* Text from the wire or from an archive, made safe for a terminal. */
#ifndef TAPE_REPLAY_PRINTABLE_H
#define TAPE_REPLAY_PRINTABLE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_printable_put(to, room, from, bytes, used): copies as many bytes of from as fit, each byte
 * that is a control, no UTF-8, or part of a C1 control or of a mark that turns the direction of
 * text, as \xNN. A cut off or split code point at the end counts as no UTF-8. Returns the bytes
 * written (no NUL is added); *used receives how many bytes of from they stand for. room >= 16. */
size_t tape_printable_put(char *to, size_t room, const char *from, size_t bytes, size_t *used);

/* tape_printable_text(to, room, from, bytes): the same as a string, cut to the room with "…". */
const char *tape_printable_text(char *to, size_t room, const char *from, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
