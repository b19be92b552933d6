/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by SSE4.2 where the processor has it. */
#ifndef TAPE_FORMAT_CRC32C_H
#define TAPE_FORMAT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_crc32c_update(crc, data, bytes): start with 0; the result of one call continues in the next.
 */
uint32_t tape_crc32c_update(uint32_t crc, const void *data, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
