/* How far one word is from another: for "did you mean". */
#ifndef TAPE_FORMAT_DISTANCE_H
#define TAPE_FORMAT_DISTANCE_H

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_DISTANCE_MAX_BYTES = 256 }; /* longer words are nothing alike */

/* tape_distance_words(one, other): how many letters have to be put in, left out or exchanged, or
 * neighbours swapped, to make one word the other; case is not looked at. */
int tape_distance_words(const char *one, const char *other);

/* tape_distance_close(word, distance): 1 when a word at that distance may have been meant. */
int tape_distance_close(const char *word, int distance);

/* tape_distance_rank(typed, known): how likely it is that ${known} was meant: 0 when it begins with
 * what was typed (two letters or more), else the distance, or -1 where that is too far for a word
 * of its length. The least rank is suggested, of equals the first in the list. */
int tape_distance_rank(const char *typed, const char *known);

#ifdef __cplusplus
}
#endif
#endif
