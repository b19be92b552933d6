/* Lines about what happens, for people, that never hold up what they are about. */
#ifndef TAPE_REPLAY_NOTICES_H
#define TAPE_REPLAY_NOTICES_H

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* tape_notices_open(to): a stream of lines to the same descriptor, which stays open, that drops
 * what the reader has no room for, and says how much once there is room again. To be closed with
 * fclose(). NULL when memory is short. */
FILE *tape_notices_open(FILE *to);

#ifdef __cplusplus
}
#endif
#endif
