/* What ls, verify and receipts add to a JSON object: safe text, times, wide numbers. */
#ifndef TAPE_REPLAY_OBJECT_H
#define TAPE_REPLAY_OBJECT_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "replay/lateness.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each adds a member to ${object}; short memory shows as a member that is not there. */

/* tape_object_put_string(object, key, text): bytes that are no UTF-8 become U+FFFD. */
void tape_object_put_string(cJSON *object, const char *key, const char *text);

/* A count: a JSON number, below 2^53 in any archive that was recorded. */
void tape_object_put_count(cJSON *object, const char *key, uint64_t count);

/* As a string of digits: ns and ordinals. */
void tape_object_put_wide(cJSON *object, const char *key, int64_t value);
void tape_object_put_ordinal(cJSON *object, const char *key, uint64_t value);

/* tape_object_put_time(object, key, ns): "key" as RFC 3339 and "key_ns" as digits. */
void tape_object_put_time(cJSON *object, const char *key, int64_t ns);

/* tape_object_put_lateness(object, lateness): "lateness" with p50_ns, p99_ns and max_ns; nothing
 * where nothing was counted. */
void tape_object_put_lateness(cJSON *object, const struct tape_lateness *lateness);

/* tape_object_print(object, to): on one line; frees the object. 0, or -1 when memory or the write
 * failed. */
int tape_object_print(cJSON *object, FILE *to);

#ifdef __cplusplus
}
#endif
#endif
