#include "replay/packing.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "format/block.h"
#include "format/pack.h"
#include "format/segment.h"

const char *tape_packing_word(int packing)
{
    static const char *const words[] = {
#define WORD(name, word, meaning) [TAPE_PACKING_##name] = word,
        TAPE_PACKING_TABLE(WORD)
#undef WORD
    };
    return words[packing];
}

/* The zstd level that cold blocks have and no other. */
static int cold_level(void)
{
#define LEVEL(name, number, word, raw_bytes, zstd_level)                                           \
    if (number == TAPE_PACK_COLD)                                                                  \
        return zstd_level;
    TAPE_PACK_LEVEL_TABLE(LEVEL)
#undef LEVEL
    return 0;
}

int tape_packing_read(const struct tape_archive *archive, const struct tape_archive_entry *entry)
{
    uint8_t bytes[TAPE_BLOCK_HEADER_BYTES];
    struct tape_block_header header;
    const char *name;
    if (entry->state != 't')
        return TAPE_PACKING_HOT;
    int day = tape_archive_open_day(archive, entry, &name, NULL);
    int fd = day < 0 ? -1 : openat(day, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd < 0 ? -1 : pread(fd, bytes, sizeof bytes, TAPE_SEGMENT_HEADER_BYTES);
    if (fd >= 0)
        close(fd);
    if (day >= 0)
        close(day);
    int cold = got == (ssize_t)sizeof bytes && tape_block_header_get(bytes, &header, NULL) == 0 &&
               header.codec != TAPE_BLOCK_CODEC_FOOTER && header.level >= cold_level();
    return cold ? TAPE_PACKING_COLD : TAPE_PACKING_WARM;
}
