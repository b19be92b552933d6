#include "format/segment_bytes.h"

#include <string.h>

#include "format/bytes.h"
#include "format/crc32c.h"

static const char header_magic[8] = {'T', 'A', 'P', 'E', 'D', 'E', 'C', 'K'};
static const char trailer_magic[8] = {'T', 'A', 'P', 'E', '_', 'E', 'N', 'D'};

enum { CRC_FROM = 12, RESERVED_FROM = 44 };

void tape_segment_identity_put(uint8_t to[TAPE_SEGMENT_HEADER_BYTES],
                               const struct tape_segment_identity *identity)
{
    memset(to, 0, TAPE_SEGMENT_HEADER_BYTES);
    memcpy(to, header_magic, sizeof header_magic);
    tape_bytes_put_u32(to + 12, TAPE_SEGMENT_VERSION);
    memcpy(to + 16, identity->archive_id, sizeof identity->archive_id);
    tape_bytes_put_i64(to + 32, identity->created_ns);
    tape_bytes_put_u32(to + 40, identity->sequence);
    tape_bytes_put_u32(to + 8,
                       tape_crc32c_update(0, to + CRC_FROM, TAPE_SEGMENT_HEADER_BYTES - CRC_FROM));
}

static int is_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

int tape_segment_identity_get(const uint8_t *from, size_t available,
                              struct tape_segment_identity *identity, struct tape_error *error)
{
    size_t of_magic = available < sizeof header_magic ? available : sizeof header_magic;
    int torn = available < TAPE_SEGMENT_HEADER_BYTES;
    if (torn && (memcmp(from, header_magic, of_magic) == 0 || is_zero(from, available)))
        return tape_error_set(error, TAPE_TORN, "%zu bytes are less than a header", available);
    if (memcmp(from, header_magic, of_magic) != 0)
        return tape_error_set(error, TAPE_FOREIGN, "it does not begin with TAPEDECK");
    uint32_t version = tape_bytes_get_u32(from + 12);
    if (tape_bytes_get_u32(from + 8) !=
        tape_crc32c_update(0, from + CRC_FROM, TAPE_SEGMENT_HEADER_BYTES - CRC_FROM))
        return tape_error_set(error, TAPE_CORRUPT, "header checksum mismatch");
    if (version != TAPE_SEGMENT_VERSION)
        return tape_error_set(error, TAPE_FOREIGN, "version %u is not known", version);
    if (!is_zero(from + RESERVED_FROM, TAPE_SEGMENT_HEADER_BYTES - RESERVED_FROM))
        return tape_error_set(error, TAPE_CORRUPT, "reserved bytes of the header are set");
    memcpy(identity->archive_id, from + 16, sizeof identity->archive_id);
    identity->created_ns = tape_bytes_get_i64(from + 32);
    identity->sequence = tape_bytes_get_u32(from + 40);
    return 0;
}

void tape_segment_trailer_put(uint8_t to[TAPE_SEGMENT_TRAILER_BYTES],
                              const struct tape_segment_trailer *trailer)
{
    memcpy(to, trailer_magic, sizeof trailer_magic);
    tape_bytes_put_u32(to + 12, trailer->footer_bytes);
    tape_bytes_put_u64(to + 16, trailer->footer_offset);
    tape_bytes_put_u64(to + 24, trailer->records);
    tape_bytes_put_u32(to + 8,
                       tape_crc32c_update(0, to + CRC_FROM, TAPE_SEGMENT_TRAILER_BYTES - CRC_FROM));
}

int tape_segment_trailer_get(const uint8_t from[TAPE_SEGMENT_TRAILER_BYTES],
                             struct tape_segment_trailer *trailer)
{
    if (memcmp(from, trailer_magic, sizeof trailer_magic) != 0 ||
        tape_bytes_get_u32(from + 8) !=
            tape_crc32c_update(0, from + CRC_FROM, TAPE_SEGMENT_TRAILER_BYTES - CRC_FROM))
        return 0;
    trailer->footer_bytes = tape_bytes_get_u32(from + 12);
    trailer->footer_offset = tape_bytes_get_u64(from + 16);
    trailer->records = tape_bytes_get_u64(from + 24);
    return 1;
}
