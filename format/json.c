#include "format/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t tape_json_depth(const char *text, size_t bytes)
{
    size_t depth = 0, deepest = 0;
    int in_string = 0;
    for (size_t at = 0; at < bytes; at++) {
        char c = text[at];
        if (in_string) {
            if (c == '\\')
                at++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* cJSON takes any byte up to 32 for white space, so that what it left over is judged the same. */
static int only_space(const char *from, const char *end)
{
    while (from < end && (unsigned char)*from <= ' ')
        from++;
    return from == end;
}

cJSON *tape_json_parse(const char *text, size_t bytes, size_t max_bytes, size_t max_depth)
{
    if (bytes == 0 || bytes > max_bytes || memchr(text, 0, bytes) ||
        tape_json_depth(text, bytes) > max_depth)
        return NULL;
    const char *rest = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, bytes, &rest, 0);
    if (!root)
        return NULL;
    if (!only_space(rest, text + bytes)) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

static int text_integer(const char *text, long long *value)
{
    const char *digits = text + (*text == '-');
    if (*digits < '0' || *digits > '9')
        return 0;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || *end)
        return 0;
    *value = number;
    return 1;
}

int tape_json_integer(const cJSON *item, long long *value)
{
    if (cJSON_IsString(item))
        return text_integer(item->valuestring, value);
    /* From 2^53 on cJSON's double has lost digits already: no number is better than a wrong one. */
    const double limit = 9007199254740991.0;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= -limit && item->valuedouble <= limit))
        return 0;
    *value = (long long)item->valuedouble;
    return (double)*value == item->valuedouble;
}
