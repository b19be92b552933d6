/* How the library was built to lay its public structures out: for bindings that cannot read tape.h.
 */
#ifndef TAPE_REPLAY_SOURCE_LAYOUT_H
#define TAPE_REPLAY_SOURCE_LAYOUT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_source_layout(structure): a fingerprint of ${structure} ("tape_message" …): 64-bit FNV-1a
 * over its size and then each member's offset and size, in the order of the header, each number as
 * eight bytes little endian. 0 when there is none of that name. Whoever declares the structures by
 * himself compares before the first call: a library of another version is told by it. */
uint64_t tape_source_layout(const char *structure);

#ifdef __cplusplus
}
#endif
#endif
