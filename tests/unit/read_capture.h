/* Captured messages of the folder that TAPE_DATA names. */
#ifndef TAPE_TESTS_UNIT_READ_CAPTURE_H
#define TAPE_TESTS_UNIT_READ_CAPTURE_H

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

/* The whole capture, or NULL when it is not there. */
static inline char *read_capture(const char *name, size_t *bytes)
{
    char path[512];
    const char *folder = getenv("TAPE_DATA");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "../shared/data", name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    enum { PACKED_MAX = 8 << 20, PLAIN_MAX = 64 << 20 };
    char *packed = malloc(PACKED_MAX), *plain = malloc(PLAIN_MAX);
    size_t packed_bytes = fread(packed, 1, PACKED_MAX, file);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer in = {packed, packed_bytes, 0};
    ZSTD_outBuffer out = {plain, PLAIN_MAX, 0};
    while (in.pos < in.size && out.pos < out.size)
        assert_false(ZSTD_isError(ZSTD_decompressStream(context, &out, &in)));
    ZSTD_freeDCtx(context);
    fclose(file);
    free(packed);
    *bytes = out.pos;
    return plain;
}

#endif
