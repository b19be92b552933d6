#include "replay/object.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"
#include "replay/timespec.h"

/* The length of the UTF-8 code point at from, or 0 when there is none or it is a NUL. */
static size_t code_point_bytes(const char *from, size_t bytes)
{
    struct tape_utf8 state = {0};
    if (*from == '\0')
        return 0;
    for (size_t i = 0; i < bytes && i < 4; i++) {
        if (tape_utf8_check(&state, (const uint8_t *)from + i, 1) != 1)
            return 0;
        if (tape_utf8_complete(&state))
            return i + 1;
    }
    return 0;
}

static void put_text(cJSON *object, const char *key, const char *text, size_t bytes)
{
    char *clean = malloc(3 * bytes + 1);
    size_t put = 0;
    if (!clean)
        return;
    for (size_t at = 0; at < bytes;) {
        size_t length = code_point_bytes(text + at, bytes - at);
        memcpy(clean + put, length ? text + at : "\xef\xbf\xbd", length ? length : 3);
        put += length ? length : 3;
        at += length ? length : 1;
    }
    clean[put] = '\0';
    cJSON_AddStringToObject(object, key, clean);
    free(clean);
}

void tape_object_put_string(cJSON *object, const char *key, const char *text)
{
    put_text(object, key, text, strlen(text));
}

void tape_object_put_count(cJSON *object, const char *key, uint64_t count)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, count);
    cJSON_AddRawToObject(object, key, digits);
}

void tape_object_put_wide(cJSON *object, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    cJSON_AddStringToObject(object, key, digits);
}

void tape_object_put_ordinal(cJSON *object, const char *key, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, value);
    cJSON_AddStringToObject(object, key, digits);
}

void tape_object_put_time(cJSON *object, const char *key, int64_t ns)
{
    char text[TAPE_TIMESPEC_TEXT_BYTES], key_ns[64];
    tape_timespec_format(text, ns);
    snprintf(key_ns, sizeof key_ns, "%s_ns", key);
    cJSON_AddStringToObject(object, key, text);
    tape_object_put_wide(object, key_ns, ns);
}

void tape_object_put_lateness(cJSON *object, const struct tape_lateness *lateness)
{
    if (lateness->count == 0)
        return;
    cJSON *late = cJSON_AddObjectToObject(object, "lateness");
    tape_object_put_wide(late, "p50_ns", tape_lateness_quantile(lateness, 0.5));
    tape_object_put_wide(late, "p99_ns", tape_lateness_quantile(lateness, 0.99));
    tape_object_put_wide(late, "max_ns", lateness->max_ns);
}

int tape_object_print(cJSON *object, FILE *to)
{
    char *text = object ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    int bad = !text || fputs(text, to) == EOF || fputc('\n', to) == EOF || fflush(to) == EOF;
    cJSON_free(text);
    return bad ? -1 : 0;
}
