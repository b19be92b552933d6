/* The verdict words of enum tape_status: torn, corrupt, missing, foreign … */
#ifndef TAPE_REPLAY_STATUS_WORD_H
#define TAPE_REPLAY_STATUS_WORD_H

#ifdef __cplusplus
extern "C" {
#endif

/* tape_status_word(status): the name of TAPE_STATUS_TABLE in lower case. */
const char *tape_status_word(int status);

#ifdef __cplusplus
}
#endif
#endif
