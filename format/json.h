/* Guards in front of cJSON: size, depth and form are checked before it sees a byte. Not for the
 * feed's hot path, and not for users of the library: it shows cJSON's types. */
#ifndef TAPE_FORMAT_JSON_H
#define TAPE_FORMAT_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_json_depth(text, bytes): how deep its brackets nest, strings left out. Of text that is no
 * JSON: some number that is not below what a parser could reach. */
size_t tape_json_depth(const char *text, size_t bytes);

/* tape_json_parse(text, bytes, max_bytes, max_depth): the whole of text as one value, or NULL: too
 * long, too deep, a NUL byte, no JSON, something after it, or no memory. Freed with cJSON_Delete.
 */
cJSON *tape_json_parse(const char *text, size_t bytes, size_t max_bytes, size_t max_depth);

/* tape_json_integer(item, value): 1 when item is a number that is a whole one below 2^53, or a
 * string of digits that fits. */
int tape_json_integer(const cJSON *item, long long *value);

#ifdef __cplusplus
}
#endif
#endif
