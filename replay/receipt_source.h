/* What a source passed over, and what each of its archives gave: play and serve tell it alike. */
#ifndef TAPE_REPLAY_RECEIPT_SOURCE_H
#define TAPE_REPLAY_RECEIPT_SOURCE_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "replay/source.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_RECEIPT_DAMAGE_BYTES = 2048 };

/* tape_receipt_damage_line(to, damage, archives, count): a damaged place as text that is safe for a
 * terminal, cut to its room; of several archives it says which. */
void tape_receipt_damage_line(char to[TAPE_RECEIPT_DAMAGE_BYTES],
                              const struct tape_source_damage *damage, const char *const *archives,
                              int count);

/* tape_receipt_put_damages(object, source): adds "damages", those that are kept. */
void tape_receipt_put_damages(cJSON *object, const struct tape_source *source);

/* Where duplicates were removed, what each archive gave first, was late with and missed: as a line
 * each that begins with prefix; and as "duplicates_removed" and "shares", for each stream. */
void tape_receipt_print_shares(const struct tape_source *source, const char *const *archives,
                               int count, const char *prefix, FILE *to);
void tape_receipt_put_shares(cJSON *object, const struct tape_source *source);

/* By event time: those that came when a later one had been given. Nothing where there is none. */
void tape_receipt_print_event_late(const struct tape_source *source, FILE *to);
void tape_receipt_put_event_late(cJSON *object, const struct tape_source *source);

#ifdef __cplusplus
}
#endif
#endif
