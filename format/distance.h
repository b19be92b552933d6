/* How far one word is from another: for "did you mean". */
#ifndef TAPE_FORMAT_DISTANCE_H
#define TAPE_FORMAT_DISTANCE_H

#ifdef __cplusplus
extern "C" {
#endif

enum { TAPE_DISTANCE_MAX_BYTES = 256 }; /* longer words are nothing alike */

/* tape_distance_words(one, other): how many letters have to be put in, left out or exchanged to
 * make one word the other; case is not looked at. */
int tape_distance_words(const char *one, const char *other);

#ifdef __cplusplus
}
#endif
#endif
